"""Reading whole files gives what reading line by line gives."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.triage.test_proxylog_formats import SANE, printed
from triage.assembly import PATIENCE, assemble
from triage.config import load
from triage.cri import Joiner
from triage.evidence import ProxyRequest, ProxyRole, Target, Window
from triage.proxylog import bulk
from triage.proxylog.formats import ENVOY_TEXT, ISTIO_JSON, ISTIO_TEXT, compile_format
from triage.sources.files import FileSource
from triage.sources.logs import LogRef
from triage.sources.proxy import Collector, ProxySettings

DOCUMENT = json.loads((Path(__file__).parent / "data/envoy/recordings.json").read_text())
TARGET = Target(name="front", path="/ok/503")
STAMP = "2023-11-21T10:00:00.123Z"


def collector(form: Any, target: Target, window: Window) -> Collector:
    return Collector(
        compile_format(form), target, window, ProxySettings(format=form), ProxyRole.SIDECAR, "pod"
    )


def both(paths: list[str], form: Any, window: Window, target: Target = TARGET) -> Any:
    """What the two ways give, in a form that compares; the bulk way's first."""
    one = collector(form, target, window)
    bulk.collect(paths, form, target, window, one, written_late=float("inf"))
    other = collector(form, target, window)
    joiner = Joiner()
    for path in paths:
        with bulk.open_log(path) as file:
            for raw in file.read().split(b"\n"):
                for line in joiner.feed(raw) if raw else ():
                    other.take(line)
        for line in joiner.flush():
            other.take(line)
    return shown(one), shown(other)


def shown(one: Collector) -> dict[str, Any]:
    gathered = one.gathered
    return {
        "counts": (gathered.in_window, gathered.others_failed, gathered.unparsed),
        "parsed": gathered.parsed,
        "candidates": sorted(gathered.candidates, key=_key),
        "errors": gathered.errors,
    }


def _key(one: ProxyRequest) -> tuple[float, str]:
    return one.time, one.raw


def times(form: str) -> Window:
    found = [
        request.time
        for record in DOCUMENT["recordings"]
        if (request := compile_format(form).parse(record["lines"]["istio"])) is not None
    ]
    middle = sorted(found)[len(found) // 2]
    return Window(start=middle - 3.0, end=middle + 3.0)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("recorded")
    paths = {}
    for form in ("istio", "istio_json", "custom", "typed_json"):
        lines = [record["lines"][form] for record in DOCUMENT["recordings"]]
        path = folder / form
        path.write_bytes(
            "\n".join([*lines, "what is this?", ""]).encode("utf-8", "surrogateescape")
        )
        paths[form] = str(path)
    return paths


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("istio", "auto"),
        ("istio", "istio"),
        ("istio_json", "auto"),
        ("custom", DOCUMENT["custom"]),
        ("typed_json", DOCUMENT["typed_json"]),
    ],
)
def test_recordings(recorded: dict[str, str], name: str, form: Any) -> None:
    everything = Window(start=0.0, end=1e11)
    for window in (everything, times("istio"), Window(start=0.0, end=1.0)):
        one, other = both([recorded[name]], form, window)
        assert one == other
    one, _ = both([recorded[name]], form, everything)
    assert one["parsed"] == len(DOCUMENT["recordings"])
    assert one["counts"][2] == 1
    assert one["candidates"]


