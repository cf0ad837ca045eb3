"""The incidents' state machine: its rules one by one, and its invariants over random histories."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.evidence import Anomaly, Cause, Confidence, Policy, Sample, Trigger, Verdict
from triage.incidents import (
    Action,
    Alert,
    AlertKind,
    Bad,
    Close,
    Event,
    Gone,
    Good,
    Incident,
    IncidentSettings,
    Judged,
    Judgement,
    Look,
    LookFailed,
    NoData,
    Severity,
    Status,
    Tick,
    advance,
    incident_id,
    judgement_of,
    merged,
    resume,
    wake_at,
)

T = 1_752_695_340.0
SETTINGS = IncidentSettings()


def bad(time: float = T, last: float | None = None, **changes: object) -> Bad:
    last = time if last is None else last
    times = [time + 15 * n for n in range(int((last - time) / 15) + 1)]
    anomaly = Anomaly(
        target="site",
        trigger=Trigger.METRIC,
        time=time,
        status=503,
        last_good=time - 15,
        samples=(
            Sample(time=time - 15, value=200),
            *(Sample(time=each, value=503) for each in times),
        ),
    )
    count = len(times)
    return Bad(anomaly=replace(anomaly, **changes), last_bad=last, bad_samples=count)  # type: ignore[arg-type]


def good(since: float, until: float) -> Good:
    return Good(target="site", since=since, until=until)


def verdict(
    cause: Cause = Cause.APPLICATION,
    confidence: Confidence = Confidence.CERTAIN,
    time: float = T,
    settled_at: float | None = None,
    reason: str = "",
) -> Judged:
    judgement = Judgement(time=time, cause=cause, confidence=confidence, reason=reason)
    return Judged(judgement=judgement, settled_at=settled_at)


class Story:
    """An incident's life, told event by event."""

    def __init__(self, settings: IncidentSettings = SETTINGS) -> None:
        self.settings = settings
        self.latest: Incident | None = None
        self.actions: list[Action] = []

    def on(self, event: Event, now: float) -> tuple[Action, ...]:
        self.latest, actions = advance(self.latest, event, now, self.settings)
        self.actions += actions
        return actions

    @property
    def incident(self) -> Incident:
        assert self.latest is not None
        return self.latest

    @property
    def alerts(self) -> list[AlertKind]:
        return [action.kind for action in self.actions if isinstance(action, Alert)]


def test_an_outage_opens_an_incident_and_asks_for_a_look_at_once() -> None:
    story = Story()
    actions = story.on(bad(), T + 1)
    assert actions == (Look(incident=story.incident.id, number=1),)
    assert story.incident.status is Status.PENDING
    assert story.incident.id == incident_id("site", T)
    assert story.incident.id.startswith("20250716-194900-")
    assert story.on(bad(), T + 2) == ()  # the same samples again


def test_a_certain_verdict_confirms_at_once_and_a_recovery_resolves_once() -> None:
    story = Story(replace(SETTINGS, firing_at_least=0))
    story.on(bad(), T + 1)
    assert [type(a) for a in story.on(verdict(), T + 2)] == [Alert]
    assert story.incident.status is Status.CONFIRMED
    story.on(good(T + 15, T + 15), T + 16)
    story.on(good(T + 15, T + 60), T + 61)
    assert story.incident.open
    closing = story.on(good(T + 15, T + 75), T + 76)
    assert [type(a) for a in closing] == [Alert, Close]
    assert story.alerts == [AlertKind.FIRING, AlertKind.RESOLVED]
    assert story.incident.resolved_at == T + 15
    assert story.on(good(T + 15, T + 90), T + 91) == ()
    assert story.on(bad(), T + 92) == ()  # the same outage, read again
    assert story.incident.status is Status.RESOLVED


