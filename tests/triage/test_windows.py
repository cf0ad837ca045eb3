"""Windows: that they hold what they have to, for any phase, and say why they are what they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage import windows
from triage.evidence import Anomaly, Policy, ProxyRequest, Sample, Target, Trigger
from triage.windows import ClockBounds, WindowSettings

SITE = Target(name="site", scrape_interval=15.0, probe_timeout=10.0)
TS = 1_752_695_340.0  # 2025-07-16T19:49:00Z
SETTINGS = WindowSettings()
PAPER = WindowSettings(policy=Policy.PAPER)


def outage(first: float = TS, prev: float | None = TS - 15.0, **changes: object) -> Anomaly:
    samples = [] if prev is None else [Sample(time=prev, value=200)]
    anomaly = Anomaly(
        target="site",
        trigger=Trigger.METRIC,
        time=first,
        status=503,
        last_good=prev,
        samples=(*samples, Sample(time=first, value=503)),
    )
    return replace(anomaly, **changes)  # type: ignore[arg-type]


@given(
    interval=st.floats(1, 120),
    timeout_share=st.floats(0.05, 1),
    error=st.floats(-2, 2),
    delay_share=st.floats(0, 1),
)
def test_the_probes_own_request_is_in_the_window(
    interval: float, timeout_share: float, error: float, delay_share: float
) -> None:
    target = replace(SITE, scrape_interval=interval, probe_timeout=interval * timeout_share)
    request = TS + delay_share * target.probe_timeout + error
    window = windows.proxy_window(outage(prev=TS - interval), target, SETTINGS)
    assert request in window
    assert window.end - window.start <= target.probe_timeout + 4.0 + 1e-6


@given(
    step=st.floats(1, 60),
    phase=st.floats(0, 1, exclude_max=True),
    stored_after=st.floats(0, 1),
    started_after=st.floats(0, 1),
    error=st.floats(-2, 2),
)
def test_a_grids_time_is_late_by_its_phase_and_the_window_allows_for_it(
    step: float, phase: float, stored_after: float, started_after: float, error: float
) -> None:
    # The scrape began at TS; its sample was stored within the timeout, and seen by the next step.
    stored = TS + stored_after * SITE.probe_timeout
    seen = stored + phase * step
    request = TS + started_after * (stored - TS) + error
    window = windows.proxy_window(outage(seen), SITE, replace(SETTINGS, step=step))
    assert request in window
    assert "grid" in window.reason


@pytest.mark.parametrize("lag", [20, 21, 22, 22.697])
@pytest.mark.parametrize("step", [15.0, 30.0])
def test_lags_that_a_window_of_15_s_misses(lag: float, step: float) -> None:
    assert TS - lag not in windows.proxy_window(outage(), SITE, PAPER)
    assert TS - lag in windows.proxy_window(outage(), SITE, replace(SETTINGS, step=step))


def test_the_papers_windows_to_the_letter() -> None:
    proxy = windows.proxy_window(outage(), SITE, PAPER)
    assert (proxy.start, proxy.end) == (TS - 15, TS)
    line = ProxyRequest(time=TS - 21)
    app = windows.app_window(outage(), SITE, PAPER, line)
    assert (app.start, app.end) == (TS - 81, TS - 21)
    assert "policy paper" in proxy.reason
    assert "policy paper" in app.reason


@given(began_share=st.floats(0.001, 1), error=st.floats(-2, 2))
def test_the_faults_beginning_is_in_every_deeper_window(began_share: float, error: float) -> None:
    prev, latest = TS - 15.0, TS + SITE.probe_timeout
    began = prev + began_share * (latest - prev) + error
    fault = windows.fault_window(outage(), SITE, SETTINGS)
    assert began in fault
    for of in (windows.pod_window, windows.node_window, windows.vm_window):
        window = of(outage(), SITE, SETTINGS)
        assert began in window
        assert window.start < fault.start
        assert "19:48:45" in window.reason


def test_reasons_give_the_figures() -> None:
    reason = windows.proxy_window(outage(), SITE, SETTINGS).reason
    assert "19:49:00" in reason
    assert "10 s" in reason
    assert "2 s" in reason


def test_a_fault_is_not_thought_to_have_begun_days_ago() -> None:
    window = windows.fault_window(outage(prev=TS - 2 * 86_400), SITE, SETTINGS)
    assert TS - window.start <= SETTINGS.longest + 5
    assert "at most 900 s" in window.reason


def test_no_good_sample_known() -> None:
    window = windows.fault_window(outage(prev=None), SITE, SETTINGS)
    assert TS - 17 in window
    assert "no good sample known" in window.reason


def test_a_measured_clock_error_widens_only_when_it_is_larger() -> None:
    plain = windows.proxy_window(outage(), SITE, SETTINGS)
    assert windows.proxy_window(outage(), SITE, SETTINGS, clock_error=0.1) == plain
    wide = windows.proxy_window(outage(), SITE, SETTINGS, clock_error=-30.0)
    assert wide.start == TS - 30
    assert wide.end == TS + 40


def test_an_override_wins_and_says_what_it_overrides() -> None:
    settings = WindowSettings(proxy_before=30, app_window_after=7, node_window_before=1)
    proxy = windows.proxy_window(outage(), SITE, settings)
    assert proxy.start == TS - 30
    assert proxy.end == TS + 12
    assert "as configured" in proxy.reason
    assert "derived" in proxy.reason
    line = ProxyRequest(time=TS + 1, duration_ms=1458)
    assert windows.app_window(outage(), SITE, settings, line).end == TS + 8
    assert windows.node_window(outage(), SITE, settings).start == TS - 1


def test_the_app_is_read_around_the_proxys_line() -> None:
    line = ProxyRequest(time=TS + 1, duration_ms=1458, flags=("UC",))
    window = windows.app_window(outage(), SITE, SETTINGS, line)
    assert line.time in window
    assert line.end in window
    assert window.end - window.start < 30
    long = replace(line, duration_ms=20_000)
    assert long.end + 3 in windows.app_window(outage(), SITE, SETTINGS, long)
    slow = replace(line, flags=("UT",))
    later = windows.app_window(outage(), SITE, SETTINGS, slow)
    assert later.end - window.end == SETTINGS.timed_out_after - SETTINGS.app_after


def test_without_a_proxy_line_the_whole_probe_is_read() -> None:
    window = windows.app_window(outage(), SITE, SETTINGS)
    assert TS - 2 in window
    assert TS + 22 in window
    assert "no proxy line" in window.reason


def test_later_bad_samples_have_windows_too() -> None:
    bad = tuple(Sample(time=TS + 15 * n, value=503) for n in range(10))
    anomaly = outage(samples=(Sample(time=TS - 15, value=200), *bad))
    found = windows.probe_windows(anomaly, SITE, SETTINGS)
    assert len(found) == 4
    assert TS in found[0]
    assert TS + 135 in found[-1]
    assert len(windows.probe_windows(outage(samples=()), SITE, SETTINGS)) == 1


def test_an_older_outages_samples_are_not_this_ones() -> None:
    old = (Sample(time=TS - 60, value=500), Sample(time=TS - 15, value=200))
    anomaly = outage(samples=(*old, Sample(time=TS, value=503)))
    assert windows.first_bad(anomaly, SITE) == TS
    asked = replace(anomaly, trigger=Trigger.ALERTMANAGER, time=TS + 200)
    assert windows.first_bad(asked, SITE) == TS


def test_the_proxys_own_line_as_trigger() -> None:
    anomaly = Anomaly(target="site", trigger=Trigger.PROXY_LOG, time=TS, status=503)
    window = windows.proxy_window(anomaly, SITE, SETTINGS)
    assert TS in window
    assert "proxy's own line" in window.reason
    with_samples = replace(anomaly, samples=(Sample(time=TS + 9, value=503),))
    assert windows.proxy_window(with_samples, SITE, SETTINGS).start == TS + 7


@pytest.mark.parametrize("trigger", [Trigger.ALERTMANAGER, Trigger.MANUAL])
def test_a_question_without_samples_is_read_widely(trigger: Trigger) -> None:
    anomaly = Anomaly(target="site", trigger=trigger, time=TS)
    window = windows.proxy_window(anomaly, SITE, SETTINGS)
    assert TS - 60 in window
    assert TS in window
    assert "no bad sample known" in window.reason


@given(duration=st.floats(0, 1), start=st.floats(0, 1), error=st.floats(-2, 2))
def test_when_all_is_settled_every_line_has_been_written(
    duration: float, start: float, error: float
) -> None:
    began = TS + start * SITE.probe_timeout
    ended = began + duration * (TS + SITE.probe_timeout - began)
    written = ended + error + SETTINGS.proxy_flush
    assert written <= windows.settled_at(outage(), SITE, SETTINGS)
    line = ProxyRequest(time=began, duration_ms=(ended - began) * 1000)
    assert windows.settled_at(outage(), SITE, SETTINGS, line) > ended


def test_an_envoy_that_flushes_late_is_waited_for() -> None:
    slow = replace(SETTINGS, proxy_flush=10.0)
    late = windows.settled_at(outage(), SITE, slow) - windows.settled_at(outage(), SITE, SETTINGS)
    assert late == 9.0


# Clocks


@given(
    offset=st.floats(-1e5, 1e5),
    trips=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1), st.floats(0, 5)), min_size=1),
)
def test_clock_bounds_hold_the_offset(
    offset: float, trips: list[tuple[float, float, float]]
) -> None:
    now, bounds = 1e9, []
    for took, share, pause in trips:
        read = float(int(now + took * share + offset))  # a Date header is cut to the second
        bounds.append(windows.bounds_of(now, now + took, read))
        now += took + pause
    known = windows.narrowed(bounds)
    assert known is not None
    assert known.low - 1e-6 <= offset <= known.high + 1e-6
    assert known.worst >= abs(offset) - 1e-6


def test_many_answers_tell_more_than_one() -> None:
    bounds = []
    for n in range(40):
        sent = 1e9 + n * 1.025
        bounds.append(windows.bounds_of(sent, sent + 0.01, float(int(sent + 0.005 + 0.3))))
    known = windows.narrowed(bounds)
    assert known is not None
    assert known.high - known.low < 0.1
    assert known.offset == pytest.approx(0.3, abs=0.05)


def test_answers_from_before_the_clock_was_set_do_not_count() -> None:
    before, after = ClockBounds(-0.5, 0.5), ClockBounds(99.5, 100.5)
    assert windows.narrowed([before, before, after]) == after
    back = ClockBounds(-0.3, 0.7)
    assert windows.narrowed([before, after, back]) == back
    assert windows.narrowed([]) is None
