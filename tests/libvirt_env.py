"""Real hypervisors for tests: libvirt's test driver, and QEMU (TCG) under a private libvirtd.

`node_file` writes a hypervisor for the test driver with any number of domains in any run state.
`PrivateLibvirtd` runs libvirtd in a mount namespace of its own, so that it shares nothing with a
libvirt of the machine: sockets, state and logs are under one folder. It needs root, libvirtd and
QEMU; `missing()` says what is not there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from xml.sax.saxutils import quoteattr

T = TypeVar("T")

NAMESPACE = "http://libvirt.org/schemas/domain/test/1.0"

RUN_STATES = {
    "nostate": 0,
    "running": 1,
    "blocked": 2,
    "paused": 3,
    "shutdown": 4,
    "shutoff": 5,
    "crashed": 6,
    "pmsuspended": 7,
}


def eventually(condition: Callable[[], T], seconds: float = 20.0) -> T:
    """The first true value of `condition`; an AssertionError when it stays false."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


# The test driver


def node_domain(
    name: str,
    state: str = "running",
    *,
    managed_save: bool = False,
    transient: bool = False,
    number: int = 0,
) -> str:
    """One domain of a node file, with every kind of disk; `number` varies its sizes."""
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"vm:{name}")
    mac = f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    marks = ("<t:hasmanagedsave/>" if managed_save else "") + (
        "<t:transient/>" if transient else ""
    )
    return f"""
  <domain type='test' xmlns:t='{NAMESPACE}'>
    <name>{name}</name>
    <uuid>{identity}</uuid>
    <memory unit='MiB'>{128 + number}</memory>
    <currentMemory unit='MiB'>96</currentMemory>
    <memtune><min_guarantee unit='MiB'>48</min_guarantee></memtune>
    <vcpu current='{1 + number % 2}'>{2 + number % 3}</vcpu>
    <cputune><vcpupin vcpu='0' cpuset='1'/></cputune>
    <os><type>hvm</type></os>
    <devices>
      <disk type='file' device='disk'>
        <driver name='qemu' type='qcow2'/>
        <source file='/images/{name}.qcow2'/><target dev='vda' bus='virtio'/>
      </disk>
      <disk type='block' device='disk'>
        <driver name='qemu' type='raw'/>
        <source dev='/dev/vg/{name}'/><target dev='vdb' bus='virtio'/>
      </disk>
      <disk type='network' device='disk'>
        <driver name='qemu' type='raw'/>
        <source protocol='rbd' name='pool/{name}'><host name='mon1' port='6789'/></source>
        <target dev='vdc' bus='virtio'/>
      </disk>
      <disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>
      <interface type='bridge'>
        <mac address='{mac}'/><source bridge='br0'/><model type='virtio'/>
      </interface>
    </devices>
    <t:runstate>{RUN_STATES[state]}</t:runstate>{marks}
  </domain>"""


def node_file(path: Path, count: int) -> str:
    """Write a hypervisor of `count` domains over all run states; return its URI."""
    kinds = [(state, False, False) for state in RUN_STATES]
    kinds += [("shutoff", True, False), ("running", False, True)]
    domains = [
        node_domain(
            f"vm{number:04d}",
            kinds[number % len(kinds)][0],
            managed_save=kinds[number % len(kinds)][1],
            transient=kinds[number % len(kinds)][2],
            number=number,
        )
        for number in range(count)
    ]
    return node_of(path, domains)


def node_of(path: Path, domains: list[str], rest: str = "") -> str:
    """Write a hypervisor of these domains (and pools, networks); return its URI."""
    path.write_text(f"<node>{''.join(domains)}{rest}</node>")
    return f"test://{path}"


# QEMU


def emulator() -> str | None:
    """The path of a QEMU for this machine's architecture, if there is one."""
    machine = os.uname().machine
    return shutil.which(f"qemu-system-{machine}")


def missing() -> str:
    """What a private libvirtd lacks here; "" when nothing."""
    if sys.platform != "linux":
        return "not Linux"
    if os.geteuid() != 0:
        return "not root"
    for name in ("libvirtd", "virtlogd", "qemu-img", "unshare"):
        if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"no {name}"
    if emulator() is None:
        return "no QEMU for this machine"
    probe = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "true"], capture_output=True, check=False
    )
    return "" if probe.returncode == 0 else "no mount namespaces"


_SETUP = """
set -e
for pair in run:/run/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt \
            log:/var/log/libvirt etc:/etc/libvirt; do
  mkdir -p "${pair#*:}"
  mount --bind "$0/${pair%%:*}" "${pair#*:}"
done
mkdir -p /run/libvirt/qemu /var/lib/libvirt/images /var/log/libvirt/qemu
exec libvirtd --config "$0/libvirtd.conf" --pid-file "$0/libvirtd.pid"
"""

