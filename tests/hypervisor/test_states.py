"""The table of states, whole: every state and reason of libvirt, every job, every event."""

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmib.hypervisor import states
from vmmib.hypervisor.model import AdminState as A
from vmmib.hypervisor.model import OperState as O
from vmmib.hypervisor.states import RawState, derive, from_event

SAVE, RESTORE, IN, OUT = 2, 3, 4, 5


@pytest.mark.parametrize(
    ("raw", "previous", "expected"),
    [
        # NOSTATE
        (RawState(0), O.RUNNING, (O.UNKNOWN, None)),
        # RUNNING, BLOCKED
        (RawState(1, 1), None, (O.RUNNING, A.RUNNING)),
        (RawState(2, 0), None, (O.RUNNING, A.RUNNING)),
        (RawState(1, 1, job_operation=0), O.MIGRATING, (O.RUNNING, A.RUNNING)),
        (RawState(1, 1, job_operation=OUT), O.RUNNING, (O.MIGRATING, A.RUNNING)),
        (RawState(2, 1, job_operation=OUT), O.RUNNING, (O.MIGRATING, A.RUNNING)),
        (RawState(1, 2, job_operation=IN), O.RUNNING, (O.MIGRATING, A.RUNNING)),
        (RawState(1, 1, job_operation=SAVE), O.RUNNING, (O.SUSPENDING, A.SUSPENDED)),
        (RawState(1, 1, job_operation=8), O.RUNNING, (O.RUNNING, A.RUNNING)),  # dump
        (RawState(1, 1, job_operation=9), O.RUNNING, (O.RUNNING, A.RUNNING)),  # backup
        # Paused, by a migration
        (RawState(3, 2, job_operation=OUT), O.RUNNING, (O.MIGRATING, A.RUNNING)),
        (RawState(3, 2, job_stats_error=84), None, (O.MIGRATING, A.RUNNING)),
        (RawState(3, 11, job_stats_error=84), None, (O.MIGRATING, A.RUNNING)),
        (RawState(3, 2), O.RUNNING, (O.MIGRATING, A.RUNNING)),
        (RawState(3, 2, job_operation=0), O.MIGRATING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 12, job_operation=OUT), O.MIGRATING, (O.MIGRATING, A.RUNNING)),
        (RawState(3, 13, job_operation=0), O.MIGRATING, (O.PAUSED, A.PAUSED)),
        # Paused, by a save
        (RawState(3, 3, job_operation=SAVE), O.RUNNING, (O.SUSPENDING, A.SUSPENDED)),
        (RawState(3, 3), O.RUNNING, (O.SUSPENDING, A.SUSPENDED)),
        (RawState(3, 3, job_operation=0), O.SUSPENDING, (O.PAUSED, A.PAUSED)),
        # Paused, starting up
        (RawState(3, 11), None, (O.PREPARING, A.RUNNING)),
        (RawState(3, 11), O.SHUTDOWN, (O.PREPARING, A.RUNNING)),
        (RawState(3, 11), O.SUSPENDED, (O.RESUMING, A.RUNNING)),
        (RawState(3, 11), O.RESUMING, (O.RESUMING, A.RUNNING)),
        (RawState(3, 11, job_operation=RESTORE), O.SHUTDOWN, (O.RESUMING, A.RUNNING)),
        # Paused, the rest
        (RawState(3, 0), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 1), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 1, job_stats_error=84), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 4, job_operation=8), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 5), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 6), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 7), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 8), O.RUNNING, (O.SHUTTINGDOWN, A.SHUTDOWN)),
        (RawState(3, 9, job_operation=6), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(3, 10), O.RUNNING, (O.CRASHED, None)),
        (RawState(3, 999), O.RUNNING, (O.PAUSED, A.PAUSED)),
        # Paused where it means that the memory is on disk
        (RawState(3, 0, driver="ESX"), O.RUNNING, (O.SUSPENDED, A.SUSPENDED)),
        (RawState(3, 1, driver="VMware"), O.RUNNING, (O.SUSPENDED, A.SUSPENDED)),
        (RawState(3, 1, driver="Xen"), O.RUNNING, (O.PAUSED, A.PAUSED)),
        # SHUTDOWN
        (RawState(4, 1), O.RUNNING, (O.SHUTTINGDOWN, A.SHUTDOWN)),
        # SHUTOFF
        (RawState(5, 0), None, (O.SHUTDOWN, A.SHUTDOWN)),
        (RawState(5, 1), O.RUNNING, (O.SHUTDOWN, A.SHUTDOWN)),
        (RawState(5, 2), O.RUNNING, (O.SHUTDOWN, A.SHUTDOWN)),
        (RawState(5, 3), O.RUNNING, (O.CRASHED, A.SHUTDOWN)),
        (RawState(5, 4), O.RUNNING, (O.SHUTDOWN, A.SHUTDOWN)),
        (RawState(5, 5), O.SUSPENDING, (O.SHUTDOWN, A.SHUTDOWN)),
        (RawState(5, 6), O.PREPARING, (O.CRASHED, A.SHUTDOWN)),
        (RawState(5, 7), O.RUNNING, (O.SHUTDOWN, A.SHUTDOWN)),
        (RawState(5, 8), O.RUNNING, (O.SHUTDOWN, A.SHUTDOWN)),
        (RawState(5, 5, managed_save=True), O.SUSPENDING, (O.SUSPENDED, A.SUSPENDED)),
        (RawState(5, 0, managed_save=True), None, (O.SUSPENDED, A.SUSPENDED)),
        (RawState(5, 3, managed_save=True), None, (O.SUSPENDED, A.SUSPENDED)),
        # CRASHED, PMSUSPENDED, and what libvirt may yet invent
        (RawState(6, 1), O.RUNNING, (O.CRASHED, None)),
        (RawState(7, 0), O.RUNNING, (O.PAUSED, A.PAUSED)),
        (RawState(8, 0), O.RUNNING, (O.OTHER, None)),
    ],
)
def test_derive(raw: RawState, previous: O | None, expected: tuple[O, A | None]) -> None:
    assert derive(raw, previous) == expected


