"""What happened when, on one axis: marks, spans and windows by layer. Pure; nothing is drawn here.

Rules
- A lane for each step of the cascade, in its order, and one for what triage itself did.
- All looks of an incident count: a log that the last look could not read any more was read by an
  earlier one. The same thing seen twice is one mark.
- A lane whose step could not look, or did not need to, says so; it is never just empty.
- `zoomed` chooses the span to draw: the outage, what decided, and a scrape or two on both sides.
  What lies outside is counted, not lost (`Lane.before`, `Lane.after`).
- `bucketed` keeps the number of marks bounded: neighbours become one that tells how many it is,
  as bad as the worst of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from triage.evidence import (
    AppEvidence,
    AppLine,
    AppLineKind,
    ContainerState,
    Evidence,
    KubeEvent,
    Match,
    MetricEvidence,
    NodeEvidence,
    NodeState,
    Outcome,
    PodEvidence,
    PodState,
    Proof,
    ProxyEvidence,
    ProxyRequest,
    Step,
    SyslogFinding,
    SyslogKind,
    VmEvidence,
    VmOperState,
    Window,
)
from triage.recording import Recording
from triage.views.words import LAYERS, moment, relative, span, status_word

FAR = 900.0
"""Seconds beyond the outage from which even what decided is not drawn, but counted."""
LEAST = 10.0
"""Seconds that the axis is long at least."""


class Level(IntEnum):
    """How bad a mark is; the greater, the worse."""

    INFO = 0
    GOOD = 1
    WARNING = 2
    BAD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened at a time, or began then and took a while."""

    time: float
    text: str
    """One line, for the table and the tooltip."""
    label: str = ""
    """A few characters, to be written beside it."""
    level: Level = Level.INFO
    end: float | None = None
    """When it was over, where it took a while."""
    deciding: bool = False
    count: int = 1
    """How many it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A state that held for a while."""

    start: float
    end: float
    label: str
    level: Level = Level.BAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One layer."""

    name: str
    step: Step | None = None
    """None: what triage did."""
    marks: tuple[Mark, ...] = ()
    """In order of time."""
    spans: tuple[Span, ...] = ()
    window: Window | None = None
    outcome: Outcome = Outcome.RAN
    note: str = ""
    """Why it is empty or incomplete: "could not look: ..."; "" when it looked and saw all."""
    before: int = 0
    """Marks that lie before the drawn span."""
    after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All lanes on one axis."""

    start: float
    end: float
    zero: float
    """The anomaly: T."""
    ended: float | None
    lanes: tuple[Lane, ...]


def timeline(recording: Recording) -> Timeline | None:
    """Return an incident's timeline; None while nothing was looked at."""
    shown = recording.standing
    if shown is None:
        return None
    deciding = [proof for look in recording.looks for proof in look.verdict.proofs]
    lanes = tuple(_lane(recording, step, deciding) for step in Step)
    lanes = (*lanes, _own_lane(recording))
    return _zoomed(lanes, shown.evidence, recording.record.closed)


def _lane(recording: Recording, step: Step, proofs: Sequence[Proof]) -> Lane:
    looks = [look.evidence for look in recording.looks]
    latest = looks[-1]
    marks: dict[Mark, None] = {}
    for evidence in looks:
        marks.update(dict.fromkeys(_MARKS[step](evidence)))
    if step is Step.METRIC and recording.anomaly is not None:
        known = replace(latest, anomaly=recording.anomaly)
        marks.update(dict.fromkeys(_metric(known)))
    look = getattr(latest, step.value).look
    own = [proof for proof in proofs if proof.step is step]
    return Lane(
        name=LAYERS[step],
        step=step,
        marks=tuple(sorted(_real(_decided(marks, own)), key=lambda mark: mark.time)),
        spans=tuple(_SPANS[step](latest)) if step in _SPANS else (),
        window=look.window,
        outcome=look.outcome,
        note=_note(look.outcome, look.problems),
    )


