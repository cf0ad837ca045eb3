"""Logs through the API: recorded ones, live ones, and those that cannot be had."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.triage.kube_setup import ERRORS, FRONT, RECORDED_AT, pod, serving, until
from triage.kube.errors import KubeletDownError
from triage.kube.logs import KubernetesLogs, _Seen
from triage.sources.errors import DeniedError, GarbageError, MissingError, SlowError, SourceError
from triage.sources.logs import LogRef, LogSource

pytestmark = pytest.mark.asyncio(loop_scope="function")

APP = LogRef(pod=FRONT, namespace="demo", container="app")
PROXY = LogRef(pod=FRONT, namespace="demo", container="istio-proxy")
PREVIOUS = LogRef(pod=FRONT, namespace="demo", container="app", previous=True)
LIVE = LogRef(pod="a", namespace="front", container="app")


async def read(logs: LogSource, ref: LogRef, start: float = 0.0, end: float = 4e9) -> list[bytes]:
    return [line async for line in logs.read(ref, start, end)]


async def rest(lines: AsyncIterator[bytes]) -> list[bytes]:
    return [line async for line in lines]


async def test_read_in_a_window(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        logs = KubernetesLogs(client)
        whole = await read(logs, PROXY)
        assert any(b"503 UF upstream_reset_before_response_started{" in line for line in whole)
        assert whole[0].startswith(b"2026-11-21T23:47:18.113864906Z ")
        late = await read(logs, PROXY, RECORDED_AT - 10)
        assert 0 < len(late) < len(whole)
        assert whole[-len(late) :] == late
        early = await read(logs, PROXY, 0, RECORDED_AT - 60)
        assert 0 < len(early) < len(whole)
        assert whole[: len(early)] == early


async def test_previous_instance(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, client):
        lines = await read(KubernetesLogs(client), PREVIOUS)
        assert any(b"giving up" in line for line in lines)
        assert "previous=true" in cluster.requests[-1]
        with pytest.raises(MissingError, match="previous terminated container"):
            await read(KubernetesLogs(client), replace(PREVIOUS, pod="unready"))


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ("kubelet-refused", KubeletDownError, "the kubelet of the pod's node"),
        ("kubelet-stopped", KubeletDownError, "did not answer"),
        ("waiting", MissingError, "is waiting to start"),
        ("denied-log", DeniedError, "no right to get pods/log"),
        ("pod-missing", MissingError, "not found"),
    ],
)
async def test_what_a_real_server_says(
    tmp_path: Path, answer: str, error: type[SourceError], text: str
) -> None:
    async with serving(tmp_path) as (cluster, client):
        told = ERRORS[answer]
        cluster.fault("/log", status=told["status"], body=json.dumps(told["body"]))
        with pytest.raises(error, match=text):
            await read(KubernetesLogs(client), APP)


async def test_pod_on_no_node_has_no_log(tmp_path: Path) -> None:
    assert ERRORS["unscheduled"]["status"] == 204
    async with serving(tmp_path) as (cluster, client):
        cluster.fault("/log", status=204)
        with pytest.raises(MissingError, match="there is none yet"):
            await read(KubernetesLogs(client), APP)


async def test_a_kubelet_that_cannot_read_says_so_with_200(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, client):
        said = "unable to retrieve container logs for containerd://0123"
        cluster.fault("/log", status=200, body=said)
        for lines in (read(KubernetesLogs(client), APP), follow(client, APP)):
            with pytest.raises(MissingError, match="unable to retrieve"):
                await lines


async def follow(client: Any, ref: LogRef) -> list[bytes]:
    return [line async for line in KubernetesLogs(client).follow(ref, 0)]


async def test_hanging_kubelet_is_slow(tmp_path: Path) -> None:
    async with serving(tmp_path, timeout=0.2) as (cluster, client):
        cluster.fault("/log", delay=5)
        with pytest.raises(SlowError, match="asks the kubelet"):
            await read(KubernetesLogs(client), APP)


async def test_too_much_is_said(tmp_path: Path) -> None:
    async with serving(tmp_path, log_bytes=500) as (_, client):
        lines = KubernetesLogs(client).read(PROXY, 0, 4e9)
        assert await anext(lines)  # what comes before the error counts
        with pytest.raises(GarbageError, match="more than 500 bytes since"):
            await rest(lines)


async def test_break_off_is_told_from_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, client):
        cluster.fault("/log", cut=40, body="2026-11-21T23:47:19Z one\n2026-11-21T23:47:20Z two\n")
        with pytest.raises(GarbageError, match="broke off"):
            await read(KubernetesLogs(client), APP)


async def test_follow_a_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("before\n")
    async with serving(tmp_path, [pod("a")]) as (cluster, client):
        cluster.set_log("front", "a", "app", path)
        got: list[bytes] = []

        async def run() -> None:
            async with aclosing(KubernetesLogs(client).follow(LIVE, time.time() - 60)) as lines:
                async for line in lines:
                    got.append(line)  # noqa: PERF401

        task = asyncio.create_task(run())
        await until(lambda: len(got) == 1)
        with path.open("a") as file:
            file.write("after\n")
        await until(lambda: len(got) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [line.split(b" ", 1)[1] for line in got] == [b"before", b"after"]


async def test_silence_is_asked_again_and_nothing_comes_twice(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("one\ntwo\n")
    async with serving(tmp_path, [pod("a")], follow_idle=0.2) as (cluster, client):
        cluster.set_log("front", "a", "app", path)
        got: list[bytes] = []

        async def run() -> None:
            async for line in KubernetesLogs(client).follow(LIVE, time.time() - 60):
                got.append(line)  # noqa: PERF401

        task = asyncio.create_task(run())
        await until(lambda: len(cluster.requests) >= 4)
        with path.open("a") as file:
            file.write("three\n")
        await until(lambda: len(got) >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [line.split(b" ", 1)[1] for line in got] == [b"one", b"two", b"three"]


async def test_lines_seen_before_are_told_apart() -> None:
    seen = _Seen(0)
    seen.again()
    assert seen.new(b"1 a", 10)
    assert seen.new(b"1 b", 10)
    assert seen.new(b"no time", None)
    seen.again()
    assert not seen.new(b"1 a", 10)
    assert not seen.new(b"1 b", 10)
    assert seen.new(b"1 c", 10)
    assert seen.new(b"2", 11)


async def test_abandoned_reader_leaves_no_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, concurrency=1) as (_, client):
        async with aclosing(KubernetesLogs(client).read(APP, 0, 4e9)) as lines:
            await anext(lines)
        assert await asyncio.wait_for(client.check(), 5)  # the one slot is free again