@given(
    st.builds(
        RawState,
        st.integers(-2, 20),
        st.integers(-2, 20),
        st.booleans(),
        st.none() | st.integers(0, 12),
        st.none() | st.integers(0, 110),
        st.sampled_from(["", "QEMU", "ESX", "Xen", "TEST", "LXC"]),
    ),
    st.none() | st.sampled_from(O),
)
def test_derive_of_anything_is_stable(raw: RawState, previous: O | None) -> None:
    once = derive(raw, previous)
    assert derive(raw, once[0]) == once  # the same reading twice is no change


def test_the_numbers_are_libvirts() -> None:
    for name in ("NOSTATE", "RUNNING", "BLOCKED", "PAUSED", "SHUTDOWN", "SHUTOFF", "CRASHED"):
        assert getattr(states, name) == getattr(libvirt, f"VIR_DOMAIN_{name}")
    assert states.PMSUSPENDED == libvirt.VIR_DOMAIN_PMSUSPENDED
    for name in ("MIGRATION", "SAVE", "SHUTTING_DOWN", "CRASHED", "STARTING_UP", "POSTCOPY"):
        assert getattr(states, f"PAUSED_{name}") == getattr(libvirt, f"VIR_DOMAIN_PAUSED_{name}")
    for name in ("CRASHED", "SAVED", "FAILED"):
        assert getattr(states, f"SHUTOFF_{name}") == getattr(libvirt, f"VIR_DOMAIN_SHUTOFF_{name}")
    for name in ("SAVE", "RESTORE", "MIGRATION_IN", "MIGRATION_OUT"):
        number = getattr(libvirt, f"VIR_DOMAIN_JOB_OPERATION_{name}")
        assert getattr(states, f"JOB_{name}") == number
    for name in (
        "DEFINED",
        "UNDEFINED",
        "STARTED",
        "SUSPENDED",
        "RESUMED",
        "STOPPED",
        "SHUTDOWN",
        "PMSUSPENDED",
        "CRASHED",
    ):
        assert getattr(states, f"EVENT_{name}") == getattr(libvirt, f"VIR_DOMAIN_EVENT_{name}")
    details = [
        ("DEFINED", "RENAMED"),
        ("UNDEFINED", "RENAMED"),
        ("STARTED", "BOOTED"),
        ("STARTED", "MIGRATED"),
        ("STARTED", "RESTORED"),
        ("STARTED", "FROM_SNAPSHOT"),
        ("SUSPENDED", "PAUSED"),
        ("SUSPENDED", "MIGRATED"),
        ("SUSPENDED", "POSTCOPY"),
        ("STOPPED", "CRASHED"),
        ("STOPPED", "SAVED"),
        ("STOPPED", "FAILED"),
        ("CRASHED", "PANICKED"),
    ]
    for event, detail in details:
        number = getattr(libvirt, f"VIR_DOMAIN_EVENT_{event}_{detail}")
        assert getattr(states, f"{event}_{detail}") == number
    assert states.OPERATION_UNSUPPORTED == libvirt.VIR_ERR_OPERATION_UNSUPPORTED


