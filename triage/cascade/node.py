"""What the Kubernetes node shows: whether its kubelet lives, and what its conditions say.

A node is noticed to be silent after 40 s or more, so that its condition may be younger than the
outage. A lease that was renewed after the request had failed shows that the node lived through it;
one that is too old for a node that is still called ready shows a clock that is off, for the
controller goes by its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from triage.cascade.finding import CLOCK_SLACK, FaultTime, Finding, clock
from triage.evidence import Cause, Condition, Confidence, Evidence, NodeState, Proof, Step

LEASE_SILENCE = 25.0
"""Seconds: kubelets renew their lease every 10 s (nodeLeaseDurationSeconds is 40)."""
LEASE_NOTICED = 60.0
"""Seconds after which the controller has called a silent node not ready (its grace period is 40 s,
50 s since Kubernetes 1.32, and it looks every 5 s)."""
NOTICED = 120.0
"""Seconds after the outage by which Kubernetes has told of what was wrong with a node in it."""


def lived(node: NodeState, seen: float) -> bool:
    """Tell whether the node gave a sign of life after `seen`, when the fault showed."""
    renewed = node.lease_renewed_at
    return node.ready is True and renewed is not None and renewed > seen + CLOCK_SLACK


def findings(
    node: NodeState, evidence: Evidence, when: FaultTime, vm_seen: bool
) -> Iterator[Finding]:
    """Return what is wrong with a node; `vm_seen`: its machine was found to be there."""
    if not node.exists:
        yield _gone(node, evidence, when)
        return
    yield from _rebooted(node, evidence, when)
    yield from _network(node, evidence, when)
    ready = next((one for one in node.conditions if one.type == "Ready"), None)
    if ready is not None and ready.status != "True":
        yield _not_ready(node, ready, evidence, when, vm_seen)
    elif ready is not None and when.end is not None and when.explains(ready.changed_at):
        yield _finding(
            "kubelet_not_ready",
            Confidence.POSSIBLE,
            "kubelet was not ready",
            f"Node {node.name} became ready again at {clock(ready.changed_at)}.",
            node,
            evidence,
            time=ready.changed_at,
        )
    elif _silent(node, evidence, when):
        yield _finding(
            "kubelet_not_ready",
            Confidence.PROBABLE,
            "kubelet silent",
            f"The kubelet of node {node.name} gave its last sign of life at "
            f"{clock(node.lease_renewed_at)}.",
            node,
            evidence,
            time=node.lease_renewed_at,
        )


def _gone(node: NodeState, evidence: Evidence, when: FaultTime) -> Finding:
    asked = evidence.node.look.asked_at
    since = asked is not None and when.over_at(asked)
    return _finding(
        "kubelet_not_ready",
        Confidence.POSSIBLE if since else Confidence.PROBABLE,
        "node gone",
        f"Kubernetes knows no node {node.name} any more.",
        node,
        evidence,
    )


def _rebooted(node: NodeState, evidence: Evidence, when: FaultTime) -> Iterator[Finding]:
    """The kubelet's word on a new boot id: the guest started again, its VM need not have."""
    for one in evidence.node.events:
        here = one.reason == "Rebooted" and one.object.endswith(f"/{node.name}")
        if here and when.explains(one.time):
            yield _finding(
                "vm_restarted",
                Confidence.CERTAIN,
                "rebooted",
                f"Node {node.name} rebooted; its kubelet was back at {clock(one.time)}.",
                node,
                evidence,
                time=one.time,
            )
            return


def _network(node: NodeState, evidence: Evidence, when: FaultTime) -> Iterator[Finding]:
    one = next((one for one in node.conditions if one.type == "NetworkUnavailable"), None)
    if one is None or one.status != "True":
        return
    old = one.changed_at is None or when.long_before(one.changed_at) or one.changed_at > when.last
    yield _finding(
        "network_down",
        Confidence.POSSIBLE if old else Confidence.PROBABLE,
        "network unavailable",
        f"The network of node {node.name} is unavailable since {clock(one.changed_at)}: "
        f"{_said(one)}",
        node,
        evidence,
        time=one.changed_at,
    )


