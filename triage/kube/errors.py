"""From what an API server answers to the error that it means. Pure.

The bodies are Kubernetes' `Status` objects, but a proxy, a load balancer or a half-started server
in between may answer with anything.

What a status means here: 401, 403 and TLS failures are DeniedError; 404 in Kubernetes' own words
MissingError, in other words UnknownPathError; 409 ConflictError; 410 GoneError; 429 and a 503 with
Retry-After BusyError; 408 and 504 SlowError; other 5xx GarbageError. The log subresource says with
400 that there is no such log, and with 500 or 502 that the node's kubelet did not answer:
`of_status` tells those by their messages.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping

import aiohttp

from triage.kube.values import cut
from triage.sources.errors import (
    BusyError,
    DeniedError,
    DownError,
    GarbageError,
    MissingError,
    SlowError,
    SourceError,
)

MESSAGE = 500  # characters of a server's message that are shown

FORBIDDEN = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)")?'
)
NO_LOG = re.compile(
    r"previous terminated container .* not found|is waiting to start|is not available"
    r"|is not valid for pod|a container name must be specified|is terminated"
)
KUBELET = re.compile(
    r"dial tcp|dialing backend|No agent available|no route to host|connection refused"
    r"|i/o timeout|deadline exceeded|EOF|proxy error"
)
KUBELET_URL = re.compile(r'"?https://(?P<address>[^/\s"]+)/containerLogs/')


class ConflictError(SourceError):
    """409: somebody else changed or created the object first."""


class GoneError(SourceError):
    """410: the resourceVersion or continue token is older than the server's history."""


class UnknownPathError(GarbageError):
    """404, and not in Kubernetes' words: no such API there, or no API server at all.

    It says nothing about whether an object exists.
    """


class TlsError(DeniedError):
    """The server's certificate is not trusted, or the server refused ours."""


class IdleError(SlowError):
    """Connected, and nothing came for too long."""


class KubeletDownError(DownError):
    """The API server is well, and the node's kubelet did not answer it."""


def of_status(
    cluster: str, what: str, status: int, body: bytes, headers: Mapping[str, str]
) -> SourceError:
    """Give the error for an answer with a status that is not 2xx."""
    message = status_message(body)
    said = f": {message}" if message else ""
    if status == 401:
        return DeniedError(
            f"{cluster}: {what}: the credentials are not accepted (401); renew the token or"
            " certificate of the kubeconfig or service account"
        )
    if status == 403:
        return DeniedError(f"{cluster}: {what}: {_denied(message)}")
    if status == 404 and not _is_status(body):
        return UnknownPathError(
            f"{cluster}: {what}: nothing is served there (404{said}); does the address lead to"
            " the API server?"
        )
    if status == 404 or (status == 400 and NO_LOG.search(message)):
        return MissingError(f"{cluster}: {what}: {message or 'there is none (404)'}")
    if status == 409:
        return ConflictError(f"{cluster}: {what}{said or ': somebody else was faster (409)'}")
    if status == 410:
        return GoneError(f"{cluster}: {what}{said or ': gone (410)'}")
    return _of_server(cluster, what, status, message, headers)


def _of_server(
    cluster: str, what: str, status: int, message: str, headers: Mapping[str, str]
) -> SourceError:
    said = f": {message}" if message else ""
    after = retry_after(headers.get("Retry-After"))
    if status == 429 or (status == 503 and after is not None):
        wait = f" for {after:g} s" if after is not None else ""
        return BusyError(f"{cluster}: {what}: the server asks to be left alone{wait}", after)
    kubelet = KUBELET_URL.search(message)
    if kubelet or ("log" in what and status >= 500 and KUBELET.search(message)):
        address = f" ({kubelet['address']})" if kubelet else ""
        return KubeletDownError(
            f"{cluster}: {what}: the kubelet of the pod's node{address} did not answer the"
            f" API server{said}"
        )
    if status in (408, 504):
        return SlowError(f"{cluster}: {what}: the server ran out of time ({status}){said}")
    return GarbageError(f"{cluster}: {what}: the server answered {status}{said}")


def _denied(message: str) -> str:
    found = FORBIDDEN.search(message)
    if not found:
        return f"denied (403){': ' + message if message else ''}; see docs/deploy/kubernetes"
    resource = found["resource"] + (f".{found['group']}" if found["group"] else "")
    where = f"in namespace {found['namespace']}" if found["namespace"] else "in the cluster"
    kind = "Role" if found["namespace"] else "ClusterRole"
    return (
        f"no right to {found['verb']} {resource} {where} (403); grant the verb"
        f' "{found["verb"]}" on "{resource}" by a {kind}, see docs/deploy/kubernetes/rbac.yaml'
    )


def of_exception(cluster: str, what: str, error: BaseException, timeout: float) -> SourceError:
    """Give the error for a request that got no answer, or only a part of one."""
    chain = _chain(error)
    if any(isinstance(e, ssl.SSLError | ssl.CertificateError) for e in chain):
        return TlsError(
            f"{cluster}: {what}: TLS failed: {short(chain[-1])}; check certificate-authority and"
            " client certificate"
        )
    if isinstance(error, aiohttp.SocketTimeoutError):
        return IdleError(f"{cluster}: {what}: no answer within {timeout:g} s")
    if isinstance(error, TimeoutError | aiohttp.ServerTimeoutError):
        return SlowError(f"{cluster}: {what}: no answer within {timeout:g} s")
    if isinstance(error, aiohttp.ClientPayloadError):
        return GarbageError(f"{cluster}: {what}: the answer broke off")
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.http.HttpProcessingError):
        return GarbageError(f"{cluster}: {what}: the answer is not HTTP: {short(error)}")
    if isinstance(error, aiohttp.InvalidURL):
        return DownError(f"{cluster}: {what}: the server's address is not a URL: {short(error)}")
    if isinstance(error, aiohttp.ClientError | OSError):
        return DownError(f"{cluster}: {what}: nothing answers: {short(error)}")
    return GarbageError(f"{cluster}: {what}: {short(error)}")


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain and len(chain) < 10:
        chain.append(step)
        step = getattr(step, "os_error", None) or step.__cause__ or step.__context__
    return chain


def status_message(body: bytes) -> str:
    """Give the message of a `Status` object, or the beginning of whatever it is, in one line."""
    text = body.decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        text = str(parsed.get("message") or parsed.get("reason") or "")
    return cut(text, MESSAGE)


def _is_status(body: bytes) -> bool:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) and parsed.get("kind") == "Status"


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header; None when it has none that is a number."""
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None


def short(error: BaseException) -> str:
    """An exception's message in one line."""
    return cut(str(error), 200) or type(error).__name__
