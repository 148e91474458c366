"""`bench save-weights`: a model's weights as a file, with its hash."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import click

from bench.characters import on_one_line
from bench.cli import Manner, json_option, manners
from bench.cli.console import echo, echo_document
from bench.cli.model_options import here, spec_of
from bench.errors import OutputError


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where to.")
@click.option("--weights", default="random", show_default=True, metavar="pretrained[:ENTRY]|FILE|random")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of random weights.")
@click.option("--pythonpath", multiple=True, metavar="FOLDER", help="A folder to import from; repeatable.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, model: str, output: Path, force: bool, **options: Any) -> None:
    """Write the state_dict of MODEL (a torchvision name, or module:callable); `weights = FILE` takes it back.

    The sha256 printed is what a report records of it.
    """
    from bench.core.blame import blamed_on
    from bench.core.save import save_weights

    if output.is_dir() or not output.parent.is_dir():
        what = "is a folder" if output.is_dir() else f"cannot be written: there is no folder {output.parent}"
        raise OutputError(f"{output} {what}. Name a file in an existing folder.")
    if output.exists() and not force:
        raise OutputError(f"{output} is already there. Choose another -o, or replace it with --force.")
    spec = spec_of(model, options["weights"])
    sys.path[:0] = here(options["pythonpath"])
    with contextlib.redirect_stdout(sys.stderr), blamed_on(f"loading {model}"):
        tensors, size, digest = save_weights(spec, options["seed"], output)
    if manner.json:
        document = {"schema": 1, "kind": "weights", "model": model, "path": str(output), "tensors": tensors}
        echo_document(json.dumps(document | {"bytes": size, "sha256": digest}))
        return
    echo(f"{on_one_line(str(output))}: {tensors} tensors, {size / 1e6:.1f} MB, sha256 {digest}")
