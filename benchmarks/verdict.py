"""How soon a verdict is there: after real faults on real components, and with 100 targets at once.

`faults` plays on the stage of the end-to-end tests: Prometheus, blackbox exporter, Envoy, FastAPI,
Alertmanager, and snmpd with vmmib before a VM where libvirtd is to be had. A fault comes at any
moment of the scrape interval. The verdict is the first one that names the right cause, whether or
not it has to be confirmed; the bound is one scrape interval, the probe's timeout and 2 s. Faults
that other clients see alone count from the line that makes enough of them.

`crowd` has stand-ins: one Prometheus and one cluster with 100 targets, a pod each, that all fail
within one scrape interval, once without and once with an API server that takes its time.

Everything may use all cores here: it is latency that is measured.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.processes import cpu_seconds
from benchmarks.report import Result, progress
from tests import libvirt_env
from tests.triage.fake_prometheus import FakePrometheus
from tests.triage.site import Receiver, wait_for
from tests.triage.stage import BROKEN, DEAD, Machine, Stage, lacking, now
from tests.triage.triage_process import ClusterThread, TriageProcess
from triage.kube.recorded import RecordedCluster

INTERVAL, TIMEOUT = 5.0, 3.0
"""Seconds, of scrapes and probes."""
BOUND = INTERVAL + TIMEOUT + 2.0
LINE_BOUND = 3.0
RECOVERY = INTERVAL + 1.0
"""Seconds without a fault between two rounds: two good samples."""
ENOUGH = 5
"""Failed requests of other clients that make an outage (`triggers.proxy_errors`)."""
TARGETS = 100

AGENT = "Blackbox Exporter/0.24.0"
PROMETHEUS_LIMIT, CLUSTER_LIMIT = 4, 8
"""Requests at once that triage allows itself by default."""
SLOW = 0.2
"""Seconds that the slow API server takes for each answer."""

Fault = tuple[str, str, Callable[[Stage], object]]


def measure(folder: Path, quick: bool) -> Iterator[Result]:
    """Both measurements; the first one where its components are."""
    with _all_cores():
        missing = lacking()
        if missing:
            progress(f"verdict latency is not measured: {missing}")
        else:
            yield from _faults(folder / "faults", quick)
        yield from _crowd(folder / "crowd", 0.0)
        if not quick:
            yield from _crowd(folder / "slow", SLOW)


@contextmanager
def _all_cores() -> Iterator[None]:
    held = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, held)


# Faults


def _out_of_memory(stage: Stage) -> None:
    stage.site.app.stop(signal.SIGKILL)
    ended = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": now(), "startedAt": now()}
    stage.container("app", ready=False, state={"terminated": ended})


def _paused(stage: Stage) -> None:
    assert stage.machine is not None
    stage.machine.domain.suspend()
    stage.freeze()


FAULTS: tuple[Fault, ...] = (
    ("exception", "application", lambda stage: stage.site.break_it("error")),
    ("503", "application", lambda stage: stage.site.break_it("status", 503)),
    ("closed", "communication", lambda stage: stage.site.break_it("close")),
    ("reset", "communication", lambda stage: stage.site.break_it("reset")),
    ("cut short", "communication", lambda stage: stage.site.break_it("cut")),
    ("too slow", "application", lambda stage: stage.site.break_it("slow", 6.0)),
    ("no route", "proxy_configuration", lambda stage: stage.unroute()),
    ("no cluster", "proxy_configuration", lambda stage: stage.route(DEAD)),
    ("out of memory", "pod", _out_of_memory),
    ("VM paused", "node", _paused),
)


def _faults(folder: Path, quick: bool) -> Iterator[Result]:
    folder.mkdir()
    machine = None if libvirt_env.missing() else Machine(folder)
    faults = [one for one in FAULTS if machine is not None or one[1] != "node"]
    took: dict[str, float] = {}
    told: list[float] = []
    lines: list[float] = []
    with ExitStack() as stack:
        if machine is not None:
            stack.enter_context(machine)
        settings = {"incidents": {"recovery": RECOVERY}}
        stage = stack.enter_context(
            Stage(folder, machine, settings, interval=INTERVAL, timeout=TIMEOUT, route_timeout=1.0)
        )
        for name, cause, make in faults[:: 3 if quick else 1]:
            progress(f"verdict: {name}")
            time.sleep(random.uniform(0, INTERVAL))
            began = time.time()
            make(stage)
            post = stage.await_alert(cause=cause)
            told.append(time.time() - began)
            took[name] = _decided(stage, post["incident"], cause) - began
            stage.heal()
        for number in range(1 if quick else 5):
            progress(f"verdict: between two probes, {number + 1}")
            lines.append(_between(stage))
            stage.heal()
    note = ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.items())
    yield Result("verdict after a fault", list(took.values()), "s", at_most=BOUND, note=note)
    yield Result("the slowest of them", [max(took.values())], "s", at_most=BOUND)
    yield Result("alert after a fault", told, "s", note="certain, or confirmed by a second look")
    yield Result("verdict after the proxy's line", lines, "s", at_most=LINE_BOUND)


def _decided(stage: Stage, incident: str, cause: str) -> float:
    history = stage.triage.show(incident)["history"]
    return float(next(one["decided_at"] for one in history if one["cause"] == cause))


def _between(stage: Stage) -> float:
    """Seconds from the line that makes enough of them to the verdict."""
    written = stage.site.proxy.path
    before = len(_stamps(written))
    for _ in range(2 * ENOUGH):
        stage.site.get(f"{BROKEN}/basket", agent="Mozilla/5.0")
    post = stage.await_alert(cause="communication")
    line = _stamps(written)[before + ENOUGH - 1]
    return _decided(stage, post["incident"], "communication") - line


def _stamps(log: Path) -> list[float]:
    """When the lines of others' failed requests were written."""
    found = [one for one in log.read_text().splitlines() if BROKEN in one]
    # The runtime's nanoseconds are more than Python reads
    cut = [re.sub(r"(\.\d{6})\d*Z", r"\1+00:00", one.split(" ", 1)[0]) for one in found]
    return [dt.datetime.fromisoformat(one).timestamp() for one in cut]


