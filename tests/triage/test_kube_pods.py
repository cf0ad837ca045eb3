"""Pods in every bad state, as a real cluster gave them; selectors, endpoints, rollouts, values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from tests.triage.kube_setup import FRONT, NODE_DOWN, STATES, pod, recorded
from triage.evidence import ContainerKind, PodState
from triage.kube.pods import identity, read_endpoints, read_pod, read_rollout, read_slices
from triage.kube.recorded import read_folder
from triage.kube.selectors import of_label_selector, of_labels, parse_selector
from triage.kube.values import format_time, parse_nanos, parse_time

PROXY = "istio-proxy"
BOUNDED = bounded(deadline=None, max_examples=60)


def state(name: str) -> PodState:
    return read_pod(recorded(STATES, "Pod", name), PROXY)


def test_healthy_with_sidecar() -> None:
    front = state(FRONT)
    assert (front.phase, front.ready, front.node, front.scheduled) == (
        "Running", True, "node-1", True,
    )  # fmt: skip
    assert front.owner == "ReplicaSet/front-f7c9d7949"
    assert front.hash == "f7c9d7949"
    kinds = {c.name: c.kind for c in front.containers}
    assert kinds == {"app": ContainerKind.APP, "istio-proxy": ContainerKind.PROXY}
    app = front.containers[0]
    assert app.restarts == 1
    assert app.last is not None
    assert (app.last.reason, app.last.exit_code) == ("Error", 1)
    assert app.last.finished_at == pytest.approx(1795305156)


@pytest.mark.parametrize(
    ("name", "phase", "container", "which", "reason"),
    [
        ("oom", "Running", "app", "waiting", "CrashLoopBackOff"),
        ("crash", "Running", "app", "waiting", "CrashLoopBackOff"),
        ("exit1", "Failed", "app", "terminated", "Error"),
        ("completed", "Succeeded", "app", "terminated", "Completed"),
        ("imagepull", "Pending", "app", "waiting", "ImagePullBackOff"),
        ("nevpull", "Pending", "app", "waiting", "ErrImageNeverPull"),
        ("noconfig", "Pending", "app", "waiting", "CreateContainerConfigError"),
        ("novolume", "Pending", "app", "waiting", "ContainerCreating"),
        ("badcmd", "Running", "app", "waiting", "CrashLoopBackOff"),
    ],
)
def test_bad_states(name: str, phase: str, container: str, which: str, reason: str) -> None:
    seen = state(name)
    told = next(c for c in seen.containers if c.name == container)
    assert (seen.phase, told.state, told.reason) == (phase, which, reason)
    assert seen.ready is False


def test_terminations() -> None:
    oom = state("oom").containers[0].last
    crash = state("crash").containers[0].last
    assert oom is not None
    assert crash is not None
    assert (oom.reason, oom.exit_code, oom.signal) == ("OOMKilled", 137, 9)
    assert (crash.reason, crash.exit_code, crash.signal) == ("Error", 3, None)
    badcmd = state("badcmd").containers[0].last
    assert badcmd is not None
    assert badcmd.reason == "StartError"
    assert "/no/such/binary" in badcmd.message


def test_init_failing_is_an_init_container() -> None:
    seen = state("initfail")
    migrate, app = seen.containers
    assert (migrate.kind, migrate.name) == (ContainerKind.INIT, "migrate")
    ended = migrate.current or migrate.last
    assert ended is not None
    assert ended.exit_code == 4
    assert app.state == "waiting"
    assert seen.not_ready_reason.startswith("ContainersNotInitialized: ")


def test_unschedulable_evicted_deleting() -> None:
    waiting = state("unsched")
    assert waiting.scheduled is False
    assert waiting.node == ""
    assert waiting.not_ready_reason.startswith("Unschedulable: 0/1 nodes are available")
    evicted = state("evicted")
    assert (evicted.phase, evicted.reason) == ("Failed", "Evicted")
    assert "exceeds" in evicted.message
    leaving = recorded(STATES, "Pod", "deleting")
    deleted = read_pod(leaving, PROXY).deleted
    asked = parse_time(leaving["metadata"]["deletionTimestamp"])
    assert asked is not None
    assert deleted == asked - 600


def test_unready_says_why() -> None:
    seen = state("unready")
    assert (seen.phase, seen.ready) == ("Running", False)
    assert seen.not_ready_reason.startswith("ContainersNotReady: ")


def test_replacement_of_a_pod_on_a_dead_node() -> None:
    old = read_pod(recorded(NODE_DOWN, "Pod", FRONT), PROXY)
    assert (old.phase, old.ready, old.node) == ("Running", False, "node-1")
    assert old.deleted is not None


def test_native_sidecar_and_debug_container() -> None:
    seen = read_pod(
        pod(
            "a",
            spec={
                "containers": [{"name": "app"}],
                "initContainers": [
                    {"name": "setup"},
                    {"name": "istio-proxy", "restartPolicy": "Always"},
                    {"name": "shipper", "restartPolicy": "Always"},
                ],
                "ephemeralContainers": [{"name": "debug"}],
            },
            status={
                "initContainerStatuses": [
                    {"name": "istio-proxy", "ready": True, "state": {"running": {}}}
                ],
            },
        ),
        PROXY,
    )
    assert {c.name: c.kind for c in seen.containers} == {
        "setup": ContainerKind.INIT,
        "istio-proxy": ContainerKind.PROXY,
        "shipper": ContainerKind.APP,
        "app": ContainerKind.APP,
    }
    assert next(c for c in seen.containers if c.name == "istio-proxy").state == "running"


def test_readiness_gate_names_itself() -> None:
    seen = read_pod(
        pod(
            "a",
            spec={"readinessGates": [{"conditionType": "lb.example/attached"}]},
            status={
                "conditions": [
                    {"type": "ContainersReady", "status": "True"},
                    {"type": "lb.example/attached", "status": "False", "reason": "Waiting"},
                    {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"},
                ]
            },
        ),
        PROXY,
    )
    assert seen.not_ready_reason == "Waiting"


def test_identity_tells_no_state() -> None:
    known = identity(state(FRONT))
    assert (known.name, known.node, known.ready, known.phase) == (FRONT, "node-1", None, "")
    assert known.containers == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["metadata", "spec", "status", "containers", "containerStatuses", "conditions", "state",
     "lastState", "terminated", "ownerReferences", "endpoints", "subsets", "addresses", "labels",
     "deletionTimestamp", "initContainers", "targetRef", "replicas"]
)  # fmt: skip
ODD = st.recursive(
    JSON,
    lambda inner: st.dictionaries(FIELDS, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=20,
)


@BOUNDED
@given(st.dictionaries(FIELDS, ODD, max_size=5))
def test_no_object_is_too_odd(item: dict[str, Any]) -> None:
    assert read_pod(item, PROXY).gone is False
    assert read_slices([item]).ready_count >= 0
    assert read_endpoints(item).ready_count >= 0
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        assert read_rollout(item, kind, [item]).kind == kind


# What backs a service


def test_endpoints_and_slices_agree() -> None:
    for name in ("front", "nobody", "roll", "unready"):
        endpoints = read_endpoints(recorded(STATES, "Endpoints", name))
        slices = read_slices(
            i
            for i in read_folder(STATES)
            if i["kind"] == "EndpointSlice"
            and i["metadata"]["labels"]["kubernetes.io/service-name"] == name
        )
        assert endpoints == slices, name
    assert read_endpoints(recorded(STATES, "Endpoints", "front")).ready == {FRONT}
    unready = read_endpoints(recorded(STATES, "Endpoints", "unready"))
    assert (unready.ready_count, unready.not_ready_count) == (0, 1)
    assert unready.backing("unready") is False


def test_two_families_count_once() -> None:
    def endpoint(address: str) -> dict[str, Any]:
        ref = {"kind": "Pod", "name": "a"}
        return {"addresses": [address], "conditions": {"ready": None}, "targetRef": ref}

    both = [{"endpoints": [endpoint("10.0.0.1")]}, {"endpoints": [endpoint("2001:db8::1")]}]
    assert read_slices(both).ready_count == 1


def test_addresses_without_pods_are_counted() -> None:
    found = read_endpoints({"subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]}]})
    assert (found.ready_count, found.ready) == (2, frozenset())


# Rollouts


def test_rollout_that_does_not_get_on() -> None:
    sets = [i for i in read_folder(STATES) if i["kind"] == "ReplicaSet"]
    rollout = read_rollout(recorded(STATES, "Deployment", "roll"), "Deployment", sets)
    assert rollout.in_progress
    assert (rollout.desired, rollout.updated, rollout.ready) == (2, 1, 2)
    assert "is progressing" in rollout.message
    assert rollout.changed_at == pytest.approx(1795305123)


def test_failing_pods_are_no_rollout() -> None:
    rollout = read_rollout(recorded(NODE_DOWN, "Deployment", "front"), "Deployment")
    assert (rollout.available, rollout.desired) == (0, 1)
    assert not rollout.in_progress


@pytest.mark.parametrize(
    ("name", "kind", "desired"),
    [("scaled", "Deployment", 0), ("db", "StatefulSet", 1), ("agent", "DaemonSet", 1)],
)
def test_settled_workloads(name: str, kind: str, desired: int) -> None:
    pods = [i for i in read_folder(STATES) if i["kind"] == "Pod"]
    rollout = read_rollout(recorded(STATES, kind, name), kind, pods)
    assert (rollout.desired, rollout.in_progress) == (desired, False)
    if kind != "Deployment":
        assert rollout.changed_at is not None


@pytest.mark.parametrize(
    ("status", "rolling"),
    [
        ({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3}, True),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1}, True),
        ({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3}, True),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3}, False),
    ],
)
def test_deployment_turning(status: dict[str, Any], rolling: bool) -> None:
    item = {"metadata": {"name": "x", "generation": 2}, "spec": {"replicas": 3}, "status": status}
    assert read_rollout(item, "Deployment").in_progress is rolling


def test_stateful_set_rolling_unless_on_delete() -> None:
    status = {
        "replicas": 3, "readyReplicas": 3, "updatedReplicas": 1,
        "currentRevision": "db-1", "updateRevision": "db-2",
    }  # fmt: skip
    item: dict[str, Any] = {"metadata": {"name": "db"}, "spec": {"replicas": 3}, "status": status}
    assert read_rollout(item, "StatefulSet").in_progress
    item["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert not read_rollout(item, "StatefulSet").in_progress


# Selectors


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b, c!=d", {"a": "b"}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (x, y),!z", {"a": "y"}, True),
        ("a notin (x,y)", {}, True),
        ("a notin (x,y)", {"a": "x"}, False),
        ("app.kubernetes.io/name", {"app.kubernetes.io/name": ""}, True),
        ("a=", {"a": ""}, True),
        ("!a", {"a": "1"}, False),
    ],
)
def test_selector(text: str, labels: dict[str, str], fits: bool) -> None:
    assert parse_selector(text).matches(labels) is fits


@pytest.mark.parametrize("text", ["=b", "a in b", "a b", "a in (x", "a~b", "a,,"])
def test_bad_selector(text: str) -> None:
    if text == "a,,":
        text = "a,,b"
    with pytest.raises(ValueError, match="not a label selector"):
        parse_selector(text)


NAME = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True).filter(
    lambda n: n not in ("in", "notin")
)


@BOUNDED
@given(st.dictionaries(NAME, NAME, max_size=4), st.dictionaries(NAME, NAME, max_size=4))
def test_map_selector_fits_supersets_only(wanted: dict[str, str], labels: dict[str, str]) -> None:
    fits = parse_selector(of_labels(wanted)).matches(labels)
    assert fits is all(labels.get(k) == v for k, v in wanted.items())


def test_label_selector_object() -> None:
    text = of_label_selector(
        {
            "matchLabels": {"a": "b"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["web", "api"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }
    )
    selector = parse_selector(text)
    assert selector.matches({"a": "b", "tier": "api"})
    assert not selector.matches({"a": "b", "tier": "api", "old": "1"})
    assert not selector.matches({"a": "b"})


# Values


@BOUNDED
@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))
def test_times_come_back(moment: datetime) -> None:
    text = moment.isoformat(timespec="microseconds") + "Z"
    nanos = parse_nanos(text)
    assert nanos is not None
    exact = moment.replace(tzinfo=UTC)
    assert nanos // 1000 == int(exact.timestamp()) * 10**6 + exact.microsecond
    assert (parse_time(format_time(int(exact.timestamp()))) or 0) == int(exact.timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-21T23:52:36Z", 1795305156.0),
        ("2026-11-22T00:52:36+01:00", 1795305156.0),
        ("2026-11-21T23:52:36.5Z", 1795305156.5),
        ("2026-11-21T23:52:36.123456789Z rest of a line", 1795305156.123456789),
        ("2016-12-31T23:59:60Z", 1483228799.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == pytest.approx(seconds)


@BOUNDED
@given(st.text(max_size=40) | st.integers() | st.none())
def test_no_time_is_too_odd(value: object) -> None:
    assert parse_time(value) is None or isinstance(value, str)


def test_recordings_hold_no_machine() -> None:
    for folder in (STATES, NODE_DOWN):
        text = json.dumps(read_folder(folder))
        assert "/root" not in text
        assert "/tmp" not in text