def test_a_short_outages_alert_stays_long_enough_to_be_delivered() -> None:
    story = Story()
    story.on(bad(), T + 1)
    story.on(verdict(), T + 2)
    story.on(good(T + 15, T + 300), T + 301)
    assert story.incident.open
    assert wake_at(story.incident, SETTINGS) == T + 2 + SETTINGS.firing_at_least
    story.on(Tick(), T + 2 + SETTINGS.firing_at_least)
    assert story.alerts == [AlertKind.FIRING, AlertKind.RESOLVED]


def test_an_outage_before_it_that_is_told_again_is_no_part_of_it() -> None:
    story = Story(replace(SETTINGS, firing_at_least=0))
    before = bad(T - 300, T - 285, ended=T - 270)
    story.on(before, T - 284)
    story.on(verdict(), T - 283)
    story.on(good(T - 270, T - 200), T - 199)
    assert not story.incident.open
    story.on(bad(), T + 1)
    story.on(before, T + 1)
    assert story.incident.anomaly.time == T
    assert story.incident.good_since is None
    story.on(verdict(time=T + 2), T + 2)
    story.on(good(T + 15, T + 20), T + 21)
    assert story.incident.open


def line_told(time: float) -> Bad:
    event = bad(time, trigger=Trigger.PROXY_LOG, samples=(), last_good=None)
    return replace(event, bad_samples=0)


def test_what_the_proxys_log_tells_later_is_looked_at_at_once_and_once() -> None:
    story = Story()
    story.on(bad(), T + 1)
    uncertain = verdict(Cause.MONITORING_PATH, Confidence.PROBABLE, T + 2, settled_at=T + 15)
    story.on(uncertain, T + 2)
    assert story.incident.next_look_at == T + 15
    assert story.on(line_told(T + 0.2), T + 3) == (Look(incident=story.incident.id, number=2),)
    story.on(replace(uncertain, judgement=replace(uncertain.judgement, time=T + 4)), T + 4)
    assert story.on(line_told(T + 3), T + 5) == ()


def test_a_look_begins_again_when_the_proxys_log_tells_during_it() -> None:
    story = Story()
    story.on(bad(), T + 1)
    again = story.on(line_told(T + 0.2), T + 1.5)
    assert again == (Look(incident=story.incident.id, number=2, afresh=True),)
    assert story.on(line_told(T + 3), T + 3.5) == ()
    story.on(verdict(time=T + 4), T + 4)
    assert story.incident.next_look_at is None
    assert story.incident.status is Status.CONFIRMED


def test_an_uncertain_verdict_is_held_until_all_lines_can_be_there() -> None:
    story = Story()
    story.on(bad(), T + 1)
    actions = story.on(verdict(confidence=Confidence.POSSIBLE, settled_at=T + 15), T + 2)
    assert actions == ()
    assert story.incident.next_look_at == T + 15
    assert wake_at(story.incident, SETTINGS) == T + 15
    assert story.on(Tick(), T + 14) == ()
    assert story.on(Tick(), T + 15) == (Look(incident=story.incident.id, number=2),)
    story.on(verdict(Cause.POD, Confidence.CERTAIN), T + 16)
    assert story.incident.status is Status.CONFIRMED
    assert story.incident.best is not None
    assert story.incident.best.cause is Cause.POD


def test_probable_twice_with_all_lines_there_is_enough() -> None:
    story = Story()
    story.on(bad(), T + 1)
    story.on(verdict(confidence=Confidence.PROBABLE, settled_at=T + 15), T + 2)
    assert story.incident.status is Status.PENDING
    story.on(Tick(), T + 15)
    story.on(verdict(confidence=Confidence.PROBABLE, settled_at=T + 15), T + 16)
    assert story.incident.status is Status.CONFIRMED


def test_pending_ends_at_its_limit_with_what_is_known() -> None:
    story = Story()
    story.on(bad(), T)
    story.on(verdict(confidence=Confidence.POSSIBLE), T + 1)
    story.on(Tick(), T + SETTINGS.pending_limit)
    assert story.incident.status is Status.CONFIRMED
    assert story.incident.best is not None
    assert story.incident.best.confidence is Confidence.POSSIBLE
    assert story.incident.severity is Severity.INFO


