"""Lines that belong together."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from triage.applog import records
from triage.applog.formats import parse
from triage.applog.records import Grouper, Record
from triage.evidence import AppLineKind

DATA = Path(__file__).parent / "data" / "applog"


def group(lines: list[str], *, stream: str = "", step: float = 0.001) -> list[Record]:
    grouper = Grouper()
    done: list[Record] = []
    for number, line in enumerate(lines):
        parsed = parse(line)
        alone = parsed.kind is AppLineKind.ACCESS
        calm = parsed.level in {"info", "debug"}
        done += grouper.feed(100 + number * step, stream, line, alone=alone, calm=calm)
    return done + grouper.flush()


def recorded(name: str) -> list[Record]:
    return group((DATA / name).read_text().splitlines())


def test_uvicorns_traceback_is_one_record_with_its_chain():
    found = [record for record in recorded("uvicorn.log") if record.trace]
    assert [record.text for record in found] == ["ERROR:    Exception in ASGI application"]
    assert found[0].final == "RuntimeError: could not reach the database"
    assert found[0].count > 20
    assert "lines left out" in found[0].shown()


def test_gunicorns_tracebacks():
    found = [record for record in recorded("gunicorn.log") if record.trace]
    assert [record.final for record in found] == ["ValueError: boom", "SystemExit: 1"]
    assert all("Error handling request" in record.text for record in found)


def test_javas_traces():
    found = [record for record in recorded("java.log") if record.trace]
    assert [record.text for record in found] == [
        "SEVERE: request failed",
        'Exception in thread "main" java.lang.RuntimeException: GET / failed',
    ]
    assert found[0].final == "java.lang.RuntimeException: no database"
    assert found[1].final == "Caused by: java.net.ConnectException: Connection refused"


def test_nodes_trace():
    found = [record for record in recorded("node.log") if record.trace]
    assert len(found) == 1
    assert found[0].text == "TypeError: Cannot read properties of undefined (reading 'id')"


def test_gos_panic():
    lines = [
        "2025/07/17 05:51:22 listening",
        "panic: runtime error: invalid memory address or nil pointer dereference",
        "[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47e2a1]",
        "",
        "goroutine 1 [running]:",
        "main.(*server).handle(0x0, {0x1, 0x2})",
        "\t/app/main.go:12 +0x1d",
        "created by main.main in goroutine 1",
        "\t/app/main.go:9 +0x5",
        "exit status 2",
        "2025/07/17 05:51:23 listening",
    ]
    assert [(record.text, record.count) for record in group(lines)] == [
        (lines[0], 1),
        (lines[1], 9),
        (lines[10], 1),
    ]


def test_an_exception_group_and_dotnet():
    lines = [
        "  + Exception Group Traceback (most recent call last):",
        '  |   File "/app/x.py", line 1, in <module>',
        "  | ExceptionGroup: two (2 sub-exceptions)",
        "  +-+---------------- 1 ----------------",
        "    | ValueError: one",
        "    +------------------------------------",
        "done",
    ]
    found = group(lines)
    assert [record.count for record in found] == [6, 1]
    assert found[0].trace == "python"
    lines = [
        "fail: Microsoft.AspNetCore.Diagnostics.ExceptionHandlerMiddleware[1]",
        "      An unhandled exception has occurred while executing the request.",
        "      System.InvalidOperationException: boom",
        "         at Program.Main() in /app/Program.cs:line 3",
    ]
    found = group(lines)
    assert len(found) == 1
    assert found[0].said().startswith("An unhandled exception")


def test_an_access_line_amid_a_traceback_stands_for_itself():
    access = 'INFO:     127.0.0.6:1 - "GET / HTTP/1.1" 200 OK'
    lines = [
        "ERROR:    boom",
        "Traceback (most recent call last):",
        '  File "x", line 1',
        access,
        "    call()",
        "ValueError: no",
        "next",
    ]
    found = group(lines)
    assert [(record.text, record.count) for record in found] == [
        (access, 1),
        ("ERROR:    boom", 5),
        ("next", 1),
    ]
    assert found[1].final == "ValueError: no"


def test_a_traceback_does_not_belong_to_a_calm_or_an_older_message():
    trace = ["Traceback (most recent call last):", "ValueError: no"]
    assert [record.count for record in group(["INFO:     starting", *trace])] == [1, 2]
    assert [record.count for record in group(["exporting failed", *trace], step=0.5)] == [1, 2]
    assert [record.count for record in group(["exporting failed", *trace])] == [3]


def test_streams_are_apart_and_time_parts():
    grouper = Grouper()
    done = []
    for stream, text in (
        ("stderr", "boom"),
        ("stdout", "a"),
        ("stderr", "  at x"),
        ("stdout", "b"),
    ):
        done += grouper.feed(1.0, stream, text, alone=False)
    done += grouper.flush()
    assert sorted((record.text, record.count) for record in done) == [
        ("a", 1),
        ("b", 1),
        ("boom", 2),
    ]
    assert [record.count for record in group(["boom", "  later"], step=records.GAP + 1)] == [1, 1]


def test_a_trace_without_end_is_bounded():
    found = group(["boom", *("\tat x" + "y" * 1000 for _ in range(5_000))], step=0.0)
    assert [record.count for record in found] == [5_001]
    assert len(found[0].shown()) < 20_000


@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(
                [
                    "Traceback (most recent call last):",
                    '  File "x", line 1',
                    "ValueError: x",
                    "Caused by: x",
                    "panic: x",
                    "goroutine 1 [running]:",
                    "\tat x",
                    "",
                    "java.lang.Error: x",
                    'x - "GET / HTTP/1.1" 200 1',
                ]
            ),
        ),
        max_size=30,
    )
)
def test_no_line_is_lost(lines):
    assert sum(record.count for record in group(lines)) == len(lines)
