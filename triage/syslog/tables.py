"""What passes between the stages of the syslog analysis: schemas of tables, and frozen data.

Rules
- In tables, times are whole milliseconds since 1970, UTC (column `time`, Int64); in dataclasses
  they are seconds since 1970, UTC, as float, as everywhere in triage.
- Ids of templates and groups are 48 bits of BLAKE2b of their content: the same lines give the same
  ids, on any machine, in any order, in any number of partitions. Written as 12 hex digits
  (`id_text`), they are what an operator types, and what JSON and Parquet files outside hold.
- Nothing in here reads, writes or computes more than an id.

A line's way: `LINES` (one row for each line of a block, in order) -> `EVENTS` of a partition, whose
`key` is an index into the partition's `KEYS` -> the model gives each key its template -> `COUNTS`,
which all later stages work on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl

WILDCARD = "**"
"""A variable part in a template's text, as the report writes it."""

LINES = pl.Schema(
    {
        "time": pl.Int64,  # null: no header could be read: the line is broken
        "host": pl.String,  # null where time is
        "content": pl.String,  # "tag[pid]: message", whatever the format; of broken lines, the line
        "count": pl.UInt32,  # 1; N for "last message repeated N times", whose content is that one's
    }
)
"""What reading gives for a block: exactly one row for each line, in the order of the file."""

EVENTS = pl.Schema(
    {
        "time": pl.Int64,
        "host": pl.UInt32,  # index into the partition's list of hosts; null of broken lines
        "key": pl.UInt32,  # row number in the partition's KEYS
        "count": pl.UInt32,
    }
)
"""A partition's events as Parquet: one row for each line, in order, so that the row number gives
the line back. Null time and host: a broken line."""

KEYS = pl.Schema(
    {
        "key": pl.String,  # the content with its obvious variables masked: distinct in a partition
        "lines": pl.UInt64,  # sum of counts
        "example": pl.String,  # the first content in the partition with this key, bounded
    }
)
"""A partition's distinct keys, sorted by key."""

COUNTS = pl.Schema(
    {
        "minute": pl.Int32,  # time // 60_000
        "host": pl.UInt32,  # index into Corpus.hosts
        "template": pl.UInt32,  # index into Corpus.templates
        "count": pl.UInt32,
    }
)
"""All partitions' events per minute, sorted by (minute, host, template), without duplicates."""


def content_id(text: str) -> int:
    """Return 48 bits of BLAKE2b of a text in UTF-8, never 0."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, "big") or 1


def id_text(number: int) -> str:
    """Return an id as 12 hex digits."""
    return f"{number:012x}"


class Variable(StrEnum):
    """What the values of a variable part are, where that is known."""

    IP = "ip"
    HEX = "hex"
    UUID = "uuid"
    PATH = "path"
    NUMBER = "number"
    HOST = "host"
    USER = "user"
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A kind of line: its constant parts, and `**` where its lines differ."""

    id: int
    """Of the text that it was learnt with; neither renaming nor merging changes it."""
    text: str
    """"sshd[**]: refused connect from ** (**)"."""
    variables: tuple[Variable, ...] = ()
    """One for each `**` of the text, from left to right."""
    name: str = ""
    """An operator's own name for it."""
    example: str = ""
    """A content that it was learnt from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Templates whose texts are alike (the report's n-gram groups)."""

    id: int
    """Of the template that founded it: templates that join later do not change it."""
    templates: tuple[int, ...]
    """Ids of its templates, sorted; the founder is one of them."""
    label: str
    """The founder's name or text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """All that the analysis works on, in memory: a year of a fleet's minutes, not its lines."""

    counts: pl.DataFrame
    """`COUNTS`."""
    hosts: tuple[str, ...]
    """Sorted."""
    templates: tuple[Template, ...]
    """Sorted by id."""
    group_of: tuple[int, ...]
    """For each of `templates` the index into `groups`."""
    groups: tuple[Group, ...]
    """Sorted by id."""
    site_of: tuple[str, ...]
    """For each of `hosts` its site."""
    start: float
    """The first event's time."""
    end: float
    """The last event's time."""


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """A node of a causal graph: a group of templates on a host."""

    host: str
    group: int
    """Group id."""


