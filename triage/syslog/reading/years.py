"""Which year the stamps without a year mean (RFC 3164, 4.1.2), planned once for a file.

Theory of operation
    A file's lines are in order, but for the disorder of several hosts' clocks. So stamps that go
    back by much have crossed New Year, however many times; how many times in all follows from the
    file. Then one date fixes all years: the last line was not written after `end`.

    The plan has stretches of the file, each with a time near which all its lines are. A line's year
    is the one that brings it nearest to its stretch's time, so lines need no neighbours: blocks are
    parsed apart, in any order, on any machine. Stretches are at most a few months long.

    Few stamps tell: a small file's are all looked at; of a large plain one a stamp every MiB or so,
    more where neighbours are weeks apart. A packed file is unpacked once for it, unless its first
    lines have years. A whole year that hides between two samples is not found: 1 MiB of a large
    file would have to last for a year.

Rules
- From one stamp to the next the shorter way round the year counts; back by up to `DISORDER` is
  always disorder. More than half a year forward is believed where the file's other gaps are as
  long (a quarter of it at least): few lines a year. Otherwise it is going back: files that were
  joined in the wrong order, or newest first.
- The last year is the latest in which no sample is more than `AHEAD` after `end`, and in which
  every 29 February there is exists.
- `end` is the file's time of modification (gzip's own, where it tells) unless it is given.
- Of an hour that occurs twice (see `zones`), lines are in the second from where their stamps first
  go back by half of it; where none do, in the first. Stretches end there.
- Two hosts' clocks that differ around New Year or such an hour do no harm: what counts for a year
  is half a year, and for an hour half an hour.
"""

from __future__ import annotations

import itertools
import os
import re
from calendar import isleap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from triage.syslog.reading.blocks import Block, read_blocks
from triage.syslog.reading.names import host_of
from triage.syslog.reading.stamps import DAY, MONTHS, Bools, Ints, in_year
from triage.syslog.reading.unpack import compression_of, compression_of_head, opened
from triage.syslog.reading.zones import Fold, folds, to_local, to_utc, zone_named

DISORDER = 7 * DAY
"""Stamps that go back by so much are out of order, whatever else the file holds."""
AHEAD = 2 * DAY
"""A line may be so much later than `end`: clocks that are ahead, an end given as a day."""

_YEAR = 366 * DAY  # of values without a year: see stamps.YEARLESS
_HALF = _YEAR // 2
_WIDE = 20 * DAY  # between two samples: look closer
_STRETCH = 120 * DAY
_WHOLE = 4 << 20  # a file up to this size is looked at line by line
_PIECE = 4 << 10
_UNPACKED = 256 << 10
_LOOKS = 4096
_MONTH = 30 * DAY
_POINTS = 2048
_MOST_FOLD = 256 << 20  # bytes that are searched for where clocks went back

_STAMP = re.compile(
    rb"^(?:<\d{1,3}>)?(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?"
    rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)",
    re.MULTILINE,
)
_MONTHS = tuple(name.encode() for name in MONTHS)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIRST_DAY = dict(zip(_MONTHS, itertools.accumulate((0, *_DAYS)), strict=False))
_LENGTH = dict(zip(_MONTHS, _DAYS, strict=True))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a file: from `offset` on, until the next one."""

    offset: int
    """Unpacked bytes."""
    near: int
    """Local milliseconds: each line's year brings it nearest to this."""
    second: bool = False
    """Whether clocks have gone back, should a line's local time have occurred twice."""


@dataclass(frozen=True, slots=True)
class HeaderPlan:
    """What a file's headers leave out; small, and can be sent anywhere."""

    stretches: tuple[Stretch, ...]
    """At least one; the first is of the file's beginning."""
    timezone: str = "UTC"
    """Of stamps without an offset."""
    host: str = ""
    """Of headers without a host; "": such lines are broken."""


YearPlan = HeaderPlan


@dataclass(frozen=True, slots=True)
class _Sample:
    offset: int
    value: int
    """YEARLESS, later local milliseconds."""


def plan_for(end: float, timezone: str = "UTC", *, host: str = "") -> HeaderPlan:
    """Plan for lines of the year before `end` (seconds since 1970), such as those being written.

    Raises:
        ReadError: there is no such time zone.
    """
    zone_named(timezone)
    return HeaderPlan((Stretch(0, _latest(end, timezone) - _HALF),), timezone, host)


def plan_years(
    path: Path, end: float | None = None, timezone: str = "UTC", *, host_pattern: str = ""
) -> HeaderPlan:
    """Plan what a file's headers leave out. Reads the whole file only if it is packed or small.

    Args:
        path: plain or packed.
        end: seconds since 1970 when its last line was written, at the latest; by default its time
            of modification.
        timezone: of stamps that do not tell an offset.
        host_pattern: see `names.host_of`; of headers that do not tell a host.

    Raises:
        ReadError: it cannot be read, there is no such time zone, or the pattern is none.
    """
    zone_named(timezone)
    host = host_of(path, host_pattern)
    if end is None:
        end = _modified(path)
    samples = list(_packed_samples(path) if compression_of(path) else _plain_samples(path))
    if not samples:
        return plan_for(end, timezone, host=host)
    dated = _dated(samples, _latest(end, timezone))
    return HeaderPlan(tuple(_stretches(path, dated, timezone)), timezone, host)


