"""What the log of a node's hypervisor holds that is unusual for it, around an outage.

How a look goes
1. Whose log: the hypervisors that have the nodes' machines, or had them; where that is not known,
   those that gave no answer; where all answered, all of them, a bounded number.
2. What they are called in the log: `syslog_hosts`, or what fits their name or address.
3. What is new in the files is read, and the watcher (`triage.syslog.watch`) says what was unusual.

What the outcome says
- SKIPPED: no hypervisor was found to look at.
- RAN: the log was read. A hypervisor without a line in it is a problem, and so is a log whose past
  is still being read: nothing unusual then means little.
- FAILED: there is nothing to read, or nothing to read it with; the problem names the remedy.

Nothing in here needs Polars, which only what is configured to watch a log loads.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from triage.evidence import Look, Outcome, SyslogEvidence, SyslogFinding, VmEvidence, Window

MOST_HYPERVISORS = 8
"""Of one look, where it is not known which one has the machine."""
MOST_FINDINGS = 40
"""Of one look, the most telling ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedHypervisor:
    """A hypervisor, and what its lines are called."""

    name: str
    address: str = ""
    """Host part of its SNMP address."""
    syslog_hosts: tuple[str, ...] = ()
    """As configured; (): what fits name or address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """What a watcher says of some hosts and a span of time."""

    findings: tuple[SyslogFinding, ...] = ()
    """In order of time; `hypervisor` is not filled in."""
    read: int = 0
    learning_since: float | None = None
    read_until: float | None = None
    model: int = 0
    problems: tuple[str, ...] = ()
    """What it cannot tell of that time: lines that were left out, a past that is not read yet."""


@dataclass(slots=True)
class WatchCounts:
    """What a watcher has done since it started."""

    lines: int = 0
    broken: int = 0
    """Lines without a time or a host that can be read; they are kept, and matched with nothing."""
    templates: int = 0
    hosts: int = 0
    unread: int = 0
    """Files that could not be read the last time, or in part."""
    read_at: float | None = None
    """When all files had been read to their ends last."""
    newest: float | None = None
    """The newest line's time."""


class Watching(Protocol):
    """What watches the files (`triage.syslog.watch.Watcher`)."""

    @property
    def problem(self) -> str:
        """Why nothing can be read at all; "" while it can."""
        ...

    @property
    def reading_done(self) -> bool:
        """Whether the past was read as far as it is learnt from."""
        ...

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts that there are lines of."""
        ...

    async def catch_up(self) -> None:
        """Read what was written until now; returns in bounded time, whatever is left."""
        ...

    async def unusual(self, hosts: Sequence[str], start: float, end: float) -> Unusual:
        """Return what was unusual."""
        ...

    async def run(self) -> None:
        """Keep up with the files until cancelled."""
        ...

    async def check(self) -> tuple[str, Sequence[str]]:
        """Return what is there to be read, and a line for each thing that cannot be."""
        ...

    @property
    def counts(self) -> WatchCounts:
        """What was read so far."""
        ...

    async def close(self) -> None:
        """Keep what was learnt, and end."""
        ...


# Which lines are whose


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNames:
    """Which hosts of the log are which hypervisor's."""

    hosts_of: Mapping[str, tuple[str, ...]]
    """Hypervisor -> hosts as the log names them; without those that have none."""
    problems: tuple[str, ...] = ()
    """One line for each host that may be several hypervisors', and the other way round."""


def host_names(hypervisors: Iterable[LoggedHypervisor], hosts: Iterable[str]) -> HostNames:
    """Match hosts of a log with hypervisors; upper and lower case are the same.

    What an operator said counts (`syslog_hosts`), and then nothing else; then the whole name or
    address; then the first label of either. What fits several is nobody's, and a problem.
    """
    known = list(hypervisors)
    every = sorted(set(hosts))
    found: dict[str, list[str]] = {}
    problems: list[str] = []
    for host in every:
        mine = _whose(host, known)
        if len(mine) > 1 and not all(one.syslog_hosts for one in mine):
            names = ", ".join(one.name for one in mine[:4])
            problems.append(f"lines of host {host} may be of {names}: set their syslog_hosts")
            continue
        for one in mine:
            found.setdefault(one.name, []).append(host)
    for one in known:
        called = found.get(one.name, [])
        if not one.syslog_hosts and len({_tail(host) for host in called} - {""}) > 1:
            del found[one.name]
            names = ", ".join(called[:4])
            problems.append(f"hypervisor {one.name} may be any of {names}: set its syslog_hosts")
    return HostNames(
        hosts_of={name: tuple(called) for name, called in found.items()}, problems=tuple(problems)
    )


