"""The ways in which a sink does not take a message.

The message of each is one clear line that names the sink's host and holds no secret. What delivery
does about it follows from the class: a refusal is final, everything else is tried again.
"""

from __future__ import annotations

LONGEST_RETRY_AFTER = 3600.0
"""Seconds that a sink may ask to be left alone; what it asks for beyond it is taken for this."""


class AlertConfigError(Exception):
    """A sink cannot work as it is configured; one line that says what to change."""


class SinkError(Exception):
    """A sink did not confirm that it took a message."""

    maybe_received = False
    """Whether it may have taken the message all the same, so that a repeat is one visibly."""


class RefusedError(SinkError):
    """It understood and does not want it (4xx): the same message will never be taken."""


class UnreachableError(SinkError):
    """It was not reached, so that it cannot have received anything."""


class BusySinkError(SinkError):
    """It asks to be left alone for a while: 408, 425, 429, 503 with Retry-After."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds, None when it does not say."""


class FaultySinkError(SinkError):
    """It failed (5xx), broke off or did not answer in time: it may have taken the message."""

    maybe_received = True
