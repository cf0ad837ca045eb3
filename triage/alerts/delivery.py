"""Delivery: takes messages out of the outbox to their sinks, at least once.

Theory of operation
    One lane per sink, so that a dead sink delays no other. A lane reads what waits for its sink,
    has `triage.alerts.planning` say what is due, sends up to `concurrency` messages at once (one
    incident's never), and writes down what became of each. It sleeps until something is due or
    `wake` is called. What another process put there (`triage outbox`) it finds within `poll`.

Rules
- An attempt is on disk before it begins, its end after the sink's answer. A crash between them
  means a repeat, which carries the same id and says that it is one; nothing gets lost.
- Taken (2xx): done. Refused (4xx but 408, 425, 429): dead, with the sink's own words. Not reached,
  busy, failed: again, after an exponential and jittered wait, or as long as Retry-After says.
- Not reached and busy are the sink's state: the whole lane waits, then tries with one message. A
  failure (5xx, no answer) may be the message's fault: that message waits, the others go on.
- A message that was not taken for `max_age` is dead. Dead ones can be listed and re-queued.
- A fault of the state file stops a lane for a moment, not for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import structlog

from triage.alerts.errors import BusySinkError, RefusedError, SinkError, UnreachableError
from triage.alerts.message import AlertMessage, decode
from triage.alerts.planning import Due, plan
from triage.alerts.sink import Sending, Sink
from triage.masking import mask
from triage.store import Store, StoreError
from triage.store.outbox import STANDING

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How hard it tries; in seconds unless the name says otherwise."""

    concurrency: int = 4
    """Requests at once to one sink."""
    first_retry: float = 1.0
    longest_retry: float = 60.0
    """Between two attempts at most, unless the sink asks for more by Retry-After."""
    max_age: float = 86400.0
    """A message that was not taken for so long is dead."""
    min_attempts: int = 5
    """Attempts before age kills a message: a clock that jumps ahead makes everything old."""
    poll: float = 15.0
    """How often another process's re-queued messages are looked for."""


@dataclass(slots=True)
class SinkStatus:
    """What became of a sink's messages since the start; for metrics."""

    delivered: int = 0
    resent: int = 0
    """Re-sends of what stands (Alertmanager)."""
    failed: int = 0
    """Attempts that will be made again."""
    dead: int = 0
    last_delivered_at: float | None = None
    problem: str = ""
    """Of the newest attempt, "" when it succeeded."""


