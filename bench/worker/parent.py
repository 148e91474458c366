"""The round's parent: a fresh interpreter that imports torch, runs nothing, and forks one child a case.

It reads one request a line from standard input and passes on, a line each, what its children say. A child's
own standard output and error go to this process's standard error, so a model that prints cannot break a
message. Where forking is not safe, the interpreter measures one case itself and ends.

Loads only what core loads. Not imported by the main process.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch

from bench.core import anchors, devices, modes, operators
from bench.core.accuracy import evaluate
from bench.core.dataset import draw, read_dataset
from bench.core.imports import clash
from bench.core.outputs import look, tensors_of
from bench.core.sample import Sample
from bench.core.sample import sample_of as sample_answer
from bench.core.session import InferenceSession
from bench.core.slowdown import slowed
from bench.core.torchvision_ops import extension_loads, import_torchvision
from bench.errors import CaseError
from bench.plan.case import Accuracy
from bench.worker.clock import monotonic
from bench.worker.laps import Seat, take_turns
from bench.worker.solo import Call, Emit, Request, Session, measure_solo

_PR_SET_PDEATHSIG = 1
_ANSWERS = 4  # a model that keeps state or samples shows it within so many calls
_TEMPORARY = "tmp"  # in a compile cache: its folder for temporary files
_USERS_TMPDIR = os.environ.get("TMPDIR")


class TorchEdge:
    """The real measuring edge: torch, the kernel's memory figures, the monotonic clock."""

    clock = staticmethod(monotonic)

    def __init__(self, release: int) -> None:
        self._release = release
        self._precision = "fp32"

    def session(self, request: Request) -> Session:
        """An InferenceSession; the compile cache is set before anything compiles."""
        self._precision = request.case.precision
        if request.cache_dir is not None:
            # Precompiled C++ headers go to the folder for temporary files, not into the cache that torch names.
            _put_temporary_files_in(str(Path(request.cache_dir) / _TEMPORARY))
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = request.cache_dir
            os.environ["TRITON_CACHE_DIR"] = str(Path(request.cache_dir) / "triton")
        elif request.case.mode.startswith("compile"):
            _put_temporary_files_in(_USERS_TMPDIR)  # where torch finds the user's own cache
        axes = {axis: value for axis, value in request.case.axes.items() if axis != "model"}
        return InferenceSession(request.spec, **axes, seed=request.seed, pythonpath=request.pythonpath)

    def quiet(self) -> AbstractContextManager[object]:
        """No gradients, and no bookkeeping for them."""
        return torch.inference_mode()

    def describe(self, session: Session) -> dict[str, Any]:
        """`device` as torch names it, its `kind`, and the GPU's `uuid` or None."""
        device = session.device
        return {"device": str(device), "kind": device.type, "uuid": devices.uuid(device)}

    def memory(self, session: Session) -> dict[str, Any]:
        """Peak resident bytes from the kernel, and what torch's allocator says of the device."""
        scale = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
        return {"peak_rss_bytes": peak, **devices.peak_memory(session.device)}

    def resident(self) -> int:
        """Resident bytes now; the peak so far where the kernel has no such file."""
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
        except OSError:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return pages * resource.getpagesize()

    def device_clock(self, session: Session, call: Call) -> devices.DeviceClock | None:
        """CUDA events, or None."""
        return devices.device_clock(session.device, call)

    def await_release(self) -> None:
        """Wait for the main process's blank line."""
        os.read(self._release, 1)

    def count_right(self, session: Session, accuracy: Accuracy) -> dict[str, Any]:
        """Let the session classify the suite's labelled images."""
        assert isinstance(session, InferenceSession)
        classes = session.classes()
        found = read_dataset(Path(accuracy.data), classes, session.labels(classes), accuracy.class_order)
        tally = evaluate(session, draw(found.examples, accuracy.limit, accuracy.seeds))
        kept = ("images", "unreadable", "top1", "top5", "classes", "seconds")
        return {**{name: getattr(tally, name) for name in kept}, "notes": [*found.notes, *tally.errors]}

    def meaning(self, error: BaseException) -> tuple[str, str] | None:
        """Out of memory, or something that this machine lacks, as torch says it."""
        if devices.is_out_of_memory(error):
            return "out_of_memory", "Use a smaller batch size or a lower precision."
        advice = modes.lacking(error, self._precision)
        if advice is not None:
            return "unsupported", advice
        hidden = clash(error)
        return None if hidden is None else ("failed", hidden)


