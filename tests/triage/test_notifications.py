"""The receiver of notifications, with net-snmp's senders and with hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import libvirt_env
from tests.agent_process import AgentProcess
from tests.netsnmp import Snmpd, environment, needs_netsnmp
from tests.triage.snmp_agent import PduType, announced, encode, identity, text
from triage.evidence import VmNotification, VmOperState
from triage.snmp import notifications, oids
from triage.snmp.credentials import SnmpCredentials
from triage.snmp.identity import next_boot
from triage.snmp.receiver import NotificationUser
from triage.snmp.values import Tag, Value
from triage.sources.notifications import (
    NotificationReceiver,
    NotificationsError,
    NotificationSettings,
    NotificationSource,
)

PASSWORDS = ["-a", "SHA-256", "-A", "authenticate", "-x", "AES", "-X", "encrypt-this"]
TRIAGE = SnmpCredentials(
    user="triage",
    auth_protocol="SHA-256",
    auth_passphrase=PASSWORDS[3],
    priv_protocol="AES",
    priv_passphrase=PASSWORDS[7],
)
ENGINE = "800000020109840301"


def settings(**more: Any) -> NotificationSettings:
    chosen: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "communities": ("public",),
        "users": (NotificationUser(credentials=TRIAGE),),
        "sources": (NotificationSource(hypervisor="kvm1", host="127.0.0.1"),),
    }
    return NotificationSettings(**(chosen | more))


@contextlib.asynccontextmanager
async def receiving(
    chosen: NotificationSettings, **more: Any
) -> AsyncIterator[NotificationReceiver]:
    before = asyncio.all_tasks()
    receiver = NotificationReceiver(chosen, **more)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.close()
        assert asyncio.all_tasks() == before


def everything(receiver: NotificationReceiver) -> list[VmNotification]:
    return list(receiver.between(0, 1e12))


async def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def send(port: int, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for one in datagrams:
            sock.sendto(one, ("127.0.0.1", port))


# What they say


def test_every_notification_of_the_mib_is_known() -> None:
    names = set()
    for number in range(1, 21):
        pdu = announced(number)
        (one,) = notifications.read(pdu.varbinds, time=5.0, hypervisor="kvm1", sender="192.0.2.1")
        names.add(one.name)
        assert (one.vm_index, one.vm_name, one.uuid) == (3, "n1", str(identity(3)))
        assert one.state_before is VmOperState.RUNNING
    assert len(names) == 20
    assert {"vmDeleted", "vmBulkDeleted", "vmMigrating", "vmBulkCrashed"} <= names


def test_a_list_of_machines_becomes_one_entry_each() -> None:
    bits = text(bytes([0b1000_0000, 0, 0b0000_0001]))
    pdu = announced(14, (oids.scalar(oids.VM_AFFECTED_VMS), bits))
    found = notifications.read(pdu.varbinds, time=5.0, hypervisor="kvm1", sender="")
    assert [(one.name, one.vm_index) for one in found] == [
        ("vmBulkPaused", 1),
        ("vmBulkPaused", 24),
    ]


def test_a_huge_list_is_bounded() -> None:
    bits = text(b"\xff" * 60_000)
    pdu = announced(14, (oids.scalar(oids.VM_AFFECTED_VMS), bits))
    found = notifications.read(pdu.varbinds, time=5.0, hypervisor="kvm1", sender="")
    assert len(found) == notifications.MAX_AFFECTED
    assert len(found[0].text) <= notifications.MAX_TEXT


def test_what_is_of_no_use_is_left_out() -> None:
    for trap in ((*oids.SNMP_TRAPS, 5), (1, 3, 6, 1, 4, 1, 99, 1), (*oids.VM_NOTIFICATIONS, 21)):
        bindings = ((oids.SNMP_TRAP_OID, Value(Tag.OBJECT_IDENTIFIER, trap)),)
        assert notifications.read(bindings, time=1.0, hypervisor="", sender="") == []


@given(st.lists(st.integers(1, 2000), unique=True, max_size=200))
def test_lists_are_read_as_the_mib_says(indexes: list[int]) -> None:
    bits = bytearray(250)
    for one in indexes:
        bits[(one - 1) // 8] |= 0x80 >> (one - 1) % 8
    assert notifications.affected(bytes(bits)) == sorted(indexes)


# The port and the engine


@pytest.mark.asyncio
async def test_a_port_in_use_is_one_line() -> None:
    async with receiving(settings()) as first:
        with pytest.raises(NotificationsError, match=r"127.0.0.1:\d+: another process has this"):
            await NotificationReceiver(settings(port=first.port)).start()


@pytest.mark.asyncio
async def test_every_address_means_ipv4_too() -> None:
    async with receiving(settings(host="")) as receiver:
        send(receiver.port, encode(b"public", announced()))
        await until(lambda: everything(receiver))
        assert everything(receiver)[0].sender == "127.0.0.1"


def test_boots_grow_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    first, second = next_boot(path), next_boot(path)
    assert first[0] == second[0]
    assert (first[1], second[1]) == (1, 2)
    path.write_text("{")
    third = next_boot(path)
    assert third[0] != first[0]
    assert third[1] == 1
    assert next_boot(None) != next_boot(None)


@pytest.mark.asyncio
async def test_an_engine_file_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    chosen = settings(engine_file=tmp_path / "no" / "engine.json")
    with pytest.raises(NotificationsError, match="boots counter cannot be kept"):
        await NotificationReceiver(chosen).start()


# The timeline


@pytest.mark.asyncio
async def test_repetitions_are_folded_and_acknowledged_again() -> None:
    kept: list[VmNotification] = []
    async with receiving(settings(), on_notification=kept.append) as receiver:
        inform = encode(b"public", announced(kind=PduType.INFORM, request_id=9))
        again = encode(b"public", announced(kind=PduType.INFORM, request_id=10))
        replies = await exchange(receiver.port, inform, inform, again)
        assert len(replies) == 3
        assert [one.name for one in kept] == ["vmPaused", "vmPaused"]
        assert receiver.counts["repeated"] == 1


async def exchange(port: int, *datagrams: bytes) -> list[bytes]:
    """Send each and wait for its reply."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        replies = []
        async with asyncio.timeout(10):
            for one in datagrams:
                await loop.sock_sendall(sock, one)
                replies.append(await loop.sock_recv(sock, 65535))
        return replies


