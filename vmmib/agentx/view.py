"""An ordered view of managed objects that answers Get, GetNext and GetBulk (RFC 2741, 7.2.3).

Theory of operation
-------------------
A view is made of tables. A table is a row set (index suffixes in ascending order), columns that
all its rows share, and one record per row, from which a column's function takes its value. A group
of scalars is a table with the one row (0,).

Requests come as keys (see oid) and are answered with encoded varbinds, big-endian, ready to be
joined into a Response; on the way nothing is decoded. A key is looked up in two dictionaries: its
head among the columns, the rest among the rows. There is no entry per instance, so that 5,000
machines of 100 objects cost 5,000 row keys and 100 columns. The next instance is the next row of
the column, else the first row of the next column; only a key that is no instance is bisected.

A cell is computed and encoded when it is first asked for, and kept as long as its record is.

Rules
-----
- A view never changes what it answers; a refresh makes another one with `Table.with_records`. A
  walk in progress sees either of them whole, never half of both.
- A column's function is pure, and is called at most once per record, unless the column is live.
- No column's OID is below another's.
- What a column's function raises, or a value that its type cannot hold, is raised to the caller as
  CellError: a fault of whoever made the table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from vmmib.agentx.oid import MAX_SUBIDS, Oid, from_key, key, to_text
from vmmib.agentx.pdu import PREFIX_KEYS, ParseError, ValueType, encode_name, value_encoder

_MAX_KEY = 4 * MAX_SUBIDS
_MAX_BEYOND = 16
"""Ends of ranges that are remembered: a master has one for each of its own neighbours."""

_MISSING = b""
"""The cell of an instance that does not exist; None is one that was not asked for yet."""


class CellError(Exception):
    """An instance could not be computed."""


@dataclass(frozen=True, slots=True)
class Column:
    """One object of a table: its number below the entry, its type, and how to get its value.

    `value(record)` returns an int, octets or an OID, as `type` demands, or None where the
    instance does not exist.
    """

    number: int
    type: ValueType
    value: Callable[[Any], int | bytes | Oid | None]
    live: bool = False
    """The value changes by itself (a clock): it is computed whenever it is asked for."""


class _Rows:
    """The row order, shared by the columns of a table and by its later versions."""

    __slots__ = ("index", "keys")

    def __init__(self, rows: Sequence[Oid]) -> None:
        self.keys: list[bytes] = [key(row) for row in rows]
        if any(this >= following for this, following in pairwise(self.keys)):
            raise ValueError("rows are not in strictly ascending order")
        self.index: dict[bytes, int] = {suffix: at for at, suffix in enumerate(self.keys)}


class _Cells:
    """One column of one version of a table: its encoded varbinds, made when asked for."""

    __slots__ = ("_encode", "_heads", "cells", "column", "key", "records", "rows")

    def __init__(
        self,
        name: bytes,
        column: Column,
        rows: _Rows,
        records: Sequence[Any],
        cells: list[bytes | None],
    ) -> None:
        self.key = name
        self.column = column
        self.rows = rows
        self.records = records
        self.cells = cells
        self._encode = value_encoder(column.type)
        self._heads: dict[int, bytes] = {}

    def fill(self, row: int) -> bytes:
        """Compute, keep and return the cell of a row."""
        suffix = self.rows.keys[row]
        try:
            value = self.column.value(self.records[row])
            if value is None:
                cell = _MISSING
            else:
                # Type, name and column are the same octets for all suffixes of one length.
                head = self._heads.get(len(suffix))
                if head is None:
                    whole = encode_name(self.column.type, self.key + suffix)
                    head = self._heads[len(suffix)] = whole[: len(whole) - len(suffix)]
                cell = head + suffix + self._encode(value)
        except Exception as error:
            name = to_text(from_key(self.key + suffix))
            raise CellError(f"{name}: {type(error).__name__}: {error}") from error
        if not self.column.live:
            self.cells[row] = cell
        return cell

    def replaced(self, records: Sequence[Any], changed: Sequence[int]) -> Self:
        """Return the same column over new records of which those at `changed` are others."""
        if len(changed) == len(records):
            cells: list[bytes | None] = [None] * len(records)
        else:
            cells = self.cells.copy()
            for row in changed:
                cells[row] = None
        copy = type(self)(self.key, self.column, self.rows, records, cells)
        copy._heads = self._heads
        return copy


class Table:
    """One conceptual table, or a group of scalars (rows == ((0,),))."""

    def __init__(
        self, entry: Oid, columns: Sequence[Column], rows: Sequence[Oid], records: Sequence[Any]
    ) -> None:
        """Make a table below `entry` whose row `rows[i]` shows `records[i]`.

        Raises ValueError when rows do not ascend, or are not as many as the records.
        """
        if len(rows) != len(records):
            raise ValueError(f"{len(rows)} rows, but {len(records)} records")
        self.entry = entry
        self._rows = _Rows(rows)
        self._records = records
        count = len(records)
        self._columns = tuple(
            _Cells(key((*entry, column.number)), column, self._rows, records, [None] * count)
            for column in sorted(columns, key=lambda column: column.number)
        )

    def with_records(self, records: Sequence[Any]) -> Table:
        """Return the same rows with new records.

        A cell whose record is the same object keeps its encoding; ValueError when there are not
        as many records as rows.
        """
        old = self._records
        if len(records) != len(old):
            raise ValueError(f"{len(old)} rows, but {len(records)} records")
        changed = [at for at, record in enumerate(records) if record is not old[at]]
        if not changed:
            return self
        table = Table.__new__(Table)
        table.entry = self.entry
        table._rows = self._rows
        table._records = records
        table._columns = tuple(column.replaced(records, changed) for column in self._columns)
        return table


class _Cursor:
    """A column in its place in a view."""

    __slots__ = ("cells", "count", "fill", "following", "index", "key", "keys", "last")

    def __init__(self, column: _Cells) -> None:
        self.key = column.key
        self.keys = column.rows.keys
        self.index = column.rows.index
        self.count = len(self.keys)
        self.cells = column.cells
        self.fill = column.fill
        self.last = column.key + self.keys[-1] if self.keys else b""
        self.following: _Cursor | None = None
        """The next column that has rows."""


class View:
    """An immutable, ordered set of tables."""

    def __init__(self, tables: Iterable[Table], objects: Iterable[Oid] = ()) -> None:
        """Make a view of `tables`, in any order; `objects` are OIDs of objects without instances.

        Raises ValueError when a column is below another one, or there twice.
        """
        cursors = sorted(
            (_Cursor(column) for table in tables for column in table._columns),
            key=lambda cursor: cursor.key,
        )
        for this, following in pairwise(cursors):
            if following.key.startswith(this.key):
                names = to_text(from_key(following.key)), to_text(from_key(this.key))
                raise ValueError(f"column {names[0]} is at or below column {names[1]}")
        self._columns = {cursor.key: cursor for cursor in cursors}
        self._column_lengths = _lengths(self._columns)
        self._filled = [cursor for cursor in cursors if cursor.count]
        self._filled_keys = [cursor.key for cursor in self._filled]
        self._last = max((cursor.last for cursor in self._filled), default=b"")
        self._head, self._encoded_columns = _encoded(cursors, self._column_lengths)
        self._beyond: set[bytes] = set()
        """Encoded ends of ranges that no row reaches, as far as they were met."""
        for place, cursor in enumerate(cursors):
            # A column without rows is never answered with, but a request may start from it.
            cursor.following = next((other for other in cursors[place + 1 :] if other.count), None)
        self._objects = frozenset(key(oid) for oid in objects)
        self._object_lengths = _lengths(self._objects)

    def get(self, key: bytes) -> bytes:
        """Answer Get: the varbind named `key`, or noSuchInstance, or noSuchObject (7.2.3.1)."""
        for length in self._column_lengths:
            cursor = self._columns.get(key[:length])
            if cursor is not None:
                row = cursor.index.get(key[length:])
                if row is not None:
                    cell = cursor.cells[row]
                    if cell is None:
                        cell = cursor.fill(row)
                    if cell:
                        return cell
                return encode_name(ValueType.NO_SUCH_INSTANCE, key)
        for length in self._object_lengths:
            if key[:length] in self._objects:
                return encode_name(ValueType.NO_SUCH_INSTANCE, key)
        return encode_name(ValueType.NO_SUCH_OBJECT, key)

    def next(self, start: bytes, include: bool | int, end: bytes) -> bytes:
        """Answer GetNext: the first varbind after `start`, and before `end` unless that is empty.

        With `include`, that of `start` itself will do. endOfMibView, named `start`, when there is
        none (7.2.3.2).
        """
        cursor: _Cursor | None
        for length in self._column_lengths:
            cursor = self._columns.get(start[:length])
            if cursor is not None:
                suffix = start[length:]
                found = cursor.index.get(suffix)
                if found is None:
                    row = bisect_left(cursor.keys, suffix)
                else:
                    row = found if include else found + 1
                break
        else:
            place = bisect_left(self._filled_keys, start)
            cursor = self._filled[place] if place < len(self._filled) else None
            row = 0
        while cursor is not None:
            if row < cursor.count:
                cell = cursor.cells[row]
                if cell is None:
                    cell = cursor.fill(row)
                if cell:
                    if end and cursor.last >= end and cursor.key + cursor.keys[row] >= end:
                        break
                    return cell
                row += 1
            else:
                cursor = cursor.following
                row = 0
        return encode_name(ValueType.END_OF_MIB_VIEW, start)

    def next_of_all(self, frame: bytes, at: int, cells: list[bytes]) -> int:
        """Answer the ranges of a GetNext from position `at` on; return where they end.

        `frame` is the PDU as it came, in network byte order. The short way is that of a walk: the
        start is an instance of one of the columns whose names are as long as most, and the end
        one that no row reaches. Neither is taken apart. All else goes to `next`.

        Raises ParseError for an OID that is too long; IndexError, or a position beyond the
        frame's end, is a range that is cut short.
        """
        columns, head, beyond = self._encoded_columns, self._head, self._beyond
        size = len(frame)
        while at < size:
            stop = at + 4 + 4 * frame[at]
            following = stop + 4 + 4 * frame[stop]
            place = at + head
            cursor = columns.get(frame[at + 1 : place]) if place <= stop else None
            if cursor is not None and frame[stop:following] in beyond:
                row = cursor.index.get(frame[place:stop])
                if row is not None and row + 1 < cursor.count:
                    cell = cursor.cells[row + 1] or cursor.fill(row + 1)
                    if cell:
                        cells.append(cell)
                        at = following
                        continue
            start, include, end, at = read_range(frame, at)
            if len(beyond) < _MAX_BEYOND and (not end or self._last < end):
                beyond.add(frame[stop:following])
            cells.append(self.next(start, include, end))
        return at

    def bulk(
        self,
        ranges: Sequence[tuple[bytes, bool, bytes]],
        non_repeaters: int,
        max_repetitions: int,
        limit: int,
        answer: list[bytes],
    ) -> None:
        """Answer GetBulk of (start, include, end) ranges, by appending to `answer` (7.2.3.3).

        The varbinds have at most `limit` octets in all: what is cut are repetitions at the end,
        which the RFC allows; the first varbind of each range is always there.
        """
        for one in ranges[:non_repeaters]:
            answer.append(self.next(*one))  # noqa: PERF401 - what it has when it fails matters
        size = sum(map(len, answer))
        repeated = list(ranges[non_repeaters:])
        for repetition in range(max_repetitions if repeated else 0):
            ended = True
            for at, (start, include, end) in enumerate(repeated):
                cell = self.next(start, include, end)
                size += len(cell)
                if repetition and size > limit:
                    return
                answer.append(cell)
                if cell[1] != ValueType.END_OF_MIB_VIEW:
                    ended = False
                    repeated[at] = (_name(cell), False, end)
            if ended:
                # Further repetitions would only say so again (RFC 3416, 4.2.3).
                break

    def __iter__(self) -> Iterator[bytes]:
        """All varbinds, in order."""
        start = b""
        while (cell := self.next(start, False, b""))[1] != ValueType.END_OF_MIB_VIEW:
            yield cell
            start = _name(cell)


def read_range(frame: bytes, at: int) -> tuple[bytes, int, bytes, int]:
    """Key of the start, include, key of the end, and where the next range begins.

    Raises ParseError for an OID that is too long; IndexError, or a position beyond the frame's
    end, is a range that is cut short.
    """
    stop = at + 4 + 4 * frame[at]
    start = PREFIX_KEYS[frame[at + 1]] + frame[at + 4 : stop]
    following = stop + 4 + 4 * frame[stop]
    end = PREFIX_KEYS[frame[stop + 1]] + frame[stop + 4 : following]
    if len(start) > _MAX_KEY or len(end) > _MAX_KEY:
        raise ParseError("an OID is too long")
    return start, frame[at + 2], end, following


def _encoded(
    cursors: Iterable[_Cursor], lengths: Sequence[int]
) -> tuple[int, dict[bytes, _Cursor]]:
    """Columns by their encoded names, of those whose names are as long as most are.

    The encoding begins after the octet that counts the sub-identifiers, for that one counts those
    of the row too, and says that include is 0. Also the position, in an encoded start, of the row.
    """
    found: dict[bytes, _Cursor] = {}
    head = 0
    for cursor in cursors:
        if len(cursor.key) == lengths[0]:
            name = encode_name(ValueType.NULL, cursor.key)[4:]
            head = len(name)
            found[name[1:]] = cursor
    return head, found


def _lengths(keys: Iterable[bytes]) -> tuple[int, ...]:
    """Lengths of `keys`, the most frequent first, as most requests are for those."""
    counts: dict[int, int] = {}
    for one in keys:
        counts[len(one)] = counts.get(len(one), 0) + 1
    return tuple(sorted(counts, key=lambda length: (-counts[length], length)))


def _name(cell: bytes) -> bytes:
    """Key of the name of an encoded varbind."""
    return PREFIX_KEYS[cell[5]] + cell[8 : 8 + 4 * cell[4]]


EMPTY = View(())
"""The view of a context that nothing is known of."""
