"""`triage run` and its other commands as processes, on stand-ins for what they ask and tell."""

from __future__ import annotations

import datetime as dt
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.triage.fake_prometheus import FakePrometheus
from tests.triage.kube_setup import STATES
from tests.triage.site import HOST, Receiver, free_ports, wait_for
from tests.triage.triage_process import ClusterThread, TriageProcess, run_here, run_triage

URL = "http://front.example/"
AGENT = "Blackbox Exporter/0.24.0"
INCIDENTS = {"recovery": 2, "firing_at_least": 0, "pending_limit": 4, "look_again": 0.5}


class Scene:
    """A monitored target whose proxy and application log to files."""

    def __init__(self, folder: Path, prometheus: FakePrometheus, receiver: Receiver) -> None:
        self.folder = folder
        self.prometheus = prometheus
        self.receiver = receiver
        self.proxy, self.app = folder / "proxy.log", folder / "app.log"
        self.proxy.touch()
        self.app.touch()

    def config(self, **more: Any) -> dict[str, Any]:
        return {
            "prometheus": {"url": self.prometheus.url},
            "poll_interval": 0.2,
            "incidents": INCIDENTS,
            "targets": [self.target("front", URL)],
            "alerts": {
                "webhook": [{"name": "hook", "url": f"{self.receiver.url}/triage"}],
                "alertmanager": [
                    {"name": "am", "url": self.receiver.url, "hold": 0, "resend": 600}
                ],
            },
            **more,
        }

    def target(self, name: str, url: str) -> dict[str, Any]:
        logs = {"proxy_files": [str(self.proxy)], "app_files": [str(self.app)]}
        return {"name": name, "url": url, **logs}

    def triage(self, **more: Any) -> TriageProcess:
        return TriageProcess(self.folder, self.config(**more))

    def fail(self) -> None:
        """The application answers 500 from now on."""
        self.prometheus.set(URL, 500)
        self.line(500)

    def line(self, status: int) -> None:
        now = dt.datetime.now(dt.UTC)
        start = now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        with self.proxy.open("a") as log:
            log.write(
                f'[{start}] "GET / HTTP/1.1" {status} - via_upstream - "-" 0 11 1 1 "-" "{AGENT}" '
                '"7a1f6a4e-0a3c-4f6e-9a52-2b7d1a5c8e01" "front.example" "10.42.0.101:8000" '
                "inbound|8000|| 127.0.0.6:40461 10.42.0.101:8000 10.42.0.9:43022 - default\n"
            )
        with self.app.open("a") as log:
            access = f'INFO:     10.42.0.9:0 - "GET / HTTP/1.1" {status} Internal Server Error'
            log.write(f"{start} stdout F {access}\n")

    def heal(self) -> None:
        self.prometheus.set(URL, 200)

    def told(self, event: str) -> list[dict[str, Any]]:
        """What the webhook was told, repeats folded as a receiver does it."""
        found = {
            one["headers"]["idempotency-key"]: one["json"]
            for one in list(self.receiver.received)
            if one["path"] == "/triage" and one["json"]["event"] == event
        }
        return list(found.values())

    def await_told(self, event: str) -> dict[str, Any]:
        return wait_for(lambda: self.told(event), f"an alert that is {event}")[0]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with FakePrometheus([URL, "http://other.example/"]) as prometheus, Receiver() as receiver:
        yield Scene(tmp_path, prometheus, receiver)


def lines_of(text: str) -> list[str]:
    """The lines that a command printed as reasons, without its name."""
    lines = text.splitlines()
    assert all(one.startswith("triage: ") for one in lines), text
    return [one.removeprefix("triage: ") for one in lines]


# An incident


