"""Object identifiers of VM-MIB (RFC 7666) and of what its notifications carry besides."""

from __future__ import annotations

from vmmib.agentx.oid import Oid

VM_MIB: Oid = (1, 3, 6, 1, 2, 1, 236)
NOTIFICATIONS: Oid = (*VM_MIB, 0)
OBJECTS: Oid = (*VM_MIB, 1)
FULL_COMPLIANCE: Oid = (*VM_MIB, 2, 1, 1)

HYPERVISOR: Oid = (*OBJECTS, 1)
VM_NUMBER: Oid = (*OBJECTS, 2)
VM_TABLE_LAST_CHANGE: Oid = (*OBJECTS, 3)
VM_ENTRY: Oid = (*OBJECTS, 4, 1)
CPU_ENTRY: Oid = (*OBJECTS, 5, 1)
AFFINITY_ENTRY: Oid = (*OBJECTS, 6, 1)
STORAGE_ENTRY: Oid = (*OBJECTS, 7, 1)
NETWORK_ENTRY: Oid = (*OBJECTS, 8, 1)
PER_VM_NOTIFICATIONS_ENABLED: Oid = (*OBJECTS, 9)
BULK_NOTIFICATIONS_ENABLED: Oid = (*OBJECTS, 10)
AFFECTED_VMS: Oid = (*OBJECTS, 11)

VM_NAME: Oid = (*VM_ENTRY, 2)
VM_UUID: Oid = (*VM_ENTRY, 3)
VM_OPER_STATE: Oid = (*VM_ENTRY, 6)
VM_PERSISTENT: Oid = (*VM_ENTRY, 8)

SNMP_TRAP_OID: Oid = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)
ENTERPRISES: Oid = (1, 3, 6, 1, 4, 1)
