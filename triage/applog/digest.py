"""All lines of an application's logs, taken in one after the other; what matters of them is kept.

Rules
- Bounded, whatever comes: counts of everything, and of the lines only the ones that matter. Those
  are chosen when the last line is in, since one line can tell about others (match.py).
- Counted are lines (`read`, `with_error`) and access lines (`non_200`) within the window, whatever
  they mean: what the source paper's table 4 counts. It does not say whether upper case counts;
  here it does.
- A line's time is the runtime's; without one its own; without that, the time of the line before it.
  Lines that have none of these are told of as a problem and not counted.
- A message that is not of the request's own time (before it began, or long after) weighs less,
  unless it tells of a state that lasts: an application that stopped, crashed or ran out of memory.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

from triage.applog import score as weights
from triage.applog.formats import COMPLETED, Parsed, clean, parse
from triage.applog.match import (
    Asked,
    Fit,
    another,
    fit_access,
    fit_text,
    settle,
)
from triage.applog.noise import Noise
from triage.applog.records import Grouper, Record
from triage.applog.score import NOTHING, Score, text_score
from triage.cri import Line
from triage.evidence import AppLine, AppLineKind, LogLine, Match, Target, Window
from triage.sources.logs import LogRef

BEFORE, AFTER = 0.75, 0.6
"""What a message before the request, or after its end, weighs of its score."""
AFTERMATH = 2.0
"""Seconds after the request in which what it caused is still written."""
_STARTED = 200
"""Requests whose answer is awaited in a later line of the same id."""
TEXT = 4000
"""Characters of a line, or of a message of several lines, in the evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is kept."""

    keep: int = 60
    """Lines in the result."""
    candidates: int = 400
    """Access lines that fit, and lines with a score, before they are chosen from."""
    own_text: int = 20
    """Lines with the request's id that say nothing bad."""
    noise: int = 6
    """Lines of noise, as proof of it."""
    others: int = 10
    """Access lines with a bad status that are another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What all lines together say."""

    lines: tuple[AppLine, ...] = ()
    read: int = 0
    non_200: int = 0
    with_error: int = 0
    logs_access: bool | None = None
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Kept:
    """A line that may matter."""

    line: LogLine
    parsed: Parsed
    fit: Fit = Fit.NO
    score: Score = NOTHING
    noise: str | None = None


