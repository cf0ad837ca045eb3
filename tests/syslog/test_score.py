from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.syslog.score import (
    Findings,
    Found,
    FoundLine,
    Happening,
    Reference,
    ScoreError,
    findings_of,
    names_of,
    peaks,
    read_findings,
    read_tickets,
    reference_of,
    score,
    score_json,
    score_table,
    skeleton_score,
    template_accuracy,
    tickets_of,
)
from triage.syslog.simulate import (
    Decoy,
    Outage,
    Truth,
    TruthEdge,
    TruthHost,
    TruthNode,
    TruthTemplate,
)
from triage.syslog.tables import (
    Detection,
    Finding,
    FindingKind,
    Line,
    Node,
    Rarity,
    Template,
    WindowScore,
)

DAY, HOUR = 86_400.0, 3600.0
T = 1_443_225_600.0  # 2015-09-26 00:00 UTC


def window(
    start: float, length: float, area: str = "a.example", abnormal: bool = True
) -> WindowScore:
    return WindowScore(
        start=start, end=start + length, area=area, edges=9, rare=5, score=2.0, abnormal=abnormal
    )  # fmt: skip


def day(number: int, area: str = "a.example", abnormal: bool = True) -> WindowScore:
    return window(T + number * DAY, DAY, area, abnormal)


def outage(start: float, end: float, site: str = "a.example") -> Happening:
    return Happening(kind="power", start=start, end=end, hosts=(f"hv1.{site}",), site=site)


ONE = Reference(outages=(outage(T + 3 * DAY + HOUR, T + 3 * DAY + 2 * HOUR),))


def test_an_outage_is_found_by_an_abnormal_window_of_its_site() -> None:
    found = peaks([day(3), day(4, abnormal=False)], ONE)
    assert (found.recall, found.precision, found.false_days) == (1.0, 1.0, 0)
    assert found.located == 1


@pytest.mark.parametrize("area", ["a.example", "hv1.a.example", "all"])
def test_an_outage_is_found_at_its_site_its_hosts_and_over_all(area: str) -> None:
    assert peaks([day(3, area)], ONE).recall == 1


def test_a_window_elsewhere_finds_nothing_but_is_not_false() -> None:
    found = peaks([day(3, "b.example")], ONE)
    assert (found.recall, found.false, found.right, found.located) == (0, 0, 1, 0)
    assert found.missed == ((ONE.outages[0].start, "power"),)


def test_windows_without_an_outage_are_false_and_days_are_counted_once() -> None:
    found = peaks([day(3), day(7), day(7, "b.example"), day(9)], ONE)
    assert found.false_windows == (
        (T + 7 * DAY, "a.example"), (T + 7 * DAY, "b.example"), (T + 9 * DAY, "a.example"),
    )  # fmt: skip
    assert found.false_days == 2
    assert found.precision == 0.25


def test_two_short_false_windows_of_a_day_are_one_false_day() -> None:
    found = peaks([window(T + 5 * HOUR, 2 * HOUR), window(T + 9 * HOUR, 2 * HOUR)], ONE)
    assert (found.false, found.false_days) == (2, 1)


def test_what_an_outage_leaves_behind_is_no_false_alarm() -> None:
    end = ONE.outages[0].end
    late = window(end + 0.5 * HOUR, 2 * HOUR)
    assert peaks([late], ONE).right == 1
    assert peaks([late], ONE).recall == 0  # but it does not find the outage
    assert peaks([late], ONE, grace=0.0).false == 1


def test_a_window_that_ends_as_an_outage_begins_does_not_find_it() -> None:
    start = ONE.outages[0].start
    assert peaks([window(start - 2 * HOUR, 2 * HOUR)], ONE).recall == 0


def test_neutral_happenings_count_neither_for_nor_against() -> None:
    reference = Reference(
        outages=ONE.outages,
        neutral=(Happening(kind="reboot", start=T + HOUR, end=T + 2 * HOUR, site="a.example"),),
    )
    found = peaks([day(0), day(0, "b.example")], reference)
    assert (found.neutral, found.false, found.right) == (1, 1, 0)


def test_without_outages_nothing_can_be_missed() -> None:
    assert peaks([], Reference(outages=())).recall == 1
    assert peaks([day(1)], Reference(outages=())).precision == 0


def test_an_outage_without_a_place_is_found_anywhere() -> None:
    reference = Reference(outages=(Happening(kind="ticket", start=T, end=T + HOUR),))
    assert peaks([day(0, "wherever")], reference).recall == 1


def test_hosts_tell_the_site_where_none_is_told() -> None:
    reference = Reference(
        outages=(Happening(kind="t", start=T, end=T + HOUR, hosts=("hv1.a.example",)),)
    )
    assert peaks([day(0, "a.example")], reference).recall == 1
    assert peaks([day(0, "b.example")], reference).recall == 0


