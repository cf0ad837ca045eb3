"""Log files -> store: what is new in them is parsed, kept as partitions, and its keys are learnt.

Theory of operation
    1. Each file is looked at (`identity`): unchanged ones, and copies of what was read before, are
       done; of one that has grown the new part is read; another log is read from its beginning.
    2. What is to be read is cut into blocks of whole lines, each of which a worker turns into a
       partition (`partition`). Of plain files the driver only finds the ends of the blocks, and the
       workers read them; packed files are unpacked by the driver, one after the other, for nobody
       can enter them in the middle. Results are committed in order, so that of each source all is
       done up to an offset.
    3. The distinct keys of all new partitions are merged and sorted, and the model learns from them
       once. So neither the order of files nor the size of blocks nor the number of workers changes
       an id or a count.
    4. Small partitions are merged (`compact`), old ones dropped.

Rules
- A run that is killed loses the blocks under way and those since the last commit: the next one goes
  on there, and ends with the same result as one that was left alone.
- A file that cannot be read does not keep the others from being read; the report tells.
- The last line of a plain file may still be being written. It counts as it is, in a partition of
  its own, which is read again when the file has grown.
- Following a log is running this again and again: a run with nothing new costs a look at each
  file's size and time.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path

import polars as pl

from triage.syslog.compact import compacted
from triage.syslog.executor import Executor
from triage.syslog.identity import (
    HEAD,
    TAIL,
    Heads,
    Kinship,
    LogFile,
    digest,
    kinship,
    look,
    stamp_of,
    tail_at,
)
from triage.syslog.partition import BlockResult, BlockTask, mine_block
from triage.syslog.progress import NoProgress, Progress
from triage.syslog.reading.blocks import LONGEST, Block, Span, read_blocks, spans
from triage.syslog.reading.names import find_logs, host_of
from triage.syslog.reading.unpack import ReadError, opened
from triage.syslog.reading.years import plan_for, plan_years
from triage.syslog.store import Manifest, Partition, Source, Store, Writer
from triage.syslog.tables import KEYS
from triage.syslog.templates import MinerSettings

DAY_MS = 86_400_000
KEPT_DAMAGE = 20
"""Notes of damage that a source keeps."""
AT_ONCE = 64
"""Partitions whose keys are in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningSettings:
    """How logs are read and kept."""

    block_bytes: int = 16 << 20
    """Uncompressed bytes of a block; a worker needs some eight times as much memory."""
    time_zone: str = "UTC"
    """Of headers that name none, such as "Asia/Tokyo"."""
    end: float | None = None
    """When the logs end, for headers without a year (seconds); None: each file's own time."""
    host_pattern: str = ""
    """Where a file's path names the host of headers that name none (`reading.names.host_of`)."""
    broken_kept: int = 20
    """Broken lines of a source that are kept as they are."""
    retention_days: float = 0.0
    """Partitions whose last event is older are dropped; 0: all stay. Counted from `end`, or from
    the newest file's time: not from a line's, which may be absurd."""
    small_partitions: int = 64
    """So many small ones may pile up until they are merged."""
    miner: MinerSettings = field(default_factory=MinerSettings)
    """Of a new store's model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningReport:
    """What a run did."""

    files: int = 0
    """That were looked at."""
    read: int = 0
    """Of which something was read."""
    copies: tuple[str, ...] = ()
    """Files that hold what was read under another name (and not the same inode)."""
    errors: tuple[str, ...] = ()
    """Files that could not be read, each a line."""
    damage: tuple[str, ...] = ()
    """Files that could be read in part, each a line."""
    bytes: int = 0
    """Uncompressed."""
    rows: int = 0
    """Lines of the files."""
    lines: int = 0
    """The same, with each "last message repeated N times" as N."""
    broken: int = 0
    """Lines without a header that could be read: no events."""
    partitions: int = 0
    """New ones."""
    keys: int = 0
    """Distinct, new to the store."""
    templates: int = 0
    """New to the model."""
    dropped: int = 0
    """Partitions too old to be kept."""


def mine(
    store: Store,
    paths: Sequence[Path],
    settings: MiningSettings,
    executor: Executor,
    progress: Progress | None = None,
) -> MiningReport:
    """Read what is new in these files (folders: all files in them) into the store.

    Raises StoreError when another process is writing to it, ExecutorError when workers are lost,
    ReadError when a setting is wrong (time zone, host pattern).
    """
    progress = progress or NoProgress()
    plan_for(0, settings.time_zone)
    host_of(Path(), settings.host_pattern)
    with store.writing() as writer:
        run = _Run(writer, settings, progress)
        run.read(paths, executor)
        run.learn()
        run.tidy()
        return run.report()


@dataclass(slots=True)
class _Piece:
    """What is committed when a block's result is there."""

    file: LogFile
    source: str
    end: int
    tail: bytes
    consumed: int
    """Bytes on disk, for the progress."""
    damage: tuple[str, ...] = ()
    last: bool = False
    """The file is done."""


