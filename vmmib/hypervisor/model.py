"""The model that everything reads: a hypervisor and its virtual machines at one moment.

Frozen msgspec structs: as readable as frozen dataclasses, a tenth of their cost to build, compare
and send between processes (a refresh of 1,000 domains makes some 8,000 of them). Units are in
the names, None means that the source cannot tell, and the enumerations carry the numbers of the
textual conventions of RFC 7666 and of IANA-STORAGE-MEDIA-TYPE-MIB.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec


class OperState(IntEnum):
    """VirtualMachineOperState (RFC 7666)."""

    UNKNOWN = 1
    OTHER = 2
    PREPARING = 3
    RUNNING = 4
    SUSPENDING = 5
    SUSPENDED = 6
    RESUMING = 7
    PAUSED = 8
    MIGRATING = 9
    SHUTTINGDOWN = 10
    SHUTDOWN = 11
    CRASHED = 12


class AdminState(IntEnum):
    """VirtualMachineAdminState (RFC 7666)."""

    RUNNING = 1
    SUSPENDED = 2
    PAUSED = 3
    SHUTDOWN = 4


class AutoStart(IntEnum):
    """VirtualMachineAutoStart (RFC 7666)."""

    UNKNOWN = 1
    ENABLED = 2
    DISABLED = 3


class Persistent(IntEnum):
    """VirtualMachinePersistent (RFC 7666)."""

    UNKNOWN = 1
    PERSISTENT = 2
    TRANSIENT = 3


class SourceType(IntEnum):
    """VirtualMachineStorageSourceType (RFC 7666)."""

    UNKNOWN = 1
    OTHER = 2
    BLOCK = 3
    RAW = 4
    SPARSE = 5
    NETWORK = 6


class Access(IntEnum):
    """VirtualMachineStorageAccess (RFC 7666)."""

    UNKNOWN = 1
    READWRITE = 2
    READONLY = 3


class MediaType(IntEnum):
    """IANAStorageMediaType."""

    OTHER = 1
    UNKNOWN = 2
    HARD_DISK = 3
    OPTICAL_DISK = 4
    FLOPPY_DISK = 5


class Affinity(IntEnum):
    """The values of vmCpuAffinity (RFC 7666)."""

    UNKNOWN = 0
    ENABLE = 1
    DISABLE = 2


class Cpu(msgspec.Struct, frozen=True, array_like=True):
    """One virtual CPU."""

    number: int
    """libvirt's vCPU number, from 0."""
    time_us: int | None = None
    affinity: bytes = b""
    """One octet (an Affinity value) per physical CPU, in order of its number; empty: unknown."""


class Disk(msgspec.Struct, frozen=True, array_like=True):
    """One disk, CD-ROM or floppy of a VM, or a volume of a storage pool."""

    target: str
    """Stable within its VM: the target device ("vda"); of a volume, its key ("/pool/a.qcow2")."""
    source_type: SourceType
    format: str
    """"qcow2", "raw", ...; for a network source its protocol as well ("rbd raw")."""
    resource: str
    """The path, device, URL or volume that holds the data; "" for an empty drive."""
    access: Access
    media: MediaType
    bus: str
    """"virtio", "scsi", "ide", ..."""
    capacity: int | None = None
    """Octets that the guest sees."""
    allocation: int | None = None
    """Octets occupied on the host."""
    read_ops: int | None = None
    write_ops: int | None = None
    read_octets: int | None = None
    write_octets: int | None = None
    read_latency_us: int | None = None
    write_latency_us: int | None = None
    mount: str = ""
    """Mount point of the host's file system that holds `resource`; "" when not a local file."""


class Nic(msgspec.Struct, frozen=True, array_like=True):
    """One network interface of a VM."""

    mac: bytes
    """6 octets, or empty when unknown."""
    target: str
    """The host's end ("vnet3"); "" when the VM is off or there is none."""
    model: str
    if_index: int = 0
    """ifIndex of `target` on this host, else 0."""
    parent_if_index: int = 0
    """ifIndex of the bridge or lower device of `target`, else 0."""
    rx_octets: int | None = None
    """Received by the guest, as the hypervisor counts."""
    tx_octets: int | None = None
    rx_packets: int | None = None
    tx_packets: int | None = None
    rx_errors: int | None = None
    tx_errors: int | None = None
    rx_drops: int | None = None
    tx_drops: int | None = None


class Vm(msgspec.Struct, frozen=True, array_like=True):
    """One virtual machine."""

    key: str
    """Identity for as long as the VM exists: its UUID as 32 hex digits, else "name:NAME"."""
    uuid: bytes
    """16 octets as the hypervisor shows them, or empty when it knows none."""
    name: str
    os_type: str
    oper: OperState
    admin: AdminState | None
    """None: the source cannot tell, the last known one stands."""
    autostart: AutoStart
    persistent: Persistent
    cpu_current: int
    cpu_min: int | None
    """None: no hard boundary (-1 in VM-MIB)."""
    cpu_max: int | None
    memory_current: int
    """Octets."""
    memory_min: int | None
    memory_max: int | None
    started: float | None = None
    """Seconds since the epoch at which the running instance (process) began; None: unknown."""
    restored: bool = False
    """`started` is that of a restore or an incoming migration, not of a boot."""
    cpu_time_us: int | None = None
    cpus: tuple[Cpu, ...] = ()
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()


class Hypervisor(msgspec.Struct, frozen=True, array_like=True):
    """The hypervisor itself."""

    driver: str
    """libvirt's driver ("QEMU", "ESX", "Xen", "TEST", ...)."""
    software: str
    """vmHvSoftware, without its version."""
    version: str
    object_id: str
    """Dotted OID below 1.3.6.1.4.1 of the hypervisor's vendor."""
    hostname: str
    started: float | None
    """Seconds since the epoch at which the hypervisor was last initialised; None: unknown."""
    cpu_count: int
    """Physical CPUs that vCPUs can be placed on."""
