"""The paper's tables 1 to 4: its figures, ours by its rules, ours by default.

Every column that is ours is computed here and now, by the functions that also decide on real
outages: `triage.windows`, `triage.triggers` and `triage.incidents`, the log parsers, and
`triage.cascade`. Only what stands under "paper" is read from `cases.json`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from triage.cascade import decide
from triage.evidence import (
    AppEvidence,
    AppLine,
    AppLineKind,
    Evidence,
    Policy,
    ProxyRequest,
    Sample,
    Step,
    Target,
    Verdict,
    Window,
)
from triage.incidents import Incident, IncidentSettings, Tick, advance, wake_at
from triage.paper.cases import Case, Cases, Unalerted, load_cases
from triage.paper.gather import anomaly_of, failed, gather, proxy_evidence, settings_of
from triage.triggers import Series, TriggerSettings, outages, read_metric
from triage.windows import proxy_window


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """A row of table 1: an outage that never alerted."""

    paper: Unalerted
    bad_for: float
    """Seconds from its first bad sample to its first good one, as the samples show it."""
    rule_fires: bool
    """Whether the rule that waits would have alerted."""
    incident: str
    """The incident that it opens; "" for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A row of tables 2, 3 and 4: an outage that the paper evaluates."""

    case: Case
    in_paper_window: ProxyRequest | None
    """The monitor's failed request, as found in the paper's window."""
    in_derived_window: ProxyRequest | None
    """The same in the window that is derived."""
    derived: Window
    by_paper: Evidence
    """With the application's log of the paper's window."""
    by_default: Evidence
    verdict_paper: Verdict
    verdict_default: Verdict
    verdict_wide: Verdict
    """By default, on the paper's evidence: that it differs is not for the windows alone."""
    first_app_line: AppLine | None
    """The earliest line that the paper's rule takes for the application's failure."""
    why: str
    """What those lines are by default; "" when there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """All that the tables show."""

    cases: Cases
    short: tuple[Short, ...]
    evaluated: tuple[Evaluated, ...]


def computed() -> Reproduced:
    """Compute all tables."""
    cases = load_cases()
    return Reproduced(
        cases=cases,
        short=tuple(_short(cases)),
        evaluated=tuple(asyncio.run(_evaluated_all(cases))),
    )


# Table 1


def _short(cases: Cases) -> list[Short]:
    """Poll through the days of table 1, as the service does, and see what opens."""
    incident: Incident | None = None
    rows = []
    for one in cases.unalerted:
        samples = _samples(one, cases.poll_interval)
        (outage,) = outages(samples, cases.target.good, 60.0)
        opened = ""
        for number in range(len(samples)):
            now = samples[number].time
            before = incident.id if incident else ""
            incident = _polled(cases.target, samples[: number + 1], incident, now)
            if incident is not None and incident.id != before:
                opened = incident.id
        lasted = (outage.ended or outage.last_bad) - outage.start
        rows.append(
            Short(
                paper=one,
                bad_for=lasted,
                rule_fires=lasted >= cases.rule_for,
                incident=opened,
            )
        )
    return rows


def _samples(one: Unalerted, interval: float) -> tuple[Sample, ...]:
    """Samples from a minute before an outage to seven minutes after it."""
    count = round((one.end - one.start + 480) / interval)
    times = (one.start - 60 + interval * number for number in range(count))
    return tuple(
        Sample(time=time, value=503 if one.start <= time < one.end else 200) for time in times
    )


def _polled(
    target: Target, samples: tuple[Sample, ...], incident: Incident | None, now: float
) -> Incident | None:
    settings = IncidentSettings()
    series = Series(labels={"instance": target.name}, samples=samples)
    for event in read_metric(target, [series], TriggerSettings()):
        incident, _ = advance(incident, event, now, settings)
    while incident is not None:
        due = wake_at(incident, settings)
        if due is None or due > now:
            break
        ticked, _ = advance(incident, Tick(), now, settings)
        if ticked == incident:
            break
        incident = ticked
    return incident


# Tables 2 to 4


async def _evaluated_all(cases: Cases) -> list[Evaluated]:
    return [await _evaluated(case, cases) for case in cases.cases]


async def _evaluated(case: Case, cases: Cases) -> Evaluated:
    anomaly = anomaly_of(case, cases)
    narrow, derived = (
        proxy_window(anomaly, cases.target, settings_of(cases, policy))
        for policy in (Policy.PAPER, Policy.DEFAULT)
    )
    by_paper = await gather(case, cases, Policy.PAPER)
    by_default = await gather(case, cases, Policy.DEFAULT)
    counted = _counted(by_paper.app)
    return Evaluated(
        case=case,
        in_paper_window=failed(proxy_evidence(case, cases, narrow), cases),
        in_derived_window=failed(by_default.proxy, cases),
        derived=derived,
        by_paper=by_paper,
        by_default=by_default,
        verdict_paper=decide(by_paper, Policy.PAPER),
        verdict_default=decide(by_default, Policy.DEFAULT),
        verdict_wide=decide(by_paper, Policy.DEFAULT),
        first_app_line=min(counted, key=lambda line: line.line.time, default=None),
        why=_why(counted),
    )


def _counted(app: AppEvidence) -> list[AppLine]:
    """Return the lines that the paper's rule counts: a status other than 200, or "error"."""
    return [
        line
        for line in app.lines
        if "error" in line.line.text.lower()
        or (line.kind is AppLineKind.ACCESS and line.status not in (None, 200))
    ]


