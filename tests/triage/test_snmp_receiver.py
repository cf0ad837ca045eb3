"""Notifications as net-snmp sends them, recorded, and as nobody should: pysnmp makes of them."""

from __future__ import annotations

import gc
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]
from pysnmp.carrier.asyncio.dgram.udp import SNMP_UDP_DOMAIN
from pysnmp.entity.engine import SnmpEngine
from pysnmp.proto import rfc1902
from pysnmp.proto.mpmod.rfc3412 import SNMPv3Message
from pysnmp.proto.secmod.rfc3414.service import UsmSecurityParameters

from tests.triage.snmp_agent import Pdu, PduType, announced, decode, encode, encode_pdu
from triage.snmp import notifications, receiver
from triage.snmp.credentials import SnmpCredentials
from triage.snmp.engine import LEVELS, Carrier, Peer, add_user
from triage.snmp.receiver import LocalEngine, NotificationUser, Outcome, Receiver
from triage.snmp.values import EXCEPTIONS, Tag, Value

RECORDED = json.loads((Path(__file__).parent / "data/snmp/datagrams.json").read_text())["datagrams"]
WORDS = ("authenticate", "encrypt-this")
TRIAGE = SnmpCredentials(
    user="triage",
    auth_protocol="SHA-256",
    auth_passphrase=WORDS[0],
    priv_protocol="AES",
    priv_passphrase=WORDS[1],
)
SENDER = "800000020109840301"
"""Engine ID of who sent what is recorded."""
OURS = b"our engine"


def recorded(name: str) -> bytes:
    return bytes.fromhex(RECORDED[name])


def made(*users: NotificationUser) -> Receiver:
    known = users or (NotificationUser(credentials=TRIAGE, engine_id=SENDER),)
    return Receiver(["public"], known, LocalEngine(OURS, 3, 0.0), lambda: 50.0)


@pytest.fixture(scope="module")
def receiving() -> Receiver:
    return made()


@pytest.mark.parametrize("name", ["v2c trap", "v2c inform", "v3 trap authPriv"])
def test_recorded_notifications_are_understood(receiving: Receiver, name: str) -> None:
    outcome = receiving.handle(recorded(name))
    assert outcome.received is not None
    assert outcome.received.inform == (outcome.reply is not None) == ("inform" in name)
    varbinds = outcome.received.varbinds
    (one,) = notifications.read(varbinds, time=1.0, hypervisor="kvm1", sender="192.0.2.1")
    assert (one.name, one.vm_name, one.vm_index) == ("vmPaused", "worker-1", 3)
    assert one.uuid == "564d1234-5678-9abc-def0-123456789abc"
    assert one.text.endswith("VM-MIB::vmOperState.3 = INTEGER: running(4)")


def test_a_recorded_inform_is_acknowledged_with_what_it_said(receiving: Receiver) -> None:
    outcome = receiving.handle(recorded("v2c inform"))
    assert outcome.reply is not None
    asked, answered = decode(recorded("v2c inform"))[1], decode(outcome.reply)[1]
    assert answered.type is PduType.RESPONSE
    assert (answered.request_id, answered.varbinds) == (asked.request_id, asked.varbinds)


def test_a_lower_level_than_the_users_is_refused(receiving: Receiver) -> None:
    assert receiving.handle(recorded("v3 trap authNoPriv")).dropped == "wrong security level"


def test_a_recorded_discovery_is_answered_with_our_engine(receiving: Receiver) -> None:
    outcome = receiving.handle(recorded("v3 inform discovery"))
    assert (outcome.received, outcome.dropped) == (None, "")
    assert outcome.reply is not None
    # msgAuthoritativeEngineID, Boots (3) and Time (50) of the Report
    assert b"\x04\x0a" + OURS + b"\x02\x01\x03\x02\x01\x32" in outcome.reply


