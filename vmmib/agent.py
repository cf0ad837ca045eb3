"""The agent: puts hypervisors, VM-MIB, AgentX and the Prometheus bridge together.

Per hypervisor there is a `Site`: its supervisor (a child process) sends messages, its inventory
turns them into rows and changes, its view is handed to the AgentX subagent, its changes become
notifications, its memory goes to the state file. Sites know nothing of each other, so that one
that fails disturbs no other. All of it runs on one thread, that of the loop.

Under systemd (sd_notify.py) the agent is ready when its configuration is loaded and the loop runs:
an snmpd or a hypervisor that is not there is waited for, and the status line says so.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from vmmib import __version__, config, configfile
from vmmib.agentx.address import Address, parse_address
from vmmib.agentx.connection import Capability, CloseReason, Registration, Subagent
from vmmib.config import Config, HypervisorConfig
from vmmib.configfile import ConfigError
from vmmib.hostresources import Order, StorageParents
from vmmib.hypervisor.messages import Message
from vmmib.hypervisor.supervisor import Supervisor
from vmmib.loop import Loop, Timer
from vmmib.mib import notifications, oids
from vmmib.mib.inventory import Inventory, Transition
from vmmib.mib.memory import StateFile
from vmmib.mib.objects import MibView
from vmmib.mib.switches import Switches, SwitchSets
from vmmib.sd_notify import Notifier

if TYPE_CHECKING:
    # At run time where it is needed: prometheus_client is a sixth of the agent's memory
    from vmmib.exporter import Exporter, ExporterView, HypervisorView

DESCRIPTION = f"vmmib {__version__}: virtual machines through libvirt"
CAPABILITY = "RFC 7666 VM-MIB: hypervisor and virtual machines, all objects and notifications"

HEARTBEAT = 1.0
"""Seconds between two signs of life of the loop, for /-/healthy, and between two status lines."""

SITE_ENDS = 10.0
"""Seconds that one hypervisor's end may take: its process, then the disk of its state file."""

MOST_NAMED = 3
"""Hypervisors that the status line names."""

SAVE_DELAY = 1.0
"""Seconds over which changes of the state file are gathered."""

VIEW_SHARE = 10
"""A new view is made at once after a quiet time; in a storm of events it takes at most one part
in so many of the thread's time."""


class StartError(Exception):
    """The agent cannot start; the text is one line that names the remedy."""


