"""State changes to the notifications of VM-MIB (RFC 7666, vmNotifications).

Each of the ten states that are announced has a notification per VM and one for many VMs. The
per-VM one names the VM as it was: its vmOperState is the state before the change. The bulk one
carries vmAffectedVMs alone, a list of bits with the most significant bit of the first octet for
vmIndex 1; the changes of a short window share one.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmmib.agentx.connection import Notification
from vmmib.agentx.pdu import ValueType, VarBind
from vmmib.hypervisor.model import OperState
from vmmib.mib import oids
from vmmib.mib.inventory import Transition
from vmmib.mib.objects import text

BULK_OFFSET = 10
"""vmBulkRunning is vmRunning's number plus this, and so on."""

NUMBERS: dict[OperState | None, int] = {
    OperState.RUNNING: 1,
    OperState.SHUTTINGDOWN: 2,
    OperState.SHUTDOWN: 3,
    OperState.PAUSED: 4,
    OperState.SUSPENDING: 5,
    OperState.SUSPENDED: 6,
    OperState.RESUMING: 7,
    OperState.MIGRATING: 8,
    OperState.CRASHED: 9,
    None: 10,  # vmDeleted
}
"""Number below vmNotifications of the per-VM notification of a state; other states have none."""


def per_vm(context: str, change: Transition) -> Notification | None:
    """The notification of one change, None when the new state has none."""
    number = NUMBERS.get(change.after)
    if number is None:
        return None
    index = change.index
    octets, integer = ValueType.OCTET_STRING, ValueType.INTEGER
    varbinds = [
        _trap_oid(number),
        VarBind((*oids.VM_NAME, index), octets, text(change.name)),
        VarBind((*oids.VM_UUID, index), octets, change.uuid),
        VarBind((*oids.VM_OPER_STATE, index), integer, int(change.before)),
    ]
    if change.after is None:
        persistent = int(change.persistent)
        varbinds.append(VarBind((*oids.VM_PERSISTENT, index), integer, persistent))
    return Notification(context, tuple(varbinds))


class BulkWindow:
    """Gathers changes until they are flushed."""

    def __init__(self, context: str) -> None:
        self._context = context
        self._affected: dict[int, set[int]] = {}

    def add(self, change: Transition) -> bool:
        """Take a change; return whether the window holds anything."""
        number = NUMBERS.get(change.after)
        if number is not None:
            self._affected.setdefault(number, set()).add(change.index)
        return bool(self._affected)

    def flush(self) -> list[Notification]:
        """One notification for each kind of change gathered, and an empty window."""
        affected, self._affected = self._affected, {}
        return [
            Notification(
                self._context,
                (
                    _trap_oid(number + BULK_OFFSET),
                    VarBind((*oids.AFFECTED_VMS, 0), ValueType.OCTET_STRING, bit_list(indexes)),
                ),
            )
            for number, indexes in sorted(affected.items())
        ]


def bit_list(indexes: Iterable[int]) -> bytes:
    """VirtualMachineList (RFC 7666): bit n of the string, from the left and from 1, is vmIndex n.

    As short as the highest index allows. Raises ValueError on an index below 1.
    """
    bits = bytearray()
    for index in indexes:
        if index < 1:
            raise ValueError(f"vmIndex {index} is not above zero")
        octet, bit = divmod(index - 1, 8)
        if octet >= len(bits):
            bits.extend(bytes(octet + 1 - len(bits)))
        bits[octet] |= 0x80 >> bit
    return bytes(bits)


def _trap_oid(number: int) -> VarBind:
    name = (*oids.NOTIFICATIONS, number)
    return VarBind(oids.SNMP_TRAP_OID, ValueType.OBJECT_IDENTIFIER, name)
