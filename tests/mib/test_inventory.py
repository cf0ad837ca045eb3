"""What the inventory makes of a hypervisor's messages."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mib.build import HYPERVISOR, disk, nic, refreshed, vm
from vmmib.clock import SteadyClock
from vmmib.hypervisor.messages import Batch, Changed, Message, Removed, Unreachable
from vmmib.hypervisor.model import AdminState, Hypervisor, OperState, Persistent, Vm
from vmmib.mib.inventory import MAX_TOMBSTONES, Inventory, Transition
from vmmib.mib.memory import Memory


class FakeClock(SteadyClock):
    """A clock that tests move."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.at = time.time()

    def now(self) -> float:
        return self.at

    def from_wall(self, wall: float) -> float:
        return wall


def inventory(memory: Memory | None = None, *vms: Vm) -> Inventory:
    """An inventory that has seen one complete refresh with these VMs."""
    made = Inventory(memory or Memory(uri="test:///default"), FakeClock())
    assert tell(made, Batch(vms), refreshed(complete=True)) == [] or memory is not None
    return made


def tell(to: Inventory, *messages: Message) -> list[Transition]:
    return [change for message in messages for change in to.apply(message)]


def states(changes: list[Transition]) -> list[tuple[str, OperState, OperState | None]]:
    return [(change.name, change.before, change.after) for change in changes]


def again(old: Inventory) -> Memory:
    """What a later agent reads of the state file."""
    return msgspec.json.decode(msgspec.json.encode(old.memory), type=Memory)


def at_start(hypervisor_started: float | None) -> Hypervisor:
    return msgspec.structs.replace(HYPERVISOR, started=hypervisor_started)


# Changes


def test_first_look_announces_nothing() -> None:
    made = inventory(None, vm("a"), vm("b", OperState.PAUSED), vm("c", OperState.CRASHED))
    assert [row.index for row in made.rows.values()] == [1, 2, 3]
    assert made.table_changed is None


def test_first_indexes_follow_the_names() -> None:
    made = inventory(None, vm("vm10"), vm("b"), vm("vm2"), vm("a"))
    assert [row.vm.name for row in made.rows.values()] == ["a", "b", "vm2", "vm10"]
    tell(made, Batch((vm("z"), vm("0"))), refreshed())
    assert made.rows[vm("z").key].index == 5, "what comes later comes behind"


def test_change_names_the_state_before() -> None:
    made = inventory(None, vm("a"))
    changes = tell(made, Changed(vm("a", OperState.PAUSED), 0.0))
    assert states(changes) == [("a", OperState.RUNNING, OperState.PAUSED)]
    assert made.rows[vm("a").key].admin is AdminState.PAUSED


def test_event_and_poll_announce_one_change_once() -> None:
    made = inventory(None, vm("a"))
    paused = vm("a", OperState.PAUSED)
    assert len(tell(made, Changed(paused, 0.0))) == 1
    assert tell(made, Changed(paused, 0.0), Batch((paused,)), refreshed()) == []


def test_event_overrules_an_open_batch() -> None:
    made = inventory(None, vm("a"))
    stale, event = vm("a"), vm("a", OperState.SHUTDOWN)
    assert len(tell(made, Batch((stale,)), Changed(event, 0.0), refreshed())) == 1
    assert made.rows[stale.key].oper is OperState.SHUTDOWN
    assert tell(made, Batch((stale,)), Removed(stale.key, 0.0))[0].after is None
    assert tell(made, refreshed()) == []
    assert made.rows == {}


def test_batch_shows_nothing_before_its_refresh_ends() -> None:
    made = inventory(None, vm("a"))
    version = made.version
    assert tell(made, Batch((vm("b"),))) == []
    assert (len(made.rows), made.version) == (1, version)


def test_deletion_carries_state_and_persistence() -> None:
    transient = vm("a", OperState.SHUTDOWN, persistent=Persistent.TRANSIENT)
    made = inventory(None, transient)
    (change,) = tell(made, Removed(transient.key, 0.0))
    assert (change.before, change.after) == (OperState.SHUTDOWN, None)
    assert change.persistent is Persistent.TRANSIENT
    assert change.uuid == transient.uuid
    assert tell(made, Removed(transient.key, 0.0), Removed("ffff", 0.0)) == []


