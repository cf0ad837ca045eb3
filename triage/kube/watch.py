"""A list kept current: list once, watch from there, list again when the server forgot.

A watch ends all the time (the server's time limit, a proxy's, a restart), and goes on from the last
resourceVersion that it gave. 410 Gone, as a status or as an ERROR event, means that this is too
old: list again. Faults are waited out, ever longer up to a limit; a watch never ends by itself.

Reference: Kubernetes API concepts, "Efficient detection of changes".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import structlog

from triage.kube.client import Kind, KubeClient
from triage.kube.errors import GoneError
from triage.kube.values import Json, as_dict, as_str, meta
from triage.sources.errors import GarbageError, SlowError, SourceError

log = structlog.get_logger(__name__)

LINE = 8 * 1024 * 1024  # an object in a watch: etcd takes 1.5 MB


class Watcher(Protocol):
    """Whom the objects are given to."""

    def listed(self, items: list[Json]) -> None:
        """Everything that is there."""

    def changed(self, item: Json) -> None:
        """An object was added or modified."""

    def deleted(self, item: Json) -> None:
        """An object was deleted; this is its last state."""


@dataclass(slots=True)
class WatchState:
    """How a watch does."""

    synced_at: float | None = None
    """Monotonic: when it last was current for sure."""
    problem: str = ""


async def keep_watching(
    client: KubeClient,
    kind: Kind,
    namespace: str,
    watcher: Watcher,
    state: WatchState,
    *,
    monotonic: Callable[[], float],
) -> None:
    """List and watch for ever. Ends only by being cancelled."""

    def synced() -> None:
        state.synced_at, state.problem = monotonic(), ""

    version = ""
    wait = 0.5
    while True:
        try:
            if not version:
                listing = await client.objects(kind, namespace)
                watcher.listed(listing.items)
                version = listing.version
                synced()
            version = await _watch(client, kind, namespace, watcher, version, synced)
            synced()
            wait = 0.5
            await asyncio.sleep(0.05)  # a server that ends each watch at once is not hammered
            continue
        except GoneError:
            version = ""
        except SourceError as error:
            if state.problem != str(error):
                log.warning("kubernetes_watch_failed", kind=kind.plural, why=str(error))
            state.problem = str(error)
            if isinstance(error, GarbageError):
                version = ""
        await asyncio.sleep(wait)
        wait = min(wait * 2, client.settings.retry)


async def _watch(
    client: KubeClient,
    kind: Kind,
    namespace: str,
    watcher: Watcher,
    version: str,
    opened: Callable[[], None],
) -> str:
    """Watch once; give the version to go on from."""
    settings = client.settings
    query: dict[str, str | int | float] = {
        "watch": "true",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": max(1, int(settings.watch)),
    }
    what = f"watch {kind.shown}" + (f" of {namespace}" if namespace else "")
    idle = settings.watch + settings.timeout
    lines = client.lines(
        kind.path(namespace), query, what, idle=idle, lasting=True, limit=LINE, on_open=opened
    )  # fmt: skip
    try:
        async with aclosing(lines) as stream:
            async for line in stream:
                version = _take(watcher, line, version, what) if line.strip() else version
    except SlowError:
        pass  # silent for longer than the server's own limit: ask again
    return version


def _take(watcher: Watcher, line: bytes, version: str, what: str) -> str:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise GarbageError(f"{what}: an event is not JSON") from None
    item = as_dict(as_dict(event).get("object"))
    match as_dict(event).get("type"):
        case "ERROR":
            if item.get("code") == 410:
                raise GoneError(f"{what}: {as_str(item.get('message'))}")
            raise GarbageError(
                f"{what}: {as_str(item.get('message')) or 'the server gave an error'}"
            )
        case "ADDED" | "MODIFIED":
            watcher.changed(item)
        case "DELETED":
            watcher.deleted(item)
    return as_str(meta(item).get("resourceVersion")) or version
