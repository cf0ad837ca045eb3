"""A whole monitored site on loopback, of real components, with faults to order.

    with Site(tmp_path) as site:              # application, Envoy, blackbox exporter, Prometheus
        site.break_it("close")                # see site_app.FAULTS
        line = site.await_proxy_line("UC")
        site.prometheus.await_value("probe_http_status_code", 503.0)

What runs, all of it on free ports of 127.0.0.1:

    blackbox exporter -> Envoy (istio-proxy) -> uvicorn (app)
           ^                      |                     |
      Prometheus -> Alertmanager  cluster/logs/front/front-app-0/{istio-proxy,app}.log
                        -> Receiver

The two containers' output is written as a container runtime does it, in CRI format, to where the
stand-in for the Kubernetes API looks for it; `restart` makes the former log the previous one.
Every process is ended and waited for, also after a failed start. Nothing is installed: binaries are
looked for by name, in PATH, beside the Python and in .build/unpacked.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import pytest

from triage.proxylog.formats import ISTIO_TEXT
from triage.sources.errors import MissingError
from triage.sources.logs import LogRef

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]
AGENT = "Blackbox Exporter/0.23.0"
NAMESPACE, POD, SERVICE = "front", "front-app-0", "front-app"
READY = 30.0
"""Seconds within which a component must be ready."""

T = TypeVar("T")


def find(name: str) -> str | None:
    """Where a binary is."""
    beside = Path(sys.executable).parent
    unpacked = ROOT / ".build" / "unpacked" / "usr"
    path = os.pathsep.join(
        [str(beside), os.environ.get("PATH", ""), *(str(unpacked / one) for one in ("bin", "sbin"))]
    )
    return shutil.which(name, path=path)


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip where one of these binaries is not there."""
    missing = [name for name in names if find(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


needs_site = needs("envoy", "prometheus", "prometheus-blackbox-exporter")


def binary(name: str) -> str:
    """The same, for those who cannot do without it."""
    found = find(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not there; tools/packages e2e fetches it")
    return found


def wait_for(what: Callable[[], T | None], name: str, seconds: float = READY) -> T:
    """What a call gives once it gives something; AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {name}"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, all different."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]


def answers(url: str) -> bool:
    """Whether a URL is answered with 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
            return bool(answer.status < 300)
    except OSError:  # URLError among them
        return False


class Daemon:
    """A process that serves; a context manager that starts it, waits for it, and ends it."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, ready: str | None = None
    ) -> None:
        self.name = name
        self.command = list(command)
        self.folder = folder
        self.ready = ready
        """A URL that is answered once it serves."""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Run it and wait until it serves."""
        assert self.process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = self._spawn()
        if self.ready is not None:
            wait_for(self._is_ready, f"{self.name} to serve")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.ready is not None
        assert self.process.poll() is None, f"{self.name} ended by itself:\n{self.said()}"
        return answers(self.ready)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log().open("ab") as log:
            return subprocess.Popen(
                self.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def said(self) -> str:
        """The end of what it printed."""
        return self._log().read_text(errors="replace")[-3000:] if self._log().exists() else ""

    def send(self, number: int) -> None:
        """Send a signal; SIGSTOP and SIGCONT freeze it and let it go on."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait for its end; nothing when it does not run."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._ended()

    def _ended(self) -> None:
        """What is to be done behind its end."""


class Container(Daemon):
    """A process whose output is written as a container runtime does it: CRI lines, in one file.

    Its former instance's file is kept as the previous one.
    """

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, ready: str | None = None
    ) -> None:
        super().__init__(name, command, folder, ready)
        self.path = folder / f"{name}.log"
        self.previous = folder / f"{name}.previous.log"
        self._writers: list[threading.Thread] = []
        self._lock = threading.Lock()

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self.path.exists():
            self.path.replace(self.previous)
        process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        log = self.path.open("ab", buffering=0)
        pipes = ((process.stdout, b"stdout"), (process.stderr, b"stderr"))
        self._writers = [
            threading.Thread(target=self._write, args=(pipe, stream, log)) for pipe, stream in pipes
        ]
        for writer in self._writers:
            writer.start()
        return process

    def _write(self, pipe: IO[bytes], stream: bytes, log: IO[bytes]) -> None:
        """Until the process has closed its end."""
        with pipe:
            for line in pipe:
                now = time.time_ns()
                second = datetime.fromtimestamp(now // 10**9, UTC)
                stamp = f"{second:%Y-%m-%dT%H:%M:%S}.{now % 10**9:09d}Z ".encode()
                with self._lock:
                    log.write(stamp + stream + b" F " + line.rstrip(b"\n") + b"\n")

    def _ended(self) -> None:
        for writer in self._writers:
            writer.join(10)

    def died(self) -> int:
        """Wait until it has ended by itself; the status, negative for a signal's number."""
        assert self.process is not None
        status = self.process.wait(READY)
        self.process = None
        self._ended()
        return status

    def lines(self) -> list[str]:
        """What it wrote, without the prefix."""
        if not self.path.exists():
            return []
        whole = self.path.read_text(errors="replace").split("\n")[:-1]
        return [line.split(" ", 3)[3] for line in whole]


class Receiver:
    """An HTTP server that keeps what is posted to it: a webhook's receiver, Slack's stand-in."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        """{"path", "headers" (names in lower case), "json" (or None), "body"}, in order."""
        self.statuses: list[int] = []
        """Statuses to answer the next ones with; then 200."""
        self.headers: dict[str, str] = {}
        """To send with every answer: Retry-After, for one."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                receiver._keep(self.path, self.headers.items(), body)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://{HOST}:{self._server.server_address[1]}"

    def _keep(self, path: str, headers: Any, body: bytes) -> None:
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        names = {name.lower(): value for name, value in headers}
        self.received.append({"path": path, "headers": names, "json": content, "body": body})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def await_post(
        self, fits: Callable[[dict[str, Any]], bool] = bool, seconds: float = READY
    ) -> dict[str, Any]:
        """The first that fits, once it is there."""
        return wait_for(
            lambda: next((one for one in list(self.received) if fits(one)), None),
            "a post that fits",
            seconds,
        )


def envoy_config(listen: int, admin: int, upstream: int, route_timeout: float) -> dict[str, Any]:
    """A sidecar's: one listener, one inbound cluster, Istio's text access log on stdout."""
    extensions = "type.googleapis.com/envoy.extensions."
    hcm = extensions + "filters.network.http_connection_manager.v3.HttpConnectionManager"
    text = {"text_format_source": {"inline_string": ISTIO_TEXT}}
    cluster = f"inbound|{upstream}||"
    route = {
        "match": {"prefix": "/"},
        "name": "default",
        "route": {"cluster": cluster, "timeout": f"{route_timeout}s"},
    }
    manager = {
        "@type": hcm,
        "stat_prefix": "inbound",
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": extensions + "access_loggers.file.v3.FileAccessLog",
                    "path": "/dev/stdout",
                    "log_format": text,
                },
            }
        ],
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": extensions + "filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "name": cluster,
            "virtual_hosts": [{"name": "inbound", "domains": ["*"], "routes": [route]}],
        },
    }
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [
                {
                    "name": "inbound",
                    "address": _address(listen),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": cluster,
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "load_assignment": {
                        "cluster_name": cluster,
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}
                        ],
                    },
                }
            ],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


