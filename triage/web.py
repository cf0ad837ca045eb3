"""The service's own pages.

    GET  /metrics                    Prometheus
    GET  /-/healthy                  200 while the process works
    GET  /-/ready                    200 once incidents are watched (a standby replica is ready too)
    POST /-/reload                   read the configuration again
    POST /api/v1/alertmanager        Alertmanager's webhook: ask for a triage
    GET  /incidents/ID               the page of an incident, as `triage show ID --html` writes it

The pages have no users of their own: bind them to loopback, or put them behind what has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from vmmib.configfile import ConfigError, split_host_port

log = structlog.get_logger(__name__)

MAX_BODY = 4 * 1024 * 1024
"""Octets of a webhook's payload; Alertmanager's largest groups take a tenth of that."""


class StartError(Exception):
    """The service cannot start; one line that says what to do."""


class Served(Protocol):
    """What the pages show of the service."""

    def healthy(self) -> str:
        """Return "" while it works, else why not."""
        ...

    def ready(self) -> str:
        """Return "" when it is ready, else what it waits for."""
        ...

    async def reload(self) -> None:
        """Read the configuration again; raise ConfigError, and go on as before."""
        ...

    async def asked(self, payload: bytes) -> int:
        """Take Alertmanager's webhook; return how many alerts are about targets. ValueError."""
        ...

    async def page(self, incident: str) -> str | None:
        """Return an incident's page, None when there is no such incident."""
        ...


class Pages:
    """The HTTP server of a service."""

    def __init__(self, served: Served, registry: CollectorRegistry, address: str) -> None:
        self._served = served
        self._registry = registry
        self._address = address
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raise StartError."""
        host, port = split_host_port(self._address)
        app = web.Application(client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/-/healthy", self._said(self._served.healthy)),
                web.get("/-/ready", self._said(self._served.ready)),
                web.post("/-/reload", self._reload),
                web.post("/api/v1/alertmanager", self._alertmanager),
                web.get("/incidents/{id}", self._incident),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host or None, port).start()
        except OSError as error:
            await self.stop()
            raise StartError(
                f"web.listen_address {self._address}: cannot listen there: {error.strerror}"
            ) from None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        addresses = self._runner.addresses if self._runner is not None else []
        return int(addresses[0][1]) if addresses else 0

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _said(self, ask: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            problem = ask()
            return web.Response(text=(problem or "ok") + "\n", status=503 if problem else 200)

        return answer

    async def _reload(self, _: web.Request) -> web.Response:
        try:
            await self._served.reload()
        except ConfigError as error:
            return web.Response(text="\n".join(error.problems) + "\n", status=400)
        return web.Response(text="ok\n")

    async def _alertmanager(self, request: web.Request) -> web.Response:
        try:
            taken = await self._served.asked(await request.read())
        except ValueError as error:
            log.warning("webhook_refused", problem=str(error))
            return web.Response(text=f"{error}\n", status=400)
        return web.Response(text=f"{taken} alerts taken\n")

    async def _incident(self, request: web.Request) -> web.Response:
        page = await self._served.page(request.match_info["id"])
        if page is None:
            return web.Response(text="there is no such incident\n", status=404)
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        return web.Response(
            text=page, content_type="text/html", headers={"Content-Security-Policy": policy}
        )
