"""The cascade on what real components wrote: Envoy's lines, a cluster's objects and logs, SNMP.

The parsers and lookers of the product read the recordings; nothing here is made by hand but the
times at which a line of one recording meets the objects of another.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.triage import scene
from tests.triage.kube_setup import FRONT, NODE_DOWN, RECORDED_AT, STATES, settings
from tests.triage.snmp_agent import Agent, hypervisor, integer
from triage import cascade
from triage.evidence import (
    Anomaly,
    Confidence,
    Evidence,
    Match,
    Outcome,
    PodEvidence,
    Policy,
    ProxyRequest,
    ProxyRole,
    Sample,
    Step,
    Target,
    Trigger,
    Verdict,
    Window,
)
from triage.investigate import Investigator, InvestigatorSettings, Place
from triage.kube.recorded import RecordedCluster
from triage.kube.settings import PodSelector
from triage.kube.values import format_time, parse_time
from triage.proxylog.formats import compile_format
from triage.snmp import oids
from triage.snmp.credentials import SnmpCredentials
from triage.sources.app import AppLooker
from triage.sources.kubernetes import KubernetesLooker
from triage.sources.node_snmp import HypervisorSettings, VmLooker, VmSettings
from triage.sources.proxy import ProxyLooker, ProxySettings

CERTAIN, PROBABLE, POSSIBLE = Confidence.CERTAIN, Confidence.PROBABLE, Confidence.POSSIBLE
RECORDINGS = json.loads((Path(__file__).parent / "data/envoy/recordings.json").read_text())
LINES: dict[str, str] = {one["name"]: one["lines"]["istio"] for one in RECORDINGS["recordings"]}


def recorded(name: str, time: float, **more: Any) -> ProxyRequest:
    """A line of a real Envoy, as of another time."""
    text = LINES[name].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    line = compile_format("auto").parse(text)
    assert line is not None
    fixed: dict[str, Any] = {"time": time, "match": Match.OWN, "pod": scene.POD, "raw": text}
    return replace(line, **{**fixed, **more})


def decided(verdict: Verdict) -> tuple[str, Confidence]:
    assert verdict.title
    assert verdict.summary.endswith((".", '."'))
    assert verdict.summary[0].isupper()
    assert "None" not in verdict.title + verdict.summary
    return f"{verdict.cause.value}/{verdict.reason}", verdict.confidence


def proofs(verdict: Verdict, step: Step) -> str:
    return "\n".join(one.text for one in verdict.proofs if one.step is step and one.deciding)


# Every line of a real Envoy, with everything below it well

SLOW = "application/slow"
ENVOY: dict[str, tuple[str, Confidence]] = {
    "ok": ("monitoring_path/answered_well", CERTAIN),
    "http/2": ("monitoring_path/answered_well", CERTAIN),
    "delay": ("monitoring_path/answered_well", CERTAIN),
    "quotes in path": ("monitoring_path/answered_well", CERTAIN),
    "no content": ("application/http_status", CERTAIN),
    "app 404": ("application/http_status", CERTAIN),
    "app 405": ("application/http_status", CERTAIN),
    "app 429": ("application/http_status", CERTAIN),
    "app 500": ("application/http_status", CERTAIN),
    "app 502": ("application/http_status", CERTAIN),
    "app 503": ("application/http_status", CERTAIN),
    "app 504": ("application/http_status", CERTAIN),
    "http/2 503": ("application/http_status", CERTAIN),
    "retries then 503": ("application/http_status", CERTAIN),
    "quotes in user agent": ("application/http_status", CERTAIN),
    "refused": ("communication/connect_failure", CERTAIN),
    "refused, retried": ("communication/connect_failure", CERTAIN),
    "a line in the user agent": ("communication/connect_failure", CERTAIN),
    "tcp refused": ("communication/connect_failure", CERTAIN),
    "connect timeout": ("communication/connect_failure", CERTAIN),
    "timeout in connecting": ("communication/connect_failure", CERTAIN),
    "tls": ("proxy_configuration/configuration", PROBABLE),
    "no endpoints": ("proxy_configuration/configuration", PROBABLE),
    "tcp no endpoints": ("proxy_configuration/configuration", PROBABLE),
    "local health check": ("pod/not_ready", PROBABLE),
    "closed": ("communication/connection_reset", CERTAIN),
    "closed, retried": ("communication/connection_reset", CERTAIN),
    "rst": ("communication/connection_reset", CERTAIN),
    "h2 reset": ("communication/connection_reset", CERTAIN),
    "h2 refused stream": ("communication/connection_reset", CERTAIN),
    "body cut": ("communication/protocol_error", CERTAIN),
    "chunks cut": ("communication/protocol_error", CERTAIN),
    "bad chunks": ("communication/protocol_error", CERTAIN),
    "garbage": ("communication/protocol_error", CERTAIN),
    "response timeout": (SLOW, PROBABLE),
    "body timeout": (SLOW, PROBABLE),
    "per try timeout": (SLOW, PROBABLE),
    "idle": (SLOW, PROBABLE),
    "max stream": (SLOW, PROBABLE),
    "stream limit": (SLOW, PROBABLE),
    "tcp time": (SLOW, PROBABLE),
    "client leaves": ("client/client_gone", CERTAIN),
    "client leaves in connecting": ("client/client_gone", CERTAIN),
    "client leaves in body": ("client/client_gone", CERTAIN),
    "request unfinished": ("client/client_gone", CERTAIN),
    "request idle": ("client/client_gone", CERTAIN),
    "client leaves in delay": ("proxy_configuration/fault_injected", CERTAIN),
    "no route": ("proxy_configuration/no_route", CERTAIN),
    "no host": ("proxy_configuration/no_route", CERTAIN),
    "no cluster": ("proxy_configuration/cluster_not_found", CERTAIN),
    "no cluster 404": ("proxy_configuration/cluster_not_found", CERTAIN),
    "direct response": ("proxy_configuration/configuration", CERTAIN),
    "redirect": ("proxy_configuration/configuration", CERTAIN),
    "rbac": ("proxy_configuration/rbac_denied", CERTAIN),
    "tcp rbac": ("proxy_configuration/rbac_denied", CERTAIN),
    "limit": ("proxy_configuration/rate_limited", CERTAIN),
    "abort": ("proxy_configuration/fault_injected", CERTAIN),
    "authz": ("proxy_configuration/authorization_denied", CERTAIN),
    "breaker": ("proxy/overload", CERTAIN),
    "drop": ("proxy/overload", CERTAIN),
    "strict header": ("client/protocol_error", CERTAIN),
    "headers too large": ("client/protocol_error", CERTAIN),
    "malformed": ("client/protocol_error", CERTAIN),
    "no host header": ("client/protocol_error", CERTAIN),
    "no user agent": ("application/http_status", PROBABLE),
}
PLAIN = {"limit, first", "octets in user agent", "tcp"}
"""Answered well, or another client's: told by the rows above."""


