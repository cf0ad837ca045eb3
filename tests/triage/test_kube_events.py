"""Events and nodes, as a real cluster gave them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.triage.kube_setup import DATA, NODE_DOWN, RECORDED_AT, STATES, recorded
from triage.evidence import Window
from triage.kube.events import assigned_node, key_of, read_event, read_events
from triage.kube.nodes import identity, read_node
from triage.kube.recorded import read_folder

ALL = [i for i in read_folder(STATES) if i["kind"] == "Event"]
WHOLE = Window(start=0, end=RECORDED_AT)


def about(kind: str, name: str) -> list[Any]:
    return list(read_events(ALL, WHOLE, {(kind, name)}, limit=1000))


def test_every_recorded_event_has_its_time() -> None:
    assert len(ALL) > 50
    assert all(1795304700 < e.time <= RECORDED_AT for e in read_events(ALL, WHOLE, limit=1000))


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        ("unready", "Unhealthy"),
        ("liveness", "Killing"),
        ("crash", "BackOff"),
        ("unsched", "FailedScheduling"),
        ("evicted", "Evicted"),
        ("novolume", "FailedMount"),
        ("imagepull", "Failed"),
        ("deleting", "Killing"),
    ],
)
def test_reasons(pod: str, reason: str) -> None:
    found = [e for e in about("Pod", pod) if e.reason == reason]
    assert found
    assert found[0].object == f"Pod/demo/{pod}"


def test_counts_and_containers() -> None:
    unhealthy = [e for e in about("Pod", "unready") if e.reason == "Unhealthy"]
    assert max(e.count for e in unhealthy) > 3
    assert unhealthy[0].type == "Warning"
    assert unhealthy[0].container == "spec.containers{app}"
    assert unhealthy[0].first is not None
    assert unhealthy[0].first < unhealthy[0].time


def test_scheduled_names_the_node() -> None:
    raw = [e for e in ALL if e["reason"] == "Scheduled"]
    assert raw[0].get("firstTimestamp") is None  # the scheduler gives an eventTime alone
    assert assigned_node(raw[0]) == "node-1"
    kubelet = next(e for e in ALL if as_component(e) == "kubelet")
    assert assigned_node(kubelet) == "node-1"


def as_component(event: dict[str, Any]) -> str:
    return str((event.get("source") or {}).get("component"))


@pytest.mark.parametrize(
    ("event", "time", "first"),
    [
        ({"eventTime": "1970-01-01T00:00:10.5Z"}, 10.5, 10.5),
        (
            {"firstTimestamp": "1970-01-01T00:00:10Z", "lastTimestamp": "1970-01-01T00:01:00Z"},
            60,
            10,
        ),
        (
            {
                "eventTime": "1970-01-01T00:00:10Z",
                "series": {"count": 9, "lastObservedTime": "1970-01-01T00:02:00Z"},
            },
            120,
            10,
        ),
        ({"metadata": {"creationTimestamp": "1970-01-01T00:00:07Z"}, "eventTime": None}, 7, 7),
    ],
)
def test_event_times(event: dict[str, Any], time: float, first: float) -> None:
    read = read_event(event)
    assert read is not None
    assert (read.time, read.first) == (time, first)
    assert read.count == (9 if "series" in event else 1)


def test_event_without_any_time_is_left_out() -> None:
    assert read_event({"reason": "Odd", "lastTimestamp": 5}) is None


def test_window_and_limit() -> None:
    late = Window(start=RECORDED_AT - 60, end=RECORDED_AT)
    assert 0 < len(read_events(ALL, late, limit=1000)) < len(read_events(ALL, WHOLE, limit=1000))
    few = read_events(ALL, WHOLE, limit=5)
    assert len(few) == 5
    assert {e.type for e in few} == {"Warning"}  # what tells most is kept
    assert [e.time for e in few] == sorted(e.time for e in few)
    assert key_of(ALL[0])[0] in ("Pod", "Node", "Deployment", "ReplicaSet", "StatefulSet")


# Nodes


def test_healthy_node() -> None:
    lease = recorded(STATES, "Lease", "node-1")
    node = read_node(recorded(STATES, "Node", "node-1"), lease)
    assert node.ready is True
    assert node.taints == ()
    assert node.system_uuid
    assert node.boot_id
    assert node.lease_renewed_at == pytest.approx(RECORDED_AT, abs=30)
    assert {c.type for c in node.conditions} == {
        "MemoryPressure", "DiskPressure", "PIDPressure", "Ready",
    }  # fmt: skip


@pytest.mark.parametrize("folder", ["node_down", "node_coming_down"])
def test_node_whose_kubelet_stopped(folder: str) -> None:
    lease = recorded(DATA / folder, "Lease", "node-1")
    node = read_node(recorded(DATA / folder, "Node", "node-1"), lease)
    assert node.ready is False
    assert {c.status for c in node.conditions} == {"Unknown"}
    ready = next(c for c in node.conditions if c.type == "Ready")
    assert ready.reason == "NodeStatusUnknown"
    assert ready.changed_at is not None
    assert ready.heartbeat_at is not None
    assert ready.heartbeat_at < ready.changed_at
    assert "node.kubernetes.io/unreachable:NoSchedule" in node.taints
    assert node.lease_renewed_at is not None
    assert node.lease_renewed_at < ready.changed_at


def test_node_events_are_kept_in_default() -> None:
    events = [i for i in read_folder(NODE_DOWN) if i["kind"] == "Event"]
    read = read_events(events, WHOLE, {("Node", "node-1")}, limit=100)
    down = [e for e in read if e.reason == "NodeNotReady"]
    assert [e.object for e in down] == ["Node/node-1"]


def test_node_identity_tells_no_state() -> None:
    known = identity(read_node(recorded(STATES, "Node", "node-1")), exists=False)
    assert known.system_uuid
    assert (known.ready, known.conditions, known.exists) == (None, (), False)


def test_odd_nodes_are_read() -> None:
    odd = read_node({"spec": None, "status": {"conditions": [None, {"type": 3}], "nodeInfo": []}})
    assert odd.ready is None
    tainted = {"spec": {"taints": [{"key": "a", "value": "b", "effect": "NoExecute"}]}}
    assert read_node(tainted).taints == ("a=b:NoExecute",)
