"""Times between a template's lines: their statistics, periods and bursts (report, section 3.2.2).

`survey` does all of it in one pass over the events; `intervals` and `bursts` are parts of it.
"""

from triage.syslog.intervals.model import Burst, IntervalSettings, IntervalStats, Period
from triage.syslog.intervals.survey import (
    INTERVALS,
    Survey,
    Track,
    bursts,
    intervals,
    survey,
    tracks,
)

__all__ = [
    "INTERVALS",
    "Burst",
    "IntervalSettings",
    "IntervalStats",
    "Period",
    "Survey",
    "Track",
    "bursts",
    "intervals",
    "survey",
    "tracks",
]
