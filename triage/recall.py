"""From the state file to a recording: what the commands and the pages show of an incident."""

from __future__ import annotations

from triage.recording import Decision, Note, Recording, record_of
from triage.store import Store
from vmmib.configfile import ConfigError


def find(store: Store, text: str) -> str:
    """Return the id of the incident that `text` begins; raise ConfigError when none or several."""
    found = store.incidents.starting_with(text)
    if text in found:
        return text
    if not found:
        raise ConfigError([f"there is no incident {text}: `triage incidents` lists them"])
    if len(found) > 1:
        raise ConfigError([f"{text} is the beginning of several: {', '.join(found[:5])}"])
    return found[0]


def recall(store: Store, incident: str) -> Recording | None:
    """Return an incident with all its looks, None when there is none; raise StoreError."""
    record = store.incidents.get(incident)
    if record is None:
        return None
    looks = store.incidents.looks(incident)
    best = record.best
    stands = next(
        (
            place
            for place, one in enumerate(looks)
            if best is not None and one.verdict.decided_at == best.time
        ),
        None,
    )
    notes = []
    if record.confirmed_at is not None:
        notes.append(Note(time=record.confirmed_at, text="confirmed"))
    for _, event, sink, state, at, error in store.outbox.of_incident(incident):
        if at is not None:
            said = f"{event} {state} at {sink}" + (f": {error}" if error else "")
            notes.append(Note(time=at, text=said))
    if record.closed_at is not None:
        notes.append(Note(time=record.closed_at, text=f"closed: {record.closed_because}"))
    return Recording(
        record=record_of(record),
        anomaly=record.anomaly,
        looks=tuple(Decision(evidence=one.evidence, verdict=one.verdict) for one in looks),
        stands=stands,
        notes=tuple(sorted(notes, key=lambda one: one.time)),
    )
