"""Some of an answer, as it travels between processes: its parts, their shapes, ends and largest values, in plain JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from builders import case_record

from bench.core.sample import MOST_VALUES, sample_of
from bench.judge.outputs import compare_outputs
from bench.plan.case import Case
from bench.report.ab import Outputs


@dataclass
class Detections:
    boxes: torch.Tensor
    scale: str = "one"


def test_a_sample_holds_the_shape_the_ends_and_the_largest_value_of_each_part() -> None:
    values = torch.arange(10_000.0).reshape(100, 100)
    first, second = sample_of((values, {"more": torch.tensor(-20_000)})).parts
    assert (first["path"], first["shape"], first["largest"]) == ("[0]", [100, 100], 9_999.0)
    assert (first["values"][0], first["values"][-1], len(first["values"])) == (0.0, 9_999.0, MOST_VALUES // 2)
    assert (second["path"], second["shape"], second["values"]) == ("[1].more", [], [-20_000])


def test_what_is_no_ordinary_number_travels_as_a_word_and_is_counted() -> None:
    lowest = torch.finfo(torch.float32).min
    (part,) = sample_of(torch.tensor([1.0, math.nan, lowest, -math.inf])).parts
    assert part["values"] == [1.0, "NaN", "the lowest number", "-infinite"]
    assert part["kinds"] == {"NaN": 1, "the lowest number": 1, "-infinite": 1}
    assert part["largest"] == 1.0
    json.dumps(part, allow_nan=False)


def test_a_number_behind_a_mask_is_not_the_largest() -> None:
    (part,) = sample_of(torch.tensor([0.5, -3.0, -1e9, -1e9 + 64])).parts
    assert part["largest"] == 3.0


def test_words_travel_as_text_and_what_is_not_understood_with_its_reason() -> None:
    found = sample_of((Detections(torch.ones(1)), "\ud800" * 5000, (each for each in ())))
    assert [part["path"] for part in found.parts] == ["[0].boxes", "[0].scale", "[1]"]
    assert found.parts[1]["text"] == "'one'"
    assert len(found.parts[2]["text"].encode()) < 300
    assert found.unread == ["[2] is of type generator"]


def test_places_in_a_large_output_are_exact() -> None:
    """A float32 cannot count beyond 2^24: the last place would lie behind the end."""
    large = torch.zeros(2**24 + 4, dtype=torch.uint8)[: 2**24 + 2]
    large[-1] = 7
    assert sample_of(large).parts[0]["values"][-1] == 7.0


SCORES = torch.randn(64, generator=torch.Generator().manual_seed(0))
LOWEST = torch.finfo(torch.float32).min
RECORD = case_record(Case("m"))


def sides(baseline: Any, candidate: Any) -> Outputs:
    """What `ab` says of two answers whose samples have travelled."""
    samples = {"baseline": sample_of(baseline), "candidate": sample_of(candidate)}
    travelled = {role: json.loads(json.dumps(vars(each), allow_nan=False)) for role, each in samples.items()}
    return compare_outputs(travelled, RECORD, RECORD)


@pytest.mark.parametrize("sentinel", [LOWEST, -1e9, -1e4, -math.inf, math.nan])
def test_threefold_scores_differ_whatever_lies_beside_them(sentinel: float) -> None:
    padding = torch.full((8,), sentinel)
    masked, threefold = torch.cat([SCORES, padding]), torch.cat([3 * SCORES, padding])
    assert sides(masked, masked).status == "same"
    found = sides(masked, threefold)
    assert found.status == "different"
    assert found.max_rel == pytest.approx(2 / 3)
    assert sides(masked, torch.cat([padding, SCORES])).status == "different"


@pytest.mark.parametrize(
    ("baseline", "candidate", "status", "reason"),
    [
        (Detections(SCORES), Detections(SCORES), "same", None),
        (Detections(SCORES), Detections(SCORES + 0.5), "different", "boxes"),
        (Detections(SCORES), Detections(SCORES, "two"), "different", "scale: 'one' → 'two'"),
        ({"a": SCORES, "b": 1e9 * SCORES}, {"b": 1e9 * SCORES, "a": 3 * SCORES}, "different", "a"),
        ((SCORES, 1e-9 * SCORES), (SCORES, -1e-9 * SCORES), "same", None),
        ((SCORES,), {"logits": SCORES}, "same", None),
        (SCORES.long(), SCORES.long() + 1, "different", None),
        (SCORES > 0, SCORES > 0.1, "different", None),
        ((SCORES, iter(())), (SCORES, iter(())), "not compared", "[1] is of type tuple_iterator"),
        ((SCORES, iter(())), (3 * SCORES, iter(())), "different", "[0]"),
        (None, None, "not compared", "it holds no tensor"),
        (SCORES[:0], SCORES[:0], "not compared", "it is empty"),
        ("a cat", "a dog", "different", "the output: 'a cat' → 'a dog'"),
    ],
)
def test_sides_are_held_against_each_other_part_by_part(
    baseline: Any, candidate: Any, status: str, reason: str | None
) -> None:
    found = sides(baseline, candidate)
    assert (found.status, found.reason) == (status, reason)


def test_one_nan_among_ten_thousand_values_is_seen_wherever_it_lies() -> None:
    values = torch.ones(10_000)
    holed = values.clone()
    holed[5_001] = math.nan
    found = sides(values, holed)
    assert (found.status, found.reason) == ("different", "the candidate's holds NaN in one place")
