"""What a source knows of one domain between two looks at it."""

from __future__ import annotations

from vmmib.hypervisor.assemble import EMPTY, NOWHERE, Reading, Shape, Size
from vmmib.hypervisor.libvirt_connection import Domain
from vmmib.hypervisor.model import OperState, Vm
from vmmib.hypervisor.readers import Raw
from vmmib.hypervisor.states import States

Flags = tuple[bool, bool, bool]
"""Autostart, transient, managed save."""

NO_FLAGS: Flags = (False, False, False)

ACTIVE = frozenset(
    {
        OperState.RUNNING,
        OperState.PREPARING,
        OperState.SUSPENDING,
        OperState.RESUMING,
        OperState.PAUSED,
        OperState.MIGRATING,
        OperState.SHUTTINGDOWN,
    }
)
"""States with a running instance."""


class Known:
    """What is known of one VM. Guarded by the source's lock, but for what the poller alone uses."""

    __slots__ = (
        "__weakref__",
        "cause",
        "defined_at",
        "definition",
        "derived",
        "dom",
        "first_question",
        "flags",
        "fresh",
        "gone",
        "identity",
        "key",
        "mark",
        "name",
        "placed_at",
        "placement",
        "raw",
        "reading",
        "round",
        "sent",
        "shape",
        "sizes",
        "stale",
        "text",
        "unsure",
        "uuid",
        "vm",
    )

    def __init__(self, uuid: bytes, name: str, dom: Domain) -> None:
        self.uuid = uuid
        self.identity: bytes | str = uuid or name
        """See guarded.identity_of."""
        self.key = uuid.hex() if uuid else f"name:{name}"
        self.name = name
        self.dom = dom
        self.definition = EMPTY
        self.text: int | None = None
        """Hash of the XML that the definition is of."""
        self.defined_at = 0.0
        self.placed_at = 0.0
        self.stale = True
        """The definition is to be read again."""
        self.placement = NOWHERE
        self.sizes: dict[str, Size] = {}
        self.shape = Shape(EMPTY, NOWHERE, {})
        self.fresh = True
        """The shape is new: the same raw value means another VM."""
        self.cause: tuple[int, int, bool, int | None, int | None] | None = None
        """What `derived` was derived from."""
        self.derived: States = (OperState.UNKNOWN, None)
        self.raw: Raw = None
        self.reading: Reading | None = None
        self.flags: Flags | None = None
        """Autostart, transient, managed save."""
        self.vm: Vm | None = None
        """As last sent."""
        self.mark = 0
        self.round = 0
        """The refresh that listed it."""
        self.sent = 0
        """The refresh that sent it."""
        self.unsure: States | None = None
        """What the last event most likely means, until the state is read."""
        self.first_question: float | None = None
        self.gone = False

    @property
    def active(self) -> bool:
        """Whether it has a running instance, by what was sent last."""
        return self.vm is not None and self.vm.oper in ACTIVE

    def reshape(self) -> None:
        """Take over a new definition, placement or size."""
        self.shape = Shape(self.definition, self.placement, self.sizes)
        self.fresh = True
