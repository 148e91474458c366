"""The environment: every fact about this machine that decides how fast a model runs on it.

Facts come from /proc, /sys, the installed packages' metadata and git; torch's own facts are handed in by
whoever may import torch. Nothing here names a user or an absolute path. Where a system has no /proc, psutil
and platform answer what they can.

What decides speed, and so makes the environment's id: everything, less
    git                       the code that is measured, not the machine: it is what a comparison is about
    some packages             pydantic, click, rich, psutil, nvidia-ml-py: no measured process has them
    reasons of unknown facts  only that a fact is unknown counts
    anchors                   measured anew in each run: they tell how two machines relate, and never agree exactly
    bytes of memory and swap  kernels count a little differently at each start, so whole GiB count
The host's name decides no speed, yet two machines of one kind must not merge: it counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
from pydantic import JsonValue

import bench
from bench.characters import visible
from bench.report.run import Environment, Facts

_SIMD = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512dq", "avx512bw", "avx512vl"),
    *("avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("neon", "asimd", "asimdhp", "asimddp", "sve", "sve2", "bf16", "i8mm"),
)
_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pydantic", "click", "rich", "psutil", "nvidia-ml-py")
_PACKAGES_IF_THERE = ("intel-openmp", "mkl", "triton")
_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES"),
    *("OMP_DYNAMIC", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_BLOCKTIME", "MKL_DYNAMIC"),
)
# Reported only where set. LD_PRELOAD holds paths (of allocators, mostly): their file names are kept.
_OTHER_VARIABLES = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "NVIDIA_TF32_OVERRIDE"),
    *("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "CUDA_LAUNCH_BLOCKING", "CUDA_VISIBLE_DEVICES"),
    *("MALLOC_CONF", "MALLOC_ARENA_MAX", "LD_PRELOAD"),
)
_NOT_DECISIVE = re.compile(r"git\.|(cpu|gpu\[\d+\])\.anchors\b|packages\.(pydantic|click|rich|psutil|nvidia-ml-py)$")
_GIB = 2**30
_GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")


def collect(torch_facts: Mapping[str, Any], gpus: Sequence[Facts], folder: Path, root: Path = Path("/")) -> Environment:
    """The environment of this machine, now.

    torch_facts: from a process that imported torch; its `threads` part goes to the section of that name.
    gpus: one entry a GPU (machine/nvidia.py). folder: whose git state is told. root: above /proc and /sys.
    Unknown facts are `{"value": null, "reason": …}`. Raises nothing for a fact that cannot be read.
    """
    return Environment(
        host=visible(platform.node()),
        cpu=_cpu(root),
        memory=_memory(root),
        os=_os(root),
        python=_python(),
        packages=_packages(),
        torch={key: value for key, value in torch_facts.items() if key != "threads"},
        threads=_threads(torch_facts.get("threads")),
        gpu=list(gpus),
        limits=_limits(root),
        git=_git(folder),
    )


def with_anchors(environment: Environment, anchors: Mapping[str, Facts]) -> Environment:
    """The environment with what its processor and its first GPU do at best (core/anchors.py); by `cpu` and `gpu`."""
    cpu, gpu = environment.cpu, environment.gpu
    if "cpu" in anchors:
        cpu = {**cpu, "anchors": anchors["cpu"]}
    if gpu and "gpu" in anchors:
        gpu = [{**gpu[0], "anchors": anchors["gpu"]}, *gpu[1:]]
    return environment.model_copy(update={"cpu": cpu, "gpu": gpu})


def environment_id(environment: Environment) -> str:
    """12 hex digits, the same for two environments in which all that decides speed is equal (see above)."""
    facts = {key: value for key, value in _decisive(environment).items() if not _is_unknown(value)}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(a: Environment, b: Environment) -> list[str]:
    """The facts deciding speed that differ, a sentence each: `torch.version: 2.12 here, 2.13 there`."""
    here, there = _decisive(a), _decisive(b)
    found = []
    for key in sorted(here.keys() | there.keys()):
        one, other = here.get(key, _unknown("not recorded")), there.get(key, _unknown("not recorded"))
        if one == other or (_is_unknown(one) and _is_unknown(other)):
            continue
        if isinstance(one, list) and isinstance(other, list):
            common = [item for item in one if item in other]
            one, other = ([item for item in items if item not in common] for items in (one, other))
        texts = _text(one), _text(other)
        too_long = any(len(text) > 80 or "\n" in text for text in texts)
        found.append(f"{key} differs" if too_long else f"{key}: {texts[0]} here, {texts[1]} there")
    return found


def cgroup_levels(controller: str, process: int | str, root: Path = Path("/")) -> tuple[int, list[Path]]:
    """The cgroup version (1 or 2) that holds `controller` for a process, and the folders of its groups.

    Its own group comes first, then those above it up to the mount: a quota on any of them binds the process.
    In a container the path that the kernel names may lie outside the mount; then the mount alone is given.
    Without cgroups the list is empty. process: a process id, or `self`.
    """
    version, mount, group = 2, "", "/"
    for line in _read(root, f"proc/{process}/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            version, mount, group = 1, controllers, path
            break
        if not controllers:
            group = path
    top = root / "sys/fs/cgroup" / mount
    if version == 1 and not _exists(top):
        top = root / "sys/fs/cgroup" / controller
    parts = PurePosixPath(group.lstrip("/")).parts
    if ".." in parts:
        parts = ()
    levels = [top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return version, [level for level in levels if _exists(level)]


def _cpu(root: Path) -> Facts:
    info = _read(root, "proc/cpuinfo")
    flags = set((_entry(info, "flags") or _entry(info, "Features")).split())
    processors = len(re.findall(r"^processor\s*:", info, re.MULTILINE))
    folders = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*"))
    siblings = {_read(folder, "topology/thread_siblings_list") for folder in folders} - {""}
    governors = {_read(folder, "cpufreq/scaling_governor") for folder in folders} - {""}
    max_khz = _number(_read(root, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"))
    no_cpufreq = _unknown("no cpufreq here: the firmware or the hypervisor sets the clock")
    facts: Facts = {
        "model": _entry(info, "model name") or _untold(),
        "vendor": _entry(info, "vendor_id") or _entry(info, "CPU implementer") or _untold(),
        "logical": processors or _untold(),
        "physical": len(siblings) or _unknown("no CPU topology here"),
        "affinity": _affinity(root),
        "max_mhz": no_cpufreq if max_khz is None else max_khz / 1000,
        "governor": ", ".join(sorted(governors)) or no_cpufreq,
        "turbo": _turbo(root),
        "smt": _switch(_read(root, "sys/devices/system/cpu/smt/active")),
        "flags_simd": [flag for flag in _SIMD if flag in flags] if flags else _untold(),
        "hypervisor": "hypervisor" in flags if flags else _untold(),
    }
    if not _exists(root / "proc"):
        facts["model"] = platform.processor() or _untold()
        facts["logical"] = psutil.cpu_count() or _untold()
        facts["physical"] = psutil.cpu_count(logical=False) or _untold()
    return facts


def _memory(root: Path) -> Facts:
    info = _read(root, "proc/meminfo")
    thp = re.search(r"\[(\w+)\]", _read(root, "sys/kernel/mm/transparent_hugepage/enabled"))
    facts: Facts = {
        "total_bytes": _meminfo(info, "MemTotal"),
        "swap_bytes": _meminfo(info, "SwapTotal"),
        "thp": thp.group(1) if thp else _unknown("transparent huge pages are not available here"),
    }
    if _exists(root / "proc"):
        return facts
    return facts | {"total_bytes": psutil.virtual_memory().total, "swap_bytes": psutil.swap_memory().total}


def _os(root: Path) -> Facts:
    release = _read(root, "etc/os-release") or _read(root, "usr/lib/os-release")
    name = re.search(r"^PRETTY_NAME=[\"']?(.*?)[\"']?$", release, re.MULTILINE)
    aslr = _number(_read(root, "proc/sys/kernel/randomize_va_space"))
    variables: dict[str, JsonValue] = {
        key: _file_names(visible(os.environ[key])) if key == "LD_PRELOAD" else visible(os.environ[key])
        for key in _OTHER_VARIABLES
        if key in os.environ
    }
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "distribution": name.group(1) if name else _unknown("no os-release file"),
        "container": _container(root),
        "virtualization": _virtualization(root),
        "aslr": _untold() if aslr is None else int(aslr),
        "variables": variables,
    }


def _python() -> Facts:
    gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)  # the function came with Python 3.13
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "compiler": platform.python_compiler(),
        "gil": bool(gil_enabled()),
    }


def _packages() -> Facts:
    facts: Facts = {"bench": bench.__version__}
    for name in (*_PACKAGES, *_PACKAGES_IF_THERE):
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in _PACKAGES:
                facts[name] = _unknown("not installed")
    return facts


def _threads(torch_threads: Mapping[str, JsonValue] | None) -> Facts:
    facts: Facts = {name: _unknown("torch did not tell") for name in ("intra", "inter")}
    facts |= torch_threads or {}
    return facts | {name: visible(os.environ.get(name, "")) or _unknown("not set") for name in _THREAD_VARIABLES}


def _limits(root: Path) -> Facts:
    """The tightest quota and limit of the process's cgroups."""
    version, levels = cgroup_levels("cpu", "self", root)
    quotas = []
    for level in levels:
        v1 = f"{_read(level, 'cpu.cfs_quota_us')} {_read(level, 'cpu.cfs_period_us')}"
        quota = re.match(r"(\d{1,18}) (\d{1,18})$", _read(level, "cpu.max") if version == 2 else v1)
        if quota and int(quota.group(2)) > 0:  # "max" and -1, which mean no quota, do not match
            quotas.append(round(int(quota.group(1)) / int(quota.group(2)), 4))
    version, levels = cgroup_levels("memory", "self", root)
    name = "memory.max" if version == 2 else "memory.limit_in_bytes"
    amounts = [_number(_read(level, name)) for level in levels]
    # cgroup v1 spells "no limit" as the largest page-aligned integer.
    limits = [int(amount) for amount in amounts if amount is not None and 0 < amount < 2**62]
    return {
        "cpu_quota_cores": min(quotas) if quotas else _unknown("no quota is set"),
        "memory_limit_bytes": min(limits) if limits else _unknown("no limit is set"),
        "affinity": _affinity(root),
    }


