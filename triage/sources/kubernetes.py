"""The Kubernetes API as a source: the pods behind a target, their nodes, and whose logs to read.

Rules
- Nothing of the outside world raises here. When what the step is about (the pods, the nodes)
  could not be read, it FAILED; when something beside it could not (events, endpoints, rollouts), it
  RAN with a problem that names it.
- What is not known now is not told from memory as if it were: of a pod or node that cannot be asked
  for, only who it is and where it ran is given (its name, node, address, systemUUID), so that the
  next step has somewhere to go.
- Pods that vanished are given as last seen, marked `gone`: from the watch (`run`), from earlier
  looks, and from the events, which outlive their pods.
- Lists of a namespace are shared between targets that ask at the same moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from triage.evidence import (
    ContainerKind,
    ContainerState,
    KubeEvent,
    Look,
    NodeEvidence,
    NodeState,
    Outcome,
    PodEvidence,
    PodState,
    ProxyRole,
    Rollout,
    Target,
    Window,
)
from triage.kube import events as kube_events
from triage.kube import nodes as kube_nodes
from triage.kube import pods as kube_pods
from triage.kube.client import (
    DAEMONSETS,
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    LEASES,
    NODES,
    PODS,
    REPLICASETS,
    SERVICES,
    SLICES,
    STATEFULSETS,
    Kind,
    KubeClient,
    Listing,
)
from triage.kube.errors import UnknownPathError
from triage.kube.logs import KubernetesLogs
from triage.kube.memory import Memory, PodKey, key_of
from triage.kube.selectors import Selector, of_label_selector, of_labels, parse_selector
from triage.kube.settings import KubeSettings, PodSelector
from triage.kube.shared import Shared
from triage.kube.values import Json, as_dict, as_labels, as_str, meta, name_of
from triage.kube.watch import WatchState, keep_watching
from triage.sources.errors import MissingError, SourceError
from triage.sources.logs import LogRef

log = structlog.get_logger(__name__)

T = TypeVar("T")

SHARE = 2.0  # seconds for which a list of a namespace serves other targets too
MAX_NODES = 50
WORKLOADS: dict[str, Kind] = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICASETS,
    "StatefulSet": STATEFULSETS,
    "DaemonSet": DAEMONSETS,
}
ROLLING = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRef:
    """The log of an Envoy."""

    ref: LogRef
    role: ProxyRole = ProxyRole.SIDECAR


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRefs:
    """Whose logs to read for one target."""

    proxies: tuple[ProxyRef, ...] = ()
    apps: tuple[LogRef, ...] = ()
    """Application containers that started at least once, and init containers that failed."""
    previous: tuple[LogRef, ...] = ()
    """Former instances of application and proxy containers that restarted."""
    unread: tuple[str, ...] = ()
    """namespace/name of pods that are gone, and their logs with them."""
    problems: tuple[str, ...] = ()
    """Why not all is there; one line each."""
    known: bool = True
    """False: the pods could not be asked for; the refs are of those last seen."""


@dataclass(slots=True)
class _Found:
    """The pods of a selector, on their way to being evidence."""

    expected: str
    labels: str | None = None
    """Label selector; None: by name, or not known."""
    names: frozenset[str] | None = None
    """Pods by name: the endpoints of a service that selects nothing."""
    service: bool | None = None
    backends: kube_pods.Backends | None = None
    live: list[Json] | None = None
    """None: could not be asked for."""
    problems: list[str] = field(default_factory=list)

    @property
    def selector(self) -> Selector:
        """What remembered pods are chosen by."""
        return parse_selector(self.labels or "")

    def backing(self, pod: Json) -> bool | None:
        """Whether the service sends it requests."""
        return None if self.backends is None else self.backends.backing(name_of(pod))


class KubernetesLooker:
    """Looks at one cluster. `run()` keeps what vanishes remembered; `close()` ends it."""

    def __init__(
        self,
        settings: KubeSettings,
        *,
        client: KubeClient | None = None,
        limit: asyncio.Semaphore | None = None,
        mask: Callable[[str], str] = str,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.client = client or KubeClient(settings, limit=limit, monotonic=monotonic)
        self.logs = KubernetesLogs(self.client)
        """The containers' logs, as a `LogSource`."""
        self.memory = Memory(clock, monotonic, settings.remember, settings.remember_pods)
        self.watches: dict[str, WatchState] = {}
        """By namespace, "" for the nodes: how the watches do."""
        self._mask = mask
        self._clock = clock
        self._monotonic = monotonic
        self._shared = Shared(SHARE)

    @property
    def name(self) -> str:
        """How evidence names this source."""
        return self.client.name

    async def close(self) -> None:
        """Close connections, end what runs."""
        await self._shared.close()
        await self.client.close()

    async def check(self) -> str:
        """Ask for the server's version. Raises SourceError: what is wrong, in one line."""
        return await self.client.check()

    async def run(self) -> None:
        """Watch the configured namespaces' pods and the nodes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for namespace in dict.fromkeys(self.settings.namespaces):
                watcher = _PodWatcher(self.memory, namespace)
                group.create_task(self._watch(PODS, namespace, watcher))
            group.create_task(self._watch(NODES, "", _NodeWatcher(self.memory)))

    async def _watch(self, kind: Kind, namespace: str, watcher: _PodWatcher | _NodeWatcher) -> None:
        state = self.watches.setdefault(namespace, WatchState())
        await keep_watching(
            self.client, kind, namespace, watcher, state, monotonic=self._monotonic
        )  # fmt: skip

    def known(self, selector: PodSelector) -> object | None:
        """Give something that changes with the pods of a selector, without asking the API server.

        None: the watch does not tell now.
        """
        state = self.watches.get(selector.namespace)
        labels = selector.selector or self.memory.selector(selector.shown)
        if state is None or state.synced_at is None or state.problem or labels is None:
            return None
        try:
            kept = self.memory.pods(selector.namespace, parse_selector(labels))
        except ValueError:
            return None
        return frozenset((key_of(one.state), one.state.gone, one.state.ready) for one in kept)

    @property
    def problem(self) -> str:
        """Why the watches do not work now; "" while they do."""
        said = [one.problem for one in self.watches.values() if one.problem]
        return "; ".join(dict.fromkeys(said))

    # Pods

    async def pods(self, target: Target, selector: PodSelector, window: Window) -> PodEvidence:
        """Look at the pods behind a target, those that vanished in the window too."""
        asked_at = self._clock()
        found = await self._find(selector)
        namespace = selector.namespace
        raw_events, sets = await asyncio.gather(
            self._try(found.problems, self._listing(EVENTS, namespace)),
            self._try(found.problems, self._sets(found, selector)),
        )
        events = self._whole(found.problems, raw_events, "events", namespace)
        pods = self._states(found, selector, window, sets or [], events)
        rollouts = await self._rollouts(found, selector, pods, sets or [])
        keys = _keys(pods, rollouts, sets or [], selector)
        backends = found.backends
        failed = found.live is None
        look = Look(
            outcome=Outcome.FAILED if failed else Outcome.RAN,
            source=f"{self.name}, {found.expected}",
            window=window,
            problems=tuple(dict.fromkeys(found.problems)),
            asked_at=asked_at,
        )
        chosen = self._most(pods)
        if len(chosen) < len(pods):
            found.expected += f", {len(chosen)} of its {len(pods)} pods"
        log.debug("pods_looked_at", target=target.name, pods=len(pods), failed=failed)
        return PodEvidence(
            look=look,
            pods=tuple(self._masked_pod(p) for p in chosen),
            events=self._events(events, window, keys),
            rollouts=tuple(replace(r, message=self._mask(r.message)) for r in rollouts),
            service_exists=found.service,
            endpoints_ready=backends.ready_count if backends else None,
            endpoints_not_ready=backends.not_ready_count if backends else None,
            expected=found.expected,
        )

    async def _find(self, selector: PodSelector) -> _Found:
        """What the selector selects, and which pods that are."""
        found = _Found(selector.shown)
        try:
            await self._resolve(selector, found)
            if found.names is None and found.labels is None:
                return found
            listing = await self._listing(PODS, selector.namespace, found.labels or "")
        except (SourceError, ValueError) as error:
            found.problems.append(str(error))
            return found
        if listing.truncated:
            found.problems.append(f"{self.name}: not all pods of {selector.namespace} were listed")
        chosen = listing.items
        if found.names is not None:
            chosen = [p for p in chosen if name_of(p) in found.names]
        found.live = chosen
        states = [self._state(p, selector, found) for p in chosen]
        for pod, state in zip(chosen, states, strict=True):
            self.memory.saw(state, as_labels(meta(pod).get("labels")))
        if found.names is None and not listing.truncated:
            there = {key_of(s) for s in states}
            self.memory.listed(selector.namespace, there, found.selector)
        return found

    async def _resolve(self, selector: PodSelector, found: _Found) -> None:
        if selector.service:
            await self._resolve_service(selector, found)
        elif selector.selector:
            parse_selector(selector.selector)  # says where it is wrong
            found.labels = selector.selector
        elif selector.owner:
            await self._resolve_owner(selector, found)
        else:
            found.labels = ""

    async def _resolve_service(self, selector: PodSelector, found: _Found) -> None:
        namespace, name = selector.namespace, selector.service
        known = self.memory.selector(found.expected)
        service, backends = await asyncio.gather(
            _settled(self.client.get(SERVICES, namespace, name)),
            self._try(found.problems, self._backends(namespace, name)),
        )
        found.backends = backends
        if isinstance(service, MissingError):
            found.service = False
            found.labels = known
            found.live = [] if known is None else None
            return
        if isinstance(service, SourceError):
            found.labels = known
            if known is None:
                raise service
            found.problems.append(str(service))
            found.expected += f" ({known} when last seen)"
            return
        found.service = True
        chosen = of_labels(as_dict(service.get("spec")).get("selector"))
        if chosen:
            self.memory.saw_selector(found.expected, chosen)
            found.labels = chosen
            found.expected += f" ({chosen})"
        elif backends is not None:
            found.names = backends.ready | backends.not_ready
            found.expected += " (no selector, by its endpoints)"

    async def _resolve_owner(self, selector: PodSelector, found: _Found) -> None:
        kind, _, name = selector.owner.partition("/")
        if kind not in WORKLOADS or not name:
            raise ValueError(
                f"{self.name}: owner {selector.owner!r} is not one of {', '.join(WORKLOADS)}/NAME"
            )
        known = self.memory.selector(found.expected)
        try:
            item = await self.client.get(WORKLOADS[kind], selector.namespace, name)
        except MissingError as error:
            found.problems.append(str(error))
            found.labels, found.live = known, []
            return
        except SourceError as error:
            if known is None:
                raise
            found.problems.append(str(error))
            found.labels = known
            return
        found.labels = of_label_selector(as_dict(item.get("spec")).get("selector"))
        self.memory.saw_selector(found.expected, found.labels)
        found.expected += f" ({found.labels})"

    async def _backends(self, namespace: str, service: str) -> kube_pods.Backends | None:
        """By EndpointSlices, by Endpoints where the server does not have them; None: neither."""
        labels = f"kubernetes.io/service-name={service}"
        try:
            slices = await self.client.objects(SLICES, namespace, labels=labels)
            if slices.items:
                return kube_pods.read_slices(slices.items)
        except (MissingError, UnknownPathError):
            pass  # discovery.k8s.io/v1 came with Kubernetes 1.21
        try:
            return kube_pods.read_endpoints(await self.client.get(ENDPOINTS, namespace, service))
        except MissingError:
            return kube_pods.Backends()  # a service that never had any

    async def _sets(self, found: _Found, selector: PodSelector) -> list[Json]:
        if found.labels is None:
            return []
        listing = await self._listing(REPLICASETS, selector.namespace, found.labels)
        return listing.items

    def _state(self, pod: Json, selector: PodSelector, found: _Found) -> PodState:
        return kube_pods.read_pod(pod, selector.proxy_container, found.backing(pod))

    def _states(
        self,
        found: _Found,
        selector: PodSelector,
        window: Window,
        sets: list[Json],
        events: list[Json],
    ) -> list[PodState]:
        """The live pods, then those remembered, then those that only events tell of."""
        live = [self._state(p, selector, found) for p in found.live or []]
        have: set[PodKey] = {key_of(p) for p in live}
        remembered = self._remembered(found, selector, window)
        before = [p for p in remembered if key_of(p) not in have]
        if found.live is None:
            return [kube_pods.identity(p, gone=p.gone) for p in before]
        known = {(p.namespace, p.name) for p in (*live, *before)}
        owners = {p.owner.partition("/")[2] for p in (*live, *before) if p.owner}
        owners |= {name_of(s) for s in sets}
        told = _told(events, window, owners, selector.namespace)
        return live + before + [p for p in told if (p.namespace, p.name) not in known]

    def _remembered(
        self, found: _Found, selector: PodSelector, window: Window
    ) -> Iterable[PodState]:
        if found.labels is None:
            return []
        kept = self.memory.pods(selector.namespace, found.selector, gone_since=window.start)
        return [k.state for k in kept]

    def _most(self, pods: list[PodState]) -> list[PodState]:
        """The pods that matter most, when there are too many."""
        limit = self.settings.max_pods
        if len(pods) <= limit:
            return pods
        return sorted(pods, key=_urgency)[:limit]

    # Rollouts

    async def _rollouts(
        self, found: _Found, selector: PodSelector, pods: Sequence[PodState], sets: list[Json]
    ) -> list[Rollout]:
        if found.live is None:
            return []
        names = {p.owner for p in pods} | {kube_pods.owner_of(s) for s in sets} | {selector.owner}
        # a ReplicaSet is its Deployment's, which `sets` tell
        chosen = sorted(n for n in names if n.partition("/")[0] in ROLLING)
        if not chosen and found.labels:
            items = await self._workloads(found, selector)
        else:
            items = await self._owners(found, selector, chosen[:10])
        revisions = [*sets, *found.live]
        return [kube_pods.read_rollout(item, kind, revisions) for kind, item in items]

    async def _owners(
        self, found: _Found, selector: PodSelector, names: Sequence[str]
    ) -> list[tuple[str, Json]]:
        split = [name.partition("/") for name in names]
        got = await asyncio.gather(
            *(_settled(self.client.get(WORKLOADS[k], selector.namespace, n)) for k, _, n in split)
        )
        items = []
        for (kind, _, _), item in zip(split, got, strict=True):
            if isinstance(item, dict):
                items.append((kind, item))
            elif not isinstance(item, MissingError):
                found.problems.append(str(item))
        return items

    async def _workloads(self, found: _Found, selector: PodSelector) -> list[tuple[str, Json]]:
        """Without a single pod: whose template would make pods that fit."""
        lists = await asyncio.gather(
            *(
                self._try(found.problems, self._listing(WORKLOADS[kind], selector.namespace))
                for kind in ROLLING
            )
        )
        return [
            (kind, item)
            for kind, listing in zip(ROLLING, lists, strict=True)
            for item in (listing.items if listing else [])
            if found.selector.matches(kube_pods.template_labels(item))
        ]

    # Nodes

    async def nodes(self, names: Iterable[str], window: Window) -> NodeEvidence:
        """Look at nodes: their state, heartbeat and events."""
        asked_at = self._clock()
        wanted = list(dict.fromkeys(n for n in names if n))[:MAX_NODES]
        if not wanted:
            look = Look(window=window, problems=("no node is known to look at",), asked_at=asked_at)
            return NodeEvidence(look=look)
        problems: list[str] = []
        got = await asyncio.gather(*(self._node(name, problems) for name in wanted))
        lists = await asyncio.gather(*(self._try(problems, self._node_events(n)) for n in wanted))
        raw = [event for listing in lists if listing for event in listing.items]
        states = [state for state, _ in got if state is not None]
        looked = any(seen for _, seen in got)
        look = Look(
            outcome=Outcome.RAN if looked else Outcome.FAILED,
            source=f"{self.name}, {'node' if len(wanted) == 1 else 'nodes'} {', '.join(wanted)}",
            window=window,
            problems=tuple(dict.fromkeys(problems)),
            asked_at=asked_at,
        )
        return NodeEvidence(
            look=look,
            nodes=tuple(self._masked_node(s) for s in states),
            events=self._events(raw, window, {("Node", n) for n in wanted}),
        )

    async def _node(self, name: str, problems: list[str]) -> tuple[NodeState | None, bool]:
        """The node, and whether the server said so."""
        node, lease = await asyncio.gather(
            _settled(self.client.get(NODES, "", name)),
            _settled(self.client.get(LEASES, kube_nodes.LEASES_IN, name)),
        )
        known = self.memory.node(name) or NodeState(name=name)
        if isinstance(node, MissingError):
            return kube_nodes.identity(known, exists=False), True
        if isinstance(node, SourceError):
            problems.append(str(node))
            return kube_nodes.identity(known), False
        if isinstance(lease, SourceError) and not isinstance(lease, MissingError):
            problems.append(str(lease))
        state = kube_nodes.read_node(node, lease if isinstance(lease, dict) else None)
        self.memory.saw_node(state)
        return state, True

    async def _node_events(self, name: str) -> Listing:
        fields = f"involvedObject.kind=Node,involvedObject.name={name}"
        return await self.client.objects(EVENTS, kube_nodes.EVENTS_IN, fields=fields)

    # Logs

    async def refs(
        self, target: Target, selector: PodSelector, role: ProxyRole | None = None
    ) -> PodRefs:
        """Whose logs to read: proxies, applications, former instances.

        `role` of the proxies; None: a pod that is nothing but a proxy is a gateway.
        """
        found = await self._find(selector)
        kept = self.memory.pods(selector.namespace, found.selector) if found.labels else []
        live = [self._state(p, selector, found) for p in found.live or []]
        if found.live is None:
            live = [k.state for k in kept if not k.state.gone]
        gone = [f"{k.state.namespace}/{k.state.name}" for k in kept if k.state.gone]
        chosen = self._most(live)
        proxies: list[ProxyRef] = []
        apps: list[LogRef] = []
        previous: list[LogRef] = []
        for pod in chosen:
            for container in pod.containers:
                ref = LogRef(pod=pod.name, namespace=pod.namespace, container=container.name)
                wanted = _wanted(container, selector)
                if not wanted:
                    continue
                if _started(container) and container.kind is ContainerKind.PROXY:
                    proxies.append(ProxyRef(ref=ref, role=role or _role(pod)))
                elif _started(container):
                    apps.append(ref)
                if _has_previous(container):
                    previous.append(replace(ref, previous=True))
        if len(chosen) < len(live):
            found.problems.append(
                f"{self.name}: {len(live) - len(chosen)} of {len(live)} pods are left out"
            )
        log.debug("log_refs_found", target=target.name, proxies=len(proxies), apps=len(apps))
        return PodRefs(
            proxies=tuple(proxies),
            apps=tuple(apps),
            previous=tuple(previous),
            unread=tuple(dict.fromkeys(gone))[: self.settings.max_pods],
            problems=tuple(dict.fromkeys(found.problems)),
            known=found.live is not None,
        )

    # Common

    async def _listing(self, kind: Kind, namespace: str, labels: str = "") -> Listing:
        return await self._shared.get(
            (kind, namespace, labels), lambda: self.client.objects(kind, namespace, labels=labels)
        )

    def _whole(
        self, problems: list[str], listing: Listing | None, what: str, namespace: str
    ) -> list[Json]:
        if listing is None:
            return []
        if listing.truncated:
            problems.append(f"{self.name}: not all {what} of {namespace} were listed")
        return listing.items

    async def _try(self, problems: list[str], asking: Awaitable[T]) -> T | None:
        try:
            return await asking
        except SourceError as error:
            problems.append(str(error))
            return None

    def _events(
        self, events: list[Json], window: Window, keys: set[kube_events.Key]
    ) -> tuple[KubeEvent, ...]:
        read = kube_events.read_events(events, window, keys, limit=self.settings.max_events)
        return tuple(replace(e, message=self._mask(e.message)) for e in read)

    def _masked_pod(self, pod: PodState) -> PodState:
        mask = self._mask
        containers = tuple(
            replace(
                c,
                message=mask(c.message),
                current=replace(c.current, message=mask(c.current.message)) if c.current else None,
                last=replace(c.last, message=mask(c.last.message)) if c.last else None,
            )
            for c in pod.containers
        )
        return replace(
            pod,
            message=mask(pod.message),
            not_ready_reason=mask(pod.not_ready_reason),
            containers=containers,
        )

    def _masked_node(self, node: NodeState) -> NodeState:
        conditions = tuple(replace(c, message=self._mask(c.message)) for c in node.conditions)
        return replace(node, conditions=conditions)


# What the watches tell the memory


@dataclass(slots=True)
class _PodWatcher:
    memory: Memory
    namespace: str

    def listed(self, items: list[Json]) -> None:
        for item in items:
            self.changed(item)
        self.memory.listed(self.namespace, {key_of(_seen(i)) for i in items})

    def changed(self, item: Json) -> None:
        if name_of(item):
            self.memory.saw(_seen(item), as_labels(meta(item).get("labels")))

    def deleted(self, item: Json) -> None:
        self.memory.lost(_seen(item))


@dataclass(slots=True)
class _NodeWatcher:
    memory: Memory

    def listed(self, items: list[Json]) -> None:
        self.memory.saw_nodes(kube_nodes.read_node(item) for item in items)

    def changed(self, item: Json) -> None:
        if name_of(item):
            self.memory.saw_node(kube_nodes.read_node(item))

    def deleted(self, item: Json) -> None:
        """What it was stays known: its machine may still be there."""


def _seen(item: Json) -> PodState:
    return kube_pods.read_pod(item, PodSelector(namespace="").proxy_container)


# Small decisions


async def _settled(asking: Awaitable[T]) -> T | SourceError:
    try:
        return await asking
    except SourceError as error:
        return error


def _urgency(pod: PodState) -> tuple[bool, bool, float]:
    """Sorts the pods that can explain something first."""
    ended = [
        t.finished_at or 0.0 for c in pod.containers for t in (c.current, c.last) if t is not None
    ]
    return pod.ready is True and not pod.gone, not ended, -max(ended, default=0.0)


def _keys(
    pods: Iterable[PodState],
    rollouts: Iterable[Rollout],
    sets: Iterable[Json],
    selector: PodSelector,
) -> set[kube_events.Key]:
    keys = {("Pod", p.name) for p in pods}
    keys |= {(r.kind, r.name) for r in rollouts}
    keys |= {("ReplicaSet", name_of(s)) for s in sets}
    for owner in (*(p.owner for p in pods), selector.owner):
        kind, _, name = owner.partition("/")
        if name:
            keys.add((kind, name))
    if selector.service:
        keys |= {
            (kind, selector.service) for kind in ("Service", "Endpoints", "PodDisruptionBudget")
        }
    return keys


def _told(
    events: Iterable[Json], window: Window, owners: set[str], namespace: str
) -> list[PodState]:
    """Pods of these owners that only events in the window tell of."""
    told: dict[str, PodState] = {}
    for event in events:
        kind, name = kube_events.key_of(event)
        owner = name.rpartition("-")[0]
        if kind != "Pod" or owner not in owners:
            continue
        read = kube_events.read_event(event)
        if read is None:
            continue
        about = as_dict(event.get("involvedObject"))
        had = told.get(name, PodState(namespace=namespace, name=name, gone=True))
        told[name] = replace(
            had,
            uid=had.uid or as_str(about.get("uid")),
            node=had.node or kube_events.assigned_node(event),
            # kept while one of its events is in the window
            deleted=read.time
            if read.reason == "Killing" and read.time >= window.start
            else had.deleted,
            created=max(read.time, had.created or 0.0),
        )
    # `created` held the newest event until here
    return [
        replace(p, created=None) for p in told.values() if (p.created or 0.0) >= window.start
    ]  # fmt: skip


def _wanted(container: ContainerState, selector: PodSelector) -> bool:
    if container.kind is ContainerKind.PROXY:
        return True
    if container.kind is ContainerKind.INIT:
        ended = container.current or container.last
        return ended is not None and ended.exit_code != 0
    return not selector.containers or container.name in selector.containers


def _started(container: ContainerState) -> bool:
    """Whether there is a log: a container that never started has none."""
    return container.state in ("running", "terminated") or container.last is not None


def _has_previous(container: ContainerState) -> bool:
    """While a container waits to be restarted, its log is the former instance's anyway."""
    return container.last is not None and container.state != "waiting"


def _role(pod: PodState) -> ProxyRole:
    kinds = {c.kind for c in pod.containers} - {ContainerKind.INIT}
    return ProxyRole.GATEWAY if kinds == {ContainerKind.PROXY} else ProxyRole.SIDECAR
