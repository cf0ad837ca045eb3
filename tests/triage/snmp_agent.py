"""An SNMPv2c agent of a few values, for what real agents do not do on request; pysnmp's codec."""

from __future__ import annotations

import asyncio
import bisect
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Self

from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]
from pyasn1.error import PyAsn1Error  # type: ignore[import-untyped]
from pysnmp.proto import rfc1905
from pysnmp.proto.api import v2c

from triage.snmp import oids
from triage.snmp.engine import bindings
from triage.snmp.values import NO_SUCH_INSTANCE, Oid, Tag, Value, VarBind

END = Value(Tag.END_OF_MIB_VIEW)
Content = Mapping[Oid, Value | Callable[[], Value]]

_message: Any = v2c.apiMessage
_pdu: Any = v2c.apiPDU


class PduType(Enum):
    """pysnmp's class of each kind."""

    GET = v2c.GetRequestPDU
    GET_BULK = v2c.GetBulkRequestPDU
    RESPONSE = v2c.ResponsePDU
    TRAP = v2c.SNMPv2TrapPDU
    INFORM = v2c.InformRequestPDU


@dataclass(frozen=True)
class Pdu:
    type: PduType
    request_id: int
    varbinds: tuple[VarBind, ...] = ()
    error_status: int = 0
    """Of GETBULK: non-repeaters."""
    error_index: int = 0
    """Of GETBULK: max-repetitions."""


_CLASSES: dict[Tag, Any] = {
    Tag.INTEGER: v2c.Integer,
    Tag.OCTET_STRING: v2c.OctetString,
    Tag.OBJECT_IDENTIFIER: v2c.ObjectIdentifier,
    Tag.IP_ADDRESS: v2c.IpAddress,
    Tag.COUNTER32: v2c.Counter32,
    Tag.GAUGE32: v2c.Gauge32,
    Tag.TIME_TICKS: v2c.TimeTicks,
    Tag.OPAQUE: v2c.Opaque,
    Tag.COUNTER64: v2c.Counter64,
}
_EXCEPTIONS: dict[Tag, Any] = {
    Tag.NULL: v2c.null,
    Tag.NO_SUCH_OBJECT: rfc1905.noSuchObject,
    Tag.NO_SUCH_INSTANCE: rfc1905.noSuchInstance,
    Tag.END_OF_MIB_VIEW: rfc1905.endOfMibView,
}


def to_pysnmp(value: Value) -> Any:
    made = _EXCEPTIONS.get(value.tag)
    return _CLASSES[value.tag](value.raw) if made is None else made


def encode_pdu(pdu: Pdu) -> Any:
    made = pdu.type.value()
    bulk = pdu.type is PduType.GET_BULK
    (v2c.apiBulkPDU if bulk else _pdu).set_defaults(made)
    made.setComponentByPosition(0, pdu.request_id)
    made.setComponentByPosition(1, pdu.error_status)
    made.setComponentByPosition(2, pdu.error_index)
    _pdu.set_varbinds(made, [(name, to_pysnmp(value)) for name, value in pdu.varbinds])
    return made


def encode(community: bytes, pdu: Pdu) -> bytes:
    """The octets of a message."""
    whole: Any = v2c.Message()
    _message.set_defaults(whole)
    _message.set_community(whole, community)
    _message.set_pdu(whole, encode_pdu(pdu))
    return bytes(encoder.encode(whole))


def decode(data: bytes) -> tuple[bytes, Pdu]:
    """Community and PDU; PyAsn1Error when it is no message."""
    whole, _ = decoder.decode(data, asn1Spec=v2c.Message())
    pdu = _message.get_pdu(whole)
    numbers = [int(pdu.getComponentByPosition(place)) for place in range(3)]
    found = bindings(_pdu.get_varbinds(pdu))
    kind = next(one for one in PduType if one.value.tagSet == pdu.tagSet)
    return bytes(_message.get_community(whole)), Pdu(kind, numbers[0], found, *numbers[1:])


def integer(number: int) -> Value:
    return Value(Tag.INTEGER, number)


def ticks(seconds: float) -> Value:
    return Value(Tag.TIME_TICKS, int(seconds * 100))


def text(value: str | bytes) -> Value:
    return Value(Tag.OCTET_STRING, value if isinstance(value, bytes) else value.encode())


def counter(number: int) -> Value:
    return Value(Tag.COUNTER64, number)


