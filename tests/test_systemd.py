"""The units of systemd/: what systemd itself says of them, and that each exemption has its reason.

No service is installed or started here. `systemd-analyze` reads copies in which the programs are
replaced by one that is there, for it refuses a unit whose program is missing.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import triage.config
import vmmib.config

FOLDER = Path(__file__).resolve().parents[1] / "systemd"
DROP_INS = FOLDER / "drop-ins"
GUIDE = FOLDER.parent / "docs" / "systemd.md"

UNITS = {"vmmib": 3.5, "triage": 2.0}
"""The exposure that each may have at most, as `systemd-analyze security` counts it."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)"
)

STRICTEST = {
    "AmbientCapabilities": "",
    "CapabilityBoundingSet": "",
    "DeviceAllow": "",
    "IPAddressDeny": "any",
    "KeyringMode": "private",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "NotifyAccess": "main",
    "PrivateDevices": "yes",
    "PrivateMounts": "yes",
    "PrivateNetwork": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "yes",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}
"""Sandbox settings, each with the value that only an exemption may depart from."""


class Unit:
    """One unit file: its settings, and what its comments exempt."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        self.settings: dict[str, list[str]] = {}
        section = ""
        for line in self.text.splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and not line.startswith("#"):
                key, _, value = line.partition("=")
                assert section, f"{path}: {line} stands in no section"
                self.settings.setdefault(key, []).append(value)
        comments = " ".join(
            line.lstrip("# ") for line in self.text.splitlines() if line.startswith("#")
        )
        self.reasons: dict[str, str] = {}
        """Why an exemption is made, by the setting, address family or set of system calls."""
        for part in comments.split("EXEMPT ")[1:]:
            names, _, reason = part.partition(": ")
            assert len(reason) > 20, f"{path}: {names} gives no reason"
            self.reasons |= {one.strip(): reason for one in names.split(",")}

    def all(self, key: str) -> list[str]:
        return self.settings.get(key, [])

    def one(self, key: str) -> str:
        """The value of a setting that stands there once."""
        (value,) = self.settings[key]
        return value


@pytest.fixture(params=UNITS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def unit(name: str) -> Unit:
    return Unit(FOLDER / f"{name}.service")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def verify(folder: Path, name: str, *drop_ins: Path, more: str = "") -> list[str]:
    """What `systemd-analyze verify` says of a unit with drop-ins, line by line."""
    source = (FOLDER / f"{name}.service").read_text(encoding="utf-8")
    unit = folder / f"{name}.service"
    unit.write_text(
        re.sub(r"^ExecStart=\S+", "ExecStart=/bin/sh", source, flags=re.MULTILINE) + more
    )
    (folder / f"{name}.service.d").mkdir()
    for path in drop_ins:
        shutil.copy(path, folder / f"{name}.service.d")
    done = analyze("verify", unit)
    # It also tells what it finds wrong with units of the machine
    lines = [line for line in done.stderr.splitlines() if name in line]
    return lines if lines or not done.returncode else [done.stderr]


# What systemd says


@needs_systemd
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    assert verify(tmp_path, name) == []


@needs_systemd
def test_the_check_finds_what_is_wrong(name: str, tmp_path: Path) -> None:
    (line,) = verify(tmp_path, name, more="NoSuchKey=1\n")
    assert "NoSuchKey" in line


@needs_systemd
@pytest.mark.parametrize("path", sorted(DROP_INS.glob("*.conf")), ids=lambda path: path.stem)
def test_systemd_finds_nothing_wrong_with_a_drop_in(path: Path, tmp_path: Path) -> None:
    version = int(analyze("--version").stdout.split()[1])
    for name in UNITS:
        if path.stem.split("-")[0] in (name, "restart"):
            folder = tmp_path / name
            folder.mkdir()
            lines = verify(folder, name, path)
            if path.stem == "restart-backoff" and version < 254:
                lines = [line for line in lines if "Unknown key 'Restart" not in line]
            assert lines == []


@needs_systemd
def test_the_exposure_is_low(name: str) -> None:
    path = FOLDER / f"{name}.service"
    limit = round(UNITS[name] * 10)
    done = analyze("security", "--offline=true", f"--threshold={limit}", path)
    assert done.returncode == 0, done.stdout
    # The threshold counts in tenths: one that the unit cannot pass
    assert analyze("security", "--offline=true", "--threshold=1", path).returncode == 1


@needs_systemd
def test_each_thing_that_systemd_calls_exposed_has_its_reason(name: str, unit: Unit) -> None:
    done = analyze("security", "--offline=true", "--json=short", FOLDER / f"{name}.service")
    exposed = [row for row in json.loads(done.stdout) if float(row["exposure"] or 0) > 0]
    assert exposed
    for row in exposed:
        key, _, detail = row["name"].partition("=")
        # PrivateNetwork= as well as SystemCallFilter=~@resources
        wanted = [detail.lstrip("~")] if detail.startswith("~") else [key]
        if wanted == ["AF_(INET|INET6)"]:
            wanted = ["AF_INET", "AF_INET6"]
        for one in wanted:
            assert one in unit.reasons, f"{row['name']}: {row['description']}"


# What they say


def test_a_setting_that_is_weaker_than_it_could_be_has_its_reason(unit: Unit) -> None:
    weaker = {key for key, value in STRICTEST.items() if unit.all(key) != [value]}
    if unit.all("AmbientCapabilities") == [""]:
        weaker.discard("AmbientCapabilities")
    assert weaker - set(unit.reasons) == set()


def test_no_reason_outlives_its_exemption(unit: Unit) -> None:
    for name in unit.reasons:
        if name.startswith("AF_"):
            assert name in unit.one("RestrictAddressFamilies").split()
        elif name.startswith("@"):
            assert name not in " ".join(unit.all("SystemCallFilter"))
        elif name in STRICTEST:
            assert unit.all(name) != [STRICTEST[name]]
        else:
            assert name == "RootDirectory"
    families = unit.one("RestrictAddressFamilies").split()
    assert set(families) <= set(unit.reasons)


def test_the_service_is_watched_and_never_given_up(unit: Unit) -> None:
    assert unit.one("Type") == "notify"
    assert unit.one("Restart") == "always"
    assert unit.one("StartLimitIntervalSec") == "0"
    assert 10 <= int(unit.one("WatchdogSec")) <= 120
    assert "HUP" in unit.one("ExecReload")


def test_nothing_is_required(unit: Unit, name: str) -> None:
    for key in ("Requires", "Requisite", "BindsTo", "PartOf"):
        assert key not in unit.settings
    if name == "vmmib":
        assert {"snmpd.service", "libvirtd.service"} <= set(unit.one("After").split())


def test_secrets_are_handed_over_and_may_be_missing(unit: Unit, name: str) -> None:
    # An absolute path that is not there would keep the service from starting
    for credential in unit.all("LoadCredential"):
        assert re.fullmatch(rf"{name}-[a-z.-]+", credential)
    assert unit.all("LoadCredential")
    assert unit.one("LimitCORE") == "0"


def test_the_user_of_the_agent_is_the_one_that_is_made() -> None:
    unit = Unit(FOLDER / "vmmib.service")
    words = [
        line.split()
        for path in ("vmmib.sysusers", "vmmib.tmpfiles")
        for line in (FOLDER / path).read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    made, folder = words
    assert made[:2] == ["u", unit.one("User")]
    assert folder == ["d", "/var/agentx", "0750", "root", unit.one("Group"), "-"]


def test_drop_ins_change_the_service_alone() -> None:
    paths = sorted(DROP_INS.glob("*"))
    assert paths
    for path in paths:
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read_string(path.read_text(encoding="utf-8"))
        assert parser.sections() == ["Service"], path


def test_the_configurations_of_the_guide_are_valid(tmp_path: Path) -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    for language, name, load in (
        ("toml", "vmmib.toml", vmmib.config.load),
        ("yaml", "triage.yaml", triage.config.load),
    ):
        (block, *_) = re.findall(rf"^```{language}\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
        path = tmp_path / name
        path.write_text(block, encoding="utf-8")
        load(path)
        for secret in re.findall(r"/run/credentials/(\w+).service/([\w.-]+)", block):
            assert secret[1] in Unit(FOLDER / f"{secret[0]}.service").all("LoadCredential")


def test_the_guide_names_every_file() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    for path in FOLDER.rglob("*"):
        if path.is_file():
            assert path.relative_to(FOLDER.parent).as_posix() in guide
    for name in UNITS:
        for credential in Unit(FOLDER / f"{name}.service").all("LoadCredential"):
            assert credential in guide
