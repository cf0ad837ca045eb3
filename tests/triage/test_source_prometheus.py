"""The Prometheus source on a real Prometheus and exporter; and, on a stand-in, every HTTP fault."""

from __future__ import annotations

import asyncio
import http.server
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from triage.evidence import Outcome, Target, Trigger
from triage.incidents import Bad, Good, NoData
from triage.promql import Timing
from triage.sources import prometheus
from triage.sources.errors import (
    BusyError,
    DeniedError,
    DownError,
    GarbageError,
    MissingError,
    SlowError,
    SourceError,
)
from triage.sources.prometheus import Poll, PrometheusSettings, PrometheusSource, QueryError
from triage.sources.prometheus_api import PrometheusApi, seconds
from triage.triggers import (
    Presence,
    Series,
    TargetRule,
    TriggerSettings,
    asked_anomaly,
    parse_matchers,
    read_metric,
)

UNPACKED = Path(__file__).parents[2] / ".build/unpacked/usr/bin"
DATA = Path(__file__).parent / "data/prometheus"
TRIGGERS = TriggerSettings(recovery=5.0)


def binary(name: str) -> str | None:
    """In the PATH, or where tools/packages unpacks it."""
    return shutil.which(name) or shutil.which(name, path=str(UNPACKED))


PROMETHEUS = binary("prometheus")
BLACKBOX = binary("prometheus-blackbox-exporter")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="needs prometheus")
needs_blackbox = pytest.mark.skipif(
    PROMETHEUS is None or BLACKBOX is None, reason="needs prometheus-blackbox-exporter"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# The real ones


class Exporter:
    """Answers /probe?target=NAME like a blackbox exporter; tests set what it says."""

    def __init__(self) -> None:
        self.statuses: dict[str, int | None] = {}
        """None: the scrape itself fails."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = urllib.parse.urlsplit(self.path).query
                name = urllib.parse.parse_qs(query).get("target", [""])[0]
                status = outer.statuses.get(name, 200)
                body = outer.page(status).encode() if status is not None else b""
                self.send_response(200 if status is not None else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @staticmethod
    def page(status: int | None) -> str:
        return (
            f"probe_http_status_code {status}\n"
            f"probe_success {int(status == 200)}\n"
            "probe_duration_seconds 0.25\n"
            'probe_http_duration_seconds{phase="connect"} 0.125\n'
            'probe_http_duration_seconds{phase="processing"} 0.0625\n'
        )

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Prometheus:
    """A private Prometheus that scrapes an exporter's probes every second."""

    def __init__(self, folder: Path, exporter_port: int, targets: Sequence[str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.targets(targets)
        relabel = [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": f"127.0.0.1:{exporter_port}"},
        ]
        job = {
            "job_name": "blackbox",
            "metrics_path": "/probe",
            "params": {"module": ["http"]},
            "file_sd_configs": [{"files": [str(folder / "targets.json")]}],
            "relabel_configs": relabel,
        }
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [job],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.start()

    def targets(self, names: Sequence[str]) -> None:
        """Written whole: Prometheus reads the file as soon as it changes."""
        fresh = self.folder / "targets.new"
        fresh.write_text(json.dumps([{"targets": list(names)}]))
        fresh.replace(self.folder / "targets.json")

    def start(self) -> None:
        assert PROMETHEUS is not None
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    PROMETHEUS,
                    f"--config.file={self.folder}/prometheus.yml",
                    f"--storage.tsdb.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):  # noqa: S310
                    return
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                assert self.process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


class Lab:
    def __init__(self, folder: Path) -> None:
        self.exporter = Exporter()
        names = ["a", "b", "c", "d", "e", "f", "g"]
        self.prometheus = Prometheus(folder, self.exporter.port, names)

    def close(self) -> None:
        self.prometheus.stop()
        self.exporter.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("prometheus"))
    yield lab
    lab.close()


@asynccontextmanager
async def asking(url: str, **changes: Any) -> AsyncIterator[PrometheusSource]:
    async with PrometheusSource(PrometheusSettings(url=url, **changes)) as source:
        yield source


def series_of(poll: Poll, name: str) -> Series | None:
    found = [one for one in poll.series if one.labels.get("instance") == name]
    assert len(found) <= 1
    return found[0] if found else None


async def until(
    source: PrometheusSource, name: str, condition: Callable[[Series], bool], timeout: float = 20
) -> Series:
    """Poll until the condition holds for a series."""
    deadline = time.monotonic() + timeout
    while True:
        one = series_of(await source.poll(), name)
        if one is not None and condition(one):
            return one
        assert time.monotonic() < deadline, one
        await asyncio.sleep(0.05)


def target(name: str) -> Target:
    return Target(name=name, scrape_interval=1.0, probe_timeout=0.5)


@needs_prometheus
@pytest.mark.asyncio
async def test_real_a_bad_status_with_its_scrape_time(lab: Lab) -> None:
    async with asking(lab.prometheus.url) as source:
        await until(source, "a", lambda one: len(one.samples) >= 2)
        began = time.time()
        lab.exporter.statuses["a"] = 503
        one = await until(source, "a", lambda one: one.samples[-1].value == 503)
        seen = time.time()
        first = next(s for s in one.samples if s.value == 503)
        assert began - 0.1 <= first.time <= seen
        one = await until(source, "a", lambda one: one.interval is not None and bool(one.url))
        assert (one.interval, one.timeout, one.url) == (1.0, 0.5, "a")
        assert one.exporter == f"127.0.0.1:{lab.exporter.port}"
        bad = read_metric(target("a"), [one], TRIGGERS)[0]
        assert isinstance(bad, Bad)
        assert bad.anomaly.time == first.time
        assert bad.anomaly.last_good is not None
        assert 0.5 < first.time - bad.anomaly.last_good < 1.5
        lab.exporter.statuses["a"] = 200
        one = await until(source, "a", lambda one: one.samples[-1].value == 200)
        assert isinstance(read_metric(target("a"), [one], TRIGGERS)[-1], Good)
        clock = source.clock_bounds
        assert clock is not None
        assert clock.low <= 0.01
        assert clock.high >= -0.01
        assert "series of probe_http_status_code" in await source.check()


@needs_prometheus
@pytest.mark.asyncio
async def test_real_no_response_and_a_failed_scrape_are_bad(lab: Lab) -> None:
    async with asking(lab.prometheus.url) as source:
        lab.exporter.statuses["b"] = 0
        one = await until(source, "b", lambda one: bool(one.samples) and one.samples[-1].value == 0)
        assert isinstance(read_metric(target("b"), [one], TRIGGERS)[0], Bad)
        lab.exporter.statuses["b"] = 200
        await until(source, "b", lambda one: one.samples[-1].value == 200)
        lab.exporter.statuses["b"] = None
        one = await until(source, "b", lambda one: one.presence is Presence.MISSING)
        assert one.up is False
        assert one.samples[-1].value is None
        bad = read_metric(target("b"), [one], TRIGGERS)[-1]
        assert isinstance(bad, Bad)
        assert bad.anomaly.ended is None
        evidence = await source.look(target("b"), replace(bad.anomaly, time=one.samples[-1].time))
        assert evidence.up is False
        assert evidence.look.outcome is Outcome.RAN
        lab.exporter.statuses["b"] = 200
        one = await until(source, "b", lambda one: one.presence is Presence.PRESENT)
        assert None in [sample.value for sample in one.samples]
        past = await source.around(time.time(), 60, 0, parse_matchers('instance="b"'))
        assert [s for s in past[0].samples if s.value is None]


@needs_prometheus
@pytest.mark.asyncio
async def test_real_a_removed_target_is_no_outage(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "REMOVED_AFTER", 0.5)
    async with asking(lab.prometheus.url, discover_every=0.2) as source:
        await until(source, "c", lambda one: bool(one.url))
        lab.prometheus.targets(["a", "b", "d", "e", "f", "g"])
        one = await until(source, "c", lambda one: one.presence is not Presence.PRESENT)
        seen = {one.presence}
        one = await until(source, "c", lambda one: one.presence is Presence.REMOVED)
        assert Presence.MISSING not in seen
        assert None not in [sample.value for sample in one.samples]


@needs_prometheus
@pytest.mark.asyncio
async def test_real_what_the_monitor_saw(lab: Lab) -> None:
    lab.exporter.statuses |= {"d": 503, "e": 500}
    async with asking(lab.prometheus.url) as source:
        one = await until(
            source, "d", lambda one: bool(one.samples) and one.samples[-1].value == 503
        )
        other = await until(source, "e", lambda one: one.samples[-1].value == 500)
        since = other.samples[-1].time  # by then both are bad
        await until(source, "d", lambda one: one.samples[-1].time >= since)
        bad = read_metric(target("d"), [one], TRIGGERS)[0]
        assert isinstance(bad, Bad)
        newest = series_of(await source.poll(), "d")
        assert newest is not None
        anomaly = replace(bad.anomaly, time=newest.samples[-1].time, samples=newest.samples[-1:])
        evidence = await source.look(target("d"), anomaly)
        assert evidence.look.whole, evidence.look
        assert evidence.probe_seconds == 0.25
        assert evidence.phases == {"connect": 0.125, "processing": 0.0625}
        assert evidence.up is True
        assert evidence.exporter_target == f"127.0.0.1:{lab.exporter.port}"
        assert "e" in evidence.others_failing
        assert "d" not in evidence.others_failing
        assert evidence.others_good >= 2
        assert evidence.clock_error is not None


@needs_prometheus
@pytest.mark.asyncio
async def test_real_an_expression_is_read_on_a_grid(lab: Lab) -> None:
    query = "max by (instance) (probe_http_status_code)"
    async with asking(lab.prometheus.url, query=query, step=2.0) as source:
        one = await until(source, "f", lambda one: len(one.samples) >= 2)
        assert all(sample.time % 2 == 0 for sample in one.samples)
        poll = await source.poll()
        assert (poll.timing, poll.step) == (Timing.GRID, 2.0)
        lab.exporter.statuses["f"] = None
        one = await until(source, "f", lambda one: one.presence is Presence.MISSING)
        assert one.samples[-1].value is None
        lab.exporter.statuses["f"] = 200
        past = await source.around(time.time(), 30, 0, parse_matchers('instance="f"'))
        assert past[0].samples


@needs_prometheus
@pytest.mark.asyncio
async def test_real_a_time_in_the_past_and_times_that_are_none(lab: Lab) -> None:
    lab.exporter.statuses["g"] = 404
    rule = TargetRule(target=target("g"))
    async with asking(lab.prometheus.url) as source:
        one = await until(
            source, "g", lambda one: bool(one.samples) and one.samples[-1].value == 404
        )
        bad_at = one.samples[-1].time
        lab.exporter.statuses["g"] = 200
        await until(source, "g", lambda one: one.samples[-1].value == 200)
        found = await source.outage(rule, bad_at, Trigger.MANUAL, TRIGGERS)
        assert found.status == 404
        assert found.time <= bad_at
        assert found.trigger is Trigger.MANUAL
        with pytest.raises(MissingError, match="in the future"):
            await source.around(time.time() + 3600, 60, 60)
        with pytest.raises(MissingError, match=r"and has some now: it keeps 15d"):
            await source.outage(rule, time.time() - 86_400, Trigger.MANUAL, TRIGGERS)
        nobody = TargetRule(target=target("nobody"))
        with pytest.raises(MissingError, match=r'instance="nobody".*nor now'):
            await source.outage(nobody, time.time(), Trigger.MANUAL, TRIGGERS)
        evidence = await source.look(
            target("nobody"), asked_anomaly(target("nobody"), time.time(), Trigger.MANUAL)
        )
        assert evidence.look.outcome is Outcome.RAN
        assert any("has none of" in problem for problem in evidence.look.problems)
        with pytest.raises(QueryError, match="parse error"):
            async with asking(lab.prometheus.url, query="max by (") as broken:
                await broken.poll()


@needs_prometheus
@pytest.mark.asyncio
async def test_real_a_restart_of_prometheus_is_no_outage(lab: Lab) -> None:
    async with asking(lab.prometheus.url) as source:
        before = await until(source, "a", lambda one: len(one.samples) >= 2)
        await asyncio.to_thread(lab.prometheus.stop)
        with pytest.raises(DownError, match=f"127.0.0.1:{lab.prometheus.port}"):
            await source.poll()
        await asyncio.to_thread(lab.prometheus.start)
        last = before.samples[-1].time

        def judged(one: Series) -> bool:
            events = read_metric(target("a"), [one], replace(TRIGGERS, recovery=0.5))
            newer = [e for e in events if isinstance(e, Bad) and e.last_bad > last]
            assert not newer, "a restart of Prometheus reads as an outage"
            assert all(isinstance(e, Bad | Good | NoData) for e in events)
            return one.presence is Presence.PRESENT and one.samples[-1].time > last + 2.5

        await until(source, "a", judged)


@needs_blackbox
@pytest.mark.asyncio
async def test_real_blackbox_exporter(tmp_path: Path) -> None:
    assert BLACKBOX is not None
    status = 200

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    config = tmp_path / "blackbox.yml"
    config.write_text(json.dumps({"modules": {"http": {"prober": "http", "timeout": "5s"}}}))
    port = free_port()
    address = f"--web.listen-address=127.0.0.1:{port}"
    async with serving(answer) as url:
        closed = f"http://127.0.0.1:{free_port()}/"
        with running([BLACKBOX, f"--config.file={config}", address], port):
            server = Prometheus(tmp_path, port, [f"{url}/", closed])
            try:
                async with asking(server.url) as source:
                    await until(source, f"{url}/", lambda one: one.samples[-1].value == 200)
                    status = 503
                    one = await until(source, f"{url}/", lambda one: one.samples[-1].value == 503)
                    refused = await until(source, closed, lambda one: bool(one.samples))
                    assert refused.samples[-1].value == 0
                    bad = read_metric(target(f"{url}/"), [one], TRIGGERS)[0]
                    assert isinstance(bad, Bad)
                    evidence = await source.look(target(f"{url}/"), bad.anomaly)
                    assert evidence.others_failing == (closed,)
                    assert evidence.probe_seconds is not None
                    assert "processing" in evidence.phases
            finally:
                server.stop()


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A daemon, from when it listens on."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)


# A stand-in that fails in every way

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def matrix(*rows: object, **more: object) -> web.Response:
    data = {"resultType": "matrix", "result": list(rows)}
    return web.json_response({"status": "success", "data": data, **more})


def row(*values: tuple[float, str], **labels: str) -> dict[str, object]:
    metric = {"__name__": "probe_http_status_code", **labels}
    return {"metric": metric, "values": [list(value) for value in values]}


def said(error: str, kind: str = "bad_data") -> str:
    return json.dumps({"status": "error", "errorType": kind, "error": error})


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (lambda: web.Response(status=401), DeniedError, "check username"),
        (lambda: web.Response(status=403), DeniedError, "403"),
        (lambda: web.Response(status=404), MissingError, "check the url and its path prefix"),
        (
            lambda: web.Response(status=302, headers={"Location": "https://sso.example/?token=x"}),
            MissingError,
            "points to https://sso.example/)",
        ),
        (lambda: web.Response(status=400, text=said("parse error: x")), QueryError, "parse error"),
        (lambda: web.Response(status=422, text=said("no such function")), QueryError, "no such"),
        (lambda: web.Response(status=429), BusyError, "429"),
        (lambda: web.Response(status=500, text="<html>oops"), GarbageError, "answers 500"),
        (lambda: web.Response(status=502), GarbageError, "502"),
        (lambda: web.Response(status=503), GarbageError, "503"),
        (
            lambda: web.Response(status=503, text=said("query timed out in x", "timeout")),
            SlowError,
            "gave the query up",
        ),
        (lambda: web.Response(status=504), SlowError, "504"),
        (lambda: web.Response(text="<html>sign in</html>"), GarbageError, "check the url"),
        (lambda: web.Response(text=""), GarbageError, "JSON"),
        (lambda: web.Response(body=b"\xff\xfe\x00"), GarbageError, "JSON"),
        (lambda: web.Response(text="[" * 200_000), GarbageError, "JSON"),
        (lambda: web.json_response({"status": "success"}), GarbageError, "JSON"),
        (lambda: web.json_response({"status": "error", "error": "x"}), GarbageError, "'error': x"),
        (
            lambda: web.json_response(
                {"status": "success", "data": {"resultType": "vector", "result": []}}
            ),
            GarbageError,
            "'vector'",
        ),
        (lambda: matrix({"metric": {}, "values": [[1, 2]]}), GarbageError, "JSON"),
        (lambda: matrix({"metric": 7}), GarbageError, "JSON"),
        (lambda: web.Response(text="x" * 300_000), GarbageError, "narrow the query"),
    ],
)
@pytest.mark.asyncio
async def test_faults(
    response: Callable[[], web.Response], error: type[SourceError], words: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return response()

    async with serving(answer) as url:
        secret = url.replace("http://", "http://user:hunter2@")
        async with asking(secret, max_octets=250_000) as source:
            with pytest.raises(error) as info:
                await source.poll()
            assert words in str(info.value)
            assert "\n" not in str(info.value)
            assert "hunter2" not in str(info.value)
            assert len(str(info.value)) < 500
            site = target("a")
            evidence = await source.look(site, asked_anomaly(site, 1e9, Trigger.MANUAL))
            assert evidence.look.outcome is Outcome.FAILED
            assert len(evidence.look.problems) == 1


@pytest.mark.asyncio
async def test_nobody_there() -> None:
    async with asking(f"http://127.0.0.1:{free_port()}") as source:
        with pytest.raises(DownError, match="cannot be reached"):
            await source.poll()
    async with asking("http://no-such-host.invalid") as source:
        with pytest.raises(DownError, match=r"no-such-host\.invalid"):
            await source.poll()


@pytest.mark.asyncio
async def test_slow() -> None:
    release = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    async with serving(answer) as url, asking(url, timeout=0.1) as source:
        with pytest.raises(SlowError, match=r"within 0\.1 s"):
            await source.poll()
        release.set()


RAW = {
    "cut short": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{",
        (GarbageError, DownError),
    ),
    "no http": (b"SSH-2.0-OpenSSH\r\n\r\n", (GarbageError,)),
    "nothing": (b"", (DownError,)),
    "bad chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        (GarbageError, DownError),
    ),
    "bad gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        (GarbageError,),
    ),
}


