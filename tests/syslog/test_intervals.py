"""Intervals, periods and bursts: against plain arithmetic, and on series whose truth is known."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.syslog.intervals import (
    INTERVALS,
    Burst,
    IntervalSettings,
    IntervalStats,
    Period,
    bursts,
    intervals,
    survey,
    tracks,
)
from triage.syslog.intervals.events import load

T0 = 1_443_225_600
DAY = 86_400
Event = tuple[int, str, int, int]

SCHEMA = {"time": pl.Int64, "host": pl.String, "template": pl.Int64, "count": pl.UInt32}


def frame(events: list[Event]) -> pl.LazyFrame:
    return pl.DataFrame(events, schema=SCHEMA, orient="row").lazy()


def series(
    seconds: np.ndarray | list[float], host: str = "hv1", template: int = 7, count: int = 1
) -> list[Event]:
    return [(round(one) * 1000, host, template, count) for one in seconds]


def plain(events: list[Event]) -> dict[tuple[int, str], list[float]]:
    """Every interval of each series, one by one: what the module says in bulk."""
    of: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for time, host, template, count in events:
        for key in ((template, ""), (template, host)):
            of[key].append((time, count))
    gaps: dict[tuple[int, str], list[float]] = {}
    for key, some in of.items():
        some.sort()
        gaps[key] = [
            (later - time) / 1000 / count
            for (time, _), (later, count) in pairwise(some)
            for _ in range(count)
        ]
    return gaps


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 10**7),
        st.sampled_from(["a", "b", "ünï"]),
        st.sampled_from([1, 5, 2**48 - 1]),
        st.sampled_from([1, 1, 1, 2, 5]),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda one: one[0],
)


@settings(max_examples=40, deadline=None)
@given(EVENTS)
def test_as_counted_by_hand(events: list[Event]) -> None:
    table = intervals(frame(events))
    assert table.schema == INTERVALS
    gaps = plain(events)
    assert {(row["template"], row["host"]) for row in table.to_dicts()} == set(gaps)
    for row in table.to_dicts():
        mine = gaps[row["template"], row["host"]]
        some = [one for one in events if one[2] == row["template"] and row["host"] in ("", one[1])]
        assert row["count"] == sum(one[3] for one in some)
        assert (row["first"], row["last"]) == (min(some)[0], max(some)[0])
        if not mine:
            assert row["mean"] is row["median"] is row["deviation"] is None
            continue
        assert row["mean"] == pytest.approx(statistics.fmean(mine))
        assert row["median"] == pytest.approx(statistics.median(mine))
        assert row["deviation"] == pytest.approx(statistics.pstdev(mine), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 30))
def test_neither_order_nor_batches_matter(
    events: list[Event], rng: random.Random, batch: int
) -> None:
    whole = survey(frame(events))
    shuffled = events.copy()
    rng.shuffle(shuffled)
    small = survey(frame(shuffled), IntervalSettings(batch_events=batch))
    assert small.table.equals(whole.table)
    assert (small.stats, small.bursts) == (whole.stats, whole.bursts)


def test_nothing_gives_nothing() -> None:
    empty = survey(frame([]))
    assert (empty.table.height, empty.stats, empty.bursts) == (0, (), ())
    assert empty.table.schema == INTERVALS
    assert tracks(frame([]), [7]) == ()


def test_broken_lines_have_no_interval() -> None:
    events = pl.DataFrame(
        {
            "time": [1000, None, 3000],
            "host": ["a", None, "a"],
            "template": [1, 1, 1],
            "count": [1] * 3,
        },
        schema=SCHEMA,
    )
    assert intervals(events.lazy())["count"].to_list() == [2, 2]


def test_times_too_far_apart_to_be_packed_are_worked_on_all_the_same() -> None:
    rng = np.random.default_rng(1)
    near = [
        (int(time), f"hv{rng.integers(9)}", int(rng.integers(40)), int(rng.integers(1, 4)))
        for time in rng.integers(0, 1000, 900)  # many of one moment, host and template
    ]
    far = [(2**58, "hv3", 7, 2), (-(2**58), "hv3", 7, 1)]
    packed, rows = load(frame(near)), load(frame(near + far))
    assert type(packed.body) is not type(rows.body)
    for events, made in ((packed, near), (rows, near + far)):
        whole = events.batch(0, len(events.templates))
        for part in (whole.by_host, whole.by_time):
            assert len(part.time) == len(made)
        told = [
            sorted(
                zip(
                    [events.templates[one] for one in part.template],
                    *((part.host, part.time) if hosts else (part.time, part.host)),
                    part.count,
                    strict=True,
                )
            )
            for part, hosts in ((whole.by_host, True), (whole.by_time, False))
        ]
        host = {name: place for place, name in enumerate(events.hosts)}
        assert told[0] == sorted((k, host[h], t, c) for t, h, k, c in made)
        assert told[1] == sorted((k, t, host[h], c) for t, h, k, c in made)
        for part, expected, hosts in (
            (whole.by_host, told[0], True),
            (whole.by_time, told[1], False),
        ):
            keys = (part.host, part.time) if hosts else (part.time, part.host)
            template = [events.templates[one] for one in part.template]
            assert list(zip(template, *keys, part.count, strict=True)) == expected


# Periods


def period(events: list[Event]) -> Period | None:
    (found,) = survey(frame(events)).stats
    return found.period


def days(many: int, at: float) -> np.ndarray:
    return T0 + DAY * np.arange(many) + at


def test_daily_by_the_clock_with_an_attack_in_between() -> None:
    rng = np.random.default_rng(1)
    events = [e for h in range(9) for e in series(days(40, 23_100 + 3 * h), f"hv{h}")]
    attack = T0 + 30 * DAY + rng.uniform(0, DAY, 9000)
    events += [e for one in attack for e in series([one], f"hv{rng.integers(9)}")]
    found = period(events)
    assert found is not None
    assert (found.seconds, found.text) == (DAY, "daily at 06:25 UTC")
    assert found.strength > 0.85


@pytest.mark.parametrize(
    ("step", "text"),
    [(60, "every 1 min"), (300, "every 5 min"), (420, "every 7 min"), (21_600, "every 6 h")],
)
def test_timers_with_jitter_missing_and_doubled_lines(step: int, text: str) -> None:
    rng = np.random.default_rng(step)
    events: list[Event] = []
    for host in range(5):  # each with a phase of its own
        times = T0 + rng.uniform(0, step) + step * np.arange(min(3000, 40 * DAY // step))
        times = times + rng.normal(0, min(1.0, step / 300), len(times))
        times = times[rng.random(len(times)) > 0.15]
        events += series(np.concatenate([times, times[::20] + 1]), f"hv{host}")
    found = period(events)
    assert found is not None
    assert found.text == text
    assert found.strength > 0.6


def test_a_timer_that_drifts_is_a_timer_and_bound_to_no_clock() -> None:
    found = period(series(T0 + 3606.5 * np.arange(700)))
    assert found is not None
    assert found.seconds == pytest.approx(3606.5, abs=0.6) or found.seconds == 3600
    assert found.phase is None


def test_hourly_and_weekly_by_the_clock() -> None:
    hourly = period(series(T0 + 1021 + 3600 * np.arange(500)))
    assert hourly is not None
    assert hourly.text == "hourly at :17"
    weekly = [
        T0 + 2 * DAY + 7 * DAY * week + 24_420 + line for week in range(8) for line in range(90)
    ]
    found = period(series(weekly))
    assert found is not None
    assert found.text == "Mondays at 06:47 UTC"


def test_a_random_delay_of_an_hour_is_about_daily() -> None:
    rng = np.random.default_rng(5)
    found = period(series(days(50, 21_600) + rng.uniform(0, 3600, 50)))
    assert found is not None
    assert found.seconds == DAY
    assert found.text.startswith("about daily")


@pytest.mark.parametrize("seed", range(6))
def test_chance_has_no_period(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for many in (5, 60, 3000):
        assert period(series(T0 + rng.uniform(0, 50 * DAY, many))) is None
    load = T0 + rng.uniform(0, 50 * DAY, 20_000)  # more by day than by night
    load = load[rng.random(len(load)) < 0.5 + 0.45 * np.sin(2 * np.pi * load / DAY)]
    assert period(series(load)) is None
    assert period(series(T0 + rng.uniform(0, 3600, 500))) is None


# Bursts


def test_an_attack_of_days_is_one_burst_where_it_was() -> None:
    rng = np.random.default_rng(2)
    quiet, attack = rng.uniform(0, 50 * DAY, 500), rng.uniform(44 * DAY, 46 * DAY, 20_000)
    found = bursts(frame(series(T0 + np.concatenate([quiet, attack]))))
    assert len(found) == 1
    assert found[0].start == pytest.approx(T0 + 44 * DAY, abs=600)
    assert found[0].end == pytest.approx(T0 + 46 * DAY, abs=600)
    assert found[0].lines == pytest.approx(20_020, abs=40)
    assert found[0].factor > 50


def test_an_attack_in_a_quarter_of_the_time_is_not_the_usual() -> None:
    rng = np.random.default_rng(3)
    quiet, attack = rng.uniform(0, 28 * DAY, 300), rng.uniform(10 * DAY, 17 * DAY, 30_000)
    found = bursts(frame(series(T0 + np.concatenate([quiet, attack]))))
    assert len(found) == 1
    assert found[0].start == pytest.approx(T0 + 10 * DAY, abs=1800)


def test_what_comes_every_night_is_usual() -> None:
    rng = np.random.default_rng(4)
    nightly = [
        T0 + DAY * day + 10_000 + rng.uniform(0, 120) for day in range(30) for _ in range(80)
    ]
    assert bursts(frame(series(nightly))) == ()
    load = T0 + rng.uniform(0, 30 * DAY, 30_000)
    load = load[rng.random(len(load)) < 0.5 + 0.45 * np.sin(2 * np.pi * load / DAY)]
    assert bursts(frame(series(load))) == ()


def test_bursts_are_bounded_and_name_their_hosts() -> None:
    rng = np.random.default_rng(6)
    events = series(T0 + rng.uniform(0, 60 * DAY, 700))
    for place in range(15):
        at = T0 + (3 * place + 2) * DAY + 40_000
        for host in range(12):
            many = 300 if host == 3 else 40
            events += series(at + rng.uniform(0, 600, many), f"hv{host:02}")
    found = bursts(frame(events), IntervalSettings(bursts=5, burst_hosts=4))
    assert len(found) == 5
    assert list(found) == sorted(found, key=lambda one: one.start)
    for one in found:
        assert one.hosts[0] == "hv03"
        assert (len(one.hosts), one.hosts_total) >= (4, 12)
        assert one.end - one.start < 700


def test_a_repeated_line_counts_as_often_as_it_says() -> None:
    quiet = series(T0 + DAY * np.arange(20.0))
    loud = [(int((T0 + 10 * DAY + 5000) * 1000), "hv1", 7, 4000)]
    found = bursts(frame(quiet + loud))
    assert [one.lines for one in found] == [4000]


def test_mean_far_from_median_is_the_sign_of_bursts() -> None:
    stats = IntervalStats(template=1, count=5, first=0.0, last=1.0, mean=100.0, median=2.0)
    assert stats.skew == 50.0
    assert IntervalStats(template=1, count=1, first=0.0, last=0.0).skew is None


# Tracks


def test_a_track_is_thinned_and_loses_no_interval() -> None:
    rng = np.random.default_rng(8)
    events = series(np.sort(T0 + rng.uniform(0, 9 * DAY, 30_000))) + series([T0], template=9)
    thinned = tracks(frame(events), [7, 9], columns=50, rows=20)
    assert [one.template for one in thinned] == [7, 9]
    assert thinned[0].intervals == 29_999 == sum(many for _, _, many in thinned[0].points)
    assert len(thinned[0].points) <= 50 * 20
    assert [time for time, _, _ in thinned[0].points] == sorted(
        time for time, _, _ in thinned[0].points
    )
    assert (thinned[1].points, thinned[1].intervals) == ((), 0)


def test_dataclasses_are_plain() -> None:
    burst = Burst(
        template=1, start=0.0, end=1.0, lines=3, usual=1.0, factor=3.0, hosts=("a",), hosts_total=1
    )
    with pytest.raises(AttributeError):
        burst.lines = 4  # type: ignore[misc]
