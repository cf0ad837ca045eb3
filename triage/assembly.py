"""From a configuration to what looks, listens and tells: the one file that knows every part.

`Assembly` owns all of it: whatever has connections or tasks is opened and closed here. A reload
makes a new one and closes the old.
"""

from __future__ import annotations

import asyncio
import glob
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from triage.alerts.alertmanager import (
    AlertmanagerSettings,
    AlertmanagerSink,
    check_alertmanager,
)
from triage.alerts.apprise import AppriseSettings, AppriseSink, check_apprise
from triage.alerts.errors import AlertConfigError
from triage.alerts.heartbeat import HeartbeatSettings, check_heartbeat
from triage.alerts.sink import Sink
from triage.alerts.slack import SlackSettings, SlackSink, check_slack
from triage.alerts.webhook import WebhookSettings, WebhookSink, check_webhook
from triage.cascade import Limits
from triage.config import Config, TargetConfig
from triage.evidence import Target
from triage.incidents import IncidentSettings
from triage.investigate import Investigator, InvestigatorSettings, Place
from triage.kube.client import KubeConfigError
from triage.kube.settings import KubeSettings
from triage.masking import mask as mask_text
from triage.mirror import built
from triage.sources.app import AppLooker, AppSettings
from triage.sources.files import FileSource
from triage.sources.kubernetes import KubernetesLooker
from triage.sources.logs import LogRef, LogSource
from triage.sources.node_snmp import VmLooker, VmSettings, split_address
from triage.sources.notifications import NotificationReceiver
from triage.sources.prometheus import PrometheusSource
from triage.sources.prometheus_api import PrometheusSettings
from triage.sources.proxy import ProxyLooker, ProxySettings
from triage.sources.syslog import LoggedHypervisor, SyslogLooker
from triage.store import Store, StoreSettings
from triage.triggers import TargetRule, TriggerSettings
from triage.windows import WindowSettings
from vmmib.configfile import ConfigError

MOST_FILES = 200
"""Of one glob."""
PATIENCE = 3600.0
"""Seconds for access logs on disk, which are read to their end, when somebody waits for it."""
ACCESS_LOGS_AT_ONCE = 8
"""Logs read at once, of all looks together."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A target, and how it is watched."""

    config: TargetConfig
    rule: TargetRule
    place: Place
    proxy: ProxyLooker | None


