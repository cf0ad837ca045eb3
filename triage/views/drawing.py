"""A timeline as SVG that stands inside a page: no script, no outside reference.

Rules
- Everything that a stranger wrote goes through `html.escape` after `words.escaped`.
- Colours are classes of the page's style sheet (`STYLE`), so that light, dark and print differ in
  one place; a mark's level is told by its shape too.
- Labels never lie on each other: each is set beside its mark where there is room, above or below
  the line, and left out where there is none; its tooltip and the table have it all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from triage.evidence import Outcome
from triage.views.timeline import Lane, Level, Mark, Span, Timeline, bucketed
from triage.views.words import date_time, escaped, relative, shortened, time_of_day

WIDTH = 1080
LEFT = 108
RIGHT = 18
TOP = 44
BOTTOM = 34
TALL = 62
"""Of a lane with something in it; an empty one takes less."""
LOW = 30
BUCKET = 13
"""Pixels that two marks are apart at least: some 70 a lane, 500 in all at most."""
TICK = 92
"""Pixels that two ticks are apart at least."""
CHARACTER = 6.3
"""Pixels: the mean width of one at the labels' size, in a wide typeface."""
LABEL = 36
"""Characters of a label at most."""

_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000),
)

STYLE = """
svg.timeline { width: 100%; height: auto; font: 11px system-ui, "DejaVu Sans", sans-serif; }
svg.timeline.key { width: 22px; height: 20px; flex: none; }
.timeline text { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px;
  stroke-linejoin: round; stroke-opacity: .75; }
.timeline .name { font-weight: 600; font-size: 12px; }
.timeline .soft { fill: var(--soft); }
.timeline .strong { font-weight: 700; }
.timeline .rule { stroke: var(--line); stroke-width: 1; }
.timeline .grid { stroke: var(--line); stroke-width: 1; stroke-dasharray: 1 4; }
.timeline .zero { stroke: var(--bad); stroke-width: 1.5; }
.timeline .over { stroke: var(--good); stroke-width: 1.5; stroke-dasharray: 5 3; }
.timeline .outage { fill: var(--bad); opacity: .06; }
.timeline .window { fill: var(--window); opacity: .1; }
.timeline .edge { stroke: var(--window); stroke-width: 1; stroke-dasharray: 3 2; opacity: .7; }
.timeline .blind { fill: url(#blind); }
.timeline .hatch { stroke: var(--warning); stroke-width: 1.4; opacity: .4; }
.timeline .took { stroke-width: 4; opacity: .35; }
.timeline .held { opacity: .22; }
.timeline .ring { fill: none; stroke: var(--ink); stroke-width: 1.8; }
.timeline .bad { fill: var(--bad); } .timeline .took.bad { stroke: var(--bad); }
.timeline .warning { fill: var(--warning); } .timeline .took.warning { stroke: var(--warning); }
.timeline .info { fill: var(--soft); } .timeline .took.info { stroke: var(--soft); }
.timeline .good { fill: var(--paper); stroke: var(--good); stroke-width: 2; }
.timeline .held.good { fill: var(--good); stroke: none; }
"""


HATCH = (
    '<defs><pattern id="blind" width="8" height="8" patternUnits="userSpaceOnUse"'
    ' patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="8"/>'
    "</pattern></defs>"
)


@dataclass(slots=True)
class _Axis:
    """Times to pixels."""

    start: float
    end: float

    def x(self, time: float) -> float:
        inner = WIDTH - LEFT - RIGHT
        part = (time - self.start) / (self.end - self.start)
        return LEFT + inner * min(1.0, max(0.0, part))

    @property
    def second(self) -> float:
        """Pixels of one second."""
        return (WIDTH - LEFT - RIGHT) / (self.end - self.start)


