"""Evidence of one outage at a time, in few words: what the tests of the cascade decide on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from triage.evidence import (
    Anomaly,
    AppEvidence,
    AppLine,
    AppLineKind,
    Condition,
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
    ProxyEvidence,
    ProxyRequest,
    ProxyRole,
    Step,
    Target,
    Termination,
    Trigger,
    VmAdminState,
    VmEvidence,
    VmNotification,
    VmOperState,
    VmState,
)

T = 1_752_695_317.0
"""The first bad sample."""
UUID = "564d1f5e-7a3c-4a9b-9d2e-0f1e2d3c4b5a"
RAN = Look(outcome=Outcome.RAN, source="test", asked_at=T + 12)
POD = "front/front-0"


def failed(text: str = "connection refused") -> Look:
    return Look(outcome=Outcome.FAILED, source="test", problems=(text,))


def request(flags: str = "", details: str | None = "via_upstream", **more: Any) -> ProxyRequest:
    """A proxy line of the monitor's request, half a second after the scrape began."""
    base = ProxyRequest(
        time=T + 0.5,
        method="GET",
        path="/",
        status=503,
        flags=tuple(flags.split(",")) if flags else (),
        details=details,
        duration_ms=12.0,
        user_agent="Blackbox Exporter/0.24.0",
        upstream_host="10.42.0.101:8000",
        upstream_local="127.0.0.6:47499",
        downstream_local="10.42.0.101:8000",
        match=Match.OWN,
        pod=POD,
        raw=f'"GET / HTTP/1.1" 503 {flags or "-"} {details}',
    )
    return replace(base, **more)


RESET = request("UC", "upstream_reset_before_response_started{connection_termination}")
REFUSED = request(
    "UF",
    "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_111}",
    upstream_local=None,
)
NO_HOST = request("UH", "no_healthy_upstream", upstream_host=None, upstream_local=None)
UNREACHED = replace(
    request("UF", "upstream_reset_before_response_started{connection_timeout}"),
    role=ProxyRole.GATEWAY,
    pod="istio-system/gateway-0",
    upstream_local=None,
)
TIMEOUT = request("UT", "response_timeout", status=504, duration_ms=15000.0)


def proxy(*requests: ProxyRequest, look: Look = RAN, **more: Any) -> ProxyEvidence:
    own = sum(1 for one in requests if one.match is Match.OWN)
    return ProxyEvidence(
        look=look,
        requests=requests,
        own=own,
        others=more.pop("others", len(requests) - own),
        pods=(POD,),
        **more,
    )


def access(status: int = 200, **more: Any) -> AppLine:
    base = AppLine(
        line=LogLine(
            time=T + 0.51, text=f'"GET / HTTP/1.1" {status}', pod="front/front-0", container="app"
        ),
        kind=AppLineKind.ACCESS,
        method="GET",
        path="/",
        status=status,
        match=Match.OWN,
        score=0.9 if status >= 500 else 0.0,
    )
    return replace(base, **more)


def error(score: float = 0.9, **more: Any) -> AppLine:
    base = AppLine(
        line=LogLine(
            time=T + 0.4, text="Traceback: KeyError", pod="front/front-0", container="app"
        ),
        level="error",
        score=score,
        why="uncaught exception",
    )
    return replace(base, **more)


NOISE = error(0.0, noise="trace exporter", why="")


def app(*lines: AppLine, look: Look = RAN, **more: Any) -> AppEvidence:
    return AppEvidence(
        look=look, lines=lines, read=40, containers=("front/front-0/app",), logs_access=True, **more
    )


def pod(*containers: ContainerState, **more: Any) -> PodState:
    running = ContainerState(
        name="app", ready=True, state="running", started_at=T - 9000, kind=ContainerKind.APP
    )
    base = PodState(
        namespace="front",
        name="front-0",
        node="worker-1",
        ip="10.42.0.101",
        phase="Running",
        ready=True,
        ready_since=T - 9000,
        scheduled=True,
        created=T - 9010,
        containers=containers or (running,),
        backing=True,
    )
    return replace(base, **more)


