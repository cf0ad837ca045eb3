"""Where to look: windows derived from what causes a lag, never guessed.

Theory of operation
    Let `ts` be the first bad sample, `prev` the last good one before it, S the scrape interval,
    T the probe timeout and e the clock error allowed between two machines.

    A stored sample bears the start of its scrape, and the probe runs while it is scraped. So the
    probe's own request starts in [ts - e, ts + T + e], and the fault began in (prev - e,
    ts + T + e]. Envoy stamps a line with the request's start and writes it at its end, plus the
    flush of its log (1 s in Istio, 10 s in plain Envoy).

    A value that was evaluated on a grid (query_range, a subquery, a recording rule, a poller's
    instant queries) bears the grid's time, which is later than the scrape: it shows the newest
    sample that was stored by then, and a sample is stored up to T after its scrape began. One step
    earlier the bad sample was not stored yet. So ts lies in (grid - step - T, grid], and windows
    that begin at ts begin that much earlier.

Rules
- A window says why it is what it is, with the figures: `Window.reason` is shown in the alert.
- A setting overrides an end; the reason says so.
- `policy = "paper"` uses the source paper's figures to the letter: 15 s before the metric's time
  for the proxy, 60 s before the proxy line's time for the application.
- A measured clock error larger than the allowed one counts; a smaller one does not: whoever
  measured it measured one pair of clocks, and a request crosses several.
- Nothing in here reads a clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from triage.evidence import Anomaly, Policy, ProxyRequest, Sample, Target, Trigger, Window

PAPER_PROXY = 15.0
"""Seconds before the metric's time that the source paper reads of the proxy's log."""
PAPER_APP = 60.0
"""Seconds before the proxy line's time that the source paper reads of the application's log."""

_TIMED_OUT = frozenset({"UT", "SI", "DC", "DT", "UMSDR"})
"""Envoy's flags after which the application may still be at work on the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """What the windows are derived from, and overrides; all in seconds."""

    policy: Policy = Policy.DEFAULT
    clock_skew: float = 2.0
    """Allowed between any two machines that keep time by NTP."""
    step: float = 0.0
    """Grid of the metric's times; 0: they are scrape times."""
    proxy_flush: float = 1.0
    """Between a request's end and its line in the proxy's log: Istio 1, plain Envoy 10."""
    app_flush: float = 1.0
    """The same of an application that buffers its output."""
    delivery: float = 1.0
    """Until a line that was written can be read where it is asked for."""
    app_before: float = 10.0
    """Before the request: what led to its failure (a lost connection, a failed start)."""
    app_after: float = 5.0
    """After the request: what an application logs once it has answered."""
    timed_out_after: float = 30.0
    """The same when somebody gave up waiting: the application may still be working on it."""
    pod_before: float = 120.0
    """Until a pod's trouble shows outside: probes have to fail several times first."""
    node_before: float = 300.0
    """The same of a node: its kubelet is waited for, its pods are evicted after minutes."""
    vm_before: float = 120.0
    """The same of a VM: its guest and then its node have to notice."""
    syslog_before: float = 900.0
    """The same of a hypervisor: a disk is tried again for minutes before it is given up."""
    late: float = 60.0
    """After the fault: until Kubernetes tells of it (a silent kubelet is waited for 50 s)."""
    longest: float = 900.0
    """How far before the first bad sample a fault may be thought to have begun."""
    alert_before: float = 300.0
    """Before an alert's start: how long its rule may have waited (`for`)."""
    manual_margin: float = 60.0
    """Around a time that a person gave: they read clocks to the minute."""
    proxy_before: float | None = None
    """Override: the proxy window begins so long before the anomaly."""
    proxy_after: float | None = None
    """Override: it ends so long after the anomaly."""
    app_window_before: float | None = None
    """Override: the application's window begins so long before the request."""
    app_window_after: float | None = None
    """Override: it ends so long after the request."""
    pod_window_before: float | None = None
    """Override: the pod's window begins so long before the anomaly."""
    node_window_before: float | None = None
    """Override: the node's window begins so long before the anomaly."""
    vm_window_before: float | None = None
    """Override: the VM's window begins so long before the anomaly."""
    syslog_window_before: float | None = None
    """Override: the window of the hypervisor's log begins so long before the anomaly."""


# What is known of the fault's time


