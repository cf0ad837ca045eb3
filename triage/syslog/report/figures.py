"""The report's nine kinds of figure, and one that shows all findings at a glance.

Rules
- Numbered as in chapter 3 of the report: 1 what was read, 2 mean, median and deviation of the
  intervals, 3 and 4 intervals over time, 5 a causal graph, 6 edges per day, 7 the CDF of days per
  edge, 8 and 9 rare edges per day and per two hours.
- A caption says how to read its figure; axes have titles with units; abnormal windows are marked.
- What has too many parts to be seen is thinned or summed up, and the caption says so.

Pure: data in, figures out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from triage.syslog.intervals import Burst, IntervalStats, Track
from triage.syslog.report.graphs import (
    GraphView,
    graph_around,
    graph_of,
    group_ids,
    labels_of,
    left_out_text,
)
from triage.syslog.report.model import ReportData
from triage.syslog.report.network import draw_graph
from triage.syslog.report.svg import REST, SERIES, colour, drawing, inline, shown, to_png, to_svg
from triage.syslog.report.words import between, many, step, times
from triage.syslog.tables import (
    Finding,
    FindingKind,
    Template,
    WindowScore,
    id_text,
)
from triage.views.words import date_time, shortened, span

WIDTH = 11.0
"""Inches; 792 units of SVG."""

AREAS = 20
"""Rows of the overview at most."""

Values = NDArray[np.floating[Any]]

KIND_WORDS: Mapping[FindingKind, str] = {
    FindingKind.OUTAGE: "outages",
    FindingKind.NEW_EDGES: "new edges",
    FindingKind.RARE_TEMPLATE: "rare templates",
    FindingKind.BURST: "bursts",
    FindingKind.SILENCE: "silences",
    FindingKind.RESTART: "restarts",
    FindingKind.CHANGE: "changes",
    FindingKind.SCAN: "scans",
}
"""In the order of the page: what to look at first."""

KIND_STYLES: Mapping[FindingKind, tuple[str, str]] = {
    FindingKind.OUTAGE: ("bad", "s"),
    FindingKind.NEW_EDGES: ("s2", "D"),
    FindingKind.RARE_TEMPLATE: ("s4", "*"),
    FindingKind.BURST: ("s5", "^"),
    FindingKind.SILENCE: ("ink", "v"),
    FindingKind.RESTART: ("s3", "o"),
    FindingKind.CHANGE: ("s1", "P"),
    FindingKind.SCAN: ("s6", "X"),
}
"""Colour and marker: either tells the kind by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A figure, ready to be written."""

    name: str
    """"figure-5-graph": of files, and of ids in the page."""
    number: int
    """Of the report; 0: the overview."""
    title: str
    caption: str
    """How to read it."""
    figure: Figure
    rows: tuple[tuple[str, ...], ...] = ()
    """What the figure's numbers mean, first the heads; empty: nothing to explain."""

    def svg(self) -> bytes:
        """Return an SVG file."""
        return to_svg(self.figure, self.name)

    def png(self) -> bytes:
        """Return a PNG file."""
        return to_png(self.figure)

    def inline(self) -> str:
        """Return an element of the page."""
        return inline(self.figure, self.name, self.title)


def figures(data: ReportData) -> tuple[Drawn, ...]:
    """Return all figures that the data has something for, the overview first."""
    with drawing():
        made = [make(data) for make in _MAKERS]
    return tuple(one for one in made if one is not None)


# Axes


def _canvas(height: float, left: float = 0.075) -> tuple[Figure, Axes]:
    """Return axes with room for a legend; the same time is at the same place in every figure."""
    figure = Figure(figsize=(WIDTH, height))
    below, above = 0.55 / height, 1 - 0.3 / height
    return figure, figure.add_axes((left, below, 0.815 - left, above - below))


def _times(times: Sequence[float] | Values) -> NDArray[np.datetime64]:
    return (np.asarray(times, np.float64) * 1000).astype(np.int64).astype("datetime64[ms]")


