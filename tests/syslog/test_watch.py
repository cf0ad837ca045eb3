"""The watcher on real files: what is unusual, rotation, kill -9, and files that hold anything."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from triage.evidence import SyslogFinding, SyslogKind
from triage.sources.syslog import Unusual
from triage.syslog import watch
from triage.syslog.store import open_store
from triage.syslog.tables import FindingKind
from triage.syslog.watch import Watcher
from triage.syslog.watch_settings import WatchSettings

NOW = dt.datetime(2026, 5, 20, 12, 0, 30, tzinfo=dt.UTC).timestamp()
DAY = 86400.0
STALL = "kernel: I/O error, dev sdb, sector 4711 op 0x1:(WRITE)"


def line(at: float, host: str, text: str) -> str:
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}+00:00 {host} {text}\n"


def ordinary(host: str, start: float, end: float) -> Iterator[str]:
    at = start
    while at < end:
        number = int(at // 60)
        yield line(at + 1, host, f"CRON[{number % 9000}]: (root) CMD (/usr/bin/report {number})")
        yield line(at + 9, host, f"snmpd[871]: Connection from UDP: [192.0.2.1]:{number % 60000}")
        at += 60.0


class Logs:
    """A folder with a log of each of two hosts, four days of it, and a watcher's settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "remote"
        self.folder.mkdir()
        self.store = folder / "state" / "syslog"
        self.store.parent.mkdir()
        self.now = NOW
        for host in ("hv1", "hv2"):
            self.write(host, ordinary(host, NOW - 4 * DAY, NOW - 30))

    def path(self, host: str) -> Path:
        return self.folder / f"{host}.log"

    def write(self, host: str, lines: Iterable[str]) -> None:
        with self.path(host).open("a") as file:
            file.writelines(lines)
        os.utime(self.path(host), (self.now, self.now))

    def watcher(self, *, keep: bool = True, **more: object) -> Watcher:
        settings = WatchSettings(
            paths=(str(self.folder),),
            store_dir=str(self.store),
            **more,  # type: ignore[arg-type]
        )
        return Watcher(settings, keep=keep, clock=lambda: self.now)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


async def now_of(watcher: Watcher, *hosts: str, end: float = NOW + 60) -> Unusual:
    await watcher.catch_up()
    return await watcher.unusual(hosts, NOW - 900, end)


def of_kind(unusual: Unusual, kind: SyslogKind) -> list[SyslogFinding]:
    return [one for one in unusual.findings if one.kind is kind]


def test_the_kinds_are_those_of_detection() -> None:
    assert [one.value for one in SyslogKind] == [one.value for one in FindingKind]


@pytest.mark.asyncio
async def test_what_a_host_never_said_is_found_with_its_line(logs: Logs) -> None:
    watcher = logs.watcher()
    quiet = await now_of(watcher, "hv1", "hv2")
    assert (quiet.findings, quiet.problems) == ((), ())
    assert watcher.hosts == ("hv1", "hv2")
    assert quiet.read == 2 * 2 * 15
    assert quiet.learning_since == pytest.approx(NOW - 4 * DAY, abs=90)
    logs.write("hv1", [line(NOW - 12, "hv1", STALL)])
    (found,) = of_kind(await now_of(watcher, "hv1", "hv2"), SyslogKind.RARE_TEMPLATE)
    assert (found.host, found.start, found.end) == ("hv1", NOW - 12, NOW - 12)
    (shown,) = found.lines
    assert (shown.time, shown.text) == (NOW - 12, STALL)
    assert len(shown.template) == 12
    assert (await now_of(watcher, "hv2")).findings == ()
    assert watcher.counts.lines == 4 * 4 * 1440 + 1
    await watcher.close()


@pytest.mark.asyncio
async def test_lines_are_masked_and_bounded(logs: Logs) -> None:
    settings = WatchSettings(paths=(str(logs.folder),), store_dir=str(logs.store))
    watcher = Watcher(settings, clock=lambda: NOW, mask=lambda text: text.replace("hunter2", "***"))
    await watcher.catch_up()
    secret = f"login: password hunter2 {'x' * 5000}"
    logs.write("hv1", [line(NOW - 12, "hv1", secret)])
    found = (await now_of(watcher, "hv1")).findings
    assert found
    for one in found:
        assert "hunter2" not in one.summary + "".join(each.text for each in one.lines)
        assert all(len(each.text) <= watch.MOST_TEXT for each in one.lines)
    await watcher.close()


@pytest.mark.asyncio
async def test_a_host_that_falls_silent_alone_is_found_and_all_together_are_not(
    logs: Logs,
) -> None:
    watcher = logs.watcher()
    await watcher.catch_up()
    logs.now = NOW + 3600
    logs.write("hv2", ordinary("hv2", NOW, NOW + 3540))
    await watcher.catch_up()
    found = await watcher.unusual(("hv1", "hv2"), NOW + 600, NOW + 3600)
    (silence,) = of_kind(found, SyslogKind.SILENCE)
    assert silence.host == "hv1"
    assert silence.start == pytest.approx(NOW, abs=120)
    logs.now = NOW + 2 * 3600
    await watcher.catch_up()
    both = await watcher.unusual(("hv1", "hv2"), NOW + 3700, NOW + 7200)
    assert of_kind(both, SyslogKind.SILENCE) == []
    assert "no line of any host in that time: nothing was collected" in both.problems
    await watcher.close()


