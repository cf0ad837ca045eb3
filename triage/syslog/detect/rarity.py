"""In how many days an edge appears, and which edges are rare by that (the report's figure 7).

Rules
- An edge is its pair of nodes, whichever way it points (`Edge.pair`).
- The threshold is the quantile of the CDF, at most `rare_share` of the days and at least one day:
  a fixed number loses outages that recur, and in three days' log every quantile is the whole log.
- Days count for short windows, too: a two-hour graph of every day is one day each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from triage.syslog.detect.series import Pair
from triage.syslog.tables import Edge, Rarity, WindowGraph


def days_of_pairs(graphs: Iterable[tuple[int, Iterable[Edge]]]) -> dict[Pair, int]:
    """Return the number of different days of each pair; `graphs` gives (day, edges)."""
    days: dict[Pair, set[int]] = {}
    for day, edges in graphs:
        for edge in edges:
            days.setdefault(edge.pair, set()).add(day)
    return {pair: len(seen) for pair, seen in days.items()}


def rarity_of(days: Mapping[Pair, int], total_days: int, quantile: float, share: float) -> Rarity:
    """Return the CDF and the threshold for pairs' days in a corpus of `total_days`."""
    counted = Counter(days.values())
    most = max(1, int(share * total_days))
    return Rarity(
        days_of=dict(sorted(counted.items())),
        quantile=quantile,
        threshold=min(most, _quantile(counted, quantile)),
    )


def _quantile(counted: Mapping[int, int], quantile: float) -> int:
    """The smallest number of days that this share of the edges does not exceed; 1 of none."""
    whole, below = sum(counted.values()), 0
    for days in sorted(counted):
        below += counted[days]
        if below >= quantile * whole:
            return days
    return 1


def rare_edges(graph: WindowGraph, days: Mapping[Pair, int], threshold: int) -> tuple[Edge, ...]:
    """Return the graph's rare edges, the rarest first, then the strongest."""
    rare = [edge for edge in graph.edges if days.get(edge.pair, 0) <= threshold]
    return tuple(sorted(rare, key=lambda edge: (days.get(edge.pair, 0), -edge.strength, edge.pair)))
