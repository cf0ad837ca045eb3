"""Alarms of the syslog: raised once, confirmed by incidents, and counted over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.triage.scene import RAN, UNREACHED, T, evidence, proxy, vm, vms
from tests.triage.test_source_syslog import FakeWatcher
from triage import cascade
from triage.alarming import AlarmKeeper
from triage.evidence import (
    Cause,
    Confidence,
    Evidence,
    SyslogEvidence,
    SyslogFinding,
    SyslogKind,
    Verdict,
    VmOperState,
)
from triage.incidents import Bad, Good, Incident, IncidentSettings, Judged, advance, judgement_of
from triage.sources.syslog import LoggedHypervisor, SyslogLooker, Unusual
from triage.store import Store, confirmed_precision
from triage.syslog.confirm import (
    Alarm,
    AlarmState,
    confirmation,
    confirms,
    is_alarm,
    periods,
    rescored,
    same,
)
from triage.syslog.watch_settings import WatchSettings

WEEK = 7 * 86400.0


def finding(
    kind: SyslogKind = SyslogKind.BURST, at: float = T - 60, score: float = 2.0, host: str = "esx1"
) -> SyslogFinding:
    return SyslogFinding(
        kind=kind,
        hypervisor="esx1",
        host=host,
        start=at,
        end=at + 30,
        summary=f"{host}: a burst.",
        score=score,
    )


def alarm(at: float = T - 60, **more: object) -> Alarm:
    base = Alarm(
        hypervisor="esx1",
        host="esx1",
        kind=SyslogKind.BURST,
        start=at,
        end=at + 30,
        score=2.0,
        summary="esx1: a burst.",
        raised_at=at + 40,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def looked(syslog: SyslogEvidence | None = None) -> tuple[Evidence, Verdict]:
    whole = evidence(proxy(UNREACHED), vm_part=vms(vm(VmOperState.PAUSED)))
    read = SyslogEvidence(look=RAN, hosts=("esx1",))
    whole = replace(whole, syslog=read if syslog is None else syslog)
    return whole, cascade.decide(whole)


# What an alarm is


def test_a_rare_line_alone_is_no_alarm_and_neither_is_what_is_below_its_threshold() -> None:
    assert is_alarm(finding())
    assert not is_alarm(finding(SyslogKind.RARE_TEMPLATE, score=9.0))
    assert not is_alarm(finding(SyslogKind.SCAN, score=9.0))
    assert not is_alarm(finding(SyslogKind.CHANGE, score=9.0))
    assert not is_alarm(finding(score=0.99))


def test_what_goes_on_is_one_alarm() -> None:
    assert same(alarm(), finding(at=T))
    assert not same(alarm(), finding(at=T + 3600))
    assert not same(alarm(), finding(SyslogKind.SILENCE))
    assert not same(alarm(), finding(host="esx2"))


# What confirms one


def test_an_incident_confirms_alarms_of_its_hypervisor_before_and_in_it() -> None:
    whole, verdict = looked()
    one = confirmation("i", verdict, whole, T + 60, within=900.0)
    assert one is not None
    assert one.hypervisors == ("esx1",)
    assert confirms(one, alarm())
    assert confirms(one, alarm(T + 30))
    assert confirms(one, alarm(state=AlarmState.UNCONFIRMED))
    assert not confirms(one, alarm(T - 2000))
    assert not confirms(one, alarm(T + 100))
    assert not confirms(one, alarm(hypervisor="esx2"))
    assert not confirms(one, alarm(state=AlarmState.CONFIRMED))


def test_other_causes_uncertain_verdicts_and_unread_logs_confirm_nothing() -> None:
    whole, verdict = looked()
    for change in ({"cause": Cause.POD}, {"confidence": Confidence.POSSIBLE}):
        assert confirmation("i", replace(verdict, **change), whole, T + 60, 900.0) is None  # type: ignore[arg-type]
    for syslog in (SyslogEvidence(), SyslogEvidence(look=RAN, hosts=("esx2 (other)",))):
        unread, _ = looked(syslog)
        assert confirmation("i", verdict, unread, T + 60, 900.0) is None


def test_scored_again_an_alarm_may_vanish() -> None:
    assert rescored(alarm(), [finding(score=1.5), finding(SyslogKind.SILENCE)]) == 1.5
    assert rescored(alarm(), [finding(score=0.5)]) == 0.0


# Over time


def test_precision_is_counted_of_what_is_settled() -> None:
    states = [AlarmState.CONFIRMED, *[AlarmState.UNCONFIRMED] * 3, AlarmState.OPEN, AlarmState.LATE]
    start = T // WEEK * WEEK
    alarms = [
        alarm(start + number, state=state, incident="a" if state == "confirmed" else "")
        for number, state in enumerate(states)
    ]
    alarms.append(alarm(start + 3 * WEEK, state=AlarmState.CONFIRMED, incident="c"))
    incidents = [("a", start + 5), ("b", start + 9), ("c", start + 3 * WEEK)]
    first, last = periods(alarms, incidents, WEEK)
    assert (first.start, first.end) == (start, start + WEEK)
    assert (first.raised, first.confirmed, first.unconfirmed, first.open, first.late) == (
        *(5, 1, 3, 1),
        1,
    )
    assert first.precision_at_least == 0.25
    assert (first.incidents, first.warned, first.recall) == (2, 1, 0.5)
    assert (last.precision_at_least, last.recall) == (1.0, 1.0)
    (nothing,) = periods([], [("a", T)], WEEK)
    assert (nothing.precision_at_least, nothing.recall) == (None, 0.0)
    assert periods([], [], WEEK) == ()


# Kept


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "triage.sqlite", clock=lambda: T) as opened:
        yield opened


def test_the_store_gives_back_what_it_was_given(store: Store) -> None:
    kept = store.alarms.add(alarm())
    assert kept == alarm(id=kept.id)
    grown = replace(kept, end=T, state=AlarmState.CONFIRMED, incident="i", rescored=0.5)
    store.alarms.put(grown)
    later = store.alarms.add(alarm(T + 500))
    assert store.alarms.find() == [grown, later]
    assert store.alarms.find(states=[AlarmState.OPEN]) == [later]
    assert store.alarms.find(until=T) == [grown]
    assert store.alarms.find(since=T + 1) == [later]
    assert store.alarms.counts() == {AlarmState.CONFIRMED: 1, AlarmState.OPEN: 1}
    assert store.alarms.settle(T + 1e4, T + 2e4) == 1
    assert store.alarms.counts() == {AlarmState.CONFIRMED: 1, AlarmState.UNCONFIRMED: 1}
    assert store.alarms.prune(T + 100) == 1
    assert [one.id for one in store.alarms.find()] == [later.id]


# The keeper


class Keeping:
    """A keeper, and what its watcher says."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = T
        self.watcher = FakeWatcher(hosts=("esx1", "stranger"))
        looker = SyslogLooker(self.watcher, [LoggedHypervisor(name="esx1")])
        self.keeper = AlarmKeeper(looker, store, WatchSettings(), clock=lambda: self.now)

    async def sees(self, *findings: SyslogFinding) -> Sequence[Alarm]:
        self.watcher.said = Unusual(findings=tuple(replace(one, hypervisor="") for one in findings))
        await self.keeper.look()
        return self.store.alarms.find()

    def incident(self, ended: float) -> Incident:
        """Store an incident of a paused machine that is over."""
        whole, verdict = looked()
        settings = IncidentSettings(recovery=1.0, firing_at_least=0.0)
        incident, _ = advance(None, Bad(anomaly=whole.anomaly, last_bad=T), T + 1, settings)
        assert incident is not None
        judged = Judged(judgement=judgement_of(verdict), settled_at=T)
        incident, _ = advance(incident, judged, T + 12, settings)
        assert incident is not None
        self.store.save(incident, look=(verdict, whole))
        for at in (ended, ended + 60):
            good = Good(target=incident.target, since=ended, until=at)
            incident, _ = advance(incident, good, at + 1, settings)
            assert incident is not None
        assert not incident.open
        self.store.save(incident)
        return incident


