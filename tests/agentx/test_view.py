"""A view against the plain meaning of it: a sorted list of instances."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmib.agentx import oid
from vmmib.agentx.pdu import (
    HEADER_SIZE,
    GetNext,
    Response,
    SearchRange,
    ValueType,
    VarBind,
    decode,
    encode,
)
from vmmib.agentx.view import EMPTY, CellError, Column, Table, View

ROOT = (1, 3, 6, 1, 2, 1, 236, 1)
END = oid.key((1, 3, 6, 1, 2, 1, 237))


def varbind(cell: bytes) -> VarBind:
    """Decode one encoded varbind."""
    response = encode(Response())
    data = response[:16] + (8 + len(cell)).to_bytes(4, "big") + response[HEADER_SIZE:] + cell
    decoded = decode(data)
    assert isinstance(decoded, Response)
    (one,) = decoded.varbinds
    return one


def number(record: Any) -> int | None:
    return record if isinstance(record, int) else None


def name(record: Any) -> bytes | None:
    return b"name %d" % record if isinstance(record, int) else None


def sample() -> View:
    scalars = Table(
        (*ROOT, 1),
        [
            Column(1, ValueType.OCTET_STRING, lambda _: b"QEMU"),
            Column(3, ValueType.INTEGER, number),
        ],
        ((0,),),
        [7],
    )
    table = Table(
        (*ROOT, 4, 1),
        [Column(3, ValueType.INTEGER, number), Column(2, ValueType.OCTET_STRING, name)],
        [(1,), (2,), (10,)],
        [11, None, 13],
    )
    empty = Table((*ROOT, 5, 1), [Column(2, ValueType.INTEGER, number)], [], [])
    wide = Table(
        (*ROOT, 6, 1), [Column(1, ValueType.COUNTER64, number)], [(1, 1), (1, 300)], [5, 6]
    )
    return View([wide, table, empty, scalars], objects=[(*ROOT, 2)])


def walk(view: View) -> list[VarBind]:
    return [varbind(cell) for cell in view]


def test_walk_is_in_order_and_leaves_out_what_does_not_exist() -> None:
    found = walk(sample())
    assert [(to.oid[len(ROOT) :], to.value) for to in found] == [
        ((1, 1, 0), b"QEMU"),
        ((1, 3, 0), 7),
        ((4, 1, 2, 1), b"name 11"),
        ((4, 1, 2, 10), b"name 13"),
        ((4, 1, 3, 1), 11),
        ((4, 1, 3, 10), 13),
        ((6, 1, 1, 1, 1), 5),
        ((6, 1, 1, 1, 300), 6),
    ]


def test_get_tells_object_from_instance() -> None:
    view = sample()

    def kind(*suffix: int) -> ValueType:
        one = varbind(view.get(oid.key((*ROOT, *suffix))))
        assert one.oid == (*ROOT, *suffix)
        return one.type

    assert kind(4, 1, 2, 1) is ValueType.OCTET_STRING
    assert kind(4, 1, 2, 2) is ValueType.NO_SUCH_INSTANCE  # exists not, though its row does
    assert kind(4, 1, 2, 3) is ValueType.NO_SUCH_INSTANCE
    assert kind(4, 1, 2, 1, 0) is ValueType.NO_SUCH_INSTANCE
    assert kind(4, 1, 2) is ValueType.NO_SUCH_INSTANCE
    assert kind(5, 1, 2, 9) is ValueType.NO_SUCH_INSTANCE  # a table without rows
    assert kind(2, 0) is ValueType.NO_SUCH_INSTANCE  # an object without a column
    assert kind(1, 3) is ValueType.NO_SUCH_INSTANCE
    assert kind(4, 1, 1, 1) is ValueType.NO_SUCH_OBJECT  # the index is not accessible
    assert kind(4, 1) is ValueType.NO_SUCH_OBJECT
    assert kind() is ValueType.NO_SUCH_OBJECT
    assert varbind(EMPTY.get(b"")).type is ValueType.NO_SUCH_OBJECT


subid = st.integers(0, 3)
suffixes = st.lists(subid, max_size=7).map(tuple)


@st.composite
def views(draw: st.DrawFn) -> tuple[View, list[tuple[int, ...]]]:
    """A view, and its instances in order."""
    entries = draw(st.sets(st.tuples(subid, subid), max_size=4))
    tables, instances = [], []
    for entry in entries:
        rows = sorted(draw(st.sets(st.lists(subid, min_size=1, max_size=2).map(tuple), max_size=5)))
        records = [draw(st.sampled_from([None, 0, 1])) for _ in rows]
        numbers = draw(st.sets(subid, min_size=1))
        columns = [Column(one, ValueType.INTEGER, number) for one in numbers]
        tables.append(Table(entry, columns, rows, records))
        instances += [
            (*entry, one, *row)
            for one in numbers
            for row, record in zip(rows, records, strict=True)
            if record is not None
        ]
    return View(tables), sorted(instances)


@given(views(), suffixes, st.booleans(), st.one_of(st.just(()), suffixes))
def test_next_is_the_next_of_a_sorted_list(
    made: tuple[View, list[tuple[int, ...]]],
    start: tuple[int, ...],
    include: bool,
    end: tuple[int, ...],
) -> None:
    view, instances = made
    at = (bisect_left if include else bisect_right)(instances, start)
    one = varbind(view.next(oid.key(start), include, oid.key(end)))
    if at < len(instances) and (not end or instances[at] < end):
        assert (one.oid, one.type) == (instances[at], ValueType.INTEGER)
    else:
        assert (one.oid, one.type) == (start, ValueType.END_OF_MIB_VIEW)


@given(
    views(),
    st.lists(st.tuples(suffixes, st.booleans(), st.one_of(st.just(()), suffixes)), max_size=4),
    st.data(),
)
def test_the_short_way_is_the_same_way(
    made: tuple[View, list[tuple[int, ...]]],
    asked: list[tuple[tuple[int, ...], bool, tuple[int, ...]]],
    data: st.DataObject,
) -> None:
    view, instances = made
    ranges = [SearchRange(start, end, include) for start, include, end in asked]
    if instances:
        starts = data.draw(st.lists(st.sampled_from(instances), max_size=6))
        ends = st.sampled_from([(), (9,), instances[-1]])
        ranges += [SearchRange(start, data.draw(ends), False) for start in starts]
    frame = encode(GetNext(ranges=tuple(data.draw(st.permutations(ranges)))))
    decoded = decode(frame)
    assert isinstance(decoded, GetNext)
    expected = [
        view.next(oid.key(one.start), one.include, oid.key(one.end)) for one in decoded.ranges
    ]
    for _ in range(2):  # the second time it knows the ends
        cells: list[bytes] = []
        assert view.next_of_all(frame, HEADER_SIZE, cells) == len(frame)
        assert cells == expected


@given(views())
def test_the_chain_is_every_instance_and_equal_to_get(
    made: tuple[View, list[tuple[int, ...]]],
) -> None:
    view, instances = made
    cells = list(view)
    assert [varbind(cell).oid for cell in cells] == instances
    assert [view.get(oid.key(one)) for one in instances] == cells


@given(views(), st.lists(st.tuples(suffixes, st.booleans()), max_size=3), st.data())
def test_bulk_is_repeated_next(
    made: tuple[View, list[tuple[int, ...]]],
    starts: list[tuple[tuple[int, ...], bool]],
    draw: st.DataObject,
) -> None:
    view, _ = made
    non_repeaters = draw.draw(st.integers(0, 4))
    repetitions = draw.draw(st.integers(0, 4))
    ranges = [(oid.key(start), include, b"") for start, include in starts]
    expected = [view.next(*one) for one in ranges[:non_repeaters]]
    current = ranges[non_repeaters:]
    for _ in range(repetitions):
        cells = [view.next(*one) for one in current]
        expected += cells
        current = [(oid.key(varbind(cell).oid), False, b"") for cell in cells]
    answer: list[bytes] = []
    view.bulk(ranges, non_repeaters, repetitions, 10**6, answer)
    # Nothing but further ends of the view may be left out.
    assert answer == expected[: len(answer)]
    assert all(varbind(cell).type is ValueType.END_OF_MIB_VIEW for cell in expected[len(answer) :])


def test_bulk_is_cut_to_the_limit_but_never_below_one_repetition() -> None:
    view = sample()
    ranges = [(oid.key(ROOT), False, b""), (oid.key((*ROOT, 4)), False, b"")]
    for limit in (0, 100, 200):
        answer: list[bytes] = []
        view.bulk(ranges, 0, 100, limit, answer)
        assert len(answer) >= 2
        assert len(answer) == 2 or sum(map(len, answer)) <= limit


def test_cells_are_computed_once_and_only_when_asked_for() -> None:
    calls: list[int] = []

    def value(record: int) -> int:
        calls.append(record)
        return record

    view = View([Table(ROOT, [Column(2, ValueType.INTEGER, value)], [(1,), (2,)], [1, 2])])
    assert calls == []
    for _ in range(3):
        view.get(oid.key((*ROOT, 2, 1)))
        view.next(oid.key(ROOT), False, END)
    assert calls == [1]


def test_new_records_keep_the_cells_of_those_that_stay() -> None:
    calls: list[str] = []

    def value(record: list[str]) -> bytes:
        calls.append(record[0])
        return record[0].encode()

    column = Column(2, ValueType.OCTET_STRING, value)
    first, second, changed = ["a"], ["b"], ["c"]
    old = Table(ROOT, [column], [(1,), (2,)], [first, second])
    before = View([old])
    walk(before)
    new = old.with_records([first, changed])
    after = View([new])
    assert [one.value for one in walk(after)] == [b"a", b"c"]
    assert [one.value for one in walk(before)] == [b"a", b"b"]
    assert calls == ["a", "b", "c"]
    assert new.with_records([first, changed]) is new
    # equal is not the same
    walk(View([new.with_records([["a"], changed])]))
    assert calls == ["a", "b", "c", "a"]


def test_an_old_view_stays_lazy_after_a_refresh() -> None:
    old = Table(ROOT, [Column(2, ValueType.INTEGER, number)], [(1,), (2,)], [1, 2])
    before = View([old])
    after = View([old.with_records([1, 3])])
    assert [one.value for one in walk(after)] == [1, 3]
    assert [one.value for one in walk(before)] == [1, 2]


@pytest.mark.parametrize(
    "value", [lambda _: 2**31, lambda _: "text", lambda record: record["missing"]]
)
def test_a_faulty_value_is_named(value: Any) -> None:
    view = View([Table(ROOT, [Column(2, ValueType.INTEGER, value)], [(1,)], [{}])])
    with pytest.raises(CellError, match=r"1\.3\.6\.1\.2\.1\.236\.1\.2\.1: "):
        view.get(oid.key((*ROOT, 2, 1)))
    with pytest.raises(CellError):
        view.next(b"", False, b"")


def test_tables_are_checked() -> None:
    column = Column(2, ValueType.INTEGER, number)
    with pytest.raises(ValueError, match="ascending"):
        Table(ROOT, [column], [(2,), (1,)], [1, 2])
    with pytest.raises(ValueError, match="ascending"):
        Table(ROOT, [column], [(1,), (1,)], [1, 2])
    with pytest.raises(ValueError, match="records"):
        Table(ROOT, [column], [(1,)], [])
    table = Table(ROOT, [column], [(1,)], [1])
    with pytest.raises(ValueError, match="records"):
        table.with_records([1, 2])
    with pytest.raises(ValueError, match="at or below"):
        View([table, Table((*ROOT, 2), [column], [(1,)], [1])])
    with pytest.raises(ValueError, match="at or below"):
        View([table, table])


def test_memory_is_not_an_entry_per_instance() -> None:
    count = 5000
    columns = [Column(one, ValueType.INTEGER, number) for one in range(1, 101)]
    table = Table(ROOT, columns, [(row,) for row in range(count)], list(range(count)))
    view = View([table])
    shared = {id(cursor.index) for cursor in view._columns.values()}
    assert len(shared) == 1
    cells = sum(sys.getsizeof(cursor.cells) for cursor in view._columns.values())
    assert cells < 10 * count * 100
