"""Times that applications write into their lines.

Used only where the runtime gives none: the runtime's clock is the node's, and it names its zone.
A time without a zone is taken in the offset given; one without a year in the year that brings it
nearest to the reference. Nothing raises; what is no time is None.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_CLOCK = r"(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)(?:[.,:](?P<f>\d{1,9})(?!\d))?"
_ZONE = r"(?:\s?(?P<z>Z\b|UTC\b|GMT\b|[+-]\d\d:?\d\d(?!\d)))?"
_MON = r"(?P<b>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?<!\d)(?P<Y>\d{{4}})[-/.](?P<m>\d\d)[-/.](?P<d>\d\d)(?:[T ]|\s-\s){_CLOCK}{_ZONE}",
        rf"(?<!\d)(?P<d>\d{{1,2}})[/-]{_MON}[/-](?P<Y>\d{{4}})[: ]{_CLOCK}{_ZONE}",  # CLF, php-fpm
        rf"\b{_MON} +(?P<d>\d{{1,2}}) {_CLOCK} (?P<Y>\d{{4}})\b",  # ctime, Apache's error log
        rf"\A[IWEF](?P<m>\d\d)(?P<d>\d\d) {_CLOCK}",  # klog
        rf"\[[DIWEC] (?P<y>\d\d)(?P<m>\d\d)(?P<d>\d\d) {_CLOCK}",  # tornado
        rf"\A{_MON} +(?P<d>\d{{1,2}}) {_CLOCK}",  # syslog
    )
)
_HEAD = 400
"""Characters of a line within which its time stands; user data may come after."""


def read_time(text: str, reference: float, utc_offset: float = 0.0) -> float | None:
    """Seconds since 1970 of the time that a line begins with, or None.

    `reference` chooses the year where the line names none.
    """
    for form in _FORMS:
        match = form.search(text, 0, _HEAD)
        if match is not None:
            return _seconds(match.groupdict(), reference, utc_offset)
    return None


def _seconds(part: dict[str, str | None], reference: float, utc_offset: float) -> float | None:
    try:
        zone = _zone(part.get("z"), utc_offset)
        year = _year(part)
        month = _MONTHS[(part.get("b") or "").lower()] if part.get("b") else int(part["m"] or 0)
        second = min(int(part["S"] or 0), 59)
        rest = (month, int(part["d"] or 0), int(part["H"] or 0), int(part["M"] or 0), second)
        if year is not None:
            found = datetime(year, *rest, tzinfo=zone).timestamp()
        else:
            found = _nearest(rest, zone, reference)
    except (ValueError, OverflowError, KeyError, OSError):
        return None
    return found + (float("0." + part["f"]) if part.get("f") else 0.0)  # type: ignore[operator]


def _year(part: dict[str, str | None]) -> int | None:
    if part.get("Y"):
        return int(part["Y"] or 0)
    return 2000 + int(part["y"] or 0) if part.get("y") else None


def _nearest(rest: tuple[int, int, int, int, int], zone: timezone, reference: float) -> float:
    """The time in the year that brings it nearest to the reference."""
    this = datetime.fromtimestamp(reference, UTC).year
    found = []
    for year in (this - 1, this, this + 1):
        try:
            found.append(datetime(year, *rest, tzinfo=zone).timestamp())
        except ValueError:  # 29 February
            continue
    if not found:
        raise ValueError(rest)
    return min(found, key=lambda time: abs(time - reference))


def _zone(text: str | None, utc_offset: float) -> timezone:
    if text is None:
        return timezone(timedelta(seconds=utc_offset))
    if text in {"Z", "UTC", "GMT"}:
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:])))


def number_time(value: float) -> float | None:
    """Seconds since 1970 of a number that is so many s, ms, us or ns since then; None if none."""
    for scale in (1.0, 1e3, 1e6, 1e9):
        if 1e8 <= value / scale < 1e10:
            return value / scale
    return None
