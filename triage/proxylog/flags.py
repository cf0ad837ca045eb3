"""What became of a request, by what Envoy says in one access log entry.

Rules
- Three questions: how far did the request get (`Reach`), what went wrong (`Kind`, with a `reason`
  from the closed list of its kind), and who ended it (`Closer`).
- RESPONSE_CODE_DETAILS decides where it says more than "via_upstream": it names one event, while
  flags accumulate over all attempts. Without details the flags decide, the most telling one first;
  without either, what the other fields leave as possible.
- `via_upstream` says that the status is the application's. Flags may still say that the rest of
  the response never came (`200 UPE`, `200 DC`): such a request is not OK.
- A flag or detail that is not in the tables is kept and named; it never makes a request OK.
- `DETAILS` and `FLAGS` are the whole of the knowledge; `table()` prints them for the docs.

Sources: Envoy's documentation, "Access logging" (RESPONSE_FLAGS) and "Response code details";
envoy/stream_info/stream_info.h and source/common/stream_info/utility.h of Envoy 1.16 to 1.40. What
real Envoys wrote for each of these faults is in tests/triage/data/envoy.

What "reached" rests on: UPSTREAM_HOST is set as soon as a host is chosen, UPSTREAM_LOCAL_ADDRESS
only with a connection to it. Where the format logs local addresses (DOWNSTREAM_LOCAL_ADDRESS is
there) and the upstream one is empty, no connection was made.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from triage.evidence import ProxyRequest


class Reach(StrEnum):
    """How far the request got."""

    ANSWERED = "answered"
    """The upstream sent the head of a response at least."""
    REACHED = "reached"
    """A connection carried the request to the upstream, or may have; no response came."""
    NOT_REACHED = "not_reached"
    """The proxy tried to connect, and could not."""
    NOT_TRIED = "not_tried"
    """No upstream was asked: the proxy answered by itself, or the client left before."""
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """What went wrong."""

    OK = "ok"
    """A good status, and the whole response was sent."""
    APP_STATUS = "app_status"
    """The upstream answered, with a status that is not good."""
    RESET = "reset"
    """The connection or stream to the upstream ended before the response did."""
    CONNECT_FAILURE = "connect_failure"
    """No connection to the upstream: refused, unreachable, timed out, TLS, DNS."""
    NO_UPSTREAM = "no_upstream"
    """No healthy host to send it to."""
    TIMEOUT = "timeout"
    """A time limit of the proxy ended it."""
    CLIENT_GONE = "client_gone"
    """The client left, or never finished its request."""
    CONFIGURATION = "configuration"
    """Routes, clusters or filters as configured cannot serve it, or answer it as told."""
    POLICY = "policy"
    """Authorization, rate limit, injected fault: refused on purpose."""
    OVERLOAD = "overload"
    """Circuit breaker or overload protection."""
    PROTOCOL = "protocol"
    """The request or the response broke the protocol or a size limit."""
    PROXY_INTERNAL = "proxy_internal"
    """The proxy or one of its filters failed or answered by itself, for no reason listed here."""
    UNKNOWN = "unknown"
    """The line does not tell."""


class Closer(StrEnum):
    """Who ended the request before its time."""

    NOBODY = "nobody"
    UPSTREAM = "upstream"
    PROXY = "proxy"
    CLIENT = "client"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Classification:
    """What became of one request."""

    kind: Kind
    reason: str
    """One of the reasons of the kind in `DETAILS`, `FLAGS` and `CONNECT_REASONS`, or ""."""
    reach: Reach
    closer: Closer
    explanation: str
    """One sentence for people."""
    retried: bool = False
    """The proxy tried more than once."""
    unknown_flags: tuple[str, ...] = ()
    """Flags that no table has: a newer Envoy, or an extension's own."""

    @property
    def failed(self) -> bool:
        """Anything but OK."""
        return self.kind is not Kind.OK


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the tables. `reach` None: by whether there was a connection to the upstream."""

    kind: Kind
    reason: str
    reach: Reach | None
    closer: Closer
    text: str
    when_good: bool = False
    """With a good status, this is no failure."""


_K, _R, _C = Kind, Reach, Closer
_PROXY = (Reach.NOT_TRIED, Closer.PROXY)


# Rows of DETAILS: a pattern that the details begin with (lower case, spaces as "_"), and what it
# means. The first that fits counts.

_RESET_REASONS: tuple[tuple[str, Rule], ...] = (
    (
        r"overflow",
        Rule(_K.OVERLOAD, "circuit_breaker", *_PROXY, "a circuit breaker is open"),
    ),
    (
        r"overload_manager",
        Rule(_K.OVERLOAD, "overload_manager", *_PROXY, "the proxy sheds load"),
    ),
    (
        r"connection_timeout",
        Rule(
            _K.CONNECT_FAILURE, "timeout", _R.NOT_REACHED, _C.PROXY,
            "the connection to the upstream timed out",
        ),
    ),
    (
        r"local_connection_failure|local_connect",
        Rule(
            _K.CONNECT_FAILURE, "local", _R.NOT_REACHED, _C.PROXY,
            "the proxy itself could not open a connection",
        ),
    ),
    (
        r"remote_connection_failure|connection_failure|connect_error",
        Rule(
            _K.CONNECT_FAILURE, "other", _R.NOT_REACHED, _C.UPSTREAM,
            "the connection to the upstream failed",
        ),
    ),
    (
        r"connection_termination|http1_premature_upstream_half_close",
        Rule(
            _K.RESET, "connection_termination", _R.REACHED, _C.UPSTREAM,
            "the upstream closed the connection",
        ),
    ),
    (
        r"remote_refused_stream_reset",
        Rule(
            _K.RESET, "refused_stream", _R.REACHED, _C.UPSTREAM,
            "the upstream refused the stream without working on it",
        ),
    ),
    (
        r"remote_reset",
        Rule(_K.RESET, "remote_reset", _R.REACHED, _C.UPSTREAM, "the upstream reset the stream"),
    ),
    (
        r"local_(?:refused_stream_)?reset",
        Rule(_K.RESET, "local_reset", _R.REACHED, _C.PROXY, "the proxy reset the upstream stream"),
    ),
    (
        r"protocol_error|.*codec_error",
        Rule(
            _K.PROTOCOL, "response", _R.REACHED, _C.PROXY,
            "the upstream's response broke the protocol",
        ),
    ),
    (
        r"",
        Rule(_K.RESET, "other", _R.REACHED, _C.UNKNOWN, "the upstream stream was reset"),
    ),
)  # fmt: skip

_DETAIL_RULES: tuple[tuple[str, Rule], ...] = (
    *(
        (rf"upstream_reset_(?:before|after)_response_started\{{?(?:{inside})", rule)
        for inside, rule in _RESET_REASONS
    ),
    # Nowhere to go
    (
        r"no_healthy_upstream",
        Rule(_K.NO_UPSTREAM, "no_healthy_host", *_PROXY, "the cluster has no healthy host"),
    ),
    (
        r"(?:failed_)?(?:local_)?health_?check",
        Rule(
            _K.NO_UPSTREAM, "local_health_check", *_PROXY, "the local service failed its check",
            when_good=True,
        ),
    ),
    (
        r"dns_resolution_failure",
        Rule(
            _K.CONNECT_FAILURE, "dns", _R.NOT_REACHED, _C.PROXY,
            "the upstream's name could not be resolved",
        ),
    ),
    (
        r"route_not_found|route_configuration_not_found|filter_chain_not_found",
        Rule(_K.CONFIGURATION, "no_route", *_PROXY, "no route fits the request"),
    ),
    (
        r"cluster_not_found",
        Rule(_K.CONFIGURATION, "no_cluster", *_PROXY, "the route's cluster does not exist"),
    ),
    (
        r"filter_config_not_found|no_filter_config|filter_(?:removed|added)_",
        Rule(_K.CONFIGURATION, "filter", *_PROXY, "a filter is not configured as it must be"),
    ),
    (
        r"maintenance_mode",
        Rule(_K.CONFIGURATION, "maintenance", *_PROXY, "the cluster is in maintenance mode"),
    ),
    (
        r"direct_response",
        Rule(
            _K.CONFIGURATION, "direct_response", *_PROXY,
            "the route is configured to answer by itself", when_good=True,
        ),
    ),
    (
        r"upgrade_failed",
        Rule(_K.CONFIGURATION, "upgrade", *_PROXY, "upgrades of this kind are not configured"),
    ),
    (
        r"(?:cache\.)?response_from_cache_filter|internal_redirect",
        Rule(_K.APP_STATUS, "cached", *_PROXY, "the proxy answered from its cache", when_good=True),
    ),
    # Time limits
    (
        r"upstream_response_timeout|response_timeout",
        Rule(_K.TIMEOUT, "response", None, _C.PROXY, "no whole response within the route timeout"),
    ),
    (
        r"upstream_per_try_(?:idle_)?timeout",
        Rule(_K.TIMEOUT, "per_try", None, _C.PROXY, "no response within the time of one try"),
    ),
    (
        r"upstream_max_stream_duration_reached",
        Rule(_K.TIMEOUT, "max_stream_duration", None, _C.PROXY, "the upstream stream's time is up"),
    ),
    (
        r"max_duration_timeout|duration_timeout",
        Rule(_K.TIMEOUT, "max_duration", None, _C.PROXY, "the stream's or connection's time is up"),
    ),
    (
        r"request_(?:overall|header)s?_timeout",
        Rule(
            _K.CLIENT_GONE, "request_unfinished", None, _C.PROXY,
            "the client did not finish its request in time",
        ),
    ),
    (
        r"stream_idle_timeout|idle_timeout",
        Rule(_K.TIMEOUT, "stream_idle", None, _C.PROXY, "nothing was sent within the idle timeout"),
    ),
    # The client
    (
        r"downstream_remote_disconnect|http[123]\.remote_(?:reset|refuse)|client_disconnect",
        Rule(_K.CLIENT_GONE, "disconnect", None, _C.CLIENT, "the client went away"),
    ),
    (
        r"downstream_local_disconnect",
        Rule(
            _K.CLIENT_GONE, "closed_by_proxy", None, _C.PROXY,
            "the proxy closed the client's connection",
        ),
    ),
    # On purpose
    (
        r"rbac_",
        Rule(_K.POLICY, "rbac", *_PROXY, "an authorization policy refused it"),
    ),
    (
        r"ext_authz_(?:error|invalid)",
        Rule(_K.POLICY, "ext_authz_error", *_PROXY, "the external authorization failed to answer"),
    ),
    (
        r"ext_authz_|auth_extension|ext_auth",
        Rule(_K.POLICY, "ext_authz", *_PROXY, "the external authorization refused it"),
    ),
    (
        r"jwt_|oauth|basic_auth|.*api_key|invalid_(?:basic|api)|no_(?:basic|api)|missing_(?:basic|api)",
        Rule(_K.POLICY, "authentication", *_PROXY, "it was not authenticated"),
    ),
    (
        r"csrf|cors",
        Rule(_K.POLICY, "origin", *_PROXY, "its origin is not allowed"),
    ),
    (
        r"(?:connection_|local_|request_)?rate_limited",
        Rule(_K.POLICY, "rate_limit", *_PROXY, "a rate limit was reached"),
    ),
    (
        r"rate_limiter_error",
        Rule(_K.POLICY, "rate_limit_error", *_PROXY, "the rate limit service failed"),
    ),
    (
        r"fault_filter_abort",
        Rule(_K.POLICY, "fault_injection", *_PROXY, "an injected fault aborted it"),
    ),
    # Overload
    (
        r"overload|envoy_overloaded|too_many_",
        Rule(_K.OVERLOAD, "overload_manager", *_PROXY, "the proxy sheds load"),
    ),
    (
        r"(?:unconditional_)?drop_overload|.*admission_control|.*concurrency|.*bandwidth_limit",
        Rule(_K.OVERLOAD, "drop", *_PROXY, "it was dropped to shed load"),
    ),
    # Form
    (
        r"response_payload_too_large",
        Rule(
            _K.PROTOCOL, "response_too_large", _R.ANSWERED, _C.PROXY,
            "the response is larger than the proxy's buffer",
        ),
    ),
    (
        r"request_(?:payload|headers?)_(?:too_large|exceeded)|http[123]\.(?:headers_too_large|too_many_headers)",
        Rule(_K.PROTOCOL, "request_too_large", *_PROXY, "the request is larger than a limit"),
    ),
    (
        r"http[123]\.|absolute_path|low_version|missing_|path_norm|request_headers_f|invalid_|early_",
        Rule(_K.PROTOCOL, "request", *_PROXY, "the request is malformed, or not allowed in form"),
    ),
)  # fmt: skip

_DETAILS = tuple((re.compile(pattern), rule) for pattern, rule in _DETAIL_RULES)


# Flags: short name -> long name (RESPONSE_FLAGS_LONG) and meaning, the most telling first: when
# there are several, the first in this order counts.

FLAGS: dict[str, tuple[str, Rule]] = {
    "UAEX": (
        "UnauthorizedExternalService",
        Rule(_K.POLICY, "ext_authz", *_PROXY, "the external authorization refused it"),
    ),
    "FI": (
        "FaultInjected",
        Rule(_K.POLICY, "fault_injection", *_PROXY, "an injected fault aborted it"),
    ),
    "RL": ("RateLimited", Rule(_K.POLICY, "rate_limit", *_PROXY, "a rate limit was reached")),
    "RLSE": (
        "RateLimitServiceError",
        Rule(_K.POLICY, "rate_limit_error", *_PROXY, "the rate limit service failed"),
    ),
    "NR": (
        "NoRouteFound",
        Rule(_K.CONFIGURATION, "no_route", *_PROXY, "no route fits the request"),
    ),
    "NC": (
        "NoClusterFound",
        Rule(_K.CONFIGURATION, "no_cluster", *_PROXY, "the route's cluster does not exist"),
    ),
    "NFCF": (
        "NoFilterConfigFound",
        Rule(_K.CONFIGURATION, "filter", *_PROXY, "a filter's configuration has not come"),
    ),
    "OM": (
        "OverloadManagerTerminated",
        Rule(_K.OVERLOAD, "overload_manager", *_PROXY, "the proxy sheds load"),
    ),
    "DO": ("DropOverload", Rule(_K.OVERLOAD, "drop", *_PROXY, "it was dropped to shed load")),
    "UDO": (
        "UnconditionalDropOverload",
        Rule(_K.OVERLOAD, "drop", *_PROXY, "it was dropped to shed load"),
    ),
    "UO": (
        "UpstreamOverflow",
        Rule(_K.OVERLOAD, "circuit_breaker", *_PROXY, "a circuit breaker is open"),
    ),
    "UH": (
        "NoHealthyUpstream",
        Rule(_K.NO_UPSTREAM, "no_healthy_host", *_PROXY, "the cluster has no healthy host"),
    ),
    "LH": (
        "FailedLocalHealthCheck",
        Rule(_K.NO_UPSTREAM, "local_health_check", *_PROXY, "the local service failed its check"),
    ),
    "DF": (
        "DnsResolutionFailed",
        Rule(
            _K.CONNECT_FAILURE, "dns", _R.NOT_REACHED, _C.PROXY,
            "the upstream's name could not be resolved",
        ),
    ),
    "UPE": (
        "UpstreamProtocolError",
        Rule(
            _K.PROTOCOL, "response", _R.REACHED, _C.PROXY,
            "the upstream's response broke the protocol",
        ),
    ),
    "UF": (
        "UpstreamConnectionFailure",
        Rule(
            _K.CONNECT_FAILURE, "other", _R.NOT_REACHED, _C.UPSTREAM,
            "the connection to the upstream failed",
        ),
    ),
    "UC": (
        "UpstreamConnectionTermination",
        Rule(
            _K.RESET, "connection_termination", _R.REACHED, _C.UPSTREAM,
            "the upstream closed the connection",
        ),
    ),
    "UR": (
        "UpstreamRemoteReset",
        Rule(_K.RESET, "remote_reset", _R.REACHED, _C.UPSTREAM, "the upstream reset the stream"),
    ),
    "UT": (
        "UpstreamRequestTimeout",
        Rule(_K.TIMEOUT, "response", None, _C.PROXY, "no whole response within the route timeout"),
    ),
    "UMSDR": (
        "UpstreamMaxStreamDurationReached",
        Rule(_K.TIMEOUT, "max_stream_duration", None, _C.PROXY, "the upstream stream's time is up"),
    ),
    "SI": (
        "StreamIdleTimeout",
        Rule(_K.TIMEOUT, "stream_idle", None, _C.PROXY, "nothing was sent within the idle timeout"),
    ),
    "DT": (
        "DurationTimeout",
        Rule(_K.TIMEOUT, "max_duration", None, _C.PROXY, "the stream's or connection's time is up"),
    ),
    "IH": (
        "InvalidEnvoyRequestHeaders",
        Rule(_K.PROTOCOL, "request", *_PROXY, "a checked header of the request is invalid"),
    ),
    "DPE": (
        "DownstreamProtocolError",
        Rule(_K.PROTOCOL, "request", *_PROXY, "the request broke the protocol"),
    ),
    "DC": (
        "DownstreamConnectionTermination",
        Rule(_K.CLIENT_GONE, "disconnect", None, _C.CLIENT, "the client went away"),
    ),
    "DR": (
        "DownstreamRemoteReset",
        Rule(_K.CLIENT_GONE, "disconnect", None, _C.CLIENT, "the client reset its stream"),
    ),
    "LR": (
        "LocalReset",
        Rule(_K.RESET, "local_reset", _R.REACHED, _C.PROXY, "the proxy reset the upstream stream"),
    ),
    "URX": (
        "UpstreamRetryLimitExceeded",
        Rule(_K.RESET, "other", None, _C.UNKNOWN, "all tries failed", when_good=True),
    ),
    "DI": (
        "DelayInjected",
        Rule(
            _K.POLICY, "delay_injection", None, _C.PROXY, "it was delayed on purpose",
            when_good=True,
        ),
    ),
    "RFCF": (
        "ResponseFromCacheFilter",
        Rule(_K.APP_STATUS, "cached", *_PROXY, "the proxy answered from its cache", when_good=True),
    ),
}  # fmt: skip

SHORT: dict[str, str] = {long.lower(): short for short, (long, _) in FLAGS.items()} | {
    "overloadmanager": "OM",
    "dropoverload": "DO",
    "unauthorized": "UAEX",
}
"""Long name in lower case -> short name."""

_NEVER_ALONE = frozenset({"URX", "DI", "RFCF"})
"""Flags that accompany a response of the upstream's as well as a failure."""

