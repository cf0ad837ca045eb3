"""Notifications between those who make them and the master's response.

Rules
-----
- A notification leaves with the master's response and not before: none is lost to a restart of the
  master, at the price that one may be seen twice.
- At most `limit` are kept. When there are more, the oldest that wait go: the newest tell the state
  of things. The first loss of an episode is logged, and the episode's end.
- A notification that is answered with an error is not sent again, unless the error is notOpen,
  which speaks of the session: then MAX_NOT_OPEN sessions get it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from vmmib.agentx.oid import Oid, to_text
from vmmib.agentx.pdu import ErrorStatus, VarBind
from vmmib.agentx.wording import Logger, error_name

MAX_IN_FLIGHT = 32
"""Notifications that are sent and not answered yet."""
MAX_NOT_OPEN = 3

_SNMP_TRAP_OID: Oid = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification (RFC 2741, 6.2.10): snmpTrapOID.0 first, or sysUpTime.0 and snmpTrapOID.0."""

    context: str
    varbinds: tuple[VarBind, ...]

    @property
    def trap_oid(self) -> str:
        """Value of snmpTrapOID.0, as text; "" when there is none."""
        for varbind in self.varbinds:
            if varbind.oid == _SNMP_TRAP_OID and isinstance(varbind.value, tuple):
                return to_text(varbind.value)
        return ""


@dataclass(slots=True)
class _Entry:
    notification: Notification
    not_open: int = 0


class Outbox:
    """A bounded queue, and what is under way."""

    def __init__(self, limit: int, log: Logger) -> None:
        self._limit = max(1, limit)
        self._log = log
        self._waiting: deque[_Entry] = deque()
        self._in_flight: dict[int, _Entry] = {}
        self._dropping = 0
        self.sent = 0
        self.dropped = 0
        self.rejected = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def put(self, notification: Notification) -> None:
        """Queue a notification."""
        if len(self) >= self._limit and self._waiting:
            self._waiting.popleft()
            self.dropped += 1
            if not self._dropping:
                self._log.warning(
                    "notifications_dropped",
                    limit=self._limit,
                    remedy="see why the master agent takes none, or raise the limit; "
                    "the oldest go until then",
                )
            self._dropping += 1
        self._waiting.append(_Entry(notification))

    def next(self, final: bool = False) -> Notification | None:
        """Return the notification to be sent now, None when none is; follow up with `sending`.

        `final`: there will be no better time, so any number may be under way.
        """
        if not self._waiting or (len(self._in_flight) >= MAX_IN_FLIGHT and not final):
            return None
        return self._waiting[0].notification

    def sending(self, packet_id: int) -> None:
        """Note that what `next` returned is sent."""
        self._in_flight[packet_id] = self._waiting.popleft()
        if not self._waiting and self._dropping:
            self._log.info("notifications_flow_again", dropped=self._dropping)
            self._dropping = 0

    def invalid(self) -> None:
        """Forget what `next` returned: it cannot be sent at all."""
        self._waiting.popleft()
        self.rejected += 1

    def answered(self, packet_id: int, error: int) -> None:
        """Note the master's response."""
        entry = self._in_flight.get(packet_id)
        if entry is None:
            return
        if error == ErrorStatus.NOT_OPEN:
            entry.not_open += 1
            if entry.not_open < MAX_NOT_OPEN:
                return  # in flight until the session is given up, which is next
        del self._in_flight[packet_id]
        if error == ErrorStatus.NO_ERROR:
            self.sent += 1
            return
        self.rejected += 1
        self._log.warning(
            "notification_rejected",
            notification=entry.notification.trap_oid,
            context=entry.notification.context,
            error=error_name(error),
        )

    def session_lost(self) -> None:
        """Queue what was not answered, before everything else, in its order."""
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
