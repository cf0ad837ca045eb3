"""The commands on logs and their store."""

# ruff: noqa: PLC0415 (imports inside of functions: `triage --help` loads no Polars)

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triage import __version__
from triage.syslog.cli import options
from triage.syslog.cli.options import Logs, logs_of, moment, seconds
from vmmib.commands import Failure

if TYPE_CHECKING:
    from triage.syslog.detect import DetectSettings
    from triage.syslog.executor import Executor
    from triage.syslog.progress import Progress
    from triage.syslog.report.model import ReportData
    from triage.syslog.store import Store

FOLLOW_EVERY = 5.0
"""Seconds between two looks at the files with --follow."""


@click.group()
def syslog() -> None:
    """What the hypervisors' syslog said: templates, causal graphs, and what was abnormal."""


@syslog.command()
@options.paths_argument
@options.store_options
@click.option("--follow", "-f", is_flag=True, help="Go on; print templates as they are learnt.")
@options.json_option
def mine(follow: bool, as_json: bool, **values: Any) -> None:
    """Read what is new in logs into the store: templates, and events as Parquet."""
    logs = logs_of(values)
    if not logs.paths:
        raise click.UsageError("name the logs: a folder or files")
    with options.failing(), options.working(logs) as (executor, progress):
        from triage.syslog.cli import show

        store, report = options.read_new(logs, executor, progress)
        show.mined(store, report, as_json)
        if follow:
            _follow(logs, store, executor, progress)


def _follow(logs: Logs, store: Store, executor: Executor, progress: Progress) -> None:
    import time

    from triage.syslog.cli import show

    known = {one.id for one in store.model.templates}
    while True:
        time.sleep(FOLLOW_EVERY)
        options.read_new(logs, executor, progress)
        store.refresh()
        new = [one for one in store.model.templates if one.id not in known]
        known.update(one.id for one in new)
        show.new_templates(new)


@syslog.command()
@options.paths_argument
@options.store_options
@click.option("--match", metavar="TEXT", default="", help="With this text in template or example.")
@click.option("--host", metavar="HOST", default="", help="Seen on this host.")
@click.option(
    "--sort",
    type=click.Choice(["lines", "first", "last", "text"]),
    default="lines",
    show_default=True,
)
@click.option("--limit", type=click.IntRange(1), help="So many at most. [default: all]")
@options.json_option
def templates(
    match: str, host: str, sort: str, limit: int | None, as_json: bool, **values: Any
) -> None:
    """List the kinds of line, with counts, hosts and examples."""
    logs = logs_of(values)
    with options.failing():
        from triage.syslog.cli import show

        with options.working(logs) as (executor, progress):
            store, _ = options.read_new(logs, executor, progress)
        show.templates(store, match=match, host=host, sort=sort, limit=limit, as_json=as_json)


@syslog.command()
@options.paths_argument
@options.store_options
@options.group_options
@options.json_option
def groups(
    ngram: int | None, unit: str | None, similarity: float | None, as_json: bool, **values: Any
) -> None:
    """List groups of templates whose texts share n-grams."""
    logs = logs_of(values)
    with options.failing():
        from triage.syslog.cli import show
        from triage.syslog.groups import group_templates

        with options.working(logs) as (executor, progress):
            store, _ = options.read_new(logs, executor, progress)
        settings = options.group_settings(ngram, unit, similarity)
        known = sorted(store.model.templates, key=lambda one: one.id)
        formed = group_templates(known, settings, store.groups(repr(settings)))
        show.groups(formed, store.templates, as_json)