CONNECT_REASONS: tuple[tuple[str, str], ...] = (
    ("refused", r"connection_refused|connect_error:_?111\b"),
    ("unreachable", r"no_route_to_host|_is_(?:unreachable|down)|error:_?1(?:13|01)\b"),
    ("timeout", r"connection_timeout|timed_out|error:_?110\b"),
    ("tls", r"tls_error|ssl_|certificate|handshake"),
    ("reset", r"connection_reset|error:_?104\b"),
    ("exhausted", r"cannot_assign_requested|too_many_open|error:_?(?:24|99)\b"),
    ("dns", r"dns_resolution"),
)  # fmt: skip
"""Reasons of CONNECT_FAILURE, and the words of the details or of the transport failure that tell.

The numbers are Linux's errno. "local" and "other" are what is left.
"""
_CONNECT = tuple((reason, re.compile(pattern)) for reason, pattern in CONNECT_REASONS)


def classify(request: ProxyRequest, good: Collection[int] | None = None) -> Classification:
    """Say what became of a request.

    `good` are the statuses that are no failure; None takes all from 100 to 399. Never raises.
    """
    details = _plain(request.details)
    fine = _is_good(request.status, good)
    rule = _by_details(details)
    if rule is None:
        rule = _by_flags(request.flags, answered=details == "via_upstream" or fine)
    if rule is None:
        rule = _without_any(request, details, good)
    rule = _delay_first(request, rule)
    reach = _reach(request, rule, details)
    kind, reason = rule.kind, rule.reason
    if fine and (rule.when_good or kind is Kind.APP_STATUS):
        kind, reason = Kind.OK, ""
    if kind is Kind.CONNECT_FAILURE:
        reason = _connect_reason(request, reason)
    if reason == "stream_idle" and request.status == 408:  # 504 when the request was whole
        kind, reason = Kind.CLIENT_GONE, "request_unfinished"
    unknown = tuple(flag for flag in request.flags if flag not in FLAGS)
    return Classification(
        kind=kind,
        reason=reason,
        reach=reach,
        closer=Closer.NOBODY if kind in (Kind.OK, Kind.APP_STATUS) else rule.closer,
        explanation=_explain(request, kind, reason, rule),
        retried="URX" in request.flags or (request.retries or 0) > 0,
        unknown_flags=unknown,
    )


