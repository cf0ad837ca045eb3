"""All that the times between lines tell: statistics per template and host, periods, bursts.

Theory of operation
    `events` gives the events in batches of whole templates, sorted. A batch's series stand one
    after another in one array, so that the statistics of all of them are sums over segments.
    Periods and bursts are asked of each template by itself. Batches share nothing: threads take
    one each, as NumPy lets go of the interpreter in what takes long.

Rules
- Nothing depends on the order of the events, nor on the size of the batches or the threads.
- Events without a time (broken lines) have no place here.

Reads what the lazy frame reads; else pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from triage.syslog.intervals.bursting import bursts_of
from triage.syslog.intervals.events import Batch, Ints, Series, load
from triage.syslog.intervals.model import Burst, IntervalSettings, IntervalStats
from triage.syslog.intervals.periods import guard_of, period_of

INTERVALS = pl.Schema(
    {
        "template": pl.Int64,  # template id
        "host": pl.String,  # "": all hosts
        "count": pl.Int64,
        "first": pl.Int64,  # ms
        "last": pl.Int64,  # ms
        "mean": pl.Float64,  # seconds; null: no interval
        "median": pl.Float64,
        "deviation": pl.Float64,
    }
)
"""Sorted by (template, host): a template's row for all hosts comes first."""

_WEEK = 7 * 86_400_000

