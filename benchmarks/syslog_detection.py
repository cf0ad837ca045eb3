"""How well outages are found in simulated fleets, and how long detection takes.

Each seed is a fleet of the report's size and duration (29 hypervisors, 3 boxes, 52 days) with its
own outages and decoys, written as log files, mined, and judged by `detect`: what is measured is the
way from lines to findings. The truth beside the logs is read by the scoring alone. Recall is per
outage, precision per abnormal window (triage.syslog.score says how). Seeds must not be those that
detection was developed with (1 to 100).

    python -m benchmarks.syslog_detection FOLDER [--lines N] SEED...
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.report import Result, progress, table
from triage.syslog.corpus import load_corpus
from triage.syslog.detect import DetectSettings, detect
from triage.syslog.executor import local_executor
from triage.syslog.mine import MiningSettings, mine
from triage.syslog.progress import NoProgress
from triage.syslog.score import Peaks, findings_of, reference_of, score
from triage.syslog.simulate import FleetSettings, simulate
from triage.syslog.store import open_store

SEEDS = (9001, 9002, 9003, 9004, 9005)
LINES = 2_000_000


def measure(folder: Path, quick: bool) -> Iterator[Result]:
    """All seeds together; one small fleet when `quick`."""
    if quick:
        fleet = FleetSettings(
            seed=SEEDS[0], days=14, hosts=8, boxes=1, sites=2, lines=200_000, outages=4, decoys=4
        )
        yield from _judged(folder, [fleet])
        return
    yield from _judged(folder, [FleetSettings(seed=seed, lines=LINES) for seed in SEEDS])


def _judged(folder: Path, fleets: Sequence[FleetSettings]) -> Iterator[Result]:
    days: list[Peaks] = []
    shorts: list[Peaks] = []
    seconds, delays = [], []
    for fleet in fleets:
        daily, short, took, delay = one(folder / f"fleet{fleet.seed}", fleet)
        days.append(daily)
        shorts.append(short)
        seconds.append(took)
        delays.append(delay)
    number = sum(peaks.outages for peaks in days)
    note = f"{number} outages of {len(days)} fleets"
    yield Result("outages found by day", [_recall(days)], at_least=0.95, note=note)
    yield Result("false days", [sum(peaks.false_days for peaks in days)], at_most=0, note=note)
    yield Result("outages found by 2 h", [_recall(shorts)], at_least=0.85, note=note)
    yield Result("precision of 2 h windows", [_precision(shorts)], at_least=0.9, note=note)
    yield Result("until an outage can be told", [d for d in delays if d is not None], "s")
    yield Result("detection of 52 days", seconds, "s", at_most=100.0, note="graphs included")


def one(folder: Path, fleet: FleetSettings) -> tuple[Peaks, Peaks, float, float | None]:
    """Simulate, mine and judge one fleet; the folder is removed."""
    try:
        truth = simulate(fleet, folder / "logs", NoProgress())
        store = open_store(folder / "store", create=True)
        logs = sorted(path for path in (folder / "logs").iterdir() if path.name != "truth.json")
        with local_executor() as executor:
            mine(store, logs, MiningSettings(end=truth.end), executor, NoProgress())
            store.refresh()
            corpus = load_corpus(store)
            began = time.perf_counter()
            found = detect(corpus, DetectSettings(), executor)
            took = time.perf_counter() - began
        result = score(findings_of(found), reference_of(truth))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    progress(
        f"seed {fleet.seed}: daily {_told(result.daily)}; 2 h {_told(result.short)}; {took:.0f} s"
    )
    return result.daily, result.short, took, result.delay


def _told(peaks: Peaks) -> str:
    return (
        f"{peaks.found} of {peaks.outages} outages, {peaks.right} right {peaks.false} false "
        f"{peaks.neutral} neutral windows, missed {[kind for _, kind in peaks.missed]}"
    )


def _recall(peaks: Sequence[Peaks]) -> float:
    return sum(one.found for one in peaks) / max(1, sum(one.outages for one in peaks))


def _precision(peaks: Sequence[Peaks]) -> float:
    right = sum(one.right for one in peaks)
    return right / max(1, right + sum(one.false for one in peaks))


def main() -> None:
    """Judge the fleets of some seeds."""
    parser = argparse.ArgumentParser(description="Recall and precision of outages by seed.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("seeds", type=int, nargs="*", default=SEEDS)
    given = parser.parse_args()
    fleets = [FleetSettings(seed=seed, lines=given.lines) for seed in given.seeds]
    print(table(list(_judged(given.folder, fleets))))


if __name__ == "__main__":
    main()
