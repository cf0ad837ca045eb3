"""One stream connection on the loop: resolve, connect, read, write, without ever blocking.

Theory of operation
-------------------
    open() -> resolving (names only, on a thread) -> connecting, each address in turn -> connected

ends in `on_connected`, after which `on_data` gets what arrives, or in `on_lost`, which also tells
of every later end. After `on_lost` or `close` the link is as it was at first, and may be opened
again. What the kernel does not take at once is kept, up to MAX_UNSENT octets.

Staying on the line
-------------------
A master that walks asks again as soon as it has its answer, some ten microseconds later. Going
back to epoll for that costs a fifth of all that serving costs. So the socket is a blocking one with
a receive timeout, and when `on_data` has answered, the next request is waited for right there, for
PAUSE, and at most for SPELL in all: after that the loop's other descriptors and timers have their
turn. Everything else is done with MSG_DONTWAIT.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from vmmib.agentx.address import Address
from vmmib.loop import Loop, Timer

RECEIVE_SIZE = 65536
MAX_UNSENT = 4 << 20
"""Octets that wait for a peer that does not read."""

PAUSE = 0.001
"""Seconds to wait for the next request; the kernel rounds up to its tick, 4 ms at worst."""
SPELL = 0.005
"""Seconds that requests in a row may keep the loop."""

_DONTWAIT = socket.MSG_DONTWAIT
_PAUSE_TIMEVAL = struct.pack("@ll", 0, int(PAUSE * 1_000_000))

_Candidate = tuple[int, Any]
"""Address family and socket address."""


class Link:
    """A connection to `address`, or none."""

    def __init__(
        self,
        loop: Loop,
        address: Address,
        *,
        connect_timeout: float,
        on_connected: Callable[[], None],
        on_data: Callable[[bytes], bytes | None],
        on_lost: Callable[[str, OSError | None], None],
    ) -> None:
        """`on_data` may return the answer to be written: the peer is then expected to go on.

        `on_lost` gets the reason, for people, and the error, if there was one.
        """
        self._loop = loop
        self._address = address
        self._connect_timeout = connect_timeout
        self._on_connected = on_connected
        self._on_data = on_data
        self._on_lost = on_lost
        self._socket: socket.socket | None = None
        self._candidates: list[_Candidate] = []
        self._timer: Timer | None = None
        """While resolving or connecting."""
        self._resolving: Timer | None = None
        self._resolver: threading.Thread | None = None
        self._unsent = bytearray()

    def open(self) -> None:
        """Connect; the link must be closed."""
        if self._address.path is not None:
            self._connect_first([(socket.AF_UNIX, self._address.path)])
            return
        # A number needs no resolver; a name may need one that does not answer for minutes.
        try:
            found = _resolve(self._address, socket.AI_NUMERICHOST)
        except OSError:
            self._resolve_on_thread()
        else:
            self._connect_first(found)

    def write(self, data: bytes) -> None:
        """Send `data` after what was written before; no-op when there is no connection."""
        connection = self._socket
        if connection is None:
            return
        if self._unsent:
            self._unsent += data
        else:
            try:
                written = connection.send(data, _DONTWAIT)
            except BlockingIOError:
                written = 0
            except OSError as error:
                self._lost(error)
                return
            if written == len(data):
                return
            self._unsent += data[written:]
            self._loop.add_writer(connection.fileno(), self._writable)
        if len(self._unsent) > MAX_UNSENT:
            self.close()
            self._on_lost("the peer does not read what it asked for", None)

    def poll(self) -> None:
        """Read what is there now, as the loop would."""
        if self._socket is not None and self._timer is None:
            self._readable()

    def finish(self, data: bytes, seconds: float) -> Iterator[bytes]:
        """Write `data`, and yield what arrives until the peer closes: blocks up to `seconds`."""
        connection = self._socket
        if connection is None:
            return
        deadline = self._loop.time() + seconds
        try:
            connection.settimeout(seconds)
            connection.sendall(bytes(self._unsent) + data)
            while True:
                connection.settimeout(max(0.001, deadline - self._loop.time()))
                received = connection.recv(RECEIVE_SIZE)
                if not received:
                    return
                yield received
        except OSError:
            return

    def write_last(self, data: bytes) -> None:
        """Send as much of `data` as can be sent at once, and close."""
        if self._socket is not None:
            # It is being given up: nobody waits for these octets.
            with contextlib.suppress(OSError):
                self._socket.send(bytes(self._unsent) + data, _DONTWAIT)
            self.close()

    def close(self) -> None:
        """Give the connection, or the attempt, up; a no-op when there is none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._candidates = []
        self._unsent = bytearray()
        connection, self._socket = self._socket, None
        if connection is not None:
            self._loop.remove_reader(connection.fileno())
            self._loop.remove_writer(connection.fileno())
            connection.close()

    # Connecting

    def _resolve_on_thread(self) -> None:
        def late() -> None:
            self._lost(socket.gaierror(socket.EAI_AGAIN, "the host name is not resolved in time"))

        # The timer stands for the attempt: an answer that comes after it finds none.
        self._resolving = self._timer = self._loop.call_later(self._connect_timeout, late)
        if self._resolver is not None and self._resolver.is_alive():
            return  # it still asks for an earlier attempt; its answer will do
        self._resolver = threading.Thread(target=self._resolve, name="agentx-resolve", daemon=True)
        try:
            self._resolver.start()
        except RuntimeError as error:
            self._resolver = None
            self._lost(OSError(errno.EAGAIN, f"no resolver thread: {error}"))

    def _resolve(self) -> None:
        """Ask the resolver: on its thread."""
        found: list[_Candidate] = []
        problem: OSError | None = None
        try:
            found = _resolve(self._address, 0)
        except OSError as error:
            problem = error
        self._loop.call_soon_threadsafe(lambda: self._resolved(found, problem))

    def _resolved(self, found: list[_Candidate], error: OSError | None) -> None:
        if self._timer is None or self._timer is not self._resolving:
            return
        self._timer.cancel()
        self._timer = None
        if error is None:
            self._connect_first(found)
        else:
            self._lost(error)

    def _connect_first(self, candidates: list[_Candidate]) -> None:
        self._candidates = candidates
        self._connect_next(OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)))

    def _connect_next(self, error: OSError) -> None:
        """Try the next candidate; `error` is what became of the last one."""
        while self._candidates:
            family, name = self._candidates.pop(0)
            try:
                connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError as problem:
                error = problem
                continue
            try:
                number = connection.connect_ex(name)
            except OSError as problem:  # the address itself is impossible
                number = problem.errno or errno.EINVAL
            if number in (0, errno.EINPROGRESS):
                self._socket = connection
                if number == 0:
                    self._connected(connection)
                    return
                self._loop.add_writer(connection.fileno(), self._connect_done)
                self._timer = self._loop.call_later(
                    self._connect_timeout, lambda: self._connect_failed(errno.ETIMEDOUT)
                )
                return
            connection.close()
            error = OSError(number, os.strerror(number))
        self._lost(error)

    def _connect_failed(self, number: int) -> None:
        rest = self._candidates
        self.close()
        self._candidates = rest
        self._connect_next(OSError(number, os.strerror(number)))

    def _connect_done(self) -> None:
        connection = self._socket
        if connection is None:
            return
        number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number == 0:
            try:
                # The kernel may give this very socket, as its own, a port that nobody listens at.
                if connection.getpeername() == connection.getsockname():
                    number = errno.ECONNREFUSED
            except OSError:
                return  # a wake-up that was meant for an earlier socket: not connected yet
        if number:
            self._connect_failed(number)
        else:
            self._connected(connection)

    def _connected(self, connection: socket.socket) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._candidates = []
        self._loop.remove_writer(connection.fileno())
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PAUSE_TIMEVAL)
            connection.setblocking(True)
        except OSError as error:
            self._lost(error)
            return
        self._loop.add_reader(connection.fileno(), self._readable)
        self._on_connected()

    # Reading and writing

    def _readable(self) -> None:
        connection = self._socket
        flags = int(_DONTWAIT)
        until = 0.0
        while connection is not None:
            try:
                data = connection.recv(RECEIVE_SIZE, flags)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(error)
                return
            if not data:
                self.close()
                self._on_lost("the peer closed the connection", None)
                return
            answer = self._on_data(data)
            if answer is None:
                return
            self.write(answer)
            now = time.monotonic()
            if flags:
                flags = 0
                until = now + SPELL
            elif now > until:
                return
            if self._unsent:
                return
            connection = self._socket

    def _writable(self) -> None:
        connection = self._socket
        if connection is None or not self._unsent:
            return
        try:
            written = connection.send(self._unsent, _DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        del self._unsent[:written]
        if not self._unsent:
            self._loop.remove_writer(connection.fileno())

    def _lost(self, error: OSError) -> None:
        self.close()
        self._on_lost(_reason(error), error)


def _resolve(address: Address, flags: int) -> list[_Candidate]:
    family = socket.AF_INET6 if address.ipv6 else socket.AF_INET
    try:
        found = socket.getaddrinfo(
            address.host, address.port, family, socket.SOCK_STREAM, socket.IPPROTO_TCP, flags
        )
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "this is no host name") from None
    return [(family, name) for family, _, _, _, name in found]


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


_NOT_THERE = 'is snmpd running, with "master agentx" in snmpd.conf? Is this its agentXSocket?'
_NO_ACCESS = (
    'run as root, or let a group in: "agentXPerms 0660 0755 root GROUP" in snmpd.conf; open the '
    "socket's folder to it, too, which keeps the mode that it has"
)

_REMEDIES: dict[int, str] = {
    errno.ENOENT: _NOT_THERE,
    errno.ECONNREFUSED: _NOT_THERE,
    errno.ENOTSOCK: "this path is no socket: name snmpd's agentXSocket",
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.EAGAIN: "the master agent accepts no connections: it hangs, or is stopped",
    errno.EMFILE: "too many open files: raise LimitNOFILE",
}
_WAIT = "none is known; it is tried again, for ever"


def remedy(error: OSError) -> str:
    """Say what an operator can do about a failure to connect, in one line."""
    if isinstance(error, socket.gaierror):
        return "correct the host name of the address, or the resolver"
    return _REMEDIES.get(error.errno or 0, _WAIT)
