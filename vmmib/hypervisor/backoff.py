"""How long to wait before trying again."""

from __future__ import annotations

import random

FIRST = 0.5
LONGEST = 15.0


class Backoff:
    """Doubling pauses with jitter, from at most half a second to at most 15 seconds.

    The jitter keeps the children of many hypervisors, which lost them in one moment (a switch, a
    vCenter), from coming back in one moment.
    """

    def __init__(self) -> None:
        self._ceiling = FIRST

    def next(self) -> float:
        """The next pause in seconds."""
        ceiling = self._ceiling
        self._ceiling = min(2 * ceiling, LONGEST)
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)

    def reset(self) -> None:
        """Begin again with the shortest; after a success."""
        self._ceiling = FIRST
