"""Requests to an API server that is well, and every way in which it is not."""

# ruff: noqa: S105, S106  # the tokens are made up here

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import os
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from tests.triage.kube_setup import ERRORS, FRONT, pod, serving, settings
from triage.kube.client import (
    DEPLOYMENTS,
    LEASES,
    NODES,
    PODS,
    KubeClient,
    KubeConfigError,
    LineCutter,
)
from triage.kube.errors import (
    ConflictError,
    GoneError,
    IdleError,
    KubeletDownError,
    TlsError,
    UnknownPathError,
    of_status,
    status_message,
)
from triage.kube.recorded import RecordedCluster, status
from triage.kube.settings import KubeSettings
from triage.sources.errors import (
    BusyError,
    DeniedError,
    DownError,
    GarbageError,
    MissingError,
    SlowError,
    SourceError,
)

pytestmark = pytest.mark.asyncio(loop_scope="function")
BOUNDED = bounded(deadline=None, max_examples=60)


async def test_get_and_check(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        assert await client.check() == "v1.30.0-recorded"
        found = await client.get(PODS, "demo", FRONT)
        assert found["metadata"]["name"] == FRONT
        assert (await client.get(NODES, "", "node-1"))["kind"] == "Node"


async def test_list_is_paged(tmp_path: Path) -> None:
    async with serving(tmp_path, page=3) as (cluster, client):
        listing = await client.objects(PODS, "demo")
        assert len(listing.items) > 20
        assert not listing.truncated
        assert sum("continue=" in r for r in cluster.requests) >= 7
        few = await client.objects(PODS, "demo", labels="app in (front, roll)")
        assert {p["metadata"]["labels"]["app"] for p in few.items} == {"front", "roll"}


async def test_list_begins_again_when_its_token_expires(tmp_path: Path) -> None:
    async with serving(tmp_path, page=10) as (cluster, client):
        cluster.fault("continue=", status=410, body=json.dumps(status(410, "Expired", "")), times=1)
        listing = await client.objects(PODS, "demo")
        names = [p["metadata"]["name"] for p in listing.items]
        assert len(names) == len(set(names)) > 20
        cluster.fault("continue=", status=410)
        with pytest.raises(GoneError):
            await client.objects(PODS, "demo")


async def test_list_is_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, page=5, max_objects=10) as (_, client):
        listing = await client.objects(PODS, "demo")
        assert listing.truncated
        assert len(listing.items) == 10


FAULTS: list[tuple[dict[str, Any], type[SourceError], str]] = [
    ({"status": 401}, DeniedError, "credentials are not accepted"),
    (
        {"status": 403, "body": json.dumps(ERRORS["denied-list"]["body"])},
        DeniedError,
        '"list" on "',
    ),
    ({"status": 404, "body": json.dumps(status(404, "", ""))}, MissingError, "none (404)"),
    ({"status": 404, "body": "404 page not found"}, UnknownPathError, "lead to the API server?"),
    ({"status": 409}, ConflictError, "list pods"),
    ({"status": 410}, GoneError, "gone"),
    ({"status": 429, "headers": {"Retry-After": "30"}}, BusyError, "for 30 s"),
    ({"status": 503, "headers": {"Retry-After": "9"}}, BusyError, "left alone"),
    ({"status": 500, "body": "<html>oh dear"}, GarbageError, "500: <html>oh dear"),
    ({"status": 504}, SlowError, "ran out of time"),
    ({"status": 200, "body": "<html>welcome"}, GarbageError, "not JSON"),
    ({"status": 200, "body": "[1]"}, GarbageError, "not an object"),
    ({"status": 200, "body": '{"items": {"a": 1}}'}, GarbageError, "no list"),
    ({"status": 200, "body": '{"items": [', "cut": 5}, GarbageError, "broke off"),
    ({"status": 200, "body": "[" * 100_000}, GarbageError, "not JSON"),
    ({"drop": True}, DownError, "nothing answers"),
    ({"delay": 5.0}, SlowError, "no answer within 0.3 s"),
]