def test_an_incident_is_told_shown_exported_and_decided_again(scene: Scene) -> None:
    with scene.triage(alerts={**scene.config()["alerts"], "external_url": "http://triage/"}) as run:
        scene.fail()
        told = scene.await_told("firing")
        assert told["verdict"]["cause"] == "application"
        assert told["links"] == {"incident": f"http://triage/incidents/{told['incident']}"}
        (found,) = run.incidents()
        assert (found["id"], found["status"]) == (told["incident"], "confirmed")
        shown = run.show(found["id"])
        assert [one["outcome"] for one in shown["steps"]][:3] == ["ran", "ran", "ran"]
        assert '" 500 ' in json.dumps(shown["verdict"]["proofs"])
        exported = scene.folder / "incident.json"
        assert run.run("export", found["id"], "-o", exported).code == 0
        status, page = run.get(f"/incidents/{found['id']}")
        assert status == 200
        assert page.startswith("<!DOCTYPE html>")
        assert run.get("/incidents/20000101-000000-abcdef")[0] == 404
        ((labels, _),) = run.metrics("triage_incident_open")
        assert labels["cause"] == "application"
        scene.heal()
        resolved = scene.await_told("resolved")
        assert resolved["incident"] == told["incident"]
        wait_for(lambda: not run.open(), "the incident to be over")
    again = run_here("replay", exported)
    assert again.code == 0, again.err
    assert "application" in again.out
    broken = json.loads(exported.read_text())
    broken["looks"][0]["verdict"]["cause"] = "client"
    exported.write_text(json.dumps(broken))
    other = run_here("replay", exported)
    assert other.code == 1
    assert "cause" in lines_of(other.err)[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_in_mid_incident_loses_nothing_and_tells_nothing_twice(
    scene: Scene, number: int
) -> None:
    with scene.triage() as run:
        scene.fail()
        told = scene.await_told("firing")
        run.stop(number)
        run.start()
        ((labels, _),) = wait_for(lambda: run.metrics("triage_incident_open"), "it to go on")
        assert labels["incident"] == told["incident"]
        scene.heal()
        assert scene.await_told("resolved")["incident"] == told["incident"]
        wait_for(lambda: not run.open(), "the incident to be over")
        assert [len(scene.told(event)) for event in ("firing", "resolved")] == [1, 1]
        assert len(run.incidents()) == 1


def test_what_could_not_be_delivered_is_delivered_after_a_crash(scene: Scene) -> None:
    scene.receiver.statuses = [503] * 4
    with scene.triage() as run:
        scene.fail()
        run.await_said("event=alert ")
        wait_for(lambda: len(scene.receiver.received) >= 2, "both sinks to be tried")
        run.stop(signal.SIGKILL)
        scene.receiver.statuses = []
        scene.receiver.received.clear()
        run.start()
        assert scene.await_told("firing")["number"] == 1
        wait_for(
            lambda: any(one["path"] == "/api/v2/alerts" for one in scene.receiver.received),
            "Alertmanager to be told",
        )
    assert len(scene.told("firing")) == 1


def test_alertmanagers_webhook_opens_an_incident(scene: Scene) -> None:
    starts = dt.datetime.now(dt.UTC).isoformat()
    labels = {"alertname": "SiteDown", "instance": "http://other.example/"}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": starts,
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "0011223344556677",
    }
    payload = {
        "version": "4",
        "status": "firing",
        "receiver": "triage",
        "groupLabels": {},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "http://am",
        "groupKey": "{}",
        "alerts": [alert],
    }
    other = {"name": "other", "url": "http://other.example/"}
    with scene.triage(targets=[scene.target("front", URL), other]) as run:
        status, body = run.post("/api/v1/alertmanager", json.dumps(payload).encode())
        assert (status, body) == (200, "1 alerts taken\n")
        (found,) = wait_for(run.open, "an incident")
        assert found["target"] == "other"
        for wrong in (b"", b"{", b'{"alerts": 1}'):
            status, body = run.post("/api/v1/alertmanager", wrong)
            assert status == 400
            assert body.count("\n") == 1
        alert |= {"status": "resolved", "endsAt": dt.datetime.now(dt.UTC).isoformat()}
        assert run.post("/api/v1/alertmanager", json.dumps(payload).encode())[0] == 200
        told = scene.await_told("firing")
        assert told["target"]["name"] == "other"


