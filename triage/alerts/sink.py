"""The contract of whatever a message is sent to, and how delivery treats it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from triage.alerts.message import AlertMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One attempt to send one message."""

    message: AlertMessage
    repeat: bool = False
    """It may have been received before: a former attempt ended without an answer."""
    standing: AlertMessage | None = None
    """What the sink was last told of the same incident, where it `stands`."""


class Sink(Protocol):
    """Takes messages to somewhere. The order of an incident's messages is kept by the caller."""

    @property
    def name(self) -> str:
        """As configured: unique, and the same after a restart, for messages wait under it."""
        ...

    @property
    def resend(self) -> float | None:
        """Seconds after which the newest message of an incident has to be sent again, until it is
        resolved, lest the sink forgets it; None: once is enough, and every message counts.
        """  # noqa: D205
        ...

    @property
    def hold(self) -> float:
        """Seconds that lie between a firing message and the one that resolves it, at least."""
        ...

    async def send(self, sending: Sending) -> None:
        """Send a message; return when the sink confirmed that it has it.

        Raises SinkError: RefusedError when it never will, the others when it may later.
        """
        ...
