"""Corpus -> Detection: the stages in their order.

    minutes of hosts -> silences, restarts            (silence)
    days of (host, template) -> unusual templates     (unusual)
    windows x areas -> graphs -> days of edges -> rare edges (series, causality, rarity)
    counts of both -> peaks                           (peaks)
    figures of a window -> what it is                 (features, decide)
    windows that belong together -> findings          (findings)

Rules
- Two lengths of windows go the same way. The long ones tell the short ones which series a clock
  drives, and which pairs are usual. Graphs of short windows are dropped once their rare edges are
  known.
- A long window is abnormal by its own figures, or when an outage that the short ones show lies in
  it: what stands out at night is hidden in the day's count.
- The order of hosts, sites and rows changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from triage.syslog.causality import Period
from triage.syslog.detect.decide import decide
from triage.syslog.detect.features import (
    SCALES,
    Close,
    Past,
    Peaks,
    closest,
    features_of,
    loud_rows,
    slots,
    somebody_away,
    tally,
)
from triage.syslog.detect.findings import Judged, continued, findings_of
from triage.syslog.detect.peaks import Counted, crowd_scores, scores_of
from triage.syslog.detect.rarity import days_of_pairs, rare_edges, rarity_of
from triage.syslog.detect.series import (
    Flags,
    Fleet,
    Floats,
    Ints,
    Longer,
    Pair,
    graph_tasks,
    heard,
    run_task,
)
from triage.syslog.detect.settings import DetectSettings
from triage.syslog.detect.silence import absences
from triage.syslog.detect.unusual import NodeTable, node_table, occurrence_of
from triage.syslog.detect.words import all_traits
from triage.syslog.executor import Executor
from triage.syslog.progress import NoProgress, Progress
from triage.syslog.tables import (
    Corpus,
    Detection,
    Finding,
    FindingKind,
    Line,
    Node,
    Rarity,
    WindowGraph,
    WindowScore,
)


class Lines(Protocol):
    """What gives a finding's lines: a `triage.syslog.store.Store`."""

    def lines(
        self,
        start: float,
        end: float,
        hosts: Collection[str] | None,
        templates: Collection[int] | None,
        limit: int,
    ) -> tuple[Line, ...]:
        """Return at most `limit` lines of [start, end), of these hosts and templates."""


def detect(
    corpus: Corpus,
    settings: DetectSettings,
    executor: Executor,
    progress: Progress | None = None,
) -> Detection:
    """Return what is unusual in a corpus, without lines (`with_lines`).

    The executor runs one task for each window and area; it has to be entered.
    """
    told = progress or NoProgress()
    if not corpus.counts.height:
        return Detection(findings=(), daily=(), short=(), rarity=Rarity(quantile=settings.quantile))
    past = past_of(heard(corpus, settings.least_lines), settings)
    long = _judge(past, settings.long, executor, told, "graphs of days")
    short = _judge(past, settings.short, executor, told, "graphs of short windows", long.longer)
    found = findings_of(past, short.judged, short.table, long.judged, long.table)
    outages = [finding for finding in found if finding.kind is FindingKind.OUTAGE]
    return Detection(
        findings=found,
        daily=_scores(past, long.judged, outages),
        short=_scores(past, short.judged, ()),
        rarity=long.rarity,
        graphs=long.graphs,
    )


def past_of(corpus: Corpus, settings: DetectSettings) -> Past:
    """Return what windows are judged with."""
    fleet = Fleet(corpus, settings.area)
    traits = all_traits(corpus.templates)
    seen = occurrence_of(fleet, settings)
    return Past(fleet, traits, seen, absences(fleet, traits, seen.rare, settings), settings)


def with_lines(
    detection: Detection, store: Lines, settings: DetectSettings | None = None
) -> Detection:
    """Add the lines that show each finding: those of its templates and hosts, bounded."""
    most = (settings or DetectSettings()).most_lines
    found = []
    for finding in detection.findings:
        if finding.templates:
            lines = store.lines(finding.start, finding.end, finding.hosts, finding.templates, most)
            in_order = tuple(sorted(lines, key=lambda line: (line.time, line.host)))
            found.append(replace(finding, lines=in_order[:most]))
        else:
            found.append(finding)
    return replace(detection, findings=tuple(found))


@dataclass(frozen=True)
class _Windows:
    """All windows of one length, judged."""

    judged: tuple[Judged, ...]
    """In order of windows, then of areas."""
    table: NodeTable
    rarity: Rarity
    graphs: tuple[WindowGraph, ...]
    longer: Longer
    """What the next shorter windows take from these."""


