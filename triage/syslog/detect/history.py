"""What a service remembers of a fleet, so that one host's last minutes can be judged at once.

Rules
- `History` is data alone: msgspec encodes and decodes it (`encode`, `decode`); it is as large as
  the fleet has (host, template) and pairs, not as its logs.
- Pure functions: `update` by newer counts (those before `History.end` are left out: updating twice
  changes nothing), `forget` what is long gone, `findings_in` one host's window. Whoever judges a
  window updates the history afterwards: what the window says is no history of its own.
- The same settings decide as for a whole corpus: `rare_share`, `burst`, `silence`. What a whole
  corpus reads from quantiles is a mean here, for means can be kept.
- With fewer than `DAYS` days of a host nothing is rare on it yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from triage.syslog.detect.findings import clock, length_text, ordered, plural
from triage.syslog.detect.series import Events, Fleet, Ints, Window, graph_task, run_task
from triage.syslog.detect.settings import DetectSettings
from triage.syslog.detect.silence import gap_limit, restarts_of
from triage.syslog.detect.words import Traits, traits_of
from triage.syslog.tables import Corpus, Edge, Finding, FindingKind, Template, WindowGraph

DAYS = 3
"""Days of a host before anything is rare on it."""
LONGEST_GAP = 2880
"""Gaps are counted by minutes up to this."""
EACH = 8
"""Findings of each kind for one host and window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePast:
    """A template on a host."""

    first: float
    last: float
    """Seconds since 1970, to the minute."""
    days: int
    windows: int
    """Short windows with lines."""
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPast:
    """A host."""

    first: float
    last: float
    days: int
    gaps: Mapping[int, int] = field(default_factory=dict)
    """Minutes from one minute with lines to the next -> how often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPast:
    """An edge, by its two nodes."""

    days: int
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A fleet's past."""

    start: float = 0.0
    end: float = 0.0
    """Counts before this are in it."""
    days: int = 0
    hosts: Mapping[str, HostPast] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[int, NodePast]] = field(default_factory=dict)
    """Host -> template id -> its past there."""
    pairs: Mapping[str, PairPast] = field(default_factory=dict)
    """`pair_key` of an edge -> its past."""
    boots: tuple[int, ...] = ()
    """Ids of templates learnt to come with a start, sorted."""


def encode(history: History) -> bytes:
    """Return a history as MessagePack."""
    return msgspec.msgpack.encode(history)


def decode(data: bytes) -> History:
    """Return the history that `encode` wrote; raises msgspec.DecodeError for other bytes."""
    return msgspec.msgpack.decode(data, type=History)


def pair_key(edge: Edge) -> str:
    """Return an edge's identity as text."""
    a, b = edge.pair
    return f"{a.host} {a.group:012x} {b.host} {b.group:012x}"


def history_of(
    corpus: Corpus,
    graphs: Iterable[WindowGraph] = (),
    settings: DetectSettings | None = None,
    boots: Iterable[int] = (),
) -> History:
    """Return a corpus's history; `graphs` are its windows' (`Detection.graphs`)."""
    empty = History(boots=tuple(sorted(boots)))
    return update(empty, corpus, graphs, settings or DetectSettings())


