"""Log files as blocks of whole lines, in bounded memory.

Rules
- A line ends with a line feed; what follows the last one is a line, too, if it is not empty. One
  row for each line, whatever is in it: rows are counted to find a line again.
- Offsets count unpacked bytes. A block begins at a line's beginning. Where a plain file's blocks
  end follows from `block_bytes` and the position alone (`spans`), so that they can be read apart.
- Of a line no more than `LONGEST` bytes count. A line that runs past its block's end ends the
  block, cut to that length: a file of one 1 GB line gives one block of 16 KiB.
- A block knows the `CONTEXT` bytes before it (whole lines of them): "last message repeated" means a
  line before, and what a block's lines mean may not depend on where blocks begin.
- What is wrong with a file comes as a `Damage` with the last of its blocks, which may be empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from triage.syslog.reading.unpack import (
    DamagedError,
    ReadError,
    compression_of,
    opened,
    unpacked,
)

BLOCK_BYTES = 32 << 20
"""Large enough that a block's fixed costs do not count, small enough for several in memory."""
LONGEST = 16 << 10
"""Bytes of a line that count; rsyslog's own limit is 8 KiB, journald's lines are 48 KiB at most."""
CONTEXT = 64 << 10
"""Bytes before a line among which "last message repeated" looks for the message."""
_ZEROS = re.compile(rb"\x00\x00*")  # not `+`: what begins with a letter is looked for quickly
_STEP = 16 << 10
"""Bytes read at a time to find a line's end."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file, of which all that could be read was."""

    path: Path
    offset: int
    """Unpacked bytes before it."""
    what: str
    """One line, without the path."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a block lies in a plain file."""

    path: Path
    number: int
    offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file."""

    path: Path
    number: int
    """Counts from 0 where reading began."""
    offset: int
    """Unpacked bytes of the file before `data`."""
    data: bytes
    before: bytes = b""
    """Whole lines before `data`: those that begin in the `CONTEXT` bytes before it."""
    end: int = 0
    """Where the next block begins; more than `offset + len(data)` if its last line was cut."""
    consumed: int = 0
    """Bytes of the file on disk that were read until here, for a progress bar."""
    damage: tuple[Damage, ...] = ()

    @property
    def cut(self) -> bool:
        """Whether its last line ran past its end, and was cut."""
        return self.end > self.offset + len(self.data)


def read_blocks(path: Path, *, start: int = 0, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Give a file's lines, plain or packed, from unpacked byte `start` (a line's beginning) on.

    Raises:
        ReadError: it cannot be opened or read.
    """
    block_bytes = max(block_bytes, LONGEST)
    if compression_of(path):
        yield from _packed_blocks(path, start, block_bytes)
        return
    for span in spans(path, start=start, block_bytes=block_bytes):
        yield read_span(span, block_bytes=block_bytes)


def spans(path: Path, *, start: int = 0, block_bytes: int = BLOCK_BYTES) -> Iterator[Span]:
    """Give where the blocks of a plain file lie, without reading more than their ends.

    Raises:
        ReadError: it cannot be read, or is packed: then only `read_blocks` finds its blocks.
    """
    block_bytes = max(block_bytes, LONGEST)
    if kind := compression_of(path):
        raise ReadError(f"{path}: {kind} cannot be read from the middle; use read_blocks")
    with opened(path) as file:
        size = file.seek(0, 2)
        number, offset = 0, start
        while offset < size:
            end = _line_end(file, offset + block_bytes - 1, size)
            yield Span(path, number, offset, end)
            number, offset = number + 1, end


def _line_end(file: BinaryIO, at: int, size: int) -> int:
    """The first byte behind the line that holds byte `at`."""
    if at >= size:
        return size
    file.seek(at)
    while piece := file.read(_STEP):
        found = piece.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(piece)
    return at


def read_span(span: Span, *, block_bytes: int = BLOCK_BYTES) -> Block:
    """Read one block of a plain file.

    Raises:
        ReadError: it cannot be read, or is shorter than it was.
    """
    most = max(block_bytes, LONGEST) + LONGEST
    try:
        with opened(span.path) as file:
            reach = min(CONTEXT + 1, span.offset)
            file.seek(span.offset - reach)
            before = file.read(reach)
            data = file.read(min(span.end - span.offset, most))
    except OSError as error:
        raise ReadError(f"{span.path}: {error.strerror or error}") from None
    if not data:
        raise ReadError(f"{span.path}: it became shorter while it was read; read it again")
    if span.end - span.offset > len(data) or len(data) > block_bytes:
        data = _cut(data, block_bytes)
    return Block(
        span.path,
        span.number,
        span.offset,
        data,
        _context(before, whole=reach == span.offset),
        span.end,
        span.end,
    )


