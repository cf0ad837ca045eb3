"""The supervisor: children that die, lie, fall silent or never start, and one that does well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

from tests.hypervisor.fake_libvirt import Story
from tests.libvirt_env import node_file
from vmmib import backoff
from vmmib.hypervisor import supervisor
from vmmib.hypervisor.messages import (
    Batch,
    Changed,
    Message,
    Refreshed,
    Removed,
    Unreachable,
    encode,
)
from vmmib.hypervisor.model import (
    AdminState,
    AutoStart,
    Hypervisor,
    OperState,
    Persistent,
    Vm,
)
from vmmib.hypervisor.settings import SourceSettings
from vmmib.hypervisor.source import SourceError
from vmmib.hypervisor.supervisor import Supervisor, snapshot
from vmmib.loop import Loop


class Watch:
    """A supervisor on a loop of its own, and what it told."""

    def __init__(self, settings: SourceSettings) -> None:
        self.loop = Loop()
        self.story = Story()
        self.lines: list[str] = []
        self.supervisor = Supervisor(self.loop, settings, self._take, self.lines.append)

    def _take(self, message: Message) -> None:
        self.story(message)

    def __enter__(self) -> Watch:
        self.supervisor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.supervisor.stop()
        self.loop.close()

    def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Run the loop until a condition holds."""
        deadline = self.loop.time() + seconds
        while not condition():
            assert self.loop.time() < deadline, (self.story.messages[-3:], self.lines)
            self.loop.call_later(0.01, self.loop.stop)
            self.loop.run()

    def reasons(self) -> list[str]:
        """Of each Unreachable."""
        return [one.reason for one in self.story.messages if isinstance(one, Unreachable)]

    def refreshes(self) -> int:
        """How many whole refreshes came."""
        return sum(isinstance(one, Refreshed) for one in self.story.messages)


HYPERVISOR = Hypervisor("X", "x", "1", "1.3.6.1.4.1.2312", "h", None, 1)


def vm_of(name: str, oper: OperState = OperState.RUNNING) -> Vm:
    return Vm(
        f"name:{name}", b"", name, "", oper, AdminState.RUNNING, AutoStart.UNKNOWN,
        Persistent.UNKNOWN, 1, None, None, 0, None, None,
    )  # fmt: skip


def refreshed(complete: bool = True, removed: tuple[str, ...] = ()) -> Refreshed:
    return Refreshed(HYPERVISOR, complete, removed, None, 1, 0.1)


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], SourceSettings]:
    """Replace the child by a script; `out(*messages)` sends, `N` counts the starts from 1."""
    monkeypatch.setattr(backoff, "FIRST", 0.02)
    script, count = tmp_path / "child.py", tmp_path / "count"

    def write(body: str, **messages: Message) -> SourceSettings:
        known = "".join(f"{name} = {encode(one)!r}\n" for name, one in messages.items())
        script.write_text(
            "import os, sys, time, signal\n"
            f"count = {str(count)!r}\n"
            "open(count, 'ab').write(b'x')\n"
            "N = os.path.getsize(count)\n"
            "fd = int(sys.argv[sys.argv.index('--fd') + 1])\n"
            "def out(*parts):\n    for part in parts: os.write(fd, part)\n" + known + body
        )
        monkeypatch.setattr(
            supervisor, "_command", lambda fd: [sys.executable, str(script), "--fd", str(fd)]
        )
        return SourceSettings("scripted", "x://u:secret@h/", poll_interval=0.1, silence_limit=0.6)

    return write


Child = Callable[..., SourceSettings]