def _whose(host: str, hypervisors: Sequence[LoggedHypervisor]) -> list[LoggedHypervisor]:
    name = host.casefold()
    said = [one for one in hypervisors if name in {each.casefold() for each in one.syslog_hosts}]
    if said:
        return said
    rest = [one for one in hypervisors if not one.syslog_hosts]
    for fits in (_is_name, _is_address, _has_label):
        found = [one for one in rest if fits(one, name)]
        if found:
            return found
    return []


def _is_name(one: LoggedHypervisor, host: str) -> bool:
    return one.name.casefold() == host


def _is_address(one: LoggedHypervisor, host: str) -> bool:
    return bool(one.address) and one.address.casefold() == host


def _has_label(one: LoggedHypervisor, host: str) -> bool:
    label = _label(host)
    return bool(label) and label in {_label(one.name.casefold()), _label(one.address.casefold())}


def _label(name: str) -> str:
    """Return the first label of a host's name, "" of an address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.partition(".")[0]
    return ""


def _tail(name: str) -> str:
    return name.partition(".")[2].casefold() if _label(name) else name


# Looking


class SyslogLooker:
    """Looks at the log of the hypervisors that matter."""

    def __init__(
        self,
        watcher: Watching,
        hypervisors: Iterable[LoggedHypervisor],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.watcher = watcher
        self.hypervisors = tuple(hypervisors)
        self._clock = clock

    def names(self) -> HostNames:
        """Return which of the log's hosts are which hypervisor's, as far as it was read."""
        return host_names(self.hypervisors, self.watcher.hosts)

    async def look(self, vm: VmEvidence, window: Window) -> SyslogEvidence:
        """Return what is unusual in the window; never raises for what files hold."""
        wanted, limited = _wanted(vm, [one.name for one in self.hypervisors])
        if not wanted:
            return _none("no hypervisor is known to look at", window)
        await self.watcher.catch_up()
        if self.watcher.problem:
            look = Look(
                outcome=Outcome.FAILED,
                window=window,
                problems=(self.watcher.problem,),
                asked_at=self._clock(),
            )
            return SyslogEvidence(look=look)
        names = self.names()
        whose = {host: name for name in wanted for host in names.hosts_of.get(name, ())}
        problems = [*limited, *_without(wanted, names, self.watcher.hosts)]
        found = await self.watcher.unusual(tuple(whose), window.start, window.end)
        problems.extend(found.problems)
        chosen = sorted(found.findings, key=lambda one: -one.score)[:MOST_FINDINGS]
        return SyslogEvidence(
            look=Look(
                outcome=Outcome.RAN if whose else Outcome.FAILED,
                source="syslog of " + ", ".join(wanted),
                window=window,
                problems=tuple(dict.fromkeys(problems)),
                asked_at=self._clock(),
            ),
            findings=tuple(
                replace(one, hypervisor=whose[one.host])
                for one in sorted(chosen, key=lambda one: (one.start, one.host, one.kind))
                if one.host in whose
            ),
            hosts=tuple(_shown(name, host) for host, name in whose.items()),
            read=found.read,
            learning_since=found.learning_since,
            read_until=found.read_until,
            model=found.model,
        )


def _wanted(vm: VmEvidence, configured: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return whose log to look at, and what is said of those that are left out."""
    named = [one.hypervisor for one in vm.vms]
    named += [one.hypervisor for one in vm.notifications if one.hypervisor]
    named += vm.last_known.values()
    silent = [one.name for one in vm.hypervisors if one.silent]
    chosen = list(dict.fromkeys(named or silent or configured))
    if len(chosen) <= MOST_HYPERVISORS:
        return chosen, []
    left = len(chosen) - MOST_HYPERVISORS
    said = f"the machine may be on any of {len(chosen)} hypervisors: {left} logs were left out"
    return chosen[:MOST_HYPERVISORS], [said]


def _without(wanted: Sequence[str], names: HostNames, hosts: Sequence[str]) -> list[str]:
    """Return a line for each hypervisor that has none in the log."""
    problems = []
    for name in wanted:
        if name in names.hosts_of:
            continue
        why = next((one for one in names.problems if f"hypervisor {name} " in one), "")
        seen = ", ".join(hosts[:3]) + (", ..." if len(hosts) > 3 else "")
        said = f"hosts in it: {seen or 'none'}"
        problems.append(
            why or f"no line of hypervisor {name} in the log ({said}): set its syslog_hosts"
        )
    return problems


def _shown(name: str, host: str) -> str:
    return name if name.casefold() == host.casefold() else f"{name} ({host})"


def _none(reason: str, window: Window) -> SyslogEvidence:
    return SyslogEvidence(look=Look(outcome=Outcome.SKIPPED, window=window, problems=(reason,)))
