"""Which windows stand out: counts against the other windows of the same area.

Theory of operation
    Counts x of rare things have a variance that grows with their mean, and an error rate of the
    graph that grows with the number of series. So

    1. y = 2 sqrt(x + 3/8) (Anscombe 1948): its standard deviation is 1 for a Poisson count.
    2. What is innocent is taken off: the share of y that rises with the exposure (the number of
       series that are there on most days, which no outage makes; a Theil-Sen line, never falling),
       and the median of the window's slot (hour of the day, weekend), where a slot has enough
       windows and lies above the rest.
    3. z = (y - median) / scale, the scale being the largest of 1 (Poisson), MAD * 1.4826, and the
       upper quantile's (q90 - median) / 1.2816: outages are few, so neither hears of them.
    4. The threshold is that of the largest of N: all windows of all areas together have alpha false
       alarms if z is normal, -Phi^-1(alpha / N). Where the 95 % quantile of all z lies above the
       normal's, the threshold grows with it, up to one and a half times: beyond that the many are
       outages and changes themselves, and a threshold that follows them finds none. With few
       windows in an area the median itself is unsure, so the threshold grows by 1 + 4 / n.
    5. Back to counts: the score is x / (the count at the threshold), at least `floor`.

    Crowds (`crowd_scores`) are small whole numbers: how many unusual lines of trouble come close
    together. They are negative binomial of the same mean and variance (Poisson when the variance is
    not the larger one), per area or, where an area has few windows, over all. Windows in which a
    host was away are left out, and those above the threshold, until it stays (sigma clipping): the
    unusual must not say what is usual. The threshold is where so many windows have alpha such
    crowds by chance.

Rules
- A score of 1 is at the threshold; scores are comparable between areas.
- An area with a single window has no peers but the other areas' windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, gammainc, ndtri

from triage.syslog.detect.series import Flags, Floats, Ints

TAIL, HEAVIEST = 0.95, 1.5
SLOT_WINDOWS = 8
"""A slot with fewer windows has no median of its own."""
AREA_WINDOWS = 100
"""Fewer windows of an area give no tail of their own."""
CORE, ROUNDS = 0.9, 5
LINE_WINDOWS = 20
"""Fewer windows give no line through the exposure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A count for each window and area, flat, and what explains it."""

    value: Floats
    area: Ints
    exposure: Floats
    """Number of usual series."""
    slot: Ints
    """Of the day and the week; equal numbers are compared."""


def scores_of(counted: Counted, *, floor: float, alpha: float) -> Floats:
    """Return each window's score; 1 is at the threshold."""
    if not counted.value.size:
        return np.zeros(0)
    y = _stable(counted.value)
    centre, scale = np.zeros_like(y), np.ones_like(y)
    inflate = np.ones_like(y)
    for area in np.unique(counted.area):
        mine = counted.area == area
        centre[mine] = _usual(y[mine], counted.exposure[mine], counted.slot[mine])
        scale[mine] = _scale(y[mine] - centre[mine])
        inflate[mine] = 1 + 4 / np.count_nonzero(mine)
    z = (y - centre) / scale
    line = centre + scale * threshold(z, alpha) * inflate
    at = np.maximum(line, 0) ** 2 / 4 - 0.375
    return np.asarray(counted.value / np.maximum(at, floor), dtype=np.float64)


def crowd_scores(value: Ints, area: Ints, away: Flags, *, floor: int, alpha: float) -> Floats:
    """Return each window's score of its largest crowd; 1 is at the threshold.

    `away` marks windows that are known to be unusual.
    """
    result = np.zeros(value.size, dtype=np.float64)
    if not value.size:
        return result
    overall = _clipped(value, away, value.size, alpha)
    for number in np.unique(area):
        mine = area == number
        own = overall
        if np.count_nonzero(mine) >= AREA_WINDOWS:
            own = _clipped(value[mine], away[mine], value.size, alpha)
        result[mine] = value[mine] / max(floor, own)
    return result


def _clipped(value: Ints, away: Flags, windows: int, alpha: float) -> int:
    """The threshold of the usual windows: those below it, not known to be unusual."""
    usual = value[~away] if 2 * np.count_nonzero(~away) >= away.size else value
    found = crowd_threshold(usual[usual <= np.quantile(usual, CORE)], windows, alpha)
    for _ in range(ROUNDS):
        before, found = found, crowd_threshold(usual[usual < found], windows, alpha)
        if found == before:
            break
    return found


def crowd_threshold(value: Ints, windows: int, alpha: float) -> int:
    """Return the crowd that `windows` windows with such counts have `alpha` times by chance."""
    if not value.size:
        return 1
    mean, variance = float(value.mean()), float(value.var())
    level = min(0.5, alpha / windows)
    crowd = 1
    while mean > 0 and _at_least(crowd, mean, variance) > level:
        crowd += 1
    return crowd


def _at_least(count: int, mean: float, variance: float) -> float:
    """The probability of so many or more."""
    if variance <= mean:
        return float(gammainc(count, mean))
    return float(betainc(count, mean**2 / (variance - mean), 1 - mean / variance))


def threshold(z: Floats, alpha: float) -> float:
    """Return the z that `alpha` of the largest of so many windows exceed by chance."""
    n = max(z.size, 1)
    normal = float(-ndtri(min(0.5, alpha / n)))
    if n < LINE_WINDOWS:
        return normal
    heavier = float(np.quantile(z, TAIL)) / float(ndtri(TAIL))
    return normal * min(HEAVIEST, max(1.0, heavier))


def _stable(x: Floats) -> Floats:
    return np.asarray(2 * np.sqrt(x + 0.375), dtype=np.float64)


def _usual(y: Floats, exposure: Floats, slot: Ints) -> Floats:
    """The innocent part of y: level, exposure, time of day and of week."""
    usual = np.full_like(y, float(np.median(y)))
    root = np.sqrt(exposure)
    if y.size >= LINE_WINDOWS and np.ptp(root) > 0:
        # A line through at most 400 windows, evenly chosen: the method is quadratic.
        pick = np.linspace(0, y.size - 1, min(y.size, 400)).astype(int)
        slope = max(0.0, _slope(root[pick], y[pick]))
        usual = usual + slope * (root - float(np.median(root)))
    rest = y - usual
    for number in np.unique(slot):
        mine = slot == number
        if np.count_nonzero(mine) >= SLOT_WINDOWS:
            usual[mine] += max(0.0, float(np.median(rest[mine])))
    return usual


def _slope(x: Floats, y: Floats) -> float:
    """The median slope between pairs of points (Theil 1950, Sen 1968)."""
    first, second = np.triu_indices(x.size, 1)
    apart = x[second] - x[first]
    some = apart != 0
    return float(np.median((y[second] - y[first])[some] / apart[some]))


def _scale(rest: Floats) -> float:
    if rest.size < 3:
        return 1.0
    mad = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    upper = float(np.quantile(rest, 0.9) - np.median(rest)) / 1.2816
    return max(1.0, mad, upper)
