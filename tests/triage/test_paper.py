"""The source paper's tables, computed: the same by its rules, and why they differ by default."""

from __future__ import annotations

import asyncio
import dataclasses
import io

import pytest

from triage.cascade import decide
from triage.evidence import Cause, Match, Policy
from triage.paper.cases import CaseLine, load_cases
from triage.paper.gather import app_evidence, failed, gather, proxy_evidence
from triage.paper.reproduce import Reproduced, computed, reproduce
from triage.recording import Decision, Record, Recording, dump, load, replay
from triage.views.page import page
from triage.views.tree import console_for


@pytest.fixture(scope="module")
def found() -> Reproduced:
    return computed()


def test_the_facts_are_those_of_the_paper() -> None:
    cases = load_cases()
    assert [one.seconds for one in cases.unalerted] == [45, 15, 30, 30, 15, 15, 15, 15, 30, 15, 15]
    assert sum(one.node == "master" for one in cases.unalerted) == 9
    assert [case.paper.lag for case in cases.cases] == [21, 22, 20, 22]
    assert [case.paper.app_lag for case in cases.cases] == [None, 46, 54, 33]
    assert [(case.paper.non_200, case.paper.error) for case in cases.cases] == [
        *((0, 0), (0, 5), (0, 2), (1, 6))
    ]
    for case in cases.cases:
        assert case.paper.lag == case.metric_time - case.paper.proxy_time
        if case.paper.app_time is not None:
            assert case.paper.app_lag == case.paper.proxy_time - case.paper.app_time
    for one in cases.unalerted:
        assert one.seconds == one.end - one.start


def test_the_printed_lines_are_the_paper_s_own() -> None:
    cases = load_cases()
    printed = [
        line.line
        for case in cases.cases
        for line in (*case.proxy_log, *case.app_log)
        if line.printed
    ]
    proxy, error, head = printed
    assert proxy.startswith('[2025-07-16T19:48:37.303Z] "GET / HTTP/1.1" 503 UC ')
    assert "fc594902-0098-41e5-890b-05a5c6f84fd9" in proxy
    assert error.startswith("2025-07-17T05:51:22.889601661Z stderr F Transient error ")
    assert head.endswith('127.0.0.6:34385 - "HEAD / HTTP/1.1" 405 Method Not Allowed')


def test_table_1(found: Reproduced) -> None:
    assert [row.bad_for for row in found.short] == [row.paper.seconds for row in found.short]
    assert not any(row.rule_fires for row in found.short)
    assert len({row.incident for row in found.short} - {""}) == 11


def test_table_2(found: Reproduced) -> None:
    assert [row.in_paper_window for row in found.evaluated] == [None] * 4
    lines = [row.in_derived_window for row in found.evaluated]
    for row, line in zip(found.evaluated, lines, strict=True):
        assert line is not None
        assert (line.status, line.flags, line.match) == (503, ("UC",), Match.OWN)
        lag = row.case.metric_time - line.end
        assert lag == pytest.approx(row.case.paper.lag, abs=0.5)


def test_table_3(found: Reproduced) -> None:
    for row in found.evaluated:
        paper, first, line = row.case.paper, row.first_app_line, row.in_derived_window
        assert (first is None) == (paper.app_time is None)
        if first is not None and line is not None:
            assert line.end - first.line.time == pytest.approx(paper.app_lag, abs=1.5)


def test_table_4(found: Reproduced) -> None:
    for row in found.evaluated:
        app, paper = row.by_paper.app, row.case.paper
        assert (app.non_200, app.with_error) == (paper.non_200, paper.error)
        assert row.verdict_paper.cause is paper.cause
        assert row.verdict_paper.policy is Policy.PAPER


