"""The figures of each window and area: what is unusual there, how much of it, who was away.

Rules
- Everything is read from tables that exist once for the corpus; a window's own share are slices.
- Times in here are minutes since 1970, [start, end).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from triage.syslog.detect.decide import WindowFeatures
from triage.syslog.detect.series import Events, Flags, Fleet, Floats, Ints, Window
from triage.syslog.detect.settings import DetectSettings
from triage.syslog.detect.silence import Absences, Restart, Silence
from triage.syslog.detect.unusual import NodeTable, Occurrence
from triage.syslog.detect.words import Traits

CLOSE = 30
"""Minutes that are close together."""
SAME = 2
"""More lines of one program on one host are one message of many lines, or one error's chain."""
SCALES = (30, 10)
"""Minutes within which crowds are looked for: a stall takes its time, a flap does not."""
AWAY_MINUTES = 5
"""A host that starts anew later was away in a window for at least so many of its minutes."""


@dataclass(frozen=True)
class Past:
    """What the windows of every length are judged with."""

    fleet: Fleet
    traits: tuple[Traits, ...]
    seen: Occurrence
    gone: Absences
    settings: DetectSettings

    @cached_property
    def trouble(self) -> Flags:
        """Templates that speak of trouble."""
        return np.asarray([trait.trouble for trait in self.traits], dtype=np.bool_)

    @cached_property
    def programs(self) -> Ints:
        """A number for the program of each template."""
        names = {name: at for at, name in enumerate(sorted({t.program for t in self.traits}))}
        return np.asarray([names[trait.program] for trait in self.traits], dtype=np.int64)

    @cached_property
    def silences(self) -> tuple[Silence, ...]:
        """Those that count: of hosts that were away themselves, and came back or may do so."""
        return tuple(
            self.bounded(s) for s in self.gone.silences if not (s.lost or self.explained(s))
        )

    def explained(self, silence: Silence) -> bool:
        """Whether a silence is a clock's jump, or a host taken out of service."""
        return silence.shifted or (silence.ordered and self.lasting(silence))

    def lasting(self, silence: Silence) -> bool:
        """Whether it has not ended, and is known by now."""
        return not silence.resumed and silence.minutes * 60 >= self.settings.retired

    def bounded(self, silence: Silence) -> Silence:
        """The part of a silence that is news: of one that lasts its beginning."""
        if not self.lasting(silence):
            return silence
        return replace(silence, end=silence.start + round(self.settings.merge / 60))

    @cached_property
    def restarts(self) -> tuple[Restart, ...]:
        """Those that count: not a host's first start."""
        return tuple(restart for restart in self.gone.restarts if not restart.first)


@dataclass(frozen=True)
class Tally:
    """Counts of each (window, area), flat: windows in order, within them areas."""

    trouble: Floats
    """Unusual (host, template) that speak of trouble."""
    usual: Floats
    """(host, template) that are there on most days: the exposure."""
    order: Ints
    """Rows of the table with something unusual, by (window, area)."""
    bounds: Ints
    """Where in `order` each (window, area) begins; one more at the end."""

    def rows(self, number: int) -> Ints:
        """Return the table's rows of one (window, area) that are unusual or lasting."""
        return self.order[self.bounds[number] : self.bounds[number + 1]]


def tally(past: Past, windows: int, table: NodeTable) -> Tally:
    """Count the table's rows by window and area."""
    areas = len(past.fleet.areas)
    number = table.window * areas + past.fleet.area_of[table.host]
    size = windows * areas
    shown = np.flatnonzero(table.unusual | table.lasting)
    order = shown[np.argsort(number[shown], kind="stable")]
    loud = table.unusual & past.trouble[table.template]
    return Tally(
        trouble=np.bincount(number[loud], minlength=size).astype(np.float64),
        usual=np.bincount(number[~table.unusual], minlength=size).astype(np.float64),
        order=order,
        bounds=np.searchsorted(number[order], np.arange(size + 1)),
    )


