"""Each check of `vmmib doctor`, on the real thing, failing and not."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.netsnmp import Snmpd, free_port, needs_netsnmp
from vmmib import doctor, mibs
from vmmib.config import Flags, from_flags, load
from vmmib.doctor import Finding, State
from vmmib.exporter import AgentStats, Exporter, ExporterView

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


def as_nobody(check: Callable[[], list[Finding]]) -> list[str]:
    """The lines of findings, made by a process without root's rights."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(write, json.dumps([finding.line() for finding in check()]).encode())
        finally:
            os._exit(0)
    os.close(write)
    told = b""
    while octets := os.read(read, 65536):
        told += octets
    os.close(read)
    os.waitpid(child, 0)
    lines: list[str] = json.loads(told)
    return lines


@contextmanager
def master(tmp_path: Path, behave: Callable[[socket.socket], object]) -> Iterator[str]:
    """Somebody at a unix socket who does with a connection what `behave` does."""
    path = tmp_path / "master"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"unix:{path}"
        thread.join(10)
        assert not thread.is_alive()


# The master agent


@needs_netsnmp
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_real_master_answers(tmp_path: Path, kind: str) -> None:
    with Snmpd(tmp_path, agentx=kind) as snmpd:
        findings = list(doctor._agentx(snmpd.agentx_socket))
        assert [one.state for one in findings] == [State.OK, State.OK]
        again = list(doctor._agentx(snmpd.agentx_socket))
        assert again == findings, "the session was closed in good order"


def test_no_socket(tmp_path: Path) -> None:
    (finding,) = doctor._agentx(f"unix:{tmp_path}/master")
    assert finding.state is State.FAILED
    assert "No such file" in finding.said
    assert "master agentx" in finding.remedy


def test_nobody_listens(tmp_path: Path) -> None:
    (finding,) = doctor._agentx(f"tcp:127.0.0.1:{free_port(socket.SOCK_STREAM)}")
    assert finding.state is State.FAILED
    assert "agentXSocket tcp:127.0.0.1:" in finding.remedy
    path = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    (finding,) = doctor._agentx(f"unix:{path}")
    assert "refused" in finding.said


def test_an_unknown_host() -> None:
    (finding,) = doctor._agentx("tcp:host.invalid:705")
    assert finding.state is State.FAILED


@needs_root
def test_a_socket_without_permission(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "master"))
        listener.listen()
        (line,) = as_nobody(lambda: list(doctor._agentx(f"unix:{tmp_path}/master")))
    assert line.startswith("FAILED  AgentX socket unix:")
    assert "Permission denied; run as root, or put 'agentXPerms" in line
    assert line.endswith(f"and open {tmp_path} to it, which keeps the mode that it has")


def test_a_silent_master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TIMEOUT", 0.2)
    with master(tmp_path, lambda connection: [connection.recv(9999), connection.recv(1)]) as place:
        connected, silent = doctor._agentx(place)
    assert connected.state is State.OK
    assert (silent.state, silent.said) == (State.FAILED, "no answer")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\1" * 400])
