"""Incidents and their looks: each record as JSON, and beside it what queries go by."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from triage.evidence import Evidence, Verdict
from triage.incidents import Incident
from triage.store.database import Database, StoreError

_MAX_EVIDENCE = 64 * 1024 * 1024
"""Octets of one evidence; what is larger was not written by us."""
_BATCH = 500
"""Incidents deleted at once."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLook:
    """One look: what was decided, and on what."""

    number: int
    verdict: Verdict
    evidence: Evidence


class Incidents:
    """The tables `incidents` and `looks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, incident: Incident) -> None:
        """Store an incident as it is now."""
        self._database.run(
            "INSERT INTO incidents (id, target, status, open, cause, severity, opened_at,"
            " closed_at, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " target = excluded.target, status = excluded.status, open = excluded.open,"
            " cause = excluded.cause, severity = excluded.severity,"
            " opened_at = excluded.opened_at, closed_at = excluded.closed_at,"
            " record = excluded.record",
            (
                incident.id,
                incident.target,
                incident.status,
                incident.open,
                incident.best.cause if incident.best else "",
                incident.severity,
                incident.opened_at,
                incident.closed_at,
                _json(incident),
            ),
        )

    def add_look(self, incident: str, verdict: Verdict, evidence: Evidence) -> int:
        """Store a look at an incident; return its number, from 1."""
        with self._database.transaction():
            number: int = self._database.one(
                "SELECT coalesce(max(number), 0) + 1 FROM looks WHERE incident = ?", (incident,)
            )[0]
            self._database.run(
                "INSERT INTO looks (incident, number, decided_at, verdict, evidence)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    incident,
                    number,
                    verdict.decided_at,
                    _json(verdict),
                    zlib.compress(_json(evidence)),
                ),
            )
        return number

    def get(self, incident: str) -> Incident | None:
        """Return an incident by its id, None when there is none."""
        rows = self._database.all("SELECT record FROM incidents WHERE id = ?", (incident,))
        return self._read(rows[0][0], Incident) if rows else None

    def starting_with(self, prefix: str, limit: int = 10) -> list[str]:
        """Return the ids that begin so, newest first: people type a part of them."""
        escaped = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        rows = self._database.all(
            "SELECT id FROM incidents WHERE id LIKE ? ESCAPE '\\' ORDER BY opened_at DESC LIMIT ?",
            (escaped + "%", limit),
        )
        return [row[0] for row in rows]

    def latest(self) -> dict[str, Incident]:
        """Return each target's latest incident, open or closed: what the service goes on from."""
        rows = self._database.all(
            "SELECT record FROM incidents AS one WHERE NOT EXISTS (SELECT 1 FROM incidents AS other"
            " WHERE other.target = one.target AND (other.opened_at, other.id)"
            " > (one.opened_at, one.id))"
        )
        found = [self._read(row[0], Incident) for row in rows]
        return {incident.target: incident for incident in found}

    def find(
        self,
        *,
        target: str | None = None,
        open_only: bool = False,
        since: float | None = None,
        limit: int = 100,
    ) -> list[Incident]:
        """Return incidents, newest first; `since`: opened then or later."""
        where, values = ["1"], list[str | float]()
        if target is not None:
            where.append("target = ?")
            values.append(target)
        if open_only:
            where.append("open")
        if since is not None:
            where.append("opened_at >= ?")
            values.append(since)
        rows = self._database.all(
            f"SELECT record FROM incidents WHERE {' AND '.join(where)}"  # noqa: S608 - ours
            " ORDER BY opened_at DESC, id DESC LIMIT ?",
            (*values, limit),
        )
        return [self._read(row[0], Incident) for row in rows]

    def looks(self, incident: str) -> list[StoredLook]:
        """Return the looks at an incident, oldest first."""
        rows = self._database.all(
            "SELECT number, verdict, evidence FROM looks WHERE incident = ? ORDER BY number",
            (incident,),
        )
        return [self._look(*row) for row in rows]

    def last_look(self, incident: str) -> StoredLook | None:
        """Return the newest look at an incident, None when there was none."""
        rows = self._database.all(
            "SELECT number, verdict, evidence FROM looks WHERE incident = ?"
            " ORDER BY number DESC LIMIT 1",
            (incident,),
        )
        return self._look(*rows[0]) if rows else None

    def prune(self, closed_before: float, most: int) -> int:
        """Delete closed incidents: those closed before a time, and the oldest beyond a number.

        One whose messages still wait is kept until they are delivered or dead.
        """
        excess = max(0, self._database.one("SELECT count(*) FROM incidents")[0] - most)
        settled = (
            "NOT open AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.incident = incidents.id"
            " AND outbox.state IN ('waiting', 'standing'))"
        )
        rows = self._database.all(
            f"SELECT id FROM incidents WHERE closed_at < ? AND {settled} LIMIT ?",  # noqa: S608
            (closed_before, _BATCH),
        ) + self._database.all(
            f"SELECT id FROM incidents WHERE {settled} ORDER BY opened_at LIMIT ?",  # noqa: S608
            (min(excess, _BATCH),),
        )
        doomed = {row[0] for row in rows}
        for incident in doomed:
            self._database.run("DELETE FROM incidents WHERE id = ?", (incident,))
        return len(doomed)

    def _look(self, number: int, verdict: bytes, evidence: bytes) -> StoredLook:
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(evidence, _MAX_EVIDENCE)
        except zlib.error as error:
            raise self._unreadable(error) from None
        return StoredLook(
            number=number,
            verdict=self._read(verdict, Verdict),
            evidence=self._read(plain, Evidence),
        )

    def _read(self, data: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> StoreError:
        return StoreError(
            f"the state file {self._database.path} has a record that this release cannot read"
            f" ({' '.join(str(error).split())[:200]})"
        )


def _json(record: object) -> bytes:
    """Return a record as JSON; lone surrogates, which UTF-8 cannot carry, are escaped."""
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        return msgspec.json.encode(_utf8(msgspec.to_builtins(record)))


def _utf8(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case list() | tuple():
            return [_utf8(one) for one in value]
        case dict():
            return {_utf8(key): _utf8(one) for key, one in value.items()}
    return value
