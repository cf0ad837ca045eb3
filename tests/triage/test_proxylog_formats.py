"""Formats: what a format prints is read back, and nothing is misread."""

from __future__ import annotations

import json
import re
from dataclasses import fields as fields_of
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from triage.evidence import ProxyRequest
from triage.proxylog.formats import (
    ENVOY_TEXT,
    ISTIO_JSON,
    ISTIO_TEXT,
    ISTIO_TEXT_NO_TERMINATION,
    TEXTS,
    FormatError,
    compile_format,
)
from triage.proxylog.own import own_line
from triage.proxylog.times import compile_time

TIME = 1_700_560_800.123
STAMP = "2023-11-21T10:00:00.123Z"

# A printer, independent of the parser: operators to texts

OPERATOR = re.compile(r"%([A-Z_]+)(?:\(([^)]*(?:\)[^%:][^)]*)*)\))?(?::\d+)?%")
PRINTED = {
    "RESPONSE_CODE": "status",
    "RESPONSE_CODE_DETAILS": "details",
    "CONNECTION_TERMINATION_DETAILS": "termination_details",
    "UPSTREAM_TRANSPORT_FAILURE_REASON": "transport_failure",
    "BYTES_RECEIVED": "bytes_received",
    "BYTES_SENT": "bytes_sent",
    "DURATION": "duration_ms",
    "UPSTREAM_HOST": "upstream_host",
    "UPSTREAM_CLUSTER": "upstream_cluster",
    "UPSTREAM_CLUSTER_RAW": "upstream_cluster",
    "UPSTREAM_LOCAL_ADDRESS": "upstream_local",
    "DOWNSTREAM_LOCAL_ADDRESS": "downstream_local",
    "DOWNSTREAM_REMOTE_ADDRESS": "downstream_remote",
    "REQUESTED_SERVER_NAME": "server_name",
    "ROUTE_NAME": "route",
    "PROTOCOL": "protocol",
}
HEADERS = {
    ":METHOD": "method",
    "X-ENVOY-ORIGINAL-PATH?:PATH": "path",
    ":PATH": "path",
    "X-FORWARDED-FOR": "forwarded_for",
    "USER-AGENT": "user_agent",
    "X-REQUEST-ID": "request_id",
    ":AUTHORITY": "authority",
    "X-ENVOY-UPSTREAM-SERVICE-TIME": "upstream_service_ms",
}


def printed(form: str, values: dict[str, Any]) -> str:
    def one(match: re.Match[str]) -> str:
        name, argument = match[1], match[2]
        if name == "START_TIME":
            return str(values["stamp"])
        if name == "RESPONSE_FLAGS":
            return ",".join(values["flags"]) or "-"
        value = values[HEADERS[argument] if name in ("REQ", "RESP") else PRINTED[name]]
        return "-" if value is None else str(value)

    return OPERATOR.sub(one, form).rstrip("\n")


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


