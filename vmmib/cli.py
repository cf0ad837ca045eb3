"""The command line.

    vmmib agent          serve VM-MIB to snmpd, send notifications, serve /metrics
    vmmib config check   is this configuration valid?
    vmmib show           what the hypervisor reports, without SNMP
    vmmib doctor         what stands in the agent's way, with the remedies
    vmmib mibs           the folder of the MIB modules, for snmpwalk's -M
    vmmib demo           all of it on a hypervisor that is made for tests, in a minute

Exit codes: 0; 1 when it failed, after one line on standard error for each reason; 2 for wrong
usage. A closed pipe and Ctrl-C end quietly with 128 and the signal's number, as in a shell.

Imports of what a command needs are inside it: `vmmib mibs` runs in every snmpwalk of a script, and
the agent's memory is to hold nothing of the others.
"""

# ruff: noqa: PLC0415 (imports inside of functions, see above)

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmmib import __version__, commands
from vmmib.commands import Failure

if TYPE_CHECKING:
    from vmmib.config import Config, Flags

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_Command = TypeVar("_Command", bound=Callable[..., Any])

_HYPERVISORS = """
Without --config.file and --libvirt-uri the hypervisor is qemu:///system. Of several --libvirt-uri
the first one serves the default SNMP context, every other one the context that is named after the
host in its URI, else after its driver (made unique by "-2", "-3", ...); the agent logs them when
it starts. Flags given beside a file overrule it.
"""


def _options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def apply(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


_config_file = click.option(
    "--config.file",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Configuration, TOML or YAML by its suffix.",
)
_libvirt_uri = click.option(
    "--libvirt-uri",
    "libvirt_uris",
    metavar="URI",
    multiple=True,
    help="libvirt connection URI; repeat it for more hypervisors.",
)
_agentx_socket = click.option(
    "--agentx-socket",
    metavar="SOCKET",
    help="The master's AgentX socket, unix:/path or tcp:host:port "
    "[default: unix:/var/agentx/master].",
)
_listen_address = click.option(
    "--web.listen-address",
    "listen_address",
    metavar="HOST:PORT",
    help="Serve /metrics here; :PORT is every address [default: no server].",
)
_state_dir = click.option(
    "--state-dir",
    metavar="DIR",
    help="Where indexes and up times are kept over restarts [default: /var/lib/vmmib].",
)


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, "--version", "-V", message="%(prog)s %(version)s")
def command_line() -> None:
    """Serve virtual machines to SNMP managers: RFC 7666 (VM-MIB) from libvirt, through AgentX."""


@command_line.command(epilog=_HYPERVISORS, short_help="Serve VM-MIB to snmpd.")
@_options(
    _config_file,
    _libvirt_uri,
    _agentx_socket,
    _listen_address,
    _state_dir,
    click.option(
        "--log.level",
        "log_level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="[default: info]",
    ),
    click.option(
        "--poll-interval",
        metavar="TIME",
        help='Of every hypervisor: seconds, or "500ms", "30s", "5m" [default: 10].',
    ),
)
def agent(config_file: Path | None, **flags: Any) -> None:
    """Serve VM-MIB to snmpd until SIGTERM or SIGINT; SIGHUP reads --config.file again.

    snmpd and the hypervisors may start later than the agent, and restart: it keeps trying.
    """
    _share_memory_between_threads()
    from vmmib import logs

    given = _flags(**flags)
    settings = _load(config_file, given)
    logs.configure(settings.log_level)

    from vmmib import agent as the_agent
    from vmmib.doctor import hopeless

    reasons = hopeless(settings)
    if reasons:
        raise Failure(*reasons)

    def reload() -> Config:
        from vmmib import config

        new = config.load(config_file, given)
        logs.configure(new.log_level)
        return new

    try:
        code = the_agent.run(settings, None if config_file is None else reload)
    except the_agent.StartError as error:
        raise Failure(str(error)) from None
    if code:
        raise click.exceptions.Exit(code)


@command_line.group(name="config")
def config_group() -> None:
    """Check configuration files."""