@syslog.command()
@options.paths_argument
@options.store_options
@click.option("--template", metavar="ID", help="Of this template, on each host.")
@click.option("--limit", type=click.IntRange(1), help="So many at most. [default: all]")
@options.json_option
def intervals(template: str | None, limit: int | None, as_json: bool, **values: Any) -> None:
    """Show how often each template comes: mean, median, deviation, period, bursts."""
    logs = logs_of(values)
    with options.failing():
        from triage.syslog.cli import show
        from triage.syslog.intervals import survey

        with options.working(logs) as (executor, progress):
            store, _ = options.read_new(logs, executor, progress)
        chosen = None if template is None else [_template(store, template)]
        show.intervals(store, survey(store.times(chosen)), chosen, limit, as_json)


_area = click.option(
    "--area",
    type=click.Choice(["site", "host", "all"]),
    default="site",
    show_default=True,
    help="One graph for each.",
)
_engine = click.option(
    "--engine",
    type=click.Choice(["auto", "numba", "numpy", "pyagrum"]),
    default="auto",
    show_default=True,
    help="What learns the graphs.",
)
_since = click.option("--since", metavar="TIME", help="From then on.")
_until = click.option("--until", metavar="TIME", help="Until then.")


@syslog.command()
@options.paths_argument
@options.store_options
@options.group_options
@options.sites_option
@click.option("--around", metavar="TEMPLATE", help="Around this template or group: its ID or text.")
@click.option("--hops", type=click.IntRange(1, 10), default=1, show_default=True)
@click.option("--host", metavar="HOST", default="", help="Around it on this host alone.")
@click.option("--window", metavar="LENGTH", default="1d", show_default=True)
@click.option("--at", metavar="TIME", help="Of the window in which this time lies. [default: all]")
@_since
@_until
@_area
@_engine
@click.option("--nodes", type=click.IntRange(2, 1000), default=40, show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot", "svg", "png", "json"]),
    default="text",
    show_default=True,
)
@click.option("--output", "-o", metavar="FILE", default="-", help="[default: standard output]")
def graph(
    ngram: int | None,
    unit: str | None,
    similarity: float | None,
    sites_file: Path | None,
    around: str | None,
    hops: int,
    host: str,
    window: str,
    at: str | None,
    since: str | None,
    until: str | None,
    area: str,
    engine: str,
    nodes: int,
    form: str,
    output: str,
    **values: Any,
) -> None:
    """Learn causal graphs, and show them: edges, and in how many windows each appears."""
    logs = logs_of(values)
    length = seconds(window, "--window")
    spans = _span(since, until)
    moment_at = None if at is None else moment(at, "--at")
    with options.failing():
        from triage.syslog.cli.graphs import Wanted, learn_graphs, view_of
        from triage.syslog.corpus import load_corpus
        from triage.syslog.pipeline import graph_executor

        with options.working(logs) as (executor, progress):
            store, _ = options.read_new(logs, executor, progress)
            corpus = load_corpus(
                store,
                start=spans[0],
                end=spans[1],
                sites=options.sites_of(sites_file),
                groups=options.group_settings(ngram, unit, similarity),
            )
            settings = _detect_settings(area=area, engine=engine)
            with graph_executor(executor, corpus) as workers:
                learnt = learn_graphs(corpus, settings, length, moment_at, workers, progress)
        centre = () if around is None else _centre(corpus.groups, store, around)
        wanted = Wanted(centre=centre, hops=hops, host=host, nodes=nodes)
        options.write(output, view_of(learnt, corpus, wanted, form))


