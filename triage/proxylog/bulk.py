"""Whole access log files: the same results as line by line, at a multiple of the rate.

Rules
- Memory is bounded by the chunk, whatever the size of a file or of a line.
- Lines that certainly do not matter are counted (`triage.proxylog.prefilter`); all others go to the
  line parser. So do those of a block in which a line goes on from piece to piece, as runtimes cut
  long ones: the rest of one may look like a line.
- A file that is sorted by the time of writing is entered by bisection. It counts as sorted when a
  spread of samples is; a line at `p` that was written before the window proves that all before `p`
  were, and a line is written at its request's end (START_TIME + DURATION) and a flush.
- Reading ends at a file's end, in a sorted one behind the lines that were written `written_late`
  after the window's end, and when nobody wants it any more (`stopped`).
"""

from __future__ import annotations

import gzip
import itertools
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from triage.cri import Joiner, Line, take_apart
from triage.evidence import ProxyRequest, Target, Window
from triage.proxylog.formats import AutoFormat, Format, compile_format
from triage.proxylog.prefilter import Prefilter, prefilter

CHUNK = 1024 * 1024
"""Octets that are read and held at once."""
BLOCK = 64 * 1024
"""Octets that are sorted at once: no longer than `triage.cri.LIMIT`, so that no line is either."""
LONGEST = 1024 * 1024
"""A line is cut here."""
FLUSH = 30.0
"""Seconds after a request's end within which its line is surely written (Envoy's default: 10)."""
_SAMPLES = 24
_PROBE = 64 * 1024


class Sink(Protocol):
    """Takes what is found; `triage.sources.proxy.Collector` is one."""

    def take(self, line: Line) -> None:
        """A line that matters, or may."""
        ...

    def skip(self, lines: int, in_window: int, failed: int) -> None:
        """Lines that are of the format and need not be kept; `failed` are the serving side's."""
        ...

    @property
    def full(self) -> bool:
        """Whether no more failed requests of other clients are kept: then they are but counted."""
        ...