@pytest.mark.parametrize("name", ENVOY)
def test_every_line_of_a_real_envoy(name: str) -> None:
    match = Match.LIKELY if name == "no user agent" else Match.OWN
    line = recorded(name, scene.T + 0.5, match=match)
    good = ENVOY[name][0] == "monitoring_path/answered_well"
    verdict = cascade.decide(
        scene.evidence(scene.proxy(line), status=0 if good else line.status or 0)
    )
    assert decided(verdict) == ENVOY[name], (verdict.title, verdict.unknowns)
    assert LINES[name][:60].encode("utf-8", "replace")[:40].decode() in proofs(verdict, Step.PROXY)


def test_no_recording_is_left_out() -> None:
    assert set(LINES) == set(ENVOY) | PLAIN


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("client leaves", SLOW),
        ("client leaves in connecting", "communication/connect_failure"),
        ("client leaves in body", SLOW),
    ],
)
def test_a_monitor_that_leaves_when_its_time_is_up_gave_up(name: str, wanted: str) -> None:
    line = recorded(name, scene.T + 0.5, duration_ms=9600.0)
    given = scene.evidence(scene.proxy(line), status=0)
    given = replace(given, pod=replace(given.pod, look=replace(scene.RAN, asked_at=scene.T + 30)))
    assert decided(cascade.decide(given))[0] == wanted


# Every bad state of a real pod


