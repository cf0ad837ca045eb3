"""What a window is: a pure function of its figures, read from top to bottom.

| if                                                                  | then                     |
|---------------------------------------------------------------------|--------------------------|
| a host fell silent (not with the whole fleet, not for good, not by  | OUTAGE: it was away      |
| its clock)                                                          |                          |
| a host started anew                                                 | OUTAGE: it was away      |
| a crowd of unusual lines of trouble peaks within half an hour, on   | OUTAGE: hosts complain   |
| two hosts or of two programs; strangers, changes or what is new and |                          |
| stays do not make up more of the window than trouble                |                          |
| such a crowd and rare edges both reach 0.7 of their thresholds      | OUTAGE: hosts complain   |
| rare edges peak, and strangers' lines are most of what is unusual   | SCAN                     |
| rare edges peak, and software was changed, or what is new stays     | CHANGE                   |
| rare edges peak, and one program's lines are nearly all             | BURST                    |
| rare edges peak otherwise                                           | NEW_EDGES                |
| all hosts were silent together                                      | SILENCE: the collector's |
| else                                                                | nothing                  |

Rules
- A count alone is no outage: an upgrade of all hosts has more rare edges than most outages. What
  makes one is that hosts were away, or that they say so together.
- Operators who change software also make services stop and complain: where lines of change are
  there, the complaints have to outweigh them.
- A window's score is at least 1 when it is an outage, and below 1 when it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

from triage.syslog.tables import FindingKind

MOST = 0.5
"""A share that is most of it."""
ALONE = 0.85
"""A share that is nearly all."""
NEARLY = 0.7
"""Two signs so near to their thresholds confirm each other."""
AWAY = 2.0
"""The score of a host that was away; more hosts, more score."""
BELOW = 0.99
"""The highest score of a window that is no outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFeatures:
    """The figures of one window of one area."""

    edge_peak: float = 0.0
    """Rare edges over their threshold."""
    trouble_peak: float = 0.0
    """The largest crowd of unusual (host, template) that speak of trouble, over its threshold."""
    trouble_close: int = 0
    """That crowd: those that come within half an hour."""
    trouble_hosts: int = 0
    trouble_programs: int = 0
    unusual: int = 0
    """Unusual (host, template) of every kind."""
    trouble: int = 0
    """Those that speak of trouble."""
    stranger: int = 0
    """Those of refused strangers."""
    change: int = 0
    """Those of software being changed."""
    lasting: int = 0
    """(host, template) first seen in this window that stay from then on."""
    largest_program: int = 0
    """Unusual ones of the program that has most."""
    silent: int = 0
    """Hosts that fell silent for themselves."""
    lost: int = 0
    """Hosts silent with the whole fleet."""
    restarted: int = 0
    """Hosts that started anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a window is; `kind` None: as usual."""

    kind: FindingKind | None
    score: float
    why: str = ""


def decide(features: WindowFeatures) -> Verdict:
    """Return what a window is."""
    away = features.silent + features.restarted
    peak = max(features.edge_peak, features.trouble_peak)
    if away:
        why = "hosts were silent" if features.silent else "hosts started anew"
        return Verdict(kind=FindingKind.OUTAGE, score=max(AWAY + 0.1 * (away - 1), peak), why=why)
    if _complains(features):
        return Verdict(kind=FindingKind.OUTAGE, score=max(1.0, peak), why="hosts complain together")
    below = min(BELOW, peak)
    if features.edge_peak >= 1:
        return Verdict(kind=_harmless(features), score=below, why="rare edges peak")
    if features.lost:
        return Verdict(kind=FindingKind.SILENCE, score=below, why="all hosts were silent together")
    return Verdict(kind=None, score=below)


def _complains(features: WindowFeatures) -> bool:
    if features.trouble_hosts < 2 and features.trouble_programs < 2:
        return False
    others = features.stranger + features.change
    if others > features.trouble or features.lasting > features.trouble:
        return False
    both = min(features.trouble_peak, features.edge_peak) >= NEARLY
    return features.trouble_peak >= 1 or both


def _harmless(features: WindowFeatures) -> FindingKind:
    whole = max(1, features.unusual)
    if features.stranger >= MOST * whole:
        return FindingKind.SCAN
    if features.change or features.lasting >= MOST * whole:
        return FindingKind.CHANGE
    if features.largest_program >= ALONE * whole:
        return FindingKind.BURST
    return FindingKind.NEW_EDGES
