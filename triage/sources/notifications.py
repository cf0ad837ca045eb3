"""The receiver of notifications: a UDP port, a timeline of what VM-MIB announced.

What arrives goes through `triage.snmp.receiver` (who sent it) and `triage.snmp.notifications` (what
it says). Then
- it is given to a hypervisor: by the sender's address; where several share one, by the context
  (v3), or the community (v2c), or the UUID that it carries;
- a repetition is dropped: informs are sent again until they are acknowledged;
- it is handed to `on_notification` for keeping, and kept in memory, a bounded number;
- an inform is acknowledged, after that: what could not be kept is sent again by its sender.

The port is ours alone: no address is reused, so that a second process (or a snmptrapd) is noticed.
Nothing that a sender does raises, and each kind of refusal is logged once in LOG_EVERY seconds.
SNMPv3 traps can be replayed by who recorded them, for pysnmp does not follow their senders' clocks;
informs cannot.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import ipaddress
import socket
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from triage.evidence import VmNotification
from triage.snmp import notifications, oids
from triage.snmp.identity import next_boot
from triage.snmp.receiver import LocalEngine, NotificationUser, Received, Receiver
from triage.snmp.values import VarBind

LOG_EVERY = 60.0

REPEATED_WITHIN = 300.0
"""Seconds in which the same request of the same sender is a repetition (net-snmp: 5 in 5 s)."""
MAX_REPEATED = 4096

RESOLVE_EVERY = 300.0
RESOLVE_WITHIN = 5.0

RECEIVE_BUFFER = 1024 * 1024
"""Octets that the kernel may keep for us: all VMs of a host can change at once."""


class NotificationsError(Exception):
    """The receiver cannot start; the message is one line with the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSource:
    """Where a hypervisor's notifications come from."""

    hypervisor: str
    """Configured name."""
    host: str
    """Address or name of the sender."""
    context: str = ""
    """Of its notifications, where several hypervisors share an address."""
    community: str = field(default="", repr=False)
    """Of its notifications (v2c), likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings:
    """Who may notify us, and where."""

    host: str = ""
    """Address to listen on; "": every one, IPv6 too where there is any."""
    port: int = 162
    """0: any free one (see `NotificationReceiver.port`)."""
    communities: tuple[str, ...] = field(default=(), repr=False)
    """Accepted in v2c (and in v1, which pysnmp translates); none: neither is accepted."""
    users: tuple[NotificationUser, ...] = ()
    """Accepted in v3."""
    sources: tuple[NotificationSource, ...] = ()
    engine_file: Path | None = None
    """Keeps our engine ID and its boots counter; None: a new engine with each start."""
    keep: int = 10_000
    """Notifications kept in memory."""


class NotificationReceiver:
    """Receives notifications from `start` to `close`.

    `on_notification` keeps one and returns at once; when it raises, the notification is not
    acknowledged. `locate` tells the hypervisor that is known to have a UUID, None for none.
    """

    def __init__(
        self,
        settings: NotificationSettings,
        *,
        on_notification: Callable[[VmNotification], None] | None = None,
        locate: Callable[[str], str | None] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Datagrams: "received", "repeated", "other" (of no use here) and reasons of refusal."""
        self._settings = settings
        self._on_notification = on_notification
        self._locate = locate
        self._clock = clock
        self._monotonic = monotonic
        self._timeline: deque[VmNotification] = deque(maxlen=settings.keep)
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._logged: dict[str, float] = {}
        self._senders: dict[str, list[NotificationSource]] = {}
        self._engine = LocalEngine(b"", 0, 0.0)
        self._receiver: Receiver | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._resolving: asyncio.Task[None] | None = None
        self._since: float | None = None
        self._log = structlog.get_logger()

    # Life

    async def start(self) -> None:
        """Listen; NotificationsError when the port or the engine's file cannot be had."""
        settings = self._settings
        try:
            engine_id, boots = next_boot(settings.engine_file)
        except OSError as error:
            raise NotificationsError(
                f"{settings.engine_file}: the engine's boots counter cannot be kept: "
                f"{error.strerror}; SNMPv3 informs need it"
            ) from None
        self._engine = LocalEngine(engine_id, boots, self._monotonic())
        self._receiver = self._make_receiver()
        sock = _bound(settings)
        try:
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Protocol(self._on_datagram), sock=sock
            )
        except BaseException:
            sock.close()
            raise
        self._since = self._clock()
        self._resolve_addresses()
        self._resolving = asyncio.create_task(self._resolve_names())
        self._log.info(
            "notifications_listening", port=self.port, engine_id=engine_id.hex(), boots=boots
        )

    async def close(self) -> None:
        """Listen no more; what was received stays readable."""
        self._since = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        if self._resolving is not None:
            self._resolving.cancel()
            await asyncio.gather(self._resolving, return_exceptions=True)
            self._resolving = None

    def replace(self, settings: NotificationSettings) -> None:
        """Take new communities, users and sources; address and port stay those of `start`."""
        self._settings = settings
        self._receiver = self._make_receiver()
        self._senders = {}
        self._resolve_addresses()
        if self._resolving is not None:
            self._resolving.cancel()
            self._resolving = asyncio.create_task(self._resolve_names())

    def _make_receiver(self) -> Receiver:
        settings = self._settings
        return Receiver(settings.communities, settings.users, self._engine, self._monotonic)

    @property
    def port(self) -> int:
        """The port that it listens on, 0 when it does not."""
        if self._transport is None:
            return 0
        return int(self._transport.get_extra_info("sockname")[1])

    @property
    def engine_id(self) -> str:
        """Our engine ID in hex, for senders of informs that want to be told."""
        return self._engine.engine_id.hex()

    # The timeline

    @property
    def listening_since(self) -> float | None:
        """Time since when it listens without a break; None when it does not."""
        return self._since

    def between(self, start: float, end: float) -> Sequence[VmNotification]:
        """Notifications received in this span, both ends included, oldest first."""
        return [one for one in self._timeline if start <= one.time <= end]

    def preload(self, kept: Iterable[VmNotification]) -> None:
        """Take what was kept over a restart, oldest first; before `start`."""
        self._timeline.extend(kept)

    # Receiving

    def _on_datagram(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            self._take(data, address)
        except Exception:  # a fault of ours must not stop what listens for years
            self._drop("internal fault", address, exc_info=True)

    def _take(self, data: bytes, address: tuple[str, int]) -> None:
        if self._receiver is None:
            return
        outcome = self._receiver.handle(data)
        if outcome.dropped:
            self._drop(outcome.dropped, address)
        if outcome.received is not None and not self._keep(outcome.received, address):
            return
        if outcome.reply is not None and self._transport is not None:
            self._transport.sendto(outcome.reply, address)

    def _keep(self, received: Received, address: tuple[str, int]) -> bool:
        """Keep a notification; False when that failed and it is to be sent again."""
        key = self._key(received, address)
        now = self._monotonic()
        while self._seen and next(iter(self._seen.values())) < now - REPEATED_WITHIN:
            self._seen.popitem(last=False)
        if key in self._seen:
            self.counts["repeated"] += 1
            return True
        sender = _plain(address[0])
        entries = notifications.read(
            received.varbinds,
            time=self._clock(),
            hypervisor=self._hypervisor(sender, received),
            sender=sender,
        )
        self.counts["received" if entries else "other"] += 1
        kept = [self._hand_over(one) for one in entries]
        if received.inform and not all(kept):
            return False
        self._timeline.extend(entries)
        self._seen[key] = now
        if len(self._seen) > MAX_REPEATED:
            self._seen.popitem(last=False)
        return True

    def _hand_over(self, one: VmNotification) -> bool:
        if self._on_notification is None:
            return True
        try:
            self._on_notification(one)
        except Exception:  # its sender repeats an inform; a trap is at least in memory
            self._log.exception("notification_not_kept", name=one.name)
            return False
        return True

    def _key(self, received: Received, address: tuple[str, int]) -> bytes:
        return hashlib.sha256(_plain(address[0]).encode() + b"\0" + received.said).digest()

    def _drop(self, why: str, address: tuple[str, int], *, exc_info: bool = False) -> None:
        self.counts[why] += 1
        now = self._monotonic()
        if now - self._logged.get(why, -LOG_EVERY) >= LOG_EVERY:
            self._logged[why] = now
            self._log.warning(
                "notification_refused",
                reason=why,
                sender=_plain(address[0]),
                total=self.counts[why],
                exc_info=exc_info,
            )

    # Whose it is

    def _hypervisor(self, sender: str, received: Received) -> str:
        varbinds = received.varbinds
        candidates = self._senders.get(sender) or self._senders.get(_forwarded(varbinds), [])
        if len(candidates) == 1:
            return candidates[0].hypervisor
        fitting = [one for one in candidates if _fits(one, received)]
        if len(fitting) == 1:
            return fitting[0].hypervisor
        located = None
        carried = notifications.uuid_in(varbinds)
        if carried and self._locate is not None:
            located = self._locate(carried)
        if not located or (candidates and located not in {one.hypervisor for one in candidates}):
            return ""
        return located

    def _resolve_addresses(self) -> None:
        for one in self._settings.sources:
            if _is_address(one.host):
                self._senders.setdefault(_plain(one.host), []).append(one)

    async def _resolve_names(self) -> None:
        """Keep up with the addresses that names stand for."""
        while names := {one.host for one in self._settings.sources if not _is_address(one.host)}:
            found = {name: await self._addresses(name) for name in names}
            senders: dict[str, list[NotificationSource]] = {}
            for one in self._settings.sources:
                for address in found.get(one.host, [_plain(one.host)]):
                    senders.setdefault(address, []).append(one)
            self._senders = senders
            await asyncio.sleep(RESOLVE_EVERY)

    async def _addresses(self, name: str) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_WITHIN):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError, UnicodeError):
            self._log.warning("notification_sender_unresolved", host=name)
            # Better the addresses of before than none
            return [
                address
                for address, listed in self._senders.items()
                if any(one.host == name for one in listed)
            ]
        return sorted({_plain(str(item[4][0])) for item in found})


