"""Whether an alarm of the log was real: incidents confirm alarms, and time tells of the others.

An *alarm* is a finding that was told when it was seen, before anybody knew of an incident. The
report's open question is whether an anomaly of the log is real. Here it has an answer that is
counted: of the alarms that are settled, how many an incident confirmed.

Rules
- An incident whose verdict blames the node (certain or probable) confirms the alarms of the
  hypervisor that its evidence names, if its log was read: those that began in the outage or
  `within` before it.
- An alarm that no incident confirmed for `settle` seconds is unconfirmed. That is not the same as
  false: an outage of a host that carries no watched site hurts no target. `precision` is therefore
  a lower bound, and says so by its name.
- A confirmed window is scored again with what is known by then. What is found there and was no
  alarm in time is kept as late: the misses of the alarm, counted beside it.
- An incident of a hypervisor without any alarm is a miss, too.

Pure: no clock, no files. `triage.store.alarms` keeps what is decided here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from triage.evidence import (
    Cause,
    Confidence,
    Evidence,
    Outcome,
    Step,
    SyslogFinding,
    SyslogKind,
    Verdict,
)

ALARMS = frozenset(
    {
        SyslogKind.OUTAGE,
        SyslogKind.NEW_EDGES,
        SyslogKind.BURST,
        SyslogKind.SILENCE,
        SyslogKind.RESTART,
    }
)
"""Kinds that are alarms. A rare template alone is none: each upgrade brings some."""
THRESHOLD = 1.0
"""Score from which on a finding is an alarm: a finding's own threshold."""
JOIN = 600.0
"""Seconds between two findings of a host, of one kind, that are still one alarm."""


class AlarmState(StrEnum):
    """What became of an alarm."""

    OPEN = "open"
    """It is too early to say."""
    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    LATE = "late"
    """Found when a confirmed window was scored again, and not before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that the log raised, and what came of it."""

    hypervisor: str
    host: str
    kind: SyslogKind
    start: float
    end: float
    score: float
    """As it was told."""
    summary: str
    raised_at: float
    """When it was told; the delay is `raised_at - start`."""
    id: int = 0
    """Of the store; 0: not stored yet."""
    state: AlarmState = AlarmState.OPEN
    incident: str = ""
    """That confirmed it."""
    rescored: float | None = None
    """The score with what was known when it was confirmed; 0: it would not be raised now."""
    settled_at: float | None = None


def is_alarm(finding: SyslogFinding) -> bool:
    """Tell whether a finding is one to tell at once."""
    return finding.kind in ALARMS and finding.score >= THRESHOLD


