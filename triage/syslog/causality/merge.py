"""Synchronous series become one node before the PC algorithm, and its edge a tree afterwards.

Why: in an outage dozens of series are the same. Given any one of them each is independent of all
others, so the PC algorithm separates them all from one another: just what belongs together most
has no edge left (all of it in the stable variant, all but a chain in the original one).

Rules
- Series are merged when their rare level (events of most; absence of those that are nearly always
  there) is in the same bins, by Jaccard index. The same pattern first, then leaders: the pattern
  that most series have takes in what is like it, then the next. No chains: every member is like
  its leader.
- Whether being synchronous means anything is judged exactly, not by an approximation for large
  counts: by the hypergeometric distribution for two series, and for many with the very same bins
  by how many such crowds chance is expected to make of so many series.
- A cluster of m nodes has m - 1 edges: a spanning tree that is the same whenever the same nodes are
  there, prefers pairs that were synchronous before, then pairs of one host, and goes by the order
  of nodes. So a usual cluster with a member more or less has hardly an unusual edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array as _csr_array
from scipy.special import bdtrc, gammaln

from triage.syslog.tables import Node

Pair = tuple[Node, Node]
csr_array: Any = _csr_array  # it has no types
Bools = npt.NDArray[np.bool_]

REACH = 40
"""Members of a cluster compared with a member, in the order of nodes: all of a usual cluster; of
several hundred nodes enough, at a bounded cost."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Series that are one node."""

    leader: int
    """The series that stands for all."""
    members: tuple[int, ...]
    """Sorted, the leader too."""


def clusters(patterns: Bools, min_events: int, similarity: float) -> tuple[Cluster, ...]:
    """Return all series (n, bins), each in one cluster, sorted by leader.

    Those with less than `min_events` are with the very same patterns only.
    """
    same: dict[bytes, list[int]] = {}
    for at, row in enumerate(np.packbits(patterns, axis=1)):
        same.setdefault(row.tobytes(), []).append(at)
    groups = list(same.values())
    leaders = np.array([group[0] for group in groups], dtype=np.int64)
    events = patterns[leaders].sum(1)
    many = np.array([len(group) for group in groups], dtype=np.int64)
    rank = np.lexsort((leaders, -events, -many))
    home = np.arange(len(groups))
    # Two patterns that differ have a Jaccard index of (u - 1) / u at most, u being their union
    some = np.flatnonzero(events >= max(min_events, _differing(similarity)))
    alike = _alike(patterns[leaders[some]], events[some], similarity)
    free = np.ones(len(groups), np.bool_)
    for at in rank[np.isin(rank, some[np.diff(alike.indptr) > 0])].tolist():
        if free[at]:
            row = np.searchsorted(some, at)
            others = some[alike.indices[alike.indptr[row] : alike.indptr[row + 1]]]
            others = others[free[others]]
            home[others] = at
            free[others] = free[at] = False
    members: dict[int, list[int]] = {}
    for at, of in enumerate(home.tolist()):
        members.setdefault(of, []).extend(groups[at])
    return tuple(
        sorted(
            (Cluster(int(leaders[of]), tuple(sorted(all_))) for of, all_ in members.items()),
            key=lambda cluster: cluster.leader,
        )
    )


def _differing(similarity: float) -> float:
    """Return the least events of two patterns that differ, and are still so similar."""
    if similarity >= 1:
        return math.inf
    return math.ceil(1 / (1 - similarity) - 1e-9) * similarity


def _alike(patterns: Bools, events: npt.NDArray[np.int64], similarity: float) -> Any:
    """Return (n, n), sparse by rows: which others have a Jaccard index of at least `similarity`."""
    ones = csr_array(patterns, dtype=np.int32)
    both = (ones @ ones.T).tocoo()
    either = events[both.row] + events[both.col] - both.data
    kept = (both.data >= similarity * either) & (both.row != both.col)
    pairs = (both.row[kept], both.col[kept])
    return csr_array((np.ones(len(pairs[0]), np.bool_), pairs), shape=both.shape)