def update(
    history: History,
    corpus: Corpus,
    graphs: Iterable[WindowGraph] = (),
    settings: DetectSettings | None = None,
) -> History:
    """Return the history with a corpus's newer counts, and the edges of newer graphs."""
    chosen = settings or DetectSettings()
    fleet = Fleet(corpus, chosen.area)
    events = fleet.events
    since = round(history.end / 60)
    if events.minute.size:
        events = events.between(max(since, int(events.minute[0])), int(events.minute[-1]) + 1)
    newer = [graph for graph in graphs if graph.start >= history.end or not history.end]
    pairs = _pairs(history.pairs, newer, chosen)
    if not events.minute.size:
        return replace(history, pairs=pairs)
    shift = round(chosen.offset / 60)
    first, last = int(events.minute[0]), int(events.minute[-1])
    seen_days = np.unique((events.minute + shift) // 1440)
    known = history.end > 0 and (since - 1 + shift) // 1440 == int(seen_days[0])
    return History(
        start=history.start if history.end else first * 60.0,
        end=(last + 1) * 60.0,
        days=history.days + seen_days.size - known,
        hosts=_hosts(history, corpus, events, shift),
        nodes=_nodes(history, corpus, events, shift, max(1, round(chosen.short / 60))),
        pairs=pairs,
        boots=history.boots,
    )


def forget(history: History, before: float) -> History:
    """Return the history without what was last seen before a time."""
    nodes = {
        host: kept
        for host, of_host in history.nodes.items()
        if (kept := {t: past for t, past in of_host.items() if past.last >= before})
    }
    return replace(
        history,
        hosts={host: past for host, past in history.hosts.items() if past.last >= before},
        nodes=nodes,
        pairs={key: past for key, past in history.pairs.items() if past.last >= before},
    )


def findings_in(
    history: History,
    corpus: Corpus,
    host: str,
    start: float,
    end: float,
    settings: DetectSettings | None = None,
) -> tuple[Finding, ...]:
    """Return what is unusual on one host in [start, end), in seconds.

    `corpus` holds the window, and may hold more: minutes of the host before it say since when it
    is silent, other hosts' whether they are, too. A host without any line in it can still be
    silent: its past says so.
    """
    chosen = settings or DetectSettings()
    fleet = Fleet(corpus, chosen.area)
    span = Window(int(start // 60), int(-(-end // 60)))
    number = corpus.hosts.index(host) if host in corpus.hosts else -1
    own = fleet.events.where(fleet.events.host == number)
    here = _Here(history, corpus, fleet, host, number, own, span, chosen)
    found = [*_rare(here), *_bursts(here), *_silence(here), *_restarts(here), *_new_edges(here)]
    return ordered(found, EACH)


@dataclass(frozen=True)
class _Here:
    """One host's window, and its past."""

    history: History
    corpus: Corpus
    fleet: Fleet
    host: str
    number: int
    """Index of the host in the corpus; -1: it has no line there."""
    own: Events
    span: Window
    settings: DetectSettings

    @property
    def lines(self) -> dict[int, int]:
        """Index of each template with lines in the window -> lines."""
        events = self.own.between(self.span.start, self.span.end)
        sums = np.bincount(events.template, weights=events.count)
        return {int(index): int(sums[index]) for index in np.flatnonzero(sums)}

    def rare(self, template: int) -> bool:
        """Whether a template id is rare on this host by its past."""
        host = self.history.hosts.get(self.host)
        if host is None or host.days < DAYS:
            return False
        past = self.history.nodes.get(self.host, {}).get(template)
        return past is None or past.days <= max(1, int(self.settings.rare_share * host.days))

    def finding(self, kind: FindingKind, score: float, summary: str, *templates: int) -> Finding:
        """A finding of the whole window."""
        start, end = self.span.seconds
        return Finding(
            kind=kind, start=start, end=end, area=self.host, hosts=(self.host,),
            score=round(score, 3), summary=summary, templates=templates,
        )  # fmt: skip


def _text(template: Template) -> str:
    return f'"{(template.name or template.text)[:100]}"'


def _rare(here: _Here) -> list[Finding]:
    found = []
    for index, lines in here.lines.items():
        template = here.corpus.templates[index]
        if not here.rare(template.id):
            continue
        past = here.history.nodes.get(here.host, {}).get(template.id)
        elsewhere = sum(template.id in of_host for of_host in here.history.nodes.values())
        score = (2.0 if traits_of(template).trouble else 1.0) + (0.0 if elsewhere else 0.5)
        when = (
            f"last seen {clock(past.last)}, on {plural(past.days, 'day')} of "
            f"{here.history.hosts[here.host].days}"
            if past
            else f"never before on this host, known on {plural(elsewhere, 'host')}"
        )
        summary = f"{here.host}: {_text(template)}, {plural(lines, 'line')}; {when}."
        found.append(here.finding(FindingKind.RARE_TEMPLATE, score, summary, template.id))
    return found


def _bursts(here: _Here) -> list[Finding]:
    found = []
    part = (here.span.end - here.span.start) * 60 / here.settings.short
    for index, lines in here.lines.items():
        template = here.corpus.templates[index]
        past = here.history.nodes.get(here.host, {}).get(template.id)
        if past is None or past.windows < 4 or lines < here.settings.burst_lines:
            continue
        # A part of a window may hold all of the window's lines: no less than a quarter is usual.
        usual = max(1.0, past.lines / past.windows * max(part, 0.25))
        if lines >= here.settings.burst * usual:
            kind = FindingKind.SCAN if traits_of(template).stranger else FindingKind.BURST
            summary = (
                f"{here.host}: {plural(lines, 'line')} of {_text(template)}, "
                f"{lines / usual:.0f} times the usual."
            )
            score = lines / usual / here.settings.burst
            found.append(here.finding(kind, score, summary, template.id))
    return found


def _silence(here: _Here) -> list[Finding]:
    host = here.history.hosts.get(here.host)
    if host is None or host.days < 1:
        return []
    gaps = np.repeat(
        np.fromiter(host.gaps.keys(), dtype=np.int64), np.fromiter(host.gaps.values(), np.int64)
    )
    limit = gap_limit(gaps, here.settings)
    before = [int(host.last // 60)] if host.last < here.span.start * 60 else []
    points = np.unique(np.concatenate([here.own.minute, np.asarray(before, dtype=np.int64)]))
    points = np.append(points[points < here.span.end], here.span.end)
    at = int(np.argmax(np.diff(points))) if points.size > 1 else -1
    wide = np.diff(points)
    late = np.flatnonzero((wide > limit) & (points[1:] > here.span.start))
    if at < 0 or not late.size:
        return []
    longest = int(late[np.argmax(wide[late])])
    start, end = int(points[longest]) + 1, int(points[longest + 1])
    others = here.fleet.events.between(start, end)
    alone = bool(np.any(others.host != here.number))
    more = "" if end < here.span.end else ", until now"
    loss = "" if alone else "; no other host has any either: perhaps nothing was collected"
    summary = (
        f"{here.host}: no lines from {clock(start * 60.0)} for {length_text((end - start) * 60)}"
        f"{more} (usual: up to {round(limit)} min){loss}."
    )
    finding = here.finding(FindingKind.SILENCE, (end - start) / limit, summary)
    return [replace(finding, start=start * 60.0, end=end * 60.0)]


def _restarts(here: _Here) -> list[Finding]:
    own = here.own
    if here.number < 0 or not own.minute.size:
        return []
    templates = here.corpus.templates
    traits: list[Traits] = [traits_of(template) for template in templates]
    rare = np.asarray([here.rare(template.id) for template in templates], dtype=np.bool_)
    boots = set(here.history.boots)
    learnt = {index for index, template in enumerate(templates) if template.id in boots}
    found = []
    for restart in restarts_of(here.number, own, traits, rare, learnt):
        if not here.span.start <= restart.minute < here.span.end:
            continue
        how = "after an orderly stop" if restart.ordered else "without an orderly stop before it"
        finding = here.finding(
            FindingKind.RESTART,
            1.0 + restart.down / 60,
            f"{here.host} started anew at {clock(restart.minute * 60.0)}, {how}, "
            f"{length_text(restart.down * 60)} without lines.",
            *(templates[index].id for index in restart.templates),
        )
        begin = (restart.minute - restart.down) * 60.0
        found.append(replace(finding, start=begin, end=(restart.minute + 1) * 60.0))
    return found


def _new_edges(here: _Here) -> list[Finding]:
    """Edges of the host's area that touch the host and that its past hardly has."""
    if here.number < 0 or not here.history.pairs or here.history.days < DAYS:
        return []
    area = int(here.fleet.area_of[here.number])
    settings = here.settings.graph_of((here.span.end - here.span.start) * 60.0)
    bin_minutes = max(1, round(here.settings.bin / 60))
    graph, _ = run_task(graph_task(here.fleet, here.span, area, bin_minutes, settings))
    most = max(1, int(here.settings.rare_share * here.history.days))

    def days(edge: Edge) -> int:
        past = here.history.pairs.get(pair_key(edge))
        return past.days if past else 0

    new = [e for e in graph.edges if here.host in (e.a.host, e.b.host) and days(e) <= most]
    least = max(1, here.settings.peak_edges // 2)  # of one host, not of a whole area
    if len(new) < least:
        return []
    new.sort(key=lambda edge: (days(edge), -edge.strength, edge.pair))
    hosts = sorted({node.host for edge in new for node in edge.pair})
    summary = (
        f"{here.host}: {plural(len(new), 'edge')} that at most {plural(most, 'day')} of "
        f"{here.history.days} had, {sum(not days(edge) for edge in new)} of them for the first "
        f"time, with {plural(len(hosts) - 1, 'other host')}."
    )
    finding = here.finding(FindingKind.NEW_EDGES, len(new) / least, summary)
    edges = tuple(new[: here.settings.most_edges])
    return [replace(finding, hosts=tuple(hosts), edges=edges, edges_total=len(new))]


def _day(seconds: float, shift: int) -> int:
    return (int(seconds // 60) + shift) // 1440


def _hosts(history: History, corpus: Corpus, events: Events, shift: int) -> dict[str, HostPast]:
    hosts = dict(history.hosts)
    for number in np.unique(events.host).tolist():
        minutes = np.unique(events.minute[events.host == number])
        name = corpus.hosts[number]
        past = hosts.get(name)
        points = np.append(int(past.last // 60), minutes) if past else minutes
        gaps = Counter(past.gaps if past else {})
        gaps.update(np.minimum(np.diff(points), LONGEST_GAP).tolist())
        days = np.unique((minutes + shift) // 1440)
        known = past is not None and _day(past.last, shift) == int(days[0])
        hosts[name] = HostPast(
            first=past.first if past else int(minutes[0]) * 60.0,
            last=int(minutes[-1]) * 60.0,
            days=(past.days if past else 0) + days.size - known,
            gaps=dict(sorted(gaps.items())),
        )
    return hosts


def _nodes(
    history: History, corpus: Corpus, events: Events, shift: int, step: int
) -> dict[str, dict[int, NodePast]]:
    nodes = {host: dict(of_host) for host, of_host in history.nodes.items()}
    if not events.minute.size:
        return nodes
    key = events.host * len(corpus.templates) + events.template
    order = np.argsort(key, kind="stable")
    names, begins = np.unique(key[order], return_index=True)
    for name, part in zip(names.tolist(), np.split(order, begins[1:]), strict=True):
        number, index = divmod(name, len(corpus.templates))
        of_host = nodes.setdefault(corpus.hosts[number], {})
        template = corpus.templates[index].id
        past = of_host.get(template)
        of_host[template] = _node(past, events.minute[part], int(events.count[part].sum()),
                                  shift, step)  # fmt: skip
    return nodes


def _node(past: NodePast | None, minutes: Ints, lines: int, shift: int, step: int) -> NodePast:
    days = np.unique((minutes + shift) // 1440)
    windows = np.unique(minutes // step)
    first, last = int(minutes[0]) * 60.0, int(minutes[-1]) * 60.0
    if past is None:
        return NodePast(first=first, last=last, days=days.size, windows=windows.size, lines=lines)
    return NodePast(
        first=past.first,
        last=last,
        days=past.days + days.size - (_day(past.last, shift) == int(days[0])),
        windows=past.windows + windows.size - (int(past.last // 60) // step == int(windows[0])),
        lines=past.lines + lines,
    )


def _pairs(
    before: Mapping[str, PairPast], graphs: Iterable[WindowGraph], settings: DetectSettings
) -> dict[str, PairPast]:
    pairs = dict(before)
    shift = round(settings.offset / 60)
    for graph in sorted(graphs, key=lambda graph: (graph.start, graph.area)):
        for key in {pair_key(edge) for edge in graph.edges}:
            past = pairs.get(key)
            same = past is not None and _day(past.last, shift) == _day(graph.start, shift)
            pairs[key] = PairPast(
                days=(past.days if past else 0) + (not same), last=float(graph.start)
            )
    return pairs
