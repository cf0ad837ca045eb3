"""Envoy text lines read in bulk, beside the plain parser, and the memory that a large log takes.

A log of made-up clients with one monitor among them, a few lines in a hundred failing. All of it is
in the window, so that every line is read; each round does both ways, one after the other, each in a
process of its own, and counts that process's CPU seconds.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import Result, progress

BEGIN = 1_700_560_800.0
AGENTS = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.0" for n in range(90, 130)]  # fmt: skip  # noqa: E501
OUTCOMES = [
    ("200 - via_upstream", 90), ("304 - via_upstream", 4), ("404 - via_upstream", 3),
    ("503 UF,URX upstream_reset_before_response_started{connection_failure|delayed:_refused}", 1),
    ("503 - via_upstream", 1), ("0 DC downstream_remote_disconnect", 1),
]  # fmt: skip


def write_log(path: Path, lines: int) -> None:
    rng = random.Random(1)
    outcomes = [text for text, weight in OUTCOMES for _ in range(weight)]
    with path.open("w") as file:
        for index in range(lines):
            time = datetime.fromtimestamp(BEGIN + index / 100, UTC).isoformat(
                timespec="milliseconds"
            )
            agent = "Blackbox-Exporter/0.25.0" if index % 1500 == 0 else rng.choice(AGENTS)
            where = "/health" if index % 1500 == 0 else f"/api/items/{rng.randrange(10_000)}?page=1"
            port = rng.randrange(30_000, 60_000)
            file.write(
                f'[{time[:-6]}Z] "GET {where} HTTP/1.1" {rng.choice(outcomes)} - "-" 0 '
                f'{rng.randrange(9000)} {rng.randrange(300)} {rng.randrange(300)} "-" "{agent}" '
                f'"{rng.getrandbits(128):032x}" "front.example" "10.0.0.9:8080" '
                f"inbound|8080|| 127.0.0.6:{port} 10.0.0.9:8080 10.0.3.4:{port} "
                "outbound_.80_._.front.default.svc.cluster.local default\n"
            )


RUN = """
import json, resource, sys, time
from triage.evidence import ProxyRole, Target, Window
from triage.proxylog import bulk
from triage.proxylog.formats import compile_format
from triage.sources.proxy import Collector, ProxySettings
way, path = sys.argv[1:]
form = compile_format("istio")
target, window = Target(name="front", path="/health"), Window(start=0.0, end=1e11)
sink = Collector(form, target, window, ProxySettings(), ProxyRole.SIDECAR, "pod")
began = time.process_time()
if way == "bulk":
    bulk.collect([path], "istio", target, window, sink)
else:
    for request in bulk.requests(path, form):
        sink.take_request(request)
print(json.dumps({
    "seconds": time.process_time() - began,
    "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "seen": [sink.gathered.in_window, sink.gathered.others_failed],
}))
"""


def run(way: str, path: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, way, str(path)], capture_output=True, text=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure(folder: Path, rounds: int, lines: int, large: int) -> Iterator[Result]:
    """`lines` for the rates, `large` for the memory (3 million are 1 GB)."""
    path = folder / "access.log"
    write_log(path, lines)
    bulk, plain = [], []
    for number in range(rounds):
        progress(f"proxy log, round {number + 1} of {rounds}")
        one, other = run("bulk", path), run("plain", path)
        assert one["seen"] == other["seen"], (one, other)
        bulk.append(lines / one["seconds"])
        plain.append(lines / other["seconds"])
    path.unlink()
    yield Result("Envoy text lines in bulk", bulk, "lines/s", at_least=300_000)
    yield Result("  line by line", plain, "lines/s")
    progress("proxy log, memory")
    write_log(path, large)
    size = path.stat().st_size / 1e9
    memory = run("bulk", path)["megabytes"]
    path.unlink()
    yield Result("Memory over a log in bulk", [memory], "MB", at_most=300, note=f"{size:.2f} GB")
