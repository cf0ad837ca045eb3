"""The fleet: sites and hosts with their roles, the messages of each, their rates and causal graph.

Everything here follows from the settings (and its seed) alone, before the first line is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from triage.syslog.simulate.catalogue import Catalogue, Message, catalogue
from triage.syslog.simulate.made import add_made
from triage.syslog.simulate.settings import FleetSettings
from triage.syslog.simulate.variables import listed

DEPTH = 12
"""Longest chain that is followed."""
SITES = listed(
    "komatsu sakura minato hikari aoba tsubame kaede asahi midori suzuka hinode fujimi kasumi "
    "yamate izumi kirara nagisa shiraho tsukuba akane"
)


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the fleet."""

    name: str
    site: str
    roles: frozenset[str]
    chatty: float
    """How much more than usual it writes."""
    skew: float
    """Seconds that its clock is ahead at the start."""
    drift: float
    """Seconds a day that its clock gains."""
    repeats: bool
    """Its syslog daemon folds repeated messages."""
    joins: int = 0
    """Day on which it joins the fleet (0: it was there before)."""
    leaves: int = 10**9
    """Day on which it is taken away."""

    def settled(self, day: int) -> bool:
        """Tell whether it is there all this day."""
        return (not self.joins or self.joins < day) and day < self.leaves


@dataclass(frozen=True, slots=True)
class Graph:
    """Causal edges over nodes (host * templates + template), by cause (CSR)."""

    first: NDArray[np.int64]
    """Of each node its first edge; one more at the end."""
    effect: NDArray[np.int64]
    probability: NDArray[np.float64]
    lag: NDArray[np.float64]
    """Mean, seconds."""
    cause: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fleet:
    """All that lines are made from."""

    settings: FleetSettings
    hosts: tuple[Host, ...]
    messages: tuple[Message, ...]
    labels: dict[str, int]
    names: tuple[str, ...]
    """Of each message its template's name."""
    fits: NDArray[np.bool_]
    """(hosts, messages): the host has the message's roles."""
    rates: NDArray[np.float64]
    """(hosts, messages): events a day that come by themselves."""
    graph: Graph
    drift_to: NDArray[np.int64]
    """Of each message the one that replaces it after an upgrade, or itself."""
    kernel_times: bool

    def rng(self, *key: int) -> np.random.Generator:
        """Return a generator for one purpose."""
        return np.random.Generator(np.random.PCG64([self.settings.seed, *key]))

    def site_hosts(self, site: str) -> list[int]:
        """Return the numbers of a site's hosts."""
        return [number for number, host in enumerate(self.hosts) if host.site == site]

    def labelled(self, host: int, prefix: str) -> list[int]:
        """Return the messages with this label's prefix that the host can write."""
        return [
            index
            for label, index in sorted(self.labels.items())
            if label.startswith(prefix) and self.fits[host, index]
        ]


def build(settings: FleetSettings) -> Fleet:
    """Build the fleet of these settings."""
    rng = np.random.Generator(np.random.PCG64([settings.seed, 1]))
    hosts = _hosts(settings, rng)
    book = catalogue()
    book.link()
    add_made(book, settings, rng)
    drift_to = _drifts(book, settings, rng)
    messages = tuple(book.messages)
    fits = np.array([[message.roles <= host.roles for message in messages] for host in hosts])
    present = fits & (rng.random(fits.shape) < _shares(settings, messages))
    graph = _graph(settings, hosts, book, fits, rng)
    base = _base_rates(hosts, messages, present, rng)
    rates = _scaled(settings, hosts, messages, present, base, graph)
    counts: dict[str, int] = {}
    names = []
    for message in messages:
        counts[message.program] = counts.get(message.program, 0) + 1
        names.append(f"{message.program}/{counts[message.program]}")
    return Fleet(
        settings=settings,
        hosts=hosts,
        messages=messages,
        labels=dict(book.labels),
        names=tuple(names),
        fits=present | (fits & np.array([bool(m.label) or m.rate > 0 for m in messages])),
        rates=rates,
        graph=graph,
        drift_to=drift_to,
        kernel_times=bool(rng.random() < 0.5),
    )


# Hosts


