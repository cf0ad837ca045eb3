"""Incidents: one outage from its first bad observation to its end, as a state machine.

    PENDING --- a certain verdict; or the limit, with what is known ---> CONFIRMED --+
       |                                                                            | good for
       +--- nothing supports it, or nobody of ours was hurt ---> DROPPED            | `recovery`
                                                                                    v
                                                                                RESOLVED

Theory of operation
    `advance(latest, event, now, settings)` takes the target's latest incident (open or closed; None
    when it never had one) and gives the latest one after the event, with what is to be done: look,
    alert, close. The service performs the actions, stores the incident, and sends in a `Tick` at
    `wake_at`. All that is needed to go on after a restart is in the `Incident`: `resume` gives the
    actions that a crash may have lost.

Rules
- A certain verdict confirms at once. An uncertain one is looked at again: when the last line about
  the request must have arrived, then with a backoff, until `pending_limit`. Then the incident is
  confirmed with its honest confidence, or dropped. So pending always ends, with or without looks.
  The proxy writes its line after the metric may have told of the outage already: when it has, that
  is looked at without waiting.
  A probable one that a second look repeats, when no line is outstanding, need not wait for that.
- A verdict replaces another only when it is better: certain before probable before possible before
  undetermined. While pending, a later one of the same rank replaces it too: it saw more. After
  confirmation the rank only climbs, so that an alert is updated a handful of times at most.
- Dropped is only what hurt nobody: an outage of few samples, over, whose best verdict is that the
  client went away or that, without certainty, the monitoring path had a fault. Never one that
  flaps.
- One firing alert per incident, and one resolved one if there was a firing one; an update only
  when the cause, its certainty or the severity changed.
- Good for less than `recovery`, then bad: the same incident, one flap more. The third outage of a
  target within `flap_window` is a flapping incident: it stays open until the target was good for
  `flap_recovery`, so that one incident stands for many.
- A firing alert stays for `firing_at_least`: Alertmanager never tells of one that is resolved
  before its group was flushed, which would hide just the short outages that this is made for.
- No data is neither good nor bad: nothing opens and nothing resolves by it. An incident of which
  nothing at all was heard for `silent_limit` is closed, and says so.
- Severity climbs and never falls within an incident.
- Pure: no clock, no randomness, nothing performed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from triage.evidence import Anomaly, Cause, Confidence, Sample, Trigger, Verdict


class Status(StrEnum):
    """Where an incident is in its life."""

    PENDING = "pending"
    """Not sure yet; nobody was told."""
    CONFIRMED = "confirmed"
    """Alerted, and not over."""
    RESOLVED = "resolved"
    """Over."""
    DROPPED = "dropped"
    """Nothing to tell anybody about."""

    @property
    def open(self) -> bool:
        """Whether it still takes part."""
        return self in (Status.PENDING, Status.CONFIRMED)


class Severity(StrEnum):
    """How much it matters, by certainty, duration and frequency; in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return tuple(Severity).index(self)


