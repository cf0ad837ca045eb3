"""SET: whatever the master does, a handler sees whole transactions, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmib.agentx.pdu import (
    CleanupSet,
    CommitSet,
    ErrorStatus,
    Get,
    Pdu,
    TestSet,
    UndoSet,
    ValueType,
    VarBind,
)
from vmmib.agentx.transaction import ReadOnly, Transactions

A = VarBind((1, 1), ValueType.INTEGER, 1)
B = VarBind((1, 2), ValueType.INTEGER, 2)
OK = (ErrorStatus.NO_ERROR, 0)


class Handler:
    """Writes down what it is asked; fails as told."""

    def __init__(self, fail: str = "") -> None:
        self.calls: list[str] = []
        self.fail = fail

    def test(self, context: str, varbinds: Sequence[VarBind]) -> tuple[ErrorStatus, int]:
        self.calls.append(f"test {context}{[one.value for one in varbinds]}")
        if self.fail == "raise":
            raise RuntimeError("a fault")
        return (ErrorStatus.WRONG_VALUE, len(varbinds)) if self.fail == "test" else OK

    def commit(self) -> ErrorStatus:
        self.calls.append("commit")
        return ErrorStatus.COMMIT_FAILED if self.fail == "commit" else ErrorStatus.NO_ERROR

    def undo(self) -> ErrorStatus:
        self.calls.append("undo")
        return ErrorStatus.UNDO_FAILED if self.fail == "undo" else ErrorStatus.NO_ERROR

    def cleanup(self) -> None:
        self.calls.append("cleanup")


def a_test(transaction: int = 1, packet: int = 1, varbinds: tuple[VarBind, ...] = (A,)) -> TestSet:
    return TestSet(transaction_id=transaction, packet_id=packet, varbinds=varbinds, context="c")


def run(handler: Handler, *requests: Pdu) -> list[tuple[ErrorStatus, int] | None]:
    sets = Transactions(handler)
    return [sets.handle(request) for request in requests]


def test_success() -> None:
    handler = Handler()
    ids = {"transaction_id": 1}
    assert run(handler, a_test(), CommitSet(**ids), CleanupSet(**ids)) == [OK, OK, None]
    assert handler.calls == ["test c[1]", "commit", "cleanup"]


def test_refused() -> None:
    handler = Handler("test")
    answers = run(
        handler, a_test(varbinds=(A, B)), CommitSet(transaction_id=1), CleanupSet(transaction_id=1)
    )
    assert answers == [(ErrorStatus.WRONG_VALUE, 2), (ErrorStatus.COMMIT_FAILED, 1), None]
    assert handler.calls == ["test c[1, 2]", "cleanup"]


def test_another_subagent_refused() -> None:
    handler = Handler()
    run(handler, a_test(), CleanupSet(transaction_id=1))
    assert handler.calls == ["test c[1]", "cleanup"]


def test_another_subagent_failed_to_commit() -> None:
    handler = Handler()
    ids = {"transaction_id": 1}
    assert run(handler, a_test(), CommitSet(**ids), UndoSet(**ids)) == [OK, OK, OK]
    assert handler.calls == ["test c[1]", "commit", "undo", "cleanup"]


def test_commit_failed() -> None:
    handler = Handler("commit")
    ids = {"transaction_id": 1}
    answers = run(handler, a_test(), CommitSet(**ids), UndoSet(**ids), CleanupSet(**ids))
    assert answers == [OK, (ErrorStatus.COMMIT_FAILED, 1), OK, None]
    assert handler.calls == ["test c[1]", "commit", "undo", "cleanup"]


def test_undo_failed() -> None:
    handler = Handler("undo")
    ids = {"transaction_id": 1}
    assert run(handler, a_test(), CommitSet(**ids), UndoSet(**ids))[2] == (
        ErrorStatus.UNDO_FAILED,
        1,
    )
    assert handler.calls[-2:] == ["undo", "cleanup"]


def test_several_parts_are_one_transaction() -> None:
    handler = Handler()
    ids = {"transaction_id": 1}
    answers = run(
        handler,
        a_test(packet=1),
        a_test(packet=2, varbinds=(B,)),
        CommitSet(**ids, packet_id=3),
        CommitSet(**ids, packet_id=4),
        CleanupSet(**ids, packet_id=5),
        CleanupSet(**ids, packet_id=6),
    )
    assert answers == [OK, OK, OK, OK, None, None]
    assert handler.calls == ["test c[1]", "cleanup", "test c[1, 2]", "commit", "cleanup"]


def test_the_index_is_that_of_the_part() -> None:
    handler = Handler()
    sets = Transactions(handler)
    sets.handle(a_test(packet=1, varbinds=(A, A)))
    handler.fail = "test"
    assert sets.handle(a_test(packet=2, varbinds=(B,))) == (ErrorStatus.WRONG_VALUE, 1)


def test_a_repeated_request_changes_nothing() -> None:
    handler = Handler()
    ids = {"transaction_id": 1, "packet_id": 2}
    answers = run(handler, a_test(), a_test(), CommitSet(**ids), CommitSet(**ids), a_test())
    assert answers == [OK, OK, OK, OK, OK]
    assert handler.calls == ["test c[1]", "commit"]


def test_requests_of_no_transaction() -> None:
    handler = Handler()
    answers = run(
        handler,
        CommitSet(transaction_id=9),
        UndoSet(transaction_id=9),
        CleanupSet(transaction_id=9),
        CleanupSet(transaction_id=0),
        a_test(1),
        CommitSet(transaction_id=2),
        CleanupSet(transaction_id=2),
    )
    assert answers[:4] == [(ErrorStatus.COMMIT_FAILED, 1), (ErrorStatus.UNDO_FAILED, 1), None, None]
    assert answers[5] == (ErrorStatus.COMMIT_FAILED, 1)
    assert handler.calls == ["test c[1]"]


@pytest.mark.parametrize(
    ("fail", "left", "expected"),
    [
        ("", [], ["cleanup"]),
        ("", [CommitSet(transaction_id=1)], ["commit", "cleanup"]),
        ("commit", [CommitSet(transaction_id=1)], ["commit", "undo", "cleanup"]),
        ("test", [], ["cleanup"]),
    ],
)
@pytest.mark.parametrize("by_session_end", [True, False])
def test_left_hanging(
    fail: str, left: list[Pdu], expected: list[str], by_session_end: bool
) -> None:
    handler = Handler(fail)
    sets = Transactions(handler)
    for request in (a_test(1), *left):
        sets.handle(request)
    if by_session_end:
        sets.abandon()
        assert handler.calls == ["test c[1]", *expected]
    else:
        sets.handle(a_test(2))
        assert handler.calls == ["test c[1]", *expected, "test c[1]"]


def test_a_fault_leaves_a_transaction_that_ends_well() -> None:
    handler = Handler("raise")
    sets = Transactions(handler)
    with pytest.raises(RuntimeError):
        sets.handle(a_test())
    assert sets.handle(CommitSet(transaction_id=1)) == (ErrorStatus.COMMIT_FAILED, 1)
    sets.handle(CleanupSet(transaction_id=1))
    assert handler.calls == ["test c[1]", "cleanup"]


def test_read_only() -> None:
    sets = Transactions(ReadOnly())
    assert sets.handle(a_test()) == (ErrorStatus.NOT_WRITABLE, 1)
    sets.handle(CleanupSet(transaction_id=1))


def test_not_a_phase() -> None:
    with pytest.raises(TypeError):
        Transactions(ReadOnly()).handle(Get())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([TestSet, CommitSet, UndoSet, CleanupSet]),
            st.integers(1, 2),
            st.integers(1, 5),
        ),
        max_size=12,
    ),
    st.sampled_from(["", "test", "commit", "undo"]),
)
def test_any_order_of_requests(requests: list[tuple[type[Pdu], int, int]], fail: str) -> None:
    handler = Handler(fail)
    sets = Transactions(handler)
    for cls, transaction, packet in requests:
        sets.handle(cls(transaction_id=transaction, packet_id=packet))
    sets.abandon()
    # Between a test and its cleanup: at most one commit, and undo after commit only.
    whole = " ".join(call.split()[0] for call in handler.calls)
    for one in whole.split("cleanup"):
        assert one.split() in (
            [], ["test"], ["test", "commit"], ["test", "commit", "undo"],
        )  # fmt: skip
    assert not whole or whole.endswith("cleanup")