def test_complete_refresh_deletes_what_it_does_not_hold() -> None:
    made = inventory(None, vm("a"), vm("b"))
    changes = tell(made, Batch((vm("b"),)), refreshed(complete=True))
    assert states(changes) == [("a", OperState.RUNNING, None)]


def test_refresh_names_the_removed() -> None:
    made = inventory(None, vm("a"), vm("b"))
    assert states(tell(made, refreshed(removed=(vm("a").key,)))) == [("a", OperState.RUNNING, None)]


@pytest.mark.parametrize(
    ("oper", "announced"),
    [
        (OperState.RUNNING, True),
        (OperState.PAUSED, True),
        (OperState.MIGRATING, True),
        (OperState.SHUTDOWN, False),
        (OperState.PREPARING, False),
        (OperState.UNKNOWN, False),
    ],
)
def test_new_vm_is_announced_when_it_lives(oper: OperState, announced: bool) -> None:
    made = inventory(None, vm("a"))
    changes = tell(made, Changed(vm("b", oper), 0.0))
    assert states(changes) == ([("b", OperState.UNKNOWN, oper)] if announced else [])
    assert made.table_changed is not None


def test_new_vm_that_was_preparing_is_announced_running() -> None:
    made = inventory(None, vm("a"))
    changes = tell(
        made, Changed(vm("b", OperState.PREPARING), 0.0), Changed(vm("b", OperState.RUNNING), 0.0)
    )
    assert states(changes) == [("b", OperState.PREPARING, OperState.RUNNING)]


def test_silence_shows_unknown_and_announces_nothing() -> None:
    made = inventory(None, vm("a"), vm("b"))
    assert tell(made, Unreachable("gone")) == []
    assert {row.oper for row in made.rows.values()} == {OperState.UNKNOWN}
    assert not made.reachable
    changes = tell(made, Batch((vm("a"), vm("b", OperState.SHUTDOWN))), refreshed(complete=True))
    assert states(changes) == [("b", OperState.RUNNING, OperState.SHUTDOWN)]
    assert made.rows[vm("a").key].oper is OperState.RUNNING


def test_event_after_silence_restores_the_others() -> None:
    made = inventory(None, vm("a"), vm("b", OperState.PAUSED))
    tell(made, Unreachable("gone"), Changed(vm("a", OperState.SHUTDOWN), 0.0))
    assert made.rows[vm("b").key].oper is OperState.PAUSED


def test_state_that_cannot_be_told_is_told_against_the_last() -> None:
    made = inventory(None, vm("a"))
    nostate = vm("a", OperState.UNKNOWN)
    assert tell(made, Changed(nostate, 0.0)) == []
    assert made.rows[nostate.key].oper is OperState.UNKNOWN
    assert made.rows[nostate.key].admin is AdminState.RUNNING
    assert tell(made, Changed(vm("a"), 0.0)) == []
    assert states(tell(made, Changed(nostate, 0.0), Changed(vm("a", OperState.CRASHED), 0.0))) == [
        ("a", OperState.RUNNING, OperState.CRASHED)
    ]


def test_agent_restart_announces_what_changed_meanwhile() -> None:
    old = inventory(None, vm("a"), vm("b"), vm("c"))
    later = Inventory(again(old), FakeClock())
    changes = tell(later, Batch((vm("a"), vm("b", OperState.CRASHED))), refreshed(complete=True))
    assert states(changes) == [
        ("b", OperState.RUNNING, OperState.CRASHED),
        ("c", OperState.RUNNING, None),
    ]


# Indexes


def test_index_survives_restart_rename_and_order() -> None:
    old = inventory(None, vm("a"), vm("b"), vm("c"))
    renamed = msgspec.structs.replace(vm("a"), name="z")
    later = inventory(again(old), vm("c"), renamed, vm("b"))
    assert {row.vm.name: row.index for row in later.rows.values()} == {"z": 1, "b": 2, "c": 3}


