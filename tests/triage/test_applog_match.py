"""Whose request a line is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.applog.formats import Parsed, parse
from triage.applog.match import Asked, Fit, another, fit_access, fit_text, settle
from triage.evidence import AppLineKind, Match, ProxyRequest, Target, Window

UUID = "fc594902-0098-41e5-890b-05a5c6f84fd9"
TARGET = Target(name="site", method="GET", path="/")
WINDOW = Window(start=940.0, end=1010.0)
AGENT = "Blackbox Exporter/0.24.0"


def request(**fields: object) -> ProxyRequest:
    known = {
        "time": 1000.0,
        "method": "GET",
        "path": "/",
        "status": 503,
        "flags": ("UC",),
        "duration_ms": 1500.0,
        "user_agent": AGENT,
        "request_id": UUID,
        "authority": "shop.example",
    }
    return ProxyRequest(**(known | fields))  # type: ignore[arg-type]


def asked(**fields: object) -> Asked:
    return Asked.of(TARGET, WINDOW, request(**fields))


def access(**fields: object) -> Parsed:
    known = {"kind": AppLineKind.ACCESS, "method": "GET", "path": "/", "status": 500}
    return Parsed(**(known | fields))  # type: ignore[arg-type]


def fit(parsed: Parsed, time: float = 1001.0, **fields: object) -> Fit:
    return fit_access(asked(**fields), parsed, time, "")


def test_method_path_and_time():
    assert fit(access()) is Fit.FULL
    assert fit(access(method="HEAD")) is Fit.NO
    assert fit(access(path="/other")) is Fit.NO
    assert fit(access(), time=998.0) is Fit.NO
    assert fit(access(), time=999.5) is Fit.FULL
    assert fit(access(), time=1004.4) is Fit.FULL
    assert fit(access(), time=1004.6, flags=("UF",)) is Fit.NO
    assert fit(access(), time=1004.6, flags=("UT",)) is Fit.NEAR
    assert fit(access(), time=1011.0, flags=("UT",)) is Fit.NO


def test_query_and_rewritten_paths():
    assert fit(access(path="/a?x=1"), path="/a?x=1") is Fit.FULL
    assert fit(access(path="/a%20b"), path="/a b") is Fit.FULL
    assert fit(access(path="/a"), path="/a?x=1") is Fit.NEAR
    assert fit(access(path="/a?x=2"), path="/a?x=1") is Fit.NO
    assert fit(access(path="/a?x=1"), path="/a") is Fit.NO
    assert fit(access(path="/orders"), path="/shop/orders") is Fit.NEAR
    assert fit(access(path="/"), path="/shop/") is Fit.NO


def test_what_is_logged_besides_must_not_speak_against_it():
    assert fit(access(user_agent=AGENT)) is Fit.FULL
    assert fit(access(user_agent="curl/8")) is Fit.NO
    assert fit(access(authority="SHOP.example:80")) is Fit.FULL
    assert fit(access(authority="10.0.0.1:8000")) is Fit.NEAR
    assert fit(access(duration=1.0), time=1001.5) is Fit.FULL
    assert fit(access(duration=30.0), time=1001.5) is Fit.NO


def test_a_status_that_was_passed_on_is_the_applications():
    passed = {"details": "via_upstream", "status": 500, "flags": ()}
    assert fit(access(status=500), **passed) is Fit.FULL
    assert fit(access(status=200), **passed) is Fit.NO
    assert fit(access(status=200), details="upstream_reset_before_response_started") is Fit.FULL


def test_ids():
    assert fit_access(asked(), access(method="POST", ids=(UUID,)), 0.0, "") is Fit.ID
    assert fit_access(asked(), access(path="/x"), 0.0, f"id={UUID.upper()}") is Fit.ID
    assert fit_access(asked(request_id="1"), access(path="/x", ids=("1",)), 0.0, "1") is Fit.NO
    assert fit_text(asked(), parse(f"boom {UUID}"), 0.0, f"boom {UUID}") is Fit.ID
    assert fit_text(asked(), parse("boom"), 1001.0, "boom") is Fit.NO


def test_text_that_names_a_request():
    line = "Internal Server Error: /"
    assert fit_text(asked(), parse(line), 1001.0, line) is Fit.NEAR
    assert not another(asked(), parse(line))
    assert another(asked(), parse("Internal Server Error: /other"))
    assert another(asked(), parse("ERROR in app: Exception on / [POST]"))
    assert not another(asked(), parse("boom"))


def test_without_a_proxy_line():
    found = Asked.of(TARGET, WINDOW, None)
    assert fit_access(found, access(), 1001.0, "") is Fit.NEAR
    assert fit_access(found, access(user_agent=AGENT), 945.0, "") is Fit.FULL
    assert fit_access(found, access(user_agent="kube-probe/1.20"), 1001.0, "") is Fit.NO
    assert fit_access(found, access(), 1011.0, "") is Fit.NO
    broken = Asked.of(Target(name="x", user_agent="("), WINDOW, None)
    assert fit_access(broken, access(user_agent=AGENT), 1001.0, "") is Fit.NEAR


@pytest.mark.parametrize(
    ("fits", "matches"),
    [
        ([], []),
        ([Fit.FULL], [Match.OWN]),
        ([Fit.FULL, Fit.FULL], [Match.LIKELY, Match.LIKELY]),
        ([Fit.FULL, Fit.NEAR, Fit.NO], [Match.OWN, Match.LIKELY, Match.OTHER]),
        ([Fit.NEAR], [Match.LIKELY]),
        ([Fit.ID, Fit.FULL, Fit.NEAR], [Match.OWN, Match.OTHER, Match.OTHER]),
    ],
)
def test_lines_seen_together(fits: list[Fit], matches: list[Match]):
    assert settle(fits) == matches


@given(st.lists(st.sampled_from(Fit), max_size=8))
def test_there_is_one_own_line_at_most_unless_ids_tell(fits):
    matches = settle(fits)
    assert len(matches) == len(fits)
    assert Fit.ID in fits or matches.count(Match.OWN) <= 1


@given(st.text(), st.text(), st.floats(allow_nan=False))
def test_no_path_raises(asked_path, logged, time):
    fit(access(path=logged), time=time, path=asked_path)