def _note(outcome: Outcome, problems: tuple[str, ...]) -> str:
    why = "; ".join(problems)
    match outcome:
        case Outcome.FAILED:
            return f"could not look: {why or 'no reason given'}"
        case Outcome.SKIPPED:
            return f"not looked: {why or 'not needed'}"
    return f"seen in part: {why}" if why else ""


def _decided(marks: Iterable[Mark], proofs: Sequence[Proof]) -> Iterator[Mark]:
    """Give the marks, those that decided marked as such, and proofs that no mark stands for."""
    shown = list(marks)
    times = {proof.time for proof in proofs if proof.deciding and proof.time is not None}
    yield from (replace(mark, deciding=True) if mark.time in times else mark for mark in shown)
    seen = {mark.time for mark in shown}
    for proof in proofs:
        if proof.time is not None and proof.time not in seen:
            yield Mark(
                time=proof.time,
                text=f"{proof.source}: {proof.text}",
                level=Level.BAD if proof.deciding else Level.INFO,
                deciding=proof.deciding,
            )


def _real(marks: Iterable[Mark]) -> Iterable[Mark]:
    """Drop what can be no time: a hostile or damaged line may carry any number."""
    return {mark: None for mark in marks if moment(mark.time) is not None}


def _own_lane(recording: Recording) -> Lane:
    marks = [
        Mark(
            time=look.verdict.decided_at,
            text=f"verdict: {look.verdict.title} ({look.verdict.confidence})",
            label=look.verdict.title,
        )
        for look in recording.looks
    ]
    marks += [Mark(time=note.time, text=note.text) for note in recording.notes]
    return Lane(
        name="triage",
        marks=tuple(sorted(_real(marks), key=lambda mark: mark.time)),
    )


# Marks by step


def _metric(evidence: Evidence) -> Iterator[Mark]:
    good = evidence.target.good
    for sample in evidence.anomaly.samples:
        word = status_word(sample.value)
        fine = sample.value in good
        yield Mark(
            time=sample.time,
            text=f"sample: {word}",
            label=word,
            level=Level.GOOD if fine else Level.WARNING if sample.value is None else Level.BAD,
        )


def _proxy(evidence: Evidence) -> Iterator[Mark]:
    proxy: ProxyEvidence = evidence.proxy
    good = evidence.target.good
    for request in proxy.requests:
        fine = request.status in good and not request.flags
        own = request.match is not Match.OTHER
        yield Mark(
            time=request.time,
            end=request.end if request.duration_ms else None,
            text=_request(request),
            label=_code(request),
            level=Level.GOOD if fine else Level.BAD if own else Level.WARNING,
        )
    for line in proxy.errors:
        yield Mark(time=line.time, text=f"{line.pod}: {line.text}", level=Level.WARNING)


def _code(request: ProxyRequest) -> str:
    status = "-" if request.status is None else str(request.status)
    return f"{status} {','.join(request.flags)}".rstrip()


_WHOSE = {
    Match.OWN: "monitor's request",
    Match.LIKELY: "likely the monitor's request",
    Match.OTHER: "another client's request",
}


def _request(request: ProxyRequest) -> str:
    asked = f"{request.method or '-'} {request.path or '-'}"
    took = "" if request.duration_ms is None else f", {span(request.duration_ms / 1000)}"
    details = f" {request.details}" if request.details else ""
    role = f"{request.role} " if request.pod else ""
    return (
        f"{_WHOSE[request.match]}: {asked} → {_code(request)}{details}{took}"
        f" ({role}{request.pod or request.role})"
    )


def _app(evidence: Evidence) -> Iterator[Mark]:
    app: AppEvidence = evidence.app
    for line in app.lines:
        yield Mark(
            time=line.line.time,
            text=f"{_place(line)}: {line.line.text}" + (f" [{line.why}]" if line.why else ""),
            label=_app_label(line),
            level=_app_level(line, evidence.target.good),
        )


