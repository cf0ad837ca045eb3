"""A master agent in a few lines, to ask a subagent directly: no snmpd between.

It accepts one subagent on a unix socket, grants whatever that asks for, and walks it by GetNext.
This is how the rows are recorded which the other agents then serve, octet for octet.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import varbinds

GET_NEXT, PING, RESPONSE = 6, 13, 18
NETWORK_BYTE_ORDER = 0x10
HEADER = struct.Struct("!BBBxIIII")
SESSION = 1
VM_MIB = struct.pack("!BBBx2I", 2, 2, 1, 1, 236)
BEYOND = struct.pack("!BBBx2I", 2, 2, 0, 1, 237)
"""Start (included) and end of a walk of VM-MIB."""


class Master:
    """Listens at `path`; `accept` waits for the subagent's registration."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(30)
        self._link = socket.socket(socket.AF_UNIX)
        self._packet = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._link.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def accept(self) -> None:
        """Take a subagent, and grant what it asks for until it asks for no more."""
        while True:
            self._link.close()
            self._link, _ = self._listener.accept()
            self._link.settimeout(30)
            try:
                self._grant()
                break
            except ConnectionError:
                continue  # it only looked whether it may connect
        self._link.settimeout(0.5)
        try:
            while True:
                self._grant()
        except TimeoutError:
            self._link.settimeout(30)

    def _receive(self) -> bytes:
        data = b""
        wanted = HEADER.size
        while len(data) < wanted:
            piece = self._link.recv(wanted - len(data))
            if not piece:
                raise ConnectionError("the subagent closed the connection")
            data += piece
            if len(data) == HEADER.size:
                wanted += HEADER.unpack(data)[-1]
        return data

    def _grant(self, data: bytes = b"") -> None:
        data = data or self._receive()
        _, _, _, _, transaction, packet, _ = HEADER.unpack_from(data)
        uptime = int(time.monotonic() * 100) % 2**32
        self._link.sendall(
            HEADER.pack(1, RESPONSE, NETWORK_BYTE_ORDER, SESSION, transaction, packet, 8)
            + struct.pack("!IHH", uptime, 0, 0)
        )

    def get_next(self, start: bytes, end: bytes = BEYOND) -> bytes:
        """Ask for what follows `start` (an encoded OID); return an encoded varbind."""
        self._packet += 1
        payload = start + end
        self._link.sendall(
            HEADER.pack(
                1, GET_NEXT, NETWORK_BYTE_ORDER, SESSION, self._packet, self._packet, len(payload)
            )
            + payload
        )
        while True:
            answer = self._receive()
            if answer[1] == RESPONSE:
                break
            self._grant(answer)  # a Ping or a Notify of its own in between
        _, error, _ = struct.unpack_from("!IHH", answer, HEADER.size)
        if error:
            raise RuntimeError(f"GetNext was answered with error {error}")
        return answer[HEADER.size + 8 :]

    def walk(self) -> bytes:
        """All varbinds of VM-MIB, one behind the other."""
        cells = []
        start = VM_MIB
        while (cell := self.get_next(start))[1] != varbinds.END_OF_MIB_VIEW:
            cells.append(cell)
            start = cell[4 : 8 + 4 * cell[4]]
        return b"".join(cells)
