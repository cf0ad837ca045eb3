"""The Prometheus bridge: the model that SNMP sees, as /metrics.

    /metrics     everything below, in the text format or OpenMetrics, gzip where it is accepted
    /-/healthy   200 while the agent's loop turns
    /-/ready     200 when AgentX is connected and every hypervisor was read or found unreachable
    /            what there is

Theory of operation
    A scrape reads one `ExporterView`, which the agent gives without asking anybody: a slow
    hypervisor never slows a scrape down. Collectors yield metric families whose samples are
    generated while they are written, and the writing naps every `BREATH` samples: the serving of
    SNMP shares the interpreter with it and would otherwise wait 5 ms for each of its steps
    (docs/performance.md has the figures).

Rules
- The identity of a VM is its UUID, within its hypervisor: labels `hypervisor` and `uuid`. Names
  change and are in `vmmib_vm_info` alone.
- What the source cannot tell is left out; it is never shown as 0.
- While a hypervisor is unreachable its VMs stay, with the state unknown, and their last counters
  are left out: a flat line would be a lie.
- A label set appears once, whatever the hypervisor says: a duplicate would void the whole scrape.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.server
import itertools
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from vmmib import __version__
from vmmib.configfile import split_host_port
from vmmib.hypervisor.model import AdminState, Cpu, Disk, Hypervisor, Nic, OperState, Vm

MAX_CONNECTIONS = 8
"""At once; more are told to come back. Prometheus, its pair and a curious operator take three."""

CLIENT_TIMEOUT = 10.0
"""Seconds that a client may stay silent."""

CONNECTION_LIMIT = 60.0
"""Seconds that one request and its answer may take."""

HEARTBEAT_LIMIT = 15.0
"""Seconds without a turn of the agent's loop after which it is not healthy."""

BREATH = 32
"""Samples written between two naps: some 0.1 ms of work."""

NAP = 20e-6
"""Seconds asked for; the kernel makes some 75e-6 of it."""


# What the agent gives


@dataclass(frozen=True, slots=True)
class VmView:
    """One VM as VM-MIB shows it."""

    index: int
    """Its vmIndex."""
    vm: Vm
    """As the source last described it."""
    oper: OperState
    """Its vmOperState: unknown when the hypervisor does not answer."""
    admin: AdminState
    uptime_seconds: float | None
    """Its vmUpTime."""


@dataclass(frozen=True)
class HypervisorView:
    """One hypervisor at the time of a scrape."""

    name: str
    uri: str
    """Without credentials."""
    context: str
    """SNMP context."""
    up: bool = False
    hypervisor: Hypervisor | None = None
    """As last read."""
    uptime_seconds: float | None = None
    """Its vmHvUpTime."""
    vms: Sequence[VmView] = ()
    volumes: Sequence[Disk] = ()
    """Of storage pools, those that no VM uses."""
    last_refresh: float | None = None
    """When the last complete refresh ended, in seconds since the epoch."""
    refresh_seconds: float | None = None
    """What it took."""
    restarts: int = 0
    """Of the child process."""
    reason: str = ""
    """Why it is not up; "" as long as nothing is known."""


@dataclass(frozen=True)
class AgentStats:
    """The agent's own figures; all but `connected` and `notifications_queued` only grow."""

    connected: bool
    requests: int = 0
    """AgentX requests answered."""
    notifications_sent: int = 0
    """Confirmed by the master."""
    notifications_queued: int = 0
    """Waiting now."""
    notifications_dropped: int = 0
    """Lost because the queue was full."""
    notifications_rejected: int = 0
    """Answered with an error by the master."""
    reconnects: int = 0
    """Sessions with the master that were opened after the first one."""


@dataclass(frozen=True)
class ExporterView:
    """What a scrape reads."""

    hypervisors: Sequence[HypervisorView]
    agent: AgentStats
    loop_beat: float
    """The `time.monotonic()` of the last turn of the agent's loop."""


_NOT_TOLD = frozenset({"", "not started", "starting"})
"""Reasons for not being up that tell nothing of the hypervisor."""