_Made = TypeVar("_Made")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All that the times between lines tell."""

    table: pl.DataFrame
    """`INTERVALS`."""
    stats: tuple[IntervalStats, ...]
    """Of all hosts together, with periods; sorted by template id."""
    bursts: tuple[Burst, ...]
    """Of all templates, in order of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A template's intervals over time, as the report's figures 3 and 4 draw them."""

    template: int
    points: tuple[tuple[float, float, int], ...]
    """(time of the later line, seconds since the earlier one, how many are drawn as this point),
    in order of time."""
    intervals: int
    """All of them: the points stand for so many."""


def intervals(times: pl.LazyFrame, settings: IntervalSettings | None = None) -> pl.DataFrame:
    """Return `INTERVALS` of events (time Int64 ms, host String, template Int64, count)."""
    return _stacked(_worked(times, settings or IntervalSettings(), _table))


def bursts(times: pl.LazyFrame, settings: IntervalSettings | None = None) -> tuple[Burst, ...]:
    """Return the bursts of all templates, in order of time."""
    return survey(times, settings).bursts


def survey(times: pl.LazyFrame, settings: IntervalSettings | None = None) -> Survey:
    """Return all that the times tell of events (time Int64 ms, host String, template Int64, count).

    Takes about 0.8 s of CPU for 1 M events, part of it on two cores, and eight bytes of memory for
    each besides those of a batch: 21.2 M events of 1,147 templates on 32 hosts 16.5 s and 0.83 GB.
    """
    settings = settings or IntervalSettings()
    parts = _worked(times, settings, lambda batch: _surveyed(batch, settings))
    found = [one for part in parts for one in part.bursts]
    found.sort(key=lambda one: (one.start, one.template, one.end))
    return Survey(
        table=_stacked([part.table for part in parts]),
        stats=tuple(one for part in parts for one in part.stats),
        bursts=tuple(found),
    )


def _worked(
    times: pl.LazyFrame, settings: IntervalSettings, work: Callable[[Batch], _Made]
) -> list[_Made]:
    """Return what the work makes of each batch, in the order of the templates."""
    events = load(times)
    with ThreadPoolExecutor(max(1, settings.threads)) as pool:
        parts = events.parts(settings.batch_events)
        return list(pool.map(lambda part: work(events.batch(*part)), parts))


def _surveyed(batch: Batch, settings: IntervalSettings) -> Survey:
    table = _table(batch)
    return Survey(
        table=table,
        stats=tuple(_stats(batch, table, settings)),
        bursts=tuple(_bursts(batch, settings)),
    )


# Statistics


def _table(batch: Batch) -> pl.DataFrame:
    """Return `INTERVALS` of a batch."""
    names = np.array(batch.templates, np.int64)
    whole, single = batch.by_time, batch.by_host
    starts = batch.bounds[:-1]
    changed = single.template[1:] != single.template[:-1]
    changed |= single.host[1:] != single.host[:-1]
    starts_single = np.concatenate(([0], np.flatnonzero(changed) + 1))
    parts = (
        (whole, starts, [""] * len(starts)),
        (single, starts_single, [batch.hosts[one] for one in single.host[starts_single]]),
    )
    return pl.concat(
        pl.DataFrame(
            {
                "template": names[series.template[begin]],
                "host": pl.Series(hosts, dtype=pl.String),
                **_figures(series, begin),
            },
            schema=INTERVALS,
        )
        for series, begin, hosts in parts
    ).sort("template", "host")


def _figures(series: Series, starts: Ints) -> dict[str, object]:
    # In place where it can be: a template may have half of all events.
    ends = np.append(starts[1:], len(series.time))
    lengths = ends - starts
    gaps = np.zeros(len(series.time))
    np.subtract(series.time[1:], series.time[:-1], out=gaps[1:], casting="unsafe")
    gaps /= 1000.0
    gaps[starts] = 0.0  # a series' first line ends no interval
    many = np.add.reduceat(series.count, starts, dtype=np.int64)
    heavy = many > lengths
    intervals = many - series.count[starts]
    safe = np.maximum(intervals, 1)
    if heavy.any():
        gaps /= series.count
        weights = series.count.astype(np.float64)
        mean = np.add.reduceat(gaps * weights, starts) / safe
    else:
        weights = None
        mean = np.add.reduceat(gaps, starts) / safe
    off = np.repeat(mean, lengths)
    off -= gaps
    off[starts] = 0.0
    off *= off
    if weights is not None:
        off *= weights
    deviation = np.sqrt(np.add.reduceat(off, starts) / safe)
    del off
    median = _medians(gaps, starts, ends)
    for index in np.flatnonzero(heavy):  # repetitions: rare, and not whole milliseconds
        part = slice(starts[index] + 1, ends[index])
        median[index] = _median(gaps[part], series.count[part].astype(np.float64))
    unknown = intervals <= 0
    return {
        "count": many,
        "first": series.time[starts],
        "last": series.time[ends - 1],
        "mean": _nulled(mean, unknown),
        "median": _nulled(median, unknown),
        "deviation": _nulled(deviation, unknown),
    }


def _medians(gaps: Floats, starts: Ints, ends: Ints) -> Floats:
    """Return the median of each series; the first element of a series is no interval."""
    lengths = ends - starts
    bits = int(gaps.max() * 1000 + 1).bit_length() + 1
    if bits + len(starts).bit_length() > 62:
        none = np.zeros(0)
        return np.array(
            [
                _median(gaps[a + 1 : b], none) if b > a + 1 else 0.0
                for a, b in zip(starts, ends, strict=True)
            ]
        )
    # Whole milliseconds, packed behind the series' number: one sort sorts all of them. The first of
    # each series, which is no interval, sorts before its own others.
    packed = np.repeat(np.arange(len(starts)) << bits, lengths)
    packed += np.rint(gaps * 1000).astype(np.int64) + 1
    packed[starts] = np.arange(len(starts)) << bits
    packed.sort()
    low, high = starts + 1 + (lengths - 2) // 2, starts + 1 + (lengths - 1) // 2
    single = lengths < 2
    low, high = np.where(single, starts, low), np.where(single, starts, high)
    mask = (1 << bits) - 1
    medians: Floats = ((packed[low] & mask) - 1 + (packed[high] & mask) - 1) / 2000.0
    medians[single] = 0.0
    return medians


def _median(gaps: Floats, weights: Floats) -> float:
    """Return the median of intervals that stand for `weights` equal ones each; none: for one."""
    if not len(gaps):
        return 0.0
    if not len(weights) or weights.max() == 1.0:
        return float(np.median(gaps))
    order = np.argsort(gaps, kind="stable")
    up_to = np.cumsum(weights[order])
    low, high = np.searchsorted(up_to, [(up_to[-1] - 1) // 2 + 0.5, up_to[-1] // 2 + 0.5])
    return float(gaps[order[low]] + gaps[order[high]]) / 2


def _nulled(values: Floats, unknown: NDArray[np.bool_]) -> pl.Series:
    return pl.DataFrame({"value": values, "unknown": unknown}).select(
        pl.when(~pl.col("unknown")).then(pl.col("value"))
    )["value"]


def _stacked(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema=INTERVALS)
    return pl.concat(parts).sort("template", "host")


# Periods and bursts


def _stats(
    batch: Batch, table: pl.DataFrame, settings: IntervalSettings
) -> Iterator[IntervalStats]:
    series = batch.by_host
    room = (batch.end - batch.start + guard_of(settings)) // _WEEK * _WEEK + _WEEK
    rows = table.filter(pl.col("host") == "").to_dicts()
    for row, (_, low, high) in zip(rows, batch.pieces(), strict=True):
        host = series.host[low:high]
        hosts = np.zeros(len(host), np.int64)
        np.cumsum(host[1:] != host[:-1], out=hosts[1:])
        period = period_of(series.time[low:high] + hosts * room, hosts, settings)
        yield IntervalStats(
            template=row["template"],
            count=row["count"],
            first=row["first"] / 1000,
            last=row["last"] / 1000,
            mean=row["mean"],
            median=row["median"],
            deviation=row["deviation"],
            period=period,
        )


def _bursts(batch: Batch, settings: IntervalSettings) -> Iterator[Burst]:
    series = batch.by_time
    for template, low, high in batch.pieces():
        times, counts = series.time[low:high], series.count[low:high]
        for first, last, lines, usual, factor in bursts_of(
            times, counts, batch.start, batch.end, settings
        ):
            hosts, many = np.unique(series.host[low + first : low + last + 1], return_counts=True)
            top = hosts[np.argsort(-many, kind="stable")[: settings.burst_hosts]]
            yield Burst(
                template=template,
                start=float(times[first]) / 1000,
                end=float(times[last]) / 1000,
                lines=lines,
                usual=round(usual, 3),
                factor=round(factor, 2),
                hosts=tuple(batch.hosts[one] for one in top),
                hosts_total=len(hosts),
            )


# Intervals over time


def tracks(
    times: pl.LazyFrame, templates: Collection[int], *, columns: int = 320, rows: int = 90
) -> tuple[Track, ...]:
    """Return the intervals of some templates over time, thinned to a grid for drawing.

    The grid has `columns` of time and `rows` of the interval's logarithm; each cell with intervals
    becomes one point. Sorted by template id.
    """
    if not templates:
        return ()

    def drawn(batch: Batch) -> list[Track]:
        return [
            _track(template, batch.by_time.time[low:high], columns, rows)
            for template, low, high in batch.pieces()
        ]

    wanted = times.filter(pl.col("template").is_in(list(templates)))
    return tuple(one for part in _worked(wanted, IntervalSettings(), drawn) for one in part)


def _track(template: int, times: Ints, columns: int, rows: int) -> Track:
    if len(times) < 2:
        return Track(template=template, points=(), intervals=0)
    gaps = np.maximum(np.diff(times), 1)  # lines of one moment: drawn as 1 ms apart
    later = times[1:]
    span = max(1, int(times[-1] - times[0]))
    column = (later - times[0]) * (columns - 1) // span
    height = np.log(gaps.astype(np.float64))
    low, high = float(height.min()), float(height.max())
    row = np.floor((height - low) / max(high - low, 1e-9) * (rows - 1)).astype(np.int64)
    _, first, many = np.unique(column * rows + row, return_index=True, return_counts=True)
    order = np.argsort(first)
    points = tuple(
        (float(later[index]) / 1000, float(gaps[index]) / 1000, int(count))
        for index, count in zip(first[order], many[order], strict=True)
    )
    return Track(template=template, points=points, intervals=len(gaps))
