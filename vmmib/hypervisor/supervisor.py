"""The parent's side of a child process: start it, read it, restart it, stop it.

Rules
- Everything runs on the agent's loop; nothing here waits, but for stop() and snapshot().
- Only a whole refresh counts: its batches are kept here until the Refreshed that closes them, so
  a child that dies in between leaves nothing behind. What an event says meanwhile goes through at
  once and replaces what a kept batch says of that VM.
- One Unreachable per episode, however many attempts it takes: said by the child, or by the
  supervisor when nothing came for `limit` seconds. Silence is the lack of refreshes; events alone
  are no sign that the hypervisor answers. A child that is silent is stuck in a call: it is killed.
- A child that dies is started again after a pause that doubles up to 15 seconds. Its VMs stay as
  they are until it has been silent for too long.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from vmmib.backoff import Backoff
from vmmib.hypervisor.messages import (
    Batch,
    Changed,
    FrameError,
    Message,
    Reader,
    Refreshed,
    Removed,
    Unreachable,
)
from vmmib.hypervisor.model import Disk, Hypervisor, Vm
from vmmib.hypervisor.settings import SourceSettings, masked
from vmmib.hypervisor.source import Log, SourceError
from vmmib.loop import Loop, Timer

READ_SIZE = 64 * 1024
"""Octets taken per turn of the loop: a long message leaves requests room in between."""

PIPE_SIZE = 1024 * 1024
"""Octets; the kernel's default limit for an unprivileged process."""

LONGEST_LINE = 1000
"""Octets of a line that a child writes to its standard error."""

MOST_LINES = 50
"""Lines of a child's standard error per minute; more are counted."""

STOP_WITHIN = 0.5
"""Seconds that a child has to leave by itself."""

LAST_CHANCE = 0.1
"""Seconds for reading what a seemingly silent child did say."""

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


def _log(line: str) -> None:
    logging.getLogger(__name__).warning("%s", line)


