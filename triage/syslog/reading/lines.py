"""Blocks of lines -> times, hosts and contents, one row for each line.

Headers that are told (stamps: see `stamps`); each may begin with `<PRI>`
    RFC 3164        STAMP HOST TAG[PID]: MESSAGE
    RFC 5424        VERSION STAMP HOST APP PROCID MSGID STRUCTURED-DATA MESSAGE, "-" for what is not
                    known; syslog-ng and rsyslog write it to files without `<PRI>`, too
    ISO             STAMP HOST TAG[PID]: MESSAGE, of rsyslog, journalctl, ESXi
    without a host  STAMP TAG...: ESXi's own files, and daemons that log to files of their own; the
                    host is then the plan's

Rules
- The format is told line by line; a file may mix them.
- Content is "tag[pid]: message" whatever the header: of RFC 5424 "APP[PROCID]: MESSAGE", without
  what is "-"; structured data, message id and priority are dropped.
- A word behind the stamp is no host if it ends with a colon (except "::"), or holds what no host's
  name does, or is a level that a "tag[pid]" follows (ESXi's "info hostd[2099] ...").
- Without a stamp, or without a host when the plan has none either, a line is broken: its content is
  the line, its time and host are null.
- "last message repeated N times" has the content of the last line before it of the same host, and
  count N, if that one begins at most `CONTEXT` bytes before it; "message repeated N times: [ X ]"
  has content X behind its tag, and count N. N above 9,999,999 is not
  believed: such a line stays what it is.
- Contents are bounded to `LONGEST` bytes of the line, a carriage return at the end is dropped, and
  what is not UTF-8 becomes U+FFFD. Control characters stay; only zeros before a line go, which a
  power cut leaves where the next boot's first line follows.
- A row depends on its line, the plan and the `CONTEXT` bytes before it: not on where blocks end.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import polars as pl

from triage.syslog.reading import stamps as st
from triage.syslog.reading.blocks import CONTEXT, LONGEST, Block, without_zeros
from triage.syslog.reading.stamps import Bools, Ints, Octets, Stamps
from triage.syslog.reading.years import HeaderPlan, Stretch, resolve
from triage.syslog.reading.zones import to_utc
from triage.syslog.tables import LINES

_TOKEN = 256
"""Longer words are no hosts: a name has 255 bytes at most (RFC 1035, 2.3.4)."""
_HOST = r"^(?:\[[0-9A-Fa-f.:]+\]|\w[\w.:%@/~-]*)$"
_TAG = r"[^:]:$"
_LEVELS = ("info", "warning", "error", "verbose", "trivia", "panic", "debug", "notice", "crit")
_TAGGED = r"^[\w./-]+\[\d+\]:? "
_DATA = r'^((?:\[[^ =\]"]{1,255}(?: +[^ =\]"]+="(?:[^"\\]|\\.)*")*\])+)(?: |$)'
_REPEATED = (
    r"^(?:[\w./-]+(?:\[\d+\])?: )?(?:-+ )?last message repeated ([0-9]{1,7}) times?(?: -+)?$"
)
_REPEATS = r"^(.{0,255}?)message repeated ([0-9]{1,7}) times?: \[ ?(.*?) ?\]$"


@dataclass(frozen=True, slots=True)
class Lines:
    """A block's rows, and what was wrong with its lines."""

    frame: pl.DataFrame
    """`LINES`."""
    broken: int
    """Lines without a header that could be read."""
    cut: int
    """Lines longer than `LONGEST` bytes."""
    undecodable: int
    """Lines that were not UTF-8."""


def read_lines(block: Block, plan: HeaderPlan) -> Lines:
    """Parse a block."""
    return _parse(block.data, plan, block.offset, block.before, int(block.cut))


def parse_block(
    data: bytes, plan: HeaderPlan, *, offset: int = 0, before: bytes = b""
) -> pl.DataFrame:
    """Parse whole lines; returns `LINES`, one row for each.

    Args:
        data: lines, each with its line feed; the last may lack it.
        plan: of their file (`plan_years`), or of their time (`plan_for`).
        offset: of `data` in the file, in unpacked bytes.
        before: whole lines of the file before `data` (`Block.before`), which "last message
            repeated" may mean.
    """
    return _parse(data, plan, offset, before, 0).frame


