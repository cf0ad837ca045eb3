"""What the Kubernetes nodes and their VMs show: the end of the cascade.

The rows are those of the source's table: vmOperState and vmAdminState, vmUpTime and vmHvUpTime, a
UUID that no hypervisor has, a hypervisor that is silent, CPU, storage and network between two
readings, notifications in the window, and the node's own conditions.

What is asked now tells of the outage only while it lasts, or shortly after. Up times and
notifications tell of the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from triage.cascade.finding import CLOCK_SLACK, FaultTime, Finding, clock, seconds, weaker
from triage.evidence import (
    Cause,
    Confidence,
    Evidence,
    HypervisorAnswer,
    NodeState,
    Outcome,
    Proof,
    Step,
    VmNotification,
    VmOperState,
    VmState,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on a reading counts as a fault."""

    cpu: float = 0.95
    """Of a VM's virtual CPUs, or of the host's CPUs."""
    storage_ms: float = 250.0
    """Mean latency of a request: ten times what a slow disk takes."""
    errors_per_s: float = 1.0
    """Errors and discards of the VM's interface on the hypervisor."""
    drop_share: float = 0.01
    """Errors and discards of all packets."""
    stale: float = 600.0
    """Seconds after the outage, beyond which a reading of now says nothing of then."""


DEFAULT_LIMITS = Limits()

_RUNNING_BEFORE = frozenset({VmOperState.RUNNING, VmOperState.BLOCKED, VmOperState.MIGRATING})
_STOPS = {
    "vmPaused": "paused",
    "vmSuspended": "suspended",
    "vmSuspending": "suspending",
    "vmShutdown": "shut down",
    "vmShuttingdown": "shutting down",
    "vmCrashed": "crashed",
    "vmDeleted": "deleted",
    "vmBlocked": "blocked",
    "vmMigrating": "migrating",
}
"""Notifications that tell of a VM that stops; "vmBulk" before the rest of the name is the same."""
_SHOWN = {
    VmOperState.SHUTDOWN: "shut down",
    VmOperState.SHUTTINGDOWN: "shutting down",
}
_ALIVE = frozenset({VmOperState.RUNNING, VmOperState.BLOCKED, VmOperState.OTHER})


def node_of_interest(evidence: Evidence, names: Iterable[str]) -> tuple[NodeState, ...]:
    """Return the nodes named so; all when none is."""
    wanted = frozenset(name for name in names if name)
    chosen = tuple(node for node in evidence.node.nodes if node.name in wanted)
    return chosen or evidence.node.nodes


def findings(
    evidence: Evidence, nodes: Iterable[str], when: FaultTime, limits: Limits = DEFAULT_LIMITS
) -> list[Finding]:
    """Return what is wrong with the nodes named so, and with their VMs."""
    chosen = node_of_interest(evidence, nodes)
    names = {node.name for node in chosen}
    found: list[Finding] = []
    for vm in evidence.vm.vms:
        if vm.node in names:
            found.extend(_vm(vm, evidence, when, limits))
    for node in chosen:
        mine = {vm.uuid for vm in evidence.vm.vms if vm.node == node.name}
        if node.name in evidence.vm.missing or not mine:
            found.extend(_absent(node, evidence, when))
        found.extend(_node(node, evidence, when, bool(mine)))
    return found


# The VM


def _vm(vm: VmState, evidence: Evidence, when: FaultTime, limits: Limits) -> Iterator[Finding]:
    yield from _state(vm, evidence, when, limits)
    yield from _restarts(vm, evidence, when)
    if vm.oper_state in _ALIVE and not _too_late(vm.asked_at, when, limits):
        yield from _cpu(vm, limits)
        yield from _storage(vm, limits)
        yield from _network(vm, when, limits)


def _too_late(asked_at: float, when: FaultTime, limits: Limits) -> bool:
    return asked_at > (when.end if when.end is not None else when.latest) + limits.stale


def _of(vm: VmState, notification: VmNotification) -> bool:
    if notification.uuid:
        return notification.uuid == vm.uuid
    same = not notification.hypervisor or notification.hypervisor == vm.hypervisor
    return same and notification.vm_index == vm.vm_index


def _stop(notification: VmNotification) -> str | None:
    return _STOPS.get(notification.name.replace("vmBulk", "vm"))


