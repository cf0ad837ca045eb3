"""The subagent's side of an AgentX session, without I/O (RFC 2741, 7.1 and 7.2).

Theory of operation
-------------------
One Session lives as long as one connection. Whoever holds the connection feeds `receive_data` with
what arrives, writes out what `data_to_send` returns after that, and acts on the events. Requests
for reading are answered by the session itself, from the views; SET phases come out as events, to
be answered by `respond`.

States, and what may be sent and is processed in each, are in the two tables below. To send what a
state does not allow is a LocalProtocolError, our fault. RemoteProtocolError is the peer's: the
stream cannot be followed any further, and the session is over. Everything else that a peer may do
wrong is answered as the RFC says, or dropped and told in an event.

The way of a GetNext
--------------------
It is what an SNMP walk consists of, so it is short: the header is unpacked once, each range's
octets become a key by a slice and a table of prefixes, the view finds the encoded varbind, and the
response is put together from the request's own header. Requests in the other byte order are
transcoded, go the same way, and their response is transcoded back: slower, and right.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from vmmib.agentx.pdu import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    PDU_CLASSES,
    VERSION,
    AddAgentCaps,
    CleanupSet,
    Close,
    CommitSet,
    ErrorStatus,
    Flag,
    Framer,
    Header,
    IndexAllocate,
    IndexDeallocate,
    Notify,
    Open,
    ParseError,
    Pdu,
    PduType,
    Ping,
    Register,
    RemoveAgentCaps,
    Response,
    TestSet,
    UndoSet,
    Unregister,
    decode,
    encode,
)
from vmmib.agentx.view import EMPTY, CellError, View, read_range

MAX_BULK = 65536
"""Octets of varbinds in the response to a GetBulk. An SNMP response over UDP cannot hold more, and
its encoding is the shorter one."""


class LocalProtocolError(Exception):
    """We were about to send what the session's state does not allow."""


class RemoteProtocolError(Exception):
    """The peer does not speak AgentX version 1; the connection is of no further use."""


class State(Enum):
    """Where a session is."""

    NEW = "new"
    OPENING = "opening"
    """Open was sent, its response is awaited."""
    OPEN = "open"
    CLOSING = "closing"
    """Close was sent, its response is awaited."""
    CLOSED = "closed"


_ADMINISTRATIVE: tuple[type[Pdu], ...] = (
    Register, Unregister, Notify, Ping, IndexAllocate, IndexDeallocate, AddAgentCaps,
    RemoveAgentCaps,
)  # fmt: skip

SENDS: Mapping[State, Mapping[type[Pdu], State]] = {
    State.NEW: {Open: State.OPENING},
    State.OPENING: {},
    State.OPEN: {
        **dict.fromkeys(_ADMINISTRATIVE, State.OPEN),
        Close: State.CLOSING,
    },
    State.CLOSING: {},
    State.CLOSED: {},
}
"""The requests that may be sent in a state, and the state after that."""

_SET_PHASES: tuple[type[Pdu], ...] = (TestSet, CommitSet, UndoSet, CleanupSet)
_READS = frozenset({PduType.GET, PduType.GET_NEXT, PduType.GET_BULK})

ANSWERED: Mapping[tuple[State, type[Pdu]], tuple[State, State]] = {
    (State.OPENING, Open): (State.OPEN, State.CLOSED),
    (State.CLOSING, Close): (State.CLOSED, State.CLOSED),
}
"""The states after a response to our request: one without error, one with. Others change none."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The response to a request of ours."""

    request: Pdu
    response: Response


@dataclass(frozen=True, slots=True)
class SetRequested:
    """A phase of a SET: to be answered by `respond`, unless it is a CleanupSet."""

    request: Pdu
    network_byte_order: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The master ended the session."""

    reason: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something arrived that means nothing here; it was dropped, or answered with an error."""

    what: str


@dataclass(frozen=True, slots=True)
class Faulted:
    """A request was answered with genErr, as the view could not tell a value."""

    error: CellError


Event = Answered | SetRequested | Closed | Ignored | Faulted

_MAX_PACKET = 0xFFFFFFFF
_MAX_PDU = HEADER_SIZE + MAX_PAYLOAD
_NO_SESSION = -1
_IN_CONTEXT = int(Flag.NON_DEFAULT_CONTEXT)


def _start(kind: int, flags: int) -> int:
    """Return the first four octets of a PDU in network byte order."""
    return int.from_bytes((VERSION, kind, flags | Flag.NETWORK_BYTE_ORDER, 0), "big")


_unpack_header = struct.Struct("!IIIII").unpack_from
"""Version, type, flags, reserved; session; transaction; packet; payload length."""
_pack_response = struct.Struct("!IIIIIIHH").pack
"""The same, and sysUpTime, error, index."""
_RESPONSE_START = _start(PduType.RESPONSE, 0)


