"""Whose request a line is about."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.evidence import Match, ProxyRequest, ProxyRole, Target, Window
from triage.proxylog.match import (
    AT_MOST,
    Wanted,
    direction,
    plain_path,
    same_authority,
    same_path,
    settle,
)

WINDOW = Window(start=100.0, end=200.0)
TARGET = Target(name="front", path="/health", authority="front.example")
BLACKBOX = "Blackbox-Exporter/0.25.0"


def request(**fields: Any) -> ProxyRequest:
    own = {"time": 150.0, "method": "GET", "path": "/health", "user_agent": BLACKBOX,
           "authority": "front.example", "status": 503}  # fmt: skip
    return ProxyRequest(**{**own, **fields})


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({}, Match.OWN),
        ({"time": 100.0}, Match.OWN),
        ({"time": 99.9}, Match.OTHER),
        ({"time": 200.1}, Match.OTHER),
        ({"method": "HEAD"}, Match.OTHER),
        ({"path": "/healthz"}, Match.OTHER),
        ({"path": "/v1/health"}, Match.OTHER),
        ({"path": "/health?x=1"}, Match.OWN),
        ({"path": "/%68ealth"}, Match.OWN),
        ({"user_agent": "curl/8"}, Match.OTHER),
        ({"user_agent": "blackbox_exporter"}, Match.OWN),
        ({"user_agent": None}, Match.LIKELY),
        ({"path": None}, Match.LIKELY),
        ({"authority": "other.example"}, Match.OTHER),
        ({"authority": "FRONT.example.:8080"}, Match.OWN),
        ({"authority": None}, Match.OWN),
        ({"method": None, "path": None, "user_agent": None, "authority": None}, Match.LIKELY),
    ],
)
def test_rules(fields: dict[str, Any], match: Match) -> None:
    assert Wanted(TARGET, WINDOW).match(request(**fields)) is match


@pytest.mark.parametrize(
    ("wanted", "seen", "same"),
    [
        ("/", "", True),
        ("/a", "/a#x", True),
        ("/a", "http://front.example/a", True),
        ("/a", "/a/", False),
        ("/a?x=1", "/a", False),
        ("/a?x=1", "/a?x=1", True),
        ("/a%2Fb", "/a/b", False),
        ("/~u", "/%7Eu", True),
    ],
)
def test_paths(wanted: str, seen: str, same: bool) -> None:
    assert same_path(wanted, seen) is same


@given(st.text())
def test_a_path_is_its_own(path: str) -> None:
    assert same_path(path, path)
    assert plain_path(path).startswith("/")


@pytest.mark.parametrize(
    ("wanted", "seen", "same"),
    [
        ("a.example", "a.example:443", True),
        ("a.example:80", "a.example:443", False),
        ("[2001:db8::1]:80", "[2001:DB8::1]", True),
        ("2001:db8::1", "[2001:db8::1]:80", True),
        ("a.example", "b.a.example", False),
    ],
)
def test_authorities(wanted: str, seen: str, same: bool) -> None:
    assert same_authority(wanted, seen) is same


def test_a_sidecars_line_of_the_monitors_request_is_its_own() -> None:
    gateway = request(role=ProxyRole.GATEWAY, request_id="id-1")
    sidecar = request(path="/rewritten", authority="other", request_id="id-1")
    stranger = request(path="/rewritten", request_id="id-2")
    matches = [one.match for one in settle(TARGET, WINDOW, [gateway, sidecar, stranger])]
    assert matches == [Match.OWN, Match.OWN, Match.OTHER]


def test_a_constant_request_id_is_nobodys() -> None:
    own = request(request_id="same")
    others = [request(path="/else", request_id="same") for _ in range(AT_MOST)]
    found = settle(TARGET, WINDOW, [own, *others])
    assert [one.match for one in found] == [Match.OWN] + [Match.OTHER] * AT_MOST


def test_tcp_lines_count_where_nothing_better_is_there() -> None:
    tcp = request(method=None, path=None, user_agent=None, authority=None, status=0)
    assert settle(TARGET, WINDOW, [tcp])[0].match is Match.LIKELY
    assert [one.match for one in settle(TARGET, WINDOW, [tcp, request()])] == [
        Match.OTHER,
        Match.OWN,
    ]


def test_directions() -> None:
    assert direction(request(upstream_cluster="inbound|8080||")) == "inbound"
    assert direction(request(upstream_cluster="outbound|80||a.example")) == "outbound"
    assert direction(request(upstream_cluster="cluster-1")) == ""