def server_fault(request: ProxyRequest, found: Classification) -> bool:
    """Whether a failure is the serving side's: neither the client's own doing nor its leaving."""
    if not found.failed or found.kind is Kind.CLIENT_GONE:
        return False
    return request.status is None or not 400 <= request.status < 500


def _plain(text: str | None) -> str:
    return "" if text is None else re.sub(r"\s", "_", text.strip().lower())


def _is_good(status: int | None, good: Collection[int] | None) -> bool:
    if status is None:
        return False
    return 100 <= status < 400 if good is None else status in good


@lru_cache(maxsize=4096)
def _by_details(details: str) -> Rule | None:
    if not details or details == "via_upstream":
        return None
    return next((rule for pattern, rule in _DETAILS if pattern.match(details)), None)


@lru_cache(maxsize=1024)
def _by_flags(flags: tuple[str, ...], *, answered: bool) -> Rule | None:
    for name, (_, rule) in FLAGS.items():
        if name in flags and not (answered and name in _NEVER_ALONE):
            return rule
    return None


_ANSWERED = Rule(_K.APP_STATUS, "status", _R.ANSWERED, _C.NOBODY, "the upstream answered")
_LEFT = Rule(_K.CLIENT_GONE, "no_response", None, _C.CLIENT, "no response was ever begun")
_TUNNEL = Rule(_K.OK, "", None, _C.NOBODY, "the connection was carried")
_LOCAL = Rule(_K.PROXY_INTERNAL, "local_reply", *_PROXY, "the proxy answered by itself")
_REFUSED = Rule(_K.POLICY, "local_reply", *_PROXY, "the proxy refused it by itself")
_OWN_OK = Rule(_K.OK, "", *_PROXY, "the proxy answered by itself", when_good=True)
_OPEN = Rule(_K.UNKNOWN, "", _R.UNKNOWN, _C.UNKNOWN, "the line does not say what became of it")


