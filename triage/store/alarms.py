"""Alarms of the hypervisors' logs, and the incidents that told whether they were real."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from triage.evidence import SyslogKind
from triage.store.database import Database
from triage.syslog.confirm import (
    Alarm,
    AlarmPeriod,
    AlarmState,
    Confirmation,
    periods,
)

DAY = 86400.0
_BATCH = 5000
"""Rows deleted at once."""
_COLUMNS = (
    "seq, hypervisor, host, kind, start_at, end_at, score, summary, raised_at, state, incident,"
    " rescored, settled_at"
)


class Alarms:
    """The tables `syslog_alarms` and `syslog_incidents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, alarm: Alarm) -> Alarm:
        """Keep a new one; return it with its id."""
        with self._database.transaction():
            self._database.run(
                "INSERT INTO syslog_alarms (hypervisor, host, kind, start_at, end_at, score,"
                " summary, raised_at, state, incident, rescored, settled_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                _values(alarm),
            )
            number: int = self._database.one("SELECT last_insert_rowid()")[0]
        return _alarm((number, *_values(alarm)))

    def put(self, alarm: Alarm) -> None:
        """Store one that is known as it is now."""
        self._database.run(
            "UPDATE syslog_alarms SET hypervisor = ?, host = ?, kind = ?, start_at = ?, end_at = ?,"
            " score = ?, summary = ?, raised_at = ?, state = ?, incident = ?, rescored = ?,"
            " settled_at = ? WHERE seq = ?",
            (*_values(alarm), alarm.id),
        )

    def find(
        self,
        *,
        states: Iterable[AlarmState] = tuple(AlarmState),
        since: float | None = None,
        until: float | None = None,
        limit: int = 100_000,
    ) -> list[Alarm]:
        """Return alarms that lasted into a span of time, the newest `limit`, oldest first."""
        names = [one.value for one in states]
        marks = ", ".join("?" * len(names))
        where = [f"state IN ({marks})"]
        values: list[Any] = list(names)
        if since is not None:
            where.append("end_at >= ?")
            values.append(since)
        if until is not None:
            where.append("start_at <= ?")
            values.append(until)
        rows = self._database.all(
            f"SELECT {_COLUMNS} FROM syslog_alarms WHERE {' AND '.join(where)}"  # noqa: S608 - ours
            " ORDER BY start_at DESC, seq DESC LIMIT ?",
            (*values, limit),
        )
        return [_alarm(row) for row in reversed(rows)]

    def settle(self, before: float, now: float) -> int:
        """Take open alarms that were over before a time for unconfirmed; return how many."""
        return self._database.run(
            "UPDATE syslog_alarms SET state = ?, settled_at = ? WHERE state = ? AND end_at < ?",
            (AlarmState.UNCONFIRMED, now, AlarmState.OPEN, before),
        )

    def add_incident(self, one: Confirmation, at: float) -> bool:
        """Keep that an incident confirmed a span of time; False when it is known already."""
        return bool(
            self._database.run(
                "INSERT INTO syslog_incidents (incident, hypervisors, began_at)"
                " VALUES (?, ?, ?) ON CONFLICT (incident) DO NOTHING",
                (one.incident, " ".join(one.hypervisors), at),
            )
        )

    def incidents(self, since: float | None = None) -> list[tuple[str, float]]:
        """Return the incidents that could confirm alarms, with when their outages began."""
        rows = self._database.all(
            "SELECT incident, began_at FROM syslog_incidents WHERE began_at >= ? ORDER BY began_at",
            (0.0 if since is None else since,),
        )
        return [(row[0], row[1]) for row in rows]

    def counts(self) -> dict[AlarmState, int]:
        """Return how many there are of each state."""
        rows = self._database.all("SELECT state, count(*) FROM syslog_alarms GROUP BY state")
        return {AlarmState(row[0]): row[1] for row in rows}

    def prune(self, before: float) -> int:
        """Delete what is older than a time."""
        old = self._database.run(
            "DELETE FROM syslog_alarms WHERE seq IN"
            " (SELECT seq FROM syslog_alarms WHERE end_at < ? AND state <> ? LIMIT ?)",
            (before, AlarmState.OPEN, _BATCH),
        )
        return old + self._database.run(
            "DELETE FROM syslog_incidents WHERE incident IN"
            " (SELECT incident FROM syslog_incidents WHERE began_at < ? LIMIT ?)",
            (before, _BATCH),
        )


def confirmed_precision(
    alarms: Alarms, *, since: float | None = None, length: float = 7 * DAY
) -> tuple[AlarmPeriod, ...]:
    """Return the alarm's precision over time, a period each `length` seconds, oldest first.

    Of the alarms that are settled, how many an incident confirmed: `AlarmPeriod.precision_at_least`
    is None where none is. Raises StoreError.
    """
    return periods(alarms.find(since=since), alarms.incidents(since), length)


def _values(one: Alarm) -> Sequence[Any]:
    return (
        one.hypervisor,
        one.host,
        one.kind.value,
        one.start,
        one.end,
        one.score,
        one.summary,
        one.raised_at,
        one.state.value,
        one.incident,
        one.rescored,
        one.settled_at,
    )


def _alarm(row: Sequence[Any]) -> Alarm:
    return Alarm(
        id=row[0],
        hypervisor=row[1],
        host=row[2],
        kind=SyslogKind(row[3]),
        start=row[4],
        end=row[5],
        score=row[6],
        summary=row[7],
        raised_at=row[8],
        state=AlarmState(row[9]),
        incident=row[10],
        rescored=row[11],
        settled_at=row[12],
    )
