"""Takes notifications apart: datagrams in, notifications and replies out. No sockets, no tasks.

pysnmp's notification receiver does it (RFC 3413 section 3.4): communities, users, discovery of our
engine by those who send informs, and the reply to an inform, which is handed out for sending once
the notification is kept. For SNMPv3 it matters who is authoritative (RFC 3414): of a trap the
sender's engine, so a trap's user must be configured with the sender's engine ID; of an inform ours,
whose boots have to grow with each start.

What pysnmp does not do, and what is done here
- It takes messages without a user's name, and traps below their user's security level: refused.
- Its engine's time is the wall clock's, which can be set: ours is counted by the monotonic one.
- What it keeps of messages that lead to nothing is not bounded: the engine is made anew after
  MAX_MESSAGES, with the same identity, and its time goes on.
- It raises many kinds of errors for malformed messages: none leaves `Receiver.handle`.
- It does not follow the clocks of those who send traps, so that an authentic SNMPv3 trap which
  somebody recorded can be replayed: send informs where that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import ntfrcv
from pysnmp.proto import errind, rfc1902, rfc3411

from triage.snmp.credentials import SnmpCredentials
from triage.snmp.engine import DOMAIN, LEVELS, Carrier, Peer, add_community, add_user, bindings
from triage.snmp.identity import MAX_BOOTS
from triage.snmp.values import VarBind

MAX_MESSAGES = 2000

_USM = 3
"""Security model of SNMPv3's users."""

