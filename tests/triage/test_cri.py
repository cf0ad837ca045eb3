"""The prefixes of log sources."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.cri import JOIN_SECONDS, Joiner, Line, lines, parse_time, take_apart

AT = 1_700_560_800.0  # 2023-11-21T10:00:00Z
T0 = b"2023-11-21T10:00:00.25Z"
T1 = b"2023-11-21T10:00:01Z"
LATE = b"2023-11-21T10:05:00Z"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"plain", Line(None, "", "plain")),
        (b"", Line(None, "", "")),
        (T0 + b" text", Line(AT + 0.25, "", "text")),
        (T0 + b" ", Line(AT + 0.25, "", "")),
        (T0, Line(AT + 0.25, "", "")),
        (T0 + b" stdout F text", Line(AT + 0.25, "stdout", "text")),
        (T0 + b" stderr F ", Line(AT + 0.25, "stderr", "")),
        (T0 + b" stdout F:tag text", Line(AT + 0.25, "stdout", "text")),
        (T1 + b" " + T0 + b" stdout F text", Line(AT + 0.25, "stdout", "text")),
        (T0 + b" " + T1 + b" own time", Line(AT + 0.25, "", "2023-11-21T10:00:01Z own time")),
        (b"2023-11-21T12:00:00.25+02:00 stdout F x", Line(AT + 0.25, "stdout", "x")),
        (
            b'{"log":"text\\n","stream":"stderr","time":"2023-11-21T10:00:00.25Z"}',
            Line(AT + 0.25, "stderr", "text"),
        ),
        (
            T1 + b' {"log":"text\\n","stream":"stderr","time":"2023-11-21T10:00:00.25Z"}',
            Line(AT + 0.25, "stderr", "text"),
        ),
        (T0 + b' {"level":"info"}', Line(AT + 0.25, "", '{"level":"info"}')),
        (b'{"log":1,"stream":"stdout"}', Line(None, "", '{"log":1,"stream":"stdout"}')),
        (b"2023-13-21T10:00:00Z text", Line(None, "", "2023-13-21T10:00:00Z text")),
        (b"2023-02-30T10:00:00Z text", Line(None, "", "2023-02-30T10:00:00Z text")),
        (T0 + b" stdout text", Line(AT + 0.25, "", "stdout text")),
        (T0 + b" \xff\xfe", Line(AT + 0.25, "", "\ufffd\ufffd")),
        (T0 + b" text\r\n", Line(AT + 0.25, "", "text")),
    ],
)
def test_prefixes(raw: bytes, expected: Line) -> None:
    assert list(lines([raw])) == [expected]


def test_pieces_are_joined_by_stream() -> None:
    raws = [
        T0 + b" stdout P one ",
        T0 + b" stderr F other",
        T0 + b" stdout P two ",
        T0 + b" stdout F three",
    ]
    assert list(lines(raws)) == [
        Line(AT + 0.25, "stderr", "other"),
        Line(AT + 0.25, "stdout", "one two three"),
    ]


def test_docker_pieces_are_joined() -> None:
    pieces = [b'{"log":"one ","stream":"stdout"}', b'{"log":"two\\n","stream":"stdout"}']
    assert list(lines(pieces)) == [Line(None, "stdout", "one two")]


def test_a_lost_end_swallows_nothing_that_comes_later() -> None:
    raws = [T0 + b" stdout P half", LATE + b" stdout F whole", LATE + b" stdout F next"]
    assert list(lines(raws)) == [
        Line(AT + 0.25, "stdout", "half", cut=True),
        Line(AT + 300, "stdout", "whole"),
        Line(AT + 300, "stdout", "next"),
    ]
    assert JOIN_SECONDS < 300


def test_an_unfinished_line_is_given_at_the_end() -> None:
    assert list(lines([T0 + b" stdout P half"])) == [Line(AT + 0.25, "stdout", "half", cut=True)]


def test_endless_pieces_hold_no_more_than_the_bound() -> None:
    joiner = Joiner(limit=100)
    for _ in range(1000):
        assert joiner.feed(T0 + b" stdout P " + b"x" * 30) == []
    (line,) = joiner.feed(T0 + b" stdout F end")
    assert line == Line(AT + 0.25, "stdout", "x" * 100, cut=True)
    assert joiner.feed(T0 + b" stdout F next") == [Line(AT + 0.25, "stdout", "next")]


def test_an_over_long_line_is_cut() -> None:
    (line,) = lines([b"x" * 200], limit=100)
    assert line == Line(None, "", "x" * 100, cut=True)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)))
def test_times_come_back(time: datetime) -> None:
    time = time.replace(tzinfo=UTC)
    found = parse_time(time.isoformat().replace("+00:00", "Z").encode())
    assert found == pytest.approx(time.timestamp(), abs=1e-5)


@given(
    st.text(alphabet=st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])),
    st.lists(st.integers(0, 50), max_size=4),
    st.sampled_from(["stdout", "stderr"]),
)
def test_what_a_runtime_writes_comes_back(text: str, cuts: list[int], stream: str) -> None:
    octets = text.encode()
    places = sorted({min(cut, len(octets)) for cut in cuts} | {0})
    parts = [octets[a:b] for a, b in zip(places, [*places[1:], len(octets)], strict=True)]
    tags = [b"P"] * (len(parts) - 1) + [b"F"]
    prefix = T0 + b" " + stream.encode() + b" "
    raws = [prefix + tag + b" " + part for tag, part in zip(tags, parts, strict=True)]
    assert list(lines(raws)) == [Line(AT + 0.25, stream, text)]
    docker = json.dumps({"log": text + "\n", "stream": stream, "time": T0.decode()})
    assert list(lines([docker.encode()])) == [Line(AT + 0.25, stream, text)]


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_nothing_raises_and_nothing_grows(raws: list[bytes]) -> None:
    found = list(lines(raws, limit=50))
    assert all(len(line.text) <= 50 for line in found)
    assert len(found) <= len(raws)


@given(st.binary())
def test_any_octets_are_taken_apart(raw: bytes) -> None:
    assert take_apart(raw).stream in ("", "stdout", "stderr")
