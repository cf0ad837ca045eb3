"""The SQLite file: opening, versions, transactions.

Rules
- One connection, one lock: whoever holds the lock has the transaction. Other processes (`triage
  incidents` beside the service) read beside it (WAL) and wait for it to write (busy timeout).
- `user_version` is the schema's version. An older file is brought forward, one version in one
  transaction; a newer one is refused, for it would be misunderstood.
- `application_id` tells our files from other programs'. A file of nothing is new.
- The file may be read by its owner only: evidence is nobody else's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

APPLICATION_ID: Final = 0x74726961
"""In the file's header: "tria"."""
_MAGIC = b"SQLite format 3\0"
BUSY_SECONDS = 15.0
"""How long a writer waits for another process's."""
_SHRINK_PAGES = 2000
"""Pages given back to the file system at once: 8 MB."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE incidents (
            id TEXT PRIMARY KEY,
            target TEXT NOT NULL,
            status TEXT NOT NULL,
            open INTEGER NOT NULL,
            cause TEXT NOT NULL,
            severity TEXT NOT NULL,
            opened_at REAL NOT NULL,
            closed_at REAL,
            record BLOB NOT NULL
        )""",
        "CREATE INDEX incidents_by_target ON incidents (target, opened_at)",
        "CREATE INDEX incidents_by_time ON incidents (opened_at)",
        "CREATE INDEX incidents_open ON incidents (open) WHERE open",
        "CREATE INDEX incidents_closed ON incidents (closed_at) WHERE closed_at IS NOT NULL",
        """CREATE TABLE looks (
            incident TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            decided_at REAL NOT NULL,
            verdict BLOB NOT NULL,
            evidence BLOB NOT NULL,
            PRIMARY KEY (incident, number)
        )""",
        """CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL,
            sink TEXT NOT NULL,
            incident TEXT NOT NULL,
            number INTEGER NOT NULL,
            event TEXT NOT NULL,
            body BLOB NOT NULL,
            state TEXT NOT NULL DEFAULT 'waiting',
            attempts INTEGER NOT NULL DEFAULT 0,
            uncertain INTEGER NOT NULL DEFAULT 0,
            queued_at REAL NOT NULL,
            next_at REAL NOT NULL DEFAULT 0,
            delivered_at REAL,
            ended_at REAL,
            error TEXT NOT NULL DEFAULT '',
            UNIQUE (sink, id)
        )""",
        """CREATE INDEX outbox_active ON outbox (sink, incident, number)
            WHERE state IN ('waiting', 'standing')""",
        "CREATE INDEX outbox_of_incident ON outbox (incident)",
        "CREATE INDEX outbox_ended ON outbox (ended_at) WHERE ended_at IS NOT NULL",
        """CREATE TABLE notifications (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            time REAL NOT NULL,
            hypervisor TEXT NOT NULL,
            uuid TEXT NOT NULL,
            record BLOB NOT NULL
        )""",
        "CREATE INDEX notifications_by_time ON notifications (time)",
        """CREATE TABLE vms (
            uuid TEXT PRIMARY KEY,
            hypervisor TEXT NOT NULL,
            vm_index INTEGER NOT NULL,
            seen_at REAL NOT NULL
        )""",
        "CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL)",
    ),
    (
        """CREATE TABLE syslog_alarms (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            hypervisor TEXT NOT NULL,
            host TEXT NOT NULL,
            kind TEXT NOT NULL,
            start_at REAL NOT NULL,
            end_at REAL NOT NULL,
            score REAL NOT NULL,
            summary TEXT NOT NULL,
            raised_at REAL NOT NULL,
            state TEXT NOT NULL,
            incident TEXT NOT NULL,
            rescored REAL,
            settled_at REAL
        )""",
        "CREATE INDEX syslog_alarms_by_time ON syslog_alarms (start_at)",
        "CREATE INDEX syslog_alarms_open ON syslog_alarms (end_at) WHERE state = 'open'",
        """CREATE TABLE syslog_incidents (
            incident TEXT PRIMARY KEY,
            hypervisors TEXT NOT NULL,
            began_at REAL NOT NULL
        )""",
    ),
)
"""Statements that lead from version n to n + 1. Never changed once released, only added to."""


class StoreError(Exception):
    """The state file cannot be used; one line that names it and the remedy."""


