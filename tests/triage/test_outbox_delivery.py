"""The dispatcher, with sinks that do what a test tells them and with real HTTP receivers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.triage.alert_cases import SECRET, T0, make_incident, receiver, statuses, told, until
from triage.alerts.delivery import DeliverySettings, Dispatcher
from triage.alerts.errors import (
    BusySinkError,
    FaultySinkError,
    RefusedError,
    SinkError,
    UnreachableError,
)
from triage.alerts.sink import Sending
from triage.alerts.slack import SlackSettings, SlackSink
from triage.alerts.webhook import WebhookSettings, WebhookSink
from triage.incidents import AlertKind
from triage.store import Store

QUICK = DeliverySettings(first_retry=0.01, longest_retry=0.05, poll=0.05)
F, U, R = AlertKind.FIRING, AlertKind.UPDATED, AlertKind.RESOLVED


class Fake:
    """A sink that raises what it is told to, one after another, and then takes everything."""

    def __init__(
        self,
        name: str = "fake",
        faults: tuple[SinkError | Exception | None, ...] = (),
        *,
        resend: float | None = None,
        hold: float = 0.0,
    ) -> None:
        self.name = name
        self.resend = resend
        self.hold = hold
        self.tried: list[Sending] = []
        self.taken: list[str] = []
        self.most = 0
        self.gate: Callable[[Sending], Awaitable[None]] | None = None
        self._faults = list(faults)
        self._now = 0

    async def send(self, sending: Sending) -> None:
        self.tried.append(sending)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            if self.gate is not None:
                await self.gate(sending)
            fault = self._faults.pop(0) if self._faults else None
            if fault is not None:
                raise fault
            self.taken.append(sending.message.id)
        finally:
            self._now -= 1


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "triage.db") as opened:
        yield opened


def put(store: Store, sinks: tuple[str, ...], *messages: tuple[str, int, AlertKind]) -> None:
    for incident, number, kind in messages:
        message = told(number, kind, incident)
        store.save(make_incident(incident), messages=(message,), sinks=sinks)


@contextlib.asynccontextmanager
async def running(
    store: Store, *sinks: object, settings: DeliverySettings = QUICK
) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(store, sinks, settings)  # type: ignore[arg-type]
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(1.0)
        async with asyncio.timeout(10):
            await task


def state(store: Store, sink: str = "fake") -> dict[str, int]:
    return {what: count for (name, what), count in store.outbox.counts().items() if name == sink}


@pytest.mark.asyncio
async def test_what_waits_is_sent_in_order(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F), ("i", 2, U), ("j", 1, F), ("i", 3, R))
    sink = Fake()
    async with running(store, sink):
        await until(lambda: state(store) == {"done": 4})
    assert [one for one in sink.taken if one.startswith("i.")] == ["i.1", "i.2", "i.3"]
    assert "j.1" in sink.taken
    assert not any(sending.repeat for sending in sink.tried)


@pytest.mark.asyncio
async def test_a_new_message_is_sent_when_woken(store: Store) -> None:
    sink = Fake()
    slow = DeliverySettings(poll=600)
    async with running(store, sink, settings=slow) as dispatcher:
        await until(lambda: dispatcher._lanes[0]._started)
        put(store, ("fake",), ("i", 1, F))
        dispatcher.wake()
        await until(lambda: state(store) == {"done": 1})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "repeat"),
    [
        (UnreachableError("refused"), False),
        (BusySinkError("busy", 0.01), False),
        (FaultySinkError("500"), True),
        (RuntimeError("a fault of ours"), True),
    ],
)
async def test_failures_are_tried_again_and_order_is_kept(
    store: Store, fault: Exception, repeat: bool
) -> None:
    put(store, ("fake",), ("i", 1, F), ("i", 2, R))
    sink = Fake(faults=(fault, fault))
    async with running(store, sink) as dispatcher:
        await until(lambda: state(store) == {"done": 2})
        assert dispatcher.status["fake"].failed == 2
        assert dispatcher.status["fake"].problem == ""
    assert sink.taken == ["i.1", "i.2"]
    assert [one.message.id for one in sink.tried] == ["i.1", "i.1", "i.1", "i.2"]
    # It may have been received: then its repeat says so
    assert [one.repeat for one in sink.tried] == [False, repeat, repeat, False]


@pytest.mark.asyncio
async def test_a_refused_message_is_a_dead_letter_with_the_sinks_words(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F), ("i", 2, R))
    sink = Fake(faults=(RefusedError(f"x answered 400: bad token={SECRET}"),))
    async with running(store, sink):
        await until(lambda: state(store) == {"dead": 1, "done": 1})
    (letter,) = store.outbox.dead_letters()
    assert (letter.id, letter.sink, letter.attempts) == ("i.1", "fake", 1)
    assert letter.error == "x answered 400: bad token=***"
    assert sink.taken == ["i.2"]


@pytest.mark.asyncio
async def test_a_dead_letter_can_be_requeued(store: Store) -> None:
    put(store, ("fake", "other"), ("i", 1, F))
    sink = Fake(faults=(RefusedError("no"),))
    async with running(store, sink, Fake("other")):
        await until(lambda: state(store) == {"dead": 1})
        assert store.outbox.requeue(T0, sink="other") == 0
        assert store.outbox.requeue(T0, seqs=[999]) == 0
        assert store.outbox.requeue(T0) == 1
        await until(lambda: state(store) == {"done": 1})  # found without being woken
    assert store.outbox.dead_letters() == []


@pytest.mark.asyncio
async def test_what_is_too_old_dies(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F))
    settings = DeliverySettings(
        first_retry=0.001, longest_retry=0.001, max_age=-1, min_attempts=3, poll=0.01
    )
    sink = Fake(faults=(FaultySinkError("500"),) * 9)
    async with running(store, sink, settings=settings):
        await until(lambda: state(store) == {"dead": 1})
    assert len(sink.tried) == 3  # age alone does not kill: clocks jump
    assert "at last: 500" in store.outbox.dead_letters()[0].error


@pytest.mark.asyncio
async def test_a_dead_sink_delays_no_other(store: Store) -> None:
    put(store, ("hangs", "fake"), ("i", 1, F), ("i", 2, R))
    hangs, fake = Fake("hangs"), Fake()

    async def hang(_: Sending) -> None:
        await asyncio.sleep(600)

    hangs.gate = hang
    async with running(store, hangs, fake):
        await until(lambda: state(store) == {"done": 2})
        assert state(store, "hangs") == {"waiting": 2}


@pytest.mark.asyncio
async def test_requests_at_once_are_bounded(store: Store) -> None:
    put(store, ("fake",), *((f"i{number}", 1, F) for number in range(40)))
    sink = Fake()

    async def slow(_: Sending) -> None:
        await asyncio.sleep(0.005)

    sink.gate = slow
    async with running(store, sink):
        await until(lambda: state(store) == {"done": 40})
    assert sink.most == QUICK.concurrency
    assert len(sink.tried) == 40


@pytest.mark.asyncio
async def test_a_busy_sink_is_left_alone_as_long_as_it_asks(store: Store) -> None:
    put(store, ("fake",), *((f"i{number}", 1, F) for number in range(20)))
    sink = Fake(faults=(BusySinkError("429", 600.0),) * QUICK.concurrency)
    async with running(store, sink):
        await until(lambda: len(sink.tried) == QUICK.concurrency)
        await asyncio.sleep(0.2)  # polled a few times since
        assert len(sink.tried) == QUICK.concurrency
    assert sink.taken == []
    assert state(store) == {"waiting": 20}


@pytest.mark.asyncio
async def test_one_message_probes_a_sink_that_was_down(store: Store) -> None:
    put(store, ("fake",), *((f"i{number}", 1, F) for number in range(20)))
    down = UnreachableError("refused")
    sink = Fake(faults=(down,) * (QUICK.concurrency + 5))
    async with running(store, sink):
        await until(lambda: state(store) == {"done": 20})
    # After the first ones failed, one at a time until it was back: no herd
    assert len(sink.tried) == 20 + QUICK.concurrency + 5


@pytest.mark.asyncio
async def test_what_stands_is_sent_again_until_it_is_resolved(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F))
    sink = Fake(resend=0.02)
    async with running(store, sink) as dispatcher:
        await until(lambda: len(sink.taken) >= 4)
        put(store, ("fake",), ("i", 2, R))
        dispatcher.wake()
        await until(lambda: state(store) == {"done": 2})
        count = len(sink.taken)
        assert sink.tried[-1].standing is not None
        assert sink.tried[-1].standing.id == "i.1"
        await asyncio.sleep(0.1)
        assert len(sink.taken) == count  # it is over
        assert dispatcher.status["fake"].resent >= 2
        assert dispatcher.status["fake"].delivered == 2
    assert sink.taken[-1] == "i.2"


@pytest.mark.asyncio
async def test_what_stands_is_sent_again_after_a_restart(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F))
    async with running(store, Fake(resend=0.02)):
        await until(lambda: state(store) == {"standing": 1})
    again = Fake(resend=0.02)
    async with running(store, again):
        await until(lambda: again.taken != [])
    assert again.tried[0].message.id == "i.1"


@pytest.mark.asyncio
async def test_the_end_is_held_for_as_long_as_the_sink_needs(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F), ("i", 2, R))
    sink = Fake(resend=0.05, hold=0.3)
    async with running(store, sink):
        await until(lambda: state(store) == {"done": 2})
    first = store.outbox.of_incident("i")[0][4]
    last = store.outbox.of_incident("i")[1][4]
    assert first is not None
    assert last is not None
    assert last - first >= 0.3
    assert sink.taken[:2] == ["i.1", "i.1"]  # it did not lapse meanwhile


@pytest.mark.asyncio
async def test_a_requeued_state_does_not_replace_a_newer_one(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F))
    sink = Fake(faults=(RefusedError("no"),), resend=60.0)
    async with running(store, sink) as dispatcher:
        await until(lambda: state(store) == {"dead": 1})
        put(store, ("fake",), ("i", 2, R))
        dispatcher.wake()
        await until(lambda: state(store) == {"dead": 1, "done": 1})
        store.outbox.requeue(T0)
        await until(lambda: state(store) == {"superseded": 1, "done": 1})
    assert sink.taken == ["i.2"]


@pytest.mark.asyncio
async def test_messages_of_sinks_that_are_gone_are_dead_letters(store: Store) -> None:
    put(store, ("gone", "fake"), ("i", 1, F))
    async with running(store, Fake()):
        await until(lambda: state(store) == {"done": 1})
    (letter,) = store.outbox.dead_letters()
    assert "no sink gone is configured" in letter.error


@pytest.mark.asyncio
async def test_a_message_that_cannot_be_read_is_a_dead_letter(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F), ("j", 1, F))
    store.database.run("UPDATE outbox SET body = x'00' WHERE incident = 'i'")
    sink = Fake()
    async with running(store, sink):
        await until(lambda: state(store) == {"dead": 1, "done": 1})
    assert sink.taken == ["j.1"]


@pytest.mark.asyncio
async def test_a_stop_sends_what_is_due_and_no_more(store: Store) -> None:
    put(store, ("fake", "down"), ("i", 1, F), ("i", 2, R))
    sink = Fake()
    down = Fake("down", (UnreachableError("refused"),) * 999)
    dispatcher = Dispatcher(store, [sink, down], QUICK)
    task = asyncio.create_task(dispatcher.run())
    await until(lambda: down.tried != [])
    await dispatcher.stop(5.0)
    async with asyncio.timeout(5):
        await task
    assert state(store) == {"done": 2}
    assert state(store, "down") == {"waiting": 2}


@pytest.mark.asyncio
async def test_a_stop_ends_within_its_limit(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F))
    sink = Fake()

    async def hang(_: Sending) -> None:
        await asyncio.sleep(600)

    sink.gate = hang
    dispatcher = Dispatcher(store, [sink], QUICK)
    task = asyncio.create_task(dispatcher.run())
    await until(lambda: sink.tried != [])
    async with asyncio.timeout(5):
        await dispatcher.stop(0.05)
        await task
    (row,) = store.outbox.active("fake")
    assert row.uncertain  # the sink may have it
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_cancelling_leaves_no_tasks(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F))
    sink = Fake()

    async def hang(_: Sending) -> None:
        await asyncio.sleep(600)

    sink.gate = hang
    task = asyncio.create_task(Dispatcher(store, [sink], QUICK).run())
    await until(lambda: sink.tried != [])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_a_fault_of_the_state_file_stops_a_lane_for_a_moment_only(store: Store) -> None:
    put(store, ("fake",), ("i", 1, F))
    store.database.run("ALTER TABLE outbox RENAME TO away")
    sink = Fake()
    async with running(store, sink):
        await asyncio.sleep(0.1)
        store.database.run("ALTER TABLE away RENAME TO outbox")
        await until(lambda: sink.taken == ["i.1"])


def test_two_sinks_of_one_name_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="one name"):
        Dispatcher(store, [Fake(), Fake()])


# Over real HTTP


@pytest.mark.asyncio
async def test_slack_and_webhook_that_fail_in_every_way(store: Store, tmp_path: Path) -> None:
    put(store, ("slack", "hook"), ("i", 1, F), ("i", 2, U), ("i", 3, R))
    busy = web.Response(status=429, headers={"Retry-After": "0"})
    async with (
        receiver(statuses(busy, 500, 200, 503, 200)) as there,
        receiver(statuses(200, busy, 408, 200)) as other,
    ):
        (tmp_path / "url").write_text(f"{there.url}/services/{SECRET}")
        slack = SlackSink(SlackSettings(name="slack", url_file=str(tmp_path / "url")))
        hook = WebhookSink(WebhookSettings(name="hook", url=other.url))
        async with running(store, slack, hook):
            await until(lambda: state(store, "slack") == state(store, "hook") == {"done": 3})
    for got in (there.ids, other.ids):  # folded by their key: each once, in order
        assert list(dict.fromkeys(got)) == ["i.1", "i.2", "i.3"]
    again = [b"Sent again" in body for _, body in there.got]
    assert again == [False, False, True, False, True, False]
    assert all(SECRET.encode() not in body for _, body in there.got + other.got)