@pytest.mark.parametrize("name", list(RAW))
@pytest.mark.asyncio
async def test_broken_answers(name: str) -> None:
    body, errors = RAW[name]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with asking(f"http://127.0.0.1:{port}", timeout=5) as source:
            with pytest.raises(errors) as info:
                await source.poll()
            assert "\n" not in str(info.value)


@pytest.mark.parametrize("date", [False, True])
@pytest.mark.asyncio
async def test_a_busy_server_is_left_alone(date: bool) -> None:
    asked = 0
    now = 1_000_000.0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        if request.path != "/api/v1/query":
            return web.Response(status=404)
        asked += 1
        if asked > 1:
            return matrix()
        later = formatdate(now + 20, usegmt=True) if date else "20"
        return web.Response(status=503, headers={"Retry-After": later})

    async with serving(answer) as url:
        settings = PrometheusSettings(url=url)
        async with PrometheusSource(settings, clock=lambda: now) as source:
            with pytest.raises(BusyError) as info:
                await source.poll()
            assert info.value.retry_after == 20
            now += 19
            with pytest.raises(BusyError, match="for 1 s more"):
                await source.poll()
            assert asked == 1
            now += 2
            assert (await source.poll()).series == ()


@pytest.mark.asyncio
async def test_a_proxy_that_lets_only_get_through() -> None:
    methods = []

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/prefix/api/v1/query":
            return web.Response(status=404)
        methods.append(request.method)
        if request.method == "POST":
            return web.Response(status=405)
        assert request.query["query"].startswith("probe_http_status_code[")
        return matrix()

    async with serving(answer) as url, asking(f"{url}/prefix/") as source:
        await source.poll()
        with pytest.raises(MissingError):
            await source.discover()
        await source.poll()
    assert methods == ["POST", "GET", "GET"]


