"""What the pods show: why one of them was not there to answer.

Rules
- Only pods that the failed request can have been for are examined: the pod whose sidecar logged it
  or whose address the gateway tried; without such a line, those that the service can have sent it
  to. A pod that has been out of service for long while the site was good is none of them.
- What a pod suffered explains the outage when it happened in time: not when it was over before, and
  less when it came after the outage had begun, for then it may be a consequence or a remedy.
- Where the line names no pod, and others of the service were ready all along, the outage need not
  have been the sick one's: nothing is certain then.
- A symptom (not ready) is weaker than a cause (OOMKilled), so that another layer may explain it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from triage.cascade.finding import FaultTime, Finding, at_most, clock, seconds
from triage.evidence import (
    Cause,
    Confidence,
    ContainerKind,
    ContainerState,
    Evidence,
    KubeEvent,
    PodEvidence,
    PodState,
    Proof,
    ProxyRequest,
    ProxyRole,
    Rollout,
    Step,
    Termination,
)

IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
    | {"ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
)
CONTAINER_CONFIG = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
    | {"ContainerCannotRun", "PreCreateHookError", "PreStartHookError", "PostStartHookError"}
)
_CANNOT_START_EVENTS = frozenset(
    {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "FailedMapVolume"}
)
_EVICTED = frozenset({"Evicted", "Preempted", "Preempting", "TaintManagerEviction", "NodeShutdown"})
_NODE_SIDE = frozenset({"NodeLost", "NodeNotReady", "NodeAffinity", "Terminated", "Shutdown"})
_LOST = frozenset({"Unknown", "ContainerStatusUnknown"})
"""Reasons of a termination that nobody saw: the kubelet or its machine was away."""
_UNANSWERED = ("deadline exceeded", "timeout", "timed out")
"""In the kubelet's message about a probe: it waited in vain, and was not refused."""

SERVED_STILL = 60.0
"""Seconds after a pod was asked to go in which requests may still come to it: its grace period is
30 s by default, and the endpoints are told meanwhile."""
STALE = 600.0
"""Seconds after an outage, beyond which the pods of now say nothing of those of then."""
ROLLS = 900.0
"""Seconds in which a rollout replaces its pods, or is stuck (progressDeadlineSeconds is 600)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """The pods that the failed request can have been for."""

    pods: tuple[PodState, ...]
    named: bool = False
    """The line says which one."""
    served: tuple[PodState, ...] = ()
    """Pods of the service that were ready all along."""
    stale: str = ""
    """The pod or address of the line, which is none of the service's pods any more."""


def suspects(evidence: Evidence, line: ProxyRequest | None, when: FaultTime) -> Suspects:
    """Return the pods that the request of `line` can have been for."""
    pods = evidence.pod.pods
    served = tuple(one for one in pods if _served(one, when))
    chosen = tuple(one for one in pods if line is not None and _named(one, line))
    if chosen:
        return Suspects(pods=chosen, named=True, served=served)
    stale = _stale(evidence, line, when)
    if stale:
        left = tuple(one for one in pods if one.gone or one.deleted is not None)
        return Suspects(pods=left, named=True, served=served, stale=stale)
    able = tuple(one for one in pods if not when.long_before(_out_since(one, evidence.pod, when)))
    return Suspects(pods=able or pods, served=served)


def _named(pod: PodState, line: ProxyRequest) -> bool:
    if line.role is ProxyRole.SIDECAR:
        return f"{pod.namespace}/{pod.name}" == line.pod
    return bool(pod.ip) and pod.ip == _host(line)


def _host(line: ProxyRequest) -> str:
    return (line.upstream_host or "").rpartition(":")[0].strip("[]")


def _stale(evidence: Evidence, line: ProxyRequest | None, when: FaultTime) -> str:
    """Return what the line names if it was a pod's and is none's now, "" if that is not known."""
    state = evidence.pod
    asked = state.look.asked_at
    late = asked is not None and when.too_late(asked, STALE)
    if line is None or not state.look.whole or not state.pods or late:
        return ""
    if line.role is ProxyRole.SIDECAR:
        spaces = {one.namespace for one in state.pods}
        return line.pod if line.pod.partition("/")[0] in spaces else ""
    host = _host(line)
    return host if any(_same_network(host, one.ip) for one in state.pods) else ""


