"""Finding a node's machine over 200 hypervisors, 20 of them dead: one timeout, not twenty.

The hypervisors are stand-in agents, each on a UDP port of its own, in one process that is not
measured; they have their answers ready. Dead ones take what is sent to them and say nothing. Each
look finds nothing kept: it has to walk them all. The figures are of the process that looks, and of
one whole look; pysnmp's reading of the answers is most of it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import CHECKOUT
from benchmarks.report import Result, progress
from tests.triage.snmp_agent import Agent, Pdu, PduType, encode, hypervisor, identity
from triage.evidence import Anomaly, NodeState, Outcome, Trigger, VmEvidence, Window
from triage.snmp import oids
from triage.snmp.credentials import SnmpCredentials
from triage.snmp.manager import MAX_VARBINDS
from triage.snmp.values import NULL
from triage.sources.node_snmp import SCALARS, HypervisorSettings, VmLooker, VmSettings

HYPERVISORS = 200
DEAD = 20
VMS = 25
"""Of each hypervisor."""

TIMEOUT = 2.0


def measure(_folder: Path, rounds: int) -> Iterator[Result]:
    """One look with all hypervisors alive, one with dead ones, again and again."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.node_lookup"],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as agents:
        assert agents.stdout is not None
        assert agents.stdin is not None
        ports = [int(port) for port in agents.stdout.readline().split()]
        try:
            alive, dead = ports[:HYPERVISORS], ports[DEAD:HYPERVISORS] + ports[HYPERVISORS:]
            figures: dict[str, list[tuple[float, float]]] = {"alive": [], "dead": []}
            for number in range(rounds):
                progress(f"node lookup, round {number + 1} of {rounds}")
                figures["alive"].append(asyncio.run(_look(alive, missing=0)))
                figures["dead"].append(asyncio.run(_look(dead, missing=DEAD)))
        finally:
            agents.stdin.close()
    kinds = {"alive": f"{HYPERVISORS} alive", "dead": f"{DEAD} of {HYPERVISORS} dead"}
    for key, what in kinds.items():
        yield Result(f"node lookup, {what}: CPU", [cpu for cpu, _ in figures[key]], "s")
        yield Result(f"node lookup, {what}: time", [took for _, took in figures[key]], "s")
    yield Result(
        "node lookup, waiting for dead ones",
        [(took - cpu) / TIMEOUT for cpu, took in figures["dead"]],
        "timeouts",
        at_most=1.25,
        note=f"of {TIMEOUT:g} s each, beyond the CPU; one after the other it would be {DEAD}",
    )


async def _look(ports: Sequence[int], *, missing: int) -> tuple[float, float]:
    """CPU seconds and seconds of one look."""
    looker = VmLooker(
        VmSettings(
            hypervisors=tuple(
                HypervisorSettings(
                    name=f"h{number}",
                    address=f"127.0.0.1:{port}",
                    credentials=SnmpCredentials(community="public"),
                    timeout=TIMEOUT,
                )
                for number, port in enumerate(ports)
            )
        )
    )
    node = NodeState(name="worker", system_uuid=str(identity(HYPERVISORS * 1000 - 1000)))
    window = Window(start=0.0, end=1.0)
    anomaly = Anomaly(target="t", trigger=Trigger.MANUAL, time=0.5)
    cpu, began = time.process_time(), time.monotonic()
    found = await looker.look([node], window, anomaly)
    took = time.monotonic() - began
    _check(found, missing)
    return time.process_time() - cpu, took


def _check(found: VmEvidence, missing: int) -> None:
    assert found.look.outcome is Outcome.RAN
    assert len(found.hypervisors) == HYPERVISORS
    assert sum(not one.answered for one in found.hypervisors) == missing
    assert [vm.oper_state for vm in found.vms] == ["paused"]


class _Ready(Agent):
    """Knows what will be asked, and has the answers."""

    MARK = 0x5A5A5A5A
    """Request ID of an answer that waits for its own."""

    def prepare(self) -> None:
        """Encode the answers to a look's questions."""
        asked = [Pdu(PduType.GET, self.MARK, tuple((name, NULL) for name in SCALARS))]
        for start in ((), (MAX_VARBINDS,)):  # a walk of 25 rows takes two steps
            names = (((*oids.VM_UUID, *start), NULL),)
            asked.append(Pdu(PduType.GET_BULK, self.MARK, names, 0, MAX_VARBINDS))
        self._ready = {_after_id(encode(self.community, pdu))[1]: self.answer(pdu) for pdu in asked}

    def datagram_received(self, data: bytes, addr: Any) -> None:
        number, rest = _after_id(data)
        answer = self._ready.get(rest)
        if answer is None:
            super().datagram_received(data, addr)
        elif self._transport is not None:
            mark = self.MARK.to_bytes(4, "big")
            self._transport.sendto(answer.replace(mark, number.rjust(4, b"\0"), 1), addr)


def _after_id(data: bytes) -> tuple[bytes, bytes]:
    """Request ID of a short message of SNMPv2c, and what follows it."""

    def inside(at: int) -> int:
        return at + 2 + (data[at + 1] & 0x7F if data[at + 1] >= 0x80 else 0)

    community = inside(0) + 3
    at = inside(community + 2 + data[community + 1])
    end = at + 2 + data[at + 1]
    return data[at + 2 : end], data[end:]


async def _serve() -> None:
    """Run all agents until the standard input ends: first the live ones, then the silent."""
    agents = [
        # The machine that is looked for is the first one of the last live hypervisor
        _Ready(
            hypervisor(
                {vm + 1: identity(number * 1000 + vm) for vm in range(VMS)},
                state=8 if number == HYPERVISORS - 1 else 4,
            )
        )
        for number in range(HYPERVISORS)
    ]
    for one in agents:
        one.prepare()
    silent = [Agent({}) for _ in range(DEAD)]
    for one in silent:
        one.silent = True
    for one in [*agents, *silent]:
        await one.start()
    print(*(one.port for one in [*agents, *silent]), flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, os.read, sys.stdin.fileno(), 1)
    for one in [*agents, *silent]:
        one.stop()


if __name__ == "__main__":
    asyncio.run(_serve())
