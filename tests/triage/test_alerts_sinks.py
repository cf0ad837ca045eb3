"""Slack, the generic webhook, apprise and the heartbeat, against receivers of this machine."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.triage.alert_cases import SECRET, T0, make_verdict, receiver, statuses, told, until
from triage.alerts import slack, webhook
from triage.alerts.alertmanager import AlertmanagerSettings
from triage.alerts.apprise import AppriseSettings, AppriseSink, check_apprise
from triage.alerts.errors import (
    AlertConfigError,
    BusySinkError,
    FaultySinkError,
    RefusedError,
    SinkError,
    UnreachableError,
)
from triage.alerts.heartbeat import Heartbeat, HeartbeatSettings, check_heartbeat
from triage.alerts.http import (
    HttpClient,
    HttpSettings,
    check_http,
    check_url,
    origin,
    read_secret,
    retry_after,
)
from triage.alerts.message import AlertMessage
from triage.alerts.sink import Sending
from triage.alerts.slack import SlackSettings, SlackSink, check_slack
from triage.alerts.webhook import WebhookSettings, WebhookSink, check_webhook
from triage.evidence import Proof, Step
from triage.incidents import AlertKind


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def hook(url: str, **changes: Any) -> WebhookSink:
    return WebhookSink(WebhookSettings(name="hook", url=url, **changes))


async def fault_of(sink: WebhookSink | SlackSink) -> SinkError:
    with pytest.raises(SinkError) as caught:
        await sink.send(Sending(message=told()))
    assert "\n" not in str(caught.value)
    return caught.value


# What an answer means


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "kind", "maybe"),
    [
        (400, RefusedError, False),
        (404, RefusedError, False),
        (410, RefusedError, False),
        (301, RefusedError, False),
        (408, BusySinkError, False),
        (425, BusySinkError, False),
        (429, BusySinkError, False),
        (500, FaultySinkError, True),
        (503, FaultySinkError, True),
    ],
)
async def test_statuses(status: int, kind: type[SinkError], maybe: bool) -> None:
    async with receiver(statuses(status)) as there:
        error = await fault_of(hook(there.url + "/x"))
    assert type(error) is kind
    assert error.maybe_received is maybe
    if status != 301:
        assert f"status {status}" in str(error)  # the sink's own words


@pytest.mark.asyncio
async def test_retry_after_is_honoured_and_capped() -> None:
    for header, seconds in (("7", 7.0), ("999999", 3600.0), ("soon", None)):
        answer = web.Response(status=429, headers={"Retry-After": header})
        async with receiver(statuses(answer)) as there:
            error = await fault_of(hook(there.url))
        assert isinstance(error, BusySinkError)
        assert error.retry_after == seconds
    answer = web.Response(status=503, headers={"Retry-After": "3"})
    async with receiver(statuses(answer)) as there:
        assert isinstance(await fault_of(hook(there.url)), BusySinkError)


def test_retry_after_as_a_date() -> None:
    assert retry_after("Fri, 02 Jan 2026 03:04:15 GMT", T0) == 9.5
    assert retry_after("Fri, 02 Jan 2026 03:00:00 GMT", T0) == 0
    assert retry_after("Fri, 99 Foo", T0) is None
    assert retry_after(None, T0) is None


@given(st.text(max_size=40))
def test_any_retry_after_is_bounded(text: str) -> None:
    seconds = retry_after(text, T0)
    assert seconds is None or 0 <= seconds <= 3600


@pytest.mark.asyncio
async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/path?token={SECRET}"
        error = await fault_of(hook(url))
    assert type(error) is UnreachableError
    assert SECRET not in str(error)
    assert "127.0.0.1" in str(error)


@pytest.mark.asyncio
async def test_a_name_that_does_not_resolve() -> None:
    error = await fault_of(hook("http://nobody.invalid/"))
    assert type(error) is UnreachableError


@pytest.mark.asyncio
async def test_a_hanging_receiver_is_left_in_bounds() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with receiver(hang) as there:
        error = await fault_of(hook(there.url, http=HttpSettings(timeout=0.2)))
    assert type(error) is FaultySinkError
    assert "0.2 s" in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("says", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 2", b"\x00" * 99999])
async def test_garbage_and_broken_connections(says: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        writer.transport.abort() if not says else writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await fault_of(hook(f"http://127.0.0.1:{port}/"))
    assert type(error) is FaultySinkError
    assert error.maybe_received


@pytest.mark.asyncio
async def test_an_endless_answer_is_read_to_a_bound() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=400)
        await answer.prepare(request)
        while True:  # until the connection is closed under it
            await answer.write(b"token=" + SECRET.encode() + b" " + b"x" * 65536)

    async with receiver(endless) as there:
        error = await fault_of(hook(there.url))
    assert type(error) is RefusedError
    assert len(str(error)) < 400
    assert SECRET not in str(error)


# Credentials


@pytest.mark.asyncio
async def test_basic_and_bearer_come_from_files_read_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    write(file, "first\n")
    async with receiver() as there:
        basic = HttpSettings(username="bob", password_file=str(file))
        bearer = HttpSettings(bearer_token_file=str(file))
        await hook(there.url, http=basic).send(Sending(message=told()))
        sink = hook(there.url, http=bearer)
        await sink.send(Sending(message=told()))
        write(file, "second")
        await sink.send(Sending(message=told()))
    given = [headers["Authorization"] for headers, _ in there.got]
    assert given == [
        "Basic " + base64.b64encode(b"bob:first").decode(),
        "Bearer first",
        "Bearer second",
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [None, "", " \n", "a\nb", b"\xff\xfe"])
async def test_a_secret_file_that_is_no_good_is_not_reached(
    tmp_path: Path, content: str | bytes | None
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    async with receiver() as there:
        error = await fault_of(hook(there.url, http=HttpSettings(bearer_token_file=str(file))))
    assert type(error) is UnreachableError
    assert str(file) in str(error)
    assert not there.got


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    file = write(tmp_path / "x", "secret")
    check_http(HttpSettings(username="a", password_file=file))
    for bad in (
        HttpSettings(username="a"),
        HttpSettings(password_file=file),
        HttpSettings(username="a", password_file=file, bearer_token_file=file),
        HttpSettings(bearer_token_file=str(tmp_path / "none")),
        HttpSettings(key_file=file),
        HttpSettings(ca_file=file),
        HttpSettings(ca_file=str(tmp_path / "none")),
    ):
        with pytest.raises(AlertConfigError):
            check_http(bad)


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "hooks.slack.com/x", "http://[::1"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(AlertConfigError) as caught:
        check_url(url, "it")
    assert "slack" not in str(caught.value)


def test_of_a_url_its_origin_is_shown() -> None:
    assert origin(f"https://u:{SECRET}@h.example:8443/{SECRET}?x={SECRET}") == (
        "https://h.example:8443"
    )
    assert origin("http://[::1]:9093/x") == "http://[::1]:9093"
    assert origin("http://[") == "?"


@pytest.mark.asyncio
async def test_tls_is_verified_by_the_given_authority(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
        for settings_, works in (
            (HttpSettings(ca_file=cert), True),
            (HttpSettings(insecure_skip_verify=True), True),
            (HttpSettings(), False),
        ):
            client = HttpClient(settings_)
            if works:
                await client.post(url, b"{}", {})
            else:
                with pytest.raises(UnreachableError, match="ca_file"):
                    await client.post(url, b"{}", {})


def certificate(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


# The generic webhook


@pytest.mark.asyncio
async def test_the_webhook_body_follows_the_schema_and_is_signed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "shared\n")
    message = told()
    async with receiver() as there:
        sink = WebhookSink(
            WebhookSettings(name="hook", url=there.url, secret_file=secret), clock=lambda: T0
        )
        await sink.send(Sending(message=message))
        await sink.send(Sending(message=message, repeat=True))
    headers, body = there.got[0]
    assert there.got[1][1] == body  # a repeat is the same, octet by octet
    assert there.ids == [message.id, message.id]
    assert SECRET.encode() not in body
    jsonschema.validate(json.loads(body), webhook.schema())
    moment, digest = headers["X-Triage-Signature"].split(",")
    assert moment == f"t={int(T0)}"
    want = hmac.new(b"shared", f"{int(T0)}.".encode() + body, hashlib.sha256).hexdigest()
    assert digest == f"v1={want}"


@pytest.mark.parametrize("kind", list(AlertKind))
def test_every_kind_of_message_follows_the_schema(kind: AlertKind) -> None:
    validator = jsonschema.Draft202012Validator(webhook.schema())
    validator.check_schema(webhook.schema())
    for message in (
        told(2, kind),
        replace(told(2, kind), status=None, proofs=(), steps=(), unknowns=(), links={}),
    ):
        validator.validate(json.loads(json.dumps(webhook.body(message))))


def test_the_schema_knows_every_key_and_requires_it() -> None:
    """A key that is sent and not described, or described and not sent, is a mistake."""

    def compare(described: dict[str, Any], sent: dict[str, Any]) -> None:
        assert set(described["properties"]) == set(sent) == set(described["required"])
        for key, value in sent.items():
            inner = described["properties"][key]
            if isinstance(value, dict) and "properties" in inner:
                compare(inner, value)
            if isinstance(value, list) and value and "properties" in inner.get("items", {}):
                compare(inner["items"], value[0])

    compare(webhook.schema(), webhook.body(told()))


def test_the_documented_example_follows_the_schema() -> None:
    text = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    example = text.split("```json\n", 1)[1].split("```", 1)[0]
    jsonschema.validate(json.loads(example), webhook.schema())


def test_a_webhook_needs_one_url(tmp_path: Path) -> None:
    file = write(tmp_path / "url", "https://hook.example/" + SECRET)
    check_webhook(WebhookSettings(name="a", url="https://hook.example/"))
    check_webhook(WebhookSettings(name="a", url_file=file))
    for bad in (
        WebhookSettings(name="a"),
        WebhookSettings(name="a", url="https://x/", url_file=file),
        WebhookSettings(name="a", url_file=write(tmp_path / "bad", SECRET)),
        WebhookSettings(name="a", url="https://x/", secret_file=str(tmp_path / "none")),
    ):
        with pytest.raises(AlertConfigError) as caught:
            check_webhook(bad)
        assert SECRET not in str(caught.value)


# Slack


def slack_sink(folder: Path, url: str) -> SlackSink:
    return SlackSink(SlackSettings(name="ops", url_file=write(folder / "url", url + "\n")))


def texts(body: dict[str, Any]) -> list[str]:
    """All texts that Slack would parse or show."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("text"), str):
                found.append(value["text"])
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(body)
    return found


