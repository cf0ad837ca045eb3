"""The parts of detection by themselves: peaks, rarity, silences, words, the decision, history."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.syslog.detect_fleet import DAY, LINK, START, UPGRADE, FleetMaker, names
from triage.syslog.detect import (
    DetectSettings,
    History,
    boot_templates,
    findings_in,
    forget,
    history_of,
    update,
)
from triage.syslog.detect.decide import WindowFeatures, decide
from triage.syslog.detect.history import decode, encode
from triage.syslog.detect.peaks import Counted, crowd_scores, crowd_threshold, scores_of
from triage.syslog.detect.rarity import days_of_pairs, rare_edges, rarity_of
from triage.syslog.detect.series import Fleet, Window, graph_task, heard, run_task
from triage.syslog.detect.silence import gap_limit, host_silences
from triage.syslog.detect.words import traits_of
from triage.syslog.tables import (
    COUNTS,
    Corpus,
    Edge,
    Finding,
    FindingKind,
    Node,
    Template,
    WindowGraph,
    content_id,
)

SETTINGS = DetectSettings(engine="numpy")


def _counted(values: np.ndarray, areas: int = 1) -> Counted:
    return Counted(
        value=values.astype(np.float64),
        area=np.arange(values.size) % areas,
        exposure=np.full(values.size, 50.0),
        slot=np.zeros(values.size, np.int64),
    )


# Peaks


@given(st.integers(0, 10_000), st.floats(0.2, 30.0))
@settings(max_examples=25, deadline=None)
def test_poisson_counts_have_hardly_a_peak_and_a_large_count_is_one(seed: int, mean: float) -> None:
    values = np.random.default_rng(seed).poisson(mean, 400)
    values[7] = 12 + int(6 * mean)
    scores = scores_of(_counted(values), floor=8, alpha=0.25)
    assert scores[7] >= 1
    assert np.count_nonzero(scores >= 1) <= 3


def test_a_peak_does_not_hide_the_next() -> None:
    values = np.random.default_rng(1).poisson(2, 300)
    values[[3, 50, 90, 91, 200, 260]] = 60
    assert set(np.flatnonzero(scores_of(_counted(values), floor=8, alpha=0.25) >= 1)) == {
        3, 50, 90, 91, 200, 260,
    }  # fmt: skip


def test_what_more_series_explain_is_no_peak() -> None:
    exposure = np.tile([20.0, 80.0], 60)
    counted = replace(_counted(exposure / 2), exposure=exposure)
    assert not np.any(scores_of(counted, floor=8, alpha=0.25) >= 1)


def test_few_windows_need_more_to_peak() -> None:
    values = np.array([2, 3, 13])
    many = np.append(np.tile([2, 3], 60), 13)
    few_score = scores_of(_counted(values), floor=2, alpha=0.25)[-1]
    assert few_score < scores_of(_counted(many), floor=2, alpha=0.25)[-1]
    assert scores_of(_counted(np.array([])), floor=8, alpha=0.25).size == 0


@given(st.integers(0, 10_000), st.floats(0.05, 4.0))
@settings(max_examples=25, deadline=None)
def test_crowds_by_chance_stay_below_the_threshold(seed: int, mean: float) -> None:
    values = np.random.default_rng(seed).poisson(mean, 600)
    area = np.arange(600) % 3
    scores = crowd_scores(values, area, np.zeros(600, np.bool_), floor=5, alpha=0.25)
    assert np.count_nonzero(scores >= 1) <= 3


def test_crowds_that_are_outages_do_not_raise_the_threshold() -> None:
    values = np.random.default_rng(2).poisson(0.8, 300)
    clean = crowd_threshold(values, 300, 0.25)
    values[:20] = 15
    scores = crowd_scores(
        values, np.zeros(300, np.int64), np.zeros(300, np.bool_), floor=1, alpha=0.25
    )
    assert 15 / scores[0] <= clean + 1


# Rarity


def _edge(a: str, b: str, strength: float = 1.0) -> Edge:
    return Edge(a=Node(a, 1), b=Node(b, 2), strength=strength)


def test_days_of_an_edge_do_not_depend_on_its_direction_or_on_windows_of_a_day() -> None:
    there, back = _edge("x", "y"), Edge(a=Node("y", 2), b=Node("x", 1))
    days = days_of_pairs([(1, [there]), (1, [back]), (4, [back]), (5, [_edge("p", "q")])])
    assert days == {there.pair: 2, _edge("p", "q").pair: 1}


def test_the_threshold_is_the_quantile_bounded_by_the_share_of_days() -> None:
    pairs = {_edge(f"h{n}", "z").pair: days for n, days in enumerate([1] * 6 + [4] * 2 + [50] * 2)}
    assert rarity_of(pairs, 52, 0.8, 0.25).threshold == 4
    assert rarity_of(pairs, 52, 0.5, 0.25).threshold == 1
    assert rarity_of(pairs, 52, 0.95, 0.25).threshold == 13
    assert rarity_of(pairs, 3, 0.8, 0.25).threshold == 1
    assert dict(rarity_of(pairs, 52, 0.8, 0.25).days_of) == {1: 6, 4: 2, 50: 2}
    assert rarity_of({}, 3, 0.8, 0.25).threshold == 1


def test_rare_edges_come_rarest_first_then_strongest() -> None:
    edges = (_edge("a", "b", 3.0), _edge("c", "d", 9.0), _edge("e", "f"), _edge("g", "h"))
    days = dict(zip((edge.pair for edge in edges), (2, 2, 1, 9), strict=True))
    graph = WindowGraph(start=0, end=1, area="all", nodes=8, edges=edges)
    assert rare_edges(graph, days, 2) == (edges[2], edges[1], edges[0])


# Silences


@pytest.mark.parametrize("chance", [0.05, 0.1, 0.28, 0.5, 0.9])
def test_hosts_that_log_at_random_are_hardly_ever_silent(chance: float) -> None:
    end = START + 10 * DAY
    false = missed = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        minutes = START + np.flatnonzero(random.random(10 * DAY) < chance)
        false += len(host_silences(0, minutes, end, SETTINGS))
        limit = 4 * int(gap_limit(np.diff(minutes), SETTINGS))
        gone = minutes[(minutes < START + 5000) | (minutes >= START + 5001 + limit)]
        missed += not any(
            one.start <= START + 5000 and one.end >= START + 5001 + limit
            for one in host_silences(0, gone, end, SETTINGS)
        )
    assert false <= 1
    assert missed == 0


def test_whoever_logs_little_at_night_is_not_silent_then() -> None:
    minutes = np.arange(START, START + 20 * DAY)
    hour = minutes % DAY // 60
    random = np.random.default_rng(3)
    busy = random.random(minutes.size) < np.where((hour >= 8) & (hour < 20), 0.8, 0.03)
    assert host_silences(0, minutes[busy], START + 20 * DAY, SETTINGS) == ()
    noon = START + 10 * DAY + 720
    gone = minutes[busy & ~((minutes >= noon) & (minutes < noon + 200))]
    # By day 200 minutes are long for this host, and yet short beside its nights
    assert gap_limit(np.diff(minutes[busy]), SETTINGS) > 30
    assert len(host_silences(0, gone, START + 20 * DAY, SETTINGS)) <= 1


# Words


@pytest.mark.parametrize(
    ("text", "trait"),
    [
        ("kernel: nfs: server ** not responding, still trying", "trouble"),
        ("kernel: ixgbe ** eth0: NIC Link is Down", "trouble"),
        ("kernel: Buffer I/O error on device **", "trouble"),
        ("sshd[**]: Failed password for root from **", "stranger"),
        ("named[**]: client **: view world: query (cache) '**' denied", "stranger"),
        ("dpkg: status installed **", "change"),
        ("kernel: Linux version **", "boot"),
        ("systemd[**]: Reached target Shutdown.", "stop"),
    ],
)
def test_what_a_template_tells(text: str, trait: str) -> None:
    traits = traits_of(Template(id=1, text=text))
    assert getattr(traits, trait)
    if trait != "trouble":
        assert not traits.trouble


@pytest.mark.parametrize(
    "text",
    ["ntpd[**]: adjusting local clock by **", "smartd[**]: 0 errors", "x: no errors found in **",
     "agent[**]: /var/log/errors/** opened"],
)  # fmt: skip
def test_what_is_no_trouble(text: str) -> None:
    assert not traits_of(Template(id=1, text=text)).trouble


def test_the_program_is_what_stands_before_its_number() -> None:
    assert traits_of(Template(id=1, text="postfix/qmgr[**]: ** removed")).program == "postfix/qmgr"
    assert traits_of(Template(id=1, text="")).program == ""


# The decision


TROUBLE = WindowFeatures(
    edge_peak=1.5, trouble_peak=1.4, trouble_close=9, trouble_hosts=3, trouble_programs=3,
    unusual=14, trouble=9,
)  # fmt: skip


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        (WindowFeatures(), None),
        (WindowFeatures(silent=1), FindingKind.OUTAGE),
        (WindowFeatures(restarted=2, change=30, unusual=40), FindingKind.OUTAGE),
        (TROUBLE, FindingKind.OUTAGE),
        (replace(TROUBLE, edge_peak=0.0), FindingKind.OUTAGE),
        (replace(TROUBLE, trouble_peak=0.8), FindingKind.OUTAGE),
        (replace(TROUBLE, trouble_peak=0.8, edge_peak=0.2), None),
        (replace(TROUBLE, trouble_hosts=1, trouble_programs=1), FindingKind.NEW_EDGES),
        (replace(TROUBLE, change=12), FindingKind.CHANGE),
        (replace(TROUBLE, lasting=12), FindingKind.CHANGE),
        (replace(TROUBLE, stranger=12), FindingKind.SCAN),
        (WindowFeatures(edge_peak=2, unusual=9, largest_program=9), FindingKind.BURST),
        (WindowFeatures(edge_peak=2, unusual=9, largest_program=3), FindingKind.NEW_EDGES),
        (WindowFeatures(edge_peak=0.9, lost=5), FindingKind.SILENCE),
    ],
)
def test_the_table_of_decisions(features: WindowFeatures, kind: FindingKind | None) -> None:
    verdict = decide(features)
    assert verdict.kind is kind
    assert (verdict.score >= 1) == (kind is FindingKind.OUTAGE)


# History


@pytest.fixture(scope="module")
def past() -> tuple[Corpus, History]:
    corpus = FleetMaker(names(1, 3), 6, 5).ordinary(rate=0.5).corpus()
    fleet = Fleet(corpus, "site")
    graphs = [
        run_task(graph_task(fleet, Window(start, start + DAY), 0, 1, SETTINGS.graph_of(86_400.0)))[
            0
        ]
        for start in range(START, START + 6 * DAY, DAY)
    ]
    return corpus, history_of(corpus, graphs, SETTINGS, boot_templates(corpus, SETTINGS))


def test_a_history_is_encoded_whole_and_updating_twice_changes_nothing(
    past: tuple[Corpus, History],
) -> None:
    corpus, history = past
    assert decode(encode(history)) == history
    assert update(history, corpus, (), SETTINGS) == history
    assert history.days == 6
    assert history.pairs


def test_a_history_in_parts_is_the_history_of_the_whole(past: tuple[Corpus, History]) -> None:
    corpus, history = past
    middle = START + 3 * DAY + 77
    early = replace(corpus, counts=corpus.counts.filter(corpus.counts["minute"] < middle))
    both = update(history_of(early, (), SETTINGS), corpus, (), SETTINGS)
    assert both.nodes == history.nodes
    assert both.hosts == history.hosts
    assert both.days == history.days
    gone = forget(history, history.end + 1)
    assert not gone.nodes
    assert not gone.hosts


def _later(change: object) -> tuple[Corpus, FleetMaker]:
    """Two more hours of the same fleet, on its seventh day, changed."""
    maker = FleetMaker(names(1, 3), 7, 5).ordinary(rate=0.5)
    maker.rows = [row for row in maker.rows if maker.at(6.0) - 60 <= row[0] < maker.at(6.0) + 120]
    change(maker)  # type: ignore[operator]
    return maker.corpus(), maker


def _found(history: History, corpus: Corpus, host: str) -> tuple[Finding, ...]:
    start = (START + 6 * DAY) * 60.0
    return findings_in(history, corpus, host, start, start + 7200, SETTINGS)


def test_an_ordinary_window_has_hardly_a_finding(past: tuple[Corpus, History]) -> None:
    corpus, maker = _later(lambda _: None)
    found = _found(past[1], corpus, maker.hosts[0])
    assert {finding.kind for finding in found} <= {FindingKind.RARE_TEMPLATE}


def test_new_lines_new_edges_and_bursts_of_a_host_are_found(past: tuple[Corpus, History]) -> None:
    def flap(maker: FleetMaker) -> None:
        maker.link([0, 1, 2], maker.at(6.0) + 20, 40)
        for minute in range(60):
            maker.put(maker.at(6.0) + minute, 0, "dhcpd: DHCPREQUEST for ** from **", 40)

    corpus, maker = _later(flap)
    found = _found(past[1], corpus, maker.hosts[0])
    kinds = {finding.kind for finding in found}
    assert {FindingKind.RARE_TEMPLATE, FindingKind.NEW_EDGES, FindingKind.BURST} <= kinds
    rare = {f.templates[0] for f in found if f.kind is FindingKind.RARE_TEMPLATE}
    assert {content_id(text) for text in LINK} <= rare
    edges = next(f for f in found if f.kind is FindingKind.NEW_EDGES)
    assert all(maker.hosts[0] in (edge.a.host, edge.b.host) for edge in edges.edges)


def test_a_host_that_falls_silent_and_starts_anew_is_found(past: tuple[Corpus, History]) -> None:
    corpus, maker = _later(lambda maker: maker.power([1], maker.at(6.0) + 30, 50))
    found = _found(past[1], corpus, maker.hosts[1])
    silence = next(f for f in found if f.kind is FindingKind.SILENCE)
    assert abs(silence.start / 60 - maker.at(6.0) - 30) <= 6
    assert any(f.kind is FindingKind.RESTART for f in found)
    assert not any(f.kind is FindingKind.SILENCE for f in _found(past[1], corpus, maker.hosts[0]))


def test_a_host_without_any_line_is_silent_until_now(past: tuple[Corpus, History]) -> None:
    corpus, maker = _later(lambda maker: maker.away(2, START, START + 8 * DAY))
    (silence,) = _found(past[1], corpus, maker.hosts[2])
    assert silence.kind is FindingKind.SILENCE
    assert "until now" in silence.summary


def test_an_unknown_host_is_judged_by_nothing() -> None:
    corpus, maker = _later(lambda _: None)
    kinds = {finding.kind for finding in _found(History(), corpus, maker.hosts[0])}
    assert kinds == set()


def test_hosts_that_garbled_headers_made_are_left_out(past: tuple[Corpus, History]) -> None:
    corpus = past[0]
    ghost = pl.DataFrame(
        {"minute": [0], "host": [len(corpus.hosts)], "template": [0], "count": [3]},
        schema=COUNTS,
    )
    garbled = replace(
        corpus,
        counts=pl.concat([ghost, corpus.counts]),
        hosts=(*corpus.hosts, "zz1.kom"),
        site_of=(*corpus.site_of, "kom"),
    )
    left = heard(garbled, 50)
    assert (left.hosts, left.site_of) == (corpus.hosts, corpus.site_of)
    assert left.counts.equals(corpus.counts)
    assert heard(garbled, 10**9) is garbled


def test_upgrade_words_are_of_change() -> None:
    changes = [traits_of(Template(id=1, text=text)).change for text in UPGRADE]
    assert sum(changes) >= 4


def test_a_task_and_its_result_travel(past: tuple[Corpus, History]) -> None:
    fleet = Fleet(past[0], "site")
    task = graph_task(fleet, Window(START, START + DAY), 0, 1, SETTINGS.graph_of(86_400.0))
    there = pickle.loads(pickle.dumps(task))  # noqa: S301
    assert pickle.loads(pickle.dumps(run_task(there))) == run_task(task)  # noqa: S301
