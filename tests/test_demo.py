"""`vmmib demo` does what it says, down to its incident, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netsnmp import needs_netsnmp
from triage import recording
from triage.demo import site, story
from triage.demo.scene import Scene, recorded
from vmmib import demo

ROOT = Path(__file__).parents[1]
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

UNREACHED = "upstream_reset_before_response_started{connection_timeout}"

needs_libvirtd = pytest.mark.skipif(
    not shutil.which("libvirtd", path=PATH), reason="needs libvirtd"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that "nobody" can reach, unlike pytest's; it must be empty in the end."""
    path = Path(tempfile.mkdtemp(prefix="vmmib-test-"))
    path.chmod(0o755)
    try:
        yield path
        assert list(path.iterdir()) == []
        assert running_in(path) == []
    finally:
        shutil.rmtree(path)


def running_in(folder: Path) -> list[str]:
    """Command lines of the processes that have the folder's path among their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it ended
            continue
        if str(folder) in words:
            found.append(words)
    return found


def started(folder: Path, output: Path, **environment: str) -> subprocess.Popen[str]:
    clean = {
        name: text for name, text in os.environ.items() if name not in {"LIBVIRT_URI", "DEMO_VM"}
    }
    return subprocess.Popen(
        # A shell has its background jobs ignore SIGINT, and these tests may be in one
        [
            "env",
            "--default-signal=INT",
            sys.executable,
            *f"-m vmmib demo --output {output}".split(),
        ],
        cwd=ROOT,
        env=clean | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_demo(folder: Path, output: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    with started(folder, output, **environment) as process:
        out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@needs_netsnmp
@needs_libvirtd
def test_demo(folder: Path, tmp_path: Path) -> None:
    done = run_demo(folder, tmp_path / "left")
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout
    assert "VM-MIB::vmNumber.0 = INTEGER: 1" in shown
    assert "VM-MIB::vmName.1 = STRING: test\n" in shown
    assert "VM-MIB::vmOperState.1 = INTEGER: running(4)" in shown
    trap_order = re.findall(r"snmpTrapOID\.0 = VM-MIB::(\w+)", shown)
    assert trap_order == ["vmPaused", "vmRunning"]
    assert re.search(r"^vmmib_vm_info\{.*name=\"test\"", shown, re.MULTILINE)
    assert re.search(r"^vmmib_notifications_sent_total [12]$", shown, re.MULTILINE)

    alert, terminal = shown.partition("== The same at a terminal")[::2]
    alert = alert.partition("== The storage of test's hypervisor fails")[2]
    assert re.search(r"^  FIRING +node: VM paused$", alert, re.MULTILINE)
    assert re.search(
        r"^ +SNMP hv1: VM-MIB::vmOperState\.1 = INTEGER: paused\(8\)$", alert, re.MULTILINE
    )
    assert re.search(
        r"^ +notification from hv1: vmPaused: VM-MIB::vmName\.1 = STRING: test", alert, re.MULTILINE
    )
    assert f"503 UF {UNREACHED}" in " ".join(alert.split())
    assert "Kubernetes does not know yet" in alert
    said = " ".join(alert.split())
    assert "before that, its hypervisor hv1 logged" in said
    assert "beside it syslog hv1: kernel: " in said
    assert re.search(r"^samples of http://shop.example/: (200 )?503", alert, re.MULTILINE)

    listed = re.search(
        r"^(\d{8}-\d{6}-\w{6}) +shop .*node: VM paused.*confirmed", terminal, re.MULTILINE
    )
    assert listed is not None
    assert f"$ triage show --config.file triage.toml {listed[1]}\nnode: VM paused\n" in terminal
    assert re.search(r"\[\?\] application +could not look: ", terminal)
    assert re.search(r"\[o\] node +worker-1: ready", terminal)
    assert re.search(r"\[o\] syslog +hv1: .*rare", terminal)
    assert re.search(r"^  RESOLVED +node: VM paused$", terminal, re.MULTILINE)
    assert "node: VM paused (certain)  as recorded" in terminal

    page = tmp_path / "left" / "incident.html"
    assert f"{page} shows the timeline" in shown
    assert "node: VM paused" in page.read_text()
    kept = recording.load((tmp_path / "left" / "incident.json").read_bytes())
    assert (kept.record.id, kept.record.title) == (listed[1], "node: VM paused")


@needs_netsnmp
@needs_libvirtd
def test_ctrl_c_in_the_incident_ends_everything(folder: Path, tmp_path: Path) -> None:
    with started(folder, tmp_path) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("== The storage of"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, ""), "".join(lines) + out
    assert any("triage run" in line for line in lines)


@needs_netsnmp
def test_a_hypervisor_of_the_user_is_not_touched(folder: Path, tmp_path: Path) -> None:
    done = run_demo(folder, tmp_path, LIBVIRT_URI="test:///default")
    assert (done.returncode, done.stderr) == (0, "")
    assert "left out, DEMO_VM names no machine" in done.stdout
    assert "vmPaused" not in done.stdout


@needs_netsnmp
def test_an_unreachable_hypervisor_fails(folder: Path, tmp_path: Path) -> None:
    done = run_demo(folder, tmp_path, LIBVIRT_URI=f"qemu+unix:///system?socket={folder}/none")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("vmmib: the agent does not reach the hypervisor")
    assert done.stderr.endswith(f"vmmib: the logs of the demo's programs are in {tmp_path}\n")
    assert "agentx" in (tmp_path / "vmmib-agent.log").read_text()


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TOOLS", {"no-such-program": "its-package"})
    with pytest.raises(demo.DemoError) as caught:
        demo._check_tools(["no-such-program"])
    assert str(caught.value) == "no-such-program is missing: apt install its-package"


def test_a_program_that_ends_at_once_is_told_with_its_words(tmp_path: Path) -> None:
    stage = demo.Stage(tmp_path, os.environ)
    with pytest.raises(demo.DemoError) as caught:
        stage.start("thing", ["sh", "-c", "echo out of order; exit 3"], lambda: False)
    stage.stop()
    assert str(caught.value) == "thing ended at once:\n  out of order"


def test_a_program_that_never_serves_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "START_WITHIN", 0.1)
    stage = demo.Stage(tmp_path, os.environ)
    with pytest.raises(demo.DemoError, match="does not serve"):
        stage.start("thing", ["sleep", "60"], lambda: False)
    (_, process) = stage.running[0]
    stage.stop()
    assert process.returncode is not None


# The incident's stand-ins


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def asked(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - one of ours
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_recorded_node_is_the_machine() -> None:
    uuid = "11111111-2222-3333-4444-555555555555"
    nodes = {one["metadata"]["name"]: one for one in recorded(uuid) if one["kind"] == "Node"}
    assert nodes["worker-1"]["status"]["nodeInfo"]["systemUUID"] == uuid
    assert nodes["worker-2"]["status"]["nodeInfo"]["systemUUID"] != uuid
    pod = next(one for one in recorded(uuid) if one["metadata"]["name"] == site.POD)
    assert pod["spec"]["nodeName"] == "worker-1"


def test_the_shop_answers_while_the_machine_runs(tmp_path: Path) -> None:
    runs = threading.Event()
    runs.set()
    before = threading.active_count()
    with Scene(tmp_path, "x", "11111111-2222-3333-4444-555555555555", runs.is_set) as scene:
        kubernetes = re.findall(r"server: (\S+)", scene.kubeconfig.read_text())[0]
        log = f"{kubernetes}/api/v1/namespaces/shop/pods/{site.POD}/log?container=app"
        until(lambda: scene.statuses[-1:] == [200])
        assert asked(log)[0] == 200
        assert '"GET / HTTP/1.1" 200 OK' in asked(log)[1]

        runs.clear()
        until(lambda: scene.statuses[-1:] == [503])
        until(lambda: asked(log)[0] == 500)
        assert "no route to host" in json.loads(asked(log)[1])["message"]
        gateway = f"namespaces/istio-system/pods/{site.GATEWAY}/log?container=istio-proxy"
        written = asked(f"{kubernetes}/api/v1/{gateway}")[1]
        assert f"503 UF {UNREACHED}" in written
        node = json.loads(asked(f"{kubernetes}/api/v1/nodes/worker-1")[1])
        assert {"Ready": "True"}.items() <= {
            one["type"]: one["status"] for one in node["status"]["conditions"]
        }.items()
        query = "query?query=probe_http_status_code%7Bjob%3D%22blackbox%22%7D%5B60s%5D"
        found = json.loads(asked(f"{scene.prometheus}api/v1/{query}")[1])
        values = [value for _, value in found["data"]["result"][0]["values"]]
        assert (values[0], values[-1]) == ("200", "503")
        assert asked(f"{scene.prometheus}api/v1/query?query=sum(up)")[0] == 400

        runs.set()
        until(lambda: scene.statuses[-1:] == [200])
        until(lambda: asked(log)[0] == 200)
    assert threading.active_count() == before


class FakeScene:
    failure = None

    def __init__(self, *alerts: dict[str, Any]) -> None:
        self.alerts = list(alerts)


def an_alert(title: str, *lines: str) -> dict[str, Any]:
    evidence = [{"step": line.partition(" ")[0], "text": line} for line in lines]
    return {"verdict": {"title": title}, "evidence": evidence}


def test_another_verdict_fails_the_story(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "WITHIN", 0.05)
    scene: Any = FakeScene(an_alert("pod: OOMKilled"))
    with pytest.raises(story.StoryError, match=r"triage said \['pod: OOMKilled'\]"):
        story._awaited(scene)


def test_an_alert_without_its_evidence_fails_the_story() -> None:
    row = "VM-MIB::vmOperState.7 = INTEGER: paused(8)"
    other = "VM-MIB::vmAdminState.7 = INTEGER: paused(3)"
    note = "vmPaused: VM-MIB::vmName.7 = STRING: x"
    logged = f"syslog kernel: {story.STALLED}"
    story._check(an_alert(story.TITLE, row, note, logged))
    with pytest.raises(story.StoryError, match="lacks what the hypervisor's syslog"):
        story._check(an_alert(story.TITLE, row, note))
    with pytest.raises(story.StoryError, match="lacks the row"):
        story._check(an_alert(story.TITLE, other, note))
    with pytest.raises(story.StoryError, match="lacks the notification"):
        story._check(an_alert(story.TITLE, row, other))