@pytest.mark.asyncio
async def test_slack_gets_blocks(tmp_path: Path) -> None:
    async with receiver() as there:
        await slack_sink(tmp_path, f"{there.url}/services/T0/B0/{SECRET}").send(
            Sending(message=told())
        )
    body = json.loads(there.got[0][1])
    shown = "\n".join(texts(body))
    assert "FIRING: shop: node: VM paused" in shown
    assert "vmOperState.3 = INTEGER: paused(8)" in shown
    assert "20260102-030405-a1b2c3" in shown
    assert "could not look" in shown.lower()
    assert SECRET not in shown


@pytest.mark.asyncio
async def test_slacks_url_is_never_shown(tmp_path: Path) -> None:
    for status in (404, 500, 429):
        async with receiver(statuses(status)) as there:
            url = f"{there.url}/services/T0/B0/{SECRET}"
            error = await fault_of(slack_sink(tmp_path, url))
        assert SECRET not in str(error)
        assert "services" not in str(error)


@pytest.mark.asyncio
async def test_blocks_that_slack_does_not_take_are_sent_as_text(tmp_path: Path) -> None:
    invalid = web.Response(status=400, text="invalid_blocks")
    async with receiver(statuses(invalid, 200)) as there:
        await slack_sink(tmp_path, there.url).send(Sending(message=told()))
    body = json.loads(there.got[1][1])
    assert "blocks" not in body
    assert "node: VM paused" in body["text"]
    async with receiver(statuses(web.Response(status=404, text="no_service"))) as there:
        error = await fault_of(slack_sink(tmp_path, there.url))
    assert isinstance(error, RefusedError)
    assert "no_service" in str(error)
    assert len(there.got) == 1