def not_ready(view: ExporterView) -> list[str]:
    """Return what is missing before the agent can be relied on, one line each."""
    missing = [] if view.agent.connected else ["AgentX: not connected to the master agent"]
    missing += [
        f"{hypervisor.name}: not read yet"
        for hypervisor in view.hypervisors
        if hypervisor.last_refresh is None and hypervisor.reason in _NOT_TOLD
    ]
    return missing


# Families


class Labels(dict[str, str]):
    """Labels, with the text that they are written as: made once, written for many samples."""

    __slots__ = ("text",)

    def __init__(self, labels: Mapping[str, str], text: str | None = None) -> None:
        super().__init__(labels)
        self.text = _label_text(labels) if text is None else text

    def plus(self, **more: str) -> Labels:
        """Return these labels and some more."""
        text = _label_text(more)
        return Labels({**self, **more}, f"{self.text},{text}" if self.text else text)


_Value = tuple[Labels, float | None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Family:
    """What prometheus_client's Metric is, with samples that are made when they are written."""

    name: str
    documentation: str
    type: str
    samples: Iterator[Sample]
    unit: str = ""


def _family(name: str, kind: str, help_text: str, values: Iterable[_Value]) -> Metric:
    """Return a family; values that are None are left out."""

    def samples() -> Iterator[Sample]:
        for number, (labels, value) in enumerate(values):
            if number % BREATH == BREATH - 1:
                time.sleep(NAP)
            if value is not None:
                yield Sample(name, labels, value)

    stem = name.removesuffix("_total") if kind == "counter" else name
    return cast(Metric, _Family(stem, help_text, kind, samples()))


@dataclass(frozen=True, slots=True)
class _Machine:
    """A VM with its labels, made once a scrape."""

    labels: Labels
    row: VmView
    vm: Vm
    live: bool
    """The hypervisor answers: its counters are current."""
    cpus: tuple[tuple[Labels, Cpu], ...]
    disks: tuple[tuple[Labels, Disk], ...]
    nics: tuple[tuple[Labels, Nic], ...]


def _label_text(labels: Mapping[str, str]) -> str:
    return ",".join(
        '{}="{}"'.format(name, value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\""))
        for name, value in labels.items()
    )


def encode(families: Iterable[Metric], *, open_metrics: bool) -> bytes:
    """Write families of gauges and counters in the text format, or as OpenMetrics.

    What prometheus_client's own encoders write, in some 0.3 of their time: they put the labels of
    each sample together anew.
    """
    out: list[str] = []
    for family in families:
        name = family.name
        if family.type == "counter" and not open_metrics:
            name += "_total"
        text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        out.append(f"# HELP {name} {text}\n# TYPE {name} {family.type}\n")
        for sample in family.samples:
            labels = sample.labels
            written = labels.text if isinstance(labels, Labels) else _label_text(labels)
            out.append(
                f"{sample.name}{{{written}}} {sample.value}\n"
                if written
                else f"{sample.name} {sample.value}\n"
            )
    if open_metrics:
        out.append("# EOF\n")
    return "".join(out).encode()


