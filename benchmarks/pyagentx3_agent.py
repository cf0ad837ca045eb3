"""The same rows, served by stock pyagentx3 (0.1.4) as its users write agents.

    python -m benchmarks.pyagentx3_agent SOCKET DUMP

One Updater sets all values once. It is written around three of the package's faults: one updater
alone, as one's update clears the rows of another whose OID it is a prefix of; no second update, as
the index is sorted anew for each; octets given as bytes, as text that is not Latin-1 raises.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyagentx3.agent import Agent
from pyagentx3.updater import Updater

from benchmarks import varbinds

VM_MIB = "1.3.6.1.2.1.236"
ONCE = 10**9
"""Seconds between updates."""


def dotted(oid: tuple[int, ...]) -> str:
    return ".".join(map(str, oid))


class Rows(Updater):
    """All rows of a dump; `data_store` is its path."""

    def update(self) -> None:
        setters = {
            varbinds.INTEGER: self.set_INTEGER,
            varbinds.OCTETS: self.set_OCTETSTRING,
            varbinds.OBJECT_ID: self.set_OBJECTIDENTIFIER,
            varbinds.COUNTER32: self.set_COUNTER32,
            varbinds.GAUGE32: self.set_GAUGE32,
            varbinds.TICKS: self.set_TIMETICKS,
            varbinds.COUNTER64: self.set_COUNTER64,
        }
        below = VM_MIB.count(".") + 1
        for one in varbinds.read_all(Path(self.data_store).read_bytes()):
            value = dotted(one.value) if isinstance(one.value, tuple) else one.value
            setters[one.type](dotted(one.oid[below:]), value)  # type: ignore[no-untyped-call]


class Bench(Agent):
    """The agent as the package's documentation has it."""

    def setup(self) -> None:
        self.register(VM_MIB, Rows, freq=ONCE, data_store=sys.argv[2])  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    agent = Bench("bench", sys.argv[1].removeprefix("unix:"))  # type: ignore[no-untyped-call]
    agent.start()  # type: ignore[no-untyped-call]
