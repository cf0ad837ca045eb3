"""The calls of a refresh: two ways to read the state and the counters of many domains.

`BulkReader` asks for many domains at once (getAllDomainStats' cousin domainListGetStats, in
portions that show progress and stay below the remote protocol's limits). `EachReader` makes a
few calls per domain, for drivers that have no bulk statistics worth the name; the test driver's
hold the state alone.

Both return per domain a raw value that is cheap to compare, for a VM whose raw value is as before
needs no second look, and turn raw values into Readings.

A guest that does not answer
----------------------------
NOWAIT skips a guest whose process some other call waits for already, but the first call to reach
one that is stuck waits. That call is left behind (guarded.py) and made again: NOWAIT now skips
the guest, whose figures stay as they were. When too many are left behind, the figures that need
the guest's process are done without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import libvirt

from vmmib.hypervisor.assemble import (
    IDLE_DISK,
    IDLE_NIC,
    NO_DISK,
    NO_NIC,
    DiskCounters,
    NicCounters,
    Reading,
    Shape,
    mask_of_map,
)
from vmmib.hypervisor.guarded import MOST_STUCK, Guarded, Line, identity_of
from vmmib.hypervisor.libvirt_connection import Connection, Domain, LibvirtError, is_dead, is_gone
from vmmib.hypervisor.model import Cpu
from vmmib.hypervisor.source import SourceError
from vmmib.hypervisor.states import ACTIVE_STATES, NOSTATE, PAUSED, RUNNING

Raw = Any
T = TypeVar("T")

_ALL_GROUPS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


class Item(Protocol):
    """A domain to read."""

    dom: Domain
    shape: Shape
    raw: Raw
    reading: Reading | None
    """The last one, for a reader that needs it."""


class Reader(Protocol):
    """A way to read domains."""

    portion: int
    """Domains to read at a time."""

    def read(self, items: Sequence[Item]) -> Iterable[Raw | None]:
        """A raw value per item, in order, None for a domain that is gone.

        Raises libvirtError when the connection as a whole fails.
        """

    def interpret(self, item: Item, raw: Raw) -> Reading:
        """What a raw value says."""


class BulkReader:
    """Many domains in a call."""

    portion = 64

    def __init__(self, connection: Connection, driver: str, guarded: Guarded) -> None:
        self._connection = connection
        self._asks_guest = driver == "QEMU"
        self._guarded = guarded
        self._jobs = True
        self._nowait = _NOWAIT

    def read(self, items: Sequence[Item]) -> list[Raw | None]:
        """See Reader. A raw value is (statistics, full, job operation, error of the job's call)."""
        active: list[Domain] = []
        inactive: list[Domain] = []
        for item in items:
            (inactive if item.dom.ID() == -1 else active).append(item.dom)
        found: dict[bytes | str, Raw] = {}
        if inactive:
            # Nothing that would open the images: their server may be gone
            for dom, stats in self._stats(
                self._connection, inactive, libvirt.VIR_DOMAIN_STATS_STATE
            ):
                found[identity_of(dom)] = (stats, True, 0, None)
        if active:
            self._read_active(active, found)
        return [found.get(identity_of(item.dom)) for item in items]

    def _read_active(self, doms: list[Domain], found: dict[bytes | str, Raw]) -> None:
        identities = [identity_of(dom) for dom in doms]
        for _ in range(MOST_STUCK):
            try:
                read = self._guarded.run(lambda line: self._read_guests(line, identities))
            except (LibvirtError, SourceError):
                if is_dead(self._connection):
                    raise
                break
            if read is not None:
                found.update(read)
                return
        groups = (
            libvirt.VIR_DOMAIN_STATS_STATE
            | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
            | libvirt.VIR_DOMAIN_STATS_INTERFACE
        )
        for dom, stats in self._stats(self._connection, doms, groups):
            found[identity_of(dom)] = (stats, False, None, None)

    def _read_guests(self, line: Line, identities: list[bytes | str]) -> dict[bytes | str, Raw]:
        doms = list(line.domains(identities).values())
        read: dict[bytes | str, Raw] = {}
        if not doms:
            return read
        for dom, stats in self._stats(line.connection, doms, _ALL_GROUPS):
            full = not self._asks_guest or _is_full(stats)
            job: tuple[int | None, int | None] = (None, None)
            if full and stats.get("state.state") in (RUNNING, PAUSED):
                job = self._job(dom)
            read[identity_of(dom)] = (stats, full, *job)
        return read

    def _stats(
        self, connection: Connection, doms: list[Domain], groups: int
    ) -> list[tuple[Domain, dict[str, Any]]]:
        """Statistics; a domain that spoils the call for the others is found by halving."""
        try:
            return list(connection.domainListGetStats(doms, groups, self._nowait))
        except LibvirtError as error:
            if self._nowait and error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG:
                self._nowait = 0  # a driver that does not know the flag
                return self._stats(connection, doms, groups)
            if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT or is_dead(connection):
                raise
            if len(doms) > 1:
                half = len(doms) // 2
                return self._stats(connection, doms[:half], groups) + self._stats(
                    connection, doms[half:], groups
                )
            return [] if is_gone(error) else [(doms[0], _state_only(doms[0]))]

    def _job(self, dom: Domain) -> tuple[int | None, int | None]:
        """(operation of the running job, the error's number when that cannot be read)."""
        if not self._jobs:
            return None, None
        try:
            job = dom.jobStats()
        except LibvirtError as error:
            code = error.get_error_code()
            if code == libvirt.VIR_ERR_NO_SUPPORT:
                self._jobs = False
            return None, code
        return (job.get("operation", 0) if job.get("type") else 0), None

    def interpret(self, item: Item, raw: Raw) -> Reading:
        """See Reader."""
        item.reading = self._interpret(item, raw)
        return item.reading

    def _interpret(self, item: Item, raw: Raw) -> Reading:
        stats, full, job, job_error = raw
        get = stats.get
        state = get("state.state", NOSTATE)
        shape, before = item.shape, item.reading
        if state not in ACTIVE_STATES:
            # What statistics say of CPU time is, for a domain that is off, the daemon's own
            return Reading(
                state,
                get("state.reason", 0),
                cpu_time_us=0,
                cpus=tuple([shape.cpu(number, 0) for number in shape.definition.online]),
                disks=(IDLE_DISK,) * len(shape.disks),
                nics=(IDLE_NIC,) * len(shape.nics),
                job_operation=0,
            )
        memory = get("balloon.current")
        count = get("vcpu.current")
        time_ns = get("cpu.time")
        cpus = _cpus(shape, stats)
        disks: Sequence[DiskCounters] = _disks(shape, stats)
        if not full and before is not None and before.state in ACTIVE_STATES:
            # The guest did not answer: what it would say stays as it was
            disks = before.disks if len(before.disks) == len(shape.disks) else disks
            cpus = cpus or before.cpus
            count = before.cpu_count if count is None else count
            memory = before.memory // 1024 if memory is None and before.memory else memory
        return Reading(
            state,
            get("state.reason", 0),
            cpu_count=count,
            memory=None if memory is None else memory * 1024,
            cpu_time_us=None if time_ns is None else time_ns // 1000,
            cpus=cpus,
            disks=disks,
            nics=_nics(shape, stats),
            job_operation=before.job_operation if before is not None and not full else job,
            job_error=job_error,
            full=full,
        )


def _is_full(stats: dict[str, Any]) -> bool:
    """Whether QEMU itself was asked: it alone knows these."""
    return "balloon.rss" in stats or any(
        f"block.{number}.rd.reqs" in stats for number in range(stats.get("block.count", 0))
    )


def _cpus(shape: Shape, stats: dict[str, Any]) -> tuple[Cpu, ...] | None:
    cpus = []
    for number in range(stats.get("vcpu.maximum", 0)):
        time_ns = stats.get(f"vcpu.{number}.time")
        if time_ns is not None:
            cpus.append(shape.cpu(number, time_ns // 1000))
        elif f"vcpu.{number}.state" in stats:
            cpus.append(shape.cpu(number, None))
    return tuple(cpus) or None


_BLOCK_KEYS = (
    ".capacity", ".rd.reqs", ".wr.reqs", ".rd.bytes", ".wr.bytes", ".rd.times", ".wr.times"
)  # fmt: skip
_NET_KEYS = (
    ".rx.bytes", ".tx.bytes", ".rx.pkts", ".tx.pkts", ".rx.errs", ".tx.errs", ".rx.drop", ".tx.drop"
)  # fmt: skip


def _disks(shape: Shape, stats: dict[str, Any]) -> Sequence[DiskCounters]:
    get = stats.get
    found: dict[str, DiskCounters] = {}
    for number in range(get("block.count", 0)):
        prefix = f"block.{number}"
        size, reads, writes, read_octets, write_octets, read_ns, write_ns = [
            get(prefix + key) for key in _BLOCK_KEYS
        ]
        found[get(prefix + ".name", "")] = (
            size,
            reads,
            writes,
            read_octets,
            write_octets,
            None if read_ns is None else read_ns // 1000,
            None if write_ns is None else write_ns // 1000,
        )
    return [found.get(target, NO_DISK) for target in shape.targets] if found else ()


def _nics(shape: Shape, stats: dict[str, Any]) -> Sequence[NicCounters]:
    get = stats.get
    found: dict[str, NicCounters] = {}
    for number in range(get("net.count", 0)):
        prefix = f"net.{number}"
        a, b, c, d, e, f, g, h = [get(prefix + key) for key in _NET_KEYS]
        found[get(prefix + ".name", "")] = (a, b, c, d, e, f, g, h)
    return [found.get(nic[1], NO_NIC) for nic in shape.nics] if found else ()


class EachReader:
    """A few calls per domain."""

    portion = 128

    def __init__(self, connection: Connection, cpu_count: int) -> None:
        self._connection = connection
        self._cpu_count = cpu_count
        self._vcpus = self._blocks = self._flows = True
        self._masks: dict[tuple[bool, ...], bytes] = {}
        # blockStats knows no times. The test driver's requests take none, as they do nothing.
        self._latency = 0 if connection.getType() == "TEST" else None
        self._idle: DiskCounters = (None, 0, 0, 0, 0, self._latency, self._latency)

    def read(self, items: Sequence[Item]) -> Iterable[Raw | None]:
        """See Reader. A raw value is (state, info, vcpus, block statistics, flows).

        Each is read when it is asked for: its parts are used while they are at hand.
        """
        return map(self._read_one, items)

    def _read_one(self, item: Item) -> Raw | None:
        dom = item.dom
        try:
            state = dom.state()
            info = dom.info()
        except LibvirtError as error:
            if is_gone(error):
                return None
            if is_dead(self._connection):
                raise
            return [NOSTATE, 0], None, None, None, None
        if state[0] not in ACTIVE_STATES:
            return state, info[1:4], None, None, None
        shape = item.shape
        vcpus = None
        if self._vcpus:
            try:
                vcpus = dom.vcpus()
            except LibvirtError as error:
                self._vcpus = not _is_no_call(error)
        # Where one device fails, the others are asked nevertheless
        blocks = flows = None
        if self._blocks:
            call = dom.blockStats
            try:
                blocks = [call(target) for target in shape.targets]
            except LibvirtError as error:
                self._blocks = not _is_no_call(error)
                blocks = [_attempt(call, target) for target in shape.targets]
        if self._flows and shape.nics:
            flows = self._read_flows(dom, shape)
        return state, info, vcpus, blocks, flows

    def _read_flows(self, dom: Domain, shape: Shape) -> list[_Flow]:
        call = dom.interfaceStats
        try:
            return [call(nic[1]) for nic in shape.nics]
        except LibvirtError as error:
            self._flows = not _is_no_call(error)
            return [_attempt(call, nic[1]) for nic in shape.nics]

    def interpret(self, item: Item, raw: Raw) -> Reading:
        """See Reader."""
        (state, reason), info, vcpus, blocks, flows = raw
        if info is None:
            return Reading(state, reason)
        if state not in ACTIVE_STATES:
            shape = item.shape
            return Reading(
                state,
                reason,
                info[2],
                info[1] * 1024,
                0,
                tuple([shape.cpu(number, 0) for number in shape.definition.online]),
                (self._idle,) * len(shape.disks) if self._blocks else (),
                (IDLE_NIC,) * len(shape.nics) if self._flows else (),
            )
        _, _, memory, count, time_ns = info
        return Reading(
            state,
            reason,
            count,
            memory * 1024,
            time_ns // 1000,
            None if vcpus is None else self._cpus(*vcpus),
            () if blocks is None else _blocks(blocks, self._latency),
            () if flows is None else _flows(flows),
        )

    def _cpus(self, vcpus: list[Any], maps: list[tuple[bool, ...]]) -> tuple[Cpu, ...]:
        masks = self._masks
        try:
            return tuple(
                [
                    Cpu(number, time_ns // 1000, masks[cpu_map])
                    for (number, _, time_ns, _), cpu_map in zip(vcpus, maps, strict=False)
                ]
            )
        except KeyError:
            if len(masks) > _MOST_MASKS:
                masks.clear()
            for cpu_map in maps:
                masks[cpu_map] = mask_of_map(cpu_map, self._cpu_count)
            return self._cpus(vcpus, maps)


_MOST_MASKS = 10_000

_Block = Any
_Flow = Any


def _blocks(blocks: list[_Block], latency: int | None) -> list[DiskCounters]:
    """From blockStats' reads, octets read, writes, octets written; -1: not known."""
    if None in blocks:
        blocks = [one or _UNKNOWN_BLOCK for one in blocks]
    return [
        (None, reads, writes, read_octets, write_octets, latency, latency)
        if reads >= 0 <= writes
        else NO_DISK
        for reads, read_octets, writes, write_octets, _ in blocks
    ]


def _flows(flows: list[_Flow]) -> list[NicCounters]:
    """From interfaceStats' octets, packets, errors, drops, received and then sent."""
    if None in flows:
        flows = [one or _UNKNOWN_FLOW for one in flows]
    return [(a, e, b, f, c, g, d, h) if a >= 0 <= e else NO_NIC for a, b, c, d, e, f, g, h in flows]


_UNKNOWN_BLOCK = (-1, -1, -1, -1, -1)
_UNKNOWN_FLOW = (-1, -1, -1, -1, -1, -1, -1, -1)


def _is_no_call(error: libvirt.libvirtError) -> bool:
    return bool(error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT)


def _attempt(call: Callable[[str], T], target: str) -> T | None:
    with contextlib.suppress(LibvirtError):
        return call(target)
    return None


def _state_only(dom: Domain) -> dict[str, Any]:
    try:
        state, reason = dom.state()[:2]
    except LibvirtError:
        state, reason = NOSTATE, 0
    return {"state.state": state, "state.reason": reason}
