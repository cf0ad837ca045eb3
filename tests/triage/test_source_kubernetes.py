"""What the looker makes of a cluster: pods, nodes, logs; and what it says when blind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.triage.kube_setup import (
    ERRORS,
    FRONT,
    NODE_DOWN,
    RECORDED_AT,
    STATES,
    pod,
    settings,
    until,
)
from triage.evidence import Outcome, PodEvidence, ProxyRole, Target, Window
from triage.kube.recorded import RecordedCluster
from triage.kube.settings import KubeSettings, PodSelector
from triage.sources.kubernetes import KubernetesLooker, PodRefs

pytestmark = pytest.mark.asyncio(loop_scope="function")

TARGET = Target(name="front")
WINDOW = Window(start=RECORDED_AT - 3600, end=RECORDED_AT)
DEMO = PodSelector(namespace="demo")
SITE = PodSelector(namespace="front", service="site")
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "site", "namespace": "front"},
    "spec": {"selector": {"app": "front"}},
}


class Clock:
    now = RECORDED_AT

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def looking(
    tmp_path: Path, source: Any = STATES, **more: Any
) -> AsyncIterator[tuple[RecordedCluster, KubernetesLooker]]:
    async with RecordedCluster(source) as cluster:
        fixed: dict[str, Any] = {"attempts": 1, **more}
        looker = KubernetesLooker(settings(cluster, tmp_path, **fixed), clock=Clock())
        looker._shared._keep = 0.0
        try:
            yield cluster, looker
        finally:
            await looker.close()


async def look(looker: KubernetesLooker, selector: PodSelector) -> PodEvidence:
    return await looker.pods(TARGET, selector, WINDOW)


# Pods


async def test_pods_of_a_service(tmp_path: Path) -> None:
    async with looking(tmp_path) as (_, looker):
        seen = await look(looker, replace(DEMO, service="front"))
        assert seen.look.whole, seen.look.problems
        assert [(p.name, p.backing, p.ready) for p in seen.pods] == [(FRONT, True, True)]
        assert (seen.service_exists, seen.endpoints_ready, seen.endpoints_not_ready) == (True, 1, 0)
        assert seen.expected == "service demo/front (app=front)"
        assert seen.look.source == "kubernetes test, service demo/front (app=front)"
        assert [(r.kind, r.name, r.in_progress) for r in seen.rollouts] == [
            ("Deployment", "front", False)
        ]
        reasons = {e.reason for e in seen.events}
        assert {"Scheduled", "Started", "ScalingReplicaSet", "SuccessfulCreate"} <= reasons
        assert {e.object.split("/")[-1].split("-")[0] for e in seen.events} == {"front"}


async def test_endpoints_where_there_are_no_slices(tmp_path: Path) -> None:
    async with looking(tmp_path) as (cluster, looker):
        cluster.fault("endpointslices", status=404)  # a server before 1.21
        seen = await look(looker, replace(DEMO, service="roll"))
        assert seen.look.whole
        assert (seen.endpoints_ready, seen.endpoints_not_ready) == (2, 1)


async def test_rollout_in_progress(tmp_path: Path) -> None:
    async with looking(tmp_path) as (_, looker):
        seen = await look(looker, replace(DEMO, owner="Deployment/roll"))
        assert len(seen.pods) == 3
        assert seen.rollouts[0].in_progress
        assert seen.service_exists is None
        assert seen.expected == "Deployment/roll in demo (app=roll)"


async def test_scaled_to_zero(tmp_path: Path) -> None:
    async with looking(tmp_path) as (_, looker):
        seen = await look(looker, replace(DEMO, selector="app=scaled"))
        assert [(r.name, r.desired) for r in seen.rollouts] == [("scaled", 0)]
        assert all(p.gone for p in seen.pods)  # told of by events alone
        assert {p.node for p in seen.pods} == {"node-1"}
        assert all(p.deleted is not None for p in seen.pods)
        assert len(seen.pods) == 2


async def test_service_without_endpoints_and_no_such_service(tmp_path: Path) -> None:
    async with looking(tmp_path) as (_, looker):
        empty = await look(looker, replace(DEMO, service="nobody"))
        assert (empty.pods, empty.endpoints_ready, empty.service_exists) == ((), 0, True)
        absent = await look(looker, replace(DEMO, service="absent"))
        assert absent.look.whole
        assert (absent.pods, absent.service_exists) == ((), False)
        outside = await look(looker, replace(DEMO, service="external"))
        assert outside.look.outcome is Outcome.RAN
        assert outside.pods == ()


async def test_without_a_pod_left_the_workload_is_found(tmp_path: Path) -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "site", "namespace": "front"},
        "spec": {"replicas": 0, "template": {"metadata": {"labels": {"app": "front"}}}},
    }
    async with looking(tmp_path, [SERVICE, deployment]) as (_, looker):
        seen = await look(looker, SITE)
        assert [(r.name, r.desired) for r in seen.rollouts] == [("site", 0)]


async def test_a_pod_that_vanished_is_shown_as_last_seen(tmp_path: Path) -> None:
    async with looking(tmp_path, [SERVICE, pod("a"), pod("b")]) as (cluster, looker):
        assert len((await look(looker, SITE)).pods) == 2
        cluster.delete("pods", "front", "a")
        seen = await look(looker, SITE)
        assert [(p.name, p.gone, p.node) for p in seen.pods] == [
            ("b", False, "worker-1"), ("a", True, "worker-1"),
        ]  # fmt: skip


async def test_the_watch_remembers_what_no_look_saw(tmp_path: Path) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1"}}
    node["status"] = {"nodeInfo": {"systemUUID": "u-1"}}  # type: ignore[assignment]
    objects = [SERVICE, pod("a"), node]
    async with looking(tmp_path, objects, namespaces=("front",)) as (cluster, looker):
        task = asyncio.create_task(looker.run())
        await until(lambda: len(looker.memory) == 1 and looker.memory.node("worker-1") is not None)
        await until(lambda: sum("watch=true" in r for r in cluster.requests) == 2)
        cluster.delete("pods", "front", "a")
        cluster.delete("nodes", "", "worker-1")
        kept = looker.memory
        await until(lambda: any(k.gone_at for k in kept._pods.values()))
        seen = await look(looker, SITE)
        assert [(p.name, p.gone, p.node) for p in seen.pods] == [("a", True, "worker-1")]
        assert seen.pods[0].deleted == RECORDED_AT
        nodes = await looker.nodes(["worker-1"], WINDOW)
        assert [(n.exists, n.system_uuid) for n in nodes.nodes] == [(False, "u-1")]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_known_of_the_pods_changes_with_them_and_costs_no_request(
    tmp_path: Path,
) -> None:
    async with looking(tmp_path, [SERVICE, pod("a")], namespaces=("front",)) as (cluster, looker):
        assert looker.known(SITE) is None
        task = asyncio.create_task(looker.run())
        await until(lambda: sum("watch=true" in r for r in cluster.requests) == 2)
        assert looker.problem == ""
        await refs(looker, SITE)
        first, asked = looker.known(SITE), len(cluster.requests)
        assert first is not None
        assert looker.known(SITE) == first
        cluster.apply(pod("b"))
        await until(lambda: looker.known(SITE) != first)
        second = looker.known(SITE)
        cluster.apply(pod("b", status={"conditions": [{"type": "Ready", "status": "False"}]}))
        await until(lambda: looker.known(SITE) != second)
        assert len(cluster.requests) == asked
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_whole_namespace(tmp_path: Path) -> None:
    async with looking(tmp_path) as (_, looker):
        seen = await look(looker, DEMO)
        assert seen.look.whole
        assert {"front", "roll", "db", "agent", "scaled"} <= {r.name for r in seen.rollouts}
        assert {p.phase for p in seen.pods} >= {"Running", "Pending", "Failed", "Succeeded"}


async def test_shared_answers_are_dropped_and_ended(tmp_path: Path) -> None:
    async with looking(tmp_path) as (cluster, looker):
        await look(looker, replace(DEMO, service="front"))
        await until(lambda: not looker._shared._tasks)
        cluster.fault("/events", delay=60)
        task = asyncio.create_task(look(looker, replace(DEMO, service="front")))
        await until(lambda: bool(looker._shared._tasks))
        before = asyncio.all_tasks()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await looker.close()
        assert len(asyncio.all_tasks()) < len(before)
        assert not looker._shared._tasks


async def test_too_many_pods(tmp_path: Path) -> None:
    bad = pod("z", status={"conditions": [{"type": "Ready", "status": "False"}]})
    pods = [pod(f"p{i:02}") for i in range(20)]
    async with looking(tmp_path, [SERVICE, *pods, bad], max_pods=3) as (_, looker):
        seen = await look(looker, SITE)
        assert len(seen.pods) == 3
        assert seen.pods[0].name == "z"
        assert "3 of its 21 pods" in seen.expected


@pytest.mark.parametrize("selector", ["a in b", "=x"])
async def test_bad_selector_is_a_failed_look(tmp_path: Path, selector: str) -> None:
    async with looking(tmp_path) as (_, looker):
        seen = await look(looker, replace(DEMO, selector=selector))
        assert seen.look.outcome is Outcome.FAILED
        assert "not a label selector" in seen.look.problems[0]
        seen = await look(looker, replace(DEMO, owner="Sandwich/x"))
        assert seen.look.outcome is Outcome.FAILED
        assert "Sandwich/x" in seen.look.problems[0]


FAULTS = [
    ({"status": 500}, "the server answered 500"),
    ({"status": 401}, "credentials are not accepted"),
    ({"status": 403, "body": ""}, "denied (403)"),
    ({"status": 429, "headers": {"Retry-After": "50"}}, "left alone for 50 s"),
    ({"status": 200, "body": "<html>"}, "not JSON"),
    ({"status": 410}, "gone"),
    ({"status": 404, "body": "<html>default backend - 404"}, "lead to the API server?"),
    ({"drop": True}, "nothing answers"),
    ({"delay": 5}, "no answer within 0.3 s"),
]


@pytest.mark.parametrize(("fault", "text"), FAULTS)
async def test_blind_is_not_healthy(tmp_path: Path, fault: dict[str, Any], text: str) -> None:
    async with looking(tmp_path, [SERVICE, pod("a")], timeout=0.3) as (cluster, looker):
        assert (await look(looker, SITE)).look.outcome is Outcome.RAN
        await looker.nodes(["worker-1"], WINDOW)
        cluster.fault(".", **fault)
        seen = await look(looker, SITE)
        assert seen.look.outcome is Outcome.FAILED
        assert any(text in p for p in seen.look.problems)
        assert [(p.name, p.node, p.ready, p.phase, p.gone) for p in seen.pods] == [
            ("a", "worker-1", None, "", False)
        ]
        assert seen.rollouts == ()
        nodes = await looker.nodes(["worker-1"], WINDOW)
        assert nodes.look.outcome is Outcome.FAILED
        assert any(text in p for p in nodes.look.problems)
        assert all(n.ready is None and n.exists for n in nodes.nodes)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/events", "list events of demo"),
        ("/endpoint", "endpointslices"),
        ("/replicasets", "replicasets"),
        ("/deployments/", "deployments"),
    ],
)
async def test_partly_blind_says_where(tmp_path: Path, path: str, text: str) -> None:
    async with looking(tmp_path) as (cluster, looker):
        cluster.deny(path, ERRORS["denied-list"]["body"]["message"])
        seen = await look(looker, replace(DEMO, service="front"))
        assert seen.look.outcome is Outcome.RAN
        assert not seen.look.whole
        assert any(text in p for p in seen.look.problems)
        assert [p.name for p in seen.pods] == [FRONT]


async def test_lists_are_shared_between_targets(tmp_path: Path) -> None:
    async with looking(tmp_path) as (cluster, looker):
        looker._shared._keep = 60.0
        await asyncio.gather(
            *(looker.pods(TARGET, replace(DEMO, service="front"), WINDOW) for _ in range(30))
        )
        assert sum("/events" in r for r in cluster.requests) == 1
        assert sum("/pods?" in r for r in cluster.requests) == 1


async def test_a_cancelled_look_leaves_the_others_theirs(tmp_path: Path) -> None:
    async with looking(tmp_path) as (cluster, looker):
        looker._shared._keep = 60.0
        cluster.fault("/events", delay=0.2)
        one, two = (
            asyncio.create_task(look(looker, replace(DEMO, service="front"))) for _ in range(2)
        )
        await until(lambda: any("/events" in r for r in cluster.requests))
        one.cancel()
        assert (await two).look.whole
        assert one.cancelled() or one.cancelling()


async def test_secrets_are_masked(tmp_path: Path) -> None:
    def mask(text: str) -> str:
        return text.replace("hunter2", "***")

    event = {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": "e", "namespace": "front"},
        "involvedObject": {"kind": "Pod", "name": "a", "namespace": "front"},
        "message": "password=hunter2", "eventTime": "2026-11-21T23:52:00Z",
    }  # fmt: skip
    ended = {"terminated": {"message": "hunter2", "exitCode": 1}}
    bad = pod(
        "a", status={"message": "hunter2", "containerStatuses": [{"name": "app", "state": ended}]}
    )
    async with RecordedCluster([SERVICE, bad, event]) as cluster:
        looker = KubernetesLooker(settings(cluster, tmp_path), mask=mask)
        seen = await look(looker, SITE)
        await looker.close()
        assert seen.events
        assert "hunter2" not in repr(seen)


# Nodes


async def test_node_whose_kubelet_stopped(tmp_path: Path) -> None:
    async with looking(tmp_path, NODE_DOWN) as (_, looker):
        seen = await looker.nodes(["node-1"], WINDOW)
        assert seen.look.whole, seen.look.problems
        [node] = seen.nodes
        assert node.ready is False
        assert node.lease_renewed_at is not None
        assert "NodeNotReady" in {e.reason for e in seen.events}
        assert looker.memory.node("node-1") == node
        pods = await look(looker, replace(DEMO, service="front"))
        by_name = {p.name: p for p in pods.pods}
        assert by_name[FRONT].ready is False
        assert any(p.scheduled is False for p in pods.pods)


async def test_no_node_is_skipped(tmp_path: Path) -> None:
    async with looking(tmp_path) as (cluster, looker):
        seen = await looker.nodes(["", ""], WINDOW)
        assert seen.look.outcome is Outcome.SKIPPED
        assert not cluster.requests


async def test_denied_leases_are_said(tmp_path: Path) -> None:
    async with looking(tmp_path) as (cluster, looker):
        cluster.fault("/leases", status=403)
        seen = await looker.nodes(["node-1"], WINDOW)
        assert seen.look.outcome is Outcome.RAN
        assert any("leases" in p for p in seen.look.problems)
        assert seen.nodes[0].ready is True
        assert seen.nodes[0].lease_renewed_at is None


# Whose logs


async def refs(looker: KubernetesLooker, selector: PodSelector) -> PodRefs:
    return await looker.refs(TARGET, selector)


async def test_refs_of_a_pod_that_restarted(tmp_path: Path) -> None:
    async with looking(tmp_path) as (_, looker):
        found = await refs(looker, replace(DEMO, service="front"))
        assert [(p.ref.shown, p.role) for p in found.proxies] == [
            (f"demo/{FRONT}/istio-proxy", ProxyRole.SIDECAR)
        ]
        assert [r.shown for r in found.apps] == [f"demo/{FRONT}/app"]
        assert [r.shown for r in found.previous] == [f"demo/{FRONT}/app (previous)"]
        assert found.known
        lines = [line async for line in looker.logs.read(found.previous[0], 0, 4e9)]
        assert lines


@pytest.mark.parametrize(
    ("app", "apps", "previous"),
    [
        ("crash", ["demo/crash/app"], []),  # while it waits, its log is the former one's
        ("initfail", ["demo/initfail/migrate"], ["demo/initfail/migrate (previous)"]),
        ("imagepull", [], []),
        ("unsched", [], []),
        ("exit1", ["demo/exit1/app"], []),
    ],
)
async def test_refs_of_bad_pods(
    tmp_path: Path, app: str, apps: list[str], previous: list[str]
) -> None:
    async with looking(tmp_path) as (_, looker):
        found = await refs(looker, replace(DEMO, selector=f"app={app}"))
        assert [r.shown for r in found.apps] == apps
        assert {r.shown for r in found.previous} <= set(previous)


async def test_refs_of_a_gateway_and_of_chosen_containers(tmp_path: Path) -> None:
    gateway = pod(
        "gw",
        spec={"containers": [{"name": "istio-proxy"}]},
        status={"containerStatuses": [{"name": "istio-proxy", "state": {"running": {}}}]},
    )
    many = pod(
        "many",
        labels={"app": "many"},
        spec={"containers": [{"name": "app"}, {"name": "agent"}]},
        status={
            "containerStatuses": [
                {"name": "app", "state": {"running": {}}},
                {"name": "agent", "state": {"running": {}}},
            ]
        },
    )
    async with looking(tmp_path, [gateway, many]) as (_, looker):
        found = await refs(looker, PodSelector(namespace="front", selector="app=front"))
        assert [p.role for p in found.proxies] == [ProxyRole.GATEWAY]
        assert found.apps == ()
        chosen = PodSelector(namespace="front", selector="app=many", containers=("app",))
        assert [r.container for r in (await refs(looker, chosen)).apps] == ["app"]


async def test_refs_when_blind_are_those_last_seen(tmp_path: Path) -> None:
    async with looking(tmp_path, [SERVICE, pod("a"), pod("b")]) as (cluster, looker):
        await look(looker, SITE)
        cluster.delete("pods", "front", "b")
        found = await refs(looker, SITE)
        assert found.unread == ("front/b",)
        cluster.fault(".", status=500)
        found = await refs(looker, SITE)
        assert not found.known
        assert found.problems
        assert [r.shown for r in found.apps] == ["front/a/app"]


async def test_configuration_errors_are_said_not_raised(tmp_path: Path) -> None:
    looker = KubernetesLooker(KubeSettings(name="x", kubeconfig=str(tmp_path / "none")))
    seen = await look(looker, SITE)
    assert seen.look.outcome is Outcome.FAILED
    assert "does not exist" in seen.look.problems[0]
    found = await refs(looker, SITE)
    assert not found.known
    assert "does not exist" in found.problems[0]
    began = time.monotonic()
    task = asyncio.create_task(looker.run())
    await until(lambda: all(s.problem for s in looker.watches.values()) and bool(looker.watches))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await looker.close()
    assert time.monotonic() - began < 10
