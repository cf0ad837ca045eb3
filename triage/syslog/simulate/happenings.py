"""Outages and decoys: when they come, whom they hit, what is written of them.

Theory of operation
- A happening is a list of lines that are written because of it, spans in which hosts write nothing
  or their lines get lost, and what the truth says of it.
- Which of the messages that fit a symptom appear, how often and when differs from one outage to
  the next: each draws its own subset and its own loudness, from hardly noticeable to loud.
- Outages keep a day's half apart, so that each has windows of its own; they may fall on any day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from triage.syslog.simulate.events import DAY, Absences, Events, made
from triage.syslog.simulate.fleet import Fleet
from triage.syslog.simulate.truth import Decoy, Outage

HOUR, MINUTE, SECOND = 3_600_000, 60_000, 1000
KINDS = ("power", "planned", "link", "silent", "storage")


@dataclass(slots=True)
class Script:
    """What happens, as it is put together."""

    rows: list[tuple[float, int, int]] = field(default_factory=list)
    """(ms, host, message)."""
    away: list[tuple[int, int, int]] = field(default_factory=list)
    """(host, from, until), ms."""
    lossy: list[tuple[int, int, int, float]] = field(default_factory=list)
    drift: dict[int, int] = field(default_factory=dict)
    """Host -> ms of its upgrade."""
    outages: list[Outage] = field(default_factory=list)
    decoys: list[Decoy] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Happenings:
    """All that happens to a fleet."""

    events: Events
    absences: Absences
    since: dict[int, int]
    """Host -> ms from which its messages have their new wordings."""
    outages: tuple[Outage, ...]
    decoys: tuple[Decoy, ...]


class Teller:
    """Writes scripts for one fleet."""

    def __init__(self, fleet: Fleet, start: int, rng: np.random.Generator) -> None:
        self.fleet, self.start, self.rng = fleet, start, rng
        self.script = Script()
        self.end = start + fleet.settings.days * DAY

    # Parts of stories

    def symptoms(
        self, prefix: str, hosts: list[int], start: float, end: float, often: float, share: float
    ) -> None:
        """Let hosts write of something: each message that fits with a chance of `share`.

        The first ones come soon, the rest as retries until the end; `often` a host and message.
        """
        for host in hosts:
            for message in self.fleet.labelled(host, prefix):
                if self.rng.random() >= share:
                    continue
                count = self.rng.poisson(often * float(np.exp(self.rng.normal(-0.3, 0.8))))
                soon = min(self.rng.exponential(20 * SECOND), end - start)
                for nth in range(int(count)):
                    at = start + soon if nth == 0 else self.rng.uniform(start + soon, end)
                    self.script.rows.append((at, host, message))

    def boot(self, host: int, at: float, unclean: bool) -> float:
        """Let a host boot; return when it is ready."""
        slow = float(self.rng.uniform(0.8, 2.5))
        last = at
        for index, message in enumerate(self.fleet.messages):
            if message.boot is None or not self.fleet.fits[host, index]:
                continue
            if "unclean" in message.label and not unclean:
                continue
            when = at + message.boot * slow * SECOND + self.rng.exponential(150)
            self.script.rows.append((when, host, index))
            last = max(last, when)
        for _ in range(int(self.rng.integers(1, 9)) * ("kvm" in self.fleet.hosts[host].roles)):
            when = last + self.rng.uniform(1, 90) * SECOND
            self.script.rows.append((when, host, self.fleet.labels["vmstart"]))
        return last + 60 * SECOND

    def stop(self, host: int, at: float) -> float:
        """Let a host shut down in order; return when it writes its last line."""
        last = at
        for index, message in enumerate(self.fleet.messages):
            if message.stop is None or not self.fleet.fits[host, index]:
                continue
            when = at + message.stop * SECOND + self.rng.exponential(200)
            self.script.rows.append((when, host, index))
            last = max(last, when)
        return last + 200

    def gone(self, host: int, start: float, end: float) -> None:
        """Let a host write nothing in between."""
        self.script.away.append((host, round(start), round(end)))

    def peers(self, hosts: list[int]) -> list[int]:
        """Return the other hosts of these hosts' site, or of all where there are none."""
        site = self.fleet.hosts[hosts[0]].site
        inside = [h for h in self.fleet.site_hosts(site) if h not in hosts]
        return inside or [h for h in range(len(self.fleet.hosts)) if h not in hosts]

    def outage(self, kind: str, start: float, end: float, hosts: list[int]) -> None:
        """Note an outage for the truth."""
        names = [self.fleet.hosts[host].name for host in hosts]
        silent = [
            (self.fleet.hosts[h].name, a / 1000, b / 1000)
            for h, a, b in self.script.away
            if h in hosts and a < end and b > start
        ]
        self.script.outages.append(
            Outage(
                kind=kind, start=round(start) / 1000, end=round(end) / 1000,
                hosts=tuple(sorted(names)), site=self.fleet.hosts[hosts[0]].site,
                silent=tuple(sorted(silent)),
            )
        )  # fmt: skip

    def decoy(
        self, kind: str, start: float, end: float, hosts: list[int], neutral: bool = False
    ) -> None:
        """Note a decoy for the truth."""
        names = tuple(sorted(self.fleet.hosts[host].name for host in hosts))
        self.script.decoys.append(
            Decoy(kind=kind, start=round(start) / 1000, end=round(end) / 1000, hosts=names,
                  neutral=neutral)
        )  # fmt: skip

    def present(self, site: str, day: int, roles: frozenset[str] = frozenset()) -> list[int]:
        """Return the site's hosts with these roles that are there on a day."""
        return [
            h for h in self.fleet.site_hosts(site)
            if self.fleet.hosts[h].settled(day)
            and roles <= self.fleet.hosts[h].roles
        ]  # fmt: skip

    def some(self, hosts: list[int], low: float = 0.5) -> list[int]:
        """Return a random part of the hosts, at least one."""
        count = max(1, round(len(hosts) * float(self.rng.uniform(low, 1.0))))
        return sorted(self.rng.permutation(hosts)[:count].tolist())

    def loud(self) -> float:
        """Return how loud an outage is: lines of a symptom and host."""
        return float(np.exp(self.rng.normal(1.3, 0.6))) * self.fleet.settings.severity

    def of_site(self, candidates: list[int]) -> list[int]:
        """Return the candidates that stand at the site of a random one of them."""
        site = self.fleet.hosts[int(self.rng.choice(candidates))].site
        return [host for host in candidates if self.fleet.hosts[host].site == site]