class Clock:
    def __init__(self, now: float = RECORDED_AT) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def cluster_of(
    tmp_path: Path, source: Any = STATES, clock: Clock | None = None, **more: Any
) -> AsyncIterator[tuple[RecordedCluster, KubernetesLooker]]:
    async with RecordedCluster(source) as cluster:
        fixed: dict[str, Any] = {"attempts": 1, **more}
        looker = KubernetesLooker(settings(cluster, tmp_path, **fixed), clock=clock or Clock())
        try:
            yield cluster, looker
        finally:
            await looker.close()


def at(text: str) -> float:
    time = parse_time(f"2026-11-21T{text}Z")
    assert time is not None
    return time


def outage(time: float, status: int | None = 503, until: float | None = None) -> Anomaly:
    """Bad from `time` on; still when looked at, or until then."""
    samples = [Sample(time=time - 15, value=200.0), Sample(time=time, value=float(status or 0))]
    if until is None:
        samples.append(Sample(time=RECORDED_AT - 2, value=float(status or 0)))
    else:
        samples.append(Sample(time=until, value=200.0))
    return Anomaly(
        target="demo",
        trigger=Trigger.METRIC,
        time=time,
        status=status,
        last_good=time - 15,
        ended=until,
        samples=tuple(samples),
    )


def unreached(time: float) -> ProxyRequest:
    """A gateway that had nobody to ask."""
    return recorded("no endpoints", time, role=ProxyRole.GATEWAY, pod="istio-system/gateway-0")


def with_pods(pods: PodEvidence, anomaly: Anomaly, line: ProxyRequest, **more: Any) -> Evidence:
    return Evidence(
        target=Target(name="demo", namespace="demo"),
        anomaly=anomaly,
        decided_at=RECORDED_AT,
        metric=replace(scene.evidence(scene.proxy()).metric),
        proxy=scene.proxy(line),
        app=scene.HEALTHY_APP,
        pod=pods,
        node=more.get("node", scene.nodes(replace(scene.node(changed_at=line.time - 900)))),
        vm=more.get("vm", scene.vms(scene.vm(up_seconds=9e5, asked_at=RECORDED_AT))),
        gathered=tuple(Step),
    )


STATE_AT = "23:47:21"
PODS: dict[str, tuple[str, str, Confidence, str]] = {
    # pod -> first bad sample, verdict, its proof
    "oom": (
        STATE_AT,
        "pod/oom_killed",
        CERTAIN,
        "CrashLoopBackOff after OOMKilled (exit code 137)",
    ),
    "crash": (STATE_AT, "pod/crash_loop", CERTAIN, "CrashLoopBackOff after Error (exit code 3)"),
    "sigsegv": (STATE_AT, "pod/crash_loop", CERTAIN, "CrashLoopBackOff after Error"),
    "liveness": (STATE_AT, "pod/liveness_killed", CERTAIN, "failed liveness probe"),
    "exit1": (STATE_AT, "pod/crashed", CERTAIN, "Error, exit code 1"),
    "completed": (STATE_AT, "pod/crashed", PROBABLE, "Completed, exit code 0"),
    "imagepull": (STATE_AT, "pod/image", CERTAIN, "ImagePullBackOff"),
    "nevpull": (STATE_AT, "pod/image", CERTAIN, "ErrImageNeverPull"),
    "noconfig": (STATE_AT, "pod/container_config", CERTAIN, "CreateContainerConfigError"),
    "novolume": (STATE_AT, "pod/container_config", CERTAIN, 'secret "absent" not found'),
    "badcmd": (STATE_AT, "pod/container_config", CERTAIN, "after StartError"),
    "initfail": (STATE_AT, "pod/init_failed", CERTAIN, "exit code 4"),
    "unready": (STATE_AT, "pod/starting", PROBABLE, "Readiness probe failed: not warm yet"),
    "unsched": (STATE_AT, "pod/unschedulable", CERTAIN, "Insufficient cpu"),
    "unselect": (STATE_AT, "pod/unschedulable", CERTAIN, "node"),
    "evicted": ("23:47:31", "pod/evicted", CERTAIN, "Usage of EmptyDir volume"),
    "scaled": ("", "pod/missing", CERTAIN, ""),
}


def first_deletion(pods: PodEvidence) -> float:
    return min(one.deleted for one in pods.pods if one.deleted is not None)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", PODS)
