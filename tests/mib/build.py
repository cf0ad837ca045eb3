"""Short ways to make models and messages."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from vmmib.hypervisor.messages import Refreshed
from vmmib.hypervisor.model import (
    Access,
    AdminState,
    AutoStart,
    Cpu,
    Disk,
    Hypervisor,
    MediaType,
    Nic,
    OperState,
    Persistent,
    SourceType,
    Vm,
)

HYPERVISOR = Hypervisor(
    driver="QEMU",
    software="QEMU/KVM",
    version="7.2.0",
    object_id="1.3.6.1.4.1.2312",
    hostname="host",
    started=None,
    cpu_count=2,
)

GIB = 2**30


def disk(target: str = "vda", **fields: Any) -> Disk:
    plain = Disk(
        target=target,
        source_type=SourceType.SPARSE,
        format="qcow2",
        resource=f"/images/{target}.qcow2",
        access=Access.READWRITE,
        media=MediaType.HARD_DISK,
        bus="virtio",
        capacity=10 * GIB,
        allocation=GIB,
        read_ops=1,
        write_ops=2,
        read_octets=3,
        write_octets=4,
        read_latency_us=5,
        write_latency_us=6,
    )
    return msgspec.structs.replace(plain, **fields)


def nic(last: int = 1, **fields: Any) -> Nic:
    plain = Nic(mac=bytes((0x52, 0x54, 0, 0, 0, last)), target=f"vnet{last}", model="virtio")
    return msgspec.structs.replace(plain, **fields)


_ADMIN = {
    OperState.RUNNING: AdminState.RUNNING,
    OperState.PAUSED: AdminState.PAUSED,
    OperState.SUSPENDED: AdminState.SUSPENDED,
    OperState.SUSPENDING: AdminState.SUSPENDED,
    OperState.RESUMING: AdminState.RUNNING,
    OperState.MIGRATING: AdminState.RUNNING,
    OperState.PREPARING: AdminState.RUNNING,
    OperState.SHUTTINGDOWN: AdminState.SHUTDOWN,
    OperState.SHUTDOWN: AdminState.SHUTDOWN,
}


def vm(name: str = "a", oper: OperState = OperState.RUNNING, **fields: Any) -> Vm:
    """A VM whose UUID follows from its name."""
    number = uuid.uuid5(uuid.NAMESPACE_DNS, name)
    plain = Vm(
        key=number.hex,
        uuid=number.bytes,
        name=name,
        os_type="hvm",
        oper=oper,
        admin=_ADMIN.get(oper),
        autostart=AutoStart.DISABLED,
        persistent=Persistent.PERSISTENT,
        cpu_current=1,
        cpu_min=None,
        cpu_max=2,
        memory_current=GIB,
        memory_min=None,
        memory_max=2 * GIB,
        cpu_time_us=7,
        cpus=(Cpu(0, 7, b"\1\2"),),
        disks=(disk(),),
        nics=(nic(),),
    )
    return msgspec.structs.replace(plain, **fields)


def refreshed(*, complete: bool = False, **fields: Any) -> Refreshed:
    plain = Refreshed(
        hypervisor=HYPERVISOR, complete=complete, removed=(), volumes=None, total=0, seconds=0.1
    )
    return msgspec.structs.replace(plain, **fields)