VALUES = st.one_of(
    st.builds(Value, st.just(Tag.INTEGER), st.integers(-(2**31), 2**31 - 1)),
    st.builds(
        Value,
        st.sampled_from((Tag.COUNTER32, Tag.GAUGE32, Tag.TIME_TICKS)),
        st.integers(0, 2**32 - 1),
    ),
    st.builds(Value, st.just(Tag.COUNTER64), st.integers(0, 2**64 - 1)),
    st.builds(Value, st.sampled_from((Tag.OCTET_STRING, Tag.OPAQUE)), st.binary(max_size=300)),
    st.builds(Value, st.just(Tag.IP_ADDRESS), st.binary(min_size=4, max_size=4)),
    st.builds(
        Value,
        st.just(Tag.OBJECT_IDENTIFIER),
        st.lists(st.integers(0, 2**32 - 1), max_size=20).map(lambda rest: (1, 3, *rest)),
    ),
    st.builds(Value, st.sampled_from(sorted(EXCEPTIONS | {Tag.NULL}))),
)


@settings(deadline=None)
@given(value=VALUES)
def test_values_keep_their_types(value: Value) -> None:
    pdu = Pdu(PduType.RESPONSE, 7, (((1, 3, 6), value),))
    assert decode(encode(b"public", pdu)) == (b"public", pdu)


def test_communities_and_kinds(receiving: Receiver) -> None:
    refused = receiving.handle(encode(b"private", announced()))
    assert (refused.dropped, refused.received, refused.reply) == ("unknown community", None, None)
    asked = receiving.handle(encode(b"public", announced(kind=PduType.GET)))
    assert (asked.dropped, asked.received, asked.reply) == ("no notification", None, None)
    trap = receiving.handle(encode(b"public", announced()))
    assert trap.received is not None
    assert (trap.received.community, trap.reply) == (b"public", None)


class Sender:
    """Another engine, which sends what it is told to."""

    def __init__(self, credentials: SnmpCredentials, engine_id: str = SENDER) -> None:
        self.snmp: Any = SnmpEngine()
        self.snmp.register_transport_dispatcher(Carrier())
        (own,) = self.snmp.get_mib_builder().import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineID")
        own.syntax = own.syntax.clone(bytes.fromhex(engine_id))
        self.credentials = credentials
        add_user(self.snmp, credentials)

    def trap(self, level: str = "", context: str = "ctx", request_id: int = 1) -> bytes:
        sent: list[bytes] = []
        self.snmp.message_dispatcher.send_pdu(
            self.snmp,
            SNMP_UDP_DOMAIN,
            Peer(("r",), sent.append),
            3,
            3,
            rfc1902.OctetString(self.credentials.user.encode()),
            LEVELS[level or self.credentials.level],
            None,
            rfc1902.OctetString(context.encode()),
            1,
            encode_pdu(announced(request_id=request_id)),
            False,
        )
        return sent[0]


def test_users_are_known_at_the_engine_that_they_are_configured_for(receiving: Receiver) -> None:
    trap = receiving.handle(Sender(TRIAGE).trap())
    assert trap.received is not None
    assert trap.received.context == b"ctx"
    assert not trap.received.inform
    elsewhere = receiving.handle(Sender(TRIAGE, "8000000201ffffff").trap())
    assert (elsewhere.received, elsewhere.dropped) == (None, "unknown user")


def test_what_is_sent_again_is_known_by_what_it_says(receiving: Receiver) -> None:
    """A v3 message that is sent again has another message ID, salt and digest."""
    sender = Sender(TRIAGE)
    first, again, other = (
        receiving.handle(sender.trap(request_id=number)).received for number in (1, 1, 2)
    )
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.said == again.said != other.said


def test_the_same_user_with_other_passphrases_at_two_engines() -> None:
    other = SnmpCredentials(user="triage", auth_protocol="SHA", auth_passphrase=WORDS[1])
    receiving = made(
        NotificationUser(credentials=TRIAGE, engine_id=SENDER),
        NotificationUser(credentials=other, engine_id="8000000201ffffff"),
    )
    assert receiving.handle(Sender(TRIAGE).trap()).received is not None
    assert receiving.handle(Sender(other, "8000000201ffffff").trap()).received is not None
    assert receiving.handle(Sender(other).trap()).dropped == "wrong digest"


