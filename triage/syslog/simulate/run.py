"""One simulation from settings to files."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from triage.syslog.progress import Progress
from triage.syslog.simulate.events import (
    DAY,
    Absences,
    Events,
    Sources,
    drifted,
    joined,
    with_effects,
)
from triage.syslog.simulate.fleet import Fleet, build
from triage.syslog.simulate.happenings import Happenings, happen
from triage.syslog.simulate.output import Output
from triage.syslog.simulate.render import Renderer, truth_text
from triage.syslog.simulate.settings import FleetSettings, Layout, start_of
from triage.syslog.simulate.truth import (
    Truth,
    TruthEdge,
    TruthHost,
    TruthNode,
    TruthTemplate,
    write_truth,
)
from triage.syslog.simulate.variables import mixed, uniform

CHUNK = 400_000
"""Lines that are rendered together: about 250 MB of memory."""
DELAY = 40
"""Longest way of a line to a central server, ms."""
CONTINUATIONS = (
    "\tat example.agent.Collector.collect(Collector.java:118)",
    "    caused by: deadline exceeded after 5s",
    '  File "/usr/lib/agent/collect.py", line 88, in run',
    "\t... 12 more",
)


def simulate(settings: FleetSettings, output: Path, progress: Progress) -> Truth:
    """Write a fleet's logs and truth.json into a new folder.

    Raises SimulateError (settings that do not fit, a folder that cannot be written).
    """
    fleet = build(settings)
    start = start_of(settings)
    happenings = happen(fleet, start)
    progress.begin("simulating", settings.lines, "lines")
    try:
        end = start / 1000 + settings.days * DAY / 1000
        with Output(output, settings.compression, settings.labels, end) as files:
            _Run(fleet, happenings, files, start).all(progress)
        truth = _truth(fleet, happenings, start, files.lines)
        write_truth(truth, output / "truth.json")
    finally:
        progress.end()
    return truth


class _Run:
    def __init__(self, fleet: Fleet, happenings: Happenings, files: Output, start: int) -> None:
        self._fleet, self._happenings, self._files, self._start = fleet, happenings, files, start
        self._sources = Sources(fleet, start)
        self._renderer = Renderer(fleet)
        never = np.iinfo(np.int64).max
        hosts = range(len(fleet.hosts))
        self._since = np.array([happenings.since.get(host, never) for host in hosts])
        self._repeats = np.array([host.repeats for host in fleet.hosts])
        self._labels = pl.Series("t", [*fleet.names, None, None], dtype=pl.String)
        self._boots = _boots(happenings.absences)

    def all(self, progress: Progress) -> None:
        settings = self._fleet.settings
        step = max(1, int(CHUNK / (settings.lines / settings.days)))
        pending: list[Events] = []
        for first in range(0, settings.days, step):
            last = min(first + step, settings.days)
            end = self._start + last * DAY
            events = joined([*pending, self._events(first, last)])
            before = events.time < end
            pending = [events.where(~before)]
            count = self._files.lines
            self._write(events.where(before))
            progress.advance(self._files.lines - count)

    def _events(self, first: int, last: int) -> Events:
        """Return all that is received of what began on these days, ordered by nothing yet."""
        happenings = self._happenings
        days = [
            self._sources.day(host, day)
            for day in range(first, last)
            for host in range(len(self._fleet.hosts))
        ]
        scripted = happenings.events
        low, high = self._start + first * DAY, self._start + last * DAY
        days.append(scripted.where((scripted.time >= low) & (scripted.time < high)))
        events = with_effects(self._fleet, joined(days), happenings.absences)
        events = drifted(self._fleet, events, self._since)
        return events.where(happenings.absences.arrives(events, self._fleet.settings.loss))

    def _write(self, events: Events) -> None:
        events, repeated = self._with_repeats(events.where(_order(events)))
        if self._fleet.settings.layout is Layout.MIXED:
            arrival = events.time + (uniform(events.uid ^ np.uint64(0xA44)) * DELAY).astype(
                np.int64
            )
            order = np.argsort(arrival, kind="stable")
            events, repeated = events.where(order), repeated[order]
        for low in range(0, len(events), CHUNK):
            part = slice(low, low + CHUNK)
            self._write_part(events.where(np.arange(len(events))[part]), repeated[part])

    def _with_repeats(self, events: Events) -> tuple[Events, NDArray[np.int64]]:
        """Add "last message repeated" and continuation lines where the next line is later.

        Also returns the message that each line counts as (its label).
        """
        gap = np.diff(events.time, append=0)
        last = np.diff(events.host, append=-1) != 0
        draw = uniform(events.uid ^ np.uint64(0x4E9))
        folded = self._repeats[events.host] & (gap > 2500) & ~last & (draw < 0.004)
        folded &= events.time % DAY < DAY - 3000
        continued = ~folded & (gap > 200) & ~last & (draw > 1 - 2e-5)
        extra = []
        for where, later, message in (
            (folded, 2000, self._renderer.repeated),
            (continued, 1, self._renderer.continued),
        ):
            rows = events.where(where)
            salt = mixed(rows.uid ^ np.uint64(message))
            extra.append(
                Events(rows.time + later, rows.host, np.full(len(rows), message), salt, salt)
            )
        after = np.concatenate([np.flatnonzero(folded), np.flatnonzero(continued)])
        if not len(after):
            return events, events.message
        of = np.concatenate([events.message[folded], extra[1].message])
        everything = joined([events, *extra])
        order = np.insert(np.arange(len(events)), after + 1, len(events) + np.arange(len(after)))
        return everything.where(order), np.concatenate([events.message, of])[order]

    def _write_part(self, events: Events, counts_as: NDArray[np.int64]) -> None:
        lines = self._renderer.lines(events, self._boots_before(events))
        labels = self._labels.gather(counts_as.astype(np.uint32))
        lines, labels = self._spoiled(events, lines, labels)
        if self._fleet.settings.layout is Layout.MIXED:
            self._files.write("fleet", lines, labels)
            return
        edges = np.searchsorted(events.host, np.arange(len(self._fleet.hosts) + 1))
        for host, (low, high) in enumerate(itertools.pairwise(edges.tolist())):
            name = self._fleet.hosts[host].name
            self._files.write(name, lines[low:high], labels[low:high])

    def _boots_before(self, events: Events) -> NDArray[np.int64]:
        boots = np.zeros(len(events), np.int64)
        for host, ends in enumerate(self._boots):
            if len(ends):
                mine = events.host == host
                boots[mine] = np.searchsorted(ends, events.time[mine], side="right")
        return boots

    def _spoiled(
        self, events: Events, lines: pl.Series, labels: pl.Series
    ) -> tuple[pl.Series, pl.Series]:
        """Write continuation lines without header, and break some lines."""
        draw = uniform(events.uid ^ np.uint64(0xB40))
        broken = draw < self._fleet.settings.broken
        broken &= events.message < self._renderer.repeated
        continued = events.message == self._renderer.continued
        rows = np.flatnonzero(broken | continued)
        if not len(rows):
            return lines, labels
        texts = []
        for row in rows.tolist():
            way = int(events.uid[row] % np.uint64(1000))
            if continued[row]:
                texts.append(CONTINUATIONS[way % len(CONTINUATIONS)])
            else:
                following = lines[min(row + 1, lines.len() - 1)]
                texts.append(_broken(lines[row], following, way))
        index = np.arange(lines.len(), dtype=np.uint32)
        index[rows] = lines.len() + np.arange(len(rows), dtype=np.uint32)
        kept = np.ones(lines.len(), np.bool_)
        kept[rows] = False
        labels = pl.select(pl.when(pl.lit(pl.Series(kept))).then(pl.lit(labels))).to_series()
        return pl.concat([lines, pl.Series("line", texts)]).gather(index), labels


def _broken(line: str, following: str, way: int) -> str:
    """Return a line as a full disk, a lost packet or a bad cable leaves it."""
    cut = 1 + way * len(line) // 1000
    return (
        line[:cut],
        line[cut:] or "?",
        line[:cut] + following,
        line[:cut] + "\0" * (way % 40),
        line[:cut] + "\ue000" + line[cut:],
    )[way % 5]


def _order(events: Events) -> NDArray[np.int64]:
    """Return the order by host and time; within a millisecond by the events' own numbers."""
    since = events.time - events.time.min(initial=0 if not len(events) else events.time[0])
    key = (events.host << 44) | (since << 8) | (events.uid >> np.uint64(56)).astype(np.int64)
    return np.argsort(key, kind="stable")


