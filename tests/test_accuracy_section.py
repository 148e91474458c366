"""[accuracy] in a suite: each case answers labelled images once, after it was timed, and targets can name the shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import Script, outside
from PIL import Image
from scipy.stats import binomtest

from bench.cli import Manner, call

SUITE = """
schema = 1
name = "labelled"
[matrix]
model = ["resnet18"]
mode = ["eager", "torchscript"]
[measure]
rounds = 5
max_seconds = 1.0
[accuracy]
data = "images"
limit = 100
seeds = [1, 2]
"""
TARGET = '[[target]]\nmetric = "accuracy.top1"\nwhere = { mode = "eager" }\nmin = '


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    return tmp_path


def run(folder: Path, text: str, scripts: Any = None, *more: str) -> tuple[int, dict[str, Any], Manner]:
    (folder / "suite.toml").write_text(text)
    manner = Manner(outside=outside(scripts))
    code = call(["run", "-s", "suite.toml", "-o", "out.json", *more], manner)
    return code, json.loads((folder / "out.json").read_text()), manner


def test_the_shares_come_with_exact_binomial_intervals(folder: Path) -> None:
    code, report, _ = run(folder, SUITE)
    assert code == 0
    for result in report["results"]:
        for key, right in (("accuracy.top1", 76), ("accuracy.top5", 93)):
            exact = binomtest(right, 100).proportion_ci(method="exact")
            seen = result["metrics"][key]
            assert (seen["value"], seen["n"]) == (right / 100, 100)
            assert (seen["low"], seen["high"]) == pytest.approx((exact.low, exact.high))


def test_each_case_answers_the_images_once(folder: Path) -> None:
    _, _, manner = run(folder, SUITE)
    asked = [(each.case.id, each.accuracy is not None) for each in manner.outside.launcher.requests]
    assert sorted(name for name, wanted in asked if wanted) == ["resnet18-cpu-b1-eager", "resnet18-cpu-b1-torchscript"]
    assert len(asked) > 2
    wanted = next(each.accuracy for each in manner.outside.launcher.requests if each.accuracy)
    assert (wanted.data, wanted.limit, wanted.seeds) == (str(folder / "images"), 100, (1, 2))


@pytest.mark.parametrize(
    ("limit", "verdict", "code"), [("0.6", "met", 0), ("0.76", "inconclusive", 0), ("0.9", "missed", 1)]
)
def test_a_target_on_accuracy_is_judged_by_its_interval(folder: Path, limit: str, verdict: str, code: int) -> None:
    seen, report, _ = run(folder, SUITE + TARGET + limit)
    assert [each["verdict"] for each in report["targets"]] == [verdict]
    assert seen == code


def test_images_that_cannot_be_answered_leave_the_times_and_a_reason(folder: Path) -> None:
    trouble = Script(raises={"accuracy": RuntimeError("there are 3 folders and 1000 classes")})
    _, report, _ = run(folder, SUITE + TARGET + "0.5", {"resnet18-cpu-b1-eager": trouble})
    result = report["results"][0]
    assert result["status"] == "ok"
    assert result["metrics"]["latency.p50_ms"]["value"] is not None
    assert result["metrics"]["accuracy.top1"]["value"] is None
    assert "3 folders" in result["metrics"]["accuracy.top1"]["reason"]
    assert [each["verdict"] for each in report["targets"]] == ["unavailable"]


def test_a_process_that_dies_while_answering_leaves_the_times_and_a_reason(folder: Path) -> None:
    _, report, _ = run(folder, SUITE, {"resnet18-cpu-b1-eager": Script(dies=("accuracy", -9))})
    result = report["results"][0]
    assert result["status"] == "ok"
    assert "ended" in result["metrics"]["accuracy.top1"]["reason"]


def test_a_suite_without_the_section_says_so(folder: Path) -> None:
    _, report, _ = run(folder, SUITE.partition("[accuracy]")[0])
    assert report["results"][0]["metrics"]["accuracy.top1"]["reason"] == "the suite has no [accuracy] section"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SUITE.replace('"images"', '"nowhere"'), "no folder or CSV file 'nowhere'"),
        (SUITE.partition("[accuracy]")[0] + TARGET + "0.7", "needs labelled images"),
        (SUITE + TARGET + "76", "write 0.76 for 76 %"),
        (SUITE.replace("limit = 100", "limit = 0"), "accuracy.limit"),
        (SUITE.replace("seeds = [1, 2]", "seed = 1"), "accuracy.seed"),
        (SUITE.replace("seeds = [1, 2]", 'class_order = "size"'), "accuracy.class_order"),
    ],
)
def test_mistakes_in_the_section_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (folder / "suite.toml").write_text(text)
    assert call(["validate", "suite.toml"], Manner(outside=object())) == 2
    assert said in "".join(capsys.readouterr())


MODEL = """
import torch
class Brightness(torch.nn.Module):
    def forward(self, images):
        light = images.mean(dim=(1, 2, 3))
        return torch.stack([-light, light], dim=1)
def build():
    return Brightness()
def preprocess(image):
    return torch.tensor([sum(image.resize((1, 1)).getpixel((0, 0))) / 382.5 - 1.0]).view(1, 1, 1)
"""


@pytest.mark.real
def test_a_real_model_is_counted_right_to_the_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "brightness.py").write_text(MODEL)
    shades = {"0": [0, 20, 60, 200], "1": [255, 230, 180]}  # one of the dark folder is bright
    for name, greys in shades.items():
        (folder / "images" / name).mkdir()
        for grey in greys:
            Image.new("RGB", (40, 30), (grey,) * 3).save(folder / "images" / name / f"{grey}.png")
    (folder / "images" / "1" / "broken.png").write_bytes(b"not an image")
    (folder / "images" / "1" / "photo.heic").write_bytes(b"not looked at")
    for name in ("0", "1"):  # as text, 10 is before 9
        (folder / "images" / name).rename(folder / "images" / {"0": "10", "1": "9"}[name])
    (folder / "suite.toml").write_text(
        'schema = 1\nname = "real"\npythonpath = ["."]\n[matrix]\nmodel = ["light"]\nbatch_size = [4]\n'
        'mode = ["eager", "torchscript"]\n[measure]\nrounds = 1\nmax_seconds = 0.05\nmin_samples = 3\n'
        '[accuracy]\ndata = "images"\nclass_order = "text"\n'
        '[models.light]\nfactory = "brightness:build"\npreprocess = "brightness:preprocess"\n'
    )
    assert call(["run", "-s", "suite.toml", "-o", "out.json"], Manner()) == 0
    for result in json.loads((folder / "out.json").read_text())["results"]:
        counted = result["accuracy"]
        assert (counted["images"], counted["top1"], counted["top5"], counted["unreadable"]) == (7, 6, 7, 1)
        passed, broken = counted["notes"]
        assert passed.startswith("1 file passed over: 1 .heic")
        assert "9/broken.png: this is text, not an image" in broken
    assert "1 file passed over: 1 .heic" in capsys.readouterr().out
