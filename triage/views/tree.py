"""Incidents on a terminal: a list, and one of them as a tree of the steps of the cascade.

Rules
- A step that could not look says "could not look: ..." with a mark of its own; it never looks like
  one that looked and saw nothing wrong. Marks differ by shape, so colour is never needed.
- Lines that decided stand with ">>", those that a reader wants beside them with "-".
- Times are from the anomaly (T-1.4 s); the header has the date.
- What strangers wrote (logs, names, answers) is plain text: what a terminal would act on is made
  visible, and nothing of it is read as markup.
- It fits into 80 columns: lines wrap, the list has fewer columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from rich.console import Console, Group, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from triage.evidence import Look, Outcome, Proof, StepResult, Verdict
from triage.recording import Decision, Record, Recording, Replay
from triage.views.words import (
    LAYERS,
    date_time,
    duration,
    escaped,
    relative,
    saw,
    shortened,
    span,
    time_of_day,
    unseen,
)

PIPE_WIDTH = 120
"""Columns when nobody's terminal says how many there are."""
_WIDE = (
    ("ID", 22),
    ("TARGET", 20),
    ("OPENED", 20),
    ("LASTED", 14),
    ("CAUSE", 0),
    ("CONFIDENCE", 10),
    ("SEVERITY", 8),
    ("STATUS", 9),
)
_NARROW = (
    ("ID", 22),
    ("TARGET", 12),
    ("OPENED", 11),
    ("LASTED", 8),
    ("CAUSE", 0),
    ("STATUS", 9),
)
"""Columns and their widths; 0: what is left. An id is there to be copied, and is not broken."""
NARROW = 140
"""Below so many columns, the list has what is sure and how bad it is beside the cause."""
LINE = 2000
"""Characters of a log line at most."""

_MARK = {Outcome.RAN: "o", Outcome.SKIPPED: "-", Outcome.FAILED: "?"}
_STYLE = {Outcome.RAN: "", Outcome.SKIPPED: "dim", Outcome.FAILED: "bold yellow"}
_SEVERITY = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def console_for(stream: TextIO, width: int | None = None) -> Console:
    """Return a console: colour and the terminal's width on a terminal, neither in a pipe."""
    terminal = stream.isatty()
    return Console(
        file=stream,
        width=width or (None if terminal else PIPE_WIDTH),
        highlight=False,
        markup=False,
        emoji=False,
        no_color=None if terminal else True,
        force_terminal=None if terminal else False,
    )


# The list


def incidents(records: Sequence[Record], console: Console, now: float) -> None:
    """Print a table of incidents, in the order given. `now` is the clock of "so far"."""
    if not records:
        console.print(Text("no incidents"))
        return
    wide = console.width >= NARROW
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = _WIDE if wide else _NARROW
    # The cause takes what is left; rich would rather cut the last column
    left = console.width - sum(width + 2 for _, width in columns)
    for name, width in columns:
        side: JustifyMethod = "right" if name == "LASTED" else "left"
        table.add_column(name, overflow="fold", width=width or max(10, left), justify=side)
    for record in records:
        table.add_row(*_row(record, now, wide=wide))
    console.print(table)


def _row(record: Record, now: float, *, wide: bool) -> Iterator[Text]:
    opened = date_time(record.opened)
    lasts = record.closed is None
    title = record.title or record.cause or "not decided yet"
    yield Text(escaped(record.id))
    yield Text(escaped(record.target))
    yield Text(opened if wide else opened[5:16])
    yield Text(span(now - record.opened) + "+" if lasts else span(_lasted(record)))
    more = ", ".join(part for part in (record.confidence, record.severity) if part)
    sure = "" if wide or not more else f" ({more})"
    yield Text(escaped(title + sure), style="bold" if lasts else "")
    if wide:
        yield Text(escaped(record.confidence) or "-")
        yield Text(escaped(record.severity) or "-", style=_SEVERITY.get(record.severity, ""))
    yield Text(escaped(record.status))


def _lasted(record: Record) -> float | None:
    return None if record.closed is None else record.closed - record.opened


# One incident


def show(recording: Recording, console: Console) -> None:
    """Print an incident: what it was, the cascade as a tree, what is not known, its history."""
    console.print(Group(*_whole(recording)))


def _whole(recording: Recording) -> Iterator[Text | Tree | Table | Padding]:
    shown = recording.standing
    yield from _header(recording, shown)
    if shown is not None:
        yield Text("")
        yield _tree(shown)
        yield from _unknowns(shown.verdict)
    yield from _history(recording)