NUMBER = optional(st.integers(0, 10**9))
ADDRESS = optional(
    st.sampled_from(["192.0.2.1:8080", "[2001:db8::1]:443", "envoy://internal/x", "/run/x.sock"])
)
WORD = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789._|~=/:?&%+,;[]{}()<>!*'@-", min_size=1)
SANE = {
    "stamp": st.just(STAMP),
    "method": st.sampled_from(["GET", "POST", "M-SEARCH", "PROPFIND"]),
    "path": WORD.map(lambda text: "/" + text),
    "protocol": st.sampled_from(["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"]),
    "status": st.integers(0, 599),
    "flags": st.lists(st.sampled_from(["UF", "URX", "UC", "NEW"]), max_size=3, unique=True),
    "details": optional(
        st.sampled_from(
            [
                "via_upstream",
                "upstream_reset_before_response_started{connection_failure|delayed:_refused}",
                "rbac_access_denied_matched_policy[ns[a]-policy[b_c]-rule[0]]",
            ]
        )
    ),
    "termination_details": optional(
        st.sampled_from(["rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]"])
    ),
    "transport_failure": optional(
        st.sampled_from(["TLS_error:|268435581:SSL routines:OPENSSL_internal:X|", "delayed: 111"])
    ),
    "bytes_received": NUMBER,
    "bytes_sent": NUMBER,
    "duration_ms": NUMBER,
    "upstream_service_ms": NUMBER,
    "forwarded_for": optional(st.sampled_from(["192.0.2.7", "192.0.2.7, 198.51.100.3"])),
    "user_agent": optional(st.text("abcXYZ 0123/.;:()-+_,", min_size=2).map(lambda t: f"a{t}")),
    "request_id": optional(st.uuids().map(str)),
    "authority": optional(st.sampled_from(["front.example", "front.example:8080", "[::1]:80"])),
    "upstream_host": ADDRESS,
    "upstream_cluster": optional(st.sampled_from(["outbound|80||front.example", "inbound|80||"])),
    "upstream_local": ADDRESS,
    "downstream_local": ADDRESS,
    "downstream_remote": ADDRESS,
    "server_name": optional(st.sampled_from(["outbound_.80_._.front.example"])),
    "route": optional(st.sampled_from(["default", "allow_any"])),
}
NAMES = {field.name for field in fields_of(ProxyRequest)}


def check(form: Any, line: str, values: dict[str, Any], whole: bool) -> None:
    """All that was read is what was printed; with `whole`, nothing is left out."""
    found = compile_format(form).parse(line)
    if found is None:
        assert not whole, line
        return
    assert found.time == pytest.approx(TIME)
    assert found.flags == tuple(values["flags"])
    assert found.status == values["status"]
    for name in SANE.keys() & NAMES - {"flags", "status"}:
        read = getattr(found, name)
        if read is not None or whole:
            assert read == values[name], name


MINI = "%START_TIME% %RESPONSE_CODE% %RESPONSE_FLAGS% %REQ(:METHOD)% %REQ(:PATH)%"


@given(st.fixed_dictionaries(SANE), st.sampled_from([ISTIO_TEXT, *TEXTS]))
def test_text_lines_come_back(values: dict[str, Any], form: str) -> None:
    form = form.replace("%DYNAMIC_METADATA(istio.mixer:status)%", "-")
    values = {**values, **dict.fromkeys(absent(form))}
    line = printed(form, values)
    check(form, line, values, whole=True)
    check("auto", line, values, whole=False)


def absent(form: str) -> set[str]:
    used = {
        HEADERS.get(argument) if name in ("REQ", "RESP") else PRINTED.get(name)
        for name, argument in OPERATOR.findall(form)
    }
    return SANE.keys() - used - {"stamp", "flags"}


HOSTILE = SANE | {
    "path": st.text(min_size=1).map(lambda text: "/" + text),
    "user_agent": optional(st.text()),
    "forwarded_for": optional(st.text()),
    "request_id": optional(st.text()),
    "authority": optional(st.text()),
    "details": optional(st.text()),
    "termination_details": optional(st.text()),
    "transport_failure": optional(st.text()),
}
BITS = st.lists(
    st.sampled_from(
        ['"', " ", '" "', "-", "GET", "HTTP/1.1", '" 200 - via_upstream - "-" 0 0 0 - "', "x",
         "[" + STAMP + "]", "UF", "503", "127.0.0.1:80", "\\", "{", "}", "|", ","]
    ),
    max_size=12,
).map("".join)  # fmt: skip
CRAFTED = SANE | dict.fromkeys(["user_agent", "forwarded_for", "request_id", "authority"], BITS)
EMPTY = ("-", "")


