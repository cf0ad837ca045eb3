"""What the service manager is told: by the notifier alone, by a running agent, and by triage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent_process import AgentProcess
from tests.netsnmp import Snmpd, needs_netsnmp, wait_until
from tests.triage.site import free_ports
from triage.config import load
from triage.service import HUNG_AFTER, Service
from triage.sources.prometheus import Poll
from vmmib.agent import status_line
from vmmib.sd_notify import LONGEST_STATUS, Notifier

TEST_NODE = "test:///default"


class Manager:
    """The service manager's end: a datagram socket, and what came in so far."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.told: list[dict[str, str]] = []

    def receive(self, timeout: float) -> dict[str, str] | None:
        """The assignments of one more datagram; None when there is none in time."""
        self.socket.settimeout(timeout)
        try:
            text = self.socket.recv(65536).decode()
        except (BlockingIOError, TimeoutError):
            return None
        fields = dict(line.split("=", 1) for line in text.split("\n"))
        self.told.append(fields)
        return fields

    def expect(self, fits: Callable[[dict[str, str]], bool], timeout: float = 20) -> dict[str, str]:
        """The next datagram that fits."""
        found: list[dict[str, str]] = []

        def came() -> bool:
            fields = self.receive(0.2)
            if fields is not None and fits(fields):
                found.append(fields)
            return bool(found)

        wait_until(came, timeout, f"a datagram after {self.told[-5:]}")
        return found[0]

    def expect_key(self, key: str) -> dict[str, str]:
        return self.expect(lambda fields: key in fields)

    @property
    def status(self) -> str:
        """The last one told."""
        return next((one["STATUS"] for one in reversed(self.told) if "STATUS" in one), "")

    def expect_status(self, part: str) -> None:
        """Wait until the status holds `part`; it may do so already."""
        if part not in self.status:
            self.expect(lambda fields: part in fields.get("STATUS", ""))

    def drain(self) -> None:
        while self.receive(0) is not None:
            pass


@pytest.fixture
def manager() -> Iterator[Manager]:
    # Not tmp_path: a socket's path has room for 107 octets
    with tempfile.TemporaryDirectory(prefix="sd") as folder:
        one = Manager(f"{folder}/notify")
        yield one
        one.socket.close()


# The notifier


def test_without_a_service_manager_nothing_is_sent() -> None:
    environment = {"WATCHDOG_USEC": "1000000", "HOME": "/"}
    notifier = Notifier.from_environment(environment)
    assert not notifier.enabled
    assert notifier.watchdog_interval is None
    assert environment == {"HOME": "/"}
    for tell in (notifier.ready, notifier.alive, notifier.reloading, notifier.stopping):
        tell()