def _hosts(settings: FleetSettings, rng: np.random.Generator) -> tuple[Host, ...]:
    names = [*SITES, *(f"site{n}" for n in range(len(SITES), settings.sites))][: settings.sites]
    sites = [f"{name}.example" for name in rng.permutation(names)]
    weights = rng.random(len(sites)) + 0.5
    extra = rng.choice(
        len(sites), settings.hosts - len(sites), p=weights / weights.sum(), replace=True
    )
    of_site = np.sort(np.concatenate([np.arange(len(sites)), extra]))
    storage = [("iscsi", "nfs", "fc", "nfs", "local")[n] for n in rng.integers(0, 5, len(sites))]
    if "iscsi" not in storage and "nfs" not in storage and "fc" not in storage:
        storage[0] = "nfs"
    hosts = []
    seen: dict[int, int] = {}
    for at in of_site.tolist():
        seen[at] = seen.get(at, 0) + 1
        roles = _roles(settings, rng, storage[at])
        hosts.append(_host(settings, rng, f"hv{seen[at]}.{sites[at]}", sites[at], roles))
    for number in range(settings.boxes):
        site = sites[number % len(sites)]
        roles = frozenset({"all", "linux", "deb", "box", "dns", "nat64", "dhcp", "vmxnet"})
        name = f"gw{number // len(sites) + 1}.{site}"
        hosts.append(_host(settings, rng, name, site, roles))
    return _moving(settings, hosts, rng)


def _roles(settings: FleetSettings, rng: np.random.Generator, storage: str) -> frozenset[str]:
    shared = {"shared", storage} if storage != "local" else {"local"}
    if rng.random() < settings.esxi:
        return frozenset({"all", "hv", "esx", *shared})
    nic = ("igb", "e1000e", "ixgbe", "bnx2", "tg3")[int(rng.integers(5))]
    flavour = "deb" if rng.random() < 0.65 else "rpm"
    bond = {"bond"} if rng.random() < 0.6 else set()
    return frozenset({"all", "hv", "linux", "kvm", flavour, nic, *shared, *bond})


def _host(
    settings: FleetSettings, rng: np.random.Generator, name: str, site: str, roles: frozenset[str]
) -> Host:
    return Host(
        name=name,
        site=site,
        roles=roles,
        chatty=float(np.exp(rng.normal(0, 0.7))),
        skew=float(rng.normal(0, 1)) * settings.skew,
        drift=float(rng.normal(0, 1)) * settings.skew / 30,
        repeats=bool(rng.random() < 0.3),
    )