def resolve(value: Ints, stretch: Stretch, zone: str) -> tuple[Ints, Bools]:
    """Put YEARLESS values into years: milliseconds UTC, and whether there is such a day near."""
    year = _year_of(stretch.near)
    best, good = in_year(value, np.array(year))
    for other in (year - 1, year + 1):
        local, exists = in_year(value, np.array(other))
        nearer = exists & (~good | (np.abs(local - stretch.near) < np.abs(best - stretch.near)))
        if nearer.any():
            best, good = np.where(nearer, local, best), good | nearer
    good &= np.abs(best - stretch.near) < _YEAR
    return to_utc(best, zone, second=stretch.second), good


def _latest(end: float, timezone: str) -> int:
    bounded = min(max(end, 0.0), 7_258_000_000.0)  # the years 1970 to 2199
    return to_local(int(bounded * 1000), timezone) + AHEAD


def _modified(path: Path) -> float:
    with opened(path) as file:
        head = file.read(8)
        modified = os.fstat(file.fileno()).st_mtime
    if compression_of_head(head) == "gzip" and len(head) == 8:
        packed = int.from_bytes(head[4:8], "little")  # RFC 1952, 2.3.1: 0 where it is not known
        return float(packed) or modified
    return modified


def _year_of(local: int) -> int:
    return int(np.datetime64(local, "ms").astype("datetime64[Y]").astype(np.int64)) + 1970


def _in(value: int, year: int) -> int:
    """A YEARLESS value in a year; 29 February is 1 March where there is none."""
    return int(in_year(np.array(value), np.array(year))[0])


def _yearless(local: int) -> int:
    """The YEARLESS value of a time."""
    year = _year_of(local)
    value = local - _in(0, year)
    return value if isleap(year) or value < 59 * DAY else value + DAY


# Samples


def _all(data: bytes, offset: int) -> Iterator[_Sample]:
    """The stamps of whole lines, once for each hour that follows another."""
    last: tuple[bytes, ...] = ()
    for match in _STAMP.finditer(data):
        hour = match.group(1, 2, 3)
        if hour != last:
            last = hour
            value = _value(match)
            if value is not None:
                yield _Sample(offset + match.start(), value)


def _first(data: bytes, offset: int, *, whole: bool) -> _Sample | None:
    """The first stamp of some bytes, which begin with a whole line or within one."""
    start = 0 if whole else data.find(b"\n") + 1
    if not whole and not start:
        return None
    for match in itertools.islice(_STAMP.finditer(data, start), 10):
        value = _value(match)
        if value is not None:
            return _Sample(offset + match.start(), value)
    return None


def _value(match: re.Match[bytes]) -> int | None:
    month, day = match[1], int(match[2])
    hours, minutes, seconds = int(match[3]), int(match[4]), int(match[5])
    if not 1 <= day <= _LENGTH[month] or hours > 23 or minutes > 59 or seconds > 60:
        return None
    return (_FIRST_DAY[month] + day - 1) * DAY + ((hours * 60 + minutes) * 60 + seconds) * 1000


def _far(a: _Sample, b: _Sample) -> bool:
    forward = (b.value - a.value) % _YEAR
    return min(forward, _YEAR - forward) > _WIDE