class _Heaviest:
    """The so many heaviest of all that were offered; of equal ones the first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, _Kept]] = []
        self._order = count()
        self.lost = 0

    def offer(self, weight: float, kept: _Kept) -> None:
        entry = (weight, -next(self._order), kept)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            self.lost += 1
            heapq.heappushpop(self._heap, entry)

    def all(self) -> list[_Kept]:
        return [kept for _, _, kept in sorted(self._heap, key=lambda one: (-one[0], -one[1]))]


@dataclass(slots=True)
class _Counts:
    read: int = 0
    non_200: int = 0
    with_error: int = 0
    access: bool = False
    untimed: int = 0
    cut: int = 0


class Digest:
    """Takes in the lines of any number of logs: `reader(ref)` for each, then `result`."""

    def __init__(
        self,
        *,
        target: Target,
        window: Window,
        asked: Asked,
        noise: Noise,
        mask: Callable[[str], str] = str,
        utc_offset: float = 0.0,
        limits: Limits | None = None,
    ) -> None:
        self.window = window
        self.asked = asked
        self.noise = noise
        self.utc_offset = utc_offset
        self.good = target.good
        self.limits = limits or Limits()
        self.counts = _Counts()
        self._mask = mask
        self._pod = ""
        """The pod that was asked, once one of its logs is read."""
        self._access = _Heaviest(self.limits.candidates)
        self._others = _Heaviest(self.limits.others)
        self._texts = _Heaviest(self.limits.candidates)
        self._own_texts: deque[_Kept] = deque(maxlen=self.limits.own_text)
        self._noises: dict[str, list[_Kept]] = {}

    def reader(self, ref: LogRef) -> Reader:
        """Where the lines of one log go in. Take all readers before the first line."""
        if pod_of(ref) == self.asked.pod:
            self._pod = self.asked.pod
        return Reader(self, ref)

    def take_access(self, kept: _Kept, shown: str) -> None:
        """An access line in the window."""
        status = kept.parsed.status or 0
        self.counts.non_200 += status != 200
        if not self._elsewhere(kept):
            kept.fit = fit_access(self.asked, kept.parsed, kept.line.time, shown)
        if kept.fit is not Fit.NO:
            weight = 10.0 * kept.fit + (status not in self.good)
            self._access.offer(weight, kept)
        elif status >= 400:
            self._others.offer(float(status >= 500), kept)

    def take_text(self, kept: _Kept, record: Record, shown: str) -> None:
        """A message in the window."""
        parsed = kept.parsed
        kept.fit = fit_text(self.asked, parsed, kept.line.time, shown)
        message = f"{parsed.message} {record.said()}".rstrip()
        kept.noise = self.noise.named(message, record.final or parsed.failure, shown)
        if kept.noise is not None:
            kept.score = Score(0.0, f"noise: {kept.noise}")
            held = self._noises.setdefault(kept.noise, [])
            if len(self._noises) <= 50 and len(held) < self.limits.noise:
                held.append(kept)
            return
        scored = text_score(
            message,
            parsed.level,
            trace=record.trace or ("python" if parsed.stack else ""),
            final=record.final,
            failure=parsed.failure,
        )
        kept.score = self._timed(scored, kept)
        if kept.score.value:
            self._texts.offer(kept.score.value + (kept.fit is Fit.ID), kept)
        elif kept.fit is Fit.ID:
            self._own_texts.append(kept)

    def _elsewhere(self, kept: _Kept) -> bool:
        """Whether a line is of another pod than the one whose sidecar proxied the request."""
        return bool(self._pod) and kept.line.pod != self._pod

    def _timed(self, scored: Score, kept: _Kept) -> Score:
        """Weigh by when a message was written, and by whose request it names."""
        asked, time = self.asked, kept.line.time
        if not scored.value:
            return scored
        if kept.fit is Fit.ID:
            value = min(1.0, scored.value + weights.OWN_ID)
            return replace(scored, value=value, why=f"{scored.why}, with the request's id")
        if self._elsewhere(kept):
            return _less(scored, 0.5, "in another pod")
        if another(asked, kept.parsed):
            return _less(scored, 0.5, "about another request")
        if scored.lasting or not asked.known or asked.start <= time <= asked.end + AFTERMATH:
            return scored
        if time < asked.start:
            return _less(scored, BEFORE, f"{asked.start - time:.0f} s before the request")
        return _less(scored, AFTER, f"{time - asked.end:.0f} s after the request")

    def result(self) -> Result:
        """Choose the lines that matter, in order of time."""
        access = self._access.all()
        matches = settle([kept.fit for kept in access], self.asked.attempts)
        own_ids = {
            one
            for kept, match in zip(access, matches, strict=True)
            if match is Match.OWN
            for one in kept.parsed.ids
        }
        lines = [
            self._app_line(kept, match, self._access_score(kept, match))
            for kept, match in zip(access, matches, strict=True)
        ]
        texts = self._texts.all()
        lines += [self._text_line(kept, own_ids) for kept in (*texts, *self._own_texts)]
        lines.sort(key=_importance, reverse=True)
        lines = lines[: self.limits.keep]
        for kept in self._others.all():
            lines.append(self._app_line(kept, Match.OTHER, self._access_score(kept, Match.OTHER)))
        for held in self._noises.values():
            lines += [self._app_line(kept, _text_match(kept), kept.score) for kept in held]
        lines = lines[: self.limits.keep + self.limits.others + self.limits.noise]
        lines.sort(key=lambda one: one.line.time)
        return Result(
            lines=tuple(lines),
            read=self.counts.read,
            non_200=self.counts.non_200,
            with_error=self.counts.with_error,
            logs_access=self.counts.access or (False if self.counts.read else None),
            problems=tuple(self._problems()),
        )

    def _problems(self) -> list[str]:
        found = []
        if self.counts.untimed:
            found.append(
                f"{self.counts.untimed} lines bear no time, so that nobody can tell whether they "
                "are of the window: let the application write times"
            )
        if self.counts.cut:
            found.append(f"{self.counts.cut} lines were over-long or lost their end")
        if self._access.lost:
            found.append(f"{self._access.lost} more access lines fit and were not compared")
        return found

    def _text_line(self, kept: _Kept, own_ids: set[str]) -> AppLine:
        match = _text_match(kept)
        score = kept.score
        if match is not Match.OWN and own_ids.intersection(kept.parsed.ids):
            match = Match.OWN
            score = replace(score, value=min(1.0, score.value + weights.OWN_ID))
        return self._app_line(kept, match, score)

    def _access_score(self, kept: _Kept, match: Match) -> Score:
        status = kept.parsed.status or 0
        if status in self.good:
            return Score(0.0, f"answered {status}")
        if match is Match.OTHER:
            return _others_score(status)
        if status == 499:
            return Score(weights.CLIENT_CLOSED, "the client closed before the answer (499)")
        if match is Match.OWN:
            value = weights.OWN_5XX if status >= 500 else weights.OWN_BAD
            return Score(value, f"the probed request, answered {status}")
        if status < 400:
            return Score(0.0, f"answered {status}")
        value = weights.LIKELY_5XX if status >= 500 else weights.LIKELY_BAD
        return Score(value, f"likely the probed request, answered {status}")

    def _app_line(self, kept: _Kept, match: Match, score: Score) -> AppLine:
        parsed = kept.parsed
        return AppLine(
            line=replace(kept.line, text=_cut(self._mask(kept.line.text))),
            kind=parsed.kind,
            method=parsed.method,
            path=self._mask(parsed.path)[:500] if parsed.path else None,
            status=parsed.status,
            request_id=self._mask(parsed.ids[0]) if parsed.ids else None,
            level=parsed.level,
            match=match,
            score=round(score.value, 3),
            noise=kept.noise,
            why=self._mask(score.why),
        )


def _others_score(status: int) -> Score:
    if status >= 500:
        return Score(weights.OTHER_5XX, f"another request was answered {status}")
    return Score(0.0, f"another client's request, answered {status}: no failure of this one")


def _less(score: Score, factor: float, why: str) -> Score:
    return Score(round(score.value * factor, 3), f"{score.why}, {why}", score.lasting)


def _text_match(kept: _Kept) -> Match:
    if kept.fit is Fit.ID:
        return Match.OWN
    return Match.LIKELY if kept.fit is Fit.NEAR else Match.OTHER


def _importance(line: AppLine) -> tuple[bool, float, bool]:
    return line.match is Match.OWN, line.score, line.match is Match.LIKELY


def _cut(text: str) -> str:
    return text if len(text) <= TEXT else text[: TEXT - 4] + " ..."


def pod_of(ref: LogRef) -> str:
    """namespace/name, or the file."""
    return f"{ref.namespace}/{ref.pod}" if ref.namespace else ref.pod


class Reader:
    """The lines of one log, in order: `add` each, then `end`."""

    def __init__(self, digest: Digest, ref: LogRef) -> None:
        self._digest = digest
        self._ref = ref
        self._grouper = Grouper()
        self._started: OrderedDict[str, Parsed] = OrderedDict()
        self.now = float("-inf")
        """Time of the latest line."""
        self.lines = 0
        """Lines taken in, of the window or not."""

    def add(self, line: Line) -> None:
        """Take in a line."""
        self.lines += 1
        digest = self._digest
        text = clean(line.text)
        parsed = parse(
            text,
            reference=digest.window.end if line.time is None else None,
            utc_offset=digest.utc_offset,
        )
        time = line.time if line.time is not None else parsed.time
        if time is None:
            time = self.now if self.now > float("-inf") else None
        digest.counts.cut += line.cut
        if time is None:
            digest.counts.untimed += 1
            return
        self.now = max(self.now, time)
        if time in digest.window:
            self._count(text)
        digest.counts.access |= parsed.kind is AppLineKind.ACCESS
        alone = parsed.kind is AppLineKind.ACCESS or (parsed.structured and text[:1] == "{")
        calm = parsed.level in {"trace", "debug", "info", "notice"}
        for record in self._grouper.feed(time, line.stream, text, alone=alone, calm=calm):
            self._take(record)

    def end(self) -> None:
        """Take in what the last line left open."""
        for record in self._grouper.flush():
            self._take(record)

    def _count(self, text: str) -> None:
        counts = self._digest.counts
        counts.read += 1
        counts.with_error += "error" in text.lower()

    def _take(self, record: Record) -> None:
        if record.time is None or record.time not in self._digest.window:
            return
        shown = record.shown()
        kept = _Kept(
            LogLine(
                time=record.time,
                text=shown[: TEXT * 2],
                pod=pod_of(self._ref),
                container=self._ref.container,
                stream=record.stream,
                previous=self._ref.previous,
            ),
            self._completed(parse(record.text)),
        )
        if kept.parsed.kind is AppLineKind.ACCESS:
            self._digest.counts.access = True
            self._digest.take_access(kept, shown)
        else:
            self._digest.take_text(kept, record, shown)

    def _completed(self, parsed: Parsed) -> Parsed:
        """Put an answer to the request that an earlier line with the same id tells of."""
        if parsed.kind is AppLineKind.ACCESS or not parsed.ids:
            return parsed
        done = COMPLETED.search(parsed.message)
        if done is not None and parsed.ids[0] in self._started:
            begun = self._started.pop(parsed.ids[0])
            return replace(
                parsed,
                kind=AppLineKind.ACCESS,
                method=begun.method,
                path=begun.path,
                status=int(done["status"]),
            )
        if parsed.method and parsed.path:
            self._started[parsed.ids[0]] = parsed
            if len(self._started) > _STARTED:
                self._started.popitem(last=False)
        return parsed