@pytest.mark.asyncio
async def test_what_cannot_be_kept_is_not_acknowledged() -> None:
    attempts: list[VmNotification] = []

    def keep(one: VmNotification) -> None:
        attempts.append(one)
        if len(attempts) == 1:
            raise OSError("disk full")

    async with receiving(settings(), on_notification=keep) as receiver:
        inform = encode(b"public", announced(kind=PduType.INFORM))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(inform, ("127.0.0.1", receiver.port))
            await until(lambda: attempts)
            with pytest.raises(BlockingIOError):  # on loopback a reply would be here by now
                sock.recv(65535)
        assert everything(receiver) == []
        assert len(await exchange(receiver.port, inform)) == 1
        assert len(everything(receiver)) == 1


@pytest.mark.asyncio
async def test_the_timeline_is_bounded_and_timed() -> None:
    now = 1000.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    async with receiving(settings(keep=5), clock=clock) as receiver:
        assert receiver.listening_since == 1001.0
        for number in range(8):
            send(receiver.port, encode(b"public", announced(request_id=number)))
        await until(lambda: receiver.counts["received"] == 8)
        times = [one.time for one in everything(receiver)]
        assert len(times) == 5
        assert times == sorted(times)
        assert [one.time for one in receiver.between(times[1], times[2])] == times[1:3]
    assert receiver.listening_since is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("sources", "community", "expected"),
    [
        ([("a", "127.0.0.1", "", "")], b"public", "a"),
        ([("a", "192.0.2.1", "", "")], b"public", "located"),
        ([("a", "127.0.0.1", "", "red"), ("b", "127.0.0.1", "", "public")], b"public", "b"),
        ([("a", "127.0.0.1", "public", ""), ("b", "127.0.0.1", "other", "")], b"public", "a"),
        ([("a", "127.0.0.1", "x", ""), ("located", "127.0.0.1", "y", "")], b"public", "located"),
        ([("a", "127.0.0.1", "x", ""), ("b", "127.0.0.1", "y", "")], b"public", ""),
        ([("a", "localhost", "", "")], b"public", "a"),
    ],
)
async def test_whose_it_is(
    sources: list[tuple[str, str, str, str]], community: bytes, expected: str
) -> None:
    chosen = settings(
        sources=tuple(
            NotificationSource(hypervisor=name, host=host, context=context, community=own)
            for name, host, context, own in sources
        )
    )
    async with receiving(chosen, locate=lambda _: "located") as receiver:
        if sources[0][1] == "localhost":
            await until(lambda: receiver._senders)
        send(receiver.port, encode(community, announced()))
        await until(lambda: everything(receiver))
        assert everything(receiver)[0].hypervisor == expected


@pytest.mark.asyncio
async def test_settings_replaced_while_running() -> None:
    async with receiving(settings()) as receiver:
        receiver.replace(settings(communities=("new",), sources=()))
        send(receiver.port, encode(b"public", announced()))
        send(receiver.port, encode(b"new", announced()))
        await until(lambda: everything(receiver))
        assert [one.hypervisor for one in everything(receiver)] == [""]
        assert receiver.counts["unknown community"] == 1


# Real senders