def _same_network(host: str, pod: str) -> bool:
    """Tell whether two addresses are of one range, as a cluster's pods' are (/16, IPv6: /48)."""
    try:
        address = ip_address(pod)
        size = 16 if address.version == 4 else 48
        return ip_address(host) in ip_network(f"{address}/{size}", strict=False)
    except ValueError:
        return False


def _served(pod: PodState, when: FaultTime) -> bool:
    """Tell whether a pod was ready all along."""
    here = not pod.gone and pod.deleted is None and pod.backing is not False
    steady = pod.ready_since is None or pod.ready_since <= when.begin
    return here and pod.ready is True and steady


def _out_since(pod: PodState, state: PodEvidence, when: FaultTime) -> float | None:
    """Return since when no request was sent to a pod; None: it may have been, up to the outage."""
    if pod.deleted is not None:
        return pod.deleted
    if pod.ready is True or pod.ready_since is not None:
        return pod.ready_since if pod.ready is not True else None
    told = [one.time for one in _events_of(pod, state) if _lasted_into(one, when)]
    ended = [
        one.finished_at
        for container in pod.containers
        for one in (container.current, container.last)
        if one is not None and one.finished_at is not None
    ]
    return max((*told, *ended), default=pod.created)


def _lasted_into(event: KubeEvent, when: FaultTime) -> bool:
    """Tell whether an event, or the series that it is, was in the outage."""
    return when.overlaps(event.first if event.first is not None else event.time, event.time)


def _events_of(pod: PodState, state: PodEvidence) -> list[KubeEvent]:
    return [one for one in state.events if one.object.endswith(f"/{pod.namespace}/{pod.name}")]


def findings(evidence: Evidence, chosen: Suspects, when: FaultTime) -> list[Finding]:
    """Return what is wrong with the suspects, and with the service when it has none."""
    found: list[Finding] = []
    for pod in chosen.pods:
        one_of_many = not chosen.named and any(one is not pod for one in chosen.served)
        here = _pod(pod, evidence, when)
        found.extend(map(_one_of_many, here) if one_of_many else here)
    if chosen.stale and not any(one.reason in {"deleted", "rollout"} for one in found):
        found.append(_vanished(chosen.stale, evidence.pod))
    service = _service(evidence.pod, when)
    found.extend(one for one in service if not chosen.named or one.reason == "rollout")
    if _scaled_to_none(evidence.pod):  # that is why the last ones were deleted
        found = [replace(one, residual=True) if one.reason == "deleted" else one for one in found]
    return found


def _scaled_to_none(state: PodEvidence) -> Rollout | None:
    return next((one for one in state.rollouts if one.desired == 0), None)


def _one_of_many(found: Finding) -> Finding:
    """Others were ready all along, and nothing says that the request was this pod's."""
    return found.at_most(Confidence.POSSIBLE if found.residual else Confidence.PROBABLE)


def _vanished(what: str, state: PodEvidence) -> Finding:
    name = f"pod {what}" if "/" in what else f"the pod at {what}"
    text = f"{_name(name)} is none of the {len(state.pods)} pods of {state.expected} any more"
    return _finding(
        "deleted",
        Confidence.PROBABLE,
        "gone",
        f"{text}: it was replaced or removed, and requests still went to it.",
        name,
        proofs=[Proof(step=Step.POD, time=state.look.asked_at, source=state.expected, text=text)],
    )