def bad(sample: Sample, good: tuple[int, ...]) -> bool:
    """Whether a sample is an anomaly: any value that is not good, and none at all."""
    return sample.value is None or sample.value not in good


def first_bad(anomaly: Anomaly, target: Target) -> float:
    """Time of the first bad sample of the outage; the anomaly's own time when it has none."""
    if anomaly.trigger is Trigger.METRIC:
        return anomaly.time
    since = anomaly.last_good if anomaly.last_good is not None else -math.inf
    times = (s.time for s in anomaly.samples if s.time > since and bad(s, target.good))
    return next(times, anomaly.time)


def last_good(anomaly: Anomaly, target: Target) -> float | None:
    """Time of the last good sample before the first bad one."""
    first = first_bad(anomaly, target)
    times = [s.time for s in anomaly.samples if s.time < first and not bad(s, target.good)]
    if anomaly.last_good is not None and anomaly.last_good < first:
        times.append(anomaly.last_good)
    return max(times, default=None)


def clock_allowance(settings: WindowSettings, measured: float | None = None) -> float:
    """The e of the derivation: the allowed clock error, or the measured one when it is larger."""
    return max(settings.clock_skew, abs(measured) if measured is not None else 0.0)


@dataclass(frozen=True, slots=True)
class _Fault:
    """The times that every window starts from."""

    earliest: float
    """The probe's request started at this time at the earliest."""
    latest: float
    """And at this time at the latest."""
    began_after: float
    """The fault began after this time."""
    request: str
    """How `earliest` and `latest` came to be."""
    began: str
    """How `began_after` came to be."""


def _fault(
    anomaly: Anomaly, target: Target, settings: WindowSettings, clock_error: float | None
) -> _Fault:
    e = clock_allowance(settings, clock_error)
    sampled = any(bad(s, target.good) for s in anomaly.samples)
    if sampled or anomaly.trigger is Trigger.METRIC:
        return _sampled_fault(anomaly, target, settings, e)
    at = anomaly.time
    if anomaly.trigger is Trigger.PROXY_LOG:
        return _Fault(
            earliest=at,
            latest=at,
            began_after=at - target.scrape_interval - e,
            request=f"the proxy's own line of {_clock(at)}",
            began=f"one scrape interval {_s(target.scrape_interval)} and clock error {_s(e)} "
            f"before the proxy's line of {_clock(at)}",
        )
    what, before, after = (
        ("alert's start", settings.alert_before, 0.0)
        if anomaly.trigger is Trigger.ALERTMANAGER
        else ("time asked for", settings.manual_margin, settings.manual_margin)
    )
    early = before + target.scrape_interval + e
    why = (
        f"{what} {_clock(at)}, no bad sample known: {_s(before)} allowed before it, scrape "
        f"interval {_s(target.scrape_interval)}, clock error {_s(e)}"
    )
    return _Fault(
        earliest=at - early,
        latest=at + after + target.probe_timeout + e,
        began_after=at - early,
        request=f"{why}, probe timeout {_s(target.probe_timeout)}",
        began=why,
    )


def _sampled_fault(anomaly: Anomaly, target: Target, settings: WindowSettings, e: float) -> _Fault:
    first = first_bad(anomaly, target)
    timeout = target.probe_timeout
    phase = settings.step + timeout if settings.step > 0 else 0.0
    earliest = first - phase - e
    lag = f", at most {_s(settings.step)} of grid and {_s(timeout)} of probe late" if phase else ""
    good = last_good(anomaly, target)
    if good is None:
        began_after = earliest - target.scrape_interval
        began = (
            f"no good sample known before the first bad one of {_clock(first)}: one scrape "
            f"interval {_s(target.scrape_interval)} and clock error {_s(e)} before it{lag}"
        )
    else:
        began_after = max(good - phase - e, first - settings.longest)
        cut = f", at most {_s(settings.longest)} before it" if began_after > good else ""
        began = (
            f"last good sample {_clock(good)}, first bad {_clock(first)}, clock error "
            f"{_s(e)}{lag}{cut}"
        )
    return _Fault(
        earliest=earliest,
        latest=first + timeout + e,
        began_after=began_after,
        request=f"first bad sample {_clock(first)}{lag}, probe timeout {_s(timeout)}, clock error "
        f"{_s(e)}",
        began=began,
    )


# The windows


