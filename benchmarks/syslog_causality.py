"""The PC algorithm over 500 series of a day beside pyAgrum's, and windows' graphs as in detection.

Series of made-up events, caused by others before them; the hard ones with many near-copies, as the
templates of one fault are before they are merged. Both engines get the same series in one run, in
turn; pyAgrum's time includes the small file that it reads. Everything is on one core and in one
thread (`python -m benchmarks` sees to that): the rates are those of one of detection's workers.
Times are the process's CPU seconds, for a machine that does other things as well stretches any
other; on an idle one they are the time that passes. Compiling is not in them, and told apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.report import Result, progress, ratios
from triage.syslog.causality import (
    Freedom,
    GraphSettings,
    PcSettings,
    Variant,
    learn,
    window_graph,
)  # fmt: skip
from triage.syslog.tables import Node

T = TypeVar("T")

DAY, SHORT = 1440, 120
"""Bins of a minute."""

FIRST = """
import numpy, time
from triage.syslog.causality import learn
began = time.process_time()
learn(numpy.random.default_rng(0).random((9, 300)) < 0.3)
print(time.process_time() - began)
"""


def made_up(n: int, bins: int, seed: int, share: float = 0.01, causes: int = 2) -> np.ndarray:
    """Return series (n, bins) of events that cause one another: the more causes, the denser."""
    random = np.random.default_rng(seed)
    series = np.zeros((n, bins), np.bool_)
    for at in range(n):
        series[at] = random.random(bins) < share * random.choice([0.3, 1, 3])
        for _ in range(causes if at else 0):
            cause = series[random.integers(max(0, at - 40), at)]
            series[at] |= cause & (random.random(bins) < random.choice([0, 0.6]))
    return series


def fleet(hosts: int, groups: int, bins: int, seed: int) -> tuple[list[Node], np.ndarray]:
    """Return nodes with their counts: noise, effects a minute later, jobs of cron, an outage."""
    random = np.random.default_rng(seed)
    nodes = [Node(f"hv{host:02}.example", group + 1) for host in range(hosts)
             for group in range(groups)]  # fmt: skip
    series = made_up(len(nodes), bins, seed, 0.005).astype(np.uint16)
    for at, node in enumerate(nodes):
        if node.group % 5 == 0:
            series[at] = 0
            series[at, node.group % 7 :: random.choice([5, 10, 60])] = 1
        elif node.group % 5 == 1:
            series[at] = random.random(bins) < 2 / bins
        if at < 2 * groups and node.group % 3 == 0:
            series[at, bins // 2 : bins // 2 + 2] += 3
    return nodes, series


def measure(_folder: Path, quick: bool) -> Iterator[Result]:
    """Yield the table's lines."""
    rounds = 1 if quick else 3
    progress("compiling")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        firsts = [
            float(subprocess.check_output([sys.executable, "-c", FIRST], env=environment))
            for _ in range(2)
        ]
    yield Result("numba: first call on a machine", firsts[:1], "CPU s", note="compiled, kept")
    yield Result("  in a process after it", firsts[1:], "CPU s", note="from the cache")
    yield from _learn(rounds, quick)
    yield from _windows(rounds)


def _learn(rounds: int, quick: bool) -> Iterator[Result]:
    series = made_up(500, DAY, 1)
    for name, at_most, those in (
        ("PC, 500 series x 1,440 bins", 0.3, series),
        ("  hard ones", None, made_up(500, DAY, 1, causes=5)),
    ):
        for variant in Variant:
            rules = PcSettings(variant=variant)
            learn(those, rules)
            times = [_timed(partial(learn, those, rules))[0] for _ in range(5)]
            note = f"{len(learn(those, rules).links)} edges"
            yield Result(f"{name}, {variant}", times, "s", at_most=at_most, note=note)
    # What pyAgrum does: the stable variant with adaptive degrees of freedom
    rules = PcSettings(variant=Variant.STABLE, freedom=Freedom.ADAPTIVE, max_conditions=3)
    some = series[:120] if quick else series
    ours, theirs, same = [], [], []
    for _ in range(rounds):
        took, mine = _timed(partial(learn, some, rules))
        ours.append(took)
        progress("pyAgrum")
        took, other = _timed(partial(learn, some, rules, "pyagrum"))
        theirs.append(took)
        same.append(len(mine.skeleton & other.skeleton) / len(mine.skeleton | other.skeleton))
    yield Result(f"{len(some)} series, up to 3 conditions, numba", ours, "s")
    yield Result("  pyAgrum", theirs, "s")
    yield Result("  ratio", ratios(theirs, ours), "x")
    yield Result("  edges in common", same, note="of all that either has")


def _windows(rounds: int) -> Iterator[Result]:
    nodes, series = fleet(10, 50, DAY, 2)
    for name, at_most, length in (
        ("a day's graph, 500 nodes", 0.5, DAY),
        ("a 2 h graph, 500 nodes", 0.05, SHORT),
    ):
        spans = [series[:, first : first + length] for first in range(0, DAY, length)]
        rules = GraphSettings.for_window(60 * length)
        taken, edges = [], []
        for _ in range(rounds):
            for span in spans:
                took, graph = _timed(
                    partial(
                        window_graph,
                        nodes,
                        span,
                        start=0,
                        end=60 * length,
                        area="all",
                        settings=rules,
                    )
                )
                taken.append(took)
                edges.append(len(graph.edges))
        yield Result(name, taken, "s", at_most=at_most, note=f"{np.median(edges):.0f} edges")
        if length == SHORT:
            per_round = [sum(taken[at : at + 12]) for at in range(0, len(taken), 12)]
            yield Result("  twelve of them", per_round, "s", note="2 h windows of a day")


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result