@dataclass(slots=True)
class Settings:
    """Settings of the parts, as the configuration has them."""

    windows: WindowSettings
    incidents: IncidentSettings
    triggers: TriggerSettings
    limits: Limits
    retention: StoreSettings
    investigator: InvestigatorSettings

    @classmethod
    def of(cls, config: Config) -> Settings:
        """Take them out of a configuration."""
        windows = built(config.windows, WindowSettings, policy=config.policy)
        incidents = built(config.incidents, IncidentSettings)
        limits = built(config.limits, Limits)
        return cls(
            windows=windows,
            incidents=incidents,
            triggers=built(config.triggers, TriggerSettings, recovery=incidents.recovery),
            limits=limits,
            retention=built(config.retention, StoreSettings),
            investigator=InvestigatorSettings(windows=windows, policy=config.policy, limits=limits),
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the targets share."""

    clusters: Mapping[str, KubernetesLooker]
    prometheus: PrometheusSource | None
    vms: VmLooker | None
    syslog: SyslogLooker | None
    reading: asyncio.Semaphore
    proxy: ProxySettings


@dataclass(slots=True)
class Assembly:
    """All parts of one configuration."""

    config: Config
    settings: Settings
    investigator: Investigator
    prometheus: PrometheusSource | None
    clusters: Mapping[str, KubernetesLooker]
    vms: VmLooker | None
    syslog: SyslogLooker | None
    receiver: NotificationReceiver | None
    watched: Mapping[str, Watched]
    sinks: tuple[Sink, ...]
    alertmanagers: tuple[AlertmanagerSettings, ...]
    heartbeat: HeartbeatSettings | None
    _adopted: dict[str, Place] = field(default_factory=dict)

    @property
    def rules(self) -> list[TargetRule]:
        """Which series and alerts are about which target."""
        return [one.rule for one in self.watched.values()]

    def place(self, target: Target) -> Place:
        """Return where a target runs; one that was adopted from a series runs nowhere known."""
        known = self.watched.get(target.name)
        if known is not None:
            return known.place
        return Place(target=target, metric=self.prometheus, vm=None)

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """Return what has to run beside the looks: watches, the index, the receiver."""
        tasks: list[Coroutine[Any, Any, None]] = [one.run() for one in self.clusters.values()]
        if self.vms is not None:
            tasks.append(self.vms.run())
        if self.syslog is not None:
            tasks.append(self.syslog.watcher.run())
        return tasks

    async def check_files(self) -> None:
        """Read what is only read when it is needed; raise ConfigError where it is of no use."""
        problems = []
        for name, cluster in self.clusters.items():
            try:
                await cluster.client.configured()
            except KubeConfigError as error:
                problems.append(f"cluster {name}: {error}")
        if problems:
            raise ConfigError(problems)

    async def close(self) -> None:
        """Close every connection."""
        if self.prometheus is not None:
            await self.prometheus.aclose()
        for cluster in self.clusters.values():
            await cluster.close()
        if self.vms is not None:
            await self.vms.close()
        if self.syslog is not None:
            await self.syslog.watcher.close()


def assemble(
    config: Config,
    *,
    store: Store | None = None,
    receiver: NotificationReceiver | None = None,
    clock: Callable[[], float] = time.time,
    mask: Callable[[str], str] = mask_text,
    patient: bool = False,
    keep: bool = False,
) -> Assembly:
    """Return the parts of a configuration; raise ConfigError with a line for each problem.

    Nothing is asked yet. `store` keeps where VMs are; `receiver` has the notifications. `patient`:
    access logs on disk may take as long as they are large. `keep`: this is the service, which keeps
    what it learns of the hypervisors' syslog; others read what it has kept.
    """
    problems: list[str] = []
    settings = Settings.of(config)
    proxy_settings = ProxySettings()
    if patient:
        proxy_settings = replace(proxy_settings, file_timeout=PATIENCE)
        settings.investigator = replace(settings.investigator, step_timeout=PATIENCE)
    prometheus = None
    if config.prometheus is not None:
        try:
            prometheus = PrometheusSource(built(config.prometheus, PrometheusSettings), clock=clock)
        except ValueError as error:
            problems.append(f"prometheus: {error}")
    clusters: dict[str, KubernetesLooker] = {}
    for one in config.clusters:
        kube = built(one, KubeSettings, namespaces=_namespaces(config, one.name, one.namespaces))
        try:
            clusters[one.name] = KubernetesLooker(kube, mask=mask, clock=clock)
        except ValueError as error:
            problems.append(f"cluster {one.name}: {error}")
    vms = _vms(config, store, receiver, clock, problems)
    syslog = _syslog(config, mask, clock, keep, problems)
    parts = _Parts(
        clusters, prometheus, vms, syslog, asyncio.Semaphore(ACCESS_LOGS_AT_ONCE), proxy_settings
    )
    watched = {}
    for target in config.targets:
        try:
            watched[target.name] = _watched(target, parts, mask, clock)
        except ValueError as error:
            problems.append(f"target {target.name}: {error}")
    sinks, alertmanagers, heartbeat = _sinks(config, clock, problems)
    if problems:
        raise ConfigError(problems)
    return Assembly(
        config=config,
        settings=settings,
        investigator=Investigator(settings.investigator, clock),
        prometheus=prometheus,
        clusters=clusters,
        vms=vms,
        syslog=syslog,
        receiver=receiver,
        watched=watched,
        sinks=sinks,
        alertmanagers=alertmanagers,
        heartbeat=heartbeat,
    )


def _namespaces(config: Config, cluster: str, given: Iterable[str]) -> tuple[str, ...]:
    """Return the namespaces to watch: those given, and those of the targets."""
    only = len(config.clusters) == 1
    mine = [
        one.namespace
        for one in config.targets
        if one.in_cluster and (one.cluster == cluster or (only and not one.cluster))
    ]
    return tuple(dict.fromkeys((*given, *mine)))


def _vms(
    config: Config,
    store: Store | None,
    receiver: NotificationReceiver | None,
    clock: Callable[[], float],
    problems: list[str],
) -> VmLooker | None:
    if not config.hypervisors:
        return None
    hypervisors = []
    for one in config.hypervisors:
        try:
            hypervisors.append(one.settings())
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        return None
    return VmLooker(
        VmSettings(hypervisors=tuple(hypervisors)),
        index=store.vms if store is not None else None,
        notifications=receiver,
        clock=clock,
    )


def _syslog(
    config: Config,
    mask: Callable[[str], str],
    clock: Callable[[], float],
    keep: bool,
    problems: list[str],
) -> SyslogLooker | None:
    settings = config.watch_settings()
    if settings is None:
        return None
    try:
        from triage.syslog.watch import Watcher  # noqa: PLC0415 - it loads Polars
    except ImportError as error:
        problems.append(
            f"syslog: {error.name or error} is not installed: `pip install 'vmmib[syslog]'` has"
            " all that reading logs takes"
        )
        return None
    watcher = Watcher(settings, mask=mask, clock=clock, keep=keep)
    return SyslogLooker(
        watcher,
        (
            LoggedHypervisor(
                name=one.name,
                address=split_address(one.address)[0],
                syslog_hosts=one.syslog_hosts,
            )
            for one in config.hypervisors
        ),
        clock=clock,
    )


def _watched(
    one: TargetConfig, parts: _Parts, mask: Callable[[str], str], clock: Callable[[], float]
) -> Watched:
    clusters = parts.clusters
    cluster = clusters.get(one.cluster)
    if cluster is None and not one.cluster and len(clusters) == 1:
        cluster = next(iter(clusters.values()))
    if not one.in_cluster:
        cluster = None
    files = FileSource()
    pod_logs: LogSource | None = cluster.logs if cluster is not None else None
    proxy_logs = files if one.proxy_files else pod_logs
    app_logs = files if one.app_files else pod_logs
    limit = parts.reading
    proxy = (
        ProxyLooker(
            proxy_logs, replace(parts.proxy, format=one.format), limit=limit, mask=mask, clock=clock
        )
        if proxy_logs is not None
        else None
    )
    app = (
        AppLooker(
            app_logs,
            built(one.app, AppSettings, noise=one.noise),
            limit=limit,
            mask=mask,
            clock=clock,
        )
        if app_logs is not None
        else None
    )
    place = Place(
        target=one.target(),
        matchers=one.rule().matchers,
        selector=one.pod_selector() if cluster is not None else None,
        gateway=one.gateway.pod_selector() if one.gateway is not None else None,
        metric=parts.prometheus,
        cluster=cluster,
        proxy=proxy,
        app=app,
        vm=parts.vms,
        syslog=parts.syslog,
        proxy_files=_globbed(one.proxy_files),
        app_files=_globbed(one.app_files),
    )
    return Watched(config=one, rule=one.rule(), place=place, proxy=proxy)


def _globbed(patterns: tuple[str, ...]) -> Callable[[], list[LogRef]] | None:
    """Return what finds the logs of globs: each file once, without its rotated predecessors."""
    if not patterns:
        return None

    def found() -> list[LogRef]:
        paths: dict[str, None] = {}
        for pattern in patterns:
            names = sorted(glob.glob(pattern))[:MOST_FILES] if glob.has_magic(pattern) else []  # noqa: PTH207
            paths.update(dict.fromkeys(names or [pattern]))
        first = [one for one in paths if not any(_rotated(one, other) for other in paths)]
        return [LogRef(pod=path) for path in first]

    return found


def _rotated(path: str, other: str) -> bool:
    """Tell whether a file is another's predecessor by name: "access.log.1" of "access.log"."""
    return path != other and path.startswith(other) and path[len(other)] in ".-"


_KINDS: tuple[tuple[str, type, Callable[[Any], None], Callable[..., Sink]], ...] = (
    ("alertmanager", AlertmanagerSettings, check_alertmanager, AlertmanagerSink),
    ("slack", SlackSettings, check_slack, SlackSink),
    ("webhook", WebhookSettings, check_webhook, WebhookSink),
    ("apprise", AppriseSettings, check_apprise, AppriseSink),
)
"""Key in `[alerts]`, settings, their check, and the sink."""


def _sinks(
    config: Config, clock: Callable[[], float], problems: list[str]
) -> tuple[tuple[Sink, ...], tuple[AlertmanagerSettings, ...], HeartbeatSettings | None]:
    sinks: list[Sink] = []
    alertmanagers = []
    for key, kind, check, make in _KINDS:
        for section in getattr(config.alerts, key):
            settings: Any = built(section, kind, **_labels(section))
            try:
                check(settings)
            except AlertConfigError as error:
                problems.append(f"alerts.{key}: {error}")
                continue
            sinks.append(make(settings, clock))
            if isinstance(settings, AlertmanagerSettings):
                alertmanagers.append(settings)
    heartbeat = None
    if config.alerts.heartbeat is not None:
        section = config.alerts.heartbeat
        heartbeat = built(section, HeartbeatSettings, **_labels(section))
        try:
            check_heartbeat(heartbeat)
        except AlertConfigError as error:
            problems.append(f"alerts.heartbeat: {error}")
    return tuple(sinks), tuple(alertmanagers), heartbeat


def _labels(section: Any) -> dict[str, Any]:
    labels = getattr(section, "labels", None)
    return {} if labels is None else {"labels": tuple(labels.items())}


def state_file(config: Config) -> Path:
    """Return where a configuration keeps its state."""
    return config.state_dir / "triage.sqlite"