@pytest.mark.parametrize(("fault", "error", "text"), FAULTS)
async def test_faults(
    tmp_path: Path, fault: dict[str, Any], error: type[SourceError], text: str
) -> None:
    async with serving(tmp_path, timeout=0.3, attempts=1) as (cluster, client):
        cluster.fault("/pods", **fault)
        with pytest.raises(error) as caught:
            await client.objects(PODS, "demo")
        message = str(caught.value)
        assert message.startswith("kubernetes test: list pods of demo: ")
        assert text in message
        assert "\n" not in message


async def test_what_may_be_repeated_is(tmp_path: Path) -> None:
    async with serving(tmp_path, attempts=3) as (cluster, client):
        cluster.fault("/pods", status=500, times=2)
        assert (await client.objects(PODS, "demo")).items
        before = len(cluster.requests)
        with pytest.raises(MissingError):
            await client.get(PODS, "demo", "x")
        assert len(cluster.requests) == before + 1  # an answer is an answer


async def test_a_short_retry_after_is_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, client):
        cluster.fault("/pods", status=429, headers={"Retry-After": "0.05"}, times=1)
        assert (await client.objects(PODS, "demo")).items
        cluster.fault("/pods", status=429, headers={"Retry-After": "60"})
        with pytest.raises(BusyError) as caught:
            await client.objects(PODS, "demo")
        assert caught.value.retry_after == 60


async def test_a_write_is_sent_once(tmp_path: Path) -> None:
    async with serving(tmp_path, attempts=3) as (cluster, client):
        cluster.fault("POST", status=500)
        with pytest.raises(GarbageError, match=r"create leases.coordination.k8s.io demo/x"):
            await client.send("POST", LEASES, "demo", "", {"metadata": {"name": "x"}})
        assert sum(r.startswith("POST") for r in cluster.requests) == 1


async def test_answer_is_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body=1000, attempts=1) as (_, client):
        with pytest.raises(GarbageError, match="larger than 1000 bytes"):
            await client.objects(PODS, "demo")


async def test_requests_at_once_are_limited(tmp_path: Path) -> None:
    running = most = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return web.json_response({"items": []})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        cluster = RecordedCluster(port=runner.addresses[0][1])
        async with KubeClient(settings(cluster, tmp_path, concurrency=3)) as client:
            await asyncio.gather(*(client.objects(PODS, f"n{i}") for i in range(20)))
        assert most == 3
    finally:
        await runner.cleanup()


async def test_names_are_quoted(tmp_path: Path) -> None:
    async with serving(tmp_path) as (cluster, client):
        with pytest.raises(MissingError):
            await client.get(PODS, "demo", "../../secrets/x?watch=1")
        assert "..%2F..%2Fsecrets" in cluster.requests[-1]


async def test_closed_client_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, client):
        await client.check()
        await client.close()
        with pytest.raises(DownError, match="closed"):
            await client.check()


# Errors in a real server's words


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("previous-missing", MissingError, "previous terminated container"),
        ("waiting", MissingError, "is waiting to start: trying and failing to pull image"),
        ("init-waiting", MissingError, "PodInitializing"),
        ("evicted-log", MissingError, "is not available"),
        ("which-container", MissingError, "choose one of: [app istio-proxy]"),
        ("wrong-container", MissingError, "not valid for pod"),
        ("pod-missing", MissingError, 'pods "absent" not found'),
        ("bad-since", GarbageError, "parsing time"),
        ("unauthorized", DeniedError, "renew the token"),
        ("anonymous", DeniedError, "renew the token"),
        ("denied-list", DeniedError, "no right to list pods in namespace other (403)"),
        ("denied-log", DeniedError, "no right to get pods/log in namespace other"),
        ("denied-nodes-patch", DeniedError, "no right to delete nodes in the cluster"),
        ("kubelet-refused", KubeletDownError, "kubelet of the pod's node (192.0.2.10:10250)"),
        ("kubelet-stopped", KubeletDownError, "TLS handshake timeout"),
    ],
)
async def test_recorded_errors(name: str, error: type[SourceError], text: str) -> None:
    body = json.dumps(ERRORS[name]["body"]).encode()
    found = of_status("kubernetes x", "get log of a/b", ERRORS[name]["status"], body, {})
    assert type(found) is error
    assert text in str(found)


async def test_denied_names_the_rule() -> None:
    body = json.dumps(ERRORS["denied-list"]["body"]).encode()
    found = of_status("kubernetes x", "list pods", 403, body, {})
    assert 'grant the verb "list" on "pods" by a Role' in str(found)
    assert "rbac.yaml" in str(found)


