"""What a line weighs, and which lines are noise."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.applog import score as weights
from triage.applog.formats import parse
from triage.applog.noise import BUILTIN, Noise, safe_regex
from triage.applog.score import text_score

DATA = Path(__file__).parent / "data" / "applog"
TELEMETRY = (DATA / "exporters.txt").read_text().splitlines()


def _score(line: str) -> float:
    parsed = parse(line)
    trace = "python" if parsed.stack else ""
    return text_score(parsed.message, parsed.level, trace=trace, failure=parsed.failure).value


HIGH = [
    ("panic: runtime error: invalid memory address or nil pointer dereference", weights.CRASH),
    ("Segmentation fault (core dumped)", weights.CRASH),
    ("java.lang.OutOfMemoryError: Java heap space", weights.CRASH),
    ("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
     weights.CRASH),
    ('Exception in thread "main" java.lang.RuntimeException: GET / failed', weights.CRASH),
    ("thread 'main' panicked at 'boom', src/main.rs:2:5", weights.CRASH),
    ("PHP Fatal error:  Uncaught Exception: boom in /app/index.php:3", weights.CRASH),
    ("[2025-07-17 05:51:22 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:7)", weights.WORKER),
    ("2025/07/17 05:51:22 [alert] 1#1: worker process 7 exited on signal 11", weights.WORKER),
    ("ERROR:    Application startup failed. Exiting.", weights.WORKER),
    ("ERROR:    Exception in ASGI application", weights.REQUEST),
    ("[2025-07-17 05:51:22 +0000] [7] [ERROR] Error handling request /", weights.REQUEST),
    ("ERROR in app: Exception on / [GET]", weights.REQUEST),
    ("Internal Server Error: /orders/", weights.REQUEST),
    ("2025/07/17 05:51:22 http: panic serving 10.0.0.1:5: boom", weights.REQUEST),
    ('could not connect to server: Connection refused. Is the server running on host "db"?',
     weights.RESOURCE),
    ("HikariPool-1 - Connection is not available, request timed out after 30000ms.",
     weights.RESOURCE),
    ("sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached",
     weights.RESOURCE),
    ("OSError: [Errno 24] Too many open files", weights.RESOURCE),
    ("write /data/x: no space left on device", weights.RESOURCE),
    ("INFO:     Shutting down", weights.STOPPING),
    ("[2025-07-17 05:51:22 +0000] [1] [INFO] Handling signal: term", weights.STOPPING),
    ("2025/07/17 05:51:22 [notice] 1#1: signal 15 (SIGTERM) received from 1, exiting",
     weights.STOPPING),
    ("level=error msg=broken", 0.6),
    ("[2025-07-17 05:51:22] [FATAL] giving up", 0.85),
    ("INFO:     Started server process [1]", weights.STARTING),
    ("request failed", weights.WORD),
    ("Error: boom", weights.WORD),
]  # fmt: skip


@pytest.mark.parametrize(("line", "least"), HIGH)
def test_what_fails_weighs(line: str, least: float):
    assert _score(line) >= least
    assert Noise().named(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "checked 12 hosts, 0 errors",
        "no errors found",
        "finished without error",
        "error_rate=0 requests=12",
        'errors=0 failed=0 error="" err=null',
        "got error: none, failures: 0",
        "GET /errors/list done in 3 ms",
        "serving https://example.com/error.html",
        "errorless operation of /var/log/error.log",
        "error-page configured, error handler installed",
        "the terrors of mirrors",
        "errors: []",
        "timeout=30s set",
        "app.errors.count is 12",
        "",
        "everything is fine",
        '{"level":"info","msg":"done","error":null,"errors":0}',
    ],
)
def test_words_that_tell_of_no_failure_weigh_nothing(line: str):
    assert _score(line) == 0.0


def test_what_its_writer_handled_weighs_little():
    assert _score("INFO: connection refused, using the cache") <= weights.HANDLED
    assert _score("WARNING: redis timeout, retrying in 3s") <= weights.HANDLED
    assert _score("DEBUG: request failed") <= weights.HANDLED
    assert _score("database connection refused, retrying in 1s") == weights.RESOURCE / 2
    traced = text_score("ignored", "debug", trace="python", final="KeyError: 'x'")
    assert traced.value == weights.HANDLED_TRACE


def test_a_trace_weighs_by_what_it_ends_in():
    trace = text_score("lookup", None, trace="python", final="KeyError: 'x'")
    assert trace.value == weights.TRACE
    assert "KeyError" in trace.why
    memory = text_score("lookup", None, trace="python", final="MemoryError")
    assert (memory.value, memory.lasting) == (weights.CRASH, True)
    assert text_score("goroutine 1 [running]:", None, trace="go").value == weights.CRASH


@given(st.text(), st.sampled_from([None, "info", "error", "fatal"]), st.text(max_size=50))
def test_scores_are_between_0_and_1_and_have_a_reason(text, level, final):
    scored = text_score(text, level, trace="python" if final else "", final=final)
    assert 0.0 <= scored.value <= 1.0
    assert bool(scored.value) == bool(scored.why)


@given(st.text(" 0123456789.,:;-_/ghijkquvwxyz", max_size=60))
def test_text_without_a_word_of_failure_weighs_nothing(text):
    assert text_score(text).value == 0.0


# Noise


@pytest.mark.parametrize("line", TELEMETRY)
def test_exporters_of_telemetry_are_noise(line: str):
    parsed = parse(line)
    assert Noise().named(parsed.message, parsed.failure, line) == "telemetry exporter"
    assert Noise(builtin=False).named(parsed.message, parsed.failure, line) is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("2025/07/17 05:51:22 [info] 1#1: *1 client prematurely closed connection", "client gone"),
        ("org.apache.catalina.connector.ClientAbortException: java.io.IOException: Broken pipe",
         "client gone"),
        ("/app/x.py:3: DeprecationWarning: datetime.utcnow() is deprecated", "deprecation"),
        ("(node:1) [DEP0040] DeprecationWarning: The `punycode` module", "deprecation"),
        ('kube-probe/1.20 said "error"', "health check"),
    ],
)  # fmt: skip
def test_other_kinds_of_noise(line: str, kind: str):
    assert Noise().named(line) == kind
    assert kind in BUILTIN


@pytest.mark.parametrize(
    "line",
    [
        "could not connect to server: Connection refused",
        "Failed to send the order to the warehouse: connection refused",
        "failed to export the invoice: disk full",
        "error exporting transactions of customer 7",
        "cannot reach http://payments:8080/api/v2/pay",
        "psycopg2.OperationalError: server closed the connection unexpectedly",
        "Exception on /metrics [GET]",
        "trace: request failed",
        "report generation failed for user 5",
    ],
)
def test_failures_of_the_application_are_no_noise(line: str):
    assert Noise().named(line) is None


def test_frames_of_instrumentation_do_not_make_a_failure_noise():
    frames = '  File "/usr/lib/opentelemetry/instrumentation/asgi/__init__.py", line 1'
    noise = Noise()
    assert noise.named("Exception in ASGI application", "ValueError: boom", frames) is None
    exporting = "Exception while exporting Span batch."
    frames = '  File "/usr/lib/opentelemetry/sdk/trace/export/__init__.py", line 1'
    assert noise.named(exporting, "ValueError: boom", frames) == "telemetry exporter"
    assert noise.named(exporting, "ValueError: boom", '  File "/app/x.py"') is None


def test_patterns_of_settings():
    noise = Noise(["known nuisance", r"^cache (miss|stale)"])
    assert noise.named("A KNOWN Nuisance: error") == "known nuisance"
    assert noise.named("cache stale, error") == "^cache (miss|stale)"
    assert noise.named("no cache miss") is None
    assert noise.named("x", "known nuisance") == "known nuisance"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "no regular expression"),
        ("(a+)+$", "repeats a repetition"),
        ("((a|b)*c)*d", "repeats a repetition"),
        ("(?:x{2,})+", "repeats a repetition"),
        ("a*", "matches every line"),
        ("x" * 501, "longer than 500"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused(pattern: str, said: str):
    with pytest.raises(ValueError, match=said) as caught:
        Noise([pattern])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["(a|b)+c", r"\(a+\)+", "[(a+)]+b", "(ab?){2,5}", "(a{3})+"])
def test_patterns_that_look_like_it_are_not(pattern: str):
    assert safe_regex(pattern).pattern == pattern


def test_hostile_lines_do_not_take_for_ever():
    """A pattern that backtracks on one of them runs into the suite's time limit."""
    noise = Noise()
    for line in (
        "otel " * 2000,
        "failed to send " * 800,
        "export error " * 800,
        "a" * 100_000,
        '"GET ' * 3000,
        "1/1/1/1/1 200 1 " * 600,
        "error=" * 2000,
        "[" * 8000,
        "GET / " * 2000,
        "worker 1 exited " * 600,
    ):
        parsed = parse(line)
        noise.named(parsed.message, parsed.failure, line)
        scored = text_score(parsed.message, parsed.level, failure=parsed.failure)
        assert 0.0 <= scored.value <= 1.0
