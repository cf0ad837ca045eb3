"""The command line.

    triage run              watch, decide, alert: the service
    triage investigate      the same once, by hand, for one target and time
    triage incidents        what was found
    triage show ID          one incident: the cascade with what each step saw; --html for a page
    triage export ID        its whole evidence as a file
    triage replay FILE      decide such a file again, offline
    triage reproduce paper  the tables of the source paper, theirs and ours
    triage outbox           messages that no sink took, and how to send them again
    triage alarms           what the hypervisors' syslog raised, and how much of it was real
    triage check            is the configuration valid, and does everything answer?
    triage syslog ...       what the hypervisors' syslog said: triage.syslog.cli

Exit codes: 0; 1 when it failed, after one line on standard error for each reason; 2 for wrong
usage. `investigate` exits with 1, too, when a step could not look: the verdict is printed, and the
reasons go to standard error. A closed pipe and Ctrl-C end quietly.

Imports of what a command needs are inside it: `triage show` need not load a Kubernetes client.
"""

# ruff: noqa: PLC0415 (imports inside of functions, see above)

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triage import __version__
from triage.syslog.cli import syslog
from vmmib import commands
from vmmib.commands import Failure

if TYPE_CHECKING:
    from triage.config import Config
    from triage.recording import Recording
    from triage.store import Store

DEFAULT_CONFIG = Path("/etc/triage/triage.yaml")
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_config_file = click.option(
    "--config.file",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="Configuration, TOML or YAML by its suffix.",
)
_OUTPUT = "Write to FILE. [default: standard output; on a terminal a file named after the ID]"
_as_json = click.option("--json", "as_json", is_flag=True, help="JSON; its keys stay as they are.")


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, "--version", "-V", message="%(prog)s %(version)s")
def command_line() -> None:
    """From a bad HTTP status to its cause: proxy, application, pod, node, and the node's VM."""
    from vmmib import logs

    logs.configure("error")  # of a command's own work, its output tells; `run` says more


@command_line.command()
@_config_file
@click.option(
    "--log.level",
    "log_level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="[default: what the configuration says]",
)
def run(config_file: Path, log_level: str | None) -> None:
    """Watch, decide and alert until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    Sources may be down at the start and later: it goes on, and says so.
    """
    config = _load(config_file)

    from vmmib import logs

    def configured() -> Config:
        from triage.config import load

        new = load(config_file)
        logs.configure(log_level or new.log_level)
        return new

    logs.configure(log_level or config.log_level)

    from triage.service import serve

    _run(lambda: serve(config, configured))


@command_line.command()
@_config_file
@click.option("--target", required=True, metavar="NAME", help="A configured target.")
@click.option(
    "--at",
    metavar="TIME",
    default="now",
    show_default=True,
    help='When it was bad: "2025-07-16T19:49:00Z" (UTC without a zone), seconds since 1970, '
    '"-5m" or "now".',
)
@click.option(
    "--proxy-log",
    "proxy_logs",
    metavar="FILE",
    multiple=True,
    help="Read this access log in place of what is configured; may be repeated, may be a glob.",
)
@click.option("--html", "html", metavar="FILE", help="Write the page to FILE, too; - prints it.")
@click.option("--export", "export_to", metavar="FILE", help="Write the evidence to FILE, too.")
@_as_json
def investigate(
    config_file: Path,
    target: str,
    at: str,
    proxy_logs: tuple[str, ...],
    html: str | None,
    export_to: str | None,
    as_json: bool,
) -> None:
    """Look once at a target's outage at a time, by hand; alert nobody."""
    from triage import once

    config = _load(config_file)
    now = time.time()
    moment = _parse_time(at, now)
    if moment > now + 1:
        raise Failure(f"--at {at}: is in the future")
    recording = _run(lambda: once.investigate(config, target, moment, proxy_logs))
    if html is not None:
        from triage.views.page import page

        _write(html, page(recording).encode())
    if export_to is not None:
        from triage.recording import dump

        _write(export_to, dump(recording))
    if html != "-" and export_to != "-":
        _show(recording, as_json)
    problems = once.problems(recording)
    if problems:
        raise Failure(*problems)


