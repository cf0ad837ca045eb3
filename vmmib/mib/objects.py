"""Every accessible object of VM-MIB (RFC 7666): its number, its syntax and how it is got.

The tables below are the MIB module in short: one line an object, in the order of the module. Index
objects are not accessible and stand in the rows' names alone. `MibView` keeps the rows of each
table ordered and makes a new View when the inventory changed.

Counters that a hypervisor does not have are absent: an instance that cannot be told does not
exist (noSuchInstance), rather than being a zero that nobody counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from vmmib.agentx import oid
from vmmib.agentx.oid import Oid
from vmmib.agentx.pdu import ValueType
from vmmib.agentx.view import Column, Table, View
from vmmib.hypervisor.model import Cpu, Disk, Nic, SourceType
from vmmib.mib import oids
from vmmib.mib.inventory import Inventory, Row
from vmmib.mib.switches import Switches

INTEGER = ValueType.INTEGER
STRING = ValueType.OCTET_STRING
COUNTER64 = ValueType.COUNTER64
TICKS = ValueType.TIME_TICKS

INTEGER32_MAX = 2**31 - 1
STRING_MAX = 255
"""Octets of an SnmpAdminString of this module."""

HR_DEVICE_PROCESSOR = 196608
"""net-snmp's hrDeviceIndex of its processor 0 (its device type 3 in the upper 16 bits)."""


# Values


def text(value: str) -> bytes:
    """UTF-8 of at most 255 octets, cut between characters (SnmpAdminString, RFC 3411)."""
    data = value.encode("utf-8", "replace")
    if len(data) > STRING_MAX:
        data = data[:STRING_MAX].decode("utf-8", "ignore").encode()
    return data


def ticks(seconds: float) -> int:
    """TimeTicks: hundredths of a second, modulo 2^32 (RFC 2578 section 7.1.8); never negative."""
    return int(max(seconds, 0.0) * 100) % 2**32


def counter64(value: int | None) -> int | None:
    """Counter64: modulo 2^64 (RFC 2578 section 7.1.10)."""
    return None if value is None else value % 2**64


def integer32(value: int | None) -> int:
    """A number of at most 2^31 - 1, -1 for none."""
    return -1 if value is None else max(0, min(value, INTEGER32_MAX))


def size_unit(*sizes: int | None) -> int:
    """The multiplication unit in octets: KiB, or the next power of 1024 in which all sizes fit."""
    largest = max((size for size in sizes if size is not None), default=0)
    unit = 1024
    while _units(largest, unit) > INTEGER32_MAX:
        unit *= 1024
    return min(unit, INTEGER32_MAX)


def in_units(size: int | None, unit: int) -> int:
    """`size` octets in units, rounded up (what is there is never shown as nothing); -1: unknown."""
    return -1 if size is None else integer32(_units(size, unit))


