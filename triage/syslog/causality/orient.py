"""From a skeleton to a CPDAG: v-structures, and Meek's four rules.

    v-structure  a - c - b, a and b not adjacent, c not in what separated them: a -> c <- b
    rule 1  a -> b - c, a and c not adjacent:                               b -> c
    rule 2  a -> c -> b, a - b:                                             a -> b
    rule 3  a - c -> b, a - d -> b, c and d not adjacent, a - b:            a -> b
    rule 4  a - c -> d -> b, a and d adjacent, c and b not adjacent, a - b: a -> b

(Meek, Causal inference and causal explanation with background knowledge, 1995.) Rule 4 fires only
with directions known beforehand, such as those from time.

Rules
- What is known beforehand is never turned round.
- No directed cycle, whatever the data: edges on one are left without a direction for good, as are
  those that v-structures contradict each other about, and a rule that would close one does not
  fire. Of a skeleton and separators that some DAG has, none of this happens.
- Everything goes by the order of the series' numbers; the result depends on nothing else.

Sets of series are bits of Python integers: their intersections are what all the rules ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import networkx as nx

from triage.syslog.causality.graph import Cpdag, Link, Skeleton
from triage.syslog.causality.settings import Conflict

Arrow = tuple[int, int]


def cpdag(
    skeleton: Skeleton,
    known: Collection[Arrow] = (),
    conflict: Conflict = Conflict.UNDIRECTED,
) -> Cpdag:
    """Return the CPDAG of a skeleton, given the directions (from, to) of some of its edges."""
    partly = Pdag(skeleton.n, skeleton.pairs.tolist())
    for a, b in _acyclic(partly, sorted(_colliders(partly, skeleton, set(known), conflict))):
        partly.direct(a, b)
    partly.close()
    arrows = {(a, b) for a, children in enumerate(partly.children) for b in members(children)}
    return as_directed(skeleton, arrows)


def as_directed(skeleton: Skeleton, arrows: Collection[Arrow]) -> Cpdag:
    """Return a skeleton with these arrows (from, to) as a CPDAG."""
    links = []
    for (a, b), lag, strength in zip(
        skeleton.pairs.tolist(), skeleton.lags.tolist(), skeleton.strengths.tolist(), strict=True
    ):
        if (b, a) in arrows:
            links.append(Link(b, a, True, -lag, strength))
        else:
            links.append(Link(a, b, (a, b) in arrows, lag, strength))
    return Cpdag(skeleton.n, tuple(links), skeleton.separators)


class Pdag:
    """A graph with directed and undirected edges; per series, the sets of its neighbours."""

    def __init__(self, n: int, pairs: Collection[Sequence[int]]) -> None:
        self.adjacent = [0] * n
        self.undirected = [0] * n
        self.parents = [0] * n
        self.children = [0] * n
        for a, b in pairs:
            for one, other in ((a, b), (b, a)):
                self.adjacent[one] |= 1 << other
                self.undirected[one] |= 1 << other

    def direct(self, a: int, b: int) -> None:
        """Make a - b into a -> b."""
        self.freeze(a, b)
        self.children[a] |= 1 << b
        self.parents[b] |= 1 << a

    def freeze(self, a: int, b: int) -> None:
        """Keep a - b without a direction, for good."""
        self.undirected[a] &= ~(1 << b)
        self.undirected[b] &= ~(1 << a)

    def reaches(self, start: int, end: int) -> bool:
        """Whether directed edges lead from one to the other."""
        seen = frontier = 1 << start
        while frontier:
            if frontier >> end & 1:
                return True
            following = 0
            for at in members(frontier):
                following |= self.children[at]
            frontier = following & ~seen
            seen |= frontier
        return False

    def implied(self, a: int, b: int) -> bool:
        """Whether one of Meek's rules makes a - b into a -> b."""
        apart = ~(self.adjacent[b] | 1 << b)
        if self.parents[a] & apart or self.children[a] & self.parents[b]:
            return True
        between = self.undirected[a] & self.parents[b]
        if any(between & ~(self.adjacent[c] | 1 << c) for c in members(between)):
            return True
        behind = self.undirected[a] & apart
        return bool(behind) and any(
            behind & self.parents[d] for d in members(self.parents[b] & self.adjacent[a])
        )

    def close(self) -> None:
        """Apply Meek's rules until none fires."""
        changed = True
        while changed:
            changed = False
            for a in range(len(self.adjacent)):
                for b in members(self.undirected[a]):
                    if self.implied(a, b) and not self.reaches(b, a):
                        self.direct(a, b)
                        changed = True


def members(bits: int) -> Iterator[int]:
    """Yield the numbers of a set, from the smallest."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def _colliders(
    graph: Pdag, skeleton: Skeleton, known: set[Arrow], conflict: Conflict
) -> set[Arrow]:
    """Return the arrows that are known and those of v-structures; contradictions are frozen."""
    arrows = {(a, b) for a, b in known if graph.adjacent[a] >> b & 1}
    claims: set[Arrow] = set()
    for a, c, b in _open_triples(graph):
        if c in skeleton.separators.get((a, b), ()):
            continue
        if (c, a) in arrows or (c, b) in arrows:
            continue
        if conflict is Conflict.FIRST and ((c, a) in claims or (c, b) in claims):
            continue
        claims |= {(a, c), (b, c)}
    for a, b in sorted(claims):
        if (b, a) not in claims:
            arrows.add((a, b))
        elif a < b:
            graph.freeze(a, b)
    return arrows


def _open_triples(graph: Pdag) -> Iterator[tuple[int, int, int]]:
    """Yield (a, c, b) with a - c - b and a < b not adjacent."""
    for c, around in enumerate(graph.adjacent):
        for a in members(around):
            for b in members(around & ~graph.adjacent[a] & -(2 << a)):
                yield a, c, b


def _acyclic(graph: Pdag, arrows: list[Arrow]) -> list[Arrow]:
    """Return the arrows that are on no directed cycle, and freeze the others."""
    directed = nx.DiGraph(arrows)
    part = {
        node: number
        for number, nodes in enumerate(nx.strongly_connected_components(directed))
        for node in nodes
    }
    for a, b in arrows:
        if part[a] == part[b]:
            graph.freeze(a, b)
    return [(a, b) for a, b in arrows if part[a] != part[b]]