def test_pending_ends_though_no_look_ever_does() -> None:
    story = Story()
    story.on(bad(), T)
    story.on(Tick(), T + SETTINGS.pending_limit)
    assert story.alerts == [AlertKind.FIRING]
    assert story.incident.best is not None
    assert story.incident.best.cause is Cause.UNDETERMINED
    assert story.incident.best.reason == "not_looked"


@pytest.mark.parametrize(
    ("cause", "confidence", "dropped"),
    [
        (Cause.MONITORING_PATH, Confidence.POSSIBLE, True),
        (Cause.MONITORING_PATH, Confidence.PROBABLE, True),
        (Cause.MONITORING_PATH, Confidence.CERTAIN, False),
        (Cause.CLIENT, Confidence.CERTAIN, True),
        (Cause.APPLICATION, Confidence.POSSIBLE, False),
        (Cause.UNDETERMINED, Confidence.POSSIBLE, False),
    ],
)
def test_what_hurt_nobody_is_dropped(cause: Cause, confidence: Confidence, dropped: bool) -> None:
    story = Story()
    story.on(bad(ended=T + 15), T + 1)
    story.on(good(T + 15, T + 15), T + 16)
    story.on(verdict(cause, confidence), T + 17)
    story.on(Tick(), T + 1 + SETTINGS.pending_limit)
    assert story.incident.status is (Status.DROPPED if dropped else Status.CONFIRMED)
    assert bool(story.alerts) is not dropped


def test_the_same_is_not_dropped_while_it_lasts_or_when_it_flaps() -> None:
    story = Story()
    story.on(bad(last=T + 75), T + 1)
    story.on(verdict(Cause.MONITORING_PATH, Confidence.POSSIBLE), T + 17)
    story.on(Tick(), T + 1 + SETTINGS.pending_limit)
    assert story.incident.status is Status.CONFIRMED
    flapping = Story()
    for n in range(3):
        start = T + 300 * n
        flapping.on(bad(start, ended=start + 15), start + 1)
        flapping.on(verdict(Cause.MONITORING_PATH, Confidence.POSSIBLE), start + 2)
        flapping.on(good(start + 15, start + 90), start + 91)
    assert flapping.incident.flapping
    assert flapping.incident.status is Status.CONFIRMED


def test_a_better_verdict_updates_and_a_worse_one_does_not() -> None:
    story = Story()
    story.on(bad(last=T + 150), T)
    story.on(verdict(confidence=Confidence.POSSIBLE), T + 1)
    story.on(Tick(), T + 90)
    story.on(verdict(Cause.NODE, Confidence.CERTAIN, reason="vm_not_running"), T + 95)
    assert story.alerts == [AlertKind.FIRING, AlertKind.UPDATED]
    updated = [a for a in story.actions if isinstance(a, Alert)][-1]
    assert "cause application -> node" in updated.why
    for worse in (Confidence.PROBABLE, Confidence.POSSIBLE):
        story.on(verdict(Cause.PROXY, worse), T + 100)
    story.on(verdict(Cause.PROXY, Confidence.CERTAIN), T + 100)  # nor does an equal one
    assert story.incident.best is not None
    assert story.incident.best.cause is Cause.NODE
    assert len(story.alerts) == 2
    assert len(story.incident.verdicts) == 5


def test_readings_older_than_what_is_known_change_nothing() -> None:
    story = Story()
    story.on(bad(last=T + 45), T + 46)
    story.on(good(T + 20, T + 30), T + 47)
    assert story.incident.good_since is None
    story.on(good(T + 60, T + 75), T + 76)
    story.on(bad(), T + 77)  # from before, and without its end
    assert story.incident.anomaly.ended == T + 60
    assert story.incident.flaps == 0


