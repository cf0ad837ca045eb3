"""The Prometheus bridge: what it says of a model, in which words, and how its server behaves."""

from __future__ import annotations

import gzip
import http.client
import math
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from vmmib import exporter
from vmmib.exporter import AgentStats, Exporter, ExporterView, HypervisorView, VmView
from vmmib.hypervisor.model import (
    Access,
    AdminState,
    AutoStart,
    Cpu,
    Disk,
    Hypervisor,
    MediaType,
    Nic,
    OperState,
    Persistent,
    SourceType,
    Vm,
)

UUID = "00112233-4455-6677-8899-aabbccddeeff"

DISK = Disk(
    target="vda",
    source_type=SourceType.SPARSE,
    format="qcow2",
    resource="/images/web.qcow2",
    access=Access.READWRITE,
    media=MediaType.HARD_DISK,
    bus="virtio",
    capacity=10_000,
    allocation=4_000,
    read_ops=1,
    write_ops=2,
    read_octets=3,
    write_octets=4,
    read_latency_us=5_000_000,
    write_latency_us=6_500_000,
)
NIC = Nic(bytes.fromhex("525400000001"), "vnet0", "virtio", 7, 3, 11, 12, 13, 14, 15, 16, 17, 18)
VM = Vm(
    key=UUID.replace("-", ""),
    uuid=bytes.fromhex(UUID.replace("-", "")),
    name="web",
    os_type="hvm",
    oper=OperState.RUNNING,
    admin=AdminState.RUNNING,
    autostart=AutoStart.ENABLED,
    persistent=Persistent.PERSISTENT,
    cpu_current=2,
    cpu_min=None,
    cpu_max=4,
    memory_current=1024,
    memory_min=None,
    memory_max=2048,
    cpu_time_us=2_500_000,
    cpus=(Cpu(0, 1_500_000), Cpu(1, None)),
    disks=(DISK,),
    nics=(NIC,),
)
HYPERVISOR = Hypervisor("QEMU", "QEMU", "7.2.0", "1.3.6.1.4.1.2312", "host1", 1000.0, 8)


def row(vm: Vm = VM, index: int = 1) -> VmView:
    return VmView(index, vm, vm.oper, AdminState.RUNNING, 33.5)


def hypervisor_view(**changes: Any) -> HypervisorView:
    view = HypervisorView(
        name="local",
        uri="qemu:///system",
        context="",
        up=True,
        hypervisor=HYPERVISOR,
        uptime_seconds=77.0,
        vms=(row(),),
        last_refresh=1_700_000_000.5,
        refresh_seconds=0.25,
        restarts=2,
    )
    return replace(view, **changes)


def whole(*hypervisors: HypervisorView, **changes: Any) -> ExporterView:
    stats = AgentStats(
        connected=True,
        requests=5,
        notifications_sent=6,
        notifications_queued=7,
        notifications_dropped=8,
        notifications_rejected=9,
        reconnects=10,
    )
    view = ExporterView(hypervisors or (hypervisor_view(),), stats, time.monotonic())
    return replace(view, **changes)


def exposed(view: ExporterView) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples of the text format by name and labels; fails on a duplicate."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter.AgentCollector(lambda: view))
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    written = exporter.encode(registry.collect(), open_metrics=False).decode()
    for family in parse(written):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(view: ExporterView, name: str, /, **labels: str) -> float | None:
    return exposed(view).get((f"vmmib_{name}", frozenset(labels.items())))


@dataclass
class Served:
    """An exporter on a free port, and requests to it."""

    exporter: Exporter
    view: ExporterView = field(default_factory=whole)

    def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.exporter.port, timeout=10)
        try:
            shown = {name.replace("_", "-"): text for name, text in headers.items()}
            connection.request(method, path, headers=shown)
            answer = connection.getresponse()
            names = {name.lower(): text for name, text in answer.getheaders()}
            return answer.status, names, answer.read()
        finally:
            connection.close()


@contextmanager
def serving(address: str = "127.0.0.1:0") -> Iterator[Served]:
    served: Served
    one = Exporter(address, lambda: served.view)
    served = Served(one)
    one.start()
    try:
        yield served
    finally:
        one.stop()


