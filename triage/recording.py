"""An incident as a file: everything that was decided on, to be looked at and decided again.

Rules
- One incident, one file: JSON in UTF-8, readable without this program. The first two keys say what
  it is ("format", "version"); the rest are the fields of `Recording`, which are those of
  `triage.evidence`. A field that is not known is null, an enumeration its documented name.
- What goes in comes out unchanged: `load(dump(r)) == r`, less what masking takes away. JSON has no
  word for numbers that are not finite: those are {"$float": "nan"}, "inf" or "-inf" in its place,
  and a key of somebody's labels that looks like that gets one more "$" in front.
- Secrets were masked when the evidence was taken; everything is masked once more on its way out,
  since a file leaves the house.
- A file is a stranger's: its size, its depth and the number of its values are bounded before they
  are believed, and whatever is wrong with it is one line (`RecordingError`).

The format has a version of its own. Fields may come, and readers skip those that they do not know;
a change that an old reader would misunderstand raises `VERSION`, and the old reader says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from triage import __version__
from triage.cascade import DEFAULT_LIMITS, Limits, decide
from triage.evidence import Anomaly, Evidence, Policy, Verdict
from triage.incidents import Incident
from triage.masking import mask as mask_text

FORMAT = "triage-incident"
VERSION = 1

MAX_BYTES = 32 * 1024 * 1024
"""Of a file. Evidence is bounded where it is taken: a look of some hundred lines is about 1 MB."""
MAX_VALUES = 1_500_000
"""Brackets, braces and commas in a file: each may cost some 60 bytes once it is read."""
MAX_DEPTH = 24
"""Of lists and objects in each other; a recording needs 12."""


class RecordingError(Exception):
    """A file is no recording, or not one that can be read; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An incident in short, as `triage incidents` lists it."""

    id: str
    target: str
    opened: float
    """First bad observation, seconds since 1970."""
    closed: float | None = None
    """First good observation after the last bad one; None while it lasts."""
    status: str = "pending"
    """"pending", "confirmed", "resolved" or "dropped" (`triage.incidents.Status`)."""
    severity: str = ""
    cause: str = ""
    """Of the verdict that stands, as are the next four; "" before the first."""
    reason: str = ""
    title: str = ""
    confidence: str = ""
    object: str = ""
    outages: int = 1
    """Outages that were joined into it (flapping is one incident)."""


def record_of(incident: Incident) -> Record:
    """Return an incident in short."""
    best = incident.best
    return Record(
        id=incident.id,
        target=incident.target,
        opened=incident.anomaly.time,
        closed=incident.resolved_at,
        status=incident.status,
        severity=incident.severity,
        cause=best.cause if best else "",
        reason=best.reason if best else "",
        title=best.title if best else "",
        confidence=best.confidence if best else "",
        object=best.object if best else "",
        outages=incident.flaps + 1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One look: what was known then, and what was made of it."""

    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that was done about the incident: "confirmed", "sent to alertmanager", ..."""

    time: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One incident with the evidence of each look, oldest first."""

    record: Record
    looks: tuple[Decision, ...] = ()
    stands: int | None = None
    """Which of the looks the verdict that stands came from; None: the newest."""
    notes: tuple[Note, ...] = ()
    limits: Limits = DEFAULT_LIMITS
    """What the decisions were made with."""
    anomaly: Anomaly | None = None
    """The outage as it is known by now: a look knows it as it was then."""
    left_out: int = 0
    """Looks that were left out, so that the file stays below its bound."""
    product: str = f"triage {__version__}"
    """Who wrote it."""

    @property
    def outage(self) -> Anomaly | None:
        """The outage, as well as it is known; None before the first look."""
        if self.anomaly is not None or self.standing is None:
            return self.anomaly
        return self.standing.evidence.anomaly

    @property
    def standing(self) -> Decision | None:
        """The look whose verdict stands; None before the first."""
        if self.stands is not None and 0 <= self.stands < len(self.looks):
            return self.looks[self.stands]
        return self.looks[-1] if self.looks else None


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0


# Writing


def dump(recording: Recording, *, mask: Callable[[str], str] = mask_text) -> bytes:
    """Return the file. Looks between the first and the last go when it would grow too large.

    Raises RecordingError when even those two are too large together.
    """
    while True:
        data = _dumped(recording, mask)
        if len(data) <= MAX_BYTES and _values(data) <= MAX_VALUES:
            return data
        fewer = _fewer(recording)
        if fewer is None:
            raise RecordingError(
                f"the evidence of incident {recording.record.id} is larger than a recording may be"
                f" ({MAX_BYTES} bytes)"
            )
        recording = fewer


