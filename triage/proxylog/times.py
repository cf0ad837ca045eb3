"""START_TIME's formats: what strftime and Envoy's additions print, read back.

Envoy prints UTC, whatever the machine's zone. Its additions are %s (seconds since 1970) and %f,
%1f to %9f (digits of the second's fraction; nine without a number); %E3S and the like are absl's.
Source: Envoy's documentation, "Access logging", %START_TIME%.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass

from triage.cri import parse_time

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = "|".join(_MONTHS)

_EXPANDED = {"T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "F": "%Y-%m-%d", "r": "%I:%M:%S %p",
             "c": "%a %b %e %H:%M:%S %Y"}  # fmt: skip
_PATTERNS: dict[str, str] = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d\d)",
    "m": r"(?P<m>\d\d)",
    "d": r"(?P<d>\d\d)",
    "e": r"(?P<d>[ \d]\d)",
    "j": r"(?P<j>\d{3})",
    "H": r"(?P<H>\d\d)",
    "I": r"(?P<I>\d\d)",
    "M": r"(?P<M>\d\d)",
    "S": r"(?P<S>\d\d)",
    "p": r"(?P<p>[AaPp][Mm])",
    "b": rf"(?P<b>(?i:{_NAMES}))[a-z]*",
    "B": rf"(?P<b>(?i:{_NAMES}))[a-z]*",
    "h": rf"(?P<b>(?i:{_NAMES}))",
    "a": r"[A-Za-z]{3}",
    "A": r"[A-Za-z]{6,9}",
    "z": r"(?P<z>[+-]\d\d:?\d\d)",
    "Z": r"[A-Za-z]{1,5}",
    "s": r"(?P<s>-?\d{1,12})",
    "u": r"\d",
    "w": r"\d",
    "n": r"\s",
    "t": r"\s",
    "%": "%",
}
_DIRECTIVE = re.compile(r"%(?:E(\d|\*)S|(\d?)f|([A-Za-z%]))")
ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z"
"""The default: 2023-11-21T10:00:00.123Z."""


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """How a time is printed."""

    pattern: str
    """Expression of what it looks like, without groups."""
    parse: Callable[[str], float | None]
    """Seconds since 1970; None for anything else."""


def compile_time(form: str) -> TimeFormat:
    """The format of START_TIME(FORM); "" is the default, RFC 3339 with milliseconds.

    A directive that is not known matches anything without white space, and then no time is read.
    """
    if not form:
        return TimeFormat(ISO, lambda text: parse_time(text.encode("utf-8", "replace")))
    for name, longer in _EXPANDED.items():
        form = form.replace(f"%{name}", longer)
    source, known = _source(form)
    groups = re.compile(source, re.ASCII)
    pattern = re.sub(r"\(\?P<\w+>", "(?:", source)

    def parse(text: str) -> float | None:
        match = groups.fullmatch(text)
        return _seconds(match.groupdict()) if match and known else None

    return TimeFormat(pattern, parse)


def _source(form: str) -> tuple[str, bool]:
    source, at, known = "", 0, True
    seen: set[str] = set()
    for match in _DIRECTIVE.finditer(form):
        source += re.escape(form[at : match.start()])
        at = match.end()
        seconds, digits, letter = match.groups()
        if seconds is not None:
            part = r"(?P<S>\d\d)" + (rf"\.(?P<f>\d{{{seconds}}})" if seconds.isdigit() else
                                     r"(?:\.(?P<f>\d+))?")  # fmt: skip
        elif letter is None:
            part = rf"(?P<f>\d{{{digits or 9}}})"
        else:
            part = _PATTERNS.get(letter, r"\S*")
            known = known and letter in _PATTERNS
        source += _once(part, seen)
    return source + re.escape(form[at:]), known


def _once(part: str, seen: set[str]) -> str:
    """A group may be named once: the first one counts."""

    def rename(match: re.Match[str]) -> str:
        if match[1] in seen:
            return "(?:"
        seen.add(match[1])
        return match[0]

    return re.sub(r"\(\?P<(\w+)>", rename, part)


def _seconds(found: dict[str, str | None]) -> float | None:
    fraction = float(f"0.{found['f']}") if found.get("f") else 0.0
    if found.get("s"):
        return int(found["s"] or 0) + fraction
    try:
        year, month, day = _date(found)
        hour = _hour(found)
        minute, second = int(found.get("M") or 0), int(found.get("S") or 0)
        if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
            return None
    except (ValueError, calendar.IllegalMonthError):
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    base = calendar.timegm((year, month, day, hour, minute, second))
    return base + fraction - _offset(found.get("z"))


def _date(found: dict[str, str | None]) -> tuple[int, int, int]:
    year_text, short = found.get("Y"), found.get("y")
    if year_text is None and short is None:
        raise ValueError("no year")
    year = int(year_text) if year_text else 2000 + int(short or 0)
    if found.get("j"):
        return _of_day(year, int(found["j"] or 0))
    month_name = found.get("b")
    month = _MONTHS.index(month_name.lower()) + 1 if month_name else int(found.get("m") or 0)
    return year, month, int(found.get("d") or 0)


def _of_day(year: int, day: int) -> tuple[int, int, int]:
    for month in range(1, 13):
        length = calendar.monthrange(year, month)[1]
        if day <= length:
            return year, month, day
        day -= length
    raise ValueError("no such day of the year")


def _hour(found: dict[str, str | None]) -> int:
    if found.get("H"):
        return int(found["H"] or 0)
    hour = int(found.get("I") or 0)
    afternoon = (found.get("p") or "").lower() == "pm"
    return hour % 12 + (12 if afternoon else 0) if found.get("p") else hour


def _offset(zone: str | None) -> int:
    if not zone:
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return -seconds if zone[0] == "-" else seconds


def epoch(number: float) -> float:
    """Seconds since 1970 of a number in seconds, milli-, micro- or nanoseconds, by its size."""
    for limit, factor in ((1e11, 1.0), (1e14, 1e-3), (1e17, 1e-6)):
        if number < limit:
            return number * factor
    return number * 1e-9