class EdgeKind(StrEnum):
    """What joins two nodes."""

    CAUSAL = "causal"
    """The PC algorithm kept it, and no direction is sure."""
    DIRECTED = "directed"
    """The PC algorithm kept it, and every graph of the class has it from a to b."""
    SYNCHRONOUS = "synchronous"
    """Both have the same series in this window: they are one node to the PC algorithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An edge of one window's graph."""

    a: Node
    b: Node
    """DIRECTED: a before b. Otherwise a < b."""
    kind: EdgeKind = EdgeKind.CAUSAL
    lag: int = 0
    """Bins that b follows a by; 0: in the same bin."""
    strength: float = 0.0
    """G² of the pair per degree of freedom, without conditions; larger is surer."""

    @property
    def pair(self) -> tuple[Node, Node]:
        """Its identity over all windows: the two nodes, whichever way it points."""
        return (self.a, self.b) if self.a <= self.b else (self.b, self.a)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowGraph:
    """The causal graph (CPDAG) of one window and area."""

    start: float
    end: float
    area: str
    """A site, a host, or "all"."""
    nodes: int
    """Series that the window had events of, merged and periodic ones too."""
    edges: tuple[Edge, ...]


class FindingKind(StrEnum):
    """What is unusual."""

    OUTAGE = "outage"
    """A window whose rare edges peak, or in which hosts fell silent or started anew: look here."""
    NEW_EDGES = "new_edges"
    """Edges that hardly any other window has, below an outage's threshold."""
    RARE_TEMPLATE = "rare_template"
    """A template seen for the first time, or for the first time in long."""
    BURST = "burst"
    """Far more lines of a template in a short time than is usual for it."""
    SILENCE = "silence"
    """A host that logs all the time did not."""
    RESTART = "restart"
    """A host started anew."""
    CHANGE = "change"
    """Unusual, and of the operators' doing by all signs: an upgrade, a roll-out. Not an outage."""
    SCAN = "scan"
    """A burst from outside, of refused strangers. Not an outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that shows a finding, as it stands in the log."""

    time: float
    host: str
    text: str
    """Masked (`triage.masking`), bounded, control characters kept: whoever shows it escapes it."""
    template: int = 0
    """Template id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something unusual: when, where, what, and the lines that show it."""

    kind: FindingKind
    start: float
    end: float
    area: str
    """The site, or the host where it is one host's."""
    hosts: tuple[str, ...]
    score: float
    """How far above its threshold: 1 is at the threshold."""
    summary: str
    """One sentence for an operator, with figures."""
    edges: tuple[Edge, ...] = ()
    """The rarest first, bounded."""
    edges_total: int = 0
    templates: tuple[int, ...] = ()
    """Template ids that matter, the most telling first, bounded."""
    lines: tuple[Line, ...] = ()
    """In order of time, bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowScore:
    """One window of one length in one area, as figures 6, 8 and 9 draw it."""

    start: float
    end: float
    area: str
    edges: int
    rare: int
    """Edges that are at most `Rarity.threshold` windows old (the report's "5 days or fewer")."""
    score: float
    """How far above what is usual: 1 is at the threshold."""
    abnormal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rarity:
    """In how many days each edge appears (figure 7), and what is rare by that."""

    days_of: Mapping[int, int] = field(default_factory=dict)
    """Number of days -> number of edges that appear on so many."""
    quantile: float = 0.8
    threshold: int = 0
    """Edges on so many days or fewer are rare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What detection makes of a corpus."""

    findings: tuple[Finding, ...]
    """Outages first, each kind by falling score."""
    daily: tuple[WindowScore, ...]
    """Per day and area, in order of time."""
    short: tuple[WindowScore, ...]
    """The same per short window (2 hours)."""
    rarity: Rarity
    graphs: tuple[WindowGraph, ...] = ()
    """Of the days (figure 5 shows one of them); those of short windows are not kept."""
