"""Where which machine was seen: UUID -> hypervisor and vmIndex, kept so that a look need not walk.

RFC 7666: vmIndex "may not persist across re-initialization of the hypervisor", so what is kept is
a hint that is checked on each use, and the answer to "who had it before" when nobody has it now.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

MAX_PLACES = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine was seen last."""

    hypervisor: str
    """Configured name."""
    vm_index: int


class VmIndex(Protocol):
    """What keeps the places; both calls return at once."""

    def get(self, uuid: str) -> Place | None:
        """Give the place of a canonical UUID, as the hypervisor writes it."""
        ...

    def put(self, uuid: str, place: Place) -> None:
        """Keep a place; called only when it changed."""
        ...


class MemoryIndex:
    """Keeps places in memory; those not used for longest are forgotten."""

    def __init__(self, limit: int = MAX_PLACES) -> None:
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._limit = limit

    def get(self, uuid: str) -> Place | None:
        """Give the place of a UUID."""
        place = self._places.get(uuid)
        if place is not None:
            self._places.move_to_end(uuid)
        return place

    def put(self, uuid: str, place: Place) -> None:
        """Keep a place."""
        self._places[uuid] = place
        self._places.move_to_end(uuid)
        if len(self._places) > self._limit:
            self._places.popitem(last=False)