def test_later_messages_refer_to_the_incident() -> None:
    first, later = (
        "\n".join(texts(slack.render(told(n, kind))))
        for n, kind in ((1, AlertKind.FIRING), (2, AlertKind.RESOLVED))
    )
    assert "message 1" in first
    assert "RESOLVED" in later
    assert "20260102-030405-a1b2c3, message 2, following" in later


def test_a_repeat_says_that_it_is_one() -> None:
    assert "Sent again" in "\n".join(texts(slack.render(told(), repeat=True)))
    assert "Sent again" not in "\n".join(texts(slack.render(told())))


def check_slack_limits(body: dict[str, Any]) -> None:
    def units(text: str) -> int:
        return len(text.encode("utf-16-le", "surrogatepass")) // 2

    assert len(body["blocks"]) <= 50
    for block in body["blocks"]:
        if block["type"] == "header":
            assert 0 < units(block["text"]["text"]) <= 150
        fields = block.get("fields", [])
        assert len(fields) <= 10
        assert all(0 < units(one["text"]) <= 2000 for one in fields)
    assert all(0 < units(text) <= 3000 for text in texts(body))


def hostile(text: str, lines: int = 40) -> AlertMessage:
    proofs = tuple(Proof(step=Step.APP, time=T0, source=text, text=text) for _ in range(lines))
    return told(
        verdict=make_verdict(
            title=text or "-", summary=text, object=text, proofs=proofs, unknowns=(text,) * 30
        )
    )


