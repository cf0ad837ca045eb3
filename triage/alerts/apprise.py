"""E-mail and a hundred other services, through apprise (the extra `vmmib[apprise]`).

Rules
- Optional: without the library there is one clear line when the configuration is checked.
- Apprise's URLs hold passwords: they come from a file, one URL a line (# begins a comment), and are
  never shown.
- Apprise tells whether a message went out, not what became of it: a failure may be a message that
  arrived, and is tried again.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.alerts.errors import (
    AlertConfigError,
    FaultySinkError,
    RefusedError,
    SinkError,
    UnreachableError,
)
from triage.alerts.message import AlertMessage, cut, duration, proof_line, utc
from triage.alerts.sink import Sending

_MAX_BODY = 6000
_MAX_TITLE = 200
_MAX_FILE = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseSettings:
    """Services that get every message; for ones that are to fail apart, configure two sinks."""

    name: str
    urls_file: str
    timeout: float = 30.0


def check_apprise(settings: AppriseSettings) -> None:
    """Raise AlertConfigError, with one line, when it cannot work."""
    try:
        _services(settings)
    except SinkError as error:
        raise AlertConfigError(str(error)) from None


class AppriseSink:
    """The sink; see the rules above."""

    resend: float | None = None
    hold = 0.0

    def __init__(self, settings: AppriseSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self.name = settings.name

    async def send(self, sending: Sending) -> None:
        """Notify all services of the sink."""
        try:
            services = _services(self._settings)
        except AlertConfigError as error:
            raise UnreachableError(str(error)) from None
        message = sending.message
        kind = "success" if not message.firing else _KINDS.get(message.severity, "warning")
        timeout = self._settings.timeout
        try:
            async with asyncio.timeout(timeout):
                sent = await services.async_notify(
                    title=cut(_title(message), _MAX_TITLE),
                    body=text(message, repeat=sending.repeat),
                    notify_type=kind,
                    body_format="text",
                )
        except TimeoutError:
            raise FaultySinkError(f"apprise: not sent within {timeout:g} s") from None
        except TypeError as error:
            raise RefusedError(f"apprise: does not take the message: {error}") from None
        if not sent:
            raise FaultySinkError("apprise: a service did not take it (apprise's log says more)")


_KINDS = {"info": "info", "warning": "warning", "critical": "failure"}


def _services(settings: AppriseSettings) -> Any:
    """Return apprise's object with the services of the file."""
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        raise AlertConfigError(
            f"the sink {settings.name} needs apprise: pip install 'vmmib[apprise]'"
        ) from None
    path = settings.urls_file
    try:
        with Path(path).open("rb") as file:
            lines = file.read(_MAX_FILE).decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise UnreachableError(
            f"cannot read the apprise URL file {path}: {error.strerror}"
        ) from None
    services = apprise.Apprise()
    for number, line in enumerate(lines, 1):
        url = line.strip()
        if url and not url.startswith("#") and not services.add(url):
            raise AlertConfigError(f"{path}: line {number} is no URL that apprise knows")
    if not len(services):
        raise AlertConfigError(f"{path}: no URL in it")
    return services


def _title(message: AlertMessage) -> str:
    return f"[{message.event.upper()}] {message.target}: {message.title or 'undetermined'}"


def text(message: AlertMessage, *, repeat: bool = False) -> str:
    """Return the message as plain text."""
    facts = (
        ("cause", " / ".join(part for part in (message.cause, message.reason) if part)),
        ("confidence", message.confidence),
        ("object", message.object),
        ("severity", message.severity),
        ("began", utc(message.started_at)),
        ("so far" if message.firing else "lasted", duration(message)),
        ("incident", f"{message.incident}, message {message.number}"),
        ("change", message.why),
    )
    lines = ["Sent again: whether it had arrived before is not known.", ""] if repeat else []
    lines += [message.summary, ""]
    lines += [f"{name}: {value}" for name, value in facts if value]
    if message.proofs:
        lines += ["", "Evidence:", *(proof_line(proof) for proof in message.proofs)]
    if message.proofs_left_out:
        lines.append(f"... and {message.proofs_left_out} more: triage show {message.incident}")
    if message.unknowns:
        lines += ["", "Not known:", *message.unknowns]
    lines += ["", *(f"{name}: {url}" for name, url in message.links.items())]
    return cut("\n".join(lines).strip(), _MAX_BODY)
