r"""Access lines of text: which request, answered with which status.

Rules
- An access line tells of a request that this application answered: method, path and status, all
  three. Lines about requests that it sent to others (urllib3, httpx) are none.
- A request line in quotes is taken from its own place, the first one after the client and the
  time: what a client writes into its path or user agent comes later, with quotes escaped (nginx
  \x22, Apache \") or, in the path, without a space. So no client can fake another status.
- Formats that say the same in the same words are one pattern: uvicorn, hypercorn, gunicorn, nginx,
  Apache, Tomcat, Jetty, Werkzeug, Django, aiohttp, Puma, php-fpm, morgan (combined, common) all
  hold `"GET / HTTP/1.1" 200`.

Every pattern is linear in the length of the line, and lines are cut before they come here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

METHODS = (
    "GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK"
    "|UNLOCK|REPORT|SEARCH|PURGE|QUERY"
)
_METHOD = rf"(?P<method>{METHODS})"
_STATUS = r"(?P<status>[1-5]\d\d)"
_END = r"(?=[\s,;:|)\]\"']|\Z)"

_QUOTED = re.compile(
    rf'"{_METHOD} (?P<path>\S*|(?:[^"\\]|\\.)*?) (?:HTTP/)?\d(?:\.\d)?"'
    rf"(?: from \S+ -)?\s+{_STATUS}{_END}"
)
"""The quoted part may also be chi's: "GET http://host/ HTTP/1.1" from 127.0.0.1:5 - 200 5B"""

_REFERER_AND_AGENT = re.compile(
    r'\s+(?:\d+|-)\s+"(?:[^"\\]|\\.)*"\s+"(?P<agent>(?:[^"\\]|\\.)*)"(?P<rest>.*)', re.DOTALL
)
_OUTBOUND = re.compile(
    r"https?://\S+\s?\Z|urllib3|connectionpool|\bhttpx\b|\baxios\b", re.IGNORECASE
)
_SECONDS = re.compile(r"\b(?:rt|request_time)=\"?(\d{1,6}\.\d{1,9})\b")

_HAPROXY = re.compile(
    rf"(?:-?\d+/){{4}}\+?-?\d+ {_STATUS} \+?\d+ .{{0,400}}?"
    rf'"{_METHOD} (?P<path>\S+)(?: HTTP/\d(?:\.\d)?)?"'
)
_PIPES = re.compile(
    rf"\|\s*{_STATUS}\s*\|\s*[^\s|]+\s*\|\s*[^\s|]+\s*\|\s*{_METHOD}\s*\|?\s*\"?(?P<path>/[^\"\s|]*)"
)
"""gin: [GIN] time | 200 | 1.2ms | 10.0.0.1 | GET "/"; fiber: time | 200 | 1ms | ip | GET | /"""

_STATUS_FIRST = re.compile(rf"(?:\A|[\s\]]){_STATUS} {_METHOD} (?P<path>/\S*) \(")
"""tornado: [I 250717 05:51:22 web:2271] 200 GET / (127.0.0.1) 0.50ms"""

_FINISHED = re.compile(
    rf"Request finished (?:HTTP/\S+ )?{_METHOD} (?P<path>\S+)[^|]{{0,200}}? - {_STATUS}{_END}"
)
"""ASP.NET Core: Request finished HTTP/1.1 GET http://localhost:5000/ - 200 - text/plain 1.2ms"""

_PLAIN = re.compile(
    rf"(?<![\w\"'/]){_METHOD} (?P<path>/\S*|\*)(?: HTTP/\d(?:\.\d)?)?"
    r"(?:\s+(?:->|=>|-|:|\||→|responded|returned|completed|finished|answered|status|code|with"
    r"|status=|code=)){0,3}"
    rf"\s+{_STATUS}{_END}(?!\s*(?:ms|s|us|µs|seconds|bytes|[kKM]?B|rows|items|times)\b)"
)
"""morgan's dev, tiny and short; Serilog: HTTP GET / responded 500 in 12.3 ms"""

_AFTER_QUOTED = (_HAPROXY, _PIPES, _STATUS_FIRST, _FINISHED, _PLAIN)
_ANY_METHOD = re.compile(rf"\b(?:{METHODS})\b")


@dataclass(frozen=True, slots=True)
class Access:
    """A request and its answer, as an access line tells."""

    method: str
    path: str
    """Path and query, as logged."""
    status: int
    user_agent: str | None = None
    duration: float | None = None
    """Seconds, where the line names the unit."""
    authority: str | None = None


def split_url(target: str) -> tuple[str | None, str]:
    """Authority and path of a request target, which may be a whole URL."""
    scheme, found, rest = target.partition("://")
    if not found or not scheme.isalpha():
        return None, target
    cut = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    path = rest[cut:]
    return rest[:cut] or None, path if path.startswith("/") else "/" + path


def read_access(text: str) -> Access | None:
    """The request that a line of text tells the answer of; None when it tells of none."""
    if _ANY_METHOD.search(text) is None:
        return None
    match = _QUOTED.search(text)
    if match is not None:
        return None if _OUTBOUND.search(text, 0, match.start()) else _quoted(match, text)
    for pattern in _AFTER_QUOTED:
        match = pattern.search(text)
        if match is not None:
            if _OUTBOUND.search(text, 0, match.start()):
                return None
            return _access(match)
    return None


def _access(match: re.Match[str]) -> Access:
    authority, path = split_url(match["path"])
    return Access(match["method"], path, int(match["status"]), authority=authority)


def _quoted(match: re.Match[str], text: str) -> Access:
    access = _access(match)
    tail = _REFERER_AND_AGENT.match(text, match.end())
    agent = rest = None
    if tail is not None:
        agent, rest = tail["agent"], tail["rest"]
    seconds = _SECONDS.search(rest) if rest else None
    return Access(
        method=access.method,
        path=access.path,
        status=access.status,
        user_agent=agent if agent not in ("", "-") else None,
        duration=float(seconds[1]) if seconds else None,
        authority=access.authority,
    )
