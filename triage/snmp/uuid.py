"""UUIDs of machines as different sides write them, brought to one form.

Rules
- Canonical is lower case with dashes: "12345678-9abc-def0-1234-56789abcdef0".
- Kubernetes' status.nodeInfo.systemUUID is text as the firmware's reader wrote it: any case, with
  dashes or none, perhaps in braces or after "urn:uuid:".
- vmUUID (RFC 7666, UUIDorZero of RFC 6933) is 16 octets, or none when it is not known. Agents that
  send the 32 digits or the 36 characters as text, with "0x" before or a NUL behind, are understood.
- SMBIOS before 2.6 did not say in which byte order the first three fields are (DSP0134, 7.2.1), so
  that a guest and its hypervisor may write them differently: `swapped` is the other form.
- A UUID whose octets are all alike (all zero, all ff) is what firmware says that has none: it names
  no machine. Both functions give "" for that and for whatever is no UUID.
"""

from __future__ import annotations

import re

OCTETS = 16

_PREFIX = re.compile(r"urn:uuid:|0x|x'", re.IGNORECASE)
_NOT_DIGITS = re.compile(r"[-\s:]")
_DIGITS = re.compile(r"[0-9a-f]{32}")
MAX_TEXT = 64


def canonical(text: str) -> str:
    """Give the canonical form of a UUID in text, "" when it names no machine."""
    if len(text) > MAX_TEXT:
        return ""
    text = text.strip(" \t\r\n\0\"'{}()")
    found = _PREFIX.match(text)
    if found:
        text = text[found.end() :].strip("{}'\"")
    digits = _NOT_DIGITS.sub("", text).lower()
    if not _DIGITS.fullmatch(digits):
        return ""
    return _from_octets(bytes.fromhex(digits))


def from_octets(octets: bytes) -> str:
    """Give the canonical form of a vmUUID, "" when it names no machine."""
    if len(octets) == OCTETS:
        return _from_octets(octets)
    try:
        return canonical(octets.decode("ascii"))
    except UnicodeDecodeError:
        return ""


def swapped(uuid: str) -> str:
    """Give a canonical UUID with the bytes of its first three fields in the other order."""
    octets = bytes.fromhex(uuid.replace("-", ""))
    return _written(octets[3::-1] + octets[5:3:-1] + octets[7:5:-1] + octets[8:])


def _from_octets(octets: bytes) -> str:
    return "" if len(set(octets)) == 1 else _written(octets)


def _written(octets: bytes) -> str:
    digits = octets.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
