"""The proxy's access log: the target's requests in a window, and its failures as they happen.

Rules
- `look` reads the logs of all Envoys of a target in a window, over any `LogSource`, and gives what
  it saw. It never raises for a fault of the outside world: a log that could not be read is named in
  `pods_unread` and in the problems; when none could be read, the look FAILED.
- A line is written at its request's end: logs are read beyond the window's end by
  `ProxySettings.written_late`, and never into the future.
- Bounded: octets, lines and seconds a log, requests that are kept, characters of each text. Counts
  go on when no more is kept; where reading stopped early, a problem says so.
- Matching is done on what was logged; what is given away is masked.
- `follow` gives all requests as they are written, from several logs at once: others' failures count
  by their share of everything. It reconnects for as long as it runs. After a reconnect it
  goes on behind the last line that it saw: the source is asked from that line's time on, and what
  was seen already is skipped. A good request bears no text, so that masking it costs nothing.
- Files are read in bulk (`triage.proxylog.bulk`), outside the event loop. Reading stops when
  nobody waits for it any more: after `file_timeout`, or when the look is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import structlog

from triage.cri import Joiner, Line
from triage.evidence import (
    Anomaly,
    LogLine,
    Look,
    Match,
    Outcome,
    ProxyEvidence,
    ProxyRequest,
    ProxyRole,
    Target,
    Window,
)
from triage.proxylog import bulk
from triage.proxylog.flags import classify, server_fault
from triage.proxylog.formats import Format, compile_format
from triage.proxylog.match import Wanted, rank, settle
from triage.proxylog.own import OwnLine, own_line
from triage.sources.errors import SourceError
from triage.sources.logs import LogRef, LogSource

log = structlog.get_logger()

ProxyRef = tuple[LogRef, ProxyRole, str]
"""Whose log, where that Envoy stands, and the pod as an operator names it."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How proxy logs are read. Seconds, octets, counts."""

    format: str | Mapping[str, Any] = "auto"
    """"auto", "istio", "envoy", "json", an Envoy format string, or a mapping of JSON fields."""
    written_late: float = 75.0
    """How long after a request's start its line may be written: duration, flush, log collection."""
    timeout: float = 20.0
    """For one log in a look."""
    file_timeout: float = 15.0
    """The same for one on disk, which is read to its end."""
    max_bytes: int = 64 * 1024 * 1024
    """Of one log in a look; files on disk are not bound by it."""
    max_lines: int = 500_000
    """Of one log in a look; files on disk are not bound by it."""
    keep: int = 50
    """OWN and LIKELY requests in the evidence."""
    keep_others: int = 20
    """OTHER failed requests in the evidence."""
    keep_errors: int = 20
    """Envoy's own warnings and errors in the evidence."""
    text_limit: int = 2048
    """Characters of each text in the evidence."""
    backoff: float = 1.0
    """First wait before a log is followed again; doubles."""
    longest_backoff: float = 30.0
    queue: int = 256
    """Requests that wait for the consumer of `follow`; then reading waits too."""


@dataclass(slots=True)
class Gathered:
    """What one log gave in a window."""

    candidates: list[ProxyRequest] = field(default_factory=list)
    """In the window: what may be the target's, failed others, and a bounded number of the rest."""
    in_window: int = 0
    others_failed: int = 0
    unparsed: int = 0
    parsed: int = 0
    lines: int = 0
    errors: list[LogLine] = field(default_factory=list)
    problem: str = ""


Stopped = Callable[[], bool]
"""Whether nobody waits any more."""


@runtime_checkable
class BulkSource(Protocol):
    """A source that has its logs as files, which can be read in bulk."""

    async def gather(
        self, ref: LogRef, start: float, collect: Callable[[Sequence[str], Stopped], Gathered]
    ) -> Gathered:
        """Run `collect` over the paths of a log, oldest first, outside the event loop.

        Files last written before `start` are left out. `collect` is to return soon after the
        function that it is given says so: then the caller was cancelled. Raises SourceError.
        """
        ...