class Dispatcher:
    """Delivers from `run` on until `stop`."""

    def __init__(
        self,
        store: Store,
        sinks: Sequence[Sink],
        settings: DeliverySettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        """Names of `sinks` are unique. The store stays open until `run` has returned."""
        names = [sink.name for sink in sinks]
        if len(set(names)) != len(names):
            raise ValueError("two sinks with one name")
        self._store = store
        self._clock = clock
        settings = DeliverySettings() if settings is None else settings
        rng = random.Random() if rng is None else rng  # noqa: S311 - jitter is no secret
        self._lanes = [_Lane(store, sink, settings, clock, rng) for sink in sinks]

    @property
    def status(self) -> dict[str, SinkStatus]:
        """By sink, live."""
        return {lane.name: lane.status for lane in self._lanes}

    async def run(self) -> None:
        """Deliver until `stop` or until cancelled. No faults of sinks or of the store end it."""
        await self._abandon()
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(lane.run())

    def wake(self) -> None:
        """Look for new messages now; after `Store.save` with messages. From the loop's thread."""
        for lane in self._lanes:
            lane.wake()

    async def stop(self, limit: float = 5.0) -> None:
        """Send what is due now, within `limit` seconds, and end `run`. The rest waits on disk."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(lane.stop(limit))

    async def _abandon(self) -> None:
        names = [lane.name for lane in self._lanes]
        try:
            count = await asyncio.to_thread(self._store.outbox.abandon, names, self._clock())
        except StoreError as error:
            log.error("outbox_failed", problem=str(error))
            return
        if count:
            log.warning("messages_of_unknown_sinks_dead", count=count)


class _Lane:
    """One sink's messages."""

    def __init__(
        self,
        store: Store,
        sink: Sink,
        settings: DeliverySettings,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.name = sink.name
        self.status = SinkStatus()
        self._outbox = store.outbox
        self._sink = sink
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failures = 0
        """Times in a row that the sink was not reached or busy."""
        self._paused_until = 0.0
        self._pause = 0.0
        self._started = False
        self._draining = False
        self._cancelled = False

    # The loop

    async def run(self) -> None:
        self._started = True
        try:
            while not self._cancelled:
                self._woken.clear()
                try:
                    wait = await self._start_due()
                except StoreError as error:
                    log.error("outbox_failed", sink=self.name, problem=str(error))
                    wait = None if self._draining else self._settings.poll
                if wait is None:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
        finally:
            await self._end_running()
            self._ended.set()

    def wake(self) -> None:
        self._woken.set()

    async def stop(self, limit: float) -> None:
        self._draining = True
        self.wake()
        if not self._started:
            return
        try:
            async with asyncio.timeout(limit):
                await self._ended.wait()
        except TimeoutError:
            self._cancelled = True
            self.wake()
            await self._end_running()
            await self._ended.wait()

    async def _end_running(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_due(self) -> float | None:
        """Start what is due; return seconds until more may be, None when draining is over."""
        sink = self._sink
        # What runs now may end while the rows are read, which then are of before its end
        busy = set(self._running)
        rows = await asyncio.to_thread(self._outbox.active, self.name)
        now = self._clock()
        todo = plan(rows, now, resend=sink.resend, hold=sink.hold)
        if todo.superseded:
            under_way = {row.seq for row in rows if row.incident in busy}
            seqs = [seq for seq in todo.superseded if seq not in under_way]
            await asyncio.to_thread(self._outbox.supersede, seqs, now)
        wait = self._settings.poll
        free = self._free(now)
        for one in todo.due:
            if one.row.incident in busy:
                continue
            if one.at > now:
                wait = min(wait, one.at - now)
            elif len(self._running) < free:
                self._start(one)
            elif self._resumes_in(now) > 0:
                wait = min(wait, self._resumes_in(now))
        if self._draining and not self._running and not busy:
            return None
        return wait

    def _free(self, now: float) -> int:
        """How many requests there may be at once now."""
        if self._resumes_in(now) > 0:
            return 0
        return 1 if self._failures else self._settings.concurrency

    def _resumes_in(self, now: float) -> float:
        left = self._paused_until - now
        return left if 0 < left <= self._pause else 0.0  # more: the clock was set back

    def _start(self, due: Due) -> None:
        incident = due.row.incident
        task = asyncio.create_task(self._deliver(due))
        self._running[incident] = task

        def ended(_: asyncio.Task[None]) -> None:
            self._running.pop(incident, None)
            self.wake()

        task.add_done_callback(ended)

    # One message

    async def _deliver(self, due: Due) -> None:
        try:
            await self._attempt(due)
        except StoreError as error:
            self._hold_lane(self._settings.poll)
            log.error("outbox_failed", sink=self.name, problem=str(error))

    async def _attempt(self, due: Due) -> None:
        row = due.row
        try:
            message = await self._load(due.row.seq)
            standing = await self._load(due.standing.seq) if due.standing else None
        except ValueError as error:
            await self._die(due, str(error))
            return
        if row.state != STANDING:
            if self._sink.resend is not None and await self._outdated(due):
                return
            await self._db(self._outbox.begin, row.seq)
        try:
            await self._sink.send(Sending(message=message, repeat=row.uncertain, standing=standing))
        except RefusedError as error:
            await self._die(due, str(error))
        except SinkError as error:
            await self._fail(due, error)
        except Exception as error:  # a fault of ours must not lose the message
            log.error("sink_failed", sink=self.name, message=row.id, exc_info=error)
            await self._fail(due, _internal(error))
        else:
            await self._succeed(due)

    async def _outdated(self, due: Due) -> bool:
        """Tell a re-queued message that the sink has a later one of, and give it up."""
        newest = await self._db(self._outbox.newest_taken, self.name, due.row.incident)
        if newest <= due.row.number:
            return False
        await self._db(self._outbox.supersede, [due.row.seq], self._clock())
        return True

    async def _load(self, seq: int) -> AlertMessage:
        data = await self._db(self._outbox.body, seq)
        if data is None:
            raise ValueError("a stored message that is gone")
        return decode(data)

    async def _succeed(self, due: Due) -> None:
        now = self._clock()
        self._failures = 0
        self._paused_until = 0.0
        row, resend = due.row, self._sink.resend
        again = now + resend if resend is not None and row.firing else None
        await self._db(self._outbox.delivered, row.seq, now, again)
        status = self.status
        status.problem = ""
        status.last_delivered_at = now
        if row.state == STANDING:
            status.resent += 1
            return
        status.delivered += 1
        log.info("alert_sent", sink=self.name, message=row.id, alert=row.event)

    async def _die(self, due: Due, reason: str) -> None:
        reason = mask(reason)
        await self._db(self._outbox.die, due.row.seq, self._clock(), reason)
        self.status.dead += 1
        self.status.problem = reason
        log.error("alert_dead", sink=self.name, message=due.row.id, problem=reason)

    async def _fail(self, due: Due, error: SinkError) -> None:
        row, now = due.row, self._clock()
        reason = mask(str(error))
        attempts = row.attempts + 1
        old = now - row.queued_at > self._settings.max_age
        if row.state != STANDING and old and attempts >= self._settings.min_attempts:
            age = self._settings.max_age
            await self._die(due, f"not taken within {age:g} s; at last: {reason}")
            return
        # A re-send is not counted on disk; what stands lasts for longer than the longest wait
        next_at = now + self._wait(16 if row.state == STANDING else attempts)
        if isinstance(error, BusySinkError | UnreachableError):
            asked = error.retry_after if isinstance(error, BusySinkError) else None
            self._failures += 1
            self._hold_lane(self._wait(self._failures) if asked is None else asked)
            next_at = self._paused_until
        uncertain = error.maybe_received or row.uncertain
        await self._db(self._outbox.failed, row.seq, next_at, reason, uncertain=uncertain)
        self.status.failed += 1
        if self.status.problem != reason:
            log.warning("alert_not_sent", sink=self.name, message=row.id, problem=reason)
        self.status.problem = reason

    def _wait(self, attempts: int) -> float:
        settings = self._settings
        bound = min(settings.longest_retry, settings.first_retry * (1 << min(attempts - 1, 16)))
        return bound * self._rng.uniform(0.5, 1.0)

    def _hold_lane(self, seconds: float) -> None:
        self._pause = seconds
        self._paused_until = self._clock() + seconds

    @staticmethod
    async def _db(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the store; once begun it is waited for, so that nothing uses a closed file."""
        call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await call
            raise


def _internal(error: Exception) -> SinkError:
    fault = SinkError(f"internal error: {type(error).__name__} (see the log)")
    fault.maybe_received = True
    return fault