class AlertKind(StrEnum):
    """What an alert tells."""

    FIRING = "firing"
    UPDATED = "updated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSettings:
    """All in seconds unless the name says otherwise."""

    recovery: float = 60.0
    """Good for so long, and an outage is over: four scrapes of 15 s."""
    pending_limit: float = 90.0
    """An uncertain verdict is held for so long at most."""
    look_again: float = 5.0
    """Between two looks at first; doubled each time."""
    look_again_longest: float = 60.0
    """Between two looks at most."""
    look_timeout: float = 60.0
    """A look that gave no verdict for so long is asked for again."""
    max_looks: int = 12
    """Looks at one incident, in all; a certain verdict ends them."""
    blip_samples: int = 1
    """An outage of up to so many bad samples may be dropped."""
    flap_window: float = 1800.0
    """Outages of a target within this time count together."""
    flap_count: int = 3
    """So many of them are one flapping incident."""
    flap_recovery: float = 600.0
    """A flapping target has to be good for so long."""
    firing_at_least: float = 330.0
    """An alert is not resolved before: Alertmanager's group_interval (5 min) and 30 s."""
    critical_after: float = 180.0
    """An outage that lasts so long is critical, whatever its cause."""
    silent_limit: float = 86400.0
    """Nothing heard of it for so long closes an incident; 0: never."""
    max_samples: int = 64
    """Samples kept with an incident."""
    max_verdicts: int = 16
    """Verdicts kept in its history: the first, and the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What of a verdict the state machine goes by; the whole verdict is stored beside it."""

    time: float
    cause: Cause
    confidence: Confidence
    reason: str = ""
    title: str = ""
    summary: str = ""
    object: str = ""

    @property
    def rank(self) -> int:
        """How good it is: 0 for none at all, 3 for a certain one."""
        if self.cause is Cause.UNDETERMINED:
            return 0
        return {Confidence.CERTAIN: 3, Confidence.PROBABLE: 2, Confidence.POSSIBLE: 1}[
            self.confidence
        ]

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes an alert another alert."""
        return (self.cause, self.reason, self.confidence, self.object)


def judgement_of(verdict: Verdict) -> Judgement:
    """What the state machine goes by."""
    return Judgement(
        time=verdict.decided_at,
        cause=verdict.cause,
        confidence=verdict.confidence,
        reason=verdict.reason,
        title=verdict.title,
        summary=verdict.summary,
        object=verdict.object,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One outage of one target, or one flapping target. Goes through JSON and back unchanged."""

    id: str
    target: str
    status: Status
    anomaly: Anomaly
    """All observations of it, merged."""
    opened_at: float
    """When it was opened; the outage began at `anomaly.time`."""
    last_bad: float
    """Newest bad observation."""
    heard_at: float
    """When good or bad was last heard of the target."""
    bad_samples: int = 0
    """Bad samples of the metric, as far as one reading of it shows."""
    severity: Severity = Severity.INFO
    best: Judgement | None = None
    """The verdict that stands."""
    verdicts: tuple[Judgement, ...] = ()
    """In order of time; the first one and the newest."""
    looks: int = 0
    """Verdicts that came in."""
    asked: int = 0
    """Looks that were asked for."""
    looking_since: float | None = None
    """A look was asked for at this time and has given no verdict yet."""
    next_look_at: float | None = None
    """When to look (again); None: no more."""
    settled_at: float | None = None
    """No further line about the request can arrive after it, as the newest look said."""
    good_since: float | None = None
    """First good sample after the last bad one."""
    good_until: float | None = None
    """Newest good sample since then."""
    flaps: int = 0
    """How often it was good for less than `recovery`, and bad again."""
    flapping: bool = False
    recent: tuple[float, ...] = ()
    """When earlier incidents of the target were opened, within `flap_window`."""
    alerts: int = 0
    """Alerts given out, of all kinds."""
    first_alert_at: float | None = None
    alerted: tuple[str, ...] = ()
    """What the last alert said: the verdict's identity, the severity, and whether it flaps."""
    confirmed_at: float | None = None
    closed_at: float | None = None
    resolved_at: float | None = None
    """When the target was good again (not when that was noticed or told)."""
    closed_because: str = ""
    no_data_since: float | None = None
    """Since when nothing could be known of the target."""
    no_data_reason: str = ""
    proxy_told_at: float | None = None
    """When the proxy's log told of it first."""

    @property
    def open(self) -> bool:
        """Whether it still takes part."""
        return self.status.open


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """The target is bad, or was until a moment ago and is not over yet (`anomaly.ended`)."""

    anomaly: Anomaly
    last_bad: float
    """Newest bad observation in it."""
    bad_samples: int = 0
    """Bad samples of the metric in it, as far as they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """The target is good."""

    target: str
    since: float
    """First good sample after the last bad one, or the oldest one known."""
    until: float
    """Newest good sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoData:
    """Nothing can be known of the target: the monitor is down, or has no new samples."""

    target: str
    reason: str
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The target is watched no more: removed from the monitor or from the configuration."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A look gave a verdict."""

    judgement: Judgement
    settled_at: float | None = None
    """`triage.windows.settled_at` of what it saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookFailed:
    """A look ended without a verdict: the service was stopped in it, or it broke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time passes."""


Event = Bad | Good | NoData | Gone | Judged | LookFailed | Tick


# Actions


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Gather evidence and decide, now; send in `Judged` (or `LookFailed`)."""

    incident: str
    number: int
    """1 for the first look."""
    afresh: bool = False
    """There is more to see than when the look that is under way began: begin it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Tell people. `number` makes it unique: an outbox that has (incident, number) drops it."""

    incident: str
    kind: AlertKind
    number: int
    why: str = ""
    """What changed, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The incident takes no further part."""

    incident: str
    status: Status
    """RESOLVED or DROPPED."""
    why: str


