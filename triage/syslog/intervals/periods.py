"""Whether a template's lines come again after a fixed time.

Theory of operation
    A line is followed on time when the same host has another one after the period, give or take a
    tolerance. The share of lines that are, less the share that has one at lags that are no period
    (0.62, 0.73, 1.27 and 1.38 of it), is the autocorrelation of the event times with its trend
    taken off: local, so that a timer may drift; of event times, so that any period can be asked
    for; and near 0 for what comes all the time, at random, in bursts or with the time of day.
    A missing line costs its own share, a doubled one nothing.
    Whole multiples of a period are as strong as it is: the shortest of the strong ones is taken.

Rules
- Each host is a series of its own: thirty hosts that are asked every five minutes are no chaos.
- Lines are asked from all over the time, not by their number: a burst of a hundred thousand lines
  has no more votes than the day it is in.
- Candidates are what operators configure (1 min to 1 week) and what is frequent among the series'
  own intervals, of a line to the first, second and third one after it.

Pure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triage.syslog.intervals.model import IntervalSettings, Period

Times = NDArray[np.int64]
Floats = NDArray[np.float64]

_CONFIGURED = (
    *(60, 120, 180, 300, 600, 900, 1200, 1800),
    *(3600, 7200, 10800, 14400, 21600, 28800, 43200, 86400, 604800),
)
"""Seconds."""
_CONTROLS = (0.62, 0.73, 1.27, 1.38)
_TIGHT = 0.01
"""Of a period, to either side."""
_LOOSE = 0.05
"""The same of timers that wait for a random while first: "about daily"."""
_LEAST_TOLERANCE = 2.0
"""Seconds: both lines' stamps are cut to the second, and a timer's process takes a moment."""
_SHORTEST_OF_STRONG = 0.85
"""A candidate that has so much of the best one's strength, and is shorter, is the period."""
_OWN_CANDIDATES = 5
_LEAST_CONCENTRATION = 0.9
"""Length of the mean phase vector from which a period is bound to the clock."""
_MONDAY = 3 * 86400
"""1970-01-01 was a Thursday."""
_WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def guard_of(settings: IntervalSettings) -> int:
    """Return the milliseconds that have to lie between two hosts' series for `period_of`."""
    return int(settings.longest_period * 1000 * 3)


def period_of(series: Times, hosts: NDArray[np.int64], settings: IntervalSettings) -> Period | None:
    """Return the period of a template, or None.

    `series` are its lines' times in milliseconds, sorted, each host's moved by a whole multiple of
    a week so far that `guard_of` lies between two hosts; `hosts` tells which host each is of.
    """
    if len(series) < settings.cycles:
        return None
    probes = _probes(series, hosts, settings)
    candidates = _candidates(series, probes, settings)
    if not len(candidates):
        return None
    tight, loose = (
        _strengths(series, probes, hosts, candidates, tolerance, settings)
        for tolerance in (_TIGHT, _LOOSE)
    )
    strengths = np.maximum(tight, loose)
    if strengths.max() < settings.strength:
        return None
    good = strengths >= max(settings.strength, strengths.max() * _SHORTEST_OF_STRONG)
    best = int(np.flatnonzero(good)[0])
    exact = bool(tight[best] >= loose[best] * _SHORTEST_OF_STRONG)
    return _described(series, probes, float(candidates[best]), float(strengths[best]), exact=exact)