def _boots(absences: Absences) -> list[NDArray[np.int64]]:
    return [np.array(sorted(until for _, until in spans), np.int64) for spans in absences.away]


# Truth


def _truth(fleet: Fleet, happenings: Happenings, start: int, lines: int) -> Truth:
    settings = fleet.settings
    predecessor = {int(new): old for old, new in enumerate(fleet.drift_to.tolist()) if new != old}
    return Truth(
        seed=settings.seed,
        start=start / 1000,
        end=(start + settings.days * DAY) / 1000,
        hosts=tuple(TruthHost(name=host.name, site=host.site) for host in fleet.hosts),
        templates=tuple(
            TruthTemplate(
                name=name,
                text=truth_text(message, fleet.kernel_times),
                replaces=fleet.names[predecessor[number]] if number in predecessor else "",
            )
            for number, (name, message) in enumerate(
                zip(fleet.names, fleet.messages, strict=True)
            )
        ),
        edges=_truth_edges(fleet),
        outages=happenings.outages,
        decoys=happenings.decoys,
        lines=lines,
        settings={key: str(value) if not isinstance(value, (int, float)) else value
                  for key, value in asdict(settings).items()},
    )  # fmt: skip


def _truth_edges(fleet: Fleet) -> tuple[TruthEdge, ...]:
    size, graph = len(fleet.messages), fleet.graph

    def node(number: int) -> TruthNode:
        return TruthNode(template=fleet.names[number % size], host=fleet.hosts[number // size].name)

    columns = (graph.cause, graph.effect, graph.lag, graph.probability)
    return tuple(
        TruthEdge(
            cause=node(cause), effect=node(effect), lag_seconds=round(lag, 3),
            probability=round(probability, 4),
        )
        for cause, effect, lag, probability in zip(
            *(column.tolist() for column in columns), strict=True
        )
    )  # fmt: skip