class _Protocol(asyncio.DatagramProtocol):
    """Passes datagrams on."""

    def __init__(self, on_datagram: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._on_datagram = on_datagram

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on_datagram(data, addr)


def _bound(settings: NotificationSettings) -> socket.socket:
    """A socket of our own at the configured address; NotificationsError."""
    shown = f"{settings.host or '*'}:{settings.port}"
    try:
        if not settings.host and socket.has_dualstack_ipv6():
            return _bind(socket.AF_INET6, ("::", settings.port), both=True)
        host = settings.host or "0.0.0.0"  # noqa: S104 - every address was asked for
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return _bind(family, (host, settings.port))
    except OSError as error:
        remedies = {
            errno.EADDRINUSE: "another process has this port: end it (snmptrapd?), or set another",
            errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or set another",
            errno.EADDRNOTAVAIL: "this machine has no such address",
        }
        reason = remedies.get(error.errno or 0) or error.strerror or str(error)
        raise NotificationsError(f"notifications cannot be received on {shown}: {reason}") from None


def _bind(family: int, address: tuple[str, int], *, both: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if both:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setblocking(False)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _plain(host: str) -> str:
    """An address as we compare it: IPv4 as such, IPv6 without its zone."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _forwarded(varbinds: Sequence[VarBind]) -> str:
    """Who sent it first, when a proxy passed it on (RFC 3584 section 3.1)."""
    for name, value in varbinds:
        if name == oids.SNMP_TRAP_ADDRESS and value.octets and len(value.octets) == 4:
            return ".".join(map(str, value.octets))
    return ""


def _fits(source: NotificationSource, received: Received) -> bool:
    """Whether the context or the community is this hypervisor's."""
    communities = {received.community} | {
        value.octets or b"" for name, value in received.varbinds if name == oids.SNMP_TRAP_COMMUNITY
    }
    communities.discard(b"")
    if not communities:
        return source.context.encode() == received.context
    own = {source.community.encode(), source.context.encode()} - {b""}
    return bool(own & communities)