@pytest.mark.parametrize("piece", ["x", "&", "<", "\U0001f525", "\u00e9", "`", "*a* ", "\n"])
def test_the_longest_message_is_within_slacks_limits(piece: str) -> None:
    body = slack.render(hostile(piece * 9999), repeat=True)
    check_slack_limits(body)
    assert "more lines were cut" in "\n".join(texts(body))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_message_is_within_slacks_limits(text: str) -> None:
    check_slack_limits(slack.render(hostile(text, 2)))


@pytest.mark.parametrize(
    "attack",
    ["<!channel> <@U123> <https://evil.example|click>", "```\n*bold* <!here>", "_a_ ~b~ `c` *d*"],
)
def test_log_lines_are_no_markup(attack: str) -> None:
    body = slack.render(hostile(attack, 2))
    del body["blocks"][0]  # the header: plain text, where nothing is markup
    for text in texts(body):
        assert "<!" not in text
        assert "<@" not in text
        assert "<https://evil" not in text
        assert text.count("```") in (0, 2)  # the code block is ours, and closed at its end
        if "```" in text:
            assert text.endswith("```")
        assert "*bold*" not in text.split("```", 1)[0]


@given(st.text(max_size=100), st.integers(10, 60))
def test_escaped_text_is_cut_whole(text: str, limit: int) -> None:
    cut = slack.escaped(text, limit)
    assert len(cut) <= limit
    whole = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert cut == whole or whole.startswith(cut.removesuffix("..."))


def test_slack_needs_a_file_with_a_url(tmp_path: Path) -> None:
    good = write(tmp_path / "good", f"https://hooks.slack.com/services/{SECRET}\n")
    check_slack(SlackSettings(name="ops", url_file=good))
    for bad in (str(tmp_path / "none"), write(tmp_path / "bad", SECRET)):
        with pytest.raises(AlertConfigError) as caught:
            check_slack(SlackSettings(name="ops", url_file=bad))
        assert bad in str(caught.value)
        assert SECRET not in str(caught.value)


# Apprise


