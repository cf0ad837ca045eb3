"""Against a real cluster, as the account of the manifests: make e2e with TRIAGE_TEST_KUBECONFIG.

TRIAGE_TEST_KUBECONFIG   kubeconfig of the account `triage` of docs/deploy/kubernetes/rbac.yaml
TRIAGE_TEST_NAMESPACE    a watched namespace with a running pod (default "demo")
TRIAGE_TEST_FORBIDDEN    one without a RoleBinding for it (default "other")
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from tests.triage.kube_setup import until
from triage.evidence import Outcome, Target, Window
from triage.kube.client import LEASES, NODES, PODS
from triage.kube.lease import LeaseElector, LeaseSettings
from triage.kube.settings import KubeSettings, PodSelector
from triage.sources.errors import DeniedError, MissingError
from triage.sources.kubernetes import KubernetesLooker

KUBECONFIG = os.environ.get("TRIAGE_TEST_KUBECONFIG", "")
NAMESPACE = os.environ.get("TRIAGE_TEST_NAMESPACE", "demo")
FORBIDDEN = os.environ.get("TRIAGE_TEST_FORBIDDEN", "other")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not KUBECONFIG, reason="TRIAGE_TEST_KUBECONFIG names no cluster"),
    pytest.mark.asyncio(loop_scope="function"),
]


@pytest_asyncio.fixture
async def looker() -> AsyncIterator[KubernetesLooker]:
    looker = KubernetesLooker(
        KubeSettings(name="live", kubeconfig=KUBECONFIG, namespaces=(NAMESPACE,), page=3)
    )
    yield looker
    await looker.close()


def window() -> Window:
    return Window(start=time.time() - 3600, end=time.time())


async def test_pods_nodes_and_logs(looker: KubernetesLooker) -> None:
    assert (await looker.check()).startswith("v")
    target, everything = Target(name="live"), PodSelector(namespace=NAMESPACE)
    seen = await looker.pods(target, everything, window())
    assert seen.look.whole, seen.look.problems
    names = {p.node for p in seen.pods if p.phase == "Running" and p.node}
    nodes = await looker.nodes(names, window())
    assert nodes.look.whole, nodes.look.problems
    assert all(n.system_uuid and n.conditions and n.lease_renewed_at for n in nodes.nodes)
    refs = await looker.refs(target, everything)
    ref = next(p for p in refs.apps if p.pod)
    async with aclosing(looker.logs.read(ref, 0, time.time())) as lines:
        async for line in lines:
            assert line[:2] == b"20"
    with pytest.raises(MissingError):
        await anext(looker.logs.read(type(ref)(pod="absent", namespace=NAMESPACE), 0, time.time()))


async def test_rights_end_where_the_manifest_ends(looker: KubernetesLooker) -> None:
    with pytest.raises(DeniedError, match=f"no right to list pods in namespace {FORBIDDEN}"):
        await looker.client.objects(PODS, FORBIDDEN)
    with pytest.raises(DeniedError, match="no right to update nodes in the cluster"):
        await looker.client.send("PUT", NODES, "", "x", {"metadata": {"name": "x"}})
    with pytest.raises(DeniedError):
        await looker.client.get(LEASES, "triage", "somebody-elses")
    blind = await looker.pods(
        Target(name="live"), PodSelector(namespace=FORBIDDEN, service="x"), window()
    )
    assert blind.look.outcome is Outcome.FAILED


async def test_watch(looker: KubernetesLooker) -> None:
    task = asyncio.create_task(looker.run())
    await until(lambda: len(looker.watches) == 2, 20)
    await until(lambda: all(s.synced_at is not None for s in looker.watches.values()), 20)
    assert len(looker.memory) > 0
    assert not any(s.problem for s in looker.watches.values())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_two_electors(looker: KubernetesLooker) -> None:
    journal: list[str] = []

    def elector(name: str) -> tuple[LeaseElector, asyncio.Task[None]]:
        settings = LeaseSettings(
            namespace="triage", identity=name, duration=3.0, renew_deadline=2.0, retry=0.3
        )
        made = LeaseElector(looker.client, settings)

        async def lead() -> None:
            journal.append(f"+{name}")

        async def lose() -> None:
            journal.append(f"-{name}")

        return made, asyncio.create_task(made.run(lead, lose))

    one, two = uuid.uuid4().hex, uuid.uuid4().hex
    first, first_task = elector(one)
    await until(lambda: first.is_leader, 20)
    second, second_task = elector(two)
    await until(lambda: second.leader == one, 20)
    assert not second.is_leader
    first_task.cancel()
    await asyncio.gather(first_task, return_exceptions=True)
    await until(lambda: second.is_leader, 20)
    second_task.cancel()
    await asyncio.gather(second_task, return_exceptions=True)
    assert journal == [f"+{one}", f"-{one}", f"+{two}", f"-{two}"]
