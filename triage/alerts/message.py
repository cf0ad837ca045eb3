"""What is told: one message about one incident, the same for every sink.

Rules
- Pure: an incident, its verdict and its evidence go in, a frozen message comes out. Sinks render it
  when they send it, so that a message which waited follows today's configuration.
- Everything in it is bounded and masked, whatever the evidence held.
- `id` is its identity for receivers: the incident's id and the message's number in the incident. A
  repeat carries the same one.
- Messages are stored as JSON (`encode`, `decode`). Fields may come, with a default; none changes
  its meaning.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from triage.evidence import Cause, Confidence, Evidence, Policy, Proof, StepResult, Target, Verdict
from triage.incidents import Alert, AlertKind, Incident
from triage.masking import mask as mask_text

MAX_PROOFS = 20
"""Lines of evidence in a message; the whole evidence is in the store."""
MAX_LINE = 2000
"""Characters of one line of evidence."""
MAX_TEXT = 2000
"""Characters of a summary, of a step's sentence, of an unknown."""
MAX_UNKNOWNS = 20
MAX_STEPS = 12
MAX_LINKS = 10
_CUT = " ... (cut)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMessage:
    """One message about one incident. Times are seconds since 1970."""

    id: str
    """"INCIDENT.NUMBER": what receivers fold repeats by."""
    incident: str
    number: int
    """1, 2, 3, ... in the order in which the incident's messages came about."""
    event: AlertKind
    """FIRING: the incident's first message; RESOLVED: its last."""
    why: str = ""
    """What changed, in a few words."""
    time: float
    """When it came about."""
    severity: str
    """"info", "warning" or "critical"."""
    target: str
    cluster: str = ""
    namespace: str = ""
    url: str = ""
    """What the monitor asks for."""
    status: int | None = None
    """The first bad status; 0: no response; None: missing, stale or not known."""
    started_at: float
    """First bad observation."""
    ended_at: float | None = None
    """First good observation after the last bad one; None while it lasts."""
    outages: int = 1
    """Outages that were joined into the incident."""
    flapping: bool = False
    cause: str = ""
    reason: str = ""
    title: str = ""
    summary: str = ""
    confidence: str = ""
    object: str = ""
    policy: str = ""
    steps: tuple[StepResult, ...] = ()
    proofs: tuple[Proof, ...] = ()
    """Deciding lines first, each in the order of time."""
    proofs_left_out: int = 0
    unknowns: tuple[str, ...] = ()
    links: dict[str, str] = field(default_factory=dict)
    """Name -> URL; "incident" is this incident's own page."""

    @property
    def firing(self) -> bool:
        """True unless the incident is over."""
        return self.event is not AlertKind.RESOLVED


def message_id(incident: str, number: int) -> str:
    """Return the identity of the `number`th message of an incident."""
    return f"{incident}.{number}"


def make_message(
    incident: Incident,
    alert: Alert,
    *,
    time: float,
    verdict: Verdict | None,
    evidence: Evidence | None,
    links: Mapping[str, str] | None = None,
    mask: Callable[[str], str] = mask_text,
) -> AlertMessage:
    """Return the message that `alert` asks for. Text is masked and cut here.

    `time` is when it came about; `verdict` is the one that stands, and `evidence` what it was
    decided on, both None when no look gave one; `links` are names -> URLs.
    """

    def text(value: str, limit: int = MAX_TEXT) -> str:
        return cut(mask(_storable(value)), limit)

    target = Target(name=incident.target) if evidence is None else evidence.target
    told = verdict or _no_verdict(incident, time)
    proofs = sorted(told.proofs, key=lambda one: not one.deciding)
    return AlertMessage(
        id=message_id(incident.id, alert.number),
        incident=incident.id,
        number=alert.number,
        event=alert.kind,
        why=text(alert.why, 300),
        time=time,
        severity=str(incident.severity),
        target=text(target.name, 200),
        cluster=text(target.cluster, 200),
        namespace=text(target.namespace, 200),
        url=text(target.url),
        status=incident.anomaly.status,
        started_at=incident.anomaly.time,
        ended_at=incident.resolved_at if alert.kind is AlertKind.RESOLVED else None,
        outages=incident.flaps + 1,
        flapping=incident.flapping,
        cause=str(told.cause),
        reason=told.reason,
        title=text(told.title, 200),
        summary=text(told.summary),
        confidence=str(told.confidence),
        object=text(told.object, 300),
        policy=str(told.policy),
        steps=tuple(_step(one, text) for one in told.steps[:MAX_STEPS]),
        proofs=tuple(
            replace(one, source=text(one.source, 300), text=text(one.text, MAX_LINE))
            for one in proofs[:MAX_PROOFS]
        ),
        proofs_left_out=max(0, len(proofs) - MAX_PROOFS),
        unknowns=tuple(text(one) for one in told.unknowns[:MAX_UNKNOWNS]),
        links={text(name, 60): text(to) for name, to in list((links or {}).items())[:MAX_LINKS]},
    )


def _no_verdict(incident: Incident, time: float) -> Verdict:
    """What is told of an incident that no look gave a verdict for: never silence."""
    status = incident.anomaly.status
    shown = "no response" if status == 0 else "no sample" if status is None else f"status {status}"
    return Verdict(
        cause=Cause.UNDETERMINED,
        reason="",
        title="undetermined",
        summary=f"{incident.target}: {shown} since {utc(incident.anomaly.time)}; no look at its"
        " cause was completed.",
        confidence=Confidence.POSSIBLE,
        policy=Policy.DEFAULT,
        steps=(),
        unknowns=("no look at the cause was completed",),
        decided_at=time,
    )


def _step(step: StepResult, text: Callable[[str], str]) -> StepResult:
    window = step.window
    if window is not None:
        window = replace(window, reason=text(window.reason))
    return replace(step, summary=text(step.summary), window=window)


def _storable(text: str) -> str:
    """Return text without lone surrogates and control characters but newline and tab."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if text.isprintable():
        return text
    return "".join(
        char if (char >= " " and char != "\x7f") or char in "\n\t" else f"\\x{ord(char):02x}"
        for char in text
    )


def cut(text: str, limit: int) -> str:
    """Return text of at most `limit` characters, with a note where something was cut off."""
    if len(text) <= limit:
        return text
    return text[: max(0, limit - len(_CUT))] + _CUT[:limit]


def encode(message: AlertMessage) -> bytes:
    """Return the message as JSON, for the store."""
    return msgspec.json.encode(message)


def decode(data: bytes) -> AlertMessage:
    """Return what `encode` wrote; raise ValueError when this release cannot read it."""
    try:
        return msgspec.json.decode(data, type=AlertMessage)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"a stored message that cannot be read: {error}") from None


def utc(time: float) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds, as JSON and people read it."""
    try:
        moment = dt.datetime.fromtimestamp(time, dt.UTC)
    except (OverflowError, OSError, ValueError):  # no time at all; better that than no alert
        moment = dt.datetime.fromtimestamp(0, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def proof_line(proof: Proof) -> str:
    """Return a proof as one line of plain text: time, step, source, and what is there."""
    when = utc(proof.time)[11:] if proof.time is not None else "-"
    return f"{when} {proof.step} {proof.source}: {proof.text}"


def duration(message: AlertMessage) -> str:
    """Return how long it lasts or lasted: "45 s", "3 min 20 s", "2 h 5 min"."""
    until = message.time if message.ended_at is None else message.ended_at
    seconds = max(0, round(until - message.started_at))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
