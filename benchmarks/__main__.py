"""Measure the agent against its targets and print the table.

    python -m benchmarks [--quick] [--only NAME]... [--core N]

Exit code 0 whatever came out, 1 when something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks import (
    busy,
    events,
    footprint,
    node_lookup,
    proxylog,
    refresh,
    serving,
    syslog_causality,
    syslog_detection,
    syslog_mine,
    verdict,
)
from benchmarks.processes import pin, scratch
from benchmarks.report import Result, table

Measurement = Callable[[Path, bool], Iterator[Result]]

MEASUREMENTS: Mapping[str, Measurement] = {
    "serving": lambda folder, quick: serving.measure(
        folder, serving.QUICK if quick else serving.FULL
    ),
    "busy": lambda folder, quick: busy.measure(folder, 2 if quick else 5, 1 if quick else 3),
    "refresh": lambda folder, quick: refresh.measure(folder, 9 if quick else 41),
    "events": lambda folder, quick: events.measure(folder, 10 if quick else 60),
    "nodes": lambda folder, quick: node_lookup.measure(folder, 1 if quick else 5),
    "proxylog": lambda folder, quick: proxylog.measure(
        folder, 2 if quick else 5, 100_000 if quick else 1_000_000, 0 if quick else 3_000_000
    ),
    "verdict": verdict.measure,
    "syslog-causality": syslog_causality.measure,
    "syslog-detection": syslog_detection.measure,
    "syslog-mine": lambda folder, quick: syslog_mine.measure(
        folder, syslog_mine.QUICK if quick else syslog_mine.FULL, 1 if quick else 3
    ),
    "memory": lambda folder, quick: footprint.measure(folder, 2 if quick else 8),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--quick", action="store_true", help="short: a look, no judgement")
    parser.add_argument(
        "--only", action="append", choices=MEASUREMENTS, metavar="NAME",
        help=f"one of {', '.join(MEASUREMENTS)}; repeat for more",
    )  # fmt: skip
    parser.add_argument("--core", type=int, help="the core that everything runs on")
    options = parser.parse_args()
    core = pin(options.core)
    # Whatever ends us, what we started is to be stopped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    failed = []
    results: list[Result] = []
    for name, measure in MEASUREMENTS.items():
        if options.only and name not in options.only:
            continue
        with scratch() as folder:
            try:
                results += measure(folder, options.quick)
            except Exception:  # the others can still be measured
                traceback.print_exc()
                failed.append(name)
    print(table(results))
    load = os.getloadavg()[0]
    took = time.monotonic() - began
    print(
        f"\nAll on core {core} of {os.cpu_count()}, Python {platform.python_version()}, "
        f"{took:.0f} s, load at the end {load:.1f}"
    )
    missed = [one.what for one in results if one.met is False]
    if missed:
        print(f"Missed: {'; '.join(missed)}")
    if failed:
        print(f"Not measured: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
