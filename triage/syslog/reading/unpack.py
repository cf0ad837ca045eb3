"""Files' bytes, unpacked, from beginning to end: gzip, bzip2, xz, zstd and plain ones.

Rules
- What a file is packed with is told by its first bytes, never by its name.
- Members and frames that follow one another are one stream, as the packers' own tools read them.
- No call makes more than a few hundred KiB of output, however well the input is packed.
- Of a file that is cut off or damaged all that can be unpacked comes first; then `DamagedError`
  tells what is wrong. Gzip's padding with zeros is no damage.

Formats: RFC 1952 (gzip), RFC 8878 (zstd; a frame is fed block by block, since the decoder bounds
no output and the format bounds each block's to 128 KiB), xz and bzip2 by the standard library.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from triage.syslog.errors import SyslogError

CHUNK = 256 << 10
"""Bytes that are read of a packed file at a time, and most that one step unpacks."""
XZ_MEMORY = 256 << 20
"""Most memory that an xz file may ask for; `xz -9` needs 65 MiB."""

_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
)


class ReadError(SyslogError):
    """A log cannot be read; the text is one line: what, why, and what to do."""


class DamagedError(Exception):
    """The rest of a packed file cannot be unpacked; the text says why."""


class _Decoder(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def compression_of(path: Path) -> str:
    """Return "gzip", "zstd", "xz", "bzip2", or "" for a plain file.

    Raises:
        ReadError: it cannot be opened.
    """
    with opened(path) as file:
        return compression_of_head(_read(file, path, 8))


def compression_of_head(head: bytes) -> str:
    """Return the same for a file that begins with these bytes."""
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:  # a skippable frame (8878, 3.1.2)
        return "zstd"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "")


def opened(path: Path) -> BinaryIO:
    """Open a file to read.

    Raises:
        ReadError: with what to do about it.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise ReadError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise ReadError(f"{path}: permission denied; let this user read it") from None
    except IsADirectoryError:
        raise ReadError(f"{path}: is a folder; name its files, or use find_logs") from None
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}") from None


def unpacked(path: Path) -> Iterator[tuple[bytes, int]]:
    """Give a file's bytes in pieces, each with how many bytes of the file were read for it.

    Raises:
        ReadError: it cannot be read.
        DamagedError: after what could be unpacked.
    """
    with opened(path) as file:
        head = _read(file, path, 8)
        _seek(file, path, 0)
        unpack = _UNPACKERS[compression_of_head(head)]
        for piece in unpack(_Source(file, path)):
            yield piece, file.tell()


def _read(file: BinaryIO, path: Path, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}") from None


def _seek(file: BinaryIO, path: Path, offset: int) -> None:
    try:
        file.seek(offset)
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror or error}; name a file, not a pipe") from None


class _Source:
    """A packed file, of which exact numbers of bytes can be taken."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._kept = b""

    def some(self) -> bytes:
        """The next bytes, b"" at the end."""
        kept, self._kept = self._kept, b""
        return kept or _read(self._file, self._path, CHUNK)

    def back(self, data: bytes) -> None:
        """Put bytes back."""
        self._kept = data + self._kept

    def take(self, size: int) -> bytes:
        """`size` bytes; fewer at the end."""
        while len(self._kept) < size:
            more = _read(self._file, self._path, max(CHUNK, size))
            if not more:
                break
            self._kept += more
        data, self._kept = self._kept[:size], self._kept[size:]
        return data


def _plain(source: _Source) -> Iterator[bytes]:
    while data := source.some():
        yield data


def _gzip(source: _Source) -> Iterator[bytes]:
    first = True
    while head := source.take(3):
        if head != b"\x1f\x8b\x08"[: len(head)]:
            if not first and _all_zero(head, source):
                return
            raise DamagedError("something that is not gzip follows")
        source.back(head)
        yield from _gzip_member(source)
        first = False


def _gzip_member(source: _Source) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    while not member.eof:
        data = member.unconsumed_tail or source.some()
        if not data:
            yield member.flush()
            raise DamagedError("it is cut off in the middle of a gzip member")
        before = member.copy()
        try:
            yield member.decompress(data, CHUNK)
        except zlib.error as error:
            yield from _as_far_as_it_goes(before, data)
            raise DamagedError(f"it is damaged ({error})") from None
    source.back(member.unused_data)


def _as_far_as_it_goes(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What a member gives before the byte that is wrong."""
    pieces, size = [], 0
    with suppress(zlib.error):
        for at in range(len(data)):
            pieces.append(member.decompress(data[at : at + 1]))
            size += len(pieces[-1])
            if size >= CHUNK:
                yield b"".join(pieces)
                pieces, size = [], 0
    yield b"".join(pieces)


