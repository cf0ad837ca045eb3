"""The contract of whatever has containers' logs: the Kubernetes API, or files on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRef:
    """Whose log: a container of a pod, or a file (then `pod` is its path and the rest is "")."""

    pod: str
    namespace: str = ""
    container: str = ""
    previous: bool = False
    """The instance before the last restart."""

    @property
    def shown(self) -> str:
        """How an operator names it."""
        where = f"{self.namespace}/{self.pod}" if self.namespace else self.pod
        return (
            where
            + (f"/{self.container}" if self.container else "")
            + (" (previous)" if self.previous else "")
        )


class LogSource(Protocol):
    """Reads lines as bytes without their newline, prefixed as the source has them.

    Kubernetes prefixes each line with an RFC 3339 time and a space (timestamps=true); a runtime's
    file has the CRI prefix "TIME stdout F "; other files have none. `triage.cri` takes them apart.
    """

    def read(self, ref: LogRef, start: float, end: float) -> AsyncIterator[bytes]:
        """Give the lines from `start` (seconds since 1970) to about `end`, oldest first.

        May give more than asked for (never less, when it has it): the caller compares times.
        Raises SourceError, before the first line or between two.
        """
        ...

    def follow(self, ref: LogRef, start: float) -> AsyncIterator[bytes]:
        """Give lines from `start` on as they are written, until the log ends or is cancelled.

        Raises SourceError.
        """
        ...
