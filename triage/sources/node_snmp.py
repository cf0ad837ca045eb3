"""The nodes' machines, as their hypervisors show them in VM-MIB (RFC 7666) over SNMP.

How a look goes
1. Each node's systemUUID is made canonical; where the kept index knows its place, that hypervisor
   is asked first: vmUUID of the kept vmIndex, nothing else. If it fits, nobody has to be searched.
2. Otherwise, or when that hypervisor is slow to answer (HEDGE), all hypervisors are asked at once,
   each with its own timeout: their vmUUID columns are walked. So dead hypervisors cost one timeout
   together. Incidents that ask the same at the same time share one walk.
   All are asked as well when the machine that was found does not run and may have moved: in a
   migration both sides show the same UUID, and both rows are in the evidence, the running one
   first.
3. Of each machine found everything is read that `triage.snmp.vm` knows. Only of a running one are
   counters read again, every `interval` seconds until they changed twice or `patience` is over:
   see `triage.snmp.rates`. Other states are verdicts by themselves and come at once.

What the outcome says
- SKIPPED: no hypervisor is configured, or no node has a UUID that names a machine.
- RAN: at least one hypervisor was asked. That none answered is evidence too (`hypervisors`), and
  each one that did not is a problem, for the machine may be on it. `missing` names nodes whose
  machine no hypervisor that answered has; with problems that is no proof that it is gone.
- FAILED: a fault of ours, which the log shows.

An agent that answers without VM-MIB (wrong context, no view, its subagent gone) has told nothing
about machines: it counts as not answered, and `problem` says why. Only one of which nothing came
back at all is `silent`. That counters did not change twice in time is no problem but a line in
`rates_missing`: an agent that polls slowly is as it should be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import structlog

from triage.evidence import (
    Anomaly,
    HypervisorAnswer,
    Look,
    NodeState,
    Outcome,
    VmEvidence,
    VmNotification,
    VmOperState,
    VmState,
    Window,
)
from triage.snmp import oids, uuid, vm
from triage.snmp.credentials import SnmpCredentials
from triage.snmp.engine import Engines
from triage.snmp.index import MemoryIndex, Place, VmIndex
from triage.snmp.manager import (
    Manager,
    ManagerSettings,
    Session,
    SilenceError,
    UnresolvedError,
)
from triage.snmp.rates import Memory, Sample, span
from triage.snmp.values import Oid, Value, ticks_since
from triage.snmp.vm import VmRows
from triage.sources.errors import DownError, SlowError, SourceError

T = TypeVar("T")

HEDGE = 0.25
"""Seconds that the hypervisor that had the machine before is given before all others are asked."""

SESSIONS = 4
"""At once with one hypervisor, of all looks together."""

REFRESH_AT_ONCE = 8
"""Hypervisors walked at once in the background."""

MAX_PROBLEMS = 20
MAX_NOTIFICATIONS = 200

MAY_HAVE_MOVED = frozenset(VmOperState) - {
    VmOperState.RUNNING,
    VmOperState.PAUSED,
    VmOperState.SUSPENDING,
    VmOperState.SUSPENDED,
}
"""States in which the machine may run on another hypervisor by now."""

SCALARS: tuple[Oid, ...] = tuple(
    map(
        oids.scalar,
        (
            oids.SYS_UP_TIME,
            oids.VM_HV_SOFTWARE,
            oids.VM_HV_VERSION,
            oids.VM_HV_UP_TIME,
            oids.VM_NUMBER,
            oids.VM_TABLE_LAST_CHANGE,
        ),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervisorSettings:
    """One hypervisor: an agent, and a context of it."""

    name: str
    address: str
    """"HOST:PORT", "[IPv6]:PORT"; the port may be left out (161)."""
    credentials: SnmpCredentials
    """They say the version too: a community is v2c, a user v3."""
    context: str | None = None
    """Of VM-MIB (v3; with v2c the community stands for it); None: that of the credentials."""
    host_context: str = ""
    """Of the host's own tables: IF-MIB and HOST-RESOURCES-MIB."""
    host_credentials: SnmpCredentials | None = None
    """For the host's own tables, where it takes another community; None: the same."""
    timeout: float = 2.0
    """Seconds for one answer, repetitions included."""
    retries: int = 1

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The address taken apart; ValueError."""
        return split_address(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSettings:
    """All of them, and how they are asked."""

    hypervisors: tuple[HypervisorSettings, ...] = ()
    interval: float = 1.0
    """Seconds between two readings of counters."""
    patience: float = 2.0
    """Seconds that an agent is given to refresh its counters twice, at least one interval."""
    limit: int = 256
    """Hypervisors asked at once, of all looks together."""
    max_vms: int = 10_000
    """Of one hypervisor."""
    deadline: float = 20.0
    """Seconds for all of one hypervisor in one look."""
    refresh: float = 900.0
    """Seconds between two refreshes of the index in the background."""


def split_address(text: str, port: int = 161) -> tuple[str, int]:
    """Split HOST:PORT; raise ValueError."""
    host, colon, number = text.rpartition(":")
    if not colon or "]" in number or (":" in host and not host.startswith("[")):
        host, number = text, str(port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not number.isdecimal() or not 0 < int(number) < 65536:
        raise ValueError(f'"{text}" must be HOST:PORT')
    return host, int(number)


class Notifications(Protocol):
    """What the receiver of notifications gives (`triage.sources.notifications`)."""

    @property
    def listening_since(self) -> float | None:
        """Time since when it receives without a break."""
        ...

    def between(self, start: float, end: float) -> Sequence[VmNotification]:
        """Notifications received in this span, oldest first."""
        ...


@dataclass(slots=True)
class _Survey:
    """What one hypervisor said of itself and of the machines that are looked for."""

    answer: HypervisorAnswer
    scalars: dict[Oid, Value] = field(default_factory=dict)
    uuids: dict[int, str] = field(default_factory=dict)
    """vmIndex -> canonical vmUUID, "" for none: of all machines, or of those that were hinted."""
    states: dict[int, VmOperState] = field(default_factory=dict)
    """vmOperState of those that were hinted."""
    whole: bool = False
    """Whether all machines were looked through."""


class _Hypervisor:
    """One hypervisor, its managers and the limit of sessions with it."""

    def __init__(self, settings: HypervisorSettings, engines: Engines) -> None:
        host, port = settings.host_and_port
        self.settings = settings
        self.context = (
            settings.credentials.context if settings.context is None else settings.context
        )
        self._manager = Manager(
            ManagerSettings(host, port, settings.credentials, settings.timeout, settings.retries),
            engines,
        )
        other = settings.host_credentials
        self._host_manager = (
            self._manager
            if other is None
            else Manager(
                ManagerSettings(host, port, other, settings.timeout, settings.retries), engines
            )
        )
        self._sessions = asyncio.Semaphore(SESSIONS)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        async with self._sessions, self._manager.session(self.context) as session:
            yield session

    @asynccontextmanager
    async def host_session(self) -> AsyncIterator[Session]:
        async with (
            self._sessions,
            self._host_manager.session(self.settings.host_context) as session,
        ):
            yield session


class VmLooker:
    """Finds the nodes' machines and reads what matters of them.

    `index` keeps where machines are (in memory by default); `notifications` is the receiver, if
    one runs; `clock` is the time of day, `monotonic` measures.
    """

    def __init__(
        self,
        settings: VmSettings,
        *,
        index: VmIndex | None = None,
        notifications: Notifications | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index = MemoryIndex() if index is None else index
        self._notifications = notifications
        self._clock = clock
        self._monotonic = monotonic
        self._memory = Memory()
        self._shared = _Shared()
        self._engines = Engines()
        self._hypervisors: dict[str, _Hypervisor] = {}
        self._settings = settings
        self._limit = asyncio.Semaphore(settings.limit)
        self._log = structlog.get_logger()
        self.replace(settings)

    def replace(self, settings: VmSettings) -> None:
        """Take new settings; looks that are under way end with the old ones. ValueError."""
        before = self._hypervisors
        self._hypervisors = {
            one.name: before[one.name]
            if one.name in before and before[one.name].settings == one
            else _Hypervisor(one, self._engines)
            for one in settings.hypervisors
        }
        if settings.limit != self._settings.limit:
            self._limit = asyncio.Semaphore(settings.limit)
        self._settings = settings

    async def close(self) -> None:
        """End what is shared between looks; looks themselves are ended by cancelling them."""
        await self._shared.close()

    # Looking

    async def look(
        self,
        nodes: Sequence[NodeState],
        window: Window,
        anomaly: Anomaly,  # noqa: ARG002 - of the contract; the state now is what can be read
    ) -> VmEvidence:
        """Look for the machines of these nodes; never raises for what others do."""
        wanted, nameless = _wanted(nodes)
        if not self._hypervisors:
            return _skipped("no hypervisor is configured", window)
        if not wanted:
            return _skipped("; ".join(nameless) or "no node to look for", window)
        try:
            search = _Search(self, wanted)
            await search.run()
            return self._evidence(search, nameless, window)
        except Exception as error:  # a fault of ours must not end the cascade
            self._log.exception("vm_look_failed", nodes=sorted(wanted.values()))
            problem = f"internal fault: {type(error).__name__}: see the log"
            return VmEvidence(
                look=Look(outcome=Outcome.FAILED, window=window, problems=(problem,)),
            )

    def _evidence(self, search: _Search, nameless: list[str], window: Window) -> VmEvidence:
        problems = [*nameless, *search.problems()]
        if len(problems) > MAX_PROBLEMS:
            more = len(problems) - MAX_PROBLEMS
            problems = [*problems[:MAX_PROBLEMS], f"and {more} more"]
        vms = [vm.state(rows) for rows in search.found]
        vms.sort(key=lambda one: (one.node, one.oper_state is not VmOperState.RUNNING))
        notifications, since = self._announced(search, vms, window)
        return VmEvidence(
            look=Look(
                outcome=Outcome.RAN,
                source=_source([survey.answer.name for survey in search.surveys.values()]),
                window=window,
                problems=tuple(problems),
                asked_at=self._clock(),
            ),
            vms=tuple(vms),
            missing=tuple(search.missing()),
            last_known=search.last_known,
            hypervisors=tuple(survey.answer for survey in search.surveys.values()),
            rates_missing=tuple(search.rates_missing()),
            notifications=notifications,
            listening_since=since,
            rows=tuple(search.rows()),
        )

    def _announced(
        self, search: _Search, vms: Sequence[VmState], window: Window
    ) -> tuple[tuple[VmNotification, ...], float | None]:
        """Notifications of these machines and of their hypervisors."""
        source = self._notifications
        if source is None:
            return (), None
        places = {(one.hypervisor, one.vm_index) for one in vms}
        hypervisors = {name for name, _ in places} | set(search.last_known.values())
        identities = set(search.wanted) | set(map(uuid.swapped, search.wanted))

        def concerns(one: VmNotification) -> bool:
            if one.uuid:
                return one.uuid in identities
            if one.vm_index is not None:
                return (one.hypervisor, one.vm_index) in places
            return one.hypervisor in hypervisors

        found = [one for one in source.between(window.start, window.end) if concerns(one)]
        return tuple(found[-MAX_NOTIFICATIONS:]), source.listening_since

    # The index

    async def refresh(self) -> None:
        """Walk all hypervisors once, gently, and keep where their machines are."""
        gate = asyncio.Semaphore(REFRESH_AT_ONCE)

        async def one(hypervisor: _Hypervisor) -> bool:
            async with gate:
                return (await self.survey(hypervisor)).answer.answered

        answers = await asyncio.gather(*map(one, list(self._hypervisors.values())))
        self._log.debug("vm_index_refreshed", hypervisors=len(answers), answered=sum(answers))

    async def run(self) -> None:
        """Refresh the index now and then, until cancelled."""
        while True:
            try:
                await self.refresh()
            except Exception:  # it goes on for years
                self._log.exception("vm_index_refresh_failed")
            await asyncio.sleep(self._settings.refresh)

    # What a search asks for

    @property
    def hypervisors(self) -> Mapping[str, _Hypervisor]:
        """Those that are configured at present."""
        return self._hypervisors

    @property
    def settings(self) -> VmSettings:
        """Those in use."""
        return self._settings

    def place(self, canonical: str) -> Place | None:
        """Where a machine was, in either byte order."""
        return self._index.get(canonical) or self._index.get(uuid.swapped(canonical))

    async def survey(self, hypervisor: _Hypervisor, hints: frozenset[int] = frozenset()) -> _Survey:
        """Ask a hypervisor for itself and its machines, or for the hinted ones alone."""
        key = (hypervisor, hints)
        return await self._shared.run(key, lambda: self._survey(hypervisor, hints))

    async def check(self) -> tuple[HypervisorAnswer, ...]:
        """Ask each hypervisor who it is, and nothing more."""
        surveys = await asyncio.gather(
            *(self._survey(one, frozenset(), walk=False) for one in self._hypervisors.values())
        )
        return tuple(survey.answer for survey in surveys)

    async def _survey(
        self, hypervisor: _Hypervisor, hints: frozenset[int], *, walk: bool = True
    ) -> _Survey:
        settings = hypervisor.settings
        survey = _Survey(
            HypervisorAnswer(
                name=settings.name, address=settings.address, context=hypervisor.context
            )
        )
        began = self._monotonic()
        try:
            async with self._limit, _within(self._settings.deadline), hypervisor.session() as asked:
                await self._ask(asked, survey, hints, walk=walk and not hints)
        except SourceError as error:
            survey.answer = replace(survey.answer, problem=str(error), silent=_is_silence(error))
        survey.answer = replace(survey.answer, seconds=round(self._monotonic() - began, 3))
        return survey

    async def _ask(
        self, session: Session, survey: _Survey, hints: frozenset[int], *, walk: bool
    ) -> None:
        names = [*SCALARS]
        for number in sorted(hints):
            names += [(*oids.VM_UUID, number), (*oids.VM_OPER_STATE, number)]
        values = await session.get(names)
        survey.scalars = vm.present(values, SCALARS)
        for number in hints:
            found = values.get((*oids.VM_UUID, number))
            if found is not None and not found.missing:
                survey.uuids[number] = vm.uuid_of(found)
                state = values[(*oids.VM_OPER_STATE, number)].number or 0
                survey.states[number] = oids.OPER_STATES.get(state, VmOperState.UNKNOWN)
        if walk:
            rows = await session.walk_columns([oids.VM_UUID], limit=self._settings.max_vms)
            survey.uuids = {
                index[0]: vm.uuid_of(row[oids.VM_UUID]) for index, row in rows.items() if index
            }
            survey.whole = True
            self._remember(survey)
        survey.answer = _answered(survey)

    def _remember(self, survey: _Survey) -> None:
        for number, identity in survey.uuids.items():
            place = Place(survey.answer.name, number)
            if identity and self._index.get(identity) != place:
                self._index.put(identity, place)

    # Everything of one machine

    async def read(self, hypervisor: _Hypervisor, rows: VmRows) -> str:
        """Read all rows of a machine into `rows`; give what could not be read, "" for nothing."""
        try:
            async with _within(self._settings.deadline):
                async with self._limit, hypervisor.session() as session:
                    await self._read_rows(session, rows)
                problem = await self._read_host(hypervisor, rows)
                if rows.oper_state is VmOperState.RUNNING:
                    await self._read_rates(hypervisor, rows)
        except SourceError as error:
            return str(error)
        finally:
            rows.asked_at = rows.asked_at or self._clock()
        return problem

    async def _read_rows(self, session: Session, rows: VmRows) -> None:
        number = rows.vm_index
        values = await session.get([(*column, number) for column in vm.VM_COLUMNS])
        rows.vm = {name[:-1]: value for name, value in values.items() if not value.missing}
        rows.asked_at = self._clock()
        limit = vm.MAX_DEVICES
        rows.cpus = await session.walk_columns([oids.VM_CPU_CORE_TIME], (number,), limit=limit)
        rows.disks = await session.walk_columns(vm.STORAGE_COLUMNS, (number,), limit=limit)
        rows.nics = await session.walk_columns(vm.NETWORK_COLUMNS, (number,), limit=limit)

    async def _read_host(self, hypervisor: _Hypervisor, rows: VmRows) -> str:
        """Read the host's own tables; that it does not show them is no fault of the machine."""
        numbers = rows.if_indexes()
        up_time = oids.scalar(oids.SYS_UP_TIME)
        names = [(*column, number) for number in numbers for column in vm.IF_COLUMNS]
        try:
            async with self._limit, hypervisor.host_session() as session:
                values = await session.get([up_time, *names])
                loads = await session.walk_columns([oids.HR_PROCESSOR_LOAD], limit=4096)
        except SourceError as error:
            return f"the host's IF-MIB and HOST-RESOURCES-MIB: {error}"
        rows.sys_up_time = values[up_time]
        rows.interfaces = {
            number: {
                column: value
                for column in vm.IF_COLUMNS
                if not (value := values[(*column, number)]).missing
            }
            for number in numbers
        }
        found = (row[oids.HR_PROCESSOR_LOAD].number for row in loads.values())
        rows.host_loads = [load for load in found if load is not None]
        gone = [number for number, row in rows.interfaces.items() if not row]
        if gone:
            shown = ", ".join(map(str, gone))
            return f"its agent shows no ifIndex {shown} in the host's context"
        return ""

    async def _read_rates(self, hypervisor: _Hypervisor, rows: VmRows) -> None:
        """Read counters again and again, until they have changed twice or patience is over."""
        settings = self._settings
        own = [self._sample(_flat(rows), rows.counter_names())]
        taps = [self._sample(_flat(rows), rows.if_counter_names())]
        key, if_key = (rows.hypervisor, rows.uuid), (rows.hypervisor, f"{rows.uuid} interfaces")
        base, if_base = self._memory.base(key, own[0].at), self._memory.base(if_key, own[0].at)
        end = own[0].at + max(settings.patience, 2 * settings.interval)
        while (
            (own[0].values or taps[0].values)
            and rows.oper_state is VmOperState.RUNNING
            and span(own) is None
            and self._monotonic() < end
        ):
            await asyncio.sleep(settings.interval)
            await self._read_again(hypervisor, rows, own, taps)
        rows.span, rows.if_span = span(own, base), span(taps, if_base)
        self._memory.keep(key, own[-1])
        self._memory.keep(if_key, taps[-1])
        rows.rates_read = True

    async def _read_again(
        self, hypervisor: _Hypervisor, rows: VmRows, own: list[Sample], taps: list[Sample]
    ) -> None:
        """Take one more sample of the machine's counters and of its interfaces'."""
        state = (*oids.VM_OPER_STATE, rows.vm_index)
        names, if_names = list(own[0].values), list(taps[0].values)
        async with self._limit, hypervisor.session() as session:
            values = await session.get([state, *names])
        own.append(self._sample(values, names))
        if not values[state].missing:
            rows.vm[oids.VM_OPER_STATE] = values[state]
        if if_names:
            async with self._limit, hypervisor.host_session() as session:
                taps.append(self._sample(await session.get(if_names), if_names))

    def _sample(self, values: Mapping[Oid, Value], names: Sequence[Oid]) -> Sample:
        return Sample(self._monotonic(), vm.present(values, names))


