"""`triage run`: watches, looks, decides and tells, until it is told to stop.

    Prometheus (polled), proxy logs (followed), Alertmanager's webhook
        -> events -> Engine -> looks (a bounded number at once) -> Engine -> outbox -> sinks

Rules
- A source that is down stops nothing: it is logged once when it goes and once when it comes back,
  shows in /metrics and in the status, and no data is neither good nor bad.
- With several replicas the one that holds the Lease acts; the others serve their pages and wait.
- A reload makes all parts anew from the file; if that fails, the old ones go on. Incidents stay.
- The watchdog's sign of life comes from the event loop, and ends when nothing is watched any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from triage.alarming import AlarmKeeper
from triage.alerts.delivery import Dispatcher
from triage.alerts.heartbeat import Heartbeat
from triage.assembly import Assembly, Watched, assemble, state_file
from triage.config import Config
from triage.engine import Engine
from triage.incidents import Bad, Event, Good, Incident, NoData
from triage.investigate import Looked, Place, ProxyLog, pods_known
from triage.kube.lease import LeaseElector, LeaseSettings
from triage.masking import mask as mask_text
from triage.metrics import ServiceCollector
from triage.recall import recall
from triage.sources.alertmanager_webhook import parse_payload
from triage.sources.errors import SourceError
from triage.sources.notifications import NotificationReceiver, NotificationsError
from triage.sources.prometheus import Poll
from triage.sources.syslog import Watching
from triage.store import Store
from triage.triggers import (
    ProxyWatch,
    Series,
    alert_event,
    combined,
    learned,
    read_metric,
    target_of,
    with_samples,
)
from triage.views.page import page
from triage.web import Pages
from vmmib.configfile import ConfigError
from vmmib.sd_notify import Notifier

log = structlog.get_logger(__name__)

PRUNE_EVERY = 3600.0
REFS_EVERY = 15.0
"""Seconds between two looks at which proxies there are to follow: pods come and go."""
REFS_ANEW, REFS_BLIND = 300.0, 60.0
"""Seconds after which the API server is asked for them although the watch of the pods tells of no
change, and when the watch does not tell at all."""
ASKED_FOR = 6 * 3600.0
"""Seconds that another's alert counts as firing without being told again (repeat_interval: 4 h)."""
STATUS_EVERY = 1.0
HUNG_AFTER = 120.0
"""Seconds after which a loop that watches nothing is not healthy."""
KEPT_NOTIFICATIONS = 86400.0
"""Seconds of notifications that are taken over a restart."""
ASKED = "asked"
"""Where the alerts of others that fire are kept: they are told again after hours only."""


T = TypeVar("T")


class _Refresh:
    """Whether to ask again which proxies a place has: an API server has more to do than that."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: object = None
        self._at: float | None = None

    def due(self, now: float) -> bool:
        """Tell whether it may have changed."""
        if self._at is None or self._place.cluster is None or now < self._at:
            return True
        known = pods_known(self._place)
        if known is None:
            return now - self._at >= REFS_BLIND
        return known != self._known or now - self._at >= REFS_ANEW

    def done(self, now: float) -> None:
        """It was asked."""
        self._known, self._at = pods_known(self._place), now


_Parts = tuple[Config, Assembly, NotificationReceiver | None]
_Asked = dict[str, tuple[float, Bad]]
"""Target -> when another's alert about it came, and what it says."""


