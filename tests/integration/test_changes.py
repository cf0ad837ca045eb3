"""Changes on a shared hypervisor: notifications, switches, masters and libvirtd that fail."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import libvirt
import pytest

from tests import libvirt_env
from tests.agent_process import AgentProcess
from tests.integration.test_walk import MIB, names_and_indexes, octets, text, wait_for_vms
from tests.netsnmp import Snmpd, Snmptrapd, Trap, needs_netsnmp, wait_until

pytestmark = [
    needs_netsnmp,
    pytest.mark.skipif(bool(libvirt_env.missing()), reason=libvirt_env.missing() or "-"),
]

VM_NAME, VM_UUID, VM_OPER, VM_PERSISTENT = (f"{MIB}.1.4.1.{n}" for n in (2, 3, 6, 8))
PER_VM, BULK = f"{MIB}.1.9.0", f"{MIB}.1.10.0"

XML = """<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>8</memory>
<vcpu>1</vcpu><os><type>hvm</type></os></domain>"""


def xml(name: str) -> str:
    return XML.format(name=name, uuid=uuid.uuid5(uuid.NAMESPACE_DNS, name))


class Bench(NamedTuple):
    daemon: libvirt_env.PrivateLibvirtd
    snmpd: Snmpd
    trapd: Snmptrapd
    agent: AgentProcess
    libvirt: Any
    test: Any
    """The domain that the test hypervisor begins with."""

    def changes(self) -> list[tuple[str, int, str]]:
        """Notifications so far: VM, number below vmNotifications, state before."""
        return [
            (text(trap.value(VM_NAME)), number(trap), trap.value(VM_OPER))
            for trap in self.trapd.received()
            if 1 <= number(trap) <= 10
        ]

    def await_changes(self, *expected: tuple[str, int, str]) -> None:
        """Wait for these, and have them be all."""
        try:
            wait_until(lambda: len(self.changes()) >= len(expected), 15)
        finally:
            assert self.changes() == list(expected)

    def state(self, name: str) -> str:
        """The vmOperState of a VM."""
        (index,) = [i for i, n in names_and_indexes(self.snmpd).items() if n == name]
        return self.snmpd.get(f"{VM_OPER}.{index}")[0].value


def number(trap: Trap) -> int:
    prefix = f".{MIB}.0."
    return int(trap.oid.removeprefix(prefix)) if trap.oid.startswith(prefix) else 0


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[libvirt_env.PrivateLibvirtd]:
    with libvirt_env.private_libvirtd(tmp_path_factory.mktemp("lv")) as daemon:
        yield daemon


@pytest.fixture
def bench(
    tmp_path: Path, libvirtd: libvirt_env.PrivateLibvirtd, request: pytest.FixtureRequest
) -> Iterator[Bench]:
    """Everything, the test hypervisor as it is when new; flags of the agent by a marker."""
    flags = getattr(request, "param", ())
    connection = libvirt.open(libvirtd.test_uri)
    domain = connection.lookupByName("test")
    try:
        with (
            Snmptrapd(tmp_path) as trapd,
            Snmpd(tmp_path, traps_to=trapd) as snmpd,
            AgentProcess(tmp_path, [libvirtd.test_uri], snmpd.agentx_socket, *flags) as agent,
        ):
            wait_for_vms(snmpd, 1)
            yield Bench(libvirtd, snmpd, trapd, agent, connection, domain)
    finally:
        for each in connection.listAllDomains():
            if each.name() != "test":
                persistent = each.isPersistent()
                if each.isActive():
                    each.destroy()
                if persistent:
                    each.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        if not domain.isActive():
            domain.create()
        elif domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
            domain.resume()
        connection.close()


def test_suspend_resume_stop_start(bench: Bench) -> None:
    bench.test.suspend()
    bench.await_changes(("test", 4, "4"))
    assert bench.state("test") == "8"
    bench.test.resume()
    bench.test.destroy()
    bench.await_changes(("test", 4, "4"), ("test", 1, "8"), ("test", 3, "4"))
    assert bench.state("test") == "11"
    bench.test.create()
    bench.await_changes(("test", 4, "4"), ("test", 1, "8"), ("test", 3, "4"), ("test", 1, "11"))
    traps = [trap for trap in bench.trapd.received() if number(trap)]
    identity = uuid.UUID(bench.test.UUIDString()).bytes
    for trap in traps:
        assert [line.oid for line in trap.lines[:2]] == [
            ".1.3.6.1.2.1.1.3.0",
            ".1.3.6.1.6.3.1.1.4.1.0",
        ]
        assert octets(trap.value(VM_UUID)) == identity


def test_define_start_save_restore_undefine(bench: Bench, tmp_path: Path) -> None:
    made = bench.libvirt.defineXML(xml("made"))
    wait_for_vms(bench.snmpd, 2)
    changed = bench.snmpd.get(f"{MIB}.1.3.0")[0]
    assert int(changed.value) > 0
    made.create()
    bench.await_changes(("made", 1, "11"))
    made.managedSave()
    bench.await_changes(("made", 1, "11"), ("made", 6, "4"))
    assert bench.state("made") == "6"
    made.create()
    bench.await_changes(("made", 1, "11"), ("made", 6, "4"), ("made", 1, "6"))
    made.destroy()
    made.undefine()
    expected = [("made", 1, "11"), ("made", 6, "4"), ("made", 1, "6"), ("made", 3, "4")]
    bench.await_changes(*expected, ("made", 10, "11"))
    deleted = bench.trapd.received()[-1]
    assert deleted.value(VM_PERSISTENT) == "2"
    assert names_and_indexes(bench.snmpd) == {"1": "test"}


def test_transient_vm_is_shut_down_and_deleted(bench: Bench) -> None:
    made = bench.libvirt.createXML(xml("passing"))
    wait_until(lambda: len(bench.changes()) >= 1)
    made.destroy()
    wait_until(lambda: len(bench.changes()) >= 3)
    started, stopped, deleted = bench.changes()
    assert started[:2] == ("passing", 1)
    assert started[2] in ("1", "3")
    assert stopped == ("passing", 3, "4")
    assert deleted == ("passing", 10, "11")
    assert bench.trapd.received()[-1].value(VM_PERSISTENT) == "3"


def test_rename_keeps_the_index(bench: Bench) -> None:
    made = bench.libvirt.defineXML(xml("before"))
    wait_for_vms(bench.snmpd, 2)
    before = names_and_indexes(bench.snmpd)
    made.rename("after")
    wait_until(lambda: "after" in names_and_indexes(bench.snmpd).values(), 15)
    after = names_and_indexes(bench.snmpd)
    assert after == {i: "after" if n == "before" else n for i, n in before.items()}
    assert bench.changes() == []


def test_switches(bench: Bench) -> None:
    assert bench.snmpd.set(PER_VM, "i", "2", BULK, "i", "1").returncode == 0
    made = [bench.libvirt.createXML(xml(f"bulk{n}")) for n in range(9)]
    wait_for_vms(bench.snmpd, 10)
    bench.trapd.notifications(1, oid=f"{MIB}.0.11")
    for each in made:
        each.destroy()

    def affected(kind: int) -> set[int]:
        """Every vmIndex in notifications of a kind."""
        found = set()
        for trap in bench.trapd.received():
            if number(trap) == kind:
                bits = "".join(f"{o:08b}" for o in octets(trap.value(f"{MIB}.1.11.0")))
                found |= {place for place, bit in enumerate(bits, 1) if bit == "1"}
        return found

    for kind in (11, 13, 20):
        wait_until(lambda kind=kind: affected(kind) == set(range(2, 11)), 15, f"bulk {kind}")
    assert bench.changes() == [], "per VM is switched off"
    for trap in bench.trapd.received():
        if number(trap):
            assert len(trap.lines) == 3, "vmAffectedVMs is the only object"


@pytest.mark.parametrize(
    ("triples", "reason"),
    [
        ((PER_VM, "i", "0"), "wrongValue"),
        ((PER_VM, "i", "3"), "wrongValue"),
        ((PER_VM, "s", "true"), "wrongType"),
        ((BULK, "u", "1"), "wrongType"),
        ((f"{MIB}.1.2.0", "i", "7"), "notWritable"),
        ((f"{MIB}.1.4.1.2.1", "s", "x"), "notWritable"),
        ((f"{MIB}.1.9.1", "i", "1"), "noCreation"),
        ((PER_VM, "i", "2", BULK, "i", "5"), "wrongValue"),
        ((PER_VM, "i", "2", f"{MIB}.1.2.0", "i", "5"), "notWritable"),
    ],
)
def test_refused_sets_change_nothing(bench: Bench, triples: tuple[str, ...], reason: str) -> None:
    done = bench.snmpd.set(*triples)
    assert reason in done.stderr
    assert [line.value for line in bench.snmpd.get(PER_VM, BULK)] == ["1", "2"]


def test_a_set_does_not_outlive_the_agent(bench: Bench) -> None:
    bench.snmpd.set(PER_VM, "i", "2")
    assert bench.snmpd.get(PER_VM)[0].value == "2"
    assert bench.agent.stop() == 0
    bench.agent.start()
    wait_for_vms(bench.snmpd, 1)
    assert bench.snmpd.get(PER_VM)[0].value == "1"


def test_a_change_that_the_agent_slept_through_is_told_once(bench: Bench) -> None:
    made = bench.libvirt.defineXML(xml("left"))
    wait_for_vms(bench.snmpd, 2)
    made.create()
    bench.await_changes(("left", 1, "11"))
    bench.agent.stop()
    made.destroy()
    bench.test.suspend()
    bench.agent.start()
    wait_until(lambda: len(bench.changes()) >= 3)
    assert sorted(bench.changes()[1:]) == [("left", 3, "4"), ("test", 4, "4")]
    bench.test.resume()
    wait_until(lambda: len(bench.changes()) >= 4)
    assert bench.changes()[3:] == [("test", 1, "8")]


def test_snmpd_killed_and_started_again(bench: Bench) -> None:
    bench.snmpd.kill()
    bench.agent.wait_logged("agentx_lost")
    bench.test.suspend()
    bench.agent.wait_logged("vm_changed")
    bench.snmpd.start()
    bench.await_changes(("test", 4, "4"))
    wait_for_vms(bench.snmpd, 1)
    bench.test.resume()
    bench.await_changes(("test", 4, "4"), ("test", 1, "8"))


def test_snmpd_that_hangs_is_left_and_found_again(bench: Bench) -> None:
    bench.snmpd.pause()
    bench.test.suspend()
    bench.agent.wait_logged("vm_changed")
    bench.snmpd.resume()
    bench.await_changes(("test", 4, "4"))


def test_walks_while_vms_come_and_go(bench: Bench) -> None:
    for turn in range(8):
        made = [bench.libvirt.createXML(xml(f"t{turn}-{n}")) for n in range(6)]
        lines = bench.snmpd.walk(MIB, bulk=turn % 2 == 0)
        oids = [tuple(map(int, line.oid[1:].split("."))) for line in lines]
        assert oids == sorted(set(oids))
        for each in made:
            each.destroy()
    wait_for_vms(bench.snmpd, 1)


# libvirtd is ended in these: each has one of its own


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Bench]:
    directory = tmp_path / "lv"
    directory.mkdir()
    with (
        libvirt_env.private_libvirtd(directory) as daemon,
        Snmptrapd(tmp_path) as trapd,
        Snmpd(tmp_path, traps_to=trapd) as snmpd,
        AgentProcess(tmp_path, [daemon.uri], snmpd.agentx_socket, "--poll-interval", "1s") as agent,
    ):
        connection = libvirt.open(daemon.uri)
        domain = connection.defineXML(libvirt_env.qemu_domain("guest"))
        domain.create()
        wait_for_vms(snmpd, 1)
        yield Bench(daemon, snmpd, trapd, agent, connection, domain)


def test_libvirtd_killed_and_started_again(own: Bench) -> None:
    wait_until(lambda: own.state("guest") == "4", 15)
    before = own.changes()
    own.daemon.kill()
    wait_until(lambda: own.state("guest") == "1", 15)
    own.daemon.start()
    wait_until(lambda: own.state("guest") == "4", 30)
    assert own.changes() == before, "silence is no change"

    own.daemon.kill()
    wait_until(lambda: own.state("guest") == "1", 15)
    os.kill(int((own.daemon.folder / "run/qemu/guest.pid").read_text()), signal.SIGKILL)
    own.daemon.start()
    wait_until(lambda: own.state("guest") in ("11", "12"), 30)
    (change,) = own.changes()[len(before) :]
    assert change in (("guest", 9, "4"), ("guest", 3, "4"))