class _Search:
    """One look: which hypervisors to ask, in which order, and what they gave."""

    def __init__(self, looker: VmLooker, wanted: dict[str, list[str]]) -> None:
        self.wanted = wanted
        """Canonical UUID -> nodes."""
        self.surveys: dict[str, _Survey] = {}
        self.found: list[VmRows] = []
        self.last_known: dict[str, str] = {}
        self._looker = looker
        self._unread: list[str] = []

    async def run(self) -> None:
        """Find the machines and read them."""
        hints = self._hints()
        tasks = {
            asyncio.ensure_future(self._find(name, numbers)) for name, numbers in hints.items()
        }
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=HEDGE)
            if not self._settled():
                others = [name for name in self._looker.hypervisors if name not in hints]
                tasks |= {asyncio.ensure_future(self._find(name)) for name in others}
            if tasks:
                await asyncio.wait(tasks)
            for task in tasks:
                task.result()
            if self._moved():
                await self._find_elsewhere()
        finally:
            for task in tasks:
                task.cancel()
        self._collect()
        await self._read()

    def _hints(self) -> dict[str, frozenset[int]]:
        hints: dict[str, set[int]] = {}
        for identity, nodes in self.wanted.items():
            place = self._looker.place(identity)
            if place is None:
                continue
            self.last_known.update(dict.fromkeys(nodes, place.hypervisor))
            if place.hypervisor in self._looker.hypervisors:
                hints.setdefault(place.hypervisor, set()).add(place.vm_index)
        return {name: frozenset(numbers) for name, numbers in hints.items()}

    async def _find(self, name: str, hints: frozenset[int] = frozenset()) -> None:
        """Ask one hypervisor, for the hinted machines first if there are any."""
        looker = self._looker
        hypervisor = looker.hypervisors.get(name)
        if hypervisor is None:  # taken out of the settings meanwhile
            return
        survey = await looker.survey(hypervisor, hints)
        if hints and survey.answer.answered and not self._fits(survey, hints):
            survey = await looker.survey(hypervisor)
        self.surveys[name] = replace(survey)  # what other looks share stays as it is

    def _fits(self, survey: _Survey, hints: frozenset[int]) -> bool:
        return all(_matches(survey.uuids.get(number, ""), self.wanted) for number in hints)

    def _settled(self) -> bool:
        """Tell whether every machine was found where it was before, and has not moved."""
        seen = {
            match
            for survey in self.surveys.values()
            for identity in survey.uuids.values()
            if (match := _matches(identity, self.wanted))
        }
        return seen == set(self.wanted) and not self._moved()

    def _moved(self) -> bool:
        """Tell whether a machine that was found by a hint may run elsewhere."""
        return any(
            _matches(survey.uuids[number], self.wanted) and state in MAY_HAVE_MOVED
            for survey in self.surveys.values()
            for number, state in survey.states.items()
        )

    async def _find_elsewhere(self) -> None:
        left = [name for name in self._looker.hypervisors if name not in self.surveys]
        async with asyncio.TaskGroup() as group:
            for name in left:
                group.create_task(self._find(name))

    def _collect(self) -> None:
        """Pick the machines; a match in the node's own byte order rules out swapped ones."""
        rows = [
            VmRows(node, name, number, identity, swapped=identity != match)
            for name, survey in self.surveys.items()
            for number, identity in survey.uuids.items()
            if (match := _matches(identity, self.wanted))
            for node in self.wanted[match]
        ]
        exact = {one.node for one in rows if not one.swapped}
        self.found = [one for one in rows if not one.swapped or one.node not in exact]
        for one in self.found:
            self.last_known[one.node] = one.hypervisor

    async def _read(self) -> None:
        async def one(rows: VmRows) -> None:
            hypervisor = self._looker.hypervisors.get(rows.hypervisor)
            if hypervisor is None:
                return
            problem = await self._looker.read(hypervisor, rows)
            survey = self.surveys[rows.hypervisor]
            if survey.answer.agent_up_seconds is None and rows.sys_up_time is not None:
                # A context of VM-MIB alone has no sysUpTime; the host's is of the same agent
                up_time = rows.sys_up_time.seconds
                survey.answer = replace(survey.answer, agent_up_seconds=up_time)
            if problem:
                self._unread.append(f"{rows.hypervisor}, VM of {rows.node}: {problem}")

        async with asyncio.TaskGroup() as group:
            for rows in self.found:
                group.create_task(one(rows))

    # What came out

    def problems(self) -> list[str]:
        """One line for everything that could not be seen."""
        lines = []
        for name, survey in self.surveys.items():
            if not survey.answer.answered:
                lines.append(f"{name}: {survey.answer.problem}")
            nameless = list(survey.uuids.values()).count("")
            if nameless and self.missing():
                lines.append(f"{name}: {nameless} machines show no UUID; it may be one of them")
        return [*lines, *self._unread]

    def rates_missing(self) -> list[str]:
        """One line for each machine whose counters did not change twice while they were read."""
        return [
            f"{one.hypervisor}, VM of {one.node}: its counters did not change twice while they "
            "were read: no CPU and storage rates yet"
            for one in self.found
            if one.oper_state is VmOperState.RUNNING
            and one.rates_read
            and one.span is None
            and one.counter_names()
        ]

    def missing(self) -> list[str]:
        """Nodes whose machine none of those that answered has."""
        if not any(survey.answer.answered for survey in self.surveys.values()):
            return []
        found = {one.node for one in self.found}
        return [node for nodes in self.wanted.values() for node in nodes if node not in found]

    def rows(self) -> list[str]:
        """The rows that decide: of the machines, and of the hypervisors that have or had them."""
        lines: list[str] = []
        for one in self.found:
            lines += vm.deciding(one)
        names = dict.fromkeys([one.hypervisor for one in self.found])
        names |= dict.fromkeys(self.last_known.values())
        for name in names:
            survey = self.surveys.get(name)
            if survey is not None:
                lines += [oids.row(*item) for item in survey.scalars.items()]
        return lines


