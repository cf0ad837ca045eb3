"""All events, sorted, in as little memory as they need: eight bytes each.

Theory of operation
    A first scan finds the templates, the hosts and the span of time; a second one packs template,
    host and time of each event into one 64-bit integer, of which one sort makes series that stand
    one after another. Occurrences above 1 ("last message repeated N times") are few: kept aside.
    `Events.batch` unpacks some templates at a time, in both orders that are asked for.
    Where the bits do not suffice (a stray date centuries away, and many hosts), the events are
    sorted as rows, which takes three times the memory and longer.

Reads what the lazy frame reads; else pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Small = NDArray[np.int32]

_BITS = 63
"""Of a packed event: the sign stays clear."""


@dataclass(frozen=True, slots=True)
class Series:
    """Sorted events of a batch, one series after another."""

    template: Small
    """Indices into the batch's templates."""
    host: Small
    time: Ints
    count: Small


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of some templates."""

    templates: tuple[int, ...]
    hosts: tuple[str, ...]
    bounds: Ints
    """Of each template its first event in either series, and the number of all."""
    by_host: Series
    """In the order of (template, host, time)."""
    by_time: Series
    """In the order of (template, time, host)."""
    start: int
    """Of the whole log, ms."""
    end: int

    def pieces(self) -> Iterator[tuple[int, int, int]]:
        """Yield (template id, first event, event after the last) of each template."""
        return zip(self.templates, self.bounds[:-1], self.bounds[1:], strict=True)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the bits of a packed event are: template, host, time."""

    low: int
    """The time that is 0."""
    time: int
    """Bits."""
    host: int
    template: int

    @property
    def fits(self) -> bool:
        return self.time + self.host + self.template <= _BITS