def test_a_peer_that_is_no_master(tmp_path: Path, answer: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(9999)
        connection.sendall(answer)

    with master(tmp_path, behave) as place:
        findings = list(doctor._agentx(place))
    assert findings[-1].state is State.FAILED
    assert findings[-1].said
    assert "\n" not in findings[-1].line()


# libvirt


def test_libvirt_answers() -> None:
    (hypervisor,) = from_flags(Flags(libvirt_uris=("test:///default",))).hypervisors
    finding = doctor._libvirt(hypervisor)
    assert finding.state is State.OK, finding
    assert "1 machine" in finding.said


def test_libvirt_does_not_answer(tmp_path: Path) -> None:
    uri = f"qemu+unix:///system?socket={tmp_path}/no-socket"
    (hypervisor,) = from_flags(Flags(libvirt_uris=(uri,))).hypervisors
    line = doctor._libvirt(hypervisor).line()
    assert line.startswith(f"FAILED  libvirt {uri}: ")
    assert "\n" not in line
    assert line.count(uri) == 1


def auth_config(tmp_path: Path, mode: int | None) -> Path:
    auth = tmp_path / "auth.conf"
    if mode is not None:
        auth.write_text("[credentials-x]\npassword=Tr0ub4dor\n")
        auth.chmod(mode)
    path = tmp_path / "vmmib.toml"
    path.write_text('[[hypervisors]]\nuri = "test:///default"\nauth_file = "auth.conf"\n')
    return path


@pytest.mark.parametrize(
    ("mode", "state"), [(0o600, State.OK), (0o640, State.OK), (0o644, State.WARNING)]
)
def test_auth_file(tmp_path: Path, mode: int, state: State) -> None:
    (hypervisor,) = load(auth_config(tmp_path, mode)).hypervisors
    finding = doctor._auth_file(hypervisor)
    assert finding is not None
    assert finding.state is state
    assert "Tr0ub4dor" not in finding.line()


def test_no_auth_file(tmp_path: Path) -> None:
    config = load(auth_config(tmp_path, None))
    finding = doctor._auth_file(config.hypervisors[0])
    assert finding is not None
    assert finding.state is State.FAILED
    (reason,) = doctor.hopeless(config)
    assert reason.startswith(f"auth file {tmp_path}/auth.conf: No such file or directory; ")


@pytest.mark.parametrize("uri", ["test:///default", "qemu:///system", "test+unix:///no/file"])
def test_not_hopeless(uri: str) -> None:
    assert doctor.hopeless(from_flags(Flags(libvirt_uris=(uri,)))) == []


def test_a_missing_test_file_is_hopeless(tmp_path: Path) -> None:
    there = tmp_path / "a node.xml"
    there.write_text("<node/>")
    uris = (f"test://{tmp_path}/no.xml", f"test://{tmp_path}/a%20node.xml")
    (reason,) = doctor.hopeless(from_flags(Flags(libvirt_uris=uris)))
    assert reason == f"test: test://{tmp_path}/no.xml: {tmp_path}/no.xml: No such file or directory"


# Files and ports


def test_mibs() -> None:
    assert {finding.state for finding in doctor._mibs()} == {State.OK}


def test_no_mibs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mibs, "_PACKAGE", tmp_path / "vmmib")
    (finding,) = doctor._mibs()
    assert finding.state is State.FAILED
    assert "VM-MIB.txt" in finding.said


def test_state_dir(tmp_path: Path) -> None:
    assert doctor._state_dir(tmp_path).said == "writable"
    assert doctor._state_dir(tmp_path / "a" / "b").said == "will be made at the start"
    assert not (tmp_path / "a").exists(), "a check changes nothing"
    (tmp_path / "file").touch()
    assert doctor._state_dir(tmp_path / "file").state is State.FAILED
    assert doctor._state_dir(tmp_path / "file" / "below").state is State.FAILED


@needs_root
def test_state_dir_of_another(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for path in (tmp_path, tmp_path / "new"):
        (line,) = as_nobody(lambda path=path: [doctor._state_dir(path)])  # type: ignore[misc]
        assert line.startswith(f"FAILED  state folder {path}: ")
        assert "name another --state-dir" in line


def nothing() -> ExporterView:
    return ExporterView((), AgentStats(connected=False), 0.0)


def test_web_port() -> None:
    exporter = Exporter("127.0.0.1:0", nothing)
    exporter.start()
    port = exporter.port
    try:
        taken = doctor._web(f"127.0.0.1:{port}")
        assert (taken.state, taken.said) == (State.OK, "a running agent serves it")
    finally:
        exporter.stop()
    assert doctor._web(f"127.0.0.1:{port}").said == "free"


def test_web_port_of_a_stranger() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def serve() -> None:
            connection, _ = stranger.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        finding = doctor._web(f"127.0.0.1:{stranger.getsockname()[1]}")
        thread.join(10)
    assert finding.state is State.FAILED
    assert "Address already in use; stop what uses the port" in finding.line()


def test_web_address_of_another_host() -> None:
    finding = doctor._web("192.0.2.1:9177")
    assert finding.state is State.FAILED


def test_credentials(tmp_path: Path) -> None:
    path = tmp_path / "vmmib.toml"
    path.write_text('[host_resources]\ncredentials_file = "snmp.toml"\n')
    secret = tmp_path / "snmp.toml"
    assert doctor._credentials(load(path)).state is State.FAILED
    secret.write_text('community = "Tr0ub4dor"\n')
    secret.chmod(0o600)
    assert doctor._credentials(load(path)).state is State.OK
    secret.chmod(0o604)
    finding = doctor._credentials(load(path))
    assert finding.state is State.WARNING
    assert "Tr0ub4dor" not in finding.line()
