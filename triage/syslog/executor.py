"""Where the tasks of an analysis run: in this process's threads, or on a Dask cluster.

Rules
- A task is a call of a top-level function with one argument, both picklable; its result is, too. It
  writes whole files under names that follow from its argument alone, so that running it twice does
  no harm: a worker that is lost has its tasks run again by another one.
- Results come in the order of the tasks, whatever order they end in: nothing that is computed from
  them depends on the number of workers.
- At most `ahead` tasks are taken from the iterable before the result of the first of them is
  handed out: tasks may carry bytes, and there may be more of them than memory holds.
- What a task raises is raised by `map` where its result would have come; later tasks are cancelled.

Threads are enough for what Polars, numba and the decompressors do: they leave Python's lock alone.
The many small graphs of a long time are made of short steps that need it: `unlocked` gives
processes for them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as ConcurrentExecutor
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from triage.syslog.errors import SyslogError

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")
R = TypeVar("R")

DEADLINE = 10.0
"""Seconds in which a Dask scheduler has to answer, and to have a worker."""

CARRIED = ".*[Ll]arge (graph|object).*"
"""What Dask warns of: a task that carries a block of a compressed file, which only the driver can
decompress. It is meant: a copy with the scheduler is what makes it survive its worker."""


class ExecutorError(SyslogError):
    """Nothing can run there; the text says why and what to do, in one line."""


class Executor(Protocol):
    """Runs tasks; a context manager, which ends what it started."""

    @property
    def workers(self) -> int:
        """How many tasks run at a time."""

    @property
    def threads(self) -> bool:
        """Whether tasks run in this process, and share Python's lock."""

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Give `function`'s result of each task, in the order of the tasks, lazily."""

    def __enter__(self) -> Self:
        """Make it ready."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancel what has not begun, wait for what has, let go of workers."""


def local_executor(workers: int | None = None) -> Executor:
    """Return an executor of threads of this process (None: one for each CPU it may use)."""
    return _Local(workers or len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def unlocked(executor: Executor) -> Iterator[Executor]:
    """Give an executor of as many workers whose tasks do not wait for Python's lock.

    In one process that is one of processes, which start anew (some two seconds of imports); what is
    elsewhere already stays as it is.
    """
    if not executor.threads or executor.workers == 1:
        yield executor
        return
    with _Local(executor.workers, processes=True) as processes:
        yield processes


def dask_executor(address: str, *, deadline: float = DEADLINE) -> Executor:
    """Return an executor on a Dask cluster, by its scheduler's address ("tcp://host:8786").

    The workers need this package in the same version, and the store and the logs under the same
    paths. Entering it raises ExecutorError when `distributed` is not installed, or when the
    scheduler does not answer or has no worker within `deadline` seconds.
    """
    return _Dask(address, deadline)


class _Local:
    def __init__(self, workers: int, *, processes: bool = False) -> None:
        if workers < 1:
            raise ExecutorError(f"{workers} workers cannot do anything: give at least 1")
        self.workers = workers
        self.threads = not processes
        self._pool: ConcurrentExecutor | None = None

    def __enter__(self) -> Self:
        if self.threads:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="task")
        else:
            # Not forked: Polars' threads, and whoever holds one of their locks, would be missing
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=spawn, initializer=_leave_interrupts
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        pool = self._pool
        if pool is None:
            raise ExecutorError("an executor runs tasks inside its `with` block only")
        if self.workers == 1:
            return map(function, tasks)
        return _ordered(lambda task: pool.submit(function, task), tasks, 2 * self.workers)


class _Dask:
    def __init__(self, address: str, deadline: float) -> None:
        self.address = address
        self.deadline = deadline
        self.workers = 0
        self.threads = False
        self._client: Any = None

    def __enter__(self) -> Self:
        try:
            import distributed  # noqa: PLC0415 - an extra: whoever uses one machine has it not
        except ImportError:
            raise ExecutorError(
                "a scheduler needs Dask, which is not installed: pip install 'vmmib[dask]'"
            ) from None
        client: Any = None
        try:
            make: Any = distributed.Client  # it has no types
            client = make(
                self.address, timeout=self.deadline, set_as_default=False, name="triage-syslog"
            )
            client.wait_for_workers(1, timeout=self.deadline)
        except (OSError, ValueError, TimeoutError) as error:
            if client is not None:
                client.close(timeout=1)
                problem = f"has no worker after {self.deadline:g} s: start dask worker"
            else:
                problem = f"does not answer ({_shown(error)}): see that dask scheduler runs there"
            raise ExecutorError(f"the Dask scheduler {self.address} {problem}") from None
        self._client = client
        self.workers = sum(client.nthreads().values())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        client = self._client
        if client is None:
            raise ExecutorError("an executor runs tasks inside its `with` block only")

        def submit(task: T) -> Any:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=CARRIED)
                return client.submit(function, task, pure=False)

        return _ordered(submit, tasks, 2 * max(self.workers, 1))


def _ordered(submit: Callable[[T], Future[R]], tasks: Iterable[T], ahead: int) -> Iterator[R]:
    """Hand out results in order, never with more than `ahead` tasks under way or waiting."""
    running: deque[Future[R]] = deque()
    try:
        for task in tasks:
            running.append(submit(task))
            del task  # it may carry a block: whoever runs it holds it
            if len(running) >= ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenProcessPool:
        raise ExecutorError(
            "a worker process was ended from outside, most likely for want of memory: "
            "use fewer --workers"
        ) from None
    finally:
        for future in running:
            with contextlib.suppress(Exception):  # Dask's may be gone with the connection
                future.cancel()


def _leave_interrupts() -> None:
    """Ctrl-C is for the process that has the terminal: it ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _shown(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
