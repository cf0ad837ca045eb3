"""What the VMs below the nodes show: the end of the cascade. `node` is the Kubernetes side of it.

The rows are those of the source's table: vmOperState and vmAdminState, vmUpTime and vmHvUpTime, a
UUID that no hypervisor has, a hypervisor that is silent, CPU, storage and network between two
readings, and notifications in the window.

What is asked now tells of the outage only while it lasts, or shortly after. Up times and
notifications tell of the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from triage.cascade import node as node_layer
from triage.cascade import syslog
from triage.cascade.finding import CLOCK_SLACK, FaultTime, Finding, at_most, clock, seconds
from triage.evidence import (
    Cause,
    Confidence,
    Evidence,
    HypervisorAnswer,
    NodeState,
    Outcome,
    Proof,
    Step,
    SyslogKind,
    VmNic,
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


def findings(
    evidence: Evidence,
    home: str,
    when: FaultTime,
    limits: Limits = DEFAULT_LIMITS,
    seen: float | None = None,
) -> list[Finding]:
    """Return what is wrong with the node named so (all, if there is none) and with its VM.

    `seen` is when the fault showed: whoever lived after it did so all the time.
    """
    known = evidence.node.nodes
    chosen = [one for one in known if one.name == home] or known
    found: list[Finding] = []
    for one in chosen:
        scene = _Scene(
            evidence, when, limits, node_layer.lived(one, when.latest if seen is None else seen)
        )
        vm = _vm_of(one, evidence)
        if vm is not None:
            found.extend(_vm(vm, scene))
        if one.name in evidence.vm.missing or vm is None:
            found.extend(_absent(one, scene))
        found.extend(node_layer.findings(one, evidence, when, vm is not None))
    return found


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is known when a machine is judged."""

    evidence: Evidence
    when: FaultTime
    limits: Limits
    lived: bool
    """Its node gave a sign of life after the fault had shown."""

    def now(self, asked_at: float | None) -> Confidence:
        """Return how strongly a state that was read at `asked_at` can speak of the outage."""
        when = self.when
        if asked_at is None:
            return Confidence.CERTAIN
        past = when.over_at(asked_at) or when.too_late(asked_at, self.limits.stale)
        return Confidence.POSSIBLE if past else Confidence.CERTAIN


# The VM

_RUNS_FIRST = (
    *(VmOperState.RUNNING, VmOperState.BLOCKED, VmOperState.OTHER, VmOperState.MIGRATING),
    *(VmOperState.RESUMING, VmOperState.PREPARING),
)


def _vm_of(node: NodeState, evidence: Evidence) -> VmState | None:
    """Return the row that is the node's machine.

    Both ends of a migration, a leftover of one, and a clone show the same UUID: the machine is the
    one that runs, or comes next to that.
    """

    def order(one: VmState) -> int:
        known = one.oper_state in _RUNS_FIRST
        return _RUNS_FIRST.index(one.oper_state) if known else len(_RUNS_FIRST)

    return min((one for one in evidence.vm.vms if one.node == node.name), key=order, default=None)


def _vm(vm: VmState, scene: _Scene) -> Iterator[Finding]:
    yield from _host_restarted(vm, scene)
    yield from _state(vm, scene)
    yield from _restarted(vm, scene)
    if vm.oper_state in _ALIVE:
        # Rates are of the moment in which they were read
        limit = scene.now(vm.asked_at)
        rates = (*_cpu(vm, scene.limits), *_storage(vm, scene.limits), *_network(vm, scene))
        yield from (one.at_most(limit) for one in rates)


def _named(vm: VmState) -> str:
    return f"VM {vm.name or vm.uuid} on {vm.hypervisor}"


def _of(vm: VmState, notification: VmNotification) -> bool:
    if notification.uuid:
        return notification.uuid == vm.uuid
    same = not notification.hypervisor or notification.hypervisor == vm.hypervisor
    return same and notification.vm_index == vm.vm_index


def _plain(notification: VmNotification) -> str:
    return notification.name.replace("vmBulk", "vm")


def _stop(notification: VmNotification) -> str | None:
    return _STOPS.get(_plain(notification))


def _state(vm: VmState, scene: _Scene) -> Iterator[Finding]:
    told = [one for one in scene.evidence.vm.notifications if _of(vm, one)]
    stops = [one for one in told if _stop(one) and scene.when.overlaps(one.time, _again(one, told))]
    if vm.oper_state in _ALIVE:
        here = [one for one in stops if not _moved(one, vm)]
        if here:
            yield _stopped_before(vm, here[-1], told)
        elif stops:
            yield _moved_here(vm, stops, told)
    elif vm.oper_state is VmOperState.UNKNOWN:
        yield _unknown(vm, told, scene)
    else:
        yield _not_running(vm, stops, told, scene)