async def test_every_bad_state_of_a_real_pod(tmp_path: Path, name: str) -> None:
    time, wanted, confidence, proof = PODS[name]
    selector = PodSelector(namespace="demo", selector=f"app={name}")
    window = Window(start=RECORDED_AT - 3600, end=RECORDED_AT)
    async with cluster_of(tmp_path) as (_, looker):
        pods = await looker.pods(Target(name="demo"), selector, window)
    assert pods.look.whole, pods.look.problems
    began = at(time) if time else first_deletion(pods)
    verdict = cascade.decide(with_pods(pods, outage(began), unreached(began + 0.4)))
    assert decided(verdict) == (wanted, confidence), (verdict.title, verdict.unknowns)
    assert proof in proofs(verdict, Step.POD)
    assert "no_healthy_upstream" in proofs(verdict, Step.PROXY)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("service", "wanted"),
    [("absent", "pod/missing"), ("nobody", "pod/missing")],
)
async def test_a_service_without_pods(tmp_path: Path, service: str, wanted: str) -> None:
    selector = PodSelector(namespace="demo", service=service)
    window = Window(start=RECORDED_AT - 3600, end=RECORDED_AT)
    async with cluster_of(tmp_path) as (_, looker):
        pods = await looker.pods(Target(name="demo"), selector, window)
    time = RECORDED_AT - 20
    verdict = cascade.decide(with_pods(pods, outage(time), unreached(time + 0.4)))
    assert decided(verdict) == (wanted, CERTAIN)
    assert service in verdict.summary


@pytest.mark.asyncio
async def test_a_pod_that_is_being_deleted(tmp_path: Path) -> None:
    selector = PodSelector(namespace="demo", selector="app=deleting")
    window = Window(start=RECORDED_AT - 3600, end=RECORDED_AT)
    async with cluster_of(tmp_path) as (_, looker):
        pods = await looker.pods(Target(name="demo"), selector, window)
    asked = first_deletion(pods)
    line = recorded("closed", asked + 1.0, pod="demo/deleting")
    verdict = cascade.decide(with_pods(pods, outage(asked + 0.6), line))
    assert decided(verdict) == ("pod/deleted", CERTAIN)


@pytest.mark.asyncio
async def test_a_rollout_that_is_stuck_leaves_the_old_pods_serving(tmp_path: Path) -> None:
    """Its new pod has no image; the old ones are ready: a reset of theirs is another matter."""
    selector = PodSelector(namespace="demo", service="roll")
    window = Window(start=RECORDED_AT - 3600, end=RECORDED_AT)
    async with cluster_of(tmp_path) as (_, looker):
        pods = await looker.pods(Target(name="demo"), selector, window)
    assert [one.in_progress for one in pods.rollouts] == [True]
    old = next(one for one in pods.pods if one.ready)
    time = RECORDED_AT - 20
    line = recorded("closed", time + 0.4, pod=f"demo/{old.name}")
    verdict = cascade.decide(with_pods(pods, outage(time), line))
    assert decided(verdict) == ("communication/connection_reset", CERTAIN)


@pytest.mark.asyncio
async def test_a_real_node_whose_kubelet_stopped(tmp_path: Path) -> None:
    """Stopped at 23:52:42, noticed at 23:52:54, its pods given up at 23:55:56."""
    window = Window(start=RECORDED_AT - 3600, end=RECORDED_AT + 300)
    clock = Clock(at("23:56:10"))
    async with cluster_of(tmp_path, NODE_DOWN, clock) as (_, looker):
        selector = PodSelector(namespace="demo", service="front")
        pods = await looker.pods(Target(name="demo"), selector, window)
        nodes = await looker.nodes(["node-1"], window)
    assert nodes.look.whole
    time = at("23:52:45")
    line = recorded(
        "connect timeout",
        time + 0.4,
        role=ProxyRole.GATEWAY,
        pod="istio-system/gateway-0",
        upstream_host=f"{next(one.ip for one in pods.pods if one.ip)}:8000",
    )
    running = scene.vms(scene.vm(node="node-1", up_seconds=9e5, asked_at=clock.now))
    given = replace(
        with_pods(pods, outage(time), line, node=nodes, vm=running), decided_at=clock.now
    )
    given = replace(
        given,
        anomaly=replace(given.anomaly, samples=(Sample(time=clock.now - 3, value=503.0),)),
    )
    verdict = cascade.decide(given)
    assert decided(verdict) == ("node/kubelet_not_ready", CERTAIN), verdict.unknowns
    shown = proofs(verdict, Step.NODE)
    assert "Kubelet stopped posting node status" in shown
    assert "node.kubernetes.io/unreachable:NoSchedule" in shown
    assert "NodeNotReady" in shown