def _parse(data: bytes, plan: HeaderPlan, offset: int, before: bytes, cut: int) -> Lines:
    text = _Text(data)
    header = _headers(text, plan, offset)
    frame = _frame(text, header, plan)
    repeated = frame["content"].str.contains("message repeated ", literal=True).arg_true()
    if len(repeated):
        frame = _unrepeated(frame, repeated, text, before, plan, offset)
    return Lines(
        frame.select(LINES.names()).cast(LINES),
        frame["time"].null_count(),
        cut + text.cut,
        text.undecodable,
    )


class _Text:
    """A block's lines: as strings, and where they begin among the bytes."""

    def __init__(self, data: bytes) -> None:
        self.origin = data
        """The file's own bytes; those that are parsed are not always the same."""
        self.cut = self.undecodable = 0
        if b"\x00" in data:
            data = without_zeros(data)
        try:
            lines = _split(data)
        except pl.exceptions.ComputeError:
            data, self.undecodable = _decodable(data)
            lines = _split(data)
        lengths = lines.str.len_bytes().to_numpy()
        if lengths.size and int(lengths.max()) > LONGEST:
            data, self.cut = _bounded(data)
            lines = _split(data)
            lengths = lines.str.len_bytes().to_numpy()
        self.lines = lines
        self.octets = Octets(data)
        self._as_is = data is self.origin
        if b"\r" in data:
            self.starts = _starts(data)
        else:
            self.starts = np.zeros(lines.len(), np.int64)
            np.cumsum(lengths[:-1] + np.int64(1), out=self.starts[1:])

    def origin_starts(self) -> Ints:
        """Where the lines begin in the file's own bytes."""
        return self.starts if self._as_is else _starts(self.origin)

    def rows_before(self, at: int) -> int:
        """Number of lines that begin before byte `at` of the file's own bytes."""
        return self.origin.count(b"\n", 0, at - 1) + 1 if at > 0 else 0


def _starts(data: bytes) -> Ints:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    count = ends.size + (bool(data) and not data.endswith(b"\n"))
    starts = np.zeros(count, np.int64)
    starts[1:] = ends[: count - 1] + 1
    return starts


def _split(data: bytes) -> pl.Series:
    """The lines as strings; ComputeError if they are not UTF-8."""
    if not data:
        return pl.Series("line", [], pl.String)
    if data[0] in b"\x1f\x28\x78":  # Polars would unpack what begins as packed data does
        return pl.read_lines(BytesIO(b"\n" + data), name="line").to_series()[1:]
    return pl.read_lines(BytesIO(data), name="line").to_series()


def _decodable(data: bytes) -> tuple[bytes, int]:
    """The bytes with U+FFFD for what is not UTF-8, and the number of lines that have some."""
    view = memoryview(data)
    pieces: list[bytes | memoryview] = []
    count = done = at = end = 0
    while at < len(data):
        if at >= end:
            end = data.find(b"\n", at + (64 << 10)) + 1 or len(data)
        try:
            str(view[at:end], "utf-8")
            at = end
        except UnicodeDecodeError as error:
            wrong = at + error.start
            begin = data.rfind(b"\n", at, wrong) + 1 or at
            at = data.find(b"\n", wrong) + 1 or len(data)
            pieces += [view[done:begin], data[begin:at].decode("utf-8", "replace").encode()]
            count, done = count + 1, at
    return b"".join([*pieces, view[done:]]), count


def _bounded(data: bytes) -> tuple[bytes, int]:
    """The bytes with no line longer than `LONGEST`, and how many were; whole characters."""
    starts = _starts(data)
    ends = np.append(starts[1:], len(data) + (not data.endswith(b"\n"))) - 1
    long = np.flatnonzero(ends - starts > LONGEST)
    pieces, at = [], 0
    for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        last = start + LONGEST
        while data[last] & 0xC0 == 0x80 and last > start:
            last -= 1
        pieces.append(data[at:last])
        at = end
    return b"".join([*pieces, data[at:]]), int(long.size)


