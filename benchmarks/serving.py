"""How fast requests are answered: the agent, the null agent and pyagentx3 over the same rows.

Each has a snmpd of its own and stays up; in each round each is measured once, one after the other,
so that whatever else the machine does falls on all of them. Ratios are taken within a round, of
rates by the clock, which is what a manager sees; and, where other programs may have had the core in
between, of the CPU time that manager, master and agent took together.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import client, node, varbinds
from benchmarks.master import Master
from benchmarks.processes import (
    VM_MIB,
    Server,
    agent_config,
    cpu_seconds,
    python,
)
from benchmarks.processes import varbinds as count_varbinds
from benchmarks.report import Result, progress, ratios
from tests.netsnmp import Snmpd, parse_lines, wait_until

AGENT, NULL, PYAGENTX3 = "agent", "null", "pyagentx3"
VM_NUMBER = f"{VM_MIB}.1.2.0"
VM_ENTRY = (1, 3, 6, 1, 2, 1, 236, 1, 4, 1)
COLUMNS = range(2, 18)
"""vmName to vmCpuTime: the 16 columns of vmTable."""
REPETITIONS = 6
TIME_TICKS_TAG = 0x43

FLAT = 1.25
"""CPU time per varbind may grow by so much from 100 to 5,000 domains and still be called flat:
more rows than fit a processor's cache cost every agent something, the null agent too."""


