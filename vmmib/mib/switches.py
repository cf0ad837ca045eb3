"""vmPerVMNotificationsEnabled and vmBulkNotificationsEnabled: the two objects that can be SET.

A SET goes through the phases of RFC 2741 section 7.2.4: everything is checked in `test` before
anything changes, `commit` changes, `undo` restores. Values last until the agent ends, as RFC 7666
demands; they start as configured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from vmmib.agentx.pdu import ErrorStatus, ValueType, VarBind
from vmmib.mib import oids

TRUE = 1
FALSE = 2
"""TruthValue (RFC 2579)."""


@dataclass(slots=True)
class Switches:
    """Which notifications one hypervisor's VMs cause."""

    per_vm: bool
    bulk: bool

    def truth_value(self, *, per_vm: bool) -> int:
        """The TruthValue of one switch."""
        return TRUE if (self.per_vm if per_vm else self.bulk) else FALSE


_FIELD = {oids.PER_VM_NOTIFICATIONS_ENABLED: "per_vm", oids.BULK_NOTIFICATIONS_ENABLED: "bulk"}


class SwitchSets:
    """The SetHandler of the agent: one transaction at a time, over the switches of all contexts."""

    def __init__(self, switches: Mapping[str, Switches]) -> None:
        """`switches`: by SNMP context; may change while this lives."""
        self._switches = switches
        self._pending: list[tuple[str, Switches, str, bool]] = []
        self._before: list[tuple[Switches, str, bool]] = []

    def test(self, context: str, varbinds: Sequence[VarBind]) -> tuple[ErrorStatus, int]:
        """Check every varbind; remember what they ask for when all can be done."""
        self._pending = []
        switches = self._switches.get(context)
        pending = []
        for position, varbind in enumerate(varbinds, 1):
            error = _check(varbind) if switches is not None else ErrorStatus.NO_CREATION
            if error is not ErrorStatus.NO_ERROR or switches is None:
                return error, position
            field = _FIELD[varbind.oid[:-1]]
            pending.append((context, switches, field, varbind.value == TRUE))
        self._pending = pending
        return ErrorStatus.NO_ERROR, 0

    def commit(self) -> ErrorStatus:
        """Do what `test` accepted."""
        self._before = []
        for context, switches, field, value in self._pending:
            self._before.append((switches, field, getattr(switches, field)))
            setattr(switches, field, value)
            structlog.get_logger().info(
                "notifications_switched", context=context, switch=field, enabled=value
            )
        return ErrorStatus.NO_ERROR

    def undo(self) -> ErrorStatus:
        """Restore what `commit` changed."""
        for switches, field, value in reversed(self._before):
            setattr(switches, field, value)
        self._before = []
        return ErrorStatus.NO_ERROR

    def cleanup(self) -> None:
        """End the transaction, committed or not."""
        self._pending, self._before = [], []


def _check(varbind: VarBind) -> ErrorStatus:
    """The error of one varbind, by the order of checks of RFC 3416 section 4.2.5."""
    name = varbind.oid
    if name[:-1] not in _FIELD:
        below = any(name[: len(switch)] == switch for switch in _FIELD)
        return ErrorStatus.NO_CREATION if below else ErrorStatus.NOT_WRITABLE
    if varbind.type is not ValueType.INTEGER:
        return ErrorStatus.WRONG_TYPE
    if varbind.value not in (TRUE, FALSE):
        return ErrorStatus.WRONG_VALUE
    if name[-1] != 0:
        return ErrorStatus.NO_CREATION
    return ErrorStatus.NO_ERROR
