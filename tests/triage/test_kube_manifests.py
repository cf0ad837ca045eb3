"""The manifests grant what the code asks for, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.triage.kube_setup import RECORDED_AT, STATES, settings, until
from triage.config import load
from triage.evidence import Target, Window
from triage.kube.lease import LeaseElector, LeaseSettings
from triage.kube.recorded import PATH, RecordedCluster
from triage.kube.settings import PodSelector
from triage.sources.errors import MissingError
from triage.sources.kubernetes import KubernetesLooker
from vmmib.configfile import split_host_port

FOLDER = Path(__file__).parents[2] / "docs" / "deploy" / "kubernetes"

Rule = tuple[str, str, str]
"""Verb, group, resource."""


def manifests(name: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all((FOLDER / name).read_text()) if item]


def granted() -> set[Rule]:
    return {
        (verb, group, resource)
        for item in manifests("rbac.yaml")
        for rule in item.get("rules", [])
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def asked(requests: Iterator[str] | Any) -> set[Rule]:
    verbs = {"POST": "create", "PUT": "update", "DELETE": "delete"}
    rules = set()
    for request in requests:
        method, _, where = request.partition(" ")
        path, _, query = where.partition("?")
        found = PATH.fullmatch(path)
        if found is None:
            continue
        verb = verbs.get(method) or ("get" if found["name"] else "list")
        verb = "watch" if "watch=true" in query else verb
        resource = found["plural"] + (f"/{found['sub']}" if found["sub"] else "")
        rules.add((verb, found["group"] or "", resource))
    return rules


@contextlib.asynccontextmanager
async def everything(tmp_path: Path) -> AsyncIterator[RecordedCluster]:
    """A cluster of which all is asked that triage ever asks."""
    window = Window(start=0, end=RECORDED_AT)
    target = Target(name="x")
    async with RecordedCluster(STATES) as cluster:
        looker = KubernetesLooker(settings(cluster, tmp_path, namespaces=("demo",)))
        cluster.fault("endpointslices", status=404, times=1)
        chosen = [
            PodSelector(namespace="demo", service="front"),
            PodSelector(namespace="demo", service="roll"),
            PodSelector(namespace="demo", selector="app=nobody"),
            *(
                PodSelector(namespace="demo", owner=owner)
                for owner in (
                    "Deployment/roll",
                    "ReplicaSet/front-f7c9d7949",
                    "StatefulSet/db",
                    "DaemonSet/agent",
                )
            ),
        ]
        for selector in chosen:
            await looker.pods(target, selector, window)
            refs = await looker.refs(target, selector)
            for ref in refs.apps:
                with contextlib.suppress(MissingError):
                    [line async for line in looker.logs.read(ref, 0, 4e9)]
        await looker.nodes(["node-1"], window)
        elector = LeaseElector(looker.client, LeaseSettings(namespace="demo", identity="a"))
        await elector._attempt()
        await elector._attempt()
        await watched(looker, cluster)
        await looker.close()
        yield cluster


async def watched(looker: KubernetesLooker, cluster: RecordedCluster) -> None:
    task = asyncio.create_task(looker.run())
    await until(lambda: sum("watch=true" in r for r in cluster.requests) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.asyncio
async def test_what_is_asked_is_granted_and_the_other_way_round(tmp_path: Path) -> None:
    async with everything(tmp_path) as cluster:
        assert asked(cluster.requests) == granted()


def test_no_wildcards_and_nothing_is_changed_but_the_lease() -> None:
    assert not any("*" in part for rule in granted() for part in rule)
    changing = {rule for rule in granted() if rule[0] not in ("get", "list", "watch")}
    assert changing == {
        ("create", "coordination.k8s.io", "leases"),
        ("update", "coordination.k8s.io", "leases"),
    }
    assert not any(rule[2] in ("secrets", "configmaps") for rule in granted())


def test_bindings_name_what_is_there() -> None:
    items = manifests("rbac.yaml")
    roles = {(i["kind"], i["metadata"].get("namespace"), i["metadata"]["name"]) for i in items}
    bindings = [i for i in items if i["kind"].endswith("Binding")]
    assert len(bindings) == 5
    for binding in bindings:
        ref = binding["roleRef"]
        namespace = binding["metadata"].get("namespace") if ref["kind"] == "Role" else None
        assert (ref["kind"], namespace, ref["name"]) in roles
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "triage", "namespace": "triage"}
        ]


def test_deployment_runs_as_that_account_with_several_replicas() -> None:
    workload = next(i for i in manifests("deployment.yaml") if i["kind"] == "StatefulSet")
    spec = workload["spec"]["template"]["spec"]
    assert workload["spec"]["replicas"] > 1
    assert spec["serviceAccountName"] == "triage"
    assert spec["securityContext"]["runAsNonRoot"] is True
    [container] = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert not re.search(r"^latest$", container["image"].rpartition(":")[2])
    mounted = {m["name"] for m in container["volumeMounts"]}
    claimed = {c["metadata"]["name"] for c in workload["spec"]["volumeClaimTemplates"]}
    assert mounted == {v["name"] for v in spec["volumes"]} | claimed


def test_the_configuration_is_valid_and_fits_the_deployment(tmp_path: Path) -> None:
    items = {i["kind"]: i for i in manifests("deployment.yaml")}
    pod = items["StatefulSet"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    volumes = {v["name"]: v for v in pod["volumes"]}

    *_, given = container["command"]
    folder, _, name = given.rpartition("/")
    shown = volumes[mounts[folder]]["configMap"]["name"]
    assert shown == items["ConfigMap"]["metadata"]["name"]
    path = tmp_path / name
    path.write_text(items["ConfigMap"]["data"][name], encoding="utf-8")
    config = load(path)

    assert mounts[str(config.state_dir)] == "state"
    secrets = [one.credentials_file for one in config.hypervisors]
    secrets += [Path(one.url_file) for one in config.alerts.slack]
    assert {volumes[mounts[str(one.parent)]].get("secret") is not None for one in secrets} == {True}

    host, port = split_host_port(config.web.listen_address)
    assert host == ""
    assert [port] == [one["containerPort"] for one in container["ports"]]
    assert [port] == [one["port"] for one in items["Service"]["spec"]["ports"]]
    for probe, page in (("livenessProbe", "/-/healthy"), ("readinessProbe", "/-/ready")):
        assert container[probe]["httpGet"] == {"path": page, "port": container["ports"][0]["name"]}

    assert config.lease is not None
    bound = {
        i["metadata"]["namespace"] for i in manifests("rbac.yaml") if i["kind"] == "RoleBinding"
    }
    assert {one.namespace for one in config.targets} <= bound
    for variable in ("POD_NAME", "POD_NAMESPACE"):  # which the service reads
        assert variable in {one["name"] for one in container["env"]}