Action = Look | Alert | Close
Result = tuple[Incident | None, tuple[Action, ...]]


# The machine


def incident_id(target: str, time: float) -> str:
    """Such as 20250716-194900-1f3a9c: the same for the same outage on every replica."""
    shown = datetime.fromtimestamp(time, UTC).strftime("%Y%m%d-%H%M%S")
    digest = hashlib.sha256(f"{target}\0{round(time * 1000)}".encode()).hexdigest()
    return f"{shown}-{digest[:6]}"


def advance(
    latest: Incident | None, event: Event, now: float, settings: IncidentSettings
) -> Result:
    """The target's latest incident after the event, and what is to be done, in order.

    `latest` is the target's latest incident, open or closed; None when there is none. An event
    about another target is a ValueError.
    """
    _check(latest, event)
    if isinstance(event, Bad) and (latest is None or not latest.open):
        return _open(latest, event, now, settings)
    if latest is None or not latest.open:
        return latest, ()
    incident = _heard(latest, event, now, settings)
    actions: list[Action] = []
    if isinstance(event, Gone):
        return _gone(incident, event, now, settings)
    incident = _decide(incident, now, settings, actions)
    if incident.open:
        incident = _ask(incident, now, settings, actions)
    return incident, tuple(actions)


def resume(incident: Incident, now: float, settings: IncidentSettings) -> Result:
    """Go on after a restart: a look that was under way is lost, and asked for again."""
    if not incident.open:
        return incident, ()
    lost = incident.looking_since is not None
    return advance(incident, LookFailed() if lost else Tick(), now, settings)


def wake_at(incident: Incident, settings: IncidentSettings) -> float | None:
    """When a `Tick` may do something; None: never. Every other event is a tick too."""
    if not incident.open:
        return None
    times = [incident.opened_at + settings.pending_limit] if _pending(incident) else []
    if incident.looking_since is not None:
        times.append(incident.looking_since + settings.look_timeout)
    elif incident.next_look_at is not None:
        times.append(incident.next_look_at)
    if incident.first_alert_at is not None and _over(incident, settings):
        times.append(incident.first_alert_at + settings.firing_at_least)
    if settings.silent_limit > 0 and not _pending(incident):
        times.append(incident.heard_at + settings.silent_limit)
    return min(times, default=None)


def severity_of(incident: Incident, settings: IncidentSettings) -> Severity:
    """By certainty, duration and frequency; never below what it was.

    | | short | `critical_after` or longer |
    | --- | --- | --- |
    | possible, undetermined | info | critical |
    | probable, certain | warning | critical |
    | the same, flapping | critical | critical |
    | the monitoring path or the client, whatever | info | warning |
    """
    best = incident.best
    end = incident.last_bad if incident.good_since is None else incident.good_since
    long = end - incident.anomaly.time >= settings.critical_after
    sure = best is not None and best.rank >= 2
    if best is not None and best.rank and best.cause in (Cause.MONITORING_PATH, Cause.CLIENT):
        found = Severity.WARNING if long or incident.flapping else Severity.INFO
    elif long or (sure and incident.flapping):
        found = Severity.CRITICAL
    else:
        found = Severity.WARNING if sure or incident.flapping else Severity.INFO
    return max(found, incident.severity, key=lambda severity: severity.rank)


def merged(known: Anomaly, seen: Anomaly, max_samples: int) -> Anomaly:
    """Two descriptions of one outage as one. The earlier start stands, the newer end counts."""
    first, second = sorted((known, seen), key=lambda anomaly: anomaly.time)
    samples = {s.time: s for s in known.samples} | {s.time: s for s in seen.samples}
    goods = [a.last_good for a in (known, seen) if a.last_good is not None]
    before = [time for time in goods if time < first.time]
    return replace(
        first,
        # The metric's word is the better anchor: its windows are known.
        status=first.status if first.status is not None else second.status,
        last_good=max(before, default=None),
        ended=seen.ended,
        samples=_bounded([samples[time] for time in sorted(samples)], first.time, max_samples),
        labels=second.labels | first.labels,
    )


