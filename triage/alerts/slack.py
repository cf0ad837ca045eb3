"""Slack, by an Incoming Webhook, with blocks.

Rules
- The webhook's URL is a secret: it comes from a file, and only its host is ever shown.
- Within Slack's limits: 50 blocks, 3000 characters in a text, 150 in a header, 10 fields. Evidence
  is cut with a note that says how to see the rest. Lengths are counted after escaping and in UTF-16
  units, which is never less than what Slack counts.
- What others wrote (log lines, names of pods) is text, never markup: &, < and > are escaped, so
  that no link, mention or channel-wide call comes of it; lines stand in a code block that they
  cannot leave; in sentences the characters that format are replaced by their look-alikes.
- A webhook can neither change a message nor answer in its thread: it is not told what it posted. So
  a later message names the incident, its number and when the first one came.
- Slack folds no repeats. When a message may have arrived before, its repeat says so.
- When Slack takes the blocks for invalid, the same is sent as plain text: better plain than lost.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from triage.alerts.errors import AlertConfigError, RefusedError, SinkError, UnreachableError
from triage.alerts.http import HttpClient, HttpSettings, check_http, check_url, read_secret
from triage.alerts.message import AlertMessage, duration, proof_line, utc
from triage.alerts.sink import Sending
from triage.evidence import Outcome
from triage.incidents import AlertKind

MAX_BLOCKS = 50
MAX_TEXT = 3000
MAX_HEADER = 150
MAX_FIELD = 2000
MAX_EVIDENCE = 12
"""Lines of evidence in a message: more is not read in a chat."""
_ELLIPSIS = "..."
_WORD = {
    AlertKind.FIRING: "FIRING",
    AlertKind.UPDATED: "UPDATE",
    AlertKind.RESOLVED: "RESOLVED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings:
    """One Incoming Webhook."""

    name: str
    url_file: str
    """File that holds the webhook's URL, and nothing else."""
    http: HttpSettings = field(default_factory=HttpSettings)


def check_slack(settings: SlackSettings) -> None:
    """Raise AlertConfigError, with one line, when it cannot work."""
    check_http(settings.http)
    what = f"URL of the Slack webhook {settings.name}"
    try:
        check_url(read_secret(settings.url_file, what), f"what is in {settings.url_file}")
    except SinkError as error:
        raise AlertConfigError(str(error)) from None


