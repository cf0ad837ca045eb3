from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.triage.alert_cases import T0, make_evidence, make_incident, make_verdict, told
from triage.alerts.message import AlertMessage
from triage.evidence import Cause, VmNotification, VmOperState
from triage.incidents import AlertKind, Status
from triage.snmp.index import Place
from triage.store import Store, StoreError, StoreSettings
from triage.store.database import APPLICATION_ID, MIGRATIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "triage.db"


# The file


def test_the_file_is_its_owners_only(path: Path) -> None:
    with Store(path) as store:
        store.save(make_incident())
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_it_is_durable_and_shrinks(path: Path) -> None:
    with Store(path) as store:
        assert store.database.one("PRAGMA journal_mode") == ("wal",)
        assert store.database.one("PRAGMA synchronous") == (2,)
        assert store.database.one("PRAGMA auto_vacuum") == (2,)
        assert store.database.one("PRAGMA foreign_keys") == (1,)
        assert store.database.one("PRAGMA application_id") == (APPLICATION_ID,)


def one_line(error: StoreError, path: Path) -> str:
    text = str(error)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 99, b"x"])
def test_what_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert "damaged" in one_line(caught.value, path)
    assert path.read_bytes() == content


def test_a_damaged_file_is_refused(path: Path) -> None:
    with Store(path) as store:
        for number in range(50):
            store.save(make_incident(f"incident-{number}"), look=(make_verdict(), make_evidence()))
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(StoreError) as caught:
        Store(path, exclusive=True)
    assert "damaged" in one_line(caught.value, path)


