"""From what is known of one VM to the model. No I/O, no libvirt.

A VM is known by parts that change at different paces, so that a poll only has to bring what
changes from one to the next:

    Definition   what its XML says (xml.py); read again when an event says that it changed
    Placement    affinities, interfaces, process: read along with the definition
    Size         of each disk; read by the surveyor
    Reading      state, counters: read at each poll
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

import msgspec

from vmmib.hypervisor.model import (
    AdminState,
    Affinity,
    AutoStart,
    Cpu,
    Disk,
    Nic,
    OperState,
    Persistent,
    SourceType,
    Vm,
)
from vmmib.hypervisor.states import ACTIVE_STATES
from vmmib.hypervisor.xml import Definition

EMPTY = Definition("", 1, 1, (0,), (), None, None, None, (), (), ())
"""Of a VM whose XML cannot be had or understood."""

DiskCounters = tuple[
    int | None, int | None, int | None, int | None, int | None, int | None, int | None
]
"""Capacity, read and write operations, read and write octets, read and write microseconds."""

NO_DISK: DiskCounters = (None,) * 7
_NO_DISKS = repeat(NO_DISK)

IDLE_DISK: DiskCounters = (None, 0, 0, 0, 0, 0, 0)

NicCounters = tuple[
    int | None,
    int | None,
    int | None,
    int | None,
    int | None,
    int | None,
    int | None,
    int | None,
]
"""Received and sent octets, packets, errors, drops."""

NO_NIC: NicCounters = (None,) * 8
_NO_NICS = repeat(NO_NIC)

IDLE_NIC: NicCounters = (0,) * 8


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one poll says of a VM. None: the driver cannot tell."""

    state: int
    """virDomainState"""
    reason: int
    cpu_count: int | None = None
    memory: int | None = None
    """Octets."""
    cpu_time_us: int | None = None
    cpus: tuple[Cpu, ...] | None = None
    disks: Sequence[DiskCounters] = ()
    """In the order of the definition's disks; () when there are no counters."""
    nics: Sequence[NicCounters] = ()
    """In the order of the definition's interfaces; () when there are no counters."""
    job_operation: int | None = None
    job_error: int | None = None
    full: bool = True
    """Not cut short by a guest that does not answer."""


class Size(NamedTuple):
    """What the surveyor found of one disk."""

    capacity: int | None = None
    allocation: int | None = None
    mount: str = ""
    source: tuple[SourceType, str, str] | None = None
    """Source type, format and resource of a volume, by its pool."""


NO_SIZE = Size()


class Placement(NamedTuple):
    """Where a VM sits on its host."""

    affinity: tuple[bytes, ...] = ()
    """Per vCPU number (see model.Cpu)."""
    interfaces: tuple[tuple[int, int], ...] = ()
    """ifIndex and the parent's, per interface of the definition."""
    started: float | None = None
    """Seconds since the epoch."""
    restored: bool = False


NOWHERE = Placement()


class Shape:
    """The constant arguments of a VM's parts, laid out once per definition."""

    __slots__ = ("definition", "disks", "nics", "placement", "resources", "targets")

    def __init__(
        self, definition: Definition, placement: Placement, sizes: dict[str, Size]
    ) -> None:
        self.definition = definition
        self.placement = placement
        self.targets = tuple(disk.target for disk in definition.disks)
        disks = []
        for one in definition.disks:
            size = sizes.get(one.target, NO_SIZE)
            source_type, form, resource = size.source or (
                one.source_type,
                one.format,
                one.resource,
            )
            disks.append(
                (one.target, source_type, form, resource, one.access, one.media, one.bus,
                 size.capacity, size.allocation, size.mount)
            )  # fmt: skip
        self.disks = tuple(disks)
        self.resources = tuple([disk[3] for disk in disks])
        indexes = placement.interfaces
        self.nics = tuple(
            [
                (one.mac, one.target, one.model, *(indexes[number : number + 1] or ((0, 0),))[0])
                for number, one in enumerate(definition.nics)
            ]
        )

    def cpu(self, number: int, time_us: int | None) -> Cpu:
        """One vCPU with the affinity that is known of it."""
        affinity = self.placement.affinity
        return Cpu(number, time_us, affinity[number] if number < len(affinity) else b"")