class Site:
    """One hypervisor."""

    def __init__(
        self,
        settings: HypervisorConfig,
        defaults: config.NotificationsConfig,
        state_dir: Path | None,
        loop: Loop,
        subagent: Subagent,
        parents: dict[str, int],
    ) -> None:
        self.settings = settings
        self.switches = Switches(per_vm=defaults.per_vm, bulk=defaults.bulk)
        self._state = StateFile(state_dir, settings.name, settings.uri)
        self.inventory = Inventory(self._state.load())
        self._view = MibView(self.inventory, self.switches, parents, settings.object_id)
        self._window = notifications.BulkWindow(settings.context)
        self.bulk_window = defaults.bulk_window
        self._loop = loop
        self._subagent = subagent
        self._log = structlog.get_logger().bind(hypervisor=settings.name)
        self.supervisor = Supervisor(
            loop,
            settings.source_settings(),
            self._on_message,
            lambda line: self._log.warning("source", message=line),
        )
        self._shown = -1
        self._not_before = 0.0
        self._view_timer: Timer | None = None
        self._bulk_timer: Timer | None = None
        self._save_timer: Timer | None = None
        self._saved_layout = self.inventory.layout

    def start(self) -> None:
        """Show what is there, ask for the rest."""
        self._show()
        self.supervisor.start()

    def stop(self) -> None:
        """Leave the hypervisor, announce what waits, keep the state."""
        self.supervisor.stop()
        for timer in (self._view_timer, self._save_timer, self._bulk_timer):
            if timer is not None:
                timer.cancel()
        self._flush_bulk()
        self._state.save(self.inventory.memory)
        self._state.close()

    def _on_message(self, message: Message) -> None:
        # Whatever one hypervisor says, the others are served on
        try:
            self._take(message)
        except Exception:
            self._log.exception("site_failed", message=type(message).__name__)

    def _take(self, message: Message) -> None:
        inventory = self.inventory
        first, silent = inventory.hypervisor is None, not inventory.reachable
        changes = inventory.apply(message)
        if silent and inventory.reachable:
            self._log.info("hypervisor_answers", vms=len(inventory.rows))
        if inventory.version != self._shown and self._view_timer is None:
            when = max(self._loop.time(), self._not_before)
            self._view_timer = self._loop.call_at(when, self._show)
        for change in changes:
            self._announce(change)
        if changes or first or inventory.layout != self._saved_layout:
            self._saved_layout = inventory.layout
            if self._save_timer is None:
                self._save_timer = self._loop.call_later(SAVE_DELAY, self._save)

    def _show(self) -> None:
        self._view_timer = None
        began = self._loop.time()
        self._shown = self.inventory.version
        try:
            self._subagent.set_view(self.settings.context, self._view.view())
        except Exception:  # the last good view stands
            self._log.exception("view_failed")
        ended = self._loop.time()
        self._not_before = ended + VIEW_SHARE * (ended - began)

    def _save(self) -> None:
        self._save_timer = None
        self._state.save(self.inventory.memory)

    def _announce(self, change: Transition) -> None:
        self._log.info(
            "vm_changed",
            vm=change.name,
            index=change.index,
            before=change.before.name.lower(),
            after="deleted" if change.after is None else change.after.name.lower(),
        )
        if self.switches.per_vm:
            notification = notifications.per_vm(self.settings.context, change)
            if notification is not None:
                self._subagent.notify(notification)
        if self.switches.bulk and self._window.add(change) and self._bulk_timer is None:
            self._bulk_timer = self._loop.call_later(self.bulk_window, self._flush_bulk)

    def _flush_bulk(self) -> None:
        self._bulk_timer = None
        for notification in self._window.flush():
            self._subagent.notify(notification)

    def exported(self) -> HypervisorView:
        """What /metrics shows of it; called from the exporter's thread.

        Reads each thing once, in one step that the interpreter does not interrupt.
        """
        from vmmib.exporter import HypervisorView, VmView

        inventory, supervisor = self.inventory, self.supervisor
        now, started = inventory.clock.now(), inventory.started
        return HypervisorView(
            name=self.settings.name,
            uri=self.settings.shown_uri,
            context=self.settings.context,
            up=supervisor.up,
            hypervisor=inventory.hypervisor,
            uptime_seconds=None if started is None else max(0.0, now - started),
            vms=[
                VmView(
                    index=row.index,
                    vm=row.vm,
                    oper=row.oper,
                    admin=row.admin,
                    uptime_seconds=0.0 if row.up_since is None else max(0.0, now - row.up_since),
                )
                for row in list(inventory.rows.values())
            ],
            volumes=[disk for _, disk in inventory.volumes],
            last_refresh=supervisor.last_refresh,
            refresh_seconds=None if supervisor.last_refresh is None else supervisor.refresh_seconds,
            restarts=supervisor.restarts,
            reason=inventory.reason,
        )


