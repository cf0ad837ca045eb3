"""What a hypervisor's child process and the agent say to each other.

Child to parent: msgpack (msgspec) messages, each behind a 4-octet big-endian length. A refresh is
any number of `Batch`es closed by one `Refreshed`; the parent shows nothing of a batch before that.
`Changed` and `Removed` come from events at any time and stand at once; they overrule what an open
batch says of the same VM. Messages are in the order in which things happened.

Parent to child: nothing but the end of its standard input, which means: leave.
"""

from __future__ import annotations

import struct

import msgspec

from vmmib.hypervisor.model import Disk, Hypervisor, Vm

MAX_MESSAGE = 64 * 1024 * 1024
"""Octets; the longest frame that a parent accepts from its child."""

_LENGTH = struct.Struct("!I")


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="batch"):
    """VMs that are new or differ from what the child sent last."""

    vms: tuple[Vm, ...]


class Refreshed(msgspec.Struct, frozen=True, array_like=True, tag="refreshed"):
    """The end of one refresh."""

    hypervisor: Hypervisor
    complete: bool
    """The batches held every VM: whatever they did not hold is gone."""
    removed: tuple[str, ...]
    """Keys of VMs that are gone."""
    volumes: tuple[Disk, ...] | None
    """Volumes of storage pools that no VM uses; None: as before."""
    total: int
    """VMs on the hypervisor."""
    seconds: float
    """What the refresh took."""


class Changed(msgspec.Struct, frozen=True, array_like=True, tag="changed"):
    """One VM was created or changed."""

    vm: Vm
    at: float
    """Seconds since the epoch at which the child learnt it."""


class Removed(msgspec.Struct, frozen=True, array_like=True, tag="removed"):
    """One VM was deleted."""

    key: str
    at: float


class Unreachable(msgspec.Struct, frozen=True, array_like=True, tag="unreachable"):
    """The hypervisor does not answer; the child (or its supervisor) goes on trying."""

    reason: str


Message = Batch | Refreshed | Changed | Removed | Unreachable

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class FrameError(Exception):
    """A child sent what is no message."""


def encode(message: Message) -> bytes:
    """One framed message."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Reader:
    """Takes octets as they come, gives whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that `data` completes, in order.

        Raises FrameError on a frame that is over-long or no message.
        """
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_MESSAGE:
                raise FrameError(f"a message of {length} octets, at most {MAX_MESSAGE} are taken")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            try:
                # decode() is done with the view when it returns, or the resize below would fail
                with memoryview(buffer)[start + _LENGTH.size : end] as body:
                    messages.append(_decoder.decode(body))
            except msgspec.MsgspecError as error:
                raise FrameError(f"not a message: {error}") from None
            start = end
        del buffer[:start]
        return messages
