"""The child process that watches one hypervisor: `python -m vmmib.hypervisor.worker --fd N`.

It reads one SourceSettings (msgpack behind a 4-octet length) from its standard input, writes
messages (messages.py) to descriptor N, and leaves when its standard input ends, when nobody reads
the messages any more, or when its parent dies. What goes wrong beyond a hypervisor that does not
answer ends the process with a line on standard error: the supervisor starts a new one.

Small on purpose: one such process runs per hypervisor, so nothing big is imported here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import msgspec

from vmmib.backoff import Backoff
from vmmib.hypervisor import libvirt_connection
from vmmib.hypervisor.libvirt_domains import DomainsSource, run_event_loop
from vmmib.hypervisor.libvirt_esx import EsxSource
from vmmib.hypervisor.messages import Message, Unreachable, encode
from vmmib.hypervisor.settings import SourceSettings, driver_of
from vmmib.hypervisor.source import Emit, Source, SourceError

LENGTH = struct.Struct("!I")

LONGEST_SETTINGS = 1 << 20

IDLE = 3600.0
"""Seconds for which a thread waits at a time."""

FIRST_SURVEY = 3.0
"""Seconds that the first refresh waits for the sizes of disks, so that it can have them."""

LEAVE_WITHIN = 0.4
"""Seconds for closing the connection when asked to leave."""

_PR_SET_PDEATHSIG = 1
_FAILED = 70  # EX_SOFTWARE of sysexits(3)


def make_source(settings: SourceSettings, emit: Emit) -> Source:
    """The source for a URI."""
    if driver_of(settings.uri) in libvirt_connection.ESX_DRIVERS:
        return EsxSource(settings, emit)
    return DomainsSource(settings, emit, first_survey=FIRST_SURVEY)


class Writer:
    """Writes whole messages to a descriptor; a lost reader ends the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def __call__(self, message: Message) -> None:
        """Send one message; waits for as long as the reader is behind."""
        data = memoryview(encode(message))
        with self._lock:
            while data:
                try:
                    data = data[os.write(self._fd, data) :]
                except BrokenPipeError:
                    os._exit(0)


class Worker:
    """Runs a source's threads (see source.py)."""

    def __init__(self, settings: SourceSettings, emit: Emit) -> None:
        self._settings = settings
        self._emit = emit
        self._source = make_source(settings, emit)
        self._stop = threading.Event()
        self._settled = False

    def start(self) -> threading.Thread:
        """Start the threads; return the poller."""
        poller = threading.Thread(target=self._poll, name="poller", daemon=True)
        poller.start()
        for method, name in ((self._source.ask, "asker"), (self._source.survey, "surveyor")):
            threading.Thread(target=self._repeat, args=(method,), name=name, daemon=True).start()
        return poller

    def stop(self) -> None:
        """Have the poller close the connection and end."""
        self._stop.set()
        self._source.wake()

    def _repeat(self, method: Callable[[float], None]) -> None:
        while not self._stop.is_set():
            method(IDLE)

    def _poll(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                self._source.connect()
                self._refresh_until_lost(backoff)
            except SourceError as error:
                self._emit(Unreachable(str(error)))
            finally:
                self._source.close()
            self._stop.wait(backoff.wait())

    def _refresh_until_lost(self, backoff: Backoff) -> None:
        source, interval = self._source, self._settings.poll_interval
        due = time.monotonic()
        while not self._stop.is_set():
            source.refresh()
            backoff.reset()
            if not self._settled:
                self._settled = True
                settle_memory()
            # Late or not, the hypervisor gets a pause between two polls
            due = max(due + interval, time.monotonic() + interval / 10)
            while not self._stop.is_set() and (wait := due - time.monotonic()) > 0:
                source.sleep(wait)


def settle_memory() -> None:
    """After the first refresh, give back what parsing took and stop looking at what stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def read_settings(stream: int) -> SourceSettings | None:
    """Take the settings from a descriptor; None when it ended before."""
    (length,) = LENGTH.unpack(header) if (header := _read_exactly(stream, 4)) else (0,)
    if not 0 < length <= LONGEST_SETTINGS:
        return None
    body = _read_exactly(stream, length)
    return msgspec.msgpack.decode(body, type=SourceSettings) if body else None


def _read_exactly(stream: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = os.read(stream, count - len(data))
        if not chunk:
            return b""
        data += chunk
    return data


def _die_with_parent(parent: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _yield_to_others(nice: int) -> None:
    """Lower the priority, also where the kernel shares the CPUs out among sessions first.

    This process leads a session of its own; its autogroup has a niceness of its own (sched(7)).
    """
    with contextlib.suppress(OSError):
        os.nice(nice)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(f"{nice}\n", encoding="ascii")


def _fail(
    kind: type[BaseException], error: BaseException | None, where: TracebackType | None
) -> NoReturn:
    """Say in one line what a thread stumbled over, and end: half a child would look alive."""
    frames = traceback.extract_tb(where)
    place = f"{frames[-1].name}:{frames[-1].lineno}" if frames else "?"
    text = " ".join(str(error).split())
    sys.stderr.write(f"error in the child process: {kind.__name__}: {text} (at {place})\n")
    sys.stderr.flush()
    os._exit(_FAILED)


def main(arguments: list[str]) -> int:
    """Run the child; `arguments` are --fd N --parent PID."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    fd = int(options["--fd"])
    _die_with_parent(int(options["--parent"]))
    for one in (signal.SIGINT, signal.SIGHUP):  # the parent's to handle
        signal.signal(one, signal.SIG_IGN)
    settings = read_settings(0)
    if settings is None:
        return 0
    _yield_to_others(settings.nice)
    # The event thread is to get the interpreter soon, whatever a refresh does
    sys.setswitchinterval(0.001)
    threading.excepthook = lambda args: _fail(args.exc_type, args.exc_value, args.exc_traceback)
    libvirt_connection.silence()
    worker = Worker(settings, Writer(fd))
    run_event_loop()
    poller = worker.start()
    while os.read(0, 4096):
        pass
    worker.stop()
    poller.join(LEAVE_WITHIN)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