def _why(lines: Sequence[AppLine]) -> str:
    """Return what the default policy takes lines for, most frequent first."""
    seen = Counter(
        f"noise, {line.noise}" if line.noise else f"{line.method} {line.status}: {line.why}"
        for line in lines
    )
    return "; ".join(f"{count} x {text}" for text, count in seen.most_common())


# Printing


def reproduce(console: Console) -> None:
    """Print the tables."""
    found = computed()
    console.print(
        Group(
            Text(f"Source: {found.cases.source}. Times are UTC.", style="dim"),
            Text(""),
            *_table_1(found),
            *_table_2(found),
            *_table_3(found),
            *_table_4(found),
            *_notes(found),
        )
    )


def _table(title: str, *columns: str) -> tuple[Text, Table]:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return Text(title, style="bold"), table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*(Text(cell) for cell in cells))


CLOCK = "%H:%M:%S"


def _utc(time: float | None, form: str = f"%m-%d {CLOCK}") -> str:
    return "none" if time is None else dt.datetime.fromtimestamp(time, dt.UTC).strftime(form)


def _milliseconds(time: float | None) -> str:
    return "none" if time is None else _utc(time, f"{CLOCK}.%f")[:-3]


def _lag(seconds: float | None) -> str:
    return "N/A" if seconds is None else f"{seconds:.1f}".removesuffix(".0")


def _table_1(found: Reproduced) -> list[Text | Table]:
    title, table = _table(
        "Table 1: 503s that never alerted, and how many seconds they lasted",
        *("FIRST BAD", "NODE", "PAPER", "SEEN"),
        *(f"{found.cases.rule_for:g} s RULE", "OURS: INCIDENT"),
    )
    for row in found.short:
        _row(
            table,
            _utc(row.paper.start),
            row.paper.node,
            f"{row.paper.seconds:g}",
            f"{row.bad_for:g}",
            "alerts" if row.rule_fires else "no alert",
            row.incident or "none",
        )
    fired = sum(row.rule_fires for row in found.short)
    opened = len({row.incident for row in found.short if row.incident})
    count = len(found.short)
    return [
        title,
        table,
        Text(f"The rule alerts for {fired} of {count}; ours opens {opened} incidents.\n"),
    ]