class SlackSink:
    """The sink; see the rules above."""

    resend: float | None = None
    hold = 0.0

    def __init__(self, settings: SlackSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._http = HttpClient(settings.http, clock)
        self.name = settings.name

    async def send(self, sending: Sending) -> None:
        """Post the message; again as plain text when its blocks are not taken."""
        url = read_secret(self._settings.url_file, "Slack webhook URL")
        try:
            check_url(url, f"what is in {self._settings.url_file}")
        except AlertConfigError as error:
            raise UnreachableError(str(error)) from None
        headers = {"Idempotency-Key": f'"{sending.message.id}"'}
        body = render(sending.message, repeat=sending.repeat)
        try:
            await self._http.post(url, msgspec.json.encode(body), headers)
        except RefusedError as error:
            if "invalid_blocks" not in str(error):
                raise
            body = {"text": plain(sending.message), "mrkdwn": False}
            await self._http.post(url, msgspec.json.encode(body), headers)


def render(message: AlertMessage, *, repeat: bool = False) -> dict[str, Any]:
    """Return the body to post: the blocks, and the text that notifications show in their place."""
    return {
        "text": prose(_headline(message), MAX_TEXT),
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": list(_blocks(message, repeat))[:MAX_BLOCKS],
    }


def plain(message: AlertMessage) -> str:
    """Return the message as plain text, within the limit of a text."""
    lines = [_headline(message), message.summary, _reference(message)]
    lines += [proof_line(proof) for proof in message.proofs[:MAX_EVIDENCE]]
    return prose("\n".join(line for line in lines if line), MAX_TEXT)


def _headline(message: AlertMessage) -> str:
    title = message.title or "undetermined"
    return f"{_WORD[message.event]}: {message.target}: {title}"


def _blocks(message: AlertMessage, repeat: bool) -> Iterator[dict[str, Any]]:
    header = _headline(message).replace("<", "\u2039").replace(">", "\u203a")
    yield {
        "type": "header",
        "text": {
            "type": "plain_text",
            "text": _cut_units(" ".join(header.split()), MAX_HEADER),
            "emoji": False,
        },
    }
    if repeat:
        yield _context("Sent again: whether Slack had taken it before is not known.")
    if message.summary:
        yield _section(prose(message.summary, MAX_TEXT))
    yield {"type": "section", "fields": [_text(field) for field in _fields(message)]}
    yield from _evidence(message)
    if message.unknowns:
        yield _section(_list("Not known", message.unknowns))
    if unseen := [step for step in message.steps if step.outcome is Outcome.FAILED]:
        yield _section(
            _list("Could not look", tuple(f"{step.step}: {step.summary}" for step in unseen))
        )
    yield _context(prose(_reference(message), MAX_FIELD))
    if links := _links(message):
        yield _section(links)


def _fields(message: AlertMessage) -> list[str]:
    status = "no response" if message.status == 0 else message.status
    pairs = (
        ("Cause", " / ".join(part for part in (message.cause, message.reason) if part)),
        ("Confidence", message.confidence),
        ("Object", message.object),
        ("Severity", message.severity),
        ("Status", "" if status is None else str(status)),
        ("Began", utc(message.started_at)),
        ("Lasted" if not message.firing else "So far", duration(message)),
        ("Outages", str(message.outages) if message.outages > 1 else ""),
        ("Cluster", message.cluster),
    )
    return [f"*{name}*\n{prose(value, 1500)}" for name, value in pairs if value]


def _evidence(message: AlertMessage) -> Iterator[dict[str, Any]]:
    shown = message.proofs[:MAX_EVIDENCE]
    for proof in shown:
        where = f"{utc(proof.time)[11:]} " if proof.time is not None else ""
        head = prose(f"{where}{proof.step} {proof.source}", 400)
        yield _section(f"{head}\n```{code(proof.text, MAX_TEXT - 450)}```")
    left_out = len(message.proofs) - len(shown) + message.proofs_left_out
    if left_out:
        yield _context(f"{left_out} more lines were cut: `triage show {message.incident}`")


def _reference(message: AlertMessage) -> str:
    """Say which incident this is about, so that messages about one are read together."""
    text = f"incident {message.incident}, message {message.number}"
    if message.number > 1:
        text += f", following the one about what began at {utc(message.started_at)}"
    if message.why:
        text += f": {message.why}"
    return text


def _list(title: str, lines: tuple[str, ...]) -> str:
    text = f"*{title}*"
    for line in lines:
        item = f"\n\u2022 {prose(line, 500)}"
        if _units(text) + _units(item) > MAX_TEXT - 10:
            return text + f"\n{_ELLIPSIS}"
        text += item
    return text


def _links(message: AlertMessage) -> str:
    links = []
    for name, url in message.links.items():
        if re.fullmatch(r"https?://[^\s|<>]{1,500}", url):
            links.append(f"<{url.replace('&', '&amp;')}|{prose(name, 60)}>")
    text = "  ".join(links)
    return text if _units(text) <= MAX_TEXT else ""


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _text(text)}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [_text(text)]}


def _text(text: str) -> dict[str, Any]:
    # verbatim: no links are made of what looks like one
    return {"type": "mrkdwn", "text": text, "verbatim": True}


# Text that others wrote

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LOOKS_LIKE = str.maketrans({"*": "\u2217", "~": "\u223c", "`": "'"})
_EDGE = re.compile(r"(?<!\w)_|_(?!\w)")
"""Underscores that could begin or end italics; those within a name do not."""


def prose(text: str, limit: int) -> str:
    """Return text that shows as it is within mrkdwn, in at most `limit` units."""
    return escaped(_EDGE.sub("\uff3f", text.translate(_LOOKS_LIKE)), limit)


def code(text: str, limit: int) -> str:
    """Return text that shows as it is within a code block and cannot end it."""
    return escaped(text.replace("`", "'"), limit)


def escaped(text: str, limit: int) -> str:
    """Return text with Slack's three characters escaped, cut whole to `limit` units."""
    parts: list[str] = []
    size = 0
    for char in text:
        part = _ESCAPES.get(char, char)
        size += _units(part)
        if size > limit - len(_ELLIPSIS):
            rest = "".join(_ESCAPES.get(one, one) for one in text[len(parts) :][:limit])
            whole = "".join(parts) + rest
            return whole if _units(whole) <= limit else "".join(parts) + _ELLIPSIS
        parts.append(part)
    return "".join(parts)


def _units(text: str) -> int:
    return len(text) + sum(char > "\uffff" for char in text)


def _cut_units(text: str, limit: int) -> str:
    if _units(text) <= limit:
        return text
    while _units(text) > limit - len(_ELLIPSIS):
        text = text[:-1]
    return text + _ELLIPSIS