class TorchLapsEdge(TorchEdge):
    """The real edge of a process among others: pipes, CPUs, and torch's profiler."""

    def receive(self, descriptor: int) -> bytes:
        """Block until the eight bytes of a token have come."""
        return os.read(descriptor, 8)

    def send(self, descriptor: int, token: bytes) -> None:
        """Give a token to the seat that reads from the other end."""
        os.write(descriptor, token)

    def pin(self, cores: Sequence[int]) -> None:
        """Stay on these CPUs, where the system has such a thing."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)

    def inputs(self, session: Session) -> list[dict[str, Any]]:
        """Shape and dtype of each tensor that the model is called with, in order."""
        assert isinstance(session, InferenceSession)
        tensors = tensors_of(session.inputs)
        return [{"shape": list(each.shape), "dtype": str(each.dtype).removeprefix("torch.")} for each in tensors]

    def slowed(self, session: Session, call: Call, share: float) -> Call:
        """The call with that share of its time as extra work behind it."""
        return slowed(call, session.wait, session.device, share)

    def counts(self, session: Session, call: Call) -> dict[str, Any]:
        """The fields of a core.operators.OperatorCounts."""
        return vars(operators.count_operators(call, session.wait, session.device))

    def output(self, session: Session) -> dict[str, Any]:
        """Samples of what the model answers, now and in the next calls (`again`).

        Where a call fails, only the reason: the pair has been timed.
        """
        assert isinstance(session, InferenceSession)
        first, *others = [_sampled(session) for _ in range(_ANSWERS)]
        return {**first, "again": others}

    def profiled(self, session: Session, call: Call, calls: int) -> dict[str, Any]:
        """The fields of a core.operators.Profiled."""
        return vars(operators.profiled(call, session.wait, session.device, calls))


def _sampled(session: InferenceSession) -> dict[str, Any]:
    answer, trouble = look(session.infer, "")
    session.wait()
    return vars(sample_answer(answer) if trouble is None else Sample([], [str(trouble)]))


def serve(folder: str) -> None:
    """Answer requests until standard input ends. `folder`: for temporary files, each child's in a folder of its own
    that goes with it; where it is empty they lie where the environment says.
    """
    out = _take_stdout()
    if folder:
        _put_temporary_files_in(folder)
    _die_with_parent()
    try:
        import_torchvision()
    except CaseError as error:
        torchvision_problem = str(error)
    else:
        torchvision_problem = ""
    gc.collect()
    gc.freeze()  # children then collect their own garbage without walking all of torch, nor copying its pages
    _say(out, {"event": "ready", "pid": os.getpid(), "torchvision": torchvision_problem})
    for line in sys.stdin:
        if not line.strip():
            continue  # the release of a child that did not live to read it
        request = json.loads(line)
        if request["do"] == "together":
            _in_children([partial(_take_turns, each, out) for each in request["seats"]], out, folder)
            _tidy_caches(request["seats"])
        elif _can_fork(request):
            _in_children([partial(_answer, request, out)], out, folder)
            _tidy_caches([request])
        else:
            _answer(request, out)
            if request["do"] == "measure":
                return  # used up: the next case gets a new interpreter


def _can_fork(request: Mapping[str, Any]) -> bool:
    """macOS's frameworks do not survive a fork, so a case on its GPU takes the whole interpreter."""
    on_cpu = request["do"] != "measure" or request["request"]["case"]["device"] == "cpu"
    return sys.platform != "darwin" or on_cpu