@pytest.mark.parametrize(
    ("event", "detail", "previous", "driver", "expected", "certain"),
    [
        (2, 0, O.SHUTDOWN, "QEMU", O.PREPARING, True),
        (2, 0, O.RUNNING, "QEMU", O.RUNNING, True),  # RESUMED came first
        (2, 0, O.SHUTDOWN, "TEST", O.RUNNING, True),
        (2, 0, O.SHUTDOWN, "LXC", O.RUNNING, True),
        (2, 1, None, "QEMU", O.MIGRATING, True),
        (2, 2, O.SUSPENDED, "QEMU", O.RESUMING, True),
        (2, 2, O.SUSPENDED, "Xen", O.RUNNING, True),
        (2, 3, O.SHUTDOWN, "QEMU", O.RESUMING, True),
        (2, 4, O.PAUSED, "QEMU", O.RUNNING, True),
        (3, 0, O.RUNNING, "QEMU", O.PAUSED, False),
        (3, 1, O.RUNNING, "QEMU", O.MIGRATING, True),
        (3, 2, O.RUNNING, "QEMU", O.PAUSED, True),
        (3, 3, O.RUNNING, "QEMU", O.PAUSED, True),
        (3, 4, O.RESUMING, "QEMU", O.PAUSED, True),
        (3, 5, O.SHUTDOWN, "QEMU", O.PAUSED, True),
        (3, 6, O.RUNNING, "QEMU", O.PAUSED, True),
        (3, 7, O.MIGRATING, "QEMU", O.MIGRATING, True),
        (3, 8, O.MIGRATING, "QEMU", O.PAUSED, True),
        *[(4, detail, O.PAUSED, "QEMU", O.RUNNING, True) for detail in range(5)],
        (5, 0, O.SHUTTINGDOWN, "QEMU", O.SHUTDOWN, True),
        (5, 1, O.RUNNING, "QEMU", O.SHUTDOWN, True),
        (5, 2, O.CRASHED, "QEMU", O.CRASHED, True),
        (5, 3, O.MIGRATING, "QEMU", O.SHUTDOWN, True),
        (5, 4, O.SUSPENDING, "QEMU", O.SUSPENDED, False),
        (5, 5, O.RUNNING, "QEMU", O.CRASHED, True),
        (5, 6, O.RUNNING, "QEMU", O.SHUTDOWN, True),
        *[(6, detail, O.RUNNING, "QEMU", O.SHUTTINGDOWN, True) for detail in range(3)],
        (7, 0, O.RUNNING, "QEMU", O.PAUSED, True),
        (7, 1, O.RUNNING, "QEMU", O.PAUSED, True),
        (8, 0, O.RUNNING, "QEMU", O.CRASHED, True),
    ],
)
def test_from_event(
    event: int, detail: int, previous: O | None, driver: str, expected: O, certain: bool
) -> None:
    found = from_event(event, detail, previous, driver)
    assert found is not None
    assert (found.states[0], found.certain) == (expected, certain)


@pytest.mark.parametrize(("event", "detail"), [(0, 0), (1, 0), (8, 1), (9, 0), (99, 99)])
def test_events_that_say_nothing_of_the_state(event: int, detail: int) -> None:
    assert from_event(event, detail, O.RUNNING, "QEMU") is None


def test_what_is_saved_was_being_saved() -> None:
    paused = from_event(3, 0, O.RUNNING, "QEMU")
    assert paused is not None
    assert states.before_save(paused.states) == (O.SUSPENDING, A.SUSPENDED)
    assert states.before_save((O.RUNNING, A.RUNNING)) == (O.RUNNING, A.RUNNING)
