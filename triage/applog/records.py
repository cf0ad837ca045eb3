r"""Lines that belong together: a message, its stack trace, its continuation lines.

Rules
- Streams are kept apart: a traceback on stderr is not broken by access lines on stdout. Where the
  stream is not known (the Kubernetes API), an access line or a JSON object in the middle of a trace
  stands for itself and does not end it.
- An indented line goes on with what came before it, and so do the lines that traces consist of:
  Python's ("Traceback", "During handling of ..."), Java's ("at ...", "Caused by:"), Go's
  ("goroutine 1 [running]:", functions, tabs), Ruby's, Node's, .NET's, Rust's notes.
- Lines that go on come at once: one that is more than `GAP` seconds later begins something new.
- A record keeps its first and last lines, bounded; it holds no more than that in memory.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

HEAD = 12
TAIL = 8
"""Lines of a record that are kept, from its beginning and its end."""
WIDTH = 600
"""Characters of each kept line behind the first."""
GAP = 2.0
"""Seconds."""
AT_ONCE = 0.1
"""Seconds within which a traceback follows the message that it belongs to: both are one write."""

_PYTHON = re.compile(
    r"(?:\s*[+|] )*\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\)"
)
_EXCEPTION = re.compile(
    r"(?:[A-Za-z_$][\w$]*[.:/\\])*[A-Za-z_$][\w$]*"
    r"(?:Error|Exception|Failure|Fault|Warning|Interrupt|Exit|Timeout|Iteration|Group|Throwable)\b"
    r"(?: \(|:|\Z| \[)"
)
_DOTTED = re.compile(r"(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*(?::|\Z)|[A-Z]\w*: ")
_JAVA_EXCEPTION = re.compile(
    r"(?:[a-z_$][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error|Throwable|Failure)\b(?::|\Z)"
)
_CHAINED = (
    "During handling of the above exception",
    "The above exception was the direct cause",
    "Caused by:",
    "Suppressed:",
    "Wrapped by:",
    "--- End of",
    "note: run with `RUST_BACKTRACE",
    "stack backtrace:",
)
_FRAMES = ("at ", 'File "', "from ", "...", "goroutine ", "Traceback", "|", "+")
_GO = re.compile(r"(?:panic: |fatal error: |goroutine \d+ \[|http: panic serving |\[signal SIG)")
_GO_GOES_ON = re.compile(
    r"(?:goroutine \d+ \[|\[signal |created by |exit status \d|panic: |\s*\[recovered\]"
    r"|runtime(?:\.|/)|[\w./*()\[\]{}·$%-]+\(.{0,300}\)\Z)"
)
_INDENTED = re.compile(r"[ \t]+\S|\s*\|\s")


@dataclass(slots=True)
class Record:
    """One message of the application, of one line or of several."""

    time: float | None
    stream: str
    text: str
    """Its first line, whole."""
    trace: str = ""
    """"python", "java" (and all that print frames indented), "go" or ""."""
    count: int = 1
    """Lines."""
    last_time: float | None = None
    calm: bool = False
    """Its level says that nothing is wrong: no trace belongs to it."""
    final: str = ""
    """The line that names the exception, where it is not the first."""
    _head: list[str] = field(default_factory=list)
    _tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))

    def add(self, text: str, time: float | None) -> None:
        """Append a line."""
        self.count += 1
        self.last_time = time if time is not None else self.last_time
        kept = text[:WIDTH]
        if len(self._head) < HEAD:
            self._head.append(kept)
        else:
            self._tail.append(kept)

    def said(self) -> str:
        """The second line, where it goes on with the message, as .NET's do, and is no frame."""
        second = self._head[0].strip() if self._head else ""
        if not second or second.startswith(_FRAMES):
            return ""
        return second

    def shown(self) -> str:
        """All of it that is kept, with a note where lines are left out."""
        lines = [self.text, *self._head]
        left_out = self.count - 1 - len(self._head) - len(self._tail)
        if left_out > 0:
            lines.append(f"... {left_out} lines left out ...")
        return "\n".join([*lines, *self._tail])


class Grouper:
    """Puts the lines of one log together; feed it each line in order, then `flush`.

    Holds one open record for each stream.
    """

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[str, Record] = {}

    def feed(
        self, time: float | None, stream: str, text: str, *, alone: bool, calm: bool = False
    ) -> list[Record]:
        """The records that this line completes, in order.

        `alone`: it is an access line or a JSON object, to which nothing belongs, and which ends
        nothing. `calm`: its level is below warning.
        """
        if alone:
            record = Record(time, stream, text)
            held = self._open.get(stream)
            if held is not None and not held.trace:
                return [self._open.pop(stream), record]
            return [record]
        held = self._open.get(stream)
        if held is not None and _near(held, time) and _goes_on(held, text, time):
            held.add(text, time)
            return []
        done = [self._open.pop(stream)] if held is not None else []
        self._open[stream] = Record(
            time, stream, text, trace=_trace_of(text), last_time=time, calm=calm
        )
        return done

    def flush(self) -> list[Record]:
        """What is open; nothing is held any more."""
        left = list(self._open.values())
        self._open.clear()
        return left


def _near(record: Record, time: float | None, gap: float = GAP) -> bool:
    if record.last_time is None or time is None:
        return True
    return abs(time - record.last_time) <= gap


def _trace_of(text: str) -> str:
    """Which kind of trace a line begins."""
    if _PYTHON.match(text):
        return "python"
    if _GO.match(text) or "http: panic serving " in text:
        return "go"
    return ""


def _goes_on(record: Record, text: str, time: float | None) -> bool:
    """Whether a line belongs to the record; notes in it what the line tells of the trace."""
    if not text.strip():
        return bool(record.trace)
    if _PYTHON.match(text):
        return _trace_begins(record, time)
    if text.startswith(_CHAINED):
        record.trace = record.trace or "java"
        if text.startswith("Caused by:"):
            record.final = text
        return True
    if record.trace == "go" and _GO_GOES_ON.match(text):
        return True
    if _INDENTED.match(text):
        return _indented(record, text)
    return _names_exception(record, text)


def _trace_begins(record: Record, time: float | None) -> bool:
    """Whether Python's traceback is of the message above it, or of a chain of exceptions."""
    if not record.trace and (record.calm or not _near(record, time, AT_ONCE)):
        return False
    record.trace, record.final = "python", ""
    return True


def _indented(record: Record, text: str) -> bool:
    if not record.trace and text.lstrip().startswith(("at ", "from ", "... ")):
        record.trace = "java"
    if record.trace == "python" and _EXCEPTION.match(text.lstrip(" |+")):
        record.final = text.strip(" |+")  # of an exception group
    return True


def _names_exception(record: Record, text: str) -> bool:
    """Python's last line, or the exception that Java's loggers print below the message."""
    if record.final:
        return False
    if record.trace == "python":
        named = bool(_EXCEPTION.match(text) or _DOTTED.match(text))
    else:
        named = not record.trace and record.count == 1 and bool(_JAVA_EXCEPTION.match(text))
    if named:
        record.final = text
    return named