def _take_turns(data: Mapping[str, Any], out: IO[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the model gets an empty standard input
    take_turns(Seat.from_json(data), TorchLapsEdge(-1), _teller(out))


def _in_children(jobs: Sequence[Callable[[], None]], out: IO[str], folder: str) -> None:
    """Fork one child a job, all alive at once; return once all have ended, each end being told."""
    alive = {_fork(job, folder) for job in jobs}
    while alive:
        pid, status, usage = os.wait4(-1, 0)
        if pid not in alive:
            continue
        alive.remove(pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # compile workers and the like that outlived it
        if folder:
            shutil.rmtree(Path(folder) / str(pid), ignore_errors=True)
        code = os.waitstatus_to_exitcode(status)
        _say(out, {"event": "exit", "pid": pid, "code": code, "cpu_s": usage.ru_utime + usage.ru_stime})


def _put_temporary_files_in(folder: str | None) -> None:
    """Of this process and of those it starts; None for where the system puts them."""
    os.environ.pop("TMPDIR", None)
    if folder is not None:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # it is found anew


def _tidy_caches(asked: Sequence[Mapping[str, Any]]) -> None:
    """Leave in compile caches' folders for temporary files nothing but what Inductor keeps there for others."""
    for cache in {each.get("request", {}).get("cache_dir") for each in asked} - {None}:
        for left in Path(cache, _TEMPORARY).glob("*"):
            if left.is_dir() and not left.is_symlink():
                if not left.name.startswith("torchinductor_"):
                    shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _fork(job: Callable[[], None], folder: str) -> int:
    pid = os.fork()
    if pid == 0:
        # A group of its own: whatever the model starts can be ended with it. Ctrl-C is not its affair.
        os.setpgid(0, 0)
        _die_with_parent()
        _prefer_as_victim()
        if folder:
            _put_temporary_files_in(str(Path(folder) / str(os.getpid())))
        faulthandler.enable()  # a segmentation fault then names the Python line it came from
        job()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return pid


def _answer(request: Mapping[str, Any], out: IO[str]) -> None:
    # Standard input is how the main process releases us; the model gets an empty one.
    release = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if request["do"] == "measure":
        measure_solo(Request.from_json(request["request"]), TorchEdge(release), _teller(out))
    else:
        _say(out, {"event": "probed", **_probe(bool(request.get("compute")), bool(request.get("anchors")))})


def _probe(compute: bool, wants_anchors: bool) -> dict[str, Any]:
    """What torch says of itself here; with `compute`, also what each device makes of a small computation."""
    facts = devices.facts()
    return {
        "torch": facts,
        "torchvision_extension": extension_loads(),
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "packages": _packages(),
        "devices": devices.try_all() if compute else {},
        "anchors": anchors.measure_all() if wants_anchors else {},
    }


def _packages() -> dict[str, str]:
    """Versions of what decides speed in this interpreter, of those that are installed."""
    found = {}
    for name in ("torch", "torchvision", "numpy", "pillow", "intel-openmp", "mkl", "triton"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _take_stdout() -> IO[str]:
    """The pipe to the main process under a number nobody expects; what prints goes to standard error from now on."""
    kept = os.dup(1)
    os.set_inheritable(kept, False)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8", errors="replace", newline="\n")


def _teller(out: IO[str]) -> Emit:
    """What a measured process tells its messages by. A copy of it that the model forked must not tell them twice."""
    own = os.getpid()

    def tell(message: Mapping[str, Any]) -> None:
        if os.getpid() != own:
            os._exit(1)
        try:
            _say(out, message)
        except OSError as error:
            os.write(2, f"the model closed a file that it had not opened: {error.strerror}\n".encode())
            os._exit(1)

    return tell


def _say(out: IO[str], message: Mapping[str, Any]) -> None:
    """Write one line. Raises ValueError where a figure is none that JSON has: its process has failed, then."""
    # The leading newline ends whatever half line a killed child left behind. Half a character becomes "?".
    out.write("\n" + json.dumps(message, ensure_ascii=False, allow_nan=False) + "\n")
    out.flush()


def _die_with_parent() -> None:
    """Linux: be killed when the process that started this one ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prefer_as_victim() -> None:
    """Linux: where memory runs out, the kernel should end the case, not the run."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
