"""Graphs for readers: unions, neighbourhoods, DOT, JSON and their drawing."""

from __future__ import annotations

import re

import pytest

from tests.syslog.report_sample import HOSTILE
from triage.syslog.report.graphs import (
    dot,
    graph_around,
    graph_data,
    graph_of,
    group_ids,
    left_out_text,
    union,
)
from triage.syslog.report.network import draw_graph, place
from triage.syslog.report.svg import drawing, to_svg
from triage.syslog.tables import Edge, EdgeKind, Group, Node, WindowGraph

A, B, C, D = (Node(f"hv{n}", n) for n in range(1, 5))
LABELS = {1: "sshd: <b>", 2: f'named "x\\y" {HOSTILE}', 3: "cron", 4: "kernel"}


def edge(a: Node, b: Node, kind: EdgeKind = EdgeKind.CAUSAL, strength: float = 1.0) -> Edge:
    return Edge(a=a, b=b, kind=kind, strength=strength)


def window(day: int, *edges: Edge) -> WindowGraph:
    return WindowGraph(start=day * 86400.0, end=(day + 1) * 86400.0, area="x", nodes=9, edges=edges)


GRAPHS = (
    window(0, edge(A, B, EdgeKind.DIRECTED), edge(B, C)),
    window(1, edge(B, A, EdgeKind.DIRECTED), edge(C, D, EdgeKind.SYNCHRONOUS)),
    window(2, edge(B, A, EdgeKind.DIRECTED, 9.0), edge(C, D, EdgeKind.SYNCHRONOUS)),
)


def test_a_union_counts_windows_and_directions() -> None:
    first, second, third = union(graph.edges for graph in GRAPHS)
    assert (first.a, first.b, first.windows, first.forward, first.backward) == (A, B, 3, 1, 2)
    assert (first.kind, first.ends, first.strength) == (EdgeKind.DIRECTED, (B, A), 9.0)
    assert (second.windows, second.kind) == (1, EdgeKind.CAUSAL)
    assert (third.windows, third.kind) == (2, EdgeKind.SYNCHRONOUS)


def test_the_neighbourhood_of_a_template() -> None:
    groups = tuple(Group(id=n, templates=(n, n + 100), label=LABELS[n]) for n in range(1, 5))
    assert group_ids(101, groups) == group_ids(1, groups) == (1,)
    assert group_ids(999, groups) == ()
    one = graph_around(GRAPHS, (1,))
    assert (one.nodes, one.windows, one.centre, one.left_out) == ((A, B), 3, (1,), 0)
    two = graph_around(GRAPHS, (1,), hops=2)
    assert two.nodes == (A, B, C)
    assert graph_around(GRAPHS, (1,), hops=9).nodes == (A, B, C, D)
    assert graph_around(GRAPHS, (1,), host="elsewhere").nodes == ()
    cut = graph_around(GRAPHS, (1,), hops=9, nodes=2)
    assert (cut.nodes, cut.left_out, cut.edges_left_out) == ((A, B), 2, 2)
    assert left_out_text(cut) == "2 nodes and 2 edges are left out"


def test_the_order_of_windows_does_not_matter() -> None:
    assert graph_around(GRAPHS[::-1], (2,), hops=3) == graph_around(GRAPHS, (2,), hops=3)


def test_a_window_of_many_edges_is_cut_to_what_can_be_read() -> None:
    edges = [edge(Node("hv", n), Node("hv", n + 1)) for n in range(100)]
    view = graph_of(edges, nodes=10, total=130)
    assert len(view.nodes) == 10
    assert view.nodes[0] == Node("hv", 0)  # the most telling come first
    assert view.left_out == 91
    assert view.edges_left_out == 130 - len(view.edges)
    assert left_out_text(graph_of(edges[:3])) == ""


def test_dot_is_escaped_and_whole() -> None:
    text = dot(graph_around(GRAPHS, (1,), hops=9), LABELS)
    assert text.startswith("digraph")
    assert 'label="hv1\\nsshd: <b>"' in text
    assert 'named \\"x\\\\y\\"' in text
    assert "\x1b" not in text
    assert "\\\\x1b[31m" in text
    assert 'n2 -> n1 [dir=forward, label="3"];' in text
    assert 'n3 -> n4 [dir=none, style=dashed, label="2"];' in text
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert '"' not in unquoted
    assert "script" not in unquoted


def test_json_names_nodes_by_number() -> None:
    data = graph_data(graph_around(GRAPHS, (1,), hops=9), LABELS)
    assert [one["host"] for one in data["nodes"]] == ["hv1", "hv2", "hv3", "hv4"]
    assert data["nodes"][0]["group"] == "000000000001"
    assert data["edges"][0] == {
        "a": 2,
        "b": 1,
        "kind": "directed",
        "windows": 3,
        "strength": 9.0,
    }


@pytest.mark.parametrize("many", [1, 2, 5, 27])
def test_a_drawing_has_room_for_every_node(many: int) -> None:
    edges = [edge(Node("hv", n), Node("hv", n + 1)) for n in range(many)]
    edges += [edge(Node("other", 2 * n), Node("other", 2 * n + 1)) for n in range(many // 3)]
    view = graph_of(edges, nodes=99)
    places = place(view, 1.2)
    assert set(places) == set(view.nodes)
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in places.values())
    assert len({(round(x, 3), round(y, 3)) for x, y in places.values()}) == len(places)
    with drawing():
        figure = draw_graph(view, LABELS, 11.0)
    content = to_svg(figure, "g").decode()
    for number in range(1, len(view.nodes) + 1):
        assert content.count(f">{number}</text>") == 2  # at the node and in the key
