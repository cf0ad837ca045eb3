"""Compound incidents, and what a careful person on call would conclude from the same evidence.

Each row was written down before the cascade was asked. A row holds the evidence, the cause with its
reason, and the confidence. Times are relative to T, the first bad sample; the last good one is at
T - 15, a probe may take 10 s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.triage.scene import (
    NO_HOST,
    RAN,
    REFUSED,
    RESET,
    TIMEOUT,
    UNREACHED,
    T,
    access,
    app,
    container,
    ended,
    error,
    event,
    evidence,
    failed,
    hypervisor,
    node,
    nodes,
    notification,
    pod,
    pods,
    proxy,
    request,
    vm,
    vms,
)
from triage import cascade
from triage.evidence import (
    Anomaly,
    Condition,
    Confidence,
    ContainerKind,
    Evidence,
    KubeEvent,
    LogLine,
    Look,
    Match,
    MetricEvidence,
    NodeState,
    Outcome,
    PodState,
    ProxyRequest,
    ProxyRole,
    Rollout,
    Sample,
    Trigger,
    VmCpu,
    VmDisk,
    VmNic,
    VmOperState,
)

CERTAIN, PROBABLE, POSSIBLE = Confidence.CERTAIN, Confidence.PROBABLE, Confidence.POSSIBLE
OTHER, LIKELY = Match.OTHER, Match.LIKELY
LONG_AGO = T - 86400


def front(number: int, *containers: Any, **more: Any) -> PodState:
    """One of several pods of the service, each on a node of its own."""
    fixed: dict[str, Any] = {
        "name": f"front-{number}",
        "ip": f"10.42.0.{101 + number}",
        "node": f"worker-{number + 1}",
    }
    return pod(*containers, **{**fixed, **more})


def by_gateway(line: ProxyRequest, host: str = "10.42.0.101:8000", **more: Any) -> ProxyRequest:
    host_or_none = host if line.upstream_host is not None else None
    return replace(
        line,
        role=ProxyRole.GATEWAY,
        pod="istio-system/gateway-0",
        upstream_host=host_or_none,
        **more,
    )


def from_pod(number: int, line: ProxyRequest) -> ProxyRequest:
    return replace(line, pod=f"front/front-{number}", upstream_host=f"10.42.0.{101 + number}:8000")


def rollout(changed_at: float, ready: int = 2, desired: int = 3) -> Rollout:
    return Rollout(
        kind="Deployment",
        name="front",
        desired=desired,
        ready=ready,
        updated=1,
        in_progress=True,
        changed_at=changed_at,
    )


def lasting(given: Evidence, until: float) -> Evidence:
    """The same, looked at later, with bad samples until then."""
    samples = [Sample(time=T - 15, value=200.0)]
    samples += [Sample(time=T + 15 * n, value=503.0) for n in range(int(until // 15) + 1)]
    asked = T + until + 2
    return replace(
        given,
        decided_at=asked,
        anomaly=replace(given.anomaly, samples=tuple(samples)),
        **asked_at(given, asked),
    )


def over(given: Evidence, ended_at: float, asked: float) -> Evidence:
    """The same, over at T + `ended_at` and looked at T + `asked`."""
    samples = (
        Sample(time=T - 15, value=200.0),
        Sample(time=T, value=503.0),
        Sample(time=T + ended_at, value=200.0),
    )
    return replace(
        given,
        decided_at=T + asked,
        anomaly=replace(given.anomaly, ended=T + ended_at, samples=samples),
        **asked_at(given, T + asked),
    )


def asked_at(given: Evidence, time: float) -> dict[str, Any]:
    parts: dict[str, Any] = {
        name: replace(getattr(given, name), look=replace(getattr(given, name).look, asked_at=time))
        for name in ("metric", "proxy", "app", "pod", "node", "vm")
    }
    parts["vm"] = replace(
        parts["vm"], vms=tuple(replace(one, asked_at=time) for one in parts["vm"].vms)
    )
    return parts


def manual(given: Evidence, trigger: Trigger) -> Evidence:
    """Asked for by a person or an alert, and no sample is known."""
    return replace(given, anomaly=replace(given.anomaly, trigger=trigger, last_good=None))


def vm_on(host: str, number: int = 0, **more: Any) -> Any:
    return vm(hypervisor=host, node=f"worker-{number + 1}", **more)


def crash_looping(number: int, since: float, last: float = T - 200) -> PodState:
    return front(
        number,
        container(
            "waiting",
            "CrashLoopBackOff",
            last=ended("Error", 1, last),
            restarts=300,
        ),
        ready=False,
        ready_since=since,
    )


def oom(number: int, at: float = T - 1, **more: Any) -> PodState:
    back = at + 2
    return front(
        number,
        container(last=ended("OOMKilled", 137, at), started_at=back, restarts=1, **more),
        ready_since=back + 1,
    )


def killed_by_liveness(probe: str, at: float = T - 1) -> dict[str, Any]:
    return {
        "pod_part": pods(
            pod(
                container(last=ended("Error", 137, at), started_at=at + 2, restarts=1),
                ready_since=at + 4,
            ),
            events=(
                event("Unhealthy", f"Liveness probe failed: {probe}", at - 30.5, count=3),
                event(
                    "Killing",
                    "Container app failed liveness probe, will be restarted",
                    at - 30,
                    type="Normal",
                ),
            ),
        )
    }


SLOW_DISK = vms(vm(disks=(VmDisk(index=1, name="sda", write_latency_ms=2400.0),)))
TIMED_OUT = 'Get "http://10.42.0.101:8000/": context deadline exceeded'
LIVES: dict[str, Any] = {"lease_renewed_at": T + 8}
SILENT_AGENT = vms(
    missing=("worker-1",),
    last_known={"worker-1": "esx1"},
    hypervisors=(hypervisor(answered=False),),
    look=replace(RAN, problems=("esx1: no answer within 2 s",)),
)
GIVEN_UP = request("DC", "downstream_remote_disconnect", status=0, duration_ms=9600.0)
CONNECTING = by_gateway(replace(GIVEN_UP, upstream_local=None))
OTHERS = {"others": 20}
UNRESOLVED = {
    "resolve": 5.0,
    "connect": 0.0,
    "tls": 0.0,
    "processing": 0.0,
    "transfer": 0.0,
}
STOPPING = error(0.6, why='the application stops: "Shutting down"', level="info")

Row = tuple[Evidence, str, Confidence]

SCENARIOS: dict[str, Row] = {
    # Several pods, one of them sick
    "the line is from a healthy pod, its neighbour was OOMKilled": (
        evidence(proxy(from_pod(0, RESET)), pod_part=pods(front(0), oom(1))),
        "communication/connection_reset",
        CERTAIN,
    ),
    "the gateway tried the pod that was OOMKilled": (
        evidence(
            proxy(by_gateway(RESET, "10.42.0.102:8000")), pod_part=pods(front(0), oom(1))
        ),
        "pod/oom_killed",
        CERTAIN,
    ),
    "one pod has crash-looped for days, two serve, no line could be read": (
        evidence(
            proxy(look=failed()),
            pod_part=pods(front(0), front(1), crash_looping(2, LONG_AGO)),
        ),
        "undetermined/could_not_look",
        POSSIBLE,
    ),
    "one pod has crash-looped for days, and another one's connection is reset": (
        evidence(
            proxy(RESET), pod_part=pods(front(0), front(1), crash_looping(2, LONG_AGO))
        ),
        "communication/connection_reset",
        CERTAIN,
    ),
    "the only pod crash-loops since the outage began": (
        lasting(
            evidence(proxy(by_gateway(NO_HOST)), pod_part=pods(crash_looping(0, T - 3, T + 200))),
            240,
        ),
        "pod/crash_loop",
        CERTAIN,
    ),
    "one of three crashed at the time, no line could be read": (
        evidence(
            proxy(look=failed()),
            pod_part=pods(
                front(0),
                front(1),
                front(
                    2,
                    container(last=ended("Error", 1), started_at=T + 1, restarts=1),
                    ready_since=T + 2,
                ),
            ),
        ),
        "pod/crashed",
        PROBABLE,
    ),
    "evicted corpses of last week lie about": (
        evidence(
            proxy(RESET),
            pod_part=pods(
                pod(),
                front(7, phase="Failed", reason="Evicted", ready=None, ready_since=None,
                      created=LONG_AGO, containers=()),
            ),
        ),
        "communication/connection_reset",
        CERTAIN,
    ),
    "evicted corpses of last week, and the request came to no proxy": (
        evidence(
            proxy(**OTHERS),
            status=0,
            pod_part=pods(
                pod(),
                front(7, phase="Failed", reason="Evicted", ready=None, ready_since=None,
                      created=LONG_AGO),
            ),
        ),
        "monitoring_path/not_seen_by_proxy",
        PROBABLE,
    ),
    "a pod that waits for a node for hours, as the autoscaler wants more": (
        evidence(
            proxy(by_gateway(NO_HOST)),
            pod_part=pods(
                front(0, ready=False, ready_since=T - 4),
                front(1, phase="Pending", scheduled=False, ready=None, ready_since=None, node="",
                      created=T - 7200),
            ),
        ),
        "pod/not_ready",
        PROBABLE,
    ),
    "a log shipper beside the application has crash-looped for days": (
        evidence(
            proxy(RESET),
            pod_part=pods(
                pod(
                    container(started_at=T - 9000),
                    container(
                        "waiting",
                        "CrashLoopBackOff",
                        name="shipper",
                        last=ended("Error", 1, T - 250),
                    ),
                    ready=False,
                    ready_since=LONG_AGO,
                )
            ),
        ),
        "communication/connection_reset",
        PROBABLE,
    ),
    # Deletions, rollouts, scaling
    "a rollout ends the pod while it works on the request": (
        evidence(
            proxy(RESET),
            pod_part=pods(
                pod(deleted=T - 1, owner="ReplicaSet/front-5d9c"),
                front(1),
                rollouts=(rollout(T - 20),),
            ),
        ),
        "pod/rollout",
        CERTAIN,
    ),
    "a pod lingers in preStop, asked to go before the last good sample": (
        evidence(proxy(RESET), pod_part=pods(pod(deleted=T - 32), front(1))),
        "pod/deleted",
        CERTAIN,
    ),
    "scaled down: the gateway still tries the pod that is gone": (
        evidence(
            proxy(by_gateway(UNREACHED, "10.42.0.103:8000")),
            pod_part=pods(front(0), front(1), front(2, gone=True, deleted=T - 3)),
        ),
        "pod/deleted",
        CERTAIN,
    ),
    "the gateway tries an address that no pod has": (
        evidence(
            proxy(by_gateway(UNREACHED, "10.42.0.77:8000")), pod_part=pods(front(0), front(1))
        ),
        "pod/deleted",
        PROBABLE,
    ),
    "the gateway's upstream is no pod at all, and times out": (
        evidence(
            proxy(by_gateway(UNREACHED, "192.0.2.10:443")), pod_part=pods(front(0), front(1))
        ),
        "communication/connect_failure",
        CERTAIN,
    ),
    "the sidecar's pod is not there any more": (
        evidence(proxy(from_pod(9, RESET)), pod_part=pods(front(0), front(1))),
        "pod/deleted",
        PROBABLE,
    ),
    "a pod went in time, its log with it, and two served on": (
        evidence(
            proxy(pods_unread=("front/front-2",), **OTHERS),
            pod_part=pods(front(0), front(1), front(2, gone=True, deleted=T - 1)),
        ),
        "pod/deleted",
        PROBABLE,
    ),
    "it hung; somebody deleted the pod as a remedy": (
        over(
            evidence(proxy(TIMEOUT), pod_part=pods(front(1, created=T + 61, ready_since=T + 80),
                                                   pod(deleted=T + 60))),
            90,
            100,
        ),
        "application/slow",
        PROBABLE,
    ),
    "a node is drained": (
        evidence(
            proxy(RESET),
            pod_part=pods(
                pod(deleted=T - 2),
                front(1),
                events=(event("Killing", "Stopping container app", T - 2, type="Normal"),),
            ),
            node_part=nodes(
                node(unschedulable=True, taints=("node.kubernetes.io/unschedulable:NoSchedule",))
            ),
        ),
        "pod/deleted",
        CERTAIN,
    ),
    "scaled up: a new pod is not ready yet, the old one answers 500": (
        evidence(
            proxy(request(status=500)),
            status=500,
            app_part=app(access(500)),
            pod_part=pods(pod(), front(1, created=T - 5, ready=False, ready_since=T - 5)),
        ),
        "application/http_status",
        CERTAIN,
    ),
    "taint manager evicts the pods of a node that went silent": (
        lasting(
            evidence(
                proxy(UNREACHED),
                pod_part=pods(
                    pod(ready=False, ready_since=T + 45, deleted=T + 345),
                    events=(
                        event("TaintManagerEviction", "Marking for deletion", T + 345),
                        event("NodeNotReady", "Node is not ready", T + 45),
                    ),
                ),
                node_part=nodes(node("Unknown", changed_at=T + 45)),
                vm_part=vms(look=failed("no answer")),
            ),
            360,
        ),
        "node/kubelet_not_ready",
        PROBABLE,
    ),
    # Readiness and liveness
    "readiness flapped minutes ago, without effect": (
        evidence(
            proxy(RESET),
            pod_part=pods(pod(), events=(event("Unhealthy", "Readiness probe failed", T - 200),)),
        ),
        "communication/connection_reset",
        CERTAIN,
    ),
    "not ready for a moment, and ready again when looked at": (
        over(
            evidence(
                proxy(by_gateway(NO_HOST)),
                pod_part=pods(
                    pod(ready_since=T + 13),
                    events=(event("Unhealthy", "Readiness probe failed: HTTP 500", T - 12),),
                ),
            ),
            15,
            40,
        ),
        "pod/not_ready",
        PROBABLE,
    ),
    "liveness times out for a disk that takes seconds": (
        evidence(proxy(RESET), vm_part=SLOW_DISK, **killed_by_liveness(TIMED_OUT)),
        "node/storage_slow",
        PROBABLE,
    ),
    "liveness answers 500 at once, and a disk is slow": (
        evidence(
            proxy(RESET),
            vm_part=SLOW_DISK,
            **killed_by_liveness("HTTP probe failed with statuscode: 500"),
        ),
        "pod/liveness_killed",
        CERTAIN,
    ),
    "it hung; its liveness probe killed it later": (
        over(evidence(proxy(TIMEOUT), **killed_by_liveness(TIMED_OUT, T + 40)), 60, 70),
        "application/slow",
        PROBABLE,
    ),
    "OOMKilled ten minutes ago, reset now": (
        evidence(proxy(RESET), pod_part=pods(oom(0, T - 600))),
        "communication/connection_reset",
        CERTAIN,
    ),
    "OOMKilled ten minutes ago, the application answers 500 now": (
        evidence(
            proxy(request(status=500)),
            status=500,
            app_part=app(access(500)),
            pod_part=pods(oom(0, T - 600)),
        ),
        "application/http_status",
        CERTAIN,
    ),
    "OOMKilled again and again, in an outage that lasts": (
        lasting(evidence(proxy(REFUSED), pod_part=pods(oom(0, T + 100))), 105),
        "pod/oom_killed",
        PROBABLE,
    ),
    "the proxy's container was OOMKilled, the application is well": (
        evidence(
            proxy(by_gateway(REFUSED)),
            pod_part=pods(oom(0, name="istio-proxy", kind=ContainerKind.PROXY)),
        ),
        "pod/oom_killed",
        CERTAIN,
    ),
    "the application is refused while its pod starts": (
        evidence(
            proxy(REFUSED),
            pod_part=pods(
                pod(
                    container(started_at=T - 3),
                    created=T - 6,
                    ready=False,
                    ready_since=T - 6,
                )
            ),
        ),
        "pod/starting",
        PROBABLE,
    ),
    "a reset just now: what ended the container need not have been told yet": (
        replace(
            evidence(proxy(replace(RESET, time=T + 10))),
            anomaly=Anomaly(target="doktor", trigger=Trigger.PROXY_LOG, time=T + 10, status=503),
        ),
        "communication/connection_reset",
        PROBABLE,
    ),
    # Node and VM
    "a snapshot pauses the VM for eight seconds": (
        over(
            evidence(
                proxy(UNREACHED),
                vm_part=vms(
                    vm(),
                    notifications=(
                        notification("vmPaused", T - 4),
                        notification("vmRunning", T + 4),
                    ),
                ),
            ),
            15,
            40,
        ),
        "node/vm_not_running",
        CERTAIN,
    ),
    "the VM is migrated live": (
        evidence(
            proxy(RESET),
            vm_part=vms(
                vm_on("esx2"),
                hypervisors=(hypervisor("esx1"), hypervisor("esx2")),
                notifications=(
                    notification("vmMigrating", T - 3),
                    replace(notification("vmRunning", T + 1), hypervisor="esx2"),
                    notification("vmDeleted", T + 1.2),
                ),
            ),
        ),
        "node/vm_not_running",
        PROBABLE,
    ),
    "the VM moved, of which only both ends told": (
        evidence(
            proxy(RESET),
            vm_part=vms(
                vm_on("esx2"),
                hypervisors=(hypervisor("esx1"), hypervisor("esx2")),
                notifications=(
                    replace(notification("vmRunning", T - 2), hypervisor="esx2"),
                    notification("vmDeleted", T - 1),
                ),
            ),
        ),
        "node/vm_not_running",
        PROBABLE,
    ),
    "the guest rebooted; its VM did not": (
        over(
            evidence(
                proxy(UNREACHED),
                pod_part=pods(
                    pod(
                        container(last=ended("Unknown", 255, T + 30), started_at=T + 35),
                        ready_since=T + 45,
                    )
                ),
                node_part=nodes(
                    node(changed_at=T + 31, lease_renewed_at=T + 68),
                    events=(
                        KubeEvent(
                            time=T + 28,
                            type="Warning",
                            reason="Rebooted",
                            message="Node worker-1 has been rebooted, boot id: 7f3c",
                            object="Node/worker-1",
                        ),
                    ),
                ),
            ),
            60,
            70,
        ),
        "node/vm_restarted",
        CERTAIN,
    ),
    "the hypervisor crashed and booted again": (
        lasting(
            evidence(
                proxy(UNREACHED),
                pod_part=pods(pod(ready=False, ready_since=T + 45)),
                node_part=nodes(node("Unknown", changed_at=T + 45)),
                vm_part=vms(
                    vm(up_seconds=20.0),
                    hypervisors=(hypervisor(up_seconds=40.0, agent_up_seconds=30.0),),
                ),
            ),
            195,
        ),
        "node/hypervisor_restarted",
        CERTAIN,
    ),
    "a leftover of a migration claims the same UUID": (
        evidence(
            proxy(RESET),
            vm_part=vms(
                vm_on("esx2"),
                vm_on("esx1", oper_state=VmOperState.SHUTDOWN, vm_index=9),
                hypervisors=(hypervisor("esx1"), hypervisor("esx2")),
            ),
        ),
        "communication/connection_reset",
        CERTAIN,
    ),
    "both ends of a migration show the VM, neither runs": (
        evidence(
            proxy(UNREACHED),
            vm_part=vms(
                vm_on("esx2", oper_state=VmOperState.PAUSED),
                vm_on("esx1", oper_state=VmOperState.MIGRATING, vm_index=9),
                hypervisors=(hypervisor("esx1"), hypervisor("esx2")),
            ),
        ),
        "node/vm_not_running",
        PROBABLE,
    ),
    "the agent is silent, and the node lives": (
        evidence(proxy(RESET), node_part=nodes(node(**LIVES)), vm_part=SILENT_AGENT),
        "communication/connection_reset",
        PROBABLE,
    ),
    "the agent is silent, and the node is not ready": (
        lasting(
            evidence(
                proxy(UNREACHED),
                node_part=nodes(node("Unknown", lease_renewed_at=T - 3, changed_at=T + 40)),
                vm_part=SILENT_AGENT,
            ),
            60,
        ),
        "node/hypervisor_unreachable",
        CERTAIN,
    ),
    "no hypervisor has the VM of a node that lives": (
        evidence(
            proxy(RESET),
            node_part=nodes(node(**LIVES)),
            vm_part=vms(missing=("worker-1",), last_known={"worker-1": "esx1"}),
        ),
        "communication/connection_reset",
        PROBABLE,
    ),
    "the node shows no UUID": (
        evidence(
            proxy(RESET),
            vm_part=vms(look=Look(problems=("node worker-1 has no systemUUID",))),
        ),
        "communication/connection_reset",
        PROBABLE,
    ),
    "the control plane is down with the VM": (
        evidence(
            proxy(look=failed("kubernetes main: no answer")),
            app_part=app(look=failed("kubernetes main: no answer")),
            pod_part=pods(
                PodState(namespace="front", name="front-0", node="worker-1", ip="10.42.0.101"),
                look=failed("kubernetes main: no answer"),
            ),
            node_part=nodes(
                NodeState(name="worker-1", system_uuid="564d1f5e-7a3c-4a9b-9d2e-0f1e2d3c4b5a"),
                look=failed("kubernetes main: no answer"),
            ),
            vm_part=vms(vm(VmOperState.PAUSED)),
            status=0,
        ),
        "node/vm_not_running",
        CERTAIN,
    ),
    "a VM has been paused for hours, its pod out of service, no line read": (
        evidence(
            proxy(look=failed()),
            pod_part=pods(front(0, ready=False, ready_since=LONG_AGO), front(1), front(2)),
            node_part=nodes(
                node("Unknown", changed_at=LONG_AGO),
                node(name="worker-2"),
                node(name="worker-3"),
            ),
            vm_part=vms(
                vm(VmOperState.PAUSED),
                vm(node="worker-2", uuid="2", vm_index=4),
                vm(node="worker-3", uuid="3", vm_index=5),
            ),
        ),
        "undetermined/could_not_look",
        POSSIBLE,
    ),
    "a slow disk does not refuse connections": (
        evidence(proxy(REFUSED), vm_part=SLOW_DISK),
        "communication/connect_failure",
        PROBABLE,
    ),
    "a busy VM on a calm host, and a reset": (
        evidence(
            proxy(RESET),
            vm_part=vms(vm(cpu=VmCpu(vcpus=2, usage=0.99, host_load=0.2, host_cpus=8))),
        ),
        "communication/connection_reset",
        PROBABLE,
    ),
    "the circuit breaker is open, for the disk is slow": (
        evidence(
            proxy(request("UO", "upstream_reset_before_response_started{overflow}")),
            vm_part=SLOW_DISK,
        ),
        "node/storage_slow",
        PROBABLE,
    ),
    "the readings of a disk after the outage say nothing of it": (
        over(evidence(proxy(TIMEOUT), vm_part=SLOW_DISK), 15, 300),
        "application/slow",
        PROBABLE,
    ),
    "the VM's interface drops half of its packets": (
        evidence(
            proxy(UNREACHED),
            vm_part=vms(
                vm(
                    nics=(
                        VmNic(
                            index=1,
                            if_index=12,
                            name="vnet3",
                            oper_up=True,
                            admin_up=True,
                            out_discards_per_s=500.0,
                            out_packets_per_s=1000.0,
                        ),
                    )
                )
            ),
        ),
        "node/network_down",
        PROBABLE,
    ),
    "the node's own network is not configured": (
        evidence(
            proxy(UNREACHED),
            node_part=nodes(
                replace(
                    node(),
                    conditions=(
                        Condition(type="Ready", status="True", changed_at=T - 9000),
                        Condition(
                            type="NetworkUnavailable",
                            status="True",
                            reason="CalicoIsDown",
                            message="Calico is shutting down on this node",
                            changed_at=T - 5,
                        ),
                    ),
                )
            ),
        ),
        "node/network_down",
        PROBABLE,
    ),
    "a node's clock is a minute behind: its lease looks old": (
        evidence(proxy(RESET), node_part=nodes(node(lease_renewed_at=T + 12 - 66))),
        "communication/connection_reset",
        CERTAIN,
    ),
    "ESXi's up time counts from the agent's first contact, and the node lives": (
        evidence(
            proxy(RESET),
            node_part=nodes(node(**LIVES)),
            vm_part=vms(
                vm(up_seconds=None),
                hypervisors=(hypervisor(up_seconds=14.0, agent_up_seconds=13.0),),
            ),
        ),
        "communication/connection_reset",
        CERTAIN,
    ),
    "the VM was paused after the outage": (
        over(
            evidence(
                proxy(RESET),
                vm_part=vms(
                    vm(VmOperState.PAUSED), notifications=(notification("vmPaused", T + 100),)
                ),
            ),
            15,
            110,
        ),
        "communication/connection_reset",
        PROBABLE,
    ),
    "the VM is paused since twenty minutes, and so is the site": (
        lasting(evidence(proxy(UNREACHED), vm_part=vms(vm(VmOperState.PAUSED))), 1200),
        "node/vm_not_running",
        CERTAIN,
    ),
    # Yesterday
    "yesterday's outage, seen with today's troubles": (
        over(
            evidence(
                proxy(RESET),
                pod_part=pods(crash_looping(0, T + 80000, T + 86300)),
                node_part=nodes(node("Unknown", changed_at=T + 80000)),
                vm_part=vms(vm(VmOperState.PAUSED)),
            ),
            45,
            86400,
        ),
        "communication/connection_reset",
        PROBABLE,
    ),
    "yesterday's outage, and the pod still tells what ended it": (
        over(evidence(proxy(RESET), pod_part=pods(oom(0))), 45, 86400),
        "pod/oom_killed",
        CERTAIN,
    ),
    "yesterday's outage, and its hypervisor is silent now": (
        over(
            evidence(
                proxy(UNREACHED),
                node_part=nodes(node("Unknown", changed_at=T + 80000)),
                vm_part=SILENT_AGENT,
            ),
            45,
            86400,
        ),
        "node/unknown",
        POSSIBLE,
    ),
    # Asked for by people and alerts: the time is not exact
    "a person names the minute, the VM was paused in it": (
        manual(
            evidence(
                proxy(replace(UNREACHED, time=T - 38)),
                vm_part=vms(
                    vm(),
                    notifications=(
                        notification("vmPaused", T - 40),
                        notification("vmRunning", T - 20),
                    ),
                ),
            ),
            Trigger.MANUAL,
        ),
        "node/vm_not_running",
        CERTAIN,
    ),
    "an alert that waited three minutes": (
        manual(
            evidence(proxy(replace(RESET, time=T - 181)), pod_part=pods(oom(0, T - 182))),
            Trigger.ALERTMANAGER,
        ),
        "pod/oom_killed",
        CERTAIN,
    ),
    # The proxy's lines
    "404 by the application": (
        evidence(proxy(request(status=404)), app_part=app(access(404)), status=404),
        "application/http_status",
        CERTAIN,
    ),
    "301 by the application, where 200 is good": (
        evidence(proxy(request(status=301)), app_part=app(access(301)), status=301),
        "application/http_status",
        CERTAIN,
    ),
    "301 by the route itself": (
        evidence(proxy(request("", "direct_response", status=301, upstream_host=None)), status=301),
        "proxy_configuration/configuration",
        CERTAIN,
    ),
    "401 by the proxy's token check": (
        evidence(
            proxy(
                request(
                    "", "jwt_authn_access_denied{Jwt_is_expired}", status=401, upstream_host=None
                )
            ),
            status=401,
        ),
        "proxy_configuration/authorization_denied",
        CERTAIN,
    ),
    "403 by the application": (
        evidence(proxy(request(status=403)), app_part=app(access(403)), status=403),
        "application/http_status",
        CERTAIN,
    ),
    "429 by the application": (
        evidence(proxy(request(status=429)), app_part=app(access(429)), status=429),
        "application/http_status",
        CERTAIN,
    ),
    "503 by the application while it warms up": (
        evidence(
            proxy(request(status=503)),
            app_part=app(access(503)),
            pod_part=pods(pod(created=T - 20, ready_since=T - 2)),
        ),
        "application/http_status",
        CERTAIN,
    ),
    "504, and the application's answer after it": (
        lasting(
            evidence(
                proxy(TIMEOUT),
                status=504,
                app_part=app(
                    access(200, line=LogLine(time=T + 21, text="200", pod="front/front-0"))
                ),
            ),
            30,
        ),
        "application/slow",
        CERTAIN,
    ),
    "the probe has a time limit of its own": (
        evidence(
            proxy(replace(GIVEN_UP, duration_ms=2985.0)),
            status=0,
            metric=MetricEvidence(look=RAN, probe_seconds=3.0),
        ),
        "application/slow",
        PROBABLE,
    ),
    "the probe gave up while the gateway was connecting": (
        lasting(evidence(proxy(CONNECTING), status=0), 15),
        "communication/connect_failure",
        CERTAIN,
    ),
    "the probe gave up while the gateway was connecting to a paused VM": (
        evidence(proxy(CONNECTING), status=0, vm_part=vms(vm(VmOperState.PAUSED))),
        "node/vm_not_running",
        CERTAIN,
    ),
    "the route's time was up before there was a connection": (
        lasting(evidence(proxy(by_gateway(TIMEOUT, upstream_local=None)), status=504), 30),
        "communication/connect_failure",
        CERTAIN,
    ),
    "the stream's time was up": (
        evidence(
            proxy(request("UMSDR", "upstream_max_stream_duration_reached", status=504)),
            status=504,
        ),
        "application/slow",
        PROBABLE,
    ),
    "reset between gateway and sidecar: the sidecar says 200": (
        evidence(
            proxy(
                by_gateway(RESET, request_id="8c1d22aa-7f2e"),
                request(status=200, request_id="8c1d22aa-7f2e"),
            )
        ),
        "communication/answer_lost",
        PROBABLE,
    ),
    "the gateway knows of no host, and all pods were ready all along": (
        evidence(proxy(by_gateway(NO_HOST)), pod_part=pods(front(0), front(1))),
        "proxy_configuration/configuration",
        PROBABLE,
    ),
    "the service selects nothing, for its port or selector is wrong": (
        evidence(
            proxy(by_gateway(NO_HOST)),
            pod_part=pods(
                front(0, backing=False),
                front(1, backing=False),
                endpoints_ready=0,
                endpoints_not_ready=0,
            ),
        ),
        "pod/missing",
        CERTAIN,
    ),
    "the proxy reset the stream itself": (
        evidence(proxy(request("LR", "upstream_reset_before_response_started{local_reset}"))),
        "communication/connection_reset",
        CERTAIN,
    ),
    "the proxy ran out of ports": (
        evidence(
            proxy(
                request(
                    "UF",
                    "upstream_reset_before_response_started{local_connection_failure|"
                    "cannot_assign_requested_address}",
                    upstream_local=None,
                )
            )
        ),
        "proxy/internal",
        CERTAIN,
    ),
    "the certificates of proxy and pod do not fit": (
        evidence(
            proxy(
                by_gateway(
                    request(
                        "UF",
                        "upstream_reset_before_response_started{remote_connection_failure|"
                        "TLS_error:|268435581:SSL_routines:OPENSSL_internal:"
                        "CERTIFICATE_VERIFY_FAILED:TLS_error_end}",
                    )
                )
            )
        ),
        "proxy_configuration/configuration",
        PROBABLE,
    ),
    "the body was cut short, for the process was OOMKilled": (
        evidence(
            proxy(
                request("UPE", "upstream_reset_after_response_started{protocol_error}", status=200)
            ),
            pod_part=pods(oom(0, T + 0.4)),
            status=0,
        ),
        "pod/oom_killed",
        CERTAIN,
    ),
    "refused, and the application says that it stops": (
        evidence(proxy(REFUSED), app_part=app(STOPPING)),
        "application/not_listening",
        PROBABLE,
    ),
    "the application logged a good answer, and the proxy a reset": (
        evidence(proxy(RESET), app_part=app(access(200))),
        "communication/answer_lost",
        CERTAIN,
    ),
    "the proxy's format shows no user agent": (
        evidence(proxy(request(status=500, match=LIKELY, user_agent=None)), status=500),
        "application/http_status",
        PROBABLE,
    ),
    "others' failures, and an OOMKilled pod": (
        evidence(proxy(replace(RESET, match=OTHER), others_failed=1), pod_part=pods(oom(0))),
        "pod/oom_killed",
        CERTAIN,
    ),
    "503 passed on by the gateway; the sidecar's log could not be read": (
        evidence(
            proxy(
                by_gateway(request(status=503)),
                pods_unread=("front/front-0",),
                look=replace(RAN, problems=("front/front-0: 500",)),
            ),
            app_part=app(),
        ),
        "application/http_status",
        POSSIBLE,
    ),
    "500 to another client only, and our reset": (
        evidence(
            proxy(RESET),
            app_part=app(access(500, match=OTHER, score=0.4), access(200, match=OTHER)),
        ),
        "communication/connection_reset",
        CERTAIN,
    ),
    "a timeout, and the application says what it waited for": (
        evidence(
            proxy(TIMEOUT),
            status=504,
            app_part=app(
                error(
                    0.9, match=Match.OWN, why='what it depends on failed: "pool exhausted"'
                )
            ),
        ),
        "application/error_logged",
        CERTAIN,
    ),
    # The monitor
    "a pair of monitors: one request failed, one did not": (
        evidence(proxy(RESET, request(status=200, time=T + 3))),
        "communication/connection_reset",
        CERTAIN,
    ),
    "a redirect was followed, and failed behind it": (
        evidence(
            proxy(
                request(status=302),
                replace(RESET, path="/login", time=T + 0.6, match=OTHER),
                others_failed=1,
            )
        ),
        "communication/connection_reset",
        CERTAIN,
    ),
    "a redirect led to somewhere else, which answered 500": (
        evidence(proxy(request(status=302), **OTHERS), status=500),
        "monitoring_path/answered_before_proxy",
        PROBABLE,
    ),
    "no sample, the exporter is up, and the proxy answered well": (
        evidence(
            proxy(request(status=200)), status=None, metric=MetricEvidence(look=RAN, up=True)
        ),
        "monitoring_path/answered_well",
        CERTAIN,
    ),
    "no sample, and nothing is wrong anywhere": (
        evidence(proxy(), status=None, metric=MetricEvidence(look=RAN, up=True)),
        "undetermined/no_evidence",
        POSSIBLE,
    ),
    "all targets of the exporter fail at once, others are served": (
        evidence(
            proxy(**OTHERS),
            status=0,
            metric=MetricEvidence(look=RAN, up=True, others_failing=("a", "b", "c")),
        ),
        "monitoring_path/exporter_at_fault",
        PROBABLE,
    ),
    "all targets fail at once, for their VM is paused": (
        evidence(
            proxy(look=failed("no answer from the kubelet")),
            status=0,
            metric=MetricEvidence(look=RAN, up=True, others_failing=("a", "b", "c")),
            vm_part=vms(vm(VmOperState.PAUSED)),
        ),
        "node/vm_not_running",
        CERTAIN,
    ),
    "the exporter could not resolve the name": (
        evidence(
            proxy(**OTHERS),
            status=0,
            metric=MetricEvidence(
                look=RAN, up=True, probe_seconds=5.0, phases=UNRESOLVED, others_good=3
            ),
        ),
        "monitoring_path/not_connected",
        PROBABLE,
    ),
    "the exporter could not connect; nobody else asks this site": (
        evidence(
            proxy(),
            status=0,
            metric=MetricEvidence(
                look=RAN,
                up=True,
                probe_seconds=10.0,
                phases={**UNRESOLVED, "resolve": 0.003},
                others_good=3,
            ),
        ),
        "monitoring_path/not_connected",
        PROBABLE,
    ),
    "the exporter could not connect, for the VM is paused": (
        evidence(
            proxy(look=failed()),
            status=0,
            metric=MetricEvidence(look=RAN, up=True, phases=UNRESOLVED),
            vm_part=vms(vm(VmOperState.PAUSED)),
        ),
        "node/vm_not_running",
        CERTAIN,
    ),
    "a proxy that logs nothing at all proves nothing": (
        evidence(proxy(), status=503),
        "monitoring_path/answered_before_proxy",
        POSSIBLE,
    ),
    "200 after 9.8 s: too late for the probe": (
        evidence(proxy(request(status=200, duration_ms=9800.0)), status=0),
        "application/slow",
        PROBABLE,
    ),
    "the monitor saw 503, the proxy sent 200": (
        evidence(proxy(request(status=200)), status=503),
        "monitoring_path/answered_well",
        PROBABLE,
    ),
    "a fast failure is none of a slow disk's": (
        evidence(
            proxy(look=failed()),
            status=0,
            metric=MetricEvidence(look=RAN, up=True, probe_seconds=0.004),
            vm_part=SLOW_DISK,
        ),
        "node/storage_slow",
        POSSIBLE,
    ),
    "the probe waited until its end, and the disk is slow": (
        evidence(
            proxy(look=failed()),
            status=0,
            metric=MetricEvidence(look=RAN, up=True, probe_seconds=9.5),
            vm_part=SLOW_DISK,
        ),
        "node/storage_slow",
        PROBABLE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_a_careful_person_would_conclude(name: str) -> None:
    given, wanted, confidence = SCENARIOS[name]
    verdict = cascade.decide(given)
    decided = f"{verdict.cause.value}/{verdict.reason}"
    assert (decided, verdict.confidence) == (wanted, confidence), (verdict.title, verdict.unknowns)


def test_blindness_makes_no_scenario_more_certain() -> None:
    """Take any one step's eyes away: what was not certain does not become so."""
    for name, (given, _, confidence) in SCENARIOS.items():
        if confidence is CERTAIN:
            continue
        for step in ("proxy", "app", "pod", "node", "vm"):
            part = getattr(given, step)
            if part.look.outcome is not Outcome.RAN:
                continue
            blind = replace(given, **{step: type(part)(look=failed("no answer"))})
            assert cascade.decide(blind).confidence is not CERTAIN, (name, step)