class Service:
    """One running `triage run`."""

    def __init__(
        self,
        config: Config,
        reload: Callable[[], Config],
        *,
        clock: Callable[[], float] = time.time,
        notifier: Notifier | None = None,
    ) -> None:
        """Open the state file; raise StoreError or ConfigError when it cannot start."""
        self.config = config
        self._reload = reload
        self._clock = clock
        self._notifier = notifier or Notifier.from_environment()
        state_file(config).parent.mkdir(parents=True, exist_ok=True)
        self.store = Store(state_file(config), clock=clock, exclusive=True)
        self.receiver: NotificationReceiver | None = None
        self.assembly: Assembly | None = None
        self._next: _Parts | None = None
        self.engine: Engine | None = None
        self.dispatcher: Dispatcher | None = None
        self.alarms: AlarmKeeper | None = None
        self.problems: dict[str, str] = {}
        """Source -> what is wrong with it now."""
        self.polled_at: float | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._looked_at: dict[str, asyncio.Event] = {}
        """Incidents with a look that runs, or waits for its turn; set: it is to begin again."""
        self._places: dict[str, Place] = {}
        self._series: dict[str, list[Series]] = {}
        self._proxies: dict[str, ProxyWatch] = {}
        self._asked = self._asked_before()
        self._listening = ("", 0)
        self._watched_at = 0.0
        self._stopping = asyncio.Event()
        self._restart = asyncio.Event()
        self._elector: LeaseElector | None = None
        self._acting = False
        self._refused = False
        """Whether the last reload was."""

    # Life

    async def run(self) -> None:
        """Serve until `stop`; raise ConfigError or StartError when it cannot start."""
        registry = CollectorRegistry()
        registry.register(ServiceCollector(self))
        ProcessCollector(registry=registry)
        pages = Pages(self, registry, self.config.web.listen_address)
        await pages.start()
        try:
            await self._build(self.config)
            await self._take_next()
            log.info(
                "started",
                targets=len(self.config.targets),
                hypervisors=len(self.config.hypervisors),
                web=self.config.web.listen_address,
            )
            self._notifier.ready(self._status())
            alive = asyncio.create_task(self._alive())
            try:  # no TaskGroup: what ends the service is to come out as it is, for one clear line
                await self._act_until_stopped()
            finally:
                alive.cancel()
                await asyncio.gather(alive, return_exceptions=True)
        finally:
            self._notifier.stopping()
            await pages.stop()
            await self._discard(self._next)
            if self.receiver is not None:
                await self.receiver.close()
            if self.assembly is not None:
                await self.assembly.close()
            self.store.close()

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping.set()
        self._restart.set()

    async def _build(self, config: Config) -> None:
        """Make the parts of a configuration, to be taken next; raise ConfigError."""
        receiver = await self._listen(config)
        try:
            assembly = assemble(
                config, store=self.store, receiver=receiver, clock=self._clock, keep=True
            )
            await assembly.check_files()
        except ConfigError:
            if receiver is not None and receiver is not self.receiver:
                await receiver.close()
            raise
        await self._discard(self._next)
        self._next = (config, assembly, receiver)

    async def _take_next(self) -> None:
        """Take the parts that were made last, and close the ones before; nothing runs on them."""
        if self._next is None:
            return
        old, old_receiver = self.assembly, self.receiver
        self.config, self.assembly, self.receiver = self._next
        self._next = None
        self._places = {name: one.place for name, one in self.assembly.watched.items()}
        self._asked = {name: one for name, one in self._asked.items() if name in self._places}
        if old is not None:
            await old.close()
        if old_receiver is not None and old_receiver is not self.receiver:
            await old_receiver.close()

    async def _discard(self, parts: _Parts | None) -> None:
        if parts is None:
            return
        _, assembly, receiver = parts
        await assembly.close()
        if receiver is not None and receiver is not self.receiver:
            await receiver.close()

    async def _listen(self, config: Config) -> NotificationReceiver | None:
        settings = config.receiver_settings()
        if settings is None:
            return None
        if self.receiver is not None and self._listening == (settings.host, settings.port):
            self.receiver.replace(settings)
            return self.receiver
        receiver = NotificationReceiver(
            settings, on_notification=self.store.notifications.add, clock=self._clock
        )
        now = self._clock()
        receiver.preload(self.store.notifications.between(now - KEPT_NOTIFICATIONS, now))
        try:
            await receiver.start()
        except NotificationsError as error:
            raise ConfigError([f"notifications: {error}"]) from None
        self._listening = (settings.host, settings.port)
        return receiver

    async def _alive(self) -> None:
        """Give signs of life while targets are watched, and say how things are."""
        interval = self._notifier.watchdog_interval
        while True:
            if interval is not None and not self.healthy():
                self._notifier.alive()
            self._notifier.status(self._status())
            await asyncio.sleep(min(interval or STATUS_EVERY, STATUS_EVERY))

    async def _act_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._restart.clear()
            await self._take_next()
            if self.config.lease is None:
                await self._act()
            else:
                await self._act_while_leading()

    async def _act_while_leading(self) -> None:
        lease = self.config.lease
        assembly = self._parts()
        if lease is None:
            return
        cluster = assembly.clusters[lease.cluster or next(iter(assembly.clusters))]
        settings = LeaseSettings(
            namespace=lease.namespace or os.environ.get("POD_NAMESPACE") or "triage",
            name=lease.name,
            identity=os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            duration=lease.duration,
            renew_deadline=lease.duration * 2 / 3,
            retry=lease.duration / 7.5,
        )
        elector = LeaseElector(cluster.client, settings)
        self._elector = elector
        acting: asyncio.Task[None] | None = None

        async def lead() -> None:
            nonlocal acting
            acting = asyncio.create_task(self._act())

        async def lose() -> None:
            if acting is not None:
                acting.cancel()
                await asyncio.gather(acting, return_exceptions=True)

        async with elector.taking_part(lead, lose):
            await self._restart.wait()

    async def _act(self) -> None:
        """Watch and tell, until a reload, the stop, or the loss of the Lease."""
        assembly = self._parts()
        engine = Engine(
            self.store,
            assembly.settings.incidents,
            look=self._start_look,
            told=self._wake,
            sinks=[sink.name for sink in assembly.sinks],
            links=self._links,
            mask=mask_text,
            clock=self._clock,
        )
        await engine.load()
        self.engine = engine
        dispatcher = Dispatcher(self.store, assembly.sinks, clock=self._clock)
        self.dispatcher = dispatcher
        self._limit = asyncio.Semaphore(self.config.concurrency)
        self._looked_at.clear()
        self._acting = True
        self._watched_at = self._clock()
        delivering = asyncio.create_task(dispatcher.run())
        tasks = [asyncio.create_task(one) for one in self._work(assembly, engine)]
        waiting = asyncio.create_task(self._restart.wait())
        try:
            await engine.resume()
            done, _ = await asyncio.wait(
                [waiting, delivering, *tasks], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {waiting}:
                task.result()  # none of them ends but by a fault of ours, or of the disk
        finally:
            self._acting = False
            for task in (waiting, *tasks, *self._looks):
                task.cancel()
            await asyncio.gather(waiting, *tasks, *self._looks, return_exceptions=True)
            with contextlib.suppress(asyncio.CancelledError):
                await dispatcher.stop()
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    def _work(self, assembly: Assembly, engine: Engine) -> list[Coroutine[Any, Any, None]]:
        work = [engine.run(), self._watch(assembly, engine), self._prune(assembly)]
        work.extend(self._restarted(one) for one in assembly.background())
        work.extend(
            self._follow(one, engine) for one in assembly.watched.values() if one.proxy is not None
        )
        settings = self.config.watch_settings()
        self.alarms = None
        if assembly.syslog is not None and settings is not None:
            self.alarms = AlarmKeeper(assembly.syslog, self.store, settings, self._clock)
            work.append(self._restarted(self.alarms.run()))
        if assembly.heartbeat is not None:
            beat = Heartbeat(
                assembly.heartbeat, assembly.alertmanagers, lambda: not self.healthy(), self._clock
            )
            work.append(beat.run())
        return work

    async def _restarted(self, work: Coroutine[Any, Any, None]) -> None:
        """Let background work of a source fail without ending the service."""
        try:
            await work
        except Exception:
            log.exception("background_work_broke")
        await asyncio.Event().wait()

    # Watching

    async def _watch(self, assembly: Assembly, engine: Engine) -> None:
        interval = self.config.poll_interval
        while True:
            started = asyncio.get_running_loop().time()
            self._watched_at = self._clock()
            await engine.take(await self._seen(assembly, engine))
            for name, cluster in assembly.clusters.items():
                self._problem(f"cluster {name}", cluster.problem)
            if assembly.syslog is not None:
                self._problem("syslog", assembly.syslog.watcher.problem)
            passed = asyncio.get_running_loop().time() - started
            await asyncio.sleep(max(interval - passed, 0.05))

    async def _seen(self, assembly: Assembly, engine: Engine) -> list[Event]:
        """Return what all sources say now of all targets."""
        said: dict[str, list[Sequence[Event]]] = {}
        poll = await self._poll(assembly)
        if poll is not None:
            for name, events in self._metric(assembly, poll).items():
                said.setdefault(name, []).append(events)
        elif assembly.prometheus is not None:
            problem = self.problems.get("prometheus", "")
            for one in engine.open:
                said.setdefault(one.target, []).append((NoData(target=one.target, reason=problem),))
        for name, watch in self._proxies.items():
            good = watch.good()
            if good is not None:
                said.setdefault(name, []).append((good,))
        now = self._clock()
        for name, (since, bad) in list(self._asked.items()):
            if now - since > ASKED_FOR:
                del self._asked[name]
            else:
                said.setdefault(name, []).append((replace(bad, last_bad=now),))
        return [event for events in said.values() for event in combined(events)]

    async def _poll(self, assembly: Assembly) -> Poll | None:
        if assembly.prometheus is None:
            return None
        try:
            poll = await assembly.prometheus.poll()
        except SourceError as error:
            self._problem("prometheus", str(error))
            return None
        self._problem("prometheus", "; ".join(poll.problems))
        self.polled_at = poll.at
        return poll

    def _metric(self, assembly: Assembly, poll: Poll) -> dict[str, tuple[Event, ...]]:
        triggers = assembly.settings.triggers
        by_target: dict[str, list[Series]] = {}
        for series in poll.series:
            target = target_of(series.labels, assembly.rules, triggers)
            if target is None:
                continue
            place = self._places.get(target.name) or assembly.place(target)
            known = learned(place.target, series)
            self._places[target.name] = replace(place, target=known, grid_step=poll.step)
            by_target.setdefault(target.name, []).append(series)
        self._series = by_target
        return {
            name: read_metric(self._places[name].target, series, triggers)
            for name, series in by_target.items()
        }

    async def _follow(self, watched: Watched, engine: Engine) -> None:
        """Follow a target's proxies; look again and again which there are."""
        name = watched.config.name
        watch = ProxyWatch(watched.place.target, self._parts().settings.triggers)
        self._proxies[name] = watch
        reading: dict[ProxyLog, asyncio.Task[None]] = {}
        since = self._clock()
        refresh = _Refresh(watched.place)
        try:
            while True:
                now = self._clock()
                refs = await self._proxy_refs(watched) if refresh.due(now) else None
                if refs is not None:
                    refresh.done(now)
                    await _ended([reading.pop(one) for one in reading.keys() - set(refs)])
                    for one in refs:
                        if one not in reading:
                            work = self._read_proxy(watched, one, since, watch, engine)
                            reading[one] = asyncio.create_task(work)
                    since = now
                pause = asyncio.create_task(asyncio.sleep(REFS_EVERY))
                try:
                    done, _ = await asyncio.wait(
                        [pause, *reading.values()], return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    pause.cancel()
                for task in done:
                    task.result()  # reading ends by a fault of ours only
        finally:
            self._proxies.pop(name, None)
            await _ended(reading.values())

    async def _proxy_refs(self, watched: Watched) -> list[ProxyLog] | None:
        """Return whose logs to follow; None when that cannot be known now."""
        try:
            refs, _, problems = await self._parts().investigator.proxy_refs(watched.place)
        except SourceError as error:
            refs, problems = [], [str(error)]
        self._problem(f"proxy logs of {watched.config.name}", "; ".join(problems))
        if problems and not refs:
            return None
        return [one for one in refs if not one[0].previous]

    async def _read_proxy(
        self,
        watched: Watched,
        ref: ProxyLog,
        since: float,
        watch: ProxyWatch,
        engine: Engine,
    ) -> None:
        if watched.proxy is None:
            return
        target = self._places[watched.config.name].target
        said = f"proxy log of {ref[2]}"
        follow = watched.proxy.follow(
            target, [ref], since, on_problem=lambda _, problem: self._problem(said, problem)
        )
        try:
            async with aclosing(follow) as requests:
                async for request in requests:
                    bad = watch.add(request, self._clock())
                    if bad is not None:
                        await engine.take([bad])
        finally:
            self.problems.pop(said, None)

    # Looking

    def _start_look(self, incident: Incident, afresh: bool) -> None:
        under_way = self._looked_at.get(incident.id)
        if under_way is not None:
            # It waits for its turn, or for slow sources: another one would not be faster
            if afresh:
                under_way.set()
            return
        self._looked_at[incident.id] = asyncio.Event()
        task = asyncio.create_task(self._look(incident))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self, incident: Incident) -> None:
        engine = self.engine
        if engine is None:
            return
        try:
            looked = await self._investigated(incident, engine)
        finally:
            self._looked_at.pop(incident.id, None)  # what comes of it may be another look
        if looked is None:
            await engine.look_failed(incident)
            return
        verdict = looked.verdict
        log.info(
            "verdict",
            incident=incident.id,
            target=incident.target,
            verdict=verdict.title,
            confidence=verdict.confidence.value,
            unknowns=len(verdict.unknowns),
        )
        await engine.looked(incident, looked)

    async def _investigated(self, incident: Incident, engine: Engine) -> Looked | None:
        """Make a look when it is its turn; None when it comes to nothing."""
        place = self._places.get(incident.target)
        if place is None:  # its target went from the configuration
            return None
        try:
            async with self._limit:
                while True:
                    anomaly = engine.anomaly(incident.id) or incident.anomaly
                    known = with_samples(anomaly, place.target, self._series.get(incident.target))
                    looking = self._parts().investigator.look(place, known)
                    looked = await _unless(looking, self._looked_at[incident.id])
                    if looked is not None:
                        return looked
        except Exception:
            log.exception("look_broke", incident=incident.id)
            return None

    # Telling

    def _wake(self) -> None:
        if self.dispatcher is not None:
            self.dispatcher.wake()

    def _links(self, incident: str) -> dict[str, str]:
        base = self.config.alerts.external_url
        return {"incident": f"{base.rstrip('/')}/incidents/{incident}"} if base else {}

    async def _prune(self, assembly: Assembly) -> None:
        while True:
            while await asyncio.to_thread(self.store.prune, assembly.settings.retention) >= 500:
                await asyncio.sleep(1.0)
            await asyncio.sleep(PRUNE_EVERY)

    # What the pages ask

    def healthy(self) -> str:
        """Return "" while it works: the loop that watches came by not long ago."""
        if self.assembly is None:
            return "starting"
        if self._acting and self._clock() - self._watched_at > HUNG_AFTER:
            return f"nothing was watched for {self._clock() - self._watched_at:.0f} s"
        return ""

    @property
    def watcher(self) -> Watching | None:
        """What watches the hypervisors' syslog."""
        syslog = self.assembly.syslog if self.assembly is not None else None
        return syslog.watcher if syslog is not None else None

    @property
    def acting(self) -> bool:
        """Whether this replica watches and tells."""
        return self._acting

    @property
    def looking(self) -> int:
        """Looks under way, those that wait for their turn too."""
        return len(self._looks)

    def ready(self) -> str:
        """Return "" when it acts, or waits for its turn."""
        if self._acting or (self._elector is not None and not self._elector.is_leader):
            return ""
        return "not acting yet"

    async def reload(self) -> None:
        """Read the configuration again; raise ConfigError, and go on as before."""
        self._notifier.reloading()
        try:
            config = await asyncio.to_thread(self._reload)
            if config.state_dir != self.config.state_dir:
                raise ConfigError(["state_dir: cannot change while it runs: restart"])
            if config.web != self.config.web:
                raise ConfigError(["web: cannot change while it runs: restart"])
            await self._build(config)
            self._refused = False
        except ConfigError as error:
            self._refused = True
            for line in error.problems:
                log.error("reload_failed", problem=line)
            raise
        finally:
            self._notifier.ready(self._status())
        log.info("reloaded", targets=len(config.targets))
        self._restart.set()

    async def asked(self, payload: bytes) -> int:
        """Take Alertmanager's webhook; return how many alerts are about targets."""
        said = parse_payload(payload)
        assembly = self._parts()
        now = self._clock()
        taken = 0
        for question in said.questions:
            event = alert_event(question, assembly.rules, assembly.settings.triggers, now)
            if event is None:
                continue
            taken += 1
            if isinstance(event, Bad):
                self._asked[event.anomaly.target] = (now, event)
                assembly_place = self._places.get(event.anomaly.target)
                if assembly_place is None:
                    target = target_of(question.labels, assembly.rules, assembly.settings.triggers)
                    if target is not None:
                        self._places[target.name] = assembly.place(target)
            elif isinstance(event, Good):
                self._asked.pop(event.target, None)
            if self.engine is not None:
                await self.engine.take([event])
        if taken:
            kept = msgspec.json.encode(self._asked)
            await asyncio.to_thread(self.store.state.put, ASKED, kept)
        return taken

    def _asked_before(self) -> _Asked:
        kept = self.store.state.get(ASKED)
        try:
            return msgspec.json.decode(kept, type=_Asked) if kept else {}
        except msgspec.MsgspecError:  # written by another release; they are told again
            return {}

    async def page(self, incident: str) -> str | None:
        """Return an incident's page, None when there is no such incident."""
        recording = await asyncio.to_thread(recall, self.store, incident)
        return None if recording is None else await asyncio.to_thread(page, recording)

    def _status(self) -> str:
        if self._elector is not None and not self._elector.is_leader:
            return f"standing by: {self._elector.leader or 'nobody'} acts"
        count = len(self.engine.open) if self.engine is not None else 0
        text = f"watching {_many(len(self._places), 'target')}, {_many(count, 'open incident')}"
        if self._refused:
            text += ", the last reload was refused (see the log)"
        sinks = self.dispatcher.status if self.dispatcher is not None else {}
        wrong = self.problems | {name: one.problem for name, one in sinks.items() if one.problem}
        return "; ".join([text, *(f"{name}: {problem}" for name, problem in wrong.items())])

    def _problem(self, source: str, problem: str) -> None:
        """Note what is wrong with a source; say it when it changes."""
        if problem == self.problems.get(source, ""):
            return
        if problem:
            self.problems[source] = problem
            log.warning("source_failed", source=source, problem=problem)
        else:
            self.problems.pop(source, None)
            log.info("source_back", source=source)

    def _parts(self) -> Assembly:
        if self.assembly is None:
            raise RuntimeError("the service has not started")
        return self.assembly


async def _unless(work: Coroutine[Any, Any, T], event: asyncio.Event) -> T | None:
    """Return what comes of the work; None when the event comes before: then it is cancelled."""
    event.clear()
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await _ended([working, waiting])


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


async def serve(config: Config, reload: Callable[[], Config]) -> None:
    """Run a service until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    service = Service(config, reload)
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    async def again() -> None:
        with contextlib.suppress(ConfigError):
            await service.reload()

    def on_hangup() -> None:
        task = asyncio.create_task(again())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    await service.run()
