"""The doctor: what is installed, which devices work, and what would disturb a measurement on this machine.

Looking is apart from judging: `look_around` and `look_at_installation` read; `installed`, `devices` and
`disturbances` turn what was read into findings, and read nothing themselves. The last has a file of its own.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from bench.errors import LaunchError
from bench.machine.disturbances import Level, Observation, disturbances, known, look_around
from bench.machine.nvidia import Nvml, library
from bench.report.environment import collect
from bench.report.run import Environment, Facts

# What torch said of itself, or in words why it could not be asked.
Probe = Mapping[str, Any] | str

_INSTALL = "pip install -c constraints.txt"
_OURS = "torch-inference-bench"
# A line of a distribution's RECORD: the package `bench`, or a command of that name.
_OUR_NAMES = re.compile(r"^(?:bench/__init__\.py|(?:\.\./)+(?:bin|Scripts)/bench(?:\.exe)?),", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Installation:
    """What lies around torch. `compiler` is how the one that torch.compile calls names itself, empty where none."""

    compiler: str
    clang_alone: bool = False
    python_headers: bool = True
    old_pynvml: bool = False
    rivals: tuple[str, ...] = ()
    strange_command: bool = False
    nvml_problem: str = ""


def examine(ask_torch: Callable[[], Mapping[str, Any]], folder: Path) -> list[Observation]:
    """Every finding of this machine, section by section.

    ask_torch: starts torch, which takes a few seconds, and has it try each device; may raise LaunchError.
    """
    now = look_around()
    installation = look_at_installation(os.environ)
    probe: Probe
    try:
        probe = ask_torch()
    except LaunchError as error:
        probe = _in_short(str(error))
    torch_facts = {} if isinstance(probe, str) else probe["torch"]
    environment = collect(torch_facts, [gpu.facts for gpu in now.gpus], folder)
    return [
        *installed(environment, installation, probe),
        *devices(probe),
        *disturbances(environment, now),
    ]


def can_measure(findings: Iterable[Observation]) -> bool:
    """Whether anything can be measured here: nothing that is needed is broken, and a device computes right."""
    seen = {(finding.section, finding.level) for finding in findings}
    return ("installed", "problem") not in seen and ("devices", "ok") in seen


def look_at_installation(variables: Mapping[str, str], nvml: Nvml = library) -> Installation:
    """Look for compiler, headers, other packages and the driver. `variables`: PATH and CXX count."""
    # Inductor takes CXX, else this name; it does not look for another (torch/_inductor/config.py, cpp.cxx).
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    path = variables.get("PATH")
    compiler = _version_line(variables.get("CXX", usual), path)
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return Installation(
        compiler=compiler,
        clang_alone=not compiler and bool(_version_line("clang++", path)),
        python_headers=headers.exists(),
        old_pynvml=_is_installed("pynvml"),
        rivals=rivals(importlib.metadata.distributions()),
        strange_command=_is_strange(shutil.which("bench", path=path)),
        nvml_problem=_nvml_problem(nvml),
    )


def rivals(distributions: Iterable[importlib.metadata.Distribution]) -> tuple[str, ...]:
    """The names of other distributions that install a package or a command `bench`.

    Searches the lists of files as plain text: importlib.metadata.packages_distributions takes 0.3 s for 60.
    """
    found = set()
    for each in distributions:
        files, packages = each.read_text("RECORD") or "", each.read_text("top_level.txt") or ""
        if _OUR_NAMES.search(files) or "bench" in packages.split():
            found.add(each.name)
    return tuple(sorted(name for name in found if re.sub(r"[-_.]+", "-", name).lower() != _OURS))


def installed(environment: Environment, installation: Installation, probe: Probe) -> Iterator[Observation]:
    """What is installed, and what of it does not work."""
    packages = environment.packages
    yield _here("ok", f"bench {packages['bench']}, Python {environment.python['version']}")
    yield from _torch(environment, probe)
    if not isinstance(probe, str):
        yield from _torchvision(packages, probe)
    rest = [name for name in packages if name not in ("bench", "torch", "torchvision")]
    there = [f"{name} {version}" for name in rest if (version := known(packages, name))]
    if there:
        yield _here("ok", ", ".join(there))
    for name in rest:
        if not known(packages, name):
            # The doctor could not have started without the others, except by a package under another name.
            level: Level = "problem" if name == "numpy" else "warning"
            yield _here(level, f"{name} is not installed", f"{_INSTALL} {name}")
    yield from _compiler(installation)
    yield from _nvidia(environment, installation, probe)
    if installation.old_pynvml:
        what = "the deprecated package pynvml is installed: it slows every start of Python, and torch warns of it"
        yield _here("warning", what, "pip uninstall pynvml; keep nvidia-ml-py, which has the module pynvml")
    apart = "Call this one as `python -m bench`"
    for name in installation.rivals:
        what = f"{name} installs under the name `bench` too: one overwrites the other"
        yield _here("warning", what, f"{apart}, and give it a virtual environment of its own.")
    if installation.strange_command and not installation.rivals:
        yield _here("note", "the command `bench` on PATH belongs to another Python or program", f"{apart}.")


def devices(probe: Probe) -> Iterator[Observation]:
    """Each device with what a small real computation gave."""
    if isinstance(probe, str):
        yield Observation("devices", "problem", "no device was tried: torch did not start", "See above.")
        return
    for name, problem in probe["devices"].items():
        if problem is None:
            yield Observation("devices", "ok", f"{name}: a small computation gave the right answer")
        else:
            mend = (
                "Reinstall torch." if name == "cpu" else f"Leave {name} out, or check its driver and the kernel's log."
            )
            yield Observation("devices", "problem", f"{name} does not work: {problem}", mend)


def _here(level: Level, what: str, mend: str = "") -> Observation:
    return Observation("installed", level, what, mend)


def _torch(environment: Environment, probe: Probe) -> Iterator[Observation]:
    version = known(environment.packages, "torch")
    if isinstance(probe, str):
        what = f"torch {version} does not start: {probe}" if version else "torch is not installed"
        yield _here("problem", what, f"{_INSTALL} {'--force-reinstall ' if version else ''}torch torchvision")
        return
    facts = probe["torch"]
    words = [f"torch {facts.get('version') or version}, {_build(facts)}"]
    words += [str(facts["cpu_capability"])] if facts.get("cpu_capability") else []
    yield _here("ok", ", ".join(words))
    if facts.get("debug"):
        yield _here("warning", "this torch is a debug build, which is far slower", "Install a release build.")


def _build(facts: Mapping[str, Any]) -> str:
    if facts.get("hip"):
        return f"ROCm {facts['hip']} build"
    return f"CUDA {facts['cuda']} build" if facts.get("cuda") else "CPU build"


def _torchvision(packages: Facts, probe: Mapping[str, Any]) -> Iterator[Observation]:
    version, problem = known(packages, "torchvision"), probe["torchvision"]
    if problem:
        what = f"torchvision does not work, so only your own models can be measured: {problem}"
        yield _here("warning", what, f"{_INSTALL} torchvision")
    elif probe["torchvision_extension"]:
        yield _here("ok", f"torchvision {version}")
    else:
        yield _here(
            "note",
            f"torchvision {version}: its compiled operators do not load beside this torch (another build or version). "
            "Classification models work all the same, because bench declares the missing operators; detection "
            "models, which call them (nms), would not",
            "Only for detection: install torchvision from the same index as torch (https://pytorch.org).",
        )


def _compiler(installation: Installation) -> Iterator[Observation]:
    until = "torch.compile needs it, so mode compile is unsupported until then"
    if installation.compiler:
        yield _here("ok", f"C++ compiler for torch.compile: {installation.compiler}")
    else:
        also = "only clang++ is there" if installation.clang_alone else "no C++ compiler that runs"
        get = "Set CXX=clang++." if installation.clang_alone else "Install one, e.g. sudo apt install g++, or set CXX."
        yield _here("warning", f"{also}: {until}", get)
    if not installation.python_headers:
        yield _here("warning", f"Python's headers (Python.h) are missing: {until}", "E.g. sudo apt install python3-dev")


def _nvidia(environment: Environment, installation: Installation, probe: Probe) -> Iterator[Observation]:
    gpus = [gpu for gpu in environment.gpu if known(gpu, "name")]
    torch_facts, tried = ({}, {}) if isinstance(probe, str) else (probe["torch"], probe["devices"])
    wanted = torch_facts.get("cuda")
    if not gpus:
        why = installation.nvml_problem or "the driver names no GPU"
        works = any(name.startswith("cuda") for name in tried)
        if wanted and works:
            yield _here("warning", f"NVML does not answer ({why}): GPU figures will be null", "Check the driver.")
        elif wanted:
            mend = "Measure on cpu; or install the driver, or start the container with the GPU."
            yield _here("note", f"torch is built for CUDA {wanted}, but no GPU was detected ({why})", mend)
        else:
            yield _here("ok", f"no NVIDIA GPU detected ({why})")
        return
    first, names = gpus[0], ", ".join(str(gpu["name"]) for gpu in gpus)
    newest = known(first, "cuda_driver")
    yield _here("ok", f"{names}; NVIDIA driver {known(first, 'driver')}, for CUDA up to {newest}")
    if isinstance(probe, str) or torch_facts.get("hip"):
        return
    if not wanted:
        mend = "To measure on it, install a CUDA build of torch (https://pytorch.org)."
        yield _here("warning", "this torch is a CPU build: the GPU is not used", mend)
    elif not any(name.startswith("cuda") for name in tried):
        what = f"torch finds no usable GPU: it is built for CUDA {wanted}, the driver is for {newest}"
        yield _here("warning", what, "Update the older of the two, and check CUDA_VISIBLE_DEVICES.")
    elif not known(environment.packages, "triton"):
        yield _here("warning", "triton is missing: mode compile cannot work on the GPU", f"{_INSTALL} triton")


def _in_short(text: str) -> str:
    """The first line, and of what was printed the last: a traceback's own conclusion."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = " ".join([lines[0], lines[-1]] if len(lines) > 1 else lines)
    return said.removesuffix(" `bench doctor` checks the installation.")


def _version_line(program: str, path: str | None) -> str:
    """The first line that `program --version` prints; empty where it is not on `path` or does not run."""
    found = shutil.which(program, path=path)
    if found is None:
        return ""
    try:
        done = subprocess.run(
            [found, "--version"], check=True, capture_output=True, text=True, errors="replace", timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter((done.stdout or done.stderr).splitlines()), program).strip()


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _is_strange(command: str | None) -> bool:
    """Whether the command that PATH gives for `bench` lies outside this Python's folders of commands."""
    if command is None:
        return False
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    ours = {Path(sysconfig.get_path("scripts", scheme)).resolve() for scheme in schemes}
    return Path(command).resolve().parent not in ours


def _nvml_problem(nvml: Nvml) -> str:
    try:
        nvml("nvmlInit")
    except pynvml.NVMLError as error:
        return str(error)
    return ""
