"""The real child on libvirt's test driver: every run state, compared with libvirt's own answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.hypervisor.fake_libvirt import Story
from tests.hypervisor.test_supervisor import Watch
from tests.libvirt_env import node_domain, node_file, node_of
from vmmib.hypervisor import libvirt_connection
from vmmib.hypervisor.libvirt_domains import DomainsSource
from vmmib.hypervisor.messages import Refreshed
from vmmib.hypervisor.model import (
    Affinity,
    AutoStart,
    OperState,
    Persistent,
    SourceType,
    Vm,
)
from vmmib.hypervisor.settings import SourceSettings
from vmmib.hypervisor.states import ACTIVE_STATES, RawState, derive
from vmmib.hypervisor.supervisor import Snapshot, snapshot

COUNT = 30


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    libvirt_connection.silence()
    return node_file(tmp_path_factory.mktemp("node") / "node.xml", COUNT)


@pytest.fixture(scope="module")
def shot(uri: str) -> Snapshot:
    return snapshot(SourceSettings("t", uri), 30)


@pytest.fixture(scope="module")
def domains(uri: str) -> dict[str, Any]:
    connection = libvirt.open(uri)
    return {dom.name(): dom for dom in connection.listAllDomains()}


def test_the_hypervisor(shot: Snapshot, uri: str) -> None:
    hypervisor = shot[0]
    connection = libvirt.open(uri)
    assert hypervisor.driver == connection.getType()
    assert hypervisor.hostname == connection.getHostname()
    assert hypervisor.cpu_count == connection.getCPUMap()[0]
    number = connection.getVersion()
    assert hypervisor.version == f"{number // 10**6}.{number // 1000 % 1000}.{number % 1000}"
    assert hypervisor.object_id.startswith("1.3.6.1.4.1.")


def test_every_state(shot: Snapshot, domains: dict[str, Any]) -> None:
    vms = {vm.name: vm for vm in shot[1]}
    assert set(vms) == set(domains)
    seen = set()
    for name, dom in domains.items():
        state, reason = dom.state()
        raw = RawState(state, reason, bool(dom.hasManagedSaveImage()), driver="TEST")
        assert (vms[name].oper, vms[name].admin) == derive(raw)
        seen.add(vms[name].oper)
    assert seen == {
        OperState.UNKNOWN,
        OperState.RUNNING,
        OperState.PAUSED,
        OperState.SUSPENDED,
        OperState.SHUTTINGDOWN,
        OperState.SHUTDOWN,
        OperState.CRASHED,
    }


def test_every_value(shot: Snapshot, domains: dict[str, Any]) -> None:
    for vm in shot[1]:
        dom = domains[vm.name]
        assert (vm.uuid, vm.key) == (dom.UUID(), dom.UUID().hex())
        _, maximum, current, cpus, _ = dom.info()
        assert (vm.memory_max, vm.memory_current) == (maximum * 1024, current * 1024)
        assert vm.memory_min == 48 << 20
        assert (vm.cpu_current, vm.cpu_max, vm.cpu_min) == (cpus, dom.vcpusFlags(4), None)
        assert vm.persistent is (
            Persistent.PERSISTENT if dom.isPersistent() else Persistent.TRANSIENT
        )
        assert vm.autostart is AutoStart.DISABLED
        pins = [
            bytes(Affinity.ENABLE if one else Affinity.DISABLE for one in cpu_map)
            for cpu_map in dom.vcpuPinInfo()
        ]
        assert [cpu.affinity for cpu in vm.cpus] == pins
        assert [cpu.number for cpu in vm.cpus] == list(range(cpus))
        check_devices(vm, dom)


def check_devices(vm: Vm, dom: Any) -> None:
    active = dom.state()[0] in ACTIVE_STATES
    assert {disk.target: disk.source_type for disk in vm.disks} == {
        "vda": SourceType.SPARSE,
        "vdb": SourceType.BLOCK,
        "vdc": SourceType.NETWORK,
        "hda": SourceType.UNKNOWN,
    }
    for disk in vm.disks:
        if disk.resource and (active or disk.source_type is not SourceType.NETWORK):
            assert [disk.capacity, disk.allocation] == dom.blockInfo(disk.target)[:2]
        assert disk.read_ops is not None
        assert (disk.read_ops > 0) is active
    (nic,) = vm.nics
    assert (nic.if_index, nic.parent_if_index) == (0, 0)
    assert bool(nic.target) is active
    assert (vm.cpu_time_us != 0) is active


def test_counters_grow(uri: str) -> None:
    with Watch(SourceSettings("t", uri, poll_interval=0.1)) as watch:
        watch.until(lambda: watch.refreshes() >= 1)
        before = watch.story.vm("vm0001")
        watch.until(lambda: watch.refreshes() >= 3)
        after = watch.story.vm("vm0001")
        assert before.cpu_time_us is not None
        assert after.cpu_time_us is not None
        assert after.cpu_time_us > before.cpu_time_us
        assert (after.disks[0].read_octets or 0) > (before.disks[0].read_octets or 0)
        assert watch.story.vm("vm0005") == watch.story.vm("vm0005")
        last = watch.story.messages[-1]
        assert isinstance(last, Refreshed)
        assert (last.complete, last.total) == (False, COUNT)


def test_an_empty_hypervisor(tmp_path: Path) -> None:
    _, vms, volumes = snapshot(SourceSettings("t", node_of(tmp_path / "n.xml", [])), 30)
    assert (vms, volumes) == ([], ())


POOL = """<pool type='dir'><name>images</name><uuid>35bb2ad9-388a-cdfe-461a-b8907f6e53fe</uuid>
<capacity>1000000000</capacity><allocation>0</allocation><available>1000000000</available>
<target><path>/images</path></target>
<volume><name>vm.qcow2</name><capacity>100</capacity><allocation>50</allocation>
<target><path>/images/vm.qcow2</path><format type='qcow2'/></target></volume>
<volume><name>spare.img</name><capacity unit='KiB'>7</capacity><allocation>3</allocation>
<target><path>/images/spare.img</path><format type='raw'/></target></volume>
<volume><name>cd.iso</name><capacity>9</capacity><allocation>9</allocation>
<target><path>/images/cd.iso</path><format type='iso'/></target></volume></pool>"""


def test_volumes_that_no_vm_uses(tmp_path: Path) -> None:
    uri = node_of(tmp_path / "n.xml", [node_domain("vm")], POOL)
    _, _, volumes = snapshot(SourceSettings("t", uri), 30)
    spare, disc = sorted(volumes, key=lambda one: one.resource, reverse=True)
    assert (spare.resource, spare.source_type, spare.format) == (
        "/images/spare.img",
        SourceType.RAW,
        "raw",
    )
    assert (spare.capacity, spare.allocation) == (7 * 1024, 3)
    assert disc.resource == "/images/cd.iso"
    assert len({spare.target, disc.target}) == 2
    _, _, volumes = snapshot(SourceSettings("t", uri, volumes=False), 30)
    assert volumes == ()


def test_a_disk_that_is_a_volume(tmp_path: Path) -> None:
    domain = node_domain("vm").replace(
        "<disk type='file' device='disk'>\n        <driver name='qemu' type='qcow2'/>\n"
        "        <source file='/images/vm.qcow2'/>",
        "<disk type='volume' device='disk'><source pool='images' volume='vm.qcow2'/>",
    )
    assert "type='volume'" in domain
    _, vms, volumes = snapshot(SourceSettings("t", node_of(tmp_path / "n.xml", [domain], POOL)), 30)
    disk = next(one for one in vms[0].disks if one.target == "vda")
    assert (disk.resource, disk.source_type) == ("/images/vm.qcow2", SourceType.SPARSE)
    assert "/images/vm.qcow2" not in {one.resource for one in volumes}


def test_changes_by_ones_own_hand(uri: str) -> None:
    # In this process: the test driver keeps its domains to one connection. It has no event loop
    # here, hence no events, and that must do as well.
    story = Story()
    source = DomainsSource(SourceSettings("t", uri), story)
    source.connect()
    try:
        source.refresh()
        connection = source._connection
        story.take()
        dom = connection.lookupByName("vm0001")
        dom.suspend()
        source.refresh()
        for _ in range(50):
            if story.states:
                break
            source.ask(0.1)
        assert story.states == [("vm0001", OperState.PAUSED)]
        dom.setAutostart(1)
        dom.resume()
        source.ask(0.5)
        source.refresh()
        source.ask(0.5)
        assert story.vm("vm0001").autostart is AutoStart.ENABLED
    finally:
        source.close()


def test_the_child_is_small(uri: str) -> None:
    with Watch(SourceSettings("t", uri)) as watch:
        watch.until(watch.refreshes)
        maps = Path(f"/proc/{watch.supervisor.pid}/maps").read_text()
    assert "pydantic" not in maps


@pytest.mark.parametrize("heavy", ["pydantic", "typer", "rich", "structlog", "asyncio", "pysnmp"])
def test_the_child_imports_nothing_big(heavy: str) -> None:
    code = f"import sys, vmmib.hypervisor.worker; sys.exit({heavy!r} in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
