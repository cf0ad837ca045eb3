"""Logs for the tests of the store, and a store's content to be compared."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from triage.syslog.corpus import load_corpus
from triage.syslog.executor import local_executor
from triage.syslog.mine import MiningReport, MiningSettings, mine
from triage.syslog.store import Store

BEGIN = 1_443_225_600  # 2015-09-26
END = 1_450_000_000.0
BLOCK = 16 << 10  # the least

MESSAGES = (
    "sshd[{n}]: Failed password for root from 10.0.{b}.{c} port {n} ssh2",
    "sshd[{n}]: refused connect from 192.0.2.{b} (192.0.2.{b})",
    "kernel: [{n}.{c}] br0: port {b}(vnet{c}) entered forwarding state",
    "CRON[{n}]: pam_unix(cron:session): session opened for user root by (uid=0)",
    "named[{n}]: client 10.0.0.{b}#{n}: view world: query (cache) 'h{c}.example/A/IN' denied",
    "libvirtd[{n}]: internal error: End of file from the monitor",
    "snmpd[{n}]: Connection from UDP: [10.0.0.{b}]:{n}",
)


def stamp(seconds: float) -> str:
    return time.strftime("%b %e %H:%M:%S", time.gmtime(seconds))


def lines(count: int, *, seed: int = 1, hosts: Sequence[str] = ("hv1.a.example",)) -> list[str]:
    """Lines with their line feeds, some of them of no kind that is known."""
    rng = random.Random(seed)
    made = []
    for index in range(count):
        if rng.random() < 0.005:
            made.append(f"no header at all {rng.randrange(100)}\n")
            continue
        values = {"n": rng.randrange(99_999), "b": rng.randrange(250), "c": rng.randrange(9)}
        text = rng.choice(MESSAGES).format(**values)
        made.append(f"{stamp(BEGIN + seed + index * 7)} {rng.choice(hosts)} {text}\n")
    return made


def write_logs(folder: Path, *, count: int = 1500, names: Sequence[str] = ("a", "b", "c")) -> Path:
    """One log for each host, of different lengths."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        hosts = (f"hv{number}.{name}.example",)
        made = lines(count + 100 * number, seed=number + 1, hosts=hosts)
        (folder / f"{name}.log").write_text("".join(made))
    return folder


def run(store: Store, *paths: Path, workers: int = 1, **settings: Any) -> MiningReport:
    with local_executor(workers) as executor:
        return mine(
            store, paths, MiningSettings(**{"block_bytes": BLOCK, "end": END, **settings}), executor
        )


def content(store: Store) -> dict[str, Any]:
    """All that an analysis sees of a store; equal stores have equal ones."""
    corpus = load_corpus(store)
    times = store.times().collect()
    return {
        "counts": corpus.counts.rows(),
        "hosts": corpus.hosts,
        "templates": corpus.templates,
        "groups": corpus.groups,
        "times": times.sort(pl.all()).rows(),
        "keys": store.keys.rows(),
        "statistics": store.statistics().sort("template").rows(),
        "broken": {one.id: (one.broken, one.broken_lines) for one in store.manifest.sources},
    }
