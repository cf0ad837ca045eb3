"""Envoy's access log formats: a format is compiled once, and then reads lines.

Rules
- A format is Envoy's own: a format string with command operators, or a mapping of JSON fields to
  them (nested, typed or not). "auto" knows Istio's and Envoy's defaults, text and JSON.
- `parse` never raises. It gives a `ProxyRequest`, or None for a line that is not of the format.
- A field is given only when it is certain. Text lines escape nothing: a user agent may hold quotes,
  and thereby whole invented fields. Where a line can be read in more than one way, the fields in
  which the readings differ are None; if they differ in time, status or flags, so is the line.
- "-", an empty value and null are None (flags: ()).

How a text line is read. A format is literals and fields. Fields that cannot hold their surroundings
(numbers, flags, times, protocol; anything without white space that a space follows) join with the
literals around them into *separators*; the others are *free*.
1. The fast expression lets no field hold a character that delimits it. If it fits, the line holds
   exactly the format's own delimiters, so there is no other way to read it.
2. Otherwise all places of each separator are listed, and the leftmost chain of them that reads the
   whole line is compared with the rightmost one. Every reading lies between these two: what both
   agree on is certain. The effort is linear in the length of the line; nothing backtracks.
3. Otherwise the same with all white-space-delimited fields free: old Envoys logged details with
   spaces, and a path may have them.
4. A line that was cut is read up to the last field before the first free one, if that is beyond
   status and flags.

Sources: Envoy's documentation, "Access logging" (format rules, command operators); Istio's
`EnvoyTextLogFormat` and `EnvoyJSONLogFormatIstio` (pilot/pkg/model/telemetry_logging.go).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec

from triage.cri import LIMIT, parse_time
from triage.evidence import ProxyRequest
from triage.proxylog.flags import SHORT
from triage.proxylog.times import TimeFormat, compile_time, epoch

ISTIO_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
"""Istio 1.9 and newer."""
ISTIO_TEXT_NO_TERMINATION = ISTIO_TEXT.replace(" %CONNECTION_TERMINATION_DETAILS%", "")
"""Istio with Envoys that lack CONNECTION_TERMINATION_DETAILS."""
ISTIO_TEXT_NO_DETAILS = ISTIO_TEXT_NO_TERMINATION.replace(" %RESPONSE_CODE_DETAILS%", "")
"""Istio 1.7 and 1.8."""
ISTIO_TEXT_MIXER = ISTIO_TEXT_NO_DETAILS.replace(
    '%RESPONSE_FLAGS% "', '%RESPONSE_FLAGS% "%DYNAMIC_METADATA(istio.mixer:status)%" "'
)
"""Istio up to 1.6."""
ENVOY_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)
"""Envoy's own default."""
TEXTS = (
    ISTIO_TEXT,
    ISTIO_TEXT_NO_TERMINATION,
    ISTIO_TEXT_NO_DETAILS,
    ISTIO_TEXT_MIXER,
    ENVOY_TEXT,
)
ISTIO_JSON: dict[str, str] = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}

RAW_LIMIT = 4096
"""Characters of a line that `ProxyRequest.raw` keeps."""


class FormatError(ValueError):
    """A format that cannot be compiled; the message says what and where."""


class Format(Protocol):
    """A compiled format."""

    def parse(
        self, text: str, written_at: float | None = None, *, cut: bool = False
    ) -> ProxyRequest | None:
        """Read a line (without its log source's prefix).

        `written_at` is when it was written, for formats without START_TIME; `cut` says that its
        end is missing. None: not of this format, or not certain.
        """
        ...


Values = dict[str, Any]
_EMPTY = frozenset({"-", ""})
Convert = Callable[[Any], Any]


# Values


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return None if value in _EMPTY else value
    return None if value is None or isinstance(value, list | dict) else str(value)


