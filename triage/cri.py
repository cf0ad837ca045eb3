r"""Lines as a log source gives them, taken apart: when, which stream, what text.

Rules
- Bytes in, `Line` out. Nothing raises: a prefix that is not understood is part of the text.
- Prefixes, outermost first, each of them optional:
      2023-11-21T10:00:00.123456789Z TEXT                   Kubernetes API, timestamps=true
      2023-11-21T10:00:00.123456789Z stdout F TEXT          CRI log file (containerd, CRI-O)
      {"log":"TEXT\n","stream":"stdout","time":"..."}       Docker's json-file
  A Kubernetes time before one of the two others counts as theirs: theirs is closer to the writer.
- The runtime cuts long lines: CRI tags all pieces but the last P, json-file leaves their newline
  out. `Joiner` puts them together, by stream, up to a bound; what is beyond it is dropped, and the
  line says that it was cut.
- A piece whose end was lost (rotation, a restart) is given as it is once a piece comes that cannot
  belong to it: more than `JOIN_SECONDS` later. One that never ends holds no more than the bound.
- Text is UTF-8; what is not becomes U+FFFD.

A line of an application that itself begins with an RFC 3339 time looks like one with a Kubernetes
prefix; where no prefix is expected (plain files), that time is a good one all the same.
"""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

LIMIT = 64 * 1024
"""Octets of one line that are kept. Envoy's default header limit is 60 KiB; runtimes cut at 16."""
JOIN_SECONDS = 10.0
"""Pieces of one line are written back to back; a writer may stall in between for a while."""