class Prometheus(Daemon):
    """A real one, which probes a URL through a blackbox exporter."""

    def __init__(
        self,
        folder: Path,
        url: str,
        exporter: int,
        *,
        interval: float,
        timeout: float,
        alertmanager: int | None = None,
    ) -> None:
        (port,) = free_ports(1)
        self.url = f"http://{HOST}:{port}"
        command = [
            binary("prometheus"),
            f"--config.file={folder / 'prometheus.json'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={HOST}:{port}",
        ]
        super().__init__("prometheus", command, folder, f"{self.url}/-/ready")
        self._config = self._make_config(url, exporter, interval, timeout, alertmanager)

    def _make_config(
        self, url: str, exporter: int, interval: float, timeout: float, alertmanager: int | None
    ) -> dict[str, Any]:
        relabel = [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": f"{HOST}:{exporter}"},
        ]
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": f"{int(interval * 1000)}ms",
                "scrape_timeout": f"{int(timeout * 1000)}ms",
                "evaluation_interval": f"{int(interval * 1000)}ms",
            },
            "scrape_configs": [
                {
                    "job_name": "blackbox",
                    "metrics_path": "/probe",
                    "params": {"module": ["http_2xx"]},
                    "static_configs": [{"targets": [url], "labels": {"site": "front"}}],
                    "relabel_configs": relabel,
                }
            ],
        }
        if alertmanager is not None:
            config["rule_files"] = [str(self.folder / "rules.json")]
            targets = [{"targets": [f"{HOST}:{alertmanager}"]}]
            config["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
        return config

    def _spawn(self) -> subprocess.Popen[bytes]:
        (self.folder / "prometheus.json").write_text(json.dumps(self._config))
        alert = {
            "alert": "SiteDown",
            "expr": "probe_http_status_code != 200",
            "labels": {"severity": "page"},
        }
        rules = {"groups": [{"name": "site", "rules": [alert]}]}
        (self.folder / "rules.json").write_text(json.dumps(rules))
        return super()._spawn()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310
            return list(json.load(answer)["data"]["result"])

    def samples(self, expression: str) -> list[tuple[float, float]]:
        """Raw samples of the one series that a range selector gives: (time, value)."""
        found = self.query(expression)
        return [(float(at), float(value)) for at, value in found[0]["values"]] if found else []

    def await_value(self, expression: str, value: float, seconds: float = READY) -> float:
        """Wait until the newest sample is this; its time."""

        def newest() -> float | None:
            samples = self.samples(f"{expression}[1m]")
            return samples[-1][0] if samples and samples[-1][1] == value else None

        return wait_for(newest, f"{expression} == {value:g}", seconds)


def blackbox(folder: Path, port: int) -> Daemon:
    """A blackbox exporter with the module http_2xx."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "blackbox.json"
    probe = {"preferred_ip_protocol": "ip4", "follow_redirects": False}
    config.write_text(json.dumps({"modules": {"http_2xx": {"prober": "http", "http": probe}}}))
    command = [
        binary("prometheus-blackbox-exporter"),
        f"--config.file={config}",
        f"--web.listen-address={HOST}:{port}",
        "--timeout-offset=0.1",
    ]
    return Daemon("blackbox", command, folder, f"http://{HOST}:{port}/-/healthy")


TEMPLATES = Path("/usr/share/prometheus/alertmanager/default.tmpl")
"""Debian's Alertmanager reads it from there, whatever it is told."""


def with_templates() -> list[str]:
    """What to run Alertmanager by where it is unpacked only: with its files where it looks."""
    unpacked = ROOT / ".build" / "unpacked" / "usr" / "share"
    if TEMPLATES.exists() or not (unpacked / TEMPLATES.relative_to("/usr/share")).exists():
        return []
    mount = f"mount -t overlay overlay -o 'lowerdir={unpacked}:/usr/share' /usr/share"
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]


