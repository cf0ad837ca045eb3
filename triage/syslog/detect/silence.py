"""Hosts that fell silent, and hosts that started anew: what no edge can show.

Theory of operation
    A host's gaps are the minutes between its minutes with lines. How long a gap is usual is read
    from the gaps themselves: above their 98 % quantile u they fall off exponentially with mean
    excess b (the uppermost 1 % censored: they may be outages), so that of n gaps one in 1/alpha
    corpora has a gap above u + b ln(0.02 n / alpha) by chance. The same for the hours of the day
    around the gap's start, when there are enough gaps: whoever logs little at night is not silent
    then. The larger of both, and of `settings.silence`, is the host's limit; a host whose log has
    little to say has a high limit, and is judged accordingly seldom.

    A gap of all hosts together is the collector's (with two hosts or more, when none of them
    boots afterwards): nobody knows what the hosts did. A gap of a site's hosts while other
    sites log is the site's.

    A host starts anew where a boot is told: two different boot lines within minutes, or one among
    a crowd of templates that are rare on this host. Which templates come with a start is also
    learnt: those that on at least half of the occasions follow a silence, on two occasions or
    more. A crowd of them is a start, too, whatever its words; and so is an eruption of rare
    templates of several programs, none of them strangers' or of software being changed, right
    after a pause that is long for the host.

Rules
- A clock that jumps makes a gap on one side and doubled lines on the other: a gap whose lines are
  all there, doubled right before or after it, is no silence (`shifted`).
- A host is judged from its first line on: one that comes late was not silent before.
- A host that stopped in order and is silent at the end of the corpus for `settings.retired` or more
  is out of service. Of one that did not stop in order only the beginning of its silence is news.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from triage.syslog.detect.series import Events, Flags, Fleet, Ints
from triage.syslog.detect.settings import DetectSettings
from triage.syslog.detect.words import Traits

QUANTILE, CENSOR = 0.98, 0.99
HOUR_GAPS = 60
"""Fewer gaps around an hour of the day say nothing of it."""
MARGIN = 2.0
"""Of the limit over what the tail says: the tail may be heavier than exponential."""
BOOT_MINUTES = 10
"""A boot's lines come within so many minutes."""
STOP_MINUTES = 30
"""An orderly stop's lines come so many minutes before the silence."""
BOOT_CROWD = 5
"""So many rare templates within a boot's minutes are a crowd."""
BOOT_PROGRAMS, ERUPTION = 3, 10
"""Ten rare templates of three programs are an eruption: after a pause, a start."""
PAUSE = 3
"""Minutes of a pause at least; and no more than one in fifty of the host's gaps is longer."""
TOGETHER = 0.8
"""A gap that all hosts share to this part is the collector's."""
DOUBLED = 1.6
"""So many times the usual lines are doubled ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A host without lines."""

    host: int
    start: int
    """Minute after the last line."""
    end: int
    """Minute of the next line; of the corpus's end when there is none."""
    limit: int
    """Minutes that a gap of this host may usually last."""
    resumed: bool = True
    booted: bool = False
    """It ended with a start."""
    lost: bool = False
    """Everybody's lines are missing: the collector's."""
    shifted: bool = False
    """The lines are there, under other times."""
    ordered: bool = False
    """Lines of an orderly stop came before it."""

    @property
    def minutes(self) -> int:
        """Its length."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A host started anew."""

    host: int
    minute: int
    down: int
    """Minutes without lines before it, 0: none to speak of."""
    told: bool
    """By boot lines; otherwise by what usually follows a silence."""
    ordered: bool = False
    """Lines of an orderly stop came before it."""
    first: bool = False
    """It has no lines before: the host is new."""
    templates: tuple[int, ...] = ()
    """Indexes of the templates that show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absences:
    """All silences and restarts of a corpus."""

    silences: tuple[Silence, ...]
    restarts: tuple[Restart, ...]
    boot_templates: frozenset[int] = frozenset()
    """Indexes of the templates learnt to come with a start."""


def usual_gap(gaps: Ints, alpha: float) -> float:
    """Return the minutes that one of these gaps exceeds by chance in 1 / alpha corpora."""
    if not gaps.size:
        return 0.0
    start = int(np.quantile(gaps, QUANTILE, method="lower"))
    censor = int(np.quantile(gaps, CENSOR, method="lower"))
    above = np.minimum(gaps[gaps > start], censor) - start
    certain = int(np.count_nonzero((gaps > start) & (gaps <= censor)))
    excess = float(above.sum()) / certain if certain else 1.0
    return float(start) + excess * max(0.0, float(np.log((1 - QUANTILE) * gaps.size / alpha)))


def gap_limit(gaps: Ints, settings: DetectSettings) -> float:
    """Return the minutes beyond which a gap of such a host is a silence."""
    least: float = settings.silence / 60
    return max(least, MARGIN * usual_gap(gaps, settings.false_alarms))


def host_silences(
    host: int, minutes: Ints, end: int, settings: DetectSettings
) -> tuple[Silence, ...]:
    """Return one host's silences; `minutes` are those with lines, sorted, each once."""
    if minutes.size < 2:
        return ()
    points = np.append(minutes, end) if end > minutes[-1] else minutes
    gaps = np.diff(points)
    alpha = settings.false_alarms
    usual = gap_limit(gaps[: minutes.size - 1], settings)
    found = []
    for at in np.flatnonzero(gaps > usual):
        start = int(minutes[at])
        limit = max(usual, MARGIN * _hourly(gaps, minutes, int(at), alpha))
        if gaps[at] > limit:
            found.append(
                Silence(
                    host=host,
                    start=start + 1,
                    end=int(points[at + 1]),
                    limit=round(limit),
                    resumed=int(at) + 1 < minutes.size,
                )
            )
    return tuple(found)


