"""What may take its time: the hypervisor's version, sizes of images, volumes of pools.

A libvirtd that has just started tries all its emulators before it tells a version; a server of
images that is gone makes calls wait, for minutes or for ever. So these calls are made on a thread
of their own (source.py) at a slow pace. States and counters never wait for them; what is found is
taken up by the next refresh. A disk whose size cannot be had has none.

Pools are only listed, never refreshed: that would be a change of the host, and a costly one.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import libvirt

from vmmib.hypervisor import host, xml
from vmmib.hypervisor.assemble import NO_SIZE, Size
from vmmib.hypervisor.guarded import Guarded, Line
from vmmib.hypervisor.libvirt_connection import Connection, LibvirtError
from vmmib.hypervisor.model import Access, Disk, Hypervisor, MediaType, SourceType
from vmmib.hypervisor.settings import SourceSettings, driver_of, is_local
from vmmib.hypervisor.source import SourceError
from vmmib.hypervisor.xml import DiskDefinition

INTERVAL = 60.0
"""Seconds between two surveys, counted from the end of one."""

RETRY = 5.0
"""Seconds to the next survey while the hypervisor's version is not known."""

MOST_VOLUMES = 10_000
"""Volumes beyond these are not listed."""

T = TypeVar("T")

_VOLUME_TYPES = {
    "block": SourceType.BLOCK,
    "network": SourceType.NETWORK,
    "netdir": SourceType.NETWORK,
    "dir": SourceType.OTHER,
    "ploop": SourceType.SPARSE,
}
_NETWORK_POOLS = frozenset({"rbd", "sheepdog", "gluster", "iscsi-direct"})
_BLOCK_POOLS = frozenset({"disk", "logical", "iscsi", "scsi", "mpath", "zfs"})


class Target(Protocol):
    """A VM to survey; its definition may change meanwhile."""

    key: str
    name: str
    uuid: bytes
    definition: xml.Definition


class Volume(NamedTuple):
    """A volume of a storage pool."""

    disk: Disk
    names: frozenset[str]
    """What a VM's definition may call it."""


class Surveyor:
    """Holds what the last survey found; `run` makes the surveys."""

    def __init__(
        self,
        settings: SourceSettings,
        guarded: Guarded,
        identify: Callable[[Connection], Hypervisor],
    ) -> None:
        self._identify = identify
        self._local = is_local(settings.uri)
        self._on_host = self._local and driver_of(settings.uri) != "test"
        self._list_volumes = settings.volumes is not False
        self._guarded = guarded
        self._session = 0
        self._attached = False
        self._sizes: dict[str, dict[str, Size]] = {}
        self._condition = threading.Condition()
        self._due = 0.0
        self._pending = False
        self.hypervisor: Hypervisor | None = None
        """None: not known."""
        self.found = 0
        """Grows whenever some size is another."""
        self.volumes: list[Volume] | None = None
        """Volumes of all active pools; None: not known."""

    def attach(self) -> None:
        """There is a connection."""
        with self._condition:
            self._session += 1
            self._attached = True
            self._due = time.monotonic() + INTERVAL

    def detach(self) -> None:
        """There is none."""
        with self._condition:
            self._attached = False
            self.volumes = None
            self.hypervisor = None

    def request(self) -> None:
        """Have a survey made now."""
        with self._condition:
            self._due = 0.0
            self._pending = True
            self._condition.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait for the requested survey to end, at most so long."""
        with self._condition:
            self._condition.wait_for(lambda: not self._pending, seconds)

    def wake(self) -> None:
        """End `run` if it waits."""
        with self._condition:
            self._condition.notify_all()

    def sizes(self, key: str) -> dict[str, Size]:
        """The sizes of a VM's disks by target; the same object until they change."""
        return self._sizes.get(key, _NO_SIZES)

    def run(self, seconds: float, targets: Callable[[], Sequence[Target]]) -> None:
        """Make a survey if one is due within so many seconds."""
        with self._condition:
            self._condition.wait(max(0.0, min(seconds, self._due - time.monotonic())))
            if not self._attached or self._due > time.monotonic():
                return
            session = self._session
        try:
            self._survey(session, targets())
        except SourceError:
            pass  # the connection is lost: the poller sees it as well
        finally:
            with self._condition:
                known = self.hypervisor is not None
                self._due = time.monotonic() + (INTERVAL if known else RETRY)
                self._pending = False
                self._condition.notify_all()

    def _survey(self, session: int, targets: Sequence[Target]) -> None:
        hypervisor = self._attempt(lambda line: self._identify(line.connection))
        if hypervisor is not None:
            self.hypervisor = hypervisor
        points = host.mount_points() if self._on_host else []
        if self._list_volumes:
            volumes = self._attempt(lambda line: _read_volumes(line.connection, points))
            with self._condition:
                if volumes is not None and self._attached and self._session == session:
                    self.volumes = volumes
        seen = set()
        for target in targets:
            if not self._attached or self._session != session or self._guarded.full:
                return
            seen.add(target.key)
            identity = target.uuid or target.name
            disks = target.definition.disks
            sizes = self._attempt(partial(_measure, identity, disks, points))
            if sizes is not None and sizes != self._sizes.get(target.key):
                self._sizes[target.key] = sizes
                self.found += 1
        for key in set(self._sizes) - seen:
            del self._sizes[key]

    def _attempt(self, call: Callable[[Line], T]) -> T | None:
        """What a call finds; None when it fails or gets stuck."""
        try:
            return self._guarded.run(call)
        except LibvirtError:
            return None


