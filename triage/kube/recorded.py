"""A stand-in for the Kubernetes API, over recorded objects and logs: for tests and `make demo`.

What it does like the real one
- Objects by kind, namespace and name; lists with labelSelector, the fieldSelectors in use, limit
  and continue; watches from a resourceVersion, with bookmarks and 410; creating, replacing and
  deleting any object, with 409 on an old resourceVersion; errors as `Status` objects in the
  server's words.
- Logs from files that are read when they are asked for: timestamps, sinceTime, previous,
  limitBytes, follow. Lines with the runtime's CRI prefix keep its time; a line of a plain file has
  the time at which it was seen to be there.
- A bearer token, when one is set; everything else is allowed. Rights are not modelled: `Fault`s
  answer 403 where a test wants it, and any other trouble.

A folder: `*.json`, `*.yaml` (objects, or lists of them) in it, and the logs
`logs/NAMESPACE/POD/CONTAINER.log` and `CONTAINER.previous.log`.

`python -m triage.kube.recorded FOLDER --kubeconfig FILE` serves one until it is interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml
from aiohttp import web

from triage.kube.selectors import parse_selector
from triage.kube.values import (
    Json,
    as_dict,
    as_labels,
    as_list,
    as_str,
    format_time,
    meta,
    name_of,
    parse_nanos,
    parse_time,
)

HISTORY = 1000  # changes that a watch can still be given
STAMPS = 20_000  # times of lines kept of one plain file
TICK = 0.1
CRI = re.compile(rb"(\S+) (?:stdout|stderr) ([FP])(?:\S*) ")
PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>log))?$"
)
PLURALS = {
    "Endpoints": "endpoints",
    "NetworkPolicy": "networkpolicies",
    "Ingress": "ingresses",
}
CLUSTER_WIDE = ("nodes", "namespaces", "persistentvolumes")


@dataclass(slots=True)
class Fault:
    """Trouble for requests whose "METHOD /path?query" the pattern is found in."""

    pattern: str
    status: int | None = None
    """Answer with this and `body`."""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before anything else; answers as usual when nothing else is set."""
    drop: bool = False
    """Close the connection without an answer."""
    cut: int | None = None
    """Close it after so many bytes of the body."""
    times: int | None = None
    """For so many requests; None: until it is removed."""


@dataclass(slots=True)
class _Change:
    version: int
    type: str
    item: Json


@dataclass(slots=True)
class _File:
    """A log file without times of its own: when which part of it was there."""

    path: Path
    stamps: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=STAMPS))

    def look(self, now: float) -> None:
        try:
            stat = self.path.stat()
        except OSError:
            return
        last = self.stamps[-1][0] if self.stamps else 0
        if stat.st_size < last:
            self.stamps.clear()  # rotated, or begun anew
            last = 0
        if stat.st_size > last:
            self.stamps.append((stat.st_size, now if self.stamps else stat.st_mtime))

    def time(self, end: int) -> float:
        """When the line that ends at this offset was seen."""
        return next((at for size, at in self.stamps if size >= end), time.time())


