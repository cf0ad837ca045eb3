"""Counts of a corpus as arrays, cut into windows and areas.

Rules
- The corpus's table is sorted by minute: a window is a slice, found by bisection. It is divided by
  area once; a window's matrix is made where its graph is learnt, from the slice's few columns.
- Windows are aligned to days of `offset` seconds east of UTC; the first and the last may be partly
  without data.
- Nothing in here depends on the order of rows within a minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from triage.syslog.causality import GraphSettings, Period, find_periods, window_graph
from triage.syslog.tables import Corpus, Node, WindowGraph

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

EVERYWHERE = "all"
"""The area's name when the whole fleet is one."""
MINUTE = 60.0
Pair = tuple[Node, Node]


@dataclass(frozen=True, slots=True)
class Window:
    """A span of whole minutes since 1970: [start, end)."""

    start: int
    end: int

    @property
    def seconds(self) -> tuple[float, float]:
        """Start and end in seconds since 1970."""
        return self.start * MINUTE, self.end * MINUTE


@dataclass(frozen=True)
class Events:
    """The columns of `COUNTS` of one area, in order of minutes."""

    minute: Ints
    host: Ints
    template: Ints
    count: Ints

    def between(self, start: int, end: int) -> Events:
        """Return the events of the minutes [start, end): views, not copies."""
        low, high = np.searchsorted(self.minute, (start, end))
        cut = slice(int(low), int(high))
        return Events(self.minute[cut], self.host[cut], self.template[cut], self.count[cut])

    def where(self, keep: Flags) -> Events:
        """Return the events that a mask selects."""
        return Events(self.minute[keep], self.host[keep], self.template[keep], self.count[keep])


def heard(corpus: Corpus, least: int) -> Corpus:
    """Return a corpus without the hosts that have fewer lines than that.

    Garbled headers make such hosts ("hv1.kom"), each with a site of its own and a silence that
    lasts for weeks. When every host has so few lines, all stay.
    """
    lines = np.bincount(
        corpus.counts["host"].to_numpy(),
        weights=corpus.counts["count"].to_numpy(),
        minlength=len(corpus.hosts),
    )
    kept = np.flatnonzero(lines >= least)
    if len(kept) in {0, len(corpus.hosts)}:
        return corpus
    place = np.full(len(corpus.hosts), -1, np.int64)
    place[kept] = np.arange(len(kept))
    host = pl.Series("host", place[corpus.counts["host"].to_numpy()])
    counts = corpus.counts.with_columns(host).filter(pl.col("host") >= 0)
    return replace(
        corpus,
        counts=counts.with_columns(pl.col("host").cast(pl.UInt32)),
        hosts=tuple(corpus.hosts[one] for one in kept),
        site_of=tuple(corpus.site_of[one] for one in kept),
    )


@dataclass(frozen=True)
class Fleet:
    """A corpus as arrays."""

    corpus: Corpus
    area_setting: str

    @cached_property
    def events(self) -> Events:
        """All events."""
        counts = self.corpus.counts
        columns = (counts[name].to_numpy() for name in ("minute", "host", "template", "count"))
        minute, host, template, count = (column.astype(np.int64) for column in columns)
        if minute.size and bool(np.any(np.diff(minute) < 0)):
            order = np.argsort(minute, kind="stable")
            return Events(minute[order], host[order], template[order], count[order])
        return Events(minute, host, template, count)

    @cached_property
    def group_of(self) -> Ints:
        """Index of a template's group, by the template's index."""
        return np.asarray(self.corpus.group_of, dtype=np.int64)

    @cached_property
    def areas(self) -> tuple[str, ...]:
        """Names of the areas, sorted."""
        return tuple(sorted(set(self.area_names)))

    @cached_property
    def area_names(self) -> tuple[str, ...]:
        """The area of each host."""
        if self.area_setting == "host":
            return self.corpus.hosts
        if self.area_setting == "site":
            return self.corpus.site_of
        return (EVERYWHERE,) * len(self.corpus.hosts)

    @cached_property
    def area_of(self) -> Ints:
        """Index into `areas` for each host."""
        index = {name: number for number, name in enumerate(self.areas)}
        return np.asarray([index[name] for name in self.area_names], dtype=np.int64)

    def hosts_of(self, area: int) -> Ints:
        """Indexes of an area's hosts."""
        return np.flatnonzero(self.area_of == area)

    @cached_property
    def by_area(self) -> tuple[Events, ...]:
        """The events of each of `areas`."""
        if len(self.areas) == 1:
            return (self.events,)
        of_event = self.area_of[self.events.host]
        return tuple(self.events.where(of_event == area) for area in range(len(self.areas)))

    def windows(self, length: float, offset: float) -> tuple[Window, ...]:
        """Return the windows of `length` seconds that hold the corpus."""
        events = self.events
        if not events.minute.size:
            return ()
        step, shift = max(1, round(length / MINUTE)), round(offset / MINUTE)
        first = int(events.minute[0])
        last = int(events.minute[-1])
        begin = math.floor((first + shift) / step) * step - shift
        return tuple(Window(at, at + step) for at in range(begin, last + 1, step))


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTask:
    """What one graph is learnt from: small, and picklable."""

    window: Window
    area: str
    nodes: tuple[Node, ...]
    row: npt.NDArray[np.int32]
    """Index into `nodes` of each event."""
    minute: npt.NDArray[np.int32]
    """Minutes since the window's start."""
    count: npt.NDArray[np.uint32]
    bin_minutes: int
    settings: GraphSettings
    periodic: Mapping[Node, Period] | None = None
    """What a longer window says of its clocks; None: the window itself is asked."""
    familiar: Mapping[Pair, int] | None = None
    """In how many longer windows each pair is joined."""


