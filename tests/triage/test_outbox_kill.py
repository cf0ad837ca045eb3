"""The outbox under kill -9 at every step: nothing lost, nothing visibly sent twice."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from tests.triage.alert_cases import Receiver, receiver
from tests.triage.outbox_victim import work

ROOT = Path(__file__).parents[2]

POINTS = [
    *(f"{point}:{count}" for point in ("before_save", "after_save") for count in (1, 3)),
    *(f"{point}:{count}" for point in ("before_put", "after_put") for count in (1, 2)),
    *(
        f"{side}_{method}:{count}"
        for method in ("begin", "send", "delivered")
        for side in ("before", "after")
        for count in (1, 5)
    ),
]


async def killed(*arguments: str) -> int:
    """Run the service in small in a process of its own; return its exit status."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.triage.outbox_victim", *arguments, cwd=ROOT
    )
    async with asyncio.timeout(60):
        return await process.wait()


@pytest.mark.asyncio
@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_and_started_again(tmp_path: Path, point: str) -> None:
    async with receiver() as hook, receiver() as slack, receiver() as am:
        (tmp_path / "url").write_text(slack.url)
        where = (str(tmp_path / "state.db"), hook.url, str(tmp_path / "url"), am.url)
        assert await killed(*where, point) == -signal.SIGKILL
        async with asyncio.timeout(60):
            await work(*where, "never")
        check_hook(hook, point)
        check_slack(slack, point)
        check_alertmanager(am, point)


def check_hook(got: Receiver, point: str) -> None:
    assert list(dict.fromkeys(got.ids)) == ["i.1", "i.2", "i.3"], point  # all, in order
    assert got.ids == sorted(got.ids), point
    assert len(got.ids) <= 4, point  # one repeat at most: what the crash interrupted
    bodies = {
        key: {body for one, (_, body) in zip(got.ids, got.got, strict=True) if one == key}
        for key in got.ids
    }
    assert all(len(same) == 1 for same in bodies.values()), point


def check_slack(got: Receiver, point: str) -> None:
    """What may be there twice says so."""
    seen: set[str] = set()
    for key, (_, body) in zip(got.ids, got.got, strict=True):
        assert key not in seen or b"Sent again" in body, point
        seen.add(key)
    assert list(dict.fromkeys(got.ids)) == ["i.1", "i.2", "i.3"], point


def check_alertmanager(got: Receiver, point: str) -> None:
    """To Alertmanager a repeat is the same alert: labels and start are the same."""
    identities = set()
    for _, body in got.got:
        for alert in json.loads(body):
            identities.add((json.dumps(alert["labels"], sort_keys=True), alert["startsAt"]))
    assert len(identities) == 1, point
    assert got.ids[-1] == "i.3", point
    assert got.ids == sorted(got.ids), point
