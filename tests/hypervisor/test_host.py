"""Facts of this host."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.libvirt_env import eventually
from vmmib.hypervisor import host


def test_boot_time_stands_still() -> None:
    boot = host.BootTime()
    first = boot.get()
    assert first == boot.get()
    assert abs(time.time() - first - float(Path("/proc/uptime").read_text().split()[0])) < 5


def test_boot_time_follows_a_set_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = host.BootTime()
    first = boot.get()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 0.5)
    assert boot.get() == first
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert abs(boot.get() - first - 3600) < 2


def test_interfaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, files in {
        "vnet0": {"ifindex": "7\n", "iflink": "7\n", "master/ifindex": "3\n"},
        "macvtap0": {"ifindex": "8\n", "iflink": "2\n"},
        "tap0": {"ifindex": "9\n", "iflink": "9\n"},
        "odd": {"ifindex": "x\n"},
    }.items():
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    monkeypatch.setattr(host, "_NET", tmp_path)
    assert host.interface_indexes("vnet0") == (7, 3)
    assert host.interface_indexes("macvtap0") == (8, 2)
    assert host.interface_indexes("tap0") == (9, 0)
    for name in ("odd", "absent", "", "..", "a/b", "x" * 40):
        assert host.interface_indexes(name) == (0, 0)


def test_the_real_loopback() -> None:
    assert host.interface_indexes("lo") == (socket.if_nametoindex("lo"), 0)


def test_mounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 8:2 / /srv rw - ext4 /dev/b rw\n"
        "3 2 8:3 / /srv/two\\040words rw shared:1 - nfs host:/x rw\n"
        "broken\n"
    )
    monkeypatch.setattr(host, "_PROC", tmp_path)
    points = host.mount_points()
    assert host.mount_of("/srv/two words/a", points) == "/srv/two words"
    assert host.mount_of("/srv/two", points) == "/srv"
    assert host.mount_of("/srvx/a", points) == "/"
    assert host.mount_of("/srv/../etc/x", points) == "/"
    assert host.mount_of("relative", points) == ""
    assert host.mount_of("/a", []) == ""


def test_processes() -> None:
    uuid = "0b1f3c2a-1111-4222-8333-444455556666"
    code = "import sys; sys.stdin.read()"
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    with subprocess.Popen(
        [sys.executable, "-c", code, "-uuid", uuid, "-incoming", "defer"], stdin=subprocess.PIPE
    ) as child:
        found = eventually(lambda: host.read_process(child.pid))
        assert found[0] == uuid
        assert found[1].pid == child.pid
        assert found[1].incoming
        assert before - 1 < found[1].started < before + 60
        assert host.qemu_processes()[uuid] == found[1]
        assert host.Processes().find("nobody", bytes.fromhex(uuid.replace("-", ""))) == found[1]
        child.stdin.close()  # type: ignore[union-attr]
    assert host.read_process(child.pid) is None
    assert host.read_process(os.getpid()) is None
    assert host.read_process(0) is None
    assert host.qemu_process("no such domain", uuid) is None
