"""UUIDs, values and rates."""

from __future__ import annotations

import uuid as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.snmp import oids
from triage.snmp import uuid as ours
from triage.snmp.rates import MAX_BASE, Memory, Sample, edges, span
from triage.snmp.values import Oid, Tag, Value, growth, ticks_since, value_shown

NAME: Oid = (1, 3, 1)


def counter(number: int, tag: Tag = Tag.COUNTER64) -> Value:
    return Value(tag, number)


# UUIDs


@given(st.uuids().filter(lambda one: len(set(one.bytes)) > 1))
def test_every_way_to_write_a_uuid(one: standard.UUID) -> None:
    for text in (
        str(one),
        str(one).upper(),
        one.hex,
        one.urn,
        f"{{{one}}}",
        f" {one}\n",
        f"0x{one.hex}",
        one.bytes.hex(" "),
        one.bytes.hex(":").upper(),
    ):
        assert ours.canonical(text) == str(one)
        if len(text) != 16:
            assert ours.from_octets(text.encode()) == str(one)
    assert ours.from_octets(one.bytes) == str(one)
    assert ours.from_octets(str(one).encode() + b"\0") == str(one)
    assert ours.swapped(str(one)) == str(standard.UUID(bytes=one.bytes_le))
    assert ours.swapped(ours.swapped(str(one))) == str(one)


@given(st.text(max_size=80))
def test_other_text_is_no_uuid_or_canonical(text: str) -> None:
    found = ours.canonical(text)
    assert found == "" or found == str(standard.UUID(found))


@given(st.binary(max_size=80))
def test_other_octets_are_no_uuid_or_canonical(octets: bytes) -> None:
    found = ours.from_octets(octets)
    assert found == "" or found == str(standard.UUID(found))


@pytest.mark.parametrize(
    "text",
    ["", "0" * 32, "f" * 32, "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "Not Settable", "1" * 32,
     "12345678-9abc-def0-1234-56789abcdef", "12345678-9abc-def0-1234-56789abcdef01"],
)  # fmt: skip
def test_what_names_no_machine(text: str) -> None:
    assert ours.canonical(text) == ""


def test_octets_that_name_no_machine() -> None:
    for octets in (b"", bytes(16), b"\xff" * 16, bytes(15), b"\x80" * 36):
        assert ours.from_octets(octets) == ""


# Counters


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1))
def test_growth_over_a_wrap(before: int, grown: int) -> None:
    after = (before + grown) % 2**64
    found = growth(counter(before), counter(after))
    if after >= before or before >= 2**63 > after:
        assert found == grown
    else:
        assert found is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (counter(5), counter(9), 4),
        (counter(9), counter(5), None),  # began anew
        (counter(2**32 - 1, Tag.COUNTER32), counter(4, Tag.COUNTER32), 5),
        (counter(5), counter(9, Tag.COUNTER32), None),
        (Value(Tag.GAUGE32, 5), Value(Tag.GAUGE32, 9), None),
        (None, counter(9), None),
        (counter(5), Value(Tag.NO_SUCH_INSTANCE), None),
    ],
)
def test_growth(before: Value | None, after: Value, expected: int | None) -> None:
    assert growth(before, after) == expected


def test_time_since_over_a_wrap() -> None:
    early, late = Value(Tag.TIME_TICKS, 2**32 - 100), Value(Tag.TIME_TICKS, 200)
    assert ticks_since(late, early) == 3.0
    assert ticks_since(late, Value(Tag.NO_SUCH_OBJECT)) is None


def samples(*numbers: int) -> list[Sample]:
    return [Sample(float(at), {NAME: counter(number)}) for at, number in enumerate(numbers)]


def test_rates_are_taken_between_two_changes() -> None:
    """An agent that reads every 3 s, asked every second: 600 in 3 s, not 600 in one."""
    taken = samples(0, 600, 600, 600, 1200, 1200)
    assert [one.at for one in edges(taken)] == [1.0, 4.0]
    found = span(taken)
    assert found is not None
    assert found.per_second(NAME) == pytest.approx(200.0)


@pytest.mark.parametrize("numbers", [(), (1,), (1, 1, 1), (0, 600), (0, 0, 600, 600)])
def test_one_change_is_no_rate(numbers: tuple[int, ...]) -> None:
    assert span(samples(*numbers)) is None


def test_a_remembered_sample_serves_when_it_is_old_enough() -> None:
    now = [Sample(1000.0, {NAME: counter(700)})]
    young, old = Sample(950.0, {NAME: counter(0)}), Sample(900.0, {NAME: counter(0)})
    assert span(now, young) is None
    found = span(now, old)
    assert found is not None
    assert found.per_second(NAME) == 7.0


def test_memory_keeps_one_for_a_while() -> None:
    memory = Memory()
    key = ("esx1", "x")
    first, soon = Sample(0.0, {}), Sample(100.0, {})
    memory.keep(key, first)
    memory.keep(key, soon)
    assert memory.base(key, 200.0) is first
    assert memory.base(key, MAX_BASE + 1) is None
    memory.keep(key, Sample(400.0, {}))
    assert memory.base(key, 500.0) == Sample(400.0, {})


# Printing


@pytest.mark.parametrize(
    ("oid", "value", "expected"),
    [
        ((*oids.VM_OPER_STATE, 3), Value(Tag.INTEGER, 8),
         "VM-MIB::vmOperState.3 = INTEGER: paused(8)"),
        ((*oids.VM_OPER_STATE, 3), Value(Tag.INTEGER, 99), "VM-MIB::vmOperState.3 = INTEGER: 99"),
        ((*oids.VM_HV_UP_TIME, 0), Value(Tag.TIME_TICKS, 8_640_000 * 2 + 360_123),
         "VM-MIB::vmHvUpTime.0 = Timeticks: (17640123) 2 days, 1:00:01.23"),
        ((*oids.VM_NAME, 3), Value(Tag.OCTET_STRING, "wörker".encode()),
         "VM-MIB::vmName.3 = STRING: wörker"),
        ((*oids.VM_NAME, 3), Value(Tag.OCTET_STRING, b"\x1b[2J"),
         "VM-MIB::vmName.3 = Hex-STRING: 1B 5B 32 4A"),
        ((*oids.VM_CPU_TIME, 3), counter(7), "VM-MIB::vmCpuTime.3 = Counter64: 7"),
        ((*oids.VM_UUID, 3), Value(Tag.OCTET_STRING, b""), "VM-MIB::vmUUID.3 = STRING: "),
        ((1, 3, 6, 1, 4, 1, 99), Value(Tag.NO_SUCH_OBJECT),
         ".1.3.6.1.4.1.99 = No Such Object available on this agent at this OID"),
        ((*oids.SYS_UP_TIME, 0), Value(Tag.TIME_TICKS, 5),
         "DISMAN-EVENT-MIB::sysUpTimeInstance = Timeticks: (5) 0:00:00.05"),
    ],
)  # fmt: skip
def test_rows_as_snmpwalk_prints_them(oid: Oid, value: Value, expected: str) -> None:
    assert oids.row(oid, value) == expected


def test_other_types_are_shown() -> None:
    assert value_shown(Value(Tag.IP_ADDRESS, bytes((192, 0, 2, 1)))) == "IpAddress: 192.0.2.1"
    assert value_shown(Value(Tag.OBJECT_IDENTIFIER, (1, 3, 6))) == "OID: 1.3.6"
    assert value_shown(Value(Tag.NULL)) == "NULL"