def test_index_is_not_given_twice_before_the_hypervisor_restarts() -> None:
    memory = Memory(uri="test:///default")
    made = Inventory(memory, FakeClock())
    tell(made, Batch((vm("a"), vm("b"))), refreshed(complete=True, hypervisor=at_start(1000.0)))
    tell(made, Removed(vm("a").key, 0.0), Changed(vm("c"), 0.0))
    assert made.rows[vm("c").key].index == 3
    tell(made, Changed(vm("a"), 0.0))
    assert made.rows[vm("a").key].index == 1, "a VM that comes back is the same VM"
    tell(made, Removed(vm("a").key, 0.0))

    later = Inventory(again(made), FakeClock())
    tell(
        later,
        Batch((vm("b"), vm("c"), vm("d"))),
        refreshed(complete=True, hypervisor=at_start(1030.0)),
    )
    assert later.rows[vm("d").key].index == 4, "30 s are the same start, read again"

    much_later = Inventory(again(later), FakeClock())
    tell(
        much_later,
        Batch((vm("b"), vm("c"), vm("d"), vm("e"), vm("f"))),
        refreshed(complete=True, hypervisor=at_start(9000.0)),
    )
    assert {row.vm.name: row.index for row in much_later.rows.values()} == {
        "b": 2,
        "c": 3,
        "d": 4,
        "e": 1,
        "f": 5,
    }


def test_memory_of_deleted_vms_is_bounded() -> None:
    made = inventory(None, vm("keep"))
    for number in range(MAX_TOMBSTONES + 2000):
        passing = vm(f"passing{number}")
        tell(made, Changed(passing, 0.0), Removed(passing.key, 0.0))
    assert len(made.memory.vms) <= MAX_TOMBSTONES * 9 // 8 + 2
    tell(made, Changed(vm("new"), 0.0))
    assert made.rows[vm("new").key].index == MAX_TOMBSTONES + 2002


def test_device_indexes_follow_target_and_address() -> None:
    made = inventory(None, vm("a", disks=(disk("vda"), disk("vdb")), nics=(nic(1), nic(2))))
    row = made.rows[vm("a").key]
    assert (row.disks, row.nics) == ((1, 2), (1, 2))
    tell(made, Changed(vm("a", disks=(disk("vdb"),), nics=(nic(2),)), 0.0))
    layout = made.layout
    tell(
        made,
        Changed(vm("a", disks=(disk("vdc"), disk("vdb"), disk("vda")), nics=(nic(3), nic(2))), 0.0),
    )
    row = made.rows[vm("a").key]
    assert (row.disks, row.nics) == ((3, 2, 1), (3, 2))
    assert made.layout > layout
    later = inventory(again(made), vm("a", disks=(disk("vdb"), disk("vdd")), nics=(nic(3),)))
    row = later.rows[vm("a").key]
    assert (row.disks, row.nics) == ((2, 4), (3,))


def test_equal_addresses_and_targets_have_indexes_of_their_own() -> None:
    made = inventory(None, vm("a", disks=(disk(), disk()), nics=(nic(), nic(mac=b""), nic())))
    row = made.rows[vm("a").key]
    assert len(set(row.disks)) == 2
    assert len(set(row.nics)) == 3


def test_volumes_have_indexes_of_their_own() -> None:
    made = inventory(None)
    tell(made, refreshed(volumes=(disk("/p/a"), disk("/p/b"))))
    tell(made, refreshed(volumes=(disk("/p/c"), disk("/p/b"))))
    assert [(number, volume.target) for number, volume in made.volumes] == [
        (2, "/p/b"),
        (3, "/p/c"),
    ]
    tell(made, refreshed())
    assert len(made.volumes) == 2


def test_layout_stands_still_while_only_values_change() -> None:
    made = inventory(None, vm("a"), vm("b"))
    layout = made.layout
    tell(made, Changed(vm("a", cpu_time_us=99), 0.0), Batch((vm("b", cpu_time_us=1),)), refreshed())
    assert made.layout == layout
    tell(made, Changed(vm("a", cpus=()), 0.0))
    assert made.layout == layout + 1


# Times


