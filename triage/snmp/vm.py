"""What the rows of one machine say: values of VM-MIB and IF-MIB to a VmState. Pure.

A column that an agent does not have is None in the state: ESX's shows neither vmCpuTime nor
storage counters. Units (RFC 7666): vmCpuTime, vmCpuCoreTime and the storage latencies count
microseconds; vmUpTime is in hundredths of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from triage.evidence import VmCpu, VmDisk, VmNic, VmOperState, VmState
from triage.snmp import oids, uuid
from triage.snmp.rates import Span
from triage.snmp.values import Oid, Rows, Value, printable, ticks_since

VM_COLUMNS: tuple[Oid, ...] = (
    oids.VM_NAME,
    oids.VM_UUID,
    oids.VM_ADMIN_STATE,
    oids.VM_OPER_STATE,
    oids.VM_CUR_CPU_NUMBER,
    oids.VM_UP_TIME,
    oids.VM_CPU_TIME,
)
STORAGE_COUNTERS: tuple[Oid, ...] = (
    oids.VM_STORAGE_READ_IOS,
    oids.VM_STORAGE_WRITE_IOS,
    oids.VM_STORAGE_READ_OCTETS,
    oids.VM_STORAGE_WRITE_OCTETS,
    oids.VM_STORAGE_READ_LATENCY,
    oids.VM_STORAGE_WRITE_LATENCY,
)
STORAGE_COLUMNS: tuple[Oid, ...] = (
    oids.VM_STORAGE_RESOURCE_ID,
    oids.VM_STORAGE_SIZE_UNIT,
    oids.VM_STORAGE_DEFINED_SIZE,
    oids.VM_STORAGE_ALLOCATED_SIZE,
    *STORAGE_COUNTERS,
)
NETWORK_COLUMNS: tuple[Oid, ...] = (oids.VM_NETWORK_IF_INDEX, oids.VM_NETWORK_PHYS_ADDRESS)
IF_COUNTERS: tuple[Oid, ...] = (
    oids.IF_IN_ERRORS,
    oids.IF_OUT_ERRORS,
    oids.IF_IN_DISCARDS,
    oids.IF_OUT_DISCARDS,
    oids.IF_HC_IN_UCAST,
    oids.IF_HC_OUT_UCAST,
    oids.IF_IN_UCAST,
    oids.IF_OUT_UCAST,
)
IF_COLUMNS: tuple[Oid, ...] = (
    oids.IF_DESCR,
    oids.IF_NAME,
    oids.IF_ADMIN_STATUS,
    oids.IF_OPER_STATUS,
    oids.IF_LAST_CHANGE,
    *IF_COUNTERS,
)

MAX_DEVICES = 1024
"""Disks, NICs and CPUs of one machine that are looked at, each."""


@dataclass(slots=True)
class VmRows:
    """Everything that was read of one machine."""

    node: str
    hypervisor: str
    vm_index: int
    uuid: str
    """As the hypervisor writes it, canonical."""
    swapped: bool = False
    vm: dict[Oid, Value] = field(default_factory=dict)
    """Column -> value."""
    cpus: Rows = field(default_factory=dict)
    disks: Rows = field(default_factory=dict)
    nics: Rows = field(default_factory=dict)
    interfaces: dict[int, dict[Oid, Value]] = field(default_factory=dict)
    """ifIndex -> column -> value."""
    sys_up_time: Value | None = None
    """Of the host's agent, read with the interfaces."""
    host_loads: list[int] = field(default_factory=list)
    """hrProcessorLoad of each processor, percent."""
    asked_at: float = 0.0
    rates_read: bool = False
    """Whether its counters were read for as long as patience goes."""
    span: Span | None = None
    """Of the machine's own counters."""
    if_span: Span | None = None
    """Of its interfaces' counters."""

    @property
    def oper_state(self) -> VmOperState:
        """vmOperState; unknown when it is missing or no number of RFC 7666."""
        number = _number(self.vm, oids.VM_OPER_STATE)
        return oids.OPER_STATES.get(number or 0, VmOperState.UNKNOWN)

    def counter_names(self) -> list[Oid]:
        """Names of the machine's counters that exist."""
        names = [
            (*column, *index)
            for rows in (self.cpus, self.disks)
            for index, row in rows.items()
            for column in row
            if column in STORAGE_COUNTERS or column == oids.VM_CPU_CORE_TIME
        ]
        if _number(self.vm, oids.VM_CPU_TIME) is not None:
            names.insert(0, (*oids.VM_CPU_TIME, self.vm_index))
        return names

    def if_counter_names(self) -> list[Oid]:
        """Names of its interfaces' counters that exist."""
        return [
            (*column, number)
            for number, row in self.interfaces.items()
            for column in IF_COUNTERS
            if _number(row, column) is not None
        ]

    def if_indexes(self) -> list[int]:
        """Interfaces of the hypervisor that its NICs are."""
        found = (_number(row, oids.VM_NETWORK_IF_INDEX) for row in self.nics.values())
        return sorted({number for number in found if number})


