"""Two roundings of one function: how far apart two leaves are, and how far they may be.

The yardstick is eager's own distance to the same model in float64: two roundings may differ by as much as both are
off, and a graph that is fused or folded may be off by more than eager. Each leaf has a scale of its own, so that a
large one hides no small one, and sentinels (the lowest number of a type, -1e9 behind a mask, infinities) are no part
of it: they are compared place by place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from bench.core.outputs import Leaf, Unreadable
from bench.metrics import brief

# Relative to the largest ordinary value: some ten roundings of each type's epsilon. Others have one epsilon.
FLOOR = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 2e-3, torch.float64: 1e-12}
# Relative, too: no rounding of a deep network goes beyond it. A yardstick that long is none.
MOST = 5e-3
MOST_FLOORS = 10.0  # and so many floors, where a type is coarse, but at most half of the largest value
TIMES_OWN = 4  # eager's own error: a compiled U-Net was seen 2.8 times that far from eager
TIMES_OWN_OF_FEW = 8
FEW = 32  # values whose largest error says little of how large errors get
CHUNK = 2**20  # values that are held against each other at a time: temporary tensors stay small
MOST_DENSE = 2**26  # values of a sparse tensor that is filled up to be compared

ORDINARY, NAN, INFINITE, MINUS_INFINITE, HIGHEST, LOWEST = range(6)
KINDS = ("ordinary", "NaN", "infinite", "-infinite", "the highest number", "the lowest number")


@dataclass(frozen=True)
class Numbers:
    """The values of one leaf, flat, on the CPU. exact: int64, where nothing rounds; else some floating type.

    kinds: one of the words above a value; the values of NaN and infinities are 0 · floor: as in FLOOR ·
    step: of a quantised tensor, absolute.
    """

    values: torch.Tensor
    kinds: torch.Tensor
    exact: bool
    floor: float = 0.0
    step: float = 0.0

    def largest(self) -> float:
        """Largest magnitude of the ordinary values."""
        return ordinary_largest(self.values.where(self.kinds == ORDINARY, 0))

    def leaves_range(self) -> bool:
        """Whether it holds NaN or an infinity."""
        return bool(((self.kinds >= NAN) & (self.kinds <= MINUS_INFINITE)).any())


@dataclass(frozen=True)
class LeafFinding:
    """What became of one leaf: equal, different, undecided, or "nothing" where there was no value to compare.

    Figures are of the place that is farthest off: its distance, that relative to its scale, and what it may be; None
    where no distance decided.
    """

    leaf: Leaf
    status: str
    distance: float | None = None
    relative: float | None = None
    tolerance: float | None = None
    reason: str = ""


def is_number(value: Any) -> bool:
    """Whether a leaf's value is held against another with a tolerance, or number by number."""
    return isinstance(value, torch.Tensor | float | complex)


def numbers_of(value: Any) -> Numbers:
    """The numbers of a tensor or of a plain number. Raises Unreadable, or whatever a strange tensor raises."""
    if isinstance(value, int):
        value = torch.tensor(value)
    if not isinstance(value, torch.Tensor):
        plain = torch.tensor(value, dtype=torch.complex128 if isinstance(value, complex) else torch.float64)
        return _rounded(plain, torch.float32, 0.0)  # it was a float32 before the model made a number of it
    tensor = value.detach()
    if type(tensor) is not torch.Tensor:
        tensor = tensor.as_subclass(torch.Tensor)
    if tensor.is_meta:
        raise Unreadable("is on the meta device, where tensors have no values")
    step = 0.0
    if tensor.is_quantized:
        step, tensor = _step(tensor), tensor.dequantize()
    if tensor.layout is not torch.strided:
        if tensor.numel() > MOST_DENSE:
            raise Unreadable(f"is sparse and has {tensor.numel():,} places, too many to fill up")
        tensor = tensor.to_dense()
    tensor = tensor.cpu()
    if tensor.is_floating_point() or tensor.is_complex():
        return _rounded(tensor, tensor.dtype, step)
    flat = tensor.reshape(-1).to(torch.int64)
    return Numbers(flat, torch.zeros_like(flat, dtype=torch.int8), exact=True)


def _rounded(tensor: torch.Tensor, dtype: torch.dtype, step: float) -> Numbers:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
        dtype = dtype.to_real() if dtype.is_complex else dtype
    values = tensor.resolve_neg().reshape(-1)
    values = values if dtype in FLOOR else values.to(torch.float32)  # few operators know float8
    limits = torch.finfo(dtype)
    kinds = torch.zeros_like(values, dtype=torch.int8)
    if limits.max > 1e4:  # float8 is often clamped to its ends: they are ordinary there
        edge = limits.max if limits.max < 1e30 else limits.max / 4
        kinds[values >= edge], kinds[values <= -edge] = HIGHEST, LOWEST
    kinds[values.isnan()], kinds[values == torch.inf], kinds[values == -torch.inf] = NAN, INFINITE, MINUS_INFINITE
    values = values.where(values.isfinite(), 0)
    return Numbers(values, kinds, exact=False, floor=FLOOR.get(dtype, limits.eps), step=step)


def _step(tensor: torch.Tensor) -> float:
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return float(tensor.q_scale())
    return float(tensor.q_per_channel_scales().max())