# A crowd


class Counting(RecordedCluster):
    """Counts requests under way, but for those that last; each may take `delay` seconds."""

    def __init__(self, *arguments: Any, delay: float, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.busy = self.busiest = 0
        self._delay = delay

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "follow" in request.query or "watch" in request.query:
            return await super()._answer(request)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(self._delay)
            return await super()._answer(request)
        finally:
            self.busy -= 1


def _objects(number: int) -> list[dict[str, Any]]:
    """A service with its pod, on one of ten nodes."""
    name, labels = f"shop-{number}", {"app": f"shop-{number}"}
    born = "2025-07-16T00:00:00Z"
    running = {"ready": True, "restartCount": 0, "state": {"running": {"startedAt": born}}}
    containers = ("app", "istio-proxy")
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": born}
    meta = {"namespace": "shop", "labels": labels}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**meta, "name": f"{name}-0", "uid": name, "creationTimestamp": born},
        "spec": {
            "nodeName": f"worker-{number % 10}",
            "containers": [{"name": one} for one in containers],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.42.1.{number}",
            "conditions": [condition],
            "containerStatuses": [{"name": one, **running} for one in containers],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "name": name},
        "spec": {"selector": labels, "ports": [{"port": 80}]},
    }
    address = {
        "ip": f"10.42.1.{number}",
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": f"{name}-0", "uid": name},
    }
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {**meta, "name": name},
        "subsets": [{"addresses": [address], "ports": [{"port": 8000}]}],
    }
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"worker-{number % 10}"},
        "status": {"conditions": [condition], "nodeInfo": {"systemUUID": ""}},
    }
    return [pod, service, endpoints, node]


