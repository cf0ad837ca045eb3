"""`triage run` with a hypervisor's syslog: the verdict on a paused machine carries its lines."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.triage.site import HOST, wait_for
from tests.triage.snmp_agent import Agent, hypervisor, integer
from tests.triage.triage_process import TriageProcess
from triage import recording
from triage.demo.hostlog import HOST as HYPERVISOR
from triage.demo.monitor import AGENT, INSTANCE
from triage.demo.scene import Scene
from triage.demo.site import NAMESPACE
from triage.snmp import oids

MACHINE = uuid.UUID("11111111-2222-3333-4444-555555555555")


class AgentThread:
    """The hypervisor's SNMP agent, in a thread with a loop of its own."""

    def __init__(self, runs: threading.Event) -> None:
        values = dict(hypervisor({1: MACHINE}))
        values[(*oids.VM_OPER_STATE, 1)] = lambda: integer(4 if runs.is_set() else 8)
        self.agent = Agent(values)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agent")

    def __enter__(self) -> Agent:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.agent.start(HOST), self._loop).result(5)
        return self.agent

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self.agent.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Site:
    """The demo's stand-ins, an agent, and what triage is configured with."""

    def __init__(self, folder: Path, scene: Scene, agent: Agent, runs: threading.Event) -> None:
        self.folder, self.scene, self.agent, self.runs = folder, scene, agent, runs
        self.log = scene.host_log

    def config(self, **syslog: Any) -> dict[str, Any]:
        credentials = self.folder / "snmp.toml"
        credentials.write_text('community = "public"\n')
        return {
            "prometheus": {"url": self.scene.prometheus},
            "poll_interval": 0.2,
            "targets": [
                {
                    "name": "shop",
                    "url": INSTANCE,
                    "user_agent": f"^{AGENT.partition('/')[0]}/",
                    "namespace": NAMESPACE,
                    "service": "front",
                    "gateway": {},
                }
            ],
            "clusters": [{"name": "recorded", "kubeconfig": str(self.scene.kubeconfig)}],
            "hypervisors": [
                {
                    "name": HYPERVISOR,
                    "address": f"{HOST}:{self.agent.port}",
                    "credentials_file": str(credentials),
                }
            ],
            "syslog": {"paths": [str(self.log.path.parent)], "refresh": 0.3, **syslog},
            "alerts": {"webhook": [{"name": "hook", "url": self.scene.alerts_to}]},
            "incidents": {"recovery": 2, "firing_at_least": 0, "look_again": 0.5},
        }

    def await_alert(self, **verdict: str) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            told = [one for one in list(self.scene.alerts) if one["event"] != "resolved"]
            return [one for one in told if verdict.items() <= one["verdict"].items()]

        return wait_for(found, f"an alert with {verdict}")[-1]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    runs = threading.Event()
    runs.set()
    with (
        Scene(tmp_path, "shop-1", str(MACHINE).upper(), runs.is_set) as scene,
        AgentThread(runs) as agent,
    ):
        wait_for(lambda: scene.statuses[-1:] == [200], "the shop to be up")
        yield Site(tmp_path, scene, agent, runs)


def total(run: TriageProcess, name: str) -> float:
    return sum(value for _, value in run.metrics(name))


def test_a_paused_machines_verdict_carries_its_hypervisors_lines(site: Site) -> None:
    with TriageProcess(site.folder, site.config()) as run:
        wait_for(lambda: total(run, "triage_syslog_lines_total") > 1000, "the past to be read")
        site.log.stall()
        site.runs.clear()
        told = site.await_alert(title="node: VM paused")
        assert told["verdict"]["confidence"] == "certain"
        assert f"before that, its hypervisor {HYPERVISOR} logged" in told["verdict"]["summary"]
        lines = [one["text"] for one in told["evidence"] if one["step"] == "syslog"]
        assert any(line.startswith("kernel: I/O error, dev sdb") for line in lines)
        assert not any(one["deciding"] for one in told["evidence"] if one["step"] == "syslog")

        shown = run.show(told["incident"])
        (step,) = [one for one in shown["steps"] if one["step"] == "syslog"]
        assert (step["outcome"], step["problems"]) == ("ran", [])
        status, page = run.get(f"/incidents/{told['incident']}")
        assert status == 200
        assert "kernel: I/O error, dev sdb" in page
        exported = site.folder / "incident.json"
        assert run.run("export", told["incident"], "-o", str(exported)).code == 0
        kept = recording.load(exported.read_bytes())
        assert kept.looks[-1].evidence.syslog.findings
        assert run.run("replay", str(exported)).code == 2  # it takes no configuration
        assert all(one.same for one in recording.replay(kept))

        assert total(run, "triage_syslog_templates") > 5
        assert run.metrics("triage_syslog_read_timestamp_seconds")
        assert {labels["state"] for labels, _ in run.metrics("triage_syslog_alarms")} == {
            *("open", "confirmed", "unconfirmed", "late"),
        }
        site.runs.set()
        wait_for(lambda: site.scene.alerts[-1]["event"] == "resolved", "the end")


def test_it_goes_on_after_a_kill_and_says_what_it_cannot_read(site: Site) -> None:
    with TriageProcess(site.folder, site.config()) as run:
        wait_for(lambda: total(run, "triage_syslog_lines_total") > 1000, "the past to be read")
        run.stop(signal.SIGKILL)
        site.log.stall()
        run.start()
        wait_for(lambda: total(run, "triage_syslog_lines_total") >= 4, "what is new to be read")
        assert total(run, "triage_syslog_lines_total") < 100
        folder = site.log.path.parent
        folder.rename(folder.with_name("elsewhere"))
        wait_for(lambda: "syslog" in run.failing(), "it to notice")
        checked = run.run("check")
        assert checked.code == 1
        assert str(folder) in checked.err
        folder.with_name("elsewhere").rename(folder)
        wait_for(lambda: "syslog" not in run.failing(), "it to come back")
        checked = run.run("check")
        assert f"syslog of hypervisor {HYPERVISOR}: {HYPERVISOR}" in checked.out
        assert "Traceback" not in run.said()


def test_a_log_that_cannot_be_read_at_all_keeps_no_verdict(site: Site) -> None:
    missing = str(site.folder / "nowhere")
    with TriageProcess(site.folder, site.config(paths=[missing])) as run:
        wait_for(lambda: "syslog" in run.failing(), "it to notice")
        site.runs.clear()
        told = site.await_alert(title="node: VM paused")
        assert told["verdict"]["confidence"] == "certain"
        assert told["unknowns"] == []
        (step,) = [one for one in told["steps"] if one["step"] == "syslog"]
        assert (step["outcome"], missing in step["summary"]) == ("failed", True)
        site.runs.set()
        assert json.dumps(told)
