"""`bench classify`: what is in images, by the very session that is measured."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bench.cli import Manner, json_option, manners
from bench.cli.console import echo_document, progress_console, result_console
from bench.cli.model_options import (
    aside,
    checked_choice,
    here,
    model_options,
    on_terminal,
    room_to_compile,
    spec_of,
    warn,
)
from bench.errors import BenchError, UsageError

MEANINGLESS = "the weights are random: the predictions mean nothing"


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|FOLDER...")
@click.option("--model", default="resnet50", show_default=True, help="A torchvision name, or module:callable.")
@click.option("--mode", default="eager", show_default=True, help="One of `bench list modes`.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, bf16 or fp16.")
@model_options(weights="pretrained")
@click.option("--top-k", type=click.IntRange(1), metavar="K", help="Classes for each image.  [default: 5]")
@click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="One label a line, for class 0 on.")
@click.option("--no-fallback", is_flag=True, help="Fail where memory runs out: no smaller batch, no CPU.")
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, **options: Any) -> int:
    """Classify images: files, or folders with all images below them.

    Exit 3 where an image could not be read; the others are answered all the same.
    """
    paths = [Path(each) for each in options["images"]]
    passed_over: Counter[str] = Counter()
    total = _count(paths, passed_over)
    with room_to_compile([options["mode"]]):
        if manner.json:
            return _as_json(manner, paths, total, passed_over, options)
        return _as_text(manner, paths, total, options)


def _count(paths: list[Path], passed_over: Counter[str]) -> int:
    """How many images there are; other files are counted and said. Raises UsageError for a folder without one."""
    from bench.characters import on_one_line
    from bench.core.classify import sources_in
    from bench.core.image_files import in_words

    total = 0
    for path in paths:
        over: Counter[str] = Counter()
        found = sum(1 for _ in sources_in([path], over))
        if not found:
            nothing = f"there is no image in {on_one_line(str(path))} or below it."
            known = "Images are known by their suffix: .jpg, .png …"
            raise UsageError(" ".join([nothing, known, *([f"{in_words(over)}."] if over else [])]))
        passed_over.update(over)
        total += found
    if passed_over:
        warn(in_words(passed_over))
    return total


def _classifier(total: int, options: dict[str, Any]) -> tuple[Any, list[str]]:
    """It, with its session loaded, and the notes of that session, which have been said already."""
    from bench.core.classify import Classifier
    from bench.core.devices import usual_batch
    from bench.core.session import InferenceSession
    from bench.plan.case import MODES, PRECISIONS

    spec = spec_of(options["model"], options["weights"], options["preprocess"])
    mode = checked_choice(options["mode"], MODES, "mode")
    precision = checked_choice(options["precision"], PRECISIONS, "precision")
    pythonpath = here(options["pythonpath"])
    if options["labels"] is not None and not options["labels"].is_file():
        raise UsageError(f"there is no labels file {options['labels']}.")

    notes: list[str] = []

    def opened(device: str, batch_size: int) -> Any:
        session = InferenceSession(
            spec, device=device, batch_size=batch_size, mode=mode, precision=precision,
            threads=options["threads"], seed=options["seed"], pythonpath=pythonpath,
        ).__enter__()  # fmt: skip
        for note in session.notes:
            if note not in notes:
                notes.append(note)
                warn(f"{mode}: {note}")
        return session

    if options["weights"] == "random" and ":" not in options["model"]:
        warn(MEANINGLESS)
    with contextlib.redirect_stdout(sys.stderr):
        classifier = Classifier(
            opened,
            options["device"],
            min(options["batch_size"] or usual_batch(options["device"]), total),
            top_k=options["top_k"],
            labels=options["labels"],
            fallback=not options["no_fallback"],
            warn=warn,
        )
    return classifier, notes


def _as_text(manner: Manner, paths: list[Path], total: int, options: dict[str, Any]) -> int:
    from bench.core.classify import sources_in
    from bench.show.predictions import answers_view, summary_view

    console = result_console()
    classifier, _ = _classifier(total, options)
    with _progress(manner, total, console) as advance:
        for answers in aside(classifier.answers(sources_in(paths))):
            console.print(answers_view(answers, console.width, manner.verbose))
            advance(len(answers))
    if not manner.quiet:
        console.print(summary_view(classifier.summary.plain(), console.width))
    return 3 if classifier.summary.unreadable else 0


@contextmanager
def _progress(manner: Manner, total: int, console: Any) -> Iterator[Any]:
    """A function to tell how many more images are done; a bar where standard error is a terminal."""
    if manner.quiet or total == 1 or not on_terminal():
        yield lambda number: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Results on the same terminal go above the bar, which one console alone can do; others stay where they go.
    shown_on = console if sys.stdout.isatty() else progress_console()
    with Progress(*columns, console=shown_on, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("images", total=total)
        yield lambda number: progress.advance(task, number)


def _as_json(manner: Manner, paths: list[Path], total: int, passed_over: Counter[str], options: dict[str, Any]) -> int:
    """One document, written as the answers come, and closed however it ends."""
    from bench.core.classify import sources_in

    classifier, notes = _classifier(total, options)
    session = classifier.session
    head = {"schema": 1, "kind": "classify", "model": options["model"], "weights": session.weights}
    head |= {"device": str(session.device), "mode": options["mode"], "precision": options["precision"]}
    if session.weights.startswith("random"):
        head["note"] = MEANINGLESS
    head |= {"notes": notes, "passed_over": passed_over}
    answers = itertools.chain.from_iterable(aside(classifier.answers(sources_in(paths))))
    first = next(answers, None)  # what is wrong with the request shows here, before anything is printed
    manner.json = False  # from here on this document is the answer, on failure too
    echo_document(f'{json.dumps(head)[:-1]}, "predictions": [')
    tail: dict[str, Any] = {}
    separator = ""
    try:
        for answer in itertools.chain([] if first is None else [first], answers):
            echo_document(separator + json.dumps(_plain(answer)), nl=False)
            separator = ",\n"
    except BenchError as error:
        tail["error"] = {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        raise
    except Exception as error:
        tail["error"] = {"type": type(error).__name__, "message": str(error), "exit_code": 3}
        raise
    except KeyboardInterrupt:
        tail["error"] = {"type": "Interrupted", "message": "interrupted", "exit_code": 130}
        raise
    finally:
        tail = {"summary": classifier.summary.plain(), **tail}
        echo_document(f"\n], {json.dumps(tail)[1:]}")
    return 3 if classifier.summary.unreadable else 0


def _plain(answer: Any) -> dict[str, Any]:
    from bench.characters import as_unicode

    if answer.error is not None:
        return {"image": as_unicode(answer.image), "error": str(answer.error)}
    return {
        "image": as_unicode(answer.image),
        "predictions": [vars(each) for each in answer.predictions],
        "preprocess_ms": 1e3 * answer.preprocess_s,
        "inference_ms": 1e3 * answer.inference_s,
    }
