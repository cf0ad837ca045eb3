"""The syslog of the demo's hypervisor: four days of what hosts say all the time, and then trouble.

What it stands in for is a collector's file of one host, as rsyslog writes it with
RSYSLOG_FileFormat. The lines are in the words of Linux, systemd, OpenSSH, chrony, snmpd, multipathd
and libvirt; their times are of the four days before the demo, and then of now.

The trouble is a path to the storage that breaks: the kernel's errors, multipathd's, and the I/O
error for which QEMU stops a machine. Whether the machine then runs is libvirt's matter, not this
file's: nobody reads it but triage.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import Iterator
from pathlib import Path

HOST = "hv1"
PAST = 4 * 86400.0
"""Seconds."""
SEED = 7
EVERY = 5.0
"""Seconds between two lines of now."""


class HostLog:
    """The file, and who writes it."""

    def __init__(self, folder: Path, machine: str) -> None:
        self.path = folder / "syslog" / f"{HOST}.log"
        self._machine = machine
        self._random = random.Random(SEED)  # noqa: S311 - no secret, and the same each time

    def write_past(self, now: float) -> int:
        """Write the days before now; return how many lines that are."""
        self.path.parent.mkdir()
        lines = sorted(self._ordinary(now - PAST, now))
        with self.path.open("w", encoding="utf-8") as file:
            file.writelines(_line(at, text) for at, text in lines)
        return len(lines)

    async def keep(self) -> None:
        """Go on with what hosts say, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            self._write("systemd[1]: Started libvirt-guests-check.service - check of guests.")

    def stall(self) -> None:
        """The path to the storage has broken, some seconds ago: lines come when timers are over."""
        sector = self._random.randrange(10**6, 10**9)
        now = time.time()
        for before, text in (
            (12.4, "kernel: sd 2:0:0:1: [sdb] FAILED Result: hostbyte=DID_TRANSPORT_DISRUPTED"),
            (12.4, f"kernel: I/O error, dev sdb, sector {sector} op 0x1:(WRITE) phys_seg 4"),
            (9.1, "multipathd[644]: sdb: path down, 0 of 2 paths of mpatha remain"),
            (
                0.1,
                f"libvirtd[1034]: domain {self._machine}: I/O error on virtio-disk0, action stop",
            ),
        ):
            self._write(text, now - before)

    def _write(self, text: str, at: float | None = None) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(time.time() if at is None else at, text))

    # What hosts say all the time

    def _ordinary(self, start: float, end: float) -> Iterator[tuple[float, str]]:
        chance = self._random
        at = start
        while at < end:
            minute = int(at // 60)
            pid = 20000 + minute % 9000
            yield at + 1, f"CRON[{pid}]: (root) CMD (/usr/lib/vm-report --minute)"
            yield at + 2, f"snmpd[871]: Connection from UDP: [192.0.2.1]:{pid}->[192.0.2.11]:161"
            if minute % 10 == 0:
                yield at + 3, "systemd[1]: Starting sysstat-collect.service - activity collector..."
                yield at + 4, "systemd[1]: sysstat-collect.service: Deactivated successfully."
            if chance.random() < 0.2:
                yield at + 30, "systemd[1]: Started libvirt-guests-check.service - check of guests."
            if chance.random() < 0.1:
                port = chance.randrange(1024, 65535)
                peer = f"203.0.113.{chance.randrange(1, 255)} port {port}"
                yield at + 31, f"sshd[{pid}]: Connection closed by {peer} [preauth]"
            if chance.random() < 0.02:
                offset = chance.uniform(-0.004, 0.004)
                yield at + 40, f"chronyd[702]: System clock wrong by {offset:.6f} seconds"
            at += 60.0


def _line(at: float, text: str) -> str:
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}+00:00 {HOST} {text}\n"
