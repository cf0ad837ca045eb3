"""How good a detection is, against the truth: a simulated fleet's, or a trouble-ticket system's.

Definitions
- A window is one `WindowScore`: a day (UTC) or a short window, of one area. It is abnormal as the
  detection says.
- A window overlaps a happening when it shares a moment with [start, end].
- An outage is *found* by day if an abnormal daily window of its place overlaps it, and by short
  windows if an abnormal short one does. Its place is its site, each of its hosts, and "all"; an
  outage without either is found at any place. *Recall* is found outages / outages.
- An abnormal window is *right* if it overlaps any outage, wherever, prolonged by `grace` (what it
  leaves behind: retries, catching up); *neutral* if not and it overlaps a neutral happening (a
  routine reboot, a host that joins: operators differ); else *false*. *Precision* is right / (right
  + false). *False days* are the distinct days of false daily windows. *Located* is the share of
  right windows whose place is an overlapping outage's.
- *Delay* is from an outage's start to the end of the first abnormal short window that finds it, in
  which it could be told; *first line* to the first line (at or after the start) that an
  overlapping finding shows. Medians over the found outages.
- Template accuracies are over lines whose label is known. *GA*, grouping accuracy: the share of
  lines whose template has exactly the same lines as their label (Zhu et al., "Tools and benchmarks
  for automated log parsing", 2019). *FGA*: the F1 of templates of which that holds, each counted
  once (Jiang et al., "A large-scale evaluation for log parsing techniques", 2024).
- Skeleton: truth's edges between templates on hosts, taken to groups on hosts, without direction;
  those within one node are left out. *Precision* is found pairs that are edges / found pairs;
  *near* counts pairs with a common neighbour too (a chain's ends, two effects of one cause: what
  merged series and coarse bins make of them). *Recall* is edges found / edges; *frequent recall*
  over the edges of which both ends have enough events to be told from chance.

Functions here compute; only those named `read_...` open files.
"""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl

from triage.syslog.errors import SyslogError
from triage.syslog.simulate.truth import Truth, pattern_of
from triage.syslog.tables import Detection, Node, Template, WindowScore

GRACE = 3600.0
"""Seconds after an outage that its windows may still be abnormal."""
OPEN = 86_400.0
"""Seconds that a ticket without an end counts for."""
DAY = 86_400.0


class ScoreError(SyslogError):
    """What should be compared cannot be read; the text names the place and the remedy."""


