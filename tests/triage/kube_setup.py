"""Shared by the tests of the Kubernetes part: recorded clusters and clients of them."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from triage.kube.client import KubeClient
from triage.kube.recorded import RecordedCluster, read_folder
from triage.kube.settings import KubeSettings

DATA = Path(__file__).parent / "data" / "kube"
STATES = DATA / "states"
NODE_DOWN = DATA / "node_down"
ERRORS: dict[str, dict[str, Any]] = json.loads((DATA / "errors.json").read_text())

FRONT = "front-f7c9d7949-w5shg"
RECORDED_AT = 1795305162.0  # 2026-11-21T23:52:42Z: when states/ was recorded


def recorded(folder: Path, kind: str, name: str) -> dict[str, Any]:
    return next(
        item
        for item in read_folder(folder)
        if item["kind"] == kind and item["metadata"]["name"] == name
    )


def settings(cluster: RecordedCluster, tmp_path: Path, **more: Any) -> KubeSettings:
    path = cluster.write_kubeconfig(tmp_path / f"kubeconfig-{cluster.port}")
    fixed: dict[str, Any] = {"name": "test", "kubeconfig": str(path), "timeout": 2.0}
    return KubeSettings(**{**fixed, **more})


@asynccontextmanager
async def serving(
    tmp_path: Path, source: Any = STATES, *, token: str = "", **more: Any
) -> AsyncIterator[tuple[RecordedCluster, KubeClient]]:
    async with (
        RecordedCluster(source, token=token) as cluster,
        KubeClient(settings(cluster, tmp_path, **more)) as client,
    ):
        yield cluster, client


def copy_states(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STATES, tmp_path / "states"))


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come about"
        await asyncio.sleep(0.01)


def pod(name: str, namespace: str = "front", **more: Any) -> dict[str, Any]:
    """A small healthy pod of app=front."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": more.get("uid", f"uid-{name}"),
            "labels": more.get("labels", {"app": "front"}),
            **more.get("metadata", {}),
        },
        "spec": {"nodeName": "worker-1", "containers": [{"name": "app"}], **more.get("spec", {})},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "app", "ready": True, "state": {"running": {}}}],
            **more.get("status", {}),
        },
    }