def _units(size: int, unit: int) -> int:
    return -(-max(size, 0) // unit)


# vmTable


def _memory_unit(row: Row) -> int:
    vm = row.vm
    return size_unit(vm.memory_current, vm.memory_min, vm.memory_max)


VM_COLUMNS: tuple[Column, ...] = (
    Column(2, STRING, lambda row: text(row.vm.name)),  # vmName
    Column(3, STRING, lambda row: row.vm.uuid),  # vmUUID
    Column(4, STRING, lambda row: text(row.vm.os_type)),  # vmOSType
    Column(5, INTEGER, lambda row: row.admin),  # vmAdminState
    Column(6, INTEGER, lambda row: row.oper),  # vmOperState
    Column(7, INTEGER, lambda row: row.vm.autostart),  # vmAutoStart
    Column(8, INTEGER, lambda row: row.vm.persistent),  # vmPersistent
    Column(9, INTEGER, lambda row: integer32(row.vm.cpu_current)),  # vmCurCpuNumber
    Column(10, INTEGER, lambda row: integer32(row.vm.cpu_min)),  # vmMinCpuNumber
    Column(11, INTEGER, lambda row: integer32(row.vm.cpu_max)),  # vmMaxCpuNumber
    Column(12, INTEGER, _memory_unit),  # vmMemUnit
    Column(13, INTEGER, lambda row: in_units(row.vm.memory_current, _memory_unit(row))),  # vmCurMem
    Column(14, INTEGER, lambda row: in_units(row.vm.memory_min, _memory_unit(row))),  # vmMinMem
    Column(15, INTEGER, lambda row: in_units(row.vm.memory_max, _memory_unit(row))),  # vmMaxMem
    # 16 vmUpTime: runs between refreshes, see MibView
    Column(17, COUNTER64, lambda row: counter64(row.vm.cpu_time_us)),  # vmCpuTime
)

# vmCpuTable, vmCpuAffinityTable

CPU_COLUMNS = (Column(2, COUNTER64, lambda cpu: counter64(cpu.time_us)),)  # vmCpuCoreTime
AFFINITY_COLUMNS = (Column(3, INTEGER, lambda affinity: affinity),)  # vmCpuAffinity

# vmStorageTable


def _sizes(disk: Disk) -> tuple[int | None, int | None]:
    """Defined and allocated octets; equal for block and raw, as vmStorageAllocatedSize demands."""
    if disk.source_type in (SourceType.BLOCK, SourceType.RAW):
        return disk.capacity, disk.capacity
    return disk.capacity, disk.allocation


def _storage_unit(disk: Disk) -> int:
    return size_unit(*_sizes(disk))


STORAGE_COLUMNS: tuple[Column, ...] = (
    # 3 vmStorageParent: of the master's hrStorageTable, see MibView
    Column(4, INTEGER, lambda disk: disk.source_type),  # vmStorageSourceType
    Column(5, STRING, lambda disk: text(disk.format)),  # vmStorageSourceTypeString
    Column(6, STRING, lambda disk: text(disk.resource)),  # vmStorageResourceID
    Column(7, INTEGER, lambda disk: disk.access),  # vmStorageAccess
    Column(8, INTEGER, lambda disk: disk.media),  # vmStorageMediaType
    Column(9, STRING, lambda disk: text(disk.bus)),  # vmStorageMediaTypeString
    Column(10, INTEGER, _storage_unit),  # vmStorageSizeUnit
    Column(11, INTEGER, lambda disk: in_units(_sizes(disk)[0], _storage_unit(disk))),  # ...Defined
    Column(
        12, INTEGER, lambda disk: in_units(_sizes(disk)[1], _storage_unit(disk))
    ),  # ...Allocated
    Column(13, COUNTER64, lambda disk: counter64(disk.read_ops)),  # vmStorageReadIOs
    Column(14, COUNTER64, lambda disk: counter64(disk.write_ops)),  # vmStorageWriteIOs
    Column(15, COUNTER64, lambda disk: counter64(disk.read_octets)),  # vmStorageReadOctets
    Column(16, COUNTER64, lambda disk: counter64(disk.write_octets)),  # vmStorageWriteOctets
    Column(17, COUNTER64, lambda disk: counter64(disk.read_latency_us)),  # vmStorageReadLatency
    Column(18, COUNTER64, lambda disk: counter64(disk.write_latency_us)),  # vmStorageWriteLatency
)

# vmNetworkTable

NETWORK_COLUMNS: tuple[Column, ...] = (
    Column(2, INTEGER, lambda nic: integer32(nic.if_index)),  # vmNetworkIfIndex
    Column(3, INTEGER, lambda nic: integer32(nic.parent_if_index)),  # vmNetworkParent
    Column(4, STRING, lambda nic: text(nic.model)),  # vmNetworkModel
    Column(5, STRING, lambda nic: nic.mac),  # vmNetworkPhysAddress
)

SCALAR_ROW: tuple[Oid, ...] = ((0,),)

KNOWN_OBJECTS: tuple[Oid, ...] = (
    *((*oids.HYPERVISOR, number) for number in (1, 2, 3, 4)),
    oids.VM_NUMBER,
    oids.VM_TABLE_LAST_CHANGE,
    *((*oids.VM_ENTRY, number) for number in range(2, 18)),
    (*oids.CPU_ENTRY, 2),
    (*oids.AFFINITY_ENTRY, 3),
    *((*oids.STORAGE_ENTRY, number) for number in range(3, 19)),
    *((*oids.NETWORK_ENTRY, number) for number in range(2, 6)),
    oids.PER_VM_NOTIFICATIONS_ENABLED,
    oids.BULK_NOTIFICATIONS_ENABLED,
)
"""Every object that can be read, with rows or without: what is missing below one of them is an
instance, what is missing elsewhere an object (RFC 3416 section 4.2.1)."""


class MibView:
    """The View of one inventory, made anew when something changed.

    `storage_parents` maps mount points of this host to the master's hrStorageIndex; `object_id`,
    when given, is shown as vmHvObjectID instead of the hypervisor's own.
    """

    def __init__(
        self,
        inventory: Inventory,
        switches: Switches,
        storage_parents: Mapping[str, int],
        object_id: str | None = None,
    ) -> None:
        self._inventory = inventory
        self._switches = switches
        self._parents = storage_parents
        self._object_id = object_id
        self._layout = -1
        self._order: list[str] = []
        self._tables: list[Table] = []
        live = Column(16, TICKS, self._up_time, live=True)  # vmUpTime
        parent = Column(3, INTEGER, self._parent, live=True)  # vmStorageParent
        self._columns: tuple[tuple[Oid, Sequence[Column]], ...] = (
            (oids.VM_ENTRY, (*VM_COLUMNS[:-1], live, VM_COLUMNS[-1])),
            (oids.CPU_ENTRY, CPU_COLUMNS),
            (oids.AFFINITY_ENTRY, AFFINITY_COLUMNS),
            (oids.STORAGE_ENTRY, (parent, *STORAGE_COLUMNS)),
            (oids.NETWORK_ENTRY, NETWORK_COLUMNS),
        )

    def view(self) -> View:
        """The View of this moment."""
        inventory = self._inventory
        tables = [self._switch_scalars()]
        if inventory.hypervisor is not None:
            tables += self._scalars()
            if self._layout != inventory.layout:
                self._layout = inventory.layout
                self._order = sorted(inventory.rows, key=lambda key: inventory.rows[key].index)
                names = self._names()
                self._tables = [
                    Table(entry, columns, rows, records)
                    for (entry, columns), rows, records in zip(
                        self._columns, names, self._records(), strict=True
                    )
                ]
            else:
                self._tables = [
                    table.with_records(records)
                    for table, records in zip(self._tables, self._records(), strict=True)
                ]
            tables += self._tables
        return View(tables, KNOWN_OBJECTS)

    # Scalars

    def _scalars(self) -> list[Table]:
        hypervisor = self._inventory.hypervisor
        if hypervisor is None:
            return []
        columns = (
            Column(1, STRING, lambda _: text(hypervisor.software)),  # vmHvSoftware
            Column(2, STRING, lambda _: text(hypervisor.version)),  # vmHvVersion
            Column(  # vmHvObjectID
                3,
                ValueType.OBJECT_IDENTIFIER,
                lambda _: oid.parse(self._object_id or hypervisor.object_id),
            ),
            Column(4, TICKS, lambda _: self._hv_up_time(), live=True),  # vmHvUpTime
        )
        counts = (
            Column(2, INTEGER, lambda _: integer32(len(self._inventory.rows))),  # vmNumber
            Column(3, TICKS, lambda _: self._last_change()),  # vmTableLastChange
        )
        return [
            Table(oids.HYPERVISOR, columns, SCALAR_ROW, (None,)),
            Table(oids.OBJECTS, counts, SCALAR_ROW, (None,)),
        ]

    def _switch_scalars(self) -> Table:
        switches = self._switches
        columns = (
            Column(9, INTEGER, lambda _: switches.truth_value(per_vm=True), live=True),
            Column(10, INTEGER, lambda _: switches.truth_value(per_vm=False), live=True),
        )
        return Table(oids.OBJECTS, columns, SCALAR_ROW, (None,))

    def _hv_up_time(self) -> int | None:
        started = self._inventory.started
        return None if started is None else ticks(self._inventory.clock.now() - started)

    def _last_change(self) -> int:
        started, changed = self._inventory.started, self._inventory.table_changed
        return 0 if started is None or changed is None else ticks(changed - started)

    def _up_time(self, row: Row) -> int:
        return 0 if row.up_since is None else ticks(self._inventory.clock.now() - row.up_since)

    def _parent(self, disk: Disk) -> int:
        return self._parents.get(disk.mount, 0) if disk.mount else 0

    # Tables, in the order of self._columns

    def _names(self) -> tuple[list[Oid], ...]:
        """The index of every row of every table."""
        vms: list[Oid] = []
        cpus: list[Oid] = []
        affinities: list[Oid] = []
        storages: list[Oid] = [(0, number) for number, _ in self._inventory.volumes]
        networks: list[Oid] = []
        for row in map(self._inventory.rows.__getitem__, self._order):
            index = row.index
            vms.append((index,))
            for cpu in _by_number(row.vm.cpus):
                cpus.append((index, cpu.number + 1))
                affinities += [
                    (index, cpu.number + 1, HR_DEVICE_PROCESSOR + processor)
                    for processor in range(len(cpu.affinity))
                ]
            storages += [(index, number) for number in sorted(row.disks)]
            networks += [(index, number) for number in sorted(row.nics)]
        return vms, cpus, affinities, storages, networks

    def _records(self) -> tuple[list[Any], ...]:
        """What each of those rows shows."""
        vms: list[Row] = [self._inventory.rows[key] for key in self._order]
        cpus: list[Cpu] = []
        affinities: list[int] = []
        storages: list[Disk] = [disk for _, disk in self._inventory.volumes]
        networks: list[Nic] = []
        for row in vms:
            vm = row.vm
            for cpu in _by_number(vm.cpus):
                cpus.append(cpu)
                affinities += cpu.affinity
            storages += _by_index(row.disks, vm.disks)
            networks += _by_index(row.nics, vm.nics)
        return vms, cpus, affinities, storages, networks


def _by_number(cpus: tuple[Cpu, ...]) -> Sequence[Cpu]:
    return sorted(cpus, key=_number) if len(cpus) > 1 else cpus


def _number(cpu: Cpu) -> int:
    return cpu.number


def _by_index(numbers: tuple[int, ...], things: tuple[Any, ...]) -> Sequence[Any]:
    """The things in the order of their numbers, which is mostly the order that they have."""
    if len(numbers) < 2 or all(a < b for a, b in itertools.pairwise(numbers)):
        return things
    return [thing for _, thing in sorted(zip(numbers, things, strict=True), key=lambda p: p[0])]
