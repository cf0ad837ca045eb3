"""A subagent on its event loop: connects, registers, serves, notifies, and starts over.

Theory of operation
-------------------
    start -> connecting -> opening -> open -> (lost) -> waiting -> connecting ...

`Subagent` holds a Link (the socket), and while that is connected a Session (the protocol), and
passes octets between them. When the session opens, the capabilities and registrations are sent,
then the notifications that wait. Whatever goes wrong, connection refused or reset, no answer in
time, octets that are no AgentX, ends in one place: `_down` gives the session up, takes unanswered
notifications back into the outbox, and comes back after a jittered wait (see backoff).

Rules
-----
- Nothing blocks; the exception is `stop`, which takes MAX_FLUSH seconds at most.
- A request of ours without a response in `response_timeout` means that the master hangs.
- A registration that is refused is retried by itself; it does not disturb the others.
- A change of state is logged once, however long it lasts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from vmmib.agentx.address import Address
from vmmib.agentx.link import Link, remedy
from vmmib.agentx.oid import Oid, to_text
from vmmib.agentx.outbox import Notification, Outbox
from vmmib.agentx.pdu import (
    AddAgentCaps,
    Close,
    CloseReason,
    CommitSet,
    ErrorStatus,
    Notify,
    Open,
    Pdu,
    Ping,
    Register,
    RemoveAgentCaps,
    TestSet,
    UndoSet,
    Unregister,
    encode,
)
from vmmib.agentx.session import (
    Answered,
    Closed,
    Event,
    Faulted,
    Ignored,
    RemoteProtocolError,
    Session,
    SetRequested,
    State,
)
from vmmib.agentx.transaction import ReadOnly, SetHandler, Transactions
from vmmib.agentx.view import View
from vmmib.agentx.wording import Logger, error_name, reason_name
from vmmib.backoff import Backoff
from vmmib.loop import Loop, Timer

__all__ = [
    "Capability",
    "CloseReason",
    "Logger",
    "Notification",
    "Registration",
    "SetHandler",
    "Stats",
    "Subagent",
]

MAX_FLUSH = 1.0
"""Seconds."""
SETTLED = 5.0
"""Seconds after which a session counts as one that works: see `_down`."""
_MAX_TOLD = 100
"""Kinds of log lines remembered so as not to repeat them; beyond that nothing is logged."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A MIB region to serve in one context (RFC 2741, 6.2.3); "" is the default context."""

    context: str
    subtree: Oid
    priority: int = 127
    """1 to 255; of overlapping registrations the lower number serves."""
    timeout: int = 0
    """Seconds; 0: the session's."""
    range_subid: int = 0
    upper_bound: int = 0


@dataclass(frozen=True, slots=True)
class Capability:
    """A row of sysORTable (RFC 2741, 6.2.14)."""

    context: str
    oid: Oid
    description: str


@dataclass(frozen=True, slots=True)
class Stats:
    """How the subagent does, at one moment."""

    connected: bool
    requests: int
    """Requests of the master since the start."""
    notifications_sent: int
    """Accepted by the master."""
    notifications_queued: int
    """Waiting to be sent or answered, now."""
    notifications_dropped: int
    """Lost to a full queue."""
    notifications_rejected: int
    """Answered with an error."""
    reconnects: int
    """Sessions after the first."""


class _Claim:
    """One registration, and how it stands with the current session."""

    def __init__(self, registration: Registration, backoff: Backoff) -> None:
        self.registration = registration
        self.backoff = backoff
        self.retry: Timer | None = None
        self.accepted = False
        self.told: int | None = None
        """The error that was logged."""

    def session_lost(self) -> None:
        self.accepted = False
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None


