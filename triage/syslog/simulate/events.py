"""Which message each host writes when: by itself, by the clock, and by cause.

Theory of operation
- What comes by itself is drawn for each (host, day) from that pair's own random stream: counts from
  a Poisson distribution with the rate of (host, message), or clusters of them; minutes of the day
  from the message's load curve.
- Jobs come by the clock: phase and jitter are the host's.
- Effects follow wave by wave: every event alive draws each of its node's edges by a hash of the
  event's own number and the edge, so that it does not matter in what order hosts are computed.
- What a host cannot write (it is down, not there yet, cut off) falls out before its effects do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triage.syslog.simulate.fleet import DEPTH, Fleet
from triage.syslog.simulate.variables import mixed, uniform

DAY = 86_400_000
MINUTES = 1440


@dataclass(frozen=True, slots=True)
class Events:
    """Columns of equal length."""

    time: NDArray[np.int64]
    """True time, ms since 1970."""
    host: NDArray[np.int64]
    message: NDArray[np.int64]
    uid: NDArray[np.uint64]
    """The event's own number."""
    root: NDArray[np.uint64]
    """The number of the event that its chain began with."""

    def __len__(self) -> int:
        return len(self.time)

    def where(self, choice: NDArray[np.bool_] | NDArray[np.int64]) -> Events:
        """Return the chosen rows."""
        return Events(
            self.time[choice], self.host[choice], self.message[choice], self.uid[choice],
            self.root[choice],
        )  # fmt: skip


def joined(parts: list[Events]) -> Events:
    """Return all rows."""
    if not parts:
        return made([], 0)
    return Events(
        np.concatenate([p.time for p in parts]),
        np.concatenate([p.host for p in parts]),
        np.concatenate([p.message for p in parts]),
        np.concatenate([p.uid for p in parts]),
        np.concatenate([p.root for p in parts]),
    )


