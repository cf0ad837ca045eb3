"""The application's log as a source of evidence, on recordings and on faults of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from triage.evidence import (
    AppEvidence,
    AppLine,
    AppLineKind,
    Match,
    Outcome,
    ProxyRequest,
    Target,
    Window,
)
from triage.sources.app import AppLooker, AppSettings
from triage.sources.errors import DeniedError, DownError, SourceError
from triage.sources.logs import LogRef

DATA = Path(__file__).parent / "data" / "applog"
T0 = 1_752_731_400.0
"""When the request begins."""
UUID = "fc594902-0098-41e5-890b-05a5c6f84fd9"
REF = LogRef(namespace="front", pod="app-0", container="app")
FORMER = LogRef(namespace="front", pod="app-0", container="app", previous=True)
TARGET = Target(name="site", path="/")
WINDOW = Window(start=T0 - 60, end=T0 + 10)


def stamp(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def cri(lines: Iterable[str], time: float = T0 + 0.1, stream: str = "stdout") -> list[bytes]:
    """As containerd writes them, a millisecond apart."""
    return [
        f"{stamp(time + number / 1000)} {stream} F {line}".encode()
        for number, line in enumerate(lines)
    ]


def recorded(name: str, time: float = T0 + 0.1) -> list[bytes]:
    return cri((DATA / name).read_text().splitlines(), time)


class Logs:
    """A LogSource over lists; an exception among the lines is raised."""

    def __init__(self, logs: dict[LogRef, list[bytes | SourceError]]) -> None:
        self._logs = logs
        self.closed = 0
        self.given = 0

    async def read(self, ref: LogRef, start: float, end: float) -> AsyncIterator[bytes]:
        try:
            for line in self._logs[ref]:
                if isinstance(line, SourceError):
                    raise line
                self.given += 1
                yield line
        finally:
            self.closed += 1

    def follow(self, ref: LogRef, start: float) -> AsyncIterator[bytes]:
        raise NotImplementedError


def request(**fields: object) -> ProxyRequest:
    known = {
        "time": T0,
        "method": "GET",
        "path": "/",
        "status": 503,
        "flags": ("UC",),
        "duration_ms": 500.0,
        "user_agent": "Blackbox Exporter/0.24.0",
        "request_id": UUID,
    }
    return ProxyRequest(**(known | fields))  # type: ignore[arg-type]


async def look(
    lines: list[bytes],
    proxied: ProxyRequest | None = None,
    settings: AppSettings | None = None,
    mask: Callable[[str], str] = str,
    target: Target = TARGET,
) -> AppEvidence:
    looker = AppLooker(Logs({REF: lines}), settings, mask=mask, clock=lambda: T0 + 20)
    return await looker.look(target, WINDOW, proxied, [REF])


def only(evidence: AppEvidence, contained: str) -> AppLine:
    found = [line for line in evidence.lines if contained in line.line.text]
    assert len(found) == 1, [line.line.text for line in evidence.lines]
    return found[0]


# The source paper's cases: its lines, counted as it counts them, and judged otherwise


@pytest.mark.asyncio
async def test_an_exporters_retries_and_a_405_to_somebodys_head_are_no_failure():
    retry = "Transient error StatusCode.UNAVAILABLE encountered while exporting traces to localhost"
    lines = cri([f"{retry}:4317, retrying in {seconds}s." for seconds in (1, 2, 4, 8, 16, 32)],
                T0 - 33, "stderr")  # fmt: skip
    head = 'INFO:     127.0.0.6:34385 - "HEAD / HTTP/1.1" 405 Method Not Allowed'
    evidence = await look([*lines, *cri([head], T0 - 4)], request())
    assert evidence.look.whole
    assert (evidence.read, evidence.non_200, evidence.with_error) == (7, 1, 6)
    assert evidence.logs_access is True
    assert all(line.score == 0 for line in evidence.lines)
    proof = [line for line in evidence.lines if line.noise]
    assert proof
    assert proof[0].noise == "telemetry exporter"
    assert "noise" in proof[0].why
    method_not_allowed = only(evidence, "HEAD")
    assert method_not_allowed.match is Match.OTHER
    assert "another client's" in method_not_allowed.why
    assert method_not_allowed.line.stream == "stdout"
    assert method_not_allowed.line.pod == "front/app-0"


# Recordings of real applications


@pytest.mark.asyncio
async def test_uvicorn():
    evidence = await look(recorded("uvicorn.log"), request(path="/boom"))
    own = only(evidence, "GET /boom")
    assert (own.match, own.status, own.score) == (Match.OWN, 500, 0.95)
    crash = only(evidence, "Exception in ASGI application")
    assert crash.score >= 0.9
    assert "RuntimeError: could not reach the database" in crash.line.text
    assert only(evidence, "Shutting down").score == 0.6
    assert only(evidence, "/nothing").match is Match.OTHER
    assert evidence.non_200 == 4
    assert not any("/error/list" in line.line.text for line in evidence.lines)


@pytest.mark.asyncio
async def test_gunicorn():
    evidence = await look(recorded("gunicorn.log"), request(path="/bad"))
    own = only(evidence, "GET /bad")
    assert (own.match, own.score) == (Match.OWN, 0.95)
    assert only(evidence, "WORKER TIMEOUT").score == 0.9
    other = only(evidence, "Error handling request GET /boom")
    assert other.score == 0.45
    assert "another request" in other.why


@pytest.mark.asyncio
async def test_nginx():
    target = Target(name="site", path="/up?a=1", user_agent="")
    lines = recorded("nginx.log") + recorded("nginx_error.log", T0 + 0.2)
    evidence = await look(
        lines, request(path="/up?a=1", user_agent=None, request_id=None), target=target
    )
    assert only(evidence, '"GET /up?a=1 HTTP/1.1" 502').match is Match.OWN
    refused = only(evidence, "connect() failed")
    assert (refused.match, refused.score) == (Match.LIKELY, 0.75)
    by_id = await look(lines, request(path="/elsewhere"))
    assert only(by_id, '/j?a=').match is Match.OWN  # fmt: skip
    assert by_id.non_200 == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["java.log", "node.log"])
async def test_traces_of_other_languages(name: str):
    evidence = await look(recorded(name), request())
    assert max(line.score for line in evidence.lines) >= 0.75
    assert evidence.logs_access is False
    assert any(line.line.text.count("\n") > 2 for line in evidence.lines)


# Matching and weighing in the whole


@pytest.mark.asyncio
async def test_of_equal_requests_nobody_can_tell():
    line = 'INFO:     127.0.0.6:1 - "GET / HTTP/1.1" 500 Internal Server Error'
    evidence = await look(cri([line, line]), request())
    assert [one.match for one in evidence.lines] == [Match.LIKELY, Match.LIKELY]
    assert [one.score for one in evidence.lines] == [0.7, 0.7]


@pytest.mark.asyncio
async def test_lines_with_the_requests_trace_id_are_its_own():
    trace = "0af7651916cd43dd8448eb211c80319c"
    lines = [
        f'{{"level":"error","msg":"pool exhausted","trace_id":"{trace}"}}',
        '{"level":"error","msg":"pool exhausted","trace_id":"ffffffffffffffffffffffffffffffff"}',
        (
            f'{{"msg":"done","method":"GET","path":"/","status":500,"request_id":"{UUID}",'
            f'"trace_id":"{trace}"}}'
        ),
    ]
    evidence = await look(cri(lines), request())
    assert [(one.match, one.score) for one in evidence.lines] == [
        (Match.OWN, 0.9),
        (Match.OTHER, 0.75),
        (Match.OWN, 0.95),
    ]
    assert evidence.lines[2].request_id == UUID


@pytest.mark.asyncio
async def test_an_answer_on_a_line_of_its_own_belongs_to_the_request_of_that_id():
    ident = f"I, [2025-07-17T05:50:00.1 #1]  INFO -- : [{UUID}]"
    lines = [
        f'{ident} Started GET "/orders" for 10.0.0.1 at 2025-07-17 05:50:00 +0000',
        f"{ident} Completed 500 Internal Server Error in 12ms (Views: 0.1ms)",
    ]
    evidence = await look(cri(lines), request(request_id=None, path="/orders"))
    answer = only(evidence, "Completed 500")
    assert answer.kind is AppLineKind.ACCESS
    assert (answer.path, answer.status, answer.match) == ("/orders", 500, Match.OWN)


@pytest.mark.asyncio
async def test_what_was_said_before_the_request_weighs_less_unless_it_lasts():
    error = "ERROR:    could not connect to the database"
    early = await look(cri([error], T0 - 50), request())
    assert early.lines[0].score == pytest.approx(0.5625, abs=0.01)
    assert "49 s before the request" in early.lines[0].why
    late = await look(cri([error], T0 + 8), request())
    assert late.lines[0].score == pytest.approx(0.45)
    assert (await look(cri([error]), request())).lines[0].score == 0.75
    assert (await look(cri([error], T0 - 50))).lines[0].score == 0.75
    stopping = await look(cri(["INFO:     Shutting down"], T0 - 50), request())
    assert stopping.lines[0].score == 0.6


@pytest.mark.asyncio
async def test_the_good_answer_of_the_application_weighs_nothing():
    line = 'INFO:     127.0.0.6:1 - "GET / HTTP/1.1" 200 OK'
    evidence = await look(cri([line]), request())
    assert (evidence.lines[0].match, evidence.lines[0].score) == (Match.OWN, 0)
    assert evidence.lines[0].why == "answered 200"
    moved = 'INFO:     127.0.0.6:1 - "GET / HTTP/1.1" 301 Moved'
    evidence = await look(cri([moved]), request())
    assert evidence.lines[0].score == 0.85
    good = Target(name="site", good=(200, 301))
    evidence = await look(cri([moved]), request(), target=good)
    assert evidence.lines[0].score == 0


@pytest.mark.asyncio
async def test_patterns_of_the_settings_for_all_and_for_one_target():
    settings = AppSettings(
        noise=("nuisance",), noise_by_target={"site": ("queue lagging",)}, builtin_noise=False
    )
    lines = cri(["ERROR: nuisance", "ERROR: queue lagging", "Failed to export traces"])
    evidence = await look(lines, request(), settings)
    assert [line.noise for line in evidence.lines] == ["nuisance", "queue lagging", None]
    other = await look(lines, request(), settings, target=Target(name="other"))
    assert [line.noise for line in other.lines] == ["nuisance", None, None]


def test_a_pattern_that_cannot_be_used_is_refused_at_once():
    with pytest.raises(ValueError, match="repeats a repetition"):
        AppLooker(Logs({}), AppSettings(noise_by_target={"site": ("(a+)+",)}))


# Windows, times, bounds


@pytest.mark.asyncio
async def test_only_lines_of_the_window_count_and_reading_stops_behind_it():
    lines = cri(["ERROR: early"], WINDOW.start - 1)
    lines += cri(["ERROR: in it"], WINDOW.end)
    lines += cri(["ERROR: late"], WINDOW.end + 1)
    lines += cri(["ERROR: much later"] * 1000, WINDOW.end + 100)
    logs = Logs({REF: lines})
    evidence = await AppLooker(logs).look(TARGET, WINDOW, None, [REF])
    assert [line.line.text for line in evidence.lines] == ["ERROR: in it"]
    assert (evidence.read, evidence.with_error) == (1, 1)
    assert logs.given == 4
    assert logs.closed == 1


@pytest.mark.asyncio
async def test_a_file_without_the_runtimes_time_is_read_by_its_own():
    when = datetime.fromtimestamp(T0 + 1, UTC)
    lines = [
        f'::1 - - [{when:%d/%b/%Y:%H:%M:%S} +0000] "GET / HTTP/1.1" 500 1 "-" "-"'.encode(),
        f"{when:%Y/%m/%d %H:%M:%S} [error] boom".encode(),
        b"a line without a time goes with the one before",
    ]
    evidence = await look(lines, request())
    assert (evidence.read, evidence.look.problems) == (3, ())
    assert evidence.lines[0].match is Match.OWN
    assert evidence.lines[1].line.time == T0 + 1


@pytest.mark.asyncio
async def test_lines_that_nobody_can_place_are_a_problem():
    evidence = await look([b"ERROR: when was this?"], request())
    assert evidence.look.outcome is Outcome.RAN
    assert not evidence.look.whole
    assert evidence.look.problems == (
        (
            "1 lines bear no time, so that nobody can tell whether they are of the window: "
            "let the application write times"
        ),
    )
    assert evidence.logs_access is None


@pytest.mark.asyncio
@pytest.mark.parametrize("bound", [{"max_lines": 5}, {"max_bytes": 300}])
async def test_a_bound_is_a_problem(bound: dict[str, int]):
    evidence = await look(cri(["ERROR: boom"] * 50), None, AppSettings(**bound))
    assert evidence.look.outcome is Outcome.RAN
    assert "only the first 5 lines" in evidence.look.problems[0]
    assert evidence.read == 5


@pytest.mark.asyncio
async def test_what_is_kept_is_bounded():
    lines = cri([f"ERROR: boom {number} " + "x" * 9000 for number in range(500)], T0 - 5)
    lines += cri(["panic: the one that matters"])
    lines += cri(["Failed to export traces"] * 500)
    evidence = await look(lines, request(), AppSettings(keep=20))
    assert len(evidence.lines) <= 40
    assert all(len(line.line.text) <= 4000 for line in evidence.lines)
    assert only(evidence, "panic").score == 0.95
    assert 0 < sum(line.noise is not None for line in evidence.lines) <= 6
    assert evidence.read == 1001
    assert [line.line.time for line in evidence.lines] == sorted(
        line.line.time for line in evidence.lines
    )


@pytest.mark.asyncio
async def test_evidence_is_masked():
    def mask(text: str) -> str:
        return text.replace("hunter2", "***")

    lines = cri(
        ["ERROR: login failed password=hunter2", '1.1.1.1 - "GET /?p=hunter2 HTTP/1.1" 500']
    )
    evidence = await look(lines, request(path="/?p=hunter2"), mask=mask)
    assert len(evidence.lines) == 2
    assert "hunter2" not in repr(evidence)


# Logs that fail


@pytest.mark.asyncio
async def test_a_former_instances_log_and_one_that_cannot_be_read():
    logs = Logs(
        {
            REF: cri(["INFO:     Started server process [1]"]),
            FORMER: cri(["Fatal Python error: Segmentation fault"], T0 - 3),
        }
    )
    evidence = await AppLooker(logs).look(TARGET, WINDOW, request(), [REF, FORMER])
    assert evidence.look.whole
    assert evidence.containers == ("front/app-0/app", "front/app-0/app (previous)")
    crash = only(evidence, "Fatal Python error")
    assert (crash.line.previous, crash.score) == (True, 0.95)
    assert only(evidence, "Started server").line.previous is False

    logs = Logs({REF: cri(["ERROR: boom"]), FORMER: [DeniedError("not allowed to read logs")]})
    evidence = await AppLooker(logs).look(TARGET, WINDOW, request(), [REF, FORMER])
    assert evidence.look.outcome is Outcome.RAN
    assert evidence.look.problems == ("front/app-0/app (previous): not allowed to read logs",)
    assert evidence.containers == ("front/app-0/app",)


@pytest.mark.asyncio
async def test_when_no_log_can_be_read_the_step_failed():
    logs = Logs({REF: [DownError("connection refused")], FORMER: [DownError("gone")]})
    evidence = await AppLooker(logs).look(TARGET, WINDOW, request(), [REF, FORMER])
    assert evidence.look.outcome is Outcome.FAILED
    assert len(evidence.look.problems) == 2
    assert evidence.logs_access is None
    assert evidence.containers == ()


@pytest.mark.asyncio
async def test_a_log_that_breaks_off_is_read_in_part():
    logs = Logs({REF: [*cri(["ERROR: boom"]), DownError("connection lost")]})
    evidence = await AppLooker(logs).look(TARGET, WINDOW, request(), [REF])
    assert evidence.look.outcome is Outcome.RAN
    assert evidence.look.problems == ("front/app-0/app: connection lost",)
    assert only(evidence, "boom").score == 0.6


@pytest.mark.asyncio
async def test_nothing_to_read_is_skipped_and_an_empty_log_is_not():
    evidence = await AppLooker(Logs({})).look(TARGET, WINDOW, request(), [])
    assert evidence.look.outcome is Outcome.SKIPPED
    assert evidence.look.problems
    evidence = await look([], request())
    assert evidence.look.whole
    assert (evidence.read, evidence.lines, evidence.logs_access) == (0, (), None)


class Slow(Logs):
    """One that stops in the middle."""

    async def read(self, ref: LogRef, start: float, end: float) -> AsyncIterator[bytes]:
        try:
            for line in cri(["ERROR: boom"]):
                yield line
            await asyncio.Event().wait()
        finally:
            self.closed += 1


@pytest.mark.asyncio
async def test_a_slow_log_is_left_and_what_came_is_kept():
    logs = Slow({})
    looker = AppLooker(logs, AppSettings(timeout=0.05))
    evidence = await looker.look(TARGET, WINDOW, request(), [REF])
    assert evidence.look.outcome is Outcome.RAN
    assert "not read to its end within 0.05 s" in evidence.look.problems[0]
    assert only(evidence, "boom").score == 0.6
    assert logs.closed == 1


@pytest.mark.asyncio
async def test_being_cancelled_leaves_nothing_behind():
    logs = Slow({})
    before = asyncio.all_tasks()
    task = asyncio.create_task(AppLooker(logs).look(TARGET, WINDOW, request(), [REF, FORMER]))
    await asyncio.sleep(0)
    while logs.closed == 0 and not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


@pytest.mark.asyncio
async def test_logs_are_read_no_more_at_once_than_allowed():
    running = most = 0

    class Counting(Logs):
        async def read(self, ref: LogRef, start: float, end: float) -> AsyncIterator[bytes]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            for line in cri(["x"]):
                yield line
            running -= 1

    refs = [LogRef(namespace="front", pod=f"app-{number}", container="app") for number in range(9)]
    looker = AppLooker(Counting({}), limit=asyncio.Semaphore(3))
    evidence = await looker.look(TARGET, WINDOW, request(), refs)
    assert most == 3
    assert len(evidence.containers) == 9


@pytest.mark.asyncio
async def test_what_a_sidecar_proxied_its_own_pod_answered():
    other = LogRef(namespace="front", pod="app-1", container="app")
    access = 'INFO:     127.0.0.6:1 - "GET / HTTP/1.1" 500 Internal Server Error'
    logs = Logs({REF: cri([access]), other: cri([access, "ERROR: boom"])})
    looker = AppLooker(logs)
    evidence = await looker.look(TARGET, WINDOW, request(pod="front/app-0"), [other, REF])
    assert {(line.line.pod, line.match, line.score) for line in evidence.lines} == {
        ("front/app-0", Match.OWN, 0.95),
        ("front/app-1", Match.OTHER, 0.4),
        ("front/app-1", Match.OTHER, 0.3),
    }
    unknown = await looker.look(TARGET, WINDOW, request(pod="/var/log/envoy.log"), [other, REF])
    assert [line.match for line in unknown.lines if line.status] == [Match.LIKELY, Match.LIKELY]


@pytest.mark.asyncio
async def test_each_attempt_of_a_retried_request_is_its_own():
    access = 'INFO:     127.0.0.6:1 - "GET / HTTP/1.1" {} X'
    lines = cri([access.format(500), access.format(502), access.format(500)])
    evidence = await look(lines, request(retries=2, details="via_upstream", status=500))
    assert [line.match for line in evidence.lines] == [Match.OWN] * 3
    evidence = await look(lines, request(retries=1))
    assert [line.match for line in evidence.lines] == [Match.LIKELY] * 3


@pytest.mark.asyncio
async def test_access_lines_before_the_window_show_that_there_are_some():
    early = cri(['INFO:     127.0.0.6:1 - "GET / HTTP/1.1" 200 OK'], WINDOW.start - 1)
    evidence = await look([*early, *cri(["hello"])], request())
    assert (evidence.logs_access, evidence.read) == (True, 1)
    assert (await look(cri(["hello"]), request())).logs_access is False
