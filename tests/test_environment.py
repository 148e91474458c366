"""The facts that decide speed: read from made machines, told apart, and never guessed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import calm

from bench.report.environment import cgroup_levels, collect, differences, environment_id, with_anchors
from bench.report.run import Environment, Facts

TORCH: dict[str, Any] = {
    "version": "2.13.0+cpu",
    "cuda": None,
    "flags": {"tf32": False, "cudnn_benchmark": False},
    "parallel_info": "ATen/Parallel:\n\tat::get_num_threads() : 2\n",
    "threads": {"intra": 2, "inter": 1},
}
XEON = {
    "proc/cpuinfo": "".join(
        f"processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon Gold\n"
        "flags\t\t: fpu avx2 avx512f amx_bf16 hypervisor\n\n"
        for number in (0, 1)
    ),
    "proc/meminfo": "MemTotal:       8000000 kB\nSwapTotal:      1000 kB\n",
    "proc/self/status": "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-1,4,6-7\n",
    "proc/self/cgroup": "0::/pod/box\n",
    "proc/sys/kernel/randomize_va_space": "2\n",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1\n",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "0-1\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3900000\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    "sys/devices/system/cpu/smt/active": "1\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
    "sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/pod/memory.max": "2147483648\n",
    "sys/fs/cgroup/pod/box/cpu.max": "400000 100000\n",
    "sys/fs/cgroup/pod/box/memory.max": "max\n",
    "etc/os-release": 'NAME=Debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    ".dockerenv": "",
}


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def environment(root: Path, **torch: Any) -> Environment:
    return collect(TORCH | torch, [], root, root)


def is_unknown(fact: Any) -> bool:
    return isinstance(fact, dict) and fact["value"] is None and bool(fact["reason"])


def changed(seen: Environment, section: str, **facts: Any) -> Environment:
    return seen.model_copy(update={section: getattr(seen, section) | facts})


def test_the_facts_of_a_linux_machine_are_read_from_its_files(tmp_path: Path) -> None:
    seen = environment(put(tmp_path, XEON))
    assert seen.cpu == {
        "model": "Xeon Gold",
        "vendor": "GenuineIntel",
        "logical": 2,
        "physical": 1,
        "affinity": 5,
        "max_mhz": 3900,
        "governor": "performance, powersave",
        "turbo": False,
        "smt": True,
        "flags_simd": ["avx2", "avx512f", "amx_bf16"],
        "hypervisor": True,
    }
    assert seen.memory == {"total_bytes": 8_192_000_000, "swap_bytes": 1_024_000, "thp": "madvise"}
    assert seen.os["distribution"] == "Debian GNU/Linux 12 (bookworm)"
    assert seen.os["virtualization"] == "Amazon EC2"
    assert seen.os["aslr"] == 2


def test_the_tightest_quota_and_limit_of_all_levels_bind(tmp_path: Path) -> None:
    limits = environment(put(tmp_path, XEON)).limits
    assert limits == {"cpu_quota_cores": 1.5, "memory_limit_bytes": 2**31, "affinity": 5}


def test_cgroup_v1_spells_the_same_limits_in_other_files(tmp_path: Path) -> None:
    v1 = {
        "proc/self/cgroup": "4:memory:/box\n3:cpu,cpuacct:/box\n0::/\n",
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712\n",
    }
    limits = environment(put(tmp_path, v1)).limits
    assert limits["cpu_quota_cores"] == 0.5
    assert limits["memory_limit_bytes"] == {"value": None, "reason": "no limit is set"}
    assert cgroup_levels("cpu", "self", tmp_path)[0] == 1


def test_a_cgroup_outside_the_mount_is_answered_by_the_mount_alone(tmp_path: Path) -> None:
    put(tmp_path, {"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert cgroup_levels("cpu", "self", tmp_path) == (2, [tmp_path / "sys/fs/cgroup"])


def test_without_a_quota_the_limit_is_null_and_says_so(tmp_path: Path) -> None:
    put(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert environment(tmp_path).limits["cpu_quota_cores"] == {"value": None, "reason": "no quota is set"}


def test_an_empty_system_has_unknown_facts_with_reasons_and_no_zeros(tmp_path: Path) -> None:
    seen = environment(put(tmp_path, {"proc/empty": ""}))
    for section in (seen.cpu, seen.memory, seen.limits):
        assert {key for key, fact in section.items() if not is_unknown(fact)} == set()


def test_where_there_is_no_proc_the_size_of_the_machine_is_still_told(tmp_path: Path) -> None:
    seen = environment(tmp_path)
    assert isinstance(seen.cpu["logical"], int)
    assert isinstance(seen.memory["total_bytes"], int)


def test_an_arm_machine_tells_its_features_and_implementer(tmp_path: Path) -> None:
    text = "processor : 0\nFeatures : fp asimd sve bf16\nCPU implementer : 0x41\n"
    cpu = environment(put(tmp_path, {"proc/cpuinfo": text})).cpu
    assert cpu["flags_simd"] == ["asimd", "sve", "bf16"]
    assert cpu["vendor"] == "0x41"
    assert is_unknown(cpu["model"])


@pytest.mark.parametrize(
    ("files", "container"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"proc/1/cgroup": "0::/kubepods/burstable/pod1\n"}, "kubepods"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, "none seen"),
    ],
)
def test_a_container_leaves_hints(tmp_path: Path, files: dict[str, str], container: str) -> None:
    assert environment(put(tmp_path, files)).os["container"] == container


def test_kubernetes_is_known_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert environment(put(tmp_path, {".dockerenv": ""})).os["container"] == "kubernetes"


def test_the_facts_of_torch_are_kept_and_its_threads_stand_with_the_threads(tmp_path: Path) -> None:
    seen = environment(tmp_path)
    assert seen.torch == {key: fact for key, fact in TORCH.items() if key != "threads"}
    assert seen.threads["intra"] == 2
    assert seen.threads["inter"] == 1


def test_variables_that_decide_speed_are_told_without_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("LD_PRELOAD", "/home/someone/libjemalloc.so.2:/opt/libiomp5.so")
    seen = environment(tmp_path)
    assert seen.threads["OMP_NUM_THREADS"] == "4"
    assert seen.threads["MKL_NUM_THREADS"] == {"value": None, "reason": "not set"}
    assert seen.os["variables"]["LD_PRELOAD"] == "libjemalloc.so.2 libiomp5.so"  # type: ignore[index,call-overload]


def test_packages_are_told_by_their_metadata_and_torch_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys, json; from pathlib import Path; from bench.report.environment import collect\n"
        "print(json.dumps(collect({}, [], Path('.')).packages), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages, imported = done.stdout.rsplit(maxsplit=1)
    assert imported == "False"
    assert {"bench", "torch", "torchvision", "numpy", "nvidia-ml-py"} <= json.loads(packages).keys()


def git(folder: Path, *words: str) -> None:
    settled = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
    bare = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
    subprocess.run(["git", *settled, "-C", str(folder), *words], check=True, capture_output=True, env=bare)


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@needs_git
def test_the_commit_branch_and_changes_of_the_folder_are_told(tmp_path: Path) -> None:
    git(tmp_path, "init")
    first = collect(TORCH, [], tmp_path).git
    assert first["commit"] == {"value": None, "reason": "no commit yet"}
    assert first["branch"] == "main"
    put(tmp_path, {"a.txt": "1"})
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-m", "one")
    put(tmp_path, {"report.json": "not tracked"})
    clean = collect(TORCH, [], tmp_path).git
    assert len(str(clean["commit"])) == 40
    assert clean["dirty"] is False
    put(tmp_path, {"a.txt": "2"})
    git(tmp_path, "checkout", "--detach")
    dirty = collect(TORCH, [], tmp_path).git
    assert dirty["dirty"] is True
    assert dirty["branch"] == {"value": None, "reason": "no branch is checked out"}


@needs_git
def test_a_folder_in_no_repository_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    git(elsewhere, "init")
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))  # as a git hook would have it
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    facts = collect(TORCH, [], tmp_path).git
    why = {"value": None, "reason": "the folder is in no git repository"}
    assert facts == {"commit": why, "branch": why, "dirty": why}


@needs_git
def test_without_git_or_the_folder_the_reason_is_told_and_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = collect(TORCH, [], tmp_path / "gone").git["commit"]
    assert gone == {"value": None, "reason": "git could not read the repository (it exited 128)"}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collect(TORCH, [], tmp_path).git["commit"] == {"value": None, "reason": "git is not installed"}


def test_the_same_machine_has_the_same_id_also_when_read_back_from_a_report(tmp_path: Path) -> None:
    put(tmp_path, XEON)
    one, two = environment(tmp_path), environment(tmp_path)
    back = Environment.model_validate_json(one.model_dump_json())
    assert environment_id(one) == environment_id(two) == environment_id(back)
    assert differences(one, back) == []
    assert len(environment_id(one)) == 12
    int(environment_id(one), 16)


@pytest.mark.parametrize(
    ("section", "facts", "sentence"),
    [
        ("torch", {"version": "2.14.0"}, "torch.version: 2.13.0+cpu here, 2.14.0 there"),
        ("torch", {"cuda": "12.8"}, "torch.cuda: null here, 12.8 there"),
        (
            "torch",
            {"flags": {"tf32": True, "cudnn_benchmark": False}},
            "torch.flags.tf32: False here, True there",
        ),
        ("torch", {"parallel_info": "other\nlines"}, "torch.parallel_info differs"),
        ("cpu", {"flags_simd": ["avx2", "avx512f"]}, "cpu.flags_simd: amx_bf16 here, none there"),
        ("memory", {"total_bytes": 2**34}, "memory.total_bytes: 8 GiB here, 16 GiB there"),
        (
            "limits",
            {"cpu_quota_cores": {"value": None, "reason": "no quota is set"}},
            "limits.cpu_quota_cores: 1.5 here, null (no quota is set) there",
        ),
        ("packages", {"triton": "3.4"}, "packages.triton: null (not recorded) here, 3.4 there"),
    ],
)
def test_a_fact_that_decides_speed_changes_the_id_and_is_named(
    tmp_path: Path, section: str, facts: Facts, sentence: str
) -> None:
    here = environment(put(tmp_path, XEON))
    there = changed(here, section, **facts)
    assert environment_id(here) != environment_id(there)
    assert differences(here, there) == [sentence]


def test_anchors_are_kept_and_leave_the_id(tmp_path: Path) -> None:
    here = environment(put(tmp_path, XEON)).model_copy(update={"gpu": [{"name": "T4"}]})
    there = with_anchors(here, {"cpu": {"gemm_gflops": 50.0}, "gpu": {"gemm_gflops": 4000.0}})
    assert (there.cpu["anchors"], there.gpu[0]["anchors"]) == ({"gemm_gflops": 50.0}, {"gemm_gflops": 4000.0})
    assert environment_id(here) == environment_id(there)
    assert differences(here, there) == []


@pytest.mark.parametrize(
    ("section", "facts"),
    [
        ("git", {"commit": "f" * 40, "dirty": True}),
        ("packages", {"rich": "99", "pydantic": "99", "click": "99", "psutil": "99", "nvidia-ml-py": "99"}),
        ("memory", {"total_bytes": 8_192_000_000 - 4096}),
        ("torch", {"cuda": {"value": None, "reason": "built without CUDA"}}),
    ],
)
def test_what_does_not_decide_speed_leaves_the_id(tmp_path: Path, section: str, facts: Facts) -> None:
    here = environment(put(tmp_path, XEON))
    there = changed(here, section, **facts)
    assert environment_id(here) == environment_id(there)
    assert differences(here, there) == []


def test_two_hosts_of_one_kind_do_not_merge_and_another_gpu_is_named(tmp_path: Path) -> None:
    one = environment(tmp_path)
    other = one.model_copy(update={"host": "elsewhere"})
    assert environment_id(one) != environment_id(other)
    assert differences(one, other) == [f"host: {one.host} here, elsewhere there"]
    t4, l4 = (one.model_copy(update={"gpu": [{"name": name, "ecc": True}]}) for name in ("T4", "L4"))
    assert differences(t4, l4) == ["gpu[0].name: T4 here, L4 there"]


scraps = st.sampled_from(
    [
        "MemTotal:",
        "flags :",
        "processor :",
        "9" * 400,
        "1e308",
        "nan",
        "-1",
        "\0",
        "..",
        "0-",
        ":",
        "max 0",
        "\n",
    ]
)
contents = st.one_of(st.binary(max_size=40), st.lists(scraps, max_size=12).map(lambda parts: " ".join(parts).encode()))


@given(st.dictionaries(st.sampled_from(sorted(XEON)), contents, max_size=8))
@settings(calm, max_examples=25)
def test_whatever_stands_in_the_files_an_environment_is_collected_and_written(
    files: dict[str, bytes],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in files.items():
            put(root, {name: ""})
            (root / name).write_bytes(content)
        seen = environment(root)
        back = Environment.model_validate_json(seen.model_dump_json())
        assert environment_id(back) == environment_id(seen)
        assert differences(seen, back) == []
