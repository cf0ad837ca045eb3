"""Which message goes to a sink next: a pure function of what waits for it.

Rules
- Of each incident one message at a time, in the order of their numbers: the next one waits until
  the sink took the one before it or never will.
- A sink that keeps (it `resend`s: Alertmanager) is told the newest state only. A waiting message is
  superseded by a later one that fires; the last firing one before the end is not, unless the sink
  knows of the incident already, for otherwise nobody would ever hear of it. One that the sink may
  have is not superseded: what it raised there must be replaced knowingly.
- What such a sink took stands and is re-sent, until a later message is taken.
- Its end follows `hold` seconds after it was first taken, at the earliest.
- A time that lies further ahead than any wait can last comes from a clock that was set back since:
  it counts as now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from triage.alerts.errors import LONGEST_RETRY_AFTER
from triage.store.outbox import STANDING, WAITING, OutboxRow

_LONGEST_WAIT = LONGEST_RETRY_AFTER + 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A message that may go, and when."""

    row: OutboxRow
    standing: OutboxRow | None
    """What stands at the sink of the same incident, when it is another message."""
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done for one sink."""

    due: tuple[Due, ...]
    """At most one for each incident, earliest first."""
    superseded: tuple[int, ...]
    """`seq` of those that need not be sent."""


def plan(rows: Iterable[OutboxRow], now: float, *, resend: float | None, hold: float) -> Plan:
    """Return what is to be sent when, of the rows of one sink ordered by incident and number."""
    due: list[Due] = []
    superseded: list[int] = []
    for _, group in groupby(rows, key=lambda row: row.incident):
        mine = list(group)
        waiting = [row for row in mine if row.state == WAITING]
        standing = max(
            (row for row in mine if row.state == STANDING), key=lambda row: row.number, default=None
        )
        if resend is not None:
            waiting, gone = _newest(waiting, standing)
            superseded += [row.seq for row in gone]
        if (one := _next(waiting, standing, now, hold)) is not None:
            due.append(one)
    return Plan(due=tuple(sorted(due, key=lambda one: one.at)), superseded=tuple(superseded))


def _newest(
    waiting: list[OutboxRow], standing: OutboxRow | None
) -> tuple[list[OutboxRow], list[OutboxRow]]:
    """Split what waits into what has to be sent and what is superseded."""
    kept: list[OutboxRow] = []
    gone: list[OutboxRow] = []
    for row, later in zip(waiting, [*waiting[1:], None], strict=False):
        outdated = standing is not None and row.number < standing.number
        replaced = later is not None and (later.firing or standing is not None)
        (gone if outdated or (replaced and not row.uncertain) else kept).append(row)
    return kept, gone


def _next(
    waiting: list[OutboxRow], standing: OutboxRow | None, now: float, hold: float
) -> Due | None:
    again = None
    if standing is not None:
        again = Due(row=standing, standing=None, at=_sane(standing.next_at, now))
    if not waiting:
        return again
    head = waiting[0]
    at = _sane(head.next_at, now)
    if standing is not None and not head.firing:
        at = max(at, _held(standing, now, hold))
    if again is not None and at > now and again.at < at:
        return again  # it must not lapse while its successor waits
    return Due(row=head, standing=standing, at=at)


def _held(standing: OutboxRow, now: float, hold: float) -> float:
    taken = standing.delivered_at
    if taken is None or taken > now:
        return now
    return taken + hold


def _sane(at: float, now: float) -> float:
    return now if at > now + _LONGEST_WAIT else at
