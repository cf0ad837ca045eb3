"""When a template had far more lines than is usual for it.

Theory of operation
    Counts in sliding windows of several lengths, from a minute to a block (a day, less for short
    logs). What is usual for a length is the median, over the blocks in which the template has
    lines at all, of a block's busiest window: forty lines of a nightly job are usual every night,
    and an attack that lasts a week of eight does not become the usual. A window is flagged when
    it has `burst_factor` times the usual, and more than chance adds to it.
    Flagged windows that overlap are one burst. Where in them it begins and ends is the segment of
    largest score, each line counting 1 and each second the rate half way (geometrically) between
    the usual and the burst's: the most likely single visit to the upper state of Kleinberg's
    two-state automaton ("Bursty and Hierarchical Structure in Streams", 2002).

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from triage.syslog.intervals.model import IntervalSettings

Ints = NDArray[np.int64]
Counts = NDArray[np.int32]

_BLOCKS = (1440, 360, 60, 10)
"""Minutes: the longest of which the log holds `_LEAST_BLOCKS` is the block."""
_LEAST_BLOCKS = 8
_LENGTHS = (1, 10, 60, 360, 1440)
"""Minutes."""
_SPREADS = 5.0
"""Standard deviations of a Poisson count that chance is allowed to add to the usual."""
_FEW_BLOCKS = 3
"""A template that has lines in fewer blocks has no usual."""

Found = tuple[int, int, int, float, float]
"""Indices of the first and last line, occurrences, usual, factor."""


def bursts_of(
    times: Ints, counts: Counts, start: int, end: int, settings: IntervalSettings
) -> tuple[Found, ...]:
    """Return a template's bursts, the strongest first, at most `settings.bursts`.

    `times` are milliseconds, sorted, of all hosts; `counts` their occurrences; `start` and `end`
    are those of the whole log.
    """
    if counts.sum() < settings.burst_lines:
        return ()
    minutes = times // 60_000
    first = np.concatenate(([0], np.flatnonzero(minutes[1:] != minutes[:-1]) + 1))
    minutes = minutes[first]
    lines = np.add.reduceat(counts, first, dtype=np.int64)
    block = _block((end - start) // 60_000 + 1)
    flagged: list[tuple[int, int, float, float]] = []
    for length in _LENGTHS:
        if length <= block:
            flagged += _flagged(minutes, lines, length, block, settings)
    found = [
        _located(times, counts, minutes, lines, first, begin, stop, usual, factor)
        for begin, stop, usual, factor in _joined(flagged)
    ]
    large = [one for one in found if one[2] >= settings.burst_lines]
    return tuple(sorted(large, key=lambda one: (-one[4], one[0]))[: settings.bursts])


def _block(minutes: int) -> int:
    return next((one for one in _BLOCKS if minutes >= one * _LEAST_BLOCKS), _BLOCKS[-1])


def _flagged(
    minutes: Ints, lines: Ints, length: int, block: int, settings: IntervalSettings
) -> Iterator[tuple[int, int, float, float]]:
    """Yield (first minute, minute after the last, usual a minute, factor) of unusual windows."""
    total = np.concatenate(([0], np.cumsum(lines)))
    here = total[np.searchsorted(minutes, minutes + length)] - total[:-1]
    blocks = np.flatnonzero(np.diff(minutes // block, prepend=-1))
    busiest = np.maximum.reduceat(here, blocks)
    usual = float(np.median(busiest)) if len(blocks) >= _FEW_BLOCKS else 0.0
    least = max(
        settings.burst_lines,
        settings.burst_factor * usual,
        usual + _SPREADS * np.sqrt(usual + 1),
    )
    over = np.flatnonzero(here >= least)
    if not len(over):
        return
    begins = minutes[over]
    # One flagged run: no window of it begins after the one before has ended.
    parts = np.flatnonzero(np.diff(begins, prepend=begins[0] - length - 1) > length)
    peaks = np.maximum.reduceat(here[over], parts)
    for part, peak in zip(range(len(parts)), peaks, strict=True):
        last = parts[part + 1] - 1 if part + 1 < len(parts) else len(begins) - 1
        yield (
            int(begins[parts[part]]),
            int(begins[last]) + length,
            usual / length,
            float(peak) / max(usual, 1.0),
        )


def _joined(
    flagged: list[tuple[int, int, float, float]],
) -> list[tuple[int, int, float, float]]:
    """Return runs of all lengths, those that overlap as one, told by the one that shows it most."""
    joined: list[tuple[int, int, float, float]] = []
    for begin, stop, usual, factor in sorted(flagged):
        if joined and begin < joined[-1][1]:
            before = joined[-1]
            told = (usual, factor) if factor > before[3] else (before[2], before[3])
            joined[-1] = (before[0], max(stop, before[1]), *told)
        else:
            joined.append((begin, stop, usual, factor))
    return joined


def _located(
    times: Ints,
    counts: Counts,
    minutes: Ints,
    lines: Ints,
    first: Ints,
    begin: int,
    stop: int,
    usual: float,
    factor: float,
) -> Found:
    low, high = np.searchsorted(minutes, [begin, stop])
    here, many = minutes[low:high], lines[low:high].astype(np.float64)
    highest = float(many.sum()) / max(1, int(here[-1] - here[0] + 1))
    rate = np.sqrt(max(usual, highest / 1e4) * highest)
    if rate >= highest:
        rate = highest / 2
    gained = np.cumsum(many) - rate * (here - here[0] + 1)
    before = gained - many + rate  # the score up to the minute, less the minute itself
    lowest = np.minimum.accumulate(before)
    last = int(np.argmax(gained - lowest))
    start = int(np.argmin(before[: last + 1]))
    one = int(first[low + start])
    end = int(first[low + last + 1]) if low + last + 1 < len(first) else len(times)
    length = float(here[last] - here[start] + 1)
    return one, end - 1, int(counts[one:end].sum()), usual * length, factor