def assemble(
    key: str,
    uuid: bytes,
    name: str,
    shape: Shape,
    reading: Reading,
    states: tuple[OperState, AdminState | None],
    autostart: AutoStart,
    persistent: Persistent,
) -> Vm:
    """Put a VM together.

    Every assigned vCPU has a row; those that are defined as a maximum and not plugged in have
    none, for vmCpuTable lists virtual CPUs that are "assigned" (RFC 7666, vmCpuEntry). A VM that
    is off has no interfaces of its host.
    """
    definition, placement = shape.definition, shape.placement
    active = reading.state in ACTIVE_STATES
    # Unpacked by name, for this is where a refresh spends its time
    disks = tuple(
        [
            Disk(
                target, source_type, form, resource, access, media, bus,
                capacity if size is None else size, allocation,
                reads, writes, read_octets, write_octets, read_us, write_us, mount,
            )
            for (target, source_type, form, resource, access, media, bus, capacity, allocation,
                 mount), (size, reads, writes, read_octets, write_octets, read_us, write_us)
            in zip(shape.disks, reading.disks or _NO_DISKS, strict=False)
        ]
    )  # fmt: skip
    nics = tuple(
        [
            Nic(
                mac, target if active else "", model,
                index if active else 0, parent if active else 0,
                rx_octets, tx_octets, rx_packets, tx_packets,
                rx_errors, tx_errors, rx_drops, tx_drops,
            )
            for (mac, target, model, index, parent), (
                rx_octets, tx_octets, rx_packets, tx_packets,
                rx_errors, tx_errors, rx_drops, tx_drops,
            ) in zip(shape.nics, reading.nics or _NO_NICS, strict=False)
        ]
    )  # fmt: skip
    cpu_count = reading.cpu_count
    if cpu_count is None:
        cpu_count = definition.cpu_current
    cpus = reading.cpus
    if cpus is None:
        cpus = tuple([shape.cpu(number, None) for number in definition.online])
    memory = reading.memory
    if memory is None:
        memory = definition.memory_current or definition.memory_max or 0
    started = placement.started if active else None
    return Vm(
        key,
        uuid,
        name,
        definition.os_type,
        states[0],
        states[1],
        autostart,
        persistent,
        cpu_count,
        None,
        max(definition.cpu_max, cpu_count),
        memory,
        definition.memory_min,
        definition.memory_max,
        started,
        placement.restored if started is not None else False,
        reading.cpu_time_us,
        cpus,
        disks,
        nics,
    )


def affinity_of(definition: Definition, cpu_count: int) -> tuple[bytes, ...]:
    """Affinities by the XML, per vCPU number; () when the host's CPUs are not known."""
    if cpu_count <= 0 or not definition.online:
        return ()
    pins = dict(definition.affinity)
    masks: dict[frozenset[int] | None, bytes] = {None: bytes([Affinity.ENABLE]) * cpu_count}
    found = []
    for number in range(definition.online[-1] + 1):
        cpus = pins.get(number)
        if cpus not in masks:
            masks[cpus] = mask(cpus or frozenset(), cpu_count)
        found.append(masks[cpus])
    return tuple(found)


def mask(cpus: frozenset[int], cpu_count: int) -> bytes:
    """A set of physical CPUs as one Affinity per CPU."""
    octets = bytearray([Affinity.DISABLE]) * cpu_count
    for cpu in cpus:
        if cpu < cpu_count:
            octets[cpu] = Affinity.ENABLE
    return bytes(octets)


def mask_of_map(cpu_map: Sequence[bool], cpu_count: int) -> bytes:
    """Libvirt's CPU map as one Affinity per CPU."""
    octets = [Affinity.ENABLE if one else Affinity.DISABLE for one in cpu_map[:cpu_count]]
    return bytes(octets).ljust(cpu_count, bytes([Affinity.DISABLE]))
