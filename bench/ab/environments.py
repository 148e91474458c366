"""What the interpreter of one side says of itself, as an environment of the report."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.machine.nvidia import describe_gpus
from bench.measure.launch import Message
from bench.measure.ring import Interpreter
from bench.report.environment import collect
from bench.report.run import Environment


def environment_of(interpreter: Interpreter, probe: Message) -> Environment:
    """This machine's environment, with the packages and the Python of that interpreter where it is not our own."""
    own = collect(probe["torch"], describe_gpus(), Path.cwd())
    python, variables = interpreter
    changes = {}
    if python != sys.executable:
        changes = {
            "python": {**own.python, **probe.get("python", {})},
            "packages": {"bench": own.packages.get("bench"), **probe.get("packages", {})},
        }
    if variables:
        told = own.os.get("variables")
        changes["os"] = {**own.os, "variables": {**(told if isinstance(told, dict) else {}), **dict(variables)}}
    return own.model_copy(update=changes)