def _all_zero(data: bytes, source: _Source) -> bool:
    while data:
        if data.strip(b"\x00"):
            return False
        data = source.some()
    return True


def _xz(source: _Source) -> Iterator[bytes]:
    def make() -> _Decoder:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    return _streams(source, make, "xz")


def _bzip2(source: _Source) -> Iterator[bytes]:
    return _streams(source, bz2.BZ2Decompressor, "bzip2")


def _streams(source: _Source, make: Callable[[], _Decoder], name: str) -> Iterator[bytes]:
    """Streams that follow one another, with zeros between them (xz pads to 4 bytes)."""
    first = True
    while data := source.some():
        if not first:
            data = data.lstrip(b"\x00")
            if not data:
                continue
        decoder, first = make(), False
        try:
            while not decoder.eof:
                if decoder.needs_input and not (data := data or source.some()):
                    raise DamagedError(f"it is cut off in the middle of an {name} stream")
                piece, data = decoder.decompress(data, CHUNK), b""
                yield piece
        except (lzma.LZMAError, OSError, EOFError) as error:
            raise DamagedError(f"it is damaged ({error})") from None
        source.back(decoder.unused_data)


def _zstd(source: _Source) -> Iterator[bytes]:
    while head := source.take(18):  # the longest header of a frame
        if compression_of_head(head) != "zstd":
            raise DamagedError("something that is not zstd follows")
        if head[0] != 0x28:
            _skip(source, head)
            continue
        try:
            size = zstandard.frame_header_size(head)
            checked = zstandard.get_frame_parameters(head).has_checksum
            frame = zstandard.ZstdDecompressor(max_window_size=128 << 20).decompressobj()
            yield frame.decompress(head[:size])
            source.back(head[size:])
            yield from _zstd_blocks(source, frame.decompress, checked=checked)
        except zstandard.ZstdError as error:
            raise DamagedError(f"it is damaged ({error})") from None


def _zstd_blocks(
    source: _Source, decompress: Callable[[bytes], bytes], *, checked: bool
) -> Iterator[bytes]:
    last = False
    while not last:
        header = source.take(3)
        number = int.from_bytes(header, "little")
        last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
        if kind == 1:  # run-length: one byte, `size` times
            size = 1
        data = source.take(size)
        if len(header) < 3 or len(data) < size:
            yield decompress(header + data) if len(header) == 3 else b""
            raise DamagedError("it is cut off in the middle of a zstd frame")
        yield decompress(header + data)
    if checked:
        total = source.take(4)
        yield decompress(total)
        if len(total) < 4:
            raise DamagedError("it is cut off in the middle of a zstd frame")


def _skip(source: _Source, head: bytes) -> None:
    left = int.from_bytes(head[4:8], "little")
    source.back(head[8:])
    while left > 0:
        data = source.take(min(left, CHUNK))
        if not data:
            raise DamagedError("it is cut off in the middle of a zstd frame")
        left -= len(data)


_UNPACKERS: dict[str, Callable[[_Source], Iterator[bytes]]] = {
    "": _plain,
    "gzip": _gzip,
    "zstd": _zstd,
    "xz": _xz,
    "bzip2": _bzip2,
}
