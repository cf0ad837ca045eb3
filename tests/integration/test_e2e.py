"""The slow scenarios of `make e2e`: a migration between two hosts, and rough times."""

from __future__ import annotations

import os
import random
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests import libvirt_env
from tests.integration.test_changes import number, xml
from tests.integration.test_fleet import agent_of, config
from tests.integration.test_walk import MIB, names_and_indexes, text, wait_for_vms
from tests.netsnmp import Snmpd, Snmptrapd, free_port, needs_netsnmp, wait_until

pytestmark = [
    pytest.mark.e2e,
    needs_netsnmp,
    pytest.mark.skipif(bool(libvirt_env.missing()), reason=libvirt_env.missing() or "-"),
]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[libvirt_env.PrivateLibvirtd]]:
    """Two libvirtds that take themselves for two machines."""
    made = []
    try:
        for name in ("l1", "l2"):
            (tmp_path / name).mkdir()
            daemon = libvirt_env.PrivateLibvirtd(tmp_path / name)
            with (daemon.folder / "libvirtd.conf").open("a") as file:
                file.write(f'host_uuid = "{uuid.uuid4()}"\n')
            daemon.start()
            made.append(daemon)
        yield made
    finally:
        for daemon in made:
            daemon.stop()


def test_a_migration_is_seen_on_both_hosts(
    tmp_path: Path, hosts: list[libvirt_env.PrivateLibvirtd]
) -> None:
    with (
        Snmptrapd(tmp_path) as trapd,
        Snmpd(tmp_path, contexts=["b"], traps_to=trapd) as snmpd,
    ):
        rows = [
            f'uri = "{daemon.uri}"\nname = "{name}"\npoll_interval = 0.5'
            for daemon, name in zip(hosts, ("a", "b"), strict=True)
        ]
        file = config(tmp_path / "vmmib.toml", snmpd.agentx_socket, *rows)
        with agent_of(tmp_path, file) as agent:
            agent.wait_logged("hypervisor_answers", count=2)
            source, target = (libvirt.open(daemon.uri) for daemon in hosts)
            guest = source.createXML(libvirt_env.qemu_domain("wanderer"))
            wait_for_vms(snmpd, 1)
            wait_until(lambda: _oper(snmpd, "wanderer") == "4", 15)
            guest.migrate3(
                target,
                {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://127.0.0.1:{free_port()}"},
                libvirt.VIR_MIGRATE_LIVE,
            )
            wait_for_vms(snmpd, 1, context="b")
            wait_until(lambda: _oper(snmpd, "wanderer", "b") == "4", 15)
            wait_for_vms(snmpd, 0)
            wait_until(lambda: (10, "wanderer") in _told(trapd), 10)
            told = [kind for kind, _ in _told(trapd)]
            assert 8 in told, "vmMigrating"
            assert told.count(10) == 1, "deleted where it was, once"
            assert 9 not in told, "nothing crashed"
            target.lookupByName("wanderer").destroy()
            source.close()
            target.close()


def _told(trapd: Snmptrapd) -> list[tuple[int, str]]:
    return [
        (number(trap), text(trap.value(f"{MIB}.1.4.1.2")))
        for trap in trapd.received()
        if number(trap)
    ]


def _oper(snmpd: Snmpd, name: str, context: str = "") -> str:
    for line in snmpd.walk(f"{MIB}.1.4.1.2", context=context):
        if text(line.value) == name:
            index = line.oid.rpartition(".")[2]
            return snmpd.get(f"{MIB}.1.4.1.6.{index}", context=context)[0].value
    return ""


def _figures(pid: int) -> tuple[int, int]:
    """Descriptors, and resident KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (rss,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(rss)


TURNS = 60


def test_rough_times_leave_no_trace(tmp_path: Path) -> None:
    """Machines come and go while snmpd and libvirtd are killed, and walks go on."""
    dice = random.Random(7)
    directory = tmp_path / "lv"
    directory.mkdir()
    with libvirt_env.private_libvirtd(directory) as daemon, Snmpd(tmp_path) as snmpd:
        file = config(
            tmp_path / "vmmib.toml",
            snmpd.agentx_socket,
            f'uri = "{daemon.test_uri}"\nname = "rough"\npoll_interval = 0.2',
        )
        with agent_of(tmp_path, file) as agent:
            wait_for_vms(snmpd, 1)
            first = _figures(agent.pid)
            connection: Any = libvirt.open(daemon.test_uri)
            for turn in range(TURNS):
                what = dice.randrange(8)
                if what == 0:
                    snmpd.kill()
                    snmpd.start()
                elif what == 1:
                    daemon.kill()
                    daemon.start()
                    connection = libvirt.open(daemon.test_uri)
                elif what == 2:
                    agent.kill(signal.SIGHUP)
                elif what == 3:
                    wait_until(lambda: len(_children(agent.pid)) == 1, 20)
                    os.kill(_children(agent.pid)[0], signal.SIGKILL)
                    wait_until(lambda: len(_children(agent.pid)) == 1, 20)
                else:
                    made = [connection.createXML(xml(f"r{turn}-{n}")) for n in range(5)]
                    for each in made[:3]:
                        each.destroy()
                wait_until(lambda: "test" in names_and_indexes(snmpd).values(), 30)
            expected = {domain.name() for domain in connection.listAllDomains()}
            wait_until(lambda: set(names_and_indexes(snmpd).values()) == expected, 30)
            lines = snmpd.walk(MIB)
            oids = [tuple(map(int, line.oid[1:].split("."))) for line in lines]
            assert oids == sorted(set(oids))
            descriptors, rss = _figures(agent.pid)
            assert descriptors <= first[0] + 2
            assert rss < first[1] + 15_000, "the agent grew"
            assert agent.logged("site_failed") == agent.logged("view_failed") == 0


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
