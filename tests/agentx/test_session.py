"""The session: its states, its answers in both byte orders, and what a peer may do wrong."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agentx.strategies import pdus, reads
from tests.agentx.test_view import ROOT, sample, walk
from vmmib.agentx import oid, pdu
from vmmib.agentx.pdu import ErrorStatus, SearchRange, ValueType, VarBind, decode, encode
from vmmib.agentx.session import (
    MAX_BULK,
    SENDS,
    Answered,
    Closed,
    Event,
    Faulted,
    Ignored,
    LocalProtocolError,
    RemoteProtocolError,
    Session,
    SetRequested,
    State,
)
from vmmib.agentx.view import Column, Table, View

ID = 42
END = (1, 3, 6, 1, 2, 1, 237)
IDS = {"session_id": ID, "transaction_id": 9, "packet_id": 77}


def opened(view: View | None = None) -> Session:
    session = Session({b"": sample() if view is None else view, b"esx1": View(())})
    packet = session.send(pdu.Open(description="test"))
    session.data_to_send()
    (event,) = session.receive_data(encode(pdu.Response(session_id=ID, packet_id=packet)))
    assert isinstance(event, Answered)
    assert session.state is State.OPEN
    return session


def responses(data: bytes) -> list[pdu.Response]:
    frames, error = pdu.Framer().feed(data)
    assert error is None
    found = [decode(frame) for frame in frames]
    assert all(isinstance(one, pdu.Response) for one in found)
    return found  # type: ignore[return-value]


def ask(
    session: Session, request: pdu.Pdu, network_byte_order: bool = True
) -> tuple[pdu.Response, Sequence[Event]]:
    """Have `request` answered; check what is true of every answer."""
    events = session.receive_data(encode(request, network_byte_order))
    data = session.data_to_send()
    assert bool(data[2] & 16) == network_byte_order
    (response,) = responses(data)
    assert (response.session_id, response.transaction_id, response.packet_id) == (
        request.session_id,
        request.transaction_id,
        request.packet_id,
    )
    assert response.sys_up_time == 0
    return response, events


def next_of(*starts: tuple[int, ...], **more: object) -> pdu.GetNext:
    return pdu.GetNext(**{**IDS, **more}, ranges=tuple(SearchRange(one, END) for one in starts))  # type: ignore[arg-type]


# States


def test_what_may_be_sent_in_which_state() -> None:
    every = [cls() for cls in pdu.PDU_CLASSES.values()]
    for state in State:
        for one in every:
            session = opened()
            session._enter(state)
            if type(one) in SENDS[state]:
                session.send(one)
                assert session.state is SENDS[state][type(one)]
            else:
                with pytest.raises(LocalProtocolError, match=state.value):
                    session.send(one)


def test_a_refused_open_ends_the_session() -> None:
    session = Session({})
    packet = session.send(pdu.Open())
    response = pdu.Response(packet_id=packet, error=ErrorStatus.OPEN_FAILED)
    (event,) = session.receive_data(encode(response))
    assert isinstance(event, Answered)
    assert event.response.error == ErrorStatus.OPEN_FAILED
    assert session.state is State.CLOSED


def test_close_and_its_response() -> None:
    session = opened()
    packet = session.send(pdu.Close(reason=pdu.CloseReason.SHUTDOWN))
    sent = decode(session.data_to_send())
    assert sent == pdu.Close(
        session_id=ID, transaction_id=packet, packet_id=packet, reason=pdu.CloseReason.SHUTDOWN
    )
    assert ask(session, next_of(ROOT))[0].error == ErrorStatus.NOT_OPEN
    session.receive_data(encode(pdu.Response(session_id=ID, packet_id=packet)))
    assert session.state is State.CLOSED


def test_the_master_closes() -> None:
    session = opened()
    close = encode(pdu.Close(session_id=ID, reason=pdu.CloseReason.BY_MANAGER))
    events = session.receive_data(close + encode(next_of(ROOT)))
    assert events == [Closed(pdu.CloseReason.BY_MANAGER)]
    assert session.state is State.CLOSED
    assert session.data_to_send() == b""


def test_close_of_another_session() -> None:
    session = opened()
    (event,) = session.receive_data(encode(pdu.Close(session_id=ID + 1)))
    assert isinstance(event, Ignored)
    assert session.state is State.OPEN


def test_own_requests_are_in_network_byte_order_and_have_distinct_ids() -> None:
    session = opened()
    sent = {}
    for request in (pdu.Register(subtree=ROOT), pdu.Notify(context="esx1"), pdu.Ping()):
        packet = session.send(request)
        data = session.data_to_send()
        assert data[2] & 16
        sent[packet] = replace(request, session_id=ID, transaction_id=packet, packet_id=packet)
        assert decode(data) == sent[packet]
    for packet, request in reversed(sent.items()):
        (event,) = session.receive_data(encode(pdu.Response(session_id=ID, packet_id=packet)))
        assert isinstance(event, Answered)
        assert event.request == request


def test_packet_ids_wrap_around_and_skip_those_in_use() -> None:
    session = opened()
    first = session.send(pdu.Ping())
    session._packet_id = 2**32 - 2
    assert session.send(pdu.Ping()) == 2**32 - 1
    session._packet_id = first - 1
    assert session.send(pdu.Ping()) == first + 1


# Reading


@pytest.mark.parametrize("network_byte_order", [True, False])
def test_walk_by_get_next(network_byte_order: bool) -> None:
    session, found, start = opened(), [], ROOT
    while True:
        response, _ = ask(session, next_of(start), network_byte_order)
        (one,) = response.varbinds
        if one.type is ValueType.END_OF_MIB_VIEW:
            assert one.oid == start
            break
        found.append(one)
        start = one.oid
    assert found == walk(sample())
    assert session.requests == len(found) + 1


@pytest.mark.parametrize("network_byte_order", [True, False])
def test_several_ranges_include_and_end(network_byte_order: bool) -> None:
    first = (*ROOT, 1, 1, 0)
    ranges = (
        SearchRange(first, END, include=True),
        SearchRange(first, END),
        SearchRange(first, (*ROOT, 1, 3, 0)),
        SearchRange(first),
        SearchRange(()),
    )
    response, _ = ask(opened(), pdu.GetNext(**IDS, ranges=ranges), network_byte_order)
    assert [one.oid for one in response.varbinds] == [
        first,
        (*ROOT, 1, 3, 0),
        first,
        (*ROOT, 1, 3, 0),
        first,
    ]
    assert response.varbinds[2].type is ValueType.END_OF_MIB_VIEW


@pytest.mark.parametrize("network_byte_order", [True, False])
def test_get(network_byte_order: bool) -> None:
    names = [(*ROOT, 1, 1, 0), (*ROOT, 1, 1, 9), (*ROOT, 9, 0)]
    request = pdu.Get(**IDS, ranges=tuple(map(SearchRange, names)))
    response, _ = ask(opened(), request, network_byte_order)
    assert response.varbinds == (
        VarBind(names[0], ValueType.OCTET_STRING, b"QEMU"),
        VarBind(names[1], ValueType.NO_SUCH_INSTANCE),
        VarBind(names[2], ValueType.NO_SUCH_OBJECT),
    )


@pytest.mark.parametrize("network_byte_order", [True, False])
def test_get_bulk(network_byte_order: bool) -> None:
    request = pdu.GetBulk(
        **IDS,
        non_repeaters=1,
        max_repetitions=3,
        ranges=(SearchRange(ROOT, END), SearchRange((*ROOT, 4), (*ROOT, 4, 1, 3))),
    )
    response, _ = ask(opened(), request, network_byte_order)
    assert [one.oid for one in response.varbinds] == [
        (*ROOT, 1, 1, 0),
        (*ROOT, 4, 1, 2, 1),
        (*ROOT, 4, 1, 2, 10),
        (*ROOT, 4, 1, 2, 10),
    ]
    assert response.varbinds[-1].type is ValueType.END_OF_MIB_VIEW


def test_get_bulk_response_is_bounded() -> None:
    column = Column(2, ValueType.OCTET_STRING, lambda _: b"x" * 255)
    rows = [(one,) for one in range(2000)]
    session = opened(View([Table(ROOT, [column], rows, rows)]))
    request = pdu.GetBulk(**IDS, max_repetitions=65535, ranges=(SearchRange(ROOT),))
    response, _ = ask(session, request)
    assert 100 < len(response.varbinds) < 2000
    assert len(encode(response)) <= MAX_BULK + 28


@pytest.mark.parametrize("network_byte_order", [True, False])
def test_contexts(network_byte_order: bool) -> None:
    for context, kind in (("esx1", None), ("nobody", None), ("", ValueType.OCTET_STRING)):
        request = next_of(ROOT, context=context)
        response, _ = ask(opened(), request, network_byte_order)
        assert response.varbinds[0].type is (kind or ValueType.END_OF_MIB_VIEW)
    get = pdu.Get(**IDS, context="nobody", ranges=(SearchRange((*ROOT, 1, 1, 0)),))
    assert ask(opened(), get)[0].varbinds[0].type is ValueType.NO_SUCH_OBJECT


def test_an_empty_context_that_is_flagged_is_the_default_one() -> None:
    plain = encode(next_of(ROOT))
    for order in (">", "<"):
        data = encode(next_of(ROOT), order == ">")
        flagged = (
            data[:2]
            + bytes([data[2] | 8])
            + data[3:16]
            + struct.pack(order + "I", len(data) - 20 + 4)
            + bytes(4)
            + data[20:]
        )
        session = opened()
        session.receive_data(flagged)
        (response,) = responses(session.data_to_send())
        assert response == ask(opened(), decode(plain))[0]


def test_a_value_that_fails_is_gen_err_with_its_index() -> None:
    columns = [
        Column(2, ValueType.INTEGER, lambda _: 1),
        Column(3, ValueType.INTEGER, lambda _: 2**40),
    ]
    names = ((*ROOT, 2, 1), (*ROOT, 3, 1))
    for network_byte_order in (True, False):
        session = opened(View([Table(ROOT, columns, [(1,)], [None])]))
        request = pdu.Get(**IDS, ranges=tuple(map(SearchRange, names)))
        response, events = ask(session, request, network_byte_order)
        assert (response.error, response.index) == (ErrorStatus.GEN_ERR, 2)
        assert response.varbinds == ()
        (event,) = events
        assert isinstance(event, Faulted)
        assert "236.1.3.1" in str(event.error)


@given(st.lists(reads, max_size=5))
@settings(max_examples=50)
def test_both_byte_orders_have_the_same_answer(requests: list[pdu.Pdu]) -> None:
    for request in requests:
        mine = replace(request, session_id=ID)
        assert ask(opened(), mine, True)[0] == ask(opened(), mine, False)[0]


def test_serve_answers_what_is_whole_and_nothing_else() -> None:
    session = opened()
    data = encode(next_of(ROOT))
    response = session.serve(data)
    assert response is not None
    assert responses(response)[0].varbinds[0].oid == (*ROOT, 1, 1, 0)
    for other in (
        data[:-1],
        data + b"\1",
        data + data,
        encode(next_of(ROOT), False),
        encode(next_of(ROOT, session_id=ID + 1)),
        encode(pdu.CommitSet(**IDS)),
        b"",
        b"\1",
    ):
        assert session.serve(other) is None
    assert session.requests == 1
    session.receive_data(data[:30])
    assert session.serve(data) is None  # it would overtake
    session.receive_data(data[30:])
    assert session.requests == 2


# SET


@pytest.mark.parametrize("network_byte_order", [True, False])
def test_set_phases_come_out_and_are_answered(network_byte_order: bool) -> None:
    session = opened()
    varbinds = (VarBind((*ROOT, 5, 0), ValueType.INTEGER, 1),)
    for request in (
        pdu.TestSet(**IDS, context="esx1", varbinds=varbinds),
        pdu.CommitSet(**IDS),
        pdu.UndoSet(**IDS),
    ):
        (event,) = session.receive_data(encode(request, network_byte_order))
        assert event == SetRequested(request, network_byte_order)
        assert isinstance(event, SetRequested)
        session.respond(event, ErrorStatus.WRONG_VALUE, 1)
        data = session.data_to_send()
        assert bool(data[2] & 16) == network_byte_order
        assert decode(data) == pdu.Response(**IDS, error=ErrorStatus.WRONG_VALUE, index=1)
    (event,) = session.receive_data(encode(pdu.CleanupSet(**IDS), network_byte_order))
    assert event == SetRequested(pdu.CleanupSet(**IDS), network_byte_order)
    assert session.data_to_send() == b""
    session.send(pdu.Close())
    with pytest.raises(LocalProtocolError):
        session.respond(event, ErrorStatus.NO_ERROR)


# What a peer may do wrong


def test_another_session_is_not_open() -> None:
    for request in (
        next_of(ROOT, session_id=ID + 1),
        pdu.TestSet(session_id=0),
        pdu.CommitSet(session_id=ID + 1),
    ):
        response, events = ask(opened(), request)
        assert response.error == ErrorStatus.NOT_OPEN
        assert isinstance(events[0], Ignored)


def test_requests_before_the_session_is_open() -> None:
    session = Session({b"": sample()})
    session.send(pdu.Open())
    session.data_to_send()
    assert ask(session, next_of(ROOT, session_id=0))[0].error == ErrorStatus.NOT_OPEN
    assert session.state is State.OPENING


@pytest.mark.parametrize(
    "cls",
    [pdu.Open, pdu.Register, pdu.Unregister, pdu.Notify, pdu.Ping, pdu.IndexAllocate,
     pdu.IndexDeallocate, pdu.AddAgentCaps, pdu.RemoveAgentCaps],
)  # fmt: skip
def test_what_only_a_master_receives(cls: type[pdu.Pdu]) -> None:
    response, events = ask(opened(), cls(**IDS))
    assert response.error == ErrorStatus.PROCESSING_ERROR
    assert isinstance(events[0], Ignored)


@pytest.mark.parametrize("network_byte_order", [True, False])
@pytest.mark.parametrize("kind", [5, 6, 7, 8, 77])
def test_a_payload_that_cannot_be_parsed(kind: int, network_byte_order: bool) -> None:
    order = ">" if network_byte_order else "<"
    data = struct.pack(
        order + "BBBxIIII", 1, kind, 16 if network_byte_order else 0, ID, 9, 77, 8
    ) + bytes([9, 0, 0, 0, 9, 0, 0, 0])
    session = opened()
    session.receive_data(data)
    (response,) = responses(session.data_to_send())
    assert response == pdu.Response(**IDS, error=ErrorStatus.PARSE_ERROR)
    assert session.state is State.OPEN


@pytest.mark.parametrize("kind", [5, 6, 7])
@pytest.mark.parametrize("prefix", [0, 2])
def test_over_long_oids_are_parse_errors(kind: int, prefix: int) -> None:
    for count in (122, 123, 124, 128, 129, 255):
        total = count + (5 if prefix else 0)
        start = bytes([count, prefix, 0, 0]) + bytes(4 * count)
        for payload in (start + bytes(4), bytes(4) + start):
            if kind == 7:
                payload = bytes(4) + payload  # noqa: PLW2901
            data = struct.pack(">BBBxIIII", 1, kind, 16, ID, 9, 77, len(payload)) + payload
            session = opened()
            session.receive_data(data)
            (response,) = responses(session.data_to_send())
            assert (response.error == ErrorStatus.PARSE_ERROR) == (total > 128)


def test_a_cleanup_set_is_never_answered() -> None:
    session = opened()
    for data in (
        encode(pdu.CleanupSet(session_id=ID + 1)),
        struct.pack(">BBBxIIII", 1, 11, 16, ID, 9, 77, 4) + bytes(4),
    ):
        (event,) = session.receive_data(data)
        assert isinstance(event, Ignored)
        assert session.data_to_send() == b""


def test_responses_that_mean_nothing() -> None:
    session = opened()
    packet = session.send(pdu.Ping())
    session.data_to_send()
    bad = struct.pack(">BBBxIIII", 1, 18, 16, ID, packet, packet, 4) + bytes(4)
    for data in (encode(pdu.Response(session_id=ID, packet_id=packet + 1)), bad):
        (event,) = session.receive_data(data)
        assert isinstance(event, Ignored)
        assert session.data_to_send() == b""
    (event,) = session.receive_data(encode(pdu.Response(session_id=ID, packet_id=packet)))
    assert isinstance(event, Answered)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(20), b"\xff" * 64, b"\2" + bytes(30)]
)
def test_what_is_no_agentx_ends_the_session(data: bytes) -> None:
    session = opened()
    with pytest.raises(RemoteProtocolError):
        session.receive_data(data)
    assert session.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        session.send(pdu.Ping())


# Pieces


@given(st.data())
@settings(max_examples=60)
def test_whatever_the_pieces(draw: st.DataObject) -> None:
    requests = [
        next_of(ROOT),
        next_of(ROOT, (*ROOT, 4), packet_id=2),
        pdu.CommitSet(**IDS),
        next_of(ROOT, session_id=1),
        pdu.Get(**IDS, ranges=(SearchRange((*ROOT, 1, 1, 0)),)),
        next_of((*ROOT, 4), context="esx1"),
    ]
    stream = b"".join(encode(one, draw.draw(st.booleans())) for one in requests)
    whole = opened()
    expected_events = list(whole.receive_data(stream))
    expected = responses(whole.data_to_send())
    session, events, sent, at = opened(), [], b"", 0
    while at < len(stream):
        step = draw.draw(st.integers(1, len(stream) - at))
        events += session.receive_data(stream[at : at + step])
        sent += session.data_to_send()
        at += step
    assert events == expected_events
    assert responses(sent) == expected
    assert session.requests == whole.requests == len(requests)


@given(st.lists(st.tuples(pdus, st.booleans()), max_size=3), st.lists(st.integers(0, 10**6)))
@settings(max_examples=200)
def test_any_peer_gets_answers_or_the_end(
    sent: list[tuple[pdu.Pdu, bool]], damage: list[int]
) -> None:
    data = bytearray(b"".join(encode(replace(one, session_id=ID), order) for one, order in sent))
    for where in damage[:4]:
        if data:
            data[where % len(data)] ^= 1 << where % 8
    session = opened()
    try:
        session.receive_data(bytes(data))
    except RemoteProtocolError:
        assert session.state is State.CLOSED
    responses(session.data_to_send())


def test_keys_on_the_wire_are_those_of_the_oids() -> None:
    assert pdu.PREFIX_KEYS[2] == oid.key((1, 3, 6, 1, 2))
    assert len(pdu.PREFIX_KEYS) == 256
