"""`triage syslog simulate` and `triage syslog score`."""

# ruff: noqa: PLC0415 (imports inside of functions: `triage --help` loads no Polars)

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triage.syslog.cli import options
from triage.syslog.cli.commands import syslog


@syslog.command()
@click.argument("folder", metavar="[FOLDER]", required=False, type=click.Path(path_type=Path))
@click.option("--output", "-o", metavar="FOLDER", type=click.Path(path_type=Path), help="The same.")
@click.option("--seed", type=click.IntRange(0), help="[default: 1]")
@click.option("--start", metavar="DATE", help="[default: 2015-09-26]")
@click.option("--days", type=click.IntRange(1), help="[default: 52]")
@click.option("--hosts", type=click.IntRange(1), help="Hypervisors. [default: 29]")
@click.option("--boxes", type=click.IntRange(0), help="NAT64 and DNS boxes. [default: 3]")
@click.option("--sites", type=click.IntRange(1), help="[default: 7]")
@click.option("--lines", type=click.IntRange(1000), help="About so many. [default: 2000000]")
@click.option("--outages", type=click.IntRange(0), help="[default: 8]")
@click.option("--decoys", type=click.IntRange(0), help="What is no outage. [default: 10]")
@click.option("--timezone", metavar="ZONE", help="[default: UTC]")
@click.option("--form", type=click.Choice(["rfc3164", "rfc5424", "iso"]), help="[default: rfc3164]")
@click.option(
    "--layout", type=click.Choice(["hosts", "mixed"]), help="A file each, or one. [default: hosts]"
)
@click.option("--compress", type=click.Choice(["gz", "zst", "xz"]), help="[default: not]")
@click.option("--labels", is_flag=True, help="Write each line's template, too.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def simulate(
    folder: Path | None, output: Path | None, compress: str | None, quiet: bool, **given: Any
) -> None:
    """Render a fleet's logs from a seed into a new FOLDER, with truth.json beside them."""
    place = output or folder
    if place is None or (output and folder):
        raise click.UsageError("name one folder to write to")
    with options.failing():
        from triage.syslog.console import TerminalProgress
        from triage.syslog.simulate import simulate as render
        from triage.syslog.simulate.settings import Compression, FleetSettings, Form, Layout

        kinds = {"form": Form, "layout": Layout}
        chosen: dict[str, Any] = {
            name: kinds[name](value) if name in kinds else value
            for name, value in given.items()
            if value is not None
        }
        settings = FleetSettings(compression=Compression(compress or ""), **chosen)
        with TerminalProgress(quiet=quiet) as progress:
            truth = render(settings, place, progress)
        click.echo(
            f"{place}: {len(truth.hosts)} hosts, {len(truth.outages)} outages, "
            f"{len(truth.decoys)} decoys; the truth: {place / 'truth.json'}"
        )


@syslog.command()
@click.argument("report", metavar="REPORT", type=click.Path(path_type=Path))
@click.argument("truth", metavar="TRUTH", type=click.Path(path_type=Path))
@click.option(
    "--store",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Score this store's templates and edges, too.",
)
@click.option(
    "--timezone", metavar="ZONE", default="UTC", show_default=True, help="Of tickets' times."
)
@options.json_option
def score(report: Path, truth: Path, store: Path | None, timezone: str, as_json: bool) -> None:
    """Compare a report's JSON with the truth: truth.json, or trouble tickets as CSV."""
    with options.failing():
        from triage.syslog.cli.scoring import score_files
        from triage.syslog.score import score_json, score_table

        scores = score_files(report, truth, timezone, store)
        click.echo(score_json(scores).decode() if as_json else score_table(scores), nl=as_json)