def _state(vm: VmState, evidence: Evidence, when: FaultTime, limits: Limits) -> Iterator[Finding]:
    told = [one for one in evidence.vm.notifications if _of(vm, one)]
    stops = [one for one in told if _stop(one) and when.overlaps(one.time, _again(one, told))]
    name = f"VM {vm.name or vm.uuid} on {vm.hypervisor}"
    rows = _rows(vm, evidence)
    notes = tuple(_note_proof(one) for one in told)
    if vm.oper_state in _ALIVE:
        if stops:
            yield _stopped_before(vm, stops[-1], told, notes)
        return
    if vm.oper_state is VmOperState.UNKNOWN:
        yield _finding(
            "hypervisor_unreachable",
            Confidence.PROBABLE,
            "hypervisor unreachable",
            f"The agent of {vm.hypervisor} answers, and does not know the state of {name}: "
            "its hypervisor is silent.",
            f"hypervisor {vm.hypervisor}",
            proofs=(*rows, *notes),
        )
        return
    shown = _SHOWN.get(vm.oper_state, vm.oper_state.value)
    since = stops[-1].time if stops else _last_change(told)
    wanted = f" (wanted: {vm.admin_state.value})" if vm.admin_state is not None else ""
    strength = Confidence.CERTAIN
    if vm.oper_state is VmOperState.MIGRATING:
        strength = Confidence.PROBABLE  # a live migration stops a VM for a moment only
    if when.over_at(vm.asked_at) and not stops:
        # The site was well again by then: whether the VM stopped in the outage is not known
        strength = Confidence.POSSIBLE
    elif since is not None and not stops and since > when.latest:
        strength = Confidence.POSSIBLE  # it stopped after the outage began
    if _too_late(vm.asked_at, when, limits) and not stops:
        strength = Confidence.POSSIBLE
    yield _finding(
        "vm_not_running",
        strength,
        f"VM {shown}",
        f"{name}, which is node {vm.node}, is {shown}{wanted}"
        + (f" since {clock(since)}." if since is not None else "."),
        name,
        time=since,
        proofs=(*rows, *notes),
    )


def _again(stop: VmNotification, told: Iterable[VmNotification]) -> float | None:
    """Return when the VM ran again after `stop`, None when nothing says so."""
    runs = (one.time for one in told if one.time > stop.time and _runs(one))
    return min(runs, default=None)


def _runs(notification: VmNotification) -> bool:
    return notification.name.replace("vmBulk", "vm") == "vmRunning"


def _last_change(told: Iterable[VmNotification]) -> float | None:
    return max((one.time for one in told if _stop(one)), default=None)


def _stopped_before(
    vm: VmState,
    stop: VmNotification,
    told: list[VmNotification],
    notes: tuple[Proof, ...],
) -> Finding:
    """The VM runs again; a notification says that it did not in the outage."""
    again = _again(stop, told)
    shown = _stop(stop) or ""
    span = f" until {clock(again)} ({seconds(again - stop.time)})" if again is not None else ""
    return _finding(
        "vm_not_running",
        Confidence.PROBABLE if shown == "migrating" else Confidence.CERTAIN,
        f"VM {shown}",
        f"VM {vm.name or vm.uuid} on {vm.hypervisor}, which is node {vm.node}, was {shown} "
        f"from {clock(stop.time)}{span}.",
        f"VM {vm.name or vm.uuid} on {vm.hypervisor}",
        time=stop.time,
        proofs=notes,
    )


def _restarts(vm: VmState, evidence: Evidence, when: FaultTime) -> Iterator[Finding]:
    name = f"VM {vm.name or vm.uuid} on {vm.hypervisor}"
    rows = _rows(vm, evidence)
    host = _answer(evidence, vm.hypervisor)
    if host is not None and host.up_seconds is not None and evidence.vm.look.asked_at is not None:
        began = evidence.vm.look.asked_at - host.up_seconds
        # Where the hypervisor does not tell its up time, it counts from the agent's first contact:
        # a VM that is up for longer than its hypervisor gives that away.
        older = vm.up_seconds is not None and vm.up_seconds > host.up_seconds + CLOCK_SLACK
        if when.explains(began) and not older:
            yield _finding(
                "hypervisor_restarted",
                Confidence.CERTAIN,
                "hypervisor restarted",
                f"Hypervisor {vm.hypervisor}, which runs node {vm.node}, started at "
                f"{clock(began)}, in the outage.",
                f"hypervisor {vm.hypervisor}",
                time=began,
                proofs=rows,
            )
    if vm.up_seconds is None or vm.oper_state not in _ALIVE:
        return
    began = vm.asked_at - vm.up_seconds
    if when.explains(began):
        yield _finding(
            "vm_restarted",
            Confidence.CERTAIN,
            "VM restarted",
            f"{name}, which is node {vm.node}, started at {clock(began)}, in the outage.",
            name,
            time=began,
            proofs=rows,
        )