def state(rows: VmRows) -> VmState:
    """Make the state of a machine out of its rows."""
    up_time = rows.vm.get(oids.VM_UP_TIME)
    admin = _number(rows.vm, oids.VM_ADMIN_STATE)
    return VmState(
        node=rows.node,
        uuid=rows.uuid,
        hypervisor=rows.hypervisor,
        vm_index=rows.vm_index,
        name=_text(rows.vm, oids.VM_NAME),
        oper_state=rows.oper_state,
        admin_state=None if admin is None else oids.ADMIN_STATES.get(admin),
        up_seconds=None if up_time is None else up_time.seconds,
        cpu=_cpu(rows),
        disks=tuple(_disk(rows, index, row) for index, row in sorted(rows.disks.items())),
        nics=tuple(_nic(rows, index, row) for index, row in sorted(rows.nics.items())),
        asked_at=rows.asked_at,
        swapped=rows.swapped,
        interval=None if rows.span is None else round(rows.span.seconds, 3),
    )


def deciding(rows: VmRows) -> list[str]:
    """The rows that decide, as snmpwalk prints them."""
    lines = [
        oids.row((*column, rows.vm_index), value)
        for column in VM_COLUMNS[:4] + VM_COLUMNS[5:6]
        if (value := rows.vm.get(column)) is not None and not value.missing
    ]
    for number, row in sorted(rows.interfaces.items()):
        if _up(row, oids.IF_ADMIN_STATUS) is False or _up(row, oids.IF_OPER_STATUS) is False:
            lines += [
                oids.row((*column, number), row[column])
                for column in (oids.IF_DESCR, oids.IF_ADMIN_STATUS, oids.IF_OPER_STATUS)
                if column in row and not row[column].missing
            ]
    return lines


# CPU


def _cpu(rows: VmRows) -> VmCpu:
    vcpus = _number(rows.vm, oids.VM_CUR_CPU_NUMBER) or len(rows.cpus) or None
    cores = [_share(rows.span, (*oids.VM_CPU_CORE_TIME, *index)) for index in rows.cpus]
    known = [share for share in cores if share is not None]
    whole = _share(rows.span, (*oids.VM_CPU_TIME, rows.vm_index), vcpus or 0)
    if whole is None and known and len(known) == len(rows.cpus):
        whole = sum(known) / len(known)
    loads = rows.host_loads
    return VmCpu(
        vcpus=vcpus,
        usage=whole,
        busiest=max(known, default=None),
        host_load=sum(loads) / len(loads) / 100 if loads else None,
        host_cpus=len(loads) or None,
    )


def _share(span: Span | None, name: Oid, vcpus: int = 1) -> float | None:
    """0 to 1: microseconds of CPU for each microsecond of time and virtual CPU."""
    rate = None if span is None else span.per_second(name)
    if rate is None or not vcpus:
        return None
    return min(rate / 1e6 / vcpus, 1.0)


# Disks


def _disk(rows: VmRows, index: Oid, row: Mapping[Oid, Value]) -> VmDisk:
    def rate(column: Oid) -> float | None:
        return None if rows.span is None else rows.span.per_second((*column, *index))

    unit = _number(row, oids.VM_STORAGE_SIZE_UNIT)
    return VmDisk(
        index=index[-1],
        name=_text(row, oids.VM_STORAGE_RESOURCE_ID),
        reads_per_s=rate(oids.VM_STORAGE_READ_IOS),
        writes_per_s=rate(oids.VM_STORAGE_WRITE_IOS),
        read_octets_per_s=rate(oids.VM_STORAGE_READ_OCTETS),
        write_octets_per_s=rate(oids.VM_STORAGE_WRITE_OCTETS),
        read_latency_ms=_latency(
            rows.span, index, oids.VM_STORAGE_READ_LATENCY, oids.VM_STORAGE_READ_IOS
        ),
        write_latency_ms=_latency(
            rows.span, index, oids.VM_STORAGE_WRITE_LATENCY, oids.VM_STORAGE_WRITE_IOS
        ),
        allocated_octets=_size(row, oids.VM_STORAGE_ALLOCATED_SIZE, unit),
        capacity_octets=_size(row, oids.VM_STORAGE_DEFINED_SIZE, unit),
    )