def run_task(task: GraphTask) -> tuple[WindowGraph, Mapping[Node, Period]]:
    """Learn the graph of one window and area; also return the periods of its series."""
    length = task.window.end - task.window.start
    bins = math.ceil(length / task.bin_minutes)
    flat = task.row.astype(np.int64) * bins + task.minute // task.bin_minutes
    sums = np.bincount(flat, weights=task.count, minlength=len(task.nodes) * bins)
    series = np.minimum(sums, np.iinfo(np.uint16).max).astype(np.uint16)
    series = series.reshape(len(task.nodes), bins)
    start, end = task.window.seconds
    periodic = task.periodic
    if periodic is None:
        periodic = _periods(task, series, start)
    graph = window_graph(
        task.nodes,
        series,
        start=start,
        end=end,
        area=task.area,
        settings=task.settings,
        periodic=periodic,
        familiar=task.familiar,
    )
    return graph, periodic


def _periods(
    task: GraphTask, series: npt.NDArray[np.uint16], start: float
) -> Mapping[Node, Period]:
    rules = task.settings.period
    if rules is None or not series.size:
        return {}
    rows, columns = np.nonzero(series)
    found = find_periods(
        rows,
        columns,
        series[rows, columns].astype(np.int64),
        n=len(series),
        length=series.shape[1],
        start=start,
        bin_seconds=task.bin_minutes * MINUTE,
        settings=rules,
    )
    return {task.nodes[row]: period for row, period in sorted(found.items())}


@dataclass(frozen=True, slots=True)
class Longer:
    """What longer windows say for the shorter ones in them."""

    windows: tuple[Window, ...]
    periodic: tuple[Mapping[Node, Period], ...]
    """Of each window and area: windows in order, within them areas."""
    familiar: tuple[Mapping[Pair, int], ...]
    """Of each area."""

    def at(self, window: Window) -> int:
        """Index of the window that the start of a shorter one lies in."""
        first = self.windows[0]
        place = (window.start - first.start) // (first.end - first.start)
        return min(max(place, 0), len(self.windows) - 1)


def graph_tasks(
    fleet: Fleet,
    windows: tuple[Window, ...],
    bin_minutes: int,
    settings: GraphSettings,
    longer: Longer | None = None,
) -> Iterator[GraphTask]:
    """Yield a task for each window and area, the windows in order, within them the areas."""
    areas = len(fleet.areas)
    for window in windows:
        for area in range(areas):
            task = graph_task(fleet, window, area, bin_minutes, settings)
            if longer is None:
                yield task
                continue
            known = longer.periodic[longer.at(window) * areas + area]
            yield replace(
                task,
                periodic={node: known[node] for node in task.nodes if node in known},
                familiar=longer.familiar[area],
            )


def graph_task(
    fleet: Fleet, window: Window, area: int, bin_minutes: int, settings: GraphSettings
) -> GraphTask:
    """Return the task of one window and area (its index)."""
    groups = len(fleet.corpus.groups)
    events = fleet.by_area[area].between(window.start, window.end)
    node = events.host * groups + fleet.group_of[events.template]
    names, row = np.unique(node, return_inverse=True)
    return GraphTask(
        window=window,
        area=fleet.areas[area],
        nodes=tuple(node_of(fleet.corpus, int(number)) for number in names),
        row=row.astype(np.int32),
        minute=(events.minute - window.start).astype(np.int32),
        count=events.count.astype(np.uint32),
        bin_minutes=bin_minutes,
        settings=settings,
    )


def node_of(corpus: Corpus, number: int) -> Node:
    """Return the node of host index * groups + group index."""
    host, group = divmod(number, len(corpus.groups))
    return Node(corpus.hosts[host], corpus.groups[group].id)