def _cpu(vm: VmState, limits: Limits) -> Iterator[Finding]:
    cpu = vm.cpu
    own = cpu.usage is not None and cpu.usage >= limits.cpu
    host = cpu.host_load is not None and cpu.host_load >= limits.cpu
    if not own and not host:
        return
    parts = []
    if cpu.usage is not None:
        parts.append(f"{cpu.usage:.0%} of its {cpu.vcpus or '?'} vCPUs are used")
    if cpu.host_load is not None:
        parts.append(f"{cpu.host_load:.0%} of the host's {cpu.host_cpus or '?'} CPUs")
    text = f"VM {vm.name or vm.uuid} on {vm.hypervisor}: " + ", ".join(parts)
    # A busy VM on a calm host only works hard; on a busy host it does not get what it asks for
    yield _finding(
        "cpu_starved",
        Confidence.PROBABLE if own and host else Confidence.POSSIBLE,
        "CPU starved" if host else "CPU saturated",
        text + ".",
        f"VM {vm.name or vm.uuid} on {vm.hypervisor}",
        proofs=(_vm_proof(vm, text),),
    )


def _storage(vm: VmState, limits: Limits) -> Iterator[Finding]:
    for disk in vm.disks:
        worst = max(disk.read_latency_ms or 0.0, disk.write_latency_ms or 0.0)
        if worst < limits.storage_ms:
            continue
        text = (
            f"disk {disk.name or disk.index} of VM {vm.name or vm.uuid} on {vm.hypervisor} takes "
            f"{worst:.0f} ms a request"
        )
        yield _finding(
            "storage_slow",
            Confidence.PROBABLE,
            "storage slow",
            text[0].upper() + text[1:] + ".",
            f"disk {disk.name or disk.index} of VM {vm.name or vm.uuid}",
            proofs=(_vm_proof(vm, text),),
        )


def _network(vm: VmState, when: FaultTime, limits: Limits) -> Iterator[Finding]:
    for nic in vm.nics:
        label = f"interface {nic.name or nic.if_index or nic.index} of VM {vm.name or vm.uuid}"
        bad = sum(
            rate or 0.0
            for rate in (
                nic.in_errors_per_s,
                nic.out_errors_per_s,
                nic.in_discards_per_s,
                nic.out_discards_per_s,
            )
        )
        packets = (nic.in_packets_per_s or 0.0) + (nic.out_packets_per_s or 0.0)
        if nic.if_index is not None and (nic.oper_up is False or nic.admin_up is False):
            # Down for long and the site well until now: some other interface carries it
            old = nic.changed_at is not None and nic.changed_at < when.begin
            text = f"{label} is down on {vm.hypervisor}"
            strength = Confidence.POSSIBLE if old or len(vm.nics) > 1 else Confidence.CERTAIN
            if when.explains(nic.changed_at):
                strength = Confidence.CERTAIN
        elif bad >= limits.errors_per_s and bad >= limits.drop_share * packets:
            text = f"{label} has {bad:.0f} errors and discards a second on {vm.hypervisor}"
            strength = Confidence.PROBABLE
        else:
            continue
        yield _finding(
            "network_down",
            strength,
            "network down" if nic.oper_up is False or nic.admin_up is False else "network errors",
            text[0].upper() + text[1:] + ".",
            label,
            time=nic.changed_at if when.explains(nic.changed_at) else None,
            proofs=(_vm_proof(vm, text),),
        )


# No VM


