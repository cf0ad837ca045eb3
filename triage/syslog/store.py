"""The analysed log on disk: events and keys per partition as Parquet, the model, what is done.

Layout of a store's folder
    store.json                  the manifest: format, sources, partitions, names of the files below
    lock                        locked while somebody writes; holds the writer's process id
    model-N.json                the templates
    keys-N.parquet              every distinct key with the template that the model gives it
    groups-ID.json              groups as they were last formed with these settings: ids stay
    partitions/NAME.events.parquet   EVENTS in the order of the lines; its hosts in the metadata
    partitions/NAME.keys.parquet     KEYS, with `first`, `last` (ms) and `hosts` (indices) of each

Rules
- A *source* is a log by its content, not by its name: `messages`, `messages.1` and `messages.2.gz`
  are one source, before and after rotation. A *segment* is a range of a source's uncompressed
  bytes; a partition is one segment, or several after small ones were compacted.
- store.json alone says what counts. Every other file is complete before it is named there, nothing
  that is named is ever changed, and store.json is replaced in one step: a process that is killed at
  any moment leaves the state before or after a step, and files that nobody names, which the next
  writer removes. A reader whose files are gone by then reads store.json again.
- The model, the keys' templates and which partitions were learnt change in one step, too.
- Events hold keys, not templates: another model, or an edited one, changes keys-N.parquet alone.
- One writer at a time; readers need no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl

from triage.syslog.errors import SyslogError
from triage.syslog.recall import recall
from triage.syslog.tables import Group, Line, Template, content_id, id_text
from triage.syslog.templates import TemplateModel, load_model, save_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "triage-syslog-store/1"
"""What a manifest begins with; another number is another layout."""
_FAMILY = FORMAT.partition("/")[0]

MANIFEST, LOCK, PARTITIONS = "store.json", "lock", "partitions"
TEMPORARY = ".tmp"

COMPRESSION_LEVEL = 1
"""Of zstd: half the size of lz4 (3.6 bytes of an event, not 6.7), in 1.2 times its 50 ns."""

TOGETHER = 64
"""Partitions whose keys are looked up at a time, and are in memory."""

IDS = 8_000_000
"""Template ids of partitions' keys that are kept in memory, at 8 bytes each."""

GRACE = 600.0
"""Seconds for which a file stays that nobody names any more: a reader may still be at it."""

TIMES = pl.Schema({"time": pl.Int64, "host": pl.String, "template": pl.Int64, "count": pl.UInt32})
"""What `Store.times` gives; template ids."""

STATISTICS = pl.Schema(
    {
        "template": pl.Int64,
        "lines": pl.UInt64,
        "hosts": pl.UInt32,
        "first": pl.Int64,
        "last": pl.Int64,
        "example": pl.String,
    }
)
"""What `Store.statistics` gives: per template id its lines, hosts, times (ms), example."""

KEY_TEMPLATES = pl.Schema({"key": pl.String, "template": pl.Int64})
"""keys-N.parquet: distinct keys, sorted; template id 0: the frozen model has none for it."""


