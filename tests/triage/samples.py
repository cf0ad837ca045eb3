"""Made-up incidents, whole: evidence of every step, verdicts, and what was done about them.

`vm_paused()` is the rich one: a front app's pod on worker-1, whose virtual machine somebody pauses
for 77 seconds. Names and addresses are of the documentation ranges.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from triage.evidence import (
    Anomaly,
    AppEvidence,
    AppLine,
    AppLineKind,
    Cause,
    Condition,
    Confidence,
    ContainerKind,
    ContainerState,
    Evidence,
    HypervisorAnswer,
    KubeEvent,
    LogLine,
    Look,
    Match,
    MetricEvidence,
    NodeEvidence,
    NodeState,
    Outcome,
    PodEvidence,
    PodState,
    Policy,
    Proof,
    ProxyEvidence,
    ProxyRequest,
    ProxyRole,
    Rollout,
    Sample,
    Step,
    StepResult,
    Target,
    Trigger,
    Verdict,
    VmAdminState,
    VmCpu,
    VmDisk,
    VmEvidence,
    VmNic,
    VmNotification,
    VmOperState,
    VmState,
    Window,
)
from triage.recording import Decision, Note, Record, Recording

T0 = dt.datetime(2026, 3, 4, 10, 14, 45, 303000, dt.UTC).timestamp()
"""Scrape start of the first bad sample."""
PAUSED = T0 - 3.806
RESUMED = T0 + 73.2
NO_ANSWER = "no answer within 2 s"
SILENT = "the kubelet of worker-1 does not answer (dial tcp 192.0.2.11:10250: i/o timeout)"
EVIL = (
    "\x1b[31mred\x1b[0m\x07 <script>alert(1)</script> \"&' [bold]x[/bold]\r\n\u202eback\x9b2J"
    "<img src=http://evil.example/x> ]]> -->"
)
UUID = "4c4c4544-0042-3510-8054-b7c04f4e3332"

TARGET = Target(
    name="front page",
    url="http://front.example.net/",
    authority="front.example.net",
    namespace="front",
    cluster="main",
)


def samples(until: float) -> tuple[Sample, ...]:
    """A scrape each 15 s; no response while the machine stands still."""
    values: list[tuple[float, float | None]] = [
        (-45.0, 200),
        (-30.0, 200),
        (-15.0, 200),
        (0.0, 0),
        (15.0, 503),
        (30.0, 503),
        (45.0, None),
        (60.0, 503),
        (75.0, 200),
        (90.0, 200),
    ]
    return tuple(Sample(time=T0 + at, value=value) for at, value in values if T0 + at + 1 <= until)


def gateway_line(
    at: float, status: int, flags: str, details: str, ms: int, own: bool
) -> ProxyRequest:
    """An entry of the ingress gateway's access log."""
    stamp = dt.datetime.fromtimestamp(T0 + at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    agent = "Blackbox Exporter/0.25.0" if own else "Mozilla/5.0 (X11; Linux x86_64)"
    path = "/" if own else "/reports?page=2"
    return ProxyRequest(
        time=T0 + at,
        method="GET",
        path=path,
        protocol="HTTP/1.1",
        status=status,
        flags=tuple(flags.split(",")) if flags else (),
        details=details,
        bytes_received=0,
        bytes_sent=91,
        duration_ms=float(ms),
        user_agent=agent,
        request_id="0b5f1c9e-6d1c-4a43-9a55-5d5f8a6a9c11",
        authority="front.example.net",
        upstream_host="198.51.100.21:8000",
        upstream_cluster="outbound|4000||front-app.front.svc.cluster.local",
        role=ProxyRole.GATEWAY,
        pod="istio-system/istio-ingressgateway-7c9d",
        match=Match.OWN if own else Match.OTHER,
        written_at=T0 + at + ms / 1000 + 0.6,
        raw=f'[{stamp}] "GET {path} HTTP/1.1" {status} {flags or "-"} {details} - "-" 0 91 {ms} -'
        f' "192.0.2.50" "{agent}" "0b5f1c9e-6d1c-4a43-9a55-5d5f8a6a9c11" "front.example.net"'
        ' "198.51.100.21:8000" outbound|4000||front-app.front.svc.cluster.local'
        " 198.51.100.4:41822 198.51.100.4:8080 192.0.2.50:51514 - -",
    )


UF = "upstream_reset_before_response_started{connection_timeout}"


def vm_paused_evidence(decided_at: float = T0 + 96.0, *, early: bool = False) -> Evidence:
    """What was seen; `early`: at the first look, 22 s in, when little was to be seen yet."""
    end = T0 + 22 if early else decided_at
    requests: tuple[ProxyRequest, ...] = (
        gateway_line(0.02, 0, "DC", "downstream_remote_disconnect", 9998, own=True),
        gateway_line(15.03, 503, "URX,UF", UF, 4012, own=True),
        gateway_line(30.02, 503, "URX,UF", UF, 4007, own=True),
        gateway_line(60.03, 503, "URX,UF", UF, 4003, own=True),
        gateway_line(-1.4, 503, "URX,UF", UF, 12031, own=False),
        gateway_line(22.8, 503, "URX,UF", UF, 4001, own=False),
        gateway_line(41.5, 503, "URX,UF", UF, 4001, own=False),
    )
    requests = tuple(one for one in requests if one.end <= end)
    taken = tuple(one for one in samples(end))
    return Evidence(
        target=TARGET,
        anomaly=Anomaly(
            target="front page",
            trigger=Trigger.METRIC,
            time=T0,
            status=0,
            last_good=T0 - 15,
            ended=None if early else T0 + 75,
            samples=taken,
            labels={"job": "blackbox", "instance": "http://front.example.net/"},
        ),
        decided_at=end,
        metric=MetricEvidence(
            look=Look(
                outcome=Outcome.RAN,
                source="prometheus http://prometheus.example.net:9090",
                window=Window(start=T0 - 120, end=end, reason="8 scrapes before the first bad one"),
                asked_at=end - 0.4,
            ),
            probe_seconds=10.0,
            phases={"resolve": 0.001, "connect": 0.0008, "processing": 9.998},
            up=True,
            exporter_target="blackbox.monitoring:9115",
            others_good=7,
        ),
        proxy=ProxyEvidence(
            look=Look(
                outcome=Outcome.RAN,
                source="kubernetes main, istio-proxy of 1 gateway and 1 pod",
                window=Window(
                    start=T0 - 2,
                    end=T0 + 12 + 1,
                    reason="[T - e, T + probe timeout 10 s + e], e = 2 s, + flush 1 s",
                ),
                problems=(f"front/front-app-6d4f7-x2x9q/istio-proxy: {SILENT}",),
            ),
            requests=requests,
            own=sum(one.match is Match.OWN for one in requests),
            others=41,
            others_failed=3,
            unparsed=0,
            pods=("istio-system/istio-ingressgateway-7c9d",),
            pods_unread=("front/front-app-6d4f7-x2x9q",),
        ),
        app=AppEvidence(
            look=Look(
                outcome=Outcome.FAILED,
                source="kubernetes main, front/front-app-6d4f7-x2x9q/app",
                window=Window(start=T0 - 60, end=T0 + 12, reason="60 s before the proxy line"),
                problems=(SILENT,),
            )
        ),
        pod=pod_evidence(early=early),
        node=node_evidence(early=early),
        vm=vm_evidence(early=early),
        gathered=tuple(Step),
    )


def pod_evidence(*, early: bool) -> PodEvidence:
    """One pod, that stays Running while its node does not say otherwise."""
    return PodEvidence(
        look=Look(
            outcome=Outcome.RAN,
            source="kubernetes main, service front/front-app",
            window=Window(start=T0 - 75, end=T0 + 96, reason="from 60 s before the fault on"),
        ),
        pods=(
            PodState(
                namespace="front",
                name="front-app-6d4f7-x2x9q",
                uid="7a1c",
                node="worker-1",
                ip="198.51.100.21",
                phase="Running",
                ready=early,
                ready_since=T0 - 86400 if early else T0 + 41.2,
                not_ready_reason="" if early else "NodeNotReady",
                scheduled=True,
                created=T0 - 86460,
                containers=(
                    ContainerState(
                        name="app", ready=True, state="running", started_at=T0 - 86450, restarts=0
                    ),
                    ContainerState(
                        name="istio-proxy",
                        kind=ContainerKind.PROXY,
                        ready=True,
                        state="running",
                        started_at=T0 - 86452,
                    ),
                ),
                owner="ReplicaSet/front-app-6d4f7",
                hash="6d4f7",
                backing=True,
            ),
        ),
        events=()
        if early
        else (
            KubeEvent(
                time=T0 + 41.3,
                type="Warning",
                reason="NodeNotReady",
                message="Node is not ready",
                object="Pod/front/front-app-6d4f7-x2x9q",
            ),
        ),
        rollouts=(
            Rollout(
                kind="Deployment", name="front-app", desired=1, ready=1, updated=1, available=1
            ),
        ),
        service_exists=True,
        endpoints_ready=1 if early else 0,
        endpoints_not_ready=0 if early else 1,
        expected="service front/front-app (app=front)",
    )


def node_evidence(*, early: bool) -> NodeEvidence:
    """worker-1, whose kubelet falls silent."""
    return NodeEvidence(
        look=Look(
            outcome=Outcome.RAN,
            source="kubernetes main, node worker-1",
            window=Window(start=T0 - 75, end=T0 + 96),
        ),
        nodes=(
            NodeState(
                name="worker-1",
                system_uuid=UUID.upper(),
                ready=early,
                conditions=(
                    Condition(
                        type="Ready",
                        status="True" if early else "Unknown",
                        reason="KubeletReady" if early else "NodeStatusUnknown",
                        message="" if early else "Kubelet stopped posting node status.",
                        changed_at=T0 - 900000 if early else T0 + 41.1,
                        heartbeat_at=T0 - 9.1,
                    ),
                    Condition(
                        type="MemoryPressure", status="False", reason="KubeletHasSufficientMemory"
                    ),
                ),
                taints=() if early else ("node.kubernetes.io/unreachable:NoSchedule",),
                lease_renewed_at=T0 - 7.4,
                boot_id="1f0e",
            ),
        ),
        events=()
        if early
        else (
            KubeEvent(
                time=T0 + 41.1,
                reason="NodeNotReady",
                message="Node worker-1 status is now: NodeNotReady",
                object="Node/worker-1",
            ),
            KubeEvent(
                time=T0 + 78.0,
                reason="NodeReady",
                message="Node worker-1 status is now: NodeReady",
                object="Node/worker-1",
            ),
        ),
    )


def vm_evidence(*, early: bool) -> VmEvidence:
    """kvm1 has the machine; esx2 is not there to be asked."""
    if early:
        return VmEvidence(
            look=Look(
                outcome=Outcome.FAILED,
                source="SNMP, 2 hypervisors",
                problems=("kvm1: no answer within 2 s", "esx2: no answer within 2 s"),
            ),
            missing=("worker-1",),
            last_known={"worker-1": "kvm1"},
            hypervisors=(
                HypervisorAnswer(
                    name="kvm1", address="192.0.2.21:161", problem="no answer within 2 s"
                ),
                HypervisorAnswer(
                    name="esx2", address="192.0.2.22:161", problem="no answer within 2 s"
                ),
            ),
        )
    return VmEvidence(
        look=Look(
            outcome=Outcome.RAN,
            source="SNMP, 2 hypervisors",
            window=Window(start=T0 - 17, end=T0 + 96, reason="from the last good probe on"),
            problems=("esx2: no answer within 2 s",),
        ),
        vms=(
            VmState(
                node="worker-1",
                uuid=UUID,
                hypervisor="kvm1",
                vm_index=3,
                name="k3s-worker-1",
                oper_state=VmOperState.PAUSED,
                admin_state=VmAdminState.PAUSED,
                up_seconds=901234.5,
                cpu=VmCpu(vcpus=4, usage=0.0, busiest=0.0, host_load=0.12, host_cpus=32),
                disks=(VmDisk(index=1, name="worker-1.qcow2", reads_per_s=0.0),),
                nics=(VmNic(index=1, if_index=14, name="vnet3", admin_up=True, oper_up=True),),
                asked_at=T0 + 24.9,
                interval=1.0,
            ),
        ),
        last_known={"worker-1": "kvm1"},
        hypervisors=(
            HypervisorAnswer(
                name="kvm1",
                address="192.0.2.21:161",
                answered=True,
                seconds=0.012,
                vm_number=6,
                up_seconds=4000000.0,
                agent_up_seconds=86400.0,
                software="QEMU",
                table_changed_seconds=70000.0,
            ),
            HypervisorAnswer(name="esx2", address="192.0.2.22:161", problem="no answer within 2 s"),
        ),
        notifications=(
            VmNotification(
                time=PAUSED,
                name="vmPaused",
                hypervisor="kvm1",
                sender="192.0.2.21",
                vm_index=3,
                vm_name="k3s-worker-1",
                uuid=UUID,
                state_before=VmOperState.RUNNING,
                text=f"vmPaused: k3s-worker-1 ({UUID}), was running",
            ),
            VmNotification(
                time=RESUMED,
                name="vmRunning",
                hypervisor="kvm1",
                sender="192.0.2.21",
                vm_index=3,
                vm_name="k3s-worker-1",
                uuid=UUID,
                state_before=VmOperState.PAUSED,
                text=f"vmRunning: k3s-worker-1 ({UUID}), was paused",
            ),
        ),
        listening_since=T0 - 500000,
        rows=(
            "VM-MIB::vmOperState.3 = INTEGER: paused(8)",
            "VM-MIB::vmAdminState.3 = INTEGER: paused(3)",
            'VM-MIB::vmName.3 = STRING: "k3s-worker-1"',
        ),
    )


def early_verdict() -> Verdict:
    """What the first look came to."""
    evidence = vm_paused_evidence(early=True)
    return Verdict(
        cause=Cause.NODE,
        reason="hypervisor_unreachable",
        title="node: hypervisor kvm1 does not answer",
        summary="The pod cannot be reached, and kvm1, which had worker-1's VM, does not answer.",
        confidence=Confidence.POSSIBLE,
        policy=Policy.DEFAULT,
        object="hypervisor kvm1",
        steps=(
            StepResult(
                step=Step.METRIC,
                outcome=Outcome.RAN,
                summary="no response at 10:14:45.303Z",
                window=evidence.metric.look.window,
            ),
            StepResult(step=Step.VM, outcome=Outcome.FAILED, summary="no hypervisor answered"),
        ),
        unknowns=("whether worker-1's VM runs: no hypervisor answered",),
        decided_at=T0 + 22,
    )


def final_verdict() -> Verdict:
    """What the last look came to."""
    evidence = vm_paused_evidence()
    return Verdict(
        cause=Cause.NODE,
        reason="vm_not_running",
        title="node: VM paused",
        summary="VM k3s-worker-1 on kvm1, which is node worker-1, was paused at 10:14:41.497Z,"
        " 3.8 s before the first bad sample, and ran again at 10:15:58.503Z.",
        confidence=Confidence.CERTAIN,
        policy=Policy.DEFAULT,
        object="VM k3s-worker-1 on kvm1",
        steps=(
            StepResult(
                step=Step.METRIC,
                outcome=Outcome.RAN,
                summary="no response at first, then 503, from 10:14:45.303Z on; 7 other targets of"
                " the same exporter are good",
                window=evidence.metric.look.window,
            ),
            StepResult(
                step=Step.PROXY,
                outcome=Outcome.RAN,
                summary="the gateway could not connect to 198.51.100.21:8000 (UF), the monitor's"
                " own request among 4; the sidecar's log could not be read",
                window=evidence.proxy.look.window,
                lag=0.02,
            ),
            StepResult(
                step=Step.APP,
                outcome=Outcome.FAILED,
                summary="the kubelet of worker-1 does not answer (dial tcp 192.0.2.11:10250: i/o"
                " timeout)",
                window=evidence.app.look.window,
            ),
            StepResult(
                step=Step.POD,
                outcome=Outcome.RAN,
                summary="front/front-app-6d4f7-x2x9q is Running; not ready since T+41 s"
                " (NodeNotReady); no restarts",
                window=evidence.pod.look.window,
            ),
            StepResult(
                step=Step.NODE,
                outcome=Outcome.RAN,
                summary="worker-1: Ready is Unknown since T+41 s; its lease was last renewed at"
                " T-7.4 s",
                window=evidence.node.look.window,
            ),
            StepResult(
                step=Step.VM,
                outcome=Outcome.RAN,
                summary="k3s-worker-1 on kvm1 is paused; vmPaused received 3.8 s before the first"
                " bad sample",
                window=evidence.vm.look.window,
                lag=3.806,
            ),
        ),
        proofs=(
            Proof(
                step=Step.PROXY,
                time=T0 + 15.03,
                source="istio-system/istio-ingressgateway-7c9d",
                text=gateway_line(15.03, 503, "URX,UF", UF, 4012, own=True).raw,
                deciding=False,
            ),
            Proof(
                step=Step.NODE,
                time=T0 + 41.1,
                source="node worker-1",
                text="Ready=Unknown NodeStatusUnknown: Kubelet stopped posting node status.",
                deciding=False,
            ),
            Proof(
                step=Step.VM,
                time=PAUSED,
                source="notification from kvm1",
                text=evidence.vm.notifications[0].text,
            ),
            Proof(
                step=Step.VM,
                time=T0 + 24.9,
                source="SNMP kvm1",
                text="VM-MIB::vmOperState.3 = INTEGER: paused(8)",
            ),
        ),
        unknowns=(
            "front/front-app-6d4f7-x2x9q's own logs: the kubelet of worker-1 does not answer",
            "esx2: no answer within 2 s",
        ),
        decided_at=T0 + 96,
    )


def vm_paused() -> Recording:
    """The whole incident: two looks, the first of them uncertain."""
    last = final_verdict()
    return Recording(
        record=Record(
            id="20260304-101445-7f3a1c",
            target="front page",
            opened=T0,
            closed=T0 + 75,
            status="resolved",
            severity="critical",
            cause=last.cause,
            reason=last.reason,
            title=last.title,
            confidence=last.confidence,
            object=last.object,
        ),
        looks=(
            Decision(evidence=vm_paused_evidence(early=True), verdict=early_verdict()),
            Decision(evidence=vm_paused_evidence(), verdict=last),
        ),
        notes=(
            Note(time=T0 + 22.1, text="held as pending: possible"),
            Note(time=T0 + 96.2, text="changed: node: VM paused; sent to alertmanager, slack"),
        ),
    )


def hostile() -> Recording:
    """The same, with what a stranger might put into names and lines."""
    evil = EVIL
    whole = vm_paused()
    look = whole.looks[-1]
    request = replace(look.evidence.proxy.requests[0], raw=evil, path=evil, user_agent=evil)
    app = AppEvidence(
        look=Look(outcome=Outcome.RAN, source=evil, problems=(evil,)),
        lines=(
            AppLine(
                line=LogLine(time=T0 - 1, text=evil, pod=evil, container=evil),
                kind=AppLineKind.TEXT,
                score=0.9,
                why=evil,
            ),
        ),
        read=1,
    )
    evidence = replace(
        look.evidence,
        target=replace(look.evidence.target, name=evil, url=evil),
        proxy=replace(look.evidence.proxy, requests=(request,)),
        app=app,
    )
    verdict = replace(
        look.verdict,
        title=evil,
        summary=evil,
        object=evil,
        unknowns=(evil,),
        proofs=(Proof(step=Step.APP, time=T0 - 1, source=evil, text=evil),),
    )
    return Recording(
        record=replace(whole.record, id=evil, target=evil, title=evil, object=evil),
        looks=(Decision(evidence=evidence, verdict=verdict),),
        notes=(Note(time=T0, text=evil),),
    )
