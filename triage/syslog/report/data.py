"""The report as JSON for programs (`triage syslog report --json`): the same content as the page.

Rules
- `Report` below is the schema: its keys stay as they are, new ones may come. `schema()` gives it as
  JSON Schema.
- Every time stands twice: `start`, seconds since 1970, and `start_iso`, "2015-09-27T02:00:00.000Z"
  (empty: no date of a calendar); durations are seconds; ids are 12 hex digits; what is not known
  is null.
- Text from logs is as it stood there, masked: JSON escapes what has to be, and whoever shows it
  escapes it for where it is shown.
- A node of an edge is (host, group); groups are under "groups", templates under "templates".
"""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Any

import msgspec

from triage.syslog.errors import SyslogError
from triage.syslog.intervals import Burst, IntervalStats
from triage.syslog.report.model import FORMAT, FileRead, ReportData, TemplateUse
from triage.syslog.tables import Edge, Finding, Group, Line, Rarity, WindowScore, id_text
from triage.views.words import moment


class ReportError(SyslogError):
    """A file is no report; the text says why, in one line."""


class ReadFile(msgspec.Struct, frozen=True, kw_only=True):
    """A log file that was read."""

    name: str
    lines: int
    broken: int
    bytes: int
    damage: list[str]


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What was read."""

    start: float
    start_iso: str
    end: float
    end_iso: str
    lines: int
    broken: int
    files: list[ReadFile]
    sites: dict[str, list[str]]
    """Site -> hosts."""
    sample: list[ShownLine]


class ShownLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a log."""

    time: float
    time_iso: str
    host: str
    template: str
    text: str


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One end of an edge."""

    host: str
    group: str


class ShownEdge(msgspec.Struct, frozen=True, kw_only=True):
    """An edge of one window."""

    a: End
    b: End
    """Of kind "directed": a comes before b."""
    kind: str
    lag: int
    strength: float


class ShownFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something unusual."""

    kind: str
    start: float
    start_iso: str
    end: float
    end_iso: str
    area: str
    hosts: list[str]
    score: float
    summary: str
    edges: list[ShownEdge]
    edges_total: int
    templates: list[str]
    lines: list[ShownLine]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A point of figures 6, 8 and 9."""

    start: float
    start_iso: str
    end: float
    end_iso: str
    area: str
    edges: int
    rare: int
    score: float
    abnormal: bool


class ShownRarity(msgspec.Struct, frozen=True, kw_only=True):
    """Figure 7."""

    quantile: float
    threshold: int
    days_of: dict[int, int]
    """Days -> edges that appear on so many."""


class ShownTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A template and where it was seen."""

    id: str
    text: str
    name: str
    variables: list[str]
    group: str
    lines: int
    hosts: int
    first: float
    first_iso: str
    last: float
    last_iso: str
    example: str


class ShownGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group of templates."""

    id: str
    label: str
    templates: list[str]


class ShownPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """A template's period."""

    seconds: float
    strength: float
    jitter: float
    phase: float | None
    text: str


class ShownIntervals(msgspec.Struct, frozen=True, kw_only=True):
    """The times between a template's lines, in seconds (figure 2)."""

    template: str
    count: int
    mean: float | None
    median: float | None
    deviation: float | None
    period: ShownPeriod | None


class ShownBurst(msgspec.Struct, frozen=True, kw_only=True):
    """A burst of a template."""

    template: str
    start: float
    start_iso: str
    end: float
    end_iso: str
    lines: int
    usual: float
    factor: float
    hosts: list[str]
    hosts_total: int


class ShownSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that the report was made with."""

    name: str
    value: str
    meaning: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report."""

    format: str
    product: str
    title: str
    read: Read
    findings: list[ShownFinding]
    daily: list[Window]
    short: list[Window]
    rarity: ShownRarity
    templates: list[ShownTemplate]
    groups: list[ShownGroup]
    intervals: list[ShownIntervals]
    bursts: list[ShownBurst]
    settings: list[ShownSetting]
    notes: list[str]


def report_json(data: ReportData) -> bytes:
    """Return the report as JSON in UTF-8, ending in a line break."""
    return msgspec.json.format(_encoder.encode(document(data)), indent=1) + b"\n"