def _time_axis(axes: Axes, start: float, end: float) -> None:
    room = max(60.0, (end - start) * 0.01)
    low, high = _times([start - room, end + room])
    axes.set_xlim(low, high)
    locator = AutoDateLocator(minticks=4, maxticks=11)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
    axes.set_xlabel("time (UTC)")


_SPANS = (
    *((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (60, "1 min")),
    *((600, "10 min"), (3600, "1 h"), (6 * 3600, "6 h"), (86400, "1 d"), (7 * 86400, "1 week")),
    *((30 * 86400, "30 d"), (365 * 86400, "1 year")),
)


def _span_axis(axes: Axes, which: str, values: Values) -> None:
    """Make an axis logarithmic, with times that people use as its ticks."""
    low, high = float(values.min()) / 2, float(values.max()) * 2
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    axis = axes.xaxis if which == "x" else axes.yaxis
    names = {float(size): name for size, name in _SPANS}
    inside = [size for size in names if low <= size <= high]
    while len(inside) > 9:
        inside = inside[::2]
    axis.set_major_locator(FixedLocator(inside))
    axis.set_major_formatter(FuncFormatter(lambda value, _: names.get(value, span(value))))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _count_axis(axes: Axes, title: str) -> None:
    axes.set_ylabel(title)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_count(value)))


def _short_count(value: float) -> str:
    for size, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size * 10 or (abs(value) >= size and size > 1e3):
            return f"{value / size:.4g}{name}"
    return f"{value:.6g}"


def _legend(axes: Axes, **options: object) -> None:
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.005, 1.02),
        borderaxespad=0,
        handlelength=1.2,
        **options,
    )


def _palette(data: ReportData) -> dict[str, str]:
    """Return the role of each area: the same in all figures.

    Areas with a colour of their own are those with abnormal windows, then those with most rare
    edges; without any windows, those with most lines.
    """
    weight: Counter[str] = Counter({one.area: 0 for one in data.volume.areas})
    for window in (*data.detection.daily, *data.detection.short):
        weight[window.area] += window.rare + 1_000_000 * window.abnormal
    if not any(weight.values()):
        weight.update({one.area: sum(one.lines) for one in data.volume.areas})
    order = sorted(weight, key=lambda name: (-weight[name], name))
    own = order if len(order) <= len(SERIES) else order[: len(SERIES) - 1]
    return {name: SERIES[place] for place, name in enumerate(sorted(own))}


def _layers(data: ReportData, counts: Mapping[str, Values]) -> list[tuple[str, str, Values]]:
    """Return (name, role, counts) of the layers: areas with a colour, then the others as one."""
    palette = _palette(data)
    layers = [(name, palette[name], counts[name]) for name in sorted(counts) if name in palette]
    rest = [name for name in sorted(counts) if name not in palette]
    if rest:
        total: Values = np.sum([counts[name] for name in rest], axis=0)
        layers.append((many(len(rest), "other"), REST, total))
    return layers


# The overview


def _overview(data: ReportData) -> Drawn | None:
    findings = data.detection.findings
    if not findings:
        return None
    counts = Counter(one.area for one in findings)
    outages = Counter(one.area for one in findings if one.kind is FindingKind.OUTAGE)
    areas = sorted(counts, key=lambda one: (-outages[one], -counts[one], one))
    site_of = {host: site.name for site in data.sites for host in site.hosts}
    # A site, and below it its hosts: what they share stands together.
    kept = sorted(areas[:AREAS], key=lambda one: (site_of.get(one, one), one in site_of, one))
    figure, axes = _canvas(1.1 + 0.27 * len(kept), left=0.2)
    row = {area: place for place, area in enumerate(reversed(kept))}
    for kind in reversed(list(KIND_WORDS)):
        some = [one for one in findings if one.kind is kind and one.area in row]
        if some:
            _finding_marks(axes, some, row, kind)
    axes.set_ylim(-0.6, len(kept) - 0.4)
    axes.set_yticks(range(len(kept)))
    axes.set_yticklabels([shown(shortened(one, 34)) for one in reversed(kept)])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", visible=False)
    _time_axis(axes, data.start, data.end)
    handles, labels = axes.get_legend_handles_labels()
    _legend(axes, handles=handles[::-1], labels=labels[::-1])
    left = len(areas) - len(kept)
    more = f" {left} areas with fewer findings are not drawn." if left else ""
    return Drawn(
        name="overview",
        number=0,
        title="All findings at a glance",
        caption="Each mark is a finding, each row a site or, below it, one of its hosts."
        " Outages are red squares as long as they lasted; look at those first, then at what stands"
        f" in the same column.{more}",
        figure=figure,
    )


