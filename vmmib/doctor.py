"""Checks of everything that the agent needs, each with its remedy.

`examine` is for the operator (`vmmib doctor`): it looks at all of it, by doing what the agent would
do, and changes nothing. `hopeless` is for the agent's start: only what no waiting will mend.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vmmib import mibs
from vmmib.agentx.address import Address, parse_address
from vmmib.agentx.pdu import (
    Close,
    CloseReason,
    ErrorStatus,
    Framer,
    Open,
    ParseError,
    Response,
    decode,
    encode,
)
from vmmib.config import Config, HypervisorConfig, read_credentials
from vmmib.configfile import ConfigError, split_host_port
from vmmib.exporter import AgentStats, Exporter, ExporterView
from vmmib.hypervisor.settings import driver_of, is_local
from vmmib.hypervisor.source import SourceError
from vmmib.hypervisor.supervisor import snapshot

TIMEOUT = 10.0
"""Seconds for each answer that is waited for."""


class State(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    state: State
    what: str
    said: str
    remedy: str = ""

    def line(self) -> str:
        """Return one line of text."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return " ".join(f"{self.state.value:7} {self.what}: {self.said}{remedy}".split("\n"))


def hopeless(config: Config) -> list[str]:
    """Return what is wrong beyond waiting, one line each: files that are named and not there."""
    reasons = []
    for hypervisor in config.hypervisors:
        missing = _missing_test_file(hypervisor)
        if missing:
            reasons.append(f"{hypervisor.name}: {hypervisor.shown_uri}: {missing}")
        finding = _auth_file(hypervisor)
        if finding is not None and finding.state is State.FAILED:
            reasons.append(f"{finding.what}: {finding.said}; {finding.remedy}")
    return reasons


def examine(config: Config) -> Iterator[Finding]:
    """Check one thing after the other."""
    for hypervisor in config.hypervisors:
        finding = _auth_file(hypervisor)
        if finding is not None:
            yield finding
        yield _libvirt(hypervisor)
    yield from _agentx(config.agentx.socket)
    if config.host_resources is not None:
        yield _credentials(config)
    yield from _mibs()
    yield _state_dir(config.state_dir)
    if config.web.listen_address is not None:
        yield _web(config.web.listen_address)


# libvirt


def _missing_test_file(hypervisor: HypervisorConfig) -> str:
    uri = hypervisor.uri
    if driver_of(uri) != "test" or not is_local(uri) or "+" in urlsplit(uri).scheme:
        return ""
    path = Path(unquote(urlsplit(uri).path))
    if path == Path("/default"):
        return ""
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"{path}: {error.strerror}"


def _auth_file(hypervisor: HypervisorConfig) -> Finding | None:
    path = hypervisor.auth_file
    if path is None:
        return None
    what = f"auth file {path}"
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        return Finding(
            State.FAILED,
            what,
            error.strerror or str(error),
            f"write one that this user can read (https://libvirt.org/auth.html), or correct "
            f"auth_file of {hypervisor.name}",
        )
    if mode & stat.S_IRWXO:
        return Finding(State.WARNING, what, "others can read or change it", f"chmod o= {path}")
    return Finding(State.OK, what, "readable, not by others")


def _libvirt(hypervisor: HypervisorConfig) -> Finding:
    what = f"libvirt {hypervisor.shown_uri}"
    try:
        found, vms, _ = snapshot(hypervisor.source_settings(), TIMEOUT)
    except SourceError as error:
        said = str(error).removeprefix(f"{hypervisor.shown_uri}: ")
        return Finding(State.FAILED, what, said)
    count = f"{len(vms)} machine{'' if len(vms) == 1 else 's'}"
    return Finding(State.OK, what, f"{found.software} {found.version}, {count}")


# The master agent


def _agentx(spelling: str) -> Iterator[Finding]:
    what = f"AgentX socket {spelling}"
    address = parse_address(spelling)
    connection = socket.socket(
        socket.AF_UNIX if address.path else socket.AF_INET6 if address.ipv6 else socket.AF_INET
    )
    with connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(address.path or (address.host, address.port))
        except OSError as error:
            said = error.strerror or str(error)
            yield Finding(State.FAILED, what, said, _socket_remedy(error, address))
            return
        yield Finding(State.OK, what, "connected")
        try:
            status = _ask_master(connection)
        except (OSError, ParseError) as error:
            problem = "no answer" if isinstance(error, TimeoutError) else str(error)
            yield Finding(
                State.FAILED, "master agent", problem, "is it snmpd that listens there? Restart it"
            )
            return
    if status == ErrorStatus.NO_ERROR:
        yield Finding(State.OK, "master agent", "opened a session for us")
    else:
        names = {int(one): one.name for one in ErrorStatus}
        refusal = f"refused a session: {names.get(status, status)}"
        yield Finding(State.FAILED, "master agent", refusal, "see snmpd's log")


