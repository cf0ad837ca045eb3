"""A window's graph: what is merged, what a clock explains, lags, and what an outage leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.syslog.causality import (
    GraphSettings,
    PeriodSettings,
    Variant,
    find_periods,
    window_graph,
)
from triage.syslog.causality.merge import chance, clusters, crowded, hook, tree
from triage.syslog.causality.periods import Period, without_period
from triage.syslog.causality.window import discretise
from triage.syslog.tables import Edge, EdgeKind, Node, WindowGraph

DAY = 86_400.0
START = 20_000 * DAY


def nodes_of(hosts: int, groups: int) -> list[Node]:
    return [Node(f"hv{host}", group) for host in range(hosts) for group in range(1, groups + 1)]


def graph_of(nodes: list[Node], series: np.ndarray, **more: object) -> WindowGraph:
    options = {"start": START, "end": START + 60.0 * series.shape[1], "area": "all", **more}
    return window_graph(nodes, series, **options)  # type: ignore[arg-type]


def noise(n: int, bins: int, seed: int, share: float = 0.01) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, bins)) < share).astype(np.uint16)


def pairs_of(graph: WindowGraph) -> set[tuple[Node, Node]]:
    return {edge.pair for edge in graph.edges}


# Merging, and the trap


def outage(share: float, variant: Variant) -> tuple[WindowGraph, list[Node]]:
    """Return the graph of a day in which every series of two hosts stops for the same minutes."""
    nodes = nodes_of(4, 12)
    series = noise(len(nodes), 1440, 1, 0.002)
    hit = [at for at, node in enumerate(nodes) if node.host in ("hv1", "hv2")]
    series[hit] = 0
    series[np.ix_(hit, [700, 701, 730])] = 5
    rules = GraphSettings(similarity=share)
    rules = replace(rules, pc=replace(rules.pc, variant=variant, max_lag=0))
    return graph_of(nodes, series, settings=rules), [nodes[at] for at in hit]


def test_synchronous_series_are_merged_and_stay_connected() -> None:
    for variant in Variant:
        graph, hit = outage(0.8, variant)
        synchronous = [edge for edge in graph.edges if edge.kind is EdgeKind.SYNCHRONOUS]
        assert len(synchronous) == len(hit) - 1
        assert {node for edge in synchronous for node in edge.pair} == set(hit)
        assert sum(edge.a.host != edge.b.host for edge in synchronous) == 1
        assert all(edge.strength > 30 for edge in synchronous)


def test_similar_series_are_merged_with_their_leader_only() -> None:
    base = np.zeros((5, 200), np.bool_)
    base[:4, :20:2] = True
    base[2, 40] = True  # 10 of 11 in common: as good as the same
    base[3, 50:60] = True  # 10 of 20
    base[4, 100:110] = True
    found = clusters(base, 2, 0.8)
    assert [one.members for one in found] == [(0, 1, 2), (3,), (4,)]
    assert [one.leader for one in found] == [0, 3, 4]
    assert [one.members for one in clusters(base, 2, 1.0)] == [(0, 1), (2,), (3,), (4,)]


def test_every_member_is_like_its_leader_not_like_a_member() -> None:
    drift = np.zeros((4, 100), np.bool_)
    for at in range(4):
        drift[at, at : at + 10] = True  # 9 of 11 with the next, 8 of 12 with the one after
    assert [one.members for one in clusters(drift, 2, 0.8)] == [(0, 1), (2, 3)]


def test_a_crowd_of_single_events_counts_and_a_coincidence_of_two_does_not() -> None:
    nodes = nodes_of(2, 20)
    series = np.zeros((40, 1440), np.uint16)
    random = np.random.default_rng(0)
    for at, row in enumerate(series):
        row[10 + 30 * at] = 1
    series[random.choice(40, 2, replace=False)] = 0
    two, many = series.copy(), series.copy()
    two[[3, 8]] = 0
    two[[3, 8], 500] = 1
    assert not graph_of(nodes, two).edges
    many[5:13] = 0
    many[5:13, 500] = 1
    graph = graph_of(nodes, many)
    assert len(graph.edges) == 7
    assert {node for edge in graph.edges for node in edge.pair} == set(nodes[5:13])


def test_how_many_crowds_chance_makes() -> None:
    patterns = np.zeros((50, 100), np.bool_)
    patterns[np.arange(50), np.arange(50)] = True
    patterns[:3] = patterns[0]
    assert not crowded(patterns, clusters(patterns, 2, 0.8), 1e-3)
    patterns[:9] = patterns[0]
    assert crowded(patterns, clusters(patterns, 2, 0.8), 1e-3) == {0}


def test_the_chance_of_a_coincidence_is_hypergeometric() -> None:
    stats = pytest.importorskip("scipy.stats")
    patterns = np.zeros((3, 120), np.bool_)
    patterns[0, :4] = patterns[1, :3] = patterns[2, 2:9] = True
    ours = chance(patterns, [0, 0, 1], [1, 2, 2])
    wanted = [stats.hypergeom.sf(k - 1, 120, a, b) for k, a, b in [(3, 4, 3), (2, 4, 7), (1, 3, 7)]]
    assert ours == pytest.approx(wanted)


def test_what_is_nearly_always_there_is_merged_by_its_absence() -> None:
    nodes = nodes_of(2, 3)
    series = 1 - noise(6, 1440, 2, 0.08)
    for at in (0, 1, 3):
        series[at] = 1
        series[at, 300:400] = 0
    graph = graph_of(nodes, series)
    synchronous = {edge.pair for edge in graph.edges if edge.kind is EdgeKind.SYNCHRONOUS}
    assert synchronous == {(nodes[0], nodes[1]), (nodes[1], nodes[3])}


def test_what_is_always_there_or_hardly_ever_says_nothing() -> None:
    nodes = nodes_of(1, 4)
    series = np.zeros((4, 1440), np.uint16)
    series[:2] = 1
    series[:2, 700:710] = 0
    series[2:, 5] = 1
    graph = graph_of(nodes, series)
    assert graph.nodes == 4
    assert not graph.edges


# Trees


def test_a_tree_keeps_to_hosts_and_to_what_is_familiar() -> None:
    nodes = [Node("a", 1), Node("a", 2), Node("b", 1), Node("b", 2), Node("c", 1)]
    assert tree(nodes, range(5), {}) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    known = {(nodes[0], nodes[4]): 7, (nodes[0], nodes[2]): 1}
    chosen = tree(nodes, range(5), known)
    assert {(0, 4), (0, 2)} <= set(chosen)
    assert len(chosen) == 4
    assert hook(nodes, [0, 1], [2, 3, 4], known) == (0, 4)
    assert hook(nodes, [0, 3], [1, 2], {}) == (0, 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 120), st.lists(st.tuples(st.integers(0, 119), st.integers(0, 119))))
def test_a_tree_spans_and_has_no_cycle(size: int, known: list[tuple[int, int]]) -> None:
    nx = pytest.importorskip("networkx")
    nodes = nodes_of(10, 12)
    familiar = {(nodes[min(p)], nodes[max(p)]): 1 for p in known}
    graph = nx.Graph(tree(sorted(nodes), range(size), familiar))
    graph.add_nodes_from(range(size))
    assert nx.is_tree(graph)


def test_a_member_less_changes_one_edge_of_a_tree() -> None:
    nodes = nodes_of(3, 10)
    usual = tree(nodes, range(30), {})
    known = {(nodes[a], nodes[b]): 20 for a, b in usual}
    without = tree(nodes, [at for at in range(30) if at != 11], known)
    assert len(set(without) - set(usual)) == 1


# Periods


def jobs(bins: int, seed: int = 0) -> tuple[list[Node], np.ndarray]:
    """Return the series of jobs on two hosts at the same phases, late at times, at times lost."""
    random = np.random.default_rng(seed)
    nodes, rows = [], []
    for group, (period, phase) in enumerate([(5, 2), (10, 7), (60, 17), (7, 3)], start=1):
        for host in ("hv0", "hv1"):
            row = np.zeros(bins, np.uint16)
            at = np.arange(phase, bins, period)
            at = at[random.random(len(at)) < 0.95] + (random.random() < 0.2)
            row[np.minimum(at, bins - 1)] = 1
            nodes.append(Node(host, group))
            rows.append(row)
    return nodes, np.array(rows)


def sparse(series: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(series)
    return rows, columns, series[rows, columns].astype(np.int64)


def periods(series: np.ndarray, **more: object) -> dict[int, Period]:
    return find_periods(*sparse(series), n=len(series), length=series.shape[1], **more)  # type: ignore[arg-type]


def test_jobs_at_the_same_minute_are_not_joined_by_their_clock() -> None:
    nodes, series = jobs(1440)
    assert {at: one.seconds / 60 for at, one in periods(series).items()} == {
        0: 5, 1: 5, 2: 10, 3: 10, 4: 60, 5: 60, 6: 7, 7: 7,
    }  # fmt: skip
    assert not graph_of(nodes, series).edges
    assert graph_of(nodes, series, settings=GraphSettings(period=None)).edges


def test_what_happens_beside_the_clock_stays() -> None:
    nodes, series = jobs(1440)
    beside = np.random.default_rng(7).choice(1440, 30, replace=False)
    series[np.ix_([0, 5], beside)] = 1
    assert pairs_of(graph_of(nodes, series)) == {tuple(sorted((nodes[0], nodes[5])))}


def test_a_timer_that_drifts_is_periodic_without_a_phase() -> None:
    row = np.zeros((1, 1440), np.uint16)
    row[0, (np.arange(0, 1430, 11.4)).astype(int)] = 1
    (period,) = periods(row).values()
    assert period.phase is None
    assert period.seconds == 660
    rules = PeriodSettings()
    assert not without_period(row[0], period, start=0, bin_seconds=60, settings=rules).any()


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1, 0.3, 0.6, 0.9])
def test_events_without_memory_have_no_period(share: float) -> None:
    for seed in range(3):
        assert not periods(noise(60, 1440, seed, share))
        assert not periods(noise(60, 120, seed, share))


def test_bursts_and_retries_in_an_hour_of_trouble_have_no_period() -> None:
    series = np.zeros((4, 1440), np.uint16)
    series[0, 600:700] = 3
    series[1, 600:700:2] = 1  # a retry every two minutes
    series[2, [100, 101, 102, 900, 901, 902]] = 9
    series[3, 600:900:5] = 1
    assert not periods(series)


def test_a_burst_within_a_periodic_series_stays() -> None:
    row = np.zeros((1, 1440), np.uint16)
    row[0, ::5] = 1
    row[0, 700:730] = 3
    row[0, 1000] = 40
    (period,) = periods(row).values()
    left = without_period(row[0], period, start=0, bin_seconds=60, settings=PeriodSettings())
    assert left[700:730].mean() > 0.9
    assert left[1000]
    assert left.sum() <= 32


def test_a_longer_history_judges_what_a_short_window_cannot() -> None:
    nodes = nodes_of(2, 1)
    long = np.zeros((2, 14 * 1440), np.uint16)
    long[:, 17::60] = 1
    found = periods(long, start=START - 14 * DAY)
    assert [one.seconds for one in found.values()] == [3600, 3600]
    short = np.zeros((2, 240), np.uint16)
    short[:, 17::60] = 1
    rules = GraphSettings.for_window(14_400)
    assert graph_of(nodes, short, settings=rules).edges
    known = {nodes[at]: one for at, one in found.items()}
    assert not graph_of(nodes, short, settings=rules, periodic=known).edges
    assert not graph_of(nodes, short, settings=rules, periodic=set(nodes)).edges
    short[:, 100:105] = 8
    assert graph_of(nodes, short, settings=rules, periodic=known).edges
    strangers = {Node("elsewhere", 9): next(iter(found.values()))}
    assert graph_of(nodes, short, settings=rules, periodic=strangers).edges


# The graph as a whole


def test_an_effect_a_bin_later_is_found_and_directed() -> None:
    nodes = nodes_of(1, 3)
    series = noise(3, 1440, 3, 0.02)
    series[0, 1:] |= series[2, :-1]
    (edge,) = graph_of(nodes, series).edges
    assert edge == Edge(
        a=nodes[2], b=nodes[0], kind=EdgeKind.DIRECTED, lag=1, strength=edge.strength
    )
    assert edge.strength > 50


def test_chance_makes_few_edges() -> None:
    edges = sum(len(graph_of(nodes_of(5, 20), noise(100, 1440, seed)).edges) for seed in range(4))
    assert edges <= 8  # 19,800 pairs at 1e-4


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["numba", "numpy"]))
def test_the_order_of_nodes_does_not_matter(seed: int, engine: str) -> None:
    random = np.random.default_rng(seed)
    nodes = nodes_of(3, 5)
    series = noise(15, 240, seed, 0.05)
    series[4] |= series[9]
    series[7] = series[8] = series[2]
    order = random.permutation(15)
    rules = GraphSettings(engine=engine)
    straight = graph_of(nodes, series, settings=rules)
    assert straight.edges
    assert graph_of([nodes[at] for at in order], series[order], settings=rules) == straight


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 6), st.integers(0, 70), st.integers(0, 5), st.sampled_from([2, 4]),
    st.booleans(),
)  # fmt: skip
def test_any_window_gives_a_graph(n: int, bins: int, seed: int, levels: int, dense: bool) -> None:
    nodes = nodes_of(1, n)
    series = noise(n, bins, seed, 0.6 if dense else 0.05) * (seed + 1)
    graph = graph_of(nodes, series, settings=GraphSettings(levels=levels))
    assert graph.nodes == (series > 0).any(axis=1).sum()
    assert all(edge.a < edge.b or edge.kind is EdgeKind.DIRECTED for edge in graph.edges)
    assert len(pairs_of(graph)) == len(graph.edges)


def test_engines_without_lags_do_a_window_too() -> None:
    pytest.importorskip("pyagrum")
    nodes = nodes_of(1, 3)
    series = noise(3, 1440, 3, 0.02)
    series[0] |= series[2]
    graph = graph_of(nodes, series, settings=GraphSettings(engine="pyagrum"))
    assert pairs_of(graph) == {(nodes[0], nodes[2])}


def test_only_so_many_nodes_go_through_pc() -> None:
    nodes = nodes_of(1, 4)
    series = noise(4, 1440, 3, 0.02)
    series[0] |= series[2]
    series[0, :200:3] = series[2, :200:3] = 1
    series[0, 1000] ^= 1
    assert graph_of(nodes, series).edges
    rules = GraphSettings(similarity=1.0, max_nodes=2)
    assert pairs_of(graph_of(nodes, series, settings=rules)) == {(nodes[0], nodes[2])}


def test_levels_of_counts() -> None:
    counts = np.array([[0, 1, 1, 1], [0, 2, 9, 50], [0, 0, 0, 0]])
    assert discretise(counts, 3).tolist() == [[0, 1, 1, 1], [0, 1, 1, 2], [0, 0, 0, 0]]
    assert discretise(counts, 2).tolist() == [[0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]


def test_alpha_tightens_as_windows_get_shorter_and_more() -> None:
    assert GraphSettings.for_window(DAY).pc.alpha == pytest.approx(1e-4)
    assert GraphSettings.for_window(7200).pc.alpha == pytest.approx(1e-5)
    assert GraphSettings.for_window(7 * DAY).pc.alpha == pytest.approx(1e-4)


def test_a_node_given_twice_and_series_for_others_are_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        graph_of([Node("a", 1), Node("a", 1)], noise(2, 50, 0))
    with pytest.raises(ValueError, match="for 3 nodes"):
        graph_of(nodes_of(1, 3), noise(2, 50, 0))


@pytest.mark.parametrize("wrong", [{"levels": 1}, {"similarity": 0.0}, {"max_share": 1.5}])
def test_settings_that_cannot_be_meant(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GraphSettings(**wrong)  # type: ignore[arg-type]