Tale = Callable[[Teller, float, list[int]], None]


def _power(tell: Teller, at: float, hosts: list[int]) -> None:
    """Hosts vanish at once; after 2 minutes to 3 hours they boot, not quite together."""
    off = float(np.exp(tell.rng.uniform(np.log(2), np.log(180)))) * MINUTE
    hosts, loud = tell.some(hosts, 0.4), tell.loud()
    ready = at
    for host in hosts:
        down, up = (
            at + tell.rng.uniform(0, 2) * SECOND,
            at + off + tell.rng.exponential(90) * SECOND,
        )
        tell.gone(host, down, up)
        ready = max(ready, tell.boot(host, up, unclean=True))
    others = tell.some(tell.peers(hosts), 0.4)
    tell.symptoms("peer.", others, at + 2 * SECOND, ready, loud, 0.6)
    tell.symptoms("peerup.", others, at + off, ready, 1.5, 0.6)
    tell.outage("power", at, ready, hosts)


def _planned(tell: Teller, at: float, hosts: list[int]) -> None:
    """Hosts are shut down in order in the evening, and boot 1 to 3 hours later."""
    at = at // DAY * DAY + tell.rng.uniform(16.5, 20) * HOUR
    off, hosts, loud = tell.rng.uniform(1, 3) * HOUR, tell.some(hosts), tell.loud()
    ready, when = at, at
    for host in hosts:
        down = tell.stop(host, when)
        up = at + off + tell.rng.exponential(4) * MINUTE
        tell.gone(host, down, up)
        ready = max(ready, tell.boot(host, up, unclean=False))
        when += tell.rng.exponential(2) * MINUTE
    others = tell.some(tell.peers(hosts), 0.3)
    tell.symptoms("peer.", others, at + MINUTE, ready, loud * 0.6, 0.5)
    tell.symptoms("peerup.", others, at + off, ready, 1.2, 0.5)
    tell.outage("planned", at, ready, hosts)


