from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.triage.scene import (
    HEALTHY_POD,
    NO_HOST,
    NOISE,
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
from triage.cascade.causes import MEANING, REASONS
from triage.cascade.flag_aware import BEYOND_DOUBT
from triage.evidence import (
    AppLine,
    Cause,
    Confidence,
    ContainerKind,
    Evidence,
    Look,
    Match,
    MetricEvidence,
    Outcome,
    Policy,
    ProxyRequest,
    ProxyRole,
    Rollout,
    Sample,
    Step,
    Trigger,
    VmCpu,
    VmDisk,
    VmNic,
    VmOperState,
)

OTHER = Match.OTHER
CERTAIN, PROBABLE, POSSIBLE = Confidence.CERTAIN, Confidence.PROBABLE, Confidence.POSSIBLE


def waiting(reason: str, **more: object) -> Evidence:
    return evidence(
        proxy(NO_HOST),
        pod_part=pods(pod(container("waiting", reason, **more), ready=False, ready_since=T - 1)),
    )


def with_vm(state: VmOperState = VmOperState.RUNNING, **more: object) -> Evidence:
    return evidence(proxy(UNREACHED), vm_part=vms(vm(state, **more)))


def without_vm(*answers: tuple[str, bool], ready: str = "Unknown", known: str = "") -> Evidence:
    return evidence(
        proxy(UNREACHED),
        node_part=nodes(node(ready)),
        vm_part=vms(
            missing=("worker-1",),
            last_known={"worker-1": known} if known else {},
            hypervisors=tuple(hypervisor(name, answered=up) for name, up in answers),
        ),
    )


def denied(*answers: tuple[str, bool]) -> Evidence:
    """The hypervisor that had the VM answers, and not to us; of others whether they are silent."""
    line = "kvm1: the agent knows no user triage"
    others = tuple(hypervisor(name, answered=not silent) for name, silent in answers)
    return evidence(
        proxy(UNREACHED),
        node_part=nodes(node("Unknown")),
        vm_part=vms(
            look=replace(RAN, problems=(line,)),
            missing=("worker-1",),
            last_known={"worker-1": "kvm1"},
            hypervisors=(
                hypervisor("kvm1", answered=False, silent=False, problem=line),
                *others,
            ),
        ),
    )


CASES: dict[str, tuple[Evidence, Cause, str, Confidence]] = {
    # The proxy's own word
    "answered well": (
        evidence(proxy(request(status=200)), status=0),
        Cause.MONITORING_PATH,
        "answered_well",
        CERTAIN,
    ),
    "cut short is no success": (
        evidence(proxy(request("UPE", "via_upstream", status=200))),
        Cause.COMMUNICATION,
        "protocol_error",
        CERTAIN,
    ),
    "client gone at once": (
        evidence(proxy(request("DC", "downstream_remote_disconnect", status=0)), status=0),
        Cause.CLIENT,
        "client_gone",
        CERTAIN,
    ),
    "the probe gave up": (
        evidence(
            proxy(
                request("DC", "downstream_remote_disconnect", status=0, duration_ms=9500.0),
            ),
            status=0,
        ),
        Cause.APPLICATION,
        "slow",
        PROBABLE,
    ),
    "no route": (
        evidence(proxy(request("NR", "route_not_found", status=404, upstream_host=None))),
        Cause.PROXY_CONFIGURATION,
        "no_route",
        CERTAIN,
    ),
    "no cluster": (
        evidence(proxy(request("NC", "cluster_not_found", upstream_host=None))),
        Cause.PROXY_CONFIGURATION,
        "cluster_not_found",
        CERTAIN,
    ),
    "rbac": (
        evidence(
            proxy(request("", "rbac_access_denied_matched_policy[ns[front]-policy[x]]", status=403))
        ),
        Cause.PROXY_CONFIGURATION,
        "rbac_denied",
        CERTAIN,
    ),
    "rate limit": (
        evidence(proxy(request("RL", "local_rate_limited", status=429))),
        Cause.PROXY_CONFIGURATION,
        "rate_limited",
        CERTAIN,
    ),
    "fault filter": (
        evidence(proxy(request("FI", "fault_filter_abort"))),
        Cause.PROXY_CONFIGURATION,
        "fault_injected",
        CERTAIN,
    ),
    "circuit breaker": (
        evidence(proxy(request("UO", "upstream_reset_before_response_started{overflow}"))),
        Cause.PROXY,
        "overload",
        CERTAIN,
    ),
    "malformed request": (
        evidence(proxy(request("DPE", "http1.codec_error", status=400, upstream_host=None))),
        Cause.CLIENT,
        "protocol_error",
        CERTAIN,
    ),
    # Application and communication
    "app answered 500": (
        evidence(proxy(request(status=500)), app_part=app(access(500)), status=500),
        Cause.APPLICATION,
        "http_status",
        CERTAIN,
    ),
    "app answered, log silent": (
        evidence(proxy(request(status=500)), status=500),
        Cause.APPLICATION,
        "http_status",
        CERTAIN,
    ),
    "app answered, log unread": (
        evidence(proxy(request(status=500)), app_part=app(look=failed("403")), status=500),
        Cause.APPLICATION,
        "http_status",
        PROBABLE,
    ),
    "app says 200, proxy 503": (
        evidence(proxy(request()), app_part=app(access(200))),
        Cause.COMMUNICATION,
        "answer_lost",
        PROBABLE,
    ),
    "reset, all else healthy": (
        evidence(proxy(RESET)),
        Cause.COMMUNICATION,
        "connection_reset",
        CERTAIN,
    ),
    "reset, only noise": (
        evidence(proxy(RESET), app_part=app(NOISE, access(405, method="HEAD", match=OTHER))),
        Cause.COMMUNICATION,
        "connection_reset",
        CERTAIN,
    ),
    "reset with a traceback": (
        evidence(proxy(RESET), app_part=app(error(match=Match.OWN))),
        Cause.APPLICATION,
        "error_logged",
        CERTAIN,
    ),
    "timeout": (evidence(proxy(TIMEOUT)), Cause.APPLICATION, "slow", PROBABLE),
    "refused, all healthy": (
        evidence(proxy(REFUSED)),
        Cause.COMMUNICATION,
        "connect_failure",
        CERTAIN,
    ),
    # Who asked
    "others' lines only": (
        evidence(proxy(replace(RESET, match=OTHER), others_failed=1)),
        Cause.COMMUNICATION,
        "connection_reset",
        PROBABLE,
    ),
    "others' 404 is nobody's fault": (
        evidence(
            proxy(request(status=404, match=OTHER), others_failed=1), status=0, vm_part=vms(vm())
        ),
        Cause.UNDETERMINED,
        "no_evidence",
        POSSIBLE,
    ),
    "not seen by the proxy": (
        evidence(proxy(request(status=200, match=OTHER)), status=0),
        Cause.MONITORING_PATH,
        "not_seen_by_proxy",
        PROBABLE,
    ),
    "answered before the proxy": (
        evidence(proxy(others=20), status=502),
        Cause.MONITORING_PATH,
        "answered_before_proxy",
        PROBABLE,
    ),
    "exporter down": (
        evidence(proxy(), status=None, metric=MetricEvidence(look=RAN, up=False)),
        Cause.MONITORING_PATH,
        "exporter_down",
        CERTAIN,
    ),
    "proxy line as trigger": (
        evidence(proxy(replace(RESET, match=OTHER)), trigger=Trigger.PROXY_LOG),
        Cause.COMMUNICATION,
        "connection_reset",
        CERTAIN,
    ),
    # Pod
    "oom killed, running again": (
        evidence(
            proxy(RESET),
            pod_part=pods(
                pod(
                    container(last=ended("OOMKilled", 137), started_at=T + 1, restarts=1),
                    ready_since=T + 2,
                )
            ),
        ),
        Cause.POD,
        "oom_killed",
        CERTAIN,
    ),
    "crash loop": (
        waiting("CrashLoopBackOff", last=ended("Error", 1)),
        Cause.POD,
        "crash_loop",
        CERTAIN,
    ),
    "crash loop of memory": (
        waiting("CrashLoopBackOff", last=ended("OOMKilled", 137)),
        Cause.POD,
        "oom_killed",
        CERTAIN,
    ),
    "image": (waiting("ImagePullBackOff"), Cause.POD, "image", CERTAIN),
    "container config": (
        waiting("CreateContainerConfigError"),
        Cause.POD,
        "container_config",
        CERTAIN,
    ),
    "init fails": (
        waiting("CrashLoopBackOff", kind=ContainerKind.INIT, last=ended("Error", 2)),
        Cause.POD,
        "init_failed",
        CERTAIN,
    ),
    "crashed": (
        evidence(
            proxy(REFUSED),
            pod_part=pods(
                pod(container("terminated", "Error", current=ended("Error", 1)), ready=False)
            ),
        ),
        Cause.POD,
        "crashed",
        CERTAIN,
    ),
    "liveness": (
        evidence(
            proxy(REFUSED),
            pod_part=pods(
                pod(
                    container(last=ended("Error", 137), started_at=T + 1, restarts=1),
                    ready_since=T + 3,
                ),
                events=(
                    event("Killing", "Container app failed liveness probe, will be restarted"),
                ),
            ),
        ),
        Cause.POD,
        "liveness_killed",
        CERTAIN,
    ),
    "readiness": (
        evidence(
            proxy(NO_HOST),
            pod_part=pods(
                pod(ready=False, ready_since=T - 3, not_ready_reason="ContainersNotReady"),
                events=(event("Unhealthy", "Readiness probe failed: HTTP 500", T - 4),),
            ),
        ),
        Cause.POD,
        "not_ready",
        PROBABLE,
    ),
    "unschedulable": (
        evidence(
            proxy(NO_HOST),
            pod_part=pods(
                pod(phase="Pending", scheduled=False, ready=None, node="", created=T - 4),
                events=(event("FailedScheduling", "0/3 nodes are available"),),
            ),
        ),
        Cause.POD,
        "unschedulable",
        CERTAIN,
    ),
    "evicted": (
        evidence(
            proxy(NO_HOST),
            pod_part=pods(pod(phase="Failed", reason="Evicted", ready=False, ready_since=T - 3)),
        ),
        Cause.POD,
        "evicted",
        CERTAIN,
    ),
    "deleted": (
        evidence(proxy(RESET), pod_part=pods(pod(deleted=T - 1))),
        Cause.POD,
        "deleted",
        CERTAIN,
    ),
    "no pod": (
        evidence(
            proxy(NO_HOST),
            pod_part=pods(rollouts=(Rollout(kind="Deployment", name="front", desired=0),)),
        ),
        Cause.POD,
        "missing",
        CERTAIN,
    ),
    "rollout": (
        evidence(
            proxy(NO_HOST),
            pod_part=pods(
                pod(),
                rollouts=(
                    Rollout(
                        kind="Deployment",
                        name="front",
                        desired=3,
                        ready=1,
                        in_progress=True,
                        changed_at=T - 2,
                    ),
                ),
            ),
        ),
        Cause.POD,
        "rollout",
        PROBABLE,
    ),
    # Node and VM
    "paused": (with_vm(VmOperState.PAUSED), Cause.NODE, "vm_not_running", CERTAIN),
    "crashed VM": (with_vm(VmOperState.CRASHED), Cause.NODE, "vm_not_running", CERTAIN),
    "migrating": (with_vm(VmOperState.MIGRATING), Cause.NODE, "vm_not_running", PROBABLE),
    "VM restarted": (with_vm(up_seconds=10.0), Cause.NODE, "vm_restarted", CERTAIN),
    "was paused": (
        evidence(
            proxy(UNREACHED),
            vm_part=vms(
                vm(),
                notifications=(notification("vmPaused", T - 2), notification("vmRunning", T + 5)),
            ),
        ),
        Cause.NODE,
        "vm_not_running",
        CERTAIN,
    ),
    "was paused long before": (
        evidence(
            proxy(RESET),
            vm_part=vms(
                vm(),
                notifications=(
                    notification("vmPaused", T - 900),
                    notification("vmRunning", T - 800),
                ),
            ),
        ),
        Cause.COMMUNICATION,
        "connection_reset",
        CERTAIN,
    ),
    "hypervisor restarted": (
        evidence(
            proxy(UNREACHED),
            vm_part=vms(vm(up_seconds=5.0), hypervisors=(hypervisor(up_seconds=14.0),)),
        ),
        Cause.NODE,
        "hypervisor_restarted",
        CERTAIN,
    ),
    "agent is new, the VM is not": (
        evidence(proxy(RESET), vm_part=vms(vm(), hypervisors=(hypervisor(up_seconds=14.0),))),
        Cause.COMMUNICATION,
        "connection_reset",
        CERTAIN,
    ),
    "VM gone": (without_vm(("esx1", True), known="esx1"), Cause.NODE, "vm_missing", CERTAIN),
    "VM never seen": (without_vm(("esx1", True)), Cause.NODE, "vm_missing", PROBABLE),
    "its hypervisor silent": (
        without_vm(("esx1", False), ("esx2", True), known="esx1"),
        Cause.NODE,
        "hypervisor_unreachable",
        CERTAIN,
    ),
    "its hypervisor denies, the other is silent": (
        denied(("esx1", False), ("esx2", True)),
        Cause.NODE,
        "kubelet_not_ready",
        PROBABLE,
    ),
    "hypervisor behind its agent": (
        with_vm(VmOperState.UNKNOWN),
        Cause.NODE,
        "hypervisor_unreachable",
        PROBABLE,
    ),
    "starved": (
        evidence(
            proxy(TIMEOUT),
            vm_part=vms(vm(cpu=VmCpu(vcpus=2, usage=0.99, host_load=0.99, host_cpus=8))),
        ),
        Cause.NODE,
        "cpu_starved",
        PROBABLE,
    ),
    "storage": (
        evidence(
            proxy(TIMEOUT),
            vm_part=vms(vm(disks=(VmDisk(index=1, name="sda", write_latency_ms=2400.0),))),
        ),
        Cause.NODE,
        "storage_slow",
        PROBABLE,
    ),
    "tap down": (
        evidence(
            proxy(UNREACHED),
            vm_part=vms(vm(nics=(VmNic(index=1, if_index=12, name="vnet3", oper_up=False),))),
        ),
        Cause.NODE,
        "network_down",
        CERTAIN,
    ),
    "kubelet": (
        evidence(proxy(UNREACHED), node_part=nodes(node("Unknown"))),
        Cause.NODE,
        "kubelet_not_ready",
        CERTAIN,
    ),
    "gateway reaches nothing, nobody could look": (
        evidence(
            proxy(UNREACHED),
            node_part=nodes(look=failed("403 Forbidden")),
            vm_part=vms(look=failed("no node UUID")),
        ),
        Cause.NODE,
        "unknown",
        POSSIBLE,
    ),
    # Blind
    "blind": (
        evidence(
            proxy(look=failed()),
            app_part=app(look=failed()),
            pod_part=pods(look=failed()),
            node_part=nodes(look=failed()),
            vm_part=vms(look=failed()),
        ),
        Cause.UNDETERMINED,
        "could_not_look",
        POSSIBLE,
    ),
    "slow, and its log unread": (
        evidence(proxy(TIMEOUT), app_part=app(look=failed())),
        Cause.APPLICATION,
        "slow",
        POSSIBLE,
    ),
    "slow, its log unread, its hypervisor silent": (
        replace(without_vm(("esx1", False)), proxy=proxy(TIMEOUT), app=app(look=failed("kubelet"))),
        Cause.NODE,
        "kubelet_not_ready",
        PROBABLE,
    ),
    "proxy unread, VM paused": (
        evidence(proxy(look=failed()), vm_part=vms(vm(VmOperState.PAUSED))),
        Cause.NODE,
        "vm_not_running",
        CERTAIN,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cause_is_named(name: str) -> None:
    given_evidence, cause, reason, confidence = CASES[name]
    verdict = cascade.decide(given_evidence)
    assert (verdict.cause, verdict.reason, verdict.confidence) == (cause, reason, confidence), (
        verdict.title,
        verdict.unknowns,
    )
    assert verdict.title
    assert verdict.summary.endswith(".")


def test_every_cause_and_reason_is_documented_and_shown() -> None:
    assert set(MEANING) == set(REASONS) == set(Cause)
    shown = {(cause, reason) for _, cause, reason, _ in CASES.values()}
    assert all(reason in REASONS[cause] for cause, reason in shown)
    assert {cause for cause, _ in shown} == set(Cause)


def test_the_deeper_layer_explains_the_shallower_one() -> None:
    """A paused VM takes its pod and kubelet along: all three show, and the VM is the cause."""
    given_evidence = evidence(
        proxy(UNREACHED),
        pod_part=pods(pod(ready=False, ready_since=T + 5)),
        node_part=nodes(node("Unknown")),
        vm_part=vms(vm(VmOperState.PAUSED), notifications=(notification("vmPaused", T - 1),)),
    )
    verdict = cascade.decide(given_evidence)
    assert verdict.title == "node: VM paused"
    texts = [proof.text for proof in verdict.proofs]
    assert "VM-MIB::vmOperState.3 = INTEGER: paused" in texts
    assert any(text.startswith("vmPaused") for text in texts)


def test_only_the_pod_that_was_asked_is_examined() -> None:
    """The sidecar of the healthy pod wrote the line: another pod's crash is not its cause."""
    sick = pod(
        container("waiting", "CrashLoopBackOff", last=ended("Error", 1)),
        name="front-1",
        ip="10.42.0.102",
        ready=False,
    )
    verdict = cascade.decide(evidence(proxy(RESET), pod_part=pods(pod(), sick)))
    assert verdict.reason == "connection_reset"
    through_gateway = replace(
        RESET, role=ProxyRole.GATEWAY, pod="istio-system/gw", upstream_host="10.42.0.102:8000"
    )
    verdict = cascade.decide(evidence(proxy(through_gateway), pod_part=pods(pod(), sick)))
    assert verdict.reason == "crash_loop"


@pytest.mark.parametrize("step", ["app", "pod", "node", "vm"])
def test_a_step_that_could_not_look_is_never_healthy(step: str) -> None:
    """What was certain with all steps is so no more, and says what is unknown."""
    whole = evidence(proxy(RESET))
    assert cascade.decide(whole).confidence is CERTAIN
    blind = failed("timed out after 5 s")
    parts = {
        "app": {"app_part": app(look=blind)},
        "pod": {"pod_part": pods(look=blind)},
        "node": {"node_part": nodes(look=blind)},
        "vm": {"vm_part": vms(look=blind)},
    }
    verdict = cascade.decide(evidence(proxy(RESET), **parts[step]))  # type: ignore[arg-type]
    assert verdict.confidence is PROBABLE
    assert verdict.unknowns == (f"{step}: timed out after 5 s",)
    shown = next(one for one in verdict.steps if one.step.value == step)
    assert shown.outcome is Outcome.FAILED
    assert "could not look" in shown.summary


def test_steps_are_taken_one_after_the_other_and_no_more_than_needed() -> None:
    def walk(full: Evidence, policy: Policy = Policy.DEFAULT) -> list[tuple[Step, ...]]:
        seen = replace(
            full,
            gathered=(),
        )
        taken = []
        while due := cascade.next_steps(seen, policy):
            taken.append(due)
            seen = replace(seen, gathered=(*seen.gathered, *due))
        return taken

    first = (Step.METRIC, Step.PROXY)
    everything = [first, (Step.POD,), (Step.APP, Step.NODE), (Step.VM,), (Step.SYSLOG,)]
    assert walk(evidence(proxy(RESET))) == everything
    assert walk(evidence(proxy(look=failed()))) == everything
    assert walk(evidence(proxy(request(status=500)))) == [first, (Step.APP,)]
    assert walk(evidence(proxy(request(status=200)))) == [first]
    assert walk(evidence(proxy(request(status=500))), Policy.PAPER) == [first, (Step.APP,)]
    unreached = request("NC", "cluster_not_found", upstream_host=None)
    assert walk(evidence(proxy(unreached)), Policy.PAPER) == [first, (Step.POD,)]


def test_a_reading_of_now_does_not_explain_an_outage_of_yesterday() -> None:
    """The VM is paused now; the site was well again long before that was asked."""
    old = evidence(
        proxy(RESET), ended_at=T + 30, vm_part=vms(vm(VmOperState.PAUSED, asked_at=T + 86400))
    )
    verdict = cascade.decide(old)
    assert verdict.reason == "connection_reset"


def test_windows_and_lags_are_carried() -> None:
    given_evidence = evidence(
        proxy(request(status=500, time=T - 21)), app_part=app(access(500)), status=500
    )
    verdict = cascade.decide(given_evidence)
    lags = {one.step: one.lag for one in verdict.steps}
    assert lags[Step.PROXY] == pytest.approx(21.0)
    assert lags[Step.APP] == pytest.approx(-21.51)


PAPER: dict[str, tuple[Evidence, Cause]] = {
    "no line": (evidence(proxy()), Cause.UNDETERMINED),
    "upstream, 200": (evidence(proxy(request(status=200))), Cause.MONITORING_PATH),
    "upstream, app says error": (
        evidence(proxy(RESET), app_part=app(NOISE, with_error=5)),
        Cause.APPLICATION,
    ),
    "upstream, app not 200": (
        evidence(proxy(RESET), app_part=app(access(405), non_200=1)),
        Cause.APPLICATION,
    ),
    "upstream, app silent": (evidence(proxy(RESET)), Cause.COMMUNICATION),
    "upstream, app unread": (
        evidence(proxy(RESET), app_part=app(look=failed())),
        Cause.UNDETERMINED,
    ),
    "not upstream, 404": (
        evidence(proxy(request("NR", "route_not_found", status=404))),
        Cause.PROXY,
    ),
    "not upstream, 503, no pod": (
        evidence(proxy(request("NC", "cluster_not_found")), pod_part=pods()),
        Cause.POD,
    ),
    "not upstream, 503, abnormal event": (
        evidence(
            proxy(request("NC", "cluster_not_found")),
            pod_part=replace(HEALTHY_POD, events=(event("BackOff"),)),
        ),
        Cause.POD,
    ),
    "not upstream, 503, pod normal": (
        evidence(proxy(request("NC", "cluster_not_found"))),
        Cause.NODE,
    ),
    "the word, not the truth": (evidence(proxy(NO_HOST), pod_part=pods()), Cause.COMMUNICATION),
}


@pytest.mark.parametrize("name", PAPER)
def test_figure_4_to_the_letter(name: str) -> None:
    given_evidence, cause = PAPER[name]
    verdict = cascade.decide(given_evidence, Policy.PAPER)
    assert verdict.cause is cause
    assert verdict.policy is Policy.PAPER


STANDS = frozenset().union(*BEYOND_DOUBT.values())

_ANY_LOOK = st.sampled_from([RAN, failed(), Look(), replace(RAN, problems=("one pod unread",))])
_LINES = st.lists(
    st.sampled_from([RESET, REFUSED, NO_HOST, UNREACHED, TIMEOUT, request(), request(status=200)]),
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(
    lines=_LINES,
    looks=st.tuples(*[_ANY_LOOK] * 5),
    whose=st.sampled_from(list(Match)),
    status=st.sampled_from([None, 0, 200, 404, 500, 503]),
    policy=st.sampled_from(list(Policy)),
    state=st.sampled_from(list(VmOperState)),
)
def test_any_evidence_is_decided(
    lines: list[object],
    looks: tuple[Look, ...],
    whose: Match,
    status: int | None,
    policy: Policy,
    state: VmOperState,
) -> None:
    """Never raises; from the closed list; certain only with eyes open; the same after a replay."""
    whole = evidence(
        proxy(*(replace(line, match=whose) for line in lines), look=looks[0]),  # type: ignore[type-var]
        app_part=app(look=looks[1]),
        pod_part=pods(pod(), look=looks[2]),
        node_part=nodes(node(), look=looks[3]),
        vm_part=vms(vm(state), look=looks[4]),
        status=status,
    )
    verdict = cascade.decide(whole, policy)
    assert verdict.reason in REASONS[verdict.cause]
    assert [one.step for one in verdict.steps] == list(Step)
    if verdict.confidence is CERTAIN and verdict.reason not in STANDS:
        assert not verdict.unknowns
    again = msgspec.json.decode(msgspec.json.encode(whole), type=Evidence)
    assert cascade.decide(again, policy) == verdict


def test_a_hypervisor_that_denies_is_no_cause_and_rules_nothing_out() -> None:
    for one in (denied(), denied(("esx2", False)), denied(("esx2", True))):
        found = cascade.decide(one)
        assert found.reason == "kubelet_not_ready"
        assert found.unknowns == ("vm: kvm1: the agent knows no user triage",)
        (step,) = [each for each in found.steps if each.step is Step.VM]
        assert "not told by kvm1" in step.summary


RATES = "esx1, VM of worker-1: no rates yet"


@pytest.mark.parametrize(
    ("line", "counts"), [(UNREACHED, False), (REFUSED, False), (RESET, False), (TIMEOUT, True)]
)
def test_rates_that_are_not_known_yet_matter_to_slow_requests(
    line: ProxyRequest, counts: bool
) -> None:
    plain = cascade.decide(evidence(proxy(line)))
    found = cascade.decide(evidence(proxy(line), vm_part=vms(vm(), rates_missing=(RATES,))))
    assert (f"vm: {RATES}" in found.unknowns) is counts
    if not counts:
        assert (found.reason, found.confidence) == (plain.reason, plain.confidence)
        assert found.unknowns == plain.unknowns


def test_an_application_is_away_when_it_stopped_before_or_starts_after() -> None:
    def moved(why: str, time: float) -> AppLine:
        one = error(0.6 if "stops" in why else 0.3, why=f'the application {why}: "..."')
        return replace(one, line=replace(one.line, time=time))

    def reason(*lines: AppLine) -> str:
        return cascade.decide(evidence(proxy(RESET), app_part=app(*lines))).reason

    stop, start = moved("stops", T - 2), moved("starts", T + 3)
    assert reason(stop) == reason(start) == reason(stop, start) == "not_listening"
    assert reason(moved("starts", T - 8)) == "connection_reset"
    assert reason(stop, moved("starts", T - 1)) == "connection_reset"
    assert reason(moved("stops", T + 2)) == "connection_reset"


def test_the_monitors_other_probes_say_nothing_of_the_failed_one() -> None:
    good = request(status=200)
    samples = tuple(Sample(time=T + n, value=503 if n == 0 else 200) for n in (-2, -1, 0, 1))
    case = evidence(proxy(replace(good, time=T - 0.99), replace(good, time=T + 1.01)))
    case = replace(case, anomaly=replace(case.anomaly, samples=samples))
    assert cascade.decide(case).reason != "answered_well"
    own = replace(case, proxy=proxy(replace(good, time=T + 0.1)))
    assert cascade.decide(own).reason == "answered_well"


def test_a_vm_that_ran_again_before_the_first_failed_request_is_not_its_cause() -> None:
    paused = (notification("vmPaused", T - 20), notification("vmRunning", T - 8))
    own = evidence(proxy(RESET), vm_part=vms(vm(), notifications=paused), trigger=Trigger.PROXY_LOG)
    told = replace(own, anomaly=replace(own.anomaly, last_good=None))
    assert cascade.decide(told).cause is Cause.COMMUNICATION
    probed = replace(told, anomaly=replace(told.anomaly, trigger=Trigger.METRIC))
    assert cascade.decide(probed).reason == "vm_not_running"


def test_a_container_that_was_killed_for_memory_was_so_whatever_nobody_looked_at() -> None:
    """Sites without hypervisors in the configuration get certain verdicts, too."""
    case, *_ = CASES["oom killed, running again"]
    unseen = replace(case, vm=vms(look=Look(problems=("no hypervisors are configured",))))
    verdict = cascade.decide(unseen)
    assert (verdict.reason, verdict.confidence) == ("oom_killed", CERTAIN)
    assert verdict.unknowns
