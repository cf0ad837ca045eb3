"""An incident as a file: out and in again unchanged, and whatever else is one line."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.triage import samples
from tests.triage.evidence_strategies import EVIDENCE, VERDICT
from triage import recording as module
from triage.cascade import decide
from triage.evidence import Confidence, Evidence, Policy, Sample, Verdict
from triage.incidents import (
    Bad,
    IncidentSettings,
    advance,
)
from triage.recording import (
    Decision,
    Record,
    Recording,
    RecordingError,
    dump,
    load,
    record_of,
    replay,
)


def plain(text: str) -> str:
    return text


def same(left: Any, right: Any) -> bool:
    """Equal, and NaN is equal to NaN."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if dataclasses.is_dataclass(left):
        return type(left) is type(right) and all(
            same(getattr(left, one.name), getattr(right, one.name))
            for one in dataclasses.fields(left)
        )
    if isinstance(left, tuple):
        return (
            isinstance(right, tuple)
            and len(left) == len(right)
            and all(same(one, other) for one, other in zip(left, right, strict=True))
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and bool(left == right)


@pytest.mark.parametrize("made", [samples.vm_paused, samples.hostile])
def test_an_incident_comes_back_as_it_was(made: Any) -> None:
    recording = made()
    assert load(dump(recording, mask=plain)) == recording


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(EVIDENCE, VERDICT)
def test_any_evidence_comes_back_as_it_was(evidence: Evidence, verdict: Verdict) -> None:
    recording = Recording(
        record=Record(id="1", target="x", opened=0.0),
        looks=(Decision(evidence=evidence, verdict=verdict),),
    )
    assert same(load(dump(recording, mask=plain)), recording)


def test_numbers_that_are_not_finite_are_valid_json() -> None:
    whole = samples.vm_paused()
    look = whole.looks[0]
    odd = (Sample(time=math.inf, value=math.nan), Sample(time=1.0, value=-math.inf))
    anomaly = dataclasses.replace(look.evidence.anomaly, samples=odd)
    evidence = dataclasses.replace(look.evidence, anomaly=anomaly)
    data = dump(
        dataclasses.replace(whole, looks=(dataclasses.replace(look, evidence=evidence),)),
        mask=plain,
    )

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(data, parse_constant=refuse)
    back = load(data).looks[0].evidence.anomaly.samples
    assert same(back, odd)


def test_secrets_are_masked_on_the_way_out() -> None:
    whole = samples.vm_paused()
    look = whole.looks[-1]
    proxy = look.evidence.proxy
    raw = dataclasses.replace(
        proxy.requests[0], raw="Authorization: Bearer c2VjcmV0LXRva2VuLTEyMzQ"
    )
    target = dataclasses.replace(look.evidence.target, url="http://me:hunter22@front.example.net/")
    evidence = dataclasses.replace(
        look.evidence, target=target, proxy=dataclasses.replace(proxy, requests=(raw,))
    )
    data = dump(dataclasses.replace(whole, looks=(dataclasses.replace(look, evidence=evidence),)))
    assert b"c2VjcmV0" not in data
    assert b"hunter22" not in data
    assert b"front.example.net" in data


def test_masking_leaves_what_decides_alone() -> None:
    whole = samples.vm_paused()
    assert load(dump(whole)) == whole


def test_what_utf_8_cannot_carry_is_written_out() -> None:
    whole = samples.vm_paused()
    record = dataclasses.replace(whole.record, title="\udcff gone")
    back = load(dump(dataclasses.replace(whole, record=record)))
    assert back.record.title == "\\udcff gone"


def test_the_file_says_what_it_is_first() -> None:
    document = json.loads(dump(samples.vm_paused()))
    assert list(document)[:2] == ["format", "version"]
    assert document["format"] == "triage-incident"
    assert document["product"].startswith("triage ")


def test_an_older_reader_skips_what_it_does_not_know() -> None:
    document = json.loads(dump(samples.vm_paused()))
    document["weather"] = {"sky": ["blue"]}
    document["record"]["mood"] = "good"
    assert load(json.dumps(document).encode()) == samples.vm_paused()


def changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(dump(samples.vm_paused())) | changes).encode()


