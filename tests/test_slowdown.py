"""Extra work of a known size, on the real clock: as much as was asked for at least, and never coarser than that."""

from __future__ import annotations

import time

import pytest
import torch

from bench.core.slowdown import slowed
from bench.errors import CaseError

CPU = torch.device("cpu")


def nothing() -> None:
    """A CPU's call has ended when it returns."""


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_the_extra_work_fills_its_share_of_the_call_before_it() -> None:
    call = slowed(lambda: spin(0.01), nothing, CPU, 0.5)
    start = time.perf_counter()
    call()
    assert time.perf_counter() - start >= 0.015


def test_a_call_too_short_for_the_wanted_share_is_refused_with_what_to_do() -> None:
    with pytest.raises(CaseError, match=r"a slowdown of 1 % cannot be made") as caught:
        slowed(nothing, nothing, CPU, 0.01)
    assert "larger model" in caught.value.advice
