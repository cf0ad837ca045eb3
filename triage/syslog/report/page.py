"""The report as one page: HTML with its style and its drawings inside, and nothing else.

Rules
- What to look at comes first: outages with where, when, the lines and the edges that show them;
  then the other findings; then what was read, the figures, the templates and how it was computed.
- It asks for nothing, by the same policy as an incident's page: no script, no font, no image from
  elsewhere. It can be mailed, kept and printed.
- Whatever comes from logs is escaped twice: control characters become visible, then HTML's own.
- Its size is bounded: lists are cut, and say how much was left out; the JSON has all of it.

Pure: data in, text out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from triage.syslog.intervals import IntervalStats
from triage.syslog.report.figures import KIND_WORDS, Drawn, figures, label_of
from triage.syslog.report.marking import html, marked, template_html
from triage.syslog.report.model import ReportData, TemplateUse
from triage.syslog.report.style import REPORT_STYLE
from triage.syslog.report.words import at_second, between, length, many, said, times
from triage.syslog.tables import Edge, EdgeKind, Finding, FindingKind, Line, id_text
from triage.views.page import PAGE_STYLE, POLICY
from triage.views.words import date_time, shortened, span

OUTAGES = 40
"""Outages with all their details, at most."""
OTHERS = 12
"""Findings of each other kind, at most."""
LINES = 10
"""Lines and edges of an outage that are open; the others are behind a click."""
HOSTS = 16
FILES = 60
TOP = 40
"""Templates in the tables of the frequent and of the rare ones."""
ALL = 2500
"""Templates in the table of all."""
GROUPS = 40
PERIODS = 30
SAMPLE = 14

_TITLES: Mapping[FindingKind, str] = {
    FindingKind.OUTAGE: "Outages",
    FindingKind.CHANGE: "Changes: unusual, and of the operators' doing by all signs",
    FindingKind.SCAN: "Scans: bursts of refused strangers",
    FindingKind.BURST: "Bursts: far more lines than usual",
    FindingKind.SILENCE: "Silences: hosts that log all the time did not",
    FindingKind.RESTART: "Restarts",
    FindingKind.RARE_TEMPLATE: "Rare templates",
    FindingKind.NEW_EDGES: "New edges, below an outage's threshold",
}
_ARROWS = {
    EdgeKind.CAUSAL: "\u2014",
    EdgeKind.DIRECTED: "\u2192",
    EdgeKind.SYNCHRONOUS: "=",
}


def report_html(data: ReportData, drawn: Sequence[Drawn] | None = None) -> str:
    """Return the whole page; `drawn` are its figures, when they have been made already."""
    drawn = figures(data) if drawn is None else drawn
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{html(data.title)}: {headline(data)}</title>",
            f"<style>{PAGE_STYLE}{REPORT_STYLE}</style></head><body>",
            *_body(data, drawn),
            "</body></html>\n",
        )
    )


def headline(data: ReportData) -> str:
    """Return what the report says in a few words: "2 outages in 52 d"."""
    outages = _of_kind(data, FindingKind.OUTAGE)
    found = many(len(outages), "outage") if outages else "No outage"
    return f"{found} in {length(data.end - data.start)}"


def _body(data: ReportData, drawn: Sequence[Drawn]) -> Iterator[str]:
    yield from _header(data)
    yield "<main>"
    yield from _findings(data, [one for one in drawn if one.number == 0])
    yield from _what_was_read(data)
    yield '<h2 id="figures">Figures</h2>'
    for one in drawn:
        if one.number:
            yield from _figure(one)
    yield from _interval_tables(data)
    yield from _templates(data)
    yield from _groups(data)
    yield from _computed(data)
    yield "</main>"
    yield (
        f"<footer>Written by {html(data.product)}. Times are UTC. Secrets in lines are masked."
        " Marked parts of a line are those that vary in its template.</footer>"
    )


def _of_kind(data: ReportData, kind: FindingKind) -> list[Finding]:
    return [one for one in data.detection.findings if one.kind is kind]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> Iterator[str]:
    """Yield a table. Cells are HTML; a head is "class|title", the class that of its column."""
    columns = [head.partition("|")[::2] for head in heads]
    classes = [f' class="{name}"' if name else "" for name, _ in columns]
    yield f'<div class="scroll plain"><table{kind}>'
    if any(title for _, title in columns):
        titles = (f"<th{c}>{title}</th>" for c, (_, title) in zip(classes, columns, strict=True))
        yield f"<thead><tr>{''.join(titles)}</tr></thead>"
    yield "<tbody>"
    for row in rows:
        cells = (f"<td{c}>{cell}</td>" for c, cell in zip(classes, row, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


# Header


def _header(data: ReportData) -> Iterator[str]:
    outages = _of_kind(data, FindingKind.OUTAGE)
    yield f'<header><p class="kicker">{html(data.title)} · triage syslog</p>'
    yield f"<h1>{headline(data)}</h1>"
    yield '<ul class="chips">'
    for kind, words in KIND_WORDS.items():
        found = len(_of_kind(data, kind))
        if found:
            bad = " class=bad" if kind is FindingKind.OUTAGE else ""
            yield f"<li{bad}>{words}: {found}</li>"
    yield "</ul>"
    if outages:
        first = outages[0]
        yield (
            f'<p class="summary">The strongest: {html(first.area)},'
            f" {between(first.start, first.end)}. {html(said(first))}</p>"
        )
    else:
        yield (
            '<p class="summary">No window is abnormal enough to be called an outage. What is'
            " unusual below that is listed by kind.</p>"
        )
    yield '<dl class="facts">'
    for name, value in (
        ("log", between(data.start, data.end)),
        ("lines", f"{data.lines:,}" + (f", {data.broken:,} broken" if data.broken else "")),
        ("hosts", f"{len(data.hosts)} at {many(len(data.sites), 'site')}"),
        ("templates", f"{len(data.templates):,} in {many(len(data.groups), 'group')}"),
    ):
        yield f"<div><dt>{name}</dt><dd>{html(value)}</dd></div>"
    yield "</dl>"
    yield (
        '<nav><a href="#findings">Findings</a><a href="#read">What was read</a>'
        '<a href="#figures">Figures</a><a href="#intervals">Periods and bursts</a>'
        '<a href="#templates">Templates</a><a href="#groups">Groups</a>'
        '<a href="#computed">How it was computed</a></nav></header>'
    )


# Findings


def _findings(data: ReportData, overview: Iterable[Drawn]) -> Iterator[str]:
    yield '<h2 id="findings">Findings</h2>'
    for drawn in overview:
        yield from _figure(drawn)
    texts = {one.template.id: one.template.text for one in data.templates}
    labels = {one.id: one.label for one in data.groups}
    outages = _of_kind(data, FindingKind.OUTAGE)
    if outages:
        yield f"<h3>{_TITLES[FindingKind.OUTAGE]}</h3>" + '<ol class="findings">'
        for one in outages[:OUTAGES]:
            yield from _outage(one, texts, labels)
        yield "</ol>"
        yield _more(len(outages) - OUTAGES, "outage")
    for kind in list(_TITLES)[1:]:
        some = _of_kind(data, kind)
        if some:
            yield f'<h3>{escape(_TITLES[kind])} <span class="soft">({len(some)})</span></h3>'
            yield '<ol class="findings">'
            for one in some[:OTHERS]:
                yield from _minor(one, texts, labels)
            yield "</ol>"
            yield _more(len(some) - OTHERS, "finding")
    if not data.detection.findings:
        yield "<p>Nothing unusual was found.</p>"


def _more(left: int, word: str) -> str:
    return f'<p class="small">{many(left, word)} more, in the JSON.</p>' if left > 0 else ""


def _outage(one: Finding, texts: Mapping[int, str], labels: Mapping[int, str]) -> Iterator[str]:
    yield '<li class="outage">' + _score(one)
    yield f"<h3>{html(one.area)}, {between(one.start, one.end)}</h3>"
    yield f"<p>{html(said(one))}</p>"
    yield f"<h4>{many(len(one.hosts), 'host')}</h4>"
    yield from _hosts(one.hosts)
    if one.lines:
        yield "<h4>Lines that show it</h4>"
        yield from _lines(one.lines[:LINES], texts)
        if len(one.lines) > LINES:
            yield f"<details><summary>{many(len(one.lines) - LINES, 'more line')}</summary>"
            yield from _lines(one.lines[LINES:], texts)
            yield "</details>"
    total = max(one.edges_total, len(one.edges))
    if total:
        yield f"<details><summary>{many(total, 'unusual edge')}: what came together</summary>"
        yield from _edges(one.edges, labels)
        yield _more(total - len(one.edges), "edge")
        yield "</details>"
    yield "</li>"


def _score(one: Finding) -> str:
    return f'<span class="score">{times(one.score)} times the threshold</span>'


def _minor(one: Finding, texts: Mapping[int, str], labels: Mapping[int, str]) -> Iterator[str]:
    yield f'<li class="minor">{_score(one)}'
    yield f"<h4>{html(one.area)}, {between(one.start, one.end)}</h4><p>{html(said(one))}</p>"
    if one.lines or one.edges:
        what = [many(len(one.lines), "line")] if one.lines else []
        total = max(one.edges_total, len(one.edges))
        what += [many(total, "edge")] if total else []
        yield f"<details><summary>{', '.join(what)}</summary>"
        if one.lines:
            yield from _lines(one.lines, texts)
        if one.edges:
            yield from _edges(one.edges[: 2 * LINES], labels)
            yield _more(total - 2 * LINES, "edge")
        yield "</details>"
    yield "</li>"


def _hosts(hosts: Sequence[str]) -> Iterator[str]:
    yield '<ul class="hosts">'
    for host in hosts[:HOSTS]:
        yield f"<li>{html(shortened(host, 80))}</li>"
    if len(hosts) > HOSTS:
        yield f"<li>and {len(hosts) - HOSTS} more</li>"
    yield "</ul>"


def _lines(lines: Iterable[Line], texts: Mapping[int, str]) -> Iterator[str]:
    yield '<ol class="log">'
    for line in lines:
        yield (
            f'<li><span class="at">{at_second(line.time)}</span>'
            f"{marked(line.text, texts.get(line.template, ''))}</li>"
        )
    yield "</ol>"


def _edges(edges: Iterable[Edge], labels: Mapping[int, str]) -> Iterator[str]:
    yield from _table(
        ("|", "short|", "|"),
        (
            (
                _node(edge.a.host, edge.a.group, labels),
                _ARROWS[edge.kind],
                _node(edge.b.host, edge.b.group, labels)
                + (f" <i class=soft>{many(edge.lag, 'bin')} later</i>" if edge.lag else ""),
            )
            for edge in edges
        ),
    )


def _node(host: str, group: int, labels: Mapping[int, str]) -> str:
    label = shortened(labels.get(group, id_text(group)), 120)
    return f"<span class=soft>{html(host)}</span> <code>{template_html(label)}</code>"


# What was read


def _what_was_read(data: ReportData) -> Iterator[str]:
    yield '<h2 id="read">What was read</h2>'
    damaged = sum(bool(one.damage) for one in data.files)
    size = sum(one.bytes for one in data.files)
    whole = f" {many(damaged, 'file')} could not be read whole." if damaged else ""
    yield (
        f"<p>{many(len(data.files), 'file')}, {many(data.lines, 'line')}"
        f"{f' ({_bytes(size)})' if size else ''}, from {between(data.start, data.end)}."
        f" {many(data.broken, 'line')} had no header that could be read: counted and kept, without"
        f" a part in what follows.{whole}</p>"
    )
    if data.notes:
        yield '<div class="unknowns"><ul>'
        for note in data.notes:
            yield f"<li>{html(note)}</li>"
        yield "</ul></div>"
    if data.sample:
        yield '<h3>Sample of the log <span class="soft">(the report\'s figure 1)</span></h3>'
        texts = {one.template.id: one.template.text for one in data.templates}
        yield from _lines(data.sample[:SAMPLE], texts)
    yield from _sites(data)
    yield from _files(data)


def _sites(data: ReportData) -> Iterator[str]:
    lines = {one.area: sum(one.lines) for one in data.volume.areas}
    yield "<h3>Sites and hosts</h3>"
    yield from _table(
        ("|Site", "number|Hosts", "number|Lines", "|Names"),
        (
            (
                html(site.name),
                str(len(site.hosts)),
                f"{lines.get(site.name, 0):,}",
                html(_some(site.hosts, 2 * HOSTS, len(site.hosts))),
            )
            for site in data.sites
        ),
    )


def _some(names: Sequence[str], shown: int, total: int) -> str:
    """Return "a, b and 7 more"."""
    left = total - min(shown, len(names))
    return ", ".join(names[:shown]) + (f" and {left} more" if left > 0 else "")


def _files(data: ReportData) -> Iterator[str]:
    if not data.files:
        return
    # What could not be read first: that is what somebody has to know.
    order = sorted(data.files, key=lambda one: (not one.damage, -one.broken, one.name))
    opened = " open" if len(order) <= 8 else ""
    yield f"<details{opened}><summary>{many(len(order), 'file')}</summary>"
    yield from _table(
        ("|File", "number|Lines", "number|Broken", "number|Size", "|Damage"),
        (
            (
                html(one.name),
                f"{one.lines:,}",
                f"{one.broken:,}",
                _bytes(one.bytes),
                html("; ".join(one.damage)),
            )
            for one in order[:FILES]
        ),
    )
    yield _more(len(order) - FILES, "file")
    yield "</details>"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


# Figures


def _figure(one: Drawn) -> Iterator[str]:
    number = f"Figure {one.number}. " if one.number else ""
    yield f'<figure class="drawn" id="{one.name}"><div class="scroll plain">{one.inline()}</div>'
    yield f"<figcaption><b>{number}{html(one.title)}</b>{html(one.caption)}"
    yield "</figcaption>"
    if one.rows:
        yield "<details><summary>The nodes in full</summary>"
        yield from _table(
            tuple(f"|{head}" for head in one.rows[0]),
            ([html(shortened(cell, 400)) for cell in row] for row in one.rows[1:]),
        )
        yield "</details>"
    yield "</figure>"


# Periods and bursts


def _interval_tables(data: ReportData) -> Iterator[str]:
    yield '<h2 id="intervals">Periods and bursts of templates</h2>'
    names = {one.template.id: one for one in data.templates}
    yield from _periods(data, names)
    yield from _bursts(data, names)


def _periods(data: ReportData, names: Mapping[int, TemplateUse]) -> Iterator[str]:
    periodic = [(one, one.period) for one in data.intervals if one.period is not None]
    yield f"<h3>Periodic templates <span class=soft>({len(periodic)})</span></h3>"
    if not periodic:
        yield "<p>None.</p>"
        return
    periodic.sort(key=lambda one: (-one[0].count, one[0].template))
    yield (
        '<p class="small">Strength 1 is a clock: every line is followed by another one after the'
        " period, on the same host. Jitter is how far off that one is, as a median.</p>"
    )
    yield from _table(
        ("text|Template", "|Comes", "number|Strength", "number|Jitter", "number|Lines"),
        (
            (
                _template_cell(one.template, names),
                html(period.text),
                f"{period.strength:.2f}",
                span(period.jitter),
                f"{one.count:,}",
            )
            for one, period in periodic[:PERIODS]
        ),
    )
    yield _more(len(periodic) - PERIODS, "periodic template")


def _bursts(data: ReportData, names: Mapping[int, TemplateUse]) -> Iterator[str]:
    yield f"<h3>Bursts <span class=soft>({len(data.bursts)})</span></h3>"
    if not data.bursts:
        yield "<p>None.</p>"
        return
    yield (
        '<p class="small">Against the busiest part, as long, of a usual day of the same template;'
        " the strongest first.</p>"
    )
    order = sorted(data.bursts, key=lambda one: (-one.factor, one.start, one.template))
    yield from _table(
        ("text|Template", "|When", "number|Lines", "number|Times the usual", "|Hosts"),
        (
            (
                _template_cell(one.template, names),
                between(one.start, one.end),
                f"{one.lines:,}",
                times(one.factor),
                html(_some(one.hosts, 3, one.hosts_total)),
            )
            for one in order[:PERIODS]
        ),
    )
    yield _more(len(data.bursts) - PERIODS, "burst")


def _template_cell(template: int, names: Mapping[int, TemplateUse]) -> str:
    use = names.get(template)
    text = label_of(use.template) if use else id_text(template)
    return f'{template_html(shortened(text, 240))}<br><span class="id">{id_text(template)}</span>'


# Templates and groups


def _templates(data: ReportData) -> Iterator[str]:
    yield '<h2 id="templates">Templates</h2>'
    total = len(data.templates)
    rare = sorted(data.templates, key=lambda one: (one.lines, -one.last, one.template.id))[:TOP]
    if total <= TOP:
        yield from _template_table(data, data.templates)
        return
    yield f"<h3>The {TOP} most frequent of {total:,}</h3>"
    yield from _template_table(data, data.templates[:TOP])
    yield f"<h3>The {len(rare)} rarest</h3>"
    yield from _template_table(data, rare)
    yield f"<details><summary>All {total:,} templates, the most frequent first</summary>"
    yield from _table(
        ("text|Template", "number|Lines", "number|Hosts"),
        (
            (
                _named(one, 200, " "),
                f"{one.lines:,}",
                str(one.hosts),
            )
            for one in data.templates[:ALL]
        ),
    )
    yield _more(total - ALL, "template") + "</details>"


def _template_table(data: ReportData, uses: Sequence[TemplateUse]) -> Iterator[str]:
    stats = {one.template: one for one in data.intervals}
    yield from _table(
        (
            *("text|Template, and an example", "number|Lines", "number|Hosts", "short|First, last"),
            *("number|Mean interval", "number|Median", "|Period"),
        ),
        (_template_row(use, stats.get(use.template.id)) for use in uses),
    )


def _template_row(use: TemplateUse, stats: IntervalStats | None) -> tuple[str, ...]:
    return (
        _named(use, 240, "<br>", example=use.example),
        f"{use.lines:,}",
        str(use.hosts),
        f"{date_time(use.first)[:16]}<br>{date_time(use.last)[:16]}",
        span(stats.mean) if stats and stats.mean is not None else "",
        span(stats.median) if stats and stats.median is not None else "",
        html(stats.period.text) if stats and stats.period else "",
    )


def _named(use: TemplateUse, most: int, between: str, *, example: str = "") -> str:
    text = template_html(shortened(label_of(use.template), most))
    small = f"{id_text(use.template.id)} {html(shortened(example, 200))}"
    return f'{text}{between}<span class="id">{small.rstrip()}</span>'


def _groups(data: ReportData) -> Iterator[str]:
    yield '<h2 id="groups">Groups of similar templates</h2>'
    several = [one for one in data.groups if len(one.templates) > 1]
    yield (
        f"<p>{many(len(data.templates), 'template')} in {many(len(data.groups), 'group')};"
        f" {len(several):,} of them hold more than one template. A node of the graphs is a group on"
        " a host.</p>"
    )
    names = {one.template.id: label_of(one.template) for one in data.templates}
    for one in sorted(several, key=lambda one: (-len(one.templates), one.id))[:GROUPS]:
        yield (
            f"<details><summary>{many(len(one.templates), 'template')}:"
            f" <code>{template_html(shortened(one.label, 110))}</code></summary>"
        )
        yield '<ol class="log">'
        for template in one.templates[:TOP]:
            text = shortened(names.get(template, id_text(template)), 240)
            yield f"<li>{template_html(text)}</li>"
        yield "</ol>" + _more(len(one.templates) - TOP, "template") + "</details>"
    yield _more(len(several) - GROUPS, "group")


# How it was computed


def _computed(data: ReportData) -> Iterator[str]:
    rarity = data.detection.rarity
    yield '<h2 id="computed">How it was computed</h2>'
    yield (
        "<p>Lines were classified into templates, templates merged into groups. In each window and"
        " area, the counts of each (group, host) in bins were tested for conditional independence"
        " (G² test), and the PC algorithm left the graph of those that depend on each other. An"
        f" edge that appears on {many(rarity.threshold, 'day')} or fewer is rare (quantile"
        f" {rarity.quantile:g} of figure 7). A window with far more rare edges than its area's"
        " other windows, or in which hosts fell silent or started anew, is abnormal. A score of 1"
        " is at the threshold.</p>"
    )
    yield from _table(
        ("short|", "|", "|"),
        ((html(one.name), html(one.value), html(one.meaning)) for one in data.settings),
        kind=' class="facts-table"',
    )
