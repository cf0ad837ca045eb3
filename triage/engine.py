"""The incidents of all targets: takes events in, keeps what came of them, performs the actions.

    events -> incidents.advance -> store (incident, look and messages at once) -> looks, delivery

Rules
- The state machine decides (`triage.incidents`); here is who carries it out.
- What is stored is stored before anything is told: an incident's change and its messages commit
  together, so that a crash loses neither and tells nothing twice.
- One event at a time. The disk is waited for off the event loop.
- What only says "still so" (a target that is good for another second) is written down now and then,
  not each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import structlog

from triage.alerts.message import AlertMessage, make_message
from triage.evidence import Anomaly, Evidence, Verdict
from triage.incidents import (
    Action,
    Alert,
    Bad,
    Event,
    Incident,
    IncidentSettings,
    Judged,
    Look,
    LookFailed,
    Result,
    Tick,
    advance,
    judgement_of,
    resume,
    wake_at,
)
from triage.investigate import Looked
from triage.store import Store

log = structlog.get_logger(__name__)

WRITE_DOWN = 15.0
"""Seconds after which an open incident is stored although nothing about it changed."""

LONGEST_WAIT = 60.0
"""Seconds between two ticks at most: clocks can be set."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """The look that gave an incident's best verdict."""

    verdict: Verdict
    evidence: Evidence


