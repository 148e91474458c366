"""The error rates of a machine as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import median, stdev

from rich.console import Group, RenderableType
from rich.text import Text

from bench.ab.selfcheck import ArmPlan
from bench.report.ab import Settings
from bench.report.selfcheck import Arm, SelfCheck, Trial
from bench.show.grid import Column, Portable, flow, lay_out, wrapped
from bench.show.run import machine_words
from bench.show.words import clean, count, duration
from bench.stats.intervals import clopper_pearson

_OURS = "bench ab"
_JUDGED = ("same", "slowed")  # kinds of trials that the other rules are tried on as well
_KINDS = (*_JUDGED, "load", "interpreters")


def selfcheck_view(report: SelfCheck, width: int) -> RenderableType:
    """What was tried, a row an arm; our error rates beside those of the rules that others use; what it means."""
    settings = report.settings
    head = [
        Text.assemble((clean(report.case.id), "bold"), " · error rates of bench ab"),
        flow(
            [Text(f"  {word}" if not at else word, "dim") for at, word in enumerate(machine_words(report.environment))],
            width,
            gap=3,
        ),
        Text(
            f"  must catch {100 * settings.catch:g} %, ignores up to {100 * settings.ignore:g} %   "
            f"{report.status}   took {duration(report.wall_s)}{_sittings(report)}",
            "dim",
        ),
    ]
    parts: list[RenderableType] = [
        *head,
        Text(),
        _arms(report, width),
        Text(),
        Text("Other tools' rules on the same data", "bold"),
    ]
    parts += [_rules(report, width), Text()]
    parts += [wrapped(line, width, "- ", "  ") for line in _words(report)]
    return Portable(Group(*parts))


def _sittings(report: SelfCheck) -> str:
    return f" in {len(report.sittings)} sittings" if len(report.sittings) > 1 else ""


def arm_name(arm: Arm | ArmPlan) -> str:
    """What the arm's trials were given."""
    if arm.kind == "slowed":
        return f"slowed by {100 * arm.slowdown:g} %"
    return {"load": "a load half-way", "interpreters": "own interpreters"}.get(arm.kind, "both the same")


def rate(hits: int, runs: Sequence[object]) -> str:
    """`0 % (0 of 100, at most 3.6 %)`: the share and its exact bound at 95 %."""
    if not runs:
        return "–"
    seen = clopper_pearson(hits, len(runs))
    bound = (
        f"≤{100 * (seen.high or 0):.1f}" if hits == 0 else f"{100 * (seen.low or 0):.0f}–{100 * (seen.high or 0):.0f}"
    )
    return f"{100 * seen.value:.0f}% ({bound})"


def _arms(report: SelfCheck, width: int) -> RenderableType:
    arms = sorted(report.arms, key=lambda arm: (_KINDS.index(arm.kind), arm.slowdown))
    columns = [
        Column("trials", "", tuple(Text(arm_name(arm)) for arm in arms), left=True),
        Column("run", "", tuple(Text(str(len(arm.runs))) for arm in arms)),
        *(
            Column(word, "", tuple(Text(str(_verdicts(arm.runs, verdict))) for arm in arms))
            for word, verdict in (("PASS", "pass"), ("FAIL", "fail"), ("INCONCL.", "inconclusive"))
        ),
        Column("wrong", "% (95 %)", tuple(Text(_wrong(arm, report.settings)) for arm in arms)),
        Column("change", "median", tuple(Text(_change(arm.runs)) for arm in arms), rank=2),
        Column("pair sd", "", tuple(Text(_spread(arm.runs)) for arm in arms), rank=3),
        Column("seconds", "median", tuple(Text(_seconds(arm.runs)) for arm in arms), rank=1),
    ]
    return lay_out(columns, width).body


def _rules(report: SelfCheck, width: int) -> RenderableType:
    names = [_OURS, *report.rules]
    arms = sorted((arm for arm in report.arms if arm.kind in _JUDGED and arm.runs), key=lambda arm: arm.slowdown)
    columns = [Column("flagged as slower at a true slowdown of", "", tuple(Text(name) for name in names), left=True)]
    for arm in arms:
        # The interval stands where it decides whether a rule may be believed; for the others the counts are above.
        shares = [_alarms(arm.runs, name) for name in names]
        texts = [rate(*each) if arm.kind == "same" else rate(*each).partition(" ")[0] for each in shares]
        columns.append(Column(f"{100 * arm.slowdown:g} %", "", tuple(map(Text, texts))))
    return lay_out(columns, width).body


def _alarms(runs: Sequence[Trial], name: str) -> tuple[int, Sequence[Trial]]:
    """How many trials a rule calls slower, and those that it judged."""
    if name == _OURS:
        return _verdicts(runs, "fail"), runs
    judged = [run for run in runs if name in run.alarms]
    return sum(run.alarms[name] for run in judged), judged


def _verdicts(runs: Sequence[Trial], verdict: str) -> int:
    return sum(run.verdict == verdict for run in runs)


def _wrong(arm: Arm, settings: Settings) -> str:
    """False alarms of sides that are equal, or differ by what is ignored; misses where the slowdown must be caught.

    Between the two numbers every verdict is right.
    """
    if arm.slowdown >= settings.catch:
        return rate(_verdicts(arm.runs, "pass"), arm.runs)
    return rate(_verdicts(arm.runs, "fail"), arm.runs) if arm.slowdown <= settings.ignore else "–"


