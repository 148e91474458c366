"""The error rates of a machine as a table and as a picture."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from bench.report.selfcheck import SelfCheck


def selfcheck_view(report: SelfCheck, width: int) -> RenderableType:
    """The table."""
    return Text("\n".join(f"{arm.kind} {arm.slowdown}: {len(arm.runs)}" for arm in report.arms))


def selfcheck_svg(report: SelfCheck) -> str:
    """The picture."""
    return "<svg xmlns='http://www.w3.org/2000/svg'/>"
