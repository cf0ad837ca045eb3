"""The page: whole, by itself, and harmless whatever was written into it."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from tests.triage import samples
from tests.triage.evidence_strategies import EVIDENCE, VERDICT
from triage.evidence import Evidence, Verdict
from triage.recording import Decision, Recording
from triage.views.page import page

KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "h1", "h2"),
    *("h3", "p", "ul", "ol", "li", "dl", "div", "dt", "dd", "span", "figure", "figcaption", "pre"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "desc", "defs", "pattern", "g", "rect", "line", "circle", "path", "text"),
}
EMPTY = {"meta"}
CLOSED = {"rect", "line", "circle", "path"}


class Reader(HTMLParser):
    """Reads a page; fails on what does not belong there."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in {"href", "src", "style", "xlink:href", "data"}, name
            assert "://" not in (value or ""), value
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in CLOSED, tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(recording: Recording) -> tuple[Reader, str]:
    text = page(recording)
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader, " ".join(" ".join(reader.text).split())


def test_it_says_what_an_operator_asks_for() -> None:
    _, text = read(samples.vm_paused())
    for words in (
        "node: VM paused",
        "severity: critical",
        "confidence: certain",
        "was paused at 10:14:41.497Z",
        "could not look: the kubelet of worker-1 does not answer",
        "VM-MIB::vmOperState.3 = INTEGER: paused(8)",
        "T-3.8 s · notification from kvm1",
        "e = 2 s, + flush 1 s",
        "lag 3.8 s",
        "esx2: no answer within 2 s",
        "node: hypervisor kvm1 does not answer (possible)",
        "sent to alertmanager, slack",
        "front page · incident 20260304-101445-7f3a1c",
    ):
        assert words in text


def test_the_drawing_is_named_and_has_its_table() -> None:
    reader, text = read(samples.vm_paused())
    (drawn,) = [attrs for tag, attrs in reader.tags if tag == "svg" and "role" in attrs]
    assert drawn["role"] == "img"
    ids = {attrs.get("id") for _, attrs in reader.tags}
    assert set((drawn["aria-labelledby"] or "").split()) <= ids
    assert "The table below has all of them." in text
    assert text.count("sample: 503") >= 3  # tooltips and rows


def test_it_asks_for_nothing_from_anywhere() -> None:
    text = page(samples.vm_paused())
    assert "default-src 'none'" in text
    for word in ("<script", "<link", "<img", "<iframe", "@import", "@font-face", "url(http"):
        assert word not in text


def test_strangers_text_stays_text() -> None:
    reader, text = read(samples.hostile())
    assert "<script>alert(1)</script>" in text
    assert r"\x1b[31mred\x1b[0m\x07" in text
    raw = page(samples.hostile())
    assert not any(char in raw for char in "\x1b\x07\x9b\u202e\r")
    assert len([tag for tag, _ in reader.tags if tag == "svg"]) == 9


def test_it_can_be_written_before_the_first_look() -> None:
    whole = samples.vm_paused()
    record = dataclasses.replace(
        whole.record, title="", cause="", confidence="", closed=None, status="pending"
    )
    _, text = read(dataclasses.replace(whole, record=record, looks=()))
    assert "Nothing was looked at yet." in text
    assert "pending" in text


def test_the_verdict_that_stands_is_the_one_shown() -> None:
    whole = dataclasses.replace(samples.vm_paused(), stands=0)
    _, text = read(whole)
    assert samples.early_verdict().summary in text
    assert samples.final_verdict().summary not in text


@settings(max_examples=60, deadline=None)
@given(EVIDENCE, VERDICT)
def test_any_incident_makes_a_whole_page(evidence: Evidence, verdict: Verdict) -> None:
    whole = samples.vm_paused()
    read(dataclasses.replace(whole, looks=(Decision(evidence=evidence, verdict=verdict),)))


@pytest.mark.parametrize("made", [samples.vm_paused, samples.hostile])
def test_it_is_small(made: object) -> None:
    assert callable(made)
    assert len(page(made())) < 60_000
