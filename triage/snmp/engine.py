"""pysnmp's engine without sockets and timers: it writes and reads the messages, others carry them.

pysnmp 7 has a dispatcher of transports below its engine and hands out each message of RFC 3412 as
bytes. Sockets and patience are ours (`triage.snmp.manager`, `triage.snmp.receiver`), for
- its timers count on the wall clock, and stop when that is set back: here nothing ticks, and what
  the engine keeps for a request is released by who gave it up;
- its own socket is shared between all agents, and so is never told that a port is refused;
- it has a table of targets that a message need not: `send_pdu` takes an address.

What an engine costs: 0.15 s to make, 0.7 MB, 3 ms to read an answer of 24 values. So one serves
many agents. Its table of users goes by names: credentials that have a name in common but differ in
the rest are in engines of their own (`Engines`).

What pysnmp keeps of engines that it heard of (identities, clocks, users' keys) is nowhere bounded
without timers: an engine that has carried MAX_MESSAGES takes no new session, and goes with its last
one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from pysnmp.carrier.asyncio.dgram.udp import UdpTransportAddress
from pysnmp.carrier.base import AbstractTransportAddress, AbstractTransportDispatcher
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.error import PySnmpError
from pysnmp.proto import errind, rfc1902
from pysnmp.proto.api import v2c

from triage.snmp.credentials import SnmpCredentials
from triage.snmp.values import NUMBERS, Oid, Tag, Value, VarBind

DOMAIN = config.SNMP_UDP_DOMAIN

MAX_MESSAGES = 5000
"""That an engine carries, in both directions, before another one is made."""

MAX_NAMES = 64
"""Communities and users of one engine: each new one has it go through all of them again."""

AT_ONCE = 16
"""Requests that wait for an answer no longer than a moment."""
MOMENT = 0.05
"""Seconds."""

AUTH = {
    "": config.USM_AUTH_NONE,
    "MD5": config.USM_AUTH_HMAC96_MD5,
    "SHA": config.USM_AUTH_HMAC96_SHA,
    "SHA-224": config.USM_AUTH_HMAC128_SHA224,
    "SHA-256": config.USM_AUTH_HMAC192_SHA256,
    "SHA-384": config.USM_AUTH_HMAC256_SHA384,
    "SHA-512": config.USM_AUTH_HMAC384_SHA512,
}
PRIV = {
    "": config.USM_PRIV_NONE,
    "DES": config.USM_PRIV_CBC56_DES,
    "AES": config.USM_PRIV_CFB128_AES,
    "AES-192": config.USM_PRIV_CFB192_AES_BLUMENTHAL,
    "AES-256": config.USM_PRIV_CFB256_AES_BLUMENTHAL,
    "AES-192-C": config.USM_PRIV_CFB192_AES,
    "AES-256-C": config.USM_PRIV_CFB256_AES,
}
LEVELS = {"noAuthNoPriv": 1, "authNoPriv": 2, "authPriv": 3}

_V2C, _V3 = 1, 3
"""Message processing models (RFC 3411, SnmpMessageProcessingModel)."""
_COMMUNITIES, _USM = 2, 3
"""Security models."""

# pysnmp's classes have no types
_octets: Any = rfc1902.OctetString
_v2c: Any = v2c
_config: Any = config


class Peer(UdpTransportAddress):
    """Whom a message goes to: for pysnmp a key, under which it keeps whose engine that is."""

    def __new__(cls, key: Sequence[object], send: Callable[[bytes], None]) -> Peer:
        """Make one of whatever names it; `send` gives a message to it."""
        made: Peer = super().__new__(cls, key)
        made.send = send
        return made

    send: Callable[[bytes], None]


class Carrier(AbstractTransportDispatcher):
    """Below the engine: gives messages to the peer itself."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def send_message(
        self,
        outgoingMessage: bytes,  # noqa: N803 - pysnmp's names
        transportDomain: object,  # noqa: ARG002, N803
        transportAddress: AbstractTransportAddress,  # noqa: N803
    ) -> None:
        """Send a message."""
        if isinstance(transportAddress, Peer):
            transportAddress.send(bytes(outgoingMessage))


