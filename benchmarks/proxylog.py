"""Envoy access logs read in bulk, beside the plain line parser, and what a large one costs.

Logs of made-up clients with one monitor among them. For the rates all of a log is in the window, so
that no line can be left out for its time; each round reads it in each way, one after the other,
each in a process of its own, and counts that process's CPU seconds. A machine that does other
things as well makes any round slower and none faster: the rate is the best round's.

For the large log, `triage investigate` itself is run over it: in order of time, the file is entered
near the outage; in no order, or packed, it is read from end to end. Memory is the process's peak.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import Result, progress

BEGIN = 1_700_560_800.0
PER_SECOND = 100
"""Requests, in the logs that are written."""
BUILDS = range(90, 130)
GOOD = ["200 - via_upstream"] * 92 + ["304 - via_upstream"] * 5 + ["404 - via_upstream"] * 3
FAILED = [
    "503 UF,URX upstream_reset_before_response_started{connection_failure|delayed:_refused}",
    "503 - via_upstream",
    "503 UC upstream_reset_before_response_started{connection_termination}",
    "504 UT response_timeout",
]
MONITORS = 1000
"""One request in so many is the monitor's."""


def write_log(path: Path, lines: int, failed: float) -> None:
    """Write a log in which this share of the requests failed."""
    rng = random.Random(1)
    rest = [_rest(rng, rng.choice(FAILED if rng.random() < failed else GOOD)) for _ in range(9973)]
    mine = _rest(rng, GOOD[0], agent="Blackbox-Exporter/0.25.0", where="/health")
    with path.open("w") as file:
        for index, other in zip(range(lines), itertools.cycle(rest), strict=False):
            file.write(_stamp(index) + (mine if index % MONITORS == 0 else other))


def _stamp(index: int) -> str:
    time = datetime.fromtimestamp(BEGIN + index / PER_SECOND, UTC)
    return f"[{time.isoformat(timespec='milliseconds')[:-6]}Z]"


def _rest(rng: random.Random, outcome: str, agent: str = "", where: str = "") -> str:
    build = rng.choice(BUILDS)
    agent = agent or f"Mozilla/5.0 (X11; Linux x86_64; rv:{build}.0) Gecko Firefox/{build}.0"
    where = where or f"/api/items/{rng.randrange(10_000)}?page=1"
    port = rng.randrange(30_000, 60_000)
    return (
        f' "GET {where} HTTP/1.1" {outcome} - "-" 0 '
        f'{rng.randrange(9000)} {rng.randrange(300)} {rng.randrange(300)} "-" "{agent}" '
        f'"{rng.getrandbits(128):032x}" "front.example" "10.0.0.9:8080" '
        f"inbound|8080|| 127.0.0.6:{port} 10.0.0.9:8080 10.0.3.4:{port} "
        "outbound_.80_._.front.default.svc.cluster.local default\n"
    )


RUN = """
import json, sys, time
from triage.evidence import ProxyRole, Target, Window
from triage.proxylog import bulk
from triage.proxylog.formats import compile_format
from triage.sources.proxy import Collector, ProxySettings
way, path, form = sys.argv[1:]
target, window = Target(name="front", path="/health"), Window(start=0.0, end=1e11)
sink = Collector(
    compile_format(form), target, window, ProxySettings(), ProxyRole.SIDECAR, "pod"
)
began = time.process_time()
if way == "bulk":
    bulk.collect([path], form, target, window, sink)
else:
    for request in bulk.requests(path, compile_format(form)):
        sink.take_request(request)
print(json.dumps({
    "seconds": time.process_time() - began,
    "seen": [sink.gathered.in_window, sink.gathered.others_failed],
}))
"""


def run(way: str, path: Path, form: str = "istio") -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, way, str(path), form],
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure(folder: Path, rounds: int, lines: int, large: int) -> Iterator[Result]:
    """`lines` for the rates, `large` for the memory (3 million are 1 GB; 0: not measured)."""
    yield from _rates(folder, rounds, lines)
    if large:
        with tempfile.TemporaryDirectory(prefix="bench", dir=_on_disk()) as name:
            yield from _large(Path(name), large)