def _git(folder: Path) -> Facts:
    """Commit, branch and whether tracked files differ from it; reports lying about untracked do not count."""
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    # The folder decides, not a git hook that bench may run under; and git does not rewrite its index.
    inherited = {key: text for key, text in os.environ.items() if key not in _GIT_PLACES}
    variables = inherited | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", timeout=5.0, env=variables
        )
    except subprocess.TimeoutExpired:
        return _no_git("git took longer than 5 s")
    except OSError:
        return _no_git("git is not installed")
    if done.returncode != 0:
        if "not a git repository" in done.stderr:
            return _no_git("the folder is in no git repository")
        if "dubious ownership" in done.stderr:
            return _no_git("git does not trust the owner of the folder")
        return _no_git(f"git could not read the repository (it exited {done.returncode})")
    lines = done.stdout.splitlines()
    heads = dict(line[9:].partition(" ")[::2] for line in lines if line.startswith("# branch."))
    commit, branch = heads.get("oid", "(initial)"), heads.get("head", "(detached)")
    return {
        "commit": _unknown("no commit yet") if commit == "(initial)" else commit,
        "branch": _unknown("no branch is checked out") if branch == "(detached)" else branch,
        "dirty": any(not line.startswith("#") for line in lines),
    }


def _no_git(reason: str) -> Facts:
    return {name: _unknown(reason) for name in ("commit", "branch", "dirty")}


