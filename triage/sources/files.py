"""Containers' logs as files on disk, with their rotated and packed predecessors.

Rules
- `LogRef.pod` is the file's path, or a glob; all files that fit are read.
- A file's predecessors are its name with more behind it: `.1`, `.2.gz`, `-20231121`, `.20231121-
  120000.gz` (logrotate, kubelet). Read oldest first, by time of modification; those that were
  modified last before the window began are left out.
- Lines come as they are in the file, with whatever prefix (see `triage.cri`).
- `follow` outlives rotation by renaming (the old file is read to its end, then the new one) and by
  copytruncate (a file that became shorter is read from its beginning), and waits for a file that is
  not there yet. What is written to a file between its last reading and its truncation is lost.
- Errors: not there is MissingError, no permission DeniedError, anything else of the system's
  DownError. In `follow`, a file that goes away is waited for.

Reading a file blocks: it is done in threads, a block at a time.
"""

from __future__ import annotations

import asyncio
import glob
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from triage.proxylog.bulk import LONGEST, chunks, entry
from triage.proxylog.formats import AutoFormat
from triage.sources.errors import DeniedError, DownError, MissingError, SourceError
from triage.sources.logs import LogRef

T = TypeVar("T")

_ROTATED = re.compile(r"(?:[.-]\d[\d.T:-]*)?(?:\.\d+)?(?:\.gz)?\Z")


@dataclass(frozen=True, slots=True)
class FileSettings:
    """How files are read. Octets, seconds."""

    block: int = 256 * 1024
    poll: float = 0.25
    """Between two looks at a followed file."""
    most_files: int = 200
    """A glob that fits more is refused."""


class FileSource:
    """A LogSource over files."""

    def __init__(self, settings: FileSettings = FileSettings()) -> None:
        self._settings = settings

    async def read(self, ref: LogRef, start: float, end: float) -> AsyncIterator[bytes]:
        """Give the lines of a file and its predecessors; see `LogSource`."""
        del end  # what was written late is not told from outside; the caller compares times
        for path in await self._blocking(lambda: self.paths(ref, start), ref):
            parts = chunks(path, AutoFormat(), start, size=self._settings.block)
            while part := await self._blocking(partial(next, parts, b""), ref):
                for line in part.split(b"\n")[:-1]:
                    yield line

    async def gather(
        self, ref: LogRef, start: float, collect: Callable[[Sequence[str], Callable[[], bool]], T]
    ) -> T:
        """Run `collect` over the paths of a log in a thread (see `triage.sources.proxy`).

        When this is cancelled, `collect` is told to stop, and is not waited for: a disk may hang.
        """
        paths = await self._blocking(lambda: self.paths(ref, start), ref)
        stopped = threading.Event()
        try:
            return await self._blocking(lambda: collect(paths, stopped.is_set), ref)
        finally:
            stopped.set()

    def paths(self, ref: LogRef, start: float) -> list[str]:
        """The files of a log that may hold lines from `start` on, oldest first. Blocks."""
        named = sorted(glob.glob(ref.pod)) if glob.has_magic(ref.pod) else [ref.pod]  # noqa: PTH207
        if len(named) > self._settings.most_files:
            raise DownError(f"{ref.pod}: fits {len(named)} files; name fewer")
        found: dict[str, float] = {}
        for name in named:
            found |= _family(name)
        if not found:
            raise MissingError(f"{ref.pod}: no such file; check the path")
        ordered = sorted(found, key=lambda path: (found[path], -len(path)))
        return [path for path in ordered if found[path] >= start or path in named]

    async def follow(self, ref: LogRef, start: float) -> AsyncIterator[bytes]:
        """Give lines from `start` on as they are written; see `LogSource`.

        A glob is followed as far as it fits one file: several are several logs.
        """
        tail = _Tail(ref.pod, start, self._settings.block)
        try:
            while True:
                lines = await self._blocking(tail.read, ref)
                for line in lines:
                    yield line
                if not lines:
                    await asyncio.sleep(self._settings.poll)
        finally:
            tail.close()

    @staticmethod
    async def _blocking(work: Callable[[], T], ref: LogRef) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise _told(ref, error) from None


def _told(ref: LogRef, error: OSError) -> SourceError:
    if isinstance(error, FileNotFoundError):
        return MissingError(f"{ref.pod}: no such file; check the path")
    if isinstance(error, PermissionError):
        return DeniedError(f"{ref.pod}: permission denied; let this user read it")
    return DownError(f"{ref.pod}: {error.strerror or error}")


def _family(path: str) -> dict[str, float]:
    """A file and its predecessors, with the time of their last modification."""
    found = {}
    name = Path(path)
    if name.exists():
        found[path] = name.stat().st_mtime
    try:
        entries = list(os.scandir(name.parent))
    except FileNotFoundError:
        return found
    for other in entries:
        rest = other.name.removeprefix(name.name)
        rotated = rest not in {other.name, ""} and _ROTATED.match(rest)
        if rotated and other.is_file():
            found[str(name.parent / other.name)] = other.stat().st_mtime
    return found


class _Tail:
    """One followed file. Blocks; used by one thread at a time."""

    def __init__(self, path: str, start: float, block: int) -> None:
        self._path = path
        self._start = start
        self._block = block
        self._file: BinaryIO | None = None
        self._rest = b""
        self._skipping = False
        self._first = True
        self._lock = threading.Lock()
        self._closed = False

    def read(self) -> list[bytes]:
        """The lines that have come; none when there is nothing new."""
        with self._lock:
            return self._read()

    def _read(self) -> list[bytes]:
        if self._file is None and not self._open():
            return []
        file = self._file
        if file is None or self._closed:
            return []
        data = file.read(self._block)
        if data:
            return self._split(data)
        if os.fstat(file.fileno()).st_size < file.tell():  # truncated
            self._rest = b""
            file.seek(0)
        elif self._is_replaced(file):
            data = file.read()  # what was written before it was renamed
            lines = self._split(data + b"\n") if data or self._rest else []
            file.close()
            self._file = None
            return lines
        return []

    def _open(self) -> bool:
        try:
            file = Path(self._path).open("rb", buffering=0)  # noqa: SIM115 - kept
        except FileNotFoundError:
            self._first = False  # what comes then is new
            return False
        self._file = file
        if self._first:
            self._first = False
            file.seek(self._entry(file))
        return True

    def _entry(self, file: BinaryIO) -> int:
        """Where to begin: behind what was written before `start`, as far as its times tell."""
        if os.fstat(file.fileno()).st_mtime < self._start:
            return file.seek(0, os.SEEK_END)
        return entry(file, AutoFormat(), self._start)

    def _is_replaced(self, file: BinaryIO) -> bool:
        try:
            now = Path(self._path).stat()
        except FileNotFoundError:
            return False  # its successor will come; until then more may be written to this one
        mine = os.fstat(file.fileno())
        return (now.st_ino, now.st_dev) != (mine.st_ino, mine.st_dev)

    def _split(self, data: bytes) -> list[bytes]:
        *lines, rest = (self._rest + data).split(b"\n")
        if self._skipping and lines:
            lines, self._skipping = lines[1:], False
        if len(rest) > LONGEST:
            if not self._skipping:
                lines.append(rest[:LONGEST])
            rest, self._skipping = b"", True
        self._rest = rest
        return lines

    def close(self) -> None:
        """Close the file; may be called more than once."""
        with self._lock:  # a cancelled reading may still be under way in its thread
            self._closed = True
            if self._file is not None:
                self._file.close()
