"""A suite file is read whole: all that is wrong is said at once, and all that is right becomes cases."""

from __future__ import annotations

import json
import os
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import as_toml, broken_suites, calm, suites, toml_texts
from test_matrix import oracle

from bench.errors import SuiteError
from bench.plan.case import Case, Measure, ModelSpec, Timeouts
from bench.plan.suite import Suite, Target, read_suite, suite_schema
from bench.plan.suite_file import SuiteFile
from bench.plan.suite_values import Surroundings
from bench.report.run import SuiteRecord

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = jsonschema.Draft202012Validator(suite_schema())
HEAD = 'schema = 1\nname = "x"\n'
ONE = HEAD + '[matrix]\nmodel = ["resnet50"]\n'


def read(folder: Path, text: str | bytes) -> Suite:
    file = folder / "x.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_suite(file)


def problems(folder: Path, text: str | bytes) -> list[str]:
    """What is wrong with `text`, each line without the file's name."""
    with pytest.raises(SuiteError) as caught:
        read(folder, text)
    start = f"{folder / 'x.toml'}:"
    assert all(problem.startswith(start) for problem in caught.value.problems)
    return [problem.removeprefix(start) for problem in caught.value.problems]


# Right suites


def test_left_out_axes_and_settings_have_the_documented_defaults(tmp_path: Path) -> None:
    suite = read(tmp_path, ONE)
    assert suite.cases == (Case("resnet50", device="cpu", batch_size=1, mode="eager"),)
    assert suite.measure == Measure()
    assert (suite.description, suite.pythonpath, suite.targets, dict(suite.models)) == ("", (), (), {})


def test_every_part_of_a_suite_arrives(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "bert.pt").touch()
    text = """#:schema ./suite.schema.json
schema = 1
name = "full"
description = "All of it"
pythonpath = [".", "w"]
[matrix]
batch_size = [1, 2]
model = ["tiny", "own.module:build", "resnet18"]
threads = [2]
[models.tiny]
factory = "my_models:build"
inputs = "my_models:inputs"
kwargs = { layers = 2, deep = { since = 2020-01-01, limit = inf } }
weights = "./w/bert.pt"
[models.resnet18]
weights = "pretrained"
[measure]
rounds = 4
max_seconds = 2
budget = "1h30m"
timeout = { load = 7 }
[[target]]
where = { model = "tiny", batch_size = 2 }
metric = "throughput.items_per_s"
min = 3
"""
    suite = read(tmp_path, text)
    assert [case.id for case in suite.cases][:4] == [
        "tiny-cpu-b1-eager-t2",
        "own.module:build-cpu-b1-eager-t2",
        "resnet18-cpu-b1-eager-t2",
        "tiny-cpu-b2-eager-t2",
    ]
    tiny, own, resnet = (suite.spec(case) for case in suite.cases[:3])
    assert tiny.factory == "my_models:build"
    assert tiny.inputs == "my_models:inputs"
    assert tiny.kwargs["layers"] == 2
    assert tiny.weights == str(tmp_path.resolve() / "w" / "bert.pt")
    assert own == ModelSpec(factory="own.module:build")
    assert resnet == ModelSpec(factory="resnet18", weights="pretrained")
    assert suite.measure == Measure(rounds=4, max_seconds=2.0, budget_s=5400.0, timeout=Timeouts(load=7.0))
    assert suite.targets == (Target({"model": "tiny", "batch_size": 2}, "throughput.items_per_s", None, 3.0),)
    assert suite.pythonpath == (str(tmp_path.resolve()), str(tmp_path.resolve() / "w"))
    assert suite.sha256 == sha256(text.encode()).hexdigest()

    record = suite.resolved()
    assert SuiteRecord(**record).model_dump() == record
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert str(tmp_path) not in json.dumps(record)
    assert record["models"]["tiny"]["weights"] == "./w/bert.pt"
    assert record["models"]["tiny"]["kwargs"]["deep"] == {"since": "2020-01-01", "limit": "inf"}
    assert list(record["matrix"]) == [
        "batch_size",
        "model",
        "threads",
        "device",
        "mode",
        "exclude",
        "include",
    ]


