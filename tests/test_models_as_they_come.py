"""Models as people bring them: converted already, with packages that set things, factories that run once, odd inputs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo

from bench.core import imports
from bench.core.session import InferenceSession
from bench.errors import CaseError, Unsupported
from bench.plan.case import ModelSpec
from bench.worker.clock import monotonic
from bench.worker.solo import first_call

CODE = """
import random
import warnings
import torch
from torch import nn

kept = []

class Net(nn.Module):
    def __init__(self, depth=1):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(depth)), nn.Dropout(0.5))
    def forward(self, x):
        return self.layers(x)

def plain():
    return Net()
def exported():
    return torch.export.export(Net().eval(), (torch.randn(2, 8),)).module()
def program():
    return torch.export.export(Net().eval(), (torch.randn(2, 8),))
def scripted():
    return torch.jit.script(Net())
def frozen():
    return torch.jit.freeze(torch.jit.trace(Net().eval(), torch.randn(2, 8)))
def compiled():
    return torch.compile(Net())
def compiled_in_place():
    net = Net()
    net.compile(backend="eager")
    return net
def compiled_forward():
    net = Net()
    net.forward = torch.compile(net.forward, backend="eager")
    return net
class Decorated(Net):
    @torch.compile(backend="eager")
    def forward(self, x):
        return self.layers(x)
def decorated():
    return Decorated()
def compiled_part():
    net = Net()
    net.layers = torch.compile(net.layers, backend="eager")
    return net
def the_class():
    return Net
def with_its_settings():
    return Net(), {"depth": 1}
class Integers(nn.Module):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.layer = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)), dtype=torch.qint8)
    def forward(self, x):
        return self.layer(x)
def quantised():
    return Integers()
def function():
    return lambda x: x

def pops(config):
    return Net(depth=config["net"].pop("depth"))

