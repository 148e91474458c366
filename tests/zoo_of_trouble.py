"""Models that misbehave, and one that does not. Named by suites in the tests as `zoo_of_trouble:NAME`."""

from __future__ import annotations

import ctypes
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn


class Forward(nn.Module):
    """A small model that does something to its process when it is called."""

    def __init__(self, act: object = None) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if callable(self.act):
            self.act()
        return self.layer(x)


def inputs(batch_size: int) -> torch.Tensor:
    return torch.randn(batch_size, 16)


def wrong_inputs(batch_size: int) -> torch.Tensor:
    return torch.randn(batch_size + 1, 16)


def good() -> nn.Module:
    return Forward()


def unpacks() -> nn.Module:
    """Needs what a DataLoader's workers need, a socket among temporary files, and leaves a folder there."""
    folder = tempfile.mkdtemp()
    Path(folder, "unpacked").write_text("weights")
    with multiprocessing.connection.Listener(family="AF_UNIX"), Path("places.txt").open("a") as places:
        places.write(f"{folder}\n")
    return Forward()


def chatty() -> nn.Module:
    print('{"event": "measured"}\n' * 3, "rubbish \x00\xff", flush=True)  # noqa: T201 - rubbish on purpose
    return Forward(lambda: os.write(1, b'{"event": "exit", "code": 0}\n'))


def raises() -> nn.Module:
    raise ValueError("the layers do not fit")


def segfaults() -> nn.Module:
    return Forward(lambda: ctypes.string_at(0))


def is_killed() -> nn.Module:
    return Forward(lambda: os.kill(os.getpid(), signal.SIGKILL))


def exits() -> nn.Module:
    sys.exit(3)


def vanishes() -> nn.Module:
    os._exit(0)


def closes_files() -> nn.Module:
    return Forward(lambda: os.closerange(3, 100))


def forks() -> nn.Module:
    """Goes on as two processes after its first call."""
    copies: list[int] = []
    return Forward(lambda: copies or copies.append(os.fork()))


class LeavesLater(Forward):
    """The second one that is built, the one for the check, ends its process."""

    built = 0

    def __init__(self) -> None:
        LeavesLater.built += 1
        super().__init__(None if LeavesLater.built == 1 else lambda: os._exit(0))


def leaves_in_the_check() -> nn.Module:
    return LeavesLater()


class Masked(Forward):
    """Scores beside the lowest number of their type."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = super().forward(x)
        return torch.cat([scores, torch.full_like(scores, torch.finfo(scores.dtype).min)], dim=1)


def masked() -> nn.Module:
    return Masked()


def hangs() -> nn.Module:
    return Forward(lambda: time.sleep(3600))


def stops_its_parent() -> nn.Module:
    return Forward(lambda: os.kill(os.getppid(), signal.SIGSTOP))


def kills_its_parent() -> nn.Module:
    return Forward(lambda: os.kill(os.getppid(), signal.SIGKILL))


def out_of_memory() -> nn.Module:
    return Forward(lambda: torch.empty(1 << 60, dtype=torch.uint8))


def _speak() -> None:
    raise RuntimeError("half a character: \udce9")


def strange_words() -> nn.Module:
    return Forward(_speak)


class Zeros(nn.Module):
    """Answers nothing but zeros."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0


def zeros() -> nn.Module:
    return Zeros()


def no_module() -> object:
    return {"weights": 1}


class Breaks(nn.Module):
    """No two calls take the same path through the compiler: it captures nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return x


def nothing_to_compile() -> nn.Module:
    return Breaks()


class Perturbed(nn.Module):
    """Under TorchScript's tracing it computes something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return y + 0.01 if torch.jit.is_tracing() else y


def perturbed() -> nn.Module:
    return Perturbed()


class TwoInputs(nn.Module):
    """Takes its inputs by name."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sum": left + right, "product": left * right}


def two_inputs() -> nn.Module:
    return TwoInputs()


def by_name(batch_size: int) -> dict[str, torch.Tensor]:
    return {"left": torch.randn(batch_size, 4), "right": torch.randn(batch_size, 4)}


def by_place(batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(batch_size, 4), torch.randn(batch_size, 4)
