"""Reading the proxy's lines: which one is the failed request, and what it says.

The monitor's own request decides. Where its line is not there, lines of other clients that failed
at the same time are used with one degree less, and the verdict says so. When the proxy's line
itself raised the question, it decides whoever asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from triage.evidence import Evidence, Match, Outcome, ProxyRequest, ProxyRole, Trigger
from triage.proxylog.flags import Classification, Kind, classify

GAVE_UP = 0.9
"""Share of the probe's timeout from which on a request that its client ended was given up for lack
of an answer; the exporter takes half a second off the scrape's timeout."""


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
    looked: bool = False
    """The proxy's log was read; False: what it holds is unknown."""
    all_good: bool = False
    """The monitor's own requests were all answered well."""


def read(evidence: Evidence) -> Reading:
    """Choose the line that decides."""
    state = evidence.proxy
    looked = state.look.outcome is Outcome.RAN
    if not looked:
        return Reading(request=None)
    triggered = evidence.anomaly.trigger is Trigger.PROXY_LOG
    mine = [one for one in state.requests if triggered or one.match is not Match.OTHER]
    failed = [one for one in mine if _failed(one, evidence)]
    if failed:
        return _reading(_choose(failed, evidence), evidence, own=True)
    if mine:
        line = min(mine, key=lambda one: abs(one.time - evidence.anomaly.time))
        return Reading(
            request=line,
            made_of=classify(line),
            kind=Kind.OK,
            own=line.match is Match.OWN,
            looked=True,
            all_good=True,
        )
    others = [one for one in state.requests if _failed(one, evidence) and _servers_fault(one)]
    if others:
        return _reading(_choose(others, evidence), evidence, own=False)
    return Reading(request=None, looked=True)


def _failed(request: ProxyRequest, evidence: Evidence) -> bool:
    kind = classify(request).kind
    if kind is Kind.APP_STATUS:
        return request.status not in evidence.target.good
    return kind is not Kind.OK or (
        request.status is not None
        and request.status not in evidence.target.good
        and request.match is not Match.OTHER
    )


def _servers_fault(request: ProxyRequest) -> bool:
    """Tell whether another client's failed request says anything about the site."""
    if classify(request).kind is Kind.CLIENT_GONE:
        return False
    return request.status is None or request.status == 0 or request.status >= 500


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
    made_of = classify(line)
    kind = made_of.kind
    if kind is Kind.CLIENT_GONE and line.upstream_host is not None:
        patience = evidence.target.probe_timeout
        if own and line.duration_ms is not None and line.duration_ms >= GAVE_UP * 1e3 * patience:
            kind = Kind.TIMEOUT
    if kind is Kind.OK:  # a status that is good for everyone but this monitor
        kind = Kind.APP_STATUS
    return Reading(
        request=line,
        made_of=made_of,
        kind=kind,
        own=own,
        looked=True,
    )


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