def collect(
    paths: Sequence[str],
    form: str | Mapping[str, Any],
    target: Target,
    window: Window,
    sink: Sink,
    *,
    written_late: float = 75.0,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Give the lines of the files, oldest file first, to the sink. Raises OSError."""
    compiled = compile_format(form)
    reader = _Reader(compiled, target, window, sink)
    until = window.end + written_late
    for path in paths:
        for chunk in chunks(path, compiled, window.start, until):
            for block in blocks(chunk, BLOCK):
                if stopped():
                    return
                reader.take(block)
        reader.flush()


# Files


def open_log(path: str) -> BinaryIO:
    """Open a log, unpacking gzip whatever its name. Raises OSError."""
    file = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
    magic = file.read(2)
    file.seek(0)
    if magic == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    return file


def chunks(
    path: str, form: Format, start: float, until: float = math.inf, size: int = 0
) -> Iterator[bytes]:
    """A file's content in whole lines; over-long lines are cut.

    Of one that is sorted, from about `start` to some time behind `until`. `size`: octets read at
    once, if not `CHUNK`.
    """
    with open_log(path) as file:
        ordered = not isinstance(file, gzip.GzipFile) and _is_sorted(file, form)
        file.seek(_bisect(file, form, start) if ordered else 0)
        rest = b""
        skipping = False
        while data := _read(file, size or CHUNK):
            if skipping:
                _, newline, data = data.partition(b"\n")
                skipping = not newline
            end = data.rfind(b"\n") + 1
            if end:
                chunk, rest = rest + data[:end], data[end:]
                yield chunk
                if ordered and _written_after(chunk, form, until):
                    return
            elif not skipping:
                rest += data
            if len(rest) > LONGEST:
                yield rest[:LONGEST] + b"\n"
                rest, skipping = b"", True
        if rest:
            yield rest + b"\n"


def blocks(chunk: bytes, size: int) -> Iterator[bytes]:
    """Whole lines in parts of at most `size` octets; a line that is longer is a part of its own."""
    at = 0
    while at < len(chunk):
        end = chunk.rfind(b"\n", at, at + size) + 1 or chunk.find(b"\n", at) + 1 or len(chunk)
        yield chunk[at:end]
        at = end


def _read(file: BinaryIO, size: int) -> bytes:
    """Read on; a gzip file that ends in the middle gives what it has."""
    try:
        return file.read1(size) if isinstance(file, gzip.GzipFile) else file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""


def entry(file: BinaryIO, form: Format, start: float) -> int:
    """An offset, at a line's beginning, before which no line is of a request begun at `start`."""
    return _bisect(file, form, start) if _is_sorted(file, form) else 0


def _bisect(file: BinaryIO, form: Format, start: float) -> int:
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _PROBE:
        middle = (low + high) // 2
        found = _written(file, form, middle)
        if found is not None and found[1] + FLUSH < start:
            low = found[0]
        else:
            high = middle
    return low


def _is_sorted(file: BinaryIO, form: Format) -> bool:
    """Whether a spread of samples is; small files are not looked at."""
    size = file.seek(0, os.SEEK_END)
    if size < 4 * _PROBE:
        return False
    times = []
    for part in range(_SAMPLES):
        found = _written(file, form, size * part // _SAMPLES)
        if found is None:
            return False
        times.append(found[1])
    return all(later >= earlier - FLUSH for earlier, later in itertools.pairwise(times))


def _written(file: BinaryIO, form: Format, offset: int) -> tuple[int, float] | None:
    """Where the first line after `offset` that tells begins, and when it was written at latest."""
    file.seek(offset)
    data = file.read(_PROBE)
    at = 0 if offset == 0 else data.find(b"\n") + 1
    if offset and not at:
        return None
    for _ in range(64):
        end = data.find(b"\n", at)
        if end < 0:
            return None
        written = _time_of(data[at:end], form)
        if written is not None:
            return offset + at, written
        at = end + 1
    return None


def _time_of(raw: bytes, form: Format) -> float | None:
    piece = take_apart(raw)
    if piece.time is not None:
        return piece.time
    request = form.parse(piece.text.decode("utf-8", "replace"))
    return None if request is None else request.end


def _written_after(chunk: bytes, form: Format, until: float) -> bool:
    """Whether the chunk's last lines were all written after `until`."""
    times = []
    for raw in chunk[-8192:].split(b"\n")[1:-1][-5:]:
        time = _time_of(raw, form)
        if time is not None:
            if time <= until + FLUSH:
                return False
            times.append(time)
    return bool(times)


# Lines


class _Reader:
    def __init__(self, form: Format, target: Target, window: Window, sink: Sink) -> None:
        self._form = form
        self._target = target
        self._window = window
        self._sink = sink
        self._joiner = Joiner()
        self._filters: dict[int, Prefilter | None] = {}
        self._filter: Prefilter | None = None
        self._chosen = False

    def take(self, block: bytes) -> None:
        """Read lines: a part of `blocks`."""
        chosen = self._choose(block)
        if chosen is None or self._joiner.holds or len(block) > BLOCK:
            self._by_line(block.split(b"\n"))
            return
        found = chosen.sort(block, failed_too=self._sink.full)
        if any(take_apart(raw).partial for raw in found.matter):
            self._by_line(block.split(b"\n"))
            return
        self._chosen = found.skipped > 0
        self._sink.skip(found.skipped, found.inside, found.failed)
        self._by_line(found.matter)

    def _by_line(self, raws: Sequence[bytes]) -> None:
        feed, take = self._joiner.feed, self._sink.take
        for raw in raws:
            if raw:
                for line in feed(raw):
                    take(line)

    def flush(self) -> None:
        """Give what is unfinished at a file's end."""
        for line in self._joiner.flush():
            self._sink.take(line)

    def _choose(self, block: bytes) -> Prefilter | None:
        """The prefilter of a block's format; it stays as long as it fits."""
        if self._chosen:
            return self._filter
        form: Format | None = self._form
        if isinstance(form, AutoFormat):
            form = self._guess(form, block)
        if form is None:
            return None
        if id(form) not in self._filters:  # they live as long as this reader's own format
            self._filters[id(form)] = prefilter(form, self._target, self._window)
        self._filter = self._filters[id(form)]
        return self._filter

    @staticmethod
    def _guess(form: AutoFormat, block: bytes) -> Format | None:
        for raw in block.split(b"\n", 20)[:20]:
            found = form.form_of(take_apart(raw).text.decode("utf-8", "replace"))
            if found is not None:
                return found
        return None


def requests(path: str, form: Format) -> Iterator[ProxyRequest]:
    """All requests of a file, line by line: the plain way, which the other is measured against."""
    joiner = Joiner()
    for chunk in chunks(path, form, float("-inf")):
        for raw in chunk.split(b"\n"):
            for line in joiner.feed(raw) if raw else ():
                request = form.parse(line.text, line.time, cut=line.cut)
                if request is not None:
                    yield request
