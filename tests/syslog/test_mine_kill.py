"""kill -9 at any moment: the next run goes on, and ends with the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.syslog.store_logs import content, run, write_logs
from triage.syslog.store import StoreError, open_store

CHILD = """
import os, signal, sys
from pathlib import Path
from triage.syslog import store as st
from triage.syslog.executor import local_executor
from triage.syslog.mine import MiningSettings, mine
folder, logs, moment, number = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

seen = 0
replace, write_parquet = Path.replace, st.pl.DataFrame.write_parquet

def counted(name):
    global seen
    seen += moment in name
    if seen == number:
        die()

def replacing(self, target):
    if sys.argv[5] == "before":
        counted(Path(target).name)
    done = replace(self, target)
    if sys.argv[5] == "after":
        counted(Path(target).name)
    return done

Path.replace = replacing
store = st.open_store(folder, create=True)
with local_executor(2) as executor:
    mine(store, [logs], MiningSettings(block_bytes=16384, end=1.45e9), executor)
"""


@pytest.mark.parametrize(
    ("moment", "number", "side"),
    [
        ("store.json", 2, "before"),
        ("store.json", 2, "after"),
        ("store.json", 9, "after"),
        (".events.parquet", 1, "before"),
        (".events.parquet", 7, "after"),
        (".keys.parquet", 11, "before"),
        ("model-", 1, "before"),
        ("model-", 1, "after"),
        ("keys-", 1, "after"),
    ],
)
def test_the_next_run_ends_with_the_same(
    tmp_path: Path, moment: str, number: int, side: str
) -> None:
    logs = write_logs(tmp_path / "logs", count=800)
    undisturbed = open_store(tmp_path / "undisturbed", create=True)
    whole = run(undisturbed, logs)
    folder = tmp_path / "store"
    arguments = [str(folder), str(logs), moment, str(number), side]
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=False)
    assert done.returncode == -9
    store = open_store(folder, create=True)
    finished = len(store.manifest.partitions)
    report = run(store, logs)
    assert report.partitions == whole.partitions - finished
    assert content(store) == content(undisturbed)
    for path in folder.rglob("*"):  # what the killed one left goes when its grace is over
        os.utime(path, (0, 0))
    run(store, logs)
    assert not list(folder.rglob("*.tmp"))
    assert len(list((folder / "partitions").iterdir())) == 2 * len(store.manifest.partitions)


HOLDER = """
import sys
from pathlib import Path
from triage.syslog.store import open_store
with open_store(Path(sys.argv[1]), create=True).writing():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    logs = write_logs(tmp_path / "logs", count=50)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        store = open_store(tmp_path / "store")  # readers need no lock
        with pytest.raises(StoreError, match=f"process {holder.pid}:"):
            run(store, logs)
        holder.kill()
        holder.wait()
    assert run(store, logs).partitions > 0
    assert json.loads((tmp_path / "store" / "store.json").read_bytes())["format"]
