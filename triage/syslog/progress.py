"""How far a long computation has come, for whoever waits: the command line draws it.

Rules
- Work says what it does; it never knows whether anybody looks, and reads no clock for it.
- Stages follow one another: `begin`, any number of `advance`, `end`; they are not nested.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a computation tells of itself. Called from one thread."""

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Start a stage of `total` units (None: nobody knows), as "reading", 2_000_000, "B"."""

    def advance(self, n: int) -> None:
        """Tell that `n` more units are done."""

    def end(self) -> None:
        """End the stage, done or not."""


class NoProgress:
    """Nobody waits."""

    def begin(self, stage: str, total: int | None, unit: str) -> None:
        """Do nothing."""

    def advance(self, n: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""
