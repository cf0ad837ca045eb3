"""What the commands have in common: options, the store that they use, how they fail."""

# ruff: noqa: PLC0415 (imports inside of functions: `triage --help` loads no Polars)

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from triage.syslog.errors import SyslogError
from vmmib.commands import Failure

if TYPE_CHECKING:
    from triage.syslog.corpus import Sites
    from triage.syslog.executor import Executor
    from triage.syslog.groups import GroupSettings
    from triage.syslog.mine import MiningReport
    from triage.syslog.progress import Progress
    from triage.syslog.store import Store

F = TypeVar("F", bound=Callable[..., Any])


def paths_argument(command: F) -> F:
    """Add PATH..., files and folders of logs."""
    return click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))(
        command
    )


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


store_options = _options(
    click.option(
        "--store",
        "folder",
        metavar="FOLDER",
        type=click.Path(path_type=Path),
        help="Where templates and events are kept. "
        "[default: a folder for these PATHs in ~/.cache/triage/syslog]",
    ),
    click.option(
        "--timezone",
        metavar="ZONE",
        default="UTC",
        show_default=True,
        help='Of headers that name none: "Asia/Tokyo".',
    ),
    click.option(
        "--end",
        metavar="TIME",
        help="When the logs end, for headers without a year. [default: each file's own time]",
    ),
    click.option("--workers", type=click.IntRange(1, 1024), help="[default: one for each CPU]"),
    click.option(
        "--scheduler", metavar="ADDRESS", help='Work on a Dask cluster: "tcp://host:8786".'
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress bars."),
)

group_options = _options(
    click.option("--ngram", type=click.IntRange(1, 9), help="Units of an n-gram. [default: 3]"),
    click.option(
        "--unit", type=click.Choice(["character", "word"]), help="What n-grams are made of."
    ),
    click.option("--similarity", type=click.FloatRange(0, 1), help="From which texts are alike."),
)

sites_option = click.option(
    "--sites",
    "sites_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="YAML: {site: [host or glob]}. [default: a host's domain]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="JSON; its keys stay.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What the options of a command say about its logs."""

    paths: tuple[Path, ...]
    folder: Path | None
    timezone: str
    end: str | None
    workers: int | None
    scheduler: str | None
    quiet: bool

    def store_folder(self) -> Path:
        """Return the store's folder; raise Failure when neither it nor logs are named."""
        if self.folder is not None:
            return self.folder
        if not self.paths:
            raise Failure("name the logs (a folder or files), or a store with --store FOLDER")
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        named = "\0".join(sorted(str(one.absolute()) for one in self.paths))
        name = hashlib.blake2b(named.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        return Path(cache) / "triage" / "syslog" / name


def logs_of(values: dict[str, Any]) -> Logs:
    """Take the options of `store_options` and PATH out of a command's values."""
    names = ("paths", "folder", "timezone", "end", "workers", "scheduler", "quiet")
    return Logs(**{name: values.pop(name) for name in names})


@contextmanager
def failing() -> Iterator[None]:
    """Turn what users can mend into lines: one for each reason, no traceback."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = {"distributed": "dask", "dask": "dask", "pyagrum": "pyagrum"}.get(missing, "syslog")
        raise Failure(
            f"this needs the package {missing}, which is not installed: "
            f"pip install 'vmmib[{extra}]'"
        ) from None
    except OSError as error:
        if error.filename is None:
            raise
        raise Failure(f"{error.filename}: {error.strerror}") from None
    except SyslogError as error:
        raise Failure(*str(error).splitlines()) from None


@contextmanager
def working(logs: Logs) -> Iterator[tuple[Executor, Progress]]:
    """Give what runs the tasks, and what draws how far they are."""
    from triage.syslog.console import TerminalProgress
    from triage.syslog.executor import dask_executor, local_executor

    executor = dask_executor(logs.scheduler) if logs.scheduler else local_executor(logs.workers)
    with TerminalProgress(quiet=logs.quiet) as progress, executor:
        yield executor, progress


def read_new(logs: Logs, executor: Executor, progress: Progress) -> tuple[Store, MiningReport]:
    """Open the store, and read what is new in the logs; tell of what could not be read."""
    from triage.syslog.mine import MiningReport, mine
    from triage.syslog.store import open_store

    folder = logs.store_folder()
    store = open_store(folder, create=bool(logs.paths))
    if not logs.paths:
        return store, MiningReport()
    report = mine(store, logs.paths, mining_settings(logs), executor, progress)
    if report.errors and not report.files:
        raise Failure(*report.errors)
    for line in (*report.errors, *report.damage):
        click.echo(f"triage: {line}", err=True)
    return store, report


def mining_settings(logs: Logs) -> Any:
    """Return the settings of reading, of the options."""
    from triage.syslog.mine import MiningSettings

    end = None if logs.end is None else moment(logs.end, "--end")
    return MiningSettings(time_zone=logs.timezone, end=end)


def group_settings(ngram: int | None, unit: str | None, similarity: float | None) -> GroupSettings:
    """Return the settings of groups, of the options."""
    from triage.syslog.groups import GroupSettings, Unit

    usual = GroupSettings()
    return GroupSettings(
        n=usual.n if ngram is None else ngram,
        unit=usual.unit if unit is None else Unit(unit),
        threshold=usual.threshold if similarity is None else similarity,
    )


def sites_of(file: Path | None) -> Sites:
    """Return the sites that the operator's file tells."""
    from triage.syslog.corpus import Sites, load_sites

    return Sites() if file is None else load_sites(file)


def moment(text: str, option: str) -> float:
    """Return a time as seconds since 1970; UTC where no zone is given. Raises UsageError."""
    import datetime as dt

    try:
        if text.replace(".", "", 1).isdecimal() and not (len(text) == 8 and text.isdecimal()):
            return float(text)
        found = dt.datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=dt.UTC)
        return found.timestamp()
    except (ValueError, OverflowError):
        raise click.UsageError(
            f'{option} {text}: must be a time such as "2015-10-17T20:00:00Z" or seconds since 1970'
        ) from None


def seconds(text: str, option: str) -> float:
    """Return a length such as "1d", "2h" as seconds. Raises UsageError."""
    from vmmib.configfile import parse_duration

    try:
        found = float(parse_duration(text))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = 0.0
    if found < 60 or found % 60:
        raise click.UsageError(f'{option} {text}: must be whole minutes, such as "2h" or "1d"')
    return found


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))


def write(path: str, data: bytes | str) -> None:
    """Write to a file, whole or not at all; "-" is standard output."""
    octets = data.encode() if isinstance(data, str) else data
    if path == "-":
        sys.stdout.buffer.write(octets)
        sys.stdout.flush()
        return
    place = Path(path)
    beside = place.with_name(f".{place.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(octets)
        beside.replace(place)
    except OSError as error:
        raise Failure(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


def table(rows: Sequence[Sequence[str]], heads: Sequence[str], right: frozenset[int]) -> None:
    """Print columns, as wide as they are; those in `right` are numbers, the last is free text.

    Control characters are made visible. A row may have one cell more than there are heads: it is
    printed below the row.
    """
    from triage.views.words import escaped

    shown = [[escaped(cell) for cell in row] for row in rows]
    widths = [
        max((len(row[number]) for row in [heads, *shown]), default=0)
        for number in range(len(heads) - 1)
    ]
    for row in [list(heads), *shown]:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        click.echo("  ".join([*cells, row[len(widths)]]).rstrip())
        for below in row[len(heads) :]:
            click.echo(f"    {below}")
