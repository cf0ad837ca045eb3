"""The ways in which a source fails: its own small hierarchy, the same for every source.

A source raises these from its inner functions; what it gives to the cascade is a `Look` that says
FAILED with the error's line. The message is one clear line that names the thing and the remedy, and
holds no secret.
"""

from __future__ import annotations


class SourceError(Exception):
    """A source could not be asked, or its answer is of no use."""


class DownError(SourceError):
    """Nothing answers there: refused, unreachable, name unknown, connection lost."""


class SlowError(SourceError):
    """It did not answer in time."""


class DeniedError(SourceError):
    """It answers, and not to us: 401, 403, wrong community, bad certificate."""


class MissingError(SourceError):
    """It answers, and has no such thing: 404, 410."""


class BusyError(SourceError):
    """It asks to be left alone for a while: 429, 503 with Retry-After."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds, None when it does not say."""


class GarbageError(SourceError):
    """It answers with what cannot be understood: 5xx, truncated or malformed content."""
