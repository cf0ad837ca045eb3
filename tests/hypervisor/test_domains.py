"""Events, polls and questions: what is told, in which order, and what is not told twice."""

from __future__ import annotations

import threading
import time

import libvirt
import pytest

from tests.hypervisor.fake_libvirt import FakeConnection, FakeDomain, Story, error
from tests.libvirt_env import eventually
from vmmib.hypervisor import libvirt_domains
from vmmib.hypervisor.libvirt_domains import DomainsSource
from vmmib.hypervisor.messages import Batch, Changed, Refreshed
from vmmib.hypervisor.model import AutoStart, Persistent
from vmmib.hypervisor.model import OperState as O
from vmmib.hypervisor.settings import SourceSettings
from vmmib.hypervisor.source import SourceError

DEFINED, UNDEFINED, STARTED, SUSPENDED, RESUMED, STOPPED, SHUTDOWN, _, CRASHED = range(9)
SAVED, FAILED = 4, 5
RUNNING, PAUSED, OFF = (1, 1), (3, 1), (5, 1)

Rig = tuple[FakeConnection, DomainsSource, Story]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_domains, "SETTLE", 0.01)


def make(connection: FakeConnection) -> Rig:
    story = Story()
    settings = SourceSettings("fake", "fake:///x", poll_interval=1, silence_limit=3)
    source = DomainsSource(settings, story, connector=lambda _: connection)
    source.connect()
    return connection, source, story


@pytest.fixture
def rig() -> Rig:
    return make(FakeConnection())


def started(rig: Rig, name: str = "a", state: tuple[int, int] = RUNNING) -> FakeDomain:
    """A domain that is there from the first refresh."""
    connection, source, story = rig
    dom = connection.add(name)
    dom.state_ = state
    source.refresh()
    story.take()
    return dom


def ask_all(source: DomainsSource) -> None:
    """Answer all questions, those that are due in a moment as well."""
    while source._questions:
        source.ask(1)


def test_the_first_refresh_is_complete(rig: Rig) -> None:
    connection, source, story = rig
    connection.add("a")
    connection.add("b").state_ = OFF
    source.refresh()
    last = story.messages[-1]
    assert isinstance(last, Refreshed)
    assert (last.complete, last.total) == (True, 2)
    assert dict(story.states) == {"a": O.RUNNING, "b": O.SHUTDOWN}
    vm = story.vm("a")
    assert (vm.memory_current, vm.cpu_time_us, vm.key) == (1 << 20, 5000, vm.uuid.hex())
    source.refresh()
    last = story.messages[-1]
    assert isinstance(last, Refreshed)
    assert not last.complete


def test_what_did_not_change_is_not_sent_again(rig: Rig) -> None:
    started(rig)
    _, source, story = rig
    story.messages.clear()
    source.refresh()
    assert [
        message for message in story.messages if isinstance(message, Batch) and message.vms
    ] == []


def test_an_event_is_told_without_a_call(rig: Rig) -> None:
    dom = started(rig)
    connection, _, story = rig
    dom.calls.clear()
    connection.fire(dom, SHUTDOWN)
    connection.fire(dom, STOPPED)
    assert story.take() == [O.SHUTTINGDOWN, O.SHUTDOWN]
    assert dom.calls == []