def test_an_outage_that_goes_on_does_not_flap() -> None:
    story = Story()
    for n in range(10):
        story.on(bad(last=T + 15 * n), T + 15 * n + 1)
    assert story.incident.flaps == 0
    assert not story.incident.flapping
    assert story.incident.bad_samples == 10


def test_two_bad_samples_are_no_blip() -> None:
    story = Story()
    story.on(bad(last=T + 15, ended=T + 30), T + 16)
    story.on(good(T + 30, T + 30), T + 31)
    story.on(verdict(Cause.MONITORING_PATH, Confidence.POSSIBLE), T + 32)
    story.on(Tick(), T + 16 + SETTINGS.pending_limit)
    assert story.incident.status is Status.CONFIRMED


def test_probable_twice_before_the_lines_can_be_there_is_not_enough() -> None:
    story = Story()
    story.on(bad(last=T + 15), T + 1)
    for n in (2, 3):
        story.on(verdict(confidence=Confidence.PROBABLE, settled_at=T + 15), T + n)
    assert story.incident.status is Status.PENDING


def test_severity_does_not_fall_with_a_milder_cause() -> None:
    story = Story()
    story.on(bad(last=T + 240), T + 241)
    story.on(verdict(Cause.UNDETERMINED, Confidence.POSSIBLE), T + 242)
    story.on(Tick(), T + 241 + SETTINGS.pending_limit)
    assert story.incident.severity is Severity.CRITICAL
    story.on(verdict(Cause.MONITORING_PATH), T + 400)
    assert story.incident.severity is Severity.CRITICAL
    assert story.alerts == [AlertKind.FIRING, AlertKind.UPDATED]


def test_bad_again_before_recovery_is_the_same_incident() -> None:
    story = Story()
    story.on(bad(), T + 1)
    story.on(verdict(), T + 2)
    first = story.incident.id
    story.on(good(T + 15, T + 30), T + 31)
    story.on(bad(last=T + 45), T + 46)
    assert story.incident.id == first
    assert story.incident.flaps == 1
    assert story.incident.good_since is None
    assert story.incident.anomaly.ended is None
    assert story.alerts == [AlertKind.FIRING]


def test_the_third_outage_within_the_window_is_a_flapping_incident() -> None:
    story = Story(replace(SETTINGS, firing_at_least=0))
    for n in range(6):
        start = T + 200 * n
        story.on(bad(start), start + 1)
        story.on(verdict(), start + 2)
        story.on(good(start + 15, start + 90), start + 91)
    assert story.incident.flapping
    assert story.incident.open
    assert story.incident.severity is Severity.CRITICAL
    assert story.alerts.count(AlertKind.FIRING) == 3
    start = T + 1015
    story.on(good(start, start + SETTINGS.flap_recovery), start + SETTINGS.flap_recovery)
    assert story.incident.status is Status.RESOLVED


def test_long_outages_become_critical_whatever_their_cause_is() -> None:
    story = Story()
    story.on(bad(), T + 1)
    story.on(verdict(Cause.UNDETERMINED, Confidence.POSSIBLE), T + 2)
    story.on(bad(last=T + 90), T + 95)
    assert story.incident.severity is Severity.INFO
    story.on(bad(last=T + 180), T + 181)
    assert story.incident.severity is Severity.CRITICAL
    assert story.alerts == [AlertKind.FIRING, AlertKind.UPDATED]


def test_no_data_neither_opens_nor_resolves() -> None:
    story = Story(replace(SETTINGS, firing_at_least=0))
    silent = NoData(target="site", reason="Prometheus cannot be reached")
    assert story.on(silent, T) == ()
    assert story.latest is None
    story.on(bad(), T + 1)
    story.on(verdict(), T + 2)
    story.on(good(T + 15, T + 30), T + 31)
    for n in range(100):
        assert story.on(silent, T + 40 + 60 * n) == ()
    assert story.incident.status is Status.CONFIRMED
    assert story.incident.no_data_since == T + 40
    story.on(good(T + 15, T + 7000), T + 7001)
    assert story.incident.status is Status.RESOLVED
    assert story.incident.no_data_since is None


