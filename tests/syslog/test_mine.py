"""Files -> store: the same whatever the workers and blocks, incremental, safe from rotation."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from distributed import LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.syslog.store_logs import BLOCK, END, content, lines, run, write_logs
from triage.syslog.executor import dask_executor, local_executor
from triage.syslog.mine import MiningSettings, mine
from triage.syslog.progress import NoProgress
from triage.syslog.reading.unpack import ReadError
from triage.syslog.store import Store, open_store


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_logs(tmp_path_factory.mktemp("logs") / "logs")


@pytest.fixture(scope="module")
def reference(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = open_store(tmp_path_factory.mktemp("reference") / "store", create=True)
    run(store, logs, block_bytes=1 << 20)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def test_every_line_is_a_row(logs: Path, store: Store) -> None:
    report = run(store, logs)
    written = sum(path.read_text().count("\n") for path in logs.iterdir())
    assert (report.files, report.read, report.rows) == (3, 3, written)
    assert report.bytes == sum(path.stat().st_size for path in logs.iterdir())
    headless = sum(path.read_text().count("no header") for path in logs.iterdir())
    assert report.broken == headless > 0
    assert sum(one.rows for one in store.manifest.partitions) == written
    assert report.partitions == len(store.manifest.partitions) > 20


@pytest.mark.parametrize(
    ("workers", "block"), [(1, BLOCK), (2, BLOCK), (2, 3 * BLOCK), (3, 50_000), (1, 1 << 24)]
)
def test_workers_and_blocks_change_nothing(
    logs: Path, reference: Store, store: Store, workers: int, block: int
) -> None:
    run(store, logs, workers=workers, block_bytes=block)
    assert content(store) == content(reference)


def test_neither_does_the_order_of_files(logs: Path, reference: Store, store: Store) -> None:
    run(store, *sorted(logs.iterdir(), reverse=True))
    assert content(store) == content(reference)


def test_nor_do_machines(logs: Path, reference: Store, store: Store) -> None:
    """On two processes of a Dask cluster, which write the partitions themselves."""
    packed = store.folder.parent / "packed"  # of which the driver sends the blocks
    packed.mkdir()
    for path in logs.iterdir():
        if path.name == "a.log":
            (packed / "a.log.1.gz").write_bytes(gzip.compress(path.read_bytes()))
        else:
            shutil.copy(path, packed)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        dask_executor(cluster.scheduler_address, deadline=60) as executor,
    ):
        mine(store, [packed], MiningSettings(block_bytes=BLOCK, end=END), executor)
    assert content(store) == content(reference)


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_packed_is_the_same_as_plain(
    logs: Path, reference: Store, store: Store, tmp_path: Path, kind: str
) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    pack = gzip.compress if kind == "gzip" else lzma.compress
    for path in logs.iterdir():
        (packed / f"{path.name}.1").write_bytes(pack(path.read_bytes()))
    run(store, packed, workers=2)
    assert content(store) == content(reference)
    again = run(store, packed)
    assert (again.read, again.partitions) == (0, 0)


# What is new


def test_a_second_run_reads_nothing(logs: Path, store: Store) -> None:
    run(store, logs)
    before = (store.folder / "store.json").read_bytes()
    report = run(store, logs)
    assert (report.files, report.read, report.bytes, report.partitions) == (3, 0, 0, 0)
    assert (store.folder / "store.json").read_bytes() == before


@settings(max_examples=8)
@given(data=st.data())
def test_a_log_that_grows_is_read_on(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever it is cut, in a line's middle too, the end is as if it was read at once."""
    folder = tmp_path_factory.mktemp("grow")
    text = "".join(lines(120)).encode()
    cuts = sorted(data.draw(st.lists(st.integers(1, len(text)), max_size=4)))
    log = folder / "messages"
    grown, whole = (open_store(folder / name, create=True) for name in ("grown", "whole"))
    for end in [*cuts, len(text)]:
        log.write_bytes(text[:end])
        run(grown, log)
        assert sum(one.rows for one in grown.manifest.partitions) == len(text[:end].splitlines())
    run(whole, log)
    left, right = content(grown), content(whole)
    assert left["hosts"] == right["hosts"]
    assert [n for n, _ in left["broken"].values()] == [n for n, _ in right["broken"].values()]
    # A half line is no line, but what it taught the model stays: but for the templates, then
    assert [(t, host, n) for t, host, _, n in left["times"]] == [
        (t, host, n) for t, host, _, n in right["times"]
    ]


