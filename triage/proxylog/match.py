"""Whose request a line is about.

Rules, for one line and one target in a window:
- OTHER when anything that is logged speaks against it: another method or path, a user agent that
  is not the monitor's, another authority (if the target's is known), a start outside the window.
- OWN when nothing does, and the user agent is the monitor's, or the request id is one that is
  known to be the monitor's (by the gateway's line of the same request).
- LIKELY otherwise: the user agent is not logged, or cannot be read.
- A line without method and path (TCP proxy) is LIKELY in the window, whoever asks: nothing in it
  tells one client from another. It is OTHER where the same log has the target's HTTP lines; see
  `settle`.

Paths are compared without fragment, percent-encoding decoded where that is without doubt
(unreserved characters), "" and "/" the same; a query counts when the target has one. A rewriting
gateway changes the path: behind it, sidecar lines are matched by request id (`join`). A longer path
ending in the target's is not the target's.

Authorities are compared without case, and without a port where one of the two has none. A monitor
that goes to a pod's address bears it as its authority: a target whose authority is not set matches
any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from triage.evidence import Match, ProxyRequest, ProxyRole, Target, Window

_RANK = {Match.OWN: 0, Match.LIKELY: 1, Match.OTHER: 2}
_UNRESERVED = re.compile(r"%(2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
AGENT_LIMIT = 512
"""Characters of a user agent that the target's expression is tried on."""


def plain_path(path: str) -> str:
    """A path in the form in which paths are compared."""
    path = path.split("#", 1)[0]
    path = re.sub(r"^[a-z][a-z0-9+.-]*://[^/?]*", "", path, flags=re.IGNORECASE)
    path = _UNRESERVED.sub(lambda match: chr(int(match[1], 16)), path)
    return path if path.startswith("/") else f"/{path}"


def same_path(wanted: str, seen: str) -> bool:
    """Whether `seen` is the path `wanted`; without a query in `wanted`, any will do."""
    wanted, seen = plain_path(wanted), plain_path(seen)
    if wanted == seen:
        return True
    return "?" not in wanted and seen.split("?", 1)[0] == wanted


def same_authority(wanted: str, seen: str) -> bool:
    """Whether two authorities name the same; one without a port fits any port."""
    host, port = _host_port(wanted)
    other, other_port = _host_port(seen)
    return host == other and (not port or not other_port or port == other_port)


def _host_port(authority: str) -> tuple[str, str]:
    authority = authority.strip().lower()
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, rest.removeprefix(":")
    host, colon, port = authority.rpartition(":")
    if not colon or ":" in host:  # none, or an IPv6 address without brackets
        return authority.rstrip("."), ""
    return host.rstrip("."), port


@lru_cache(maxsize=256)
def agent_expression(expression: str) -> re.Pattern[str]:
    """`Target.user_agent`, compiled. Raises re.error."""
    return re.compile(expression, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the target's requests look like in the window."""

    target: Target
    window: Window
    request_ids: frozenset[str] = frozenset()
    """Ids that are known to be the monitor's."""

    def match(self, request: ProxyRequest) -> Match:
        """Say whose request it is."""
        if request.time not in self.window:
            return Match.OTHER
        if request.request_id is not None and request.request_id in self.request_ids:
            return Match.OWN
        if self._speaks_against(request):
            return Match.OTHER
        if request.user_agent is None or request.method is None or request.path is None:
            return Match.LIKELY
        return Match.OWN

    def is_related(self, request: ProxyRequest) -> bool:
        """Whether it may be another Envoy's line of the monitor's request: by its user agent."""
        agent = request.user_agent
        expression = agent_expression(self.target.user_agent)
        return agent is None or expression.search(agent[:AGENT_LIMIT]) is not None

    def _speaks_against(self, request: ProxyRequest) -> bool:
        target = self.target
        agent, method, path = request.user_agent, request.method, request.path
        return (
            (method is not None and method.upper() != target.method.upper())
            or (path is not None and not same_path(target.path, path))
            or (
                agent is not None
                and not agent_expression(target.user_agent).search(agent[:AGENT_LIMIT])
            )
            or (
                bool(target.authority)
                and request.authority is not None
                and not same_authority(target.authority, request.authority)
            )
        )


def join(requests: Sequence[ProxyRequest], window: Window, slack: float = 1.0) -> frozenset[str]:
    """Request ids of the monitor's own requests, by which other Envoys' lines of them are found.

    An id that more than `AT_MOST` lines bear is nobody's: some clients send a constant one.
    """
    counts: dict[str, int] = {}
    for request in requests:
        if request.request_id is not None:
            counts[request.request_id] = counts.get(request.request_id, 0) + 1
    return frozenset(
        request.request_id
        for request in requests
        if request.match is Match.OWN
        and request.request_id is not None
        and counts[request.request_id] <= AT_MOST
        and window.start - slack <= request.time <= window.end + slack
    )


AT_MOST = 16
"""Lines of one request id: hops times tries, with room."""


def settle(target: Target, window: Window, requests: Iterable[ProxyRequest]) -> list[ProxyRequest]:
    """Match all lines of a window, from all of the target's Envoys, together.

    Joins gateway and sidecar lines by request id, and takes TCP lines for OTHER where HTTP lines of
    the target are there.
    """
    wanted = Wanted(target, window)
    first = [replace(one, match=wanted.match(one)) for one in requests]
    ids = join(first, window)
    if ids:
        wanted = Wanted(target, window, ids)
        first = [_again(one, wanted) for one in first]
    if any(one.match is Match.OWN for one in first):
        first = [
            replace(one, match=Match.OTHER)
            if one.match is Match.LIKELY and one.method is None
            else one
            for one in first
        ]
    return first


def _again(request: ProxyRequest, wanted: Wanted) -> ProxyRequest:
    match = wanted.match(request)
    return request if match is request.match else replace(request, match=match)


def rank(match: Match) -> int:
    """For sorting: OWN first."""
    return _RANK[match]


def direction(request: ProxyRequest) -> str:
    """Give "inbound" (to this pod's application), "outbound", or "" when the line does not tell.

    Istio names clusters "inbound|8080||" and "outbound|80||front.default.svc.cluster.local".
    """
    cluster = request.upstream_cluster or ""
    if cluster.startswith(("inbound|", "InboundPassthrough")):
        return "inbound"
    if cluster.startswith("outbound") or cluster in ("PassthroughCluster", "BlackHoleCluster"):
        return "outbound"
    return "inbound" if request.role is ProxyRole.SIDECAR and request.route == "default" else ""