def _judge(
    past: Past,
    length: float,
    executor: Executor,
    told: Progress,
    stage: str,
    longer: Longer | None = None,
) -> _Windows:
    fleet, settings = past.fleet, past.settings
    windows = fleet.windows(length, settings.offset)
    areas = len(fleet.areas)
    learnt = _graphs(past, length, executor, told, stage, longer)
    graphs = [graph for graph, _ in learnt]

    def day(start: float) -> int:
        return int((start + settings.offset) // 86_400)

    days = days_of_pairs((day(graph.start), graph.edges) for graph in graphs)
    total = len({day(window.seconds[0]) for window in windows})
    rarity = rarity_of(days, total, settings.quantile, settings.rare_share)
    rare = [rare_edges(graph, days, rarity.threshold) for graph in graphs]
    table = node_table(fleet, windows, past.seen, settings)
    counted = tally(past, len(windows), table)
    area = np.tile(np.arange(areas), len(windows))
    edges = Counted(
        value=np.asarray([len(found) for found in rare], dtype=np.float64),
        area=area,
        exposure=counted.usual,
        slot=np.repeat(slots(windows, settings), areas),
    )
    places = [windows[number // areas] for number in range(len(graphs))]
    close = [
        closest(past, window, at, table, loud_rows(past, table, counted.rows(number)))
        for number, (window, at) in enumerate(zip(places, area.tolist(), strict=True))
    ]
    away = np.asarray(
        [somebody_away(past, *place) for place in zip(places, area.tolist(), strict=True)],
        dtype=np.bool_,
    )
    edge_peaks = scores_of(edges, floor=settings.peak_edges, alpha=settings.false_alarms)
    trouble_peaks, best = _crowds(close, area, away, settings)
    judged = []
    for number, graph in enumerate(graphs):
        rows, where = counted.rows(number), (past, places[number], int(area[number]))
        peaks = Peaks(edges=float(edge_peaks[number]), trouble=float(trouble_peaks[number]))
        features, evidence = features_of(
            *where, table, rows, close[number][int(best[number])], peaks
        )
        judged.append(
            Judged(
                window=places[number],
                area=int(area[number]),
                edges=len(graph.edges),
                rare=rare[number],
                rows=rows,
                features=features,
                evidence=evidence,
                verdict=decide(features),
            )
        )
    periodic = tuple(periods for _, periods in learnt)
    familiar = tuple(_familiar(graphs[number::areas]) for number in range(areas))
    result = continued(judged, areas, settings.merge / 60)
    longer_ = Longer(windows, periodic, familiar)
    return _Windows(result, table, rarity, tuple(graphs), longer_)


def _crowds(
    close: Sequence[Sequence[Close]], area: Ints, away: Flags, settings: DetectSettings
) -> tuple[Floats, Ints]:
    """Score the crowds of all windows, and tell at which scale each is largest."""
    scores = np.stack(
        [
            crowd_scores(
                np.asarray([one[scale].crowd for one in close], dtype=np.int64),
                area,
                away,
                floor=settings.peak_nodes,
                alpha=settings.false_alarms,
            )
            for scale in range(len(SCALES))
        ]
    )
    return scores.max(axis=0), scores.argmax(axis=0)


def _familiar(graphs: Iterable[WindowGraph]) -> dict[Pair, int]:
    """In how many graphs of one area each pair is joined, those of a single one left out."""
    counted = Counter(edge.pair for graph in graphs for edge in graph.edges)
    return {pair: number for pair, number in counted.items() if number > 1}


def _graphs(
    past: Past,
    length: float,
    executor: Executor,
    told: Progress,
    stage: str,
    longer: Longer | None,
) -> list[tuple[WindowGraph, Mapping[Node, Period]]]:
    fleet, settings = past.fleet, past.settings
    windows = fleet.windows(length, settings.offset)
    bin_minutes = max(1, round(settings.bin / 60))
    tasks = graph_tasks(fleet, windows, bin_minutes, settings.graph_of(length), longer)
    graphs = []
    told.begin(stage, len(windows) * len(fleet.areas), "graphs")
    try:
        for graph in executor.map(run_task, tasks):
            graphs.append(graph)
            told.advance(1)
    finally:
        told.end()
    return graphs


def _scores(
    past: Past, judged: Sequence[Judged], outages: Iterable[Finding]
) -> tuple[WindowScore, ...]:
    """The windows' scores; those with one of these outages in them are abnormal."""
    found = []
    for one in judged:
        start, end = one.window.seconds
        area = past.fleet.areas[one.area]
        inside = [o.score for o in outages if o.area == area and o.start < end and o.end > start]
        score = max([one.verdict.score, *inside])
        found.append(
            WindowScore(
                start=start,
                end=end,
                area=area,
                edges=one.edges,
                rare=len(one.rare),
                score=round(max(score, 1.0) if inside else score, 3),
                abnormal=one.outage or bool(inside),
            )
        )
    return tuple(found)


def boot_templates(corpus: Corpus, settings: DetectSettings) -> tuple[int, ...]:
    """Return the ids of the templates learnt to come with a start (for `history_of`)."""
    learnt = past_of(corpus, settings).gone.boot_templates
    return tuple(sorted(corpus.templates[index].id for index in learnt))
