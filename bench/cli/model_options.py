"""The options that name a model and how to run it: the same for every command that runs one itself."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.characters import on_one_line
from bench.cli.console import echo
from bench.errors import UsageError

Step = TypeVar("Step")


def model_options(weights: str, batch_size: int | None = None) -> Callable[[Any], Any]:
    """A decorator that adds them. `weights` and `batch_size` are the defaults; None is for what suits the device."""
    options = [
        click.option("--weights", default=weights, show_default=True, metavar="pretrained[:ENTRY]|FILE|random",
                     help="torchvision's weights, a state_dict file, or random ones."),
        click.option("--preprocess", metavar="MODULE:CALLABLE",
                     help="An RGB PIL image to a float tensor (channels, height, width); else the weights' own."),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, mps or auto."),
        click.option("--batch-size", type=click.IntRange(1), default=batch_size,
                     show_default=batch_size or "4 on a CPU, else 32",
                     help="Images per forward pass.",),
        click.option("--threads", type=click.IntRange(1), help="CPU threads of torch.  [default: its own choice]"),
        click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Of random weights."),
        click.option("--pythonpath", multiple=True, metavar="FOLDER",
                     help="A folder to import module:callable from, beside the current one; repeatable."),
    ]  # fmt: skip

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def spec_of(model: str, weights: str, preprocess: str | None = None, inputs: str | None = None) -> Any:
    """The ModelSpec that the options name. Raises UsageError for a mode of speech that names nothing."""
    from bench.plan.case import ModelSpec
    from bench.plan.suggest import did_you_mean
    from bench.plan.suite_values import is_named_weights
    from bench.plan.zoo import torchvision_models

    zoo = torchvision_models()
    if ":" not in model and zoo is not None and model not in zoo:
        rest = "`bench list models` names torchvision's; a model of your own is 'package.module:callable'."
        raise UsageError(f"unknown model {model!r}; {did_you_mean(model, zoo)} {rest}".replace("  ", " "))
    if not is_named_weights(weights):
        if not Path(weights).is_file():
            hint = did_you_mean(weights, ("random", "pretrained")) or "write pretrained, random, or the path of a file."
            raise UsageError(f"there is no weights file {weights!r}; {hint}")
        weights = str(Path(weights).resolve())
    return ModelSpec(model, inputs=inputs, weights=weights, preprocess=preprocess)


def checked_choice(value: str, choices: tuple[str, ...], what: str) -> str:
    """`value`, if it is one of `choices`. Raises UsageError."""
    from bench.plan.suggest import one_of as suggestion

    if value not in choices:
        raise UsageError(f"unknown {what} {value!r}; {suggestion(value, choices)}.")
    return value


def here(pythonpath: tuple[str, ...]) -> tuple[str, ...]:
    """The folders to import from: the current one, and those named."""
    missing = next((each for each in pythonpath if not Path(each).is_dir()), None)
    if missing is not None:
        raise UsageError(f"there is no folder {missing!r} for --pythonpath.")
    return (str(Path.cwd()), *(str(Path(each).resolve()) for each in pythonpath))


@contextlib.contextmanager
def room_to_compile(modes: Iterable[str]) -> Iterator[None]:
    """The user's own compile cache where compilers can work there, else one that goes when the context ends."""
    from bench.measure.scratch import scratch, users_compile_cache

    if not any(mode.startswith("compile") for mode in modes) or users_compile_cache()[1]:
        yield
        return
    with scratch() as folder:
        told = {"TMPDIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        tempfile.tempdir = None  # it is found anew
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
            tempfile.tempdir = None


def aside(steps: Iterator[Step]) -> Iterator[Step]:
    """`steps`, with whatever their making prints sent to standard error: standard output carries the result alone."""
    while True:
        with contextlib.redirect_stdout(sys.stderr):
            try:
                step = next(steps)
            except StopIteration:
                return
        yield step


def warn(text: str) -> None:
    """One line on standard error."""
    echo(f"bench: {on_one_line(text)}", err=True)


def on_terminal() -> bool:
    """True where standard error is a terminal, so that a progress bar makes sense."""
    return sys.stderr.isatty()
