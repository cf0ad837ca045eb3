"""Events to lines: columns of ready strings, gathered and joined.

A line is header, then constant and variable parts in turn. Constant parts and variable parts are
indices into tables of strings (`variables.Pools`), so that a chunk of events with k variable parts
is one gather for each column and one concatenation: no line is formatted by itself.
"""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from triage.syslog.simulate.catalogue import Message
from triage.syslog.simulate.events import DAY, Events
from triage.syslog.simulate.fleet import Fleet
from triage.syslog.simulate.settings import FleetSettings, Form, start_of
from triage.syslog.simulate.variables import Part, Pools, parts_of, uniform
from triage.syslog.tables import WILDCARD

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PRIORITIES = {"kernel": 4, "sshd": 86, "CRON": 78, "sudo": 86, "named": 30, "postfix/smtp": 22}
"""RFC 5424 section 6.2.1: facility * 8 + severity; of other programs daemon.info."""


def body_of(message: Message, form: Form, kernel_times: bool) -> str:
    """Return a message with its tag, and with `{kind}` for each variable part."""
    pid = {"none": "", "daemon": "{pid}", "fork": "{n:300-32767}"}[message.pid]
    text = message.text
    if message.program == "kernel" and kernel_times:
        text = f"[{{uptime}}] {text}"
    if form is Form.RFC5424:
        return f"{message.program} {pid or '-'} - - {text}"
    tag = f"{message.program}[{pid}]" if pid else message.program
    return f"{tag}: {text}"


