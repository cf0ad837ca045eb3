"""Raw JSON requests to one Kubernetes API server, each bounded, each fault one clear line.

Rules
- `kubernetes.aio` does what it is good at: kubeconfig files, client certificates, token files,
  exec plugins, OIDC, proxies, the service account of a pod. Its generated models are not used: they
  refuse objects that a server really sends (a null eventTime), and cost more than the JSON.
- A request has a time limit per attempt and a number of attempts; only what changes nothing is
  repeated. `kubernetes.aio` itself retries nothing here (its `retries` stays None), so that the two
  do not multiply.
- Requests at once are limited by a semaphore; followed logs and watches, which last,
  have their own.
- Credentials rotate. They are looked at again every `reload` seconds and after a 401; a new token
  goes into the session that is there, anything else (certificates, server, proxy) makes a new
  session, and the old one is closed when its last request ends.
- Bodies are read up to a limit, lines are cut at a limit: nothing that a server sends can fill the
  memory.
- Errors are those of `triage.sources.errors`; `KubeConfigError` says what is wrong with the
  configuration itself. No message holds a credential.

References: Kubernetes API concepts (limit and continue, 410 Gone, resourceVersion, watch
bookmarks), kubernetes.aio 37 (`config`, `client.rest`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import structlog
import yaml
from kubernetes.aio import client as api
from kubernetes.aio import config as api_config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from triage.kube import errors
from triage.kube.settings import KubeSettings
from triage.kube.values import Json, as_dict, as_list
from triage.sources.errors import (
    BusyError,
    DownError,
    GarbageError,
    MissingError,
    SlowError,
    SourceError,
)

log = structlog.get_logger(__name__)

Query = Mapping[str, str | int | float]

RETRY_WAIT = 0.2  # before the second attempt; doubled for each further one
RELOAD_REST = 5.0  # two reloads after a 401 are at least so far apart
RESTARTS = 2  # of a list whose continue token expired


class KubeConfigError(SourceError):
    """The kubeconfig or service account cannot be used; the message says why and where."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: where the API has it."""

    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """The request path, each part quoted."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, sub) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)

    @property
    def shown(self) -> str:
        """As RBAC names it: "deployments.apps", "pods"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS = Kind("pods")
