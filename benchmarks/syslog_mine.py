"""Log lines -> templates, events and Parquet: how fast, in how much memory, beside Drain3.

    python -m benchmarks.syslog_mine [--full] [--folder FOLDER] [--rounds N]

The log is a simulated fleet's (29 hypervisors and 3 NAT64 boxes, a file for each, RFC 3164),
rendered once and kept in .build/; `--folder` takes any other. Each round mines all of it into a new
store, on all cores and then on one, and runs Drain3 over a sample of it, one after the other, each
in a process of its own: what else a machine does makes a round slower and none faster, so the best
round counts. A process's peak of memory includes its libraries. The threads that share a round's
cores are as many as there are cores.

Drain3 gets the contents alone, without timestamps, and writes nothing: it has less to do. Its rate
falls as its clusters grow, so that a sample flatters it. It runs on one core, for it has no way to
use more; the ratio with "one core" is the fair one, the other one what an operator sees.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import Result, progress, table

FULL = 21_181_352
"""Lines of the report of 2015, which the targets are about."""
QUICK = 1_000_000
SAMPLE = 200_000
"""Lines that Drain3 gets."""
BUILD = Path(__file__).parents[1] / ".build" / "syslog"

RENDER = """
import sys
from pathlib import Path
from triage.syslog.progress import NoProgress
from triage.syslog.simulate import FleetSettings, simulate
simulate(FleetSettings(lines=int(sys.argv[2])), Path(sys.argv[1]), NoProgress())
"""

MINE = """
import json, sys, time
began = time.monotonic()
from pathlib import Path
from triage.syslog.corpus import load_corpus
from triage.syslog.executor import local_executor
from triage.syslog.mine import MiningSettings, mine
from triage.syslog.store import open_store
store = open_store(Path(sys.argv[1]), create=True)
with local_executor() as executor:
    report = mine(store, [Path(sys.argv[2])], MiningSettings(), executor)
seconds, cpu = time.monotonic() - began, time.process_time()
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line[:5] == "VmHWM")
began = time.monotonic()
rows = len(load_corpus(store).counts)
corpus = time.monotonic() - began
store = open_store(Path(sys.argv[1]))
began = time.monotonic()
templates = len(store.statistics())
assert not report.errors, report.errors
print(json.dumps({
    "lines": report.rows, "seconds": seconds, "cpu": cpu, "peak": peak / 1024,
    "corpus": corpus, "rows": rows, "statistics": time.monotonic() - began,
    "templates": templates, "broken": report.broken,
}))
"""

DRAIN = """
import json, sys, time
import logging; logging.disable(logging.CRITICAL)
from drain3 import TemplateMiner
from drain3.template_miner_config import TemplateMinerConfig
contents = open(sys.argv[1], errors="replace").read().splitlines()
miner = TemplateMiner(config=TemplateMinerConfig())
began = time.monotonic()
for content in contents:
    miner.add_log_message(content)
print(json.dumps({
    "lines": len(contents), "seconds": time.monotonic() - began,
    "templates": len(miner.drain.clusters),
}))
"""


def logs(lines: int) -> Path:
    """Return a folder with about so many lines, rendered when it is not there yet."""
    folder = BUILD / f"fleet-{lines}"
    if not folder.exists():
        progress(f"rendering {lines:,} lines, once")
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as name:
            subprocess.run([sys.executable, "-c", RENDER, f"{name}/logs", str(lines)], check=True)
            Path(name, "logs").rename(folder)
    return folder


def sample(folder: Path, to: Path, lines: int = SAMPLE) -> None:
    """Write contents ("tag[pid]: message") of lines evenly from all files, in order of time.

    Time is read as text: the months of a log of RFC 3164 that goes on past a year's end would come
    in the wrong order, which does not matter to how fast they are read.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix == ".log")
    total = sum(path.stat().st_size for path in files)
    taken: list[tuple[str, str]] = []
    for path in files:
        room = int(200 * lines * path.stat().st_size / total)
        with path.open(errors="replace") as file:
            taken += [(line[:15], line[16:].partition(" ")[2]) for line in file.readlines(room)]
    taken.sort()
    count = min(lines, len(taken))
    to.write_text("".join(taken[n * len(taken) // count][1] for n in range(count)))


def _child(code: str, *arguments: str, cores: set[int]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env=os.environ | {"POLARS_MAX_THREADS": str(len(cores))},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(folder: Path, lines: int, rounds: int, given: Path | None = None) -> Iterator[Result]:
    """Mine a log of so many lines (or a given folder) in rounds, beside Drain3."""
    source = given or logs(lines)
    # The other benchmarks share one core; this is about how well all of them are used
    mine, cores = os.sched_getaffinity(0), set(range(os.cpu_count() or 1))
    sample(source, folder / "sample")
    several: list[dict[str, Any]] = []
    single: list[dict[str, Any]] = []
    drain: list[dict[str, Any]] = []
    for number in range(rounds):
        progress(f"mining, round {number + 1} of {rounds}")
        for into, used in ((several, cores), (single, {max(mine)})):
            store = folder / "store"
            into.append(_child(MINE, str(store), str(source), cores=used))
            shutil.rmtree(store)
        drain.append(_child(DRAIN, str(folder / "sample"), cores={max(mine)}))
    yield from _results(several, single, drain, len(cores))


def _results(
    several: list[dict[str, Any]],
    single: list[dict[str, Any]],
    drain: list[dict[str, Any]],
    cores: int,
) -> Iterator[Result]:
    ours, alone, theirs = (
        max(one["lines"] / one["seconds"] for one in some) for some in (several, single, drain)
    )
    first = several[0]
    note = f"{first['lines']:,} lines, {first['templates']:,} templates, best of {len(several)}"
    yield Result(f"syslog mined on {cores} cores", [ours], "lines/s", note=note)
    if first["lines"] > 0.9 * FULL:  # a smaller log has hardly fewer keys to be learnt
        yield Result(f"  {FULL:,} lines", [FULL / ours], "s", at_most=30)
    yield Result("  CPU time", [min(one["cpu"] for one in several)], "s")
    yield Result("  memory", [max(one["peak"] for one in several)], "MB", at_most=1500)
    yield Result("  corpus", [min(one["corpus"] for one in several)], "s", at_most=10)
    yield Result("  templates' statistics", [min(o["statistics"] for o in several)], "s", at_most=2)
    yield Result("syslog mined on one core", [alone], "lines/s")
    note = f"{drain[0]['lines']:,} of the lines, {drain[0]['templates']:,} templates"
    yield Result("Drain3, which has one core", [theirs], "lines/s", note=note)
    yield Result("  times as fast", [ours / theirs], at_least=30)
    yield Result("  on one core", [alone / theirs])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.syslog_mine", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} lines")
    parser.add_argument("--folder", type=Path, help="logs to be mined, instead of simulated ones")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench", dir="/var/tmp") as name:
        lines = FULL if options.full else QUICK
        print(table(list(measure(Path(name), lines, options.rounds, options.folder))))
    print(f"\n{time.monotonic() - began:.0f} s, load at the end {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
