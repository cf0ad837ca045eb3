"""Which files are logs, and whose."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from triage.syslog.reading.names import find_logs, host_of, is_text
from triage.syslog.reading.unpack import ReadError
from triage.syslog.reading.years import plan_years

LINE = b"Sep 26 12:00:01 h x: y\n"


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("hv1.log", "hv1"),
        ("logs/hv1.komatsu.example.log", "hv1.komatsu.example"),
        ("hv1.komatsu.example.log.2.gz", "hv1.komatsu.example"),
        ("hv1.komatsu.example", "hv1.komatsu.example"),
        ("hv1.log-20150926.xz", "hv1"),
        ("hv1-2015-09-26.log.zst", "hv1"),
        ("/var/log/remote/hv1/messages", "hv1"),
        ("/var/log/hosts/hv1.example/syslog.1", "hv1.example"),
        ("/var/log/hv1/2015/09/26/messages.gz", "hv1"),
        ("esx1/var/log/vmkernel.log", "esx1"),
        ("messages-hv1", "hv1"),
        ("hv1_syslog.log", "hv1"),
        ("/var/log/messages", ""),
        ("/var/log/syslog.1", ""),
        ("/messages", ""),
        ("10.0.0.1.log", "10.0.0.1"),
    ],
)
def test_the_host_that_a_name_means(path, host, tmp_path):
    assert host_of(Path(path)) == host


def test_an_operators_pattern():
    path = Path("/logs/site-a/rack3_hv7/all.txt")
    assert host_of(path, r"rack\d_(?P<host>[^/]+)") == "hv7"
    assert host_of(path, r"_([^/]+)/") == "hv7"
    assert host_of(path, r"hv\d+") == "hv7"
    assert host_of(path, r"nothing") == ""
    with pytest.raises(ReadError, match="host pattern"):
        host_of(path, "(")


def test_plans_know_their_host(tmp_path):
    path = tmp_path / "hv3.log"
    path.write_bytes(LINE)
    assert plan_years(path, 0.0).host == "hv3"
    assert plan_years(path, 0.0, host_pattern="(v)").host == "v"


def test_folders_are_searched(tmp_path):
    wanted = ["a/b/two.log", "a/messages.1.gz", "one", "zero.log"]
    for name in [*wanted, ".hidden/x.log", "a/.x.log", "store/events.log"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(LINE) if name.endswith(".gz") else LINE)
    (tmp_path / "store" / "store.json").write_text('{"format":"triage-syslog-store/1"}')
    (tmp_path / "a" / "system.journal").write_bytes(b"LPKSHHRH" + bytes(200))
    (tmp_path / "a" / "wtmp").write_bytes(b"\x07\0\0\0" * 200)
    (tmp_path / "a" / "packed.gz").write_bytes(gzip.compress(b"PAR1" + bytes(100)))
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    os.mkfifo(tmp_path / "a" / "pipe")
    found = find_logs([tmp_path, tmp_path / "one", tmp_path / "a"])
    assert found == sorted(tmp_path / name for name in wanted)


def test_what_is_named_is_read_or_told(tmp_path):
    with pytest.raises(ReadError, match="no log files in it"):
        find_logs([tmp_path])
    with pytest.raises(ReadError, match="nothing given"):
        find_logs([])
    with pytest.raises(ReadError, match="no such file"):
        find_logs([tmp_path / "none"])
    journal = tmp_path / "system.journal"
    journal.write_bytes(b"LPKSHHRH" + bytes(200))
    with pytest.raises(ReadError, match="journalctl -o short-iso-precise"):
        find_logs([journal])
    database = tmp_path / "x.db"
    database.write_bytes(b"SQLite format 3\0")
    with pytest.raises(ReadError, match="no text"):
        find_logs([database])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReadError, match="no regular file"):
        find_logs([tmp_path / "pipe"])


def test_text_with_some_zeros_is_text(tmp_path):
    path = tmp_path / "log"
    for data, text in ((b"", True), (bytes(3000) + LINE * 9, True), (bytes(99), False)):
        path.write_bytes(data)
        assert is_text(path) is text
