"""The event loop."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from vmmib.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    guard = made.call_later(20, made.stop)
    yield made
    guard.cancel()
    made.close()


def test_timers_run_in_order_once_and_not_when_cancelled(loop: Loop) -> None:
    ran: list[str] = []
    now = loop.time()
    loop.call_at(now + 0.02, lambda: (ran.append("c"), loop.stop())[1])
    loop.call_at(now + 0.01, lambda: ran.append("b"))
    loop.call_at(now - 5, lambda: ran.append("a"))
    never = loop.call_at(now, lambda: ran.append("never"))
    never.cancel()
    never.cancel()
    loop.run()
    assert ran == ["a", "b", "c"]


def test_reader_sees_data_and_end(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    got: list[bytes] = []

    def read() -> None:
        got.append(ours.recv(100))
        if got[-1] == b"one":
            theirs.close()
        else:
            loop.remove_reader(ours.fileno())
            loop.stop()

    loop.add_reader(ours.fileno(), read)
    theirs.sendall(b"one")
    loop.run()
    assert got == [b"one", b""]
    loop.remove_reader(ours.fileno())
    ours.close()


def test_writer_and_reader_of_one_descriptor(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    events: list[str] = []

    def write() -> None:
        events.append("writable")
        loop.remove_writer(ours.fileno())
        theirs.sendall(b"x")

    def read() -> None:
        events.append(ours.recv(1).decode())
        loop.stop()

    loop.add_reader(ours.fileno(), read)
    loop.add_writer(ours.fileno(), write)
    loop.run()
    assert events == ["writable", "x"]
    loop.remove_reader(ours.fileno())
    ours.close()
    theirs.close()


def test_closed_descriptor_can_be_removed_and_its_number_used_again(loop: Loop) -> None:
    first, other = socket.socketpair()
    loop.add_reader(first.fileno(), lambda: None)
    number = first.fileno()
    first.close()
    loop.remove_reader(number)
    again, peer = socket.socketpair()
    loop.add_reader(again.fileno(), loop.stop)
    peer.sendall(b"x")
    loop.run()
    for each in (other, again, peer):
        each.close()


def test_other_threads_wake_it(loop: Loop) -> None:
    ran: list[int] = []

    def many() -> None:
        for number in range(1000):
            loop.call_soon_threadsafe(lambda number=number: ran.append(number))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=many)
    loop.call_later(0, thread.start)
    loop.run()
    thread.join()
    assert ran == list(range(1000))


def test_signals_wake_it(loop: Loop) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: loop.call_soon_threadsafe(loop.stop))
    try:
        loop.call_later(0.01, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        guard_fired: list[int] = []
        loop.call_later(10, lambda: guard_fired.append(1))
        loop.run()
        assert not guard_fired
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_timer_may_stop_the_loop_and_the_next_run_goes_on(loop: Loop) -> None:
    ran: list[str] = []
    loop.call_later(0, loop.stop)
    loop.call_later(0, lambda: ran.append("later"))
    loop.run()
    assert ran == []
    loop.call_later(0, loop.stop)
    loop.run()
    assert ran == ["later"]
