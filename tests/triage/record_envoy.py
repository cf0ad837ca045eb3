"""Record what a real Envoy logs for every fault that can be made on loopback.

    python -m tests.triage.record_envoy [--envoy PATH] [OUT]

Starts Envoy with a static configuration and upstreams that misbehave in known ways, makes one
request for each scenario, and writes OUT (tests/triage/data/envoy/recordings.json): for each
scenario its lines in four formats, and what they must be classified as. The expectations are
written here by hand, from what the scenario does; a recording never makes them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from triage.proxylog.formats import ISTIO_JSON, ISTIO_TEXT

CUSTOM = (
    "%START_TIME(%s.%6f)%|%RESPONSE_FLAGS_LONG%|%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%|"
    "%CONNECTION_TERMINATION_DETAILS%|%UPSTREAM_TRANSPORT_FAILURE_REASON%|%BYTES_SENT%|"
    "%REQ(:METHOD)% %REQ(:PATH):200% %PROTOCOL%|%DURATION%|%UPSTREAM_HOST%|"
    "%UPSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_LOCAL_ADDRESS%|%UPSTREAM_REQUEST_ATTEMPT_COUNT%|%REQ(X-REQUEST-ID)%|"
    "%DYNAMIC_METADATA(envoy.filters.http.rbac)%|%REQ(USER-AGENT)%\n"
)
TYPED_JSON = {
    "ts": "%START_TIME%",
    "http": {"status": "%RESPONSE_CODE%", "line": "%REQ(:METHOD)% %REQ(:PATH)%"},
    "flags": "%RESPONSE_FLAGS_LONG%",
    "why": "%RESPONSE_CODE_DETAILS%",
    "l4": "%CONNECTION_TERMINATION_DETAILS%",
    "transport": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "sent": "%BYTES_SENT%",
    "us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    "up": "%UPSTREAM_HOST%",
    "local": "%UPSTREAM_LOCAL_ADDRESS%",
    "down": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "tries": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "ua": "%REQ(USER-AGENT)%",
}
EXTENSIONS = "type.googleapis.com/envoy.extensions."
HCM = EXTENSIONS + "filters.network.http_connection_manager.v3."
HTTP = EXTENSIONS + "filters.http."
BLACKBOX = "Blackbox-Exporter/0.25.0"


# Upstreams: each takes one connection and misbehaves


def read_head(peer: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = peer.recv(65536)
        if not more:
            break
        data += more
    return data


def answer(peer: socket.socket) -> None:
    """Answer /status/N with N, for as many requests as come."""
    while head := read_head(peer):
        path = head.split(b" ")[1].split(b"?")[0]
        status = path.rsplit(b"/", 1)[-1].decode()
        status = status if status.isdigit() else "200"
        body = b"ok" if status not in ("204", "304") else b""
        peer.sendall(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)


def close_at_once(peer: socket.socket) -> None:
    read_head(peer)


def cut_body(peer: socket.socket) -> None:
    read_head(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort")


def cut_chunks(peer: socket.socket) -> None:
    read_head(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n")


def bad_chunks(peer: socket.socket) -> None:
    read_head(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nshort\r\n")
    time.sleep(0.5)


def garbage(peer: socket.socket) -> None:
    read_head(peer)
    peer.sendall(b"\x00\x01 this is no HTTP\r\n\r\n")
    time.sleep(0.5)


def no_tls(peer: socket.socket) -> None:
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def slow(peer: socket.socket) -> None:
    read_head(peer)
    with contextlib.suppress(OSError):
        peer.recv(1)


def slow_body(peer: socket.socket) -> None:
    read_head(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort")
    with contextlib.suppress(OSError):
        peer.recv(1)


def rst(peer: socket.socket) -> None:
    read_head(peer)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def h2_reset(code: int) -> Callable[[socket.socket], None]:
    """HTTP/2 that resets stream 1."""

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")  # SETTINGS
        time.sleep(0.1)
        peer.sendall(b"\x00\x00\x04\x03\x00" + struct.pack("!II", 1, code))
        time.sleep(0.5)

    return serve


def deny(peer: socket.socket) -> None:
    read_head(peer)
    peer.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")


UPSTREAMS: dict[str, Callable[[socket.socket], None]] = {
    "ok": answer,
    "close": close_at_once,
    "cut": cut_body,
    "cut-chunks": cut_chunks,
    "bad-chunks": bad_chunks,
    "garbage": garbage,
    "no-tls": no_tls,
    "slow": slow,
    "slow-body": slow_body,
    "rst": rst,
    "h2-reset": h2_reset(2),
    "h2-refuse": h2_reset(7),
    "deny": deny,
}


def listen(serve: Callable[[socket.socket], None]) -> int:
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            peer, _ = server.accept()
            threading.Thread(target=one, args=(peer,), daemon=True).start()

    def one(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError, IndexError):
            serve(peer)

    threading.Thread(target=accept, daemon=True).start()
    return int(server.getsockname()[1])


def full_backlog() -> tuple[int, list[socket.socket]]:
    """A port that takes no more connections: SYNs to it get no answer."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    held = [server]
    for _ in range(8):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        held.append(client)
    time.sleep(0.2)
    return int(server.getsockname()[1]), held


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Envoy's configuration


