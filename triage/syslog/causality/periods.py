"""Series that a clock drives, and what is left of them without.

Two jobs that cron starts at the same minute have the same series; no test can tell that from cause
and effect, and conditioning on the clock is not possible, for it logs nothing. So what comes at a
fixed phase of a fixed period goes before the graph is learnt.

How a period is found
    Fold the series at the period; the phase with most events (and the bins within the jitter) has
    to be hit in most cycles, far oftener than the series' other events would by chance, and oftener
    than any phase of a series without memory would be. This stands noise, gaps and a second period.
    The shortest period that passes counts.
    A timer that starts anew after each run drifts, and has no phase: then most of the intervals
    between events have to be alike, more than those of events without memory would be.
    Either way the events have to span most of the time looked at: retries every minute during one
    hour of trouble are no period but a burst.

What is removed
    The events at the phase (of a drifting one: those an interval apart), unless they are many more
    than usual, or belong to a burst that fills the bins around. The rest of the series stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from triage.syslog.causality.settings import PeriodSettings

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CHANCE = 1e-5
"""Below this probability, a series without memory does not look as periodic as one does: with so
many cycles hit at the best of all phases, or with so many like intervals."""
SLOTS = 1 << 22
"""Phases of all series folded at once: bounds the memory."""
FULL = 0.5
"""Share of the bins around that are active in a burst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When a series is to be expected."""

    seconds: float
    phase: float | None
    """Seconds since 1970, modulo the period, of the middle of its bin; none: it drifts."""
    usual: float
    """Median of the counts in the bins at the phase."""


def find_periods(
    series: Ints,
    bins: Ints,
    counts: Ints,
    *,
    n: int,
    length: int,
    start: float = 0.0,
    bin_seconds: float = 60.0,
    settings: PeriodSettings | None = None,
) -> dict[int, Period]:
    """Return the periodic ones of n series, by number, from all their bins with events.

    `series`, `bins` and `counts` have one entry for each such bin, in any order, none twice; bins
    go from 0 to `length` - 1, the first begins at `start` (seconds since 1970).
    """
    settings = settings or PeriodSettings()
    order = np.lexsort((bins, series))
    counts = counts[order]
    fold = _Fold(series[order], bins[order], n, length, settings)
    found: dict[int, Period] = {}
    for at, seconds, centre in fold.search(bin_seconds):
        events = fold.events(at)
        if centre is None:
            hit, phase = np.ones(int(fold.number[at]), np.bool_), None
        else:
            wide = round(seconds / bin_seconds)
            hit = _near(fold.bins[events], centre, wide, _jitter(wide, settings))
            phase = float((start + (centre + 0.5) * bin_seconds) % seconds)
        usual = float(np.median(counts[events][hit]))
        found[at] = Period(seconds=seconds, phase=phase, usual=usual)
    return found


def _jitter(period: int, settings: PeriodSettings) -> int:
    return settings.jitter if period > 2 + 2 * settings.jitter else 0


def _near(bins: Ints, centre: int, period: int, jitter: int) -> Bools:
    near: Bools = (bins - centre + jitter) % period <= 2 * jitter
    return near


class _Fold:
    """Events of all series, sorted by series and bin."""

    def __init__(
        self, series: Ints, bins: Ints, n: int, length: int, settings: PeriodSettings
    ) -> None:
        self.series, self.bins, self.n, self.length = series, bins, n, length
        self.settings = settings
        self.starts = np.searchsorted(series, np.arange(n + 1))
        self.number = np.diff(self.starts)
        last = np.maximum(self.starts[1:] - 1, 0)
        first = np.minimum(self.starts[:-1], max(len(bins) - 1, 0))
        spans = bins[last] - bins[first] + 1 if len(bins) else np.zeros(n, np.int64)
        enough = (self.number >= settings.cycles) & (self.number > 1)
        self.open = enough & (spans >= settings.span * length)
        """Series that may be periodic and are not known to be."""

    def events(self, at: int) -> slice:
        """Where the events of a series stand."""
        return slice(int(self.starts[at]), int(self.starts[at + 1]))

    def search(self, bin_seconds: float) -> list[tuple[int, float, int | None]]:
        """Return number, period in seconds and phase in bins of each periodic series."""
        found: list[tuple[int, float, int | None]] = []
        for seconds in sorted(self.settings.periods):
            wide = round(seconds / bin_seconds)
            if wide >= 2 and abs(wide * bin_seconds - seconds) < 1e-6 * seconds:
                found += self._try(np.full(self.n, wide), bin_seconds)
        intervals = self._intervals()
        found += self._try(intervals, bin_seconds)
        for at in np.flatnonzero(self._regular(intervals)).tolist():
            found.append((at, float(intervals[at] * bin_seconds), None))
        return sorted(found, key=lambda one: one[0])

    def _try(self, periods: Ints, bin_seconds: float) -> list[tuple[int, float, int | None]]:
        """Fold each series at its period; those that pass are open no more."""
        cycles = self.length // np.maximum(periods, 1)
        fits = (periods >= 2) & (cycles >= self.settings.cycles)
        fits &= self.number >= self.settings.coverage * cycles
        numbers = np.flatnonzero(self.open & fits)
        found: list[tuple[int, float, int | None]] = []
        while len(numbers):
            take = max(1, int(np.searchsorted(np.cumsum(periods[numbers]), SLOTS, "right")))
            now, numbers = numbers[:take], numbers[take:]
            passed, centres = self._fold(now, periods[now])
            self.open[now[passed]] = False
            found += [
                (int(at), float(periods[at] * bin_seconds), int(centre))
                for at, centre in zip(now[passed], centres[passed], strict=True)
            ]
        return found

    def _fold(self, numbers: Ints, periods: Ints) -> tuple[Bools, Ints]:
        """Return which of the series pass, and the phase of each."""
        place = np.full(self.n, -1)
        place[numbers] = np.arange(len(numbers))
        mine = place[self.series]
        bins, mine = self.bins[mine >= 0], mine[mine >= 0]
        jitter = np.where(periods > 2 + 2 * self.settings.jitter, self.settings.jitter, 0)
        centres = _best_phase(mine, bins, periods, jitter)
        since = bins - centres[mine] + jitter[mine]
        hit = since % periods[mine] <= 2 * jitter[mine]
        cycle = since // periods[mine]
        new = np.ones(len(mine), np.bool_)
        at, of, which = np.flatnonzero(hit), mine[hit], cycle[hit]
        new[at[1:]] = (of[1:] != of[:-1]) | (which[1:] != which[:-1])
        cycles = (self.length - 1 - centres) // periods + 1
        hits = np.minimum(np.bincount(mine[hit & new], minlength=len(numbers)), cycles)
        others = np.bincount(mine[~hit], minlength=len(numbers))
        bins_off = np.maximum(self.length - cycles * (2 * jitter + 1), 1)
        by_chance = 1 - (1 - np.minimum(others / bins_off, 1)) ** (2 * jitter + 1)
        coverage = hits / cycles
        passed = (cycles >= self.settings.cycles) & (coverage >= self.settings.coverage)
        passed &= coverage - by_chance >= self.settings.contrast
        share = np.minimum(self.number[numbers] / self.length, 1)
        luck = periods * bdtrc(hits - 1, cycles, 1 - (1 - share) ** (2 * jitter + 1))
        return passed & (luck < CHANCE), centres

    def _intervals(self) -> Ints:
        """Return the median interval of each series; 0 where there is none."""
        same = self.series[1:] == self.series[:-1]
        of, gaps = self.series[1:][same], np.diff(self.bins)[same]
        order = np.lexsort((gaps, of))
        starts = np.searchsorted(of[order], np.arange(self.n + 1))
        number = np.diff(starts)
        middle = np.minimum(starts[:-1] + number // 2, max(len(gaps) - 1, 0))
        medians = gaps[order][middle] if len(gaps) else np.zeros(self.n, np.int64)
        return np.where(number > 0, medians, 0)

    def _regular(self, intervals: Ints) -> Bools:
        """Whether most intervals of each series are alike, and not by chance."""
        same = self.series[1:] == self.series[:-1]
        of, gaps = self.series[1:][same], np.diff(self.bins)[same]
        jitter = np.where(intervals > 2 + 2 * self.settings.jitter, self.settings.jitter, 0)
        alike = np.abs(gaps - intervals[of]) <= jitter[of]
        number = np.bincount(of, minlength=self.n)
        hits = np.bincount(of[alike], minlength=self.n)
        stay = 1 - np.minimum(self.number / self.length, 1)  # probability of a bin without event
        low = np.maximum(intervals - jitter - 1, 0)
        chance = np.clip(stay**low - stay ** (intervals + jitter), 0, 1)
        rare = bdtrc(hits - 1, np.maximum(number, 1), chance) < CHANCE
        enough = hits >= np.maximum(self.settings.coverage * number, self.settings.cycles - 1)
        regular: Bools = self.open & (intervals >= 2) & enough & rare
        return regular


def _best_phase(mine: Ints, bins: Ints, periods: Ints, jitter: Ints) -> Ints:
    """Return the phase of each series with most events within the jitter, then most at it."""
    offsets = np.concatenate([[0], np.cumsum(periods)])
    slots = int(offsets[-1])
    here = np.bincount(offsets[mine] + bins % periods[mine], minlength=slots)
    owner = np.repeat(np.arange(len(periods)), periods)
    phase = np.arange(slots) - offsets[owner]
    around = here.copy()
    for away in range(1, int(jitter.max(initial=0)) + 1):
        for sign in (-1, 1):
            neighbour = offsets[owner] + (phase + sign * away) % periods[owner]
            around += np.where(jitter[owner] >= away, here[neighbour], 0)
    weight = around * (here.max(initial=0) + 1) + here
    best = np.maximum.reduceat(weight, offsets[:-1])
    first = np.flatnonzero(weight == best[owner])
    centres = np.zeros(len(periods), np.int64)
    centres[owner[first][::-1]] = phase[first][::-1]
    return centres


def without_period(
    counts: npt.NDArray[np.integer],
    period: Period,
    *,
    start: float,
    bin_seconds: float,
    settings: PeriodSettings,
) -> Bools:
    """Return the bins of a series (bins,) with an event that the period does not explain."""
    active = counts > 0
    usual = counts <= max(period.usual, 1.0) * settings.burst
    wide = max(2, round(period.seconds / bin_seconds))
    jitter = _jitter(wide, settings)
    if period.phase is None:
        return active & ~(usual & _spaced(active, wide, jitter))
    # The middle of each bin against the phase, in bins and rounded: periods may be no multiple
    middle = start + (np.arange(len(counts)) + 0.5) * bin_seconds - period.phase
    away = (middle + period.seconds / 2) % period.seconds - period.seconds / 2
    hit = np.abs(away) < (jitter + 0.5) * bin_seconds + 1e-6
    off = active & ~hit
    width = min(wide, len(counts))
    busy = np.convolve(off, np.ones(width), "same")
    room = np.convolve(~hit, np.ones(width), "same")
    left: Bools = active & ~(hit & usual & (busy < FULL * np.maximum(room, 1)))
    return left


def _spaced(active: Bools, period: int, jitter: int) -> Bools:
    """Whether the event before or after an event is a period away."""
    at = np.flatnonzero(active)
    spaced = np.zeros(len(active), np.bool_)
    like = np.abs(np.diff(at) - period) <= jitter
    spaced[at[1:][like]] = True
    spaced[at[:-1][like]] = True
    return spaced
