"""Judged windows -> findings: windows that belong together, in one sentence with figures.

Rules
- Abnormal short windows of one area whose evidence lies at most `merge` apart are one outage; its
  start and end are those of its evidence, not of the windows. A day that is abnormal by its own
  figures alone gives one for itself.
- Harmless peaks (CHANGE, SCAN, BURST, NEW_EDGES) are merged when their windows touch and their kind
  is the same, and left out where an outage covers them.
- A burst or a first sight of one template on many hosts is one finding.
- Outages first, then kinds in a fixed order; within a kind by falling score, then by time.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from triage.syslog.detect.decide import Verdict, WindowFeatures
from triage.syslog.detect.features import Evidence, Past
from triage.syslog.detect.series import Ints, Window
from triage.syslog.detect.silence import Restart, Silence
from triage.syslog.detect.unusual import NodeTable
from triage.syslog.tables import Edge, Finding, FindingKind

ORDER = (
    FindingKind.OUTAGE,
    FindingKind.SILENCE,
    FindingKind.RESTART,
    FindingKind.NEW_EDGES,
    FindingKind.BURST,
    FindingKind.RARE_TEMPLATE,
    FindingKind.CHANGE,
    FindingKind.SCAN,
)
SHOWN_HOSTS = 4
"""Hosts that a sentence names."""
RARE_SCORE = 1.0
BESIDE = 0.5
"""A crowd's score that is enough beside an outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One window of one area, with its figures and what it is."""

    window: Window
    area: int
    edges: int
    rare: tuple[Edge, ...]
    rows: Ints
    """Rows of the table of this length of window that are unusual or lasting."""
    features: WindowFeatures
    evidence: Evidence
    verdict: Verdict

    @property
    def outage(self) -> bool:
        """Whether it is abnormal."""
        return self.verdict.kind is FindingKind.OUTAGE


def continued(judged: Sequence[Judged], areas: int, gap: float) -> tuple[Judged, ...]:
    """Let outages go on into the windows before and after, where lines of trouble do.

    `judged` are windows in order, within them areas. Half a crowd is enough beside an outage, at
    most `gap` minutes from it: a window's border divides what belongs together.
    """
    result = list(judged)
    for number, one in enumerate(judged):
        if one.outage or one.features.trouble_peak < BESIDE:
            continue
        for beside in (number - areas, number + areas):
            if not 0 <= beside < len(judged) or not judged[beside].outage:
                continue
            first, last = sorted((one, judged[beside]), key=lambda j: j.window.start)
            if last.evidence.start - first.evidence.end <= gap:
                verdict = Verdict(kind=FindingKind.OUTAGE, score=1.0, why="an outage goes on")
                result[number] = replace(one, verdict=verdict)
    return tuple(result)


def findings_of(
    past: Past,
    short: Sequence[Judged],
    short_table: NodeTable,
    long: Sequence[Judged],
    long_table: NodeTable,
) -> tuple[Finding, ...]:
    """Return all findings, ordered, without lines."""
    outages = [
        _outage(past, part, short_table)
        for part in _together([j for j in short if j.outage], past.settings.merge / 60)
    ]
    for day in long:
        if day.outage and not any(_covers(past, outage, day) for outage in outages):
            outages.append(_outage(past, [day], long_table))
    found = [
        *outages,
        *_harmless(past, short, short_table, outages),
        *_harmless(past, long, long_table, outages),
        *_silences(past, outages),
        *_restarts(past),
        *_bursts(past, short, short_table),
        *_firsts(past, long, long_table),
    ]
    return ordered(found, past.settings.most_findings)


def ordered(found: Iterable[Finding], most: int) -> tuple[Finding, ...]:
    """Order findings, at most so many of each kind."""
    of_kind: dict[FindingKind, list[Finding]] = defaultdict(list)
    for finding in found:
        of_kind[finding.kind].append(finding)
    return tuple(
        finding
        for kind in ORDER
        for finding in sorted(of_kind[kind], key=lambda f: (-f.score, f.start, f.area))[:most]
    )


def clock(seconds: float) -> str:
    """Return a time as an operator reads it, to the minute, UTC."""
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%d %H:%M")


