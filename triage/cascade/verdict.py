"""From findings to a verdict: what every policy shares."""

from __future__ import annotations

from triage.cascade import app, machine, node, pod, proxy, syslog
from triage.cascade.finding import Finding, time_of
from triage.evidence import (
    AppEvidence,
    Confidence,
    Evidence,
    Look,
    MetricEvidence,
    NodeEvidence,
    Outcome,
    PodEvidence,
    Policy,
    Proof,
    ProxyEvidence,
    Step,
    StepResult,
    SyslogEvidence,
    Verdict,
    VmEvidence,
)

_MOST_PROOFS = 40

_Part = (
    MetricEvidence
    | ProxyEvidence
    | AppEvidence
    | PodEvidence
    | NodeEvidence
    | VmEvidence
    | SyslogEvidence
)


def part(evidence: Evidence, step: Step) -> _Part:
    """Return a step's evidence."""
    parts: dict[Step, _Part] = {
        Step.METRIC: evidence.metric,
        Step.PROXY: evidence.proxy,
        Step.APP: evidence.app,
        Step.POD: evidence.pod,
        Step.NODE: evidence.node,
        Step.VM: evidence.vm,
        Step.SYSLOG: evidence.syslog,
    }
    return parts[step]


def look(evidence: Evidence, step: Step) -> Look:
    """Return whether and where a step looked."""
    return part(evidence, step).look


def compose(
    evidence: Evidence,
    finding: Finding,
    confidence: Confidence,
    policy: Policy,
    reading: proxy.Reading,
    unknowns: tuple[str, ...],
) -> Verdict:
    """Return the verdict that a finding comes to."""
    proofs = [*_shared_proofs(evidence, reading), *finding.proofs]
    sentence = ""
    if policy is Policy.DEFAULT:
        sentence, lines = syslog.beside(evidence, finding)
        proofs.extend((*lines, *app.noise(evidence.app)))
    return Verdict(
        cause=finding.cause,
        reason=finding.reason,
        title=finding.title,
        summary=finding.summary + sentence,
        confidence=confidence,
        policy=policy,
        steps=tuple(steps(evidence, reading, policy)),
        proofs=tuple(dict.fromkeys(proofs))[:_MOST_PROOFS],
        unknowns=unknowns,
        object=finding.object,
        decided_at=evidence.decided_at,
    )


def _shared_proofs(evidence: Evidence, reading: proxy.Reading) -> list[Proof]:
    anomaly = evidence.anomaly
    shown = "no response" if anomaly.status == 0 else "no sample"
    found = [
        Proof(
            step=Step.METRIC,
            time=anomaly.time,
            source=anomaly.trigger.value,
            text=f"{evidence.target.name}: {anomaly.status or shown}",
        )
    ]
    if reading.request is not None:
        found.append(
            Proof(
                step=Step.PROXY,
                time=reading.request.time,
                source=reading.request.pod,
                text=reading.request.raw,
            )
        )
    return found


def steps(evidence: Evidence, reading: proxy.Reading, policy: Policy) -> list[StepResult]:
    """Return what each step saw, in the order of the cascade."""
    return [_step(evidence, one, reading, policy) for one in Step]


def _step(evidence: Evidence, step: Step, reading: proxy.Reading, policy: Policy) -> StepResult:
    seen = look(evidence, step)
    if step not in evidence.gathered:
        reason = "; ".join(seen.problems) or "not needed: an earlier step decided"
        if step is Step.SYSLOG and Step.VM in evidence.gathered:
            reason = "the release that looked did not read it"
        if policy is Policy.PAPER and step in {Step.VM, Step.SYSLOG}:
            reason = "the source paper does not look at it"
        return StepResult(step=step, outcome=Outcome.SKIPPED, summary=reason, window=seen.window)
    if seen.outcome is not Outcome.RAN:
        reason = "; ".join(seen.problems) or "no reason given"
        prefix = "could not look: " if seen.outcome is Outcome.FAILED else ""
        return StepResult(
            step=step, outcome=seen.outcome, summary=prefix + reason, window=seen.window
        )
    text = _summary(evidence, step, reading)
    if seen.problems:
        text += "; could not see: " + "; ".join(seen.problems[:3])
    return StepResult(
        step=step,
        outcome=Outcome.RAN,
        summary=text,
        window=seen.window,
        lag=_lag(evidence, step, reading),
    )


def _summary(evidence: Evidence, step: Step, reading: proxy.Reading) -> str:
    if step is Step.METRIC:
        return _metric_summary(evidence)
    if step is Step.PROXY:
        return proxy.summary(evidence, reading)
    if step is Step.APP:
        return app.summary(evidence)
    if step is Step.POD:
        return pod.summary(evidence, time_of(evidence))
    if step is Step.NODE:
        return node.summary(evidence)
    return machine.summary(evidence) if step is Step.VM else syslog.summary(evidence)


def _metric_summary(evidence: Evidence) -> str:
    anomaly, metric = evidence.anomaly, evidence.metric
    text = app.phrase(anomaly.status) if anomaly.status is not None else "no sample"
    if metric.probe_seconds is not None:
        text += f", the probe took {metric.probe_seconds:.2f} s"
    if metric.up is False:
        text += ", the exporter is down"
    if metric.others_failing:
        text += f", {len(metric.others_failing)} other targets failed too"
    return text


def _lag(evidence: Evidence, step: Step, reading: proxy.Reading) -> float | None:
    """Return the seconds from a step's line to what it explains."""
    line = reading.request
    if step is Step.PROXY and line is not None:
        return evidence.anomaly.time - line.time
    if step is Step.APP:
        known = app.answers(evidence.app) + app.errors(evidence.app)
        since = line.time if line is not None else evidence.anomaly.time
        if known:
            return since - known[0].line.time
    if step is Step.VM and evidence.vm.notifications:
        return evidence.anomaly.time - evidence.vm.notifications[-1].time
    return None