# The service


def test_sources_that_are_down_at_the_start_are_said_and_waited_for(scene: Scene) -> None:
    prometheus, cluster, snmp, sink = free_ports(4)
    kubeconfig = scene.folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://{HOST}:{cluster}"}}],
                "users": [{"name": "c", "user": {}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                "current-context": "c",
            }
        )
    )
    credentials = scene.folder / "snmp.toml"
    credentials.write_text('community = "public"\n')
    credentials.chmod(0o600)
    config = scene.config(
        prometheus={"url": f"http://{HOST}:{prometheus}"},
        clusters=[{"name": "main", "kubeconfig": str(kubeconfig), "timeout": 1}],
        targets=[{"name": "front", "url": URL, "namespace": "front", "service": "front"}],
        hypervisors=[
            {
                "name": "hv1",
                "address": f"{HOST}:{snmp}",
                "credentials_file": str(credentials),
                "timeout": 0.2,
                "retries": 0,
            }
        ],
        alerts={"webhook": [{"name": "hook", "url": f"http://{HOST}:{sink}/"}]},
    )
    with TriageProcess(scene.folder, config) as run:
        wait_for(lambda: "prometheus" in run.failing(), "it to notice")
        run.await_said("source_failed source=prometheus")
        assert run.get("/-/healthy") == (200, "ok\n")
        assert run.get("/-/ready") == (200, "ok\n")
        checked = run.run("check")
        assert checked.code == 1
        failed = lines_of(checked.err)
        for name in ("prometheus", "cluster main", "hypervisor hv1"):
            assert sum(one.startswith(name) for one in failed) == 1, failed
        assert run.open() == []  # nothing known is nothing bad
        with FakePrometheus([URL], port=prometheus):
            wait_for(lambda: "prometheus" not in run.failing(), "it to come back")
            run.await_said("source_back source=prometheus")


def test_a_reload_takes_what_is_valid_and_refuses_what_is_not(scene: Scene) -> None:
    other = "http://other.example/"
    with scene.triage() as run:
        run.configure(
            scene.config(targets=[scene.target("front", URL), {"name": "b", "url": other}])
        )
        assert run.post("/-/reload") == (200, "ok\n")
        run.await_said("event=reloaded")
        scene.prometheus.set(other, 503)
        (found,) = wait_for(run.open, "an incident of the new target")
        assert found["target"] == "b"
        run.configure({"targets": [{"name": "x", "colour": "red"}]})
        status, body = run.post("/-/reload")
        assert status == 400
        assert "colour" in body
        assert body.count("\n") == 1
        assert run.process is not None
        run.process.send_signal(signal.SIGHUP)
        run.await_said("event=reload_failed")
        assert run.get("/-/ready")[0] == 200
        scene.fail()
        wait_for(lambda: len(run.open()) == 2, "the old targets to be watched on")


def test_of_two_replicas_one_acts_and_the_other_takes_over(scene: Scene) -> None:
    with ClusterThread(STATES) as cluster:
        kubeconfig = scene.folder / "kubeconfig"
        cluster.do(lambda one: one.write_kubeconfig(kubeconfig))
        config = scene.config(
            clusters=[{"name": "main", "kubeconfig": str(kubeconfig)}],
            lease={"namespace": "default", "name": "triage", "duration": 5},
        )
        first = TriageProcess(scene.folder, config, "first")
        second = TriageProcess(scene.folder, config, "second")
        first.environment, second.environment = {"POD_NAME": "first"}, {"POD_NAME": "second"}

        def acting(run: TriageProcess) -> bool:
            return run.metrics("triage_acting") == [({}, 1.0)]

        with first:
            wait_for(lambda: acting(first), "the first to act")
            with second:
                assert second.get("/-/ready") == (200, "ok\n")
                assert not acting(second)
                scene.fail()
                told = scene.await_told("firing")
                assert len(scene.told("firing")) == 1
                first.stop(signal.SIGKILL)
                wait_for(lambda: acting(second), "the second to act")
                (found,) = wait_for(second.open, "the second to see it too")
                assert found["target"] == told["target"]["name"]