def _fewer(recording: Recording) -> Recording | None:
    """Leave about half of the looks out; None when only those that matter are left.

    The first, the newest and the standing one matter.
    """
    count = len(recording.looks)
    stands = recording.stands if recording.stands is not None else count - 1
    needed = {0, stands, count - 1}
    optional = [number for number in range(count) if number not in needed]
    if not optional:
        return None
    kept = sorted(needed | set(optional[: len(optional) // 2]))
    return replace(
        recording,
        looks=tuple(recording.looks[number] for number in kept if 0 <= number < count),
        stands=kept.index(stands) if recording.stands is not None else None,
        left_out=recording.left_out + count - len(kept),
    )


def _dumped(recording: Recording, mask: Callable[[str], str]) -> bytes:
    body = _out(msgspec.to_builtins(recording), mask)
    text = msgspec.json.encode({"format": FORMAT, "version": VERSION, **body})
    return msgspec.json.format(text, indent=1) + b"\n"


def _out(value: Any, mask: Callable[[str], str]) -> Any:
    """Return plain data as JSON can say it, with every text masked."""
    match value:
        case str():
            return mask(_utf8(value))
        case float() if not math.isfinite(value):
            return {"$float": repr(value)}
        case list() | tuple():
            return [_out(one, mask) for one in value]
        case dict():
            return {_escaped(_utf8(key)): _out(one, mask) for key, one in value.items()}
    return value


def _utf8(text: str) -> str:
    """Return text without lone surrogates, which UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _escaped(key: str) -> str:
    return f"${key}" if key.lstrip("$") == "float" and key.startswith("$") else key


def _values(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


# Reading


def load(data: bytes) -> Recording:
    """Return what `dump` wrote; raise RecordingError, with one line, for anything else."""
    if len(data) > MAX_BYTES:
        raise RecordingError(f"too large for a recording: more than {MAX_BYTES} bytes")
    if _values(data) > MAX_VALUES:
        raise RecordingError("too many values for a recording")
    _check_head(data)
    try:
        plain = _in(msgspec.json.decode(data), MAX_DEPTH)
        return msgspec.convert(plain, Recording)
    except RecursionError:
        raise RecordingError("nested too deeply for a recording") from None
    except (msgspec.ValidationError, OverflowError) as error:
        raise RecordingError(f"damaged recording: {_one_line(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingError(
            f"damaged recording, or cut short: not valid JSON ({_one_line(error)})"
        ) from None


def _check_head(data: bytes) -> None:
    try:
        head = msgspec.json.decode(data, type=_Head)
    except RecursionError:
        raise RecordingError("nested too deeply for a recording") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if f'"{FORMAT}"'.encode() in data[:200]:
            raise RecordingError(
                f"damaged recording, or cut short: not valid JSON ({_one_line(error)})"
            ) from None
        raise RecordingError("not a recording of triage (see `triage export`)") from None
    if head.format != FORMAT:
        raise RecordingError("not a recording of triage (see `triage export`)")
    if head.version > VERSION:
        raise RecordingError(
            f"written by a newer triage (format version {head.version}, this one reads up to"
            f" {VERSION}): read it with that release"
        )
    if head.version < 1:
        raise RecordingError(f"damaged recording: format version {head.version}")


def _in(value: Any, depth: int) -> Any:
    """Undo `_out`, less the masking."""
    if not isinstance(value, list | dict):
        return value
    if depth == 0:
        raise RecursionError
    if isinstance(value, list):
        return [_in(one, depth - 1) for one in value]
    number = value.get("$float") if len(value) == 1 else None
    if number in ("nan", "inf", "-inf"):
        return float(number)
    return {_plain_key(key): _in(one, depth - 1) for key, one in value.items()}


def _plain_key(key: str) -> str:
    return key[1:] if key.startswith("$$") and key.lstrip("$") == "float" else key


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


# Deciding again


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One look decided again."""

    recorded: Verdict
    decided: Verdict

    @property
    def same(self) -> bool:
        """Whether it says the same: cause, reason, object and confidence."""
        return not self.differences

    @property
    def differences(self) -> tuple[str, ...]:
        """One line for each that came out otherwise: "cause: pod, was node"."""
        return tuple(
            f"{name}: {getattr(self.decided, name) or '-'}, was"
            f" {getattr(self.recorded, name) or '-'}"
            for name in ("cause", "reason", "object", "confidence")
            if getattr(self.decided, name) != getattr(self.recorded, name)
        )


def replay(recording: Recording, policy: Policy | None = None) -> tuple[Replay, ...]:
    """Decide every look again, offline, by this release's rules.

    `policy`: None takes the one that each verdict was recorded under.
    """
    return tuple(
        Replay(
            recorded=look.verdict,
            decided=decide(look.evidence, policy or look.verdict.policy, recording.limits),
        )
        for look in recording.looks
    )
