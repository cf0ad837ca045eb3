"""What the hypervisors report, read once from libvirt: a table for people, JSON for programs.

The keys of the JSON (`vmmib show --json`) are the names below and stay as they are; new ones may
come. Units are in the names, enumerations are the labels of VM-MIB, what the hypervisor cannot
tell is null.

    {"hypervisors": [{
        "name", "uri", "context",
        "reachable": true or false, "error": null or one line,
        "driver", "software", "version", "object_id", "hostname", "started", "cpu_count",
        "vms": [{"uuid", "name", "os_type", "oper_state", "admin_state", "auto_start",
                 "persistent", "cpu_current", "cpu_min", "cpu_max", "cpu_time_us",
                 "memory_current_octets", "memory_min_octets", "memory_max_octets", "started",
                 "cpus": [{"number", "time_us", "affinity"}],
                 "disks": [DISK], "nics": [{"mac", "target", "model", "if_index",
                 "parent_if_index", "rx_octets", "tx_octets", ...}]}],
        "volumes": [DISK]}]}

DISK is {"target", "source_type", "format", "resource", "access", "media", "bus",
"capacity_octets", "allocation_octets", "read_ops", "write_ops", "read_octets", "write_octets",
"read_latency_us", "write_latency_us"}; "affinity" lists the physical CPUs that the virtual one may
run on; "started" is seconds since the epoch.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from vmmib.config import Config, HypervisorConfig
from vmmib.hypervisor.model import Affinity, Cpu, Disk, Hypervisor, Nic, Vm
from vmmib.hypervisor.source import SourceError
from vmmib.hypervisor.supervisor import snapshot

if TYPE_CHECKING:
    from rich.console import Console

AT_ONCE = 8
"""Hypervisors that are asked at the same time."""


@dataclass(frozen=True)
class Report:
    """One hypervisor's answer, or why there is none."""

    config: HypervisorConfig
    error: str = ""
    hypervisor: Hypervisor | None = None
    vms: tuple[Vm, ...] = ()
    volumes: tuple[Disk, ...] = ()


def show(config: Config, *, as_json: bool, timeout: float) -> list[str]:
    """Print what each hypervisor reports; return a line for each that could not be read.

    `timeout`: seconds for each of them.
    """
    reports = _ask_all(config.hypervisors, timeout)
    if as_json:
        json.dump({"hypervisors": [as_data(one) for one in reports]}, sys.stdout, indent=2)
        print()
    else:
        _print_tables(reports)
    return [one.error for one in reports if one.error]


def _ask_all(hypervisors: Sequence[HypervisorConfig], timeout: float) -> list[Report]:
    """Ask some at a time. The threads are daemons, so that Ctrl-C need not wait for answers."""
    slots = threading.BoundedSemaphore(AT_ONCE)

    def fulfil(promise: Future[Report], hypervisor: HypervisorConfig) -> None:
        with slots:
            try:
                promise.set_result(_ask(hypervisor, timeout))
            except BaseException as error:  # raised again by result()
                promise.set_exception(error)

    promises: list[Future[Report]] = []
    for hypervisor in hypervisors:
        promise: Future[Report] = Future()
        promises.append(promise)
        threading.Thread(target=fulfil, args=(promise, hypervisor), daemon=True).start()
    return [promise.result() for promise in promises]


def _ask(hypervisor: HypervisorConfig, timeout: float) -> Report:
    try:
        found, vms, volumes = snapshot(hypervisor.source_settings(), timeout)
    except SourceError as error:
        return Report(hypervisor, error=str(error))
    return Report(hypervisor, "", found, tuple(sorted(vms, key=lambda vm: vm.name)), volumes)


# JSON


def as_data(report: Report) -> dict[str, Any]:
    """Return a report in the form that is documented above."""
    known = report.hypervisor
    return {
        "name": report.config.name,
        "uri": report.config.shown_uri,
        "context": report.config.context,
        "reachable": not report.error,
        "error": report.error or None,
        "driver": known and known.driver,
        "software": known and known.software,
        "version": known and known.version,
        "object_id": report.config.object_id or (known and known.object_id),
        "hostname": known and known.hostname,
        "started": known and known.started,
        "cpu_count": known and known.cpu_count,
        "vms": [_vm_data(vm) for vm in report.vms],
        "volumes": [_disk_data(volume) for volume in report.volumes],
    }