# What is said


def test_every_value_of_a_vm() -> None:
    view = whole()
    vm = {"hypervisor": "local", "uuid": UUID}
    assert (
        value(
            view,
            "vm_info",
            **vm,
            name="web",
            vm_index="1",
            os_type="hvm",
            autostart="enabled",
            persistent="persistent",
        )
        == 1
    )
    expected = {
        "vm_uptime_seconds": 33.5,
        "vm_vcpus": 2,
        "vm_vcpus_max": 4,
        "vm_cpu_seconds_total": 2.5,
        "vm_memory_bytes": 1024,
        "vm_memory_max_bytes": 2048,
        "vm_memory_min_bytes": None,
    }
    assert {name: value(view, name, **vm) for name in expected} == expected
    assert value(view, "vm_vcpu_seconds_total", **vm, vcpu="0") == 1.5
    assert value(view, "vm_vcpu_seconds_total", **vm, vcpu="1") is None, "unknown is not zero"


def test_state_set() -> None:
    states = {
        dict(labels)["state"]: number
        for (name, labels), number in exposed(whole()).items()
        if name == "vmmib_vm_state"
    }
    assert states == {state.name.lower(): state is OperState.RUNNING for state in OperState}


def test_every_value_of_a_disk() -> None:
    disk = {"hypervisor": "local", "uuid": UUID, "device": "vda"}
    expected = {
        "capacity_bytes": 10_000,
        "allocated_bytes": 4_000,
        "reads_completed_total": 1,
        "writes_completed_total": 2,
        "read_bytes_total": 3,
        "written_bytes_total": 4,
        "read_time_seconds_total": 5,
        "write_time_seconds_total": 6.5,
    }
    assert {name: value(whole(), f"vm_disk_{name}", **disk) for name in expected} == expected


def test_every_value_of_an_interface() -> None:
    nic = {"hypervisor": "local", "uuid": UUID, "mac": "52:54:00:00:00:01"}
    expected = {
        "receive_bytes_total": 11,
        "transmit_bytes_total": 12,
        "receive_packets_total": 13,
        "transmit_packets_total": 14,
        "receive_errors_total": 15,
        "transmit_errors_total": 16,
        "receive_dropped_total": 17,
        "transmit_dropped_total": 18,
    }
    assert {name: value(whole(), f"vm_network_{name}", **nic) for name in expected} == expected


def test_every_value_of_a_hypervisor_and_the_agent() -> None:
    view = whole()
    expected = {
        "up": 1,
        "uptime_seconds": 77,
        "cpus": 8,
        "vms": 1,
    }
    found = {name: value(view, f"hypervisor_{name}", hypervisor="local") for name in expected}
    assert found == expected
    assert value(view, "refresh_last_timestamp_seconds", hypervisor="local") == 1_700_000_000.5
    assert value(view, "refresh_duration_seconds", hypervisor="local") == 0.25
    assert value(view, "source_restarts_total", hypervisor="local") == 2
    assert (
        value(
            view,
            "hypervisor_info",
            hypervisor="local",
            uri="qemu:///system",
            context="",
            driver="QEMU",
            software="QEMU",
            version="7.2.0",
            hostname="host1",
        )
        == 1
    )
    agent = {
        "agentx_connected": 1,
        "agentx_requests_total": 5,
        "agentx_reconnects_total": 10,
        "notifications_sent_total": 6,
        "notifications_queued": 7,
        "notifications_dropped_total": 8,
        "notifications_rejected_total": 9,
    }
    assert {name: value(view, name) for name in agent} == agent


def test_an_unreachable_hypervisor_keeps_its_vms_without_their_counters() -> None:
    gone = VmView(1, VM, OperState.UNKNOWN, AdminState.RUNNING, 33.5)
    view = whole(hypervisor_view(up=False, vms=(gone,)))
    vm = {"hypervisor": "local", "uuid": UUID}
    assert value(view, "hypervisor_up", hypervisor="local") == 0
    assert value(view, "vm_state", **vm, state="unknown") == 1
    assert value(view, "vm_cpu_seconds_total", **vm) is None
    assert value(view, "vm_disk_reads_completed_total", **vm, device="vda") is None
    assert value(view, "vm_network_receive_bytes_total", **vm, mac="52:54:00:00:00:01") is None
    assert value(view, "hypervisor_vms", hypervisor="local") == 1


