"""What lines of a real Envoy are classified as, and that the tables are whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.evidence import ProxyRequest
from triage.proxylog.flags import (
    CONNECT_REASONS,
    FLAGS,
    Closer,
    Kind,
    Reach,
    classify,
    rows,
    server_fault,
    table,
)
from triage.proxylog.formats import ISTIO_JSON, compile_format

DOCUMENT = json.loads((Path(__file__).parent / "data/envoy/recordings.json").read_text())
FORMATS: dict[str, Any] = {
    "istio": "istio",
    "auto": "auto",
    "istio_json": "json",
    "mapped_json": ISTIO_JSON,
    "custom": DOCUMENT["custom"],
    "typed_json": DOCUMENT["typed_json"],
}
LINES = {"auto": "istio", "mapped_json": "istio_json"}


def recorded(record: dict[str, Any], form: str) -> ProxyRequest:
    line = record["lines"][LINES.get(form, form)]
    text = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    request = compile_format(FORMATS[form]).parse(text)
    assert request is not None, line
    return request


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("record", DOCUMENT["recordings"], ids=lambda record: record["name"])
def test_recordings(record: dict[str, Any], form: str) -> None:
    found = classify(recorded(record, form))
    shown = {"kind": found.kind.value, "reason": found.reason, "reach": found.reach.value}
    assert shown == record["expected"]
    assert found.unknown_flags == ()
    assert found.failed == (found.kind is not Kind.OK)
    assert found.retried == ("retr" in record["name"] or record["name"] in RETRIED)


RETRIED = ("per try timeout", "tcp refused")


def test_recordings_cover_the_kinds() -> None:
    kinds = {record["expected"]["kind"] for record in DOCUMENT["recordings"]}
    assert kinds == {kind.value for kind in Kind} - {"unknown", "proxy_internal"}


def request(**fields: Any) -> ProxyRequest:
    return ProxyRequest(time=1.0, **{"method": "GET", **fields})


RESET = "upstream_reset_before_response_started"


@pytest.mark.parametrize(
    ("fields", "kind", "reason", "reach"),
    [
        # What this Envoy could not be made to write
        ({"status": 503, "flags": ("OM",), "details": "overload"},
         "overload", "overload_manager", "not_tried"),
        ({"status": 503, "flags": ("DF",), "details": "dns_resolution_failure"},
         "connect_failure", "dns", "not_reached"),
        ({"status": 500, "flags": ("NFCF",)}, "configuration", "filter", "not_tried"),
        ({"status": 500, "flags": ("RLSE",), "details": "rate_limiter_error"},
         "policy", "rate_limit_error", "not_tried"),
        ({"status": 503, "flags": ("LR",), "details": f"{RESET}{{local_reset}}"},
         "reset", "local_reset", "reached"),
        ({"status": 0, "flags": ("DR",)}, "client_gone", "disconnect", "unknown"),
        ({"status": 0, "flags": ("DC",), "details": "http2.remote_reset"},
         "client_gone", "disconnect", "unknown"),
        ({"status": 504, "flags": ("UMSDR",), "details": "upstream_max_stream_duration_reached"},
         "timeout", "max_stream_duration", "unknown"),
        ({"status": 401, "details": "jwt_authn_access_denied{Jwt_is_missing}"},
         "policy", "authentication", "not_tried"),
        ({"status": 200, "flags": ("RFCF",), "details": "response_from_cache_filter"},
         "ok", "", "not_tried"),
        ({"status": 403, "flags": ("UAEX",), "details": "ext_authz_error"},
         "policy", "ext_authz_error", "not_tried"),
        # As older ones wrote
        ({"status": 503, "flags": ("UF", "URX"),
          "details": f"{RESET}{{connection failure,TLS error: 268435581:SSL routines}}"},
         "connect_failure", "tls", "not_reached"),
        ({"status": 503, "flags": ("UC",), "details": f"{RESET}{{connection termination}}"},
         "reset", "connection_termination", "reached"),
        ({"status": 503, "flags": ("UF",),
          "details": f"{RESET}{{remote_connection_failure,delayed_connect_error:_111}}"},
         "connect_failure", "refused", "not_reached"),
        ({"status": 503, "flags": ("UF",),
          "details": f"{RESET}{{remote_connection_failure,delayed_connect_error:_113}}"},
         "connect_failure", "unreachable", "not_reached"),
        # Without details
        ({"status": 503, "flags": ("UH",)}, "no_upstream", "no_healthy_host", "not_tried"),
        ({"status": 503, "flags": ("URX", "UF")}, "connect_failure", "other", "not_reached"),
        ({"status": 503, "flags": ("UF",), "transport_failure": "delayed connect error: 111"},
         "connect_failure", "refused", "not_reached"),
        ({"status": 503, "flags": ("URX",)}, "reset", "other", "unknown"),
        ({"status": 503, "flags": ("URX",), "upstream_service_ms": 3.0, "upstream_host": "h"},
         "reset", "other", "answered"),
        ({"status": 404, "flags": ("NR",)}, "configuration", "no_route", "not_tried"),
        ({"status": 503, "flags": ("NR",)}, "configuration", "no_route", "not_tried"),
        ({"status": 503, "upstream_host": "192.0.2.1:80"}, "app_status", "status", "answered"),
        ({"status": 503, "upstream_host": "192.0.2.1:80", "upstream_service_ms": 1.0},
         "app_status", "status", "answered"),
        ({"status": 0}, "client_gone", "no_response", "unknown"),
        ({"status": 503}, "unknown", "", "unknown"),
        ({"status": None}, "unknown", "", "unknown"),
        # Known flags, but details of a filter that nobody listed
        ({"status": 503, "details": "some_filter_says_no", "downstream_local": "192.0.2.1:80"},
         "proxy_internal", "local_reply", "not_tried"),
        ({"status": 403, "details": "some_filter_says_no", "downstream_local": "192.0.2.1:80"},
         "policy", "local_reply", "not_tried"),
        # A newer Envoy's flag
        ({"status": 503, "flags": ("XYZ",)}, "unknown", "", "unknown"),
        ({"status": 200, "flags": ("XYZ",), "details": "via_upstream"},
         "unknown", "", "answered"),
        ({"status": 503, "flags": ("XYZ", "UF")}, "connect_failure", "other", "not_reached"),
        # 200 is not always good
        ({"status": 200, "flags": ("UPE",), "details": "via_upstream"},
         "protocol", "response", "answered"),
        ({"status": 200, "flags": ("DC",), "details": "via_upstream"},
         "client_gone", "disconnect", "answered"),
        ({"status": 200, "flags": ("UC",), "upstream_host": "192.0.2.1:80"},
         "reset", "connection_termination", "answered"),
    ],
)  # fmt: skip
def test_cases(fields: dict[str, Any], kind: str, reason: str, reach: str) -> None:
    found = classify(request(**fields))
    assert (found.kind.value, found.reason, found.reach.value) == (kind, reason, reach)


def test_good_statuses_are_the_targets() -> None:
    moved = request(status=302, details="via_upstream")
    assert classify(moved).kind is Kind.OK
    assert classify(moved, good=(200,)).kind is Kind.APP_STATUS
    missing = request(status=404, details="via_upstream")
    assert classify(missing, good=(200, 404)).kind is Kind.OK
    redirect = request(status=301, details="direct_response")
    assert classify(redirect, good=(200,)).kind is Kind.CONFIGURATION


def test_a_server_fault_is_not_the_clients() -> None:
    for fields, fault in (
        ({"status": 503, "details": "via_upstream"}, True),
        ({"status": 404, "details": "via_upstream"}, False),
        ({"status": 0, "flags": ("DC",)}, False),
        ({"status": 200, "flags": ("UPE",)}, True),
        ({"status": 200, "details": "via_upstream"}, False),
        ({"status": 403, "details": "rbac_access_denied"}, False),
    ):
        one = request(**fields)
        assert server_fault(one, classify(one)) is fault


ALL_FLAGS = (  # noqa: SIM905
    "DC DF DI DO DPE DR DT FI IH LH LR NC NFCF NR OM RFCF RL RLSE SI UAEX UC UDO UF UH UMSDR UO "
    "UPE UR URX UT"
).split()


def test_all_flags_of_envoy_are_known() -> None:
    assert sorted(FLAGS) == ALL_FLAGS


def test_long_flags_are_read_as_short_ones() -> None:
    form = compile_format("%START_TIME% %RESPONSE_CODE% %RESPONSE_FLAGS_LONG%")
    for short, (long, _) in FLAGS.items():
        found = form.parse(f"2023-11-21T10:00:00.000Z 503 {long}")
        assert found is not None
        assert found.flags == (short,)


def test_the_tables_are_whole() -> None:
    for source, what, rule in rows():
        assert rule.text, what
        assert rule.reason, what
        if source == "details":
            re.compile(what)
    text = table()
    assert len(text.splitlines()) == len(list(rows())) + 2
    assert "UMSDR UpstreamMaxStreamDurationReached" in text
    assert {name for name, _ in CONNECT_REASONS} >= {"refused", "unreachable", "timeout", "tls"}


@given(
    st.builds(
        ProxyRequest,
        time=st.floats(0, 1e10),
        method=st.none() | st.sampled_from(["GET", "POST"]),
        status=st.none() | st.integers(0, 999),
        flags=st.lists(st.sampled_from([*FLAGS, "ZZZ", ""]), max_size=4).map(tuple),
        details=st.none()
        | st.sampled_from(["via_upstream", f"{RESET}{{", "rbac", "x{y}", "direct_response"])
        | st.text(max_size=30),
        termination_details=st.none() | st.text(max_size=10),
        transport_failure=st.none() | st.text(max_size=10),
        upstream_host=st.none() | st.just("192.0.2.1:80"),
        upstream_local=st.none() | st.just("192.0.2.1:80"),
        downstream_local=st.none() | st.just("192.0.2.1:80"),
        upstream_service_ms=st.none() | st.floats(0, 10),
        bytes_sent=st.none() | st.integers(0, 10),
        retries=st.none() | st.integers(0, 3),
    )
)
def test_anything_is_classified(one: ProxyRequest) -> None:
    found = classify(one)
    assert found.explanation
    assert isinstance(found.reach, Reach)
    assert found.unknown_flags == tuple(flag for flag in one.flags if flag not in FLAGS)
    if found.kind is Kind.OK:
        assert found.closer is Closer.NOBODY
        assert one.status is None or one.status == 0 or 100 <= one.status < 400
        assert not set(one.flags) - {"URX", "DI", "RFCF"} or one.details == "direct_response"