def _vm_data(vm: Vm) -> dict[str, Any]:
    return {
        "uuid": str(UUID(bytes=vm.uuid)) if len(vm.uuid) == 16 else None,
        "name": vm.name,
        "os_type": vm.os_type,
        "oper_state": vm.oper.name.lower(),
        "admin_state": None if vm.admin is None else vm.admin.name.lower(),
        "auto_start": vm.autostart.name.lower(),
        "persistent": vm.persistent.name.lower(),
        "cpu_current": vm.cpu_current,
        "cpu_min": vm.cpu_min,
        "cpu_max": vm.cpu_max,
        "cpu_time_us": vm.cpu_time_us,
        "memory_current_octets": vm.memory_current,
        "memory_min_octets": vm.memory_min,
        "memory_max_octets": vm.memory_max,
        "started": vm.started,
        "cpus": [_cpu_data(cpu) for cpu in vm.cpus],
        "disks": [_disk_data(disk) for disk in vm.disks],
        "nics": [_nic_data(nic) for nic in vm.nics],
    }


def _cpu_data(cpu: Cpu) -> dict[str, Any]:
    allowed = [number for number, value in enumerate(cpu.affinity) if value == Affinity.ENABLE]
    return {
        "number": cpu.number,
        "time_us": cpu.time_us,
        "affinity": allowed if cpu.affinity else None,
    }


def _disk_data(disk: Disk) -> dict[str, Any]:
    return {
        "target": disk.target,
        "source_type": disk.source_type.name.lower(),
        "format": disk.format,
        "resource": disk.resource,
        "access": disk.access.name.lower(),
        "media": disk.media.name.lower(),
        "bus": disk.bus,
        "capacity_octets": disk.capacity,
        "allocation_octets": disk.allocation,
        "read_ops": disk.read_ops,
        "write_ops": disk.write_ops,
        "read_octets": disk.read_octets,
        "write_octets": disk.write_octets,
        "read_latency_us": disk.read_latency_us,
        "write_latency_us": disk.write_latency_us,
    }


def _nic_data(nic: Nic) -> dict[str, Any]:
    return {
        "mac": nic.mac.hex(":") or None,
        "target": nic.target or None,
        "model": nic.model,
        "if_index": nic.if_index,
        "parent_if_index": nic.parent_if_index,
        "rx_octets": nic.rx_octets,
        "tx_octets": nic.tx_octets,
        "rx_packets": nic.rx_packets,
        "tx_packets": nic.tx_packets,
        "rx_errors": nic.rx_errors,
        "tx_errors": nic.tx_errors,
        "rx_drops": nic.rx_drops,
        "tx_drops": nic.tx_drops,
    }


# Tables


def _print_tables(reports: list[Report]) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and not for --json

    # A pipe has no width: give it as much as the longest row may want
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    for number, report in enumerate(reports):
        if number:
            console.print()
        _print_table(console, report)


def _print_table(console: Console, report: Report) -> None:
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415

    context = f', SNMP context "{report.config.context}"' if report.config.context else ""
    console.print(Text(f"{report.config.name}: {report.config.shown_uri}{context}", style="bold"))
    known = report.hypervisor
    if known is None:
        console.print(Text("  could not be read", style="red"))
        return
    since = f", up since {_when(known.started)}" if known.started is not None else ""
    console.print(
        Text(
            f"  {known.software} {known.version} on {known.hostname}, {known.cpu_count} CPUs{since}"
        )
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("NAME", "UUID", "STATE", "ADMIN"):
        table.add_column(heading, no_wrap=True)
    for heading in ("CPUS", "CPU TIME", "MEMORY", "MAX", "DISKS", "NICS"):
        table.add_column(heading, justify="right", no_wrap=True)
    for vm in report.vms:
        cells = (
            _printable(vm.name),
            str(UUID(bytes=vm.uuid)) if len(vm.uuid) == 16 else "-",
            vm.oper.name.lower(),
            "-" if vm.admin is None else vm.admin.name.lower(),
            str(vm.cpu_current),
            "-" if vm.cpu_time_us is None else f"{vm.cpu_time_us / 1e6:.1f} s",
            _size(vm.memory_current),
            _size(vm.memory_max),
            str(len(vm.disks)),
            str(len(vm.nics)),
        )
        table.add_row(*(Text(cell) for cell in cells))
    if report.vms:
        console.print(table)
    unused = len(report.volumes)
    volumes = f", {unused} volume{'' if unused == 1 else 's'} of no machine" if unused else ""
    count = len(report.vms)
    console.print(Text(f"  {count} machine{'' if count == 1 else 's'}{volumes}"))


def _printable(text: str) -> str:
    """Return a stranger's text as it may go to a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _when(seconds: float) -> str:
    try:
        return dt.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):
        return "?"


def _size(octets: int | None) -> str:
    if octets is None:
        return "-"
    size, unit = float(octets), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if size < 1024:
            break
        size, unit = size / 1024, bigger
    return f"{size:.4g} {unit}"
