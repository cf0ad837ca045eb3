"""Prometheus' HTTP API as a client sees it: queries, targets, what goes wrong, and the clock.

Rules
- Every fault is a SourceError with one line that names the server and the remedy.
- Bounded: time, octets of an answer, requests at once. A server that asks to be left alone (429,
  503 with Retry-After) is left alone for that time: `BusyError`, without asking it.
- No secret in a message: the URL is shown without its credentials; files that hold secrets are read
  again for each request, as they are rotated.
- Thanos, Mimir and VictoriaMetrics answer the same API: /targets and /status may be missing there,
  and answers may bear warnings.
- An answer's Date header tells the server's clock to a second, and some tens of them much better
  (`triage.windows.narrowed`).
- Source: prometheus.io/docs/prometheus/latest/querying/api/.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import re
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import aiohttp
import msgspec
import yaml

from triage.sources.errors import (
    BusyError,
    DeniedError,
    DownError,
    GarbageError,
    MissingError,
    SlowError,
    SourceError,
)
from triage.windows import ClockBounds, bounds_of, narrowed

CLOCK_ANSWERS = 64
"""Date headers that the estimate of the clock rests on."""
LONGEST_QUIET = 300.0
"""Seconds that a server may ask to be left alone at most."""
CONFIG_OCTETS = 2 * 2**20
"""A configuration larger than that is not read: parsing it takes seconds."""
_LARGE = 2**19
"""Octets from which on an answer is decoded beside the loop."""


class QueryError(SourceError):
    """It answers, and does not take our query: 400, 422."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """Where and how to ask; seconds unless the name says otherwise."""

    url: str
    """As one opens it in a browser, with its path prefix if it has one."""
    query: str = "probe_http_status_code"
    """The status metric: a selector (raw scrape times), or any expression (times of a grid)."""
    lookback: float = 120.0
    """Samples of so long are read by every poll (three scrape intervals at least)."""
    first_lookback: float = 900.0
    """The same by the first poll: what happened while nobody asked."""
    longest_lookback: float = 3600.0
    """The same after Prometheus could not be asked."""
    step: float = 5.0
    """Of the grid, for an expression that is no plain selector."""
    timeout: float = 10.0
    """Of one request, in all."""
    discover_every: float = 60.0
    """Between two looks at /api/v1/targets."""
    forget: float = 600.0
    """Without /api/v1/targets: a series that nobody scrapes is taken for removed after this."""
    username: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    bearer_token: str = field(default="", repr=False)
    bearer_token_file: str = ""
    ca_file: str = ""
    """PEM; "": the system's."""
    cert_file: str = ""
    """PEM, for a client certificate; with `key_file`."""
    key_file: str = ""
    insecure_skip_verify: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request, such as X-Scope-OrgID."""
    requests_at_once: int = 4
    max_octets: int = 32 * 2**20
    """Of one answer."""
    max_series: int = 10_000


# The server's JSON, as far as it is read


class _Answer(msgspec.Struct):
    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    errorType: str = ""  # noqa: N815 - the API's name
    error: str = ""
    warnings: list[str] | None = None


class Row(msgspec.Struct):
    """One series of an answer: labels, and (time, value as text)."""

    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815
    result: msgspec.Raw = msgspec.Raw(b"null")


class ActiveTarget(msgspec.Struct):
    """An active target, as /api/v1/targets shows it."""

    labels: dict[str, str] = {}
    scrapeUrl: str = ""  # noqa: N815
    health: str = ""
    lastError: str = ""  # noqa: N815
    scrapeInterval: str = ""  # noqa: N815
    scrapeTimeout: str = ""  # noqa: N815


class _Targets(msgspec.Struct):
    activeTargets: list[ActiveTarget] | None = None  # noqa: N815


class _Runtime(msgspec.Struct):
    storageRetention: str = ""  # noqa: N815


class _Config(msgspec.Struct):
    yaml: str = ""


_T = TypeVar("_T")


class PrometheusApi:
    """One server. Its connections are opened by the first request and closed by `aclose`.

    `limit` bounds the requests at once; `clock` gives seconds since 1970. ValueError when the URL
    is none.
    """

    def __init__(
        self,
        settings: PrometheusSettings,
        *,
        clock: Callable[[], float] = time.time,
        limit: asyncio.Semaphore | None = None,
    ) -> None:
        self.settings = settings
        self._base = _base(settings.url)
        self._clock = clock
        self._limit = limit or asyncio.Semaphore(settings.requests_at_once)
        self._session: aiohttp.ClientSession | None = None
        self._get_only = False
        self._quiet_until = 0.0
        self._clocks: deque[ClockBounds] = deque(maxlen=CLOCK_ANSWERS)
        self.clock_bounds: ClockBounds | None = None
        """What is known of the server's clock against ours; None before its first answer."""

    @property
    def shown(self) -> str:
        """How an operator names it: the URL without credentials."""
        return f"Prometheus {_shown(self._base)}"

    def now(self) -> float:
        """The server's time, as far as it is known: samples are stamped by it."""
        bounds = self.clock_bounds
        return self._clock() + (bounds.offset if bounds is not None else 0.0)

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def matrix(self, query: str, at: float | None = None) -> tuple[list[Row], list[str]]:
        """Evaluate a range selector or a subquery, now or at a time; the rows and the warnings."""
        parameters = {"query": query, "timeout": f"{max(1, int(self.settings.timeout))}s"}
        if at is not None:
            parameters["time"] = f"{at:.3f}"
        answer = await self._ask("/api/v1/query", parameters)
        data = await self._typed(answer.data, _Data)
        if data.resultType != "matrix":
            raise GarbageError(
                f"{self.shown} answers a range query with {data.resultType!r}: is it Prometheus?"
            )
        rows = await self._typed(data.result, list[Row])
        return rows, [line(warning) for warning in answer.warnings or []][:5]

    async def targets(self) -> list[ActiveTarget]:
        """The active targets; MissingError where there is no such API."""
        answer = await self._ask("/api/v1/targets", {"state": "active"}, get=True)
        return (await self._typed(answer.data, _Targets)).activeTargets or []

    async def job_intervals(self) -> dict[str, tuple[float, float]]:
        """Scrape interval and timeout by job, out of the configuration; {} when it is too long."""
        answer = await self._ask("/api/v1/status/config", {}, get=True)
        text = (await self._typed(answer.data, _Config)).yaml
        if len(text) > CONFIG_OCTETS:
            return {}
        return await asyncio.to_thread(_intervals, text)

    async def retention(self) -> str:
        """How long samples are kept, as the server says it ("15d"); "" when it does not."""
        answer = await self._ask("/api/v1/status/runtimeinfo", {}, get=True)
        return line((await self._typed(answer.data, _Runtime)).storageRetention)[:40]

    async def _typed(self, raw: msgspec.Raw, kind: type[_T]) -> _T:
        try:
            if len(memoryview(raw)) < _LARGE:
                return msgspec.json.decode(raw, type=kind)
            return await asyncio.to_thread(msgspec.json.decode, raw, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise GarbageError(
                f"{self.shown} answers with JSON that is not its API's ({line(str(error))}): "
                f"check the url"
            ) from None

    async def _ask(self, path: str, parameters: Mapping[str, str], *, get: bool = False) -> _Answer:
        now = self._clock()
        if now < self._quiet_until <= now + LONGEST_QUIET:
            left = self._quiet_until - now
            raise BusyError(f"{self.shown} asked to be left alone for {left:.0f} s more", left)
        async with self._limit:
            status, headers, body = await self._request(path, parameters, get or self._get_only)
            if status == 405 and not (get or self._get_only):
                self._get_only = True  # a proxy in front of it lets only GET through
                status, headers, body = await self._request(path, parameters, True)
        if status == 200:
            answer = await self._typed(msgspec.Raw(body), _Answer)
            if answer.status == "success":
                return answer
            raise GarbageError(f"{self.shown} answers {answer.status!r}: {line(answer.error)}")
        raise self._fault(status, headers, body, path)

    async def _request(
        self, path: str, parameters: Mapping[str, str], get: bool
    ) -> tuple[int, Mapping[str, str], bytes]:
        address = urlunsplit(self._base) + path
        sent = self._clock()
        async with (
            self._faults(),
            asyncio.timeout(self.settings.timeout),
            self._opened().request(
                "GET" if get else "POST",
                address,
                params=parameters if get else None,
                data=None if get else parameters,
                headers=self._headers(),
                allow_redirects=False,
            ) as response,
        ):
            received = self._clock()
            self._note_clock(response.headers.get("Date"), sent, received)
            return response.status, response.headers, await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        most = self.settings.max_octets
        chunks = bytearray()
        async for chunk in response.content.iter_chunked(2**16):
            chunks += chunk
            if len(chunks) > most:
                response.close()
                raise GarbageError(
                    f"{self.shown} answers with more than {most // 2**20} MiB: narrow the query"
                )
        return bytes(chunks)

    def _note_clock(self, date: str | None, sent: float, received: float) -> None:
        if not date or received < sent:
            return
        try:
            theirs = email.utils.parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            return
        self._clocks.append(bounds_of(sent, received, theirs))
        self.clock_bounds = narrowed(self._clocks)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._tls())
            self._session = aiohttp.ClientSession(
                connector=connector,
                auth=None,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _tls(self) -> ssl.SSLContext | bool:
        settings = self.settings
        if self._base.scheme != "https":
            return True
        try:
            context = ssl.create_default_context(cafile=settings.ca_file or None)
            if settings.cert_file:
                context.load_cert_chain(settings.cert_file, settings.key_file or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(filter(None, (settings.ca_file, settings.cert_file)))
            raise DeniedError(
                f"{self.shown}: cannot use {files}: {error.strerror or error}"
            ) from None
        if settings.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _headers(self) -> dict[str, str]:
        settings = self.settings
        headers = dict(settings.headers)
        headers["Accept"] = "application/json"
        token = self._secret(settings.bearer_token, settings.bearer_token_file)
        parts = urlsplit(settings.url)
        user = settings.username or unquote(parts.username or "")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif user:
            password = self._secret(settings.password, settings.password_file)
            password = password or unquote(parts.password or "")
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"  # RFC 7617
        return headers

    def _secret(self, value: str, file: str) -> str:
        if not file:
            return value
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise DeniedError(f"{self.shown}: cannot read {file}: {why}") from None

    @asynccontextmanager
    async def _faults(self) -> AsyncIterator[None]:
        """Turn what a request may raise into SourceError."""
        try:
            yield
        except TimeoutError:
            raise SlowError(
                f"{self.shown} did not answer within {self.settings.timeout:g} s"
            ) from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            raise DeniedError(
                f"{self.shown}: no TLS with it ({line(str(error))}): check ca_file"
            ) from None
        except (aiohttp.ClientPayloadError, aiohttp.http.HttpProcessingError) as error:
            raise GarbageError(
                f"{self.shown}: the answer was cut short or is no HTTP ({line(str(error))})"
            ) from None
        except aiohttp.ClientResponseError as error:
            raise GarbageError(
                f"{self.shown}: the answer is no HTTP ({line(error.message)}): check the url"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DownError(
                f"{self.shown} cannot be reached: {line(reason) or type(error).__name__}"
            ) from None

    def _fault(
        self, status: int, headers: Mapping[str, str], body: bytes, path: str
    ) -> SourceError:
        said = _said(body)
        tail = f": {said}" if said else ""
        if status in (401, 403):
            remedy = "check username, password or bearer token"
            return DeniedError(f"{self.shown} refuses {path} ({status}): {remedy}{tail}")
        if status in (404, 410) or 300 <= status < 400:
            to = line(headers.get("Location", ""))
            where = f", it points to {to.split('?')[0]}" if to else ""
            return MissingError(
                f"{self.shown} has no {path} ({status}{where}): check the url and its path prefix"
            )
        if status in (400, 422):
            return QueryError(f"{self.shown} does not take the query ({status}){tail}")
        retry = _retry_after(headers.get("Retry-After"), self._clock())
        if status == 429 or (status == 503 and retry is not None):
            wait = min(LONGEST_QUIET, retry if retry is not None else 5.0)
            self._quiet_until = self._clock() + wait
            return BusyError(f"{self.shown} is busy ({status}), asked again in {wait:.0f} s", retry)
        if status == 504 or (status == 503 and "timed out" in said):
            return SlowError(f"{self.shown} gave the query up ({status}){tail}")
        return GarbageError(f"{self.shown} answers {status}{tail}")


def _base(url: str) -> SplitResult:
    """The base of the API's addresses, without credentials, query and trailing slash."""
    try:
        parts = urlsplit(url)
        netloc = host(parts)
    except ValueError as error:
        raise ValueError(f"prometheus url: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"prometheus url {_shown(parts)!r}: it has to begin with http:// or https://"
        )
    path = parts.path.rstrip("/").removesuffix("/api/v1")
    return SplitResult(parts.scheme, netloc, path, "", "")


def _shown(parts: SplitResult) -> str:
    return urlunsplit((parts.scheme, host(parts), parts.path, "", ""))


def host(parts: SplitResult) -> str:
    """host:port without credentials; IPv6 in brackets."""
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return f"{name}:{parts.port}" if parts.port is not None else name


def split(url: str) -> SplitResult | None:
    """The URL taken apart; None when it is none, or names no host."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def _intervals(text: str) -> dict[str, tuple[float, float]]:
    """Scrape interval and timeout by job, of a Prometheus configuration; {} when it is none."""
    try:
        parsed: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    common = parsed.get("global")
    common = common if isinstance(common, dict) else {}
    jobs = parsed.get("scrape_configs")
    found: dict[str, tuple[float, float]] = {}
    for job in jobs if isinstance(jobs, list) else []:
        if isinstance(job, dict):
            interval = seconds(str(job.get("scrape_interval", common.get("scrape_interval", ""))))
            timeout = seconds(str(job.get("scrape_timeout", common.get("scrape_timeout", ""))))
            found[str(job.get("job_name"))] = (interval or 60.0, timeout or 10.0)
    return found


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536e3}
_PART = re.compile(r"([0-9]{1,12})(ms|[smhdwy])")


def seconds(text: str) -> float | None:
    """A duration as Prometheus writes it ("1m30s"), in seconds; None when it is none, or 0."""
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in parts) or None


def _retry_after(text: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date (RFC 9110 section 10.2.3)."""
    if not text:
        return None
    try:
        if text.strip().isdecimal():
            return float(text)
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _said(body: bytes) -> str:
    """What an error's body says, when it is the API's JSON."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return line(answer.error)


def line(text: str) -> str:
    """One printable line of bounded length."""
    clean = "".join(char if char.isprintable() else " " for char in text[:2000])
    short = " ".join(clean.split())
    return short if len(short) <= 200 else short[:197] + "..."
