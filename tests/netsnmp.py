"""A private snmpd and snmptrapd on loopback, and net-snmp's command-line tools to ask them.

Everything that they write is below the directory that the test gives; nothing of the machine's own
configuration, MIB texts or persistent state is read. Names are printed as numbers (`-On`,
enumerations too) so that no MIB text is needed.

    with Snmpd(tmp_path, contexts=["esx1"]) as snmpd:
        ... connect a subagent to snmpd.agentx_socket ...
        snmpd.walk("1.3.6.1.2.1.236")  # [Line(oid=".1.3...", type="INTEGER", value="4"), ...]
        snmpd.walk("1.3.6.1.2.1.236", context="esx1")
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import pytest

HOST = "127.0.0.1"
OUTPUT = "-OnetU"
"""Numeric OIDs and enumerations, raw TimeTicks, no units."""
MAX_UNIX_PATH = 100

needs_netsnmp = pytest.mark.skipif(
    not all(map(shutil.which, ("snmpd", "snmptrapd", "snmpwalk"))),
    reason="needs net-snmp's snmpd, snmptrapd and command-line tools",
)


class Line(NamedTuple):
    """One line of output: ".1.3.6.1...", "INTEGER", "4"; exceptions have their text as type."""

    oid: str
    type: str
    value: str


class Trap(NamedTuple):
    """One notification as snmptrapd printed it."""

    oid: str
    """Value of snmpTrapOID.0."""
    lines: tuple[Line, ...]

    def value(self, oid: str) -> str:
        """Value of the variable whose OID starts with `oid`."""
        prefix = "." + oid.lstrip(".")
        for line in self.lines:
            if line.oid == prefix or line.oid.startswith(prefix + "."):
                return line.value
        raise AssertionError(f"no {oid} in {self}")


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A port of 127.0.0.1 that nothing uses at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], object], timeout: float = 10.0, what: str = "") -> None:
    """Return as soon as `condition()` is true; AssertionError when it is not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or condition}"
        time.sleep(0.005)


_START = re.compile(r"^(\.[0-9.]+) = ?(.*)$", re.DOTALL)
_TYPED = re.compile(r"^([A-Z][A-Za-z0-9-]*): ?(.*)$", re.DOTALL)


def parse_lines(text: str) -> list[Line]:
    """Read the output of snmpwalk, snmpget and friends; a value may span lines."""
    joined: list[str] = []
    for raw in text.splitlines():
        if _START.match(raw) or not joined:
            joined.append(raw)
        else:
            joined[-1] += "\n" + raw
    lines = []
    for raw in joined:
        found = _START.match(raw)
        if not found:
            continue
        oid, rest = found.groups()
        typed = _TYPED.match(rest)
        if typed:
            lines.append(Line(oid, typed[1], typed[2].rstrip(" \n")))
        elif rest.startswith("No ") or not rest:
            lines.append(Line(oid, rest, ""))
        elif rest.startswith('"'):
            lines.append(Line(oid, "STRING", rest))
        else:
            lines.append(Line(oid, "Timeticks" if rest.isdigit() else "", rest))
    return lines


def environment(directory: Path) -> dict[str, str]:
    """The environment in which net-snmp's programs see nothing but `directory`."""
    persistent = directory / "persistent"
    persistent.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        "LC_ALL": "C",
        "HOME": str(directory),
        "MIBS": "",
        "SNMPCONFPATH": str(directory),
        "SNMP_PERSISTENT_DIR": str(persistent),
    }


