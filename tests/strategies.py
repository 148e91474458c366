"""What hypothesis feeds the readers: suites that are right, suites that are not, and TOML in every style."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from bench.metrics import METRICS
from bench.plan.case import MODES, PRECISIONS

# Files and fresh caches make an example's time vary; no test here is about time.
calm = settings(deadline=None)

Document = dict[str, Any]

AXIS_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["resnet18", "resnet50", "alexnet", "own.models:build"]),
    "device": st.sampled_from(["cpu", "cuda", "cuda:1", "mps", "auto"]),
    "batch_size": st.integers(1, 4),
    "mode": st.sampled_from(MODES),
    "precision": st.sampled_from(PRECISIONS),
    "channels_last": st.booleans(),
    "threads": st.integers(1, 3),
}
_texts = st.text(st.characters(codec="utf-8"), max_size=12)
_scalars = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    _texts,
    st.sampled_from(
        [*METRICS, *MODES, "p50", "complie", "resnet5", "10m", "a:b", "../x", "1e400s", "", "x" * 200, "\x1b[31m"]
    ),
)
toml_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


def combinations(axes: list[str]) -> st.SearchStrategy[Document]:
    """Values for at least one of `axes`."""
    chosen = st.lists(st.sampled_from(axes), min_size=1, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: AXIS_VALUES[name] for name in names}))


@st.composite
def matrices(draw: st.DrawFn) -> Document:
    """A [matrix] whose every value is right; what it expands to may still be wrong."""
    optional = draw(st.lists(st.sampled_from(list(AXIS_VALUES)[1:]), unique=True))
    axes = draw(st.permutations(["model", *optional]))
    matrix: Document = {axis: draw(st.lists(AXIS_VALUES[axis], min_size=1, max_size=3, unique=True)) for axis in axes}
    known = [*dict.fromkeys([*axes, "device", "batch_size", "mode"])]
    matrix["exclude"] = draw(st.lists(combinations(known), max_size=3))
    matrix["include"] = draw(st.lists(combinations(list(AXIS_VALUES)), max_size=4))
    return matrix


@st.composite
def suites(draw: st.DrawFn) -> Document:
    """A suite with values that are right in themselves, and no target."""
    measure = st.fixed_dictionaries(
        {},
        optional={
            "rounds": st.integers(1, 10),
            "min_samples": st.integers(1, 100),
            "max_seconds": st.floats(0.1, 10) | st.integers(1, 10),
            "precision": st.floats(0.001, 0.5),
            "budget": st.sampled_from(["90s", "10m", "1h30m", "1.5h", 60, 2.5]),
            "timeout": st.dictionaries(st.sampled_from(["load", "prepare", "measure"]), st.integers(1, 9)),
            "seed": st.integers(0, 2**63 - 1),
        },
    )
    return {"schema": 1, "name": "random", "matrix": draw(matrices()), "measure": draw(measure)}


@st.composite
def broken_suites(draw: st.DrawFn) -> Document:
    """A suite in which some values, anywhere, were replaced, added or taken away."""
    document = draw(suites())
    document["models"] = {"own": {"factory": "a.b:c", "kwargs": {"n": 1}}}
    document["accuracy"] = {"data": ".", "limit": 3, "seeds": [0]}
    document["target"] = [{"where": {"batch_size": 1}, "metric": "latency.p50_ms", "max": 1.0}]
    for _ in range(draw(st.integers(1, 4))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.booleans()):
                place[key] = draw(toml_values)
            else:
                del place[key]
            break
        if isinstance(place, dict):
            place[draw(_texts | st.sampled_from(["batchsize", "rounds", "where"]))] = draw(toml_values)
    return document


def as_toml(document: Document) -> str:
    """The document as TOML, one line for each key at the top."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in document.items())


def _key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    if isinstance(value, str):
        return _key(value)
    return str(value).lower()


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    """Valid TOML in mixed styles. Every leaf is text that starts with a mark of its own (`v1.`, `v2.`, …)."""
    count = 0

    def fresh() -> int:
        nonlocal count
        count += 1
        return count

    def key() -> str:
        number = fresh()
        styles = ["k{}", '"k {} # ]"', "'k{} = ['", '"k\\"{}\\u0041"', 'k{}.a."b.c"', "k{} . 'x'"]
        return draw(st.sampled_from(styles)).format(number)

    def leaf() -> str:
        styles = [
            '"v{}."',
            "'v{}. # ] }} , \"'",
            '"v{}. \\" \\\\"',
            '"""v{}. [\n # "" no comment\n\\""" x = 1\n"""""',
            "'''v{}. '' ]\n[no.table]\n'''",
        ]
        return draw(st.sampled_from(styles)).format(fresh())

    def value(depth: int) -> str:
        kind = draw(st.sampled_from(["leaf", "leaf", "array", "inline"])) if depth else "leaf"
        if kind == "leaf":
            return leaf()
        inner = [value(depth - 1) for _ in range(draw(st.integers(0, 3)))]
        if kind == "inline":
            return "{ " + ", ".join(f"{key()} = {each}" for each in inner) + " }"
        gap = draw(st.sampled_from([" ", "\n", "\r\n", " # ] } \"'\n  ", "\n\n\t"]))
        return f"[{gap}" + f"{gap},{gap}".join(inner) + draw(st.sampled_from([gap, f",{gap}" if inner else gap])) + "]"

    def body() -> str:
        lines = [f"{key()} = {value(2)}" for _ in range(draw(st.integers(0, 3)))]
        return "".join(f"{line}{draw(st.sampled_from(['', ' # [x] = 1']))}\n" for line in lines) + "\n# [[no]]\n"

    text = draw(st.sampled_from(["", "# first\n\n"])) + body()
    for number in range(draw(st.integers(0, 4))):
        header = draw(st.sampled_from(["[t{}]", "[ 't {}' . x ]", "[[a{}]]", '[["b]{}"]]']))
        for repeat in range(draw(st.integers(1, 3)) if header.startswith("[[") else 1):
            text += f"{header.format(number)} # it is {repeat}\n{body()}"
            if header == "[[a{}]]" and draw(st.booleans()):
                text += f"[a{number}.sub]\n{body()}[[a{number}.many]]\n{body()}[[a{number}.many]]\n{body()}"
    return text
