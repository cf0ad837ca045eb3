"""What the hypervisor's own log adds to a verdict, and what it must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.triage.scene import (
    RAN,
    REFUSED,
    RESET,
    UNREACHED,
    T,
    evidence,
    failed,
    hypervisor,
    node,
    nodes,
    notification,
    pod,
    pods,
    proxy,
    vm,
    vms,
)
from triage import cascade
from triage.cascade import machine
from triage.cascade.finding import time_of
from triage.evidence import (
    Confidence,
    Evidence,
    Look,
    Outcome,
    Policy,
    Step,
    SyslogEvidence,
    SyslogFinding,
    SyslogKind,
    SyslogLine,
    Verdict,
    VmOperState,
)

STALL = "kernel: I/O error, dev sdb, sector 1234"
PAUSED = vms(vm(VmOperState.PAUSED), notifications=(notification("vmPaused", T - 1),))


def found(
    kind: SyslogKind = SyslogKind.RARE_TEMPLATE,
    at: float = T - 13,
    text: str = STALL,
    host: str = "esx1",
    **more: Any,
) -> SyslogFinding:
    lines = more.pop("lines", (SyslogLine(time=at, text=text),))
    return SyslogFinding(
        kind=kind,
        hypervisor=host,
        host=host,
        start=at,
        end=more.pop("end", at),
        summary=more.pop("summary", f"{host}: a summary."),
        score=more.pop("score", 1.0),
        lines=lines,
    )


def log_of(*findings: SyslogFinding, look: Look = RAN, **more: Any) -> SyslogEvidence:
    return SyslogEvidence(
        look=look,
        findings=findings,
        hosts=more.pop("hosts", ("esx1",)),
        read=40,
        learning_since=more.pop("learning_since", T - 28 * 86400),
        **more,
    )


def paused(syslog: SyslogEvidence) -> Evidence:
    return replace(evidence(proxy(UNREACHED), vm_part=PAUSED), syslog=syslog)


def step(verdict: Verdict) -> str:
    return next(one.summary for one in verdict.steps if one.step is Step.SYSLOG)


def test_the_summary_names_the_line_and_the_line_stands_beside_what_decided() -> None:
    verdict = cascade.decide(paused(log_of(found())))
    assert verdict.title == "node: VM paused"
    assert verdict.summary.endswith(
        f' 12 s before that, its hypervisor esx1 logged "{STALL}", which is rare.'
    )
    (proof,) = [one for one in verdict.proofs if one.step is Step.SYSLOG]
    assert (proof.text, proof.source, proof.deciding) == (STALL, "syslog esx1", False)
    assert any(one.deciding for one in verdict.proofs)
    assert step(verdict) == "esx1: 1 rare kind of line in 40 lines"


def test_it_changes_nothing_that_is_decided() -> None:
    for syslog in (
        log_of(found()),
        log_of(),
        SyslogEvidence(look=failed()),
        SyslogEvidence(),
        log_of(look=replace(RAN, problems=("the past of the log is still being read",))),
    ):
        for line in (UNREACHED, RESET, REFUSED):
            plain = evidence(proxy(line), vm_part=PAUSED)
            without = cascade.decide(replace(plain, syslog=SyslogEvidence()))
            verdict = cascade.decide(replace(plain, syslog=syslog))
            for name in ("cause", "reason", "title", "object", "confidence", "unknowns"):
                assert getattr(verdict, name) == getattr(without, name)


def test_could_not_look_nothing_unusual_and_not_configured_never_read_alike() -> None:
    said = {
        step(cascade.decide(paused(one)))
        for one in (
            log_of(),
            SyslogEvidence(look=failed("no such folder")),
            SyslogEvidence(look=Look(problems=("no hypervisors' syslog is configured",))),
        )
    }
    assert said == {
        "esx1: nothing unusual in 40 lines",
        "could not look: no such folder",
        "no hypervisors' syslog is configured",
    }


def test_a_short_past_is_told() -> None:
    verdict = cascade.decide(paused(log_of(found(), learning_since=T - 3 * 3600)))
    assert "(but its log was learnt for 3 h only: rare means little)" in verdict.summary
    assert "learnt for 3 h only" in step(verdict)
    fresh = cascade.decide(paused(log_of(learning_since=None)))
    assert "was not learnt yet" in step(fresh)


def test_another_hypervisors_log_is_not_the_machines() -> None:
    verdict = cascade.decide(paused(log_of(found(host="esx2"))))
    assert "logged" not in verdict.summary


def test_an_upgrade_or_a_scan_is_shown_and_not_blamed() -> None:
    for kind in (SyslogKind.CHANGE, SyslogKind.SCAN):
        verdict = cascade.decide(paused(log_of(found(kind))))
        assert "logged" not in verdict.summary
        assert any(one.step is Step.SYSLOG for one in verdict.proofs)


def test_what_came_after_is_not_given_as_before() -> None:
    late = cascade.decide(paused(log_of(found(at=T + 9))))
    assert "logged" not in late.summary
    assert any(one.step is Step.SYSLOG for one in late.proofs)


def test_of_several_the_most_telling_in_the_time_of_the_fault_is_named() -> None:
    old = found(SyslogKind.RESTART, at=T - 700, text="kernel: Linux version")
    verdict = cascade.decide(paused(log_of(old, found(SyslogKind.BURST), found(text="other"))))
    assert 'logged "other", which is rare' in verdict.summary


def test_long_lines_are_cut_and_many_are_bounded() -> None:
    lines = tuple(SyslogLine(time=T - 60 + one, text=f"{one} " + "x" * 400) for one in range(50))
    many = [found(lines=lines, text=f"{number}") for number in range(30)]
    verdict = cascade.decide(paused(log_of(*many)))
    assert len(verdict.summary) < 400
    assert sum(one.step is Step.SYSLOG for one in verdict.proofs) <= 10


# Seconding


def silent_host(*findings: SyslogFinding, ready: str = "Unknown", **more: Any) -> Evidence:
    """The hypervisor that had the machine gives no answer, and its log shows this."""
    part = vms(
        missing=("worker-1",),
        last_known={"worker-1": "esx1"},
        hypervisors=(hypervisor(answered=False),),
        look=more.pop("look", RAN),
    )
    whole = evidence(
        proxy(UNREACHED),
        pod_part=pods(pod()),
        node_part=nodes(node(ready, **more.pop("node", {}))),
        vm_part=part,
        **more,
    )
    return replace(whole, syslog=log_of(*findings))


RESTART = found(SyslogKind.RESTART, at=T - 5, end=T + 5, text="kernel: Linux version 6.1")
SILENCE = found(SyslogKind.SILENCE, at=T - 5, end=T + 60, lines=())


@pytest.mark.parametrize(
    ("findings", "confidence"),
    [
        ((), Confidence.PROBABLE),
        ((found(),), Confidence.PROBABLE),
        ((SILENCE,), Confidence.PROBABLE),
        ((RESTART,), Confidence.CERTAIN),
        ((replace(RESTART, hypervisor="esx2"),), Confidence.PROBABLE),
        ((replace(RESTART, start=T - 800, end=T - 790),), Confidence.PROBABLE),
    ],
)
def test_a_restart_in_its_log_makes_a_silent_hypervisor_certain(
    findings: tuple[SyslogFinding, ...], confidence: Confidence
) -> None:
    verdict = cascade.decide(silent_host(*findings, ready="True"))
    assert verdict.reason == "hypervisor_unreachable"
    assert verdict.confidence is confidence


def test_silence_makes_what_was_asked_late_probable() -> None:
    late = {"ended_at": T + 30}
    asked = replace(RAN, asked_at=T + 300)

    def strength(*findings: SyslogFinding) -> Confidence:
        whole = silent_host(*findings, look=asked, **late)
        chosen = machine.findings(whole, "worker-1", time_of(whole))
        return next(one.strength for one in chosen if one.reason == "hypervisor_unreachable")

    assert strength() is Confidence.POSSIBLE
    assert strength(SILENCE) is Confidence.PROBABLE
    assert strength(RESTART) is Confidence.PROBABLE


def test_a_node_that_lived_speaks_against_its_hypervisors_log() -> None:
    whole = silent_host(RESTART, ready="True", node={"lease_renewed_at": T + 300})
    plain = silent_host(ready="True", node={"lease_renewed_at": T + 300})
    assert cascade.decide(whole).confidence is cascade.decide(plain).confidence


def test_of_several_silent_hypervisors_the_log_tells_which() -> None:
    part = vms(
        missing=("worker-1",),
        hypervisors=(hypervisor(answered=False), hypervisor("esx2", answered=False)),
    )
    whole = evidence(proxy(UNREACHED), node_part=nodes(node("Unknown")), vm_part=part)
    blind = machine.findings(whole, "worker-1", time_of(whole))
    told = replace(whole, syslog=log_of(replace(SILENCE, hypervisor="esx2"), hosts=("esx2",)))
    seen = machine.findings(told, "worker-1", time_of(told))
    before = next(one for one in blind if one.reason == "hypervisor_unreachable")
    after = next(one for one in seen if one.reason == "hypervisor_unreachable")
    assert (before.object, before.strength) == ("", Confidence.POSSIBLE)
    assert (after.object, after.strength) == ("hypervisor esx2", Confidence.PROBABLE)


# The step


def test_it_is_taken_where_the_vm_is_and_by_the_paper_never() -> None:
    whole = replace(evidence(proxy(RESET)), gathered=tuple(Step)[:-1])
    assert cascade.next_steps(whole) == (Step.SYSLOG,)
    assert cascade.next_steps(whole, Policy.PAPER) == ()
    paper = cascade.decide(paused(log_of(found())), Policy.PAPER)
    assert "logged" not in paper.summary
    assert not any(one.step is Step.SYSLOG for one in paper.proofs)


def test_a_look_of_an_older_release_says_that_it_did_not_read_it() -> None:
    old = replace(paused(SyslogEvidence()), gathered=tuple(Step)[:-1])
    verdict = cascade.decide(old)
    assert step(verdict) == "the release that looked did not read it"
    assert verdict.steps[-1].outcome is Outcome.SKIPPED
    assert verdict.confidence is Confidence.CERTAIN
