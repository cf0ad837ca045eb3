"""Logging: structlog events as key=value lines on standard error, as journald likes them.

A line is `level=info event=agentx_connected socket=unix:/var/agentx/master`. Under systemd (it
sets JOURNAL_STREAM for standard error) the line begins with the priority prefix of sd-daemon(3)
and has no time, for the journal keeps both; elsewhere it begins with `ts=`.

Rules
- One event, one line: control characters of a value (a VM's name is a stranger's text) are
  escaped.
- No secrets: values of keys that are named like one and passwords in URIs are masked. This is the
  second line of defence; the first is not to log them.
- A standard error that is closed or full on disk never stops the agent.
- What libraries send to the standard `logging` module comes out in the same form.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

from vmmib.hypervisor.settings import masked

# structlog loads rich for its coloured console output when it is there. Nobody uses that here, and
# it is 4 MB of the agent's memory for as long as it runs.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    del sys.modules["rich"]
    if _rich is not None:
        sys.modules["rich"] = _rich

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The names that the configuration knows, with the numbers of the `logging` module."""

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""sd-daemon(3)."""

_SECRET_KEY = re.compile(r"pass(word|wd|phrase)?$|secret|community|token|credential")
_QUOTED = frozenset(' "=\\')


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send events of `level` and above to `stream` (None: standard error); may be called again."""
    out = _Output(sys.stderr if stream is None else stream)
    journal = stream is None and _is_journal()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _add_exception, _Renderer(journal)],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: out,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Forward)]:
        root.removeHandler(handler)
    root.addHandler(_Forward())
    root.setLevel(LEVELS[level])


def _is_journal() -> bool:
    """Tell whether standard error is the journal's stream (systemd.exec(5), $JOURNAL_STREAM)."""
    stated = os.environ.get("JOURNAL_STREAM")
    if not stated:
        return False
    with contextlib.suppress(OSError, ValueError):
        status = os.fstat(sys.stderr.fileno())
        return stated == f"{status.st_dev}:{status.st_ino}"
    return False


class _Output:
    """The innermost logger: writes whole lines, whatever the level's method is called."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        # Closed, full or gone: there is nowhere left to say it
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


class _Renderer:
    """The last processor: an event's fields become one line."""

    def __init__(self, journal: bool) -> None:
        self._journal = journal

    def __call__(self, _: Any, method: str, event: MutableMapping[str, Any]) -> str:
        level = {"warn": "warning", "exception": "error", "fatal": "critical"}.get(method, method)
        name = event.pop("event", "")
        line = render({"level": level, "event": name} | dict(event))
        if self._journal:
            return f"<{_PRIORITY.get(level, 5)}>{line}"
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        return f"ts={now.replace('+00:00', 'Z')} {line}"


def render(fields: Mapping[str, Any]) -> str:
    """Return fields as `key=value` with single spaces between; values quoted where they must be."""
    return " ".join(f"{key}={_value(key, value)}" for key, value in fields.items())


def _value(key: str, value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if _SECRET_KEY.search(key.lower()):
        return "***"
    text = masked(str(value))
    if text.isprintable() and not _QUOTED.intersection(text):
        return text
    safe = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{safe}"'


def _add_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn exc_info into one field: what failed, and where in our code it did."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = f"{type(error).__name__}: {error}"
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        if where is not None:
            code = where.tb_frame.f_code
            event["at"] = f"{os.path.basename(code.co_filename)}:{where.tb_lineno}"  # noqa: PTH119
    return event


class _Forward(logging.Handler):
    """Hands records of the standard `logging` module to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit their format
            message = str(record.msg)
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        levels = ("error", "warning", "info", "debug")
        method = next((one for one in levels if record.levelno >= LEVELS[one]), "debug")
        getattr(structlog.get_logger(), method)(message, **fields)