def made(rows: list[tuple[float, int, int]], salt: int) -> Events:
    """Return events of (ms, host, message) rows; the salt keeps their numbers apart."""
    count = len(rows)
    numbers = np.arange(count, dtype=np.uint64)
    uid = mixed(numbers + mixed(np.full(count, salt, np.uint64)))
    return Events(
        np.array([round(row[0]) for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.int64),
        uid,
        uid,
    )


@dataclass(frozen=True, slots=True)
class Absences:
    """When hosts write nothing: (from, until) in ms, a list for each host, and partial loss."""

    away: tuple[tuple[tuple[int, int], ...], ...]
    lossy: tuple[tuple[tuple[int, int, float], ...], ...]
    """(from, until, share lost on the way), for each host: written, but never received."""

    def writes(self, events: Events) -> NDArray[np.bool_]:
        """Return which events' hosts are there at their time."""
        alive = np.ones(len(events), np.bool_)
        for host, spans in enumerate(self.away):
            if spans:
                of_host = events.host == host
                for start, end in spans:
                    alive &= ~(of_host & (events.time >= start) & (events.time < end))
        return alive

    def arrives(self, events: Events, loss: float) -> NDArray[np.bool_]:
        """Return which events' lines reach the log."""
        chance = np.full(len(events), loss)
        for host, spans in enumerate(self.lossy):
            for start, end, share in spans:
                inside = (events.host == host) & (events.time >= start) & (events.time < end)
                chance[inside] = np.maximum(chance[inside], share)
        return uniform(events.uid ^ np.uint64(0x10551055)) >= chance


_OFFICE = (2, 1, 1, 1, 1, 2, 3, 5, 8, 12, 14, 14, 11, 13, 14, 14, 13, 12, 10, 8, 6, 5, 4, 3)
_NIGHT = (9, 14, 16, 14, 9, 5, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 4, 6)
_FLAT = (9, 9, 9, 9, 9, 9, 9, 10, 10, 10, 11, 11, 11, 11, 11, 11, 11, 10, 10, 10, 10, 9, 9, 9)
LOADS = {"flat": _FLAT, "office": _OFFICE, "night": _NIGHT}
WEEKEND = {"flat": 0.95, "office": 0.35, "night": 1.0}


class Sources:
    """Draws what comes by itself and by the clock."""

    def __init__(self, fleet: Fleet, start: int) -> None:
        self._fleet, self._start = fleet, start
        self._load = np.array([list(LOADS).index(m.load) for m in fleet.messages])
        minutes = np.array([np.repeat(curve, 60) for curve in LOADS.values()])
        self._curve = np.cumsum(minutes, axis=1)
        """Whole numbers: which minute a draw falls into is the same on any machine."""
        self._weekend = np.array([WEEKEND[load] for load in LOADS])[self._load]
        rng = fleet.rng(3)
        self._cluster = np.array([
            (3 + 12 * rng.random()) if m.bursty else 1.0 for m in fleet.messages
        ])  # fmt: skip
        self._jobs = self._planned_jobs(rng)

    def _planned_jobs(self, rng: np.random.Generator) -> list[tuple[int, int, int, int, int]]:
        """(host, message, period, phase, jitter), ms."""
        jobs = []
        for host, fits in enumerate(self._fleet.fits):
            for index, message in enumerate(self._fleet.messages):
                if message.period and fits[index]:
                    period = round(message.period * 1000)
                    phase = int(rng.integers(0, 5)) * 60_000 + 1000
                    if period >= DAY:
                        phase = int(rng.integers(1, 7)) * 3_600_000 + int(rng.integers(60)) * 60_000
                        phase += int(rng.integers(period // DAY)) * DAY
                    jobs.append((host, index, period, phase, 400))
        return jobs

    def day(self, host: int, day: int) -> Events:
        """Return the events that one host's day brings by themselves or by the clock."""
        machine = self._fleet.hosts[host]
        if not machine.joins <= day < machine.leaves:
            return made([], 0)
        rng = self._fleet.rng(4, host, day)
        rates = self._fleet.rates[host] * np.exp(rng.normal(0, 0.15))
        midnight = self._start + day * DAY
        if (midnight // DAY + 3) % 7 >= 5:  # 1970-01-01 was a Thursday
            rates = rates * self._weekend
        clusters = rng.poisson(rates / self._cluster)
        message = np.repeat(np.arange(len(rates)), clusters)
        draw = rng.integers(0, self._curve[:, -1][self._load[message]])
        minute = np.zeros(len(message), np.int64)
        for load in range(len(LOADS)):
            mine = self._load[message] == load
            minute[mine] = np.searchsorted(self._curve[load], draw[mine], side="right")
        time = midnight + minute * 60_000 + rng.integers(0, 60_000, len(message))
        message, time = self._clustered(rng, message, time)
        jobs_message, jobs_time = self._by_clock(rng, host, midnight)
        message = np.concatenate([message, jobs_message])
        time = np.concatenate([time, jobs_time])
        uid = rng.integers(0, 2**64, len(time), np.uint64)
        return Events(time, np.full(len(time), host, np.int64), message, uid, uid)

    def _clustered(
        self, rng: np.random.Generator, message: NDArray[np.int64], time: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Make clusters of the bursty messages: a geometric number, some seconds apart."""
        mean = self._cluster[message]
        size = np.where(mean > 1, rng.geometric(1 / mean), 1)
        apart = rng.integers(200, 20_000, len(message))
        first = np.repeat(np.cumsum(size) - size, size)
        nth = np.arange(len(first)) - first
        jitter = rng.integers(0, 1000, len(first))
        spread = np.repeat(time, size) + nth * np.repeat(apart, size) + np.where(nth, jitter, 0)
        return np.repeat(message, size), spread

    def _by_clock(
        self, rng: np.random.Generator, host: int, midnight: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        messages, times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        since = midnight - self._start
        for at, message, period, phase, jitter in self._jobs:
            if at == host:
                first = -(-(since - phase) // period)
                grid = np.arange(first * period + phase, since + DAY, period)
                times.append(self._start + grid + rng.integers(0, jitter, len(grid)))
                messages.append(np.full(len(grid), message, np.int64))
        return np.concatenate(messages), np.concatenate(times)


def with_effects(fleet: Fleet, causes: Events, absences: Absences) -> Events:
    """Return the events that are written: the causes, and wave by wave their effects."""
    size = len(fleet.messages)
    graph = fleet.graph
    wave = causes.where(absences.writes(causes))
    waves = [wave]
    for _ in range(DEPTH):
        node = wave.host * size + wave.message
        count = graph.first[node + 1] - graph.first[node]
        if not count.any():
            break
        parent = np.repeat(np.arange(len(wave)), count)
        offset = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
        edge = graph.first[node][parent] + offset
        key = wave.uid[parent] + edge.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        happens = uniform(key) < graph.probability[edge]
        parent, edge, key = parent[happens], edge[happens], key[happens]
        uid = mixed(key ^ np.uint64(0xEFFEC7))
        wait = -np.log1p(-uniform(key ^ np.uint64(0x1A6))) * graph.lag[edge] * 1000
        later = np.minimum(wait, graph.lag[edge] * 8000)
        effect = graph.effect[edge]
        wave = Events(
            wave.time[parent] + 1 + later.astype(np.int64), effect // size, effect % size, uid,
            wave.root[parent],
        )  # fmt: skip
        wave = wave.where(absences.writes(wave))
        waves.append(wave)
    return joined(waves)


def drifted(fleet: Fleet, events: Events, since: NDArray[np.int64]) -> Events:
    """Return the events with the messages' new wordings, from `since` (ms, of each host) on."""
    new = events.time >= since[events.host]
    message = np.where(new, fleet.drift_to[events.message], events.message)
    return Events(events.time, events.host, message, events.uid, events.root)
