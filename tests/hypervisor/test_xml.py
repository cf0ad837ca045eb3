"""Domain XML of many shapes, and XML that means harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmib.hypervisor.model import Access, MediaType, SourceType
from vmmib.hypervisor.xml import (
    MAX_CPUS,
    Definition,
    DefinitionError,
    DiskDefinition,
    parse,
    parse_cpuset,
    parse_root,
)

KIB = 1024


def domain(inside: str = "", devices: str = "", kind: str = "kvm") -> str:
    return f"<domain type='{kind}'><name>a</name>{inside}<devices>{devices}</devices></domain>"


def disk_of(text: str) -> DiskDefinition:
    (disk,) = parse(domain(devices=text)).disks
    return disk


def test_a_bare_domain() -> None:
    assert parse("<domain/>") == Definition("", 1, 1, (0,), (), None, None, None, (), (), ())


def test_cpus_and_memory() -> None:
    found = parse(
        domain(
            "<memory unit='GiB'>2</memory><currentMemory>1024</currentMemory>"
            "<memtune><min_guarantee unit='MB'>3</min_guarantee></memtune>"
            "<vcpu current='2'>4</vcpu><os><type arch='x86_64'>hvm</type></os>"
        )
    )
    assert (found.memory_max, found.memory_current) == (2 << 30, 1024 * KIB)
    assert found.memory_min == 3_000_000
    assert (found.cpu_current, found.cpu_max, found.online) == (2, 4, (0, 1))
    assert found.os_type == "hvm"


def test_unlimited_memory_is_no_number() -> None:
    found = parse(domain("<memory unit='KiB'>9007199254740991</memory>"))
    assert found.memory_max is None


def test_hotplugged_cpus_need_not_be_the_first() -> None:
    found = parse(
        domain(
            "<vcpu current='2'>3</vcpu><vcpus><vcpu id='0' enabled='yes'/>"
            "<vcpu id='1' enabled='no'/><vcpu id='2' enabled='yes'/></vcpus>"
        )
    )
    assert found.online == (0, 2)


def test_pins_overrule_the_default_set() -> None:
    found = parse(
        domain(
            "<vcpu cpuset='0-3,^2'>2</vcpu><cputune><vcpupin vcpu='1' cpuset='5'/>"
            "<vcpupin vcpu='7' cpuset='6'/></cputune>"
        )
    )
    assert dict(found.affinity) == {0: frozenset({0, 1, 3}), 1: frozenset({5})}


def test_the_operating_system_by_libosinfo() -> None:
    found = parse(
        domain(
            "<metadata><l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'>"
            "<l:os id='http://debian.org/debian/12'/></l:libosinfo></metadata>"
            "<os><type>hvm</type></os>"
        )
    )
    assert found.os_type == "debian 12"


@pytest.mark.parametrize(
    ("text", "source_type", "form", "resource"),
    [
        ("<disk type='file'><driver type='qcow2'/><source file='/a.qcow2'/>",
         SourceType.SPARSE, "qcow2", "/a.qcow2"),
        ("<disk type='file'><driver type='raw'/><source file='/a'/>", SourceType.RAW, "raw", "/a"),
        ("<disk type='file'><source file='/a'/>", SourceType.RAW, "raw", "/a"),
        ("<disk type='file'><source file='[ds] a/a.vmdk'/>",
         SourceType.SPARSE, "vmdk", "[ds] a/a.vmdk"),
        ("<disk type='file' device='cdrom'><source file='/x.iso'/>",
         SourceType.RAW, "raw", "/x.iso"),
        ("<disk type='file' device='floppy'><source file='/x'/>", SourceType.RAW, "raw", "/x"),
        ("<disk type='file' device='cdrom'>", SourceType.UNKNOWN, "", ""),
        ("<disk type='block'><driver type='raw'/><source dev='/dev/vg/a'/>",
         SourceType.BLOCK, "raw", "/dev/vg/a"),
        ("<disk type='block'><driver type='qcow2'/><source dev='/dev/vg/a'/>",
         SourceType.BLOCK, "qcow2", "/dev/vg/a"),
        (("<disk type='network'><driver type='raw'/><source protocol='rbd' name='p/i'>"
         "<host name='mon' port='6789'/><host name='other'/></source>"),
         SourceType.NETWORK, "rbd raw", "rbd://mon:6789/p/i"),
        ("<disk type='network'><source protocol='nbd' name=''><host name='fe80::1'/></source>",
         SourceType.NETWORK, "nbd", "nbd://[fe80::1]/"),
        (("<disk type='network'><source protocol='nbd' name='e'>"
         "<host transport='unix' socket='/run/s'/></source>"),
         SourceType.NETWORK, "nbd", "nbd:///run/s/e"),
        ("<disk type='network'><source protocol='https' name='/i.iso'><host name='h'/></source>",
         SourceType.NETWORK, "https", "https://h/i.iso"),
        ("<disk type='volume'><driver type='raw'/><source pool='p' volume='v'/>",
         SourceType.UNKNOWN, "raw", "p/v"),
        ("<disk type='dir'><driver type='fat'/><source dir='/d'/>",
         SourceType.OTHER, "dir fat", "/d"),
        (("<disk type='nvme'><driver type='raw'/><source type='pci' namespace='1'>"
         "<address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>"),
         SourceType.BLOCK, "nvme raw", "0000:01:00.0/1"),
        ("<disk type='vhostuser'><driver type='raw'/><source type='unix' path='/run/s'/>",
         SourceType.OTHER, "vhostuser raw", "/run/s"),
        ("<disk type='something'><source what='ever'/>", SourceType.OTHER, "something", ""),
        ("<disk>", SourceType.UNKNOWN, "", ""),
    ],
)  # fmt: skip
def test_sources(text: str, source_type: SourceType, form: str, resource: str) -> None:
    found = disk_of(f"{text}<target dev='vda' bus='virtio'/></disk>")
    assert (found.source_type, found.format, found.resource) == (source_type, form, resource)
    assert (found.target, found.bus) == ("vda", "virtio")


@pytest.mark.parametrize(
    ("device", "media"),
    [
        ("disk", MediaType.HARD_DISK),
        ("lun", MediaType.HARD_DISK),
        ("cdrom", MediaType.OPTICAL_DISK),
        ("floppy", MediaType.FLOPPY_DISK),
        ("hologram", MediaType.OTHER),
    ],
)
def test_media(device: str, media: MediaType) -> None:
    assert disk_of(f"<disk device='{device}'><target dev='a'/></disk>").media is media


def test_access() -> None:
    assert disk_of("<disk><target dev='a'/></disk>").access is Access.READWRITE
    assert disk_of("<disk><target dev='a'/><readonly/></disk>").access is Access.READONLY


def test_disks_without_a_target_or_with_the_same_are_left_out() -> None:
    found = parse(
        domain(
            devices="<disk/><disk><target/></disk><disk><target dev='a'/></disk>"
            "<disk><target dev='a'/></disk>"
        )
    )
    assert [disk.target for disk in found.disks] == ["a"]


def test_no_credentials_of_network_disks() -> None:
    found = parse(
        domain(
            devices="<disk type='network'><auth username='admin'><secret usage='pw'/></auth>"
            "<source protocol='iscsi' name='iqn/1'><host name='h'/></source>"
            "<target dev='a'/></disk>"
        )
    )
    assert "admin" not in repr(found)


def test_interfaces() -> None:
    found = parse(
        domain(
            devices="<interface type='bridge'><mac address='52:54:00:aA:bb:cc'/>"
            "<target dev='vnet3'/><model type='virtio'/></interface>"
            "<interface type='hostdev'><mac address='nonsense'/></interface>"
        )
    )
    assert found.nics[0] == (bytes.fromhex("525400aabbcc"), "vnet3", "virtio")
    assert found.nics[1] == (b"", "", "")


def test_backing_chains_and_mirrors() -> None:
    found = parse(
        domain(
            devices="<disk type='file'><source file='/top'/><backingStore type='file'>"
            "<source file='/middle'/><backingStore type='volume'>"
            "<source pool='p' volume='base'/></backingStore></backingStore>"
            "<mirror><source file='/copy'/></mirror><target dev='a'/></disk>"
        )
    )
    assert set(found.backing) == {"/top", "/middle", "p/base", "/copy"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("0", {0}),
        ("0-3,^2, 8", {0, 1, 3, 8}),
        ("3-1", set()),
        ("x,-1,4-,1-x,^", set()),
        (f"0-{MAX_CPUS + 1}", set()),
        ("9" * 5000, set()),
    ],
)
def test_cpusets(text: str, expected: set[int]) -> None:
    assert parse_cpuset(text) == expected


BOMB = (
    "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>"
    "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]><domain><name>&c;</name></domain>"
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "domain",
        "<domain>",
        "<pool/>",
        "<domain/><domain/>",
        "<domain>&undefined;</domain>",
        "<domain>\0</domain>",
        "<domain>\ud800</domain>",
        BOMB,
        "<!-- <domain> -->" + BOMB,
        "<?xml version='1.0'?><!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>",
        "<!-- -- ><domain/>",
        "<a>" * 100_000,
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError):
        parse(text)


def test_a_long_document_is_refused() -> None:
    with pytest.raises(DefinitionError, match="characters"):
        parse_root("<domain>" + " " * (17 << 20) + "</domain>", "domain")


def test_comments_and_a_declaration_may_come_first() -> None:
    text = "<?xml version='1.0' encoding='utf-8'?>\n<!-- <!DOCTYPE - no - -->\n<!----><domain/>"
    assert parse(text).cpu_max == 1


def test_a_document_type_within_a_text_is_a_text() -> None:
    assert parse(domain("<title><![CDATA[<!DOCTYPE x>]]></title>")).cpu_max == 1


def test_nonsense_numbers() -> None:
    found = parse(
        domain(
            f"<vcpu current='-1'>{'9' * 30}</vcpu><memory unit='furlong'>1</memory>"
            "<currentMemory>\u0661</currentMemory><memtune><min_guarantee>1e3</min_guarantee></memtune>"
        )
    )
    assert (found.cpu_current, found.cpu_max) == (1, 1)
    assert (found.memory_max, found.memory_current, found.memory_min) == (None, None, None)


def test_deep_documents_end() -> None:
    depth = 50_000
    text = domain(devices="<disk>" + "<x>" * depth + "</x>" * depth + "</disk>")
    assert parse(text).disks == ()


PIECES = st.sampled_from(
    [
        "<disk type='file'>", "</disk>", "<source file='/a'/>", "<source/>", "<target dev='a'/>",
        "<vcpu>", "</vcpu>", "<vcpu current='3'>", "<vcpus>", "</vcpus>", "<mac address=':'/>",
        "<interface>", "</interface>", "<memory unit='x'>", "</memory>", "<metadata>",
        "<os id='://'/>", "<vcpupin vcpu='0' cpuset='^'/>", "<cputune>", "</cputune>", "&lt;",
        "é", "</metadata>",
    ]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=5), max_size=40))
def test_anything_is_a_definition_or_an_error(pieces: list[str]) -> None:
    try:
        found = parse(domain("".join(pieces)))
    except DefinitionError:
        return
    assert 1 <= found.cpu_current <= found.cpu_max <= MAX_CPUS


@given(st.text())
def test_any_text_is_refused_or_parsed(text: str) -> None:
    for whole in (text, f"<domain>{text}</domain>"):
        try:
            parse(whole)
        except DefinitionError:
            continue
