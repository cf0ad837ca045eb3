"""Events of a store -> the lines themselves, read again from the log files.

Rules
- The store holds no lines. An event's row number and its partition's place in the log lead back to
  the line; the log is looked for where it was, then beside that, by its content (`identity`).
- Lines are masked and bounded: they are shown, stored and sent.
- A log that is gone is told in the line's place, with what is known of it: never fatal.
- When there are more than asked for, every (host, template) has its first line before any has its
  second: a line that was written a million times does not hide one that was written once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from triage.masking import mask
from triage.syslog.identity import begins
from triage.syslog.reading.blocks import lines_at
from triage.syslog.reading.unpack import ReadError, compression_of
from triage.syslog.tables import Line

if TYPE_CHECKING:
    from triage.syslog.store import Partition, Segment, Source, Store

TEXT = 2000
"""Characters of a line that are kept."""
NEIGHBOURS = 2000
"""Most files in a folder that are looked at for a log that was renamed."""


def recall(
    store: Store,
    start: float,
    end: float,
    hosts: Collection[str] | None,
    templates: Collection[int] | None,
    limit: int,
) -> tuple[Line, ...]:
    """Return lines of [start, end), in order of time; see `Store.lines`."""
    low, high = round(start * 1000), round(end * 1000)
    found = [pl.DataFrame(schema=_CANDIDATES)]
    partitions = store.manifest.partitions
    for number, partition in enumerate(partitions):
        if partition.first is None or partition.last is None:
            continue
        if partition.first < high and partition.last >= low:
            found.append(_candidates(store, number, (low, high), hosts, templates, limit))
    chosen = (
        pl.concat(found)
        .sort("time", "host", "template", "partition", "row")
        .with_columns(rank=pl.col("time").cum_count().over("host", "template"))
        .sort("rank", "time", maintain_order=True)
        .head(limit)
        .sort("time", "host", "partition", "row")
    )
    texts = _Texts(store)
    wanted = [
        _Wanted(partitions[row["partition"]], row["row"], row["template"])
        for row in chosen.iter_rows(named=True)
    ]
    read = texts.read(wanted)
    return tuple(
        Line(time=row["time"] / 1000, host=row["host"], text=text, template=row["template"])
        for row, text in zip(chosen.iter_rows(named=True), read, strict=True)
    )


_CANDIDATES = pl.Schema(
    {
        "time": pl.Int64,
        "host": pl.String,
        "template": pl.Int64,
        "partition": pl.UInt32,
        "row": pl.UInt32,
    }
)


def _candidates(
    store: Store,
    number: int,
    span: tuple[int, int],
    hosts: Collection[str] | None,
    templates: Collection[int] | None,
    limit: int,
) -> pl.DataFrame:
    """A partition's events that may be chosen: of each host and template no more than `limit`."""
    partition = store.manifest.partitions[number]
    names = store.hosts(partition)
    is_host = [hosts is None or name in hosts for name in names]
    if not any(is_host):
        return _CANDIDATES.to_frame()
    ids = store.template_ids(partition)
    is_key = ids != 0
    if templates is not None:
        is_key &= np.isin(ids, np.fromiter(templates, np.int64, len(templates)))
    if not is_key.any():
        return _CANDIDATES.to_frame()
    return (
        store.events(partition)
        .with_row_index("row")
        .filter(
            pl.col("time").is_between(*span, closed="left"),
            pl.lit(pl.Series(is_key, dtype=pl.Boolean)).gather(pl.col("key")),
            pl.lit(pl.Series(is_host, dtype=pl.Boolean)).gather(pl.col("host")),
        )
        .sort("time", "row")
        .select(
            "time",
            pl.lit(pl.Series(names, dtype=pl.String)).gather(pl.col("host")).alias("host"),
            pl.lit(pl.Series(ids)).gather(pl.col("key")).alias("template"),
            pl.lit(number, pl.UInt32).alias("partition"),
            pl.col("row").cast(pl.UInt32),
        )
        .group_by("host", "template", maintain_order=True)
        .head(limit)
        .select(_CANDIDATES.names())
        .collect()
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    partition: Partition
    row: int
    template: int

    def place(self) -> tuple[Segment, int]:
        """The segment, and the line in it."""
        row = self.row
        for segment in self.partition.segments:
            if row < segment.rows:
                return segment, row
            row -= segment.rows
        raise IndexError(f"partition {self.partition.name} has no row {self.row}")


class _Texts:
    """Reads lines again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sources = {one.id: one for one in store.manifest.sources}
        self.templates = store.templates
        self.files: dict[str, Path | None] = {}

    def read(self, wanted: Sequence[_Wanted]) -> list[str]:
        """Return the text of each, masked and bounded."""
        texts: dict[int, str] = {}
        by_source: dict[str, list[tuple[int, int, int]]] = {}
        for number, one in enumerate(wanted):
            segment, row = one.place()
            by_source.setdefault(segment.source, []).append((segment.start, row, number))
        for name, places in by_source.items():
            source = self.sources[name]
            for (start, rows), numbers in self._calls(source, sorted(places)):
                said = self._lines(source, start, rows)
                texts.update(zip(numbers, said, strict=True))
        return [
            mask(text)[:TEXT] if text else self._gone(one)
            for one, text in ((one, texts[number]) for number, one in enumerate(wanted))
        ]

    def _calls(
        self, source: Source, places: Sequence[tuple[int, int, int]]
    ) -> Iterator[tuple[tuple[int, list[int]], list[int]]]:
        """Lines that are read in one go: of a segment; of a packed file all, to unpack it once."""
        path = self._file(source)
        rows_before = self._rows_before(source) if path and compression_of(path) else {}
        calls: dict[int, tuple[list[int], list[int]]] = {}
        for start, row, number in places:
            first, more = rows_before.get(start, (start, 0))
            rows, numbers = calls.setdefault(first, ([], []))
            rows.append(row + more)
            numbers.append(number)
        for first, (rows, numbers) in calls.items():
            yield (first, rows), numbers

    def _rows_before(self, source: Source) -> Mapping[int, tuple[int, int]]:
        """For each segment's start: where the unbroken run of segments begins, and its rows."""
        segments = sorted(
            (
                segment
                for one in self.store.manifest.partitions
                for segment in one.segments
                if segment.source == source.id
            ),
            key=lambda one: one.start,
        )
        before: dict[int, tuple[int, int]] = {}
        run, rows, end = 0, 0, -1
        for one in segments:
            if one.start != end:
                run, rows = one.start, 0
            before[one.start] = run, rows
            rows, end = rows + one.rows, one.end
        return before

    def _lines(self, source: Source, start: int, rows: list[int]) -> list[str]:
        path = self._file(source)
        if path is None:
            return [""] * len(rows)
        try:
            return lines_at(path, start, rows)
        except ReadError:  # gone by now, or not for us to read: told in each line's place
            return [""] * len(rows)

    def _gone(self, wanted: _Wanted) -> str:
        segment, _ = wanted.place()
        template = self.templates.get(wanted.template)
        said = (template.name or template.text) if template else "nothing known"
        path = self.sources[segment.source].path
        return f"({path} cannot be read any more; this line's template: {said})"

    def _file(self, source: Source) -> Path | None:
        if source.id not in self.files:
            self.files[source.id] = locate(source)
        return self.files[source.id]


def locate(source: Source) -> Path | None:
    """Return the file that a source is by now: where it was, else beside that; None: gone."""
    path = Path(source.path)
    if begins(path, source):
        return path
    try:
        neighbours = sorted(one for one in path.parent.iterdir() if one.is_file())
    except OSError:
        return None
    # messages -> messages.1 -> messages.2.gz: those that are called alike first
    neighbours.sort(key=lambda one: not one.name.startswith(path.name.partition(".")[0]))
    return next((one for one in neighbours[:NEIGHBOURS] if begins(one, source)), None)
