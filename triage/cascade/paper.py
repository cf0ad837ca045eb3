"""The source paper's policy: its figure 4 to the letter, so that its tables can be reproduced.

Start: a sample that is not 200. The monitor's own line in the proxy's log:
- holds the word "upstream": status 200 -> the monitoring path; else the application's log of the
  minute before: a status other than 200, or the word "error" -> the application; else the
  communication between the two;
- does not hold it: status 503 -> the pod, when one does not exist, does not run or has abnormal
  events, else the node; another status -> the proxy.

The figure has no way for "there is no such line": undetermined.
"""

from __future__ import annotations

from triage.cascade import proxy, verdict
from triage.cascade.finding import Finding
from triage.evidence import (
    Cause,
    Confidence,
    Evidence,
    Match,
    Outcome,
    Policy,
    Proof,
    ProxyRequest,
    Step,
    Verdict,
)


def needed(evidence: Evidence) -> frozenset[Step]:
    """Return the steps below the proxy that the figure walks."""
    line = _line(evidence)
    if line is None:
        return frozenset()
    if _reached(line):
        return frozenset() if line.status == 200 else frozenset({Step.APP})
    return frozenset({Step.POD}) if line.status == 503 else frozenset()


def decide(evidence: Evidence) -> Verdict:
    """Return the figure's verdict."""
    line = _line(evidence)
    reading = proxy.Reading(request=line, own=True, looked=True)
    found = _finding(evidence, line)
    unknowns = tuple(
        f"{step.value}: {problem}"
        for step in evidence.gathered
        for problem in verdict.look(evidence, step).problems
    )
    return verdict.compose(evidence, found, found.strength, Policy.PAPER, reading, unknowns)


def _line(evidence: Evidence) -> ProxyRequest | None:
    mine = [one for one in evidence.proxy.requests if one.match is not Match.OTHER]
    bad = [one for one in mine if one.status != 200]
    chosen = bad or mine
    return min(chosen, key=lambda one: abs(one.time - evidence.anomaly.time), default=None)


def _reached(line: ProxyRequest) -> bool:
    return "upstream" in line.raw


def _finding(evidence: Evidence, line: ProxyRequest | None) -> Finding:
    if line is None:
        return _make(Step.PROXY, Cause.UNDETERMINED, "no_evidence", "no line of the proxy")
    if not _reached(line):
        return _not_reached(evidence, line)
    if line.status == 200:
        return _make(Step.PROXY, Cause.MONITORING_PATH, "answered_well", "from proxy to monitor")
    if evidence.app.look.outcome is not Outcome.RAN:
        return _make(Step.APP, Cause.UNDETERMINED, "could_not_look", "the log was not read")
    if evidence.app.non_200 or evidence.app.with_error:
        text = f"{evidence.app.non_200} lines not 200, {evidence.app.with_error} with error"
        return _make(Step.APP, Cause.APPLICATION, "error_logged", text, _app_proofs(evidence))
    return _make(
        Step.APP, Cause.COMMUNICATION, "connection_reset", "between application and Istio-proxy"
    )


def _not_reached(evidence: Evidence, line: ProxyRequest) -> Finding:
    if line.status != 503:
        return _make(Step.PROXY, Cause.PROXY, "error", "Istio-proxy")
    if evidence.pod.look.outcome is not Outcome.RAN:
        return _make(Step.POD, Cause.UNDETERMINED, "could_not_look", "the pod was not looked at")
    pods = evidence.pod.pods
    abnormal = [one for one in evidence.pod.events if one.type != "Normal"]
    if not pods:
        return _make(Step.POD, Cause.POD, "missing", "the pod does not exist")
    if any(one.gone or one.phase != "Running" for one in pods):
        return _make(Step.POD, Cause.POD, "failed", "the pod is not Running")
    if abnormal:
        return _make(Step.POD, Cause.POD, "not_ready", f"event {abnormal[-1].reason}")
    return _make(Step.NODE, Cause.NODE, "unknown", "the pod is normal")


def _app_proofs(evidence: Evidence) -> tuple[Proof, ...]:
    return tuple(
        Proof(
            step=Step.APP,
            time=one.line.time,
            source=f"{one.line.pod}/{one.line.container}",
            text=one.line.text,
        )
        for one in evidence.app.lines
        if "error" in one.line.text.lower() or (one.status is not None and one.status != 200)
    )[:10]


def _make(
    step: Step, cause: Cause, reason: str, text: str, proofs: tuple[Proof, ...] = ()
) -> Finding:
    undecided = cause is Cause.UNDETERMINED
    return Finding(
        step=step,
        cause=cause,
        reason=reason,
        strength=Confidence.POSSIBLE if undecided else Confidence.PROBABLE,
        title=f"{cause.value.replace('_', ' ')}: {text}",
        summary=f"Figure 4 of the source paper: {text}.",
        proofs=proofs,
    )