def slots(windows: Sequence[Window], settings: DetectSettings) -> Ints:
    """Number each window's place in the day, apart on weekends when there are three of them."""
    shift = round(settings.offset / 60)
    start = np.asarray([window.start + shift for window in windows], dtype=np.int64)
    if not start.size:
        return start
    place = start % 1440
    if start[-1] - start[0] < 21 * 1440:
        return place
    weekend = (start // 1440 + 3) % 7 >= 5  # 1 January 1970 was a Thursday
    return place + 1440 * weekend


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """When and where a window's lines of trouble come, and who was away."""

    start: int
    end: int
    hosts: frozenset[int]
    silences: tuple[Silence, ...] = ()
    restarts: tuple[Restart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """How far above their thresholds the counts of one window and area are."""

    edges: float
    trouble: float


def features_of(
    past: Past, window: Window, area: int, table: NodeTable, rows: Ints, close: Close, peaks: Peaks
) -> tuple[WindowFeatures, Evidence]:
    """Return the figures of one window and area, and what of it is evidence of an outage."""
    traits = [past.traits[template] for template in table.template[rows]]
    unusual = [trait for trait, row in zip(traits, rows, strict=True) if table.unusual[row]]
    programs = {past.traits[template].program for template in table.template[close.rows]}
    silences = tuple(s for s in past.silences if _meets(past, s, window, area))
    edged = peaks.edges >= 1
    restarts = tuple(
        r for r in past.restarts if _starts(past, r, window, area) and (edged or _sure(past, r))
    )
    lost = [s for s in past.gone.silences if s.lost and _meets(past, s, window, area)]
    features = WindowFeatures(
        edge_peak=peaks.edges,
        trouble_peak=peaks.trouble,
        trouble_close=close.crowd,
        trouble_hosts=len(set(table.host[close.rows].tolist())),
        trouble_programs=len(programs),
        unusual=len(unusual),
        trouble=sum(trait.trouble for trait in unusual),
        stranger=sum(trait.stranger for trait in unusual),
        change=sum(trait.change for trait in unusual),
        lasting=int(table.lasting[rows].sum()),
        largest_program=max(Counter(trait.program for trait in unusual).values(), default=0),
        silent=len({silence.host for silence in silences}),
        lost=len({silence.host for silence in lost}),
        restarted=len({restart.host for restart in restarts}),
    )
    return features, _evidence(window, close, table, silences, restarts)


def _sure(past: Past, restart: Restart) -> bool:
    """Whether more tells of a start than many kinds of line after a pause that a disk can make."""
    return restart.told or restart.ordered or restart.down * 60 >= past.settings.silence


def _starts(past: Past, restart: Restart, window: Window, area: int) -> bool:
    """Whether a host starts in the window, or is away for it in a good part of it."""
    if past.fleet.area_of[restart.host] != area:
        return False
    if window.start <= restart.minute < window.end:
        return True
    away = min(restart.minute, window.end) - max(restart.minute - restart.down, window.start)
    return restart.minute >= window.end and away >= AWAY_MINUTES


def _meets(past: Past, silence: Silence, window: Window, area: int) -> bool:
    return (
        past.fleet.area_of[silence.host] == area
        and silence.start < window.end
        and silence.end > window.start
    )


def loud_rows(past: Past, table: NodeTable, rows: Ints) -> Ints:
    """Return the unusual rows of trouble among some rows of the table."""
    return rows[table.unusual[rows] & past.trouble[table.template[rows]]]


def somebody_away(past: Past, window: Window, area: int) -> bool:
    """Whether a host of the area was silent or started anew in the window."""
    return any(_meets(past, s, window, area) for s in past.silences) or any(
        _starts(past, r, window, area) for r in past.restarts
    )


@dataclass(frozen=True, slots=True)
class Close:
    """The rows that come closest together."""

    rows: Ints
    start: int
    end: int
    crowd: int = 0
    """Their number, of one program on one host at most `SAME`."""


def closest(
    past: Past, window: Window, area: int, table: NodeTable, loud: Ints
) -> tuple[Close, ...]:
    """Return, for each of `SCALES`, the span of it with most of these rows of the table."""
    if loud.size < 2:
        return (Close(loud, window.start, window.end, loud.size),) * len(SCALES)
    templates = len(past.traits)
    wanted = table.host[loud] * templates + table.template[loud]
    events = past.fleet.by_area[area].between(window.start, window.end)
    minute, node = _of(events, wanted, templates)
    found = []
    for scale in SCALES:
        low, high, names, crowd = _most(past, window, minute, node, scale)
        start, end = _widened(minute, int(minute[low]), int(minute[high - 1]) + 1)
        found.append(Close(loud[np.isin(wanted, names)], start, end, crowd))
    return tuple(found)


def _most(
    past: Past, window: Window, minute: Ints, node: Ints, scale: int
) -> tuple[int, int, Ints, int]:
    """The span of `scale` minutes with the largest crowd, as places [low, high)."""
    best, names, span = -1, node[:0], (0, 1)
    starts = np.arange(window.start - scale // 2, window.end, max(1, scale // 2))
    bounds = np.searchsorted(minute, np.stack([starts, starts + scale]))
    for low, high in bounds.T.tolist():
        if high - low > best:
            found = np.unique(node[low:high])
            crowd = _crowd(past, found)
            if crowd > best:
                best, names, span = crowd, found, (low, high)
    return *span, names, best


def _crowd(past: Past, nodes: Ints) -> int:
    """The number of nodes, of one program on one host at most `SAME`."""
    host, template = np.divmod(nodes, len(past.traits))
    writer = host * len(past.traits) + past.programs[template]
    return int(np.minimum(np.unique(writer, return_counts=True)[1], SAME).sum())


def _of(events: Events, wanted: Ints, templates: int) -> tuple[Ints, Ints]:
    node = events.host * templates + events.template
    chosen = np.isin(node, wanted)
    return events.minute[chosen], node[chosen]


def _widened(minute: Ints, start: int, end: int) -> tuple[int, int]:
    """Widen a span of sorted minutes while the next one is close."""
    gaps = np.flatnonzero(np.diff(minute) > CLOSE // 2)
    first = np.append(0, gaps + 1)
    last = np.append(gaps, minute.size - 1)
    for low, high in zip(minute[first], minute[last], strict=True):
        if low < end and high >= start:
            start, end = min(start, int(low)), max(end, int(high) + 1)
    return start, end


def _evidence(
    window: Window,
    close: Close,
    table: NodeTable,
    silences: tuple[Silence, ...],
    restarts: tuple[Restart, ...],
) -> Evidence:
    away = [(s.start, s.end) for s in silences] + [
        (r.minute - r.down, r.minute + 2) for r in restarts
    ]
    hosts = {s.host for s in silences} | {r.host for r in restarts}
    if close.rows.size >= 2 or not away:
        away.append((close.start, close.end))
        hosts |= set(table.host[close.rows].tolist())
    return Evidence(
        start=max(window.start, min(start for start, _ in away)),
        end=min(window.end, max(end for _, end in away)),
        hosts=frozenset(int(host) for host in hosts),
        silences=silences,
        restarts=restarts,
    )