class _Daemon:
    """A net-snmp daemon in the foreground, its log in a file."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory / name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.environment = environment(self.directory)
        self.conf = self.directory / f"{name}.conf"
        self.log = self.directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Run the daemon; return when it serves."""
        assert self.process is None, "already running"
        with self.log.open("ab") as log:
            seen = self.log.stat().st_size
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
            )
        process = self.process

        def up() -> bool:
            assert process.poll() is None, self.log.read_text(errors="replace")
            return b"NET-SNMP version" in self.log.read_bytes()[seen:]

        wait_until(up, 20, f"{self.command()[0]} to start")

    def _end(self, signals: Sequence[int]) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        for number in signals:
            process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def stop(self) -> None:
        """End it in good order; a no-op when it is not running."""
        self._end((signal.SIGTERM, signal.SIGCONT))

    def kill(self) -> None:
        """SIGKILL: it closes nothing and removes nothing."""
        self._end((signal.SIGKILL,))

    def pause(self) -> None:
        """SIGSTOP: it hangs, its sockets stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class Snmpd(_Daemon):
    """A master agent.

    Communities: "public" reads and "private" writes the default context; a context's own name is
    the community that reads and writes that context. SNMPv3 user "tester" (noAuthNoPriv) reads and
    writes all of them.
    """

    def __init__(
        self,
        tmp_path: Path,
        *,
        extra_conf: str = "",
        agentx: str = "unix",
        contexts: Sequence[str] = (),
        traps_to: Snmptrapd | None = None,
        agentx_timeout: int = 1,
        options: Sequence[str] = (),
        name: str = "snmpd",
    ) -> None:
        super().__init__(tmp_path, name)
        self.options = list(options)
        self.port = free_port()
        if agentx == "unix":
            path = str(self.directory / "master")
            if len(path) > MAX_UNIX_PATH:
                self._short = tempfile.TemporaryDirectory(prefix="agentx")
                path = self._short.name + "/master"
            self.agentx_socket = f"unix:{path}"
        else:
            self.agentx_socket = f"tcp:{HOST}:{free_port(socket.SOCK_STREAM)}"
        lines = [
            f"agentAddress udp:{HOST}:{self.port}",
            "master agentx",
            f"agentXSocket {self.agentx_socket}",
            "agentXPerms 0770 0770",
            f"agentXTimeout {agentx_timeout}",
            "agentXRetries 1",
            "dontLogTCPWrappersConnects yes",
            "rocommunity public",
            "rwcommunity private",
            "view all included .1",
            "createUser tester",
            "group usmgroup usm tester",
            'access usmgroup "" usm noauth exact all all all',
        ]
        for number, context in enumerate(contexts):
            lines += [
                f"com2sec -Cn {context} sec{number} default {context}",
                f"group grp{number} v2c sec{number}",
                f"access grp{number} {context} any noauth exact all all none",
                f"access usmgroup {context} usm noauth exact all all all",
            ]
        if traps_to is not None:
            lines.append(f"trap2sink {traps_to.address} public")
        self.conf.write_text("\n".join(lines) + "\n" + extra_conf + "\n")

    @property
    def address(self) -> str:
        """What net-snmp's tools take as AGENT."""
        return f"udp:{HOST}:{self.port}"

    def command(self) -> list[str]:
        return [
            "snmpd", "-f", "-r", "-C", "-c", str(self.conf), "-Lo",
            "-p", str(self.directory / "pid"), *self.options,
        ]  # fmt: skip

    # Asking

    def run(
        self,
        tool: str,
        *arguments: str,
        context: str = "",
        community: str = "",
        v3: bool = False,
        options: Sequence[str] = (OUTPUT,),
        timeout: float = 5,
        retries: int = 1,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run one of net-snmp's tools (snmpget, snmpbulkwalk, ...) against this snmpd."""
        if v3:
            who = ["-v3", "-u", "tester", "-l", "noAuthNoPriv", "-n", context]
        else:
            default = "private" if tool == "snmpset" else "public"
            who = ["-v2c", "-c", community or context or default]
        done = subprocess.run(
            [
                tool, *who, "-t", str(timeout), "-r", str(retries),
                *options, self.address, *arguments,
            ],
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=100,
            check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"{tool} {arguments}: {done.stdout}{done.stderr}"
        return done

    def walk(
        self,
        oid: str = "1.3.6.1.2.1.236",
        *,
        bulk: bool = False,
        context: str = "",
        v3: bool = False,
        options: Sequence[str] = (OUTPUT,),
    ) -> list[Line]:
        """All instances below `oid`, in the order in which they came."""
        tool, more = ("snmpbulkwalk", ["-Cr50"]) if bulk else ("snmpwalk", [])
        done = self.run(tool, oid, context=context, v3=v3, options=[*options, *more])
        return [line for line in parse_lines(done.stdout) if not line.type.startswith("No ")]

    def get(
        self,
        *oids: str,
        context: str = "",
        v3: bool = False,
        options: Sequence[str] = (OUTPUT,),
    ) -> list[Line]:
        """The named instances; "No Such Object ..." and "No Such Instance ..." appear as types."""
        done = self.run("snmpget", *oids, context=context, v3=v3, options=options)
        return parse_lines(done.stdout)

    def get_next(self, *oids: str, context: str = "") -> list[Line]:
        """What follows each of `oids`."""
        return parse_lines(self.run("snmpgetnext", *oids, context=context).stdout)

    def get_bulk(self, *oids: str, repetitions: int, context: str = "") -> list[Line]:
        """GETBULK of `oids`, in the order of the response."""
        options = [OUTPUT, "-Cn0", f"-Cr{repetitions}"]
        return parse_lines(self.run("snmpbulkget", *oids, context=context, options=options).stdout)

    def set(
        self, *triples: str, context: str = "", community: str = "", v3: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run snmpset OID TYPE VALUE ...; `stderr` tells of an error ("Reason: notWritable")."""
        return self.run(
            "snmpset", *triples, context=context, community=community, v3=v3, check=False
        )


class Snmptrapd(_Daemon):
    """A receiver of notifications."""

    def __init__(self, tmp_path: Path, *, extra_conf: str = "", name: str = "snmptrapd") -> None:
        super().__init__(tmp_path, name)
        self.port = free_port()
        self.conf.write_text(f"disableAuthorization yes\n{extra_conf}\n")

    @property
    def address(self) -> str:
        """What snmpd's `trap2sink` takes."""
        return f"udp:{HOST}:{self.port}"

    def command(self) -> list[str]:
        return [
            "snmptrapd", "-f", "-C", "-c", str(self.conf), "-Lo", OUTPUT, "-n",
            "-p", str(self.directory / "pid"),
            "-F", "<<<TRAP\n%V\n%v\nTRAP>>>\n", self.address,
        ]  # fmt: skip

    def received(self) -> list[Trap]:
        """What has arrived so far, oldest first."""
        traps = []
        for chunk in self.log.read_text(errors="replace").split("<<<TRAP\n")[1:]:
            body, end, _ = chunk.partition("TRAP>>>")
            if not end:
                continue
            lines = tuple(parse_lines(body.replace("\t.1", "\n.1")))
            oid = next((x.value for x in lines if x.oid == ".1.3.6.1.6.3.1.1.4.1.0"), "")
            traps.append(Trap(oid, lines))
        return traps

    def notifications(
        self, count: int = 1, timeout: float = 10.0, oid: str | None = None
    ) -> list[Trap]:
        """Wait until at least `count` have arrived (of type `oid`, if given); return them all."""
        wanted = None if oid is None else "." + oid.lstrip(".")

        def matching() -> list[Trap]:
            return [trap for trap in self.received() if wanted in (None, trap.oid)]

        wait_until(lambda: len(matching()) >= count, timeout, f"{count} notifications {oid or ''}")
        return matching()
