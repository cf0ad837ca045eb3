"""Configuration: a TOML or YAML file, one frozen `Config` out of it.

Rules
- Those of `vmmib.configfile`, which reads the file.
- Prometheus and one target are all that it takes; whatever else is not configured is a step that
  is skipped, and every verdict says so.
- Sections that are made of a part's settings (`section_of`) have the same keys and defaults: they
  are documented there, and listed in docs/triage-configuration.md.
- Secrets are in files (`credentials_file`, `url_file`, `bearer_token_file`, ...), which systemd's
  LoadCredential and Kubernetes' secrets can provide. They are read when they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from triage.alerts.alertmanager import AlertmanagerSettings
from triage.alerts.apprise import AppriseSettings
from triage.alerts.heartbeat import HeartbeatSettings
from triage.alerts.slack import SlackSettings
from triage.alerts.webhook import WebhookSettings
from triage.cascade import Limits
from triage.evidence import Policy, Target
from triage.incidents import IncidentSettings
from triage.kube.selectors import parse_selector
from triage.kube.settings import SERVICE_ACCOUNT, KubeSettings, PodSelector
from triage.mirror import built, section_of
from triage.proxylog.formats import compile_format
from triage.snmp.credentials import CredentialsError, read_credentials
from triage.snmp.receiver import NotificationUser
from triage.sources.app import AppSettings
from triage.sources.node_snmp import HypervisorSettings, split_address
from triage.sources.notifications import NotificationSettings, NotificationSource
from triage.sources.prometheus_api import PrometheusSettings
from triage.store import StoreSettings
from triage.syslog.watch_settings import WatchSettings
from triage.triggers import TargetRule, TriggerSettings, parse_matchers
from triage.windows import WindowSettings
from vmmib.configfile import (
    ConfigError,
    FilePath,
    HostPort,
    Listen,
    LogLevel,
    Name,
    Seconds,
    Section,
    parse,
    split_host_port,
    validate,
)

_WHERE_SECRETS_GO = (
    "a secret has no place here: put it into a file and name that (credentials_file, url_file, "
    "bearer_token_file, password_file)"
)


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, password, _ = parts.hostname, parts.password, parts.port
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError('must be a URL such as "http://127.0.0.1:9090"')
    if password is not None:
        raise ValueError("must not hold a password: put it into a file and name that")
    return text


def _check_regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def _check_matchers(text: str) -> str:
    parse_matchers(text)
    return text


def _check_selector(text: str) -> str:
    parse_selector(text)
    return text


def _check_engine_id(text: str) -> str:
    digits = text.removeprefix("0x")
    if not re.fullmatch(r"([0-9A-Fa-f]{2}){5,32}", digits):
        raise ValueError("must be 5 to 32 octets in hex (RFC 3411, SnmpEngineID)")
    return digits


def _check_time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError('is no time zone: a name such as "UTC" or "Europe/Berlin"') from None
    return text


TimeZone = Annotated[str, AfterValidator(_check_time_zone)]
EngineId = Annotated[str, AfterValidator(_check_engine_id)]
Url = Annotated[str, AfterValidator(_check_url)]
Regex = Annotated[str, AfterValidator(_check_regex)]
Matchers = Annotated[str, AfterValidator(_check_matchers)]
LabelSelector = Annotated[str, AfterValidator(_check_selector)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]

if TYPE_CHECKING:  # made of settings, below: what checks types sees no more than "some section"
    PrometheusConfig: TypeAlias = Any
    ClusterConfig: TypeAlias = Any
    WindowsConfig: TypeAlias = Any
    IncidentsConfig: TypeAlias = Any
    TriggersConfig: TypeAlias = Any
    RetentionConfig: TypeAlias = Any
    AlertmanagerConfig: TypeAlias = Any
    SlackConfig: TypeAlias = Any
    WebhookConfig: TypeAlias = Any
    AppriseConfig: TypeAlias = Any
    HeartbeatConfig: TypeAlias = Any
    LimitsConfig: TypeAlias = Any
    AppConfig: TypeAlias = Any
    SyslogConfig: TypeAlias = Any
else:
    PrometheusConfig = section_of(
        PrometheusSettings,
        name_="PrometheusConfig",
        url=Url,
        headers=(dict[str, str], {}),
        without=("password", "bearer_token"),
    )
    ClusterConfig = section_of(
        KubeSettings,
        name_="ClusterConfig",
        kubeconfig=(FilePath | None, None),
        service_account=(FilePath, Path(SERVICE_ACCOUNT)),
    )
    WindowsConfig = section_of(WindowSettings, name_="WindowsConfig", without=("policy",))
    IncidentsConfig = section_of(IncidentSettings, name_="IncidentsConfig")
    TriggersConfig = section_of(
        TriggerSettings, name_="TriggersConfig", without=("recovery",), proxy_share=(Share, 0.2)
    )
    RetentionConfig = section_of(StoreSettings, name_="RetentionConfig")
    AlertmanagerConfig = section_of(
        AlertmanagerSettings, name_="AlertmanagerConfig", url=Url, labels=(dict[str, str], {})
    )
    SlackConfig = section_of(SlackSettings, name_="SlackConfig")
    WebhookConfig = section_of(WebhookSettings, name_="WebhookConfig")
    AppriseConfig = section_of(AppriseSettings, name_="AppriseConfig")
    HeartbeatConfig = section_of(
        HeartbeatSettings, name_="HeartbeatConfig", labels=(dict[str, str], {})
    )
    AppConfig = section_of(
        AppSettings,
        name_="AppConfig",
        without=("noise", "noise_by_target"),
        utc_offset=(Annotated[float, Field(ge=-64800, le=64800)], 0.0),
    )
    SyslogConfig = section_of(
        WatchSettings,
        name_="SyslogConfig",
        paths=(Annotated[tuple[FilePath, ...], Field(strict=False, min_length=1)], ...),
        time_zone=(TimeZone, "UTC"),
        store_dir=(FilePath | None, None),
        refresh=(Annotated[Seconds, Field(ge=0.1, le=3600)], 10.0),
        history=(Annotated[Seconds, Field(ge=3600, le=366 * 86400)], 28 * 86400.0),
    )
    LimitsConfig = section_of(
        Limits, name_="LimitsConfig", cpu=(Share, 0.95), drop_share=(Share, 0.01)
    )


class GatewayConfig(Section):
    """The ingress gateway before a target's pods: `targets.gateway`."""

    namespace: str = "istio-system"
    service: str = ""
    selector: LabelSelector = "istio=ingressgateway"
    container: str = "istio-proxy"

    def pod_selector(self) -> PodSelector:
        """Return which pods it is."""
        return PodSelector(
            namespace=self.namespace,
            service=self.service,
            selector="" if self.service else self.selector,
            proxy_container=self.container,
        )


