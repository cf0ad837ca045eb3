"""Ask a master agent for its hrStorageTable: `python -m vmmib.hrstorage`, run by hostresources.py.

The order, credentials and all, comes as JSON on standard input; the answer goes to standard output:
an object of mount points and their hrStorageIndex, or a string that says what went wrong.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import msgspec

from vmmib.hostresources import Order

HR_STORAGE_DESCR = "1.3.6.1.2.1.25.2.3.1.3"
"""hrStorageDescr (RFC 2790): of a file system, net-snmp gives its mount point."""

MAX_ROWS = 10_000
"""An agent that never ends its table is left after as many."""


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
    # pysnmp's types do not fit its values
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