def _affinity(root: Path) -> JsonValue:
    """How many CPUs this process may run on, from a list such as `0-3,8`."""
    allowed = _entry(_read(root, "proc/self/status"), "Cpus_allowed_list")
    ranges = re.findall(r"(\d{1,9})(?:-(\d{1,9}))?", allowed)
    return sum(max(0, int(last or first) - int(first) + 1) for first, last in ranges) or _untold()


def _turbo(root: Path) -> JsonValue:
    no_turbo = _read(root, "sys/devices/system/cpu/intel_pstate/no_turbo")
    if no_turbo in ("0", "1"):
        return no_turbo == "0"
    return _switch(_read(root, "sys/devices/system/cpu/cpufreq/boost"))


def _container(root: Path) -> JsonValue:
    """A hint, not a proof: containers try to look like machines."""
    if told := _read(root, "run/systemd/container"):
        return told
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if _exists(root / "run/.containerenv"):
        return "podman"
    if _exists(root / ".dockerenv"):
        return "docker"
    named = re.search(r"kubepods|docker|libpod|lxc", _read(root, "proc/1/cgroup"))
    return named.group(0) if named else "none seen"


def _virtualization(root: Path) -> JsonValue:
    flags = _entry(_read(root, "proc/cpuinfo"), "flags").split()
    maker = _read(root, "sys/class/dmi/id/sys_vendor") or _read(root, "sys/hypervisor/type")
    if "hypervisor" in flags:
        return maker or _unknown("a virtual machine that does not tell its maker")
    return "none seen" if flags else _untold()


