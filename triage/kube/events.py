"""Kubernetes events, from core/v1 objects as the API gives them. Pure.

An event is a series that is written over as it goes on: `count` and `lastTimestamp` (client-go's
old recorder), `series.count` and `series.lastObservedTime` (the new one), or `eventTime` alone
(the scheduler). The time here is the latest that it carries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

from triage.evidence import KubeEvent, Window
from triage.kube.values import Json, as_dict, as_int, as_str, cut, meta, parse_time

ASSIGNED = re.compile(r"Successfully assigned (\S+?)/(\S+) to (\S+)")

Key = tuple[str, str]
"""Kind and name of what an event is about: ("Pod", "front-0")."""


def key_of(event: Json) -> Key:
    """What it is about."""
    about = as_dict(event.get("involvedObject"))
    return as_str(about.get("kind")), as_str(about.get("name"))


def read_event(event: Json) -> KubeEvent | None:
    """Give the event; None when nothing in it tells when."""
    series = as_dict(event.get("series"))
    about = as_dict(event.get("involvedObject"))
    times = [
        parse_time(value)
        for value in (
            series.get("lastObservedTime"),
            event.get("lastTimestamp"),
            event.get("eventTime"),
            event.get("firstTimestamp"),
        )
    ]
    known = [time for time in times if time is not None]
    created = parse_time(meta(event).get("creationTimestamp"))
    last = max(known, default=created)
    if last is None:
        return None
    namespace = as_str(about.get("namespace"))
    place = [as_str(about.get("kind")), namespace, as_str(about.get("name"))]
    return KubeEvent(
        time=last,
        first=min(known, default=created),
        type=as_str(event.get("type")) or "Normal",
        reason=as_str(event.get("reason")),
        message=cut(event.get("message")),
        count=max(as_int(event.get("count")), as_int(series.get("count")), 1),
        object="/".join(filter(None, place)),
        container=as_str(about.get("fieldPath")),
    )


def read_events(
    events: Iterable[Json], window: Window | None, keys: Set[Key] | None = None, *, limit: int
) -> tuple[KubeEvent, ...]:
    """Give those about `keys` (None: all) in or after the window, oldest first.

    Of more than `limit`, the warnings and then the newest are kept.
    """
    start = window.start if window else float("-inf")
    wanted = (e for e in events if keys is None or key_of(e) in keys)
    read = [e for e in map(read_event, wanted) if e is not None and e.time >= start]
    read.sort(key=lambda e: (e.type == "Warning", e.time), reverse=True)
    return tuple(sorted(read[:limit], key=lambda e: (e.time, e.object, e.reason)))


def assigned_node(event: Json) -> str:
    """The node that a Scheduled event names, or the one that sent a kubelet's event; or ""."""
    found = ASSIGNED.search(as_str(event.get("message")))
    if found:
        return found[3].rstrip(".")
    source = as_dict(event.get("source"))
    return as_str(source.get("host")) if source.get("component") == "kubelet" else ""