def test_what_nothing_is_heard_of_for_a_day_is_closed_and_says_so() -> None:
    story = Story()
    story.on(bad(), T)
    story.on(verdict(), T)
    story.on(Tick(), T + SETTINGS.silent_limit)
    assert story.incident.status is Status.RESOLVED
    assert "nothing heard" in story.incident.closed_because


@pytest.mark.parametrize(("confirmed", "alerts"), [(True, 2), (False, 0)])
def test_a_target_that_is_watched_no_more(confirmed: bool, alerts: int) -> None:
    story = Story()
    story.on(bad(), T)
    if confirmed:
        story.on(verdict(), T + 1)
    story.on(Gone(target="site", reason="removed"), T + 5)
    assert not story.incident.open
    assert len(story.alerts) == alerts
    assert story.incident.closed_because == "removed"


def test_a_new_outage_after_a_dropped_one_is_new() -> None:
    story = Story()
    story.on(bad(ended=T + 15), T)
    story.on(verdict(Cause.CLIENT), T + 20)
    story.on(Tick(), T + 91)
    assert story.incident.status is Status.DROPPED
    first = story.incident.id
    assert story.on(bad(ended=T + 15), T + 95) == ()
    assert story.incident.id == first
    story.on(bad(last=T + 105), T + 106)  # the same reading, with more in it
    assert story.incident.id != first
    assert story.incident.anomaly.time == T + 105
    assert story.incident.recent == (T,)


def test_looks_that_fail_are_asked_for_again_and_end() -> None:
    story = Story()
    story.on(bad(last=T + 10_000), T)
    now = T
    for _ in range(200):
        now = wake_at(story.incident, SETTINGS) or now
        looks = [a for a in story.on(Tick(), now) if isinstance(a, Look)]
        if looks:
            story.on(LookFailed(), now + 1)
        if now > T + 20_000:
            break
    looks = [a for a in story.actions if isinstance(a, Look)]
    assert [look.number for look in looks] == list(range(1, SETTINGS.max_looks + 1))


def test_a_restart_asks_again_for_the_look_that_was_lost() -> None:
    story = Story()
    story.on(bad(), T)
    incident, actions = resume(story.incident, T + 3, SETTINGS)
    assert incident is not None
    assert actions == ()
    again = incident.next_look_at
    assert again is not None
    assert advance(incident, Tick(), again, SETTINGS)[1] == (Look(incident=incident.id, number=2),)
    closed = replace(story.incident, status=Status.RESOLVED)
    assert resume(closed, T, SETTINGS) == (closed, ())


def test_an_event_of_another_target_is_a_mistake() -> None:
    story = Story()
    story.on(bad(), T)
    with pytest.raises(ValueError, match="'other'"):
        story.on(NoData(target="other", reason=""), T)


def test_merging_keeps_the_start_and_stays_bounded() -> None:
    long = bad(last=T + 15 * 500).anomaly
    result = merged(bad().anomaly, long, 64)
    assert result.time == T
    assert len(result.samples) == 64
    times = [sample.time for sample in result.samples]
    assert times == sorted(times)
    assert {T - 15, T, T + 15 * 500} <= set(times)
    line = Anomaly(target="site", trigger=Trigger.PROXY_LOG, time=T - 4, status=503)
    both = merged(bad().anomaly, line, 64)
    assert both.time == T - 4
    assert both.last_good == T - 15
    assert both.samples == bad().anomaly.samples


def test_judgement_of_a_verdict() -> None:
    full = Verdict(
        cause=Cause.POD,
        reason="oom_killed",
        title="pod: OOMKilled",
        summary="s",
        confidence=Confidence.CERTAIN,
        policy=Policy.DEFAULT,
        steps=(),
        object="pod a/b",
        decided_at=T,
    )
    found = judgement_of(full)
    assert found.rank == 3
    assert found.identity == ("pod", "oom_killed", "certain", "pod a/b")