def once():
    library = torch.library.Library("models_as_they_come", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    kept.append(library)
    return Net()

def sets_threads():
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    return Net()

class SetsThreads(Net):
    def forward(self, x):
        torch.set_num_threads(1)
        return super().forward(x)

def sets_threads_in_its_calls():
    return SetsThreads()

def seeds_at_import():
    import a_package_that_seeds
    return Net()

def draws_from_pythons_random():
    net = Net()
    with torch.no_grad():
        net.layers[0].bias.fill_(random.random())
    return net

class Gradients(Net):
    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            return torch.autograd.grad(self.layers(x).pow(2).sum(), x)[0]

def gradients():
    return Gradients()

class Forces(Net):
    def forward(self, x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(self.layers(x).pow(2).sum(), x)[0]

def forces():
    return Forces()

class Adapts(Net):
    def forward(self, x):
        with torch.enable_grad():
            own = torch.autograd.grad(self.layers(x).pow(2).mean(), list(self.layers.parameters()))
        return self.layers(x) - 0.1 * own[-1]

def adapts():
    return Adapts()

class Detector(nn.Module):
    def forward(self, images):
        assert isinstance(images, list)
        return [{"boxes": image.mean(dim=(1, 2))[:2], "size": torch.tensor(image.shape)} for image in images]

def detector():
    return Detector()

def recurrent():
    return nn.GRU(4, 4)

class Two(nn.Module):
    def forward(self, a, b):
        return a + b

def two():
    return Two()

def rows(batch_size):
    return torch.randn(batch_size, 8)
def pictures(batch_size):
    return [torch.randn(3, 5 + number, 7) for number in range(batch_size)]
def square_pictures(batch_size):
    return [torch.randn(3, 8, 8) for number in range(batch_size)]
def sequences(batch_size):
    return torch.randn(6, batch_size, 4)
def pair(batch_size):
    return [torch.ones(batch_size, 8), torch.ones(batch_size, 8)]
def always_eight(batch_size):
    return torch.randn(8, 8)
def nothing(batch_size):
    return None
def same_pair(batch_size):
    return {"a": torch.ones(6, 8), "b": torch.ones(6, 8)}
def graph(batch_size):
    return {"nodes": torch.randn(5 * batch_size, 8), "edges": torch.zeros(2, 7 * batch_size, dtype=torch.long)}
class Graph(Net):
    def forward(self, nodes, edges):
        return self.layers(nodes)
def on_graphs():
    return Graph()
def packed(batch_size):
    return nn.utils.rnn.pack_padded_sequence(torch.randn(batch_size, 5, 4), [5] * batch_size, batch_first=True)
def only_two(batch_size):
    kept = [torch.randn(3, 5, 7), torch.randn(3, 6, 7)]
    return [kept[number] for number in range(batch_size)]
def only_two_sequences(batch_size):
    return torch.randn(6, [None, None, 2][batch_size], 4)
class Texts(nn.Module):
    def forward(self, texts):
        return torch.tensor([[float(len(each))] for each in texts])
def on_texts():
    return Texts()
def texts(batch_size):
    return {"texts": ["a cat"] * batch_size}
"""


ROOT = Path(__file__).parents[1]
NOWHERE = "no dimension of the inputs is the batch size: a call counts as"


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The models above in a folder of their own; whatever they set of torch's is set back."""
    (tmp_path / "own_models.py").write_text(CODE)
    (tmp_path / "a_package_that_seeds.py").write_text("import torch\ntorch.manual_seed(1)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(imports, "_folders", [])
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    yield tmp_path
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(True)
    for name in ("own_models", "a_package_that_seeds"):
        sys.modules.pop(name, None)


def session(factory: str, inputs: str = "rows", **options: Any) -> InferenceSession:
    kwargs = options.pop("kwargs", {})
    spec = ModelSpec(f"own_models:{factory}", inputs=f"own_models:{inputs}", kwargs=kwargs)
    made = InferenceSession(spec, device="cpu", **{"batch_size": 2, **options})
    made.load()
    made.prepare()
    return made


def called(factory: str, inputs: str = "rows", **options: Any) -> InferenceSession:
    """A session after its first call, as the measured process makes it."""
    made = session(factory, inputs, **options)
    made.watch_inputs()
    with torch.inference_mode():
        first_call(made, monotonic)
    return made


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("exported", "stays in the mode"),
        ("scripted", "TorchScript in every mode"),
        ("frozen", "TorchScript in every mode"),
    ],
)
def test_a_model_that_comes_converted_runs_and_is_called_what_it_is(factory: str, words: str) -> None:
    made = called(factory)
    assert made.infer().shape == (2, 8)
    assert any(words in note for note in made.notes), made.notes
    assert made.check().status == ("reference" if factory == "exported" else "unchecked")


@pytest.mark.parametrize("factory", ["compiled", "compiled_in_place", "compiled_forward", "decorated"])
def test_a_compiled_model_is_taken_apart_so_that_eager_is_eager(factory: str) -> None:
    torch._dynamo.utils.counters.clear()
    made = called(factory)
    assert made.check().status == "reference"
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0, "nothing was compiled"
    assert called(factory, mode="torchscript").check().status == "equal"
    assert any("returns a compiled model" in note for note in made.notes)
    assert torch.equal(made.infer(), made.infer()), "the one inside is in eval mode"


def test_a_model_that_compiles_a_part_of_itself_is_no_eager_and_is_held_against_one_that_is() -> None:
    torch._dynamo.utils.counters.clear()
    made = called("compiled_part")
    assert made.check().status == "unchecked"
    assert "compiles parts of itself" in str(made.notes)
    frames = torch._dynamo.utils.counters["frames"]["ok"]
    traced = called("compiled_part", mode="torchscript")
    assert traced.check().status == "equal"
    assert "taken off" in str(traced.notes)
    assert torch._dynamo.utils.counters["frames"]["ok"] == frames, "neither side compiled"


def test_torchscript_takes_an_exported_model_and_traces_a_recurrent_net_that_it_cannot_script() -> None:
    assert called("exported", mode="torchscript").check().status == "equal"
    assert called("recurrent", "sequences", mode="torchscript").check().status == "equal"
    with pytest.raises(Unsupported, match="whose forward is overloaded"):
        session("recurrent", "sequences", mode="torchscript:script")


def test_a_models_module_may_import_torchvision_in_the_commands_own_process(own_models: Path) -> None:
    (own_models / "has_vision.py").write_text("import torchvision\nfrom torch.nn import Identity as build\n")
    code = "from bench.core.models import construct\nfrom bench.plan.case import ModelSpec\n"
    call = [sys.executable, "-c", f"{code}print(construct(ModelSpec('has_vision:build'), 0).model)"]
    done = subprocess.run(
        call, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(own_models)}, cwd=ROOT, check=False
    )
    assert done.stdout.strip() == "Identity()", done.stderr


