"""One block of a log -> one partition on disk: what a worker does, on whatever machine.

Rules
- A block is whole lines of one source. Of a plain file the worker reads its own range; a block of a
  compressed one comes with the task.
- Rows are in the order of the lines, one for each, so that a row's number gives the line back.
- Keys are sorted; hosts, too: the same block gives the same files, byte for byte.
- Broken lines have no key: they are counted, and the first are kept as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from triage.syslog.reading.blocks import BLOCK_BYTES, Block, Span, read_span
from triage.syslog.reading.lines import read_lines
from triage.syslog.reading.unpack import ReadError
from triage.syslog.reading.years import HeaderPlan
from triage.syslog.store import Partition, Segment, write_partition
from triage.syslog.tables import KEYS
from triage.syslog.templates.keys import key_of

EXAMPLE = 400
"""Characters of an example that are kept."""
BROKEN = 300
"""Characters of a broken line that are kept."""

KEY_TABLE = pl.Schema(
    [*KEYS.items(), ("first", pl.Int64), ("last", pl.Int64), ("hosts", pl.List(pl.UInt32))]
)
"""What a partition's keys file holds: KEYS, when the key appeared, and on which of the hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTask:
    """A block to be mined."""

    folder: Path
    """The store's."""
    source: str
    block: Span | Block
    """A plain file's span, which the worker reads itself, or a packed one's block."""
    plan: HeaderPlan
    inode: int
    """The file's, when the span was planned."""
    block_bytes: int = BLOCK_BYTES
    broken_kept: int = 20
    """Broken lines to be kept as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """What came of it."""

    partition: Partition | None
    """None: see `error`."""
    broken_lines: tuple[str, ...] = ()
    error: str = ""
    """Why the range could not be read, in one line."""


def mine_block(task: BlockTask) -> BlockResult:
    """Parse a block and write its partition; what is wrong with the file is in the result."""
    try:
        block = task.block if isinstance(task.block, Block) else read_planned(task, task.block)
    except ReadError as error:
        return BlockResult(partition=None, error=str(error))
    except OSError as error:
        return BlockResult(partition=None, error=f"{task.block.path}: {error.strerror or error}")
    start, end, unfinished = block.offset, block.end, not block.data.endswith(b"\n")
    lines = read_lines(block, task.plan).frame
    del block
    key = pl.when(pl.col("time").is_not_null()).then(key_of(pl.col("content")))
    lines = lines.with_columns(key=key)
    is_broken = pl.col("time").is_null()
    broken = lines.filter(is_broken)["content"]
    kept = tuple(shown(one) for one in broken.head(task.broken_kept))
    hosts = lines["host"].unique().drop_nulls().sort()
    keys = lines["key"].unique().drop_nulls().sort()
    events = table_of(lines, hosts, keys)
    examples = lines["content"].gather(_first_rows(events)).str.head(EXAMPLE)
    del lines
    name = f"{task.source}-{start:012x}-{end:012x}"
    write_partition(task.folder, name, events, hosts.to_list(), keys_of(events, keys, examples))
    first, last = events.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
    segment = Segment(source=task.source, start=start, end=end, rows=len(events))
    return BlockResult(
        partition=Partition(
            name=name,
            segments=(segment,),
            rows=len(events),
            lines=int(events["count"].sum()),
            first=first,
            last=last,
            broken=len(broken),
            open=unfinished,
        ),
        broken_lines=kept,
    )


def read_planned(task: BlockTask, span: Span) -> Block:
    """Read a plain file's span; raises OSError when another file has its name by now."""
    before = span.path.stat().st_ino
    block = read_span(span, block_bytes=task.block_bytes)
    if {before, span.path.stat().st_ino} != {task.inode}:
        raise OSError("it was rotated while it was read; the rest is read the next time")
    return block


def table_of(lines: pl.DataFrame, hosts: pl.Series, keys: pl.Series) -> pl.DataFrame:
    """Return the events (`EVENTS`) of lines with columns time, host, key and count."""
    return lines.select(
        "time",
        pl.col("host").cast(pl.Enum(hosts)).to_physical().cast(pl.UInt32),
        pl.col("key").cast(pl.Enum(keys)).to_physical().cast(pl.UInt32),
        "count",
    )


def keys_of(events: pl.DataFrame, keys: pl.Series, examples: pl.Series) -> pl.DataFrame:
    """Return the keys (`KEY_TABLE`) of events; `examples` are for each of the keys."""
    found = (
        events.filter(pl.col("key").is_not_null())
        .group_by("key")
        .agg(
            lines=pl.col("count").sum().cast(pl.UInt64),
            first=pl.col("time").min(),
            last=pl.col("time").max(),
            hosts=pl.col("host").unique().sort(),
        )
        .sort("key")
    )
    return found.with_columns(key=keys, example=examples).select(KEY_TABLE.names())


def _first_rows(events: pl.DataFrame) -> pl.Series:
    """Return the first row of each key, in the order of the keys."""
    known = events.with_row_index("row").filter(pl.col("key").is_not_null())
    return known.unique("key", keep="first").sort("key")["row"]


def shown(text: str) -> str:
    """Return a broken line bounded, and without what JSON cannot hold."""
    return text[:BROKEN].encode("utf-8", "backslashreplace").decode("utf-8")
