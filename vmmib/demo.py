"""`vmmib demo`: everything once, on a machine that need not be prepared and without root.

It starts, on free ports of the loopback address and below a temporary folder, a private snmpd,
snmptrapd and libvirtd (unprivileged, with libvirt's test driver: one imaginary machine), and the
agent between them; walks VM-MIB, suspends and resumes the machine, shows the notifications that
arrived and a part of /metrics. Then it tells an incident (`triage.demo`): the machine is a node of
a cluster, it is paused, and `triage run` says why the site on it fails. It ends all of it again,
and fails when anything is not as it must be; the logs of its programs are left then.

Another hypervisor can be named (LIBVIRT_URI). Its machines are not touched then, but for the one
that is named as well (DEMO_VM): that one is paused and resumed, for some seconds in all.

Why a libvirtd: test:///default alone lives inside the process that opens it, so that nobody else
could pause its machine. And since a libvirtd that runs as root would take care of the host's own
networks and machines, root's demo runs it as "nobody".
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from triage.demo import story
from triage.demo.story import Machine
from vmmib import mibs
from vmmib.agentx.address import MAX_PATH

HOST = "127.0.0.1"
COMMUNITY = "public"

START_WITHIN = 20.0
"""Seconds for each program to serve."""

ARRIVE_WITHIN = 15.0
"""Seconds for a notification to arrive."""

MOST_LINES = 100
"""Lines shown of one output; a hypervisor may have a thousand machines."""

TOOLS = {
    "snmpd": "snmpd",
    "snmptrapd": "snmptrapd",
    "snmpwalk": "snmp",
    "libvirtd": "libvirt-daemon",
}
"""Program and Debian package."""

EXCERPT = re.compile(
    r"vmmib_(hypervisor_|vm_info|vm_state.* 1$|vm_cpu_seconds|vm_memory|vm_disk_read_bytes"
    r"|agentx_|notifications_)"
)
"""Lines of /metrics that are shown."""


class DemoError(Exception):
    """The demo cannot go on; the text tells why in a line, and what a program said below it."""


# Output


def _heading(text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}== {text}{plain}", flush=True)


def _show(lines: Sequence[str]) -> None:
    for line in lines[:MOST_LINES]:
        print("".join(char if char.isprintable() else "?" for char in line))
    if len(lines) > MOST_LINES:
        print(f"... and {len(lines) - MOST_LINES} lines more")
    sys.stdout.flush()


def _shown(command: Sequence[str]) -> str:
    return f"$ {shlex.join(command)}"


# Programs


@dataclass
class Stage:
    """The temporary folder and what runs in it."""

    folder: Path
    environment: Mapping[str, str]
    running: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def log(self, name: str) -> Path:
        """Where a program writes."""
        return self.folder / f"{name}.log"

    def start(
        self,
        name: str,
        command: Sequence[str],
        ready: Callable[[], bool],
        *,
        environment: Mapping[str, str] | None = None,
        as_nobody: bool = False,
    ) -> None:
        """Run a program until the end of the demo; return when it is ready. Raises DemoError."""
        user = None if not as_nobody else _nobody()
        try:
            with self.log(name).open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 - a command of ours
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(self.environment if environment is None else environment),
                    start_new_session=True,  # Ctrl-C is for us: we end them in order
                    user=user,
                    group=user,
                    extra_groups=None if user is None else (),
                )
        except OSError as error:
            raise DemoError(f"{name} cannot be started: {error.strerror or error}") from None
        self.running.append((name, process))
        deadline = time.monotonic() + START_WITHIN
        while not ready():
            if process.poll() is not None:
                raise DemoError(f"{name} ended at once:\n{self.tail(name)}")
            if time.monotonic() > deadline:
                raise DemoError(f"{name} does not serve:\n{self.tail(name)}")
            time.sleep(0.02)

    def tail(self, name: str) -> str:
        """Return the last lines that a program wrote."""
        lines = self.log(name).read_text("utf-8", "replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-8:])

    def end(self, name: str) -> None:
        """End a program now."""
        for one in [one for one in self.running if one[0] == name]:
            self.running.remove(one)
            _ended(one[1])

    def stop(self) -> None:
        """End everything, the last one first."""
        while self.running:
            _ended(self.running.pop()[1])

    def keep_logs(self, folder: Path) -> None:
        """Copy what the programs wrote into a folder."""
        for path in self.folder.rglob("*.log"):
            shutil.copy(path, folder / path.name.replace(" ", "-"))


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _taken(port: int) -> bool:
    """Tell whether somebody listens on a UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
        return False


