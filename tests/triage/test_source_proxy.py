"""Looking into proxy logs, and following them, over sources that fail in every way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from triage.evidence import (
    Anomaly,
    Match,
    Outcome,
    ProxyRequest,
    ProxyRole,
    Target,
    Trigger,
    Window,
)
from triage.proxylog.flags import Kind, classify
from triage.proxylog.formats import FormatError
from triage.sources.errors import DeniedError, DownError, MissingError, SlowError, SourceError
from triage.sources.files import FileSource
from triage.sources.logs import LogRef, LogSource
from triage.sources.proxy import BulkSource, ProxyLooker, ProxyRef, ProxySettings

AT = 1_700_560_800.0
WINDOW = Window(start=AT - 30, end=AT + 30)
TARGET = Target(name="front", path="/health", authority="front.example")
ANOMALY = Anomaly(target="front", trigger=Trigger.METRIC, time=AT, status=503)
BLACKBOX = "Blackbox-Exporter/0.25.0"
POD = LogRef(pod="app-0", namespace="front", container="istio-proxy")
REF: ProxyRef = (POD, ProxyRole.SIDECAR, "front/app-0")
GATEWAY: ProxyRef = (LogRef(pod="gw-0", namespace="mesh"), ProxyRole.GATEWAY, "mesh/gw-0")


def stamp(offset: float) -> str:
    minute, second = divmod(600 * 60 + offset, 60)
    hour, minute = divmod(int(minute), 60)
    return f"2023-11-21T{hour:02}:{minute:02}:{second:06.3f}Z"


def line(
    offset: float,
    status: int = 503,
    flags: str = "UF",
    path: str = "/health",
    agent: str = BLACKBOX,
    request_id: str = "-",
    host: str = "front.example",
    prefix: bool = True,
) -> bytes:
    text = (
        f'[{stamp(offset)}] "GET {path} HTTP/1.1" {status} {flags} '
        f'{"via_upstream" if flags == "-" else "-"} - "-" 0 0 5 - "-" "{agent}" "{request_id}" '
        f'"{host}" "192.0.2.1:80" inbound|80|| 192.0.2.1:1 192.0.2.1:80 192.0.2.2:3 - default'
    )
    return ((f"{stamp(offset + 0.5)} " if prefix else "") + text).encode()


Script = list[bytes | SourceError | float]


class Scripted:
    """A LogSource that plays what it is told: lines, seconds to wait, errors."""

    def __init__(self, logs: dict[LogRef, list[Script]]) -> None:
        self._logs = logs
        self.asked: list[tuple[float, float]] = []
        self.open = 0

    async def _play(self, ref: LogRef) -> AsyncIterator[bytes]:
        scripts = self._logs.get(ref)
        if not scripts:
            raise MissingError(f"{ref.shown}: no such pod")
        self.open += 1
        try:
            for item in scripts.pop(0) if len(scripts) > 1 else scripts[0]:
                if isinstance(item, bytes):
                    yield item
                elif isinstance(item, float):
                    await asyncio.sleep(item)
                else:
                    raise item
        finally:
            self.open -= 1

    def read(self, ref: LogRef, start: float, end: float) -> AsyncIterator[bytes]:
        self.asked.append((start, end))
        return self._play(ref)

    def follow(self, ref: LogRef, start: float) -> AsyncIterator[bytes]:
        self.asked.append((start, 0.0))
        return self._play(ref)


def looker(source: LogSource, mask: Callable[[str], str] = str, **more: Any) -> ProxyLooker:
    return ProxyLooker(
        source,
        ProxySettings(**{"backoff": 0.001, "longest_backoff": 0.01, **more}),
        mask=mask,
        limit=asyncio.Semaphore(2),
        clock=lambda: AT + 40,
    )


async def look(script: Script, mask: Callable[[str], str] = str, **more: Any) -> Any:
    source = Scripted({POD: [script]})
    found = await looker(source, mask, **more).look(TARGET, ANOMALY, WINDOW, [REF])
    assert source.open == 0
    return found


@pytest.mark.asyncio
async def test_it_finds_the_monitors_request() -> None:
    source = Scripted(
        {
            POD: [
                [
                    line(-60),
                    line(-5, 200, "-"),
                    line(0),
                    line(1, agent="curl/8", path="/x"),
                    line(2, 200, "-", agent="curl/8", path="/x"),
                    line(3, 404, "-", agent="curl/8", path="/x"),
                    b"2023-11-21T10:00:01Z [2023-11-21 10:00:01.000][1][error][config] [x] closed",
                    b"2023-11-21T10:00:01Z what is this?",
                ]
            ]
        }
    )
    found = await looker(source).look(TARGET, ANOMALY, WINDOW, [REF])
    assert found.look.outcome is Outcome.RAN
    assert found.look.whole
    assert found.look.window == WINDOW
    assert source.asked == [(WINDOW.start, AT + 40)]  # not into the future
    assert [(one.match, one.status, one.time) for one in found.requests] == [
        (Match.OWN, 503, AT),
        (Match.OWN, 200, AT - 5),
        (Match.OTHER, 503, AT + 1),
    ]
    assert (found.own, found.likely, found.others, found.others_failed) == (2, 0, 3, 1)
    assert found.unparsed == 1
    assert found.pods == ("front/app-0",)
    assert found.requests[0].written_at == AT + 0.5
    assert found.requests[0].pod == "front/app-0"
    assert [error.pod for error in found.errors] == ["front/app-0"]
    assert "closed" in found.errors[0].text


@pytest.mark.asyncio
async def test_nothing_there_is_not_the_same_as_not_looked() -> None:
    nothing = await look([])
    assert nothing.look.outcome is Outcome.RAN
    assert nothing.look.whole
    assert nothing.requests == ()
    nobody = await looker(Scripted({})).look(TARGET, ANOMALY, WINDOW, [])
    assert nobody.look.outcome is Outcome.SKIPPED
    assert nobody.look.problems


@pytest.mark.parametrize(
    "error",
    [DownError("down"), SlowError("slow"), DeniedError("401"), MissingError("404")],
)
@pytest.mark.asyncio
async def test_a_log_that_cannot_be_read(error: SourceError) -> None:
    found = await look([error])
    assert found.look.outcome is Outcome.FAILED
    assert found.look.problems == (f"front/app-0: {error}",)
    assert found.pods_unread == ("front/app-0",)
    assert found.pods == ()


@pytest.mark.asyncio
async def test_one_of_two_logs_cannot_be_read() -> None:
    source = Scripted({POD: [[line(0)]]})
    found = await looker(source).look(TARGET, ANOMALY, WINDOW, [REF, GATEWAY])
    assert found.look.outcome is Outcome.RAN
    assert not found.look.whole
    assert found.pods_unread == ("mesh/gw-0",)
    assert found.own == 1


@pytest.mark.asyncio
async def test_an_error_after_some_lines_keeps_them() -> None:
    found = await look([line(0), DownError("connection lost")])
    assert found.look.outcome is Outcome.RAN
    assert found.look.problems == ("front/app-0: connection lost",)
    assert found.own == 1
    assert found.pods_unread == ()


@pytest.mark.asyncio
async def test_a_log_that_never_ends_is_left() -> None:
    found = await look([line(0), 60.0], timeout=0.05)
    assert found.look.problems == ("front/app-0: its log was not read to the end within 0.05 s",)
    assert found.own == 1


@pytest.mark.asyncio
async def test_a_huge_log_is_bounded() -> None:
    found = await look([line(0)] * 1000, max_lines=100, keep=5)
    assert found.own == 100
    assert len(found.requests) == 5
    assert "only its first 100 lines" in found.look.problems[0]
    found = await look([line(0)] * 1000, max_bytes=10_000)
    assert 0 < found.own < 100


@pytest.mark.asyncio
async def test_lines_of_another_format_are_a_problem() -> None:
    found = await look([b"2023-11-21T10:00:00Z 503 something"] * 3)
    assert found.unparsed == 3
    assert "none in the access log format 'auto'" in found.look.problems[0]


@pytest.mark.asyncio
async def test_a_gateways_line_finds_the_sidecars() -> None:
    source = Scripted(
        {
            POD: [[line(0.1, path="/rewritten", request_id="id-1", host="10.0.0.1")]],
            GATEWAY[0]: [[line(0, request_id="id-1", flags="-")]],
        }
    )
    found = await looker(source).look(TARGET, ANOMALY, WINDOW, [REF, GATEWAY])
    assert [one.role for one in found.requests] == [ProxyRole.GATEWAY, ProxyRole.SIDECAR]
    assert {one.match for one in found.requests} == {Match.OWN}
    assert found.others == 0


@pytest.mark.asyncio
async def test_what_is_given_is_masked_and_matching_is_not() -> None:
    found = await look(
        [line(0, path="/health?token=secret")], lambda text: text.replace("secret", "***")
    )
    (request,) = found.requests
    assert request.match is Match.OWN
    assert "secret" not in repr(found)
    assert "***" in request.raw
    assert request.path == "/health?token=***"


def test_a_bad_format_is_told_at_once() -> None:
    with pytest.raises(FormatError):
        ProxyLooker(
            Scripted({}), ProxySettings(format="nonsense"), mask=str, limit=asyncio.Semaphore(1)
        )


@pytest.mark.asyncio
async def test_files_are_read_in_bulk(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"\n".join([line(0, prefix=False), line(1, path="/x", prefix=False)]) + b"\n")
    source = FileSource()
    assert isinstance(source, BulkSource)
    ref: ProxyRef = (LogRef(pod=str(log)), ProxyRole.SIDECAR, str(log))
    found = await looker(source).look(TARGET, ANOMALY, WINDOW, [ref])
    assert (found.own, found.others) == (1, 1)
    gone: ProxyRef = (LogRef(pod=str(tmp_path / "none")), ProxyRole.SIDECAR, "none")
    found = await looker(source).look(TARGET, ANOMALY, WINDOW, [gone])
    assert found.look.outcome is Outcome.FAILED
    assert "no such file" in found.look.problems[0]


# Following


async def followed(
    source: Scripted, count: int, refs: list[ProxyRef] | None = None, **more: Any
) -> list[ProxyRequest]:
    found: list[ProxyRequest] = []
    problems: list[tuple[str, str]] = []
    stream = looker(source, **more).follow(
        TARGET, refs or [REF], AT - 10, on_problem=lambda *said: problems.append(said)
    )
    async with asyncio.timeout(10), aclosing(stream) as requests:
        async for request in requests:
            found.append(request)
            if len(found) == count:
                break
    assert source.open == 0
    return found


@pytest.mark.asyncio
async def test_follow_gives_all_requests_and_whose_they_are() -> None:
    source = Scripted(
        {
            POD: [
                [
                    line(-20),
                    line(0, 200, "-"),
                    line(1, agent="curl/8"),
                    line(2, 200, "-", path="/x"),
                    line(3),
                    line(4, 200, "UPE"),
                    60.0,
                ]
            ]
        }
    )
    found = await followed(source, 5)
    assert [(one.time - AT, one.match) for one in found] == [
        (0.0, Match.OWN),
        (1.0, Match.OTHER),
        (2.0, Match.OTHER),
        (3.0, Match.OWN),
        (4.0, Match.OWN),
    ]
    assert [classify(one).kind for one in found] == [
        Kind.OK,
        Kind.CONNECT_FAILURE,
        Kind.OK,
        Kind.CONNECT_FAILURE,
        Kind.PROTOCOL,
    ]
    assert [bool(one.raw) for one in found] == [False, True, False, True, True]


@pytest.mark.asyncio
async def test_follow_gives_what_began_before_and_ends_after() -> None:
    def lasting(ms: int, request_id: str) -> bytes:
        row = line(-20, 504, "UT", request_id=request_id, prefix=False)
        assert b" 0 0 5 " in row
        return row.replace(b" 0 0 5 ", f" 0 0 {ms} ".encode(), 1)

    rows = [
        f"{stamp(-20 + ms / 1000)} ".encode() + lasting(ms, request_id)
        for ms, request_id in ((9000, "over"), (15000, "late"))
    ]

    source = Scripted({POD: [[*rows, 60.0]]})
    assert [one.request_id for one in await followed(source, 1)] == ["late"]


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.asyncio
async def test_a_reconnect_neither_repeats_nor_loses(prefix: bool) -> None:
    rows = [line(index, request_id=f"id-{index}", prefix=prefix) for index in range(10)]
    source = Scripted(
        {
            POD: [
                [*rows[:4], DownError("connection lost")],
                [DownError("still down")],
                [*rows[2:7]],  # asked from a time on: it gives some again, then ends
                [*rows[5:], 60.0],
            ]
        }
    )
    found = await followed(source, 10)
    assert [one.request_id for one in found] == [f"id-{index}" for index in range(10)]


@pytest.mark.asyncio
async def test_a_reconnect_asks_from_the_last_line_on() -> None:
    source = Scripted({POD: [[line(5), DownError("lost")], [line(6), 60.0]]})
    await followed(source, 2)
    assert [start - AT for start, _ in source.asked] == [-12.0, 3.5]


@pytest.mark.asyncio
async def test_lines_of_two_streams_may_be_out_of_order() -> None:
    first = line(0, request_id="a").replace(stamp(0.5).encode(), stamp(9).encode(), 1)
    source = Scripted({POD: [[first, line(1, request_id="b"), 60.0]]})
    assert [one.request_id for one in await followed(source, 2)] == ["a", "b"]


@pytest.mark.asyncio
async def test_one_log_that_is_gone_does_not_stop_the_others() -> None:
    source = Scripted({POD: [[0.05, line(0), 60.0]]})
    said: list[tuple[str, str]] = []
    stream = looker(source).follow(
        TARGET, [GATEWAY, REF], AT - 10, on_problem=lambda *one: said.append(one)
    )
    async with asyncio.timeout(10), aclosing(stream) as requests:
        assert (await anext(requests)).pod == "front/app-0"
    assert ("mesh/gw-0", "mesh/gw-0: no such pod") in said


@pytest.mark.asyncio
async def test_a_slow_consumer_makes_the_reading_wait() -> None:
    rows: Script = [line(index / 100, request_id=f"{index}") for index in range(500)]
    source = Scripted({POD: [[*rows, 60.0]]})
    found = await followed(source, 500, queue=2)
    assert [one.request_id for one in found] == [f"{index}" for index in range(500)]


@pytest.mark.asyncio
async def test_cancelling_leaves_no_tasks() -> None:
    source = Scripted({POD: [[60.0]]})
    stream = looker(source).follow(TARGET, [REF], AT)
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        while not source.open:
            await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    assert source.open == 0
    assert asyncio.all_tasks() == before


def test_evidence_is_bounded_for_a_hostile_log() -> None:
    huge = json.dumps({"x": "y" * 100_000}).encode()
    found = asyncio.run(look([line(0, path="/health?" + "q" * 30_000), huge]))
    assert found.own == 1
    assert all(len(one.raw) <= 4096 and len(one.path) <= 2048 for one in found.requests)