def _place(line: AppLine) -> str:
    names = (line.line.pod, line.line.container)
    return "/".join(name for name in names if name) + (" (previous)" if line.line.previous else "")


def _app_label(line: AppLine) -> str:
    if line.noise is not None:
        return "noise"
    if line.kind is AppLineKind.ACCESS:
        return f"{line.method or ''} {line.status or ''}".strip()
    return line.level or ""


def _app_level(line: AppLine, good: tuple[int, ...]) -> Level:
    if line.noise is not None:
        return Level.INFO
    if line.score >= 0.5:
        return Level.BAD
    if line.score > 0:
        return Level.WARNING
    if line.kind is AppLineKind.ACCESS and line.status in good:
        return Level.GOOD
    return Level.INFO


def _event(event: KubeEvent) -> Mark:
    times = f" ({event.count} times)" if event.count > 1 else ""
    return Mark(
        time=event.time,
        text=f"event on {event.object}: {event.reason}: {event.message}{times}",
        label=event.reason,
        level=Level.INFO if event.type == "Normal" else Level.WARNING,
    )


def _pod(evidence: Evidence) -> Iterator[Mark]:
    pods: PodEvidence = evidence.pod
    yield from (_event(event) for event in pods.events)
    for pod in pods.pods:
        yield from _pod_changes(pod)
        for container in pod.containers:
            yield from _container_changes(pod, container)


def _pod_changes(pod: PodState) -> Iterator[Mark]:
    name = f"{pod.namespace}/{pod.name}"
    if pod.created is not None:
        yield Mark(time=pod.created, text=f"{name} created", label="created")
    if pod.deleted is not None:
        yield Mark(
            time=pod.deleted, text=f"{name} is deleted", label="deleted", level=Level.WARNING
        )
    if pod.ready_since is not None and pod.ready is not None:
        why = f" ({pod.not_ready_reason})" if pod.not_ready_reason else ""
        yield Mark(
            time=pod.ready_since,
            text=f"{name} {'ready' if pod.ready else 'not ready'}{why}",
            label="ready" if pod.ready else "not ready",
            level=Level.GOOD if pod.ready else Level.BAD,
        )


def _container_changes(pod: PodState, container: ContainerState) -> Iterator[Mark]:
    name = f"{pod.namespace}/{pod.name}/{container.name}"
    for ended in (container.last, container.current):
        if ended is None or ended.finished_at is None:
            continue
        fine = ended.exit_code == 0
        code = "" if ended.exit_code is None else f", exit code {ended.exit_code}"
        yield Mark(
            time=ended.finished_at,
            text=f"{name} ended: {ended.reason or 'no reason given'}{code}",
            label=ended.reason or "ended",
            level=Level.INFO if fine else Level.BAD,
        )
    if container.started_at is not None:
        yield Mark(time=container.started_at, text=f"{name} started", label="started")


def _node(evidence: Evidence) -> Iterator[Mark]:
    nodes: NodeEvidence = evidence.node
    yield from (_event(event) for event in nodes.events)
    for node in nodes.nodes:
        yield from _node_changes(node)


def _node_changes(node: NodeState) -> Iterator[Mark]:
    for condition in node.conditions:
        if condition.changed_at is None:
            continue
        fine = (condition.status == "True") == (condition.type == "Ready")
        why = ": ".join(part for part in (condition.reason, condition.message) if part)
        yield Mark(
            time=condition.changed_at,
            text=f"{node.name} {condition.type}={condition.status}" + (f" ({why})" if why else ""),
            label=f"{condition.type}={condition.status}",
            level=Level.GOOD if fine and condition.status != "Unknown" else Level.BAD,
        )
    if node.lease_renewed_at is not None:
        yield Mark(
            time=node.lease_renewed_at, text=f"{node.name} renewed its lease last", label="lease"
        )


_VM_WELL = {"vmRunning", "coldStart", "warmStart", "linkUp"}


