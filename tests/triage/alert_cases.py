"""Incidents, verdicts and messages for the tests of alerts, and receivers to send them to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from triage.alerts.message import AlertMessage, make_message
from triage.evidence import (
    Anomaly,
    Cause,
    Confidence,
    Evidence,
    Outcome,
    Policy,
    Proof,
    Step,
    StepResult,
    Target,
    Trigger,
    Verdict,
    Window,
)
from triage.incidents import Alert, AlertKind, Incident, Severity, Status, judgement_of

T0 = 1_767_323_045.5  # 2026-01-02T03:04:05.500Z
SECRET = "s3cr3tV4lue"  # noqa: S105


def make_verdict(**changes: Any) -> Verdict:
    verdict = Verdict(
        cause=Cause.NODE,
        reason="vm_not_running",
        title="node: VM paused",
        summary="The VM of node worker-1 was paused at 03:04:03 on esx1.",
        confidence=Confidence.CERTAIN,
        policy=Policy.DEFAULT,
        steps=(
            StepResult(
                step=Step.PROXY,
                outcome=Outcome.RAN,
                summary="The proxy reached nothing: 503 UF.",
                window=Window(start=T0 - 2, end=T0 + 12, reason="[ts - 2 s, ts + 10 s + 2 s]"),
                lag=0.25,
            ),
            StepResult(step=Step.APP, outcome=Outcome.FAILED, summary="log rotated away"),
        ),
        proofs=(
            Proof(
                step=Step.PROXY,
                time=T0 + 0.25,
                source="front/app-0 istio-proxy",
                text=f'"GET /?token={SECRET} HTTP/1.1" 503 UF',
                deciding=False,
            ),
            Proof(
                step=Step.VM,
                time=None,
                source="esx1",
                text="VM-MIB::vmOperState.3 = INTEGER: paused(8)",
            ),
        ),
        unknowns=("the application's log of 03:04 is gone",),
        object="VM worker-1 on esx1",
        decided_at=T0 + 20,
    )
    return replace(verdict, **changes)


def make_evidence(**changes: Any) -> Evidence:
    evidence = Evidence(
        target=Target(name="shop", url="https://shop.example/", cluster="main", namespace="front"),
        anomaly=Anomaly(target="shop", trigger=Trigger.METRIC, time=T0, status=503),
        decided_at=T0 + 20,
    )
    return replace(evidence, **changes)


def make_incident(incident: str = "20260102-030405-a1b2c3", **changes: Any) -> Incident:
    made = Incident(
        id=incident,
        target="shop",
        status=Status.CONFIRMED,
        anomaly=make_evidence().anomaly,
        opened_at=T0 + 1,
        last_bad=T0 + 15,
        heard_at=T0 + 15,
        severity=Severity.WARNING,
        best=judgement_of(make_verdict()),
    )
    return replace(made, **changes)


def told(
    number: int = 1,
    kind: AlertKind = AlertKind.FIRING,
    incident: str = "20260102-030405-a1b2c3",
    verdict: Verdict | None = None,
    **changes: Any,
) -> AlertMessage:
    if kind is AlertKind.RESOLVED:
        changes.setdefault("resolved_at", T0 + 45)
    return make_message(
        make_incident(incident, **changes),
        Alert(incident=incident, kind=kind, number=number),
        time=T0 + 20 + number,
        verdict=verdict or make_verdict(),
        evidence=make_evidence(),
        links={"incident": "https://triage.example/incidents/a1b2c3"},
    )


@dataclass
class Receiver:
    """A sink of this machine: keeps what it gets, and answers what `answer` says."""

    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.got.append((dict(request.headers), await request.read()))
        if self.answer is not None:
            return await self.answer(request)
        return web.Response(text="ok")

    @property
    def ids(self) -> list[str]:
        return [headers["Idempotency-Key"].strip('"') for headers, _ in self.got]


@contextlib.asynccontextmanager
async def receiver(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None,
) -> AsyncIterator[Receiver]:
    made = Receiver(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()


def statuses(*plan: web.Response | int) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answer one after another, the last one for ever."""
    left = list(plan)

    async def answer(_: web.Request) -> web.Response:
        one = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(one, int):
            return web.Response(status=one, text=f"status {one}")
        return web.Response(status=one.status, headers=one.headers, text=one.text or "")

    return answer


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
