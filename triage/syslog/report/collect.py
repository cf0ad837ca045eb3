"""What a report needs of a corpus and its events, gathered.

Pure, but for the lazy frame of times, which reads what it reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import polars as pl

from triage.masking import mask
from triage.syslog.intervals import IntervalStats, Survey, tracks
from triage.syslog.report.model import (
    AreaVolume,
    FileRead,
    ReportData,
    Setting,
    Site,
    TemplateUse,
    Volume,
)
from triage.syslog.tables import Corpus, Detection, FindingKind, Line, id_text

_Key = Callable[[IntervalStats], tuple[float, float]]

BINS = 360
"""Of the volume's time axis at most."""
EXAMPLE = 400
"""Characters of an example at most."""

_STEPS = (1, 5, 10, 30, 60, 120, 180, 360, 720, 1440, 7 * 1440, 28 * 1440)
"""Minutes of a bin of the volume."""


def report_data(
    corpus: Corpus,
    detection: Detection,
    survey: Survey,
    times: pl.LazyFrame,
    *,
    files: Sequence[FileRead] = (),
    sample: Sequence[Line] = (),
    settings: Sequence[Setting] = (),
    notes: Sequence[str] = (),
    title: str = "Hypervisors' syslog",
    product: str = "triage",
    template: int = 0,
) -> ReportData:
    """Return the data of a report.

    `times` are the events that `survey` was made of; `template` is the id of one that the
    figures 3 and 5 shall show instead of what they would choose.
    """
    chosen = telling(survey, wanted=template)
    drawn = {one.template: one for one in tracks(times, chosen)}
    return ReportData(
        title=title,
        product=product,
        start=corpus.start,
        end=corpus.end,
        files=tuple(files),
        sites=sites_of(corpus),
        volume=volume_of(corpus),
        sample=tuple(sample),
        templates=uses_of(corpus, survey.stats),
        groups=corpus.groups,
        detection=detection,
        intervals=survey.stats,
        bursts=survey.bursts,
        tracks=tuple(drawn[one] for one in chosen if one in drawn),
        around=template,
        settings=tuple(settings),
        notes=tuple(notes),
    )


def sites_of(corpus: Corpus) -> tuple[Site, ...]:
    """Return the sites and their hosts."""
    hosts: dict[str, list[str]] = {}
    for host, site in zip(corpus.hosts, corpus.site_of, strict=True):
        hosts.setdefault(site, []).append(host)
    return tuple(Site(name=name, hosts=tuple(sorted(hosts[name]))) for name in sorted(hosts))


def volume_of(corpus: Corpus) -> Volume:
    """Return the lines of each site over time."""
    first = int(corpus.start // 60)
    minutes = int(corpus.end // 60) - first + 1
    step = next((one for one in _STEPS if minutes <= one * BINS), math.ceil(minutes / BINS))
    first -= first % step
    bins = (int(corpus.end // 60) - first) // step + 1
    sites = sorted(set(corpus.site_of))
    site_of = np.array([sites.index(one) for one in corpus.site_of], np.int64)
    counts = corpus.counts
    site = site_of[counts["host"].to_numpy()] if sites else np.zeros(0, np.int64)
    when = (counts["minute"].cast(pl.Int64).to_numpy() - first) // step
    inside = (when >= 0) & (when < bins)
    lines = np.bincount(
        (site * bins + when)[inside],
        weights=counts["count"].to_numpy()[inside],
        minlength=len(sites) * bins,
    ).reshape(len(sites), bins)
    return Volume(
        start=first * 60.0,
        step=step * 60.0,
        areas=tuple(
            AreaVolume(area=name, lines=tuple(int(one) for one in row))
            for name, row in zip(sites, lines, strict=True)
        ),
    )


def uses_of(corpus: Corpus, stats: Sequence[IntervalStats] = ()) -> tuple[TemplateUse, ...]:
    """Return the templates that occur, the most frequent first.

    Times are exact where `stats` has them, else those of the minutes.
    """
    exact = {one.template: one for one in stats}
    table = corpus.counts.group_by("template").agg(
        pl.col("count").cast(pl.Int64).sum().alias("lines"),
        pl.col("host").n_unique().alias("hosts"),
        pl.col("minute").min().alias("first"),
        pl.col("minute").max().alias("last"),
    )
    uses = [_use(corpus, row, exact) for row in table.to_dicts()]
    return tuple(sorted(uses, key=lambda one: (-one.lines, one.template.id)))


def _use(corpus: Corpus, row: Mapping[str, int], exact: Mapping[int, IntervalStats]) -> TemplateUse:
    template = corpus.templates[row["template"]]
    known = exact.get(template.id)
    return TemplateUse(
        template=template,
        group=corpus.groups[corpus.group_of[row["template"]]].id,
        lines=row["lines"],
        hosts=row["hosts"],
        first=known.first if known else row["first"] * 60.0,
        last=known.last if known else row["last"] * 60.0,
        example=mask(template.example[:EXAMPLE]),
    )


def telling(survey: Survey, *, wanted: int = 0) -> tuple[int, ...]:
    """Return the ids of the templates that figures 3 and 4 show.

    Figure 3: a periodic template (of whole minutes, where there are such) with the strongest burst,
    weighed with the strength of its period (without any burst: the most periodic).
    Figure 4: the template with the strongest burst of those without a period; strength is the
    factor over the usual, weighed with the logarithm of the lines, so that neither thirty lines
    where there were none nor a chatty daemon's doubling wins. `wanted` takes figure 3's place.
    """
    strongest: dict[int, float] = {}
    for one in survey.bursts:
        weight = math.log(max(one.factor, 1.0)) * math.log(one.lines + 1.0)
        strongest[one.template] = max(weight, strongest.get(one.template, 0.0))
    regular = [one for one in survey.stats if one.period is not None]
    # Somebody's timer: a period of whole minutes. Others may be two lines' doubtful rhythm.
    regular = [one for one in regular if one.period and one.period.seconds % 60 == 0] or regular
    periodic = _best(
        regular, lambda one: (strongest.get(one.template, 0.0) * _strength(one), _clock(one))
    )
    others = [one for one in survey.stats if one.template not in (wanted or periodic, periodic)]
    irregular = [one for one in others if one.period is None] or others
    bursty = _best(irregular, lambda one: (strongest.get(one.template, 0.0), one.skew or 0.0))
    chosen = [wanted or periodic, bursty]
    return tuple(dict.fromkeys(one for one in chosen if one))


def _strength(stats: IntervalStats) -> float:
    return stats.period.strength if stats.period else 0.0


def _clock(stats: IntervalStats) -> float:
    return stats.period.strength * math.log(stats.count + 1.0) if stats.period else 0.0


def _best(stats: Sequence[IntervalStats], key: _Key) -> int:
    return max(stats, key=lambda one: (*key(one), -one.template)).template if stats else 0


def sample_windows(detection: Detection, corpus: Corpus) -> tuple[tuple[float, float], ...]:
    """Return time spans [start, end) from which sample lines show what was read.

    The first minutes, the middle, and where the first outage begins.
    """
    middle = (corpus.start + corpus.end) / 2
    outages = [one for one in detection.findings if one.kind is FindingKind.OUTAGE]
    starts = [corpus.start, middle, *(one.start for one in outages[:1])]
    return tuple(sorted({(one, one + 600.0) for one in starts}))


def resolve(text: str, templates: Collection[int]) -> int:
    """Return the template id that an operator typed, whole or its unique beginning; 0: none."""
    found = [one for one in templates if id_text(one).startswith(text.lower())]
    return found[0] if len(found) == 1 else 0
