"""A bundled case as evidence: its lines through the parsers that read real logs, nothing by hand.

The metric's times are those of the paper's polling, every 15 s: later than the scrape that they
show by up to one interval and one probe. `triage.windows` is told so (`step`), and derives from it
where the proxy's line can be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from triage.evidence import (
    Anomaly,
    AppEvidence,
    Evidence,
    Look,
    Match,
    MetricEvidence,
    NodeEvidence,
    Outcome,
    PodEvidence,
    Policy,
    ProxyEvidence,
    ProxyRequest,
    ProxyRole,
    Sample,
    Step,
    Trigger,
    VmEvidence,
    Window,
)
from triage.masking import mask
from triage.paper.cases import Case, CaseLine, Cases
from triage.proxylog.formats import compile_format
from triage.proxylog.match import settle
from triage.sources.app import AppLooker
from triage.sources.logs import LogRef
from triage.windows import WindowSettings, app_window, proxy_window

UNTOLD = Look(outcome=Outcome.SKIPPED, problems=("the paper does not tell of it",))


class CaseLogs:
    """The lines of a case as a log source (`triage.sources.logs.LogSource`)."""

    def __init__(self, lines: Sequence[CaseLine]) -> None:
        self._lines = lines

    async def read(
        self,
        ref: LogRef,  # noqa: ARG002 - there is only one log
        start: float,  # noqa: ARG002
        end: float,  # noqa: ARG002
    ) -> AsyncIterator[bytes]:
        """Give all lines; the caller compares times."""
        for one in self._lines:
            yield one.line.encode()

    async def follow(self, ref: LogRef, start: float) -> AsyncIterator[bytes]:
        """Give all lines: a log that has ended."""
        async for line in self.read(ref, start, start):
            yield line


def anomaly_of(case: Case, cases: Cases) -> Anomaly:
    """Return what the polling showed: good, 503 once, good again."""
    before, after = case.metric_time - cases.poll_interval, case.metric_time + cases.poll_interval
    return Anomaly(
        target=cases.target.name,
        trigger=Trigger.METRIC,
        time=case.metric_time,
        status=503,
        last_good=before,
        ended=after,
        samples=(
            Sample(time=before, value=200),
            Sample(time=case.metric_time, value=503),
            Sample(time=after, value=200),
        ),
    )


def settings_of(cases: Cases, policy: Policy) -> WindowSettings:
    """Return how windows are derived: times of a polling grid."""
    return WindowSettings(policy=policy, step=cases.poll_interval)


def proxy_evidence(case: Case, cases: Cases, window: Window) -> ProxyEvidence:
    """Read the proxy's log in a window."""
    form = compile_format("auto")
    read = [form.parse(one.line) for one in case.proxy_log]
    parsed = [one for one in read if one is not None and one.time in window]
    settled = settle(cases.target, window, parsed)
    mine = [one for one in settled if one.match is not Match.OTHER]
    mine.sort(key=lambda one: (one.status in cases.target.good, one.time))
    return ProxyEvidence(
        look=Look(outcome=Outcome.RAN, source=f"{cases.pod}/{cases.proxy}", window=window),
        requests=tuple(_placed(one, cases) for one in mine),
        own=sum(one.match is Match.OWN for one in settled),
        likely=sum(one.match is Match.LIKELY for one in settled),
        others=sum(one.match is Match.OTHER for one in settled),
        unparsed=sum(one is None for one in read),
        pods=(cases.pod,),
    )


def _placed(request: ProxyRequest, cases: Cases) -> ProxyRequest:
    return replace(request, pod=cases.pod, role=ProxyRole.SIDECAR, raw=mask(request.raw))


def failed(proxy: ProxyEvidence, cases: Cases) -> ProxyRequest | None:
    """Return the monitor's own failed request, where it was found."""
    bad = (one for one in proxy.requests if one.status not in cases.target.good)
    return next(bad, None)


async def app_evidence(
    case: Case, cases: Cases, window: Window, request: ProxyRequest | None
) -> AppEvidence:
    """Read the application's log in a window."""
    looker = AppLooker(CaseLogs(case.app_log), mask=mask, clock=lambda: case.metric_time)
    namespace, pod = cases.pod.split("/")
    ref = LogRef(namespace=namespace, pod=pod, container=cases.container)
    return await looker.look(cases.target, window, request, [ref])


async def gather(case: Case, cases: Cases, windows: Policy) -> Evidence:
    """Return a case's evidence, the application's log being read in the policy's window.

    The proxy's log is read in the derived window under both policies: in the paper's own 15 s there
    is no line to go on from, and its authors, too, took the line that they knew to be there.
    """
    anomaly = anomaly_of(case, cases)
    derived = proxy_window(anomaly, cases.target, settings_of(cases, Policy.DEFAULT))
    proxy = proxy_evidence(case, cases, derived)
    request = failed(proxy, cases)
    window = app_window(anomaly, cases.target, settings_of(cases, windows), request)
    return Evidence(
        target=cases.target,
        anomaly=anomaly,
        decided_at=case.metric_time + 2 * cases.poll_interval,
        metric=MetricEvidence(
            look=Look(outcome=Outcome.RAN, source="the paper's polling of Prometheus")
        ),
        proxy=proxy,
        app=await app_evidence(case, cases, window, request),
        pod=PodEvidence(look=UNTOLD),
        node=NodeEvidence(look=UNTOLD),
        vm=VmEvidence(look=UNTOLD),
        gathered=(Step.METRIC, Step.PROXY, Step.APP),
    )