def _line(number: int) -> str:
    at = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}"
    return (
        f'{at}000Z stdout F [{at[:-3]}Z] "GET / HTTP/1.1" 503 UC '
        f'upstream_reset_before_response_started{{connection_termination}} - "-" 0 95 1 - "-" '
        f'"{AGENT}" "7a1f6a4e-0a3c-4f6e-9a52-{number:012d}" "shop-{number}.example" '
        f'"10.42.1.{number}:8000" inbound|8000|| 127.0.0.6:4046 10.42.1.{number}:8000 '
        f"10.42.0.9:43022 - default\n"
    )


def _crowd(folder: Path, delay: float) -> Iterator[Result]:
    folder.mkdir()
    urls = [f"http://shop-{number}.example/" for number in range(TARGETS)]
    logs = [folder / f"{number}.log" for number in range(TARGETS)]
    objects = [item for number in range(TARGETS) for item in _objects(number)]
    with ExitStack() as stack:
        prometheus = stack.enter_context(FakePrometheus(urls, interval=INTERVAL))
        receiver = stack.enter_context(Receiver())
        cluster = stack.enter_context(ClusterThread(objects, Counting, delay=delay))
        for number, log in enumerate(logs):
            log.touch()
            app = folder / f"{number}.app.log"
            app.touch()
            for container, path in (("istio-proxy", log), ("app", app)):
                _give_log(cluster, f"shop-{number}-0", container, path)
        kubeconfig = folder / "kubeconfig"
        cluster.do(lambda one: one.write_kubeconfig(kubeconfig))
        config = {
            "prometheus": {"url": prometheus.url},
            "clusters": [{"name": "main", "kubeconfig": str(kubeconfig)}],
            "targets": [
                {"name": f"shop-{n}", "url": url, "namespace": "shop", "service": f"shop-{n}"}
                for n, url in enumerate(urls)
            ],
            "alerts": {"webhook": [{"name": "hook", "url": receiver.url}]},
        }
        triage = stack.enter_context(TriageProcess(folder, config))
        followed = f"{TARGETS} logs to be followed"
        wait_for(lambda: cluster.do(_followed) == TARGETS, followed, 60)
        assert triage.process is not None
        pid = triage.process.pid
        before = cpu_seconds(pid)
        rest = _memory(pid, "VmRSS")
        progress(f"verdict: {TARGETS} targets fail, the API server takes {delay:g} s")
        began = time.time()
        for url in urls:
            prometheus.set(url, 503)
        # Each probe's line is written when it is made: within one scrape interval, one by one
        for number in sorted(range(TARGETS), key=lambda one: prometheus.first_bad(urls[one])):
            time.sleep(max(0.0, prometheus.first_bad(urls[number]) - time.time()))
            with logs[number].open("a") as file:
                file.write(_line(number))
        wait_for(lambda: _judged(triage) == TARGETS, "every verdict", 120)
        last = time.time() - began
        cpu, peak = cpu_seconds(pid) - before, _memory(pid, "VmHWM")
        wait_for(lambda: len(receiver.received) >= TARGETS, "every alert", 120)
        alerts = time.time() - began
        busiest = cluster.do(lambda one: one.busiest if isinstance(one, Counting) else 0)
    what = f"{TARGETS} targets at once" + (f", API {delay:g} s" if delay else "")
    yield Result(f"{what}: last verdict", [last], "s", note=f"{cpu:.1f} s of CPU")
    yield Result(f"{what}: last alert", [alerts], "s", note="once confirmed")
    note = f"{rest / 2**20:.0f} MB before"
    yield Result(f"{what}: peak memory", [peak / 2**20], "MB", at_most=500, note=note)
    yield Result(
        f"{what}: Prometheus asked at once", [prometheus.busiest], at_most=PROMETHEUS_LIMIT
    )
    yield Result(f"{what}: API server asked at once", [busiest], at_most=CLUSTER_LIMIT)


def _give_log(cluster: ClusterThread, pod: str, container: str, path: Path) -> None:
    cluster.do(lambda one: one.set_log("shop", pod, container, path))


def _followed(cluster: RecordedCluster) -> int:
    return len({one.split("?")[0] for one in cluster.requests if "follow=true" in one})


def _judged(triage: TriageProcess) -> int:
    return sum(1 for one in triage.open() if one["cause"])


def _memory(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+([0-9]+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
