"""hrStorageIndex of this host's file systems, for vmStorageParent: asked of the master by SNMP.

The order of net-snmp's hrStorageTable is that of its start, so the table is read again now and
then. pysnmp and asyncio take more memory than the rest of the agent together: a short-lived child
process asks (see hrstorage.py).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import IO

import msgspec
import structlog

from vmmib.loop import Loop, Timer

INTERVAL = 300.0
RETRY = 30.0
DEADLINE = 60.0
"""Seconds between two readings, after a failed one, and that one may take."""

MAX_ANSWER = 4 * 1024 * 1024


class Order(msgspec.Struct, frozen=True):
    """What to ask, and as whom; passphrases as the user wrote them."""

    host: str
    port: int
    version: str
    """"2c" or "3"."""
    community: str = ""
    user: str = ""
    auth_protocol: str = ""
    auth_passphrase: str = ""
    priv_protocol: str = ""
    priv_passphrase: str = ""
    context: str = ""

    def __repr__(self) -> str:
        """Name the agent, not the secrets."""
        return f"Order({self.host}:{self.port})"


class StorageParents:
    """Keeps `indexes` (mount point to hrStorageIndex) up to date."""

    def __init__(self, loop: Loop, order: Order) -> None:
        self.indexes: dict[str, int] = {}
        self._loop = loop
        self._order = order
        self._log = structlog.get_logger().bind(master=f"{order.host}:{order.port}")
        self._process: subprocess.Popen[bytes] | None = None
        self._answer = bytearray()
        self._timer: Timer | None = None
        self._failed = False

    def start(self) -> None:
        """Ask, and go on asking."""
        # The command line and environment of the child hold no secret: its standard input does.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vmmib.hrstorage"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            self._finish(f"cannot start the child process: {error.strerror}")
            return
        self._answer.clear()
        with contextlib.suppress(BrokenPipeError), _stream(self._process.stdin) as stdin:
            stdin.write(msgspec.json.encode(self._order))
        self._loop.add_reader(_stream(self._process.stdout).fileno(), self._on_readable)
        self._timer = self._loop.call_later(DEADLINE, self._on_deadline)

    def stop(self) -> None:
        """End the child and ask no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._end()

    def _end(self) -> None:
        if self._process is None:
            return
        stdout = _stream(self._process.stdout)
        self._loop.remove_reader(stdout.fileno())
        stdout.close()
        self._process.kill()
        self._process.wait()
        self._process = None

    def _on_readable(self) -> None:
        if self._process is None:
            return
        data = os.read(_stream(self._process.stdout).fileno(), 65536)
        self._answer += data
        if data and len(self._answer) <= MAX_ANSWER:
            return
        self._end()
        try:
            found = msgspec.json.decode(self._answer, type=dict[str, int] | str)
        except msgspec.MsgspecError:
            found = "the query failed"
        self._finish(found)

    def _on_deadline(self) -> None:
        self._end()
        self._finish(f"no answer within {DEADLINE:g} s")

    def _finish(self, found: dict[str, int] | str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if isinstance(found, str):
            if not self._failed:
                self._log.warning(
                    "hr_storage_table_unavailable",
                    error=found,
                    remedy="vmStorageParent is 0 meanwhile; check [host_resources] and snmpd's "
                    "access rights to 1.3.6.1.2.1.25.2",
                )
            self._failed = True
        else:
            if self._failed or not self.indexes:
                self._log.info("hr_storage_table_read", file_systems=len(found))
            self._failed = False
            self.indexes.clear()
            self.indexes.update(found)
        self._timer = self._loop.call_later(RETRY if self._failed else INTERVAL, self.start)


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the child was started without this pipe")
    return stream