def test_rotation_counts_nothing_twice(tmp_path: Path, store: Store) -> None:
    """From messages to messages.1 to messages.2.gz, with lines that no look saw in between."""
    made = lines(3000)
    log, first, second = (tmp_path / n for n in ("messages", "messages.1", "messages.2.gz"))
    log.write_text("".join(made[:1000]))
    assert run(store, log).rows == 1000
    with log.open("a") as file:
        file.writelines(made[1000:1200])
    log.rename(first)
    log.write_text("".join(made[1200:2000]))
    assert run(store, tmp_path / "messages", first).rows == 1000
    second.write_bytes(gzip.compress(first.read_bytes()))
    log.rename(first)
    log.write_text("".join(made[2000:]))
    report = run(store, log, first, second)
    assert (report.rows, report.copies, report.errors) == (1000, (), ())
    assert run(store, log, first, second).bytes == 0
    assert len(store.manifest.sources) == 3
    whole = open_store(tmp_path / "whole", create=True)
    every = tmp_path / "every"
    every.write_text("".join(made))
    run(whole, every)
    assert store.times().select(pl.len()).collect().item() == (
        whole.times().select(pl.len()).collect().item()
    )
    assert {Path(one.path).name for one in store.manifest.sources} == {
        "messages", "messages.1", "messages.2.gz",
    }  # fmt: skip


def test_copytruncate(tmp_path: Path, store: Store) -> None:
    made = lines(900)
    log, copy = tmp_path / "messages", tmp_path / "messages.1"
    log.write_text("".join(made[:500]))
    run(store, tmp_path / "messages")
    shutil.copy(log, copy)
    with log.open("r+") as file:  # the same inode
        file.truncate(0)
        file.writelines(made[500:])
    report = run(store, log, copy)
    assert (report.rows, report.errors) == (400, ())


def test_a_copy_is_told_and_not_counted(tmp_path: Path, store: Store) -> None:
    made = "".join(lines(300))
    (tmp_path / "a").write_text(made)
    (tmp_path / "b").write_text(made)
    report = run(store, tmp_path / "a", tmp_path / "b")
    assert report.rows == 300
    assert [Path(one).name for one in report.copies] == ["b"]


def test_logs_that_begin_alike_are_two(tmp_path: Path, store: Store) -> None:
    """kern.log and syslog after a boot: what both have is no reason to leave out the rest."""
    alike, one, other = lines(400, seed=1), lines(50, seed=2), lines(70, seed=3)
    for name, rest in (("kern.log", one), ("syslog", other)):
        (tmp_path / name).write_text("".join(alike + rest))
    assert run(store, tmp_path / "kern.log", tmp_path / "syslog").rows == 800 + 120
    assert run(store, tmp_path / "kern.log", tmp_path / "syslog").bytes == 0


# What goes wrong


def test_what_cannot_be_read_keeps_nothing_else_from_being_read(
    tmp_path: Path, store: Store
) -> None:
    (tmp_path / "good").write_text("".join(lines(50)))
    (tmp_path / "empty").write_text("")
    report = run(store, tmp_path / "gone", tmp_path / "good", tmp_path / "empty")
    assert report.rows == 50
    (error,) = report.errors
    assert "gone" in error
    assert "\n" not in error


def test_a_truncated_gzip_gives_what_there_is(tmp_path: Path, store: Store) -> None:
    packed = gzip.compress("".join(lines(3000)).encode())
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    report = run(store, tmp_path / "cut.gz")
    assert 500 < report.rows < 2500
    (damage,) = report.damage
    assert "cut.gz" in damage
    assert store.manifest.sources[0].damage == (damage,)
    assert run(store, tmp_path / "cut.gz").rows == 0
    (tmp_path / "cut.gz").write_bytes(packed)  # its transfer was still under way
    run(store, tmp_path / "cut.gz")
    assert sum(one.rows for one in store.manifest.partitions) == 3000


