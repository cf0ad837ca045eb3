"""What `triage syslog graph` does: graphs of windows, and one view of them in a form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triage.syslog.detect import DetectSettings
from triage.syslog.detect.series import Fleet, graph_tasks, run_task
from triage.syslog.executor import Executor
from triage.syslog.progress import Progress
from triage.syslog.report.graphs import (
    GraphView,
    dot,
    graph_around,
    graph_data,
    labels_of,
    left_out_text,
)
from triage.syslog.tables import Corpus, WindowGraph
from triage.views.words import escaped
from vmmib.commands import Failure

WIDTH = 13.0
"""Inches of a drawing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of the graphs is to be seen."""

    centre: tuple[int, ...]
    """Group ids; none: all of it."""
    hops: int
    host: str
    nodes: int


def learn_graphs(
    corpus: Corpus,
    settings: DetectSettings,
    length: float,
    at: float | None,
    executor: Executor,
    progress: Progress,
) -> list[WindowGraph]:
    """Return the graphs of all windows, or of the one in which `at` lies."""
    fleet = Fleet(corpus, settings.area)
    windows = fleet.windows(length, settings.offset)
    if at is not None:
        windows = tuple(one for one in windows if one.seconds[0] <= at < one.seconds[1])
        if not windows:
            raise Failure("--at: the logs have nothing at that time")
    tasks = graph_tasks(fleet, windows, max(1, round(settings.bin / 60)), settings.graph_of(length))
    progress.begin("graphs", len(windows) * len(fleet.areas), "graphs")
    graphs = []
    for one, _ in executor.map(run_task, tasks):
        graphs.append(one)
        progress.advance(1)
    progress.end()
    return graphs


def view_of(graphs: Sequence[WindowGraph], corpus: Corpus, wanted: Wanted, form: str) -> bytes:
    """Return what is wanted of the graphs, in a form, as bytes."""
    centre = wanted.centre or tuple(one.id for one in corpus.groups)
    view = graph_around(graphs, centre, hops=wanted.hops, host=wanted.host, nodes=wanted.nodes)
    if wanted.centre and not view.edges:
        raise Failure("no edge of any window has it: look at other windows with --window, --at")
    labels = labels_of(corpus.groups)
    if form in {"svg", "png"}:
        return drawn(view, labels, form)
    if form == "dot":
        return dot(view, labels).encode()
    if form == "json":
        return (json.dumps(graph_data(view, labels), indent=2, ensure_ascii=False) + "\n").encode()
    return _text(view, labels).encode()


def drawn(view: GraphView, labels: Mapping[int, str], form: str) -> bytes:
    """Return a drawing, "svg" or "png"."""
    from triage.syslog.report.network import draw_graph  # noqa: PLC0415 - matplotlib
    from triage.syslog.report.svg import drawing, to_png, to_svg  # noqa: PLC0415

    with drawing():
        figure = draw_graph(view, labels, WIDTH)
        return to_png(figure) if form == "png" else to_svg(figure, "graph")


def _text(view: GraphView, labels: Mapping[int, str]) -> str:
    lines = []
    for edge in sorted(view.edges, key=lambda one: (-one.windows, one.a, one.b)):
        sign = "->" if edge.forward > edge.backward else "<-" if edge.backward else "--"
        names = [f"{node.host}: {labels.get(node.group, '?')}" for node in (edge.a, edge.b)]
        lines.append(escaped(f"{edge.windows:5d}  {names[0]}  {sign}  {names[1]}"))
    note = left_out_text(view)
    return "".join(f"{line}\n" for line in [*lines, *([note] if note else [])])