def _bounded(samples: list[Sample], start: float, most: int) -> tuple[Sample, ...]:
    """Keep those around the start, and the newest."""
    if len(samples) <= most:
        return tuple(samples)
    newest = most // 2
    head = samples[: len(samples) - newest]
    at = next((i for i, sample in enumerate(head) if sample.time >= start), len(head))
    begin = max(0, min(at - 4, len(head) - (most - newest)))
    return tuple(head[begin : begin + most - newest] + samples[len(samples) - newest :])


# Taking events in


def _check(latest: Incident | None, event: Event) -> None:
    target = event.anomaly.target if isinstance(event, Bad) else getattr(event, "target", None)
    if latest is not None and target is not None and target != latest.target:
        raise ValueError(f"an event about {target!r} is none of an incident of {latest.target!r}")


def _open(latest: Incident | None, event: Bad, now: float, settings: IncidentSettings) -> Result:
    if latest is not None and event.last_bad <= latest.last_bad:
        return latest, ()  # what is told again is over and done with
    anomaly = event.anomaly
    if latest is not None and anomaly.time <= latest.last_bad:
        # A closed incident's outage, seen again with more of it: only the rest is new.
        rest = tuple(s for s in anomaly.samples if s.time > latest.last_bad)
        anomaly = replace(anomaly, time=event.last_bad, samples=rest, last_good=None)
    recent: tuple[float, ...] = ()
    if latest is not None:
        recent = tuple(
            time
            for time in (*latest.recent, latest.opened_at)
            if now - time <= settings.flap_window
        )[-32:]
    incident = Incident(
        id=incident_id(anomaly.target, anomaly.time),
        target=anomaly.target,
        status=Status.PENDING,
        anomaly=replace(
            anomaly, samples=_bounded(list(anomaly.samples), anomaly.time, settings.max_samples)
        ),
        opened_at=now,
        last_bad=event.last_bad,
        heard_at=now,
        bad_samples=event.bad_samples,
        good_since=anomaly.ended,
        good_until=anomaly.ended,
        recent=recent,
        flapping=len(recent) + 1 >= settings.flap_count,
        next_look_at=now,
        proxy_told_at=now if anomaly.trigger is Trigger.PROXY_LOG else None,
    )
    actions: list[Action] = []
    return _ask(incident, now, settings, actions), tuple(actions)


def _heard(incident: Incident, event: Event, now: float, settings: IncidentSettings) -> Incident:
    match event:
        case Bad():
            return _heard_bad(incident, event, now, settings)
        case Good():
            return _heard_good(incident, event, now)
        case NoData():
            since = incident.no_data_since
            return replace(
                incident,
                no_data_since=since if since is not None else (event.since or now),
                no_data_reason=event.reason,
            )
        case Judged():
            return _heard_judged(incident, event, now, settings)
        case LookFailed():
            return replace(
                incident,
                looking_since=None,
                next_look_at=now + _backoff(incident, settings),
            )
        case _:
            return incident


def _heard_bad(incident: Incident, event: Bad, now: float, settings: IncidentSettings) -> Incident:
    over = event.anomaly.ended
    if over is not None and over <= incident.anomaly.time:
        return incident  # an outage before this one: samples of the last minutes tell it again
    newer = event.last_bad > incident.last_bad
    again = newer and incident.good_since is not None and incident.good_since <= event.last_bad
    ended = event.anomaly.ended if newer else (incident.good_since or event.anomaly.ended)
    anomaly = merged(incident.anomaly, event.anomaly, settings.max_samples)
    if event.anomaly.trigger is Trigger.PROXY_LOG and incident.proxy_told_at is None:
        look = now if _unsure(incident) else incident.next_look_at
        incident = replace(incident, proxy_told_at=now, next_look_at=look)
    return replace(
        incident,
        anomaly=replace(anomaly, ended=ended),
        last_bad=max(incident.last_bad, event.last_bad),
        bad_samples=max(incident.bad_samples, event.bad_samples),
        good_since=ended,
        good_until=ended if newer else incident.good_until,
        flaps=incident.flaps + (1 if again else 0),
        heard_at=now,
        no_data_since=None,
        no_data_reason="",
    )


def _heard_good(incident: Incident, event: Good, now: float) -> Incident:
    if event.until <= incident.last_bad:
        return incident  # older than what is known
    since = incident.good_since
    if since is None:
        since = event.since if event.since > incident.last_bad else event.until
    return replace(
        incident,
        anomaly=replace(incident.anomaly, ended=since),
        good_since=since,
        good_until=max(event.until, incident.good_until or since),
        heard_at=now,
        no_data_since=None,
        no_data_reason="",
    )


