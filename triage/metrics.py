"""What a service tells of itself at /metrics: one collector that reads it when it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from triage import __version__
from triage.incidents import Incident
from triage.sources.syslog import WatchCounts
from triage.syslog.confirm import AlarmState


class Counted(Protocol):
    """An engine, as far as it is counted."""

    counts: dict[tuple[str, str], int]

    @property
    def open(self) -> list[Incident]: ...  # noqa: D102


class SinkCounts(Protocol):
    """What became of a sink's messages."""

    delivered: int
    failed: int
    dead: int
    last_delivered_at: float | None


class Dispatching(Protocol):
    """A dispatcher, as far as it is counted."""

    @property
    def status(self) -> Mapping[str, SinkCounts]: ...  # noqa: D102


class Watched(Protocol):
    """What watches the hypervisors' syslog, as far as it is counted."""

    @property
    def counts(self) -> WatchCounts: ...  # noqa: D102


class Raised(Protocol):
    """Who keeps the alarms of the syslog, as far as they are counted."""

    states: dict[AlarmState, int]
    raised: dict[str, int]


class Observed(Protocol):
    """A service, as far as it is counted."""

    @property
    def engine(self) -> Counted | None: ...  # noqa: D102
    @property
    def dispatcher(self) -> Dispatching | None: ...  # noqa: D102
    @property
    def watcher(self) -> Watched | None: ...  # noqa: D102
    @property
    def alarms(self) -> Raised | None: ...  # noqa: D102
    @property
    def problems(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def polled_at(self) -> float | None: ...  # noqa: D102
    @property
    def acting(self) -> bool: ...  # noqa: D102
    @property
    def looking(self) -> int: ...  # noqa: D102


class ServiceCollector(Collector):
    """Gives the metrics; all names begin with triage_."""

    def __init__(self, service: Observed) -> None:
        self._service = service

    def describe(self) -> Iterator[Metric]:
        """Return nothing: families are known when they are collected."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return all families."""
        service = self._service
        yield InfoMetricFamily("triage_build", "Release.", {"version": __version__})
        yield GaugeMetricFamily(
            "triage_acting", "1 where this replica acts, 0 where it stands by.", int(service.acting)
        )
        yield GaugeMetricFamily("triage_looks_running", "Looks under way.", service.looking)
        if service.polled_at is not None:
            yield GaugeMetricFamily(
                "triage_prometheus_answered_timestamp_seconds",
                "When Prometheus answered last.",
                service.polled_at,
            )
        failing = GaugeMetricFamily(
            "triage_source_failing", "1 for each source that fails now.", labels=["source"]
        )
        for name in service.problems:
            failing.add_metric([name], 1)
        yield failing
        if service.engine is not None:
            yield from _incidents(service.engine)
        if service.dispatcher is not None:
            yield from _alerts(service.dispatcher)
        if service.watcher is not None:
            yield from _syslog(service.watcher.counts)
        if service.alarms is not None:
            yield from _alarms(service.alarms)


def _incidents(engine: Counted) -> Iterator[Metric]:
    open_now = GaugeMetricFamily(
        "triage_incident_open",
        "1 for each open incident.",
        labels=["target", "incident", "status", "severity", "cause", "reason"],
    )
    for one in engine.open:
        best = one.best
        cause, reason = (best.cause.value, best.reason) if best else ("", "")
        open_now.add_metric([one.target, one.id, one.status, one.severity, cause, reason], 1)
    yield open_now
    names = {
        "incident": ("triage_incidents", "Incidents by what became of them.", "event"),
        "verdict": ("triage_verdicts", "Verdicts of looks.", "cause"),
        "alert": ("triage_alerts", "Alerts given out.", "kind"),
    }
    for what, (name, text, label) in names.items():
        family = CounterMetricFamily(name, text, labels=[label])
        for (kind, value), count in engine.counts.items():
            if kind == what:
                family.add_metric([value], count)
        yield family


def _syslog(counts: WatchCounts) -> Iterator[Metric]:
    lines = CounterMetricFamily(
        "triage_syslog_lines", "Lines of the hypervisors' syslog.", labels=["outcome"]
    )
    lines.add_metric(["read"], counts.lines - counts.broken)
    lines.add_metric(["broken"], counts.broken)
    yield lines
    yield GaugeMetricFamily("triage_syslog_templates", "Kinds of lines known.", counts.templates)
    yield GaugeMetricFamily("triage_syslog_hosts", "Hosts with lines.", counts.hosts)
    yield GaugeMetricFamily(
        "triage_syslog_files_unread", "Files that cannot be read, or in part.", counts.unread
    )
    for name, text, value in (
        ("read", "When all files had been read to their ends last.", counts.read_at),
        ("newest_line", "The newest line's time.", counts.newest),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"triage_syslog_{name}_timestamp_seconds", text, value)


def _alarms(keeper: Raised) -> Iterator[Metric]:
    raised = CounterMetricFamily(
        "triage_syslog_alarms_raised", "Alarms of the syslog since the start.", labels=["kind"]
    )
    for kind, count in keeper.raised.items():
        raised.add_metric([kind], count)
    yield raised
    states = GaugeMetricFamily(
        "triage_syslog_alarms",
        "Kept alarms of the syslog by what became of them.",
        labels=["state"],
    )
    for state in AlarmState:
        states.add_metric([state.value], keeper.states.get(state, 0))
    yield states
    confirmed = keeper.states.get(AlarmState.CONFIRMED, 0)
    settled = confirmed + keeper.states.get(AlarmState.UNCONFIRMED, 0)
    if settled:
        yield GaugeMetricFamily(
            "triage_syslog_alarm_precision",
            "Of the kept alarms that are settled, the share that an incident confirmed.",
            confirmed / settled,
        )


def _alerts(dispatcher: Dispatching) -> Iterator[Metric]:
    sent = CounterMetricFamily(
        "triage_messages", "Messages by sink and outcome.", labels=["sink", "outcome"]
    )
    newest = GaugeMetricFamily(
        "triage_message_delivered_timestamp_seconds", "When a sink took one last.", labels=["sink"]
    )
    for name, status in dispatcher.status.items():
        for outcome in ("delivered", "failed", "dead"):
            sent.add_metric([name, outcome], getattr(status, outcome))
        if status.last_delivered_at is not None:
            newest.add_metric([name], status.last_delivered_at)
    yield sent
    yield newest
