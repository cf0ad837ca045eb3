"""hrStorageIndex of this host's file systems, for vmStorageParent: asked of the master by SNMP.

The order of net-snmp's hrStorageTable is that of its start, so the table is read again now and
then. pysnmp and asyncio take more memory than the rest of the agent together: a short-lived child
process asks (`python -m vmmib.hostresources`, its order and credentials on standard input), and
prints mount points and indexes as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import subprocess
import sys
from typing import IO, Any

import msgspec
import structlog

from vmmib.loop import Loop, Timer

HR_STORAGE_DESCR = "1.3.6.1.2.1.25.2.3.1.3"
"""hrStorageDescr (RFC 2790): of a file system, net-snmp gives its mount point."""

INTERVAL = 300.0
RETRY = 30.0
DEADLINE = 60.0
"""Seconds between two readings, after a failed one, and that one may take."""

MAX_ROWS = 10_000
"""An agent that never ends its table is left after as many."""

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
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vmmib.hostresources"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
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


# The child


def main() -> None:
    """Answer the order on standard input with a JSON object, or a JSON string on failure."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    answer: dict[str, int] | str
    try:
        answer = asyncio.run(file_systems(order))
    except OSError as error:
        answer = error.strerror or str(error)
    sys.stdout.buffer.write(msgspec.json.encode(answer))


async def file_systems(order: Order) -> dict[str, int] | str:
    """Return hrStorageIndex by mount point, or what went wrong."""
    found = await list_rows(order)
    if isinstance(found, str):
        return found
    return {descr: index for index, descr in found.items() if descr.startswith("/")}


async def list_rows(order: Order) -> dict[int, str] | str:
    """Return hrStorageDescr by hrStorageIndex, or what went wrong."""
    # In the child alone, and without types that would fit
    snmp: Any = importlib.import_module("pysnmp.hlapi.v3arch.asyncio")

    protocols = {
        "": snmp.USM_AUTH_NONE,
        "MD5": snmp.USM_AUTH_HMAC96_MD5,
        "SHA": snmp.USM_AUTH_HMAC96_SHA,
        "SHA-224": snmp.USM_AUTH_HMAC128_SHA224,
        "SHA-256": snmp.USM_AUTH_HMAC192_SHA256,
        "SHA-384": snmp.USM_AUTH_HMAC256_SHA384,
        "SHA-512": snmp.USM_AUTH_HMAC384_SHA512,
    }
    ciphers = {
        "": snmp.USM_PRIV_NONE,
        "DES": snmp.USM_PRIV_CBC56_DES,
        "AES": snmp.USM_PRIV_CFB128_AES,
    }
    auth = (
        snmp.CommunityData(order.community, mpModel=1)
        if order.version == "2c"
        else snmp.UsmUserData(
            order.user,
            order.auth_passphrase or None,
            order.priv_passphrase or None,
            authProtocol=protocols[order.auth_protocol],
            privProtocol=ciphers[order.priv_protocol],
        )
    )
    target_type = snmp.Udp6TransportTarget if ":" in order.host else snmp.UdpTransportTarget
    target = await target_type.create((order.host, order.port), timeout=2, retries=2)
    walk = snmp.bulk_walk_cmd(
        snmp.SnmpEngine(),
        auth,
        target,
        snmp.ContextData(contextName=order.context.encode()),
        0,
        25,
        snmp.ObjectType(snmp.ObjectIdentity(HR_STORAGE_DESCR)),
        lexicographicMode=False,
        lookupMib=False,
        maxRows=MAX_ROWS,
    )
    rows: dict[int, str] = {}
    async for problem, status, _, varbinds in walk:
        if problem:
            return str(problem)
        if status:
            return str(status.prettyPrint())
        for name, value in varbinds:
            rows[int(name[-1])] = bytes(value).decode("utf-8", "replace")
    return rows


if __name__ == "__main__":
    main()
