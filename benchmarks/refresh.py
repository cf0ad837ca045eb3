"""What a refresh costs beyond the libvirt calls that it makes.

The hypervisor's source runs in this process, without its child process. One refresh is recorded:
every call of libvirt-python's public API, with its arguments. Then refreshes and replays of that
record are timed in turns. A replay throws results and errors away.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt

from benchmarks import node
from benchmarks.report import Result, progress, ratios
from vmmib.hypervisor import libvirt_connection
from vmmib.hypervisor.libvirt_domains import run_event_loop
from vmmib.hypervisor.messages import Message, encode
from vmmib.hypervisor.settings import SourceSettings
from vmmib.hypervisor.worker import make_source

DOMAINS = 1000

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_CLASSES: tuple[type, ...] = (
    libvirt.virConnect,
    libvirt.virDomain,
    libvirt.virNetwork,
    libvirt.virStoragePool,
    libvirt.virStorageVol,
)


@contextlib.contextmanager
def recording() -> Iterator[list[Call]]:
    """Collect the calls of libvirt-python's methods, those that they make themselves left out."""
    calls: list[Call] = []
    inside = threading.local()
    saved: list[tuple[type, str, Callable[..., Any]]] = []

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if getattr(inside, "call", False):
                return method(*args, **kwargs)
            calls.append((method, args, kwargs))
            inside.call = True
            try:
                return method(*args, **kwargs)
            finally:
                inside.call = False

        return call

    for cls in _CLASSES:
        for name, method in list(vars(cls).items()):
            if callable(method) and not name.startswith("_"):
                saved.append((cls, name, method))
                setattr(cls, name, wrapped(method))
    try:
        yield calls
    finally:
        for cls, name, method in saved:
            setattr(cls, name, method)


def replay(calls: list[Call]) -> None:
    """Make the calls again."""
    for method, args, kwargs in calls:
        try:
            method(*args, **kwargs)
        except libvirt.libvirtError:  # as it was when recorded
            continue


def _seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(folder: Path, rounds: int) -> Iterator[Result]:
    folder = folder / "refresh"
    folder.mkdir()
    file = folder / "node.xml"
    node.write(file, DOMAINS)
    libvirt_connection.silence()
    run_event_loop()
    sent = 0

    def emit(message: Message) -> None:
        nonlocal sent
        sent += len(encode(message))

    source = make_source(SourceSettings(name="bench", uri=f"test://{file}"), emit)
    progress(f"refresh: {rounds} rounds")
    thresholds = gc.get_threshold()
    source.connect()
    try:
        first = _seconds(source.refresh)
        source.refresh()
        with recording() as calls:
            source.refresh()
        # As the child does after its first refresh
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        whole, bare = [], []
        for _ in range(rounds):
            sent = 0
            whole.append(_seconds(source.refresh))
            bare.append(_seconds(lambda: replay(calls)))
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        source.close()
    case = f"{DOMAINS:,} domains"
    milliseconds = [second * 1000 for second in whole]
    yield Result(f"refresh, {case}", milliseconds, "ms", note=f"{sent:,} octets to the parent")
    yield Result(
        f"refresh, {case}: its {len(calls):,} libvirt calls alone",
        [one * 1000 for one in bare],
        "ms",
    )
    yield Result(f"refresh, {case}: refresh : calls", ratios(whole, bare), at_most=1.3)
    yield Result(f"first refresh, {case}", [first * 1000], "ms")
