"""How long to wait before trying again."""

from __future__ import annotations

import random

FIRST = 1.0
"""Seconds within which the first retry comes."""
LONGEST = 15.0
"""Seconds that two tries are apart at most."""
_DOUBLINGS = 6


class Backoff:
    """Exponential, jittered: each wait is drawn from the upper half of a bound that doubles.

    The jitter keeps those who lost one server in one moment from coming back in one moment.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = random.Random() if rng is None else rng  # noqa: S311 - jitter is no secret
        self.attempt = 0
        """Waits since the last `reset`."""

    def reset(self) -> None:
        """Start over with short waits; after a success."""
        self.attempt = 0

    def wait(self) -> float:
        """Seconds to wait before the next try."""
        bound = min(LONGEST, FIRST * (1 << min(self.attempt, _DOUBLINGS)))
        self.attempt += 1
        return bound * self._rng.uniform(0.5, 1.0)
