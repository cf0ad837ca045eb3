"""The variable parts of messages: a table of ready strings, and which of them a kind draws from.

All strings that a simulation can write as a variable part are made once (`Pools`). A variable part
of a line is then one index into that table, so that a million lines are gathered, not formatted.

Kinds (`{kind}` or `{kind:parameters}` in a message)
    n:LOW-HIGH  a number          float, floats    "0.35", "0.1/0/0.2/1.5" (a list with slashes)
    hex:DIGITS  of fixed length   ip ip6 mac uuid wwid iqn fp port      addresses and the like
    path cmd    cmd: with options domain user login word words ver date unit unitname letter letters
    ips         two to six addresses: a list of variable length
    A|B|C       one of these words (low cardinality)
    host peer vm vmuuid pid     this host's own name, another one of its site, its VMs, its daemons
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

PART = re.compile(r"\{([^{}]+)\}")
INTS = 65_536
"""Whole numbers from 0 that are in the table once for all kinds."""
Strings = list[str]


def listed(text: str, by: str | None = None) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split(by))


@dataclass(frozen=True, slots=True)
class Part:
    """A variable part of a message: kind, and which occurrence of it in the line."""

    kind: str
    occurrence: int


def parts_of(text: str) -> tuple[list[str], list[Part]]:
    """Split a message into its constant texts (one more) and its variable parts."""
    pieces = PART.split(text)
    seen: dict[str, int] = {}
    parts = []
    for piece in pieces[1::2]:
        kind, _, tag = piece.partition("#")
        seen[kind] = seen.get(kind, 0) + 1
        parts.append(Part(kind, int(tag) if tag else seen[kind]))
    return pieces[::2], parts


class Pools:
    """The table, filled kind by kind; the same seed gives the same table."""

    def __init__(self, seed: int, size: int, hosts: tuple[str, ...], sites: tuple[str, ...]):
        """`size` strings of each kind; `sites`: of each host its site."""
        self._seed, self._size = seed, size
        self._hosts, self._sites = hosts, sites
        self._chunks: list[pl.Series] = [
            pl.int_range(0, INTS, eager=True).cast(pl.String).alias("s")
        ]
        self._length = INTS
        self._kinds: dict[str, int] = {}
        self._base: list[NDArray[np.int64]] = []
        self._many: list[NDArray[np.int64]] = []
        self._sticky: list[bool] = []
        self._skewed: list[bool] = []

    def kind(self, spec: str) -> int:
        """Return the number of a kind; its strings are made at first sight."""
        number = self._kinds.get(spec)
        if number is None:
            number = self._kinds[spec] = len(self._base)
            self._make(spec)
        return number

    def table(self) -> pl.Series:
        """Return all strings."""
        return pl.concat(self._chunks).rechunk()

    def draws(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return of each (kind, host) the first index and the number of strings."""
        return np.array(self._base), np.array(self._many)

    def natures(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return of each kind whether chains share its value, and whether few values are common."""
        return np.array(self._sticky), np.array(self._skewed)

    def _make(self, spec: str) -> None:
        name, _, parameters = spec.partition(":")
        hosts = len(self._hosts)
        rng = np.random.Generator(np.random.PCG64([self._seed, *spec.encode()]))
        self._sticky.append(name not in _VARYING and "|" not in spec)
        self._skewed.append(name in _SKEWED)
        if "|" in spec:
            base, many = self._all(spec.split("|"))
        elif name == "n" and int(parameters.split("-")[1]) < INTS:
            low, high = map(int, parameters.split("-"))
            base, many = np.full(hosts, low), np.full(hosts, high - low + 1)
        elif name in ("host", "peer", "vm", "vmuuid", "pid"):
            base, many = self._own(name, rng)
        else:
            base, many = self._all(_MAKERS[name](rng, self._size, parameters))
        self._base.append(base)
        self._many.append(many)

    def _all(self, strings: Strings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All hosts draw from the same strings."""
        first = self._append(strings)
        hosts = len(self._hosts)
        return np.full(hosts, first), np.full(hosts, len(strings))

    def _append(self, strings: Strings) -> int:
        first = self._length
        self._chunks.append(pl.Series("s", strings, dtype=pl.String))
        self._length += len(strings)
        return first

    def _own(
        self, name: str, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each host has its own few."""
        if name == "pid":
            count = len(self._hosts)
            return rng.integers(300, 30_000, count), np.ones(count, np.int64)
        base, many = [], []
        for host, site in zip(self._hosts, self._sites, strict=True):
            strings = _of_host(name, rng, host, [
                other for other, at in zip(self._hosts, self._sites, strict=True)
                if at == site and other != host
            ])  # fmt: skip
            base.append(self._append(strings))
            many.append(len(strings))
        return np.array(base), np.array(many)


_VARYING = frozenset({"n", "float", "floats", "hex", "date", "words", "uptime"})
"""What is another value in each line, even along a chain."""
_SKEWED = frozenset(
    {"ip", "ip6", "mac", "domain", "user", "login", "path", "cmd", "vm", "word", "words"}
)


def _of_host(name: str, rng: np.random.Generator, host: str, peers: Strings) -> Strings:
    if name == "host":
        return [host]
    if name == "peer":
        return peers or [host]
    count = int(rng.integers(3, 25))
    if name == "vm":
        return [f"{_pick(rng, _VM)}{number:02}" for number in rng.integers(1, 99, count)]
    return _uuid(rng, count, "")


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _many(one: Callable[[np.random.Generator, str], str]) -> Callable[..., Strings]:
    def make(rng: np.random.Generator, size: int, parameters: str) -> Strings:
        return [one(rng, parameters) for _ in range(size)]

    return make


def _few(limit: int, one: Callable[[np.random.Generator, str], str]) -> Callable[..., Strings]:
    def make(rng: np.random.Generator, size: int, parameters: str) -> Strings:
        return [one(rng, parameters) for _ in range(min(size, limit))]

    return make


def _number(rng: np.random.Generator, size: int, parameters: str) -> Strings:
    low, high = map(int, parameters.split("-"))
    return [str(value) for value in rng.integers(low, high + 1, size).tolist()]


def _hex(rng: np.random.Generator, size: int, parameters: str) -> Strings:
    digits = int(parameters or 8)
    data = rng.bytes((digits + 1) // 2 * size).hex()
    return [data[at : at + digits] for at in range(0, digits * size, digits)]


_V4 = ("192.0.2", "198.51.100", "203.0.113", "198.18", "10", "172.16", "100.64")


def _ip(rng: np.random.Generator, size: int, _: str) -> Strings:
    heads = rng.integers(0, len(_V4), size).tolist()
    rests = rng.integers(1, 255, (size, 3)).tolist()
    return [
        ".".join([_V4[head], *map(str, rest)][: 4 - _V4[head].count(".")])
        for head, rest in zip(heads, rests, strict=True)
    ]


def _ip6(rng: np.random.Generator, _: str) -> str:
    groups = rng.integers(0, 65_536, int(rng.integers(1, 5))).tolist()
    return f"2001:db8:{':'.join(f'{group:x}' for group in groups[:-1])}::{groups[-1]:x}".replace(
        ":::", "::"
    )


def _mac(rng: np.random.Generator, _: str) -> str:
    return "52:54:00:" + ":".join(f"{part:02x}" for part in rng.integers(0, 256, 3).tolist())


def _uuid(rng: np.random.Generator, size: int, _: str) -> Strings:
    digits = _hex(rng, size, "32")
    return [f"{d[:8]}-{d[8:12]}-4{d[13:16]}-a{d[17:20]}-{d[20:]}" for d in digits]


def _domain(rng: np.random.Generator, _: str) -> str:
    labels = [_pick(rng, _WORDS) for _ in range(int(rng.integers(1, 3)))]
    return ".".join([*labels, _pick(rng, ("example", "example.com", "example.net", "example.org"))])


def _path(rng: np.random.Generator, _: str) -> str:
    inner = "/".join(_pick(rng, _WORDS) for _ in range(int(rng.integers(1, 4))))
    return f"{_pick(rng, ('/var/lib', '/var/log', '/srv', '/etc', '/home', '/usr/share'))}/{inner}"


def _cmd(rng: np.random.Generator, _: str) -> str:
    options = [
        _pick(rng, (" -q", " --all", " -n 10", " --prune", " > /dev/null", " 2>&1", " -v"))
        for _ in range(int(rng.integers(0, 3)))
    ]
    return f"/usr/{_pick(rng, ('bin', 'sbin', 'local/bin'))}/{_pick(rng, _WORDS)}" + "".join(
        options
    )


def _version(rng: np.random.Generator, _: str) -> str:
    a, b, c, d = rng.integers(0, 40, 4).tolist()
    return f"{a % 5}.{b}.{c}-{d}"


def _floats(rng: np.random.Generator, _: str) -> str:
    return "/".join(f"{value / 100:g}" for value in rng.integers(0, 900, 4).tolist())


def _float(rng: np.random.Generator, _: str) -> str:
    return f"{(int(rng.integers(-300_000, 900_000)) / 10_000):.6f}"


def _date(rng: np.random.Generator, _: str) -> str:
    day, month, hour, minute = rng.integers(0, 1000, 4).tolist()
    return (
        f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[day % 7]} "
        f"{('Sep', 'Oct', 'Nov')[month % 3]} {day % 28 + 1:2} "
        f"{hour % 24:02}:{minute % 60:02}:07 2015"
    )


def _uptime(rng: np.random.Generator, size: int, _: str) -> Strings:
    a, b = rng.integers(100, 5_000_000, size).tolist(), rng.integers(0, 10**6, size).tolist()
    return [f"{f'{seconds}.{micros:06}':>12}" for seconds, micros in zip(a, b, strict=True)]


def _words(rng: np.random.Generator, _: str) -> str:
    return " ".join(_pick(rng, _WORDS) for _ in range(int(rng.integers(1, 6))))


def _ips(rng: np.random.Generator, size: int, _: str) -> Strings:
    counts = rng.integers(2, 7, size).tolist()
    each = iter(_ip(rng, sum(counts), ""))
    return [", ".join(next(each) for _ in range(count)) for count in counts]


def _letters(rng: np.random.Generator, _: str) -> str:
    return "".join("abcdefghijklmnop"[at] for at in rng.integers(0, 16, rng.integers(1, 3)))


_WORDS = listed(
    "backup mirror archive report sensor web mail cache proxy build test stage queue batch index "
    "ledger atlas borea cedar delta ember falcon garnet harbor indigo jasper kepler lotus maple "
    "nimbus onyx pixel quartz raven sierra tango umbra vector willow xenon yarrow zephyr metrics "
    "images volumes keys certs uploads session sync cleanup rotate collect publish render"
)
_VM = ("web", "db", "mail", "ns", "build", "dev", "vpn", "lab", "mon", "files", "wiki", "git")
_USERS = listed(
    "alice bob carol dave erin frank grace heidi ivan judy mallory niaj olivia peggy rupert sybil "
    "trent victor wendy operator deploy backup nagios ansible"
)
_LOGINS = listed(
    "admin test guest oracle postgres ubnt pi support user ftpuser git mysql nagios www jenkins "
    "hadoop tomcat teamspeak minecraft zabbix demo vagrant ts3 server info"
)
_UNITS = listed(
    "Cleanup of Temporary Directories|Daily apt activities|Network Time Service|Login Service|"
    "System Logging Service|OpenBSD Secure Shell server|Virtualization daemon|Permit User Sessions|"
    "LSB: Postfix Mail Transport Agent|Getty on tty1|Regular background program processing daemon|"
    "Device-Mapper Multipath Device Controller|LVM2 metadata daemon|Self Monitoring Technology|"
    "SNMP daemon|iSCSI initiator daemon|Resets System Activity Data Collector",
    "|",
)
_UNIT_NAMES = listed(
    "ssh ntp libvirtd smartd snmpd postfix bind9 isc-dhcp-server multipathd open-iscsi rsyslog "
    "cron lvm2-monitor udev dbus openssl libc6 tzdata bash qemu-system-x86 linux-image sysstat"
)

# A fleet's own names are few and come again and again: what has no number in it is bounded.
_MAKERS: dict[str, Callable[[np.random.Generator, int, str], Strings]] = {
    "n": _number, "hex": _hex, "ip": _ip, "ip6": _many(_ip6), "mac": _many(_mac),
    "uuid": _uuid, "domain": _few(4000, _domain), "path": _few(400, _path), "cmd": _few(200, _cmd),
    "ver": _few(500, _version), "float": _many(_float), "floats": _many(_floats),
    "date": _many(_date), "uptime": _uptime, "words": _few(120, _words), "ips": _ips,
    "letters": _few(100, _letters),
    "letter": lambda *_: list("abcdefghijkl"),
    "port": lambda rng, size, _: _number(rng, size, "1024-65535"),
    "fp": lambda rng, size, _: [
        ":".join(d[at : at + 2] for at in range(0, 32, 2)) for d in _hex(rng, min(size, 300), "32")
    ],
    "wwid": lambda rng, size, _: [f"36000{d}" for d in _hex(rng, min(size, 60), "28")],
    "iqn": lambda rng, size, _: [
        f"iqn.2010-01.example:{d}" for d in _hex(rng, min(size, 60), "10")
    ],
    "user": lambda *_: list(_USERS), "login": lambda *_: list(_LOGINS + _USERS),
    "word": lambda *_: list(_WORDS), "unit": lambda *_: list(_UNITS),
    "unitname": lambda *_: list(_UNIT_NAMES),
}  # fmt: skip


def mixed(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return well mixed bits of each key (the finaliser of SplitMix64, Steele et al. 2014)."""
    z = key + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(key: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each key, the same on any machine."""
    return (mixed(key) >> np.uint64(11)).astype(np.float64) * 2.0**-53
