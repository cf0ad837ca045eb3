r"""The phases of SET (RFC 2741, 7.2.4): from the master's requests to a handler's calls.

A transaction goes through these phases, one transaction at a time:

    TestSet -> TESTED -> CommitSet -> COMMITTED -> CleanupSet -> none
       |         |           |            \-> UndoSet -> none
       |         |           \-> COMMIT_FAILED -> UndoSet -> none
       |         \-> CleanupSet -> none
       \-> REFUSED -> CleanupSet -> none

Rules
-----
- After `test`, `cleanup` is called exactly once, as the transaction's last call, also after
  `undo` and also when `test` or `commit` refused.
- A transaction that the master leaves hanging ends with the next one's TestSet, or with the
  session: what was committed stands (the master has its response), what failed to commit is undone.
- net-snmp sends one TestSet for each registered region that a SET touches: the handler is asked
  about all varbinds of the transaction together, so that it can still refuse all or do all.
- A request that is repeated (same packet ID) is answered as before and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from vmmib.agentx.pdu import CleanupSet, CommitSet, ErrorStatus, Pdu, TestSet, UndoSet, VarBind


class SetHandler(Protocol):
    """Whoever owns the objects that can be SET."""

    def test(self, context: str, varbinds: Sequence[VarBind]) -> tuple[ErrorStatus, int]:
        """Could all of `varbinds` be set? Else the error and the 1-based index of the varbind."""
        ...

    def commit(self) -> ErrorStatus:
        """Set what `test` accepted last: NO_ERROR or COMMIT_FAILED."""
        ...

    def undo(self) -> ErrorStatus:
        """Restore what was before `commit`: NO_ERROR or UNDO_FAILED."""
        ...

    def cleanup(self) -> None:
        """Forget the transaction."""
        ...


class ReadOnly:
    """The handler where nothing can be SET."""

    def test(self, context: str, varbinds: Sequence[VarBind]) -> tuple[ErrorStatus, int]:  # noqa: ARG002
        """Refuse."""
        return ErrorStatus.NOT_WRITABLE, 1

    def commit(self) -> ErrorStatus:
        """Fail; `test` accepted nothing."""
        return ErrorStatus.COMMIT_FAILED

    def undo(self) -> ErrorStatus:
        """Do nothing."""
        return ErrorStatus.NO_ERROR

    def cleanup(self) -> None:
        """Do nothing."""


class _Phase(Enum):
    NONE = "no transaction"
    TESTED = "tested"
    REFUSED = "test refused"
    COMMITTED = "committed"
    COMMIT_FAILED = "commit failed"


Answer = tuple[ErrorStatus, int]

NO_ERROR: Answer = (ErrorStatus.NO_ERROR, 0)
# An error at no varbind is made a genErr by net-snmp's master.
_COMMIT_FAILED: Answer = (ErrorStatus.COMMIT_FAILED, 1)
_UNDO_FAILED: Answer = (ErrorStatus.UNDO_FAILED, 1)


class Transactions:
    """Holds the current transaction of one session."""

    def __init__(self, handler: SetHandler) -> None:
        self._handler = handler
        self._phase = _Phase.NONE
        self._id = 0
        self._varbinds: tuple[VarBind, ...] = ()
        self._tests: dict[int, Answer] = {}
        """Answers to this transaction's TestSets, by packet ID."""

    def handle(self, request: Pdu) -> Answer | None:
        """Process a TestSet, CommitSet, UndoSet or CleanupSet: the error and index to answer.

        None: CleanupSet has no response. What the handler raises is raised on, with the
        transaction in the phase of a failure.
        """
        match request:
            case TestSet():
                return self._test(request)
            case CommitSet():
                return self._commit(request)
            case UndoSet():
                return self._undo(request)
            case CleanupSet():
                if request.transaction_id == self._id:
                    self._end()
                return None
            case _:
                raise TypeError(f"{type(request).__name__} is no phase of a SET")

    def abandon(self) -> None:
        """End the current transaction, if there is one: the session is over."""
        if self._phase is _Phase.COMMIT_FAILED:
            self._handler.undo()
        self._end()

    def _end(self) -> None:
        phase, self._phase = self._phase, _Phase.NONE
        self._varbinds = ()
        self._tests = {}
        if phase is not _Phase.NONE:
            self._handler.cleanup()

    def _current(self, request: Pdu) -> bool:
        return self._phase is not _Phase.NONE and request.transaction_id == self._id

    def _test(self, request: TestSet) -> Answer:
        if self._current(request) and request.packet_id in self._tests:
            return self._tests[request.packet_id]
        earlier: tuple[VarBind, ...] = ()
        if self._current(request) and self._phase is _Phase.TESTED:
            earlier = self._varbinds
            self._handler.cleanup()
        else:
            self.abandon()
        self._id = request.transaction_id
        self._varbinds = (*earlier, *request.varbinds)
        self._phase = _Phase.REFUSED
        status, index = self._handler.test(request.context, self._varbinds)
        answer: Answer = NO_ERROR
        if status == ErrorStatus.NO_ERROR:
            self._phase = _Phase.TESTED
        else:
            # An error in an earlier part can only have come up by this one.
            answer = (status, max(1, index - len(earlier)))
        self._tests[request.packet_id] = answer
        return answer

    def _commit(self, request: Pdu) -> Answer:
        if not self._current(request):
            return _COMMIT_FAILED
        if self._phase is _Phase.TESTED:
            self._phase = _Phase.COMMIT_FAILED
            if self._handler.commit() == ErrorStatus.NO_ERROR:
                self._phase = _Phase.COMMITTED
        if self._phase is _Phase.COMMITTED:
            return NO_ERROR
        return _COMMIT_FAILED

    def _undo(self, request: Pdu) -> Answer:
        if not self._current(request):
            return _UNDO_FAILED
        status = ErrorStatus.NO_ERROR
        try:
            if self._phase in (_Phase.COMMITTED, _Phase.COMMIT_FAILED):
                status = self._handler.undo()
        finally:
            self._end()
        return NO_ERROR if status == ErrorStatus.NO_ERROR else _UNDO_FAILED
