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
    ProxyRequest,
    Step,
)

SURE = 0.8
"""Score from which on a line tells of a failure of this application by itself."""
LIKELY = 0.5
"""Score from which on it may."""

STOPS, STARTS = "the application stops", "the application starts"
"""How `AppLine.why` begins for lines that tell of a start or an end (`triage.applog.score`)."""

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


def agreeing(evidence: AppEvidence, status: int | None) -> list[AppLine]:
    """Return the lines that may be the request's own and say the same, and what failed with it."""
    same = [one for one in answers(evidence) if one.status == status]
    return [*same, *(one for one in errors(evidence) if one not in same)]


def comings(evidence: AppEvidence) -> list[AppLine]:
    """Return the lines that tell that the application started or stopped, oldest first."""
    moves = (one for one in evidence.lines if one.why.startswith((STOPS, STARTS)))
    return sorted(moves, key=lambda one: one.line.time)


def findings(evidence: Evidence, line: ProxyRequest | None) -> list[Finding]:
    """Return what the application's lines show; `line` is what its proxy logged, if any."""
    state = evidence.app
    status = line.status if line is not None else None
    found = []
    bad = [one for one in answers(state) if one.status not in evidence.target.good]
    if bad:
        found.append(_answered(bad, state, status))
    moves = comings(state)
    failed = [one for one in errors(state) if one not in moves]
    if failed:
        found.append(_logged(failed))
    asked = line.time if line is not None else evidence.anomaly.time
    if _away_at(moves, asked):
        found.append(_away(moves))
    return found


def _away_at(moves: list[AppLine], time: float) -> bool:
    """Tell whether the application was down at `time`: it had stopped last, or started next."""
    before = [one for one in moves if one.line.time < time]
    after = [one for one in moves if one.line.time >= time]
    stopped = bool(before) and before[-1].why.startswith(STOPS)
    return stopped or (bool(after) and after[0].why.startswith(STARTS))


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
    strength = Confidence.PROBABLE if sure else Confidence.POSSIBLE
    return Finding(
        step=Step.APP,
        cause=Cause.APPLICATION,
        reason="error_logged",
        strength=Confidence.CERTAIN if own and sure else strength,
        title=f"application: {first.why or 'error logged'}",
        summary=_quoted(first),
        object=f"application {where(first.line)}",
        time=first.line.time,
        proofs=proofs(failed),
    )


def _away(moves: list[AppLine]) -> Finding:
    """It started or stopped about then; only a refused or lost connection makes that telling."""
    first = moves[0]
    return Finding(
        step=Step.APP,
        cause=Cause.APPLICATION,
        reason="not_listening",
        strength=Confidence.POSSIBLE,
        title=f"application: {first.why}",
        summary=_quoted(first),
        object=f"application {where(first.line)}",
        time=first.line.time,
        proofs=proofs(moves),
    )


def _quoted(one: AppLine) -> str:
    return (
        f"The application {where(one.line)} logged at {clock(one.line.time)}: "
        f'"{shorten(" ".join(one.line.text.split()), 160)}".'
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