def _link(tell: Teller, at: float, hosts: list[int]) -> None:
    """A host's link or a switch flaps some times; lines get lost while it is down."""
    if tell.rng.random() < 0.4:
        hosts = [int(tell.rng.choice(hosts))]
    loud, when = tell.loud(), at
    for _ in range(int(tell.rng.integers(3, 14))):
        down = when + float(np.exp(tell.rng.uniform(np.log(3), np.log(240)))) * SECOND
        tell.symptoms("link.", hosts, when, when + 2 * SECOND, 1.3, 0.9)
        tell.symptoms("linkup.", hosts, down, down + 2 * SECOND, 1.3, 0.9)
        tell.symptoms("peer.", hosts, when + SECOND, down + 20 * SECOND, loud * 0.4, 0.6)
        for host in hosts:
            tell.script.lossy.append((host, round(when), round(down), 0.7))
        when = down + float(np.exp(tell.rng.uniform(np.log(5), np.log(300)))) * SECOND
    others = tell.some(tell.peers(hosts), 0.3)
    tell.symptoms("peer.", others, at + SECOND, when, loud * 0.5, 0.4)
    tell.outage("link", at, when, hosts)


def _silent(tell: Teller, at: float, hosts: list[int]) -> None:
    """A host hangs: it writes nothing until somebody resets it."""
    host = int(tell.rng.choice(hosts))
    off, loud = tell.rng.uniform(0.3, 5) * HOUR, tell.loud()
    if tell.rng.random() < 0.5:
        tell.symptoms("hang.", [host], at - 90 * SECOND, at, 2, 0.8)
    tell.gone(host, at, at + off)
    ready = tell.boot(host, at + off, unclean=True)
    others = tell.some(tell.peers([host]), 0.3)
    tell.symptoms("peer.", others, at + 10 * SECOND, at + off, loud * 0.6, 0.5)
    tell.symptoms("peerup.", others, at + off, ready, 1.2, 0.5)
    tell.outage("silent", at, ready, [host])


def _storage(tell: Teller, at: float, hosts: list[int]) -> None:
    """Shared storage answers no more, for minutes to an hour; the hosts live on."""
    last = float(np.exp(tell.rng.uniform(np.log(4), np.log(60)))) * MINUTE
    hosts, loud = tell.some(hosts, 0.6), tell.loud()
    tell.symptoms("stor.", hosts, at, at + last, loud * 1.5, 0.8)
    tell.symptoms("storup.", hosts, at + last, at + last + MINUTE, 2, 0.9)
    tell.outage("storage", at, at + last + MINUTE, hosts)


_TALES: dict[str, tuple[Tale, frozenset[str]]] = {
    "power": (_power, frozenset()),
    "planned": (_planned, frozenset()),
    "link": (_link, frozenset({"linux", "hv"})),
    "silent": (_silent, frozenset({"hv"})),
    "storage": (_storage, frozenset({"shared", "linux"})),
}


# Decoys


def _upgrade(tell: Teller, at: float, hosts: list[int], staggered: bool) -> None:
    """Packages are upgraded, services start anew, some messages change their wording."""
    last = at
    for host in hosts:
        when = at + (tell.rng.uniform(0, 3) * HOUR if staggered else tell.rng.exponential(20_000))
        tell.script.drift.setdefault(host, round(when))
        tell.symptoms("upg.", [host], when, when + 4 * MINUTE, 12, 0.9)
        last = max(last, when + 4 * MINUTE)
    tell.decoy("upgrade", at, last, hosts)


