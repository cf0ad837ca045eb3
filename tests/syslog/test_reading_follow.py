"""Following logs through rotation by renaming, by copying, by packing, and through restarts."""

from __future__ import annotations

import gzip
import json
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.syslog.reading import follow
from triage.syslog.reading.blocks import LONGEST
from triage.syslog.reading.follow import Follower
from triage.syslog.reading.unpack import ReadError


def append(path, text):
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def new(follower):
    return {path.name: data.decode() for path, data in follower.poll()}


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "messages"
    append(path, "old 1\nold 2\nunfin")
    return path


def test_only_what_is_new_and_whole(log, tmp_path):
    follower = Follower([tmp_path])
    assert new(follower) == {}
    append(log, "ished\nnew 1\nne")
    assert new(follower) == {"messages": "unfinished\nnew 1\n"}
    append(log, "w")
    assert new(follower) == {}
    append(log, " 2\n")
    assert new(follower) == {"messages": "new 2\n"}


def test_from_the_start(log, tmp_path):
    (tmp_path / "messages.1.gz").write_bytes(gzip.compress(b"older\n"))
    follower = Follower([tmp_path], from_start=True)
    assert new(follower) == {"messages": "old 1\nold 2\n", "messages.1.gz": "older\n"}
    assert new(follower) == {}


def test_rotation_by_renaming(log, tmp_path):
    follower = Follower([tmp_path])
    append(log, "ished\n")
    log.rename(tmp_path / "messages.1")
    append(tmp_path / "messages.1", "last\n")
    append(log, "first\n")
    assert new(follower) == {"messages.1": "unfinished\nlast\n", "messages": "first\n"}
    append(log, "second\n")
    assert new(follower) == {"messages": "second\n"}


@pytest.mark.parametrize("grown", ["fresh\n", "fresh\n" * 99])
def test_rotation_by_copying_and_truncating(log, tmp_path, grown):
    """The new lines may be more than were there before."""
    follower = Follower([tmp_path])
    append(log, "ished\n")
    shutil.copy(log, tmp_path / "messages.1")
    os.truncate(log, 0)
    append(log, grown)
    assert new(follower) == {"messages.1": "unfinished\n", "messages": grown}
    assert new(follower) == {}


