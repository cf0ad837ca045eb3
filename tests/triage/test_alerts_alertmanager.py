"""Alertmanager: what is posted, and what a real one makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.triage.alert_cases import (
    SECRET,
    T0,
    Receiver,
    make_incident,
    make_verdict,
    receiver,
    told,
    until,
)
from tests.triage.site import with_templates
from triage.alerts.alertmanager import (
    AlertmanagerClient,
    AlertmanagerSettings,
    AlertmanagerSink,
    check_alertmanager,
    evidence_text,
    heartbeat,
    render,
)
from triage.alerts.delivery import DeliverySettings, Dispatcher
from triage.alerts.errors import AlertConfigError, RefusedError
from triage.alerts.message import utc
from triage.alerts.sink import Sending
from triage.evidence import Cause, Proof, Step
from triage.incidents import AlertKind, Severity
from triage.store import Store

NOW = T0 + 30
F, U, R = AlertKind.FIRING, AlertKind.UPDATED, AlertKind.RESOLVED


def posted(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
    return render(*args, now=NOW, lives=240.0, **kwargs)


def test_the_labels_identify_and_route() -> None:
    (alert,) = posted(told(), None, labels={"team": "shop", "target": "not ours"})
    assert alert["labels"] == {
        "alertname": "TriageVerdict",
        "target": "shop",
        "cluster": "main",
        "namespace": "front",
        "incident": "20260102-030405-a1b2c3",
        "cause": "node",
        "severity": "warning",
        "team": "shop",
    }
    assert alert["startsAt"] == utc(T0)
    assert alert["endsAt"] == utc(NOW + 240)
    assert alert["generatorURL"] == "https://triage.example/incidents/a1b2c3"
    notes = alert["annotations"]
    assert notes["summary"] == "shop: node: VM paused"
    assert "paused(8)" in notes["evidence"]
    assert "app: failed: log rotated away" in notes["steps"]
    assert "[lag 0.250 s]" in notes["steps"]
    assert "ts - 2 s" in notes["steps"]
    assert notes["unknown"]
    assert SECRET not in json.dumps(alert)


def test_the_end_is_when_it_was_good_again() -> None:
    (alert,) = posted(told(2, R), told())
    assert alert["endsAt"] == utc(NOW)  # 45 s after T0 lies ahead of this clock
    (alert,) = posted(told(2, R, resolved_at=T0 + 20), told())
    assert alert["endsAt"] == utc(T0 + 20)


def test_other_labels_end_the_alert_that_they_replace() -> None:
    other = told(2, U, verdict=make_verdict(cause=Cause.POD))
    new, old = posted(other, told())
    assert (new["labels"]["cause"], old["labels"]["cause"]) == ("pod", "node")
    assert new["endsAt"] > old["endsAt"] == utc(NOW)
    worse = told(2, U, severity=Severity.CRITICAL)
    assert [one["labels"]["severity"] for one in posted(worse, told())] == ["critical", "warning"]


def test_other_annotations_are_the_same_alert() -> None:
    other = told(2, U, verdict=make_verdict(title="node: VM crashed", reason="vm_crashed"))
    assert len(posted(other, told())) == 1
    assert posted(other, told())[0]["labels"] == posted(told(), None)[0]["labels"]


def test_an_alert_never_ends_before_it_starts() -> None:
    early = replace(told(2, R), ended_at=T0 - 100)
    late = replace(told(), started_at=NOW + 9999)
    for alert in (*posted(early, None), *posted(late, None)):
        assert alert["endsAt"] >= alert["startsAt"]


def test_long_evidence_is_cut_with_a_note() -> None:
    proofs = tuple(
        Proof(step=Step.APP, time=T0, source="s", text=f"{n} " + "x" * 1900) for n in range(30)
    )
    text = evidence_text(told(verdict=make_verdict(proofs=proofs)), 8000)
    assert len(text) <= 8000
    assert text.endswith("more: triage show 20260102-030405-a1b2c3")


def test_configuration_faults() -> None:
    check_alertmanager(AlertmanagerSettings(name="am", url="http://127.0.0.1:9093"))
    with pytest.raises(AlertConfigError, match="Alertmanager am"):
        check_alertmanager(AlertmanagerSettings(name="am", url="127.0.0.1:9093"))


# A real one


def binary() -> str:
    unpacked = Path(__file__).parents[2] / ".build" / "unpacked" / "usr" / "bin"
    path = os.environ.get("PATH", "") + os.pathsep + str(unpacked)
    for name in ("prometheus-alertmanager", "alertmanager"):
        if found := shutil.which(name, path=path):
            return found
    pytest.skip("no Alertmanager here (tools/packages test unpacks it)")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Real:
    """A running Alertmanager and what it notifies."""

    def __init__(self, url: str, told: Receiver) -> None:
        self.url = url
        self.told = told

    async def alerts(self) -> list[dict[str, Any]]:
        """What fires, less what is resolved."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + "/api/v2/alerts") as answer,
        ):
            found: list[dict[str, Any]] = await answer.json()
            return found

    async def until_firing(self, *causes: str) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while True:
                found = await self.alerts()
                if sorted(one["labels"].get("cause", "") for one in found) == sorted(causes):
                    return found
                await asyncio.sleep(0.05)

    @property
    def notified(self) -> list[tuple[str, str]]:
        """(status, cause) of each alert of each notification."""
        return [
            (alert["status"], alert["labels"].get("cause", ""))
            for _, body in self.told.got
            for alert in json.loads(body)["alerts"]
        ]


