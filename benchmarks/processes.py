"""What runs: agents and their masters, all on one core, and what they use of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.netsnmp import Snmpd, parse_lines, wait_until

VM_MIB = "1.3.6.1.2.1.236"
CHECKOUT = Path(__file__).parents[1]
LONGEST_SETUP = 120.0
"""Seconds in which an agent must have answered for the first time."""

QUIET = 0.5
"""Seconds without work to speak of, after which an agent has started."""


def pin(core: int | None) -> int:
    """Put this process, and so all that it starts, on one core (None: the last one allowed)."""
    allowed = os.sched_getaffinity(0)
    if core is None:
        core = max(allowed)
    if core not in allowed:
        raise SystemExit(f"core {core} is not to be had; there are {sorted(allowed)}")
    os.sched_setaffinity(0, {core})
    return core


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all of its threads, to the nanosecond."""
    # The clock of another process, as clock_getcpuclockid(3) names it on Linux
    return time.clock_gettime((~pid << 3) | 2)


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


class Memory(NamedTuple):
    """Octets."""

    rss: int
    pss: int


def memory(pid: int) -> Memory:
    """Resident memory, and the same with shared pages divided among those who share them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (
        int(size) * 1024
        for name in ("Rss", "Pss")
        for size in re.findall(rf"^{name}: +([0-9]+) kB", text, re.MULTILINE)
    )
    return Memory(rss, pss)


class Server:
    """An agent, and a master of its own that it serves."""

    def __init__(self, name: str, folder: Path, command: list[str], snmpd: Snmpd) -> None:
        self.name = name
        self.snmpd = snmpd
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=CHECKOUT
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def cost(self) -> float:
        """CPU seconds so far of the agent, of its master, of this process and its ended children.

        A difference of two is what was spent on one agent while no other was asked.
        """
        master = self.snmpd.process
        assert master is not None
        used = os.times()
        mine = time.process_time() + used.children_user + used.children_system
        return mine + cpu_seconds(self.pid) + cpu_seconds(master.pid)

    def running(self) -> bool:
        """Whether the agent lives; RuntimeError with its last words when it does not."""
        if self.process.poll() is not None:
            words = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {words}")
        return True

    def wait(self, oid: str) -> None:
        """Return when the agent has done with starting, and `oid` is answered.

        It is not asked before: a request that pyagentx3 is too busy to answer in time makes snmpd
        close its session, and it does not come back from that.
        """
        wait_until(self._quiet, LONGEST_SETUP, f"{self.name} to have started; see {self.log}")

        def answered() -> bool:
            self.running()
            done = self.snmpd.run("snmpget", oid, check=False, timeout=30, retries=0)
            return done.returncode == 0 and "No Such" not in done.stdout

        wait_until(answered, LONGEST_SETUP, f"{self.name} to answer {oid}; see {self.log}")

    def wait_for(self, oid: str, value: str) -> None:
        """Return when `oid` has a value."""

        def has() -> bool:
            self.running()
            done = self.snmpd.run("snmpget", oid, check=False, timeout=30, retries=0)
            return [line.value for line in parse_lines(done.stdout)] == [value]

        wait_until(has, LONGEST_SETUP, f"{self.name} to tell {oid} = {value}; see {self.log}")

    def _quiet(self) -> bool:
        self.running()
        before = cpu_seconds(self.pid)
        time.sleep(QUIET)
        return cpu_seconds(self.pid) - before < QUIET / 20

    def walk(self, limit: float | None = None) -> tuple[str, float]:
        """The output of `snmpbulkwalk -Cr50` of all of VM-MIB, and the seconds that it took.

        It is cut short after `limit` seconds.
        """
        with tempfile.TemporaryFile(dir=self.log.parent) as out:
            began = time.monotonic()
            walker = subprocess.Popen(
                [
                    "snmpbulkwalk", "-v2c", "-cpublic", "-Cr50", "-t30", "-r0", "-OnetU",
                    self.snmpd.address, VM_MIB,
                ],
                env=self.snmpd.environment, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
            cut = False
            try:
                walker.wait(limit)
            except subprocess.TimeoutExpired:
                cut = True
                walker.terminate()
                walker.wait()
            took = time.monotonic() - began
            out.seek(0)
            text = out.read().decode(errors="replace")
        if walker.returncode and not cut:
            raise RuntimeError(f"walking {self.name}: {text[-500:]}")
        return text, took

    def stop(self) -> None:
        """End the agent and its master."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.snmpd.stop()


def varbinds(walked: str) -> int:
    """Varbinds in the output of a walk; one may take several lines."""
    return walked.count("\n.1.") + walked.startswith(".1.")


def python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def agent_config(folder: Path, agentx_socket: str, uri: str, poll: float) -> Path:
    """Write a configuration; return its path."""
    state = folder / "state"
    path = folder / "agent.toml"
    path.write_text(
        f"""\
state_dir = "{state}"
log_level = "warning"

[agentx]
socket = "{agentx_socket}"

[[hypervisors]]
uri = "{uri}"
poll_interval = {poll}
silence_limit = 86400
"""
    )
    return path


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for everything that a measurement writes."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        Path(name).chmod(0o755)
        yield Path(name)