def test_an_include_is_added_where_its_axis_is_new_and_becomes_a_case_where_it_is_not(tmp_path: Path) -> None:
    text = ONE + 'batch_size = [1, 8]\ninclude = [{batch_size = 8, precision = "bf16"}, {model = "alexnet"}]\n'
    assert [case.id for case in read(tmp_path, text).cases] == [
        "resnet50-cpu-b1-eager",
        "resnet50-cpu-b8-eager-bf16",
        "alexnet-cpu-b1-eager",
    ]


@calm
@given(document=suites())
def test_a_suite_of_right_values_has_the_cases_of_the_rule_or_says_why_not(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    matrix = {"device": ["cpu"], "batch_size": [1], "mode": ["eager"], **document["matrix"]}
    wanted = [Case(**combination) for combination in oracle(matrix) if "model" in combination]
    right = len(set(wanted)) == len(oracle(matrix)) > 0
    try:
        suite = read(tmp_path_factory.getbasetemp(), as_toml(document))
    except SuiteError as error:
        assert not right, error
    else:
        assert right
        assert set(suite.cases) == set(wanted)
        assert len({case.id for case in suite.cases}) == len(suite.cases) == len(wanted)
        SCHEMA.validate(tomllib.loads(as_toml(document)))


# Wrong suites


def test_all_mistakes_of_a_file_are_reported_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """schema = 2
nam = "x"
rounds = 3
[matrix]
model = ["resnet5", "a b:c", "own"]
batch_size = [1, "8", 0, # a [comment] }
  true,
  1.5]
mode = ["complie"]
device = "gpu"
threads = []
exclude = [ {foo = 1}, {}, {modle = "x"} ]
[[matrix.include]]
precision = "half"
[models.own]
weights = "pretraind"
[models."x y"]
factory = "a:1b"
[measure]
budget = "5 min"
seed = -1
timeout = { load = -1, warmup = 3 }
[[target]]
metric = "p50"
max = nan
[[target]]
metric = "latency.p50_ms"
[[target]]
metric = "latency.p50_ms"
max = 1
min = 2
where = { mode = "egaer" }
"""
    assert problems(tmp_path, text) == [
        "1: schema: is 2, but this program reads version 1; write schema = 1, or use a newer bench",
        '1: name: is missing; add name = "my-suite"',
        "2: nam: unknown key; did you mean 'name'?",
        "3: rounds: unknown key here; it belongs in [measure]",
        "5: matrix.model[0]: unknown model 'resnet5'; did you mean 'resnet50'? `bench list models` shows "
        "torchvision's; a model of your own is 'package.module:callable'",
        "5: matrix.model[1]: 'a b:c' cannot be imported; write 'package.module:callable'",
        "6: matrix.batch_size[1]: must be a whole number; write 8 without quotes",
        "6: matrix.batch_size[2]: must be at least 1; got 0",
        "7: matrix.batch_size[3]: must be a whole number; got true",
        "8: matrix.batch_size[4]: must be a whole number; got 1.5",
        "9: matrix.mode[0]: unknown mode 'complie'; did you mean 'compile'?",
        '10: matrix.device: must be a list; put it in brackets: ["gpu"]',
        "11: matrix.threads: is empty; put at least one value in it, or remove it to have the default",
        "12: matrix.exclude[0].foo: unknown key; remove it (known here: model, device, batch_size, mode, "
        "precision, channels_last, threads)",
        "12: matrix.exclude[1]: names no axis; add one, e.g. batch_size = 8, or remove the entry",
        "12: matrix.exclude[2].modle: unknown key; did you mean 'model'?",
        "14: matrix.include[0].precision: unknown precision 'half'; did you mean 'fp16'?",
        "15: models.own: 'own' is not a torchvision model, so it needs a factory; add factory = 'package.module:callable'",
        "16: models.own.weights: there is no weights file 'pretraind'; did you mean 'pretrained'?",
        "17: models.'x y': 'x y' does not fit in an id or a file name; use letters, digits and _ . + -",
        "18: models.'x y'.factory: 'a:1b' cannot be imported; write 'package.module:callable'",
        "20: measure.budget: '5 min' is not a duration; write '90s', '10m', '1h30m' or a number of seconds",
        "21: measure.seed: must be at least 0; got -1",
        "22: measure.timeout.load: must be more than 0; got -1",
        "22: measure.timeout.warmup: unknown key; did you mean 'warm_up'?",
        "24: target[0].metric: unknown metric 'p50'; did you mean 'latency.p50_ms'?",
        "25: target[0].max: must be a finite number; got nan",
        "26: target[1]: has no limit; add max = … or min = …",
        "32: target[2].where.mode: unknown mode 'egaer'; did you mean 'eager'?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ONE + "batch_size = [8, 1, 8]", "5: matrix.batch_size[2]: 8 is listed twice; remove one"),
        (ONE + 'exclude = [{mode = "eager"}]', "5: matrix.exclude: leaves no case at all; exclude less"),
        (ONE + "exclude = [{threads = 1}]", "5: matrix.exclude[0].threads: excludes nothing"),
        (
            ONE + 'include = [\n{model = "vgg11"},\n{model = "vgg11"}]',
            "7: matrix.include[1]: makes the case vgg11-cpu-b1-eager a second time; remove this entry",
        ),
        (
            ONE + "include = [{batch_size = 2}]",
            "5: matrix.include[0]: fits no combination, so it is a case of its own",
        ),
        (
            HEAD + f"[matrix]\nmodel = ['resnet50', 'vgg11']\nbatch_size = {list(range(1, 501))}\n"
            f"threads = {list(range(1, 201))}",
            "3: matrix: 200,000 combinations are more than the 100,000 allowed",
        ),
        (
            ONE + "[[target]]\nmetric = 'latency.p50_ms'\nmax = 1\nwhere = {batch_size = 2}",
            "8: target[0].where.batch_size: no case has batch_size = 2; the cases have: 1",
        ),
        (
            ONE + "[[target]]\nmetric = 'latency.p50_ms'\nmax = 1\n[target.where]\nmodel = 'resnet18'",
            "9: target[0].where.model: no case has model = 'resnet18'; did you mean 'resnet50'?",
        ),
        (
            ONE + "batch_size = [1, 8]\nmode = ['eager', 'compile']\n"
            "exclude = [{batch_size = 8, mode = 'compile'}]\n"
            "[[target]]\nmetric = 'latency.p50_ms'\nmax = 1\nwhere = {batch_size = 8, mode = 'compile'}",
            "11: target[0].where: no case has all of these values together",
        ),
        (
            ONE + "[[target]]\nmetric = 'latency.p50_ms'\nmax = 1\nmin = 2",
            "5: target[0]: no value can meet it: min 2",
        ),
        (
            ONE + "[target]\nmetric = 'latency.p50_ms'",
            "5: target: is one table where a list of them is wanted; write [[target]]",
        ),
        (
            ONE + "[models.a]\nfactory = 'm:f'\nweights = 'pretrained'",
            "7: models.a.weights: 'pretrained' is for torch",
        ),
        (
            ONE + "[models.resnet5O]\nweights = 'random'",
            "5: models.resnet5O: 'resnet5O' is not a torchvision model",
        ),
        (
            HEAD + "pythonpath = ['no/such']\n[matrix]\nmodel = ['vgg11']",
            "3: pythonpath[0]: there is no folder",
        ),
        (
            ONE + "description = 'y'",
            "5: matrix.description: unknown key here; it belongs at the top of the file",
        ),
        (HEAD, '1: matrix: is missing; add [matrix] with model = ["resnet50"]'),
        (HEAD + "[matrix]", '3: matrix.model: is missing; add model = ["resnet50"]'),
        (HEAD + "[matrix]\nmodel = []", "4: matrix.model: is empty"),
        (HEAD + "[[matrix]]\nmodel = ['vgg11']", "3: matrix: must be a table; got a list"),
        (
            ONE + "device = ['cuda:01']",
            "5: matrix.device[0]: unknown device 'cuda:01'; did you mean 'cuda:0'?",
        ),
        (ONE.replace("schema = 1", "schema = true"), "1: schema: must be a whole number; got true"),
        (ONE.replace('"x"', "'../x'"), "2: name: '../x' does not fit in an id or a file name"),
        (ONE + "[measure]\nbudget = '0s'", "6: measure.budget: must be a finite time above zero; got '0s'"),
        (ONE + "[measure]\nbudget = inf", "6: measure.budget: must be a finite time above zero; got inf"),
        (ONE + "[measure]\nmax_seconds = inf", "6: measure.max_seconds: must be a finite number"),
        (ONE + "[measure]\nrounds = true", "6: measure.rounds: must be a whole number; got true"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_cure(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(problem)
    assert "; " in found[0]


def test_ten_million_cases_are_refused_with_their_number(tmp_path: Path) -> None:
    axes = f"batch_size = {list(range(1, 10_001))}\nthreads = {list(range(1, 1001))}"
    (problem,) = problems(tmp_path, ONE + axes)
    assert problem.startswith("3: matrix: 10,000,000 combinations")


def test_without_torchvision_any_name_may_be_a_model() -> None:
    document = {"schema": 1, "name": "x", "matrix": {"model": ["resnet5"]}}
    around = Surroundings(folder=Path(), declared=frozenset(), zoo=None)
    assert SuiteFile.model_validate(document, context=around).matrix.model == ["resnet5"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", " the file is empty"),
        (b"\n  \n", " the file is empty"),
        (b"name = \n", "1: is not valid TOML: Invalid value, at column 8"),
        (b"a = 1\nb = 2\na = 3\n", "3: is not valid TOML: Cannot overwrite a value"),
        (b"a = [1,\n", " is not valid TOML: Invalid value (at end of document)"),
        (b'name = "caf\xe9"\n', "1: is not UTF-8 (found byte 0xe9); save it as UTF-8"),
        ("a = 1".encode("utf-16"), "1: is not UTF-8 (found UTF-16)"),
        (b"a = " + b"[" * 5000, " tables or lists stand more than 64 deep"),
        (b"[" + b".".join([b"a"] * 5000) + b"]", " tables or lists stand more than 64 deep"),
        (b"a = " + b"9" * 5000, " holds a whole number of more than 64 bits"),
        (b"a = 0x" + b"f" * 5000, " holds a whole number of more than 64 bits"),
        (b"#" * 16_000_001, " is larger than 16 MB"),
    ],
)
def test_bytes_that_are_no_toml_are_one_problem(tmp_path: Path, data: bytes, problem: str) -> None:
    (found,) = problems(tmp_path, data)
    assert found.startswith(problem)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    text = ONE.replace("\n", "\r\n")
    assert read(tmp_path, b"\xef\xbb\xbf" + text.encode()).name == "x"
    assert problems(tmp_path, text + "x = 1\r\n")[0].startswith("5: matrix.x: unknown key")


def test_a_path_that_is_no_readable_file_is_one_problem_with_the_cure(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    for path, words in [
        (tmp_path / "none.toml", "there is no such file"),
        (tmp_path, "is a folder, not a suite; name a .toml file in it"),
        (loop, "is a link that leads back to itself"),
        (tmp_path / "nul\0.toml", "cannot be read: embedded null byte"),
        (tmp_path / ("n" * 300), "cannot be read: File name too long"),
    ]:
        with pytest.raises(SuiteError) as caught:
            read_suite(path)
        (problem,) = caught.value.problems
        assert problem.startswith(f"{path}: {words}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_the_right_to_read_says_so(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.touch(mode=0o000)
    with pytest.raises(SuiteError, match="permission denied"):
        read_suite(file)


@calm
@given(text=broken_suites().map(as_toml) | st.text() | toml_texts() | st.binary())
def test_no_file_makes_anything_but_a_suite_or_its_problems(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    data = text.encode() if isinstance(text, str) else text
    (folder / "x.toml").write_bytes(data)
    try:
        suite = read_suite(folder / "x.toml")
    except SuiteError as error:
        assert error.problems
        assert all(problem.startswith(f"{folder / 'x.toml'}:") for problem in error.problems)
        assert all(problem.isprintable() for problem in error.problems)
    else:
        json.dumps(suite.resolved(), allow_nan=False)
