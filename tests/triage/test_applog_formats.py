"""Access formats, levels and times of one line."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.applog.access import METHODS, read_access, split_url
from triage.applog.formats import parse
from triage.applog.levels import LEVELS, level_of, read_level
from triage.applog.times import number_time, read_time
from triage.evidence import AppLineKind

UUID = "fc594902-0098-41e5-890b-05a5c6f84fd9"
AT = 1752731482.0  # 2025-07-17T05:51:22Z

ACCESS = [
    ('INFO:     127.0.0.6:34385 - "HEAD / HTTP/1.1" 405 Method Not Allowed', "HEAD", "/", 405),
    ('INFO:      - "GET /?a=b HTTP/1.1" 200 OK', "GET", "/?a=b", 200),
    (
        ('\x1b[32mINFO\x1b[0m:     127.0.0.6:1 - "\x1b[1mGET / HTTP/1.1\x1b[0m" '
        "\x1b[91m500 Internal Server Error\x1b[0m"),
        "GET",
        "/",
        500,
    ),
    ('[2025-07-17 05:51:22 +0000] [7] [INFO] 127.0.0.1:5 - "GET / 2" 503 9', "GET", "/", 503),
    ('127.0.0.6 - - [17/Jul/2025:05:51:22 +0900] "GET / HTTP/1.0" 500 -', "GET", "/", 500),
    ('10.0.0.1 - - [17/Jul/2025:05:51:22 +0000] "GET /a?b=1 HTTP/1.1" 502 157 "-" "UA"', "GET",
     "/a?b=1", 502),
    ('127.0.0.1 - - [17/Jul/2025 05:51:22] "GET / HTTP/1.1" 500 -', "GET", "/", 500),
    ('[17/Jul/2025 05:51:22] "GET / HTTP/1.1" 500 145', "GET", "/", 500),
    ('127.0.0.1 -  17/Jul/2025:05:51:22 +0000 "GET /index.php" 200', None, None, None),
    ('[GIN] 2025/07/17 - 05:51:22 | 500 |  1.2ms |  10.0.0.1 | GET      "/ping"', "GET", "/ping",
     500),
    ("05:51:22 | 404 |   1ms | 127.0.0.1 | GET | /path | -", "GET", "/path", 404),
    (('2025/07/17 05:51:22 [host/abc-000001] "GET http://localhost:3000/x HTTP/1.1" from '
     "127.0.0.1:5 - 503 5B in 1ms"), "GET", "/x", 503),
    ("GET / 500 1.234 ms - 12", "GET", "/", 500),
    ("GET / 200 12 - 1.2 ms", "GET", "/", 200),
    ("::1 - GET / HTTP/1.1 404 12 - 1.2 ms", "GET", "/", 404),
    ("[I 250717 05:51:22 web:2271] 200 GET / (127.0.0.1) 0.50ms", "GET", "/", 200),
    ("HTTP GET /orders responded 500 in 12.3 ms", "GET", "/orders", 500),
    ("      Request finished HTTP/1.1 GET http://localhost:5000/ - 500 - text/plain 1.2ms", "GET",
     "/", 500),
    (('haproxy[1]: 10.0.0.1:5000 [17/Jul/2025:05:51:22.123] fe be/srv1 0/0/1/2/3 503 217 - - SC-- '
     '1/1/0/0/3 0/0 "GET / HTTP/1.1"'), "GET", "/", 503),
    ('time=2025-07-17T05:51:22.889Z level=INFO msg=request method=GET path=/ status=500', "GET",
     "/", 500),
    ("2025-07-17 05:51:22 [info     ] request               method=GET path=/a status=404", "GET",
     "/a", 404),
    (json.dumps({"level": 30, "req": {"method": "GET", "url": "/"}, "res": {"statusCode": 503}}),
     "GET", "/", 503),
    (json.dumps({"request": {"method": "GET", "uri": "/c", "headers": {"User-Agent": ["UA"]}},
                 "status": 502}), "GET", "/c", 502),
    (json.dumps({"remote_addr": "10.0.0.1", "request": "GET /x HTTP/1.1", "status": "502"}), "GET",
     "/x", 502),
    (json.dumps({"http.request.method": "GET", "url.path": "/e",
                 "http.response.status_code": 500}), "GET", "/e", 500),
    (json.dumps({"http": {"request": {"method": "get"}, "response": {"status_code": 500}},
                 "url": {"original": "http://shop/e?q=1"}}), "GET", "/e?q=1", 500),
    (json.dumps({"severity": "INFO", "httpRequest": {"requestMethod": "GET",
                 "requestUrl": "http://shop.example/g", "status": 404}}), "GET", "/g", 404),
    (json.dumps({"message": '10.0.0.1 - "GET /m HTTP/1.1" 500', "level": "INFO"}), "GET", "/m",
     500),
]  # fmt: skip


@pytest.mark.parametrize(("line", "method", "path", "status"), ACCESS)
def test_access_formats(line: str, method: str | None, path: str | None, status: int | None):
    parsed = parse(line)
    assert (parsed.method, parsed.path, parsed.status) == (method, path, status)
    assert (parsed.kind is AppLineKind.ACCESS) == (status is not None)


@pytest.mark.parametrize(
    "line",
    [
        'DEBUG:urllib3.connectionpool:http://auth:80 "GET /verify HTTP/1.1" 500 15',
        'INFO:httpx:HTTP Request: GET http://auth:8080/ "HTTP/1.1 500 Internal Server Error"',
        "GET /report 200 ms",
        "GET /users returned 404 rows",
        "the answer to GET / was 42",
        '{"method":"GET","path":"/"}',
        '{"method":"GET","path":"/","status":"ok"}',
        '{"method":"GET","path":"/","status":700}',
        '{"method":"do_it","path":"/","status":200}',
        'INFO:     127.0.0.1:5 - "WebSocket /ws" [accepted]',
        "status=500",
    ],
)
def test_no_access_lines(line: str):
    assert parse(line).kind is AppLineKind.TEXT


def test_what_a_client_writes_is_not_taken_for_its_request():
    line = (
        '10.0.0.1 - - [17/Jul/2025:05:51:22 +0000] "GET /up HTTP/1.1" 502 157 '
        r'"-" "x\x22 200 \x22GET /x HTTP/1.1\x22 200"'
    )
    access = read_access(line)
    assert access is not None
    assert (access.path, access.status) == ("/up", 502)
    access = read_access('INFO:     1.1.1.1:5 - "GET /?a="GET HTTP/1.1" 500 Internal Server Error')
    assert access is not None
    assert (access.path, access.status) == ('/?a="GET', 500)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("INFO:     Shutting down", "info"),
        ("ERROR:    Exception in ASGI application", "error"),
        ("ERROR:root:boom", "error"),
        ("[2025-07-17 05:51:22 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:7)", "critical"),
        ("2025-07-17 05:51:22,889 - app - ERROR - no database", "error"),
        ("2025-07-17T05:51:22.889Z ERROR 1 --- [exec-1] o.a.c.Servlet : boom", "error"),
        ("05:51:22.889 [http-nio-8080-exec-1] WARN  c.e.App - slow", "warning"),
        ("2025-07-17 05:51:22.889 | ERROR    | app:main:10 - boom", "error"),
        ("2025-07-17 05:51:22 [error    ] request failed  path=/", "error"),
        ("E0717 05:51:22.889601       1 server.go:10] Failed to list", "error"),
        ("F, [2025-07-17T05:51:22.123456 #1] FATAL -- : boom", "fatal"),
        ("[E 250717 05:51:22 web:2271] 500 GET / (127.0.0.1) 0.50ms", "error"),
        ("2025/07/17 05:51:22 [crit] 29#29: *1 connect() failed", "critical"),
        ("[Thu Jul 17 05:51:22.123456 2025] [core:error] [pid 1:tid 2] AH00124: x", "error"),
        ("fail: Microsoft.AspNetCore.Server.Kestrel[13]", "error"),
        ("SEVERE: request failed", "error"),
        ("panic: runtime error", "fatal"),
        ('time=2025-07-17T05:51:22Z level=WARN msg="slow"', "warning"),
        ('{"level":50,"msg":"x"}', "error"),
        ('{"level":400,"level_name":"ERROR","message":"x"}', "error"),
        ('{"severity":"CRITICAL","message":"x"}', "critical"),
        ('{"log.level":"error","message":"x"}', "error"),
        ("Error: boom", None),
        ("error rates are fine", None),
        ("I/O error on device", None),
        ("HTTP ERROR 404", None),
        ("checked 12 hosts", None),
        ("ERRORLESS", None),
        ("", None),
    ],
)
def test_levels(line: str, level: str | None):
    assert parse(line).level == level


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("2025-07-17T05:51:22Z x", AT),
        ("2025-07-17 05:51:22,500 x", AT + 0.5),
        ("2025-07-17T14:51:22.5+09:00 x", AT + 0.5),
        ("2025/07/17 05:51:22 [error] 29#29: x", AT),
        ("[GIN] 2025/07/17 - 05:51:22 | 200 |", AT),
        ("::1 - - [17/Jul/2025:14:51:22 +0900] x", AT),
        ("[17-Jul-2025 05:51:22] WARNING: x", AT),
        ("[Thu Jul 17 05:51:22.250000 2025] [core:error] x", AT + 0.25),
        ("E0717 05:51:22.500000       1 server.go:10] x", AT + 0.5),
        ("[I 250717 05:51:22 web:2271] x", AT),
        ("Jul 17 05:51:22 host app: x", AT),
        ("2025-02-30 05:51:22 x", None),
        ("at 5 o'clock", None),
    ],
)
def test_times(line: str, time: float | None):
    assert read_time(line, AT + 86400) == time


def test_times_without_a_zone_are_of_the_offset_and_without_a_year_of_the_nearest():
    assert read_time("2025-07-17 14:51:22 x", AT, utc_offset=9 * 3600) == AT
    new_year = 1767225605.0  # 2026-01-01T00:00:05Z
    assert read_time("E1231 23:59:59.000000 1 x.go:1] x", new_year) == new_year - 6
    assert read_time("I0229 00:00:00.000000 1 x.go:1] x", new_year) is None


@pytest.mark.parametrize("value", [AT, AT * 1e3, AT * 1e6, AT * 1e9])
def test_numbers_are_times_in_the_unit_that_fits(value: float):
    assert number_time(value) == pytest.approx(AT)
    assert parse(json.dumps({"ts": value, "msg": "x"}), reference=AT).time == pytest.approx(AT)
    assert number_time(12.0) is None


def test_ids_user_agent_and_duration():
    line = {"request_id": UUID, "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "msg": "x"}
    assert parse(json.dumps(line)).ids == (UUID, "ab" * 16)
    assert parse(f"[{UUID}] Completed 500").ids == (UUID,)
    assert parse("x-request-id=abcdef123 boom").ids == ("abcdef123",)
    clf = '1.1.1.1 - - [x] "GET / HTTP/1.1" 200 1 "-" "Blackbox Exporter/0.24.0" rt=0.250'
    assert parse(clf).user_agent == "Blackbox Exporter/0.24.0"
    assert parse(clf).duration == 0.25
    assert parse('1.1.1.1 - - [x] "GET / HTTP/1.1" 200 1 "-" "-"').user_agent is None
    for field, value in (("responseTime", 250), ("request_time", "0.25"), ("latency", "250ms"),
                         ("duration_ms", 250.0), ("latency", "250µs")):  # fmt: skip
        found = parse(json.dumps({field: value, "msg": "x"})).duration
        assert found == pytest.approx(0.00025 if value == "250µs" else 0.25)


def test_failures_in_fields():
    parsed = parse(json.dumps({"msg": "query failed", "error": "connection refused"}))
    assert (parsed.failure, parsed.stack) == ("connection refused", False)
    trace = 'Traceback (most recent call last):\n  File "x", line 1\nValueError: boom'
    parsed = parse(json.dumps({"event": "x", "exception": trace}))
    assert (parsed.failure, parsed.stack) == ("ValueError: boom", True)
    assert parse(json.dumps({"event": "x", "error": None, "errors": 0})).failure == ""
    assert parse(json.dumps({"event": "x", "error": False})).failure == ""


# Anything: nothing raises, and a well-formed line is read as it was written

_segment = st.text(string.ascii_letters + string.digits + "._~%+-:@", max_size=12)
paths = st.builds(
    lambda parts, query: "/" + "/".join(parts) + ("?" + query if query else ""),
    st.lists(_segment, max_size=4),
    st.text(string.ascii_letters + string.digits + "=&%\"'[]|", max_size=20),
)
methods = st.sampled_from(METHODS.split("|"))
statuses = st.integers(100, 599)
agents = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40)


def _uvicorn(method: str, path: str, status: int, agent: str) -> str:
    return f'INFO:     10.0.0.1:{status} - "{method} {path} HTTP/1.1" {status} Whatever'


def _combined(method: str, path: str, status: int, agent: str) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\x5C").replace('"', r"\x22")

    return (
        f'10.0.0.1 - - [17/Jul/2025:05:51:22 +0000] "{method} {escaped(path)} HTTP/1.1" '
        f'{status} 157 "-" "{escaped(agent)}"'
    )


def _json(method: str, path: str, status: int, agent: str) -> str:
    return json.dumps({"ua": agent, "method": method, "path": path, "status": status})


def _pino(method: str, path: str, status: int, agent: str) -> str:
    request = {"id": 1, "method": method, "url": path, "headers": {"user-agent": agent}}
    return json.dumps({"req": request, "res": {"statusCode": status}, "msg": "GET /x 200"})


def _logfmt(method: str, path: str, status: int, agent: str) -> str:
    quoted = json.dumps(path) if set(path) & set('="') else path
    return f"level=info msg=done method={method} path={quoted} status={status}"


@given(st.sampled_from([_uvicorn, _combined, _json, _pino, _logfmt]), methods, paths, statuses,
       agents)  # fmt: skip
def test_a_well_formed_line_is_never_misread(render, method, path, status, agent):
    parsed = parse(render(method, path, status, agent))
    assert parsed.kind is AppLineKind.ACCESS
    assert (parsed.method, parsed.status) == (method, status)
    expected = path.replace('"', r"\x22") if render is _combined else path
    assert parsed.path == expected


_hostile = st.lists(
    st.sampled_from(
        ['"', "\\", " ", "GET ", "/", "HTTP/1.1", "500", "{", "}", ":", "=", "|", "\x1b[0m", "[",
         "]", "at ", "0", "\u2028", "\x00", "Traceback (most recent call last):", "ERROR", "-",
         "2025-07-17 05:51:22", "é", "\ud800", "level", "null", "1e999", "://"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


@given(st.one_of(st.text(), _hostile))
def test_nothing_raises(text):
    parsed = parse(text, reference=AT)
    assert parsed.level is None or parsed.level in LEVELS
    assert parsed.status is None or 100 <= parsed.status <= 599
    read_level(text)


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=4),
    max_leaves=10,
)  # fmt: skip
_field_names = st.sampled_from(
    ["level", "status", "method", "path", "url", "req", "time", "ts", "error", "stack", "msg",
     "request", "duration", "latency", "request_id", "traceparent", "headers", "exception"]
)  # fmt: skip


@given(st.dictionaries(_field_names, _json_values, max_size=8))
def test_no_json_raises(fields):
    parse(json.dumps(fields), reference=AT)


def test_deep_and_huge_json_is_text():
    assert parse("{" * 5000).kind is AppLineKind.TEXT
    assert parse('{"a":' * 5000).kind is AppLineKind.TEXT
    assert parse('{"status":' + "9" * 6000 + "}").status is None


def test_levels_of_values():
    assert level_of(True) is None
    assert level_of(3) == "error"
    assert level_of("3") == "error"
    assert level_of(35) is None
    assert level_of(float("inf")) is None
    assert level_of([]) is None


def test_urls_are_split():
    assert split_url("http://a:1/b?c") == ("a:1", "/b?c")
    assert split_url("http://a") == ("a", "/")
    assert split_url("http://a?x=/y") == ("a", "/?x=/y")
    assert split_url("/b?u=http://c/") == (None, "/b?u=http://c/")
