"""`triage check`: what it says of parts that answer, and of those that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.triage.kube_setup import STATES, settings
from tests.triage.site import free_ports
from triage import once
from triage.config import Config, load
from triage.kube.recorded import RecordedCluster


def config(tmp_path: Path, **keys: Any) -> Config:
    path = tmp_path / "triage.yaml"
    path.write_text(json.dumps({"state_dir": str(tmp_path / "state"), **keys}))
    return load(path)


def target(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "url": f"https://{name}.example/", "namespace": "demo", **keys}


@pytest.mark.asyncio
async def test_a_misspelt_service_is_told(tmp_path: Path) -> None:
    async with RecordedCluster(STATES) as cluster:
        found = await once.check(
            config(
                tmp_path,
                clusters=[{"name": "main", "kubeconfig": settings(cluster, tmp_path).kubeconfig}],
                targets=[
                    target("good", service="front"),
                    target("bad", service="frnt"),
                    target("elsewhere", proxy_files=["/var/log/envoy/access.log"]),
                    target("unseen", namespace="default"),
                ],
                alerts={"webhook": [{"name": "hook", "url": "http://127.0.0.1/"}]},
            )
        )
    missing = "no pod of service demo/frnt has a container istio-proxy: no proxy log to read"
    assert found == [
        (True, "configuration: valid, targets: 4"),
        (True, "cluster main: v1.30.0-recorded"),
        (True, "target good: proxy logs: 1"),
        (False, f"target bad: {missing}"),
        (True, "target elsewhere: proxy logs: 1"),
        (True, "alerts to hook: none was sent to try it"),
    ]


@pytest.mark.asyncio
async def test_what_does_not_answer_is_told(tmp_path: Path) -> None:
    web, api = free_ports(2)
    async with RecordedCluster(STATES, port=api) as cluster:
        kubeconfig = settings(cluster, tmp_path).kubeconfig
    given = config(
        tmp_path,
        prometheus={"url": f"http://127.0.0.1:{web}"},
        clusters=[{"name": "main", "kubeconfig": kubeconfig, "attempts": 1}],
        targets=[target("shop", service="front")],
    )
    found = await once.check(given)
    assert [good for good, _ in found] == [True, False, False, False]
    assert [line.partition(":")[0] for _, line in found] == [
        "configuration",
        "prometheus",
        "cluster main",
        "target shop",
    ]
    assert await once.check(given, ask=False) == found[:1]
