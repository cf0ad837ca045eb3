"""Many hypervisors in one agent, ESX among them; reload; what an operator gets wrong."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests import libvirt_env
from tests.agent_process import AgentProcess, run_vmmib
from tests.fake_esx import OFF, ON, SUSPENDED, FakeEsx, Machine
from tests.integration.test_walk import MIB, names_and_indexes, octets, text, wait_for_vms
from tests.netsnmp import Snmpd, Snmptrapd, free_port, needs_netsnmp, wait_until

pytestmark = needs_netsnmp


def config(path: Path, socket: str, *hypervisors: str, more: str = "") -> Path:
    rows = "\n".join(f"[[hypervisors]]\n{row}" for row in hypervisors)
    path.write_text(
        f'state_dir = "state"\n{rows}\n[agentx]\nsocket = "{socket}"\nping_interval = 1\n{more}\n'
    )
    return path


def agent_of(directory: Path, file: Path) -> AgentProcess:
    agent = AgentProcess(directory, [], "unused")
    place = agent.command.index("agent")
    agent.command[place + 1 :] = ["--config.file", str(file)]
    return agent


def node(directory: Path, name: str, count: int) -> str:
    domains = [libvirt_env.node_domain(f"{name}{n}", number=n) for n in range(count)]
    return libvirt_env.node_of(directory / f"{name}.xml", domains)


def test_each_hypervisor_in_a_context_of_its_own(tmp_path: Path) -> None:
    contexts = ["beta", "dead", "esx1"]
    machines = [Machine("on", ON), Machine("off", OFF), Machine("asleep", SUSPENDED)]
    with (
        FakeEsx(machines) as esx,
        Snmptrapd(tmp_path) as trapd,
        Snmpd(tmp_path, contexts=contexts, traps_to=trapd) as snmpd,
    ):
        auth = esx.auth_file(tmp_path / "auth.conf")
        file = config(
            tmp_path / "vmmib.toml",
            snmpd.agentx_socket,
            f'uri = "{node(tmp_path, "alpha", 2)}"',
            f'uri = "{node(tmp_path, "beta", 3)}"\nname = "beta"\nobject_id = "1.3.6.1.4.1.9.1"',
            f'uri = "qemu+unix:///system?socket={tmp_path}/none"\nname = "dead"',
            f'uri = "{esx.uri}"\nname = "esx1"\nauth_file = "{auth}"\npoll_interval = "200ms"',
            more="[notifications]\nbulk = true\nbulk_window = 0.1",
        )
        with agent_of(tmp_path, file) as agent:
            wait_for_vms(snmpd, 2)
            wait_for_vms(snmpd, 3, context="beta")
            wait_for_vms(snmpd, 3, context="esx1")
            agent.wait_logged("dead is unreachable")
            assert set(names_and_indexes(snmpd).values()) == {"alpha0", "alpha1"}
            beta = snmpd.walk(context="beta", v3=True)
            names = [tuple(map(int, line.oid[1:].split("."))) for line in beta]
            assert names == sorted(set(names))
            community = snmpd.walk(context="beta")
            assert [line.oid for line in community] == [line.oid for line in beta]
            assert f".{MIB}.1.1.3.0" in [line.oid for line in beta]
            assert ".1.3.6.1.4.1.9.1" in [line.value for line in beta]
            # Nothing is claimed of the one that never answered, but its switches
            assert [line.oid for line in snmpd.walk(context="dead")] == [
                f".{MIB}.1.9.0",
                f".{MIB}.1.10.0",
            ]

            def esx_states() -> dict[str, str]:
                rows = {
                    line.oid.rpartition(".")[2]: line.value
                    for line in snmpd.walk(f"{MIB}.1.4.1.6", context="esx1")
                }
                names = {
                    line.oid.rpartition(".")[2]: text(line.value)
                    for line in snmpd.walk(f"{MIB}.1.4.1.2", context="esx1")
                }
                return {names[index]: rows[index] for index in names}

            assert esx_states() == {"on": "4", "off": "11", "asleep": "6"}
            uuids = {octets(line.value) for line in snmpd.walk(f"{MIB}.1.4.1.3", context="esx1")}
            assert uuids == {machine.identity.bytes for machine in machines}
            assert snmpd.walk(f"{MIB}.1.4.1.17", context="esx1") == [], "ESX counts no CPU time"

            machines[0].power = OFF
            trapd.notifications(1, oid=f"{MIB}.0.3")
            trapd.notifications(1, oid=f"{MIB}.0.13")
            assert esx_states()["on"] == "11"
            # SETs are per context
            snmpd.set(f"{MIB}.1.9.0", "i", "2", context="esx1")
            assert snmpd.get(f"{MIB}.1.9.0", context="esx1")[0].value == "2"
            assert snmpd.get(f"{MIB}.1.9.0")[0].value == "1"

            esx.stall()
            wait_for_vms(snmpd, 2)
            esx.resume()
            log = agent.log.read_text()
            assert esx.password not in log
            command = Path(f"/proc/{agent.pid}/cmdline").read_bytes()
            assert esx.password.encode() not in command


def test_reload(tmp_path: Path) -> None:
    with Snmpd(tmp_path, contexts=["beta", "gamma"]) as snmpd:
        alpha = f'uri = "{node(tmp_path, "alpha", 2)}"\nname = "alpha"'
        beta = f'uri = "{node(tmp_path, "beta", 3)}"\nname = "beta"'
        gamma = f'uri = "{node(tmp_path, "gamma", 4)}"\nname = "gamma"'
        file = config(tmp_path / "vmmib.toml", snmpd.agentx_socket, alpha, beta)
        with agent_of(tmp_path, file) as agent:
            wait_for_vms(snmpd, 3, context="beta")
            children = _children(agent.pid)
            good = file.read_text()
            file.write_text(good.replace("ping_interval", "ping_intervall"))
            agent.kill(signal.SIGHUP)
            agent.wait_logged("reload_refused")
            (refusal,) = [x for x in agent.log.read_text().splitlines() if "reload_refused" in x]
            assert "ping_intervall" in refusal
            assert "did you mean" in refusal
            assert names_and_indexes(snmpd)
            config(file, snmpd.agentx_socket, alpha, gamma)
            agent.kill(signal.SIGHUP)
            agent.wait_logged("event=reloaded")
            wait_for_vms(snmpd, 4, context="gamma")
            wait_for_vms(snmpd, 2)
            wait_until(
                lambda: snmpd.run("snmpget", f"{MIB}.1.2.0", context="beta", check=False,
                                  timeout=1, retries=0).returncode != 0
                or not snmpd.walk(context="beta")
            )  # fmt: skip
            assert len(set(children) & set(_children(agent.pid))) == 1, "alpha's child stays"


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_exporter_of_a_running_agent(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_STREAM)

    def fetch(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    with Snmpd(tmp_path) as snmpd:
        uri = libvirt_env.node_file(tmp_path / "node.xml", 10)
        with AgentProcess(
            tmp_path, [uri], snmpd.agentx_socket, "--web.listen-address", f"127.0.0.1:{port}"
        ):
            wait_for_vms(snmpd, 10)
            assert "healthy" in fetch("/-/healthy")
            assert "ready" in fetch("/-/ready")
            lines = fetch("/metrics").splitlines()
            running = [x for x in lines if x.startswith("vmmib_vm_state{") and x.endswith(" 1")]
            assert len(running) == 10
            assert 'vmmib_hypervisor_up{hypervisor="test"} 1' in lines
            assert "vmmib_agentx_connected 1" in lines


def shown(*arguments: str | Path) -> Any:
    done = run_vmmib("show", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_show_says_what_snmp_says(tmp_path: Path) -> None:
    uri = libvirt_env.node_file(tmp_path / "node.xml", 4)
    assert "vm0003" in json.dumps(shown("--libvirt-uri", uri))


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--libvirt-uri", "nonsense:///"], "nonsense"),
        (["--libvirt-uri", "test:///{tmp}/missing.xml"], "missing.xml"),
        (["--libvirt-uri", "test:///default", "--web.listen-address", "127.0.0.1:{taken}"], "port"),
        (["--libvirt-uri", "test:///default", "--agentx-socket", "udp:localhost:705"], "udp"),
        (["--config.file", "{tmp}/missing.toml"], "missing.toml"),
        (["--config.file", "{tmp}/bad.toml"], "did you mean"),
    ],
)
def test_a_start_that_cannot_be_is_one_line(tmp_path: Path, flags: list[str], names: str) -> None:
    (tmp_path / "bad.toml").write_text("[agentx]\nsocet = 'unix:/x'\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = {"tmp": str(tmp_path), "taken": taken.getsockname()[1]}
        done = run_vmmib(
            "agent", "--state-dir", tmp_path / "s", *(flag.format(**words) for flag in flags)
        )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("vmmib:")]
    assert len(lines) == 1, done.stderr
    assert names in lines[0]
    assert "Traceback" not in done.stderr


def test_usage_errors_exit_with_2() -> None:
    assert run_vmmib("agent", "--no-such-flag").returncode == 2
    assert run_vmmib("no-such-command").returncode == 2