def test_another_programs_file_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert "another program" in one_line(caught.value, path)


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    Store(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert "newer triage" in one_line(caught.value, path)


def test_an_older_file_is_brought_forward(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(path) as store:
        store.save(make_incident())
    more = (*MIGRATIONS, ("ALTER TABLE incidents ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'",))
    monkeypatch.setattr("triage.store.database.MIGRATIONS", more)
    with Store(path) as store:
        assert store.database.one("PRAGMA user_version") == (len(more),)
        assert store.database.one("SELECT colour FROM incidents") == ("red",)
        assert store.incidents.find() == [make_incident()]


def test_a_migration_that_fails_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(path).close()
    more = (*MIGRATIONS, ("CREATE TABLE new_one (x)", "CREATE TABLE nonsense ("))
    monkeypatch.setattr("triage.store.database.MIGRATIONS", more)
    with pytest.raises(StoreError):
        Store(path)
    monkeypatch.undo()
    with Store(path) as store:
        assert store.database.all("SELECT 1 FROM sqlite_master WHERE name = 'new_one'") == []


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(StoreError, match="triage run"):
        Store(path, create=False)
    assert not path.exists()
    with pytest.raises(StoreError, match="directory"):
        Store(path.parent / "none" / "x.db")
    with pytest.raises(StoreError):
        Store(path.parent)


def test_one_service_at_a_time(path: Path) -> None:
    with Store(path, exclusive=True):
        with pytest.raises(StoreError, match="used by another"):
            Store(path, exclusive=True)
        with Store(path, create=False) as looking:
            assert looking.incidents.find() == []
    Store(path, exclusive=True).close()


def test_a_closed_store_says_so(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.incidents.find()


def test_a_full_disk_is_one_line(path: Path) -> None:
    with Store(path) as store:
        pages = store.database.one("PRAGMA page_count")[0]
        store.database.all(f"PRAGMA max_page_count = {pages}")
        evidence = make_evidence(
            target=replace(make_evidence().target, url="".join(map(chr, range(300, 40000))))
        )
        with pytest.raises(StoreError) as caught:
            store.save(make_incident(), look=(make_verdict(), evidence), messages=(told(),))
        assert "full" in one_line(caught.value, path)
        assert store.incidents.find() == []  # all or nothing


# Incidents


def test_an_incident_comes_back_as_it_was(path: Path) -> None:
    incident = make_incident()
    with Store(path) as store:
        store.save(incident, look=(make_verdict(), make_evidence()))
        store.save(replace(incident, looks=1), look=(make_verdict(title="b"), make_evidence()))
    with Store(path) as store:
        assert store.incidents.get(incident.id) == replace(incident, looks=1)
        assert store.incidents.get("none") is None
        looks = store.incidents.looks(incident.id)
        assert [(one.number, one.verdict.title) for one in looks] == [
            (1, "node: VM paused"),
            (2, "b"),
        ]
        assert looks[0].evidence == make_evidence()
        assert store.incidents.last_look(incident.id) == looks[1]
        assert store.incidents.last_look("none") is None


def test_lone_surrogates_do_not_stop_it(path: Path) -> None:
    with Store(path) as store:
        store.save(
            make_incident(closed_because="\ud800"),
            look=(make_verdict(title="\udfff"), make_evidence()),
        )
        (look,) = store.incidents.looks(make_incident().id)
        assert look.verdict.title == "\\udfff"


def test_finding_incidents(path: Path) -> None:
    with Store(path) as store:
        for number in range(5):
            store.save(
                make_incident(
                    f"20260102-03040{number}-aaaaaa",
                    target="shop" if number % 2 else "wiki",
                    opened_at=T0 + number,
                    status=Status.RESOLVED if number < 3 else Status.CONFIRMED,
                    closed_at=T0 + 10 if number < 3 else None,
                )
            )
        opened = [incident.opened_at - T0 for incident in store.incidents.find()]
        assert opened == [4, 3, 2, 1, 0]
        assert len(store.incidents.find(open_only=True)) == 2
        assert len(store.incidents.find(target="shop")) == 2
        assert len(store.incidents.find(since=T0 + 2, limit=2)) == 2
        latest = store.incidents.latest()
        assert {target: one.opened_at - T0 for target, one in latest.items()} == {
            "wiki": 4,
            "shop": 3,
        }
        assert store.incidents.starting_with("20260102-030404") == ["20260102-030404-aaaaaa"]
        assert len(store.incidents.starting_with("2026")) == 5
        assert store.incidents.starting_with("%") == []
        assert store.incidents.starting_with("2026_") == []


def test_a_record_that_cannot_be_read_is_one_line(path: Path) -> None:
    with Store(path) as store:
        store.save(make_incident(), look=(make_verdict(), make_evidence()))
        store.database.run("UPDATE incidents SET record = '{}'")
        store.database.run("UPDATE looks SET evidence = x'00'")
        with pytest.raises(StoreError):
            store.incidents.find()
        with pytest.raises(StoreError) as caught:
            store.incidents.looks(make_incident().id)
        one_line(caught.value, path)


def test_a_change_and_its_messages_are_saved_together(path: Path) -> None:
    with Store(path) as store:

        def breaks() -> Iterator[AlertMessage]:
            yield told()
            raise RuntimeError

        with pytest.raises(RuntimeError):
            store.save(make_incident(), messages=breaks(), sinks=("a",))
        assert store.incidents.find() == []
        assert store.outbox.active("a") == []
        store.save(make_incident(), messages=(told(),), sinks=("a", "b"))
        store.save(make_incident(), messages=(told(),), sinks=("a", "b"))  # told once
        assert len(store.outbox.active("a")) == len(store.outbox.active("b")) == 1


def test_several_threads_write_at_once(path: Path) -> None:
    with Store(path) as store:

        def work(name: str) -> None:
            for number in range(20):
                store.save(
                    make_incident(f"{name}-{number}"),
                    messages=(told(incident=f"{name}-{number}"),),
                    sinks=("a",),
                )

        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.incidents.find(limit=1000)) == 80
        assert len(store.outbox.active("a")) == 80


def test_another_process_writes_beside_it(path: Path) -> None:
    with Store(path) as ours, Store(path) as theirs:
        ours.save(make_incident("ours"))
        theirs.save(make_incident("theirs"))
        assert len(ours.incidents.find()) == len(theirs.incidents.find()) == 2


KILLED = """
import os, signal, sys
from tests.triage.alert_cases import make_incident, told
from triage.store import Store
store = Store(sys.argv[1])
store.save(make_incident("before"), messages=(told(incident="before"),), sinks=("a",))
with store.database.transaction():
    store.save(make_incident("within"), messages=(told(incident="within"),), sinks=("a",))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_saved_survives_kill_9_and_the_rest_is_not_there(path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=ROOT, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    with Store(path, exclusive=True) as store:
        assert [one.id for one in store.incidents.find()] == ["before"]
        assert [row.incident for row in store.outbox.active("a")] == ["before"]


# Retention


def test_old_incidents_go_and_open_ones_stay(path: Path) -> None:
    with Store(path) as store:
        for name, closed in (("old", T0), ("new", T0 + 1000), ("open", None)):
            store.save(
                make_incident(
                    name,
                    status=Status.CONFIRMED if closed is None else Status.RESOLVED,
                    closed_at=closed,
                ),
                look=(make_verdict(), make_evidence()),
            )
        settings = StoreSettings(incident_age=500)
        assert store.prune(settings, now=T0 + 600) == 1
        assert {one.id for one in store.incidents.find()} == {"new", "open"}
        assert store.incidents.looks("old") == []  # its looks went with it
        assert store.prune(StoreSettings(incidents=1), now=T0) == 1
        assert [one.id for one in store.incidents.find()] == ["open"]
        assert store.prune(StoreSettings(incidents=0), now=T0) == 0


def test_an_incident_whose_messages_wait_is_kept(path: Path) -> None:
    with Store(path, clock=lambda: T0) as store:
        incident = make_incident(status=Status.RESOLVED, closed_at=T0)
        store.save(incident, messages=(told(2, AlertKind.RESOLVED),), sinks=("a",))
        assert store.prune(StoreSettings(incident_age=1), now=T0 + 100) == 0
        (row,) = store.outbox.active("a")
        store.outbox.delivered(row.seq, T0 + 50, None)
        assert store.prune(StoreSettings(incident_age=1, message_age=1), now=T0 + 100) == 2
        assert store.database.one("SELECT count(*) FROM outbox") == (0,)


def test_the_file_gives_space_back(path: Path) -> None:
    with Store(path) as store:
        for number in range(40):
            evidence = make_evidence(
                target=replace(make_evidence().target, url=os.urandom(8000).hex())
            )
            store.save(
                make_incident(f"i{number}", status=Status.RESOLVED, closed_at=T0),
                look=(make_verdict(), evidence),
            )
        before = store.database.one("PRAGMA page_count")[0]
        assert store.prune(StoreSettings(incident_age=1), now=T0 + 9) == 40
        assert store.database.one("PRAGMA page_count")[0] < before / 2


# Beside incidents


def test_notifications(path: Path) -> None:
    with Store(path) as store:
        notes = [
            VmNotification(time=T0 + n, name="vmPaused", state_before=VmOperState.RUNNING)
            for n in (0, 10, 20)
        ]
        for note in reversed(notes):
            store.notifications.add(note)
        assert store.notifications.between(T0, T0 + 10) == notes[:2]
        assert store.notifications.between(T0, T0 + 99, limit=2) == notes[1:]
        assert store.prune(StoreSettings(notification_age=5), now=T0 + 10) == 1
        assert store.prune(StoreSettings(notifications=1), now=T0 + 10) == 1
        assert store.notifications.between(0, T0 * 2) == notes[2:]


def test_where_vms_were_seen_outlives_a_restart(path: Path) -> None:
    now = T0
    with Store(path, clock=lambda: now) as store:
        store.vms.put("u1", Place("esx1", 3))
        store.vms.put("u1", Place("esx2", 4))
        now += 1
        store.vms.put("u2", Place("esx1", 5))
        assert store.vms.get("u1") == Place("esx2", 4)
        assert store.vms.get("u9") is None
    with Store(path) as store:
        assert store.vms.get("u1") == Place("esx2", 4)
        assert store.prune(StoreSettings(vms=1), now=T0) == 1
        assert store.vms.get("u1") is None
    with Store(path) as store:
        assert store.vms.get("u2") == Place("esx1", 5)


def test_small_state(path: Path) -> None:
    with Store(path) as store:
        assert store.state.get("x") is None
        store.state.put("x", b"1")
        store.state.put("x", b"2")
    with Store(path) as store:
        assert store.state.get("x") == b"2"
        store.state.delete("x")
        assert store.state.get("x") is None


def test_the_cause_can_be_queried(path: Path) -> None:
    with Store(path) as store:
        store.save(make_incident())
        assert store.database.one("SELECT cause FROM incidents") == (Cause.NODE,)