class Alertmanager(Daemon):
    """A real one, which posts every alert to a webhook at once."""

    def __init__(self, folder: Path, webhook: str) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://{HOST}:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "alertmanager.json"
        receiver = {"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
        route = {
            "receiver": "hook",
            "group_by": ["..."],
            "group_wait": "100ms",
            "group_interval": "1s",
            "repeat_interval": "1h",
        }
        config.write_text(json.dumps({"route": route, "receivers": [receiver]}))
        command = [
            *with_templates(),
            binary("prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={HOST}:{self.port}",
            "--cluster.listen-address=",
        ]
        super().__init__("alertmanager", command, folder, f"{self.url}/-/ready")

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it knows."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:  # noqa: S310
            return list(json.load(answer))


NODE, NODE_UUID = "worker-1", "3d4bc9d2-5a33-4bc4-9f0c-1b2a6d6b1f10"


def objects() -> list[dict[str, Any]]:
    """The site as a cluster has it: a service, its endpoints, the pod, and its node."""
    labels = {"app": "front"}
    meta = {"namespace": NAMESPACE, "labels": labels}
    names = ("app", "istio-proxy")
    born = "2025-07-16T00:00:00Z"
    ready = [
        {"type": kind, "status": "True", "lastTransitionTime": born}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    states = [
        {"name": name, "ready": True, "restartCount": 0, "state": {"running": {"startedAt": born}}}
        for name in names
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**meta, "name": POD, "uid": f"uid-{POD}", "creationTimestamp": born},
        "spec": {"nodeName": NODE, "containers": [{"name": name} for name in names]},
        "status": {
            "phase": "Running",
            "podIP": "10.42.0.101",
            "startTime": born,
            "conditions": ready,
            "containerStatuses": states,
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "name": SERVICE},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    target = {"kind": "Pod", "namespace": NAMESPACE, "name": POD, "uid": f"uid-{POD}"}
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {**meta, "name": SERVICE},
        "subsets": [
            {"addresses": [{"ip": "10.42.0.101", "targetRef": target}], "ports": [{"port": 8000}]}
        ],
    }
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastTransitionTime": born,
        "lastHeartbeatTime": born,
    }
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE},
        "spec": {},
        "status": {"nodeInfo": {"systemUUID": NODE_UUID}, "conditions": [condition]},
    }
    return [service, endpoints, pod, node]


