"""Alertmanager, by its API v2 (`POST /api/v2/alerts`).

Theory of operation
    To Alertmanager an alert is its labels. What is sent with other labels is another alert, and
    the former one goes on firing until its endsAt. What is sent with the same labels and other
    annotations is the same alert, and nobody is told of the change before repeat_interval.

    So what identifies an incident (alertname, target, cluster, namespace, incident) is a label,
    and so are `cause` and `severity`: they route, and people must hear when they change. When one
    of them does, the alert with the former labels is resolved in the same request that raises the
    new one, so that never both fire.

    An alert ends by itself at its endsAt. That is four re-sends away, so that three may get lost
    and an alert whose sender died does not stay for ever.

Rules
- Each Alertmanager is a sink of its own: all of a cluster are sent to, as they expect, and a dead
  one delays nobody else.
- A repeat is the same alert to Alertmanager; nothing more is needed for it.
- A resolved alert follows its firing one after `hold` at the earliest: Alertmanager tells nobody
  of an alert that fires and ends between two flushes of its group (group_wait, group_interval).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from triage.alerts.http import HttpClient, HttpSettings, check_http, check_url
from triage.alerts.message import AlertMessage, cut, duration, proof_line, utc
from triage.alerts.sink import Sending

ALERTNAME = "TriageVerdict"
HEARTBEAT = "TriageHeartbeat"
_LIVES = 4
"""Re-sends after which an alert that nobody re-sends ends."""
_MAX_EVIDENCE = 8000
"""Characters of the annotation `evidence`: e-mail and chat templates print it whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerSettings:
    """One Alertmanager; every one of a cluster is configured."""

    name: str
    url: str
    """With the route prefix, without /api/v2/alerts: "http://alertmanager:9093"."""
    http: HttpSettings = field(default_factory=HttpSettings)
    resend: float = 60.0
    """Seconds between two re-sends of what fires."""
    hold: float = 330.0
    """Seconds that an alert fires at least: the usual group_interval (5 min) and some."""
    labels: tuple[tuple[str, str], ...] = ()
    """Added to every alert ("team", "shop"); none of ours can be replaced."""


def check_alertmanager(settings: AlertmanagerSettings) -> None:
    """Raise AlertConfigError, with one line, when it cannot work."""
    check_url(settings.url, f"the URL of the Alertmanager {settings.name}")
    check_http(settings.http)


