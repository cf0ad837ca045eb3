"""Changes to notifications."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmib.agentx.pdu import ValueType, VarBind
from vmmib.hypervisor.model import OperState, Persistent
from vmmib.mib import notifications, oids
from vmmib.mib.inventory import Transition

NUMBERS = {
    "RUNNING": 1,
    "SHUTTINGDOWN": 2,
    "SHUTDOWN": 3,
    "PAUSED": 4,
    "SUSPENDING": 5,
    "SUSPENDED": 6,
    "RESUMING": 7,
    "MIGRATING": 8,
    "CRASHED": 9,
}


def change(
    after: OperState | None, index: int = 3, before: OperState = OperState.RUNNING
) -> Transition:
    return Transition(index, "näme", b"\1" * 16, before, after, Persistent.TRANSIENT)


@pytest.mark.parametrize("after", list(OperState))
def test_each_state_has_its_notification(after: OperState) -> None:
    made = notifications.per_vm("ctx", change(after))
    if after.name not in NUMBERS:
        assert made is None
        return
    assert made is not None
    assert made.context == "ctx"
    assert made.varbinds == (
        VarBind(
            (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0),
            ValueType.OBJECT_IDENTIFIER,
            (1, 3, 6, 1, 2, 1, 236, 0, NUMBERS[after.name]),
        ),
        VarBind((*oids.VM_ENTRY, 2, 3), ValueType.OCTET_STRING, "näme".encode()),
        VarBind((*oids.VM_ENTRY, 3, 3), ValueType.OCTET_STRING, b"\1" * 16),
        VarBind((*oids.VM_ENTRY, 6, 3), ValueType.INTEGER, 4),
    )


def test_deletion_carries_persistence() -> None:
    made = notifications.per_vm("", change(None))
    assert made is not None
    assert made.varbinds[0].value == (1, 3, 6, 1, 2, 1, 236, 0, 10)
    assert made.varbinds[4:] == (VarBind((*oids.VM_ENTRY, 8, 3), ValueType.INTEGER, 3),)


def test_window_gathers_by_kind() -> None:
    window = notifications.BulkWindow("ctx")
    assert not window.add(change(OperState.UNKNOWN))
    for after, index in [
        (OperState.PAUSED, 9),
        (OperState.RUNNING, 1),
        (OperState.PAUSED, 1),
        (None, 2),
        (OperState.PAUSED, 9),
    ]:
        assert window.add(change(after, index))
    made = window.flush()
    assert [notification.varbinds[0].value for notification in made] == [
        (1, 3, 6, 1, 2, 1, 236, 0, number) for number in (11, 14, 20)
    ]
    affected = (1, 3, 6, 1, 2, 1, 236, 1, 11, 0)
    assert [notification.varbinds[1:] for notification in made] == [
        (VarBind(affected, ValueType.OCTET_STRING, b"\x80"),),
        (VarBind(affected, ValueType.OCTET_STRING, b"\x80\x80"),),
        (VarBind(affected, ValueType.OCTET_STRING, b"\x40"),),
    ]
    assert window.flush() == []


def test_index_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        notifications.bit_list([0])


@given(st.sets(st.integers(1, 2000)))
def test_bit_list_holds_just_these(indexes: set[int]) -> None:
    bits = notifications.bit_list(indexes)
    shown = "".join(f"{octet:08b}" for octet in bits)
    assert {place for place, bit in enumerate(shown, 1) if bit == "1"} == indexes
    assert len(bits) == (max(indexes, default=0) + 7) // 8
