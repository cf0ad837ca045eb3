"""What stands on the axis, how much of it, and where."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.triage import samples
from tests.triage.evidence_strategies import EVIDENCE
from tests.triage.samples import PAUSED, RESUMED, T0
from triage.evidence import (
    AppEvidence,
    AppLine,
    AppLineKind,
    Evidence,
    KubeEvent,
    LogLine,
    Look,
    Outcome,
    Proof,
    Sample,
    Step,
)
from triage.recording import Decision, Recording
from triage.views.drawing import LEFT, RIGHT, WIDTH, drawing
from triage.views.timeline import Lane, Level, Mark, Timeline, bucketed, table, timeline
from triage.views.words import duration, relative, span


def lane(whole: Timeline, name: str) -> Lane:
    (found,) = [one for one in whole.lanes if one.name == name]
    return found


def drawn(recording: Recording | None = None) -> Timeline:
    found = timeline(recording or samples.vm_paused())
    assert found is not None
    return found


def test_every_step_has_a_lane_in_the_order_of_the_cascade() -> None:
    names = [one.name for one in drawn().lanes]
    assert names == ["monitor", "proxy", "application", "pod", "node", "VM", "syslog", "triage"]


def test_samples_are_good_bad_or_missing() -> None:
    marks = lane(drawn(), "monitor").marks
    assert [(round(mark.time - T0), mark.label, mark.level) for mark in marks] == [
        (-30, "200", Level.GOOD),
        (-15, "200", Level.GOOD),
        (0, "no response", Level.BAD),
        (15, "503", Level.BAD),
        (30, "503", Level.BAD),
        (45, "missing", Level.WARNING),
        (60, "503", Level.BAD),
        (75, "200", Level.GOOD),
        (90, "200", Level.GOOD),
    ]


def test_what_decided_is_marked_and_seen_once() -> None:
    marks = lane(drawn(), "VM").marks
    deciding = [mark for mark in marks if mark.deciding]
    assert [mark.time for mark in deciding] == [PAUSED, T0 + 24.9]
    assert len([mark for mark in marks if mark.time == PAUSED]) == 1


def test_a_proof_without_a_mark_becomes_one() -> None:
    whole = samples.vm_paused()
    proof = Proof(step=Step.POD, time=T0 - 5.5, source="kubelet", text="took it away")
    look = whole.looks[-1]
    verdict = dataclasses.replace(look.verdict, proofs=(*look.verdict.proofs, proof))
    whole = dataclasses.replace(
        whole, looks=(dataclasses.replace(look, verdict=verdict),), stands=None
    )
    (mark,) = [mark for mark in lane(drawn(whole), "pod").marks if mark.time == T0 - 5.5]
    assert mark.deciding
    assert mark.text == "kubelet: took it away"


def test_the_pause_is_a_span_from_one_notification_to_the_other() -> None:
    (one,) = lane(drawn(), "VM").spans
    assert (one.start, one.end, one.label) == (PAUSED, RESUMED, "paused")


def test_a_lane_that_could_not_look_says_so() -> None:
    found = lane(drawn(), "application")
    assert found.outcome is Outcome.FAILED
    assert found.marks == ()
    assert found.note == f"could not look: {samples.SILENT}"
    assert lane(drawn(), "monitor").note == ""
    assert lane(drawn(), "VM").note == f"seen in part: esx2: {samples.NO_ANSWER}"


def test_a_step_that_was_not_needed_says_so() -> None:
    whole = samples.vm_paused()
    look = whole.looks[-1]
    evidence = dataclasses.replace(look.evidence, app=AppEvidence())
    found = lane(
        drawn(dataclasses.replace(whole, looks=(dataclasses.replace(look, evidence=evidence),))),
        "application",
    )
    assert found.note == "not looked: not needed"


def test_earlier_looks_count_too() -> None:
    whole = samples.vm_paused()
    first, last = whole.looks
    line = AppLine(
        line=LogLine(time=T0 - 2, text="lost the database", pod="front/app", container="app"),
        kind=AppLineKind.TEXT,
        level="error",
        score=0.9,
    )
    app = AppEvidence(look=Look(outcome=Outcome.RAN), lines=(line,), read=1)
    first = dataclasses.replace(first, evidence=dataclasses.replace(first.evidence, app=app))
    found = lane(drawn(dataclasses.replace(whole, looks=(first, last))), "application")
    assert [mark.text for mark in found.marks] == ["front/app/app: lost the database"]
    assert found.outcome is Outcome.FAILED  # the look whose verdict stands


def test_it_is_zoomed_to_the_outage_and_counts_what_lies_outside() -> None:
    whole = drawn()
    assert whole.start < T0 - 15 < T0 + 75 < whole.end
    assert whole.end - whole.start < 300
    pod = lane(whole, "pod")
    assert pod.before == 4  # created, ready and two starts, a day before
    assert all(whole.start <= mark.time <= whole.end for one in whole.lanes for mark in one.marks)


def test_the_end_is_the_incident_s_when_no_look_saw_it() -> None:
    whole = dataclasses.replace(samples.vm_paused(), looks=samples.vm_paused().looks[:1])
    assert drawn(whole).ended == T0 + 75
    assert duration(whole) == "75 s"
    lasting = dataclasses.replace(whole, record=dataclasses.replace(whole.record, closed=None))
    assert drawn(lasting).ended is None
    assert duration(lasting) == "22 s so far"


def test_nothing_looked_at_is_no_timeline() -> None:
    assert timeline(dataclasses.replace(samples.vm_paused(), looks=())) is None


TIMES = st.lists(st.floats(0, 1000), max_size=60).map(sorted)


@given(TIMES, st.floats(0.5, 100))
def test_buckets_are_apart_and_lose_nothing(times: list[float], width: float) -> None:
    levels = list(Level)
    marks = [
        Mark(time=time, text=str(number), level=levels[number % 4], deciding=number == 7)
        for number, time in enumerate(times)
    ]
    buckets = bucketed(marks, width)
    assert sum(mark.count for mark in buckets) == len(marks)
    gaps = [after.time - before.time for before, after in itertools.pairwise(buckets)]
    assert all(gap >= width for gap in gaps)
    assert any(mark.deciding for mark in buckets) == (len(marks) > 7)
    assert max((mark.level for mark in buckets), default=0) >= max(
        (mark.level for mark in marks if not mark.deciding and len(marks) <= 7), default=0
    )


def crowded(count: int) -> Recording:
    """Everything at once: a storm of lines and events."""
    whole = samples.vm_paused()
    look = whole.looks[-1]
    lines = tuple(
        AppLine(
            line=LogLine(time=T0 - 20 + number * 100 / count, text=f"boom {number}"),
            score=0.9,
            level="error",
        )
        for number in range(count)
    )
    events = tuple(
        KubeEvent(time=T0 - 20 + number * 100 / count, reason=f"Reason{number % 7}", count=3)
        for number in range(count)
    )
    evidence = dataclasses.replace(
        look.evidence,
        app=AppEvidence(look=Look(outcome=Outcome.RAN), lines=lines, read=count),
        pod=dataclasses.replace(look.evidence.pod, events=events),
        node=dataclasses.replace(look.evidence.node, events=events),
    )
    return dataclasses.replace(whole, looks=(dataclasses.replace(look, evidence=evidence),))


def test_a_storm_stays_drawable() -> None:
    text = drawing(drawn(crowded(3000)))
    assert text.count("<title>") < 600
    assert len(text) < 300_000
    assert "\u00d7" in text


def test_a_table_keeps_what_decided() -> None:
    rows, left_out = table(drawn(crowded(3000)), 50)
    assert len(rows) == 50
    assert left_out > 5000
    assert [row for row in rows if row[2].deciding]
    times = [mark.time for _, _, mark in rows]
    assert times == sorted(times)


def test_labels_do_not_lie_on_each_other() -> None:
    root = ET.fromstring(drawing(drawn(crowded(40))))  # noqa: S314 - our own text
    boxes: dict[float, list[tuple[float, float]]] = {}
    for one in root.iter("text"):
        words = "".join(one.itertext())
        x, y, anchor = float(one.get("x", 0)), float(one.get("y", 0)), one.get("text-anchor")
        width = len(words) * 5.2
        left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor or "start"]
        boxes.setdefault(y, []).append((left, left + width))
    assert sum(map(len, boxes.values())) > 30
    for row in boxes.values():
        row.sort()
        for (_, right), (left, _) in itertools.pairwise(row):
            assert left >= right - 1
    assert not re.search(r"(nan|inf)", " ".join(one.get("x", "") for one in root.iter()))
    for one in root.iter("circle"):
        assert LEFT - 10 <= float(one.get("cx", 0)) <= WIDTH - RIGHT + 10


@settings(max_examples=80, deadline=None)
@given(EVIDENCE)
def test_any_evidence_can_be_drawn(evidence: Evidence) -> None:
    whole = samples.vm_paused()
    look = Decision(evidence=evidence, verdict=whole.looks[0].verdict)
    found = timeline(dataclasses.replace(whole, looks=(look,), notes=()))
    assert found is not None
    text = drawing(found)
    assert text.startswith("<svg")
    assert "<script" not in text


@pytest.mark.parametrize("odd", [math.nan, math.inf, 1e300, -1e300])
def test_a_time_that_is_none_is_left_out(odd: float) -> None:
    whole = samples.vm_paused()
    look = whole.looks[-1]
    anomaly = dataclasses.replace(
        look.evidence.anomaly, samples=(Sample(time=odd, value=200), *samples.samples(T0 + 20))
    )
    evidence = dataclasses.replace(look.evidence, anomaly=anomaly)
    found = drawn(dataclasses.replace(whole, looks=(dataclasses.replace(look, evidence=evidence),)))
    assert found.end - found.start < 300
    assert len(lane(found, "monitor").marks) == 4


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.0204, "0.02 s"),
        (0.7, "0.7 s"),
        (3.806, "3.8 s"),
        (15, "15 s"),
        (41.23, "41.2 s"),
        (119.4, "119 s"),
        (200, "3 min 20 s"),
        (7199.7, "2 h"),
        (7500, "2 h 5 min"),
        (356400, "4 d 3 h"),
        (-2.5, "-2.5 s"),
        (math.inf, "?"),
        (None, "?"),
    ],
)
def test_durations_as_people_say_them(seconds: float | None, words: str) -> None:
    assert span(seconds) == words


def test_times_from_the_anomaly() -> None:
    assert relative(T0, T0) == "T"
    assert relative(T0 - 1.4, T0) == "T-1.4 s"
    assert relative(T0 + 200, T0) == "T+3 min 20 s"
    assert relative(math.nan, T0) == "?"
    assert relative(None, T0) == "?"