def access_logs(folder: Path) -> list[dict[str, Any]]:
    formats: dict[str, dict[str, Any]] = {
        "istio": {"text_format_source": {"inline_string": ISTIO_TEXT}},
        "istio_json": {"json_format": ISTIO_JSON},
        "custom": {"text_format_source": {"inline_string": CUSTOM}},
        "typed_json": {"json_format": TYPED_JSON},
    }
    return [
        {
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": EXTENSIONS + "access_loggers.file.v3.FileAccessLog",
                "path": str(folder / name),
                "log_format": form,
            },
        }
        for name, form in formats.items()
    ]


def cluster(name: str, port: int | None, **more: Any) -> dict[str, Any]:
    endpoints: list[dict[str, Any]] = []
    if port is not None:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints, **more.pop("assignment", {})}
    return {
        "name": f"inbound|8080|{name}|",
        "connect_timeout": "0.4s",
        "type": "STATIC",
        "load_assignment": assignment,
        **more,
    }


def clusters(ports: dict[str, int], backlog: int) -> list[dict[str, Any]]:
    h2 = {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": EXTENSIONS + "upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    }
    tls = {
        "transport_socket": {
            "name": "tls",
            "typed_config": {"@type": EXTENSIONS + "transport_sockets.tls.v3.UpstreamTlsContext"},
        }
    }
    result = [cluster(n, p, **(h2 if n.startswith("h2") else {})) for n, p in ports.items()]
    result += [
        cluster("refused", free_port()),
        cluster("empty", None),
        cluster("tls", ports["no-tls"], **tls),
        cluster("backlog", backlog),
        cluster("backlog-patient", backlog, connect_timeout="30s"),
        cluster(
            "breaker", ports["ok"],
            circuit_breakers={"thresholds": [{"max_connections": 0, "max_pending_requests": 0}]},
        ),
        cluster(
            "dropping", ports["ok"],
            assignment={
                "policy": {
                    "drop_overloads": [
                        {
                            "category": "all",
                            "drop_percentage": {"numerator": 100, "denominator": "HUNDRED"},
                        }
                    ]
                }
            },
        ),
    ]  # fmt: skip
    return result


