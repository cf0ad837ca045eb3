"""How much a word looks like a value, by its spelling and by what stands before it.

Rules
- These are statements about logs in general: what paths, host names, addresses and identifiers look
  like, which words name the thing that follows them, and that words of state ("up", "failed") are
  what a reader has to tell apart.
- A weight is one over the number of different words that it takes, in one place and all else
  equal, to call the place variable.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from triage.syslog.tables import WILDCARD
from triage.syslog.templates.tokens import MANY

Numbers = npt.NDArray[np.int32]

SURE: Final = 1 / 2
"""A path, a host name in full, an address, or a masked run among words."""
NAME: Final = 1 / 4
"""Words joined by dots, hyphens or underscores: mostly names of things."""
PLAIN: Final = 1 / 10
"""A word as it stands in a dictionary."""
SYMBOL: Final = 1 / 25
"""Capitals, or words run together: names that a program's source gives to states and errors."""

_VALUES: Final = frozenset(
    """
    AAAA AXFR CNAME DNSKEY HINFO IXFR MX NAPTR NS NSEC PTR RRSIG SOA SRV TXT
    FORMERR NOERROR NOTAUTH NOTIMP NOTZONE NXDOMAIN NXRRSET REFUSED SERVFAIL YXDOMAIN
    TCP UDP ICMP SCTP AH ESP GRE IGMP OSPF VRRP AF_INET AF_UNIX AF_NETLINK
    GET HEAD POST PUT PATCH OPTIONS TRACE
    """.split()  # noqa: SIM905
)
"""What protocols call types, answers and methods: RFC 1035, 2136, 6895, 9110, and IANA's list of
protocol numbers."""
FACTOR: Final = 5.0
"""The largest of the factors."""

_BOOLEANS: Final = frozenset(("true", "false", "null", "none", "nil"))
_STATES: Final = frozenset(
    """
    up down on off in out yes no ok not is are was were be been has have had to of at by for from
    with without and or the a an
    open opened opening close closed closing start started starting stop stopped stopping
    enable enabled enabling disable disabled disabling begin began end ended add added adding
    remove removed removing create created creating delete deleted deleting load loaded loading
    unload unloaded mount mounted mounting unmount unmounted connect connected connecting
    disconnect disconnected attach attached detach detached lock locked unlock unlocked
    register registered unregister unregistered login logout enter entered entering leave left
    leaving join joined link linked succeed succeeded success successful successfully fail failed
    failing failure error errors err warning warn critical crit fatal info notice debug normal alert
    active inactive idle busy ready waiting running sleeping dead alive lost found missing
    available unavailable reachable unreachable accept accepted reject rejected refuse refused
    allow allowed deny denied drop dropped valid invalid known unknown online offline full empty
    send sent sending receive received receiving read reading write writing written
    pause paused resume resumed suspend suspended abort aborted cancel canceled cancelled
    complete completed done pending expired timeout timed reset reboot restart restarted
    restarting shutdown halt killed exited
    """.split()  # noqa: SIM905
)
_NAMING: Final = frozenset(
    ("user", "users", "username", "login", "account", "host", "hostname", "server", "domain",
     "named", "called", "device", "interface", "file", "directory", "volume", "guest")
)  # fmt: skip
"""The next word is a name."""
_PREPOSITIONS: Final = frozenset(("for", "from", "by", "to", "on", "at", "via", "of", "as"))
_OPENING: Final = frozenset("'\"`")

_PATH: Final = re.compile(r"[^\w]*(?:~?/|\.\.?/|[A-Za-z]?\\).|.*/.*/|.*\\.*\\", re.ASCII)
_ADDRESS: Final = re.compile(r"[^@]+@[^@]+|[\w-]+(?:\.[\w-]+){2,}\.?", re.ASCII)
_CLASS: Final = re.compile(r"(?:[a-z_]\w*\.)+[A-Z]\w*[A-Z$a-z]", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{8,}|[0-9A-F]{8,}", re.ASCII)
_DEVICE: Final = re.compile(r"(?:[shv]|xv)d[a-z]{1,3}", re.ASCII)
"""Disks of Linux."""
_WORD: Final = re.compile(r"\w", re.UNICODE)


@lru_cache(maxsize=1 << 18)
def is_word(token: str) -> bool:
    """Tell a constant that says something from punctuation and wildcards."""
    return token not in (WILDCARD, MANY) and bool(_WORD.search(token))


@lru_cache(maxsize=1 << 18)
def weight(word: str) -> float:
    """Return how much a word looks like a value, from its spelling alone."""
    if word == WILDCARD:
        return SURE
    if word in _STATES or word.lower().strip(".!") in _STATES:
        return 0.0
    if _CLASS.fullmatch(word):
        return SYMBOL
    if word.isalpha() and word.islower() and len(word) < 8 and word[1:2] != "d" and word[0] != "x":
        return PLAIN  # most words: spares what follows
    if word in _VALUES or _DEVICE.fullmatch(word):
        return SURE
    if _PATH.match(word) or _ADDRESS.fullmatch(word) or _HEX.fullmatch(word):
        return SURE
    inner = word.strip(".-_!?*+&%$~^@\\/")
    if word.upper() == word or any(char.isupper() for char in inner[1:]):
        return SYMBOL
    if word.startswith("-"):
        return NAME  # an option
    if any(char in "._-/@\\%~$+" for char in inner):
        return NAME
    return PLAIN


def factor(before: str, last: str) -> float:
    """Return how much more likely a value is after these two tokens (`last` is the nearer)."""
    if last.lower() in _NAMING or (last in _OPENING and before.lower() in _NAMING):
        return FACTOR
    if last == "=" or last in _OPENING or last.lower() in _PREPOSITIONS:
        return 2.0
    return 1.0


class Factors:
    """`factor` for many places at once; tokens are told by their numbers in a vocabulary."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._names = np.array([token.lower() in _NAMING for token in vocabulary])
        self._opens = np.array([token in _OPENING for token in vocabulary])
        self._leads = np.array([one == "=" or one.lower() in _PREPOSITIONS for one in vocabulary])

    def of(self, before: Numbers, last: Numbers) -> npt.NDArray[np.float64]:
        """Return the factor after each two tokens."""
        named = self._names[last] | (self._opens[last] & self._names[before])
        led = self._leads[last] | self._opens[last]
        return np.where(named, FACTOR, np.where(led, 2.0, 1.0))


def boolean(word: str, last: str) -> bool:
    """Tell a truth value of a field: `visible=false`."""
    return last == "=" and word.lower() in _BOOLEANS
