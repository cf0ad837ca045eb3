"""PromQL as far as it is written here: what an expression is, and the queries made of it.

Rules
- A plain selector (`name`, `name{...}`, `{...}`) can be read with a range selector, which gives raw
  samples at their scrape times. Every other expression can only be evaluated: a subquery gives it
  on a grid of steps, whose times are later than the scrapes.
- A name with a colon is a recording rule's, by Prometheus' naming convention: its samples are raw,
  and their times are those of the rule's evaluations.
- Nothing here judges whether an expression is valid: Prometheus does, and its message is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from triage.triggers import Matcher, MatchOp, parse_matchers

_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(\{.*\})?\s*", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`', re.DOTALL)
_COMPARISON = re.compile(r"(?:==|!=|>=|<=|>|<)(?!\s*bool\b)|\b(?:and|unless)\b")
_KEYWORDS = frozenset({"inf", "nan", "time", "vector"})


class Timing(StrEnum):
    """What a sample's time is."""

    SCRAPE = "scrape"
    """The start of its scrape."""
    RULE = "rule"
    """An evaluation of a recording rule."""
    GRID = "grid"
    """A step of the query."""


@dataclass(frozen=True, slots=True)
class Expression:
    """The configured expression, taken apart as far as it can be."""

    text: str
    timing: Timing
    name: str = ""
    """Metric; "" when it is not a plain selector of one metric."""
    matchers: tuple[Matcher, ...] = ()
    filters: bool = False
    """It compares values, so that good samples may be left out of its result."""

    @property
    def plain(self) -> bool:
        """Whether a range selector can be put on it."""
        return self.timing is not Timing.GRID


def parse_expression(text: str) -> Expression:
    """Take an expression apart. ValueError with one line when it is empty or has a range."""
    text = text.strip()
    if not text:
        raise ValueError("query: empty; the default is probe_http_status_code")
    bare = _QUOTED.sub('""', text)
    if bare.endswith("]"):
        raise ValueError(f"query {text!r}: leave the range [...] out, it is added as needed")
    found = _SELECTOR.fullmatch(text)
    if found is not None and text.lower() not in _KEYWORDS:
        try:
            matchers = parse_matchers(found[2] or "")
        except ValueError:
            matchers = None
        if matchers is not None:
            return _selector(text, found[1] or "", matchers)
    outside = re.sub(r"\{[^{}]*\}", "", bare)
    return Expression(text, Timing.GRID, filters=_COMPARISON.search(outside) is not None)


def _selector(text: str, name: str, matchers: tuple[Matcher, ...]) -> Expression:
    rest = tuple(matcher for matcher in matchers if matcher.label != "__name__")
    names = [matcher for matcher in matchers if matcher.label == "__name__"]
    if not name and len(names) == 1 and names[0].op is MatchOp.EQUAL:
        name, names = names[0].value, []
    if names:
        return Expression(text, Timing.SCRAPE, "", matchers)
    return Expression(text, Timing.RULE if ":" in name else Timing.SCRAPE, name, rest)


def duration(seconds: float) -> str:
    """A duration as PromQL writes it, to the millisecond; at least 1 ms."""
    milliseconds = max(1, round(seconds * 1000))
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def range_query(expression: Expression, seconds: float, step: float) -> str:
    """The query that gives the expression's samples of the last `seconds`."""
    if expression.plain:
        return f"{expression.text}[{duration(seconds)}]"
    return f"({expression.text})[{duration(seconds)}:{duration(step)}]"


def select(names: Iterable[str], matchers: Iterable[Matcher], seconds: float) -> str:
    """A range selector over several metrics at once: one answer, one moment."""
    wanted = "|".join(re.escape(name) for name in sorted(set(names)))
    parts = [Matcher("__name__", wanted, MatchOp.REGEX), *matchers]
    return "{" + ",".join(str(part) for part in parts) + "}" + f"[{duration(seconds)}]"


def one_of(label: str, values: Iterable[str]) -> Matcher:
    """A matcher for a label that has one of the values."""
    wanted = sorted(set(values))
    if len(wanted) == 1:
        return Matcher(label, wanted[0])
    return Matcher(label, "|".join(re2_escaped(value) for value in wanted), MatchOp.REGEX)


def re2_escaped(text: str) -> str:
    """The text as a regular expression that both Prometheus (RE2) and Python take literally."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)