@pytest.mark.asyncio
async def test_no_targets_api_and_warnings_are_survived() -> None:
    now = time.time()

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/api/v1/query":
            return web.Response(status=404)
        values = [(now - 45 + 15 * n, "200") for n in range(4)]
        return matrix(row(*values, instance="x"), warnings=["store timed\nout"])

    async with serving(answer) as url, asking(url) as source:
        poll = await source.poll()
    (one,) = poll.series
    assert one.interval == pytest.approx(15)
    assert one.timeout is None
    assert one.presence is Presence.PRESENT
    assert poll.problems == (f"Prometheus {url}: store timed out",)


@pytest.mark.asyncio
async def test_intervals_out_of_the_configuration() -> None:
    config = "global: {scrape_interval: 1m}\nscrape_configs: [{job_name: j, scrape_timeout: 5s}]"

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/api/v1/status/config":
            return web.json_response({"status": "success", "data": {"yaml": config}})
        labels = {"job": "j", "instance": "x"}
        active = [{"labels": labels, "scrapeUrl": "http://[::1]:9115/probe?target=http%3A%2F%2Fx"}]
        return web.json_response({"status": "success", "data": {"activeTargets": active}})

    async with serving(answer) as url, asking(url) as source:
        (found,) = await source.discover()
    assert (found.interval, found.timeout, found.probe_timeout) == (60, 5, 4.5)
    assert (found.exporter, found.probed) == ("[::1]:9115", "http://x")


