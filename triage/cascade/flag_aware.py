"""The default policy: by what Envoy's flags and details say, explained by the deepest layer.

1. The line of the failed request says what it says (`shallow`).
2. Every layer that can explain such a line better is looked at, and says what is wrong with it,
   with a strength: CERTAIN, PROBABLE or POSSIBLE (`app`, `pod`, `machine`).
3. The strongest finding is the cause; of equally strong ones the deepest, for a layer fails when
   the one below it does, and not the other way round.
4. A verdict is CERTAIN only when every layer that could overrule it was looked at as a whole.
   "Could not look" is never "healthy": it is listed in `unknowns`.
5. Findings are weighed by how the request failed: a slow machine explains lateness, and what timed
   out; a start or an end of the application explains a connection that was refused or lost.
6. A symptom is the cause when nothing explains it, which is certain only once it would be told.
"""

from __future__ import annotations

from dataclasses import replace

from triage.cascade import app, machine, pod, proxy, shallow, verdict
from triage.cascade.finding import (
    DEPTH,
    STRENGTH,
    FaultTime,
    Finding,
    at_most,
    best,
    seconds,
    time_of,
)
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
    if reading.kind is None and evidence.anomaly.status is None and evidence.metric.up is False:
        return frozenset()  # the exporter is down: nobody asked the site
    return shallow.below(reading)


def decide(evidence: Evidence, limits: Limits = DEFAULT_LIMITS) -> Verdict:
    """Return the verdict; see the module's theory."""
    reading = proxy.read(evidence)
    below = needed(evidence, reading)
    found = _findings(evidence, reading, below, limits)
    cause = best(found)
    if cause is None or _only_fallback(cause, reading):
        cause = _fallback(evidence, reading, below) or cause
    if cause is None:
        cause = _undetermined(evidence)
    unknowns = (
        *_unknowns(evidence, cause, below, reading),
        *_too_early(evidence, cause, below, reading),
    )
    rivals = cause.residual and any(not one.residual for one in found)
    doubt = rivals or (unknowns and not _beyond_doubt(cause))
    confidence = at_most(cause.strength, Confidence.PROBABLE) if doubt else cause.strength
    return verdict.compose(evidence, cause, confidence, Policy.DEFAULT, reading, unknowns)


def _findings(
    evidence: Evidence, reading: proxy.Reading, below: frozenset[Step], limits: Limits
) -> list[Finding]:
    """Return what every layer says, each weighed by the others."""
    when = time_of(evidence)
    line = reading.request
    chosen = pod.suspects(evidence, line if reading.looked else None, when)
    found = [*shallow.findings(evidence, reading), *shallow.monitor(evidence, reading)]
    if Step.APP in below:
        found.extend(app.findings(evidence, line))
    if Step.POD in below:
        found.extend(pod.findings(evidence, chosen, when))
        found.extend(shallow.known_host(evidence, reading, len(chosen.served)))
    if Step.NODE in below:
        seen = line.end if line is not None and reading.own else when.latest
        for home in dict.fromkeys(one.node for one in chosen.pods) or ("",):
            machines = machine.findings(evidence, home, when, limits, seen)
            others = any(one.name != home for one in evidence.node.nodes)
            alone = chosen.named or not others
            found.extend(machines if alone else (_somebodys(one, when) for one in machines))
    found.extend(shallow.unseen(evidence, reading))
    slow = any(one.late for one in found) or proxy.late(evidence, reading)
    return _explained([_in_context(one, reading, slow) for one in found])


def _somebodys(found: Finding, when: FaultTime) -> Finding:
    """One of several machines, and nothing says on which of them the request was: time tells."""
    return found if when.began_it(found.time) else found.at_most(Confidence.PROBABLE)


_SLOW_MACHINE = frozenset({"cpu_starved", "storage_slow"})
_UNREACHED = frozenset({Kind.RESET, Kind.CONNECT_FAILURE})


def _in_context(found: Finding, reading: proxy.Reading, slow: bool) -> Finding:
    """Weigh a finding by how the request failed.

    A slow machine explains lateness; it does not explain a refused connection. A start or an end of
    the application explains that, and no lateness. What did not answer in time is not ready either.
    """
    if found.reason in _SLOW_MACHINE and not slow:
        return found.weaker()
    if found.reason == "cpu_starved" and reading.kind is Kind.TIMEOUT:
        return found.at_least(Confidence.PROBABLE)
    if found.reason == "not_listening" and reading.kind in _UNREACHED:
        return found.at_least(Confidence.PROBABLE)
    if found.reason == "not_ready" and reading.kind is Kind.TIMEOUT:
        return found.weaker()
    return found


def _explained(found: list[Finding]) -> list[Finding]:
    """Make signs of lateness symptoms where a slow machine was found."""
    machine_is = any(
        one.reason in _SLOW_MACHINE and one.strength is not Confidence.POSSIBLE for one in found
    )
    return [replace(one, residual=True) if machine_is and one.late else one for one in found]


BEYOND_DOUBT: dict[Step, frozenset[str]] = {
    Step.VM: frozenset({"vm_not_running", "vm_restarted"}),
    Step.POD: frozenset({"oom_killed", "image", "container_config", "unschedulable", "missing"}),
}
"""Reasons that stand whatever the unseen layers would have shown: a VM that does not run does not
serve; the kernel, the kubelet and the scheduler say themselves why a container is not there."""


def _beyond_doubt(cause: Finding) -> bool:
    return cause.reason in BEYOND_DOUBT.get(cause.step, frozenset())


def _only_fallback(cause: Finding, reading: proxy.Reading) -> bool:
    """The proxy reached nothing, and only says so."""
    nothing_reached = reading.kind in {Kind.CONNECT_FAILURE, Kind.NO_UPSTREAM}
    at_face_value = cause.step is Step.PROXY and cause.reason in {"connect_failure", "missing"}
    return nothing_reached and at_face_value


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
        if step in _DECIDING and verdict.look(evidence, step).outcome is Outcome.FAILED
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


TOLD_AFTER = 5.0
"""Seconds after which Kubernetes has told of a container that ended, or of a pod that is not ready:
kubelets look every second, and may wait some with what they report."""


def _too_early(
    evidence: Evidence, cause: Finding, below: frozenset[Step], reading: proxy.Reading
) -> tuple[str, ...]:
    """A symptom is the cause when nothing explains it, which takes that it was told of by now."""
    line, asked = reading.request, evidence.pod.look.asked_at
    if not cause.residual or Step.POD not in below or line is None or asked is None:
        return ()
    after = asked - line.end
    if after >= TOLD_AFTER or evidence.pod.look.outcome is not Outcome.RAN:
        return ()
    return (f"pod: asked {seconds(after)} after the request, when it need not have been told yet",)


_DECIDING = tuple(one for one in Step if one is not Step.SYSLOG)
"""The steps that can overrule another one: the hypervisor's log cannot, so it is missed by none."""


def _unknowns(
    evidence: Evidence, cause: Finding, below: frozenset[Step], reading: proxy.Reading
) -> tuple[str, ...]:
    """Return what could not be seen of the steps that could change the verdict."""
    found = []
    # CPU and storage rates explain lateness, and nothing else
    rates = evidence.vm.rates_missing if proxy.late(evidence, reading) else ()
    for step in _DECIDING:
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
        else:
            problems = (*seen.problems, *(rates if step is Step.VM else ()))
            found.extend(f"{step.value}: {problem}" for problem in problems)
    return tuple(dict.fromkeys(found))
