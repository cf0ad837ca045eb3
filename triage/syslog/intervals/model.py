"""What the times between a template's lines say: how regular they are, and when they were not.

The report's section 3.2.2 gives mean, median and standard deviation of a template's intervals
(its figure 2) and reads two things from plots of them (its figures 3 and 4): that some templates
are periodic, and that some come in bursts. Both are computed here.

Rules
- Times are seconds since 1970, UTC; intervals, periods and durations are seconds.
- A line that stands for N occurrences ("last message repeated N times") counts N; their own times
  are not in the log, so that the time since the line before it is taken as N equal intervals.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A template's lines come again after this long, on the same host."""

    seconds: float
    strength: float
    """The share of lines that another one follows after one period, less the share that chance
    explains: 1 is a clock, 0 is none."""
    jitter: float
    """How far from a whole period the following line is, in seconds: the median."""
    phase: float | None = None
    """Seconds after a whole multiple of the period since 1970 (of weeks: since a Monday), where it
    is bound to the clock and not to when a daemon was started."""
    text: str = ""
    """"every 5 min", "daily at 06:25 UTC"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """A time in which a template had far more lines than is usual for it."""

    template: int
    """Template id."""
    start: float
    """Of its first line."""
    end: float
    """Of its last line."""
    lines: int
    usual: float
    """Lines in as long a time in the busiest part of a usual day."""
    factor: float
    """How many times the usual; what was never there before is compared with one line."""
    hosts: tuple[str, ...]
    """The most affected first, bounded."""
    hosts_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalStats:
    """The times between the lines of a template, on all hosts or on one."""

    template: int
    """Template id."""
    host: str = ""
    """Empty: all hosts together."""
    count: int
    """Occurrences, repetitions included."""
    first: float
    last: float
    mean: float | None = None
    """Seconds; None where there is no interval."""
    median: float | None = None
    deviation: float | None = None
    """Standard deviation of the population of intervals."""
    period: Period | None = None
    """Of all hosts' lines, each host by itself."""

    @property
    def skew(self) -> float | None:
        """Return how far the mean is from the median: their quotient; far above 1: bursts."""
        if self.mean is None or not self.median:
            return None
        return self.mean / self.median


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalSettings:
    """What counts as a period and as a burst."""

    shortest_period: float = 50.0
    """Seconds. Logs are stamped to the second and cron counts minutes: less is noise."""
    longest_period: float = 8 * 86400.0
    """Seconds. A week, with room for its jitter."""
    cycles: int = 4
    """A period has to have been seen this often."""
    strength: float = 0.5
    """A period's least strength: half of its lines are followed on time, beyond chance."""
    probes: int = 400
    """Lines of a template that are asked for a follower; more make no difference."""
    burst_factor: float = 5.0
    """Times the usual. A diurnal load changes by 2 to 3; an attack or a loop by 10 and more."""
    burst_lines: int = 20
    """Fewer lines are no burst, however unusual: a rare template is another kind of finding."""
    bursts: int = 10
    """At most, of a template: the strongest."""
    burst_hosts: int = 8
    """Named at most, of a burst."""
    batch_events: int = 1_000_000
    """Lines that a thread works on at a time, whole templates: about 80 bytes each."""
    threads: int = 2
    """That work on batches at a time."""
