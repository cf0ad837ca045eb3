"""`vmmib agent` as a process of its own, its log in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.netsnmp import wait_until

ROOT = Path(__file__).parents[1]


def run_vmmib(
    *arguments: str | Path, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "vmmib", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class AgentProcess:
    """A running agent; a context manager that stops it."""

    def __init__(
        self,
        directory: Path,
        uris: Sequence[str],
        socket: str,
        *flags: str,
        state_dir: Path | None = None,
    ) -> None:
        self.directory = directory
        self.log = directory / "agent.log"
        self.state_dir = state_dir or directory / "state"
        self.command = [sys.executable, "-m", "vmmib", "agent"]
        self.command += [word for uri in uris for word in ("--libvirt-uri", uri)]
        self.command += ["--agentx-socket", socket, "--state-dir", str(self.state_dir), *flags]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; returns at once."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def logged(self, text: str) -> int:
        """How many lines of the log hold `text`."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())

    def wait_logged(self, text: str, count: int = 1, timeout: float = 20) -> None:
        """Wait for `count` lines with `text`."""
        try:
            wait_until(lambda: self.logged(text) >= count, timeout, f"{text!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text(errors='replace')}") from None

    def kill(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit code; it has to go within 15 seconds."""
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(number)
        try:
            return process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            self.stop()
        text = self.log.read_text(errors="replace")
        assert "Traceback" not in text, text
