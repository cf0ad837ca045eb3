"""A single-threaded event loop: readers, writers, timers and wake-ups on one epoll.

The agent answers SNMP requests, reads its children and sends notifications on one thread, so that
nothing needs a lock. asyncio would do, and costs 8 to 24 % of the serving rate (see
docs/performance.md); this is the part of it that the agent needs.

A callback that raises ends the loop: whoever registers one handles its own errors.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import time
from collections import deque
from collections.abc import Callable

Callback = Callable[[], None]


class Timer:
    """A callback due at a time; `cancel` may be called at any moment, more than once."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Never run the callback; a no-op when it already ran."""
        self.callback = None


class Loop:
    """epoll, a heap of timers, and a pipe that other threads and signal handlers may write to.

    Times are seconds of `time.monotonic()`.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._sequence = itertools.count()
        self._soon: deque[Callback] = deque()
        self._running = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.add_reader(self._wake_read, self._drain_wake)

    # Descriptors

    def add_reader(self, fd: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` is readable, closed by its peer or in error."""
        self._readers[fd] = callback
        self._update(fd)

    def remove_reader(self, fd: int) -> None:
        """Forget the reader of `fd`; a no-op when there is none."""
        if self._readers.pop(fd, None) is not None:
            self._update(fd)

    def add_writer(self, fd: int, callback: Callback) -> None:
        """Call `callback` whenever `fd` is writable."""
        self._writers[fd] = callback
        self._update(fd)

    def remove_writer(self, fd: int) -> None:
        """Forget the writer of `fd`; a no-op when there is none."""
        if self._writers.pop(fd, None) is not None:
            self._update(fd)

    def _update(self, fd: int) -> None:
        mask = (select.EPOLLIN if fd in self._readers else 0) | (
            select.EPOLLOUT if fd in self._writers else 0
        )
        if not mask:
            # The descriptor may be closed already: epoll forgot it then by itself.
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(fd)
            return
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    # Time

    @staticmethod
    def time() -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Run `callback` once at `when` (of `time()`)."""
        timer = Timer(when, callback)
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Run `callback` once, `seconds` from now."""
        return self.call_at(self.time() + seconds, callback)

    # Wake-ups

    def call_soon_threadsafe(self, callback: Callback) -> None:
        """Run `callback` on the loop's thread soon; safe from threads and signal handlers."""
        self._soon.append(callback)
        if self._wake_write < 0:
            return  # closed: nothing runs any more
        # A full pipe wakes the loop as well as one more octet would.
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"\0")

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 65536)
        while self._soon:
            self._soon.popleft()()

    # Running

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        poll = self._epoll.poll
        readers = self._readers
        while self._running:
            timeout = self._run_timers()
            if not self._running:
                break
            for fd, mask in poll(timeout):
                if mask & ~select.EPOLLOUT:
                    reader = readers.get(fd)
                    if reader is not None:
                        reader()
                if mask & (select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP):
                    writer = self._writers.get(fd)
                    if writer is not None:
                        writer()

    def _run_timers(self) -> float:
        """Run what is due; return the seconds until the next timer, -1 when there is none."""
        timers = self._timers
        while timers:
            when, _, timer = timers[0]
            if timer.callback is None:
                heapq.heappop(timers)
                continue
            wait = when - self.time()
            if wait > 0:
                return wait
            heapq.heappop(timers)
            callback, timer.callback = timer.callback, None
            callback()
            if not self._running:
                return 0
        return -1

    def stop(self) -> None:
        """End `run` after the current callback; from the loop's own thread."""
        self._running = False

    def close(self) -> None:
        """Release the loop's own descriptors."""
        wake_write, self._wake_write = self._wake_write, -1  # its number may soon be another's
        os.close(self._wake_read)
        os.close(wake_write)
        self._epoll.close()