SERVICES = Kind("services")
ENDPOINTS = Kind("endpoints")
EVENTS = Kind("events")
NODES = Kind("nodes", namespaced=False)
SLICES = Kind("endpointslices", "discovery.k8s.io")
DEPLOYMENTS = Kind("deployments", "apps")
REPLICASETS = Kind("replicasets", "apps")
STATEFULSETS = Kind("statefulsets", "apps")
DAEMONSETS = Kind("daemonsets", "apps")
LEASES = Kind("leases", "coordination.k8s.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Objects of one list."""

    items: list[Json]
    version: str = ""
    """resourceVersion to watch from."""
    truncated: bool = False
    """There are more than max_objects."""


@dataclass(slots=True)
class _Session:
    """An ApiClient, and how many requests run on it."""

    client: Any
    """ApiClient, which is untyped where it is used here."""
    key: tuple[object, ...]
    users: int = 0
    retired: bool = False


@dataclass(slots=True)
class _Loader:
    """Where credentials come from, and what that looked like when it was read."""

    kubeconfig: Any = None
    """KubeConfigLoader: keeps what an exec plugin gave until it expires."""
    stamp: tuple[object, ...] = ()
    exec_plugin: bool = False
    source: str = ""


@dataclass(slots=True)
class _Credentials:
    loader: _Loader = field(default_factory=_Loader)
    loaded_at: float = float("-inf")
    session: _Session | None = None


class KubeClient:
    """One cluster's API. Make it, use it from one event loop, `await close()` it."""

    def __init__(
        self,
        settings: KubeSettings,
        *,
        limit: asyncio.Semaphore | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._limit = limit or asyncio.Semaphore(settings.concurrency)
        self._long = asyncio.Semaphore(settings.followers)
        self._monotonic = monotonic
        self._have = _Credentials()
        self._loading = asyncio.Lock()
        self._closed = False

    @property
    def name(self) -> str:
        """How evidence names the cluster."""
        return f"kubernetes {self.settings.name}"

    async def close(self) -> None:
        """Close every connection. Requests that still run fail."""
        self._closed = True
        session, self._have.session = self._have.session, None
        if session is not None:
            await session.client.close()

    async def __aenter__(self) -> KubeClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Requests

    async def check(self) -> str:
        """Ask for the server's version, such as "v1.31.2". Raises SourceError."""
        answer = await self.request("GET", "/version", what="the server's version")
        return str(answer.get("gitVersion", ""))

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Give one object. Raises SourceError, MissingError when there is none."""
        what = f"get {kind.shown} {_named(namespace, name)}"
        return await self.request("GET", kind.path(namespace, name), what=what)

    async def objects(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> Listing:
        """Give the objects of a namespace ("": of all), page by page. Raises SourceError."""
        for _ in range(RESTARTS):
            try:
                return await self._list(kind, namespace, labels, fields)
            except errors.GoneError:
                continue  # the continue token outlived the server's history: from the start
        return await self._list(kind, namespace, labels, fields)

    async def _list(self, kind: Kind, namespace: str, labels: str, fields: str) -> Listing:
        query: dict[str, str | int | float] = {"limit": self.settings.page}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        what = f"list {kind.shown}" + (f" of {namespace}" if namespace else "")
        items: list[Json] = []
        while True:
            answer = await self.request("GET", kind.path(namespace), query=query, what=what)
            found = answer.get("items") or []
            if not isinstance(found, list):
                raise GarbageError(f"{self.name}: {what}: the answer holds no list")
            items += [item for item in found if isinstance(item, dict)]
            meta = as_dict(answer.get("metadata"))
            again = str(meta.get("continue") or "")
            version = str(meta.get("resourceVersion") or "")
            if not again or len(items) >= self.settings.max_objects:
                return Listing(items=items, version=version, truncated=bool(again))
            query["continue"] = again

    async def send(self, method: str, kind: Kind, namespace: str, name: str, body: Json) -> Json:
        """Create (POST, name "") or replace (PUT) an object; once. Raises SourceError.

        ConflictError when somebody else was faster.
        """
        verb = {"POST": "create", "PUT": "update"}.get(method, method.lower())
        named = _named(namespace, name or str(as_dict(body.get("metadata")).get("name", "")))
        return await self.request(
            method, kind.path(namespace, name), body=body, what=f"{verb} {kind.shown} {named}"
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Json | None = None,
        what: str,
    ) -> Json:
        """Send one request and give its answer as a JSON object. Raises SourceError.

        `what` names it in errors: "list pods of front".
        """
        attempts = max(1, self.settings.attempts) if method == "GET" else 1
        wait = RETRY_WAIT
        for attempt in range(1, attempts + 1):
            try:
                return await self._once(method, path, query, body, what)
            except (DownError, SlowError, BusyError, GarbageError) as error:
                asked = getattr(error, "retry_after", None) or 0.0
                final = isinstance(error, errors.UnknownPathError) or attempt == attempts
                if final or asked > self.settings.timeout:
                    raise
                wait = max(wait, asked)
            await asyncio.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")  # pragma: no cover

    async def _once(
        self, method: str, path: str, query: Query | None, body: Json | None, what: str
    ) -> Json:
        timeout = aiohttp.ClientTimeout(total=self.settings.timeout)
        async with (
            self._limit,
            self._response(method, path, query, body, what, timeout) as response,
        ):
            raw = await self._body(response, what)
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            raise GarbageError(
                f"{self.name}: {what}: the answer is not JSON (is a proxy in between?)"
            ) from None
        if not isinstance(answer, dict):
            raise GarbageError(f"{self.name}: {what}: the answer is not an object")
        return answer

    async def _body(self, response: aiohttp.ClientResponse, what: str) -> bytes:
        chunks = bytearray()
        async for chunk in response.content.iter_any():
            chunks += chunk
            if len(chunks) > self.settings.max_body:
                raise GarbageError(
                    f"{self.name}: {what}: the answer is larger than {self.settings.max_body} bytes"
                )
        return bytes(chunks)

    @contextlib.asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: Json | None,
        what: str,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One answer with a good status; the faults inside the block are mapped too."""
        for last in (False, True):
            try:
                async with self._session() as session:
                    response = await self._send(session, method, path, query, body, timeout)
                    try:
                        if response.status == 401 and not last and self._may_reload():
                            continue
                        if not 200 <= response.status < 300:
                            text = await response.content.read(64 * 1024)
                            raise errors.of_status(
                                self.name, what, response.status, text, response.headers
                            )
                        yield response
                    finally:
                        response.close() if not response.content.at_eof() else response.release()
                return
            except (TimeoutError, aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
                patience = timeout.total or timeout.sock_read or 0.0
                mapped = errors.of_exception(self.name, what, error, patience)
                if isinstance(mapped, errors.TlsError):
                    self._may_reload()  # a rotated CA or certificate
                raise mapped from None

    async def _send(
        self,
        session: _Session,
        method: str,
        path: str,
        query: Query | None,
        body: Json | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        _, url, headers, sent, _ = await session.client.param_serialize(
            method,
            path,
            query_params=[(key, str(value)) for key, value in (query or {}).items()],
            header_params={"Accept": "application/json, */*"},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await session.client.call_api(
            method, url, header_params=headers, body=sent, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    # What lasts: watches and logs

    async def lines(
        self,
        path: str,
        query: Query,
        what: str,
        *,
        idle: float,
        lasting: bool,
        limit: int | None = None,
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[bytes, None]:
        """Stream an answer line by line, without newlines, each cut at `line_bytes`.

        `idle` is the longest wait for the next bytes; `limit` the longest line; `on_open` is called
        when the server has accepted. Raises SourceError: IdleError after `idle`.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self.settings.timeout, sock_connect=self.settings.timeout,
            sock_read=idle,
        )  # fmt: skip
        gate = self._long if lasting else self._limit
        async with gate, self._response("GET", path, query, None, what, timeout) as response:
            if response.status == 204:  # a pod that is not on a node yet has no log at all
                raise MissingError(f"{self.name}: {what}: there is none yet")
            on_open()
            cutter = LineCutter(limit or self.settings.line_bytes)
            async for chunk in response.content.iter_any():
                for line in cutter.feed(chunk):
                    yield line
            for line in cutter.end():
                yield line

    # Credentials

    def _may_reload(self) -> bool:
        """Have credentials read again at the next request, unless that was done just now."""
        if self._monotonic() - self._have.loaded_at < RELOAD_REST:
            return False
        self._have.loaded_at = float("-inf")
        self._have.loader = _Loader()
        return True

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[_Session]:
        if self._closed:
            raise DownError(f"{self.name}: the client is closed")
        session = await self._current()
        session.users += 1
        try:
            yield session
        finally:
            session.users -= 1
            if session.retired and not session.users:
                await session.client.close()

    async def _current(self) -> _Session:
        async with self._loading:
            have = self._have
            fresh = self._monotonic() - have.loaded_at < self.settings.reload
            if have.session is not None and fresh:
                return have.session
            try:
                configuration = await self._load()
                session = self._renewed(have.session, configuration)
            except SourceError as error:
                if have.session is None:
                    raise
                # what worked a minute ago is better than nothing: the server decides
                log.warning("kubernetes_credentials_unread", cluster=self.name, why=str(error))
                session = have.session
            have.loaded_at = self._monotonic()
            old, have.session = have.session, session
        if old is not None and old is not session:
            old.retired = True
            if not old.users:
                await old.client.close()
        return session

    def _renewed(self, have: _Session | None, configuration: api.Configuration) -> _Session:
        key = _key(configuration)
        if have is not None and have.key == key:
            have.client.configuration.api_key = configuration.api_key
            return have
        configuration.connection_pool_maxsize = 0  # the semaphores are the limit
        try:
            client = api.ApiClient(configuration=configuration)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise KubeConfigError(
                f"{self.name}: a certificate or key of {self._have.loader.source}"
                f" cannot be used: {errors.short(error)}"
            ) from None
        client.user_agent = "triage"
        return _Session(client, key)

    async def configured(self) -> None:
        """Read the kubeconfig or service account, and ask nobody; raise KubeConfigError."""
        await self._load()

    async def _load(self) -> api.Configuration:
        configuration: api.Configuration = type.__call__(api.Configuration)  # not the default
        source = self.settings.kubeconfig
        if not source and os.environ.get("KUBERNETES_SERVICE_HOST"):
            self._load_account(configuration)
        else:
            await self._load_file(source, configuration)
        return configuration

    def _load_account(self, configuration: api.Configuration) -> None:
        folder = Path(self.settings.service_account)
        self._have.loader.source = f"the service account in {folder}"
        try:
            account: Any = InClusterConfigLoader
            account(
                token_filename=str(folder / "token"),
                cert_filename=str(folder / "ca.crt"),
                try_refresh_token=False,  # read again here, as all credentials are
            ).load_and_set(configuration)
        except (api_config.ConfigException, OSError, ValueError) as error:
            raise KubeConfigError(
                f"{self.name}: the service account in {folder} cannot be used:"
                f" {errors.short(error)}"
            ) from None
        _strip(configuration)

    async def _load_file(self, source: str, configuration: api.Configuration) -> None:
        paths = source or os.environ.get("KUBECONFIG") or "~/.kube/config"
        have = self._have.loader
        stamp = _stamp(paths)
        try:
            if have.kubeconfig is None or have.stamp != stamp:
                have = _Loader(source=paths, stamp=stamp)
                have.exec_plugin = self._read(paths)
                load: Any = api_config.load_kube_config
                have.kubeconfig = await load(
                    config_file=paths,
                    context=self.settings.context or None,
                    client_configuration=configuration,
                    persist_config=False,  # an operator's file is not ours to write
                )
                self._have.loader = have
            else:
                await have.kubeconfig.load_and_set(configuration)
        except SourceError:
            raise
        except (yaml.YAMLError, UnicodeDecodeError):
            raise KubeConfigError(f"{self.name}: {paths} is not YAML") from None
        except Exception as error:  # any malformed file: the loader checks next to nothing
            raise KubeConfigError(
                f"{self.name}: kubeconfig {paths} cannot be used: {errors.short(error)}"
            ) from None
        if have.exec_plugin and not (configuration.api_key or configuration.cert_file):
            raise KubeConfigError(
                f"{self.name}: the exec plugin of kubeconfig {paths} gave no credentials"
            )
        _strip(configuration)

    def _read(self, paths: str) -> bool:
        """Check what the loader does not; True when an exec plugin gives the credentials."""
        found: list[Json] = []
        for path in filter(None, paths.split(os.pathsep)):
            file = Path(path).expanduser()
            if not file.exists():
                continue
            try:
                text = file.read_text()
            except OSError as error:
                raise KubeConfigError(
                    f"{self.name}: kubeconfig {path} cannot be read: {error.strerror}"
                ) from None
            content = yaml.safe_load(text)
            if not isinstance(content, dict):
                raise KubeConfigError(f"{self.name}: {path} is no kubeconfig (not a mapping)")
            found.append(content)
        if not found:
            raise KubeConfigError(
                f"{self.name}: kubeconfig {paths} does not exist (set the path, or run inside"
                " the cluster with a service account)"
            )
        wanted = self.settings.context or next(
            (str(c["current-context"]) for c in found if c.get("current-context")), ""
        )
        return self._uses_exec(found, wanted, paths)

    def _uses_exec(self, found: list[Json], wanted: str, paths: str) -> bool:
        contexts = {c["name"]: as_dict(c.get("context")) for c in _named_items(found, "contexts")}
        if wanted not in contexts:
            known = ", ".join(sorted(map(str, contexts))) or "none"
            what = f"no context {wanted!r}" if wanted else "no current-context"
            raise KubeConfigError(f"{self.name}: kubeconfig {paths} has {what} (it has: {known})")
        user = contexts[wanted].get("user")
        users = {u["name"]: as_dict(u.get("user")) for u in _named_items(found, "users")}
        return "exec" in users.get(user, {})


class LineCutter:
    """Bytes in, lines out, with bounded memory: the rest of an over-long line is dropped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._part = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Give the lines that end in `chunk`."""
        *whole, rest = chunk.split(b"\n")
        lines = []
        for end in whole:
            self._add(end)
            lines.append(bytes(self._part))
            self._part.clear()
            self._skipping = False
        self._add(rest)
        return lines

    def end(self) -> list[bytes]:
        """Give what came after the last newline, if anything did."""
        rest, self._part = bytes(self._part), bytearray()
        return [rest] if rest else []

    def _add(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._part += piece[: self._limit - len(self._part)]
        self._skipping = len(self._part) >= self._limit


def _named(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _named_items(found: list[Json], key: str) -> list[Json]:
    # first file first, and the first of a name holds, as kubectl merges: so last in the dict
    items = [item for content in reversed(found) for item in as_list(content.get(key))]
    return [item for item in items if "name" in item]


def _strip(configuration: api.Configuration) -> None:
    """Files end with a newline, a header must not."""
    for key, value in configuration.api_key.items():
        configuration.api_key[key] = str(value).strip()


def _stamp(paths: str) -> tuple[object, ...]:
    return tuple(_file_stamp(path) for path in paths.split(os.pathsep) if path)


def _file_stamp(path: str | None) -> object:
    if not path:
        return None
    try:
        stat = Path(path).expanduser().stat()
    except OSError:
        return (path, None)
    return (path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _key(configuration: api.Configuration) -> tuple[object, ...]:
    """What cannot be changed in a session that is there."""
    return (
        configuration.host,
        _file_stamp(configuration.ssl_ca_cert),
        _file_stamp(configuration.cert_file),
        _file_stamp(configuration.key_file),
        configuration.verify_ssl,
        configuration.tls_server_name,
        configuration.proxy,
    )