def named(hosts: Sequence[str]) -> str:
    """Return hosts' names for a sentence, bounded."""
    if len(hosts) <= SHOWN_HOSTS:
        return ", ".join(hosts)
    return f"{', '.join(hosts[: SHOWN_HOSTS - 1])} and {len(hosts) - SHOWN_HOSTS + 1} more"


def plural(number: int, what: str) -> str:
    """Return "1 host", "2 hosts"."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def length_text(seconds: float) -> str:
    """Return a length of time: "42 min", "3 h 10 min", "2 d 4 h"."""
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _together(judged: Iterable[Judged], gap: float) -> list[list[Judged]]:
    """Windows of one area whose evidence lies close."""
    parts: list[list[Judged]] = []
    for one in sorted(judged, key=lambda j: (j.area, j.window.start)):
        last = parts[-1] if parts else None
        if (
            last
            and last[-1].area == one.area
            and one.window.start - last[-1].window.end <= 0
            and one.evidence.start - last[-1].evidence.end <= gap
        ):
            last.append(one)
        else:
            parts.append([one])
    return parts


def _covers(past: Past, finding: Finding, day: Judged) -> bool:
    start, end = day.window.seconds
    return (
        finding.area == past.fleet.areas[day.area] and finding.start < end and finding.end > start
    )


def _hosts(past: Past, indexes: Iterable[int]) -> tuple[str, ...]:
    return tuple(sorted(past.fleet.corpus.hosts[index] for index in set(indexes)))


def _edges(past: Past, part: Sequence[Judged]) -> tuple[tuple[Edge, ...], int]:
    """The rare edges of windows, each once, the rarest first as they come, bounded."""
    seen: dict[tuple[object, object], Edge] = {}
    for one in part:
        for edge in one.rare:
            seen.setdefault(edge.pair, edge)
    return tuple(seen.values())[: past.settings.most_edges], len(seen)


def _templates(past: Past, part: Sequence[Judged], table: NodeTable) -> tuple[int, ...]:
    """Ids of the unusual templates, those of trouble and of booting first, then on most hosts."""
    counted: Counter[int] = Counter()
    for one in part:
        counted.update(table.template[one.rows[table.unusual[one.rows]]].tolist())

    def rank(template: int) -> tuple[int, int, int]:
        trait = past.traits[template]
        return (0 if trait.trouble or trait.stop else 1 if trait.boot else 2, -counted[template],
                template)  # fmt: skip

    chosen = sorted(counted, key=rank)[: past.settings.most_templates]
    return tuple(past.fleet.corpus.templates[template].id for template in chosen)


def _outage(past: Past, part: Sequence[Judged], table: NodeTable) -> Finding:
    silences = {(s.host, s.start): s for one in part for s in one.evidence.silences}
    restarts = {(r.host, r.minute): r for one in part for r in one.evidence.restarts}
    hosts = _hosts(past, (host for one in part for host in one.evidence.hosts))
    edges, total = _edges(past, part)
    start = min(one.evidence.start for one in part) * 60.0
    end = max(one.evidence.end for one in part) * 60.0
    area = past.fleet.areas[part[0].area]
    said = _said(past, tuple(silences.values()), tuple(restarts.values()))
    if not said:
        most = max(part, key=lambda one: one.features.trouble_close)
        said = (
            f"{plural(most.features.trouble_close, 'unusual kind')} of trouble lines on "
            f"{plural(most.features.trouble_hosts, 'host')} within "
            f"{length_text((most.evidence.end - most.evidence.start) * 60)}"
        )
    return Finding(
        kind=FindingKind.OUTAGE,
        start=start,
        end=end,
        area=area,
        hosts=hosts,
        score=round(max(one.verdict.score for one in part), 3),
        summary=f"{area}: {said}; {plural(total, 'rare edge')}, from {clock(start)} for "
        f"{length_text(end - start)} ({named(hosts)}).",
        edges=edges,
        edges_total=total,
        templates=_templates(past, part, table),
    )


def _said(past: Past, silences: Sequence[Silence], restarts: Sequence[Restart]) -> str:
    """Who was away, for how long."""
    parts = []
    if silences:
        longest = max(silences, key=lambda s: s.minutes)
        site = _whole_site(past, silences)
        who = "all its hosts" if site else plural(len({s.host for s in silences}), "host")
        parts.append(
            f"{who} silent, at most {length_text(longest.minutes * 60)} (usual: up to "
            f"{longest.limit} min)"
        )
    if restarts:
        orderly = sum(restart.ordered for restart in restarts)
        how = ", after an orderly stop" if orderly * 2 > len(restarts) else ""
        parts.append(f"{plural(len({r.host for r in restarts}), 'host')} started anew{how}")
    return ", ".join(parts)


def _whole_site(past: Past, silences: Sequence[Silence]) -> bool:
    hosts = {silence.host for silence in silences}
    area = past.fleet.area_of[silences[0].host]
    return len(hosts) > 1 and len(hosts) == past.fleet.hosts_of(int(area)).size


_HARMLESS = {
    FindingKind.NEW_EDGES: "nothing says what of",
    FindingKind.CHANGE: "software was changed or speaks differently since",
    FindingKind.SCAN: "refused strangers",
    FindingKind.BURST: "of one program alone",
    FindingKind.SILENCE: "all hosts were silent together: their collector's loss, by all signs",
}


def _harmless(
    past: Past, judged: Sequence[Judged], table: NodeTable, outages: Sequence[Finding]
) -> list[Finding]:
    """Windows that stand out without being an outage."""
    kinds = [j for j in judged if j.verdict.kind in _HARMLESS]
    free = [j for j in kinds if not any(_covers(past, outage, j) for outage in outages)]
    found = []
    parts: list[list[Judged]] = []
    for one in sorted(free, key=lambda j: (j.area, j.window.start)):
        last = parts[-1][-1] if parts else None
        same = last and last.area == one.area and last.verdict.kind is one.verdict.kind
        if last and same and one.window.start <= last.window.end:
            parts[-1].append(one)
        else:
            parts.append([one])
    for part in parts:
        kind = part[0].verdict.kind
        assert kind is not None  # noqa: S101  (chosen by it)
        edges, total = _edges(past, part)
        rows = [int(row) for one in part for row in one.rows]
        hosts = _hosts(past, (int(table.host[row]) for row in rows))
        start, end = part[0].window.seconds[0], part[-1].window.seconds[1]
        area = past.fleet.areas[part[0].area]
        found.append(
            Finding(
                kind=kind,
                start=start,
                end=end,
                area=area,
                hosts=hosts,
                score=round(max(one.features.edge_peak for one in part), 3),
                summary=f"{area}: {plural(total, 'rare edge')} and "
                f"{plural(sum(one.features.unusual for one in part), 'unusual series')} on "
                f"{plural(len(hosts), 'host')} from {clock(start)} for "
                f"{length_text(end - start)}: {_HARMLESS[kind]}.",
                edges=edges,
                edges_total=total,
                templates=_templates(past, part, table),
            )
        )
    return found


def _silences(past: Past, outages: Sequence[Finding]) -> list[Finding]:
    """Each host's silences that no outage tells of."""
    found = []
    for silence in past.gone.silences:
        host = past.fleet.corpus.hosts[silence.host]
        start, end = silence.start * 60.0, silence.end * 60.0
        if any(host in o.hosts and o.start < end and o.end > start for o in outages):
            continue
        found.append(
            Finding(
                kind=FindingKind.SILENCE,
                start=start,
                end=end,
                area=host,
                hosts=(host,),
                score=round(silence.minutes / max(1, silence.limit), 3),
                summary=f"{host}: no lines from {clock(start)} for {length_text(end - start)} "
                f"(usual: up to {silence.limit} min){_reason(silence)}.",
            )
        )
    return found


