"""How right the alarms were, once incidents are confirmed: the report's open question.

Rules
- An alarm is right when a confirmed incident has one of its hosts, and begins at most `before`
  seconds after the alarm's end and ends at most `after` seconds before its start. An incident
  without hosts fits any alarm; one that no alarm fits was missed.
- Alarms younger than the last confirmation may still be confirmed: whoever asks leaves them out
  (`until`).
- What is reported is the share with its 95 % interval (Wilson 1927): three alarms of three are no
  proof of anything.
- Thresholds stay as they are: they bound false alarms by design, and a threshold that follows its
  own confirmations forgets what it no longer shows. What changes is the order: a score is weighted
  by its kind's own precision, smoothed by two right and two wrong ones, between 0.5 and 1.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from triage.syslog.detect.findings import plural
from triage.syslog.tables import Finding, FindingKind

WEEK = 7 * 86_400.0
SMOOTH = 2
Z95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What was told at the time."""

    start: float
    end: float
    hosts: tuple[str, ...]
    kind: FindingKind = FindingKind.OUTAGE
    score: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """An incident that somebody confirmed, or a trouble ticket."""

    start: float
    end: float
    hosts: tuple[str, ...] = ()
    """None: of any host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many of so many, and how sure that is."""

    alarms: int = 0
    right: int = 0

    @property
    def precision(self) -> float | None:
        """The share that was right; None of none."""
        return self.right / self.alarms if self.alarms else None

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval (Wilson)."""
        n = self.alarms
        if not n:
            return (0.0, 1.0)
        p = self.right / n
        centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n)) / (1 + Z95**2 / n)
        return (max(0.0, centre - half), min(1.0, centre + half))

    @property
    def weight(self) -> float:
        """What a score of this kind is multiplied with: 0.5 to 1.5, 1 when nothing is known."""
        return 0.5 + (self.right + SMOOTH) / (self.alarms + 2 * SMOOTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How right the alarms were."""

    all: Share
    weeks: tuple[tuple[float, Share], ...] = ()
    """(start of the week, its alarms); weeks without an alarm are left out."""
    kinds: Mapping[FindingKind, Share] = field(default_factory=dict)
    incidents: int = 0
    found: int = 0
    """Incidents that an alarm fits."""
    summary: str = ""


def rescore(
    alarms: Sequence[Alarm],
    incidents: Sequence[Confirmed],
    *,
    before: float = 3600.0,
    after: float = 900.0,
    until: float = math.inf,
) -> Precision:
    """Return how right past alarms were, overall, per week (Monday, UTC) and per kind."""
    judged = [
        (alarm, any(_fits(alarm, incident, before, after) for incident in incidents))
        for alarm in sorted(alarms, key=lambda a: (a.start, a.kind, a.hosts))
        if alarm.end <= until
    ]
    found = sum(any(_fits(a, incident, before, after) for a, _ in judged) for incident in incidents)
    weeks: dict[float, Share] = {}
    kinds: dict[FindingKind, Share] = {}
    for alarm, right in judged:
        week = math.floor((alarm.start + 3 * 86_400) / WEEK) * WEEK - 3 * 86_400
        weeks[week] = _more(weeks.get(week, Share()), right)
        kinds[alarm.kind] = _more(kinds.get(alarm.kind, Share()), right)
    whole = Share(alarms=len(judged), right=sum(right for _, right in judged))
    low, high = whole.interval
    summary = (
        f"{whole.right} of {plural(whole.alarms, 'alarm')} confirmed ({low:.0%} to {high:.0%}); "
        f"{found} of {plural(len(incidents), 'incident')} had an alarm."
        if judged
        else "No alarms yet."
    )
    return Precision(
        all=whole,
        weeks=tuple(sorted(weeks.items())),
        kinds=kinds,
        incidents=len(incidents),
        found=found,
        summary=summary,
    )


def reweighted(findings: Iterable[Finding], precision: Precision) -> tuple[Finding, ...]:
    """Return findings in the order of their weighted scores, the scores weighted too."""
    weighted = [
        replace(f, score=round(f.score * precision.kinds.get(f.kind, Share()).weight, 3))
        for f in findings
    ]
    return tuple(sorted(weighted, key=lambda f: (-f.score, f.start, f.area)))


def _more(share: Share, right: bool) -> Share:
    return Share(alarms=share.alarms + 1, right=share.right + right)


def _fits(alarm: Alarm, incident: Confirmed, before: float, after: float) -> bool:
    common = not incident.hosts or not set(alarm.hosts).isdisjoint(incident.hosts)
    return common and incident.start <= alarm.end + before and incident.end >= alarm.start - after
