"""One window's causal graph, from the counts of its nodes.

    counts -> without what a clock explains -> without series that say nothing -> synchronous ones
    merged -> the PC algorithm, with lags -> edges between nodes

Rules
- The graph depends on the nodes' counts, not on the order in which they are given.
- Nothing is dropped for being rare when many are rare together: series with too few events for the
  PC algorithm still count where a crowd of them has the very same bins.
- An edge of a merged cluster hangs at the pair of its members that was joined most often before,
  and a cluster is a tree of such pairs (`merge`): a rare edge should mean a rare event, not another
  choice among the same nodes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from triage.syslog.causality.engines import engine_of, learn
from triage.syslog.causality.graph import Link
from triage.syslog.causality.merge import Cluster, Pair, chance, clusters, crowded, hook, tree
from triage.syslog.causality.periods import Period, find_periods, without_period
from triage.syslog.causality.reference import STRENGTH_DIGITS
from triage.syslog.causality.settings import GraphSettings
from triage.syslog.tables import Edge, EdgeKind, Node, WindowGraph

Counts = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


def window_graph(
    nodes: Sequence[Node],
    series: Counts,
    *,
    start: float,
    end: float,
    area: str,
    settings: GraphSettings | None = None,
    periodic: Mapping[Node, Period] | Collection[Node] | None = None,
    familiar: Mapping[Pair, int] | None = None,
) -> WindowGraph:
    """Return the causal graph of nodes whose events series (n, bins) count, over [start, end).

    `settings`: by default those for a window of that length.
    `periodic`: what a longer history says (`find_periods`); without it the window itself is judged.
    Of nodes given with their period, only what it explains is left out; of a plain collection, the
    whole node.
    `familiar`: in how many windows each pair (the smaller node first) was joined.
    Raises EngineError when the engine cannot be used here, ValueError for series of another shape
    and for a node given twice.
    """
    settings = settings or GraphSettings.for_window(end - start)
    order = sorted(range(len(nodes)), key=lambda at: nodes[at])
    names = [nodes[at] for at in order]
    if series.ndim != 2 or len(series) != len(names):
        raise ValueError(f"series of shape {series.shape} for {len(names)} nodes")
    if any(a == b for a, b in pairwise(names)):
        raise ValueError("a node is given twice")
    counts = np.asarray(series)[np.array(order, dtype=np.int64)]
    build = _Window(names, counts, start, end, settings, familiar or {})
    edges = build.edges(periodic) if counts.size else []
    return WindowGraph(
        start=start, end=end, area=area, nodes=int((counts > 0).any(axis=1).sum()),
        edges=tuple(sorted(edges, key=lambda edge: edge.pair)),
    )  # fmt: skip


class _Window:
    def __init__(
        self, nodes: list[Node], counts: Counts, start: float, end: float,
        settings: GraphSettings, familiar: Mapping[Pair, int],
    ) -> None:  # fmt: skip
        self.nodes, self.counts, self.settings, self.familiar = nodes, counts, settings, familiar
        self.start = start
        self.bins = counts.shape[1]
        self.bin_seconds = (end - start) / max(self.bins, 1)

    def edges(self, periodic: Mapping[Node, Period] | Collection[Node] | None) -> list[Edge]:
        """Return all edges."""
        active = self._active(periodic)
        active[active.mean(axis=1) > self.settings.max_share] = False
        events = active.sum(axis=1)
        patterns = active ^ (2 * events > self.bins)[:, None]  # the rarer of presence and absence
        used = np.flatnonzero(patterns.any(axis=1))
        nodes = [self.nodes[at] for at in used]
        patterns, active = patterns[used], active[used]
        found = clusters(patterns, self.settings.min_events, self.settings.similarity)
        links = self._links(found, patterns, np.where(active, self.counts[used], 0))
        return self._trees(found, patterns, nodes) + [
            self._expand(link, found_a, found_b, nodes) for link, found_a, found_b in links
        ]

    def _active(self, periodic: Mapping[Node, Period] | Collection[Node] | None) -> Bools:
        """Return the bins with events, but for those that a clock explains."""
        active = self.counts > 0
        rules = self.settings.period
        if rules is None:
            return active
        place = {node: at for at, node in enumerate(self.nodes)}
        if periodic is None:
            rows, columns = np.nonzero(active)
            found = find_periods(
                rows, columns, self.counts[rows, columns].astype(np.int64), n=len(self.nodes),
                length=self.bins, start=self.start, bin_seconds=self.bin_seconds, settings=rules,
            )  # fmt: skip
        elif isinstance(periodic, Mapping):
            found = {place[node]: one for node, one in periodic.items() if node in place}
        else:
            active[[place[node] for node in periodic if node in place]] = False
            found = {}
        for at, period in found.items():
            if active[at].any():
                active[at] = without_period(
                    self.counts[at], period, start=self.start, bin_seconds=self.bin_seconds,
                    settings=rules,
                )  # fmt: skip
        return active

    def _links(
        self, found: Sequence[Cluster], patterns: Bools, counts: Counts
    ) -> list[tuple[Link, Cluster, Cluster]]:
        """Run the PC algorithm on the clusters' leaders."""
        events = patterns.sum(axis=1)
        fit = [one for one in found if events[one.leader] >= self.settings.min_events]
        if len(fit) > self.settings.max_nodes:
            most = sorted(fit, key=lambda one: (-int(events[one.leader]), one.leader))
            fit = sorted(most[: self.settings.max_nodes], key=lambda one: one.leader)
        leaders = [one.leader for one in fit]
        if self.settings.levels > 2:
            levels = discretise(counts[leaders], self.settings.levels)
        else:
            levels = patterns[leaders].astype(np.uint8)
        engine = engine_of(self.settings.engine)
        pc = self.settings.pc if engine.lags else replace(self.settings.pc, max_lag=0)
        graph = learn(levels, pc, engine, direction_alpha=self.settings.direction_alpha)
        return [(link, fit[link.a], fit[link.b]) for link in graph.links]

    def _trees(
        self, found: Sequence[Cluster], patterns: Bools, nodes: Sequence[Node]
    ) -> list[Edge]:
        """Return the edges within clusters that chance does not explain."""
        crowds = crowded(patterns, found, self.settings.crowd_alpha)
        pairs, sure = [], []
        for cluster in found:
            branches = tree(nodes, cluster.members, self.familiar) if cluster.members[1:] else []
            pairs += branches
            sure += [cluster.leader in crowds] * len(branches)
        if not pairs:
            return []
        first, second = zip(*pairs, strict=True)
        by_chance = chance(patterns, first, second)
        return [
            Edge(
                a=nodes[a], b=nodes[b], kind=EdgeKind.SYNCHRONOUS,
                strength=_strength(patterns[a], patterns[b]),
            )
            for (a, b), crowd, p in zip(pairs, sure, by_chance, strict=True)
            if crowd or p <= self.settings.pc.alpha
        ]  # fmt: skip

    def _expand(self, link: Link, one: Cluster, other: Cluster, nodes: Sequence[Node]) -> Edge:
        a, b = hook(nodes, one.members, other.members, self.familiar)
        lag = link.lag
        if not link.directed and b < a:
            a, b, lag = b, a, -lag
        kind = EdgeKind.DIRECTED if link.directed else EdgeKind.CAUSAL
        return Edge(a=nodes[a], b=nodes[b], kind=kind, lag=lag, strength=link.strength)


def _strength(a: Bools, b: Bools) -> float:
    """Return G² of two series; `gsquare.of_table` in plain floats, for it is asked for singly."""
    both, one, other, bins = int((a & b).sum()), int(a.sum()), int(b.sum()), len(a)
    cells = (both, one - both, other - both, bins - one - other + both, bins)
    half = sum(map(_n_log_n, cells)) - sum(map(_n_log_n, (one, other, bins - one, bins - other)))
    return round(max(2.0 * half, 0.0), STRENGTH_DIGITS)


def _n_log_n(n: int) -> float:
    return n * math.log(n) if n else 0.0


def discretise(counts: Counts, levels: int) -> npt.NDArray[np.uint8]:
    """Return counts (n, bins) as levels: 0 for none, above it by the quantiles of each series.

    With 3 levels: none, up to the median of the bins with events, more. A series that never has
    more than one event has two levels, whatever their number.
    """
    result = np.zeros(counts.shape, np.uint8)
    for at, row in enumerate(counts):
        some = row[row > 0]
        if len(some):
            cuts = np.quantile(some, np.arange(1, levels - 1) / (levels - 1))
            result[at] = np.where(row > 0, 1 + np.searchsorted(cuts, row, "left"), 0)
    return result