def test_a_hypervisor_never_read_says_little() -> None:
    view = whole(HypervisorView(name="new", uri="esx://h/", context="new"))
    names = {name for name, labels in exposed(view) if ("hypervisor", "new") in labels}
    assert names == {"vmmib_hypervisor_info", "vmmib_hypervisor_up", "vmmib_source_restarts_total"}


def test_unused_volumes() -> None:
    view = whole(hypervisor_view(volumes=(msgspec.structs.replace(DISK, target="/pool/a"),)))
    labels = {"hypervisor": "local", "volume": "/pool/a"}
    assert value(view, "volume_capacity_bytes", **labels) == 10_000
    assert value(view, "volume_allocated_bytes", **labels) == 4_000


def test_vms_of_two_hypervisors_may_share_a_uuid() -> None:
    view = whole(hypervisor_view(), hypervisor_view(name="other"))
    assert value(view, "vm_vcpus", hypervisor="other", uuid=UUID) == 2


def test_a_vm_without_uuid_is_known_by_its_key() -> None:
    vm = msgspec.structs.replace(VM, uuid=b"", key="name:web")
    view = whole(hypervisor_view(vms=(row(vm),)))
    assert value(view, "vm_vcpus", hypervisor="local", uuid="name:web") == 2


ODD_TEXT = st.text(st.characters(codec=None, categories=None), max_size=8)


@settings(max_examples=40)
@given(
    names=st.lists(ODD_TEXT, min_size=1, max_size=4),
    targets=st.lists(ODD_TEXT, max_size=4),
    macs=st.lists(st.binary(max_size=6), max_size=4),
    uuids=st.lists(st.sampled_from([b"", b"\0" * 16, b"x" * 16, b"odd"]), min_size=4, max_size=4),
)
def test_any_text_makes_a_valid_page_without_duplicates(
    names: list[str], targets: list[str], macs: list[bytes], uuids: list[bytes]
) -> None:
    vms = [
        msgspec.structs.replace(
            VM,
            name=name,
            key=f"name:{name}",
            uuid=uuid,
            disks=tuple(msgspec.structs.replace(DISK, target=one, resource=one) for one in targets),
            nics=tuple(msgspec.structs.replace(NIC, mac=one) for one in macs),
        )
        for name, uuid in zip(names, uuids, strict=False)
    ]
    view = whole(hypervisor_view(vms=[row(vm) for vm in vms]))
    found = exposed(view)
    disks = {labels for name, labels in found if name == "vmmib_vm_disk_info"}
    vms_shown = {labels for name, labels in found if name == "vmmib_vm_info"}
    assert len(disks) == len(vms_shown) * len(targets)


def test_the_encoder_says_what_the_librarys_does() -> None:
    odd = msgspec.structs.replace(VM, name='q"b\\n\n', cpu_time_us=123_456_789_012_345_678)
    view = whole(hypervisor_view(vms=(row(odd),)))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter.AgentCollector(lambda: view))
    for open_metrics, library, parser in (
        (False, generate_latest, parse),
        (True, generate_openmetrics, parse_openmetrics),
    ):
        ours = exporter.encode(registry.collect(), open_metrics=open_metrics).decode()
        reference = list(parser(library(registry).decode()))
        assert list(parser(ours)) == reference
        assert len(reference) > 20


# The server


