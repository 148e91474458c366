"""The door: the only room that prints or exits. Each command is a file here, loaded when it is called.

`bench --help` loads nothing but click: the rooms behind are imported inside the commands, and torch never in
this process.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import Any

import click

from bench import __version__
from bench.characters import on_one_line
from bench.cli.console import echo, echo_document, lead_nowhere, prepare_streams
from bench.errors import BenchError, LaunchError, SuiteError, UsageError

# Command to the first line of its help; the module is bench.cli.NAME.
COMMANDS = {
    "run": "Measure a suite and write a report.",
    "show": "Print a report again, from its file.",
    "compare": "Compare stored reports, of one machine or of many.",
    "gate": "Fail where a stored report is worse than a baseline.",
    "accept": "Make a report the baseline of its suite and machine.",
    "export": "Write a stored report in the format of another program.",
    "ab": "A/B test: is the candidate slower? Both sides measured now, in turn.",
    "selfcheck": "Measure the error rates of `bench ab` on this machine.",
    "classify": "Classify images.",
    "accuracy": "Measure how often a model is right, in each mode and precision.",
    "inspect": "Inspect a model or an image, step by step.",
    "save-weights": "Write a model's weights to a file, with their hash.",
    "list": "List available suites, models, modes, devices or metrics.",
    "validate": "Check suite files and say everything that is wrong with them.",
    "doctor": "Check the installation, the devices, and what would disturb a measurement here.",
    "schema": "Print the JSON Schema of a suite or of a report.",
}


@dataclass
class Manner:
    """How this call wants to be spoken to; and, in tests, what stands in for the outside."""

    verbose: bool = False
    quiet: bool = False
    json: bool = False
    outside: Any = None


# What no command can do anything about, and a person can.
_MACHINES_FAULTS = {
    errno.ENOSPC: "no space left on the output device. Free some, or write elsewhere.",
    errno.EDQUOT: "your quota of disk space is used up. Make room, or direct the output elsewhere.",
    errno.EMFILE: "too many files are open for the limit of this shell. Raise it (`ulimit -n 1024`).",
    errno.ENFILE: "too many files are open on this machine. End other programs, or ask its administrator.",
    errno.ENOMEM: "there is not enough memory to start another process. End other programs, or raise the limit.",
    errno.EAGAIN: "no further process may be started here. End other programs, or raise the limit (`ulimit -u`).",
    errno.EROFS: "this file system is read-only. Choose another place.",
    errno.EACCES: "permission denied. Choose another place, or give yourself the right.",
}


class LazyGroup(click.Group):
    """Commands by name, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for a name that is not one."""
        if cmd_name not in COMMANDS:
            return None
        module = __import__(f"bench.cli.{cmd_name.replace('-', '_')}", fromlist=["command"])
        found: click.Command = module.command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, made without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog="Exit codes: 0 all well · 1 a target missed · 2 usage or suite error · 3 a case failed or is missing · "
    "4 inconclusive, under --strict · 5 nothing selected · 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BENCH"},
)
@click.version_option(__version__, prog_name="bench")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Measure PyTorch inference: how fast, on which machine, in which mode, and is the number believable.

    Begin with `bench doctor`, then `bench run --suite smoke`.
    """
    ctx.ensure_object(Manner)


def _set(name: str) -> Any:
    def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(ctx.ensure_object(Manner), name, True)

    return callback


def manners(command: Any) -> Any:
    """The options every command has: -v and -q. They are found again in the context's Manner."""
    for name, short, text in (
        ("verbose", "-v", "Say more; show tracebacks."),
        ("quiet", "-q", "Say only the result."),
    ):
        option = click.option(
            short,
            f"--{name}",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_set(name),
            help=text,
        )
        command = option(command)
    return command


def json_option(command: Any) -> Any:
    """--json: the result on standard output as JSON, on failure too."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set("json"),
        help="Print the result as JSON; on failure, the error.",
    )(command)


def main(arguments: list[str] | None = None, manner: Manner | None = None) -> None:
    """Run one command and exit with its code."""
    if arguments is None:
        arguments = sys.argv[1:]
        del sys.argv[1:]  # a model's package that reads the command line at import finds a name alone
    sys.exit(call(arguments, manner or Manner()))


def call(arguments: list[str], manner: Manner) -> int:
    """Run one command and return its exit code. Every error becomes a paragraph; `-v` adds the traceback."""
    if manner.outside is None:  # a real call, not a test's
        signal.signal(signal.SIGTERM, _as_interrupt)
        prepare_streams()
    try:
        _stand_somewhere()
        code = group.main(arguments, prog_name="bench", standalone_mode=False, obj=manner)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; say nothing when Python flushes at exit.
        lead_nowhere(sys.stdout)
        return 0
    except SystemExit:
        return 0  # click and rich leave so where whoever read our output has seen enough
    except Exception as error:
        return _explain(error, manner)
    return code if isinstance(code, int) else 0


def _stand_somewhere() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - pathlib takes a tenth of the time of `bench --help`
    except OSError as error:
        raise UsageError("the working directory is gone or closed to you. Go to another (cd).") from error


def _explain(error: Exception, manner: Manner) -> int:
    """Say what went wrong; the exit code."""
    if manner.verbose:
        echo(traceback.format_exc(), err=True)
    kind, text, code = type(error).__name__, str(error), 3
    if isinstance(error, click.ClickException):
        text, code = error.format_message(), error.exit_code
        shown = io.StringIO()
        error.show(shown)
        echo(shown.getvalue(), err=True, nl=False)
    elif isinstance(error, BenchError):
        text, code = _words(error), say(error)
    elif isinstance(error, OSError) and error.errno in _MACHINES_FAULTS:
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        text = place + _MACHINES_FAULTS[error.errno]
        echo(f"bench: {on_one_line(text)}", err=True)
    else:
        text = f"{kind}: {text}"
        echo(f"bench: {text}", err=True)
        echo("This is a bug in bench, not in your suite. -v shows where; please report it.", err=True)
    _end_standard_output(manner, {"type": kind, "message": text, "exit_code": code})
    return code


def _end_standard_output(manner: Manner, said: dict[str, Any]) -> None:
    """What went wrong for other programs, if they are to read it; on a full disk nothing more."""
    try:
        if manner.json:
            echo_document(json.dumps({"schema": 1, "kind": "error", "error": said}))
        sys.stdout.flush()
    except OSError:
        lead_nowhere(sys.stdout)


def say(error: BenchError) -> int:
    """What went wrong, on standard error; the exit code."""
    if isinstance(error, SuiteError):
        text = "\n".join(on_one_line(each) for each in error.problems)
    else:  # a paragraph, but for the last words of an interpreter
        text = _words(error) if isinstance(error, LaunchError) else on_one_line(_words(error))
    echo(f"bench: {text}", err=True)
    return error.exit_code


def _words(error: BenchError) -> str:
    text, advice = str(error), getattr(error, "advice", "")
    return f"{text.rstrip('.')}. {advice}" if advice else text


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt
