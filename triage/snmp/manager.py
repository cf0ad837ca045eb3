"""Asks agents: GET, and walks by GETBULK, over SNMPv2c and SNMPv3, from an asyncio loop.

    manager = Manager(ManagerSettings("192.0.2.7", 161, credentials), engines)
    async with manager.session(context="esx1") as session:
        values = await session.get([oid, ...])
        rows = await session.walk_columns([column, ...], rows=(3,))

pysnmp writes and reads the messages (`triage.snmp.engine`).

Rules
- A session has a UDP socket of its own, connected to the agent: nothing is open between sessions,
  nobody else's datagrams arrive, and a refused port is noticed at once.
- `timeout` is the time for one answer, repetitions included: the request is sent `retries` times
  more in it, at equal distances. It begins when the request was sent, and what has arrived counts
  even when the loop was too busy to look.
- At most MAX_VARBINDS values are asked for in one message, so that an answer fits into an Ethernet
  frame: fragments are dropped on many ways. An agent that says tooBig all the same is asked for
  less.
- A walk ends: names must increase, and there is a limit of rows. Anything else is GarbageError.
- An SNMPv3 agent that started again (other boots), or has another engine ID, says so in a Report,
  and is asked again.

Errors are those of `triage.sources.errors`, one line each, without secrets:
DownError (refused, unreachable), UnresolvedError (no such host), SilenceError (nothing came back at
all; of v2c that may be a wrong community, which agents do not answer), SlowError (it answered
before), DeniedError (unknown user, wrong passphrase, no access, unknown context), GarbageError. A
missing instance is a value.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from triage.snmp.credentials import SnmpCredentials
from triage.snmp.engine import (
    Answer,
    Engine,
    Engines,
    Heard,
    Peer,
    Report,
    Response,
    WriteError,
    bulk_request,
    get_request,
)
from triage.snmp.values import NO_SUCH_INSTANCE, Oid, Rows, Value, dotted
from triage.sources.errors import (
    DeniedError,
    DownError,
    GarbageError,
    SlowError,
    SourceError,
)

MAX_VARBINDS = 24
"""Asked for in one message."""

MAX_ROWS = 20_000
"""Of one walk, unless the caller says otherwise."""

MAX_ROUNDS = 6
"""Of an SNMPv3 exchange: discovery, clock, the request, and once more each after a restart."""

_GEN_ERR, _TOO_BIG, _NO_SUCH_NAME, _NO_ACCESS, _AUTHORIZATION = 5, 1, 2, 6, 16
_ERROR_NAMES = {0: "noError", 1: "tooBig", 2: "noSuchName", 5: "genErr", 6: "noAccess"} | {
    13: "resourceUnavailable",
    16: "authorizationError",
}

_USM_STATS: Oid = (1, 3, 6, 1, 6, 3, 15, 1, 1)
_TARGET_STATS: Oid = (1, 3, 6, 1, 6, 3, 12, 1)
SECURITY_LEVEL: Oid = (*_USM_STATS, 1, 0)
TIME_WINDOW: Oid = (*_USM_STATS, 2, 0)
UNKNOWN_USER: Oid = (*_USM_STATS, 3, 0)
UNKNOWN_ENGINE: Oid = (*_USM_STATS, 4, 0)
WRONG_DIGEST: Oid = (*_USM_STATS, 5, 0)
DECRYPTION: Oid = (*_USM_STATS, 6, 0)
CONTEXT_UNAVAILABLE: Oid = (*_TARGET_STATS, 4, 0)
CONTEXT_UNKNOWN: Oid = (*_TARGET_STATS, 5, 0)
"""What an agent's Report is about (RFC 3414 section 3.2, RFC 3413 section 3.2)."""

_numbers = itertools.count()
"""Of agents, for pysnmp to tell them apart."""


class SilenceError(SlowError):
    """Nothing came back at all."""


