"""Values in Kubernetes objects, read with tolerance: anything may be missing, null or malformed.

Pure. Times are RFC 3339 strings in the API (metav1.Time, MicroTime) and seconds since 1970 here.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?([Zz]|[+-]\d\d:\d\d)"
)


def parse_time(value: object) -> float | None:
    """Seconds since 1970, None for what is no RFC 3339 time."""
    nanos = parse_nanos(value)
    return nanos / 10**9 if nanos is not None else None


def parse_nanos(value: object) -> int | None:
    """Nanoseconds since 1970: a log line's time, exactly."""
    found = TIME.match(value) if isinstance(value, str) else None
    if not found:
        return None
    *fields, fraction, zone = found.groups()
    numbers = [int(f) for f in fields]
    numbers[5] = min(numbers[5], 59)  # a leap second is the second before it
    try:
        datetime(*numbers, tzinfo=UTC)  # type: ignore[misc, arg-type]  # checks the ranges
    except ValueError:
        return None
    seconds = timegm((*numbers, 0, 0, 0))
    if zone not in "Zz":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds * 10**9 + int((fraction or "").ljust(9, "0")[:9])


def format_time(seconds: float, digits: int = 0) -> str:
    """RFC 3339 in UTC with that many digits of a second (0 to 6), rounded down."""
    micros = int(seconds * 1e6)
    moment = datetime.fromtimestamp(micros // 10**6, UTC)
    fraction = f".{micros % 10**6:06d}"[: digits + 1] if digits else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def as_dict(value: object) -> Json:
    """The value when it is an object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Json]:
    """The objects in a list, [] for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_int(value: object) -> int:
    """The value when it is a whole number, otherwise 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def maybe_int(value: object) -> int | None:
    """The value when it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_str(value: object) -> str:
    """The value when it is text, otherwise ""."""
    return value if isinstance(value, str) else ""


def as_labels(value: object) -> dict[str, str]:
    """A map of text to text."""
    return {str(k): str(v) for k, v in as_dict(value).items()}


def truth(status: object) -> bool | None:
    """A condition's status: None for "Unknown" and for none."""
    return {"True": True, "False": False}.get(as_str(status))


def cut(text: object, limit: int = 1000) -> str:
    """One line of text, without control characters, of a bounded length."""
    if not isinstance(text, str):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def meta(item: Json) -> Json:
    """An object's metadata."""
    return as_dict(item.get("metadata"))


def name_of(item: Json) -> str:
    """An object's name."""
    return as_str(meta(item).get("name"))