def test_packed_files_are_not_read_twice(log, tmp_path):
    follower = Follower([tmp_path])
    append(log, "ished\nread\n")
    assert new(follower) == {"messages": "unfinished\nread\n"}
    append(log, "not yet\n")
    (tmp_path / "messages.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    append(log, "next\n")
    assert new(follower) == {"messages": "next\n", "messages.1.gz": "not yet\n"}
    (tmp_path / "messages.1.gz").rename(tmp_path / "messages.2.gz")
    assert new(follower) == {}


def test_a_packed_file_that_appears_is_read(tmp_path):
    follower = Follower([tmp_path])
    (tmp_path / "hv9.log.gz").write_bytes(gzip.compress(b"a\nb\n"))
    assert new(follower) == {"hv9.log.gz": "a\nb\n"}


def test_files_that_begin_alike_are_two(tmp_path):
    """kern.log and syslog: the kernel's lines are in both."""
    follower = Follower([tmp_path], from_start=True)
    append(tmp_path / "kern.log", "boot\nkernel\n")
    assert new(follower) == {"kern.log": "boot\nkernel\n"}
    append(tmp_path / "syslog", "boot\ncron\nkernel\n")
    assert new(follower) == {"syslog": "boot\ncron\nkernel\n"}


def test_files_come_and_go(log, tmp_path):
    follower = Follower([log, tmp_path / "later", tmp_path / "folder"])
    assert new(follower) == {}
    log.unlink()
    append(tmp_path / "later", "a\n")
    (tmp_path / "folder").mkdir()
    append(tmp_path / "folder" / "x", "b\n")
    assert new(follower) == {"later": "a\n", "x": "b\n"}
    append(log, "again\n")
    assert new(follower) == {"messages": "again\n"}


def test_empty_files_become_logs(tmp_path):
    follower = Follower([tmp_path])
    for name in ("a", "b"):
        (tmp_path / name).touch()
    assert new(follower) == {}
    append(tmp_path / "a", "1\n")
    append(tmp_path / "b", "1\n2\n")
    assert new(follower) == {"a": "1\n", "b": "2\n"}  # all of a, and more
    append(tmp_path / "a", "3\n")
    assert new(follower)["a"] == "3\n"


def test_what_is_no_text_is_passed_over(tmp_path):
    follower = Follower([tmp_path])
    append(tmp_path / "wtmp", b"\x07\0\0\0" * 100)
    assert new(follower) == {}
    append(tmp_path / "wtmp", b"\x07\0\0\0\n" * 100)
    assert new(follower) == {}


def test_nothing_is_opened_when_nothing_changed(log, tmp_path, monkeypatch):
    append(log, "\n")
    follower = Follower([tmp_path])

    def refuse(path):
        raise AssertionError(path)

    monkeypatch.setattr(follow, "opened", refuse)
    monkeypatch.setattr(follow, "is_text", refuse)
    assert new(follower) == {}


def test_long_lines_are_cut(log, tmp_path):
    follower = Follower([tmp_path])
    append(log, "\n" + "x" * 3 * LONGEST)
    assert new(follower) == {"messages": "unfin\n" + "x" * LONGEST + "\n"}
    append(log, "x" * 3 * LONGEST)
    assert new(follower) == {}
    append(log, "x\nnext\n")
    assert new(follower) == {"messages": "next\n"}


def test_much_comes_in_parts(log, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "MOST", 100)
    follower = Follower([tmp_path])
    lines = "".join(f"line {i}\n" for i in range(50))
    append(log, "\n" + lines)
    (tmp_path / "b.gz").write_bytes(gzip.compress(lines.encode()))
    parts = [new(follower) for _ in range(9)]
    assert "".join(part.get("messages", "") for part in parts) == "unfin\n" + lines
    assert "".join(part.get("b.gz", "") for part in parts) == lines


def test_what_cannot_be_read_is_told(log, tmp_path, monkeypatch):
    follower = Follower([tmp_path])

    def refuse(path):
        raise ReadError(f"{path}: permission denied")

    append(log, "\n")
    with monkeypatch.context() as patch:
        patch.setattr(follow, "opened", refuse)
        assert new(follower) == {}
        assert "permission denied" in follower.errors[0]
    assert new(follower) == {"messages": "unfin\n"}
    assert follower.errors == ()


def test_the_state_goes_on(log, tmp_path):
    state = json.loads(json.dumps(Follower([tmp_path]).state()))
    append(log, "ished\n")
    log.rename(tmp_path / "messages.1")
    append(log, "meanwhile\n")
    follower = Follower([tmp_path], state=state)
    assert new(follower) == {"messages.1": "unfinished\n", "messages": "meanwhile\n"}
    assert new(Follower([tmp_path], state=follower.state())) == {}


@pytest.mark.parametrize("state", [{}, {"format": "x"}, {"format": follow.FORMAT, "files": 3}])
def test_a_foreign_state_is_refused(state, tmp_path):
    with pytest.raises(ReadError, match="saved state"):
        Follower([tmp_path], state=state)


STEPS = st.lists(
    st.sampled_from(["write", "part", "poll", "rename", "copy", "pack", "restart"]), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_every_line_comes_once(tmp_path_factory, steps):
    """Whatever happens, provided that it is looked at before a truncation."""
    folder = tmp_path_factory.mktemp("follow")
    path, written, seen, rotated = folder / "messages", [], [], 0
    follower = Follower([folder])
    pending = ""

    def look():
        seen.extend(line for _, data in follower.poll() for line in data.decode().splitlines())

    for number, step in enumerate([*steps, "write", "poll"]):
        rotates = step in {"rename", "copy", "pack"} and path.exists() and path.stat().st_size
        if step == "write" or (rotates and pending):
            append(path, f"{pending and ' '}line {number} {'.' * number}\n")
            written.append(f"{pending}{pending and ' '}line {number} {'.' * number}")
            pending = ""
        if step == "part" and not pending:
            pending = f"begun {number}"
            append(path, pending)
        if step == "poll":
            look()
        if step == "restart":
            follower = Follower([folder], state=json.loads(json.dumps(follower.state())))
        if rotates:
            rotated += 1
            target = folder / f"messages.{rotated}"
            if step == "rename":
                path.rename(target)
            else:
                shutil.copy(path, target)
                if step == "pack":
                    target.with_suffix(f".{rotated}.gz").write_bytes(
                        gzip.compress(target.read_bytes())
                    )
                    target.unlink()
                os.truncate(path, 0)
            look()
    assert sorted(seen) == sorted(written)