@pytest.mark.asyncio
async def test_credentials_and_their_rotation(tmp_path: Path) -> None:
    seen: list[str] = []
    token = tmp_path / "token"

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/api/v1/query":
            seen.append(request.headers.get("Authorization", ""))
            assert request.headers.get("X-Scope-OrgID") == "team"
        return matrix()

    headers = {"X-Scope-OrgID": "team"}
    async with serving(answer) as url:
        async with asking(url, bearer_token_file=str(token), headers=headers) as source:
            with pytest.raises(DeniedError, match="No such file"):
                await source.poll()
            token.write_text("one\n")
            await source.poll()
            token.write_text("two\n")
            await source.poll()
        secret = url.replace("http://", "http://me:pw@")
        async with asking(secret, headers=headers) as source:
            await source.poll()
            assert "pw" not in source.shown
        async with asking(url, username="me", password="pw", headers=headers) as source:  # noqa: S106
            await source.poll()
            assert "pw" not in repr(source.settings)
    assert seen == ["Bearer one", "Bearer two", "Basic bWU6cHc=", "Basic bWU6cHc="]


@pytest.mark.asyncio
async def test_too_many_series_are_cut_and_said() -> None:
    now = time.time()

    async def answer(request: web.Request) -> web.Response:
        return matrix(*(row((now, "200"), instance=f"i{n:03}") for n in range(50)))

    async with serving(answer) as url, asking(url, max_series=10) as source:
        poll = await source.poll()
    assert [one.labels["instance"] for one in poll.series] == [f"i{n:03}" for n in range(10)]
    assert any("50 series" in problem for problem in poll.problems)