@syslog.command()
@options.paths_argument
@options.store_options
@options.group_options
@options.sites_option
@_since
@_until
@click.option("--long", "long", metavar="LENGTH", default="1d", show_default=True)
@click.option("--short", "short", metavar="LENGTH", default="2h", show_default=True)
@_area
@_engine
@click.option(
    "--quantile",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    help="Edges below this quantile of the CDF of days per edge are rare.",
)
@click.option("--template", metavar="ID", help="Draw figures 3 to 5 of this one.")
@click.option(
    "--alarms",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="triage's configuration: tell how many of its alarms were real.",
)
@click.option("--figures", metavar="FOLDER", type=click.Path(path_type=Path), help="SVG and PNG.")
@click.option("--output", "-o", metavar="FILE", help="[default: syslog-report.html]")
@options.json_option
def report(
    ngram: int | None,
    unit: str | None,
    similarity: float | None,
    sites_file: Path | None,
    since: str | None,
    until: str | None,
    long: str,
    short: str,
    area: str,
    engine: str,
    quantile: float,
    template: str | None,
    alarms: Path | None,
    figures: Path | None,
    output: str | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Find what was abnormal, and write it as one page, findings first; --json for machines."""
    logs = logs_of(values)
    spans = _span(since, until)
    lengths = seconds(long, "--long"), seconds(short, "--short")
    with options.failing():
        from triage.syslog.pipeline import AnalysisSettings, analyse

        with options.working(logs) as (executor, progress):
            store, mined = options.read_new(logs, executor, progress)
            settings = AnalysisSettings(
                sites=options.sites_of(sites_file),
                groups=options.group_settings(ngram, unit, similarity),
                detect=_detect_settings(
                    area=area, engine=engine, quantile=quantile, long=lengths[0], short=lengths[1]
                ),
                start=spans[0],
                end=spans[1],
                template=0 if template is None else _template(store, template),
            )
            data = analyse(
                store,
                settings,
                executor,
                progress,
                notes=(*mined.errors, *mined.damage, *_alarms(alarms)),
                product=f"triage {__version__}",
            )
        _write_report(data, output, figures, as_json)


def _alarms(config_file: Path | None) -> tuple[str, ...]:
    """Return what became of the alarms that `triage run` raised, a line for each week."""
    if config_file is None:
        return ()
    from triage.assembly import state_file
    from triage.config import load
    from triage.store import Store, StoreError, confirmed_precision
    from vmmib.configfile import ConfigError

    try:
        with Store(state_file(load(config_file)), create=False) as store:
            return tuple(f"alarms {one.text}" for one in confirmed_precision(store.alarms))
    except ConfigError as error:
        raise Failure(*error.problems) from None
    except StoreError as error:
        raise Failure(str(error)) from None


def _write_report(
    data: ReportData, output: str | None, figures: Path | None, as_json: bool
) -> None:
    from triage.syslog.cli import show
    from triage.syslog.report import report_figures, report_json, report_page, write_figures

    place = output or ("-" if as_json else "syslog-report.html")
    drawn = None if as_json and figures is None else report_figures(data)
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
        write_figures(data, figures, drawn)
    if as_json:
        options.write(place, report_json(data))
        return
    options.write(place, report_page(data, drawn))
    if place != "-":
        show.findings(data, place)


def _detect_settings(**values: Any) -> DetectSettings:
    from triage.syslog.detect import DetectSettings

    return DetectSettings(**values)


def _span(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    start = None if since is None else moment(since, "--since")
    end = None if until is None else moment(until, "--until")
    if start is not None and end is not None and end <= start:
        raise click.UsageError(f"--until {until} has to be later than --since {since}")
    return start, end


def _template(store: Store, text: str) -> int:
    """Return a template's id by its id (or a beginning of it), its name or a piece of its text."""
    from triage.syslog.report.collect import resolve

    known = store.templates
    found = resolve(text, tuple(known))
    if found:
        return found
    fitting = [one for one in known.values() if text in {one.name, one.text}] or [
        one for one in known.values() if text.lower() in one.text.lower()
    ]
    if len(fitting) == 1:
        return fitting[0].id
    many = f"{len(fitting)} templates have it: name one by its ID"
    how = many if fitting else "no template has it"
    raise Failure(f"{text}: {how} (`triage syslog templates` lists them)")


def _centre(formed: Any, store: Store, text: str) -> tuple[int, ...]:
    from triage.syslog.report.collect import resolve
    from triage.syslog.report.graphs import group_ids

    group = resolve(text, tuple(one.id for one in formed))
    return group_ids(group or _template(store, text), formed)
