"""Times, spans and strangers' text as the views show them."""

from __future__ import annotations

import datetime as dt
import math

from triage.evidence import Confidence, Look, Outcome, Step, StepResult
from triage.recording import Recording

LAYERS = {
    Step.METRIC: "monitor",
    Step.PROXY: "proxy",
    Step.APP: "application",
    Step.POD: "pod",
    Step.NODE: "node",
    Step.VM: "VM",
    Step.SYSLOG: "syslog",
}
"""Steps by what they look at."""

SURE = {
    Confidence.CERTAIN: "certain",
    Confidence.PROBABLE: "probable",
    Confidence.POSSIBLE: "possible",
}

WENT = {
    Outcome.RAN: "looked",
    Outcome.SKIPPED: "not looked",
    Outcome.FAILED: "could not look",
}


def escaped(text: str) -> str:
    r"""Return a stranger's text with what a terminal would act on made visible: "\x1b[31m".

    Also what turns the direction of writing around, or breaks the line.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def shortened(text: str, length: int) -> str:
    """Return text of at most `length` characters; "..." tells that it was longer."""
    return text if len(text) <= length else text[: max(0, length - 3)] + "..."


def moment(time: float | None) -> dt.datetime | None:
    """Return a time as UTC; None when it is not known, or nobody's time."""
    if time is None:
        return None
    try:
        return dt.datetime.fromtimestamp(time, dt.UTC)
    except (OverflowError, OSError, ValueError):
        return None


def date_time(time: float | None) -> str:
    """Return "2026-03-04 10:14:45Z", to the second; "?" when it is not known."""
    at = moment(time)
    return at.strftime("%Y-%m-%d %H:%M:%SZ") if at else "?"


def time_of_day(time: float | None) -> str:
    """Return "10:14:45.303Z", to the millisecond; "?" when it is not known."""
    at = moment(time)
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}Z" if at else "?"


def span(seconds: float | None) -> str:
    """Return a duration: "0.02 s", "3.8 s", "41.2 s", "3 min 20 s", "2 h 5 min", "4 d 3 h"."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    for limit, digits in ((0.0995, 3), (0.995, 2), (99.95, 1)):
        if left < limit:
            return f"{sign}{f'{left:.{digits}f}'.rstrip('0').rstrip('.')} s"
    whole = round(left)
    if whole < 120:
        return f"{sign}{whole} s"
    _, size, name, rest_size, rest_name = next(unit for unit in _UNITS if whole < unit[0])
    rest = whole % size // rest_size
    return f"{sign}{whole // size} {name}" + (f" {rest} {rest_name}" if rest else "")


_UNITS: tuple[tuple[float, int, str, int, str], ...] = (
    (7200, 60, "min", 1, "s"),
    (172800, 3600, "h", 60, "min"),
    (math.inf, 86400, "d", 3600, "h"),
)
"""Below how many seconds, a unit, and what its rest is counted in."""


def relative(time: float | None, zero: float) -> str:
    """Return a time as seen from the anomaly: "T", "T-1.4 s", "T+41.2 s", "T+3 min 20 s"; "?"."""
    if time is None or moment(time) is None:
        return "?"
    away = time - zero
    if abs(away) < 0.0005:
        return "T"
    return f"T{'-' if away < 0 else '+'}{span(abs(away))}"


def status_word(value: float | None) -> str:
    """Return a sample's value: "200", "no response", "missing"."""
    if value is None or value != value:
        return "missing"
    if value == 0:
        return "no response"
    return f"{value:.15g}"


def saw(result: StepResult) -> str:
    """Return what a step saw; one that did not look begins by saying so."""
    if result.outcome is Outcome.RAN or result.summary.startswith(f"{WENT[result.outcome]}:"):
        return result.summary
    return f"{WENT[result.outcome]}: {result.summary}"


def unseen(result: StepResult, look: Look) -> tuple[str, ...]:
    """Return what a step that looked could not see, less what its summary says anyway."""
    if result.outcome is not Outcome.RAN:
        return ()
    return tuple(problem for problem in look.problems if problem not in result.summary)


def duration(recording: Recording) -> str:
    """Return how long an incident lasted, "75 s", or that it does: "22 s so far"."""
    record = recording.record
    if record.closed is not None:
        return span(record.closed - record.opened)
    newest = max((look.evidence.decided_at for look in recording.looks), default=record.opened)
    return f"{span(max(0.0, newest - record.opened))} so far"