def _not_ready(
    node: NodeState, ready: Condition, evidence: Evidence, when: FaultTime, vm_seen: bool
) -> Finding:
    since = ready.changed_at
    strength = Confidence.CERTAIN if vm_seen and evidence.vm.look.whole else Confidence.PROBABLE
    if since is not None and (when.long_before(since) or since > when.last + NOTICED):
        strength = Confidence.POSSIBLE
    elif since is not None and since > when.latest + NOTICED:
        strength = Confidence.PROBABLE  # controllers notice late, but not that late
    return _finding(
        "kubelet_not_ready",
        strength,
        "kubelet not ready",
        f"Node {node.name} is not ready since {clock(since)}: {_said(ready)}",
        node,
        evidence,
        time=since,
    )


def _said(one: Condition) -> str:
    parts = [part.rstrip(".") for part in (one.reason, one.message) if part]
    return (": ".join(parts) or "no reason given") + "."


def _silent(node: NodeState, evidence: Evidence, when: FaultTime) -> bool:
    asked, renewed = evidence.node.look.asked_at, node.lease_renewed_at
    if asked is None or renewed is None or when.over_at(renewed):
        return False
    age = asked - renewed
    return LEASE_SILENCE < age < LEASE_NOTICED or (age > LEASE_SILENCE and node.ready is not True)


def _proofs(node: NodeState, evidence: Evidence) -> tuple[Proof, ...]:
    proofs = [
        Proof(
            step=Step.NODE,
            time=one.changed_at,
            source=f"node {node.name}",
            text=f"condition {one.type}={one.status} since {clock(one.changed_at)}, {_said(one)}",
        )
        for one in node.conditions
        if _bad(one)
    ]
    if node.lease_renewed_at is not None:
        renewed = clock(node.lease_renewed_at)
        text = f"lease renewed at {renewed}"
        proofs.append(
            Proof(step=Step.NODE, time=node.lease_renewed_at, source=f"node {node.name}", text=text)
        )
    proofs.extend(
        Proof(step=Step.NODE, time=None, source=f"node {node.name}", text=f"taint {taint}")
        for taint in node.taints
    )
    told = [one for one in evidence.node.events if one.object.endswith(f"/{node.name}")]
    proofs.extend(
        Proof(
            step=Step.NODE,
            time=one.time,
            source=f"event {one.object}",
            text=f"{one.type} {one.reason}: {one.message}",
        )
        for one in told[-5:]
    )
    return tuple(proofs)


def _bad(one: Condition) -> bool:
    return (one.type == "Ready") != (one.status == "True")


def summary(evidence: Evidence) -> str:
    """Say in one sentence what the node step saw."""
    nodes = evidence.node.nodes
    if not nodes:
        return "no node known"
    parts = []
    for node in nodes[:4]:
        bad = [f"{one.type}={one.status}" for one in node.conditions if _bad(one)]
        state = "gone" if not node.exists else ", ".join(bad) or "ready"
        cordoned = ", cordoned" if node.unschedulable else ""
        taints = f", taints {', '.join(node.taints)}" if node.taints else ""
        parts.append(f"{node.name}: {state}{cordoned}{taints}")
    more = f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""
    return "; ".join(parts) + more


def _finding(
    reason: str,
    strength: Confidence,
    title: str,
    summary: str,
    node: NodeState,
    evidence: Evidence,
    *,
    time: float | None = None,
) -> Finding:
    return Finding(
        step=Step.NODE,
        cause=Cause.NODE,
        reason=reason,
        strength=strength,
        title=f"node: {title}",
        summary=summary,
        object=f"node {node.name}",
        time=time,
        proofs=_proofs(node, evidence),
    )