def _change(runs: Sequence[Trial]) -> str:
    values = [run.ratio.value for run in runs if run.ratio.value is not None]
    return f"{100 * (median(values) - 1):+.1f}%".replace("-", "−") if values else "–"


def _spread(runs: Sequence[Trial]) -> str:
    values = [stdev(run.log_ratios) for run in runs if len(run.log_ratios) > 1]
    return f"{100 * median(values):.1f}%" if values else "–"


def _seconds(runs: Sequence[Trial]) -> str:
    return f"{median(run.seconds for run in runs):.0f}" if runs else "–"


def _words(report: SelfCheck) -> list[str]:
    low, high = (f"{100 * share:g} %" for share in (report.settings.ignore, report.settings.catch))
    words = [f"wrong: FAIL up to {low}, PASS from {high} on, nothing between; in brackets the exact interval at 95 %"]
    if report.rules:
        words.append(f"the other rules judged {next(iter(report.rules.values()))}; an alarm is their FAIL")
    total = sum(len(arm.runs) for arm in report.arms)
    unsure = sum(_verdicts(arm.runs, "inconclusive") for arm in report.arms)
    words.append(f"inconclusive: {unsure} of {count(total, 'trial')}")
    words += [clean(note) for note in report.notes]
    return words


def selfcheck_svg(report: SelfCheck) -> str:
    """The share of trials that fail, by how much the candidate was slowed, for `bench ab` and the rules of others.

    Presentation attributes only, so that it shows wherever SVG does. A dot a slowdown, a bar its interval at 95 %; in
    the grey band, between what is ignored and what must be caught, every verdict is right.
    """
    arms = sorted((arm for arm in report.arms if arm.kind in _JUDGED and arm.runs), key=lambda arm: arm.slowdown)
    names = [_OURS, *report.rules]
    colours = ("#0b6e4f", "#b3541e", "#7a5195", "#bc5090", "#2f6db3", "#8a6d1d", "#5c5c5c")
    most = max((arm.slowdown for arm in arms), default=0.0) or 0.01
    left, top, wide, high = 60, 40, 420, 220

    def x(arm: Arm, place: int) -> float:
        return left + wide * arm.slowdown / most + 3 * (place - len(names) / 2)

    def y(share: float) -> float:
        return top + high * (1 - share)

    title = f"{escape(clean(report.case.id))}: share called slower"
    body = [f'<text x="{left}" y="20" font-size="13" fill="#222">{title}</text>']
    low, up = (left + wide * min(share / most, 1.0) for share in (report.settings.ignore, report.settings.catch))
    body.append(f'<rect x="{low:.1f}" y="{top}" width="{up - low:.1f}" height="{high}" fill="#f2f2f2"/>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        body.append(
            f'<line x1="{left - 8}" x2="{left + wide + 8}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#ddd"/>'
        )
        body.append(
            f'<text x="{left - 14}" y="{y(share) + 4:.1f}" text-anchor="end" fill="#444">{100 * share:.0f}%</text>'
        )
    for arm in arms:
        at = left + wide * arm.slowdown / most
        body.append(
            f'<text x="{at:.1f}" y="{top + high + 20}" text-anchor="middle" fill="#444">{100 * arm.slowdown:g}%</text>'
        )
    for place, name in enumerate(names):
        colour = colours[place % len(colours)]
        points = [(x(arm, place), *_share_and_bounds(arm.runs, name)) for arm in arms]
        line = " ".join(f"{px:.1f},{y(share):.1f}" for px, share, _, _ in points)
        strong = 2.5 if name == _OURS else 1
        body.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{strong}"/>')
        for px, share, low, up in points:
            body.append(f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{y(low):.1f}" y2="{y(up):.1f}" stroke="{colour}"/>')
            body.append(f'<circle cx="{px:.1f}" cy="{y(share):.1f}" r="{3 if name == _OURS else 2}" fill="{colour}"/>')
        text_y = top + 14 + 18 * place
        body.append(f'<circle cx="{left + wide + 30}" cy="{text_y - 4}" r="4" fill="{colour}"/>')
        body.append(f'<text x="{left + wide + 40}" y="{text_y}" fill="#222">{escape(name)}</text>')
    body.append(
        f'<text x="{left + wide / 2}" y="{top + high + 40}" text-anchor="middle" fill="#222">true slowdown</text>'
    )
    inside = "\n".join(body)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 310" font-family="sans-serif" font-size="12"'
        ' role="img">\n'
        f"<title>Error rates of {escape(clean(report.case.id))}</title>\n"
        f'<rect width="780" height="310" fill="#ffffff"/>\n{inside}\n</svg>\n'
    )


def _share_and_bounds(runs: Sequence[Trial], name: str) -> tuple[float, float, float]:
    hits = [run.verdict == "fail" if name == _OURS else run.alarms.get(name, False) for run in runs]
    seen = clopper_pearson(sum(hits), len(hits))
    return seen.value, seen.low or 0.0, seen.high if seen.high is not None else 1.0