_REASONS: Mapping[type, str] = {
    errind.UnknownCommunityName: "unknown community",
    errind.UnknownSecurityName: "unknown user",
    errind.UnsupportedSecurityLevel: "wrong security level",
    errind.AuthenticationFailure: "wrong digest",
    errind.AuthenticationError: "wrong digest",
    errind.NotInTimeWindow: "not in time window",
    errind.DecryptionError: "cannot be decrypted",
    errind.UnknownEngineID: "",  # who asks for our engine ID is not refused
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationUser:
    """A user of SNMPv3 who may notify us."""

    credentials: SnmpCredentials
    engine_id: str = ""
    """Of the sender of traps, in hex; "": informs only."""


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Our own engine, which informs are sent to."""

    engine_id: bytes
    boots: int
    started: float
    """Monotonic clock at which its time was 0."""


@dataclass(frozen=True, slots=True)
class Received:
    """A notification whose sender is who it says."""

    varbinds: tuple[VarBind, ...]
    inform: bool
    """Whether its sender waits for our reply."""
    said: bytes
    """What is the same when it is sent again."""
    context: bytes = b""
    community: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a datagram."""

    received: Received | None = None
    reply: bytes | None = None
    """To be sent back: for a notification, once it is kept."""
    dropped: str = ""
    """Why it is no notification for us; "" for one, and for the steps that lead to one."""


class Receiver:
    """Takes datagrams apart."""

    def __init__(
        self,
        communities: Sequence[str],
        users: Sequence[NotificationUser],
        engine: LocalEngine,
        monotonic: Callable[[], float],
    ) -> None:
        self._communities = {
            f"community-{number}": one for number, one in enumerate(dict.fromkeys(communities))
        }
        """By the name that pysnmp knows it under."""
        self._local = engine
        self._monotonic = monotonic
        self._users: dict[tuple[bytes, str], SnmpCredentials] = {}
        """By engine and name; of two with the same the first counts."""
        for one in users:
            at_engines = {engine.engine_id, bytes.fromhex(one.engine_id.removeprefix("0x"))} - {b""}
            for at_engine in at_engines:
                self._users.setdefault((at_engine, one.credentials.user), one.credentials)
        self._reply: bytes | None = None
        self._received: Received | None = None
        self._dropped = ""
        self._messages = 0
        self._snmp = self._make()

    def handle(self, data: bytes) -> Outcome:
        """Take one datagram."""
        if self._messages >= MAX_MESSAGES:
            self._messages = 0
            self._snmp = self._make()
        self._messages += 1
        self._reply = self._received = None
        self._dropped = "malformed"
        try:
            self._snmp.message_dispatcher.receive_message(
                self._snmp, DOMAIN, Peer(("", 0), self._on_reply), data
            )
        except Exception:  # pysnmp lets many kinds through for what is malformed
            return Outcome(dropped="malformed")
        if self._received is None:
            return Outcome(reply=self._reply, dropped=self._dropped)
        reply = self._reply if self._received.inform else None
        return Outcome(self._received, reply)

    # What pysnmp tells

    def _on_reply(self, data: bytes) -> None:
        self._reply = data

    def _on_refused(self, _engine: object, _point: str, variables: Any, _context: object) -> None:
        indication = variables["statusInformation"].get("errorIndication")
        self._dropped = _REASONS.get(type(indication), "malformed")

    def _on_known(self, _engine: object, _point: str, variables: Any, _context: object) -> None:
        """Look at a message that pysnmp lets in, before it is looked at who takes it."""
        self._dropped = "no notification"
        if variables["securityModel"] != _USM:
            return
        key = (bytes(variables["securityEngineId"]), bytes(variables["securityName"]).decode())
        user = self._users.get(key)
        if user is None:
            self._dropped = "unknown user"
        elif variables["securityLevel"] != LEVELS[user.level]:
            self._dropped = "wrong security level"

    def _on_notification(
        self,
        engine: Any,
        _reference: object,
        _context_engine: object,
        context: Any,
        varbinds: Any,
        _ours: object,
    ) -> None:
        if self._dropped != "no notification":
            self._reply = None
            return
        message = engine.observer.get_execution_context("rfc3412.receiveMessage:request")
        pdu, found = message["pdu"], bindings(varbinds)
        community, said = "", bytes(message["wholeMsg"])
        if message["securityModel"] == _USM:
            # What is sent again is another message with the same PDU
            said = repr((int(pdu[0]), found)).encode() + bytes(context)
        else:
            community = self._communities[str(message["securityName"])]
        self._received = Received(
            found,
            inform=pdu.tagSet in rfc3411.CONFIRMED_CLASS_PDUS,
            said=said,
            context=bytes(context),
            community=community.encode(),
        )

    # The engine

    def _make(self) -> Any:
        snmp: Any = SnmpEngine()
        snmp.register_transport_dispatcher(Carrier())
        engine_id, boots, uptime = snmp.get_mib_builder().import_symbols(
            "__SNMP-FRAMEWORK-MIB", "snmpEngineID", "snmpEngineBoots", "snmpEngineTime"
        )
        # Not through SnmpEngine(), which would count boots in a file below /tmp
        engine_id.syntax = engine_id.syntax.clone(self._local.engine_id)
        boots.syntax = boots.syntax.clone(self._local.boots)
        uptime.syntax = _Uptime()  # type: ignore[no-untyped-call]
        uptime.syntax.read = self._uptime
        for name, community in self._communities.items():
            add_community(snmp, name, community)
        for (at_engine, _), credentials in self._users.items():
            add_user(snmp, credentials, at_engine)
        ntfrcv.NotificationReceiver(snmp, self._on_notification)
        models = ("rfc2576", "rfc3412")
        snmp.observer.register_observer(
            self._on_refused, *(f"{model}.prepareDataElements:sm-failure" for model in models)
        )
        snmp.observer.register_observer(
            self._on_known,
            *(f"{model}.prepareDataElements:confirmed" for model in models),
            *(f"{model}.prepareDataElements:unconfirmed" for model in models),
        )
        return snmp

    def _uptime(self) -> int:
        return min(max(0, int(self._monotonic() - self._local.started)), MAX_BOOTS)


class _Uptime(rfc1902.Integer32):
    """snmpEngineTime: pysnmp clones it for the time as it is now."""

    read: Callable[[], int]

    def clone(self, *_args: object, **_kwargs: object) -> Any:
        """Give the seconds since the engine's start."""
        return rfc1902.Integer32(self.read())  # type: ignore[no-untyped-call]