@dataclass(slots=True)
class _Headers:
    """Of n lines, as arrays of n; places are bytes from a line's beginning."""

    time: Ints
    good: Bools
    host: Ints
    host_bytes: Ints
    """0: the header has none."""
    content: Ints
    structured: Ints
    """Rows of RFC 5424."""


def _headers(text: _Text, plan: HeaderPlan, offset: int) -> _Headers:
    octets, at = text.octets, text.starts
    versioned = np.zeros(0, np.int64)
    if not (octets.byte(at) >= ord("A")).all():
        at = _behind_priority(octets, at)
        at, versioned = _behind_version(octets, at)
    found = st.stamps_at(octets, at)
    time, good = _times(found, text, plan, offset)
    body = at + (found.width if good.all() else np.where(good, found.width, 0))
    length = _word(octets, body)
    none = np.flatnonzero(length == 0)
    if none.size:
        body[none] = _behind_blanks(octets, body[none])
        length[none] = _word(octets, body[none])
    body -= text.starts
    structured = versioned[good[versioned]]
    return _Headers(time, good, body, length, body + length + (length > 0), structured)


def _behind_priority(octets: Octets, starts: Ints) -> Ints:
    """`<PRI>`, one to three digits (RFC 5424, 6.2.1)."""
    rows = np.flatnonzero(octets.byte(starts) == ord("<"))
    if not rows.size:
        return starts
    columns = octets.columns(starts[rows], 5)
    width = np.zeros(rows.size, np.int64)
    for digits in (1, 2, 3):
        good = st.digits_of(columns[1 : 1 + digits]) & (columns[1 + digits] == ord(">"))
        width[good] = digits + 2
    at = starts.copy()
    at[rows] += width
    return at


def _behind_version(octets: Octets, at: Ints) -> tuple[Ints, Ints]:
    """Where stamps begin, and the rows that have RFC 5424's version before it."""
    rows = np.flatnonzero(octets.byte(at) - np.uint8(ord("1")) <= 8)
    if not rows.size:
        return at, rows
    columns = octets.columns(at[rows], 3)
    one = columns[1] == ord(" ")
    two = st.digits_of(columns[1:2]) & (columns[2] == ord(" "))
    width = np.where(one, 2, np.where(two, 3, 0))
    rows, width = rows[width > 0], width[width > 0]
    if rows.size:
        at = at.copy()
        at[rows] += width
    return at, rows


def _behind_blanks(octets: Octets, at: Ints) -> Ints:
    for _ in range(16):
        more = octets.byte(at) == ord(" ")
        if not more.any():
            break
        at = at + more
    return at


_BLANKS = np.uint64(0x2121212121212121)
_HIGH = np.uint64(0x8080808080808080)


def _word(octets: Octets, at: Ints) -> Ints:
    """Bytes until the next blank or control character; 0 where there are more than `_TOKEN`."""
    length = np.zeros(at.size, np.int64)
    rows: Ints | None = None
    for reach in range(0, _TOKEN, 8):
        words = octets.words(at + reach)
        # The lowest byte below 33 sets the lowest of these bits (as in the test for a zero byte).
        low = words - _BLANKS
        np.bitwise_not(words, out=words)
        low &= words
        low &= _HIGH
        found = low != 0
        here = np.flatnonzero(found)
        if here.size:
            low = low[here]
            low &= ~low + np.uint64(1)
            place = reach + (np.bitwise_count(low - np.uint64(1)) >> np.uint8(3)).astype(np.int64)
            length[here if rows is None else rows[here]] = place
        if here.size == found.size:
            break
        if here.size:
            left = np.flatnonzero(~found)
            rows, at = left if rows is None else rows[left], at[left]
    return length


