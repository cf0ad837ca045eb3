"""The terminal: what is said, what it looks like without colour, and at 80 columns."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from hypothesis import given, settings

from tests.triage import samples
from tests.triage.evidence_strategies import EVIDENCE, VERDICT
from tests.triage.samples import T0
from triage.evidence import Cause, Evidence, Policy, Step, Verdict
from triage.recording import Decision, Record, Recording, Replay
from triage.views import tree
from triage.views.data import incident_data, incidents_data


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(recording: Recording, width: int | None = 80) -> str:
    stream = io.StringIO()
    tree.show(recording, tree.console_for(stream, width))
    return stream.getvalue()


def listed(records: list[Record], width: int | None = 80, now: float = T0 + 600) -> str:
    stream = io.StringIO()
    tree.incidents(records, tree.console_for(stream, width), now)
    return stream.getvalue()


def words(text: str) -> str:
    """The words alone, without the tree's guides and line ends."""
    return " ".join("".join(char for char in text if char not in "│├└─").split())


def test_it_says_what_an_operator_asks_for() -> None:
    text = words(shown(samples.vm_paused()))
    for one in (
        "node: VM paused resolved, severity critical, confidence certain",
        "T 2026-03-04 10:14:45.303Z, last good T-15 s",
        "lasted 75 s; seen by metric",
        "at fault VM k3s-worker-1 on kvm1",
        "window T-2 s to T+13 s ([T - e, T + probe timeout 10 s + e], e = 2 s, + flush 1 s)",
        "lag 3.8 s",
        "could not see: esx2: no answer within 2 s",
        "- T+41.1 s node worker-1: Ready=Unknown",
        "T+22 s verdict node: hypervisor kvm1 does not answer (possible)",
        "T+96 s verdict node: VM paused (certain)",
        "changed: node: VM paused; sent to alertmanager, slack",
    ):
        assert one in text


def test_deciding_lines_are_marked() -> None:
    text = words(shown(samples.vm_paused()))
    assert ">> T-3.8 s notification from kvm1: vmPaused:" in text
    assert ">> T+24.9 s SNMP kvm1: VM-MIB::vmOperState.3 = INTEGER: paused(8)" in text
    assert "[*] VM" in text
    assert text.count(">> ") == 2


def test_a_step_that_could_not_look_never_reads_like_one_that_did() -> None:
    text = words(shown(samples.vm_paused()))
    assert "[?] application could not look: the kubelet of worker-1 does not answer" in text
    assert "[o] pod front/front-app" in text
    assert "? front/front-app-6d4f7-x2x9q's own logs" in text


def test_what_the_summary_says_already_is_not_said_twice() -> None:
    whole = samples.vm_paused()
    look = whole.looks[-1]
    steps = tuple(
        dataclasses.replace(one, summary=f"could not look: {samples.SILENT}")
        if one.step is Step.APP
        else dataclasses.replace(one, summary=f"paused; could not see: esx2: {samples.NO_ANSWER}")
        if one.step is Step.VM
        else one
        for one in look.verdict.steps
    )
    verdict = dataclasses.replace(look.verdict, steps=steps, unknowns=())
    look = dataclasses.replace(look, verdict=verdict)
    text = words(shown(dataclasses.replace(whole, looks=(look,))))
    assert text.count("could not look:") == 1
    assert text.count(samples.NO_ANSWER) == 1


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_it_fits(width: int) -> None:
    records = [samples.vm_paused().record, samples.hostile().record]
    both = shown(samples.vm_paused(), width) + shown(samples.hostile(), width)
    assert max(map(len, (both + listed(records, width)).splitlines())) <= width


def test_no_colour_in_a_pipe_and_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in shown(samples.vm_paused(), None)
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    tree.show(samples.vm_paused(), tree.console_for(stream, 80))
    assert "\x1b[1;31mnode: VM paused" in stream.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_strangers_text_does_nothing_to_the_terminal(width: int) -> None:
    text = shown(samples.hostile(), width) + listed([samples.hostile().record], width)
    assert not any(char in text for char in "\x1b\x07\x9b\u202e\r")
    assert "[bold]x[/bold]" in text.replace("\n", "")
    assert r"\x1b[31mred\x1b[0m\x07" in words(text)