def test_delays_are_medians_from_the_outages_starts() -> None:
    start = ONE.outages[0].start
    findings = Findings(
        findings=(
            Found(
                kind="outage", start=start, end=start + HOUR, area="a.example",
                lines=(FoundLine(time=start - 5), FoundLine(time=start + 40)),
            ),
        ),
        daily=(day(3),),
        short=(window(start - HOUR, 2 * HOUR), window(start + HOUR - 1, 2 * HOUR)),
    )  # fmt: skip
    result = score(findings, ONE)
    assert result.delay == HOUR
    assert result.first_line == 40
    assert score(Findings(findings=(), daily=(), short=()), ONE).delay is None


def test_a_detection_and_its_json_score_the_same(tmp_path: Path) -> None:
    start = ONE.outages[0].start
    line = Line(time=start + 1, host="hv1.a.example", text="x")
    detection = Detection(
        findings=(
            Finding(
                kind=FindingKind.OUTAGE, start=start, end=start + HOUR, area="a.example",
                hosts=("hv1.a.example",), score=3.0, summary="s", lines=(line,),
            ),
        ),
        daily=(day(3), day(5)), short=(window(start, 2 * HOUR),), rarity=Rarity(),
    )  # fmt: skip
    path = tmp_path / "report.json"
    path.write_bytes(msgspec.json.encode(detection))
    assert read_findings(path) == findings_of(detection)
    result = score(read_findings(path), ONE)
    assert result.daily.false == 1
    plain = json.loads(score_json(result))
    assert plain["daily"]["precision"] == 0.5
    assert plain["short"]["recall"] == 1.0
    table = score_table(result)
    assert "false day: 2015-10-01 00:00 UTC a.example" in table
    assert table.splitlines()[1].split()[:4] == ["days", "1", "1", "1.000"]


@pytest.mark.parametrize("text", ["", "[]", '{"findings": []}', "\xff"])
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text, "latin-1")
    with pytest.raises(ScoreError, match=re.escape(str(path))):
        read_findings(path)


def truth() -> Truth:
    def edge(cause: str, effect: str, host: str = "hv1.a.example") -> TruthEdge:
        return TruthEdge(
            cause=TruthNode(template=cause, host=host),
            effect=TruthNode(template=effect, host=host), lag_seconds=1, probability=0.9,
        )  # fmt: skip

    return Truth(
        seed=1, start=T, end=T + DAY, hosts=(TruthHost(name="hv1.a.example", site="a.example"),),
        templates=(
            TruthTemplate(name="a/1", text="a[**]: opened **"),
            TruthTemplate(name="a/2", text="a[**]: opened ** by **"),
            TruthTemplate(name="b/1", text="b: done"),
            TruthTemplate(name="b/2", text="b: undone"),
        ),
        edges=(edge("a/1", "a/2"), edge("a/2", "b/1"), edge("b/1", "b/2")),
        outages=(
            Outage(kind="link", start=T, end=T + 1, hosts=("hv1.a.example",), site="a.example"),
        ),
        decoys=(
            Decoy(kind="scan", start=T, end=T + 1, hosts=()),
            Decoy(kind="join", start=T, end=T + 1, hosts=("hv1.a.example",), neutral=True),
        ),
    )  # fmt: skip


def test_only_neutral_decoys_are_neutral() -> None:
    reference = reference_of(truth())
    assert [each.kind for each in reference.neutral] == ["join"]
    assert reference.neutral[0].site == "a.example"
    assert reference.outages[0].kind == "link"


def test_template_accuracy_of_a_known_case() -> None:
    labels = pl.Series(["x", "x", "x", "y", "y", "z", None])
    assigned = pl.Series([1, 1, 1, 2, 3, 4, 4])
    found = template_accuracy(assigned, labels)
    assert found.ga == pytest.approx(4 / 6)  # x and z are right, y is split
    assert found.fga == pytest.approx(2 * 2 / (4 + 3))
    assert (found.templates, found.labels, found.lines) == (4, 3, 6)


@given(st.lists(st.integers(0, 5), min_size=1), st.permutations(range(6)))
def test_template_accuracy_does_not_depend_on_names(labels: list[int], names: list[int]) -> None:
    found = template_accuracy(pl.Series([names[label] for label in labels]), pl.Series(labels))
    assert (found.ga, found.fga) == (1.0, 1.0)


def test_template_accuracy_wants_labels() -> None:
    with pytest.raises(ScoreError, match="3 templates for 1 labels"):
        template_accuracy(pl.Series([1, 2, 3]), pl.Series(["a"]))
    with pytest.raises(ScoreError, match="no line has a label"):
        template_accuracy(pl.Series([1]), pl.Series([None], dtype=pl.String))


def test_learnt_templates_get_the_most_exact_true_name() -> None:
    templates = [
        Template(id=1, text="a[**]: opened **", example="a[7]: opened x"),
        Template(id=2, text="a[**]: opened ** by **", example="a[7]: opened x by y"),
        Template(id=3, text="c: **", example="c: nothing"),
        Template(id=4, text="b: done"),
    ]
    assert names_of(templates, truth()) == {1: "a/1", 2: "a/2", 4: "b/1"}


