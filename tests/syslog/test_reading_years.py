"""The years of stamps without one: New Year, leap days, clocks going back, files out of order."""

from __future__ import annotations

import gzip
import os
import pickle
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.syslog.reading.blocks import read_blocks
from triage.syslog.reading.lines import parse_block, read_lines
from triage.syslog.reading.unpack import ReadError
from triage.syslog.reading.years import plan_for, plan_years


def stamp(local: datetime) -> str:
    return f"{local:%b} {local.day:2d} {local:%H:%M:%S}"


def write(path, moments, zone="UTC", *, padding=""):
    local = (moment.astimezone(ZoneInfo(zone)) for moment in moments)
    path.write_text("".join(f"{stamp(t)} h x: {i}{padding}\n" for i, t in enumerate(local)))
    return path


def read(path, end, zone="UTC", block_bytes=32 << 20):
    plan = pickle.loads(pickle.dumps(plan_years(path, end.timestamp(), zone)))  # noqa: S301
    return [
        None if time is None else datetime.fromtimestamp(time / 1000, UTC)
        for block in read_blocks(path, block_bytes=block_bytes)
        for time in read_lines(block, plan).frame["time"]
    ]


def t(*args) -> datetime:
    return datetime(*args, tzinfo=UTC)


TABLE = {
    "one day": [t(2015, 9, 26, 1), t(2015, 9, 26, 2)],
    "new year": [t(2015, 12, 31, 23, 59, 59), t(2016, 1, 1)],
    "skew around new year": [
        t(2015, 12, 31, 23, 58),
        t(2016, 1, 1, 0, 1),
        t(2015, 12, 31, 23, 59, 30),
        t(2016, 1, 1, 0, 2),
        t(2015, 12, 31, 23, 57),
        t(2016, 1, 1, 0, 3),
    ],
    "leap day": [t(2016, 2, 28), t(2016, 2, 29), t(2016, 3, 1)],
    "four years": [t(2012, 1, 1) + timedelta(days=45 * i) for i in range(33)],
    "three years, monthly": [t(2013, 5, 3) + timedelta(days=30.4 * i) for i in range(36)],
    "half a year of silence": [
        *(t(2014, 1, 1) + timedelta(days=i) for i in range(60)),
        *(t(2014, 8, 20) + timedelta(days=i) for i in range(60)),
    ],
    "few lines a year": [
        t(2011, 3, 1),
        t(2011, 8, 20),
        t(2012, 4, 2),
        t(2013, 1, 9),
        t(2013, 12, 1),
    ],
}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("late", [0, 100])
@pytest.mark.parametrize("packed", [False, True])
def test_years(tmp_path, name, late, packed):
    moments = TABLE[name]
    path = write(tmp_path / "h.log", moments)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    assert read(path, max(moments) + timedelta(days=late)) == moments


def test_the_end_is_the_time_of_modification(tmp_path):
    path = write(tmp_path / "h.log", [t(2009, 12, 31), t(2010, 1, 2)])
    os.utime(path, (0, t(2010, 2, 1).timestamp()))
    frame = parse_block(path.read_bytes(), plan_years(path))
    assert frame["time"][1] == t(2010, 1, 2).timestamp() * 1000


def test_gzip_tells_when_its_file_was_modified(tmp_path):
    path = write(tmp_path / "h.log", [t(2009, 12, 31), t(2010, 1, 2)])
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=int(t(2010, 1, 3).timestamp())))
    os.utime(path, (0, t(2020, 2, 1).timestamp()))
    (block,) = read_blocks(path)
    assert read_lines(block, plan_years(path)).frame["time"][1] == t(2010, 1, 2).timestamp() * 1000


def test_a_leap_day_moves_a_file_whose_end_is_wrong(tmp_path):
    moments = [t(2012, 2, 28), t(2012, 2, 29), t(2012, 3, 1)]
    assert read(write(tmp_path / "h.log", moments), t(2015, 11, 1)) == moments


def test_a_line_may_be_a_little_after_the_end(tmp_path):
    moments = [t(2015, 12, 30), t(2016, 1, 1, 3)]
    assert read(write(tmp_path / "h.log", moments), t(2015, 12, 31, 12)) == moments


def test_joined_in_the_wrong_order(tmp_path):
    """messages, messages.1, messages.2: each a week, the newest first."""
    weeks = [[t(2015, 10, day) + timedelta(hours=i) for i in range(160)] for day in (20, 10, 1)]
    moments = [moment for week in weeks for moment in week]
    assert read(write(tmp_path / "h.log", moments), t(2015, 11, 1)) == moments


def test_several_hosts_joined(tmp_path):
    months = [t(2015, 9, 26) + timedelta(hours=i) for i in range(24 * 52)]
    assert read(write(tmp_path / "h.log", months * 3), t(2015, 11, 20)) == months * 3


def test_new_year_in_a_large_file_is_found_without_reading_it(tmp_path, monkeypatch):
    moments = [t(2013, 11, 1) + timedelta(hours=6 * i) for i in range(6000)]
    path = write(tmp_path / "h.log", moments, padding="." * 1500)
    assert path.stat().st_size > 8 << 20
    read_bytes = 0

    def opened(path):
        file = path.open("rb")
        plain = file.read

        class Counting:
            seek, fileno, __enter__ = file.seek, file.fileno, lambda self: self

            def read(self, size):
                nonlocal read_bytes
                read_bytes += size
                return plain(size)

            def __exit__(self, *_):
                file.close()

        return Counting()

    monkeypatch.setattr("triage.syslog.reading.years.opened", opened)
    plan = plan_years(path, moments[-1].timestamp())
    monkeypatch.undo()
    assert len(plan.stretches) > 4
    assert read_bytes < 2048 * 4096 + (1 << 20)
    assert read(path, moments[-1], block_bytes=1 << 20) == moments