@pytest.fixture
def keeping(store: Store) -> Keeping:
    return Keeping(store)


@pytest.mark.asyncio
async def test_an_alarm_is_raised_once_and_grows(keeping: Keeping) -> None:
    (first,) = await keeping.sees(finding(), finding(SyslogKind.RARE_TEMPLATE))
    assert (first.state, first.raised_at, first.hypervisor) == (AlarmState.OPEN, T, "esx1")
    keeping.now = T + 10
    (grown,) = await keeping.sees(replace(finding(), end=T + 8, score=3.0))
    assert (grown.id, grown.end, grown.score, grown.raised_at) == (first.id, T + 8, 3.0, T)
    assert keeping.keeper.raised == {"burst": 1}
    assert keeping.watcher.asked[-1][0] == ("esx1",)


@pytest.mark.asyncio
async def test_nothing_is_raised_while_the_past_is_read(keeping: Keeping) -> None:
    keeping.watcher.reading_done = False
    assert await keeping.sees(finding()) == []
    keeping.watcher.reading_done, keeping.watcher.problem = True, "no such folder"
    assert await keeping.sees(finding()) == []


@pytest.mark.asyncio
async def test_an_incident_that_is_over_confirms_scores_again_and_tells_misses(
    keeping: Keeping,
) -> None:
    await keeping.sees(finding(), finding(at=T - 7200))
    incident = keeping.incident(T + 30)
    keeping.now = T + 200
    silence = finding(SyslogKind.SILENCE, at=T - 30)
    keeping.watcher.said = Unusual(findings=(finding(score=1.25), silence))
    await keeping.keeper.settle()
    alarms = {(one.kind, one.start): one for one in keeping.store.alarms.find()}
    confirmed = alarms[SyslogKind.BURST, T - 60]
    assert (confirmed.state, confirmed.incident) == (AlarmState.CONFIRMED, incident.id)
    assert (confirmed.score, confirmed.rescored) == (2.0, 1.25)
    assert alarms[SyslogKind.SILENCE, T - 30].state is AlarmState.LATE
    assert alarms[SyslogKind.BURST, T - 7200].state is AlarmState.UNCONFIRMED
    (period,) = confirmed_precision(keeping.store.alarms)
    assert (period.precision_at_least, period.recall) == (0.5, 1.0)
    assert keeping.keeper.states[AlarmState.CONFIRMED] == 1
    # A second time, and after another start, nothing is confirmed again
    await keeping.keeper.settle()
    again = Keeping(keeping.store)
    again.now = T + 300
    await again.keeper.settle()
    assert len(keeping.store.alarms.find()) == 3


@pytest.mark.asyncio
async def test_an_incident_without_an_alarm_is_a_miss(keeping: Keeping) -> None:
    keeping.incident(T + 30)
    keeping.now = T + 200
    await keeping.keeper.settle()
    (period,) = confirmed_precision(keeping.store.alarms)
    assert (period.raised, period.incidents, period.recall) == (0, 1, 0.0)
    assert period.precision_at_least is None
