"""What the hypervisor's own log adds to a verdict: lines, a sentence, and at times some confidence.

A log tells what its writers thought of. So it decides nothing by itself:

- of the hypervisor that a finding is about, the unusual lines of the time stand beside what decided
  (proofs that are not deciding), and the most telling one is named in the summary of a verdict on
  the node;
- it seconds a finding in one case: a hypervisor that gives no answer over SNMP, or whose up time
  may be its agent's alone, and whose log shows at that time that it started anew or fell silent.
  Two ways of asking that share nothing but the machine say the same then. A silent log alone makes
  nothing certain: what cuts off a hypervisor from us cuts off its log, too.

A log that is not configured, was not read, or holds nothing unusual changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triage.cascade.finding import CLOCK_SLACK, FaultTime, Finding, clock, seconds, time_of
from triage.evidence import (
    Cause,
    Confidence,
    Evidence,
    Outcome,
    Proof,
    Step,
    SyslogEvidence,
    SyslogFinding,
    SyslogKind,
    SyslogLine,
)

SHORT = 3 * 86400.0
"""Seconds of a past that is too short for "rare" to mean much: what is not daily is new to it."""
QUOTED = 160
"""Characters of a line in a summary."""
MOST_PROOFS = 10
"""Lines beside a verdict: an alert has room for twenty, and what decided goes first."""
MOST_LINES = 3
"""Lines of one finding among them."""

_TELLING = {
    SyslogKind.RESTART: 5,
    SyslogKind.SILENCE: 4,
    SyslogKind.RARE_TEMPLATE: 3,
    SyslogKind.BURST: 2,
    SyslogKind.OUTAGE: 1,
    SyslogKind.NEW_EDGES: 1,
}
"""How much a kind says of what broke a machine; those that are missing (an upgrade, a scan) are of
somebody else's doing, and only shown."""
_BREAKS = frozenset({SyslogKind.RESTART, SyslogKind.SILENCE})


def seconded(evidence: Evidence, hypervisor: str, when: FaultTime) -> SyslogKind | None:
    """Return RESTART or SILENCE where a hypervisor's log shows that in the outage, else None.

    A silence counts that began when the fault can have begun, and was not over before that.
    """
    if evidence.syslog.look.outcome is not Outcome.RAN:
        return None
    kinds = {
        one.kind
        for one in evidence.syslog.findings
        if one.hypervisor == hypervisor and one.kind in _BREAKS and _in_time(one, when)
    }
    return max(kinds, key=_TELLING.__getitem__, default=None)


def _in_time(one: SyslogFinding, when: FaultTime) -> bool:
    if one.kind is SyslogKind.RESTART:
        return when.explains(one.start)
    return when.began_it(one.start) and one.end >= when.begin


def beside(evidence: Evidence, finding: Finding) -> tuple[str, tuple[Proof, ...]]:
    """Return a sentence for a verdict's summary, "" for none, and the lines to show beside it."""
    if evidence.syslog.look.outcome is not Outcome.RAN:
        return "", ()
    named = _about(evidence.syslog, finding)
    chosen = named or evidence.syslog.findings
    proofs = tuple(_proofs(chosen, finding.time or evidence.anomaly.time))
    if finding.cause is not Cause.NODE or not named:
        return "", proofs
    when = time_of(evidence)
    at = finding.time if finding.time is not None else evidence.anomaly.time
    telling = [one for one in named if one.kind in _TELLING and one.start <= at + CLOCK_SLACK]
    if not telling:
        return "", proofs
    best = min(telling, key=lambda one: _order(one, at, when))
    return f" {_sentence(best, at)}{_caution(evidence)}.", proofs


def _about(syslog: SyslogEvidence, finding: Finding) -> list[SyslogFinding]:
    """Return what was found in the log of the hypervisor that a finding names, "VM x on kvm1"."""
    words = finding.object.split()
    of_them = {one.hypervisor for one in syslog.findings}
    named = {name for name in of_them if words[-len(name.split()) :] == name.split()}
    if not named and finding.step is Step.NODE and len(of_them) == 1:
        named = of_them  # a node's own finding; one hypervisor had something to say of its time
    return [one for one in syslog.findings if one.hypervisor in named]


def _order(one: SyslogFinding, at: float, when: FaultTime) -> tuple[bool, int, float, float]:
    """What began in the time of the fault goes first, then what says most, then the nearest."""
    line = _nearest(one.lines, at)
    near = line.time if line is not None else one.start
    return (not when.begin <= near, -_TELLING[one.kind], abs(at - near), -one.score)