def _service(state: PodEvidence, when: FaultTime) -> Iterator[Finding]:
    if not state.look.whole:
        return
    asked = state.look.asked_at
    # That it has none now says nothing of an outage that was over before
    now = Confidence.POSSIBLE if asked is not None and when.over_at(asked) else Confidence.CERTAIN
    alive = [pod for pod in state.pods if not pod.gone and pod.phase not in {"Failed", "Succeeded"}]
    ready = [pod for pod in alive if pod.ready]
    if state.service_exists is False:
        text = f"There is no {state.expected}."
        yield _finding("missing", now, "service missing", text, state.expected)
    elif not alive:
        yield _none_left(state, now)
    elif state.endpoints_ready == 0 and ready:
        text = f"{state.expected} has no endpoints, though {len(ready)} of its pods are ready"
        yield _finding(
            "missing",
            now,
            "no endpoints",
            f"{_name(text)}: its selector or its port fits none of them.",
            state.expected,
            proofs=[Proof(step=Step.POD, time=asked, source=state.expected, text=text)],
        )
    else:
        yield from _rollout(state, when)


def _none_left(state: PodEvidence, strength: Confidence) -> Finding:
    """No pod lives; where some did, what became of them is the better answer."""
    to_none = _scaled_to_none(state)
    why = f": {to_none.kind} {to_none.name} is scaled to 0" if to_none is not None else ""
    return _finding(
        "missing",
        strength,
        "scaled to 0" if to_none is not None else "no pod",
        f"No pod is left of {state.expected}{why}.",
        state.expected,
        proofs=[_event_proof(one) for one in state.events[-3:]],
        residual=to_none is None and bool(state.pods),
    )


def _rollout(state: PodEvidence, when: FaultTime) -> Iterator[Finding]:
    for one in state.rollouts:
        since = one.changed_at
        if since is None or not one.in_progress or one.ready >= one.desired:
            continue
        if when.overlaps(since, since + ROLLS) and not when.followed(since):
            yield _finding(
                "rollout",
                Confidence.PROBABLE,
                "rollout",
                f"{one.kind} {one.name} was replacing its pods since {clock(since)}: {one.ready} "
                f"of {one.desired} ready{_because(one.message)}.",
                f"{one.kind} {one.name}",
                time=since,
                residual=True,
                proofs=[_rollout_proof(one)],
            )


def _pod(pod: PodState, evidence: Evidence, when: FaultTime) -> Iterator[Finding]:
    name = f"pod {pod.namespace}/{pod.name}"
    events = _events_of(pod, evidence.pod)
    yield from _phase(pod, name, events, when)
    yield from _leaving(pod, evidence, events, when)
    for container in pod.containers:
        yield from list(_waiting(pod, container, events, when)) or _terminations(
            pod, container, events, when
        )
    yield from _not_ready(pod, name, events, when)


def _phase(pod: PodState, name: str, events: list[KubeEvent], when: FaultTime) -> Iterator[Finding]:
    told = [one for one in events if one.reason in _EVICTED]
    if pod.reason in _EVICTED or any(when.explains(one.time) for one in told):
        time = told[-1].time if told else pod.ready_since
        yield _finding(
            "evicted",
            _in_time(time, when),
            "evicted",
            f"{_name(name)} was evicted{_at(time)}{_because(pod.message or _told(told))}.",
            name,
            time=time,
            proofs=[_event_proof(one) for one in told] or [_state_proof(pod)],
        )
    elif pod.phase == "Failed" and pod.reason not in _NODE_SIDE:
        time = pod.ready_since
        yield _finding(
            "failed",
            at_most(_in_time(time, when), Confidence.PROBABLE),
            pod.reason or "failed",
            f"{_name(name)} is in phase Failed{_since(time)}{_because(pod.message)}.",
            name,
            time=time,
            proofs=[_state_proof(pod)],
        )
    elif pod.phase == "Pending" and pod.scheduled is False:
        yield _unscheduled(pod, name, events, when)


def _in_time(time: float | None, when: FaultTime) -> Confidence:
    """Return how strongly something that happened to a pod at `time` speaks."""
    if time is None or when.long_before(time) or time > when.last:
        return Confidence.POSSIBLE
    return Confidence.PROBABLE if when.followed(time) else Confidence.CERTAIN


