"""The engine "numpy": the PC algorithm's skeleton as one would write it down.

For hosts where no code may be compiled at run time, and to check the faster engine against. Tests
without conditions are done for all pairs at once; those with conditions one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

from triage.syslog.causality.graph import Levels, Skeleton
from triage.syslog.causality.gsquare import critical_values, g_square, n_log_n
from triage.syslog.causality.settings import Freedom, PcSettings, Variant

LAG_MARGIN = 1e-6
"""G² that a lag has to gain over a smaller one: the same counts are not to differ by rounding."""

STRENGTH_DIGITS = 6
"""Decimals of a strength: which neighbours are the strongest is not to be decided by rounding."""

Matrix = npt.NDArray[np.float64]


def lags_of(max_lag: int) -> tuple[int, ...]:
    """Return all lags in the order in which they are preferred: 0, 1, -1, 2, -2 and so on."""
    return (0, *(sign * lag for lag in range(1, max_lag + 1) for sign in (1, -1)))


def test_alpha(settings: PcSettings) -> float:
    """Return the level of each test, for the best of several lags was taken."""
    return settings.alpha / (2 * settings.max_lag + 1)


def largest_condition(n: int, bins: int, levels: int, settings: PcSettings) -> int:
    """Return the number of conditions beyond which no test has the samples that it wants."""
    most = n - 2 if settings.max_conditions is None else min(settings.max_conditions, n - 2)
    size, free = 0, (levels - 1) ** 2 * levels
    while size < most and free * settings.samples_per_freedom <= bins and free <= 1 << 16:
        size, free = size + 1, free * levels
    return size


def shifted(series: Levels, lag: int) -> Levels:
    """Return series (n, bins) whose bin t holds what was in t + lag; 0 where that is outside."""
    if lag == 0:
        return series
    out = np.zeros_like(series)
    if abs(lag) >= series.shape[1]:
        return out
    if lag > 0:
        out[:, :-lag] = series[:, lag:]
    else:
        out[:, -lag:] = series[:, :lag]
    return out


def pair_values(series: Levels, other: Levels, levels: int) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """Return G² and adaptive degrees of freedom of each of `series` with each of `other`."""
    bins = series.shape[1]
    f = n_log_n(bins)
    ones = [(series == level).astype(np.float32) for level in range(levels)]
    twos = [(other == level).astype(np.float32) for level in range(levels)]
    of_one = [one.sum(1).astype(np.int64) for one in ones]
    of_two = [two.sum(1).astype(np.int64) for two in twos]
    total = np.full((len(series), len(other)), f[bins])
    for level in range(levels):
        total -= f[of_one[level]][:, None] + f[of_two[level]][None, :]
    for one in ones:
        for two in twos:
            total += f[(one @ two.T).astype(np.int64)]
    rows = np.sum([one > 0 for one in of_one], axis=0) - 1
    columns = np.sum([two > 0 for two in of_two], axis=0) - 1
    return np.maximum(2.0 * total, 0.0), np.maximum(np.outer(rows, columns), 0)


class NumpyEngine:
    """The reference."""

    name = "numpy"
    lags = True

    def skeleton(self, series: Levels, settings: PcSettings) -> Skeleton:
        """See `Engine`."""
        return _Search(series, settings).run()


class _Search:
    def __init__(self, series: Levels, settings: PcSettings) -> None:
        self.n, self.bins = series.shape
        self.levels = max(2, int(series.max(initial=0)) + 1)
        self.settings = settings
        self.shifts = {lag: shifted(series, lag) for lag in lags_of(settings.max_lag)}
        self.alive = np.zeros((self.n, self.n), bool)
        self.separators: dict[tuple[int, int], tuple[int, ...]] = {}

    def run(self) -> Skeleton:
        self._without_conditions()
        largest = largest_condition(self.n, self.bins, self.levels, self.settings)
        for size in range(1, largest + 1):
            if self.alive.sum(1, initial=0).max(initial=0) <= size:
                break
            self._level(size)
        pairs = np.argwhere(np.triu(self.alive)).astype(np.int32)
        a, b = pairs[:, 0], pairs[:, 1]
        return Skeleton(
            self.n, pairs, self.lag[a, b], self.strength[a, b], self.lead[a, b], self.separators
        )

    def _without_conditions(self) -> None:
        best = np.full((self.n, self.n), -np.inf)
        self.lag = np.zeros((self.n, self.n), np.int8)
        after, before = np.zeros((2, self.n, self.n))
        free = np.zeros((self.n, self.n), np.int64)
        fixed = (self.levels - 1) ** 2
        for lag, other in self.shifts.items():
            value, adaptive = pair_values(self.shifts[0], other, self.levels)
            better = value > best + LAG_MARGIN
            best[better], self.lag[better], free[better] = value[better], lag, adaptive[better]
            if lag > 0:
                after = np.maximum(after, value)
            elif lag < 0:
                before = np.maximum(before, value)
        if self.settings.freedom is Freedom.FIXED:
            free[:] = fixed
        critical = critical_values(test_alpha(self.settings), fixed)
        upper = np.triu(best >= critical[free], 1)
        self.alive = upper | upper.T
        self.strength = (best / np.maximum(free, 1)).round(STRENGTH_DIGITS)
        self.lead = after - before
        low = np.tril_indices(self.n, -1)
        self.lag[low] = -self.lag.T[low]
        self.strength[low] = self.strength.T[low]

    def _level(self, size: int) -> None:
        """Delete the edges that conditions of this size separate."""
        frozen = self.alive.copy() if self.settings.variant is Variant.STABLE else self.alive
        for i, j in np.argwhere(self.alive).tolist():  # ordered pairs: conditions of i's side
            if not self.alive[i, j]:
                continue
            for conditions in self._conditions(frozen, i, j, size):
                if self._independent(i, j, conditions):
                    self.alive[i, j] = self.alive[j, i] = False
                    self.separators[min(i, j), max(i, j)] = conditions
                    break

    def _conditions(
        self, adjacent: npt.NDArray[np.bool_], i: int, j: int, size: int
    ) -> Iterator[tuple[int, ...]]:
        neighbours = np.flatnonzero(adjacent[i])
        neighbours = neighbours[neighbours != j]
        limit = self.settings.max_degree
        if limit and len(neighbours) > limit:
            order = np.argsort(-self.strength[i, neighbours], kind="stable")
            neighbours = np.sort(neighbours[order[:limit]])
        return combinations(neighbours.tolist(), size)

    def _independent(self, i: int, j: int, conditions: tuple[int, ...]) -> bool:
        """Test j and the conditions where they stand in i's time."""
        test = g_square(
            self.shifts[0][i],
            self.shifts[int(self.lag[i, j])][j],
            [self.shifts[int(self.lag[i, c])][c] for c in conditions],
            self.levels,
        )
        free = test.freedom(self.settings.freedom)
        critical = critical_values(
            test_alpha(self.settings), (self.levels - 1) ** 2 * self.levels ** len(conditions)
        )
        return bool(test.value < critical[free])