class StoreError(SyslogError):
    """The store cannot be used; the text says why and what to do, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A log file, whatever it is called by now."""

    id: str
    path: str
    """Where it was seen last."""
    head: str
    """Hex BLAKE2b of its first `head_bytes` uncompressed bytes."""
    head_bytes: int
    offset: int = 0
    """Uncompressed bytes that are in partitions (or were, before retention)."""
    tail: str = ""
    """Hex BLAKE2b of the `tail_bytes` bytes before `offset`: the file still is what was read."""
    tail_bytes: int = 0
    size: int = 0
    """The file's size on disk when it was read; with `modified` and `inode`: unchanged since."""
    modified: int = 0
    """Nanoseconds since 1970."""
    inode: int = 0
    broken: int = 0
    """Lines without a header that could be read."""
    broken_lines: tuple[str, ...] = ()
    """The first of them, bounded; bytes that are not UTF-8 as \\xNN."""
    damage: tuple[str, ...] = ()
    """What could not be read of the file, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A range of a source's uncompressed bytes; whole lines."""

    source: str
    start: int
    end: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Events on disk, finished."""

    name: str
    segments: tuple[Segment, ...]
    """In the order of the rows."""
    rows: int
    lines: int
    """Sum of the rows' counts, broken ones too."""
    broken: int = 0
    """Rows without a header that could be read."""
    first: int | None = None
    """Milliseconds; None: nothing but broken lines."""
    last: int | None = None
    open: bool = False
    """Its last line had no end yet: it is read again when the file has grown."""
    learnt: bool = False
    """Its keys are in the model."""

    @property
    def bytes(self) -> int:
        """Uncompressed bytes of log that it stands for."""
        return sum(one.end - one.start for one in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """store.json."""

    format: str = FORMAT
    generation: int = 0
    """Of the model and the keys; grows with every new model."""
    model: str = ""
    keys: str = ""
    sources: tuple[Source, ...] = ()
    partitions: tuple[Partition, ...] = ()


@dataclass(slots=True)
class _Cache:
    """What a manifest's files were read into."""

    model: TemplateModel | None = None
    keys: pl.DataFrame | None = None
    hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ids: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Of the partitions that were looked up last, some `IDS` numbers in all."""


class Store:
    """A store's folder; make one with `open_store`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self._manifest = manifest
        self._cache = _Cache()

    # What it holds

    @property
    def manifest(self) -> Manifest:
        """What counts."""
        return self._manifest

    @property
    def model(self) -> TemplateModel:
        """The templates; an empty model when nothing was learnt yet."""
        if self._cache.model is None:
            name = self.manifest.model
            self._cache.model = load_model(self.folder / name) if name else TemplateModel()
        return self._cache.model

    @property
    def templates(self) -> Mapping[int, Template]:
        """The model's templates by id."""
        return {one.id: one for one in self.model.templates}

    @property
    def keys(self) -> pl.DataFrame:
        """Every distinct key and its template: `KEY_TEMPLATES`."""
        if self._cache.keys is None:
            name = self.manifest.keys
            self._cache.keys = self._read(self.folder / name) if name else KEY_TEMPLATES.to_frame()
        return self._cache.keys

    def refresh(self) -> None:
        """Look again: another process may have written."""
        manifest = _load(self.folder)
        if manifest != self._manifest:
            self._manifest = manifest
            self._cache = _Cache()

    # Events

    def events(self, partition: Partition) -> pl.LazyFrame:
        """`EVENTS` of a partition, lazily."""
        return pl.scan_parquet(self._events(partition.name))

    def hosts(self, partition: Partition) -> tuple[str, ...]:
        """Names of the hosts that a partition's events point to."""
        found = self._cache.hosts.get(partition.name)
        if found is None:
            with _reading(self._events(partition.name)) as path:
                found = tuple(json.loads(pl.read_parquet_metadata(path)["hosts"]))
            self._cache.hosts[partition.name] = found
        return found

    def partition_keys(self, partition: Partition, columns: Sequence[str]) -> pl.DataFrame:
        """Columns of a partition's KEYS: key, lines, example, first, last, hosts."""
        return self._read(self._keys(partition.name), columns)

    def template_ids(self, partition: Partition) -> NDArray[np.int64]:
        """For each row of a partition's KEYS the template's id; 0: none."""
        known = self._cache.ids
        if partition.name not in known:
            known.update(self._template_ids(partition))
            kept = partition.name
            while sum(map(len, known.values())) > IDS and next(iter(known)) != kept:
                del known[next(iter(known))]
        return known[partition.name]

    def _template_ids(self, first: Partition) -> dict[str, NDArray[np.int64]]:
        """Look up the keys of a partition and of those after it: a join costs all that is known."""
        at = self.manifest.partitions.index(first)
        some = self.manifest.partitions[at : at + TOGETHER]
        tables = [self.partition_keys(one, ["key"]) for one in some]
        joined = pl.concat(tables).join(self.keys, on="key", how="left", maintain_order="left")
        ids = joined["template"].fill_null(0).to_numpy()
        ends = np.cumsum([len(table) for table in tables])
        return {one.name: part for one, part in zip(some, np.split(ids, ends[:-1]), strict=True)}

    def times(self, templates: Collection[int] | None = None) -> pl.LazyFrame:
        """Every event with a template (None: of any), in no order: `TIMES`."""
        found = (self._times(one, templates) for one in self.manifest.partitions)
        parts = [one for one in found if one is not None]
        return pl.concat(parts) if parts else TIMES.to_frame().lazy()

    def _times(
        self, partition: Partition, templates: Collection[int] | None
    ) -> pl.LazyFrame | None:
        ids = self.template_ids(partition)
        wanted = ids != 0
        if templates is not None:
            wanted &= np.isin(ids, np.fromiter(templates, np.int64, len(templates)))
        if partition.first is None or not wanted.any():
            return None
        of_key = pl.Series(np.where(wanted, ids, 0))
        hosts = pl.Series(self.hosts(partition), dtype=pl.String)
        return (
            self.events(partition)
            .filter(pl.col("time").is_not_null(), pl.col("key").is_not_null())
            .select(
                "time",
                pl.lit(hosts).gather(pl.col("host")).alias("host"),
                pl.lit(of_key).gather(pl.col("key")).alias("template"),
                "count",
            )
            .filter(pl.col("template") != 0)
        )

    def statistics(self) -> pl.DataFrame:
        """Of each template with events its lines, hosts, times and an example: `STATISTICS`.

        From the partitions' keys alone: no event is read. The most frequent template first.
        """
        counted = [STATISTICS.to_frame().drop("hosts")]
        pairs = [pl.DataFrame(schema={"template": pl.Int64, "host": pl.String})]
        for partition in self.manifest.partitions:
            columns = ["lines", "first", "last", "hosts", "example"]
            ids = pl.Series("template", self.template_ids(partition))
            keys = self.partition_keys(partition, columns).with_columns(ids)
            keys = keys.filter(pl.col("template") != 0)
            counted.append(_counted(keys))
            names = pl.Series(self.hosts(partition), dtype=pl.String)
            hosts = keys.select("template", host="hosts").explode("host").unique()
            pairs.append(
                hosts.select("template", pl.lit(names).gather(pl.col("host")).alias("host"))
            )
        hosts = pl.concat(pairs).unique().group_by("template").agg(hosts=pl.len())
        return (
            _counted(pl.concat(counted))
            .join(hosts, on="template", how="left")
            .sort("lines", "template", descending=[True, False])
            .select(pl.col(name).cast(kind) for name, kind in STATISTICS.items())
        )

    def lines(
        self,
        start: float,
        end: float,
        hosts: Collection[str] | None = None,
        templates: Collection[int] | None = None,
        limit: int = 50,
    ) -> tuple[Line, ...]:
        """Lines of a time span [start, end) in seconds, as they stand in the log files, masked.

        None: any host, any template. In order of time; when there are more than `limit`, each
        (host, template) has its first line before any has its second. A line whose file is gone is
        told in its place, with its template.
        """
        return recall(self, start, end, hosts, templates, limit)

    # Groups

    def groups(self, settings: str) -> tuple[Group, ...]:
        """The groups as they were last saved with these settings (their text); none: empty."""
        path = self._groups(settings)
        if not path.exists():
            return ()
        with _reading(path):
            return msgspec.json.decode(path.read_bytes(), type=tuple[Group, ...])

    def save_groups(self, settings: str, groups: Sequence[Group]) -> None:
        """Keep groups, so that new templates join them. No lock: whoever is last wins."""
        write_whole(self._groups(settings), msgspec.json.encode(tuple(groups)))

    # Files

    def _groups(self, settings: str) -> Path:
        return self.folder / f"groups-{id_text(content_id(settings))}.json"

    def _events(self, name: str) -> Path:
        return self.folder / PARTITIONS / f"{name}.events.parquet"

    def _keys(self, name: str) -> Path:
        return self.folder / PARTITIONS / f"{name}.keys.parquet"

    def _read(self, path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
        with _reading(path):
            return pl.read_parquet(path, columns=list(columns) if columns else None)

    # Writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Lock the store, remove what nobody names, and give what changes it.

        Raises StoreError, naming the process, when another one is writing.
        """
        with _lock(self.folder):
            self.refresh()
            self._clean()
            yield Writer(self)

    def save_model(self, model: TemplateModel) -> None:
        """Use this model from now on (after an edit): every key gets its template by it."""
        with self.writing() as writer:
            writer.learnt(model, [])

    def _clean(self) -> None:
        manifest = self.manifest
        named = {f"{one.name}.{kind}.parquet" for one in manifest.partitions for kind in _KINDS}
        named |= {manifest.model, manifest.keys}
        for folder in (self.folder, self.folder / PARTITIONS):
            for path in folder.iterdir():
                if path.name not in named and _is_replaceable(path) and _is_old(path):
                    path.unlink(missing_ok=True)


class Writer:
    """Changes a store; whoever has it holds the lock (`Store.writing`)."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def commit(
        self,
        *,
        sources: Mapping[str, Source] | None = None,
        partitions: Sequence[Partition] | None = None,
        **changes: object,
    ) -> None:
        """Replace the manifest, in one step."""
        before = self.store.manifest
        if sources is not None:
            changes["sources"] = tuple(sources[key] for key in sorted(sources))
        if partitions is not None:
            changes["partitions"] = tuple(sorted(partitions, key=_place))
        manifest = replace(before, **changes)  # type: ignore[arg-type]
        write_whole(self.store.folder / MANIFEST, msgspec.json.encode(manifest))
        self.store._manifest = manifest
        self._mark_unnamed(before, manifest)

    def learnt(self, model: TemplateModel, keys: Sequence[str]) -> None:
        """Save a model, and the templates of all keys known and these new ones by it."""
        store, generation = self.store, self.store.manifest.generation + 1
        known = pl.concat([store.keys["key"], pl.Series("key", keys, dtype=pl.String)])
        known = known.unique().sort()
        table = pl.DataFrame(
            {"key": known, "template": model.assign(known.to_list())}, schema=KEY_TEMPLATES
        )
        names = f"model-{generation:06}.json", f"keys-{generation:06}.parquet"
        save_model(model, store.folder / names[0])
        write_table(table, store.folder / names[1])
        learnt = [replace(one, learnt=True) for one in store.manifest.partitions]
        store._cache.model, store._cache.keys, store._cache.ids = model, table, {}
        self.commit(partitions=learnt, generation=generation, model=names[0], keys=names[1])

    def _mark_unnamed(self, before: Manifest, now: Manifest) -> None:
        """Start the grace of files that were named until now: readers may be at them."""
        names = {one.name for one in before.partitions} - {one.name for one in now.partitions}
        gone = [
            self.store.folder / PARTITIONS / f"{one}.{kind}.parquet"
            for one in names
            for kind in _KINDS
        ]
        if before.generation != now.generation:
            gone += [self.store.folder / one for one in (before.model, before.keys) if one]
        for path in gone:
            with contextlib.suppress(OSError):
                os.utime(path)


_KINDS = ("events", "keys")


def open_store(folder: Path, *, create: bool = False) -> Store:
    """Return the store in a folder; `create`: make an empty one where there is none.

    Raises StoreError when there is none, or it is not one, is newer than this program, or damaged.
    """
    if create and not (folder / MANIFEST).exists():
        _create(folder)
    return Store(folder, _load(folder))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there completely or not at all, whatever ends the process."""
    temporary = _temporary(path)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_table(table: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a Parquet file that is there completely or not at all."""
    temporary = _temporary(path)
    table.write_parquet(
        temporary,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        statistics=False,
        metadata=dict(metadata) if metadata else None,
    )
    temporary.replace(path)


def write_partition(
    folder: Path, name: str, events: pl.DataFrame, hosts: Sequence[str], keys: pl.DataFrame
) -> None:
    """Write a partition's two files under a store's folder; it counts once it is committed."""
    partitions = folder / PARTITIONS
    metadata = {"hosts": json.dumps(list(hosts))}
    write_table(events, partitions / f"{name}.events.parquet", metadata)
    write_table(keys, partitions / f"{name}.keys.parquet")


def _temporary(path: Path) -> Path:
    # Two workers may write the same partition at a time
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{TEMPORARY}")


def _create(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in folder.iterdir() if not _is_ours(path)]
        if others:
            raise StoreError(
                f"{folder} is not a syslog store and not empty (it holds {min(others)}):"
                " name another folder"
            )
        with _lock(folder):
            (folder / PARTITIONS).mkdir(exist_ok=True)
            if not (folder / MANIFEST).exists():
                write_whole(folder / MANIFEST, msgspec.json.encode(Manifest()))
    except OSError as error:
        raise StoreError(f"cannot make a store in {folder}: {error.strerror}") from None


class _Format(msgspec.Struct):
    format: str = ""


def _load(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(
            f"{folder} is not a syslog store: it has no {MANIFEST} (`triage syslog mine` makes one)"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    try:
        made = msgspec.json.decode(data, type=_Format).format
        if made == FORMAT:
            return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from None
    if made.partition("/")[0] != _FAMILY:
        raise StoreError(f"{folder} is not a syslog store: {path} is something else")
    raise StoreError(
        f"{folder} is a syslog store of another version ({made}; this program has {FORMAT}):"
        " use the program that made it, or mine the logs into a new folder"
    )


def _damaged(path: Path, error: Exception) -> StoreError:
    shown = " ".join(str(error).split())[:120]
    return StoreError(f"{path} is damaged ({shown}): move the store away and mine the logs again")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Path]:
    """Turn what can happen to a file into a line for the operator."""
    try:
        yield path
    except FileNotFoundError:
        raise StoreError(
            f"{path} is gone: somebody else writes to this store or removed files; try again, and"
            " if it stays away mine the logs into a new folder"
        ) from None
    except (OSError, pl.exceptions.PolarsError, msgspec.MsgspecError, ValueError, KeyError) as why:
        raise _damaged(path, why) from None


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Be the only writer; the lock goes with the process, however it ends."""
    path = folder / LOCK
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise StoreError(
                f"the store {folder} is being written by process {holder}: wait for it or end it"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _is_ours(path: Path) -> bool:
    return path.name in {LOCK, PARTITIONS, MANIFEST} or _is_replaceable(path)


def _is_replaceable(path: Path) -> bool:
    """Whether it is of a kind that the manifest names."""
    ends = (".events.parquet", ".keys.parquet", TEMPORARY)
    return path.name.endswith(ends) or path.name.startswith(("model-", "keys-"))


def _is_old(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.is_file() and time.time() - path.stat().st_mtime > GRACE
    return False


def _place(partition: Partition) -> tuple[str, int, str]:
    first = partition.segments[0]
    return first.source, first.start, partition.name


def _counted(keys: pl.DataFrame) -> pl.DataFrame:
    return keys.group_by("template", maintain_order=True).agg(
        pl.col("lines").sum(),
        pl.col("first").min(),
        pl.col("last").max(),
        pl.col("example").first(),
    )