PREFIXES = [
    "",
    "2023-11-21T10:00:01.5Z ",
    "2023-11-21T10:00:01.5Z stdout F ",
    "2023-11-21T10:00:01.5+00:00 stderr F ",
    "2023-11-21T10:00:01.5Z stdout P ",
    "2023-11-31T10:00:01.5Z stdout F ",
    "2023-11-21T10:00:01.5Z 2023-11-21T10:00:01.5Z stdout F ",
]
STAMPS = [
    STAMP, "2023-11-21T09:59:59.999Z", "2023-11-21T10:00:05Z", "2023-11-21T10:00:05.001Z",
    "2023-11-21T10:00:00.122999999Z", "2023-11-21T10:00:60.5Z", "2023-13-21T10:00:01.000Z",
    "2023-02-30T10:00:01.000Z", "2023-11-21T10:00:01.000+00:00", "-",
]  # fmt: skip
PARTS: dict[str, list[Any]] = {
    "stamp": STAMPS,
    "method": ["GET", "POST", None, "a b", '"'],
    "path": ["/ok/503", "/x", '/"', '/" "', "/a b", "/\u00e9", None],
    "protocol": ["HTTP/1.1", None, "HTTP/\u0661", "TCP"],
    "status": [0, 0, 200, 200, 101, 301, 404, 408, 503, 504, None, 99999, "\u0661"],
    "flags": [[], [], [], ["UF"], ["DC"], ["UPE"], ["DI"], ["SI"], ["URX", "UF"], ["\u00e9"]],
    "details": [
        "via_upstream", "via_upstream", None, "", "a{b c}", "x\u00e9", "rbac[a[b]]",
        "downstream_remote_disconnect", "no_healthy_upstream", "stream_idle_timeout",
    ],
    "termination_details": [None, None, None, "a b", "", "rbac_access_denied_matched_policy[a]"],
    "transport_failure": [None, "TLS error", '"', ""],
    "duration_ms": [0, 5, None, "x", "\u0665", -1],
    "upstream_service_ms": [None, 3],
    "upstream_host": [None, "192.0.2.1:80"],
    "user_agent": ["Blackbox-Exporter/0.25.0", "curl/8", "", None, 'a"b', "\u00e9", '" "', "\r",
                   'x" "y" "z', "\n", "x" * 600 + "blackbox exporter", "\\"],
    "request_id": [None, "id", '"'],
    "route": [None, "default", "a b", 'x"', "", "x\r", "x\r\r"],
}  # fmt: skip
NOISE = [
    b"", b"\r", b'"' * 14, b'"' * 15, b"\xff\xfe", b"text", b"\0", b"{}", b'{"log":"x"}', b"{",
    b'"',
    b"[2023-11-21 10:00:02.123][15][warning][config] [x.cc:1] closed",
    b'[2023-11-21T10:00:00.123Z] "GET /x HTTP/1.1" 200 - via_upstream - "-" 0 5 1 - "-" "curl',
    b'{"log":"[2023-11-21T10:00:00.123Z] \\"GET ","stream":"stdout","time":"2023-11-21T10:00:00Z"}',
]  # fmt: skip
LINES: list[tuple[Any, str]] = [
    ("auto", ISTIO_TEXT), ("istio", ISTIO_TEXT), ("envoy", ENVOY_TEXT),
    (DOCUMENT["custom"], DOCUMENT["custom"]),
    ('%START_TIME% "%REQ(USER-AGENT)%" %RESPONSE_CODE%',) * 2,
    ("a=%START_TIME%;b=%REQ(:PATH)%;c=%RESPONSE_FLAGS%;d=%REQ(USER-AGENT)%;e=%RESPONSE_CODE%",) * 2,
]  # fmt: skip
"""Format as configured, and what is printed."""


