"""The contributor's one door: lint, types, tests, fuzz, perf, build. Plain `nox` runs what CI does before it fuzzes."""

from __future__ import annotations

import nox

# uv does not see a CPU build of torch that pip is configured to find; pip in plain venvs does.
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

CONSTRAINED = ("-c", "constraints.txt")


def install(session: nox.Session, *extras: str) -> None:
    """The package as a user gets it: built, not editable."""
    session.install(*CONSTRAINED, f".[{','.join(extras)}]")


@nox.session
def lint(session: nox.Session) -> None:
    session.install(*CONSTRAINED, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    install(session, "lint")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """The reading commands called with mangled reports and suites for a minute; `-- --seed N` makes a run again."""
    install(session, "test")
    session.run("python", "-P", "-m", "fuzz", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def perf(session: nox.Session) -> None:
    """How fast and how small, each figure a ratio measured in one run. Wants a quiet machine."""
    install(session, "test")
    files = [f"tests/perf/{name}.py" for name in ("cost", "classify", "compare")]
    session.run("pytest", "-s", *files, *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """The wheel and the source archive, and the wheel tried in an empty environment's place."""
    session.install(*CONSTRAINED, "build", "hatchling")
    session.run("python", "-m", "build", "--no-isolation")