def to(prefix: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A route /PREFIX to a cluster."""
    per_filter = more.pop("per_filter", None)
    entry: dict[str, Any] = {
        "match": {"prefix": f"/{prefix}"},
        "name": "default",
        "route": {"cluster": f"inbound|8080|{name or prefix}|", "timeout": "5s", **more},
    }
    if per_filter:
        entry["typed_per_filter_config"] = per_filter
    return entry


def routes() -> list[dict[str, Any]]:
    retry = {"retry_policy": {"retry_on": "5xx,reset,connect-failure", "num_retries": 1}}
    rbac = {
        "@type": HTTP + "rbac.v3.RBACPerRoute",
        "rbac": {
            "rules": {
                "action": "DENY",
                "policies": {
                    "ns[front]-policy[deny all [but] some]-rule[0]": {
                        "permissions": [{"any": True}],
                        "principals": [{"any": True}],
                    }
                },
            }
        },
    }
    limit = {
        "@type": HTTP + "local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "limit",
        "token_bucket": {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"},
        "filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
        "filter_enforced": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
    }
    everyone = {"numerator": 100, "denominator": "HUNDRED"}
    abort = {
        "@type": HTTP + "fault.v3.HTTPFault",
        "abort": {"http_status": 503, "percentage": everyone},
    }
    delay = {
        "@type": HTTP + "fault.v3.HTTPFault",
        "delay": {"fixed_delay": "0.3s", "percentage": everyone},
    }
    authz_on = {"@type": HTTP + "ext_authz.v3.ExtAuthzPerRoute", "check_settings": {}}
    fault = "envoy.filters.http.fault"
    return [
        to("retry-status", "ok", **retry),
        to("retry-close", "close", **retry),
        to("retry-refused", "refused", **retry),
        to("refused"), to("empty"), to("tls"), to("backlog-patient"),
        to("connect-ut", "backlog-patient", timeout="0.3s"),
        to("backlog"), to("breaker"), to("dropping"),
        to("close"), to("cut-chunks"), to("cut"), to("bad-chunks"), to("garbage"), to("rst"),
        to("h2-reset"), to("h2-refuse"),
        to("ut", "slow", timeout="0.3s"),
        to("body-ut", "slow-body", timeout="0.3s"),
        to(
            "per-try", "slow",
            retry_policy={"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.2s"},
        ),
        to("idle", "slow", idle_timeout="0.3s"),
        to("max-stream", "slow", timeout="0s",
           max_stream_duration={"max_stream_duration": "0.3s"}),
        to("slow-body"), to("slow"),
        to("rbac", "ok", per_filter={"envoy.filters.http.rbac": rbac}),
        to("limit", "ok", per_filter={"envoy.filters.http.local_ratelimit": limit}),
        to("abort", "ok", per_filter={fault: abort}),
        to("delay", "ok", per_filter={fault: delay}),
        to("authz", "ok", per_filter={"envoy.filters.http.ext_authz": authz_on}),
        {
            "match": {"prefix": "/direct"},
            "direct_response": {"status": 503, "body": {"inline_string": "down"}},
        },
        {"match": {"prefix": "/redirect"}, "redirect": {"https_redirect": True}},
        {
            "match": {"prefix": "/missing"},
            "route": {
                "cluster_header": "x-cluster",
                "cluster_not_found_response_code": "NOT_FOUND",
            },
        },
        {"match": {"prefix": "/gone"}, "route": {"cluster_header": "x-cluster"}},
        to("ok"),
    ]  # fmt: skip


def manager(folder: Path, authz_port: int, **more: Any) -> dict[str, Any]:
    disabled = {"@type": HTTP + "ext_authz.v3.ExtAuthzPerRoute", "disabled": True}

    def http_filter(name: str, kind: str, **config: Any) -> dict[str, Any]:
        return {
            "name": f"envoy.filters.http.{name}",
            "typed_config": {"@type": HTTP + kind, **config},
        }

    return {
        "name": "hcm",
        "typed_config": {
            "@type": HCM + "HttpConnectionManager",
            "stat_prefix": "in",
            "codec_type": "AUTO",
            "internal_address_config": {
                "cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]
            },
            "access_log": access_logs(folder),
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "front",
                        "domains": ["front.example", "front.example:*"],
                        "routes": routes(),
                        "typed_per_filter_config": {"envoy.filters.http.ext_authz": disabled},
                    }
                ]
            },
            "http_filters": [
                http_filter(
                    "health_check", "health_check.v3.HealthCheck",
                    pass_through_mode=False,
                    headers=[{"name": ":path", "string_match": {"exact": "/healthz"}}],
                ),
                http_filter("rbac", "rbac.v3.RBAC"),
                http_filter(
                    "ext_authz", "ext_authz.v3.ExtAuthz",
                    http_service={
                        "server_uri": {
                            "uri": f"http://127.0.0.1:{authz_port}",
                            "cluster": "inbound|8080|deny|",
                            "timeout": "1s",
                        }
                    },
                ),
                http_filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit",
                            stat_prefix="off"),
                http_filter("fault", "fault.v3.HTTPFault"),
                http_filter(
                    "router", "router.v3.Router",
                    strict_check_headers=["x-envoy-upstream-rq-timeout-ms"],
                ),
            ],
            **more,
        },
    }  # fmt: skip


def tcp(folder: Path, name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "tcp",
        "typed_config": {
            "@type": EXTENSIONS + "filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": f"inbound|8080|{name}|",
            "access_log": access_logs(folder),
            **more,
        },
    }


def tcp_rbac() -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.rbac",
        "typed_config": {
            "@type": EXTENSIONS + "filters.network.rbac.v3.RBAC",
            "stat_prefix": "tcp",
            "rules": {
                "action": "DENY",
                "policies": {
                    "ns[front]-policy[deny]-rule[0]": {
                        "permissions": [{"any": True}],
                        "principals": [{"any": True}],
                    }
                },
            },
        },
    }


def configuration(folder: Path, ports: dict[str, int], listeners: dict[str, int]) -> dict[str, Any]:
    backlog, _ = _HELD.append(full_backlog()) or _HELD[-1]
    filters: dict[str, list[dict[str, Any]]] = {
        "http": [manager(folder, ports["deny"])],
        "limits": [
            manager(
                folder, ports["deny"],
                request_timeout="0.3s", max_request_headers_kb=2,
                common_http_protocol_options={"max_stream_duration": "0.5s"},
            )
        ],
        "idle": [manager(folder, ports["deny"], stream_idle_timeout="0.3s")],
        "tcp": [tcp(folder, "ok")],
        "tcp-refused": [tcp(folder, "refused", max_connect_attempts=2)],
        "tcp-empty": [tcp(folder, "empty")],
        "tcp-time": [tcp(folder, "slow", max_downstream_connection_duration="0.3s")],
        "tcp-rbac": [tcp_rbac(), tcp(folder, "ok")],
    }  # fmt: skip
    return {
        "admin": {
            "address": {
                "socket_address": {"address": "127.0.0.1", "port_value": listeners["admin"]}
            }
        },
        "static_resources": {
            "listeners": [
                {
                    "name": name,
                    "address": {
                        "socket_address": {"address": "127.0.0.1", "port_value": listeners[name]}
                    },
                    "filter_chains": [{"filters": chain}],
                }
                for name, chain in filters.items()
            ],
            "clusters": clusters(ports, backlog),
        },
    }


_HELD: list[tuple[int, list[socket.socket]]] = []


# Clients


def request(
    port: int,
    path: str,
    *,
    agent: str = BLACKBOX,
    method: str = "GET",
    host: str = "front.example",
    extra: str = "",
    patience: float = 5.0,
    raw: bytes | None = None,
) -> None:
    """One request; the client goes after `patience` seconds, or when the response has come."""
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {agent}\r\n"
        f"connection: close\r\n{extra}\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(patience)
        client.sendall(head.encode() if raw is None else raw)
        with contextlib.suppress(OSError):
            while client.recv(65536):
                pass


def request_h2(port: int, path: str) -> None:
    subprocess.run(
        [
            "curl", "-s", "-o", "/dev/null", "--http2-prior-knowledge", "-A", BLACKBOX,
            "-H", "host: front.example", f"http://127.0.0.1:{port}{path}",
        ],
        check=False, timeout=10,
    )  # fmt: skip


Scenario = tuple[str, Callable[[dict[str, int]], None], str, str, str]


def scenarios() -> Iterator[Scenario]:
    """(name, how to make it, kind, reason, reach)."""

    def get(path: str, where: str = "http", **more: Any) -> Callable[[dict[str, int]], None]:
        return lambda ports: request(ports[where], path, **more)

    big = {"extra": "x-big: " + "a" * 4000 + "\r\n"}
    yield "ok", get("/ok/"), "ok", "", "answered"
    yield "no content", get("/ok/204"), "ok", "", "answered"
    for status in (404, 405, 429, 500, 502, 503, 504):
        yield f"app {status}", get(f"/ok/{status}"), "app_status", "status", "answered"
    yield "retries then 503", get("/retry-status/503"), "app_status", "status", "answered"
    yield "refused", get("/refused"), "connect_failure", "refused", "not_reached"
    yield "refused, retried", get("/retry-refused"), "connect_failure", "refused", "not_reached"
    yield "connect timeout", get("/backlog"), "connect_failure", "timeout", "not_reached"
    yield "tls", get("/tls"), "connect_failure", "tls", "not_reached"
    yield "no endpoints", get("/empty"), "no_upstream", "no_healthy_host", "not_tried"
    yield "closed", get("/close"), "reset", "connection_termination", "reached"
    yield "closed, retried", get("/retry-close"), "reset", "connection_termination", "reached"
    yield "rst", get("/rst"), "reset", "connection_termination", "reached"
    yield "h2 reset", get("/h2-reset"), "reset", "remote_reset", "reached"
    yield "h2 refused stream", get("/h2-refuse"), "reset", "refused_stream", "reached"
    yield "body cut", get("/cut"), "protocol", "response", "answered"
    yield "chunks cut", get("/cut-chunks"), "protocol", "response", "answered"
    yield "bad chunks", get("/bad-chunks"), "protocol", "response", "answered"
    yield "garbage", get("/garbage"), "protocol", "response", "reached"
    yield "response timeout", get("/ut"), "timeout", "response", "reached"
    yield "body timeout", get("/body-ut"), "timeout", "response", "answered"
    yield "timeout in connecting", get("/connect-ut"), "timeout", "response", "not_reached"
    yield "per try timeout", get("/per-try"), "timeout", "per_try", "reached"
    yield "idle", get("/idle"), "timeout", "stream_idle", "reached"
    yield "max stream", get("/max-stream"), "timeout", "max_duration", "reached"
    yield "stream limit", get("/slow", "limits"), "timeout", "max_duration", "reached"
    yield (
        "client leaves",
        get("/slow", patience=0.3),
        "client_gone",
        "disconnect",
        "reached",
    )
    yield (
        "client leaves in connecting",
        get("/backlog-patient", patience=0.3),
        "client_gone",
        "disconnect",
        "not_reached",
    )
    yield (
        "client leaves in body",
        get("/slow-body", patience=0.3),
        "client_gone",
        "disconnect",
        "answered",
    )
    yield (
        "client leaves in delay",
        get("/delay", patience=0.1),
        "policy",
        "delay_injection",
        "not_tried",
    )
    yield (
        "request unfinished",
        get("/slow", "limits", method="POST", extra="content-length: 10\r\n"),
        "client_gone",
        "request_unfinished",
        "reached",
    )
    yield (
        "request idle",
        get("/slow", "idle", method="POST", extra="content-length: 10\r\n"),
        "client_gone",
        "request_unfinished",
        "reached",
    )
    yield "no route", get("/nowhere"), "configuration", "no_route", "not_tried"
    yield (
        "no host",
        get("/ok", host="other.example"),
        "configuration",
        "no_route",
        "not_tried",
    )
    gone = {"extra": "x-cluster: outbound|80||gone.example\r\n"}
    yield "no cluster", get("/gone", **gone), "configuration", "no_cluster", "not_tried"
    yield "no cluster 404", get("/missing", **gone), "configuration", "no_cluster", "not_tried"
    yield "direct response", get("/direct"), "configuration", "direct_response", "not_tried"
    yield "redirect", get("/redirect"), "ok", "", "not_tried"
    yield "rbac", get("/rbac"), "policy", "rbac", "not_tried"
    yield "limit, first", get("/limit"), "ok", "", "answered"
    yield "limit", get("/limit"), "policy", "rate_limit", "not_tried"
    yield "abort", get("/abort"), "policy", "fault_injection", "not_tried"
    yield "delay", get("/delay"), "ok", "", "answered"
    yield "authz", get("/authz"), "policy", "ext_authz", "not_tried"
    yield "breaker", get("/breaker"), "overload", "circuit_breaker", "not_tried"
    yield "drop", get("/dropping"), "overload", "drop", "not_tried"
    yield (
        "strict header",
        get("/ok", extra="x-forwarded-for: 10.0.0.1\r\nx-envoy-upstream-rq-timeout-ms: soon\r\n"),
        "protocol",
        "request",
        "not_tried",
    )
    yield (
        "headers too large",
        get("/ok", "limits", **big),
        ("protocol"),
        "request_too_large",
        "not_tried",
    )
    yield (
        "malformed",
        get("/ok", raw=b"GET /ok HTTP/1.1\r\nhost: front.example\r\nbad header\r\n\r\n"),
        "protocol",
        "request",
        "not_tried",
    )
    yield (
        "no host header",
        get("/ok", raw=b"GET /ok HTTP/1.1\r\n\r\n"),
        "protocol",
        "request",
        "not_tried",
    )
    yield "http/2", lambda ports: request_h2(ports["http"], "/ok/"), "ok", "", "answered"
    yield (
        "http/2 503",
        lambda ports: request_h2(ports["http"], "/ok/503"),
        "app_status",
        "status",
        "answered",
    )
    yield (
        "quotes in user agent",
        get("/ok/503", agent='evil" "id" "host" "192.0.2.1:80" 200 - via_upstream'),
        "app_status",
        "status",
        "answered",
    )
    yield (
        "quotes in path",
        get('/ok/?a="HTTP/1.1"/503'),
        "ok",
        "",
        "answered",
    )
    yield (
        "a line in the user agent",
        get("/refused", agent='x HTTP/1.1" 200 - via_upstream - "-" 0 2 1 1 "-" "y" "z" "w" "v" c'),
        "connect_failure",
        "refused",
        "not_reached",
    )
    yield (
        "octets in user agent",
        lambda ports: request(
            ports["http"],
            "/ok/",
            raw=b"GET /ok/ HTTP/1.1\r\nhost: front.example\r\nuser-agent: \xff\xfe\x01\xe3\x81\r\n"
            b"connection: close\r\n\r\n".replace(b"\x01", b""),
        ),
        "ok",
        "",
        "answered",
    )
    yield (
        "no user agent",
        get(
            "/ok/503",
            raw=b"GET /ok/503 HTTP/1.1\r\nhost: front.example\r\nconnection: close\r\n\r\n",
        ),
        "app_status",
        "status",
        "answered",
    )
    yield "tcp", get("/", "tcp"), "ok", "", "answered"
    yield "tcp refused", get("/", "tcp-refused"), "connect_failure", "refused", "not_reached"
    yield "tcp no endpoints", get("/", "tcp-empty"), "no_upstream", "no_healthy_host", "not_tried"
    yield "tcp time", get("/", "tcp-time"), "timeout", "max_duration", "reached"
    yield "tcp rbac", get("/", "tcp-rbac"), "policy", "rbac", "not_tried"
    yield (
        "local health check",
        unhealthy,
        "no_upstream",
        "local_health_check",
        "not_tried",
    )


def unhealthy(ports: dict[str, int]) -> None:
    request(ports["admin"], "/healthcheck/fail", method="POST", extra="content-length: 0\r\n")
    request(ports["http"], "/healthz")


def new_lines(files: dict[str, Path], seen: dict[str, int]) -> dict[str, str]:
    """The one line that came in each file; several: the last."""
    deadline = time.monotonic() + 8
    while True:
        found = {}
        for name, path in files.items():
            data = path.read_bytes() if path.exists() else b""
            if len(data) > seen[name] and data.endswith(b"\n"):
                found[name] = data
        if len(found) == len(files):
            break
        if time.monotonic() > deadline:
            return {}
        time.sleep(0.02)
    time.sleep(0.1)
    lines = {}
    for name, path in files.items():
        data = path.read_bytes()
        lines[name] = data[seen[name] :].splitlines()[-1].decode("utf-8", "surrogateescape")
        seen[name] = len(data)
    return lines


def record(envoy: str, out: Path) -> int:
    folder = Path(tempfile.mkdtemp(prefix="envoy-"))
    ports = {name: listen(serve) for name, serve in UPSTREAMS.items()}
    names = ("http", "limits", "idle", "tcp", "tcp-refused", "tcp-empty", "tcp-time", "tcp-rbac")
    listeners = {name: free_port() for name in (*names, "admin")}
    config = folder / "envoy.json"
    config.write_text(json.dumps(configuration(folder, ports, listeners)))
    files = {name: folder / name for name in ("istio", "istio_json", "custom", "typed_json")}
    seen = dict.fromkeys(files, 0)
    own_log = folder / "envoy.log"
    process = subprocess.Popen(
        [
            envoy, "-c", str(config), "--concurrency", "1", "--disable-hot-restart",
            "--file-flush-interval-msec", "20", "--log-path", str(own_log), "-l", "info",
        ]
    )  # fmt: skip
    try:
        wait_for(listeners["http"], process)
        recorded = []
        missing = []
        for name, make, kind, reason, reach in scenarios():
            make(listeners)
            lines = new_lines(files, seen)
            if not lines:
                missing.append(name)
                continue
            expected = {"kind": kind, "reason": reason, "reach": reach}
            recorded.append({"name": name, "expected": expected, "lines": lines})
        version = subprocess.run(
            [envoy, "--version"], capture_output=True, text=True, check=True
        ).stdout.split("/")[1]
        document = {"envoy": version, "custom": CUSTOM, "typed_json": TYPED_JSON,
                    "recordings": recorded}  # fmt: skip
        out.write_text(json.dumps(document, indent=1, ensure_ascii=True) + "\n")
        print(f"{len(recorded)} scenarios in {out}; not logged: {', '.join(missing) or 'none'}")
        return 1 if missing else 0
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("Envoy did not start")
            time.sleep(0.1)
        else:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envoy", default="envoy")
    parser.add_argument(
        "out", nargs="?", type=Path,
        default=Path(__file__).parent / "data" / "envoy" / "recordings.json",
    )  # fmt: skip
    options = parser.parse_args()
    return record(options.envoy, options.out)


if __name__ == "__main__":
    sys.exit(main())