def _absent(node: NodeState, evidence: Evidence, when: FaultTime) -> Iterator[Finding]:
    """No row with the node's UUID: gone, on a silent hypervisor, or not monitored at all."""
    vm = evidence.vm
    if vm.look.outcome is not Outcome.RAN:
        return
    silent = [one for one in vm.hypervisors if not one.answered]
    answered = [one.name for one in vm.hypervisors if one.answered]
    home = vm.last_known.get(node.name, "")
    deleted = [
        one
        for one in vm.notifications
        if one.name.replace("vmBulk", "vm") == "vmDeleted"
        and one.uuid
        and when.explains(one.time)
        and (one.vm_name == node.name or one.hypervisor == home)
    ]
    trouble = node.ready is False or not node.exists
    lost = next((one for one in silent if one.name == home), None)
    if lost is not None:
        yield _finding(
            "hypervisor_unreachable",
            Confidence.CERTAIN if trouble else Confidence.PROBABLE,
            "hypervisor unreachable",
            f"Hypervisor {lost.name}, which had the VM of node {node.name}, does not answer: "
            f"{lost.problem}.",
            f"hypervisor {lost.name}",
            proofs=(_answer_proof(lost),),
        )
    elif silent and trouble:
        names = ", ".join(one.name for one in silent)
        yield _finding(
            "hypervisor_unreachable",
            Confidence.POSSIBLE,
            "hypervisor unreachable",
            f"No hypervisor that answered has the VM of node {node.name} "
            f"({node.system_uuid}); silent: {names}.",
            f"hypervisor {silent[0].name}" if len(silent) == 1 else "",
            proofs=tuple(_answer_proof(one) for one in silent[:5]),
        )
    elif answered and not silent and (home or trouble):
        yield _finding(
            "vm_missing",
            Confidence.CERTAIN if deleted or (home and trouble) else Confidence.PROBABLE,
            "VM missing",
            f"No hypervisor has the VM of node {node.name} ({node.system_uuid}); asked: "
            f"{', '.join(answered)}" + (f"; it was on {home} before." if home else "."),
            f"VM of node {node.name}",
            time=deleted[-1].time if deleted else None,
            proofs=(
                *(_note_proof(one) for one in deleted),
                *(_answer_proof(one) for one in vm.hypervisors[:5]),
            ),
        )


# The Kubernetes node


def _node(node: NodeState, evidence: Evidence, when: FaultTime, vm_seen: bool) -> Iterator[Finding]:
    name = f"node {node.name}"
    if not node.exists:
        yield _finding(
            "kubelet_not_ready",
            Confidence.PROBABLE,
            "node gone",
            f"Kubernetes knows no {name} any more.",
            name,
            step=Step.NODE,
        )
        return
    ready = next((one for one in node.conditions if one.type == "Ready"), None)
    proofs = _node_proofs(node, evidence)
    if ready is not None and ready.status != "True":
        strength = Confidence.CERTAIN if vm_seen and evidence.vm.look.whole else Confidence.PROBABLE
        if ready.changed_at is not None and ready.changed_at > _last_sign(when):
            # Controllers notice late (40 s by default), but not that late
            strength = weaker(strength)
        yield _finding(
            "kubelet_not_ready",
            strength,
            "kubelet not ready",
            f"{name[0].upper() + name[1:]} is not ready since {clock(ready.changed_at)}: "
            f"{ready.reason}. {ready.message}".rstrip(),
            name,
            time=ready.changed_at,
            proofs=proofs,
            step=Step.NODE,
        )
    elif ready is not None and when.explains(ready.changed_at) and (when.end is not None):
        yield _finding(
            "kubelet_not_ready",
            Confidence.POSSIBLE,
            "kubelet was not ready",
            f"{name[0].upper() + name[1:]} became ready again at {clock(ready.changed_at)}.",
            name,
            time=ready.changed_at,
            proofs=proofs,
            step=Step.NODE,
        )
    elif _stale_lease(node, evidence):
        yield _finding(
            "kubelet_not_ready",
            Confidence.PROBABLE,
            "kubelet silent",
            f"The kubelet of {name} gave its last sign of life at {clock(node.lease_renewed_at)}.",
            name,
            time=node.lease_renewed_at,
            proofs=proofs,
            step=Step.NODE,
        )


LEASE_SILENCE = 25.0
"""Seconds: kubelets renew their lease every 10 s (nodeLeaseDurationSeconds is 40)."""


def _stale_lease(node: NodeState, evidence: Evidence) -> bool:
    asked, renewed = evidence.node.look.asked_at, node.lease_renewed_at
    return asked is not None and renewed is not None and asked - renewed > LEASE_SILENCE


def _last_sign(when: FaultTime) -> float:
    return (when.end if when.end is not None else when.latest) + 120.0


