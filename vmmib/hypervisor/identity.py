"""What a hypervisor is: software, version, vendor, CPUs, and since when it runs.

vmHvObjectID is an OID of the vendor's own under 1.3.6.1.4.1. VMware publishes one for ESX; the
others have none for their hypervisor and are known by their enterprise's number
(https://www.iana.org/assignments/enterprise-numbers).

When the hypervisor was initialised is, for one that is part of its host's kernel, the host's
boot. Of this host the kernel says it; of another, libvirt does by the time that its CPUs spent.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET

import msgspec

from vmmib.hypervisor import xml
from vmmib.hypervisor.host import BootTime
from vmmib.hypervisor.libvirt_connection import Connection, LibvirtError
from vmmib.hypervisor.model import Hypervisor
from vmmib.hypervisor.settings import SourceSettings, is_local

_REDHAT = "1.3.6.1.4.1.2312"

_KNOWN = {
    # libvirt's driver: (vmHvSoftware, vmHvObjectID)
    "QEMU": ("QEMU", _REDHAT),
    "TEST": ("libvirt test driver", _REDHAT),
    "LXC": ("LXC (libvirt)", _REDHAT),
    "ESX": ("VMware ESXi", "1.3.6.1.4.1.6876.4.1"),
    "VMware": ("VMware Workstation", "1.3.6.1.4.1.6876"),
    "Xen": ("Xen", "1.3.6.1.4.1.3845"),
    "XenAPI": ("XenServer", "1.3.6.1.4.1.3845"),
    "Hyper-V": ("Microsoft Hyper-V", "1.3.6.1.4.1.311"),
    "VBOX": ("Oracle VM VirtualBox", "1.3.6.1.4.1.111"),
    "BHYVE": ("bhyve", "1.3.6.1.4.1.2238"),
    "CH": ("Cloud Hypervisor", _REDHAT),
    "vz": ("Virtuozzo", _REDHAT),
}

_IN_KERNEL = frozenset({"QEMU", "Xen", "LXC", "CH", "BHYVE", "vz"})
"""Drivers whose hypervisor begins with its host's boot."""

_REMOTE_TOLERANCE = 60.0
"""Seconds; an uptime by CPU times is no better than this, and is to stand still."""

_remote_starts: dict[str, float] = {}
_boot = BootTime()


def version_text(number: int) -> str:
    """Libvirt's version number as text: 7002000 is "7.2.0"."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def identify(connection: Connection, settings: SourceSettings, opened: float) -> Hypervisor:
    """Ask a connection for the Hypervisor; `opened` is the time at which this process began to.

    For a QEMU whose libvirtd has just started this takes seconds: it tries all its emulators.
    Raises libvirtError only where the hypervisor does not even tell its driver.
    """
    found = outline(connection, settings, opened)
    software = "QEMU/KVM" if found.driver == "QEMU" and _has_kvm(connection) else found.software
    return msgspec.structs.replace(found, software=software, version=_version(connection))


def outline(connection: Connection, settings: SourceSettings, opened: float) -> Hypervisor:
    """What of the Hypervisor is to be had without waiting: all but its version."""
    driver = connection.getType()
    software, object_id = _KNOWN.get(driver, (driver, _REDHAT))
    return Hypervisor(
        driver=driver,
        software=software,
        version="",
        object_id=object_id,
        hostname=_hostname(connection),
        started=_started(connection, settings, driver, opened),
        cpu_count=cpu_count(connection),
    )


def _has_kvm(connection: Connection) -> bool:
    try:
        capabilities: ET.Element = xml.parse_root(connection.getCapabilities(), "capabilities")
    except (LibvirtError, ValueError):
        return False
    return any(one.get("type") == "kvm" for one in capabilities.iterfind("guest/arch/domain"))


def _version(connection: Connection) -> str:
    try:
        return version_text(connection.getVersion())
    except (LibvirtError, TypeError):
        return ""


def _hostname(connection: Connection) -> str:
    try:
        return str(connection.getHostname())
    except (LibvirtError, ValueError):
        return ""


def cpu_count(connection: Connection) -> int:
    """Physical CPUs, those that are offline among them, for affinities count them too."""
    try:
        return int(connection.getCPUMap()[0])
    except (LibvirtError, TypeError):
        pass
    try:
        return int(connection.getInfo()[2])
    except (LibvirtError, TypeError):
        return 0


def _started(
    connection: Connection, settings: SourceSettings, driver: str, opened: float
) -> float | None:
    if driver == "TEST":
        # In this very process, unless a daemon holds it, which does not say since when
        return opened if settings.uri.startswith("test:") and is_local(settings.uri) else None
    if driver not in _IN_KERNEL:
        return None
    if is_local(settings.uri):
        return _boot.get()
    return _remote_start(connection, settings.uri)


def _remote_start(connection: Connection, uri: str) -> float | None:
    """The boot of another host: its CPUs' times together, shared by its CPUs."""
    try:
        times = connection.getCPUStats(-1, 0)
        _, online, _ = connection.getCPUMap()
        count = sum(1 for one in online if one)
    except (LibvirtError, TypeError, ValueError):
        return None
    total = sum(times.get(key, 0) for key in ("kernel", "user", "idle", "iowait"))
    if not count or not total:
        return None
    started: float = time.time() - total / 1e9 / count
    before = _remote_starts.get(uri)
    if before is not None and abs(before - started) <= _REMOTE_TOLERANCE:
        return before
    _remote_starts[uri] = started
    return started
