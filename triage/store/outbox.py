"""The outbox: messages that have to reach sinks, kept until they did.

    waiting ---- the sink took it ----> done, or standing (it fires, and is re-sent)
       |                                   |
       |                                   +---- a newer message was taken ----> done
       +---- the sink refused it, or it is too old ----> dead ---- requeue ----> waiting
       +---- a newer one says all that it would say ----> superseded

Rules
- A message is here, for each sink, before anybody tries to send it, and in the same transaction as
  the incident's change that it tells of.
- (sink, id) is unique: what is put twice is there once, whatever has become of it.
- `begin` is committed before an attempt. So after a crash it is known that the sink may have it
  (`uncertain`), and that its repeat has to say so.
- What is done with stays for a while: it says who was told what, and when.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from triage.alerts.message import AlertMessage, encode
from triage.incidents import AlertKind
from triage.store.database import Database

WAITING, STANDING, DONE, DEAD, SUPERSEDED = "waiting", "standing", "done", "dead", "superseded"
_BATCH = 5000
_MAX_ERROR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A message for one sink, without its body."""

    seq: int
    id: str
    incident: str
    number: int
    event: str
    state: str
    attempts: int
    uncertain: bool
    """An attempt ended without an answer: the sink may have it."""
    queued_at: float
    next_at: float
    """Not to be sent before."""
    delivered_at: float | None
    """When it was first taken."""

    @property
    def firing(self) -> bool:
        """Whether it tells that the incident goes on."""
        return self.event != AlertKind.RESOLVED


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that a sink will not get unless it is re-queued."""

    seq: int
    id: str
    sink: str
    incident: str
    event: str
    attempts: int
    queued_at: float
    died_at: float
    error: str
    """Why, in the sink's own words where it gave some."""


