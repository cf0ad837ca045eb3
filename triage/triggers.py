"""From what is seen to what happened: samples, proxy lines and alerts as events of incidents.

Theory of operation
    Every trigger ends in the same few events (`triage.incidents`): Bad (an outage, as an `Anomaly`
    with all that is known of it), Good, NoData, Gone. The functions here hold no state but what
    they are given; the same samples read twice give the same events, which `advance` takes once.

    Metric. A poll gives the raw samples of the last minutes of every series. A series is matched
    to a target; its samples are cut into outages: from a bad sample to the first good one that is
    followed by good ones for `recovery`. Several series of one target (several monitors) are bad
    when one of them is.

    Missing samples. Prometheus stores `up` with every scrape, at the same time as the scrape's
    samples. So a scrape without a status sample is an `up` sample without one: that is bad, as a
    Sample whose value is None. No `up` sample either: Prometheus did not scrape, and nothing is
    known; that is no data, not an outage.

    Proxy lines. The monitor's own failed request is an outage at once. Other clients' are counted:
    `proxy_errors` of them within `proxy_span`, and at least `proxy_share` of all requests in it.
    Only what the server side did counts: 5xx, or no response for a reason other than the client;
    a 404 is the client's matter, and so is a client that went away (DC).

Rules
- No I/O, no clock. Bounded: `ProxyWatch` holds a counter per second, whatever the traffic.
- Regular expressions of matchers are anchored, as Prometheus anchors them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from triage.evidence import Anomaly, Match, ProxyRequest, Sample, Target, Trigger
from triage.incidents import Bad, Event, Gone, Good, NoData
from triage.masking import mask
from triage.windows import bad


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerSettings:
    """What makes an outage; seconds unless the name says otherwise."""

    recovery: float = 60.0
    """Good for so long, and an outage is over; the same as in `IncidentSettings`."""
    adopt: bool = False
    """A series that no target matches becomes a target, named by `adopt_label`."""
    adopt_label: str = "instance"
    proxy_errors: int = 5
    """Failed requests of other clients within `proxy_span` that make an outage."""
    proxy_share: float = 0.2
    """And their share of all requests in that time, 0 to 1."""
    proxy_span: float = 10.0
    max_samples: int = 64
    """Samples given with an anomaly."""


# Targets


class MatchOp(StrEnum):
    """The operators of a label matcher, as Prometheus writes them."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label matcher; a label that is not there counts as "" (as in Prometheus)."""

    label: str
    value: str
    op: MatchOp = MatchOp.EQUAL

    def __post_init__(self) -> None:
        if self.op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
            try:
                _compiled(self.value)
            except re.error as error:
                raise ValueError(f"matcher {self}: not a regular expression: {error}") from None

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.op}"{escaped}"'

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant."""
        value = labels.get(self.label, "")
        match self.op:
            case MatchOp.EQUAL:
                return value == self.value
            case MatchOp.NOT_EQUAL:
                return value != self.value
            case MatchOp.REGEX:
                return _compiled(self.value).fullmatch(value) is not None
            case _:
                return _compiled(self.value).fullmatch(value) is None


_MATCHER = re.compile(
    r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"
    r'(?:"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|`([^`]*)`)\s*(?:,|$)',
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    r"""Parse `job="blackbox", instance=~"https://.*"`, with or without braces.

    Raises ValueError with one line that shows where it stops making sense.
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    matchers: list[Matcher] = []
    at = 0
    inner = inner.strip()
    while at < len(inner):
        found = _MATCHER.match(inner, at)
        if found is None:
            raise ValueError(
                f'matchers: not understood from {inner[at : at + 40]!r}: label="value"'
            )
        label, op, double, single, raw = found.groups()
        quoted = double if double is not None else single
        value = raw if quoted is None else _ESCAPE.sub(_unescaped, quoted)
        matchers.append(Matcher(label, value, MatchOp(op)))
        at = found.end()
    return tuple(matchers)