def _nearest(lines: Sequence[SyslogLine], at: float) -> SyslogLine | None:
    """Return the last line before a time, or the first one after it."""
    before = [one for one in lines if one.time <= at + CLOCK_SLACK]
    return before[-1] if before else (lines[0] if lines else None)


def _sentence(one: SyslogFinding, at: float) -> str:
    if one.kind is SyslogKind.SILENCE:
        return f"Its hypervisor {one.hypervisor} logged nothing from {clock(one.start)} on"
    line = _nearest(one.lines, at)
    if line is None:
        return f"The log of its hypervisor {one.hypervisor}: {one.summary.rstrip('.')}"
    away = at - line.time
    when = f"{seconds(away)} before" if away >= 0 else f"{seconds(-away)} after"
    text = line.text if len(line.text) <= QUOTED else line.text[: QUOTED - 3] + "..."
    why = _WHY.get(one.kind, "")
    return f'{when} that, its hypervisor {one.hypervisor} logged "{text}"{why}'


_WHY = {
    SyslogKind.RARE_TEMPLATE: ", which is rare",
    SyslogKind.BURST: ", far more often than it does",
    SyslogKind.RESTART: ", as it started anew",
}


def _caution(evidence: Evidence) -> str:
    learnt = _learnt(evidence)
    return f" (but {learnt})" if learnt else ""


def _learnt(evidence: Evidence) -> str:
    """Say that a past is short, "" for one that is long enough."""
    since = evidence.syslog.learning_since
    if since is None:
        return "its log was not learnt yet: nothing can be told to be rare"
    span = evidence.anomaly.time - since
    if span >= SHORT:
        return ""
    return f"its log was learnt for {seconds(max(span, 0.0))} only: rare means little"


def _proofs(findings: Sequence[SyslogFinding], at: float) -> Iterator[Proof]:
    """Give the nearest findings' lines in order of time, each line once."""
    near = sorted(findings, key=lambda one: (-_TELLING.get(one.kind, 0), abs(one.start - at)))
    shown: dict[tuple[str, SyslogLine | None, str], Proof] = {}
    for one in near:
        source = f"syslog {one.hypervisor}"
        lines = _around(one.lines, at)
        if not lines:
            shown.setdefault((source, None, one.summary), _proof(source, one.start, one.summary))
        for line in lines:
            shown.setdefault((source, line, ""), _proof(source, line.time, line.text))
    chosen = list(shown.values())[:MOST_PROOFS]
    yield from sorted(chosen, key=lambda one: one.time or 0.0)


def _around(lines: Sequence[SyslogLine], at: float) -> Sequence[SyslogLine]:
    if len(lines) <= MOST_LINES:
        return lines
    return sorted(lines, key=lambda one: abs(one.time - at))[:MOST_LINES]


def _proof(source: str, time: float, text: str) -> Proof:
    return Proof(step=Step.SYSLOG, time=time, source=source, text=text, deciding=False)


def summary(evidence: Evidence) -> str:
    """Say in one sentence what the step saw."""
    syslog = evidence.syslog
    if not syslog.hosts:
        return "no hypervisor whose log could be looked at"
    kinds = [one.kind for one in syslog.findings]
    told = ", ".join(_many(kinds.count(kind), kind) for kind in SyslogKind if kind in kinds)
    more = f" and {len(syslog.hosts) - 4} more" if len(syslog.hosts) > 4 else ""
    lines = f"{syslog.read} line{'' if syslog.read == 1 else 's'}"
    text = f"{', '.join(syslog.hosts[:4])}{more}: {told or 'nothing unusual'} in {lines}"
    learnt = _learnt(evidence)
    return f"{text}; {learnt}" if learnt else text


_NAMES = {
    SyslogKind.OUTAGE: ("outage", "outages"),
    SyslogKind.NEW_EDGES: ("case of new edges", "cases of new edges"),
    SyslogKind.RARE_TEMPLATE: ("rare kind of line", "rare kinds of lines"),
    SyslogKind.BURST: ("burst", "bursts"),
    SyslogKind.SILENCE: ("silence", "silences"),
    SyslogKind.RESTART: ("restart", "restarts"),
    SyslogKind.CHANGE: ("change", "changes"),
    SyslogKind.SCAN: ("scan", "scans"),
}


def _many(count: int, kind: SyslogKind) -> str:
    return f"{count} {_NAMES[kind][count != 1]}"


def raised(strength: Confidence, shown: SyslogKind | None) -> Confidence:
    """Return a finding's strength with what the log shows (the module's rules): a degree more."""
    if shown is None or strength is Confidence.CERTAIN:
        return strength
    if strength is Confidence.POSSIBLE:
        return Confidence.PROBABLE
    return Confidence.CERTAIN if shown is SyslogKind.RESTART else strength