def _scan(tell: Teller, at: float, hosts: list[int]) -> None:
    """Strangers try to log in, for hours or days."""
    end = at + float(np.exp(tell.rng.uniform(np.log(1), np.log(60)))) * HOUR
    hosts = tell.some(hosts, 0.3)
    tell.symptoms("scan.", hosts, at, min(end, tell.end), 40 * float(tell.rng.uniform(0.5, 4)), 0.8)
    tell.decoy("scan", at, min(end, tell.end), hosts)


def _rollout(tell: Teller, at: float, hosts: list[int]) -> None:
    """Many new VMs are started within an hour or two."""
    end = at + tell.rng.uniform(0.3, 2) * HOUR
    hosts = [h for h in tell.some(hosts, 0.2) if "kvm" in tell.fleet.hosts[h].roles]
    message = tell.fleet.labels["vmstart"]
    for host in hosts:
        for _ in range(int(tell.rng.integers(5, 30))):
            tell.script.rows.append((tell.rng.uniform(at, end), host, message))
    tell.decoy("rollout", at, end, hosts)


def _load(tell: Teller, at: float, hosts: list[int]) -> None:
    """For some hours there is more of what there always is."""
    end = at + tell.rng.uniform(1, 6) * HOUR
    hosts = tell.some(hosts, 0.2)
    for host in hosts:
        rates = tell.fleet.rates[host]
        usual = np.argsort(-rates, kind="stable")[:30].tolist()
        for message in usual:
            more = rates[message] * (end - at) / DAY * tell.rng.uniform(1, 4)
            for when in tell.rng.uniform(at, end, int(tell.rng.poisson(min(more, 3000)))):
                tell.script.rows.append((float(when), host, message))
    tell.decoy("load", at, end, hosts)


def _backup(tell: Teller, at: float, hosts: list[int]) -> None:
    """A full backup of all VMs in one night, on top of the usual ones."""
    at = at // DAY * DAY + tell.rng.uniform(0, 4) * HOUR
    message = tell.fleet.labels["backup"]
    hosts = [h for h in tell.some(hosts, 0.5) if "kvm" in tell.fleet.hosts[h].roles]
    for host in hosts:
        for _ in range(int(tell.rng.integers(4, 20))):
            tell.script.rows.append((at + tell.rng.uniform(0, 3) * HOUR, host, message))
    tell.decoy("backup", at, at + 4 * HOUR, hosts)


def _blip(tell: Teller, at: float, hosts: list[int]) -> None:
    """One host's link is down for a moment; nobody notices."""
    host = int(tell.rng.choice(hosts))
    back = at + tell.rng.uniform(1, 8) * SECOND
    tell.symptoms("link.", [host], at, at + SECOND, 1.3, 0.7)
    tell.symptoms("linkup.", [host], back, back + SECOND, 1.3, 0.7)
    tell.decoy("blip", at, back + SECOND, [host])


_DECOYS: dict[str, Tale] = {
    "scan": _scan, "rollout": _rollout, "blip": _blip, "load": _load, "backup": _backup,
}  # fmt: skip
_TURNS = ("upgrade", "scan", "rollout", "blip", "load", "backup")