@BOUNDED
@given(st.binary(max_size=200), st.integers(300, 599), st.text(max_size=10))
async def test_no_answer_is_too_odd(body: bytes, code: int, after: str) -> None:
    error = of_status("kubernetes x", "get y", code, body, {"Retry-After": after})
    assert str(error).isprintable()
    assert len(status_message(body)) <= 500


# Lines


@BOUNDED
@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(1, 30))
async def test_lines_are_cut_and_none_is_lost(chunks: list[bytes], limit: int) -> None:
    cutter = LineCutter(limit)
    got = [line for chunk in chunks for line in cutter.feed(chunk)] + cutter.end()
    whole = b"".join(chunks).split(b"\n")
    wanted = [line[:limit] for line in (whole if whole[-1] else whole[:-1])]
    assert got == wanted


# Configuration


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def config(server: str = "http://127.0.0.1:1", **user: Any) -> dict[str, Any]:
    return {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a: [", "is not YAML"),
        ("just text", "is no kubeconfig"),
        ("", "is no kubeconfig"),
        ({}, "has no current-context (it has: none)"),
        ({**config(), "current-context": "y"}, "has no context 'y' (it has: x)"),
        ({**config(), "clusters": []}, "cannot be used"),
        ({**config(), "clusters": None}, "cannot be used"),
        ({**config(), "contexts": [{"name": "x", "context": {"user": "u"}}]}, "cannot be used"),
        (config("https://127.0.0.1:1", **{"client-certificate": "/absent"}), "/absent"),
        (config(tokenFile="/absent/token"), "cannot be used"),
        (config(exec={"command": "/absent", "apiVersion": "v1"}), "gave no credentials"),
    ],
)
async def test_bad_kubeconfig(tmp_path: Path, content: object, text: str) -> None:
    path = write(tmp_path / "config", content)
    async with KubeClient(KubeSettings(name="k", kubeconfig=str(path))) as client:
        with pytest.raises(KubeConfigError) as caught:
            await client.check()
    assert text in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_absent_kubeconfig(tmp_path: Path) -> None:
    async with KubeClient(KubeSettings(kubeconfig=str(tmp_path / "none"))) as client:
        with pytest.raises(KubeConfigError, match="does not exist"):
            await client.check()


async def test_unreadable_kubeconfig(tmp_path: Path) -> None:
    async with KubeClient(KubeSettings(kubeconfig=str(tmp_path))) as client:
        with pytest.raises(KubeConfigError, match="cannot be read: Is a directory"):
            await client.check()


async def test_wrong_context_of_the_settings(tmp_path: Path) -> None:
    path = write(tmp_path / "config", config())
    async with KubeClient(KubeSettings(kubeconfig=str(path), context="prod")) as client:
        with pytest.raises(KubeConfigError, match=r"no context 'prod' \(it has: x\)"):
            await client.check()


async def test_nothing_listens(tmp_path: Path) -> None:
    path = write(tmp_path / "config", config())
    async with KubeClient(KubeSettings(kubeconfig=str(path), attempts=1)) as client:
        with pytest.raises(DownError, match="nothing answers"):
            await client.check()


async def test_kubeconfig_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RecordedCluster() as cluster:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("KUBECONFIG", str(cluster.write_kubeconfig(tmp_path / "c")))
        async with KubeClient(KubeSettings()) as client:
            assert await client.check()


async def test_exec_plugin_gives_the_token(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "by-plugin"},
    }
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o700)
    user = {"exec": {"command": str(plugin), "apiVersion": answer["apiVersion"]}}
    async with RecordedCluster(token="by-plugin") as cluster:
        path = write(tmp_path / "config", config(cluster.url, **user))
        async with KubeClient(KubeSettings(kubeconfig=str(path))) as client:
            assert await client.check()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_token_file_that_rotates(tmp_path: Path) -> None:
    clock = Clock()
    token = tmp_path / "token"
    token.write_text("one\n")
    async with RecordedCluster(token="one") as cluster:
        path = write(tmp_path / "config", config(cluster.url, tokenFile=str(token)))
        async with KubeClient(KubeSettings(kubeconfig=str(path)), monotonic=clock) as client:
            await client.check()
            cluster.token = "two"
            token.write_text("two\n")
            clock.now += 6  # a 401 has them read again, when that was not done just now
            await client.check()
            cluster.token = "three"
            token.write_text("three\n")
            clock.now += 61  # and so does time
            await client.check()
            cluster.token = "four"
            with pytest.raises(DeniedError) as caught:
                await client.check()
            assert "three" not in str(caught.value)