def _unscheduled(pod: PodState, name: str, events: list[KubeEvent], when: FaultTime) -> Finding:
    told = [one for one in events if one.reason == "FailedScheduling"]
    return _finding(
        "unschedulable",
        _in_time(pod.created, when),
        "unschedulable",
        f"{_name(name)} is on no node: "
        f"{_first_line(pod.not_ready_reason or _told(told)) or 'Unschedulable'}.",
        name,
        time=pod.created,
        proofs=[_event_proof(one) for one in told[-3:]] or [_state_proof(pod)],
    )


def _leaving(
    pod: PodState, evidence: Evidence, events: list[KubeEvent], when: FaultTime
) -> Iterator[Finding]:
    """A deletion explains what its pod's clients saw from when it was asked for."""
    if not pod.gone and pod.deleted is None:
        return
    killing = [one for one in events if one.reason == "Killing" and when.explains(one.time)]
    time = pod.deleted if pod.deleted is not None else (killing[0].time if killing else None)
    if time is not None and not when.overlaps(time, time + SERVED_STILL if pod.gone else None):
        return
    name = f"pod {pod.namespace}/{pod.name}"
    strength = Confidence.PROBABLE if time is None else _in_time(time, when)
    if time is not None and when.followed(time):
        strength = Confidence.POSSIBLE  # whoever deletes a pod in an outage wants to end it
    rollout = _replaced_by(time, evidence.pod.rollouts)
    why = _why_deleted(pod, rollout, evidence)
    proofs = [_event_proof(one) for one in killing] or [_state_proof(pod)]
    yield _finding(
        "deleted" if rollout is None else "rollout",
        strength,
        "deleted" if rollout is None else "replaced by a rollout",
        f"{_name(name)} was deleted{_at(time)}{why}.",
        name,
        time=time,
        proofs=[*proofs, *([_rollout_proof(rollout)] if rollout is not None else [])],
    )


def _replaced_by(time: float | None, rollouts: Iterable[Rollout]) -> Rollout | None:
    """Return the rollout that a pod's deletion belongs to."""
    for one in rollouts:
        began = one.changed_at
        if time is None or began is None or not one.desired:
            continue
        if 0 <= time - began <= ROLLS:
            return one
    return None


def _why_deleted(pod: PodState, rollout: Rollout | None, evidence: Evidence) -> str:
    if rollout is not None:
        return (
            f", as {rollout.kind} {rollout.name} replaced its pods since "
            f"{clock(rollout.changed_at)}"
        )
    home = next((one for one in evidence.node.nodes if one.name == pod.node), None)
    return f"; its node {home.name} is cordoned" if home is not None and home.unschedulable else ""


def _terminations(
    pod: PodState, container: ContainerState, events: list[KubeEvent], when: FaultTime
) -> Iterator[Finding]:
    if container.kind is ContainerKind.INIT:
        return
    for ended in (container.current, container.last):
        if ended is None:
            continue
        # It is back when it runs again, and is of use when the pod is ready again
        up = [one for one in (container.started_at, pod.ready_since) if one is not None]
        back = max(up) if container.state == "running" and pod.ready and up else None
        if when.overlaps(ended.finished_at, back):
            yield _termination(pod, container, ended, events, when)
            return


def _termination(
    pod: PodState,
    container: ContainerState,
    ended: Termination,
    events: list[KubeEvent],
    when: FaultTime,
) -> Finding:
    name = f"container {container.name} of pod {pod.namespace}/{pod.name}"
    killed = _killed(container, events)
    code = "" if ended.exit_code is None else f", exit code {ended.exit_code}"
    how = f"{ended.reason or 'terminated'}{code}"
    reason, title = "crashed", f"{container.name} ended: {how}"
    if ended.reason == "OOMKilled":
        reason, title = "oom_killed", "OOMKilled"
    elif killed is not None:
        reason, title = "liveness_killed", "killed by its liveness probe"
    text = (
        f"{pod.namespace}/{pod.name} {container.name}: {how}, finished "
        f"{clock(ended.finished_at)}, restarts {container.restarts}"
    )
    proofs = [Proof(step=Step.POD, time=ended.finished_at, source=name, text=text)]
    unhealthy = [one for one in events if one.reason == "Unhealthy" and "iveness" in one.message]
    if killed is not None:
        proofs.extend(_event_proof(one) for one in (killed, *unhealthy[-1:]))
    return _finding(
        reason,
        _ended(ended, reason, when),
        title,
        f"{_name(name)} ended at {clock(ended.finished_at)}: {how}{_probe(killed, unhealthy)}.",
        name,
        time=ended.finished_at,
        proofs=proofs,
        residual=ended.reason in _LOST,
        late=killed is not None and any(_unanswered(one) for one in unhealthy),
    )