_TIME = rb"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d):(\d\d)(?:[.,](\d{1,12}))?([Zz]|[+-]\d\d:?\d\d)"
_FULL_TIME = re.compile(_TIME + rb"\Z")
_PREFIX = re.compile(_TIME + rb"(?: |\Z)")
_CRI = re.compile(rb"(stdout|stderr) ([FP])(?::[^ ]*)?(?: |\Z)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log."""

    time: float | None
    """Seconds since 1970 when the runtime took it (its first piece); None: no prefix tells."""
    stream: str
    """"stdout", "stderr" or ""."""
    text: str
    """Without prefix and newline."""
    cut: bool = False
    """It was longer than the limit, or its end was lost."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one line of a source holds: a line, or a part of one."""

    time: float | None
    stream: str
    text: bytes
    partial: bool = False
    """More of the same line follows."""


@lru_cache(maxsize=1024)
def _minute(minute: bytes, zone: bytes) -> int | None:
    """Seconds since 1970 of "2023-11-21T10:00" in a zone; None when there is no such time."""
    text = minute.decode("ascii")
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    hour, low = int(text[11:13]), int(text[14:16])
    if not (year >= 1 and 1 <= month <= 12 and hour <= 23 and low <= 59):
        return None
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    seconds = calendar.timegm((year, month, day, hour, low, 0))
    if zone in {b"Z", b"z"}:
        return seconds
    offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return seconds - offset if zone[:1] == b"+" else seconds + offset


def _seconds(match: re.Match[bytes]) -> float | None:
    minute, second, fraction, zone = match.groups()
    base = _minute(minute, zone)
    if base is None or int(second) > 60:
        return None
    return base + int(second) + (float(b"0." + fraction) if fraction else 0.0)


def parse_time(text: bytes) -> float | None:
    """Seconds since 1970 of an RFC 3339 time (section 5.6); None when it is none."""
    match = _FULL_TIME.match(text)
    return _seconds(match) if match else None


def take_apart(raw: bytes) -> Piece:
    """The prefixes of one line of a source, and what they are before."""
    raw = raw.rstrip(b"\r\n")
    if raw[:1] == b"{":
        return _docker(raw) or Piece(None, "", raw)
    match = _PREFIX.match(raw)
    time = _seconds(match) if match else None
    if match is None or time is None:
        return Piece(None, "", raw)
    rest = raw[match.end() :]
    if rest[:1] == b"{":
        return _docker(rest) or Piece(time, "", rest)
    cri = _CRI.match(rest)
    if cri is None and rest[:1].isdigit():  # a CRI line behind a Kubernetes time
        inner = _PREFIX.match(rest)
        cri = inner and _CRI.match(rest, inner.end())
        time = (_seconds(inner) or time) if inner and cri else time
    if cri is None:
        return Piece(time, "", rest)
    return Piece(time, cri[1].decode("ascii"), rest[cri.end() :], partial=cri[2] == b"P")


def _docker(raw: bytes) -> Piece | None:
    """A json-file line; None when it is other JSON, or none."""
    if b'"log"' not in raw or b'"stream"' not in raw:
        return None
    try:
        fields = json.loads(raw)
        text, stream = fields["log"], fields["stream"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(text, str) or stream not in ("stdout", "stderr"):
        return None
    stamp = fields.get("time")
    time = parse_time(stamp.encode()) if isinstance(stamp, str) and stamp.isascii() else None
    octets = text.encode("utf-8", "surrogatepass")
    return Piece(time, stream, octets.rstrip(b"\r\n"), partial=not text.endswith("\n"))


class Joiner:
    """Puts the pieces of one source's lines together.

    Feed it each line in order; call `flush` at the end. It holds at most one unfinished line for
    each of the three streams ("stdout", "stderr" and ""), of at most `limit` octets.
    """

    __slots__ = ("_limit", "_open")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._open: dict[str, _Open] = {}

    def feed(self, raw: bytes) -> list[Line]:
        """The lines that `raw` completes: none, one, or two when an older one lost its end."""
        piece = take_apart(raw)
        lines = []
        held = self._open.get(piece.stream)
        if held is not None and not held.goes_on_with(piece):
            lines.append(self._open.pop(piece.stream).line(self._limit, lost=True))
            held = None
        if held is None and not piece.partial:
            lines.append(_line(piece.time, piece.stream, piece.text, self._limit))
            return lines
        if held is None:
            held = self._open[piece.stream] = _Open(piece)
        else:
            held.add(piece, self._limit)
        if not piece.partial:
            lines.append(self._open.pop(piece.stream).line(self._limit))
        return lines

    @property
    def holds(self) -> bool:
        """Whether a line is unfinished."""
        return bool(self._open)

    def flush(self) -> list[Line]:
        """What is unfinished, as it is; nothing is held any more."""
        lines = [held.line(self._limit, lost=True) for held in self._open.values()]
        self._open.clear()
        return lines


class _Open:
    """A line whose end has not come yet."""

    __slots__ = ("last", "size", "stream", "texts", "time")

    def __init__(self, piece: Piece) -> None:
        self.time = self.last = piece.time
        self.stream = piece.stream
        self.texts = [piece.text]
        self.size = len(piece.text)

    def goes_on_with(self, piece: Piece) -> bool:
        if self.last is None or piece.time is None:
            return True
        return abs(piece.time - self.last) <= JOIN_SECONDS

    def add(self, piece: Piece, limit: int) -> None:
        self.last = piece.time
        if self.size <= limit:  # one octet beyond it shows that the line was cut
            self.texts.append(piece.text)
            self.size += len(piece.text)

    def line(self, limit: int, *, lost: bool = False) -> Line:
        return _line(self.time, self.stream, b"".join(self.texts), limit, lost=lost)


def _line(time: float | None, stream: str, text: bytes, limit: int, *, lost: bool = False) -> Line:
    cut = lost or len(text) > limit
    return Line(time, stream, text[:limit].decode("utf-8", "replace"), cut)


def lines(raws: Iterable[bytes], limit: int = LIMIT) -> Iterator[Line]:
    """All lines of a source, joined."""
    joiner = Joiner(limit)
    for raw in raws:
        yield from joiner.feed(raw)
    yield from joiner.flush()