@dataclass(frozen=True, slots=True)
class _Packed:
    """Events as packed integers in rising order, which is that of (template, host, time)."""

    layout: _Layout
    keys: Ints
    repeated: tuple[Ints, Small]
    """Place and occurrences of the events with more than one."""

    def series(self, low: int, high: int) -> Series:
        layout, keys = self.layout, self.keys[low:high]
        count = np.ones(len(keys), np.int32)
        places, many = self.repeated
        first, last = np.searchsorted(places, [low, high])
        count[places[first:last] - low] = many[first:last]
        return Series(
            (keys >> (layout.host + layout.time)).astype(np.int32),
            ((keys >> layout.time) & _ones(layout.host)).astype(np.int32),
            (keys & _ones(layout.time)) + layout.low,
            count,
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The same where a packed integer has too few bits."""

    sorted: Series

    def series(self, low: int, high: int) -> Series:
        whole = self.sorted
        part = slice(low, high)
        return Series(whole.template[part], whole.host[part], whole.time[part], whole.count[part])


@dataclass(frozen=True, slots=True)
class Events:
    """All events of a log."""

    templates: tuple[int, ...]
    """Sorted ids."""
    hosts: tuple[str, ...]
    """Sorted."""
    bounds: Ints
    """Of each template its first event, and the number of all."""
    start: int
    """ms."""
    end: int
    body: _Packed | _Rows

    def parts(self, events: int) -> Iterator[tuple[int, int]]:
        """Yield (first template, template after the last) of at most so many events."""
        first = 0
        for place in range(1, len(self.templates) + 1):
            last = place == len(self.templates)
            if last or self.bounds[place + 1] - self.bounds[first] > events:
                yield first, place
                first = place

    def batch(self, first: int, after: int) -> Batch:
        """Return the events of some templates."""
        low, high = int(self.bounds[first]), int(self.bounds[after])
        one = self.body.series(low, high)
        by_host = Series(one.template - first, one.host, one.time, one.count)
        return Batch(
            self.templates[first:after],
            self.hosts,
            self.bounds[first : after + 1] - low,
            by_host,
            by_time(by_host),
            self.start,
            self.end,
        )


def load(times: pl.LazyFrame) -> Events:
    """Return events (time Int64 ms, host String, template Int64, count); nulls have no part."""
    times = times.filter(pl.all_horizontal(pl.col("time", "host", "template").is_not_null()))
    times = times.with_columns(pl.col("host").cast(pl.String))
    found = (
        times.group_by("template", "host")
        .agg(pl.len().alias("events"), pl.col("time").min().alias("first"), pl.col("time").max())
        .collect(engine="streaming")
    )
    sizes = found.group_by("template").agg(pl.col("events").sum()).sort("template")
    templates = tuple(sizes["template"].to_list())
    hosts = tuple(sorted(found["host"].unique().to_list()))
    start, end = _bound(found["first"].min()), _bound(found["time"].max())
    layout = _Layout(
        start,
        (end - start).bit_length(),
        max(0, len(hosts) - 1).bit_length(),
        max(0, len(templates) - 1).bit_length(),
    )
    columns = (
        _place("template", sizes["template"]),
        _place("host", pl.Series(hosts, dtype=pl.String)),
        pl.col("time"),
        pl.col("count").clip(1, 2**31 - 1),
    )
    bounds = np.concatenate(([0], np.cumsum(sizes["events"].to_numpy(), dtype=np.int64)))
    times = times.select("time", "host", "template", "count")
    body: _Packed | _Rows
    if layout.fits:
        body = _packed(times, columns, layout, int(bounds[-1]))
    else:
        body = _rows(times.select(columns))
    return Events(
        templates=templates,
        hosts=hosts,
        bounds=bounds,
        start=start,
        end=end,
        body=body,
    )


def _place(name: str, values: pl.Series) -> pl.Expr:
    return pl.col(name).replace_strict(
        values, pl.Series(range(len(values)), dtype=pl.Int64), return_dtype=pl.Int64
    )


def _bound(value: object) -> int:
    return value if isinstance(value, int) else 0


def _ones(bits: int) -> int:
    return (1 << bits) - 1


def _packed(
    times: pl.LazyFrame, columns: Sequence[pl.Expr], layout: _Layout, events: int
) -> _Packed:
    template, host = pl.col("template"), pl.col("host")
    key = (template * (1 << layout.host) + host) * (1 << layout.time) + pl.col("time") - layout.low
    keys = np.empty(events, np.int64)
    aside = [pl.DataFrame(schema={"key": pl.Int64, "count": pl.Int32})]
    at = 0
    # Batch by batch: a query for all of it holds its columns four times over.
    for batch in times.collect_batches(maintain_order=False, engine="streaming"):
        frame = batch.select(columns).select(key.alias("key"), pl.col("count").cast(pl.Int32))
        keys[at : at + len(frame)] = frame["key"].to_numpy()
        at += len(frame)
        aside.append(frame.filter(pl.col("count") > 1))
    keys.sort()
    some = pl.concat(aside).sort("key", "count")
    repeated = some["key"].to_numpy()
    return _Packed(layout, keys, (_places(keys, repeated), some["count"].to_numpy()))


def _places(keys: Ints, some: Ints) -> Ints:
    """Return where some of the sorted keys stand: of equal ones the last places."""
    behind = np.searchsorted(some, some, side="right") - np.arange(len(some))
    places: Ints = np.searchsorted(keys, some, side="right") - behind
    return places


def _rows(numbered: pl.LazyFrame) -> _Rows:
    rows = numbered.collect(engine="streaming")
    rows = rows.sort("template", "host", "time", "count")
    template, host, count = (
        rows[one].cast(pl.Int32).to_numpy() for one in ("template", "host", "count")
    )
    return _Rows(Series(template, host, rows["time"].to_numpy(), count))


def by_time(series: Series) -> Series:
    """Return events of the order (template, host, time) in that of (template, time, host)."""
    if not len(series.time):
        return series
    layout = _Layout(
        int(series.time.min()),
        int(series.time.max() - series.time.min()).bit_length(),
        int(series.host.max()).bit_length(),
        int(series.template[-1]).bit_length(),
    )
    if not layout.fits:
        order = np.lexsort((series.count, series.host, series.time, series.template))
        host, time, count = series.host[order], series.time[order], series.count[order]
        return Series(series.template, host, time, count)
    keys = (series.template.astype(np.int64) << layout.time) + (series.time - layout.low)
    keys <<= layout.host
    keys |= series.host
    repeated = np.flatnonzero(series.count > 1)
    some, many = keys[repeated], series.count[repeated]
    keys.sort()
    count = series.count
    if len(repeated):
        order = np.lexsort((many, some))
        count = np.ones(len(keys), np.int32)
        count[_places(keys, some[order])] = many[order]
    host = (keys & _ones(layout.host)).astype(np.int32)
    keys >>= layout.host
    keys &= _ones(layout.time)
    keys += layout.low
    return Series(series.template, host, keys, count)
