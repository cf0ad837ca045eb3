"""The report: page, figures and JSON of one small fleet, whole, by themselves and harmless."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from tests.syslog.report_sample import HOSTILE, TEXTS, report_sample
from triage.syslog.report import report_page, write_figures
from triage.syslog.report.data import (
    ReportError,
    document,
    iso,
    read_report,
    report_json,
    schema,
)
from triage.syslog.report.figures import Drawn, figures
from triage.syslog.report.marking import marked, parts, template_html
from triage.syslog.report.model import ReportData, Volume
from triage.syslog.report.page import report_html
from triage.syslog.report.words import between, length, many, times
from triage.syslog.tables import Detection, FindingKind, Line, Rarity, content_id, id_text

GOLDEN = Path(__file__).parent / "data" / "report" / "report.json"
"""Written anew by: python -m tests.syslog.test_report"""

VOID = {"meta", "br"}
SVG_TAGS = {"svg", "g", "path", "text", "tspan", "use", "defs", "clippath", "rect"}
HTML_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "nav", "a"),
    *("h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "dl", "div", "dt", "dd", "span", "b", "i"),
    *("figure", "figcaption", "code", "mark", "details", "summary", "br"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Reader(HTMLParser):
    """Reads a page; fails on what does not belong there."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SVG_TAGS, tag
        self._seen(tag, attrs)

    def _seen(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in HTML_TAGS | SVG_TAGS, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in {"src", "xlink:href", "data"}, name
            assert "://" not in (value or ""), value
            if name == "href":
                assert (value or "").startswith("#"), value
                self.links.append((value or "")[1:])
            if name == "id":
                self.ids.append(value or "")
            self.links += re.findall(r"url\(#([^)]+)\)", value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


@cache
def sample() -> ReportData:
    return report_sample()


@cache
def drawn() -> tuple[Drawn, ...]:
    return figures(sample())


def read(data: ReportData, made: tuple[Drawn, ...] | None = None) -> tuple[Reader, str, str]:
    page = report_html(data, made)
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader, " ".join(" ".join(reader.text).split()), page


# The page


def test_findings_come_first_and_say_when_where_and_how_it_shows() -> None:
    _, text, _ = read(sample(), drawn())
    order = [
        text.index(words)
        for words in (
            "2 outages in 9 days",
            "dojima.example, 2015-09-27 02:00 to 03:30 UTC",
            "All findings at a glance",
            "4.4 times the threshold",
            "Lines that show it",
            "Changes: unusual",
            "Silences:",
            "Sample of the log",
            "truncated after 9000 bytes",
            "Figure 1.",
            "Figure 9.",
            "Periodic templates",
            "daily at 06:25 UTC",
            "every 5 min",
            "Groups of similar templates",
            "How it was computed",
            "of the CDF of days per edge",
        )
    ]
    first = [order[place] for place in (0, 1, 2, 4, 5, 7, 9, 11, 14)]
    assert first == sorted(first)


def test_it_stands_alone() -> None:
    reader, _, page = read(sample(), drawn())
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "@import" not in page
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.links) <= set(reader.ids)


def test_strangers_text_is_text() -> None:
    _, text, page = read(sample(), drawn())
    assert "<script>alert(" in text  # as it is read, not as it is run
    for char in ("\x1b", "\x07", "\u202e", "\x00"):
        assert char not in page
    assert "\\x1b[31mred" in text
    assert "$\\frac{1}{2}$" in text


def test_what_is_in_the_figures_is_read_in_the_page_too() -> None:
    _, text, _ = read(sample(), drawn())
    for one in drawn():
        assert one.title in text
        assert one.caption in text


def test_the_same_data_gives_the_same_page() -> None:
    assert report_page(sample()) == report_page(sample(), drawn())


def test_nothing_found_is_said() -> None:
    empty = ReportData(
        start=0.0,
        end=0.0,
        sites=(),
        volume=Volume(start=0.0, step=60.0, areas=()),
        templates=(),
        groups=(),
        detection=Detection(findings=(), daily=(), short=(), rarity=Rarity()),
    )
    _, text, _ = read(empty)
    assert "No outage" in text
    assert "Nothing unusual was found." in text
    assert read_report(report_json(empty)) == document(empty)


def test_lists_are_bounded_and_say_what_is_left_out() -> None:
    finding = next(
        one for one in sample().detection.findings if one.kind is FindingKind.RARE_TEMPLATE
    )
    detection = dataclasses.replace(sample().detection, findings=(finding,) * 5000)
    data = dataclasses.replace(sample(), detection=detection)
    page = report_html(data, ())
    assert "4,988 findings more, in the JSON" in page
    assert len(page) < 200_000


def test_a_fleet_of_the_reports_size_stays_small() -> None:
    line = Line(time=1e9, host="h" * 60, text="x" * 5000, template=1)
    data = sample()
    outage = dataclasses.replace(data.detection.findings[0], lines=(line,) * 24)
    detection = dataclasses.replace(data.detection, findings=(outage,) * 60)
    uses = tuple(
        dataclasses.replace(one, template=dataclasses.replace(one.template, text="**a" * 500))
        for one in data.templates
    )
    big = dataclasses.replace(data, detection=detection, templates=uses * 120)
    assert len(report_html(big, drawn()).encode()) < 6_000_000


# Figures


def test_all_nine_kinds_and_the_overview() -> None:
    assert [one.number for one in drawn()] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("number", range(10))
def test_each_figure_is_an_svg_by_itself(number: int) -> None:
    one = drawn()[number]
    content = one.svg()
    assert content == figures(sample())[number].svg()
    text = content.decode()
    root = ET.fromstring(text)  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert all(own is not None and own.startswith(one.name) for own in ids)
    urls = set(re.findall(r"https?://[^\"' <>]+", text))
    assert urls <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"20[2-9]\d-\d\d-\d\d", text)  # no date of today
    assert "\x1b" not in text
    words = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    if number not in {0, 5}:
        assert len(words) > 4


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "time (UTC)"),
        (2, "mean interval"),
        (3, "since the line before"),
        (6, "edges per day"),
        (7, "number of days on which an edge appears (days)"),
        (8, "rare edges per day"),
        (9, "rare edges per 2 h"),
    ],
)
def test_axes_have_titles(number: int, words: str) -> None:
    assert f">{words}</text>" in drawn()[number].inline()