# Any history

events = st.one_of(
    st.builds(lambda n: ("bad", n), st.integers(0, 8)),
    st.builds(lambda n: ("good", n), st.integers(0, 30)),
    st.just(("none", 0)),
    st.just(("failed", 0)),
    st.just(("tick", 0)),
    st.just(("gone", 0)),
    st.builds(
        lambda cause, confidence: ("judged", (cause, confidence)),
        st.sampled_from(list(Cause)),
        st.sampled_from(list(Confidence)),
    ),
)
histories = st.lists(st.tuples(events, st.floats(0, 120)), max_size=60)


def told(kind: str, detail: object, now: float, last_bad: float) -> Event:
    match kind:
        case "bad":
            assert isinstance(detail, int)
            return bad(now - 15 * detail, now)
        case "good":
            return good(max(last_bad + 1, now - 100), now)
        case "none":
            return NoData(target="site", reason="down")
        case "failed":
            return LookFailed()
        case "gone":
            return Gone(target="site", reason="removed")
        case "judged":
            assert isinstance(detail, tuple)
            return verdict(detail[0], detail[1], now, now + 10)
        case _:
            return Tick()


def check_alerts(actions: list[Action]) -> None:
    """Per incident: firing first, changes only after it, resolved last; numbers without a gap."""
    alerts: dict[str, list[Alert]] = {}
    closes: dict[str, list[Close]] = {}
    for action in actions:
        if isinstance(action, Alert):
            alerts.setdefault(action.incident, []).append(action)
        elif isinstance(action, Close):
            closes.setdefault(action.incident, []).append(action)
    for incident, each in alerts.items():
        kinds = [alert.kind for alert in each]
        assert kinds[0] is AlertKind.FIRING
        assert kinds.count(AlertKind.FIRING) == 1
        assert kinds.count(AlertKind.RESOLVED) <= 1
        assert AlertKind.RESOLVED not in kinds[:-1]
        assert [alert.number for alert in each] == list(range(1, len(each) + 1))
        assert len(each) <= 10
        assert all(alert.why for alert in each)
        closed = [close.status for close in closes.get(incident, [])]
        assert (kinds[-1] is AlertKind.RESOLVED) == (closed == [Status.RESOLVED])
    for incident, closings in closes.items():
        assert len(closings) == 1
        if closings[0].status is Status.DROPPED:
            assert incident not in alerts


@settings(max_examples=300, deadline=None)
@given(histories)
def test_invariants_of_any_history(history: list[tuple[tuple[str, object], float]]) -> None:
    story = Story()
    now = T
    for (kind, detail), pause in history:
        now += pause
        before = story.latest
        event = told(kind, detail, now, before.last_bad if before else T - 60)
        story.on(event, now)
        after = story.latest
        if after is None:
            continue
        assert msgspec.json.decode(msgspec.json.encode(after), type=Incident) == after
        wake = wake_at(after, SETTINGS)
        assert (wake is None) == (not after.open)
        assert wake is None or wake > now
        if after.status is Status.PENDING:
            assert now < after.opened_at + SETTINGS.pending_limit
        if before is not None and before.id == after.id:
            assert after.severity.rank >= before.severity.rank
            if before.status is not Status.PENDING and before.best and after.best:
                assert after.best.rank >= before.best.rank
        assert after.asked <= SETTINGS.max_looks
        assert len(after.verdicts) <= SETTINGS.max_verdicts
        # An action repeated on the stored state does nothing more.
        again, actions = advance(after, Tick(), now, SETTINGS)
        assert actions == ()
        assert again == after
    check_alerts(story.actions)
    # And it always ends: a firing alert is resolved when the target stays good.
    if story.latest is not None and story.latest.open:
        start = max(now, story.latest.last_bad) + 1
        for n in range(60):
            story.on(good(start, start + 30 * n), start + 30 * n)
        assert not story.latest.open
        check_alerts(story.actions)