@dataclass(slots=True)
class _Row:
    """One row of labels; remembers what is taken."""

    taken: list[tuple[float, float]] = field(default_factory=list)

    def take(self, left: float, right: float) -> bool:
        """Take the room between, when it is free and within the drawing."""
        if left < LEFT - 8 or right > WIDTH - RIGHT + 6:
            return False
        if any(left < other_right and other_left < right for other_left, other_right in self.taken):
            return False
        self.taken.append((left, right))
        return True


def drawing(timeline: Timeline) -> str:
    """Return the SVG element."""
    axis = _Axis(timeline.start, timeline.end)
    heights = [_height(lane) for lane in timeline.lanes]
    bottom = TOP + sum(heights)
    height = bottom + BOTTOM
    size = f'viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg class="timeline" {size} role="img" aria-labelledby="drawn-title drawn-desc">',
        '<title id="drawn-title">Timeline of the incident</title>',
        f'<desc id="drawn-desc">{_text(_described(timeline))}</desc>',
        HATCH,
    ]
    parts += _backdrop(timeline, axis, bottom)
    top = TOP
    for lane, tall in zip(timeline.lanes, heights, strict=True):
        parts += _lane(lane, axis, top, tall, timeline.zero)
        top += tall
    parts.append(_line("rule", LEFT, TOP, LEFT, bottom))
    parts.append("</svg>")
    return "\n".join(parts)


def _described(timeline: Timeline) -> str:
    until = "still lasting" if timeline.ended is None else f"over at {date_time(timeline.ended)}"
    lanes = ", ".join(f"{lane.name} ({len(lane.marks)})" for lane in timeline.lanes)
    return (
        f"One row a layer, from {date_time(timeline.start)} to {date_time(timeline.end)}."
        f" The first bad observation, T, is at {date_time(timeline.zero)}; {until}."
        f" Entries by layer: {lanes}."
        " The table below has all of them."
    )


def _height(lane: Lane) -> int:
    return TALL if lane.marks or lane.spans or lane.before or lane.after else LOW


def _text(text: str) -> str:
    return escape(escaped(text))


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _words(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classes}>{_text(text)}</text>'


# Behind the lanes


def _backdrop(timeline: Timeline, axis: _Axis, bottom: float) -> Iterator[str]:
    zero = axis.x(timeline.zero)
    end = axis.x(timeline.end if timeline.ended is None else timeline.ended)
    yield (
        f'<rect class="outage" x="{zero:.1f}" y="{TOP}" width="{max(0.0, end - zero):.1f}"'
        f' height="{bottom - TOP}"/>'
    )
    for time in _ticks(timeline, axis):
        x = axis.x(time)
        at_zero = time == timeline.zero
        kind = "strong" if at_zero else ""
        if not at_zero:
            yield _line("grid", x, TOP, x, bottom)
        yield _words(x, TOP - 24, relative(time, timeline.zero), kind, "middle")
        yield _words(x, bottom + 16, time_of_day(time)[:8], "soft", "middle")
    yield _words(LEFT - 10, bottom + 16, f"{date_time(timeline.zero)[:10]} UTC", "soft", "end")
    yield _line("zero", zero, TOP - 18, zero, bottom)
    yield _words(zero + 4, TOP - 7, "first bad observation", "soft")
    if timeline.ended is not None:
        yield _line("over", end, TOP - 18, end, bottom)
        room = 22 * CHARACTER
        if end - zero > room + 40 and end + 60 < WIDTH - RIGHT:
            yield _words(end + 4, TOP - 7, "good again", "soft")


