"""The headers' time stamps of many lines at once, as numbers, by arithmetic on their bytes.

Stamps that are told
    Sep 26 12:00:01         RFC 3164, 4.1.2; also "Sep  6" and "Sep 6", with ".123" behind it,
                            with the year behind the day ("Sep 26 2015 12:00:01") and with the name
                            of the day before it ("Sat Sep 26 12:00:01")
    2015-09-26T12:00:01Z    RFC 3339 and RFC 5424, 6.2.3; also with a fraction after "." or ",",
                            "+09:00", "+0900", "+09" or no offset (local time), a blank for the T, a
                            blank before the offset, and the name of the day before it, then with
                            the zone's letters behind it, of which only UTC and GMT count
    1443236401.123456       seconds since 1970, perhaps with a fraction (journalctl -o short-unix)

Rules
- Whatever is not exactly one of these is no stamp: months, days, hours have to exist.
- Fractions are cut to milliseconds. Second 60 is the next minute's first.
- A stamp ends with a blank, a colon and a blank, a tab, or the line.
- A line feed is never part of a stamp, so that one cannot run into the next line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

DAY = 86_400_000
"""Milliseconds."""

NONE, YEARLESS, LOCAL, UTC = 0, 1, 2, 3
"""What a stamp's value is: nothing; ms since the beginning of a leap year that is not told; ms
since 1970 by the clock on the wall; ms since 1970, UTC."""

_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_BEFORE = np.concatenate(([0], np.cumsum(_DAYS)[:-1], [0]))  # days before month 1..12 of leap years
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_LATEST = 7_258_118_400  # seconds: 2200-01-01


def _letters(text: str) -> int:
    a, b, c = text.encode()
    return a << 16 | b << 8 | c


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_CODES = np.array(sorted(map(_letters, MONTHS)))
_MONTH_OF = np.array(
    [m for _, m in sorted((_letters(name), n + 1) for n, name in enumerate(MONTHS))]
)
_WEEKDAYS = np.array(sorted(map(_letters, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))))

_UNIVERSAL = np.array([_letters("UTC"), _letters("GMT")])


class Octets:
    """Bytes, of which those at many places can be had at once; behind the end they are zeros."""

    def __init__(self, data: bytes) -> None:
        padded = data if len(data) >= _PAD else data + bytes(_PAD)
        self._size = len(padded)
        self._words = _words_of(padded)
        tail = padded[-_PAD:] + bytes(_PAD)
        self._tail = _words_of(tail)
        self._tail_at = self._size - _PAD
        self._last: tuple[Ints, NDArray[np.uint64]] | None = None

    def words(self, at: Ints) -> NDArray[np.uint64]:
        """The 8 bytes at each place as a little-endian number; places are not to be changed."""
        if self._last is None or self._last[0] is not at:
            self._last = (at, self._gathered(at))
        return self._last[1]

    def _gathered(self, at: Ints) -> NDArray[np.uint64]:
        last = self._size - 8
        if at.size == 0 or int(at.max()) <= last:
            return self._words[at]
        result = self._words[np.minimum(at, last)]
        late = np.flatnonzero(at > last)
        result[late] = self._tail[np.minimum(at[late] - self._tail_at, 2 * _PAD - 8)]
        return result

    def columns(self, at: Ints, width: int) -> Bytes:
        """Array (width, places): row j holds byte j behind each place."""
        result = np.empty(((width + 7) // 8 * 8, at.size), np.uint8)
        for first in range(0, width, 8):
            words = self.words(at + first if first else at)
            for j in range(8):
                result[first + j] = words >> np.uint64(8 * j)
        return result[:width]

    def byte(self, at: Ints) -> Bytes:
        """The byte at each place."""
        return self.words(at).astype(np.uint8)


_PAD = 512


def _words_of(data: bytes) -> NDArray[np.uint64]:
    return np.ndarray((len(data) - 7,), "<u8", buffer=data, strides=(1,))


@dataclass(slots=True)
class Stamps:
    """The stamps of n lines, as arrays of n."""

    kind: NDArray[np.uint8]
    value: Ints
    width: Ints
    """Bytes from the stamp's beginning to what follows its blank; meaningless of kind NONE."""

    @classmethod
    def none(cls, size: int) -> Stamps:
        """No stamps."""
        return cls(np.zeros(size, np.uint8), np.zeros(size, np.int64), np.zeros(size, np.int64))

    def put(self, rows: Ints, other: Stamps) -> None:
        """Take over the stamps of some of the lines."""
        self.kind[rows], self.value[rows], self.width[rows] = other.kind, other.value, other.width

    def missing(self, among: Ints) -> Ints:
        """Those of these lines that have none yet."""
        result: Ints = among[self.kind[among] == NONE]
        return result