# All steps, by the investigator, on one real pod's logs and objects

PASSED = "23:51:24"
GONE_DOWN = "23:52:36"
UUID = uuid.UUID("4c4c4544-0042-3510-8051-b7c04f564432")
PUBLIC = SnmpCredentials(community="public")


@asynccontextmanager
async def site(
    tmp_path: Path,
    folder: Path = STATES,
    clock: Clock | None = None,
    agent: Agent | None = None,
    **target: Any,
) -> AsyncIterator[tuple[RecordedCluster, Place, Agent]]:
    """The recorded front pod as a target, and its node's VM on an agent that answers."""
    clock = clock or Clock(RECORDED_AT + 1)
    agent = agent or Agent(hypervisor({3: UUID}))
    await agent.start()
    try:
        async with cluster_of(tmp_path, folder, clock, timeout=0.5) as (cluster, looker):
            looker._shared._keep = 0.0
            snmp = HypervisorSettings(
                name="esx1",
                address=f"127.0.0.1:{agent.port}",
                credentials=PUBLIC,
                timeout=0.3,
                retries=0,
            )
            vms = VmLooker(
                VmSettings(hypervisors=(snmp,), interval=0.01, patience=0.05), clock=clock
            )
            limit = asyncio.Semaphore(8)
            place = Place(
                target=Target(name="demo", namespace="demo", **target),
                selector=PodSelector(namespace="demo", service="front"),
                cluster=looker,
                proxy=ProxyLooker(
                    looker.logs, ProxySettings(timeout=2), mask=str, limit=limit, clock=clock
                ),
                app=AppLooker(looker.logs, limit=limit, clock=clock),
                vm=vms,
            )
            try:
                yield cluster, place, agent
            finally:
                await vms.close()
    finally:
        agent.stop()


async def investigated(
    place: Place, anomaly: Anomaly, clock: Clock | None = None, policy: Policy = Policy.DEFAULT
) -> Verdict:
    looks = Investigator(
        InvestigatorSettings(policy=policy, step_timeout=5.0), clock or Clock(RECORDED_AT + 1)
    )
    return (await looks.look(place, anomaly)).verdict


def failing(time: str, status: int) -> Anomaly:
    return outage(at(time), status, until=at(time) + 15)


@pytest.mark.asyncio
async def test_the_application_answered_500(tmp_path: Path) -> None:
    async with site(tmp_path, path="/fail") as (_, place, _):
        verdict = await investigated(place, failing(PASSED, 500))
    assert decided(verdict) == ("application/http_status", CERTAIN), verdict.unknowns
    assert '"GET /fail HTTP/1.1" 500 - via_upstream' in proofs(verdict, Step.PROXY)
    assert '"GET /fail HTTP/1.1" 500 Internal Server Error' in proofs(verdict, Step.APP)
    assert "database connection lost" in proofs(verdict, Step.APP)
    outcomes = {one.step: one.outcome for one in verdict.steps}
    assert outcomes[Step.POD] is outcomes[Step.VM] is Outcome.SKIPPED


@pytest.mark.asyncio
@pytest.mark.parametrize(("path", "flag"), [("/exit", "UC"), ("/", "UF")])
async def test_the_container_ended_while_it_worked(tmp_path: Path, path: str, flag: str) -> None:
    async with site(tmp_path, path=path) as (_, place, _):
        verdict = await investigated(place, failing(GONE_DOWN, 503))
    assert decided(verdict) == ("pod/crashed", CERTAIN), verdict.unknowns
    assert f"503 {flag} " in proofs(verdict, Step.PROXY)
    assert "Error, exit code 1" in proofs(verdict, Step.POD)
    outcomes = {one.step: one.outcome for one in verdict.steps}
    assert outcomes[Step.POD] is outcomes[Step.NODE] is outcomes[Step.VM] is Outcome.RAN


