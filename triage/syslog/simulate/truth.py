"""The truth beside a simulated fleet's logs: what the hosts wrote, why, and what really happened.

The file (`truth.json`, format "triage-syslog-truth/1") holds `Truth` as one JSON object; times are
seconds since 1970, UTC. docs/syslog-simulate.md describes it field by field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from triage.syslog.simulate.settings import SimulateError
from triage.syslog.tables import WILDCARD

FORMAT = "triage-syslog-truth/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthHost:
    """A host and its site."""

    name: str
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthTemplate:
    """A kind of line."""

    name: str
    """"sshd/3": the program and a number."""
    text: str
    """"sshd[**]: refused connect from ** (**)"."""
    replaces: str = ""
    """The name of the template that a new version words in this way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthNode:
    """A template on a host."""

    template: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthEdge:
    """A line of the cause makes the effect write a line, with a probability."""

    cause: TruthNode
    effect: TruthNode
    lag_seconds: float
    """Mean delay (exponential)."""
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What a detection should find."""

    kind: str
    """power, planned, link, silent or storage."""
    start: float
    end: float
    """Until all is as before."""
    hosts: tuple[str, ...]
    """The hosts that it hit; those that only complained of it are not among them."""
    site: str
    silent: tuple[tuple[str, float, float], ...] = ()
    """(host, from, until): no line of this host in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoy:
    """What a detection should not take for an outage."""

    kind: str
    start: float
    end: float
    hosts: tuple[str, ...]
    neutral: bool = False
    """Operators differ (a routine reboot, a host that joins): counted neither for nor against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """All that was simulated."""

    seed: int
    start: float
    end: float
    hosts: tuple[TruthHost, ...]
    templates: tuple[TruthTemplate, ...] = ()
    edges: tuple[TruthEdge, ...] = ()
    outages: tuple[Outage, ...] = ()
    decoys: tuple[Decoy, ...] = ()
    lines: int = 0
    """Lines written in all."""
    settings: Mapping[str, str | float | bool] = field(default_factory=dict)
    format: str = FORMAT

    @property
    def site_of(self) -> dict[str, str]:
        """Host -> site."""
        return {host.name: host.site for host in self.hosts}


def write_truth(truth: Truth, path: Path) -> None:
    """Write a truth file, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(msgspec.json.encode(truth))
    part.replace(path)


def read_truth(path: Path) -> Truth:
    """Read a truth file.

    Raises SimulateError with one line that names the file and the remedy.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SimulateError(f"{path}: {error.strerror or error}: name a truth.json") from None
    try:
        truth = msgspec.json.decode(data, type=Truth)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SimulateError(
            f"{path}: not a truth file ({error}): name the truth.json of triage syslog simulate"
        ) from None
    if truth.format != FORMAT:
        raise SimulateError(
            f"{path}: its format is {truth.format!r}, not {FORMAT!r}: write it anew"
        )
    return truth


def pattern_of(text: str) -> str:
    """Return a regular expression that fits the whole of a template's lines (content)."""
    return "(?s)^" + ".*?".join(re.escape(part) for part in text.split(WILDCARD)) + "$"
