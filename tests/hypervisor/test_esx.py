"""The ESX driver against a stand-in of the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_esx import OFF, ON, SUSPENDED, FakeEsx, Machine
from tests.hypervisor.fake_libvirt import Story
from tests.hypervisor.test_supervisor import Watch
from tests.libvirt_env import eventually
from vmmib.hypervisor import libvirt_connection
from vmmib.hypervisor.libvirt_esx import EsxSource
from vmmib.hypervisor.messages import Refreshed
from vmmib.hypervisor.model import AdminState, AutoStart, Persistent, SourceType
from vmmib.hypervisor.model import OperState as O
from vmmib.hypervisor.settings import SourceSettings
from vmmib.hypervisor.source import SourceError
from vmmib.hypervisor.supervisor import snapshot


@pytest.fixture
def esx() -> Iterator[FakeEsx]:
    libvirt_connection.silence()
    machines = [
        Machine("on", ON, autostart=True),
        Machine("off", OFF, memory_mib=128, cpus=4),
        Machine("asleep", SUSPENDED),
    ]
    with FakeEsx(machines) as host:
        yield host


def settings_of(esx: FakeEsx, tmp_path: Path, password: str | None = None) -> SourceSettings:
    auth_file = esx.auth_file(tmp_path / "auth.conf", password)
    return SourceSettings("esx", esx.uri, auth_file, poll_interval=0.2, silence_limit=1.5)


@pytest.fixture
def source(esx: FakeEsx, tmp_path: Path) -> Iterator[EsxSource]:
    made = EsxSource(settings_of(esx, tmp_path), Story())
    made.connect()
    yield made
    esx.fault = ""
    made.close()


def story_of(source: EsxSource) -> Story:
    story = source._emit
    assert isinstance(story, Story)
    return story


def test_what_there_is_to_see(source: EsxSource) -> None:
    source.refresh()
    story = story_of(source)
    assert dict(story.states) == {"on": O.RUNNING, "off": O.SHUTDOWN, "asleep": O.SUSPENDED}
    on, off, asleep = (story.vm(name) for name in ("on", "off", "asleep"))
    assert (on.admin, off.admin, asleep.admin) == (
        AdminState.RUNNING,
        AdminState.SHUTDOWN,
        AdminState.SUSPENDED,
    )
    assert (on.autostart, off.autostart) == (AutoStart.ENABLED, AutoStart.DISABLED)
    assert on.persistent is Persistent.PERSISTENT
    assert (off.cpu_current, off.memory_current, off.memory_min) == (4, 128 << 20, 32 << 20)
    assert on.cpu_time_us is None
    assert [cpu.affinity for cpu in on.cpus] == [b"\1\1\2\2"] * 2
    (disk,) = on.disks
    assert (disk.source_type, disk.format, disk.resource) == (
        SourceType.SPARSE,
        "vmdk",
        "[store] on/on.vmdk",
    )
    assert on.nics[0].mac == bytes.fromhex("000c29123456")
    last = story.messages[-1]
    assert isinstance(last, Refreshed)
    assert last.hypervisor.driver == "ESX"
    assert last.hypervisor.object_id == "1.3.6.1.4.1.6876.4.1"
    assert (last.hypervisor.version, last.hypervisor.hostname) == ("7.0.3", "esx.example")


def test_requests_of_a_refresh(esx: FakeEsx, source: EsxSource) -> None:
    for number in range(20):
        esx.machines.append(Machine(f"more{number}", ON if number % 2 else OFF))
    source.refresh()
    assert esx.count(source.refresh) == 4  # somebody is suspended
    esx.machines[2].power = ON
    source.refresh()
    assert esx.count(source.refresh) == 2  # however many they are
    esx.machines[5].power = SUSPENDED
    assert esx.count(source.refresh) == 4


def test_changes_are_seen_by_polling(esx: FakeEsx, source: EsxSource) -> None:
    source.refresh()
    story = story_of(source)
    story.take()
    esx.machines[0].power = SUSPENDED
    source.refresh()
    esx.machines[0].power = OFF
    esx.machines[2].power = ON
    source.refresh()
    assert story.states == [("on", O.SUSPENDED), ("on", O.SHUTDOWN), ("asleep", O.RUNNING)]


def test_new_and_deleted_machines(esx: FakeEsx, source: EsxSource) -> None:
    source.refresh()
    story = story_of(source)
    story.take()
    gone = esx.machines.pop(0)
    esx.machines.append(Machine("new", ON, memory_mib=512, autostart=True))
    source.refresh()
    assert story.states == [("new", O.RUNNING)]  # a look at two lists is no proof of absence
    assert story.vm("new").memory_current == 512 << 20
    assert story.vm("new").autostart is AutoStart.ENABLED
    source.refresh()
    assert story.states[1:] == [(gone.name, None)]
    assert len(story.vms) == 3


def test_a_machine_without_its_uuid_stays_itself(esx: FakeEsx, source: EsxSource) -> None:
    source.refresh()
    story = story_of(source)
    key = story.vm("on").key
    story.take()
    esx.machines[0].status = "gray"
    source.refresh()
    assert (story.vm("on").key, story.vm("on").uuid) == (key, b"")
    esx.machines[0].status = "green"
    source.refresh()
    source.refresh()
    assert story.vm("on").uuid == esx.machines[0].identity.bytes
    assert story.states == []


def test_a_machine_that_never_showed_its_uuid(esx: FakeEsx, source: EsxSource) -> None:
    esx.machines[0].status = "red"
    source.refresh()
    vm = story_of(source).vm("on")
    assert (vm.key, vm.uuid) == ("name:on", b"")


def test_copies_with_one_uuid_are_two_machines(esx: FakeEsx, source: EsxSource) -> None:
    esx.machines.append(Machine("copy", OFF, identity=esx.machines[0].identity))
    source.refresh()
    source.refresh()
    assert {vm.name for vm in story_of(source).vms.values()} == {"on", "off", "asleep", "copy"}


def test_an_expired_session_is_renewed(esx: FakeEsx, source: EsxSource) -> None:
    source.refresh()
    esx.expire_session()
    source.refresh()
    assert esx.logins == 2


def test_a_fault_is_an_error_and_passes(esx: FakeEsx, source: EsxSource) -> None:
    source.refresh()
    esx.fault = "out of order"
    with pytest.raises(SourceError, match="out of order"):
        source.refresh()
    esx.fault = ""
    source.connect()
    source.refresh()
    last = story_of(source).messages[-1]
    assert isinstance(last, Refreshed)
    assert last.complete


def test_a_cautious_child_reads_no_definitions(esx: FakeEsx, tmp_path: Path) -> None:
    settings = settings_of(esx, tmp_path)
    story = Story()
    source = EsxSource(SourceSettings("e", esx.uri, settings.auth_file, cautious=True), story)
    source.connect()
    source.refresh()
    source.close()
    assert esx.requests["GET"] == 0
    assert dict(story.states)["asleep"] is O.SUSPENDED


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_wrong_password(esx: FakeEsx, tmp_path: Path, password: str) -> None:
    with pytest.raises(SourceError) as caught:
        snapshot(settings_of(esx, tmp_path, password), 20)
    text = str(caught.value)
    assert "authentication file" in text
    assert not password or password not in text
    assert "\n" not in text


def test_no_authentication_file(esx: FakeEsx, tmp_path: Path) -> None:
    missing = tmp_path / "absent"
    with pytest.raises(SourceError, match=f"{missing}.*No such file"):
        snapshot(SourceSettings("esx", esx.uri, str(missing)), 20)


def test_a_snapshot_through_the_child(esx: FakeEsx, tmp_path: Path) -> None:
    hypervisor, vms, volumes = snapshot(settings_of(esx, tmp_path), 20)
    assert hypervisor.software == "VMware ESXi"
    assert {vm.name for vm in vms} == {"on", "off", "asleep"}
    assert volumes == ()


def test_a_stall_is_survived(esx: FakeEsx, tmp_path: Path) -> None:
    with Watch(settings_of(esx, tmp_path)) as watch:
        watch.until(lambda: watch.refreshes() >= 2)
        esx.stall()
        watch.until(watch.reasons)
        esx.machines[0].power = OFF
        esx.resume()
        before = watch.refreshes()
        watch.until(lambda: watch.refreshes() > before)
        watch.until(lambda: watch.story.vm("on").oper is O.SHUTDOWN)
        (reason,) = watch.reasons()
        assert "no answer for 1.5 seconds" in reason
        assert watch.supervisor.up


def test_the_password_is_nowhere_to_be_seen(esx: FakeEsx, tmp_path: Path) -> None:
    with Watch(settings_of(esx, tmp_path)) as watch:
        watch.until(watch.refreshes)
        pid = watch.supervisor.pid
        for name in ("cmdline", "environ"):
            content = eventually(lambda name=name: Path(f"/proc/{pid}/{name}").read_bytes())
            assert esx.password.encode() not in content
        assert esx.password not in repr(watch.lines) + repr(watch.story.messages)