@pytest.mark.asyncio
async def test_figure_4_walks_on_recorded_logs(tmp_path: Path) -> None:
    async with site(tmp_path, path="/fail") as (_, place, _):
        verdict = await investigated(place, failing(PASSED, 500), policy=Policy.PAPER)
    assert (verdict.cause.value, verdict.policy) == ("application", Policy.PAPER)


@pytest.mark.asyncio
async def test_only_another_client_was_failed(tmp_path: Path) -> None:
    """/boom was asked for by Wget alone, and the monitor's own request is in no log."""
    async with site(tmp_path, path="/boom") as (_, place, _):
        verdict = await investigated(place, failing(PASSED, 500))
    cause, confidence = decided(verdict)
    assert cause.startswith("application/")
    assert confidence is not CERTAIN
    assert "other clients" in next(s.summary for s in verdict.steps if s.step is Step.PROXY)


# The VM, over SNMP

GATEWAY_TIMEOUT = "connect timeout"


@asynccontextmanager
async def vm_of(
    values: dict[Any, Any], tmp_path: Path, **faults: Any
) -> AsyncIterator[tuple[Place, Evidence]]:
    agent = Agent(values)
    for name, fault in faults.items():
        setattr(agent, name, fault)
    time = RECORDED_AT - 3
    async with site(tmp_path, agent=agent) as (_, place, _):
        assert place.cluster is not None
        assert place.selector is not None
        window = Window(start=time - 300, end=time + 60)
        nodes = await place.cluster.nodes(["node-1"], window)
        pods = await place.cluster.pods(place.target, place.selector, window)
        assert place.vm is not None
        anomaly = replace(outage(time), samples=())
        vms = await place.vm.look(nodes.nodes, window, anomaly)
        line = recorded(
            GATEWAY_TIMEOUT,
            time + 0.2,
            role=ProxyRole.GATEWAY,
            pod="istio-system/gateway-0",
            upstream_host=f"{pods.pods[0].ip}:8000",
        )
        # The recorded container restarted shortly before: here it did not
        calm = tuple(
            replace(
                pod,
                containers=tuple(replace(one, last=None, started_at=0.0) for one in pod.containers),
                ready_since=time - 900,
            )
            for pod in pods.pods
        )
        stale = tuple(replace(one, lease_renewed_at=time - 5) for one in nodes.nodes)
        yield (
            place,
            replace(
                with_pods(replace(pods, pods=calm, events=()), anomaly, line,
                          node=replace(nodes, nodes=stale), vm=vms),
                decided_at=RECORDED_AT + 1,
            ),
        )  # fmt: skip


def with_state(number: int) -> dict[Any, Any]:
    values = dict(hypervisor({3: UUID}))
    values[(*oids.VM_OPER_STATE, 3)] = integer(number)
    return values


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("state", "title"),
    [
        (8, "node: VM paused"),
        (6, "node: VM suspended"),
        (11, "node: VM shut down"),
        (12, "node: VM crashed"),
        (10, "node: VM shutting down"),
    ],
)
async def test_the_vm_does_not_run(tmp_path: Path, state: int, title: str) -> None:
    async with vm_of(with_state(state), tmp_path) as (_, given):
        verdict = cascade.decide(given)
    assert decided(verdict) == ("node/vm_not_running", CERTAIN)
    assert verdict.title == title
    assert "vmOperState.3 = INTEGER: " in proofs(verdict, Step.VM)


@pytest.mark.asyncio
async def test_the_vm_runs_and_explains_nothing(tmp_path: Path) -> None:
    async with vm_of(dict(hypervisor({3: UUID})), tmp_path) as (_, given):
        verdict = cascade.decide(given)
    assert decided(verdict)[0] == "communication/connect_failure"


@pytest.mark.asyncio
async def test_a_hypervisor_that_is_silent_rules_nothing_out(tmp_path: Path) -> None:
    async with vm_of(dict(hypervisor({3: UUID})), tmp_path, silent=True) as (_, given):
        verdict = cascade.decide(given)
    assert verdict.confidence is not CERTAIN
    assert any(one.startswith("vm: ") and "esx1" in one for one in verdict.unknowns)


@pytest.mark.asyncio
async def test_a_uuid_that_no_hypervisor_has(tmp_path: Path) -> None:
    other = uuid.UUID(int=UUID.int ^ 1)
    async with vm_of(dict(hypervisor({3: other})), tmp_path) as (_, given):
        lost = replace(given.node.nodes[0], ready=False)
        verdict = cascade.decide(replace(given, node=replace(given.node, nodes=(lost,))))
    assert decided(verdict)[0] == "node/vm_missing"
    assert "esx1" in verdict.summary


