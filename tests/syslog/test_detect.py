"""Whole fleets through `detect`: what is an outage, what is not, whatever the order and size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.syslog.detect_fleet import DAY, ODD_TROUBLE, START, FleetMaker, names
from triage.syslog.detect import DetectSettings, detect, with_lines
from triage.syslog.executor import local_executor
from triage.syslog.tables import (
    COUNTS,
    Corpus,
    Detection,
    Finding,
    FindingKind,
    Line,
    WindowScore,
)

SITES, EACH, DAYS = 2, 3, 6
SETTINGS = DetectSettings(engine="numpy")


def _detect(corpus: Corpus, settings: DetectSettings = SETTINGS) -> Detection:
    with local_executor(1) as executor:
        return detect(corpus, settings, executor)


def _fleet(seed: int = 3, days: int = DAYS) -> FleetMaker:
    return FleetMaker(names(SITES, EACH), days, seed).ordinary(rate=0.5)


def _days(scores: Iterable[WindowScore]) -> set[tuple[int, str]]:
    return {(int(s.start / 60 - START) // DAY, s.area) for s in scores if s.abnormal}


def _outages(found: Detection) -> list[Finding]:
    return [finding for finding in found.findings if finding.kind is FindingKind.OUTAGE]


@pytest.fixture(scope="module")
def eventful() -> tuple[FleetMaker, Detection]:
    """One fleet with an outage of each kind and a decoy of each."""
    fleet = _fleet(days=12)
    fleet.new_software(fleet.at(2.3))
    fleet.power([0, 1, 2], fleet.at(3.4), 90)
    fleet.planned([3, 4], fleet.at(4.75), 60)
    fleet.link([3, 4, 5], fleet.at(6.2), 12)
    fleet.storage([0, 1], fleet.at(7.6), 30)
    fleet.away(5, fleet.at(9.1), fleet.at(9.2))
    fleet.upgrade(fleet.at(5.4), 0)
    fleet.upgrade(fleet.at(10.4), 9)
    fleet.scan([0, 2, 4], fleet.at(8.3), 300)
    return fleet, _detect(fleet.corpus())


def test_each_kind_of_outage_is_found_on_its_day_and_no_other(
    eventful: tuple[FleetMaker, Detection],
) -> None:
    expected = {(3, "site0.example"), (4, "site1.example"), (6, "site1.example"),
                (7, "site0.example"), (9, "site1.example")}  # fmt: skip
    assert _days(eventful[1].daily) == expected
    assert _days(eventful[1].short) == expected


def test_an_outage_has_the_time_and_the_hosts_of_what_happened(
    eventful: tuple[FleetMaker, Detection],
) -> None:
    fleet, found = eventful
    power = next(o for o in _outages(found) if o.area == "site0.example" and "anew" in o.summary)
    assert abs(power.start / 60 - fleet.at(3.4)) <= 10
    assert abs(power.end / 60 - fleet.at(3.4) - 90) <= 5
    assert power.hosts == fleet.hosts[:3]
    assert "all its hosts silent" in power.summary
    planned = next(o for o in _outages(found) if "orderly" in o.summary)
    assert planned.hosts == fleet.hosts[3:5]
    link = next(o for o in _outages(found) if "trouble lines" in o.summary
                and o.area == "site1.example")  # fmt: skip
    assert abs(link.start / 60 - fleet.at(6.2)) <= 15
    assert set(link.hosts) == set(fleet.hosts[3:6])


def test_findings_come_outages_first_with_edges_and_templates(
    eventful: tuple[FleetMaker, Detection],
) -> None:
    found = eventful[1]
    kinds = [finding.kind for finding in found.findings]
    assert kinds[:5] == [FindingKind.OUTAGE] * 5
    assert {FindingKind.RESTART, FindingKind.RARE_TEMPLATE} <= set(kinds)
    for outage in _outages(found):
        assert outage.score >= 1
        assert len(outage.edges) <= SETTINGS.most_edges
        assert outage.edges_total >= len(outage.edges)
    assert any(outage.edges and outage.templates for outage in _outages(found))
    assert sum(found.rarity.days_of.values()) > 0
    assert found.graphs


def test_scores_are_at_least_1_just_where_a_window_is_abnormal(
    eventful: tuple[FleetMaker, Detection],
) -> None:
    for score in (*eventful[1].daily, *eventful[1].short):
        assert (score.score >= 1) == score.abnormal
        assert 0 <= score.rare <= score.edges


def test_the_order_of_rows_and_the_number_of_workers_change_nothing() -> None:
    fleet = _fleet(days=4)
    fleet.power([0, 1], fleet.at(2.4), 50)
    corpus = fleet.corpus()
    shuffled = replace(corpus, counts=corpus.counts.sample(fraction=1.0, shuffle=True, seed=5))
    with local_executor(2) as executor:
        assert detect(shuffled, SETTINGS, executor) == _detect(corpus)


@pytest.mark.parametrize("seed", [11, 12])
def test_a_fleet_without_an_outage_has_none(seed: int) -> None:
    found = _detect(_fleet(seed).corpus())
    assert _outages(found) == []
    assert not _days(found.daily) | _days(found.short)


def test_three_days_of_one_host_have_their_boot_and_no_other_outage() -> None:
    fleet = FleetMaker(("alone",), 3).ordinary()
    quiet = _detect(fleet.corpus())
    assert _outages(quiet) == []
    fleet.power([0], fleet.at(1.5), 30)
    (outage,) = _outages(_detect(fleet.corpus()))
    assert abs(outage.start / 60 - fleet.at(1.5)) <= 10


def test_when_all_hosts_are_silent_together_it_is_the_collector_that_lost_them() -> None:
    fleet = _fleet(days=5)
    for host in range(len(fleet.hosts)):
        fleet.away(host, fleet.at(2.5), fleet.at(2.6))
    found = _detect(fleet.corpus())
    assert _outages(found) == []
    silences = [f for f in found.findings if f.kind is FindingKind.SILENCE]
    assert silences
    assert any("collector" in silence.summary for silence in silences)


def test_when_all_hosts_boot_after_the_silence_it_is_an_outage() -> None:
    fleet = _fleet(days=5)
    fleet.power(range(len(fleet.hosts)), fleet.at(2.5), 100)
    assert _days(_detect(fleet.corpus()).daily) == {(2, "site0.example"), (2, "site1.example")}


def test_a_new_host_and_one_taken_away_are_no_outages() -> None:
    fleet = _fleet(days=8)
    fleet.away(0, START, fleet.at(3.5))
    fleet.boot(0, fleet.at(3.5))
    fleet.put(fleet.at(5.5) - 1, 4, "systemd[**]: Reached target Shutdown.")
    fleet.away(4, fleet.at(5.5), fleet.at(9))
    found = _detect(fleet.corpus())
    assert _outages(found) == []
    assert any("until the end" in f.summary for f in found.findings)


def test_a_clock_that_jumps_is_no_silence() -> None:
    fleet = _fleet(days=6)
    low, high = fleet.at(3.5), fleet.at(3.5) + 90  # lines of these minutes come 90 too early
    fleet.rows = [
        (row[0] - 90 if row[1] == 2 and low <= row[0] < high else row[0], *row[1:])
        for row in fleet.rows
    ]
    found = _detect(fleet.corpus())
    assert _outages(found) == []
    assert any("clock" in finding.summary for finding in found.findings)


def test_lines_of_trouble_now_and_then_are_no_outage_but_together_they_are() -> None:
    fleet = _fleet(days=6)
    random = np.random.default_rng(1)
    for text in ODD_TROUBLE:
        for minute in random.integers(START, START + 6 * DAY, 40):
            fleet.put(int(minute), int(random.integers(0, 6)), text)
    assert _outages(_detect(fleet.corpus())) == []
    fleet.storage([3, 4, 5], fleet.at(4.3), 25)
    assert _days(_detect(fleet.corpus()).daily) == {(4, "site1.example")}


def test_areas_may_be_hosts_or_everything() -> None:
    fleet = _fleet(days=4)
    fleet.power([0], fleet.at(2.4), 50)
    corpus = fleet.corpus()
    by_host = _detect(corpus, replace(SETTINGS, area="host"))
    assert _days(by_host.daily) == {(2, fleet.hosts[0])}
    everything = _detect(corpus, replace(SETTINGS, area="all"))
    assert _days(everything.daily) == {(2, "all")}


def test_nothing_gives_nothing() -> None:
    corpus = replace(FleetMaker(("a",), 1).ordinary().corpus(), counts=pl.DataFrame(schema=COUNTS))
    assert _detect(corpus).findings == ()


class _Lines:
    """Stands for a store."""

    def lines(
        self, start: float, end: float, hosts: object, templates: object, limit: int
    ) -> tuple[Line, ...]:
        assert start < end
        return tuple(
            Line(time=start + n, host="b", text=f"{n}") for n in reversed(range(limit + 3))
        )


def test_lines_are_added_in_order_and_bounded(eventful: tuple[FleetMaker, Detection]) -> None:
    shown = with_lines(eventful[1], _Lines(), replace(SETTINGS, most_lines=4))
    lines = next(f for f in shown.findings if f.templates).lines
    assert len(lines) == 4
    assert [line.time for line in lines] == sorted(line.time for line in lines)