@command_line.command()
@_config_file
@click.option("--target", metavar="NAME", help="Of this target alone.")
@click.option("--open", "open_only", is_flag=True, help="Those that are not over.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@_as_json
def incidents(
    config_file: Path, target: str | None, open_only: bool, limit: int, as_json: bool
) -> None:
    """List what was found, newest first."""
    from triage.recording import record_of
    from triage.views import data, tree

    with _store(config_file) as store:
        found = store.incidents.find(target=target, open_only=open_only, limit=limit)
    records = [record_of(one) for one in found]
    if as_json:
        _print_json(data.incidents_data(records))
    else:
        tree.incidents(records, tree.console_for(sys.stdout), time.time())


@command_line.command()
@_config_file
@click.argument("incident", metavar="ID")
@click.option("--html", is_flag=True, help="One self-contained page.")
@click.option("--output", "-o", metavar="FILE", help=_OUTPUT)
@_as_json
def show(config_file: Path, incident: str, html: bool, output: str | None, as_json: bool) -> None:
    """Show an incident: the cascade as a tree, with what each step saw. ID may be shortened."""
    recording = _recall(config_file, incident)
    if html:
        from triage.views.page import page

        _write(output or _file_for(recording, "html"), page(recording).encode())
    elif output is not None:
        with _opened(output) as stream:
            _show(recording, as_json, stream)
    else:
        _show(recording, as_json)


@command_line.command()
@_config_file
@click.argument("incident", metavar="ID")
@click.option("--output", "-o", metavar="FILE", help=_OUTPUT)
def export(config_file: Path, incident: str, output: str | None) -> None:
    """Write an incident's whole evidence as a file that `triage replay` decides again."""
    from triage.recording import dump

    recording = _recall(config_file, incident)
    _write(output or _file_for(recording, "json"), dump(recording))


@command_line.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--policy",
    type=click.Choice(["default", "paper"]),
    help="[default: the one that it was recorded under]",
)
@_as_json
def replay(file: Path, policy: str | None, as_json: bool) -> None:
    """Decide an exported incident again, offline. Exits with 1 when a verdict comes out otherwise.

    With another policy than the recorded one, differences are shown and no failure.
    """
    from dataclasses import replace

    from triage import recording as recordings
    from triage.evidence import Policy
    from triage.views import tree

    try:
        octets = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        loaded = recordings.load(octets)
    except OSError as error:
        raise Failure(f"{file}: cannot be read: {error.strerror}") from None
    except recordings.RecordingError as error:
        raise Failure(f"{file}: {error}") from None
    chosen = Policy(policy) if policy else None
    again = recordings.replay(loaded, chosen)
    if as_json:
        looks = tuple(
            recordings.Decision(evidence=look.evidence, verdict=one.decided)
            for look, one in zip(loaded.looks, again, strict=True)
        )
        _show(replace(loaded, looks=looks), as_json)
    else:
        tree.replayed(again, tree.console_for(sys.stdout))
    recorded = {look.verdict.policy for look in loaded.looks}
    if chosen is None or chosen in recorded:
        differences = [
            f"look {number}: {line}"
            for number, one in enumerate(again, 1)
            for line in one.differences
        ]
        if differences:
            raise Failure(*differences)


@command_line.command()
@click.argument("what", type=click.Choice(["paper"]))
def reproduce(what: str) -> None:  # noqa: ARG001 - there is one
    """Print the source paper's tables 1 to 4: its figures, ours by its policy, and ours."""
    from triage.paper.reproduce import reproduce as the_paper
    from triage.views.tree import console_for

    the_paper(console_for(sys.stdout))


@command_line.command()
@_config_file
@click.option("--requeue", is_flag=True, help="Send them again.")
@click.option("--sink", metavar="NAME", help="Of this sink alone.")
def outbox(config_file: Path, requeue: bool, sink: str | None) -> None:
    """List the messages that no sink took, with its own words; --requeue sends them again."""
    from triage.alerts.message import utc

    with _store(config_file) as store:
        if requeue:
            count = store.outbox.requeue(time.time(), sink=sink)
            click.echo(f"{count} messages wait again")
            return
        letters = [one for one in store.outbox.dead_letters() if sink in {None, one.sink}]
    for one in letters:
        click.echo(
            f"{one.id}  {one.sink}  {one.event}  {utc(one.died_at)}  "
            f"{one.attempts} attempts  {one.error}"
        )
    if not letters:
        click.echo("no dead letters")