def _latency(span: Span | None, index: Oid, total: Oid, requests: Oid) -> float | None:
    """Milliseconds of a request: what all took by how many there were."""
    if span is None:
        return None
    taken, done = span.growth((*total, *index)), span.growth((*requests, *index))
    return None if taken is None or not done else taken / done / 1000


def _size(row: Mapping[Oid, Value], column: Oid, unit: int | None) -> int | None:
    number = _number(row, column)
    return None if number is None or number < 0 or not unit else number * unit


# Network


def _nic(rows: VmRows, index: Oid, row: Mapping[Oid, Value]) -> VmNic:
    number = _number(row, oids.VM_NETWORK_IF_INDEX) or None
    interface = rows.interfaces.get(number or 0, {})

    def rate(*columns: Oid) -> float | None:
        """Of the first of these columns that is there."""
        if rows.if_span is None or number is None:
            return None
        rates = (rows.if_span.per_second((*column, number)) for column in columns)
        return next((one for one in rates if one is not None), None)

    address = row.get(oids.VM_NETWORK_PHYS_ADDRESS)
    return VmNic(
        index=index[-1],
        if_index=number,
        name=_text(interface, oids.IF_NAME) or _text(interface, oids.IF_DESCR),
        mac="" if address is None else _mac(address.octets or b""),
        admin_up=_up(interface, oids.IF_ADMIN_STATUS),
        oper_up=_up(interface, oids.IF_OPER_STATUS),
        in_errors_per_s=rate(oids.IF_IN_ERRORS),
        out_errors_per_s=rate(oids.IF_OUT_ERRORS),
        in_discards_per_s=rate(oids.IF_IN_DISCARDS),
        out_discards_per_s=rate(oids.IF_OUT_DISCARDS),
        in_packets_per_s=rate(oids.IF_HC_IN_UCAST, oids.IF_IN_UCAST),
        out_packets_per_s=rate(oids.IF_HC_OUT_UCAST, oids.IF_OUT_UCAST),
        changed_at=_changed_at(rows, interface),
    )


def _changed_at(rows: VmRows, interface: Mapping[Oid, Value]) -> float | None:
    """Time of day of ifLastChange, which is sysUpTime then (0: before the agent started)."""
    changed = interface.get(oids.IF_LAST_CHANGE)
    if changed is None or rows.sys_up_time is None or not changed.number:
        return None
    ago = ticks_since(rows.sys_up_time, changed)
    return None if ago is None else rows.asked_at - ago


_UP = {oids.IF_ADMIN_STATUS: {1}, oids.IF_OPER_STATUS: {1}}
_NOT_TOLD = {oids.IF_ADMIN_STATUS: {0}, oids.IF_OPER_STATUS: {0, 4}}
"""unknown(4) of ifOperStatus is neither up nor down."""


def _up(row: Mapping[Oid, Value], column: Oid) -> bool | None:
    number = _number(row, column) or 0
    return None if number in _NOT_TOLD[column] else number in _UP[column]


def _mac(octets: bytes) -> str:
    return octets.hex(":") if len(octets) == 6 else printable(octets.decode("ascii", "replace"))


# Values


def _number(row: Mapping[Oid, Value], column: Oid) -> int | None:
    value = row.get(column)
    return None if value is None else value.number


def _text(row: Mapping[Oid, Value], column: Oid) -> str:
    value = row.get(column)
    return "" if value is None else value.text


def uuid_of(value: Value | None) -> str:
    """Give the canonical form of a vmUUID, "" when it names no machine."""
    octets = None if value is None else value.octets
    return "" if octets is None else uuid.from_octets(octets)


def present(values: Mapping[Oid, Value], names: Sequence[Oid]) -> dict[Oid, Value]:
    """Those of `names` that have a value."""
    return {name: values[name] for name in names if name in values and not values[name].missing}
