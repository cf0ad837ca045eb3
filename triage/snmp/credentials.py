"""Who we are to an agent: a community, or a user of SNMPv3's user-based security model.

A TOML file holds them, one for each hypervisor, with permissions of its own:

    community = "..."

    user = "triage"
    auth_protocol = "SHA-256"       # MD5, SHA, SHA-224, SHA-256, SHA-384, SHA-512
    auth_passphrase = "..."
    priv_protocol = "AES"           # DES, AES (128 bits), AES-192, AES-256, AES-192-C, AES-256-C
    priv_passphrase = "..."
    context = "esx1"                # optional, for both

Passphrases have at least 8 characters (RFC 3414 section 11.2); the "-C" protocols extend the key as
Cisco's agents do. Nothing in here shows a secret: not repr(), not an error's message.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

AUTH_PROTOCOLS = ("MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512")
PRIV_PROTOCOLS = ("DES", "AES", "AES-192", "AES-256", "AES-192-C", "AES-256-C")

MIN_PASSPHRASE = 8
MAX_NAME = 32
"""Octets of a user's or a context's name (RFC 3411, RFC 3414)."""
MAX_FILE = 64 * 1024


class CredentialsError(ValueError):
    """These credentials cannot be used; the message is one line and holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnmpCredentials:
    """Either `community` (SNMPv2c) or `user` (SNMPv3), with what belongs to it.

    Raises CredentialsError when they do not fit together.
    """

    community: str = field(default="", repr=False)
    user: str = ""
    auth_protocol: str = ""
    auth_passphrase: str = field(default="", repr=False)
    priv_protocol: str = ""
    priv_passphrase: str = field(default="", repr=False)
    context: str = ""

    def __post_init__(self) -> None:
        if bool(self.community) == bool(self.user):
            raise CredentialsError("give either community or user")
        _check_protocol("auth", self.auth_protocol, self.auth_passphrase, AUTH_PROTOCOLS)
        _check_protocol("priv", self.priv_protocol, self.priv_passphrase, PRIV_PROTOCOLS)
        if self.priv_protocol and not self.auth_protocol:
            raise CredentialsError("priv_protocol needs auth_protocol")
        if self.auth_protocol and not self.user:
            raise CredentialsError("auth_protocol needs user")
        for key in ("user", "context"):
            if len(getattr(self, key).encode()) > MAX_NAME:
                raise CredentialsError(f"{key} must take at most {MAX_NAME} octets")

    @property
    def version(self) -> str:
        """Of SNMP: "2c" or "3"."""
        return "3" if self.user else "2c"

    @property
    def level(self) -> str:
        """Name of the security level (RFC 3411 section 3.4.3)."""
        if not self.auth_protocol:
            return "noAuthNoPriv"
        return "authPriv" if self.priv_protocol else "authNoPriv"


def _check_protocol(kind: str, protocol: str, passphrase: str, known: tuple[str, ...]) -> None:
    if bool(protocol) != bool(passphrase):
        raise CredentialsError(f"give both {kind}_protocol and {kind}_passphrase")
    if not protocol:
        return
    if protocol not in known:
        raise CredentialsError(f"{kind}_protocol must be one of {', '.join(known)}")
    if len(passphrase.encode()) < MIN_PASSPHRASE:
        raise CredentialsError(f"{kind}_passphrase must have at least {MIN_PASSPHRASE} characters")


def parse_credentials(content: Mapping[str, object]) -> SnmpCredentials:
    """Make credentials of a file's content; raise CredentialsError."""
    known = {one.name for one in fields(SnmpCredentials)}
    texts: dict[str, str] = {}
    for key, value in content.items():
        if key not in known:
            raise CredentialsError(f"{key}: unknown key; known are {', '.join(sorted(known))}")
        if not isinstance(value, str):
            raise CredentialsError(f"{key} must be text in quotes")
        texts[key] = value
    return SnmpCredentials(**texts)


def read_credentials(path: Path) -> SnmpCredentials:
    """Read a credentials file; raise CredentialsError, which names the file."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise CredentialsError("is too large for a credentials file")
        return parse_credentials(tomllib.loads(content.decode()))
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read: {error.strerror}") from None
    except CredentialsError as error:
        raise CredentialsError(f"{path}: {error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        # The parser's message could quote the line, and so a secret
        raise CredentialsError(f"{path}: is no TOML") from None
