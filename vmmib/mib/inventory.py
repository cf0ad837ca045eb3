"""What is known of one hypervisor: its VMs with their indexes, states and up times.

One function turns what the source says into what VM-MIB shows and announces: `Inventory.apply`
takes each message in order and returns the state changes that it brought. Events and polls come
through it alike, each compared with what was known before, so both say the same thing once.

Rules:
- An index belongs to a UUID (a name, where the hypervisor knows no UUID), a disk's to its target,
  a network interface's to its MAC address. None is given twice between two starts of the
  hypervisor; what was deleted keeps its own until then.
- While the hypervisor does not answer, its VMs stay, with the state unknown(1). Changes are told
  against the state that was known before the silence.
- vmUpTime runs from the change of the administrative state from shutdown to running. A save and
  restore does not end it; a process that began anew without being restored does.
- The first look at a hypervisor that nothing is remembered of announces nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from vmmib.clock import SteadyClock, boot_id
from vmmib.hypervisor.messages import Batch, Changed, Message, Refreshed, Removed, Unreachable
from vmmib.hypervisor.model import (
    AdminState,
    Disk,
    Hypervisor,
    OperState,
    Persistent,
    Vm,
)
from vmmib.mib.memory import Memory, VmMemory

MAX_TOMBSTONES = 4096
"""Deleted VMs whose index is remembered for their return."""

_RESTART_TOLERANCE = 60.0
"""Seconds by which two readings of one start of the hypervisor may differ."""

_PROCESS_TOLERANCE = 5.0
"""Seconds by which two readings of one start of a VM's process may differ."""

_INACTIVE = frozenset({OperState.SHUTDOWN, OperState.SUSPENDED, OperState.CRASHED})
_ACTIVE_UNKNOWN = frozenset({OperState.UNKNOWN, OperState.OTHER, OperState.PREPARING})


class Row(msgspec.Struct, frozen=True):
    """One VM as VM-MIB shows it."""

    index: int
    vm: Vm
    """As the source last described it; see `oper` and `admin` for its states."""
    oper: OperState
    admin: AdminState
    up_since: float | None
    """Steady seconds since the epoch; None while it is shut down."""
    disks: tuple[int, ...]
    """vmStorageIndex of each of vm.disks."""
    nics: tuple[int, ...]
    """vmNetworkIndex of each of vm.nics."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of one VM's operational state."""

    index: int
    name: str
    uuid: bytes
    before: OperState
    after: OperState | None
    """None: the VM was deleted."""
    persistent: Persistent


