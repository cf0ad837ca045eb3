"""A service in small that kills itself with -9 at a chosen point: `POINT:COUNT`.

It saves an incident's three changes with their messages and delivers them. Started again it goes
on where the state file says that it was.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from tests.triage.alert_cases import make_incident, told
from triage.alerts.alertmanager import AlertmanagerSettings, AlertmanagerSink
from triage.alerts.delivery import DeliverySettings, Dispatcher
from triage.alerts.slack import SlackSettings, SlackSink
from triage.alerts.webhook import WebhookSettings, WebhookSink
from triage.incidents import AlertKind
from triage.store import Store

STEPS = (AlertKind.FIRING, AlertKind.UPDATED, AlertKind.RESOLVED)


class Killer:
    """Counts how often points are passed."""

    def __init__(self, spec: str) -> None:
        self.point, _, count = spec.partition(":")
        self.left = int(count or 1)

    def passes(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, thing: Any, method: str) -> None:
        """Pass "before METHOD" and "after METHOD" at each call."""
        inner: Callable[..., Any] = getattr(thing, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.passes(f"before_{method}")
            result = inner(*args, **kwargs)
            self.passes(f"after_{method}")
            return result

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            self.passes(f"before_{method}")
            result = await inner(*args, **kwargs)
            self.passes(f"after_{method}")
            return result

        setattr(thing, method, call_async if asyncio.iscoroutinefunction(inner) else call)


async def work(path: str, hook_url: str, slack_file: str, am_url: str, point: str) -> None:
    """Save what is not saved yet, and deliver all of it."""
    killer = Killer(point)
    with Store(path, exclusive=True) as store:
        sinks = (
            WebhookSink(WebhookSettings(name="hook", url=hook_url)),
            SlackSink(SlackSettings(name="slack", url_file=slack_file)),
            AlertmanagerSink(AlertmanagerSettings(name="am", url=am_url, resend=60, hold=0)),
        )
        for sink in sinks:
            killer.around(sink, "send")
        for method in ("begin", "delivered"):
            killer.around(store.outbox, method)
        killer.around(store, "save")
        killer.around(store.outbox, "put")  # within the transaction of save

        def left(state: str) -> bool:
            return any(row.state == state for one in sinks for row in store.outbox.active(one.name))

        settings = DeliverySettings(first_retry=0.01, longest_retry=0.05, poll=0.05)
        dispatcher = Dispatcher(store, sinks, settings)
        task = asyncio.create_task(dispatcher.run())
        known = store.incidents.get("i")
        for number, kind in enumerate(STEPS, 1):
            if known is not None and number <= known.alerts:
                continue
            store.save(
                make_incident("i", alerts=number),
                messages=(told(number, kind, "i"),),
                sinks=[sink.name for sink in sinks],
            )
            dispatcher.wake()
            while left("waiting"):
                await asyncio.sleep(0.005)
        while left("waiting") or left("standing"):
            await asyncio.sleep(0.005)
        await dispatcher.stop()
        await task


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:6]))
