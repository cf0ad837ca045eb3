"""Incidents as JSON for programs (`triage incidents --json`, `triage show ID --json`).

The keys are the ones below and stay as they are; new ones may come. Times are seconds since 1970,
durations seconds, what is not known is null, enumerations are their documented names.

    triage incidents --json
    {"incidents": [INCIDENT]}

    INCIDENT = {"id", "target", "status", "severity", "opened", "closed", "seconds", "outages",
                "cause", "reason", "title", "confidence", "object"}

    triage show ID --json
    {"incident": INCIDENT,
     "verdict": null or VERDICT,          the one that stands
     "history": [VERDICT],                all, oldest first
     "notes": [{"time", "text"}],
     "target": {"name", "url", "method", "cluster", "namespace", "scrape_interval",
                "probe_timeout"},
     "anomaly": {"trigger", "time", "status", "last_good", "ended", "labels",
                 "samples": [{"time", "value"}]},
     "steps": [{"step", "outcome", "summary", "lag", "window": null or WINDOW, "source",
                "problems": [text]}],
     "product"}

    VERDICT = {"cause", "reason", "title", "summary", "object", "confidence", "policy",
               "decided_at", "unknowns": [text],
               "proofs": [{"step", "time", "source", "text", "deciding"}]}
    WINDOW = {"start", "end", "reason"}

"seconds" is null while an incident lasts. "target", "anomaly" and "steps" are those of the look
whose verdict stands: null, null and [] before the first. The whole evidence is in `triage export`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from triage.evidence import Anomaly, Evidence, StepResult, Verdict, Window
from triage.recording import Record, Recording


def incidents_data(records: Iterable[Record]) -> dict[str, Any]:
    """Return the list as documented above."""
    return {"incidents": [_record(record) for record in records]}


def incident_data(recording: Recording) -> dict[str, Any]:
    """Return one incident as documented above."""
    shown = recording.standing
    evidence = shown.evidence if shown else None
    return {
        "incident": _record(recording.record),
        "verdict": _verdict(shown.verdict) if shown else None,
        "history": [_verdict(look.verdict) for look in recording.looks],
        "notes": [{"time": _number(note.time), "text": note.text} for note in recording.notes],
        "target": _target(evidence) if evidence else None,
        "anomaly": _anomaly(recording.outage) if recording.outage else None,
        "steps": [_step(one, shown.evidence) for one in shown.verdict.steps] if shown else [],
        "product": recording.product,
    }


def _number(value: float | None) -> float | None:
    """Return a number that JSON can say."""
    return value if value is not None and math.isfinite(value) else None


def _record(record: Record) -> dict[str, Any]:
    lasted = None if record.closed is None else record.closed - record.opened
    return {
        "id": record.id,
        "target": record.target,
        "status": str(record.status),
        "severity": str(record.severity) or None,
        "opened": _number(record.opened),
        "closed": _number(record.closed),
        "seconds": _number(lasted),
        "outages": record.outages,
        "cause": str(record.cause) or None,
        "reason": str(record.reason) or None,
        "title": record.title or None,
        "confidence": str(record.confidence) or None,
        "object": record.object or None,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "cause": verdict.cause.value,
        "reason": verdict.reason or None,
        "title": verdict.title,
        "summary": verdict.summary,
        "object": verdict.object or None,
        "confidence": verdict.confidence.value,
        "policy": verdict.policy.value,
        "decided_at": _number(verdict.decided_at),
        "unknowns": list(verdict.unknowns),
        "proofs": [
            {
                "step": proof.step.value,
                "time": _number(proof.time),
                "source": proof.source,
                "text": proof.text,
                "deciding": proof.deciding,
            }
            for proof in verdict.proofs
        ],
    }


def _target(evidence: Evidence) -> dict[str, Any]:
    target = evidence.target
    return {
        "name": target.name,
        "url": target.url or None,
        "method": target.method,
        "cluster": target.cluster or None,
        "namespace": target.namespace or None,
        "scrape_interval": _number(target.scrape_interval),
        "probe_timeout": _number(target.probe_timeout),
    }


def _anomaly(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "trigger": anomaly.trigger.value,
        "time": _number(anomaly.time),
        "status": anomaly.status,
        "last_good": _number(anomaly.last_good),
        "ended": _number(anomaly.ended),
        "labels": dict(anomaly.labels),
        "samples": [
            {"time": _number(sample.time), "value": _number(sample.value)}
            for sample in anomaly.samples
        ],
    }


def _step(result: StepResult, evidence: Evidence) -> dict[str, Any]:
    look = getattr(evidence, result.step.value).look
    return {
        "step": result.step.value,
        "outcome": result.outcome.value,
        "summary": result.summary,
        "lag": _number(result.lag),
        "window": _window(result.window),
        "source": look.source or None,
        "problems": list(look.problems),
    }


def _window(window: Window | None) -> dict[str, Any] | None:
    if window is None:
        return None
    return {
        "start": _number(window.start),
        "end": _number(window.end),
        "reason": window.reason or None,
    }
