"""What the pods show: why one of them was not there to answer.

Only pods that the failed request can have been for are examined: the pod whose sidecar logged it or
whose address the gateway tried; without such a line, all of them. A symptom (not ready) is weaker
than a cause (OOMKilled), so that a layer below may explain it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from triage.cascade.finding import FaultTime, Finding, clock, seconds
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


def suspects(evidence: Evidence, address: str | None, pod: str) -> tuple[PodState, ...]:
    """Return the pods that the request can have been for; all when that is not known."""
    pods = evidence.pod.pods
    host = (address or "").rpartition(":")[0].strip("[]")
    chosen = tuple(
        one
        for one in pods
        if (pod and f"{one.namespace}/{one.name}" == pod) or (host and one.ip == host)
    )
    return chosen or pods


def findings(evidence: Evidence, pods: Iterable[PodState], when: FaultTime) -> list[Finding]:
    """Return what is wrong with `pods`, and with the service when it has none."""
    found = [finding for pod in pods for finding in _pod(pod, evidence.pod, when)]
    found.extend(_service(evidence.pod, when))
    return found


def _service(state: PodEvidence, when: FaultTime) -> Iterator[Finding]:
    if not state.look.whole:
        return
    alive = [pod for pod in state.pods if not pod.gone and pod.phase not in {"Failed", "Succeeded"}]
    if state.service_exists is False:
        yield _finding(
            "missing", Confidence.CERTAIN, "service missing", f"There is no {state.expected}.", ""
        )
    elif not alive:
        wanted = [one for one in state.rollouts if one.desired == 0]
        why = f" ({wanted[0].kind} {wanted[0].name} is scaled to 0)" if wanted else ""
        yield _finding(
            "missing",
            Confidence.CERTAIN,
            "no pod",
            f"There is no pod behind {state.expected}{why}.",
            "",
            proofs=[_event_proof(one) for one in state.events[-3:]],
        )
    else:
        yield from _rollout(state, when)


def _rollout(state: PodEvidence, when: FaultTime) -> Iterator[Finding]:
    for rollout in state.rollouts:
        recent = rollout.in_progress and when.explains(rollout.changed_at)
        if recent and rollout.ready < rollout.desired:
            yield _finding(
                "rollout",
                Confidence.PROBABLE,
                "rollout",
                f"{rollout.kind} {rollout.name} was replacing its pods: {rollout.ready} of "
                f"{rollout.desired} ready. {rollout.message}".rstrip(),
                f"{rollout.kind} {rollout.name}",
                time=rollout.changed_at,
            )


def _pod(pod: PodState, state: PodEvidence, when: FaultTime) -> Iterator[Finding]:
    name = f"pod {pod.namespace}/{pod.name}"
    events = [one for one in state.events if one.object.endswith(f"/{pod.namespace}/{pod.name}")]
    yield from _phase(pod, name, events, when)
    yield from _leaving(pod, name, events, when)
    for container in pod.containers:
        yield from list(_waiting(pod, container, events)) or _terminations(
            pod, container, events, when
        )
    yield from _not_ready(pod, name, events, when)


def _phase(pod: PodState, name: str, events: list[KubeEvent], when: FaultTime) -> Iterator[Finding]:
    evicted = pod.reason in _EVICTED or any(
        one.reason in _EVICTED and when.explains(one.time) for one in events
    )
    if evicted:
        proofs = [_event_proof(one) for one in events if one.reason in _EVICTED]
        yield _finding(
            "evicted",
            Confidence.CERTAIN,
            "evicted",
            f"{_name(name)} was evicted. {pod.message}".rstrip(),
            name,
            proofs=proofs or [_state_proof(pod)],
        )
    elif pod.phase == "Failed" and pod.reason not in _NODE_SIDE:
        yield _finding(
            "failed",
            Confidence.PROBABLE,
            pod.reason or "failed",
            f"{_name(name)} is in phase Failed. {pod.message}".rstrip(),
            name,
            proofs=[_state_proof(pod)],
        )
    elif pod.phase == "Pending" and pod.scheduled is False:
        yield _finding(
            "unschedulable",
            Confidence.CERTAIN,
            "unschedulable",
            f"{_name(name)} is on no node: {pod.not_ready_reason or 'Unschedulable'}.",
            name,
            time=pod.created,
            proofs=[_event_proof(one) for one in events if one.reason == "FailedScheduling"]
            or [_state_proof(pod)],
        )


def _leaving(
    pod: PodState, name: str, events: list[KubeEvent], when: FaultTime
) -> Iterator[Finding]:
    """A deletion explains what its pod's clients saw while, and shortly after, it was asked for."""
    if not pod.gone and pod.deleted is None:
        return
    killing = [one for one in events if one.reason == "Killing" and when.explains(one.time)]
    time = pod.deleted if pod.deleted is not None else (killing[0].time if killing else None)
    if time is not None and not when.explains(time):
        return
    yield _finding(
        "deleted",
        Confidence.PROBABLE if pod.gone and time is None else Confidence.CERTAIN,
        "deleted",
        f"{_name(name)} was deleted" + (f" at {clock(time)}." if time else "."),
        name,
        time=time,
        proofs=[_event_proof(one) for one in killing] or [_state_proof(pod)],
    )


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
            yield _termination(pod, container, ended, events)
            return