class Supervisor:
    """Keeps one hypervisor's child process running and hands on what it says.

    Attributes for those who watch the watcher: `up` (the last word was a refresh), `last_refresh`
    (seconds since the epoch; None: none yet), `refresh_seconds` (what it took), `refreshes`,
    `restarts` (children after the first) and `reason` (why it is not up).
    """

    def __init__(
        self,
        loop: Loop,
        settings: SourceSettings,
        on_message: Callable[[Message], None],
        log: Log = _log,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._on_message = on_message
        self._log = log
        self._child: _Child | None = None
        self._backoff = Backoff()
        self._restart: Timer | None = None
        self._watch: Timer | None = None
        self._alive_at = 0.0
        self._running = False
        self._corpses: list[subprocess.Popen[bytes]] = []
        self._told = False
        self._last_chance = False
        self._cautious = False
        self._batch: dict[str, Vm] = {}
        self.up = False
        self.reason = "not started"
        self.last_refresh: float | None = None
        self.refresh_seconds = 0.0
        self.refreshes = 0
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The process ID of the present child."""
        return self._child.process.pid if self._child is not None else None

    def start(self) -> None:
        """Start the child; a no-op when it runs."""
        if self._running:
            return
        self._running = True
        self._alive_at = self._loop.time()
        self.reason = "starting"
        self._spawn()
        self._watch = self._loop.call_later(self._settings.limit, self._check_silence)

    def stop(self) -> None:
        """End the child within a second or so. No message comes after this."""
        self._running = False
        for timer in (self._restart, self._watch):
            if timer is not None:
                timer.cancel()
        self._restart = self._watch = None
        self.up = False
        self.reason = "stopped"
        child, self._child = self._child, None
        if child is not None:
            child.leave()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(STOP_WITHIN)
            child.kill()
            self._corpses.append(child.process)
            deadline = time.monotonic() + STOP_WITHIN
            while self._reap() and time.monotonic() < deadline:
                time.sleep(0.005)

    # The child's life

    def _spawn(self) -> None:
        self._restart = None
        self._reap()
        self._batch.clear()
        try:
            settings = msgspec.structs.replace(self._settings, cautious=self._cautious)
            self._child = _Child(self._loop, settings, self._on_data, self._on_line)
        except OSError as error:
            self._log(f"cannot start the child process of {self._settings.name}: {error}")
            self._again()

    def _again(self) -> None:
        """Start a new child after a pause."""
        if self._running and self._restart is None:
            self._restart = self._loop.call_later(self._backoff.wait(), self._respawn)

    def _respawn(self) -> None:
        self.restarts += 1
        self._spawn()

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            self._corpses.append(child.process)
        self._batch.clear()
        self._reap()
        self._again()

    def _reap(self) -> bool:
        """Collect children that have ended; whether some have not."""
        self._corpses = [one for one in self._corpses if one.poll() is None]
        return bool(self._corpses)

    def _on_line(self, line: str) -> None:
        self._log(masked(line))

    def _on_data(self, child: _Child, data: bytes) -> None:
        """Take octets of a child; none: it closed its end."""
        if child is not self._child:
            return
        if not data:
            self._on_exit(child)
            return
        try:
            messages = child.reader.feed(data)
        except FrameError as error:
            self._log(f"the child process of {self._settings.name} sent garbage: {error}")
            self._end_child()
            return
        for message in messages:
            if child is not self._child:  # a callback stopped us
                return
            self._take(message)

    def _on_exit(self, child: _Child) -> None:
        """A child closed its end: it is dead or as good as that."""
        child.last_words()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(0.05)  # the pipe closes a moment before the process is no more
        status = child.process.poll()
        crashed = status is not None and status < 0
        self._cautious = self._cautious or crashed
        why = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        self._log(f"the child process of {self._settings.name} ended ({why}): starting another")
        self._end_child()

    # What it says

    def _take(self, message: Message) -> None:
        if isinstance(message, Batch):
            self._alive_at = self._loop.time()
            for vm in message.vms:
                self._batch[vm.key] = vm
        elif isinstance(message, Refreshed):
            self._finish(message)
        elif isinstance(message, Unreachable):
            self._alive_at = self._loop.time()
            self._batch.clear()
            self._unreachable(message.reason)
        else:
            if isinstance(message, Changed):
                if message.vm.key in self._batch:
                    self._batch[message.vm.key] = message.vm
            else:
                self._batch.pop(message.key, None)
            self._on_message(message)

    def _finish(self, message: Refreshed) -> None:
        self._alive_at = self._loop.time()
        self._backoff.reset()
        self.up = True
        self.reason = ""
        self._told = False
        self.refreshes += 1
        self.last_refresh = time.time()
        self.refresh_seconds = message.seconds
        vms, self._batch = tuple(self._batch.values()), {}
        if vms:
            self._on_message(Batch(vms))
        self._on_message(message)

    def _unreachable(self, reason: str) -> None:
        first, self._told = not self._told, True
        self.up = False
        self.reason = reason
        if first:
            self._log(f"{self._settings.name} is unreachable: {masked(reason)}")
            self._on_message(Unreachable(reason))

    def _check_silence(self) -> None:
        """Look whether the child is silent for too long.

        When it seems so, what waits in its pipe is read first: it may be we who were stopped.
        """
        now = self._loop.time()
        limit = self._settings.limit
        left = self._alive_at + limit - now
        if left > 0:
            self._last_chance = False
        elif not self._last_chance:
            self._last_chance, left = True, LAST_CHANCE
        else:
            self._last_chance = False
            self._alive_at, left = now, limit
            self._unreachable(f"{masked(self._settings.uri)}: no answer for {limit:g} seconds")
            if self._running and self._child is not None:
                self._log(f"the child process of {self._settings.name} is stuck: ending it")
                self._end_child()
        if self._running:
            self._watch = self._loop.call_later(left, self._check_silence)


class _Child:
    """One process, its two pipes to us and the one from us."""

    def __init__(
        self,
        loop: Loop,
        settings: SourceSettings,
        on_data: Callable[[_Child, bytes], None],
        on_line: Log,
    ) -> None:
        self._loop = loop
        self._on_data = on_data
        self._on_line = on_line
        self.reader = Reader()
        self._line = bytearray()
        self._lines = 0
        self._lines_since = loop.time()
        self._messages, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.set_blocking(theirs, True)
            with contextlib.suppress(OSError):
                fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
            self.process = subprocess.Popen(  # noqa: S603 (our own module)
                _command(theirs),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs,),
                env=_environment(),
                start_new_session=True,  # no terminal to prompt on; helpers (ssh) die with it
            )
        except BaseException:
            os.close(self._messages)
            raise
        finally:
            os.close(theirs)
        stdin, stderr = self.process.stdin, self.process.stderr
        if stdin is None or stderr is None:  # not with PIPE
            raise OSError("no pipes")
        self._stdin, self._stderr = stdin, stderr
        body = msgspec.msgpack.encode(settings)
        # A few hundred octets into an empty pipe; a child that died at once shows by its end
        with contextlib.suppress(OSError):
            stdin.write(len(body).to_bytes(4, "big") + body)
            stdin.flush()
        os.set_blocking(stderr.fileno(), False)
        loop.add_reader(self._messages, self._readable)
        loop.add_reader(stderr.fileno(), self._stderr_readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._messages, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._loop.remove_reader(self._messages)
        self._on_data(self, data)

    def _stderr_readable(self) -> None:
        try:
            data = os.read(self._stderr.fileno(), READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._loop.remove_reader(self._stderr.fileno())
            self._flush_line()
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._append(line)
            self._flush_line()
        self._append(rest)

    def _append(self, data: bytes) -> None:
        self._line += data[: LONGEST_LINE - len(self._line)]

    def _flush_line(self) -> None:
        line = self._line.decode("utf-8", "replace").strip()
        self._line.clear()
        if not line:
            return
        now = self._loop.time()
        if now - self._lines_since >= 60:
            if self._lines > MOST_LINES:
                self._on_line(f"{self._lines - MOST_LINES} more lines of a child left out")
            self._lines, self._lines_since = 0, now
        self._lines += 1
        if self._lines <= MOST_LINES:
            self._on_line(line)

    def leave(self) -> None:
        """Ask it to leave, and listen no more."""
        self._loop.remove_reader(self._messages)
        with contextlib.suppress(OSError):
            self._stdin.close()

    def kill(self) -> None:
        """End it and whatever it started, and release our ends. Does not wait."""
        self.last_words()
        self.leave()
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        if self._messages >= 0:
            os.close(self._messages)
            self._messages = -1
        self._loop.remove_reader(self._stderr.fileno())
        self._stderr.close()

    def last_words(self) -> None:
        """Hear what it still said on its standard error."""
        with contextlib.suppress(OSError, ValueError):
            self._stderr_readable()
        self._flush_line()


def _command(fd: int) -> list[str]:
    # -P: what lies in the present directory is not to be imported
    return [
        sys.executable, "-P", "-m", "vmmib.hypervisor.worker",
        "--fd", str(fd), "--parent", str(os.getpid()),
    ]  # fmt: skip


def _environment() -> dict[str, str]:
    """The child's environment: ours, our package, and few arenas for malloc.

    glibc would give each thread an arena, and what a parse left free in one none of the others
    could use.
    """
    path = os.environ.get("PYTHONPATH", "")
    return os.environ | {
        "PYTHONPATH": f"{_PACKAGE_ROOT}{os.pathsep}{path}" if path else _PACKAGE_ROOT,
        "MALLOC_ARENA_MAX": "1",
    }


Snapshot = tuple[Hypervisor, list[Vm], tuple[Disk, ...]]


class _Once(Supervisor):
    """Of a child that is asked once: its death is an answer, too."""

    def _on_exit(self, child: _Child) -> None:
        child.last_words()
        self._unreachable(f"{masked(self._settings.uri)}: the child process died: {self.heard}")

    def _on_line(self, line: str) -> None:
        self.heard = masked(line)

    heard = "no word why"


def snapshot(settings: SourceSettings, timeout: float) -> Snapshot:
    """Ask a hypervisor once, through a child process: itself, its VMs, its unused volumes.

    Takes `timeout` seconds at the most. Raises SourceError.
    """
    loop = Loop()
    vms: dict[str, Vm] = {}
    result: list[Snapshot] = []
    failures: list[str] = []

    def take(message: Message) -> None:
        if isinstance(message, Batch):
            vms.update((vm.key, vm) for vm in message.vms)
        elif isinstance(message, Changed):
            vms[message.vm.key] = message.vm
        elif isinstance(message, Removed):
            vms.pop(message.key, None)
        elif isinstance(message, Refreshed):
            result.append((message.hypervisor, list(vms.values()), message.volumes or ()))
            loop.stop()
        else:
            failures.append(message.reason)
            loop.stop()

    patient = msgspec.structs.replace(settings, silence_limit=timeout, poll_interval=timeout)
    child = _Once(loop, patient, take, lambda _: None)
    try:
        child.start()
        loop.call_later(timeout, loop.stop)
        loop.run()
    finally:
        child.stop()
        loop.close()
    if result:
        return result[0]
    uri = masked(settings.uri)
    raise SourceError(failures[0] if failures else f"{uri}: no answer within {timeout:g} seconds")
