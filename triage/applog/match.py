"""Whose request a line is about: the probed one, one that may be it, or another.

Rules
- A request id decides alone. Once one line bears the probed request's id, the application is known
  to pass ids on, and access lines without it are other requests. Other ids on such a line (a trace
  id) tell the same request, too.
- Without one: method, path with its query, and time must fit. The line is written between the
  request's start and its end, allowing for skew and flush; where the line tells how long the
  request took, the start that follows from it must fit, too. Where user agent or authority are
  logged, they must not speak against it.
- The proxy passes a status on (details `via_upstream`): then a line with another status is another
  request's.
- One line that fits is the request (OWN), or as many as the proxy tried; of more equal ones nobody
  can tell: LIKELY.
- What a sidecar proxied, its own pod answered: lines of other pods are of other requests.
- A path that fits only after a prefix was added or taken away (a rewrite), a line without the
  query that the proxy logged, or one written after the proxy had given up waiting: LIKELY.
- Without a proxy line there is only what the monitor asks for and the window: OWN takes the
  monitor's user agent, and that no other line fits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import unquote

from triage.applog.formats import Parsed
from triage.evidence import Match, ProxyRequest, ProxyRole, Target, Window

_GAVE_UP = frozenset({"UT", "SI", "DC", "UPE", "UR", "UC", "DT", "LR"})
"""Response flags after which the application may still be at work on the request."""
_HERE = 1.0
"""Seconds by which a time in whole seconds may be early."""


class Fit(IntEnum):
    """How well one line fits, by itself."""

    NO = 0
    NEAR = 1
    FULL = 2
    ID = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is looked for."""

    method: str
    path: str
    query: str | None
    authority: str
    agent: re.Pattern[str] | None
    """The monitor's; or the very one of the proxy's line."""
    request_id: str | None
    status: int | None
    """That the application must have answered, where the proxy passed it on."""
    start: float
    end: float
    """Within which its line is written."""
    late: float
    """Until when it may still come, after the proxy gave up."""
    begin: tuple[float, float]
    """Within which the request began."""
    known: bool
    """A proxy line is known."""
    attempts: int = 1
    """How often the proxy sent it: so many lines may be its own."""
    pod: str = ""
    """Of the sidecar that wrote the line; "" when any pod may have answered."""

    @classmethod
    def of(
        cls,
        target: Target,
        window: Window,
        request: ProxyRequest | None,
        *,
        skew: float = 1.0,
        flush: float = 2.0,
    ) -> Asked:
        """Make it of the proxy's line, or without one of what the monitor asks for."""
        path, query = split_path((request and request.path) or target.path)
        start, end, late, begin = window.start, window.end, window.end, (window.start, window.end)
        if request is not None:
            start, end = request.time - skew, request.end + skew + flush
            late = max(end, window.end) if _GAVE_UP.intersection(request.flags) else end
            begin = (request.time - skew, request.end + skew)
        return cls(
            method=((request and request.method) or target.method).upper(),
            path=path,
            query=query,
            authority=((request and request.authority) or target.authority).lower(),
            agent=_agent(target, request),
            request_id=_usable_id(request),
            status=_passed_on(request),
            start=start,
            end=end,
            late=late,
            begin=begin,
            known=request is not None,
            attempts=_attempts(request),
            pod=request.pod if request is not None and request.role is ProxyRole.SIDECAR else "",
        )


def _agent(target: Target, request: ProxyRequest | None) -> re.Pattern[str] | None:
    if request is not None and request.user_agent:
        return re.compile(re.escape(request.user_agent) + r"\Z")
    try:
        return re.compile(target.user_agent, re.IGNORECASE) if target.user_agent else None
    except re.error:  # said where settings are read
        return None


def _usable_id(request: ProxyRequest | None) -> str | None:
    """An id long enough not to be found by chance."""
    found = (request.request_id or "").lower() if request is not None else ""
    return found if len(found) >= 8 else None


def _passed_on(request: ProxyRequest | None) -> int | None:
    if request is None or request.details != "via_upstream" or _attempts(request) > 1:
        return None
    return request.status


