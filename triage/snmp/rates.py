"""Rates from readings of counters that the agent itself refreshes when it likes.

An agent answers from what it read last: seconds ago, at times it does not tell. Two readings
between two refreshes show no growth at all, and two readings around one refresh show the growth of
the agent's whole interval: neither is a rate. So readings are compared at *edges*, where a value
has just changed: between two edges as much time passed as between the two refreshes (give or take
the distance of two readings). Agents that count live show an edge with each reading.

Where there are no two edges, a reading of a minute or more before serves: by then an agent's
interval weighs little.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triage.snmp.values import Oid, Value, growth

MIN_BASE = 60.0
MAX_BASE = 900.0
"""Seconds: how old a remembered reading must be, and may be, to be compared with."""
RENEW_BASE = 300.0

MAX_REMEMBERED = 2000
"""Machines whose reading is remembered."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of some counters."""

    at: float
    """Monotonic clock."""
    values: Mapping[Oid, Value]


@dataclass(frozen=True, slots=True)
class Span:
    """Two readings that rates are taken between."""

    first: Sample
    last: Sample

    @property
    def seconds(self) -> float:
        """Between the two."""
        return self.last.at - self.first.at

    def growth(self, name: Oid) -> int | None:
        """By how much a counter grew; None when that is not known."""
        return growth(self.first.values.get(name), self.last.values.get(name))

    def per_second(self, name: Oid) -> float | None:
        """How much a counter grows in a second."""
        grown = self.growth(name)
        return None if grown is None else grown / self.seconds


def edges(samples: Sequence[Sample]) -> list[Sample]:
    """Samples in which something changed since the one before."""
    return [
        after
        for before, after in itertools.pairwise(samples)
        if any(
            before.values[name] != value
            for name, value in after.values.items()
            if name in before.values
        )
    ]


def span(samples: Sequence[Sample], base: Sample | None = None) -> Span | None:
    """Choose the readings to take rates between; None when no two are fit for it."""
    changed = edges(samples)
    if len(changed) >= 2 and changed[-1].at > changed[0].at:
        return Span(changed[0], changed[-1])
    if base is not None and samples and samples[-1].at - base.at >= MIN_BASE:
        return Span(base, samples[-1])
    return None


class Memory:
    """Remembers one reading of each machine, a bounded number of them."""

    def __init__(self) -> None:
        self._samples: OrderedDict[tuple[str, str], Sample] = OrderedDict()

    def base(self, key: tuple[str, str], now: float) -> Sample | None:
        """Give the remembered reading, None when there is none or it is too old."""
        sample = self._samples.get(key)
        return sample if sample is not None and now - sample.at <= MAX_BASE else None

    def keep(self, key: tuple[str, str], sample: Sample) -> None:
        """Remember a reading, unless a younger one than RENEW_BASE is there."""
        before = self.base(key, sample.at)
        if before is None or sample.at - before.at > RENEW_BASE:
            self._samples[key] = sample
            self._samples.move_to_end(key)
            if len(self._samples) > MAX_REMEMBERED:
                self._samples.popitem(last=False)
