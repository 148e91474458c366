"""`-k EXPR`: which cases of a suite a person wants.

    expression  =  part { "or" part }          part  =  factor { "and" factor }
    factor      =  "not" factor | "(" expression ")" | term
    term        =  text that the case id contains, or AXIS=VALUE; case of letters does not matter

The grammar is that of pytest's `-k`, with AXIS=VALUE added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.errors import NothingSelected, UsageError
from bench.plan.case import AXES, Case
from bench.plan.suggest import did_you_mean, one_of

Test = Callable[[Case], bool]

_TOKEN = re.compile(r"\s*([()]|[^\s()]+)")
_WORDS = ("and", "or", "not", "(", ")")
_MAX_DEPTH = 50


def select(cases: Sequence[Case], expression: str) -> list[Case]:
    """The cases that `expression` holds for, in their order.

    Raises UsageError with a caret under what is malformed, NothingSelected where no case is left.
    """
    parser = _Parser(expression)
    test = parser.whole()
    chosen = [case for case in cases if test(case)]
    if not chosen:
        raise NothingSelected(_nothing(cases, expression, parser.terms))
    return chosen


def _nothing(cases: Sequence[Case], expression: str, terms: Sequence[tuple[str, str]]) -> str:
    hints = []
    for axis, value in terms:
        values = {getattr(case, axis) for case in cases}
        seen = [_written(each) for each in sorted(values, key=lambda each: (each is not None, each))]
        if value not in seen:
            hint = did_you_mean(value, seen) or f"there is {', '.join(seen[:8]) or 'none'}"
            hints.append(f"no case has {axis}={value}, {hint}")
    some = ", ".join(case.id for case in cases[:3])
    more = f" and {len(cases) - 3:,} more" if len(cases) > 3 else ""
    why = f" ({'; '.join(hints)})" if hints else ""
    only = f"its ids, of which there is one{why}: {some}"
    held = only if len(cases) == 1 else f"the {len(cases):,} cases{why}; their ids are like {some}{more}"
    return f"-k {expression!r} selects none of {held}"


def _written(value: object) -> str:
    """An axis value as a person writes it in a term."""
    return str(value).lower()


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    at: int


class _Parser:
    """Recursive descent; `terms` collects the AXIS=VALUE pairs it has met."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = [_Token(found[1], found.start(1)) for found in _TOKEN.finditer(expression)]
        self.next = 0
        self.depth = 0
        self.terms: list[tuple[str, str]] = []

    def whole(self) -> Test:
        if not self.tokens:
            raise UsageError("-k: the expression is empty; leave -k out to have every case")
        test = self._expression()
        if self.next < len(self.tokens):
            raise self._error("expected 'and', 'or' or the end")
        return test

    def _expression(self) -> Test:
        parts = [self._part()]
        while self._take("or"):
            parts.append(self._part())
        return lambda case: any(part(case) for part in parts)

    def _part(self) -> Test:
        factors = [self._factor()]
        while self._take("and"):
            factors.append(self._factor())
        return lambda case: all(factor(case) for factor in factors)

    def _factor(self) -> Test:
        negated = False
        while self._take("not"):
            negated = not negated
        test = self._bracket() if self._take("(") else self._term()
        return (lambda case: not test(case)) if negated else test

    def _bracket(self) -> Test:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error(f"more than {_MAX_DEPTH} brackets in one another")
        test = self._expression()
        if not self._take(")"):
            raise self._error("expected ')'")
        self.depth -= 1
        return test

    def _term(self) -> Test:
        if self.next == len(self.tokens) or self.tokens[self.next].text in _WORDS:
            raise self._error("expected part of a case id, AXIS=VALUE, 'not' or '('")
        word = self.tokens[self.next].text
        axis, equals, wanted = word.partition("=")
        if equals and axis not in AXES:
            raise self._error(f"{axis!r} is no axis, {one_of(axis, AXES)}")
        if equals and not wanted:
            raise self._error(f"expected a value right after '{axis}='")
        self.next += 1
        low = wanted.lower()
        if equals:
            self.terms.append((axis, low))
            return lambda case: _written(getattr(case, axis)) == low
        return lambda case: word.lower() in case.id.lower()

    def _take(self, text: str) -> bool:
        found = self.next < len(self.tokens) and self.tokens[self.next].text == text
        self.next += found
        return found

    def _error(self, what: str) -> UsageError:
        at = self.tokens[self.next].at if self.next < len(self.tokens) else len(self.expression)
        line = "".join(sign if sign.isprintable() else " " for sign in self.expression)
        return UsageError(f"-k: {what}, at column {at + 1}\n    {line}\n    {' ' * at}^")
