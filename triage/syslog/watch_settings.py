"""How hypervisors' syslog is watched: plain values, for the configuration, without Polars."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """Where the logs are, and how much of them is read and kept."""

    paths: tuple[str, ...] = ()
    """Folders, files and globs. Of a folder all files are read, rotated and compressed ones too."""
    time_zone: str = "UTC"
    """Of headers that name none, such as "Asia/Tokyo"."""
    store_dir: str = ""
    """Where events and templates are kept; `triage syslog report` reads them there. None: `syslog`
    in the state directory."""
    refresh: float = 10.0
    """Seconds between two looks at the files; an incident's look reads what is new by itself."""
    history: float = 28 * 86400.0
    """How much of the past is learnt from: what did not appear in it is rare."""
    freeze: bool = False
    """Learn no new templates: lines that fit none are counted, and are no finding."""
    confirm_within: float = 900.0
    """An incident confirms alarms of its hypervisor that began so long before it, or in it."""
    settle: float = 3600.0
    """An alarm that no incident confirmed for so long after its end counts as unconfirmed."""
