"""What the agent remembers of a hypervisor between two runs, and the file that it keeps it in.

One JSON file per hypervisor, replaced whole (written beside, flushed, renamed), so that a crash at
any moment leaves the old or the new one. A file that is missing, damaged, of another hypervisor or
not to be written is reported and survived: the agent then numbers from what it still knows.
"""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from urllib.parse import quote

import msgspec
import structlog

FORMAT = 1


class VmMemory(msgspec.Struct, omit_defaults=True):
    """One VM: its numbers, and what was last known of it."""

    index: int
    name: str
    oper: int
    admin: int
    persistent: int
    uuid: str = ""
    """32 hex digits, or empty."""
    up_since: float | None = None
    """Steady seconds since the epoch of the last change from shutdown to running."""
    started: float | None = None
    disks: dict[str, int] = {}
    """vmStorageIndex by target."""
    nics: dict[str, int] = {}
    """vmNetworkIndex by MAC address."""
    gone: bool = False
    """Deleted; kept until the hypervisor's next start, so that its index is not given again."""


class Memory(msgspec.Struct, omit_defaults=True):
    """One hypervisor. Times are of a SteadyClock."""

    uri: str
    format: int = FORMAT
    boot_id: str = ""
    anchor: float | None = None
    """Of the clock, valid while `boot_id` is the host's."""
    started: float | None = None
    """When the hypervisor was last initialised, as it says itself."""
    first_seen: float | None = None
    table_changed: float | None = None
    """The last creation or deletion of a VM that was seen."""
    next_index: int = 1
    free: list[int] = []
    """Indexes below `next_index` that the hypervisor's restart freed."""
    vms: dict[str, VmMemory] = {}
    volumes: dict[str, int] = {}
    """vmStorageIndex of storage volumes that belong to no VM, by volume."""


class StateFile:
    """Loads a Memory once and saves it from then on, on a thread of its own (fsync blocks)."""

    def __init__(self, directory: Path | None, name: str, uri: str) -> None:
        """`directory` None: nothing is kept. `name`: the hypervisor's, unique in the agent."""
        self._path = None if directory is None else directory / f"{quote(name, safe='')}.json"
        self._uri = uri
        self._log = structlog.get_logger().bind(hypervisor=name)
        self._failed = False
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def load(self) -> Memory:
        """What the file holds; an empty Memory, with a line in the log, when that is no use."""
        empty = Memory(uri=self._uri)
        if self._path is None:
            return empty
        try:
            memory = msgspec.json.decode(self._path.read_bytes(), type=Memory)
        except FileNotFoundError:
            self._log.info("state_file_new", path=str(self._path))
            return empty
        except OSError as error:
            self._log.warning(
                "state_file_unreadable",
                path=str(self._path),
                error=error.strerror,
                remedy="indexes start anew; check the owner and mode of the file",
            )
            return empty
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._set_aside(str(error))
            return empty
        problem = _problem(memory)
        if problem:
            self._set_aside(problem)
            return empty
        if memory.uri != self._uri:
            self._log.warning(
                "state_file_of_other_hypervisor",
                path=str(self._path),
                remedy="indexes start anew; give each hypervisor a name of its own",
            )
            return empty
        return memory

    def _set_aside(self, problem: str) -> None:
        """Keep a damaged file for whoever wants to look; the next save takes its place."""
        assert self._path is not None  # noqa: S101 - load() returned before
        aside = self._path.with_suffix(".damaged")
        try:
            self._path.replace(aside)
        except OSError:
            aside = self._path
        self._log.warning(
            "state_file_damaged", path=str(aside), error=problem, remedy="indexes start anew"
        )

    def save(self, memory: Memory) -> None:
        """Write `memory` soon; returns at once."""
        if self._path is None:
            return
        self._queue.put(msgspec.json.encode(memory))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="state-file", daemon=True)
            self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Wait until what was saved is written, `timeout` seconds at most."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout)
            self._thread = None

    def _write_all(self) -> None:
        while True:
            data = self._queue.get()
            while data is not None and not self._queue.empty():  # only the newest matters
                newer = self._queue.get()
                if newer is None:
                    self._write(data)
                data = newer
            if data is None:
                return
            self._write(data)

    def _write(self, data: bytes) -> None:
        assert self._path is not None  # noqa: S101 - save() returned before
        beside = self._path.with_suffix(".new")
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            if not self._failed:
                self._log.warning(
                    "state_file_not_written",
                    path=str(self._path),
                    error=error.strerror,
                    remedy="indexes are stable until the agent stops, not longer; "
                    "check the directory's owner, mode and free space",
                )
            self._failed = True
        else:
            self._failed = False


def _problem(memory: Memory) -> str:
    """Why a decoded file cannot be trusted, or ""."""
    if memory.format != FORMAT:
        return f"format {memory.format}, this release reads {FORMAT}"
    indexes = [vm.index for vm in memory.vms.values()]
    numbers = [
        *indexes,
        *memory.volumes.values(),
        *(n for vm in memory.vms.values() for n in (*vm.disks.values(), *vm.nics.values())),
        memory.next_index,
        *memory.free,
    ]
    if not all(1 <= number <= 2**31 - 1 for number in numbers):
        return "an index is out of 1..2147483647"
    taken = [*indexes, *memory.free]
    if len(set(taken)) != len(taken) or any(index >= memory.next_index for index in taken):
        return "an index stands twice or is not below next_index"
    for group in (memory.volumes, *(vm.disks for vm in memory.vms.values())):
        if len(set(group.values())) != len(group):
            return "a storage index stands twice"
    if any(len(set(vm.nics.values())) != len(vm.nics) for vm in memory.vms.values()):
        return "a network index stands twice"
    if not all(1 <= vm.oper <= 12 and 1 <= vm.admin <= 4 for vm in memory.vms.values()):
        return "a state is out of range"
    if not all(1 <= vm.persistent <= 3 for vm in memory.vms.values()):
        return "a persistence is out of range"
    return ""
