"""From libvirt's states, reasons, jobs and lifecycle events to the states of RFC 7666.

Pure. The numbers are libvirt's (virDomainState and its reasons, virDomainJobOperation,
virDomainEventType and its details), which never change; they are repeated here so that the
mapping needs no libvirt.

A state that is read (`derive`) is exact. An event (`from_event`) is as early as can be and says
less: None means that only reading the state can tell.

How they differ from a plain table of libvirt's states:

- Managed save: the domain is off, yet its memory is kept, so it is suspended(6).
- A job reveals what the state does not: saving is suspending(5), migrating is migrating(9).
- An incoming migration has no job to read: libvirt refuses jobStats on it.
- The ESX and VMware drivers say "paused" of a machine whose memory was written to disk.
- S3 (PMSUSPENDED) keeps the memory resident: paused(8), by RFC 7666's definition of it.
"""

from __future__ import annotations

from typing import NamedTuple

from vmmib.hypervisor.model import AdminState, OperState

# virDomainState
NOSTATE, RUNNING, BLOCKED, PAUSED, SHUTDOWN, SHUTOFF, CRASHED, PMSUSPENDED = range(8)

# virDomainPausedReason
PAUSED_MIGRATION = 2
PAUSED_SAVE = 3
PAUSED_SHUTTING_DOWN = 8
PAUSED_CRASHED = 10
PAUSED_STARTING_UP = 11
PAUSED_POSTCOPY = 12

# virDomainShutoffReason
SHUTOFF_CRASHED = 3
SHUTOFF_SAVED = 5
SHUTOFF_FAILED = 6

# virDomainJobOperation
JOB_SAVE = 2
JOB_RESTORE = 3
JOB_MIGRATION_IN = 4
JOB_MIGRATION_OUT = 5

OPERATION_UNSUPPORTED = 84
"""virErrorNumber; what jobStats fails with while a migration comes in."""

ACTIVE_STATES = frozenset(range(8)) - {SHUTOFF}
"""The domain has an ID and its counters count: a crashed one may be kept for its dump, and Xen has
no state for one that is not on a CPU at the moment."""

_SAVES_ON_PAUSE = frozenset({"ESX", "VMware"})
_PAUSES_AT_START = frozenset({"QEMU"})
"""Drivers that announce RESUMED before or after STARTED, unless the domain starts paused."""


class RawState(NamedTuple):
    """What a driver says of one domain."""

    state: int
    reason: int = 0
    managed_save: bool = False
    """It has a managed save image."""
    job_operation: int | None = None
    """0: no job; None: the driver cannot tell."""
    job_stats_error: int | None = None
    """The number of the error that jobStats failed with."""
    driver: str = ""
    """libvirt's own name of its driver ("QEMU", "ESX", ...)."""


States = tuple[OperState, AdminState | None]
"""vmOperState and vmAdminState; None: the last known one stands."""

_UNKNOWN: States = (OperState.UNKNOWN, None)
_OTHER: States = (OperState.OTHER, None)
_PREPARING: States = (OperState.PREPARING, AdminState.RUNNING)
_RUNNING: States = (OperState.RUNNING, AdminState.RUNNING)
_SUSPENDING: States = (OperState.SUSPENDING, AdminState.SUSPENDED)
_SUSPENDED: States = (OperState.SUSPENDED, AdminState.SUSPENDED)
_RESUMING: States = (OperState.RESUMING, AdminState.RUNNING)
_PAUSED: States = (OperState.PAUSED, AdminState.PAUSED)
_MIGRATING: States = (OperState.MIGRATING, AdminState.RUNNING)
_SHUTTINGDOWN: States = (OperState.SHUTTINGDOWN, AdminState.SHUTDOWN)
_SHUTDOWN: States = (OperState.SHUTDOWN, AdminState.SHUTDOWN)
_CRASHED: States = (OperState.CRASHED, AdminState.SHUTDOWN)
_PANICKED: States = (OperState.CRASHED, None)

_SIMPLE: dict[int, States] = {
    NOSTATE: _UNKNOWN,
    PMSUSPENDED: _PAUSED,
    SHUTDOWN: _SHUTTINGDOWN,
    CRASHED: _PANICKED,
}


ENDED = _SHUTDOWN
"""Of a transient domain that was saved to a file: it is no more, whatever becomes of the file."""


def derive(raw: RawState, previous: OperState | None = None) -> States:
    """The states of a domain as read; `previous` is the vmOperState before (None: not known)."""
    state = raw.state
    if state in (RUNNING, BLOCKED):
        if raw.job_operation == JOB_SAVE:
            return _SUSPENDING
        if raw.job_operation in (JOB_MIGRATION_OUT, JOB_MIGRATION_IN):
            return _MIGRATING
        return _RUNNING
    if state == PAUSED:
        return _paused(raw, previous)
    if state == SHUTOFF:
        if raw.managed_save:
            return _SUSPENDED
        return _CRASHED if raw.reason in (SHUTOFF_CRASHED, SHUTOFF_FAILED) else _SHUTDOWN
    return _SIMPLE.get(state, _OTHER)