def test_a_refresh_is_handed_on_whole(child: Child) -> None:
    settings = child(
        "out(a, b); time.sleep(0.1); out(done); sys.stdin.read()",
        a=Batch((vm_of("a"),)),
        b=Batch((vm_of("b"),)),
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(watch.refreshes)
        first, second = watch.story.messages
        assert isinstance(first, Batch)
        assert [vm.name for vm in first.vms] == ["a", "b"]
        assert isinstance(second, Refreshed)
        one = watch.supervisor
        assert (one.up, one.refreshes, one.restarts, one.reason) == (True, 1, 0, "")
        assert (one.refresh_seconds, one.last_refresh is not None) == (0.1, True)


def test_an_event_overrules_an_open_batch(child: Child) -> None:
    settings = child(
        "out(batch, changed, removed, done); sys.stdin.read()",
        batch=Batch((vm_of("a"), vm_of("b"))),
        changed=Changed(vm_of("a", OperState.PAUSED), 1.0),
        removed=Removed("name:b", 1.0),
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(watch.refreshes)
        kinds = [type(message) for message in watch.story.messages]
        assert kinds == [Changed, Removed, Batch, Refreshed]
        assert {vm.name: vm.oper for vm in watch.story.vms.values()} == {"a": OperState.PAUSED}


def test_half_a_refresh_of_a_dead_child_is_dropped(child: Child) -> None:
    settings = child(
        "out(half) if N == 1 else out(whole, done)\nN > 1 and sys.stdin.read()",
        half=Batch((vm_of("ghost"),)),
        whole=Batch((vm_of("real"),)),
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(watch.refreshes)
        assert [vm.name for vm in watch.story.vms.values()] == ["real"]
        assert watch.reasons() == []
        assert watch.supervisor.restarts == 1


@pytest.mark.parametrize(
    "body",
    [
        "os._exit(3)",
        "os.kill(os.getpid(), 9)",
        "out(b'garbage that is no message'); sys.stdin.read()",
        "out(b'\\xff\\xff\\xff\\xff'); sys.stdin.read()",
        "os.close(fd); sys.stdin.read()",
        "out(b'\\0\\0\\0\\2{}'); sys.stdin.read()",
    ],
)
def test_a_bad_child_is_replaced(child: Child, body: str) -> None:
    settings = child(
        f"if N == 2:\n    {body}\nout(done)\nif N == 1: os._exit(0)\nsys.stdin.read()",
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(lambda: watch.refreshes() >= 2)
        assert watch.supervisor.restarts == 2
        assert watch.reasons() == []
        assert any("starting another" in line or "garbage" in line for line in watch.lines)


def test_a_crash_makes_the_next_child_cautious(child: Child, tmp_path: Path) -> None:
    got = tmp_path / "settings"
    settings = child(
        f"open({str(got)!r} + str(N), 'wb').write(sys.stdin.buffer.read1(9999))\n"
        "if N == 1: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "out(done); sys.stdin.read()",
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(watch.refreshes)
        assert b"cautious\xc2" in Path(f"{got}1").read_bytes()
        assert b"cautious\xc3" in Path(f"{got}2").read_bytes()


def test_silence_is_told_once_and_ended(child: Child) -> None:
    settings = child("N == 1 and out(done)\nN == 4 and out(done)\ntime.sleep(60)", done=refreshed())
    with Watch(settings) as watch:
        watch.until(lambda: watch.refreshes() == 2)
        (reason,) = watch.reasons()
        assert "no answer for 0.6 seconds" in reason
        assert "secret" not in reason + repr(watch.lines)
        assert watch.supervisor.up
        watch.until(lambda: len(watch.reasons()) == 2)  # a new episode
        assert not watch.supervisor.up


def test_silence_of_a_child_that_never_said_a_word(child: Child) -> None:
    with Watch(child("time.sleep(60)")) as watch:
        watch.until(watch.reasons)


def test_events_alone_are_no_sign_of_life(child: Child) -> None:
    settings = child(
        "out(done)\nwhile True: out(changed); time.sleep(0.05)",
        done=refreshed(),
        changed=Changed(vm_of("a"), 1.0),
    )
    with Watch(settings) as watch:
        watch.until(watch.reasons)


def test_a_refresh_that_makes_progress_is_alive(child: Child) -> None:
    settings = child(
        "for _ in range(15): out(batch); time.sleep(0.1)\nout(done); time.sleep(60)",
        batch=Batch(()),
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(watch.refreshes)
        assert watch.reasons() == []


def test_a_child_that_says_unreachable_is_believed_once(child: Child) -> None:
    settings = child(
        "out(no, no, no, done, no)\nsys.stdin.read()",
        no=Unreachable("nobody there"),
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(lambda: len(watch.reasons()) == 2)
        kinds = [type(message) for message in watch.story.messages]
        assert kinds == [Unreachable, Refreshed, Unreachable]
        assert watch.supervisor.reason == "nobody there"


def test_a_stopped_parent_does_not_blame_the_child(child: Child) -> None:
    settings = child("while True: out(done); time.sleep(0.05)", done=refreshed())
    with Watch(settings) as watch:
        watch.until(watch.refreshes)
        time.sleep(1.5)  # as if by SIGSTOP: nobody reads, nobody looks at the clock
        before = watch.refreshes()
        watch.until(lambda: watch.refreshes() > before)
        assert watch.reasons() == []


def test_what_a_child_writes_is_logged_within_bounds(child: Child) -> None:
    settings = child(
        "sys.stderr.write('x://u:secret@h ' + 'y' * 5000 + '\\n')\n"
        "for n in range(5000): sys.stderr.write(f'line {n}\\n')\n"
        "sys.stderr.flush(); out(done); sys.stdin.read()",
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(lambda: watch.refreshes() and len(watch.lines) >= supervisor.MOST_LINES)
        assert "***" in watch.lines[0]
        assert max(len(line) for line in watch.lines) <= supervisor.LONGEST_LINE
        assert len(watch.lines) == supervisor.MOST_LINES


def test_a_child_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backoff, "FIRST", 0.02)
    monkeypatch.setattr(supervisor, "_command", lambda _: [str(tmp_path / "absent")])
    with Watch(SourceSettings("x", "x", poll_interval=0.1, silence_limit=0.3)) as watch:
        watch.until(lambda: len(watch.lines) > 2)
        watch.until(watch.reasons)
        assert "cannot start" in watch.lines[0]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_restarts_leak_nothing(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "LONGEST", 0.02)
    settings = child("out(done)", done=refreshed())
    with Watch(settings) as watch:
        watch.until(lambda: watch.refreshes() >= 2)
        before = descriptors()
        watch.until(lambda: watch.refreshes() >= 12)
        assert descriptors() <= before + 4
    children = [
        Path(f"/proc/{pid}/cmdline").read_bytes()
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    assert not [line for line in children if b"child.py" in line]


def test_stop_ends_a_child_that_does_not_listen(child: Child) -> None:
    settings = child(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); out(done); time.sleep(60)",
        done=refreshed(),
    )
    with Watch(settings) as watch:
        watch.until(watch.refreshes)
        pid = watch.supervisor.pid
        began = time.monotonic()
        watch.supervisor.stop()
        assert time.monotonic() - began < 5
        assert not Path(f"/proc/{pid}").exists()
        told = len(watch.story.messages)
        watch.until(lambda: True)
        assert len(watch.story.messages) == told


# The real child


def test_a_real_child_that_is_killed(tmp_path: Path) -> None:
    settings = SourceSettings("t", node_file(tmp_path / "node.xml", 3), poll_interval=0.2)
    with Watch(settings) as watch:
        watch.until(watch.refreshes)
        first = watch.supervisor.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        watch.until(lambda: watch.supervisor.pid not in (None, first))
        before = watch.refreshes()
        watch.until(lambda: watch.refreshes() > before)
        assert (watch.reasons(), len(watch.story.vms)) == ([], 3)


def test_a_real_child_leaves_when_its_parent_dies(tmp_path: Path) -> None:
    uri = node_file(tmp_path / "node.xml", 1)
    code = (
        "import sys, time\nfrom vmmib.loop import Loop\n"
        "from vmmib.hypervisor.settings import SourceSettings\n"
        "from vmmib.hypervisor.supervisor import Supervisor\n"
        "loop = Loop()\n"
        f"s = Supervisor(loop, SourceSettings('t', {uri!r}), lambda m: loop.stop())\n"
        "s.start(); loop.run(); print(s.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(supervisor.__file__).parents[2])},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
        parent.wait(10)

    def gone() -> bool:
        try:
            return ") Z " in Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True

    deadline = time.monotonic() + 10
    while not gone():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("qemu+unix:///system?socket=/nonexistent/sock", "is libvirtd"),
        ("nonsense:///x", ""),
        ("test:///nonexistent/node.xml", ""),
        ("", ""),
    ],
)
def test_a_snapshot_of_nothing_is_one_line(uri: str, remedy: str) -> None:
    with pytest.raises(SourceError) as caught:
        snapshot(SourceSettings("x", uri), 20)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_snapshot_of_a_dying_child(child: Child) -> None:
    settings = child("sys.stderr.write('no such module\\n'); os._exit(1)")
    with pytest.raises(SourceError, match="died: no such module"):
        snapshot(settings, 20)


def test_a_snapshot_of_a_silent_child(child: Child) -> None:
    with pytest.raises(SourceError, match=r"no answer within 0\.5 seconds"):
        snapshot(child("time.sleep(60)"), 0.5)