def _plain_samples(path: Path) -> Iterator[_Sample]:
    with opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size <= _WHOLE:
            file.seek(0)
            yield from _all(file.read(_WHOLE), 0)
            return
        closer = _Closer(file)
        last: _Sample | None = None
        for at in range(0, size, max(size // _POINTS, _PIECE)):
            sample = closer.sample(at)
            if sample is None or (last and sample.offset <= last.offset):
                continue
            if last:
                yield from closer.between(last, sample)
            yield sample
            last = sample
        yield from _all(closer.whole_lines(max(size - 4 * _PIECE, 0)), max(size - 4 * _PIECE, 0))


class _Closer:
    """Looks closer where two samples of a plain file are far from one another in time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _LOOKS

    def sample(self, at: int) -> _Sample | None:
        """The first stamp behind `at`."""
        self._file.seek(at)
        return _first(self._file.read(_PIECE), at, whole=at == 0)

    def between(self, a: _Sample, b: _Sample) -> Iterator[_Sample]:
        """Samples between two, so that no neighbours are far apart, unless lines are."""
        if not _far(a, b) or self._left <= 0:
            return
        self._left -= 1
        middle = (a.offset + b.offset) // 2
        found = self.sample(middle) if b.offset - a.offset > 4 * _PIECE else None
        if found and a.offset < found.offset < b.offset:
            yield from self.between(a, found)
            yield found
            yield from self.between(found, b)
        else:
            self._file.seek(a.offset)
            within = self._file.read(min(b.offset - a.offset, 16 * _PIECE))
            yield from itertools.islice(_all(within, a.offset), 1, None)

    def whole_lines(self, at: int) -> bytes:
        """The rest of the file; its first line, which may be part of one, made unreadable."""
        self._file.seek(at)
        data = self._file.read(4 * _PIECE)
        cut = data.find(b"\n") + 1 if at else 0
        return b"?" * cut + data[cut:]


def _packed_samples(path: Path) -> Iterator[_Sample]:
    """As of a plain file, in one pass; the first lines tell whether it is worth it."""
    last: _Sample | None = None
    before = block = Block(path, 0, 0, b"")
    for block in read_blocks(path, block_bytes=_UNPACKED):
        found = list(_all(block.data, block.offset)) if block.end <= _WHOLE else []
        if block.number == 0 and not found:
            return
        first = _first(block.data, block.offset, whole=True)
        if not found and first:
            found = [first]
            if last and _far(last, first):
                yield from _all(before.data, before.offset)
        yield from found
        last = found[-1] if found else last
        before = block
    if block.end > _WHOLE:
        yield from _all(block.data, block.offset)


# Years


def _dated(samples: Sequence[_Sample], latest: int) -> list[_Sample]:
    """The samples with their local times."""
    steps = [(b.value - a.value) % _YEAR for a, b in itertools.pairwise(samples)]
    usual = max((step for step in steps if step <= _HALF), default=0)
    running = [samples[0].value]
    for step in steps:
        forward = step <= _HALF or (_YEAR - step > DISORDER and step <= 4 * usual)
        running.append(running[-1] + (step if forward else step - _YEAR))
    top = max(range(len(running)), key=running.__getitem__)
    year = _year_of(latest)
    year -= _in(samples[top].value, year) > latest
    years = [time // _YEAR - running[top] // _YEAR for time in running]
    leaps = {
        number
        for number, sample in zip(years, samples, strict=True)
        if 59 * DAY <= sample.value < 60 * DAY
    }
    for earlier in range(year, year - 9, -1):
        if all(isleap(earlier + number) for number in leaps):
            year = earlier
            break
    return [
        _Sample(sample.offset, _in(sample.value, year + number))
        for number, sample in zip(years, samples, strict=True)
    ]


def _stretches(path: Path, dated: Sequence[_Sample], timezone: str) -> Iterator[Stretch]:
    parts: list[Stretch] = []
    start, low, high = 0, dated[0].value, dated[0].value
    for sample in dated:
        if max(high, sample.value) - min(low, sample.value) > _STRETCH:
            parts.append(Stretch(start, (low + high) // 2))
            start, low, high = sample.offset, sample.value, sample.value
        low, high = min(low, sample.value), max(high, sample.value)
    parts.append(Stretch(start, (low + high) // 2))
    times = [sample.value for sample in dated]
    for fold in folds(timezone, min(times), max(times)):
        at = _went_back(path, dated, fold)
        if at is not None:
            later = (s.offset for s in dated if s.offset > at and s.value > fold.end + _MONTH)
            parts = _second(parts, at, next(later, None))
    yield from parts


def _second(parts: Sequence[Stretch], at: int, until: int | None) -> list[Stretch]:
    """Mark what lies between two offsets as after clocks went back."""
    result = []
    for part, after in itertools.zip_longest(parts, parts[1:]):
        bounds = {part.offset}
        bounds |= {
            bound
            for bound in (at, until)
            if bound is not None and bound > part.offset and (not after or bound < after.offset)
        }
        result += [
            replace(
                part,
                offset=bound,
                second=part.second or (bound >= at and (until is None or bound < until)),
            )
            for bound in sorted(bounds)
        ]
    return result


def _went_back(path: Path, dated: Sequence[_Sample], fold: Fold) -> int | None:
    """Where a file's stamps go back as the clock did; None: they do not."""
    gap = fold.end - fold.start
    first = next((i for i, s in enumerate(dated) if s.value >= fold.start - gap), len(dated))
    last = max((i for i, s in enumerate(dated) if s.value < fold.end + gap), default=-1)
    low = dated[max(first - 1, 0)].offset
    high = dated[last + 1].offset if last + 1 < len(dated) else None
    start, peak = fold.start - _yearless(fold.start), fold.start - gap
    for block in read_blocks(path, start=low, block_bytes=_UNPACKED):
        if block.offset - low > _MOST_FOLD or (high is not None and block.offset >= high):
            break
        for match in _STAMP.finditer(block.data):
            value = _value(match)
            local = fold.end if value is None else start + value
            if fold.start <= local < min(fold.end, peak - gap // 2):
                return block.offset + match.start()
            peak = max(peak, local) if local < fold.end else peak
    return None
