"""Our own engine's identity and boots counter (RFC 3411 section 5, RFC 3414 section 2.2).

They are kept in a small file, since a sender of informs takes a clock that went back for a replay.
Without a file the engine is a new one with each start: senders find out by themselves, and nothing
can be replayed either.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

MAX_BOOTS = 2**31 - 1
"""Of snmpEngineBoots (RFC 3414 section 2.2.2)."""

_ENTERPRISE = 32473
"""Private enterprise number for examples (RFC 5612): the engine ID is random behind it."""


def new_engine_id() -> bytes:
    """Make an engine ID: enterprise, format 5 (octets, administratively assigned), 16 random."""
    return (1 << 31 | _ENTERPRISE).to_bytes(4, "big") + b"\x05" + secrets.token_bytes(16)


def next_boot(path: Path | None) -> tuple[bytes, int]:
    """Give engine ID and boots of this start, and keep them; OSError when that fails."""
    if path is None:
        return new_engine_id(), 1
    engine_id, boots = _read(path)
    boots += 1
    if boots >= MAX_BOOTS:
        engine_id, boots = new_engine_id(), 1
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - has its mode already
        json.dump({"engine_id": engine_id.hex(), "boots": boots}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return engine_id, boots


def _read(path: Path) -> tuple[bytes, int]:
    try:
        content = json.loads(path.read_text("ascii"))
        engine_id, boots = bytes.fromhex(content["engine_id"]), int(content["boots"])
    except FileNotFoundError:
        return new_engine_id(), 0
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        # Half-written or somebody's: a new engine is safe, a guessed counter is not
        return new_engine_id(), 0
    if not 5 <= len(engine_id) <= 32 or boots < 0:
        return new_engine_id(), 0
    return engine_id, boots