class Outbox:
    """The table `outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, message: AlertMessage, sinks: Collection[str], now: float) -> None:
        """Let a message wait for sinks; those that have it already are left alone."""
        body = encode(message)
        for sink in sinks:
            self._database.run(
                "INSERT INTO outbox (id, sink, incident, number, event, body, queued_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sink, id) DO NOTHING",
                (
                    message.id,
                    sink,
                    message.incident,
                    message.number,
                    str(message.event),
                    body,
                    now,
                ),
            )

    def active(self, sink: str) -> list[OutboxRow]:
        """Return what waits for a sink or stands there, by incident and number."""
        rows = self._database.all(
            "SELECT seq, id, incident, number, event, state, attempts, uncertain, queued_at,"
            " next_at, delivered_at FROM outbox"
            " WHERE sink = ? AND state IN ('waiting', 'standing') ORDER BY incident, number",
            (sink,),
        )
        return [
            OutboxRow(
                seq=row[0],
                id=row[1],
                incident=row[2],
                number=row[3],
                event=row[4],
                state=row[5],
                attempts=row[6],
                uncertain=bool(row[7]),
                queued_at=row[8],
                next_at=row[9],
                delivered_at=row[10],
            )
            for row in rows
        ]

    def body(self, seq: int) -> bytes | None:
        """Return a message as it was put, None when it is gone."""
        rows = self._database.all("SELECT body FROM outbox WHERE seq = ?", (seq,))
        return bytes(rows[0][0]) if rows else None

    # What becomes of a message

    def begin(self, seq: int) -> None:
        """Note that an attempt begins: from now on the sink may have it."""
        self._database.run(
            "UPDATE outbox SET attempts = attempts + 1, uncertain = 1 WHERE seq = ?", (seq,)
        )

    def delivered(self, seq: int, now: float, again_at: float | None) -> None:
        """Note that the sink took it; `again_at`: it stands there and is re-sent then.

        What stood there of the same incident is done.
        """
        with self._database.transaction():
            self._database.run(
                "UPDATE outbox SET state = 'done', ended_at = ? WHERE state = 'standing'"
                " AND seq <> ? AND (sink, incident) ="
                " (SELECT sink, incident FROM outbox WHERE seq = ?)",
                (now, seq, seq),
            )
            self._database.run(
                "UPDATE outbox SET state = ?, uncertain = 0, attempts = max(attempts, 1),"
                " delivered_at = coalesce(delivered_at, ?), next_at = ?, ended_at = ?, error = ''"
                " WHERE seq = ?",
                (
                    DONE if again_at is None else STANDING,
                    now,
                    now if again_at is None else again_at,
                    now if again_at is None else None,
                    seq,
                ),
            )

    def failed(self, seq: int, next_at: float, error: str, *, uncertain: bool) -> None:
        """Note that an attempt failed, and when the next one is due.

        `uncertain`: the sink may have it. What an earlier attempt left uncertain stays so.
        """
        self._database.run(
            "UPDATE outbox SET next_at = ?, error = ?, uncertain = ? WHERE seq = ?",
            (next_at, error[:_MAX_ERROR], uncertain, seq),
        )

    def die(self, seq: int, now: float, error: str) -> None:
        """Note that it will not be sent any more."""
        self._database.run(
            "UPDATE outbox SET state = 'dead', ended_at = ?, error = ? WHERE seq = ?",
            (now, error[:_MAX_ERROR], seq),
        )

    def supersede(self, seqs: Sequence[int], now: float) -> None:
        """Note that newer messages say all that these would have said."""
        with self._database.transaction():
            for seq in seqs:
                self._database.run(
                    "UPDATE outbox SET state = 'superseded', ended_at = ? WHERE seq = ?",
                    (now, seq),
                )

    def abandon(self, sinks: Collection[str], now: float) -> int:
        """Give up what waits for sinks other than these: nobody would ever send it."""
        with self._database.transaction():
            known = {
                row[0]
                for row in self._database.all(
                    "SELECT DISTINCT sink FROM outbox WHERE state IN ('waiting', 'standing')"
                )
            }
            count = 0
            for sink in known - set(sinks):
                self._database.run(
                    "UPDATE outbox SET state = 'done', ended_at = ?"
                    " WHERE sink = ? AND state = 'standing'",
                    (now, sink),
                )
                count += self._database.run(
                    "UPDATE outbox SET state = 'dead', ended_at = ?, error = ?"
                    " WHERE sink = ? AND state = 'waiting'",
                    (now, f"no sink {sink} is configured any more", sink),
                )
        return count

    # Looking at it

    def dead_letters(self, limit: int = 1000) -> list[DeadLetter]:
        """Return what will not be sent, newest first."""
        rows = self._database.all(
            "SELECT seq, id, sink, incident, event, attempts, queued_at, ended_at, error"
            " FROM outbox WHERE state = 'dead' ORDER BY ended_at DESC, seq DESC LIMIT ?",
            (limit,),
        )
        return [
            DeadLetter(
                seq=row[0],
                id=row[1],
                sink=row[2],
                incident=row[3],
                event=row[4],
                attempts=row[5],
                queued_at=row[6],
                died_at=row[7],
                error=row[8],
            )
            for row in rows
        ]

    def requeue(
        self, now: float, *, seqs: Collection[int] | None = None, sink: str | None = None
    ) -> int:
        """Let dead letters wait again: those of `seqs`, of one sink, or all; return how many.

        Only in the order of their numbers: a sink that has a later message of the incident and
        takes each for the newest (Alertmanager) gets no earlier one any more; see `planning`.
        """
        count = 0
        with self._database.transaction():
            for letter in self.dead_letters(limit=1_000_000):
                if (seqs is None or letter.seq in seqs) and sink in (None, letter.sink):
                    count += self._database.run(
                        "UPDATE outbox SET state = 'waiting', attempts = 0, next_at = 0,"
                        " queued_at = ?, ended_at = NULL, error = '' WHERE seq = ?",
                        (now, letter.seq),
                    )
        return count

    def newest_taken(self, sink: str, incident: str) -> int:
        """Return the highest number of an incident's messages that a sink took; 0: none."""
        number: int = self._database.one(
            "SELECT coalesce(max(number), 0) FROM outbox"
            " WHERE sink = ? AND incident = ? AND delivered_at IS NOT NULL",
            (sink, incident),
        )[0]
        return number

    def of_incident(self, incident: str) -> list[tuple[str, str, str, str, float | None, str]]:
        """Return who was told what: (id, event, sink, state, delivered at or None, last error)."""
        rows = self._database.all(
            "SELECT id, event, sink, state, delivered_at, error FROM outbox WHERE incident = ?"
            " ORDER BY number, sink",
            (incident,),
        )
        return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many messages there are, by sink and state; for metrics."""
        rows = self._database.all("SELECT sink, state, count(*) FROM outbox GROUP BY sink, state")
        return {(sink, state): count for sink, state, count in rows}

    def prune(self, before: float) -> int:
        """Delete what was done with before a time, a bounded number at once."""
        return self._database.run(
            "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE ended_at < ? LIMIT ?)",
            (before, _BATCH),
        )
