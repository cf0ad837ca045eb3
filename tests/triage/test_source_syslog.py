"""Whose lines are looked at, and what is said where that cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.triage.scene import T, hypervisor, vm, vms
from triage.evidence import Outcome, SyslogFinding, SyslogKind, SyslogLine, VmEvidence, Window
from triage.sources.syslog import (
    MOST_HYPERVISORS,
    LoggedHypervisor,
    SyslogLooker,
    Unusual,
    WatchCounts,
    host_names,
)

WINDOW = Window(start=T - 900, end=T + 60)


def known(*names: str, **more: tuple[str, ...]) -> list[LoggedHypervisor]:
    return [LoggedHypervisor(name=one, syslog_hosts=more.get(one, ())) for one in names]


def test_what_an_operator_said_counts_alone() -> None:
    found = host_names(known("hv1", "hv2", hv1=("Pizza",)), ["pizza", "hv1", "hv2"])
    assert found.hosts_of == {"hv1": ("pizza",), "hv2": ("hv2",)}
    assert found.problems == ()


def test_names_addresses_and_first_labels_fit_in_any_case() -> None:
    hypervisors = [
        LoggedHypervisor(name="KVM1"),
        LoggedHypervisor(name="second", address="192.0.2.7"),
        LoggedHypervisor(name="third", address="esx3.dc.example"),
        LoggedHypervisor(name="fourth"),
    ]
    hosts = ["kvm1.dc.example", "192.0.2.7", "ESX3", "other"]
    assert host_names(hypervisors, hosts).hosts_of == {
        "KVM1": ("kvm1.dc.example",),
        "second": ("192.0.2.7",),
        "third": ("ESX3",),
    }


def test_the_whole_name_goes_before_the_first_label() -> None:
    found = host_names(known("hv1.a", "hv1.b"), ["hv1.a", "hv1.b"])
    assert found.hosts_of == {"hv1.a": ("hv1.a",), "hv1.b": ("hv1.b",)}


def test_a_host_that_may_be_several_is_nobodys() -> None:
    found = host_names(known("hv1.a", "hv1.b"), ["hv1"])
    assert found.hosts_of == {}
    assert found.problems == ("lines of host hv1 may be of hv1.a, hv1.b: set their syslog_hosts",)


def test_a_hypervisor_that_may_be_several_hosts_has_none() -> None:
    found = host_names(known("hv1"), ["hv1.nezu.example", "hv1.dojima.example"])
    assert found.hosts_of == {}
    assert "hypervisor hv1 may be any of" in found.problems[0]
    short_and_long = host_names(known("hv1"), ["hv1", "hv1.nezu.example"])
    assert short_and_long.hosts_of == {"hv1": ("hv1", "hv1.nezu.example")}


def test_addresses_have_no_first_label() -> None:
    hypervisors = [LoggedHypervisor(name="a", address="192.0.2.7")]
    assert host_names(hypervisors, ["192.0.2.8", "192"]).hosts_of == {}


# Looking


class FakeWatcher:
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self, unusual: Unusual | None = None, hosts: Sequence[str] = ("esx1",)) -> None:
        self.problem = ""
        self.reading_done = True
        self.hosts = hosts
        self.counts = WatchCounts()
        self.said = unusual or Unusual()
        self.asked: list[tuple[Sequence[str], float, float]] = []
        self.caught_up = 0

    async def catch_up(self) -> None:
        self.caught_up += 1

    async def unusual(self, hosts: Sequence[str], start: float, end: float) -> Unusual:
        self.asked.append((hosts, start, end))
        return self.said

    async def run(self) -> None:
        raise NotImplementedError

    async def check(self) -> tuple[str, Sequence[str]]:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def finding(kind: SyslogKind = SyslogKind.RARE_TEMPLATE, host: str = "esx1") -> SyslogFinding:
    line = SyslogLine(time=T - 12, text="kernel: I/O error")
    return SyslogFinding(
        kind=kind, hypervisor="", host=host, start=T - 12, end=T - 12, summary="", lines=(line,)
    )


def looker(watcher: FakeWatcher, *names: str) -> SyslogLooker:
    return SyslogLooker(watcher, known(*(names or ("esx1",))), clock=lambda: T + 5)


@pytest.mark.asyncio
async def test_the_machines_own_hypervisor_is_looked_at_after_reading_what_is_new() -> None:
    unusual = Unusual(findings=(finding(),), read=7, learning_since=T - 1e6, model=3)
    watcher = FakeWatcher(unusual, hosts=("esx1", "esx2"))
    seen = await looker(watcher, "esx1", "esx2").look(vms(vm()), WINDOW)
    assert watcher.caught_up == 1
    assert watcher.asked == [(("esx1",), WINDOW.start, WINDOW.end)]
    assert seen.look.whole
    assert (seen.hosts, seen.read, seen.model) == (("esx1",), 7, 3)
    assert [one.hypervisor for one in seen.findings] == ["esx1"]


@pytest.mark.asyncio
async def test_a_machine_that_was_not_found_is_looked_for_where_it_was() -> None:
    watcher = FakeWatcher(hosts=("esx1", "esx2"))
    lost = vms(last_known={"worker-1": "esx2"}, missing=("worker-1",))
    seen = await looker(watcher, "esx1", "esx2").look(lost, WINDOW)
    assert seen.hosts == ("esx2",)


@pytest.mark.asyncio
async def test_of_unknown_machines_the_silent_hypervisors_are_looked_at() -> None:
    watcher = FakeWatcher(hosts=("esx1", "esx2"))
    lost = vms(hypervisors=(hypervisor(), hypervisor("esx2", answered=False)))
    seen = await looker(watcher, "esx1", "esx2").look(lost, WINDOW)
    assert seen.hosts == ("esx2",)


@pytest.mark.asyncio
async def test_no_more_than_some_are_looked_at_and_that_is_told() -> None:
    names = [f"hv{number}" for number in range(MOST_HYPERVISORS + 3)]
    seen = await looker(FakeWatcher(hosts=names), *names).look(VmEvidence(), WINDOW)
    assert len(seen.hosts) == MOST_HYPERVISORS
    assert seen.look.problems == (
        f"the machine may be on any of {len(names)} hypervisors: 3 logs were left out",
    )


@pytest.mark.asyncio
async def test_could_not_look_is_not_nothing_unusual() -> None:
    watcher = FakeWatcher()
    watcher.problem = "/var/log/remote: Permission denied"
    seen = await looker(watcher).look(vms(vm()), WINDOW)
    assert seen.look.outcome is Outcome.FAILED
    assert seen.look.problems == ("/var/log/remote: Permission denied",)
    assert watcher.asked == []

    other = await looker(FakeWatcher(hosts=("nobody",))).look(vms(vm()), WINDOW)
    assert other.look.outcome is Outcome.FAILED
    assert other.look.problems == (
        "no line of hypervisor esx1 in the log (hosts in it: nobody): set its syslog_hosts",
    )

    nothing = await looker(FakeWatcher()).look(vms(vm()), WINDOW)
    assert nothing.look.whole
    assert nothing.findings == ()


@pytest.mark.asyncio
async def test_a_hypervisor_without_lines_is_a_problem_beside_one_with_some() -> None:
    both = vms(vm(), vm(hypervisor="esx2"))
    seen = await looker(FakeWatcher(hosts=("esx1",)), "esx1", "esx2").look(both, WINDOW)
    assert seen.look.outcome is Outcome.RAN
    assert not seen.look.whole
    assert "no line of hypervisor esx2" in seen.look.problems[0]