class _Shared:
    """Lets those who ask the same at the same time share one answer.

    What nobody waits for any more is cancelled.
    """

    def __init__(self) -> None:
        self._running: dict[object, tuple[asyncio.Task[Any], list[int]]] = {}

    async def run(self, key: object, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await what runs under `key`, or start it."""
        entry = self._running.get(key)
        if entry is None:
            entry = (asyncio.ensure_future(make()), [0])
            self._running[key] = entry
        task, waiters = entry
        waiters[0] += 1
        try:
            result: T = await asyncio.shield(task)
            return result
        finally:
            waiters[0] -= 1
            if not waiters[0] and self._running.get(key) is entry:
                del self._running[key]
                task.cancel()

    async def close(self) -> None:
        """Cancel all of it."""
        tasks = [task for task, _ in self._running.values()]
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise SlowError(
            f"not done within {seconds:g} s: too many rows, or answers too slow"
        ) from None


def _wanted(nodes: Sequence[NodeState]) -> tuple[dict[str, list[str]], list[str]]:
    """Nodes by canonical UUID, and a line for each one that has none."""
    wanted: dict[str, list[str]] = {}
    nameless = []
    for node in nodes:
        identity = uuid.canonical(node.system_uuid)
        if not identity:
            shown = f' ("{node.system_uuid[:64]}")' if node.system_uuid else ""
            nameless.append(f"node {node.name}: it reports no UUID that names a machine{shown}")
        elif node.name not in wanted.setdefault(identity, []):
            wanted[identity].append(node.name)
    return wanted, nameless


def _matches(identity: str, wanted: Mapping[str, object]) -> str:
    """The wanted UUID that a hypervisor's one is, in either byte order; "" for none."""
    if not identity:
        return ""
    if identity in wanted:
        return identity
    other = uuid.swapped(identity)
    return other if other in wanted else ""


def _answered(survey: _Survey) -> HypervisorAnswer:
    """The hypervisor's own rows; an agent that shows nothing of VM-MIB has not answered."""

    def get(name: Oid) -> Value | None:
        return survey.scalars.get(oids.scalar(name))

    up, changed = get(oids.VM_HV_UP_TIME), get(oids.VM_TABLE_LAST_CHANGE)
    number, sys_up = get(oids.VM_NUMBER), get(oids.SYS_UP_TIME)
    if up is None and number is None and not survey.uuids:
        context = f' in context "{survey.answer.context}"' if survey.answer.context else ""
        return replace(
            survey.answer,
            problem=f"the agent answers, but shows no VM-MIB{context}: its VM-MIB subagent does "
            "not run, or the context or the view of 1.3.6.1.2.1.236 is wrong",
            agent_up_seconds=None if sys_up is None else sys_up.seconds,
        )
    texts = [
        value.text for name in (oids.VM_HV_SOFTWARE, oids.VM_HV_VERSION) if (value := get(name))
    ]
    return replace(
        survey.answer,
        answered=True,
        vm_number=None if number is None else number.number,
        up_seconds=None if up is None else up.seconds,
        agent_up_seconds=None if sys_up is None else sys_up.seconds,
        software=" ".join(filter(None, texts)),
        table_changed_seconds=None if up is None or changed is None else ticks_since(up, changed),
    )


def _is_silence(error: SourceError) -> bool:
    """Tell whether a hypervisor was asked, and nothing came back; refused is as good as that."""
    if isinstance(error, UnresolvedError):
        return False
    return isinstance(error, SilenceError | DownError)


def _flat(rows: VmRows) -> dict[Oid, Value]:
    """All values that were read, by their full names."""
    flat = {(*column, rows.vm_index): value for column, value in rows.vm.items()}
    for table in (rows.cpus, rows.disks):
        for index, row in table.items():
            flat |= {(*column, *index): value for column, value in row.items()}
    for number, interface in rows.interfaces.items():
        flat |= {(*column, number): value for column, value in interface.items()}
    return flat


def _skipped(reason: str, window: Window) -> VmEvidence:
    return VmEvidence(look=Look(outcome=Outcome.SKIPPED, window=window, problems=(reason,)))


def _source(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"hypervisor{'s' if len(names) > 1 else ''} {shown}{more}"