class _Run:
    """One call of `mine`."""

    def __init__(self, writer: Writer, settings: MiningSettings, progress: Progress) -> None:
        self.writer = writer
        self.store = writer.store
        self.settings = settings
        self.progress = progress
        self.tally: Counter[str] = Counter()
        self.told: defaultdict[str, list[str]] = defaultdict(list)
        manifest = self.store.manifest
        self.sources = {one.id: one for one in manifest.sources}
        """As they are to be committed."""
        self.known = dict(self.sources)
        """As they will be once all that is planned is done."""
        self.heads = Heads(self.sources.values())
        self.claimed: set[str] = set()
        """Sources whose file was found in this run."""
        self.partitions = {one.name: one for one in manifest.partitions}
        self.open = {one.segments[-1].source: one for one in manifest.partitions if one.open}
        self.failed: set[str] = set()
        """Sources of which a block could not be read: no later one may count."""
        self.pieces: deque[_Piece] = deque()
        """Of the tasks under way, in order."""
        self.uncommitted = 0

    def report(self) -> MiningReport:
        """Tell what was done."""
        told = {name: tuple(lines) for name, lines in self.told.items()}
        return MiningReport(**self.tally, **told)  # type: ignore[arg-type]

    # Which files

    def read(self, paths: Sequence[Path], executor: Executor) -> None:
        """Turn what is new into partitions, and commit them."""
        found = self._found(paths)
        self.tally["files"] = len(found)
        files = self._changed(found)
        if files:
            self.progress.begin("reading", sum(file.size for file in files), "B")
            try:
                for result in executor.map(mine_block, self._tasks(files)):
                    self._take(result, self.pieces.popleft())
            finally:
                self.progress.end()
                self._commit()

    def _found(self, paths: Sequence[Path]) -> list[Path]:
        found: set[Path] = set()
        for path in paths:
            try:
                found.update(one.absolute() for one in find_logs([path]))
            except ReadError as error:
                self.told["errors"].append(str(error))
        return sorted(found)

    def _changed(self, paths: Sequence[Path]) -> list[LogFile]:
        """Files that are not known to be done, in the order in which they may claim a source."""
        done = {(one.size, one.modified, one.inode): one for one in self.sources.values()}
        inodes = {one.inode for one in self.sources.values()}
        files = []
        for path in paths:
            try:
                stamp = stamp_of(path)
                if stamp in done:
                    self._unchanged(done[stamp], path)
                elif stamp[0]:
                    files.append(look(path))
            except ReadError as error:
                self.told["errors"].append(str(error))
        return sorted(files, key=lambda f: (f.packed != "", f.inode not in inodes, str(f.path)))

    def _unchanged(self, source: Source, path: Path) -> None:
        self.claimed.add(source.id)
        if source.path != str(path):  # rotated
            self.sources[source.id] = self.known[source.id] = replace(source, path=str(path))
            self.uncommitted += 1

    def _tasks(self, files: Sequence[LogFile]) -> Iterator[BlockTask]:
        """Give the tasks of all files; runs ahead of the results."""
        for file in files:
            try:
                if not file.head:
                    self._hopeless(file)
                elif source := self._source_of(file):
                    yield from self._blocks(file, source)
                    self._close(file, source)
            except ReadError as error:
                self.told["errors"].append(str(error))

    def _hopeless(self, file: LogFile) -> None:
        """A packed file of which nothing can be unpacked."""
        for block in read_blocks(file.path):
            self.told["damage"] += [f"{file.path}: {one.what}" for one in block.damage]

    def _source_of(self, file: LogFile) -> Source | None:
        """Return the source that a file goes on with, or a new one; None: nothing is new in it."""
        for name in self.heads.find(file.head):
            kin = kinship(file, self.known[name])
            if kin is Kinship.OTHER or (kin is Kinship.GROWN and name in self.claimed):
                continue  # another log that began alike
            if kin is Kinship.GROWN:
                self.claimed.add(name)
                return self.known[name]
            if kin is Kinship.SAME and name not in self.claimed:
                self.claimed.add(name)
                self._finish(file, self.known[name])
            else:
                self.told["copies"].append(str(file.path))
            return None
        source = Source(
            id=self._new_id(file.head),
            path=str(file.path),
            head=digest(file.head),
            head_bytes=len(file.head),
        )
        self.claimed.add(source.id)
        return source

    def _new_id(self, head: bytes) -> str:
        plain = digest(head)[:12]
        names = chain([plain], (f"{plain}.{number}" for number in count(2)))
        return next(name for name in names if name not in self.known)

    # Blocks

    def _blocks(self, file: LogFile, source: Source) -> Iterator[BlockTask]:
        """Give the tasks of one file, from where its source was read to."""
        unfinished = self.open.get(source.id)
        start = unfinished.segments[-1].start if unfinished else source.offset
        plan = plan_years(
            file.path,
            self.settings.end,
            self.settings.time_zone,
            host_pattern=self.settings.host_pattern,
        )
        self.known[source.id] = source
        blocks = self._packed(file, start) if file.packed else self._plain(file, start)
        done = 0 if file.packed else start
        for block, tail in blocks:
            self._plan(file, source.id, block.end, tail)
            here = block.consumed if isinstance(block, Block) else block.end
            damage = block.damage if isinstance(block, Block) else ()
            self.pieces.append(
                _Piece(
                    file=file,
                    source=source.id,
                    end=block.end,
                    tail=tail,
                    consumed=here - done,
                    damage=tuple(f"{file.path}: {one.what}" for one in damage),
                )
            )
            done = here
            yield BlockTask(
                folder=self.store.folder.resolve(),
                source=source.id,
                block=block,
                plan=plan,
                inode=file.inode,
                block_bytes=self.settings.block_bytes,
                broken_kept=self.settings.broken_kept,
            )
            del block  # the worker's now

    def _packed(self, file: LogFile, start: int) -> Iterator[tuple[Block, bytes]]:
        for block in read_blocks(file.path, start=start, block_bytes=self.settings.block_bytes):
            yield block, b"" if block.cut else block.data[-TAIL:]

    def _plain(self, file: LogFile, start: int) -> Iterator[tuple[Span, bytes]]:
        for span in spans(file.path, start=start, block_bytes=self.settings.block_bytes):
            for part in _without_unfinished(span):
                yield part, tail_at(file.path, part.end)

    def _plan(self, file: LogFile, name: str, end: int, tail: bytes) -> None:
        """Know a source as it will be when it is read so far."""
        self.known[name] = _read_to(self.known[name], file, end, tail)
        self.heads.add(self.known[name])

    def _close(self, file: LogFile, source: Source) -> None:
        """All of a file is planned: when the last piece of it is done, so is the file."""
        if self.pieces and self.pieces[-1].source == source.id:
            self.pieces[-1].last = True
        elif source.id in self.sources:
            self._finish(file, self.sources[source.id])

    # Results

    def _take(self, result: BlockResult, piece: _Piece) -> None:
        """Count a block's partition as done."""
        self.progress.advance(piece.consumed)
        self.told["damage"] += piece.damage
        if result.partition is None:
            self.failed.add(piece.source)
            self.told["errors"].append(result.error)
        if piece.source in self.failed:
            return
        assert result.partition is not None  # noqa: S101 - see above
        source = self._reopened(self.sources.get(piece.source) or self._first(piece))
        source = _read_to(source, piece.file, piece.end, piece.tail)
        kept = (*source.broken_lines, *result.broken_lines)[: self.settings.broken_kept]
        self.sources[source.id] = replace(
            source,
            broken=source.broken + result.partition.broken,
            broken_lines=kept,
            damage=(*source.damage, *piece.damage)[:KEPT_DAMAGE],
        )
        self._add(result.partition)
        if piece.last:
            self._finish(piece.file, self.sources[source.id])
        if self.uncommitted > len(self.partitions) // 64:
            self._commit()

    def _first(self, piece: _Piece) -> Source:
        self.tally["read"] += 1
        return replace(self.known[piece.source], offset=0, broken=0, broken_lines=(), damage=())

    def _reopened(self, source: Source) -> Source:
        """Forget the partition of a last line that has an end now."""
        before = self.open.pop(source.id, None)
        if before is None:
            return source
        del self.partitions[before.name]
        kept = source.broken_lines
        return replace(
            source,
            broken=source.broken - before.broken,
            broken_lines=kept[:-1] if before.broken and source.broken <= len(kept) else kept,
        )

    def _add(self, partition: Partition) -> None:
        self.partitions[partition.name] = partition
        self.uncommitted += 1
        self.tally["partitions"] += 1
        self.tally["bytes"] += partition.bytes
        self.tally["rows"] += partition.rows
        self.tally["lines"] += partition.lines
        self.tally["broken"] += partition.broken

    def _finish(self, file: LogFile, source: Source) -> None:
        """Remember the file, so that it is not looked into again before it changes."""
        size, modified, inode = file.stamp
        self.sources[source.id] = replace(
            source, path=str(file.path), size=size, modified=modified, inode=inode
        )
        self.uncommitted += 1

    def _commit(self) -> None:
        if self.uncommitted:
            self.writer.commit(sources=self.sources, partitions=list(self.partitions.values()))
            self.uncommitted = 0

    # 3: learning

    def learn(self) -> None:
        """Let the model learn from the keys of all partitions that it has not learnt from."""
        new = [one for one in self.store.manifest.partitions if not one.learnt]
        if not new:
            return
        self.progress.begin("templates", None, "keys")
        try:
            keys = merged_keys(self.store, new)
            known = len(self.store.keys)
            model = self.store.model
            if not self.store.manifest.model:
                model = replace(model, settings=self.settings.miner)
            before = len(model.templates)
            model = model.learn(
                keys["key"].to_list(), keys["lines"].to_list(), keys["example"].to_list()
            )
            self.writer.learnt(model, keys["key"].to_list())
            self.progress.advance(len(keys))
            self.tally["keys"] = len(self.store.keys) - known
            self.tally["templates"] = len(model.templates) - before
        finally:
            self.progress.end()

    # 4: tidying

    def tidy(self) -> None:
        """Drop what is too old, merge what is too small."""
        partitions, dropped = _young(self.store.manifest, self.settings)
        self.tally["dropped"] = len(dropped)
        merged = compacted(
            self.store, partitions, self.settings.block_bytes, self.settings.small_partitions
        )
        if dropped or merged != partitions:
            self.writer.commit(partitions=merged)