def ordinary_largest(values: torch.Tensor) -> float:
    """The largest magnitude that is no sentinel's.

    Sentinels lie alone: they are 1000 or more, all within a factor of two (as -1e9 behind a mask, whatever was added
    to it), and what is next below them is smaller by a factor of 100.
    """
    magnitudes = values.abs()
    largest = float(magnitudes.max()) if len(magnitudes) else 0.0
    while largest >= 1000:
        rest = float(magnitudes.where(magnitudes < largest / 2, 0).max())
        if rest == 0 or largest < 100 * rest:
            break
        largest = rest
    return largest


@dataclass(frozen=True)
class LeafPair:
    """The numbers of one leaf, eager's, and float64's; those are None where there are none of the same shape."""

    leaf: Leaf
    given: Numbers
    expected: Numbers
    exact: Numbers | None


def hold(pair: LeafPair, whole: float, floor: float) -> LeafFinding:
    """One leaf's numbers against eager's.

    whole: the largest ordinary value of the whole answer · floor: of the coarsest type that the model computes in.
    """
    if pair.given.exact and pair.expected.exact:
        return _hold_exact(pair)
    return _hold_kinds(pair) or _hold_values(pair, whole, floor)


def _hold_kinds(pair: LeafPair) -> LeafFinding | None:
    """What the places of NaN, infinities and the ends of a type decide; None where they are the same."""
    given, expected, exact = pair.given, pair.expected, pair.exact
    other = given.kinds != expected.kinds
    trusted = torch.ones_like(other) if exact is None else exact.kinds == expected.kinds
    if bool((other & trusted).any()):
        return LeafFinding(pair.leaf, "different", reason=_other_kind(given, expected, other & trusted))
    if bool(other.any()):
        return LeafFinding(pair.leaf, "undecided", reason="leaves the range of its type in eager, and not in float64")
    return None if bool((expected.kinds == ORDINARY).any()) else LeafFinding(pair.leaf, "nothing")


def _hold_values(pair: LeafPair, whole: float, floor: float) -> LeafFinding:
    given, expected, exact = pair.given, pair.expected, pair.exact
    scale = expected.largest() or whole
    relative, place = _farthest(given.values, expected.values, scale)
    distance = abs(float(given.values[place]) - float(expected.values[place]))
    step = max(given.step, expected.step)
    least = max(given.floor, expected.floor, 1.01 * step / scale if scale else 0.0)
    most = max(MOST, min(MOST_FLOORS * max(floor, least), 0.5))
    own = None if exact is None else _own(expected, exact, scale)
    noise = own is not None and own > most
    allowed = least if own is None else max((TIMES_OWN if len(given.values) >= FEW else TIMES_OWN_OF_FEW) * own, least)
    if noise and scale > least * whole:
        allowed = least  # unless the leaf is nothing but the rounding of the whole
    if relative <= allowed:
        status, reason = "equal" if scale else "nothing", ""
    elif noise:
        off = brief(100 * (own or 0.0))
        status, reason = "undecided", f"has no yardstick: eager is {off} % of its largest value off float64"
    elif own is None and relative <= most:
        by = brief(100 * relative)
        status, reason = "undecided", f"differs by {by} % of its largest value, which may be rounding"
    else:
        status, reason = "different", ""
    unit = distance / relative if relative > 0 else scale
    return LeafFinding(pair.leaf, status, distance, relative, allowed * unit, reason)


def _hold_exact(pair: LeafPair) -> LeafFinding:
    leaf, given, expected, exact = pair.leaf, pair.given, pair.expected, pair.exact
    other = given.values != expected.values
    if not bool(other.any()):
        return LeafFinding(leaf, "equal", 0.0, 0.0, 0.0) if len(other) else LeafFinding(leaf, "nothing")
    trusted = other if exact is None or not exact.exact else other & (exact.values == expected.values)
    distance = float((given.values.double() - expected.values.double()).abs().max())
    relative = distance / max(float(expected.values.double().abs().max()), 1.0)
    if bool(trusted.any()):
        said = f"has other whole numbers in {int(other.sum()):,} of {len(other):,} places"
        return LeafFinding(leaf, "different", distance, relative, 0.0, said)
    return LeafFinding(leaf, "undecided", distance, relative, 0.0, "differs only where rounding decides in eager, too")


def _farthest(one: torch.Tensor, other: torch.Tensor, scale: float) -> tuple[float, int]:
    """The largest distance and its place. It is over the leaf's scale or, beyond it, over the smaller of the two."""
    farthest, place = 0.0, 0
    for start in range(0, len(one), CHUNK):
        mine, others = one[start : start + CHUNK].double(), other[start : start + CHUNK].double()
        apart = (mine - others).abs()
        unit = torch.minimum(mine.abs(), others.abs()).clamp_min(scale)
        ratios = (apart / unit).where(apart > 0, 0.0)
        top = int(ratios.argmax())
        if float(ratios[top]) > farthest:
            farthest, place = float(ratios[top]), start + top
    return farthest, place


def _own(expected: Numbers, exact: Numbers, scale: float) -> float:
    both = (expected.kinds == ORDINARY) & (exact.kinds == ORDINARY)
    return _farthest(expected.values.where(both, 0), exact.values.where(both, 0), scale)[0]


def _other_kind(given: Numbers, expected: Numbers, where: torch.Tensor) -> str:
    place = int(where.int().argmax())
    mine, eagers = KINDS[int(given.kinds[place])], KINDS[int(expected.kinds[place])]
    if eagers == KINDS[ORDINARY] and mine in KINDS[NAN:HIGHEST]:
        return "holds NaN or infinity where eager's is finite"
    count = int(where.sum())
    places = f"in {count} places" if count > 1 else "in one place"
    return f"is {mine} {places} where eager's is {eagers}"
