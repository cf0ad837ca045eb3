"""One leader at a time, whatever happens to the server, the clock and the other replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.triage.kube_setup import serving, settings, until
from triage.kube.client import KubeClient
from triage.kube.lease import LeaseElector, LeaseSettings, boottime
from triage.kube.recorded import RecordedCluster

pytestmark = pytest.mark.asyncio(loop_scope="function")

TIMES: dict[str, Any] = {"duration": 1.0, "renew_deadline": 0.5, "retry": 0.05}


def lease(identity: str, **more: Any) -> LeaseSettings:
    return LeaseSettings(**{"namespace": "triage", "identity": identity, **TIMES, **more})


class Replica:
    """An elector in the background."""

    def __init__(self, client: KubeClient, identity: str, journal: list[str], **more: Any) -> None:
        self.name, self.journal = identity, journal
        self.elector = LeaseElector(client, lease(identity), **more)
        self.task = asyncio.create_task(self.elector.run(self._say("+"), self._say("-")))

    def _say(self, sign: str) -> Callable[[], Awaitable[None]]:
        async def say() -> None:
            self.journal.append(sign + self.name)

        return say

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def die(self) -> None:
        """Without giving the Lease back."""
        self.elector._lease = None
        await self.stop()


async def test_one_leads_and_hands_over(tmp_path: Path) -> None:
    journal: list[str] = []
    async with serving(tmp_path, []) as (cluster, client):
        a = Replica(client, "a", journal)
        await until(lambda: a.elector.is_leader)
        b = Replica(client, "b", journal)
        await until(lambda: b.elector.leader == "a")
        assert not b.elector.is_leader
        await a.stop()
        given = cluster.find("leases", "triage", "triage", "coordination.k8s.io")
        assert given is not None
        await until(lambda: b.elector.is_leader)
        taken = cluster.find("leases", "triage", "triage", "coordination.k8s.io")
        assert taken is not None
        assert taken["spec"]["holderIdentity"] == "b"
        assert taken["spec"]["leaseTransitions"] == 1
        await b.stop()
        assert journal == ["+a", "-a", "+b", "-b"]


async def test_the_lease_of_a_dead_one_is_taken_when_it_has_run_out(tmp_path: Path) -> None:
    journal: list[str] = []
    async with serving(tmp_path, []) as (_, client):
        a = Replica(client, "a", journal)
        await until(lambda: a.elector.is_leader)
        await a.die()
        began = boottime()
        b = Replica(client, "b", journal, clock=lambda: 5.0)  # its time of day is nonsense
        await until(lambda: b.elector.is_leader)
        assert boottime() - began >= TIMES["duration"]
        await b.stop()


async def test_only_one_of_many_takes_it(tmp_path: Path) -> None:
    journal: list[str] = []
    async with serving(tmp_path, [], concurrency=20) as (_, client):
        replicas = [Replica(client, f"r{i}", journal) for i in range(8)]
        await until(lambda: bool(journal))
        await until(lambda: all(r.elector.leader for r in replicas))
        assert sum(r.elector.is_leader for r in replicas) == 1
        leader = next(r for r in replicas if r.elector.is_leader)
        assert journal == [f"+{leader.name}"]
        await asyncio.gather(*(r.stop() for r in replicas))
        assert len(journal) % 2 == 0
        assert all(  # never two at once
            one[0] == "+" and two == "-" + one[1:]
            for one, two in zip(journal[::2], journal[1::2], strict=True)
        )


async def test_a_leader_that_cannot_renew_steps_down(tmp_path: Path) -> None:
    journal: list[str] = []
    async with serving(tmp_path, [], attempts=1) as (cluster, client):
        a = Replica(client, "a", journal)
        await until(lambda: a.elector.is_leader)
        trouble = cluster.fault("leases", status=500)
        await until(lambda: journal == ["+a", "-a"])
        assert not a.elector.is_leader
        assert "500" in a.elector.problem
        cluster.remove(trouble)
        await until(lambda: journal == ["+a", "-a", "+a"])
        assert a.elector.problem == ""
        await a.stop()


async def test_a_silent_server_is_not_waited_for(tmp_path: Path) -> None:
    journal: list[str] = []
    async with serving(tmp_path, [], timeout=30.0) as (cluster, client):
        a = Replica(client, "a", journal)
        await until(lambda: a.elector.is_leader)
        cluster.fault("leases", delay=30)
        await until(lambda: journal == ["+a", "-a"], 3)
        assert "not renewed in time" in a.elector.problem
        a.task.cancel()
        await asyncio.wait_for(asyncio.gather(a.task, return_exceptions=True), 5)


async def test_leadership_ends_by_the_clock_alone(tmp_path: Path) -> None:
    now = 100.0
    async with serving(tmp_path, []) as (_, client):
        elector = LeaseElector(client, lease("a"), monotonic=lambda: now)
        await elector._attempt()
        assert elector.is_leader
        now += TIMES["renew_deadline"]  # the loop stood still, the machine was suspended
        assert not elector.is_leader


async def test_somebody_else_took_it(tmp_path: Path) -> None:
    journal: list[str] = []
    async with serving(tmp_path, []) as (cluster, client):
        a = Replica(client, "a", journal)
        await until(lambda: a.elector.is_leader)
        taken = cluster.find("leases", "triage", "triage", "coordination.k8s.io")
        assert taken is not None
        taken["apiVersion"], taken["kind"] = "coordination.k8s.io/v1", "Lease"
        taken["spec"]["holderIdentity"] = "stranger"
        cluster.apply(taken)
        await until(lambda: journal == ["+a", "-a"])
        assert a.elector.leader == "stranger"
        await a.stop()
        kept = cluster.find("leases", "triage", "triage", "coordination.k8s.io")
        assert kept is not None
        assert kept["spec"]["holderIdentity"] == "stranger"  # not ours to give back


async def test_own_lease_is_gone_on_with_after_a_restart(tmp_path: Path) -> None:
    async with RecordedCluster() as cluster:
        for _ in range(2):
            async with KubeClient(settings(cluster, tmp_path)) as client:
                elector = LeaseElector(client, lease("pod-0"))
                await elector._attempt()
                assert elector.is_leader


async def test_block_form(tmp_path: Path) -> None:
    journal: list[str] = []

    async def lead() -> None:
        journal.append("+")

    async def lose() -> None:
        journal.append("-")

    async with serving(tmp_path, []) as (_, client):
        elector = LeaseElector(client, lease("a"))
        async with elector.taking_part(lead, lose):
            await until(lambda: elector.is_leader)
        assert journal == ["+", "-"]
        assert not elector.is_leader


@pytest.mark.parametrize(
    "bad",
    [{"retry": 0.0}, {"retry": 0.6}, {"renew_deadline": 2.0}, {"identity": ""}, {"namespace": ""}],
)
async def test_bad_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a Lease needs"):
        lease(**{"identity": "a", **bad})