def _meminfo(info: str, key: str) -> JsonValue:
    kilobytes = _number(_entry(info, key).removesuffix("kB"))
    return _untold() if kilobytes is None else int(kilobytes) * 1024


def _read(root: Path, path: str) -> str:
    """The text of a system file, or nothing where it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return (root / path).read_text(errors="replace").strip()
    return ""


def _exists(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return path.exists()
    return False


def _entry(text: str, key: str) -> str:
    """The value of the first `key : value` line, or nothing."""
    found = re.search(rf"^{re.escape(key)}[ \t]*:[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    return found.group(1) if found else ""


def _number(word: str) -> float | None:
    with contextlib.suppress(ValueError):
        value = float(word)
        return value if math.isfinite(value) else None
    return None


def _switch(word: str) -> JsonValue:
    return word == "1" if word in ("0", "1") else _untold()


def _file_names(paths: str) -> str:
    return " ".join(PurePosixPath(path).name for path in re.split(r"[:\s]+", paths) if path)


def _unknown(reason: str) -> dict[str, JsonValue]:
    return {"value": None, "reason": reason}


def _untold() -> dict[str, JsonValue]:
    return _unknown("the system does not tell")


def _is_unknown(value: JsonValue) -> bool:
    return value is None or (isinstance(value, dict) and "reason" in value and value.get("value") is None)


def _decisive(environment: Environment) -> dict[str, JsonValue]:
    """Dotted key to fact, for all that decides speed."""
    facts = dict(_flat("", environment.model_dump()))
    for key in ("memory.total_bytes", "memory.swap_bytes"):
        value = facts.get(key)
        if isinstance(value, int):
            facts[key] = f"{(value + _GIB // 2) // _GIB} GiB"
    return {key: value for key, value in facts.items() if not _NOT_DECISIVE.match(key)}


def _flat(key: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict) and not _is_unknown(value):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}" if key else name, inner)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for place, item in enumerate(value):
            yield from _flat(f"{key}[{place}]", item)
    else:
        yield key, value


def _text(value: JsonValue) -> str:
    if isinstance(value, dict) and _is_unknown(value):
        return f"null ({value['reason']})"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "null" if value is None else str(value)