@pytest.mark.asyncio
async def test_apprise_reaches_a_service(tmp_path: Path) -> None:
    pytest.importorskip("apprise", reason="apprise is not installed (an extra)")
    async with receiver() as there:
        port = there.url.rsplit(":", 1)[1]
        file = write(tmp_path / "urls", f"# ours\njson://127.0.0.1:{port}/{SECRET}\n")
        settings_ = AppriseSettings(name="mail", urls_file=file)
        check_apprise(settings_)
        await AppriseSink(settings_).send(Sending(message=told(), repeat=True))
    body = json.loads(there.got[0][1])
    assert body["title"] == "[FIRING] shop: node: VM paused"
    assert "paused(8)" in body["message"]
    assert "Sent again" in body["message"]
    assert SECRET not in body["message"]


@pytest.mark.asyncio
async def test_apprise_that_fails_is_tried_again(tmp_path: Path) -> None:
    pytest.importorskip("apprise", reason="apprise is not installed (an extra)")
    async with receiver(statuses(500)) as there:
        port = there.url.rsplit(":", 1)[1]
        file = write(tmp_path / "urls", f"json://127.0.0.1:{port}/{SECRET}\n")
        with pytest.raises(FaultySinkError) as caught:
            await AppriseSink(AppriseSettings(name="mail", urls_file=file)).send(
                Sending(message=told())
            )
    assert SECRET not in str(caught.value)


def test_apprise_configuration_faults_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(AlertConfigError, match=r"pip install 'vmmib\[apprise\]'"):
        check_apprise(AppriseSettings(name="mail", urls_file="x"))
    monkeypatch.undo()
    pytest.importorskip("apprise", reason="apprise is not installed (an extra)")
    for content, words in ((f"nosuch://{SECRET}\n", "line 1"), ("# none\n", "no URL in it")):
        file = write(tmp_path / "urls", content)
        with pytest.raises(AlertConfigError, match=words) as caught:
            check_apprise(AppriseSettings(name="mail", urls_file=file))
        assert SECRET not in str(caught.value)
    with pytest.raises(AlertConfigError, match="No such file"):
        check_apprise(AppriseSettings(name="mail", urls_file=str(tmp_path / "none")))


# The heartbeat


@pytest.mark.asyncio
async def test_the_heartbeat_beats_while_the_work_goes_on(tmp_path: Path) -> None:
    working = True
    async with receiver() as am, receiver() as ping:
        heart = Heartbeat(
            HeartbeatSettings(
                interval=0.02,
                url_file=write(tmp_path / "url", ping.url + "/beat"),
                labels=(("site", "a"),),
            ),
            [AlertmanagerSettings(name="am", url=am.url)],
            working=lambda: working,
        )
        task = asyncio.create_task(heart.run())
        try:
            await until(lambda: len(am.got) > 2 and len(ping.got) > 2)
            (alert,) = json.loads(am.got[0][1])
            assert alert["labels"] == {
                "alertname": "TriageHeartbeat",
                "severity": "none",
                "site": "a",
            }
            working = False
            await asyncio.sleep(0.1)  # what was under way
            count = len(am.got)
            await asyncio.sleep(0.2)
            assert len(am.got) == count
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.asyncio
async def test_a_receiver_that_is_down_does_not_stop_the_heartbeat(tmp_path: Path) -> None:
    async with receiver(statuses(500, 500, 200)) as am:
        heart = Heartbeat(
            HeartbeatSettings(interval=0.02, url_file=str(tmp_path / "none")),
            [AlertmanagerSettings(name="am", url=am.url)],
            working=lambda: True,
        )
        task = asyncio.create_task(heart.run())
        try:
            await until(lambda: len(am.got) > 4)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_heartbeat_configuration(tmp_path: Path) -> None:
    check_heartbeat(HeartbeatSettings(url_file=write(tmp_path / "url", "https://x.example/")))
    for bad in (
        HeartbeatSettings(method="PUT"),
        HeartbeatSettings(url_file=str(tmp_path / "none")),
        HeartbeatSettings(url_file=write(tmp_path / "bad", SECRET)),
    ):
        with pytest.raises(AlertConfigError) as caught:
            check_heartbeat(bad)
        assert SECRET not in str(caught.value)


def test_a_secret_is_read_without_white_space(tmp_path: Path) -> None:
    assert read_secret(write(tmp_path / "x", "  a b\n"), "it") == "a b"
