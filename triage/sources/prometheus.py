"""Prometheus: raw samples of the status metric, and what the monitor itself saw.

Theory of operation
    `poll` asks one instant query a time, a range selector over the last minutes: it gives the raw
    samples of all series with their scrape times, so that an outage is seen as soon as its sample
    is stored, and a poll that was missed costs nothing. The range covers the time since the last
    good answer, so that an outage during which Prometheus could not be asked is not lost.

    A range selector shows neither stale markers nor failed scrapes. So when a series is late, or
    has a gap, one more query reads it together with `up` (one query, one moment): `up` has a sample
    for each scrape. See `triage.triggers`. Whether a target was removed, /api/v1/targets knows,
    where it may be read; it also gives scrape interval and timeout. Without it, the interval is
    measured from the samples, and a series that nobody scrapes is given up after a time.

    An answer's Date header tells the server's clock to a second, and some tens of them much better
    (`triage.windows.narrowed`).

Rules
- Every fault is a SourceError with one line that names the server and the remedy; `look` never
  raises one: it says FAILED.
- Bounded: time, octets, series, requests at once. A server that asks to be left alone (429, 503
  with Retry-After) is left alone for that time, and `BusyError` is raised without asking it.
- Thanos, Mimir and VictoriaMetrics answer the same API: /targets and /status may be missing there,
  and warnings (partial answers) become problems.
- No secret in a message: the URL is shown without its credentials; files that hold secrets are read
  again for each request, as they are rotated.
- Sources: prometheus.io/docs/prometheus/latest/querying/api/; blackbox_exporter's README (it stops
  0.5 s before the scrape timeout: --timeout-offset).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

import structlog

from triage.evidence import (
    Anomaly,
    Look,
    MetricEvidence,
    Outcome,
    Sample,
    Target,
    Trigger,
    Window,
)
from triage.masking import MASK, mask
from triage.promql import Expression, Timing, one_of, parse_expression, range_query, select
from triage.sources.errors import DeniedError, MissingError, SourceError
from triage.sources.prometheus_api import (
    ActiveTarget,
    PrometheusApi,
    PrometheusSettings,
    QueryError,
    Row,
    host,
    line,
    seconds,
    split,
)
from triage.triggers import (
    Matcher,
    Presence,
    Series,
    TargetRule,
    TriggerSettings,
    asked_anomaly,
    filled,
    interval_of,
    outage_at,
)
from triage.windows import ClockBounds, bad, first_bad

_log = structlog.get_logger()

BLACKBOX_OFFSET = 0.5
"""Seconds before the scrape timeout at which the blackbox exporter gives up (its default)."""
SLACK = 1.0
"""Seconds that a stored sample may take to be seen, over interval and timeout."""

NEW = 60.0
"""Seconds for which a new series' target is looked for that often."""
REMOVED_AFTER = 30.0
"""Seconds for which /api/v1/targets has to lack a target before it counts as removed."""

REFRESH = 5.0
"""Seconds between two looks at /api/v1/targets while something about them is not clear."""