def test_event_then_poll_tell_once(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    dom.state_ = OFF
    connection.fire(dom, STOPPED)
    source.refresh()
    ask_all(source)
    source.refresh()
    assert story.take() == [O.SHUTDOWN]


def test_poll_then_event_tell_once(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    dom.state_ = OFF
    source.refresh()
    assert story.take() == []  # the event may be under way
    connection.fire(dom, STOPPED)
    ask_all(source)
    source.refresh()
    assert story.take() == [O.SHUTDOWN]


def test_a_change_without_an_event_is_told_by_the_poll(rig: Rig) -> None:
    dom = started(rig)
    _, source, story = rig
    dom.state_ = OFF
    source.refresh()
    ask_all(source)
    assert story.take() == [O.SHUTDOWN]


def test_late_events_of_two_changes_do_not_flap_back(rig: Rig) -> None:
    dom = started(rig, state=PAUSED)
    connection, source, story = rig
    dom.state_ = OFF  # it was resumed and destroyed; the poll is first
    source.refresh()
    connection.fire(dom, RESUMED)
    connection.fire(dom, STOPPED, 1)
    ask_all(source)
    source.refresh()
    assert story.take() == [O.RUNNING, O.SHUTDOWN]


def test_a_reading_older_than_an_event_is_void(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig

    def stop_meanwhile() -> None:
        connection.fire(dom, STOPPED)
        dom.state_ = OFF

    dom.before_state = stop_meanwhile  # the poll has read "running" already
    source.refresh()
    assert story.take() == [O.SHUTDOWN]
    ask_all(source)
    source.refresh()
    assert story.take() == []


def test_an_answer_older_than_an_event_is_void(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    connection.fire(dom, STOPPED)
    story.take()

    def start_meanwhile() -> None:
        connection.fire(dom, RESUMED)
        connection.fire(dom, STARTED)
        dom.state_ = RUNNING

    dom.state_ = OFF
    dom.before_state = start_meanwhile
    ask_all(source)
    assert story.take() == [O.RUNNING]
    assert story.vm("a").cpu_time_us == 5000


def test_plain_start_is_one_change(rig: Rig) -> None:
    dom = started(rig, state=OFF)
    connection, source, story = rig
    dom.state_ = RUNNING
    connection.fire(dom, RESUMED)
    connection.fire(dom, STARTED)
    ask_all(source)
    assert story.take() == [O.RUNNING]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ((3, 1), O.PAUSED),  # a user's pause
        ((3, 3), O.SUSPENDING),  # a save began
        ((3, 10), O.CRASHED),  # a panic
        ((3, 4), O.PAUSED),  # a dump
    ],
)
def test_what_a_pause_is_the_state_tells(rig: Rig, state: tuple[int, int], told: O) -> None:
    dom = started(rig)
    connection, source, story = rig
    dom.state_ = state
    connection.fire(dom, SUSPENDED)
    assert story.take() == []
    source.ask(0)
    assert story.take() == [told]


def test_a_save_told_by_events_alone(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    connection.fire(dom, SUSPENDED)
    dom.state_, dom.managed = (5, 5), True
    connection.fire(dom, STOPPED, SAVED)
    assert story.take() == [O.SUSPENDING]
    source.ask(0)
    assert story.take() == [O.SUSPENDED]


def test_a_save_to_a_file_is_no_suspension(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    dom.state_ = (5, 5)
    connection.fire(dom, STOPPED, SAVED)
    ask_all(source)
    assert story.take() == [O.SHUTDOWN]


def test_an_event_that_nobody_could_interpret_in_time(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    connection.fire(dom, SUSPENDED)
    connection.fire(dom, RESUMED)
    ask_all(source)
    assert story.take() == [O.PAUSED, O.RUNNING]


def test_an_open_event_is_settled_by_the_poll(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    dom.state_ = PAUSED
    connection.fire(dom, SUSPENDED)
    source.refresh()  # nobody answers questions
    assert story.take() == [O.PAUSED]


def test_a_crash(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    dom.state_ = (5, 3)
    connection.fire(dom, STOPPED, FAILED)
    ask_all(source)
    assert story.take() == [O.CRASHED]


def test_a_transient_domain_ends_before_it_is_gone(rig: Rig) -> None:
    connection, source, story = rig
    dom = connection.add("a")
    dom.persistent = False
    source.refresh()
    assert story.vm("a").persistent is Persistent.TRANSIENT
    story.take()
    connection.domains.remove(dom)
    connection.fire(dom, STOPPED)
    ask_all(source)
    source.refresh()
    assert story.take() == [O.SHUTDOWN, None]


def test_undefining_what_runs_leaves_a_transient_domain(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    dom.persistent = False
    connection.fire(dom, UNDEFINED)
    assert story.vm("a").persistent is Persistent.TRANSIENT
    ask_all(source)
    connection.domains.remove(dom)
    connection.fire(dom, STOPPED)
    assert story.take() == [O.SHUTDOWN, None]


def test_defining_a_transient_domain_makes_it_persistent(rig: Rig) -> None:
    connection, source, story = rig
    dom = connection.add("a")
    dom.persistent = False
    source.refresh()
    dom.persistent = True
    connection.fire(dom, DEFINED)
    assert story.vm("a").persistent is Persistent.PERSISTENT


def test_define_and_undefine(rig: Rig) -> None:
    connection, source, story = rig
    source.refresh()
    dom = connection.add("a")
    dom.state_ = OFF
    connection.fire(dom, DEFINED)
    source.ask(0)
    assert story.take() == [O.SHUTDOWN]
    connection.domains.remove(dom)
    connection.fire(dom, UNDEFINED)
    assert story.take() == [None]
    source.refresh()
    assert story.take() == []


def test_a_domain_that_is_gone_before_it_was_read(rig: Rig) -> None:
    connection, source, story = rig
    source.refresh()
    dom = connection.add("a")
    connection.fire(dom, STARTED)
    connection.domains.remove(dom)
    ask_all(source)
    source.refresh()
    assert story.states == []
    assert source._vms == {}


def test_a_domain_that_is_gone_without_an_event(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    connection.domains.remove(dom)
    source.refresh()
    ask_all(source)
    assert story.take() == [None]


def test_a_domain_that_vanishes_between_list_and_state(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    other = connection.add("b")
    dom.before_state = lambda: connection.domains.remove(dom)
    source.refresh()
    ask_all(source)
    source.refresh()
    assert [name for name, state in story.states if state is None] == ["a"]
    assert story.vm("b").uuid == other.uuid_


def test_renaming_keeps_the_identity(rig: Rig) -> None:
    dom = started(rig, state=OFF)
    connection, source, story = rig
    key = story.vm("a").key
    connection.fire(dom, UNDEFINED, 1)
    dom.name_ = "z"
    connection.fire(dom, DEFINED, 2)
    assert story.vm("z").key == key
    ask_all(source)
    source.refresh()
    assert story.take() == []
    dom.name_ = "zz"  # and without an event
    source.refresh()
    assert story.vm("zz").key == key


def test_a_domain_without_a_uuid_is_known_by_its_name(rig: Rig) -> None:
    connection, source, story = rig
    connection.add("a").uuid_ = bytes(16)
    connection.add("b").uuid_ = bytes(16)
    source.refresh()
    assert {(vm.key, vm.uuid) for vm in story.vms.values()} == {("name:a", b""), ("name:b", b"")}


def test_one_bad_domain_spoils_nothing(rig: Rig) -> None:
    connection, source, story = rig
    connection.add("a").state_ = error(libvirt.VIR_ERR_INTERNAL_ERROR)
    connection.add("b").xml = "<nonsense"
    source.refresh()
    assert dict(story.states) == {"a": O.UNKNOWN, "b": O.RUNNING}


def test_drivers_without_filters_are_asked_one_by_one() -> None:
    connection = FakeConnection()
    connection.lists = False
    _, source, story = make(connection)
    dom = connection.add("a")
    dom.autostarts, dom.persistent = True, False
    source.refresh()
    vm = story.vm("a")
    assert (vm.autostart, vm.persistent) == (AutoStart.ENABLED, Persistent.TRANSIENT)


def test_drivers_without_events_are_believed_at_once() -> None:
    connection, source, story = make(FakeConnection(eventful=False))
    dom = started((connection, source, story))
    dom.state_ = OFF
    source.refresh()
    assert story.take() == [O.SHUTDOWN]
    connection.domains.clear()
    source.refresh()
    assert story.take() == [None]


def test_definitions_are_read_when_events_say_so(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    dom.calls.clear()
    source.refresh()
    assert "XMLDesc" not in dom.calls
    dom.xml = "<domain><vcpu current='1'>7</vcpu></domain>"
    connection.fire_other(dom, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, "alias")
    ask_all(source)
    assert story.vm("a").cpu_max == 7


def test_a_definition_event_tells_no_state_twice(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    connection.fire_other(dom, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    source.refresh()
    ask_all(source)
    assert story.take() == []


def test_after_a_reconnect_everything_is_listed(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    connection.add("b")
    source.refresh()
    story.take()
    connection.fails = error(libvirt.VIR_ERR_SYSTEM_ERROR, "gone x://u:secret@h")
    with pytest.raises(SourceError) as caught:
        source.refresh()
    assert "secret" not in str(caught.value)
    source.close()
    assert (connection.callbacks, connection.closed) == ({}, True)
    connection.fails = None
    dom.state_ = OFF
    connection.domains.pop()
    source.connect()
    source.refresh()
    last = story.messages[-1]
    assert isinstance(last, Refreshed)
    assert last.complete
    assert set(story.take()) == {None, O.SHUTDOWN}


def test_events_of_a_former_connection_are_ignored(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    callback, opaque = connection.callbacks[0]
    source.close()
    source.connect()
    source.refresh()
    story.take()
    callback(connection, dom, STOPPED, 0, opaque)
    assert story.take() == []


def test_a_complete_refresh_names_those_that_events_told(rig: Rig) -> None:
    connection, source, story = rig
    dom = connection.add("a")
    source.refresh()
    source.close()
    source.connect()
    dom.before_state = lambda: connection.fire(dom, SHUTDOWN)
    source.refresh()  # its reading is void, yet it is not gone
    assert story.take() == [O.RUNNING, O.SHUTTINGDOWN]


def test_a_lost_connection_ends_the_sleep(rig: Rig) -> None:
    connection, source, _ = rig
    timer = threading.Timer(0.05, connection.lose)
    timer.start()
    began = time.monotonic()
    with pytest.raises(SourceError, match="keepalive"):
        source.sleep(30)
    assert time.monotonic() - began < 10
    timer.join()


def test_a_storm_of_events_is_read_in_the_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_domains, "SETTLE", 0.2)
    monkeypatch.setattr(libvirt_domains, "SETTLE_LONGEST", 0.3)
    dom = started(rig)
    connection, source, _ = rig
    dom.calls.clear()
    thread = threading.Thread(target=source.ask, args=(5,))
    thread.start()

    def storm() -> bool:
        connection.fire_other(dom, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
        return "state" in dom.calls

    eventually(storm)
    thread.join(10)
    assert not thread.is_alive()


def test_an_event_is_told_while_a_poll_goes_on(rig: Rig) -> None:
    dom = started(rig)
    connection, source, story = rig
    slow = connection.add("slow")
    source.refresh()
    inside, go = threading.Event(), threading.Event()

    def block() -> None:
        inside.set()
        go.wait(20)

    slow.before_state = block
    poller = threading.Thread(target=source.refresh)
    poller.start()
    assert inside.wait(10)
    story.messages.clear()
    connection.fire(dom, SHUTDOWN)
    told = [message for message in story.messages if isinstance(message, Changed)]
    go.set()
    poller.join(10)
    assert [message.vm.oper for message in told] == [O.SHUTTINGDOWN]
