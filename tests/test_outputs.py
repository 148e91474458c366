"""Whatever a model answers with is looked into, part by part; what is not understood is told, never passed over."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.core.equivalence import Agreement, compare_answers
from bench.core.outputs import map_tensors, read_answer, tensors_of

# torch warns, once a process, that nested, sparse and quantised tensors are young or old.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LOWEST = torch.finfo(torch.float32).min
GENERATOR = torch.Generator().manual_seed(0)
SCORES = torch.randn(64, generator=GENERATOR)
POSITIVE = SCORES.abs()

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Detections:
    boxes: Any
    scale: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    logits: torch.Tensor


class Cache:
    """Keeps tensors in attributes, one of them its own business, and itself."""

    def __init__(self, keys: torch.Tensor, calls: int = 0) -> None:
        self.keys = keys
        self.owner = self
        self._calls = calls


class Untouchable:
    """Raises whenever it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("never")


class OwnTensor(torch.Tensor):
    """A tensor that takes part in nothing."""

    @classmethod
    def __torch_function__(cls, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("never")


def held(given: Any, expected: Any, reference: Any = None) -> Agreement:
    """The comparison, which is plain JSON whatever is compared."""
    found = compare_answers(given, expected, reference)
    json.dumps(dataclasses.asdict(found), allow_nan=False)
    return found


def nothing() -> Iterator[int]:
    yield from ()


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (SCORES, [""]),
        ({"logits": SCORES, 3: [SCORES]}, ["logits", "[3][0]"]),
        (Detections(SCORES), ["boxes", "scale"]),
        ([Frozen(SCORES), Point(SCORES, None)], ["[0].logits", "[1].x", "[1].y"]),
        (SimpleNamespace(a=Detections((SCORES,))), ["a.boxes[0]", "a.scale"]),
        (Cache(SCORES), ["keys", "_calls"]),
        (torch.nested.nested_tensor([SCORES[:2], SCORES[:3]], layout=torch.jagged), ["[0]", "[1]"]),
    ],
)
def test_every_part_has_a_place_that_a_difference_can_name(value: Any, paths: list[str]) -> None:
    answer = read_answer(value)
    assert [leaf.path for leaf in answer.leaves] == paths
    assert answer.unread == ()


def test_what_cannot_be_looked_into_is_told_with_its_place() -> None:
    deep: list[Any] = [SCORES]
    for _ in range(100):
        deep = [deep]
    answer = read_answer({"stream": nothing(), "trap": Untouchable(), "deep": deep, "scores": SCORES})
    assert [leaf.path for leaf in answer.leaves] == ["scores"]
    told = [str(each) for each in answer.unread]
    assert told[:2] == ["stream is of type generator", "trap raised RuntimeError when it was looked at"]
    assert "nested more than" in told[2]


def test_mapping_tensors_keeps_every_type_and_what_it_was_given() -> None:
    given = (Frozen(SCORES), Point(SCORES, "here"), OrderedDict(a=[SCORES]), Cache(SCORES), Detections(SCORES, 2.0))
    made = map_tensors(given, torch.Tensor.double)
    assert [type(each) for each in made] == [Frozen, Point, OrderedDict, Cache, Detections]
    assert {tensor.dtype for tensor in tensors_of(made)} == {torch.float64}
    assert {tensor.dtype for tensor in tensors_of(given)} == {torch.float32}
    assert (made[1].y, made[4].scale) == ("here", 2.0)


def in_type(dtype: torch.dtype) -> Any:
    return lambda values: values.to(dtype)


@pytest.mark.parametrize(
    "wrap",
    [
        *map(
            in_type, (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int32, torch.uint16)
        ),
        lambda values: torch.complex(values, values),
        lambda values: torch.quantize_per_tensor(values, 0.05, 0, torch.qint8),
        lambda values: values.reshape(8, 8).to_sparse(),
        lambda values: values.reshape(8, 8).to_sparse_csr(),
        lambda values: torch.nested.nested_tensor([values[:2], values]),
        lambda values: values > 2.0,
        Detections,
        Frozen,
        Cache,
        lambda values: Point(None, [values]),
        lambda values: float(values[0]),
        lambda values: values.numpy(),
        lambda values: {"all": values, "same memory": values[:32]},
    ],
)
def test_equal_is_equal_and_threefold_is_different_however_it_is_wrapped(wrap: Any) -> None:
    assert held(wrap(POSITIVE), wrap(POSITIVE)).status == "equal"
    assert held(wrap(3 * POSITIVE), wrap(POSITIVE)).status == "different"


@pytest.mark.parametrize("sentinel", [LOWEST, LOWEST / 2, -math.inf, -1e9, -1e4, 1e30])
def test_a_sentinel_beside_scores_hides_nothing_and_is_compared_itself(sentinel: float) -> None:
    padding = torch.full((8,), sentinel)
    masked, threefold = torch.cat([SCORES, padding]), torch.cat([3 * SCORES, padding])
    moved = torch.cat([padding, SCORES])
    assert held(masked, masked, masked.double()).status == "equal"
    found = held(threefold, masked, masked.double())
    assert found.status == "different"
    assert found.max_rel is not None
    assert found.tolerance is not None
    assert (round(found.max_rel), found.tolerance < 1e-4) == (2, True)
    assert held(moved, masked, masked.double()).status == "different"


