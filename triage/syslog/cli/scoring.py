"""`triage syslog score`: a report's findings, and a store's templates and edges, against the truth.

Truth is a simulated fleet's truth.json, or a trouble-ticket system's CSV.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from triage.syslog.corpus import load_corpus
from triage.syslog.detect import DetectSettings
from triage.syslog.detect.series import Fleet, graph_tasks, run_task
from triage.syslog.executor import local_executor
from triage.syslog.score import (
    Score,
    ScoreError,
    Skeleton,
    TemplateAccuracy,
    names_of,
    read_findings,
    read_tickets,
    reference_of,
    score,
    skeleton_score,
    template_accuracy,
)
from triage.syslog.simulate import Truth, read_truth
from triage.syslog.store import Store, open_store
from triage.syslog.tables import Node

LABELS = "labels.parquet"
OFTEN = 0.1
"""An edge of a fleet is one of its structure when at least this share of the days has it."""


def score_files(report: Path, truth: Path, timezone: str, store: Path | None) -> Score:
    """Return how right a report is. Raises ScoreError, SimulateError, StoreError.

    With a store also how right its templates are (labels.parquet beside the truth tells each
    line's) and its daily graphs.
    """
    findings = read_findings(report)
    if truth.suffix.lower() != ".json":
        if store is not None:
            raise ScoreError(f"{truth}: tickets tell nothing of templates: leave --store out")
        return score(findings, read_tickets(truth, timezone))
    known = read_truth(truth)
    templates, skeleton = None, None
    if store is not None:
        opened = open_store(store)
        labels = truth.with_name(LABELS)
        templates = of_labels(opened, labels) if labels.exists() else None
        skeleton = of_edges(opened, known)
    return score(findings, reference_of(known), templates=templates, skeleton=skeleton)


def of_labels(store: Store, labels: Path) -> TemplateAccuracy:
    """Compare each line's template in a store with its label (file, line from 1, template)."""
    parts = []
    rows: Counter[str] = Counter()
    names = {source.id: Path(source.path).name for source in store.manifest.sources}
    segments = [
        (segment.source, segment.start, partition, segment)
        for partition in store.manifest.partitions
        for segment in partition.segments
    ]
    for source, _, partition, segment in sorted(segments, key=lambda one: one[:2]):
        before = 0
        for other in partition.segments:
            if other == segment:
                break
            before += other.rows
        keys = store.events(partition).select("key").slice(before, segment.rows).collect()["key"]
        of_key = np.append(store.template_ids(partition), 0)  # broken lines have no key
        ids = of_key[keys.cast(pl.Int64).fill_null(len(of_key) - 1).to_numpy()]
        line = np.arange(rows[source] + 1, rows[source] + 1 + segment.rows, dtype=np.int64)
        parts.append(
            pl.DataFrame({"line": line, "id": ids}).with_columns(file=pl.lit(names[source]))
        )
        rows[source] += segment.rows
    known = pl.read_parquet(labels).with_columns(pl.col("line").cast(pl.Int64))
    both = known.join(pl.concat(parts), on=["file", "line"], how="inner")
    if both.is_empty():
        raise ScoreError(f"{labels} labels none of the files that the store was made of")
    return template_accuracy(both["id"], both["template"])


def of_edges(store: Store, truth: Truth) -> Skeleton:
    """Compare the edges that come again and again in daily graphs with the fleet's structure."""
    corpus = load_corpus(store)
    settings = DetectSettings()
    fleet = Fleet(corpus, settings.area)
    windows = fleet.windows(settings.long, settings.offset)
    tasks = graph_tasks(fleet, windows, 1, settings.graph_of(settings.long))
    days: Counter[tuple[Node, Node]] = Counter()
    with local_executor() as executor:
        for graph, _ in executor.map(run_task, tasks):
            days.update({edge.pair for edge in graph.edges})
    often = [pair for pair, number in days.items() if number >= max(2.0, OFTEN * len(windows))]
    group_of_id = {
        template.id: corpus.groups[corpus.group_of[number]].id
        for number, template in enumerate(corpus.templates)
    }
    names = names_of(corpus.templates, truth)
    group_of = {names[one]: group_of_id[one] for one in group_of_id if one in names}
    return skeleton_score(often, truth, group_of, events=_events(fleet))


def _events(fleet: Fleet) -> dict[Node, int]:
    corpus = fleet.corpus
    table = (
        corpus.counts.select("minute", "host", group=pl.lit(fleet.group_of).gather("template"))
        .unique()
        .group_by("host", "group")
        .len()
    )
    return {
        Node(corpus.hosts[host], corpus.groups[group].id): number
        for host, group, number in table.iter_rows()
    }