def _without_any(request: ProxyRequest, details: str, good: Collection[int] | None) -> Rule:
    """Neither details nor flags have a row."""
    if set(request.flags) - FLAGS.keys():
        return _OPEN
    if request.status is None or (request.status == 0 and request.method is None):
        terminated = _by_details(_plain(request.termination_details))
        return terminated or (_TUNNEL if request.method is None else _OPEN)
    if details == "via_upstream" or request.upstream_service_ms is not None:
        return _ANSWERED
    if request.status == 0:
        return _LEFT
    if request.upstream_host is not None:
        return _OPEN if details else _ANSWERED
    if _is_good(request.status, good):
        return _OWN_OK
    if not details and not request.downstream_local:  # too little is logged to tell
        return _OPEN
    return _REFUSED if request.status in (401, 403, 407, 429) else _LOCAL


def _delay_first(request: ProxyRequest, rule: Rule) -> Rule:
    """A request that ended while the proxy held it back: the delay is what it died of."""
    delayed = "DI" in request.flags and rule.kind in (Kind.CLIENT_GONE, Kind.TIMEOUT)
    held = request.upstream_host is None and request.upstream_local is None
    return FLAGS["DI"][1] if delayed and held else rule


def _reach(request: ProxyRequest, rule: Rule, details: str) -> Reach:
    if details == "via_upstream" or details.startswith("upstream_reset_after_response"):
        return Reach.ANSWERED
    # An authorization service's response brings that header too, but sets no upstream host.
    if request.upstream_service_ms is not None and request.upstream_host is not None:
        return Reach.ANSWERED
    reach = rule.reach or _by_connection(request)
    # No local reply of these kinds bears such a status: the upstream's head came through.
    began = request.status is not None and 200 <= request.status < 400
    return Reach.ANSWERED if began and reach is Reach.REACHED else reach