def _read_volumes(connection: Connection, points: list[str]) -> list[Volume]:
    found: list[Volume] = []
    for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        try:
            root = xml.parse_root(pool.XMLDesc(0), "pool")
            texts = [volume.XMLDesc(0) for volume in pool.listAllVolumes(0)]
        except (LibvirtError, ValueError):
            continue
        for text in texts:
            with contextlib.suppress(ValueError):
                if len(found) < MOST_VOLUMES:
                    found.append(_volume(root.get("type", ""), pool.name(), text, points))
    return found


_NO_SIZES: dict[str, Size] = {}


def _measure(
    identity: bytes | str, disks: Sequence[DiskDefinition], points: list[str], line: Line
) -> dict[str, Size]:
    sizes: dict[str, Size] = {}
    dom = line.domains([identity]).get(identity)
    if dom is None:
        return sizes
    active = bool(dom.isActive())
    for disk in disks:
        size = _resolve_volume(line.connection, disk.volume) if disk.volume else NO_SIZE
        source_type, _, resource = size.source or (disk.source_type, "", disk.resource)
        if not resource:
            continue
        # libvirt opens the image of a domain that is off: over the network it does not try
        if active or source_type is not SourceType.NETWORK:
            with contextlib.suppress(LibvirtError):
                capacity, allocation, _ = dom.blockInfo(disk.target)
                size = size._replace(capacity=capacity, allocation=allocation)
        if points and source_type is not SourceType.NETWORK and resource.startswith("/"):
            size = size._replace(mount=_mount(resource, points))
        if size != NO_SIZE:
            sizes[disk.target] = size
    return sizes


def _mount(path: str, points: list[str]) -> str:
    """The mount point of what a path leads to."""
    with contextlib.suppress(OSError):
        path = os.path.realpath(path)
    return host.mount_of(path, points)


def _resolve_volume(connection: Connection, volume: tuple[str, str]) -> Size:
    """What a disk of type "volume" is, by its pool."""
    pool_name, name = volume
    try:
        pool = connection.storagePoolLookupByName(pool_name)
        kind = xml.parse_root(pool.XMLDesc(0), "pool").get("type", "")
        disk = _volume(kind, pool_name, pool.storageVolLookupByName(name).XMLDesc(0), []).disk
    except (LibvirtError, ValueError):
        return NO_SIZE
    return Size(disk.capacity, disk.allocation, "", (disk.source_type, disk.format, disk.resource))


def _volume(pool_type: str, pool: str, text: str, points: list[str]) -> Volume:
    """One volume by its XML (https://libvirt.org/formatstorage.html). Raises ValueError."""
    root = xml.parse_root(text, "volume")
    name = root.findtext("name") or ""
    path = root.findtext("target/path") or ""
    key = root.findtext("key") or path or f"{pool}/{name}"
    element = root.find("target/format")
    form = element.get("type", "") if element is not None else ""
    media = MediaType.OPTICAL_DISK if form == "iso" else MediaType.HARD_DISK
    kind = root.get("type", "")
    if pool_type in _NETWORK_POOLS:
        source_type, form = SourceType.NETWORK, f"{pool_type} {form or 'raw'}"
    elif kind in _VOLUME_TYPES:
        source_type = _VOLUME_TYPES[kind]
    elif pool_type in _BLOCK_POOLS:
        source_type = SourceType.BLOCK
    else:
        source_type, form = xml.file_source(path, form)
    if source_type is SourceType.BLOCK:
        form = "raw" if form in ("", "unknown") else form
    disk = Disk(
        target=key,
        source_type=source_type,
        format=form,
        resource=path,
        access=Access.UNKNOWN,
        media=media,
        bus="",
        capacity=xml.size_of(root.find("capacity")),
        allocation=xml.size_of(root.find("allocation")),
        mount=_mount(path, points) if points and source_type is not SourceType.NETWORK else "",
    )
    return Volume(disk, frozenset({key, path, f"{pool}/{name}"} - {""}))