def _node_proofs(node: NodeState, evidence: Evidence) -> tuple[Proof, ...]:
    proofs = [
        Proof(
            step=Step.NODE,
            time=one.changed_at,
            source=f"node {node.name}",
            text=f"condition {one.type}={one.status} since {clock(one.changed_at)}, {one.reason}: "
            f"{one.message}",
        )
        for one in node.conditions
        if (one.type == "Ready") != (one.status == "True")
    ]
    proofs.extend(
        Proof(step=Step.NODE, time=None, source=f"node {node.name}", text=f"taint {taint}")
        for taint in node.taints
    )
    proofs.extend(
        Proof(
            step=Step.NODE,
            time=one.time,
            source=f"event {one.object}",
            text=f"{one.type} {one.reason}: {one.message}",
        )
        for one in evidence.node.events[-5:]
        if one.object.endswith(f"/{node.name}")
    )
    return tuple(proofs)


# What it says


def node_summary(evidence: Evidence) -> str:
    """Say in one sentence what the node step saw."""
    nodes = evidence.node.nodes
    if not nodes:
        return "no node known"
    parts = []
    for node in nodes[:4]:
        bad = [
            f"{one.type}={one.status}"
            for one in node.conditions
            if (one.type == "Ready") != (one.status == "True")
        ]
        state = "gone" if not node.exists else ", ".join(bad) or "ready"
        taints = f", taints {', '.join(node.taints)}" if node.taints else ""
        parts.append(f"{node.name}: {state}{taints}")
    more = f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""
    return "; ".join(parts) + more


def vm_summary(evidence: Evidence) -> str:
    """Say in one sentence what the VM step saw."""
    vm = evidence.vm
    parts = [
        f"{one.node} is VM {one.name or one.uuid} on {one.hypervisor}: {one.oper_state.value}"
        + (f", up {seconds(one.up_seconds)}" if one.up_seconds is not None else "")
        for one in vm.vms[:4]
    ]
    if vm.missing:
        parts.append(f"no VM found for {', '.join(vm.missing[:4])}")
    silent = [one.name for one in vm.hypervisors if not one.answered]
    if silent:
        shown = ", ".join(silent[:4]) + (f" and {len(silent) - 4} more" if len(silent) > 4 else "")
        parts.append(f"no answer from {shown}")
    if vm.notifications:
        names = ", ".join(dict.fromkeys(one.name for one in vm.notifications))
        parts.append(f"notifications: {names}")
    elif vm.listening_since is None:
        parts.append("no notifications are received")
    return "; ".join(parts) or "nothing found"


def _answer(evidence: Evidence, name: str) -> HypervisorAnswer | None:
    return next((one for one in evidence.vm.hypervisors if one.name == name), None)


def _rows(vm: VmState, evidence: Evidence) -> tuple[Proof, ...]:
    return tuple(
        Proof(step=Step.VM, time=vm.asked_at, source=f"SNMP {vm.hypervisor}", text=row)
        for row in evidence.vm.rows
        if row.partition(" = ")[0].endswith((f".{vm.vm_index}", ".0"))
    )


def _note_proof(one: VmNotification) -> Proof:
    before = f", vmOperState before: {one.state_before.value}" if one.state_before else ""
    text = one.text or f"{one.name} {one.vm_name} {one.uuid}{before}"
    return Proof(
        step=Step.VM,
        time=one.time,
        source=f"notification from {one.hypervisor or one.sender}",
        text=text if text.startswith(one.name) else f"{one.name}: {text}",
    )


def _vm_proof(vm: VmState, text: str) -> Proof:
    return Proof(step=Step.VM, time=vm.asked_at, source=f"SNMP {vm.hypervisor}", text=text)


def _answer_proof(one: HypervisorAnswer) -> Proof:
    state = "answered, has no such UUID" if one.answered else one.problem or "no answer"
    return Proof(step=Step.VM, time=None, source=f"SNMP {one.name}", text=f"{one.name}: {state}")


def _finding(
    reason: str,
    strength: Confidence,
    title: str,
    summary: str,
    object: str,  # noqa: A002 - the field's name
    *,
    time: float | None = None,
    proofs: tuple[Proof, ...] = (),
    step: Step = Step.VM,
) -> Finding:
    return Finding(
        step=step,
        cause=Cause.NODE,
        reason=reason,
        strength=strength,
        title=f"node: {title}",
        summary=summary,
        object=object,
        time=time,
        proofs=proofs,
    )
