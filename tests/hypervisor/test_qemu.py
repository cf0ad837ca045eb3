"""Real QEMU guests (TCG) under a private libvirtd, seen through the real child."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.hypervisor.test_supervisor import Watch
from tests.libvirt_env import (
    PrivateLibvirtd,
    eventually,
    make_image,
    missing,
    private_libvirtd,
    qemu_domain,
)
from vmmib.hypervisor import libvirt_connection
from vmmib.hypervisor.messages import Changed, Refreshed, Removed
from vmmib.hypervisor.model import AdminState, AutoStart, Persistent, SourceType, Vm
from vmmib.hypervisor.model import OperState as O
from vmmib.hypervisor.settings import SourceSettings

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no private libvirtd: {missing()}")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirtd]:
    libvirt_connection.silence()
    with private_libvirtd(tmp_path_factory.mktemp("l")) as running:
        libvirt.open(running.uri).getCapabilities()  # takes a second, once
        yield running


@pytest.fixture
def connection(daemon: PrivateLibvirtd) -> Iterator[Any]:
    opened = libvirt.open(daemon.uri)
    yield opened
    opened = libvirt.open(daemon.uri)
    for pid in daemon.guests():
        os.kill(pid, signal.SIGCONT)
    for dom in opened.listAllDomains():
        persistent = dom.isPersistent()
        if dom.isActive():
            dom.destroy()
        if persistent:
            dom.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
    opened.close()


def settings_of(daemon: PrivateLibvirtd, interval: float = 30.0) -> SourceSettings:
    return SourceSettings("qemu", daemon.uri, poll_interval=interval, silence_limit=4)


@pytest.fixture
def watch(daemon: PrivateLibvirtd, connection: Any) -> Iterator[Watch]:
    """Events alone: the next poll is far away."""
    with Watch(settings_of(daemon)) as started:
        started.until(started.refreshes)
        yield started


def do(watch: Watch, action: Callable[[], object], *expected: O | None) -> None:
    """Run an action aside, until these changes were told; none other may have been.

    That a start is being prepared may be seen or not: it depends on when one looks.
    """
    watch.story.states.clear()
    passing = {O.PREPARING} - set(expected)

    def told() -> list[O | None]:
        return [state for _, state in watch.story.states if state not in passing]

    thread = threading.Thread(target=action)
    thread.start()
    watch.until(lambda: len(told()) >= len(expected))
    thread.join(30)
    settle(watch)
    assert told() == list(expected)


def settle(watch: Watch) -> None:
    """Let the questions be answered."""
    end = watch.loop.time() + 0.4
    watch.until(lambda: watch.loop.time() > end)


def test_the_life_of_a_guest(watch: Watch, connection: Any, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.qcow2")
    text = qemu_domain("guest", disks={"vda": image}, nic=True)
    defined: list[Any] = []
    do(watch, lambda: defined.append(connection.defineXML(text)), O.SHUTDOWN)
    dom = defined[0]
    vm = watch.story.vm("guest")
    assert (vm.cpu_time_us, vm.started, vm.cpus[0].time_us) == (0, None, 0)
    assert vm.disks[0].read_ops == 0

    before = time.time()
    do(watch, dom.create, O.RUNNING)
    watch.until(lambda: watch.story.vm("guest").started is not None)
    vm = watch.story.vm("guest")
    assert vm.started is not None
    assert before - 2 < vm.started < time.time() + 1
    assert not vm.restored
    assert vm.nics[0].target
    assert vm.nics[0].if_index == socket.if_nametoindex(vm.nics[0].target)
    assert vm.nics[0].mac[:3] == bytes.fromhex("525400")
    assert (vm.cpu_current, vm.cpu_max, len(vm.cpus)) == (1, 2, 1)

    do(watch, dom.suspend, O.PAUSED)
    assert watch.story.vm("guest").admin is AdminState.PAUSED
    do(watch, dom.resume, O.RUNNING)

    do(watch, lambda: dom.managedSave(0), O.SUSPENDING, O.SUSPENDED)
    vm = watch.story.vm("guest")
    assert (vm.admin, vm.started, vm.cpu_time_us) == (AdminState.SUSPENDED, None, 0)
    do(watch, dom.create, O.RESUMING, O.RUNNING)
    watch.until(lambda: watch.story.vm("guest").restored)

    do(watch, dom.destroy, O.SHUTTINGDOWN, O.SHUTDOWN)
    do(watch, dom.undefine, None)


def test_a_crash(watch: Watch, connection: Any, daemon: PrivateLibvirtd) -> None:
    do(watch, lambda: connection.defineXML(qemu_domain("fragile")), O.SHUTDOWN)
    do(watch, connection.lookupByName("fragile").create, O.RUNNING)
    do(watch, lambda: os.kill(daemon.guest("fragile"), signal.SIGKILL), O.CRASHED)
    assert watch.story.vm("fragile").admin is AdminState.SHUTDOWN


def test_a_transient_guest(watch: Watch, connection: Any) -> None:
    do(watch, lambda: connection.createXML(qemu_domain("moth")), O.RUNNING)
    assert watch.story.vm("moth").persistent is Persistent.TRANSIENT
    dom = connection.lookupByName("moth")
    do(watch, dom.destroy, O.SHUTTINGDOWN, O.SHUTDOWN, None)
    kinds = [type(one) for one in watch.story.messages if isinstance(one, Changed | Removed)]
    assert kinds[-1] is Removed


def test_a_guest_that_starts_paused(watch: Watch, connection: Any) -> None:
    dom = connection.defineXML(qemu_domain("shy"))
    watch.until(lambda: watch.story.vms)
    do(watch, lambda: dom.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED), O.PREPARING, O.PAUSED)


def test_a_rename(watch: Watch, connection: Any) -> None:
    dom = connection.defineXML(qemu_domain("old"))
    watch.until(lambda: watch.story.vms)
    key = watch.story.vm("old").key
    do(watch, lambda: dom.rename("new"))
    watch.until(lambda: {vm.name for vm in watch.story.vms.values()} == {"new"})
    assert watch.story.vm("new").key == key


def test_hotplug_is_seen(watch: Watch, connection: Any, tmp_path: Path) -> None:
    image = make_image(tmp_path / "extra.img", "2M")
    dom = connection.defineXML(qemu_domain("growing"))
    dom.create()
    dom.attachDevice(
        f"<disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/>"
        "<target dev='vdc' bus='virtio'/></disk>"
    )
    watch.until(lambda: [disk.target for vm in watch.story.vms.values() for disk in vm.disks])
    assert watch.story.vm("growing").disks[0].target == "vdc"
    assert watch.story.vm("growing").disks[0].source_type is SourceType.RAW


def test_figures_agree_with_libvirts(
    daemon: PrivateLibvirtd, connection: Any, tmp_path: Path
) -> None:
    disks = {"vda": make_image(tmp_path / "a.qcow2"), "vdb": make_image(tmp_path / "b.img", "3M")}
    extra = "<disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>"
    dom = connection.defineXML(qemu_domain("busy", disks=disks, nic=True, extra_devices=extra))
    dom.setAutostart(1)
    dom.create()
    off = connection.defineXML(qemu_domain("idle", disks={"vda": disks["vda"]}))
    with Watch(settings_of(daemon, 0.5)) as watch:
        watch.until(lambda: watch.refreshes() >= 2)
        first = watch.story.vm("busy")
        watch.until(lambda: (watch.story.vm("busy").cpu_time_us or 0) > (first.cpu_time_us or 0))
        vm, idle = watch.story.vm("busy"), watch.story.vm("idle")
    assert (vm.autostart, idle.autostart) == (AutoStart.ENABLED, AutoStart.DISABLED)
    assert vm.cpu_time_us is not None
    assert vm.cpu_time_us <= dom.info()[4] // 1000
    assert 0 < (vm.cpus[0].time_us or 0) <= vm.cpu_time_us
    found = {disk.target: disk for disk in vm.disks}
    for target, path in disks.items():
        disk = found[target]
        assert [disk.capacity, disk.allocation] == dom.blockInfo(target)[:2]
        stats = dom.blockStatsFlags(target)
        assert (disk.read_ops, disk.read_octets) == (stats["rd_operations"], stats["rd_bytes"])
        assert disk.read_latency_us == stats["rd_total_times"] // 1000
        assert disk.resource == str(path)
        assert disk.mount
        assert os.path.ismount(disk.mount)
    assert found["vda"].read_ops  # the firmware looked for something to boot
    assert (found["hda"].resource, found["hda"].capacity) == ("", None)
    assert (idle.cpu_time_us, idle.disks[0].read_ops) == (0, 0)
    assert [idle.disks[0].capacity, idle.disks[0].allocation] == off.blockInfo("vda")[:2]
    assert vm.nics[0].rx_packets is not None


def test_one_stuck_guest_holds_up_no_other(daemon: PrivateLibvirtd, connection: Any) -> None:
    for name in ("stuck", "well"):
        connection.createXML(qemu_domain(name))
    with Watch(settings_of(daemon, 0.3)) as watch:
        watch.until(lambda: watch.refreshes() >= 2)
        os.kill(daemon.guest("stuck"), signal.SIGSTOP)
        settle(watch)
        before, well = watch.refreshes(), watch.story.vm("well")
        watch.until(lambda: watch.refreshes() >= before + 5)
        assert (watch.story.vm("well").cpu_time_us or 0) > (well.cpu_time_us or 0)
        assert watch.story.vm("stuck").oper is O.RUNNING
        do(watch, connection.lookupByName("well").suspend, O.PAUSED)
        assert (watch.reasons(), watch.supervisor.restarts) == ([], 0)
        os.kill(daemon.guest("stuck"), signal.SIGCONT)


def test_libvirtd_killed_and_restarted(daemon: PrivateLibvirtd, connection: Any) -> None:
    connection.createXML(qemu_domain("lasting"))
    other = connection.defineXML(qemu_domain("changing"))
    other.create()
    with Watch(settings_of(daemon, 0.3)) as watch:
        watch.until(watch.refreshes)
        pid = watch.supervisor.pid
        watch.story.states.clear()
        daemon.kill()
        watch.until(watch.reasons)
        os.kill(daemon.guest("changing"), signal.SIGKILL)
        daemon.start()
        before = watch.refreshes()
        watch.until(lambda: watch.refreshes() > before)
        last = [one for one in watch.story.messages if isinstance(one, Refreshed)][before]
        assert last.complete
        settle(watch)
        assert [state for name, state in watch.story.states if name == "changing"] == [
            watch.story.vm("changing").oper
        ]
        assert watch.story.vm("changing").oper in (O.CRASHED, O.SHUTDOWN)
        assert watch.story.vm("lasting").oper is O.RUNNING
        assert len(watch.reasons()) == 1
        assert watch.supervisor.pid == pid
        reopened = libvirt.open(daemon.uri)
        do(watch, reopened.lookupByName("lasting").suspend, O.PAUSED)  # events are back


def test_reconnects_leak_no_descriptors(daemon: PrivateLibvirtd, connection: Any) -> None:
    with Watch(settings_of(daemon, 0.2)) as watch:
        watch.until(lambda: watch.refreshes() >= 3)
        folder = Path(f"/proc/{watch.supervisor.pid}/fd")
        before = len(list(folder.iterdir()))
        for _ in range(3):
            daemon.kill()
            daemon.start()
            told = watch.refreshes()
            watch.until(lambda told=told: watch.refreshes() >= told + 3)  # type: ignore[misc]
        eventually(lambda: len(list(folder.iterdir())) <= before + 1)
        assert watch.supervisor.restarts == 0


def test_libvirtd_hung(daemon: PrivateLibvirtd, connection: Any) -> None:
    connection.createXML(qemu_domain("waiting"))
    with Watch(settings_of(daemon, 0.3)) as watch:
        watch.until(watch.refreshes)
        daemon.signal(signal.SIGSTOP)
        try:
            watch.until(watch.reasons)
        finally:
            daemon.signal(signal.SIGCONT)
        before = watch.refreshes()
        watch.until(lambda: watch.refreshes() > before)
        assert len(watch.reasons()) == 1
        assert watch.story.vm("waiting").oper is O.RUNNING


def test_libvirtd_absent_at_start(tmp_path: Path) -> None:
    # A socket's path is short: not below a test's own long folder
    daemon = PrivateLibvirtd(tmp_path / "l")
    with Watch(settings_of(daemon, 0.3)) as watch:
        try:
            watch.until(watch.reasons)
            assert "is libvirtd" in watch.reasons()[0]
            daemon.start()
            watch.until(watch.refreshes)
            assert len(watch.reasons()) == 1
        finally:
            daemon.stop()


def test_events_are_told_within_milliseconds(watch: Watch, connection: Any) -> None:
    dom = connection.createXML(qemu_domain("quick"))
    watch.until(lambda: watch.story.vms)
    settle(watch)
    delays = []

    def changes() -> list[Vm]:
        return [one.vm for one in watch.story.messages if isinstance(one, Changed)]

    for _ in range(5):
        for action, state in ((dom.suspend, O.PAUSED), (dom.resume, O.RUNNING)):
            before = len(changes())
            action()
            done = time.monotonic()
            watch.until(
                lambda before=before, state=state: any(  # type: ignore[misc]
                    vm.oper is state for vm in changes()[before:]
                )
            )
            delays.append(time.monotonic() - done)
    # Nothing is timed here; that no poll was needed is what it shows
    assert max(delays) < 25


def test_the_shared_test_driver(daemon: PrivateLibvirtd, connection: Any) -> None:
    with Watch(SourceSettings("t", daemon.test_uri, poll_interval=30)) as watch:
        watch.until(watch.refreshes)
        (vm,) = watch.story.vms.values()
        assert vm.oper is O.RUNNING
        dom = libvirt.open(daemon.test_uri).lookupByName(vm.name)
        do(watch, dom.suspend, O.PAUSED)
        do(watch, dom.resume, O.RUNNING)
        do(watch, dom.shutdown, O.SHUTDOWN)
        do(watch, dom.create, O.RUNNING)
