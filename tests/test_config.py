"""Configuration files and flags: what is taken, what is refused, and in which words.

One file in data/config/bad per rule. Its first line tells the one line that must be said of it
("..." at the end: how it must begin, where the words are a library's).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vmmib import config, configfile
from vmmib.config import Flags, HostResourcesConfig, load
from vmmib.configfile import ConfigError

DATA = Path(__file__).parent / "data" / "config"
BAD = sorted((DATA / "bad").glob("*.toml"))


def problems(path: Path | None = None, flags: Flags = config.NO_FLAGS) -> tuple[str, ...]:
    """What is said of a configuration that must not be taken."""
    with pytest.raises(ConfigError) as caught:
        load(path, flags)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


def written(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# Good files


def test_defaults() -> None:
    found = load()
    assert found == load(DATA / "good" / "empty.toml") == load(DATA / "good" / "empty.yml")
    (only,) = found.hypervisors
    assert (only.name, only.uri, only.context) == ("qemu", "qemu:///system", "")
    assert found.agentx.socket == "unix:/var/agentx/master"
    assert (found.notifications.per_vm, found.notifications.bulk) == (True, False)
    assert found.web.listen_address is None
    assert found.state_dir == Path("/var/lib/vmmib")


def test_every_key() -> None:
    found = load(DATA / "good" / "all.toml")
    local, esx = found.hypervisors
    assert (local.poll_interval, local.silence_limit, local.volumes) == (5.0, 45.0, True)
    assert local.object_id == "1.3.6.1.4.1.2312"
    assert (esx.context, esx.poll_interval, esx.silence_limit) == ("first", 60.0, 180.0)
    assert esx.auth_file == DATA / "good" / "auth.conf", "relative to the file's folder"
    assert found.state_dir == DATA / "good" / "state"
    assert found.notifications.bulk_window == 0.5
    assert found.agentx.ping_interval == 20.0
    assert found.host_resources is not None
    assert found.host_resources.credentials_file == DATA / "good" / "snmp.toml"


def test_yaml_says_the_same() -> None:
    assert load(DATA / "good" / "all.yaml") == load(DATA / "good" / "all.toml")


def test_names_and_contexts_by_themselves() -> None:
    found = load(DATA / "good" / "many.toml").hypervisors
    assert [(one.name, one.context) for one in found] == [
        ("qemu", ""),
        ("esx1.example", "esx1.example"),
        ("esx1.example-2", "esx1.example-2"),
        ("qemu-2", "qemu-2"),
        ("qemu-3", "qemu-3"),
    ]


def test_frozen() -> None:
    found = load()
    with pytest.raises(ValidationError):
        found.log_level = "debug"
    assert hash(found) == hash(load())


@given(
    st.lists(
        st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=60).filter(
            lambda host: host.strip(".-") == host
        ),
        min_size=1,
        max_size=12,
    )
)
def test_derived_names_and_contexts_are_unique_and_fit(hosts: list[str]) -> None:
    found = load(None, Flags(libvirt_uris=tuple(f"qemu+ssh://{host}/system" for host in hosts)))
    assert len({one.name for one in found.hypervisors}) == len(hosts)
    assert len({one.context for one in found.hypervisors}) == len(hosts)
    assert found.hypervisors[0].context == ""
    assert all(len(one.context.encode()) <= 32 for one in found.hypervisors)


# Bad files


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_file(path: Path) -> None:
    expected = path.read_text().split("\n", 1)[0].removeprefix("# expect: ")
    (said,) = problems(path)
    said = said.removeprefix(f"{path}: ")
    if expected.endswith("..."):
        assert said.startswith(expected.removesuffix("..."))
    else:
        assert said == expected
    assert "Tr0ub4dor" not in said


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "c.toml", 'log_level = "loud"\n[web]\nport = 1\n[agentx]\ntimeout = 0')
    assert len(problems(path)) == 3


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("c.yaml", "web: {}\nweb: {}\n", 'not valid: the key "web" is given twice (at line 2'),
        ("c.yaml", "- a\n", "must hold keys and values"),
        ("c.yaml", "web: [\n", "not valid: "),
        ("c.yaml", "a: 1\n---\nb: 2\n", "not valid: "),
        ("c.yaml", "!!python/object/apply:os.system [id]\n", "not valid: "),
        ("c.yaml", "log_level: \x07\n", "not valid: "),
        ("c.yaml", "&a a: *a\n? {b: 1}\n: 2\n", "not valid: "),
        ("c.yaml", "web: {}\n1: 2\n", "not valid: a key that is no text (at line 2, column 1)"),
        ("c.yaml", "state_dir: 2024-02-31\n", "not valid: "),
        ("c.yaml", "[" * 5000, "is nested too deeply"),
        ("c.toml", "a = " + "[" * 5000, "is nested too deeply"),
        ("c.toml", b'log_level = "\xff"', "is not UTF-8 (octet 13)"),
        ("c.toml", b"#" * (1024 * 1024 + 1), "is larger than 1048576 octets"),
        ("c.ini", "", "the name must end in .toml, .yaml or .yml"),
        ("c.toml", "state_dir = 'a\\u0000b'".replace("'", '"'), "state_dir: must be a path"),
    ],
)
def test_bad_content(tmp_path: Path, name: str, content: str | bytes, expected: str) -> None:
    path = written(tmp_path, name, content)
    (said,) = problems(path)
    assert said.startswith(f"{path}: {expected}")


def test_absent_and_unreadable_file(tmp_path: Path) -> None:
    assert problems(tmp_path / "no.toml") == (
        f"{tmp_path}/no.toml: cannot be read: No such file or directory",
    )
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert problems(folder) == (f"{folder}: cannot be read: Is a directory",)


# Any text in the places where text goes ends in a configuration or in a line


@given(st.text(max_size=80))
def test_any_uri_is_taken_or_refused(text: str) -> None:
    said: tuple[str, ...] = ()
    try:
        assert load(None, Flags(libvirt_uris=(text,))).hypervisors[0].uri == text
    except ConfigError as error:
        said = error.problems
    assert all(line.startswith("--libvirt-uri: ") for line in said)


@given(st.text(max_size=20))
def test_any_listen_address_is_split_or_refused(text: str) -> None:
    try:
        host, port = configfile.split_host_port(text)
    except ValueError:
        return
    assert 0 <= port <= 65535
    assert ":" not in host or text.startswith("[")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:9177", ("localhost", 9177)),
        (":9177", ("", 9177)),
        ("[::1]:9177", ("::1", 9177)),
        ("[fe80::1%eth0]:0", ("fe80::1%eth0", 0)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
    ],
)
def test_listen_address(text: str, expected: tuple[str, int]) -> None:
    assert configfile.split_host_port(text) == expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("2.5s", 2.5), ("5m", 300.0), ("1 h", 3600.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert configfile.parse_duration(text) == seconds


# Flags


def test_flags_overrule_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = Flags(
        agentx_socket="unix:/run/agentx",
        listen_address=":9177",
        state_dir="here",
        log_level="debug",
        poll_interval="2",
    )
    found = load(DATA / "good" / "all.toml", flags)
    assert found.agentx.socket == "unix:/run/agentx"
    assert found.agentx.timeout == 3, "the rest of the section stays"
    assert found.web.listen_address == ":9177"
    assert found.state_dir == tmp_path / "here", "relative to the working folder"
    assert found.log_level == "debug"
    assert [one.poll_interval for one in found.hypervisors] == [2.0, 2.0]


def test_uri_flags_replace_the_hypervisors_and_keep_what_is_said_of_them() -> None:
    uris = ("esx://root@esx1.example/?no_verify=1", "qemu:///session")
    found = load(DATA / "good" / "all.toml", Flags(libvirt_uris=uris)).hypervisors
    assert [one.name for one in found] == ["esx1", "qemu"]
    assert found[0].auth_file == DATA / "good" / "auth.conf"


def test_problems_of_flags_name_the_flag() -> None:
    flags = Flags(
        libvirt_uris=("nonsense:///",), listen_address="x", state_dir="", poll_interval="soon"
    )
    assert [line.partition(": ")[0] for line in problems(None, flags)] == [
        "--libvirt-uri",
        "--poll-interval",
        "--web.listen-address",
        "--state-dir",
    ]


# Credentials


def host_resources(path: Path, version: str) -> HostResourcesConfig:
    return HostResourcesConfig.model_validate({"version": version, "credentials_file": path})


def test_credentials(tmp_path: Path) -> None:
    path = written(tmp_path, "snmp.toml", 'community = "Tr0ub4dor"')
    found = config.read_credentials(host_resources(path, "2c"))
    assert found.community is not None
    assert found.community.get_secret_value() == "Tr0ub4dor"
    assert "Tr0ub4dor" not in repr(found) + str(found)


@pytest.mark.parametrize(
    ("version", "text", "expected"),
    [
        ("2c", "", "give either community or user"),
        ("2c", 'user = "u"', "version 2c needs community"),
        ("3", 'community = "Tr0ub4dor"', "version 3 needs user"),
        ("3", 'user = "u"\nauth_passphrase = "Tr0ub4dor"', "give both auth_protocol and auth_pass"),
        (
            "3",
            'user = "u"\npriv_protocol = "AES"\npriv_passphrase = "Tr0ub4dor"',
            "priv_protocol needs auth_protocol",
        ),
        ("3", 'user = "u"\nauth_passphrse = "Tr0ub4dor"', "auth_passphrse: unknown key; did you"),
        ("2c", "community = 5", "community: must be text"),
    ],
)
def test_bad_credentials(tmp_path: Path, version: str, text: str, expected: str) -> None:
    path = written(tmp_path, "snmp.toml", text)
    with pytest.raises(ConfigError) as caught:
        config.read_credentials(host_resources(path, version))
    (said,) = caught.value.problems
    assert said.startswith(f"{path}: {expected}")
    assert "Tr0ub4dor" not in said
