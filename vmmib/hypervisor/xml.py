"""From a domain's XML to its definition: what of a VM does not change from poll to poll.

Pure. The text comes from the hypervisor, parts of it from whoever may define domains there, so
it is read as a stranger's: no document type (hence no entities to expand), a bound on its
length, and whatever is missing or makes no sense is as good as not there. The elements are those
of https://libvirt.org/formatdomain.html.

Every driver's XML is taken: what one driver leaves out (ESX gives no driver type, LXC no disks)
is unknown.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import NamedTuple

from vmmib.hypervisor.model import Access, MediaType, SourceType

MAX_LENGTH = 16 * 1024 * 1024
"""Characters; libvirt itself refuses longer documents."""

MAX_CPUS = 8192
"""Numbers of vCPUs and CPUs beyond this are nonsense, and would make rows without end."""

_PROLOGUE = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--(?:[^-]|-(?!->))*-->\s*)*<(?![!?])")
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}")

_UNITS = {
    "b": 1, "bytes": 1,
    "kb": 1000, "k": 1 << 10, "kib": 1 << 10,
    "mb": 1000**2, "m": 1 << 20, "mib": 1 << 20,
    "gb": 1000**3, "g": 1 << 30, "gib": 1 << 30,
    "tb": 1000**4, "t": 1 << 40, "tib": 1 << 40,
    "pb": 1000**5, "p": 1 << 50, "pib": 1 << 50,
    "eb": 1000**6, "e": 1 << 60, "eib": 1 << 60,
}  # fmt: skip

_UNLIMITED = (1 << 63) - 1024
"""libvirt's "no limit" of memory, in octets."""

_MEDIA = {
    "disk": MediaType.HARD_DISK,
    "lun": MediaType.HARD_DISK,
    "cdrom": MediaType.OPTICAL_DISK,
    "floppy": MediaType.FLOPPY_DISK,
}

_RAW_FORMATS = frozenset({"raw", "iso"})


class DefinitionError(ValueError):
    """The text is no domain's XML."""


class DiskDefinition(NamedTuple):
    """A disk as it is defined."""

    target: str
    source_type: SourceType
    format: str
    resource: str
    access: Access
    media: MediaType
    bus: str
    volume: tuple[str, str] | None
    """(pool, volume), to be resolved by the pool."""
    local: bool
    """`resource` is a path on the hypervisor's host."""


class NicDefinition(NamedTuple):
    """A network interface as it is defined."""

    mac: bytes
    target: str
    model: str


class Definition(NamedTuple):
    """A domain as it is defined. Sizes are octets; None: not said."""

    os_type: str
    cpu_current: int
    cpu_max: int
    online: tuple[int, ...]
    """Numbers of the vCPUs that are assigned, in order."""
    affinity: tuple[tuple[int, frozenset[int]], ...]
    """(vCPU, physical CPUs) where the XML pins; what is not in here may run anywhere."""
    memory_current: int | None
    memory_max: int | None
    memory_min: int | None
    disks: tuple[DiskDefinition, ...]
    nics: tuple[NicDefinition, ...]
    backing: tuple[str, ...]
    """Resources of the disks' backing chains."""


def parse(text: str) -> Definition:
    """The definition that a domain's XML holds. Raises DefinitionError."""
    root = parse_root(text, "domain")
    cpu_max = _int(root.findtext("vcpu"), MAX_CPUS) or 1
    vcpu = root.find("vcpu")
    current = _int(vcpu.get("current") if vcpu is not None else None, MAX_CPUS)
    cpu_current = min(current or cpu_max, cpu_max)
    disks = tuple(_disks(root))
    return Definition(
        os_type=_os_type(root),
        cpu_current=cpu_current,
        cpu_max=cpu_max,
        online=_online(root, cpu_current),
        affinity=_affinity(root, vcpu, cpu_max),
        memory_current=size_of(root.find("currentMemory")),
        memory_max=size_of(root.find("memory")),
        memory_min=size_of(root.find("memtune/min_guarantee")),
        disks=disks,
        nics=tuple(_nics(root)),
        backing=tuple(_backing(root)),
    )