def test_text_and_openmetrics() -> None:
    with serving() as served:
        status, headers, body = served.get("/metrics")
        assert (status, headers["content-type"].partition(";")[0]) == (200, "text/plain")
        plain = {family.name for family in parse(body.decode())}
        status, headers, body = served.get("/metrics", Accept="application/openmetrics-text")
        assert headers["content-type"].startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")
        families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
        open_metrics = {family.name for family in families}
    assert {"vmmib_vm_info", "vmmib_vm_cpu_seconds", "process_cpu_seconds"} <= open_metrics
    assert open_metrics == plain


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool")
def test_promtool_finds_nothing() -> None:
    with serving() as served:
        body = served.get("/metrics")[2]
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_gzip_and_head() -> None:
    with serving() as served:
        _, headers, plain = served.get("/metrics")
        assert "content-encoding" not in headers
        _, headers, packed = served.get("/metrics", Accept_Encoding="gzip")
        assert headers["content-encoding"] == "gzip"
        assert len(gzip.decompress(packed)) == pytest.approx(len(plain), rel=0.1)
        status, headers, body = served.get("/metrics", method="HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["content-length"]) > 1000


def test_index_and_unknown_paths() -> None:
    with serving() as served:
        assert b"/metrics" in served.get("/")[2]
        assert served.get("/metrics?x=1")[0] == 200
        assert served.get("/nothing")[0] == 404
        assert served.get("/metrics", method="POST")[0] == 501


def test_healthy_while_the_loop_turns() -> None:
    with serving() as served:
        assert served.get("/-/healthy")[0] == 200
        served.view = whole(loop_beat=time.monotonic() - exporter.HEARTBEAT_LIMIT - 5)
        status, _, body = served.get("/-/healthy")
        assert (status, body) == (503, b"the agent's loop stands since 20 s\n")


def test_ready_when_all_is_known() -> None:
    with serving() as served:
        assert served.get("/-/ready")[0] == 200
        served.view = whole(hypervisor_view(last_refresh=None, reason="starting", up=False))
        assert served.get("/-/ready")[::2] == (503, b"local: not read yet\n")
        served.view = whole(hypervisor_view(last_refresh=None, reason="refused", up=False))
        assert served.get("/-/ready")[0] == 200, "found unreachable is known, too"
        served.view = whole(agent=AgentStats(connected=False))
        assert served.get("/-/ready")[::2] == (503, b"AgentX: not connected to the master agent\n")


def test_a_failing_view_is_a_500_and_the_server_lives() -> None:
    def fail() -> ExporterView:
        raise RuntimeError("no view")

    one = Exporter("127.0.0.1:0", fail)
    one.start()
    try:
        served = Served(one)
        assert served.get("/metrics")[0] == 500
        assert served.get("/")[0] == 200
    finally:
        one.stop()


def test_a_used_port_is_an_oserror() -> None:
    with serving() as served, pytest.raises(OSError, match="Address already in use"):
        Exporter(f"127.0.0.1:{served.exporter.port}", whole).start()


@pytest.mark.parametrize("address", [":0", "localhost:0"])
def test_addresses_that_ipv4_reaches(address: str) -> None:
    with serving(address) as served:
        assert served.get("/")[0] == 200


def test_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with (
        serving("[::1]:0") as served,
        socket.create_connection(("::1", served.exporter.port), timeout=5) as connection,
    ):
        connection.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 200 ")


def test_stop_frees_the_port_and_may_be_called_again() -> None:
    one = Exporter("127.0.0.1:0", whole)
    one.stop()
    one.start()
    port = one.port
    one.stop()
    one.stop()
    again = Exporter(f"127.0.0.1:{port}", whole)
    again.start()
    again.stop()


def test_silent_connections_are_bounded_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(exporter, "CONNECTION_LIMIT", 0.2)
    with serving() as served:
        address = ("127.0.0.1", served.exporter.port)
        silent = [socket.create_connection(address, timeout=5) for _ in range(3)]
        try:
            assert silent[2].recv(100).startswith(b"HTTP/1.0 503"), "one more than the bound"
            assert silent[0].recv(100) == b"", "ended by the server"
        finally:
            for connection in silent:
                connection.close()
        assert served.get("/-/healthy")[0] == 200


def test_garbage_ends_in_an_error_and_nothing_else() -> None:
    with serving() as served:
        for octets in (b"\0\xff\r\n\r\n", b"GET " + b"x" * 70_000 + b"\r\n\r\n", b""):
            address = ("127.0.0.1", served.exporter.port)
            with socket.create_connection(address, timeout=5) as connection:
                connection.sendall(octets)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(200)
                assert not answer or b"400" in answer or b"414" in answer
        assert served.get("/-/healthy")[0] == 200


def test_values_are_finite() -> None:
    assert all(math.isfinite(number) for number in exposed(whole()).values())