class Collector:
    """Takes the lines of one log in a window; bounded, whatever comes."""

    ROOM = 2_000
    """Requests of each sort that are held before `settle`."""

    def __init__(
        self,
        form: Format,
        target: Target,
        window: Window,
        settings: ProxySettings,
        role: ProxyRole,
        pod: str,
    ) -> None:
        self._form = form
        self._wanted = Wanted(target, window)
        self._good = frozenset(target.good)
        self._window = window
        self._settings = settings
        self._role = role
        self._pod = pod
        self._room = {True: self.ROOM, False: self.ROOM}
        self.gathered = Gathered()

    def take(self, line: Line) -> None:
        """Count a line, and keep it when it matters."""
        gathered = self.gathered
        gathered.lines += 1
        request = self._form.parse(line.text, line.time, cut=line.cut)
        if request is not None:
            gathered.parsed += 1
            if request.time in self._window:
                self.take_request(request)
            return
        own = own_line(line.text)
        if own is not None:
            self._take_own(own, line)
        elif line.text.strip() and self._near(line.time):
            gathered.unparsed += 1

    def take_request(self, request: ProxyRequest) -> None:
        """Count a request in the window, and keep it when it matters."""
        self.gathered.in_window += 1
        match = self._wanted.match(request)
        own = match is not Match.OTHER
        fault = not own and server_fault(request, classify(request))
        self.gathered.others_failed += fault
        if self._room[own] > 0 and (own or fault or self._wanted.is_related(request)):
            self._room[own] -= 1
            self.gathered.candidates.append(
                replace(request, role=self._role, pod=self._pod, match=match)
            )

    @property
    def full(self) -> bool:
        """Whether no more of other clients' requests are kept."""
        return self._room[False] <= 0

    def skip(self, lines: int, in_window: int, failed: int) -> None:
        """Count lines that need not be kept: parsed, other clients' or outside the window."""
        self.gathered.others_failed += failed
        self.gathered.lines += lines
        self.gathered.parsed += lines
        self.gathered.in_window += in_window

    def _near(self, time: float | None) -> bool:
        window = self._window
        return time is None or window.start <= time <= window.end + self._settings.written_late

    def _take_own(self, own: OwnLine, line: Line) -> None:
        time = own.time if own.time is not None else line.time
        if not own.bad or time is None or not self._near(time):
            return
        errors = self.gathered.errors
        errors.append(LogLine(time=time, text=line.text, pod=self._pod, stream=line.stream))
        if len(errors) > 2 * self._settings.keep_errors:
            del errors[: self._settings.keep_errors]