# What is compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An outage, or something neutral, as the truth or a ticket tells it."""

    kind: str
    start: float
    end: float
    hosts: tuple[str, ...] = ()
    site: str = ""

    @property
    def places(self) -> frozenset[str]:
        """Areas in which it can be found; none: in any."""
        own = {*self.hosts, *([self.site] if self.site else [])}
        if own and not self.site:
            own |= {host.partition(".")[2] for host in self.hosts if "." in host}
        return frozenset(own | {"all", ""}) if own else frozenset()

    def overlaps(self, start: float, end: float, grace: float = 0.0) -> bool:
        """Tell whether it shares a moment with a window; windows do not hold their end."""
        return start <= self.end + grace and self.start < end


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What really happened."""

    outages: tuple[Happening, ...]
    neutral: tuple[Happening, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLine:
    """A line that a finding shows."""

    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finding, as far as it is compared."""

    kind: str
    start: float
    end: float
    area: str = ""
    lines: tuple[FoundLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """A detection, as far as it is compared."""

    findings: tuple[Found, ...]
    daily: tuple[WindowScore, ...]
    short: tuple[WindowScore, ...]


def findings_of(detection: Detection) -> Findings:
    """Return what is compared of a detection."""
    return Findings(
        findings=tuple(
            Found(
                kind=str(each.kind), start=each.start, end=each.end, area=each.area,
                lines=tuple(FoundLine(time=line.time) for line in each.lines),
            )
            for each in detection.findings
        ),
        daily=detection.daily,
        short=detection.short,
    )  # fmt: skip


def reference_of(truth: Truth) -> Reference:
    """Return a simulated fleet's outages, and its neutral decoys."""
    site_of = truth.site_of
    return Reference(
        outages=tuple(
            Happening(kind=o.kind, start=o.start, end=o.end, hosts=o.hosts, site=o.site)
            for o in truth.outages
        ),
        neutral=tuple(
            Happening(
                kind=d.kind, start=d.start, end=d.end, hosts=d.hosts,
                site=site_of.get(d.hosts[0], "") if len(d.hosts) == 1 else "",
            )
            for d in truth.decoys
            if d.neutral
        ),
    )  # fmt: skip


# Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Windows of one length against outages."""

    outages: int
    found: int
    abnormal: int
    """Abnormal windows in all."""
    right: int
    neutral: int
    false: int
    located: int
    """Of the right ones, those at an overlapping outage's place."""
    false_windows: tuple[tuple[float, str], ...]
    """(start, area) of the false ones, in order of time."""
    missed: tuple[tuple[float, str], ...]
    """(start, kind) of outages that were not found."""

    @property
    def recall(self) -> float:
        """Outages found / outages; 1 without outages."""
        return self.found / self.outages if self.outages else 1.0

    @property
    def precision(self) -> float:
        """Right / (right + false); 1 without abnormal windows."""
        counted = self.right + self.false
        return self.right / counted if counted else 1.0

    @property
    def false_days(self) -> int:
        """Distinct days (UTC) of the false windows."""
        return len({math.floor(start / DAY) for start, _ in self.false_windows})


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateAccuracy:
    """Templates against labels."""

    ga: float
    fga: float
    lines: int
    templates: int
    labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """Pairs of nodes against the true edges."""

    precision: float
    near: float
    recall: float
    frequent_recall: float
    found: int
    edges: int
    frequent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A detection against the truth."""

    daily: Peaks
    short: Peaks
    delay: float | None
    """Median, seconds; None: nothing was found."""
    first_line: float | None
    templates: TemplateAccuracy | None = None
    skeleton: Skeleton | None = None


# Peaks


def score(
    findings: Findings,
    reference: Reference,
    *,
    grace: float = GRACE,
    templates: TemplateAccuracy | None = None,
    skeleton: Skeleton | None = None,
) -> Score:
    """Compare a detection with what really happened. `grace` in seconds."""
    delays = [
        delay
        for outage in reference.outages
        if (delay := _delay(outage, findings.short)) is not None
    ]
    firsts = [
        delay
        for outage in reference.outages
        if (delay := _first_line(outage, findings.findings)) is not None
    ]
    return Score(
        daily=peaks(findings.daily, reference, grace),
        short=peaks(findings.short, reference, grace),
        delay=statistics.median(delays) if delays else None,
        first_line=statistics.median(firsts) if firsts else None,
        templates=templates,
        skeleton=skeleton,
    )


def peaks(windows: Sequence[WindowScore], reference: Reference, grace: float = GRACE) -> Peaks:
    """Compare the abnormal ones among windows with the outages."""
    abnormal = sorted(
        (window for window in windows if window.abnormal), key=lambda w: (w.start, w.area)
    )
    missed = [o for o in reference.outages if not any(_finds(w, o) for w in abnormal)]
    right = located = neutral = 0
    false = []
    for window in abnormal:
        over = [o for o in reference.outages if o.overlaps(window.start, window.end, grace)]
        if over:
            right += 1
            located += any(not o.places or window.area in o.places for o in over)
        elif any(_touches(window, n, grace) for n in reference.neutral):
            neutral += 1
        else:
            false.append((window.start, window.area))
    return Peaks(
        outages=len(reference.outages),
        found=len(reference.outages) - len(missed),
        abnormal=len(abnormal),
        right=right,
        neutral=neutral,
        false=len(false),
        located=located,
        false_windows=tuple(false),
        missed=tuple((outage.start, outage.kind) for outage in missed),
    )


def _at(window: WindowScore, happening: Happening) -> bool:
    return not happening.places or window.area in happening.places


def _finds(window: WindowScore, outage: Happening) -> bool:
    return window.abnormal and _at(window, outage) and outage.overlaps(window.start, window.end)


def _touches(window: WindowScore, neutral: Happening, grace: float) -> bool:
    return _at(window, neutral) and neutral.overlaps(window.start, window.end, grace)


def _delay(outage: Happening, windows: Iterable[WindowScore]) -> float | None:
    ends = [window.end for window in windows if _finds(window, outage)]
    return max(min(ends) - outage.start, 0.0) if ends else None


def _first_line(outage: Happening, findings: Iterable[Found]) -> float | None:
    times = [
        line.time
        for found in findings
        if outage.overlaps(found.start, found.end)
        and (not outage.places or found.area in outage.places)
        for line in found.lines
        if outage.start <= line.time <= outage.end
    ]
    return min(times) - outage.start if times else None


# Templates


def template_accuracy(assigned: pl.Series, labels: pl.Series) -> TemplateAccuracy:
    """Compare the template of each line with its label (null: not counted); equal lengths.

    Raises ScoreError where the lengths differ or no label is known.
    """
    if assigned.len() != labels.len():
        raise ScoreError(
            f"{assigned.len()} templates for {labels.len()} labels: give one for each line"
        )
    pairs = (
        pl.DataFrame({"template": assigned, "label": labels})
        .filter(pl.col("label").is_not_null())
        .group_by("template", "label")
        .len("both")
        .with_columns(
            of_template=pl.col("both").sum().over("template"),
            of_label=pl.col("both").sum().over("label"),
        )
    )
    if pairs.is_empty():
        raise ScoreError("no line has a label: simulate with labels")
    same = pairs.filter(
        (pl.col("both") == pl.col("of_template")) & (pl.col("both") == pl.col("of_label"))
    )
    lines = int(pairs["both"].sum())
    templates, known = pairs["template"].n_unique(), pairs["label"].n_unique()
    return TemplateAccuracy(
        ga=int(same["both"].sum()) / lines,
        fga=2 * len(same) / (templates + known),
        lines=lines,
        templates=templates,
        labels=known,
    )


def names_of(templates: Sequence[Template], truth: Truth) -> dict[int, str]:
    """Return the true template's name of each learnt one, by its example (or text).

    Of several that fit, the one with the most constant characters; those that none fits are left
    out.
    """
    patterns = sorted(
        ((template.text, template.name) for template in truth.templates),
        key=lambda pair: -len(pair[0].replace("*", "")),
    )
    known = [
        (text.partition("**")[0], re.compile(pattern_of(text)), name) for text, name in patterns
    ]
    result = {}
    for template in templates:
        line = template.example or template.text
        for head, pattern, name in known:
            if line.startswith(head) and pattern.match(line):
                result[template.id] = name
                break
    return result


# Skeleton

TruePair = tuple[Node, Node]


def skeleton_score(
    found: Iterable[tuple[Node, Node]],
    truth: Truth,
    group_of: Mapping[str, int],
    *,
    events: Mapping[Node, int] | None = None,
    least: int = 30,
) -> Skeleton:
    """Compare pairs of nodes with the true edges.

    `group_of`: of true templates' names their group; edges with others are left out. `events`: of
    nodes how many events they have (None: all have enough); `least` of them are enough.
    """
    edges = {
        pair
        for edge in truth.edges
        if (pair := _pair(edge.cause.host, group_of.get(edge.cause.template),
                          edge.effect.host, group_of.get(edge.effect.template))) is not None
    }  # fmt: skip
    near: dict[Node, set[Node]] = {}
    for a, b in edges:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    pairs = {(a, b) if a <= b else (b, a) for a, b in found if a != b}
    direct = pairs & edges
    close = sum(
        1 for a, b in pairs
        if (a, b) in edges or near.get(a, set()) & near.get(b, set())
    )  # fmt: skip
    frequent = {
        pair for pair in edges
        if events is None or min(events.get(node, 0) for node in pair) >= least
    }  # fmt: skip
    return Skeleton(
        precision=_share(len(direct), len(pairs)),
        near=_share(close, len(pairs)),
        recall=_share(len(direct), len(edges)),
        frequent_recall=_share(len(direct & frequent), len(frequent)),
        found=len(pairs),
        edges=len(edges),
        frequent=len(frequent),
    )


def _pair(host: str, group: int | None, other: str, another: int | None) -> TruePair | None:
    if group is None or another is None:
        return None
    a, b = Node(host, group), Node(other, another)
    if a == b:
        return None
    return (a, b) if a <= b else (b, a)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


# Files


def read_findings(path: Path) -> Findings:
    """Read the report's JSON (`triage syslog report --json`).

    Raises ScoreError, which names the file and what is wrong.
    """
    data = _bytes(path)
    try:
        return msgspec.json.decode(data, type=Findings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ScoreError(
            f"{path}: not a report ({error}): name a file of triage syslog report --json"
        ) from None


def read_tickets(path: Path, timezone: str = "UTC", open_seconds: float = OPEN) -> Reference:
    """Read a trouble-ticket system's CSV; `timezone` is that of times without an own zone.

    Raises ScoreError, which names the line and the remedy.
    """
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScoreError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from None
    return tickets_of(text, timezone, open_seconds, str(path))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScoreError(f"{path}: {error.strerror or error}: name a readable file") from None


# Tickets

_COLUMNS = {
    "start": "start started starttime startedat startdate opened open openedat opentime begin "
    "began begintime from since created createdat outagestart down downat date",
    "end": "end ended endtime endedat enddate closed close closedat closetime resolved "
    "resolvedat until to finish finished restored restoredat outageend up upat",
    "hosts": "host hosts hostname hostnames device devices node nodes server servers machine "
    "machines ci affected affectedhosts",
    "site": "site location datacenter datacentre pop area sitename",
    "kind": "kind type category class cause",
}


def tickets_of(
    text: str, timezone: str = "UTC", open_seconds: float = OPEN, name: str = "tickets"
) -> Reference:
    """Return the outages of a CSV text; see `read_tickets`."""
    zone = _zone(timezone)
    numbered = _rows(text.removeprefix("\ufeff"), name)
    if not numbered:
        raise ScoreError(f"{name}: empty: it needs a line of column names, and one for each ticket")
    first, header = numbered[0]
    columns = _columns(header)
    if "start" not in columns:
        raise ScoreError(
            f"{name}: line {first}: no column for the start among {', '.join(header)}: "
            "name one start, opened or begin"
        )
    body = [_cells(row, columns) for _, row in numbered[1:]]
    day_first = _day_first([row.get(c, "") for row in body for c in ("start", "end")])
    outages = []
    for (number, _), row in zip(numbered[1:], body, strict=True):
        where = f"{name}: line {number}"
        start = _time(row["start"], zone, day_first, where)
        ended = row.get("end", "")
        end = _time(ended, zone, day_first, where) if ended else start + open_seconds
        if end < start:
            raise ScoreError(f"{where}: it ends before it starts: correct the ticket's times")
        outages.append(
            Happening(
                kind=row.get("kind", "") or "ticket", start=start, end=end,
                hosts=tuple(sorted(h for h in re.split(r"[\s,;|]+", row.get("hosts", "")) if h)),
                site=row.get("site", ""),
            )
        )  # fmt: skip
    return Reference(outages=tuple(sorted(outages, key=lambda each: (each.start, each.end))))


def _rows(text: str, name: str) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, with the number of the line that each ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), _dialect(text))
    try:
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ScoreError(f"{name}: line {reader.line_num}: {error}: is it a CSV file?") from None


def _zone(timezone: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(timezone)
    except (OSError, ValueError, KeyError):
        raise ScoreError(f"no time zone {timezone!r}: write UTC or Asia/Tokyo") from None


class _Dialect(csv.excel):
    strict = False


def _dialect(text: str) -> type[csv.Dialect]:
    """The delimiter is the one that the line of names has most of."""
    head = next((line for line in text.splitlines() if line.strip()), "")

    class Found(_Dialect):
        delimiter = max(",;\t|", key=head.count)

    return Found


def _columns(header: Sequence[str]) -> dict[str, int]:
    """Return where each known column is: the first one of the names, in the names' order."""
    plain = [re.sub(r"[^a-z]", "", name.lower()) for name in header]
    found = {}
    for column, names in _COLUMNS.items():
        for name in names.split():
            if name in plain:
                found[column] = plain.index(name)
                break
    return found


def _cells(row: Sequence[str], columns: Mapping[str, int]) -> dict[str, str]:
    return {name: row[at].strip() if at < len(row) else "" for name, at in columns.items()}


_NUMERIC = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:[ T,]+(.*))?$")
_YEAR_FIRST = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?:[ T,]+(.*))?$")
_NAMED = ("%d %b %Y", "%b %d %Y", "%d %B %Y", "%B %d %Y", "%d-%b-%Y", "%d-%b-%y", "%a %b %d %Y")
_CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")