@dataclass(frozen=True, slots=True)
class Response:
    """What an agent answers."""

    error_status: int
    error_index: int
    varbinds: tuple[VarBind, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What the other engine has against our message: the counter that it names (RFC 3412)."""

    oid: Oid
    text: str
    """In pysnmp's words."""


Answer = Response | Report


class Heard(Enum):
    """What came of a datagram."""

    READ = 1
    GARBAGE = 2
    STRANGER = 3
    """It is of an engine at which pysnmp knows no such user: another one than was asked."""


class WriteError(Exception):
    """pysnmp cannot write this message; the text is its own and holds no secret."""


def get_request(names: Sequence[Oid]) -> Any:
    """Make a GET of these instances."""
    pdu = _v2c.GetRequestPDU()
    _v2c.apiPDU.set_defaults(pdu)
    _v2c.apiPDU.set_varbinds(pdu, [(name, v2c.null) for name in names])
    return pdu


def bulk_request(names: Sequence[Oid], repetitions: int) -> Any:
    """Make a GETBULK from these names on."""
    pdu = _v2c.GetBulkRequestPDU()
    _v2c.apiBulkPDU.set_defaults(pdu)
    _v2c.apiBulkPDU.set_max_repetitions(pdu, repetitions)
    _v2c.apiBulkPDU.set_varbinds(pdu, [(name, v2c.null) for name in names])
    return pdu


def bindings(varbinds: Sequence[tuple[Any, Any]]) -> tuple[VarBind, ...]:
    """Take pysnmp's bindings for ours; ValueError for a type that SNMP does not have."""
    return tuple((tuple(name), _value(value)) for name, value in varbinds)


def _value(value: Any) -> Value:
    outer = value.tagSet.superTags[-1]
    tag = Tag(outer.tagClass | outer.tagId)
    if tag in NUMBERS:
        return Value(tag, int(value))
    if tag is Tag.OBJECT_IDENTIFIER:
        return Value(tag, tuple(value))
    if tag in (Tag.OCTET_STRING, Tag.IP_ADDRESS, Tag.OPAQUE):
        return Value(tag, value.asOctets())
    return Value(tag)


def add_community(snmp: Any, name: str, community: str) -> None:
    """Make a community known to pysnmp, under a name of its own."""
    _config.add_v1_system(snmp, name, community.encode())


def add_user(snmp: Any, credentials: SnmpCredentials, engine_id: bytes | None = None) -> None:
    """Make a user known to pysnmp, at the engine of that ID; None: at its own."""
    _config.add_v3_user(
        snmp,
        credentials.user.encode(),
        AUTH[credentials.auth_protocol],
        credentials.auth_passphrase.encode() or None,
        PRIV[credentials.priv_protocol],
        credentials.priv_passphrase.encode() or None,
        securityEngineId=engine_id,
    )


def parse_errors(snmp: Any) -> int:
    """How many messages the engine could not read (snmpInASNParseErrs, RFC 3418)."""
    (counter,) = snmp.get_mib_builder().import_symbols("__SNMPv2-MIB", "snmpInASNParseErrs")
    return int(counter.syntax)


class Engine:
    """Asks agents in the names of some communities and users."""

    def __init__(self) -> None:
        self.messages = 0
        """That it has carried."""
        self._snmp: Any = SnmpEngine()
        self._snmp.register_transport_dispatcher(Carrier())
        self._names: dict[str, str] = {}
        """Community or user -> pysnmp's securityName."""
        self._stranger = False
        observer: Any = self._snmp.observer
        observer.register_observer(self._on_refused, "rfc3412.prepareDataElements:sm-failure")

    @property
    def worn(self) -> bool:
        """Whether another one is to take its place."""
        return self.messages >= MAX_MESSAGES

    def takes(self, credentials: SnmpCredentials) -> bool:
        """Tell whether these credentials can be added."""
        free = _name(credentials) not in self._names and len(self._names) < MAX_NAMES
        return free and not self.worn

    def add(self, credentials: SnmpCredentials) -> None:
        """Make a community or a user known."""
        name = credentials.user
        if credentials.user:
            add_user(self._snmp, credentials)
        else:
            name = f"community-{len(self._names)}"
            add_community(self._snmp, name, credentials.community)
        self._names[_name(credentials)] = name

    # Asking

    def knows(self, peer: Peer) -> bool:
        """Tell whether the identity of this agent's engine is known."""
        model = self._snmp.message_processing_subsystems[_V3]
        return model.get_peer_engine_info(DOMAIN, peer)[0] is not None

    def send(
        self,
        credentials: SnmpCredentials,
        context: str,
        pdu: Any,
        peer: Peer,
        on_answer: Callable[[Answer], None],
    ) -> int:
        """Send a request; `release` what this gives when no answer is awaited any more.

        Where the agent's engine is not known yet, its discovery is sent in place of the request,
        and answered by a Report. Raises WriteError.
        """
        v3 = bool(credentials.user)
        request_id = int(_v2c.apiPDU.get_request_id(pdu))

        def answered(*given: Any) -> None:
            answer = _answer(given[8], given[9], request_id)
            if answer is not None:
                on_answer(answer)

        self.messages += 1
        try:
            handle: int = self._snmp.message_dispatcher.send_pdu(
                self._snmp,
                DOMAIN,
                peer,
                _V3 if v3 else _V2C,
                _USM if v3 else _COMMUNITIES,
                _octets(self._names[_name(credentials)].encode()),
                LEVELS[credentials.level],
                None,
                _octets(context.encode() if v3 else b""),
                1,
                pdu,
                True,
                cbFun=answered,
            )
        except PySnmpError as error:
            raise WriteError(_indication(error)) from None
        return handle

    def release(self, credentials: SnmpCredentials, handle: int) -> None:
        """Forget a request."""
        model = _V3 if credentials.user else _V2C
        self._snmp.message_dispatcher.release_state_information(self._snmp, handle, model)

    def receive(self, data: bytes, peer: Peer) -> Heard:
        """Take a message that came from a peer."""
        self.messages += 1
        self._stranger = False
        before = parse_errors(self._snmp)
        # As the key that it is, for pysnmp keeps it: not with the socket behind it
        key = UdpTransportAddress(peer)
        try:
            self._snmp.message_dispatcher.receive_message(self._snmp, DOMAIN, key, data)
        except Exception:  # pysnmp lets many kinds through for what is malformed
            return Heard.GARBAGE
        if parse_errors(self._snmp) != before:
            return Heard.GARBAGE
        return Heard.STRANGER if self._stranger else Heard.READ

    def _on_refused(self, _engine: object, _point: str, variables: Any, _context: object) -> None:
        indication = variables["statusInformation"].get("errorIndication")
        self._stranger = isinstance(indication, errind.UnknownSecurityName)


def _name(credentials: SnmpCredentials) -> str:
    return f"user {credentials.user}" if credentials.user else f"community {credentials.community}"


def _answer(pdu: Any, status: Any, request_id: int) -> Answer | None:
    if status is not None:
        oid = tuple(status["oid"]) if "oid" in status else ()
        return Report(oid, _indication(status))
    if int(_v2c.apiPDU.get_request_id(pdu)) != request_id:
        return None
    return Response(
        int(_v2c.apiPDU.get_error_status(pdu)),
        int(_v2c.apiPDU.get_error_index(pdu, muteErrors=True)),
        bindings(_v2c.apiPDU.get_varbinds(pdu)),
    )


def _indication(status: Any) -> str:
    """What is wrong in pysnmp's words, without what it was about."""
    try:
        return str(status["errorIndication"])
    except (KeyError, TypeError):
        return type(status).__name__


class Engines:
    """Engines for all that is to be asked: made when needed first, shared, replaced when worn.

    They also take care that the answers to many requests do not come at once, each of which keeps
    the loop busy for milliseconds: see `turn`.
    """

    def __init__(self) -> None:
        self._engines: list[Engine] = []
        self._homes: dict[SnmpCredentials, Engine] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    def get(self, credentials: SnmpCredentials) -> Engine:
        """Give the engine that asks with these credentials."""
        credentials = replace(credentials, context="")
        engine = self._homes.get(credentials)
        if engine is None or engine.worn:
            engine = self._homes[credentials] = self._with_room(credentials)
            engine.add(credentials)
        return engine

    def _with_room(self, credentials: SnmpCredentials) -> Engine:
        self._engines = [engine for engine in self._engines if not engine.worn]
        self._homes = {key: engine for key, engine in self._homes.items() if not engine.worn}
        for engine in self._engines:
            if engine.takes(credentials):
                return engine
        self._engines.append(Engine())
        return self._engines[-1]

    async def turn(self, answer: asyncio.Future[Any]) -> None:
        """Wait until a request may be sent: AT_ONCE until they are answered, or for a MOMENT.

        So those who never answer do not keep the others waiting for their timeouts.
        """
        await self._turns.acquire()
        over = False

        def release(_: object = None) -> None:
            nonlocal over
            if not over:
                over = True
                moment.cancel()
                self._turns.release()

        moment = asyncio.get_running_loop().call_later(MOMENT, release)
        answer.add_done_callback(release)
