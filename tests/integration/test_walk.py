"""The agent on a generated hypervisor, asked through a real snmpd."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET  # of our own libvirt's making

import libvirt
import pytest

from tests import libvirt_env
from tests.agent_process import AgentProcess
from tests.netsnmp import Line, Snmpd, needs_netsnmp, wait_until

pytestmark = needs_netsnmp

MIB = "1.3.6.1.2.1.236"
COUNT = 20


class Served(NamedTuple):
    uri: str
    snmpd: Snmpd
    lines: list[Line]
    found: dict[tuple[int, ...], str]
    """Values by name below vmObjects."""


def numbers(oid: str) -> tuple[int, ...]:
    return tuple(int(arc) for arc in oid.lstrip(".").split("."))


def below_objects(lines: list[Line]) -> dict[tuple[int, ...], str]:
    return {numbers(line.oid)[8:]: line.value for line in lines}


def text(value: str) -> str:
    return value.removeprefix('"').removesuffix('"')


def octets(value: str) -> bytes:
    return bytes.fromhex(value.replace(" ", "").replace("\n", ""))


def wait_for_vms(snmpd: Snmpd, count: int, context: str = "") -> None:
    """Wait until vmNumber is `count`."""

    def shown() -> bool:
        return any(line.value == str(count) for line in snmpd.get(f"{MIB}.1.2.0", context=context))

    wait_until(shown, 20, f"vmNumber {count}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("walk")
    uri = libvirt_env.node_file(directory / "node.xml", COUNT)
    with (
        Snmpd(directory) as snmpd,
        # One refresh, so that the walk and the values compared with it are of one moment
        AgentProcess(directory, [uri], snmpd.agentx_socket, "--poll-interval", "1h"),
    ):
        wait_for_vms(snmpd, COUNT)
        lines = snmpd.walk(MIB)
        yield Served(uri, snmpd, lines, below_objects(lines))


class Domain(NamedTuple):
    index: int
    domain: Any
    xml: ET.Element


@pytest.fixture(scope="module")
def domains(served: Served) -> Iterator[list[Domain]]:
    connection = libvirt.open(served.uri)
    found = []
    for name, value in served.found.items():
        if name[:3] == (4, 1, 3):
            identity = uuid.UUID(bytes=octets(value))
            domain = connection.lookupByUUIDString(str(identity))
            found.append(Domain(name[3], domain, ET.fromstring(domain.XMLDesc())))  # noqa: S314
    assert len(found) == COUNT
    yield found
    connection.close()


# The order of things


def test_walk_ascends_and_every_instance_answers_a_get(served: Served) -> None:
    names = [numbers(line.oid) for line in served.lines]
    assert names == sorted(set(names))
    running = {(1, 4), (4, 1, 16)}  # the clocks
    again: list[Line] = []
    oids = [line.oid for line in served.lines]
    for start in range(0, len(oids), 50):
        again += served.snmpd.get(*oids[start : start + 50])
    for line, other in zip(served.lines, again, strict=True):
        if numbers(line.oid)[8:-1] in running:
            assert int(other.value) >= int(line.value)
        else:
            assert other == line


def test_bulk_walk_is_the_same_walk(served: Served) -> None:
    bulk = served.snmpd.walk(MIB, bulk=True)
    assert [line.oid for line in bulk] == [line.oid for line in served.lines]


def test_indexes_do_not_appear(served: Served) -> None:
    hidden = {(4, 1), (5, 1), (6, 1), (6, 2), (7, 1), (7, 2), (8, 1)}
    assert not {(name[0], name[2]) for name in served.found if len(name) > 2} & hidden


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("1.2.1", "No Such Instance"),
        ("1.4.1.2.9999", "No Such Instance"),
        ("1.4.1.1.1", "No Such Object"),
        ("1.4.1.99.1", "No Such Object"),
        ("1.11.0", "No Such Object"),
        ("3.1", "No Such Object"),
    ],
)
def test_what_is_missing_is_said_as_what_it_is(served: Served, name: str, kind: str) -> None:
    (line,) = served.snmpd.get(f"{MIB}.{name}")
    assert line.type.startswith(kind)


def test_multi_column_bulk_is_in_step(served: Served) -> None:
    columns = [f"{MIB}.1.4.1.{number}" for number in range(2, 18)]
    lines = served.snmpd.get_bulk(*columns, repetitions=6)
    assert len(lines) == 16 * 6
    walked = [line.oid for line in served.lines]
    expected = [f".{column}.{row}" for row in range(1, 7) for column in columns]
    assert [line.oid for line in lines] == expected
    assert set(expected) <= set(walked)


# The values, against libvirt's own answers


def test_hypervisor(served: Served) -> None:
    found = served.found
    assert text(found[1, 1, 0])
    assert found[1, 3, 0].startswith(".1.3.6.1.4.1.")
    assert found[2, 0] == str(COUNT)
    assert found[3, 0] == "0"
    assert (found[9, 0], found[10, 0]) == ("1", "2")


STATES = {
    # libvirt's state: (vmOperState, vmAdminState)
    libvirt.VIR_DOMAIN_RUNNING: ("4", "1"),
    libvirt.VIR_DOMAIN_BLOCKED: ("4", "1"),
    libvirt.VIR_DOMAIN_PAUSED: ("8", "3"),
    libvirt.VIR_DOMAIN_SHUTDOWN: ("10", "4"),
    libvirt.VIR_DOMAIN_PMSUSPENDED: ("8", "3"),
}


def test_states(served: Served, domains: list[Domain]) -> None:
    seen = set()
    for index, domain, _ in domains:
        state = domain.state()[0]
        oper, admin = served.found[4, 1, 6, index], served.found[4, 1, 5, index]
        seen.add(oper)
        if state == libvirt.VIR_DOMAIN_NOSTATE:
            assert oper == "1"
        elif state == libvirt.VIR_DOMAIN_CRASHED:
            assert oper == "12"
        elif state == libvirt.VIR_DOMAIN_SHUTOFF:
            saved = domain.hasManagedSaveImage()
            assert (oper, admin) == (("6", "2") if saved else ("11", "4"))
        else:
            assert (oper, admin) == STATES[state]
    assert seen == {"1", "4", "6", "8", "10", "11", "12"}


def test_vm_values(served: Served, domains: list[Domain]) -> None:
    found = served.found
    for index, domain, xml in domains:
        row = {number: found[4, 1, number, index] for number in range(2, 18)}
        info = domain.info()
        off = domain.state()[0] == libvirt.VIR_DOMAIN_SHUTOFF
        assert text(row[2]) == domain.name()
        assert text(row[4])
        assert row[7] == ("2" if domain.isPersistent() and domain.autostart() else "3")
        assert row[8] == ("2" if domain.isPersistent() else "3")
        assert int(row[9]) == info[3]
        assert row[10] == "-1"
        assert row[11] == xml.findtext("vcpu")
        assert row[12] == "1024"
        assert (int(row[13]), int(row[15])) == (info[2], info[1])
        assert row[14] == xml.findtext("memtune/min_guarantee")
        assert (int(row[17]) == 0) == off
        assert 0 <= int(row[17]) <= info[4] // 1000
        if row[5] == "4":
            assert row[16] == "0"


def test_cpus(served: Served, domains: list[Domain]) -> None:
    found = served.found
    for index, domain, _ in domains:
        count = domain.info()[3]
        rows = [name[4] for name in found if name[:4] == (5, 1, 2, index)]
        assert rows == list(range(1, count + 1))
        affinity = {
            name[4:]: value for name, value in found.items() if name[:4] == (6, 1, 3, index)
        }
        expected = {
            (cpu + 1, 196608 + place): "1" if enabled else "2"
            for cpu, places in enumerate(domain.vcpuPinInfo())
            for place, enabled in enumerate(places)
        }
        assert affinity == expected


SOURCE_TYPES = {"vda": "5", "vdb": "3", "vdc": "6", "hda": "1"}


class Storage(NamedTuple):
    domain: Any
    device: str
    source: dict[str, str]
    bus: str
    row: dict[int, str]
    """Values by column."""

    @property
    def off(self) -> bool:
        return bool(self.domain.state()[0] == libvirt.VIR_DOMAIN_SHUTOFF)


@pytest.fixture(scope="module")
def storages(served: Served, domains: list[Domain]) -> list[Storage]:
    made = []
    for index, domain, xml in domains:
        disks = xml.findall("devices/disk")
        shown = [name[4] for name in served.found if name[:4] == (7, 1, 6, index)]
        assert shown == list(range(1, len(disks) + 1))
        for number, disk in enumerate(disks, 1):
            target, source = disk.find("target"), disk.find("source")
            assert target is not None
            row = {c: served.found[7, 1, c, index, number] for c in range(3, 19)}
            attributes = {} if source is None else source.attrib
            made.append(
                Storage(domain, target.get("dev", ""), attributes, target.get("bus", ""), row)
            )
    return made


def test_storage_kinds(storages: list[Storage]) -> None:
    for storage in storages:
        row, source = storage.row, storage.source
        resource = text(row[6])
        if source:
            assert (source.get("file") or source.get("dev") or source.get("name", "?")) in resource
            assert row[4] == SOURCE_TYPES[storage.device]
        else:
            assert resource == ""
        assert row[3] == "0"
        assert row[7] == ("3" if storage.device == "hda" else "2")
        assert row[8] == ("4" if storage.device == "hda" else "3")
        assert text(row[9]) == storage.bus


def test_storage_sizes(storages: list[Storage]) -> None:
    for storage in storages:
        row = storage.row
        if not storage.source or (storage.off and row[4] == "6"):
            # An empty drive; a network volume that nobody opens to measure it
            assert row[11] == row[12] == "-1"
            continue
        capacity, allocation, _ = storage.domain.blockInfo(storage.device)
        if row[4] in ("3", "4"):
            allocation = capacity
        unit = int(row[10])
        for shown, true in [(row[11], capacity), (row[12], allocation)]:
            assert 0 <= int(shown) * unit - true < unit


def test_storage_counters(storages: list[Storage]) -> None:
    for storage in storages:
        counters = [int(storage.row[column]) for column in (13, 15, 14, 16)]
        if storage.off:
            assert counters == [0, 0, 0, 0]
        elif storage.source:
            limits = storage.domain.blockStats(storage.device)[:4]
            assert all(0 < c <= limit for c, limit in zip(counters, limits, strict=True))
        assert storage.row[17] == storage.row[18] == "0", "the test driver's requests take no time"


def test_network(served: Served, domains: list[Domain]) -> None:
    found = served.found
    for index, _, xml in domains:
        (mac,) = (nic.get("address", "") for nic in xml.findall("devices/interface/mac"))
        assert octets(found[8, 1, 5, index, 1]) == bytes.fromhex(mac.replace(":", ""))
        assert text(found[8, 1, 4, index, 1]) == "virtio"
        # The test driver's taps exist in its imagination only
        assert (found[8, 1, 2, index, 1], found[8, 1, 3, index, 1]) == ("0", "0")


# Restarts


def names_and_indexes(snmpd: Snmpd) -> dict[str, str]:
    return {line.oid.rpartition(".")[2]: text(line.value) for line in snmpd.walk(f"{MIB}.1.4.1.2")}


def test_indexes_survive_the_agent(tmp_path: Path) -> None:
    node = tmp_path / "node.xml"
    domains = [libvirt_env.node_domain(f"vm{n}", number=n) for n in range(5)]
    uri = libvirt_env.node_of(node, domains)
    with Snmpd(tmp_path) as snmpd:
        with AgentProcess(tmp_path, [uri], snmpd.agentx_socket) as agent:
            wait_for_vms(snmpd, 5)
            first = names_and_indexes(snmpd)
            agent.wait_logged("hypervisor_answers")
        libvirt_env.node_of(node, [libvirt_env.node_domain("early"), *domains[:1], *domains[2:]])
        with AgentProcess(tmp_path, [uri], snmpd.agentx_socket):
            wait_for_vms(snmpd, 5)
            second = names_and_indexes(snmpd)
        (tmp_path / "state" / "test.json").write_bytes(b'{"uri": ')
        with AgentProcess(tmp_path, [uri], snmpd.agentx_socket) as agent:
            wait_for_vms(snmpd, 5)
            assert agent.logged("state_file_damaged") == 1
    assert first == {str(n + 1): f"vm{n}" for n in range(5)}
    (gone,) = first.keys() - second.keys()
    assert first[gone] == "vm1"
    assert second.pop("6") == "early"
    assert second == {index: name for index, name in first.items() if index != gone}


def test_capability_is_listed(served: Served) -> None:
    rows = served.snmpd.walk("1.3.6.1.2.1.1.9.1")
    assert any(line.value == f".{MIB}" for line in rows)
    assert any("RFC 7666" in line.value for line in rows)
