"""Causal graphs of series of events: the PC algorithm with the G² test, and a window's graph of it.

    series of a window -> without periodic parts -> synchronous ones merged -> skeleton (an engine)
    -> CPDAG (v-structures, Meek rules) -> edges between nodes

`learn` is the PC algorithm for any series; `window_graph` is what the analysis of syslog uses.
Pure computation: nothing in here reads a file, a clock or a network.
"""

from triage.syslog.causality.engines import learn
from triage.syslog.causality.graph import Cpdag, Engine, EngineError, Link, Skeleton
from triage.syslog.causality.periods import Period, find_periods
from triage.syslog.causality.settings import (
    Conflict,
    Freedom,
    GraphSettings,
    PcSettings,
    PeriodSettings,
    Variant,
)
from triage.syslog.causality.window import window_graph

__all__ = [
    "Conflict",
    "Cpdag",
    "Engine",
    "EngineError",
    "Freedom",
    "GraphSettings",
    "Link",
    "PcSettings",
    "Period",
    "PeriodSettings",
    "Skeleton",
    "Variant",
    "find_periods",
    "learn",
    "window_graph",
]
