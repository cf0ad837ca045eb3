"""What the proxy's line by itself comes to, before anything deeper is looked at.

`VERDICTS` is the table: the kind of the line (`triage.proxylog.flags`) -> cause, reason and how far
below it a better explanation may be found. docs/triage-reference.md has the kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from triage.cascade import app as app_layer
from triage.cascade.finding import Finding, clock, seconds
from triage.cascade.proxy import Reading
from triage.evidence import (
    AppLine,
    Cause,
    Confidence,
    Evidence,
    MetricEvidence,
    Outcome,
    Proof,
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
    Kind.PROTOCOL: ALL_BELOW,
    Kind.PROXY_INTERNAL: NOTHING,
    Kind.UNKNOWN: ALL_BELOW,
}
"""Steps that can explain a line of a kind better than the line itself does."""


def below(reading: Reading) -> frozenset[Step]:
    """Return the steps that can explain the line that decides better than it does itself."""
    if reading.kind is None:
        return ALL_BELOW
    made_of = reading.made_of
    if reading.kind is Kind.PROTOCOL and made_of is not None and made_of.reach is Reach.NOT_TRIED:
        return NOTHING  # the client's own request was malformed
    line = reading.request
    passed_on = line is not None and line.role is ProxyRole.GATEWAY
    if reading.kind is Kind.APP_STATUS and passed_on:
        return ALL_BELOW  # what the sidecar said is missing
    if not reading.own and not reading.all_good:
        return ALL_BELOW
    return BELOW[reading.kind]


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


_CONNECT: dict[str, _Row] = {
    "tls": _Row(
        Cause.PROXY_CONFIGURATION,
        "configuration",
        Confidence.PROBABLE,
        "TLS to the upstream failed",
    ),
    "local": _certain(Cause.PROXY, "internal", "the proxy cannot open connections"),
    "exhausted": _certain(Cause.PROXY, "internal", "the proxy is out of ports or descriptors"),
}
"""Failed connections that are not the other side's doing, by the reason of the kind."""


def _row(reading: Reading) -> _Row:
    """Return what a line of this kind says at its face value."""
    kind = reading.kind
    made_of = reading.made_of
    why = made_of.reason if made_of is not None else ""
    if kind is Kind.CONNECT_FAILURE and why in _CONNECT:
        return _CONNECT[why]
    if kind is Kind.NO_UPSTREAM and why == "local_health_check":
        return _Row(Cause.POD, "not_ready", Confidence.PROBABLE, "failed the proxy's health check")
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
    if reading.nearer is not None:
        found = _lost_on_the_way(line, reading.nearer)
    elif reading.kind is Kind.APP_STATUS:
        found = _status(evidence, line)
    else:
        found = _face_value(evidence, line, reading)
    return [found if reading.own and reading.sure else found.weaker()]


def _answered_well(evidence: Evidence, line: ProxyRequest, reading: Reading) -> Finding:
    """The proxy sent a good answer; one that the monitor took for bad is not surely the same."""
    whole = evidence.proxy.look.whole and not evidence.proxy.pods_unread
    status = evidence.anomaly.status
    sure = whole and reading.own and not status
    said = (
        f"The proxy of {line.pod or evidence.target.name} answered the monitor's request of "
        f"{clock(line.time)} with {line.status}"
    )
    if 300 <= (line.status or 0) < 400:
        return _path(
            "answered_before_proxy",
            Confidence.PROBABLE,
            "failed where it was redirected to",
            f"{said}; the monitor was led on, and got {app_layer.phrase(status)} from where no "
            "proxy of the target logged it.",
            step=Step.PROXY,
        )
    saw = f"The monitor saw {app_layer.phrase(status)}" if status is not None else "No sample came"
    told = ", or the clocks of the two differ by more than is allowed for" if status else ""
    return _path(
        "answered_well",
        Confidence.CERTAIN if sure else Confidence.PROBABLE,
        "the proxy answered well",
        f"{said}. {saw}: that came about between the two{told}.",
        step=Step.PROXY,
    )


def _lost_on_the_way(line: ProxyRequest, nearer: ProxyRequest) -> Finding:
    """The sidecar answered the gateway well, and the gateway did not get it."""
    return Finding(
        step=Step.PROXY,
        cause=Cause.COMMUNICATION,
        reason="answer_lost",
        strength=Confidence.PROBABLE,
        title="communication: answer lost between sidecar and gateway",
        summary=f"The sidecar of {nearer.pod} answered {app_layer.phrase(nearer.status)} at "
        f"{clock(nearer.end)}; the gateway {line.pod} logged {_outcome(line)} for the same "
        "request.",
        object=f"between {line.pod} and {nearer.pod}",
        time=line.time,
        proofs=(Proof(step=Step.PROXY, time=nearer.time, source=nearer.pod, text=nearer.raw),),
        residual=True,
    )


