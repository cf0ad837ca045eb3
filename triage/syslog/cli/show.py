"""What the commands print."""

# ruff: noqa: PLC0415 (imports inside of functions: only what a command needs)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from triage.syslog.cli.options import print_json, table
from triage.syslog.tables import Finding, FindingKind, Group, Template, id_text
from triage.views.words import escaped, span

if TYPE_CHECKING:
    import polars as pl

    from triage.syslog.intervals import Survey
    from triage.syslog.mine import MiningReport
    from triage.syslog.report.model import ReportData
    from triage.syslog.store import Store

FINDINGS = 12
"""Printed at most; the page has all."""


def clock(time: float | None) -> str:
    """Return a time in UTC to the second."""
    if time is None:
        return "-"
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def mined(store: Store, report: MiningReport, as_json: bool) -> None:
    """Tell what was read."""
    if as_json:
        print_json({"store": str(store.folder), **asdict(report)})
        return
    click.echo(
        f"{report.lines:,} lines of {report.read} of {report.files} files, {report.broken:,} "
        f"broken; {report.keys:,} new keys, {report.templates:,} new templates of "
        f"{len(store.model.templates):,}; store: {store.folder}"
    )


def new_templates(new: Sequence[Template]) -> None:
    """Tell of templates that were not there before."""
    for one in sorted(new, key=lambda one: one.id):
        click.echo(escaped(f"new {id_text(one.id)} {one.text}"))


def templates(
    store: Store,
    *,
    match: str,
    host: str,
    sort: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """List templates with their counts."""
    from triage.masking import mask

    known = store.templates
    rows = []
    for row in _statistics(store, host).iter_rows(named=True):
        template = known.get(store.model.resolve(row["template"]))
        text = "" if template is None else template.name or template.text
        if match.lower() in f"{text}\n{row['example']}".lower():
            rows.append((row, template, text))
    order = {"lines": lambda one: -one[0]["lines"], "text": lambda one: one[2]}
    rows.sort(key=order.get(sort) or (lambda one: one[0][sort]))
    rows = rows[:limit]
    if as_json:
        print_json([_template_data(row, template, mask) for row, template, _ in rows])
        return
    table(
        [
            (
                id_text(row["template"]),
                f"{row['lines']:,}",
                str(row["hosts"]),
                clock(row["first"] / 1000),
                clock(row["last"] / 1000),
                text,
                mask(row["example"] or "")[:200],
            )
            for row, _, text in rows
        ],
        ("ID", "lines", "hosts", "first", "last", "template; below it a line"),
        frozenset({1, 2}),
    )


def _statistics(store: Store, host: str) -> pl.DataFrame:
    import polars as pl

    found = store.statistics().filter(pl.col("first").is_not_null())
    if not host:
        return found
    there = store.times().filter(pl.col("host") == host).select("template").unique().collect()
    return found.filter(pl.col("template").is_in(there["template"].implode()))


def _template_data(row: Mapping[str, Any], template: Template | None, mask: Any) -> dict[str, Any]:
    return {
        "id": id_text(row["template"]),
        "text": "" if template is None else template.text,
        "name": "" if template is None else template.name,
        "variables": [] if template is None else [str(one) for one in template.variables],
        "lines": row["lines"],
        "hosts": row["hosts"],
        "first": row["first"] / 1000,
        "last": row["last"] / 1000,
        "example": mask(row["example"] or ""),
    }


def groups(formed: Sequence[Group], known: Mapping[int, Template], as_json: bool) -> None:
    """List groups with their templates."""
    if as_json:
        print_json(
            [
                {
                    "id": id_text(one.id),
                    "label": one.label,
                    "templates": [
                        {"id": id_text(number), "text": known[number].text}
                        for number in one.templates
                        if number in known
                    ],
                }
                for one in formed
            ]
        )
        return
    click.echo(f"{sum(len(one.templates) for one in formed):,} templates, {len(formed):,} groups")
    for one in sorted(formed, key=lambda one: (-len(one.templates), one.id)):
        click.echo(escaped(f"{id_text(one.id)}  {len(one.templates)}  {one.label}"))
        if len(one.templates) > 1:
            for number in one.templates:
                if number in known:
                    click.echo(escaped(f"    {id_text(number)}  {known[number].text}"))


def intervals(
    store: Store, survey: Survey, chosen: Sequence[int] | None, limit: int | None, as_json: bool
) -> None:
    """Show times between lines."""
    known = store.templates
    if as_json:
        print_json(
            {
                "intervals": [_hex(asdict(one)) for one in survey.stats[:limit]],
                "bursts": [_hex(asdict(one)) for one in survey.bursts],
            }
        )
        return
    stats = sorted(survey.stats, key=lambda one: -one.count)[:limit]
    table(
        [
            (
                id_text(one.template),
                f"{one.count:,}",
                _span(one.mean),
                _span(one.median),
                _span(one.deviation),
                one.period.text if one.period else "",
                known[one.template].text if one.template in known else "",
            )
            for one in stats
        ],
        ("ID", "lines", "mean", "median", "deviation", "period", "template"),
        frozenset({1, 2, 3, 4}),
    )
    shown = survey.bursts if chosen else sorted(survey.bursts, key=lambda one: -one.factor)[:20]
    if shown:
        click.echo("\nBursts" if chosen else "\nStrongest bursts")
    for burst in shown:
        text = known[burst.template].text if burst.template in known else ""
        click.echo(
            escaped(
                f"{clock(burst.start)} for {span(burst.end - burst.start)}: {burst.lines:,} "
                f"lines, {burst.factor:.0f} x the usual, on {burst.hosts_total} hosts: {text}"
            )
        )


def _hex(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "template": id_text(values["template"])}


def _span(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.1f} s"


def findings(data: ReportData, place: str) -> None:
    """Print the findings that matter most, and where the rest is."""
    found = data.detection.findings
    outages = [one for one in found if one.kind is FindingKind.OUTAGE]
    click.echo(
        f"{data.lines:,} lines, {len(data.hosts)} hosts, {clock(data.start)} to {clock(data.end)}: "
        f"{len(outages)} outages, {len(found) - len(outages)} other findings"
    )
    for one in found[:FINDINGS]:
        _finding(one)
    if len(found) > FINDINGS:
        click.echo(f"... and {len(found) - FINDINGS} more")
    click.echo(f"written: {place}")


def _finding(one: Finding) -> None:
    click.echo(escaped(f"{one.kind:13} {clock(one.start)} to {clock(one.end)}  {one.summary}"))