@contextlib.asynccontextmanager
async def alertmanager(folder: Path) -> AsyncIterator[Real]:
    program = binary()
    async with receiver() as told_:
        (folder / "am.yml").write_text(
            "route: {receiver: us, group_by: [alertname, target, incident], group_wait: 100ms,"
            " group_interval: 200ms, repeat_interval: 1h}\n"
            "receivers: [{name: us, webhook_configs: [{url: '" + told_.url + "/',"
            " send_resolved: true}]}]\n"
        )
        url = f"http://127.0.0.1:{free_port()}"
        process = await asyncio.create_subprocess_exec(
            *with_templates(),
            program,
            f"--config.file={folder / 'am.yml'}",
            f"--storage.path={folder / 'am'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
            "--log.level=error",
        )
        try:
            async with asyncio.timeout(30), aiohttp.ClientSession() as session:
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(url + "/-/ready") as answer:
                            if answer.status == 200:
                                break
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
            yield Real(url, told_)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def now_told(number: int, kind: AlertKind, started: float, **changes: Any) -> Any:
    message = told(number, kind, **changes)
    return replace(message, started_at=started, ended_at=time.time() if kind is R else None)


@pytest.mark.asyncio
async def test_a_real_one_is_told_of_an_incident_from_its_beginning_to_its_end(
    tmp_path: Path,
) -> None:
    started = time.time() - 10
    quick = DeliverySettings(first_retry=0.01, longest_retry=0.1, poll=0.05)
    pod = make_verdict(cause=Cause.POD, reason="oom_killed", title="pod: OOMKilled")
    async with alertmanager(tmp_path) as real:
        sink = AlertmanagerSink(AlertmanagerSettings(name="am", url=real.url, resend=0.5, hold=1.0))
        with Store(tmp_path / "triage.db") as store:
            dispatcher = Dispatcher(store, [sink], quick)
            task = asyncio.create_task(dispatcher.run())

            def tell(message: Any) -> None:
                store.save(make_incident(), messages=(message,), sinks=("am",))
                dispatcher.wake()

            try:
                tell(now_told(1, F, started, verdict=pod))
                (alert,) = await real.until_firing("pod")
                assert alert["startsAt"] == utc(started)
                await until(lambda: ("firing", "pod") in real.notified)
                # It lives for 2 s and is still there after more: it was sent again
                await until(lambda: dispatcher.status["am"].resent >= 6)
                assert len(await real.alerts()) == 1
                # The cause changes: people hear of it, and only the new one fires
                tell(now_told(2, U, started))
                await real.until_firing("node")
                await until(lambda: ("firing", "node") in real.notified)
                assert ("resolved", "pod") in real.notified
                tell(now_told(3, R, started))
                await real.until_firing()
                await until(lambda: ("resolved", "node") in real.notified)
            finally:
                await dispatcher.stop()
                await task


@pytest.mark.asyncio
async def test_a_real_one_tells_of_an_outage_that_was_over_before_it_heard(tmp_path: Path) -> None:
    """It forgets what fires and ends between two flushes; `hold` is there for that."""
    started = time.time() - 10
    async with alertmanager(tmp_path) as real:
        sink = AlertmanagerSink(AlertmanagerSettings(name="am", url=real.url, resend=0.5, hold=1.0))
        with Store(tmp_path / "triage.db") as store:
            for message in (now_told(1, F, started), now_told(2, R, started)):
                store.save(make_incident(), messages=(message,), sinks=("am",))
            dispatcher = Dispatcher(store, [sink], DeliverySettings(poll=0.05))
            task = asyncio.create_task(dispatcher.run())
            try:
                await until(lambda: ("resolved", "node") in real.notified)
                assert real.notified[0] == ("firing", "node")
            finally:
                await dispatcher.stop()
                await task


@pytest.mark.asyncio
async def test_a_real_one_folds_repeats_and_ends_what_nobody_sends_again(tmp_path: Path) -> None:
    started = time.time() - 10
    async with alertmanager(tmp_path) as real:
        sink = AlertmanagerSink(AlertmanagerSettings(name="am", url=real.url, resend=0.5))
        for _ in range(3):
            await sink.send(Sending(message=now_told(1, F, started), repeat=True))
        assert len(await real.alerts()) == 1
        await until(lambda: ("firing", "node") in real.notified)
        await real.until_firing()  # four re-sends later, by itself
        await until(lambda: ("resolved", "node") in real.notified)
        assert real.notified.count(("firing", "node")) == 1


@pytest.mark.asyncio
async def test_a_real_one_takes_hostile_text_and_the_heartbeat(tmp_path: Path) -> None:
    odd = "\x00\x1b[31m\ud800\u2028 \U0001f525 <b>&{{ .Labels }}\n" * 200
    verdict = make_verdict(title=odd, summary=odd, object=odd, unknowns=(odd,))
    async with alertmanager(tmp_path) as real:
        sink = AlertmanagerSink(AlertmanagerSettings(name="am", url=real.url))
        await sink.send(Sending(message=now_told(1, F, time.time() - 5, verdict=verdict)))
        client = AlertmanagerClient(AlertmanagerSettings(name="am", url=real.url))
        await client.post([heartbeat(time.time(), 240.0, {"site": "a"})])
        found = await real.alerts()
        assert {one["labels"]["alertname"] for one in found} == {
            "TriageVerdict",
            "TriageHeartbeat",
        }
        with pytest.raises(RefusedError, match="400"):
            await client.post([{"labels": {}}])
