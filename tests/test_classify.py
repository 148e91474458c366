"""bench classify: every image is answered or says why not, in full batches, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shades
import torch
from PIL import Image

from bench import InferenceSession
from bench.cli import Manner, call
from bench.core.classify import Classifier
from bench.core.stream import batches
from bench.errors import CaseError, ImageError, UsageError
from bench.plan.case import ModelSpec

SPEC = ModelSpec("shades:Recorded", preprocess="shades:preprocess")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven images, dark ones first, in a folder of the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, grey in enumerate((0, 10, 20, 30, 200, 220, 250)):
        Image.new("RGB", (30, 20), (grey,) * 3).save(tmp_path / "photos" / f"{number}.png")
    shades.SIZES.clear()
    return tmp_path


def classify(*arguments: str, model: str = "Recorded") -> int:
    always = (
        "--model",
        f"shades:{model}",
        "--preprocess",
        "shades:preprocess",
        "--weights",
        "random",
        "--device",
        "cpu",
    )
    return call(["classify", *arguments, *always], Manner(outside=object()))


def as_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_folder_of_seven_runs_in_three_passes_of_three(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify("photos", "--batch-size", "3", "--top-k", "2", "--json") == 0
    seen = as_json(capsys)
    assert shades.SIZES == [3, 3, 1]
    assert [each["image"] for each in seen["predictions"]] == [f"photos/{number}.png" for number in range(7)]
    assert [each["predictions"][0]["class_id"] for each in seen["predictions"]] == [0, 0, 0, 0, 1, 1, 1]
    assert all(len(each["predictions"]) == 2 for each in seen["predictions"])
    assert seen["summary"]["forward_passes"] == 3
    assert (seen["summary"]["images"], seen["summary"]["unreadable"]) == (7, 0)
    for each in seen["predictions"]:
        assert each["preprocess_ms"] > 0
        assert each["inference_ms"] > 0


def test_one_unreadable_image_is_reported_takes_no_place_in_a_batch_and_is_exit_3(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "photos" / "1-broken.jpg").write_bytes(b"no image")
    assert classify("photos", "nowhere.png", "--batch-size", "4", "--json") == 3
    seen = as_json(capsys)
    assert shades.SIZES == [4, 3]
    failed = [each for each in seen["predictions"] if "error" in each]
    assert [each["image"] for each in failed] == ["photos/1-broken.jpg", "nowhere.png"]
    assert (seen["summary"]["images"], seen["summary"]["unreadable"]) == (7, 2)


def test_the_text_has_names_bars_and_a_summary_in_80_columns(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert classify("photos/6.png", "photos/0.png", "--top-k", "3", "-v") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "━" in out
    assert "class 1" in out
    assert "2 images" in out
    assert "preprocessing" in out


def test_labels_come_from_a_file_of_exactly_as_many_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "three.txt").write_text("dark\nbright\nnever\n")
    (folder / "two.txt").write_text("dark\nbright\n")
    assert classify("photos/0.png", "--labels", "three.txt", "--top-k", "1", "--json") == 0
    assert as_json(capsys)["predictions"][0]["predictions"][0]["label"] == "dark"
    assert classify("photos/0.png", "--labels", "two.txt", "--json") == 2
    assert "2 labels" in as_json(capsys)["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("photos", "--top-k", "0"), 2, "top-k"),
        (("photos", "--top-k", "5000"), 2, "has 3 classes"),
        (("empty",), 2, "no image in empty"),
        (("photos", "--labels", "nowhere.txt"), 2, "no labels file"),
        (("photos", "--mode", "fast"), 2, "unknown mode"),
        (("photos", "--weights", "nowhere.pt"), 2, "no weights file"),
    ],
)
def test_what_is_wrong_is_said_in_one_document(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    (folder / "empty").mkdir()
    always = ("--model", "shades:Recorded", "--preprocess", "shades:preprocess", "--device", "cpu", "--json")
    weights = () if "--weights" in arguments else ("--weights", "random")
    assert call(["classify", *arguments, *always, *weights], Manner(outside=object())) == code
    assert said in as_json(capsys)["error"]["message"]


def test_what_a_model_prints_goes_aside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify("photos", "--json", model="Chatty") == 0
    both = capsys.readouterr()
    assert len(json.loads(both.out)["predictions"]) == 7
    assert "look at me" in both.err


@pytest.mark.parametrize(
    ("model", "said"),
    [("Undefined", "NaN"), ("Flat", "not a classifier"), ("Broken", "raised ValueError: the shapes do not fit")],
)
def test_a_model_that_cannot_answer_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str, said: str
) -> None:
    assert classify("photos", model=model) == 3
    both = capsys.readouterr()
    assert said in both.err
    assert "bug in bench" not in both.err


def test_without_memory_for_the_batch_it_is_halved_and_nothing_is_lost_or_repeated(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert classify("photos", "--batch-size", "7", "--json", model="Small") == 0
    both = capsys.readouterr()
    seen = json.loads(both.out)
    assert [each["predictions"][0]["class_id"] for each in seen["predictions"]] == [0, 0, 0, 0, 1, 1, 1]
    assert sum(shades.SIZES) == 7
    assert max(shades.SIZES) == 1  # 7, 3 and then 1
    assert "going on with batch 3" in both.err
    assert "going on with batch 1" in both.err


def test_no_fallback_fails_at_once_and_so_does_one_image_too_much(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert classify("photos", "--no-fallback", model="Small") == 3
    assert "--batch-size" in capsys.readouterr().err
    assert classify("photos", model="Nothing") == 3
    assert "one image alone" in capsys.readouterr().err


class _OnDevice:
    """A session on a scripted GPU: the real one on the CPU, with a name and a limit."""

    def __init__(self, device: str, batch_size: int) -> None:
        self.real = InferenceSession(SPEC, device="cpu", batch_size=batch_size).__enter__()
        self.device = torch.device(device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def probabilities(self, items: Any) -> torch.Tensor:
        if self.device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.real.probabilities(items)


def test_a_gpu_without_memory_for_one_image_gives_way_to_the_cpu(folder: Path) -> None:
    opened: list[tuple[str, int]] = []
    warnings: list[str] = []

    def opener(device: str, batch_size: int) -> Any:
        opened.append((device, batch_size))
        return _OnDevice(device, batch_size)

    classifier = Classifier(opener, "cuda", 4, top_k=1, warn=warnings.append)
    found = [answer for group in classifier.answers(sorted((folder / "photos").iterdir())) for answer in group]
    assert opened == [("cuda", 4), ("cuda", 2), ("cuda", 1), ("cpu", 4)]
    assert [each.predictions[0].class_id for each in found] == [0, 0, 0, 0, 1, 1, 1]
    assert "on the CPU" in warnings[-1]


def test_without_a_network_the_error_names_the_file_the_place_and_the_option(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(folder / "home"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    assert call(["classify", "photos", "--model", "resnet18", "--device", "cpu"], Manner(outside=object())) == 3
    err = capsys.readouterr().err
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in err
    assert str(folder / "home" / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in err
    assert "--weights FILE" in err


def test_imagenets_labels_are_torchvisions_and_random_weights_are_called_meaningless(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    always = ["--model", "mobilenet_v3_small", "--weights", "random", "--device", "cpu", "--top-k", "1000", "--json"]
    assert call(["classify", "photos/0.png", *always], Manner(outside=object())) == 0
    both = capsys.readouterr()
    labels = {each["class_id"]: each["label"] for each in json.loads(both.out)["predictions"][0]["predictions"]}
    assert (labels[0], labels[281], labels[999]) == ("tench", "tabby", "toilet tissue")
    assert "mean nothing" in both.err


# --- As a library


@pytest.fixture
def session() -> Iterator[InferenceSession]:
    with InferenceSession(SPEC, device="cpu", batch_size=2) as opened:
        yield opened


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (9, 9), (level,) * 3)


def test_predict_takes_one_image_or_many_of_any_kind(session: InferenceSession, folder: Path) -> None:
    path = folder / "photos" / "0.png"
    assert [len(each) for each in session.predict(path, top_k=2)] == [2]
    many = [path, str(path), path.read_bytes(), grey(255)]
    assert [each[0].class_id for each in session.predict((each for each in many), top_k=1)] == [0, 0, 0, 1]
    assert session.predict([], top_k=1) == []
    best = session.predict(grey(255), top_k=3)[0]
    assert sum(each.probability for each in best) == pytest.approx(1)
    assert [each.label for each in best][:1] == ["class 1"]


def test_predict_raises_what_is_wrong(session: InferenceSession) -> None:
    with pytest.raises(ImageError, match="zero bytes"):
        session.predict([grey(0), b""])
    for wrong in (0, 4, 5000):
        with pytest.raises(UsageError, match="3 classes"):
            session.predict([grey(0)], top_k=wrong)


def test_several_threads_get_what_one_would(session: InferenceSession) -> None:
    levels = [0, 40, 90, 160, 210, 255]
    alone = [session.predict(grey(level), top_k=3) for level in levels]
    together: dict[int, Any] = {}

    def work(level: int) -> None:
        together[level] = session.predict([grey(level)] * 5, top_k=3)

    threads = [threading.Thread(target=work, args=(level,)) for level in levels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[level] for level in levels] == [each * 5 for each in alone]


def test_in_other_modes_the_last_batch_is_filled_up_and_the_answers_are_the_same(session: InferenceSession) -> None:
    images = [grey(level) for level in (0, 90, 255)]
    with InferenceSession("shades:Brightness", preprocess="shades:preprocess", device="cpu", batch_size=2,
                          mode="torchscript") as traced:  # fmt: skip
        theirs = traced.predict(images, top_k=3)
    for mine, other in zip(session.predict(images, top_k=3), theirs, strict=True):
        assert [each.class_id for each in mine] == [each.class_id for each in other]
        assert [each.probability for each in mine] == pytest.approx([each.probability for each in other])


def test_import_bench_loads_no_torch() -> None:
    code = "import bench, sys; print('torch' in sys.modules, hasattr(bench, 'nothing'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- Decoding ahead


def test_groups_are_in_order_full_and_read_only_so_far_ahead() -> None:
    begun: list[int] = []

    def prepare(source: Any) -> torch.Tensor:
        begun.append(source)
        if source % 5 == 4:
            raise ImageError(f"{source}: damaged")
        return torch.tensor(source)

    stream = batches(range(100), prepare, 4)  # type: ignore[arg-type]
    first = next(stream)
    assert [each.index for each in first] == [0, 1, 2, 3]
    assert len(begun) <= 4 + 2 * 4
    rest = list(stream)
    assert [each.index for group in [first, *rest] for each in group] == list(range(100))
    readable = [sum(each.error is None for each in group) for group in [first, *rest]]
    assert readable[:20] == [4] * 20
    assert sum(readable) == 80


def test_leaving_early_leaves_no_thread() -> None:
    before = threading.active_count()
    stream = batches(range(1000), torch.tensor, 2)  # type: ignore[arg-type]
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_an_error_of_a_preprocessing_names_it() -> None:
    wrong = InferenceSession("shades:Brightness", preprocess="shades:Flat", device="cpu")
    with pytest.raises(CaseError, match="shades:Flat raised TypeError"):
        wrong.__enter__()
