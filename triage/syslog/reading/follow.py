"""Following logs: whole new lines, through rotation, truncation and restarts.

Theory of operation
    A file is known by its inode, and by its first bytes (a hash of up to `HEAD` of them), so that
    it is the same one under another name, as a copy, or packed. What is kept of each is how far it
    was read. Each `poll` looks at names and sizes; only files that changed are opened.

    Renamed (messages -> messages.1)    same inode: read on from where it was; its old name has
                                        another inode by then, which is a new file
    Copied and truncated                the copy begins as the known file did: read on from where
                                        that was; the truncated one is shorter, or begins otherwise:
                                        read from its beginning
    Packed (messages.2.gz)              unpacked, it begins as a known file did: likewise
    New                                 read from its beginning

Rules
- Whole lines only; a line without its end waits, `LONGEST` bytes of it at most: what is longer is
  cut there, and the rest is passed over.
- What exists when following begins is passed over, unless `from_start`.
- Of a file that is deleted while some of it was not read, that is lost: look often enough.
- A packed file is looked at once: nobody writes to it any more.
- The state is plain data (JSON) and tells all: whoever saves it with what was made of the lines
  loses and repeats nothing.
- No threads, no open files between two polls, no clock.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from triage.syslog.reading.blocks import CONTEXT, LONGEST
from triage.syslog.reading.names import files_in, is_text
from triage.syslog.reading.unpack import (
    DamagedError,
    ReadError,
    compression_of_head,
    opened,
    unpacked,
)

HEAD = 1024
"""First bytes that a file is known by."""
TAIL = 256
"""Bytes before where it was read to that tell a copy from a log that only begins alike."""
MOST = 64 << 20
"""Bytes that one poll gives of a file; the next one gives more."""
_REMEMBERED = 1000
"""Files that are gone whose copies are still recognised."""
FORMAT = "triage-syslog-follow/1"


class New(NamedTuple):
    """New lines of a file."""

    path: Path
    data: bytes
    """Whole lines."""


@dataclass(slots=True)
class _File:
    """A file, as far as it was read."""

    offset: int = 0
    """Unpacked bytes."""
    length: int = 0
    """Bytes that `head` is a hash of."""
    head: str = ""
    size: int = -1
    modified: int = 0
    """Size and time (ns) of modification when it was last read to its end."""
    skipping: bool = False
    """The rest of a line that was too long is being passed over."""
    packed: bool = False
    tail: str = ""
    """A hash of the `tail_bytes` before `offset`: what has it there was read to there."""
    tail_bytes: int = 0

    def read_to(self, offset: int, before: bytes) -> None:
        """Note that it was read to there, and what came before."""
        self.offset, self.tail, self.tail_bytes = offset, _hash(before[-TAIL:]), len(before[-TAIL:])


class Follower:
    """Gives what is new in files and folders."""

    def __init__(
        self,
        paths: Iterable[Path],
        *,
        from_start: bool = False,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin to follow, or go on where `state` says.

        Args:
            paths: files, which need not be there yet, and folders.
            from_start: what exists already is new, too.
            state: of `state()`.

        Raises:
            ReadError: the state is not one of `state()`.
        """
        self._paths = [Path(path) for path in paths]
        self._files: dict[str, _File] = {}
        self._gone: list[_File] = []
        self._errors: list[str] = []
        if state is not None:
            self._resume(state)
        elif not from_start:
            self._pass_over()

    def poll(self) -> list[New]:
        """Give the new lines of each file that has some, in order of paths. Never raises."""
        self._errors = []
        result = []
        present = self._present()
        changed = [key for key, (_, status) in present.items() if self._is_changed(key, status)]
        # Copies of known files come before those are found truncated.
        for key in sorted(changed, key=self._files.__contains__):
            path, status = present[key]
            try:
                data = self._read(key, path, status)
            except ReadError as error:
                self._errors.append(str(error))
            except OSError as error:
                self._errors.append(f"{path}: {error.strerror or error}")
            else:
                result += [New(path, data)] if data else []
        for key in self._files.keys() - present.keys():
            self._forget(self._files.pop(key))
        return sorted(result)

    @property
    def errors(self) -> tuple[str, ...]:
        """What could not be read at the last poll, each one line."""
        return tuple(self._errors)

    def state(self) -> dict[str, Any]:
        """What to go on with later: plain data for JSON."""
        return {
            "format": FORMAT,
            "files": {key: _listed(file) for key, file in sorted(self._files.items())},
            "gone": [_listed(file) for file in self._gone],
        }

    def _resume(self, state: Mapping[str, Any]) -> None:
        try:
            if state["format"] != FORMAT:
                raise ValueError
            self._files = {key: _File(*values) for key, values in state["files"].items()}
            self._gone = [_File(*values) for values in state["gone"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ReadError("the saved state is not one of this version; remove it") from None

    def _pass_over(self) -> None:
        for key, (path, status) in self._present().items():
            with suppress(ReadError, OSError):
                head, packed = _head(path)
                file = _File(size=status.st_size, modified=status.st_mtime_ns, packed=packed)
                file.length, file.head = len(head), _hash(head)
                file.read_to(*(_packed_end(path) if packed else _plain_end(path)))
                self._files[key] = file

    def _present(self) -> dict[str, tuple[Path, os.stat_result]]:
        """The files there are, by identity; under several names, by the first."""
        result: dict[str, tuple[Path, os.stat_result]] = {}
        for path in self._named():
            with suppress(OSError):
                status = path.stat()
                result.setdefault(f"{status.st_dev}:{status.st_ino}", (path, status))
        return result

    def _named(self) -> Iterator[Path]:
        for path in self._paths:
            if not path.is_dir():
                yield path
                continue
            try:
                yield from files_in(path)
            except ReadError as error:
                self._errors.append(str(error))

    def _is_changed(self, key: str, status: os.stat_result) -> bool:
        file = self._files.get(key)
        return not file or (file.size, file.modified) != (status.st_size, status.st_mtime_ns)

    def _read(self, key: str, path: Path, status: os.stat_result) -> bytes:
        head, packed = _head(path)
        file = self._files.get(key)
        if not (file and file.length) and not is_text(path):
            self._files[key] = _File(size=status.st_size, modified=status.st_mtime_ns)
            return b""
        if file is None or not _begins(head, file) or (not packed and status.st_size < file.offset):
            if file is not None:
                self._forget(file)
            file = self._kin(path, head, packed=packed) or _File()
            self._files[key] = file
        data = _part(path, file.offset, file.offset + MOST, packed=packed)
        file.packed, file.length, file.head = packed, len(head), _hash(head)
        taken, lines = _whole_lines(data, file)
        if taken:
            file.read_to(file.offset + taken, data[:taken])
        if len(data) < MOST:
            file.size, file.modified = status.st_size, status.st_mtime_ns
        return lines

    def _kin(self, path: Path, head: bytes, *, packed: bool) -> _File | None:
        """What is known of a file whose copy or packed successor this is."""
        for file in (*self._files.values(), *reversed(self._gone)):
            if file.offset and _begins(head, file):
                start = file.offset - file.tail_bytes
                if _hash(_part(path, start, file.offset, packed=packed)) == file.tail:
                    return replace(file, size=-1)
        return None

    def _forget(self, file: _File) -> None:
        if file.length:
            self._gone = [*self._gone, file][-_REMEMBERED:]


def _listed(file: _File) -> list[Any]:
    return [getattr(file, name) for name in _File.__slots__]


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _begins(head: bytes, file: _File) -> bool:
    """Whether a file that begins with `head` may be that one, grown. An empty one is none's kin."""
    return 0 < file.length <= len(head) and _hash(head[: file.length]) == file.head


def _head(path: Path) -> tuple[bytes, bool]:
    """A file's first bytes, unpacked, and whether it is packed."""
    with opened(path) as raw:
        head = raw.read(HEAD)
    if not compression_of_head(head):
        return head, False
    head = b""
    with suppress(DamagedError):
        for piece, _ in unpacked(path):
            head += piece
            if len(head) >= HEAD:
                break
    return head[:HEAD], True


def _part(path: Path, start: int, stop: int, *, packed: bool) -> bytes:
    """Unpacked bytes `start` to `stop` of a file."""
    if not packed:
        with opened(path) as file:
            file.seek(start)
            return file.read(stop - start)
    result, at = [], 0
    with suppress(DamagedError):  # what there is counts
        for piece, _ in unpacked(path):
            result.append(piece[max(start - at, 0) : max(stop - at, 0)])
            at += len(piece)
            if at >= stop:
                break
    return b"".join(result)


def _packed_end(path: Path) -> tuple[int, bytes]:
    """How long a packed file is, and its last bytes."""
    size, last = 0, b""
    with suppress(DamagedError):
        for piece, _ in unpacked(path):
            size += len(piece)
            last = (last + piece)[-TAIL:]
    return size, last


def _plain_end(path: Path) -> tuple[int, bytes]:
    """Where a plain file's last whole line ends, looking back no further than matters."""
    with opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        start = max(size - CONTEXT, 0)
        file.seek(start)
        data = file.read(size - start)
    end = data.rfind(b"\n") + 1
    return start + end, data[:end]


def _whole_lines(data: bytes, file: _File) -> tuple[int, bytes]:
    """How many bytes are done with, and the whole lines among them."""
    end = data.rfind(b"\n") + 1
    start = 0
    if file.skipping:
        start = data.find(b"\n") + 1
        if not start:
            return len(data), b""
        file.skipping = False
    lines = data[start:end]
    if len(data) - end > 2 * LONGEST:
        file.skipping = True
        return len(data), lines + data[end : end + LONGEST] + b"\n"
    return end, lines
