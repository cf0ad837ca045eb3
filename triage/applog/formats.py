"""One line of an application, taken apart: an access line, or text with a level.

Rules
- Nothing raises, whatever the text. Of a line longer than `LIMIT` the beginning is looked at.
- ACCESS takes method, path and status of a request that this application answered. Everything else
  is TEXT, also when it names a request: then `method` and `path` say which, and `status` is None.
- JSON is asked first, then the access formats of text (access.py), then key=value pairs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from triage.applog import fields as names
from triage.applog.access import METHODS, Access, read_access, split_url
from triage.applog.fields import Fields, first, read_json, read_pairs, text_of
from triage.applog.levels import level_of, read_level
from triage.applog.times import number_time, read_time
from triage.evidence import AppLineKind

LIMIT = 8192
"""Characters of a line that are looked at."""
KEPT = 2000
"""Characters of a message that are kept."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_METHOD = re.compile(rf"(?:{METHODS})\Z")
_REQUEST_LINE = re.compile(rf"(?P<method>{METHODS}) (?P<path>\S+)(?: HTTP/\d(?:\.\d)?)?\Z")

_TEXT_REQUESTS = tuple(
    re.compile(form)
    for form in (
        rf'\brequest: "(?P<method>{METHODS}) (?P<path>\S+) HTTP/',  # nginx's error log
        rf"\bException on (?P<path>/\S*) \[(?P<method>{METHODS})\]",  # Flask
        r"\b(?:Internal Server Error|Not Found|Bad Request|Service Unavailable): (?P<path>/\S*)",
        rf"\bError handling request (?:(?P<method>{METHODS}) )?(?P<path>/\S*)",  # gunicorn
        r"\bHTTP Request to (?P<path>/\S*) failed",  # Quarkus
        rf'\bStarted (?P<method>{METHODS}) "(?P<path>/[^"]*)"',  # Rails
        rf"\bRequest starting (?:HTTP/\S+ )?(?P<method>{METHODS}) (?P<path>\S+)",  # ASP.NET Core
    )
)
COMPLETED = re.compile(r"\b(?:Completed|Sent) (?P<status>[1-5]\d\d)\b(?=.* in )")
"""Rails and Phoenix: the answer to a request that an earlier line with the same id names."""

_ID = re.compile(
    r"(?:\b|_)(?:x[-_])?(?:request|req|correlation|trace|amzn[-_]trace)[-_]?id[\"']?"
    r"\s*[=:]\s*[\"'\[]?([\w-]{6,80})",
    re.IGNORECASE,
)
_BARE_ID = re.compile(
    r"\b([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32})\b",
    re.IGNORECASE,
)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_IDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What one line holds."""

    kind: AppLineKind = AppLineKind.TEXT
    message: str = ""
    """What its writer says, without the structure around it; bounded."""
    level: str | None = None
    method: str | None = None
    path: str | None = None
    """With its query, as logged."""
    status: int | None = None
    authority: str | None = None
    user_agent: str | None = None
    duration: float | None = None
    """Seconds that the request took, where the line tells."""
    ids: tuple[str, ...] = ()
    """Request and trace ids, the request's own first."""
    time: float | None = None
    """Of the line itself; only asked for where the runtime gives none."""
    failure: str = ""
    """What fields about an error say."""
    stack: bool = False
    """It holds a stack trace."""
    structured: bool = False


def clean(text: str) -> str:
    """A line as it is looked at: cut, without terminal colours."""
    text = text[:LIMIT]
    return _ESCAPES.sub("", text) if "\x1b" in text else text


def parse(text: str, *, reference: float | None = None, utc_offset: float = 0.0) -> Parsed:
    """Take a line apart. With `reference` (seconds since 1970) its own time is read, too."""
    text = clean(text)
    fields = read_json(text)
    if fields is not None:
        return _structured(fields, text, reference, utc_offset)
    access = read_access(text)
    level = read_level(text)
    time = read_time(text, reference, utc_offset) if reference is not None else None
    if access is not None:
        return replace(
            _from_access(access), message=text[:KEPT], level=level, time=time, ids=_ids(text)
        )
    pairs = read_pairs(text) if "=" in text else {}
    if len(pairs) >= 2:
        parsed = _structured(pairs, text, reference, utc_offset, loose=True)
        return replace(parsed, level=parsed.level or level, time=parsed.time or time)
    return replace(
        _text_request(text[:KEPT]), message=text[:KEPT], level=level, time=time, ids=_ids(text)
    )