class Inventory:
    """The VMs of one hypervisor.

    `rows` is to be read only; `layout` grows whenever the set of rows of any table changed, and
    `version` whenever anything did.
    """

    def __init__(self, memory: Memory, clock: SteadyClock | None = None) -> None:
        this_boot = boot_id()
        if clock is None:
            clock = SteadyClock(memory.anchor if memory.boot_id == this_boot else None)
        memory.boot_id, memory.anchor = this_boot, clock.anchor
        self.clock = clock
        self.memory = memory
        self.hypervisor: Hypervisor | None = None
        self.reachable = False
        self.reason = ""
        """Why the hypervisor is not reachable; "" while it is, or as long as nothing is known."""
        self.rows: dict[str, Row] = {}
        self.volumes: tuple[tuple[int, Disk], ...] = ()
        self.version = 0
        self.layout = 0
        self._batch: dict[str, Vm] = {}
        # Something is remembered, so what differs from it is a change and not a first sight.
        self._known = bool(memory.vms)

    # What the scalars show

    @property
    def started(self) -> float | None:
        """Steady seconds since the epoch of the hypervisor's start.

        Where the hypervisor does not tell it: of the first time that it was seen, the latest start
        that it can have had. None before the first contact.
        """
        return self.memory.started if self.memory.started is not None else self.memory.first_seen

    @property
    def table_changed(self) -> float | None:
        """Steady seconds since the epoch of the last creation or deletion of a VM; None: none."""
        return self.memory.table_changed

    # What the source says

    def apply(self, message: Message) -> list[Transition]:
        """Take one message; return the changes of state that it brought, in order."""
        match message:
            case Batch():
                for vm in message.vms:
                    self._batch[vm.key] = vm
                return []
            case Refreshed():
                return self._refreshed(message)
            case Changed():
                self._batch.pop(message.vm.key, None)
                self._answered()
                self.version += 1
                return list(self._update(message.vm))
            case Removed():
                self._batch.pop(message.key, None)
                self._answered()
                return list(self._remove(message.key))
            case Unreachable():
                self._silent(message.reason)
                return []

    def _silent(self, reason: str) -> None:
        """Show every VM's state as unknown until the source speaks again."""
        self.reason = reason
        self._batch.clear()
        if not self.reachable:
            return
        self.reachable = False
        self.version += 1
        self.rows = {
            key: msgspec.structs.replace(row, oper=OperState.UNKNOWN)
            for key, row in self.rows.items()
        }

    def _answered(self) -> None:
        """Show the last known states again, those of VMs that the source is yet to speak of."""
        if self.reachable:
            return
        self.reachable, self.reason = True, ""
        self.version += 1
        remembered = self.memory.vms
        self.rows = {
            key: msgspec.structs.replace(row, oper=OperState(remembered[key].oper))
            for key, row in self.rows.items()
        }

    def _refreshed(self, message: Refreshed) -> list[Transition]:
        batch, self._batch = self._batch, {}
        self._hypervisor(message.hypervisor)
        self._answered()
        self.version += 1
        changes: list[Transition] = []
        vms: Iterable[Vm] = batch.values()
        if not self._known:  # the first indexes follow the names, not the hypervisor's hash table
            vms = sorted(vms, key=lambda vm: _natural(vm.name))
        for vm in vms:
            changes += self._update(vm)
        if message.complete:
            gone = [
                key for key, known in self.memory.vms.items() if not known.gone and key not in batch
            ]
        else:
            gone = list(message.removed)
        for key in gone:
            changes += self._remove(key)
        if message.volumes is not None:
            self._set_volumes(message.volumes)
        self._known = self._known or message.complete
        return changes

    def _hypervisor(self, hypervisor: Hypervisor) -> None:
        memory = self.memory
        if hypervisor == self.hypervisor:
            return
        now = self.clock.now()
        self.hypervisor = hypervisor
        if memory.first_seen is None:
            memory.first_seen = now
        if hypervisor.started is None:
            return
        started = min(self.clock.from_wall(hypervisor.started), now)
        if memory.started is not None and started > memory.started + _RESTART_TOLERANCE:
            self._restarted()
        elif memory.started is not None and abs(started - memory.started) <= _RESTART_TOLERANCE:
            return  # the same start, read again: keep vmHvUpTime from wavering
        memory.started = started

    def _restarted(self) -> None:
        """Free the indexes of deleted VMs: the hypervisor was initialised anew."""
        memory = self.memory
        memory.vms = {key: known for key, known in memory.vms.items() if not known.gone}
        taken = {known.index for known in memory.vms.values()}
        memory.next_index = max(taken, default=0) + 1
        memory.free = sorted(set(range(1, memory.next_index)) - taken)

    # One VM

    def _update(self, vm: Vm) -> Iterator[Transition]:
        known = self.memory.vms.get(vm.key)
        old = self.rows.get(vm.key)
        if known is None or known.gone:
            created = True
            known = self._admit(vm, known)
        else:
            created = False
        before = OperState(known.oper)
        admin = self._admin(vm, known, created=created)
        up_since = self._up_since(vm, admin, known, created=created)
        if old is None or not _same_layout(old.vm, vm):
            self.layout += 1
            disks = _numbers(known.disks, (disk.target for disk in vm.disks))
            nics = _numbers(known.nics, (nic.mac.hex() for nic in vm.nics))
        else:
            disks, nics = old.disks, old.nics
        self.rows[vm.key] = Row(known.index, vm, vm.oper, admin, up_since, disks, nics)
        known.name = vm.name
        known.uuid = vm.uuid.hex()
        known.persistent = int(vm.persistent)
        known.admin = int(admin)
        known.up_since = up_since
        if vm.started is not None:
            known.started = self.clock.from_wall(vm.started)
        if vm.oper is OperState.UNKNOWN:
            return  # nothing is known of the state now: the next one is told against the last
        known.oper = int(vm.oper)
        if created:
            if not self._known or vm.oper in _INACTIVE or vm.oper in _ACTIVE_UNKNOWN:
                return
            before = OperState.UNKNOWN
        if before != vm.oper:
            yield Transition(known.index, vm.name, vm.uuid, before, vm.oper, vm.persistent)

    def _admit(self, vm: Vm, gone: VmMemory | None) -> VmMemory:
        memory = self.memory
        if gone is not None:
            known = gone
            known.gone = False
            known.up_since = known.started = None
        else:
            known = VmMemory(
                index=self._new_index(),
                name=vm.name,
                oper=int(OperState.UNKNOWN),
                admin=int(AdminState.SHUTDOWN),
                persistent=int(vm.persistent),
            )
        memory.vms[vm.key] = known
        if self._known:
            memory.table_changed = self.clock.now()
        return known

    def _new_index(self) -> int:
        memory = self.memory
        if memory.free:
            return memory.free.pop(0)
        memory.next_index += 1
        return memory.next_index - 1

    @staticmethod
    def _admin(vm: Vm, known: VmMemory, *, created: bool) -> AdminState:
        if vm.admin is not None:
            return vm.admin
        if created:
            return AdminState.SHUTDOWN if vm.oper in _INACTIVE else AdminState.RUNNING
        return AdminState(known.admin)

    def _up_since(
        self, vm: Vm, admin: AdminState, known: VmMemory, *, created: bool
    ) -> float | None:
        if admin is AdminState.SHUTDOWN:
            return None
        began = None if vm.started is None else self.clock.from_wall(vm.started)
        was_up = not created and known.admin != AdminState.SHUTDOWN and known.up_since is not None
        if was_up:
            restarted = (
                began is not None
                and not vm.restored
                and known.started is not None
                and began > known.started + _PROCESS_TOLERANCE
            )
            return began if restarted else known.up_since
        if began is not None:
            return began
        if admin is AdminState.SUSPENDED and vm.oper is OperState.SUSPENDED:
            return None  # saved before it was ever seen: when it started cannot be told
        return self.clock.now()

    def _remove(self, key: str) -> Iterator[Transition]:
        known = self.memory.vms.get(key)
        if known is None or known.gone:
            return
        self.rows.pop(key, None)
        known.gone = True
        # Where it stands among the deleted is its age: the oldest are forgotten first.
        self.memory.vms[key] = self.memory.vms.pop(key)
        self._forget_tombstones()
        self.memory.table_changed = self.clock.now()
        self.version += 1
        self.layout += 1
        yield Transition(
            index=known.index,
            name=known.name,
            uuid=bytes.fromhex(known.uuid),
            before=OperState(known.oper),
            after=None,
            persistent=Persistent(known.persistent),
        )

    def _forget_tombstones(self) -> None:
        vms = self.memory.vms
        excess = len(vms) - len(self.rows) - MAX_TOMBSTONES
        if excess > MAX_TOMBSTONES // 8:  # in strides: the scan is not for every deletion
            gone = [key for key, known in vms.items() if known.gone]
            for key in gone[: len(gone) - MAX_TOMBSTONES]:
                del vms[key]

    def _set_volumes(self, volumes: tuple[Disk, ...]) -> None:
        numbers = _numbers(self.memory.volumes, (volume.target for volume in volumes))
        numbered = tuple(sorted(zip(numbers, volumes, strict=True), key=lambda pair: pair[0]))
        if [number for number, _ in numbered] != [number for number, _ in self.volumes]:
            self.layout += 1
        self.volumes = numbered


