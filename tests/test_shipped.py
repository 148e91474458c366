"""The suites and the schema that come with the program, and how a suite is found by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bench.errors import UsageError
from bench.plan.suite import builtin_suites, find_suite, read_suite, suite_schema
from bench.plan.zoo import torchvision_models

ROOT = Path(__file__).resolve().parents[1]


def test_the_shipped_suites_read_without_a_problem_and_validate_against_their_schema() -> None:
    shipped = builtin_suites()
    assert set(shipped) == {"smoke", "cpu-baseline", "gpu-baseline", "modes", "precision"}
    for name, path in shipped.items():
        suite = read_suite(path)
        assert suite.name == name
        assert suite.description
        text = path.read_text(encoding="utf-8")
        assert text.startswith("#:schema ./suite.schema.json\n# ")
        jsonschema.validate(tomllib.loads(text), suite_schema())


def test_the_shipped_suites_hold_the_cases_that_they_promise() -> None:
    shipped = {name: read_suite(path) for name, path in builtin_suites().items()}
    compiled = [case.id for case in shipped["cpu-baseline"].cases if case.mode == "compile"]
    assert compiled == ["resnet50-cpu-b1-compile", "mobilenet_v2-cpu-b1-compile"]
    assert len(shipped["smoke"].cases) == 2
    assert len(shipped["modes"].cases) == 5 * 6 * 2
    assert {case.batch_size for case in shipped["gpu-baseline"].cases} == {1, 8, 32, 64}
    assert {case.device for case in shipped["precision"].cases if case.precision == "fp16"} == {"cuda"}


def test_the_committed_schema_is_the_one_that_the_form_makes() -> None:
    committed = json.loads((ROOT / "suites" / "suite.schema.json").read_text(encoding="utf-8"))
    assert committed == suite_schema()
    jsonschema.Draft202012Validator.check_schema(committed)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"matrix": {}},
        {"matrix": {"model": []}},
        {"matrix": {"model": ["a"], "mode": ["complie"]}},
        {"matrix": {"model": ["a"], "exclude": [{}]}},
        {"measure": {"budget": ""}},
        {"target": [{"metric": "latency.p50_ms"}]},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(change: dict[str, Any]) -> None:
    right = {"schema": 1, "name": "x", "matrix": {"model": ["a"]}}
    jsonschema.validate(right, suite_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**right, **change}, suite_schema())


def test_a_suite_is_found_by_path_then_in_the_folder_then_among_the_shipped(tmp_path: Path) -> None:
    assert find_suite("smoke", tmp_path) == builtin_suites()["smoke"]
    (tmp_path / "suites").mkdir()
    local = tmp_path / "suites" / "smoke.toml"
    local.touch()
    assert find_suite("smoke", tmp_path) == local
    (tmp_path / "smoke").touch()
    assert find_suite("smoke", tmp_path) == tmp_path / "smoke"
    assert find_suite(str(local), Path("/")) == local


def test_a_suite_that_is_nowhere_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no suite 'smok'.*did you mean 'smoke'\?"):
        find_suite("smok", tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / "mine.toml").touch()
    with pytest.raises(UsageError, match=r"did you mean '.*mine\.toml'\?"):
        find_suite(str(tmp_path / "mime.toml"), tmp_path / "other")
    with pytest.raises(UsageError, match="use one of: cpu-baseline, gpu-baseline, modes, precision, smoke"):
        find_suite("", tmp_path / "suites")


def test_a_path_that_is_there_but_no_file_is_left_to_the_reader_to_explain(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    assert find_suite("suites", tmp_path) == tmp_path / "suites"


def python(folder: Path, code: str) -> str:
    """What a fresh interpreter that imports from `folder` prints."""
    run = [sys.executable, "-c", code]
    return subprocess.run(
        run,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        text=True,
        capture_output=True,
        check=True,
    ).stdout


def test_an_installed_package_finds_the_suites_inside_itself(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "bench", tmp_path / "bench")
    shutil.copytree(ROOT / "suites", tmp_path / "bench" / "suites", dirs_exist_ok=True)
    found = python(tmp_path, "from bench.plan.suite import builtin_suites; print(builtin_suites()['smoke'])")
    assert Path(found.strip()) == tmp_path.resolve() / "bench" / "suites" / "smoke.toml"


def test_reading_a_suite_and_naming_torchvisions_models_imports_no_torch() -> None:
    code = (
        "import sys; from bench.plan.suite import *; from bench.plan.zoo import torchvision_models; "
        "read_suite(builtin_suites()['modes']); torchvision_models(); "
        "print([name for name in sys.modules if name.startswith('torch')])"
    )
    assert python(ROOT, code).strip() == "[]"


def test_torchvisions_classification_models_are_named_and_no_others() -> None:
    names = torchvision_models()
    assert names is not None
    assert {"resnet50", "vit_b_16", "mobilenet_v3_small", "googlenet", "swin_v2_t"} <= set(names)
    assert not {
        "fasterrcnn_resnet50_fpn",
        "raft_small",
        "quantized_resnet18",
        "r3d_18",
        "fcn_resnet50",
    } & set(names)
    assert list(names) == sorted(set(names))