def parse_root(text: str, tag: str) -> ET.Element:
    """The root element of one of libvirt's documents. Raises DefinitionError."""
    if len(text) > MAX_LENGTH:
        raise DefinitionError(f"XML of {len(text)} characters, at most {MAX_LENGTH} are taken")
    if not _PROLOGUE.match(text):
        raise DefinitionError("XML with a document type, or none at all")
    try:
        root = ET.fromstring(text)  # noqa: S314 (see the prologue)
    except (ET.ParseError, ValueError) as error:
        raise DefinitionError(f"broken XML: {error}") from None
    if root.tag != tag:
        raise DefinitionError(f"XML of a {root.tag[:40]!r}, not of a {tag!r}")
    return root


def parse_cpuset(text: str) -> frozenset[int]:
    """The CPUs of a set such as "0-3,^2,8"; what makes no sense is left out."""
    found: set[int] = set()
    for item in text.replace(" ", "").split(","):
        exclude = item.startswith("^")
        first, dash, last = item.removeprefix("^").partition("-")
        low = _int(first, MAX_CPUS)
        high = _int(last, MAX_CPUS) if dash else low
        if low is None or high is None:
            continue
        if exclude:
            found.difference_update(range(low, high + 1))
        else:
            found.update(range(low, high + 1))
    return frozenset(found)


def file_source(path: str, form: str) -> tuple[SourceType, str]:
    """(source type, format) of a file on the hypervisor's host.

    Where the driver names no format the file's suffix does; else it is raw, which is what libvirt
    takes it for: it does not look into images that a guest could have written.
    """
    if not form:
        if not path:
            return SourceType.UNKNOWN, ""
        suffix = path.rpartition(".")[2].lower()
        form = suffix if suffix in ("vmdk", "vhd", "vhdx", "vdi", "qcow2") else "raw"
    return (SourceType.RAW if form in _RAW_FORMATS else SourceType.SPARSE), form


def _int(text: str | None, limit: int) -> int | None:
    """A decimal number of 0 to `limit`, else None."""
    text = (text or "").strip()
    if not text.isascii() or not text.isdecimal() or len(text) > 20:
        return None
    number = int(text)
    return number if number <= limit else None


def size_of(element: ET.Element | None) -> int | None:
    """The octets of an element with a unit (KiB by default); None: missing or unlimited."""
    if element is None:
        return None
    number = _int(element.text, 1 << 64)
    unit = _UNITS.get(element.get("unit", "KiB").lower())
    if number is None or unit is None or number * unit >= _UNLIMITED:
        return None
    return number * unit


def _os_type(root: ET.Element) -> str:
    """The operating system by libosinfo's identifier in the metadata, else the kind of guest.

    `http://debian.org/debian/12` is "debian 12". Without it libvirt knows no more than "hvm",
    "xen", "exe" or "linux".
    """
    metadata = root.find("metadata")
    if metadata is not None:
        for element in metadata.iter():
            if isinstance(element.tag, str) and element.tag.endswith("}os"):
                _, _, path = element.get("id", "").partition("://")
                words = path.split("/")[1:]
                if any(words):
                    return " ".join(word for word in words if word)
    return (root.findtext("os/type") or "").strip()


def _online(root: ET.Element, current: int) -> tuple[int, ...]:
    """The assigned vCPUs: those that <vcpus> enables, else the first ones."""
    listed = [
        number
        for element in root.iterfind("vcpus/vcpu")
        if element.get("enabled") == "yes"
        and (number := _int(element.get("id"), MAX_CPUS)) is not None
    ]
    return tuple(sorted(set(listed))) if listed else tuple(range(current))


def _affinity(
    root: ET.Element, vcpu: ET.Element | None, cpu_max: int
) -> tuple[tuple[int, frozenset[int]], ...]:
    pins: dict[int, frozenset[int]] = {}
    default = parse_cpuset(vcpu.get("cpuset", "")) if vcpu is not None else frozenset[int]()
    if default:
        pins = dict.fromkeys(range(cpu_max), default)
    for element in root.iterfind("cputune/vcpupin"):
        number = _int(element.get("vcpu"), cpu_max - 1)
        cpus = parse_cpuset(element.get("cpuset", ""))
        if number is not None and cpus:
            pins[number] = cpus
    return tuple(sorted(pins.items()))