@config_group.command()
@_config_file
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(config_file: Path | None, file: Path | None) -> None:
    """Tell whether FILE (or --config.file) is valid, without starting anything."""
    if (config_file is None) == (file is None):
        raise click.UsageError("name one file")
    path = file or config_file
    settings = _load(path, None)
    count = len(settings.hypervisors)
    click.echo(f"{path}: valid ({count} hypervisor{'s' if count > 1 else ''})")


@command_line.command(short_help="Show what the hypervisors report, without SNMP.")
@_options(
    _config_file,
    _libvirt_uri,
    click.option("--json", "as_json", is_flag=True, help="JSON; its keys stay as they are."),
    click.option(
        "--timeout", type=click.FloatRange(0.1, 600), default=30.0, show_default=True,
        metavar="SECONDS", help="Wait so long for each hypervisor.",
    ),
)  # fmt: skip
def show(
    config_file: Path | None, libvirt_uris: tuple[str, ...], as_json: bool, timeout: float
) -> None:
    """Show what the hypervisors report, read from libvirt without SNMP.

    Exits with 1 when one of them could not be read; the others are shown all the same.
    """
    settings = _load(config_file, _flags(libvirt_uris=libvirt_uris))

    from vmmib import show as the_show

    failures = the_show.show(settings, as_json=as_json, timeout=timeout)
    if failures:
        raise Failure(*failures)


@command_line.command(short_help="Check everything that the agent needs.")
@_options(_config_file, _libvirt_uri, _agentx_socket, _listen_address, _state_dir)
def doctor(config_file: Path | None, **flags: Any) -> None:
    """Check everything that the agent needs, one line each, with the remedy of what fails.

    Exits with 1 when a check failed.
    """
    settings = _load(config_file, _flags(**flags))

    from vmmib import doctor as the_doctor

    failed = False
    for finding in the_doctor.examine(settings):
        click.echo(finding.line())
        failed = failed or finding.state is the_doctor.State.FAILED
    if failed:
        raise click.exceptions.Exit(1)


@command_line.command(short_help="Print the folder of VM-MIB.")
@click.option("--base", is_flag=True, help="The folder of the base modules that VM-MIB imports.")
@click.option("--path", is_flag=True, help="What -M + needs here: both, or the first one alone.")
def mibs(base: bool, path: bool) -> None:
    """Print the folder of VM-MIB: snmpwalk -M +$(vmmib mibs) -m VM-MIB ..."""
    from vmmib import mibs as the_mibs

    try:
        where = (
            the_mibs.search_path()
            if path
            else the_mibs.base_folder()
            if base
            else the_mibs.folder()
        )
    except the_mibs.MibsMissingError as error:
        raise Failure(str(error)) from None
    click.echo(where)


@command_line.command(short_help="Show all of it in a minute, without root.")
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Leave the incident's page and recording there. [default: nothing is left]",
)
def demo(output: Path | None) -> None:
    """Show all of it, without root: a private snmpd and a hypervisor that is made for tests.

    It ends with an incident: the machine is paused, and triage tells why the site on it fails.

    LIBVIRT_URI names another hypervisor; its machines are looked at, and the one that DEMO_VM names
    is paused for some seconds.
    """
    from vmmib import demo as the_demo

    try:
        uri, machine = os.environ.get("LIBVIRT_URI", ""), os.environ.get("DEMO_VM", "")
        the_demo.run(uri, machine, output)
    except the_demo.DemoError as error:
        raise Failure(*str(error).splitlines()) from None
    except BrokenPipeError:
        raise
    except OSError as error:  # no room for a temporary folder, no port, no process
        raise Failure(str(error)) from None


def _share_memory_between_threads() -> None:
    """Have malloc keep one arena: what a scrape's thread frees, the others can use (7 MB)."""
    import contextlib
    import ctypes

    m_arena_max = -8  # <malloc.h> of glibc; other C libraries have no arenas
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(m_arena_max, 1)


def _flags(**values: Any) -> Flags:
    from vmmib.config import Flags

    return Flags(**values)


def _load(path: Path | None, flags: Flags | None) -> Config:
    """Load the configuration; raise Failure."""
    from vmmib import config, configfile

    try:
        return config.load(path, flags or config.NO_FLAGS)
    except configfile.ConfigError as error:
        raise Failure(*error.problems) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    return commands.run(command_line, "vmmib", arguments)
