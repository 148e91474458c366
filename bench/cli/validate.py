"""`bench validate`: everything that is wrong with suite files, at once, without running them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bench.characters import on_one_line
from bench.cli import Manner, json_option, manners
from bench.cli.console import echo, echo_document
from bench.errors import BenchError, SuiteError


@click.command()
@click.argument("suites", nargs=-1, required=True, metavar="SUITE…")
@json_option
@manners
@click.pass_obj
def command(manner: Manner, suites: tuple[str, ...]) -> int:
    """Check suite files (or suites by name) and say everything that is wrong with them."""
    from bench.plan.suite import find_suite, read_suite

    found: list[dict[str, object]] = []
    for name in suites:
        try:
            suite = read_suite(find_suite(name, Path.cwd()))
        except SuiteError as error:
            found.append({"suite": name, "cases": None, "problems": list(error.problems)})
        except BenchError as error:
            found.append({"suite": name, "cases": None, "problems": [str(error)]})
        else:
            found.append({"suite": name, "cases": len(suite.cases), "problems": []})
    _print(manner, found)
    return 2 if any(each["problems"] for each in found) else 0


def _print(manner: Manner, found: list[dict[str, object]]) -> None:
    if manner.json:
        echo_document(json.dumps({"schema": 1, "kind": "validation", "suites": found}))
        return
    from bench.show.words import count

    for each in found:
        problems = each["problems"]
        assert isinstance(problems, list)
        for problem in problems:
            echo(on_one_line(problem), err=True)
        if not problems:
            cases = each["cases"]
            assert isinstance(cases, int)
            echo(f"{on_one_line(str(each['suite']))}: {count(cases, 'case')}, nothing wrong")
