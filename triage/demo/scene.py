"""Everything that the demo stands in for, served on loopback by one thread with a loop of its own.

with Scene(folder, name, uuid, runs) as scene:
    scene.kubeconfig, scene.prometheus, scene.alerts_to   # for a configuration
    scene.alerts                                          # what was received so far
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import AsyncExitStack
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from aiohttp import web

from triage.demo.hostlog import HostLog
from triage.demo.monitor import Monitor
from triage.demo.site import NODE, Site
from triage.kube.recorded import RecordedCluster
from triage.kube.values import Json, parse_time

HOST = "127.0.0.1"
RECORDED_AT = "2026-11-21T23:52:41Z"
"""When the objects were recorded: their times are moved so that this is now."""
START_WITHIN = 10.0
END_WITHIN = 5.0
"""Seconds."""
MAX_BODY = 4 * 1024 * 1024


def recorded(uuid: str) -> list[Json]:
    """Return the recorded objects; the node that matters gets `uuid` as its systemUUID."""
    text = resources.files("triage.demo").joinpath("cluster/objects.yaml").read_text("utf-8")
    items: list[Json] = list(yaml.safe_load_all(text))
    for item in items:
        if item["kind"] == "Node" and item["metadata"]["name"] == NODE:
            item["status"]["nodeInfo"]["systemUUID"] = uuid
    return items


class Scene:
    """The cluster, the site, the host's log, the monitor, and the receiver of alerts.

    Raises OSError at the start.

    `name`, `uuid`: of the node's virtual machine; `runs`: whether that one runs.
    """

    def __init__(self, folder: Path, name: str, uuid: str, runs: Callable[[], bool]) -> None:
        self.host_log = HostLog(folder, name)
        self.kubeconfig = folder / "kubeconfig"
        self.prometheus = ""
        """URL, once it serves; so is the next one."""
        self.alerts_to = ""
        self.alerts: list[Json] = []
        """Bodies of the webhook, in the order in which they came."""
        self._folder = folder
        self._uuid = uuid
        self._runs = runs
        self._monitor: Monitor | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scene", daemon=True)
        self._serving: Future[None] | None = None
        self._stop = asyncio.Event()
        # Clients that go away in the middle of an answer are no news for a terminal
        self._log = logging.FileHandler(folder / "stand-ins.log", delay=True)
        logging.getLogger("aiohttp").addHandler(self._log)

    @property
    def statuses(self) -> list[int]:
        """What the monitor's probes saw, oldest first."""
        return self._monitor.statuses if self._monitor is not None else []

    @property
    def failure(self) -> BaseException | None:
        """What ended the scene; None while it serves."""
        done = self._serving is not None and self._serving.done()
        return self._serving.exception() if done and self._serving is not None else None

    def __enter__(self) -> Self:
        self._thread.start()
        ready = threading.Event()
        self._serving = asyncio.run_coroutine_threadsafe(self._serve(ready), self._loop)
        self._serving.add_done_callback(lambda _: ready.set())
        try:
            if not ready.wait(START_WITHIN):
                raise OSError("the stand-ins do not serve")
            if self.failure is not None:
                raise self.failure
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        if self._serving is not None:
            wait([self._serving], END_WITHIN)
        rest = asyncio.run_coroutine_threadsafe(_end_the_rest(), self._loop)
        wait([rest], END_WITHIN)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_WITHIN)
        if not self._thread.is_alive():
            self._loop.close()
        logging.getLogger("aiohttp").removeHandler(self._log)
        self._log.close()

    async def _serve(self, ready: threading.Event) -> None:
        async with AsyncExitStack() as stack:
            shift = time.time() - (parse_time(RECORDED_AT) or 0.0)
            cluster = RecordedCluster(recorded(self._uuid), host=HOST, shift=shift)
            await stack.enter_async_context(cluster)
            cluster.write_kubeconfig(self.kubeconfig)
            site = Site(cluster, self._folder, self._runs)
            address = await _serving(stack, [web.get("/{path:.*}", site.answer)])
            self._monitor = Monitor(address)
            self.prometheus = await _serving(stack, self._monitor.routes())
            self.alerts_to = await _serving(stack, [web.post("/", self._alert)])
            self.host_log.write_past(time.time())
            ready.set()
            working = asyncio.gather(site.keep(), self._monitor.keep(), self.host_log.keep())
            stopping = asyncio.ensure_future(self._stop.wait())
            either: list[asyncio.Future[Any]] = [working, stopping]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if working.done():
                    working.result()  # neither ends but by a fault
            finally:
                working.cancel()
                stopping.cancel()
                await asyncio.gather(working, stopping, return_exceptions=True)

    async def _alert(self, request: web.Request) -> web.Response:
        self.alerts.append(await request.json())
        return web.Response(status=204)


async def _serving(stack: AsyncExitStack, routes: Iterable[web.RouteDef]) -> str:
    """Serve on a free port until the stack's end; return the URL."""
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, HOST, 0).start()
    return f"http://{HOST}:{runner.addresses[0][1]}/"


async def _end_the_rest() -> None:
    """End what a server's cleanup leaves: handlers whose client went away are not told."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
