"""Reading whole files gives what reading line by line gives."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.triage.test_proxylog_formats import SANE, printed
from triage.cri import Joiner
from triage.evidence import ProxyRequest, ProxyRole, Target, Window
from triage.proxylog import bulk
from triage.proxylog.formats import ISTIO_TEXT, compile_format
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
    bulk.collect(paths, form, target, window, one)
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
]
STAMPS = [STAMP, "2023-11-21T09:59:59.999Z", "2023-11-21T10:00:05Z", "2023-11-21T10:00:05.001Z"]
PARTS: dict[str, list[Any]] = {
    "stamp": STAMPS,
    "method": ["GET", "POST", None, "a b", '"'],
    "path": ["/ok/503", "/x", '/"', "/a b", "/\u00e9", None],
    "protocol": ["HTTP/1.1", None, "HTTP/\u0661", "TCP"],
    "status": [0, 200, 200, 301, 404, 503, None, 99999, "\u0661"],
    "flags": [[], [], [], ["UF"], ["DC"], ["UPE"], ["\u00e9"]],
    "details": ["via_upstream", "via_upstream", None, "", "a{b c}", "x\u00e9", "rbac[a[b]]"],
    "termination_details": [None, None, None, "a b", ""],
    "transport_failure": [None, "TLS error", '"', ""],
    "duration_ms": [0, 5, None, "x", "\u0665", -1],
    "user_agent": ["Blackbox-Exporter/0.25.0", "curl/8", "", None, 'a"b', "\u00e9", '" "', "\r"],
    "request_id": [None, "id", '"'],
    "route": [None, "default", "a b", 'x"', ""],
}
NOISE = [
    b"", b"\r", b'"' * 14, b'"' * 15, b"\xff\xfe", b"text", b"\0", b"{}", b'{"log":"x"}',
    b"[2023-11-21 10:00:02.123][15][warning][config] [x.cc:1] closed",
]  # fmt: skip


def random_line(rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        return rng.choice(NOISE)
    whole = dict.fromkeys(SANE) | {"flags": [], "status": 200, "method": "GET", "path": "/x"}
    values = whole | {"protocol": "HTTP/2", "stamp": STAMP, "details": "via_upstream"}
    for name in [*rng.sample(sorted(PARTS), rng.randrange(4)), "user_agent", "stamp"]:
        values[name] = rng.choice(PARTS[name])
    prefix = rng.choice(PREFIXES if rng.random() < 0.1 else PREFIXES[:-1])
    return (prefix + printed(ISTIO_TEXT, values)).encode()


WINDOWS = [
    Window(start=1_700_560_800.0, end=1_700_560_805.0),
    Window(start=1_700_560_800.123, end=1_700_560_800.123),
    Window(start=0.0, end=1e11),
]


@pytest.mark.parametrize("form", ["auto", "istio"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**32), st.sampled_from(WINDOWS))
def test_random_lines(tmp_path: Path, form: str, seed: int, window: Window) -> None:
    rng = random.Random(seed)
    path = tmp_path / "access.log"
    path.write_bytes(b"\n".join(random_line(rng) for _ in range(rng.randrange(60))))
    one, other = both([str(path)], form, window)
    assert one == other


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


def test_without_polars_all_is_read_by_line(
    recorded: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    one, other = both([recorded["istio"]], "istio", Window(start=0.0, end=1e11))
    assert one == other


def test_requests_gives_all(recorded: dict[str, str]) -> None:
    found = list(bulk.requests(recorded["istio"], compile_format("istio")))
    assert len(found) == len(DOCUMENT["recordings"])
