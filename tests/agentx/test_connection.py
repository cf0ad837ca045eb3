"""The subagent on a real socket, before a master that misbehaves in every way."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agentx.live import SUBTREE, Live, Master, Peer
from tests.agentx.test_outbox import note
from tests.agentx.test_transaction import Handler
from tests.netsnmp import wait_until
from vmmib.agentx import link as link_module
from vmmib.agentx import pdu
from vmmib.agentx.address import Address, parse_address
from vmmib.agentx.connection import Capability, Registration
from vmmib.agentx.link import remedy
from vmmib.agentx.pdu import CloseReason, ErrorStatus, SearchRange, ValueType, VarBind
from vmmib.agentx.view import Column, Table, View

RANGE = SearchRange(SUBTREE)


def view(value: int = 1, octets: int = 0) -> View:
    columns = [
        Column(1, ValueType.INTEGER, lambda _: value),
        Column(2, ValueType.OCTET_STRING, lambda _: b"x" * octets),
    ]
    return View([Table(SUBTREE, columns, [(0,)], [None])])


@pytest.fixture(params=["unix", "tcp"])
def master(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Master]:
    with Master(tmp_path / "m" if request.param == "unix" else None) as one:
        yield one


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[Master]:
    with Master(tmp_path / "m") as one:
        yield one


def value(peer: Peer) -> Any:
    return peer.ask([RANGE]).varbinds[0].value


# Life


def test_open_register_serve_close(master: Master) -> None:
    capability = Capability("", SUBTREE, "VM-MIB")
    with Live(
        master.address, capabilities=[capability], agent_id=(1, 3, 6), session_timeout=9
    ) as live:
        live.call(lambda: live.subagent.set_view("", view(5)))
        peer = master.accept()
        opened = peer.accept(pdu.Open)
        assert (opened.description, opened.agent_id, opened.timeout) == ("a test", (1, 3, 6), 9)
        caps = peer.accept(pdu.AddAgentCaps)
        assert (caps.session_id, caps.oid, caps.description) == (7, SUBTREE, "VM-MIB")
        register = peer.accept(pdu.Register)
        assert (register.subtree, register.priority, register.context) == (SUBTREE, 127, "")
        assert value(peer) == 5
        live.call(lambda: live.subagent.set_view("", view(6)))
        assert value(peer) == 6
        live.call(lambda: live.subagent.drop_view(""))
        assert peer.ask([RANGE]).varbinds[0].type is ValueType.END_OF_MIB_VIEW
        assert live.stats.connected
        assert live.stats.requests == 3
        assert live.log.events() == ["agentx_connected"]
        stopper = threading.Thread(
            target=lambda: live.call(lambda: live.subagent.stop(CloseReason.BY_MANAGER))
        )
        stopper.start()
        assert peer.accept(pdu.Close).reason == CloseReason.BY_MANAGER
        peer.closed()
        stopper.join(5)
        assert not live.stats.connected
        assert live.stats.requests == 3


def test_requests_in_octets_and_in_heaps(unix: Master) -> None:
    with Live(unix.address) as live:
        live.call(lambda: live.subagent.set_view("", view(5)))
        peer = unix.accept()
        peer.open()
        data = pdu.encode(pdu.GetNext(session_id=7, packet_id=3, ranges=(RANGE,)))
        for octet in data:
            peer.socket.sendall(bytes([octet]))
        assert peer.receive(pdu.Response).varbinds[0].value == 5
        peer.socket.sendall(data * 500)
        for _ in range(500):
            assert peer.receive(pdu.Response).varbinds[0].value == 5


def test_a_reader_that_is_slow_gets_all_of_it(unix: Master) -> None:
    with Live(unix.address) as live:
        live.call(lambda: live.subagent.set_view("", view(octets=60_000)))
        peer = unix.accept()
        peer.open()
        name = SearchRange((*SUBTREE, 2, 0), include=True)
        for packet in range(40):
            peer.send(pdu.GetNext(session_id=7, packet_id=packet, ranges=(name,)))
            # the responses fill the socket's buffer: more than it takes is kept and sent later
        for packet in range(40):
            response = peer.receive(pdu.Response)
            assert response.packet_id == packet
            assert response.varbinds[0].value == b"x" * 60_000
        assert value(peer) == 1
        assert live.log.events() == ["agentx_connected"]


def test_a_reader_that_does_not_read_is_left(unix: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MAX_UNSENT", 200_000)
    with Live(unix.address) as live:
        live.call(lambda: live.subagent.set_view("", view(octets=60_000)))
        peer = unix.accept()
        peer.open()
        name = SearchRange((*SUBTREE, 2, 0), include=True)
        with contextlib.suppress(OSError):
            for packet in range(200):
                peer.send(pdu.GetNext(session_id=7, packet_id=packet, ranges=(name,)))
        wait_until(lambda: "agentx_lost" in live.log.events())
        assert "does not read" in live.reasons()[0]
        unix.accept().open()


# Coming back


def test_no_master_is_said_once_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with Live(Address(path=str(path))) as live:
        wait_until(lambda: live.subagent._backoff.attempt >= 2)
        assert live.log.events() == ["agentx_unreachable"]
        assert "master agentx" in live.log.lines[0][1]["remedy"]
        with Master(path) as master:
            master.accept().open()
            wait_until(lambda: live.stats.connected)
        assert live.log.events()[:2] == ["agentx_unreachable", "agentx_connected"]


@pytest.mark.parametrize("how", ["closes", "resets", "garbage", "Close", "notOpen"])
def test_a_lost_session_is_taken_up_again_within_a_second(master: Master, how: str) -> None:
    with Live(master.address, rng=random.Random(1)) as live:
        peer = master.accept()
        peer.open()
        wait_until(lambda: live.stats.connected)
        before = time.monotonic()
        if how == "closes":
            peer.close()
        elif how == "resets":
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
        elif how == "garbage":
            peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif how == "Close":
            peer.send(pdu.Close(session_id=7, reason=CloseReason.SHUTDOWN))
        else:
            live.call(lambda: live.subagent.notify(note(1)))
            peer.answer(peer.receive(pdu.Notify), ErrorStatus.NOT_OPEN)
        other = master.accept()
        other.open()
        assert time.monotonic() - before < 1.5  # of which the first wait is 1 s at most
        if how == "notOpen":
            other.accept(pdu.Notify)
        wait_until(lambda: live.stats.reconnects == 1)
        assert live.log.events() == ["agentx_connected", "agentx_lost", "agentx_connected"]
        live.call(lambda: live.subagent.set_view("", view(3)))
        assert value(other) == 3


def test_a_refused_session_is_tried_again(unix: Master) -> None:
    with Live(unix.address) as live:
        peer = unix.accept()
        peer.answer(peer.receive(pdu.Open), ErrorStatus.OPEN_FAILED)
        peer.closed()
        unix.accept().open()
        wait_until(lambda: live.stats.connected)
        assert live.log.events() == ["agentx_unreachable", "agentx_connected"]
        assert "openFailed" in live.log.lines[0][1]["reason"]


@pytest.mark.parametrize("silent_to", ["Open", "Register", "Notify", "Ping"])
def test_a_master_that_does_not_answer_is_left(unix: Master, silent_to: str) -> None:
    with Live(unix.address, response_timeout=0.2, ping_interval=0.05) as live:
        peer = unix.accept()
        if silent_to != "Open":
            peer.accept(pdu.Open)
            if silent_to != "Register":
                peer.accept(pdu.Register)
        if silent_to == "Notify":
            live.call(lambda: live.subagent.notify(note(1)))
        peer.closed()
        wait_until(lambda: any("does not answer" in reason for reason in live.reasons()))
        again = unix.accept()
        again.open()
        if silent_to == "Notify":
            assert again.accept(pdu.Notify).varbinds == note(1).varbinds
            wait_until(lambda: live.stats.notifications_sent == 1)


def test_close_says_why(unix: Master) -> None:
    with Live(unix.address, response_timeout=0.2, ping_interval=0.05):
        peer = unix.accept()
        peer.open()
        peer.receive(pdu.Ping)
        assert peer.receive(pdu.Close).reason == CloseReason.TIMEOUTS


def test_pings_only_when_idle(unix: Master) -> None:
    with Live(unix.address, ping_interval=0.05) as live:
        peer = unix.accept()
        peer.open()
        peer.accept(pdu.Ping)
        peer.accept(pdu.Ping)
        assert live.stats.connected


def test_sessions_that_end_at_once_are_not_taken_up_in_a_rush(unix: Master) -> None:
    with Live(unix.address) as live:
        for _ in range(3):
            peer = unix.accept()
            peer.accept(pdu.Open)
            peer.close()
        wait_until(lambda: live.call(lambda: live.subagent._short_sessions) >= 3)
        assert live.call(lambda: live.subagent._backoff.attempt) >= 3


def test_nothing_is_left_open(unix: Master) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    with Live(unix.address) as live:
        unix.accept().open()
        wait_until(lambda: live.stats.connected)
        before = descriptors()
        for _ in range(3):
            unix._peers.pop().close()
            unix.accept().open()
            wait_until(lambda: live.stats.connected)
        assert descriptors() == before


def test_our_own_pause_is_not_the_masters(unix: Master) -> None:
    with Live(unix.address, response_timeout=0.3, ping_interval=0.05) as live:
        peer = unix.accept()
        peer.open()

        def pause() -> None:
            # Meanwhile a response arrives, and its deadline passes.
            peer.accept(pdu.Ping)
            time.sleep(0.5)

        wait_until(lambda: live.call(lambda: bool(live.subagent._deadlines)))
        live.call(pause)
        assert live.call(lambda: live.subagent.stats.connected)
        peer.accept(pdu.Ping)
        assert live.log.events() == ["agentx_connected"]


# Addresses


def test_a_name_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    with Master() as master:
        port = master.address.port
        with Live(parse_address(f"tcp:localhost:{port}")) as live:
            master.accept().open()
            wait_until(lambda: live.stats.connected)


def test_a_resolver_that_hangs_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    real = socket.getaddrinfo

    def slow(*arguments: Any) -> Any:
        if arguments[-1] != socket.AI_NUMERICHOST:
            release.wait(10)
        return real(*arguments)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with Master() as master:
        address = Address(host="localhost", port=master.address.port)
        with Live(address, response_timeout=0.1) as live:
            wait_until(lambda: live.call(lambda: live.subagent._backoff.attempt) >= 3)
            assert "resolved in time" in live.reasons()[0]
            threads = [one.name for one in threading.enumerate()]
            assert threads.count("agentx-resolve") == 1
            release.set()
            master.accept().open()
            wait_until(lambda: live.stats.connected)


@pytest.mark.parametrize(
    "address",
    [
        Address(host="no.such.host.invalid", port=705),
        Address(host="a..b", port=705),
        Address(path="/" + "x" * 200),
        Address(path="/dev/null"),
    ],
)
def test_impossible_addresses_are_said_and_survived(address: Address) -> None:
    with Live(address) as live:
        wait_until(lambda: live.call(lambda: live.subagent._backoff.attempt) >= 2)
        assert set(live.log.events()) == {"agentx_unreachable"}


def test_a_port_that_nobody_listens_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with Master() as master:
        master.listener.close()
        with Live(master.address) as live:
            wait_until(lambda: live.log.events() == ["agentx_unreachable"])
            assert "refused" in live.reasons()[0].lower()


def test_every_candidate_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with Master() as master, Master() as gone:
        port, other = master.address.port, gone.address.port
        gone.listener.close()
        found = [
            (socket.AF_INET, ("127.0.0.1", other)),
            (socket.AF_INET, ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(link_module, "_resolve", lambda *_: list(found))
        with Live(Address(host="h", port=port)) as live:
            master.accept().open()
            wait_until(lambda: live.stats.connected)
            assert live.log.events() == ["agentx_connected"]


def test_no_more_descriptors_is_survived(unix: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failing = socket.socket, [2]

    def scarce(*arguments: Any, **options: Any) -> socket.socket:
        if arguments[:1] == (socket.AF_UNIX,) and failing[0]:
            failing[0] -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(*arguments, **options)

    monkeypatch.setattr(link_module.socket, "socket", scarce)
    with Live(unix.address) as live:
        unix.accept().open()
        wait_until(lambda: live.stats.connected)
        assert "LimitNOFILE" in live.log.lines[0][1]["remedy"]


def test_remedies() -> None:
    assert "agentXPerms" in remedy(PermissionError(errno.EACCES, "x"))
    assert "host name" in remedy(socket.gaierror(socket.EAI_NONAME, "x"))
    assert remedy(OSError("odd"))


# Registering


def test_a_refused_registration_disturbs_no_other(unix: Master) -> None:
    both = [Registration("", SUBTREE), Registration("esx1", SUBTREE, priority=3, timeout=2)]
    with Live(unix.address, registrations=both) as live:
        peer = unix.accept()
        peer.accept(pdu.Open)
        peer.answer(peer.receive(pdu.Register), ErrorStatus.DUPLICATE_REGISTRATION)
        other = peer.accept(pdu.Register)
        assert (other.context, other.priority, other.timeout) == ("esx1", 3, 2)
        for error in (ErrorStatus.DUPLICATE_REGISTRATION, 0):
            again = peer.receive(pdu.Register)
            assert again.context == ""
            peer.answer(again, error)
        wait_until(lambda: "agentx_registered" in live.log.events())
        # One line for the refusal, however often, and one for its end.
        assert live.log.events() == [
            "agentx_connected",
            "agentx_registration_refused",
            "agentx_registered",
        ]
        told = live.log.lines[1][1]
        assert told["error"] == "duplicateRegistration"
        assert told["subtree"] == "1.3.6.1.2.1.236"
        assert "second instance" in told["remedy"]
        assert live.stats.connected


def test_what_agentx_cannot_express_is_refused_at_once(unix: Master) -> None:
    good = [Registration("", SUBTREE)]
    for bad in (
        Registration("", SUBTREE, priority=256),
        Registration("", (1, 2**32)),
        Registration("", SUBTREE, timeout=-1),
    ):
        with pytest.raises(ValueError, match="encoded"):
            Live(unix.address, registrations=[bad])
        with Live(unix.address, registrations=good) as live:
            with pytest.raises(ValueError, match="encoded"):
                live.call(lambda bad=bad: live.subagent.update_registrations([bad]))  # type: ignore[misc]
            assert list(live.subagent._claims) == good
    with pytest.raises(ValueError, match="encoded"):
        Live(unix.address, session_timeout=300)
    with pytest.raises(ValueError, match="sub-identifiers"):
        Live(unix.address, capabilities=[Capability("", (1,) * 200, "x")])


def test_a_refused_capability_is_said(unix: Master) -> None:
    with Live(unix.address, capabilities=[Capability("", SUBTREE, "x")]) as live:
        peer = unix.accept()
        peer.accept(pdu.Open)
        peer.answer(peer.receive(pdu.AddAgentCaps), ErrorStatus.REQUEST_DENIED)
        peer.accept(pdu.Register)
        wait_until(lambda: "agentx_capability_refused" in live.log.events())
        assert live.stats.connected


def test_update_registrations(unix: Master) -> None:
    old = [Registration("", SUBTREE), Registration("a", SUBTREE, range_subid=7, upper_bound=240)]
    new = [Registration("", SUBTREE), Registration("b", SUBTREE)]
    with Live(
        unix.address, registrations=old, capabilities=[Capability("a", SUBTREE, "A")]
    ) as live:
        peer = unix.accept()
        peer.accept(pdu.Open)
        peer.accept(pdu.AddAgentCaps)
        peer.accept(pdu.Register)
        ranged = peer.accept(pdu.Register)
        assert (ranged.range_subid, ranged.upper_bound) == (7, 240)
        wait_until(lambda: live.call(lambda: live.subagent._claims[old[1]].accepted))
        live.call(lambda: live.subagent.update_registrations(new, [Capability("b", SUBTREE, "B")]))
        gone = peer.accept(pdu.Unregister)
        assert (gone.context, gone.range_subid, gone.upper_bound) == ("a", 7, 240)
        assert peer.accept(pdu.Register).context == "b"
        assert peer.accept(pdu.RemoveAgentCaps).context == "a"
        assert peer.accept(pdu.AddAgentCaps).description == "B"
        # The new ones are those that the next session starts with.
        peer.close()
        peer = unix.accept()
        peer.accept(pdu.Open)
        assert peer.accept(pdu.AddAgentCaps).context == "b"
        assert [peer.accept(pdu.Register).context for _ in range(2)] == ["", "b"]


def test_a_registration_given_up_under_way_is_taken_back(unix: Master) -> None:
    with Live(unix.address) as live:
        peer = unix.accept()
        peer.accept(pdu.Open)
        register = peer.receive(pdu.Register)
        live.call(lambda: live.subagent.update_registrations([]))
        peer.answer(register)
        assert peer.accept(pdu.Unregister).subtree == SUBTREE


# Notifying


def test_notifications_wait_for_the_master_and_for_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with Live(Address(path=str(path))) as live:
        for number in range(3):
            live.call(lambda number=number: live.subagent.notify(note(number)))  # type: ignore[misc]
        assert live.stats.notifications_queued == 3
        with Master(path) as master:
            peer = master.accept()
            peer.open()
            assert peer.accept(pdu.Notify).varbinds == note(0).varbinds
            peer.receive(pdu.Notify)
            wait_until(lambda: live.stats.notifications_sent == 1)
            peer.close()
            peer = master.accept()
            peer.open()
            again = [peer.accept(pdu.Notify).varbinds for _ in range(2)]
            assert again == [note(1).varbinds, note(2).varbinds]
            live.call(lambda: live.subagent.notify(note(3)))
            peer.answer(peer.receive(pdu.Notify), ErrorStatus.PROCESSING_ERROR)
            wait_until(lambda: live.stats.notifications_rejected == 1)
            stats = live.stats
    assert (stats.notifications_sent, stats.notifications_queued) == (3, 0)
    assert stats.connected


def test_a_notification_that_cannot_be_encoded_does_no_harm(unix: Master) -> None:
    with Live(unix.address) as live:
        peer = unix.accept()
        peer.open()
        bad = note(1).__class__("", (VarBind((1,), ValueType.INTEGER, 2**40),))
        for one in (bad, bad, note(2)):
            live.call(lambda one=one: live.subagent.notify(one))  # type: ignore[misc]
        assert peer.accept(pdu.Notify).varbinds == note(2).varbinds
        assert live.stats.notifications_rejected == 2
        assert live.log.events().count("notification_invalid") == 1


def test_stop_sends_what_waits(unix: Master) -> None:
    with Live(unix.address) as live:
        peer = unix.accept()
        peer.open()
        wait_until(lambda: live.stats.connected)
        for number in range(100):
            live.call(lambda number=number: live.subagent.notify(note(number)))  # type: ignore[misc]
        stopper = threading.Thread(target=lambda: live.call(live.subagent.stop))
        stopper.start()
        for number in range(100):
            assert peer.accept(pdu.Notify).varbinds == note(number).varbinds
        assert peer.accept(pdu.Close).reason == CloseReason.SHUTDOWN
        stopper.join(5)
        assert live.stats.notifications_sent == 100


def test_stop_does_not_wait_for_a_master_that_hangs(unix: Master) -> None:
    with Live(unix.address) as live:
        unix.accept().open()
        wait_until(lambda: live.stats.connected)
        before = time.monotonic()
        live.call(live.subagent.stop)
        assert time.monotonic() - before < 2


# SET


def test_set_through_its_phases(unix: Master) -> None:
    handler = Handler()
    with Live(unix.address, sets=handler):
        peer = unix.accept()
        peer.open()
        ids: dict[str, int] = {"session_id": 7, "transaction_id": 5}
        varbind = VarBind((*SUBTREE, 1, 0), ValueType.INTEGER, 4)
        peer.send(pdu.TestSet(**ids, packet_id=1, context="c", varbinds=(varbind,)))
        assert peer.receive(pdu.Response).error == ErrorStatus.NO_ERROR
        peer.send(pdu.CommitSet(**ids, packet_id=2))
        assert peer.receive(pdu.Response).error == ErrorStatus.NO_ERROR
        peer.send(pdu.UndoSet(**ids, packet_id=3))
        assert peer.receive(pdu.Response).error == ErrorStatus.NO_ERROR
        peer.send(pdu.TestSet(**ids, packet_id=4, context="c", varbinds=(varbind,)))
        peer.receive(pdu.Response)
        peer.close()  # the session ends with a transaction hanging
        unix.accept().open()
    assert handler.calls == [
        "test c[4]", "commit", "undo", "cleanup", "test c[4]", "cleanup",
    ]  # fmt: skip


def test_without_a_handler_nothing_is_writable(unix: Master) -> None:
    with Live(unix.address):
        peer = unix.accept()
        peer.open()
        peer.send(pdu.TestSet(session_id=7, varbinds=(VarBind(SUBTREE, ValueType.INTEGER, 1),)))
        response = peer.receive(pdu.Response)
        assert (response.error, response.index) == (ErrorStatus.NOT_WRITABLE, 1)


def test_faults_of_ours_fail_the_request_and_are_said_once(unix: Master) -> None:
    handler = Handler("raise")

    def broken(record: Any) -> int:
        raise RuntimeError("a fault")

    table = Table(SUBTREE, [Column(1, ValueType.INTEGER, broken)], [(0,)], [None])
    with Live(unix.address, sets=handler) as live:
        live.call(lambda: live.subagent.set_view("", View([table])))
        peer = unix.accept()
        peer.open()
        for packet in range(3):
            assert peer.ask([RANGE], packet).error == ErrorStatus.GEN_ERR
            peer.send(pdu.TestSet(session_id=7, transaction_id=packet, packet_id=packet))
            assert peer.receive(pdu.Response).error == ErrorStatus.GEN_ERR
        assert live.log.events().count("agentx_request_failed") == 1
        assert live.log.events().count("agentx_set_failed") == 1
        assert "236.1.0" in str(live.log.lines)
        assert live.stats.connected


def test_what_means_nothing_is_said_once(unix: Master) -> None:
    with Live(unix.address) as live:
        peer = unix.accept()
        peer.open()
        for packet in range(1000, 1003):
            peer.send(pdu.Ping(session_id=7, packet_id=packet))
            assert peer.receive(pdu.Response).error == ErrorStatus.PROCESSING_ERROR
        assert live.log.events() == ["agentx_connected", "agentx_ignored"]


def test_the_loop_is_not_kept_by_a_master_that_never_stops_asking(unix: Master) -> None:
    with Live(unix.address) as live:
        live.call(lambda: live.subagent.set_view("", view()))
        peer = unix.accept()
        peer.open()
        stop = threading.Event()

        def flood() -> None:
            while not stop.is_set():
                peer.ask([RANGE])

        flooder = threading.Thread(target=flood)
        flooder.start()
        try:
            for _ in range(20):
                live.call(lambda: None)  # bounded by its own timeout
            assert live.stats.requests > 20
        finally:
            stop.set()
            flooder.join(5)