def _moved(stop: VmNotification, vm: VmState) -> bool:
    """Tell whether the VM stopped on a hypervisor that it is not on any more."""
    return bool(stop.hypervisor) and stop.hypervisor != vm.hypervisor


def _unknown(vm: VmState, told: list[VmNotification], scene: _Scene) -> Finding:
    limit = Confidence.POSSIBLE if scene.lived else scene.now(vm.asked_at)
    return _finding(
        "hypervisor_unreachable",
        at_most(Confidence.PROBABLE, limit),
        "hypervisor unreachable",
        f"The agent of {vm.hypervisor} answers, and does not know the state of {_named(vm)}: "
        "its hypervisor is silent.",
        f"hypervisor {vm.hypervisor}",
        proofs=(*_rows(vm, scene.evidence), *map(_note_proof, told)),
    )


def _not_running(
    vm: VmState, stops: list[VmNotification], told: list[VmNotification], scene: _Scene
) -> Finding:
    since = stops[-1].time if stops else _last_change(told)
    shown = _SHOWN.get(vm.oper_state, vm.oper_state.value)
    wanted = f" (wanted: {vm.admin_state.value})" if vm.admin_state is not None else ""
    return _finding(
        "vm_not_running",
        _stopped_for(vm, stops, since, scene),
        f"VM {shown}",
        f"{_named(vm)}, which is node {vm.node}, is {shown}{wanted}"
        + (f" since {clock(since)}." if since is not None else "."),
        _named(vm),
        time=since,
        proofs=(*_rows(vm, scene.evidence), *map(_note_proof, told)),
    )


def _stopped_for(
    vm: VmState, stops: list[VmNotification], since: float | None, scene: _Scene
) -> Confidence:
    """Return how strongly a VM that does not run now explains the outage."""
    strength = Confidence.CERTAIN
    if vm.oper_state is VmOperState.MIGRATING:
        strength = Confidence.PROBABLE  # a live migration stops a VM for a moment only
    if stops:
        return strength
    # Without a notification in time, only the state of now tells
    after = scene.lived or scene.when.followed(since)
    return Confidence.POSSIBLE if after else at_most(strength, scene.now(vm.asked_at))


def _again(stop: VmNotification, told: Iterable[VmNotification]) -> float | None:
    """Return when the VM ran again after `stop`, None when nothing says so."""
    runs = (one.time for one in told if one.time > stop.time and _plain(one) == "vmRunning")
    return min(runs, default=None)


def _last_change(told: Iterable[VmNotification]) -> float | None:
    return max((one.time for one in told if _stop(one)), default=None)


def _stopped_before(vm: VmState, stop: VmNotification, told: list[VmNotification]) -> Finding:
    """The VM runs again; a notification says that it did not in the outage."""
    again = _again(stop, told)
    shown = _stop(stop) or ""
    span = f" until {clock(again)} ({seconds(again - stop.time)})" if again is not None else ""
    return _finding(
        "vm_not_running",
        Confidence.PROBABLE if shown == "migrating" else Confidence.CERTAIN,
        f"VM {shown}",
        f"{_named(vm)}, which is node {vm.node}, was {shown} from {clock(stop.time)}{span}.",
        _named(vm),
        time=stop.time,
        proofs=tuple(map(_note_proof, told)),
    )


def _moved_here(vm: VmState, stops: list[VmNotification], told: list[VmNotification]) -> Finding:
    """It left one hypervisor in the outage and runs on another: it stood still for a moment."""
    first = stops[0]
    return _finding(
        "vm_not_running",
        Confidence.PROBABLE,
        "VM migrating",
        f"{_named(vm)}, which is node {vm.node}, was moved there from {first.hypervisor} at "
        f"{clock(first.time)}.",
        _named(vm),
        time=first.time,
        proofs=tuple(map(_note_proof, told)),
    )


def _host_restarted(vm: VmState, scene: _Scene) -> Iterator[Finding]:
    evidence = scene.evidence
    host = next((one for one in evidence.vm.hypervisors if one.name == vm.hypervisor), None)
    asked = evidence.vm.look.asked_at
    if host is None or host.up_seconds is None or asked is None:
        return
    began = asked - host.up_seconds
    if not scene.when.explains(began):
        return
    strength = _host_strength(host, vm, scene)
    if syslog.seconded(evidence, host.name, scene.when) is SyslogKind.RESTART and strength:
        strength = syslog.raised(strength, SyslogKind.RESTART)
    if strength is not None:
        yield _finding(
            "hypervisor_restarted",
            strength,
            "hypervisor restarted",
            f"Hypervisor {vm.hypervisor}, which runs node {vm.node}, started at {clock(began)}, "
            "in the outage.",
            f"hypervisor {vm.hypervisor}",
            time=began,
            proofs=_rows(vm, evidence),
        )


