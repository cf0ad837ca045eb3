"""What detection can be told; every value has a reason for its default."""

from __future__ import annotations

from dataclasses import dataclass, replace

from triage.syslog.causality import GraphSettings

DAY = 86_400.0
MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectSettings:
    """Windows, what is rare, what is a peak, what is a silence."""

    area: str = "site"
    """One graph for each "site", "host", or one for "all"."""
    long: float = DAY
    """Seconds of the long windows, whole minutes."""
    short: float = 7200.0
    """Seconds of the short ones: an outage of minutes is lost in a day's graph."""
    offset: float = 0.0
    """Seconds east of UTC: where a day begins for the operators."""
    bin: float = 60.0
    """Seconds of a graph's bin, whole minutes."""
    graph: GraphSettings | None = None
    """Of the graphs of every length. None: `GraphSettings.for_window` of each length."""
    engine: str = "auto"
    """Of the graphs, when `graph` is None."""
    quantile: float = 0.8
    """Edges below this quantile of the CDF of days per edge are rare. A fixed number of days (the
    report's 5 of 52) loses outages that recur."""
    rare_share: float = 0.25
    """What is there on more than this share of the days is not rare, whatever the quantile: in a
    log of three days every quantile is."""
    false_alarms: float = 0.25
    """Windows of each length that may exceed a threshold by chance, in the whole corpus; what
    exceeds one alone is no outage yet (`decide`)."""
    peak_edges: int = 8
    """Fewer rare edges than this are never a peak: two lines that coincide give one."""
    peak_nodes: int = 5
    """Fewer unusual series of lines that speak of trouble, close together, are never a peak."""
    least_lines: int = 50
    """Hosts with fewer lines in the corpus are left out: they are garbled headers, and a host that
    says so little has neither a rhythm nor causes."""
    silence: float = 900.0
    """Seconds that a host has to be silent at least: shorter gaps are lost lines and slow disks."""
    retired: float = DAY
    """A silence that has not ended after this is known of; after an orderly stop, the host was
    taken out of service."""
    merge: float = 1800.0
    """Abnormal times of one area at most so many seconds apart are one finding."""
    burst: float = 8.0
    """So many times the usual count of a short window make a burst."""
    burst_lines: int = 60
    """Fewer lines in a short window than this are no burst."""
    most_findings: int = 50
    """Of each kind."""
    most_edges: int = 40
    """Edges kept with a finding."""
    most_templates: int = 12
    """Templates kept with a finding."""
    most_lines: int = 24
    """Lines kept with a finding."""

    def graph_of(self, seconds: float) -> GraphSettings:
        """Return the settings of the graphs of windows of that length."""
        return self.graph or replace(GraphSettings.for_window(seconds), engine=self.engine)