async def run(tmp_path: Path, *command: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    async with asyncio.timeout(30):
        return await process.wait()


@needs_netsnmp
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "how",
    [
        ["snmptrap", "-v2c", "-c", "public"],
        ["snmpinform", "-v2c", "-c", "public"],
        ["snmptrap", "-v3", "-e", ENGINE, "-u", "triage", "-l", "authPriv", *PASSWORDS],
        ["snmpinform", "-v3", "-u", "triage", "-l", "authPriv", *PASSWORDS],
        ["snmpinform", "-v3", "-u", "plain", "-l", "noAuthNoPriv"],
        ["snmpinform", "-v3", "-u", "signed", "-l", "authNoPriv", *PASSWORDS[:4]],
    ],
)
async def test_net_snmp_sends(tmp_path: Path, how: list[str]) -> None:
    signed = SnmpCredentials(user="signed", auth_protocol="SHA-256", auth_passphrase=PASSWORDS[3])
    users = (
        NotificationUser(credentials=TRIAGE, engine_id=ENGINE),
        NotificationUser(credentials=SnmpCredentials(user="plain")),
        NotificationUser(credentials=signed),
    )
    async with receiving(settings(users=users)) as receiver:
        said = ["", "1.3.6.1.2.1.236.0.9", "1.3.6.1.2.1.236.1.4.1.2.5", "s", "n5"]
        assert await run(tmp_path, *how, f"127.0.0.1:{receiver.port}", *said) == 0
        await until(lambda: everything(receiver))
        (one,) = everything(receiver)
    assert (one.name, one.vm_index, one.vm_name) == ("vmCrashed", 5, "n5")
    assert one.hypervisor == "kvm1"


@needs_netsnmp
@pytest.mark.asyncio
async def test_net_snmp_sends_version_1(tmp_path: Path) -> None:
    """It becomes a notification with the address and the community in it (RFC 3584)."""
    async with receiving(settings()) as receiver:
        sink = f"127.0.0.1:{receiver.port}"
        how = ["snmptrap", "-v1", "-c", "public", sink, "1.3.6.1.2.1.236", "192.0.2.9", "6", "9"]
        said = ["100", "1.3.6.1.2.1.236.1.4.1.2.5", "s", "n5"]
        assert await run(tmp_path, *how, *said) == 0
        await until(lambda: everything(receiver))
        (one,) = everything(receiver)
    assert (one.name, one.vm_index, one.vm_name) == ("vmCrashed", 5, "n5")
    assert "192.0.2.9" in one.text
    assert "public" not in one.text


@needs_netsnmp
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (["-u", "nobody", "-l", "authPriv", *PASSWORDS], "unknown user"),
        (["-u", "triage", "-l", "authPriv", *PASSWORDS[:3], "not-this-one", *PASSWORDS[4:]],
         "wrong digest"),
        (["-u", "triage", "-l", "noAuthNoPriv"], "wrong security level"),
        (["-u", "triage", "-l", "authPriv", *PASSWORDS[:-1], "not-this-one"],
         "cannot be decrypted"),
    ],
)  # fmt: skip
async def test_net_snmp_is_refused(tmp_path: Path, how: list[str], reason: str) -> None:
    async with receiving(settings()) as receiver:
        command = ["snmpinform", "-t", "1", "-r", "1", "-v3", *how, f"127.0.0.1:{receiver.port}"]
        assert await run(tmp_path, *command, "", "1.3.6.1.6.3.1.1.5.1") != 0
        assert receiver.counts[reason]
        assert everything(receiver) == []


@needs_netsnmp
@pytest.mark.asyncio
async def test_snmpd_and_the_agent_announce_by_all_four_ways(tmp_path: Path) -> None:
    libvirt = pytest.importorskip("libvirt")
    if libvirt_env.missing():
        pytest.skip(libvirt_env.missing())
    users = (NotificationUser(credentials=TRIAGE, engine_id=ENGINE),)
    async with receiving(settings(users=users)) as receiver:
        sink = f"127.0.0.1:{receiver.port}"
        v3 = f"-v 3 -u triage -l authPriv {' '.join(PASSWORDS)} {sink}"
        conf = f"exactEngineID 0x{ENGINE}\n"
        conf += "createUser triage SHA-256 authenticate AES encrypt-this\n"
        conf += f"trap2sink {sink} public\ninformsink {sink} public\n"
        conf += f"trapsess {v3}\ntrapsess -Ci {v3}\n"
        snmpd = Snmpd(tmp_path, extra_conf=conf)
        daemon = libvirt_env.PrivateLibvirtd(tmp_path / "lv")
        await asyncio.gather(asyncio.to_thread(snmpd.start), asyncio.to_thread(daemon.start))
        try:
            await until(lambda: len(everything(receiver)) >= 4)
            assert {one.name for one in everything(receiver)} <= {"coldStart", "warmStart"}
            with AgentProcess(tmp_path, [daemon.test_uri], snmpd.agentx_socket) as agent:
                await asyncio.to_thread(lambda: agent.wait_logged("hypervisor_answers"))
                connection = libvirt.open(daemon.test_uri)
                domain = connection.lookupByName("test")
                domain.suspend()
                await until(lambda: paused(receiver) >= 4)
                domain.resume()
                connection.close()
        finally:
            await asyncio.to_thread(snmpd.stop)
            await asyncio.to_thread(daemon.stop)
        one = next(one for one in everything(receiver) if one.name == "vmPaused")
    assert one.vm_name == "test"
    assert one.state_before is VmOperState.RUNNING
    assert one.uuid
    assert one.hypervisor == "kvm1"


def paused(receiver: NotificationReceiver) -> int:
    return sum(one.name == "vmPaused" for one in everything(receiver))