def _connects(path: Path) -> bool:
    """Tell whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _http(port: int, path: str) -> tuple[int, str]:
    """Return status and body; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", "replace")
    except OSError:
        return 0, ""


def _check_tools(needed: Sequence[str]) -> dict[str, str]:
    """Return where the programs are; raise DemoError with a line for each that is missing."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    found = {name: shutil.which(name, path=path) for name in needed}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        raise DemoError(
            "\n".join(f"{name} is missing: apt install {TOOLS[name]}" for name in missing)
        )
    return {name: place for name, place in found.items() if place is not None}


@contextlib.contextmanager
def _stage(output: Path | None) -> Iterator[Stage]:
    """A folder for everything, and the programs' end with its end.

    Its path is short enough for unix sockets, and "nobody" can go there if need be. When the demo
    fails, the logs stay: in `output`, or in a new folder.
    """
    base = tempfile.gettempdir()
    closed = any(not parent.stat().st_mode & 0o001 for parent in (Path(base, "x").parents))
    if len(base) > MAX_PATH - 60 or (closed and os.geteuid() == 0):
        base = "/tmp"  # noqa: S108 - the folder in it is private
    with tempfile.TemporaryDirectory(
        prefix="vmmib-demo-", dir=base, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        folder.chmod(0o711)
        environment = os.environ | {
            "LC_ALL": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
            "SNMPCONFPATH": name,
            "SNMP_PERSISTENT_DIR": f"{name}/persistent",
        }
        (folder / "persistent").mkdir(0o700)
        stage = Stage(folder, environment)
        before = signal.signal(signal.SIGTERM, _on_sigterm)
        try:
            yield stage
        except DemoError as error:
            kept = Path(output or tempfile.mkdtemp(prefix="vmmib-demo-logs-"))
            stage.keep_logs(kept)
            raise DemoError(f"{error}\nthe logs of the demo's programs are in {kept}") from None
        finally:
            stage.stop()
            signal.signal(signal.SIGTERM, before)


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


# The parts


def _start_libvirtd(stage: Stage, program: str) -> str:
    """Start a private libvirtd; return the URI of its test hypervisor."""
    home = stage.folder / "libvirt"
    home.mkdir(0o700)
    as_nobody = os.geteuid() == 0
    if as_nobody:
        os.chown(home, _nobody(), _nobody())
    conf = stage.folder / "libvirtd.conf"
    conf.write_text(f'unix_sock_dir = "{home}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n')
    conf.chmod(0o644)
    private = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    sock = home / "libvirt-sock"
    stage.start(
        "libvirtd",
        [program, "-f", str(conf), "-p", str(home / "pid")],
        lambda: _connects(sock),
        environment={
            "PATH": stage.environment["PATH"],
            "LC_ALL": "C.UTF-8",
            **dict.fromkeys(private, str(home)),
        },
        as_nobody=as_nobody,
    )
    return f"test+unix:///default?socket={sock}"


def _start_snmp(stage: Stage, tools: Mapping[str, str], mib_path: str) -> tuple[int, int]:
    """Start snmptrapd and snmpd; return snmpd's port, and where it sends to triage later."""
    traps, port, later = (_free_port(socket.SOCK_DGRAM) for _ in range(3))
    conf = stage.folder / "snmptrapd.conf"
    conf.write_text(f"authCommunity log {COMMUNITY}\n")
    stage.start(
        "snmptrapd",
        [
            *(tools["snmptrapd"], "-f", "-C", "-c", str(conf), "-Lo", "-n"),
            *("-p", str(stage.folder / "snmptrapd.pid"), "-M", f"+{mib_path}", "-m", "VM-MIB"),
            *("-OQ", "-F", "BEGIN\n%V\n%v\nEND\n", f"udp:{HOST}:{traps}"),
        ],
        lambda: _taken(traps),
    )
    master = stage.folder / "master"
    conf = stage.folder / "snmpd.conf"
    conf.write_text(
        f"agentAddress udp:{HOST}:{port}\n"
        "master agentx\n"
        f"agentXSocket unix:{master}\n"
        f"rocommunity {COMMUNITY} {HOST}\n"
        f"trap2sink udp:{HOST}:{traps} {COMMUNITY}\n"
        f"trap2sink udp:{HOST}:{later} {COMMUNITY}\n"
        "dontLogTCPWrappersConnects yes\n"
    )
    stage.start(
        "snmpd",
        [
            *(tools["snmpd"], "-f", "-r", "-C", "-c", str(conf), "-Lo"),
            *("-p", str(stage.folder / "snmpd.pid")),
        ],
        lambda: _taken(port) and _connects(master),
    )
    return port, later


