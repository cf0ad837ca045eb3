"""Memory of the agent and its one child, after it has polled and been walked for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import children, memory
from benchmarks.report import Result, progress
from benchmarks.serving import VM_NUMBER, start_agent

DOMAINS = 1000
MEGABYTE = 1_000_000


def measure(folder: Path, rounds: int) -> Iterator[Result]:
    server = start_agent(folder / "memory", DOMAINS, poll=1)
    try:
        server.snmpd.start()
        server.wait_for(VM_NUMBER, str(DOMAINS))
        for turn in range(rounds):
            progress(f"memory: round {turn + 1} of {rounds}")
            server.walk()
            time.sleep(1.5)
        (child,) = children(server.pid)
        parent_memory, child_memory = memory(server.pid), memory(child)
    finally:
        server.stop()
    case = f"{DOMAINS:,} domains"

    def line(what: str, octets: int, limit: float | None = None) -> Result:
        return Result(f"{what}, {case}", [octets / MEGABYTE], "MB", at_most=limit)

    yield line("RSS of parent and child", parent_memory.rss + child_memory.rss, 120)
    yield line("  parent", parent_memory.rss)
    yield line("  child", child_memory.rss)
    yield line("PSS of parent and child", parent_memory.pss + child_memory.pss)