def _termination(
    pod: PodState, container: ContainerState, ended: Termination, events: list[KubeEvent]
) -> Finding:
    name = f"container {container.name} of pod {pod.namespace}/{pod.name}"
    killed = next(
        (
            one
            for one in events
            if one.reason == "Killing"
            and "liveness" in one.message
            and (not one.container or one.container.endswith(f"{{{container.name}}}"))
        ),
        None,
    )
    code = "" if ended.exit_code is None else f", exit code {ended.exit_code}"
    reason, title = "crashed", f"{ended.reason or 'terminated'}{code}"
    if ended.reason == "OOMKilled":
        reason, title = "oom_killed", "OOMKilled"
    elif killed is not None:
        reason, title = "liveness_killed", "killed by its liveness probe"
    text = (
        f"{pod.namespace}/{pod.name} {container.name}: {ended.reason or 'terminated'}{code}, "
        f"finished {clock(ended.finished_at)}, restarts {container.restarts}"
    )
    proofs = [Proof(step=Step.POD, time=ended.finished_at, source=name, text=text)]
    if killed is not None:
        proofs.append(_event_proof(killed))
    # Exit 0 and SIGTERM are how a container ends that was told to: something else told it
    told = ended.exit_code in {0, 143} and reason == "crashed"
    return _finding(
        reason,
        Confidence.PROBABLE if told else Confidence.CERTAIN,
        title,
        f"{_name(name)} ended at {clock(ended.finished_at)}: {ended.reason or 'terminated'}{code}.",
        name,
        time=ended.finished_at,
        proofs=proofs,
    )


def _waiting(
    pod: PodState, container: ContainerState, events: list[KubeEvent]
) -> Iterator[Finding]:
    if container.state != "waiting":
        if container.kind is ContainerKind.INIT and _init_failed(container):
            yield _init(pod, container)
        return
    name = f"container {container.name} of pod {pod.namespace}/{pod.name}"
    reason = _waiting_reason(container, events)
    if reason is None:
        return
    if container.kind is ContainerKind.INIT and reason != "image":
        yield _init(pod, container)
        return
    ended = container.last
    memory = reason == "crash_loop" and ended is not None and ended.reason == "OOMKilled"
    detail = f" after {ended.reason} (exit code {ended.exit_code})" if ended is not None else ""
    yield _finding(
        "oom_killed" if memory else reason,
        Confidence.CERTAIN,
        f"{container.reason or 'waiting'}" + (" after OOMKilled" if memory else ""),
        f"{_name(name)} is waiting: {container.reason}{detail}. {container.message}".rstrip(),
        name,
        time=ended.finished_at if ended is not None else None,
        proofs=[
            Proof(
                step=Step.POD,
                time=ended.finished_at if ended is not None else None,
                source=name,
                text=f"{pod.namespace}/{pod.name} {container.name}: waiting, {container.reason}"
                f"{detail}, restarts {container.restarts}",
            ),
            *(_event_proof(one) for one in events[-2:] if one.type == "Warning"),
        ],
    )


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
        if one.reason in {"Unhealthy", "ProbeWarning"} and when.explains(one.time)
    ]
    not_ready = pod.ready is False and (
        pod.ready_since is None or pod.ready_since <= (when.end or when.latest)
    )
    if not not_ready and not unhealthy:
        return
    starting = pod.created is not None and when.explains(pod.created)
    for one in pod.containers:
        if one.kind is ContainerKind.APP and when.began_it(one.started_at) and not one.ready:
            starting = True
    since = f" since {clock(pod.ready_since)}" if not_ready and pod.ready_since else ""
    why = pod.not_ready_reason or (unhealthy[-1].message if unhealthy else "")
    state = "is not ready" if not_ready else "failed its probe"
    yield _finding(
        "starting" if starting and not_ready else "not_ready",
        Confidence.PROBABLE if not_ready else Confidence.POSSIBLE,
        "starting" if starting and not_ready else "not ready" if not_ready else "probe failed",
        f"{_name(name)} {state}{since}: {why or 'no reason given'}.",
        name,
        time=pod.ready_since if not_ready else unhealthy[0].time,
        proofs=[_event_proof(one) for one in unhealthy[-3:]] or [_state_proof(pod)],
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


def _name(name: str) -> str:
    return name[:1].upper() + name[1:]


def _finding(
    reason: str,
    strength: Confidence,
    title: str,
    summary: str,
    object: str,  # noqa: A002 - the field's name
    *,
    time: float | None = None,
    proofs: Iterable[Proof] = (),
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
    )