def _day_first(values: Iterable[str]) -> bool | None:
    """Tell how dates such as 03/04/2015 are meant, by the others; None: nothing tells it."""
    for value in values:
        match = _NUMERIC.match(value)
        if match and int(match[1]) > 12:
            return True
        if match and int(match[2]) > 12:
            return False
    return None


def _time(value: str, zone: zoneinfo.ZoneInfo, day_first: bool | None, where: str) -> float:
    """Return seconds since 1970."""
    for reader in (_epoch, _iso):
        found = reader(value)
        if found is not None:
            return _seconds(found, zone)
    match = _NUMERIC.match(value)
    if match:
        dotted = "." in value[:5]
        if day_first is None and not dotted and match[1] != match[2]:
            raise ScoreError(f"{where}: {value!r} may be two dates: write them as 2015-09-27 06:12")
        day, month = (match[1], match[2]) if day_first or dotted else (match[2], match[1])
        value = f"{match[3]}-{month}-{day} {match[4] or '00:00'}"
    else:
        value = _YEAR_FIRST.sub(lambda m: f"{m[1]}-{m[2]}-{m[3]} {m[4] or '00:00'}", value)
    found = _formatted(value)
    if found is None:
        raise ScoreError(f"{where}: {value!r} is no time that is known: write 2015-09-27 06:12")
    return _seconds(found, zone)