@dataclass
class Samples:
    """What the rounds brought, by agent."""

    walk: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Varbinds/s."""
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Microseconds of the agent's CPU time per varbind of a walk."""
    bulk: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """GETBULK requests/s."""
    walk_cost: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bulk_cost: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds of CPU time of all that take part, per varbind and per request."""


def start_agent(folder: Path, domains: int, poll: float) -> Server:
    """The agent over a node of so many domains; its master is not running yet."""
    folder.mkdir()
    file = folder / "node.xml"
    node.write(file, domains)
    snmpd = Snmpd(folder)
    config = agent_config(folder, snmpd.agentx_socket, f"test://{file}", poll)
    return Server(AGENT, folder, python("vmmib", "agent", "--config.file", config), snmpd)


def record(server: Server, domains: int) -> bytes:
    """All varbinds of the agent, as it writes them."""
    with Master(Path(server.snmpd.agentx_socket.removeprefix("unix:"))) as master:
        master.accept()

        def complete() -> bool:
            server.running()
            found = varbinds.read(master.get_next(VM_NUMBER_INCLUDED))
            return found.value == domains

        wait_until(complete, 120, f"the agent to have {domains} domains")
        return master.walk()


VM_NUMBER_INCLUDED = bytes((5, 2, 1, 0)) + b"".join(
    arc.to_bytes(4, "big") for arc in (1, 236, 1, 2, 0)
)
"""vmNumber.0 as the start of a range, included."""


@contextlib.contextmanager
def servers(folder: Path, domains: int) -> Iterator[list[Server]]:
    """All three, serving the same rows."""
    with contextlib.ExitStack() as stack:
        agent = start_agent(folder, domains, poll=3600)
        stack.callback(agent.stop)
        progress(f"{domains:,} domains: recording what the agent serves")
        began = time.monotonic()
        dump = folder / "dump"
        dump.write_bytes(record(agent, domains))
        progress(f"  {dump.stat().st_size:,} octets in {time.monotonic() - began:.1f} s")
        agent.snmpd.start()
        found = [agent]
        for name, module in (
            (NULL, "benchmarks.null_agent"),
            (PYAGENTX3, "benchmarks.pyagentx3_agent"),
        ):
            snmpd = Snmpd(folder, name=f"snmpd-{name}")
            snmpd.start()
            server = Server(name, folder, python(module, snmpd.agentx_socket, dump), snmpd)
            stack.callback(server.stop)
            found.append(server)
        for server in found:
            progress(f"waiting for {server.name}")
            server.wait(VM_NUMBER)
        yield found  # in this order: agent, null, pyagentx3


def comparable(walked: str) -> list[tuple[str, str, str]]:
    """The lines of a walk without the clocks among their values."""
    return [
        (line.oid, line.type, "" if line.type == "Timeticks" else line.value)
        for line in parse_lines(walked)
    ]


def check_equal(walks: dict[str, str]) -> int:
    """Return the varbinds of a walk; RuntimeError when the agents serve different rows."""
    agent, null, other = (comparable(walks[name]) for name in (AGENT, NULL, PYAGENTX3))
    if len(other) < len(agent):
        other = other[:-1]  # its walk was cut, maybe within a line
    for name, walk in ((NULL, null), (PYAGENTX3, other)):
        for mine, its in zip(agent, walk, strict=False):
            if mine != its:
                raise RuntimeError(f"{name} serves {its} where the agent serves {mine}")
    if len(null) != len(agent) or not other:
        raise RuntimeError(f"walks of {len(agent)}, {len(null)} and {len(other)} varbinds")
    return len(agent)


def bulk_requests(domains: int) -> list[bytes]:
    """GETBULK of all columns of vmTable, from every sixth row on.

    They are in no order, as from several managers: none goes on where the one before it ended.
    """
    starts = list(range(0, domains - REPETITIONS + 1, REPETITIONS))
    random.Random(7666).shuffle(starts)
    return [
        client.get_bulk(number, [(*VM_ENTRY, column, start) for column in COLUMNS], REPETITIONS)
        for number, start in enumerate(starts[:500], 1)
    ]


def check_bulk(found: Sequence[Server], request: bytes) -> None:
    """RuntimeError unless all answer one request alike, and whole."""
    answers = []
    for server in found:
        manager = client.Manager(server.snmpd.port)
        status, answer = client.read_response(manager.ask(request))
        manager.close()
        if status or len(answer) != len(COLUMNS) * REPETITIONS:
            raise RuntimeError(
                f"{server.name} answers a GETBULK with {status}, {len(answer)} varbinds"
            )
        answers.append([one for one in answer if one[1] != TIME_TICKS_TAG])
    if any(answer != answers[0] for answer in answers):
        raise RuntimeError("the agents answer a GETBULK differently")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    sizes: tuple[tuple[int, int], ...]
    """(domains, rounds)."""
    walk_seconds: float
    """At the least; short walks are repeated."""
    pyagentx3_seconds: float
    """At the most: its walk is cut."""
    bulk_seconds: float
    bulk_rounds: int


FULL = Plan(((100, 15), (1000, 11), (5000, 4)), 0.7, 1.5, 0.4, 15)
QUICK = Plan(((100, 3), (1000, 3)), 0.5, 1, 0.3, 5)


def measure_walk(server: Server, plan: Plan, samples: Samples) -> str:
    """One round of one agent; returns its (last) walk."""
    limit = plan.pyagentx3_seconds if server.name == PYAGENTX3 else None
    spent, count = 0.0, 0
    before, cost = cpu_seconds(server.pid), server.cost()
    while spent < plan.walk_seconds:
        walked, took = server.walk(limit)
        spent += took
        count += count_varbinds(walked)
    samples.cpu[server.name].append((cpu_seconds(server.pid) - before) / count * 1e6)
    samples.walk[server.name].append(count / spent)
    samples.walk_cost[server.name].append((server.cost() - cost) / count)
    return walked


def measure_bulk(server: Server, requests: Sequence[bytes], plan: Plan, samples: Samples) -> None:
    """One round of one agent."""
    manager = client.Manager(server.snmpd.port)
    cost = server.cost()
    count, took = manager.storm(requests, plan.bulk_seconds)
    samples.bulk_cost[server.name].append((server.cost() - cost) / count)
    samples.bulk[server.name].append(count / took)
    manager.close()


@contextlib.contextmanager
def small_servers(folder: Path, domains: int, dump: Path) -> Iterator[list[Server]]:
    """The agent and the null agent over fewer rows, beside those of most."""
    with contextlib.ExitStack() as stack:
        agent = start_agent(folder, domains, poll=3600)
        stack.callback(agent.stop)
        agent.snmpd.start()
        snmpd = Snmpd(folder, name=f"snmpd-{NULL}")
        snmpd.start()
        command = python("benchmarks.null_agent", snmpd.agentx_socket, dump)
        null = Server(NULL, folder, command, snmpd)
        stack.callback(null.stop)
        agent.wait_for(VM_NUMBER, str(domains))
        null.wait(VM_NUMBER)
        yield [agent, null]


def measure(folder: Path, plan: Plan) -> Iterator[Result]:
    """All results about serving."""
    few, many = plan.sizes[0][0], plan.sizes[-1][0]
    small_samples = Samples()
    for domains, rounds in plan.sizes:
        samples = Samples()
        with contextlib.ExitStack() as stack:
            found = stack.enter_context(servers(folder / str(domains), domains))
            small: list[Server] = []
            if domains == many:
                dump = folder / str(few) / "dump"
                small = stack.enter_context(small_servers(folder / "small", few, dump))
            requests = bulk_requests(domains)
            check_bulk(found[:2], requests[1])
            rows = 0
            for turn in range(rounds):
                progress(f"{domains:,} domains: round {turn + 1} of {rounds}")
                walks = {}
                for server in found if turn % 2 == 0 else reversed(found):
                    walks[server.name] = measure_walk(server, plan, samples)
                for server in small:
                    measure_walk(server, plan, small_samples)
                if not rows:
                    rows = check_equal(walks)
                    progress(f"  {rows:,} varbinds, the same from all")
                walks.clear()
            progress(f"{domains:,} domains: GETBULK, {plan.bulk_rounds} rounds")
            for _ in range(plan.bulk_rounds):
                for server in found[:2]:
                    measure_bulk(server, requests, plan, samples)
        yield from size_results(domains, rows, samples)
    for name, limit in ((AGENT, FLAT), (NULL, None)):
        yield Result(
            f"{name}'s CPU/varbind, {many:,} : {few:,} domains" if limit else f"  {name}'s",
            ratios(samples.cpu[name], small_samples.cpu[name]),
            at_most=limit,
        )


def size_results(domains: int, rows: int, samples: Samples) -> Iterator[Result]:
    """The lines of one number of domains."""
    case = f"{domains:,} domains"
    walk, bulk, cpu = samples.walk, samples.bulk, samples.cpu
    walk_cost, bulk_cost = samples.walk_cost, samples.bulk_cost
    yield Result(f"walk, {case}", walk[AGENT], "varbinds/s", note=f"{rows:,} varbinds")
    yield Result(f"walk, {case}: null agent", walk[NULL], "varbinds/s")
    yield Result(f"walk, {case}: pyagentx3", walk[PYAGENTX3], "varbinds/s")
    yield Result(f"walk, {case}: of null's rate", ratios(walk[AGENT], walk[NULL]), at_least=0.9)
    yield Result(f"walk, {case}: the same by CPU time", ratios(walk_cost[NULL], walk_cost[AGENT]))
    yield Result(
        f"walk, {case}: times pyagentx3's rate",
        ratios(walk[AGENT], walk[PYAGENTX3]),
        at_least=10,
    )
    yield Result(f"GETBULK 16 x 6, {case}", bulk[AGENT], "requests/s")
    yield Result(
        f"GETBULK 16 x 6, {case}: of null's rate", ratios(bulk[AGENT], bulk[NULL]), at_least=0.9
    )
    yield Result(
        f"GETBULK 16 x 6, {case}: the same by CPU time", ratios(bulk_cost[NULL], bulk_cost[AGENT])
    )
    yield Result(f"agent's CPU, {case}", cpu[AGENT], "us/varbind")
    yield Result(f"agent's CPU, {case}: null agent", cpu[NULL], "us/varbind")
