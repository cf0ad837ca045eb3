"""What a layer's examination comes to: a possible cause, how strong it is, and what shows it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from triage.evidence import Anomaly, Cause, Confidence, Evidence, Proof, Step, Target, Trigger
from triage.windows import bad, first_bad, last_good

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

LINGER = 120.0
"""Seconds for which requests may still go to what has failed: until probes failed three times, a
node's silence was noticed, and the endpoints were told."""

PROBES_AWAITED = 3
"""Scrape intervals after the newest bad sample for which an outage counts as not over."""

ASKED: dict[Trigger, tuple[float, float]] = {
    Trigger.MANUAL: (60.0, 60.0),
    Trigger.ALERTMANAGER: (300.0, 0.0),
}
"""Seconds by which the fault may have been before and after the time that a question names, where
no sample tells: people read clocks to the minute, and rules wait (`for`)."""


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
    """A symptom: what is left to say when nothing explains it. Any probable finding goes before."""
    late: bool = False
    """A sign of lateness, which a slow machine explains."""

    def weaker(self) -> Finding:
        """Return it with one degree of strength less."""
        return replace(self, strength=_WEAKER[self.strength])

    def at_most(self, limit: Confidence) -> Finding:
        """Return it with no more strength than `limit`."""
        return replace(self, strength=at_most(self.strength, limit))

    def at_least(self, limit: Confidence) -> Finding:
        """Return it with no less strength than `limit`."""
        return replace(self, strength=max(self.strength, limit, key=STRENGTH.__getitem__))


def weaker(confidence: Confidence) -> Confidence:
    """Return one degree less; POSSIBLE is the least."""
    return _WEAKER[confidence]


def at_most(confidence: Confidence, limit: Confidence) -> Confidence:
    """Return the lesser of two."""
    return min(confidence, limit, key=STRENGTH.__getitem__)


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
    good_until: float | None = None
    """The last good sample before it: whatever lasted long by then did not begin it."""
    last: float = 0.0
    """The last moment that is known to belong to the outage; infinity while it lasts."""

    def explains(self, time: float | None) -> bool:
        """Tell whether something that happened at `time` can have begun this outage or kept it."""
        return time is not None and self.begin <= time <= self.last

    def overlaps(self, start: float | None, end: float | None) -> bool:
        """Tell whether something that lasted from `start` to `end` (None: still) was in the outage.

        A cause may be older than what it causes: of three pods, the one that is gone is not asked
        each time.
        """
        return start is not None and start <= self.last and (end is None or end >= self.begin)

    def began_it(self, time: float | None) -> bool:
        """Tell whether something that happened at `time` can have begun this outage."""
        return time is not None and self.begin <= time <= self.latest

    def followed(self, time: float | None) -> bool:
        """Tell whether something came after the outage had begun: a consequence, or a remedy."""
        return time is not None and time > self.latest

    def long_before(self, since: float | None) -> bool:
        """Tell whether something lasted for so long while the site was good that it is no cause."""
        if since is None or self.good_until is None:
            return False
        return since < self.good_until - LINGER

    def over_at(self, time: float) -> bool:
        """Tell whether the outage was over by `time`."""
        return self.end is not None and time > self.end + CLOCK_SLACK

    def too_late(self, asked_at: float, stale: float) -> bool:
        """Tell whether what was seen at `asked_at` says nothing of the outage any more."""
        return asked_at > self.last + stale


def fault_time(anomaly: Anomaly, target: Target, now: float) -> FaultTime:
    """Return when the fault of an anomaly can have begun (the module's facts say why)."""
    interval = target.scrape_interval
    early, late = ASKED.get(anomaly.trigger, (0.0, 0.0))
    sampled = any(bad(one, target.good) for one in anomaly.samples)
    if sampled:
        early = late = 0.0
    time = min(first_bad(anomaly, target), anomaly.time) if sampled else anomaly.time
    good = last_good(anomaly, target)
    # Of failed requests the first is known; samples have gaps, in which it can have begun
    gap = 0.0 if anomaly.trigger is Trigger.PROXY_LOG and not sampled else 2 * interval
    before = good if good is not None else time - gap
    # A gap in the samples is no reason to look for causes hours ago
    begin = max(before, time - 4 * interval - target.probe_timeout)
    begin = min(begin, time) - early - CLOCK_SLACK
    latest = time + late + target.probe_timeout + CLOCK_SLACK
    last = _last(anomaly, target, now, latest)
    return FaultTime(begin, latest, anomaly.ended, good, last)


def _last(anomaly: Anomaly, target: Target, now: float, latest: float) -> float:
    """Return the last moment that is known to belong to the outage."""
    if anomaly.ended is not None:
        return max(latest, anomaly.ended)
    seen = [one.time for one in anomaly.samples if bad(one, target.good)]
    newest = max(seen, default=anomaly.time)
    if now <= newest + PROBES_AWAITED * target.scrape_interval + target.probe_timeout:
        return math.inf
    return max(latest, newest + target.probe_timeout + CLOCK_SLACK)


def time_of(evidence: Evidence) -> FaultTime:
    """Return `fault_time` of all evidence."""
    return fault_time(evidence.anomaly, evidence.target, evidence.decided_at)


def clock(time: float | None) -> str:
    """Return a time of day, "12:34:56.789Z" or "12:34:56Z"; "?" when it is not known."""
    if time is None:
        return "?"
    try:
        moment = dt.datetime.fromtimestamp(time, dt.UTC)
    except (OverflowError, OSError, ValueError):
        return "?"
    milliseconds = moment.microsecond // 1000
    return moment.strftime("%H:%M:%S") + (f".{milliseconds:03d}Z" if milliseconds else "Z")


def seconds(span: float) -> str:
    """Return a span as people say it: "12 ms", "0.8 s", "45 s", "3 min 20 s", "2 h 5 min"."""
    if 0 < span < 0.1:
        return f"{span * 1000:.0f} ms"
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