def _hourly(gaps: Ints, minutes: Ints, at: int, alpha: float) -> float:
    """The usual gap around the hour of the day at which gap `at` begins, the gap itself aside."""
    hour = minutes // 60 % 24
    near = (hour[: gaps.size] - hour[at] + 1) % 24 <= 2
    near[at] = False
    chosen = gaps[near]
    return usual_gap(chosen, alpha) if chosen.size >= HOUR_GAPS else 0.0


def absences(
    fleet: Fleet, traits: Sequence[Traits], rare: Flags, settings: DetectSettings
) -> Absences:
    """Return a fleet's silences and restarts; `rare` marks (host, template), flat."""
    events = fleet.events
    if not events.minute.size:
        return Absences(silences=(), restarts=())
    end = int(events.minute[-1]) + 1
    templates = len(fleet.corpus.templates)
    active: list[Ints] = []
    found: list[Silence] = []
    by_host = _by_host(events, len(fleet.corpus.hosts))
    for host, own in enumerate(by_host):
        active.append(np.unique(own.minute))
        found.extend(host_silences(host, active[-1], end, settings))
    learnt = _learn_boots(by_host, found, templates)
    starts = [
        restart
        for host, own in enumerate(by_host)
        for restart in restarts_of(
            host, own, traits, rare[host * templates : (host + 1) * templates], learnt
        )
    ]
    found = [_booted(silence, starts) for silence in found]
    found = [_ordered(silence, by_host[silence.host], traits) for silence in found]
    found = _collector(found, active, len(fleet.corpus.hosts))
    found = [_shifted(silence, by_host[silence.host]) for silence in found]
    return Absences(silences=tuple(found), restarts=tuple(starts), boot_templates=frozenset(learnt))


def _by_host(events: Events, hosts: int) -> list[Events]:
    order = np.argsort(events.host, kind="stable")
    bounds = np.searchsorted(events.host[order], np.arange(hosts + 1))
    return [
        events.where(order[bounds[host] : bounds[host + 1]])  # type: ignore[arg-type]
        for host in range(hosts)
    ]


