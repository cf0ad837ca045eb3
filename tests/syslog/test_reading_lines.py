"""Headers of every format, what they mean, and lines that have none."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.syslog.reading.blocks import CONTEXT, LONGEST, Block
from triage.syslog.reading.lines import parse_block, read_lines
from triage.syslog.reading.years import plan_for
from triage.syslog.tables import LINES

END = datetime(2015, 11, 16, tzinfo=UTC).timestamp()
MOMENT = datetime(2015, 9, 26, 3, 0, 1, tzinfo=UTC)  # noon in Tokyo
PLAN = plan_for(END, "Asia/Tokyo", host="esx9")
NO_HOST = plan_for(END, "Asia/Tokyo")


def rows(*lines: bytes | str, plan=PLAN):
    """The rows of some lines as tuples (time in s, host, content, count)."""
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    frame = parse_block(b"\n".join(raw) + b"\n", plan)
    assert frame.schema == LINES
    assert len(frame) == len(lines)
    return [(t if t is None else t / 1000, *rest) for t, *rest in frame.rows()]


SAME = [
    "Sep 26 12:00:01 hv1 sshd[12]: hello there",
    "<34>Sep 26 12:00:01 hv1 sshd[12]: hello there",
    "<5>Sep 26 12:00:01 hv1 sshd[12]: hello there",
    "<191>Sep 26 12:00:01 hv1 sshd[12]: hello there",
    "Sep 26 2015 12:00:01 hv1 sshd[12]: hello there",
    "Sat Sep 26 12:00:01 hv1 sshd[12]: hello there",
    "Sep 26 12:00:01: hv1 sshd[12]: hello there",
    "Sep 26 12:00:01   hv1 sshd[12]: hello there",
    "2015-09-26T12:00:01+09:00 hv1 sshd[12]: hello there",
    "2015-09-26T12:00:01+0900 hv1 sshd[12]: hello there",
    "2015-09-26T12:00:01+09 hv1 sshd[12]: hello there",
    "2015-09-25T23:30:01-03:30 hv1 sshd[12]: hello there",
    "2015-09-26T03:00:01Z hv1 sshd[12]: hello there",
    "2015-09-26t03:00:01z hv1 sshd[12]: hello there",
    "<34>2015-09-26T03:00:01Z hv1 sshd[12]: hello there",
    "2015-09-26 12:00:01 hv1 sshd[12]: hello there",
    "2015-09-26 12:00:01 +0900 hv1 sshd[12]: hello there",
    "Sat 2015-09-26 12:00:01 JST hv1 sshd[12]: hello there",
    "Sat 2015-09-26 03:00:01 UTC hv1 sshd[12]: hello there",
    "1443236401 hv1 sshd[12]: hello there",
    "<34>1 2015-09-26T03:00:01Z hv1 sshd 12 - - hello there",
    "<34>1 2015-09-26T12:00:01+09:00 hv1 sshd 12 ID47 - hello there",
    "1 2015-09-26T03:00:01Z hv1 sshd 12 - - hello there",
    '<34>1 2015-09-26T03:00:01Z hv1 sshd 12 - [a@1 b="c"] hello there',
    '<34>1 2015-09-26T03:00:01Z hv1 sshd 12 - [a@1 b="c \\] \\" d" e=""][f] hello there',
    '<34>1 2015-09-26T03:00:01Z hv1 sshd 12 - [a@1 b="c"]  hello there',
    "<34>1 2015-09-26T03:00:01Z hv1 sshd 12 - - \ufeffhello there",
    "\0\0\0\0Sep 26 12:00:01 hv1 sshd[12]: hello there",
    "Sep 26 12:00:01 hv1 sshd[12]: hello there\r",
]


@pytest.mark.parametrize("line", SAME)
def test_the_same_message_is_the_same_row_whatever_its_header(line):
    assert rows(line) == [(MOMENT.timestamp(), "hv1", "sshd[12]: hello there", 1)]


def test_formats_may_be_mixed_in_a_file():
    mixed = SAME * 3
    random.Random(1).shuffle(mixed)
    assert set(rows(*mixed)) == set(rows(SAME[0]))


@pytest.mark.parametrize("day", ["Sep  6", "Sep 6", "Sep 06"])
def test_days_of_one_digit(day):
    assert rows(f"{day} 12:00:01 hv1 x: y")[0] == (
        datetime(2015, 9, 6, 3, 0, 1, tzinfo=UTC).timestamp(),
        "hv1",
        "x: y",
        1,
    )


@pytest.mark.parametrize(
    ("stamp", "millis"),
    [
        ("2015-09-26T12:00:01.123456+09:00", 123),
        ("2015-09-26T03:00:01.9Z", 900),
        ("2015-09-26T03:00:01.999999999Z", 999),
        ("2015-09-26 12:00:01,045", 45),
        ("Sep 26 12:00:01.250", 250),
        ("1443236401.001999", 1),
    ],
)
def test_fractions_are_cut_to_milliseconds(stamp, millis):
    assert rows(f"{stamp} h x: y")[0][0] == MOMENT.timestamp() + millis / 1000


ESX = [
    (
        "2015-09-26T03:00:01Z esx1 Hostd: info hostd[2099] [Originator@6876 sub=Vim] msg",
        "esx1",
        "Hostd: info hostd[2099] [Originator@6876 sub=Vim] msg",
    ),
    ("2015-09-26T03:00:01Z cpu4:2097)ScsiDeviceIO: 2:", None, "cpu4:2097)ScsiDeviceIO: 2:"),
    ("2015-09-26T03:00:01Z info hostd[2099] [sub=Vim] msg", None, "info hostd[2099] [sub=Vim] msg"),
    ("2015-09-26T03:00:01Z In(182) vmkernel[1]: x", None, "In(182) vmkernel[1]: x"),
    ("2015-09-26T03:00:01Z: [netCorrelator] 1us: x", None, "[netCorrelator] 1us: x"),
    ("Sep 26 12:00:01 kernel: x", None, "kernel: x"),
    ("Sep 26 12:00:01 su(pam_unix)[7]: x", None, "su(pam_unix)[7]: x"),
    ("Sep 26 12:00:01 [10.0.0.1] x: y", "[10.0.0.1]", "x: y"),
    ("Sep 26 12:00:01 2001:db8::1 x: y", "2001:db8::1", "x: y"),
    ("Sep 26 12:00:01 2001:db8:: x: y", "2001:db8::", "x: y"),
    ("Sep 26 12:00:01 info x: y", "info", "x: y"),
    ("Sep 26 12:00:01 - x: y", None, "x: y"),
    ("<3>1 2015-09-26T03:00:01Z - x - - - y", None, "x: y"),
    ("<3>1 2015-09-26T03:00:01Z hv1 - - - - y", "hv1", "y"),
    ("<3>1 2015-09-26T03:00:01Z hv1 x - - -", "hv1", "x: "),
    ("<3>1 2015-09-26T03:00:01Z hv1 x", "hv1", "x"),
    ("<3>1 2015-09-26T03:00:01Z hv1 x 1 - [broken y", "hv1", "x[1]: [broken y"),
    ("Sep 26 12:00:01 hv1", "hv1", ""),
    ("Sep 26 12:00:01", None, ""),
]


@pytest.mark.parametrize(("line", "host", "content"), ESX)
def test_hosts_and_contents(line, host, content):
    assert rows(line) == [(MOMENT.timestamp(), host or "esx9", content, 1)]
    if host is None:  # nothing tells it: broken, and kept
        assert rows(line, plan=NO_HOST) == [(None, None, line, 1)]


BROKEN = [
    "",
    " ",
    "garbage",
    "-- Logs begin at Sat 2015-09-26 --",
    "Feb 30 00:00:00 h x: y",
    "Sep 0 00:00:00 h x: y",
    "Sep 31 00:00:00 h x: y",
    "Sep 26 24:00:00 h x: y",
    "Sep 26 12:60:00 h x: y",
    "Sep 26 12:00:61 h x: y",
    "sep 26 12:00:00 h x: y",
    "Sep 26 12:00:0",
    "Sep 26 12:00:00x h x: y",
    "Feb 29 2015 00:00:00 h x: y",
    "2015-02-29T00:00:00Z h x: y",
    "2015-13-01T00:00:00Z h x: y",
    "2015-00-01T00:00:00Z h x: y",
    "9999-12-31T00:00:00Z h x: y",
    "0000-01-01T00:00:00Z h x: y",
    "99999999999 h x: y",
    "9999999999 h x: y",
    "<34>",
    "<34",
    "<1234>Sep 26 12:00:01 h x: y",
    "<34>1 - h x - - - y",
    "<34>1 Sep",
    "[  12.345678] kernel: no time of day",
    "\x01\x02\x7f\x1b[31mred",
]


@pytest.mark.parametrize("line", BROKEN)
def test_broken_lines_are_kept(line):
    assert rows(line) == [(None, None, line, 1)]


def test_what_was_wrong_is_counted():
    data = b"Sep 26 12:00:01 h caf\xe9: \xff\nbroken\n" + b"Sep 26 12:00:01 h x: " + b"z" * 20000
    found = read_lines(Block(path=None, number=0, offset=0, data=data, end=len(data)), PLAN)
    assert (found.broken, found.cut, found.undecodable) == (1, 1, 1)
    assert found.frame["content"][0] == "caf\ufffd: \ufffd"
    assert found.frame["content"][2] == "x: " + "z" * (LONGEST - 21)


def test_a_line_is_cut_between_characters():
    for shift in range(4):
        line = b"Sep 26 12:00:01 h x: " + b"a" * shift + "é漢".encode() * LONGEST
        (row,) = parse_block(line, PLAN).rows()
        assert "\ufffd" not in row[2]
        assert LONGEST - 25 <= len(row[2].encode()) <= LONGEST - 18


def test_nothing_gives_nothing():
    assert parse_block(b"", PLAN).schema == LINES
    assert len(parse_block(b"", PLAN)) == 0
    assert len(parse_block(b"\n\n\n", PLAN)) == 3


# Round trips

MOMENTS = st.datetimes(datetime(2014, 11, 20), datetime(2015, 11, 15)).map(
    lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000, tzinfo=UTC)
)
HOSTS = st.from_regex(r"[a-z][a-z0-9]{0,20}(\.[a-z0-9-]{1,20}){0,3}", fullmatch=True).filter(
    lambda host: (
        host not in {"last", "info", "warning", "error", "verbose", "trivia", "panic"}
        and host not in {"debug", "notice", "crit"}
    )
)
TAGS = st.from_regex(r"[A-Za-z][A-Za-z0-9_./-]{0,20}", fullmatch=True)
PIDS = st.none() | st.integers(0, 4_194_304)
MESSAGES = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r\x00\ufeff"), max_size=60
).filter(lambda text: "repeated" not in text and text == text.strip(" "))


def bsd(t, zone, host, tag, pid, message):
    local = t.astimezone(zone)
    stamp = f"{local:%b} {local.day:2d} {local:%H:%M:%S}"
    return t.replace(
        microsecond=0
    ), f"{stamp} {host} {tag}{f'[{pid}]' if pid is not None else ''}: {message}"


def with_priority(*args):
    t, line = bsd(*args)
    return t, "<13>" + line


def dated(t, zone, host, tag, pid, message):
    local = t.astimezone(zone)
    _, line = bsd(t, zone, host, tag, pid, message)
    return t.replace(microsecond=0), f"{local:%b %d %Y %H:%M:%S}" + line[15:]


def rfc5424(t, zone, host, tag, pid, message):
    stamp = t.astimezone(zone).isoformat(timespec="milliseconds")
    data = '[x@9 a="b\\]c"]' if len(message) % 2 else "-"
    return t, f"<165>1 {stamp} {host} {tag} {'-' if pid is None else pid} - {data} {message}"


def iso(t, zone, host, tag, pid, message):
    stamp = t.astimezone(zone).isoformat(timespec="microseconds")
    return t, stamp + bsd(t, zone, host, tag, pid, message)[1][15:]


def short_iso(t, zone, host, tag, pid, message):
    return t.replace(microsecond=0), f"{t.astimezone(zone):%Y-%m-%dT%H:%M:%S%z}" + bsd(
        t, zone, host, tag, pid, message
    )[1][15:]


def unix(t, zone, host, tag, pid, message):
    return t, f"{t.timestamp():.6f}" + bsd(t, zone, host, tag, pid, message)[1][15:]


FORMATS = [bsd, with_priority, dated, rfc5424, iso, short_iso, unix]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(FORMATS), MOMENTS, HOSTS, TAGS, PIDS, MESSAGES),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["UTC", "Asia/Tokyo", "Asia/Kolkata", "America/St_Johns"]),
)
def test_what_was_rendered_is_read(lines, name):
    zone = timezone(datetime(2015, 1, 1, tzinfo=ZoneInfo(name)).utcoffset())
    fixed = {"America/St_Johns": "Etc/GMT+3"}.get(name, name)  # clocks that never change
    zone = timezone(timedelta(hours=-3)) if fixed != name else zone
    rendered = [form(t, zone, *rest) for form, t, *rest in lines]
    data = "\n".join(line for _, line in rendered).encode()
    frame = parse_block(data, plan_for(END, fixed))
    expected = [
        (
            round(told.timestamp() * 1000),
            host,
            f"{tag}{f'[{pid}]' if pid is not None else ''}: {message}",
            1,
        )
        for (told, _), (_, _, host, tag, pid, message) in zip(rendered, lines, strict=True)
    ]
    assert frame.rows() == expected


HEADS = [
    b"",
    b"Sep 26 12:00:01 ",
    b"<13>1 2015-09-26T03:00:01Z ",
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"x\x9c",
]


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(HEADS) - 1))
def test_any_bytes_are_rows(data, head):
    data = HEADS[head] + data
    frame = parse_block(data, PLAN)
    assert len(frame) == data.count(b"\n") + (data[-1:] not in {b"", b"\n"})
    assert (frame["time"].is_null() == frame["host"].is_null()).all()
    assert frame["content"].null_count() == frame["count"].null_count() == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(SAME + BROKEN + [line for line, *_ in ESX]), max_size=12))
def test_a_row_depends_on_its_line_alone(lines):
    apart = [rows(line)[0] for line in lines]
    assert rows(*lines) == apart if lines else True


# Repeated messages


def test_last_message_repeated_is_the_hosts_last_message():
    told = rows(
        "Sep 26 12:00:01 a x: one",
        "Sep 26 12:00:01 b x: two",
        "Sep 26 12:00:02 a last message repeated 3 times",
        "Sep 26 12:00:03 a last message repeated 1 time",
        "Sep 26 12:00:03 b --- last message repeated 7 times ---",
        "Sep 26 12:00:03 c last message repeated 2 times",
        "Sep 26 12:00:03 b kernel: last message repeated 4 times",
        "Sep 26 12:00:03 b x: the last message repeated 4 times",
        "Sep 26 12:00:03 b last message repeated 99999999 times",
    )
    assert [row[2:] for row in told] == [
        ("x: one", 1),
        ("x: two", 1),
        ("x: one", 3),
        ("x: one", 1),
        ("x: two", 7),
        ("last message repeated 2 times", 1),
        ("x: two", 4),
        ("x: the last message repeated 4 times", 1),
        ("last message repeated 99999999 times", 1),
    ]


def test_message_repeated_holds_its_message():
    line = "Sep 26 12:00:01 a sshd[7]: message repeated 5 times: [ Failed [for] x]"
    assert rows(line)[0][2:] == ("sshd[7]: Failed [for] x", 5)
    later = rows(line, "Sep 26 12:00:02 a last message repeated 2 times")
    assert later[1][2:] == ("sshd[7]: Failed [for] x", 2)


def test_without_a_host_it_is_the_files():
    told = rows("Sep 26 12:00:01 x: one", "Sep 26 12:00:02 last message repeated 2 times")
    assert told[1][1:] == ("esx9", "x: one", 2)


def test_the_message_may_be_before_the_block():
    before = b"Sep 26 12:00:01 a x: one\nSep 26 12:00:01 b x: two\n"
    data = b"Sep 26 12:00:02 a last message repeated 3 times\n"
    frame = parse_block(data, PLAN, offset=len(before), before=before)
    assert frame.rows()[0][2:] == ("x: one", 3)
    assert parse_block(data, PLAN).rows()[0][2:] == ("last message repeated 3 times", 1)


@pytest.mark.parametrize(("between", "count"), [(CONTEXT - 25, 3), (CONTEXT - 24, 1)])
def test_a_message_too_far_back_is_not_meant(between, count):
    said = b"Sep 26 12:00:01 a x: one\n"
    other = b"broken\n" * (between // 7) + b"\n" * (between % 7)
    data = said + other + b"Sep 26 12:00:02 a last message repeated 3 times\n"
    assert parse_block(data, PLAN)["count"][-1] == count


def test_many_lines_agree_with_few():
    """Places near the end of the data, and runs of stamps, are read as any others."""
    lines = [
        f"Sep 26 12:{i // 60 % 60:02d}:{i % 60:02d} host{i % 7}.example app[{i}]: {'x' * (i % 90)}"
        for i in range(3000)
    ]
    whole = parse_block("\n".join(lines).encode(), PLAN)
    parts = [parse_block("\n".join(lines[i : i + 7]).encode(), PLAN) for i in range(0, 3000, 7)]
    assert whole.equals(pl.concat(parts))
    assert np.unique(whole["time"].to_numpy()).size == 3000