class TargetConfig(Section):
    """A watched site: `[[targets]]`."""

    name: Name
    url: Url | None = None
    """What the monitor asks for; method GET, path and authority follow from it."""
    match: Matchers = ""
    """Series and alerts that are about it, as Prometheus writes matchers; "": instance = url."""
    method: str = "GET"
    path: str | None = None
    authority: str | None = None
    user_agent: Regex = Target(name="").user_agent
    good: Annotated[tuple[int, ...], Field(strict=False)] = (200,)
    scrape_interval: Annotated[Seconds, Field(gt=0, le=3600)] = 15.0
    """Until Prometheus tells it."""
    probe_timeout: Annotated[Seconds, Field(gt=0, le=3600)] = 10.0

    cluster: str = ""
    """Name of a cluster; "": the only one, or none."""
    namespace: str = "default"
    service: str = ""
    selector: LabelSelector = ""
    owner: str = ""
    containers: Texts = ()
    proxy_container: str = "istio-proxy"
    gateway: GatewayConfig | None = None

    proxy_format: str = "auto"
    """"auto", or Envoy's own format string."""
    proxy_json_format: dict[str, Any] | None = None
    """Or the mapping of JSON fields to command operators."""
    proxy_files: Texts = ()
    """Globs of access logs on disk, in place of the pods' logs."""
    app_files: Texts = ()
    noise: Annotated[tuple[Regex, ...], Field(strict=False)] = ()
    """Lines of this application that are no failure."""
    app: AppConfig = AppConfig()
    """How its log is read."""

    @field_validator("proxy_format")
    @classmethod
    def _format_compiles(cls, value: str) -> str:
        compile_format(value)
        return value

    @field_validator("proxy_json_format")
    @classmethod
    def _mapping_compiles(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            compile_format(value)
        return value

    @property
    def format(self) -> str | dict[str, Any]:
        """The proxy log's format, as `compile_format` takes it."""
        return self.proxy_json_format or self.proxy_format

    @property
    def in_cluster(self) -> bool:
        """Whether its pods are known to a cluster."""
        return bool(self.service or self.selector or self.owner)

    def target(self) -> Target:
        """Return what the cascade knows of it."""
        parts = urlsplit(self.url or "")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(
            name=self.name,
            url=self.url or "",
            method=self.method,
            path=self.path or path,
            authority=parts.netloc if self.authority is None else self.authority,
            user_agent=self.user_agent,
            good=self.good,
            scrape_interval=self.scrape_interval,
            probe_timeout=self.probe_timeout,
            cluster=self.cluster,
            namespace=self.namespace if self.in_cluster else "",
        )

    def rule(self) -> TargetRule:
        """Return which series and alerts are about it."""
        return TargetRule(target=self.target(), matchers=parse_matchers(self.match))

    def pod_selector(self) -> PodSelector:
        """Return which pods back it."""
        return PodSelector(
            namespace=self.namespace,
            service=self.service,
            selector=self.selector,
            owner=self.owner,
            containers=self.containers,
            proxy_container=self.proxy_container,
        )


class HypervisorConfig(Section):
    """A hypervisor's SNMP agent with vmmib: `[[hypervisors]]`."""

    name: Name
    address: HostPort
    credentials_file: FilePath
    """TOML with community, or user and what belongs to it."""
    context: str | None = None
    """SNMP context of its VMs; None: the one in the credentials file."""
    host_context: str = ""
    """SNMP context of IF-MIB and HOST-RESOURCES-MIB."""
    host_credentials_file: FilePath | None = None
    """For these, where they take another community (v2c: it stands for the context)."""
    timeout: Annotated[Seconds, Field(gt=0, le=60)] = 2.0
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    syslog_hosts: Texts = ()
    """What its lines in `[syslog]` are called; none: its name, its address, or a host whose first
    label is that of one of them."""

    def settings(self) -> HypervisorSettings:
        """Return it with its credentials; raise ConfigError."""
        other = self.host_credentials_file
        try:
            credentials = read_credentials(self.credentials_file)
            host_credentials = None if other is None else read_credentials(other)
        except CredentialsError as error:
            raise ConfigError([str(error)]) from None
        return HypervisorSettings(
            name=self.name,
            address=self.address,
            credentials=credentials,
            context=credentials.context if self.context is None else self.context,
            host_context=self.host_context,
            host_credentials=host_credentials,
            timeout=self.timeout,
            retries=self.retries,
        )


class NotificationsConfig(Section):
    """The receiver of VM-MIB's notifications: `[notifications]`."""

    listen_address: Listen = ":9162"
    """UDP. 162 is SNMP's own port, which takes the right to bind it."""
    credentials_files: Annotated[tuple[FilePath, ...], Field(strict=False, min_length=1)]
    """Who may send: a community each, or a user; the hypervisors' own files will do."""
    engine_ids: Annotated[tuple[EngineId, ...], Field(strict=False)] = ()
    """Of senders of SNMPv3 traps, in hex: an agent tells it as snmpEngineID, net-snmp keeps it as
    `oldEngineID`. Without, SNMPv3 users may send informs alone (`trapsess -Ci`)."""


class AlertsConfig(Section):
    """Where alerts go: `[alerts]`."""

    alertmanager: Annotated[tuple[AlertmanagerConfig, ...], Field(strict=False)] = ()
    slack: Annotated[tuple[SlackConfig, ...], Field(strict=False)] = ()
    webhook: Annotated[tuple[WebhookConfig, ...], Field(strict=False)] = ()
    apprise: Annotated[tuple[AppriseConfig, ...], Field(strict=False)] = ()
    heartbeat: HeartbeatConfig | None = None
    external_url: Url | None = None
    """Where operators reach triage's own pages: links in alerts."""

    def names(self) -> list[str]:
        """Return the sinks' names."""
        every = (*self.alertmanager, *self.slack, *self.webhook, *self.apprise)
        return [str(one.name) for one in every]


class LeaseConfig(Section):
    """Several replicas, of which one acts: `[lease]`."""

    cluster: str = ""
    namespace: str = ""
    """"": the namespace of this pod ($POD_NAMESPACE), else "triage"."""
    name: str = "triage"
    duration: Annotated[Seconds, Field(ge=5, le=600)] = 15.0


class WebConfig(Section):
    """The service's own pages: `[web]`."""

    listen_address: Listen = "127.0.0.1:9178"


class Config(Section):
    """All of it."""

    prometheus: PrometheusConfig | None = None
    targets: Annotated[tuple[TargetConfig, ...], Field(strict=False)] = ()
    clusters: Annotated[tuple[ClusterConfig, ...], Field(strict=False)] = ()
    hypervisors: Annotated[
        tuple[HypervisorConfig, ...], Field(strict=False, max_length=10_000)
    ] = ()
    alerts: AlertsConfig = AlertsConfig()
    policy: Annotated[Policy, Field(strict=False)] = Policy.DEFAULT
    windows: WindowsConfig = WindowsConfig()
    incidents: IncidentsConfig = IncidentsConfig()
    triggers: TriggersConfig = TriggersConfig()
    limits: LimitsConfig = LimitsConfig()
    retention: RetentionConfig = RetentionConfig()
    notifications: NotificationsConfig | None = None
    syslog: SyslogConfig | None = None
    web: WebConfig = WebConfig()
    lease: LeaseConfig | None = None
    state_dir: FilePath = Path("/var/lib/triage")
    log_level: LogLevel = "info"
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 8
    """Looks at once."""
    poll_interval: Annotated[Seconds, Field(ge=0.1, le=3600)] = 1.0
    """Between two questions to Prometheus."""

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        problems = list(self._problems())
        if problems:
            raise PydanticCustomError("together", "{text}", {"text": "; ".join(problems)})
        return self

    def _problems(self) -> Iterator[str]:
        yield from _twice("targets", [one.name for one in self.targets])
        yield from _twice("clusters", [one.name for one in self.clusters])
        yield from _twice("hypervisors", [one.name for one in self.hypervisors])
        yield from _twice("sinks of alerts", self.alerts.names())
        known = {one.name for one in self.clusters}
        for one in self.targets:
            if one.cluster and one.cluster not in known:
                yield f'target "{one.name}" is in cluster "{one.cluster}", which is not configured'
            if one.in_cluster and not one.cluster and len(known) > 1:
                yield f'target "{one.name}" must name its cluster: there are {len(known)}'
        if self.lease is not None and not known:
            yield "lease needs a cluster"
        if self.syslog is not None and not self.hypervisors:
            yield "syslog needs hypervisors: it is of theirs that a verdict tells"
        if self.syslog is None and any(one.syslog_hosts for one in self.hypervisors):
            yield "hypervisors have syslog_hosts, and there is no section syslog that names files"

    def watch_settings(self) -> WatchSettings | None:
        """Return how the hypervisors' syslog is watched, None when it is not."""
        section = self.syslog
        if section is None:
            return None
        return built(
            section,
            WatchSettings,
            paths=tuple(str(one) for one in section.paths),
            store_dir=str(section.store_dir or self.state_dir / "syslog"),
        )

    def receiver_settings(self) -> NotificationSettings | None:
        """Return how notifications are received, None when they are not; raise ConfigError."""
        section = self.notifications
        if section is None:
            return None
        host, port = split_host_port(section.listen_address)
        try:
            known = [read_credentials(path) for path in section.credentials_files]
            own = {one.name: read_credentials(one.credentials_file) for one in self.hypervisors}
        except CredentialsError as error:
            raise ConfigError([str(error)]) from None
        sources = tuple(
            NotificationSource(
                hypervisor=one.name,
                host=split_address(one.address)[0],
                context=own[one.name].context if one.context is None else one.context,
                community=own[one.name].community,
            )
            for one in self.hypervisors
        )
        return NotificationSettings(
            host=host,
            port=port,
            communities=tuple(one.community for one in known if one.community),
            users=tuple(
                NotificationUser(credentials=one, engine_id=engine)
                for one in known
                if one.user
                for engine in section.engine_ids or ("",)
            ),
            sources=sources,
            engine_file=self.state_dir / "snmp-engine",
        )


def _twice(what: str, names: list[str]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f'two {what} are named "{name}": give each a name of its own'


def load(path: Path) -> Config:
    """Return the configuration of a file; raise ConfigError with a line for each problem."""
    return validate(Config, parse(path), path, hint_for_secrets=_WHERE_SECRETS_GO)


__all__ = ["Config", "ConfigError", "TargetConfig", "built", "load"]