def _vm(evidence: Evidence) -> Iterator[Mark]:
    vm: VmEvidence = evidence.vm
    for one in vm.notifications:
        yield Mark(
            time=one.time,
            text=f"notification from {one.hypervisor or one.sender}: {one.text or one.name}",
            label=one.name,
            level=Level.GOOD if one.name in _VM_WELL else Level.BAD,
        )
    for state in vm.vms:
        name = f"{state.name or state.uuid} on {state.hypervisor}"
        fine = state.oper_state is VmOperState.RUNNING
        yield Mark(
            time=state.asked_at,
            text=f"{name} is {state.oper_state}",
            label=state.oper_state,
            level=Level.GOOD if fine else Level.BAD,
        )
        if fine and state.up_seconds is not None:
            began = state.asked_at - state.up_seconds
            yield Mark(time=began, text=f"{name} up since then", label="up")


_SYSLOG_LEVELS = {
    SyslogKind.RESTART: Level.BAD,
    SyslogKind.SILENCE: Level.BAD,
    SyslogKind.OUTAGE: Level.BAD,
    SyslogKind.CHANGE: Level.INFO,
    SyslogKind.SCAN: Level.INFO,
}


def _syslog(evidence: Evidence) -> Iterator[Mark]:
    """A mark for each line of what is unusual; one of a finding that no line shows."""
    for one in evidence.syslog.findings:
        kind = _syslog_label(one)
        level = _SYSLOG_LEVELS.get(one.kind, Level.WARNING)
        for line in one.lines:
            yield Mark(
                time=line.time,
                text=f"{one.hypervisor}, {kind}: {line.text}",
                label=kind,
                level=level,
            )
        if not one.lines:
            yield Mark(
                time=one.start,
                text=f"{one.hypervisor}, {kind}: {one.summary}",
                label=kind,
                level=level,
                end=one.end if one.end > one.start else None,
            )


def _syslog_label(one: SyslogFinding) -> str:
    return one.kind.value.replace("_", " ").removesuffix(" template")


_MARKS = {
    Step.METRIC: _metric,
    Step.PROXY: _proxy,
    Step.APP: _app,
    Step.POD: _pod,
    Step.NODE: _node,
    Step.VM: _vm,
    Step.SYSLOG: _syslog,
}


# States that held for a while


def _metric_spans(evidence: Evidence) -> Iterator[Span]:
    metric: MetricEvidence = evidence.metric
    if metric.up is False:
        yield Span(
            start=evidence.anomaly.time,
            end=evidence.decided_at,
            label="exporter down",
            level=Level.WARNING,
        )


def _pod_spans(evidence: Evidence) -> Iterator[Span]:
    for pod in evidence.pod.pods:
        if pod.ready is False and pod.ready_since is not None:
            yield Span(start=pod.ready_since, end=evidence.decided_at, label="not ready")


def _node_spans(evidence: Evidence) -> Iterator[Span]:
    for node in evidence.node.nodes:
        for condition in node.conditions:
            bad = condition.type == "Ready" and condition.status != "True"
            if bad and condition.changed_at is not None:
                yield Span(start=condition.changed_at, end=evidence.decided_at, label="not ready")


def _vm_spans(evidence: Evidence) -> Iterator[Span]:
    """Give the times between a notification that a VM stopped and one that it runs."""
    since: dict[tuple[str, int | None], tuple[float, str]] = {}
    for one in evidence.vm.notifications:
        key = (one.hypervisor, one.vm_index)
        if one.name == "vmRunning":
            if key in since:
                start, name = since.pop(key)
                yield Span(start=start, end=one.time, label=name)
        elif one.name.startswith("vm"):
            since.setdefault(key, (one.time, one.name.removeprefix("vm").lower()))
    for start, name in since.values():
        yield Span(start=start, end=evidence.decided_at, label=name)