def random_values(rng: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(SANE) | {"status": 200, "method": "GET", "path": "/x"}
    values |= {"flags": [], "protocol": "HTTP/2", "stamp": STAMP, "details": "via_upstream"}
    for name in [*rng.sample(sorted(PARTS), rng.randrange(4)), "user_agent", "stamp"]:
        values[name] = rng.choice(PARTS[name][:3] if rng.random() < 0.5 else PARTS[name])
    return values


def framed(line: str, rng: random.Random, prefixes: list[str]) -> bytes:
    """A line, or noise, with a prefix; at times it has lost its end, newline and all."""
    if rng.random() < 0.1:
        return rng.choice(NOISE) + b"\n"
    data = (rng.choice(prefixes) + line).encode("utf-8", "surrogateescape")
    if rng.random() < 0.05:
        return data[: rng.randrange(len(data))]
    return data.replace(b"a", b"\xff") + b"\n" if rng.random() < 0.05 else data + b"\n"


def some(prefixes: list[str], rng: random.Random) -> list[str]:
    """Mostly one of them: a log has one writer."""
    return prefixes if rng.random() < 0.3 else [rng.choice(prefixes[:4])]


def line_of(form: str, values: dict[str, Any]) -> str:
    """What a format prints, operators that `printed` does not know included."""
    for operator, other in (
        (r"%START_TIME\([^)]*\)%", "%START_TIME%"),
        ("%RESPONSE_FLAGS_LONG%", "%RESPONSE_FLAGS%"),
        (r"%(?:UPSTREAM_REQUEST_ATTEMPT_COUNT|COMMON_DURATION\([^)]*\))%", "5"),
        (r"%DYNAMIC_METADATA\([^)]*\)%", "-"),
    ):
        form = re.sub(operator, other, form)
    return printed(form, values)


WINDOWS = [
    Window(start=1_700_560_800.0, end=1_700_560_805.0),
    Window(start=1_700_560_800.123, end=1_700_560_800.123),
    Window(start=0.0, end=1e11),
    Window(start=0.0, end=1.0),
]
RANDOM = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize(("form", "source"), LINES)
@RANDOM
@given(st.integers(0, 2**32), st.sampled_from(WINDOWS), st.sampled_from([300, 5000, 64 * 1024]))
def test_random_lines(
    tmp_path: Path, form: Any, source: str, seed: int, window: Window, block: int
) -> None:
    rng = random.Random(seed)
    prefixes = some(PREFIXES, rng)
    epochs = source == DOCUMENT["custom"]
    lines = []
    for _ in range(rng.randrange(60)):
        values = random_values(rng)
        if epochs:
            values["stamp"] = rng.choice(
                ["1700560800.123000", "1700560799.999999", "-", "17005608x"]
            )
        lines.append(framed(line_of(source, values), rng, prefixes))
    path = tmp_path / "access.log"
    path.write_bytes(b"".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "BLOCK", block)
        patch.setattr(Collector, "ROOM", rng.choice([0, 2, 2000]))
        one, other = both([str(path)], form, window)
    assert one == other


ODD = [
    '"x\\ud800"', '"\\u0041"', "1e999", "true", "[]", "{}", "null", "503", "200.0", '"200"', "-1",
    "10" * 200, '"a\\"b"', '"\x01"', "nul", '""', '"-"', '"2023-11-21T10:00:00.123Z"',
    "1700560800.2",
]  # fmt: skip


def random_json(form: dict[str, Any], rng: random.Random) -> str:
    """An object of the format, as Envoy writes it; at times with something odd in it."""
    values = random_values(rng)

    def filled(form: dict[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for key, operator in form.items():
            if isinstance(operator, dict):
                row[key] = filled(operator)
                continue
            text = line_of(operator, values)
            row[key] = int(text) if text.isascii() and text.isdigit() else text
            if text == "-" and "FLAGS" not in operator:
                row[key] = None
        return row

    row = filled(form)
    if rng.random() < 0.1:
        row.pop(rng.choice(list(row)))
    text = json.dumps(row, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.2:
        key = rng.choice([*row, "status", "x", "log", "Status", "response-flags"])
        text = text[:-1] + f", {json.dumps(key)}: {rng.choice(ODD)}}}"
    return text + " " * rng.choice([0, 0, 1])


OBJECTS = [
    ("auto", ISTIO_JSON), ("json", ISTIO_JSON), (ISTIO_JSON, ISTIO_JSON),
    (DOCUMENT["typed_json"], DOCUMENT["typed_json"]),
]  # fmt: skip


@pytest.mark.parametrize(("form", "source"), OBJECTS)
@RANDOM
@given(st.integers(0, 2**32), st.sampled_from(WINDOWS))
def test_random_objects(tmp_path: Path, form: Any, source: Any, seed: int, window: Window) -> None:
    rng = random.Random(seed)
    prefixes = some(PREFIXES, rng)
    path = tmp_path / "access.log"
    path.write_bytes(
        b"".join(framed(random_json(source, rng), rng, prefixes) for _ in range(rng.randrange(40)))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collector, "ROOM", rng.choice([0, 2, 2000]))
        one, other = both([str(path)], form, window)
    assert one == other


@pytest.mark.parametrize("prefix", PREFIXES[:4])
@pytest.mark.parametrize(
    "form",
    ["auto", "istio", "envoy", DOCUMENT["custom"], "json", ISTIO_JSON, DOCUMENT["typed_json"]],
)
def test_what_does_not_matter_is_not_parsed(tmp_path: Path, form: Any, prefix: str) -> None:
    """Other clients' good requests, and their failed ones once enough of these are kept."""
    sources = {"auto": ISTIO_TEXT, "istio": ISTIO_TEXT, "envoy": ENVOY_TEXT, "json": ISTIO_JSON}
    source: Any = sources.get(form, form) if isinstance(form, str) else form
    values = dict.fromkeys(SANE) | {
        "stamp": STAMP, "status": 200, "flags": [], "method": "GET", "path": "/x?a=b",
        "user_agent": "curl/8", "protocol": "HTTP/1.1", "details": "via_upstream", "bytes_sent": 5,
    }  # fmt: skip

    def line(**other: Any) -> str:
        if isinstance(source, str):
            return prefix + line_of(source, values | other)
        rows = {"stamp": STAMP, **values, **other}
        return prefix + json.dumps(_object(source, rows))

    if form == DOCUMENT["custom"]:
        values["stamp"] = "1700560800.123000"
    failed = line(status=503, flags=["UF"], details=None)
    path = tmp_path / "access.log"
    path.write_text("".join(f"{one}\n" for one in [*[line()] * 40, failed, *[line()] * 40, failed]))
    everything = Window(start=0.0, end=1e11)
    sink = collector(form, TARGET, everything)
    taken = []
    counted = sink.take

    def take(one: Any) -> None:
        taken.append(one)
        counted(one)

    sink.take = take  # type: ignore[method-assign]
    bulk.collect([str(path)], form, TARGET, everything, sink)
    assert [one.text for one in taken] == [failed.removeprefix(prefix)] * 2
    assert (sink.gathered.in_window, sink.gathered.others_failed) == (82, 2)
    taken.clear()
    sink._room[False] = 0
    bulk.collect([str(path)], form, TARGET, everything, sink)
    assert not taken
    assert (sink.gathered.in_window, sink.gathered.others_failed) == (164, 4)


def _object(form: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, operator in form.items():
        if isinstance(operator, dict):
            row[key] = _object(operator, values)
        else:
            text = line_of(operator, values)
            row[key] = None if text == "-" and "FLAGS" not in operator else text
    return row


def test_reading_stops_when_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sorted_log(path, 2000)
    window = Window(start=0.0, end=1e11)
    sink = collector("istio", TARGET, window)
    asked = iter([False, False, True])
    bulk.collect([str(path)], "istio", TARGET, window, sink, stopped=lambda: next(asked))
    assert 0 < sink.gathered.parsed < 1500
    assert list(asked) == []


def test_a_format_that_begins_with_its_time(tmp_path: Path) -> None:
    """The time looks like a log source's prefix; it is the request's own all the same."""
    form = "%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS%"
    path = tmp_path / "access.log"
    line = f"{STAMP} GET /ok/503 503 UF"
    path.write_text(
        f"{line}\n2023-11-21T10:00:09.5Z stdout F {line}\n2023-11-21T10:00:09Z {line}\n"
    )
    one, other = both([str(path)], form, Window(start=0.0, end=1e11))
    assert one == other
    assert [found.time for found in one["candidates"]] == [1_700_560_800.123] * 3
    assert [found.status for found in one["candidates"]] == [503] * 3


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["response_code", "user_agent", "start_time", "duration", "path"])
def test_odd_members_raise_nothing(key: str, odd: str) -> None:
    text = f'{{"response_flags": "-", "start_time": "{STAMP}", "response_code": 1, "{key}": {odd}}}'
    for form in ("auto", "json", ISTIO_JSON):
        compile_format(form).parse(text)


def sorted_log(path: Path, count: int, step: float = 1.0) -> None:
    """`count` requests, one each `step` seconds from 10:00 on, with lines out of order by a few."""
    rng = random.Random(1)
    rows = []
    for index in range(count):
        began = 36_000 + index * step
        took = rng.choice([1, 5, 2500])
        hour, rest = divmod(began, 3600)
        stamp = f"2023-11-21T{int(hour):02}:{int(rest // 60):02}:{rest % 60:06.3f}Z"
        agent = "Blackbox-Exporter/0.25.0" if index % 50 == 0 else "curl/8"
        values = dict.fromkeys(SANE) | {
            "stamp": stamp, "status": 503, "flags": ["UF"], "method": "GET", "path": "/ok/503",
            "user_agent": agent, "duration_ms": took, "protocol": "HTTP/1.1", "bytes_sent": index,
        }  # fmt: skip
        rows.append((began + took / 1000, printed(ISTIO_TEXT, values)))
    rows.sort()
    path.write_text("".join(f"{line}\n" for _, line in rows))


def test_a_sorted_file_is_entered_near_the_window(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sorted_log(path, 8000)
    window = Window(start=1_700_560_800.0 + 6000, end=1_700_560_800.0 + 6030)
    form = compile_format("istio")
    with path.open("rb") as file:
        at = bulk.entry(file, form, window.start)
        file.seek(at)
        first = form.parse(file.readline().decode())
    assert at > path.stat().st_size // 2
    assert first is not None
    assert first.end < window.start
    one, other = both([str(path)], "istio", window)
    assert one["counts"] == other["counts"]
    assert one["candidates"] == other["candidates"]
    assert one["counts"][0] == 31


def test_an_unsorted_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    sorted_log(path, 4000)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[2000:] + lines[:2000]))
    with path.open("rb") as file:
        assert bulk.entry(file, compile_format("istio"), 1_700_560_800.0 + 3900) == 0


def test_an_unsorted_file_is_read_to_its_end(tmp_path: Path) -> None:
    """What it begins with may all be later than the window."""
    path = tmp_path / "access.log"
    sorted_log(path, 4000)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[2000:] + lines[:2000]))
    sink = collector("istio", TARGET, Window(start=1_700_560_800.0, end=1_700_560_805.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "CHUNK", 64 * 1024)
        window = Window(start=1_700_560_800.0, end=1_700_560_805.0)
        bulk.collect([str(path)], "istio", TARGET, window, sink)
    assert sink.gathered.in_window == 6


@pytest.mark.asyncio
async def test_a_cancelled_look_stops_its_reading(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("x\n")
    reading, ended = threading.Event(), threading.Event()

    def collect(paths: Sequence[str], stopped: Callable[[], bool]) -> None:
        assert paths == [str(path)]
        reading.set()
        until = time.monotonic() + 20
        while not stopped() and time.monotonic() < until:
            time.sleep(0.001)
        if stopped():
            ended.set()

    task = asyncio.create_task(FileSource().gather(LogRef(pod=str(path)), 0.0, collect))
    assert await asyncio.to_thread(reading.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 20)


def test_who_waits_for_the_answer_has_more_time(tmp_path: Path) -> None:
    config = tmp_path / "triage.yaml"
    config.write_text('targets: [{name: front, proxy_files: ["/var/log/x"]}]')
    hurried, patient = (assemble(load(config), patient=one) for one in (False, True))
    assert patient.settings.investigator.step_timeout == PATIENCE
    assert hurried.settings.investigator.step_timeout > ProxySettings().file_timeout


def test_packed_and_broken_files(tmp_path: Path) -> None:
    plain = tmp_path / "access.log"
    sorted_log(plain, 100)
    packed = tmp_path / "access.log.1.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    window = Window(start=0.0, end=1e11)
    one, other = both([str(packed), str(plain)], "istio", window)
    assert one == other
    assert one["counts"][0] == 200
    half = tmp_path / "half.gz"
    half.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    cut = collector("istio", TARGET, window)
    bulk.collect([str(half)], "istio", TARGET, window, cut)
    assert 0 < cut.gathered.in_window < 100


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with path.open("wb") as file:
        for _ in range(40):
            file.write(b"x" * 100_000)
        file.write(b"\nlast\n")
    parts = list(bulk.chunks(str(path), compile_format("istio"), 0.0, size=64 * 1024))
    assert b"".join(parts).endswith(b"\nlast\n")
    assert sum(map(len, parts)) < 2 * bulk.LONGEST
    assert max(map(len, parts)) <= bulk.LONGEST + 64 * 1024 + 1


def test_requests_gives_all(recorded: dict[str, str]) -> None:
    found = list(bulk.requests(recorded["istio"], compile_format("istio")))
    assert len(found) == len(DOCUMENT["recordings"])