def _finding_marks(
    axes: Axes, some: Sequence[Finding], row: Mapping[str, int], kind: FindingKind
) -> None:
    role, marker = KIND_STYLES[kind]
    rows = [row[one.area] for one in some]
    starts, ends = _times([one.start for one in some]), _times([one.end for one in some])
    axes.hlines(rows, starts, ends, color=colour(role), linewidth=5, alpha=0.45)
    middle = _times([(one.start + one.end) / 2 for one in some])
    size = 62 if kind is FindingKind.OUTAGE else 30
    axes.scatter(
        middle,
        rows,
        s=size,
        marker=marker,
        color=colour(role),
        linewidths=0,
        label=KIND_WORDS[kind],
        zorder=4 if kind is FindingKind.OUTAGE else 3,
    )


# 1: what was read


def _volume(data: ReportData) -> Drawn | None:
    volume = data.volume
    totals = {one.area: float(sum(one.lines)) for one in volume.areas}
    if not any(totals.values()):
        return None
    bins = len(volume.areas[0].lines)
    layers = _layers(data, {one.area: np.array(one.lines, np.float64) for one in volume.areas})
    figure, axes = _canvas(3.0)
    edges = _times(volume.start + volume.step * np.arange(bins + 1))
    _stacked(axes, edges, layers)
    _count_axis(axes, f"lines per {step(volume.step)}")
    _time_axis(axes, data.start, data.end)
    if len(layers) > 1:
        _legend(axes)
    return Drawn(
        name="figure-1-volume",
        number=1,
        title="What was read: lines over time, per site",
        caption="Layers are stacked: the upper edge is the whole fleet. Steps down are hosts that"
        " fell silent or logs that are missing; peaks are bursts or a reboot's messages.",
        figure=figure,
    )


def _stacked(
    axes: Axes, edges: NDArray[np.datetime64], layers: Sequence[tuple[str, str, Values]]
) -> None:
    """Draw counts between edges as layers of steps."""
    below = np.zeros(len(edges) - 1)
    for name, role, counts in layers:
        axes.stairs(
            below + counts,
            edges,
            baseline=below,
            fill=True,
            color=colour(role),
            label=shown(shortened(name, 30)),
            linewidth=0,
        )
        below = below + counts
    axes.set_ylim(0, max(1.0, float(below.max()) * 1.15))


# 2: the intervals' mean, median and deviation


def _scatter(data: ReportData) -> Drawn | None:
    stats = [one for one in data.intervals if one.count > 2 and one.mean]
    if not stats:
        return None
    bursty = {one.template for one in data.bursts}
    figure = Figure(figsize=(WIDTH, 4.7))  # places are given: layout engines remember and drift
    left = figure.add_axes((0.075, 0.12, 0.4, 0.85))
    right = figure.add_axes((0.58, 0.12, 0.4, 0.85))
    for axes, title, pick in (
        (left, "median", lambda one: one.median),
        (right, "standard deviation", lambda one: one.deviation),
    ):
        _compared(axes, stats, bursty, title, pick)
    left.legend(loc="upper left", handletextpad=0.2)
    return Drawn(
        name="figure-2-intervals",
        number=2,
        title="Time between a template's lines: mean, median and standard deviation",
        caption=f"A point is one of {len(stats)} templates, all hosts together. Left: a mean far"
        " right of the dashed line (above the median) says that lines come close together with"
        " long gaps between: bursts. Right: on the line the intervals are those of chance;"
        " below it they are regular, above it they are bursty.",
        figure=figure,
    )


