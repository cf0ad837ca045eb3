"""Object identifiers that triage reads, and their names and enumerations for printing.

VM-MIB (RFC 7666), IF-MIB (RFC 2863), HOST-RESOURCES-MIB (RFC 2790), SNMPv2-MIB (RFC 3418).
"""

from __future__ import annotations

from triage.evidence import VmAdminState, VmOperState
from triage.snmp import uuid
from triage.snmp.values import Oid, Value, dotted, value_shown

MIB_2: Oid = (1, 3, 6, 1, 2, 1)
SYS_UP_TIME: Oid = (*MIB_2, 1, 3)

VM_MIB: Oid = (*MIB_2, 236)
VM_NOTIFICATIONS: Oid = (*VM_MIB, 0)
VM_OBJECTS: Oid = (*VM_MIB, 1)
VM_HV_SOFTWARE: Oid = (*VM_OBJECTS, 1, 1)
VM_HV_VERSION: Oid = (*VM_OBJECTS, 1, 2)
VM_HV_UP_TIME: Oid = (*VM_OBJECTS, 1, 4)
VM_NUMBER: Oid = (*VM_OBJECTS, 2)
VM_TABLE_LAST_CHANGE: Oid = (*VM_OBJECTS, 3)

VM_ENTRY: Oid = (*VM_OBJECTS, 4, 1)
VM_NAME: Oid = (*VM_ENTRY, 2)
VM_UUID: Oid = (*VM_ENTRY, 3)
VM_ADMIN_STATE: Oid = (*VM_ENTRY, 5)
VM_OPER_STATE: Oid = (*VM_ENTRY, 6)
VM_CUR_CPU_NUMBER: Oid = (*VM_ENTRY, 9)
VM_UP_TIME: Oid = (*VM_ENTRY, 16)
VM_CPU_TIME: Oid = (*VM_ENTRY, 17)

VM_CPU_CORE_TIME: Oid = (*VM_OBJECTS, 5, 1, 2)

VM_STORAGE_ENTRY: Oid = (*VM_OBJECTS, 7, 1)
VM_STORAGE_RESOURCE_ID: Oid = (*VM_STORAGE_ENTRY, 6)
VM_STORAGE_SIZE_UNIT: Oid = (*VM_STORAGE_ENTRY, 10)
VM_STORAGE_DEFINED_SIZE: Oid = (*VM_STORAGE_ENTRY, 11)
VM_STORAGE_ALLOCATED_SIZE: Oid = (*VM_STORAGE_ENTRY, 12)
VM_STORAGE_READ_IOS: Oid = (*VM_STORAGE_ENTRY, 13)
VM_STORAGE_WRITE_IOS: Oid = (*VM_STORAGE_ENTRY, 14)
VM_STORAGE_READ_OCTETS: Oid = (*VM_STORAGE_ENTRY, 15)
VM_STORAGE_WRITE_OCTETS: Oid = (*VM_STORAGE_ENTRY, 16)
VM_STORAGE_READ_LATENCY: Oid = (*VM_STORAGE_ENTRY, 17)
"""Counter: microseconds that read requests took, of all of them together."""
VM_STORAGE_WRITE_LATENCY: Oid = (*VM_STORAGE_ENTRY, 18)

VM_NETWORK_IF_INDEX: Oid = (*VM_OBJECTS, 8, 1, 2)
VM_NETWORK_PHYS_ADDRESS: Oid = (*VM_OBJECTS, 8, 1, 5)

VM_AFFECTED_VMS: Oid = (*VM_OBJECTS, 11)

IF_ENTRY: Oid = (*MIB_2, 2, 2, 1)
IF_DESCR: Oid = (*IF_ENTRY, 2)
IF_ADMIN_STATUS: Oid = (*IF_ENTRY, 7)
IF_OPER_STATUS: Oid = (*IF_ENTRY, 8)
IF_LAST_CHANGE: Oid = (*IF_ENTRY, 9)
IF_IN_UCAST: Oid = (*IF_ENTRY, 11)
IF_IN_DISCARDS: Oid = (*IF_ENTRY, 13)
IF_IN_ERRORS: Oid = (*IF_ENTRY, 14)
IF_OUT_UCAST: Oid = (*IF_ENTRY, 17)
IF_OUT_DISCARDS: Oid = (*IF_ENTRY, 19)
IF_OUT_ERRORS: Oid = (*IF_ENTRY, 20)
IF_X_ENTRY: Oid = (*MIB_2, 31, 1, 1, 1)
IF_NAME: Oid = (*IF_X_ENTRY, 1)
IF_HC_IN_UCAST: Oid = (*IF_X_ENTRY, 7)
IF_HC_OUT_UCAST: Oid = (*IF_X_ENTRY, 11)

HR_PROCESSOR_LOAD: Oid = (*MIB_2, 25, 3, 3, 1, 2)

SNMP_TRAP_OID: Oid = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)
SNMP_TRAP_ADDRESS: Oid = (1, 3, 6, 1, 6, 3, 18, 1, 3, 0)
SNMP_TRAP_COMMUNITY: Oid = (1, 3, 6, 1, 6, 3, 18, 1, 4, 0)
SNMP_TRAPS: Oid = (1, 3, 6, 1, 6, 3, 1, 1, 5)

