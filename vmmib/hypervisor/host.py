"""Facts of this host that belong to its virtual machines: uptime, interfaces, mounts, processes.

Read from /proc and /sys. Only for hypervisors of this very host: the caller sees to that. What is
not there is 0, None or "", and is no error: a tap may vanish between two reads.

Times since the epoch are differences to the present wall clock, so that they fit it after it was
set; to keep them from trembling, a value moves only when it is off by more than TOLERANCE.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import NamedTuple

TOLERANCE = 1.0
"""Seconds by which the wall clock may drift from the boot clock before times are stated anew."""

_NET = Path("/sys/class/net")
_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_NETWORK_NAME = re.compile(r"[^/\s\0]{1,15}")


class BootTime:
    """When this host booted, in seconds since the epoch by the present wall clock."""

    def __init__(self) -> None:
        self._value = 0.0

    def get(self) -> float:
        """The time, the same at each call unless the wall clock was set."""
        value = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        if abs(value - self._value) > TOLERANCE:
            self._value = value
        return self._value


def interface_indexes(name: str) -> tuple[int, int]:
    """(ifIndex of a network interface, ifIndex of its bridge or lower device); 0: none."""
    if not _NETWORK_NAME.fullmatch(name) or name in (".", ".."):
        return 0, 0
    base = _NET / name
    index = _number(base / "ifindex")
    parent = _number(base / "master" / "ifindex")
    if not parent:
        # The lower device of a macvtap; an interface that stands on nothing names itself
        lower = _number(base / "iflink")
        parent = 0 if lower == index else lower
    return index, parent if index else 0


def _number(path: Path) -> int:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return 0


def mount_points() -> list[str]:
    """The mount points of this host, longest first, as /proc/self/mountinfo (proc(5)) has them."""
    try:
        lines = (_PROC / "self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = (line.split(" ") for line in lines)
    points = {
        _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field[4])
        for field in fields
        if len(field) > 4
    }
    return sorted(points, key=len, reverse=True)


def mount_of(path: str, points: list[str]) -> str:
    """The one of `points` (see `mount_points`) that holds the absolute `path`, else "".

    Compares text and asks no file system: one whose server is gone would not answer.
    """
    if not path.startswith("/"):
        return ""
    path = os.path.normpath(path)
    for point in points:
        if point == "/" or path == point or path.startswith(point + "/"):
            return point
    return ""


class Process(NamedTuple):
    """A process that runs a virtual machine."""

    pid: int
    started: float
    """Seconds after the host's boot."""
    incoming: bool
    """It was started to take in a saved or migrating guest."""


def qemu_process(name: str, uuid: str) -> Process | None:
    """The process of a local QEMU domain by libvirt's PID files; `uuid` with dashes."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    paths = [f"/run/libvirt/qemu/{name}.pid"]
    if runtime:
        paths.append(f"{runtime}/libvirt/qemu/run/{name}.pid")
    for path in paths:
        try:
            pid = int(Path(path).read_bytes())
        except (OSError, ValueError):
            continue
        process = read_process(pid)
        if process is not None and process[0] == uuid:
            return process[1]
    return None


def qemu_processes() -> dict[str, Process]:
    """All QEMU processes of this host that name a domain, by its UUID with dashes.

    For a daemon whose PID files are elsewhere, in a mount namespace of its own.
    """
    found: dict[str, Process] = {}
    try:
        names = os.listdir(_PROC)  # noqa: PTH208 (no Path for each of thousands)
    except OSError:
        return found
    for name in names:
        if name.isdecimal():
            process = read_process(int(name))
            if process is not None:
                found[process[0]] = process[1]
    return found


def read_process(pid: int) -> tuple[str, Process] | None:
    """(UUID of the domain, the process) if `pid` is a QEMU that libvirt started, else None."""
    if pid <= 0:
        return None
    try:
        with (_PROC / str(pid) / "cmdline").open("rb") as file:
            arguments = file.read(1 << 20).split(b"\0")
        uuid = arguments[arguments.index(b"-uuid") + 1].decode("ascii")
        # After the command in parentheses, which may hold anything: state is field 3 of proc(5)
        stat = (_PROC / str(pid) / "stat").read_bytes().rpartition(b") ")[2].split()
        return uuid, Process(pid, int(stat[19]) / _TICK, b"-incoming" in arguments)
    except (OSError, ValueError, IndexError):
        return None


class Processes:
    """The QEMU processes of this host, with as few looks at all processes as will do."""

    PAUSE = 2.0
    """Seconds between two such looks."""

    def __init__(self) -> None:
        self._found: dict[str, Process] = {}
        self._looked_at = -self.PAUSE

    def find(self, name: str, uuid: bytes) -> Process | None:
        """The process of a domain; None when it cannot be found."""
        dashed = _dashed(uuid)
        process = qemu_process(name, dashed)
        if process is not None:
            return process
        now = time.monotonic()
        if now - self._looked_at >= self.PAUSE:
            self._looked_at = now
            self._found = qemu_processes()
        return self._found.get(dashed)


def _dashed(uuid: bytes) -> str:
    text = uuid.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
