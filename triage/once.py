"""What commands do once that the service does all the time: a look, a round of questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from triage.assembly import Assembly, Watched, assemble, state_file
from triage.config import Config
from triage.evidence import Anomaly, Outcome, Trigger
from triage.recording import Decision, Record, Recording
from triage.sources.errors import MissingError, SourceError
from triage.sources.syslog import SyslogLooker
from triage.store import Store, StoreError
from triage.triggers import asked_anomaly
from vmmib.configfile import ConfigError


@asynccontextmanager
async def _assembled(config: Config, *, patient: bool = False) -> AsyncIterator[Assembly]:
    """Open the parts of a configuration, with what a service has kept of VMs, if it has."""
    store = None
    if state_file(config).exists():
        store = Store(state_file(config), create=False)
    try:
        assembly = assemble(config, store=store, patient=patient)
        try:
            await assembly.check_files()
            yield assembly
        finally:
            await assembly.close()
    finally:
        if store is not None:
            store.close()


async def investigate(
    config: Config, target: str, at: float, proxy_logs: tuple[str, ...] = ()
) -> Recording:
    """Look once; raise ConfigError or SourceError when there is nothing to look at."""
    known = [one.name for one in config.targets]
    if target not in known:
        names = ", ".join(known) or "none"
        raise ConfigError([f"there is no target {target}; the configured ones are: {names}"])
    if proxy_logs:
        targets = tuple(
            one.model_copy(update={"proxy_files": proxy_logs}) if one.name == target else one
            for one in config.targets
        )
        config = config.model_copy(update={"targets": targets})
    async with _assembled(config, patient=True) as assembly:
        watched = assembly.watched[target]
        anomaly, problem = await _anomaly(assembly, target, at)
        looked = await assembly.investigator.look(watched.place, anomaly)
    evidence = looked.evidence
    if problem:
        look = replace(evidence.metric.look, problems=(*evidence.metric.look.problems, problem))
        evidence = replace(evidence, metric=replace(evidence.metric, look=look))
    verdict = looked.verdict
    record = Record(
        id="by-hand",
        target=target,
        opened=anomaly.time,
        closed=anomaly.ended,
        status="investigated",
        cause=verdict.cause,
        reason=verdict.reason,
        title=verdict.title,
        confidence=verdict.confidence,
        object=verdict.object,
    )
    limits = assembly.settings.limits
    return Recording(
        record=record, looks=(Decision(evidence=evidence, verdict=verdict),), limits=limits
    )


async def _anomaly(assembly: Assembly, target: str, at: float) -> tuple[Anomaly, str]:
    """Return the outage that a question about a time means, and why Prometheus could not say.

    Raises MissingError for a time that Prometheus has nothing about.
    """
    watched = assembly.watched[target]
    if assembly.prometheus is None:
        return asked_anomaly(watched.place.target, at, Trigger.MANUAL), ""
    try:
        anomaly = await assembly.prometheus.outage(
            watched.rule, at, Trigger.MANUAL, assembly.settings.triggers
        )
    except MissingError:
        raise
    except SourceError as error:
        return asked_anomaly(watched.place.target, at, Trigger.MANUAL), str(error)
    return anomaly, ""


def problems(recording: Recording) -> list[str]:
    """Return one line for each thing that could not be looked at and was needed."""
    shown = recording.standing
    if shown is None:
        return []
    found = [
        f"{step.step.value}: {step.summary}"
        for step in shown.verdict.steps
        if step.outcome is Outcome.FAILED
    ]
    found += [
        f"hypervisor {one.name}: {one.problem}"
        for one in shown.evidence.vm.hypervisors
        if not one.answered
    ]
    return list(dict.fromkeys(found))


Line = tuple[bool, str]
"""Whether it is well, and what is said of it."""


async def check(config: Config, *, ask: bool = True) -> list[Line]:
    """Return a line for each part of a configuration; raise ConfigError when it is not valid."""
    config.receiver_settings()
    lines: list[Line] = [(True, f"configuration: valid, targets: {len(config.targets)}")]
    try:
        async with _assembled(config) as assembly:
            if ask:
                lines += await _asked(assembly)
    except StoreError as error:
        lines.append((False, str(error)))
    return lines


async def _asked(assembly: Assembly) -> list[Line]:
    asked: list[Awaitable[Line]] = []
    if assembly.prometheus is not None:
        asked.append(_answer("prometheus", assembly.prometheus.check))
    asked.extend(_answer(f"cluster {name}", one.check) for name, one in assembly.clusters.items())
    lines = list(await asyncio.gather(*asked))
    if assembly.vms is not None:
        for answer in await assembly.vms.check():
            said = f"{answer.software}, VMs: {answer.vm_number}" if answer.answered else ""
            lines.append((answer.answered, f"hypervisor {answer.name}: {said or answer.problem}"))
    if assembly.syslog is not None:
        lines += await _syslog(assembly.syslog)
    lines += await asyncio.gather(
        *(_proxy_logs(assembly, one) for one in assembly.watched.values() if one.proxy is not None)
    )
    lines.extend(
        (True, f"alerts to {sink.name}: none was sent to try it") for sink in assembly.sinks
    )
    return lines


async def _syslog(looker: SyslogLooker) -> list[Line]:
    """Whether the hypervisors' logs can be read, and which hypervisors have lines in them."""
    said, wrong = await looker.watcher.check()
    lines: list[Line] = [(True, f"syslog: {said}")] if said else []
    lines += [(False, f"syslog: {problem}") for problem in wrong]
    if not said:
        return lines
    names = looker.names()
    for one in looker.hypervisors:
        hosts = names.hosts_of.get(one.name)
        if hosts:
            lines.append((True, f"syslog of hypervisor {one.name}: {', '.join(hosts)}"))
        elif not any(f"hypervisor {one.name} " in problem for problem in names.problems):
            lines.append((False, f"syslog of hypervisor {one.name}: no line: set its syslog_hosts"))
    lines += [(False, f"syslog: {problem}") for problem in names.problems]
    return lines


async def _proxy_logs(assembly: Assembly, watched: Watched) -> Line:
    """Whether a target has proxies: a misspelt service is no error, but nothing is seen of it."""
    name, place = watched.config.name, watched.place
    refs, _, problems = await assembly.investigator.proxy_refs(place)
    if problems:
        return False, f"target {name}: {'; '.join(problems)}"
    if refs:
        return True, f"target {name}: proxy logs: {len(refs)}"
    where = f" of {place.selector.shown}" if place.selector is not None else ""
    container = watched.config.proxy_container
    return False, f"target {name}: no pod{where} has a container {container}: no proxy log to read"


async def _answer(name: str, ask: Callable[[], Awaitable[str]]) -> Line:
    try:
        return True, f"{name}: {await ask()}"
    except SourceError as error:
        return False, f"{name}: {error}"
