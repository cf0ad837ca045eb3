"""VMware ESX through libvirt's driver: by polling, with as few requests as will do.

libvirt's ESX driver speaks HTTP to the host and pays for each question: a filtered list of all
machines costs two requests (is the session alive; the list), whatever their number; state, info
or autostart of a single one costs three to five; its XML as many. It has no events, no counters,
no reasons of states, and no timeout: who waits too long is killed by the supervisor.

So a refresh asks for one list, of the machines that are on or off: libvirt's ID, which comes with
the list, tells the two apart. Who is missing is suspended or gone; only then, and while some are
known to be suspended, and once in OTHERS_AGE seconds (for machines that came suspended) does it
ask for a second list, of those. Two lists are not one moment: a machine that is in neither is gone
only when the next refresh finds it in neither again.

Definitions are read when a machine is new and again after DEFINITION_AGE, as many per refresh as
fit into a share of its time; until its turn comes a machine has no sizes and no devices. The
driver has crashed on answers that it did not expect: a child that follows one that crashed
(SourceSettings.cautious) does without definitions, so that states are to be had nevertheless.

ESX gives no UUID of a machine while its configuration is not known to be sound. It keeps the
identity that it had before; one that never showed its UUID is known by its name.
"""

from __future__ import annotations

import threading
import time

import libvirt

from vmmib.hypervisor import libvirt_connection, states, xml
from vmmib.hypervisor.assemble import EMPTY, Placement, Reading, Shape, affinity_of, assemble
from vmmib.hypervisor.identity import identify
from vmmib.hypervisor.libvirt_connection import Connection, Domain, LibvirtError
from vmmib.hypervisor.messages import Batch, Refreshed
from vmmib.hypervisor.model import AutoStart, Hypervisor, Persistent, Vm
from vmmib.hypervisor.settings import SourceSettings
from vmmib.hypervisor.source import Emit, SourceError

OTHERS_AGE = 60.0
"""Seconds between two looks for machines that came suspended, and for autostart."""

DEFINITION_AGE = 900.0
"""Seconds after which a definition is read again."""

IDENTITY_AGE = 900.0

SHARE = 0.3
"""Of the poll interval that reading definitions may take."""

FIRST_SHARE = 0.5
"""Of the limit of silence that the first refresh may take for it."""

CAUTION = 600.0
"""Seconds for which a cautious child reads no definitions."""

_ZERO = bytes(16)
_ON_OR_OFF = libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING | libvirt.VIR_CONNECT_LIST_DOMAINS_SHUTOFF
_SUSPENDED = libvirt.VIR_CONNECT_LIST_DOMAINS_PAUSED
_AUTOSTART = libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART


class Machine:
    """What is known of one machine."""

    __slots__ = (
        "autostart", "defined_at", "dom", "key", "missed", "name", "shape", "state", "uuid", "vm"
    )  # fmt: skip

    def __init__(self, key: str) -> None:
        self.key = key
        self.name = ""
        self.uuid = b""
        self.dom: Domain = None
        self.state = states.NOSTATE
        self.autostart: bool | None = None
        self.shape = Shape(EMPTY, Placement(), {})
        self.defined_at: float | None = None
        self.missed = 0
        self.vm: Vm | None = None
        """As last sent."""


