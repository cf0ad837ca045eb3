"""Log lines: one event is one line, whatever is in it, and no secret is."""

from __future__ import annotations

import io
import logging
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from vmmib import logs

ROOT = Path(__file__).parents[1]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    logs.configure("info", stream)
    yield stream
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_an_event_is_a_line(lines: io.StringIO) -> None:
    log = structlog.get_logger().bind(hypervisor="esx1")
    log.info("vm_changed", vm="web 1", index=3, ok=True, nothing=None)
    stamp, _, rest = lines.getvalue().partition(" ")
    assert stamp.startswith("ts=2")
    assert stamp.endswith("Z")
    expected = 'level=info event=vm_changed hypervisor=esx1 vm="web 1" index=3 ok=true nothing=""\n'
    assert rest == expected


def test_levels_can_change(lines: io.StringIO) -> None:
    log = structlog.get_logger()
    log.debug("hidden")
    logs.configure("debug", lines)
    log.debug("seen")
    logs.configure("error", lines)
    log.warning("hidden")
    assert lines.getvalue().count("\n") == 1
    assert "level=debug event=seen" in lines.getvalue()


@given(st.text())
def test_any_value_stays_in_its_place(text: str) -> None:
    line = logs.render({"event": "x", "vm": text, "after": "end"})
    assert line.isprintable()
    assert line.startswith("event=x vm=")
    assert line.endswith(" after=end")
    assert len(shlex.split(line.replace("'", "_"))) == 3, "quotes are balanced"


def test_secrets_are_masked(lines: io.StringIO) -> None:
    structlog.get_logger().info(
        "connecting to esx://root:Tr0ub4dor@h/",
        uri="esx://root:Tr0ub4dor@h/?x=1",
        **dict.fromkeys(("password", "community", "auth_passphrase"), "Tr0ub4dor"),
    )
    assert "Tr0ub4dor" not in lines.getvalue()
    assert 'uri="esx://root:***@h/?x=1" password=***' in lines.getvalue()


def test_an_exception_is_part_of_the_line(lines: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines esx://root:Tr0ub4dor@h/")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines.getvalue().splitlines()
    assert r'exception="ValueError: two\nlines esx://root:***@h/" at=test_logs.py:' in line
    assert "level=error" in line


def test_the_logging_module_comes_out_alike(lines: io.StringIO) -> None:
    logging.getLogger("library").warning("%d %% of %s", 5, "it")
    misfit = logging.LogRecord("library", logging.WARNING, "", 1, "%d", ("no number",), None)
    logs._Forward().handle(misfit)
    first, second = lines.getvalue().splitlines()
    assert first.endswith('level=warning event="5 % of it" logger=library')
    assert second.endswith("event=%d logger=library")


def test_a_closed_stream_stops_nobody(lines: io.StringIO) -> None:
    lines.close()
    structlog.get_logger().error("unheard")


def test_under_systemd_lines_have_priorities_and_no_time() -> None:
    code = (
        "import os, structlog; from vmmib import logs; s = os.fstat(2);"
        "os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}';"
        "logs.configure('info'); structlog.get_logger().warning('x', n=1);"
        "os.environ['JOURNAL_STREAM'] = '1:1';"
        "logs.configure('info'); structlog.get_logger().warning('x', n=1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip
    journal, terminal = done.stderr.splitlines()
    assert journal == "<4>level=warning event=x n=1"
    assert terminal.startswith("ts=")
