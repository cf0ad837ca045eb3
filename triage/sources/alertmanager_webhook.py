"""Alertmanager's webhook: its payload as questions, so that any alert can ask for a triage.

Rules
- Version 4 of the payload (prometheus.io/docs/alerting/latest/configuration/#webhook_config), as
  Alertmanager, Grafana and the like send it; unknown fields are passed over, missing ones are
  what they are by default.
- Bounded: octets, alerts, labels and their lengths. What is beyond is left out and said.
- A payload that makes no sense is a `PayloadError` with one line: the service answers 400.
- Pure: who listens is the service's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from triage.triggers import Question

MAX_OCTETS = 4 * 2**20
MAX_ALERTS = 1000
MAX_LABELS = 64
MAX_TEXT = 2048
"""Characters of a label's or annotation's value."""
_MAX_NAME = 128


class PayloadError(ValueError):
    """The payload is none of Alertmanager's; the message is one line, fit for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One call of the webhook."""

    questions: tuple[Question, ...]
    problems: tuple[str, ...] = ()
    """Alerts that were left out, one line each."""


class _Alert(msgspec.Struct):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    status: str = ""
    startsAt: str = ""  # noqa: N815 - Alertmanager's names
    endsAt: str = ""  # noqa: N815
    fingerprint: str = ""


class _Payload(msgspec.Struct):
    alerts: list[msgspec.Raw]
    version: str = "4"
    status: str = ""
    truncatedAlerts: int = 0  # noqa: N815
    commonLabels: dict[str, str] = {}  # noqa: N815


def parse_payload(body: bytes) -> Notification:
    """Questions out of the body of a webhook request. Raises PayloadError.

    An alert that makes no sense is left out, and said in `problems`; the others stand.
    """
    if len(body) > MAX_OCTETS:
        raise PayloadError(f"webhook: the body has more than {MAX_OCTETS // 2**20} MiB")
    try:
        payload = msgspec.json.decode(body, type=_Payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"webhook: not Alertmanager's payload: {_line(str(error))}") from None
    if payload.version not in ("", "4", "1"):  # Grafana says 1 and sends the same
        raise PayloadError(
            f"webhook: version {_line(payload.version)!r} of the payload, 4 is understood"
        )
    problems: list[str] = []
    if payload.truncatedAlerts > 0:
        problems.append(
            f"webhook: Alertmanager left out {payload.truncatedAlerts} alerts (its max_alerts)"
        )
    if len(payload.alerts) > MAX_ALERTS:
        problems.append(f"webhook: {len(payload.alerts)} alerts, the first {MAX_ALERTS} are read")
    questions: list[Question] = []
    for number, raw in enumerate(payload.alerts[:MAX_ALERTS], 1):
        try:
            questions.append(_question(raw, payload))
        except (ValueError, RecursionError) as error:
            problems.append(f"webhook: alert {number} left out: {_line(str(error))}")
    return Notification(questions=tuple(questions), problems=tuple(problems[:20]))


def _question(raw: msgspec.Raw, payload: _Payload) -> Question:
    alert = msgspec.json.decode(raw, type=_Alert)
    labels = _bounded({**payload.commonLabels, **alert.labels})
    if not labels:
        raise ValueError("it has no labels")
    starts_at = _time(alert.startsAt, "startsAt")
    if starts_at is None:
        raise ValueError("it has no startsAt")
    ends_at = None
    if (alert.status or payload.status) == "resolved":
        # While an alert fires, endsAt is when it would be given up.
        ends_at = _time(alert.endsAt, "endsAt") or starts_at
    return Question(
        labels=labels,
        annotations=_bounded(alert.annotations),
        starts_at=starts_at,
        ends_at=ends_at,
        fingerprint=alert.fingerprint[:_MAX_NAME],
    )


def _time(text: str, name: str) -> float | None:
    """Seconds since 1970; None for Go's zero time and for nothing."""
    if not text or text.startswith("0001-"):
        return None
    try:
        # datetime takes six digits of a second, Go writes up to nine.
        found = datetime.fromisoformat(_six_digits(text))
    except ValueError:
        raise ValueError(f"its {name} is no time: {_line(text)!r}") from None
    if found.tzinfo is None:
        raise ValueError(f"its {name} has no zone: {_line(text)!r}")
    return found.timestamp()


def _six_digits(text: str) -> str:
    head, dot, tail = text.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return head + dot + tail[:digits][:6].ljust(6, "0") + tail[digits:] if dot else text


def _bounded(labels: Mapping[str, str]) -> dict[str, str]:
    chosen = list(labels.items())[:MAX_LABELS]
    return {name[:_MAX_NAME]: value[:MAX_TEXT] for name, value in chosen}


def _line(text: str) -> str:
    clean = "".join(char if char.isprintable() else " " for char in text[:500])
    return " ".join(clean.split())[:200]