def _probe(killed: KubeEvent | None, unhealthy: list[KubeEvent]) -> str:
    """Say which probe the kubelet killed it for."""
    if killed is None:
        return ""
    told = f" ({_first_line(unhealthy[-1].message)})" if unhealthy else ""
    return f", killed by the kubelet for its liveness probe{told}"


def _ended(ended: Termination, reason: str, when: FaultTime) -> Confidence:
    """Return how strongly the end of a container speaks."""
    # Exit 0 and SIGTERM are how a container ends that was told to: something else told it
    told = ended.exit_code in {0, 143} and reason == "crashed"
    if when.followed(ended.finished_at):
        # A kubelet kills what hangs; memory that runs out again and again keeps the outage going
        return Confidence.POSSIBLE if told or reason == "liveness_killed" else Confidence.PROBABLE
    return Confidence.PROBABLE if told or ended.reason in _LOST else Confidence.CERTAIN


def _killed(container: ContainerState, events: list[KubeEvent]) -> KubeEvent | None:
    """Return the kubelet's word that it killed a container for its liveness probe."""
    return next(
        (
            one
            for one in events
            if one.reason == "Killing"
            and "liveness" in one.message
            and (not one.container or one.container.endswith(f"{{{container.name}}}"))
        ),
        None,
    )


def _unanswered(event: KubeEvent) -> bool:
    return any(word in event.message.lower() for word in _UNANSWERED)


def _waiting(
    pod: PodState, container: ContainerState, events: list[KubeEvent], when: FaultTime
) -> Iterator[Finding]:
    since = pod.ready_since if pod.ready is False else None
    if since is not None and since > when.last:
        return  # it came to that after the outage
    found = _stuck(pod, container, events)
    if found is None:
        return
    # A container that waits for days was waiting while the site was good; but where no container
    # of the application runs, nobody answers, since whenever that is
    answers = any(
        one.kind is ContainerKind.APP and one.state == "running" for one in pod.containers
    )
    yield found.at_most(_in_time(since, when)) if answers and since is not None else found


def _stuck(pod: PodState, container: ContainerState, events: list[KubeEvent]) -> Finding | None:
    """Return why a container waits, or does not finish."""
    if container.state != "waiting":
        failed = container.kind is ContainerKind.INIT and _init_failed(container)
        return _init(pod, container) if failed else None
    reason = _waiting_reason(container, events)
    if reason is None:
        return None
    if container.kind is ContainerKind.INIT and reason != "image":
        return _init(pod, container)
    return _cannot_run(pod, container, events, reason)


_CALLED = {
    "oom_killed": "{} after OOMKilled",
    "liveness_killed": "{} after being killed by its liveness probe",
}