def test_up_time_runs_from_shutdown_to_running() -> None:
    made = inventory(None, vm("a", OperState.SHUTDOWN))
    clock = made.clock
    assert isinstance(clock, FakeClock)
    key = vm("a").key
    assert made.rows[key].up_since is None
    clock.at += 10
    tell(made, Changed(vm("a"), 0.0))
    since = made.rows[key].up_since
    assert since == clock.at
    for oper in (OperState.PAUSED, OperState.RUNNING, OperState.SUSPENDING, OperState.SUSPENDED):
        clock.at += 10
        tell(made, Changed(vm("a", oper), 0.0))
        assert made.rows[key].up_since == since
    restored = vm("a", started=clock.at, restored=True)
    tell(made, Changed(restored, 0.0))
    assert made.rows[key].up_since == since, "a restore does not begin anew"
    later = inventory(again(made), restored)
    assert later.rows[key].up_since == since, "nor does an agent's restart"
    tell(made, Changed(vm("a", OperState.SHUTDOWN), 0.0))
    assert made.rows[key].up_since is None


def test_up_time_is_that_of_the_process_where_known() -> None:
    made = inventory(None, vm("a", started=500.0))
    key = vm("a").key
    assert made.rows[key].up_since == 500.0
    later = Inventory(again(made), FakeClock())
    tell(later, Batch((vm("a", started=501.0),)), refreshed(complete=True))
    assert later.rows[key].up_since == 500.0
    tell(later, Batch((vm("a", started=900.0),)), refreshed())
    assert later.rows[key].up_since == 900.0, "it was restarted where nobody looked"


def test_up_time_of_a_saved_vm_never_seen_running_is_not_invented() -> None:
    made = inventory(None, vm("a", OperState.SUSPENDED))
    assert made.rows[vm("a").key].up_since is None


def test_hypervisor_start() -> None:
    made = Inventory(Memory(uri="esx://h"), FakeClock())
    assert made.started is None
    tell(made, refreshed(complete=True))
    first = made.started
    assert first == made.clock.now(), "unknown: the first time that it was seen"
    later = Inventory(again(made), FakeClock())
    assert later.started == first
    tell(later, refreshed(complete=True, hypervisor=at_start(5000.0)))
    assert later.started == 5000.0
    tell(later, refreshed(hypervisor=at_start(5010.0)))
    assert later.started == 5000.0, "readings of one start waver"
    tell(later, refreshed(hypervisor=at_start(later.clock.now() + 1e6)))
    assert later.started == later.clock.now(), "nothing starts in the future"


# Any order of messages


names = st.sampled_from("abcde")
opers = st.sampled_from(list(OperState))
vms = st.builds(vm, names, opers)
messages = st.one_of(
    st.builds(Changed, vms, st.just(0.0)),
    st.builds(Removed, vms.map(lambda made: made.key), st.just(0.0)),
    st.builds(Batch, st.lists(vms, max_size=4).map(tuple)),
    st.builds(refreshed, complete=st.booleans()),
    st.just(Unreachable("silent")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(messages, max_size=40), st.integers(0, 40))
def test_any_sequence(sequence: list[Message], restart: int) -> None:
    made = Inventory(Memory(uri="test:///default"), FakeClock())
    last: dict[bytes, OperState | None] = {}
    owner: dict[int, bytes] = {}
    for position, message in enumerate(sequence):
        if position == restart:
            made = Inventory(again(made), FakeClock())
        for change in made.apply(message):
            assert change.before != change.after
            previous = last.get(change.uuid, change.before)
            assert previous is None or previous == change.before, "each change follows the last"
            last[change.uuid] = change.after
        indexes = [row.index for row in made.rows.values()]
        assert len(set(indexes)) == len(indexes)
        for row in made.rows.values():
            assert owner.setdefault(row.index, row.vm.uuid) == row.vm.uuid
            assert len(row.disks) == len(row.vm.disks)
            if not made.reachable:
                assert row.oper is OperState.UNKNOWN
            if row.admin is AdminState.SHUTDOWN:
                assert row.up_since is None
        assert set(made.rows) == {k for k, known in made.memory.vms.items() if not known.gone} or (
            position >= restart  # what the file remembers waits for the first complete refresh
        )
