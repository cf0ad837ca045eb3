"""Triggers: samples, proxy lines and alerts as events; matchers and targets; expressions."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.evidence import Anomaly, Match, ProxyRequest, Sample, Target, Trigger
from triage.incidents import Bad, Gone, Good, NoData
from triage.promql import Timing, duration, one_of, parse_expression, range_query, select
from triage.triggers import (
    Matcher,
    MatchOp,
    Presence,
    ProxyWatch,
    Question,
    Series,
    TargetRule,
    TriggerSettings,
    alert_event,
    asked_anomaly,
    combined,
    failed,
    filled,
    interval_of,
    learned,
    outage_at,
    outages,
    parse_matchers,
    read_metric,
    target_of,
    with_samples,
)

T = 1_752_695_340.0
SITE = Target(name="site", url="https://site.example/")
SETTINGS = TriggerSettings()
G, B = 200, 503


def samples(*values: float | None, start: float = T, interval: float = 15.0) -> tuple[Sample, ...]:
    return tuple(Sample(time=start + interval * n, value=v) for n, v in enumerate(values))


def series(*values: float | None, **changes: object) -> Series:
    one = Series(labels={"instance": "https://site.example/"}, samples=samples(*values))
    return replace(one, **changes)  # type: ignore[arg-type]


# Matchers and targets


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ('job="a"', {"job": "a"}, True),
        ('job="a"', {"job": "ab"}, False),
        ('{job=~"a.*"}', {"job": "ab"}, True),
        ('job=~"a"', {"job": "ab"}, False),
        ('job!="a", x=""', {"job": "b"}, True),
        ("job!~'a|b',", {"job": "b"}, False),
        (r'job="a\"b\\"', {"job": 'a"b\\'}, True),
        (r"job=`a\d`", {"job": r"a\d"}, True),
        ("", {"any": "thing"}, True),
    ],
)
def test_matchers(text: str, labels: dict[str, str], fits: bool) -> None:
    assert all(matcher.matches(labels) for matcher in parse_matchers(text)) is fits


@pytest.mark.parametrize("text", ["job", "job=a", 'job="a" x="b"', '{job="a"', 'job="a"b="c"'])
def test_bad_matchers_are_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="not understood from") as info:
        parse_matchers(text)
    assert "\n" not in str(info.value)


def test_a_bad_regular_expression_is_named() -> None:
    with pytest.raises(ValueError, match=r'job=~"\("'):
        parse_matchers('job=~"("')


@given(st.text(max_size=30), st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]))
def test_a_matcher_reads_back_what_it_writes(value: str, op: MatchOp) -> None:
    matcher = Matcher("job", value, op)
    assert parse_matchers(str(matcher)) == (matcher,)


@given(st.text(max_size=100))
def test_the_matcher_parser_raises_nothing_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(matcher.label for matcher in parse_matchers(text))


def test_a_series_belongs_to_the_first_target_that_fits() -> None:
    other = TargetRule(target=Target(name="b"), matchers=parse_matchers('instance=~".*b.*"'))
    rules = [TargetRule(target=SITE), other]
    assert target_of({"instance": SITE.url}, rules, SETTINGS) is SITE
    assert target_of({"instance": "site"}, rules, SETTINGS) is SITE
    assert target_of({"instance": "https://b/"}, rules, SETTINGS) is other.target
    assert target_of({"instance": "https://c/"}, rules, SETTINGS) is None
    adopted = target_of({"instance": "https://c/"}, rules, TriggerSettings(adopt=True))
    assert adopted == Target(name="https://c/", url="https://c/")
    assert target_of({"job": "x"}, rules, TriggerSettings(adopt=True)) is None


# Outages


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((G, G, G), []),
        ((G, B, G), [(15, 15, 1, 30)]),
        ((G, B, B, G, G), [(15, 30, 2, 45)]),
        ((G, B), [(15, 15, 1, None)]),
        ((G, 0, G), [(15, 15, 1, 30)]),
        ((G, None, G), [(15, 15, 1, 30)]),
        ((G, B, G, B, G), [(15, 45, 2, 60)]),
        ((G, B, G, G, G, G, B), [(15, 15, 1, 30), (90, 90, 1, None)]),
        ((B,), [(0, 0, 1, None)]),
    ],
)
def test_outages(
    values: Sequence[float | None], found: list[tuple[float, float, int, float | None]]
) -> None:
    got = outages(samples(*values), SITE.good, 60.0)
    assert [
        (o.start - T, o.last_bad - T, o.bad_samples, o.ended and o.ended - T) for o in got
    ] == found


@given(st.lists(st.sampled_from([200.0, 301.0, 503.0, 0.0, None]), max_size=60))
def test_every_bad_sample_is_in_one_outage(values: list[float | None]) -> None:
    got = outages(samples(*values), (200, 301), 60.0)
    assert sum(o.bad_samples for o in got) == sum(v not in (200.0, 301.0) for v in values)
    for before, after in pairwise(got):
        assert before.ended is not None
        assert after.start - before.ended >= 60.0


def test_an_outage_as_an_event() -> None:
    bad, good = read_metric(SITE, [series(G, G, B, B, G)], SETTINGS)
    assert isinstance(bad, Bad)
    assert bad.last_bad == T + 45
    assert bad.bad_samples == 2
    anomaly = bad.anomaly
    assert (anomaly.time, anomaly.last_good, anomaly.ended) == (T + 30, T + 15, T + 60)
    assert anomaly.status == 503
    assert anomaly.trigger is Trigger.METRIC
    assert anomaly.labels == {"instance": SITE.url}
    assert [s.value for s in anomaly.samples] == [G, G, B, B, G]
    assert good == Good(target="site", since=T + 60, until=T + 60)


def test_a_lasting_outage_says_nothing_good() -> None:
    (bad,) = read_metric(SITE, [series(G, B)], SETTINGS)
    assert isinstance(bad, Bad)
    assert bad.anomaly.ended is None
    (missing,) = read_metric(SITE, [series(G, None, presence=Presence.MISSING)], SETTINGS)
    assert isinstance(missing, Bad)
    assert missing.anomaly.status is None


def test_all_good_and_nothing_known() -> None:
    assert read_metric(SITE, [series(G, G)], SETTINGS) == (
        Good(target="site", since=T, until=T + 15),
    )
    (nothing,) = read_metric(SITE, [series(G, presence=Presence.NO_DATA)], SETTINGS)
    assert isinstance(nothing, NoData)
    assert nothing.since == T
    (gone,) = read_metric(SITE, [series(G, presence=Presence.REMOVED)], SETTINGS)
    assert isinstance(gone, Gone)
    assert read_metric(SITE, [], SETTINGS) == ()


def test_no_data_after_a_bad_sample_is_not_good() -> None:
    events = read_metric(SITE, [series(G, B, presence=Presence.NO_DATA)], SETTINGS)
    assert [type(event) for event in events] == [Bad, NoData]


def test_several_monitors_of_one_target_are_bad_together() -> None:
    a = series(G, B, G, G, labels={"instance": SITE.url, "prober": "a", "job": "j"})
    b = series(G, G, B, G, labels={"instance": SITE.url, "prober": "b", "job": "j"})
    bad, good = read_metric(SITE, [a, b], SETTINGS)
    assert isinstance(bad, Bad)
    assert bad.anomaly.time == T + 15
    assert bad.anomaly.ended == T + 45
    assert bad.anomaly.labels == {"instance": SITE.url, "job": "j"}
    assert isinstance(good, Good)
    lasting = series(G, G, B, B, labels={"prober": "b"})
    assert [type(e) for e in read_metric(SITE, [a, lasting], SETTINGS)] == [Bad]


def test_a_long_outages_event_is_bounded() -> None:
    (bad,) = read_metric(SITE, [series(G, *([B] * 5000))], SETTINGS)
    assert isinstance(bad, Bad)
    assert len(bad.anomaly.samples) == SETTINGS.max_samples
    assert bad.anomaly.samples[1].time == T + 15
    assert bad.anomaly.samples[-1].time == T + 75_000


def test_scrapes_without_a_status_are_missing_samples() -> None:
    ups = samples(1, 1, 0, 0, 1)
    got = filled((ups[0], Sample(time=T + 15, value=200), Sample(time=T + 60, value=200)), ups)
    assert [(s.time - T, s.value) for s in got] == [
        (0, 1),
        (15, 200),
        (30, None),
        (45, None),
        (60, 200),
    ]
    assert filled((), ups[:1]) == (Sample(time=T, value=None),)
    assert filled(ups, ()) == ups


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40),
)
def test_filling_adds_only_what_lacks(present: list[tuple[bool, bool]]) -> None:
    times = [T + n for n in range(len(present))]
    own = [Sample(time=t, value=200) for t, (here, _) in zip(times, present, strict=True) if here]
    ups = [Sample(time=t, value=1) for t, (_, up) in zip(times, present, strict=True) if up]
    got = filled(own, ups)
    assert {s.time for s in got} == {s.time for s in own} | {s.time for s in ups}
    assert [s for s in got if s.value is not None] == own


def test_intervals_and_what_is_learned() -> None:
    assert interval_of(samples(G, G, G, G)) == 15
    assert interval_of(samples(G)) is None
    target = learned(SITE, series(G, interval=30.0, timeout=9.5, url="https://x/"))
    assert (target.scrape_interval, target.probe_timeout, target.url) == (30, 9.5, SITE.url)
    assert learned(SITE, series(G)) == SITE


def test_the_outage_that_a_question_means() -> None:
    one = series(G, B, G, G, G, G, G, G, B, B, G)
    got = outage_at(SITE, [one], T + 130, Trigger.MANUAL, SETTINGS)
    assert got is not None
    assert got.time == T + 120
    assert got.trigger is Trigger.MANUAL
    before = outage_at(SITE, [one], T, Trigger.ALERTMANAGER, SETTINGS)
    assert before is not None
    assert before.time == T + 15
    assert outage_at(SITE, [one], T + 1000, Trigger.MANUAL, SETTINGS) is None
    assert outage_at(SITE, [series(G, G)], T, Trigger.MANUAL, SETTINGS) is None


# Proxy lines


def request(status: int | None, *flags: str, at: float = T, **changes: object) -> ProxyRequest:
    line = ProxyRequest(time=at, status=status, flags=flags, pod="front/app-0")
    return replace(line, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        (request(200), False),
        (request(404), False),
        (request(404, "NR"), False),
        (request(429, "RL"), False),
        (request(499), False),
        (request(0, "DC"), False),
        (request(500), True),
        (request(503, "UF", "URX"), True),
        (request(503, "NC"), True),
        (request(504, "UT"), True),
        (request(200, "UPE"), True),
        (request(0, "UC"), True),
        (request(None), False),
    ],
)
def test_whose_fault_a_line_is(line: ProxyRequest, counts: bool) -> None:
    assert failed(line) is counts


def test_the_monitors_own_failure_is_an_outage_at_once() -> None:
    for line in (request(503, "UF"), request(404), request(0, "DC")):
        watch = ProxyWatch(SITE)
        bad = watch.add(replace(line, match=Match.OWN), T + 1)
        assert bad is not None
        assert bad.anomaly.trigger is Trigger.PROXY_LOG
        assert bad.anomaly.time == T
        assert bad.anomaly.status == line.status


def test_the_monitors_own_good_request_is_none() -> None:
    watch = ProxyWatch(SITE)
    for n in range(10):
        assert watch.add(request(200, match=Match.OWN, at=T + n), T + n) is None


def test_one_clients_trouble_is_none() -> None:
    watch = ProxyWatch(SITE)
    for n in range(1000):
        assert watch.add(request(404, at=T + n / 10), T + n / 10) is None
    assert watch.add(request(503, "UF", at=T + 101), T + 101) is None
    assert watch.good() is None


def test_many_failures_are_an_outage_and_their_end_is_told() -> None:
    watch = ProxyWatch(SITE)
    got = [watch.add(request(503, "UF", at=T + n), T + n) for n in range(6)]
    assert got[:4] == [None] * 4
    assert got[4] is not None
    assert got[4].anomaly.time == T
    assert got[5] is not None
    assert got[5].last_bad == T + 5
    assert watch.good() is None  # silence is no good news
    for n in (3, 6, 67):
        assert watch.add(request(200, at=T + n), T + 70) is None
    good = watch.good()
    assert good is not None
    assert (good.since, good.until) == (pytest.approx(T + 6, abs=1), pytest.approx(T + 67, abs=1))
    assert good.until - good.since >= SETTINGS.recovery
    again = watch.add(request(503, match=Match.OWN, at=T + 300), T + 300)
    assert again is not None
    assert again.anomaly.time == T + 300
    assert watch.good() is None


def test_a_small_share_of_much_traffic_is_none() -> None:
    watch = ProxyWatch(SITE)
    for n in range(2000):
        status = 503 if n % 50 == 0 else 200
        assert watch.add(request(status, at=T + n / 100), T + n / 100) is None


def test_old_lines_and_lines_from_the_future() -> None:
    watch = ProxyWatch(SITE)
    for n in range(10):
        assert watch.add(request(503, at=T - 1000 - n), T) is None or n >= 4
    fresh = ProxyWatch(SITE)
    fresh.add(request(200, at=T), T)
    for n in range(100):
        assert fresh.add(request(503, at=T - 500 - n), T) is None
    for n in range(100):
        fresh.add(request(200, at=T + 1e6 + n), T + n)
    assert len(fresh._seconds) <= SETTINGS.proxy_span + 1
    got = [fresh.add(request(503, at=T + 100), T + 100) for _ in range(50)]
    assert got[-1] is not None  # lines of a clock that is ahead hide nothing


@given(st.lists(st.tuples(st.floats(-30, 30), st.sampled_from([200, 503])), max_size=80))
def test_the_counters_memory_is_bounded(lines: list[tuple[float, int]]) -> None:
    watch = ProxyWatch(SITE)
    for n, (skew, status) in enumerate(lines):
        now = T + n / 4
        watch.add(request(status, at=now + skew), now)
        seconds = [each.second for each in watch._seconds]
        assert seconds == sorted(set(seconds))
        assert len(seconds) <= SETTINGS.proxy_span + 1


# Alerts, and all together


def test_an_alert_as_an_event() -> None:
    question = Question(labels={"instance": SITE.url, "alertname": "Down"}, starts_at=T)
    rules = [TargetRule(target=SITE)]
    bad = alert_event(question, rules, SETTINGS, T + 200)
    assert isinstance(bad, Bad)
    assert bad.anomaly == Anomaly(
        target="site", trigger=Trigger.ALERTMANAGER, time=T, labels=dict(question.labels)
    )
    assert bad.last_bad == T  # told again later, it is the same
    good = alert_event(replace(question, ends_at=T + 90), rules, SETTINGS, T + 100)
    assert good == Good(target="site", since=T + 90, until=T + 100)
    assert alert_event(Question(labels={}, starts_at=T), rules, SETTINGS, T) is None
    future = alert_event(replace(question, starts_at=T + 1e9), rules, SETTINGS, T)
    assert isinstance(future, Bad)
    assert future.anomaly.time == T


def test_good_needs_everybody() -> None:
    good = Good(target="site", since=T, until=T + 60)
    later = Good(target="site", since=T + 30, until=T + 50)
    lasting = Bad(anomaly=asked_anomaly(SITE, T, Trigger.PROXY_LOG), last_bad=T + 40)
    nothing = NoData(target="site", reason="down")
    assert combined([(good,), (later,)]) == (Good(target="site", since=T + 30, until=T + 60),)
    assert combined([(good,), (lasting,)]) == (lasting,)
    assert combined([(good,), ()]) == (good,)
    assert combined([(nothing,), (good,)]) == (good,)
    assert combined([(nothing,), ()]) == (nothing,)
    assert combined([(), ()]) == ()


# Expressions


@pytest.mark.parametrize(
    ("text", "timing", "name"),
    [
        ("probe_http_status_code", Timing.SCRAPE, "probe_http_status_code"),
        (' probe_http_status_code { job = "a[2m]" } ', Timing.SCRAPE, "probe_http_status_code"),
        ('{__name__="x",job="a"}', Timing.SCRAPE, "x"),
        ('{__name__=~"x|y"}', Timing.SCRAPE, ""),
        ("job:status:max", Timing.RULE, "job:status:max"),
        ("max by (instance) (probe_http_status_code)", Timing.GRID, ""),
        ("probe_http_status_code offset 1m", Timing.GRID, ""),
        ("a or b", Timing.GRID, ""),
        ("1", Timing.GRID, ""),
    ],
)
def test_expressions(text: str, timing: Timing, name: str) -> None:
    found = parse_expression(text)
    assert (found.timing, found.name) == (timing, name)


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("probe_http_status_code != 200", True),
        ("max(a) and on(job) b", True),
        ("probe_http_status_code == bool 200", False),
        ('max(a{job!="b"})', False),
        ('max(a{job=~"b>c"})', False),
    ],
)
def test_comparisons_are_noticed(text: str, filters: bool) -> None:
    assert parse_expression(text).filters is filters


@pytest.mark.parametrize("text", ["", "  ", "up[2m]", "max_over_time(up[5m])[1h:]"])
def test_expressions_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"^query"):
        parse_expression(text)


def test_queries() -> None:
    plain = parse_expression('up{job="a"}')
    assert range_query(plain, 120, 5) == 'up{job="a"}[120s]'
    grid = parse_expression("max(up)")
    assert range_query(grid, 90.5, 5) == "(max(up))[90500ms:5s]"
    matcher = one_of("instance", ["http://a.b/?c", "x"])
    assert matcher.matches({"instance": "http://a.b/?c"})
    assert not matcher.matches({"instance": "http://a-b/?c"})
    assert select(["b", "a"], [Matcher("job", 'q"')], 2) == ('{__name__=~"a|b",job="q\\""}[2s]')
    assert duration(0) == "1ms"


def test_what_the_metric_knows_goes_with_a_question_of_somebody_else() -> None:
    """The line of a proxy tells when the site is bad, and not until when it was good."""
    site = Target(name="site")
    asked = asked_anomaly(site, 103.5, Trigger.PROXY_LOG)
    one = Series(labels={}, samples=(Sample(time=101, value=200.0), Sample(time=102, value=200.0)))
    two = Series(labels={}, samples=(Sample(time=104, value=503.0),))
    known = with_samples(asked, site, [one, two])
    assert (known.time, known.trigger, known.last_good) == (103.5, Trigger.PROXY_LOG, 102)
    assert [sample.time for sample in known.samples] == [101, 102, 104]
    assert with_samples(asked, site, None) == asked
    assert with_samples(known, site, [two]) == known