def container(state: str = "running", reason: str = "", **more: Any) -> ContainerState:
    return ContainerState(
        name=more.pop("name", "app"), state=state, reason=reason, ready=state == "running", **more
    )


def ended(reason: str, code: int, at: float = T - 1) -> Termination:
    return Termination(reason=reason, exit_code=code, started_at=T - 9000, finished_at=at)


def event(reason: str, message: str = "", at: float = T, **more: Any) -> KubeEvent:
    return KubeEvent(
        time=at,
        type=more.pop("type", "Warning"),
        reason=reason,
        message=message,
        object=more.pop("object", "Pod/front/front-0"),
        **more,
    )


def pods(*states: PodState, look: Look = RAN, **more: Any) -> PodEvidence:
    return PodEvidence(
        look=look, pods=states, service_exists=True, expected="service front/front-app", **more
    )


def node(ready: str = "True", **more: Any) -> NodeState:
    conditions = (
        Condition(
            type="Ready",
            status=ready,
            reason="KubeletReady" if ready == "True" else "NodeStatusUnknown",
            changed_at=more.pop("changed_at", T - 9000 if ready == "True" else T + 10),
        ),
    )
    return NodeState(
        name=more.pop("name", "worker-1"),
        system_uuid=UUID,
        ready=ready == "True",
        conditions=conditions,
        **more,
    )


def nodes(*states: NodeState, look: Look = RAN, **more: Any) -> NodeEvidence:
    return NodeEvidence(look=look, nodes=states, **more)


def vm(state: VmOperState = VmOperState.RUNNING, **more: Any) -> VmState:
    base = VmState(
        node="worker-1",
        uuid=UUID,
        hypervisor="esx1",
        vm_index=3,
        name="worker-1",
        oper_state=state,
        admin_state=VmAdminState.RUNNING,
        up_seconds=90000.0,
        asked_at=T + 12,
    )
    return replace(base, **more)


def hypervisor(name: str = "esx1", *, answered: bool = True, **more: Any) -> HypervisorAnswer:
    """One that answered, or else is silent unless told otherwise."""
    return HypervisorAnswer(
        name=name,
        answered=answered,
        silent=more.pop("silent", not answered),
        problem=more.pop("problem", "" if answered else "no answer within 2 s"),
        up_seconds=more.pop("up_seconds", 1e6),
        **more,
    )


def vms(*states: VmState, look: Look = RAN, **more: Any) -> VmEvidence:
    rows = tuple(
        f"VM-MIB::vmOperState.{one.vm_index} = INTEGER: {one.oper_state.value}" for one in states
    )
    return VmEvidence(
        look=look,
        vms=states,
        hypervisors=more.pop("hypervisors", (hypervisor(),)),
        rows=rows,
        listening_since=T - 1e5,
        **more,
    )


def notification(name: str, at: float, **more: Any) -> VmNotification:
    return VmNotification(
        time=at, name=name, hypervisor="esx1", vm_index=3, uuid=UUID, vm_name="worker-1", **more
    )


HEALTHY_APP = app()
HEALTHY_POD = pods(pod())
HEALTHY_NODE = nodes(node())
HEALTHY_VM = vms(vm())


def evidence(
    proxy_part: ProxyEvidence,
    *,
    app_part: AppEvidence = HEALTHY_APP,
    pod_part: PodEvidence = HEALTHY_POD,
    node_part: NodeEvidence = HEALTHY_NODE,
    vm_part: VmEvidence = HEALTHY_VM,
    metric: MetricEvidence | None = None,
    status: int | None = 503,
    trigger: Trigger = Trigger.METRIC,
    ended_at: float | None = None,
) -> Evidence:
    """All six steps gathered; whatever is not given is healthy."""
    return Evidence(
        target=Target(name="doktor", url="http://doktor.example/"),
        anomaly=Anomaly(
            target="doktor",
            trigger=trigger,
            time=T,
            status=status,
            last_good=T - 15,
            ended=ended_at,
        ),
        decided_at=T + 12,
        metric=metric or MetricEvidence(look=RAN),
        proxy=proxy_part,
        app=app_part,
        pod=pod_part,
        node=node_part,
        vm=vm_part,
        gathered=tuple(Step),
    )