def _reason(silence: Silence) -> str:
    if silence.lost:
        return ", and none of any other host: the collector's loss, by all signs"
    if silence.shifted:
        return ", but the lines before or after it are doubled: its clock was set"
    if not silence.resumed:
        return ", until the end of the log"
    return ", then it started anew" if silence.booted else ""


def _restarts(past: Past) -> list[Finding]:
    found = []
    for restart in past.gone.restarts:
        host = past.fleet.corpus.hosts[restart.host]
        start = (restart.minute - restart.down) * 60.0
        end = (restart.minute + 1) * 60.0
        how = "after an orderly stop" if restart.ordered else "without an orderly stop before it"
        sign = "by its boot lines" if restart.told else "by its lines after a pause"
        found.append(
            Finding(
                kind=FindingKind.RESTART,
                start=start,
                end=end,
                area=host,
                hosts=(host,),
                score=1.0 + restart.down / 60,
                summary=f"{host} started anew at {clock(restart.minute * 60.0)} ({sign}), {how}, "
                f"{length_text(restart.down * 60)} without lines.",
                templates=tuple(
                    past.fleet.corpus.templates[template].id
                    for template in restart.templates[: past.settings.most_templates]
                ),
            )
        )
    return found


def _bursts(past: Past, judged: Sequence[Judged], table: NodeTable) -> list[Finding]:
    """One finding for each template and area whose windows touch."""
    open_: dict[tuple[int, int], Finding] = {}
    found: list[Finding] = []
    for one in judged:
        rows = one.rows[table.burst[one.rows]]
        by_template: dict[int, list[int]] = defaultdict(list)
        for row in rows.tolist():
            if table.lines[row] >= past.settings.burst_lines:
                by_template[int(table.template[row])].append(row)
        for template, mine in sorted(by_template.items()):
            new = _burst(past, one, template, mine, table)
            before = open_.get((one.area, template))
            if before is not None and before.end == new.start:
                new = replace(
                    new,
                    start=before.start,
                    score=max(before.score, new.score),
                    hosts=tuple(sorted({*before.hosts, *new.hosts})),
                    summary=before.summary if before.score >= new.score else new.summary,
                )
                found.remove(before)
            open_[one.area, template] = new
            found.append(new)
    return found


