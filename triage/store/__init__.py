"""State that outlives the process: one SQLite file.

Theory of operation
    `database.py` opens the file and has the transactions; each other module has one subject's
    tables and nothing of the others'. `Store` puts them together: what must be all or nothing
    (an incident's change and the messages that tell of it) is one call of it.

Rules
- Every method blocks on the disk for a moment and may be called from any thread, one at a time
  inside: coroutines call it by `asyncio.to_thread`.
- What was committed survives a crash of the process and of the machine (WAL, synchronous=FULL).
- Faults of the file or the disk are StoreError, with one line that names the file.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from triage.alerts.message import AlertMessage
from triage.evidence import Evidence, Verdict
from triage.incidents import Incident
from triage.store.alarms import Alarms, confirmed_precision
from triage.store.database import Database, StoreError
from triage.store.incidents import Incidents, StoredLook
from triage.store.outbox import DeadLetter, Outbox, OutboxRow
from triage.store.timeline import Notifications, State, VmIndex

__all__ = [
    "Alarms",
    "DeadLetter",
    "Incidents",
    "Notifications",
    "Outbox",
    "OutboxRow",
    "State",
    "Store",
    "StoreError",
    "StoreSettings",
    "StoredLook",
    "VmIndex",
    "confirmed_precision",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where the file is, and what is kept in it, by age (seconds) and by number.

    What is over goes, oldest first.
    """

    path: str = "triage.db"
    incident_age: float = 90 * 86400.0
    """Since it was closed. What is open is never deleted."""
    incidents: int = 10_000
    message_age: float = 30 * 86400.0
    """Of messages that are done with, the dead letters too."""
    notification_age: float = 30 * 86400.0
    notifications: int = 100_000
    alarm_age: float = 366 * 86400.0
    """Of alarms of the hypervisors' syslog: what their precision over time is counted from."""
    vms: int = 100_000
    """VMs whose hypervisor is remembered."""


class Store:
    """The open file. Close it, or use it as a context manager."""

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        create: bool = True,
        exclusive: bool = False,
    ) -> None:
        """Open the file and bring it to this release's version.

        `create` False: it has to be there already (commands that look). `exclusive`: nobody else
        may open it so (the service). Raises StoreError: one line that says what to do.
        """
        self._clock = clock
        self.database = Database(Path(path), create=create, exclusive=exclusive)
        self.incidents = Incidents(self.database)
        self.outbox = Outbox(self.database)
        self.notifications = Notifications(self.database)
        self.vms = VmIndex(self.database, clock)
        self.alarms = Alarms(self.database)
        self.state = State(self.database)

    def save(
        self,
        incident: Incident,
        *,
        look: tuple[Verdict, Evidence] | None = None,
        messages: Iterable[AlertMessage] = (),
        sinks: Iterable[str] = (),
    ) -> None:
        """Store an incident as it is now, the look that made it so, and what is to be told.

        All or nothing. Each message waits for each of `sinks`; one that is there already (the same
        id and sink) stays as it is, so that an action performed twice is told once.
        """
        with self.database.transaction():
            self.incidents.put(incident)
            if look is not None:
                self.incidents.add_look(incident.id, *look)
            names = tuple(sinks)
            for message in messages:
                self.outbox.put(message, names, self._clock())
            self.vms.flush()

    def prune(self, settings: StoreSettings, now: float | None = None) -> int:
        """Delete what need not be kept any longer, a bounded number at once; return how many.

        To be called from time to time (hourly), and again as long as it deletes much.
        """
        now = self._clock() if now is None else now
        self.vms.flush()
        with self.database.transaction():
            deleted = self.incidents.prune(now - settings.incident_age, settings.incidents)
            deleted += self.outbox.prune(now - settings.message_age)
            deleted += self.notifications.prune(
                now - settings.notification_age, settings.notifications
            )
            deleted += self.alarms.prune(now - settings.alarm_age)
            deleted += self.vms.prune(settings.vms)
        self.database.shrink()
        return deleted

    def close(self) -> None:
        """Close the file; may be called again."""
        if self.database.opened:
            with contextlib.suppress(StoreError):  # hints only
                self.vms.flush()
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