def _epoch(value: str) -> datetime | None:
    if not re.fullmatch(r"\d{9,13}(?:\.\d+)?", value):
        return None
    number = float(value)
    return datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)


def _iso(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value.replace(" UTC", "+00:00"))
    except ValueError:
        return None


def _formatted(value: str) -> datetime | None:
    plain = " ".join(value.replace(",", " ").split())
    for date in ("%Y-%m-%d", *_NAMED):
        for clock in _CLOCKS:
            try:
                return datetime.strptime(plain, f"{date} {clock}")
            except ValueError:
                continue
    return None


def _seconds(time: datetime, zone: zoneinfo.ZoneInfo) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=zone)).timestamp()


# Showing


def score_json(result: Score) -> bytes:
    """Return a score as JSON, ratios included."""
    plain = msgspec.to_builtins(result)
    for name, value in (("daily", result.daily), ("short", result.short)):
        plain[name] |= {
            "recall": value.recall, "precision": value.precision, "false_days": value.false_days
        }  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)


def score_table(result: Score) -> str:
    """Return a score as a plain table."""
    head = "outages found recall abnormal right neutral false false-days precision"
    rows: list[tuple[str, ...]] = [("", *head.split())]
    for name, value in (("days", result.daily), ("short", result.short)):
        figures = (
            value.outages, value.found, f"{value.recall:.3f}", value.abnormal, value.right,
            value.neutral, value.false, value.false_days, f"{value.precision:.3f}",
        )  # fmt: skip
        rows.append((name, *map(str, figures)))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *_more(result)]) + "\n"


def _more(result: Score) -> list[str]:
    lines = []
    if result.delay is not None:
        lines.append(f"delay {result.delay / 60:.0f} min (median, to the short window's end)")
    if result.first_line is not None:
        lines.append(f"first line after {result.first_line / 60:.1f} min (median)")
    if result.templates is not None:
        found = result.templates
        lines.append(
            f"templates GA {found.ga:.3f}, FGA {found.fga:.3f}: {found.templates} for "
            f"{found.labels} true ones, {found.lines:,} lines"
        )
    if result.skeleton is not None:
        shape = result.skeleton
        lines.append(
            f"skeleton precision {shape.precision:.3f} (near {shape.near:.3f}), recall "
            f"{shape.recall:.3f}, of {shape.frequent} frequent edges {shape.frequent_recall:.3f}"
        )
    describe: tuple[tuple[str, Callable[[Score], Peaks]], ...] = (
        ("day", lambda r: r.daily), ("short window", lambda r: r.short),
    )  # fmt: skip
    for name, part in describe:
        lines += [f"missed by {name}: {kind} {_shown(at)}" for at, kind in part(result).missed]
        lines += [f"false {name}: {_shown(at)} {area}" for at, area in part(result).false_windows]
    return lines


def _shown(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