def _attempts(request: ProxyRequest | None) -> int:
    return 1 + max(0, (request and request.retries) or 0)


def split_path(target: str) -> tuple[str, str | None]:
    """Path and query of a target as they are compared; a query that is not there is None."""
    target = target.partition("#")[0]
    path, found, query = target.partition("?")
    return unquote(path) or "/", unquote(query) if found else None


def bears_id(asked: Asked, text: str, parsed: Parsed) -> bool:
    """Whether a line bears the probed request's id."""
    wanted = asked.request_id
    if wanted is None:
        return False
    return wanted in parsed.ids or wanted in text.lower()


def fit_access(asked: Asked, parsed: Parsed, time: float, text: str) -> Fit:
    """How well an access line fits."""
    if bears_id(asked, text, parsed):
        return Fit.ID
    if parsed.method != asked.method or not _status_fits(asked, parsed):
        return Fit.NO
    path = _path_fit(asked, parsed.path or "")
    when = _time_fit(asked, parsed, time)
    return min(path, when, _agent_fit(asked, parsed), _authority_fit(asked, parsed))


def fit_text(asked: Asked, parsed: Parsed, time: float, text: str) -> Fit:
    """How well a line of text fits that names a request; a line that names none does not."""
    if bears_id(asked, text, parsed):
        return Fit.ID
    if parsed.path is None or parsed.method not in {None, asked.method}:
        return Fit.NO
    fit = min(_path_fit(asked, parsed.path), _time_fit(asked, parsed, time))
    return min(fit, Fit.NEAR)


def another(asked: Asked, parsed: Parsed) -> bool:
    """Whether a line of text names a request, and not this one."""
    if parsed.path is None or parsed.path == "*":
        return False
    wrong = parsed.method not in {None, asked.method}
    return wrong or _path_fit(asked, parsed.path) is Fit.NO


def _status_fits(asked: Asked, parsed: Parsed) -> bool:
    return asked.status is None or parsed.status == asked.status


def _path_fit(asked: Asked, logged: str) -> Fit:
    path, query = split_path(logged)
    if path == asked.path:
        if query == asked.query or not (query or asked.query):
            return Fit.FULL
        return Fit.NEAR if query is None else Fit.NO
    longer, shorter = sorted((path, asked.path), key=len, reverse=True)
    rewritten = len(shorter) > 1 and longer.endswith(shorter)
    return Fit.NEAR if rewritten else Fit.NO


def _time_fit(asked: Asked, parsed: Parsed, time: float) -> Fit:
    if not asked.start <= time <= asked.late:
        return Fit.NO
    if parsed.duration is not None and asked.known:
        began = time - parsed.duration
        first, last = asked.begin
        if not first - _HERE <= began <= last + _HERE:
            return Fit.NO
        return Fit.FULL
    return Fit.FULL if time <= asked.end else Fit.NEAR


def _agent_fit(asked: Asked, parsed: Parsed) -> Fit:
    if parsed.user_agent is None or asked.agent is None:
        return Fit.FULL if asked.known else Fit.NEAR
    return Fit.FULL if asked.agent.search(parsed.user_agent) else Fit.NO


def _authority_fit(asked: Asked, parsed: Parsed) -> Fit:
    if not parsed.authority or not asked.authority:
        return Fit.FULL
    same = _host(parsed.authority) == _host(asked.authority)
    return Fit.FULL if same else Fit.NEAR


def _host(authority: str) -> str:
    return authority.lower().rpartition("@")[2].removesuffix(":80").removesuffix(":443")


def settle(fits: Sequence[Fit], attempts: int = 1) -> list[Match]:
    """Whose request each of the access lines is about, seen together."""
    if Fit.ID in fits:
        return [Match.OWN if fit is Fit.ID else Match.OTHER for fit in fits]
    alone = 1 <= sum(fit is Fit.FULL for fit in fits) <= attempts
    return [_settled(fit, alone) for fit in fits]


def _settled(fit: Fit, alone: bool) -> Match:
    if fit is Fit.NO:
        return Match.OTHER
    return Match.OWN if fit is Fit.FULL and alone else Match.LIKELY