def _natural(name: str) -> str:
    """What to sort names by so that vm2 comes before vm10."""
    return re.sub("[0-9]+", lambda number: number[0].zfill(20), name)


def _same_layout(old: Vm, new: Vm) -> bool:
    """Whether both have the same CPUs, affinity rows, disks and interfaces."""
    return (
        len(old.cpus) == len(new.cpus)
        and len(old.disks) == len(new.disks)
        and len(old.nics) == len(new.nics)
        and all(
            a.number == b.number and len(a.affinity) == len(b.affinity)
            for a, b in zip(old.cpus, new.cpus, strict=True)
        )
        and all(a.target == b.target for a, b in zip(old.disks, new.disks, strict=True))
        and all(a.mac == b.mac for a, b in zip(old.nics, new.nics, strict=True))
    )


def _numbers(remembered: dict[str, int], keys: Iterable[str]) -> tuple[int, ...]:
    """The number of each key, new ones above all that were ever given.

    Keys are unique where the hypervisor keeps its own rules; of equal ones the later get a suffix.
    """
    numbers = []
    seen: Counter[str] = Counter()
    for key in keys:
        seen[key] += 1
        name = key if seen[key] == 1 else f"{key}#{seen[key]}"
        number = remembered.get(name)
        if number is None:
            number = remembered[name] = max(remembered.values(), default=0) + 1
        numbers.append(number)
    return tuple(numbers)
