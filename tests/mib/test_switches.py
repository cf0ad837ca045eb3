"""SETs of the two switches."""

from __future__ import annotations

import pytest

from vmmib.agentx.pdu import ErrorStatus, ValueType, VarBind
from vmmib.mib import oids
from vmmib.mib.switches import Switches, SwitchSets

PER_VM = (*oids.PER_VM_NOTIFICATIONS_ENABLED, 0)
BULK = (*oids.BULK_NOTIFICATIONS_ENABLED, 0)


def integer(name: tuple[int, ...], value: int) -> VarBind:
    return VarBind(name, ValueType.INTEGER, value)


@pytest.fixture
def switches() -> dict[str, Switches]:
    return {"": Switches(per_vm=True, bulk=False), "esx1": Switches(per_vm=True, bulk=True)}


def test_commit_changes_the_context_asked_for(switches: dict[str, Switches]) -> None:
    sets = SwitchSets(switches)
    assert sets.test("esx1", [integer(PER_VM, 2), integer(BULK, 2)]) == (ErrorStatus.NO_ERROR, 0)
    assert switches["esx1"] == Switches(per_vm=True, bulk=True), "a test changes nothing"
    assert sets.commit() is ErrorStatus.NO_ERROR
    sets.cleanup()
    assert switches == {
        "": Switches(per_vm=True, bulk=False),
        "esx1": Switches(per_vm=False, bulk=False),
    }
    assert switches["esx1"].truth_value(per_vm=True) == 2
    assert switches[""].truth_value(per_vm=True) == 1


def test_undo_restores_even_what_was_set_twice(switches: dict[str, Switches]) -> None:
    sets = SwitchSets(switches)
    sets.test("", [integer(BULK, 1), integer(BULK, 2), integer(BULK, 1), integer(PER_VM, 2)])
    sets.commit()
    assert switches[""] == Switches(per_vm=False, bulk=True)
    assert sets.undo() is ErrorStatus.NO_ERROR
    assert switches[""] == Switches(per_vm=True, bulk=False)


def test_a_refused_set_commits_nothing(switches: dict[str, Switches]) -> None:
    sets = SwitchSets(switches)
    sets.test("", [integer(PER_VM, 2)])
    assert sets.test("", [integer(PER_VM, 2), integer(BULK, 3)]) == (ErrorStatus.WRONG_VALUE, 2)
    sets.commit()
    assert switches[""].per_vm


@pytest.mark.parametrize(
    ("varbind", "error"),
    [
        (integer(PER_VM, 0), ErrorStatus.WRONG_VALUE),
        (integer(BULK, -1), ErrorStatus.WRONG_VALUE),
        (VarBind(PER_VM, ValueType.OCTET_STRING, b"1"), ErrorStatus.WRONG_TYPE),
        (VarBind(PER_VM, ValueType.GAUGE32, 1), ErrorStatus.WRONG_TYPE),
        (VarBind(BULK, ValueType.NULL, None), ErrorStatus.WRONG_TYPE),
        (integer(PER_VM[:-1], 1), ErrorStatus.NO_CREATION),
        (integer((*PER_VM[:-1], 1), 1), ErrorStatus.NO_CREATION),
        (integer((*PER_VM, 0), 1), ErrorStatus.NO_CREATION),
        (integer((*oids.VM_NUMBER, 0), 1), ErrorStatus.NOT_WRITABLE),
        (integer((*oids.VM_ENTRY, 5, 1), 1), ErrorStatus.NOT_WRITABLE),
        (integer((*oids.AFFECTED_VMS, 0), 1), ErrorStatus.NOT_WRITABLE),
        (integer(oids.VM_MIB, 1), ErrorStatus.NOT_WRITABLE),
    ],
)
def test_refusals(switches: dict[str, Switches], varbind: VarBind, error: ErrorStatus) -> None:
    assert SwitchSets(switches).test("", [varbind]) == (error, 1)


def test_a_context_that_is_gone_is_not_writable(switches: dict[str, Switches]) -> None:
    assert SwitchSets(switches).test("gone", [integer(PER_VM, 1)])[0] is not ErrorStatus.NO_ERROR