def stamps_at(octets: Octets, at: Ints) -> Stamps:
    """Read the stamps that begin at these places, one for each line."""
    head = octets.byte(at)
    letters = head >= ord("A")
    if letters.all():
        return _lettered(octets, at)
    result = Stamps.none(at.size)
    for rows, read in (
        (np.flatnonzero(letters), _lettered),
        (np.flatnonzero((head >= ord("0")) & ~letters), _numbered),
    ):
        if rows.size:
            result.put(rows, read(octets, at[rows]))
    return result


def _lettered(octets: Octets, at: Ints) -> Stamps:
    """Stamps that begin with a name: first as RFC 3164 has them, then what is left otherwise."""
    result = _bsd(octets, at)
    left = result.missing(np.arange(at.size))
    if left.size:
        columns = octets.columns(at[left], 4)
        named = left[(columns[3] == ord(" ")) & np.isin(_code(columns), _WEEKDAYS)]
        plain = np.setdiff1d(left, named, assume_unique=True)
        result.put(plain, _bsd_variant(octets, at[plain]))
        if named.size:
            rest = _after_weekday(octets, at[named] + 4)
            rest.width += 4
            result.put(named, rest)
    return result


def _after_weekday(octets: Octets, at: Ints) -> Stamps:
    result = _iso(octets, at)
    named = np.flatnonzero(result.kind == LOCAL)
    if named.size:
        columns = octets.columns(at[named] + result.width[named], 6)
        capital = np.logical_and.accumulate(columns - np.uint8(ord("A")) < 26, axis=0)
        length = capital.sum(axis=0)
        ended = np.take_along_axis(columns, np.minimum(length, 5)[np.newaxis], 0)[0] == ord(" ")
        is_zone = (length >= 3) & (length <= 5) & ended
        universal = is_zone & np.isin(_code(columns), _UNIVERSAL) & (length == 3)
        result.kind[named[universal]] = UTC
        result.width[named] += np.where(is_zone, length + 1, 0)
    left = result.missing(np.arange(at.size))
    result.put(left, _bsd_variant(octets, at[left]))
    return result


def _numbered(octets: Octets, at: Ints) -> Stamps:
    result = _iso(octets, at)
    left = result.missing(np.arange(at.size))
    if left.size:
        result.put(left, _epoch(octets, at[left]))
    return result


def _bsd(octets: Octets, at: Ints) -> Stamps:
    """`Mmm dd HH:MM:SS`, 15 bytes. Neighbours often have the same day: each is read once."""
    first, second = octets.words(at), octets.words(at + 8)
    seconds, good = _clock_word(second << np.uint64(8) | first >> np.uint64(56))
    date = first & np.uint64(0x00FFFFFFFFFFFFFF)
    changed = np.ones(at.size, np.bool_)
    np.not_equal(date[1:], date[:-1], out=changed[1:])
    columns = date[changed].astype("<u8").view(np.uint8).reshape(-1, 8).T
    day = np.where(columns[4] == ord(" "), np.uint8(0), columns[4] - ord("0"))
    exists = (day <= 3) & digits_of(columns[5:6]) & (columns[6] == ord(" "))
    value, fits = _yearless(columns, day.astype(np.int64) * 10 + columns[5] - ord("0"))
    run = np.cumsum(changed) - 1
    good &= (exists & fits)[run] & (second >> np.uint64(56) == ord(" "))
    seconds *= 1000
    seconds += value[run]
    kind = good.view(np.uint8) * np.uint8(YEARLESS)
    return Stamps(kind, seconds, np.full(at.size, 16))


def _clock_word(word: NDArray[np.uint64]) -> tuple[Ints, Bools]:
    """As `_clock`, of the eight bytes as little-endian numbers, all of which are read at once."""
    figures = word ^ np.uint64(0x30303A30303A3030)  # 0 to 9 of digits, 0 of colons
    # What is more has a bit of its upper half, or gets one here
    good = (figures | figures + np.uint64(0x06060F06060F0606)) & np.uint64(0xF0F0F0F0F0F0F0F0) == 0
    pairs = figures * np.uint64(10) + (figures >> np.uint64(8))
    hours, minutes, seconds = (
        (pairs >> np.uint64(shift) & np.uint64(0xFF)).view(np.int64) for shift in (0, 24, 48)
    )
    good &= (hours <= 23) & (minutes <= 59) & (seconds <= 60)
    return (hours * 60 + minutes) * 60 + seconds, good