class RecordedCluster:
    """The stand-in: `async with RecordedCluster(folder) as cluster: cluster.url`."""

    def __init__(
        self,
        source: Path | str | Iterable[Json] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "",
        shift: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`shift` seconds are added to every time in the objects: makes a recording recent."""
        self.host, self.port, self.token = host, port, token
        self.requests: deque[str] = deque(maxlen=10_000)
        """"METHOD /path?query" of what was asked, in order."""
        self.faults: list[Fault] = []
        self.history = HISTORY
        self._clock = clock
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Json]] = {}
        self._changes: deque[tuple[tuple[str, str], _Change]] = deque(maxlen=HISTORY)
        self._oldest = 0
        self._version = 1000
        self._changed = asyncio.Event()
        self._logs: dict[tuple[str, str, str, bool], Path] = {}
        self._files: dict[Path, _File] = {}
        self._folder: Path | None = None
        self._runner: web.AppRunner | None = None
        self._ticking: asyncio.Task[None] | None = None
        if isinstance(source, Path | str):
            self._folder = Path(source)
            source = read_folder(self._folder)
        for item in source:
            self.apply(shifted(item, shift) if shift else item)

    # Its life

    async def __aenter__(self) -> RecordedCluster:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve; `port` is known from here on."""
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Close every connection."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
            self._ticking = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def write_kubeconfig(self, path: Path, context: str = "recorded") -> Path:
        """Write a kubeconfig that leads here."""
        user = {"token": self.token} if self.token else {}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": {"server": self.url}}],
            "users": [{"name": context, "user": user}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        }
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path

    # Objects

    def apply(self, item: Json) -> Json:
        """Add or replace an object (by kind, namespace, name); a List is taken apart."""
        if as_str(item.get("kind")).endswith("List") and "items" in item:
            for each in as_list(item.get("items")):
                self.apply(each)
            return item
        kind, key = _kind(item), _key(item)
        self._version += 1
        kept = json.loads(json.dumps(item))
        kept.setdefault("metadata", {})["resourceVersion"] = str(self._version)
        known = self._objects.setdefault(kind, {})
        change = "MODIFIED" if key in known else "ADDED"
        known[key] = kept
        self._note(kind, _Change(self._version, change, kept))
        return dict(kept)

    def delete(self, plural: str, namespace: str, name: str, group: str = "") -> None:
        """Remove an object, if it is there."""
        gone = self._objects.get((group, plural), {}).pop((namespace, name), None)
        if gone is not None:
            self._version += 1
            gone["metadata"]["resourceVersion"] = str(self._version)
            self._note((group, plural), _Change(self._version, "DELETED", gone))

    def find(self, plural: str, namespace: str, name: str, group: str = "") -> Json | None:
        """Give a copy of an object."""
        item = self._objects.get((group, plural), {}).get((namespace, name))
        return json.loads(json.dumps(item)) if item is not None else None

    def forget_history(self) -> None:
        """Watches from any version up to now are answered 410."""
        self._changes.clear()
        self._oldest = self._version

    def _note(self, kind: tuple[str, str], change: _Change) -> None:
        if len(self._changes) == self._changes.maxlen:
            self._oldest = self._changes[0][1].version
        self._changes.append((kind, change))
        self._changed.set()
        self._changed = asyncio.Event()

    # Logs and faults

    def set_log(
        self, namespace: str, pod: str, container: str, path: Path, *, previous: bool = False
    ) -> None:
        """Give the file of a container's log; read when it is asked for."""
        self._logs[namespace, pod, container, previous] = path
        self._files.setdefault(path, _File(path)).look(self._clock())

    def fault(self, pattern: str, **what: Any) -> Fault:
        """Cause trouble for requests that match; `remove` it, or give `times`."""
        fault = Fault(pattern, **what)
        self.faults.append(fault)
        return fault

    def deny(self, pattern: str, message: str) -> Fault:
        """Answer 403 with the server's message."""
        return self.fault(pattern, status=403, body=json.dumps(status(403, "Forbidden", message)))

    def remove(self, fault: Fault) -> None:
        """End a trouble."""
        if fault in self.faults:
            self.faults.remove(fault)

    async def _tick(self) -> None:
        while True:
            now = self._clock()
            for file in self._files.values():
                file.look(now)
            await asyncio.sleep(TICK)

    # Answers

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        shown = f"{request.method} {request.path_qs}"
        self.requests.append(shown)
        with contextlib.suppress(ConnectionResetError):  # who asked went away
            return await self._answered(request, shown)
        return web.Response()

    async def _answered(self, request: web.Request, shown: str) -> web.StreamResponse:
        trouble = next((f for f in self.faults if re.search(f.pattern, shown)), None)
        if trouble is not None:
            answer = await self._trouble(request, trouble)
            if answer is not None:
                return answer
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized", "Unauthorized")
        if request.path == "/version":
            return web.json_response({"gitVersion": "v1.30.0-recorded"})
        if request.path in ("/readyz", "/livez", "/healthz"):
            return web.Response(text="ok")
        found = PATH.fullmatch(request.path)
        if found is None:
            return _status(404, "NotFound", "the server could not find the requested resource")
        return await self._resource(request, found)

    async def _trouble(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.remove(fault)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.drop:
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        if fault.cut is not None:
            return await _cut_short(request, fault)
        if fault.status is not None:
            return web.Response(
                status=fault.status, body=fault.body.encode(), headers=dict(fault.headers)
            )
        return None

    async def _resource(self, request: web.Request, found: re.Match[str]) -> web.StreamResponse:
        kind = (found["group"] or "", found["plural"])
        namespace, name = found["namespace"] or "", found["name"] or ""
        if found["sub"]:
            return await self._log(request, namespace, name)
        if request.method in ("POST", "PUT"):
            return await self._write(request, kind, namespace, name)
        if request.method == "DELETE":
            self.delete(kind[1], namespace, name, kind[0])
            return web.json_response(status(200, "", ""))
        if name:
            item = self._objects.get(kind, {}).get((namespace, name))
            missing = f'{_shown(kind)} "{name}" not found'
            return web.json_response(item) if item else _status(404, "NotFound", missing)
        if request.query.get("watch") in ("true", "1"):
            return await self._watch(request, kind, namespace)
        return self._list(request, kind, namespace)

    def _list(self, request: web.Request, kind: tuple[str, str], namespace: str) -> web.Response:
        try:
            items = list(self._chosen(request, kind, namespace))
            limit = int(request.query.get("limit") or 0)
            start = int(request.query.get("continue") or 0)
        except ValueError as error:
            return _status(400, "BadRequest", str(error))
        page = items[start : start + limit] if limit else items[start:]
        info = {"resourceVersion": str(self._version)}
        if limit and start + limit < len(items):
            info["continue"] = str(start + limit)
        return web.json_response({"kind": "List", "metadata": info, "items": page})

    def _chosen(
        self, request: web.Request, kind: tuple[str, str], namespace: str
    ) -> Iterable[Json]:
        wanted = _wanted(request)
        for (where, _), item in sorted(self._objects.get(kind, {}).items()):
            if namespace in ("", where) and wanted(item):
                yield item

    async def _write(
        self, request: web.Request, kind: tuple[str, str], namespace: str, name: str
    ) -> web.Response:
        try:
            item = as_dict(json.loads(await request.text()))
        except ValueError:
            return _status(400, "BadRequest", "the object provided is unrecognized")
        name = name or name_of(item)
        where = namespace if kind[1] not in CLUSTER_WIDE else ""
        item.setdefault("metadata", {}).update({"name": name, "namespace": where})
        known = self._objects.get(kind, {}).get((where, name))
        shown = f'{_shown(kind)} "{name}"'
        if request.method == "POST" and known is not None:
            return _status(409, "AlreadyExists", f"{shown} already exists")
        if request.method == "PUT" and known is None and kind[1] == "leases":
            return _status(404, "NotFound", f"{shown} not found")
        sent = as_str(meta(item).get("resourceVersion"))
        if known is not None and sent and sent != meta(known)["resourceVersion"]:
            return _status(409, "Conflict", f"Operation cannot be fulfilled on {shown}")
        item.setdefault("kind", next((k for k, p in PLURALS.items() if p == kind[1]), kind[1]))
        self._version += 1
        meta(item)["resourceVersion"] = str(self._version)
        self._objects.setdefault(kind, {})[where, name] = item
        change = "ADDED" if known is None else "MODIFIED"
        self._note(kind, _Change(self._version, change, item))
        return web.json_response(item, status=201 if request.method == "POST" else 200)

    async def _watch(
        self, request: web.Request, kind: tuple[str, str], namespace: str
    ) -> web.StreamResponse:
        version = int(request.query.get("resourceVersion") or self._version)
        until = time.monotonic() + float(request.query.get("timeoutSeconds") or 300)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        wanted = _wanted(request)
        while (left := until - time.monotonic()) > 0:
            changed = self._changed
            if version < self._oldest:
                gone = status(410, "Expired", f"too old resource version: {version}")
                await _event(response, "ERROR", gone)
                return response
            for changed_kind, change in list(self._changes):
                inside = namespace in ("", as_str(meta(change.item).get("namespace")))
                if change.version > version and changed_kind == kind and inside:
                    if wanted(change.item):
                        await _event(response, change.type, change.item)
                    version = change.version
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), left)
        if request.query.get("allowWatchBookmarks") == "true":
            mark = {"metadata": {"resourceVersion": str(max(version, self._version))}}
            await _event(response, "BOOKMARK", mark)
        return response

    # Logs

    async def _log(self, request: web.Request, namespace: str, pod: str) -> web.StreamResponse:
        query = request.query
        item = self._objects.get(("", "pods"), {}).get((namespace, pod))
        if item is None:
            return _status(404, "NotFound", f'pods "{pod}" not found')
        containers = [name_of({"metadata": c}) for c in _containers(item)]
        container = query.get("container") or (containers[0] if len(containers) == 1 else "")
        if not container:
            names = " ".join(containers)
            said = f"a container name must be specified for pod {pod}, choose one of: [{names}]"
            return _status(400, "BadRequest", said)
        if container not in containers:
            said = f"container {container} is not valid for pod {pod}"
            return _status(400, "BadRequest", said)
        previous = query.get("previous") in ("true", "1")
        path = self._path(namespace, pod, container, previous)
        if path is None:
            said = f'previous terminated container "{container}" in pod "{pod}" not found'
            waiting = f'container "{container}" in pod "{pod}" is waiting to start: PodInitializing'
            return _status(400, "BadRequest", said if previous else waiting)
        return await self._lines(request, path)

    def _path(self, namespace: str, pod: str, container: str, previous: bool) -> Path | None:
        path = self._logs.get((namespace, pod, container, previous))
        if path is None and self._folder is not None:
            name = f"{container}{'.previous' if previous else ''}.log"
            path = self._folder / "logs" / namespace / pod / name
        return path if path is not None and path.exists() else None

    async def _lines(self, request: web.Request, path: Path) -> web.StreamResponse:
        query = request.query
        since = parse_time(query.get("sinceTime"))
        follow = query.get("follow") in ("true", "1")
        stamps = query.get("timestamps") in ("true", "1")
        left = int(query.get("limitBytes") or 2**62)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        file = self._files.setdefault(path, _File(path))
        file.look(self._clock())
        async for at, text in self._read(file, follow):
            if since is not None and at < since * 10**9:
                continue
            stamp = _stamp(at) if stamps else b""
            piece = (stamp + text + b"\n")[:left]
            left -= len(piece)
            await response.write(piece)
            if not left:
                break
        return response

    async def _read(self, file: _File, follow: bool) -> AsyncIterator[tuple[int, bytes]]:
        """Lines with their times in ns, to the end of the file; with `follow` beyond it."""
        offset = 0
        while True:
            size = file.path.stat().st_size if file.path.exists() else 0
            offset = 0 if size < offset else offset
            with file.path.open("rb") as handle:
                handle.seek(offset)
                for line in handle:
                    if not line.endswith(b"\n") and follow:
                        break
                    offset += len(line)
                    yield _timed(line.rstrip(b"\n"), file, offset)
            if not follow:
                return
            await asyncio.sleep(TICK)


