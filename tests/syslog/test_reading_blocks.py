"""Blocks of whole lines: plain and packed, cut off, damaged, huge; the same rows however cut."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import random
import tracemalloc
import zlib
from datetime import UTC, datetime

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.syslog.reading import blocks
from triage.syslog.reading.blocks import (
    CONTEXT,
    LONGEST,
    line_count,
    lines_at,
    read_blocks,
    read_span,
    spans,
)
from triage.syslog.reading.lines import parse_block, read_lines
from triage.syslog.reading.unpack import ReadError, compression_of
from triage.syslog.reading.years import plan_for

PLAN = plan_for(datetime(2015, 11, 16, tzinfo=UTC).timestamp())

PACKERS = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": lambda data: bz2.compress(data, 1),  # blocks of 100 kB
}


def log(lines: int, seed: int = 1) -> bytes:
    """Lines of some hosts, short and long, repeated messages among them."""
    rng = random.Random(seed)
    out = []
    for i in range(lines):
        head = f"Sep 26 {i // 3600 % 24:02d}:{i // 60 % 60:02d}:{i % 60:02d} h{rng.randrange(4)} "
        out.append(
            rng.choice(
                [
                    head + f"sshd[{rng.randrange(999)}]: " + "x" * rng.randrange(120),
                    head + "last message repeated 3 times",
                    head + f"kernel: é{i}",
                    "broken",
                    "",
                ]
            )
        )
    return "\n".join(out).encode()


def whole(path, block_bytes=1 << 20):
    return b"".join(block.data for block in read_blocks(path, block_bytes=block_bytes))


@pytest.mark.parametrize("packer", PACKERS)
def test_every_packing_gives_the_same_bytes(tmp_path, packer):
    data = log(5000)
    path = tmp_path / "misleading.txt"
    path.write_bytes(PACKERS[packer](data))
    assert compression_of(path) == packer
    assert whole(path, 1 << 16) == data


@pytest.mark.parametrize("packer", [name for name in PACKERS if name])
def test_members_that_follow_one_another(tmp_path, packer):
    path, pack = tmp_path / "log", PACKERS[packer]
    path.write_bytes(pack(b"one\ntw") + pack(b"") + pack(b"o\nthree\n"))
    assert whole(path) == b"one\ntwo\nthree\n"


def test_what_may_surround_them(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(b"a\n") + bytes(700))  # tapes pad with zeros
    assert [(block.data, block.damage) for block in read_blocks(path)] == [(b"a\n", ())]
    path.write_bytes(lzma.compress(b"a\n") + bytes(8) + lzma.compress(b"b\n"))
    assert whole(path) == b"a\nb\n"
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(b"a\n" * 99)
    path.write_bytes(skippable + checked + skippable)
    assert [(b.data, b.damage) for b in read_blocks(path)] == [(b"a\n" * 99, ())]


@pytest.mark.parametrize("packer", [name for name in PACKERS if name])
def test_cut_off_files_give_what_there_is(tmp_path, packer):
    data = "".join(f"line {i} {random.Random(i).random()}\n" for i in range(40_000)).encode()
    packed = PACKERS[packer](data)
    path = tmp_path / "log"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    found = list(read_blocks(path, block_bytes=1 << 18))
    text = b"".join(block.data for block in found)
    assert data.startswith(text)
    assert len(text) > len(data) / 3
    (damage,) = [one for block in found for one in block.damage]
    assert damage.offset == len(text)
    assert "cut off" in damage.what
    assert found[-1].damage == (damage,)


@pytest.mark.parametrize("packer", [name for name in PACKERS if name])
def test_damaged_files_give_what_came_before(tmp_path, packer):
    data = "".join(f"line {i} {random.Random(i).random()}\n" for i in range(40_000)).encode()
    packed = bytearray(PACKERS[packer](data))
    packed[len(packed) * 3 // 4 : len(packed) * 3 // 4 + 64] = bytes(64)
    path = tmp_path / "log"
    path.write_bytes(packed)
    found = list(read_blocks(path))
    assert sum(len(block.damage) for block in found) == 1
    text = b"".join(block.data for block in found)
    assert text[: len(data) // 4] == data[: len(data) // 4]


def test_a_wrong_checksum_loses_nothing(tmp_path):
    packed = bytearray(gzip.compress(b"a\nb\n"))
    packed[-8] ^= 1
    path = tmp_path / "log"
    path.write_bytes(packed)
    (block,) = read_blocks(path)
    assert block.data == b"a\nb\n"
    assert "damaged" in block.damage[0].what


def test_something_else_behind_it(tmp_path):
    path = tmp_path / "log"
    for pack in (gzip.compress, zstandard.ZstdCompressor().compress):
        path.write_bytes(pack(b"a\n") + b"Sep 26 plain lines follow\n")
        (block,) = read_blocks(path)
        assert (block.data, len(block.damage)) == (b"a\n", 1)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([name for name in PACKERS if name]), st.data())
def test_no_bytes_crash_it(tmp_path_factory, packer, data):
    packed = bytearray(PACKERS[packer](b"some line\n" * 50))
    for _ in range(data.draw(st.integers(0, 4))):
        packed[data.draw(st.integers(4, len(packed) - 1))] = data.draw(st.integers(0, 255))
    del packed[data.draw(st.integers(4, len(packed))) :]
    path = tmp_path_factory.mktemp("fuzz") / "log"
    path.write_bytes(packed)
    for block in read_blocks(path):
        assert len(block.data) < 1 << 20


@pytest.mark.parametrize("packer", ["gzip", "zstd", "xz", "bzip2"])
def test_a_bomb_of_one_line_stays_small(tmp_path, packer):
    path = tmp_path / "log"
    with path.open("wb") as file:
        head = b"Sep 26 12:00:00 h x: y\nSep 26 12:00:00 h x: "
        stream = {"gzip": zlib.compressobj(wbits=31), "xz": lzma.LZMACompressor(preset=0)}
        stream |= {"bzip2": bz2.BZ2Compressor(), "zstd": zstandard.ZstdCompressor().compressobj()}
        packing = stream[packer]
        file.write(packing.compress(head))
        for _ in range(64):
            file.write(packing.compress(b"z" * (1 << 20)))
        file.write(packing.compress(b"\nSep 26 12:00:01 h x: last\n") + packing.flush())
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    found = list(read_blocks(path, block_bytes=1 << 20))
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert [line_count(block.data) for block in found] == [2, 1]
    assert found[0].cut
    frames = [read_lines(block, PLAN) for block in found]
    assert frames[0].cut == 1
    assert len(frames[0].frame["content"][1]) == LONGEST - 18
    assert frames[1].frame["content"].to_list() == ["x: last"]


def test_a_huge_line_of_a_plain_file(tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.truncate(1 << 30)  # a hole: zeros without an end of line
        file.seek(1 << 30)
        file.write(b"\nlast\n")
    found = list(read_blocks(path, block_bytes=1 << 20))
    assert [line_count(block.data) for block in found] == [2, 1]
    assert found[0].end == (1 << 30) + 1
    assert len(found[0].data) < 2 * LONGEST
    assert lines_at(path, 0, [2, 0]) == ["last", "first"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3 * LONGEST), max_size=12),
    st.integers(LONGEST, 4 * LONGEST),
    st.booleans(),
)
def test_packed_blocks_are_plain_ones(tmp_path_factory, lengths, block_bytes, ends):
    """Long lines, too: the same cuts, the same context, at the same offsets."""
    data = b"\n".join(b"%d" % i * (n // len(b"%d" % i)) for i, n in enumerate(lengths))
    data += b"\n" * ends
    folder = tmp_path_factory.mktemp("cuts")
    (folder / "plain").write_bytes(data)
    (folder / "packed").write_bytes(gzip.compress(data, 1))
    plain = list(read_blocks(folder / "plain", block_bytes=block_bytes))
    packed = list(read_blocks(folder / "packed", block_bytes=block_bytes))
    assert [(b.number, b.offset, b.end, b.data, b.before) for b in plain] == [
        (b.number, b.offset, b.end, b.data, b.before) for b in packed
    ]
    assert sum(line_count(b.data) for b in plain) == line_count(data)
    for block in plain[1:]:
        for name in ("plain", "packed"):
            again = next(read_blocks(folder / name, start=block.offset, block_bytes=block_bytes))
            assert (again.data, again.before, again.end) == (block.data, block.before, block.end)


@pytest.mark.parametrize("packer", ["", "zstd"])
def test_rows_do_not_depend_on_blocks(tmp_path, packer):
    """Repeated messages look back over blocks' ends."""
    data = log(9000)
    path = tmp_path / "log"
    path.write_bytes(PACKERS[packer](data))
    expected = parse_block(data, PLAN)
    assert expected["count"].max() == 3
    for block_bytes in (LONGEST, LONGEST + 777, 3 * LONGEST, 1 << 30):
        parts = [
            parse_block(block.data, PLAN, offset=block.offset, before=block.before)
            for block in read_blocks(path, block_bytes=block_bytes)
        ]
        assert pl.concat(parts).equals(expected)


