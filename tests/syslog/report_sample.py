"""A report's data, made from a seed: events, counts, and a detection that fits them.

Hostile on purpose: markup, control characters, quotes and TeX stand in hosts' lines.
"""

from __future__ import annotations

import random

import polars as pl

from triage.syslog.intervals import survey
from triage.syslog.report.collect import report_data
from triage.syslog.report.model import FileRead, ReportData, Setting
from triage.syslog.tables import (
    COUNTS,
    Corpus,
    Detection,
    Edge,
    EdgeKind,
    Finding,
    FindingKind,
    Group,
    Line,
    Node,
    Rarity,
    Template,
    WindowGraph,
    WindowScore,
    content_id,
)

T0 = 1_443_225_600
"""2015-09-26 00:00 UTC, when the report's log begins."""
DAY = 86_400
HOSTILE = '<script>alert("x")</script> & $\\frac{1}{2}$ \x1b[31mred\x07 \u202egnp.exe'

TEXTS = (
    "sshd[**]: refused connect from ** (**)",
    "CRON[**]: pam_unix(cron:session): session opened for user ** by (uid=0)",
    "sshd[**]: warning: /etc/hosts.allow, line **: can't verify hostname: getaddrinfo(**) failed",
    "named[**]: client **: view world: query (cache) '**' denied",
    "kernel: [**] br0: port **(vnet**) entered forwarding state",
    "ntpd[**]: synchronized to **, stratum **",
    "snmpd[**]: Connection from UDP: [**]:**",
    f"libvirtd[**]: {HOSTILE} **",
)


def templates_of(many: int) -> tuple[Template, ...]:
    texts = [*TEXTS, *(f"daemon{n}[**]: message number {n} of ** about **" for n in range(many))]
    made = [
        Template(
            id=content_id(text),
            text=text,
            example=text.replace("**", "10.0.0.7").replace("[", "[1"),
        )
        for text in texts[: max(many, len(TEXTS))]
    ]
    return tuple(sorted(made, key=lambda one: one.id))