@pytest.mark.asyncio
async def test_the_servers_clock_is_measured_and_used() -> None:
    ahead = 500.0

    async def answer(request: web.Request) -> web.Response:
        now = time.time() + ahead
        headers = {"Date": formatdate(int(now), usegmt=True)}
        response = matrix(row((now - 2, "200"), (now - 1, "200"), instance="x"))
        response.headers.update(headers)
        return response

    async with serving(answer) as url, asking(url) as source:
        poll = await source.poll()
        assert poll.series[0].presence is Presence.PRESENT
        assert poll.clock is not None
        assert poll.clock.offset == pytest.approx(ahead, abs=1)
        assert await source.around(time.time() + ahead - 5, 60, 0)


@pytest.mark.asyncio
async def test_after_silence_the_time_since_is_read() -> None:
    now = 1_000_000.0
    ranges = []
    down = False

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/api/v1/query":
            return web.Response(status=404)
        if down:
            return web.Response(status=500)
        ranges.append((await request.post())["query"])
        return matrix()

    async with serving(answer) as url:
        settings = PrometheusSettings(url=url)
        async with PrometheusSource(settings, clock=lambda: now) as source:
            await source.poll()
            now += 1
            await source.poll()
            down = True
            now += 600
            with pytest.raises(GarbageError):
                await source.poll()
            down = False
            await source.poll()
            now += 1_000_000
            await source.poll()
    spans = [seconds(str(query).split("[")[1].rstrip("]")) for query in ranges]
    assert spans == [900, 121, 720, 3600]


