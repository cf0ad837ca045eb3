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


class Observed(Protocol):
    """A service, as far as it is counted."""

    @property
    def engine(self) -> Counted | None: ...  # noqa: D102
    @property
    def dispatcher(self) -> Dispatching | None: ...  # noqa: D102
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