def _integer(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None


def _flags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return ()
    names = (name.strip() for name in value if isinstance(name, str))
    return tuple(SHORT.get(name.lower(), name) for name in names if name not in ("", "-"))


def _retries(value: Any) -> int | None:
    attempts = _integer(value)
    return None if attempts is None else max(0, attempts - 1)


def _time(value: Any) -> float | None:
    """An RFC 3339 time, or seconds, milli-, micro- or nanoseconds since 1970."""
    if isinstance(value, str):
        found = parse_time(value.encode()) if len(value) < 64 else None
        if found is not None:
            return found
    number = _number(value)
    return None if number is None else epoch(number)


def _scaled(factor: float) -> Convert:
    def convert(value: Any) -> float | None:
        number = _number(value)
        return None if number is None else number * factor

    return convert


# Operators

_NUMBER = r"(?:-?\d+(?:\.\d+)?|-|)"
_STRICT = {
    "number": _NUMBER,
    "status": r"(?:\d{1,3}|-|)",
    "flags": r"(?:[A-Za-z][A-Za-z0-9_,]*|-|)",
    "protocol": r"(?:HTTP/[0-9.]+|-|)",
    "method": r"(?:[A-Za-z0-9_.$]+(?:-[A-Za-z0-9_.$]+)*|-|)",
    "details": r'(?:[\w.:/-]+(?:\{[^\s{}"]*\}|\[[^\s|;,"]*\])?|)',
}
_QUICK = {_NUMBER: r"(?:\d++|-)"} | {
    _STRICT[name]: f"(?:{first}|{_STRICT[name]})"
    for name, first in (
        ("method", "GET|POST"),
        ("protocol", r"HTTP/1\.1"),
        ("status", r"\d\d\d"),
        ("flags", "-"),
        ("details", "via_upstream|-"),
    )
}
"""For a strict class, the same or a part of it, with what is seen most tried first."""
_ANYTHING = frozenset(
    {"user_agent", "forwarded_for", "request_id", "authority", "transport_failure", ""}
)
"""Fields that may hold spaces: what a client sends, what a TLS library says, what is not known."""
_SOFT = frozenset({"details", "termination_details"})
"""Fields of a known form that older Envoys wrote otherwise."""
_CONVERT: dict[str, tuple[str, Convert]] = {
    "method": ("method", _text),
    "protocol": ("protocol", _text),
    "status": ("status", _integer),
    "flags": ("flags", _flags),
    "bytes_received": ("number", _integer),
    "bytes_sent": ("number", _integer),
    "duration_ms": ("number", _number),
    "upstream_service_ms": ("number", _number),
    "retries": ("number", _retries),
    "details": ("details", _text),
    "termination_details": ("details", _text),
}
"""Field -> its strict class and conversion; the other fields are text."""

_OPERATORS: dict[str, str] = {
    "START_TIME": "time",
    "PROTOCOL": "protocol",
    "RESPONSE_CODE": "status",
    "RESPONSE_FLAGS": "flags",
    "RESPONSE_FLAGS_LONG": "flags",
    "RESPONSE_CODE_DETAILS": "details",
    "CONNECTION_TERMINATION_DETAILS": "termination_details",
    "UPSTREAM_TRANSPORT_FAILURE_REASON": "transport_failure",
    "BYTES_RECEIVED": "bytes_received",
    "BYTES_SENT": "bytes_sent",
    "DURATION": "duration_ms",
    "UPSTREAM_HOST": "upstream_host",
    "UPSTREAM_REMOTE_ADDRESS": "upstream_host",
    "UPSTREAM_CLUSTER": "upstream_cluster",
    "UPSTREAM_CLUSTER_RAW": "upstream_cluster",
    "UPSTREAM_LOCAL_ADDRESS": "upstream_local",
    "DOWNSTREAM_LOCAL_ADDRESS": "downstream_local",
    "DOWNSTREAM_REMOTE_ADDRESS": "downstream_remote",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": "downstream_remote",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": "downstream_remote",
    "REQUESTED_SERVER_NAME": "server_name",
    "ROUTE_NAME": "route",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": "retries",
    "PATH": "path",
}
_REQUEST_HEADERS: dict[str, str] = {
    ":method": "method",
    ":path": "path",
    "x-envoy-original-path": "path",
    ":authority": "authority",
    "host": "authority",
    "user-agent": "user_agent",
    "x-request-id": "request_id",
    "x-forwarded-for": "forwarded_for",
}
_COUNTS = re.compile(
    r"(?:.*_)?(?:BYTES_(?:SENT|RECEIVED)|HEADERS_BYTES|TRAILERS_BYTES|DURATION|CONNECTION_ID|"
    r"GRPC_STATUS_NUMBER|ATTEMPT_COUNT)\Z"
)
"""Operators that give numbers and that nothing here needs."""
_UNITS = {"ms": 1.0, "us": 1e-3, "ns": 1e-6}


@dataclass(frozen=True, slots=True)
class Field:
    """A command operator in a format string."""

    name: str
    """A field of ProxyRequest, or ""."""
    strict: str = ""
    """Expression of its values, when they are of a known form."""
    convert: Convert = _text


def _operator(name: str, argument: str | None) -> Field:
    if name == "START_TIME":
        form = compile_time(argument or "")
        return Field("time", f"(?:{form.pattern}|-)", _time_of(form))
    if name in ("REQ", "REQ_WITHOUT_QUERY"):
        wanted = re.split(r"\?", (argument or "").lower())
        field = next((_REQUEST_HEADERS[one] for one in wanted if one in _REQUEST_HEADERS), "")
        return _known(field)
    if name == "RESP" and (argument or "").lower() == "x-envoy-upstream-service-time":
        return _known("upstream_service_ms")
    if name == "COMMON_DURATION":
        return _duration(argument or "")
    if name in _OPERATORS:
        return _known(_OPERATORS[name])
    return Field("", _NUMBER) if _COUNTS.match(name) else Field("")


def _known(field: str) -> Field:
    kind, convert = _CONVERT.get(field, ("", _text))
    return Field(field, _STRICT.get(kind, ""), convert)


def _duration(argument: str) -> Field:
    """COMMON_DURATION(START:END:PRECISION): the whole request's in any unit."""
    start, _, rest = argument.partition(":")
    end, _, unit = rest.partition(":")
    whole = start == "DS_RX_BEG" and end in ("DS_TX_END", "DS_RX_END")
    if whole and end == "DS_TX_END" and unit in _UNITS:
        return Field("duration_ms", _NUMBER, _scaled(_UNITS[unit]))
    return Field("", _NUMBER)


def _time_of(form: TimeFormat) -> Convert:
    def convert(value: Any) -> float | None:
        return form.parse(value) if isinstance(value, str) else _time(value)

    return convert


_OPERATOR = re.compile(r"%([A-Z][A-Z0-9_]*)(?:\((.*?)\))?(?::\d+)?%")

_Element = str | Field


def _elements(form: str) -> list[_Element]:
    """Literals and fields, in turn; a literal is never empty, and two never touch."""
    elements: list[_Element] = []
    literal = ""
    at = 0
    while at < len(form):
        if form[at] != "%":
            end = form.find("%", at)
            end = len(form) if end < 0 else end
            literal += form[at:end]
            at = end
        elif form.startswith("%%", at):
            literal += "%"
            at += 2
        else:
            match = _OPERATOR.match(form, at)
            if match is None:
                raise FormatError(
                    f"access log format, character {at + 1}: {form[at : at + 30]!r} is no command "
                    "operator; a percent sign is written %%"
                )
            if literal:
                elements.append(literal)
            elements.append(_operator(match[1], match[2]))
            literal = ""
            at = match.end()
    return [*elements, literal] if literal else elements


# Text


class _Separator:
    """Literals and strict fields between two free ones (or at an end)."""

    __slots__ = ("at_end", "expression", "fields", "found")

    def __init__(self, parts: Sequence[_Element], *, at_start: bool, at_end: bool) -> None:
        source = "".join(
            re.escape(part) if isinstance(part, str) else f"({part.strict})" for part in parts
        )
        self.fields = [part for part in parts if isinstance(part, Field)]
        self.at_end = at_end
        end = r"\Z" if at_end else ""
        # In a lookahead, so that all places are found, overlapping ones too.
        self.expression = re.compile(
            f"{source}{end}" if at_start else f"(?=({source}){end})",
            re.DOTALL | re.ASCII | re.ASCII,
        )
        self.found = 0 if at_start else 1

    def places(self, text: str, start: int) -> list[tuple[int, int, re.Match[str]]]:
        if self.found == 0:
            match = self.expression.match(text, start)
            return [(match.start(), match.end(), match)] if match else []
        return [(m.start(1), m.end(1), m) for m in self.expression.finditer(text, start)]

    def values(self, match: re.Match[str]) -> list[str]:
        return list(match.groups()[self.found :])


class _Slow:
    """Reads a line between its leftmost and its rightmost reading."""

    def __init__(self, elements: Sequence[_Element], spaced: bool) -> None:
        self._separators: list[_Separator] = []
        self._free: list[Field] = []
        parts: list[_Element] = []
        for place, element in enumerate(elements):
            after = elements[place + 1] if place + 1 < len(elements) else None
            before = elements[place - 1] if place else None
            fixed = element if isinstance(element, str) else _fixed(element, before, after, spaced)
            if fixed is not None:
                parts.append(fixed)
            else:
                assert isinstance(element, Field)  # noqa: S101 - literals are always fixed
                self._add(parts, at_end=False)
                self._free.append(element)
                parts = []
        self._add(parts, at_end=True)

    def _add(self, parts: list[_Element], *, at_end: bool) -> None:
        self._separators.append(_Separator(parts, at_start=not self._separators, at_end=at_end))

    def read(self, text: str) -> list[tuple[Field, str | None]] | None:
        """Each field with its value, None where it is not certain; None: not of this form."""
        places = self._places(text)
        if places is None:
            return None
        first = _leftmost(places)
        last = _rightmost(places)
        if first is None or last is None:
            return None
        values: list[tuple[Field, str | None]] = []
        for index, separator in enumerate(self._separators):
            (start, end, match), (other, other_end, _) = first[index], last[index]
            same = start == other and end == other_end
            found = separator.values(match)
            values += [
                (f, v if same else None) for f, v in zip(separator.fields, found, strict=True)
            ]
            if index < len(self._free):
                until, other_until = first[index + 1][0], last[index + 1][0]
                certain = end == other_end and until == other_until
                values.append((self._free[index], text[end:until] if certain else None))
        return values

    def _places(self, text: str) -> list[list[tuple[int, int, re.Match[str]]]] | None:
        places = []
        start = 0
        for separator in self._separators:
            found = separator.places(text, start)
            if not found:
                return None
            places.append(found)
            start = found[0][1] if len(places) == 1 else min(end for _, end, _ in found)
        return places

    def head(self, text: str) -> list[tuple[Field, str | None]] | None:
        """The fields before the first free one: all that a line that was cut may have."""
        separator = self._separators[0]
        match = separator.expression.match(text)
        if match is None or separator.at_end:
            return None
        return list(zip(separator.fields, separator.values(match), strict=True))


_Place = tuple[int, int, re.Match[str]]


def _leftmost(places: list[list[_Place]]) -> list[_Place] | None:
    chain: list[_Place] = []
    at = 0
    for found in places:
        place = next((one for one in found if one[0] >= at), None)
        if place is None:
            return None
        chain.append(place)
        at = place[1]
    return chain


def _rightmost(places: list[list[_Place]]) -> list[_Place] | None:
    chain: list[_Place] = []
    until: int | None = None
    for found in reversed(places):
        place = next((one for one in reversed(found) if until is None or one[1] <= until), None)
        if place is None:
            return None
        chain.append(place)
        until = place[0]
    return chain[::-1]


def _fixed(
    field: Field, before: _Element | None, after: _Element | None, spaced: bool
) -> Field | None:
    """The field as a part of a separator; None when it is free."""
    if field.strict and not (spaced and field.name in _SOFT):
        return field
    if field.name in _ANYTHING:
        return None
    beside = before[-1:] if after is None and isinstance(before, str) else after
    bounded = isinstance(beside, str) and beside[:1].isspace()
    return Field(field.name, r"\S*", field.convert) if bounded and not spaced else None


def _fast(elements: Sequence[_Element]) -> re.Pattern[str]:
    """The expression in which no field holds a character that delimits it."""
    source = "".join(
        re.escape(element) if isinstance(element, str) else _fast_field(elements, place)
        for place, element in enumerate(elements)
    )
    return re.compile(source + r"\Z", re.DOTALL | re.ASCII)


def _fast_field(elements: Sequence[_Element], place: int) -> str:
    field = elements[place]
    assert isinstance(field, Field)  # noqa: S101 - the caller's choice
    before = elements[place - 1] if place else None
    after = elements[place + 1] if place + 1 < len(elements) else None
    pattern = field.strict or f"[^{re.escape(_delimiters(before, after))}]*"
    return f"({pattern})" if field.name else f"(?:{pattern})"


def _octets(elements: Sequence[_Element], place: int, *, loose: bool) -> str:
    """See `TextFormat.octets`. One excluded octet is found ten times faster than one of a few."""
    field = elements[place]
    assert isinstance(field, Field)  # noqa: S101 - the caller's choice
    if field.strict:
        return _QUICK.get(field.strict, field.strict)
    before = elements[place - 1] if place else None
    after = elements[place + 1] if place + 1 < len(elements) else None
    delimiters = _delimiters(before, after)
    if not isinstance(after, str):  # the line's end: a carriage return is none of it
        return f"[^{re.escape(delimiters)}\\r\\n]*+"
    if loose and (delimiters == '"' or (delimiters == ' "' and after[0] == " ")):
        return f"[^{after[0]}]*+"
    return f"[^{re.escape(delimiters)}\\n]*+"


def _delimiters(before: _Element | None, after: _Element | None) -> str:
    last = before[-1] if isinstance(before, str) else ""
    first = after[0] if isinstance(after, str) else ""
    if last and last == first and not last.isspace():
        return last
    if not first:  # the last field: what is before it may delimit all the others
        first = last
    return "".join(sorted({first, '"', " "} - {""}))


_DETAILS = re.compile(r"[^\s{\[]+(?:\{.*\}|\[.*\])?", re.DOTALL | re.ASCII)
"""Of any Envoy: only within brackets, old ones have spaces."""
_LONGEST_DETAILS = 512


def _with_joined_details(elements: list[_Element]) -> list[_Element]:
    """Details and termination details side by side, as one field: either may have spaces."""
    for at in range(len(elements) - 2):
        one, between, other = elements[at : at + 3]
        names = [e.name for e in (one, other) if isinstance(e, Field)]
        if names == ["details", "termination_details"] and between == " ":
            return [*elements[:at], Field("both_details"), *elements[at + 3 :]]
    return elements


def _split_details(value: str | None) -> tuple[str | None, str | None]:
    """Details and termination details, if there is one place only where they may part."""
    if value is None or len(value) > _LONGEST_DETAILS:
        return None, None
    both = ((value[:at], value[at + 1 :]) for at, one in enumerate(value) if one == " ")
    fit = [pair for pair in both if all(_DETAILS.fullmatch(one) for one in pair)]
    return (_text(fit[0][0]), _text(fit[0][1])) if len(fit) == 1 else (None, None)


class TextFormat:
    """A format string, compiled."""

    def __init__(self, form: str) -> None:
        elements = _elements(form.rstrip("\r\n"))
        if any(isinstance(e, str) and "\n" in e for e in elements):
            raise FormatError("access log format: entries of more than one line cannot be read")
        names = {e.name for e in elements if isinstance(e, Field)} - {""}
        if not names:
            raise FormatError("access log format: none of its operators is of use here")
        _check_apart(elements)
        self.source = form
        self.names = frozenset(names)
        self._elements = elements
        self._fast = _fast(elements)
        self._reads = [(e.name, e.convert) for e in elements if isinstance(e, Field) and e.name]
        self._strict = _Slow(elements, spaced=False)
        self._spaced = _Slow(_with_joined_details(elements), spaced=True)
        self._needed = names & {"time", "status", "flags"}
        head = {f.name for f in self._strict._separators[0].fields}
        self._head_tells = self._needed <= head and len(self._needed) == 3
        self._rest = _without_time(form)

    def parse(
        self, text: str, written_at: float | None = None, *, cut: bool = False
    ) -> ProxyRequest | None:
        """Read a line; see `Format`."""
        values = self.values(text, cut=cut)
        if values is None and self._rest is not None and written_at is not None:
            values = self._rest.values(text, cut=cut)
            if values is not None:
                values["time"] = written_at
        return None if values is None else build(values, text, written_at)

    def values(self, text: str, *, cut: bool = False) -> Values | None:
        """The certain fields of a line, converted."""
        text = text[:LIMIT]
        match = self._fast.match(text)
        if match is not None:
            return {
                name: convert(value)
                if convert is not _text
                else (None if value in _EMPTY else value)  # without a call: most fields are texts
                for (name, convert), value in zip(self._reads, match.groups(), strict=True)
            }
        for way in (self._strict, self._spaced):
            values = self._certain(way.read(text))
            if values is not None:
                return values
        if self._head_tells and cut:
            return self._certain(self._strict.head(text))
        return None

    def octets(self, *, loose: bool) -> list[tuple[Field | None, str]] | None:
        """An expression over octets, in parts: (the field, None for literals; its source).

        Together, and followed by a newline, they fit only lines that the fast expression fits, and
        give the fields the same values. `loose` is faster, but holds only for lines with no more
        double quotes than the literals have, and for matches without a newline inside: both are
        for the caller to count. None: two fields touch, so that nothing tells where one ends.
        """
        parts: list[tuple[Field | None, str]] = []
        for place, element in enumerate(self._elements):
            if isinstance(element, str):
                parts.append((None, re.escape(element)))
            elif parts and parts[-1][0] is not None:
                return None
            else:
                parts.append((element, _octets(self._elements, place, loose=loose)))
        return parts

    def _certain(self, read: list[tuple[Field, str | None]] | None) -> Values | None:
        if read is None:
            return None
        values: Values = {}
        for field, value in read:
            if field.name in self._needed and value is None:
                return None
            if field.name == "both_details":
                values["details"], values["termination_details"] = _split_details(value)
            elif field.name:
                values[field.name] = field.convert(value)
        return values


def _without_time(form: str) -> TextFormat | None:
    """A format that begins with the time, without it.

    Such a time looks like a log source's prefix, and is taken for one where there is none.
    """
    head = "%START_TIME% "
    try:
        return TextFormat(form.removeprefix(head)) if form.startswith(head) else None
    except FormatError:  # the time was all of use
        return None


def _check_apart(elements: Sequence[_Element]) -> None:
    for one, other in itertools.pairwise(elements):
        if isinstance(one, str) or isinstance(other, str):
            continue
        if not (one.strict or other.strict):
            raise FormatError(
                "access log format: two operators with nothing between them cannot be told apart; "
                "put a separator there"
            )


def build(values: Values, text: str, written_at: float | None) -> ProxyRequest | None:
    """The request of a line's fields; None when it has no time, or nothing that tells."""
    time = values.get("time")
    if time is None:
        if written_at is None:
            return None
        time = written_at - (values.get("duration_ms") or 0.0) / 1000.0
    if values.get("flags") is None:
        values["flags"] = ()
    values["time"] = time
    return ProxyRequest(**values, written_at=written_at, raw=text[:RAW_LIMIT])


# JSON


@dataclass(frozen=True, slots=True)
class Member:
    """Where a line of JSON has a field."""

    name: str
    """A field of ProxyRequest."""
    path: tuple[str, ...]
    convert: Convert


class JsonFormat:
    """A mapping of fields to command operators, compiled. Keys that it lacks are ignored."""

    def __init__(self, form: Mapping[str, Any]) -> None:
        self._read: list[tuple[tuple[str, ...], Field | TextFormat]] = list(_flatten(form, ()))
        if not self._read:
            raise FormatError("access log format: none of its operators is of use here")

    def parse(
        self, text: str, written_at: float | None = None, *, cut: bool = False
    ) -> ProxyRequest | None:
        """Read a line; see `Format`. One that was cut is no JSON."""
        del cut
        found = _decode(text)
        if found is None:
            return None
        values: Values = {}
        for path, reader in self._read:
            value = _at(found, path)
            if isinstance(reader, TextFormat):
                values.update((reader.values(value) or {}) if isinstance(value, str) else {})
            else:
                values[reader.name] = reader.convert(value)
        if all(values.get(name) is None for name in ("status", "method", "time", "upstream_host")):
            return None
        return build(values, text, written_at)

    def members(self, names: Collection[str]) -> list[Member] | None:
        """Where the fields of these names are; None when one is a part of a longer text."""
        found = []
        for path, reader in self._read:
            if isinstance(reader, TextFormat):
                if not reader.names.isdisjoint(names):
                    return None
            elif reader.name in names:
                found.append(Member(reader.name, path, reader.convert))
        return found


def _flatten(
    form: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Field | TextFormat]]:
    for key, value in form.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, key))
        elif isinstance(value, str):
            elements = _elements(value)
            fields = [e for e in elements if isinstance(e, Field)]
            if len(elements) == 1 and fields:
                if fields[0].name:
                    yield (*path, key), fields[0]
            elif any(field.name for field in fields):
                yield (*path, key), TextFormat(value)