def _start_agent(stage: Stage, uri: str) -> int:
    """Start the agent; return the port of its /metrics."""
    port = _free_port(socket.SOCK_STREAM)
    flags = [
        *("--libvirt-uri", uri, "--agentx-socket", f"unix:{stage.folder}/master"),
        *("--web.listen-address", f"{HOST}:{port}", "--state-dir", f"{stage.folder}/state"),
        *("--poll-interval", "1"),
    ]
    print(_shown(["vmmib", "agent", *flags]))
    stage.start(
        "vmmib agent",
        [sys.executable, "-m", "vmmib", "agent", *flags],
        lambda: _http(port, "/-/ready")[0] == 200,
    )
    status, page = _http(port, "/metrics")
    if status != 200 or not re.search(r"^vmmib_hypervisor_up\{.*\} 1$", page, re.MULTILINE):
        raise DemoError(f"the agent does not reach the hypervisor:\n{stage.tail('vmmib agent')}")
    return port


def _walk(stage: Stage, port: int, mib_path: str, tool: str) -> None:
    options = ["-v2c", "-c", COMMUNITY, "-M", f"+{mib_path}", "-m", "VM-MIB"]
    target = [f"{HOST}:{port}", "vmMIB"]
    print(_shown(["snmpwalk", *options, *target]))
    deadline = time.monotonic() + ARRIVE_WITHIN
    while True:
        try:
            done = subprocess.run(  # noqa: S603 - a command of ours
                [tool, *options, *target],
                env=dict(stage.environment),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"the walk does not end:\n{stage.tail('vmmib agent')}") from None
        whole = done.returncode == 0 and "VM-MIB::vmNumber.0 = INTEGER: " in done.stdout
        # The agent is ready when its session is open; its registration is on the way then
        if whole or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    _show(done.stdout.splitlines())
    if not whole:
        raise DemoError(f"the walk failed:\n{done.stderr}{stage.tail('vmmib agent')}")