def test_years_do_not_depend_on_blocks(tmp_path):
    moments = [t(2013, 11, 1) + timedelta(hours=7 * i, minutes=-i % 9) for i in range(3000)]
    path = write(tmp_path / "h.log", moments, padding="." * 40)
    assert read(path, moments[-1], block_bytes=16 << 10) == moments


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(datetime(1999, 1, 1), datetime(2030, 1, 1)).map(lambda x: x.replace(tzinfo=UTC)),
    st.lists(st.integers(0, 20 * 86400), min_size=1, max_size=120),
    st.integers(0, 360 * 86400),
    st.randoms(use_true_random=False),
)
def test_any_file_without_a_long_silence_is_dated(tmp_path_factory, start, gaps, late, rng):
    moments, now = [], start.replace(microsecond=0)
    for gap in gaps:
        now += timedelta(seconds=gap)
        moments.append(now + timedelta(seconds=rng.randrange(-300, 300)))
    path = write(tmp_path_factory.mktemp("years") / "h.log", moments)
    leap = any((m.month, m.day) == (2, 29) for m in moments)
    end = max(moments) + timedelta(seconds=0 if leap else min(late, 355 * 86400))
    assert read(path, end) == moments


def test_lines_being_written():
    plan = plan_for(t(2016, 1, 1, 0, 5).timestamp())
    frame = parse_block(b"Dec 31 23:59:00 h x: y\nJan  1 00:04:00 h x: y\n", plan)
    assert frame["time"].to_list() == [
        t(2015, 12, 31, 23, 59).timestamp() * 1000,
        t(2016, 1, 1, 0, 4).timestamp() * 1000,
    ]


# Clocks


ZONES = {
    "Europe/Berlin": t(2015, 10, 25, 1),
    "America/New_York": t(2015, 11, 1, 6),
    "Australia/Lord_Howe": t(2015, 4, 4, 15),  # by half an hour
    "America/Santiago": t(2014, 4, 27, 3),  # at midnight
}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("step", [7, 60, 600])
def test_the_hour_that_occurs_twice(tmp_path, zone, step):
    back = ZONES[zone]
    start = back - timedelta(hours=5)
    moments = [start + timedelta(seconds=step * i) for i in range(10 * 3600 // step)]
    path = write(tmp_path / "h.log", moments, zone)
    assert read(path, moments[-1], zone) == moments
    assert read(path, moments[-1], zone, block_bytes=16 << 10) == moments


def test_the_hour_that_occurs_twice_two_years_running(tmp_path):
    moments = [t(2013, 10, 1) + timedelta(minutes=20 * i) for i in range(3 * 24 * 400)]
    path = write(tmp_path / "h.log", moments, "Europe/Berlin")
    assert read(path, moments[-1], "Europe/Berlin") == moments


def test_the_hour_that_occurs_twice_with_clocks_that_differ(tmp_path):
    rng = random.Random(3)
    back = t(2015, 10, 25, 1)
    moments = [
        back + timedelta(seconds=10 * i - 7200 + rng.choice([0, -20, 30])) for i in range(1440)
    ]
    found = read(
        write(tmp_path / "h.log", moments, "Europe/Berlin"), t(2015, 11, 1), "Europe/Berlin"
    )
    wrong = [i for i, (a, b) in enumerate(zip(found, moments, strict=True)) if a != b]
    assert all(abs(moments[i] - back) < timedelta(minutes=1) for i in wrong)


def test_the_hour_that_does_not_exist():
    """A clock that was set late: 02:30 is 03:30."""
    plan = plan_for(t(2015, 6, 1).timestamp(), "Europe/Berlin")
    frame = parse_block(b"Mar 29 01:59:59 h x:\nMar 29 02:30:00 h x:\nMar 29 03:30:00 h x:\n", plan)
    assert frame["time"].to_list() == [
        1000 * t(2015, 3, 29, *clock).timestamp() for clock in ((0, 59, 59), (1, 30), (1, 30))
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(datetime(1975, 1, 1), datetime(2037, 1, 1)),
    st.sampled_from(["Asia/Tokyo", "Europe/London", "America/Sao_Paulo", "Pacific/Apia"]),
)
def test_local_times_are_pythons(local, zone):
    local = local.replace(microsecond=0)
    frame = parse_block(f"{local:%Y-%m-%d %H:%M:%S} h x: y".encode(), plan_for(0, zone))
    expected = local.replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000
    assert frame["time"][0] == expected


def test_no_such_zone(tmp_path):
    path = write(tmp_path / "h.log", [t(2015, 1, 1)])
    for name in ("Mars/Olympus", "../../etc/passwd", ""):
        with pytest.raises(ReadError, match="is no time zone"):
            plan_years(path, 0, name)
    with pytest.raises(ReadError, match="no such file"):
        plan_years(tmp_path / "none")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["Jan  1", "Feb 29", "Jun 30", "Dec 31", "Feb 31"]), max_size=30))
def test_absurd_files_are_planned(tmp_path_factory, days):
    path = tmp_path_factory.mktemp("absurd") / "h.log"
    path.write_text("".join(f"{day} 00:00:00 h x: y\n" for day in days))
    for end in (None, -1e18, 0.0, 1e18):
        plan = plan_years(path, end, "Europe/Berlin")
        assert len(parse_block(path.read_bytes(), plan)) == len(days)
