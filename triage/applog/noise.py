"""Lines that never tell why this request failed: a list of kinds, and patterns from settings.

Rules
- Telemetry is about itself: an exporter of traces, metrics, logs or profiles that cannot deliver
  says nothing about requests. What decides is that the line is about exporting, not that a library
  of telemetry is named: instrumented applications have its frames in every traceback, so of a trace
  the message and the exception count, and frames only together with them.
- A client that went away, health checks and deprecations are kinds of their own.
- Every line that noise takes out keeps the name of the pattern, so that a reader can object.
- Patterns from settings are searched without regard to case in the first `LIMIT` characters, and
  those that could take for ever on some line are refused when they are given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LIMIT = 1000
"""Characters of a message in which patterns are searched."""
LONGEST = 500
"""Characters of a pattern."""

_SUBJECT = (
    r"(?:traces?|spans?|span batch|metrics?|logs?|log records?|telemetry|batch(?:es)?|profiles?"
    r"|stats|segments?|events?|envelopes?|transactions?|payloads?|data points?)"
)
_TELEMETRY = (
    r"(?:traces?|spans?|span batch|metrics?|metric data|logs?|log records?|telemetry|batch(?:es)?)"
)
"""What exporters alone export; an application may well export transactions or events."""
_SENDING = (
    r"(?:export(?:ing|ed)?|send(?:ing)?|sent|flush(?:ing)?|report(?:ing)?|submit(?:ting)?"
    r"|upload(?:ing)?|deliver(?:ing)?|push(?:ing)?|emit(?:ting)?|ship(?:ping)?|publish(?:ing)?)"
)
_BACKEND = (
    r"(?:opentelemetry|open-telemetry|otel(?:col|-collector|lib)?|otlp|jaeger|zipkin|skywalking"
    r"|datadog|dd-agent|ddtrace|dd\.trace|newrelic|new relic|nr-agent|sentry|elastic[- ]?apm"
    r"|apm[- ]server|apm agent|honeycomb|lightstep|statsd|dogstatsd|pushgateway|pyroscope"
    r"|fluentd|fluent[- ]?bit|fluent-logger|x-?ray daemon|appdynamics|dynatrace|instana|graphite"
    r"|influxdb reporter|prometheusremotewrite|remote[_ ]write|tempo|loki|logstash|graylog"
    r"|application ?insights|cloud ?trace|stackdriver|tracing collector|trace agent)"
)

_EXPORTERS = (
    rf"\bexporting {_TELEMETRY}\b",
    (
        rf"\b(?:exception|error|timeout|failed|failure|unable|cannot|could not)\b.{{0,60}}?"
        rf"\bexport(?:ing|er|s)?\b.{{0,40}}?\b(?:{_TELEMETRY}|otlp|collector)\b"
    ),
    r"\b(?:batch|simple)?(?:span|log|metric)s?(?:record)? ?(?:processor|exporter|reader)\b",
    (
        rf"\b(?:fail(?:ed|ure)?|unable|error|cannot|could not|retry(?:ing)?|timeout)\b.{{0,80}}?"
        rf"\b{_SENDING}\b.{{0,60}}?\b{_BACKEND}\b"
    ),
    (
        rf"\b{_BACKEND}\b.{{0,120}}?\b{_SENDING}\b.{{0,60}}?"
        r"\b(?:fail\w*|errors?|unavailable|refused|timed? ?out|retry\w*|drop\w*|unreachable)\b"
    ),
    (
        rf"\b{_BACKEND}\b.{{0,120}}?"
        r"\b(?:fail\w*|errors?|unable|cannot|could not|dropp\w+)\b.{0,60}?"
        rf"\b(?:{_SENDING}|{_SUBJECT}|connect\w*)\b"
    ),
    r"\bdropp(?:ed|ing) \d* ?(?:traces?|spans?|metrics?|log records?|telemetry)\b",
    (
        r"\bfailed to (?:send|flush|report|submit|upload|write|push) "
        r"(?:\w+ ){0,2}(?:traces?|spans?|metrics?|stats|telemetry|profiles?)\b"
    ),
    (
        r"\b(?:localhost|127\.0\.0\.1|collector|agent|jaeger|otel|tempo|zipkin)[\w.-]*'?"
        r"(?::|, port=)(?:4317|4318|14250|14268|6831|6832|9411|8125|8126|9091)\b"
    ),
    (
        r"/v1/(?:traces|metrics|logs)\b|/api/v2/spans\b|/api/traces\b|/v0\.[34]/traces\b"
        r"|/intake/v2/events\b"
    ),
    (
        r"\bio\.opentelemetry\.exporter\b|\bio\.jaegertracing\.internal\.(?:reporters|senders)\b"
        r"|\bzipkin2\.reporter\b|\bopentelemetry\.exporter\b|\bopentelemetry\.sdk\.\w+\.export\b"
        r"|\bddtrace\.(?:internal\.)?(?:writer|processor|agent)\b"
        r"|\bdatadog\.trace\.agent\.\w*writer\b"
    ),
    (
        r"\[otel\.javaagent\b|\btraces export:|\bopentelemetry error\b|\botel\.\w* ?error\b"
        r"|\bglobal\.handlemeta\b|\bOTEL_EXPORTER\w*|\bmetrics? (?:export|flush|push)\w* failed\b"
    ),
)
_EXPORTER_FRAMES = re.compile(
    r"opentelemetry/(?:exporter|sdk/\w+/(?:_internal/)?export)|opentelemetry\.exporter|jaeger_client/"
    r"|ddtrace/(?:internal|profiling)|sentry_sdk/transport|elasticapm/transport|statsd/client"
    r"|zipkin2\.reporter|jaegertracing\.internal|fluent/sender|opentelemetry\.sdk\.\w+\.export"
    r"|otlp|opencensus"
)
_CLIENT_GONE = (
    r"\bclient (?:\S+ )?(?:prematurely )?(?:closed|disconnected|aborted|timed out|went away)\b",
    r"\bclientabortexception\b|\bclientdisconnect\b|\bclientdisconnected\b|\bhttp: abort handler\b",
    r"\bcontext canceled\b.{0,80}?\b(?:client|request|write)\b",
    r"\bsocket hang up\b.{0,40}?\bclient\b",
    (
        r"\bbroken pipe\b.{0,60}?\b(?:client|response|write)\b|\bwrite: broken pipe\b"
        r"|\bwrit(?:e|ing) (?:the )?response\b.{0,80}?\bbroken pipe\b|\bignoring epipe\b"
        r"|\basyncrequestnotusableexception\b|\bebadclientdata\b|\bconnection closed by client\b"
    ),
)
_DEPRECATIONS = (
    (
        r"\b(?:pending)?deprecationwarning\b|\b(?:is|are|was|has been|been) deprecated\b"
        r"|\bdeprecated (?:api|option|setting|method|function|in favou?r)\b|\bdep\d{4}\b"
        r"|\bfuturewarning\b|\bwill be removed in\b"
    ),
)
_HEALTH = (
    (
        r"\b(?:kube-probe|elb-healthchecker|googlehc|consul health check"
        r"|health ?checks? (?:ok|passed|succeeded))\b"
    ),
)

BUILTIN: dict[str, tuple[str, ...]] = {
    "telemetry exporter": _EXPORTERS,
    "client gone": _CLIENT_GONE,
    "deprecation": _DEPRECATIONS,
    "health check": _HEALTH,
}
"""Kinds of noise that are never this request's failure, and what tells them."""