# Sources that fail: what is right then

KUBE_FAULTS: dict[str, dict[str, Any]] = {
    "down": {"drop": True},
    "slow": {"delay": 3.0},
    "401": {"status": 401},
    "403": {"status": 403},
    "404": {"status": 404},
    "410": {"status": 410},
    "429": {"status": 429, "headers": {"Retry-After": "30"}},
    "500": {"status": 500},
    "503": {"status": 503},
    "garbage": {"status": 200, "body": "<html>not what was asked for"},
}
PROXY_LOG = "container=istio-proxy"
APP_LOG = "container=app"


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [one for one in KUBE_FAULTS if one != "garbage"])
async def test_the_applications_log_cannot_be_read(tmp_path: Path, kind: str) -> None:
    """The proxy's word that the application answered stands, and is not certain any more."""
    async with site(tmp_path, path="/fail") as (cluster, place, _):
        cluster.fault(APP_LOG, **KUBE_FAULTS[kind])
        verdict = await investigated(place, failing(PASSED, 500))
    assert decided(verdict) == ("application/http_status", PROBABLE)
    assert any(one.startswith("app: ") for one in verdict.unknowns)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [one for one in KUBE_FAULTS if one != "garbage"])
async def test_the_proxys_log_cannot_be_read(tmp_path: Path, kind: str) -> None:
    """The application's own line is left; whose request it was is not known without the proxy."""
    async with site(tmp_path, path="/fail") as (cluster, place, _):
        cluster.fault(PROXY_LOG, **KUBE_FAULTS[kind])
        verdict = await investigated(place, failing(PASSED, 500))
    assert decided(verdict) == ("application/http_status", PROBABLE)
    assert any(one.startswith("proxy: ") for one in verdict.unknowns)
    step = next(one for one in verdict.steps if one.step is Step.PROXY)
    assert step.outcome is Outcome.FAILED
    assert "could not look" in step.summary


@pytest.mark.asyncio
async def test_a_proxys_log_of_something_else_is_not_read(tmp_path: Path) -> None:
    async with site(tmp_path, path="/fail") as (cluster, place, _):
        cluster.fault(PROXY_LOG, **KUBE_FAULTS["garbage"])
        verdict = await investigated(place, failing(PASSED, 500))
    assert decided(verdict) == ("application/http_status", PROBABLE)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KUBE_FAULTS)
async def test_the_pods_cannot_be_listed(tmp_path: Path, kind: str) -> None:
    """Without pods there are no logs and no nodes either: nothing decides, and that is said."""
    async with site(tmp_path, path="/exit") as (cluster, place, _):
        cluster.fault("/pods?", **KUBE_FAULTS[kind])
        verdict = await investigated(place, failing(GONE_DOWN, 503))
    assert decided(verdict) == ("undetermined/could_not_look", POSSIBLE), verdict.title
    assert any(one.startswith("pod: ") for one in verdict.unknowns)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [one for one in KUBE_FAULTS if one != "404"])
async def test_the_node_cannot_be_asked_for(tmp_path: Path, kind: str) -> None:
    """The container's end is known; whether its machine made it end is not."""
    async with site(tmp_path, path="/exit") as (cluster, place, _):
        cluster.fault("/nodes/", **KUBE_FAULTS[kind])
        verdict = await investigated(place, failing(GONE_DOWN, 503))
    assert decided(verdict) == ("pod/crashed", PROBABLE)
    assert any(one.startswith("node: ") for one in verdict.unknowns)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KUBE_FAULTS)
async def test_the_events_cannot_be_listed(tmp_path: Path, kind: str) -> None:
    """The container's state tells without them."""
    async with site(tmp_path, path="/exit") as (cluster, place, _):
        cluster.fault("namespaces/demo/events", **KUBE_FAULTS[kind])
        verdict = await investigated(place, failing(GONE_DOWN, 503))
    assert decided(verdict) == ("pod/crashed", CERTAIN)