def _compared(
    axes: Axes,
    stats: Sequence[IntervalStats],
    bursty: set[int],
    title: str,
    pick: Callable[[IntervalStats], float | None],
) -> None:
    least = 0.001
    groups: dict[str, list[tuple[float, float]]] = {}
    for one in stats:
        kind = "periodic" if one.period else "with bursts" if one.template in bursty else "other"
        point = (max(one.mean or least, least), max(pick(one) or least, least))
        groups.setdefault(kind, []).append(point)
    for kind, role, marker in (
        ("other", REST, "o"),
        ("with bursts", "s2", "^"),
        ("periodic", "s1", "s"),
    ):
        if kind in groups:
            across, up = zip(*sorted(groups[kind]), strict=True)
            axes.plot(
                across,
                up,
                marker,
                color=colour(role),
                markersize=4.2,
                alpha=0.75,
                markeredgewidth=0,
                label=f"{kind} ({len(across)})",
            )
    values = np.array([point for some in groups.values() for point in some])
    _span_axis(axes, "x", values[:, 0])
    _span_axis(axes, "y", values[:, 1])
    ends = [float(values.min()), float(values.max())]
    axes.plot(ends, ends, "--", color=colour("soft"), linewidth=1)
    axes.set_xlabel("mean interval")
    axes.set_ylabel(f"{title} of the intervals")


# 3 and 4: intervals over time


def _track(data: ReportData, place: int) -> Drawn | None:
    if place >= len(data.tracks) or not data.tracks[place].points:
        return None
    track = data.tracks[place]
    stats = {one.template: one for one in data.intervals}.get(track.template)
    text = _text_of(data, track.template)
    period = stats.period if stats else None
    bursts = [one for one in data.bursts if one.template == track.template]
    figure, axes = _canvas(3.1)
    _track_points(axes, track, bursts, period.seconds if period else None)
    _time_axis(axes, data.start, data.end)
    axes.set_ylabel("since the line before")
    axes.set_title(shown(shortened(text, 110)), loc="left", fontsize=9.5)
    if bursts or period:
        _legend(axes)
    says = [
        f"It comes {period.text} (strength {period.strength:.2f})."
        if period
        else "It has no period."
    ]
    if bursts:
        strongest = max(bursts, key=lambda one: one.factor)
        says.append(
            f"{many(len(bursts), 'burst')}; the strongest"
            f" {between(strongest.start, strongest.end)}: {many(strongest.lines, 'line')},"
            f" {times(strongest.factor)} times the usual."
        )
    return Drawn(
        name=f"figure-{3 + place}-interval",
        number=3 + place,
        title=f"Interval against time: template {id_text(track.template)}",
        caption="A point is the time since the line before, on any host; darker is more of them"
        f" ({track.intervals} intervals in {len(track.points)} points). Level bands are regular"
        " lines; where the points fall down, lines came in a burst. " + " ".join(says),
        figure=figure,
    )


def _track_points(axes: Axes, track: Track, bursts: Sequence[Burst], period: float | None) -> None:
    points = np.array(track.points)
    many = points[:, 2]
    cuts = [0, 1, 10, 100, math.inf]
    for (low, high), alpha in zip(pairwise(cuts), (0.35, 0.5, 0.7, 0.9), strict=True):
        some = (many > low) & (many <= high)
        if some.any():
            axes.plot(
                _times(points[some, 0]),
                points[some, 1],
                "o",
                color=colour("s1"),
                markersize=2.6,
                markeredgewidth=0,
                alpha=alpha,
            )
    for place, one in enumerate(bursts):
        first, last = _times([one.start, max(one.end, one.start + 60)])
        axes.axvspan(
            first,
            last,
            color=colour("s2"),
            alpha=0.22,
            linewidth=1.2,
            label="burst" if place == 0 else None,
        )
    values = points[:, 1]
    if period is not None:
        values = np.append(values, period)
        axes.axhline(
            period,
            color=colour("s3"),
            linestyle="--",
            linewidth=1.2,
            label=f"period {span(period)}",
        )
    _span_axis(axes, "y", values)


def _text_of(data: ReportData, template: int) -> str:
    found = next((one.template for one in data.templates if one.template.id == template), None)
    return label_of(found) if found else id_text(template)