def _unescaped(found: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRule:
    """A configured target, and which series and alerts are about it: those that match all."""

    target: Target
    matchers: tuple[Matcher, ...] = ()
    """None given: instance equals the target's URL or its name."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are of this target."""
        if self.matchers:
            return all(matcher.matches(labels) for matcher in self.matchers)
        return labels.get("instance", "") in {self.target.url, self.target.name} - {""}


def target_of(
    labels: Mapping[str, str], rules: Iterable[TargetRule], settings: TriggerSettings
) -> Target | None:
    """The target that labels belong to: the first rule that matches; else adopted, else None."""
    for rule in rules:
        if rule.matches(labels):
            return rule.target
    name = mask("".join(filter(str.isprintable, labels.get(settings.adopt_label, "")))[:200])
    if settings.adopt and name:
        url = name if name.startswith(("http://", "https://")) else ""
        return Target(name=name, url=url)
    return None


# Series


class Presence(StrEnum):
    """Whether a series still has samples, and if not, why."""

    PRESENT = "present"
    MISSING = "missing"
    """Its target is scraped (there is `up`), and gives no status: bad."""
    NO_DATA = "no_data"
    """Its target is not scraped, and nobody says why: nothing is known."""
    REMOVED = "removed"
    """Its target is no longer in Prometheus' configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of the status metric."""

    labels: Mapping[str, str]
    samples: tuple[Sample, ...]
    """In order of time; missing ones filled in with None."""
    presence: Presence = Presence.PRESENT
    interval: float | None = None
    """Scrape interval: as configured, else measured from the samples."""
    timeout: float | None = None
    """Probe timeout: the scrape timeout less the exporter's offset; None: not known."""
    url: str = ""
    """What is probed, as the scrape's address says it; "" when not known."""
    exporter: str = ""
    """host:port of the exporter; "" when not known."""
    up: bool | None = None
    """Whether the exporter itself was scraped well, last; None: not asked, or not known."""


def filled(
    samples: Sequence[Sample], scrapes: Sequence[Sample], tolerance: float = 0.5
) -> tuple[Sample, ...]:
    """Samples with a None for each scrape (`up` sample) that stored none.

    Both belong to the same scrape when their times differ by less than `tolerance` (they are equal
    in Prometheus; copies by remote write keep that).
    """
    known = sorted(samples, key=lambda sample: sample.time)
    result = list(known)
    at = 0
    for scrape in sorted(scrapes, key=lambda sample: sample.time):
        while at < len(known) and known[at].time < scrape.time - tolerance:
            at += 1
        if at == len(known) or known[at].time > scrape.time + tolerance:
            result.append(Sample(time=scrape.time, value=None))
    result.sort(key=lambda sample: sample.time)
    return tuple(result)


def interval_of(samples: Sequence[Sample]) -> float | None:
    """The scrape interval as the samples' spacing shows it (the median); None with one or none."""
    times = [sample.time for sample in samples]
    gaps = sorted(after - before for before, after in pairwise(times))
    return gaps[len(gaps) // 2] if gaps else None


def learned(target: Target, series: Series) -> Target:
    """The target with the scrape interval and the probe timeout that its series shows."""
    return replace(
        target,
        scrape_interval=series.interval or target.scrape_interval,
        probe_timeout=series.timeout or target.probe_timeout,
        url=target.url or series.url,
    )


# Outages


@dataclass(frozen=True, slots=True)
class Outage:
    """A run of bad samples of one series, with good ones for less than `recovery` in between."""

    start: float
    """First bad sample."""
    last_bad: float
    bad_samples: int
    status: int | None
    """First bad value."""
    last_good: float | None
    """Last good sample before it."""
    ended: float | None
    """First good sample after the last bad one; None while it lasts."""


def outages(samples: Sequence[Sample], good: tuple[int, ...], recovery: float) -> list[Outage]:
    """The outages in the samples of one series, in order of time."""
    found: list[Outage] = []
    last_good: float | None = None
    for sample in samples:
        if not bad(sample, good):
            if found and found[-1].ended is None:
                found[-1] = replace(found[-1], ended=sample.time)
            last_good = sample.time
            continue
        last = found[-1] if found else None
        if last is not None and (last.ended is None or sample.time - last.ended < recovery):
            found[-1] = replace(
                last, last_bad=sample.time, bad_samples=last.bad_samples + 1, ended=None
            )
        else:
            status = _status(sample.value)
            found.append(Outage(sample.time, sample.time, 1, status, last_good, None))
    return found


def _status(value: float | None) -> int | None:
    return int(value) if value is not None and abs(value) < 2**31 else None


def read_metric(
    target: Target, series: Sequence[Series], settings: TriggerSettings
) -> tuple[Event, ...]:
    """What the series of one target say, as events in order; () when there is no series."""
    if not series:
        return ()
    kept = [one for one in series if one.presence is not Presence.REMOVED]
    if not kept:
        return (Gone(target=target.name, reason="removed from Prometheus' configuration"),)
    spans = _spans([(one, outages(one.samples, target.good, settings.recovery)) for one in kept])
    events: list[Event] = [_bad(target, span, settings) for span in spans]
    events += _end(target, kept, spans)
    return tuple(events)


@dataclass(frozen=True, slots=True)
class _Span:
    """Outages of several series that overlap, as one."""

    outage: Outage
    series: tuple[Series, ...]


def _spans(found: list[tuple[Series, list[Outage]]]) -> list[_Span]:
    pairs = [(outage, series) for series, each in found for outage in each]
    pairs.sort(key=lambda pair: pair[0].start)
    spans: list[_Span] = []
    for outage, series in pairs:
        last = spans[-1] if spans else None
        if last is None or (last.outage.ended is not None and last.outage.ended < outage.start):
            spans.append(_Span(outage, (series,)))
            continue
        ends = (last.outage.ended, outage.ended)
        joined = Outage(
            start=last.outage.start,
            last_bad=max(last.outage.last_bad, outage.last_bad),
            bad_samples=last.outage.bad_samples + outage.bad_samples,
            status=last.outage.status,
            last_good=last.outage.last_good,
            ended=None if None in ends else max(end for end in ends if end is not None),
        )
        spans[-1] = _Span(joined, (*last.series, series))
    return spans


def _bad(target: Target, span: _Span, settings: TriggerSettings) -> Bad:
    outage = span.outage
    first = span.series[0]
    shown = [s for s in first.samples if outage.last_good is None or s.time >= outage.last_good]
    if outage.ended is not None:
        shown = [s for s in shown if s.time <= outage.ended]
    before = [s for s in first.samples if outage.last_good and s.time < outage.last_good][-3:]
    half = settings.max_samples // 2
    samples = [*before, *shown]
    if len(samples) > settings.max_samples:
        samples = samples[:half] + samples[-half:]
    anomaly = Anomaly(
        target=target.name,
        trigger=Trigger.METRIC,
        time=outage.start,
        status=outage.status,
        last_good=outage.last_good,
        ended=outage.ended,
        samples=tuple(samples),
        labels=_shared([one.labels for one in span.series]),
    )
    return Bad(anomaly=anomaly, last_bad=outage.last_bad, bad_samples=outage.bad_samples)


def _shared(labels: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Those that all have with the same value, fit to be stored: without secrets (in URLs)."""
    first = labels[0]
    return {k: mask(v) for k, v in first.items() if all(other.get(k) == v for other in labels)}


def _end(target: Target, series: list[Series], spans: list[_Span]) -> list[Event]:
    """What is known of now: good, nothing, or (when the last outage lasts) no more than that."""
    if all(one.presence is Presence.NO_DATA for one in series):
        newest = max((one.samples[-1].time for one in series if one.samples), default=None)
        return [
            NoData(
                target=target.name,
                reason="Prometheus has no new samples of it, and none of its scrapes",
                since=newest,
            )
        ]
    if spans and any(span.outage.ended is None for span in spans):
        return []
    times = [s.time for one in series for s in one.samples if not bad(s, target.good)]
    if not times:
        return []
    since = spans[-1].outage.ended if spans else None
    return [
        Good(target=target.name, since=min(times) if since is None else since, until=max(times))
    ]


def outage_at(
    target: Target,
    series: Sequence[Series],
    time: float,
    trigger: Trigger,
    settings: TriggerSettings,
    slack: float | None = None,
) -> Anomaly | None:
    """The outage that a question about `time` means: the one at it, else the nearest in `slack`.

    `slack` defaults to two scrape intervals and the probe timeout. None: all was good then.
    """
    allowed = 2 * target.scrape_interval + target.probe_timeout if slack is None else slack
    spans = _spans([(one, outages(one.samples, target.good, settings.recovery)) for one in series])
    best: tuple[float, _Span] | None = None
    for span in spans:
        end = span.outage.ended if span.outage.ended is not None else span.outage.last_bad
        distance = max(span.outage.start - time, time - end, 0.0)
        if distance <= allowed and (best is None or distance < best[0]):
            best = (distance, span)
    if best is None:
        return None
    return replace(_bad(target, best[1], settings).anomaly, trigger=trigger)


def with_samples(
    anomaly: Anomaly, target: Target, series: Sequence[Series] | None, most: int = 16
) -> Anomaly:
    """Return an anomaly that something else than the metric raised, with what the metric knows.

    Above all when the target was last good: a cause is looked for after that.
    """
    if anomaly.samples or not series:
        return anomaly
    samples = sorted((s for one in series for s in one.samples), key=lambda one: one.time)
    good = [s.time for s in samples if s.time < anomaly.time and not bad(s, target.good)]
    return replace(
        anomaly,
        samples=tuple(samples[-most:]),
        last_good=max(good, default=anomaly.last_good),
    )


def asked_anomaly(
    target: Target, time: float, trigger: Trigger, labels: Mapping[str, str] | None = None
) -> Anomaly:
    """The anomaly of a question about which the metric tells nothing: only its time is known."""
    shown = {name: mask(value) for name, value in (labels or {}).items()}
    return Anomaly(target=target.name, trigger=trigger, time=time, labels=shown)


# Proxy lines

_NOT_SERVERS = frozenset({"DC", "DPE", "RL", "UAEX", "IH", "DR"})
"""Flags that say that the client, or a rule about clients, ended it."""


def failed(request: ProxyRequest) -> bool:
    """Whether the line tells of a failure that another client's line may be counted for."""
    if _NOT_SERVERS.intersection(request.flags):
        return False
    status = request.status
    if status is not None and 100 <= status < 500:
        # 200 with UPE: the head was fine, the body was cut short.
        return bool({"UPE", "UC", "UR", "UT", "LR"}.intersection(request.flags)) and status < 400
    return bool(request.flags) or (status is not None and status >= 500)


def own_failed(request: ProxyRequest, good: tuple[int, ...]) -> bool:
    """Whether the monitor's own request failed, by the target's own measure."""
    return request.status not in good or failed(request)


@dataclass(slots=True)
class _Second:
    """What ended in one second."""

    second: int
    requests: int = 0
    failures: int = 0
    first: ProxyRequest | None = None
    """The first failed one in it."""


@dataclass(slots=True)
class ProxyWatch:
    """Counts a target's proxy lines, as they come in, and tells when they make an outage.

    One per target. Memory: one counter per second of `proxy_span`.
    """

    target: Target
    settings: TriggerSettings = field(default_factory=TriggerSettings)
    _seconds: deque[_Second] = field(default_factory=deque)
    _start: float | None = None
    """Since when there is an outage."""
    _last_bad: float | None = None
    _first: ProxyRequest | None = None
    _good: tuple[float, float] | None = None
    """First and newest request that was answered well since `_last_bad`."""

    def add(self, request: ProxyRequest, now: float) -> Bad | None:
        """Take a line in; an event when it begins an outage or goes on with one."""
        own = request.match in (Match.OWN, Match.LIKELY)
        broken = own_failed(request, self.target.good) if own else failed(request)
        counted = self._count(request, broken, now)
        if not broken:
            self._went_well(min(request.end, now))
        if own and broken:
            return self._bad(request, request)
        if not broken or not counted:
            return None
        requests = sum(each.requests for each in self._seconds)
        failures = sum(each.failures for each in self._seconds)
        enough = failures >= self.settings.proxy_errors
        if not enough or failures < self.settings.proxy_share * requests:
            return None
        first = next((each.first for each in self._seconds if each.first is not None), request)
        return self._bad(first, request)

    def good(self) -> Good | None:
        """Good news, when there was an outage and only good requests since; else None.

        Silence is none: nobody may have asked, or the proxy itself may be gone.
        """
        if self._good is None:
            return None
        return Good(target=self.target.name, since=self._good[0], until=self._good[1])

    def _went_well(self, time: float) -> None:
        if self._last_bad is not None and time > self._last_bad:
            first, newest = self._good or (time, time)
            self._good = (min(first, time), max(newest, time))

    def _bad(self, first: ProxyRequest, last: ProxyRequest) -> Bad:
        if self._last_bad is not None and last.time - self._last_bad >= self.settings.recovery:
            self._start = None  # it was good for long enough: this is another outage
        if self._start is None or self._first is None:
            self._start, self._first = first.time, first
        self._last_bad = max(self._last_bad or last.time, last.time)
        self._good = None
        anomaly = Anomaly(
            target=self.target.name,
            trigger=Trigger.PROXY_LOG,
            time=self._start,
            status=self._first.status,
            labels={"pod": self._first.pod} if self._first.pod else {},
        )
        return Bad(anomaly=anomaly, last_bad=self._last_bad)

    def _count(self, request: ProxyRequest, broken: bool, now: float) -> bool:
        """Whether the line is recent enough to count."""
        span = self.settings.proxy_span
        # A line whose clock is ahead counts as of now.
        second = int(min(request.end, now))
        newest = max(second, self._seconds[-1].second if self._seconds else second)
        while self._seconds and self._seconds[0].second <= newest - span:
            self._seconds.popleft()
        if second <= newest - span:
            return False
        slot = self._slot(second)
        slot.requests += 1
        if broken:
            slot.failures += 1
            slot.first = slot.first if slot.first is not None else request
        return True

    def _slot(self, second: int) -> _Second:
        for at in range(len(self._seconds) - 1, -1, -1):
            if self._seconds[at].second == second:
                return self._seconds[at]
            if self._seconds[at].second < second:
                self._seconds.insert(at + 1, slot := _Second(second))
                return slot
        self._seconds.appendleft(slot := _Second(second))
        return slot


# Alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Somebody else's alert, which asks for a triage."""

    labels: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None
    """When it was resolved; None while it fires."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""


def alert_event(
    question: Question, rules: Iterable[TargetRule], settings: TriggerSettings, now: float
) -> Event | None:
    """What an alert says: Bad while it fires, Good when it is resolved; None: no target of ours."""
    target = target_of(question.labels, rules, settings)
    if target is None:
        return None
    if question.ends_at is not None:
        return Good(target=target.name, since=question.ends_at, until=max(now, question.ends_at))
    start = min(question.starts_at, now)
    anomaly = asked_anomaly(target, start, Trigger.ALERTMANAGER, question.labels)
    # Its start, not now: told again after the outage is over, it is no new one.
    return Bad(anomaly=anomaly, last_bad=start)


# Several sources


def combined(said: Sequence[Sequence[Event]]) -> tuple[Event, ...]:
    """What several sources say of one target at once: good only when none says otherwise.

    All Bad events stand. A Good one stands only when every source that says anything now has one
    (the latest end counts); NoData and Gone only when nobody knows better.
    """
    bads = [event for each in said for event in each if isinstance(event, Bad)]
    goods = [event for each in said for event in each if isinstance(event, Good)]
    lasting = any(
        isinstance(each[-1], Bad) and each[-1].anomaly.ended is None for each in said if each
    )
    if goods and not lasting:
        since = max(event.since for event in goods)
        until = max(since, *(event.until for event in goods))
        return (*bads, Good(target=goods[0].target, since=since, until=until))
    if bads:
        return tuple(bads)
    rest = [event for each in said for event in each if isinstance(event, NoData | Gone)]
    return tuple(rest[:1])