def truth_text(message: Message, kernel_times: bool) -> str:
    """Return the template's text: the content, with ** for each variable part."""
    constants, _ = parts_of(body_of(message, Form.RFC3164, kernel_times))
    return WILDCARD.join(constants)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Messages with the same number of variable parts, as columns."""

    constants: list[NDArray[np.uint32]]
    """parts + 1 columns: of each message the index of its constant text."""
    kinds: list[NDArray[np.int64]]
    occurrences: list[NDArray[np.uint64]]


class Renderer:
    """Renders one fleet's events in one form.

    Two messages more than the fleet's: `repeated` and `continued`.
    """

    def __init__(self, fleet: Fleet) -> None:
        settings = fleet.settings
        self._fleet, self._form = fleet, settings.form
        self._pools = Pools(
            settings.seed,
            4096 if settings.lines < 3_000_000 else 16_384,
            tuple(host.name for host in fleet.hosts),
            tuple(host.site for host in fleet.hosts),
        )
        self.repeated, self.continued = len(fleet.messages), len(fleet.messages) + 1
        bodies = [body_of(m, self._form, fleet.kernel_times) for m in fleet.messages]
        lead = "syslogd - - - " if self._form is Form.RFC5424 else ""
        bodies += [f"{lead}last message repeated {{n:2-30}} times", ""]
        parsed = [parts_of(body) for body in bodies]
        self._width = np.array([len(parts) for _, parts in parsed])
        self._constants, self._shapes = self._columns(parsed)
        self._pid = self._pools.kind("pid")
        self._values = self._pools.table()
        self._base, self._many = self._pools.draws()
        self._sticky, self._skewed = self._pools.natures()
        programs = [*(m.program for m in fleet.messages), "syslogd", "syslogd"]
        known = {program: number for number, program in enumerate(dict.fromkeys(programs))}
        self._program = np.array([known[program] for program in programs])
        self._priority = pl.Series("p", [f"<{PRIORITIES.get(p, 30)}>1 " for p in programs])
        self._names = pl.Series("h", [f" {host.name} " for host in fleet.hosts])
        self._skew = np.array([host.skew for host in fleet.hosts])
        self._drift = np.array([host.drift for host in fleet.hosts])
        self._start = start_of(settings)
        self._clock = _Clock(settings)

    def _columns(
        self, parsed: list[tuple[list[str], list[Part]]]
    ) -> tuple[pl.Series, dict[int, _Shape]]:
        texts: dict[str, int] = {}
        shapes = {}
        for width in sorted({len(parts) for _, parts in parsed}):
            rows = [
                (constants, parts) if len(parts) == width else ([""] * (width + 1), [])
                for constants, parts in parsed
            ]
            shapes[width] = _Shape(
                [
                    np.array([texts.setdefault(c[at], len(texts)) for c, _ in rows], np.uint32)
                    for at in range(width + 1)
                ],
                [
                    np.array([self._pools.kind(p[at].kind) if p else 0 for _, p in rows], np.int64)
                    for at in range(width)
                ],
                [
                    np.array([p[at].occurrence if p else 0 for _, p in rows], np.uint64)
                    for at in range(width)
                ],
            )
        return pl.Series("c", list(texts)), shapes

    def lines(self, events: Events, boots: NDArray[np.int64]) -> pl.Series:
        """Return a line for each event; `boots`: how often its host has booted before."""
        if not len(events):
            return pl.Series("line", [], pl.String)
        header = self._header(events)
        width = self._width[events.message]
        order = np.argsort(width, kind="stable")
        parts, start = [], 0
        for number, count in zip(*np.unique(width, return_counts=True), strict=True):
            rows = order[start : start + count]
            start += count
            part = [column.gather(rows.astype(np.uint32)) for column in header]
            parts.append(self._shape(int(number), events.where(rows), boots[rows], part))
        back = np.empty(len(order), np.uint32)
        back[order] = np.arange(len(order), dtype=np.uint32)
        return pl.concat(parts).gather(back)

    def _shape(
        self, width: int, events: Events, boots: NDArray[np.int64], header: list[pl.Series]
    ) -> pl.Series:
        shape, message = self._shapes[width], events.message
        columns = [*header, self._constants.gather(shape.constants[0][message])]
        for at in range(width):
            columns.append(self._value(shape, at, events, boots))
            columns.append(self._constants.gather(shape.constants[at + 1][message]))
        return _glued(*columns)

    def _value(self, shape: _Shape, at: int, events: Events, boots: NDArray[np.int64]) -> pl.Series:
        kind = shape.kinds[at][events.message]
        salt = shape.occurrences[at][events.message] + (kind.astype(np.uint64) << np.uint64(8))
        own = np.where(self._sticky[kind], events.root, events.uid)
        draw = uniform(own ^ (salt * np.uint64(0xD1342543DE82EF95)))
        draw = np.where(self._skewed[kind], draw * draw * draw, draw)
        many = self._many[kind, events.host]
        index = self._base[kind, events.host] + (draw * many).astype(np.int64)
        daemon = np.flatnonzero(kind == self._pid)
        if len(daemon):
            program = self._program[events.message[daemon]]
            index[daemon] += (program * 37 + boots[daemon] * 11) % 2500
        return self._values.gather(index.astype(np.uint32))

    def _header(self, events: Events) -> list[pl.Series]:
        days = (events.time - self._start) / DAY
        error = self._skew[events.host] + self._drift[events.host] * days
        shown = events.time + np.floor(error * 1000).astype(np.int64)
        names = self._names.gather(events.host.astype(np.uint32))
        columns = [*self._clock.columns(shown, self._form), names]
        if self._form is Form.RFC5424:
            columns.insert(0, self._priority.gather(events.message.astype(np.uint32)))
        return columns


class _Clock:
    """Writes times in the fleet's zone."""

    def __init__(self, settings: FleetSettings) -> None:
        self._zone = zoneinfo.ZoneInfo(settings.timezone)
        seconds = pl.int_range(0, 86_400, eager=True)
        two = [f"{number:02}" for number in range(60)]
        pairs = pl.Series("t", two)
        self._times = _glued(
            pairs.gather(seconds // 3600), pl.Series("c", [":"]),
            pairs.gather(seconds // 60 % 60), pl.Series("c", [":"]), pairs.gather(seconds % 60),
        )  # fmt: skip
        self._fractions = pl.Series("f", [f".{number:03}000" for number in range(1000)])

    def columns(self, time: NDArray[np.int64], form: Form) -> list[pl.Series]:
        """Return columns that together are the times (ms since 1970)."""
        quarter = time // 900_000  # offsets change at whole quarters of an hour
        known, which = np.unique(quarter, return_inverse=True)
        offsets = np.array([self._offset(int(number) * 900) for number in known.tolist()])
        local = time + offsets[which] * 1000
        day, rest = local // DAY, local % DAY
        days, at = np.unique(day, return_inverse=True)
        dates = pl.Series("d", [self._date(int(number), form) for number in days.tolist()])
        clock = self._times.gather((rest // 1000).astype(np.uint32))
        columns = [dates.gather(at.astype(np.uint32)), clock]
        if form is not Form.RFC3164:
            columns.append(self._fractions.gather((rest % 1000).astype(np.uint32)))
            ends = pl.Series("o", [_offset_text(int(offset)) for offset in offsets.tolist()])
            columns.append(ends.gather(which.astype(np.uint32)))
        return columns

    def _offset(self, second: int) -> int:
        difference = datetime.fromtimestamp(second, self._zone).utcoffset()
        return round(difference.total_seconds()) if difference is not None else 0

    @staticmethod
    def _date(day: int, form: Form) -> str:
        date = datetime.fromtimestamp(day * 86_400, UTC)
        if form is Form.RFC3164:
            return f"{MONTHS[date.month - 1]} {date.day:2} "
        return f"{date:%Y-%m-%d}T"


def _offset_text(seconds: int) -> str:
    sign, minutes = "-" if seconds < 0 else "+", abs(seconds) // 60
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"


def _glued(*columns: pl.Series) -> pl.Series:
    return pl.select(
        pl.concat_str([pl.lit(column) for column in columns]).alias("line")
    ).to_series()