HOSTILE = [
    b"\x00" * 100_000,
    b"A" * 1_000_000 + b"\n",
    b"\n" * 50_000,
    b"\xff\xfe broken \xc3\n" * 1000,
    b"Feb 30 25:61:61 h x: y\n" * 100,
    b"9999-12-31T23:59:59Z h kernel: end of time\n0001-01-01T00:00:00Z h kernel: begin\n",
    "".join(lines(50)).encode() + b"no end",
    b"\x1b[31m\x07\r\n\x00\n",
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bytes(tmp_path: Path, store: Store, data: bytes) -> None:
    good = "".join(lines(200)).encode()
    (tmp_path / "log").write_bytes(good + data + b"\n" + good)
    (tmp_path / "raw").write_bytes(data)
    report = run(store, tmp_path / "log", tmp_path / "raw")
    assert report.rows >= 400
    assert store.times().collect().height >= 390
    assert all(len(text) < 2000 for one in store.manifest.sources for text in one.broken_lines)
    store.refresh()
    open_store(store.folder)
    assert run(store, tmp_path / "log").bytes == 0


def test_nothing_but_broken_lines(tmp_path: Path, store: Store) -> None:
    (tmp_path / "log").write_bytes(b"no header\nnone \xff here\n")
    report = run(store, tmp_path / "log", broken_kept=1)
    assert (report.rows, report.broken, report.keys) == (2, 2, 0)
    assert store.manifest.sources[0].broken_lines == ("no header",)
    assert store.times().collect().is_empty()


def test_wrong_settings_are_told_before_anything_is_read(tmp_path: Path, store: Store) -> None:
    (tmp_path / "log").write_text("".join(lines(10)))
    with pytest.raises(ReadError, match="Mars"):
        run(store, tmp_path / "log", time_zone="Mars/Base")
    with pytest.raises(ReadError, match="pattern"):
        run(store, tmp_path / "log", host_pattern="(")


# Years of following


def test_small_partitions_are_merged(tmp_path: Path) -> None:
    made = lines(1200, hosts=("x.a", "y.b"))
    followed, whole = (open_store(tmp_path / n, create=True) for n in ("followed", "whole"))
    logs = tmp_path / "logs"
    logs.mkdir()
    most = 0
    for number in range(0, 1200, 30):
        for name, shift in (("one", 0), ("two", 600)):
            with (logs / name).open("a") as file:
                file.writelines(made[(number + shift) % 1200 :][:30])
        run(followed, logs, small_partitions=5, block_bytes=1 << 20)
        most = max(most, len(followed.manifest.partitions))
    run(whole, logs, block_bytes=1 << 20)
    assert most <= 7
    segments = [part for one in followed.manifest.partitions for part in one.segments]
    assert len(segments) <= 2 * len(followed.manifest.partitions)
    left, right = content(followed), content(whole)
    assert left["times"] == right["times"]
    # but for the examples, which the source that was known first gives
    assert [row[:-1] for row in left["statistics"]] == [row[:-1] for row in right["statistics"]]
    found = followed.lines(0, 2e9, limit=3000)
    assert found == whole.lines(0, 2e9, limit=3000)
    names = {path.name for path in (followed.folder / "partitions").iterdir()}
    assert len(names) > 2 * len(followed.manifest.partitions)  # a reader may still be at them
    for path in followed.folder.rglob("*.parquet"):
        os.utime(path, (0, 0))
    run(followed, logs)
    assert len(list((followed.folder / "partitions").iterdir())) == (
        2 * len(followed.manifest.partitions)
    )
    assert content(followed) == left


def test_retention_drops_what_is_old(tmp_path: Path, store: Store) -> None:
    (tmp_path / "log").write_text("".join(lines(20_000)))
    days = 20_000 * 7 / 86_400
    end = 1_443_225_600 + days * 86_400
    run(store, tmp_path / "log", end=end)
    before = len(store.manifest.partitions)
    report = run(store, tmp_path / "log", end=end, retention_days=0.5)
    assert 0 < report.dropped < before
    assert store.times().select(pl.col("time").min()).collect().item() > (end - 0.7 * 86_400) * 1000
    assert run(store, tmp_path / "log", end=end, retention_days=0.5).rows == 0


class Watcher(NoProgress):
    def __init__(self) -> None:
        self.total = self.done = 0
        self.stages: list[str] = []

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        self.stages.append(stage)
        self.total += (total or 0) if unit == "B" else 0

    def advance(self, n: int) -> None:
        self.done += n if self.stages[-1] == "reading" else 0


def test_progress_ends_at_its_total(logs: Path, store: Store, tmp_path: Path) -> None:
    packed = tmp_path / "d.gz"
    packed.write_bytes(gzip.compress("".join(lines(2000, seed=9)).encode()))
    watcher = Watcher()
    with local_executor(2) as executor:
        mine(store, [logs, packed], MiningSettings(block_bytes=BLOCK), executor, watcher)
    assert watcher.stages == ["reading", "templates"]
    assert watcher.done == watcher.total > 0
