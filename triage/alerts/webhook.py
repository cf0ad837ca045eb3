"""The generic webhook: one documented, versioned JSON body per message.

Rules
- The body follows `webhook-v1.schema.json`, which is part of the package. Within a version keys may
  come and none goes or changes its meaning; "version" tells a receiver which one it has.
- `Idempotency-Key` is the message's id, which is in the body too. A repeat has the same body, octet
  by octet, and the same key: receivers fold repeats by it.
- With a secret (out of a file) the body is signed: `X-Triage-Signature: t=TIME,v1=HEX`, where HEX
  is HMAC-SHA256 over "TIME.BODY" and TIME the seconds since 1970 of this attempt. A receiver
  compares in constant time and refuses what is older than it likes.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import msgspec

from triage.alerts.errors import AlertConfigError, SinkError, UnreachableError
from triage.alerts.http import HttpClient, HttpSettings, check_http, check_url, read_secret
from triage.alerts.message import AlertMessage, utc
from triage.alerts.sink import Sending
from triage.evidence import Proof, StepResult

VERSION = 1
SCHEMA = "webhook-v1.schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """One receiver; of `url` and `url_file` exactly one."""

    name: str
    url: str = ""
    url_file: str = ""
    """File that holds the URL, when that is a secret."""
    secret_file: str = ""
    """File that holds the secret to sign with; "": not signed."""
    http: HttpSettings = field(default_factory=HttpSettings)


def check_webhook(settings: WebhookSettings) -> None:
    """Raise AlertConfigError, with one line, when it cannot work."""
    if bool(settings.url) == bool(settings.url_file):
        raise AlertConfigError(f"the webhook {settings.name} needs a URL or a URL file, not both")
    check_http(settings.http)
    try:
        _url(settings)
        if settings.secret_file:
            read_secret(settings.secret_file, "webhook secret")
    except SinkError as error:
        raise AlertConfigError(str(error)) from None


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of the body."""
    text = resources.files("triage.alerts").joinpath(SCHEMA).read_bytes()
    loaded: dict[str, Any] = msgspec.json.decode(text)
    return loaded


class WebhookSink:
    """The sink; see the rules above."""

    resend: float | None = None
    hold = 0.0

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._http = HttpClient(settings.http, clock)
        self._clock = clock
        self.name = settings.name

    async def send(self, sending: Sending) -> None:
        """Post the message."""
        settings = self._settings
        url = _url(settings)
        data = msgspec.json.encode(body(sending.message))
        headers = {
            "Idempotency-Key": f'"{sending.message.id}"',
            "X-Triage-Schema": f"webhook-v{VERSION}",
        }
        if settings.secret_file:
            secret = read_secret(settings.secret_file, "webhook secret")
            headers["X-Triage-Signature"] = signature(secret, data, self._clock())
        await self._http.post(url, data, headers)


def _url(settings: WebhookSettings) -> str:
    if settings.url:
        url, what = settings.url, f"the URL of the webhook {settings.name}"
    else:
        url = read_secret(settings.url_file, "webhook URL")
        what = f"what is in {settings.url_file}"
    try:
        check_url(url, what)
    except AlertConfigError as error:
        raise UnreachableError(str(error)) from None
    return url


def signature(secret: str, data: bytes, now: float) -> str:
    """Return the signature header's value for a body that is sent at `now`."""
    moment = str(int(now))
    digest = hmac.new(secret.encode(), moment.encode() + b"." + data, hashlib.sha256)
    return f"t={moment},v1={digest.hexdigest()}"


def body(message: AlertMessage) -> dict[str, Any]:
    """Return the body as plain data; see the schema for what each key means."""
    return {
        "version": VERSION,
        "id": message.id,
        "incident": message.incident,
        "number": message.number,
        "event": str(message.event),
        "change": message.why,
        "time": utc(message.time),
        "severity": message.severity,
        "target": {
            "name": message.target,
            "url": message.url,
            "cluster": message.cluster,
            "namespace": message.namespace,
        },
        "outage": {
            "started_at": utc(message.started_at),
            "ended_at": None if message.ended_at is None else utc(message.ended_at),
            "status": message.status,
            "count": message.outages,
            "flapping": message.flapping,
        },
        "verdict": {
            "cause": message.cause,
            "reason": message.reason,
            "title": message.title,
            "summary": message.summary,
            "confidence": message.confidence,
            "object": message.object,
            "policy": message.policy,
        },
        "steps": [_step(step) for step in message.steps],
        "evidence": [_proof(proof) for proof in message.proofs],
        "evidence_left_out": message.proofs_left_out,
        "unknowns": list(message.unknowns),
        "links": dict(message.links),
    }


def _step(step: StepResult) -> dict[str, Any]:
    window = step.window
    return {
        "step": str(step.step),
        "outcome": str(step.outcome),
        "summary": step.summary,
        "window": None
        if window is None
        else {"start": utc(window.start), "end": utc(window.end), "reason": window.reason},
        "lag_seconds": step.lag,
    }


def _proof(proof: Proof) -> dict[str, Any]:
    return {
        "step": str(proof.step),
        "time": None if proof.time is None else utc(proof.time),
        "source": proof.source,
        "text": proof.text,
        "deciding": proof.deciding,
    }