def label_of(template: Template) -> str:
    """Return what a template is called: an operator's name for it, else its text."""
    return template.name or template.text


# 5: a causal graph


def graph_view(data: ReportData) -> tuple[GraphView, str] | None:
    """Return the graph of figure 5 and what it is the graph of."""
    if data.around:
        centre = group_ids(data.around, data.groups)
        view = graph_around(data.detection.graphs, centre)
        if view.edges:
            return view, f"around {id_text(data.around)}, all {view.windows} windows"
    outages = [
        one for one in data.detection.findings if one.kind is FindingKind.OUTAGE and one.edges
    ]
    finding = next(
        (one for one in (*outages, *data.detection.findings) if one.edges),
        None,
    )
    if finding is not None:
        view = graph_of(finding.edges, total=finding.edges_total)
        return view, f"of {finding.area}, {between(finding.start, finding.end)}"
    graph = max(data.detection.graphs, key=lambda one: (len(one.edges), -one.start), default=None)
    if graph is None or not graph.edges:
        return None
    strongest = sorted(graph.edges, key=lambda edge: (-edge.strength, edge.pair))
    return graph_of(
        strongest
    ), f"of {graph.area}, {between(graph.start, graph.end)}: the strongest edges"


def _graph(data: ReportData) -> Drawn | None:
    chosen = graph_view(data)
    if chosen is None:
        return None
    view, what = chosen
    labels = labels_of(data.groups)
    left = left_out_text(view)
    count = " The number at an edge: in how many windows it appears." if view.windows > 1 else ""
    rows = [("", "host", "group", "template")]
    rows += [
        (str(number), node.host, id_text(node.group), labels.get(node.group, ""))
        for number, node in enumerate(view.nodes, 1)
    ]
    return Drawn(
        name="figure-5-graph",
        number=5,
        title=f"Causal graph {what}",
        caption="A node is a group of templates on a host; nodes of one colour are one host's. An"
        " arrow: the one comes before the other; a plain line: related, the direction is not sure;"
        f" a dashed one: both at the same moments.{count} Edges say what appears together beyond"
        f" chance, and not what is at fault.{f' To stay readable, {left}.' if left else ''}",
        figure=draw_graph(view, labels, WIDTH),
        rows=tuple(rows),
    )


# 6, 8 and 9: edges per window


def _edges_per_day(data: ReportData) -> Drawn | None:
    return _windows(
        data,
        data.detection.daily,
        number=6,
        name="figure-6-edges-per-day",
        title="Edges per day",
        axis="edges per day",
        pick=lambda one: one.edges,
        caption="All edges of the causal graphs, per area. Most are there every day; that is why"
        " figure 8 leaves those out.",
    )


def _rare_per_day(data: ReportData) -> Drawn | None:
    return _windows(
        data,
        data.detection.daily,
        number=8,
        name="figure-8-rare-per-day",
        title="Rare edges per day",
        axis="rare edges per day",
        pick=lambda one: one.rare,
        caption=f"Edges that appear on {many(data.detection.rarity.threshold, 'day')} or fewer."
        " Peaks are days on which things appeared together that hardly ever do.",
    )


def _rare_short(data: ReportData) -> Drawn | None:
    short = data.detection.short
    length = span(short[0].end - short[0].start) if short else "2 h"
    return _windows(
        data,
        short,
        number=9,
        name="figure-9-rare-short",
        title=f"Rare edges per {length}",
        axis=f"rare edges per {length}",
        pick=lambda one: one.rare,
        caption="As figure 8, in short windows: what lasts an hour, and drowns in its day, stands"
        " out here.",
    )