def test_each_state_is_one_datagram(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    notifier.ready("all is well")
    notifier.status("all is better")
    notifier.alive()
    notifier.reloading()
    notifier.busy(1.5)
    notifier.stopping("bye")
    manager.drain()
    reloading = manager.told.pop(3)
    assert reloading.pop("RELOADING") == "1"
    assert int(reloading.pop("MONOTONIC_USEC")) > 0
    assert not reloading
    assert manager.told == [
        {"READY": "1", "STATUS": "all is well"},
        {"STATUS": "all is better"},
        {"WATCHDOG": "1"},
        {"WATCHDOG": "1", "EXTEND_TIMEOUT_USEC": "1500000"},
        {"STOPPING": "1", "STATUS": "bye"},
    ]


def test_a_status_is_sent_when_it_changed(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    notifier.status("one")
    notifier.status("one")
    notifier.ready("one")
    notifier.status("two")
    notifier.status("")
    manager.drain()
    assert manager.told == [{"STATUS": "one"}, {"READY": "1"}, {"STATUS": "two"}]


@given(st.text(min_size=1))
def test_a_status_is_one_line_and_never_another_assignment(text: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("")  # an abstract address that the kernel chooses
        receiver.setblocking(False)
        name = receiver.getsockname()
        Notifier("@" + os.fsdecode(name[1:])).status(f"{text}\nREADY=1")
        datagram = receiver.recv(65536).decode()
    assert datagram.startswith("STATUS=")
    assert datagram.isprintable()
    assert len(datagram) <= len("STATUS=") + LONGEST_STATUS


def test_an_abstract_socket() -> None:
    manager = Manager(f"@vmmib-test-{os.getpid()}")
    Notifier(manager.address).ready()
    manager.expect_key("READY")
    manager.socket.close()


@pytest.mark.parametrize(
    "address", ["/nonexistent/notify", "@nobody-listens-here", "vsock:2:1234", "/" + 200 * "x"]
)
def test_a_service_manager_that_cannot_be_told_disturbs_nothing(address: str) -> None:
    notifier = Notifier(address, 10)
    notifier.ready("here")
    notifier.alive()


def test_a_full_queue_is_no_reason_to_wait_and_the_status_comes_later(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"X=1", manager.address)
    notifier.status("news")
    notifier.alive()
    manager.drain()
    assert {"X": "1"} in manager.told
    assert {"STATUS": "news"} not in manager.told
    notifier.status("news")
    manager.expect_status("news")


@pytest.mark.parametrize(
    ("limit", "pid", "interval"),
    [
        ("20000000", None, 10.0),
        ("20000000", str(os.getpid()), 10.0),
        ("20000000", "1", None),  # meant for another process
        ("0", None, None),
        ("", None, None),
        ("-5", None, None),
        ("soon", None, None),
        ("\u0663", None, None),
    ],
)
def test_the_watchdog_of_the_environment(
    limit: str, pid: str | None, interval: float | None
) -> None:
    environment = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": limit}
    if pid is not None:
        environment["WATCHDOG_PID"] = pid
    assert Notifier.from_environment(environment).watchdog_interval == interval
    assert environment == {}


@pytest.mark.parametrize(
    ("silent", "part"),
    [
        ("", ""),
        ("a", "no answer from a, "),
        ("abc", "no answer from a, b, c, "),
        ("abcde", "no answer from a, b, c, 2 more, "),
    ],
)
def test_the_status_line_names_few_hypervisors(silent: str, part: str) -> None:
    line = status_line(vms=12, hypervisors=5, silent=silent, connected=True, refused=False)
    assert line == f"serving 12 VMs of 5 hypervisors, {part}snmpd connected"


def test_the_status_line_says_what_is_wrong() -> None:
    assert status_line(vms=1, hypervisors=1, silent=[], connected=False, refused=True) == (
        "serving 1 VM of 1 hypervisor, snmpd not connected, "
        "the last reload was refused (see the log)"
    )


# The agent


@pytest.fixture
def agent(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AgentProcess]:
    def make(snmpd: str, *flags: str, watchdog: str = "") -> AgentProcess:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        monkeypatch.setenv("WATCHDOG_USEC", watchdog)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        uris = [] if "--config.file" in flags else [TEST_NODE]
        return AgentProcess(tmp_path, uris, snmpd, *flags)

    return make


def is_alive(fields: dict[str, str]) -> bool:
    return fields == {"WATCHDOG": "1"}


@needs_netsnmp
def test_an_agent_is_ready_without_snmpd_and_says_when_it_is_connected(
    manager: Manager, agent: Callable[..., AgentProcess], tmp_path: Path
) -> None:
    snmpd = Snmpd(tmp_path)
    with agent(snmpd.agentx_socket) as running:
        manager.expect_key("READY")
        assert manager.status.endswith("snmpd not connected")
        manager.expect_status("serving 1 VM of 1 hypervisor, snmpd not connected")
        with snmpd:
            manager.expect_status("serving 1 VM of 1 hypervisor, snmpd connected")
        manager.expect_status("snmpd not connected")
        assert running.stop() == 0
        manager.expect_key("STOPPING")
        manager.expect_key("EXTEND_TIMEOUT_USEC")  # for each hypervisor's end
    assert not any(map(is_alive, manager.told)), "no watchdog was asked for"


def test_signs_of_life_come_from_the_loop_and_end_with_it(
    manager: Manager, agent: Callable[..., AgentProcess]
) -> None:
    with agent("unix:/nonexistent/master", watchdog="200000") as running:
        manager.expect_key("READY")
        for _ in range(5):
            manager.expect(is_alive)
        running.kill(signal.SIGSTOP)
        stopped = Path(f"/proc/{running.pid}/stat")
        wait_until(lambda: stopped.read_text().rpartition(")")[2].split()[0] == "T")
        manager.drain()
        assert manager.receive(0.5) is None
        running.kill(signal.SIGCONT)
        manager.expect(is_alive)


def test_child_processes_cannot_speak_for_the_agent(
    manager: Manager, agent: Callable[..., AgentProcess]
) -> None:
    with agent("unix:/nonexistent/master", watchdog="60000000") as running:
        manager.expect_status("serving 1 VM")
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        assert children
        for child in children:
            environment = Path(f"/proc/{child}/environ").read_bytes()
            assert b"NOTIFY_SOCKET" not in environment
            assert b"WATCHDOG" not in environment


def test_a_reload_is_told_from_its_start_to_its_end(
    manager: Manager, agent: Callable[..., AgentProcess], tmp_path: Path
) -> None:
    good = f'[[hypervisors]]\nname = "one"\nuri = "{TEST_NODE}"\n'
    path = tmp_path / "vmmib.toml"
    path.write_text(good)
    with agent("unix:/nonexistent/master", "--config.file", str(path)) as running:
        manager.expect_key("READY")
        for text, status in (
            (good + good.replace("one", "two"), "of 2 hypervisors"),
            ("bogus = 1\n", "the last reload was refused (see the log)"),
            (good, "serving 1 VM of 1 hypervisor, snmpd not connected"),
        ):
            path.write_text(text)
            running.kill(signal.SIGHUP)
            assert int(manager.expect_key("RELOADING")["MONOTONIC_USEC"]) > 0
            manager.expect_key("READY")
            manager.expect_status(status)


def test_sighup_without_a_file_is_no_reload(
    manager: Manager, agent: Callable[..., AgentProcess]
) -> None:
    with agent("unix:/nonexistent/master") as running:
        manager.expect_key("READY")
        running.kill(signal.SIGHUP)
        running.wait_logged("reload_ignored")
        running.stop()
        manager.expect_key("STOPPING")
    assert not any("RELOADING" in fields for fields in manager.told)


def test_a_configuration_that_is_wrong_never_gets_ready(
    manager: Manager, agent: Callable[..., AgentProcess], tmp_path: Path
) -> None:
    path = tmp_path / "vmmib.toml"
    path.write_text("bogus = 1\n")
    with agent("unix:/nonexistent/master", "--config.file", str(path)) as running:
        process = running.process
        assert process is not None
        assert process.wait(20) == 1
        running.process = None
    manager.drain()
    assert manager.told == []


# triage


@contextlib.contextmanager
def triage(path: Path, manager: Manager, *, watchdog: str = "") -> Iterator[subprocess.Popen[str]]:
    """`triage run` under a service manager."""
    process = subprocess.Popen(
        [sys.executable, "-m", "triage.cli", "run", "--config.file", str(path)],
        env=os.environ | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": watchdog},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def triage_config(tmp_path: Path, *more: str) -> str:
    """A configuration whose Prometheus and whose sink are down."""
    web, nobody = free_ports(2)
    return "\n".join(
        (
            f"state_dir: {tmp_path}/state",
            f"web: {{listen_address: '127.0.0.1:{web}'}}",
            f"prometheus: {{url: 'http://127.0.0.1:{nobody}'}}",
            f"alerts: {{webhook: [{{name: hook, url: 'http://127.0.0.1:{nobody}/'}}]}}",
            "targets:",
            "  - name: shop",
            "    url: 'https://shop.example/'",
            f"    proxy_files: [{tmp_path}/access.log]",
            *more,
        )
    )


def test_triage_is_ready_with_its_sources_down_and_says_so(
    manager: Manager, tmp_path: Path
) -> None:
    path = tmp_path / "triage.yaml"
    path.write_text(triage_config(tmp_path))
    log = tmp_path / "access.log"
    log.touch()
    with triage(path, manager, watchdog="2000000") as process:
        manager.expect_key("READY")
        manager.expect_status("watching 1 target, 0 open incidents; prometheus: ")
        manager.expect(is_alive)
        # A look, whose alert no sink takes
        start = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        log.write_text(
            f'[{start}] "GET / HTTP/1.1" 503 NR route_not_found - "-" 0 0 0 - "-" '
            '"Blackbox Exporter/0.25.0" "0d6a80d3-9d2a-4241-b543-f205e1fd5e86" "shop.example" "-" '
            "- - 10.0.0.2:8080 10.0.0.9:43022 - -\n"
        )
        manager.expect_status("watching 1 target, 1 open incident; ")
        manager.expect_status("; hook: ")
        process.terminate()
        manager.expect_key("STOPPING")
        assert process.wait(20) == 0


def test_triage_tells_of_a_reload_from_its_start_to_its_end(
    manager: Manager, tmp_path: Path
) -> None:
    path = tmp_path / "triage.yaml"
    good = triage_config(tmp_path)
    path.write_text(good)
    with triage(path, manager) as process:
        manager.expect_key("READY")
        for text, status in (
            (f"{good}\n  - {{name: other, url: 'https://other.example/'}}", "watching 2 targets"),
            (f"{good}\nbogus: 1", "the last reload was refused (see the log)"),
            (good, "watching 1 target, 0 open incidents; "),
        ):
            path.write_text(text)
            process.send_signal(signal.SIGHUP)
            assert int(manager.expect_key("RELOADING")["MONOTONIC_USEC"]) > 0
            manager.expect_key("READY")
            manager.expect_status(status)
    assert not any(map(is_alive, manager.told)), "no watchdog was asked for"


def test_triage_with_a_wrong_configuration_never_gets_ready(
    manager: Manager, tmp_path: Path
) -> None:
    path = tmp_path / "triage.yaml"
    path.write_text("bogus: 1")
    with triage(path, manager) as process:
        assert process.stderr is not None
        assert process.stderr.read().startswith(f"triage: {path}: bogus: unknown key")
        assert process.wait(20) == 1
    assert manager.receive(0) is None


@pytest.mark.asyncio
async def test_triage_gives_no_sign_of_life_when_it_watches_no_more(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "triage.yaml"
    path.write_text(triage_config(tmp_path))
    config = load(path)
    ahead = 0.0
    notifier = Notifier(manager.address, watchdog=0.1)
    service = Service(config, lambda: config, clock=lambda: time.time() + ahead, notifier=notifier)
    running = asyncio.create_task(service.run())

    async def came(fits: Callable[[dict[str, str]], bool]) -> None:
        async with asyncio.timeout(20):
            while not fits(manager.receive(0) or {}):
                await asyncio.sleep(0.01)

    await came(is_alive)
    goes_on = asyncio.Event()
    hangs = asyncio.Event()
    assert service.assembly is not None
    prometheus = service.assembly.prometheus
    poll = prometheus.poll if prometheus is not None else None

    async def hanging() -> Poll:
        hangs.set()
        await goes_on.wait()
        assert poll is not None
        return await poll()

    monkeypatch.setattr(prometheus, "poll", hanging)
    async with asyncio.timeout(20):
        await hangs.wait()
    ahead = HUNG_AFTER + 1
    assert service.healthy()
    manager.drain()
    await asyncio.sleep(0.3)  # six signs of life
    assert manager.receive(0) is None
    goes_on.set()
    await came(is_alive)
    service.stop()
    await running
