"""Files on disk: read, followed over rotation, and the errors of each."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from triage.sources.errors import DeniedError, DownError, MissingError
from triage.sources.files import FileSettings, FileSource
from triage.sources.logs import LogRef, LogSource

SOURCE = FileSource(FileSettings(poll=0.01))
LONG_AGO = 0.0


async def read(path: str, start: float = LONG_AGO) -> list[bytes]:
    return [line async for line in SOURCE.read(LogRef(pod=path), start, 1e11)]


async def take(lines: AsyncIterator[bytes], count: int) -> list[bytes]:
    async with asyncio.timeout(10):
        return [await anext(lines) for _ in range(count)]


def test_it_is_a_log_source() -> None:
    source: LogSource = SOURCE
    assert source


@pytest.mark.asyncio
async def test_predecessors_come_first(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    older = tmp_path / "app.log.2.gz"
    old = tmp_path / "app.log.1"
    older.write_bytes(gzip.compress(b"one\n"))
    old.write_bytes(b"two\n")
    log.write_bytes(b"three\nfour")
    (tmp_path / "app.log.swp").write_bytes(b"no\n")
    (tmp_path / "app.logs").write_bytes(b"no\n")
    for age, path in ((300, older), (200, old), (100, log)):
        os.utime(path, (1e9 - age, 1e9 - age))
    assert await read(str(log)) == [b"one", b"two", b"three", b"four"]
    assert await read(str(log), 1e9 - 250) == [b"two", b"three", b"four"]
    assert await read(str(tmp_path / "*.log")) == [b"one", b"two", b"three", b"four"]


@pytest.mark.asyncio
async def test_kubelets_rotated_names(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    old = tmp_path / "0.log.20231121-100000.gz"
    old.write_bytes(gzip.compress(b"one\n"))
    log.write_bytes(b"two\n")
    os.utime(old, (1e9, 1e9))
    assert await read(str(log)) == [b"one", b"two"]


@pytest.mark.asyncio
async def test_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        await read(str(tmp_path / "none"))
    with pytest.raises(MissingError):
        await read(str(tmp_path / "none*"))
    with pytest.raises(DownError):
        await read(str(tmp_path))
    few = FileSource(FileSettings(most_files=1))
    for name in "ab":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DownError, match="fits 2 files"):
        [line async for line in few.read(LogRef(pod=str(tmp_path / "*")), 0.0, 1.0)]


@pytest.mark.asyncio
async def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"x\n")
    log.chmod(0)

    def refuse(*args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    if os.geteuid() == 0:  # whom permissions do not stop
        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DeniedError, match="permission denied"):
        await read(str(log))


@pytest.mark.asyncio
async def test_follow_what_is_written(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    async with aclosing(SOURCE.follow(LogRef(pod=str(log)), 0.0)) as lines:  # type: ignore[type-var]
        waiting = asyncio.create_task(take(lines, 2))
        await asyncio.sleep(0)
        log.write_bytes(b"one\ntwo\nhal")
        assert await waiting == [b"one", b"two"]
        with log.open("ab") as file:
            file.write(b"f\n")
        assert await take(lines, 1) == [b"half"]


@pytest.mark.asyncio
async def test_follow_over_renaming(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    async with aclosing(SOURCE.follow(LogRef(pod=str(log)), 0.0)) as lines:  # type: ignore[type-var]
        assert await take(lines, 1) == [b"one"]
        with log.open("ab") as file:
            log.rename(tmp_path / "app.log.1")
            file.write(b"two\n")  # the writer has not reopened it yet
        log.write_bytes(b"three\n")
        assert await take(lines, 2) == [b"two", b"three"]


@pytest.mark.asyncio
async def test_follow_over_truncation(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"one\ntwo and more\n")
    async with aclosing(SOURCE.follow(LogRef(pod=str(log)), 0.0)) as lines:  # type: ignore[type-var]
        assert await take(lines, 2) == [b"one", b"two and more"]
        log.write_bytes(b"new\n")
        assert await take(lines, 1) == [b"new"]


@pytest.mark.asyncio
async def test_follow_leaves_out_what_was_before(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"old\n")
    os.utime(log, (1e9, 1e9))
    async with aclosing(SOURCE.follow(LogRef(pod=str(log)), 2e9)) as lines:  # type: ignore[type-var]
        waiting = asyncio.create_task(take(lines, 1))
        while len(asyncio.all_tasks()) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # it has looked at the old file by then
        with log.open("ab") as file:
            file.write(b"new\n")
        assert await waiting == [b"new"]


@pytest.mark.asyncio
async def test_cancelling_leaves_nothing_open(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")

    def still_open() -> list[str]:
        links = Path("/proc/self/fd").iterdir()
        return [link.name for link in links if link.resolve() == log.resolve()]

    lines = SOURCE.follow(LogRef(pod=str(log)), 0.0)
    assert await take(lines, 1) == [b"one"]
    waiting = asyncio.create_task(take(lines, 1))
    await asyncio.sleep(0.03)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5):
        while still_open():
            await asyncio.sleep(0.01)
