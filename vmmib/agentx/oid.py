"""Object identifiers: as text, as tuples, and as keys that sort like them.

Three shapes, one meaning:

- text, "1.3.6.1.2.1.236", for people and configuration;
- a tuple of sub-identifiers, for everything that looks into them;
- a key, the sub-identifiers as 4-octet big-endian integers joined. Comparing keys as octets orders
  them as RFC 3416 orders OIDs, a subtree is a prefix, and it is the AgentX encoding (RFC 2741,
  5.1) without its header and prefix compression, so that serving never takes an OID apart.
"""

from __future__ import annotations

import struct

Oid = tuple[int, ...]

MAX_SUBIDS = 128
"""RFC 2578, 3.5: an OBJECT IDENTIFIER has at most 128 sub-identifiers."""
MAX_SUBID = 0xFFFFFFFF

_TEXT_SHOWN = 60


def parse(text: str) -> Oid:
    """Read dotted decimal text, with or without a leading dot.

    Raises ValueError, in one line, for anything else.
    """
    parts = text.strip().removeprefix(".").split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        shown = text if len(text) <= _TEXT_SHOWN else text[:_TEXT_SHOWN] + "..."
        raise ValueError(f"{shown!r} is no OID: write it as numbers with dots, like 1.3.6.1.2.1")
    if len(parts) > MAX_SUBIDS:
        raise ValueError(
            f"an OID of {len(parts)} sub-identifiers, at most {MAX_SUBIDS} are allowed"
        )
    # The length is looked at first: int() takes time on a number of thousands of digits.
    for part in parts:
        if len(part.lstrip("0")) > len(str(MAX_SUBID)) or int(part) > MAX_SUBID:
            raise ValueError(f"{part[:_TEXT_SHOWN]} in an OID is above {MAX_SUBID}")
    return tuple(map(int, parts))


def to_text(oid: Oid) -> str:
    """Write dotted decimal text, without a leading dot."""
    return ".".join(map(str, oid))


def key(oid: Oid) -> bytes:
    """Return the key of `oid`; ValueError when a sub-identifier is out of range."""
    try:
        return struct.pack(f"!{len(oid)}I", *oid)
    except struct.error:
        raise ValueError(f"{oid!r}: sub-identifiers are 0 to {MAX_SUBID}") from None


def from_key(key: bytes) -> Oid:
    """Return the OID of a key; ValueError when it is not a multiple of four octets long."""
    try:
        return struct.unpack(f"!{len(key) // 4}I", key)
    except struct.error:
        raise ValueError(f"a key of {len(key)} octets is not of whole sub-identifiers") from None
