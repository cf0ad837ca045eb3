from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from triage.alerts.planning import Plan, plan
from triage.store.outbox import STANDING, WAITING, OutboxRow

NOW = 1_000_000.0


def row(
    number: int,
    event: str = "firing",
    state: str = WAITING,
    incident: str = "i",
    *,
    next_at: float = 0.0,
    uncertain: bool = False,
    delivered_at: float | None = None,
) -> OutboxRow:
    return OutboxRow(
        seq=number + 1000 * ord(incident[0]),
        id=f"{incident}.{number}",
        incident=incident,
        number=number,
        event=event,
        state=state,
        attempts=0,
        uncertain=uncertain,
        queued_at=NOW,
        next_at=next_at,
        delivered_at=delivered_at,
    )


def every(*rows: OutboxRow) -> Plan:
    """For a sink to which every message counts."""
    return plan(rows, NOW, resend=None, hold=0.0)


def newest(*rows: OutboxRow, hold: float = 100.0) -> Plan:
    """For a sink that keeps the newest state."""
    return plan(rows, NOW, resend=60.0, hold=hold)


def sent(plan: Plan) -> list[tuple[int, bool]]:
    return [(one.row.number, one.at <= NOW) for one in plan.due]


def numbers(plan: Plan) -> list[int]:
    return [seq % 1000 for seq in plan.superseded]


def test_messages_of_an_incident_go_one_after_another() -> None:
    made = every(row(1), row(2, "updated"), row(3, "resolved"))
    assert sent(made) == [(1, True)]
    assert made.superseded == ()


def test_a_message_that_waits_holds_up_its_own_incident_only() -> None:
    made = every(row(1, next_at=NOW + 9), row(2, "updated"), row(3, incident="other"))
    assert sent(made) == [(3, True), (1, False)]


def test_a_later_state_supersedes_an_earlier_one() -> None:
    made = newest(row(1), row(2, "updated"), row(3, "updated"))
    assert sent(made) == [(3, True)]
    assert numbers(made) == [1, 2]


def test_an_incident_that_nobody_heard_of_is_told_before_its_end() -> None:
    made = newest(row(1), row(2, "updated"), row(3, "resolved"))
    assert sent(made) == [(2, True)]
    assert numbers(made) == [1]


def test_what_the_sink_may_have_is_not_superseded() -> None:
    made = newest(row(1, uncertain=True), row(2, "updated"), row(3, "updated"))
    assert sent(made) == [(1, True)]
    assert numbers(made) == [2]


def test_what_stands_is_sent_again_and_goes_with_its_successor() -> None:
    standing = row(1, state=STANDING, next_at=NOW + 60, delivered_at=NOW)
    assert sent(newest(standing)) == [(1, False)]
    made = newest(standing, row(2, "updated"))
    assert sent(made) == [(2, True)]
    assert made.due[0].standing == standing


def test_the_end_waits_while_what_stands_is_sent_again() -> None:
    standing = row(1, state=STANDING, next_at=NOW + 10, delivered_at=NOW - 30)
    made = newest(standing, row(2, "resolved"))
    assert [(one.row.number, one.at - NOW) for one in made.due] == [(1, 10)]
    late = row(1, state=STANDING, next_at=NOW + 10, delivered_at=NOW - 101)
    assert sent(newest(late, row(2, "resolved"))) == [(2, True)]


def test_a_requeued_message_does_not_bring_an_older_state_back() -> None:
    standing = row(2, state=STANDING, next_at=NOW + 60, delivered_at=NOW)
    made = newest(row(1), standing)
    assert numbers(made) == [1]


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    far = NOW + 10 * 86400
    assert sent(every(row(1, next_at=far))) == [(1, True)]
    standing = row(1, state=STANDING, next_at=far, delivered_at=far)
    assert sent(newest(standing)) == [(1, True)]
    assert sent(newest(standing, row(2, "resolved"))) == [(2, True)]


ROWS = st.lists(
    st.builds(
        row,
        st.integers(1, 9),
        st.sampled_from(["firing", "updated", "resolved"]),
        st.sampled_from([WAITING, STANDING]),
        st.sampled_from(["a", "b"]),
        next_at=st.floats(0, 2 * NOW),
        uncertain=st.booleans(),
        delivered_at=st.none() | st.floats(0, 2 * NOW),
    ),
    max_size=10,
    unique_by=lambda one: (one.incident, one.number),
).map(lambda rows: sorted(rows, key=lambda one: (one.incident, one.number)))


@settings(max_examples=300, deadline=None)
@given(ROWS, st.sampled_from([None, 60.0]))
def test_rules_that_always_hold(rows: list[OutboxRow], resend: float | None) -> None:
    made = plan(rows, NOW, resend=resend, hold=300.0)
    incidents = [one.row.incident for one in made.due]
    assert len(set(incidents)) == len(incidents)  # one at a time
    assert [one.at for one in made.due] == sorted(one.at for one in made.due)
    assert not {one.row.seq for one in made.due} & set(made.superseded)
    for incident in {one.incident for one in rows}:
        mine = [one for one in rows if one.incident == incident]
        assert incident in incidents or all(one.seq in made.superseded for one in mine)
        if resend is None:
            first = next((one for one in mine if one.state == WAITING), None)
            due = next(one for one in made.due if one.row.incident == incident)
            assert first is None or due.row in (first, *[o for o in mine if o.state == STANDING])
