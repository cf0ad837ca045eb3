"""Which templates are unusual on which host in which window.

Rules
- A template is rare on a host when it is there on at most `rare_share` of the days on which the
  host logs. One that comes and stays (on most days since) is not rare: a new version's wording.
- A template bursts in a window when it has `burst` times the lines of its usual windows, the
  upper quartile of those that have any.
- Unusual is rare or bursting. It says nothing of good or bad: `words` and `decide` do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from triage.syslog.detect.series import Flags, Fleet, Ints, Window
from triage.syslog.detect.settings import DetectSettings

STAYS = 0.6
"""On so much of the days since its first one: it came to stay."""
STAYS_DAYS = 3
TROUBLE_LINES = 10
"""A burst of fewer lines than this is none, whatever it says."""


@dataclass(frozen=True)
class NodeTable:
    """One row for each window, host and template that has lines, sorted so."""

    window: Ints
    """Index of the window."""
    host: Ints
    template: Ints
    lines: Ints
    rare: Flags
    burst: Flags
    times: Ints
    """How many times the usual lines, of a burst; else 0."""
    lasting: Flags
    """The window has the node's first line, days after the host's first, and it stays."""

    @cached_property
    def unusual(self) -> Flags:
        """Rows that are rare or bursts."""
        return self.rare | self.burst


@dataclass(frozen=True)
class Occurrence:
    """On which days a (host, template) is there; flat arrays, index host * templates + template."""

    days: Ints
    first: Ints
    """First day (minutes // 1440, shifted); -1 of what is never there."""
    rare: Flags
    stays: Flags
    host_first: Ints
    """First day of each host."""


def occurrence_of(fleet: Fleet, settings: DetectSettings) -> Occurrence:
    """Return on how many days each (host, template) appears, and what is rare by that."""
    templates, hosts = len(fleet.corpus.templates), len(fleet.corpus.hosts)
    shift = round(settings.offset / 60)
    node = pl.col("host").cast(pl.Int64) * templates + pl.col("template").cast(pl.Int64)
    day = (pl.col("minute").cast(pl.Int64) + shift).floordiv(1440)
    seen = fleet.corpus.counts.select(node=node, day=day).unique()
    size = hosts * templates
    nodes, on = seen["node"].to_numpy(), seen["day"].to_numpy()
    days = np.bincount(nodes, minlength=size).astype(np.int64)
    first = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(first, nodes, on)
    last_day = int(on.max()) if on.size else 0
    pairs = np.unique(np.stack([nodes // max(1, templates), on]), axis=1)
    host_days = np.bincount(pairs[0], minlength=hosts)
    host_last = np.full(hosts, np.iinfo(np.int64).min)
    np.maximum.at(host_last, pairs[0], pairs[1])
    host_first = np.full(hosts, np.iinfo(np.int64).max)
    np.minimum.at(host_first, pairs[0], pairs[1])
    there = days > 0
    until = np.repeat(np.minimum(host_last, last_day), templates)
    since = np.where(there, until - np.where(there, first, 0) + 1, 0)
    stays = there & (since >= STAYS_DAYS) & (days >= STAYS * since)
    limit = np.maximum(1, (settings.rare_share * np.repeat(host_days, templates)).astype(np.int64))
    return Occurrence(
        days=days,
        first=np.where(there, first, -1),
        rare=there & (days <= limit) & ~stays,
        stays=stays,
        host_first=host_first,
    )


def node_table(
    fleet: Fleet, windows: tuple[Window, ...], seen: Occurrence, settings: DetectSettings
) -> NodeTable:
    """Return which nodes each window has, and which of them are unusual there."""
    templates = len(fleet.corpus.templates)
    begin = windows[0].start if windows else 0
    step = windows[0].end - begin if windows else 1
    table = (
        fleet.corpus.counts.lazy()
        .select(
            (pl.col("minute").cast(pl.Int64) - begin).floordiv(step).alias("window"),
            (pl.col("host").cast(pl.Int64) * templates + pl.col("template").cast(pl.Int64)).alias(
                "node"
            ),
            pl.col("count").cast(pl.Int64),
        )
        .group_by("window", "node")
        .agg(pl.col("count").sum().alias("lines"))
        .with_columns(
            pl.col("lines").quantile(0.75, interpolation="lower").over("node").alias("usual"),
            pl.len().over("node").alias("present"),
        )
        .sort("window", "node")
        .collect()
    )
    window, node, lines = (table[name].to_numpy() for name in ("window", "node", "lines"))
    usual = np.maximum(1.0, table["usual"].to_numpy().astype(np.float64))
    rare = seen.rare[node]
    burst = (
        ~rare
        & (table["present"].to_numpy() >= 4)
        & (lines >= settings.burst * usual)
        & (lines >= TROUBLE_LINES)
    )
    shift = round(settings.offset / 60)
    first_row = np.zeros(node.size, dtype=np.bool_)
    first_row[np.unique(node, return_index=True)[1]] = True
    day = (begin + window * step + step - 1 + shift) // 1440
    host = node // max(1, templates)
    lasting = first_row & seen.stays[node] & (day >= seen.host_first[host] + 2)
    return NodeTable(
        window=window,
        host=host,
        template=node % max(1, templates),
        lines=lines,
        rare=rare,
        burst=burst,
        times=np.where(burst, lines / usual, 0).astype(np.int64),
        lasting=lasting,
    )