@pytest.mark.asyncio
async def test_requests_are_limited_and_cancelling_leaves_nothing() -> None:
    now_asked = most = 0
    release = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        nonlocal now_asked, most
        now_asked += 1
        most = max(most, now_asked)
        try:
            await release.wait()
        finally:
            now_asked -= 1
        return matrix()

    async with serving(answer) as url:
        before = asyncio.all_tasks()
        limit = asyncio.Semaphore(2)
        async with PrometheusSource(PrometheusSettings(url=url), limit=limit) as source:
            polls = [asyncio.create_task(source.poll()) for _ in range(6)]
            while now_asked < 2:
                await asyncio.sleep(0.01)
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)
            assert most == 2
            assert not limit.locked()
            own = {
                task
                for task in asyncio.all_tasks() - before
                if "prometheus" in task.get_name() or "poll" in str(task.get_coro())
            }
            assert not own
        release.set()


# Without a server


@pytest.mark.parametrize("url", ["", "prometheus:9090", "ftp://x", "http://", "http://x:y"])
def test_an_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="prometheus url"):
        PrometheusSource(PrometheusSettings(url=url))


def test_urls_are_shown_without_secrets() -> None:
    api = PrometheusApi(PrometheusSettings(url="https://u:p@h.example:9/x/api/v1/?k=v"))
    assert api.shown == "Prometheus https://h.example:9/x"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("15s", 15),
        ("1m30s", 90),
        ("900ms", 0.9),
        ("1h", 3600),
        ("", None),
        ("5", None),
        ("0s", None),
    ],
)
def test_durations(text: str, found: float | None) -> None:
    assert seconds(text) == found