class Database:
    """The connection and its lock."""

    def __init__(self, path: Path, *, create: bool, exclusive: bool) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._guard: int | None = None
        self._connection: sqlite3.Connection | None = None
        try:
            self._create(create)
            if exclusive:
                self._guard = _guard(path)
            with self._faults():
                self._connection = self._connect()
                self._check(thorough=exclusive)
                self._migrate()
        except BaseException:
            self.close()
            raise

    # Opening

    def _create(self, create: bool) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            file = os.open(self.path, flags, 0o600)
            try:
                head = os.read(file, len(_MAGIC))
            finally:
                os.close(file)
        except FileNotFoundError:
            if create:
                raise StoreError(
                    f"cannot create the state file {self.path}: its directory does not exist"
                ) from None
            raise StoreError(
                f"no state file {self.path}: `triage run` makes it, see the configuration's state"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot open the state file {self.path}: {error.strerror}") from None
        if head and head != _MAGIC:  # SQLite would take a short one for new
            raise self._damaged("it is no SQLite file")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts for a new file only
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        return connection

    def _check(self, *, thorough: bool) -> None:
        """Refuse other programs' files, newer ones and damaged ones."""
        application = self.one("PRAGMA application_id")[0]
        version = self.one("PRAGMA user_version")[0]
        tables = self.one("SELECT count(*) FROM sqlite_master")[0]
        if application != APPLICATION_ID and (application or version or tables):
            raise StoreError(f"{self.path} is another program's file: configure another one")
        if version > len(MIGRATIONS):
            raise StoreError(
                f"the state file {self.path} was written by a newer triage (version {version}, this"
                f" one knows {len(MIGRATIONS)}): run that release, or configure another file"
            )
        if thorough and (found := self.one("PRAGMA quick_check(1)")[0]) != "ok":
            raise self._damaged(str(found))

    def _migrate(self) -> None:
        with self.transaction():
            version = self.one("PRAGMA user_version")[0]  # another process may have been faster
            for number, statements in enumerate(MIGRATIONS[version:], version + 1):
                for statement in statements:
                    self.run(statement)
                self.run(f"PRAGMA user_version = {number:d}")
                self.run(f"PRAGMA application_id = {APPLICATION_ID:d}")

    # Using

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written within is written together, or not at all. May be nested."""
        with self._lock, self._faults():
            if self._depth:
                yield
                return
            self._open().execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                self._open().execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._open().execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement; return how many rows it changed."""
        with self._lock, self._faults():
            return self._open().execute(statement, values).rowcount

    def all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows."""
        with self._lock, self._faults():
            return self._open().execute(query, values).fetchall()

    def one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Return the first row of a query that always has one."""
        row: tuple[Any, ...] = self.all(query, values)[0]
        return row

    def shrink(self) -> None:
        """Give some of the free pages back to the file system."""
        with self._lock, self._faults():
            # A step frees one page; the script is what takes all of them
            self._open().executescript(f"PRAGMA incremental_vacuum({_SHRINK_PAGES:d})")

    def close(self) -> None:
        """Close the file; may be called again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            if self._guard is not None:
                os.close(self._guard)
                self._guard = None

    @property
    def opened(self) -> bool:
        """Whether it is open."""
        return self._connection is not None

    # Faults

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the state file {self.path} is closed")
        return self._connection

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith("SQLITE_BUSY"):
                raise StoreError(
                    f"the state file {self.path} is held by another process for more than"
                    f" {BUSY_SECONDS:g} s"
                ) from None
            raise StoreError(f"the state file {self.path} cannot be used: {error}") from None
        except sqlite3.DatabaseError as error:
            name = getattr(error, "sqlite_errorname", "")
            if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT") or name.startswith("SQLITE_CORRUPT_"):
                raise self._damaged(str(error)) from None
            raise

    def _damaged(self, what: str) -> StoreError:
        shown = " ".join(what.split())[:200]
        return StoreError(
            f"the state file {self.path} is damaged ({shown}): move it away (`sqlite3 FILE"
            " .recover` may save what is in it); a new one is made at the next start"
        )


def _guard(path: Path) -> int:
    """Take the lock that one service at a time has; it goes with the process, however it ends."""
    lock = path.with_name(path.name + ".lock")
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot open {lock}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise StoreError(
            f"the state file {path} is used by another triage: give each its own"
        ) from None
    return file
