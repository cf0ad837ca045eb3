"""From a store to all that a report says: the stages in their order.

store -> corpus -> detection -> lines of the findings
store -> intervals of the templates
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from triage.syslog.corpus import Sites, load_corpus
from triage.syslog.detect import DetectSettings, detect, with_lines
from triage.syslog.executor import Executor, unlocked
from triage.syslog.groups import GroupSettings
from triage.syslog.intervals import IntervalSettings, survey
from triage.syslog.progress import Progress
from triage.syslog.report.collect import report_data, sample_windows
from triage.syslog.report.model import FileRead, ReportData, Setting
from triage.syslog.store import Store
from triage.syslog.tables import Corpus, Line

MANY = 1_000_000
"""Rows of COUNTS from which on processes are worth their start."""
SAMPLE = 12
"""Lines of each time span that show what was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSettings:
    """How a store's events are analysed."""

    sites: Sites = field(default_factory=Sites)
    groups: GroupSettings = field(default_factory=GroupSettings)
    detect: DetectSettings = field(default_factory=DetectSettings)
    intervals: IntervalSettings = field(default_factory=IntervalSettings)
    start: float | None = None
    """From then on; None: from the first event."""
    end: float | None = None
    template: int = 0
    """Id of a template that the figures shall show; 0: those that tell most."""


@contextmanager
def graph_executor(executor: Executor, corpus: Corpus) -> Iterator[Executor]:
    """Give what learns a corpus's graphs: processes, where there is enough to learn."""
    if corpus.counts.height < MANY:
        yield executor
        return
    with unlocked(executor) as processes:
        yield processes


def analyse(
    store: Store,
    settings: AnalysisSettings,
    executor: Executor,
    progress: Progress,
    *,
    notes: Sequence[str] = (),
    product: str = "triage",
) -> ReportData:
    """Return all that a report says of a store's events.

    Raises StoreError when there are none, EngineError when the graphs' engine is not there.
    """
    corpus = load_corpus(
        store, start=settings.start, end=settings.end, sites=settings.sites, groups=settings.groups
    )
    with graph_executor(executor, corpus) as workers:
        detection = detect(corpus, settings.detect, workers, progress)
    found = with_lines(detection, store, settings.detect)
    times = store.times()
    sample: list[Line] = []
    for start, end in sample_windows(found, corpus):
        sample += store.lines(start, end, corpus.hosts, None, SAMPLE)
    return report_data(
        corpus,
        found,
        survey(times, settings.intervals),
        times,
        files=files_of(store),
        sample=tuple(sample),
        settings=shown(settings),
        notes=tuple(notes),
        product=product,
        template=settings.template,
    )


def files_of(store: Store) -> tuple[FileRead, ...]:
    """Return what was read of each log file, sorted by path."""
    lines: Counter[str] = Counter()
    octets: Counter[str] = Counter()
    for partition in store.manifest.partitions:
        for segment in partition.segments:
            lines[segment.source] += segment.rows
            octets[segment.source] += segment.end - segment.start
    return tuple(
        FileRead(
            name=source.path,
            lines=lines[source.id],
            broken=source.broken,
            bytes=octets[source.id],
            damage=source.damage,
        )
        for source in sorted(store.manifest.sources, key=lambda one: (one.path, one.id))
    )


def shown(settings: AnalysisSettings) -> tuple[Setting, ...]:
    """Return the settings that the findings depend on, as a report shows them."""
    groups, found = settings.groups, settings.detect
    of_day, of_short = found.graph_of(found.long), found.graph_of(found.short)
    return (
        Setting(
            name="n-grams",
            value=f"n = {groups.n}, {groups.unit}, {groups.measure} >= {groups.threshold:g}",
            meaning="templates so alike are one group",
        ),
        Setting(name="area", value=found.area, meaning="one causal graph for each"),
        Setting(
            name="windows",
            value=f"{found.long / 3600:g} h and {found.short / 3600:g} h",
            meaning=f"in bins of {found.bin:g} s",
        ),
        Setting(
            name="alpha",
            value=f"{of_day.pc.alpha:.1e} and {of_short.pc.alpha:.1e}",
            meaning="level of each test of the PC algorithm",
        ),
        Setting(name="lag", value=f"{of_day.pc.max_lag} bins", meaning="an effect may be so late"),
        Setting(
            name="rare",
            value=f"quantile {found.quantile:g} of the days per edge",
            meaning="edges on so few days are rare",
        ),
    )