def _learn_boots(
    by_host: Sequence[Events], silences: Iterable[Silence], templates: int
) -> set[int]:
    """Templates of which at least half of the occasions (an hour of a host) follow a silence."""
    follows = np.zeros(templates, dtype=np.int64)
    for silence in silences:
        if silence.resumed:
            after = by_host[silence.host].between(silence.end, silence.end + BOOT_MINUTES)
            follows[np.unique(after.template)] += 1
    occasions = np.zeros(templates, dtype=np.int64)
    for own in by_host:
        pairs = np.unique(own.minute // 60 * templates + own.template)
        occasions += np.bincount(pairs % templates, minlength=templates)
    return set(np.flatnonzero((follows >= 2) & (2 * follows >= occasions)).tolist())


def restarts_of(
    host: int, own: Events, traits: Sequence[Traits], rare: Flags, learnt: set[int]
) -> list[Restart]:
    """Return one host's starts; `rare` and `learnt` are of templates, `own` its events."""
    told = np.asarray([trait.boot for trait in traits], dtype=np.bool_)
    known = np.isin(np.arange(len(traits)), sorted(learnt))
    explained = np.asarray([trait.change or trait.stranger for trait in traits], dtype=np.bool_)
    stops = own.minute[np.asarray([t.stop for t in traits], dtype=np.bool_)[own.template]]
    minutes = np.unique(own.minute)
    pauses = _pauses(minutes)
    found: list[Restart] = []
    until = -1
    for minute in np.union1d(own.minute[(told | known)[own.template]], pauses).tolist():
        if minute < until:
            continue
        shown = np.unique(own.between(minute, minute + BOOT_MINUTES).template)
        boots, crowd = shown[told[shown]], shown[rare[shown]]
        burst = crowd[~explained[crowd]] if minute in pauses else crowd[:0]
        programs = {traits[template].program for template in burst.tolist()}
        eruption = burst.size if len(programs) >= BOOT_PROGRAMS else 0
        if not _is_start(boots.size, crowd.size, int(known[shown].sum()), eruption):
            continue
        before = int(np.searchsorted(minutes, minute))
        down = minute - int(minutes[before - 1]) - 1 if before else 0
        stopped = np.count_nonzero((stops > minute - down - STOP_MINUTES) & (stops <= minute))
        found.append(
            Restart(
                host=host,
                minute=minute,
                down=down,
                told=boots.size > 0,
                ordered=bool(stopped),
                first=before == 0,
                templates=tuple(int(t) for t in (*boots, *crowd[~told[crowd]]))[:12],
            )
        )
        until = minute + 2 * BOOT_MINUTES
    return found


def _pauses(minutes: Ints) -> Ints:
    """The minutes at which a host writes again after a pause that is long for it."""
    gaps = np.diff(minutes)
    if not gaps.size:
        return gaps
    long = max(PAUSE, float(np.quantile(gaps, QUANTILE)))
    return minutes[1:][gaps >= long]


def _is_start(boots: int, crowd: int, known: int, eruption: int) -> bool:
    told = boots >= 2 or (boots == 1 and crowd >= BOOT_CROWD)
    return told or known >= BOOT_CROWD or eruption >= ERUPTION


def _booted(silence: Silence, restarts: Iterable[Restart]) -> Silence:
    booted = any(
        restart.host == silence.host and 0 <= restart.minute - silence.end <= BOOT_MINUTES
        for restart in restarts
    )
    return replace(silence, booted=booted)


def _ordered(silence: Silence, own: Events, traits: Sequence[Traits]) -> Silence:
    before = own.between(silence.start - STOP_MINUTES, silence.start)
    return replace(silence, ordered=any(traits[t].stop for t in np.unique(before.template)))


def _collector(silences: list[Silence], active: Sequence[Ints], hosts: int) -> list[Silence]:
    """Mark the silences that everybody shares, and that nobody's start ends."""
    if hosts < 2 or not silences:
        return silences
    together = np.unique(np.concatenate(active))
    gaps = np.diff(together)
    wide = np.flatnonzero(gaps > 1)
    spans = [(int(together[at]) + 1, int(together[at + 1])) for at in wide]
    result = []
    for silence in silences:
        shared = max(
            (min(end, silence.end) - max(start, silence.start) for start, end in spans), default=0
        )
        lost = shared >= TOGETHER * silence.minutes and not any(
            other.booted and other.start < silence.end and silence.start < other.end
            for other in silences
        )
        result.append(replace(silence, lost=lost))
    return result


def _shifted(silence: Silence, own: Events) -> Silence:
    """Whether the missing lines stand before or after the gap, doubled."""
    length = silence.minutes
    if silence.booted or not silence.resumed or length > 360:
        return silence
    spans = ((silence.start - length, silence.start), (silence.end, silence.end + length))
    lines = [int(own.between(*span).count.sum()) for span in spans]
    usual = [
        int(own.between(start + shift, end + shift).count.sum())
        for start, end in spans
        for shift in (-1440, 1440, -3 * length, 3 * length)
    ]
    typical = float(np.median([n for n in usual if n] or [0]))
    return replace(silence, shifted=typical > 0 and max(lines) >= DOUBLED * typical)
