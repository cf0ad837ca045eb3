"""What is kept beside incidents: received notifications, where VMs were seen, small state."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from triage.evidence import VmNotification
from triage.snmp.index import Place
from triage.store.database import Database

_BATCH = 5000
"""Rows deleted at once."""


class Notifications:
    """Notifications of VM-MIB as they were received."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, notification: VmNotification) -> None:
        """Keep one."""
        self._database.run(
            "INSERT INTO notifications (time, hypervisor, uuid, record) VALUES (?, ?, ?, ?)",
            (
                notification.time,
                notification.hypervisor,
                notification.uuid,
                msgspec.json.encode(notification),
            ),
        )

    def between(self, start: float, end: float, limit: int = 1000) -> list[VmNotification]:
        """Return those received in a span of time (both ends included), oldest first.

        With more than `limit` the newest are given.
        """
        rows = self._database.all(
            "SELECT record FROM notifications WHERE time BETWEEN ? AND ?"
            " ORDER BY time DESC, seq DESC LIMIT ?",
            (start, end, limit),
        )
        return [msgspec.json.decode(row[0], type=VmNotification) for row in reversed(rows)]

    def prune(self, before: float, most: int) -> int:
        """Delete those received before a time, and the oldest beyond a number."""
        old = self._database.run(
            "DELETE FROM notifications WHERE seq IN"
            " (SELECT seq FROM notifications WHERE time < ? LIMIT ?)",
            (before, _BATCH),
        )
        excess = max(0, self._database.one("SELECT count(*) FROM notifications")[0] - most)
        return old + self._database.run(
            "DELETE FROM notifications WHERE seq IN"
            " (SELECT seq FROM notifications ORDER BY time, seq LIMIT ?)",
            (min(excess, _BATCH),),
        )


class VmIndex:
    """Where VMs were seen last: `triage.snmp.index.VmIndex`, kept over restarts.

    All of it is in memory, so that the event loop may ask and tell it; `flush` writes what is new.
    A crash costs the newest hints, and a walk each.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._dirty: set[str] = set()
        self._places: dict[str, Place] = {}
        self._seen: dict[str, float] = {}
        for uuid, hypervisor, index, seen in database.all(
            "SELECT uuid, hypervisor, vm_index, seen_at FROM vms"
        ):
            self._places[uuid] = Place(hypervisor, index)
            self._seen[uuid] = seen

    def get(self, uuid: str) -> Place | None:
        """Return the place of a canonical UUID, None when it was never seen."""
        return self._places.get(uuid)

    def put(self, uuid: str, place: Place) -> None:
        """Keep a place."""
        with self._lock:
            self._places[uuid] = place
            self._seen[uuid] = self._clock()
            self._dirty.add(uuid)

    def flush(self) -> None:
        """Write what is new."""
        with self._lock:
            dirty, self._dirty = self._dirty, set()
            rows = [(one, self._places[one], self._seen[one]) for one in dirty]
        if not rows:
            return
        with self._database.transaction():
            for uuid, place, seen in rows:
                self._database.run(
                    "INSERT INTO vms (uuid, hypervisor, vm_index, seen_at) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (uuid) DO UPDATE SET hypervisor = excluded.hypervisor,"
                    " vm_index = excluded.vm_index, seen_at = excluded.seen_at",
                    (uuid, place.hypervisor, place.vm_index, seen),
                )

    def prune(self, most: int) -> int:
        """Forget those that changed their place longest ago, beyond a number."""
        with self._lock:
            excess = len(self._places) - most
            doomed = sorted(self._seen, key=lambda uuid: self._seen[uuid])[: max(0, excess)]
            for uuid in doomed:
                del self._places[uuid], self._seen[uuid]
                self._dirty.discard(uuid)
        for uuid in doomed:
            self._database.run("DELETE FROM vms WHERE uuid = ?", (uuid,))
        return len(doomed)


class State:
    """Small values by name, such as how far a log was read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> bytes | None:
        """Return a value, None when there is none."""
        rows = self._database.all("SELECT value FROM state WHERE key = ?", (key,))
        return bytes(rows[0][0]) if rows else None

    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""
        self._database.run(
            "INSERT INTO state (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def delete(self, key: str) -> None:
        """Forget a value."""
        self._database.run("DELETE FROM state WHERE key = ?", (key,))