def _disks(root: ET.Element) -> list[DiskDefinition]:
    found: dict[str, DiskDefinition] = {}
    for disk in root.iterfind("devices/disk"):
        target = disk.find("target")
        name = target.get("dev", "") if target is not None else ""
        if not name or name in found:
            continue
        driver = disk.find("driver")
        source = disk.find("source")
        media = _MEDIA.get(disk.get("device", "disk"), MediaType.OTHER)
        source_type, form, resource, volume, local = _source(
            disk.get("type", ""), source, driver.get("type", "") if driver is not None else ""
        )
        found[name] = DiskDefinition(
            target=name,
            source_type=source_type,
            format=form,
            resource=resource,
            access=Access.READONLY if disk.find("readonly") is not None else Access.READWRITE,
            media=media,
            bus=target.get("bus", "") if target is not None else "",
            volume=volume,
            local=local,
        )
    return list(found.values())


_Source = tuple[SourceType, str, str, tuple[str, str] | None, bool]


def _source(kind: str, source: ET.Element | None, form: str) -> _Source:
    """(source type, format, resource, volume, local) of a disk of libvirt's type `kind`."""
    attributes = source.attrib if source is not None else {}
    if kind == "file":
        path = attributes.get("file", "")
        if not path and not form:
            # An empty drive: there is nothing to tell the kind from
            return SourceType.UNKNOWN, "", "", None, False
        return *file_source(path, form), path, None, path.startswith("/")
    if kind == "block":
        path = attributes.get("dev", "")
        return SourceType.BLOCK, form or "raw", path, None, path.startswith("/")
    if kind == "network" and source is not None:
        protocol = attributes.get("protocol", "")
        text = f"{protocol} {form}".strip()
        return SourceType.NETWORK, text, _url(protocol, source), None, False
    if kind == "volume":
        pool, name = attributes.get("pool", ""), attributes.get("volume", "")
        return SourceType.UNKNOWN, form, f"{pool}/{name}", (pool, name), False
    if kind == "dir":
        # A folder shown to the guest as a FAT file system: neither a file nor a device
        path = attributes.get("dir", "")
        return SourceType.OTHER, f"dir {form}".strip(), path, None, path.startswith("/")
    if kind == "nvme":
        address = source.find("address") if source is not None else None
        device = _pci(address.attrib) if address is not None else ""
        namespace = attributes.get("namespace", "")
        return SourceType.BLOCK, f"nvme {form}".strip(), f"{device}/{namespace}", None, False
    path = attributes.get("path", "") or attributes.get("dev", "") or attributes.get("file", "")
    known = SourceType.OTHER if kind else SourceType.UNKNOWN
    return known, f"{kind} {form}".strip(), path, None, False


def _url(protocol: str, source: ET.Element) -> str:
    """A network source as "protocol://host:port/name" of its first host; no credentials."""
    name = source.get("name", "")
    host = source.find("host")
    place = ""
    if host is not None:
        place = host.get("name", "") or host.get("socket", "")
        if ":" in place and not place.startswith("/"):
            place = f"[{place}]"
        if host.get("port"):
            place += f":{host.get('port')}"
    return f"{protocol}://{place}/{name.lstrip('/')}"


def _pci(attributes: dict[str, str]) -> str:
    """A PCI address as Linux writes it."""
    parts = []
    for key, width in (("domain", 4), ("bus", 2), ("slot", 2), ("function", 1)):
        digits = attributes.get(key, "0").lower().removeprefix("0x")
        parts.append(digits.rjust(width, "0")[:8])
    return f"{parts[0]}:{parts[1]}:{parts[2]}.{parts[3]}"


def _nics(root: ET.Element) -> list[NicDefinition]:
    found = []
    for interface in root.iterfind("devices/interface"):
        mac = interface.find("mac")
        target = interface.find("target")
        model = interface.find("model")
        found.append(
            NicDefinition(
                mac=_mac(mac.get("address", "") if mac is not None else ""),
                target=target.get("dev", "") if target is not None else "",
                model=model.get("type", "") if model is not None else "",
            )
        )
    return found


def _mac(text: str) -> bytes:
    if not _MAC.fullmatch(text):
        return b""
    return bytes(int(part, 16) for part in text.split(":"))


def _backing(root: ET.Element) -> list[str]:
    """The files, devices and volumes under the disks, and the other halves of mirrors."""
    found: list[str] = []
    for disk in root.iterfind("devices/disk"):
        for element in disk.iter():
            if element.tag != "source":
                continue
            found.extend(
                value
                for key in ("file", "dev", "dir", "path")
                if (value := element.get(key)) is not None
            )
            if element.get("volume"):
                found.append(f"{element.get('pool', '')}/{element.get('volume')}")
            elif element.get("name"):
                found.append(element.get("name", ""))
    return found