def _paused(raw: RawState, previous: OperState | None) -> States:
    if raw.driver in _SAVES_ON_PAUSE:
        return _SUSPENDED
    reason = raw.reason
    incoming = raw.job_stats_error == OPERATION_UNSUPPORTED
    if reason in (PAUSED_MIGRATION, PAUSED_POSTCOPY, PAUSED_STARTING_UP) and (
        incoming or raw.job_operation in (JOB_MIGRATION_OUT, JOB_MIGRATION_IN)
    ):
        return _MIGRATING
    if reason in (PAUSED_MIGRATION, PAUSED_POSTCOPY):
        # With a job to read and none there, a migration ended without taking the domain along
        return _MIGRATING if raw.job_operation is None else _PAUSED
    if reason == PAUSED_SAVE:
        return _PAUSED if raw.job_operation == 0 else _SUSPENDING
    if reason == PAUSED_STARTING_UP:
        resumes = raw.job_operation == JOB_RESTORE or previous in (
            OperState.SUSPENDED,
            OperState.RESUMING,
        )
        return _RESUMING if resumes else _PREPARING
    if reason == PAUSED_SHUTTING_DOWN:
        return _SHUTTINGDOWN
    if reason == PAUSED_CRASHED:
        return _PANICKED
    return _PAUSED


# virDomainEventType
EVENT_DEFINED = 0
EVENT_UNDEFINED = 1
EVENT_STARTED = 2
EVENT_SUSPENDED = 3
EVENT_RESUMED = 4
EVENT_STOPPED = 5
EVENT_SHUTDOWN = 6
EVENT_PMSUSPENDED = 7
EVENT_CRASHED = 8

# Details
DEFINED_RENAMED = 2
UNDEFINED_RENAMED = 1
STARTED_BOOTED = 0
STARTED_MIGRATED = 1
STARTED_RESTORED = 2
STARTED_FROM_SNAPSHOT = 3
SUSPENDED_PAUSED = 0
SUSPENDED_MIGRATED = 1
SUSPENDED_POSTCOPY = 7
STOPPED_CRASHED = 2
STOPPED_SAVED = 4
STOPPED_FAILED = 5
CRASHED_PANICKED = 0

_AT_START: dict[int, States] = {
    STARTED_BOOTED: _PREPARING,
    STARTED_MIGRATED: _MIGRATING,
    STARTED_RESTORED: _RESUMING,
    STARTED_FROM_SNAPSHOT: _RESUMING,
}


class FromEvent(NamedTuple):
    """What a lifecycle event says of the state."""

    states: States
    certain: bool
    """False: the event is one of several things and the state tells which. `states` is the
    likeliest, to be used when the state cannot be read before the next event."""


def from_event(
    event: int, detail: int, previous: OperState | None, driver: str
) -> FromEvent | None:
    """The states after a lifecycle event; None when it says nothing of them.

    Uncertain are: SUSPENDED/PAUSED, which stands for a user's pause, a save, a dump, a snapshot
    and a panic; STOPPED/SAVED, after a managed save as after a save to any file.
    """
    if event == EVENT_STARTED:
        if driver in _PAUSES_AT_START and previous is not OperState.RUNNING:
            return FromEvent(_AT_START.get(detail, _RUNNING), True)
        return FromEvent(_RUNNING, True)
    if event == EVENT_CRASHED and detail != CRASHED_PANICKED:
        return None  # a guest that loaded its crash kernel runs on
    found = _BY_DETAIL.get((event, detail)) or _BY_EVENT.get(event)
    return None if found is None else FromEvent(found, (event, detail) not in _UNCERTAIN)


_BY_EVENT: dict[int, States] = {
    EVENT_SUSPENDED: _PAUSED,
    EVENT_RESUMED: _RUNNING,
    EVENT_STOPPED: _SHUTDOWN,
    EVENT_SHUTDOWN: _SHUTTINGDOWN,
    EVENT_PMSUSPENDED: _PAUSED,
    EVENT_CRASHED: _PANICKED,
}

_BY_DETAIL: dict[tuple[int, int], States] = {
    (EVENT_SUSPENDED, SUSPENDED_MIGRATED): _MIGRATING,
    (EVENT_SUSPENDED, SUSPENDED_POSTCOPY): _MIGRATING,
    (EVENT_STOPPED, STOPPED_SAVED): _SUSPENDED,
    (EVENT_STOPPED, STOPPED_CRASHED): _CRASHED,
    (EVENT_STOPPED, STOPPED_FAILED): _CRASHED,
}

_UNCERTAIN = frozenset({(EVENT_SUSPENDED, SUSPENDED_PAUSED), (EVENT_STOPPED, STOPPED_SAVED)})


def before_save(states: States) -> States:
    """What an uncertain SUSPENDED/PAUSED was when STOPPED/SAVED follows it."""
    return _SUSPENDING if states == _PAUSED else states