def _socket_remedy(error: OSError, address: Address) -> str:
    if error.errno == errno.EACCES:
        return (
            "run as root, or put 'agentXPerms 0660 0755 root GROUP' into snmpd.conf with a group "
            f"of this user, and open {Path(address.path or '').parent} to it, which keeps the mode "
            "that it has"
        )
    if error.errno == errno.ENOENT and address.path is not None:
        return "start snmpd with 'master agentx' in snmpd.conf (apt install snmpd)"
    if error.errno in {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ETIMEDOUT}:
        return f"start snmpd with 'agentXSocket {address}' in snmpd.conf"
    return "name snmpd's own agentXSocket with --agentx-socket"


def _ask_master(connection: socket.socket) -> int:
    """Open a session and close it; return the ErrorStatus. Raises OSError, ParseError."""
    connection.sendall(encode(Open(packet_id=1, description="vmmib doctor")))
    answer = _response(connection)
    if answer.error == ErrorStatus.NO_ERROR:
        farewell = Close(session_id=answer.session_id, packet_id=2, reason=CloseReason.SHUTDOWN)
        with contextlib.suppress(OSError, ParseError):
            connection.sendall(encode(farewell))
            _response(connection)
    return answer.error


def _response(connection: socket.socket) -> Response:
    framer = Framer()
    while octets := connection.recv(4096):
        frames, broken = framer.feed(octets)
        for frame in frames:
            answer = decode(frame)
            if isinstance(answer, Response):
                return answer
        if broken is not None:
            raise broken
    raise ConnectionError("it closed the connection")


# Files and ports


def _credentials(config: Config) -> Finding:
    if config.host_resources is None:
        raise ValueError("no host_resources")
    what = f"SNMP credentials {config.host_resources.credentials_file}"
    try:
        read_credentials(config.host_resources)
    except ConfigError as error:
        return Finding(
            State.FAILED, what, error.problems[0], 'write "community = ..." or "user = ..." into it'
        )
    mode = config.host_resources.credentials_file.stat().st_mode
    if mode & stat.S_IRWXO:
        path = config.host_resources.credentials_file
        return Finding(State.WARNING, what, "others can read or change it", f"chmod o= {path}")
    return Finding(State.OK, what, "readable, not by others")


def _mibs() -> Iterator[Finding]:
    try:
        yield Finding(State.OK, "VM-MIB", f"in {mibs.folder()}")
        yield Finding(State.OK, "base MIB modules", f"-M +{mibs.search_path()}")
    except mibs.MibsMissingError as error:
        yield Finding(State.FAILED, "MIB modules", str(error))


def _state_dir(path: Path) -> Finding:
    what = f"state folder {path}"
    place = path
    while not _visible(place) and place != place.parent:
        place = place.parent
    remedy = "run as its owner, or name another --state-dir"
    if not place.is_dir():
        return Finding(State.FAILED, what, f"{place} is no folder", "name another --state-dir")
    if not os.access(place, os.W_OK | os.X_OK):
        whose = "it" if place == path else f"{place}, where it would be made,"
        return Finding(State.FAILED, what, f"{whose} is not writable for this user", remedy)
    return Finding(State.OK, what, "writable" if place == path else "will be made at the start")


def _visible(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _web(listen_address: str) -> Finding:
    what = f"web address {listen_address}"

    def nothing() -> ExporterView:
        return ExporterView((), AgentStats(connected=False), 0.0)

    exporter = Exporter(listen_address, nothing)
    try:
        exporter.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _is_agent(listen_address):
            return Finding(State.OK, what, "a running agent serves it")
        remedy = (
            "stop what uses the port, or choose another"
            if error.errno == errno.EADDRINUSE
            else "choose another"
        )
        return Finding(
            State.FAILED, what, error.strerror or str(error), f"{remedy} (--web.listen-address)"
        )
    exporter.stop()
    return Finding(State.OK, what, "free")


def _is_agent(listen_address: str) -> bool:
    """Tell whether an agent of ours answers there."""
    host, port = split_host_port(listen_address)
    try:
        with socket.create_connection((host or "localhost", port), timeout=2) as connection:
            connection.sendall(b"HEAD /-/healthy HTTP/1.0\r\n\r\n")
            return b"Server: vmmib/" in connection.recv(4096)
    except OSError:
        return False
