"""Time that neither jumps nor stops: seconds since the epoch that follow CLOCK_BOOTTIME.

Uptimes of machines are differences of two readings, often weeks apart. A wall clock that is set in
between would falsify them, so the wall clock is read once per host boot (the anchor, which the
state file keeps) and the boot clock is added to it.
"""

from __future__ import annotations

import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The kernel's identifier of this boot; "" where there is none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class SteadyClock:
    """Seconds since the epoch, unmoved by steps of the wall clock within one host boot."""

    def __init__(self, anchor: float | None = None) -> None:
        """`anchor`: the wall clock at boot, from an earlier clock of the same boot."""
        self.anchor = time.time() - _since_boot() if anchor is None else anchor

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.anchor + _since_boot()

    def from_wall(self, wall: float) -> float:
        """A recent reading of the wall clock (seconds since the epoch) on this clock's scale."""
        return wall + self.now() - time.time()


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
