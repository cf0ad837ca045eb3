"""Local time to UTC, for many stamps at once.

Rules
- An hour that occurs twice, when clocks go back, is the first of the two (still in summer time)
  unless the caller says that the clock has gone back by then.
- An hour that does not exist, when clocks go forward, is read as if they had not: what a clock that
  was set late writes. 02:30 is 03:30 then.
- Zones are named as in the IANA database ("Asia/Tokyo", "UTC").
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from triage.syslog.reading.stamps import Ints
from triage.syslog.reading.unpack import ReadError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY = 86_400
_YEAR_MS = 31_556_952_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fold:
    """Clocks went back: local times in [start, end) occurred twice. Milliseconds, local."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Change:
    at: int
    """Seconds since 1970, UTC."""
    before: int
    """Seconds east of Greenwich until then."""
    after: int


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ReadError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ReadError(
            f"{name!r} is no time zone; name one as in the tz database, such as Asia/Tokyo"
        ) from None


def to_utc(local: Ints, zone: str, *, second: bool = False) -> Ints:
    """Milliseconds UTC of milliseconds local; `second`: clocks have gone back by then."""
    if local.size == 0:
        return local
    first_year, last_year = _year(int(local.min())) - 1, _year(int(local.max())) + 1
    changes = [change for year in range(first_year, last_year + 1) for change in _of(zone, year)]
    offsets = [_offset(zone_named(zone), int(local.min()) // 1000 - 366 * _DAY)]
    if changes:
        offsets = [changes[0].before, *(change.after for change in changes)]
    bounds = [
        change.at + (change.after if second else max(change.before, change.after))
        if change.after < change.before
        else change.at + change.after
        for change in changes
    ]
    index = np.searchsorted(np.array(bounds, np.int64) * 1000, local, side="right")
    return local - np.array(offsets, np.int64)[index] * 1000


def folds(zone: str, first: int, last: int) -> list[Fold]:
    """When clocks went back between two local times (milliseconds)."""
    found = (
        Fold((change.at + change.after) * 1000, (change.at + change.before) * 1000)
        for year in range(_year(first), _year(last) + 1)
        for change in _of(zone, year)
        if change.after < change.before
    )
    return [fold for fold in found if fold.end > first and fold.start <= last]


def to_local(utc: int, zone: str) -> int:
    """Milliseconds local of milliseconds UTC."""
    return utc + _offset(zone_named(zone), utc // 1000) * 1000


def _year(ms: int) -> int:
    return 1970 + ms // _YEAR_MS


def _offset(zone: ZoneInfo, seconds: int) -> int:
    moment = (_EPOCH + timedelta(seconds=seconds)).astimezone(zone)
    return int((moment.utcoffset() or timedelta()).total_seconds())


@lru_cache(maxsize=1024)
def _of(name: str, year: int) -> tuple[_Change, ...]:
    """The changes of a zone's offset in a year."""
    return tuple(_search(zone_named(name), year))


def _search(zone: ZoneInfo, year: int) -> Iterator[_Change]:
    if not 1 < year < 9998:
        return
    start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp())
    before = _offset(zone, start - 1)
    for day in range(start, end, _DAY):
        after = _offset(zone, day + _DAY - 1)
        if after != before:
            low, high = day - 1, day + _DAY - 1  # it changes behind low, and has changed at high
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
            yield _Change(high, before, after)
            before = after
