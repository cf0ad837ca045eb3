"""Evidence to verdict: pure functions, without I/O and without a clock.

    next_steps(evidence, policy) -> the steps to take next; () when the verdict is due
    decide(evidence, policy)     -> the verdict on what was gathered

`flag_aware` is the default policy, `paper` the source paper's figure 4 to the letter. The layers
(`proxy`, `app`, `pod`, `machine`) each say what is wrong with them; `causes` is the closed list of
what a verdict can say. `syslog` adds what the hypervisor's own log says beside it.
"""

from __future__ import annotations

from triage.cascade import flag_aware, paper, proxy
from triage.cascade.machine import DEFAULT_LIMITS, Limits
from triage.evidence import Evidence, Policy, Step, Verdict

_ORDER = ((Step.METRIC, Step.PROXY), (Step.POD,), (Step.APP, Step.NODE), (Step.VM,), (Step.SYSLOG,))
"""Steps of one group may be taken at once; a later group needs what an earlier one found."""


def next_steps(evidence: Evidence, policy: Policy = Policy.DEFAULT) -> tuple[Step, ...]:
    """Return the steps to take next, () when there is nothing more to see."""
    first = tuple(step for step in _ORDER[0] if step not in evidence.gathered)
    if first:
        return first
    if policy is Policy.PAPER:
        wanted = paper.needed(evidence)
    else:
        wanted = flag_aware.needed(evidence, proxy.read(evidence))
        if Step.VM in wanted:  # beside it, and never a step that could decide
            wanted |= {Step.SYSLOG}
    for group in _ORDER[1:]:
        due = tuple(step for step in group if step in wanted and step not in evidence.gathered)
        if due:
            return due
    return ()


def decide(
    evidence: Evidence, policy: Policy = Policy.DEFAULT, limits: Limits = DEFAULT_LIMITS
) -> Verdict:
    """Return the verdict on `evidence`; never raises for any evidence."""
    if policy is Policy.PAPER:
        return paper.decide(evidence)
    return flag_aware.decide(evidence, limits)


__all__ = ["DEFAULT_LIMITS", "Limits", "decide", "next_steps"]
