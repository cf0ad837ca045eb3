"""A manager that sends one prepared GETBULK again and again: no process start, little of its own.

SNMPv2c over UDP (RFC 3416, 3417), with just the BER that this takes.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence

GET_BULK = 0xA5
Oid = tuple[int, ...]


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _integer(value: int) -> bytes:
    return _tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def encode_oid(oid: Oid) -> bytes:
    """The content octets of an OBJECT IDENTIFIER."""
    octets = bytearray((oid[0] * 40 + oid[1],))
    for number in oid[2:]:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        octets += bytes(reversed(groups))
    return bytes(octets)


def get_bulk(request_id: int, oids: Sequence[Oid], repetitions: int) -> bytes:
    """A whole GETBULK message of community "public" without non-repeaters."""
    asked = b"".join(_tlv(0x30, _tlv(6, encode_oid(oid)) + b"\5\0") for oid in oids)
    pdu = _integer(request_id) + _integer(0) + _integer(repetitions) + _tlv(0x30, asked)
    return _tlv(0x30, _integer(1) + _tlv(4, b"public") + _tlv(GET_BULK, pdu))


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            width = size & 0x7F
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        yield tag, data[at : at + size]
        at += size


def read_response(message: bytes) -> tuple[int, list[tuple[bytes, int, bytes]]]:
    """Return the error status and the varbinds (name, tag of the value, value) of a response."""
    ((_, body),) = _items(message)
    _, _, (_, pdu) = _items(body)
    _, (_, status), _, (_, varbinds) = _items(pdu)
    found = []
    for _, varbind in _items(varbinds):
        (_, name), (tag, value) = _items(varbind)
        found.append((name, tag, value))
    return int.from_bytes(status, "big"), found


class Manager:
    """Asks one agent on loopback."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(30)

    def ask(self, message: bytes) -> bytes:
        """One request and its response."""
        self._socket.send(message)
        return self._socket.recv(65536)

    def storm(self, messages: Sequence[bytes], seconds: float) -> tuple[int, float]:
        """Send `messages` round and round for `seconds`; return how many and how long it took."""
        send, recv = self._socket.send, self._socket.recv
        count = 0
        began = now = time.monotonic()
        while now - began < seconds:
            for message in messages:
                send(message)
                recv(65536)
            count += len(messages)
            now = time.monotonic()
        return count, now - began

    def close(self) -> None:
        self._socket.close()