def _notifications(stage: Stage) -> list[list[str]]:
    """Return what snmptrapd received, one list of lines for each."""
    text = stage.log("snmptrapd").read_text("utf-8", "replace")
    found = re.findall(r"^BEGIN\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)
    return [
        [line for line in one.replace("\t", "\n").splitlines() if line]
        for one in found
        if "VM-MIB::" in one  # snmpd has its own: coldStart
    ]


def _await(stage: Stage, name: str, machine: str) -> None:
    """Wait for a notification of one kind about one machine. Raises DemoError."""
    deadline = time.monotonic() + ARRIVE_WITHIN

    def arrived() -> bool:
        return any(
            any(line.endswith(f"= VM-MIB::{name}") for line in one)
            and any("vmName" in line and machine in line for line in one)
            for one in _notifications(stage)
        )

    while not arrived():
        if time.monotonic() > deadline:
            raise DemoError(
                f"no notification {name} of {machine} arrived within {ARRIVE_WITHIN:g} s:\n"
                f"{stage.tail('vmmib agent')}"
            )
        time.sleep(0.02)


def _pause_and_resume(stage: Stage, machine: Machine) -> None:
    machine.pause()
    try:
        _await(stage, "vmPaused", machine.name)
    finally:
        machine.resume()
    _await(stage, "vmRunning", machine.name)


@contextlib.contextmanager
def _machine(uri: str, name: str) -> Iterator[Machine]:
    """The machine that may be paused, by a connection of its own. Raises DemoError."""
    import libvirt  # noqa: PLC0415 - needed here alone

    libvirt.registerErrorHandler(lambda *_: None, None)

    def runs() -> bool:
        try:
            return int(domain.state()[0]) == libvirt.VIR_DOMAIN_RUNNING
        except libvirt.libvirtError:
            return False

    try:
        connection = libvirt.open(uri)
        try:
            domain = connection.lookupByName(name)
            if not runs():
                raise DemoError(f"{name} does not run: start it, or name another as DEMO_VM")
            yield Machine(
                name=name,
                uuid=domain.UUIDString(),
                runs=runs,
                pause=domain.suspend,
                resume=domain.resume,
            )
        finally:
            connection.close()
    except libvirt.libvirtError as error:
        raise DemoError(f"libvirt: {error}") from None


def _incident(stage: Stage, machine: Machine, ports: tuple[int, int], output: Path | None) -> None:
    snmp, traps = (f"{HOST}:{port}" for port in ports)
    try:
        story.tell(
            stage,
            machine,
            snmp=snmp,
            community=COMMUNITY,
            traps=traps,
            heading=_heading,
            output=output,
        )
    except story.StoryError as error:
        raise DemoError(str(error)) from None


def run(uri: str = "", machine: str = "", output: Path | None = None) -> None:
    """Run the demo. `uri`: of another hypervisor; `machine`: the one to be paused there.

    `output`: folder for what stays of it: the incident's page and recording. Raises DemoError.
    """
    began = time.monotonic()
    own = not uri
    tools = _check_tools([tool for tool in TOOLS if own or tool != "libvirtd"])
    try:
        mib_path = mibs.search_path()
    except mibs.MibsMissingError as error:
        raise DemoError(str(error)) from None
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    with _stage(output) as stage:
        _heading(f"A private snmpd, snmptrapd{' and libvirtd' if own else ''} in {stage.folder}")
        if own:
            uri, machine = _start_libvirtd(stage, tools["libvirtd"]), machine or "test"
        ports = _start_snmp(stage, tools, mib_path)
        names = ", ".join(name for name, _ in stage.running)
        print(f"{names} run; SNMP on {HOST}:{ports[0]}")

        _heading("The agent")
        web = _start_agent(stage, uri)
        print("connected to snmpd and to the hypervisor")

        _heading("The whole of VM-MIB")
        _walk(stage, ports[0], mib_path, tools["snmpwalk"])

        paused = _machine(uri, machine) if machine else contextlib.nullcontext()
        with paused as one:
            if one is not None:
                _heading(f"Notifications while {machine} is suspended and resumed")
                _pause_and_resume(stage, one)
                for number, lines in enumerate(_notifications(stage), 1):
                    print(f"{number}.")
                    _show([f"   {line}" for line in lines])
            else:
                _heading("Notifications: left out, DEMO_VM names no machine that may be paused")

            _heading(f"A part of http://{HOST}:{web}/metrics")
            _show([line for line in _http(web, "/metrics")[1].splitlines() if EXCERPT.match(line)])

            if one is not None:
                _incident(stage, one, ports, output)
        _heading("The end: stopping everything")
    print(f"all as it must be, in {time.monotonic() - began:.0f} s")
