"""Numbers and times as the report says them."""

from __future__ import annotations

from triage.syslog.tables import Finding
from triage.views.words import date_time, span, time_of_day


def between(start: float, end: float) -> str:
    """Return "2015-09-27 02:00 to 03:30 UTC"; the second date only where it differs."""
    first, last = date_time(start), date_time(end)
    if "?" in first + last:
        return f"{first} to {last}"
    if end - start < 60:
        return f"{first[:16]} UTC"
    last = last[11:16] if first[:10] == last[:10] else last[:16]
    return f"{first[:16]} to {last} UTC"


def length(seconds: float) -> str:
    """Return how long a log is: "52 days", "3 h 20 min"."""
    days = round(seconds / 86400)
    return many(days, "day") if days > 2 else span(seconds)


def many(number: int, word: str, plural: str = "") -> str:
    """Return "1 line", "2,000 lines"."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def times(factor: float) -> str:
    """Return how many times the usual: "4.4", "1,500"."""
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:.1f}"


def step(seconds: float) -> str:
    """Return the length of a bin: "30 min", "1 h", "7 d"."""
    for size, name in ((86400, "d"), (3600, "h")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {name}"
    return span(seconds)


def at_second(time: float) -> str:
    """Return a line's time, "09-27 16:40:53Z"; with milliseconds where the log has them."""
    return f"{date_time(time)[5:10]} {time_of_day(time).replace('.000Z', 'Z')}"


def said(finding: Finding) -> str:
    """Return a finding's summary without the area that its heading has told already."""
    rest = finding.summary.removeprefix(f"{finding.area}: ")
    return rest[:1].upper() + rest[1:] if rest != finding.summary else rest