def _moving(
    settings: FleetSettings, hosts: list[Host], rng: np.random.Generator
) -> tuple[Host, ...]:
    """Choose the hosts that join or leave, away from the period's ends."""
    order = rng.permutation(settings.hosts).tolist()
    if settings.days < 6 or settings.hosts < 4:
        return tuple(hosts)
    for number in range(min(settings.joins, settings.hosts // 4)):
        at = order[number]
        hosts[at] = replace(hosts[at], joins=int(rng.integers(2, settings.days - 2)))
    for number in range(min(settings.leaves, settings.hosts // 4)):
        at = order[-1 - number]
        hosts[at] = replace(hosts[at], leaves=int(rng.integers(3, settings.days - 1)))
    return tuple(hosts)


# Rates


def _shares(settings: FleetSettings, messages: tuple[Message, ...]) -> NDArray[np.float64]:
    """Of each message the share of hosts that have it: seldom ones are not everywhere.

    Of frequent jobs fewer where few lines are asked for.
    """
    daily = settings.lines / settings.days / (settings.hosts + settings.boxes)

    def share(message: Message) -> float:
        if 0 < message.period < 3600:
            return message.share * min(1.0, daily / 1500)
        return 0.7 if 0 < message.rate < 1 and not message.label else message.share

    return np.array([share(message) for message in messages])


def _base_rates(
    hosts: tuple[Host, ...],
    messages: tuple[Message, ...],
    present: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    chatty = np.array([host.chatty for host in hosts])[:, None]
    base = np.array([message.rate for message in messages])
    own = np.exp(rng.normal(0, 0.8, len(messages)))
    spread = np.exp(rng.normal(0, 0.7, present.shape))
    rates: NDArray[np.float64] = (base * own)[None, :] * spread * chatty * present
    return rates


def _scaled(
    settings: FleetSettings,
    hosts: tuple[Host, ...],
    messages: tuple[Message, ...],
    present: NDArray[np.bool_],
    base: NDArray[np.float64],
    graph: Graph,
) -> NDArray[np.float64]:
    """Scale the frequent messages so that about the lines asked for come out.

    Where even without them there are too many, the less frequent ones are scaled too; jobs stay.
    """
    jobs = np.array([86_400 / m.period if m.period else 0.0 for m in messages])
    days = np.array([_days_of(settings, host) for host in hosts])
    total = settings.lines - float((_expected(present * jobs, graph) @ days).sum())
    bulk = np.array([m.scaled for m in messages])
    many = float((_expected(np.where(bulk, base, 0.0), graph) @ days).sum())
    few = float((_expected(np.where(bulk, 0.0, base), graph) @ days).sum())
    share = min(1.0, max(0.5 * total / few, 0.05))
    factor = max((total - few * share) / many, 0.01)
    scaled: NDArray[np.float64] = base * np.where(bulk, factor, share)
    return scaled


def _days_of(settings: FleetSettings, host: Host) -> int:
    return min(host.leaves, settings.days) - host.joins


def _expected(rates: NDArray[np.float64], graph: Graph) -> NDArray[np.float64]:
    """Return of each host the expected lines a day, effects counted."""
    flat = rates.ravel()
    total: NDArray[np.float64] = flat.copy()
    wave: NDArray[np.float64] = flat
    for _ in range(DEPTH):
        weights = wave[graph.cause] * graph.probability
        wave = np.bincount(graph.effect, weights, minlength=flat.size).astype(np.float64)
        if not wave.any():
            break
        total += wave
    of_host: NDArray[np.float64] = total.reshape(rates.shape).sum(axis=1)
    return of_host


# Causal graph


def _graph(
    settings: FleetSettings,
    hosts: tuple[Host, ...],
    book: Catalogue,
    fits: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Graph:
    size = len(book.messages)
    rows: list[tuple[int, int, float, float]] = []
    for effect in book.effects:
        for host in np.flatnonzero(fits[:, effect.cause]).tolist():
            rows += [
                (host * size + effect.cause, other * size + effect.effect, effect.probability,
                 effect.lag)
                for other in _targets(hosts, host, effect.target)
                if fits[other, effect.effect] or effect.target == ""
            ]  # fmt: skip
    rows += _random_rows(settings, hosts, book, fits, rng)
    rows.sort()
    cause = np.array([row[0] for row in rows], np.int64)
    return Graph(
        first=np.searchsorted(cause, np.arange(len(hosts) * size + 1)),
        effect=np.array([row[1] for row in rows], np.int64),
        probability=np.array([row[2] for row in rows], np.float64),
        lag=np.array([row[3] for row in rows], np.float64),
        cause=cause,
    )


def _targets(hosts: tuple[Host, ...], host: int, target: str) -> list[int]:
    if not target:
        return [host]
    site = hosts[host].site
    if target == "peer":
        return [n for n, h in enumerate(hosts) if n != host and h.site == site and "hv" in h.roles]
    boxes = [n for n, h in enumerate(hosts) if "box" in h.roles]
    return [n for n in boxes if hosts[n].site == site] or boxes[:1]


def _random_rows(
    settings: FleetSettings,
    hosts: tuple[Host, ...],
    book: Catalogue,
    fits: NDArray[np.bool_],
    rng: np.random.Generator,
) -> list[tuple[int, int, float, float]]:
    """This seed's own edges: from messages that come by themselves to made-up programs' answers.

    Effects are messages without effects of their own, so that there are no circles.
    """
    size = len(book.messages)
    busy = {effect.cause for effect in book.effects}
    causes = [n for n, m in enumerate(book.messages) if 0.2 < m.rate < 100 and not m.label]
    effects = [
        n for n, m in enumerate(book.messages) if n not in busy and m.rate < 3 and not m.label
        and m.boot is None and m.stop is None and not m.period
    ]  # fmt: skip
    rows = []
    for _ in range(settings.random_edges if causes and effects else 0):
        host = int(rng.integers(len(hosts)))
        other = host if rng.random() < 0.6 else int(rng.integers(len(hosts)))
        cause, effect = int(rng.choice(causes)), int(rng.choice(effects))
        probability, lag = float(rng.uniform(0.3, 0.98)), float(np.exp(rng.uniform(-1.5, 3.5)))
        if fits[host, cause] and fits[other, effect] and (host, cause) != (other, effect):
            rows.append((host * size + cause, other * size + effect, probability, lag))
    return rows


# Drift


def _drifts(
    book: Catalogue, settings: FleetSettings, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Add the new wordings of some messages; return of each message its successor."""
    candidates = [
        n for n, m in enumerate(book.messages)
        if m.rate >= 0.3 and not m.label and len(m.text.split()) > 3
    ]  # fmt: skip
    chosen = rng.permutation(candidates)[: settings.drifts].tolist()
    follows = {}
    for index in chosen:
        old = book.messages[index]
        text = _reworded(old.text, int(rng.integers(3)))
        follows[index] = book.add(
            Message(program=old.program, pid=old.pid, text=text, roles=old.roles)
        )
    result = np.arange(len(book.messages))
    for index, new in follows.items():
        result[index] = new
    return result


def _reworded(text: str, way: int) -> str:
    if way == 0:
        return f"info: {text}"
    if way == 1:
        return f"{text} (code {{n:1-99}})"
    words = text.split(" ")
    at = next((n for n, word in enumerate(words) if word.isalpha()), 0)
    words.insert(at + 1, "now")
    return " ".join(words)