def crowded(patterns: Bools, found: Sequence[Cluster], alpha: float) -> set[int]:
    """Return the leaders of clusters whose commonest pattern too many share for chance.

    Of S series with e events in N bins, each has a given one of the C(N, e) patterns by chance with
    probability 1 / C(N, e); C(N, e) times the probability that m or more have it is the number of
    such crowds to be expected.
    """
    bins = patterns.shape[1]
    events = patterns.sum(1)
    with_so_many = np.bincount(events, minlength=bins + 1)
    crowds = set()
    for cluster in found:
        if len(cluster.members) < 2:
            continue
        size = int(events[cluster.leader])
        same = int((patterns[list(cluster.members)] == patterns[cluster.leader]).all(1).sum())
        kinds = _choices(bins, size)
        expected = kinds * bdtrc(same - 1, int(with_so_many[size]), 1 / kinds)
        if same > 1 and expected <= alpha:
            crowds.add(cluster.leader)
    return crowds


def _choices(n: int, k: int) -> float:
    """Return C(n, k), at most 1e12: more patterns than that are as good as infinitely many."""
    result = 1.0
    for at in range(min(k, n - k)):
        result = result * (n - at) / (at + 1)
        if result > 1e12:
            return 1e12
    return result


def chance(patterns: Bools, first: Sequence[int], second: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the probability that pairs of series have by chance so many bins in common, or more.

    The first three terms of the hypergeometric tail: they fall fast for series that are alike.
    """
    one, two = patterns[list(first)], patterns[list(second)]
    bins, a, b = patterns.shape[1], one.sum(1), two.sum(1)
    common = (one & two).sum(1)
    tail = np.zeros(len(common))
    for more in range(3):
        k = common + more
        real = (k <= a) & (k <= b) & (a + b - k <= bins)
        logs = _log_choices(a, k) + _log_choices(bins - a, b - k) - _log_choices(bins, b)
        tail += np.where(real, np.exp(np.where(real, logs, 0.0)), 0.0)
    return np.minimum(tail, 1.0)


def _log_choices(n: npt.ArrayLike, k: npt.ArrayLike) -> npt.NDArray[np.float64]:
    n, k = np.asarray(n), np.asarray(k)
    inside = np.clip(k, 0, n)
    logs: npt.NDArray[np.float64] = gammaln(n + 1) - gammaln(inside + 1) - gammaln(n - inside + 1)
    return logs


def tree(
    nodes: Sequence[Node], members: Sequence[int], familiar: Mapping[Pair, int]
) -> list[tuple[int, int]]:
    """Return the edges (a, b), a < b, of a cluster's spanning tree; `nodes` are sorted."""
    candidates = []
    for place, a in enumerate(members):
        for away, b in enumerate(members[place + 1 : place + 1 + REACH], start=1):
            known = familiar.get((nodes[a], nodes[b]), 0) if familiar else 0
            if known or away == 1:
                candidates.append((-known, nodes[a].host != nodes[b].host, a, b))
    part = {member: member for member in members}  # Kruskal's algorithm, with path halving

    def root(at: int) -> int:
        while part[at] != at:
            part[at] = part[part[at]]
            at = part[at]
        return at

    edges = []
    for _, _, a, b in sorted(candidates):
        if root(a) != root(b):
            part[root(a)] = root(b)
            edges.append((a, b))
    return sorted(edges)


def hook(
    nodes: Sequence[Node],
    first: Sequence[int],
    second: Sequence[int],
    familiar: Mapping[Pair, int],
) -> tuple[int, int]:
    """Return the pair of members by which two clusters hang together: the most familiar one."""

    def rank(pair: tuple[int, int]) -> tuple[int, bool, int, int]:
        a, b = sorted(pair)
        known = familiar.get((nodes[a], nodes[b]), 0) if familiar else 0
        return (-known, nodes[a].host != nodes[b].host, a, b)

    return min(((a, b) for a in first[:REACH] for b in second[:REACH]), key=rank)
