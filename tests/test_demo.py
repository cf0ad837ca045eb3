"""`vmmib demo` does what it says, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netsnmp import needs_netsnmp
from vmmib import demo

ROOT = Path(__file__).parents[1]
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

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
    finally:
        shutil.rmtree(path)


def run_demo(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: text for name, text in os.environ.items() if name not in {"LIBVIRT_URI", "DEMO_VM"}
    }
    return subprocess.run(
        [sys.executable, "-m", "vmmib", "demo"],
        cwd=ROOT,
        env=clean | {"TMPDIR": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@needs_netsnmp
@needs_libvirtd
def test_demo(folder: Path) -> None:
    done = run_demo(folder)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout
    assert "VM-MIB::vmNumber.0 = INTEGER: 1" in shown
    assert "VM-MIB::vmName.1 = STRING: test\n" in shown
    assert "VM-MIB::vmOperState.1 = INTEGER: running(4)" in shown
    trap_order = re.findall(r"snmpTrapOID\.0 = VM-MIB::(\w+)", shown)
    assert trap_order == ["vmPaused", "vmRunning"]
    assert re.search(r"^vmmib_vm_info\{.*name=\"test\"", shown, re.MULTILINE)
    assert re.search(r"^vmmib_notifications_sent_total [12]$", shown, re.MULTILINE)


@needs_netsnmp
def test_a_hypervisor_of_the_user_is_not_touched(folder: Path) -> None:
    done = run_demo(folder, LIBVIRT_URI="test:///default")
    assert (done.returncode, done.stderr) == (0, "")
    assert "left out, DEMO_VM names no machine" in done.stdout
    assert "vmPaused" not in done.stdout


@needs_netsnmp
def test_an_unreachable_hypervisor_fails(folder: Path) -> None:
    done = run_demo(folder, LIBVIRT_URI=f"qemu+unix:///system?socket={folder}/none")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("vmmib: the agent does not reach the hypervisor")


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
