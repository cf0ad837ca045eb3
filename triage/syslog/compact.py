"""Small partitions become larger ones, so that years of following do not leave a million files.

Rules
- Small ones are left alone until there are many; then those of about the same time are merged, up
  to a block's size of log each.
- A merged partition's rows are those of its segments, source by source; segments that follow one
  another become one. Nothing else changes: same events, same keys, same examples.
- Partitions that are still open (a last line without an end) are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from triage.syslog.partition import keys_of
from triage.syslog.store import Partition, Segment, Store, write_partition
from triage.syslog.tables import content_id, id_text


def compacted(
    store: Store, partitions: Sequence[Partition], block_bytes: int, most: int
) -> list[Partition]:
    """Return the partitions, with new ones written for small ones if there are more than `most`.

    The caller commits them.
    """
    small = [one for one in partitions if one.bytes < block_bytes // 2 and not one.open]
    if len(small) <= most:
        return list(partitions)
    small.sort(key=lambda one: (one.first or 0, one.name))
    gone: set[str] = set()
    merged: list[Partition] = []
    for some in _bundles(small, block_bytes):
        if len(some) > 1:
            gone.update(one.name for one in some)
            merged.append(_merge(store, some))
    return [one for one in partitions if one.name not in gone] + merged


def _bundles(partitions: Sequence[Partition], most: int) -> Iterator[list[Partition]]:
    """Cut a sequence where its parts hold `most` bytes of log."""
    bundle: list[Partition] = []
    size = 0
    for one in partitions:
        if bundle and size + one.bytes > most:
            yield bundle
            bundle, size = [], 0
        bundle.append(one)
        size += one.bytes
    if bundle:
        yield bundle


def _merge(store: Store, partitions: Sequence[Partition]) -> Partition:
    # Partitions that were merged before may lie among one another's segments: take these apart
    parts = sorted(
        (
            (segment, one, begin)
            for one in partitions
            for segment, begin in zip(one.segments, _begins(one), strict=True)
        ),
        key=lambda part: (part[0].source, part[0].start),
    )
    tables = {one.name: store.partition_keys(one, ["key", "example"]) for one in partitions}
    names = pl.Series(
        sorted({host for one in partitions for host in store.hosts(one)}), dtype=pl.String
    )
    keys = pl.concat([tables[one.name] for _, one, _ in parts]).unique("key", keep="first")
    keys = keys.sort("key")
    whole = {one.name: _renumbered(store, one, tables[one.name], keys, names) for one in partitions}
    events = pl.concat(
        [whole[one.name].slice(begin, segment.rows) for segment, one, begin in parts]
    )
    name = f"merged-{id_text(content_id(' '.join(sorted(one.name for one in partitions))))}"
    write_partition(
        store.folder, name, events, names.to_list(), keys_of(events, keys["key"], keys["example"])
    )
    times = [time for one in partitions for time in (one.first, one.last) if time is not None]
    return Partition(
        name=name,
        segments=tuple(_joined([segment for segment, _, _ in parts])),
        rows=sum(one.rows for one in partitions),
        lines=sum(one.lines for one in partitions),
        broken=sum(one.broken for one in partitions),
        first=min(times, default=None),
        last=max(times, default=None),
        learnt=all(one.learnt for one in partitions),
    )


def _begins(partition: Partition) -> list[int]:
    """The first row of each segment."""
    begins, row = [], 0
    for segment in partition.segments:
        begins.append(row)
        row += segment.rows
    return begins


def _renumbered(
    store: Store, partition: Partition, table: pl.DataFrame, keys: pl.DataFrame, hosts: pl.Series
) -> pl.DataFrame:
    """Return a partition's events with places in other lists of keys and hosts."""
    key = table["key"].cast(pl.Enum(keys["key"])).to_physical().cast(pl.UInt32)
    own = pl.Series(store.hosts(partition), dtype=pl.String)
    host = own.cast(pl.Enum(hosts)).to_physical().cast(pl.UInt32)
    return (
        store.events(partition)
        .select(
            "time",
            pl.lit(host).gather(pl.col("host")).alias("host"),
            pl.lit(key).gather(pl.col("key")).alias("key"),
            "count",
        )
        .collect()
    )


def _joined(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Make one of segments that follow one another."""
    last: Segment | None = None
    for one in segments:
        if last and (last.source, last.end) == (one.source, one.start):
            last = replace(last, end=one.end, rows=last.rows + one.rows)
            continue
        if last:
            yield last
        last = one
    if last:
        yield last
