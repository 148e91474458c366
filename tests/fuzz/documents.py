"""Sound documents to be mangled: what the program wrote itself, made short, and the suites that come with it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from builders import make_report, make_suite, mixed_report
from test_exports import an_ab_report

from bench.plan.suite import builtin_suites, read_suite

ROOT = Path(__file__).resolve().parents[2]
_FEW = 6  # of samples and other long lists: a short document is mangled where it matters, and read fast
OWN_SUITE = """
schema = 1
name = "own"
description = "Everything that a suite can hold"
pythonpath = ["."]
[matrix]
model = ["own", "resnet50", "a.b:c"]
batch_size = [1, 8]
device = ["cpu", "cuda:0"]
mode = ["eager", "compile"]
precision = ["fp32", "bf16"]
channels_last = [false, true]
threads = [1, 2]
exclude = [{ mode = "compile", precision = "bf16" }]
[[matrix.include]]
model = "resnet18"
threads = 3
[models.own]
factory = "own.models:build"
inputs = "own.models:inputs"
kwargs = { width = 3, names = ["a"], deep = { er = 1.5 } }
weights = "random"
preprocess = "own.models:preprocess"
[measure]
rounds = 3
min_samples = 5
max_seconds = 1.5
precision = 0.02
budget = "1h30m"
timeout = { load = 60, accuracy = 10.0 }
seed = 7
[accuracy]
data = "."
limit = 10
seeds = [0, 1]
[[target]]
where = { model = "own", batch_size = 1, mode = "eager" }
metric = "latency.p50_ms"
max = 100.0
[[target]]
metric = "accuracy.top1"
min = 0.5
"""


def reports(folder: Path) -> dict[str, Any]:
    """Name to document: each committed report, and one built of each kind. `folder` takes a suite of its own."""
    found = {
        str(path.relative_to(ROOT)): short(json.loads(path.read_text(encoding="utf-8")))
        for path in sorted((ROOT / "reports").rglob("*.json"))
    }
    (folder / "own.toml").write_text(OWN_SUITE, encoding="utf-8")
    asked = read_suite(folder / "own.toml").resolved()
    mixed = mixed_report()
    found["built run"] = json.loads(
        mixed.model_copy(update={"suite": make_suite(**asked)}).model_dump_json(by_alias=True)
    )
    found["empty run"] = json.loads(make_report([], environments={}).model_dump_json(by_alias=True))
    found["built ab"] = json.loads(an_ab_report().model_dump_json(by_alias=True))
    return {name: short(each) for name, each in found.items()}


def suites() -> dict[str, tuple[dict[str, Any], str]]:
    """Name to a suite's document and its text."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in builtin_suites().items()}
    return {name: (tomllib.loads(text), text) for name, text in {**texts, "own": OWN_SUITE}.items()}


def short(value: Any) -> Any:
    """The document with every list cut to its first entries."""
    if isinstance(value, dict):
        return {key: short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [short(inner) for inner in value[:_FEW]]
    return value