def _by_connection(request: ProxyRequest) -> Reach:
    if request.method is None and request.bytes_sent and not request.flags:
        return Reach.ANSWERED
    if request.upstream_local is not None:
        return Reach.REACHED
    if request.downstream_local is not None:  # local addresses are logged
        return Reach.NOT_REACHED if request.upstream_host is not None else Reach.NOT_TRIED
    return Reach.REACHED if request.upstream_host is not None else Reach.UNKNOWN


def _connect_reason(request: ProxyRequest, reason: str) -> str:
    text = f"{_plain(request.details)} {_plain(request.transport_failure)}"
    return next((name for name, pattern in _CONNECT if pattern.search(text)), reason)


def _explain(request: ProxyRequest, kind: Kind, reason: str, rule: Rule) -> str:
    text = rule.text
    if kind is Kind.APP_STATUS:
        text = f"{text} with {request.status}"
    elif kind is Kind.CONNECT_FAILURE and reason not in ("other", rule.reason):
        text = f"{text} ({reason})"
    elif reason == "request_unfinished":
        text = "the client did not finish its request in time"
    if "URX" in request.flags and kind is not Kind.OK:
        text += ", after retries"
    if request.details and kind in (Kind.PROXY_INTERNAL, Kind.UNKNOWN, Kind.POLICY):
        text += f": {request.details[:200]}"
    return text


def rows() -> Iterator[tuple[str, str, Rule]]:
    """("flag" or "details", what the line has, its rule), in the order in which they count."""
    for pattern, rule in _DETAIL_RULES:
        yield "details", pattern, rule
    for short, (long, rule) in FLAGS.items():
        yield "flag", f"{short} {long}", rule


def table() -> str:
    """The tables in Markdown, for the docs."""
    lines = [
        "| from | what the line has | kind | reason | reach | ended by | meaning |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for source, what, rule in rows():
        shown = what.replace("|", "\\|")
        reach = rule.reach.value if rule.reach else "by connection"
        lines.append(
            f"| {source} | `{shown}` | {rule.kind} | {rule.reason} | {reach} | {rule.closer} "
            f"| {rule.text} |"
        )
    return "\n".join(lines) + "\n"
