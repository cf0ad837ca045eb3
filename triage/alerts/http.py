"""One POST to a sink, and what its answer means: the same for every sink that speaks HTTP.

Rules
- Secrets come from files, read at each use, so that a rotated one works without a restart. None of
  them, and no URL beyond its host, gets into an error or a log line.
- A connection of its own for each request: messages are rare, and a kept connection that the other
  side has just closed looks like a message that may have been received.
- 2xx is taken. 408, 425, 429 and whatever says Retry-After: later. Other 4xx and 3xx: refused,
  with the sink's own words. The rest failed and may have been received.
- What the sink says is read to a bound, put on one line and masked.
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from triage import __version__
from triage.alerts.errors import (
    LONGEST_RETRY_AFTER,
    AlertConfigError,
    BusySinkError,
    FaultySinkError,
    RefusedError,
    SinkError,
    UnreachableError,
)
from triage.masking import mask

_MAX_WORDS = 300
_MAX_READ = 4096
_MAX_SECRET = 65536
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How a sink is spoken to; of `username` and `bearer_token_file` at most one."""

    timeout: float = 10.0
    """Seconds for the whole request."""
    username: str = ""
    password_file: str = ""
    bearer_token_file: str = ""
    ca_file: str = ""
    """Certificates in PEM to trust in place of the system's."""
    cert_file: str = ""
    """The client's own certificate in PEM, with its key in `key_file` or in the same file."""
    key_file: str = ""
    insecure_skip_verify: bool = False
    proxy: str = ""
    """URL of a forward proxy without user and password; environment variables are not looked at."""


def read_secret(path: str, what: str) -> str:
    """Return a secret out of its file, without white space around it.

    Raises UnreachableError, which names the file: the operator may yet put it there.
    """
    try:
        with Path(path).open("rb") as file:
            secret = file.read(_MAX_SECRET).decode("utf-8").strip()
    except OSError as error:
        raise UnreachableError(f"cannot read the {what} file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnreachableError(f"the {what} file {path} is not text in UTF-8") from None
    if not secret:
        raise UnreachableError(f"the {what} file {path} is empty")
    if any(char < " " for char in secret):
        raise UnreachableError(f"the {what} file {path} has more than one line")
    return secret


def check_http(settings: HttpSettings) -> None:
    """Raise AlertConfigError when the settings contradict each other or a file is not there."""
    if settings.username and settings.bearer_token_file:
        raise AlertConfigError("give a username or a bearer token file, not both")
    if bool(settings.username) != bool(settings.password_file):
        raise AlertConfigError("a username needs a password file, and the other way round")
    if settings.key_file and not settings.cert_file:
        raise AlertConfigError("a key file needs a certificate file")
    try:
        _tls(settings)
        for path, what in (
            (settings.password_file, "password"),
            (settings.bearer_token_file, "bearer token"),
        ):
            if path:
                read_secret(path, what)
    except SinkError as error:
        raise AlertConfigError(str(error)) from None


def check_url(url: str, what: str) -> None:
    """Raise AlertConfigError, which does not show the URL, unless it is http(s) with a host."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise AlertConfigError(f"{what} is no http:// or https:// URL with a host")


def origin(url: str) -> str:
    """Return scheme, host and port: what may be shown of a URL that may hold a secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or "?"
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "?"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


class HttpClient:
    """Posts for one sink. Holds no connection between two requests."""

    def __init__(self, settings: HttpSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send JSON; return when the sink confirms it, raise a SinkError otherwise."""
        await self.request("POST", url, body, {"Content-Type": "application/json"} | dict(headers))

    async def request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> None:
        """Send one request; return on 2xx, raise a SinkError otherwise."""
        settings = self._settings
        where = origin(url)
        headers = {"User-Agent": f"triage/{__version__}"} | self._credentials() | dict(headers)
        tls = _tls(settings)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(force_close=True, ssl=tls),
                    timeout=aiohttp.ClientTimeout(total=settings.timeout),
                    auto_decompress=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    proxy=settings.proxy or None,
                ) as answer,
            ):
                if not 200 <= answer.status < 300:
                    raise _failure(where, answer, await _words(answer), self._clock())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # TimeoutError is an OSError; ValueError: what cannot be put into a request
            raise _broken(where, error, settings.timeout) from None

    def _credentials(self) -> dict[str, str]:
        settings = self._settings
        if settings.username:
            password = read_secret(settings.password_file, "password")
            both = base64.b64encode(f"{settings.username}:{password}".encode()).decode()
            return {"Authorization": f"Basic {both}"}
        if settings.bearer_token_file:
            token = read_secret(settings.bearer_token_file, "bearer token")
            return {"Authorization": f"Bearer {token}"}
        return {}


def _tls(settings: HttpSettings) -> ssl.SSLContext | bool:
    """Return what to verify the sink by; read anew each time, for certificates are rotated too."""
    if not (settings.ca_file or settings.cert_file or settings.insecure_skip_verify):
        return True
    name = settings.ca_file
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            name = settings.cert_file
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror if type(error) is not ssl.SSLError else "no certificate in PEM"
        raise UnreachableError(f"cannot load the certificate file {name}: {reason}") from None
    if settings.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _words(answer: aiohttp.ClientResponse) -> str:
    """Return the beginning of what the sink says, on one line, masked."""
    try:
        data = await answer.content.read(_MAX_READ)
    except (aiohttp.ClientError, OSError):
        return ""
    text = "".join(char if char.isprintable() else " " for char in data.decode("utf-8", "replace"))
    return mask(" ".join(text.split())[:_MAX_WORDS])


def _failure(where: str, answer: aiohttp.ClientResponse, words: str, now: float) -> SinkError:
    status = answer.status
    line = f"{where} answered {status}" + (f": {words}" if words else "")
    wait = retry_after(answer.headers.get("Retry-After"), now)
    if status in _LATER or (status == 503 and wait is not None):
        return BusySinkError(line, wait)
    if 300 <= status < 400:
        return RefusedError(f"{line} (redirects are not followed: configure the final URL)")
    if 400 <= status < 500:
        return RefusedError(line)
    return FaultySinkError(line)


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that Retry-After asks for (RFC 9110, section 10.2.3), None without one."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), LONGEST_RETRY_AFTER)
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, moment - now), LONGEST_RETRY_AFTER)


def _broken(where: str, error: Exception, timeout: float) -> SinkError:
    """Return what a request that got no answer means, in words that hold no URL."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return UnreachableError(
            f"{where}: its certificate is not trusted or TLS failed; see ca_file"
        )
    if isinstance(error, ValueError):  # aiohttp.InvalidURL is one; so are certificates' errors
        return RefusedError(f"{where}: not a URL that can be asked")
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or "no connection"
        return UnreachableError(f"{where}: {reason}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UnreachableError(f"{where}: no connection within {timeout:g} s")
    if isinstance(error, asyncio.TimeoutError):
        return FaultySinkError(f"{where}: no answer within {timeout:g} s")
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return FaultySinkError(f"{where}: its answer is not HTTP")
    return FaultySinkError(f"{where}: the connection broke before the answer")