def _burst(
    past: Past, one: Judged, template: int, rows: Sequence[int], table: NodeTable
) -> Finding:
    hosts = _hosts(past, (int(table.host[row]) for row in rows))
    start, end = one.window.seconds
    times = max(int(table.times[row]) for row in rows)
    lines = sum(int(table.lines[row]) for row in rows)
    known = past.fleet.corpus.templates[template]
    kind = FindingKind.SCAN if past.traits[template].stranger else FindingKind.BURST
    area = past.fleet.areas[one.area]
    return Finding(
        kind=kind,
        start=start,
        end=end,
        area=hosts[0] if len(hosts) == 1 else area,
        hosts=hosts,
        score=round(times / past.settings.burst, 3),
        summary=f'{area}: {plural(lines, "line")} of "{(known.name or known.text)[:80]}" on '
        f"{plural(len(hosts), 'host')} from {clock(start)}, up to {times} times the usual.",
        templates=(known.id,),
    )


def _firsts(past: Past, days: Sequence[Judged], table: NodeTable) -> list[Finding]:
    """Templates that the whole corpus has on one day alone, and that speak of trouble."""
    on_days: dict[int, list[tuple[Judged, int]]] = defaultdict(list)
    for one in days:
        for row in one.rows[table.rare[one.rows]].tolist():
            if past.trouble[table.template[row]]:
                on_days[int(table.template[row])].append((one, row))
    total = len({one.window for one in days})
    found = []
    for template, places in sorted(on_days.items()):
        if total < 3 or len({one.window for one, _ in places}) > 1:
            continue
        one = places[0][0]
        hosts = _hosts(past, (int(table.host[row]) for _, row in places))
        start, end = one.window.seconds
        known = past.fleet.corpus.templates[template]
        found.append(
            Finding(
                kind=FindingKind.RARE_TEMPLATE,
                start=start,
                end=end,
                area=hosts[0] if len(hosts) == 1 else past.fleet.areas[one.area],
                hosts=hosts,
                score=RARE_SCORE + 0.1 * (len(hosts) - 1),
                summary=f'"{(known.name or known.text)[:100]}" on {plural(len(hosts), "host")} '
                f"({named(hosts)}) on {clock(start)[:10]}, on no other day of {total}.",
                templates=(known.id,),
            )
        )
    return found
