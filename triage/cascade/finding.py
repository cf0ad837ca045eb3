"""What a layer's examination comes to: a possible cause, how strong it is, and what shows it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace

from triage.evidence import Anomaly, Cause, Confidence, Evidence, Proof, Step, Target

STRENGTH: dict[Confidence, float] = {
    Confidence.POSSIBLE: 0,
    Confidence.PROBABLE: 1,
    Confidence.CERTAIN: 2,
}
_WEAKER = {
    Confidence.CERTAIN: Confidence.PROBABLE,
    Confidence.PROBABLE: Confidence.POSSIBLE,
    Confidence.POSSIBLE: Confidence.POSSIBLE,
}

DEPTH = {step: number for number, step in enumerate(Step)}
"""The deeper a layer, the more it explains of those above it."""

CLOCK_SLACK = 2.0
"""Seconds by which the clocks of two machines may differ unnoticed."""

PROBE_PERIODS = 3
"""Probes of kubelets and passes of controllers that a symptom may come after its cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A possible cause that one layer shows."""

    step: Step
    cause: Cause
    reason: str
    strength: Confidence
    title: str
    """Short, beginning with the cause: "pod: OOMKilled"."""
    summary: str
    object: str = ""
    time: float | None = None
    """When it began, where that is known."""
    proofs: tuple[Proof, ...] = ()
    residual: bool = False
    """What is left to say when no layer below explains it: any probable finding goes before it."""

    def weaker(self) -> Finding:
        """Return it with one degree of strength less."""
        return replace(self, strength=_WEAKER[self.strength])


def weaker(confidence: Confidence) -> Confidence:
    """Return one degree less; POSSIBLE is the least."""
    return _WEAKER[confidence]


def best(findings: Iterable[Finding]) -> Finding | None:
    """Return the strongest one, the deepest of those; the first of equals.

    A residual one stands between the possible and the probable ones, whatever its strength.
    """

    def rank(one: Finding) -> tuple[float, int]:
        strength = STRENGTH[one.strength]
        return min(strength, 0.5) if one.residual else strength, DEPTH[one.step]

    return max(findings, key=rank, default=None)


@dataclass(frozen=True, slots=True)
class FaultTime:
    """When the fault can have begun, and when it was over.

    The fault began after the last good probe was sent and before the first bad one was given up
    (docs/windows.md): (last_good, time + probe_timeout], either end softened by the clocks' slack.
    """

    begin: float
    latest: float
    end: float | None

    def explains(self, time: float | None) -> bool:
        """Tell whether something that happened at `time` can have begun this outage or kept it."""
        if time is None:
            return False
        return (
            self.begin <= time <= (self.latest if self.end is None else max(self.latest, self.end))
        )

    def overlaps(self, start: float | None, end: float | None) -> bool:
        """Tell whether something that lasted from `start` to `end` (None: still) was in the outage.

        A cause may be older than what it causes: of three pods, the one that is gone is not asked
        each time.
        """
        last = self.latest if self.end is None else max(self.latest, self.end)
        return start is not None and start <= last and (end is None or end >= self.begin)

    def began_it(self, time: float | None) -> bool:
        """Tell whether something that happened at `time` can have begun this outage."""
        return time is not None and self.begin <= time <= self.latest

    def over_at(self, time: float) -> bool:
        """Tell whether the outage was over by `time`."""
        return self.end is not None and time > self.end + CLOCK_SLACK


def fault_time(anomaly: Anomaly, target: Target) -> FaultTime:
    """Return when the fault of an anomaly can have begun (the module's facts say why)."""
    interval = target.scrape_interval
    before = anomaly.last_good if anomaly.last_good is not None else anomaly.time - 2 * interval
    # A gap in the samples is no reason to look for causes hours ago
    begin = max(before, anomaly.time - 4 * interval - target.probe_timeout) - CLOCK_SLACK
    latest = anomaly.time + target.probe_timeout + CLOCK_SLACK
    return FaultTime(min(begin, anomaly.time - CLOCK_SLACK), latest, anomaly.ended)


def time_of(evidence: Evidence) -> FaultTime:
    """Return `fault_time` of all evidence."""
    return fault_time(evidence.anomaly, evidence.target)


def clock(time: float | None) -> str:
    """Return a time of day, "12:34:56.789Z", as summaries have it; "?" when it is not known."""
    if time is None:
        return "?"
    try:
        moment = dt.datetime.fromtimestamp(time, dt.UTC)
    except (OverflowError, OSError, ValueError):
        return "?"
    return moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def seconds(span: float) -> str:
    """Return a span as people say it: "0.8 s", "45 s", "3 min 20 s", "2 h 5 min", "3 days"."""
    if span < 10:
        return f"{max(span, 0):.1f} s"
    whole = round(span)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    if whole < 48 * 3600:
        return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 // 60 else "")
    return f"{whole // 86400} days"
