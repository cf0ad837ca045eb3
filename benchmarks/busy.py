"""What a refresh takes from serving: the walk's rate while one follows the other without a pause.

Everything is on one core, so that the child process which refreshes and the parent which serves
compete for it as on a host that has no core to spare. The idle rate is that of the same agent with
its child stopped (SIGSTOP), in turns.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import Server, children, cpu_seconds, varbinds
from benchmarks.report import Result, progress, ratios
from benchmarks.serving import VM_NUMBER, start_agent

DOMAINS = 1000
POLL = 0.1
"""Seconds; the least that the configuration takes, and less than a refresh."""


LIMIT = 10.0
"""Seconds after which a walk is cut, lest an agent that stalls keeps us for ever."""


def _rate(server: Server, seconds: float) -> float:
    spent, count = 0.0, 0
    while spent < seconds:
        walked, took = server.walk(LIMIT)
        spent += took
        count += varbinds(walked)
    return count / spent


def measure(folder: Path, rounds: int, seconds: float) -> Iterator[Result]:
    server = start_agent(folder / "busy", DOMAINS, POLL)
    try:
        server.snmpd.start()
        server.wait_for(VM_NUMBER, str(DOMAINS))
        (child,) = children(server.pid)
        idle, busy, share = [], [], []
        for turn in range(rounds):
            progress(f"serving while refreshing: round {turn + 1} of {rounds}")
            os.kill(child, signal.SIGSTOP)
            server.walk()  # computes the cells that the last refresh changed
            idle.append(_rate(server, seconds))
            os.kill(child, signal.SIGCONT)
            began, before = time.monotonic(), cpu_seconds(child)
            busy.append(_rate(server, seconds))
            share.append((cpu_seconds(child) - before) / (time.monotonic() - began))
    finally:
        server.stop()
    case = f"{DOMAINS:,} domains"
    yield Result(f"walk, {case}, idle", idle, "varbinds/s")
    yield Result(f"walk, {case}, refreshing without a pause", busy, "varbinds/s")
    yield Result(f"walk, {case}, refreshing : idle", ratios(busy, idle), at_least=0.8)
    yield Result("  the refreshing child's share of the core meanwhile", share)
