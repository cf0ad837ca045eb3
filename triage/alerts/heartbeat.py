"""The dead man's switch: says "triage is at work" again and again, so that silence is an alarm.

Rules
- To each Alertmanager an alert that always fires (`TriageHeartbeat`), and to a configured URL (of a
  service that alarms when it is no longer asked) a GET or a POST.
- Only while `working()` says so: a heartbeat of a service whose work stands still is a lie.
- Not through the outbox: a late heartbeat is worth nothing. A failure is logged once, and its end.
- A stop sends nothing: the alert ends by itself, and that is the point.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from triage.alerts.alertmanager import AlertmanagerClient, AlertmanagerSettings, heartbeat
from triage.alerts.errors import AlertConfigError, SinkError
from triage.alerts.http import HttpClient, HttpSettings, check_http, check_url, read_secret

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSettings:
    """What is told that triage works, besides every Alertmanager."""

    interval: float = 60.0
    """Seconds between two; the alert lasts for four of them."""
    labels: tuple[tuple[str, str], ...] = ()
    """Of the alert: what tells several installations apart."""
    url_file: str = ""
    """File that holds the URL to ask; "": none."""
    method: str = "GET"
    """GET or POST."""
    http: HttpSettings = field(default_factory=HttpSettings)


def check_heartbeat(settings: HeartbeatSettings) -> None:
    """Raise AlertConfigError, with one line, when it cannot work."""
    if settings.method not in ("GET", "POST"):
        raise AlertConfigError("the method of the heartbeat is GET or POST")
    check_http(settings.http)
    if settings.url_file:
        try:
            url = read_secret(settings.url_file, "heartbeat URL")
        except SinkError as error:
            raise AlertConfigError(str(error)) from None
        check_url(url, f"what is in {settings.url_file}")


class Heartbeat:
    """Beats from `run` on until that is cancelled."""

    def __init__(
        self,
        settings: HeartbeatSettings,
        alertmanagers: Sequence[AlertmanagerSettings],
        working: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._clients = [(one.name, AlertmanagerClient(one, clock)) for one in alertmanagers]
        self._http = HttpClient(settings.http, clock)
        self._working = working
        self._clock = clock
        self._failing: set[str] = set()

    async def run(self) -> None:
        """Beat for ever; each receiver by itself, so that a slow one holds up nobody."""
        async with asyncio.TaskGroup() as group:
            for name, client in self._clients:
                group.create_task(self._beats(name, client))
            if self._settings.url_file:
                group.create_task(self._beats("url", None))

    async def _beats(self, name: str, client: AlertmanagerClient | None) -> None:
        while True:
            if self._working():
                try:
                    await (self._ping() if client is None else self._alert(client))
                except (SinkError, AlertConfigError) as error:
                    if name not in self._failing:
                        self._failing.add(name)
                        log.warning("heartbeat_failed", receiver=name, problem=str(error))
                else:
                    if name in self._failing:
                        self._failing.discard(name)
                        log.info("heartbeat_back", receiver=name)
            await asyncio.sleep(self._settings.interval)

    async def _alert(self, client: AlertmanagerClient) -> None:
        settings = self._settings
        alert = heartbeat(self._clock(), 4 * settings.interval, dict(settings.labels))
        await client.post([alert])

    async def _ping(self) -> None:
        settings = self._settings
        url = read_secret(settings.url_file, "heartbeat URL")
        check_url(url, f"what is in {settings.url_file}")
        await self._http.request(settings.method, url, None, {})