def _table_2(found: Reproduced) -> list[Text | Table]:
    cases = found.cases
    title, table = _table(
        "Table 2: from the metric's time to the proxy's line",
        *("METRIC", "PAPER", "LAG (s)", "OURS: ENDED", "LAG (s)"),
        *(f"IN {cases.proxy_window:g} s", "DERIVED"),
    )
    for row in found.evaluated:
        paper, line, at = row.case.paper, row.in_derived_window, row.case.metric_time
        _row(
            table,
            _utc(at),
            _utc(paper.proxy_time, CLOCK),
            f"{paper.lag:g}",
            _milliseconds(None if line is None else line.end),
            _lag(None if line is None else at - line.end),
            "found" if row.in_paper_window else "not found",
            "found" if line else "not found",
        )
    narrow = sum(row.in_paper_window is not None for row in found.evaluated)
    wide = sum(row.in_derived_window is not None for row in found.evaluated)
    count = len(found.evaluated)
    first = found.evaluated[0]
    at, window = first.case.metric_time, first.derived
    return [
        title,
        table,
        Text(
            f"Found with {cases.proxy_window:g} s: {narrow} of {count}; with the derived window:"
            f" {wide} of {count}. The derived one is T{window.start - at:+g} s to"
            f" T{window.end - at:+g} s, for the first of them: {window.reason}.\n"
        ),
    ]


def _table_3(found: Reproduced) -> list[Text | Table]:
    title, table = _table(
        "Table 3: from the proxy's line to the application's",
        *("PAPER: PROXY", "APP", "LAG (s)", "OURS, POLICY PAPER", "LAG (s)", "DEFAULT"),
    )
    for row in found.evaluated:
        paper, line, first = row.case.paper, row.in_derived_window, row.first_app_line
        own = None if first is None else first.line.time
        lag = None if line is None or own is None else line.end - own
        proofs = row.verdict_default.proofs
        deciding = sum(proof.deciding and proof.step is Step.APP for proof in proofs)
        _row(
            table,
            _utc(paper.proxy_time),
            _utc(paper.app_time, CLOCK),
            _lag(paper.app_lag),
            _milliseconds(own),
            _lag(lag),
            f"{deciding} decide",
        )
    return [title, table, Text("")]


def _table_4(found: Reproduced) -> list[Text | Table]:
    title, table = _table(
        "Table 4: lines of the application (paper's count / ours), and the cause",
        *("METRIC", "NOT 200", "ERROR", "PAPER", "POLICY PAPER", "DEFAULT"),
    )
    for row in found.evaluated:
        paper, app, by_default = row.case.paper, row.by_paper.app, row.verdict_default
        _row(
            table,
            _utc(row.case.metric_time),
            f"{paper.non_200} / {app.non_200}",
            f"{paper.error} / {app.with_error}",
            paper.cause.value,
            row.verdict_paper.cause.value,
            by_default.cause.value,
        )
    agreed = sum(row.verdict_paper.cause is row.case.paper.cause for row in found.evaluated)
    return [
        title,
        table,
        Text(
            f"Causes by the paper's policy: {agreed} of {len(found.evaluated)} as in the paper.\n"
        ),
    ]


def _notes(found: Reproduced) -> list[Text]:
    notes = [Text("Where ours by default differs from the paper, and why", style="bold")]
    for row in found.evaluated:
        mine, theirs = row.verdict_default, row.case.paper.cause
        if mine.cause is theirs:
            continue
        same = row.verdict_wide.cause is mine.cause
        notes.append(
            Text(
                f"  {_utc(row.case.metric_time)}  {mine.cause.value} ({mine.confidence.value}), not"
                f" {theirs.value}:"
                f" {row.why or 'no line speaks for it'}. {mine.summary}"
                + (" The same with the paper's window." if same else "")
            )
        )
    if len(notes) == 1:
        notes.append(Text("  nowhere"))
    printed = sum(
        line.printed for case in found.cases.cases for line in (*case.proxy_log, *case.app_log)
    )
    notes.append(
        Text(
            f"\n{printed} of the log lines are the paper's own; the others are made to its tables"
            " (triage/paper/cases.json says which).",
            style="dim",
        )
    )
    return notes
