"""Reading the proxy's lines: which one is the failed request, and what it says.

The monitor's own request decides. With fast scrapes the window holds its other probes, too: those
that belong to good samples say nothing. Where it was redirected, what it asked for next decides.
Where its line is not there, lines of other clients that failed at the same time are used with one
degree less, and the verdict says so. When the proxy's line itself raised the question, it decides
whoever asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from triage.cascade.finding import CLOCK_SLACK
from triage.evidence import Evidence, Match, Outcome, ProxyRequest, ProxyRole, Trigger
from triage.proxylog.flags import Classification, Closer, Kind, Reach, classify
from triage.windows import bad

GAVE_UP = 0.9
"""Share of the probe's time limit from which on a request was given up for lack of an answer; the
exporter takes half a second off the scrape's timeout."""
SHORTEST_LIMIT = 1.0
"""Seconds: a probe that was over before did not wait for a time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the proxy step comes to."""

    request: ProxyRequest | None
    """The line that decides; None: there is none."""
    made_of: Classification | None = None
    kind: Kind | None = None
    """Of `made_of`, or what it stands for: a probe that gave up waiting is a TIMEOUT."""
    own: bool = False
    """It is the monitor's own request, or the line that raised the question."""
    sure: bool = False
    """Nothing that would prove that is missing in the line."""
    looked: bool = False
    """The proxy's log was read; False: what it holds is unknown."""
    all_good: bool = False
    """The monitor's own requests were all answered well, as far as they came to these proxies."""
    nearer: ProxyRequest | None = None
    """Of a gateway's failed request: the sidecar's line, which says that it was answered well."""


def read(evidence: Evidence) -> Reading:
    """Choose the line that decides."""
    state = evidence.proxy
    if state.look.outcome is not Outcome.RAN:
        return Reading(request=None)
    triggered = evidence.anomaly.trigger is Trigger.PROXY_LOG
    mine = [one for one in state.requests if triggered or one.match is not Match.OTHER]
    failed = [one for one in mine if _failed(one, evidence)]
    led_on = [one for one in mine if _led_on(one, evidence)]
    final = [one for one in failed if one not in led_on] or _followers(led_on, evidence)
    if final:
        return _reading(_choose(final, evidence), evidence, own=True)
    answered = [one for one in led_on or mine if _of_a_bad_sample(one, evidence)]
    if answered:
        return _good(min(answered, key=lambda one: abs(one.time - evidence.anomaly.time)))
    others = [one for one in state.requests if _failed(one, evidence) and _servers_fault(one)]
    if others:
        return _reading(_choose(others, evidence), evidence, own=False)
    return Reading(request=None, looked=True)


def _good(line: ProxyRequest) -> Reading:
    return Reading(
        request=line,
        made_of=classify(line),
        kind=Kind.OK,
        own=line.match is Match.OWN,
        sure=line.match is Match.OWN,
        looked=True,
        all_good=True,
    )


def _classified(request: ProxyRequest, evidence: Evidence) -> Classification:
    """Classify by what is good for the monitor, and others' requests by what is good for anyone."""
    good = evidence.target.good if request.match is not Match.OTHER else None
    return classify(request, good)


def _failed(request: ProxyRequest, evidence: Evidence) -> bool:
    return _classified(request, evidence).kind is not Kind.OK or _too_late(request, evidence)


def _too_late(request: ProxyRequest, evidence: Evidence) -> bool:
    """Tell whether a good answer came when the probe, which saw none, had given up."""
    return evidence.anomaly.status == 0 and _given_up(request, evidence)


def _given_up(request: ProxyRequest, evidence: Evidence) -> bool:
    """Tell whether the monitor's request took as long as the monitor waits.

    It waits for the scrape's timeout, or for a shorter limit of its own: then for as long as the
    failed probe took. Another client's patience is not known.
    """
    if request.match is Match.OTHER or request.duration_ms is None:
        return False
    patience = evidence.target.probe_timeout
    took = evidence.metric.probe_seconds
    if took is not None and took >= SHORTEST_LIMIT:
        patience = min(patience, took)
    return request.duration_ms >= GAVE_UP * 1e3 * patience


def _led_on(request: ProxyRequest, evidence: Evidence) -> bool:
    """Tell whether the monitor was redirected, and failed with what it asked for next."""
    status = request.status or 0
    kind = classify(request).kind
    return 300 <= status < 400 and kind is Kind.OK and evidence.anomaly.status not in {None, status}