def _bsd_variant(octets: Octets, at: Ints) -> Stamps:
    """The same with one or two digits or blanks for the day, perhaps a year, perhaps a fraction."""
    columns = octets.columns(at, 8)
    blank = columns[4] == ord(" ")
    place = at + 4 + blank
    day = octets.columns(place, 3)
    two = digits_of(day[1:2])
    number = np.where(two, (day[0] - 48) * np.int64(10) + day[1] - 48, day[0] - np.int64(48))
    good = digits_of(day[:1]) & (np.where(two, day[2], day[1]) == ord(" "))
    place = place + 2 + two
    year = octets.columns(place, 5)
    dated = digits_of(year[:4]) & (year[4] == ord(" "))
    place = place + np.where(dated, 5, 0)
    seconds, fits = _clock(octets.columns(place, 8))
    good &= fits
    value, fits = _yearless(columns, number)
    good &= fits
    millis, place = _fraction(octets, place + 8)
    value += seconds * 1000 + millis
    years = np.where(dated, _number(year[:4]), 1972)
    good &= (years >= _FIRST_YEAR) & (years <= _LAST_YEAR)
    local, exists = in_year(value, np.where(good, years, 1972))
    kind = np.where(dated, np.where(exists, LOCAL, NONE), YEARLESS)
    ended, place = _end(octets, place)
    kind = np.where(good & ended, kind, NONE).astype(np.uint8)
    return Stamps(kind, np.where(dated, local, value), place - at)


def _yearless(columns: Bytes, day: Ints) -> tuple[Ints, Bools]:
    """Milliseconds from the beginning of a leap year to a day, and which of them are one."""
    code = _code(columns)
    index = np.minimum(np.searchsorted(_MONTH_CODES, code), len(_MONTH_CODES) - 1)
    month = np.where(_MONTH_CODES[index] == code, _MONTH_OF[index], 0)
    good = (columns[3] == ord(" ")) & (day >= 1) & (day <= _DAYS[month])
    return (_BEFORE[month] + day - 1) * DAY, good


def _iso(octets: Octets, at: Ints) -> Stamps:
    """`YYYY-MM-DDTHH:MM:SS`, then perhaps a fraction and an offset."""
    columns = octets.columns(at, 24)
    good = digits_of(columns[:4]) & digits_of(columns[5:7]) & digits_of(columns[8:10])
    good &= (columns[4] == ord("-")) & (columns[7] == ord("-"))
    good &= (columns[10] == ord("T")) | (columns[10] == ord(" ")) | (columns[10] == ord("t"))
    seconds, fits = _clock(columns[11:19])
    year, month = _number(columns[:4]), _number(columns[5:7])
    day = _number(columns[8:10])
    good &= fits & (year >= _FIRST_YEAR) & (year <= _LAST_YEAR)
    month = np.where(good & (month >= 1) & (month <= 12), month, 0)
    good &= (day >= 1) & (day <= _DAYS[month])
    value, exists = in_year(
        (_BEFORE[month] + day - 1) * DAY + seconds * 1000, np.where(good, year, 1972)
    )
    good &= exists
    millis, place = _fraction(octets, at + 19)
    offset, told, place = _offset(octets, place)
    ended, place = _end(octets, place)
    kind = np.where(good & ended, np.where(told, UTC, LOCAL), NONE).astype(np.uint8)
    return Stamps(kind, value + millis - offset * 60_000, place - at)


def _epoch(octets: Octets, at: Ints) -> Stamps:
    """Ten digits, which is until the year 2286, and perhaps a fraction."""
    columns = octets.columns(at, 16)
    good = digits_of(columns[:10]) & ~digits_of(columns[10:11])
    seconds = _number(columns[:10])
    millis, place = _fraction(octets, at + 10)
    ended, place = _end(octets, place)
    kind = np.where(good & ended & (seconds < _LATEST), UTC, NONE).astype(np.uint8)
    return Stamps(kind, seconds * 1000 + millis, place - at)


