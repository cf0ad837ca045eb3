"""The command line: what it prints, its exit codes, and one clear line for every fault."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.netsnmp import Snmpd, needs_netsnmp, wait_until
from vmmib import __version__, mibs, show
from vmmib.cli import main
from vmmib.config import Flags, from_flags
from vmmib.configfile import ConfigError
from vmmib.hypervisor.model import (
    Access,
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

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data" / "config"


def vmmib(
    *arguments: str, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "vmmib", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of a command that must fail."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    lines = captured.err.splitlines()
    assert all(line.startswith("vmmib: ") for line in lines)
    return [line.removeprefix("vmmib: ") for line in lines]


# Usage


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vmmib {__version__}\n"


@pytest.mark.parametrize("arguments", [["agent"], ["show"], ["doctor"], ["config", "check"], []])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--help"]) == 0
    assert "Usage: vmmib" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["agent", "--no-such-flag"],
        ["agent", "extra"],
        ["agent", "--log.level", "loud"],
        ["config", "check"],
        ["config", "check", "a.toml", "--config.file", "b.toml"],
        ["show", "--timeout", "never"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    heavy = "{'pydantic', 'rich', 'libvirt', 'prometheus_client', 'structlog', 'asyncio'}"
    code = f"import sys, vmmib.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# config check, mibs


def test_config_check(capsys: pytest.CaptureFixture[str]) -> None:
    good = str(DATA / "good" / "all.toml")
    for arguments in ([good], ["--config.file", good]):
        assert main(["config", "check", *arguments]) == 0
        assert capsys.readouterr().out == f"{good}: valid (2 hypervisors)\n"


def test_config_check_says_all_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    path.write_text('log_level = "loud"\nwep = 1\n')
    assert failed(capsys, "config", "check", str(path)) == [
        f"{path}: log_level: must be 'debug', 'info', 'warning' or 'error'",
        f'{path}: wep: unknown key; did you mean "web"?',
    ]


@pytest.mark.parametrize("command", ["agent", "show", "doctor"])
def test_every_command_refuses_a_bad_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = DATA / "bad" / "unknown_section.toml"
    (line,) = failed(capsys, command, "--config.file", str(path))
    assert line == f'{path}: notification: unknown key; did you mean "notifications"?'


def test_mibs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mibs"]) == 0
    assert capsys.readouterr().out == f"{mibs.folder()}\n"
    assert main(["mibs", "--base"]) == 0
    assert capsys.readouterr().out == f"{mibs.base_folder()}\n"
    assert main(["mibs", "--path"]) == 0
    assert capsys.readouterr().out == f"{mibs.search_path()}\n"


def test_mibs_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mibs, "_PACKAGE", tmp_path / "vmmib")
    (line,) = failed(capsys, "mibs")
    assert "VM-MIB.txt" in line


# show

DISK = Disk(
    "vda", SourceType.SPARSE, "qcow2", "/a", Access.READWRITE, MediaType.HARD_DISK, "virtio", 2048
)
VM = Vm(
    key="00" * 16,
    uuid=bytes(16),
    name="a\x1b[31m",
    os_type="hvm",
    oper=OperState.RUNNING,
    admin=None,
    autostart=AutoStart.DISABLED,
    persistent=Persistent.TRANSIENT,
    cpu_current=1,
    cpu_min=None,
    cpu_max=2,
    memory_current=3 * 2**40,
    memory_min=None,
    memory_max=None,
    cpus=(Cpu(0, None, bytes([1, 2, 1])), Cpu(1)),
    disks=(DISK,),
    nics=(Nic(b"", "", "virtio"),),
)


def report(vm: Vm = VM) -> show.Report:
    (config,) = from_flags(Flags(libvirt_uris=("test:///default",))).hypervisors
    hypervisor = Hypervisor("TEST", "test", "1", "1.3.6.1.4.1.2312", "h", 1e300, 4)
    return show.Report(config, "", hypervisor, (vm,), (DISK,))


def test_json_says_null_for_what_is_unknown() -> None:
    data = json.loads(json.dumps(show.as_data(report())))
    (vm,) = data["vms"]
    assert vm["uuid"] == "00000000-0000-0000-0000-000000000000"
    assert [cpu["affinity"] for cpu in vm["cpus"]] == [[0, 2], None]
    assert (vm["admin_state"], vm["memory_max_octets"], vm["cpu_min"]) == (None, None, None)
    assert vm["nics"][0]["mac"] is None
    assert vm["disks"] == data["volumes"]


def test_json_has_every_key_that_is_documented() -> None:
    data = show.as_data(report())
    documented = set(re.findall(r'"([a-z_]+)"', show.__doc__ or "")) - {"affinity", "started"}
    (vm,) = data["vms"]
    keys = {*data, *vm, *vm["disks"][0], *vm["nics"][0], *vm["cpus"][0]}
    assert documented <= keys | {"hypervisors"}


def test_table_shows_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show._print_tables([report()])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "a\ufffd[31m" in shown
    assert "3 TiB" in shown


def test_show_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--libvirt-uri", "test:///default", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["hypervisors"]
    assert (found["reachable"], found["error"], found["driver"]) == (True, None, "TEST")
    (vm,) = found["vms"]
    assert (vm["name"], vm["oper_state"]) == ("test", "running")
    assert vm["uuid"] == "6695eb01-f6a4-8304-79aa-97f2502e193f"


def test_show_table_and_a_failing_neighbour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = f"qemu+unix:///system?socket={tmp_path}/none"
    assert main(["show", "--libvirt-uri", gone, "--libvirt-uri", "test:///default"]) == 1
    captured = capsys.readouterr()
    assert "6695eb01-f6a4-8304-79aa-97f2502e193f" in captured.out, "the other one is shown"
    (line,) = captured.err.splitlines()
    assert line.startswith(f"vmmib: {gone}: ")


def test_a_closed_pipe_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "vmmib", "show", "--libvirt-uri", "test:///default", "--json"],
            cwd=ROOT,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


# agent: what cannot start says so


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--libvirt-uri", "nonsense:///"], '--libvirt-uri: names the driver "nonsense", which'),
        (["--libvirt-uri", "test:///no/such/file"], "test: test:///no/such/file: /no/such/file: "),
        (["--agentx-socket", "udp:localhost:705"], "--agentx-socket: "),
        (["--web.listen-address", "9177"], "--web.listen-address: must be HOST:PORT"),
    ],
)
def test_agent_does_not_start(arguments: list[str], expected: str, tmp_path: Path) -> None:
    done = vmmib("agent", "--state-dir", str(tmp_path), *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"vmmib: {expected}")


def test_agent_with_its_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = vmmib(
            *("agent", "--libvirt-uri", "test:///default", "--state-dir", str(tmp_path)),
            *("--agentx-socket", f"unix:{tmp_path}/master", "--web.listen-address", address),
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"vmmib: cannot listen on {address}: ")


@needs_netsnmp
def test_agent_runs_reloads_and_ends(tmp_path: Path) -> None:
    config = tmp_path / "vmmib.toml"
    text = 'state_dir = "state"\n[[hypervisors]]\nuri = "test:///default"\n'
    with Snmpd(tmp_path) as snmpd:
        config.write_text(f'{text}[agentx]\nsocket = "{snmpd.agentx_socket}"\n')
        log = tmp_path / "log"
        with log.open("wb") as out:
            agent = subprocess.Popen(
                [sys.executable, "-m", "vmmib", "agent", "--config.file", str(config)],
                cwd=ROOT,
                stderr=out,
            )
        try:
            wait_until(snmpd.walk, 20, "the agent to serve")
            good = config.read_text()
            config.write_text(f"{good}nonsense = 1\n")
            agent.send_signal(signal.SIGHUP)
            wait_until(lambda: "reload_refused" in log.read_text(), 10, "the reload")
            assert snmpd.walk(), "the old configuration stands"
            config.write_text(f"{good}priority = 100\n")
            agent.send_signal(signal.SIGHUP)
            wait_until(lambda: "event=reloaded" in log.read_text(), 10, "the reload")
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(10) == 0
        finally:
            agent.kill()
            agent.wait()
    assert "Traceback" not in log.read_text()


# doctor


def test_doctor_has_one_line_for_each_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [
            *("doctor", "--libvirt-uri", "test:///default", "--state-dir", str(tmp_path)),
            *("--agentx-socket", f"unix:{tmp_path}/none", "--web.listen-address", "127.0.0.1:0"),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert [line.split()[0] for line in lines] == ["ok", "FAILED", "ok", "ok", "ok", "ok"]
    assert "; start snmpd" in lines[1]


def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"qemu+tcp://127.0.0.1:{silent.getsockname()[1]}/system"
        process = subprocess.Popen(
            # A shell has its background jobs ignore SIGINT, and these tests may be in one
            [
                "env",
                "--default-signal=INT",
                sys.executable,
                "-m",
                "vmmib",
                "show",
                "--libvirt-uri",
                host,
            ],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        connection, _ = silent.accept()  # it waits for our answer now
        with connection:
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
            assert time.monotonic() - started < 15, "it does not wait for the answer"
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_config_error_has_lines() -> None:
    error = ConfigError(["a", "b"])
    assert (error.problems, str(error)) == (("a", "b"), "a\nb")