def _windows(
    data: ReportData,
    windows: Sequence[WindowScore],
    *,
    number: int,
    name: str,
    title: str,
    axis: str,
    caption: str,
    pick: Callable[[WindowScore], int],
) -> Drawn | None:
    if not windows:
        return None
    starts = sorted({one.start for one in windows})
    length = float(np.median([one.end - one.start for one in windows]))
    edges = _times([*starts, starts[-1] + length])
    place = {start: index for index, start in enumerate(starts)}
    counts: dict[str, Values] = {}
    for one in windows:
        counts.setdefault(one.area, np.zeros(len(starts)))[place[one.start]] += pick(one)
    layers = _layers(data, counts)
    figure, axes = _canvas(3.1)
    _stacked(axes, edges, layers)
    total: Values = np.sum(list(counts.values()), axis=0)
    _abnormal(axes, windows, place, total, length)
    _count_axis(axes, axis)
    _time_axis(axes, data.start, data.end)
    _legend(axes)
    return Drawn(
        name=name,
        number=number,
        title=title,
        caption=caption + " A red triangle marks a window that is abnormal in at least one area;"
        " the strongest have their date.",
        figure=figure,
    )


def _abnormal(
    axes: Axes,
    windows: Sequence[WindowScore],
    place: Mapping[float, int],
    total: Values,
    length: float,
) -> None:
    """Mark abnormal windows above their bars, and name the strongest."""
    scores: dict[float, float] = {}
    for one in windows:
        if one.abnormal:
            scores[one.start] = max(one.score, scores.get(one.start, 0.0))
    if not scores:
        return
    at = sorted(scores)
    room = float(axes.get_ylim()[1])
    heights = np.array([total[place[one]] for one in at]) + room * 0.035
    middle = [one + length / 2 for one in at]
    axes.plot(
        _times(middle),
        heights,
        "v",
        color=colour("bad"),
        markersize=6,
        markeredgewidth=0,
        label="abnormal",
        zorder=5,
    )
    words = 10 if length >= 86400 else 16
    width = (max(place) - min(place)) * (0.08 if words == 10 else 0.12)
    taken: list[float] = []
    for start in sorted(scores, key=lambda one: (-scores[one], one)):
        if len(taken) == 8 or any(abs(start - other) < width for other in taken):
            continue
        taken.append(start)
        axes.annotate(
            date_time(start)[5:words],
            (_times([start + length / 2])[0], heights[at.index(start)]),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=colour("bad"),
        )


# 7: in how many days edges appear


def _cdf(data: ReportData) -> Drawn | None:
    rarity = data.detection.rarity
    if not rarity.days_of:
        return None
    days = np.array(sorted(rarity.days_of))
    edges = np.array([rarity.days_of[int(one)] for one in days], np.float64)
    share = np.cumsum(edges) / edges.sum()
    figure, axes = _canvas(3.6)
    axes.step(
        np.concatenate(([0], days, [days[-1] + 1])),
        np.concatenate(([0], share, [1.0])),
        where="post",
        color=colour("s1"),
        linewidth=2,
    )
    axes.axhline(
        rarity.quantile,
        color=colour("soft"),
        linestyle=":",
        linewidth=1.4,
        label=f"quantile {rarity.quantile:g}",
    )
    axes.axvline(
        rarity.threshold,
        color=colour("bad"),
        linestyle="--",
        linewidth=1.4,
        label=f"rare: {many(rarity.threshold, 'day')} or fewer",
    )
    axes.set_ylim(0, 1.03)
    axes.set_xlim(0, days[-1] + 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.set_xlabel("number of days on which an edge appears (days)")
    axes.set_ylabel("share of the edges (%)")
    _legend(axes)
    below = float(share[days <= rarity.threshold][-1]) if (days <= rarity.threshold).any() else 0.0
    return Drawn(
        name="figure-7-days-per-edge",
        number=7,
        title="On how many days each edge appears (CDF)",
        caption=f"{below:.0%} of {int(edges.sum())} edges appear on"
        f" {many(rarity.threshold, 'day')} or fewer: those are the rare ones that figures 8 and 9"
        " count. The dotted line is the quantile that was asked for.",
        figure=figure,
    )


_MAKERS: tuple[Callable[[ReportData], Drawn | None], ...] = (
    _overview,
    _volume,
    _scatter,
    lambda data: _track(data, 0),
    lambda data: _track(data, 1),
    _graph,
    _edges_per_day,
    _cdf,
    _rare_per_day,
    _rare_short,
)
