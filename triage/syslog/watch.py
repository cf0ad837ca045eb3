"""Keeps a store and its history current with the files of a fleet, and says what is unusual.

Theory of operation
    Every `refresh` seconds the files are mined into a store (`triage.syslog.mine`): of files that
    grew only what is new is read; rotation, compressed copies and a process that was killed are its
    business, and a run with nothing new costs a look at each file. So what a service learns is the
    same store that `triage syslog report` works on, and any window of it can be scored again.

    What is usual is a `History`: per host and template the days and windows with lines, and the
    edges of each day's causal graph. It takes a minute's counts in once they are `HOLD` old, so
    that what is judged as it happens is no history of its own, and is written beside the store now
    and then; what a crash loses of it is read from the store again.

Rules
- Nothing here runs on the event loop but waiting: reading and judging have threads of their own,
  one at a time each. Whoever asks while the past is still being read gets what is there, and is
  told that it is not all.
- A past of years is no use: files that were not changed for `history` are not opened, and events
  that are older are dropped.
- Without `keep`, the store is a service's, which keeps it current: this process reads it, and
  writes to it only if it is the same user's and nobody else does. Where there is none, a temporary
  one is made of the files.
- Graphs are learnt without a just-in-time compiler, which a hardened service may not use.
- What is wrong with a file, a store or a model is a line (`problem`), and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import polars as pl
import structlog

from triage.evidence import SyslogFinding, SyslogKind, SyslogLine
from triage.sources.syslog import Unusual, WatchCounts
from triage.syslog.corpus import load_corpus
from triage.syslog.detect.history import (
    DAYS,
    History,
    decode,
    encode,
    findings_in,
    forget,
    update,
)
from triage.syslog.detect.series import Fleet, Window, graph_task, run_task
from triage.syslog.detect.settings import DetectSettings
from triage.syslog.executor import ExecutorError, local_executor
from triage.syslog.mine import MiningReport, MiningSettings, mine
from triage.syslog.progress import NoProgress
from triage.syslog.reading.blocks import read_blocks
from triage.syslog.reading.lines import parse_block
from triage.syslog.reading.names import files_in, is_text
from triage.syslog.reading.unpack import ReadError, compression_of
from triage.syslog.reading.years import plan_for
from triage.syslog.store import MANIFEST, Store, StoreError, open_store, write_whole
from triage.syslog.tables import COUNTS, Corpus, Finding, FindingKind, Line, WindowGraph, id_text
from triage.syslog.templates import ModelError
from triage.syslog.watch_settings import WatchSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")

DAY = 86400.0
MINUTE = 60.0
HOLD = 3600.0
"""Seconds until what was read is history: an outage's first hour is not held to be usual in it."""
HISTORY_EVERY = 600.0
"""Seconds between two updates of the history."""
CONTEXT = 2 * 3600.0
"""Seconds before a window that are read with it: since when a host is silent."""
PATIENCE = 5.0
"""Seconds that a look waits for what is new to be read."""
MOST_LINES = 12
"""Lines of one finding."""
MOST_TEXT = 500
"""Characters of a line."""
MOST_CHECKED = 1000
"""Files whose end is looked at by a check."""
END_BYTES = 256 * 1024
EDGE_HOSTS = 8
"""Hosts whose edges are looked at in one go: each takes a graph of its whole site."""
_FAULTS = (StoreError, ExecutorError, ModelError, ReadError, OSError)
"""What files and disks do, each with its line."""


class _Stopped(Exception):  # noqa: N818 - no error
    """The watcher is to end."""