def test_contexts_reach_as_far_as_they_say(tmp_path):
    said = b"Sep 26 12:00:01 a x: one\n"
    for between, count in ((CONTEXT - len(said), 3), (CONTEXT - len(said) + 1, 1)):
        filler = b"broken\n" * (between // 7) + b"\n" * (between % 7)
        path = tmp_path / "log"
        path.write_bytes(
            b"\n" + said + filler + b"Sep 26 12:00:02 a last message repeated 3 times\n"
        )
        for block_bytes in (LONGEST, LONGEST + 1, 1 << 20):
            *_, last = read_blocks(path, block_bytes=block_bytes)
            assert read_lines(last, PLAN).frame["count"][-1] == count


def test_spans_are_read_apart(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(log(9000))
    planned = pickle.loads(pickle.dumps(list(spans(path, block_bytes=1 << 16))))  # noqa: S301
    assert len(planned) > 3
    assert [read_span(span, block_bytes=1 << 16) for span in reversed(planned)][::-1] == list(
        read_blocks(path, block_bytes=1 << 16)
    )
    assert planned[-1].end == path.stat().st_size


@pytest.mark.parametrize("packer", ["", "gzip"])
def test_lines_are_found_again(tmp_path, packer):
    data = b"one\ntwo\r\n\n\xff four\n" + b"y" * 50_000 + b"\n" + log(3000) + b"\n\0\0last"
    path = tmp_path / "log"
    path.write_bytes(PACKERS[packer](data))
    lines = data.split(b"\n")
    last = len(lines) - 1
    assert lines_at(path, 0, [3, 0, 1, 2, 0]) == ["\ufffd four", "one", "two", "", "one"]
    assert lines_at(path, 4, [0, last - 1, last, 10**9]) == ["two", "last", "", ""]
    assert lines_at(path, 0, [4]) == ["y" * LONGEST]
    assert lines_at(path, 0, []) == []
    for block in blocks.read_blocks(path, block_bytes=LONGEST):
        (line,) = lines_at(path, block.offset, [0])
        assert line == block.data.split(b"\n")[0].decode("utf-8", "replace")[:LONGEST].strip("\0")


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ReadError, match="no such file; check the path"):
        list(read_blocks(tmp_path / "none"))
    with pytest.raises(ReadError, match="is a folder"):
        list(read_blocks(tmp_path))
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"x\n"))
    with pytest.raises(ReadError, match="use read_blocks"):
        list(spans(path))
    path.write_bytes(b"x\n" * 99)
    (span,) = spans(path)
    path.write_bytes(b"")
    with pytest.raises(ReadError, match="became shorter"):
        read_span(span)
    assert list(read_blocks(path)) == []
