"""A fleet's logs from a seed, with the truth beside them.

Settings -> fleet (`fleet`: hosts, messages, rates, causal graph) -> happenings (`happenings`:
outages, decoys) -> events (`events`) -> lines (`render`) -> files (`output`) and `truth`.

The same settings give the same bytes, on any machine (packed files: with the same packers). A
fleet is rendered in chunks of some days, so that memory does not grow with the period.
"""

from __future__ import annotations

from triage.syslog.simulate.run import simulate
from triage.syslog.simulate.settings import (
    Compression,
    FleetSettings,
    Form,
    Layout,
    SimulateError,
)
from triage.syslog.simulate.truth import (
    Decoy,
    Outage,
    Truth,
    TruthEdge,
    TruthHost,
    TruthNode,
    TruthTemplate,
    pattern_of,
    read_truth,
    write_truth,
)

__all__ = [
    "Compression",
    "Decoy",
    "FleetSettings",
    "Form",
    "Layout",
    "Outage",
    "SimulateError",
    "Truth",
    "TruthEdge",
    "TruthHost",
    "TruthNode",
    "TruthTemplate",
    "pattern_of",
    "read_truth",
    "simulate",
    "write_truth",
]