class Engine:
    """All incidents. `look` starts a look and returns at once; `told` wakes the delivery.

    The flag given to `look`: one that is under way is to begin again, there is more to see.
    """

    def __init__(
        self,
        store: Store,
        settings: IncidentSettings,
        *,
        look: Callable[[Incident, bool], None],
        told: Callable[[], None],
        sinks: Collection[str] = (),
        links: Callable[[str], dict[str, str]] | None = None,
        mask: Callable[[str], str] = str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.sinks = tuple(sinks)
        self.counts: dict[tuple[str, str], int] = {}
        """(what, value) -> how often, since the start: for /metrics."""
        self._store = store
        self._look = look
        self._told = told
        self._links = links or (lambda _: {})
        self._mask = mask
        self._clock = clock
        self._latest: dict[str, Incident] = {}
        self._standing: dict[str, _Standing] = {}
        self._written: dict[str, tuple[float, Incident]] = {}
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def incidents(self) -> list[Incident]:
        """Each target's latest incident."""
        return list(self._latest.values())

    @property
    def open(self) -> list[Incident]:
        """Those that are not over."""
        return [one for one in self._latest.values() if one.open]

    def anomaly(self, incident: str) -> Anomaly | None:
        """Return the anomaly of an open incident, as it is known now."""
        return next((one.anomaly for one in self.open if one.id == incident), None)

    async def load(self) -> None:
        """Go on from what is stored; raise StoreError."""
        self._latest = await asyncio.to_thread(self._store.incidents.latest)
        for incident in self.open:
            look = await asyncio.to_thread(self._standing_look, incident)
            if look is not None:
                self._standing[incident.id] = look

    async def resume(self) -> None:
        """Take up every open incident again; looks that were under way are lost."""
        for incident in self.open:
            await self._settle(incident, resume(incident, self._clock(), self.settings))

    def _standing_look(self, incident: Incident) -> _Standing | None:
        best = incident.best
        looks = self._store.incidents.looks(incident.id)
        same = [one for one in looks if best and one.verdict.decided_at == best.time]
        chosen = (same or looks)[-1:]
        return _Standing(chosen[0].verdict, chosen[0].evidence) if chosen else None

    # Events

    async def take(self, events: Iterable[Event]) -> None:
        """Take events about targets in, in order; raise StoreError."""
        for event in events:
            name = event.anomaly.target if isinstance(event, Bad) else getattr(event, "target", "")
            await self._take(name, event)

    async def looked(self, incident: Incident, looked: Looked) -> None:
        """Take the outcome of a look in."""
        event = Judged(judgement=judgement_of(looked.verdict), settled_at=looked.settled_at)
        self._count("verdict", looked.verdict.cause.value)
        await self._take(incident.target, event, incident=incident.id, looked=looked)

    async def look_failed(self, incident: Incident) -> None:
        """Take in that a look came to nothing."""
        await self._take(incident.target, LookFailed(), incident=incident.id)

    async def run(self) -> None:
        """Send ticks when they are due, until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock()
            due = [wake_at(one, self.settings) for one in self.open]
            wait = min((at - now for at in due if at is not None), default=LONGEST_WAIT)
            if wait > 0:
                try:
                    async with asyncio.timeout(min(max(wait, 0.01), LONGEST_WAIT)):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                else:
                    continue
            now = self._clock()
            for one in self.open:
                at = wake_at(one, self.settings)
                if at is not None and at <= now:
                    await self._take(one.target, Tick())
            await asyncio.sleep(0.05)  # a tick that changes nothing must not spin

    async def _take(
        self, target: str, event: Event, *, incident: str = "", looked: Looked | None = None
    ) -> None:
        async with self._lock:
            latest = self._latest.get(target)
            if incident and (latest is None or latest.id != incident or not latest.open):
                return  # a look at an incident that was closed meanwhile
            if latest is None and not isinstance(event, Bad):
                return
            result = advance(latest, event, self._clock(), self.settings)
            await self._settle(latest, result, looked)

    # Actions

    async def _settle(
        self, before: Incident | None, result: Result, looked: Looked | None = None
    ) -> None:
        after, actions = result
        if after is None or (after is before and not actions and looked is None):
            return
        if looked is not None and self._stands(after, looked):
            self._standing[after.id] = _Standing(looked.verdict, looked.evidence)
        self._latest[after.target] = after
        if actions or looked is not None or self._worth_writing(after):
            messages = [self._message(after, one) for one in actions if isinstance(one, Alert)]
            pair = (looked.verdict, looked.evidence) if looked is not None else None
            await asyncio.to_thread(
                self._store.save, after, look=pair, messages=messages, sinks=self.sinks
            )
            self._written[after.id] = (self._clock(), after)
        if before is None or before.id != after.id:
            self._count("incident", "opened")
        for action in actions:
            self._perform(after, action)
        if not after.open:
            self._standing.pop(after.id, None)
            self._written.pop(after.id, None)
        self._changed.set()

    def _stands(self, incident: Incident, looked: Looked) -> bool:
        best = incident.best
        return incident.id not in self._standing or (
            best is not None and best.time == looked.verdict.decided_at
        )

    def _worth_writing(self, incident: Incident) -> bool:
        at, written = self._written.get(incident.id, (0.0, None))
        if written is None or self._clock() - at >= WRITE_DOWN:
            return True
        return _still(incident) != _still(written)

    def _message(self, incident: Incident, alert: Alert) -> AlertMessage:
        standing = self._standing.get(incident.id)
        return make_message(
            incident,
            alert,
            time=self._clock(),
            verdict=standing.verdict if standing else None,
            evidence=standing.evidence if standing else None,
            links=self._links(incident.id),
            mask=self._mask,
        )

    def _perform(self, incident: Incident, action: Action) -> None:
        if isinstance(action, Look):
            self._look(incident, action.afresh)
        elif isinstance(action, Alert):
            self._count("alert", action.kind.value)
            self._told()
            best = incident.best
            log.info(
                "alert",
                incident=incident.id,
                target=incident.target,
                kind=action.kind.value,
                verdict=best.title if best else "",
                severity=incident.severity.value,
                why=action.why,
            )
        else:
            self._count("incident", action.status.value)
            log.info(
                "incident_closed",
                incident=incident.id,
                target=incident.target,
                status=action.status.value,
                why=action.why,
            )

    def _count(self, what: str, value: str) -> None:
        self.counts[what, value] = self.counts.get((what, value), 0) + 1


def _still(incident: Incident) -> Incident:
    """Return an incident without what changes while it lasts."""
    anomaly = replace(incident.anomaly, samples=())
    return replace(
        incident, anomaly=anomaly, heard_at=0.0, good_until=None, last_bad=0.0, bad_samples=0
    )
