"""A stand-in for Prometheus and its blackbox exporter: any number of probed URLs, by a thread.

    with FakePrometheus(["http://a/", "http://b/"]) as prometheus:
        prometheus.set("http://a/", 503)     # from now on
        prometheus.busiest                   # most requests that it ever had to answer at once

Scrapes are computed, not made: each URL has its own phase, as in Prometheus, and a sample's value
is what was set last before it. Range selectors and /api/v1/targets are understood, nothing else.
"""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.triage.site import HOST
from triage.promql import parse_expression
from triage.triggers import Matcher

STATUS = "probe_http_status_code"
RETENTION = 3600.0
"""Seconds of samples that it has."""
_QUERY = re.compile(r"(?P<selector>.*)\[(?P<number>[0-9]+)(?P<unit>ms|s)\]", re.DOTALL)


class FakePrometheus:
    """See the module; a context manager."""

    def __init__(self, urls: Sequence[str], *, interval: float = 1.0, port: int = 0) -> None:
        self.interval = interval
        self.busiest = 0
        self._changes: dict[str, list[tuple[float, int]]] = {url: [(0.0, 200)] for url in urls}
        self._began = time.time() - RETENTION
        self._busy = 0
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer("")

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                self._answer(self.rfile.read(length).decode())

            def _answer(self, form: str) -> None:
                with fake._counted():
                    status, found = fake._found(self.path, form)
                    body = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.port = int(self._server.server_address[1])
        self.url = f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def set(self, url: str, status: int) -> float:
        """Give the status that probes of a URL see from now on; the time."""
        now = time.time()
        with self._lock:
            self._changes[url] = [*self._changes[url], (now, status)]
        return now

    def first_bad(self, url: str) -> float:
        """The time of the first bad sample since the last change."""
        since = self._changes[url][-1][0]
        phase = self._phase(url)
        return phase + (int((since - phase) / self.interval) + 1) * self.interval

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def _phase(self, url: str) -> float:
        number = list(self._changes).index(url)
        return self._began + self.interval * number / len(self._changes)

    # Answers

    def _found(self, path: str, form: str) -> tuple[int, Any]:
        parts = urllib.parse.urlsplit(path)
        given = dict(urllib.parse.parse_qsl(parts.query) + urllib.parse.parse_qsl(form))
        if parts.path == "/api/v1/targets":
            active = [self._target(url) for url in self._changes]
            return 200, {"status": "success", "data": {"activeTargets": active}}
        found = _QUERY.fullmatch(given.get("query", ""))
        expression = parse_expression(found["selector"]) if found is not None else None
        if parts.path != "/api/v1/query" or found is None or expression is None:
            error = {"status": "error", "errorType": "bad_data", "error": "not understood"}
            return 400, error
        matchers = list(expression.matchers)
        if expression.name:
            matchers.append(Matcher("__name__", expression.name))
        span = int(found["number"]) / (1000 if found["unit"] == "ms" else 1)
        end = float(given.get("time") or time.time())
        rows = list(self._rows(matchers, end - span, min(end, time.time())))
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": rows}}

    def _rows(self, matchers: list[Matcher], start: float, end: float) -> Iterable[Any]:
        for url, changes in self._changes.items():
            times = list(self._times(url, start, end))
            if not times:
                continue
            for name in (STATUS, "up", "probe_success", "probe_duration_seconds"):
                labels = {"__name__": name, "instance": url, "job": "blackbox"}
                if all(one.matches(labels) for one in matchers):
                    yield {
                        "metric": labels,
                        "values": [[t, _value(name, changes, t)] for t in times],
                    }

    def _times(self, url: str, start: float, end: float) -> Iterator[float]:
        phase = self._phase(url)
        number = max(0, int((start - phase) / self.interval) + 1)
        while (at := phase + number * self.interval) <= end:
            yield round(at, 3)
            number += 1

    def _target(self, url: str) -> dict[str, Any]:
        return {
            "labels": {"instance": url, "job": "blackbox"},
            "scrapeUrl": f"http://{HOST}:9115/probe?module=http_2xx&target={url}",
            "health": "up",
            "lastError": "",
            "scrapeInterval": f"{int(self.interval * 1000)}ms",
            "scrapeTimeout": f"{int(self.interval * 1000)}ms",
        }


def _value(name: str, changes: list[tuple[float, int]], at: float) -> str:
    status = next(value for since, value in reversed(changes) if since <= at)
    return {STATUS: str(status), "up": "1", "probe_success": str(int(status == 200))}.get(
        name, "0.01"
    )
