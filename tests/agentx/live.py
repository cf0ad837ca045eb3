"""A subagent on its loop on a thread, and a master that does as a test says."""

from __future__ import annotations

import queue
import random
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from unittest import mock

from tests.agentx.test_outbox import Log
from vmmib.agentx import connection, pdu
from vmmib.agentx.address import Address
from vmmib.agentx.connection import Registration, Stats, Subagent
from vmmib.agentx.pdu import Framer, decode, encode
from vmmib.loop import Loop

T = TypeVar("T")
P = TypeVar("P", bound=pdu.Pdu)
SUBTREE = (1, 3, 6, 1, 2, 1, 236)
WAIT = 10.0


class Hurry(random.Random):
    """Makes waits a fiftieth of what they are at most."""

    def uniform(self, a: float, b: float) -> float:
        return 0.02


class Live:
    """A running Subagent; its methods are called on the loop's own thread."""

    def __init__(self, address: Address, **options: Any) -> None:
        self.loop = Loop()
        self.log = Log()
        options.setdefault("registrations", [Registration("", SUBTREE)])
        options.setdefault("rng", Hurry())
        self.subagent = Subagent(self.loop, address, description="a test", log=self.log, **options)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:
            self.error = error
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the loop; return what it returns."""
        if not self._thread.is_alive():
            return function()
        results: queue.Queue[tuple[bool, Any]] = queue.Queue()

        def run() -> None:
            try:
                results.put((True, function()))
            except Exception as error:
                results.put((False, error))

        self.loop.call_soon_threadsafe(run)
        good, result = results.get(timeout=WAIT)
        if not good:
            raise result
        return result  # type: ignore[no-any-return]

    def reasons(self) -> list[str]:
        """Why there was no session, as the log has it."""
        return [fields["reason"] for _, fields in self.log.lines if "reason" in fields]

    @property
    def stats(self) -> Stats:
        return self.call(lambda: self.subagent.stats)

    def __enter__(self) -> Self:
        self.subagent.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._thread.is_alive():
                # The test's master does not answer the Close; it need not be waited for.
                with mock.patch.object(connection, "MAX_FLUSH", 0.02):
                    self.call(self.subagent.stop)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(WAIT)
            self.loop.close()
        assert self.error is None
        # Nothing may be left behind on the loop.
        assert len(self.loop._readers) == 1
        assert not self.loop._writers


class Peer:
    """The master's end of one connection."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.socket.settimeout(WAIT)
        self._framer = Framer()
        self._frames: list[bytes] = []
        self.session_id = 7

    def receive(self, cls: type[P]) -> P:
        """The next PDU, which has to be a `cls`."""
        while not self._frames:
            data = self.socket.recv(65536)
            assert data, "the subagent closed the connection"
            frames, error = self._framer.feed(data)
            assert error is None
            self._frames += frames
        one = decode(self._frames.pop(0))
        assert isinstance(one, cls), one
        return one

    def send(self, one: pdu.Pdu) -> None:
        self.socket.sendall(encode(one))

    def answer(self, request: pdu.Pdu, error: int = 0) -> None:
        """Respond to a request of the subagent's."""
        self.send(
            pdu.Response(
                session_id=self.session_id,
                transaction_id=request.transaction_id,
                packet_id=request.packet_id,
                error=error,
            )
        )

    def accept(self, cls: type[P]) -> P:
        """Receive a `cls`, and answer that all is well."""
        one = self.receive(cls)
        self.answer(one)
        return one

    def open(self, registrations: int = 1) -> None:
        """Let the subagent have its session and its registrations."""
        self.accept(pdu.Open)
        for _ in range(registrations):
            self.accept(pdu.Register)

    def ask(self, ranges: Sequence[pdu.SearchRange], packet_id: int = 1) -> pdu.Response:
        """GetNext."""
        self.send(
            pdu.GetNext(session_id=self.session_id, packet_id=packet_id, ranges=tuple(ranges))
        )
        return self.receive(pdu.Response)

    def closed(self) -> bool:
        """Wait until the subagent closes the connection."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()


class Master:
    """Listens as a master does."""

    def __init__(self, where: Path | None = None) -> None:
        if where is None:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.address = Address(host="127.0.0.1", port=self.listener.getsockname()[1])
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(where))
            self.listener.listen()
            self.address = Address(path=str(where))
        self.listener.settimeout(WAIT)
        self._peers: list[Peer] = []

    def accept(self) -> Peer:
        """The next connection."""
        accepted, _ = self.listener.accept()
        self._peers.append(Peer(accepted))
        return self._peers[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for peer in self._peers:
            peer.close()
        self.listener.close()