def _cannot_run(
    pod: PodState, container: ContainerState, events: list[KubeEvent], reason: str
) -> Finding:
    name = f"container {container.name} of pod {pod.namespace}/{pod.name}"
    ended = container.last
    killed = _killed(container, events)
    if reason == "crash_loop":
        reason = _why_loops(ended.reason if ended is not None else "", killed)
    waits = container.reason or "waiting"
    mount = [one for one in events if one.reason in _CANNOT_START_EVENTS]
    if container.reason in {"ContainerCreating", "PodInitializing"} and mount:
        waits = mount[-1].reason
    detail = f" after {ended.reason} (exit code {ended.exit_code})" if ended is not None else ""
    # Of a back-off, the message tells how long it is; of the rest, what is wrong
    said = _first_line((ended.message if ended is not None else container.message) or _told(mount))
    if reason == "liveness_killed":
        detail += ", killed by the kubelet for its liveness probe"
    shown = [one for one in events if one.type == "Warning"]
    time = ended.finished_at if ended is not None else None
    return _finding(
        reason,
        Confidence.CERTAIN,
        _CALLED.get(reason, "{}").format(waits),
        f"{_name(name)} is waiting: {waits}{detail}{': ' if said else ''}{said}.",
        name,
        time=time,
        proofs=[
            Proof(
                step=Step.POD,
                time=time,
                source=name,
                text=f"{pod.namespace}/{pod.name} {container.name}: waiting, {waits}{detail}, "
                f"restarts {container.restarts}",
            ),
            *([_event_proof(killed)] if killed is not None else []),
            *(_event_proof(one) for one in shown[-3:]),
        ],
    )


def _why_loops(last: str, killed: KubeEvent | None) -> str:
    """Return why a container keeps ending, by how it ended last."""
    if last in CONTAINER_CONFIG:
        return "container_config"
    if last == "OOMKilled":
        return "oom_killed"
    return "crash_loop" if killed is None else "liveness_killed"


def _waiting_reason(container: ContainerState, events: list[KubeEvent]) -> str | None:
    if container.reason == "CrashLoopBackOff":
        return "crash_loop"
    if container.reason in IMAGE:
        return "image"
    if container.reason in CONTAINER_CONFIG:
        return "container_config"
    if any(one.reason in _CANNOT_START_EVENTS for one in events):
        return "container_config"
    return None


def _init_failed(container: ContainerState) -> bool:
    ended = container.current
    return ended is not None and ended.exit_code not in {0, None}


def _init(pod: PodState, container: ContainerState) -> Finding:
    name = f"init container {container.name} of pod {pod.namespace}/{pod.name}"
    ended = container.current or container.last
    code = f", exit code {ended.exit_code}" if ended and ended.exit_code is not None else ""
    text = f"{_name(name)} does not finish: {container.reason or container.state}{code}."
    time = ended.finished_at if ended else None
    return _finding(
        "init_failed",
        Confidence.CERTAIN,
        "init container failed",
        text,
        name,
        time=time,
        proofs=[Proof(step=Step.POD, time=time, source=name, text=text)],
    )


def _not_ready(
    pod: PodState, name: str, events: list[KubeEvent], when: FaultTime
) -> Iterator[Finding]:
    """Not being ready is a symptom; it was one in the outage if it began before or in it."""
    if pod.gone or pod.phase in {"Failed", "Succeeded"}:
        return
    unhealthy = [
        one
        for one in events
        if one.reason in {"Unhealthy", "ProbeWarning"} and _lasted_into(one, when)
    ]
    since = pod.ready_since
    is_not = pod.ready is False and (since is None or since <= when.last)
    # Ready again since the outage began: until then it was not
    was_not = pod.ready is True and since is not None and when.explains(since)
    if not (is_not or was_not or unhealthy):
        return
    out = is_not or was_not
    reason, title = "not_ready", "not ready" if out else "probe failed"
    if out and _starting(pod, when):
        reason = title = "starting"
    strength = Confidence.PROBABLE if out else Confidence.POSSIBLE
    if is_not and (when.long_before(since) or when.followed(since)):
        strength = Confidence.POSSIBLE
    why = _told(unhealthy) or pod.not_ready_reason
    state = "failed a probe"
    if out:
        state = f"is not ready{_since(since)}" if is_not else f"was not ready until {clock(since)}"
    yield _finding(
        reason,
        strength,
        title,
        f"{_name(name)} {state}{_because(why)}.",
        name,
        time=since if is_not else unhealthy[0].time if unhealthy else None,
        proofs=[_event_proof(one) for one in unhealthy[-3:]] or [_state_proof(pod)],
        residual=True,
    )