def test_skeleton_counts_pairs_and_what_is_near() -> None:
    host = "hv1.a.example"
    groups = {"a/1": 1, "a/2": 2, "b/1": 3, "b/2": 4}
    n1, n2, n3, n4 = (Node(host, group) for group in (1, 2, 3, 4))
    found = skeleton_score([(n2, n1), (n1, n2), (n1, n3), (n1, n4)], truth(), groups)
    assert (found.found, found.edges) == (3, 3)
    assert found.precision == pytest.approx(1 / 3)
    assert found.near == pytest.approx(2 / 3)  # 1-3 share the neighbour 2; 1-4 share none
    assert found.recall == pytest.approx(1 / 3)
    often = skeleton_score([(n1, n2)], truth(), groups, events={n1: 50, n2: 50, n3: 2, n4: 90})
    assert (often.frequent, often.frequent_recall) == (1, 1.0)


def test_edges_within_a_group_are_left_out() -> None:
    found = skeleton_score([], truth(), {"a/1": 1, "a/2": 1, "b/1": 3})
    assert (found.edges, found.precision, found.recall) == (1, 1.0, 0.0)


# Tickets

AT = datetime(2015, 9, 27, 6, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "start,end,host\n2015-09-27 06:12,2015-09-27 07:00,hv1.a.example\n",
        "\ufeffStarted;Resolved;Device\r\n27.09.2015 06:12;27.09.2015 07:00;hv1.a.example\r\n",
        ("Opened At\tClosed At\tAffected Hosts\n"
        "2015-09-27T06:12:00Z\t2015-09-27T07:00:00Z\thv1.a.example\n"),
        "id|begin|end|hosts\n1|1443334320|1443337200|hv1.a.example\n",
        "start,end,host\n1443334320000,1443337200000,hv1.a.example\n",
        "start,end,host\n27 Sep 2015 06:12,27 Sep 2015 07:00,hv1.a.example\n",
        ('"Start time","End time","Hosts"\n'
        '"Sep 27, 2015 06:12 AM","Sep 27, 2015 07:00 AM","hv1.a.example"\n'),
        "start,end,host\n9/27/2015 06:12,9/27/2015 07:00,hv1.a.example\n",
        "start,end,host\n2015/09/27 15:12+0900,2015-09-27 07:00 UTC,hv1.a.example\n"
        .replace("2015/09/27 15:12+0900", "2015-09-27T15:12:00+09:00"),
        "\n\nstart,end,host\n\n2015/9/27 06:12:00,2015/9/27 07:00:00,hv1.a.example\n\n",
    ],
)  # fmt: skip
def test_tickets_are_read_in_many_forms(text: str) -> None:
    (ticket,) = tickets_of(text).outages
    assert (ticket.start, ticket.end) == (AT, AT + 48 * 60)
    assert ticket.hosts == ("hv1.a.example",)


def test_times_without_a_zone_are_the_zone_s_that_was_told(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    path.write_text("start,end\n2015-09-27 15:12,2015-09-27 16:00\n")
    assert read_tickets(path, "Asia/Tokyo").outages[0].start == AT


def test_hosts_sites_kinds_and_open_tickets() -> None:
    text = (
        "number,kind,site,hosts,opened,resolved\n"
        '1,power,a.example,"hv2.a.example hv1.a.example; hv3.a.example",2015-09-27 06:12,\n'
    )
    (ticket,) = tickets_of(text, open_seconds=10).outages
    assert ticket.hosts == ("hv1.a.example", "hv2.a.example", "hv3.a.example")
    assert (ticket.kind, ticket.site, ticket.end) == ("power", "a.example", AT + 10)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("host,end\nx,2015-09-27\n", "line 1: no column for the start among host, end"),
        ("start,end\n2015-09-27 06:12,2015-09-27 07:00\nsoon,later\n", "line 3: 'soon' is no time"),
        ("start,end\n2015-09-27 06:12,2015-09-27 05:00\n", "line 2: it ends before it starts"),
        ("start,end\n03/04/2015 06:12,03/04/2015 07:00\n", "line 2: '03/04/2015 06:12' may be two"),
        ("start,end\n2015-09-27 06:12,\n,2015-09-27 07:00\n", "line 3: '' is no time"),
    ],
)  # fmt: skip
def test_tickets_that_cannot_be_read_are_told_with_their_line(text: str, told: str) -> None:
    with pytest.raises(ScoreError, match=re.escape(told)) as error:
        tickets_of(text)
    assert "\n" not in str(error.value)


def test_a_missing_file_or_zone_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="name a readable file"):
        read_tickets(tmp_path / "none.csv")
    with pytest.raises(ScoreError, match="no time zone 'Mars'"):
        tickets_of("start\n1443334320\n", "Mars")
    path = tmp_path / "latin.csv"
    path.write_bytes(b"start\n\xe9\n")
    with pytest.raises(ScoreError, match="save it as UTF-8"):
        read_tickets(path)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ScoreError):
        assert tickets_of("start,end\n" + text) is not None


def test_a_quoted_line_end_does_not_shift_the_line_that_is_told() -> None:
    text = 'start,note\n2015-09-27 06:12,"two\nlines"\nsoon,x\n'
    with pytest.raises(ScoreError, match="line 4: 'soon'"):
        tickets_of(text)
