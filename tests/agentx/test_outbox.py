"""The queue of notifications: none lost that fits, none twice that was answered."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vmmib.agentx.outbox import MAX_IN_FLIGHT, MAX_NOT_OPEN, Notification, Outbox
from vmmib.agentx.pdu import ErrorStatus, ValueType, VarBind

TRAP_OID = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def _add(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    info = warning = error = _add

    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


def note(number: int) -> Notification:
    return Notification("", (VarBind(TRAP_OID, ValueType.OBJECT_IDENTIFIER, (1, 3, number)),))


def send_all(outbox: Outbox, packets: range) -> list[Notification]:
    """Send while something is to be sent; packet IDs are taken in order."""
    sent = []
    for packet in packets:
        one = outbox.next()
        if one is None:
            break
        outbox.sending(packet)
        sent.append(one)
    return sent


def test_the_oldest_that_wait_are_dropped_and_it_is_said_once() -> None:
    log = Log()
    outbox = Outbox(3, log)
    for number in range(10):
        outbox.put(note(number))
    assert len(outbox) == 3
    assert outbox.dropped == 7
    assert log.events() == ["notifications_dropped"]
    assert send_all(outbox, range(10)) == [note(7), note(8), note(9)]
    assert log.lines[-1] == ("notifications_flow_again", {"dropped": 7})
    for number in range(20, 30):
        outbox.put(note(number))
    assert log.events().count("notifications_dropped") == 2


def test_only_so_many_are_under_way() -> None:
    outbox = Outbox(1000, Log())
    for number in range(MAX_IN_FLIGHT + 5):
        outbox.put(note(number))
    assert len(send_all(outbox, range(1000))) == MAX_IN_FLIGHT
    outbox.answered(0, ErrorStatus.NO_ERROR)
    assert outbox.next() == note(MAX_IN_FLIGHT)
    outbox.sending(2000)
    assert outbox.next() is None
    assert outbox.next(final=True) == note(MAX_IN_FLIGHT + 1)


def test_unanswered_ones_are_sent_again_in_order() -> None:
    outbox = Outbox(10, Log())
    for number in range(5):
        outbox.put(note(number))
    send_all(outbox, range(4))
    outbox.answered(1, ErrorStatus.NO_ERROR)
    outbox.session_lost()
    outbox.answered(2, ErrorStatus.NO_ERROR)  # of the lost session: means nothing now
    assert send_all(outbox, range(10, 20)) == [note(0), note(2), note(3), note(4)]


def test_an_error_is_final_and_said() -> None:
    log = Log()
    outbox = Outbox(10, log)
    outbox.put(note(1))
    send_all(outbox, range(1))
    outbox.answered(0, ErrorStatus.PROCESSING_ERROR)
    assert (outbox.rejected, outbox.sent, len(outbox)) == (1, 0, 0)
    assert log.lines == [
        (
            "notification_rejected",
            {"notification": "1.3.1", "context": "", "error": "processingError"},
        )
    ]


def test_not_open_is_no_error_of_the_notification_for_a_while() -> None:
    outbox = Outbox(10, Log())
    outbox.put(note(1))
    for attempt in range(MAX_NOT_OPEN):
        assert outbox.rejected == 0
        assert send_all(outbox, range(attempt, attempt + 1)) == [note(1)]
        outbox.answered(attempt, ErrorStatus.NOT_OPEN)
        outbox.session_lost()
    assert outbox.rejected == 1
    assert len(outbox) == 0


def test_what_cannot_be_sent_is_forgotten() -> None:
    outbox = Outbox(10, Log())
    outbox.put(note(1))
    outbox.put(note(2))
    outbox.invalid()
    assert outbox.next() == note(2)
    assert outbox.rejected == 1


def test_a_notification_knows_its_type() -> None:
    assert note(5).trap_oid == "1.3.5"
    assert Notification("", ()).trap_oid == ""


@given(st.integers(1, 5), st.lists(st.sampled_from(["put", "send", "ok", "error", "lost"])))
def test_every_notification_ends_in_one_counter(limit: int, steps: list[str]) -> None:
    outbox, made, packet = Outbox(limit, Log()), 0, 0
    flying: list[int] = []
    for step in steps:
        if step == "put":
            outbox.put(note(made))
            made += 1
        elif step == "send" and outbox.next() is not None:
            outbox.sending(packet)
            flying.append(packet)
            packet += 1
        elif step in ("ok", "error") and flying:
            error = ErrorStatus.NO_ERROR if step == "ok" else ErrorStatus.GEN_ERR
            outbox.answered(flying.pop(0), error)
        elif step == "lost":
            outbox.session_lost()
            flying.clear()
        assert made == len(outbox) + outbox.sent + outbox.dropped + outbox.rejected
        assert len(outbox) <= limit + MAX_IN_FLIGHT