def lines_at(path: Path, offset: int, rows: Sequence[int]) -> list[str]:
    """Read lines again: those with these numbers, counted from 0 at unpacked byte `offset`.

    What is not UTF-8 is U+FFFD, as in `parse_block`; a line that is not there any more is "".

    Raises:
        ReadError: the file cannot be read.
    """
    wanted = sorted(set(rows))
    found: dict[int, str] = {}
    first = 0
    if wanted:
        for block in read_blocks(path, start=offset, block_bytes=1 << 20):
            count = line_count(block.data)
            here = [row for row in wanted[len(found) :] if row < first + count]
            lines = block.data.split(b"\n") if here else []
            for row in here:
                raw = without_zeros(lines[row - first]).removesuffix(b"\r")[:LONGEST]
                found[row] = raw.decode("utf-8", "replace")
            first += count
            if len(found) == len(wanted):
                break
    return [found.get(row, "") for row in rows]


def without_zeros(data: bytes) -> bytes:
    """Lines without the zeros that they begin with; they stay lines."""
    view, pieces, at = memoryview(data), [], 0
    for run in _ZEROS.finditer(data):
        start = run.start()
        if not start or data[start - 1] == ord("\n"):
            pieces.append(view[at:start])
            at = run.end()
    result = b"".join([*pieces, view[at:]]) if at else data
    vanished = not data.endswith(b"\n") and (not result or result.endswith(b"\n"))
    return result + b"\n" if data and vanished else result


def line_count(data: bytes) -> int:
    """Number of lines of a block."""
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def _cut(data: bytes, block_bytes: int) -> bytes:
    """Whole lines, the last of which runs past the block's end: `LONGEST` bytes of that one.

    Its end is no more than `LONGEST` bytes behind its beginning, which is before `block_bytes`.
    """
    last = data.rfind(b"\n", 0, min(block_bytes, len(data)) - 1) + 1
    if len(data) - last <= LONGEST + data.endswith(b"\n"):
        return data
    return data[: last + LONGEST] + b"\n"


def _context(data: bytes, *, whole: bool) -> bytes:
    """The lines that begin behind the first line feed; from the first byte on if `whole`."""
    return data if whole else data[data.find(b"\n") + 1 :] if b"\n" in data else b""


def _packed_blocks(path: Path, start: int, block_bytes: int) -> Iterator[Block]:
    cutter = _Cutter(path, start, block_bytes)
    consumed = 0
    try:
        for piece, consumed in unpacked(path):
            yield from cutter.feed(piece, consumed)
        damage: tuple[Damage, ...] = ()
    except DamagedError as error:
        damage = (Damage(path, cutter.seen, str(error)),)
    except ReadError as error:
        raise ReadError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    yield from cutter.rest(consumed, damage)


class _Cutter:
    """Cuts a stream of bytes into blocks, exactly where `spans` cuts a plain file."""

    def __init__(self, path: Path, start: int, block_bytes: int) -> None:
        self._path = path
        self._bytes = block_bytes
        self._offset = start
        self._skip = start
        self._pieces: list[bytes] = []
        self._length = 0
        """Bytes of the block until now, those that were dropped too."""
        self._kept = 0
        self._tail = b""
        """The last `CONTEXT` + 1 bytes that went by."""
        self._before = b""
        """The same, before the block."""
        self._number = 0
        self.seen = 0

    def feed(self, piece: bytes, consumed: int) -> Iterator[Block]:
        """Take more bytes; give the blocks that are full."""
        self.seen += len(piece)
        if self._skip:
            piece = self._skipped(piece)
        while piece:
            room = self._bytes - 1 - self._length
            end = piece.find(b"\n", max(room, 0)) + 1
            self._add(piece[: end or len(piece)])
            if not end:
                return
            piece = piece[end:]
            yield self._block(consumed, ())

    def rest(self, consumed: int, damage: tuple[Damage, ...]) -> Iterator[Block]:
        """Give what is left: the last lines, and the damage."""
        if self._length or damage:
            yield self._block(consumed, damage)

    def _skipped(self, piece: bytes) -> bytes:
        rest = piece[self._skip :]
        self._skip -= len(piece) - len(rest)
        self._pass(piece[: len(piece) - len(rest)])
        self._before = self._tail
        return rest

    def _add(self, piece: bytes) -> None:
        self._length += len(piece)
        room = self._bytes + LONGEST - self._kept
        if room > 0:
            self._pieces.append(piece[:room])
            self._kept += len(self._pieces[-1])
        self._pass(piece)

    def _pass(self, piece: bytes) -> None:
        self._tail = (self._tail + piece[-CONTEXT - 1 :])[-CONTEXT - 1 :]

    def _block(self, consumed: int, damage: tuple[Damage, ...]) -> Block:
        data = b"".join(self._pieces)
        if self._length > min(self._bytes, len(data)):
            data = _cut(data, self._bytes)
        end = self._offset + self._length
        before = _context(self._before, whole=len(self._before) == self._offset)
        block = Block(self._path, self._number, self._offset, data, before, end, consumed, damage)
        self._number, self._offset, self._before = self._number + 1, end, self._tail
        self._pieces, self._length, self._kept = [], 0, 0
        return block


def total_size(paths: Iterable[Path]) -> int:
    """Bytes on disk of files, for a progress bar; those that are not there count nothing."""
    return sum(path.stat().st_size for path in paths if path.exists())