@pytest.mark.parametrize(("factory", "why"), [("frozen", "constants of type float32"), ("quantised", "cannot be cast")])
def test_a_precision_that_a_models_weights_cannot_take_is_unsupported(factory: str, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        session(factory, precision="bf16")
    assert called(factory).infer().shape[0] == 2


def test_what_is_no_module_is_refused_with_the_way_to_one() -> None:
    ways = {
        "program": ".module()",
        "function": "torch.nn.Module whose forward calls it",
        "the_class": "Net(…)",
        "with_its_settings": "Return the module alone",
    }
    for factory, advice in ways.items():
        with pytest.raises(CaseError) as caught:
            session(factory)
        assert advice in caught.value.advice


def test_a_factory_gets_kwargs_of_its_own_each_time() -> None:
    made = called("pops", mode="torchscript", kwargs={"config": {"net": {"depth": 3}}})
    assert made.check().status == "equal"


def test_a_factory_that_can_run_only_once_leaves_its_mode_unchecked() -> None:
    seen = called("once", mode="torchscript").check()
    assert seen.status == "unchecked"
    assert "cannot run twice in a process" in str(seen.reason)


def test_what_the_models_code_sets_of_torchs_is_set_back_and_said() -> None:
    usual = torch.get_num_threads()
    made = called("sets_threads", threads=2)
    assert torch.get_num_threads() == 2
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert len(made.notes) == 1, made.notes
    note = made.notes[0]
    assert "threads 1, not 2" in note
    assert "default dtype torch.float64, not torch.float32" in note
    torch.set_num_threads(usual)
    assert called("plain").notes == []


def test_a_row_never_says_two_threads_and_holds_one() -> None:
    made = called("sets_threads_in_its_calls", threads=2)
    assert torch.get_num_threads() == 2, "set back after the first call"
    made.infer()
    with pytest.raises(CaseError, match="threads 1, not 2"):
        made.hold_settings()


@pytest.mark.parametrize("factory", ["seeds_at_import", "draws_from_pythons_random"])
def test_each_build_has_the_same_weights_whatever_the_code_seeds_or_draws_from(factory: str) -> None:
    made = session(factory)
    random.seed(99)
    again = session(factory)
    assert all(torch.equal(a, b) for a, b in zip(made.model.parameters(), again.model.parameters(), strict=True))
    assert any("seeds torch's random numbers itself" in note for note in made.notes) == (factory == "seeds_at_import")


def test_a_model_that_computes_gradients_runs_outside_inference_mode_and_others_inside() -> None:
    made = called("gradients")
    assert any("outside torch.inference_mode" in note for note in made.notes)
    with torch.inference_mode():
        assert made.bound()().shape == (2, 8)  # type: ignore[attr-defined]
    assert called("plain").infer().is_inference()


def test_gradients_are_allowed_as_far_as_a_model_needs_them() -> None:
    assert called("forces").infer().shape == (2, 8)
    assert called("adapts").infer().shape == (2, 8)
    for factory in ("forces", "adapts"):
        assert called(factory, mode="torchscript").check().status == "equal"
        assert session(factory).infer().shape == (2, 8), "by whoever asks first"
    ordinary = called("plain")
    assert not any(each.requires_grad for each in ordinary.model.parameters())


def test_a_list_with_one_element_an_item_is_one_argument() -> None:
    assert len(called("detector", "pictures").infer()) == 2
    assert len(called("detector", "square_pictures", batch_size=3).infer()) == 3, "three pictures of three channels"
    assert called("two", "pair").infer().shape == (2, 8), "two arguments, not two items"


def test_the_batch_may_stand_in_another_dimension_if_it_grows_with_it() -> None:
    assert called("recurrent", "sequences").infer()[0].shape == (6, 2, 4)
    with pytest.raises(CaseError, match="must be the batch size, 2"):
        session("plain", "always_eight")
    with pytest.raises(CaseError, match="without a tensor"):
        session("plain", "nothing")
    with pytest.raises(CaseError, match="the same shapes for 2 items as for 3"):
        session("two", "same_pair")
    assert called("recurrent", "only_two_sequences").notes == [], "one that makes no third item is taken at its word"
    assert len(called("detector", "only_two").infer()) == 2
    assert called("on_texts", "texts").infer().shape == (2, 1)


def test_inputs_that_follow_the_batch_without_a_dimension_of_its_size_are_taken_and_it_is_said() -> None:
    assert called("on_graphs", "graph", batch_size=3).notes == [f"{NOWHERE} 3 items, as the case says"]
    assert called("recurrent", "packed", batch_size=1).infer()[1].shape == (1, 1, 4)
    assert called("recurrent", "packed", batch_size=3).notes == [f"{NOWHERE} 3 items, as the case says"]


def test_a_module_beside_the_models_hides_none_of_pythons(own_models: Path) -> None:
    (own_models / "sndhdr_.py").write_text("")
    (own_models / "nturl2path.py").write_text("def url2pathname(): return 'mine'\n")
    imports.add_to_path([str(own_models)])
    sys.modules.pop("nturl2path", None)
    import nturl2path

    assert str(own_models) not in str(nturl2path.__file__)
    with pytest.raises(CaseError) as caught:
        imports.resolve_callable("nturl2path:build")
    assert f"rename yours in {own_models}" in caught.value.advice


@pytest.mark.parametrize(
    "code", ["from nturl2path import mine", "import nturl2path\nnturl2path.mine()", "import nturl2path.part"]
)
def test_a_module_of_ones_own_that_pythons_hides_is_named(own_models: Path, code: str) -> None:
    (own_models / "nturl2path.py").write_text("def mine(): ...\n")
    (own_models / "wants_its_own.py").write_text(f"{code}\ndef build(): ...\n")
    imports.add_to_path([str(own_models)])
    sys.modules.pop("nturl2path", None)
    with pytest.raises((ImportError, AttributeError, CaseError)) as caught:
        imports.resolve_callable("wants_its_own:build")
    said = getattr(caught.value, "advice", None) or str(imports.clash(caught.value))
    assert f"rename yours in {own_models}" in said


def test_a_package_called_as_this_one_is_named(own_models: Path) -> None:
    with pytest.raises(CaseError, match="whose own package is called 'bench'"):
        imports.resolve_callable("bench.models:build")


def test_a_module_that_hides_an_installed_one_is_named(own_models: Path) -> None:
    (own_models / "iniconfig.py").write_text("")
    (own_models / "uses_it.py").write_text("from iniconfig import IniConfig\ndef build(): ...\n")
    imports.add_to_path([str(own_models)])
    kept = sys.modules.pop("iniconfig", None)
    try:
        with pytest.raises(ImportError) as caught:
            imports.resolve_callable("uses_it:build")
        assert f"{own_models / 'iniconfig.py'} hides the installed package 'iniconfig'" in str(
            imports.clash(caught.value)
        )
    finally:
        sys.modules.pop("iniconfig", None)
        if kept is not None:
            sys.modules["iniconfig"] = kept


ROUND_ROBIN = textwrap.dedent("""
    import torch
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0
        def forward(self, x):
            self.calls += 1
            return x * self.calls
    def build():
        return Net()
    def inputs(batch_size):
        return torch.ones(batch_size, 4)
""")


def test_a_compile_that_gave_up_is_told_and_claims_no_speed_up(own_models: Path) -> None:
    import torch._dynamo

    (own_models / "round_robin.py").write_text(ROUND_ROBIN)
    spec = ModelSpec("round_robin:build", inputs="round_robin:inputs")
    made = InferenceSession(spec, device="cpu", mode="compile")
    made.load()
    made.prepare()
    made.forward = torch.compile(made.model, backend="eager")  # the limit is dynamo's: no C++ compiler is needed
    torch._dynamo.reset()
    with torch.inference_mode():
        for _ in range(12):
            made.infer()
    seen = made.compiled()
    assert seen is not None
    assert str(seen["gave_up"]).startswith("recompile_limit")
    made.hold_settings()
    assert any("gave up at its recompile_limit" in note for note in made.notes)