def _syslog_spans(evidence: Evidence) -> Iterator[Span]:
    for one in evidence.syslog.findings:
        if one.end > one.start and one.kind in {SyslogKind.SILENCE, SyslogKind.OUTAGE}:
            yield Span(
                start=one.start,
                end=one.end,
                label=_syslog_label(one),
                level=_SYSLOG_LEVELS[one.kind],
            )


_SPANS = {
    Step.METRIC: _metric_spans,
    Step.POD: _pod_spans,
    Step.NODE: _node_spans,
    Step.VM: _vm_spans,
    Step.SYSLOG: _syslog_spans,
}


# The drawn part of the axis


def _zoomed(lanes: tuple[Lane, ...], evidence: Evidence, closed: float | None) -> Timeline:
    zero = evidence.anomaly.time
    # Evidence is not taken again once a verdict is certain: the incident knows of the end
    ended = closed if closed is not None else evidence.anomaly.ended
    if moment(zero) is None:
        zero = 0.0
    if ended is not None and (moment(ended) is None or ended < zero):
        ended = None
    start, end = _bounds(lanes, evidence, zero, ended)
    cut = tuple(
        replace(
            lane,
            marks=tuple(mark for mark in lane.marks if start <= mark.time <= end),
            before=sum(mark.time < start for mark in lane.marks),
            after=sum(mark.time > end for mark in lane.marks),
        )
        for lane in lanes
    )
    return Timeline(start=start, end=end, zero=zero, ended=ended, lanes=cut)


def _bounds(
    lanes: tuple[Lane, ...], evidence: Evidence, zero: float, ended: float | None
) -> tuple[float, float]:
    step = max(1.0, min(evidence.target.scrape_interval, 300.0))
    good = evidence.anomaly.last_good
    first = zero - step if good is None else min(max(good, zero - FAR), zero)
    now = evidence.decided_at if moment(evidence.decided_at) is not None else zero
    last = ended if ended is not None else max(now, zero)
    decided = [
        mark.time
        for lane in lanes
        for mark in lane.marks
        if mark.deciding and first - FAR <= mark.time <= last + FAR
    ]
    start, end = min([first, *decided]), max([last, *decided])
    soon = end + max(60.0, (end - start) / 2)
    ours = [mark.time for mark in lanes[-1].marks if start <= mark.time <= soon]
    end = max([end, *ours])
    margin = max(step, (end - start) * 0.06, (LEAST - (end - start)) / 2)
    return start - margin, end + margin


def bucketed(marks: Sequence[Mark], width: float) -> list[Mark]:
    """Join marks that begin within `width` seconds of the first of them.

    Marks are in order of time, and so is the result: its members are `width` apart at least. A
    joined mark has the first one's time, the worst one's label and level, and the number of all.
    """
    groups: list[list[Mark]] = []
    for mark in marks:
        if groups and mark.time - groups[-1][0].time < width:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return [_joined(group) for group in groups]


def _joined(group: list[Mark]) -> Mark:
    if len(group) == 1:
        return group[0]
    worst = max(group, key=lambda mark: (mark.deciding, mark.level))
    ends = [mark.end for mark in group if mark.end is not None]
    texts = list(dict.fromkeys(mark.text for mark in group))
    more = f" ... and {len(texts) - 3} more" if len(texts) > 3 else ""
    return replace(
        worst,
        time=group[0].time,
        end=max(ends) if ends else None,
        count=sum(mark.count for mark in group),
        text="; ".join(texts[:3]) + more,
    )


def table(whole: Timeline, limit: int) -> tuple[list[tuple[str, str, Mark]], int]:
    """Return rows (time, layer, mark) in order of time, and how many were left out.

    What decided and what is worse stays when there are more than `limit`.
    """
    rows = [(lane.name, mark) for lane in whole.lanes for mark in lane.marks]
    kept = sorted(rows, key=lambda row: (not row[1].deciding, -row[1].level))[:limit]
    kept.sort(key=lambda row: row[1].time)
    return (
        [(relative(mark.time, whole.zero), name, mark) for name, mark in kept],
        len(rows) - len(kept),
    )
