"""Alerts of others that ask for a triage: they fire on over a restart of triage."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.triage.site import free_ports
from triage.config import Config, load
from triage.service import ASKED, Service

ALERT = {"labels": {"instance": "https://shop.example/"}, "startsAt": "2026-01-01T00:00:00Z"}


def payload(status: str) -> bytes:
    ended = {"endsAt": "2026-01-01T00:10:00Z"} if status == "resolved" else {}
    return json.dumps({"version": "4", "alerts": [ALERT | ended | {"status": status}]}).encode()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (port,) = free_ports(1)
    path = tmp_path / "triage.yaml"
    path.write_text(
        f"state_dir: {tmp_path}/state\n"
        f"web: {{listen_address: '127.0.0.1:{port}'}}\n"
        "targets: [{name: shop, url: 'https://shop.example/'}]\n"
    )
    return load(path)


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[Service]:
    service = Service(config, lambda: config)
    task = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(20):
            while service.ready():
                await asyncio.sleep(0.01)
        yield service
    finally:
        service.stop()
        await task


async def events(service: Service) -> list[str]:
    """What kinds of events its sources give of the target, now."""
    assert service.assembly is not None
    assert service.engine is not None
    return [type(one).__name__ for one in await service._seen(service.assembly, service.engine)]


@pytest.mark.asyncio
async def test_an_alert_that_fires_is_remembered(config: Config) -> None:
    async with running(config) as service:
        assert await events(service) == []
        assert await service.asked(payload("firing")) == 1
        assert await events(service) == ["Bad"]
    async with running(config) as service:
        assert await events(service) == ["Bad"]
        assert await service.asked(payload("resolved")) == 1
        assert await events(service) == []
    async with running(config) as service:
        assert await events(service) == []


@pytest.mark.asyncio
async def test_what_another_release_remembered_is_no_obstacle(config: Config) -> None:
    async with running(config) as service:
        service.store.state.put(ASKED, b'{"shop": "?"}')
    async with running(config) as service:
        assert await events(service) == []
