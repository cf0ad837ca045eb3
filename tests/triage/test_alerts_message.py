from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.triage.alert_cases import SECRET, T0, make_evidence, make_incident, make_verdict, told
from triage.alerts.message import (
    MAX_LINE,
    MAX_PROOFS,
    MAX_TEXT,
    cut,
    decode,
    duration,
    encode,
    make_message,
    utc,
)
from triage.evidence import Proof, Step
from triage.incidents import Alert, AlertKind


def test_a_message_says_what_the_verdict_says() -> None:
    message = told()
    assert message.id == "20260102-030405-a1b2c3.1"
    assert (message.cause, message.reason, message.confidence) == (
        "node",
        "vm_not_running",
        "certain",
    )
    assert (message.target, message.cluster, message.namespace) == ("shop", "main", "front")
    assert (message.status, message.started_at, message.ended_at) == (503, T0, None)
    assert message.firing


def test_deciding_lines_come_first() -> None:
    assert [proof.deciding for proof in told().proofs] == [True, False]


def test_secrets_are_masked() -> None:
    verdict = make_verdict(
        title=f"password={SECRET}",
        summary=f"token={SECRET}",
        object=f"secret={SECRET}",
        unknowns=(f"Authorization: Bearer {SECRET}",),
    )
    assert SECRET.encode() not in encode(told(verdict=verdict))


def test_the_end_is_told_by_the_last_message_only() -> None:
    assert told(2, AlertKind.UPDATED, resolved_at=T0 + 45).ended_at is None
    resolved = told(3, AlertKind.RESOLVED)
    assert resolved.ended_at == T0 + 45
    assert not resolved.firing
    assert duration(resolved) == "46 s" or duration(resolved) == "45 s"


def test_without_a_verdict_it_is_undetermined_and_says_why() -> None:
    incident = make_incident(best=None)
    message = make_message(
        incident,
        Alert(incident=incident.id, kind=AlertKind.FIRING, number=1),
        time=T0,
        verdict=None,
        evidence=None,
    )
    assert (message.cause, message.target) == ("undetermined", "shop")
    assert "503" in message.summary
    assert message.unknowns


def test_everything_is_bounded() -> None:
    many = tuple(
        Proof(step=Step.APP, time=T0, source="s" * 9999, text="x" * 99999) for _ in range(500)
    )
    verdict = make_verdict(
        title="t" * 9999, summary="s" * 99999, proofs=many, unknowns=("u" * 99999,) * 500
    )
    message = told(verdict=verdict)
    assert len(message.proofs) == MAX_PROOFS
    assert message.proofs_left_out == 500 - MAX_PROOFS
    assert max(len(proof.text) for proof in message.proofs) == MAX_LINE
    assert message.proofs[0].text.endswith("(cut)")
    assert len(encode(message)) < 200_000


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.text(alphabet="\x00\ud800\x1b\x7f\u2028a", max_size=20))
def test_whatever_is_in_it_a_message_comes_back_as_it_was(text: str, odd: str) -> None:
    verdict = make_verdict(
        title=odd, summary=text + odd, proofs=(replace(make_verdict().proofs[0], text=odd),)
    )
    message = told(verdict=verdict)
    assert decode(encode(message)) == message


def test_a_stored_message_of_another_kind_is_an_error() -> None:
    for data in (b"", b"{}", b"\xff", encode(told())[:-9]):
        with pytest.raises(ValueError, match="cannot be read"):
            decode(data)


def test_fields_that_came_later_do_not_hinder() -> None:
    data = encode(told())
    assert decode(b'{"new_one": [1, 2],' + data[1:]) == told()


@given(st.text(max_size=60), st.integers(0, 40))
def test_cut_text_is_no_longer_than_asked_for(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit
    assert cut(text, 60) == text


@pytest.mark.parametrize("time", [0.0, T0, -1e30, 1e30, float("inf"), float("nan")])
def test_any_time_is_shown(time: float) -> None:
    assert utc(time).endswith("Z")
    assert utc(T0) == "2026-01-02T03:04:05.500Z"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(45, "45 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(replace(told(), ended_at=T0 + seconds)) == shown


def test_links_and_evidence_have_bounds_of_their_own() -> None:
    incident = make_incident()
    message = make_message(
        incident,
        Alert(incident=incident.id, kind=AlertKind.FIRING, number=1, why="w" * 9999),
        time=T0,
        verdict=make_verdict(),
        evidence=make_evidence(),
        links={f"link{n}": "https://x.example/" + "y" * 9999 for n in range(99)},
    )
    assert len(message.links) == 10
    assert all(len(url) <= MAX_TEXT for url in message.links.values())
    assert len(message.why) <= 300