class Session:
    """One AgentX session of a subagent; see the module."""

    def __init__(self, views: Mapping[bytes, View]) -> None:
        """`views`: by context (UTF-8 octets), looked into at each request; may change meanwhile."""
        self._views = views
        self._framer = Framer()
        self._partial = False
        """The framer holds the beginning of a PDU."""
        self._out: list[bytes] = []
        self.faults: list[CellError] = []
        """What `serve` could not find out."""
        self._pending: dict[int, Pdu] = {}
        self._packet_id = 0
        self._serving = _NO_SESSION
        """The session ID while requests are answered."""
        self.state = State.NEW
        self.session_id = 0
        self.requests = 0
        """Requests of the master, of every kind."""

    # Sending

    def send(self, request: Pdu) -> int:
        """Send a request; return its packet ID.

        Raises LocalProtocolError when the state does not allow it, ValueError when it cannot be
        encoded.
        """
        after = SENDS[self.state].get(type(request))
        if after is None:
            raise LocalProtocolError(f"{type(request).__name__} in state {self.state.value}")
        packet_id = self._next_packet_id()
        request = replace(
            request, session_id=self.session_id, transaction_id=packet_id, packet_id=packet_id
        )
        self._out.append(encode(request))
        self._pending[packet_id] = request
        self._enter(after)
        return packet_id

    def respond(self, requested: SetRequested, error: ErrorStatus, index: int = 0) -> None:
        """Answer a phase of a SET, in the byte order in which it came."""
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"Response in state {self.state.value}")
        self._respond(requested.request, error, index, requested.network_byte_order)

    def data_to_send(self) -> bytes:
        """Take the octets that are to be written now."""
        out = self._out
        if len(out) == 1:
            return out.pop()
        data = b"".join(out)
        out.clear()
        return data

    def _next_packet_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % _MAX_PACKET + 1
            if self._packet_id not in self._pending:
                return self._packet_id

    def _enter(self, state: State) -> None:
        self.state = state
        self._serving = self.session_id if state is State.OPEN else _NO_SESSION

    def _respond(
        self, request: Pdu | Header, error: ErrorStatus, index: int, network_byte_order: bool
    ) -> None:
        response = Response(
            session_id=request.session_id,
            transaction_id=request.transaction_id,
            packet_id=request.packet_id,
            error=error,
            index=index,
        )
        self._out.append(encode(response, network_byte_order))

    # Receiving

    def receive_data(self, data: bytes) -> Sequence[Event]:
        """Process what arrived, whole PDUs or pieces; return what the caller has to know of.

        Raises RemoteProtocolError when the stream cannot be followed; the events before that are
        lost, the session is over.
        """
        events: list[Event] = []
        frames, error = self._framer.feed(data)
        self._partial = False
        for frame in frames:
            if self.state is State.CLOSED:
                return events
            response = self.serve(frame)
            if response is not None:
                self._out.append(response)
            else:
                self._receive(frame, events)
            if self.faults:
                events += self.take_faults()
        self._partial = not self._framer.empty
        if error is not None and self.state is not State.CLOSED:
            self._enter(State.CLOSED)
            raise RemoteProtocolError(str(error))
        return events

    def serve(self, data: bytes) -> bytes | None:
        """Return the response to `data` if it is one whole request for reading, else None.

        The short way, to be tried before `receive_data`; nothing may be left to send. What the
        view could not tell is kept for `take_faults`.
        """
        length = len(data)
        if self._partial or not HEADER_SIZE <= length <= _MAX_PDU:
            return None
        start, session_id, transaction_id, packet_id, size = _unpack_header(data)
        read = _QUICK.get(start)
        if read is None or session_id != self._serving or size != length - HEADER_SIZE:
            return None
        self.requests += 1
        cells: list[bytes] = []
        error, index = 0, 0
        try:
            if data[2] & _IN_CONTEXT:
                context, at = _context(data)
            else:
                context, at = b"", HEADER_SIZE
            read(self._views.get(context, EMPTY), data, at, cells)
        except (ParseError, IndexError, struct.error):
            cells, error = [], ErrorStatus.PARSE_ERROR
        except CellError as fault:
            self.faults.append(fault)
            cells, error, index = [], ErrorStatus.GEN_ERR, len(cells) + 1
        body = cells[0] if len(cells) == 1 else b"".join(cells)
        return (
            _pack_response(
                _RESPONSE_START,
                session_id,
                transaction_id,
                packet_id,
                8 + len(body),
                0,
                error,
                index,
            )
            + body
        )

    def take_faults(self) -> list[Event]:
        """Take what `serve` could not find out, as events."""
        faults: list[Event] = [Faulted(fault) for fault in self.faults]
        self.faults.clear()
        return faults

    def _receive(self, frame: bytes, events: list[Event]) -> None:
        header = Header.decode(frame)
        network_byte_order = bool(header.flags & Flag.NETWORK_BYTE_ORDER)
        if header.type == PduType.RESPONSE:
            self._receive_response(frame, events)
            return
        if header.type == PduType.CLOSE:
            self._receive_close(frame, events)
            return
        # 7.2.2: parse errors first, then the session, then the request itself
        self.requests += 1
        error = ErrorStatus.NO_ERROR
        try:
            request = decode(frame)
        except ParseError as problem:
            error = ErrorStatus.PARSE_ERROR
            events.append(Ignored(f"a PDU that cannot be parsed: {problem}"))
        else:
            if header.session_id != self._serving:
                error = ErrorStatus.NOT_OPEN
                events.append(Ignored(f"{_name(header)} of a session {header.session_id}"))
            elif header.type in _READS:
                self.requests -= 1  # it is counted below
                self._serve_transcoded(request)
            elif isinstance(request, _SET_PHASES):
                events.append(SetRequested(request, network_byte_order))
            else:
                error = ErrorStatus.PROCESSING_ERROR
                events.append(Ignored(f"{_name(header)}, which only a master receives"))
        if error is not ErrorStatus.NO_ERROR and header.type != PduType.CLEANUP_SET:
            self._respond(header, error, 0, network_byte_order)

    def _receive_response(self, frame: bytes, events: list[Event]) -> None:
        try:
            response = decode(frame)
        except ParseError as problem:
            # 7.2.2: dropped; the request's time then runs out
            events.append(Ignored(f"a Response that cannot be parsed: {problem}"))
            return
        assert isinstance(response, Response)  # noqa: S101 - by the header's type
        request = self._pending.pop(response.packet_id, None)
        if request is None:
            events.append(Ignored(f"a Response to no request ({response.packet_id})"))
            return
        after = ANSWERED.get((self.state, type(request)))
        if after is not None:
            if isinstance(request, Open):
                self.session_id = response.session_id
            self._enter(after[0] if response.error == ErrorStatus.NO_ERROR else after[1])
        events.append(Answered(request, response))

    def _receive_close(self, frame: bytes, events: list[Event]) -> None:
        try:
            close = decode(frame)
        except ParseError as problem:
            events.append(Ignored(f"a Close that cannot be parsed: {problem}"))
            return
        assert isinstance(close, Close)  # noqa: S101 - by the header's type
        # While opening there is no ID to compare with yet.
        if self.state is not State.OPENING and close.session_id != self.session_id:
            events.append(Ignored(f"Close of a session {close.session_id}"))
            return
        self._enter(State.CLOSED)
        events.append(Closed(close.reason))

    # Reading

    def _serve_transcoded(self, request: Pdu) -> None:
        """Answer a request that came in the other byte order."""
        response = self.serve(encode(request))
        if response is not None:
            self._out.append(encode(decode(response), network_byte_order=False))