def _heard_judged(
    incident: Incident, event: Judged, now: float, settings: IncidentSettings
) -> Incident:
    verdict = event.judgement
    best = incident.best
    equal_counts = incident.status is Status.PENDING
    if best is None or verdict.rank > best.rank or (equal_counts and verdict.rank == best.rank):
        best = verdict
    history = (*incident.verdicts, verdict)
    if len(history) > settings.max_verdicts:
        history = (history[0], *history[2:])
    incident = replace(
        incident,
        best=best,
        verdicts=history,
        looks=incident.looks + 1,
        looking_since=None,
        settled_at=event.settled_at,
    )
    return replace(incident, next_look_at=_next_look(incident, now, settings))


def _unsure(incident: Incident) -> bool:
    return incident.best is None or incident.best.rank < 3


def _next_look(incident: Incident, now: float, settings: IncidentSettings) -> float | None:
    if incident.asked >= settings.max_looks or not _unsure(incident):
        return None
    again = now + _backoff(incident, settings)
    settled = incident.settled_at
    if settled is not None and now < settled < now + settings.pending_limit:
        # Nothing is gained by a look before the last line can have arrived, unless that is long.
        again = settled if incident.looks <= 1 else min(again, max(settled, now + 1.0))
    if _pending(incident):
        again = min(again, max(now, incident.opened_at + settings.pending_limit))
    return again


def _backoff(incident: Incident, settings: IncidentSettings) -> float:
    doublings = min(16, max(0, incident.asked - 1))
    return min(settings.look_again_longest, settings.look_again * (1 << doublings))


# Deciding


def _pending(incident: Incident) -> bool:
    return incident.status is Status.PENDING


def _recovery(incident: Incident, settings: IncidentSettings) -> float:
    return max(settings.recovery, settings.flap_recovery if incident.flapping else 0.0)


def _over(incident: Incident, settings: IncidentSettings) -> bool:
    """Good for long enough, by samples that were seen: time alone proves nothing."""
    if incident.good_since is None or incident.good_until is None:
        return False
    return incident.good_until - incident.good_since >= _recovery(incident, settings)


def _decide(
    incident: Incident, now: float, settings: IncidentSettings, actions: list[Action]
) -> Incident:
    incident = _flaps(incident, settings)
    if _pending(incident):
        incident = _decide_pending(incident, now, settings, actions)
    if incident.status is not Status.CONFIRMED:
        return incident
    incident = _tell(incident, now, settings, actions)
    told = incident.first_alert_at if incident.first_alert_at is not None else now
    if _over(incident, settings) and now - told >= settings.firing_at_least:
        return _resolve(incident, now, "good again", actions)
    if settings.silent_limit > 0 and now - incident.heard_at >= settings.silent_limit:
        why = f"nothing heard of it for {settings.silent_limit:.0f} s"
        return _resolve(incident, now, why, actions)
    return incident


def _flaps(incident: Incident, settings: IncidentSettings) -> Incident:
    if not incident.flapping and incident.flaps + 1 + len(incident.recent) >= settings.flap_count:
        return replace(incident, flapping=True)
    return incident


def _decide_pending(
    incident: Incident, now: float, settings: IncidentSettings, actions: list[Action]
) -> Incident:
    best = incident.best
    overdue = now >= incident.opened_at + settings.pending_limit
    looked = incident.looking_since is None and incident.next_look_at is None
    if _repeated(incident, now) and not _droppable(incident, settings):
        return replace(incident, status=Status.CONFIRMED, confirmed_at=now)
    if not (overdue or looked):
        return incident
    if _droppable(incident, settings):
        why = best.title or best.cause.replace("_", " ") if best else "no verdict"
        return _drop(incident, now, f"{incident.bad_samples} bad sample, over: {why}", actions)
    if not overdue and (best is None or best.rank < 3) and incident.good_since is not None:
        return incident  # later samples may still tell
    if best is None:
        incident = replace(incident, best=_unjudged(now, settings))
    return replace(incident, status=Status.CONFIRMED, confirmed_at=now)


def _repeated(incident: Incident, now: float) -> bool:
    """Certain; or probable twice running, the second time with all the lines there can be."""
    best = incident.best
    if best is None or best.rank < 2:
        return False
    if best.rank == 3:
        return True
    again = [(v.cause, v.reason, v.rank) for v in incident.verdicts[-2:]]
    settled = incident.settled_at is None or now >= incident.settled_at
    return settled and again == [(best.cause, best.reason, 2)] * 2