def proxy_window(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    *,
    clock_error: float | None = None,
) -> Window:
    """When the probe's own request started, by the proxy's clock: Envoy's START_TIME."""
    at = first_bad(anomaly, target)
    if settings.policy is Policy.PAPER:
        return Window(
            start=at - PAPER_PROXY,
            end=at,
            reason=f"policy paper: {_s(PAPER_PROXY)} before the metric's time {_clock(at)}",
        )
    fault = _fault(anomaly, target, settings, clock_error)
    start, end = fault.earliest, fault.latest
    if anomaly.trigger is Trigger.PROXY_LOG and fault.earliest == fault.latest:
        # The line is known; its neighbours tell whether it was the only one.
        e = clock_allowance(settings, clock_error)
        start, end = start - target.scrape_interval - e, end + target.probe_timeout + e
        fault = _Fault(start, end, start, f"{fault.request}, and its neighbours", fault.began)
    return _overridden(
        Window(start=start, end=end, reason=f"the request's start: {fault.request}"),
        at,
        settings.proxy_before,
        settings.proxy_after,
    )


def probe_windows(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    *,
    clock_error: float | None = None,
    most: int = 4,
) -> tuple[Window, ...]:
    """One window as `proxy_window` for the first bad sample and for the last `most - 1` ones.

    A request whose line is lost for the first bad sample may be found for a later one.
    """
    first = first_bad(anomaly, target)
    times = [s.time for s in anomaly.samples if s.time >= first and bad(s, target.good)]
    chosen = times[:1] + times[1:][-max(0, most - 1) :] if most > 1 else times[:1]
    if not chosen:
        return (proxy_window(anomaly, target, settings, clock_error=clock_error),)
    e = clock_allowance(settings, clock_error)
    phase = settings.step + target.probe_timeout if settings.step > 0 else 0.0
    return tuple(
        Window(
            start=time - phase - e,
            end=time + target.probe_timeout + e,
            reason=f"the request of the bad sample {_clock(time)}: probe timeout "
            f"{_s(target.probe_timeout)}, clock error {_s(e)}",
        )
        for time in chosen
    )


def fault_window(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    *,
    clock_error: float | None = None,
) -> Window:
    """When the fault began: after the last good sample, until the probe gave up."""
    fault = _fault(anomaly, target, settings, clock_error)
    return Window(
        start=fault.began_after,
        end=fault.latest,
        reason=f"the fault's beginning: {fault.began}",
    )


def app_window(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    request: ProxyRequest | None = None,
    *,
    clock_error: float | None = None,
) -> Window:
    """When the application logs what it did for the request; `request` is the proxy's line of it.

    Without a line: while the probe's request can have been under way.
    """
    if settings.policy is Policy.PAPER:
        at = request.time if request else first_bad(anomaly, target)
        whose = "proxy line's" if request else "metric's"
        return Window(
            start=at - PAPER_APP,
            end=at,
            reason=f"policy paper: {_s(PAPER_APP)} before the {whose} time {_clock(at)}",
        )
    e = clock_allowance(settings, clock_error)
    if request is None:
        fault = _fault(anomaly, target, settings, clock_error)
        begin, end, after = fault.earliest, fault.latest + target.probe_timeout, settings.app_after
        why = f"no proxy line; {fault.request}, and as long again until the probe gives up"
    else:
        begin, end = request.time - e, request.end + e
        gave_up = bool(_TIMED_OUT.intersection(request.flags))
        after = settings.timed_out_after if gave_up else settings.app_after
        why = (
            f"proxy line {_clock(request.time)}, duration {_s(request.end - request.time)}, clock "
            f"error {_s(e)}"
        )
    window = Window(
        start=begin - settings.app_before,
        end=end + after,
        reason=f"{why}; {_s(settings.app_before)} before it, {_s(after)} after it",
    )
    anchor = request.time if request else first_bad(anomaly, target)
    return _overridden(window, anchor, settings.app_window_before, settings.app_window_after)


def pod_window(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    *,
    clock_error: float | None = None,
) -> Window:
    """When the pod's events and changes of state may have to do with the fault."""
    return _around(
        anomaly,
        target,
        settings,
        clock_error,
        settings.pod_before,
        settings.pod_window_before,
        "a pod's trouble shows outside late",
    )


def node_window(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    *,
    clock_error: float | None = None,
) -> Window:
    """When the node's events and conditions may have to do with the fault."""
    return _around(
        anomaly,
        target,
        settings,
        clock_error,
        settings.node_before,
        settings.node_window_before,
        "a node's trouble shows outside late",
    )