class EsxSource:
    """See the module."""

    def __init__(
        self,
        settings: SourceSettings,
        emit: Emit,
        connector: libvirt_connection.Connector = libvirt_connection.connect,
    ) -> None:
        self._settings = settings
        self._emit = emit
        self._connector = connector
        self._connection: Connection = None
        self._machines: dict[str, Machine] = {}
        self._complete = False
        self._hypervisor: Hypervisor | None = None
        self._identified_at = 0.0
        self._others_at: float | None = None
        self._fearless_at = time.monotonic() + CAUTION if settings.cautious else 0.0
        self._awake = threading.Event()
        self._left = threading.Event()

    def connect(self) -> None:
        """See Source."""
        self.close()
        self._connection = self._connector(self._settings)

    def close(self) -> None:
        """See Source."""
        connection, self._connection = self._connection, None
        self._complete = False
        self._others_at = None
        self._hypervisor = None
        for machine in self._machines.values():
            machine.dom = None
        libvirt_connection.close(connection)

    def wake(self) -> None:
        """See Source."""
        self._left.set()
        self._awake.set()

    def sleep(self, seconds: float) -> None:
        """See Source."""
        self._awake.wait(seconds)
        self._awake.clear()

    def ask(self, seconds: float) -> None:
        """See Source. Without events there are no questions."""
        self._left.wait(seconds)

    def survey(self, seconds: float) -> None:
        """See Source. Sizes cost 15 requests each: they are done without."""
        self._left.wait(seconds)

    def refresh(self) -> None:
        """See Source."""
        connection = self._connection
        if connection is None:
            raise SourceError(f"{self._settings.name}: not connected")
        try:
            self._refresh(connection)
        except LibvirtError as error:
            raise libvirt_connection.failure(self._settings, error) from None

    def _refresh(self, connection: Connection) -> None:
        began = time.monotonic()
        complete = not self._complete
        hypervisor = self._identify(connection, began)
        present = self._list(connection, began)
        removed = self._miss(present)
        self._read_definitions(began, complete)
        self._emit(Batch(tuple(self._changed(complete))))
        self._complete = True
        self._emit(
            Refreshed(
                hypervisor=hypervisor,
                complete=complete,
                removed=() if complete else removed,
                volumes=() if complete else None,
                total=len(self._machines),
                seconds=time.monotonic() - began,
            )
        )

    def _identify(self, connection: Connection, now: float) -> Hypervisor:
        if self._hypervisor is None or now - self._identified_at > IDENTITY_AGE:
            self._hypervisor = identify(connection, self._settings, 0.0)
            self._identified_at = now
        return self._hypervisor

    # Lists

    def _list(self, connection: Connection, now: float) -> set[str]:
        """Note who is in which state; the keys of those that were seen."""
        seen: set[str] = set()
        known = len(self._machines)
        for dom in connection.listAllDomains(_ON_OR_OFF):
            state = states.SHUTOFF if dom.ID() == -1 else states.RUNNING
            self._note(dom, state, seen)
        aged = (
            self._others_at is None
            or now - self._others_at >= OTHERS_AGE
            or len(self._machines) > known  # of a new one autostart is not known
        )
        if (
            aged
            or len(seen) < len(self._machines)
            or any(machine.state == states.PAUSED for machine in self._machines.values())
        ):
            for dom in connection.listAllDomains(_SUSPENDED):
                self._note(dom, states.PAUSED, seen)
        if aged:
            self._others_at = now
            self._read_autostart(connection)
        return seen

    def _note(self, dom: Domain, state: int, seen: set[str]) -> None:
        uuid, name = dom.UUID(), dom.name()
        key = self._key_of(uuid, name, seen)
        machine = self._machines.get(key)
        if machine is None:
            machine = self._machines[key] = Machine(key)
        if key in seen:
            return  # it went from one list's state to the other's in between
        seen.add(key)
        machine.dom, machine.name, machine.state = dom, name, state
        machine.uuid = b"" if uuid == _ZERO else uuid
        machine.missed = 0

    def _key_of(self, uuid: bytes, name: str, seen: set[str]) -> str:
        by_name = f"name:{name}"
        if uuid != _ZERO:
            key = uuid.hex()
            known = self._machines.get(key)
            # Copies of a machine may share its UUID: the first in the list has it
            if key in seen and known is not None and known.name != name:
                return by_name
            return key
        if by_name not in self._machines:
            for machine in self._machines.values():
                if machine.name == name and machine.key not in seen:
                    return machine.key
        return by_name

    def _miss(self, seen: set[str]) -> tuple[str, ...]:
        """The keys of the machines that are gone."""
        gone = []
        for key, machine in list(self._machines.items()):
            if key in seen:
                continue
            machine.missed += 1
            if machine.missed > 1 or not self._complete:
                del self._machines[key]
                gone.append(key)
        return tuple(gone)

    def _read_autostart(self, connection: Connection) -> None:
        try:
            starting = {(dom.UUID(), dom.name()) for dom in connection.listAllDomains(_AUTOSTART)}
        except LibvirtError:
            return  # as before: it is no reason to lose the states
        for machine in self._machines.values():
            machine.autostart = (machine.uuid or _ZERO, machine.name) in starting

    # Definitions

    def _read_definitions(self, began: float, complete: bool) -> None:
        """Read what is new or old, for as long as there is time."""
        if began < self._fearless_at:
            return
        settings = self._settings
        share = FIRST_SHARE * settings.limit if complete else SHARE * settings.poll_interval
        due = [
            machine
            for machine in self._machines.values()
            if machine.dom is not None
            and (machine.defined_at is None or began - machine.defined_at > DEFINITION_AGE)
        ]
        due.sort(key=lambda machine: machine.defined_at or 0.0)
        for number, machine in enumerate(due):
            if number and time.monotonic() - began > share:
                break
            self._define(machine)
            if number % 20 == 19:
                self._emit(Batch(()))  # it goes on

    def _define(self, machine: Machine) -> None:
        machine.defined_at = time.monotonic()
        try:
            definition = xml.parse(machine.dom.XMLDesc(0))
        except LibvirtError as error:
            if error.get_error_domain() == libvirt.VIR_FROM_RPC:
                raise
            return
        except ValueError:
            return
        hypervisor = self._hypervisor
        count = hypervisor.cpu_count if hypervisor is not None else 0
        machine.shape = Shape(definition, Placement(affinity_of(definition, count)), {})

    # The model

    def _changed(self, complete: bool) -> list[Vm]:
        """The machines that are new or other than they were sent."""
        found = []
        for machine in self._machines.values():
            vm = self._assemble(machine)
            if complete or vm != machine.vm:
                machine.vm = vm
                found.append(vm)
        return found

    def _assemble(self, machine: Machine) -> Vm:
        derived = states.derive(states.RawState(machine.state, driver="ESX"))
        autostart = AutoStart.UNKNOWN
        if machine.autostart is not None:
            autostart = AutoStart.ENABLED if machine.autostart else AutoStart.DISABLED
        return assemble(
            machine.key,
            machine.uuid,
            machine.name,
            machine.shape,
            Reading(machine.state, 0),
            derived,
            autostart,
            Persistent.PERSISTENT,
        )
