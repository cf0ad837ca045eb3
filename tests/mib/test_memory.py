"""The state file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from vmmib.mib.memory import Memory, StateFile, VmMemory

URI = "test:///default"


def known(index: int = 1, **fields: object) -> VmMemory:
    plain = VmMemory(index=index, name="a", oper=4, admin=1, persistent=2)
    return msgspec.structs.replace(plain, **fields)


def memory(**fields: object) -> Memory:
    plain = Memory(uri=URI, next_index=3, vms={"k1": known(1), "k2": known(2, gone=True)})
    return msgspec.structs.replace(plain, **fields)


def write(directory: Path, made: Memory, name: str = "h") -> Path:
    file = StateFile(directory, name, made.uri)
    file.save(made)
    file.close()
    (path,) = directory.glob("*.json")
    return path


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    structlog.reset_defaults()


def test_round_trip_and_no_rests(tmp_path: Path) -> None:
    made = memory(
        vms={"k": known(1, disks={"vda": 1}, nics={"5254": 2}, up_since=1.5)}, volumes={"/p/v": 3}
    )
    path = write(tmp_path, made)
    assert StateFile(tmp_path, "h", URI).load() == made
    assert list(tmp_path.iterdir()) == [path]


def test_newest_save_wins(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "h", URI)
    for number in range(3, 50):
        file.save(memory(next_index=number))
    file.close()
    assert StateFile(tmp_path, "h", URI).load().next_index == 49
    file.save(memory(next_index=50))
    file.close()
    assert StateFile(tmp_path, "h", URI).load().next_index == 50


def test_name_is_no_path(tmp_path: Path) -> None:
    inside = tmp_path / "state"
    inside.mkdir()
    write(inside, memory(), name="../../etc/x y")
    assert [path.parent for path in tmp_path.rglob("*.json")] == [inside]


def test_missing_is_empty(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert StateFile(tmp_path, "h", URI).load() == Memory(uri=URI)
    assert [line["event"] for line in logs] == ["state_file_new"]


def test_nowhere_to_keep() -> None:
    file = StateFile(None, "h", URI)
    assert file.load() == Memory(uri=URI)
    file.save(memory())
    file.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"uri": 3}',
        msgspec.json.encode(memory(format=99)),
        msgspec.json.encode(memory(next_index=2)),
        msgspec.json.encode(memory(next_index=0)),
        msgspec.json.encode(memory(free=[1])),
        msgspec.json.encode(memory(vms={"a": known(1), "b": known(1)})),
        msgspec.json.encode(memory(vms={"a": known(0)})),
        msgspec.json.encode(memory(vms={"a": known(2**31)}, next_index=2**31 - 1)),
        msgspec.json.encode(memory(vms={"a": known(oper=13)})),
        msgspec.json.encode(memory(vms={"a": known(admin=0)})),
        msgspec.json.encode(memory(vms={"a": known(persistent=4)})),
        msgspec.json.encode(memory(vms={"a": known(disks={"x": 1, "y": 1})})),
        msgspec.json.encode(memory(vms={"a": known(nics={"x": 1, "y": 1})})),
        msgspec.json.encode(memory(volumes={"x": 1, "y": 1})),
    ],
)
def test_damage_is_said_set_aside_and_survived(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, memory())
    path.write_bytes(content)
    with capture_logs() as logs:
        assert StateFile(tmp_path, "h", URI).load() == Memory(uri=URI)
    assert [line["event"] for line in logs] == ["state_file_damaged"]
    assert path.with_suffix(".damaged").read_bytes() == content
    write(tmp_path, memory())
    assert StateFile(tmp_path, "h", URI).load() == memory()


def test_file_of_another_hypervisor_is_left(tmp_path: Path) -> None:
    write(tmp_path, memory())
    with capture_logs() as logs:
        assert StateFile(tmp_path, "h", "qemu:///system").load() == Memory(uri="qemu:///system")
    assert [line["event"] for line in logs] == ["state_file_of_other_hypervisor"]


def test_unreadable_is_said_and_survived(tmp_path: Path) -> None:
    (tmp_path / "h.json").mkdir()
    with capture_logs() as logs:
        assert StateFile(tmp_path, "h", URI).load() == Memory(uri=URI)
    assert [line["event"] for line in logs] == ["state_file_unreadable"]


def test_unwritable_is_said_once_and_survived(tmp_path: Path) -> None:
    (tmp_path / "h.json").mkdir()
    (tmp_path / "h.json" / "in the way").touch()
    with capture_logs() as logs:
        file = StateFile(tmp_path, "h", URI)
        for _ in range(3):
            file.save(memory())
            file.close()
    assert [line["event"] for line in logs] == ["state_file_not_written"]
    assert "remedy" in logs[0]