def _followers(redirects: Iterable[ProxyRequest], evidence: Evidence) -> list[ProxyRequest]:
    """Return the failed requests that the monitor made as it was redirected."""
    return [
        one
        for one in evidence.proxy.requests
        for before in redirects
        if one.user_agent is not None
        and one.user_agent == before.user_agent
        and 0 <= one.time - before.time <= evidence.target.probe_timeout
        and one is not before
        and _failed(one, evidence)
    ]


def _of_a_bad_sample(request: ProxyRequest, evidence: Evidence) -> bool:
    """Tell whether the sample that a request made was bad, as far as samples are known.

    A probe's request starts as its scrape does: the nearest sample is its own.
    """
    samples = evidence.anomaly.samples
    nearest = min(samples, key=lambda one: abs(one.time - request.time), default=None)
    return nearest is None or bad(nearest, evidence.target.good)


def _servers_fault(request: ProxyRequest) -> bool:
    """Tell whether another client's failed request says anything about the site."""
    if classify(request).kind is Kind.CLIENT_GONE:
        return False
    # 200 with a flag: the head was fine, the rest never came
    return request.status is None or request.status < 400 or request.status >= 500


def _choose(failed: list[ProxyRequest], evidence: Evidence) -> ProxyRequest:
    """Prefer the status that the monitor saw, the sidecar's word on it, and the nearest in time."""
    status = evidence.anomaly.status

    def order(one: ProxyRequest) -> tuple[bool, bool, bool, float]:
        same = one.status == status or (not one.status and not status)
        # The gateway repeats what the sidecar answered; the sidecar knows why
        gateway = one.role is ProxyRole.GATEWAY
        return (
            one.match is Match.OTHER,
            status is not None and not same,
            gateway,
            abs(one.time - evidence.anomaly.time),
        )

    return min(failed, key=order)


def _reading(line: ProxyRequest, evidence: Evidence, *, own: bool) -> Reading:
    made_of = _classified(line, evidence)
    return Reading(
        request=line,
        made_of=made_of,
        kind=_kind(line, made_of, evidence),
        own=own,
        sure=line.match is not Match.LIKELY,
        looked=True,
        nearer=_nearer(line, evidence),
    )


def _kind(line: ProxyRequest, made_of: Classification, evidence: Evidence) -> Kind:
    kind = made_of.kind
    if kind is Kind.CLIENT_GONE and made_of.closer is Closer.CLIENT and _given_up(line, evidence):
        # Without a host, the proxy itself held it back
        kind = Kind.TIMEOUT if line.upstream_host is not None else Kind.UNKNOWN
    if kind is Kind.TIMEOUT and made_of.reach is Reach.NOT_REACHED:
        return Kind.CONNECT_FAILURE  # all that time went into connecting
    if kind is Kind.OK:
        return Kind.TIMEOUT if _too_late(line, evidence) else Kind.APP_STATUS
    return kind


def _nearer(line: ProxyRequest, evidence: Evidence) -> ProxyRequest | None:
    """Return the sidecar's line of a gateway's failed request, if it was answered well there."""
    if line.role is not ProxyRole.GATEWAY:
        return None
    same = (
        one
        for one in evidence.proxy.requests
        if one.role is ProxyRole.SIDECAR and not _failed(one, evidence) and _same_request(line, one)
    )
    return next(same, None)


def _same_request(gateway: ProxyRequest, sidecar: ProxyRequest) -> bool:
    if gateway.request_id is not None and sidecar.request_id is not None:
        return gateway.request_id == sidecar.request_id
    both = Match.OTHER not in {gateway.match, sidecar.match}
    return both and gateway.time - CLOCK_SLACK <= sidecar.time <= gateway.end + CLOCK_SLACK


def late(evidence: Evidence, reading: Reading) -> bool:
    """Tell whether the request failed for taking too long, or may have, as far as is known."""
    if reading.kind is not None:
        return reading.kind in {Kind.TIMEOUT, Kind.OVERLOAD}
    took = evidence.metric.probe_seconds
    return took is None or took >= GAVE_UP * evidence.target.probe_timeout


def summary(evidence: Evidence, reading: Reading) -> str:
    """Say in one sentence what the step saw."""
    state = evidence.proxy
    seen = f"{state.own} lines of the monitor, {state.others} of others"
    if state.likely:
        seen += f", {state.likely} that may be the monitor's"
    if state.pods_unread:
        seen += f"; not read: {', '.join(state.pods_unread[:3])}"
    line = reading.request
    if line is None:
        return f"no line of the monitor's request ({seen})"
    if reading.all_good:
        return f"the monitor's request was answered {line.status} ({seen})"
    flags = ",".join(line.flags) or "no flags"
    whose = "" if reading.own else "only other clients' lines: "
    return f"{whose}{line.status or 0} {flags}, {line.details or 'no details'} ({seen})"