def _decoy(tell: Teller, kind: str, at: float) -> None:
    day = int((at - tell.start) // DAY)
    all_hosts = [n for n, h in enumerate(tell.fleet.hosts) if h.settled(day) and "linux" in h.roles]
    if not all_hosts:
        return
    if kind == "upgrade":
        _upgrade(tell, at, tell.some(all_hosts, 0.6), staggered=bool(tell.rng.random() < 0.5))
    else:
        _DECOYS[kind](tell, at, all_hosts)


# All together


def happen(fleet: Fleet, start: int) -> Happenings:
    """Return all that happens to a fleet whose first day begins at `start` (ms)."""
    tell = Teller(fleet, start, fleet.rng(5))
    taken: list[float] = []
    _outages(tell, taken)
    for number in range(fleet.settings.decoys):
        at = _moment(tell, taken, 0.0)
        if at is not None:
            _decoy(tell, _TURNS[number % len(_TURNS)], at)
    _moves(tell, taken)
    return _result(tell)


def _outages(tell: Teller, taken: list[float]) -> None:
    settings = tell.fleet.settings
    order: list[str] = []
    while len(order) < settings.outages:
        order += [KINDS[n] for n in tell.rng.permutation(len(KINDS)).tolist()]
    before: tuple[str, str] | None = None
    for number, turn in enumerate(order[: settings.outages]):
        at = _moment(tell, taken, 0.5 * DAY)
        if at is None:
            return
        kind, site = turn, ""
        if number % 5 == 4 and before is not None:  # the same thing at the same place again
            kind, site = before
        site = site or _site(tell, kind, at)
        hosts = tell.present(site, int((at - tell.start) // DAY), _TALES[kind][1]) if site else []
        if hosts:
            _TALES[kind][0](tell, at, hosts)
            taken.append(at)
            before = (kind, site)


def _site(tell: Teller, kind: str, at: float) -> str:
    day = int((at - tell.start) // DAY)
    sites = sorted({host.site for host in tell.fleet.hosts})
    fitting = [site for site in sites if tell.present(site, day, _TALES[kind][1])]
    return fitting[int(tell.rng.integers(len(fitting)))] if fitting else ""


def _moment(tell: Teller, taken: list[float], apart: float) -> float | None:
    """Return a time at least `apart` from those taken, not in the first or last hours."""
    span = tell.end - tell.start
    for _ in range(200):
        at = tell.start + float(tell.rng.uniform(0.1 * DAY, span - 0.4 * DAY))
        if span > 0.5 * DAY and all(abs(at - other) > apart for other in taken):
            return at
    return None


def _moves(tell: Teller, taken: list[float]) -> None:
    """Hosts that join or leave, and routine reboots."""
    days = tell.fleet.settings.days
    for number, host in enumerate(tell.fleet.hosts):
        if host.joins:
            came = tell.start + host.joins * DAY + 9 * HOUR
            tell.gone(number, tell.start, came)
            ready = tell.boot(number, came, unclean=False)
            tell.decoy("join", came, ready, [number], neutral=True)
        if host.leaves < days:
            went = tell.stop(number, tell.start + host.leaves * DAY - 8 * HOUR)
            tell.gone(number, went, tell.end + DAY)
            tell.decoy("leave", went - MINUTE, went, [number], neutral=True)
    _reboots(tell, taken)


def _reboots(tell: Teller, taken: list[float]) -> None:
    for _ in range(tell.fleet.settings.reboots):
        at = _moment(tell, taken, 0.3 * DAY)
        if at is None:
            return
        day = int((at - tell.start) // DAY)
        there = [n for n, h in enumerate(tell.fleet.hosts) if h.settled(day)]
        if not there:
            return
        host_number = int(tell.rng.choice(there))
        down = tell.stop(host_number, at)
        up = down + tell.rng.uniform(1, 4) * MINUTE
        tell.gone(host_number, down, up)
        ready = tell.boot(host_number, up, unclean=False)
        tell.decoy("reboot", at, ready, [host_number], neutral=True)


def _result(tell: Teller) -> Happenings:
    hosts = range(len(tell.fleet.hosts))
    for _ in range(tell.fleet.settings.days // 7 + 1):  # bursts of loss on the way to the log
        at = float(tell.rng.uniform(tell.start, tell.end))
        until = at + tell.rng.uniform(1, 10) * MINUTE
        for host in tell.of_site(list(hosts)):
            tell.script.lossy.append(
                (host, round(at), round(until), float(tell.rng.uniform(0.05, 0.5)))
            )
    script = tell.script
    away = tuple(tuple(sorted((a, b) for h, a, b in script.away if h == host)) for host in hosts)
    lossy = tuple(
        tuple(sorted((a, b, s) for h, a, b, s in script.lossy if h == host)) for host in hosts
    )
    return Happenings(
        events=made(sorted(script.rows), tell.fleet.settings.seed),
        absences=Absences(away, lossy),
        since=script.drift,
        outages=tuple(sorted(script.outages, key=lambda outage: (outage.start, outage.kind))),
        decoys=tuple(sorted(script.decoys, key=lambda decoy: (decoy.start, decoy.kind))),
    )