def _stamp(nanos: int) -> bytes:
    return f"{format_time(nanos // 10**9)[:-1]}.{nanos % 10**9:09d}Z ".encode()


def _timed(line: bytes, file: _File, end: int) -> tuple[int, bytes]:
    found = CRI.match(line)
    if found is not None:
        nanos = parse_nanos(found[1].decode("ascii", "replace"))
        if nanos is not None:
            return nanos, line[found.end() :]
    return int(file.time(end) * 1e9), line


async def _cut_short(request: web.Request, fault: Fault) -> web.StreamResponse:
    response = web.StreamResponse(status=fault.status or 200)
    response.content_length = len(fault.body) + (fault.cut or 0) + 1
    await response.prepare(request)
    await response.write(fault.body.encode()[: fault.cut])
    if request.transport is not None:
        request.transport.close()
    return response


async def _event(response: web.StreamResponse, change: str, item: Json) -> None:
    await response.write(json.dumps({"type": change, "object": item}).encode() + b"\n")


def _containers(pod: Json) -> list[Json]:
    spec = as_dict(pod.get("spec"))
    return [c for key in ("containers", "initContainers") for c in as_list(spec.get(key))]


def _wanted(request: web.Request) -> Callable[[Json], bool]:
    """What labelSelector and fieldSelector choose. Raises ValueError."""
    labels = parse_selector(request.query.get("labelSelector", ""))
    fields = [f.split("=") for f in request.query.get("fieldSelector", "").split(",") if f]

    def chosen(item: Json) -> bool:
        if not labels.matches(as_labels(meta(item).get("labels"))):
            return False
        return all(_field(item, f[0].rstrip("!=")) == f[-1] for f in fields)

    return chosen