SAME_START = 10.0
"""Seconds: an agent that starts so shortly after its hypervisor is no service of a booting host."""


def _host_strength(host: HypervisorAnswer, vm: VmState, scene: _Scene) -> Confidence | None:
    """Return how sure the restart of a hypervisor is; None: it did not restart.

    Where the hypervisor does not tell its up time, it counts from the agent's first contact: a VM
    that is up for longer, or a node that lived through it, gives that away.
    """
    up = host.up_seconds or 0.0
    if vm.up_seconds is not None:
        return None if vm.up_seconds > up + CLOCK_SLACK else Confidence.CERTAIN
    agent = host.agent_up_seconds
    if agent is None or abs(agent - up) > SAME_START:
        return Confidence.PROBABLE
    return None if scene.lived else Confidence.POSSIBLE


def _restarted(vm: VmState, scene: _Scene) -> Iterator[Finding]:
    if vm.up_seconds is None or vm.oper_state not in _ALIVE:
        return
    began = vm.asked_at - vm.up_seconds
    if scene.when.explains(began):
        yield _finding(
            "vm_restarted",
            Confidence.CERTAIN,
            "VM restarted",
            f"{_named(vm)}, which is node {vm.node}, started at {clock(began)}, in the outage.",
            _named(vm),
            time=began,
            proofs=_rows(vm, scene.evidence),
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
            f"{worst:.0f} ms a request (limit: {limits.storage_ms:.0f} ms)"
        )
        yield _finding(
            "storage_slow",
            Confidence.PROBABLE,
            "storage slow",
            text[0].upper() + text[1:] + ".",
            f"disk {disk.name or disk.index} of VM {vm.name or vm.uuid}",
            proofs=(_vm_proof(vm, text),),
        )


def _network(vm: VmState, scene: _Scene) -> Iterator[Finding]:
    for nic in vm.nics:
        label = f"interface {nic.name or nic.if_index or nic.index} of VM {vm.name or vm.uuid}"
        down = nic.if_index is not None and (nic.oper_up is False or nic.admin_up is False)
        dropped = _dropped(nic, scene.limits)
        if not down and dropped is None:
            continue
        text = f"{label} is down on {vm.hypervisor}"
        if not down:
            text = f"{label} has {dropped:.0f} errors and discards a second on {vm.hypervisor}"
        yield _finding(
            "network_down",
            _down(nic, vm, scene) if down else Confidence.PROBABLE,
            "network down" if down else "network errors",
            text[0].upper() + text[1:] + ".",
            label,
            time=nic.changed_at if scene.when.explains(nic.changed_at) else None,
            proofs=(_vm_proof(vm, text),),
        )


def _dropped(nic: VmNic, limits: Limits) -> float | None:
    """Return the errors and discards a second, if they are a fault."""
    rates = (nic.in_errors_per_s, nic.out_errors_per_s, nic.in_discards_per_s)
    bad = sum(rate or 0.0 for rate in (*rates, nic.out_discards_per_s))
    packets = (nic.in_packets_per_s or 0.0) + (nic.out_packets_per_s or 0.0)
    return bad if bad >= limits.errors_per_s and bad >= limits.drop_share * packets else None


def _down(nic: VmNic, vm: VmState, scene: _Scene) -> Confidence:
    """Return how strongly an interface that is down explains the outage."""
    when = scene.when
    if when.explains(nic.changed_at):
        return Confidence.CERTAIN
    # Down for long and the site well until now: some other interface carries it
    old = nic.changed_at is not None and nic.changed_at < when.begin
    return Confidence.POSSIBLE if old or scene.lived or len(vm.nics) > 1 else Confidence.CERTAIN


# No VM


