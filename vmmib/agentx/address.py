"""Where the master agent listens, in the spellings of net-snmp's `agentXSocket`.

    unix:/var/agentx/master   /var/agentx/master   unix:        a unix socket
    tcp:localhost:705   tcp:localhost   tcp:705   tcp:          TCP over IPv4
    tcp6:[::1]:705   tcp6:[::1]   tcp6:705                      TCP over IPv6
    localhost:705   705                                         TCP over IPv4

What is left out is net-snmp's default: /var/agentx/master, localhost, port 705. (net-snmp itself
tries the last two as relative paths of unix sockets first; here a path starts with a slash.)
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PATH = "/var/agentx/master"
DEFAULT_HOST = "localhost"
DEFAULT_PORT = 705
"""RFC 2741, 8.1.1."""
MAX_PATH = 107
"""Octets of sun_path on Linux, without the closing NUL."""

_TCP = {"tcp": "tcp", "tcp6": "tcp6", "tcpv6": "tcp6", "tcpipv6": "tcp6"}
_UNSUITABLE = frozenset({
    "udp", "udp6", "udpv6", "udpipv6", "tls", "tlstcp", "dtls", "dtlsudp", "ssh", "std", "ipx",
    "aal5pvc", "pvc", "alias", "callback",
})  # fmt: skip
_MAX_PORT = 65535
_HINT = 'write "unix:/path" or "tcp:host:port"'


@dataclass(frozen=True, slots=True)
class Address:
    """A unix socket (`path`), or a host and port of one IP version."""

    path: str | None = None
    host: str = ""
    port: int = 0
    ipv6: bool = False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        if self.ipv6:
            return f"tcp6:[{self.host}]:{self.port}"
        return f"tcp:{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read one address; ValueError, in one line, when it is none that AgentX can use."""
    text = text.strip()
    if "," in text:
        raise ValueError(f"{text!r} has a comma: name the one address to connect to")
    if text.startswith("/"):
        return _unix(text)
    transport, colon, rest = text.partition(":")
    transport = transport.lower()
    if colon and transport == "unix":
        return _unix(rest or DEFAULT_PATH)
    if colon and transport in _TCP:
        return _tcp(rest, ipv6=_TCP[transport] == "tcp6", whole=text)
    if colon and transport in _UNSUITABLE:
        raise ValueError(f"{text!r}: AgentX does not run over {transport}; {_HINT}")
    if not text:
        raise ValueError(f"the AgentX address is empty; {_HINT}")
    if not colon and not text.isdigit():
        raise ValueError(f"{text!r} is no AgentX address; {_HINT}")
    return _tcp(text, ipv6=False, whole=text)


def _unix(path: str) -> Address:
    if not path.startswith("/"):
        raise ValueError(f"the unix socket {path!r} is no absolute path; {_HINT}")
    if "\0" in path or len(path.encode("utf-8", "surrogateescape")) > MAX_PATH:
        raise ValueError(f"the unix socket's path is too long, at most {MAX_PATH} octets: {path!r}")
    return Address(path=path)


def _tcp(text: str, ipv6: bool, whole: str) -> Address:
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or not ipv6 or not host:
            raise ValueError(f'{whole!r} is no AgentX address; write IPv6 as "tcp6:[::1]:705"')
        port = port.removeprefix(":")
    elif text.isdigit():
        host, port = "", text
    elif text.count(":") == 1 or (ipv6 and ":" in text):
        # net-snmp reads "tcp6:::1:705" so, too: what follows the last colon is the port
        host, _, port = text.rpartition(":")
    elif ":" in text:
        raise ValueError(f'{whole!r} is no AgentX address; write IPv6 as "tcp6:[::1]:705"')
    if port and not (port.isascii() and port.isdigit() and 1 <= int(port[:9]) <= _MAX_PORT):
        raise ValueError(f"{whole!r}: the port is {port!r}, it must be 1 to {_MAX_PORT}")
    if any(character.isspace() or character in "/[]\0" for character in host):
        raise ValueError(f"{whole!r} is no AgentX address; {_HINT}")
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError(f"{whole!r}: {host!r} is no host name; {_HINT}") from None
    return Address(host=host or DEFAULT_HOST, port=int(port) if port else DEFAULT_PORT, ipv6=ipv6)


DEFAULT = Address(path=DEFAULT_PATH)
