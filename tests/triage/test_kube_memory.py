"""What is remembered, for how long, and how a watch keeps it current."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.triage.kube_setup import pod, serving, until
from triage.evidence import NodeState, PodState
from triage.kube.client import PODS, KubeClient
from triage.kube.memory import Memory, key_of
from triage.kube.recorded import RecordedCluster
from triage.kube.selectors import parse_selector
from triage.kube.watch import WatchState, keep_watching

FRONT = parse_selector("app=front")
LABELS = {"app": "front"}


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def memory(limit: int = 100) -> tuple[Memory, Clock]:
    clock = Clock()
    return Memory(clock, clock, keep=600, limit=limit), clock


def state(name: str, **more: Any) -> PodState:
    return PodState(namespace="front", name=name, uid=f"uid-{name}", node="worker-1", **more)


def names(kept: Memory, since: float | None = None) -> list[tuple[str, bool]]:
    return [(k.state.name, k.state.gone) for k in kept.pods("front", FRONT, gone_since=since)]


def test_a_pod_missing_from_a_list_is_gone() -> None:
    kept, clock = memory()
    kept.saw(state("a"), LABELS)
    kept.saw(state("b"), LABELS)
    kept.saw(state("c"), {"app": "other"})
    clock.now += 10
    kept.listed("front", {key_of(state("a"))}, FRONT)
    assert names(kept) == [("a", False), ("b", True)]
    assert names(kept, since=1011) == [("a", False)]
    assert [k.state.name for k in kept.pods("front", parse_selector("app=other"))] == ["c"]
    gone = kept.pods("front", FRONT)[1].state
    assert gone.node == "worker-1"
    clock.now += 601
    assert names(kept) == [("a", False)]


def test_deletion_seen_by_a_watch_has_its_time() -> None:
    kept, clock = memory()
    kept.saw(state("a", backing=True), LABELS)
    kept.saw(state("a"), LABELS)
    clock.now += 5
    kept.lost(state("a"))
    kept.lost(state("never seen"))
    [known] = kept.pods("front", FRONT)
    assert (known.state.gone, known.state.deleted, known.state.backing) == (True, 1005, True)


def test_a_new_pod_of_the_same_name_is_another() -> None:
    kept, _ = memory()
    kept.saw(state("db-0"), LABELS)
    again = PodState(namespace="front", name="db-0", uid="new")
    kept.saw(again, LABELS)
    kept.listed("front", {key_of(again)})
    assert names(kept) == [("db-0", True), ("db-0", False)]


def test_memory_is_bounded() -> None:
    kept, _ = memory(limit=3)
    kept.saw(state("gone"), LABELS)
    kept.listed("front", set())
    for i in range(10):
        kept.saw(state(f"p{i}"), LABELS)
        kept.saw_node(NodeState(name=f"n{i}"))
        kept.saw_selector(f"s{i}", "a=b")
    assert len(kept) == 3
    assert names(kept) == [("p7", False), ("p8", False), ("p9", False)]
    assert kept.node("n0") is None
    assert kept.node("n9") is not None
    assert kept.selector("s0") is None
    assert kept.selector("s9") == "a=b"


# Watching


@dataclass
class Seen:
    log: list[tuple[str, str]] = field(default_factory=list)

    def listed(self, items: list[Any]) -> None:
        self.log.append(("listed", ",".join(i["metadata"]["name"] for i in items)))

    def changed(self, item: Any) -> None:
        self.log.append(("changed", item["metadata"]["name"]))

    def deleted(self, item: Any) -> None:
        self.log.append(("deleted", item["metadata"]["name"]))


class Watching:
    """A watch in the background, with what it saw."""

    def __init__(self, cluster: RecordedCluster, client: KubeClient) -> None:
        self.cluster, self.seen, self.state = cluster, Seen(), WatchState()
        self.task = asyncio.create_task(
            keep_watching(
                client, PODS, "front", self.seen, self.state, monotonic=lambda: 1.0
            )
        )  # fmt: skip

    async def __aenter__(self) -> Watching:
        await until(lambda: bool(self.seen.log))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        assert isinstance(
            (await asyncio.gather(self.task, return_exceptions=True))[0], asyncio.CancelledError
        )

    async def saw(self, *what: str) -> None:
        await until(lambda: what in self.seen.log)


@pytest.mark.asyncio
async def test_changes_are_seen(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, [pod("a")]) as (cluster, client),
        Watching(cluster, client) as watching,
    ):
        assert watching.seen.log == [("listed", "a")]
        cluster.apply(pod("b"))
        await watching.saw("changed", "b")
        cluster.apply(pod("elsewhere", namespace="other"))
        cluster.delete("pods", "front", "a")
        await watching.saw("deleted", "a")
        assert ("changed", "elsewhere") not in watching.seen.log


@pytest.mark.asyncio
async def test_410_lists_again(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, [pod("a")], watch=1) as (cluster, client),
        Watching(cluster, client) as watching,
    ):
        watching.seen.log.clear()
        cluster.apply(pod("b"))
        cluster.forget_history()
        await until(lambda: any(kind == "listed" for kind, _ in watching.seen.log))
        assert watching.seen.log[-1] == ("listed", "a,b")


@pytest.mark.asyncio
async def test_watch_goes_on_where_it_ended(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, [pod("a")], watch=1) as (cluster, client),
        Watching(cluster, client) as watching,
    ):
        await until(lambda: sum("watch=true" in r for r in cluster.requests) >= 2)
        cluster.apply(pod("b"))
        await watching.saw("changed", "b")
        assert [kind for kind, _ in watching.seen.log].count("listed") == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 403},
        {"drop": True},
        {"status": 200, "body": "garbage\n"},
        {"status": 200, "body": '{"type":"ERROR","object":{"code":500,"message":"odd"}}\n'},
        {"status": 410},
    ],
)
@pytest.mark.asyncio
async def test_faults_are_waited_out(tmp_path: Path, fault: dict[str, Any]) -> None:
    async with serving(tmp_path, [pod("a")], retry=0.05, attempts=1) as (cluster, client):
        trouble = cluster.fault("watch=true", **fault)
        async with Watching(cluster, client) as watching:
            await until(lambda: sum("watch=true" in r for r in cluster.requests) >= 2)
            cluster.remove(trouble)
            cluster.apply(pod("b"))
            await until(lambda: any("b" in name.split(",") for _, name in watching.seen.log))
            await until(lambda: watching.state.problem == "" or fault == {"status": 403})
