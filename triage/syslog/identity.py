"""Which log is a file? By its content: names change with every rotation, inodes with compression.

Theory of operation
    Of a source the store keeps a hash of its first bytes (the head: up to `HEAD`, fewer of a short
    log) and of the last ones that were read (the tail: up to `TAIL` before the offset). A file that
    begins with the head, and has the tail where the source's reading ended, is that source, grown
    or not. One that begins so and is shorter is a part of it, a copy from earlier.

    One source is one file at a time. Two logs may well begin alike (a kernel's messages in kern.log
    and in syslog): whichever still has its own name and inode stays the source; another one that
    goes on differently is a source of its own.

Offsets and hashes are of uncompressed bytes. Nothing in here writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from triage.syslog.reading.unpack import (
    DamagedError,
    ReadError,
    compression_of,
    opened,
    unpacked,
)

if TYPE_CHECKING:
    from triage.syslog.store import Source

HEAD = 64 << 10
TAIL = 4 << 10


def digest(data: bytes) -> str:
    """Return a hash of some bytes, as sources hold it."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class Heads:
    """Finds sources by how a file begins."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._by_length: dict[int, dict[str, list[str]]] = {}
        for source in sources:
            self.add(source)

    def add(self, source: Source) -> None:
        """Know one more source, or a source's longer head."""
        at = self._by_length.setdefault(source.head_bytes, {}).setdefault(source.head, [])
        if source.id not in at:
            at.append(source.id)

    def find(self, head: bytes) -> Iterator[str]:
        """Give the ids of sources that begin so; the longest agreement first."""
        found = []
        state, done = hashlib.blake2b(digest_size=16), 0
        for length in sorted(self._by_length):
            if not 0 < length <= len(head):
                continue
            state.update(head[done:length])
            done = length
            found.append(self._by_length[length].get(state.copy().hexdigest(), []))
        for ids in reversed(found):
            yield from ids


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file as it is now."""

    path: Path
    size: int
    """On disk."""
    modified: int
    inode: int
    packed: str
    """What it is packed with; "" of a plain file."""
    head: bytes

    @property
    def stamp(self) -> tuple[int, int, int]:
        """What changes when the file does, and stays when it is renamed."""
        return self.size, self.modified, self.inode


def stamp_of(path: Path) -> tuple[int, int, int]:
    """Return `LogFile.stamp` without looking into the file; raises ReadError."""
    try:
        status = path.stat()
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}") from None
    return status.st_size, status.st_mtime_ns, status.st_ino


def look(path: Path) -> LogFile:
    """Read what tells a file from others; raises ReadError."""
    stamp = stamp_of(path)
    return LogFile(path, *stamp, compression_of(path), _head(path, HEAD))


def begins(path: Path, source: Source) -> bool:
    """Whether a file begins as a source does; one that cannot be read does not."""
    with contextlib.suppress(ReadError):
        return digest(_head(path, source.head_bytes)) == source.head
    return False


def _head(path: Path, size: int) -> bytes:
    head = b""
    with contextlib.suppress(DamagedError):
        for piece, _ in unpacked(path):
            head += piece
            if len(head) >= size:
                break
    return head[:size]


def tail_at(path: Path, offset: int) -> bytes:
    """Return the bytes of a plain file just before an offset, up to `TAIL`; raises ReadError."""
    begin = max(0, offset - TAIL)
    with opened(path) as file:
        return os.pread(file.fileno(), offset - begin, begin)


class Kinship(Enum):
    """What a file is to a source."""

    OTHER = auto()
    PART = auto()
    """It ends before the source does: a copy from earlier."""
    SAME = auto()
    """It ends where the source does."""
    GROWN = auto()
    """It is the source, and goes on."""


def kinship(file: LogFile, source: Source) -> Kinship:
    """Compare a file that begins as a source does with it; raises ReadError.

    A packed file is unpacked as far as the source was read.
    """
    length, tail = (_packed_tail if file.packed else _plain_tail)(file, source.offset)
    if length < source.offset:
        return Kinship.PART
    if source.tail_bytes and digest(tail[-source.tail_bytes :]) != source.tail:
        return Kinship.OTHER
    return Kinship.GROWN if length > source.offset else Kinship.SAME


def _plain_tail(file: LogFile, offset: int) -> tuple[int, bytes]:
    return file.size, tail_at(file.path, offset) if file.size >= offset else b""


def _packed_tail(file: LogFile, offset: int) -> tuple[int, bytes]:
    """Return how many bytes there are, counting no further than one past the offset."""
    length, tail = 0, b""
    with contextlib.suppress(DamagedError):
        for piece, _ in unpacked(file.path):
            tail = (tail + piece[: max(0, offset - length)])[-TAIL:]
            length += len(piece)
            if length > offset:
                break
    return length, tail