def test_a_port_that_is_taken_and_a_state_that_is_in_use(scene: Scene) -> None:
    with scene.triage() as run:
        second = run_triage("run", "--config.file", run.config_file)
        assert second.returncode == 1
        assert len(lines_of(second.stderr)) == 1
        (port,) = free_ports(1)
        run.configure(scene.config(web={"listen_address": f"{HOST}:{port}"}))
        third = run_triage("run", "--config.file", run.config_file)
        assert third.returncode == 1
        assert len(lines_of(third.stderr)) == 1


# What users get wrong


def config_of(folder: Path, **config: Any) -> Path:
    path = folder / "triage.yaml"
    path.write_text(json.dumps({"state_dir": str(folder / "state"), **config}))
    return path


def refused(*arguments: str | Path) -> str:
    """The one line of a command that must fail with 1."""
    done = run_here(*arguments)
    assert done.code == 1, done
    (line,) = lines_of(done.err)
    return line


def test_questions_that_have_no_answer(scene: Scene) -> None:
    path = config_of(scene.folder, **scene.config())
    ask = ("investigate", "--config.file", path, "--target")
    assert "nothing" in refused(*ask, "nothing")
    assert "front" in refused(*ask, "nothing")
    assert "future" in refused(*ask, "front", "--at", str(time.time() + 3600))
    early = refused(*ask, "front", "--at", "2001-01-01T00:00:00Z")
    assert "2001-01-01" in early
    assert "no state file" in refused("show", "--config.file", path, "2001")


def test_mistakes_of_usage_exit_with_2(tmp_path: Path) -> None:
    path = config_of(tmp_path)
    for arguments in (
        ("investigate", "--config.file", str(path)),
        ("investigate", "--config.file", str(path), "--target", "x", "--at", "yesterday"),
        ("nonsense",),
        ("reproduce", "nothing"),
        ("incidents", "--limit", "0"),
    ):
        done = run_here(*arguments)
        assert done.code == 2, done
        assert done.err


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"targets": [{"name": "a", "urll": "http://a/"}]}, "urll"),
        ({"targets": [{"name": "a", "url": "ftp://a/"}]}, "url"),
        ({"targets": [{"name": "a", "url": "http://u:secret@a/"}]}, "password"),
        ({"targets": [{"name": "a", "url": "http://a/", "user_agent": "("}]}, "user_agent"),
        ({"targets": [{"name": "a", "cluster": "b", "service": "s"}]}, '"b"'),
        ({"targets": [{"name": "a"}, {"name": "a"}]}, '"a"'),
        ({"clusters": [{"name": "c", "kubeconfig": "/nonexistent/kubeconfig"}]}, "nonexistent"),
        ({"lease": {}}, "lease"),
    ],
)
def test_mistakes_in_the_configuration_are_one_line(
    tmp_path: Path, config: dict[str, Any], names: str
) -> None:
    line = refused("check", "--offline", "--config.file", config_of(tmp_path, **config))
    assert names in line
    assert "secret" not in line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "no such file" in refused("check", "--config.file", tmp_path / "no.yaml").lower()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{")
    path = config_of(tmp_path, clusters=[{"name": "main", "kubeconfig": str(kubeconfig)}])
    assert "kubeconfig" in refused("check", "--offline", "--config.file", path)
    hypervisor = {"name": "h", "address": "127.0.0.1:1", "credentials_file": "absent.toml"}
    path = config_of(tmp_path, hypervisors=[hypervisor])
    assert "absent.toml" in refused("check", "--offline", "--config.file", path)
