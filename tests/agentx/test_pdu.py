"""The codec: inverses of each other, right where others are right, and closed on any octets."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agentx.strategies import VALUES, oids, pdus, typed_values
from vmmib.agentx import pdu
from vmmib.agentx.oid import key, to_text
from vmmib.agentx.pdu import (
    ErrorStatus,
    Framer,
    Header,
    HeaderError,
    ParseError,
    SearchRange,
    ValueType,
    VarBind,
    decode,
    encode,
)

pyagentx3 = pytest.importorskip("pyagentx3")
from pyagentx3.pdu import PDU  # noqa: E402

RECORDED = [
    bytes.fromhex(line.split()[1])
    for line in (Path(__file__).parent / "data/recorded.txt").read_text().splitlines()
    if not line.startswith("#")
]
IN_NETWORK_ORDER = next(data for data in RECORDED if data[2] & 16)


@given(pdus, st.booleans())
@settings(max_examples=500)
def test_round_trip(one: pdu.Pdu, network_byte_order: bool) -> None:
    data = encode(one, network_byte_order)
    assert decode(data) == one
    assert len(data) % 4 == 0
    header = Header.decode(data)
    assert header.type == one.TYPE
    assert header.payload_length == len(data) - pdu.HEADER_SIZE


@given(typed_values)
def test_value_encoder_is_encode_value(typed: tuple[ValueType, Any]) -> None:
    kind, value = typed
    if value is None:
        assert pdu.encode_value(kind, value) == b""
    else:
        assert pdu.value_encoder(kind)(value) == pdu.encode_value(kind, value)


@given(oids, typed_values)
def test_encoded_name_and_value_are_a_varbind(
    oid: tuple[int, ...], typed: tuple[ValueType, Any]
) -> None:
    cell = pdu.encode_name(typed[0], key(oid)) + pdu.encode_value(*typed)
    whole = encode(pdu.Response(varbinds=(VarBind(oid, *typed),)))
    assert whole[pdu.HEADER_SIZE + 8 :] == cell


@pytest.mark.parametrize(
    ("oid", "data"),
    [
        # The examples of RFC 2741, 5.1
        ((1, 3, 6, 1, 2, 1, 1, 1, 0), "04020000 00000001 00000001 00000001 00000000"),
        ((1, 2, 3, 4), "04000000 00000001 00000002 00000003 00000004"),
        ((), "00000000"),
        ((1, 3, 6, 1), "04000000 00000001 00000003 00000006 00000001"),
        ((1, 3, 6, 1, 0), "05000000 00000001 00000003 00000006 00000001 00000000"),
        ((1, 3, 6, 1, 255), "00ff0000"),
        ((1, 3, 6, 1, 256), "05000000 00000001 00000003 00000006 00000001 00000100"),
    ],
)
def test_oid_encodings(oid: tuple[int, ...], data: str) -> None:
    octets = bytes.fromhex(data)
    assert pdu.encode_value(ValueType.OBJECT_IDENTIFIER, oid) == octets
    name = pdu.encode_name(ValueType.NULL, key(oid))
    assert name == bytes.fromhex("00050000") + octets


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ValueType.INTEGER, 2**31),
        (ValueType.INTEGER, "1"),
        (ValueType.INTEGER, None),
        (ValueType.COUNTER32, -1),
        (ValueType.COUNTER64, 2**64),
        (ValueType.OCTET_STRING, "text"),
        (ValueType.OCTET_STRING, None),
        (ValueType.IP_ADDRESS, b"\1\2\3"),
        (ValueType.OBJECT_IDENTIFIER, (1, 3, 2**32)),
        (ValueType.OBJECT_IDENTIFIER, (1,) * 129),
        (ValueType.NULL, 0),
    ],
)
def test_a_value_of_another_type_is_refused(kind: ValueType, value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        pdu.encode_value(kind, value)
    with pytest.raises(ValueError, match=r"."):
        encode(pdu.Response(varbinds=(VarBind((1,), kind, value),)))


# Against an independent implementation

PEER_TYPES = [kind for kind in ValueType if kind is not ValueType.OPAQUE]


@given(
    st.lists(
        st.tuples(
            oids.filter(lambda oid: len(oid) > 1),
            st.sampled_from(PEER_TYPES).flatmap(
                lambda kind: st.tuples(st.just(kind), VALUES[kind])
            ),
        ),
        max_size=3,
    ),
    st.integers(0, 2**32 - 1),
    st.integers(0, 18),
)
def test_a_response_as_the_peer_writes_it(
    named: list[tuple[tuple[int, ...], tuple[ValueType, Any]]], number: int, error: int
) -> None:
    # It leaves 1.3.6.1.N uncompressed (as may be), and writes 1.3.6.1.0 and 1.3.6.1.256 wrong.
    def plain(oid: Any) -> bool:
        return (
            not isinstance(oid, tuple)
            or oid[:4] != (1, 3, 6, 1)
            or (len(oid) > 5 and 1 <= oid[4] <= 255)
        )

    named = [
        (oid, typed)
        for oid, typed in named
        if plain(oid) and plain(typed[1]) and typed[1] != () and typed[1] != (0,)
    ]
    peer = PDU(pyagentx3.AGENTX_RESPONSE_PDU)
    peer.session_id, peer.transaction_id, peer.packet_id = number, 7, 8
    peer.error, peer.error_index = error, 1
    peer.values = [
        {
            "type": int(kind),
            "name": to_text(oid),
            "value": to_text(value) if isinstance(value, tuple) else value,
        }
        for oid, (kind, value) in named
    ]
    ours = pdu.Response(
        session_id=number,
        transaction_id=7,
        packet_id=8,
        error=error,
        index=1,
        varbinds=tuple(VarBind(oid, *typed) for oid, typed in named),
    )
    assert encode(ours) == peer.encode()


@given(
    st.lists(
        st.builds(
            SearchRange,
            oids.filter(lambda oid: len(oid) > 1),
            oids.filter(lambda oid: len(oid) > 1),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["", "esx1", "context"]),
)
def test_a_request_as_the_peer_reads_it(ranges: list[SearchRange], context: str) -> None:
    peer = PDU()
    peer.decode(encode(pdu.GetNext(session_id=3, context=context, ranges=tuple(ranges))))
    assert peer.session_id == 3
    assert peer.range_list == [
        (to_text(one.start), to_text(one.end), int(one.include)) for one in ranges
    ]


# Any octets


def outcome(data: bytes) -> pdu.Pdu | None:
    """Decode: a PDU that can be encoded again, or None for a ParseError; nothing else."""
    try:
        one = decode(data)
    except ParseError:
        return None
    for network_byte_order in (True, False):
        assert decode(encode(one, network_byte_order)) == one
    return one


@pytest.mark.parametrize("data", RECORDED)
def test_recorded_pdus_decode(data: bytes) -> None:
    assert outcome(data) is not None


@pytest.mark.parametrize("data", RECORDED)
def test_every_truncation_is_a_parse_error(data: bytes) -> None:
    for size in range(len(data)):
        assert outcome(data[:size]) is None
        if size < pdu.HEADER_SIZE:
            continue
        # the same with a header that owns to it
        order = ">" if data[2] & 16 else "<"
        short = data[:16] + struct.pack(order + "I", size - pdu.HEADER_SIZE) + data[20:size]
        outcome(short)


@pytest.mark.parametrize("data", RECORDED)
def test_every_bit_flip_is_a_pdu_or_a_parse_error(data: bytes) -> None:
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        outcome(bytes(flipped))


@given(pdus, st.booleans(), st.data())
@settings(max_examples=300)
def test_mutilated_pdus(one: pdu.Pdu, network_byte_order: bool, draw: st.DataObject) -> None:
    data = bytearray(encode(one, network_byte_order))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    outcome(bytes(data))


@given(st.binary(max_size=80), st.integers(0, 20), st.integers(0, 31))
@settings(max_examples=300)
def test_any_payload_of_any_type(payload: bytes, kind: int, flags: int) -> None:
    payload = payload[: len(payload) // 4 * 4]
    order = ">" if flags & 16 else "<"
    outcome(struct.pack(order + "BBBxIIII", 1, kind, flags, 1, 2, 3, len(payload)) + payload)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\2" + IN_NETWORK_ORDER[1:], "version 2"),
        (IN_NETWORK_ORDER[:16] + struct.pack(">I", pdu.MAX_PAYLOAD + 4), "at most"),
        (IN_NETWORK_ORDER[:16] + struct.pack(">I", 6) + b"123456", "multiple"),
        (IN_NETWORK_ORDER + b"\0\0\0\0", "header tells"),
        (IN_NETWORK_ORDER[:5], "header"),
    ],
)
def test_headers_that_cannot_be_trusted(data: bytes, says: str) -> None:
    with pytest.raises(HeaderError, match=says):
        decode(data)


def test_a_context_is_read_wherever_it_is_flagged() -> None:
    payload = struct.pack(">I", 4) + b"esx1"
    data = struct.pack(">BBBxIIII", 1, pdu.PduType.COMMIT_SET, 24, 5, 6, 7, 8) + payload
    assert decode(data) == pdu.CommitSet(session_id=5, transaction_id=6, packet_id=7)


def test_contexts_that_are_not_utf8_survive() -> None:
    data = bytearray(encode(pdu.Ping(context="abcd")))
    data[24] = 0xFF
    assert encode(decode(bytes(data))) == bytes(data)


def test_numbers_are_those_of_the_rfc() -> None:
    assert [int(member) for member in ErrorStatus] == [*range(19), *range(256, 269)]
    assert [int(member) for member in pdu.PduType] == list(range(1, 19))
    assert [int(member) for member in pdu.CloseReason] == list(range(1, 7))
    assert set(pdu.PDU_CLASSES) == set(pdu.PduType)


# Framing


@given(st.lists(st.tuples(pdus, st.booleans()), max_size=4), st.data())
def test_framer_whatever_the_pieces(sent: list[tuple[pdu.Pdu, bool]], draw: st.DataObject) -> None:
    stream = b"".join(encode(one, order) for one, order in sent)
    framer, frames, at = Framer(), [], 0
    while at < len(stream):
        step = draw.draw(st.integers(1, len(stream) - at))
        found, error = framer.feed(stream[at : at + step])
        assert error is None
        frames += found
        at += step
    assert framer.empty
    assert [decode(frame) for frame in frames] == [one for one, _ in sent]


def test_framer_octet_by_octet() -> None:
    framer, frames = Framer(), []
    for octet in b"".join(RECORDED):
        found, error = framer.feed(bytes([octet]))
        assert error is None
        frames += found
    assert frames == RECORDED


def test_framer_gives_what_came_before_the_garbage() -> None:
    frames, error = Framer().feed(b"".join(RECORDED[:2]) + b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert frames == RECORDED[:2]
    assert isinstance(error, HeaderError)


def test_framer_does_not_wait_for_an_over_long_payload() -> None:
    header = IN_NETWORK_ORDER[:16] + struct.pack(">I", pdu.MAX_PAYLOAD + 4)
    frames, error = Framer().feed(header)
    assert frames == []
    assert isinstance(error, HeaderError)
