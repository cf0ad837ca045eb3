"""The default policy: by what Envoy's flags and details say, explained by the deepest layer.

1. The line of the failed request says what it says (`shallow`).
2. Every layer that can explain such a line better is looked at, and says what is wrong with it,
   with a strength: CERTAIN, PROBABLE or POSSIBLE (`app`, `pod`, `machine`).
3. The strongest finding is the cause; of equally strong ones the deepest, for a layer fails when
   the one below it does, and not the other way round.
4. A verdict is CERTAIN only when every layer that could overrule it was looked at as a whole.
   "Could not look" is never "healthy": it is listed in `unknowns`.
"""

from __future__ import annotations

from dataclasses import replace

from triage.cascade import app, machine, pod, proxy, shallow, verdict
from triage.cascade.finding import DEPTH, STRENGTH, Finding, best, time_of
from triage.cascade.machine import DEFAULT_LIMITS, Limits
from triage.evidence import (
    Cause,
    Confidence,
    Evidence,
    Outcome,
    Policy,
    ProxyRole,
    Step,
    Verdict,
)
from triage.proxylog.flags import Kind


def needed(evidence: Evidence, reading: proxy.Reading) -> frozenset[Step]:
    """Return the steps below the proxy that could explain more than it does."""
    if reading.kind is None:
        if evidence.anomaly.status is None and evidence.metric.up is False:
            return frozenset()  # the exporter is down: nobody asked the site
        return shallow.ALL_BELOW
    below = shallow.BELOW[reading.kind]
    line = reading.request
    if reading.kind is Kind.APP_STATUS and line is not None and line.role is ProxyRole.GATEWAY:
        return shallow.ALL_BELOW
    if not reading.own and not reading.all_good:
        return shallow.ALL_BELOW
    return below


def decide(evidence: Evidence, limits: Limits = DEFAULT_LIMITS) -> Verdict:
    """Return the verdict; see the module's theory."""
    reading = proxy.read(evidence)
    when = time_of(evidence)
    line = reading.request
    address = line.upstream_host if line is not None and line.role is ProxyRole.GATEWAY else None
    home = line.pod if line is not None and line.role is ProxyRole.SIDECAR else ""
    pods = pod.suspects(evidence, address, home)
    below = needed(evidence, reading)

    found = [*shallow.findings(evidence, reading), *shallow.monitor(evidence)]
    if Step.APP in below:
        found.extend(app.findings(evidence, line.status if line is not None else None))
    if Step.POD in below:
        found.extend(pod.findings(evidence, pods, when))
    if Step.NODE in below:
        found.extend(machine.findings(evidence, (one.node for one in pods), when, limits))
    if not any(DEPTH[one.step] >= DEPTH[Step.POD] for one in found):
        found.extend(shallow.unseen(evidence, reading))
    found = [_in_context(one, reading) for one in found]
    cause = best(found)
    if cause is None or _only_fallback(cause, reading):
        cause = _fallback(evidence, reading, below) or cause
    if cause is None:
        cause = _undetermined(evidence)
    unknowns = _unknowns(evidence, cause, below)
    confidence = cause.strength
    rivals = cause.residual and any(not one.residual for one in found)
    doubt = rivals or (unknowns and not _beyond_doubt(cause))
    if doubt and confidence is Confidence.CERTAIN:
        confidence = Confidence.PROBABLE
    return verdict.compose(evidence, cause, confidence, Policy.DEFAULT, reading, unknowns)


_EXPLAIN_LATENESS = frozenset({"cpu_starved", "storage_slow"})


def _in_context(found: Finding, reading: proxy.Reading) -> Finding:
    """A slow machine explains lateness; it does not explain a refused connection."""
    if found.reason == "cpu_starved" and found.strength is Confidence.POSSIBLE:
        if reading.kind is Kind.TIMEOUT:
            return replace(found, strength=Confidence.PROBABLE)
    elif found.reason in _EXPLAIN_LATENESS and reading.kind not in {Kind.TIMEOUT, None}:
        return found.weaker()
    return found


def _beyond_doubt(cause: Finding) -> bool:
    """Tell whether the finding stands whatever the unseen layers would have shown.

    A VM that does not run does not serve, whatever its pod's log holds.
    """
    return cause.step is Step.VM and cause.reason in {"vm_not_running", "vm_restarted"}


def _only_fallback(cause: Finding, reading: proxy.Reading) -> bool:
    """The proxy reached nothing, and only says so."""
    nothing_reached = reading.kind in {Kind.CONNECT_FAILURE, Kind.NO_UPSTREAM}
    return nothing_reached and cause.step is Step.PROXY


def _fallback(evidence: Evidence, reading: proxy.Reading, below: frozenset[Step]) -> Finding | None:
    """Nothing was reached, and the pods look well: the node, unless it was seen to be well too.

    The source paper's last branch (figure 4), kept for when the node or its VM could not be seen.
    """
    if reading.kind not in {Kind.CONNECT_FAILURE, Kind.NO_UPSTREAM} or Step.NODE not in below:
        return None
    if not evidence.pod.look.whole or not evidence.pod.pods:
        return None
    if evidence.node.look.whole and evidence.vm.look.whole:
        return None
    line = reading.request
    loopback = line is not None and line.role is ProxyRole.SIDECAR
    if loopback:
        return None  # its sidecar wrote the line: the node runs
    names = ", ".join(sorted({one.node for one in evidence.pod.pods if one.node})) or "its node"
    return Finding(
        step=Step.NODE,
        cause=Cause.NODE,
        reason="unknown",
        strength=Confidence.POSSIBLE,
        title="node: unknown",
        summary=f"The pods look well and cannot be reached; {names} could not be looked at as a "
        "whole.",
        object=f"node {names}",
    )


def _undetermined(evidence: Evidence) -> Finding:
    failed = [
        step.value
        for step in evidence.gathered
        if verdict.look(evidence, step).outcome is Outcome.FAILED
    ]
    blind = f" Could not look: {', '.join(failed)}." if failed else ""
    return Finding(
        step=Step.METRIC,
        cause=Cause.UNDETERMINED,
        reason="could_not_look" if failed else "no_evidence",
        strength=Confidence.POSSIBLE,
        title="undetermined",
        summary="No step saw anything that decides." + blind,
        object=evidence.target.name,
    )


def _unknowns(evidence: Evidence, cause: Finding, below: frozenset[Step]) -> tuple[str, ...]:
    """Return what could not be seen of the steps that could change the verdict."""
    found = []
    for step in Step:
        deeper = step in below and DEPTH[step] > DEPTH[cause.step]
        # A stronger finding of a shallower layer may hide where nobody could look, too
        weak = STRENGTH[cause.strength] < STRENGTH[Confidence.CERTAIN] and (
            step in below or step in {Step.METRIC, Step.PROXY}
        )
        if not deeper and not weak:
            continue
        seen = verdict.look(evidence, step)
        if seen.outcome is not Outcome.RAN and (step in evidence.gathered or step in below):
            found.append(f"{step.value}: {'; '.join(seen.problems) or 'not looked at'}")
        elif seen.problems:
            found.extend(f"{step.value}: {problem}" for problem in seen.problems)
    return tuple(dict.fromkeys(found))