_BUILTIN = {
    kind: re.compile("|".join(patterns), re.IGNORECASE) for kind, patterns in BUILTIN.items()
}
_HINTS = (
    "export", "span", "trace", "metric", "telemetry", "otel", "otlp", "jaeger", "zipkin",
    "datadog", "sentry", "apm", "loki", "fluent", "skywalking", "newrelic", "new relic",
    "pushgateway", "pyroscope", "honeycomb", "lightstep", "x-ray", "xray", "appdynamics",
    "instana", "graphite", "influx", "remote", "tempo", "logstash", "graylog", "insights",
    "stackdriver", "dropp", "stats", "profile", "/v1/", "/v0", "/api/", "/intake", ":4317",
    ":4318", ":9411", ":8125", ":8126", ":9091", ":14250", ":14268", ":683", "port=", "client",
    "abort", "cancel", "pipe", "deprecat", "futurew", "removed", "dep0", "dep1", "health",
    "kube-probe", "googlehc",
)  # fmt: skip
"""One of these is in every text that is noise of a known kind: looking for them is quicker."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    name: str
    regex: re.Pattern[str]


class Noise:
    """What counts as noise: patterns from settings, and the kinds that triage knows."""

    def __init__(self, patterns: Iterable[str] = (), *, builtin: bool = True) -> None:
        """Compile the patterns; ValueError says which one cannot be used, and why."""
        self._patterns = tuple(_Pattern(text, safe_regex(text)) for text in patterns)
        self._builtin = builtin

    def named(self, message: str, final: str = "", frames: str = "") -> str | None:
        """The pattern or the kind that takes this message for noise, or None.

        `final` is the exception that a trace ends in, `frames` the trace itself.
        """
        head, end = message[:LIMIT], final[:LIMIT]
        for pattern in self._patterns:
            if pattern.regex.search(head) or (end and pattern.regex.search(end)):
                return pattern.name
        return self._known(head, end, frames) if self._builtin else None

    def _known(self, head: str, end: str, frames: str) -> str | None:
        said = f"{head} {end}".lower()
        if not any(hint in said for hint in _HINTS):
            return None
        for kind, regex in _BUILTIN.items():
            if end and regex.search(end):
                return kind
            if regex.search(head) and (not end or _EXPORTER_FRAMES.search(frames)):
                return kind
        return None


def safe_regex(text: str) -> re.Pattern[str]:
    """Compile a pattern from settings; ValueError when it is none or could take for ever."""
    if len(text) > LONGEST:
        raise ValueError(f"noise pattern longer than {LONGEST} characters: {text[:40]}...")
    try:
        regex = re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"noise pattern {text!r} is no regular expression: {error}") from error
    if regex.search("") is not None:
        raise ValueError(f"noise pattern {text!r} matches every line")
    if _repeats_repetition(text):
        raise ValueError(
            f"noise pattern {text!r} repeats a repetition, as in (a+)+: it could take for ever; "
            "write it with one of them"
        )
    return regex


def _repeats_repetition(text: str) -> bool:
    """Whether an unbounded repetition stands in another one.

    Reads the text itself: groups as a stack, classes and escapes skipped.
    """
    open_groups: list[bool] = []  # whether there is a repetition in the group
    inside = False  # the same for the group that closed last
    closed = False  # a group closed right before
    place = 0
    while place < len(text):
        char, width = _token(text, place)
        if char == "(":
            open_groups.append(False)
        elif char == ")" and open_groups:
            inside = open_groups.pop()
            if inside and open_groups:
                open_groups[-1] = True
        elif char == "*":
            if closed and inside:
                return True
            if open_groups:
                open_groups[-1] = True
        closed = char == ")"
        place += width
    return False


def _token(text: str, place: int) -> tuple[str, int]:
    """The next token of a pattern: "(", ")", "*" for any repetition beyond 10, or "a"."""
    char = text[place]
    if char == "\\":
        return "a", 2
    if char == "[":
        end = text.find("]", place + (3 if text[place + 1 : place + 2] == "^" else 2))
        return "a", (end - place + 1) if end >= 0 else 1
    if char in "*+":
        return "*", 1
    if char == "{":
        match = re.match(r"\{(\d*)(,?)(\d*)\}", text[place:])
        if match is None:
            return "a", 1
        most = match[3] if match[2] else match[1]
        return ("*" if not most or int(most) > 10 else "a"), match.end()
    return (char, 1) if char in "()" else ("a", 1)