def _starting(pod: PodState, when: FaultTime) -> bool:
    """Tell whether the pod, or one of its containers, was started about when the fault began."""
    if pod.created is not None and when.explains(pod.created):
        return True
    return any(
        one.kind is ContainerKind.APP and when.began_it(one.started_at) and one.last is None
        for one in pod.containers
    )


def summary(evidence: Evidence, when: FaultTime) -> str:
    """Say in one sentence what the step saw."""
    state = evidence.pod
    if not state.pods:
        return f"no pod found for {state.expected or 'the target'}"
    ready = sum(1 for pod in state.pods if pod.ready and not pod.gone)
    restarts = [
        container.name
        for pod in state.pods
        for container in pod.containers
        if container.last is not None and when.explains(container.last.finished_at)
    ]
    parts = [f"{ready} of {len(state.pods)} pods ready"]
    if restarts:
        parts.append(f"restarted in the outage: {', '.join(sorted(set(restarts)))}")
    gone = [pod.name for pod in state.pods if pod.gone]
    if gone:
        parts.append(f"gone: {', '.join(gone)}")
    warnings = sum(1 for one in state.events if one.type == "Warning")
    if warnings:
        parts.append(f"{warnings} warning event{'s' if warnings > 1 else ''}")
    return "; ".join(parts)


def _state_proof(pod: PodState) -> Proof:
    parts = [f"pod {pod.namespace}/{pod.name}", f"phase {pod.phase or 'unknown'}"]
    if pod.reason:
        parts.append(pod.reason)
    if pod.ready is not None:
        parts.append("ready" if pod.ready else f"not ready ({pod.not_ready_reason or 'no reason'})")
    if pod.deleted is not None:
        parts.append(f"deletion asked for at {clock(pod.deleted)}")
    if pod.gone:
        parts.append("gone")
    return Proof(
        step=Step.POD,
        time=pod.deleted or pod.ready_since,
        source=f"pod {pod.namespace}/{pod.name}",
        text=", ".join(parts),
    )


def _event_proof(event: KubeEvent) -> Proof:
    times = (
        f" (x{event.count} over {seconds(event.time - event.first)})"
        if (event.count > 1 and event.first is not None)
        else ""
    )
    return Proof(
        step=Step.POD,
        time=event.time,
        source=f"event {event.object}",
        text=f"{event.type} {event.reason}: {event.message}{times}",
    )


def _rollout_proof(one: Rollout) -> Proof:
    text = (
        f"{one.kind} {one.name}: {one.ready} of {one.desired} ready, since {clock(one.changed_at)}"
    )
    return Proof(
        step=Step.POD,
        time=one.changed_at,
        source=f"{one.kind} {one.name}",
        text=text + (f"; {one.message}" if one.message else ""),
    )


def _name(name: str) -> str:
    return name[:1].upper() + name[1:]


def _at(time: float | None) -> str:
    return f" at {clock(time)}" if time is not None else ""


def _since(time: float | None) -> str:
    return f" since {clock(time)}" if time is not None else ""


def _told(events: list[KubeEvent]) -> str:
    return events[-1].message if events else ""


def _because(text: str) -> str:
    said = _first_line(text)
    return f": {said}" if said else ""


def _first_line(text: str) -> str:
    """Return the first line, without its full stop: it goes into a sentence."""
    return text.strip().partition("\n")[0].strip().rstrip(".")[:300]


def _finding(
    reason: str,
    strength: Confidence,
    title: str,
    summary: str,
    object: str,  # noqa: A002 - the field's name
    *,
    time: float | None = None,
    proofs: Iterable[Proof] = (),
    residual: bool = False,
    late: bool = False,
) -> Finding:
    return Finding(
        step=Step.POD,
        cause=Cause.POD,
        reason=reason,
        strength=strength,
        title=f"pod: {title}",
        summary=summary,
        object=object,
        time=time,
        proofs=tuple(proofs),
        residual=residual,
        late=late,
    )
