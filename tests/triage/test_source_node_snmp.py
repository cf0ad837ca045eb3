"""Looking for the nodes' machines: stand-in agents for rare things, real ones for the usual."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import libvirt_env
from tests.agent_process import AgentProcess
from tests.netsnmp import Snmpd, free_port, needs_netsnmp, wait_until
from tests.triage.snmp_agent import Agent, counter, hypervisor, identity, integer, text, ticks
from triage.evidence import (
    Anomaly,
    NodeState,
    Outcome,
    Trigger,
    VmAdminState,
    VmEvidence,
    VmNotification,
    VmOperState,
    Window,
)
from triage.snmp import oids
from triage.snmp.credentials import SnmpCredentials
from triage.snmp.index import MemoryIndex, Place
from triage.snmp.values import Oid, Value
from triage.sources.node_snmp import (
    HypervisorSettings,
    VmLooker,
    VmSettings,
    split_address,
)

WINDOW = Window(start=1000.0, end=2000.0)
ANOMALY = Anomaly(target="shop", trigger=Trigger.METRIC, time=1500.0, status=503)
PUBLIC = SnmpCredentials(community="public")


def configured(
    name: str, port: int, credentials: SnmpCredentials = PUBLIC, **more: Any
) -> HypervisorSettings:
    given: dict[str, Any] = {"timeout": 0.4, "retries": 1} | more
    return HypervisorSettings(
        name=name, address=f"127.0.0.1:{port}", credentials=credentials, **given
    )


def looker(*hypervisors: HypervisorSettings, **more: Any) -> VmLooker:
    return VmLooker(VmSettings(hypervisors=hypervisors, interval=0.02, patience=0.3), **more)


def node(one: uuid.UUID | str, name: str = "worker-1") -> NodeState:
    return NodeState(name=name, system_uuid=str(one))


async def look(looks: VmLooker, *nodes: NodeState) -> VmEvidence:
    """One look, which leaves nothing behind."""
    before = asyncio.all_tasks()
    found = await asyncio.wait_for(looks.look(nodes, WINDOW, ANOMALY), 20)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    return found


@contextlib.asynccontextmanager
async def agents(*contents: dict[Oid, Any]) -> AsyncIterator[list[Agent]]:
    running = [Agent(content) for content in contents]
    try:
        for one in running:
            await one.start()
        yield running
    finally:
        for one in running:
            one.stop()


def growing(step: int) -> Callable[[], Value]:
    numbers = itertools.count(10**6, step)
    return lambda: counter(next(numbers))


# What cannot be looked for


@pytest.mark.asyncio
async def test_nothing_configured_is_skipped() -> None:
    found = await look(looker(), node(identity(1)))
    assert found.look.outcome is Outcome.SKIPPED
    assert found.look.problems == ("no hypervisor is configured",)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reported", ["", "Not Specified", "0" * 32, str(uuid.UUID(int=2**128 - 1))]
)
async def test_a_node_without_identity_is_skipped(reported: str) -> None:
    found = await look(looker(configured("esx1", 1)), node(reported))
    assert found.look.outcome is Outcome.SKIPPED
    assert "worker-1: it reports no UUID" in found.look.problems[0]


@pytest.mark.parametrize(
    ("text_", "expected"),
    [
        ("192.0.2.1:1161", ("192.0.2.1", 1161)),
        ("esx1.example.com", ("esx1.example.com", 161)),
        ("[2001:db8::1]:1161", ("2001:db8::1", 1161)),
        ("[2001:db8::1]", ("2001:db8::1", 161)),
        ("2001:db8::1", ("2001:db8::1", 161)),
    ],
)
def test_addresses(text_: str, expected: tuple[str, int]) -> None:
    assert split_address(text_) == expected


@pytest.mark.parametrize("text_", ["", ":161", "esx1:0", "esx1:x", "esx1:70000"])
def test_bad_addresses(text_: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(text_)


# Finding


@pytest.mark.asyncio
async def test_found_among_several_in_either_byte_order() -> None:
    there = uuid.UUID("564d1234-5678-9abc-def0-123456789abc")
    seen_by_guest = uuid.UUID(bytes_le=there.bytes)
    async with agents(hypervisor({1: identity(1)}), hypervisor({7: there})) as (one, two):
        looks = looker(configured("esx1", one.port), configured("esx2", two.port))
        found = await look(looks, node(seen_by_guest))
    (machine,) = found.vms
    assert (machine.hypervisor, machine.vm_index, machine.name) == ("esx2", 7, "vm7")
    assert machine.uuid == str(there)
    assert machine.swapped
    assert found.look.outcome is Outcome.RAN
    assert found.missing == ()
    assert {one.name: one.answered for one in found.hypervisors} == {"esx1": True, "esx2": True}


@pytest.mark.asyncio
async def test_the_exact_byte_order_rules_out_the_swapped_one() -> None:
    exact = uuid.UUID("564d1234-5678-9abc-def0-123456789abc")
    async with agents(hypervisor({1: exact}), hypervisor({7: uuid.UUID(bytes_le=exact.bytes)})) as (
        one,
        two,
    ):
        looks = looker(configured("esx1", one.port), configured("esx2", two.port))
        found = await look(looks, node(str(exact).upper().replace("-", "")))
    assert [(machine.hypervisor, machine.swapped) for machine in found.vms] == [("esx1", False)]


@pytest.mark.asyncio
async def test_a_kept_place_is_asked_alone_and_checked() -> None:
    async with agents(hypervisor({3: identity(3)}), hypervisor({4: identity(4)})) as (one, two):
        index = MemoryIndex()
        looks = looker(configured("esx1", one.port), configured("esx2", two.port), index=index)
        assert (await look(looks, node(identity(3)))).vms[0].vm_index == 3
        assert index.get(str(identity(3))) == Place("esx1", 3)
        two.asked.clear()
        one.asked.clear()
        found = await look(looks, node(identity(3)))
        assert found.vms[0].hypervisor == "esx1"
        assert not two.asked
        # The agent numbered its machines anew
        one.values = hypervisor({1: identity(1), 9: identity(3), 3: identity(8)})
        assert (await look(looks, node(identity(3)))).vms[0].vm_index == 9
        # It is on the other one now
        one.values = hypervisor({3: identity(8)})
        two.values = hypervisor({4: identity(4), 5: identity(3)})
        found = await look(looks, node(identity(3)))
        assert [(vm.hypervisor, vm.vm_index) for vm in found.vms] == [("esx2", 5)]
        assert index.get(str(identity(3))) == Place("esx2", 5)


@pytest.mark.asyncio
async def test_missing_names_who_had_it_and_who_answered() -> None:
    async with agents(hypervisor({3: identity(3)}), hypervisor({4: None})) as (one, two):
        looks = looker(configured("esx1", one.port), configured("esx2", two.port))
        await look(looks, node(identity(3)))
        one.values = hypervisor({})
        found = await look(looks, node(identity(3)))
    assert found.vms == ()
    assert found.missing == ("worker-1",)
    assert found.last_known == {"worker-1": "esx1"}
    assert found.hypervisors[0].vm_number == 0
    assert "esx2: 1 machines show no UUID; it may be one of them" in found.look.problems
    assert "VM-MIB::vmNumber.0 = INTEGER: 0" in found.rows


@pytest.mark.asyncio
async def test_both_sides_of_a_migration_the_running_one_first() -> None:
    moving = identity(3)
    async with agents(hypervisor({3: moving}), hypervisor({4: identity(4)})) as (one, two):
        looks = looker(configured("esx1", one.port), configured("esx2", two.port))
        await look(looks, node(moving))
        one.values = hypervisor({3: moving}, state=11)
        two.values = hypervisor({8: moving})
        found = await look(looks, node(moving))
    assert [(vm.hypervisor, vm.oper_state) for vm in found.vms] == [
        ("esx2", VmOperState.RUNNING),
        ("esx1", VmOperState.SHUTDOWN),
    ]


@pytest.mark.asyncio
async def test_several_nodes_and_two_with_one_uuid() -> None:
    async with agents(hypervisor({1: identity(1), 2: identity(2)})) as (one,):
        found = await look(
            looker(configured("esx1", one.port)),
            node(identity(1), "a"),
            node(identity(2), "b"),
            node(identity(2), "b-again"),
            node(identity(9), "c"),
            node("?", "d"),
        )
    assert [(vm.node, vm.vm_index) for vm in found.vms] == [("a", 1), ("b", 2), ("b-again", 2)]
    assert found.missing == ("c",)
    assert found.look.problems[0].startswith("node d: it reports no UUID")


# Hypervisors that fail


@pytest.mark.asyncio
async def test_hypervisors_are_asked_at_once() -> None:
    """None answers before all were asked: one after the other, the first would be given up."""
    async with agents(*[hypervisor({number: identity(number)}) for number in range(1, 31)]) as all_:
        left = set(range(len(all_)))

        def asked(number: int) -> None:
            left.discard(number)
            if not left:
                for one in all_:
                    one.silent = False

        for number, one in enumerate(all_):
            one.silent = True
            one.on_asked = functools.partial(asked, number)
        settings = [
            configured(f"esx{n}", one.port, timeout=5.0, retries=49) for n, one in enumerate(all_)
        ]
        found = await look(looker(*settings), node(identity(7)))
    assert all(one.answered for one in found.hypervisors)
    assert [vm.hypervisor for vm in found.vms] == ["esx6"]


@pytest.mark.asyncio
async def test_silent_and_refusing_hypervisors_are_told_apart() -> None:
    async with agents(hypervisor({1: identity(1)}), *[hypervisor({})] * 8) as running:
        for one in running[1:]:
            one.silent = True
        settings = [configured(f"esx{n}", one.port) for n, one in enumerate(running)]
        looks = looker(*settings, configured("gone", free_port()))
        found = await look(looks, node(identity(1)))
    assert len(found.vms) == 1
    problems = {one.name: one.problem for one in found.hypervisors}
    assert problems["esx0"] == ""
    assert "no answer within 0.4 s" in problems["esx1"]
    assert "community is wrong" in problems["esx1"]
    assert "refused" in problems["gone"]
    assert [one.name for one in found.hypervisors if not one.silent] == ["esx0"]
    assert len(found.look.problems) == 9
    assert all(len(one.asked) == 0 for one in running[1:])


@pytest.mark.asyncio
async def test_nobody_answers_is_evidence_not_a_missing_machine() -> None:
    async with agents(hypervisor({1: identity(1)})) as (one,):
        looks = looker(configured("esx1", one.port))
        await look(looks, node(identity(1)))
        one.silent = True
        found = await look(looks, node(identity(1)))
    assert found.look.outcome is Outcome.RAN
    assert found.missing == ()
    assert found.last_known == {"worker-1": "esx1"}
    assert [one.answered for one in found.hypervisors] == [False]


@pytest.mark.asyncio
async def test_an_agent_without_vm_mib_has_not_answered() -> None:
    async with agents({oids.scalar(oids.SYS_UP_TIME): ticks(9)}) as (one,):
        found = await look(looker(configured("kvm1", one.port)), node(identity(1)))
    assert not found.hypervisors[0].answered
    assert not found.hypervisors[0].silent
    assert "shows no VM-MIB" in found.hypervisors[0].problem
    assert found.hypervisors[0].agent_up_seconds == 9
    assert found.missing == ()


@pytest.mark.asyncio
async def test_a_name_that_is_not_resolved_is_no_silence() -> None:
    nowhere = replace(configured("esx1", 161), address="no-such-host.invalid:161", timeout=5.0)
    found = await look(looker(nowhere), node(identity(1)))
    assert (found.hypervisors[0].answered, found.hypervisors[0].silent) == (False, False)
    assert "no-such-host.invalid" in found.hypervisors[0].problem


@pytest.mark.asyncio
async def test_who_stops_answering_is_not_silent() -> None:
    async with agents(hypervisor({1: identity(1)})) as (one,):

        def stop_at_the_walk() -> None:
            one.silent = len(one.asked) >= 1

        one.on_asked = stop_at_the_walk
        found = await look(looker(configured("esx1", one.port)), node(identity(1)))
    assert (found.hypervisors[0].answered, found.hypervisors[0].silent) == (False, False)
    assert "though it answered before" in found.hypervisors[0].problem


@pytest.mark.asyncio
async def test_check_asks_each_who_it_is_and_walks_none() -> None:
    bare = {oids.scalar(oids.SYS_UP_TIME): ticks(9)}
    async with agents(hypervisor({1: identity(1)}), bare, {}) as (one, two, three):
        three.silent = True
        looks = looker(
            *(configured(f"h{n}", each.port) for n, each in enumerate((one, two, three)))
        )
        first, second, third = await looks.check()
        assert (first.answered, first.software, first.vm_number) == (True, "QEMU 9.0", 1)
        assert (second.answered, second.silent) == (False, False)
        assert "shows no VM-MIB" in second.problem
        assert (third.answered, third.silent) == (False, True)
        assert len(one.asked) == 1


@pytest.mark.asyncio
async def test_a_walk_that_never_ends_and_one_without_end() -> None:
    many = hypervisor({number: identity(number) for number in range(1, 40)})
    async with agents(hypervisor({1: identity(1)}), many) as (one, two):
        one.endless = oids.VM_UUID
        looks = VmLooker(
            VmSettings(
                hypervisors=(configured("loop", one.port), configured("many", two.port)),
                max_vms=30,
            )
        )
        found = await look(looks, node(identity(99)))
    problems = {one.name: one.problem for one in found.hypervisors}
    assert "does not go forward" in problems["loop"]
    assert "more than 30 rows" in problems["many"]


@pytest.mark.asyncio
async def test_many_looks_at_once_share_one_walk() -> None:
    async with agents(hypervisor({1: identity(1)}), hypervisor({2: identity(2)})) as (one, two):
        two.silent = True
        looks = looker(configured("esx1", one.port), configured("esx2", two.port))
        found = await asyncio.gather(*[look_of(looks, identity(5)) for _ in range(50)])
        assert {each.missing for each in found} == {("worker-1",)}
        assert len(one.asked) <= 4


async def look_of(looks: VmLooker, one: uuid.UUID) -> VmEvidence:
    return await looks.look([node(one)], WINDOW, ANOMALY)


@pytest.mark.asyncio
async def test_a_cancelled_look_leaves_nothing() -> None:
    async with agents(hypervisor({1: identity(1)})) as (one,):
        one.silent = True
        looks = looker(configured("esx1", one.port, timeout=30.0))
        before = asyncio.all_tasks()
        task = asyncio.create_task(look_of(looks, identity(1)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(5):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


@pytest.mark.asyncio
async def test_settings_replaced_while_running() -> None:
    async with agents(hypervisor({1: identity(1)}), hypervisor({2: identity(2)})) as (one, two):
        looks = looker(configured("esx1", one.port))
        assert (await look(looks, node(identity(2)))).missing == ("worker-1",)
        looks.replace(
            VmSettings(hypervisors=(configured("esx1", two.port),), interval=0.02, patience=0.1)
        )
        assert (await look(looks, node(identity(2)))).vms[0].vm_index == 2
        looks.replace(VmSettings())
        assert (await look(looks, node(identity(2)))).look.outcome is Outcome.SKIPPED


@pytest.mark.asyncio
async def test_the_index_is_filled_in_the_background() -> None:
    async with agents(hypervisor({1: identity(1)}), hypervisor({2: identity(2)})) as (one, two):
        index = MemoryIndex()
        looks = looker(configured("esx1", one.port), configured("esx2", two.port), index=index)
        task = asyncio.create_task(looks.run())
        async with asyncio.timeout(10):
            while index.get(str(identity(2))) is None:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert index.get(str(identity(2))) == Place("esx2", 2)


# Reading


@pytest.mark.asyncio
async def test_a_paused_machine_is_told_at_once_with_its_rows() -> None:
    async with agents(hypervisor({3: identity(3)}, state=8)) as (one,):
        found = await look(looker(configured("esx1", one.port)), node(identity(3)))
    (machine,) = found.vms
    assert machine.oper_state is VmOperState.PAUSED
    assert machine.up_seconds == 2000
    assert machine.interval is None
    assert "VM-MIB::vmOperState.3 = INTEGER: paused(8)" in found.rows
    assert f"VM-MIB::vmUUID.3 = STRING: {identity(3)}" in found.rows
    assert "VM-MIB::vmHvUpTime.0 = Timeticks: (400000) 1:06:40.00" in found.rows
    assert found.hypervisors[0].table_changed_seconds == 1000
    assert found.look.problems == ()


@pytest.mark.asyncio
async def test_sparse_rows_are_none_not_zero() -> None:
    """ESX shows no CPU time and no counters."""
    async with agents(hypervisor({3: identity(3)}, software="VMware ESXi")) as (one,):
        found = await look(looker(configured("esx1", one.port)), node(identity(3)))
    (machine,) = found.vms
    assert machine.oper_state is VmOperState.RUNNING
    assert machine.admin_state is VmAdminState.RUNNING
    assert machine.cpu.vcpus == 2
    assert (machine.cpu.usage, machine.cpu.busiest, machine.cpu.host_load) == (None, None, None)
    assert (machine.disks, machine.nics) == ((), ())
    assert found.hypervisors[0].software == "VMware ESXi 9.0"
    assert found.look.problems == ()


def full(number: int, one: uuid.UUID) -> dict[Oid, Any]:
    """A machine with everything; its counters are live."""
    values: dict[Oid, Any] = dict(hypervisor({number: one}))
    values |= {
        (*oids.VM_CPU_TIME, number): growing(1500),
        (*oids.VM_CPU_CORE_TIME, number, 1): growing(1000),
        (*oids.VM_CPU_CORE_TIME, number, 2): growing(500),
        (*oids.VM_STORAGE_RESOURCE_ID, number, 1): text("/images/a.qcow2"),
        (*oids.VM_STORAGE_SIZE_UNIT, number, 1): integer(1024),
        (*oids.VM_STORAGE_DEFINED_SIZE, number, 1): integer(2048),
        (*oids.VM_STORAGE_ALLOCATED_SIZE, number, 1): integer(-1),
        (*oids.VM_STORAGE_READ_IOS, number, 1): growing(10),
        (*oids.VM_STORAGE_WRITE_IOS, number, 1): growing(0),
        (*oids.VM_STORAGE_READ_OCTETS, number, 1): growing(4096),
        (*oids.VM_STORAGE_WRITE_OCTETS, number, 1): growing(0),
        (*oids.VM_STORAGE_READ_LATENCY, number, 1): growing(50_000),
        (*oids.VM_STORAGE_WRITE_LATENCY, number, 1): growing(0),
        (*oids.VM_NETWORK_IF_INDEX, number, 1): integer(12),
        (*oids.VM_NETWORK_PHYS_ADDRESS, number, 1): text(bytes.fromhex("525400aabbcc")),
        (*oids.VM_NETWORK_IF_INDEX, number, 2): integer(0),
        (*oids.IF_DESCR, 12): text("vnet0"),
        (*oids.IF_ADMIN_STATUS, 12): integer(1),
        (*oids.IF_OPER_STATUS, 12): integer(2),
        (*oids.IF_LAST_CHANGE, 12): ticks(4900),
        (*oids.IF_IN_ERRORS, 12): growing(5),
        (*oids.HR_PROCESSOR_LOAD, 1): integer(90),
        (*oids.HR_PROCESSOR_LOAD, 2): integer(100),
    }
    return values


@pytest.mark.asyncio
async def test_everything_of_a_running_machine() -> None:
    async with agents(full(3, identity(3))) as (one,):
        looks = looker(configured("kvm1", one.port), clock=lambda: 10_000.0)
        found = await look(looks, node(identity(3)))
    (machine,) = found.vms
    assert machine.interval is not None
    assert machine.cpu.host_load == pytest.approx(0.95)
    assert machine.cpu.host_cpus == 2
    assert machine.cpu.usage == pytest.approx(1500e-6 / machine.interval / 2, rel=0.1)
    assert machine.cpu.busiest == pytest.approx(1000e-6 / machine.interval, rel=0.1)
    (disk,) = machine.disks
    assert disk.read_latency_ms == pytest.approx(5.0)
    assert disk.write_latency_ms is None
    assert disk.writes_per_s == 0
    assert (disk.capacity_octets, disk.allocated_octets) == (2 * 1024**2, None)
    tap, none = machine.nics
    assert (tap.if_index, tap.name, tap.mac) == (12, "vnet0", "52:54:00:aa:bb:cc")
    assert (tap.admin_up, tap.oper_up) == (True, False)
    assert tap.changed_at == 9900
    assert none.if_index is None
    assert none.oper_up is None
    assert "IF-MIB::ifOperStatus.12 = INTEGER: down(2)" in found.rows
    assert found.look.problems == ()


@pytest.mark.asyncio
async def test_counters_that_stand_still_give_no_rates_and_say_so() -> None:
    values = full(3, identity(3))
    values = {name: one() if callable(one) else one for name, one in values.items()}
    async with agents(values) as (one,):
        found = await look(looker(configured("kvm1", one.port)), node(identity(3)))
    (machine,) = found.vms
    assert machine.cpu.usage is None
    assert machine.disks[0].reads_per_s is None
    assert found.look.problems == ()  # an agent that polls slowly is as it should be
    assert found.rates_missing[0].startswith("kvm1, VM of worker-1: its counters did not change")


@pytest.mark.asyncio
async def test_a_reading_of_a_minute_ago_serves_when_counters_stand_still() -> None:
    values: dict[Oid, Any] = {
        name: one() if callable(one) else one for name, one in full(3, identity(3)).items()
    }
    now = 1000.0

    def clock() -> float:
        nonlocal now
        now += 0.01
        return now

    async with agents(values) as (one,):
        looks = looker(configured("kvm1", one.port), monotonic=clock)
        await look(looks, node(identity(3)))
        now += 100.0
        one.values[(*oids.VM_CPU_TIME, 3)] = counter(10**6 + 100 * 10**6)
        found = await look(looks, node(identity(3)))
    assert found.vms[0].cpu.usage == pytest.approx(0.5, rel=0.05)
    assert found.vms[0].disks[0].reads_per_s == 0


@pytest.mark.asyncio
async def test_a_machine_that_stops_while_it_is_read() -> None:
    values = full(3, identity(3))
    states = itertools.chain([4, 4], itertools.repeat(12))
    values[(*oids.VM_OPER_STATE, 3)] = lambda: integer(next(states))
    async with agents(values) as (one,):
        looks = looker(configured("kvm1", one.port))
        found = await look(looks, node(identity(3)))
    assert found.vms[0].oper_state is VmOperState.CRASHED


@pytest.mark.asyncio
async def test_the_host_is_asked_with_its_own_community() -> None:
    values = full(3, identity(3))
    host = {name: one for name, one in values.items() if name[:7] != oids.VM_MIB}
    mib = {name: one for name, one in values.items() if name[:7] == oids.VM_MIB}
    async with agents(mib) as (one,):
        both = Agent(host, community="host")
        looks = looker(
            configured("kvm1", one.port, host_credentials=SnmpCredentials(community="host"))
        )
        answer = one.datagram_received

        def either(data: bytes, addr: object) -> None:
            both._transport = one._transport
            answer(data, addr)
            both.datagram_received(data, addr)

        one.datagram_received = either  # type: ignore[method-assign]
        found = await look(looks, node(identity(3)))
    assert found.vms[0].nics[0].name == "vnet0"


# Notifications


class Received:
    listening_since = 500.0

    def __init__(self, *items: VmNotification) -> None:
        self.items = items

    def between(self, start: float, end: float) -> list[VmNotification]:
        return [one for one in self.items if start <= one.time <= end]


@pytest.mark.asyncio
async def test_notifications_of_the_machine_and_of_its_hypervisor() -> None:
    def note(time: float, name: str, **more: Any) -> VmNotification:
        return VmNotification(time=time, name=name, hypervisor="esx1", **more)

    mine = str(uuid.UUID(bytes_le=identity(3).bytes))
    received = Received(
        note(900, "vmPaused", uuid=mine),
        note(1100, "vmPaused", uuid=mine),
        note(1200, "vmPaused", uuid=str(identity(4))),
        note(1300, "coldStart"),
        note(1400, "vmBulkPaused", vm_index=3),
        note(1500, "vmBulkPaused", vm_index=4),
        replace(note(1600, "coldStart"), hypervisor="esx2"),
    )
    async with agents(hypervisor({3: identity(3)}, state=8)) as (one,):
        looks = looker(configured("esx1", one.port), notifications=received)
        found = await look(looks, node(identity(3)))
    assert [one.time for one in found.notifications] == [1100, 1300, 1400]
    assert found.listening_since == 500


# Real agents

AUTH = {"auth_protocol": "SHA-256", "auth_passphrase": "authenticate"}
V3 = {"user": "triage", "priv_protocol": "AES", "priv_passphrase": "encrypt-this"} | AUTH
XML = """<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>8</memory>
<vcpu>1</vcpu><os><type>hvm</type></os></domain>"""


class Real:
    """snmpd and the agent on two test hypervisors: contexts "" and "test-2"."""

    def __init__(self, snmpd: Snmpd, connection: Any) -> None:
        self.snmpd = snmpd
        self.connection = connection

    def hypervisor(self, **more: Any) -> HypervisorSettings:
        credentials = SnmpCredentials(**(V3 | more))
        return configured("kvm1", self.snmpd.port, credentials, timeout=1.0)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    libvirt = pytest.importorskip("libvirt")
    if libvirt_env.missing():
        pytest.skip(libvirt_env.missing())
    folder = tmp_path_factory.mktemp("real")
    conf = """