class SiteLogs:
    """A LogSource over the site's log folder, by namespace, pod and container."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, ref: LogRef, start: float, end: float) -> AsyncIterator[bytes]:
        kind = "previous.log" if ref.previous else "log"
        path = self._folder / ref.namespace / ref.pod / f"{ref.container}.{kind}"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise MissingError(f"no log of {ref.shown}") from None
        for line in content.split(b"\n")[:-1]:
            yield line

    def follow(self, ref: LogRef, start: float) -> AsyncIterator[bytes]:
        raise NotImplementedError


class Site:
    """The site and what watches it; a context manager.

    `monitored` with Prometheus and the blackbox exporter; `alerting` with Alertmanager and a
    receiver of its webhook, too. A probe that a route's timeout is to cut needs a scrape timeout
    that is longer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        monitored: bool = True,
        alerting: bool = False,
        interval: float = 1.0,
        timeout: float = 1.0,
        route_timeout: float = 0.5,
    ) -> None:
        self.folder = folder
        self.cluster = folder / "cluster"
        """What the stand-in for the Kubernetes API serves: `RecordedCluster(site.cluster)`."""
        self.logs = self.cluster / "logs"
        self.source = SiteLogs(self.logs)
        self.fault_file = folder / "fault.json"
        port, self.app_port, admin, self.exporter_port = free_ports(4)
        self.url = f"http://{HOST}:{port}/"
        containers = self.logs / NAMESPACE / POD
        self.app = Container(
            "app",
            [sys.executable, "-m", "tests.triage.site_app", str(self.app_port),
             str(self.fault_file)],
            containers,
            f"http://{HOST}:{self.app_port}/started",
        )  # fmt: skip
        self.cluster.mkdir(parents=True)
        (self.cluster / "objects.json").write_text(json.dumps({"items": objects()}))
        config = folder / "envoy.json"
        config.write_text(json.dumps(envoy_config(port, admin, self.app_port, route_timeout)))
        self.proxy = Container(
            "istio-proxy",
            [binary("envoy"), "-c", str(config), "--disable-hot-restart", "--concurrency", "1",
             "--file-flush-interval-msec", "1000", "-l", "warning"],
            containers,
            f"http://{HOST}:{admin}/ready",
        )  # fmt: skip
        self._options = (monitored, alerting, interval, timeout)
        self._stack = ExitStack()
        self.exporter: Daemon | None = None
        self._prometheus: Prometheus | None = None
        self._alertmanager: Alertmanager | None = None
        self._receiver: Receiver | None = None

    def __enter__(self) -> Self:
        monitored, alerting, interval, timeout = self._options
        with self._stack as stack:
            stack.enter_context(self.app)
            stack.enter_context(self.proxy)
            if alerting:
                self._receiver = stack.enter_context(Receiver())
                hook = self._receiver.url + "/alertmanager"
                self._alertmanager = stack.enter_context(Alertmanager(self.folder, hook))
            if monitored:
                self.exporter = stack.enter_context(blackbox(self.folder, self.exporter_port))
                self._prometheus = stack.enter_context(
                    Prometheus(
                        self.folder,
                        self.url,
                        self.exporter_port,
                        interval=interval,
                        timeout=timeout,
                        alertmanager=self._alertmanager.port if self._alertmanager else None,
                    )
                )
                self.prometheus.await_value("probe_http_status_code", 200.0)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def prometheus(self) -> Prometheus:
        """Of a site that is monitored."""
        assert self._prometheus is not None
        return self._prometheus

    @property
    def alertmanager(self) -> Alertmanager:
        """Of a site that alerts."""
        assert self._alertmanager is not None
        return self._alertmanager

    @property
    def receiver(self) -> Receiver:
        """What Alertmanager posts to."""
        assert self._receiver is not None
        return self._receiver

    def break_it(self, kind: str, value: float | None = None) -> float:
        """Switch a fault of the application on, see `site_app.FAULTS`; the time."""
        fresh = self.fault_file.with_suffix(".new")
        fresh.write_text(json.dumps({"kind": kind, "value": value}))
        fresh.replace(self.fault_file)
        return time.time()

    def heal(self) -> float:
        """Switch every fault of the application off; the time."""
        return self.break_it("none")

    def get(self, path: str = "/", agent: str = AGENT, method: str = "GET") -> int:
        """Ask through the proxy as the monitor does; the status, 0 for none."""
        headers: Mapping[str, str] = {"user-agent": agent}
        asked = urllib.request.Request(  # noqa: S310
            self.url.rstrip("/") + path, headers=dict(headers), method=method
        )
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.read()  # all of it: Envoy would log a client that went away
            error.close()
            return error.code
        except (OSError, ValueError, http.client.HTTPException):
            return 0

    def ref(self, container: str = "app", *, previous: bool = False) -> LogRef:
        """A container's log as the Kubernetes API names it."""
        return LogRef(namespace=NAMESPACE, pod=POD, container=container, previous=previous)

    def file_ref(self, container: str = "app") -> LogRef:
        """The same as a file."""
        return LogRef(pod=str(self.logs / NAMESPACE / POD / f"{container}.log"))

    def await_proxy_line(self, holding: str, seconds: float = READY) -> str:
        """The first access line of the proxy that holds this."""
        return wait_for(
            lambda: next((line for line in self.proxy.lines() if holding in line), None),
            f"a line of the proxy with {holding!r}",
            seconds,
        )

    def await_app_line(self, holding: str, seconds: float = READY) -> str:
        """The first line of the application that holds this."""
        return wait_for(
            lambda: next((line for line in self.app.lines() if holding in line), None),
            f"a line of the application with {holding!r}",
            seconds,
        )
