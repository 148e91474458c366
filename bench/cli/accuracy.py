"""`bench accuracy`: how often a model is right on labelled images, in each mode and precision."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from bench.characters import as_unicode
from bench.cli import Manner, json_option, manners
from bench.cli.console import echo, echo_document, result_console
from bench.cli.model_options import checked_choice, here, model_options, on_terminal, room_to_compile, spec_of, warn
from bench.errors import CaseError, UsageError
from bench.plan.case import ClassOrder


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), metavar="FOLDER|CSV",
              help="One folder a class, or a CSV of path,label.")  # fmt: skip
@click.option("--model", default="resnet50", show_default=True, help="A torchvision name, or module:callable.")
@click.option(
    "--mode", "modes", default=("eager",), multiple=True, metavar="MODE[,MODE]", help="Repeatable.  [default: eager]"
)
@click.option("--precision", "precisions", default=("fp32",), multiple=True, metavar="P[,P]",
              help="fp32, bf16, fp16; repeatable.  [default: fp32]")  # fmt: skip
@model_options(weights="pretrained")
@click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="One label a line, for class 0 on.")
@click.option("--class-order", type=click.Choice(get_args(ClassOrder)), metavar="id|number|text",
              help="Folders are class ids, or are classes 0, 1, … sorted by number, or as text (like torchvision's "
              "ImageFolder).  [default: what their names look like]")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Draw N images instead of taking all.")
@click.option("--draw-seed", "draw_seeds", type=click.IntRange(0, 2**63 - 1), multiple=True, default=(0,), metavar="N",
              help="Of the draw; repeatable, each draws --limit images.")  # fmt: skip
@json_option
@manners
@click.pass_obj
def command(manner: Manner, /, **options: Any) -> int:
    """Measure how often a model is right: top-1 and top-5 with exact binomial intervals.

    Each mode and precision answers the same images, so that a faster one that costs accuracy is seen image by image.
    Exit 3 where one cannot be run or an image cannot be read.
    """
    from bench.plan.case import MODES, PRECISIONS

    modes = [checked_choice(each, MODES, "mode") for each in _split(options["modes"])]
    precisions = [checked_choice(each, PRECISIONS, "precision") for each in _split(options["precisions"])]
    combinations = [(mode, precision) for precision in precisions for mode in modes]
    if options["weights"] == "random" and ":" not in options["model"]:
        warn("the weights are random: the shares say nothing about a trained model")
    run = _Run(manner, options, len(combinations))
    with room_to_compile(modes):
        rows = [run.row(mode, precision) for mode, precision in combinations]
    worst = run.worst()
    if manner.json:
        document = {"schema": 1, "kind": "accuracy", "model": options["model"], "weights": run.weights}
        document |= {
            "data": as_unicode(str(options["data"])),
            "rows": rows,
            "worst_classes": [vars(each) for each in worst],
        }
        document |= {"notes": run.notes, "passed_over": run.passed_over}
        echo_document(json.dumps(document))
    else:
        from bench.show.accuracy import accuracy_view

        console = result_console()
        console.print(accuracy_view(rows, worst, console.width))
    return 3 if any(row["top1"] is None or row["unreadable"] for row in rows) else 0


def _split(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))


class _Run:
    """Every combination over the same examples, one after the other."""

    def __init__(self, manner: Manner, options: dict[str, Any], total: int) -> None:
        self.spec = spec_of(options["model"], options["weights"], options["preprocess"])
        self.pythonpath = here(options["pythonpath"])
        self.options = options
        self.weights = ""
        self.labels: Sequence[str] = ()
        self.first: Any = None
        self.notes: Sequence[str] = ()
        self.passed_over: Mapping[str, int] = {}
        self._examples: Any = None
        self._say = not manner.quiet and on_terminal()
        self._number, self._total = 0, total
        if not os.path.exists(options["data"]):  # noqa: PTH110 - False, too, where the system will not say
            raise UsageError(f"there is no folder or CSV file {options['data']}.")
        if options["labels"] is not None and not options["labels"].is_file():
            raise UsageError(f"there is no labels file {options['labels']}.")

    def row(self, mode: str, precision: str) -> dict[str, Any]:
        """What one combination reached; `top1` None, with a reason, where it cannot be run here."""
        from bench.core.accuracy import evaluate, forget_compiled
        from bench.core.devices import is_out_of_memory, usual_batch
        from bench.core.session import InferenceSession
        from bench.stats.intervals import clopper_pearson

        self._number += 1
        if self._say:
            echo(f"{self._number} of {self._total}: {mode} {precision} …", err=True)
        nothing: dict[str, Any] = dict.fromkeys(
            ("top1", "top5", "images", "unreadable", "images_per_s", "against_first")
        )
        head = {"mode": mode, "precision": precision, **nothing, "reason": None, "notes": [], "errors": []}
        forget_compiled()
        options = self.options
        session = InferenceSession(
            self.spec, device=options["device"], mode=mode, precision=precision,
            batch_size=options["batch_size"] or usual_batch(options["device"]),
            threads=options["threads"], seed=options["seed"], pythonpath=self.pythonpath,
        )  # fmt: skip
        try:
            with contextlib.redirect_stdout(sys.stderr), session:
                head["notes"] = session.notes
                for note in session.notes:
                    warn(f"{mode} {precision}: {note}")
                tally = evaluate(session, self._labelled(session))
        except (CaseError, RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                error = CaseError(f"batch {session.case.batch_size} does not fit into memory", "Lower --batch-size.")
            if self._total == 1:
                raise error from None
            return {**head, "reason": f"{str(error).splitlines()[0]} {getattr(error, 'advice', '')}".strip()}
        if not tally.images:
            raise UsageError(f"not one image of {options['data']} could be read; {'; '.join(tally.errors[:1])}.")
        against = None if self.first is None else _against(self.first.right, tally.right)
        self.first = self.first or tally
        return {
            **head,
            "top1": _plain(clopper_pearson(tally.top1, tally.images)),
            "top5": _plain(clopper_pearson(tally.top5, tally.images)),
            "images": tally.images,
            "unreadable": tally.unreadable,
            "images_per_s": tally.images / tally.seconds,
            "against_first": against,
            "errors": tally.errors,
        }

    def _labelled(self, session: Any) -> Any:
        from bench.core.dataset import draw, read_dataset
        from bench.core.labels import read_labels

        if self._examples is None:
            self.weights, classes = session.weights, session.classes()
            file = self.options["labels"]
            self.labels = session.labels(classes) if file is None else read_labels(file, classes)
            found = read_dataset(self.options["data"], classes, self.labels, self.options["class_order"])
            self.notes, self.passed_over = found.notes, found.passed_over
            for note in found.notes:
                warn(note)
            self._examples = draw(found.examples, self.options["limit"], self.options["draw_seeds"])
        return self._examples

    def worst(self) -> list[Any]:
        """The five classes of the first row with the smallest share of right answers, and some wrong."""
        from bench.show.accuracy import WorstClass

        if self.first is None:
            return []
        wrong = [(right / count, number) for number, (count, right) in self.first.per_class.items() if right < count]
        found = []
        for _, number in sorted(wrong)[:5]:
            count, right = self.first.per_class[number]
            mistaken = {answer: times for (true, answer), times in self.first.confusion.items() if true == number}
            answer = max(mistaken, key=lambda each: (mistaken[each], -each))
            found.append(WorstClass(self.labels[number], count, right, self.labels[answer], mistaken[answer]))
        return found


def _plain(interval: Any) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _against(first: bytes, this: bytes) -> dict[str, Any]:
    """Images that only one of two runs answered right, and the chance of a split as uneven (exact sign test)."""
    from bench.core.accuracy import RIGHT, WRONG
    from bench.stats.intervals import binomial_cdf

    pairs = list(zip(first, this, strict=True))
    lost = sum(before == RIGHT and after == WRONG for before, after in pairs)
    gained = sum(before == WRONG and after == RIGHT for before, after in pairs)
    both = lost + gained
    p = min(1.0, 2 * binomial_cdf(min(lost, gained), both, 0.5)) if both else 1.0
    return {"newly_wrong": lost, "newly_right": gained, "p": p}