def _ticks(timeline: Timeline, axis: _Axis) -> list[float]:
    step = next((one for one in _STEPS if one * axis.second >= TICK), None)
    if step is None:
        return [timeline.zero]
    first = int((timeline.start - timeline.zero) // step)
    last = int((timeline.end - timeline.zero) // step) + 1
    times = (timeline.zero + number * step for number in range(first, last + 1))
    edge = 34 / axis.second
    return [time for time in times if timeline.start + edge <= time <= timeline.end - edge / 2]


# A lane

_PARTLY = {Outcome.RAN: "seen in part", Outcome.FAILED: "could not look"}


def _lane(lane: Lane, axis: _Axis, top: float, tall: int, zero: float) -> Iterator[str]:
    yield _line("rule", 0, top, WIDTH - RIGHT, top)
    middle = top + tall / 2
    partly = _PARTLY.get(lane.outcome, "") if lane.note and tall == TALL else ""
    yield _words(LEFT - 10, middle + (0 if partly else 4), lane.name, "name", "end")
    if partly:
        yield f"<g><title>{_text(lane.note)}</title>"
        yield _words(LEFT - 10, middle + 15, partly, "soft", "end")
        yield "</g>"
    if lane.outcome is Outcome.FAILED:
        yield (
            f'<rect class="blind" x="{LEFT}" y="{top + 1:.1f}" width="{WIDTH - LEFT - RIGHT}"'
            f' height="{tall - 2}"/>'
        )
    elif lane.window is not None and lane.outcome is Outcome.RAN:
        yield from _window(lane, axis, top, tall)
    above, below = _Row(), _Row()
    if not lane.marks and not lane.spans:
        text = lane.note or "looked, and saw nothing in this time"
        kind = "strong" if lane.outcome is Outcome.FAILED else "soft"
        y = middle + 4 if tall == LOW else top + 17
        yield _words(LEFT + 10, y, shortened(text, 140), kind)
        above.taken.append((0, WIDTH))
    yield from _outside(lane, top + tall - 7, below)
    yield from _spans(lane, axis, middle)
    marks = bucketed(lane.marks, BUCKET / axis.second)
    for mark in marks:
        yield _mark(mark, axis, middle, zero)
    yield from _labels(lane, marks, axis, (above, top + 15), (below, top + tall - 7))


def _window(lane: Lane, axis: _Axis, top: float, tall: int) -> Iterator[str]:
    window = lane.window
    if window is None or window.end < axis.start or window.start > axis.end:
        return
    left, right = axis.x(window.start), axis.x(window.end)
    note = f"window of this step: {window.reason}" if window.reason else "window of this step"
    yield (
        f'<g><title>{_text(note)}</title><rect class="window" x="{left:.1f}" y="{top + 1:.1f}"'
        f' width="{max(1.0, right - left):.1f}" height="{tall - 2}"/></g>'
    )
    for time, x in ((window.start, left), (window.end, right)):
        if axis.start <= time <= axis.end:
            yield _line("edge", x, top + 1, x, top + tall - 1)


def _outside(lane: Lane, y: float, row: _Row) -> Iterator[str]:
    if lane.before:
        text = f"◂ {lane.before} earlier"
        row.taken.append((LEFT, LEFT + 8 + len(text) * CHARACTER))
        yield _words(LEFT + 4, y, text, "soft")
    if lane.after:
        text = f"{lane.after} later ▸"
        row.taken.append((WIDTH - RIGHT - 8 - len(text) * CHARACTER, WIDTH))
        yield _words(WIDTH - RIGHT - 4, y, text, "soft", "end")


def _spans(lane: Lane, axis: _Axis, middle: float) -> Iterator[str]:
    for one in lane.spans:
        if one.end < axis.start or one.start > axis.end:
            continue
        left, right = axis.x(one.start), axis.x(one.end)
        yield (
            f'<g><title>{_text(one.label)}</title><rect class="held {one.level.name.lower()}"'
            f' x="{left:.1f}" y="{middle - 8:.1f}" width="{max(2.0, right - left):.1f}"'
            ' height="16" rx="3"/></g>'
        )


def _mark(mark: Mark, axis: _Axis, y: float, zero: float) -> str:
    x = axis.x(mark.time)
    kind = mark.level.name.lower()
    many = f" ({mark.count} entries)" if mark.count > 1 else ""
    parts = [f"<g><title>{_text(f'{relative(mark.time, zero)}{many}: {mark.text}')}</title>"]
    if mark.end is not None and axis.x(mark.end) - x > 6:
        parts.append(_line(f"took {kind}", x, y, axis.x(mark.end), y))
    if mark.deciding:
        parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="9"/>')
    parts.append(_SHAPES[mark.level](x, y, kind))
    parts.append("</g>")
    return "".join(parts)


def _circle(x: float, y: float, kind: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.2"/>'


def _square(x: float, y: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'


def _diamond(x: float, y: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{x:.1f} {y - 6.2:.1f}l6.2 6.2l-6.2 6.2l-6.2 -6.2z"/>'


def _triangle(x: float, y: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{x:.1f} {y - 5.6:.1f}l5.6 10h-11.2z"/>'


_SHAPES = {
    Level.INFO: _square,
    Level.GOOD: _circle,
    Level.WARNING: _triangle,
    Level.BAD: _diamond,
}

LEGEND = tuple(
    (f'<svg class="timeline key" viewBox="0 0 22 20" aria-hidden="true">{shape}</svg>', text)
    for shape, text in (
        (_diamond(11, 10, "bad"), "bad"),
        (_triangle(11, 10, "warning"), "warning"),
        (_circle(11, 10, "good"), "good"),
        (_square(11, 10, "info"), "other"),
        ('<circle class="ring" cx="11" cy="10" r="8"/>' + _diamond(11, 10, "bad"), "decided it"),
        ('<rect class="window" width="22" height="20"/>', "the step's window"),
        ('<rect class="outage" width="22" height="20"/>', "the outage"),
        ('<rect class="blind" width="22" height="20"/>', "could not look"),
    )
)
"""(an SVG element, what it means)."""


# Labels


def _labels(
    lane: Lane,
    marks: Sequence[Mark],
    axis: _Axis,
    above: tuple[_Row, float],
    below: tuple[_Row, float],
) -> Iterator[str]:
    wanted = [(axis.x(mark.time), _label(mark), mark.deciding, mark.level) for mark in marks]
    wanted += [
        (max(axis.x(one.start), LEFT + 2), one.label, False, Level.BAD)
        for one in lane.spans
        if one.start <= axis.end and one.end >= axis.start and not _said(one, marks, axis)
    ]
    fresh = _first_of_runs(sorted(wanted, key=lambda one: one[0]))
    for x, label, deciding, _ in sorted(fresh, key=lambda one: (not one[2], -one[3], one[0])):
        yield from _placed(x, label, deciding, (above, below))


def _said(one: Span, marks: Sequence[Mark], axis: _Axis) -> bool:
    """Tell whether a mark stands where a state begins: its label says what it is."""
    return any(abs(axis.x(one.start) - axis.x(mark.time)) < BUCKET for mark in marks)


def _label(mark: Mark) -> str:
    many = f" \u00d7{mark.count}" if mark.count > 1 else ""
    return shortened(escaped(mark.label), LABEL) + many if mark.label or many else ""


_Wanted = tuple[float, str, bool, Level]


def _first_of_runs(wanted: Sequence[_Wanted]) -> Iterator[_Wanted]:
    """Give those that say something new: a row of the same needs its name once."""
    before = ""
    for one in wanted:
        if one[1] and (one[1] != before or one[2]):
            yield one
        before = one[1]


def _placed(
    x: float, label: str, deciding: bool, rows: Sequence[tuple[_Row, float]]
) -> Iterator[str]:
    width = len(label) * CHARACTER * (1.1 if deciding else 1.0)
    for row, y in rows:
        for left, anchor in ((x - width / 2, "middle"), (x - 4, "start"), (x - width + 4, "end")):
            if row.take(left - 3, left + width + 3):
                at = {"middle": x, "start": x - 4, "end": x + 4}[anchor]
                yield _words(at, y, label, "strong" if deciding else "", anchor)
                return