def same(alarm: Alarm, finding: SyslogFinding) -> bool:
    """Tell whether a finding is an alarm that is known already, which may have grown."""
    return (
        alarm.host == finding.host
        and alarm.kind is finding.kind
        and finding.start <= alarm.end + JOIN
        and alarm.start <= finding.end + JOIN
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """An incident that the node was to blame for, as far as alarms are concerned."""

    incident: str
    hypervisors: tuple[str, ...]
    start: float
    """From when on alarms count: before the outage."""
    end: float


def confirmation(
    incident: str, verdict: Verdict, evidence: Evidence, end: float, within: float
) -> Confirmation | None:
    """Return what an incident confirms, None for one that another layer is to blame for.

    `end`: of the outage; `within`: seconds before it that count.
    """
    sure = verdict.confidence in {Confidence.CERTAIN, Confidence.PROBABLE}
    if verdict.cause is not Cause.NODE or not sure or Step.SYSLOG not in evidence.gathered:
        return None
    if evidence.syslog.look.outcome is not Outcome.RAN:
        return None
    read = {one.partition(" (")[0] for one in evidence.syslog.hosts}
    named = tuple(one for one in _blamed(verdict, evidence) if one in read)
    if not named:
        return None
    return Confirmation(
        incident=incident,
        hypervisors=named,
        start=evidence.anomaly.time - within,
        end=max(end, evidence.anomaly.time),
    )


def _blamed(verdict: Verdict, evidence: Evidence) -> tuple[str, ...]:
    """Return the hypervisors of the verdict's object, or else of its nodes' machines."""
    vm = evidence.vm
    known = list(dict.fromkeys((*(one.hypervisor for one in vm.vms), *vm.last_known.values())))
    every = [*known, *(one.name for one in vm.hypervisors)]
    words = verdict.object.split()
    named = [name for name in dict.fromkeys(every) if words[-1:] == [name]]
    return tuple(named or known)


def confirms(one: Confirmation, alarm: Alarm) -> bool:
    """Tell whether an incident confirms an alarm."""
    return (
        alarm.hypervisor in one.hypervisors
        and alarm.start <= one.end
        and (alarm.start >= one.start or alarm.end >= one.start)
        and alarm.state in {AlarmState.OPEN, AlarmState.UNCONFIRMED}
    )


def rescored(alarm: Alarm, again: Iterable[SyslogFinding]) -> float:
    """Return an alarm's score when its window is scored again; 0: it would not be raised now."""
    return max((one.score for one in again if is_alarm(one) and same(alarm, one)), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmPeriod:
    """What became of the alarms that began in a span of time."""

    start: float
    end: float
    raised: int
    confirmed: int
    unconfirmed: int
    open: int
    late: int
    """Found only when a confirmed window was scored again."""
    incidents: int
    """Confirmed incidents of hypervisors that are watched."""
    warned: int
    """Of these, those with at least one alarm that was raised in time."""

    @property
    def precision_at_least(self) -> float | None:
        """Confirmed ones of all that are settled: a lower bound; None without any."""
        settled = self.confirmed + self.unconfirmed
        return self.confirmed / settled if settled else None

    @property
    def recall(self) -> float | None:
        """Incidents that an alarm told of, of all; None without any."""
        return self.warned / self.incidents if self.incidents else None

    @property
    def text(self) -> str:
        """One line for an operator."""
        first = dt.datetime.fromtimestamp(self.start, dt.UTC).date()
        last = dt.datetime.fromtimestamp(self.end - 1, dt.UTC).date()
        share = self.precision_at_least
        real = "none settled" if share is None else f"at least {share:.0%} real"
        return (
            f"{first} to {last}: {self.raised} alarms, {self.confirmed} confirmed by an incident, "
            f"{self.unconfirmed} not, {self.open} open ({real}); {self.warned} of "
            f"{self.incidents} incidents had an alarm in time, {self.late} were found later"
        )


def periods(
    alarms: Sequence[Alarm], incidents: Sequence[tuple[str, float]], length: float
) -> tuple[AlarmPeriod, ...]:
    """Return what became of alarms over time, a period each `length` seconds, oldest first.

    `incidents`: those that could confirm alarms, as (id, when its outage began). Periods begin at
    multiples of `length` since 1970 (UTC); there is none for a time without either.
    """
    begun = {int(one.start // length) for one in alarms}
    begun |= {int(at // length) for _, at in incidents}
    return tuple(_period(number, alarms, incidents, length) for number in sorted(begun))


def _period(
    number: int, alarms: Sequence[Alarm], incidents: Sequence[tuple[str, float]], length: float
) -> AlarmPeriod:
    mine = [one for one in alarms if int(one.start // length) == number]
    theirs = {incident for incident, at in incidents if int(at // length) == number}
    states = [one.state for one in mine]
    warned = {one.incident for one in alarms if one.state is AlarmState.CONFIRMED} & theirs
    return AlarmPeriod(
        start=number * length,
        end=(number + 1) * length,
        raised=len(states) - states.count(AlarmState.LATE),
        confirmed=states.count(AlarmState.CONFIRMED),
        unconfirmed=states.count(AlarmState.UNCONFIRMED),
        open=states.count(AlarmState.OPEN),
        late=states.count(AlarmState.LATE),
        incidents=len(theirs),
        warned=len(warned),
    )
