"""Weights from files: what torch takes strictly is taken, anything else is named with its cure, nothing is unpickled."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from bench.core.models import build_model
from bench.core.session import InferenceSession
from bench.errors import CaseError
from bench.plan.case import ModelSpec

STATE = dict[str, Any]


class Scaled(nn.Linear):
    """Keeps something that is no tensor in its state."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.history = {"amax": 1.0}

    def get_extra_state(self) -> dict[str, float]:
        return dict(self.history)

    def set_extra_state(self, state: dict[str, float]) -> None:
        self.history = dict(state)


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 4)))


def wrapped() -> nn.Module:
    return nn.ModuleDict({"backbone": convolution()})


def vocoder() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Conv1d(4, 8, 3)))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4))


def load(factory: Callable[[], nn.Module], path: Path) -> tuple[nn.Module, str]:
    built = build_model(ModelSpec(f"{__name__}:{factory.__name__}", weights=str(path)), seed=1)
    return built.model, built.weights


def scaled() -> nn.Module:
    return nn.Sequential(Scaled())


@pytest.fixture
def state() -> STATE:
    torch.manual_seed(0)
    return dict(convolution().state_dict())


def refusal(path: Path, factory: Callable[[], nn.Module] = convolution) -> str:
    with pytest.raises(CaseError) as caught:
        load(factory, path)
    return f"{caught.value} {caught.value.advice}"


def renamed(state: STATE) -> STATE:
    """As torch's older weight_norm named its keys."""
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    return {"0." + names.get(key.removeprefix("0."), key.removeprefix("0.")): value for key, value in state.items()}


def test_what_torch_loads_strictly_is_loaded(tmp_path: Path, state: STATE) -> None:
    untracked = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    given: list[tuple[Callable[[], nn.Module], STATE]] = [
        (convolution, untracked),
        (vocoder, renamed(dict(vocoder().state_dict()))),
        (scaled, {**scaled().state_dict(), "0._extra_state": {"amax": 7.0}}),
        (lazy, dict(nn.Sequential(nn.Linear(3, 4)).state_dict())),
    ]
    for factory, saved in given:
        torch.save(saved, tmp_path / "old.pt")
        model, identity = load(factory, tmp_path / "old.pt")
        assert identity.startswith("file, sha256 "), factory
        again = factory()
        again.load_state_dict(saved, strict=True)
        for key, value in again.state_dict().items():
            own = model.state_dict()[key]
            assert torch.equal(own, value) if isinstance(value, torch.Tensor) else own == value, key


def test_a_state_that_says_how_new_it_is_may_lack_nothing(tmp_path: Path) -> None:
    saved = convolution().state_dict()  # with its `_metadata`, from which torch knows that the key should be there
    del saved["1.num_batches_tracked"]
    torch.save(saved, tmp_path / "new.pt")
    assert "1.num_batches_tracked is missing" in refusal(tmp_path / "new.pt")


def test_safetensors_are_read(tmp_path: Path, state: STATE) -> None:
    save_file(state, tmp_path / "net.safetensors")
    model, _ = load(convolution, tmp_path / "net.safetensors")
    assert torch.equal(model.state_dict()["0.weight"], state["0.weight"])
    save_file({f"module.{key}": value for key, value in state.items()}, tmp_path / "wrapped.safetensors")
    assert "safetensors.torch.load_file" in refusal(tmp_path / "wrapped.safetensors")
    whole = (tmp_path / "net.safetensors").read_bytes()
    (tmp_path / "net.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "net.safetensors is cut off or damaged" in refusal(tmp_path / "net.safetensors")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "net.encoder."])
def test_a_prefix_before_all_keys_is_named_and_its_cure_works(tmp_path: Path, state: STATE, prefix: str) -> None:
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "net.pt")
    said = refusal(tmp_path / "net.pt")
    assert f"the keys in net.pt begin with '{prefix}'" in said
    cure = said.partition("Take it off: ")[2]
    exec(cure.replace('"net.pt"', repr(str(tmp_path / "net.pt"))).replace('"weights.pt"', repr(str(tmp_path / "w.pt"))))
    load(convolution, tmp_path / "w.pt")


