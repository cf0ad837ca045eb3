"""One look at one outage: gather what the cascade asks for, until it can decide.

    anomaly -> [next_steps -> sources -> evidence]... -> decide -> Looked

Rules
- What to look at is the cascade's word (`next_steps`), where and when is that of
  `triage.windows`. Here is only who is asked.
- A step is bounded by `step_timeout`: one that takes longer FAILED. A source that breaks (a fault
  of ours, not of the world) is logged with its place, and FAILED too; the others go on.
- Whatever is not configured is SKIPPED with the words that say so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import structlog

from triage import cascade, windows
from triage.cascade import proxy as proxy_layer
from triage.cascade.machine import DEFAULT_LIMITS, Limits
from triage.evidence import (
    Anomaly,
    AppEvidence,
    Evidence,
    Look,
    MetricEvidence,
    NodeEvidence,
    NodeState,
    Outcome,
    PodEvidence,
    Policy,
    ProxyEvidence,
    ProxyRequest,
    ProxyRole,
    Step,
    SyslogEvidence,
    Target,
    Verdict,
    VmEvidence,
    Window,
)
from triage.kube.settings import PodSelector
from triage.sources.logs import LogRef
from triage.triggers import Matcher
from triage.windows import WindowSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")

ProxyLog = tuple[LogRef, ProxyRole, str]
"""Whose log, in which role, and how its pod is called in evidence."""


class MetricSource(Protocol):
    """What the monitor itself saw (`triage.sources.prometheus`)."""

    async def look(
        self, target: Target, anomaly: Anomaly, matchers: Sequence[Matcher] = ()
    ) -> MetricEvidence:
        """Return it; never raises for a fault of the outside."""
        ...


class ProxySource(Protocol):
    """The proxies' access logs (`triage.sources.proxy`)."""

    async def look(
        self, target: Target, anomaly: Anomaly, window: Window, refs: Sequence[ProxyLog]
    ) -> ProxyEvidence:
        """Return the lines in the window; never raises for a fault of the outside."""
        ...


class AppSource(Protocol):
    """The application containers' logs (`triage.sources.app`)."""

    async def look(
        self, target: Target, window: Window, request: ProxyRequest | None, refs: Sequence[LogRef]
    ) -> AppEvidence:
        """Return the lines in the window; never raises for a fault of the outside."""
        ...