def vm_window(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    *,
    clock_error: float | None = None,
) -> Window:
    """When the VM's notifications and restarts may have to do with the fault."""
    return _around(
        anomaly,
        target,
        settings,
        clock_error,
        settings.vm_before,
        settings.vm_window_before,
        "a VM's trouble shows outside late",
    )


def syslog_window(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    *,
    clock_error: float | None = None,
) -> Window:
    """When unusual lines of the hypervisor's log may have to do with the fault."""
    return _around(
        anomaly,
        target,
        settings,
        clock_error,
        settings.syslog_before,
        settings.syslog_window_before,
        "a hypervisor's trouble shows outside late",
    )


def _around(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    clock_error: float | None,
    before: float,
    override: float | None,
    why: str,
) -> Window:
    fault = _fault(anomaly, target, settings, clock_error)
    window = Window(
        start=fault.began_after - before,
        end=max(fault.latest, anomaly.ended or fault.latest) + settings.late,
        reason=f"{fault.began}; {_s(before)} before it ({why}), {_s(settings.late)} after it "
        f"(Kubernetes tells of it late)",
    )
    return _overridden(window, first_bad(anomaly, target), override, None)


def _overridden(window: Window, anchor: float, before: float | None, after: float | None) -> Window:
    if before is None and after is None:
        return window
    said = [f"{_s(before)} before {_clock(anchor)}"] if before is not None else []
    said += [f"{_s(after)} after {_clock(anchor)}"] if after is not None else []
    return Window(
        start=window.start if before is None else anchor - before,
        end=window.end if after is None else anchor + after,
        reason=f"as configured: {' and '.join(said)}; derived: {window.reason}",
    )


# When to look again


def settled_at(
    anomaly: Anomaly,
    target: Target,
    settings: WindowSettings,
    request: ProxyRequest | None = None,
    *,
    clock_error: float | None = None,
) -> float:
    """The time after which no further line about the request can arrive; look again then.

    The probe gives up T after it began, at which the proxy ends the request and writes its line;
    with `request`, the application's own last line is waited for instead.
    """
    e = clock_allowance(settings, clock_error)
    if request is not None:
        gave_up = bool(_TIMED_OUT.intersection(request.flags))
        after = settings.timed_out_after if gave_up else settings.app_after
        return request.end + e + after + settings.app_flush + settings.delivery
    fault = _fault(anomaly, target, settings, clock_error)
    flush = max(settings.proxy_flush, settings.app_flush)
    # A request that started at `latest` cannot have started later: the probe is over by then.
    return fault.latest + flush + settings.delivery


# Clocks


@dataclass(frozen=True, slots=True)
class ClockBounds:
    """What is known of another clock: (its time - our time) lies between two figures, seconds."""

    low: float
    high: float

    @property
    def offset(self) -> float:
        """The middle of what is known; positive when the other clock is ahead."""
        return (self.low + self.high) / 2

    @property
    def worst(self) -> float:
        """The largest error that fits: what a window has to allow for."""
        return max(abs(self.low), abs(self.high))


def bounds_of(sent: float, received: float, theirs: float, resolution: float = 1.0) -> ClockBounds:
    """Bounds from one answer: `theirs` was read between `sent` and `received`, rounded down.

    An HTTP Date header has a resolution of 1 s (RFC 9110 section 5.6.7).
    """
    return ClockBounds(theirs - received, theirs + resolution - sent)


def narrowed(bounds: Iterable[ClockBounds]) -> ClockBounds | None:
    """What several answers tell together; None without any.

    Each answer cuts the range: after some tens of them the second's edge is known to the time of
    one request. Answers that contradict the newest one are from before a clock was set: they are
    left out.
    """
    ordered = list(bounds)
    if not ordered:
        return None
    result = ordered[-1]
    for each in reversed(ordered[:-1]):
        low, high = max(result.low, each.low), min(result.high, each.high)
        if low > high:
            break
        result = ClockBounds(low, high)
    return result


def _s(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"


def _clock(time: float) -> str:
    """UTC time of day, milliseconds: dates are in the alert's head."""
    milliseconds = round(time * 1000) % 86_400_000
    minutes, rest = divmod(milliseconds, 60_000)
    seconds, fraction = divmod(rest, 1000)
    shown = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return f"{shown}.{fraction:03}" if fraction else shown