def _header(recording: Recording, shown: Decision | None) -> Iterator[Text | Padding]:
    record = recording.record
    title = record.title or "not decided yet"
    style = _SEVERITY.get(record.severity, "")
    yield Text(escaped(title), style=f"bold {style}".replace("bold bold", "bold"))
    parts = [record.status, record.severity and f"severity {record.severity}"]
    parts += [record.confidence and f"confidence {record.confidence}"]
    parts += [f"{record.outages} outages joined" if record.outages > 1 else ""]
    yield Text(escaped(", ".join(part for part in parts if part)))
    yield Text(f"incident {escaped(record.id)}", style="dim")
    if shown is None:
        yield Text(f"{escaped(record.target)}: nothing was looked at yet")
        return
    target, anomaly = shown.evidence.target, shown.evidence.anomaly
    site = f" ({target.method} {target.url})" if target.url else ""
    last_good = (recording.outage or anomaly).last_good
    good = "not known" if last_good is None else relative(last_good, anomaly.time)
    facts = (
        ("target", f"{target.name}{site}"),
        ("T", f"{date_time(anomaly.time)[:10]} {time_of_day(anomaly.time)}, last good {good}"),
        ("lasted", f"{duration(recording)}; seen by {anomaly.trigger.replace('_', ' ')}"),
        ("at fault", shown.verdict.object),
    )
    for name, value in facts:
        if value:
            yield Text(f"{name:<9}{escaped(value)}")
    yield Text("")
    yield Padding(Text(escaped(shown.verdict.summary)), (0, 0, 0, 2))


def _tree(shown: Decision) -> Tree:
    anomaly = shown.evidence.anomaly
    tree = Tree(Text(f"T  {time_of_day(anomaly.time)}", style="bold"), guide_style="dim")
    for result in shown.verdict.steps:
        look: Look = getattr(shown.evidence, result.step.value).look
        proofs = [proof for proof in shown.verdict.proofs if proof.step is result.step]
        branch = tree.add(_step_line(result, any(proof.deciding for proof in proofs)))
        for line in _details(result, look, anomaly.time):
            branch.add(line)
        for proof in proofs:
            branch.add(_proof(proof, anomaly.time))
    return tree


def _step_line(result: StepResult, decided: bool) -> Text:
    decided = decided and result.outcome is Outcome.RAN
    mark = "*" if decided else _MARK[result.outcome]
    line = Text(f"[{mark}] ", style=_STYLE[result.outcome])
    line.append(LAYERS[result.step], style="bold red" if decided else "bold")
    line.append(f"  {escaped(saw(result))}", style=_STYLE[result.outcome])
    return line


def _details(result: StepResult, look: Look, zero: float) -> Iterator[Text]:
    for problem in unseen(result, look):
        yield Text(f"could not see: {escaped(problem)}", style="yellow")
    parts = []
    if result.window is not None:
        start, end = relative(result.window.start, zero), relative(result.window.end, zero)
        reason = f" ({escaped(result.window.reason)})" if result.window.reason else ""
        parts.append(f"window {start} to {end}{reason}")
    if result.lag is not None:
        parts.append(f"lag {span(result.lag)}")
    if look.source:
        parts.append(f"asked {escaped(look.source)}")
    if parts:
        yield Text("; ".join(parts), style="dim")


def _proof(proof: Proof, zero: float) -> Text:
    line = Text(">> " if proof.deciding else "- ", style="bold red" if proof.deciding else "dim")
    when = "" if proof.time is None else f"{relative(proof.time, zero)}  "
    line.append(when, style="cyan")
    line.append(f"{escaped(proof.source)}: ", style="dim")
    line.append(escaped(shortened(proof.text, LINE)), style="bold" if proof.deciding else "")
    return line


def _unknowns(verdict: Verdict) -> Iterator[Text]:
    if not verdict.unknowns:
        return
    yield Text("")
    yield Text("Could not be seen, and might change the verdict:", style="bold yellow")
    for one in verdict.unknowns:
        yield Text(f"  ? {escaped(one)}")


def _history(recording: Recording) -> Iterator[Text | Table]:
    zero = recording.record.opened
    rows: list[tuple[float, str, str]] = [
        (look.verdict.decided_at, "verdict", f"{look.verdict.title} ({look.verdict.confidence})")
        for look in recording.looks
    ]
    rows += [(note.time, "", note.text) for note in recording.notes]
    if not rows:
        return
    yield Text("")
    yield Text("History", style="bold")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for time, kind, text in _in_order(rows):
        table.add_row(Text(relative(time, zero)), Text(kind), Text(escaped(text)))
    yield table
    if recording.left_out:
        yield Text(f"  {recording.left_out} looks in between were left out", style="dim")


def replayed(replays: Sequence[Replay], console: Console) -> None:
    """Print what deciding again came to: a line for each look, and what came out otherwise."""
    for number, one in enumerate(replays, 1):
        line = Text(f"look {number}  {date_time(one.decided.decided_at)}  ")
        decided = one.decided
        line.append(escaped(f"{decided.title} ({decided.confidence})"), style="bold")
        line.append("  as recorded" if one.same else "  NOT as recorded")
        if decided.policy is not one.recorded.policy:
            line.append(f", policy {decided.policy} (recorded: {one.recorded.policy})")
        console.print(line)
        for difference in one.differences:
            console.print(Text(f"  {escaped(difference)}", style="yellow"))
    if not replays:
        console.print(Text("no looks in this recording"))


def _in_order(rows: Iterable[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    return sorted(rows, key=lambda row: row[0])