async def test_kubeconfig_that_moves_to_another_server(tmp_path: Path) -> None:
    clock = Clock()
    async with RecordedCluster() as one, RecordedCluster() as two:
        path = one.write_kubeconfig(tmp_path / "config")
        async with KubeClient(KubeSettings(kubeconfig=str(path)), monotonic=clock) as client:
            await client.check()
            two.write_kubeconfig(path)
            os.utime(path, (1, 1))
            clock.now += 61
            await client.check()
            assert len(one.requests) == len(two.requests) == 1
            path.write_text("{")
            clock.now += 61
            await client.check()  # what worked is kept while the file is being written
            assert len(two.requests) == 2


async def test_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_server(tmp_path, "account-token") as port:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        folder = tmp_path / "account"
        folder.mkdir()
        clock = Clock()
        plain = KubeSettings(service_account=str(folder), attempts=1)
        async with KubeClient(plain, monotonic=clock) as client:
            with pytest.raises(KubeConfigError, match=r"service account in .* cannot be used"):
                await client.check()
            (folder / "token").write_text("old")
            (folder / "ca.crt").write_bytes((tmp_path / "ca.crt").read_bytes())
            with pytest.raises(DeniedError):
                await client.check()
            (folder / "token").write_text("account-token\n")
            clock.now += 10
            assert await client.check() == "v9"


def tls_server(tmp_path: Path, token: str) -> Any:
    make_certificate(tmp_path)

    async def answer(request: web.Request) -> web.Response:
        good = request.headers.get("Authorization", "").lower() == f"bearer {token}"
        return web.json_response({"gitVersion": "v9"}, status=200 if good else 401)

    @asynccontextmanager
    async def serve() -> Any:
        app = web.Application()
        app.router.add_get("/version", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "ca.key")
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    return serve()


def make_certificate(folder: Path) -> None:
    """A self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "ca.key").write_bytes(key.private_bytes(pem, form, plain))


async def test_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    async with tls_server(tmp_path, "t") as port:
        path = write(tmp_path / "config", config(f"https://127.0.0.1:{port}", token="t"))
        async with KubeClient(KubeSettings(kubeconfig=str(path), attempts=1)) as client:
            with pytest.raises(TlsError, match="TLS failed"):
                await client.check()
        trusting = config(f"https://127.0.0.1:{port}", token="t")
        trusting["clusters"][0]["cluster"]["certificate-authority"] = str(tmp_path / "ca.crt")
        path = write(tmp_path / "config2", trusting)
        async with KubeClient(KubeSettings(kubeconfig=str(path))) as client:
            assert await client.check() == "v9"


async def test_bad_authority_file(tmp_path: Path) -> None:
    bad = config("https://127.0.0.1:1")
    bad["clusters"][0]["cluster"]["certificate-authority"] = str(write(tmp_path / "ca", "no"))
    path = write(tmp_path / "config", bad)
    async with KubeClient(KubeSettings(kubeconfig=str(path))) as client:
        with pytest.raises(KubeConfigError, match=r"certificate or key of .* cannot be used"):
            await client.check()


async def test_silent_stream_is_idle(tmp_path: Path) -> None:
    async with serving(tmp_path, [pod("a")]) as (_, client):
        lines = client.lines(
            PODS.path("front"), {"watch": "true"}, "watch pods", idle=0.2, lasting=True
        )
        with pytest.raises(IdleError, match=r"no answer within 0\.2 s"):
            await anext(lines)


async def test_paths() -> None:
    assert PODS.path("a", "b", "log") == "/api/v1/namespaces/a/pods/b/log"
    assert NODES.path("", "n") == "/api/v1/nodes/n"
    assert DEPLOYMENTS.path("a") == "/apis/apps/v1/namespaces/a/deployments"