OPER_STATES: dict[int, VmOperState] = {
    1: VmOperState.UNKNOWN,
    2: VmOperState.OTHER,
    3: VmOperState.PREPARING,
    4: VmOperState.RUNNING,
    5: VmOperState.SUSPENDING,
    6: VmOperState.SUSPENDED,
    7: VmOperState.RESUMING,
    8: VmOperState.PAUSED,
    9: VmOperState.MIGRATING,
    10: VmOperState.SHUTTINGDOWN,
    11: VmOperState.SHUTDOWN,
    12: VmOperState.CRASHED,
    13: VmOperState.BLOCKED,
    14: VmOperState.DELETED,
}
"""VirtualMachineOperState."""

ADMIN_STATES: dict[int, VmAdminState] = {
    1: VmAdminState.RUNNING,
    2: VmAdminState.SUSPENDED,
    3: VmAdminState.PAUSED,
    4: VmAdminState.SHUTDOWN,
}
"""VirtualMachineAdminState."""

_ANNOUNCED = (
    "Running",
    "Shuttingdown",
    "Shutdown",
    "Paused",
    "Suspending",
    "Suspended",
    "Resuming",
    "Migrating",
    "Crashed",
    "Deleted",
)

VM_NOTIFICATION_NAMES: dict[int, str] = {
    number + offset: f"vm{bulk}{state}"
    for offset, bulk in ((0, ""), (10, "Bulk"))
    for number, state in enumerate(_ANNOUNCED, start=1)
}
"""Number below vmNotifications and name."""

STANDARD_TRAP_NAMES: dict[int, str] = {
    1: "coldStart",
    2: "warmStart",
    3: "linkDown",
    4: "linkUp",
    5: "authenticationFailure",
}
"""Number below snmpTraps and name (RFC 3418, RFC 2863)."""

NAMES: dict[Oid, str] = {
    SYS_UP_TIME: "DISMAN-EVENT-MIB::sysUpTimeInstance",
    VM_HV_SOFTWARE: "VM-MIB::vmHvSoftware",
    VM_HV_VERSION: "VM-MIB::vmHvVersion",
    VM_HV_UP_TIME: "VM-MIB::vmHvUpTime",
    VM_NUMBER: "VM-MIB::vmNumber",
    VM_TABLE_LAST_CHANGE: "VM-MIB::vmTableLastChange",
    VM_NAME: "VM-MIB::vmName",
    VM_UUID: "VM-MIB::vmUUID",
    VM_ADMIN_STATE: "VM-MIB::vmAdminState",
    VM_OPER_STATE: "VM-MIB::vmOperState",
    VM_CUR_CPU_NUMBER: "VM-MIB::vmCurCpuNumber",
    (*VM_ENTRY, 8): "VM-MIB::vmPersistent",
    VM_UP_TIME: "VM-MIB::vmUpTime",
    VM_CPU_TIME: "VM-MIB::vmCpuTime",
    VM_CPU_CORE_TIME: "VM-MIB::vmCpuCoreTime",
    VM_STORAGE_RESOURCE_ID: "VM-MIB::vmStorageResourceID",
    VM_STORAGE_READ_LATENCY: "VM-MIB::vmStorageReadLatency",
    VM_STORAGE_WRITE_LATENCY: "VM-MIB::vmStorageWriteLatency",
    VM_NETWORK_IF_INDEX: "VM-MIB::vmNetworkIfIndex",
    VM_AFFECTED_VMS: "VM-MIB::vmAffectedVMs",
    (*IF_ENTRY, 1): "IF-MIB::ifIndex",
    IF_DESCR: "IF-MIB::ifDescr",
    IF_ADMIN_STATUS: "IF-MIB::ifAdminStatus",
    IF_OPER_STATUS: "IF-MIB::ifOperStatus",
    IF_LAST_CHANGE: "IF-MIB::ifLastChange",
    IF_NAME: "IF-MIB::ifName",
    HR_PROCESSOR_LOAD: "HOST-RESOURCES-MIB::hrProcessorLoad",
}
"""Objects by OID, as snmpwalk names them."""

LABELS: dict[Oid, dict[int, str]] = {
    VM_OPER_STATE: {number: str(state) for number, state in OPER_STATES.items()},
    VM_ADMIN_STATE: {number: str(state) for number, state in ADMIN_STATES.items()},
    (*VM_ENTRY, 8): {1: "nonPersistent", 2: "persistent"},
    IF_ADMIN_STATUS: {1: "up", 2: "down", 3: "testing"},
    IF_OPER_STATUS: {
        1: "up",
        2: "down",
        3: "testing",
        4: "unknown",
        5: "dormant",
        6: "notPresent",
        7: "lowerLayerDown",
    },
}
"""Names of enumerations."""


def scalar(name: Oid) -> Oid:
    """Give the one instance of a scalar object."""
    return (*name, 0)


def starts(oid: Oid, prefix: Oid) -> bool:
    """Tell whether an OID lies below another one."""
    return oid[: len(prefix)] == prefix


def _parts(oid: Oid) -> tuple[Oid, Oid] | None:
    for size in range(len(oid), 7, -1):
        if oid[:size] in NAMES:
            return oid[:size], oid[size:]
    return None


def row(oid: Oid, value: Value) -> str:
    """Write a binding as snmpwalk does: "VM-MIB::vmOperState.3 = INTEGER: paused(8)"."""
    parts = _parts(oid)
    if parts is None:
        return f".{dotted(oid)} = {value_shown(value)}"
    name, index = parts
    octets = value.octets
    if name == VM_UUID and octets is not None and len(octets) == uuid.OCTETS:
        shown = f"STRING: {uuid.from_octets(octets) or octets.hex()}"
    else:
        shown = value_shown(value, LABELS.get(name))
    suffix = "" if name == SYS_UP_TIME else f".{dotted(index)}"
    return f"{NAMES[name]}{suffix} = {shown}"
