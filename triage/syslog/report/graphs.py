"""Causal graphs for readers: around a template or of a window, as DOT and as JSON.

Rules
- A view is small enough to be read: what is left out is counted.
- Deterministic: nodes and edges come in one order, whatever the order of the graphs.
- Names from logs are escaped: control characters become visible, then DOT's own quotes.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from triage.syslog.tables import Edge, EdgeKind, Group, Node, WindowGraph, id_text
from triage.views.words import escaped, shortened

NODES = 28
"""Nodes that a reader can follow."""

Pair = tuple[Node, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewEdge:
    """An edge of one or more windows."""

    a: Node
    b: Node
    """a <= b."""
    windows: int
    """In which it appears."""
    forward: int = 0
    """Windows in which a comes before b for sure."""
    backward: int = 0
    """Windows in which b comes before a for sure."""
    synchronous: int = 0
    """Windows in which both had the same series."""
    strength: float = 0.0
    """The largest of the windows."""

    @property
    def kind(self) -> EdgeKind:
        """Return what most windows say."""
        if self.synchronous * 2 > self.windows:
            return EdgeKind.SYNCHRONOUS
        if max(self.forward, self.backward) * 2 > self.windows:
            return EdgeKind.DIRECTED
        return EdgeKind.CAUSAL

    @property
    def ends(self) -> Pair:
        """Return its nodes; the earlier first where the kind is DIRECTED."""
        turned = self.kind is EdgeKind.DIRECTED and self.backward > self.forward
        return (self.b, self.a) if turned else (self.a, self.b)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphView:
    """A graph to be read."""

    edges: tuple[ViewEdge, ...]
    """Sorted."""
    windows: int
    """That it was taken from."""
    centre: tuple[int, ...] = ()
    """Group ids that it is drawn around."""
    left_out: int = 0
    """Nodes that are not in it."""
    edges_left_out: int = 0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Return all nodes, sorted."""
        return tuple(sorted({node for edge in self.edges for node in (edge.a, edge.b)}))


def union(graphs: Iterable[Iterable[Edge]]) -> tuple[ViewEdge, ...]:
    """Return each pair of nodes once, with the number of windows that join them."""
    windows: Counter[Pair] = Counter()
    forward: Counter[Pair] = Counter()
    backward: Counter[Pair] = Counter()
    synchronous: Counter[Pair] = Counter()
    strength: dict[Pair, float] = {}
    for edges in graphs:
        for pair, edge in {edge.pair: edge for edge in edges}.items():
            windows[pair] += 1
            strength[pair] = max(edge.strength, strength.get(pair, 0.0))
            if edge.kind is EdgeKind.SYNCHRONOUS:
                synchronous[pair] += 1
            elif edge.kind is EdgeKind.DIRECTED:
                (forward if edge.a == pair[0] else backward)[pair] += 1
    return tuple(
        ViewEdge(
            a=pair[0],
            b=pair[1],
            windows=windows[pair],
            forward=forward[pair],
            backward=backward[pair],
            synchronous=synchronous[pair],
            strength=strength[pair],
        )
        for pair in sorted(windows)
    )


def group_ids(wanted: int, groups: Sequence[Group]) -> tuple[int, ...]:
    """Return the ids of the groups that a template or group id means; none: empty."""
    return tuple(one.id for one in groups if one.id == wanted or wanted in one.templates)


def graph_around(
    graphs: Sequence[WindowGraph],
    centre: Collection[int],
    *,
    hops: int = 1,
    host: str = "",
    nodes: int = NODES,
) -> GraphView:
    """Return the union over all windows of what is at most `hops` edges away from some groups.

    `centre` are group ids (`group_ids` finds those of a template); `host` restricts the centre to
    one host. Nearer nodes come first, then those whose edges appear in more windows, until there
    are `nodes` of them.
    """
    edges = union(graph.edges for graph in graphs)
    neighbours: dict[Node, list[ViewEdge]] = {}
    for edge in edges:
        neighbours.setdefault(edge.a, []).append(edge)
        neighbours.setdefault(edge.b, []).append(edge)
    reached = {
        node: 0
        for node in sorted(neighbours)
        if node.group in centre and (not host or node.host == host)
    }
    border = list(reached)
    for distance in range(1, hops + 1):
        found = {
            other for node in border for edge in neighbours[node] for other in (edge.a, edge.b)
        }
        border = sorted(found - reached.keys())
        reached.update(dict.fromkeys(border, distance))
    seen = Counter[Node]()
    for node in reached:
        seen[node] = max(edge.windows for edge in neighbours[node])
    kept = sorted(reached, key=lambda node: (reached[node], -seen[node], node))[:nodes]
    inside = [edge for edge in edges if edge.a in reached and edge.b in reached]
    view = _restricted(inside, set(kept), windows=len(graphs))
    return replace(view, centre=tuple(sorted(centre)), left_out=len(reached) - len(kept))