@pytest.mark.asyncio
async def test_a_silence_is_not_foretold(logs: Logs) -> None:
    """A window that ends in the future says nothing of the minutes that are not over."""
    watcher = logs.watcher()
    await watcher.catch_up()
    found = await watcher.unusual(("hv1",), NOW - 900, NOW + 7200)
    assert found.findings == ()
    await watcher.close()


@pytest.mark.asyncio
async def test_rotation_loses_nothing_and_reads_nothing_twice(logs: Logs) -> None:
    watcher = logs.watcher()
    await watcher.catch_up()
    before = watcher.counts.lines
    logs.write("hv1", [line(NOW - 40, "hv1", "last: before the rotation")])
    logs.path("hv1").rename(logs.folder / "hv1.log.1")
    logs.write("hv1", [line(NOW - 35, "hv1", "first: after the rotation")])
    await watcher.catch_up()
    assert watcher.counts.lines == before + 2
    packed = gzip.compress((logs.folder / "hv1.log.1").read_bytes())
    (logs.folder / "hv1.log.2.gz").write_bytes(packed)
    (logs.folder / "hv1.log.1").unlink()
    await watcher.catch_up()
    assert watcher.counts.lines == before + 2
    found = await now_of(watcher, "hv1")
    assert len(of_kind(found, SyslogKind.RARE_TEMPLATE)) == 2
    await watcher.close()


@pytest.mark.asyncio
async def test_another_start_goes_on_where_the_last_one_was(logs: Logs) -> None:
    first = logs.watcher()
    await first.catch_up()
    templates = [one.id for one in open_store(logs.store).model.templates]
    await first.close()
    logs.write("hv1", [line(NOW - 12, "hv1", STALL)])
    second = logs.watcher()
    found = await now_of(second, "hv1")
    assert second.counts.lines == 1
    assert of_kind(found, SyslogKind.RARE_TEMPLATE)
    assert set(templates) < {one.id for one in open_store(logs.store).model.templates}
    await second.close()


