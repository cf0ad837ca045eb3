"""The monitor of the demo: Prometheus and its blackbox exporter, as far as triage asks for them.

Theory of operation
    Once each `INTERVAL` seconds it asks the site over HTTP, and stores what a scrape of the
    exporter would: the status (0: no response), the duration, success, and `up`, at the time at
    which the scrape began. `/api/v1/query` answers range selectors over those with all samples in
    the range; `/api/v1/targets` shows the one target. Nothing else of PromQL is understood.

Source of the answers' form: prometheus.io/docs/prometheus/latest/querying/api/.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import aiohttp
from aiohttp import web

from triage.demo.site import AUTHORITY
from triage.promql import parse_expression
from triage.triggers import Matcher

INTERVAL = 1.0
"""Seconds."""
TIMEOUT = 5.0
"""Seconds of a probe at most. An exporter gives up within the interval; here, a machine that is too
busy to answer in it is no outage of the shop."""
AGENT = "demo-probe/1.0"
STATUS = "probe_http_status_code"
JOB, INSTANCE = "blackbox", f"http://{AUTHORITY}/"
KEEP = 3600
"""Samples of each series."""

_QUERY = re.compile(r"(?P<selector>.*)\[(?P<number>[0-9]+)(?P<unit>ms|s)\]", re.DOTALL)

Scrape = tuple[float, dict[str, float]]


class Monitor:
    """Probes `site` and serves the samples."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._scrapes: deque[Scrape] = deque(maxlen=KEEP)

    @property
    def statuses(self) -> list[int]:
        """What the probes saw, oldest first."""
        return [int(values[STATUS]) for _, values in self._scrapes]

    # Probing

    async def keep(self) -> None:
        """Probe until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        headers = {"User-Agent": AGENT, "Host": AUTHORITY}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            while True:
                began = time.time()
                self._scrapes.append((began, await self._probe(session)))
                await asyncio.sleep(max(0.0, began + INTERVAL - time.time()))

    async def _probe(self, session: aiohttp.ClientSession) -> dict[str, float]:
        began = time.monotonic()
        try:
            async with session.get(self._site) as response:
                await response.read()
                seen = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            seen = 0
        return {
            STATUS: seen,
            "probe_duration_seconds": time.monotonic() - began,
            "probe_success": float(seen == 200),
            "up": 1.0,
        }

    # The API

    def routes(self) -> list[web.RouteDef]:
        """What it serves."""
        return [
            web.get("/api/v1/query", self._query),
            web.post("/api/v1/query", self._query),
            web.get("/api/v1/targets", self._targets),
        ]

    async def _query(self, request: web.Request) -> web.Response:
        given = {**request.query, **await request.post()}
        found = _QUERY.fullmatch(str(given.get("query", "")))
        expression = parse_expression(found["selector"]) if found is not None else None
        if found is None or expression is None or not expression.plain:
            text = "the demo's monitor understands range selectors alone"
            answer = {"status": "error", "errorType": "bad_data", "error": text}
            return web.json_response(answer, status=400)
        matchers = list(expression.matchers)
        if expression.name:
            matchers.append(Matcher("__name__", expression.name))
        span = int(found["number"]) / (1000 if found["unit"] == "ms" else 1)
        end = float(str(given.get("time") or time.time()))
        result = list(self._rows(matchers, end - span, end))
        data = {"resultType": "matrix", "result": result}
        return web.json_response({"status": "success", "data": data})

    def _rows(self, matchers: list[Matcher], start: float, end: float) -> Iterable[dict[str, Any]]:
        """The series that fit all matchers, with their samples in (start, end]."""
        for name in (STATUS, "probe_duration_seconds", "probe_success", "up"):
            labels = {"__name__": name, "instance": INSTANCE, "job": JOB}
            values = [[at, f"{v[name]:g}"] for at, v in self._scrapes if start < at <= end]
            if values and all(one.matches(labels) for one in matchers):
                yield {"metric": labels, "values": values}

    async def _targets(self, _: web.Request) -> web.Response:
        target = {
            "labels": {"instance": INSTANCE, "job": JOB},
            "scrapeUrl": f"http://127.0.0.1:9115/probe?module=http_2xx&target={INSTANCE}",
            "health": "up",
            "lastError": "",
            "scrapeInterval": f"{INTERVAL:g}s",
            "scrapeTimeout": f"{INTERVAL:g}s",
        }
        data = {"activeTargets": [target], "droppedTargets": []}
        return web.json_response({"status": "success", "data": data})
