"""How long to wait before trying again."""

from __future__ import annotations

import random

FIRST = 1.0
"""Seconds within which the first retry comes."""
LONGEST = 15.0
"""Seconds that two tries are apart at most."""
_DOUBLINGS = 6


class Backoff:
    """Exponential, jittered: each wait is drawn from the upper half of a bound that doubles."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.attempt = 0
        """Waits since the last `reset`."""

    def reset(self) -> None:
        """Start over with short waits."""
        self.attempt = 0

    def wait(self) -> float:
        """Seconds to wait before the next try."""
        bound = min(LONGEST, FIRST * float(1 << min(self.attempt, _DOUBLINGS)))
        self.attempt += 1
        return bound * self._rng.uniform(0.5, 1.0)
