"""What VM-MIB shows of an inventory."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mib.build import GIB, HYPERVISOR, disk, nic, refreshed, vm
from tests.mib.test_inventory import FakeClock, tell
from vmmib.agentx import oid, pdu
from vmmib.agentx.pdu import ValueType
from vmmib.agentx.view import View
from vmmib.hypervisor.messages import Batch, Changed, Unreachable
from vmmib.hypervisor.model import Access, Cpu, MediaType, OperState, SourceType, Vm
from vmmib.mib import objects, oids
from vmmib.mib.inventory import Inventory
from vmmib.mib.memory import Memory
from vmmib.mib.switches import Switches

RESPONSE = struct.Struct(">BBBxIIII")


def decoded(cells: list[bytes]) -> list[pdu.VarBind]:
    payload = struct.pack(">IHH", 0, 0, 0) + b"".join(cells)
    response = pdu.decode(RESPONSE.pack(1, 18, 16, 0, 0, 0, len(payload)) + payload)
    assert isinstance(response, pdu.Response)
    return list(response.varbinds)


def walk(view: View) -> dict[oid.Oid, Any]:
    """Every instance below vmMIB by its name without vmObjects, as a walk gives it."""
    found: dict[oid.Oid, Any] = {}
    varbinds = decoded(list(view))
    names = [varbind.oid for varbind in varbinds]
    assert names == sorted(set(names))
    for varbind in varbinds:
        assert varbind.oid[: len(oids.OBJECTS)] == oids.OBJECTS
        found[varbind.oid[len(oids.OBJECTS) :]] = varbind.value
    return found


def get(view: View, *name: int) -> pdu.VarBind:
    (varbind,) = decoded([view.get(oid.key((*oids.OBJECTS, *name)))])
    return varbind


class Site:
    def __init__(self, *vms: Vm, contact: bool = True, **fields: Any) -> None:
        self.clock = FakeClock()
        self.inventory = Inventory(Memory(uri="test:///default"), self.clock)
        self.switches = Switches(per_vm=True, bulk=False)
        self.parents: dict[str, int] = {}
        self.mib = objects.MibView(self.inventory, self.switches, self.parents, **fields)
        if contact:
            tell(self.inventory, Batch(vms), refreshed(complete=True))

    def walk(self) -> dict[oid.Oid, Any]:
        return walk(self.mib.view())


def column(found: dict[oid.Oid, Any], table: int, number: int) -> dict[oid.Oid, Any]:
    return {name[3:]: value for name, value in found.items() if name[:3] == (table, 1, number)}


def test_before_the_first_contact_only_the_switches_are_known() -> None:
    site = Site(contact=False)
    assert site.walk() == {(9, 0): 1, (10, 0): 2}
    assert get(site.mib.view(), 2, 0).type is ValueType.NO_SUCH_INSTANCE


def test_hypervisor_without_vms() -> None:
    site = Site()
    assert site.walk() == {
        (1, 1, 0): b"QEMU/KVM",
        (1, 2, 0): b"7.2.0",
        (1, 3, 0): (1, 3, 6, 1, 4, 1, 2312),
        (1, 4, 0): 0,
        (2, 0): 0,
        (3, 0): 0,
        (9, 0): 1,
        (10, 0): 2,
    }


def test_object_id_may_be_set() -> None:
    assert Site(object_id="1.3.6.1.4.1.9.9").walk()[1, 3, 0] == (1, 3, 6, 1, 4, 1, 9, 9)


def test_one_vm_whole() -> None:
    machine = vm(
        "näme",
        OperState.PAUSED,
        cpu_min=1,
        memory_min=GIB // 2,
        cpus=(Cpu(1, 11, b"\2\1"), Cpu(0, 10, b"\1\0")),
        disks=(disk("vda", mount="/images"), disk("hda", source_type=SourceType.UNKNOWN)),
        nics=(nic(1, if_index=7, parent_if_index=3),),
    )
    site = Site(machine)
    site.parents["/images"] = 35
    found = site.walk()
    for name in [(1, 1, 0), (1, 2, 0), (1, 3, 0), (1, 4, 0), (2, 0), (3, 0), (9, 0), (10, 0)]:
        del found[name]
    vm_values = [
        "näme".encode(),
        machine.uuid,
        b"hvm",
        3,
        8,
        3,
        2,
        1,
        1,
        2,
        1024,
        GIB // 1024,
        GIB // 2048,
        2 * GIB // 1024,
        0,
        7,
    ]
    storage = [4, b"qcow2", b"", 2, 3, b"virtio", 1024, 10 * GIB // 1024, GIB // 1024]
    counters = [1, 2, 3, 4, 5, 6]
    expected = {(4, 1, number, 1): value for number, value in enumerate(vm_values, 2)}
    expected |= {(5, 1, 2, 1, 1): 10, (5, 1, 2, 1, 2): 11}
    expected |= {
        (6, 1, 3, 1, 1, 196608): 1,
        (6, 1, 3, 1, 1, 196609): 0,
        (6, 1, 3, 1, 2, 196608): 2,
        (6, 1, 3, 1, 2, 196609): 1,
    }
    vda = [35, 5, *storage[1:2], b"/images/vda.qcow2", *storage[3:], *counters]
    hda = [0, 1, *storage[1:2], b"/images/hda.qcow2", *storage[3:], *counters]
    expected |= {(7, 1, number, 1, 1): value for number, value in enumerate(vda, 3)}
    expected |= {(7, 1, number, 1, 2): value for number, value in enumerate(hda, 3)}
    network = [7, 3, b"virtio", bytes.fromhex("525400000001")]
    expected |= {(8, 1, number, 1, 1): value for number, value in enumerate(network, 2)}
    assert found == expected


def test_rows_stand_in_the_order_of_their_indexes() -> None:
    site = Site(*(vm(f"vm{number}") for number in range(12)))
    tell(
        site.inventory,
        Changed(vm("vm3", disks=(disk("vdb"), disk("vda")), nics=(nic(2), nic(1))), 0.0),
        refreshed(volumes=(disk("/pool/x"),)),
    )
    found = site.walk()
    assert list(column(found, 4, 2)) == [(index,) for index in range(1, 13)]
    resources = column(found, 7, 6)
    assert resources[4, 1] == b"/images/vda.qcow2"
    assert resources[4, 2] == b"/images/vdb.qcow2"
    assert column(found, 8, 5)[4, 2] == bytes.fromhex("525400000002")
    assert resources[0, 1] == b"/images//pool/x.qcow2"


def test_indexes_are_not_accessible() -> None:
    site = Site(vm())
    found = site.walk()
    hidden = {(4, 1), (5, 1), (6, 1), (6, 2), (7, 1), (7, 2), (8, 1)}
    assert not {(name[0], name[2]) for name in found if len(name) > 3} & hidden
    view = site.mib.view()
    assert get(view, 4, 1, 1, 1).type is ValueType.NO_SUCH_OBJECT
    assert get(view, 7, 1, 1, 1, 1).type is ValueType.NO_SUCH_OBJECT


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ((4, 1, 2, 1), ValueType.OCTET_STRING),
        ((4, 1, 2, 2), ValueType.NO_SUCH_INSTANCE),
        ((4, 1, 2), ValueType.NO_SUCH_INSTANCE),
        ((4, 1, 2, 1, 0), ValueType.NO_SUCH_INSTANCE),
        ((4, 1, 18, 1), ValueType.NO_SUCH_OBJECT),
        ((4, 1), ValueType.NO_SUCH_OBJECT),
        ((2,), ValueType.NO_SUCH_INSTANCE),
        ((2, 1), ValueType.NO_SUCH_INSTANCE),
        ((11, 0), ValueType.NO_SUCH_OBJECT),
        ((12, 0), ValueType.NO_SUCH_OBJECT),
        ((6, 1, 3, 1, 1, 1), ValueType.NO_SUCH_INSTANCE),
    ],
)
def test_what_is_missing(name: oid.Oid, kind: ValueType) -> None:
    assert get(Site(vm()).mib.view(), *name).type is kind


def test_object_without_rows_is_still_an_object() -> None:
    view = Site(vm(disks=(), nics=(), cpus=())).mib.view()
    for name in [(5, 1, 2, 1, 1), (6, 1, 3, 1, 1, 1), (7, 1, 4, 1, 1), (8, 1, 2, 1, 1)]:
        assert get(view, *name).type is ValueType.NO_SUCH_INSTANCE


def test_counters_that_nobody_counts_are_absent() -> None:
    machine = vm(
        cpu_time_us=None,
        cpus=(Cpu(0),),
        disks=(disk(read_ops=None, write_latency_us=None),),
    )
    found = Site(machine).walk()
    for table, number in [(4, 17), (5, 2), (7, 13), (7, 18), (6, 3)]:
        assert not column(found, table, number)
    assert column(found, 7, 14)
    assert column(found, 4, 16)


def test_times_run_between_refreshes() -> None:
    site = Site(vm("a"), vm("b", OperState.SHUTDOWN))
    view = site.mib.view()
    site.clock.at += 12.5
    assert get(view, 4, 1, 16, 1).value == 1250
    assert get(view, 4, 1, 16, 2).value == 0
    assert get(view, 1, 4, 0).value == 1250
    tell(site.inventory, Changed(vm("c"), 0.0))
    site.clock.at += 1
    view = site.mib.view()
    assert get(view, 3, 0).value == 1250
    assert get(view, 1, 4, 0).value == 1350
    site.clock.at += 2**32 / 100
    assert get(view, 1, 4, 0).value == 1350, "TimeTicks wrap"


def test_change_before_the_hypervisors_start_is_zero() -> None:
    site = Site(vm("a"))
    tell(site.inventory, Changed(vm("b"), 0.0))
    restarted = type(HYPERVISOR)(
        *(getattr(HYPERVISOR, field) for field in ("driver", "software", "version")),
        HYPERVISOR.object_id,
        HYPERVISOR.hostname,
        site.clock.at + 100,
        2,
    )
    site.clock.at += 200
    tell(site.inventory, refreshed(hypervisor=restarted))
    assert get(site.mib.view(), 3, 0).value == 0


def test_silence_shows_unknown_states_and_the_rest_as_it_was() -> None:
    site = Site(vm("a"))
    before = site.walk()
    tell(site.inventory, Unreachable("gone"))
    after = site.walk()
    assert {name for name in before if before[name] != after[name]} == {(4, 1, 6, 1)}
    assert after[4, 1, 6, 1] == OperState.UNKNOWN


def test_an_old_view_shows_what_it_showed() -> None:
    site = Site(vm("a"), vm("b"))
    old = site.mib.view()
    tell(site.inventory, Changed(vm("a", OperState.PAUSED), 0.0))
    new = site.mib.view()
    assert (get(old, 4, 1, 6, 1).value, get(new, 4, 1, 6, 1).value) == (4, 8)
    assert (get(old, 4, 1, 6, 2).value, get(new, 4, 1, 6, 2).value) == (4, 4)


def test_switches_show_at_once() -> None:
    site = Site()
    view = site.mib.view()
    site.switches.bulk = True
    assert get(view, 10, 0).value == 1


@pytest.mark.parametrize("kind", [SourceType.BLOCK, SourceType.RAW])
def test_block_and_raw_are_as_large_as_defined(kind: SourceType) -> None:
    site = Site(vm(disks=(disk(source_type=kind, capacity=5 * GIB, allocation=4096),)))
    view = site.mib.view()
    assert get(view, 7, 1, 11, 1, 1).value == get(view, 7, 1, 12, 1, 1).value == 5 * 2**20


def test_an_empty_drive_has_no_sizes() -> None:
    drive = disk(
        capacity=None,
        allocation=None,
        resource="",
        media=MediaType.OPTICAL_DISK,
        access=Access.READONLY,
    )
    view = Site(vm(disks=(drive,))).mib.view()
    assert get(view, 7, 1, 11, 1, 1).value == get(view, 7, 1, 12, 1, 1).value == -1


def test_no_boundary_is_minus_one() -> None:
    view = Site(vm(cpu_min=None, cpu_max=None, memory_min=None, memory_max=None)).mib.view()
    assert [get(view, 4, 1, number, 1).value for number in (10, 11, 14, 15)] == [-1, -1, -1, -1]


def test_terabytes() -> None:
    machine = vm(memory_current=3 * 2**40, memory_max=24 * 2**40, memory_min=GIB)
    view = Site(machine).mib.view()
    unit, *sizes = (get(view, 4, 1, number, 1).value for number in (12, 13, 14, 15))
    assert (unit, sizes) == (2**20, [3 * 2**20, 1024, 24 * 2**20])


sizes = st.one_of(st.none(), st.integers(0, objects.INTEGER32_MAX**2))


@given(st.lists(sizes, min_size=1, max_size=3))
def test_units_fit_and_round_up(values: list[int | None]) -> None:
    unit = objects.size_unit(*values)
    assert 1 <= unit <= objects.INTEGER32_MAX
    for value in values:
        shown = objects.in_units(value, unit)
        if value is None:
            assert shown == -1
            continue
        assert 0 <= shown <= objects.INTEGER32_MAX
        assert shown * unit >= value > (shown - 1) * unit or value == 0 == shown


@given(st.text(max_size=400))
def test_text_is_cut_at_a_character(value: str) -> None:
    data = objects.text(value)
    whole = value.encode("utf-8", "replace")
    assert len(data) <= 255
    assert whole.startswith(data)
    data.decode()
    assert len(whole) <= 255 or len(data) > 251


def test_text_of_what_is_no_utf8() -> None:
    assert objects.text("a\udcffb") == b"a?b"


@given(st.floats(-1e9, 1e12))
def test_ticks_are_in_range(seconds: float) -> None:
    assert 0 <= objects.ticks(seconds) < 2**32