class Subagent:
    """Serves views to a master agent for as long as the loop runs.

    All methods are to be called on the loop's own thread. None of them raises for what the master
    or the network does.
    """

    def __init__(
        self,
        loop: Loop,
        address: Address,
        *,
        description: str,
        agent_id: Oid = (),
        registrations: Sequence[Registration],
        capabilities: Sequence[Capability] = (),
        sets: SetHandler | None = None,
        session_timeout: int = 5,
        ping_interval: float = 15.0,
        response_timeout: float = 10.0,
        queue_limit: int = 1000,
        log: Logger | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`session_timeout`: seconds that the master gives us to answer (0: its own default).

        `ping_interval`: seconds of silence after which the master is asked whether it is there;
        `response_timeout`: seconds that it has to answer; `queue_limit`: notifications kept.
        Raises ValueError for a number, OID or text that AgentX cannot express.
        """
        self._loop = loop
        self._address = address
        self._open = Open(timeout=session_timeout, agent_id=agent_id, description=description)
        encode(self._open)
        _check(registrations, capabilities)
        self._ping_interval = ping_interval
        self._response_timeout = response_timeout
        self._log: Logger = structlog.get_logger() if log is None else log
        self._rng = random.Random() if rng is None else rng  # noqa: S311 - jitter is no secret
        self._link = Link(
            loop,
            address,
            connect_timeout=response_timeout,
            on_connected=self._connected,
            on_data=self._received,
            on_lost=self._down,
        )
        self._handler: SetHandler = ReadOnly() if sets is None else sets
        self._outbox = Outbox(queue_limit, self._log)
        self._views: dict[bytes, View] = {}
        self._claims = {one: _Claim(one, Backoff(self._rng)) for one in registrations}
        self._capabilities = list(dict.fromkeys(capabilities))

        self._running = False
        self._session: Session | None = None
        self._sets = Transactions(self._handler)
        self._retry: Timer | None = None
        self._backoff = Backoff(self._rng)
        self._short_sessions = 0
        """In a row, until now."""
        self._opened_at: float | None = None
        self._ping: Timer | None = None
        self._ping_seen = -1
        self._overdue: Timer | None = None
        self._deadlines: dict[int, float] = {}
        """When a response has to be there, by packet ID, in the order of sending."""
        self._told_reasons: set[str] = set()
        """Why there was no session, since there last was one."""
        self._told_faults: set[str] = set()
        self._told_ignored: set[str] = set()
        self._requests = 0
        self._sessions = 0

    # What the agent calls

    @property
    def stats(self) -> Stats:
        """The counters of this moment."""
        session = self._session
        return Stats(
            connected=self._opened() is not None,
            requests=self._requests + (session.requests if session is not None else 0),
            notifications_sent=self._outbox.sent,
            notifications_queued=len(self._outbox),
            notifications_dropped=self._outbox.dropped,
            notifications_rejected=self._outbox.rejected,
            reconnects=max(0, self._sessions - 1),
        )

    def start(self) -> None:
        """Connect, and stay connected until `stop`."""
        if not self._running:
            self._running = True
            self._link.open()

    def stop(self, reason: CloseReason = CloseReason.SHUTDOWN) -> None:
        """End the session with `reason`, having sent the notifications that wait.

        Takes MAX_FLUSH seconds at most. `start` may be called again.
        """
        if not self._running:
            return
        self._running = False
        session = self._opened()
        if session is not None:
            self._send_notifications(session, final=True)
            session.send(Close(reason=reason))
            # Reading on until the master closes: to close with responses unread would reset the
            # connection, and the master could lose what was just written.
            for data in self._link.finish(session.data_to_send(), MAX_FLUSH):
                if self._ends(session, data):
                    break
        self._release()

    def set_view(self, context: str, view: View) -> None:
        """Answer from `view` from now on."""
        self._views[_octets(context)] = view

    def drop_view(self, context: str) -> None:
        """Know nothing of `context` from now on."""
        self._views.pop(_octets(context), None)

    def update_registrations(
        self, registrations: Sequence[Registration], capabilities: Sequence[Capability] = ()
    ) -> None:
        """Give up what is not in the new lists, and claim what was not in the old ones.

        Raises ValueError, with nothing changed, for what AgentX cannot express.
        """
        _check(registrations, capabilities)
        session = self._opened()
        wanted = dict.fromkeys(registrations)
        gone = [claim for one, claim in self._claims.items() if one not in wanted]
        new = [one for one in wanted if one not in self._claims]
        for claim in gone:
            del self._claims[claim.registration]
            if session is not None and claim.accepted:
                self._request(session, _unregister(claim.registration))
            claim.session_lost()
        for one in new:
            self._claims[one] = _Claim(one, Backoff(self._rng))
            self._register(self._claims[one])
        self._update_capabilities(session, list(dict.fromkeys(capabilities)))
        self._write()

    def _update_capabilities(self, session: Session | None, wanted: list[Capability]) -> None:
        old, self._capabilities = self._capabilities, wanted
        if session is None:
            return
        for one in old:
            if one not in wanted:
                self._request(session, RemoveAgentCaps(context=one.context, oid=one.oid))
        for one in wanted:
            if one not in old:
                self._request(session, _add_capability(one))

    def notify(self, notification: Notification) -> None:
        """Send a notification, now or as soon as the master is there."""
        self._outbox.put(notification)
        session = self._opened()
        if session is not None:
            self._send_notifications(session)
            self._write()

    # Up

    def _opened(self) -> Session | None:
        """Return the session if it is open."""
        session = self._session
        return session if session is not None and session.state is State.OPEN else None

    def _connect(self) -> None:
        self._retry = None
        self._link.open()

    def _connected(self) -> None:
        self._session = Session(self._views)
        self._sets = Transactions(self._handler)
        self._request(self._session, self._open)
        self._write()

    def _open_accepted(self, session: Session) -> None:
        self._sessions += 1
        self._opened_at = self._loop.time()
        self._told_reasons.clear()
        self._told_ignored.clear()
        self._log.info("agentx_connected", address=str(self._address), session=session.session_id)
        for capability in self._capabilities:
            self._request(session, _add_capability(capability))
        for claim in self._claims.values():
            self._register(claim)
        self._ping_seen = -1
        self._ping = self._loop.call_later(self._ping_interval, self._ping_due)
        self._send_notifications(session)

    # Down

    def _give_up(self, reason: str, close: CloseReason) -> None:
        """End a session that is of no further use."""
        session = self._opened()
        if session is not None:
            session.send(Close(reason=close))
            self._link.write_last(session.data_to_send())
        self._down(reason, None)

    def _down(self, reason: str, error: OSError | None) -> None:
        """Come back later: the connection is gone, or never came."""
        opened_at = self._opened_at
        self._release()
        if opened_at is not None:
            # The first retry comes quickly, unless sessions end as soon as they begin.
            settled = self._loop.time() - opened_at >= SETTLED
            self._backoff.attempt = 0 if settled else self._short_sessions
            self._short_sessions = 0 if settled else self._short_sessions + 1
        if reason not in self._told_reasons and len(self._told_reasons) < _MAX_TOLD:
            self._told_reasons.add(reason)
            self._log.warning(
                "agentx_unreachable" if opened_at is None else "agentx_lost",
                address=str(self._address),
                reason=reason,
                remedy=remedy(error) if error is not None else "it is tried again, for ever",
            )
        if self._running:
            self._retry = self._loop.call_later(self._backoff.wait(), self._connect)

    def _release(self) -> None:
        """Go back to where `start` begins, with all notifications in the outbox."""
        for timer in (self._retry, self._ping, self._overdue):
            if timer is not None:
                timer.cancel()
        self._retry = self._ping = self._overdue = None
        self._deadlines.clear()
        self._opened_at = None
        for claim in self._claims.values():
            claim.session_lost()
        self._outbox.session_lost()
        self._link.close()
        session, self._session = self._session, None
        if session is not None:
            self._requests += session.requests
            try:
                self._sets.abandon()
            except Exception as error:
                self._fault("agentx_set_failed", error)

    # Octets

    def _received(self, data: bytes) -> bytes | None:
        session = self._session
        if session is None:
            return None
        response = session.serve(data)
        if session.faults:
            self._handle_all(session, session.take_faults())
        if response is not None:
            return response
        try:
            events = session.receive_data(data)
        except RemoteProtocolError as error:
            self._down(f"the master does not speak AgentX: {error}", None)
            return None
        self._handle_all(session, events)
        self._write()
        return None

    def _handle_all(self, session: Session, events: Sequence[Event]) -> None:
        for event in events:
            if self._session is session:
                self._handle(session, event)

    def _write(self) -> None:
        if self._session is not None:
            data = self._session.data_to_send()
            if data:
                self._link.write(data)

    def _ends(self, session: Session, data: bytes) -> bool:
        """Take what arrives after our Close; return whether that was all."""
        try:
            for event in session.receive_data(data):
                if isinstance(event, Answered) and isinstance(event.request, Notify):
                    self._outbox.answered(event.request.packet_id, event.response.error)
        except RemoteProtocolError:
            return True
        return session.state is State.CLOSED

    def _request(self, session: Session, request: Pdu) -> int:
        """Queue a request, and expect its response in time; return its packet ID."""
        packet_id = session.send(request)
        self._deadlines[packet_id] = self._loop.time() + self._response_timeout
        if self._overdue is None:
            self._overdue = self._loop.call_later(self._response_timeout, self._check_deadlines)
        return packet_id

    def _check_deadlines(self) -> None:
        self._overdue = None
        # Had it been us who did not run, the responses are there by now.
        self._link.poll()
        if self._session is None or self._overdue is not None or not self._deadlines:
            return
        wait = next(iter(self._deadlines.values())) - self._loop.time()
        if wait > 0:
            self._overdue = self._loop.call_later(wait, self._check_deadlines)
        else:
            seconds = f"{self._response_timeout:g} s"
            self._give_up(f"the master does not answer within {seconds}", CloseReason.TIMEOUTS)

    def _ping_due(self) -> None:
        session = self._opened()
        if session is None:
            return
        if session.requests == self._ping_seen and not self._deadlines:
            self._request(session, Ping())
        self._ping_seen = session.requests
        self._ping = self._loop.call_later(self._ping_interval, self._ping_due)
        self._write()

    # Events

    def _handle(self, session: Session, event: Event) -> None:
        match event:
            case Answered():
                self._deadlines.pop(event.request.packet_id, None)
                self._answered(session, event.request, event.response.error)
            case SetRequested():
                self._set(session, event)
            case Closed():
                self._down(f"the master ended the session ({reason_name(event.reason)})", None)
            case Ignored():
                # One line of a kind and session, or a confused master floods the log.
                kind = event.what.partition(":")[0]
                if kind not in self._told_ignored and len(self._told_ignored) < _MAX_TOLD:
                    self._told_ignored.add(kind)
                    self._log.warning("agentx_ignored", what=event.what)
            case Faulted():
                self._fault("agentx_request_failed", event.error)

    def _answered(self, session: Session, request: Pdu, error: int) -> None:
        match request:
            case Open() if error:
                self._down(f"the master refused the session ({error_name(error)})", None)
            case Open():
                self._open_accepted(session)
            case Register():
                self._register_answered(session, request, error)
            case Notify():
                self._outbox.answered(request.packet_id, error)
                self._send_notifications(session)
            case AddAgentCaps() if error:
                self._log.warning(
                    "agentx_capability_refused",
                    oid=to_text(request.oid),
                    context=request.context,
                    error=error_name(error),
                    remedy="sysORTable lacks this row; the objects are served all the same",
                )
            case _:
                pass
        if error == ErrorStatus.NOT_OPEN and self._session is session:
            self._down("the master does not know the session any more (notOpen)", None)

    def _set(self, session: Session, event: SetRequested) -> None:
        answer: tuple[ErrorStatus, int] | None
        try:
            answer = self._sets.handle(event.request)
        except Exception as error:  # a fault of the handler fails this SET, not the agent
            self._fault("agentx_set_failed", error)
            answer = _SET_FAULTS.get(type(event.request))
        if answer is not None:
            session.respond(event, *answer)

    def _fault(self, event: str, error: Exception) -> None:
        """Log a fault of this program, with its traceback, one line of a kind."""
        cause = error.__cause__ or error
        place = cause.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        line = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        kind = f"{event} {type(cause).__name__} {line}"
        if kind not in self._told_faults and len(self._told_faults) < _MAX_TOLD:
            self._told_faults.add(kind)
            self._log.error(event, error=str(error), exc_info=cause)

    # Registrations

    def _register(self, claim: _Claim) -> None:
        session = self._opened()
        if session is not None:
            self._request(session, _register(claim.registration))

    def _register_again(self, claim: _Claim) -> None:
        claim.retry = None
        self._register(claim)
        self._write()

    def _register_answered(self, session: Session, request: Register, error: int) -> None:
        one = Registration(
            request.context,
            request.subtree,
            request.priority,
            request.timeout,
            request.range_subid,
            request.upper_bound,
        )
        claim = self._claims.get(one)
        if claim is None:
            # Given up while the response was under way.
            if not error:
                self._request(session, _unregister(one))
            return
        shown = {"subtree": to_text(one.subtree), "context": one.context, "priority": one.priority}
        if not error:
            claim.accepted = True
            claim.backoff.reset()
            if claim.told is not None:
                claim.told = None
                self._log.info("agentx_registered", **shown)
            return
        if claim.told != error:
            claim.told = error
            remedy = _REGISTER_REMEDIES.get(error, "see the master agent's log")
            self._log.warning(
                "agentx_registration_refused",
                **shown,
                error=error_name(error),
                remedy=f"{remedy}; it is tried again, for ever",
            )
        claim.retry = self._loop.call_later(
            claim.backoff.wait(), lambda: self._register_again(claim)
        )

    # Notifications

    def _send_notifications(self, session: Session, final: bool = False) -> None:
        while (one := self._outbox.next(final)) is not None:
            try:
                packet_id = self._request(
                    session, Notify(context=one.context, varbinds=one.varbinds)
                )
            except ValueError as error:
                self._outbox.invalid()
                self._fault("notification_invalid", error)
            else:
                self._outbox.sending(packet_id)


_SET_FAULTS: dict[type[Pdu], tuple[ErrorStatus, int]] = {
    TestSet: (ErrorStatus.GEN_ERR, 1),
    CommitSet: (ErrorStatus.COMMIT_FAILED, 1),
    UndoSet: (ErrorStatus.UNDO_FAILED, 1),
}

_REGISTER_REMEDIES: dict[int, str] = {
    ErrorStatus.DUPLICATE_REGISTRATION: (
        "another subagent of this master holds the same subtree at the same priority, most likely "
        "a second instance of this agent: stop it, or give one of them another priority"
    ),
    ErrorStatus.REQUEST_DENIED: "the master agent's configuration does not allow this registration",
    ErrorStatus.UNSUPPORTED_CONTEXT: "the master agent does not know this SNMP context",
}


def _register(one: Registration) -> Register:
    return Register(
        context=one.context,
        subtree=one.subtree,
        priority=one.priority,
        timeout=one.timeout,
        range_subid=one.range_subid,
        upper_bound=one.upper_bound,
    )


def _unregister(one: Registration) -> Unregister:
    return Unregister(
        context=one.context,
        subtree=one.subtree,
        priority=one.priority,
        range_subid=one.range_subid,
        upper_bound=one.upper_bound,
    )


def _add_capability(one: Capability) -> AddAgentCaps:
    return AddAgentCaps(context=one.context, oid=one.oid, description=one.description)


def _check(registrations: Sequence[Registration], capabilities: Sequence[Capability]) -> None:
    """Raise ValueError for what could not be sent later, when nobody is there to be told."""
    for registration in registrations:
        encode(_register(registration))
    for capability in capabilities:
        encode(_add_capability(capability))


def _octets(context: str) -> bytes:
    return context.encode("utf-8", "surrogateescape")