def _probes(
    series: Times, hosts: NDArray[np.int64], settings: IntervalSettings
) -> NDArray[np.int64]:
    """Return indices of lines from all over the time of each host: the first of each slot."""
    if len(series) <= settings.probes:
        return np.arange(len(series))
    many = int(hosts[-1]) + 1
    slots = max(16, settings.probes // many)
    starts = np.flatnonzero(np.diff(hosts, prepend=-1))
    first = series[starts]
    longest = int((series[np.append(starts[1:], len(series)) - 1] - first).max()) + 1
    begun = np.repeat(first, np.diff(np.append(starts, len(series))))
    slot = (series - begun) * slots // longest + hosts * slots
    return np.flatnonzero(np.diff(slot, prepend=-1))


def _candidates(series: Times, probes: NDArray[np.int64], settings: IntervalSettings) -> Floats:
    """Return periods to try in milliseconds, rising."""
    shortest, longest = settings.shortest_period * 1000, settings.longest_period * 1000
    found = [
        series[probes[probes < len(series) - lag] + lag]
        - series[probes[probes < len(series) - lag]]
        for lag in (1, 2, 3)
    ]
    own = np.concatenate(found).astype(np.float64)
    own = own[(own >= shortest) & (own <= longest)]
    modes: list[float] = []
    if len(own):
        bins, counts = np.unique(np.floor(np.log(own) / 0.03).astype(np.int64), return_counts=True)
        top = bins[np.argsort(-counts, kind="stable")[:_OWN_CANDIDATES]]
        which = np.floor(np.log(own) / 0.03).astype(np.int64)
        modes = [float(np.median(own[which == one])) for one in top]
    configured = [one * 1000.0 for one in _CONFIGURED if shortest <= one * 1000.0 <= longest]
    new = [one for one in modes if all(abs(one - c) > 0.004 * c for c in configured)]
    return np.array(sorted(configured + new), np.float64)


def _strengths(
    series: Times,
    probes: NDArray[np.int64],
    hosts: NDArray[np.int64],
    periods: Floats,
    tolerance: float,
    settings: IntervalSettings,
) -> Floats:
    """Return each period's strength; 0 where it was not seen often enough."""
    asked = series[probes]
    ends = _ends(series, hosts)[hosts[probes]]
    within = np.maximum(_LEAST_TOLERANCE * 1000, tolerance * periods)[:, None]
    known = asked[None, :] + 1.4 * periods[:, None] <= ends[None, :]
    many = np.maximum(known.sum(axis=1), 1)

    def share(which: NDArray[np.int64], factor: float) -> Floats:
        lag = periods[which, None] * factor
        found = _followed(series, asked, lag, within[which])
        shares: Floats = (found & known[which]).sum(axis=1) / many[which]
        return shares

    # What is cut off early could not become strong: no share is above 1, no chance below 0.
    strengths = np.zeros(len(periods))
    left = np.arange(len(periods))
    chance, hits = np.zeros(len(periods)), np.ones(len(periods))
    for factor in (_CONTROLS[0], 1.0, *_CONTROLS[1:]):
        if factor == 1.0:
            hits = share(left, factor)
        else:
            chance = chance + share(left, factor) / len(_CONTROLS)
        good = hits - chance >= settings.strength
        left, hits, chance = left[good], hits[good], chance[good]
    strengths[left] = hits - chance
    for index in np.flatnonzero(strengths >= settings.strength):
        followed = _followed(series, asked, periods[[index], None], within[[index]])[0]
        cycles = np.unique(np.floor(asked[followed & known[index]] / periods[index]))
        if len(cycles) < settings.cycles - 1:
            strengths[index] = 0.0
    return np.clip(strengths, 0.0, 1.0)


def _ends(series: Times, hosts: NDArray[np.int64]) -> Times:
    """Return the time of each host's last line: after it nothing can be asked for."""
    last = np.flatnonzero(np.diff(hosts, append=-1))
    ends = np.zeros(int(hosts[-1]) + 1, np.int64)
    ends[hosts[last]] = series[last]
    return ends


def _followed(series: Times, asked: Times, lag: Floats, within: Floats) -> NDArray[np.bool_]:
    """Return (periods, probes): whether a line is in asked + lag, give or take `within`."""
    wanted = asked[None, :] + lag
    # In whole milliseconds, as the series is: else all of it would be converted at each call.
    first = np.ceil(wanted - within).astype(np.int64)
    found = series[np.minimum(np.searchsorted(series, first.ravel()), len(series) - 1)]
    found = found.reshape(wanted.shape)
    # Behind the last line there is none: the one that was taken instead is before `first`.
    hit: NDArray[np.bool_] = (found >= first) & (found <= wanted + within)
    return hit


def _described(
    series: Times, probes: NDArray[np.int64], period: float, strength: float, *, exact: bool
) -> Period:
    tolerance = _TIGHT if exact else _LOOSE
    asked = series[probes]
    wanted = asked + period
    right = np.clip(np.searchsorted(series, wanted), 1, len(series) - 1)
    ahead, behind = series[right] - wanted, series[right - 1] - wanted
    off = np.where(np.abs(ahead) < np.abs(behind), ahead, behind)
    on_time = np.abs(off) <= max(_LEAST_TOLERANCE * 1000, tolerance * period)
    off = off[on_time]
    middle = float(np.median(off))
    seconds = _configured((period + middle) / 1000)
    jitter = float(np.median(np.abs(off - middle))) / 1000
    phase = _phase(asked[on_time] / 1000, seconds)
    text = _text(seconds, phase)
    if not exact:
        text = "about " + text
    return Period(
        seconds=round(seconds, 3),
        strength=round(strength, 4),
        jitter=round(jitter, 3),
        phase=None if phase is None else round(phase, 1),
        text=text,
    )


def _configured(seconds: float) -> float:
    """Return what was configured, where a measured period is that but for a part in 200."""
    for one in _CONFIGURED:
        if abs(seconds - one) <= max(0.5, one / 200):
            return float(one)
    return seconds


def _phase(times: Floats, period: float) -> float | None:
    if period not in _CONFIGURED or period < 600:
        return None
    moved = times + (_MONDAY if period == 604800 else 0)
    vector = np.exp(2j * np.pi * (moved % period) / period).mean()
    if abs(vector) < _LEAST_CONCENTRATION:
        return None
    mean = float(np.angle(vector) / (2 * np.pi) * period)
    # The few lines that are on time by chance move the mean, and not the median around it.
    off = (moved - mean + period / 2) % period - period / 2
    return (mean + float(np.median(off))) % period


def _text(seconds: float, phase: float | None) -> str:
    if phase is not None:
        clock = f"{int(phase % 86400) // 3600:02d}:{int(phase % 3600) // 60:02d} UTC"
        if seconds == 604800:
            return f"{_WEEKDAYS[int(phase // 86400) % 7]} at {clock}"
        if seconds == 86400:
            return f"daily at {clock}"
        if seconds == 3600:
            return f"hourly at :{int(phase) // 60:02d}"
    names = {86400.0: "daily", 604800.0: "weekly", 3600.0: "hourly"}
    return names.get(seconds) or f"every {_length(seconds)}"


def _length(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size * 0.999:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"