class _Told(NoProgress):
    """How far reading the files has come."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.done = 0
        self.total = 0

    def begin(self, stage: str, total: int | None, unit: str) -> None:  # noqa: ARG002
        """A stage begins."""
        self.total = (total or 0) if unit == "B" else 0
        self.done = 0
        self._check()

    def advance(self, n: int) -> None:
        """Some more is done."""
        self.done += n
        self._check()

    def end(self) -> None:
        """A stage is over."""
        self.total = 0

    def _check(self) -> None:
        if self.stopping.is_set():
            raise _Stopped

    @property
    def share(self) -> str:
        """Such as "40 %"; "" when nobody can say."""
        return f"{min(99, 100 * self.done // self.total)} %" if self.total else ""


class Watcher:
    """Watches the files of `settings.paths`. Nothing is opened before it is asked something.

    `keep`: the store is this process's to write; `clock` is the time of day.
    """

    def __init__(
        self,
        settings: WatchSettings,
        *,
        keep: bool = True,
        mask: Callable[[str], str] = str,
        clock: Callable[[], float] = time.time,
        detect: DetectSettings | None = None,
    ) -> None:
        self.settings = settings
        self.counts = WatchCounts()
        self.problem = ""
        self._keep = keep
        self._mask = mask
        self._clock = clock
        self._detect = detect or DetectSettings(engine="numpy")
        self._folder = Path(settings.store_dir)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if not keep and not (self._folder / MANIFEST).exists():
            self._temporary = tempfile.TemporaryDirectory(prefix="triage-syslog-")
            self._folder = Path(self._temporary.name) / "store"
        self._told = _Told()
        self._reading: asyncio.Task[None] | None = None
        self._done = False
        """Whether the files were read to their ends once."""
        self._store: Store | None = None
        self._judging = threading.Lock()
        self._history: History | None = None
        self._history_at: float | None = None
        self._hosts: tuple[str, ...] = ()
        self._short: tuple[str, ...] = ()
        """What was wrong with single files, the last time."""

    # Life

    async def run(self) -> None:
        """Keep up with the files until cancelled."""
        while True:
            began = asyncio.get_running_loop().time()
            await self._read()
            passed = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(self.settings.refresh - passed, 0.05))

    async def catch_up(self) -> None:
        """Read what was written until now; returns in bounded time, whatever is left."""
        under_way = self._reading is not None
        patience = PATIENCE if self._keep else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._read()
                if under_way and self._done:  # it may have begun before the line was written
                    await self._read()

    async def close(self) -> None:
        """End; what is under way is left where it is, and gone on with at the next start."""
        self._told.stopping.set()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def reading_done(self) -> bool:
        """Whether the past was read as far as it is learnt from."""
        return self._done

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts that there are lines of, sorted."""
        return self._hosts

    # Reading

    async def _read(self) -> None:
        """Read what is new, together with whoever asks for it at the same time."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_now())
        await asyncio.shield(self._reading)

    async def _read_now(self) -> None:
        try:
            self.problem = await asyncio.to_thread(self._read_files)
        except _Stopped:
            pass
        except Exception as error:  # a fault of ours: the files are there at the next time, too
            log.exception("syslog_reading_broke")
            self.problem = f"internal error: {type(error).__name__}: see the log"
        finally:
            self._reading = None

    def _read_files(self) -> str:
        """Mine, and bring the history up to date; return why that could not be, "" if it could."""
        now = self._clock()
        try:
            paths, missing = self._paths(now)
            if missing and not paths:
                return missing[0]
            self._mine(paths, missing, now)
            self._learn(now)
        except _FAULTS as error:
            return str(error)
        return ""

    def _mine(self, paths: Sequence[Path], missing: Sequence[str], now: float) -> None:
        settings = MiningSettings(
            time_zone=self.settings.time_zone,
            end=now,  # a file's own time may be anything, and what is kept is counted from it
            retention_days=self.settings.history / DAY,
        )
        store = open_store(self._folder, create=True)
        if not self._keep and self._folder.stat().st_uid != os.geteuid():
            self._count(store, MiningReport(), now)
            self._done = True
            return
        if self.settings.freeze and not store.model.frozen and store.model.templates:
            store.save_model(store.model.with_frozen(at=now))
        try:
            with local_executor(1) as executor:  # beside a service: slower, and not in its way
                report = mine(store, paths, settings, executor, self._told)
        except StoreError:
            if self._keep:
                raise
            report = MiningReport()  # the service has it, and keeps it current
        self._count(store, report, now)
        self._short = (*missing, *report.errors, *report.damage)
        self._done = True

    def _count(self, store: Store, report: MiningReport, now: float) -> None:
        counts, partitions = self.counts, store.manifest.partitions
        counts.lines += report.lines
        counts.broken += report.broken
        counts.templates = len(store.model.templates)
        counts.unread = len(report.errors) + len(report.damage)
        counts.read_at = now
        newest = [one.last for one in partitions if one.last is not None]
        counts.newest = max(newest) / 1000 if newest else None
        self._hosts = tuple(sorted({host for one in partitions for host in store.hosts(one)}))
        counts.hosts = len(self._hosts)

    def _paths(self, now: float) -> tuple[list[Path], list[str]]:
        """Return the files that may hold something new enough, and what is not there at all."""
        found: dict[Path, None] = {}
        missing = []
        for text in self.settings.paths:
            names = [Path(one) for one in sorted(glob.glob(text))] or [Path(text)]  # noqa: PTH207
            for name in names:
                try:
                    found.update(dict.fromkeys(_logs(name, now - self.settings.history)))
                except (OSError, ReadError) as error:
                    missing.append(_told(name, error))
        if not found and not missing:
            missing.append(f"{', '.join(self.settings.paths)}: no log in it that is new enough")
        return list(found), missing

    # What is usual

    @property
    def _history_file(self) -> Path:
        return self._folder.with_name(self._folder.name + "-history.msgpack")

    def _learn(self, now: float) -> None:
        """Take what is old enough into the history."""
        if self._history_at is not None and 0 <= now - self._history_at < HISTORY_EVERY:
            return
        store = open_store(self._folder)
        before = self._history if self._history is not None else self._remembered()
        after = self._updated(before, store, now - HOLD)
        after = forget(after, now - self.settings.history)
        with self._judging:
            self._history, self._history_at = after, now
        if self._keep and after != before:
            write_whole(self._history_file, encode(after))

    def _remembered(self) -> History:
        try:
            return decode(self._history_file.read_bytes())
        except FileNotFoundError:
            return History()
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            log.warning("syslog_history_read_anew", file=str(self._history_file), why=str(error))
            return History()

    def _updated(self, history: History, store: Store, until: float) -> History:
        """Return the history with the counts up to a time, and the graphs of the days in between.

        A day at a time: a past of weeks is not held in memory as a whole.
        """
        first = [one.first for one in store.manifest.partitions if one.first is not None]
        if not first:
            return history
        start = max(history.end, min(first) / 1000, until - self.settings.history)
        start = start // MINUTE * MINUTE
        while start < until:
            self._told.advance(0)
            end = min((start // DAY + 1) * DAY, until // MINUTE * MINUTE)
            if end <= start:
                break
            try:
                corpus = load_corpus(store, start=start, end=end)
            except StoreError:  # nobody logged anything on that day
                start = end
                continue
            history = update(history, corpus, (), self._detect)
            if end % DAY == 0:
                history = self._with_edges(history, store, end - DAY)
            start = end
        return history

    def _with_edges(self, history: History, store: Store, day: float) -> History:
        """Return a history, which has a whole day's counts, with the edges of that day."""
        as_before = replace(history, end=day)  # or the day's graphs were too old to count
        graphs = self._graphs(store, day)
        return replace(history, pairs=update(as_before, _empty(), graphs, self._detect).pairs)

    def _graphs(self, store: Store, day: float) -> Iterator[WindowGraph]:
        """Learn the graphs of a whole day, one for each site."""
        try:
            corpus = load_corpus(store, start=day, end=day + DAY)
        except StoreError:
            return
        fleet = Fleet(corpus, self._detect.area)
        window = Window(int(day // MINUTE), int((day + DAY) // MINUTE))
        minutes = max(1, round(self._detect.bin / MINUTE))
        for area in range(len(fleet.areas)):
            self._told.advance(0)
            settings = self._detect.graph_of(DAY)
            yield run_task(graph_task(fleet, window, area, minutes, settings))[0]

    # What is unusual

    async def unusual(self, hosts: Sequence[str], start: float, end: float) -> Unusual:
        """Return what was unusual in a span of time; what cannot be told is a problem in it."""
        try:
            return await asyncio.to_thread(self._unusual, tuple(hosts), start, end)
        except _FAULTS as error:
            return Unusual(problems=(str(error),))
        except Exception as error:  # a fault of ours must not end who asks
            log.exception("syslog_judging_broke")
            return Unusual(problems=(f"internal error: {type(error).__name__}: see the log",))

    def _unusual(self, hosts: tuple[str, ...], start: float, end: float) -> Unusual:
        problems = list(self._short[:3])
        if not self._done:
            share = f" ({self._told.share})" if self._told.share else ""
            problems.append(f"the past of the log is still being read{share}")
        with self._judging:
            history = self._history if self._history is not None else self._remembered()
        if not self._folder.exists():
            return Unusual(problems=tuple(problems))
        until = min(end, self.counts.read_at or end)
        span = (start, max(start, until))
        return self._twice(lambda store: self._judged(store, history, hosts, span, problems))

    def _twice(self, ask: Callable[[Store], T]) -> T:
        """Ask a store; again when files went from under our feet: somebody else writes to it."""
        try:
            return ask(open_store(self._folder))
        except StoreError:
            return ask(open_store(self._folder))

    def _judged(
        self,
        store: Store,
        history: History,
        hosts: tuple[str, ...],
        span: tuple[float, float],
        problems: list[str],
    ) -> Unusual:
        start, end = span
        try:
            corpus = load_corpus(store, start=start - CONTEXT, end=end)
        except StoreError:  # no event at all in that time
            corpus = _empty()
        known = [history.hosts[host].first for host in hosts if host in history.hosts]
        logged = _logged(corpus, start, end)
        said = list(problems)
        found: list[SyslogFinding] = []
        if not logged and hosts:
            said.append("no line of any host in that time: nothing was collected")
        else:
            judged = self._of_hosts(history, corpus, hosts, start, end)
            found.extend(self._shown(store, one, start, end) for one in judged)
        return Unusual(
            findings=tuple(sorted(found, key=lambda one: (one.start, one.host, one.kind))),
            read=sum(logged.get(host, 0) for host in hosts),
            learning_since=max(known, default=None),
            read_until=self.counts.newest,
            model=store.model.version,
            problems=tuple(said),
        )

    def _of_hosts(
        self, history: History, corpus: Corpus, hosts: Sequence[str], start: float, end: float
    ) -> Iterator[Finding]:
        """Judge each host; its edges only where few are asked for, or something else is unusual."""
        plain = replace(history, pairs={})
        left = EDGE_HOSTS if history.pairs and history.days >= DAYS else 0
        for host in hosts:
            found = findings_in(plain, corpus, host, start, end, self._detect)
            if left and (found or len(hosts) <= EDGE_HOSTS):
                left -= 1
                found = findings_in(history, corpus, host, start, end, self._detect)
            yield from (one for one in found if not _alone(one, host, corpus))

    def _shown(self, store: Store, one: Finding, start: float, end: float) -> SyslogFinding:
        """Return a finding with its lines; their times are its times, where a window was all."""
        host = one.hosts[0] if one.area not in one.hosts else one.area
        templates = one.templates or tuple(_templates_of(one, store, host))
        lines: tuple[Line, ...] = ()
        if templates:
            found = store.lines(max(one.start, start), one.end, [host], templates, MOST_LINES)
            lines = tuple(line for line in found if line.template)
        begin, over = one.start, one.end
        if lines and one.kind not in {FindingKind.SILENCE, FindingKind.RESTART}:
            begin, over = lines[0].time, lines[-1].time
        return SyslogFinding(
            kind=SyslogKind(one.kind.value),
            hypervisor="",
            host=host,
            start=begin,
            end=min(over, max(end, begin)),
            summary=self._mask(one.summary),
            score=one.score,
            lines=tuple(
                SyslogLine(
                    time=line.time,
                    text=_cut(self._mask(_content(line))),
                    template=id_text(line.template),
                )
                for line in lines
            ),
        )

    # Checking

    async def check(self) -> tuple[str, Sequence[str]]:
        """Look at the end of each file; return what is there, and a line for what cannot be read.

        Neither reads the past nor changes anything; `hosts` are then those of the files' ends.
        """
        return await asyncio.to_thread(self._check)

    def _check(self) -> tuple[str, Sequence[str]]:
        now = self._clock()
        paths, wrong = self._paths(now)
        hosts: set[str] = set()
        plan = plan_for(now, self.settings.time_zone)
        for path in paths[:MOST_CHECKED]:
            try:
                lines = parse_block(_end_of(path), plan)
            except _FAULTS as error:
                wrong.append(_told(path, error))
                continue
            hosts.update(lines["host"].drop_nulls().unique())
            if lines.height and lines["time"].null_count() == lines.height:
                wrong.append(f"{path}: no line in it has a time and a host that can be read")
        self._hosts = tuple(sorted(hosts))
        return (f"files: {len(paths)}, hosts: {len(hosts)}" if paths else ""), wrong


def _told(path: Path, error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text if str(path) in text else f"{path}: {text}"


def _logs(path: Path, since: float) -> list[Path]:
    """Return a file, or the logs below a folder, that were changed since a time.

    Raises OSError or ReadError for what is not there, or not to be read.
    """
    if not path.is_dir():
        return [path] if path.stat().st_mtime >= since else []
    return [one for one in files_in(path) if _fresh(one, since) and is_text(one)]


def _fresh(path: Path, since: float) -> bool:
    try:
        return path.stat().st_mtime >= since
    except OSError:  # rotated away in between
        return False


def _end_of(path: Path) -> bytes:
    """Return the last lines of a plain file, the first ones of a packed one."""
    if compression_of(path):
        return next(iter(read_blocks(path, block_bytes=END_BYTES))).data
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - END_BYTES))
        data = file.read(END_BYTES)
    return data.partition(b"\n")[2] if len(data) == END_BYTES else data


def _empty() -> Corpus:
    return Corpus(
        counts=pl.DataFrame(schema=COUNTS),
        hosts=(),
        templates=(),
        group_of=(),
        groups=(),
        site_of=(),
        start=0.0,
        end=0.0,
    )


def _logged(corpus: Corpus, start: float, end: float) -> dict[str, int]:
    """Return the lines of each host in a span of time."""
    inside = corpus.counts.filter(pl.col("minute").is_between(int(start // 60), int(end // 60)))
    sums = inside.group_by("host").agg(pl.col("count").sum())
    return {corpus.hosts[host]: int(count) for host, count in sums.iter_rows()}


def _alone(one: Finding, host: str, corpus: Corpus) -> bool:
    """Tell whether a silence is everybody's: the collector's own, of which hosts know nothing."""
    if one.kind is not FindingKind.SILENCE:
        return False
    others = set(_logged(corpus, one.start, one.end - MINUTE)) - {host}
    return not others


def _templates_of(one: Finding, store: Store, host: str) -> Iterator[int]:
    """Give the templates of a finding's edges at this host: those of their groups."""
    wanted = {node.group for edge in one.edges for node in (edge.a, edge.b) if node.host == host}
    for template in store.templates:
        if template in wanted:  # a group has its founder's id
            yield template


def _content(line: Line) -> str:
    """Return what a line says, without its time and host: both are known."""
    before, host, after = line.text.partition(f" {line.host} ")
    return after if host and len(before) < 64 else line.text


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 3] + "..."