def graph_of(edges: Sequence[Edge], *, nodes: int = NODES, total: int = 0) -> GraphView:
    """Return the graph of one window, of its first edges: as many as `nodes` nodes hold.

    `edges` come with the most telling first; `total` is how many there are when not all are given.
    """
    kept: set[Node] = set()
    for edge in edges:
        ends = {edge.a, edge.b}
        if len(kept | ends) <= nodes:
            kept |= ends
    every = {node for edge in edges for node in (edge.a, edge.b)}
    view = _restricted(union([edges]), kept, windows=1)
    more = max(0, total - len({edge.pair for edge in edges}))
    return replace(view, left_out=len(every) - len(kept), edges_left_out=view.edges_left_out + more)


def _restricted(edges: Sequence[ViewEdge], kept: set[Node], *, windows: int) -> GraphView:
    inside = tuple(edge for edge in edges if edge.a in kept and edge.b in kept)
    return GraphView(edges=inside, windows=windows, edges_left_out=len(edges) - len(inside))


def labels_of(groups: Sequence[Group]) -> Mapping[int, str]:
    """Return the label of each group id."""
    return {one.id: one.label for one in groups}


# DOT and JSON


def dot(view: GraphView, labels: Mapping[int, str]) -> str:
    """Return a graph in Graphviz' language: edges without a sure direction have no arrow."""
    number = {node: f"n{index}" for index, node in enumerate(view.nodes, 1)}
    lines = [
        "digraph syslog {",
        '  graph [overlap=false, splines=true, fontname="sans-serif"];',
        '  node [shape=box, style=rounded, fontname="sans-serif", fontsize=10];',
        '  edge [fontname="sans-serif", fontsize=9];',
    ]
    for node, name in number.items():
        label = shortened(labels.get(node.group, id_text(node.group)), 80)
        bold = ", penwidth=2" if node.group in view.centre else ""
        lines.append(
            f"  {name} [label={_quoted(node.host, label)}, "
            f"tooltip={_quoted(id_text(node.group))}{bold}];"
        )
    for edge in view.edges:
        first, second = edge.ends
        style = _DOT_STYLES[edge.kind]
        seen = f', label="{edge.windows}"' if view.windows > 1 else ""
        lines.append(f"  {number[first]} -> {number[second]} [{style}{seen}];")
    if view.left_out or view.edges_left_out:
        lines.append(f"  // {left_out_text(view)}")
    return "\n".join([*lines, "}", ""])


_DOT_STYLES: Mapping[EdgeKind, str] = {
    EdgeKind.CAUSAL: "dir=none",
    EdgeKind.DIRECTED: "dir=forward",
    EdgeKind.SYNCHRONOUS: "dir=none, style=dashed",
}


def _quoted(*lines: str) -> str:
    """Return lines as one DOT string: nothing in them is DOT's."""
    texts = (escaped(one).replace("\\", "\\\\").replace('"', '\\"') for one in lines)
    return '"' + "\\n".join(texts) + '"'


def left_out_text(view: GraphView) -> str:
    """Return "12 nodes and 40 edges are left out"; empty: nothing is."""
    parts = [
        f"{many} {name}{'s' if many > 1 else ''}"
        for many, name in ((view.left_out, "node"), (view.edges_left_out, "edge"))
        if many
    ]
    if not parts:
        return ""
    many = view.left_out + view.edges_left_out
    return f"{' and '.join(parts)} {'is' if many == 1 else 'are'} left out"


def graph_data(view: GraphView, labels: Mapping[int, str]) -> dict[str, Any]:
    """Return a graph as plain data for JSON.

    {"windows", "centre": [group], "nodes": [{"id", "host", "group", "label"}],
    "edges": [{"a", "b", "kind", "windows", "strength"}], "left_out": {"nodes", "edges"}}; group
    ids are 12 hex digits, a and b are nodes' ids, of "directed" edges the earlier is a.
    """
    number = {node: index for index, node in enumerate(view.nodes, 1)}
    return {
        "windows": view.windows,
        "centre": [id_text(one) for one in view.centre],
        "nodes": [
            {
                "id": index,
                "host": node.host,
                "group": id_text(node.group),
                "label": labels.get(node.group, ""),
            }
            for node, index in number.items()
        ],
        "edges": [
            {
                "a": number[edge.ends[0]],
                "b": number[edge.ends[1]],
                "kind": str(edge.kind),
                "windows": edge.windows,
                "strength": edge.strength,
            }
            for edge in view.edges
        ],
        "left_out": {"nodes": view.left_out, "edges": view.edges_left_out},
    }
