"""Whole access log files: the same results as line by line, at a multiple of the rate.

Rules
- Memory is bounded by the chunk, whatever the size of a file or of a line.
- What a line is, only `triage.proxylog.formats` decides. This module finds, column-wise, lines that
  the line parser would certainly read by its fast expression *and* that do not matter (outside the
  window, or another client's that did not fail); it counts those, and gives all others to the line
  parser. A test holds the two ways' results against each other.
- A file that is sorted by the time of writing is entered by bisection. It counts as sorted when a
  spread of samples is; a line at `p` that was written before the window proves that all before `p`
  were, and a line is written at its request's end (START_TIME + DURATION) and a flush.
- Reading ends at the first line that was written `written_late` after the window's end.

How columns are made: in formats in which every field that may hold anything stands in double
quotes, a line with just the format's own quotes splits at them into fixed columns. Polars' CSV
reader does that with `"` as the separator; the columns between are checked with the format's own
expressions. Lines with more or fewer quotes go to the line parser. So do all when polars is not
installed, in formats without quotes, and in JSON.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from triage.cri import Joiner, Line, take_apart
from triage.evidence import ProxyRequest, Target, Window
from triage.proxylog.flags import Kind, classify, server_fault
from triage.proxylog.formats import ANY, AutoFormat, Format, TextFormat, compile_format
from triage.proxylog.match import AGENT_LIMIT, agent_expression
from triage.proxylog.times import ISO

_PIECE = re.compile(rb"\S+ (?:\S+ )?std(?:out|err) P")
"""A line that is a piece of another: the next one of its stream goes with it."""

if TYPE_CHECKING:
    import polars as pl

CHUNK = 4 * 1024 * 1024
"""Octets that are read and held at once."""
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
) -> None:
    """Give the lines of the files, oldest file first, to the sink. Raises OSError, EOFError."""
    compiled = compile_format(form)
    reader = _Reader(compiled, target, window, sink)
    until = window.end + written_late
    for path in paths:
        for chunk in chunks(path, compiled, window.start):
            reader.take(chunk)
            if _written_after(chunk, compiled, until):
                break
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


def chunks(path: str, form: Format, start: float, size: int = CHUNK) -> Iterator[bytes]:
    """A file's content in whole lines, from about `start` on; over-long lines are cut."""
    with open_log(path) as file:
        if not isinstance(file, gzip.GzipFile):
            file.seek(entry(file, form, start))
        rest = b""
        skipping = False
        while data := _read(file, size):
            if skipping:
                _, newline, data = data.partition(b"\n")
                skipping = not newline
            end = data.rfind(b"\n") + 1
            if end:
                yield rest + data[:end]
                rest = data[end:]
            elif not skipping:
                rest += data
            if len(rest) > LONGEST:
                yield rest[:LONGEST] + b"\n"
                rest, skipping = b"", True
        if rest:
            yield rest + b"\n"


def _read(file: BinaryIO, size: int) -> bytes:
    """Read on; a gzip file that ends in the middle gives what it has."""
    try:
        return file.read1(size) if isinstance(file, gzip.GzipFile) else file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""


def entry(file: BinaryIO, form: Format, start: float) -> int:
    """An offset, at a line's beginning, before which no line is of a request begun at `start`."""
    size = file.seek(0, os.SEEK_END)
    if size < 4 * _PROBE or not _is_sorted(file, form, size):
        return 0
    low, high = 0, size
    while high - low > _PROBE:
        middle = (low + high) // 2
        found = _written(file, form, middle)
        if found is not None and found[1] + FLUSH < start:
            low = found[0]
        else:
            high = middle
    return low


def _is_sorted(file: BinaryIO, form: Format, size: int) -> bool:
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
    tail = chunk[-8192:].split(b"\n")[1:-1]
    times = [time for time in (_time_of(raw, form) for raw in tail[-5:]) if time is not None]
    return bool(times) and min(times) > until + FLUSH


# Lines


class _Reader:
    def __init__(self, form: Format, target: Target, window: Window, sink: Sink) -> None:
        self._form = form
        self._target = target
        self._window = window
        self._sink = sink
        self._joiner = Joiner()
        self._columns: _Columns | None = None
        self._chosen: TextFormat | None = None

    def take(self, chunk: bytes) -> None:
        columns = None if self._joiner.holds else self._columns_for(chunk)
        if columns is None:
            self._by_line(chunk.split(b"\n"))
            return
        try:
            raws = columns.take(chunk, self._sink)
        except _NoColumnsError:  # rows are not lines, for whatever reason
            raws = chunk.split(b"\n")
        self._by_line(raws)

    def _by_line(self, raws: Sequence[bytes]) -> None:
        feed, take = self._joiner.feed, self._sink.take
        for raw in raws:
            if raw:
                for line in feed(raw):
                    take(line)

    def flush(self) -> None:
        for line in self._joiner.flush():
            self._sink.take(line)

    def _columns_for(self, chunk: bytes) -> _Columns | None:
        chosen = self._form if isinstance(self._form, TextFormat) else self._guess(chunk)
        if chosen is None:
            return None
        if self._columns is None or chosen is not self._chosen:
            self._chosen = chosen
            try:
                self._columns = _Columns(chosen, self._target, self._window)
            except (ImportError, _NoColumnsError):
                self._columns = None
        return self._columns

    def _guess(self, chunk: bytes) -> TextFormat | None:
        if not isinstance(self._form, AutoFormat):
            return None
        for raw in chunk[: 64 * 1024].split(b"\n")[:40]:
            text = take_apart(raw).text.decode("utf-8", "replace")
            found = self._form.text_format(text)
            if found is not None:
                return found
        return None


