"""From an event of libvirt to the notification.

This process suspends and resumes a VM of a shared test hypervisor, hears of it itself by an event
callback, and is the receiver of the notification. What is told is how much later that arrives than
the event did here: the agent's part and snmpd's.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt

from benchmarks import node
from benchmarks.client import encode_oid
from benchmarks.libvirtd import Libvirtd
from benchmarks.processes import Server, agent_config, python
from benchmarks.report import Result, progress
from benchmarks.serving import AGENT, VM_NUMBER
from tests.netsnmp import Snmpd, free_port
from vmmib.hypervisor import libvirt_connection
from vmmib.hypervisor.libvirt_domains import run_event_loop

NOTIFICATIONS = (1, 3, 6, 1, 2, 1, 236, 0)
RUNNING, PAUSED = 1, 4
"""vmRunning and vmPaused."""
PATIENCE = 10.0
PAUSE = 0.02
"""Seconds between two changes."""
_TIMESPEC = struct.Struct("@qq")
_SO_TIMESTAMPNS = 35


class Receiver:
    """Takes notifications, with the kernel's own word on when they arrived."""

    def __init__(self) -> None:
        self.port = free_port()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", self.port))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.settimeout(PATIENCE)

    def take(self, number: int) -> float:
        """Seconds since the epoch at which the next notification of a kind arrived."""
        name = encode_oid((*NOTIFICATIONS, number))
        while True:
            data, ancillary, _, _ = self._socket.recvmsg(65536, 64)
            if name in data:
                seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                return float(seconds + nanoseconds / 1e9)

    def close(self) -> None:
        self._socket.close()


class Watcher:
    """Hears of the events of one connection."""

    def __init__(self, connection: Any) -> None:
        self._arrived = threading.Event()
        self._at = 0.0
        connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._heard, None
        )

    def _heard(self, *_: object) -> None:
        self._at = time.time()
        self._arrived.set()

    def take(self) -> float:
        """Seconds since the epoch at which the next event arrived."""
        if not self._arrived.wait(PATIENCE):
            raise RuntimeError("no event arrived")
        self._arrived.clear()
        return self._at


def _latencies(folder: Path, domains: int, count: int) -> list[float]:
    """Milliseconds of `count` changes on a hypervisor of so many domains."""
    folder.mkdir()
    receiver = Receiver()
    server = None
    with Libvirtd(folder / "libvirt") as daemon:
        connection = libvirt.open(daemon.uri)  # type: ignore[no-untyped-call]
        try:
            present = connection.numOfDomains()
            for xml in node.domains(domains - present, for_file=False):
                connection.defineXML(xml)
            snmpd = Snmpd(folder, extra_conf=f"trap2sink 127.0.0.1:{receiver.port} public")
            snmpd.start()
            config = agent_config(folder, snmpd.agentx_socket, daemon.uri, 10)
            command = python("vmmib", "agent", "--config.file", config)
            server = Server(AGENT, folder, command, snmpd)
            server.wait_for(VM_NUMBER, str(domains))
            watcher = Watcher(connection)
            domain = connection.lookupByName("test")
            found = []
            for number in range(count):
                change, kind = ((domain.suspend, PAUSED), (domain.resume, RUNNING))[number % 2]
                change()
                event = watcher.take()
                found.append((receiver.take(kind) - event) * 1000)
                time.sleep(PAUSE)
            return found
        finally:
            receiver.close()
            if server is not None:
                server.stop()
            connection.close()


def measure(folder: Path, count: int) -> Iterator[Result]:
    libvirt_connection.silence()
    run_event_loop()
    for domains in (1, 1000):
        progress(f"events: {count} changes of one of {domains:,} domains")
        found = _latencies(folder / f"events{domains}", domains, count)
        case = f"{domains:,} domain{'s' if domains > 1 else ''}"
        yield Result(f"event to notification, {case}", found, "ms", at_most=20)