def _droppable(incident: Incident, settings: IncidentSettings) -> bool:
    best = incident.best
    if best is None or incident.flapping or incident.good_since is None:
        return False
    if incident.bad_samples > settings.blip_samples:
        return False
    if best.cause is Cause.CLIENT:
        return best.rank > 0
    return best.cause is Cause.MONITORING_PATH and best.confidence is not Confidence.CERTAIN


def _unjudged(now: float, settings: IncidentSettings) -> Judgement:
    return Judgement(
        time=now,
        cause=Cause.UNDETERMINED,
        confidence=Confidence.POSSIBLE,
        reason="not_looked",
        title="undetermined: no look ended in time",
        summary=f"No look gave a verdict within {settings.pending_limit:.0f} s.",
    )


def _tell(
    incident: Incident, now: float, settings: IncidentSettings, actions: list[Action]
) -> Incident:
    incident = replace(incident, severity=severity_of(incident, settings))
    best = incident.best
    identity = best.identity if best is not None else ()
    says = (*identity, incident.severity.value, "flapping" if incident.flapping else "")
    if says == incident.alerted:
        return incident
    first = incident.first_alert_at is None
    kind = AlertKind.FIRING if first else AlertKind.UPDATED
    why = "confirmed" if first else _changed(incident.alerted, says)
    number = incident.alerts + 1
    actions.append(Alert(incident=incident.id, kind=kind, number=number, why=why))
    return replace(
        incident,
        alerts=number,
        alerted=says,
        first_alert_at=now if first else incident.first_alert_at,
    )


def _changed(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    names = ("cause", "reason", "confidence", "object", "severity", "flapping")
    changes = (
        f"{name} {old or '-'} -> {new or '-'}"
        for name, old, new in zip(names, before, after, strict=False)
        if old != new
    )
    return ", ".join(changes)


def _resolve(incident: Incident, now: float, why: str, actions: list[Action]) -> Incident:
    number = incident.alerts + 1
    actions.append(Alert(incident=incident.id, kind=AlertKind.RESOLVED, number=number, why=why))
    actions.append(Close(incident=incident.id, status=Status.RESOLVED, why=why))
    return _closed(replace(incident, alerts=number), Status.RESOLVED, now, why)


def _drop(incident: Incident, now: float, why: str, actions: list[Action]) -> Incident:
    actions.append(Close(incident=incident.id, status=Status.DROPPED, why=why))
    return _closed(incident, Status.DROPPED, now, why)


def _closed(incident: Incident, status: Status, now: float, why: str) -> Incident:
    return replace(
        incident,
        status=status,
        closed_at=now,
        closed_because=why,
        resolved_at=incident.good_since if incident.good_since is not None else now,
        next_look_at=None,
        looking_since=None,
    )


def _gone(incident: Incident, event: Gone, now: float, settings: IncidentSettings) -> Result:
    actions: list[Action] = []
    if _pending(incident):
        return _drop(incident, now, event.reason, actions), tuple(actions)
    incident = _tell(incident, now, settings, actions)
    return _resolve(incident, now, event.reason, actions), tuple(actions)


# Looking


def _ask(
    incident: Incident, now: float, settings: IncidentSettings, actions: list[Action]
) -> Incident:
    since = incident.looking_since
    due = incident.next_look_at is not None and now >= incident.next_look_at
    late = since is not None and now - since >= settings.look_timeout
    if not due and not late:
        return incident
    if incident.asked >= settings.max_looks:
        return replace(incident, looking_since=None, next_look_at=None)
    number = incident.asked + 1
    afresh = since is not None and due
    actions.append(Look(incident=incident.id, number=number, afresh=afresh))
    return replace(incident, asked=number, looking_since=now, next_look_at=None)


__all__ = [
    "Action",
    "Alert",
    "AlertKind",
    "Bad",
    "Close",
    "Event",
    "Gone",
    "Good",
    "Incident",
    "IncidentSettings",
    "Judged",
    "Judgement",
    "Look",
    "LookFailed",
    "NoData",
    "Severity",
    "Status",
    "Tick",
    "advance",
    "incident_id",
    "judgement_of",
    "merged",
    "resume",
    "severity_of",
    "wake_at",
]
