"""The contract between a child process and the ways to watch a hypervisor.

A source says what it finds through its `emit`, in messages whose order is the order of events
(see messages.py). The worker calls its methods on three threads, each of which may wait for the
hypervisor without holding up the others:

    poller   connect(), then refresh() and sleep() again and again; close() after a failure
    asker    ask(): what one event left open, and the VM that it concerned in full
    surveyor survey(): what touches storage, which may hang by itself (a dead NFS server), so
             that states and counters never wait for it

A source's own callbacks come on a fourth. A source is the only place that knows its hypervisor's
calls. What it cannot learn is None, empty or unknown in the model; what fails for one VM is no
failure of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vmmib.hypervisor.messages import Message

Emit = Callable[[Message], None]
Log = Callable[[str], None]


class SourceError(Exception):
    """The hypervisor cannot be watched; the text is one line, with the remedy where one is known.

    It holds no secret.
    """


class Source(Protocol):
    """One way to watch a hypervisor."""

    def connect(self) -> None:
        """Reach the hypervisor and subscribe to its events.

        Raises SourceError.
        """

    def refresh(self) -> None:
        """Read what changes; emit Batches and one Refreshed, of all VMs after each connect().

        Raises SourceError when the hypervisor as a whole does not answer; then close(), connect().
        """

    def sleep(self, seconds: float) -> None:
        """Wait; less long after wake().

        Raises SourceError as soon as the connection is known to be lost.
        """

    def ask(self, seconds: float) -> None:
        """Answer the questions that are due; wait for one at most so many seconds."""

    def survey(self, seconds: float) -> None:
        """Read what touches storage when that is due; wait for it at most so many seconds.

        What it finds goes out with the next refresh.
        """

    def wake(self) -> None:
        """End sleep(), ask() and survey() soon; from any thread."""

    def close(self) -> None:
        """Leave the hypervisor. Never raises; a no-op when not connected."""
