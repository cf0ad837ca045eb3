"""What a notification says: bindings to VmNotifications. Pure.

The twenty notifications of VM-MIB (RFC 7666): ten about one VM each, which carry its name, its UUID
and the state that it had *before*, and ten about many, which carry a list of bits. A list becomes
one VmNotification for each VM in it, without name or UUID: vmIndex and hypervisor tell which it is.
Of the standard ones those are kept that tell of a restart or of a link (RFC 3418, RFC 2863).
"""

from __future__ import annotations

from collections.abc import Sequence

from triage.evidence import VmNotification
from triage.snmp import oids, vm
from triage.snmp.values import NULL, Oid, Value, VarBind

MAX_AFFECTED = 256
"""VMs of one list that are told apart; one more entry stands for the rest."""

MAX_TEXT = 1000

KEPT_STANDARD = frozenset({"coldStart", "warmStart", "linkDown", "linkUp"})


def name_of(varbinds: Sequence[VarBind]) -> str:
    """Name of the notification, "" for one that is of no use here."""
    found = next((value.raw for name, value in varbinds if name == oids.SNMP_TRAP_OID), None)
    if not isinstance(found, tuple) or not found:
        return ""
    parent, number = found[:-1], found[-1]
    if parent == oids.VM_NOTIFICATIONS:
        return oids.VM_NOTIFICATION_NAMES.get(number, "")
    name = oids.STANDARD_TRAP_NAMES.get(number, "") if parent == oids.SNMP_TRAPS else ""
    return name if name in KEPT_STANDARD else ""


def read(
    varbinds: Sequence[VarBind], *, time: float, hypervisor: str, sender: str
) -> list[VmNotification]:
    """Make entries of the timeline out of a notification; none for one that is of no use here."""
    name = name_of(varbinds)
    if not name:
        return []
    said = [item for item in varbinds if item[0] not in _NOT_SHOWN]
    text = "; ".join(oids.row(*item) for item in said)
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 3] + "..."
    whole = VmNotification(
        time=time,
        name=name,
        hypervisor=hypervisor,
        sender=sender,
        vm_index=_vm_index(said),
        vm_name=_value(said, oids.VM_NAME).text,
        uuid=vm.uuid_of(_value(said, oids.VM_UUID)),
        state_before=oids.OPER_STATES.get(_value(said, oids.VM_OPER_STATE).number or 0),
        text=text,
    )
    listed = _value(said, oids.VM_AFFECTED_VMS).octets
    if not listed:
        return [whole]
    return [
        VmNotification(
            time=time, name=name, hypervisor=hypervisor, sender=sender, vm_index=number, text=text
        )
        for number in affected(listed)[:MAX_AFFECTED]
    ] or [whole]


def uuid_in(varbinds: Sequence[VarBind]) -> str:
    """Canonical UUID that it carries, "" for none."""
    return vm.uuid_of(_value(varbinds, oids.VM_UUID))


def affected(bits: bytes) -> list[int]:
    """Read a VirtualMachineList: bit n from the left and from 1 is vmIndex n; at most so many."""
    found = []
    for place, octet in enumerate(bits):
        if octet:
            found += [place * 8 + bit + 1 for bit in range(8) if octet & 0x80 >> bit]
        if len(found) > MAX_AFFECTED:
            break
    return found


_NOT_SHOWN = frozenset(
    {oids.SNMP_TRAP_OID, oids.scalar(oids.SYS_UP_TIME), oids.SNMP_TRAP_COMMUNITY}  # a secret
)


def _value(varbinds: Sequence[VarBind], column: Oid) -> Value:
    return next((value for name, value in varbinds if oids.starts(name, column)), NULL)


def _vm_index(varbinds: Sequence[VarBind]) -> int | None:
    for column in (oids.VM_UUID, oids.VM_NAME, oids.VM_OPER_STATE):
        for name, _ in varbinds:
            if oids.starts(name, column) and len(name) == len(column) + 1:
                return name[-1]
    return None