def _field(item: Json, path: str) -> str:
    value: object = item
    for part in path.split("."):
        value = as_dict(value).get(part)
    return as_str(value)


def _kind(item: Json) -> tuple[str, str]:
    group, _, version = as_str(item.get("apiVersion")).rpartition("/")
    del version
    kind = as_str(item.get("kind"))
    return group, PLURALS.get(kind, kind.lower() + "s")


def _key(item: Json) -> tuple[str, str]:
    return as_str(meta(item).get("namespace")), name_of(item)


def _shown(kind: tuple[str, str]) -> str:
    return f"{kind[1]}.{kind[0]}" if kind[0] else kind[1]


def status(code: int, reason: str, message: str) -> Json:
    """A `Status` object."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure" if code >= 400 else "Success",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _status(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(status(code, reason, message), status=code)


def read_folder(folder: Path) -> list[Json]:
    """The objects in a folder's files, lists taken apart. Raises OSError, ValueError."""
    items: list[Json] = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".yaml", ".yml"):
            continue
        text = path.read_text()
        try:
            found = [json.loads(text)] if path.suffix == ".json" else list(yaml.safe_load_all(text))
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: neither JSON nor YAML: {error}") from None
        for each in as_list(found):
            items += as_list(each["items"]) if "items" in each else [each]
    return items


def shifted(item: Json, seconds: float) -> Json:
    """A copy with every RFC 3339 time in it moved by so many seconds."""

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return {k: walk(v) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v) for v in value]
        at = parse_time(value) if isinstance(value, str) and len(value) <= 40 else None
        if at is None:
            return value
        return format_time(at + seconds, 6 if "." in str(value) else 0)

    return as_dict(walk(item))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", type=int, default=0, help="0: any that is free.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), required=True)
@click.option("--shift", type=float, default=0.0, help="Seconds added to the objects' times.")
def main(folder: Path, port: int, kubeconfig: Path, shift: float) -> None:
    """Serve recorded objects and logs as a Kubernetes API, until interrupted."""

    async def serve() -> None:
        async with RecordedCluster(folder, port=port, shift=shift) as cluster:
            cluster.write_kubeconfig(kubeconfig)
            click.echo(cluster.url)
            await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