@command_line.command()
@_config_file
@click.option("--offline", is_flag=True, help="Check the file alone; ask nobody.")
def check(config_file: Path, offline: bool) -> None:
    """Tell whether the configuration is valid, and whether everything in it answers.

    One line for each source and sink; exits with 1 when one of them failed.
    """
    from triage import once

    config = _load(config_file)
    lines = _run(lambda: once.check(config, ask=not offline))
    failed = [line for good, line in lines if not good]
    for good, line in lines:
        if good:
            click.echo(f"ok      {line}")
    if failed:
        raise Failure(*failed)


@command_line.command()
@_config_file
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@_as_json
def alarms(config_file: Path, limit: int, as_json: bool) -> None:
    """List what the hypervisors' syslog raised, and how often an incident bore it out, per week."""
    from dataclasses import asdict

    from triage.store import confirmed_precision
    from triage.views import words

    with _store(config_file) as store:
        weeks = confirmed_precision(store.alarms)
        found = store.alarms.find(limit=limit)
    if as_json:
        counted = [
            {**asdict(one), "precision_at_least": one.precision_at_least, "recall": one.recall}
            for one in weeks
        ]
        _print_json({"weeks": counted, "alarms": [asdict(one) for one in found]})
        return
    for week in weeks:
        click.echo(week.text)
    for one in reversed(found):
        click.echo(
            words.escaped(
                f"{words.date_time(one.start)}  {one.state.value:11}  {one.hypervisor}  "
                f"{one.incident}  {one.summary}"
            )
        )
    if not found:
        click.echo("no alarms")


command_line.add_command(syslog)


# Common


def _load(path: Path) -> Config:
    from triage import config
    from vmmib.configfile import ConfigError

    try:
        return config.load(path)
    except ConfigError as error:
        raise Failure(*error.problems) from None


def _store(config_file: Path) -> Store:
    from triage.assembly import state_file
    from triage.store import Store, StoreError

    try:
        return Store(state_file(_load(config_file)), create=False)
    except StoreError as error:
        raise Failure(str(error)) from None


def _recall(config_file: Path, incident: str) -> Recording:
    from triage.recall import find, recall
    from triage.store import StoreError
    from vmmib.configfile import ConfigError

    try:
        with _store(config_file) as store:
            found = recall(store, find(store, incident))
    except (ConfigError, StoreError) as error:
        raise Failure(str(error)) from None
    if found is None:
        raise Failure(f"there is no incident {incident}")
    return found


def _run(work: Callable[[], Any]) -> Any:
    """Run a coroutine; turn what users can mend into lines."""
    from triage.sources.errors import SourceError
    from triage.store import StoreError
    from triage.web import StartError
    from vmmib.configfile import ConfigError

    async def main() -> Any:
        return await work()

    try:
        return asyncio.run(main())
    except ConfigError as error:
        raise Failure(*error.problems) from None
    except (SourceError, StartError, StoreError) as error:
        raise Failure(str(error)) from None


def _parse_time(text: str, now: float) -> float:
    """Return seconds since 1970; raise UsageError."""
    import datetime as dt

    from vmmib.configfile import parse_duration

    if text == "now":
        return now
    try:
        if text.startswith("-"):
            span = parse_duration(text[1:])
            return now - float(span)  # type: ignore[arg-type]
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise click.UsageError(
            f'--at {text}: must be a time such as "2025-07-16T19:49:00Z", seconds since 1970, '
            '"-5m" or "now"'
        ) from None


def _show(recording: Recording, as_json: bool, stream: Any = None) -> None:
    from triage.views import data, tree

    if as_json:
        _print_json(data.incident_data(recording), stream)
    else:
        tree.show(recording, tree.console_for(stream or sys.stdout))


def _print_json(value: Any, stream: Any = None) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False), file=stream or sys.stdout)


def _opened(path: str) -> Any:
    try:
        return Path(path).open("w", encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path}: cannot be written: {error.strerror}") from None


def _file_for(recording: Recording, suffix: str) -> str:
    """Return where a page or a recording goes when nobody said: not onto a terminal."""
    if not sys.stdout.isatty():
        return "-"
    name = f"{recording.record.id}.{suffix}"
    click.echo(f"written: {name}", err=True)
    return name


def _write(path: str, octets: bytes) -> None:
    if path == "-":
        sys.stdout.buffer.write(octets)
        return
    try:
        Path(path).write_bytes(octets)
    except OSError as error:
        raise Failure(f"{path}: cannot be written: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    return commands.run(command_line, "triage", arguments)


if __name__ == "__main__":
    sys.exit(main())
