"""What the causal graphs are learnt with: plain values, their units, and the reasons for them.

Two settings that belong together: `PcSettings` for the PC algorithm alone (`learn`), and
`GraphSettings` for a window's graph (`window_graph`), which holds a `PcSettings`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

DAY = 86_400.0
"""Seconds."""


class Variant(StrEnum):
    """How the PC algorithm deletes edges."""

    ORIGINAL = "original"
    """At once (Spirtes and Glymour 1991): depends on the order of the series, which is canonical
    here, and never isolates one of several near-identical series."""
    STABLE = "stable"
    """At the end of each level (Colombo and Maathuis 2014): the skeleton does not depend on the
    order, but near-identical series separate each other and lose all their edges."""


class Freedom(StrEnum):
    """How degrees of freedom are counted."""

    FIXED = "fixed"
    """(r - 1)(c - 1) times the number of strata, empty ones too (gsq, pcalg, Neapolitan)."""
    ADAPTIVE = "adaptive"
    """Per stratum, less the rows and columns that are all zero (causal-learn, TETRAD)."""


class Conflict(StrEnum):
    """What becomes of an edge that two v-structures orient against each other."""

    UNDIRECTED = "undirected"
    """It stays without a direction: the data contradict each other."""
    FIRST = "first"
    """The v-structure first in canonical order has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PcSettings:
    """The PC algorithm with the G² test."""

    alpha: float = 1e-4
    """Level of each test: larger gives more edges, surer ones and chance ones."""
    variant: Variant = Variant.ORIGINAL
    freedom: Freedom = Freedom.FIXED
    conflict: Conflict = Conflict.UNDIRECTED
    max_conditions: int | None = None
    """Largest number of series conditioned on; none: as many as there are neighbours."""
    max_degree: int = 0
    """Conditions are sought among so many of a series' neighbours, the strongest; 0: among all.
    Fewer can only leave an edge that a condition not tried would have deleted."""
    samples_per_freedom: int = 10
    """A test wants so many bins per degree of freedom (Kalisch and Bühlmann's code: 10). Larger
    condition sets are not tried: their tests have no power, and deleting for that is no finding."""
    max_lag: int = 0
    """Bins by which one series may follow the other: every pair is tested at each lag, and takes
    part in all further tests at the best one. Tests are then made at alpha / (2 max_lag + 1), for
    the best of so many was taken (Bonferroni)."""
    threads: int = 1
    """The result is the same whatever their number. 1: the caller has windows in parallel."""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be meant."""
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}: it has to lie between 0 and 1")
        for name in ("max_degree", "samples_per_freedom", "max_lag"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it cannot be negative")
        if self.max_conditions is not None and self.max_conditions < 0:
            raise ValueError(f"max_conditions is {self.max_conditions}: it cannot be negative")
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}: at least 1 is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodSettings:
    """When a series counts as periodic."""

    periods: tuple[float, ...] = (
        120, 180, 240, 300, 360, 600, 720, 900, 1200, 1800,
        3600, 7200, 10_800, 14_400, 21_600, 28_800, 43_200, 86_400, 604_800,
    )  # fmt: skip
    """Seconds: what cron and timers are set to. The commonest interval of each series is tried
    besides."""
    cycles: int = 5
    """A period has to be seen so often before it is believed."""
    coverage: float = 0.8
    """Share of the cycles that have an event at the phase: the rest were lost or put off."""
    contrast: float = 0.5
    """By so much the coverage has to exceed that of events without a period, as many as the
    series has at other phases."""
    jitter: int = 1
    """Bins by which an event may miss its phase; 0 for periods of up to 4 bins."""
    span: float = 0.75
    """Share of the window between the first and the last event: what retries every minute for an
    hour has no period."""
    burst: float = 4.0
    """An event at the phase with more than so many times the usual count stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSettings:
    """A window's causal graph."""

    engine: str = "auto"
    """"numba", "numpy" or "pyagrum"; "auto": numba where code may be compiled at run time, else
    numpy, with the same result."""
    pc: PcSettings = field(
        default_factory=lambda: PcSettings(max_conditions=2, max_degree=12, max_lag=1)
    )
    levels: int = 2
    """2: an event in the bin or none. More: how many, in steps (its quantiles)."""
    min_events: int = 2
    """Bins with an event that a series needs for the PC algorithm: one coincidence of two single
    events is no sign of anything. Series with fewer still count in crowds."""
    max_share: float = 0.95
    """A series with events in more of the bins than this says nothing by them."""
    max_nodes: int = 1500
    """Merged series in the PC algorithm at most: beyond it those with the fewest events go, for
    the cost grows with the square."""
    similarity: float = 0.8
    """Two series whose bins have at least this Jaccard index are synchronous: one node."""
    crowd_alpha: float = 1e-4
    """Series with the very same bins are synchronous when so many with the same bins are expected
    by chance less often than this, in the window. Two alone never are: 1 / bins is more."""
    direction_alpha: float = 1e-3
    """Time gives an edge its direction when G² with b after a exceeds that with a after b by the
    critical value at this level."""
    period: PeriodSettings | None = field(default_factory=PeriodSettings)
    """None: periodic series are left as they are."""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be meant."""
        if not 2 <= self.levels <= 8:
            raise ValueError(f"levels is {self.levels}: from 2 to 8 are possible")
        if not 0 < self.similarity <= 1:
            raise ValueError(f"similarity is {self.similarity}: it has to lie in (0, 1]")
        if not 0 < self.max_share <= 1:
            raise ValueError(f"max_share is {self.max_share}: it has to lie in (0, 1]")

    @classmethod
    def for_window(cls, seconds: float) -> Self:
        """Return the defaults for windows of that length.

        There are twelve times as many 2 h windows as days, and the chance edges of all of them are
        to stay as few: alpha falls from 1e-4 for a day to 1e-5 for two hours, on a power law.
        """
        base = cls()
        alpha = 1e-4 * (min(seconds, DAY) / DAY) ** (1 / math.log10(12))
        return replace(base, pc=replace(base.pc, alpha=max(alpha, 1e-9)))