class Agent:
    """All sites, the connection to the master and the exporter, under one configuration."""

    def __init__(
        self,
        settings: Config,
        reload: Callable[[], Config] | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        """`reload` reads the configuration again on SIGHUP; it raises ConfigError.

        `notifier`: the way to the service manager; None: there is none. Raises StartError when
        the agent cannot start as configured.
        """
        self._settings = settings
        self._reload = reload
        self._refused = False
        """Whether the last reload was."""
        self._notifier = notifier or Notifier()
        self._log = structlog.get_logger()
        self._loop = Loop()
        self._beat = time.monotonic()
        self._sites: dict[str, Site] = {}
        self._switches: dict[str, Switches] = {}
        self._parents: dict[str, int] = {}
        self._storage_parents: StorageParents | None = None
        self._exporter: Exporter | None = None
        address = parse_address(settings.agentx.socket)
        check_socket(address)
        self._subagent = self._make_subagent(address)
        self._start_web(settings)

    def _make_subagent(self, address: Address) -> Subagent:
        settings = self._settings
        return Subagent(
            self._loop,
            address,
            description=DESCRIPTION,
            agent_id=oids.VM_MIB,
            registrations=_registrations(settings),
            capabilities=_capabilities(settings),
            sets=SwitchSets(self._switches),
            session_timeout=settings.agentx.timeout,
            ping_interval=settings.agentx.ping_interval,
            queue_limit=settings.notifications.queue_limit,
        )

    # Life

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        state_dir = _state_dir(self._settings.state_dir)
        for hypervisor in self._settings.hypervisors:
            self._add_site(hypervisor, state_dir)
        self._start_host_resources(self._settings)
        self._subagent.start()
        self._tick()
        with self._signals():
            self._log.info(
                "started",
                version=__version__,
                hypervisors=[site.settings.shown_uri for site in self._sites.values()],
                contexts=[site.settings.context for site in self._sites.values()],
                agentx=self._settings.agentx.socket,
            )
            self._loop.call_later(0, self._ready)
            self._loop.run()
        self._log.info("stopping")
        self._notifier.stopping("stopping")
        for site in self._sites.values():
            self._notifier.busy(SITE_ENDS)
            site.stop()
        self._subagent.stop(CloseReason.SHUTDOWN)
        if self._storage_parents is not None:
            self._storage_parents.stop()
        if self._exporter is not None:
            self._exporter.stop()
        self._loop.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals become calls on the loop while it runs."""
        wake = self._loop.call_soon_threadsafe
        handlers = {
            signal.SIGTERM: self._loop.stop,
            signal.SIGINT: self._loop.stop,
            signal.SIGHUP: self._on_reload,
        }
        before = {
            number: signal.signal(number, lambda *_, handler=handler: wake(handler))
            for number, handler in handlers.items()
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _tick(self) -> None:
        self._beat = time.monotonic()
        self._loop.call_later(HEARTBEAT, self._tick)
        if self._notifier.enabled:
            self._notifier.status(self._status())

    # The service manager

    def _ready(self) -> None:
        """The loop runs: say so, and go on saying it."""
        self._notifier.ready(self._status())
        self._sign_of_life()

    def _sign_of_life(self) -> None:
        if self._notifier.watchdog_interval is not None:
            self._notifier.alive()
            self._loop.call_later(self._notifier.watchdog_interval, self._sign_of_life)

    def _status(self) -> str:
        return status_line(
            vms=sum(len(site.inventory.rows) for site in self._sites.values()),
            hypervisors=len(self._sites),
            silent=[name for name, site in self._sites.items() if not site.supervisor.up],
            connected=self._subagent.stats.connected,
            refused=self._refused,
        )

    # Hypervisors and the web

    def _add_site(self, hypervisor: HypervisorConfig, state_dir: Path | None) -> None:
        site = Site(
            hypervisor,
            self._settings.notifications,
            state_dir,
            self._loop,
            self._subagent,
            self._parents,
        )
        self._sites[hypervisor.name] = site
        self._switches[hypervisor.context] = site.switches
        site.start()

    def _start_web(self, settings: Config) -> None:
        if settings.web.listen_address is None:
            return
        from vmmib.exporter import Exporter

        exporter = Exporter(settings.web.listen_address, self._exported)
        try:
            exporter.start()
        except OSError as error:
            raise StartError(
                f"cannot listen on {settings.web.listen_address}: {error.strerror or error}; "
                "choose a free port with --web.listen-address"
            ) from None
        self._exporter = exporter

    def _start_host_resources(self, settings: Config) -> None:
        if settings.host_resources is None:
            return
        self._storage_parents = StorageParents(self._loop, _order(settings.host_resources))
        self._storage_parents.indexes = self._parents
        self._storage_parents.start()

    # Reload

    def _on_reload(self) -> None:
        """Take a new configuration; keep the old one when it is no good."""
        if self._reload is None:
            self._log.info("reload_ignored", reason="the agent runs on flags alone")
            return
        self._notifier.reloading()
        try:
            new = self._reload()
            if new.host_resources is not None:
                config.read_credentials(new.host_resources)
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("reload_refused", problem=problem, remedy="the old one stands")
            self._refused = True
        else:
            self._take_settings(new)
            self._refused = False
        self._notifier.ready(self._status())

    def _take_settings(self, new: Config) -> None:
        old, self._settings = self._settings, new
        self._warn_of_unchangeable(old, new)
        self._replace_sites(new)
        self._subagent.update_registrations(_registrations(new), _capabilities(new))
        if new.host_resources != old.host_resources:
            if self._storage_parents is not None:
                self._storage_parents.stop()
                self._storage_parents = None
                self._parents.clear()
            self._start_host_resources(new)
        if new.web != old.web:
            self._replace_web(old, new)
        self._log.info("reloaded", hypervisors=len(new.hypervisors))

    def _replace_sites(self, new: Config) -> None:
        """Stop what went, start what came, leave what stayed as it was."""
        wanted = {hypervisor.name: hypervisor for hypervisor in new.hypervisors}
        for name, site in list(self._sites.items()):
            if wanted.get(name) != site.settings:
                self._notifier.busy(SITE_ENDS)
                site.stop()
                del self._sites[name]
                self._switches.pop(site.settings.context, None)
                self._subagent.drop_view(site.settings.context)
        state_dir = _state_dir(new.state_dir)
        for name, hypervisor in wanted.items():
            if name in self._sites:
                self._sites[name].bulk_window = new.notifications.bulk_window
            else:
                self._add_site(hypervisor, state_dir)

    def _replace_web(self, old: Config, new: Config) -> None:
        if self._exporter is not None:
            self._exporter.stop()
            self._exporter = None
        try:
            self._start_web(new)
        except StartError as error:
            self._log.error("web_not_started", problem=str(error))
            with contextlib.suppress(StartError):
                self._start_web(old)

    def _warn_of_unchangeable(self, old: Config, new: Config) -> None:
        for key in ("agentx", "state_dir"):
            if getattr(old, key) != getattr(new, key):
                self._log.warning("reload_needs_restart", key=key)

    # For the exporter's thread

    def _exported(self) -> ExporterView:
        from vmmib.exporter import AgentStats, ExporterView

        stats = self._subagent.stats
        return ExporterView(
            hypervisors=[site.exported() for site in list(self._sites.values())],
            agent=AgentStats(
                connected=stats.connected,
                requests=stats.requests,
                notifications_sent=stats.notifications_sent,
                notifications_queued=stats.notifications_queued,
                notifications_dropped=stats.notifications_dropped,
                notifications_rejected=stats.notifications_rejected,
                reconnects=stats.reconnects,
            ),
            loop_beat=self._beat,
        )


def status_line(
    *, vms: int, hypervisors: int, silent: Iterable[str], connected: bool, refused: bool
) -> str:
    """What `systemctl status` shows; `silent`: the hypervisors that do not answer, by name."""
    names = list(silent)
    parts = [f"serving {_count(vms, 'VM')} of {_count(hypervisors, 'hypervisor')}"]
    if names:
        more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
        parts.append(f"no answer from {', '.join(names[:MOST_NAMED] + more)}")
    parts.append("snmpd connected" if connected else "snmpd not connected")
    if refused:
        parts.append("the last reload was refused (see the log)")
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _registrations(settings: Config) -> list[Registration]:
    return [
        Registration(row.context, oids.VM_MIB, priority=settings.agentx.priority)
        for row in settings.hypervisors
    ]


def _capabilities(settings: Config) -> list[Capability]:
    return [Capability(row.context, oids.VM_MIB, CAPABILITY) for row in settings.hypervisors]


def _order(settings: config.HostResourcesConfig) -> Order:
    found = config.read_credentials(settings)
    host, port = configfile.split_host_port(settings.address)

    def secret(value: object) -> str:
        return "" if value is None else str(value.get_secret_value())  # type: ignore[attr-defined]

    return Order(
        host=host,
        port=port,
        version=settings.version,
        community=secret(found.community),
        user=found.user or "",
        auth_protocol=found.auth_protocol or "",
        auth_passphrase=secret(found.auth_passphrase),
        priv_protocol=found.priv_protocol or "",
        priv_passphrase=secret(found.priv_passphrase),
        context=found.context,
    )


def _state_dir(path: Path) -> Path | None:
    """The directory, made if need be; None, with a line in the log, when it cannot be used."""
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        structlog.get_logger().warning(
            "state_dir_unusable",
            path=str(path),
            error=error.strerror,
            remedy="indexes are kept until the agent stops, not longer; name another --state-dir",
        )
        return None
    return path


def check_socket(address: Address) -> None:
    """Raise StartError when the master's socket is there and closed to us.

    A master that is not there yet is waited for; one that may never be entered is not.
    """
    if address.path is None:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except PermissionError:
            raise StartError(
                f"{address.path}: no permission to connect to the AgentX socket; run as root, or "
                'put "agentXPerms 0660 0755 root GROUP" into snmpd.conf with a group of this user, '
                f"and open {Path(address.path).parent} to it, which keeps the mode that it has"
            ) from None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise StartError(f"{address.path}: the socket's path is too long") from None


def run(settings: Config, reload: Callable[[], Config] | None = None) -> int:
    """Run the agent until it is told to stop; return the exit code.

    Raises StartError or ConfigError when it cannot start as configured.
    """
    if settings.host_resources is not None:
        config.read_credentials(settings.host_resources)
    Agent(settings, reload, Notifier.from_environment()).run()
    return 0