DURATION = "probe_duration_seconds"
PHASES = "probe_http_duration_seconds"
SUCCESS = "probe_success"
UP = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeTarget:
    """One active target of Prometheus."""

    labels: Mapping[str, str]
    interval: float | None = None
    timeout: float | None = None
    """Scrape timeout."""
    exporter: str = ""
    """host:port that is scraped."""
    probed: str = ""
    """The parameter `target` of the scrape: what the exporter is to probe."""
    healthy: bool | None = None
    error: str = ""
    """Of the last scrape, one line."""

    @property
    def probe_timeout(self) -> float | None:
        """What the blackbox exporter leaves a probe at most; its module may leave it less."""
        if self.timeout is None:
            return None
        probed = self.timeout - BLACKBOX_OFFSET if self.probed else self.timeout
        return probed if probed > 0 else self.timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What one poll gave."""

    at: float
    """When it was asked, by our clock."""
    series: tuple[Series, ...]
    """All that are known, those without new samples too."""
    timing: Timing = Timing.SCRAPE
    step: float = 0.0
    """Of the grid, for `WindowSettings.step`; 0 when the times are scrape times."""
    clock: ClockBounds | None = None
    """Of the server, against ours."""
    problems: tuple[str, ...] = ()


_Key = frozenset[tuple[str, str]]


@dataclass(slots=True)
class _Known:
    """A series that was seen before."""

    labels: dict[str, str]
    last: float
    interval: float | None = None
    listed: bool = False
    """/api/v1/targets had its target at some time."""
    unlisted_since: float | None = None
    """And has it no more since this time (the server's)."""


class PrometheusSource:
    """Asks one Prometheus. Use as an async context manager, or call `aclose`.

    `limit` bounds the requests at once (`requests_at_once` by default); `clock` gives seconds since
    1970. ValueError when the settings make no sense.
    """

    def __init__(
        self,
        settings: PrometheusSettings,
        *,
        clock: Callable[[], float] = time.time,
        limit: asyncio.Semaphore | None = None,
    ) -> None:
        self.settings = settings
        self.expression: Expression = parse_expression(settings.query)
        self._api = PrometheusApi(settings, clock=clock, limit=limit)
        self._clock = clock
        self._known: dict[_Key, _Known] = {}
        self._targets: dict[tuple[str, str], ScrapeTarget] = {}
        """By job and instance."""
        self._targets_at: float | None = None
        self._targets_problem = ""
        self._targets_next = 0.0
        self._new_at = -math.inf
        """When a series was seen for the first time, last."""
        self._answered_at: float | None = None

    @property
    def shown(self) -> str:
        """How an operator names it: the URL without credentials."""
        return self._api.shown

    @property
    def clock_bounds(self) -> ClockBounds | None:
        """What is known of the server's clock against ours; None before its first answer."""
        return self._api.clock_bounds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the source may be used again afterwards."""
        await self._api.aclose()

    # What the service asks

    async def poll(self) -> Poll:
        """Read the newest samples of all series. Raises SourceError: then nothing is known."""
        now = self._clock()
        span = self._span(now)
        discovered = self._discovery(now)
        try:
            rows, warnings = await self._api.matrix(
                range_query(self.expression, span, self.settings.step)
            )
        except BaseException:
            if discovered is not None:
                discovered.cancel()
                await asyncio.gather(discovered, return_exceptions=True)
            raise
        if discovered is not None:
            await discovered
        self._answered_at = now
        problems = [f"{self._api.shown}: {warning}" for warning in warnings]
        rows = self._bounded(rows, problems)
        samples = {_key(row.metric): _samples(row) for row in rows}
        self._remember(rows, samples, now)
        series = await self._series(samples, span, problems)
        if self.expression.filters:
            problems.append(
                f"query {self.expression.text!r} compares values: samples that it leaves out are "
                f"not known to be good; leave the comparison out"
            )
        return Poll(
            at=now,
            series=series,
            timing=self.expression.timing,
            step=0.0 if self.expression.plain else self.settings.step,
            clock=self._api.clock_bounds,
            problems=tuple(problems),
        )

    async def around(
        self,
        at: float,
        before: float,
        after: float,
        matchers: Sequence[Matcher] = (),
    ) -> tuple[Series, ...]:
        """Read the samples in [at - before, at + after], of the series that fit all matchers.

        Raises MissingError when there is nothing (in the future, before the retention, no such
        series), with what is known of why; SourceError otherwise.
        """
        now = self._api.now()
        if at > now + max(1.0, self._api.clock_bounds.worst if self._api.clock_bounds else 1.0):
            raise MissingError(
                f"{_when(at)} is in the future: it is {_when(now)} by {self._api.shown}'s clock"
            )
        end = min(at + after, now)
        span = max(1.0, end - (at - before))
        if self.expression.plain and self.expression.name:
            names = [self.expression.name, UP]
            wanted = (*self.expression.matchers, *matchers)
            rows, _ = await self._api.matrix(select(names, wanted, span), at=end)
        else:
            query = range_query(self.expression, span, self.settings.step)
            rows, _ = await self._api.matrix(query, at=end)
            rows = [row for row in rows if all(m.matches(row.metric) for m in matchers)]
        scrapes: dict[_Key, tuple[Sample, ...]] = {}
        if self.expression.name != UP:
            ups = [row for row in rows if row.metric.get("__name__") == UP]
            scrapes = {_key(row.metric): _samples(row) for row in ups}
            rows = [row for row in rows if row.metric.get("__name__") != UP] or _down(ups)
        if not rows:
            raise MissingError(await self._why_none(at, matchers))
        await self._discover_if_due()
        found = []
        for row in rows:
            own = _scrapes_of(row.metric, scrapes)
            samples = filled(_samples(row), own)
            found.append(self._described(_labels(row.metric), samples, Presence.PRESENT, own))
        return tuple(found)

    async def outage(
        self,
        rule: TargetRule,
        at: float,
        trigger: Trigger,
        settings: TriggerSettings,
        reach: float = 900.0,
    ) -> Anomaly:
        """The outage that a question about the time `at` means.

        Samples within `reach` seconds are read. When all were good (an outage between two scrapes)
        the anomaly has its time and the samples, no bad one among them. Raises as `around`.
        """
        matchers = rule.matchers or _by_instance(rule.target)
        series = await self.around(at, reach, reach, matchers)
        slack = 300.0 if trigger is Trigger.ALERTMANAGER else None
        found = outage_at(rule.target, series, at, trigger, settings, slack)
        if found is not None:
            return found
        near = [s for s in series[0].samples if abs(s.time - at) <= 120.0][-64:]
        good = [s.time for s in near if s.time <= at and not bad(s, rule.target.good)]
        asked = asked_anomaly(rule.target, at, trigger, series[0].labels)
        return replace(asked, samples=tuple(near), last_good=max(good, default=None))

    async def look(
        self, target: Target, anomaly: Anomaly, matchers: Sequence[Matcher] = ()
    ) -> MetricEvidence:
        """What the monitor saw at the anomaly. Never raises for a fault of the outside world.

        `matchers` are the target's, for an anomaly whose labels are not its series' (an alert's, a
        proxy line's).
        """
        at = first_bad(anomaly, target)
        half = target.scrape_interval + target.probe_timeout + SLACK
        window = Window(
            start=at - target.scrape_interval,
            end=at + half,
            reason="the scrape of the first bad sample, and one scrape interval around it",
        )
        look = Look(
            outcome=Outcome.RAN, source=self._api.shown, window=window, asked_at=self._clock()
        )
        try:
            return await self._looked(target, anomaly, matchers, look)
        except SourceError as error:
            return MetricEvidence(
                look=replace(look, outcome=Outcome.FAILED, problems=(str(error),)),
                clock_error=self._clock_error(),
            )

    async def discover(self) -> tuple[ScrapeTarget, ...]:
        """Read the active targets. Raises SourceError; MissingError where there is no such API."""
        active = await self._api.targets()
        intervals: dict[str, tuple[float, float]] = {}
        if any(not target.scrapeInterval for target in active):
            try:
                intervals = await self._api.job_intervals()
            except SourceError as error:
                _log.debug("prometheus_config_unknown", server=self._api.shown, reason=str(error))
        found = tuple(_scrape_target(target, intervals) for target in active)
        self._targets = {(t.labels.get("job", ""), t.labels.get("instance", "")): t for t in found}
        self._targets_at = self._api.now()
        for known in self._known.values():
            if self._target_of(known.labels) is not None:
                known.listed, known.unlisted_since = True, None
            elif known.listed and known.unlisted_since is None:
                known.unlisted_since = self._targets_at
        return found

    async def check(self) -> str:
        """One line that says that it answers and what it has. Raises SourceError."""
        rows, warnings = await self._api.matrix(
            range_query(self.expression, self.settings.lookback, self.settings.step)
        )
        clock = self._api.clock_bounds
        ahead = f", its clock {clock.offset:+.1f} s against ours" if clock else ""
        partial = f"; {warnings[0]}" if warnings else ""
        return f"{self._api.shown}: {len(rows)} series of {self.expression.text}{ahead}{partial}"

    # Polling

    def _span(self, now: float) -> float:
        settings = self.settings
        intervals = [known.interval for known in self._known.values() if known.interval]
        least = max(settings.lookback, 3 * max(intervals, default=0.0))
        if self._answered_at is None:
            return max(least, settings.first_lookback)
        silent = max(0.0, now - self._answered_at)
        return max(least, min(settings.longest_lookback, least + silent))

    def _discovery(self, now: float) -> asyncio.Task[None] | None:
        if self._targets_next - now > self.settings.discover_every * 10:
            self._targets_next = now  # the clock was set back
        if now < self._targets_next and not self._unlisted(now):
            return None
        return asyncio.create_task(self._discover_quietly(), name="prometheus targets")

    def _unlisted(self, now: float) -> bool:
        """A new series has no target yet: a Prometheus that starts lists its targets late."""
        if not self._new_at <= now <= self._new_at + NEW or self._recent() or self._targets_problem:
            return False
        return not all(known.listed for known in self._known.values())

    def _recent(self) -> bool:
        """Whether /api/v1/targets was looked at just now."""
        often = min(REFRESH, self.settings.discover_every)
        return self._targets_at is not None and 0 <= self._api.now() - self._targets_at < often

    async def _discover_if_due(self) -> None:
        task = self._discovery(self._clock())
        if task is not None:
            await task

    async def _discover_quietly(self) -> None:
        every = self.settings.discover_every
        try:
            await self.discover()
        except SourceError as error:
            if str(error) != self._targets_problem:
                _log.info("prometheus_targets_unknown", server=self._api.shown, reason=str(error))
            self._targets_problem = str(error)
            every *= 10 if isinstance(error, MissingError | DeniedError) else 2
        else:
            self._targets_problem = ""
        self._targets_next = self._clock() + every

    def _bounded(self, rows: list[Row], problems: list[str]) -> list[Row]:
        most = self.settings.max_series
        if len(rows) <= most:
            return rows
        problems.append(
            f"{self._api.shown}: {len(rows)} series fit {self.expression.text}, {most} are read; "
            f"narrow the query or raise max_series"
        )
        return sorted(rows, key=lambda row: sorted(row.metric.items()))[:most]

    def _remember(
        self, rows: list[Row], samples: Mapping[_Key, tuple[Sample, ...]], now: float
    ) -> None:
        for row in rows:
            key = _key(row.metric)
            mine = samples[key]
            if not mine:
                continue
            known = self._known.get(key)
            if known is None:
                if len(self._known) >= self.settings.max_series:
                    continue
                known = self._known[key] = _Known(_labels(row.metric), mine[-1].time)
                self._new_at = now
            known.last = max(known.last, mine[-1].time)
            target = self._target_of(known.labels)
            if target is not None:
                known.listed = True
            configured = target.interval if target is not None else None
            known.interval = configured or interval_of(mine) or known.interval
        old = [key for key, known in self._known.items() if now - known.last > 86_400.0]
        for key in old:
            del self._known[key]

    async def _series(
        self, samples: dict[_Key, tuple[Sample, ...]], span: float, problems: list[str]
    ) -> tuple[Series, ...]:
        doubtful = [
            key
            for key, known in self._known.items()
            if self._late(known) or _gap(samples.get(key, ()), known.interval)
        ]
        scrapes: dict[_Key, tuple[Sample, ...]] = {}
        asked = False
        if doubtful and self.expression.timing is Timing.SCRAPE and self.expression.name:
            try:
                scrapes = await self._scrapes(doubtful, samples, span)
                asked = True
            except SourceError as error:
                problems.append(f"cannot tell missing samples from missing scrapes: {error}")
        if any(self._late(self._known[key]) for key in doubtful):
            await self._refresh_targets()
        result = []
        gone = []
        for key, known in self._known.items():
            one = self._one(known, samples.get(key, ()), scrapes, asked)
            result.append(one)
            if one.presence is Presence.REMOVED and key not in samples:
                gone.append(key)
        for key in gone:
            del self._known[key]
        return tuple(result)

    def _one(
        self,
        known: _Known,
        samples: tuple[Sample, ...],
        scrapes: Mapping[_Key, tuple[Sample, ...]],
        asked: bool,
    ) -> Series:
        own = _scrapes_of(known.labels, scrapes)
        if not self.expression.plain:
            samples, presence = self._on_grid(known, samples)
            return self._described(known.labels, samples, presence, ())
        start = samples[0].time if samples else known.last
        samples = filled(samples, [scrape for scrape in own if scrape.time >= start])
        if not self._late(known):
            presence = Presence.PRESENT
        elif samples and samples[-1].value is None and not self._late(known, samples[-1].time):
            presence = Presence.MISSING
        else:
            presence = self._absence(known, asked)
        return self._described(known.labels, samples, presence, own)

    def _on_grid(
        self, known: _Known, samples: tuple[Sample, ...]
    ) -> tuple[tuple[Sample, ...], Presence]:
        """An expression gives nothing for a step at which what it is made of is stale."""
        step = self.settings.step
        now = self._api.now()
        if now - known.last <= 2 * step + SLACK:
            return samples, Presence.PRESENT
        if self.expression.filters:
            return samples, Presence.NO_DATA
        if now - known.last > self.settings.forget:
            return samples, Presence.REMOVED
        steps = min(64, int((now - known.last) / step))
        missing = (Sample(time=known.last + step * n, value=None) for n in range(1, steps + 1))
        return (*samples, *missing), Presence.MISSING

    def _absence(self, known: _Known, asked: bool) -> Presence:
        """Why a series has no new samples, when its target is not scraped either."""
        if known.listed and not self._targets_problem:
            since = known.unlisted_since
            # A Prometheus that starts lists its targets after some seconds.
            gone = since is not None and self._api.now() - since >= REMOVED_AFTER
            return Presence.REMOVED if gone else Presence.NO_DATA
        late = self._api.now() - known.last
        others = any(not self._late(other) for other in self._known.values())
        if asked and others and late > self.settings.forget:
            return Presence.REMOVED
        return Presence.NO_DATA

    async def _refresh_targets(self) -> None:
        """Look at /targets now when a series is late, but not with every poll."""
        if not self._recent() and not self._targets_problem:
            await self._discover_quietly()

    async def _scrapes(
        self,
        doubtful: list[_Key],
        samples: dict[_Key, tuple[Sample, ...]],
        span: float,
    ) -> dict[_Key, tuple[Sample, ...]]:
        """Read doubtful series together with `up`; replaces their samples by the newer answer."""
        labels = [self._known[key].labels for key in doubtful]
        matchers = []
        for label, most in (("job", 100), ("instance", 100)):
            values = {each.get(label, "") for each in labels}
            if "" not in values and len(values) <= most:
                matchers.append(one_of(label, values))
        if not matchers:
            matchers = list(self.expression.matchers)
        rows, _ = await self._api.matrix(select([self.expression.name, UP], matchers, span))
        wanted = set(doubtful)
        scrapes: dict[_Key, tuple[Sample, ...]] = {}
        for row in rows:
            key = _key(row.metric)
            if row.metric.get("__name__") == UP:
                scrapes[key] = _samples(row)
            elif key in wanted:
                samples[key] = _samples(row)
                if samples[key]:
                    known = self._known[key]
                    known.last = max(known.last, samples[key][-1].time)
        return scrapes

    def _late(self, known: _Known, last: float | None = None) -> bool:
        interval = known.interval or 60.0
        target = self._target_of(known.labels)
        timeout = target.timeout if target is not None and target.timeout else interval
        newest = known.last if last is None else last
        return self._api.now() - newest > interval + min(timeout, interval) + SLACK

    def _described(
        self,
        labels: dict[str, str],
        samples: tuple[Sample, ...],
        presence: Presence,
        scrapes: Sequence[Sample],
    ) -> Series:
        target = self._target_of(labels)
        interval = target.interval if target is not None else None
        known = [sample for sample in samples if sample.value is not None]
        return Series(
            labels=labels,
            samples=samples,
            presence=presence,
            interval=interval or interval_of(known),
            timeout=target.probe_timeout if target is not None else None,
            url=target.probed if target is not None else "",
            exporter=target.exporter if target is not None else "",
            up=bool(scrapes[-1].value) if scrapes else None,
        )

    # Looking

    async def _looked(
        self, target: Target, anomaly: Anomaly, matchers: Sequence[Matcher], look: Look
    ) -> MetricEvidence:
        at = first_bad(anomaly, target)
        assert look.window is not None  # noqa: S101 - given by `look`
        end = min(look.window.end, self._api.now())
        span = max(1.0, end - look.window.start)
        problems: list[str] = []
        chosen = self._own_matchers(target, anomaly, matchers)
        name = self.expression.name or "probe_http_status_code"
        rows, warnings = await self._api.matrix(
            select([name, DURATION, PHASES, UP], chosen, span), at=end
        )
        problems += [f"{self._api.shown}: {warning}" for warning in warnings]
        await self._discover_if_due()
        own = _Own.of(rows, at, target, name, self.expression.plain)
        if not rows:
            problems.append(
                f"{self._api.shown} has none of {name}, {DURATION}, {UP} with "
                f"{', '.join(map(str, chosen))} at {_when(at)}"
            )
        exporter = self._exporter(own.labels)
        failing: tuple[str, ...] = ()
        good = 0
        try:
            failing, good = await self._others(own, exporter, target, at, name, problems)
        except SourceError as error:
            problems.append(f"other targets of the exporter not seen: {error}")
        return MetricEvidence(
            look=replace(look, problems=tuple(problems)),
            probe_seconds=own.probe_seconds,
            phases=own.phases,
            up=own.up,
            exporter_target=exporter,
            others_failing=failing,
            others_good=good,
            clock_error=self._clock_error(),
        )

    def _own_matchers(
        self, target: Target, anomaly: Anomaly, matchers: Sequence[Matcher]
    ) -> tuple[Matcher, ...]:
        labels = anomaly.labels
        masked = any(MASK in value for value in labels.values())
        if anomaly.trigger is not Trigger.ALERTMANAGER and labels.get("instance") and not masked:
            names = [name for name in ("job", "instance") if labels.get(name)]
            return tuple(Matcher(name, labels[name]) for name in names)
        return tuple(matchers) or tuple(_by_instance(target))

    async def _others(
        self,
        own: _Own,
        exporter: str,
        target: Target,
        at: float,
        name: str,
        problems: list[str],
    ) -> tuple[tuple[str, ...], int]:
        """The exporter's other targets at that time: those that failed, and how many were good."""
        job = own.labels.get("job")
        if not job:
            problems.append("other targets of the exporter not seen: the series has no label job")
            return (), 0
        end = min(at + target.scrape_interval + target.probe_timeout + SLACK, self._api.now())
        span = max(1.0, end - (at - target.scrape_interval))
        query = select([name, SUCCESS], [Matcher("job", job)], span)
        rows, _ = await self._api.matrix(query, at=end)
        verdicts: dict[str, bool] = {}
        for row in sorted(rows, key=lambda row: row.metric.get("__name__") == SUCCESS):
            instance = row.metric.get("instance", "")
            sample = _nearest(_samples(row), at, target.scrape_interval)
            if instance in ("", own.labels.get("instance")) or sample is None:
                continue
            if exporter and self._exporter(_labels(row.metric)) not in ("", exporter):
                continue
            if row.metric.get("__name__") == SUCCESS:
                verdicts[instance] = sample.value == 1.0
            else:
                verdicts[instance] = not bad(sample, target.good)
        failing = sorted(instance for instance, good in verdicts.items() if not good)
        return tuple(mask(line(one)) for one in failing[:100]), sum(verdicts.values())

    def _exporter(self, labels: Mapping[str, str]) -> str:
        target = self._target_of(labels)
        return target.exporter if target is not None else ""

    def _clock_error(self) -> float | None:
        bounds = self._api.clock_bounds
        return bounds.worst if bounds is not None else None

    async def _why_none(self, at: float, matchers: Sequence[Matcher]) -> str:
        """Why there are no samples around a time, as far as it can be found out."""
        shown = ", ".join(map(str, matchers))
        what = self.expression.text + (f" with {shown}" if shown else "")
        none = f"{self._api.shown} has no samples of {what} around {_when(at)}"
        try:
            query = range_query(self.expression, self.settings.lookback, self.settings.step)
            rows, _ = await self._api.matrix(query)
            found = any(all(m.matches(row.metric) for m in matchers) for row in rows)
            if not found:
                return f"{none}, nor now: check the query and the target's matchers"
            kept = await self._api.retention()
        except SourceError:
            return none
        why = f"it keeps {kept}" if kept else "that is before its retention or its first scrape"
        return f"{none}, and has some now: {why}"

    def _target_of(self, labels: Mapping[str, str]) -> ScrapeTarget | None:
        """The active target that a series is of."""
        return self._targets.get((labels.get("job", ""), labels.get("instance", "")))


@dataclass(frozen=True, slots=True)
class _Own:
    """The target's own series at the time of the bad sample."""

    labels: dict[str, str]
    probe_seconds: float | None
    phases: dict[str, float]
    up: bool | None

    @classmethod
    def of(
        cls, rows: Iterable[Row], at: float, target: Target, status: str, scrape_time: bool
    ) -> Self:
        """Out of the rows of one target; `scrape_time`: `at` is one, else a grid's, thus later."""
        labels: dict[str, str] = {}
        values: dict[str, Sample] = {}
        phases: dict[str, float] = {}
        for row in rows:
            name = row.metric.get("__name__", "")
            if not labels or name == UP:
                labels = _labels(row.metric)
            samples = _samples(row)
            if scrape_time:
                sample = _nearest(samples, at, target.scrape_interval / 2)
            else:
                sample = next((s for s in reversed(samples) if s.time <= at), None)
            if sample is None or sample.value is None:
                continue
            if name == PHASES:
                phases[row.metric.get("phase", "")[:40]] = sample.value
            else:
                values[name] = sample
        labels.pop("phase", None)
        up = values.get(UP)
        duration = values.get(DURATION)
        if status in values and not bad(values[status], target.good):
            duration, phases = None, {}  # that probe did not fail: what failed, it did not see
        return cls(
            labels,
            duration.value if duration is not None else None,
            phases,
            bool(up.value) if up is not None else None,
        )


# Small things


def _scrape_target(
    target: ActiveTarget, intervals: Mapping[str, tuple[float, float]]
) -> ScrapeTarget:
    interval, timeout = intervals.get(target.labels.get("job", ""), (None, None))
    address = split(target.scrapeUrl)
    probed = parse_qs(address.query).get("target", [""])[0] if address else ""
    return ScrapeTarget(
        labels=target.labels,
        interval=seconds(target.scrapeInterval) or interval,
        timeout=seconds(target.scrapeTimeout) or timeout,
        exporter=host(address) if address else "",
        probed=mask(probed[:2048]),
        healthy={"up": True, "down": False}.get(target.health),
        error=line(target.lastError),
    )


def _by_instance(target: Target) -> tuple[Matcher, ...]:
    """Without matchers, a target's series has its URL or its name as instance."""
    return (one_of("instance", {value for value in (target.url, target.name) if value}),)


def _key(metric: Mapping[str, str]) -> _Key:
    return frozenset(item for item in metric.items() if item[0] != "__name__")


def _labels(metric: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in metric.items() if name != "__name__"}


def _samples(row: Row) -> tuple[Sample, ...]:
    return tuple(Sample(time=at, value=_value(value)) for at, value in row.values)


def _value(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _scrapes_of(
    labels: Mapping[str, str], scrapes: Mapping[_Key, tuple[Sample, ...]]
) -> tuple[Sample, ...]:
    """The `up` series of a series' target: the one whose labels the series has, most of them."""
    mine = _key(labels)
    exact = scrapes.get(mine)
    if exact is not None:
        return exact
    fitting = [key for key in scrapes if key and key <= mine]
    return scrapes[max(fitting, key=len)] if fitting else ()


def _down(ups: Iterable[Row]) -> list[Row]:
    """Rows without samples for the targets of which every scrape failed: nothing else is known."""
    return [
        Row(metric={name: value for name, value in row.metric.items() if name != "__name__"})
        for row in ups
        if row.values and all(_value(value) == 0.0 for _, value in row.values)
    ]


def _gap(samples: Sequence[Sample], interval: float | None) -> bool:
    """Whether a scrape seems to lack between two samples."""
    if interval is None:
        return False
    return any(after.time - before.time > 1.5 * interval for before, after in pairwise(samples))


def _nearest(samples: Sequence[Sample], at: float, reach: float) -> Sample | None:
    """The first sample at or after a time, else the last before it; both within `reach`."""
    after = [s for s in samples if at - 0.5 <= s.time <= at + reach]
    if after:
        return after[0]
    before = [s for s in samples if at - reach <= s.time < at]
    return before[-1] if before else None


def _when(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    except (ValueError, OverflowError):
        return f"{at:.0f}"


__all__ = [
    "Poll",
    "PrometheusSettings",
    "PrometheusSource",
    "QueryError",
    "ScrapeTarget",
]
