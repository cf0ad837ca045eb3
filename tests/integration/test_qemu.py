"""What only real guests show: QEMU (TCG) under a private libvirtd, asked through snmpd."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import libvirt
import pytest

from tests import libvirt_env
from tests.agent_process import AgentProcess
from tests.integration.test_changes import number
from tests.integration.test_fleet import agent_of, config
from tests.integration.test_walk import MIB, below_objects, text, wait_for_vms
from tests.netsnmp import Snmpd, Snmptrapd, needs_netsnmp, wait_until

pytestmark = [
    needs_netsnmp,
    pytest.mark.skipif(bool(libvirt_env.missing()), reason=libvirt_env.missing() or "-"),
]

VM_OPER = f"{MIB}.1.4.1.6.1"


class Host(NamedTuple):
    daemon: libvirt_env.PrivateLibvirtd
    snmpd: Snmpd
    trapd: Snmptrapd
    agent: AgentProcess
    domain: Any
    images: Path

    def rows(self) -> dict[tuple[int, ...], str]:
        return below_objects(self.snmpd.walk(MIB))

    def oper(self) -> str:
        return self.snmpd.get(VM_OPER)[0].value

    def await_oper(self, value: int) -> None:
        wait_until(lambda: self.oper() == str(value), 20, f"vmOperState {value}")

    def process(self) -> int:
        return int((self.daemon.folder / "run/qemu/guest.pid").read_text())

    def kinds(self) -> list[tuple[int, str]]:
        """Notifications so far: number below vmNotifications, state before."""
        return [
            (number(trap), trap.value(f"{MIB}.1.4.1.6"))
            for trap in self.trapd.received()
            if number(trap)
        ]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    directory = tmp_path / "lv"
    images = tmp_path / "images"
    directory.mkdir()
    images.mkdir()
    disks = {
        "vda": libvirt_env.make_image(images / "a.qcow2", "64M"),
        "vdb": libvirt_env.make_image(images / "b.raw", "16M"),
    }
    cdrom = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"
    with (
        libvirt_env.private_libvirtd(directory) as daemon,
        Snmptrapd(tmp_path) as trapd,
        Snmpd(tmp_path, traps_to=trapd) as snmpd,
    ):
        connection = libvirt.open(daemon.uri)
        domain = connection.defineXML(
            libvirt_env.qemu_domain("guest", disks=disks, nic=True, extra_devices=cdrom)
        )
        (tmp_path / "snmp.toml").write_text('community = "public"\n')
        file = config(
            tmp_path / "vmmib.toml",
            snmpd.agentx_socket,
            f'uri = "{daemon.uri}"\npoll_interval = 0.5',
            more=f'[host_resources]\naddress = "127.0.0.1:{snmpd.port}"\n'
            'credentials_file = "snmp.toml"',
        )
        with agent_of(tmp_path, file) as agent:
            wait_for_vms(snmpd, 1)
            yield Host(daemon, snmpd, trapd, agent, domain, images)
        connection.close()


def test_running_guest(host: Host) -> None:
    off = host.rows()
    assert (off[4, 1, 5, 1], off[4, 1, 6, 1]) == ("4", "11")
    assert off[4, 1, 16, 1] == off[4, 1, 17, 1] == off[5, 1, 2, 1, 1] == "0"
    assert (off[8, 1, 2, 1, 1], off[8, 1, 3, 1, 1]) == ("0", "0")

    host.domain.create()
    began = time.time()
    host.await_oper(4)
    wait_until(lambda: int(host.rows()[4, 1, 17, 1]) > 0, 20, "CPU time")
    wait_until(lambda: host.rows()[8, 1, 2, 1, 1] != "0", 20, "the tap's ifIndex")
    host.agent.wait_logged("hr_storage_table_read", timeout=30)
    rows = host.rows()

    # Times
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(int(rows[1, 4, 0]) / 100 - uptime) < 5
    assert abs(int(rows[4, 1, 16, 1]) / 100 - (time.time() - began)) < 5
    stats = host.domain.connect().domainListGetStats([host.domain])[0][1]
    assert 0 < int(rows[4, 1, 17, 1]) <= stats["cpu.time"] // 1000
    assert 0 < int(rows[5, 1, 2, 1, 1]) <= stats["vcpu.0.time"] // 1000
    assert (5, 1, 2, 1, 2) not in rows, "the second vCPU is not plugged in"
    assert (rows[4, 1, 9, 1], rows[4, 1, 11, 1]) == ("1", "2")

    # Network
    names = dict(socket.if_nameindex())
    tap = names[int(rows[8, 1, 2, 1, 1])]
    assert f"<target dev='{tap}'/>" in host.domain.XMLDesc()

    # Storage
    storages = {text(rows[7, 1, 6, 1, n]): n for n in (1, 2, 3)}
    qcow2 = storages[str(host.images / "a.qcow2")]
    raw = storages[str(host.images / "b.raw")]
    empty = storages[""]
    assert (rows[7, 1, 4, 1, qcow2], rows[7, 1, 4, 1, raw]) == ("5", "4")
    assert (text(rows[7, 1, 5, 1, qcow2]), text(rows[7, 1, 5, 1, raw])) == ("qcow2", "raw")
    unit = int(rows[7, 1, 10, 1, qcow2])
    assert int(rows[7, 1, 11, 1, qcow2]) * unit == 64 << 20
    assert 0 < int(rows[7, 1, 12, 1, qcow2]) * unit < 64 << 20, "sparse"
    assert int(rows[7, 1, 11, 1, raw]) * unit == int(rows[7, 1, 12, 1, raw]) * unit == 16 << 20
    assert rows[7, 1, 11, 1, empty] == rows[7, 1, 12, 1, empty] == "-1"
    assert (rows[7, 1, 7, 1, empty], rows[7, 1, 8, 1, empty]) == ("3", "4")
    mounts = {
        text(line.value): line.oid.rpartition(".")[2]
        for line in host.snmpd.walk("1.3.6.1.2.1.25.2.3.1.3")
    }
    holding = max(
        (m for m in mounts if m.startswith("/") and host.images.is_relative_to(m)),
        key=len,
        default="",  # in a chroot no file system that snmpd sees may hold it
    )
    assert rows[7, 1, 3, 1, qcow2] == rows[7, 1, 3, 1, raw] == mounts.get(holding, "0")
    assert rows[7, 1, 3, 1, empty] == "0"

    # The order of a start: one change to running
    assert [kind for kind, _ in host.kinds() if kind == 1] == [1]


def test_save_restore_and_up_time(host: Host) -> None:
    host.domain.create()
    host.await_oper(4)
    host.domain.managedSave()
    host.await_oper(6)
    assert host.snmpd.get(f"{MIB}.1.4.1.5.1")[0].value == "2"
    saved = int(host.snmpd.get(f"{MIB}.1.4.1.16.1")[0].value)
    host.domain.create()
    host.await_oper(4)
    assert int(host.snmpd.get(f"{MIB}.1.4.1.16.1")[0].value) > saved
    host.agent.stop()
    host.agent.start()
    wait_for_vms(host.snmpd, 1)
    host.await_oper(4)
    assert int(host.snmpd.get(f"{MIB}.1.4.1.16.1")[0].value) > saved
    kinds = [kind for kind, _ in host.kinds()]
    assert [kind for kind in kinds if kind in (1, 6)] == [1, 6, 1]
    assert not {3, 9, 10} & set(kinds)
    host.domain.destroy()
    host.await_oper(11)
    assert host.snmpd.get(f"{MIB}.1.4.1.16.1")[0].value == "0"


def test_pause_and_crash(host: Host) -> None:
    host.domain.create()
    host.await_oper(4)
    host.domain.suspend()
    host.await_oper(8)
    host.domain.resume()
    host.await_oper(4)
    os.kill(host.process(), signal.SIGKILL)
    host.await_oper(12)
    wait_until(lambda: (9, "4") in host.kinds(), 10)
    settled = [kind for kind in host.kinds() if kind[0] in (1, 4, 8, 9, 3)]
    assert [kind for kind, _ in settled] == [1, 4, 1, 9]
    host.domain.create()
    host.await_oper(4)
    assert host.kinds()[-1][0] == 1


def test_a_guest_that_hangs_does_not_hide_the_others(host: Host, tmp_path: Path) -> None:
    connection = host.domain.connect()
    other = connection.defineXML(libvirt_env.qemu_domain("other"))
    host.domain.create()
    other.create()
    wait_for_vms(host.snmpd, 2)
    os.kill(host.process(), signal.SIGSTOP)
    try:
        other.suspend()
        wait_until(lambda: host.snmpd.get(f"{MIB}.1.4.1.6.2")[0].value == "8", 10)
        other.resume()
        wait_until(lambda: host.snmpd.get(f"{MIB}.1.4.1.6.2")[0].value == "4", 10)
        assert host.oper() == "4"
    finally:
        os.kill(host.process(), signal.SIGCONT)