def test_the_list() -> None:
    lasting = dataclasses.replace(
        samples.vm_paused().record, id="20260304-102000-aaaaaa", closed=None, status="confirmed"
    )
    fresh = Record(id="20260304-102400-bbbbbb", target="shop", opened=T0 + 555)
    text = listed([samples.vm_paused().record, lasting, fresh], 160)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    row = "2026-03-04 10:14:45Z {} node: VM paused certain critical {}"
    assert lines == [
        "ID TARGET OPENED LASTED CAUSE CONFIDENCE SEVERITY STATUS",
        "20260304-101445-7f3a1c front page " + row.format("75 s", "resolved"),
        "20260304-102000-aaaaaa front page " + row.format("10 min+", "confirmed"),
        "20260304-102400-bbbbbb shop 2026-03-04 10:24:00Z 45 s+ not decided yet - - pending",
    ]
    assert listed([]) == "no incidents\n"


def test_an_id_is_never_broken() -> None:
    assert samples.vm_paused().record.id in listed([samples.vm_paused().record], 80)


def test_before_the_first_look() -> None:
    record = Record(id="20260304-102400-bbbbbb", target="shop", opened=T0)
    text = shown(Recording(record=record))
    assert "not decided yet" in text
    assert "shop: nothing was looked at yet" in text


def test_a_replay_tells_what_came_out_otherwise() -> None:
    was = samples.final_verdict()
    now = dataclasses.replace(
        was, cause=Cause.POD, title="pod: \x1b[1m", object="pod x", policy=Policy.PAPER
    )
    stream = io.StringIO()
    replays = (Replay(recorded=was, decided=was), Replay(recorded=was, decided=now))
    tree.replayed(replays, tree.console_for(stream, 80))
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "look 1  2026-03-04 10:16:21Z  node: VM paused (certain)  as recorded",
        r"look 2  2026-03-04 10:16:21Z  pod: \x1b[1m (certain)  NOT as recorded, policy",
        "paper (recorded: default)",
        "  cause: pod, was node",
        "  object: pod x, was VM k3s-worker-1 on kvm1",
    ]


@settings(max_examples=60, deadline=None)
@given(EVIDENCE, VERDICT)
def test_any_incident_can_be_shown(evidence: Evidence, verdict: Verdict) -> None:
    whole = samples.vm_paused()
    recording = dataclasses.replace(
        whole, looks=(Decision(evidence=evidence, verdict=verdict),), notes=()
    )
    text = shown(recording)
    assert "History" in text
    assert all(char.isprintable() or char == "\n" for char in text)
    json.dumps(incident_data(recording), allow_nan=False)


def test_the_keys_for_programs_are_those_that_are_documented() -> None:
    data = json.loads(json.dumps(incident_data(samples.vm_paused()), allow_nan=False))
    assert list(data) == [
        *("incident", "verdict", "history", "notes", "target", "anomaly", "steps", "product")
    ]
    incident = data["incident"]
    assert incident == {
        "id": "20260304-101445-7f3a1c",
        "target": "front page",
        "status": "resolved",
        "severity": "critical",
        "opened": T0,
        "closed": T0 + 75,
        "seconds": pytest.approx(75),
        "outages": 1,
        "cause": "node",
        "reason": "vm_not_running",
        "title": "node: VM paused",
        "confidence": "certain",
        "object": "VM k3s-worker-1 on kvm1",
    }
    assert incidents_data([samples.vm_paused().record]) == {"incidents": [incident]}
    assert data["verdict"]["unknowns"][-1] == "esx2: no answer within 2 s"
    assert data["verdict"]["proofs"][-1]["deciding"] is True
    assert [step["outcome"] for step in data["steps"]] == [
        *("ran", "ran", "failed", "ran", "ran", "ran")
    ]
    assert data["steps"][2]["problems"] == [samples.SILENT]
    assert data["steps"][5]["lag"] == pytest.approx(3.806)
    assert data["anomaly"]["samples"][-4] == {"time": T0 + 45, "value": None}


def test_what_is_not_known_is_null_for_programs() -> None:
    record = Record(id="x", target="shop", opened=T0)
    data = incident_data(Recording(record=record))
    assert data["verdict"] is None
    assert data["target"] is None
    assert data["steps"] == []
    assert data["incident"]["cause"] is None
    assert data["incident"]["seconds"] is None