class Refs(Protocol):
    """Whose logs to read (`triage.sources.kubernetes.PodRefs`)."""

    @property
    def proxies(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def apps(self) -> Sequence[LogRef]: ...  # noqa: D102
    @property
    def previous(self) -> Sequence[LogRef]: ...  # noqa: D102
    @property
    def unread(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def problems(self) -> Sequence[str]: ...  # noqa: D102


class ClusterSource(Protocol):
    """A Kubernetes cluster (`triage.sources.kubernetes`)."""

    async def pods(self, target: Target, selector: PodSelector, window: Window) -> PodEvidence:
        """Return the pods behind the target."""
        ...

    async def nodes(self, names: Iterable[str], window: Window) -> NodeEvidence:
        """Return the nodes named so."""
        ...

    async def refs(
        self, target: Target, selector: PodSelector, role: ProxyRole | None = None
    ) -> Refs:
        """Return whose logs to read."""
        ...

    def known(self, selector: PodSelector) -> object | None:
        """Return what changes with the pods of a selector, at no cost; None: not known now."""
        ...


class VmSource(Protocol):
    """The hypervisors' agents (`triage.sources.node_snmp`)."""

    async def look(
        self, nodes: Sequence[NodeState], window: Window, anomaly: Anomaly
    ) -> VmEvidence:
        """Return the nodes' machines."""
        ...


class SyslogSource(Protocol):
    """The hypervisors' syslog (`triage.sources.syslog`)."""

    async def look(self, vm: VmEvidence, window: Window) -> SyslogEvidence:
        """Return what is unusual in the log of the hypervisors that the VM step named."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a target runs, and who is asked about it; None: nobody."""

    target: Target
    matchers: tuple[Matcher, ...] = ()
    """Which series are the target's."""
    selector: PodSelector | None = None
    gateway: PodSelector | None = None
    metric: MetricSource | None = None
    cluster: ClusterSource | None = None
    proxy: ProxySource | None = None
    app: AppSource | None = None
    vm: VmSource | None = None
    syslog: SyslogSource | None = None
    proxy_files: Callable[[], Sequence[LogRef]] | None = None
    """The access logs on disk, looked up anew for each look: files rotate."""
    app_files: Callable[[], Sequence[LogRef]] | None = None
    grid_step: float = 0.0
    """Of the grid that the metric's times lie on; 0: they are scrape times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestigatorSettings:
    """How looks are made."""

    windows: WindowSettings = field(default_factory=WindowSettings)
    policy: Policy = Policy.DEFAULT
    limits: Limits = DEFAULT_LIMITS
    step_timeout: float = 20.0
    """Seconds, for one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look came to."""

    evidence: Evidence
    verdict: Verdict
    settled_at: float
    """Until when further lines about the request may arrive."""


class Investigator:
    """Makes looks. One instance serves all targets; it keeps nothing between looks."""

    def __init__(
        self, settings: InvestigatorSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self._clock = clock

    async def look(self, place: Place, anomaly: Anomaly) -> Looked:
        """Gather and decide; raises nothing but CancelledError."""
        settings = self.settings
        evidence = Evidence(target=place.target, anomaly=anomaly, decided_at=self._clock())
        while steps := cascade.next_steps(evidence, settings.policy):
            parts = await asyncio.gather(*(self._guarded(step, place, evidence) for step in steps))
            known = {step.value: part for step, part in zip(steps, parts, strict=True)}
            evidence = replace(evidence, gathered=(*evidence.gathered, *steps), **known)
        evidence = replace(evidence, decided_at=self._clock())
        verdict = cascade.decide(evidence, settings.policy, settings.limits)
        request = proxy_layer.read(evidence).request
        settled = windows.settled_at(
            anomaly,
            place.target,
            self._windows(place),
            request,
            clock_error=evidence.metric.clock_error,
        )
        return Looked(evidence=evidence, verdict=verdict, settled_at=settled)

    def _windows(self, place: Place) -> WindowSettings:
        own = self.settings.windows
        return replace(own, step=max(own.step, place.grid_step))

    async def _guarded(self, step: Step, place: Place, evidence: Evidence) -> Any:
        takes = {
            Step.METRIC: (self._metric, MetricEvidence),
            Step.PROXY: (self._proxy, ProxyEvidence),
            Step.APP: (self._app, AppEvidence),
            Step.POD: (self._pod, PodEvidence),
            Step.NODE: (self._node, NodeEvidence),
            Step.VM: (self._vm, VmEvidence),
            Step.SYSLOG: (self._syslog, SyslogEvidence),
        }
        take, empty = takes[step]
        return await self._bounded(step, place, take(place, evidence), empty)

    async def _bounded(
        self, step: Step, place: Place, taken: Awaitable[T], empty: Callable[..., T]
    ) -> T:
        try:
            async with asyncio.timeout(self.settings.step_timeout):
                return await taken
        except TimeoutError:
            problem = f"it took longer than {self.settings.step_timeout:g} s"
        except Exception as error:  # a fault of ours must not cost the other steps
            log.exception("step_broke", step=step.value, target=place.target.name)
            problem = f"internal error: {type(error).__name__}"
        look = Look(outcome=Outcome.FAILED, problems=(problem,), asked_at=self._clock())
        return empty(look=look)

    # The steps

    async def _metric(self, place: Place, evidence: Evidence) -> MetricEvidence:
        if place.metric is None:
            return MetricEvidence(look=_skipped("no Prometheus is configured"))
        return await place.metric.look(place.target, evidence.anomaly, place.matchers)

    async def _proxy(self, place: Place, evidence: Evidence) -> ProxyEvidence:
        window = windows.proxy_window(evidence.anomaly, place.target, self._windows(place))
        if place.proxy is None:
            return ProxyEvidence(look=_skipped("no proxy log is configured", window))
        refs, unread, problems = await self.proxy_refs(place)
        found = await place.proxy.look(place.target, evidence.anomaly, window, refs)
        if not problems and not unread:
            return found
        look = found.look
        if look.outcome is Outcome.SKIPPED:  # there was nothing to read, and that is a fault
            look = replace(look, outcome=Outcome.FAILED)
        look = replace(look, problems=tuple(dict.fromkeys((*look.problems, *problems))))
        return replace(found, look=look, pods_unread=(*found.pods_unread, *unread))

    async def proxy_refs(self, place: Place) -> tuple[list[ProxyLog], list[str], list[str]]:
        """Return whose access logs to read, pods whose log is gone, and problems."""
        if place.proxy_files is not None:
            files = place.proxy_files()
            return [(ref, ProxyRole.SIDECAR, ref.pod) for ref in files], [], []
        refs: list[ProxyLog] = []
        unread: list[str] = []
        problems: list[str] = []
        selectors = ((place.selector, None), (place.gateway, ProxyRole.GATEWAY))
        for selector, role in selectors:
            if selector is None or place.cluster is None:
                continue
            found = await place.cluster.refs(place.target, selector, role)
            refs.extend(
                (one.ref, one.role, f"{one.ref.namespace}/{one.ref.pod}") for one in found.proxies
            )
            proxies = {one.ref.container for one in found.proxies} | {selector.proxy_container}
            refs.extend(
                (ref, role or ProxyRole.SIDECAR, f"{ref.namespace}/{ref.pod}")
                for ref in found.previous
                if ref.container in proxies
            )
            unread.extend(found.unread)
            problems.extend(found.problems)
        return refs, unread, problems

    async def _app(self, place: Place, evidence: Evidence) -> AppEvidence:
        reading = proxy_layer.read(evidence)
        request = reading.request if reading.own else None
        window = windows.app_window(evidence.anomaly, place.target, self._windows(place), request)
        if place.app is None:
            return AppEvidence(look=_skipped("no application log is configured", window))
        if place.app_files is not None:
            return await place.app.look(place.target, window, request, place.app_files())
        if place.cluster is None or place.selector is None:
            return AppEvidence(look=_skipped("no application log is configured", window))
        refs = await place.cluster.refs(place.target, place.selector)
        proxies = {one.ref.container for one in refs.proxies} | {place.selector.proxy_container}
        wanted = [
            ref
            for ref in (*refs.apps, *refs.previous)
            if ref.container not in proxies and _concerns(ref, request)
        ]
        found = await place.app.look(place.target, window, request, wanted)
        if not wanted:
            problem = "; ".join(refs.problems) or "no application container to read"
            look = replace(found.look, outcome=Outcome.FAILED, problems=(problem,))
            return replace(found, look=look)
        return found

    async def _pod(self, place: Place, evidence: Evidence) -> PodEvidence:
        window = windows.pod_window(evidence.anomaly, place.target, self._windows(place))
        if place.cluster is None or place.selector is None:
            return PodEvidence(look=_skipped("no cluster is configured", window))
        return await place.cluster.pods(place.target, place.selector, window)

    async def _node(self, place: Place, evidence: Evidence) -> NodeEvidence:
        window = windows.node_window(evidence.anomaly, place.target, self._windows(place))
        if place.cluster is None:
            return NodeEvidence(look=_skipped("no cluster is configured", window))
        names = dict.fromkeys(pod.node for pod in evidence.pod.pods if pod.node)
        return await place.cluster.nodes(names, window)

    async def _vm(self, place: Place, evidence: Evidence) -> VmEvidence:
        window = windows.vm_window(evidence.anomaly, place.target, self._windows(place))
        if place.vm is None:
            return VmEvidence(look=_skipped("no hypervisors are configured", window))
        return await place.vm.look(evidence.node.nodes, window, evidence.anomaly)

    async def _syslog(self, place: Place, evidence: Evidence) -> SyslogEvidence:
        window = windows.syslog_window(evidence.anomaly, place.target, self._windows(place))
        if place.syslog is None:
            look = _skipped("no hypervisors' syslog is configured", window)
            return SyslogEvidence(look=look)
        return await place.syslog.look(evidence.vm, window)


def pods_known(place: Place) -> tuple[object, ...] | None:
    """Return what changes with the pods of a place, at no cost; None when that is not known."""
    if place.cluster is None or place.proxy_files is not None:
        return None
    chosen = [one for one in (place.selector, place.gateway) if one is not None]
    known = [place.cluster.known(one) for one in chosen]
    return None if None in known else tuple(known)


def _concerns(ref: LogRef, request: ProxyRequest | None) -> bool:
    """Tell whether a pod's log can hold the request: the sidecar's line names its pod."""
    if request is None or request.role is ProxyRole.GATEWAY or "/" not in request.pod:
        return True
    return f"{ref.namespace}/{ref.pod}" == request.pod


def _skipped(why: str, window: Window | None = None) -> Look:
    return Look(outcome=Outcome.SKIPPED, problems=(why,), window=window)
