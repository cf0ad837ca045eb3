"""Domains by libvirt's own means: QEMU, Xen, LXC, the test driver and whatever is alike.

Theory of operation
-------------------
Three things tell of a VM: events, polls, and questions.

- An event is turned into a message on the spot, from its type and the VM as last known. It makes
  no call, for it comes on the thread that reads the connection. Then the VM is put down for a
  question, which reads it in full a moment later.
- A poll lists all domains and reads their states and counters in portions.
- A question reads one VM: after an event (once the burst that it belongs to is over), when the
  event left open what it meant (states.from_event), and to confirm what only a poll saw.

One lock orders what they say. An event advances the VM's `mark`; a reading that began before the
mark is void, the VM will be read again. So an event is never undone by an older reading. The
other way round a poll may be ahead of events that are still on their way: a state that no event
has told of is therefore believed only after SETTLE without one. Hence a change is told once, by
whichever is first, and in order.

Definitions are read when events say that they changed, after each connect, and in any case every
DEFINITION_AGE seconds, for there are changes without an event. Autostart, persistence and managed
saves come with each poll, from three lists filtered by the daemon, whatever the number of VMs.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import libvirt
import msgspec

from vmmib.hypervisor import host, libvirt_connection, states, xml
from vmmib.hypervisor.assemble import (
    Placement,
    Reading,
    affinity_of,
    assemble,
    mask_of_map,
)
from vmmib.hypervisor.guarded import Guarded, identity_of
from vmmib.hypervisor.identity import cpu_count, identify, outline
from vmmib.hypervisor.known import ACTIVE, NO_FLAGS, Flags, Known
from vmmib.hypervisor.libvirt_connection import Connection, Domain, LibvirtError
from vmmib.hypervisor.messages import Batch, Changed, Refreshed, Removed
from vmmib.hypervisor.model import AutoStart, Disk, Hypervisor, Persistent, Vm
from vmmib.hypervisor.readers import BulkReader, EachReader, Raw, Reader
from vmmib.hypervisor.settings import SourceSettings, driver_of, is_local
from vmmib.hypervisor.source import Emit, SourceError
from vmmib.hypervisor.storage import Surveyor, Volume

SETTLE = 0.15
"""Seconds without an event of a VM after which the events of a change are all there."""

SETTLE_LONGEST = 1.0
"""Seconds after which a VM with events without end is read nevertheless."""

DEFINITION_AGE = 600.0
IDENTITY_AGE = 60.0
PLACEMENT_AGE = 60.0
"""Seconds after which these are read again without being told to."""

States = states.States

# Looked up once: an enumeration's members take as long to look up as a struct to build
_ENABLED, _DISABLED = AutoStart.ENABLED, AutoStart.DISABLED
_TRANSIENT, _PERSISTENT = Persistent.TRANSIENT, Persistent.PERSISTENT

_FLAG_LISTS = (
    libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART,
    libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT,
    libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE,
)

_DEFINITION_EVENTS = (
    "REBOOT",
    "DISK_CHANGE",
    "TRAY_CHANGE",
    "PMWAKEUP",
    "PMSUSPEND",
    "PMSUSPEND_DISK",
    "DEVICE_REMOVED",
    "DEVICE_ADDED",
    "BLOCK_JOB_2",
    "TUNABLE",
    "METADATA_CHANGE",
    "JOB_COMPLETED",
    "MIGRATION_ITERATION",
    "CONTROL_ERROR",
    "MEMORY_DEVICE_SIZE_CHANGE",
)
"""Events after which a VM is read again. Not BALLOON_CHANGE: some guests send it all the time,
and polls see its outcome."""


class DomainsSource:
    """See the module. In-process use: connect(), then refresh(), ask(0) and survey(0) at will."""

    def __init__(
        self,
        settings: SourceSettings,
        emit: Emit,
        connector: libvirt_connection.Connector = libvirt_connection.connect,
        first_survey: float = 0.0,
    ) -> None:
        """`first_survey`: how long the first refresh waits for a survey on another thread."""
        self._settings = settings
        self._emit = emit
        self._connector = connector
        self._first_survey = first_survey
        # The test driver's domains are of no host
        self._on_host = is_local(settings.uri) and driver_of(settings.uri) != "test"
        self._opened = time.time()
        self._boot = host.BootTime()
        self._processes = host.Processes()
        self._connection: Connection = None
        self._generation = 0
        self._callbacks: list[int] = []
        self._eventful = False
        self._driver = ""
        self._reader: Reader | None = None
        self._guarded = Guarded(settings, connector)
        self._surveyor = Surveyor(
            settings, self._guarded, lambda line: identify(line, settings, self._opened)
        )
        self._hypervisor: Hypervisor | None = None
        self._outlined_at = 0.0
        self._cpu_count = 0
        self._lists_work = True
        self._pins_work = True
        self._lost = ""
        self._awake = threading.Event()
        self._lock = threading.RLock()
        self._asked = threading.Condition(self._lock)
        self._questions: dict[Known, float] = {}
        self._vms: dict[bytes | str, Known] = {}
        self._mark = 0
        self._round = 0
        self._complete = False
        self._volumes: tuple[Disk, ...] = ()
        self._volumes_of: list[Volume] | None = None
        self._redefined = False
        self._surveys = 0

    # The connection

    def connect(self) -> None:
        """See Source."""
        self.close()
        connection = self._connector(self._settings)
        try:
            self._driver = connection.getType()
            self._connection = connection
            self._cpu_count = cpu_count(connection)
            self._reader = self._choose_reader(connection)
            self._subscribe(connection)
        except LibvirtError as error:
            self.close()
            raise libvirt_connection.failure(self._settings, error) from None
        self._guarded.attach(connection, self._settings.uri.startswith("test:"))
        self._surveyor.attach()

    def _choose_reader(self, connection: Connection) -> Reader:
        each = EachReader(connection, self._cpu_count)
        if self._driver == "TEST":
            return each
        try:
            connection.domainListGetStats([], 0, 0)
        except LibvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
                return each
        except (TypeError, AttributeError):
            return each
        return BulkReader(connection, self._driver, self._guarded)

    def _subscribe(self, connection: Connection) -> None:
        """Register for the events that the driver has."""
        generation = self._generation
        self._eventful = False
        with contextlib.suppress(LibvirtError):
            connection.registerCloseCallback(self._on_close, generation)
        try:
            self._callbacks.append(
                connection.domainEventRegisterAny(
                    None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, generation
                )
            )
            self._eventful = True
        except LibvirtError:
            # The driver has none, or does not let us have them: polls see the same, later
            if libvirt_connection.is_dead(connection):
                raise
            return
        for name in _DEFINITION_EVENTS:
            number = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{name}", None)
            if number is None:
                continue
            with contextlib.suppress(LibvirtError):
                self._callbacks.append(
                    connection.domainEventRegisterAny(
                        None, number, self._on_definition_event, generation
                    )
                )

    def close(self) -> None:
        """See Source."""
        with self._lock:
            self._generation += 1
            connection, self._connection = self._connection, None
            callbacks, self._callbacks = self._callbacks, []
            self._questions.clear()
            self._surveyor.detach()
            self._guarded.detach()
            self._reader = None
            self._hypervisor = None
            self._complete = False
            self._volumes, self._volumes_of = (), None
            self._lists_work = self._pins_work = True
            self._lost = ""
            for known in self._vms.values():
                known.dom = None
                known.stale = True
                known.raw = known.unsure = known.first_question = None
        if connection is None:
            return
        # A callback that stays registered keeps the connection, and its socket, for ever
        for callback in callbacks:
            with contextlib.suppress(LibvirtError):
                connection.domainEventDeregisterAny(callback)
        with contextlib.suppress(LibvirtError):
            connection.unregisterCloseCallback()
        libvirt_connection.close(connection)

    def _on_close(self, _connection: Connection, reason: int, generation: int) -> None:
        why = {0: "error", 1: "closed by the daemon", 2: "no answer to keepalive", 3: "closed"}
        with self._lock:
            if generation == self._generation:
                self._lost = f"connection lost ({why.get(reason, 'unknown')})"
                self._awake.set()

    def wake(self) -> None:
        """See Source."""
        with self._asked:
            self._asked.notify_all()
        self._surveyor.wake()
        self._awake.set()

    def sleep(self, seconds: float) -> None:
        """See Source."""
        if not self._lost:
            self._awake.wait(seconds)
            self._awake.clear()
        if self._lost:
            raise libvirt_connection.failure(self._settings, RuntimeError(self._lost))

    # Polls

    def refresh(self) -> None:
        """See Source."""
        try:
            self._refresh()
        except LibvirtError as error:
            raise libvirt_connection.failure(self._settings, error) from None

    def _refresh(self) -> None:
        connection, reader = self._connection, self._reader
        if connection is None or reader is None:
            raise SourceError(f"{self._settings.name}: not connected")
        began = time.monotonic()
        complete = not self._complete
        self._round += 1
        with self._lock:
            mark = self._mark
        listed = self._list(connection)
        flags = self._read_flags(connection)
        self._define_stale(listed)
        if complete:
            self._surveyor.request()
            if self._first_survey:
                self._surveyor.wait(self._first_survey)
        self._take_sizes(listed)
        hypervisor = self._identify(connection)
        for portion in _portions(listed, reader.portion):
            self._publish(portion, reader.read(portion), flags, mark, complete)
        removed: tuple[str, ...] = ()
        with self._lock:
            removed = self._miss(listed, mark, complete)
            if complete:
                self._send_rest()
            self._complete = True
            volumes = self._unused_volumes(complete)
            self._emit(
                Refreshed(
                    hypervisor=hypervisor,
                    complete=complete,
                    removed=() if complete else removed,
                    volumes=volumes,
                    total=sum(1 for known in self._vms.values() if known.vm is not None),
                    seconds=time.monotonic() - began,
                )
            )

    def _identify(self, connection: Connection) -> Hypervisor:
        """The Hypervisor: what is quick to learn, and the rest as soon as the surveyor knows."""
        now = time.monotonic()
        if self._hypervisor is None or now - self._outlined_at > IDENTITY_AGE:
            self._hypervisor = outline(connection, self._settings, self._opened)
            self._cpu_count = self._hypervisor.cpu_count
            self._outlined_at = now
        known = self._surveyor.hypervisor
        if known is not None and known.version != self._hypervisor.version:
            self._hypervisor = msgspec.structs.replace(
                self._hypervisor, software=known.software, version=known.version
            )
        return self._hypervisor

    def _list(self, connection: Connection) -> list[Known]:
        """All domains, as Knowns with a present `dom`."""
        doms = connection.listAllDomains(0)
        number, vms = self._round, self._vms
        listed = []
        with self._lock:
            for dom in doms:
                uuid = dom.UUID()
                identity = uuid if uuid != _ZERO else dom.name()
                known = vms.get(identity)
                if known is None:
                    known = vms[identity] = self._new(dom)
                known.dom = dom
                known.round = number
                if known.name != (name := dom.name()):
                    known.name, known.stale, known.fresh = name, True, True
                listed.append(known)
        return listed

    @staticmethod
    def _new(dom: Domain) -> Known:
        uuid = dom.UUID()
        return Known(b"" if uuid == _ZERO else uuid, dom.name(), dom)

    def _read_flags(self, connection: Connection) -> dict[bytes | str, Flags] | None:
        """Domains that have a flag of _FLAG_LISTS; None: the driver cannot filter."""
        if not self._lists_work:
            return None
        found: dict[bytes | str, Flags] = {}
        try:
            for number, flag in enumerate(_FLAG_LISTS):
                for dom in connection.listAllDomains(flag):
                    identity = identity_of(dom)
                    before = found.get(identity, NO_FLAGS)
                    found[identity] = (*before[:number], True, *before[number + 1 :])  # type: ignore[assignment]
        except LibvirtError as error:
            if not libvirt_connection.is_missing(error):
                raise
            self._lists_work = False
            return None
        return found

    def _flags_of(self, known: Known) -> Flags:
        """Autostart, transient, managed save by a call each; as before where one fails."""
        dom = known.dom
        before = known.flags or NO_FLAGS
        results = []
        calls = ((dom.autostart, 0), (dom.isPersistent, 1), (dom.hasManagedSaveImage, 0))
        for (call, inverted), last in zip(calls, before, strict=True):
            try:
                results.append(bool(call()) != bool(inverted))
            except LibvirtError as error:
                if libvirt_connection.is_gone(error):
                    raise
                results.append(last)
        return results[0], results[1], results[2]

    def _publish(
        self,
        portion: Sequence[Known],
        raws: Iterable[Raw | None],
        flags: dict[bytes | str, Flags] | None,
        mark: int,
        complete: bool,
    ) -> None:
        """Send what a portion's reading changed.

        The lock is held for one VM at a time, so that an event never waits for many. One that
        comes before the batch is sent makes its own message, and the batch goes without that VM.
        """
        changed: list[tuple[Known, Vm]] = []
        volatile = isinstance(self._reader, EachReader)
        for known, raw in zip(portion, raws, strict=True):
            if raw is None:
                with self._lock:
                    if not known.gone and known.mark <= mark:
                        self._question(known, SETTLE)  # is it gone?
                continue
            try:
                one = (
                    self._flags_of(known) if flags is None else flags.get(known.identity, NO_FLAGS)
                )
            except LibvirtError:
                continue
            if raw == known.raw and one == known.flags and not known.fresh and not complete:
                continue
            reading, one = self._read_on(known, raw, one)
            with self._lock:
                if known.gone or known.mark > mark:
                    continue
                vm = self._take(known, reading, one, complete)
                if vm is not None:
                    # What always differs is not worth keeping
                    known.raw = None if volatile and reading.state != states.SHUTOFF else raw
                    known.flags = one
                    changed.append((known, vm))
        number = self._round
        with self._lock:
            vms = []
            for known, vm in changed:
                if known.vm is vm:
                    known.sent = number
                    vms.append(vm)
            # An empty one as well: it shows that the refresh goes on
            self._emit(Batch(tuple(vms)))

    def _take(self, known: Known, reading: Reading, flags: Flags, complete: bool) -> Vm | None:
        """The VM by a reading, if it is to be sent. Holds the lock."""
        vm = self._assemble(known, reading, flags)
        before = known.vm
        if before is not None and not complete:
            if before.oper is not vm.oper and self._eventful and known.unsure is None:
                # Ahead of the events that will tell it? Then let them
                self._question(known, SETTLE)
                return None
            if vm.cpu_time_us == before.cpu_time_us and vm == before:
                return None
        known.fresh, known.unsure, known.vm = False, None, vm
        return vm

    def _read_on(self, known: Known, raw: Raw, flags: Flags) -> tuple[Reading, Flags]:
        """What a raw value says. The list of managed saves may be older than it: ask again."""
        reader = self._reader
        reading = reader.interpret(known, raw) if reader is not None else Reading(0, 0)
        if (
            reading.state == states.SHUTOFF
            and reading.reason == states.SHUTOFF_SAVED
            and not flags[2]
        ):
            with contextlib.suppress(LibvirtError):
                flags = (flags[0], flags[1], bool(known.dom.hasManagedSaveImage()))
        return reading, flags

    def _assemble(self, known: Known, reading: Reading, flags: Flags) -> Vm:
        """The VM by a reading. Holds the lock."""
        autostart, transient, managed_save = flags
        cause = (reading.state, reading.reason, managed_save, reading.job_operation,
                 reading.job_error)  # fmt: skip
        before = known.vm.oper if known.vm is not None else None
        if cause != known.cause or before is not known.derived[0]:
            known.cause = cause
            known.derived = states.derive(states.RawState(*cause, self._driver), before)
        return assemble(
            known.key,
            known.uuid,
            known.name,
            known.shape,
            reading,
            known.derived,
            _ENABLED if autostart else _DISABLED,
            _TRANSIENT if transient else _PERSISTENT,
        )

    def _miss(self, listed: list[Known], mark: int, complete: bool) -> tuple[str, ...]:
        """Deal with VMs that the list lacks; return the keys that are gone. Holds the lock."""
        number = self._round
        if len(listed) == len(self._vms):
            return ()
        removed = []
        for identity, known in list(self._vms.items()):
            if known.round == number or known.mark > mark:
                continue
            if self._eventful and not complete and known.vm is not None:
                self._question(known, SETTLE)
                continue
            known.gone = True
            del self._vms[identity]
            self._questions.pop(known, None)
            if known.vm is not None:
                removed.append(known.key)
        return tuple(removed)

    def _send_rest(self) -> None:
        """Send the VMs that a complete refresh has not, for it is to name all. Holds the lock."""
        number = self._round
        rest = [
            known.vm
            for known in self._vms.values()
            if known.sent != number and known.vm is not None
        ]
        if rest:
            self._emit(Batch(tuple(rest)))

    def _unused_volumes(self, complete: bool) -> tuple[Disk, ...] | None:
        """Volumes that no VM uses, if they are others than were sent. Holds the lock."""
        volumes = self._surveyor.volumes
        look = self._redefined or volumes is not self._volumes_of
        self._redefined, self._volumes_of = False, volumes
        if not volumes or not look:
            unused = () if not volumes else self._volumes
        else:
            used: set[str] = set()
            for known in self._vms.values():
                used.update(known.definition.backing)
                used.update(known.shape.resources)
            unused = tuple([one.disk for one in volumes if not used.intersection(one.names)])
        if unused == self._volumes and not complete:
            return None
        self._volumes = unused
        return unused

    # Definitions

    def _define_stale(self, listed: Sequence[Known]) -> None:
        """Read the definitions that changed, and what is old."""
        now = time.monotonic()
        oldest, moved = now - DEFINITION_AGE, now - PLACEMENT_AGE
        for known in listed:
            if known.stale or known.defined_at < oldest:
                self._define(known, now)
            elif known.placed_at < moved and self._on_host and known.active:
                self._place(known, now)

    def _take_sizes(self, listed: Sequence[Known]) -> None:
        """Take over what the surveyor found since."""
        found = self._surveyor.found
        if found == self._surveys:
            return
        self._surveys = found
        with self._lock:
            for known in listed:
                sizes = self._surveyor.sizes(known.key)
                if sizes is not known.sizes:
                    known.sizes = sizes
                    known.reshape()

    def _define(self, known: Known, now: float) -> None:
        """Read one definition. A VM whose XML makes no sense keeps the one that it had."""
        with self._lock:
            # An event that comes from here on makes it stale again
            known.stale = False
            dom = known.dom
        definition, digest = known.definition, known.text
        try:
            text = dom.XMLDesc(0)
            digest = hash(text)
            if digest != known.text:
                definition = xml.parse(text)
        except (LibvirtError, ValueError):  # UnicodeError and DefinitionError among them
            pass
        with self._lock:
            # Spread, so that 1,000 that were read together do not grow old together
            known.defined_at = now - DEFINITION_AGE / 4 * (hash(known.key) % 100) / 100
            known.definition, known.text = definition, digest
            self._redefined = True
        self._place(known, now)

    def _place(self, known: Known, now: float) -> None:
        """Read where a VM sits."""
        dom, definition = known.dom, known.definition
        interfaces: tuple[tuple[int, int], ...] = ()
        process = None
        active = dom.ID() != -1
        if self._on_host and active:
            interfaces = tuple([host.interface_indexes(nic.target) for nic in definition.nics])
            if self._driver == "QEMU":
                process = self._processes.find(known.name, known.uuid)
        placement = Placement(
            affinity=self._read_pins(dom, definition),
            interfaces=interfaces,
            started=None if process is None else self._boot.get() + process.started,
            restored=process is not None and process.incoming,
        )
        with self._lock:
            known.placed_at = now
            if placement != known.placement or known.shape.definition is not definition:
                known.placement = placement
                known.reshape()

    def _read_pins(self, dom: Domain, definition: xml.Definition) -> tuple[bytes, ...]:
        count = self._cpu_count
        if self._pins_work and count > 0:
            try:
                return tuple([mask_of_map(one, count) for one in dom.vcpuPinInfo()])
            except LibvirtError as error:
                self._pins_work = not libvirt_connection.is_missing(error)
            except (TypeError, MemoryError):
                pass
        return affinity_of(definition, count)

    # Events

    def _known_of(self, dom: Domain) -> Known:
        """The Known of an event's domain, a new one if need be. Holds the lock."""
        identity = identity_of(dom)
        known = self._vms.get(identity)
        if known is None:
            known = self._vms[identity] = self._new(dom)
        self._mark += 1
        known.mark = self._mark
        known.dom = dom
        return known

    def _on_definition_event(self, _connection: Connection, dom: Domain, *rest: Any) -> None:
        with self._lock:
            if rest[-1] == self._generation:
                known = self._known_of(dom)
                known.stale = True
                self._question(known, SETTLE)

    def _on_lifecycle(
        self, _connection: Connection, dom: Domain, event: int, detail: int, generation: int
    ) -> None:
        at = time.time()
        with self._lock:
            if generation != self._generation:
                return
            if event == states.EVENT_UNDEFINED:
                self._on_undefined(dom, detail, at)
                return
            known = self._known_of(dom)
            known.raw = None
            known.stale = True
            if known.vm is None:
                self._question(known, 0)
                return
            if event == states.EVENT_DEFINED:
                self._on_defined(known, at)
            else:
                self._on_state(known, event, detail, at)
            if not known.gone:
                self._question(known, 0 if known.unsure is not None else SETTLE)

    def _on_defined(self, known: Known, at: float) -> None:
        vm = known.vm
        if vm is not None:
            known.name = known.dom.name()
            self._tell(
                known,
                msgspec.structs.replace(vm, name=known.name, persistent=Persistent.PERSISTENT),
                at,
            )

    def _on_undefined(self, dom: Domain, detail: int, at: float) -> None:
        identity = identity_of(dom)
        known = self._vms.get(identity)
        if known is None:
            return
        known = self._known_of(dom)
        known.raw = None
        if detail == states.UNDEFINED_RENAMED and known.uuid:
            self._question(known, SETTLE)
        elif known.active and known.vm is not None:
            vm = msgspec.structs.replace(known.vm, persistent=Persistent.TRANSIENT)
            self._tell(known, vm, at)
            self._question(known, SETTLE)
        else:
            self._remove(known, at)

    def _on_state(self, known: Known, event: int, detail: int, at: float) -> None:
        vm = known.vm
        if vm is None:
            return
        if known.unsure is not None:
            # Nobody could read what the last event meant; this one may tell
            likeliest, known.unsure = known.unsure, None
            if (event, detail) == (states.EVENT_STOPPED, states.STOPPED_SAVED):
                likeliest = states.before_save(likeliest)
            vm = self._tell_states(known, likeliest, at)
        change = states.from_event(event, detail, vm.oper, self._driver)
        if change is None:
            return
        stopped = event == states.EVENT_STOPPED
        transient = vm.persistent is Persistent.TRANSIENT
        if stopped and transient:
            ending = change.states if change.certain else states.ENDED
            self._tell_states(known, ending, at)
            self._remove(known, at)
        elif change.certain:
            if not known.active and event in (states.EVENT_STARTED, states.EVENT_RESUMED):
                known.placement = known.placement._replace(started=None, restored=False)
            self._tell_states(known, change.states, at)
        else:
            known.unsure = change.states

    def _tell_states(self, known: Known, derived: States, at: float) -> Vm:
        vm = known.vm
        if vm is None:
            raise ValueError("nothing is known of the VM")
        oper, admin = derived
        started = vm.started if known.active and oper in ACTIVE else None
        changed = msgspec.structs.replace(
            vm,
            oper=oper,
            admin=admin,
            started=started,
            restored=vm.restored and started is not None,
        )
        self._tell(known, changed, at)
        return changed

    def _tell(self, known: Known, vm: Vm, at: float) -> None:
        if vm != known.vm:
            known.vm = vm
            self._emit(Changed(vm, at))

    def _remove(self, known: Known, at: float) -> None:
        known.gone = True
        self._vms.pop(known.identity, None)
        self._questions.pop(known, None)
        if known.vm is not None:
            self._emit(Removed(known.key, at))

    # Questions

    def _question(self, known: Known, delay: float) -> None:
        """Have a VM read in `delay` seconds; again later when more events come. Holds the lock."""
        now = time.monotonic()
        if known.first_question is None:
            known.first_question = now
        due = min(now + delay, known.first_question + SETTLE_LONGEST) if delay else now
        self._questions[known] = due
        self._asked.notify()

    def ask(self, seconds: float) -> None:
        """See Source."""
        end = time.monotonic() + seconds
        with self._asked:
            while True:
                now = time.monotonic()
                known = min(self._questions, key=self._questions.__getitem__, default=None)
                due = self._questions[known] if known is not None else end
                if known is not None and due <= now:
                    break
                if now >= end:
                    return
                self._asked.wait(max(0.0, min(due, end) - now))
                if not self._questions:
                    return
        while known is not None:
            self._answer(known)
            with self._lock:
                now = time.monotonic()
                known = next((one for one, due in self._questions.items() if due <= now), None)

    def _answer(self, known: Known) -> None:
        """Read one VM and tell what is new."""
        with self._lock:
            self._questions.pop(known, None)
            known.first_question = None
            mark, dom, reader = known.mark, known.dom, self._reader
            unsure = known.unsure is not None and known.vm is not None
            generation = self._generation
        if dom is None or reader is None or known.gone:
            return
        try:
            if unsure:
                self._resolve(known, dom, mark, generation)
                return
            raw = self._read_alone(known, reader)
            flags = self._flags_of(known) if raw is not None else NO_FLAGS
        except SourceError:
            return  # the poll will see it, too
        except LibvirtError as error:
            if not libvirt_connection.is_gone(error):
                return  # the poll will see what it is
            raw, flags = None, NO_FLAGS
        at = time.time()
        if raw is not None:
            reading, flags = self._read_on(known, raw, flags)
        with self._lock:
            if known.gone or generation != self._generation or known.mark != mark:
                return  # the event that came has put its own question
            if raw is None:
                self._remove(known, at)
                return
            vm = self._assemble(known, reading, flags)
            known.raw, known.flags, known.fresh, known.unsure = raw, flags, False, None
            self._tell(known, vm, at)

    def _read_alone(self, known: Known, reader: Reader) -> Raw | None:
        if known.stale:
            self._define(known, time.monotonic())
        return next(iter(reader.read([known])))

    def _resolve(self, known: Known, dom: Domain, mark: int, generation: int) -> None:
        """Learn what an event meant by the state, with the fewest calls."""
        state, reason = dom.state()[:2]
        managed_save = state == states.SHUTOFF and bool(dom.hasManagedSaveImage())
        raw = states.RawState(state, reason, managed_save, driver=self._driver)
        with self._lock:
            if known.gone or generation != self._generation or known.mark != mark:
                return
            vm = known.vm
            if known.unsure is None or vm is None:
                return
            known.unsure = None
            self._tell_states(known, states.derive(raw, vm.oper), time.time())
            self._question(known, SETTLE)

    # Storage

    def survey(self, seconds: float) -> None:
        """See Source."""
        self._surveyor.run(seconds, self._targets)

    def _targets(self) -> list[Known]:
        with self._lock:
            return list(self._vms.values())


_ZERO = bytes(16)


def _portions(items: list[Known], size: int) -> Iterator[list[Known]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def run_event_loop() -> None:
    """Start libvirt's event loop on a thread of its own; before any connection is opened."""
    libvirt.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt", daemon=True).start()