_decoder = msgspec.json.Decoder(float_hook=float)


def _decode(text: str) -> dict[str, Any] | None:
    start = text.lstrip()
    if not start.startswith("{"):
        return None
    try:
        try:
            found = _decoder.decode(start)
        except msgspec.ValidationError:  # well formed, but an integer is out of range
            found = json.loads(start, parse_int=float)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _at(found: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


_NAMES: dict[str, str] = {
    "time": "start_time timestamp @timestamp time ts",
    "method": "method request_method http_method :method req_method",
    "path": "path request_path uri url :path request_uri http_path",
    "protocol": "protocol http_version",
    "status": "response_code status status_code code response_status http_status",
    "flags": "response_flags flags response_flags_long response_flag",
    "details": "response_code_details details response_details",
    "termination_details": "connection_termination_details",
    "transport_failure": "upstream_transport_failure_reason transport_failure_reason",
    "bytes_received": "bytes_received request_size",
    "bytes_sent": "bytes_sent response_size",
    "duration_ms": "duration duration_ms",
    "upstream_service_ms": "upstream_service_time x_envoy_upstream_service_time",
    "forwarded_for": "x_forwarded_for forwarded_for xff",
    "user_agent": "user_agent useragent",
    "request_id": "request_id x_request_id",
    "authority": "authority :authority host",
    "upstream_host": "upstream_host upstream_remote_address upstream_address",
    "upstream_cluster": "upstream_cluster",
    "upstream_local": "upstream_local_address",
    "downstream_local": "downstream_local_address",
    "downstream_remote": "downstream_remote_address downstream_direct_remote_address",
    "server_name": "requested_server_name sni",
    "route": "route_name route",
    "retries": "upstream_request_attempt_count attempt_count",
}
_BY_NAME = {alias: field for field, aliases in _NAMES.items() for alias in aliases.split()}


class NamedJson:
    """JSON without a configured format: fields by their usual names, Istio's first of all."""

    def parse(
        self, text: str, written_at: float | None = None, *, cut: bool = False
    ) -> ProxyRequest | None:
        """Read a line; see `Format`. Needs a status and one more field that only Envoy logs."""
        del cut
        found = _decode(text)
        if found is None:
            return None
        values: Values = {}
        for key, value in found.items():
            name = self.field_of(key)
            if name is not None and values.get(name) is None:
                values[name] = _convert(name, value)
        return build(values, text, written_at) if self.tells(values) else None

    @staticmethod
    def tells(values: Mapping[str, Any]) -> bool:
        """Whether a line that has these fields (None or not) is an access log's."""
        return "status" in values and bool(values.keys() & _ENVOYS_OWN)

    @staticmethod
    def field_of(key: str) -> str | None:
        """The field that a key names."""
        return _BY_NAME.get(key.lower().replace("-", "_"))

    @staticmethod
    def members(names: Collection[str]) -> list[Member]:
        """Where the fields of these names may be, by their keys' usual spelling."""
        return [
            Member(name, (key,), partial(_convert, name))
            for key, name in _BY_NAME.items()
            if name in names
        ]


_ENVOYS_OWN = {"flags", "details", "upstream_cluster", "upstream_host", "upstream_local"}


def _convert(name: str, value: Any) -> Any:
    if name == "time":
        return _time(value)
    return _CONVERT.get(name, ("", _text))[1](value)


# All known ones


class AutoFormat:
    """Istio's and Envoy's default formats, text and JSON: whichever fits a line."""

    def __init__(self) -> None:
        self._texts = [TextFormat(form) for form in TEXTS]
        self._json = NamedJson()
        self._last: TextFormat = self._texts[0]

    def parse(
        self, text: str, written_at: float | None = None, *, cut: bool = False
    ) -> ProxyRequest | None:
        """Read a line; see `Format`."""
        if text[:1] == "{":
            return self._json.parse(text, written_at)
        if text[:1] != "[" or text[11:12] != "T":
            return None
        found = self._text_format(text)
        values = self._last.values(text, cut=cut) if found or cut else None
        return None if values is None else build(values, text, written_at)

    def form_of(self, text: str) -> TextFormat | NamedJson | None:
        """The known format that a line is of."""
        if text[:1] == "{":
            return None if self._json.parse(text) is None else self._json
        return self._text_format(text) if text[:1] == "[" and text[11:12] == "T" else None

    def _text_format(self, text: str) -> TextFormat | None:
        """The known format string that a line is of; the last one is tried first."""
        for form in (self._last, *self._texts):
            if form.values(text) is not None:
                self._last = form
                return form
        return None


def compile_format(form: str | Mapping[str, Any] = "auto") -> Format:
    """A format by its configuration.

    "auto", "istio", "envoy", "json" (by names), an Envoy format string, or a mapping of JSON fields
    to command operators. Raises FormatError.
    """
    if not isinstance(form, str):
        return JsonFormat(form)
    named: dict[str, Callable[[], Format]] = {
        "auto": AutoFormat,
        "istio": lambda: TextFormat(ISTIO_TEXT),
        "envoy": lambda: TextFormat(ENVOY_TEXT),
        "json": NamedJson,
    }
    if form in named:
        return named[form]()
    if "%" not in form:
        raise FormatError(
            f"access log format {form[:40]!r}: neither one of {', '.join(named)} nor a format "
            "string with command operators such as %START_TIME%"
        )
    return TextFormat(form)
