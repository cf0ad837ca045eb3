"""Drawing a causal graph: numbered nodes on the left, what the numbers mean on the right.

Texts of log lines are too long to stand at nodes; a key keeps both readable.

Rules
- Connected parts are laid out by themselves (Kamada and Kawai, 1989), the largest first, and
  stand in rows beside each other.
- Deterministic: layouts start from a circle of the sorted nodes.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray

from triage.syslog.report.graphs import GraphView, ViewEdge
from triage.syslog.report.svg import REST, SERIES, colour, shown
from triage.syslog.tables import EdgeKind, Node, id_text
from triage.views.words import shortened

Places = dict[Node, NDArray[np.float64]]

_KEY_ROW = 0.205
"""Inches of a row of the key."""
_GRAPH_SHARE = 0.5
"""Of the width, for the graph."""


def draw_graph(view: GraphView, labels: Mapping[int, str], width: float) -> Figure:
    """Return the drawing of a graph, `width` inches wide."""
    nodes = view.nodes
    height = max(4.2, 0.5 + _KEY_ROW * len(nodes))
    figure = Figure(figsize=(width, height))
    graph_width = width * _GRAPH_SHARE
    axes = figure.add_axes((0.005, 0.01, _GRAPH_SHARE - 0.01, 0.98))
    places = place(view, graph_width / height)
    axes.set_xlim(0, graph_width)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    scaled = {node: np.array([x * graph_width, y * height]) for node, (x, y) in places.items()}
    roles = _roles(nodes)
    for edge in view.edges:
        _draw_edge(axes, edge, scaled, many=view.windows > 1)
    for number, node in enumerate(nodes, 1):
        _draw_node(axes, scaled[node], number, roles[node.host], heavy=node.group in view.centre)
    key = figure.add_axes((_GRAPH_SHARE, 0.0, 1 - _GRAPH_SHARE, 1.0))
    key.set_xlim(0, width * (1 - _GRAPH_SHARE))
    key.set_ylim(0, height)
    key.set_axis_off()
    _draw_key(key, nodes, roles, labels, height)
    return figure


def place(view: GraphView, aspect: float) -> Places:
    """Return where each node stands, x and y in [0, 1], on a plane of this width to height."""
    graph = nx.Graph()
    graph.add_nodes_from(view.nodes)
    graph.add_edges_from((edge.a, edge.b) for edge in view.edges)
    parts = sorted((sorted(one) for one in nx.connected_components(graph)), key=_largest_first)
    places: Places = {}
    for part, (left, bottom, wide, high) in zip(parts, _boxes(parts, aspect), strict=True):
        laid = _laid(graph.subgraph(part), part)
        spread = np.array([laid[node] for node in part])
        low, high_corner = spread.min(axis=0), spread.max(axis=0)
        size = np.where(high_corner - low > 1e-9, high_corner - low, 1.0)
        for node in part:
            inside = np.where(high_corner - low > 1e-9, (laid[node] - low) / size, 0.5)
            places[node] = np.array([left, bottom]) + (0.13 + 0.74 * inside) * [wide, high]
    return places


def _largest_first(part: Sequence[Node]) -> tuple[int, Node]:
    return -len(part), part[0]


def _laid(graph: nx.Graph, part: Sequence[Node]) -> Mapping[Node, NDArray[np.float64]]:
    """Return a connected part's layout."""
    if len(part) == 2:
        return {part[0]: np.array([0.0, 0.0]), part[1]: np.array([1.0, 0.35])}
    ordered = nx.Graph()
    ordered.add_nodes_from(part)
    ordered.add_edges_from(sorted(tuple(sorted(edge)) for edge in graph.edges))
    laid: Mapping[Node, NDArray[np.float64]] = nx.kamada_kawai_layout(ordered)  # type: ignore[no-untyped-call]
    return laid


def _boxes(
    parts: Sequence[Sequence[Node]], aspect: float
) -> list[tuple[float, float, float, float]]:
    """Return (left, bottom, width, height) for each part: rows that fill the plane.

    A part's area is as its number of nodes; rows are filled until they are full.
    """
    weights = [float(len(part)) + 1.0 for part in parts]
    total = sum(weights)
    rows: list[list[int]] = []
    wanted = total / max(1, round(math.sqrt(len(parts) / max(aspect, 0.1))))
    filled = math.inf
    for index, weight in enumerate(weights):
        if filled + weight > wanted * 1.2:
            rows.append([])
            filled = 0.0
        rows[-1].append(index)
        filled += weight
    boxes: dict[int, tuple[float, float, float, float]] = {}
    top = 1.0
    for row in rows:
        across = sum(weights[index] for index in row)
        high = across / total
        left = 0.0
        for index in row:
            wide = weights[index] / across
            boxes[index] = (left, top - high, wide, high)
            left += wide
        top -= high
    return [boxes[index] for index in range(len(parts))]


def _roles(nodes: Sequence[Node]) -> dict[str, str]:
    """Return a colour for each host: those with most nodes have their own."""
    count: dict[str, int] = {}
    for node in nodes:
        count[node.host] = count.get(node.host, 0) + 1
    order = sorted(count, key=lambda host: (-count[host], host))
    return {host: SERIES[at] if at < len(SERIES) else REST for at, host in enumerate(order)}


def _draw_edge(axes: Axes, edge: ViewEdge, places: Places, *, many: bool) -> None:
    first, second = edge.ends
    start, end = places[first], places[second]
    directed = edge.kind is EdgeKind.DIRECTED
    axes.add_patch(
        FancyArrowPatch(
            (float(start[0]), float(start[1])),
            (float(end[0]), float(end[1])),
            arrowstyle="-|>" if directed else "-",
            mutation_scale=11,
            shrinkA=9,
            shrinkB=9,
            linewidth=1.1 + min(1.6, math.log10(edge.windows) if many else 0.0),
            linestyle=(0, (4, 2)) if edge.kind is EdgeKind.SYNCHRONOUS else "-",
            color=colour("soft"),
            zorder=1,
        )
    )
    if many:
        middle = (start + end) / 2
        axes.text(
            float(middle[0]),
            float(middle[1]) + 0.05,
            str(edge.windows),
            fontsize=7.5,
            color=colour("soft"),
            ha="center",
            zorder=2,
        )


def _draw_node(axes: Axes, at: NDArray[np.float64], number: int, role: str, *, heavy: bool) -> None:
    axes.plot(
        [at[0]],
        [at[1]],
        "o",
        markersize=17,
        markerfacecolor=colour(role),
        markeredgecolor=colour("ink") if heavy else colour("paper"),
        markeredgewidth=2.2 if heavy else 1.2,
        zorder=3,
    )
    axes.text(
        float(at[0]),
        float(at[1]),
        str(number),
        ha="center",
        va="center_baseline",
        fontsize=8.5,
        fontweight="bold",
        color=colour("paper"),
        zorder=4,
    )


def _draw_key(
    axes: Axes,
    nodes: Sequence[Node],
    roles: Mapping[str, str],
    labels: Mapping[int, str],
    height: float,
) -> None:
    top = height - 0.25
    for number, node in enumerate(nodes, 1):
        y = top - (number - 1) * _KEY_ROW
        axes.text(
            0.24,
            y,
            str(number),
            fontsize=8,
            fontweight="bold",
            ha="right",
            va="center",
            color=colour(roles[node.host]),
        )
        label = labels.get(node.group, id_text(node.group))
        axes.text(
            0.32, y, shown(shortened(node.host, 22)), fontsize=8, va="center", color=colour("soft")
        )
        axes.text(1.95, y, shown(shortened(label, 54)), fontsize=8, va="center")
