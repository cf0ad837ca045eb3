"""What the proxy's line by itself comes to, before anything deeper is looked at.

`VERDICTS` is the table: the kind of the line (`triage.proxylog.flags`) -> cause, reason and how far
below it a better explanation may be found. docs/causes.md shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from triage.cascade import app as app_layer
from triage.cascade.finding import Finding, clock
from triage.cascade.proxy import Reading
from triage.evidence import (
    Cause,
    Confidence,
    Evidence,
    Outcome,
    ProxyRequest,
    ProxyRole,
    Step,
)
from triage.proxylog.flags import Kind, Reach

ALL_BELOW = frozenset({Step.APP, Step.POD, Step.NODE, Step.VM})
ONLY_APP = frozenset({Step.APP})
NOTHING: frozenset[Step] = frozenset()

BELOW: dict[Kind, frozenset[Step]] = {
    Kind.OK: NOTHING,
    Kind.APP_STATUS: ONLY_APP,
    Kind.RESET: ALL_BELOW,
    Kind.CONNECT_FAILURE: ALL_BELOW,
    Kind.NO_UPSTREAM: ALL_BELOW,
    Kind.TIMEOUT: ALL_BELOW,
    Kind.CLIENT_GONE: NOTHING,
    Kind.CONFIGURATION: NOTHING,
    Kind.POLICY: NOTHING,
    Kind.OVERLOAD: ALL_BELOW,
    Kind.PROTOCOL: ONLY_APP,
    Kind.PROXY_INTERNAL: NOTHING,
    Kind.UNKNOWN: ALL_BELOW,
}
"""Steps that can explain a line of a kind better than the line itself does."""


@dataclass(frozen=True, slots=True)
class _Row:
    cause: Cause
    reason: str
    strength: Confidence
    title: str


_POLICY: dict[str, tuple[str, str]] = {
    "rbac": ("rbac_denied", "denied by an authorization policy"),
    "ext_authz": ("authorization_denied", "denied by external authorization"),
    "ext_authz_error": ("authorization_denied", "external authorization failed"),
    "authentication": ("authorization_denied", "not authenticated"),
    "origin": ("authorization_denied", "origin not allowed"),
    "rate_limit": ("rate_limited", "rate limited"),
    "rate_limit_error": ("rate_limited", "rate limit service failed"),
    "fault_injection": ("fault_injected", "fault injected"),
    "delay_injection": ("fault_injected", "delay injected"),
}
_CONFIGURATION: dict[str, tuple[str, str]] = {
    "no_route": ("no_route", "no route"),
    "no_cluster": ("cluster_not_found", "cluster not found"),
}


def _certain(cause: Cause, reason: str, title: str) -> _Row:
    return _Row(cause, reason, Confidence.CERTAIN, title)


def _row(reading: Reading) -> _Row:
    """Return what a line of this kind says at its face value."""
    kind = reading.kind
    made_of = reading.made_of
    why = made_of.reason if made_of is not None else ""
    if kind is Kind.POLICY:
        reason, title = _POLICY.get(why, ("configuration", "refused by policy"))
        return _certain(Cause.PROXY_CONFIGURATION, reason, title)
    if kind is Kind.CONFIGURATION:
        reason, title = _CONFIGURATION.get(why, ("configuration", why.replace("_", " ")))
        return _certain(Cause.PROXY_CONFIGURATION, reason, title or "configuration")
    if kind is Kind.PROTOCOL:
        if made_of is not None and made_of.reach is Reach.NOT_TRIED:
            return _certain(Cause.CLIENT, "protocol_error", "malformed request")
        return _certain(Cause.COMMUNICATION, "protocol_error", "the answer broke the protocol")
    return _ROWS.get(kind or Kind.UNKNOWN, _ROWS[Kind.UNKNOWN])


_ROWS: dict[Kind, _Row] = {
    Kind.RESET: _certain(Cause.COMMUNICATION, "connection_reset", "connection reset"),
    Kind.CONNECT_FAILURE: _certain(Cause.COMMUNICATION, "connect_failure", "connection failed"),
    Kind.NO_UPSTREAM: _Row(
        Cause.POD, "missing", Confidence.POSSIBLE, "no healthy pod for the proxy"
    ),
    Kind.TIMEOUT: _Row(Cause.APPLICATION, "slow", Confidence.PROBABLE, "no answer in time"),
    Kind.CLIENT_GONE: _certain(Cause.CLIENT, "client_gone", "client gone"),
    Kind.OVERLOAD: _certain(Cause.PROXY, "overload", "overload"),
    Kind.PROXY_INTERNAL: _certain(Cause.PROXY, "internal", "the proxy failed"),
    Kind.UNKNOWN: _Row(Cause.PROXY, "error", Confidence.POSSIBLE, "error of the proxy"),
}


def findings(evidence: Evidence, reading: Reading) -> list[Finding]:
    """Return what the proxy's line alone, with the application's word on it, comes to."""
    line = reading.request
    if line is None:
        return []
    if reading.all_good:
        return [_answered_well(evidence, line, reading)]
    found = (
        _status(evidence, line)
        if reading.kind is Kind.APP_STATUS
        else _face_value(evidence, line, reading)
    )
    return [found if reading.own else found.weaker()]


def _answered_well(evidence: Evidence, line: ProxyRequest, reading: Reading) -> Finding:
    whole = evidence.proxy.look.whole and not evidence.proxy.pods_unread
    return Finding(
        step=Step.PROXY,
        cause=Cause.MONITORING_PATH,
        reason="answered_well",
        strength=Confidence.CERTAIN if whole and reading.own else Confidence.PROBABLE,
        title="monitoring path: the proxy answered well",
        summary=f"The proxy of {line.pod or evidence.target.name} answered the monitor's request "
        f"of {clock(line.time)} with {line.status}: what the monitor saw came about between them.",
        object="path from the monitor to the proxy",
        time=line.time,
    )


def _status(evidence: Evidence, line: ProxyRequest) -> Finding:
    """The upstream answered with a status that is not good.

    The upstream of a sidecar is the application. That of a gateway is the next proxy, whose own
    line is missing here.
    """
    name = app_layer.phrase(line.status)
    well = app_layer.answered_well(evidence)
    if well is not None:
        return Finding(
            step=Step.PROXY,
            cause=Cause.COMMUNICATION,
            reason="answer_lost",
            strength=Confidence.PROBABLE,
            title="communication: answer lost",
            summary=f"The application logged {well.status} for the request that its proxy logged "
            f"as {name}.",
            object=f"{line.pod}: proxy and application",
            time=line.time,
            proofs=app_layer.proofs([well]),
        )
    sidecar = line.role is ProxyRole.SIDECAR
    return Finding(
        step=Step.PROXY,
        cause=Cause.APPLICATION,
        reason="http_status",
        strength=Confidence.CERTAIN if sidecar else Confidence.PROBABLE,
        title=f"application: {name}",
        summary=f"The application answered {name} to {line.method or '?'} {line.path or '?'} "
        f"at {clock(line.time)}, says its proxy in {line.pod or 'the log'} "
        f"({line.details or 'no flags'}).",
        object=f"application behind {line.pod}" if line.pod else "application",
        time=line.time,
    )


def _face_value(evidence: Evidence, line: ProxyRequest, reading: Reading) -> Finding:
    row = _row(reading)
    strength = row.strength
    well = app_layer.answered_well(evidence)
    if row.reason == "slow" and well is not None:
        strength = Confidence.CERTAIN  # it did answer, too late
    # Who was slow is not known where the application's word on it could not be had
    blind = row.reason == "slow" and evidence.app.look.outcome is Outcome.FAILED
    if blind:
        strength = Confidence.POSSIBLE
    said = reading.made_of.explanation if reading.made_of is not None else ""
    said = (said or row.title).rstrip(".")
    flags = ",".join(line.flags) or "-"
    return Finding(
        step=Step.PROXY,
        cause=row.cause,
        reason=row.reason,
        strength=strength,
        title=f"{row.cause.value.replace('_', ' ')}: {row.title}",
        summary=f"{said[:1].upper()}{said[1:]}"
        f": {line.method or '?'} {line.path or '?'} at {clock(line.time)} got "
        f"{line.status or 'no response'} with flags {flags}"
        + (f" ({line.details})" if line.details else "")
        + ".",
        object=_object(row.cause, line),
        time=line.time,
        proofs=app_layer.proofs([well]) if well is not None else (),
        residual=bool(BELOW[reading.kind or Kind.UNKNOWN]) and not blind,
    )


def _object(cause: Cause, line: ProxyRequest) -> str:
    where = line.pod or "the target"
    if cause is Cause.COMMUNICATION:
        return f"{where}: proxy and application"
    if cause is Cause.APPLICATION:
        return f"application behind {where}"
    if cause is Cause.CLIENT:
        return f"client of {where}"
    return f"proxy {where}"


def unseen(evidence: Evidence, reading: Reading) -> Iterable[Finding]:
    """Return what the absence of any line of the monitor's request comes to."""
    if reading.request is not None or not reading.looked:
        return
    state = evidence.proxy
    complete = state.look.whole and not state.pods_unread and bool(state.pods)
    status = evidence.anomaly.status
    if status:
        # Somebody answered, and no proxy of the target logged it
        yield _path(
            "answered_before_proxy",
            Confidence.PROBABLE if complete else Confidence.POSSIBLE,
            "answered before the proxy",
            f"The monitor got {app_layer.phrase(status)}; no proxy of the target logged that "
            "request: something before it answered.",
        )
    elif state.others - state.others_failed > 0:
        yield _path(
            "not_seen_by_proxy",
            Confidence.PROBABLE if complete else Confidence.POSSIBLE,
            "not seen by the proxy",
            f"The monitor's request came to no proxy, while {state.others - state.others_failed} "
            "requests of others were served.",
        )


def monitor(evidence: Evidence) -> Iterable[Finding]:
    """Return what the monitor's own metrics say against the monitor."""
    metric = evidence.metric
    if metric.up is False:
        yield _path(
            "exporter_down",
            Confidence.CERTAIN if evidence.anomaly.status is None else Confidence.PROBABLE,
            "exporter down",
            "Prometheus could not scrape the exporter that probes the site.",
        )
    elif len(metric.others_failing) >= 2 and not metric.others_good and not evidence.anomaly.status:
        yield _path(
            "exporter_at_fault",
            Confidence.POSSIBLE,
            "all targets failed",
            f"All {len(metric.others_failing) + 1} targets of the exporter failed at once.",
        )


def _path(reason: str, strength: Confidence, title: str, summary: str) -> Finding:
    return Finding(
        step=Step.METRIC,
        cause=Cause.MONITORING_PATH,
        reason=reason,
        strength=strength,
        title=f"monitoring path: {title}",
        summary=summary,
        object="path from the monitor to the proxy",
    )
