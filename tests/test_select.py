"""`-k EXPR` selects cases by what their ids contain and by their axes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import calm

from bench.errors import BenchError, NothingSelected, UsageError
from bench.plan.case import Case
from bench.plan.select import select

CASES = [
    Case(model=model, batch_size=batch_size, mode=mode, channels_last=channels_last)
    for model in ("resnet50", "tiny.bert:build")
    for batch_size in (1, 8)
    for mode in ("eager", "compile", "compile:reduce-overhead")
    for channels_last in (False, True)
]
WORDS = ["resnet", "-b8-", "compile:reduce-overhead", "batch_size=1", "channels_last=true", "mode=compile"]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("resnet50", lambda case: case.model == "resnet50"),
        ("ResNet50", lambda case: case.model == "resnet50"),
        ("compile", lambda case: "compile" in case.mode),
        ("mode=compile", lambda case: case.mode == "compile"),
        ("compile:reduce", lambda case: case.mode == "compile:reduce-overhead"),
        ("-b8-", lambda case: case.batch_size == 8),
        ("batch_size=8 and not mode=compile", lambda case: case.batch_size == 8 and case.mode != "compile"),
        (
            "resnet50 and -b8- or eager",
            lambda case: case.id.startswith("resnet50-cpu-b8") or case.mode == "eager",
        ),
        (
            "resnet50 and (-b8- or eager)",
            lambda case: "resnet50" in case.id and ("b8" in case.id or "eager" in case.id),
        ),
        ("not(resnet50)", lambda case: case.model != "resnet50"),
        ("not not resnet50", lambda case: case.model == "resnet50"),
        ("channels_last=true", lambda case: case.channels_last),
        ("channels_last=False and threads=none", lambda case: not case.channels_last),
        ("model=tiny.bert:build", lambda case: case.model == "tiny.bert:build"),
    ],
)
def test_an_expression_selects_what_it_says_in_the_order_of_the_suite(expression: str, wanted) -> None:
    chosen = select(CASES, expression)
    assert chosen == [case for case in CASES if wanted(case)]
    assert 0 < len(chosen) < len(CASES)


@pytest.mark.parametrize(
    ("expression", "says", "column"),
    [
        ("resnet50 and", "expected part of a case id", 13),
        ("and resnet50", "expected part of a case id", 1),
        ("resnet50 resnet18", "expected 'and', 'or' or the end", 10),
        ("(resnet50 or (eager)", "expected ')'", 21),
        ("eager)", "expected 'and', 'or' or the end", 6),
        ("eager and ()", "expected part of a case id", 12),
        ("not", "expected part of a case id", 4),
        ("eager and batchsize=8", "'batchsize' is no axis, did you mean 'batch_size'?", 11),
        ("mode=", "expected a value right after 'mode='", 1),
        ("(" * 60 + "x" + ")" * 60, "more than 50 brackets", 52),
    ],
)
def test_a_malformed_expression_has_a_caret_under_the_place(expression: str, says: str, column: int) -> None:
    with pytest.raises(UsageError) as caught:
        select(CASES, expression)
    message, shown, caret = str(caught.value).split("\n")
    assert message.startswith(f"-k: {says}")
    assert message.endswith(f"at column {column}")
    assert shown.strip() == expression
    assert caret.index("^") - shown.index(expression) == column - 1


@pytest.mark.parametrize("expression", ["", "   "])
def test_an_empty_expression_is_an_error_that_says_how_to_have_every_case(expression: str) -> None:
    with pytest.raises(UsageError, match="leave -k out"):
        select(CASES, expression)


def test_selecting_nothing_names_a_few_ids() -> None:
    with pytest.raises(NothingSelected, match=r"selects none of the 24 cases.*resnet50-cpu-b1-eager.* and 21 more"):
        select(CASES, "vgg")


def test_selecting_nothing_says_which_axis_value_no_case_has() -> None:
    with pytest.raises(NothingSelected, match=r"no case has mode=complie, did you mean 'compile'\?"):
        select(CASES, "mode=complie")
    with pytest.raises(NothingSelected, match="no case has batch_size=64, there is 1, 8"):
        select(CASES, "resnet and batch_size=64")


@calm
@given(
    st.recursive(
        st.sampled_from(WORDS),
        lambda inner: (
            st.builds("({} and {})".format, inner, inner)
            | st.builds("({} or {})".format, inner, inner)
            | st.builds("not {}".format, inner)
        ),
        max_leaves=8,
    )
)
def test_an_expression_and_its_negation_share_the_cases_between_them(expression: str) -> None:
    def chosen(text: str) -> set[Case]:
        try:
            return set(select(CASES, text))
        except NothingSelected:
            return set()

    kept, rest = chosen(expression), chosen(f"not ({expression})")
    assert kept | rest == set(CASES)
    assert not kept & rest


@calm
@given(st.text(max_size=40) | st.lists(st.sampled_from([*WORDS, "and", "or", "not", "(", ")", "x=1"])).map(" ".join))
def test_no_text_makes_anything_but_a_selection_or_one_of_our_errors(expression: str) -> None:
    try:
        assert select(CASES, expression)
    except BenchError as error:
        assert str(error).startswith("-k")