def _outcome(line: ProxyRequest) -> str:
    """Say what a line logged: "503 Service Unavailable with flags UC (details)"."""
    flags = f" with flags {','.join(line.flags)}" if line.flags else ""
    details = f" ({line.details})" if line.details else ""
    return f"{app_layer.phrase(line.status)}{flags}{details}"


_PASSED_ON = frozenset({502, 503, 504})
"""Statuses that a sidecar answers by itself, too: at a gateway they need not be the app's."""


def _status(evidence: Evidence, line: ProxyRequest) -> Finding:
    """The upstream answered with a status that is not good.

    The upstream of a sidecar is the application. That of a gateway is the next proxy, whose own
    line is missing here.
    """
    name = app_layer.phrase(line.status)
    well = app_layer.answered_well(evidence)
    if well is not None:
        return _answer_lost(line, well, Confidence.PROBABLE)
    who = "application"
    strength = Confidence.CERTAIN
    if line.role is ProxyRole.GATEWAY:
        own_word = line.status in _PASSED_ON
        strength = Confidence.POSSIBLE if own_word else Confidence.PROBABLE
        who = "application, or its sidecar," if own_word else "application"
    return Finding(
        step=Step.PROXY,
        cause=Cause.APPLICATION,
        reason="http_status",
        strength=strength,
        title=f"application: {name}",
        summary=f"The {who} answered {line.method or '?'} {line.path or '?'} at "
        f"{clock(line.time)} with {name}: so says the proxy {line.pod or 'in its log'} "
        f"({line.details or 'no details'}).",
        object=f"application behind {line.pod}" if line.pod else "application",
        time=line.time,
        proofs=app_layer.proofs(app_layer.agreeing(evidence.app, line.status)),
    )


def _answer_lost(line: ProxyRequest, well: AppLine, strength: Confidence) -> Finding:
    return Finding(
        step=Step.PROXY,
        cause=Cause.COMMUNICATION,
        reason="answer_lost",
        strength=strength,
        title="communication: answer lost",
        summary=f"The application logged {app_layer.phrase(well.status)} for the request that its "
        f"proxy logged as {_outcome(line)}.",
        object=_object(Cause.COMMUNICATION, line),
        time=line.time,
        proofs=app_layer.proofs([well]),
        residual=True,
    )


def _face_value(evidence: Evidence, line: ProxyRequest, reading: Reading) -> Finding:
    row = _row(reading)
    well = app_layer.answered_well(evidence)
    if reading.kind is Kind.RESET and well is not None:
        return _answer_lost(line, well, row.strength)
    # Who was slow is not known where the application's word on it could not be had
    slow = row.reason == "slow"
    blind = slow and evidence.app.look.outcome is Outcome.FAILED
    strength = Confidence.POSSIBLE if blind else row.strength
    if slow and well is not None:
        strength = Confidence.CERTAIN  # it did answer, too late
    return Finding(
        step=Step.PROXY,
        cause=row.cause,
        reason=row.reason,
        strength=strength,
        title=f"{row.cause.value.replace('_', ' ')}: {row.title}",
        summary=_said(row, line, reading),
        object=_object(row.cause, line),
        time=line.time,
        proofs=app_layer.proofs([well]) if well is not None else (),
        residual=bool(below(reading)) and not blind,
    )


def _said(row: _Row, line: ProxyRequest, reading: Reading) -> str:
    """Say what the line says, in a sentence."""
    said = (_explained(line, reading) or row.title).rstrip(".")
    marks = [",".join(line.flags)] if line.flags else []
    if line.details and line.details not in said:
        marks.append(line.details)
    asked = f"{line.method} {line.path or '?'}" if line.method else "A connection"
    return f"{asked} at {clock(line.time)} got {app_layer.phrase(line.status)}: {said}" + (
        f" ({', '.join(marks)})." if marks else "."
    )


def _explained(line: ProxyRequest, reading: Reading) -> str:
    """Say what happened: in the flags' words, or what they stand for here."""
    made_of = reading.made_of
    if made_of is None:
        return ""
    took = seconds(line.duration_ms / 1e3) if line.duration_ms is not None else ""
    if made_of.kind is reading.kind or not took:
        waited = f", after {took}" if took and reading.kind is Kind.TIMEOUT else ""
        return made_of.explanation + waited
    if reading.kind is Kind.CONNECT_FAILURE:
        return f"no connection to the upstream came about in {took}"
    if made_of.kind is Kind.OK:
        return f"the answer took {took}, and the monitor had given up"
    return f"the monitor gave up after {took} without an answer"


def _object(cause: Cause, line: ProxyRequest) -> str:
    where = line.pod or "the target"
    if cause is Cause.COMMUNICATION:
        return f"{where}: proxy and application"
    if cause is Cause.APPLICATION:
        return f"application behind {where}"
    if cause is Cause.CLIENT:
        return f"client of {where}"
    return f"proxy {where}"


