"""Where lines go: files, packed or not, and the labels beside them."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import polars as pl
import zstandard

from triage.syslog.simulate.settings import Compression, SimulateError

NOT_UTF8 = "\ue000".encode()
"""Stands for bytes that are not UTF-8, until they are written."""


def _gzip(raw: IO[bytes]) -> IO[bytes]:
    """Without the time and the name of the file: the same lines give the same bytes."""
    return gzip.GzipFile("", "wb", 6, raw, mtime=0)  # type: ignore[return-value]


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    return zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False)


def _xz(raw: IO[bytes]) -> IO[bytes]:
    return lzma.open(raw, "wb", preset=2)


_PACKERS: dict[Compression, Callable[[IO[bytes]], IO[bytes]]] = {
    Compression.NONE: lambda raw: raw, Compression.GZIP: _gzip, Compression.ZSTD: _zstd,
    Compression.XZ: _xz,
}  # fmt: skip


class Output(contextlib.AbstractContextManager["Output"]):
    """The files of one simulation, each opened when its first line comes."""

    def __init__(self, folder: Path, compression: Compression, labels: bool, end: float) -> None:
        """Make the folder. `end`: when the files were written last, s: it tells readers the year.

        Raises SimulateError where it cannot be made or holds logs already.
        """
        self._folder, self._compression, self._labels = folder, compression, labels
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = next((p for p in sorted(folder.iterdir()) if not p.name.startswith(".")), None)
        except OSError as error:
            raise SimulateError(f"{folder}: {error.strerror}: choose another folder") from None
        if taken is not None:
            raise SimulateError(f"{folder} is not empty ({taken.name}): name a new folder")
        self._end = end
        self._files: dict[str, IO[bytes]] = {}
        self._raw: list[tuple[Path, IO[bytes]]] = []
        self._counts: dict[str, int] = {}
        self._parts: list[Path] = []
        self.lines = 0

    def write(self, name: str, lines: pl.Series, labels: pl.Series) -> None:
        """Append lines to NAME.log; labels: the template's name of each, or null."""
        if not lines.len():
            return
        file = self._files.get(name)
        if file is None:
            suffix = f".{self._compression}" if self._compression else ""
            path = self._folder / f"{name}.log{suffix}"
            raw = path.open("wb")
            self._raw.append((path, raw))
            file = self._files[name] = _PACKERS[self._compression](raw)
        data = lines.str.join("\n").item().encode() + b"\n"
        file.write(data.replace(NOT_UTF8, b"\xff\xfe") if NOT_UTF8 in data else data)
        done = self._counts.get(name, 0)
        self._counts[name] = done + lines.len()
        self.lines += lines.len()
        if self._labels:
            self._label(name, done, labels)

    def _label(self, name: str, done: int, labels: pl.Series) -> None:
        path = self._folder / f".labels-{len(self._parts):06}.parquet"
        suffix = f".{self._compression}" if self._compression else ""
        numbers = pl.int_range(done + 1, done + labels.len() + 1, dtype=pl.UInt32, eager=True)
        frame = pl.DataFrame({"line": numbers, "template": labels}).select(
            pl.lit(f"{name}.log{suffix}").alias("file"), "line", "template"
        )
        frame.write_parquet(path)
        self._parts.append(path)

    def __exit__(self, *_: object) -> None:
        """Close the files, and make one file of the labels."""
        for file in self._files.values():
            file.close()
        for path, raw in self._raw:
            raw.close()
            os.utime(path, (self._end, self._end))
        if self._parts:
            pl.scan_parquet(self._parts).sink_parquet(self._folder / "labels.parquet")
            for part in self._parts:
                part.unlink()