@pytest.mark.asyncio
async def test_a_recorded_answer_of_prometheus() -> None:
    """Recorded from Prometheus 2.42 and blackbox exporter 0.23: 200, refused, exporter stopped."""
    recorded = (DATA / "exporter_stopped.json").read_text()
    ups = json.loads(recorded)["data"]["result"]
    newest = max(value[0] for each in ups for value in each["values"])

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/api/v1/query":
            return web.Response(status=404)
        query = str((await request.post())["query"])
        if "|up" in query:
            return web.Response(text=recorded)
        status = [each for each in ups if each["metric"]["__name__"] != "up"]
        return matrix(*status)

    async with serving(answer) as url:
        settings = PrometheusSettings(url=url)
        source = PrometheusSource(settings, clock=lambda: newest + 0.5)
        source._api._note_clock = lambda *_: None  # type: ignore[method-assign]
        async with source:
            poll = await source.poll()
    one = series_of(poll, "http://127.0.0.1:18081/")
    assert one is not None
    assert one.presence is Presence.MISSING
    assert [sample.value for sample in one.samples] == [200, 200, 200, 0, 0, None, None, None]
    bad = read_metric(target("x"), [one], TRIGGERS)[0]
    assert isinstance(bad, Bad)
    assert (bad.anomaly.time, bad.last_bad, bad.bad_samples) == (1795305207.9, 1795305211.9, 5)


@pytest.mark.asyncio
async def test_secrets_in_labels_do_not_get_into_evidence() -> None:
    now = time.time()
    own = "http://me:hunter2@site.example/"
    other = "http://me:hunter2@other.example/"

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/api/v1/query":
            return web.Response(status=404)
        assert "***" not in (await request.post())["query"]  # it would find nothing
        rows = [row((now, "503"), instance=name, job="j") for name in (own, other)]
        return matrix(*rows)

    rule = TargetRule(target=target("site"), matchers=parse_matchers('instance=~".*@site.*"'))
    async with serving(answer) as url, asking(url) as source:
        one = series_of(await source.poll(), own)
        assert one is not None
        bad = read_metric(rule.target, [one], TRIGGERS)[0]
        assert isinstance(bad, Bad)
        evidence = await source.look(rule.target, bad.anomaly, rule.matchers)
    assert len(evidence.others_failing) == 1
    assert "hunter2" not in f"{bad} {evidence}"


@pytest.mark.asyncio
async def test_the_exporters_own_judgement_of_other_targets_counts() -> None:
    now = time.time()

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/api/v1/query":
            return web.Response(status=404)
        success = {"__name__": "probe_success", "instance": "moved", "job": "j"}
        return matrix(
            row((now, "503"), instance="site", job="j"),
            {"metric": success, "values": [[now, "1"]]},
            row((now, "301"), instance="moved", job="j"),
            row((now, "404"), instance="lost", job="j"),
        )

    async with serving(answer) as url, asking(url) as source:
        asked = asked_anomaly(target("site"), now, Trigger.MANUAL, {"instance": "site"})
        evidence = await source.look(target("site"), asked)
    assert evidence.others_good == 1
    assert evidence.others_failing == ("lost",)
