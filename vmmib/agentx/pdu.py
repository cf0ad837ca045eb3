"""AgentX PDUs: octets in, frozen objects out, and back (RFC 2741, sections 5 and 6).

Theory of operation
-------------------
A PDU is a 20-octet header and a payload whose length the header tells:

    version=1 | type | flags | reserved | session | transaction | packet | payload length

The flag NETWORK_BYTE_ORDER says how all integers of this PDU are written, its own header's too.
`Framer` cuts a stream into whole PDUs and bounds their length; `decode` makes one object of one
PDU; `encode` is its inverse. There is one frozen dataclass per PDU type; the flags that a type has
are fields of it (`context`, `instance`, `new_index`, `any_index`).

Rules
-----
- `decode` ends in an object or in ParseError, whatever the octets: nothing else is raised.
- HeaderError is the ParseError after which a stream cannot be followed (nor the PDU answered).
- Reserved fields and padding are written as zero and not looked at.
- net-snmp writes a context into every PDU whose flags tell of one, also where RFC 2741 knows none
  (CommitSet, ...): it is read everywhere, and dropped where the type has no such field.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, ClassVar, NamedTuple, Self

from vmmib.agentx.oid import MAX_SUBIDS, Oid, key

VERSION = 1
HEADER_SIZE = 20
MAX_PAYLOAD = 1 << 20
"""Octets. An SNMP message over UDP has at most 65,507; its OIDs, an octet a sub-identifier there
and four here, can make that some four times as long. The rest is margin."""

PREFIX: Oid = (1, 3, 6, 1)
"""What a non-zero prefix octet stands for, itself being the next sub-identifier (RFC 2741, 5.1)."""
PREFIX_KEYS: tuple[bytes, ...] = (b"", *(key((*PREFIX, fifth)) for fifth in range(1, 256)))
"""By prefix octet: the start of the key that it stands for."""


class PduType(IntEnum):
    """h.type (RFC 2741, 6.1)."""

    OPEN = 1
    CLOSE = 2
    REGISTER = 3
    UNREGISTER = 4
    GET = 5
    GET_NEXT = 6
    GET_BULK = 7
    TEST_SET = 8
    COMMIT_SET = 9
    UNDO_SET = 10
    CLEANUP_SET = 11
    NOTIFY = 12
    PING = 13
    INDEX_ALLOCATE = 14
    INDEX_DEALLOCATE = 15
    ADD_AGENT_CAPS = 16
    REMOVE_AGENT_CAPS = 17
    RESPONSE = 18


class Flag(IntFlag):
    """h.flags (RFC 2741, 6.1)."""

    INSTANCE_REGISTRATION = 1
    NEW_INDEX = 2
    ANY_INDEX = 4
    NON_DEFAULT_CONTEXT = 8
    NETWORK_BYTE_ORDER = 16


class ValueType(IntEnum):
    """v.type of a varbind (RFC 2741, 5.4)."""

    INTEGER = 2
    OCTET_STRING = 4
    NULL = 5
    OBJECT_IDENTIFIER = 6
    IP_ADDRESS = 64
    COUNTER32 = 65
    GAUGE32 = 66
    TIME_TICKS = 67
    OPAQUE = 68
    COUNTER64 = 70
    NO_SUCH_OBJECT = 128
    NO_SUCH_INSTANCE = 129
    END_OF_MIB_VIEW = 130


class ErrorStatus(IntEnum):
    """res.error: of SNMP (RFC 3416, 3) below 256, of AgentX (RFC 2741, 6.2.16) from there on."""

    NO_ERROR = 0
    TOO_BIG = 1
    NO_SUCH_NAME = 2
    BAD_VALUE = 3
    READ_ONLY = 4
    GEN_ERR = 5
    NO_ACCESS = 6
    WRONG_TYPE = 7
    WRONG_LENGTH = 8
    WRONG_ENCODING = 9
    WRONG_VALUE = 10
    NO_CREATION = 11
    INCONSISTENT_VALUE = 12
    RESOURCE_UNAVAILABLE = 13
    COMMIT_FAILED = 14
    UNDO_FAILED = 15
    AUTHORIZATION_ERROR = 16
    NOT_WRITABLE = 17
    INCONSISTENT_NAME = 18
    OPEN_FAILED = 256
    NOT_OPEN = 257
    INDEX_WRONG_TYPE = 258
    INDEX_ALREADY_ALLOCATED = 259
    INDEX_NONE_AVAILABLE = 260
    INDEX_NOT_ALLOCATED = 261
    UNSUPPORTED_CONTEXT = 262
    DUPLICATE_REGISTRATION = 263
    UNKNOWN_REGISTRATION = 264
    UNKNOWN_AGENT_CAPS = 265
    PARSE_ERROR = 266
    REQUEST_DENIED = 267
    PROCESSING_ERROR = 268


class CloseReason(IntEnum):
    """c.reason (RFC 2741, 6.2.2)."""

    OTHER = 1
    PARSE_ERROR = 2
    PROTOCOL_ERROR = 3
    TIMEOUTS = 4
    SHUTDOWN = 5
    BY_MANAGER = 6


class ParseError(ValueError):
    """Octets that are no AgentX PDU."""


class HeaderError(ParseError):
    """A header that cannot be trusted: neither this PDU nor what follows it can be read."""


# Values

Value = int | bytes | Oid | None
"""int; bytes of OCTET STRING, Opaque and IpAddress (4 octets); Oid; None where there is no data."""


@dataclass(frozen=True, slots=True)
class VarBind:
    """A name, a type and its value (RFC 2741, 5.4)."""

    oid: Oid
    type: ValueType
    value: Value = None


@dataclass(frozen=True, slots=True)
class SearchRange:
    """From `start` (itself too, if `include`) up to `end`, exclusive; () is no bound (5.2)."""

    start: Oid
    end: Oid = ()
    include: bool = False


_INTEGER_FORMAT = {
    ValueType.INTEGER: "i",
    ValueType.COUNTER32: "I",
    ValueType.GAUGE32: "I",
    ValueType.TIME_TICKS: "I",
    ValueType.COUNTER64: "Q",
}
_OCTET_TYPES = frozenset({ValueType.OCTET_STRING, ValueType.OPAQUE, ValueType.IP_ADDRESS})
_IP_ADDRESS_OCTETS = 4
_VALUE_TYPES: dict[int, ValueType] = {int(member): member for member in ValueType}


def _encode_oid(oid: Oid, include: bool, order: str) -> bytes:
    count = len(oid)
    if count > MAX_SUBIDS:
        raise ValueError(f"an OID of {count} sub-identifiers, at most {MAX_SUBIDS} are allowed")
    prefix = 0
    if count > len(PREFIX) and oid[: len(PREFIX)] == PREFIX and 1 <= oid[len(PREFIX)] <= 255:
        prefix = oid[len(PREFIX)]
        oid = oid[len(PREFIX) + 1 :]
    return struct.pack(f"{order}BBBx{len(oid)}I", len(oid), prefix, include, *oid)


def _encode_octets(value: bytes, order: str) -> bytes:
    padding = -len(value) % 4
    return struct.pack(f"{order}I", len(value)) + value + bytes(padding)


def _encode_value(kind: ValueType, value: Any, order: str) -> bytes:
    integer = _INTEGER_FORMAT.get(kind)
    if integer is not None:
        return struct.pack(order + integer, value)
    if kind in _OCTET_TYPES:
        if kind is ValueType.IP_ADDRESS and len(value) != _IP_ADDRESS_OCTETS:
            raise ValueError(f"an IpAddress of {len(value)} octets")
        return _encode_octets(value, order)
    if kind is ValueType.OBJECT_IDENTIFIER:
        return _encode_oid(value, False, order)
    if value is not None:
        raise ValueError(f"{kind.name} has no value")
    return b""


def encode_value(type: ValueType, value: Value) -> bytes:  # noqa: A002 - the RFC's word
    """Encode the data of a varbind (what follows its name), big-endian.

    Raises ValueError when `value` is none of that type's.
    """
    try:
        return _encode_value(type, value, "!")
    except (struct.error, TypeError):
        raise ValueError(f"{value!r} is no {type.name}") from None


def value_encoder(type: ValueType) -> Callable[[Any], bytes]:  # noqa: A002
    """Return `encode_value` of one type, as fast as can be had; it may raise struct.error too."""
    integer = _INTEGER_FORMAT.get(type)
    if integer is not None:
        return struct.Struct("!" + integer).pack
    return lambda value: _encode_value(type, value, "!")


def encode_name(kind: ValueType, name: bytes) -> bytes:
    """Encode the type and name of a varbind, big-endian; `name` is a key (see oid)."""
    prefix = 0
    if len(name) >= _PREFIX_SIZE and name.startswith(_PREFIX_START) and name[_PREFIX_SIZE - 1]:
        prefix = name[_PREFIX_SIZE - 1]
        name = name[_PREFIX_SIZE:]
    return struct.pack("!HHBBH", kind, 0, len(name) // 4, prefix, 0) + name


_PREFIX_SIZE = 4 * (len(PREFIX) + 1)
_PREFIX_START = key(PREFIX) + bytes(3)


class _Writer:
    """Collects a payload in one byte order."""

    __slots__ = ("order", "parts")

    def __init__(self, order: str) -> None:
        self.order = order
        self.parts: list[bytes] = []

    def pack(self, layout: str, *values: int) -> None:
        self.parts.append(struct.pack(self.order + layout, *values))

    def octets(self, value: bytes) -> None:
        self.parts.append(_encode_octets(value, self.order))

    def text(self, value: str) -> None:
        self.octets(value.encode("utf-8", "surrogateescape"))

    def oid(self, oid: Oid, include: bool = False) -> None:
        self.parts.append(_encode_oid(oid, include, self.order))

    def ranges(self, ranges: tuple[SearchRange, ...]) -> None:
        for one in ranges:
            self.oid(one.start, one.include)
            self.oid(one.end)

    def varbinds(self, varbinds: tuple[VarBind, ...]) -> None:
        for one in varbinds:
            self.pack("HH", one.type, 0)
            self.oid(one.oid)
            self.parts.append(_encode_value(one.type, one.value, self.order))


class _Reader:
    """Takes a payload apart; every read checks its bounds."""

    __slots__ = ("at", "data", "end", "order")

    def __init__(self, data: bytes, order: str) -> None:
        self.data = data
        self.order = order
        self.at = HEADER_SIZE
        self.end = len(data)

    def take(self, size: int) -> int:
        """Step over `size` octets; return where they start."""
        start = self.at
        if size > self.end - start:
            raise ParseError(f"{size} octets expected, {self.end - start} are left")
        self.at = start + size
        return start

    def unpack(self, layout: str) -> tuple[int, ...]:
        layout = self.order + layout
        return struct.unpack_from(layout, self.data, self.take(struct.calcsize(layout)))

    def octets(self) -> bytes:
        (size,) = self.unpack("I")
        start = self.take(size + -size % 4)
        return self.data[start : start + size]

    def text(self) -> str:
        return self.octets().decode("utf-8", "surrogateescape")

    def oid(self) -> tuple[Oid, bool]:
        count, prefix, include = self.unpack("BBBx")
        oid = self.unpack(f"{count}I")
        if prefix:
            oid = (*PREFIX, prefix, *oid)
        if len(oid) > MAX_SUBIDS:
            raise ParseError(f"an OID of {len(oid)} sub-identifiers")
        return oid, bool(include)

    def ranges(self) -> tuple[SearchRange, ...]:
        found = []
        while self.at < self.end:
            start, include = self.oid()
            end, _ = self.oid()
            found.append(SearchRange(start, end, include))
        return tuple(found)

    def varbinds(self) -> tuple[VarBind, ...]:
        found = []
        while self.at < self.end:
            number, _ = self.unpack("HH")
            kind = _VALUE_TYPES.get(number)
            if kind is None:
                raise ParseError(f"a value of unknown type {number}")
            oid, _ = self.oid()
            found.append(VarBind(oid, kind, self.value(kind)))
        return tuple(found)

    def value(self, kind: ValueType) -> Value:
        integer = _INTEGER_FORMAT.get(kind)
        if integer is not None:
            return self.unpack(integer)[0]
        if kind in _OCTET_TYPES:
            octets = self.octets()
            if kind is ValueType.IP_ADDRESS and len(octets) != _IP_ADDRESS_OCTETS:
                raise ParseError(f"an IpAddress of {len(octets)} octets")
            return octets
        if kind is ValueType.OBJECT_IDENTIFIER:
            return self.oid()[0]
        return None


# PDUs


@dataclass(frozen=True, slots=True, kw_only=True)
class Pdu:
    """What every PDU has; of a PDU to be sent, the session fills these in."""

    TYPE: ClassVar[PduType]

    session_id: int = 0
    transaction_id: int = 0
    packet_id: int = 0

    def _flags(self) -> int:
        return 0

    def _write(self, out: _Writer) -> None:
        """Write the payload, without its context."""

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        """Read the payload, without its context: the type's own fields."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Open(Pdu):
    """A subagent asks for a session (6.2.1)."""

    TYPE: ClassVar = PduType.OPEN

    timeout: int = 0
    """Seconds; 0: the master's own default."""
    agent_id: Oid = ()
    description: str = ""

    def _write(self, out: _Writer) -> None:
        out.pack("Bxxx", self.timeout)
        out.oid(self.agent_id)
        out.text(self.description)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        (timeout,) = source.unpack("Bxxx")
        agent_id, _ = source.oid()
        return {"timeout": timeout, "agent_id": agent_id, "description": source.text()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Pdu):
    """Either side ends the session (6.2.2)."""

    TYPE: ClassVar = PduType.CLOSE

    reason: int = CloseReason.OTHER
    """A CloseReason, or a number that none stands for."""

    def _write(self, out: _Writer) -> None:
        out.pack("Bxxx", self.reason)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        return {"reason": source.unpack("Bxxx")[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class _InContext(Pdu):
    """A PDU about one context; "" is the default context."""

    context: str = ""

    def _flags(self) -> int:
        return Flag.NON_DEFAULT_CONTEXT if self.context else 0

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        return {"context": context}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region(_InContext):
    """The MIB region of Register and Unregister."""

    subtree: Oid = ()
    priority: int = 127
    range_subid: int = 0
    """1-based position in `subtree` of the sub-identifier that ranges; 0: none does."""
    upper_bound: int = 0
    """Its upper bound; the lower one is in `subtree`."""

    def _write_region(self, out: _Writer, timeout: int) -> None:
        out.pack("BBBx", timeout, self.priority, self.range_subid)
        out.oid(self.subtree)
        if self.range_subid:
            out.pack("I", self.upper_bound)

    @staticmethod
    def _read_region(source: _Reader, context: str) -> tuple[int, dict[str, Any]]:
        timeout, priority, range_subid = source.unpack("BBBx")
        subtree, _ = source.oid()
        return timeout, {
            "context": context,
            "subtree": subtree,
            "priority": priority,
            "range_subid": range_subid,
            "upper_bound": source.unpack("I")[0] if range_subid else 0,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Register(_Region):
    """Claim a MIB region (6.2.3)."""

    TYPE: ClassVar = PduType.REGISTER

    timeout: int = 0
    """Seconds; 0: the session's."""
    instance: bool = False
    """`subtree` is a fully qualified instance."""

    def _flags(self) -> int:
        # Named, as super() without arguments fails in a class that slots=True made anew.
        return _InContext._flags(self) | (Flag.INSTANCE_REGISTRATION if self.instance else 0)

    def _write(self, out: _Writer) -> None:
        self._write_region(out, self.timeout)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:
        timeout, fields = cls._read_region(source, context)
        instance = bool(flags & Flag.INSTANCE_REGISTRATION)
        return {**fields, "timeout": timeout, "instance": instance}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregister(_Region):
    """Give a MIB region up (6.2.4)."""

    TYPE: ClassVar = PduType.UNREGISTER

    def _write(self, out: _Writer) -> None:
        self._write_region(out, 0)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        return cls._read_region(source, context)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranges(_InContext):
    ranges: tuple[SearchRange, ...] = ()

    def _write(self, out: _Writer) -> None:
        out.ranges(self.ranges)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        return {"context": context, "ranges": source.ranges()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Get(_Ranges):
    """Read the `start` of each range (6.2.5)."""

    TYPE: ClassVar = PduType.GET


@dataclass(frozen=True, slots=True, kw_only=True)
class GetNext(_Ranges):
    """Read the first variable of each range (6.2.6)."""

    TYPE: ClassVar = PduType.GET_NEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class GetBulk(_InContext):
    """Read on, several at once (6.2.7)."""

    TYPE: ClassVar = PduType.GET_BULK

    non_repeaters: int = 0
    max_repetitions: int = 0
    ranges: tuple[SearchRange, ...] = ()

    def _write(self, out: _Writer) -> None:
        out.pack("HH", self.non_repeaters, self.max_repetitions)
        out.ranges(self.ranges)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        non_repeaters, max_repetitions = source.unpack("HH")
        return {
            "context": context,
            "non_repeaters": non_repeaters,
            "max_repetitions": max_repetitions,
            "ranges": source.ranges(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _VarBinds(_InContext):
    varbinds: tuple[VarBind, ...] = ()

    def _write(self, out: _Writer) -> None:
        out.varbinds(self.varbinds)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        return {"context": context, "varbinds": source.varbinds()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet(_VarBinds):
    """First phase of a SET: could these be written? (6.2.8)."""

    TYPE: ClassVar = PduType.TEST_SET
    __test__: ClassVar = False  # no test, whatever pytest makes of the name


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSet(Pdu):
    """Second phase: write them (6.2.9)."""

    TYPE: ClassVar = PduType.COMMIT_SET


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoSet(Pdu):
    """Instead of the last phase: take them back (6.2.9)."""

    TYPE: ClassVar = PduType.UNDO_SET


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupSet(Pdu):
    """Last phase: forget the transaction (6.2.9). The one request that has no response."""

    TYPE: ClassVar = PduType.CLEANUP_SET


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify(_VarBinds):
    """Send a notification (6.2.10)."""

    TYPE: ClassVar = PduType.NOTIFY


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(_InContext):
    """Ask whether the master is there (6.2.11)."""

    TYPE: ClassVar = PduType.PING


@dataclass(frozen=True, slots=True, kw_only=True)
class _Indexes(_VarBinds):
    new_index: bool = False
    any_index: bool = False

    def _flags(self) -> int:
        return (
            _InContext._flags(self)
            | (Flag.NEW_INDEX if self.new_index else 0)
            | (Flag.ANY_INDEX if self.any_index else 0)
        )

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:
        return {
            "context": context,
            "varbinds": source.varbinds(),
            "new_index": bool(flags & Flag.NEW_INDEX),
            "any_index": bool(flags & Flag.ANY_INDEX),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAllocate(_Indexes):
    """Reserve values of an index object (6.2.12)."""

    TYPE: ClassVar = PduType.INDEX_ALLOCATE


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexDeallocate(_Indexes):
    """Release values of an index object (6.2.13)."""

    TYPE: ClassVar = PduType.INDEX_DEALLOCATE


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAgentCaps(_InContext):
    """Have a row in sysORTable (6.2.14)."""

    TYPE: ClassVar = PduType.ADD_AGENT_CAPS

    oid: Oid = ()
    description: str = ""

    def _write(self, out: _Writer) -> None:
        out.oid(self.oid)
        out.text(self.description)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        oid, _ = source.oid()
        return {"context": context, "oid": oid, "description": source.text()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAgentCaps(_InContext):
    """Have the row in sysORTable removed (6.2.15)."""

    TYPE: ClassVar = PduType.REMOVE_AGENT_CAPS

    oid: Oid = ()

    def _write(self, out: _Writer) -> None:
        out.oid(self.oid)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        return {"context": context, "oid": source.oid()[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Pdu):
    """The answer to any request, in either direction (6.2.16)."""

    TYPE: ClassVar = PduType.RESPONSE

    sys_up_time: int = 0
    """Hundredths of a second; 0 in a subagent's."""
    error: int = ErrorStatus.NO_ERROR
    """An ErrorStatus, or a number that none stands for."""
    index: int = 0
    """1-based position of the varbind that failed; 0: none did."""
    varbinds: tuple[VarBind, ...] = ()

    def _write(self, out: _Writer) -> None:
        out.pack("IHH", self.sys_up_time, self.error, self.index)
        out.varbinds(self.varbinds)

    @classmethod
    def _read(cls, source: _Reader, flags: int, context: str) -> dict[str, Any]:  # noqa: ARG003
        sys_up_time, error, index = source.unpack("IHH")
        return {
            "sys_up_time": sys_up_time,
            "error": error,
            "index": index,
            "varbinds": source.varbinds(),
        }


PDU_CLASSES: dict[int, type[Pdu]] = {
    cls.TYPE: cls
    for cls in (
        Open, Close, Register, Unregister, Get, GetNext, GetBulk, TestSet, CommitSet, UndoSet,
        CleanupSet, Notify, Ping, IndexAllocate, IndexDeallocate, AddAgentCaps, RemoveAgentCaps,
        Response,
    )
}  # fmt: skip


def encode(pdu: Pdu, network_byte_order: bool = True) -> bytes:
    """Return the octets of `pdu`; ValueError when a field does not fit its place."""
    order = ">" if network_byte_order else "<"
    flags = pdu._flags() | (Flag.NETWORK_BYTE_ORDER if network_byte_order else 0)
    out = _Writer(order)
    try:
        if flags & Flag.NON_DEFAULT_CONTEXT and isinstance(pdu, _InContext):
            out.text(pdu.context)
        pdu._write(out)
        payload = b"".join(out.parts)
        header = struct.pack(
            order + "BBBxIIII", VERSION, pdu.TYPE, flags,
            pdu.session_id, pdu.transaction_id, pdu.packet_id, len(payload),
        )  # fmt: skip
    except (struct.error, TypeError, UnicodeError) as error:
        raise ValueError(f"{type(pdu).__name__} cannot be encoded: {error}") from None
    return header + payload


class Header(NamedTuple):
    """The first 20 octets (6.1)."""

    type: int
    flags: int
    session_id: int
    transaction_id: int
    packet_id: int
    payload_length: int

    @classmethod
    def decode(cls, data: bytes, at: int = 0) -> Self:
        """Read the header at `at`; HeaderError when it is none, or tells of too long a payload."""
        if len(data) - at < HEADER_SIZE:
            raise HeaderError(f"a header of {len(data) - at} octets")
        if data[at] != VERSION:
            raise HeaderError(f"AgentX version {data[at]}, only {VERSION} is known")
        order = ">" if data[at + 2] & Flag.NETWORK_BYTE_ORDER else "<"
        header = cls._make(struct.unpack_from(order + "xBBxIIII", data, at))
        if header.payload_length > MAX_PAYLOAD:
            raise HeaderError(
                f"a payload of {header.payload_length} octets, at most {MAX_PAYLOAD} are taken"
            )
        if header.payload_length % 4:
            raise HeaderError(f"a payload of {header.payload_length} octets, no multiple of four")
        return header


def decode(data: bytes) -> Pdu:
    """Return the PDU that `data`, all of it, is; ParseError when it is none."""
    header = Header.decode(data)
    if len(data) != HEADER_SIZE + header.payload_length:
        raise HeaderError(
            f"{len(data)} octets, the header tells of {HEADER_SIZE + header.payload_length}"
        )
    cls = PDU_CLASSES.get(header.type)
    if cls is None:
        raise ParseError(f"a PDU of unknown type {header.type}")
    source = _Reader(data, ">" if header.flags & Flag.NETWORK_BYTE_ORDER else "<")
    context = source.text() if header.flags & Flag.NON_DEFAULT_CONTEXT else ""
    fields = cls._read(source, header.flags, context)
    if source.at != source.end:
        raise ParseError(f"{source.end - source.at} octets too many in a {cls.__name__}")
    return cls(
        session_id=header.session_id,
        transaction_id=header.transaction_id,
        packet_id=header.packet_id,
        **fields,
    )


class Framer:
    """Cuts a stream into whole PDUs, whatever the pieces in which it comes."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def empty(self) -> bool:
        """No part of a PDU is waiting for the rest."""
        return not self._buffer

    def feed(self, data: bytes) -> tuple[list[bytes], HeaderError | None]:
        """Return the PDUs that `data` completes, in order, and why the stream ends after them.

        After an error there is nothing more to be read from this stream.
        """
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        error = None
        at = 0
        while len(buffer) - at >= HEADER_SIZE:
            try:
                header = Header.decode(bytes(buffer[at : at + HEADER_SIZE]))
            except HeaderError as found:
                error = found
                break
            end = at + HEADER_SIZE + header.payload_length
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[at:end]))
            at = end
        del buffer[:at]
        return frames, error