class UnresolvedError(DownError):
    """Its name stands for no address at present: nobody was asked."""


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """One agent and how to ask it."""

    host: str
    port: int
    credentials: SnmpCredentials
    timeout: float = 2.0
    """Seconds for one answer, all repetitions included."""
    retries: int = 1
    """How many times a request is sent again within `timeout`."""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Manager:
    """One agent, for as long as it is configured."""

    def __init__(self, settings: ManagerSettings, engines: Engines | None = None) -> None:
        self.settings = settings
        self.engines = Engines() if engines is None else engines
        self.number = next(_numbers)

    def rediscover(self) -> None:
        """Ask for its engine's identity again: pysnmp would stay with the one that it knows."""
        self.number = next(_numbers)

    @asynccontextmanager
    async def session(self, context: str = "") -> AsyncIterator[Session]:
        """Open a session about a context (v3; a v2c community stands for its own); DownError."""
        settings = self.settings
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(settings.timeout):
                transport, inbox = await loop.create_datagram_endpoint(
                    _Inbox, remote_addr=(settings.host, settings.port)
                )
        except TimeoutError:
            raise UnresolvedError(
                f"{settings.host}: the name is not resolved within {settings.timeout:g} s"
            ) from None
        except socket.gaierror as error:
            raise UnresolvedError(_unreachable(settings, error)) from None
        except OSError as error:
            raise DownError(_unreachable(settings, error)) from None
        try:
            engine = self.engines.get(settings.credentials)
            yield Session(self, engine, transport, inbox, context)
        finally:
            transport.close()