GOOD = dump(samples.vm_paused())


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "not a recording"),
        (b"hello", "not a recording"),
        (b"[]", "not a recording"),
        (b"{}", "not a recording"),
        (b"\x1f\x8b\x08 gzip", "not a recording"),
        (b'{"format": 7}', "not a recording"),
        (GOOD[: len(GOOD) // 2], "cut short"),
        (GOOD[:-3], "cut short"),
        (GOOD + b"x", "not valid JSON"),
        (GOOD.replace(b"front page", b"front \xff\xfe"), "damaged recording"),
        (changed(version=2), "newer triage"),
        (changed(version=0), "format version 0"),
        (changed(record=None), "damaged recording"),
        (changed(looks=[{"evidence": {}, "verdict": {}}]), "damaged recording"),
        (changed(looks={"$float": "nan"}), "damaged recording"),
        (changed(stands="x"), "damaged recording"),
        (changed(notes=[{"time": 10**400, "text": ""}]), "damaged recording"),
        (changed(notes=[{"time": {"$float": []}, "text": ""}]), "damaged recording"),
        (b"[" * 200_000, "not a recording"),
        (changed(x=0).replace(b'"x": 0', b'"x": ' + b"[" * 50 + b"]" * 50), "nested too deeply"),
        (
            changed(x=0).replace(b'"x": 0', b'"x": ' + b"[" * 90_000 + b"]" * 90_000),
            "nested too deeply",
        ),
        (b'{"format":"triage-incident","version":1,"x":[' + b"0," * 4_000_000, "too many values"),
        (b" " * (module.MAX_BYTES + 1), "too large"),
    ],
)
def test_what_is_no_recording_is_one_line(data: bytes, line: str) -> None:
    with pytest.raises(RecordingError, match=line) as caught:
        load(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=6))
def test_a_damaged_file_never_breaks_the_reader(at: int, put: bytes) -> None:
    line = ""
    try:
        load(GOOD[:at] + put + GOOD[at + len(put) :])
    except RecordingError as error:
        line = str(error)
    assert "\n" not in line


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(RecordingError):
        load(data)


def test_looks_in_between_go_first_when_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = samples.vm_paused()
    first, last = whole.looks
    looks = (first, *[last] * 20, dataclasses.replace(last, verdict=first.verdict))
    large = dataclasses.replace(whole, looks=looks, stands=5)
    monkeypatch.setattr(module, "MAX_BYTES", len(dump(whole)) * 4)
    back = load(dump(large))
    assert back.left_out == len(looks) - len(back.looks) > 0
    assert back.looks[0] == first
    assert back.looks[-1].verdict == first.verdict
    assert back.standing == last


def test_what_cannot_be_made_small_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(RecordingError, match=samples.vm_paused().record.id):
        dump(samples.vm_paused())


def decided() -> Recording:
    """The sample with the verdicts that this release gives."""
    whole = samples.vm_paused()
    looks = tuple(dataclasses.replace(look, verdict=decide(look.evidence)) for look in whole.looks)
    return dataclasses.replace(whole, looks=looks)


def test_replay_of_what_was_recorded_is_the_same() -> None:
    replays = replay(load(dump(decided())))
    assert [one.same for one in replays] == [True, True]
    assert replays[-1].decided == replays[-1].recorded


def test_replay_tells_what_came_out_otherwise() -> None:
    whole = decided()
    verdict = dataclasses.replace(
        whole.looks[-1].verdict, reason="vm_missing", confidence=Confidence.POSSIBLE
    )
    changed = dataclasses.replace(whole.looks[-1], verdict=verdict)
    (one,) = replay(dataclasses.replace(whole, looks=(changed,)))
    assert not one.same
    assert one.differences == (
        "reason: vm_not_running, was vm_missing",
        "confidence: certain, was possible",
    )


def test_replay_under_another_policy() -> None:
    last = replay(decided(), Policy.PAPER)[-1]
    assert last.decided.policy is Policy.PAPER
    assert last.recorded.policy is Policy.DEFAULT


def test_a_record_says_what_an_incident_is() -> None:
    anomaly = samples.vm_paused_evidence(early=True).anomaly
    incident, _ = advance(
        None, Bad(anomaly=anomaly, last_bad=samples.T0), samples.T0 + 5, IncidentSettings()
    )
    assert incident is not None
    record = record_of(incident)
    assert (record.id, record.target, record.opened) == (incident.id, "front page", samples.T0)
    assert (record.status, record.closed, record.title, record.outages) == ("pending", None, "", 1)