def known_host(evidence: Evidence, reading: Reading, served: int) -> Iterator[Finding]:
    """A proxy knows of no host to ask, while pods were ready all along: its view is wrong."""
    line = reading.request
    made_of = reading.made_of
    if line is None or made_of is None or made_of.reason != "no_healthy_host" or not served:
        return
    yield Finding(
        step=Step.PROXY,
        cause=Cause.PROXY_CONFIGURATION,
        reason="configuration",
        strength=Confidence.PROBABLE,
        title="proxy configuration: the proxy knows of no healthy pod",
        summary=f"The proxy {line.pod} had no healthy host for {evidence.pod.expected} at "
        f"{clock(line.time)}, while {served} of its pods {'was' if served == 1 else 'were'} ready "
        "all along: its endpoints are out of date, or outlier detection took them out.",
        object=_object(Cause.PROXY_CONFIGURATION, line),
        time=line.time,
        residual=True,
    )


# The monitor


def unseen(evidence: Evidence, reading: Reading) -> Iterator[Finding]:
    """Return what the absence of any line of the monitor's request comes to.

    A log that holds no request at all proves nothing: perhaps requests are not logged.
    """
    if reading.request is not None or not reading.looked:
        return
    state = evidence.proxy
    logs = state.own + state.likely + state.others > 0
    strength = Confidence.PROBABLE if _complete(evidence) and logs else Confidence.POSSIBLE
    status = evidence.anomaly.status
    served = state.others - state.others_failed
    if status:
        # Somebody answered, and no proxy of the target logged it
        yield _path(
            "answered_before_proxy",
            strength,
            "answered before the proxy",
            f"The monitor got {app_layer.phrase(status)}; no proxy of the target logged that "
            "request: something before it answered.",
        )
    elif served > 0:
        yield _path(
            "not_seen_by_proxy",
            strength,
            "not seen by the proxy",
            f"The monitor's request came to no proxy, while {served} requests of others were "
            "served.",
        )


def _complete(evidence: Evidence) -> bool:
    state = evidence.proxy
    ran = state.look.outcome is Outcome.RAN
    return ran and state.look.whole and not state.pods_unread and bool(state.pods)


def monitor(evidence: Evidence, reading: Reading) -> Iterator[Finding]:
    """Return what the monitor's own metrics say against the monitor."""
    metric, status = evidence.metric, evidence.anomaly.status
    if metric.up is False:
        yield _path(
            "exporter_down",
            Confidence.CERTAIN if status is None else Confidence.PROBABLE,
            "exporter down",
            "Prometheus could not scrape the exporter that probes the site.",
        )
        return
    if status or reading.request is not None:
        return  # a status, or a line of the proxy, is no failure of the exporter's
    strength = Confidence.PROBABLE if _complete(evidence) else Confidence.POSSIBLE
    if len(metric.others_failing) >= 2 and not metric.others_good:
        yield _path(
            "exporter_at_fault",
            strength,
            "all targets failed",
            f"All {len(metric.others_failing) + 1} targets of the exporter failed at once.",
        )
    if status == 0 and _never_connected(metric):
        yield _not_connected(evidence, strength)


def _never_connected(metric: MetricEvidence) -> bool:
    """Tell whether the probe ended before it had a connection, TLS included.

    The blackbox exporter adds to "connect" once it has one, to "processing" once an answer began;
    what it did not come to is 0.
    """
    later = ("connect", "tls", "processing", "transfer")
    return bool(metric.phases) and not any(metric.phases.get(name) for name in later)


def _not_connected(evidence: Evidence, strength: Confidence) -> Finding:
    metric = evidence.metric
    took = f" in {seconds(metric.probe_seconds)}" if metric.probe_seconds is not None else ""
    resolve = metric.phases.get("resolve", 0.0)
    spent = f"; {seconds(resolve)} of them went into resolving the name" if resolve >= 1 else ""
    served = evidence.proxy.others - evidence.proxy.others_failed
    well = f", while {served} requests of others were served" if served > 0 else ""
    site = evidence.target.url or evidence.target.name
    found = _path(
        "not_connected",
        strength,
        "the monitor could not connect",
        f"The probe got no connection to {site}{took}: name, network or TLS{spent}. "
        f"Its request came to no proxy{well}.",
    )
    return replace(found, residual=served <= 0)


def _path(
    reason: str, strength: Confidence, title: str, summary: str, step: Step = Step.METRIC
) -> Finding:
    return Finding(
        step=step,
        cause=Cause.MONITORING_PATH,
        reason=reason,
        strength=strength,
        title=f"monitoring path: {title}",
        summary=summary,
        object="path from the monitor to the proxy",
    )
