"""Containers' logs through the API server, as a `LogSource`.

- Asked for with timestamps=true: each line begins with the runtime's RFC 3339 time and a space.
- `sinceTime` has whole seconds on its way to the kubelet, so a little more comes than was asked.
- Only what is in the current log file comes: kubelets do not read rotated ones. A kubelet that
  cannot read a file says so with status 200, in a line without a time.
- A pod that waits for its first start answers 400, one on no node 204: there is no log
  (MissingError).
- A followed log that is silent is asked for again, from its last line on: a connection that died
  unnoticed would look the same. Lines that come twice are dropped.

Reference: Kubernetes API, pods/log.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from triage.kube.client import PODS, KubeClient
from triage.kube.errors import IdleError
from triage.kube.values import format_time, parse_nanos
from triage.sources.errors import GarbageError, MissingError, SlowError
from triage.sources.logs import LogRef

LATE = 5.0  # seconds past the end: two streams are not written in order of time
UNREADABLE = re.compile(
    rb"unable to retrieve container logs for |failed to try resolving symlinks in path"
    rb"|failed to create fsnotify watcher|rpc error: code = "
)


class KubernetesLogs:
    """Reads the logs of one cluster's containers; see `LogSource`."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def read(self, ref: LogRef, start: float, end: float) -> AsyncGenerator[bytes, None]:
        """See `LogSource.read`. Iterate it within `contextlib.aclosing`."""
        settings = self._client.settings
        query = {**_query(ref, start), "limitBytes": settings.log_bytes}
        what = f"get log of {ref.shown}"
        lines = self._client.lines(
            _path(ref), query, what, idle=settings.timeout, lasting=False
        )  # fmt: skip
        got = 0
        try:
            async with aclosing(lines) as stream:
                async for line in stream:
                    got += len(line) + 1
                    nanos = _time(line)
                    if nanos is None and got == len(line) + 1 and UNREADABLE.match(line):
                        raise MissingError(f"{self._client.name}: {what}: {_text(line)}")
                    if nanos is not None and nanos > (end + LATE) * 1e9:
                        return
                    yield line
        except SlowError as error:
            raise SlowError(
                f"{error} (the API server asks the kubelet of the pod's node)"
            ) from None
        if got >= settings.log_bytes:
            raise GarbageError(
                f"{self._client.name}: {what}: more than {settings.log_bytes} bytes since"
                f" {format_time(start)}; the rest was not read"
            )

    async def follow(self, ref: LogRef, start: float) -> AsyncGenerator[bytes, None]:
        """See `LogSource.follow`. Iterate it within `contextlib.aclosing`."""
        what = f"follow log of {ref.shown}"
        seen = _Seen(int(start * 1e9))
        while True:
            query = {**_query(ref, seen.last / 1e9), "follow": "true"}
            lines = self._client.lines(
                _path(ref), query, what, idle=self._client.settings.follow_idle, lasting=True
            )
            seen.again()
            try:
                async with aclosing(lines) as stream:
                    async for line in stream:
                        nanos = _time(line)
                        if nanos is None and seen.first and UNREADABLE.match(line):
                            raise MissingError(f"{self._client.name}: {what}: {_text(line)}")
                        if seen.new(line, nanos):
                            yield line
                return  # the container ended
            except IdleError:
                if seen.silent:
                    raise


class _Seen:
    """Which lines of a log that is asked for again came before."""

    def __init__(self, start: int) -> None:
        self.last = start
        self.first = True
        """Nothing came on this connection."""
        self._at_last: set[bytes] = set()
        self._before: set[bytes] = set()
        self._until = start - 1

    @property
    def silent(self) -> bool:
        """Not even the last line came again: the server hangs."""
        return self.first and bool(self._at_last)

    def again(self) -> None:
        """A new connection: up to here, lines may come twice."""
        self._until = self.last if self._at_last else self.last - 1
        self._before = set(self._at_last)
        self.first = True

    def new(self, line: bytes, nanos: int | None) -> bool:
        """Whether the line did not come before."""
        self.first = False
        if nanos is None:
            return True
        if nanos < self._until or (nanos == self._until and line in self._before):
            return False
        if nanos > self.last:
            self.last = nanos
            self._at_last = set()
        if nanos == self.last and len(self._at_last) < 1000:
            self._at_last.add(line)
        return True


def _path(ref: LogRef) -> str:
    return PODS.path(ref.namespace, ref.pod, "log")


def _query(ref: LogRef, start: float) -> dict[str, str | int | float]:
    query: dict[str, str | int | float] = {"timestamps": "true"}
    if ref.container:
        query["container"] = ref.container
    if ref.previous:
        query["previous"] = "true"
    if start > 0:
        query["sinceTime"] = format_time(max(0.0, start))
    return query


def _time(line: bytes) -> int | None:
    return parse_nanos(line[:40].decode("ascii", "replace"))


def _text(line: bytes) -> str:
    return line[:300].decode("utf-8", "replace")
