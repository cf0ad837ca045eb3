"""One request for many askers: when a hundred targets fail at once, one list serves them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Shared:
    """Gives the result of a request that runs, or ended less than `keep` seconds ago.

    An asker that is cancelled leaves the request running for the others. Faults are shared too.
    """

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Give the answer of `ask`, which is called when there is none that can be shared."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(_run(ask))
            task.add_done_callback(lambda done: self._ended(key, done))
        result: T = await asyncio.shield(task)
        return result

    async def close(self) -> None:
        """End what still runs."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # seen, even when every asker has left
        if self._tasks.get(key) is task:
            self._timers[key] = task.get_loop().call_later(self._keep, self._drop, key)

    def _drop(self, key: Hashable) -> None:
        """Lists are large: gone as soon as they are old."""
        self._tasks.pop(key, None)
        self._timers.pop(key, None)


async def _run(ask: Callable[[], Awaitable[T]]) -> T:
    return await ask()
