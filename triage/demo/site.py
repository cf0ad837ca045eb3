"""The site of the demo: an ingress gateway, a sidecar and an application in one small HTTP server.

It stands in for Envoy and for the front pod. What it does is decided by nothing but whether the
node's virtual machine runs:

- It runs: a request is answered 200, and the gateway, the sidecar and the application log it.
- It does not: nobody takes the connection. After the gateway's connect timeout the answer is 503,
  and the gateway alone logs it, with flag UF, as Envoy does (response flags: Envoy's documentation,
  "Access logging"). Who is asked for the node's logs gets what an API server gets that cannot
  reach a kubelet, and the node's lease is not renewed. The Node object says Ready all the same:
  Kubernetes waits for 40 s before it takes a silent kubelet for lost.

The lines are those of Envoy 1.3x in Istio's default text format, and of uvicorn, with this run's
times and ids.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from triage.kube.recorded import Fault, RecordedCluster, status
from triage.kube.values import Json, format_time

NAMESPACE, POD = "shop", "front-f7c9d7949-w5shg"
GATEWAY_NAMESPACE, GATEWAY = "istio-system", "istio-ingressgateway-6bd9cfd8-9sz6k"
NODE, NODE_ADDRESS = "worker-1", "192.0.2.11"
AUTHORITY = "shop.example"

CONNECT_TIMEOUT = 0.2
"""Seconds that the gateway gives a connection; Istio's own default is 10."""
WATCH = 0.1
"""Seconds between two looks at the virtual machine."""
RENEW = 10.0
"""Seconds between two signs of life of a kubelet, as Kubernetes has it."""

_TO_GATEWAY = "198.51.100.66:8080 192.0.2.50:51544 - -"
_OUTBOUND = f'"198.51.100.2:8080" outbound|80||front.{NAMESPACE}.svc.cluster.local'
_GOOD = (
    '[{start}] "GET {path} HTTP/1.1" 200 - via_upstream - "-" 0 11 {ms} {ms} "-" "{agent}" "{id}" '
    f'"{AUTHORITY}" '
)
_SIDECAR = (
    _GOOD + '"198.51.100.2:8080" inbound|8080|| 127.0.0.6:40461 198.51.100.2:8080 '
    f"198.51.100.66:43022 outbound_.80_._.front.{NAMESPACE}.svc.cluster.local default"
)
_FRONT_DOOR = _GOOD + f"{_OUTBOUND} 198.51.100.66:43022 {_TO_GATEWAY}"
_UNREACHED = (
    '[{start}] "GET {path} HTTP/1.1" 503 UF '
    'upstream_reset_before_response_started{{connection_timeout}} - "-" 0 91 {ms} - "-" "{agent}" '
    f'"{{id}}" "{AUTHORITY}" {_OUTBOUND} - {_TO_GATEWAY}'
)
_APP = 'INFO:     198.51.100.66:0 - "GET {path} HTTP/1.1" 200 OK'
_BODY = (
    "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"
)
_NO_KUBELET = (
    'Get "https://{node}:10250/containerLogs/{pod}/{container}": dial tcp {node}:10250: connect: '
    "no route to host"
)


class Site:
    """Serves the site, and keeps its logs and its node in a recorded cluster.

    `runs` tells whether the node's virtual machine runs; it is called in a thread.
    """

    def __init__(self, cluster: RecordedCluster, folder: Path, runs: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._runs = runs
        self._up = True
        self._faults: list[Fault] = []
        self._files: dict[str, Path] = {}
        self._renewed = 0.0
        for name, (namespace, pod, container) in {
            "gateway": (GATEWAY_NAMESPACE, GATEWAY, "istio-proxy"),
            "sidecar": (NAMESPACE, POD, "istio-proxy"),
            "app": (NAMESPACE, POD, "app"),
        }.items():
            self._files[name] = folder / f"{name}.log"
            self._files[name].touch()
            cluster.set_log(namespace, pod, container, self._files[name])

    # The node

    async def keep(self) -> None:
        """Do to the cluster what the virtual machine does, until cancelled."""
        while True:
            up = await asyncio.to_thread(self._runs)
            if up != self._up:
                self._up = up
                self._connect() if up else self._cut_off()
            if up and time.time() - self._renewed >= RENEW:
                self._renew()
            await asyncio.sleep(WATCH)

    def _cut_off(self) -> None:
        for container in ("istio-proxy", "app"):
            said = _NO_KUBELET.format(
                node=NODE_ADDRESS, pod=f"{NAMESPACE}/{POD}", container=container
            )
            self._faults.append(
                self._cluster.fault(
                    rf"/pods/{POD}/log\?.*container={container}\b",
                    status=500,
                    body=web.json_response(status(500, "InternalError", said)).text or "",
                    headers={"Content-Type": "application/json"},
                )
            )

    def _connect(self) -> None:
        while self._faults:
            self._cluster.remove(self._faults.pop())

    def _renew(self) -> None:
        self._renewed = time.time()
        lease = self._cluster.find("leases", "kube-node-lease", NODE, "coordination.k8s.io")
        if lease is not None:
            lease["spec"]["renewTime"] = format_time(self._renewed, 6)
            self._cluster.apply(lease)

    # Requests

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request, and log it."""
        began = time.time()
        said: Json = {
            "start": _moment(began),
            "path": request.path_qs,
            "agent": request.headers.get("User-Agent", "-"),
            "id": str(uuid.uuid4()),
        }
        if await self._reached():
            said["ms"] = max(1, round((time.time() - began) * 1000))
            self._write("app", _APP.format(**said))
            self._write("sidecar", _SIDECAR.format(**said))
            self._write("gateway", _FRONT_DOOR.format(**said))
            return web.Response(text="hello, shop")
        said["ms"] = round((time.time() - began) * 1000)
        self._write("gateway", _UNREACHED.format(**said))
        return web.Response(status=503, text=_BODY)

    async def _reached(self) -> bool:
        """Whether the pod takes the connection within the gateway's connect timeout."""
        if await asyncio.to_thread(self._runs):
            return True
        await asyncio.sleep(CONNECT_TIMEOUT)
        return False

    def _write(self, name: str, text: str) -> None:
        """Append a line as the container runtime does: with the time, stream and tag."""
        stamp = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
        with self._files[name].open("a", encoding="utf-8") as file:
            file.write(f"{stamp} stdout F {text}\n")


def _moment(at: float) -> str:
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
