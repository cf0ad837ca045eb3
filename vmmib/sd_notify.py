"""Tells the service manager how this process fares: sd_notify(3), and the watchdog of systemd.

    notifier = Notifier.from_environment()
    notifier.ready("serving 12 VMs")           once all is set up
    notifier.status("serving 13 VMs")          as often as one likes: sends what changed
    every notifier.watchdog_interval seconds, from the main loop and nowhere else:
        notifier.alive()                       a loop that hangs is killed and started again

Rules
- Without a service manager ($NOTIFY_SOCKET) nothing is sent, and `watchdog_interval` is None.
- Nothing here raises or waits for long. A datagram that cannot be sent is lost: the next sign of
  life makes up for it, a lost state counts as not told.
- A socket for each datagram: there is nothing to close, and a service manager that comes back
  with a new socket is found. A process that is out of descriptors gives no sign of life, and gets
  its new start.
- The variables are taken out of the environment: no child process speaks for this one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

WAIT = 1.0
"""Seconds that the service manager has to make room for a change of state."""

LONGEST_STATUS = 500
"""Characters; `systemctl status` shows one line."""


class Notifier:
    """The way to the service manager."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        """`address`: a path, or "@name" of an abstract socket; "": there is nobody to tell.

        `watchdog`: seconds without a sign of life after which the process is killed.
        """
        self.enabled = address[:1] in {"/", "@"}
        self._address = "\0" + address[1:] if address[:1] == "@" else address
        self.watchdog_interval = watchdog / 2 if self.enabled and watchdog else None
        """Seconds from one `alive` to the next: half the limit, as sd_watchdog_enabled(3) says."""
        self._told = ""

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Take what the service manager set for this very process out of its environment."""
        address = environment.pop("NOTIFY_SOCKET", "")
        limit = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
        ours = limit.isascii() and limit.isdecimal() and pid == str(os.getpid())
        return cls(address, int(limit) / 1e6 if ours else None)

    def ready(self, status: str = "") -> None:
        """Say that the start, or a reload, is done."""
        self._send("READY=1", status, wait=WAIT)

    def status(self, text: str) -> None:
        """Say in one line how things are; nothing is sent when that was the last thing said."""
        self._send("", text)

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that the configuration is being read anew; `ready` ends it."""
        # Of CLOCK_MONOTONIC, by which Type=notify-reload tells this reload from an earlier one
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", wait=WAIT)

    def stopping(self, status: str = "") -> None:
        """Say that the process is on its way out."""
        self._send("STOPPING=1", status, wait=WAIT)

    def busy(self, seconds: float) -> None:
        """Say that a long step goes on, and may take `seconds` more without being hung."""
        self._send(f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, state: str, status: str = "", wait: float = 0.0) -> None:
        if not self.enabled:
            return
        # One line: a line break in a name would be read as another assignment
        line = "".join(char if char.isprintable() else " " for char in status)[:LONGEST_STATUS]
        said = f"STATUS={line}" if line and line != self._told else ""
        text = "\n".join(filter(None, (state, said)))
        if text and self._deliver(text.encode("utf-8", "replace"), wait) and said:
            self._told = line

    def _deliver(self, datagram: bytes, wait: float) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(wait)
                sender.sendto(datagram, self._address)
        except OSError:
            return False
        return True
