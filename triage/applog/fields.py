r"""Structured lines: JSON objects and logfmt, and the names that loggers give their fields.

Rules
- Fields are flat here: {"req": {"method": "GET"}} is "req.method". Names are lower-case. Of a list
  the first element counts. What is deeper than 5 or beyond 300 fields is not looked at.
- Of several names for one thing the first of its list wins.
- JSON that does not parse is text: nothing raises.

Seen in: structlog, python-json-logger, zap, zerolog, slog, logrus, pino, bunyan, winston, logback
and log4j2 encoders, ECS, Serilog, Monolog, GELF, Caddy, nginx and gunicorn with JSON formats,
Google's structured logging, echo, Traefik.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

Fields = dict[str, object]

DEPTH = 5
FIELDS = 300

METHOD = (
    "method", "http_method", "httpmethod", "request_method", "requestmethod", "req.method",
    "request.method", "http.request.method", "http.method", "httprequest.requestmethod", "verb",
    "req_method", "http.request_method", "context.method", "fields.method",
)  # fmt: skip
PATH = (
    "path", "uri", "request_uri", "requesturi", "request_path", "requestpath", "url", "req.url",
    "req.path", "request.uri", "request.url", "request.path", "url.original", "url.path",
    "url.full", "http.target", "http.url", "http.path", "http.request.path", "originalurl",
    "req.originalurl", "httprequest.requesturl", "target", "http_path", "req_path", "context.path",
    "fields.path", "fields.uri", "request_url",
)  # fmt: skip
STATUS = (
    "status", "status_code", "statuscode", "http_status", "httpstatus", "http_status_code",
    "response_status", "responsestatus", "response_code", "responsecode", "res.statuscode",
    "res.status", "response.status", "response.status_code", "response.statuscode",
    "http.response.status_code", "http.status_code", "httprequest.status", "downstreamstatus",
    "originstatus", "context.status", "fields.status", "code",
)  # fmt: skip
REQUEST_LINE = ("request", "request_line", "requestline", "http.request.line")
LEVEL = (
    "level", "severity", "log.level", "loglevel", "log_level", "levelname", "level_name",
    "levelname", "lvl", "@level", "severitytext", "severity_text", "@l", "priority",
)  # fmt: skip
MESSAGE = (
    "message", "msg", "event", "@message", "@m", "@mt", "short_message", "body", "text", "log",
    "renderedmessage", "description",
)  # fmt: skip
ERROR = (
    "error.message", "error.type", "err.message", "err.type", "exception.message",
    "exception.exception_message", "exception_message", "error", "err", "exception", "exc_info",
    "exc", "thrown.message", "thrown.name", "@x", "cause",
)  # fmt: skip
STACK = (
    "error.stack_trace", "stack_trace", "stacktrace", "stack", "err.stack", "error.stack",
    "exception.stacktrace", "traceback", "exc_text", "throwable",
)  # fmt: skip
TIME = (
    "time", "timestamp", "@timestamp", "ts", "@t", "datetime", "asctime", "eventtime", "date", "t",
)  # fmt: skip
AGENT = (
    "user_agent", "useragent", "http_user_agent", "user_agent.original", "http.user_agent",
    "req.headers.user-agent", "request.headers.user-agent", "headers.user-agent",
    "httprequest.useragent", "request_user-agent", "agent", "ua", "user-agent",
)  # fmt: skip
AUTHORITY = (
    "authority", "host_header", "http_host", "req.headers.host", "request.headers.host",
    "request.host", "headers.host", "http.host", "requesthost",
)  # fmt: skip
IDS = (
    "request_id", "requestid", "x-request-id", "x_request_id", "req_id", "reqid", "req.id",
    "request.id", "http.request.id", "correlation_id", "correlationid", "x-correlation-id",
    "trace_id", "traceid", "trace.id", "dd.trace_id", "oteltraceid", "mdc.request_id",
    "mdc.requestid", "mdc.traceid", "context.request_id", "extra.request_id",
    "req.headers.x-request-id", "request.headers.x-request-id", "headers.x-request-id",
    "req.headers.traceparent", "traceparent",
)  # fmt: skip

_MILLISECONDS = (
    "duration_ms", "latency_ms", "elapsed_ms", "response_time_ms", "responsetime", "durationms",
    "elapsedmilliseconds", "took_ms", "request_time_ms",
)  # fmt: skip
_SECONDS = ("request_time", "duration_s", "duration_seconds", "latency_seconds", "elapsed_seconds")
_NANOSECONDS = ("event.duration", "duration_ns", "latency_ns")
_WITH_UNIT = ("duration", "latency", "latency_human", "elapsed", "took")
_UNIT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?(ns|us|µs|ms|s|m)\Z")
_IN_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

_PAIR = re.compile(r'(?<![^\s,;({\[])([A-Za-z_@][\w.@/-]{0,60})=("(?:[^"\\]|\\.)*"|[^\s,;"]*)')
_EMPTY = frozenset({"", "-", "null", "none", "nil", "false", "0", "undefined", "[]", "{}"})


def read_json(text: str) -> Fields | None:
    """The fields of a line that is a JSON object; None when it is none."""
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    fields: Fields = {}
    for name, leaf in _leaves(value, "", DEPTH):
        if len(fields) >= FIELDS:
            break
        fields.setdefault(name, leaf)
    return fields


def _leaves(value: dict[str, object], prefix: str, depth: int) -> Iterator[tuple[str, object]]:
    for key, inner in value.items():
        name = prefix + key.lower()
        if isinstance(inner, list):
            inner = inner[0] if inner else None  # noqa: PLW2901
        if isinstance(inner, dict):
            if depth > 1:
                yield from _leaves(inner, name + ".", depth - 1)
        else:
            yield name, inner


def read_pairs(text: str) -> Fields:
    """The key=value pairs of a line, as logfmt, slog's text and structlog's console write them."""
    fields: Fields = {}
    for match in _PAIR.finditer(text):
        if len(fields) >= FIELDS:
            break
        value = match[2]
        if value.startswith('"'):
            value = value[1:-1].replace('\\"', '"').replace("\\n", "\n")
        fields.setdefault(match[1].lower(), value)
    return fields


def first(fields: Fields, names: tuple[str, ...]) -> object:
    """The value of the first of the names that is there and says something."""
    for name in names:
        value = fields.get(name)
        if value is not None and str(value).lower() not in _EMPTY:
            return value
    return None


def text_of(fields: Fields, names: tuple[str, ...]) -> str | None:
    """The same as text."""
    value = first(fields, names)
    return None if value is None or value is True else str(value)


def status_of(fields: Fields) -> int | None:
    """An HTTP status, from a number or its digits."""
    for name in STATUS:
        value = fields.get(name)
        if isinstance(value, bool) or value is None:
            continue
        digits = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        digits = digits[:3] if digits[3:4] == " " else digits  # "200 OK"
        if len(digits) == 3 and digits.isascii() and digits.isdigit() and "1" <= digits[0] <= "5":
            return int(digits)
    return None


def duration_of(fields: Fields) -> float | None:
    """Seconds that a request took, where the field's name or the value says in which unit."""
    for names, scale in ((_MILLISECONDS, 1e-3), (_SECONDS, 1.0), (_NANOSECONDS, 1e-9)):
        number = _number(first(fields, names))
        if number is not None:
            return number * scale
    match = _UNIT.match(str(first(fields, _WITH_UNIT)))
    return float(match[1]) * _IN_SECONDS[match[2]] if match else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(str(value)[:40])
    except ValueError:
        return None
    return number if 0.0 <= number < 1e15 else None