VICTIM = """
import asyncio, sys
from triage.syslog.watch import Watcher
from triage.syslog.watch_settings import WatchSettings

async def main():
    settings = WatchSettings(paths=(sys.argv[1],), store_dir=sys.argv[2], refresh=0.05)
    watcher = Watcher(settings, clock=lambda: float(sys.argv[3]))
    running = asyncio.ensure_future(watcher.run())
    while not watcher.reading_done and not running.done():
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await running

asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_a_process_that_is_killed_loses_nothing(logs: Logs) -> None:
    """Killed as it reads, again and again: in the end each line was counted once."""
    command = [sys.executable, "-c", VICTIM, str(logs.folder), str(logs.store), str(NOW)]
    text = "".join(ordinary("hv1", NOW - 30, NOW - 29))
    for number in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"ready\n"
            logs.write("hv1", [text] * 200)  # in the middle of which it is killed
            victim.send_signal(signal.SIGKILL)
        assert victim.returncode == -signal.SIGKILL, number
    watcher = logs.watcher()
    await watcher.catch_up()
    assert watcher.problem == ""
    rows = sum(one.rows for one in open_store(logs.store).manifest.partitions)
    written = sum(path.read_text().count("\n") for path in logs.folder.iterdir())
    assert rows == written
    await watcher.close()


@pytest.mark.asyncio
async def test_a_history_that_was_lost_or_damaged_is_learnt_anew(logs: Logs) -> None:
    first = logs.watcher()
    await first.catch_up()
    await first.close()
    file = logs.store.with_name("syslog-history.msgpack")
    assert file.exists()
    file.write_bytes(b"\xc1damaged")
    second = logs.watcher()
    found = await now_of(second, "hv1")
    assert found.learning_since == pytest.approx(NOW - 4 * DAY, abs=90)
    await second.close()


@pytest.mark.asyncio
async def test_old_files_are_not_opened(logs: Logs) -> None:
    old = logs.folder / "hv9.log"
    old.write_text(line(NOW - 400 * DAY, "hv9", "kernel: long ago"))
    os.utime(old, (NOW - 400 * DAY, NOW - 400 * DAY))
    watcher = logs.watcher()
    await watcher.catch_up()
    assert "hv9" not in watcher.hosts
    await watcher.close()


@pytest.mark.asyncio
async def test_freezing_learns_no_more(logs: Logs) -> None:
    first = logs.watcher()
    await first.catch_up()
    await first.close()
    logs.write("hv1", [line(NOW - 12, "hv1", STALL)])
    frozen = logs.watcher(freeze=True)
    before = len(open_store(logs.store).model.templates)
    found = await now_of(frozen, "hv1")
    assert len(open_store(logs.store).model.templates) == before
    assert of_kind(found, SyslogKind.RARE_TEMPLATE) == []
    assert frozen.counts.lines == 1
    await frozen.close()


@pytest.mark.asyncio
async def test_who_does_not_keep_the_store_makes_none(logs: Logs) -> None:
    logs.write("hv1", [line(NOW - 12, "hv1", STALL)])
    looking = logs.watcher(keep=False)
    found = await now_of(looking, "hv1")
    assert of_kind(found, SyslogKind.RARE_TEMPLATE)
    await looking.close()
    assert not logs.store.exists()
    assert list(logs.store.parent.iterdir()) == []


@pytest.mark.asyncio
async def test_who_looks_while_a_service_writes_reads_what_that_has_written(logs: Logs) -> None:
    service = logs.watcher()
    await service.catch_up()
    with open_store(logs.store).writing():
        logs.write("hv1", [line(NOW - 12, "hv1", STALL)])
        looking = logs.watcher(keep=False)
        found = await now_of(looking, "hv1")
        assert looking.problem == ""
        assert (found.findings, looking.hosts) == ((), ("hv1", "hv2"))
        await looking.close()
    await service.close()


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_a_line_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    settings = WatchSettings(paths=(str(folder),), store_dir=str(tmp_path / "store"))
    watcher = Watcher(settings, clock=lambda: NOW)
    await watcher.catch_up()
    assert str(folder) in watcher.problem
    assert "\n" not in watcher.problem
    assert not watcher.reading_done
    said, wrong = await watcher.check()
    assert said == ""
    assert str(folder) in wrong[0]
    folder.mkdir()
    log = folder / "hv1.log"
    log.write_text(line(NOW - 5, "hv1", "kernel: hello"))
    os.utime(log, (NOW, NOW))
    await watcher.catch_up()
    assert (watcher.problem, watcher.hosts) == ("", ("hv1",))
    await watcher.close()


@pytest.mark.asyncio
async def test_a_check_reads_the_ends_of_files_and_changes_nothing(logs: Logs) -> None:
    (logs.folder / "odd.log").write_text("no header in here\nnor here\n")
    (logs.folder / "wtmp").write_bytes(bytes(4096))
    os.utime(logs.folder / "odd.log", (NOW, NOW))
    watcher = logs.watcher(keep=False)
    said, wrong = await watcher.check()
    assert said == "files: 3, hosts: 2"
    assert list(watcher.hosts) == ["hv1", "hv2"]
    assert wrong == [
        f"{logs.folder / 'odd.log'}: no line in it has a time and a host that can be read"
    ]
    await watcher.close()
    assert not logs.store.exists()


@pytest.mark.asyncio
async def test_hostile_files_harm_nothing(logs: Logs) -> None:
    packed = gzip.compress(b"".join(one.encode() for one in ordinary("hv3", NOW - 999, NOW)))
    hostile = {
        "cut.log.gz": packed[: len(packed) // 2],
        "long.log": line(NOW - 7, "hv4", "y" * 1_000_000).encode(),
        "nul.log": line(NOW - 7, "hv5", "a\x00b\x1b[31m<script>").encode() + b"\x00" * 100,
        "bytes.log": line(NOW - 7, "hv6", "caf").encode()[:-1] + b"\xe9\xff\n",
        "future.log": line(NOW + 900 * DAY, "hv7", "kernel: of the future").encode(),
    }
    for name, data in hostile.items():
        (logs.folder / name).write_bytes(data)
        os.utime(logs.folder / name, (NOW, NOW))
    watcher = logs.watcher()
    found = await now_of(watcher, "hv1", "hv4", "hv5", "hv6", "hv7")
    assert watcher.problem == ""
    assert any("cut.log.gz" in one for one in found.problems)
    assert [one for one in found.findings if one.host == "hv1"] == []
    await watcher.close()


@pytest.mark.asyncio
async def test_a_fault_of_ours_does_not_end_the_watching(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = logs.watcher()
    with monkeypatch.context() as broken:
        broken.setattr(watch, "mine", lambda *_: 1 / 0)
        await watcher.catch_up()
        assert watcher.problem == "internal error: ZeroDivisionError: see the log"
    await watcher.catch_up()
    assert watcher.problem == ""
    await watcher.close()


@pytest.mark.asyncio
async def test_closing_ends_what_is_under_way(logs: Logs) -> None:
    watcher = logs.watcher()
    running = asyncio.create_task(watcher.run())
    await asyncio.sleep(0)
    await watcher.close()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    again = logs.watcher()
    await again.catch_up()
    assert again.problem == ""
    await again.close()


WITHOUT = "import sys, triage.cli, triage.service, triage.once, triage.views.page"
HEAVY = ["polars", "numpy", "numba", "scipy", "matplotlib", "distributed", "networkx"]


def loaded(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*[one for one in {HEAVY} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_service_that_watches_no_log_loads_nothing_for_it() -> None:
    assert loaded(WITHOUT) == set()


def test_watching_needs_no_compiler() -> None:
    assert loaded("import triage.syslog.watch") & {"numba", "matplotlib", "distributed"} == set()