def _times(found: Stamps, text: _Text, plan: HeaderPlan, offset: int) -> tuple[Ints, Bools]:
    """Milliseconds UTC, and which of them are known."""
    time, good = found.value, found.kind != st.NONE
    yearless = np.flatnonzero(found.kind == st.YEARLESS)
    if yearless.size:
        time = time.copy()
        bounds = _bounds(text, plan, offset)
        ends = [*(first for first, _ in bounds[1:]), good.size]
        for (first, stretch), end in zip(bounds, ends, strict=True):
            low, high = np.searchsorted(yearless, [first, end])
            rows = slice(first, end) if high - low == end - first else yearless[low:high]
            time[rows], exists = _resolved(found.value[rows], stretch, plan.timezone)
            good[rows] &= exists
    local = np.flatnonzero(found.kind == st.LOCAL)
    if local.size:
        time = time.copy()
        time[local] = to_utc(time[local], plan.timezone)
    return time, good


def _resolved(value: Ints, stretch: Stretch, zone: str) -> tuple[Ints, Bools]:
    """As `resolve`; neighbours often have the same stamp."""
    changed = np.ones(value.size, np.bool_)
    np.not_equal(value[1:], value[:-1], out=changed[1:])
    time, exists = resolve(value[changed], stretch, zone)
    run: Ints = np.cumsum(changed, dtype=np.int64) - 1
    return time[run], exists[run]


def _bounds(text: _Text, plan: HeaderPlan, offset: int) -> list[tuple[int, Stretch]]:
    """The stretches that a block lies in, each with its first row."""
    size = len(text.origin)
    begun = [stretch for stretch in plan.stretches if stretch.offset <= offset]
    later = [stretch for stretch in plan.stretches if offset < stretch.offset < offset + size]
    first = begun[-1] if begun else plan.stretches[0]
    rows = (text.rows_before(stretch.offset - offset) for stretch in later)
    return [(0, first), *zip(rows, later, strict=True)]


def _frame(text: _Text, header: _Headers, plan: HeaderPlan) -> pl.DataFrame:
    """`LINES`, of which repeated messages are not resolved yet."""
    raw = pl.col("line").cast(pl.Binary)
    broken = np.flatnonzero(~header.good)
    header.content[broken] = 0
    frame = pl.DataFrame(
        {
            "line": text.lines,
            "time": header.time,
            "at": header.host,
            "bytes": header.host_bytes,
            "content_at": header.content,
        }
    )
    frame = frame.with_columns(
        host=raw.bin.slice(pl.col("at"), pl.col("bytes")).cast(pl.String),
        content=raw.bin.slice(pl.col("content_at")).cast(pl.String),
    )
    if broken.size:
        frame = _put(frame, pl.Series(broken), time=None, host=None)
    if header.structured.size:
        frame = _restructured(frame, header.structured)
    frame = _with_hosts(frame, plan)
    return frame.with_columns(count=pl.lit(1, pl.UInt32))


def _put(frame: pl.DataFrame, rows: pl.Series, **columns: pl.Series | str | None) -> pl.DataFrame:
    """Replace values of some rows; most blocks have few rows that need more than the others."""
    return frame.with_columns(frame[name].scatter(rows, new) for name, new in columns.items())


def _with_hosts(frame: pl.DataFrame, plan: HeaderPlan) -> pl.DataFrame:
    """Give lines whose header has no host the plan's; they are broken where it has none."""
    names = frame["host"].unique().drop_nulls()
    bad = names.filter(~names.str.contains(_HOST) | names.str.contains(_TAG))
    doubtful = pl.concat([bad, names.filter(names.is_in([*_LEVELS, "last"]))])
    if not len(doubtful):
        return frame
    host, content = pl.col("host"), pl.col("content")
    none = host.is_in(bad.implode())
    none |= host.is_in(_LEVELS) & content.str.contains(_TAGGED)
    none |= (host == "last") & content.str.starts_with("message repeated ")
    rows = frame["host"].is_in(doubtful.implode()).arg_true()
    some = frame.select(pl.all().gather(rows)).with_columns(row=rows).filter(none)
    if not plan.host:
        return _put(frame, some["row"], time=None, host=None, content=some["line"])
    rest = pl.col("line").cast(pl.Binary).bin.slice(pl.col("at")).cast(pl.String)
    without = some.select(pl.when(host == "-").then("content").otherwise(rest)).to_series()
    return _put(frame, some["row"], host=plan.host, content=without)


