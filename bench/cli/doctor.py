"""`bench doctor`: what works here, and what would disturb a measurement."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bench.cli import Manner, json_option, manners
from bench.cli.console import echo, echo_document, result_console
from bench.errors import LaunchError


@click.command()
@json_option
@manners
@click.pass_obj
def command(manner: Manner) -> int:
    """Check the installation, the devices, and what would disturb a measurement here.

    Exits with 3 where no measurement can be made at all, else with 0.
    """
    try:
        from bench.machine.doctor import can_measure, examine
        from bench.measure.launch import Interpreter
        from bench.show.doctor import findings_view
    except ModuleNotFoundError as error:
        raise LaunchError(
            f"the package {error.name} is not installed, and nothing can be measured without it. "
            "Install bench again, with all that it needs: pip install -c constraints.txt ."
        ) from error

    if sys.stderr.isatty() and not manner.quiet:
        echo("Looking at this machine; starting torch takes a few seconds.", err=True)
    launcher = manner.outside.launcher if manner.outside else Interpreter()

    def ask_torch() -> Mapping[str, Any]:
        with launcher.start({}) as parent:
            return parent.probe(compute=True)

    findings = examine(ask_torch, Path.cwd())
    usable = can_measure(findings)
    if manner.json:
        listed = [dataclasses.asdict(finding) for finding in findings]
        echo_document(json.dumps({"schema": 1, "kind": "doctor", "can_measure": usable, "findings": listed}))
    else:
        console = result_console()
        console.print(findings_view(findings, console.width, manner.verbose, manner.quiet))
    return 0 if usable else 3
