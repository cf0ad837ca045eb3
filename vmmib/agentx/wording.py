"""How the log speaks: the logger that is expected, and the RFC's names of numbers."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Protocol

from vmmib.agentx.pdu import CloseReason, ErrorStatus


class Logger(Protocol):
    """What is used of a structlog logger."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log a change for the better."""
        ...

    def warning(self, event: str, **fields: Any) -> Any:
        """Log a change for the worse."""
        ...

    def error(self, event: str, **fields: Any) -> Any:
        """Log a fault of this program."""
        ...


def error_name(number: int) -> str:
    """Return the RFC's spelling of a res.error: "duplicateRegistration"."""
    return _name(ErrorStatus, number)


def reason_name(number: int) -> str:
    """Return the RFC's spelling of a c.reason: "reasonShutdown"."""
    return _name(CloseReason, number, "reason")


def _name(numbers: type[IntEnum], number: int, start: str = "") -> str:
    try:
        words = numbers(number).name.title().split("_")
    except ValueError:
        return str(number)
    joined = start + "".join(words)
    return joined[0].lower() + joined[1:]