class ProxyLooker:
    """Looks into proxy logs, and follows them."""

    def __init__(
        self,
        source: LogSource,
        settings: ProxySettings = ProxySettings(),
        *,
        mask: Callable[[str], str],
        limit: asyncio.Semaphore,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        """Raise `triage.proxylog.formats.FormatError` for a format that cannot be read.

        `limit` bounds how many logs are read at once, over all lookers that share it; followed logs
        do not count.
        """
        self._source = source
        self._settings = settings
        self._mask = mask
        self._limit = limit
        self._clock = clock
        self._sleep = sleep
        compile_format(settings.format)

    # Looking

    async def look(
        self, target: Target, anomaly: Anomaly, window: Window, refs: Sequence[ProxyRef]
    ) -> ProxyEvidence:
        """Read the logs of the target's Envoys in a window."""
        asked_at = self._clock()
        if not refs:
            problem = "no proxy's log is known for this target: no pod with a sidecar, no gateway"
            look = Look(
                outcome=Outcome.SKIPPED, window=window, problems=(problem,), asked_at=asked_at
            )
            return ProxyEvidence(look=look)
        found = await asyncio.gather(*(self._read(target, window, ref) for ref in refs))
        return self._evidence(target, anomaly, window, refs, found, asked_at)

    async def _read(self, target: Target, window: Window, ref: ProxyRef) -> Gathered:
        where, role, pod = ref
        settings = self._settings
        form = compile_format(settings.format)
        collector = Collector(form, target, window, settings, role, pod)
        in_bulk = isinstance(self._source, BulkSource)
        timeout = settings.file_timeout if in_bulk else settings.timeout
        try:
            async with self._limit, asyncio.timeout(timeout):
                await self._read_into(collector, target, window, where)
        except TimeoutError:
            collector.gathered.problem = (
                f"{pod}: its log was not read to the end within {timeout:g} s"
            )
        except SourceError as error:
            collector.gathered.problem = f"{pod}: {error}"
        return collector.gathered

    async def _read_into(
        self, collector: Collector, target: Target, window: Window, where: LogRef
    ) -> None:
        if isinstance(self._source, BulkSource):

            def collect(paths: Sequence[str], stopped: Stopped) -> Gathered:
                form, late = self._settings.format, self._settings.written_late
                bulk.collect(
                    paths, form, target, window, collector, written_late=late, stopped=stopped
                )
                return collector.gathered

            await self._source.gather(where, window.start, collect)
            return
        until = min(self._clock(), window.end + self._settings.written_late)
        joiner = Joiner()
        octets = lines = 0
        async with aclosing(_closable(self._source.read(where, window.start, until))) as raws:
            async for raw in raws:
                for line in joiner.feed(raw):
                    collector.take(line)
                octets += len(raw)
                lines += 1
                if octets > self._settings.max_bytes or lines >= self._settings.max_lines:
                    collector.gathered.problem = (
                        f"{where.shown}: its log is larger than the limit; only its first "
                        f"{lines} lines in the window were read"
                    )
                    break
                if lines % 512 == 0:
                    await asyncio.sleep(0)  # others wait on this loop
        for line in joiner.flush():
            collector.take(line)

    def _evidence(
        self,
        target: Target,
        anomaly: Anomaly,
        window: Window,
        refs: Sequence[ProxyRef],
        found: Sequence[Gathered],
        asked_at: float,
    ) -> ProxyEvidence:
        settings = self._settings
        good = frozenset(target.good)
        requests = settle(target, window, [one for part in found for one in part.candidates])
        own = [one for one in requests if one.match is Match.OWN]
        likely = [one for one in requests if one.match is Match.LIKELY]
        classes = {id(one): classify(one, good) for one in (*own, *likely)}
        mine = sorted(
            (*own, *likely),
            key=lambda one: (
                rank(one.match),
                not classes[id(one)].failed,
                abs(one.time - anomaly.time),
            ),
        )
        failed = [
            one for one in requests if one.match is Match.OTHER and server_fault(one, classify(one))
        ]
        failed.sort(key=lambda one: abs(one.time - anomaly.time))
        kept = (*mine[: settings.keep], *failed[: settings.keep_others])
        errors = sorted((one for part in found for one in part.errors), key=lambda one: one.time)
        problems = [part.problem for part in found if part.problem]
        unread = [
            pod
            for (_, _, pod), part in zip(refs, found, strict=True)
            if part.problem and not part.lines
        ]
        problems += self._unreadable(refs, found)
        in_window = sum(part.in_window for part in found)
        outcome = Outcome.FAILED if len(unread) == len(refs) else Outcome.RAN
        source = ", ".join(dict.fromkeys(where.shown for where, _, _ in refs))
        return ProxyEvidence(
            look=Look(
                outcome=outcome,
                source=source[: settings.text_limit],
                window=window,
                problems=tuple(dict.fromkeys(self._mask(one) for one in problems)),
                asked_at=asked_at,
            ),
            requests=tuple(self._masked(one) for one in kept),
            own=len(own),
            likely=len(likely),
            others=max(0, in_window - len(own) - len(likely)),
            others_failed=sum(part.others_failed for part in found),
            unparsed=sum(part.unparsed for part in found),
            pods=tuple(dict.fromkeys(pod for _, _, pod in refs if pod not in unread)),
            pods_unread=tuple(dict.fromkeys(unread)),
            errors=tuple(
                replace(one, text=self._mask(one.text)[: settings.text_limit])
                for one in errors[-settings.keep_errors :]
            ),
        )

    def _unreadable(self, refs: Sequence[ProxyRef], found: Sequence[Gathered]) -> list[str]:
        """A log whose lines are all of another format was not looked at, whatever was read."""
        return [
            f"{pod}: {part.unparsed} lines and none in the access log format "
            f"{_shown(self._settings.format)}; configure the format that this mesh writes"
            for (_, _, pod), part in zip(refs, found, strict=True)
            if part.unparsed and not part.parsed
        ]

    def _masked(self, request: ProxyRequest) -> ProxyRequest:
        changes: dict[str, str] = {}
        for name in _MASKED:
            text = getattr(request, name)
            if text:
                changes[name] = self._mask(text)[: self._settings.text_limit]
        return replace(request, **changes)  # type: ignore[arg-type]

    # Following

    async def follow(
        self,
        target: Target,
        refs: Sequence[ProxyRef],
        since: float,
        *,
        on_problem: Callable[[str, str], None] = lambda *_: None,
    ) -> AsyncGenerator[ProxyRequest, None]:
        """Give all requests that end from `since` on, with whose they are (`match`).

        Masked; what was answered well has its times, status and flags only. Goes on until it is
        closed or cancelled; close it (`contextlib.aclosing`), so that nothing stays behind.
        `on_problem(pod, line)` is told when a log cannot be followed, and with "" when it can
        again.
        """
        queue: asyncio.Queue[ProxyRequest] = asyncio.Queue(self._settings.queue)
        tasks = [
            asyncio.create_task(self._follow_one(target, ref, since, queue, on_problem))
            for ref in refs
        ]
        try:
            while tasks:
                getter = asyncio.create_task(queue.get())
                await _first([getter, *tasks], getter)
                yield getter.result()
                while not queue.empty():
                    yield queue.get_nowait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_one(
        self,
        target: Target,
        ref: ProxyRef,
        since: float,
        queue: asyncio.Queue[ProxyRequest],
        on_problem: Callable[[str, str], None],
    ) -> None:
        where, role, pod = ref
        sieve = _Sieve(compile_format(self._settings.format), target, since, role, pod)
        wait = self._settings.backoff
        while True:
            problem = ""
            try:
                source = self._source.follow(where, sieve.resume_from)
                async with aclosing(_closable(source)) as raws:
                    async for raw in raws:
                        if wait != self._settings.backoff:
                            wait = self._settings.backoff
                            on_problem(pod, "")
                        for request in sieve.feed(raw):
                            await queue.put(self._masked(request) if request.raw else request)
            except SourceError as error:
                problem = str(error)
            if problem:  # a log that ended is none: its container did, and may start again
                log.debug("proxy_log_follow_interrupted", pod=pod, problem=self._mask(problem))
                on_problem(pod, self._mask(problem))
            await self._sleep(wait)
            wait = min(self._settings.longest_backoff, wait * 2)


_MASKED = (
    "raw", "path", "user_agent", "authority", "details", "termination_details",
    "transport_failure", "forwarded_for", "request_id",
)  # fmt: skip


async def _first(waiting: list[asyncio.Task[Any]], getter: asyncio.Task[Any]) -> None:
    """Wait for the getter; a follower that ends (they do not, but for a bug) raises here."""
    try:
        while not getter.done():
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {getter}:
                task.result()
                waiting.remove(task)
    finally:
        if not getter.done():
            getter.cancel()


async def _closable(lines: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Close the source's iterator with this one, if it can be closed."""
    try:
        async for line in lines:
            yield line
    finally:
        close = getattr(lines, "aclose", None)
        if close is not None:
            await close()


def _shown(form: str | Mapping[str, Any]) -> str:
    text = form if isinstance(form, str) else "of JSON fields"
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


class _Sieve:
    """One followed log: joins, parses, and lets through what was not seen before.

    A line that comes again is known by its time and text for `REMEMBER` lines; one that is older
    than what was seen last came before that, if it has the runtime's time (Kubernetes, CRI).
    """

    REMEMBER = 8192

    def __init__(
        self, form: Format, target: Target, since: float, role: ProxyRole, pod: str
    ) -> None:
        self._form = form
        self._wanted = Wanted(target, Window(start=float("-inf"), end=float("inf")))
        self._good = frozenset(target.good)
        self._since = since
        self._role = role
        self._pod = pod
        self._joiner = Joiner()
        self._last = since
        self._resumed = since
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._again = self._connected = False

    @property
    def resume_from(self) -> float:
        """From when on the source is to be asked. Asking means that lines may come again."""
        self._joiner = Joiner()
        self._again = self._connected
        self._connected = True
        self._resumed = self._last
        return self._last - SLACK

    def feed(self, raw: bytes) -> list[ProxyRequest]:
        return [one for line in self._joiner.feed(raw) for one in self._take(line)]

    def _take(self, line: Line) -> list[ProxyRequest]:
        if self._repeated(line):
            return []
        request = self._form.parse(line.text, line.time, cut=line.cut)
        if request is None or request.end < self._since:
            return []
        match = self._wanted.match(request)
        if classify(request, self._good).failed:
            return [replace(request, match=match, role=self._role, pod=self._pod)]
        return [
            ProxyRequest(
                time=request.time,
                status=request.status,
                flags=request.flags,
                duration_ms=request.duration_ms,
                match=match,
                role=self._role,
                pod=self._pod,
            )
        ]

    def _repeated(self, line: Line) -> bool:
        """Whether it was seen before the last reconnect."""
        key = hash((line.time, line.text))
        known = key in self._seen
        if not known:
            self._seen[key] = None
            if len(self._seen) > self.REMEMBER:
                self._seen.popitem(last=False)
        if line.time is None:
            return known and self._again
        self._last = max(self._last, line.time)
        return known or line.time < self._resumed - SLACK


SLACK = 2.0
"""Seconds by which lines of one log may be out of order (stdout and stderr), and by which a source
may round the time that it is asked from."""
