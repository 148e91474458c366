"""`bench inspect image`: what becomes of an image on its way into a model."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from bench.characters import as_unicode
from bench.cli import Manner, json_option, manners
from bench.cli.console import echo_document, result_console
from bench.cli.model_options import here, spec_of
from bench.errors import OutputError


@click.command()
@click.argument("path", metavar="IMAGE")
@click.option("--model", help="Prepare as for this model: a torchvision name, or module:callable.")
@click.option("--weights", default="random", help="pretrained[:ENTRY] for the transforms of these weights.")
@click.option("--preprocess", metavar="MODULE:CALLABLE", help="Prepare by this function.")
@click.option("--pythonpath", multiple=True, metavar="FOLDER", help="A folder to import from; repeatable.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Write each step as a picture.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, path: str, output: Path | None, force: bool, **options: Any) -> None:
    """Show every step from the file IMAGE to the batch: shape, type, range, and each channel's mean and std."""
    from bench.core.image_steps import steps

    if output is not None and output.exists() and not force and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output} is already there. Choose another -o, or write into it with --force.")
    preprocessing = _preprocessing(options)
    seen = steps(path, preprocessing)
    if output is not None:
        _write(seen, output)
    if manner.json:
        rows = [{key: value for key, value in vars(step).items() if key != "picture"} for step in seen]
        document = {
            "schema": 1,
            "kind": "image",
            "image": as_unicode(path),
            "preprocessing": preprocessing.name,
            "steps": rows,
        }
        echo_document(json.dumps(document))
        return
    from bench.show.image_steps import steps_view

    console = result_console()
    console.print(steps_view(path, preprocessing.name, seen, console.width))


def _preprocessing(options: dict[str, Any]) -> Any:
    """As the model's own session would prepare it; ImageNet's usual without a model."""
    from bench.core.image_steps import preprocessing_for
    from bench.core.preprocessing import Preprocessing

    if options["model"] is None and options["preprocess"] is None:
        return Preprocessing()
    sys.path[:0] = here(options["pythonpath"])
    return preprocessing_for(spec_of(options["model"] or "resnet50", options["weights"], options["preprocess"]))


def _write(seen: Any, folder: Path) -> None:
    """All pictures, or none: they are made beside the folder and moved into it when all of them are whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".pictures-", dir=folder.parent))
        try:
            for number, step in enumerate(seen, 1):
                slug = re.sub(r"[^A-Za-z0-9]+", "-", step.name).strip("-").lower()
                _as_png(step.picture).save(made / f"{number}-{slug}.png")
            folder.mkdir(exist_ok=True)
            for picture in sorted(made.iterdir()):
                picture.replace(folder / picture.name)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"the pictures cannot be written to {folder}: {error.strerror or error}.") from error


def _as_png(picture: Any) -> Any:
    return picture if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else picture.convert("RGB")
