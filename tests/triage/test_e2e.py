"""Faults made for real, on real components: the verdict, and the alert that was delivered.

Prometheus, blackbox exporter, Envoy, FastAPI under uvicorn, Alertmanager, snmpd, vmmib on libvirt's
test hypervisor, and `triage run` are real processes; the Kubernetes API is a stand-in that serves
what a cluster would say. One stage serves all scenarios of the file: each one begins and ends with
a site that is well and no open incident.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import libvirt_env
from tests.netsnmp import needs_netsnmp
from tests.triage.site import NAMESPACE, POD, wait_for
from tests.triage.stage import (
    BROKEN,
    DEAD,
    EMPTY,
    TARGET,
    Machine,
    Stage,
    lacking,
    now,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "-"),
    pytest.mark.skipif(bool(libvirt_env.missing()), reason=libvirt_env.missing() or "-"),
    needs_netsnmp,
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    with Machine(folder) as machine, Stage(folder, machine) as stage:
        yield stage


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    """In good order before and after."""
    shared.began = time.time()
    yield shared
    shared.heal()


def proofs(told: dict[str, Any], step: str) -> str:
    """The deciding lines of a step."""
    return "\n".join(one["text"] for one in told["evidence"] if one["step"] == step)


def outcome(told: dict[str, Any], step: str) -> str:
    (found,) = [one["outcome"] for one in told["steps"] if one["step"] == step]
    return str(found)


# The application


def test_an_exception(stage: Stage) -> None:
    stage.site.break_it("error")
    told = stage.await_alert(cause="application", confidence="certain")
    assert told["outage"]["status"] == 500
    assert "500" in proofs(told, "proxy")
    assert "could not connect to the database" in proofs(told, "app")


def test_a_silent_503(stage: Stage) -> None:
    stage.site.break_it("status", 503)
    told = stage.await_alert(cause="application", reason="http_status", confidence="certain")
    assert "503 - via_upstream" in proofs(told, "proxy")
    assert '"GET / HTTP/1.1" 503' in proofs(told, "app")


def test_an_answer_that_is_too_late_for_the_proxy(stage: Stage) -> None:
    stage.site.break_it("slow", 3.0)
    told = stage.await_alert(cause="application", reason="slow")
    assert "504 UT" in proofs(told, "proxy")


def test_an_answer_that_is_too_late_for_the_monitor(stage: Stage) -> None:
    stage.route(patience=5.0)
    stage.site.break_it("slow", 3.0)
    told = stage.await_alert(cause="application", reason="slow")
    assert told["outage"]["status"] == 0
    assert " 0 DC " in proofs(told, "proxy")


# Between proxy and application


@pytest.mark.parametrize("kind", ["close", "reset"])
def test_a_connection_that_ends_without_an_answer(stage: Stage, kind: str) -> None:
    stage.site.break_it(kind)
    told = stage.await_alert(cause="communication", reason="connection_reset")
    assert "503 UC" in proofs(told, "proxy")


def test_a_body_that_is_cut_short_is_no_success(stage: Stage) -> None:
    stage.site.break_it("cut")
    told = stage.await_alert(cause="communication", reason="protocol_error")
    assert "200 UPE" in proofs(told, "proxy")


def test_a_trace_exporters_noise_is_not_the_cause(stage: Stage) -> None:
    stage.site.break_it("exporter")
    stage.site.await_app_line("exporting traces")
    stage.site.break_it("close")
    told = stage.await_alert(cause="communication", reason="connection_reset")
    noise = [one for one in told["evidence"] if "exporting traces" in one["text"]]
    assert noise
    assert not any(one["deciding"] for one in noise)


def test_an_application_that_is_killed_and_nobody_says_why(stage: Stage) -> None:
    stage.site.app.stop(signal.SIGKILL)
    told = stage.await_alert(cause="communication", reason="connect_failure")
    assert "503 UF" in proofs(told, "proxy")


# The pod


def test_a_container_that_is_out_of_memory(stage: Stage) -> None:
    stage.site.app.stop(signal.SIGKILL)
    ended = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": now(), "startedAt": now()}
    stage.container("app", ready=False, state={"terminated": ended})
    told = stage.await_alert(cause="pod", reason="oom_killed", confidence="certain")
    assert "OOMKilled" in proofs(told, "pod")


def test_a_container_that_keeps_crashing(stage: Stage) -> None:
    stage.site.app.stop(signal.SIGKILL)
    ended = {"reason": "Error", "exitCode": 1, "finishedAt": now(), "startedAt": now()}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    stage.container(
        "app",
        ready=False,
        restartCount=5,
        state={"waiting": waiting},
        lastState={"terminated": ended},
    )
    stage.event("BackOff", "Back-off restarting failed container", "app")
    told = stage.await_alert(cause="pod", reason="crash_loop", confidence="certain")
    assert "CrashLoopBackOff" in proofs(told, "pod")


def test_a_crash_and_what_its_former_instance_logged(stage: Stage) -> None:
    site = stage.site
    began = now()
    site.break_it("crash")
    assert site.app.died() == -signal.SIGSEGV
    ended = {"reason": "Error", "exitCode": 139, "finishedAt": now(), "startedAt": began}
    site.heal()
    site.app.start()
    site.break_it("close")  # it is not itself again yet
    stage.container(
        "app",
        restartCount=1,
        state={"running": {"startedAt": now()}},
        lastState={"terminated": ended},
    )
    told = stage.await_alert(cause="pod", reason="crashed", confidence="certain")
    assert "exit code 139" in proofs(told, "pod")
    shown = stage.triage.show(told["incident"])
    (app,) = [one for one in shown["steps"] if one["step"] == "app"]
    assert "(previous)" in app["source"]


def test_a_readiness_probe_that_fails(stage: Stage) -> None:
    stage.route(EMPTY)
    stage.ready(False, "containers with unready status: [app]")
    stage.event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500")
    told = stage.await_alert(cause="pod", reason="not_ready")
    assert "503 UH" in proofs(told, "proxy")
    assert "Readiness probe failed" in proofs(told, "pod")


def test_a_pod_that_is_deleted(stage: Stage) -> None:
    stage.site.app.stop()
    stage.site.proxy.stop()
    stage.cluster.do(lambda cluster: cluster.delete("pods", NAMESPACE, POD))
    told = stage.await_alert(cause="pod")
    assert told["verdict"]["reason"] in {"deleted", "missing"}


# The proxy and the way to it


def test_no_route(stage: Stage) -> None:
    stage.unroute()
    told = stage.await_alert(cause="proxy_configuration", reason="no_route", confidence="certain")
    assert "404 NR" in proofs(told, "proxy")


def test_no_cluster(stage: Stage) -> None:
    stage.route(DEAD)
    told = stage.await_alert(
        cause="proxy_configuration", reason="cluster_not_found", confidence="certain"
    )
    assert "503 NC" in proofs(told, "proxy")


def test_a_proxy_that_is_gone_says_nothing(stage: Stage) -> None:
    stage.site.proxy.stop(signal.SIGKILL)
    told = stage.await_alert()
    assert told["outage"]["status"] == 0
    assert told["verdict"]["confidence"] != "certain"
    assert told["verdict"]["cause"] in {"undetermined", "monitoring_path", "proxy"}


def test_a_proxy_container_that_ended(stage: Stage) -> None:
    stage.site.proxy.stop(signal.SIGKILL)
    ended = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": now(), "startedAt": now()}
    stage.container("istio-proxy", ready=False, state={"terminated": ended})
    told = stage.await_alert(cause="pod", reason="oom_killed", confidence="certain")
    assert "istio-proxy" in told["verdict"]["object"]


def test_an_exporter_that_is_down(stage: Stage) -> None:
    assert stage.site.exporter is not None
    stage.site.exporter.stop()
    stage.await_alert(cause="monitoring_path", reason="exporter_down", confidence="certain")


# When, how long, how often


def test_a_fault_that_no_probe_saw(stage: Stage) -> None:
    for _ in range(10):
        assert stage.site.get(f"{BROKEN}/basket", agent="Mozilla/5.0") == 503
    told = stage.await_alert(cause="communication", reason="connect_failure")
    assert f"GET {BROKEN}/basket" in proofs(told, "proxy")
    shown = stage.triage.show(told["incident"])
    assert shown["anomaly"]["trigger"] == "proxy_log"
    assert {one["value"] for one in shown["anomaly"]["samples"]} <= {200.0}


def test_a_short_outage_is_told_once_and_resolved(stage: Stage) -> None:
    stage.site.break_it("status", 503)
    stage.site.prometheus.await_value("probe_http_status_code", 503.0)
    stage.site.heal()
    told = stage.await_alert(cause="application")

    def resolved() -> list[Any]:
        return [one for one in stage.posts() if one["event"] == "resolved"]

    (end,) = wait_for(resolved, "the alert to be resolved")
    assert end["incident"] == told["incident"]
    assert end["outage"]["ended_at"] > end["outage"]["started_at"]
    assert len({one["incident"] for one in stage.posts()}) == 1
    assert sum(one["event"] == "firing" for one in stage.posts()) == 1

    def gone() -> bool:
        alerts = stage.site.alertmanager.alerts()
        return all(one["labels"].get("incident") != told["incident"] for one in alerts)

    wait_for(gone, "Alertmanager to take it for resolved")


# The node


def test_a_vm_that_is_paused(stage: Stage) -> None:
    assert stage.machine is not None
    stage.machine.domain.suspend()
    stage.freeze()
    told = stage.await_alert(cause="node", reason="vm_not_running", confidence="certain")
    assert told["verdict"]["title"] == "node: VM paused"
    assert "vmOperState.2 = INTEGER: paused(8)" in proofs(told, "vm")
    assert "vmPaused" in proofs(told, "vm")
    assert outcome(told, "proxy") == "failed"


def test_a_vm_that_is_shut_down(stage: Stage) -> None:
    assert stage.machine is not None
    stage.machine.domain.destroy()
    stage.freeze()
    told = stage.await_alert(cause="node", reason="vm_not_running", confidence="certain")
    assert told["verdict"]["title"] == "node: VM shut down"
    assert "vmShutdown" in proofs(told, "vm")


def test_a_vm_that_is_deleted(stage: Stage) -> None:
    assert stage.machine is not None
    domain = stage.machine.domain
    domain.destroy()
    domain.undefine()
    stage.freeze()
    told = stage.await_alert(cause="node")
    assert told["verdict"]["reason"] in {"vm_missing", "vm_not_running"}
    assert "vmDeleted" in proofs(told, "vm")


def test_a_hypervisor_that_does_not_answer(stage: Stage) -> None:
    assert stage.machine is not None
    stage.machine.snmpd.stop()
    stage.freeze()
    told = stage.await_alert(cause="node", reason="hypervisor_unreachable")
    assert "hv1" in told["verdict"]["object"]


# What triage itself depends on


@pytest.mark.parametrize("code", [403, 500, 0])
def test_a_cluster_that_tells_nothing_is_not_taken_for_a_healthy_one(
    stage: Stage, code: int
) -> None:
    if code:
        reason = {403: "Forbidden", 500: "InternalError"}[code]
        stage.deny("/api", code, reason, "this is what the API server says")
    else:
        stage.cluster.stop_serving()
    try:
        stage.site.break_it("close")
        told = stage.await_alert()
    finally:
        if not code:
            stage.cluster.serve_again()
    assert told["verdict"]["confidence"] != "certain"
    assert told["verdict"]["cause"] in {"undetermined", "node"}
    assert outcome(told, "proxy") == "failed"
    assert outcome(told, "pod") == "failed"
    unknown = "\n".join(told["unknowns"])
    assert "proxy: " in unknown
    assert "pod: " in unknown


def test_prometheus_is_down_and_comes_back(stage: Stage) -> None:
    site = stage.site
    site.prometheus.stop()
    wait_for(lambda: "prometheus" in stage.triage.failing(), "triage to notice")
    assert stage.triage.get("/-/ready")[0] == 200
    assert not stage.triage.open()
    site.break_it("status", 503)
    site.prometheus.start()
    stage.await_alert(cause="application", reason="http_status")
    assert "prometheus" not in stage.triage.failing()


def test_alertmanager_is_down_and_gets_the_alert_once_it_is_back(stage: Stage) -> None:
    site = stage.site
    site.alertmanager.stop()
    site.break_it("status", 503)

    def told() -> Any:
        return next((one for one in stage.posts() if one["event"] == "firing"), None)

    first = wait_for(told, "the webhook to be told")
    stage.triage.await_said("sink=am")
    site.alertmanager.start()
    alert = stage.await_alertmanager(first)
    assert alert["labels"]["target"] == TARGET
    assert alert["annotations"]["evidence"]


@pytest.mark.timeout(180)
def test_a_target_that_flaps_is_one_incident(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With logs on disk and without a cluster; killed and started again in the middle."""
    folder = tmp_path_factory.mktemp("flaps")
    logs = folder / "cluster" / "logs" / NAMESPACE / POD
    settings = {
        "clusters": [],
        "targets": [],
        "incidents": {"flap_count": 3, "flap_recovery": 6},
    }
    with Stage(folder, settings=settings, interval=1.0) as stage:
        stage.triage.configure(
            {
                **stage.config(),
                "targets": [
                    {
                        "name": TARGET,
                        "url": stage.site.url,
                        "proxy_files": [str(logs / "istio-proxy.log")],
                        "app_files": [str(logs / "app.log")],
                    }
                ],
            }
        )
        assert stage.triage.post("/-/reload")[0] == 200
        for number in range(4):
            stage.site.break_it("status", 503)
            stage.site.prometheus.await_value("probe_http_status_code", 503.0)
            if number == 1:
                stage.triage.stop(signal.SIGKILL)
                stage.triage.start()
            stage.site.heal()
            stage.site.prometheus.await_value("probe_http_status_code", 200.0)
            time.sleep(2.5)  # longer than `recovery`: without flaps it would be over
        wait_for(lambda: not stage.triage.open(), "the incident to be over")
        incidents = stage.triage.incidents()
        fired = [one for one in stage.posts(0.0) if one["event"] == "firing"]
    assert incidents
    flapping = [one for one in incidents if one["outages"] > 1]
    assert len(flapping) == 1
    assert len(incidents) <= 3
    assert len({one["id"] for one in fired}) == len(fired)