def test_the_page_decides_on_the_colours() -> None:
    for one in drawn():
        element = one.inline()
        assert "var(--f-" in element
        assert "://" not in element
        assert not re.search(r"#[0-9a-f]{6}\b", element)
        assert '"img"' in element


def test_figures_three_and_four_show_the_periodic_and_the_bursty() -> None:
    assert [one.template for one in sample().tracks] == [content_id(TEXTS[2]), content_id(TEXTS[0])]
    assert "daily at 06:25 UTC" in drawn()[3].caption
    assert "1 burst" in drawn()[4].caption
    assert ">burst</text>" in drawn()[4].inline()


def test_abnormal_windows_are_marked_with_their_date() -> None:
    assert ">09-27</text>" in drawn()[8].inline()
    assert ">09-27 02:00</text>" in drawn()[9].inline()
    assert ">10-02 16:00</text>" in drawn()[9].inline()  # that day is not abnormal as a day


def test_figures_as_files(tmp_path: Path) -> None:
    written = write_figures(sample(), tmp_path / "figures", drawn()[6:8])
    assert [one.name for one in written] == [
        "figure-6-edges-per-day.svg",
        "figure-6-edges-per-day.png",
        "figure-7-days-per-edge.svg",
        "figure-7-days-per-edge.png",
    ]
    assert written[1].read_bytes().startswith(b"\x89PNG")
    assert sorted(one.name for one in (tmp_path / "figures").iterdir()) == sorted(
        one.name for one in written
    )


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="file"):
        write_figures(sample(), tmp_path / "file", ())
    (tmp_path / "taken" / f"{drawn()[7].name}.svg.part").mkdir(parents=True)
    with pytest.raises(ReportError, match=r"svg: Is a directory"):
        write_figures(sample(), tmp_path / "taken", drawn()[7:8])


