"""Envoy's own log lines, which stand between the access log's on the same stream.

Forms: Envoy's default "[2023-11-21 10:00:00.123][15][warning][config] [source/...] text", Istio's
"2023-11-21T10:00:00.123456Z<tab>warning<tab>envoy config<tab>text", and Istio's JSON
{"level":"warn","time":"...","scope":"envoy config","msg":"..."}.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from triage.cri import parse_time

_ENVOY = re.compile(
    r"\[(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\]\[\d+\]\[(\w+)\]\[[^\]]*\] ?(.*)", re.DOTALL
)
_ISTIO = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z)[\t ]+(\w+)[\t ]+(.*)", re.DOTALL)
_BARE = re.compile(r"(trace|debug|info|warn|warning|error|critical|fatal)\t(.*)", re.DOTALL)
_BAD = frozenset({"warn", "warning", "error", "err", "critical", "fatal"})
_LEVELS = _BAD | {"trace", "debug", "info", "off"}


@dataclass(frozen=True, slots=True)
class OwnLine:
    """A line of Envoy's or the agent's own log."""

    time: float | None
    level: str
    text: str

    @property
    def bad(self) -> bool:
        """A warning or worse."""
        return self.level in _BAD


def own_line(text: str) -> OwnLine | None:
    """Read a line; None when it is none of Envoy's own."""
    match = _ENVOY.match(text)
    if match:
        time = parse_time(f"{match[1]}T{match[2]}Z".encode())
        return OwnLine(time, match[3].lower(), match[4])
    match = _ISTIO.match(text)
    if match and match[2].lower() in _LEVELS:
        return OwnLine(parse_time(match[1].encode()), match[2].lower(), match[3])
    match = _BARE.match(text)  # its time was taken for the log source's
    if match:
        return OwnLine(None, match[1], match[2])
    return _of_json(text) if text[:1] == "{" and '"level"' in text else None


def _of_json(text: str) -> OwnLine | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    level, message = found.get("level"), found.get("msg", found.get("message"))
    if not isinstance(level, str) or not isinstance(message, str) or level.lower() not in _LEVELS:
        return None
    stamp = found.get("time")
    time = parse_time(stamp.encode()) if isinstance(stamp, str) and len(stamp) < 64 else None
    return OwnLine(time, level.lower(), message)