def _fraction(octets: Octets, at: Ints) -> tuple[Ints, Ints]:
    """Milliseconds of a fraction of up to nine digits, 0 where there is none; what follows it."""
    columns = octets.columns(at, 11)
    told = ((columns[0] == ord(".")) | (columns[0] == ord(","))) & digits_of(columns[1:2])
    if not told.any():
        return np.zeros(at.size, np.int64), at
    digit = (columns[1:10] - 48 <= 9) & told
    run = np.logical_and.accumulate(digit, axis=0)
    figures = np.where(run[:3], columns[1:4] - 48, 0).astype(np.int64)
    millis = figures[0] * 100 + figures[1] * 10 + figures[2]
    return millis, at + np.where(told, 1 + run.sum(axis=0), 0)


def _offset(octets: Octets, at: Ints) -> tuple[Ints, Bools, Ints]:
    """Minutes east of Greenwich, whether they are told, and what follows."""
    columns = octets.columns(at, 8)
    signs = (ord("+"), ord("-"))
    spaced = (columns[0] == ord(" ")) & np.isin(columns[1], signs) & digits_of(columns[2:6])
    if spaced.any():
        at = at + spaced
        columns = octets.columns(at, 8)
    zulu = (columns[0] == ord("Z")) | (columns[0] == ord("z"))
    if zulu.all():
        return np.zeros(at.size, np.int64), zulu, at + 1
    signed = np.isin(columns[0], signs) & digits_of(columns[1:3])
    colon = signed & (columns[3] == ord(":")) & digits_of(columns[4:6])
    short = signed & digits_of(columns[3:5])
    minutes = np.where(colon, _number(columns[4:6]), np.where(short, _number(columns[3:5]), 0))
    signed &= (_number(columns[1:3]) <= 23) & (minutes <= 59)
    east = _number(columns[1:3]) * 60 + minutes
    east = np.where(signed, np.where(columns[0] == ord("-"), -east, east), 0)
    width = np.where(signed, np.where(colon, 6, np.where(short, 5, 3)), zulu)
    return east, zulu | signed, at + width


def _end(octets: Octets, at: Ints) -> tuple[Bools, Ints]:
    """Whether stamps end here, and what follows."""
    columns = octets.columns(at, 2)
    colon = (columns[0] == ord(":")) & (columns[1] == ord(" "))
    blank = (columns[0] == ord(" ")) | (columns[0] == ord("\t"))
    line = (columns[0] == ord("\n")) | (columns[0] == ord("\r")) | (columns[0] == 0)
    return blank | colon | line, at + blank + 2 * colon


def _clock(columns: Bytes) -> tuple[Ints, Bools]:
    """Seconds of `HH:MM:SS`, and which of them are a time."""
    hours, minutes, seconds = (_number(columns[i : i + 2]) for i in (0, 3, 6))
    good = (columns[2] == ord(":")) & (columns[5] == ord(":"))
    for first in (0, 3, 6):
        good &= digits_of(columns[first : first + 2])
    good &= (hours <= 23) & (minutes <= 59) & (seconds <= 60)
    return (hours * 60 + minutes) * 60 + seconds, good


def digits_of(columns: Bytes) -> Bools:
    """Where all of some columns are digits."""
    result: Bools = columns[0] - np.uint8(48) <= 9
    for column in columns[1:]:
        result &= column - np.uint8(48) <= 9
    return result


def _number(columns: Bytes) -> Ints:
    """The number that columns of digits make; of anything else, something."""
    result: Ints = columns[0].astype(np.int64) - 48
    for column in columns[1:]:
        result *= 10
        result += column
        result -= 48
    return result


def _code(columns: Bytes) -> Ints:
    result: Ints = columns[0].astype(np.int64) << 16
    result |= columns[1].astype(np.int64) << 8
    result |= columns[2]
    return result


def is_leap(year: Ints) -> Bools:
    """Whether these years have a 29 February."""
    result: Bools = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    return result


def year_start(year: Ints) -> Ints:
    """Milliseconds from 1970 to the beginning of these years, by the clock on the wall."""
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    return days * DAY


def in_year(value: Ints, year: Ints) -> tuple[Ints, Bools]:
    """Put YEARLESS values into years: local milliseconds, and whether that day exists there."""
    leap = is_leap(year)
    after = value >= 60 * DAY
    exists = leap | after | (value < 59 * DAY)
    return year_start(year) + value - np.where(~leap & after, DAY, 0), exists
