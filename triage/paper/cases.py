"""The bundled cases as data: what the paper's tables and logs say, and the lines made to them.

Times are seconds since 1970. A line with `printed` is the paper's own; the others are made to the
facts of its tables, in the form of the printed ones, since the paper does not print them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from triage.evidence import Cause, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLine:
    """A line of a log as its source has it."""

    line: str
    printed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the paper says of a case (tables 2, 3 and 4)."""

    proxy_time: float
    lag: float
    app_time: float | None
    """None: there is no such line."""
    app_lag: float | None
    non_200: int
    error: int
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One of the four that the paper evaluates."""

    metric_time: float
    """Of the polling that showed it."""
    paper: Figures
    proxy_log: tuple[CaseLine, ...]
    app_log: tuple[CaseLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unalerted:
    """One of the eleven outages that never alerted (table 1)."""

    start: float
    end: float
    seconds: float
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """All of it."""

    source: str
    """Whose facts these are, one line."""
    target: Target
    pod: str
    """namespace/name: the paper does not tell the pod's whole name."""
    proxy: str
    """Container of the proxy."""
    container: str
    """Container of the application."""
    poll_interval: float
    rule_for: float
    """Seconds that the existing alert rule waits."""
    proxy_window: float
    app_window: float
    unalerted: tuple[Unalerted, ...]
    cases: tuple[Case, ...]


@cache
def load_cases() -> Cases:
    """Return the bundled cases."""
    text = resources.files("triage.paper").joinpath("cases.json").read_bytes()
    found = msgspec.json.decode(text)
    about, monitoring, target = found["source"], found["monitoring"], found["target"]
    return Cases(
        source=f"{', '.join(about['authors'])} ({about['affiliation']}, {about['year']}),"
        f" {about['parts']}",
        target=Target(
            name=target["name"],
            method=target["method"],
            path=target["path"],
            authority=target["authority"],
            namespace=target["namespace"],
            scrape_interval=float(monitoring["scrape_interval_s"]),
            probe_timeout=float(monitoring["probe_timeout_s"]),
        ),
        pod=f"{target['namespace']}/{target['pod']}",
        proxy=target["proxy"],
        container=target["container"],
        poll_interval=float(monitoring["poll_interval_s"]),
        rule_for=float(monitoring["alert_rule_for_s"]),
        proxy_window=float(monitoring["proxy_window_s"]),
        app_window=float(monitoring["app_window_s"]),
        unalerted=tuple(map(_unalerted, found["unalerted"])),
        cases=tuple(map(_case, found["cases"])),
    )


def _unalerted(one: dict[str, Any]) -> Unalerted:
    return Unalerted(
        start=_time(f"{one['date']}T{one['from']}Z"),
        end=_time(f"{one['date']}T{one['to']}Z"),
        seconds=float(one["seconds"]),
        node=one["node"],
    )


def _case(one: dict[str, Any]) -> Case:
    paper = one["paper"]
    at = paper["app_log_time"]
    return Case(
        metric_time=_time(one["metric_time"]),
        paper=Figures(
            proxy_time=_time(paper["proxy_log_time"]),
            lag=float(paper["lag_s"]),
            app_time=None if at is None else _time(at),
            app_lag=None if at is None else float(paper["app_lag_s"]),
            non_200=paper["non_200"],
            error=paper["error"],
            cause=Cause(paper["cause"]),
        ),
        proxy_log=tuple(CaseLine(**line) for line in one["proxy_log"]),
        app_log=tuple(CaseLine(**line) for line in one["app_log"]),
    )


def _time(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()