class Agent(asyncio.DatagramProtocol):
    """Answers from `values`; the other attributes are its faults, to be set while it runs."""

    def __init__(self, values: Content, community: str = "public") -> None:
        self.values = dict(values)
        self.community = community.encode()
        self.silent = False
        self.largest = 65507
        """Octets of an answer; more is tooBig."""
        self.status = 0
        """Error status of every answer."""
        self.endless: Oid | None = None
        """A subtree whose walk never ends: the same name is given again and again."""
        self.mangle: Callable[[bytes], bytes] = bytes
        """What becomes of an answer on its way."""
        self.asked: list[Pdu] = []
        self.on_asked: Callable[[], None] = lambda: None
        """Called with each datagram, before anything else."""
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(host, port)
        )
        self.port = self._transport.get_extra_info("sockname")[1]

    def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.on_asked()
        try:
            community, pdu = decode(data)
        except PyAsn1Error:
            return
        if community != self.community or self.silent:
            return
        self.asked.append(pdu)
        whole = self.answer(pdu)
        if len(whole) > self.largest:
            whole = encode(self.community, Pdu(PduType.RESPONSE, pdu.request_id, (), 1, 0))
        assert self._transport is not None
        self._transport.sendto(self.mangle(whole), addr)

    def answer(self, pdu: Pdu) -> bytes:
        return encode(self.community, self._answer(pdu))

    def _answer(self, pdu: Pdu) -> Pdu:
        if self.status:
            return Pdu(PduType.RESPONSE, pdu.request_id, pdu.varbinds, self.status, 1)
        if pdu.type is PduType.GET:
            found = tuple((name, self._value(name)) for name, _ in pdu.varbinds)
            return Pdu(PduType.RESPONSE, pdu.request_id, found)
        names = [name for name, _ in pdu.varbinds]
        found_rows: list[VarBind] = []
        order = sorted(self.values)
        for _ in range(max(pdu.error_index, 1)):
            row = [self._next(order, name) for name in names]
            found_rows += row
            names = [name for name, _ in row]
        return Pdu(PduType.RESPONSE, pdu.request_id, tuple(found_rows))

    def _value(self, name: Oid) -> Value:
        value = self.values.get(name, NO_SUCH_INSTANCE)
        return value if isinstance(value, Value) else value()

    def _next(self, order: list[Oid], name: Oid) -> VarBind:
        if self.endless is not None and name[: len(self.endless)] == self.endless:
            return (*self.endless, 1), integer(1)
        place = bisect.bisect_right(order, name)
        if place == len(order):
            return name, END
        return order[place], self._value(order[place])


def identity(number: int) -> uuid.UUID:
    return uuid.UUID(int=0x1234_5678_9ABC_4DEF_8123_4567_0000_0000 + number)


def hypervisor(
    vms: Mapping[int, uuid.UUID | None], *, state: int = 4, software: str = "QEMU"
) -> dict[Oid, Value | Callable[[], Value]]:
    """The rows of a hypervisor whose agent shows little: no CPU, no disks, no NICs."""
    values: dict[Oid, Value | Callable[[], Value]] = {
        oids.scalar(oids.SYS_UP_TIME): ticks(5000),
        oids.scalar(oids.VM_HV_SOFTWARE): text(software),
        oids.scalar(oids.VM_HV_VERSION): text("9.0"),
        oids.scalar(oids.VM_HV_UP_TIME): ticks(4000),
        oids.scalar(oids.VM_NUMBER): integer(len(vms)),
        oids.scalar(oids.VM_TABLE_LAST_CHANGE): ticks(3000),
    }
    for number, one in vms.items():
        values |= {
            (*oids.VM_NAME, number): text(f"vm{number}"),
            (*oids.VM_UUID, number): text(b"" if one is None else one.bytes),
            (*oids.VM_ADMIN_STATE, number): integer(1 if state == 4 else 4),
            (*oids.VM_OPER_STATE, number): integer(state),
            (*oids.VM_CUR_CPU_NUMBER, number): integer(2),
            (*oids.VM_UP_TIME, number): ticks(2000),
        }
    return values


def announced(
    number: int = 4, *more: VarBind, request_id: int = 1, kind: PduType = PduType.TRAP
) -> Pdu:
    """A notification of VM-MIB, vmPaused of VM 3 that ran."""
    bindings = more or (
        ((*oids.VM_NAME, 3), text("n1")),
        ((*oids.VM_UUID, 3), text(identity(3).bytes)),
        ((*oids.VM_OPER_STATE, 3), integer(4)),
    )
    head = (
        (oids.scalar(oids.SYS_UP_TIME), ticks(7)),
        (oids.SNMP_TRAP_OID, Value(Tag.OBJECT_IDENTIFIER, (*oids.VM_NOTIFICATIONS, number))),
    )
    return Pdu(kind, request_id, head + bindings)
