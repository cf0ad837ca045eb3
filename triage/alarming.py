"""Alarms of the hypervisors' syslog: raised as they are seen, and confirmed by what comes of them.

    watcher -> unusual now -> alarms (store) <- incidents that are over, whose node was to blame

Rules
- What an alarm is and what confirms one is `triage.syslog.confirm`'s to say; here is who asks and
  who writes it down.
- Incidents are looked up in the store, not heard of: one that was over while nobody watched is
  confirmed after the next start, and each once.
- An alarm tells nobody by itself: it is in /metrics, and in the verdicts of incidents.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from triage.evidence import SyslogFinding
from triage.recall import recall
from triage.sources.syslog import SyslogLooker
from triage.store import Store
from triage.syslog.confirm import (
    Alarm,
    AlarmState,
    Confirmation,
    confirmation,
    confirms,
    is_alarm,
    rescored,
    same,
)
from triage.syslog.watch_settings import WatchSettings

log = structlog.get_logger(__name__)

LOOK_EVERY = 60.0
"""Seconds at most between two looks for alarms; that is six of the files' with default settings."""
LOOK_BACK = 1800.0
"""Seconds of the log that are looked at for alarms: a restart takes minutes, as does a silence."""
INCIDENTS_SINCE = 7 * 86400.0
"""Seconds for which incidents are looked up that nobody was there to confirm."""
SETTLE_EVERY = 30.0
"""Seconds between two looks at incidents that are over."""


class AlarmKeeper:
    """Raises alarms, confirms them, and counts."""

    def __init__(
        self,
        looker: SyslogLooker,
        store: Store,
        settings: WatchSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._looker = looker
        self._store = store
        self._settings = settings
        self._clock = clock
        self.states: dict[AlarmState, int] = {}
        """How many alarms there are of each state."""
        self.raised: dict[str, int] = {}
        """Kind -> alarms since the start."""
        self._known: set[str] = set()
        """Incidents that were seen to."""

    async def run(self) -> None:
        """Go on until cancelled."""
        settled_at = 0.0
        while True:
            now = self._clock()
            await self.look()
            if not 0 <= now - settled_at < SETTLE_EVERY:
                settled_at = now
                await self.settle()
            await asyncio.sleep(min(LOOK_EVERY, 6 * self._settings.refresh))

    async def look(self) -> None:
        """Raise what is an alarm now, once."""
        watcher, now = self._looker.watcher, self._clock()
        if watcher.problem or not watcher.reading_done:
            return
        whose = {
            host: name for name, hosts in self._looker.names().hosts_of.items() for host in hosts
        }
        found = await watcher.unusual(tuple(whose), now - LOOK_BACK, now)
        alarms = [replace(one, hypervisor=whose[one.host]) for one in found.findings]
        alarms = [one for one in alarms if is_alarm(one)]
        await asyncio.to_thread(self._keep, alarms, now)

    def _keep(self, findings: list[SyslogFinding], now: float) -> None:
        if findings:
            known = self._store.alarms.find(since=now - 4 * LOOK_BACK)
            for one in findings:
                known = self._kept(one, known, now)
        self.states = self._store.alarms.counts()

    def _kept(self, one: SyslogFinding, known: list[Alarm], now: float) -> list[Alarm]:
        old = next((each for each in known if same(each, one)), None)
        if old is None:
            alarm = self._store.alarms.add(_alarm(one, now))
            self.raised[one.kind.value] = self.raised.get(one.kind.value, 0) + 1
            log.warning(
                "syslog_alarm",
                hypervisor=one.hypervisor,
                kind=one.kind.value,
                summary=one.summary,
                score=round(one.score, 2),
            )
            return [*known, alarm]
        grown = replace(
            old,
            start=min(old.start, one.start),
            end=max(old.end, one.end),
            score=max(old.score, one.score),
        )
        if grown != old:
            self._store.alarms.put(grown)
        return [grown if each is old else each for each in known]

    # What came of them

    async def settle(self) -> None:
        """Confirm alarms by the incidents that are over, and settle those that are too old."""
        now = self._clock()
        for one in await asyncio.to_thread(self._confirmations, now):
            await self._confirm(one, now)
        await asyncio.to_thread(self._store.alarms.settle, now - self._settings.settle, now)
        self.states = await asyncio.to_thread(self._store.alarms.counts)

    def _confirmations(self, now: float) -> list[Confirmation]:
        found = []
        for incident in self._store.incidents.find(since=now - INCIDENTS_SINCE, limit=1000):
            if incident.open or incident.id in self._known:
                continue
            self._known.add(incident.id)
            recording = recall(self._store, incident.id)
            shown = recording.standing if recording is not None else None
            if shown is None:
                continue
            end = incident.resolved_at or incident.last_bad
            within = self._settings.confirm_within
            one = confirmation(incident.id, shown.verdict, shown.evidence, end, within)
            if one is not None and self._store.alarms.add_incident(one, incident.anomaly.time):
                found.append(one)
        return found

    async def _confirm(self, one: Confirmation, now: float) -> None:
        """Confirm the alarms of an incident, and score its window again with what is known now."""
        names = self._looker.names().hosts_of
        whose = {host: name for name in one.hypervisors for host in names.get(name, ())}
        again = await self._looker.watcher.unusual(tuple(whose), one.start, one.end)
        found = [replace(each, hypervisor=whose[each.host]) for each in again.findings]
        counts = await asyncio.to_thread(self._write_down, one, found, now)
        log.info("syslog_alarms_confirmed", incident=one.incident, alarms=counts[0], late=counts[1])

    def _write_down(
        self, one: Confirmation, again: list[SyslogFinding], now: float
    ) -> tuple[int, int]:
        alarms = [
            each
            for each in self._store.alarms.find(since=one.start, until=one.end)
            if confirms(one, each)
        ]
        for alarm in alarms:
            confirmed = replace(
                alarm,
                state=AlarmState.CONFIRMED,
                incident=one.incident,
                rescored=rescored(alarm, again),
                settled_at=now,
            )
            self._store.alarms.put(confirmed)
        missed = [
            each
            for each in again
            if is_alarm(each) and not any(same(alarm, each) for alarm in alarms)
        ]
        for finding in missed:
            late = replace(
                _alarm(finding, now),
                state=AlarmState.LATE,
                incident=one.incident,
                rescored=finding.score,
                settled_at=now,
            )
            self._store.alarms.add(late)
        return len(alarms), len(missed)


def _alarm(one: SyslogFinding, now: float) -> Alarm:
    return Alarm(
        hypervisor=one.hypervisor,
        host=one.host,
        kind=one.kind,
        start=one.start,
        end=one.end,
        score=one.score,
        summary=one.summary,
        raised_at=now,
    )