def test_a_checkpoint_is_told_apart_from_its_state_and_an_average_is_named(tmp_path: Path, state: STATE) -> None:
    cases: dict[str, tuple[Any, list[str]]] = {
        "lightning": ({"state_dict": state, "epoch": 3, "optimizer": {"state": state}}, ['under ["state_dict"] ']),
        "ema": ({"model": state, "ema": state}, ['["model"]', '["ema"]']),
        "nested": ({"a": {"model": state}}, ['torch.load("nested.pt")["a"]["model"]']),
        "wrapped": (
            {"state_dict": {f"model.{key}": value for key, value in state.items()}},
            ["removeprefix('model.')"],
        ),
        "empty": ({}, ["holds no tensors"]),
        "copies": (
            {f"{prefix}{key}": value for prefix in ("model.", "model_ema.") for key, value in state.items()},
            ["'model.' or 'model_ema.'", "EMA"],
        ),
    }
    for name, (saved, words) in cases.items():
        torch.save(saved, tmp_path / f"{name}.pt")
        said = refusal(tmp_path / f"{name}.pt")
        assert [word for word in words if word not in said] == [], said


def test_a_model_with_a_wrapper_of_its_own_is_told(tmp_path: Path, state: STATE) -> None:
    torch.save(state, tmp_path / "net.pt")
    assert "the keys of ModuleDict begin with 'backbone.', those in net.pt do not" in refusal(
        tmp_path / "net.pt", wrapped
    )


class Trap:
    """What a hostile file would run when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


def test_files_that_hold_no_weights_are_named_for_what_they_are(
    tmp_path: Path, state: STATE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state, "whole.pt")
    whole = Path("whole.pt").read_bytes()
    torch.save(convolution(), "module.pt")
    torch.save({"state_dict": state, "options": argparse.Namespace(a=1)}, "options.pt")
    torch.save([1], "list.pt")
    torch.save(state, "older.pt", _use_new_zipfile_serialization=False)
    older = Path("older.pt").read_bytes()
    torch.jit.script(convolution()).save("script.pt")
    made = {
        "cut.pt": (whole[: len(whole) // 2], "is cut off or damaged"),
        "hole.pt": (whole[:300] + b"\xff" * 900 + whole[1200:], "is cut off or damaged"),
        "older-cut.pt": (older[: len(older) // 2], "is cut off or damaged"),
        "empty.pt": (b"", "is empty"),
        "text.pt": (b"hello", "is not a file of plain tensors"),
        "lfs.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "`git lfs pull`"),
        "page.pt": (b"\n<!DOCTYPE html><html></html>", "is a web page"),
        "array.npy": (b"\x93NUMPY\x01\x00v\x00", "is a NumPy array"),
        "odd.safetensors": (b"what is this", "is no safetensors file, or a damaged one"),
        "index.json": (b'{"weight_map": {}}', "is a JSON file"),
        "trap.pt": (pickle.dumps(Trap()), "bench never unpickles objects"),
        "module.pt": (None, "holds pickled objects (torch.nn.modules.container.Sequential)"),
        "options.pt": (None, "holds pickled objects (argparse.Namespace)"),
        "list.pt": (None, "holds list, not a state_dict"),
        "script.pt": (None, "is a TorchScript archive"),
    }
    for name, (data, words) in made.items():
        if data is not None:
            Path(name).write_bytes(data)
        said = refusal(tmp_path / name)
        assert said.startswith(name), said
        assert words in said, said
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / "nowhere.pt")
    assert not Path("sprung").exists()
    load(convolution, tmp_path / "older.pt")


def test_a_file_cut_off_in_torchs_own_cache_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(CaseError, match="in torch's cache, squeezenet1_1") as caught:
        InferenceSession("squeezenet1_1", weights="pretrained", device="cpu").load()
    assert str(cached) in caught.value.advice
