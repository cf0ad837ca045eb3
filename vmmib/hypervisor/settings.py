"""What a child needs to know of its hypervisor: plain data, checked by the configuration.

No password is in here or anywhere else of ours: libvirt reads credentials from `auth_file`.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec


class SourceSettings(msgspec.Struct, frozen=True):
    """One hypervisor and how to watch it. Times are in seconds."""

    name: str
    """The agent's own name for it (also its SNMP context)."""
    uri: str
    """libvirt's connection URI."""
    auth_file: str = ""
    """A libvirt authentication file (https://libvirt.org/auth.html); "": libvirt's defaults."""
    poll_interval: float = 10.0
    """From the start of one refresh to the start of the next."""
    silence_limit: float = 30.0
    """A hypervisor that did not answer for so long is unreachable."""
    volumes: bool | None = None
    """List the storage pools' volumes that no VM uses; None: where that is cheap (not on ESX)."""
    nice: int = 15
    """Added to the child's niceness. A refresh is a burst of work that nobody waits for, while a
    request is waited for by snmpd and its manager: with few CPUs the server is to win."""
    cautious: bool = False
    """The last child crashed: do without what a driver is likely to crash on. Set by the
    supervisor, not by the configuration."""

    @property
    def limit(self) -> float:
        """The silence that is too long; never less than two polls, or every pause would be."""
        return max(self.silence_limit, 2 * self.poll_interval)


_PASSWORD = re.compile(r"(?<=://)([^/?#@\s:]*):[^/?#@\s]*@")


def masked(text: str) -> str:
    """`text` with the password of every URI in it replaced, fit for a log."""
    return _PASSWORD.sub(r"\1:***@", text)


def driver_of(uri: str) -> str:
    """Libvirt's driver that a URI names: "qemu" of "qemu+ssh://host/system"."""
    return uri.partition(":")[0].partition("+")[0].lower()


def is_local(uri: str) -> bool:
    """Whether the hypervisor's VMs run on this host: the URI names no other."""
    try:
        return not urlsplit(uri).netloc
    except ValueError:
        return False
