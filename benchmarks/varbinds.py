"""Encoded AgentX varbinds, big-endian, taken apart without the agent's own code.

What the agent serves is recorded once, as octets (see master), and served by the others: so all of
them serve the same rows. A dump file is the varbinds of a walk, one behind the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

INTEGER, OCTETS, OBJECT_ID, COUNTER32, GAUGE32, TICKS, COUNTER64 = 2, 4, 6, 65, 66, 67, 70
NO_SUCH_INSTANCE, END_OF_MIB_VIEW = 129, 130

PREFIX = (1, 3, 6, 1)
"""A prefix octet stands for these and itself (RFC 2741, 5.1)."""


class VarBind(NamedTuple):
    """One varbind, and its place in the octets that it was read from."""

    type: int
    oid: tuple[int, ...]
    value: int | bytes | tuple[int, ...] | None
    start: int
    end: int


def read_oid(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """Return the OID at `at`, and where it ends."""
    count, prefix = data[at], data[at + 1]
    end = at + 4 + 4 * count
    oid = struct.unpack(f"!{count}I", data[at + 4 : end])
    return ((*PREFIX, prefix, *oid) if prefix else oid), end


def read(data: bytes, at: int = 0) -> VarBind:
    """Return the varbind at `at`."""
    (kind,) = struct.unpack_from("!H", data, at)
    oid, end = read_oid(data, at + 4)
    value: int | bytes | tuple[int, ...] | None = None
    if kind == INTEGER:
        (value,) = struct.unpack_from("!i", data, end)
        end += 4
    elif kind in (COUNTER32, GAUGE32, TICKS):
        (value,) = struct.unpack_from("!I", data, end)
        end += 4
    elif kind == COUNTER64:
        (value,) = struct.unpack_from("!Q", data, end)
        end += 8
    elif kind == OCTETS:
        (size,) = struct.unpack_from("!I", data, end)
        value = data[end + 4 : end + 4 + size]
        end += 4 + size + -size % 4
    elif kind == OBJECT_ID:
        value, end = read_oid(data, end)
    elif kind not in (NO_SUCH_INSTANCE, END_OF_MIB_VIEW):
        raise ValueError(f"a varbind of type {kind}")
    return VarBind(kind, oid, value, at, end)


def read_all(data: bytes) -> Iterator[VarBind]:
    """All varbinds of a dump."""
    at = 0
    while at < len(data):
        varbind = read(data, at)
        yield varbind
        at = varbind.end