def test_the_lowest_number_of_float64_is_the_reference_for_that_of_float32() -> None:
    masked = torch.cat([SCORES, torch.tensor([LOWEST])])
    exact = torch.cat([SCORES.double(), torch.tensor([torch.finfo(torch.float64).min])])
    assert held(masked, masked, exact).status == "equal"
    assert held(torch.cat([SCORES + 1e-3, masked[-1:]]), masked, exact).status == "different"


def test_a_mask_that_is_added_moves_with_the_scores_and_hides_nothing() -> None:
    def masked(scores: torch.Tensor) -> torch.Tensor:
        return torch.cat([scores, scores - 1e9])

    assert held(masked(SCORES), masked(SCORES), masked(SCORES.double())).status == "equal"
    assert held(masked(3 * SCORES), masked(SCORES), masked(SCORES.double())).status == "different"


def test_a_large_part_hides_no_small_one_and_the_difference_says_where() -> None:
    eager = {"boxes": 1e9 * SCORES, "scores": SCORES}
    exact = {"boxes": 1e9 * SCORES.double(), "scores": SCORES.double()}
    found = held({"boxes": 1e9 * SCORES, "scores": 3 * SCORES}, eager, exact)
    assert found.status == "different"
    assert (found.reason or "").startswith("scores: the largest difference")


def test_a_part_that_is_nothing_but_rounding_is_no_difference() -> None:
    rest = 1e-9 * SCORES
    assert held((SCORES, rest.flip(0)), (SCORES, rest), (SCORES.double(), 0 * rest.double())).status == "equal"


@pytest.mark.parametrize(
    ("given", "expected", "status", "says"),
    [
        ({"b": SCORES, "a": 2 * SCORES}, {"a": 2 * SCORES, "b": SCORES}, "equal", None),
        ((SCORES,), {"logits": SCORES}, "equal", None),
        ({"a": SCORES}, {"b": SCORES}, "different", "other parts: a, where eager's are b"),
        (SCORES, [SCORES, SCORES], "different", "other shapes"),
        (Detections(SCORES, 2.0), Detections(SCORES), "different", "scale"),
        ("a cat", "a dog", "different", "'a cat' where eager's is 'a dog'"),
        ("a cat", "a cat", "equal", None),
        (SCORES.long() + 1, SCORES.long(), "different", "other whole numbers in 64 of 64 places"),
        (SCORES * math.nan, SCORES, "different", "holds NaN or infinity where eager's is finite"),
        (SCORES * math.nan, SCORES * math.nan, "unchecked", "not finite"),
        (SCORES[:0], SCORES[:0], "unchecked", "empty"),
        (0 * SCORES, 0 * SCORES, "unchecked", "all zeros"),
        (None, None, "unchecked", "holds no tensor"),
        (Cache(SCORES, calls=1), Cache(SCORES, calls=2), "unchecked", "_calls is another value"),
        ((SCORES, nothing()), (SCORES, nothing()), "unchecked", "not compared: [1] is of type generator"),
        ((3 * SCORES, nothing()), (SCORES, nothing()), "different", "[0]"),
        (SCORES.as_subclass(OwnTensor), SCORES, "unchecked", "raised RuntimeError"),
        (SCORES.to("meta"), SCORES.to("meta"), "unchecked", "meta device"),
        (SCORES + 1e-3, SCORES, "unchecked", "may be rounding"),
    ],
)
def test_one_word_and_its_reason(given: Any, expected: Any, status: str, says: str | None) -> None:
    found = held(given, expected)
    assert found.status == status
    assert says is None or says in (found.reason or "")


def test_an_object_that_raises_when_it_is_looked_at_is_not_compared() -> None:
    found = held((SCORES, Untouchable()), (SCORES, Untouchable()))
    assert (found.status, found.reason) == ("unchecked", "not compared: [1] raised RuntimeError when it was looked at")


@pytest.mark.parametrize(("times", "status"), [(3.0, "equal"), (10.0, "different")])
def test_two_roundings_are_a_few_times_eagers_own_error_apart_and_what_is_wrong_is_more(
    times: float, status: str
) -> None:
    exact = torch.linspace(-1, 1, 64, dtype=torch.float64)
    own = 1e-5
    eager = (exact + own).float()
    assert held((exact + own * (1 + times)).float(), eager, exact).status == status


def test_what_eager_itself_rounds_otherwise_decides_nothing() -> None:
    whole = SCORES.long()
    flipped = torch.cat([whole[:1] + 1, whole[1:]])
    assert held(flipped, whole, flipped).status == "unchecked"
    overflow = torch.tensor([math.inf, 1.0]).half()
    assert (
        held(torch.tensor([65504.0, 1.0]).half(), overflow, torch.tensor([65536.0, 1.0]).double()).status == "unchecked"
    )
