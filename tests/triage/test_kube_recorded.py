"""The stand-in behaves as the server does where the client can tell."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.triage.kube_setup import ERRORS, FRONT, STATES, copy_states, pod, recorded, serving
from triage.kube.client import LEASES, PODS
from triage.kube.errors import ConflictError
from triage.kube.recorded import RecordedCluster, read_folder, shifted
from triage.kube.values import parse_time
from triage.sources.errors import DeniedError, MissingError

pytestmark = pytest.mark.asyncio(loop_scope="function")


async def fetch(cluster: RecordedCluster, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(cluster.url + path) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (
            "/api/v1/namespaces/demo/pods/unready/log?container=app&previous=true",
            "previous-missing",
        ),
        ("/api/v1/namespaces/demo/pods/absent/log?container=app", "pod-missing"),
        ("/api/v1/namespaces/demo/pods/absent", "pod-get-missing"),
        (f"/api/v1/namespaces/demo/pods/{FRONT}/log", "which-container"),
        (f"/api/v1/namespaces/demo/pods/{FRONT}/log?container=nope", "wrong-container"),
        ("/api/v1/namespaces/demo/pods/initfail/log?container=app", "init-waiting"),
    ],
)
async def test_same_words_as_the_real_server(tmp_path: Path, path: str, error: str) -> None:
    async with serving(tmp_path) as (cluster, _):
        code, text = await fetch(cluster, path)
        assert code == ERRORS[error]["status"]
        assert json.loads(text)["message"] == ERRORS[error]["body"]["message"]


async def test_token_is_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path, token="t") as (cluster, client):  # noqa: S106
        assert await client.check()
        assert (await fetch(cluster, "/version"))[0] == 401


async def test_rights_can_be_withheld(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, client):
        cluster.deny("/pods", ERRORS["denied-list"]["body"]["message"])
        with pytest.raises(DeniedError, match="no right to list pods"):
            await client.objects(PODS, "demo")


async def test_objects_change_while_it_runs(tmp_path: Path) -> None:
    async with serving(tmp_path, [pod("a")]) as (cluster, client):
        cluster.apply(pod("b"))
        cluster.delete("pods", "front", "a")
        names = [p["metadata"]["name"] for p in (await client.objects(PODS, "front")).items]
        assert names == ["b"]
        assert cluster.find("pods", "front", "a") is None


async def test_writes_carry_versions(tmp_path: Path) -> None:
    async with serving(tmp_path, []) as (_, client):
        body: dict[str, Any] = {"metadata": {"name": "x"}, "spec": {}}
        with pytest.raises(MissingError):
            await client.send("PUT", LEASES, "n", "x", body)
        made = await client.send("POST", LEASES, "n", "", body)
        with pytest.raises(ConflictError, match="already exists"):
            await client.send("POST", LEASES, "n", "", body)
        await client.send("PUT", LEASES, "n", "x", made)
        with pytest.raises(ConflictError, match="cannot be fulfilled"):
            await client.send("PUT", LEASES, "n", "x", made)


async def test_logs_are_read_live_from_the_folder(tmp_path: Path) -> None:
    folder = copy_states(tmp_path)
    path = folder / "logs" / "demo" / FRONT / "app.log"
    async with RecordedCluster(folder) as cluster:
        asked = f"/api/v1/namespaces/demo/pods/{FRONT}/log?container=app"
        before = (await fetch(cluster, asked))[1]
        with path.open("a") as file:
            file.write("2026-11-21T23:59:00.5Z stderr F late line\n")
        after = (await fetch(cluster, asked + "&timestamps=true"))[1].splitlines()
        assert len(after) == len(before.splitlines()) + 1
        assert after[-1] == "2026-11-21T23:59:00.500000000Z late line"
        late = (await fetch(cluster, asked + "&sinceTime=2026-11-21T23:58:00Z"))[1]
        assert late == "late line\n"


async def test_folder_that_is_not_readable(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match=r"bad\.json: neither JSON nor YAML"):
        read_folder(tmp_path)


async def test_times_can_be_moved() -> None:
    item = recorded(STATES, "Pod", FRONT)
    moved = shifted(item, 100)
    for where in ("creationTimestamp",):
        before, after = parse_time(item["metadata"][where]), parse_time(moved["metadata"][where])
        assert before is not None
        assert after == before + 100
    assert moved["metadata"]["name"] == FRONT


async def test_command_serves_a_folder(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "triage.kube.recorded", str(STATES),
        "--kubeconfig", str(tmp_path / "config"), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        async with aiohttp.ClientSession() as session, session.get(url + "/readyz") as answer:
            assert await answer.text() == "ok"
        assert url in (tmp_path / "config").read_text()
    finally:
        process.terminate()
        await process.wait()