def _absent(node: NodeState, scene: _Scene) -> Iterator[Finding]:
    """No row with the node's UUID: gone, on a silent hypervisor, or not monitored at all.

    A hypervisor that answers and does not let us look is no cause, but rules nothing out either.
    A node that lives has its machine somewhere, whoever answers.
    """
    vm = scene.evidence.vm
    if vm.look.outcome is not Outcome.RAN:
        return
    limit = Confidence.POSSIBLE if scene.lived else scene.now(vm.look.asked_at)
    silent = [one for one in vm.hypervisors if one.silent]
    unseen = [one.name for one in vm.hypervisors if not one.answered]
    home = vm.last_known.get(node.name, "")
    trouble = node.ready is False or not node.exists
    lost = next((one for one in silent if one.name == home), None)
    if lost is not None:
        yield _seconded(_lost(node, lost, trouble).at_most(limit), lost, scene)
    elif silent and trouble and home not in unseen:
        gone = [one for one in silent if syslog.seconded(scene.evidence, one.name, scene.when)]
        found = _lost_somewhere(node, gone if len(gone) == 1 else silent).at_most(limit)
        yield _seconded(found, gone[0], scene) if len(gone) == 1 else found
    elif vm.hypervisors and not unseen and (home or trouble):
        yield _missing(node, home, trouble, limit, scene)


def _seconded(found: Finding, host: HypervisorAnswer, scene: _Scene) -> Finding:
    """Return it with what the hypervisor's log shows; a node that lived speaks against both."""
    if scene.lived:
        return found
    shown = syslog.seconded(scene.evidence, host.name, scene.when)
    return replace(found, strength=syslog.raised(found.strength, shown))


def _lost(node: NodeState, host: HypervisorAnswer, trouble: bool) -> Finding:
    return _finding(
        "hypervisor_unreachable",
        Confidence.CERTAIN if trouble else Confidence.PROBABLE,
        "hypervisor unreachable",
        f"Hypervisor {host.name}, which had the VM of node {node.name}, does not answer: "
        f"{host.problem}.",
        f"hypervisor {host.name}",
        proofs=(_answer_proof(host),),
    )


def _lost_somewhere(node: NodeState, silent: list[HypervisorAnswer]) -> Finding:
    return _finding(
        "hypervisor_unreachable",
        Confidence.POSSIBLE,
        "hypervisor unreachable",
        f"No hypervisor that answered has the VM of node {node.name} ({node.system_uuid}); "
        f"silent: {_some([one.name for one in silent])}.",
        f"hypervisor {silent[0].name}" if len(silent) == 1 else "",
        proofs=tuple(_answer_proof(one) for one in silent[:5]),
    )


def _missing(
    node: NodeState, home: str, trouble: bool, limit: Confidence, scene: _Scene
) -> Finding:
    vm = scene.evidence.vm
    deleted = [
        one
        for one in vm.notifications
        if _plain(one) == "vmDeleted"
        and one.uuid
        and scene.when.explains(one.time)
        and (one.vm_name == node.name or one.hypervisor == home)
    ]
    strength = Confidence.CERTAIN if home and trouble else Confidence.PROBABLE
    return _finding(
        "vm_missing",
        Confidence.CERTAIN if deleted else at_most(strength, limit),
        "VM missing",
        f"No hypervisor has the VM of node {node.name} ({node.system_uuid}); asked: "
        f"{_some([one.name for one in vm.hypervisors])}"
        + (f"; it was on {home} before." if home else "."),
        f"VM of node {node.name}",
        time=deleted[-1].time if deleted else None,
        proofs=(
            *map(_note_proof, deleted),
            *(_answer_proof(one) for one in vm.hypervisors[:5]),
        ),
    )


# What it says


def summary(evidence: Evidence) -> str:
    """Say in one sentence what the VM step saw."""
    vm = evidence.vm
    parts = [
        f"{one.node} is VM {one.name or one.uuid} on {one.hypervisor}: {one.oper_state.value}"
        + (f", up {seconds(one.up_seconds)}" if one.up_seconds is not None else "")
        for one in vm.vms[:4]
    ]
    if vm.missing:
        parts.append(f"no VM found for {', '.join(vm.missing[:4])}")
    silent = [one.name for one in vm.hypervisors if one.silent]
    if silent:
        parts.append(f"no answer from {_some(silent)}")
    closed = [one.name for one in vm.hypervisors if not one.answered and not one.silent]
    if closed:
        parts.append(f"not told by {_some(closed)}")
    if vm.rates_missing:
        parts.append("no CPU and storage rates yet")
    if vm.notifications:
        names = ", ".join(dict.fromkeys(one.name for one in vm.notifications))
        parts.append(f"notifications: {names}")
    elif vm.listening_since is None:
        parts.append("no notifications are received")
    return "; ".join(parts) or "nothing found"


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


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
) -> Finding:
    return Finding(
        step=Step.VM,
        cause=Cause.NODE,
        reason=reason,
        strength=strength,
        title=f"node: {title}",
        summary=summary,
        object=object,
        time=time,
        proofs=proofs,
    )
