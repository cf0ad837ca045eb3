"""A connection to libvirt: how it is opened, what its errors say, what its driver is.

Credentials come from libvirt's own authentication file, which libvirt itself reads: no password
passes through this program. The callback that libvirt falls back to refuses, so that nothing ever
prompts on a terminal.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt

from vmmib.hypervisor.settings import SourceSettings, driver_of, masked
from vmmib.hypervisor.source import SourceError

ESX_DRIVERS = frozenset({"esx", "gsx", "vpx"})

_GONE = frozenset({libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_DOMAIN_METADATA})
_MISSING = frozenset(
    {
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_INVALID_ARG,
    }
)

_LONGEST = 300
"""Characters of an error that are worth a line."""

_CREDENTIALS = [
    libvirt.VIR_CRED_AUTHNAME,
    libvirt.VIR_CRED_PASSPHRASE,
    libvirt.VIR_CRED_NOECHOPROMPT,
    libvirt.VIR_CRED_ECHOPROMPT,
]

# (text in libvirt's message, remedy); the first that fits
_REMEDIES = (
    ("Permission denied", "add the agent's user to the group libvirt, or run it as root"),
    ("authentication unavailable", "add the agent's user to the group libvirt (polkit)"),
    ("access denied by policy", "grant it in libvirt's access policy (polkit)"),
    ("authentication failed", "check user and password in libvirt's authentication file"),
    ("incorrect user name or password", "check libvirt's authentication file"),
    ("Username request failed", "put the credentials into libvirt's authentication file"),
    ("Password request failed", "put the credentials into libvirt's authentication file"),
    ("No such file or directory", "is libvirtd (or virtqemud) running? systemctl start libvirtd"),
    ("Connection refused", "is the daemon running there, and listening?"),
    ("no connection driver", "check the URI, and that this libvirt was built with its driver"),
    ("unexpected test:///", "give test:///default or test:///path/to/node.xml"),
)

Domain = Any
Connection = Any
LibvirtError = libvirt.libvirtError
Connector = Callable[[SourceSettings], Connection]
"""How a source gets its connection."""


def silence() -> None:
    """Keep libvirt from printing each error on standard error; they are all raised as well."""
    libvirt.registerErrorHandler(_ignore, None)


def _ignore(_context: object, _error: object) -> None:
    pass


def is_gone(error: libvirt.libvirtError) -> bool:
    """Whether the domain no longer exists."""
    return error.get_error_code() in _GONE


def is_missing(error: libvirt.libvirtError) -> bool:
    """Whether the driver has no such call, as opposed to one that failed."""
    return error.get_error_code() in _MISSING


def is_dead(connection: Connection) -> bool:
    """Whether the connection is lost, as far as that is known without asking over it."""
    try:
        return not connection.isAlive()
    except LibvirtError:
        return True


def describe(error: BaseException) -> str:
    """An error in one line, without passwords."""
    text = " ".join(masked(str(error)).split())
    return text[:_LONGEST] or type(error).__name__


def failure(settings: SourceSettings, error: BaseException) -> SourceError:
    """What to tell of a hypervisor that does not answer: which, why, and what to do."""
    text = describe(error)
    remedy = next((remedy for sign, remedy in _REMEDIES if sign.lower() in text.lower()), "")
    line = f"{masked(settings.uri)}: {text}"
    return SourceError(f"{line}: {remedy}" if remedy else line)


def connect(settings: SourceSettings) -> Connection:
    """Open a connection. Raises SourceError."""
    if settings.auth_file:
        try:
            with Path(settings.auth_file).open("rb"):
                pass
        except OSError as error:
            raise SourceError(
                f"{masked(settings.uri)}: libvirt's authentication file {settings.auth_file}: "
                f"{error.strerror}: create it (https://libvirt.org/auth.html), readable for the "
                "agent alone"
            ) from None
        os.environ["LIBVIRT_AUTH_FILE"] = settings.auth_file
    try:
        connection = libvirt.openAuth(settings.uri, [_CREDENTIALS, _refuse, None], 0)
    except libvirt.libvirtError as error:
        raise failure(settings, error) from None
    except (UnicodeError, ValueError, TypeError) as error:
        raise failure(settings, error) from None
    if driver_of(settings.uri) not in ESX_DRIVERS:
        keep_alive(connection, settings.limit)
    return connection


def _refuse(_credentials: object, _data: object) -> int:
    """Libvirt's authentication callback: it has nothing to add to the authentication file."""
    return -1


def keep_alive(connection: Connection, limit: float) -> None:
    """Have libvirt close a connection whose daemon is silent, before `limit` seconds are over.

    Only the remote driver has this; the others have no peer that could fall silent.
    """
    interval = max(1, int(limit / 5))
    try:
        connection.setKeepAlive(interval, 3)
    except libvirt.libvirtError as error:
        if not is_missing(error):
            raise SourceError(describe(error)) from None


def close(connection: Connection | None) -> None:
    """Close a connection; an error of one that is lost anyway is none."""
    if connection is not None:
        try:
            connection.close()
        except libvirt.libvirtError:
            return