def _from_access(access: Access) -> Parsed:
    return Parsed(
        kind=AppLineKind.ACCESS,
        method=access.method,
        path=access.path,
        status=access.status,
        authority=access.authority,
        user_agent=access.user_agent,
        duration=access.duration,
    )


def _text_request(text: str) -> Parsed:
    """The request that a line of text names without its answer."""
    for form in _TEXT_REQUESTS:
        match = form.search(text)
        if match is not None:
            authority, path = split_url(match["path"])
            return Parsed(method=match.groupdict().get("method"), path=path, authority=authority)
    return Parsed()


def _structured(
    fields: Fields, text: str, reference: float | None, utc_offset: float, *, loose: bool = False
) -> Parsed:
    """A line of fields; `loose` ones stand in a text that is a message, too."""
    method, path, authority = _request(fields)
    status = names.status_of(fields)
    message = text_of(fields, names.MESSAGE)
    if message is None or (loose and not _begins_with_pair(text)):
        message = text
    access = method is not None and path is not None and status is not None
    if not access and not loose:
        inner = read_access(clean(message))  # an access line in the message of a JSON logger
        if inner is not None:
            parsed = _from_access(inner)
            method, path, status, access = parsed.method, parsed.path, parsed.status, True
    failure = text_of(fields, names.ERROR) or ""
    traced = "Traceback (most recent call last)" in failure
    stack = text_of(fields, names.STACK)
    return Parsed(
        kind=AppLineKind.ACCESS if access else AppLineKind.TEXT,
        message=message[:KEPT],
        level=level_of(first(fields, names.LEVEL)),
        method=method,
        path=path,
        status=status if access else None,
        authority=authority,
        user_agent=text_of(fields, names.AGENT),
        duration=names.duration_of(fields),
        ids=_field_ids(fields, text),
        time=_field_time(fields, reference, utc_offset),
        failure=_last_line(failure) or _last_line(stack),
        stack=stack is not None or traced,
        structured=True,
    )


def _begins_with_pair(text: str) -> bool:
    return "=" in text.split(None, 1)[0] if text.strip() else False


def _request(fields: Fields) -> tuple[str | None, str | None, str | None]:
    """Method, path and authority."""
    method = text_of(fields, names.METHOD)
    target = text_of(fields, names.PATH)
    line = _REQUEST_LINE.match(text_of(fields, names.REQUEST_LINE) or "")
    if line is not None:
        method, target = method or line["method"], target or line["path"]
    method = method.upper() if method else None
    if method is not None and _METHOD.match(method) is None:
        method = None
    if target is None or not (target.startswith(("/", "*")) or "://" in target):
        return method, None, None
    authority, path = split_url(target)
    return method, path, text_of(fields, names.AUTHORITY) or authority


def _field_time(fields: Fields, reference: float | None, utc_offset: float) -> float | None:
    value = first(fields, names.TIME)
    if reference is None or value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return number_time(float(value)) if abs(value) < 1e20 else None
    text = str(value)
    try:
        return number_time(float(text[:40]))
    except ValueError:
        return read_time(text, reference, utc_offset)


def _ids(text: str) -> tuple[str, ...]:
    found = [match[1] for match in _ID.finditer(text)]
    found += [match[1] for match in _BARE_ID.finditer(text)]
    return tuple(dict.fromkeys(one.lower() for one in found))[:_IDS]


def _field_ids(fields: Fields, text: str) -> tuple[str, ...]:
    found = []
    for name in names.IDS:
        value = fields.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            one = str(value).lower()
            trace = _TRACEPARENT.match(one)
            found.append(trace[1] if trace else one)
    return tuple(dict.fromkeys([one for one in found if 6 <= len(one) <= 80] + list(_ids(text))))[
        :_IDS
    ]


def _last_line(stack: str | None) -> str:
    """What a stack trace names as the exception: Python's last line, others' first."""
    if not stack:
        return ""
    lines = [line for line in stack.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    python = lines[0].startswith("Traceback") or lines[0].startswith('  File "')
    return lines[-1 if python else 0].strip()[:KEPT]