SNMP_FAULTS: dict[str, dict[str, Any]] = {
    "down": {"silent": True},
    "denied": {"status": 16},
    "5xx": {"status": 5},
    "garbage": {"mangle": lambda data: data[: len(data) // 2]},
    "endless": {"endless": oids.VM_UUID},
    "other community": {"community": b"secret"},
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", SNMP_FAULTS)
async def test_the_agent_fails(tmp_path: Path, kind: str) -> None:
    agent = Agent(hypervisor({3: UUID}))
    for name, fault in SNMP_FAULTS[kind].items():
        setattr(agent, name, fault)
    async with site(tmp_path, path="/exit", agent=agent) as (_, place, _):
        verdict = await investigated(place, failing(GONE_DOWN, 503))
    assert decided(verdict) == ("pod/crashed", PROBABLE), verdict.title
    assert any(one.startswith("vm: ") for one in verdict.unknowns)


# Logs that rotated, clocks that differ


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STATES, tmp_path / "states"))


def log_of(folder: Path, name: str) -> Path:
    return folder / "logs" / "demo" / FRONT / name


@pytest.mark.asyncio
async def test_the_proxys_log_rotated(tmp_path: Path) -> None:
    """The lines of then are gone: their absence does not speak against the application."""
    folder = copied(tmp_path)
    log = log_of(folder, "istio-proxy.log")
    kept = [line for line in log.read_text().splitlines(keepends=True) if PASSED not in line]
    log.write_text("".join(kept))
    async with site(tmp_path, folder, path="/fail") as (_, place, _):
        verdict = await investigated(place, failing(PASSED, 500))
    assert decided(verdict)[0] == "application/http_status"
    assert verdict.confidence is not CERTAIN


@pytest.mark.asyncio
async def test_both_logs_rotated(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for name in ("istio-proxy.log", "app.previous.log"):
        log_of(folder, name).write_text("")
    async with site(tmp_path, folder, path="/fail") as (_, place, _):
        verdict = await investigated(place, failing(PASSED, 500))
    assert verdict.confidence is POSSIBLE


def shift(log: Path, seconds: float) -> None:
    """Another clock wrote this log: every time in it, the runtime's and the proxy's."""

    def moved(word: str) -> str:
        time = parse_time(word.strip("[]"))
        if time is None:
            return word
        text = format_time(time + seconds, 3)
        return f"[{text}]" if word.startswith("[") else text

    lines = log.read_text().splitlines()
    log.write_text(
        "".join(" ".join(moved(word) for word in line.split(" ")) + "\n" for line in lines)
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("skew", [-2.0, 2.0, -1.0, 1.0])
@pytest.mark.parametrize("whose", ["monitor", "application"])
async def test_clocks_within_what_is_allowed_for(tmp_path: Path, skew: float, whose: str) -> None:
    folder = copied(tmp_path)
    anomaly = failing(PASSED, 500)
    if whose == "monitor":
        anomaly = outage(at(PASSED) + skew, 500, until=at(PASSED) + skew + 15)
    else:
        shift(log_of(folder, "app.previous.log"), skew)
    async with site(tmp_path, folder, path="/fail") as (_, place, _):
        verdict = await investigated(place, anomaly)
    assert decided(verdict) == ("application/http_status", CERTAIN)


@pytest.mark.asyncio
@pytest.mark.parametrize("skew", [-60.0, 60.0])
async def test_an_applications_clock_that_is_a_minute_off(tmp_path: Path, skew: float) -> None:
    """Its own lines are not found; what the proxy says of it stands."""
    folder = copied(tmp_path)
    shift(log_of(folder, "app.previous.log"), skew)
    async with site(tmp_path, folder, path="/fail") as (_, place, _):
        verdict = await investigated(place, failing(PASSED, 500))
    assert decided(verdict)[0] == "application/http_status"


@pytest.mark.asyncio
@pytest.mark.parametrize("skew", [-60.0, 60.0])
async def test_a_monitors_clock_that_is_a_minute_off(tmp_path: Path, skew: float) -> None:
    """The request's line is outside the window: whatever is said is not said for certain."""
    # A short patience: the container's end of 23:52:36 is another outage's
    async with site(tmp_path, path="/fail", probe_timeout=5.0) as (_, place, _):
        time = at(PASSED) + skew
        verdict = await investigated(place, outage(time, 500, until=time + 15))
    assert verdict.confidence is not CERTAIN