@settings(max_examples=300)
@given(st.fixed_dictionaries(CRAFTED), st.sampled_from([ISTIO_TEXT, ISTIO_TEXT_NO_TERMINATION]))
def test_what_clients_send_never_passes_for_another_field(
    values: dict[str, Any], form: str
) -> None:
    values = {**values, **dict.fromkeys(absent(form))}
    line = printed(form, values)
    for name in ("user_agent", "forwarded_for", "request_id", "authority"):
        values[name] = None if values[name] in EMPTY else values[name]
    check(form, line, values, whole=False)
    found = compile_format(form).parse(line)
    assert found is not None  # status, flags and details stand before all of that
    assert found.status == values["status"]
    assert found.details == values["details"]


@settings(max_examples=200)
@given(st.fixed_dictionaries(HOSTILE))
def test_hostile_text_is_never_misread(values: dict[str, Any]) -> None:
    line = printed(ISTIO_TEXT, values)
    assume("\n" not in line and "\r" not in line)
    for name, value in values.items():
        values[name] = None if value in EMPTY else value
    # A path or details that bring whole fields of their own may hide what the true ones were
    found = compile_format("istio").parse(line)
    if found is not None and found.path == values["path"]:
        check("istio", line, values, whole=False)


@given(st.text(), st.booleans())
def test_nothing_raises(text: str, cut: bool) -> None:
    for form in ("auto", "istio", "envoy", "json", ISTIO_JSON, MINI):
        compile_format(form).parse(text, 1.0, cut=cut)


@given(st.fixed_dictionaries(SANE), st.integers(0, 400))
def test_a_truncated_line_gives_what_is_certain(values: dict[str, Any], length: int) -> None:
    line = printed(ISTIO_TEXT, values)
    assume(length < len(line))
    found = compile_format("istio").parse(line[:length], cut=True)
    if found is not None:
        assert found.status == values["status"]
        assert found.flags == tuple(values["flags"])
        assert found.details == values["details"]
        assert found.user_agent in (None, values["user_agent"])


@given(st.fixed_dictionaries(HOSTILE | {"user_agent": optional(st.text())}))
def test_json_lines_come_back(values: dict[str, Any]) -> None:
    row: dict[str, Any] = {}
    for key, operator in ISTIO_JSON.items():
        row[key] = printed(operator, values)
        if key in ("response_code", "duration", "bytes_sent") and row[key] != "-":
            row[key] = int(row[key])
        elif row[key] == "-" and key != "response_flags":
            row[key] = None
    line = json.dumps(row)
    for name, value in values.items():
        values[name] = None if value in EMPTY else value
    for form in ("auto", "json", ISTIO_JSON):
        found = compile_format(form).parse(line)
        assert found is not None
        for name in SANE.keys() & NAMES - {"flags"}:
            value = values[name]
            value = value.rstrip("\n") if isinstance(value, str) else value
            assert getattr(found, name) == (None if value in EMPTY else value), name


SEPARATORS = st.sampled_from([" ", "|", "\t", " | ", ";", '" "'])