def events(
    templates: tuple[Template, ...], hosts: tuple[str, ...], days: int, rng: random.Random
) -> pl.DataFrame:
    """Return events: cron by the clock, snmp every 5 min, refused strangers in a burst, chatter."""
    at = {one.text: one.id for one in templates}
    rows: list[tuple[int, str, int, int]] = []
    for place, host in enumerate(hosts):
        for day in range(days):
            base = T0 + day * DAY
            rows.append((base + 23_100 + place % 7, host, at[TEXTS[2]], 1))
            rows += [(base + 1021 + hour * 3600, host, at[TEXTS[1]], 1) for hour in range(24)]
            rows += [
                (base + place * 7 + step * 300 + rng.randrange(2), host, at[TEXTS[6]], 1)
                for step in range(288)
                if rng.random() > 0.05
            ]
            for text in (TEXTS[3], TEXTS[5]):
                rows += [
                    (base + rng.randrange(DAY), host, at[text], 1 + 3 * (rng.random() < 0.01))
                    for _ in range(20)
                ]
    attack = T0 + (days - 2) * DAY
    for text in (TEXTS[0], TEXTS[2]):
        rows += [
            (attack + int(rng.triangular(0, DAY, DAY // 3)), rng.choice(hosts), at[text], 1)
            for _ in range(1500)
        ]
    known = set(TEXTS)
    for one in templates:
        if one.text not in known or one.text in (TEXTS[4], TEXTS[7]):
            rows += [
                (T0 + rng.randrange(days * DAY), rng.choice(hosts), one.id, 1)
                for _ in range(rng.randrange(1, 60))
            ]
    schema = {"time": pl.Int64, "host": pl.String, "template": pl.Int64, "count": pl.UInt32}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("time") * 1000)


def corpus_of(
    frame: pl.DataFrame,
    templates: tuple[Template, ...],
    hosts: tuple[str, ...],
    groups: tuple[Group, ...],
) -> Corpus:
    host = {name: place for place, name in enumerate(hosts)}
    index = {one.id: place for place, one in enumerate(templates)}
    group = {one: place for place, group in enumerate(groups) for one in group.templates}
    counts = (
        frame.with_columns(
            (pl.col("time") // 60_000).alias("minute"),
            pl.col("host").replace_strict(host, return_dtype=pl.UInt32),
            pl.col("template").replace_strict(index, return_dtype=pl.UInt32),
        )
        .group_by("minute", "host", "template")
        .agg(pl.col("count").sum())
        .sort("minute", "host", "template")
        .select(pl.col(name).cast(kind) for name, kind in COUNTS.items())
    )
    times = frame["time"].to_list()
    return Corpus(
        counts=counts,
        hosts=hosts,
        templates=templates,
        group_of=tuple(group[one.id] for one in templates),
        groups=groups,
        site_of=tuple(one.partition(".")[2] for one in hosts),
        start=min(times) / 1000,
        end=max(times) / 1000,
    )


def edges_of(
    groups: tuple[Group, ...], hosts: list[str], many: int, rng: random.Random
) -> tuple[Edge, ...]:
    nodes = [Node(host, one.id) for host in hosts for one in groups[:9]]
    found: dict[tuple[Node, Node], Edge] = {}
    for _ in range(many):
        a, b = rng.sample(nodes, 2)
        kind = rng.choice((EdgeKind.CAUSAL, EdgeKind.DIRECTED, EdgeKind.SYNCHRONOUS))
        if kind is not EdgeKind.DIRECTED and b < a:
            a, b = b, a
        edge = Edge(a=a, b=b, kind=kind, lag=rng.randrange(2), strength=rng.uniform(10, 900))
        found[edge.pair] = edge
    return tuple(sorted(found.values(), key=lambda one: one.pair))


def detection_of(corpus: Corpus, days: int, rng: random.Random) -> Detection:
    sites = sorted(set(corpus.site_of))
    outage_day, short_day = 1, days - 3
    daily: list[WindowScore] = []
    short: list[WindowScore] = []
    graphs: list[WindowGraph] = []
    for day in range(days):
        for place, site in enumerate(sites):
            peak = day == outage_day and place == 0
            start = float(T0 + day * DAY)
            hosts = [
                one for one, of in zip(corpus.hosts, corpus.site_of, strict=True) if of == site
            ]
            edges = edges_of(corpus.groups, hosts, 160 if peak else 40, rng)
            rare = rng.randrange(4) + (90 if peak else 0)
            daily.append(_score(start, DAY, site, len(edges) + rare, rare, abnormal=peak))
            graphs.append(
                WindowGraph(start=start, end=start + DAY, area=site, nodes=90, edges=edges)
            )
            for part in range(12):
                at = start + part * 7200
                hit = (peak and part == 1) or (day == short_day and part == 8 and place == 1)
                rare = (rng.random() < 0.2) + 40 * hit
                short.append(_score(at, 7200, site, 8 + rare, rare, abnormal=hit))
    outage = _outage(corpus, sites[0], float(T0 + outage_day * DAY + 7200), rng)
    planned = _outage(corpus, sites[-1], float(T0 + short_day * DAY + 16 * 3600), rng, score=2.1)
    others = [_finding(kind, corpus, place, rng) for place, kind in enumerate(FindingKind)][1:]
    return Detection(
        findings=(outage, planned, *others),
        daily=tuple(daily),
        short=tuple(short),
        rarity=Rarity(
            days_of={one: max(1, 900 // one**2) for one in range(1, days + 1)},
            quantile=0.8,
            threshold=max(1, days // 10),
        ),
        graphs=tuple(graphs),
    )


def _score(
    start: float, length: float, area: str, edges: int, rare: int, *, abnormal: bool
) -> WindowScore:
    score = 4.4 if abnormal else rare / 20
    return WindowScore(
        start=start,
        end=start + length,
        area=area,
        edges=edges,
        rare=rare,
        score=score,
        abnormal=abnormal,
    )


def _outage(
    corpus: Corpus, site: str, start: float, rng: random.Random, score: float = 4.4
) -> Finding:
    hosts = tuple(one for one, of in zip(corpus.hosts, corpus.site_of, strict=True) if of == site)
    lines = tuple(
        Line(
            time=start + 60 * place,
            host=hosts[place % len(hosts)],
            text=f"Sep 27 02:{place:02d}:00 {hosts[place % len(hosts)]} {text}".replace("**", "7"),
            template=content_id(text),
        )
        for place, text in enumerate(TEXTS)
    )
    edges = sorted(edges_of(corpus.groups, list(hosts), 36, rng), key=lambda one: -one.strength)
    return Finding(
        kind=FindingKind.OUTAGE,
        start=start,
        end=start + 5400,
        area=site,
        hosts=hosts,
        score=score,
        summary=f"{len(hosts)} hosts of {site} fell silent within 2 min and started anew; 93 rare"
        " edges where 3 are usual.",
        edges=tuple(edges[:30]),
        edges_total=93,
        templates=tuple(one.template for one in lines[:4]),
        lines=lines,
    )


def _finding(kind: FindingKind, corpus: Corpus, place: int, rng: random.Random) -> Finding:
    start = corpus.start + rng.random() * (corpus.end - corpus.start - 7200)
    host = corpus.hosts[place % len(corpus.hosts)]
    return Finding(
        kind=kind,
        start=start,
        end=start + 600 * place,
        area=host if place % 2 else corpus.site_of[place % len(corpus.hosts)],
        hosts=(host,),
        score=1.0 + rng.random(),
        summary=f"{kind.value}: something of {host} was unusual: {HOSTILE}",
        templates=(corpus.templates[place % len(corpus.templates)].id,),
        lines=(Line(time=start, host=host, text=f"{host} {HOSTILE}", template=7),),
    )


def report_sample(
    *, days: int = 9, hosts: int = 4, templates: int = 10, seed: int = 1
) -> ReportData:
    rng = random.Random(seed)
    kinds = templates_of(templates)
    sites = ("nezu", "dojima", "komatsu", "naist", "fujisawa", "starbed", "sfc", "kyoto")
    many = max(2, hosts // 4)
    names = tuple(sorted(f"vm{1 + n // many}.{sites[n % many]}.example" for n in range(hosts)))
    groups = tuple(Group(id=one.id, templates=(one.id,), label=one.text) for one in kinds)
    frame = events(kinds, names, days, rng)
    corpus = corpus_of(frame, kinds, names, groups)
    detection = detection_of(corpus, days, rng)
    lines = int(frame["count"].sum())
    return report_data(
        corpus,
        detection,
        survey(frame.lazy()),
        frame.lazy(),
        files=(
            FileRead(name="logs/fleet.log", lines=lines, bytes=lines * 90),
            FileRead(
                name="logs/<b>old</b>.log.gz",
                lines=120,
                broken=3,
                bytes=9000,
                damage=("truncated after 9000 bytes",),
            ),
        ),
        sample=detection.findings[0].lines[:5],
        settings=(
            Setting(name="long", value="86400 s", meaning="length of the long windows"),
            Setting(name="short", value="7200 s", meaning="length of the short windows"),
            Setting(name="quantile", value="0.8", meaning="of the CDF of days per edge"),
        ),
        notes=("3 lines without a time were counted and left out.",),
        product="triage 0.1.0",
    )