def _text(value: str) -> str:
    """Return what UTF-8 can carry: undecodable names arrive as lone surrogates."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _machines(hypervisors: Sequence[HypervisorView]) -> list[_Machine]:
    machines = []
    for hypervisor in hypervisors:
        seen: set[str] = set()
        for row in hypervisor.vms:
            vm = row.vm
            uuid = str(UUID(bytes=vm.uuid)) if len(vm.uuid) == 16 else _text(vm.key)
            if uuid in seen:
                continue
            seen.add(uuid)
            labels = Labels({"hypervisor": hypervisor.name, "uuid": uuid})
            machines.append(
                _Machine(
                    labels,
                    row,
                    vm,
                    hypervisor.up,
                    tuple(_once(labels, "vcpu", ((str(cpu.number), cpu) for cpu in vm.cpus))),
                    tuple(_once(labels, "device", ((_text(d.target), d) for d in vm.disks))),
                    tuple(_once(labels, "mac", ((n.mac.hex(":"), n) for n in vm.nics))),
                )
            )
    return machines


def _once(
    labels: Labels, label: str, pairs: Iterable[tuple[str, _T]]
) -> Iterator[tuple[Labels, _T]]:
    """Give each thing its labels; of equal ones the later get a number, as in vmStorageTable."""
    seen: set[str] = set()
    for name, thing in pairs:
        shown, count = name, 1
        while shown in seen:
            count += 1
            shown = f"{name}#{count}"
        seen.add(shown)
        yield labels.plus(**{label: shown}), thing


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1_000_000


def _info(machine: _Machine) -> Iterator[_Value]:
    vm = machine.vm
    yield (
        machine.labels.plus(
            name=_text(vm.name),
            vm_index=str(machine.row.index),
            os_type=_text(vm.os_type),
            autostart=vm.autostart.name.lower(),
            persistent=vm.persistent.name.lower(),
        ),
        1,
    )


_STATES = tuple((state, state.name.lower()) for state in OperState)


def _state(machine: _Machine) -> Iterator[_Value]:
    oper, labels = machine.row.oper, machine.labels
    for state, name in _STATES:
        yield labels.plus(state=name), 1 if state is oper else 0


def _of_vm(read: Callable[[Vm], float | None]) -> Callable[[_Machine], Iterable[_Value]]:
    return lambda machine: ((machine.labels, read(machine.vm)),)


def _live(read: Callable[[Vm], float | None]) -> Callable[[_Machine], Iterable[_Value]]:
    return lambda machine: ((machine.labels, read(machine.vm)),) if machine.live else ()


def _disk(read: Callable[[Disk], float | None]) -> Callable[[_Machine], Iterable[_Value]]:
    return lambda machine: (
        [(labels, read(disk)) for labels, disk in machine.disks] if machine.live else ()
    )


def _nic(read: Callable[[Nic], float | None]) -> Callable[[_Machine], Iterable[_Value]]:
    return lambda machine: (
        [(labels, read(nic)) for labels, nic in machine.nics] if machine.live else ()
    )


_PER_VM: tuple[tuple[str, str, str, Callable[[_Machine], Iterable[_Value]]], ...] = (
    (
        "vmmib_vm_info",
        "gauge",
        "What a virtual machine is: its name, its vmIndex, its settings; always 1.",
        _info,
    ),
    ("vmmib_vm_state", "gauge", "vmOperState as a state set: 1 for the state it is in.", _state),
    (
        "vmmib_vm_uptime_seconds",
        "gauge",
        "Time since the virtual machine went from shutdown to running (vmUpTime).",
        lambda machine: ((machine.labels, machine.row.uptime_seconds),),
    ),
    ("vmmib_vm_vcpus", "gauge", "Virtual CPUs now.", _of_vm(lambda vm: vm.cpu_current)),
    ("vmmib_vm_vcpus_max", "gauge", "Most virtual CPUs.", _of_vm(lambda vm: vm.cpu_max)),
    (
        "vmmib_vm_cpu_seconds_total",
        "counter",
        "CPU time that the virtual machine used.",
        _live(lambda vm: _seconds(vm.cpu_time_us)),
    ),
    (
        "vmmib_vm_vcpu_seconds_total",
        "counter",
        "CPU time that each virtual CPU used.",
        lambda machine: (
            [(labels, _seconds(cpu.time_us)) for labels, cpu in machine.cpus]
            if machine.live
            else ()
        ),
    ),
    ("vmmib_vm_memory_bytes", "gauge", "Memory now.", _live(lambda vm: vm.memory_current)),
    ("vmmib_vm_memory_max_bytes", "gauge", "Most memory.", _of_vm(lambda vm: vm.memory_max)),
    ("vmmib_vm_memory_min_bytes", "gauge", "Least memory.", _of_vm(lambda vm: vm.memory_min)),
    (
        "vmmib_vm_disk_info",
        "gauge",
        "What a disk, CD-ROM or floppy is; always 1.",
        lambda machine: [
            (
                labels.plus(
                    source=_text(disk.resource),
                    format=_text(disk.format),
                    bus=_text(disk.bus),
                    media=disk.media.name.lower(),
                    access=disk.access.name.lower(),
                ),
                1,
            )
            for labels, disk in machine.disks
        ],
    ),
    ("vmmib_vm_disk_capacity_bytes", "gauge", "Size seen.", _disk(lambda disk: disk.capacity)),
    (
        "vmmib_vm_disk_allocated_bytes",
        "gauge",
        "Size occupied on the host.",
        _disk(lambda disk: disk.allocation),
    ),
    (
        "vmmib_vm_disk_reads_completed_total",
        "counter",
        "Read requests.",
        _disk(lambda disk: disk.read_ops),
    ),
    (
        "vmmib_vm_disk_writes_completed_total",
        "counter",
        "Write requests.",
        _disk(lambda disk: disk.write_ops),
    ),
    (
        "vmmib_vm_disk_read_bytes_total",
        "counter",
        "Bytes read.",
        _disk(lambda disk: disk.read_octets),
    ),
    (
        "vmmib_vm_disk_written_bytes_total",
        "counter",
        "Bytes written.",
        _disk(lambda disk: disk.write_octets),
    ),
    (
        "vmmib_vm_disk_read_time_seconds_total",
        "counter",
        "Time that reads took.",
        _disk(lambda disk: _seconds(disk.read_latency_us)),
    ),
    (
        "vmmib_vm_disk_write_time_seconds_total",
        "counter",
        "Time that writes took.",
        _disk(lambda disk: _seconds(disk.write_latency_us)),
    ),
    (
        "vmmib_vm_network_info",
        "gauge",
        "What a network interface is, and its end on the host; always 1.",
        lambda machine: [
            (
                labels.plus(
                    device=_text(nic.target),
                    model=_text(nic.model),
                    if_index=str(nic.if_index),
                    parent_if_index=str(nic.parent_if_index),
                ),
                1,
            )
            for labels, nic in machine.nics
        ],
    ),
    (
        "vmmib_vm_network_receive_bytes_total",
        "counter",
        "Bytes that the virtual machine received.",
        _nic(lambda nic: nic.rx_octets),
    ),
    (
        "vmmib_vm_network_transmit_bytes_total",
        "counter",
        "Bytes that the virtual machine sent.",
        _nic(lambda nic: nic.tx_octets),
    ),
    (
        "vmmib_vm_network_receive_packets_total",
        "counter",
        "Packets that the virtual machine received.",
        _nic(lambda nic: nic.rx_packets),
    ),
    (
        "vmmib_vm_network_transmit_packets_total",
        "counter",
        "Packets that the virtual machine sent.",
        _nic(lambda nic: nic.tx_packets),
    ),
    (
        "vmmib_vm_network_receive_errors_total",
        "counter",
        "Receive errors.",
        _nic(lambda nic: nic.rx_errors),
    ),
    (
        "vmmib_vm_network_transmit_errors_total",
        "counter",
        "Transmit errors.",
        _nic(lambda nic: nic.tx_errors),
    ),
    (
        "vmmib_vm_network_receive_dropped_total",
        "counter",
        "Packets dropped on receipt.",
        _nic(lambda nic: nic.rx_drops),
    ),
    (
        "vmmib_vm_network_transmit_dropped_total",
        "counter",
        "Packets dropped on sending.",
        _nic(lambda nic: nic.tx_drops),
    ),
)


def _hypervisor_info(view: HypervisorView) -> dict[str, str]:
    known = view.hypervisor
    return {
        "uri": _text(view.uri),
        "context": _text(view.context),
        "driver": _text(known.driver) if known else "",
        "software": _text(known.software) if known else "",
        "version": _text(known.version) if known else "",
        "hostname": _text(known.hostname) if known else "",
    }


_PER_HYPERVISOR: tuple[tuple[str, str, str, Callable[[HypervisorView], float | None]], ...] = (
    (
        "vmmib_hypervisor_up",
        "gauge",
        "1 while the hypervisor answers.",
        lambda view: int(view.up),
    ),
    (
        "vmmib_hypervisor_uptime_seconds",
        "gauge",
        "Time since the hypervisor was initialised (vmHvUpTime).",
        lambda view: view.uptime_seconds,
    ),
    (
        "vmmib_hypervisor_cpus",
        "gauge",
        "Physical CPUs that virtual CPUs can be placed on.",
        lambda view: view.hypervisor.cpu_count if view.hypervisor else None,
    ),
    (
        "vmmib_hypervisor_vms",
        "gauge",
        "Virtual machines that are defined (vmNumber).",
        lambda view: None if view.hypervisor is None else len(view.vms),
    ),
    (
        "vmmib_refresh_last_timestamp_seconds",
        "gauge",
        "When the last complete refresh ended, in seconds since the epoch.",
        lambda view: view.last_refresh,
    ),
    (
        "vmmib_refresh_duration_seconds",
        "gauge",
        "What the last complete refresh took.",
        lambda view: view.refresh_seconds,
    ),
    (
        "vmmib_source_restarts_total",
        "counter",
        "Restarts of the process that asks the hypervisor.",
        lambda view: view.restarts,
    ),
)

_OF_AGENT: tuple[tuple[str, str, str, Callable[[AgentStats], float]], ...] = (
    (
        "vmmib_agentx_connected",
        "gauge",
        "1 while there is a session with the master agent.",
        lambda agent: int(agent.connected),
    ),
    (
        "vmmib_agentx_reconnects_total",
        "counter",
        "Sessions opened with the master agent after the first one.",
        lambda agent: agent.reconnects,
    ),
    (
        "vmmib_agentx_requests_total",
        "counter",
        "AgentX requests answered.",
        lambda agent: agent.requests,
    ),
    (
        "vmmib_notifications_sent_total",
        "counter",
        "Notifications that the master agent confirmed.",
        lambda agent: agent.notifications_sent,
    ),
    (
        "vmmib_notifications_queued",
        "gauge",
        "Notifications that wait for the master agent.",
        lambda agent: agent.notifications_queued,
    ),
    (
        "vmmib_notifications_dropped_total",
        "counter",
        "Notifications lost because the queue was full.",
        lambda agent: agent.notifications_dropped,
    ),
    (
        "vmmib_notifications_rejected_total",
        "counter",
        "Notifications that the master agent answered with an error.",
        lambda agent: agent.notifications_rejected,
    ),
)


class AgentCollector(Collector):
    """Everything that the agent knows, as prometheus_client wants it."""

    def __init__(self, read: Callable[[], ExporterView]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the families; each can be written once."""
        view = self._read()
        version = Labels({"version": __version__})
        yield _family("vmmib_build_info", "gauge", "Always 1.", [(version, 1)])
        for name, kind, text, agent_value in _OF_AGENT:
            yield _family(name, kind, text, [(Labels({}), agent_value(view.agent))])
        named = [(Labels({"hypervisor": one.name}), one) for one in view.hypervisors]
        yield _family(
            "vmmib_hypervisor_info",
            "gauge",
            "What a hypervisor is; always 1.",
            [(labels.plus(**_hypervisor_info(one)), 1) for labels, one in named],
        )
        for name, kind, text, value in _PER_HYPERVISOR:
            yield _family(name, kind, text, [(labels, value(one)) for labels, one in named])
        yield from _volumes(view.hypervisors)
        machines = _machines(view.hypervisors)
        for name, kind, text, values in _PER_VM:
            yield _family(name, kind, text, itertools.chain.from_iterable(map(values, machines)))


