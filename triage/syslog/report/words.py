"""Numbers and times as the report says them."""

from __future__ import annotations

from triage.views.words import date_time, span


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
