"""Calls that may wait for ever, made where they hold up nothing else.

QEMU's driver asks the guest's own process for memory, vCPU and disk figures; if that process is
stopped or stuck, the call waits for as long as it is. Storage whose server is gone does the same.
So such calls are made on a thread of their own, over a connection of their own, and when one takes
longer than `patience` both are left behind, waiting; the next call gets new ones. (The thread
alone would not do: libvirt's client lets the one thread that waits read the replies of all, and
others' calls have been seen to lie until the next keepalive while one was stuck.)

A daemon has a bounded number of workers for all its clients, so at most MOST_STUCK calls are left
behind at a time; beyond that the caller does without, until one of them returns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from vmmib.hypervisor.libvirt_connection import Connection, Connector, Domain
from vmmib.hypervisor.settings import SourceSettings

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a call may take, for a hypervisor whose limit of silence leaves room for it."""

MOST_STUCK = 3
"""Calls left waiting at a time; libvirtd's default is 20 workers for all."""


class Line:
    """A connection and its own handles of the domains."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._domains: dict[bytes | str, Domain] = {}

    def domains(self, identities: list[bytes | str]) -> dict[bytes | str, Domain]:
        """The handles of these domains (by UUID, or by name where it is all zero) that exist."""
        if any(one not in self._domains for one in identities):
            # One call, however many are new; those that are gone are dropped by the way
            self._domains = {identity_of(dom): dom for dom in self.connection.listAllDomains(0)}
        return {one: self._domains[one] for one in identities if one in self._domains}


class Guarded:
    """Runs calls that may get stuck. Safe to use from several threads."""

    def __init__(self, settings: SourceSettings, connector: Connector) -> None:
        self._settings = settings
        self._connector = connector
        self._patience = max(1.0, min(PATIENCE, settings.limit / 6))
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._in_process = False
        self._left: set[threading.Thread] = set()

    def attach(self, connection: Connection, in_process: bool) -> None:
        """Serve a new connection; `in_process`: use it itself, for it has no peer to wait for."""
        with self._lock:
            self._in_process = in_process
            self._line = Line(connection) if in_process else None

    def detach(self) -> None:
        """There is no connection; one that is free is closed by its last reference's end."""
        with self._lock:
            self._line = None

    @property
    def full(self) -> bool:
        """Whether no more calls may be left behind."""
        with self._lock:
            self._left = {one for one in self._left if one.is_alive()}
            return len(self._left) >= MOST_STUCK

    def run(self, call: Callable[[Line], T]) -> T | None:
        """The call's result; None when it was left behind, or when too many are.

        Raises what the call raises, and SourceError when there is no connection to be had.
        """
        if self.full:
            return None
        with self._lock:
            line, in_process = self._line, self._in_process
        if in_process:
            return call(line) if line is not None else None
        attempt = _Attempt(line, lambda: Line(self._connector(self._settings)), call)
        attempt.start()
        attempt.join(self._patience)
        stuck = attempt.is_alive()
        with self._lock:
            if stuck:
                self._left.add(attempt)
            if stuck or attempt.error is not None:
                if self._line is line:
                    self._line = None
            elif self._line is None:
                self._line = attempt.line
        if attempt.error is not None:
            raise attempt.error
        return None if stuck else attempt.result


class _Attempt(threading.Thread, Generic[T]):
    """One call, over a line that is there or a new one."""

    def __init__(
        self, line: Line | None, opener: Callable[[], Line], call: Callable[[Line], T]
    ) -> None:
        super().__init__(name="call", daemon=True)
        self.line = line
        self.result: T | None = None
        self.error: Exception | None = None
        self._opener = opener
        self._call = call

    def run(self) -> None:
        try:
            if self.line is None:
                self.line = self._opener()
            self.result = self._call(self.line)
        except Exception as error:  # raised again by who waits, if somebody still does
            self.error = error


def identity_of(dom: Domain) -> bytes | str:
    """What tells a domain from the others: its UUID, or its name when that is all zero."""
    uuid: bytes = dom.UUID()
    return uuid if uuid != _ZERO else dom.name()


_ZERO = bytes(16)