# Columns


class _NoColumnsError(Exception):
    """The format has no columns of this sort."""


_CRI = r"(?:\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d) (?:std(?:out|err) F )?)?"
_FRACTION = r"(?:\.[0-9]{1,9})?"
"""Of a time; in columns, times are of one length."""
_END = b"\x1f"
"""Put behind each line before it is split."""


class _Columns:
    """Tells, for a chunk, the lines that do not matter."""

    def __init__(self, form: TextFormat, target: Target, window: Window) -> None:
        import polars as pl  # noqa: PLC0415 - only where it is used

        self._pl = pl
        segments = form.quoted_segments()
        if segments is None:
            raise _NoColumnsError
        self._count = len(segments)
        if self._count < 3:
            raise _NoColumnsError
        self._names = [f"c{index}" for index in range(self._count)]
        self._header = '"'.join(self._names).encode() + b"\n"
        self._schema = dict.fromkeys(self._names, pl.String)
        self._agent_column = self._only(segments, "user_agent")
        self._time_column = self._with_time(segments)
        self._status_column, self._status = self._with_status(form, segments)
        self._checks = self._expressions(segments)
        self._agent = agent_expression(target.user_agent)
        # What is within a millisecond of an end is left to the line parser.
        self._start = (_iso(window.start - 0.001), _iso(window.start + 0.001))
        self._end = (_iso(window.end - 0.001), _iso(window.end + 0.001))
        self._agents: dict[str, bool] = {}
        self._told: dict[str, bool | None] = {}
        self._try()

    @staticmethod
    def _only(segments: Sequence[Segment], name: str) -> str:
        for index, (_, names) in enumerate(segments):
            if names == [name]:
                return f"c{index}"
        raise _NoColumnsError

    @staticmethod
    def _with_time(segments: Sequence[Segment]) -> str:
        """The default START_TIME in brackets at the beginning: it can be compared as text."""
        source, names = segments[0]
        if names[:1] != ["time"] or not source.startswith(rf"\[((?:{ISO}"):
            raise _NoColumnsError
        return "c0"

    def _with_status(
        self, form: TextFormat, segments: Sequence[Segment]
    ) -> tuple[str, re.Pattern[str]]:
        for index, (source, names) in enumerate(segments):
            if {"status", "flags"} <= set(names):
                self._status_fields = form.named_fields(names)
                return f"c{index}", re.compile(source + r"\Z", re.ASCII)
        raise _NoColumnsError

    def _expressions(self, segments: Sequence[Segment]) -> list[pl.Expr]:
        checks = []
        for index, (source, _) in enumerate(segments):
            if source == ANY or f"c{index}" == self._status_column:
                continue  # anything goes; the other is looked at by its distinct values
            if source == r"\ " and index != self._count - 1:
                checks.append(self._pl.col(f"c{index}") == " ")
                continue
            prefix = _CRI if index == 0 else ""
            suffix = _END.decode() if index == self._count - 1 else ""
            expression = f"^{prefix}{_rust(source)}{suffix}$"
            expression = expression.replace(_FRACTION, r"\.[0-9]{3}")
            checks.append(self._pl.col(f"c{index}").str.contains(expression))
        return checks

    def take(self, chunk: bytes, sink: Sink) -> list[bytes]:
        """Count the lines that do not matter, and return the others."""
        pl = self._pl
        frame = self._split(chunk)
        formed = pl.all_horizontal(self._checks)
        status = pl.col(self._status_column)
        known = self._known_status(frame)
        counted = {False, True} if sink.full else {False}
        frame = frame.with_columns(
            formed.fill_null(value=False).alias("formed")
            & status.is_in(list(known)).fill_null(value=False),
            status.is_in([one for one, failed in known.items() if failed in counted]).alias("told"),
            status.is_in([one for one, failed in known.items() if failed]).alias("failed"),
            pl.col(self._time_column).str.slice(-26, 23).alias("time"),  # before "Z] "
        )
        time = pl.col("time")
        inside = (time > self._start[1]) & (time < self._end[0])
        outside = (time < self._start[0]) | (time > self._end[1])
        other = pl.col(self._agent_column).is_in(self._others(frame))
        skipped = frame.select(
            (pl.col("formed") & (outside | (inside & pl.col("told") & other)))
            .fill_null(value=False)
            .alias("skip"),
            inside.fill_null(value=False).alias("inside"),
            "failed",
        )
        drop = skipped["skip"]
        counts = drop & skipped["inside"]
        matter = self._matter(chunk, drop)
        if any(_PIECE.match(raw) for raw in matter):
            raise _NoColumnsError  # the rest of it may be among those that are dropped
        failed = int((counts & skipped["failed"]).sum())
        sink.skip(int(drop.sum()), int(counts.sum()), failed)
        return matter

    def _split(self, chunk: bytes) -> pl.DataFrame:
        """A row for each line, a column for each piece between quotes; missing ones are null.

        Only the last piece of a line ends in `_END`: if that is the last column, none is missing
        and none too many.
        """
        return self._pl.read_csv(
            io.BytesIO(self._header + chunk.replace(b"\n", _END + b"\n")),
            separator='"',
            quote_char=None,
            schema=self._schema,
            truncate_ragged_lines=True,
            encoding="utf8-lossy",
        )

    def _try(self) -> None:
        """Raise _NoColumnsError unless this polars splits as it must."""
        try:
            rows = self._split(b'a""b\n').rows()
            full = self._split(b'"' * self._count + b"\n")[-1, -1]
        except (TypeError, self._pl.exceptions.PolarsError):
            raise _NoColumnsError from None
        if rows != [("a", None, "b" + _END.decode(), *[None] * (self._count - 3))] or full:
            raise _NoColumnsError

    @staticmethod
    def _matter(chunk: bytes, drop: pl.Series) -> list[bytes]:
        """The chunk's own lines that are not dropped, as they are there."""
        keep = (~drop).arg_true().to_list()
        if not keep:
            return []
        raws = chunk.split(b"\n")
        if len(raws) - 1 != len(drop):
            raws = [raw for raw in raws if raw]  # empty lines are no rows
            if len(raws) != len(drop):
                raise _NoColumnsError
        return [raws[index] for index in keep]

    def _others(self, frame: pl.DataFrame) -> list[str]:
        """The user agents of the chunk that are certainly not the monitor's."""
        others = []
        for agent in frame[self._agent_column].unique().to_list():
            if agent is None:
                continue
            known = self._agents.get(agent)
            if known is None:
                if len(self._agents) > 10_000:
                    self._agents.clear()
                known = self._agents[agent] = self._is_other(agent)
            if known:
                others.append(agent)
        return others

    def _is_other(self, agent: str) -> bool:
        return agent not in ("-", "") and not self._agent.search(agent[:AGENT_LIMIT])

    def _known_status(self, frame: pl.DataFrame) -> dict[str, bool | None]:
        """Status segments of the chunk that are well formed -> whether they tell of a failure."""
        found: dict[str, bool | None] = {}
        for text in frame[self._status_column].unique().to_list():
            if text is None:
                continue
            if text not in self._told:
                match = self._status.match(text)
                if match is None:
                    continue
                if len(self._told) > 10_000:
                    self._told.clear()
                self._told[text] = self._tells(match)
            found[text] = self._told[text]
        return found

    def _tells(self, match: re.Match[str]) -> bool | None:
        """Whether it is the serving side's failure, whatever the other fields say; None: depends.

        See `server_fault`: what the rest of a line can change is whether a good status is the whole
        truth, and what a delayed request died of.
        """
        fields = zip(self._status_fields, match.groups(), strict=True)
        values = {field.name: field.convert(value) for field, value in fields}
        request = ProxyRequest(time=0.0, method="GET", **values)
        status = request.status
        if status is None or "DI" in request.flags:
            return None
        if 400 <= status < 600:
            return server_fault(request, classify(request))
        clean = request.details in ("via_upstream", None) and request.termination_details is None
        if 100 <= status < 400 and not request.flags and clean:
            return False
        return False if classify(request).kind is Kind.CLIENT_GONE else None


Segment = tuple[str, list[str]]


def _rust(source: str) -> str:
    """Python's expression in the syntax of Rust's regex crate: no escaped space, classes ASCII."""
    source = source.replace(r"\d", "[0-9]").replace(r"\ ", " ")
    return source.replace(r"[\w.:/-]", "[A-Za-z0-9_.:/-]")


def _iso(time: float) -> str:
    """A time as START_TIME prints it, to compare as text; out of range: an end of all times."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    except (OverflowError, OSError, ValueError):
        return "9999" if time > 0 else "0000"


def requests(path: str, form: Format) -> Iterator[ProxyRequest]:
    """All requests of a file, line by line: the plain way, which the other is measured against."""
    joiner = Joiner()
    for chunk in chunks(path, form, float("-inf")):
        for raw in chunk.split(b"\n"):
            for line in joiner.feed(raw) if raw else ():
                request = form.parse(line.text, line.time, cut=line.cut)
                if request is not None:
                    yield request
