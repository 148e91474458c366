"""`bench inspect model`: what a model is made of, and what one forward pass of it costs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from typing import Any

import click

from bench.cli import Manner, json_option, manners
from bench.cli.console import echo_document, result_console
from bench.cli.model_options import here, model_options, spec_of


@click.command()
@click.argument("name", metavar="MODEL")
@click.option("--inputs", metavar="MODULE:CALLABLE", help="Batch size to a tensor, tuple or dict; else images.")
@model_options(weights="random", batch_size=1)
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, name: str, **options: Any) -> None:
    """Count parameters, layers, operations and activations of MODEL: a torchvision name, or module:callable."""
    from bench.core.anatomy import take_apart
    from bench.core.session import InferenceSession

    session = InferenceSession(
        spec_of(name, options["weights"], options["preprocess"], options["inputs"]),
        device="cpu" if options["device"] == "auto" else options["device"],
        batch_size=options["batch_size"],
        threads=options["threads"],
        seed=options["seed"],
        pythonpath=here(options["pythonpath"]),
    )
    with contextlib.redirect_stdout(sys.stderr), session:
        seen = take_apart(session)
    if manner.json:
        echo_document(json.dumps({"schema": 1, "kind": "model", **dataclasses.asdict(seen)}))
        return
    from bench.show.anatomy import anatomy_view

    console = result_console()
    console.print(anatomy_view(seen, console.width))