def _rates(folder: Path, rounds: int, lines: int) -> Iterator[Result]:
    few = lines // 20  # line by line takes twenty times as long
    logs = []
    for failed in (0.01, 0.3):
        whole, part = folder / f"{failed}.log", folder / f"{failed}.part.log"
        write_log(whole, lines, failed)
        write_log(part, few, failed)
        logs.append((f"{failed:.0%} failed", whole, part))
    bulk: dict[str, list[float]] = {}
    plain: dict[str, list[float]] = {}
    for number in range(rounds):
        progress(f"proxy log, round {number + 1} of {rounds}")
        for name, whole, part in logs:
            bulk.setdefault(name, []).append(lines / run("bulk", whole)["seconds"])
            one, other = run("plain", part), run("bulk", part)
            assert one["seen"] == other["seen"], (one, other)
            plain.setdefault(name, []).append(few / one["seconds"])
    note = f"best of {rounds}"
    for name, values in bulk.items():
        what = f"Envoy text lines in bulk, {name}"
        yield Result(what, [max(values)], "lines/s", at_least=300_000, note=note)
        yield Result("  line by line", [max(plain[name])], "lines/s", note=note)


# A large log

CONFIG = """
state_dir: {folder}/state
targets:
  - {{name: front, url: "http://front.example/health"}}
"""


def _on_disk() -> str | None:
    """Where a gigabyte does not lie in memory."""
    return "/var/tmp" if os.access("/var/tmp", os.W_OK) else None  # noqa: S108


def _large(folder: Path, lines: int) -> Iterator[Result]:
    config = folder / "triage.yaml"
    config.write_text(CONFIG.format(folder=folder))
    ordered, mixed, packed = folder / "ordered.log", folder / "mixed.log", folder / "packed.log.gz"
    progress("proxy log, a large one")
    write_log(ordered, lines, failed=0.01)
    size = f"{ordered.stat().st_size / 1e9:.2f} GB"
    at = BEGIN + lines / PER_SECOND / 4
    yield from _investigated(config, ordered, at, f"{size}, in order of time")
    _mix(ordered, mixed)
    ordered.unlink()
    yield from _investigated(config, mixed, at, f"{size}, in no order")
    with mixed.open("rb") as file, gzip.open(packed, "wb", compresslevel=1) as to:
        shutil.copyfileobj(file, to, 1024 * 1024)
    mixed.unlink()
    yield from _investigated(config, packed, at, f"{size}, packed")


def _mix(ordered: Path, mixed: Path) -> None:
    """The second half of the lines before the first."""
    with ordered.open("rb") as file, mixed.open("wb") as to:
        file.seek(ordered.stat().st_size // 2)
        file.readline()
        half = file.tell()
        shutil.copyfileobj(file, to, 1024 * 1024)
        file.seek(0)
        for _ in range(half // (1024 * 1024)):
            to.write(file.read(1024 * 1024))
        to.write(file.read(half - file.tell()))


def _investigated(config: Path, path: Path, at: float, note: str) -> Iterator[Result]:
    """Run `triage investigate` over a log; see that it found the monitor's requests."""
    progress(f"triage investigate, {note}")
    began = time.monotonic()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(
            [
                sys.executable, "-m", "triage.cli", "investigate", "--config.file", str(config),
                "--target", "front", "--at", str(at), "--proxy-log", str(path), "--json",
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        _, _, usage = os.wait4(child.pid, 0)
        took = time.monotonic() - began
        out.seek(0)
        said = out.read().decode()
    assert "Blackbox-Exporter" in said, said[-2000:]
    assert "not read to the end" not in said, said[-2000:]
    what = "triage investigate over a log"
    yield Result(f"{what}: memory", [usage.ru_maxrss / 1024], "MB", at_most=300, note=note)
    yield Result("  time", [took], "s", note=note)