def _restructured(frame: pl.DataFrame, rows: Ints) -> pl.DataFrame:
    """Write the contents of RFC 5424 as the other formats have them."""
    fields = frame["content"].gather(rows).to_frame("all")
    fields = fields.with_columns(pl.col("all").str.splitn(" ", 4)).unnest("all")
    app, process, rest = pl.col("field_0"), pl.col("field_1"), pl.col("field_3").fill_null("")
    length = pl.when((rest == "-") | rest.str.starts_with("- ")).then(1).otherwise(0)
    if fields["field_3"].str.starts_with("[").any():  # the expression costs as much as all else
        length += rest.str.extract(_DATA).str.len_bytes().fill_null(0)
    message = (
        rest.cast(pl.Binary)
        .bin.slice(length)
        .cast(pl.String)
        .str.strip_chars_start(" ")
        .str.strip_prefix("\ufeff")
        .str.strip_chars_start(" ")
    )
    number = (
        pl.when(process == "-")
        .then(pl.lit(""))
        .otherwise(pl.concat_str(pl.lit("["), process, pl.lit("]")))
    )
    content = (
        pl.when(pl.col("field_3").is_null())
        .then(pl.concat_str("field_0", "field_1", "field_2", separator=" ", ignore_nulls=True))
        .when(app == "-")
        .then(message)
        .otherwise(pl.concat_str(app, number, pl.lit(": "), message))
    )
    return frame.with_columns(
        content=frame["content"].scatter(rows, fields.select(content).to_series())
    )


# Repeated messages


def _unrepeated(
    frame: pl.DataFrame, rows: pl.Series, text: _Text, before: bytes, plan: HeaderPlan, offset: int
) -> pl.DataFrame:
    """Give "message repeated" lines (`rows` are among them) what they mean, and their count."""
    told = frame.select(pl.col("host", "content").gather(rows)).with_columns(row=rows)
    told = told.with_columns(
        again=pl.col("content").str.extract_groups(_REPEATS),
        times=pl.col("content").str.extract(_REPEATED).cast(pl.UInt32),
    ).unnest("again")
    carried = told.filter(pl.col("2").is_not_null())
    content = carried.select(pl.concat_str("1", "3")).to_series()
    frame = _put(frame, carried["row"], content=content, count=carried["2"].cast(pl.UInt32))
    last = told.filter(pl.col("times").is_not_null())
    if not len(last):
        return frame
    starts = text.origin_starts()
    near = starts[last["row"][0]] <= CONTEXT  # the lines before the block may be meant
    earlier = _earlier(before if near else b"", plan, offset)
    known = frame.select(
        "host",
        times=pl.lit(None, pl.UInt32),
        said="content",
        start=pl.Series(starts),
        row=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    known = pl.concat([earlier, _put(known, last["row"], times=last["times"])])
    known = known.filter(pl.col("host").is_in(last["host"].unique().implode()))
    said = pl.col("times").is_null()
    known = known.with_row_index("place").with_columns(
        pl.when(said).then("place").forward_fill().over("host")
    )
    known = known.with_columns(pl.col("said", "start").gather(pl.col("place")).name.prefix("its_"))
    known = known.filter(
        ~said & (pl.col("start") - pl.col("its_start") <= CONTEXT) & (pl.col("row") >= 0)
    )
    return _put(frame, known["row"], content=known["its_said"], count=known["times"])


def _earlier(before: bytes, plan: HeaderPlan, offset: int) -> pl.DataFrame:
    """What the lines before a block said."""
    text = _Text(before)
    frame = _frame(text, _headers(text, plan, offset - len(before)), plan)
    return frame.select(
        "host",
        times=pl.col("content").str.extract(_REPEATED).cast(pl.UInt32),
        said="content",
        start=pl.Series(text.origin_starts() - len(before)),
        row=pl.lit(-1, pl.Int64),
    )