createUser triage SHA-256 authenticate AES encrypt-this
group usmpriv usm triage
access usmpriv "" usm priv exact all none none
access usmpriv test-2 usm priv exact all none none
"""
    with libvirt_env.private_libvirtd(folder / "lv") as daemon:
        other = libvirt_env.node_file(folder / "esx.xml", 10)
        with (
            Snmpd(folder, extra_conf=conf, contexts=["test-2"]) as snmpd,
            AgentProcess(folder, [daemon.test_uri, other], snmpd.agentx_socket),
        ):
            connection = libvirt.open(daemon.test_uri)
            wait_until(lambda: snmpd.walk("1.3.6.1.2.1.236.1.4.1.2"), 30, "the agent's rows")
            yield Real(snmpd, connection)
            connection.close()


@needs_netsnmp
@pytest.mark.asyncio
async def test_real_agent_v3_paused_resumed_destroyed_undefined(real: Real) -> None:
    domain = real.connection.defineXML(XML.format(name="n1", uuid=identity(77)))
    domain.create()
    looks = looker(real.hypervisor())

    async def until(condition: Callable[[VmEvidence], bool]) -> VmEvidence:
        async with asyncio.timeout(30):
            while True:
                found = await look(looks, node(identity(77)))
                if condition(found):
                    return found
                await asyncio.sleep(0.05)

    def state(wanted: VmOperState) -> Callable[[VmEvidence], bool]:
        return lambda found: bool(found.vms) and found.vms[0].oper_state is wanted

    try:
        found = await until(state(VmOperState.RUNNING))
        assert found.vms[0].name == "n1"
        assert found.hypervisors[0].answered
        domain.suspend()
        found = await until(state(VmOperState.PAUSED))
        assert any(row.endswith("= INTEGER: paused(8)") for row in found.rows)
        domain.resume()
        domain.destroy()
        await until(state(VmOperState.SHUTDOWN))
    finally:
        with contextlib.suppress(Exception):
            domain.destroy()
        domain.undefine()
    found = await until(lambda found: not found.vms)
    assert found.missing == ("worker-1",)
    assert found.last_known == {"worker-1": "kvm1"}


@needs_netsnmp
@pytest.mark.asyncio
async def test_real_agent_v3_contexts(real: Real) -> None:
    """Two hypervisors behind one address, told apart by context; a third does not exist."""
    there = uuid.uuid5(uuid.NAMESPACE_URL, "vm:vm0001")  # of the node file, running
    first = real.hypervisor()
    second = replace(first, name="kvm2", context="test-2")
    third = replace(first, name="kvm3", context="test-3")
    found = await look(looker(first, second, third), node(there))
    assert [(vm.hypervisor, vm.name) for vm in found.vms] == [("kvm2", "vm0001")]
    assert {one.name: one.answered for one in found.hypervisors} == {
        "kvm1": True,
        "kvm2": True,
        "kvm3": False,
    }
    assert "context" in found.hypervisors[2].problem
    assert found.hypervisors[1].agent_up_seconds is not None


@needs_netsnmp
@pytest.mark.asyncio
async def test_real_agent_v2c_community_of_a_context(real: Real) -> None:
    there = uuid.uuid5(uuid.NAMESPACE_URL, "vm:vm0003")
    settings = configured(
        "kvm2",
        real.snmpd.port,
        SnmpCredentials(community="test-2"),
        host_credentials=SnmpCredentials(community="public"),
    )
    found = await look(looker(settings), node(there))
    assert found.vms[0].oper_state is VmOperState.PAUSED
    assert found.look.problems == ()
    assert found.hypervisors[0].up_seconds is not None


@needs_netsnmp
@pytest.mark.asyncio
async def test_real_agent_wrong_community_and_the_right_one(real: Real) -> None:
    running = uuid.UUID(real.connection.lookupByName("test").UUIDString())
    right = configured("kvm1", real.snmpd.port)
    wrong = replace(right, name="kvm2", credentials=SnmpCredentials(community="nosuch"))
    found = await look(looker(right, wrong), node(running))
    assert [vm.hypervisor for vm in found.vms] == ["kvm1"]
    assert not found.hypervisors[1].answered
    assert "community is wrong" in found.hypervisors[1].problem
    assert "nosuch" not in str(found)


@needs_netsnmp
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"user": "nobody"}, "knows no user nobody"),
        ({"auth_passphrase": "not-this-one"}, "wrong auth_passphrase"),
        ({"priv_passphrase": "not-this-one"}, "wrong priv_passphrase"),
        ({"auth_protocol": "SHA"}, "wrong auth_passphrase or auth_protocol"),
    ],
)
async def test_real_agent_v3_refusals(real: Real, wrong: dict[str, str], line: str) -> None:
    found = await look(looker(real.hypervisor(**wrong)), node(identity(1)))
    (answer,) = found.hypervisors
    assert (answer.answered, answer.silent) == (False, False)
    assert line in answer.problem
    assert "not-this-one" not in str(found)
    assert found.missing == ()


@needs_netsnmp
@pytest.mark.asyncio
async def test_a_real_guest_its_tap_its_disk_and_its_rates(tmp_path: Path) -> None:
    """QEMU: live counters, a disk, and a tap that is taken down on the host."""
    libvirt = pytest.importorskip("libvirt")
    if libvirt_env.missing() or shutil.which("ip") is None:
        pytest.skip(libvirt_env.missing() or "no ip")
    image = libvirt_env.make_image(tmp_path / "disk.qcow2")
    with libvirt_env.private_libvirtd(tmp_path / "lv") as daemon:
        connection = libvirt.open(daemon.uri)
        domain = connection.createXML(
            libvirt_env.qemu_domain("guest", disks={"vda": image}, nic=True)
        )
        flags = ("--poll-interval", "200ms")
        with (
            Snmpd(tmp_path) as snmpd,
            AgentProcess(tmp_path, [daemon.uri], snmpd.agentx_socket, *flags),
        ):
            looks = VmLooker(
                VmSettings(
                    hypervisors=(configured("kvm1", snmpd.port, timeout=2.0),),
                    interval=0.1,
                    patience=10.0,
                )
            )
            there = node(domain.UUIDString())

            async def until(condition: Callable[[VmEvidence], object]) -> VmEvidence:
                async with asyncio.timeout(40):
                    while not condition(found := await look(looks, there)):
                        await asyncio.sleep(0.05)
                return found

            found = await until(lambda one: one.vms and one.vms[0].nics and one.vms[0].nics[0].name)
            (machine,) = found.vms
            tap = machine.nics[0].name
            assert f"<target dev='{tap}'/>" in domain.XMLDesc()
            assert machine.nics[0].mac.startswith("52:54:00:")
            assert machine.nics[0].admin_up is True
            assert machine.cpu.usage is not None
            assert 0 <= machine.cpu.usage <= 1
            assert machine.disks[0].name.endswith("disk.qcow2")
            assert machine.disks[0].capacity_octets == 16 * 1024**2
            subprocess.run(["ip", "link", "set", tap, "down"], check=True)
            found = await until(lambda one: one.vms[0].nics[0].admin_up is False)
            assert any("IF-MIB::ifAdminStatus" in row and "down(2)" in row for row in found.rows)
            domain.destroy()
            found = await until(lambda one: not one.vms)
            assert found.missing == ("worker-1",)
        connection.close()
