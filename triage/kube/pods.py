"""Pods, what backs a service, and rollouts: from API objects to evidence. Pure.

- A native sidecar is an init container with `restartPolicy: Always`: it runs beside the others, and
  is a proxy or an application container here, not an init container. Ephemeral (debug) containers
  are left out: what happens in them is no fault of the pod.
- A pod's deletion was asked for at deletionTimestamp less its grace period.
- A workload whose pods merely fail is not rolling out: `in_progress` follows the revision (the
  controller's own reason NewReplicaSetAvailable), not the number of ready pods.

References: Kubernetes API v1 PodStatus, apps/v1 DeploymentStatus, discovery/v1 EndpointSlice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from triage.evidence import ContainerKind, ContainerState, PodState, Rollout, Termination
from triage.kube.values import (
    Json,
    as_dict,
    as_int,
    as_labels,
    as_list,
    as_str,
    cut,
    maybe_int,
    meta,
    name_of,
    parse_time,
    truth,
)

HASHES = ("pod-template-hash", "controller-revision-hash")
GATES = ("PodScheduled", "Initialized", "PodReadyToStartContainers", "ContainersReady")


def read_pod(pod: Json, proxy_container: str, backing: bool | None = None) -> PodState:
    """Give the state of a pod."""
    info, spec, status = meta(pod), as_dict(pod.get("spec")), as_dict(pod.get("status"))
    conditions = {as_str(c.get("type")): c for c in as_list(status.get("conditions"))}
    ready = conditions.get("Ready", {})
    labels = as_labels(info.get("labels"))
    return PodState(
        namespace=as_str(info.get("namespace")),
        name=as_str(info.get("name")),
        uid=as_str(info.get("uid")),
        node=as_str(spec.get("nodeName")),
        ip=as_str(status.get("podIP")),
        phase=as_str(status.get("phase")),
        reason=as_str(status.get("reason")),
        message=cut(status.get("message")),
        ready=truth(ready.get("status")),
        ready_since=parse_time(ready.get("lastTransitionTime")),
        not_ready_reason=_not_ready(conditions, spec),
        scheduled=_scheduled(conditions, spec),
        created=parse_time(info.get("creationTimestamp")),
        deleted=_deleted(info),
        containers=tuple(_containers(spec, status, proxy_container)),
        owner=owner_of(pod),
        hash=next((labels[key] for key in HASHES if key in labels), ""),
        backing=backing,
    )


def _scheduled(conditions: Mapping[str, Json], spec: Json) -> bool | None:
    if spec.get("nodeName"):
        return True
    return truth(conditions.get("PodScheduled", {}).get("status"))


def _deleted(info: Json) -> float | None:
    at = parse_time(info.get("deletionTimestamp"))
    return None if at is None else at - as_int(info.get("deletionGracePeriodSeconds"))


def _not_ready(conditions: Mapping[str, Json], spec: Json) -> str:
    gates = [as_str(g.get("conditionType")) for g in as_list(spec.get("readinessGates"))]
    if truth(conditions.get("Ready", {}).get("status")):
        return ""
    for name in (*GATES, *gates, "Ready"):
        condition = conditions.get(name)
        if condition is not None and truth(condition.get("status")) is not True:
            reason, message = as_str(condition.get("reason")), cut(condition.get("message"))
            return ": ".join(filter(None, (reason or name, message)))
    return ""


def owner_of(item: Json) -> str:
    """The controller: "ReplicaSet/front-6d4f", or ""."""
    owners = as_list(meta(item).get("ownerReferences"))
    controllers = [o for o in owners if o.get("controller")] or owners
    if not controllers:
        return ""
    return f"{as_str(controllers[0].get('kind'))}/{as_str(controllers[0].get('name'))}"


def _containers(spec: Json, status: Json, proxy: str) -> Iterable[ContainerState]:
    for key, states in (
        ("initContainers", "initContainerStatuses"),
        ("containers", "containerStatuses"),
    ):
        known = {as_str(s.get("name")): s for s in as_list(status.get(states))}
        for container in as_list(spec.get(key)):
            name = as_str(container.get("name"))
            init = key == "initContainers" and container.get("restartPolicy") != "Always"
            kind = ContainerKind.INIT if init else ContainerKind.APP
            kind = ContainerKind.PROXY if name == proxy and not init else kind
            yield _container(name, kind, known.get(name, {}))


def _container(name: str, kind: ContainerKind, status: Json) -> ContainerState:
    state, last = as_dict(status.get("state")), as_dict(status.get("lastState"))
    which = next((s for s in ("running", "waiting", "terminated") if s in state), "")
    now = as_dict(state.get(which))
    ready = status.get("ready")
    return ContainerState(
        name=name,
        kind=kind,
        ready=ready if isinstance(ready, bool) else None,
        state=which,
        reason=as_str(now.get("reason")),
        message=cut(now.get("message")),
        started_at=parse_time(now.get("startedAt")),
        restarts=as_int(status.get("restartCount")),
        current=_termination(state.get("terminated")),
        last=_termination(last.get("terminated")),
    )


def _termination(value: object) -> Termination | None:
    if not isinstance(value, dict):
        return None
    code, signal = maybe_int(value.get("exitCode")), maybe_int(value.get("signal")) or None
    if signal is None and code is not None and 128 < code < 160:
        signal = code - 128  # a shell's and a runtime's way to say it
    return Termination(
        reason=as_str(value.get("reason")),
        exit_code=code,
        signal=signal,
        started_at=parse_time(value.get("startedAt")),
        finished_at=parse_time(value.get("finishedAt")),
        message=cut(value.get("message")),
    )


def identity(pod: PodState, *, gone: bool = False) -> PodState:
    """Only who it is and where it ran: for a pod whose present state is not known."""
    if gone:
        return replace(pod, gone=True)
    return PodState(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        node=pod.node,
        ip=pod.ip,
        created=pod.created,
        owner=pod.owner,
        hash=pod.hash,
    )


# What backs a service


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """The endpoints of a service: pod names, and those of other addresses only counted."""

    ready: frozenset[str] = frozenset()
    not_ready: frozenset[str] = frozenset()
    ready_count: int = 0
    not_ready_count: int = 0

    def backing(self, pod: str) -> bool:
        """Whether the service sends requests to that pod."""
        return pod in self.ready


def read_slices(slices: Iterable[Json]) -> Backends:
    """Of EndpointSlices (discovery/v1); `ready` null counts as ready, as the API says.

    An address of two families or two ports counts once per pod.
    """
    return _backends(
        (
            as_dict(endpoint.get("conditions")).get("ready") is not False,
            as_dict(endpoint.get("targetRef")),
            endpoint.get("addresses"),
        )
        for item in slices
        for endpoint in as_list(item.get("endpoints"))
    )


def read_endpoints(endpoints: Json) -> Backends:
    """Of an Endpoints object (v1)."""
    return _backends(
        (key == "addresses", as_dict(address.get("targetRef")), address.get("ip"))
        for subset in as_list(endpoints.get("subsets"))
        for key in ("addresses", "notReadyAddresses")
        for address in as_list(subset.get(key))
    )


def _backends(found: Iterable[tuple[bool, Json, object]]) -> Backends:
    pods: dict[bool, set[str]] = {True: set(), False: set()}
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for ready, ref, address in found:
        name = as_str(ref.get("name")) if ref.get("kind") == "Pod" else ""
        seen[ready].add(name or str(address))
        if name:
            pods[ready].add(name)
    return Backends(
        ready=frozenset(pods[True]),
        not_ready=frozenset(pods[False]),
        ready_count=len(seen[True]),
        not_ready_count=len(seen[False] - seen[True]),
    )


# Rollouts


def read_rollout(item: Json, kind: str, revisions: Iterable[Json] = ()) -> Rollout:
    """Give the state of a Deployment, StatefulSet or DaemonSet.

    `revisions`: a Deployment's ReplicaSets, or the pods of the others (the oldest of the newest
    revision tells when it began).
    """
    if kind == "DaemonSet":
        return _daemon_set(item, revisions)
    if kind == "StatefulSet":
        return _stateful_set(item, revisions)
    return _deployment(item, revisions)


def _observed(item: Json) -> bool:
    seen = as_int(as_dict(item.get("status")).get("observedGeneration"))
    return seen >= as_int(meta(item).get("generation"))


def _desired(item: Json) -> int:
    replicas = maybe_int(as_dict(item.get("spec")).get("replicas"))
    return 1 if replicas is None else replicas


def _deployment(item: Json, sets: Iterable[Json]) -> Rollout:
    status, desired = as_dict(item.get("status")), _desired(item)
    total, updated = as_int(status.get("replicas")), as_int(status.get("updatedReplicas"))
    available = as_int(status.get("availableReplicas"))
    conditions = {as_str(c.get("type")): c for c in as_list(status.get("conditions"))}
    progressing = conditions.get("Progressing", {})
    settled = progressing.get("reason") == "NewReplicaSetAvailable" or not progressing
    turning = updated < desired or total > updated or (not settled and available < desired)
    paused = as_dict(item.get("spec")).get("paused") is True
    said = [] if settled else [cut(progressing.get("message"))]
    failure = conditions.get("ReplicaFailure", {})
    if truth(failure.get("status")):
        said.append(cut(failure.get("message")))
    if paused:
        said.append("paused")
    return Rollout(
        kind="Deployment",
        name=name_of(item),
        desired=desired,
        ready=as_int(status.get("readyReplicas")),
        updated=updated,
        available=available,
        in_progress=not _observed(item) or turning,
        changed_at=_newest(item, sets),
        message=_message(updated, desired, available, said),
    )


def _newest(deployment: Json, sets: Iterable[Json]) -> float | None:
    """When the ReplicaSet of the newest revision was made."""
    key = "deployment.kubernetes.io/revision"
    revision = as_dict(meta(deployment).get("annotations")).get(key)
    owner = f"Deployment/{name_of(deployment)}"
    own = [s for s in sets if owner_of(s) == owner]
    now = [s for s in own if as_dict(meta(s).get("annotations")).get(key) == revision]
    times = [parse_time(meta(s).get("creationTimestamp")) for s in now]
    return max((t for t in times if t is not None), default=None)


def _since(pods: Iterable[Json], revision: str) -> float | None:
    """When the first pod of a revision was made, and so about when it began."""
    times = [
        parse_time(meta(p).get("creationTimestamp"))
        for p in pods
        if revision
        and as_labels(meta(p).get("labels")).get("controller-revision-hash", "").endswith(revision)
    ]
    return min((t for t in times if t is not None), default=None)


def _stateful_set(item: Json, pods: Iterable[Json]) -> Rollout:
    status, desired = as_dict(item.get("status")), _desired(item)
    newest, current = as_str(status.get("updateRevision")), as_str(status.get("currentRevision"))
    updated = as_int(status.get("updatedReplicas"))
    updated = desired if newest == current and "updatedReplicas" not in status else updated
    total = as_int(status.get("replicas"))
    turning = (newest != current and updated < desired and _rolls(item)) or total != desired
    available = status.get("availableReplicas", status.get("readyReplicas"))
    return Rollout(
        kind="StatefulSet",
        name=name_of(item),
        desired=desired,
        ready=as_int(status.get("readyReplicas")),
        updated=updated,
        available=as_int(available),
        in_progress=not _observed(item) or turning,
        changed_at=_since(pods, newest),
        message=_message(updated, desired, as_int(available), []),
    )


def _daemon_set(item: Json, pods: Iterable[Json]) -> Rollout:
    status = as_dict(item.get("status"))
    desired = as_int(status.get("desiredNumberScheduled"))
    updated = as_int(status.get("updatedNumberScheduled"))
    available = as_int(status.get("numberAvailable"))
    hashes = [
        (parse_time(meta(p).get("creationTimestamp")) or 0.0,
         as_labels(meta(p).get("labels")).get("controller-revision-hash", ""))
        for p in pods
        if owner_of(p) == f"DaemonSet/{name_of(item)}"
    ]  # fmt: skip
    newest = max(hashes, default=(0.0, ""))[1]
    return Rollout(
        kind="DaemonSet",
        name=name_of(item),
        desired=desired,
        ready=as_int(status.get("numberReady")),
        updated=updated,
        available=available,
        in_progress=not _observed(item) or (updated < desired and _rolls(item)),
        changed_at=_since(pods, newest),
        message=_message(updated, desired, available, []),
    )


def _rolls(item: Json) -> bool:
    strategy = as_dict(as_dict(item.get("spec")).get("updateStrategy"))
    return strategy.get("type") != "OnDelete"


def _message(updated: int, desired: int, available: int, said: list[str]) -> str:
    counts = f"{updated} of {desired} updated, {available} available"
    return "; ".join(filter(None, (counts, *said)))


def template_labels(item: Json) -> dict[str, str]:
    """The labels that a workload gives its pods."""
    template = as_dict(as_dict(item.get("spec")).get("template"))
    return as_labels(meta(template).get("labels"))
