"""The hypervisor's syslog in what is shown and kept of an incident."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.triage import samples
from tests.triage.test_views_tree import shown, words
from triage import cascade
from triage.evidence import (
    Look,
    Outcome,
    Step,
    SyslogEvidence,
    SyslogFinding,
    SyslogKind,
    SyslogLine,
)
from triage.recording import Decision, Recording, dump, load, replay
from triage.views.drawing import drawing
from triage.views.page import page
from triage.views.timeline import Level, timeline

STALL = "kernel: I/O error, dev sdb"


def recorded(text: str = STALL) -> Recording:
    """The sample, looked at with a log that has a line 12 s and a silence 3 s before T."""
    at = samples.T0 - 12

    def finding(kind: SyslogKind, start: float, end: float, *lines: SyslogLine) -> SyslogFinding:
        return SyslogFinding(
            kind=kind,
            hypervisor="kvm1",
            host="kvm1",
            start=start,
            end=end,
            summary=f"kvm1: {text}",
            score=2.0,
            lines=lines,
        )

    line = SyslogLine(time=at, text=text)
    syslog = SyslogEvidence(
        look=Look(outcome=Outcome.RAN, source="syslog of kvm1"),
        findings=(
            finding(SyslogKind.RARE_TEMPLATE, at, at, line),
            finding(SyslogKind.SILENCE, samples.T0 - 3, samples.T0 + 40),
        ),
        hosts=("kvm1",),
        read=9,
        learning_since=samples.T0 - 9e6,
    )
    evidence = dataclasses.replace(samples.vm_paused_evidence(), syslog=syslog)
    look = Decision(evidence=evidence, verdict=cascade.decide(evidence))
    return dataclasses.replace(samples.vm_paused(), looks=(look,), stands=0)


def test_it_is_a_lane_of_its_own_with_its_lines() -> None:
    drawn = timeline(recorded())
    assert drawn is not None
    (lane,) = [one for one in drawn.lanes if one.step is Step.SYSLOG]
    rare, silence = lane.marks
    assert (rare.time, rare.label, rare.level) == (samples.T0 - 12, "rare", Level.WARNING)
    assert rare.text == f"kvm1, rare: {STALL}"
    assert (silence.label, silence.level, silence.end) == ("silence", Level.BAD, samples.T0 + 40)
    assert [(one.label, one.start) for one in lane.spans] == [("silence", samples.T0 - 3)]
    assert ">syslog</text>" in drawing(drawn)


def test_tree_and_page_show_its_lines() -> None:
    text = words(shown(recorded()))
    assert "[o] syslog kvm1: 1 rare kind of line, 1 silence in 9 lines" in text
    assert f"- T-12 s syslog kvm1: {STALL}" in text
    assert STALL in page(recorded())


def test_what_a_log_holds_is_escaped() -> None:
    whole = page(recorded(samples.EVIL))
    assert "<script>" not in whole
    assert "<img" not in whole
    assert "\x1b" not in whole + shown(recorded(samples.EVIL))


def test_secrets_in_it_are_masked_on_the_way_out() -> None:
    assert b"hunter22" not in dump(recorded("login: password=hunter22"))


def test_it_comes_back_and_is_decided_as_it_was() -> None:
    back = load(dump(recorded()))
    assert back.looks[0].evidence.syslog == recorded().looks[0].evidence.syslog
    assert [one.same for one in replay(back)] == [True]


@pytest.mark.parametrize("gathered", [True, False])
def test_a_recording_of_an_older_release_is_read_and_decided_again(gathered: bool) -> None:
    document = json.loads(dump(recorded()))
    for look in document["looks"]:
        del look["evidence"]["syslog"]
        if not gathered:
            look["evidence"]["gathered"].remove("syslog")
        look["verdict"]["steps"] = [
            one for one in look["verdict"]["steps"] if one["step"] != "syslog"
        ]
        look["verdict"]["proofs"] = [
            one for one in look["verdict"]["proofs"] if one["step"] != "syslog"
        ]
    old = load(json.dumps(document).encode())
    assert old.looks[0].evidence.syslog == SyslogEvidence()
    assert [one.same for one in replay(old)] == [True]
    assert page(old)
    assert shown(old)