# libvirtd's orphans (QEMU) are reaped by whoever adopts them. In a container PID 1 may be slow at
# that, and libvirtd waits for the ends of its processes; so their parent is one of ours.
_REAPER = """
import ctypes, os, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
subprocess.Popen(["unshare", "-m", "--propagation", "private", "bash", "-c", *sys.argv[1:]])
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


class PrivateLibvirtd:
    """A libvirtd of one's own. `start` and `stop` may be called again and again."""

    def __init__(self, folder: Path) -> None:
        # A unix socket's path has room for 107 octets
        self.folder = folder.resolve()
        self._reapers: list[subprocess.Popen[bytes]] = []
        for name in ("sock", "run", "lib", "cache", "log", "etc"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "libvirtd.conf").write_text(
            f'unix_sock_dir = "{self.folder}/sock"\n'
            'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_rw_perms = "0777"\n'
        )
        (self.folder / "etc/qemu.conf").write_text(
            'user = "root"\ngroup = "root"\nsecurity_driver = "none"\n'
            'cgroup_controllers = []\nnamespaces = []\nstdio_handler = "file"\n'
        )

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "sock/libvirt-sock"

    @property
    def uri(self) -> str:
        """Its QEMU hypervisor."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def test_uri(self) -> str:
        """Its test hypervisor, which all its clients share."""
        return f"test+unix:///default?socket={self.socket}"

    @property
    def pid(self) -> int:
        """Of the daemon."""
        return int((self.folder / "libvirtd.pid").read_text())

    def start(self) -> None:
        """Start it and wait until it listens."""
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        self.socket.unlink(missing_ok=True)
        (self.folder / "libvirtd.pid").unlink(missing_ok=True)
        with (self.folder / "output").open("ab") as output:
            reaper = subprocess.Popen(
                [sys.executable, "-c", _REAPER, _SETUP, str(self.folder)],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PATH": path},
            )
        self._reapers.append(reaper)

        def listens() -> bool:
            assert reaper.poll() is None, (self.folder / "output").read_text()[-2000:]
            return self.socket.exists() and (self.folder / "libvirtd.pid").exists()

        eventually(listens)

    def signal(self, number: int) -> None:
        """Send the daemon a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the daemon at once; its guests live on."""
        with contextlib.suppress(OSError, ValueError):
            pid = self.pid
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not Path(f"/proc/{pid}").exists())

    def guest(self, name: str) -> int:
        """PID of the QEMU process of a domain."""
        return int((self.folder / f"run/qemu/{name}.pid").read_text())

    def guests(self) -> list[int]:
        """PIDs of its QEMU processes."""
        found = []
        for path in (self.folder / "run/qemu").glob("*.xml"):
            with contextlib.suppress(ValueError, OSError):
                found.append(self.guest(path.stem))
        return found

    def stop(self) -> None:
        """End its guests and the daemon."""
        for pid in self.guests():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.kill()
        for reaper in self._reapers:
            # libvirtd starts QEMUs of its own, to learn what they can do; they outlive it
            eventually(lambda reaper=reaper: _end_children(reaper) or reaper.poll() is not None)
            reaper.wait(20)
        self._reapers.clear()


def _end_children(process: subprocess.Popen[bytes]) -> None:
    """Kill the present children of a process."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for pid in text.split():
            os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def private_libvirtd(folder: Path) -> Iterator[PrivateLibvirtd]:
    """A running private libvirtd, stopped at the end."""
    daemon = PrivateLibvirtd(folder)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


def qemu_domain(
    name: str,
    *,
    disks: dict[str, Path] | None = None,
    nic: bool = False,
    extra_devices: str = "",
    memory_mib: int = 32,
) -> str:
    """A small QEMU domain without an operating system; `disks` by target, qcow2 by suffix."""
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"qemu:{name}")
    parts = []
    for target, path in (disks or {}).items():
        form = "qcow2" if path.suffix == ".qcow2" else "raw"
        parts.append(
            f"<disk type='file' device='disk'><driver name='qemu' type='{form}'/>"
            f"<source file={quoteattr(str(path))}/><target dev='{target}' bus='virtio'/></disk>"
        )
    if nic:
        parts.append("<interface type='ethernet'><model type='virtio'/></interface>")
    machine = os.uname().machine
    kind = "pc" if machine == "x86_64" else "virt"
    return f"""
<domain type='qemu'>
  <name>{name}</name><uuid>{identity}</uuid>
  <memory unit='MiB'>{memory_mib}</memory><vcpu current='1'>2</vcpu>
  <os><type arch='{machine}' machine='{kind}'>hvm</type></os>
  <features><acpi/></features>
  <devices><emulator>{emulator()}</emulator>
    {"".join(parts)}{extra_devices}
  </devices>
</domain>"""


def make_image(path: Path, size: str = "16M") -> Path:
    """Create an empty image, qcow2 by suffix, else raw and sparse."""
    form = "qcow2" if path.suffix == ".qcow2" else "raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", form, path, size], check=True)
    return path
