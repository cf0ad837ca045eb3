"""One of several replicas acts: leader election by a coordination.k8s.io/v1 Lease.

Rules, as client-go's leaderelection keeps them
- Who holds the Lease renews it every `retry` seconds. Others take it when they have seen it
  unchanged for its duration by their own monotonic clock: the times in it are only shown, so clocks
  that differ do no harm.
- Every write carries the resourceVersion that was read: of two that take it at once, one gets 409.
- A leader that could not renew for `renew_deadline` seconds is none any more, before anybody else
  can be (renew_deadline < duration). `is_leader` looks at the clock itself, so that it is right
  even when the event loop stood still.
- On the way out the Lease is given back, so that the next one need not wait.

The clock counts time asleep where the system has such a clock: a machine that was suspended must
not take itself for the leader.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import structlog

from triage.kube.client import LEASES, KubeClient
from triage.kube.errors import ConflictError
from triage.kube.values import Json, as_dict, as_int, as_str, format_time, meta
from triage.sources.errors import MissingError, SourceError

log = structlog.get_logger(__name__)

RELEASE = 3.0  # seconds that giving the Lease back may take


def boottime() -> float:
    """Monotonic seconds, those of a suspended machine included where they can be counted."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) if clock is not None else time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """The Lease, and who we are. Durations in seconds."""

    namespace: str
    identity: str
    """Unique among the replicas: the pod's name."""
    name: str = "triage"
    duration: float = 15.0
    """Whole seconds: for so long after its last change nobody else takes the Lease."""
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        """Raises ValueError on times that cannot work."""
        if not self.identity or not self.namespace:
            raise ValueError("a Lease needs a namespace and an identity")
        if not 0 < self.retry < self.renew_deadline < self.duration:
            raise ValueError("a Lease needs 0 < retry < renew_deadline < duration")


class LeaseElector:
    """Takes part in the election while `run` runs."""

    def __init__(
        self,
        client: KubeClient,
        settings: LeaseSettings,
        *,
        monotonic: Callable[[], float] = boottime,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._settings = settings
        self._monotonic = monotonic
        self._clock = clock
        self._jitter = jitter
        self._lease: Json | None = None
        self._spec: Json = {}
        self._seen_at = float("-inf")
        self._renewed_at: float | None = None
        self.problem = ""
        """Why the Lease could not be read or written the last time; "" when it could."""

    @property
    def is_leader(self) -> bool:
        """Whether this replica may act now."""
        renewed = self._renewed_at
        return renewed is not None and self._monotonic() - renewed < self._settings.renew_deadline

    @property
    def leader(self) -> str:
        """Who held the Lease when it was seen last; "" for nobody."""
        return as_str(self._spec.get("holderIdentity"))

    async def run(
        self, on_lead: Callable[[], Awaitable[None]], on_lose: Callable[[], Awaitable[None]]
    ) -> None:
        """Take part until cancelled; then `on_lose` when leading, and give the Lease back.

        Both callbacks are awaited, never at once; `on_lead` starts the work and returns, and must
        do so within `renew_deadline`. Raises what they raise.
        """
        leading = False
        try:
            while True:
                await self._attempt()
                if self.is_leader and not leading:
                    leading = True
                    log.info("lease_acquired", lease=self._shown, identity=self._settings.identity)
                    await on_lead()
                elif leading and not self.is_leader:
                    leading = False
                    self._renewed_at = None
                    log.warning("lease_lost", lease=self._shown, holder=self.leader)
                    await on_lose()
                await asyncio.sleep(self._pause(leading))
        finally:
            if leading:
                await on_lose()
            await self._release()

    @contextlib.asynccontextmanager
    async def taking_part(
        self, on_lead: Callable[[], Awaitable[None]], on_lose: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[LeaseElector]:
        """Run in the background of an `async with` block; its end gives the Lease back."""
        task = asyncio.create_task(self.run(on_lead, on_lose))
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def _shown(self) -> str:
        return f"{self._settings.namespace}/{self._settings.name}"

    def _pause(self, leading: bool) -> float:
        """Until the next attempt; at most until the leadership runs out."""
        retry = self._settings.retry
        if not leading:
            return retry * (1.0 + 0.2 * self._jitter())
        left = self._settings.renew_deadline - (self._monotonic() - (self._renewed_at or 0.0))
        return min(retry, max(left, 0.0))

    async def _attempt(self) -> None:
        """Read the Lease, and renew or take it when that is ours to do."""
        patience = self._settings.renew_deadline
        if self._renewed_at is not None:
            patience -= self._monotonic() - self._renewed_at
        try:
            async with asyncio.timeout(max(patience, 0.0)):
                await self._take()
            self.problem = ""
        except TimeoutError:
            self.problem = self.problem or f"lease {self._shown}: not renewed in time"
        except ConflictError:
            pass  # somebody was faster: look again next time
        except SourceError as error:
            if self.problem != str(error):
                log.warning("lease_failed", lease=self._shown, why=str(error))
            self.problem = str(error)

    async def _take(self) -> None:
        settings = self._settings
        try:
            lease = await self._client.get(LEASES, settings.namespace, settings.name)
        except MissingError:
            await self._write("POST", None)
            return
        spec = as_dict(lease.get("spec"))
        if self._lease is None or spec != self._spec:
            self._spec, self._seen_at = spec, self._monotonic()
        self._lease = lease
        holder = as_str(spec.get("holderIdentity"))
        if holder == settings.identity:
            await self._write("PUT", lease)
            return
        self._renewed_at = None
        duration = float(as_int(spec.get("leaseDurationSeconds")) or settings.duration)
        if not holder or self._monotonic() - self._seen_at >= duration:
            await self._write("PUT", lease)

    async def _write(self, method: str, lease: Json | None) -> None:
        settings = self._settings
        asked_at = self._monotonic()  # what was granted counts from before it was asked for
        now = format_time(self._clock(), 6)
        old = as_dict((lease or {}).get("spec"))
        ours = old.get("holderIdentity") == settings.identity
        changes = as_int(old.get("leaseTransitions"))
        spec: Json = {
            "holderIdentity": settings.identity,
            "leaseDurationSeconds": int(settings.duration),
            "acquireTime": old.get("acquireTime") if ours else now,
            "renewTime": now,
            "leaseTransitions": changes if ours or lease is None else changes + 1,
        }
        name = settings.name if lease is not None else ""
        body = self._body(lease, spec)
        answer = await self._client.send(method, LEASES, settings.namespace, name, body)
        self._lease, self._spec = answer, as_dict(answer.get("spec"))
        self._seen_at = self._renewed_at = asked_at

    def _body(self, lease: Json | None, spec: Json) -> Json:
        settings = self._settings
        kept = meta(lease or {})
        metadata: Json = {"name": settings.name, "namespace": settings.namespace}
        for key in ("resourceVersion", "labels", "annotations"):
            if key in kept:
                metadata[key] = kept[key]
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }

    async def _release(self) -> None:
        """Give the Lease back, when it is ours."""
        held, self._renewed_at = self._renewed_at is not None, None
        if not held or self._lease is None:
            return
        spec = {
            **self._spec,
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": format_time(self._clock(), 6),
        }
        body = self._body(self._lease, spec)
        settings = self._settings
        try:
            async with asyncio.timeout(RELEASE):
                await self._client.send("PUT", LEASES, settings.namespace, settings.name, body)
            log.info("lease_released", lease=self._shown)
        except (SourceError, TimeoutError) as error:
            log.warning("lease_not_released", lease=self._shown, why=str(error))