def test_by_default_noise_and_another_s_head_are_not_the_cause(found: Reproduced) -> None:
    for row in found.evaluated:
        for verdict in (row.verdict_default, row.verdict_wide):
            assert verdict.cause is Cause.COMMUNICATION
            assert verdict.reason == "connection_reset"
            assert verdict.unknowns  # pods and nodes were not looked at
    whys = [row.why for row in found.evaluated]
    assert whys[0] == ""
    assert whys[1].startswith("5 x noise")
    assert whys[2].startswith("2 x noise")
    assert whys[3].startswith("6 x noise")
    assert "1 x HEAD 405" in whys[3]


def test_the_columns_follow_from_the_lines_and_not_from_the_table() -> None:
    """With other lines in its logs, a case comes out otherwise."""
    cases = load_cases()
    case = cases.cases[1]
    window_evidence = asyncio.run(gather(case, cases, Policy.PAPER))
    quiet = dataclasses.replace(case, app_log=())
    evidence = asyncio.run(gather(quiet, cases, Policy.PAPER))
    assert window_evidence.app.with_error == 5
    assert evidence.app.with_error == 0
    assert decide(evidence, Policy.PAPER).cause is Cause.COMMUNICATION
    fine = tuple(CaseLine(line=line.line.replace(" 503 UC ", " 200 - ")) for line in case.proxy_log)
    evidence = asyncio.run(gather(dataclasses.replace(case, proxy_log=fine), cases, Policy.PAPER))
    assert failed(evidence.proxy, cases) is None
    assert decide(evidence, Policy.PAPER).cause is Cause.MONITORING_PATH


def test_a_real_error_of_the_request_is_not_noise() -> None:
    cases = load_cases()
    case = cases.cases[0]
    line = (
        "2025-07-16T19:48:38.700000000Z stderr F ERROR: Exception in ASGI application"
        " for GET /: RuntimeError: database is gone"
    )
    broken = dataclasses.replace(case, app_log=(*case.app_log[:1], CaseLine(line=line)))
    evidence = asyncio.run(gather(broken, cases, Policy.DEFAULT))
    assert max(one.score for one in evidence.app.lines) > 0.5
    window = evidence.app.look.window
    assert window is not None
    again = asyncio.run(app_evidence(broken, cases, window, failed(evidence.proxy, cases)))
    assert again == evidence.app


def test_every_line_is_understood() -> None:
    cases = load_cases()
    for case in cases.cases:
        evidence = asyncio.run(gather(case, cases, Policy.PAPER))
        assert evidence.proxy.unparsed == 0
        window = evidence.proxy.look.window
        assert window is not None
        assert proxy_evidence(case, cases, window) == evidence.proxy


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_printed(width: int) -> None:
    stream = io.StringIO()
    reproduce(console_for(stream, width))
    text = stream.getvalue()
    words = " ".join(text.split())
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= width
    for one in (
        "Sakai, Hirao, Kushida",
        "The rule alerts for 0 of 11; ours opens 11 incidents.",
        "Found with 15 s: 0 of 4; with the derived window: 4 of 4.",
        "T-27 s to T+12 s",
        "07-17 08:56:30 1 / 1 6 / 6 application application communication",
        "Causes by the paper's policy: 4 of 4 as in the paper.",
        "communication (probable), not application: 5 x noise",
        "3 of the log lines are the paper's own",
    ):
        assert one in words


def test_a_case_can_be_recorded_replayed_and_drawn(found: Reproduced) -> None:
    row = found.evaluated[3]
    recording = Recording(
        record=Record(id="1", target=found.cases.target.name, opened=row.case.metric_time),
        looks=(
            Decision(evidence=row.by_paper, verdict=row.verdict_paper),
            Decision(evidence=row.by_default, verdict=row.verdict_default),
        ),
    )
    back = load(dump(recording))
    assert back == recording
    assert [one.same for one in replay(back)] == [True, True]
    assert [one.decided.cause for one in replay(back, Policy.DEFAULT)] == [
        Cause.COMMUNICATION,
        Cause.COMMUNICATION,
    ]
    assert "communication: connection reset" in page(back)