class AlertmanagerClient:
    """Posts alerts to one Alertmanager."""

    def __init__(
        self, settings: AlertmanagerSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._http = HttpClient(settings.http, clock)
        self._url = settings.url.rstrip("/") + "/api/v2/alerts"

    async def post(self, alerts: Sequence[dict[str, Any]], key: str = "") -> None:
        """Post alerts in one request; raise a SinkError unless it took them."""
        headers = {"Idempotency-Key": f'"{key}"'} if key else {}
        await self._http.post(self._url, msgspec.json.encode(alerts), headers)


class AlertmanagerSink:
    """The sink; see the rules above."""

    def __init__(
        self, settings: AlertmanagerSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._client = AlertmanagerClient(settings, clock)
        self._clock = clock
        self.name = settings.name
        self.resend: float | None = settings.resend
        self.hold = settings.hold

    async def send(self, sending: Sending) -> None:
        """Post the alert and, when its labels changed, the end of the one that it replaces."""
        alerts = render(
            sending.message,
            sending.standing,
            now=self._clock(),
            lives=_LIVES * self._settings.resend,
            labels=dict(self._settings.labels),
        )
        await self._client.post(alerts, sending.message.id)


def render(
    message: AlertMessage,
    standing: AlertMessage | None,
    *,
    now: float,
    lives: float,
    labels: dict[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the alerts to post: the message's and, with other labels, the end of `standing`'s.

    `now` and `lives` (how long a firing alert lasts unless it is re-sent) in seconds.
    """
    extra = labels or {}
    if message.firing:
        ends = now + lives
    else:
        ends = min(now, message.time if message.ended_at is None else message.ended_at)
    alerts = [_alert(message, now, ends, extra)]
    if standing is not None and standing.firing and _labels(standing) != _labels(message):
        # It ends as the new one begins, whatever the time: to be told of as resolved it must be
        # over by Alertmanager's clock too.
        alerts.append(_alert(standing, now, now, extra))
    return alerts


def _alert(message: AlertMessage, now: float, ends: float, extra: dict[str, str]) -> dict[str, Any]:
    starts = min(message.started_at, now)
    return {
        "labels": {**extra, **_labels(message)},
        "annotations": _annotations(message),
        "startsAt": utc(starts),
        "endsAt": utc(max(ends, starts)),  # one that ends before it starts is refused
        "generatorURL": _web_url(message),
    }


def _labels(message: AlertMessage) -> dict[str, str]:
    """Return what the alert is to Alertmanager. Empty ones are left out, as it does itself."""
    labels = {
        "alertname": ALERTNAME,
        "target": message.target,
        "cluster": message.cluster,
        "namespace": message.namespace,
        "incident": message.incident,
        "cause": message.cause,
        "severity": message.severity,
    }
    return {name: value for name, value in labels.items() if value}


def _web_url(message: AlertMessage) -> str:
    return message.links.get("incident") or next(iter(message.links.values()), "")


def _annotations(message: AlertMessage) -> dict[str, str]:
    annotations = {
        "summary": f"{message.target}: {message.title}" if message.title else message.target,
        "description": message.summary,
        "reason": message.reason,
        "confidence": message.confidence,
        "object": message.object,
        "status": "" if message.status is None else str(message.status),
        "lasted": duration(message) if not message.firing else "",
        "outages": str(message.outages) if message.outages > 1 else "",
        "change": message.why,
        "steps": "\n".join(_step_lines(message)),
        "evidence": evidence_text(message, _MAX_EVIDENCE),
        "unknown": "\n".join(message.unknowns),
        "message": message.id,
    }
    annotations |= {f"link_{_name(name)}": url for name, url in message.links.items()}
    return {name: text for name, text in annotations.items() if text}


def _name(text: str) -> str:
    """Return text as the name of an annotation may be."""
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in text)


def _step_lines(message: AlertMessage) -> list[str]:
    lines = []
    for step in message.steps:
        line = f"{step.step}: {step.outcome}: {step.summary}"
        if step.window is not None:
            window = step.window
            line += f" [window {utc(window.start)} to {utc(window.end)}"
            line += f", {window.reason}]" if window.reason else "]"
        if step.lag is not None:
            line += f" [lag {step.lag:.3f} s]"
        lines.append(line)
    return lines


def evidence_text(message: AlertMessage, limit: int) -> str:
    """Return the evidence as lines of text within `limit` characters, with a note of what is cut.

    A line that does not fit is cut, and the ones after it are counted.
    """
    lines: list[str] = []
    room = limit - 100  # for the note
    left_out = message.proofs_left_out
    for count, proof in enumerate(message.proofs):
        line = cut(proof_line(proof), max(room, 0))
        if room < 80:
            left_out += len(message.proofs) - count
            break
        lines.append(line)
        room -= len(line) + 1
    if left_out:
        lines.append(f"... and {left_out} more: triage show {message.incident}")
    return "\n".join(lines)


def heartbeat(now: float, lives: float, labels: dict[str, str]) -> dict[str, Any]:
    """Return the alert that always fires, so that its absence is an alarm."""
    return {
        "labels": {**labels, "alertname": HEARTBEAT, "severity": "none"},
        "annotations": {
            "summary": "triage is at work",
            "description": "This alert always fires. When it stops, triage no longer watches, or"
            " cannot reach this Alertmanager.",
        },
        "startsAt": utc(now),
        "endsAt": utc(now + lives),
    }