def _context(frame: bytes) -> tuple[bytes, int]:
    """Return the context of a PDU, and where the rest begins (maybe beyond the frame's end)."""
    at = HEADER_SIZE + 4
    size = int.from_bytes(frame[HEADER_SIZE:at], "big")
    return frame[at : at + size], at + size + -size % 4


def _get(view: View, frame: bytes, at: int, cells: list[bytes]) -> None:
    while at < len(frame):
        key, _, _, at = read_range(frame, at)
        cells.append(view.get(key))
    _check_end(frame, at)


def _get_next(view: View, frame: bytes, at: int, cells: list[bytes]) -> None:
    _check_end(frame, view.next_of_all(frame, at, cells))


def _get_bulk(view: View, frame: bytes, at: int, cells: list[bytes]) -> None:
    non_repeaters, max_repetitions = struct.unpack_from("!HH", frame, at)
    at += 4
    ranges = []
    while at < len(frame):
        start, include, end, at = read_range(frame, at)
        ranges.append((start, bool(include), end))
    _check_end(frame, at)
    view.bulk(ranges, non_repeaters, max_repetitions, MAX_BULK, cells)


def _check_end(frame: bytes, at: int) -> None:
    if at != len(frame):
        raise ParseError("a range is cut short")


_QUICK: dict[int, Callable[[View, bytes, int, list[bytes]], None]] = {
    _start(kind, flags): read
    for kind, read in (
        (PduType.GET, _get),
        (PduType.GET_NEXT, _get_next),
        (PduType.GET_BULK, _get_bulk),
    )
    for flags in (0, _IN_CONTEXT)
}
"""By the first four octets of a request: what appends its varbinds, from a position on."""


def _name(header: Header) -> str:
    return PDU_CLASSES[header.type].__name__