@pytest.mark.parametrize("level", ["noAuthNoPriv", "authNoPriv"])
def test_a_trap_below_its_users_level_is_refused(receiving: Receiver, level: str) -> None:
    outcome = receiving.handle(Sender(TRIAGE).trap(level))
    assert (outcome.received, outcome.dropped) == (None, "wrong security level")


def rewritten(data: bytes, *, user: bytes, engine: bytes, flags: int = 0) -> bytes:
    """A message whose security parameters somebody wrote anew; it is neither signed nor secret."""
    message, _ = decoder.decode(data, asn1Spec=SNMPv3Message())
    parameters, _ = decoder.decode(bytes(message[2]), asn1Spec=UsmSecurityParameters())
    parameters[0], parameters[3] = engine, user
    message[1][2] = bytes([flags])
    message[2] = encoder.encode(parameters)
    return bytes(encoder.encode(message))


NAMED = Sender(SnmpCredentials(user="nobody")).trap()
CONFIRMED = 4
"""msgFlags of an inform."""


@pytest.mark.parametrize("inform", [False, True])
def test_nobody_is_no_user(receiving: Receiver, inform: bool) -> None:
    """A message without a user's name needs no key, and pysnmp lets it in."""
    engine = OURS if inform else bytes.fromhex(SENDER)
    data = rewritten(NAMED, user=b"", engine=engine, flags=CONFIRMED if inform else 0)
    if inform:
        assert data.count(b"\xa7") == 1
        data = data.replace(b"\xa7", b"\xa6")
    outcome = receiving.handle(data)
    assert (outcome.received, outcome.reply) == (None, None)
    assert outcome.dropped == "unknown user"


# Hostile datagrams


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_garbage_is_dropped(receiving: Receiver, data: bytes) -> None:
    assert receiving.handle(data).received is None


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(RECORDED)),
    places=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 20),
)
def test_damage_never_raises(
    receiving: Receiver, name: str, places: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(recorded(name))
    for place, octet in places:
        data[place % len(data)] = octet
    assert isinstance(receiving.handle(bytes(data[: len(data) - cut])), Outcome)


def test_deep_nesting_never_raises(receiving: Receiver) -> None:
    data = b""
    for _ in range(3000):
        size = len(data)
        data = b"\x30\x84" + size.to_bytes(4, "big") + data
    assert receiving.handle(data).received is None
    for whole in (b"\x30\x80" * 30_000, b"\x24\x80" * 30_000, b"\x30\x82\xff\xff" * 16_000):
        assert receiving.handle(whole).received is None


def test_a_flood_of_strange_engines_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of each engine that anybody names is what pysnmp remembers."""
    monkeypatch.setattr(receiver, "MAX_MESSAGES", 100)
    receiving = made(NotificationUser(credentials=SnmpCredentials(user="plain")))
    numbers = itertools.count()

    def flood(messages: int) -> int:
        for _ in range(messages):
            engine = bytes.fromhex("80000002") + next(numbers).to_bytes(4, "big")
            data = rewritten(NAMED, user=b"", engine=engine)
            assert receiving.handle(data).received is None
        gc.collect()
        return len(gc.get_objects())

    before = flood(150)
    assert flood(400) - before < 400


def test_the_engine_that_is_made_anew_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "MAX_MESSAGES", 2)
    now = 50.0
    users = [NotificationUser(credentials=TRIAGE)]
    receiving = Receiver(["public"], users, LocalEngine(OURS, 3, 0.0), lambda: now)
    first = receiving.handle(recorded("v3 inform discovery")).reply
    engine = receiving._snmp
    receiving.handle(b"")
    now += 7
    second = receiving.handle(recorded("v3 inform discovery")).reply
    assert receiving._snmp is not engine
    assert first is not None
    assert second is not None
    assert first.replace(b"\x02\x01\x03\x02\x01\x32", b"\x02\x01\x03\x02\x01\x39") == second
