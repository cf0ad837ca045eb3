"""The webhook's payload: a recorded one, all kinds of broken ones, and its bounds."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.sources import alertmanager_webhook
from triage.sources.alertmanager_webhook import PayloadError, parse_payload

# As Alertmanager 0.25 sends it.
PAYLOAD: dict[str, Any] = {
    "receiver": "triage",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "SiteDown", "instance": "https://site.example/", "job": "b"},
            "annotations": {"summary": "down"},
            "startsAt": "2025-07-16T19:49:00.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example/graph",
            "fingerprint": "0123456789abcdef",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "SiteDown", "instance": "https://other.example/"},
            "annotations": {},
            "startsAt": "2025-07-16T21:00:00+02:00",
            "endsAt": "2025-07-16T21:30:00+02:00",
            "generatorURL": "",
            "fingerprint": "f",
        },
    ],
    "groupLabels": {"alertname": "SiteDown"},
    "commonLabels": {"alertname": "SiteDown"},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager.example",
    "version": "4",
    "groupKey": '{}:{alertname="SiteDown"}',
    "truncatedAlerts": 0,
}


def test_a_payload_of_alertmanager() -> None:
    found = parse_payload(json.dumps(PAYLOAD).encode())
    assert found.problems == ()
    firing, resolved = found.questions
    assert firing.labels["instance"] == "https://site.example/"
    assert firing.starts_at == pytest.approx(1_752_695_340.123456)
    assert firing.ends_at is None
    assert firing.fingerprint == "0123456789abcdef"
    assert resolved.starts_at == 1_752_692_400
    assert resolved.ends_at == 1_752_694_200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"alerts": null}',
        b'{"alerts": {}}',
        b"<html>",
        b"\xff\xfe",
        b'{"alerts": [], "version": "3"}',
        b"[" * 100_000,
        b'{"alerts": ' + b"[" * 100_000,
        b" " * (alertmanager_webhook.MAX_OCTETS + 1),
    ],
)
def test_a_payload_that_is_none_is_refused_with_one_line(body: bytes) -> None:
    with pytest.raises(PayloadError) as info:
        parse_payload(body)
    assert "\n" not in str(info.value)
    assert str(info.value).startswith("webhook: ")
    assert len(str(info.value)) < 300


@pytest.mark.parametrize(
    ("alert", "why"),
    [
        ({"labels": {}, "startsAt": "2025-07-16T19:49:00Z"}, "no labels"),
        ({"labels": {"a": "b"}}, "no startsAt"),
        ({"labels": {"a": "b"}, "startsAt": "yesterday"}, "no time"),
        ({"labels": {"a": "b"}, "startsAt": "2025-07-16T19:49:00"}, "no zone"),
        ({"labels": {"a": 1}, "startsAt": "2025-07-16T19:49:00Z"}, "str"),
        ({"labels": None}, "object"),
        (7, "object"),
    ],
)
def test_one_bad_alert_does_not_hide_the_others(alert: object, why: str) -> None:
    body = {"alerts": [alert, PAYLOAD["alerts"][0]]}
    found = parse_payload(json.dumps(body).encode())
    assert len(found.questions) == 1
    assert len(found.problems) == 1
    assert "alert 1 left out" in found.problems[0]
    assert why in found.problems[0]


def test_bounds() -> None:
    alert = dict(PAYLOAD["alerts"][0])
    alert["labels"] = {f"l{n}": "v" * 5000 for n in range(100)}
    many = {"alerts": [alert, *([PAYLOAD["alerts"][0]] * 2000)], "truncatedAlerts": 3}
    found = parse_payload(json.dumps(many).encode())
    assert len(found.questions) == alertmanager_webhook.MAX_ALERTS
    first = found.questions[0]
    assert len(first.labels) == alertmanager_webhook.MAX_LABELS
    assert len(first.labels["l0"]) == alertmanager_webhook.MAX_TEXT
    assert len(found.problems) == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["alerts", "version", "status", "truncatedAlerts", "commonLabels"]),
        json_values,
    )
    | st.fixed_dictionaries(
        {
            "alerts": st.lists(
                st.dictionaries(
                    st.sampled_from(["labels", "startsAt", "endsAt", "status"]), json_values
                ),
                max_size=3,
            )
        }
    )
)
def test_nothing_else_is_raised(payload: object) -> None:
    with contextlib.suppress(PayloadError):
        found = parse_payload(json.dumps(payload).encode())
        assert all(question.labels for question in found.questions)