def read_report(source: bytes | Path) -> Report:
    """Return the report that a file (or its bytes) holds. Raises ReportError."""
    name = str(source) if isinstance(source, Path) else "the report"
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
        report = msgspec.json.decode(content, type=Report)
    except OSError as error:
        raise ReportError(f"{name}: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ReportError(f"{name}: not written by triage syslog report --json: {error}") from None
    if report.format != FORMAT:
        raise ReportError(f"{name}: its format is {report.format!r}; {FORMAT!r} can be read")
    return report


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the report."""
    return msgspec.json.schema(Report)


_encoder = msgspec.json.Encoder()


def document(data: ReportData) -> Report:
    """Return the report as it is written."""
    detection = data.detection
    return Report(
        format=FORMAT,
        product=data.product,
        title=_text(data.title),
        read=_read(data),
        findings=[_finding(one) for one in detection.findings],
        daily=[_window(one) for one in detection.daily],
        short=[_window(one) for one in detection.short],
        rarity=_rarity(detection.rarity),
        templates=[_template(one) for one in data.templates],
        groups=[_group(one) for one in data.groups],
        intervals=[_intervals(one) for one in data.intervals],
        bursts=[_burst(one) for one in data.bursts],
        settings=[
            ShownSetting(name=one.name, value=_text(one.value), meaning=one.meaning)
            for one in data.settings
        ],
        notes=[_text(one) for one in data.notes],
    )


def iso(time: float) -> str:
    """Return "2015-09-27T02:00:00.000Z"; empty: no date of a calendar."""
    at = moment(round(time, 3) if math.isfinite(time) else None)
    if at is None:
        return ""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _epoch(time: float) -> float:
    return round(time, 3) if math.isfinite(time) else 0.0


def _number(value: float, digits: int = 6) -> float:
    return round(value, digits) if math.isfinite(value) else 0.0


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _text(text: str) -> str:
    """Return text that UTF-8 can say: half surrogates come of bytes that were not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _read(data: ReportData) -> Read:
    return Read(
        start=_epoch(data.start),
        start_iso=iso(data.start),
        end=_epoch(data.end),
        end_iso=iso(data.end),
        lines=data.lines,
        broken=data.broken,
        files=[_file(one) for one in data.files],
        sites={_text(one.name): [_text(host) for host in one.hosts] for one in data.sites},
        sample=[_line(one) for one in data.sample],
    )


def _file(one: FileRead) -> ReadFile:
    return ReadFile(
        name=_text(one.name),
        lines=one.lines,
        broken=one.broken,
        bytes=one.bytes,
        damage=[_text(text) for text in one.damage],
    )


def _line(one: Line) -> ShownLine:
    return ShownLine(
        time=_epoch(one.time),
        time_iso=iso(one.time),
        host=_text(one.host),
        template=id_text(one.template) if one.template else "",
        text=_text(one.text),
    )


def _edge(one: Edge) -> ShownEdge:
    return ShownEdge(
        a=End(host=_text(one.a.host), group=id_text(one.a.group)),
        b=End(host=_text(one.b.host), group=id_text(one.b.group)),
        kind=str(one.kind),
        lag=one.lag,
        strength=_number(one.strength),
    )


def _finding(one: Finding) -> ShownFinding:
    return ShownFinding(
        kind=str(one.kind),
        start=_epoch(one.start),
        start_iso=iso(one.start),
        end=_epoch(one.end),
        end_iso=iso(one.end),
        area=_text(one.area),
        hosts=[_text(host) for host in one.hosts],
        score=_number(one.score),
        summary=_text(one.summary),
        edges=[_edge(edge) for edge in one.edges],
        edges_total=max(one.edges_total, len(one.edges)),
        templates=[id_text(template) for template in one.templates],
        lines=[_line(line) for line in one.lines],
    )


def _window(one: WindowScore) -> Window:
    return Window(
        start=_epoch(one.start),
        start_iso=iso(one.start),
        end=_epoch(one.end),
        end_iso=iso(one.end),
        area=_text(one.area),
        edges=one.edges,
        rare=one.rare,
        score=_number(one.score),
        abnormal=one.abnormal,
    )


def _rarity(one: Rarity) -> ShownRarity:
    return ShownRarity(
        quantile=one.quantile,
        threshold=one.threshold,
        days_of={days: one.days_of[days] for days in sorted(one.days_of)},
    )


def _template(one: TemplateUse) -> ShownTemplate:
    return ShownTemplate(
        id=id_text(one.template.id),
        text=_text(one.template.text),
        name=_text(one.template.name),
        variables=[str(variable) for variable in one.template.variables],
        group=id_text(one.group) if one.group else "",
        lines=one.lines,
        hosts=one.hosts,
        first=_epoch(one.first),
        first_iso=iso(one.first),
        last=_epoch(one.last),
        last_iso=iso(one.last),
        example=_text(one.example),
    )


def _group(one: Group) -> ShownGroup:
    return ShownGroup(
        id=id_text(one.id),
        label=_text(one.label),
        templates=[id_text(template) for template in one.templates],
    )


def _intervals(one: IntervalStats) -> ShownIntervals:
    period = one.period
    return ShownIntervals(
        template=id_text(one.template),
        count=one.count,
        mean=_known(one.mean),
        median=_known(one.median),
        deviation=_known(one.deviation),
        period=None
        if period is None
        else ShownPeriod(
            seconds=period.seconds,
            strength=period.strength,
            jitter=period.jitter,
            phase=period.phase,
            text=period.text,
        ),
    )


def _burst(one: Burst) -> ShownBurst:
    return ShownBurst(
        template=id_text(one.template),
        start=_epoch(one.start),
        start_iso=iso(one.start),
        end=_epoch(one.end),
        end_iso=iso(one.end),
        lines=one.lines,
        usual=one.usual,
        factor=one.factor,
        hosts=[_text(host) for host in one.hosts],
        hosts_total=one.hosts_total,
    )