class _Waiting:
    """A request that waits for its answer, however often it was sent."""

    def __init__(self, settings: ManagerSettings, engine: Engine, peer: Peer) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.unread = 0
        self.peer = peer
        self._settings = settings
        self._engine = engine

    def on_datagram(self, data: bytes) -> None:
        """Take what arrived."""
        heard = self._engine.receive(data, self.peer)
        if heard is Heard.GARBAGE:
            self.unread += 1
        elif heard is Heard.STRANGER:
            self.on_answer(Report(UNKNOWN_ENGINE, "another engine answers"))

    def on_answer(self, answer: Answer) -> None:
        """Take what pysnmp made of it."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def on_error(self, error: OSError) -> None:
        """Take what the kernel was told by the other side: refused, unreachable."""
        if not self.answer.done():
            self.answer.set_exception(DownError(_unreachable(self._settings, error)))

    def end(self) -> None:
        """Wait no longer."""
        if not self.answer.cancel() and not self.answer.cancelled():
            self.answer.exception()  # or asyncio complains that nobody looked at it


class _Inbox(asyncio.DatagramProtocol):
    """Hands datagrams to the request that waits."""

    def __init__(self) -> None:
        self.waiting: _Waiting | None = None
        self.heard = False
        """Whether anything came at all."""

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        self.heard = True
        if self.waiting is not None:
            self.waiting.on_datagram(data)

    def error_received(self, exc: Exception) -> None:
        if self.waiting is not None and isinstance(exc, OSError):
            self.waiting.on_error(exc)


class Session:
    """A socket to one agent; requests go one after the other."""

    def __init__(
        self,
        manager: Manager,
        engine: Engine,
        transport: asyncio.DatagramTransport,
        inbox: _Inbox,
        context: str,
    ) -> None:
        self._manager = manager
        self._settings = manager.settings
        self._engine = engine
        self._transport = transport
        self._inbox = inbox
        self._context = context
        self._lock = asyncio.Lock()
        self._answered = False
        """Whether it has answered a request; a Report is no answer."""

    # Reading

    async def get(self, names: Sequence[Oid]) -> dict[Oid, Value]:
        """Read instances; one that does not exist, or cannot be read, has a value that says so.

        Raises SourceError.
        """
        found: dict[Oid, Value] = {}
        for start in range(0, len(names), MAX_VARBINDS):
            await self._get_some(list(names[start : start + MAX_VARBINDS]), found)
        return found

    async def _get_some(self, names: list[Oid], found: dict[Oid, Value]) -> None:
        while names:
            answer = await self._ask(get_request(names))
            status, index = answer.error_status, answer.error_index
            if not status:
                if [name for name, _ in answer.varbinds] != names:
                    raise self._garbage("answers a GET with other names than those asked for")
                found.update(answer.varbinds)
                return
            if status == _TOO_BIG and len(names) > 1:
                half = len(names) // 2
                await self._get_some(names[:half], found)
                names = names[half:]
            elif status in (_GEN_ERR, _NO_SUCH_NAME, _NO_ACCESS) and 1 <= index <= len(names):
                found[names.pop(index - 1)] = NO_SUCH_INSTANCE
            else:
                raise self._refused(status)

    async def walk_columns(
        self, columns: Sequence[Oid], rows: Oid = (), *, limit: int = MAX_ROWS
    ) -> Rows:
        """Read columns of a table, only the rows whose index begins with `rows`.

        Raises SourceError; GarbageError for a walk that does not end within `limit` rows.
        """
        walk = _Walk(columns, rows, limit)
        repetitions = MAX_VARBINDS
        while walk.active:
            asked = list(walk.active)[:MAX_VARBINDS]
            times = max(1, min(repetitions, MAX_VARBINDS // len(asked)))
            answer = await self._ask(bulk_request([walk.active[one] for one in asked], times))
            if answer.error_status in (_TOO_BIG, _GEN_ERR) and times > 1:
                repetitions = times // 2
            elif answer.error_status == _TOO_BIG and len(asked) > 1:
                await self._walk_apart(walk, asked)
            elif answer.error_status:
                raise self._refused(answer.error_status)
            else:
                problem = walk.take(asked, answer.varbinds)
                if problem:
                    raise self._garbage(problem)
        return walk.rows

    async def _walk_apart(self, walk: _Walk, columns: list[Oid]) -> None:
        """Take one step of each column by itself: a row is too big for one message."""
        for column in columns:
            answer = await self._ask(bulk_request([walk.active[column]], 1))
            if answer.error_status:
                raise self._refused(answer.error_status)
            problem = walk.take([column], answer.varbinds)
            if problem:
                raise self._garbage(problem)

    # Asking

    async def _ask(self, pdu: Any) -> Response:
        async with self._lock:
            for _ in range(MAX_ROUNDS):
                peer = Peer((self._settings.address, self._manager.number), self._transport.sendto)
                known = self._engine.knows(peer)
                answer = await self._exchange(pdu, peer)
                if isinstance(answer, Response):
                    self._answered = True
                    return answer
                report = answer
                if report.oid == UNKNOWN_ENGINE:
                    if known:
                        self._manager.rediscover()
                elif report.oid != TIME_WINDOW:
                    break
            raise self._reported(report)

    async def _exchange(self, pdu: Any, peer: Peer) -> Answer:
        """Send until an answer comes; DownError, SlowError, DeniedError, GarbageError."""
        settings, engine = self._settings, self._engine
        tries = settings.retries + 1
        waiting = _Waiting(settings, engine, peer)
        self._inbox.waiting = waiting
        sent: list[int] = []
        try:
            for _ in range(tries):
                await self._manager.engines.turn(waiting.answer)
                if not waiting.answer.done():
                    sent.append(
                        engine.send(
                            settings.credentials, self._context, pdu, peer, waiting.on_answer
                        )
                    )
                # Not wait_for(): an answer that came while the loop was busy is an answer
                await asyncio.wait((waiting.answer,), timeout=settings.timeout / tries)
                if waiting.answer.done():
                    return waiting.answer.result()
        except WriteError as error:
            raise GarbageError(f"{settings.address}: cannot be asked: {error}") from None
        finally:
            self._inbox.waiting = None
            waiting.end()
            for handle in sent:
                engine.release(settings.credentials, handle)
        if waiting.unread:
            raise self._garbage("answers with what cannot be read")
        raise self._silence()

    def _silence(self) -> SourceError:
        settings = self._settings
        line = f"{settings.address}: no answer within {settings.timeout:g} s"
        user = settings.credentials.user
        if user:
            self._manager.rediscover()  # it may be another machine when it is back
        if self._answered:
            return SlowError(f"{line}, though it answered before")
        if self._inbox.heard and user:
            return DeniedError(
                f"{line} to user {user}, though the agent lives: wrong priv_passphrase, "
                "priv_protocol or context"
            )
        if user:
            return SilenceError(f"{line}: the host or its agent is down, or UDP is filtered")
        return SilenceError(
            f"{line}: the host or its agent is down, UDP is filtered, or the community is wrong "
            "(agents do not answer a wrong one)"
        )

    # Errors

    def _refused(self, status: int) -> SourceError:
        name = _ERROR_NAMES.get(status, f"error-status {status}")
        where = self._settings.address
        if status in (_AUTHORIZATION, _NO_ACCESS):
            return DeniedError(
                f"{where}: {self._who} may not read this ({name}): give it a view of VM-MIB"
                f"{self._where_context} in the agent's access rules"
            )
        return GarbageError(f"{where}: the agent fails with {name}: see its log")

    def _garbage(self, what: str) -> GarbageError:
        return GarbageError(f"{self._settings.address}: the agent {what}: it is faulty")

    @property
    def _who(self) -> str:
        user = self._settings.credentials.user
        return f"user {user}" if user else "the community"

    @property
    def _where_context(self) -> str:
        return f' in context "{self._context}"' if self._context else ""

    def _reported(self, report: Report) -> SourceError:
        where, user = self._settings.address, self._settings.credentials.user
        level = self._settings.credentials.level
        texts: Mapping[Oid, str] = {
            SECURITY_LEVEL: f"does not let user {user} in with {level}: make its protocols here "
            "those of the agent",
            TIME_WINDOW: f"says not in time window to user {user} again and again: its engine ID "
            "or boots counter is not kept, or two agents share one engine ID",
            UNKNOWN_USER: f"knows no user {user}: create it there, or correct the user",
            UNKNOWN_ENGINE: "changes its engine ID all the time",
            WRONG_DIGEST: f"refuses the digest of user {user}: wrong auth_passphrase or "
            "auth_protocol",
            DECRYPTION: f"cannot decrypt what user {user} sends: wrong priv_passphrase or "
            "priv_protocol",
            CONTEXT_UNKNOWN: f"knows no context{self._where_context}: correct the context",
            CONTEXT_UNAVAILABLE: f"has nothing{self._where_context} at present",
        }
        text = texts.get(report.oid, f"refuses our messages ({report.text})")
        return DeniedError(f"{where}: the agent {text}")


class _Walk:
    """Where a walk of several columns stands."""

    def __init__(self, columns: Sequence[Oid], index: Oid, limit: int) -> None:
        self.rows: Rows = {}
        self.active: dict[Oid, Oid] = {column: (*column, *index) for column in columns}
        """Column -> the name to go on from."""
        self._index = index
        self._limit = limit

    def take(self, columns: Sequence[Oid], varbinds: Sequence[tuple[Oid, Value]]) -> str:
        """Take an answer; give what is wrong with it, "" for nothing."""
        if not varbinds:
            return "answers a GETBULK with nothing"
        for place, (name, value) in enumerate(varbinds):
            column = columns[place % len(columns)]
            before = self.active.get(column)
            if before is None:
                continue
            if value.missing or not _below(name, (*column, *self._index)):
                del self.active[column]
                continue
            if name <= before:
                return f"does not go forward in a walk, at {dotted(name)}"
            self.active[column] = name
            self.rows.setdefault(name[len(column) :], {})[column] = value
            if len(self.rows) > self._limit:
                return f"has more than {self._limit} rows below {dotted(column)}"
        return ""


def _below(name: Oid, prefix: Oid) -> bool:
    return name[: len(prefix)] == prefix


def _unreachable(settings: ManagerSettings, error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return (
            f"{settings.address}: refused: no SNMP agent listens there; start it, or correct the "
            "address"
        )
    reason = error.strerror or os.strerror(error.errno) if error.errno else str(error)
    return f"{settings.address}: cannot be reached: {reason}"