def _volumes(hypervisors: Sequence[HypervisorView]) -> Iterator[Metric]:
    """Volumes of storage pools that no VM uses."""
    labelled = [
        pair
        for one in hypervisors
        if one.up
        for pair in _once(
            Labels({"hypervisor": one.name}), "volume", ((_text(v.target), v) for v in one.volumes)
        )
    ]
    yield _family(
        "vmmib_volume_capacity_bytes",
        "gauge",
        "Size of a storage volume that no virtual machine uses.",
        [(labels, volume.capacity) for labels, volume in labelled],
    )
    yield _family(
        "vmmib_volume_allocated_bytes",
        "gauge",
        "Size on the host of a storage volume that no virtual machine uses.",
        [(labels, volume.allocation) for labels, volume in labelled],
    )


# The server

_INDEX = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>vmmib</title></head>
<body><h1>vmmib</h1><ul>
<li><a href="/metrics">/metrics</a></li>
<li><a href="/-/healthy">/-/healthy</a></li>
<li><a href="/-/ready">/-/ready</a></li>
</ul></body></html>
"""


class Exporter:
    """The HTTP server, on threads of its own.

    `read` is called from those threads: it must not block, and only read.
    """

    def __init__(self, listen_address: str, read: Callable[[], ExporterView]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(AgentCollector(read))
        self.registry.register(ProcessCollector(registry=None))
        self._read = read
        self._listen_address = listen_address
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._scrape = threading.Lock()

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before `start`."""
        return 0 if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Listen and serve from now on; raise OSError when the address cannot be had."""
        self._server = _listen(self._listen_address, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="exporter", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port; scrapes under way end by themselves. A no-op when not started."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    def answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Return status, content type and body for a path without its query."""
        plain = "text/plain; charset=utf-8"
        if path == "/metrics":
            _, content_type = choose_encoder(accept)
            open_metrics = content_type.startswith("application/openmetrics-text")
            with self._scrape:  # two scrapes at once would only slow one another down
                return 200, content_type, encode(self.registry.collect(), open_metrics=open_metrics)
        if path == "/-/healthy":
            silent = time.monotonic() - self._read().loop_beat
            if silent > HEARTBEAT_LIMIT:
                return 503, plain, f"the agent's loop stands since {silent:.0f} s\n".encode()
            return 200, plain, b"healthy\n"
        if path == "/-/ready":
            missing = not_ready(self._read())
            if missing:
                return 503, plain, "".join(f"{line}\n" for line in missing).encode()
            return 200, plain, b"ready\n"
        if path == "/":
            return 200, "text/html; charset=utf-8", _INDEX
        return 404, plain, b"not found; try /metrics\n"


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True  # a restart must not wait for old connections' TIME_WAIT
    request_queue_size = 64

    def __init__(self, family: int, address: Any, exporter: Exporter) -> None:
        self.address_family = family
        self.exporter = exporter
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            only6 = self.server_address[0] != "::"
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only6)
        # Not HTTPServer's, which looks the host's name up in the DNS
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "vmmib", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return self.socket.accept()
        except OSError:
            # Out of descriptors: the connection still waits, and would be tried again at once
            time.sleep(0.1)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.settimeout(0)
                request.send(b"HTTP/1.0 503 Too many connections\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # One octet every nine seconds must not hold a connection for ever
        limit = threading.Timer(CONNECTION_LIMIT, _shut_down, [request])
        limit.daemon = True
        limit.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        if isinstance(sys.exception(), OSError):
            return  # the client went away
        structlog.get_logger().error("scrape_failed", exc_info=True)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version = f"vmmib/{__version__}"
    sys_version = ""
    timeout = CLIENT_TIMEOUT

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        try:
            status, content_type, body = self.server.exporter.answer(
                path, self.headers.get("Accept", "")
            )
        except Exception:
            structlog.get_logger().exception("scrape_failed", path=path)
            status, content_type, body = 500, "text/plain; charset=utf-8", b"see the agent's log\n"
        squeeze = len(body) > 1400 and "gzip" in self.headers.get("Accept-Encoding", "")
        if squeeze:
            body = gzip.compress(body, compresslevel=1)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if squeeze:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Scrapes are no news."""


def _listen(listen_address: str, exporter: Exporter) -> _Server:
    """Bind; raise OSError."""
    host, port = split_host_port(listen_address)
    if host:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # Of a name's addresses IPv4 comes first, as in every other exporter
        found.sort(key=lambda one: one[0] != socket.AF_INET)
        return _Server(found[0][0], found[0][4], exporter)
    try:
        return _Server(socket.AF_INET6, ("::", port), exporter)  # serves IPv4 as well
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            raise
        return _Server(socket.AF_INET, ("0.0.0.0", port), exporter)  # noqa: S104 - as asked for
