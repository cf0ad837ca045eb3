"""What a simulated fleet is like: plain values, checked."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

from triage.syslog.errors import SyslogError


class SimulateError(SyslogError):
    """The fleet cannot be simulated or read back as asked; the text says what to change."""


class Form(StrEnum):
    """How a line's header is written."""

    RFC3164 = "rfc3164"
    """`Sep 26 06:00:01 host tag[pid]: text`: no year, no zone (RFC 3164 section 4.1)."""
    RFC5424 = "rfc5424"
    """`<30>1 2015-09-26T06:00:01.250000+09:00 host tag pid - - text` (RFC 5424 section 6)."""
    ISO = "iso"
    """`2015-09-26T06:00:01.250000+09:00 host tag[pid]: text`: rsyslog's and journald's export."""


class Layout(StrEnum):
    """How lines are spread over files."""

    HOSTS = "hosts"
    """One file for each host: HOST.log."""
    MIXED = "mixed"
    """One file, fleet.log, in the order in which a central server receives the lines."""


class Compression(StrEnum):
    """What the files are packed with; the value is the suffix."""

    NONE = ""
    GZIP = "gz"
    ZSTD = "zst"
    XZ = "xz"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """A fleet, a period and what happens in it. The defaults are the size of the report's fleet."""

    seed: int = 1
    start: str = "2015-09-26"
    """First day, in `timezone`."""
    days: int = 52
    """Length; the report covers 52 days."""
    hosts: int = 29
    """Hypervisors."""
    boxes: int = 3
    """NAT64 and DNS boxes, spread over the first sites."""
    sites: int = 7
    lines: int = 2_000_000
    """About so many lines in all (10 % more or less). The report's: 21,181,352."""
    templates: int = 1_050
    """About so many kinds of line over the whole fleet. The report found 1,147."""
    outages: int = 8
    """So many outages, kinds in turn; one of five recurs."""
    decoys: int = 10
    """So many happenings that are no outage: upgrades, scans, roll-outs, loads, backups, ..."""
    reboots: int = 2
    """Routine reboots of single hosts; neutral when a detection is scored."""
    joins: int = 1
    """Hosts that join the fleet within the period; neutral too."""
    leaves: int = 1
    """Hosts that are taken away for ever; neutral too."""
    drifts: int = 12
    """Templates whose wording a new version changes."""
    random_edges: int = 150
    """Causal edges of this seed's own, besides the catalogue's chains."""
    esxi: float = 0.1
    """Share of the hypervisors that run ESXi."""
    severity: float = 1.0
    """How loud outages are: lines that peers and survivors write about them, times this."""
    loss: float = 1e-4
    """Share of lines that are lost on their way, bursts of loss not counted."""
    broken: float = 2e-5
    """Share of lines that are cut, garbled or joined with the next."""
    skew: float = 0.5
    """Standard deviation of the hosts' clock errors, seconds; they drift by as much a month."""
    timezone: str = "UTC"
    """Zone in which the hosts write their times (IANA name)."""
    form: Form = Form.RFC3164
    layout: Layout = Layout.HOSTS
    compression: Compression = Compression.NONE
    labels: bool = False
    """Also write labels.parquet: file, line (from 1) and the name of its template (null: broken
    lines and those that belong to the line before)."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises SimulateError, which names the value and its bounds.
        """
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if not low <= value <= high:
                raise SimulateError(f"{name} is {value}: choose a value from {low:g} to {high:g}")
        if self.sites > self.hosts:
            raise SimulateError(f"{self.sites} sites for {self.hosts} hosts: choose fewer sites")
        try:
            first_day(self)
        except ValueError:
            raise SimulateError(f"start is {self.start!r}: write a date, 2015-09-26") from None
        try:
            zoneinfo.ZoneInfo(self.timezone)
        except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
            raise SimulateError(f"no time zone {self.timezone!r}: write Asia/Tokyo") from None
        except KeyError:
            raise SimulateError(f"no time zone {self.timezone!r}: write Asia/Tokyo") from None


_BOUNDS = (
    ("seed", 0, 2**63 - 1), ("days", 1, 3660), ("hosts", 1, 5000), ("boxes", 0, 500),
    ("sites", 1, 500), ("lines", 1000, 10**11), ("templates", 100, 20_000), ("outages", 0, 10_000),
    ("decoys", 0, 10_000), ("reboots", 0, 10_000), ("joins", 0, 500), ("leaves", 0, 500),
    ("drifts", 0, 500), ("random_edges", 0, 100_000), ("esxi", 0.0, 1.0), ("severity", 0.0, 100.0),
    ("loss", 0.0, 0.5), ("broken", 0.0, 0.1), ("skew", 0.0, 3600.0),
)  # fmt: skip


def first_day(settings: FleetSettings) -> date:
    """Return the date of the first day."""
    return date.fromisoformat(settings.start)


def start_of(settings: FleetSettings) -> int:
    """Return the first local midnight as milliseconds since 1970."""
    day = first_day(settings)
    zone = zoneinfo.ZoneInfo(settings.timezone)
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int(local.astimezone(UTC).timestamp()) * 1000