def merged_keys(store: Store, partitions: Sequence[Partition]) -> pl.DataFrame:
    """Return the distinct keys of partitions, sorted: `KEYS`, examples of where they were first."""
    merged = KEYS.to_frame()
    for begin in range(0, len(partitions), AT_ONCE):
        some = partitions[begin : begin + AT_ONCE]
        tables = [store.partition_keys(one, KEYS.names()) for one in some]
        merged = (
            pl.concat([merged, *tables])
            .group_by("key", maintain_order=True)
            .agg(pl.col("lines").sum(), pl.col("example").first())
        )
    return merged.sort("key")


def _read_to(source: Source, file: LogFile, end: int, tail: bytes) -> Source:
    head = file.head[: min(HEAD, end)]
    return replace(
        source,
        head=digest(head),
        head_bytes=len(head),
        offset=end,
        tail=digest(tail) if tail else "",
        tail_bytes=len(tail),
    )


def _without_unfinished(span: Span) -> Iterator[Span]:
    """Split a plain file's last block before a last line that has no end yet."""
    reach = max(span.offset, span.end - 4 * LONGEST)
    with opened(span.path) as file:
        tail = os.pread(file.fileno(), span.end - reach, reach)
    begin = reach + tail.rfind(b"\n") + 1
    if tail.endswith(b"\n") or begin <= max(reach, span.offset):
        yield span
        return
    yield replace(span, end=begin)
    yield replace(span, number=span.number + 1, offset=begin)


def _young(manifest: Manifest, settings: MiningSettings) -> tuple[list[Partition], list[Partition]]:
    """Divide partitions into those that stay and those that are too old."""
    if not settings.retention_days:
        return list(manifest.partitions), []
    newest = max((one.modified for one in manifest.sources), default=0) / 1e6
    now = newest if settings.end is None else settings.end * 1000
    oldest = now - settings.retention_days * DAY_MS
    changed = {one.id: one.modified / 1e6 for one in manifest.sources}
    kept: list[Partition] = []
    dropped: list[Partition] = []
    for one in manifest.partitions:
        # Nothing but broken lines: as old as their file
        old = max(changed[part.source] for part in one.segments) if one.last is None else one.last
        (dropped if old < oldest and not one.open else kept).append(one)
    return kept, dropped
