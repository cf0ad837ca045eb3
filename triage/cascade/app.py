"""What the application's log shows: whether it answered, failed, or never knew of the request."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from triage.cascade.finding import Finding, clock
from triage.evidence import (
    AppEvidence,
    AppLine,
    AppLineKind,
    Cause,
    Confidence,
    Evidence,
    LogLine,
    Match,
    Proof,
    Step,
)

SURE = 0.8
"""Score from which on a line tells of a failure of this application by itself."""
LIKELY = 0.5
"""Score from which on it may."""

_RANK = {Match.OWN: 0, Match.LIKELY: 1, Match.OTHER: 2}
_MOST_LINES = 8


def answers(evidence: AppEvidence) -> list[AppLine]:
    """Return the access lines of the probed request, the surest first."""
    mine = [
        one
        for one in evidence.lines
        if one.kind is AppLineKind.ACCESS and one.match is not Match.OTHER and one.noise is None
    ]
    return sorted(mine, key=lambda one: _RANK[one.match])


def errors(evidence: AppEvidence) -> list[AppLine]:
    """Return the lines that tell of a failure, the strongest first."""
    found = [
        one
        for one in evidence.lines
        if one.score >= LIKELY
        and one.noise is None
        and (one.kind is AppLineKind.TEXT or one.match is not Match.OTHER)
    ]
    return sorted(found, key=lambda one: (-one.score, one.line.time))


def findings(evidence: Evidence, status: int | None) -> list[Finding]:
    """Return what the application's lines show; `status` is what its proxy got, None for none."""
    state = evidence.app
    found = []
    bad = [one for one in answers(state) if one.status not in evidence.target.good]
    if bad:
        found.append(_answered(bad, state, status))
    failed = errors(state)
    if failed:
        found.append(_logged(failed))
    return found


def _answered(bad: list[AppLine], state: AppEvidence, status: int | None) -> Finding:
    line = next((one for one in bad if one.status == status), bad[0])
    own = line.match is Match.OWN and (status is None or line.status == status)
    others = [one for one in errors(state) if one is not line]
    return Finding(
        step=Step.APP,
        cause=Cause.APPLICATION,
        reason="http_status",
        strength=Confidence.CERTAIN if own else Confidence.PROBABLE,
        title=f"application: {phrase(line.status)}",
        summary=f"The application {where(line.line)} answered {phrase(line.status)} to "
        f"{line.method or '?'} {line.path or '?'} at {clock(line.line.time)}.",
        object=f"application {where(line.line)}",
        time=line.line.time,
        proofs=proofs([line, *others]),
    )


def _logged(failed: list[AppLine]) -> Finding:
    first = failed[0]
    sure = first.score >= SURE
    own = any(one.match is Match.OWN for one in failed)
    stopping = not sure and "stop" in first.why.lower()
    return Finding(
        step=Step.APP,
        cause=Cause.APPLICATION,
        reason="not_listening" if stopping else "error_logged",
        strength=Confidence.CERTAIN
        if own and sure
        else Confidence.PROBABLE
        if sure
        else Confidence.POSSIBLE,
        title=f"application: {first.why or 'error logged'}",
        summary=f"The application {where(first.line)} logged at {clock(first.line.time)}: "
        f'"{shorten(first.line.text, 160)}".',
        object=f"application {where(first.line)}",
        time=first.line.time,
        proofs=proofs(failed),
    )


def answered_well(evidence: Evidence) -> AppLine | None:
    """Return the access line that says that the application answered the request well, if any.

    Only one that is surely the request's: the probe before it was answered well, too.
    """
    mine = answers(evidence.app)
    if not mine or any(one.status not in evidence.target.good for one in mine):
        return None
    return mine[0] if mine[0].match is Match.OWN else None


def proofs(lines: Iterable[AppLine]) -> tuple[Proof, ...]:
    """Return the lines as proofs, a bounded number of them."""
    return tuple(
        Proof(step=Step.APP, time=one.line.time, source=where(one.line), text=one.line.text)
        for one in list(lines)[:_MOST_LINES]
    )


def noise(evidence: AppEvidence) -> tuple[Proof, ...]:
    """Return lines that look like failures and are none, with the reason: they decide nothing."""
    shown = [
        one
        for one in evidence.lines
        if one.noise is not None
        or (
            one.kind is AppLineKind.ACCESS and one.match is Match.OTHER and (one.status or 0) >= 400
        )
    ]
    return tuple(
        Proof(
            step=Step.APP,
            time=one.line.time,
            source=f"{where(one.line)}, not the cause: {one.noise or 'another request'}",
            text=one.line.text,
            deciding=False,
        )
        for one in shown[:3]
    )


def summary(evidence: Evidence) -> str:
    """Say in one sentence what the step saw."""
    state = evidence.app
    mine, failed = answers(state), errors(state)
    parts = [f"{state.read} lines read"]
    if mine:
        sure = mine[0].match is Match.OWN
        parts.append(f"{'the request' if sure else 'one like it'} got {phrase(mine[0].status)}")
    elif state.logs_access is False:
        parts.append("it logs no requests")
    else:
        parts.append("no line of the request")
    text = [one for one in failed if one.kind is AppLineKind.TEXT]
    if text:
        parts.append(f"{len(text)} error line{'s' if len(text) > 1 else ''}")
    quiet = sum(1 for one in state.lines if one.noise is not None)
    if quiet:
        parts.append(f"{quiet} line{'s' if quiet > 1 else ''} of noise set aside")
    return ", ".join(parts)


def phrase(status: int | None) -> str:
    """Return "503 Service Unavailable" for 503, "no response" for 0 and None."""
    if not status:
        return "no response"
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def where(line: LogLine) -> str:
    """Return "pod/container" of a line, with what its source has."""
    parts = [part for part in (line.pod, line.container) if part]
    return "/".join(parts) + (" (previous)" if line.previous else "")


def shorten(text: str, length: int) -> str:
    """Cut a text, with a sign that it was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"