@given(st.fixed_dictionaries(SANE), st.permutations(sorted(SANE.keys() & NAMES)), SEPARATORS)
def test_any_order_and_separator(values: dict[str, Any], order: list[str], separator: str) -> None:
    """Custom formats: what is read is true; what the separator makes uncertain is left out."""
    operator = {field: f"%{name}%" for name, field in PRINTED.items()}
    operator |= {field: f"%REQ({name})%" for name, field in HEADERS.items()}
    operator |= {"flags": "%RESPONSE_FLAGS%",
                 "upstream_service_ms": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"}  # fmt: skip
    form = separator.join(["%START_TIME%", *(operator[name] for name in order)])
    check(form, printed(form, values), values, whole=False)
    quoted = " ".join(["%START_TIME%", *(f'"{operator[name]}"' for name in order)])
    check(quoted, printed(quoted, values), values, whole=True)


def test_a_long_hostile_line_takes_no_time_that_matters() -> None:
    head = f'[{STAMP}] "GET / HTTP/1.1" 503 UF x - "-" 0 0 0 - "'
    for filling in ('" "', '" 0 0 0 - "', "a ", "[", '"', "{", " -"):
        compile_format().parse(head + filling * (60_000 // len(filling)))
        compile_format().parse(filling * (60_000 // len(filling)))


CASES = {
    f'[{STAMP}] "GET /a b HTTP/1.1" 503 UC upstream_reset_before_response_started'
    '{connection termination} - "-" 0 95 1 - "-" "agent" "id" "h" "192.0.2.1:80" '
    "inbound|80|| 192.0.2.2:1 192.0.2.1:80 192.0.2.3:1 - default": {
        "path": "/a b",
        "details": "upstream_reset_before_response_started{connection termination}",
        "termination_details": None,
        "status": 503,
        "user_agent": "agent",
    },
    f'[{STAMP}] "- - -" 0 UF,URX - - "delayed_connect_error:_111" 0 0 0 - "-" "-" "-" "-" '
    '"[2001:db8::1]:80" outbound|80||x - [::1]:80 [::1]:4 - -': {
        "method": None,
        "status": 0,
        "flags": ("UF", "URX"),
        "upstream_host": "[2001:db8::1]:80",
        "transport_failure": "delayed_connect_error:_111",
    },
    # omit_empty_values leaves nothing instead of "-"
    f'[{STAMP}] "GET / HTTP/2" 200  via_upstream  "" 0 2 1 1 "" "agent" "" "h" "192.0.2.1:80" '
    "inbound|80|| 192.0.2.2:1 192.0.2.1:80 192.0.2.3:1  default": {
        "status": 200,
        "flags": (),
        "user_agent": "agent",
        "request_id": None,
        "server_name": None,
    },
}


@pytest.mark.parametrize(("line", "expected"), CASES.items())
def test_lines(line: str, expected: dict[str, Any]) -> None:
    found = compile_format().parse(line)
    assert found is not None
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-",
        "Traceback (most recent call last):",
        "[2023-11-21 10:00:00.123][15][warning][config] [source/x.cc:1] gRPC config stream closed",
        "[2023-11-21T10:00:00.123Z] starting",
        f'[{STAMP}] "GET / HTTP/1.1" 200',
        f'[{STAMP}] "GET / HTTP/1.1" many - via_upstream - "-" 0 0 0 - "-" "-" "-" "-" "-" a b c d',
        "{}",
        "{",
        '{"level":"info","msg":"x","status":200}',
        "[1,2]",
        "{" * 5000,
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert compile_format().parse(line, 1.0) is None


@pytest.mark.parametrize(
    ("form", "text", "time"),
    [
        ("%s", "1700560800", 1_700_560_800),
        ("%s.%3f", "1700560800.123", TIME),
        ("%s.%6f", "1700560800.123000", TIME),
        ("%s.%9f", "1700560800.123000000", TIME),
        ("%s.%f", "1700560800.123000000", TIME),
        ("%Y-%m-%dT%H:%M:%S.%3fZ", STAMP, TIME),
        ("%Y/%m/%dT%H:%M:%S%z %s", "2023/11/21T10:00:00+0000 1700560800", 1_700_560_800),
        ("%Y/%m/%dT%H:%M:%S%z", "2023/11/21T12:00:00+0200", 1_700_560_800),
        ("%d/%b/%Y:%H:%M:%S %z", "21/Nov/2023:10:00:00 +0000", 1_700_560_800),
        ("%FT%TZ", "2023-11-21T10:00:00Z", 1_700_560_800),
        ("%Y-%m-%d %H:%M:%E3S", "2023-11-21 10:00:00.123", TIME),
        ("%a %b %e %I:%M:%S %p %Y", "Tue Nov 21 10:00:00 AM 2023", 1_700_560_800),
        ("%y%j %R", "23325 10:00", 1_700_560_800),
        ("%Y-%m-%d", "2023-02-30", None),
        ("%Y-%m-%d %H", "2023-02-03 25", None),
        ("%H:%M", "10:00", None),
        ("%Q", "what", None),
        ("", STAMP, TIME),
    ],
)
def test_start_times(form: str, text: str, time: float | None) -> None:
    compiled = compile_time(form)
    assert re.fullmatch(compiled.pattern, text)
    assert compiled.parse(text) == (None if time is None else pytest.approx(time))


@given(st.datetimes(datetime(1990, 1, 1), datetime(2068, 12, 31)))
def test_start_times_come_back(when: datetime) -> None:
    when = when.replace(tzinfo=UTC, microsecond=0)
    for form in ("%Y-%m-%dT%H:%M:%S", "%d/%b/%Y:%H:%M:%S %z", "%c", "%y-%j %I:%M:%S %p", "%s"):
        if "%y" in form and when.year < 2000:
            continue
        text = str(int(when.timestamp())) if form == "%s" else when.strftime(form)
        assert compile_time(form).parse(text) == when.timestamp()


def test_durations_in_other_units() -> None:
    form = {"t": "%START_TIME%", "c": "%RESPONSE_CODE%",
            "d": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%"}  # fmt: skip
    found = compile_format(form).parse(json.dumps({"t": STAMP, "c": 200, "d": 1500}))
    assert found is not None
    assert found.duration_ms == 1.5
    assert found.end == pytest.approx(TIME + 0.0015)


def test_without_a_start_time_the_time_of_writing_counts() -> None:
    form = compile_format("%RESPONSE_CODE% %DURATION% %RESPONSE_FLAGS%")
    assert form.parse("503 500 UF") is None
    found = form.parse("503 500 UF", 100.0)
    assert found is not None
    assert (found.time, found.written_at) == (99.5, 100.0)


def test_attempts_are_retries() -> None:
    form = compile_format("%START_TIME% %RESPONSE_CODE% %UPSTREAM_REQUEST_ATTEMPT_COUNT%")
    found = form.parse(f"{STAMP} 503 3")
    assert found is not None
    assert found.retries == 2


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("istioo", "neither one of"),
        ("%START_TIME", "no command operator"),
        ("%start_time%", "no command operator"),
        ("%REQ(:PATH)%%REQ(USER-AGENT)%", "nothing between them"),
        ("%DYNAMIC_METADATA(x)%", "none of its operators"),
        ("%START_TIME%\n%PROTOCOL%", "more than one line"),
        ({}, "none of its operators"),
        ({"a": "text"}, "none of its operators"),
    ],
)
def test_formats_that_cannot_be_used(form: Any, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        compile_format(form)


def test_a_percent_sign() -> None:
    found = compile_format("100%% %START_TIME% %RESPONSE_CODE%").parse(f"100% {STAMP} 200")
    assert found is not None
    assert found.status == 200


def test_formats_are_told_apart() -> None:
    line = printed(ENVOY_TEXT, {**dict.fromkeys(SANE), "stamp": STAMP, "status": 503,
                                "flags": ["UH"], "method": "GET", "path": "/"})  # fmt: skip
    assert compile_format("istio").parse(line) is None
    found = compile_format().parse(line)
    assert found is not None
    assert found.flags == ("UH",)


@pytest.mark.parametrize(
    ("line", "level", "bad"),
    [
        ("[2023-11-21 10:00:00.123][15][warning][config] [x.cc:1] closed", "warning", True),
        ("2023-11-21T10:00:00.123Z\twarning\tenvoy config\tclosed", "warning", True),
        ("2023-11-21T10:00:00.123Z\tinfo\tReadiness succeeded", "info", False),
        ("error\tfailed to fetch token", "error", True),
        ('{"level":"error","time":"2023-11-21T10:00:00Z","scope":"x","msg":"m"}', "error", True),
    ],
)
def test_envoys_own_lines(line: str, level: str, bad: bool) -> None:
    found = own_line(line)
    assert found is not None
    assert (found.level, found.bad) == (level, bad)


@given(st.text())
def test_any_text_may_be_no_own_line(text: str) -> None:
    assert own_line(text) is None or own_line(text)
