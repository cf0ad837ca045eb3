"""All that a report says, as plain data: whoever fills it has read and computed it.

Rules
- Times are seconds since 1970, UTC; durations are seconds; ids are those of `tables`.
- Nothing in here is escaped or shortened for a reader: page, figures and JSON see to that.
- The same data gives the same report, to the byte: no clock is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from triage.syslog.intervals import Burst, IntervalStats, Track
from triage.syslog.tables import Detection, Group, Line, Template

FORMAT = "triage-syslog-report/1"
"""Of the JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """A log file, and what came of reading it."""

    name: str
    """As it is shown: its path, or less of it."""
    lines: int
    broken: int = 0
    """Lines without a header that could be read."""
    bytes: int = 0
    """Uncompressed."""
    damage: tuple[str, ...] = ()
    """What could not be read, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Hosts that stand together."""

    name: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateUse:
    """A template and where it was seen."""

    template: Template
    group: int = 0
    """Group id; 0: none."""
    lines: int
    hosts: int
    first: float
    last: float
    example: str = ""
    """A line's content, masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaVolume:
    """How many lines a site's hosts wrote."""

    area: str
    lines: tuple[int, ...]
    """Per bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Lines over time."""

    start: float
    step: float
    """Seconds of a bin."""
    areas: tuple[AreaVolume, ...]
    """Sorted by name, all of one length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting that the report was made with."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """All that a report says."""

    title: str = "Hypervisors' syslog"
    product: str = "triage"
    """Name and version of what wrote it."""
    start: float
    """The first event."""
    end: float
    """The last event."""
    files: tuple[FileRead, ...] = ()
    sites: tuple[Site, ...]
    """Sorted by name; every host is in one."""
    volume: Volume
    sample: tuple[Line, ...] = ()
    """Lines to show what was read, in order of time."""
    templates: tuple[TemplateUse, ...]
    """The most frequent first."""
    groups: tuple[Group, ...]
    """Sorted by id."""
    detection: Detection
    intervals: tuple[IntervalStats, ...] = ()
    """Per template, all hosts together; sorted by template id."""
    bursts: tuple[Burst, ...] = ()
    """In order of time."""
    tracks: tuple[Track, ...] = ()
    """Of the templates of figures 3 and 4, in this order (`telling` chooses them)."""
    around: int = 0
    """Template or group id that figure 5 is drawn around; 0: the most abnormal window."""
    settings: tuple[Setting, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader has to know: what was left out, what could not be done."""

    @property
    def lines(self) -> int:
        """Return the number of lines of all files."""
        return sum(one.lines for one in self.files)

    @property
    def broken(self) -> int:
        """Return the number of lines without a header that could be read."""
        return sum(one.broken for one in self.files)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return all hosts, sorted."""
        return tuple(sorted(host for site in self.sites for host in site.hosts))
