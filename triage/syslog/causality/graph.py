"""What passes between the parts: discretised series, a skeleton, a CPDAG.

Rules
- A series' number is its place in the caller's order, which is the canonical order: the original
  variant of the PC algorithm depends on it, so callers that want the same graph for the same data
  sort their series first (`window_graph` does, by node).
- Pairs are (a, b) with a < b; the lag of a pair is the bins by which b follows a.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from triage.syslog.causality.settings import PcSettings
from triage.syslog.errors import SyslogError

Levels = npt.NDArray[np.uint8]
"""Series (n, bins): the level of each in each bin, from 0."""


class EngineError(SyslogError):
    """An engine cannot be used here. The text is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """An undirected graph, and why the other pairs are not in it."""

    n: int
    """Number of series."""
    pairs: npt.NDArray[np.int32]
    """Edges (edges, 2), each a < b, sorted."""
    lags: npt.NDArray[np.int8]
    """Per edge: bins by which b follows a."""
    strengths: npt.NDArray[np.float64]
    """Per edge: G² without conditions, per degree of freedom."""
    leads: npt.NDArray[np.float64]
    """Per edge: the largest G² with b after a, less the largest with a after b; 0 without lags."""
    separators: Mapping[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)
    """Pairs that conditions separated, with these, sorted. Any other pair without an edge is
    independent without conditions."""
    arrows: frozenset[tuple[int, int]] | None = None
    """Directions (from, to), of engines that find them themselves; none: they are ours to find."""


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """An edge of a CPDAG."""

    a: int
    b: int
    directed: bool = False
    """From a to b in every graph of the class. Otherwise a < b."""
    lag: int = 0
    """Bins by which b follows a."""
    strength: float = 0.0

    @property
    def pair(self) -> tuple[int, int]:
        """The smaller number first."""
        return (self.a, self.b) if self.a < self.b else (self.b, self.a)


@dataclass(frozen=True, slots=True)
class Cpdag:
    """A completed partially directed acyclic graph: all graphs that the data do not tell apart."""

    n: int
    links: tuple[Link, ...] = ()
    """Sorted by pair."""
    separators: Mapping[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)

    @property
    def skeleton(self) -> frozenset[tuple[int, int]]:
        """Its edges without directions."""
        return frozenset(link.pair for link in self.links)

    @property
    def directed(self) -> frozenset[tuple[int, int]]:
        """Its directed edges, (from, to)."""
        return frozenset((link.a, link.b) for link in self.links if link.directed)


class Engine(Protocol):
    """What finds a skeleton. To add one, see `engines.register`."""

    name: str
    lags: bool
    """Whether it knows lags; without, `PcSettings.max_lag` has to be 0."""

    def skeleton(self, series: Levels, settings: PcSettings) -> Skeleton:
        """Return the skeleton of series (n, bins). It does not depend on `settings.threads`."""
        ...