# JSON


def test_golden() -> None:
    assert json.loads(report_json(sample())) == json.loads(GOLDEN.read_bytes())


def test_json_is_read_back() -> None:
    content = report_json(sample())
    assert content == report_json(sample())
    report = read_report(content)
    assert report == document(sample())
    assert report.format == "triage-syslog-report/1"
    assert report.findings[0].start_iso == "2015-09-27T02:00:00.000Z"
    assert report.findings[0].start == 1443319200.0
    assert all(re.fullmatch("[0-9a-f]{12}", one.id) for one in report.templates)
    assert any(HOSTILE in line.text for one in report.findings for line in one.lines)
    groups = {one.id for one in report.groups}
    ends = [end for one in report.findings for edge in one.edges for end in (edge.a, edge.b)]
    assert ends
    assert {end.group for end in ends} <= groups


def test_json_is_as_its_schema_says() -> None:
    jsonschema.validate(json.loads(report_json(sample())), schema())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not written by"),
        (b"[]", "not written by"),
        (b'{"format": "x"}', "not written by"),
        (b"\xff\xfe", "not written by"),
    ],
)
def test_what_is_no_report_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=rf"r\.json: {words}"):
        read_report(path)


def test_another_format_and_no_file_are_told(tmp_path: Path) -> None:
    other = report_json(sample()).replace(b"triage-syslog-report/1", b"triage-syslog-report/9")
    with pytest.raises(ReportError, match="report/9"):
        read_report(other)
    with pytest.raises(ReportError, match="No such file"):
        read_report(tmp_path / "none.json")


def test_moments_of_no_calendar_have_no_date() -> None:
    assert iso(1e18) == iso(float("nan")) == ""


# Words and marks


def test_variable_parts_are_marked() -> None:
    line = "Sep 27 hv1 sshd[42]: refused connect from <b> (10.0.0.1)"
    assert marked(line, "sshd[**]: refused connect from ** (**)") == (
        "Sep 27 hv1 sshd[<mark>42</mark>]: refused connect from <mark>&lt;b&gt;</mark>"
        " (<mark>10.0.0.1</mark>)"
    )
    assert marked("else", "sshd[**]") == "else"
    assert marked("x <i>", "") == "x &lt;i&gt;"
    assert template_html("a<** b") == "a&lt;<mark>**</mark> b"


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("a b c", "a ** c"),
        ("a b", "** b"),
        ("a", "**"),
        ("aXbXc", "a**b**"),
        ("", "** x"),
        ("q", "x"),
    ],
)
def test_marking_loses_nothing(text: str, template: str) -> None:
    assert "".join(part for part, _ in parts(text, template)) == text


def test_words() -> None:
    assert between(1443319200.0, 1443324600.0) == "2015-09-27 02:00 to 03:30 UTC"
    assert between(1443319200.0, 1443419200.0) == "2015-09-27 02:00 to 2015-09-28 05:46 UTC"
    assert between(1443319200.0, 1443319201.0) == "2015-09-27 02:00 UTC"
    assert between(1e18, 2e18) == "? to ?"
    assert (length(51.99 * 86400), length(7200)) == ("52 days", "2 h")
    assert (many(1, "line"), many(2000, "line")) == ("1 line", "2,000 lines")
    assert (times(4.44), times(1500.2)) == ("4.4", "1,500")
    assert id_text(7) == "000000000007"


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_bytes(report_json(report_sample()))
