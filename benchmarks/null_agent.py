"""The yardstick: a subagent that does nothing but answer, as fast as plain Python can.

    python -m benchmarks.null_agent SOCKET DUMP

A blocking loop over one socket: receive, look each range's start up in a dictionary of the
requests to come, send the varbind that was encoded before the first request. It answers rightly
(several ranges, prefix compression, include, range ends, starts between rows, Get) and knows
nothing else: one connection, one PDU at a time, no contexts, no SET, no notification, data that
never change. What an agent loses against it is what serving costs beyond the unavoidable.
"""

from __future__ import annotations

import socket
import struct
import sys
from bisect import bisect_left, bisect_right
from pathlib import Path

from benchmarks import varbinds

OPEN, REGISTER, GET, GET_NEXT, PING, RESPONSE = 1, 3, 5, 6, 13, 18
NETWORK_BYTE_ORDER = 0x10
HEADER = struct.Struct("!BBBxIIII")
VM_MIB = struct.pack("!BBBx2I", 2, 2, 0, 1, 236)
"""1.3.6.1.2.1.236 as AgentX writes it: the prefix octet 2, then 1 and 236."""


class Rows:
    """All varbinds in order, and by the start of the request that they answer."""

    def __init__(self, dump: bytes) -> None:
        found = list(varbinds.read_all(dump))
        self.oids = [one.oid for one in found]
        self.cells = [dump[one.start : one.end] for one in found]
        # A varbind's name is written as the start of a range without include.
        names = [cell[4 : 8 + 4 * cell[4]] for cell in self.cells]
        self.exact = dict(zip(names, self.cells, strict=True))
        self.following = dict(zip(names, self.cells[1:], strict=False))

    def search(self, start: bytes, end: bytes) -> bytes:
        """Answer a range by looking for it."""
        oid, _ = varbinds.read_oid(start, 0)
        bound, _ = varbinds.read_oid(end, 0)
        place = (bisect_left if start[2] else bisect_right)(self.oids, oid)
        if place < len(self.oids) and (not bound or self.oids[place] < bound):
            return self.cells[place]
        return struct.pack("!HH", varbinds.END_OF_MIB_VIEW, 0) + start[:2] + bytes(2) + start[4:]

    def beyond(self, end: bytes) -> bool:
        """Whether no row reaches `end`."""
        bound, _ = varbinds.read_oid(end, 0)
        return not bound or self.oids[-1] < bound


def receive(link: socket.socket) -> bytes:
    """One PDU; b"" when the master has gone."""
    data = link.recv(65536)
    while data and (len(data) < 20 or len(data) < 20 + HEADER.unpack_from(data)[-1]):
        data += link.recv(65536)
    return data


def serve(link: socket.socket, rows: Rows) -> None:
    """Answer until the master goes."""
    following, exact = rows.following, rows.exact
    recv, sendall, pack = link.recv, link.sendall, struct.Struct("!IIHH").pack
    beyond: set[bytes] = set()
    start_of_response = bytes((1, RESPONSE, NETWORK_BYTE_ORDER, 0))
    while data := recv(65536):
        while len(data) < 20 or len(data) < 20 + int.from_bytes(data[16:20], "big"):
            data += recv(65536)
        kind = data[1]
        cells = []
        at, size = 20, len(data)
        while at < size:
            stop = at + 4 + 4 * data[at]
            after = stop + 4 + 4 * data[stop]
            start, end = data[at:stop], data[stop:after]
            at = after
            if kind == GET_NEXT:
                cell = following.get(start)
                if cell is None or end not in beyond:
                    cell = rows.search(start, end)
                    if rows.beyond(end):
                        beyond.add(end)
            else:
                cell = exact.get(start) or (
                    struct.pack("!HH", varbinds.NO_SUCH_INSTANCE, 0) + start
                )
            cells.append(cell)
        body = b"".join(cells)
        sendall(start_of_response + data[4:16] + pack(8 + len(body), 0, 0, 0) + body)


def main(path: str, dump: Path) -> None:
    """Connect, open a session, register VM-MIB, serve."""
    rows = Rows(dump.read_bytes())
    link = socket.socket(socket.AF_UNIX)
    link.connect(path.removeprefix("unix:"))
    session = 0
    description = b"null"
    for packet, (kind, payload) in enumerate(
        (
            (OPEN, struct.pack("!BxxxI", 5, 0) + struct.pack("!I", len(description)) + description),
            (REGISTER, struct.pack("!BBBx", 0, 127, 0) + VM_MIB),
        )
    ):
        header = (1, kind, NETWORK_BYTE_ORDER, session, packet, packet, len(payload))
        link.sendall(HEADER.pack(*header) + payload)
        answer = receive(link)
        error = struct.unpack_from("!H", answer, 24)[0] if len(answer) >= 28 else "no answer"
        if error:
            raise SystemExit(f"the master refused PDU {kind}: {error}")
        session = HEADER.unpack_from(answer)[3]
    serve(link, rows)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
