"""What a store gives, and what it says when it cannot."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pytest

from tests.syslog.store_logs import BEGIN, content, lines, run, write_logs
from triage.syslog.corpus import Sites, SitesError, load_corpus, load_sites
from triage.syslog.store import TIMES, Store, StoreError, open_store
from triage.syslog.tables import COUNTS
from triage.syslog.templates import Edits, Merge


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_logs(tmp_path_factory.mktemp("logs") / "logs", count=600)


@pytest.fixture
def store(tmp_path: Path, logs: Path) -> Store:
    store = open_store(tmp_path / "store", create=True)
    run(store, logs)
    return store


def written(logs: Path) -> Counter[tuple[int, str]]:
    """(minute, host) -> lines, counted in plain Python."""
    found: Counter[tuple[int, str]] = Counter()
    for number, path in enumerate(sorted(logs.iterdir())):
        for index, line in enumerate(path.read_text().splitlines()):
            if not line.startswith("no header"):
                found[(BEGIN + number + 1 + index * 7) // 60, line.split()[3]] += 1
    return found


# The corpus


def test_a_corpus_counts_every_line_once(store: Store, logs: Path) -> None:
    corpus = load_corpus(store)
    assert corpus.counts.schema == COUNTS
    found: Counter[tuple[int, str]] = Counter()
    for minute, host, template, count in corpus.counts.iter_rows():
        found[minute, corpus.hosts[host]] += count
        assert 0 <= template < len(corpus.templates)
    assert found == written(logs)
    keyed = corpus.counts.select("minute", "host", "template")
    assert keyed.equals(keyed.unique().sort("minute", "host", "template"))
    assert list(corpus.hosts) == sorted({host for _, host in found})
    assert [one.id for one in corpus.templates] == sorted(one.id for one in corpus.templates)
    assert len(corpus.group_of) == len(corpus.templates)
    for template, group in zip(corpus.templates, corpus.group_of, strict=True):
        assert template.id in corpus.groups[group].templates
    assert corpus.site_of == ("a.example", "b.example", "c.example")
    times = store.times().collect()["time"]
    assert (corpus.start * 1000, corpus.end * 1000) == (times.min(), times.max())


def test_a_span_of_it(store: Store) -> None:
    start, end = BEGIN + 600.0, BEGIN + 1800.0
    corpus = load_corpus(store, start=start, end=end)
    inside = store.times().filter(pl.col("time").is_between(start * 1000, end * 1000, "left"))
    assert corpus.counts["count"].sum() == inside.select(pl.len()).collect().item() > 0
    assert start <= corpus.start <= corpus.end < end
    with pytest.raises(StoreError, match="no events in that time span"):
        load_corpus(store, start=1.0, end=2.0)


def test_an_empty_store_has_no_corpus(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    assert store.statistics().is_empty()
    assert store.times().collect().is_empty()
    assert store.lines(0, 2e9) == ()
    with pytest.raises(StoreError, match="has no events: mine"):
        load_corpus(store)


def test_groups_are_kept(store: Store) -> None:
    first = load_corpus(store).groups
    assert list(store.folder.glob("groups-*.json"))
    assert load_corpus(open_store(store.folder)).groups == first


def test_sites(tmp_path: Path) -> None:
    path = tmp_path / "sites.yaml"
    path.write_text("nezu: [hv1.a.example, '10.0.0.*']\nnaist: ['hv*']\n")
    sites = load_sites(path)
    hosts = ["hv1.a.example", "10.0.0.7", "hv2.a.example", "x.b.example", "x", "192.0.2.1", "::1"]
    assert [sites.of(host) for host in hosts] == [
        "nezu", "nezu", "naist", "b.example", "all", "all", "all",
    ]  # fmt: skip
    assert Sites().of("hv1.komatsu.example") == "komatsu.example"


@pytest.mark.parametrize("text", ["- a", "{", "nezu: hv1", "nezu: [1]", "a: [h]\nb: [h]", "\xff"])
def test_sites_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sites.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SitesError, match=r"sites\.yaml") as error:
        load_sites(path)
    assert "\n" not in str(error.value)
    with pytest.raises(SitesError, match="cannot read"):
        load_sites(tmp_path / "gone")


# Times and statistics


def test_times_of_some_templates(store: Store) -> None:
    every = store.times().collect()
    assert every.schema == TIMES
    some = every["template"].unique().sort().head(2).to_list()
    found = store.times(some).collect()
    assert found.sort(pl.all()).equals(every.filter(pl.col("template").is_in(some)).sort(pl.all()))
    assert store.times([]).collect().is_empty()


def test_statistics_are_those_of_the_events(store: Store) -> None:
    events = store.times().collect()
    told = store.statistics()
    wanted = (
        events.group_by("template")
        .agg(
            lines=pl.col("count").sum().cast(pl.UInt64),
            hosts=pl.col("host").n_unique(),
            first=pl.col("time").min(),
            last=pl.col("time").max(),
        )
        .sort("lines", "template", descending=[True, False])
    )
    assert told.drop("example").equals(wanted)
    assert (told["example"].str.len_chars() > 0).all()


def test_an_edit_changes_templates_and_no_event(store: Store) -> None:
    files = {path: path.stat().st_mtime_ns for path in (store.folder / "partitions").iterdir()}
    before = store.statistics()
    one, other = before["template"][0], before["template"][1]
    store.save_model(store.model.edited(Edits(merge=(Merge(ids=(other,), into=one),))))
    after = open_store(store.folder).statistics()
    assert after.filter(pl.col("template") == one)["lines"].item() == before["lines"][:2].sum()
    assert other not in after["template"]
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_a_frozen_model_leaves_out_what_it_does_not_know(store: Store, tmp_path: Path) -> None:
    store.save_model(store.model.with_frozen(True))
    known = store.times().select(pl.len()).collect().item()
    (tmp_path / "new").write_text("Sep 26 00:00:00 hv1 fancontrol: rotor three stalled again\n")
    report = run(store, tmp_path / "new")
    assert (report.rows, report.keys, report.templates) == (1, 1, 0)
    assert store.times().select(pl.len()).collect().item() == known
    store.save_model(store.model.with_frozen(False))
    (tmp_path / "new").write_text("Sep 26 00:00:00 hv1 fancontrol: rotor three stalled again\n" * 2)
    run(store, tmp_path / "new")
    assert store.times().select(pl.len()).collect().item() == known + 2


# Lines


def test_lines_are_those_of_the_files(store: Store, logs: Path) -> None:
    found = store.lines(0, 2e9, limit=10_000)
    of_file = sorted(
        line
        for path in logs.iterdir()
        for line in path.read_text().splitlines()
        if not line.startswith("no header")
    )
    assert sorted(line.text for line in found) == of_file
    assert [line.time for line in found] == sorted(line.time for line in found)
    texts = defaultdict(set)
    for line in found:
        assert line.text.split()[3] == line.host
        texts[line.template].add(line.text.split()[4].partition("[")[0])
    assert all(len(programs) == 1 for programs in texts.values())


def test_lines_of_some_hosts_templates_and_times(store: Store) -> None:
    template = store.statistics()["template"][0]
    found = store.lines(
        BEGIN + 60, BEGIN + 3000, hosts=["hv1.b.example"], templates=[template], limit=5
    )
    assert len(found) == 5
    assert {(one.host, one.template) for one in found} == {("hv1.b.example", template)}
    assert all(BEGIN + 60 <= one.time < BEGIN + 3000 for one in found)
    assert store.lines(BEGIN, BEGIN + 10, hosts=[]) == ()


def test_a_rare_line_is_not_hidden_by_many(tmp_path: Path) -> None:
    many = [f"Sep 26 00:00:{n % 60:02} hv1 sshd[{n}]: closed by 10.0.0.{n}\n" for n in range(500)]
    (tmp_path / "log").write_text("".join([*many, "Sep 26 00:01:00 hv1 kernel: panic now\n"]))
    store = open_store(tmp_path / "store", create=True)
    run(store, tmp_path / "log")
    assert any("panic" in one.text for one in store.lines(0, 2e9, limit=4))


def test_secrets_are_masked(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Sep 26 00:00:00 hv1 app: login password=hunter2 done\n")
    store = open_store(tmp_path / "store", create=True)
    run(store, tmp_path / "log")
    (line,) = store.lines(0, 2e9)
    assert "hunter2" not in line.text
    assert "login" in line.text


def test_lines_of_rotated_packed_and_lost_logs(tmp_path: Path) -> None:
    made = [line for line in lines(400) if not line.startswith("no header")]
    log = tmp_path / "messages"
    log.write_text("".join(made))
    store = open_store(tmp_path / "store", create=True)
    run(store, log)
    whole = store.lines(0, 2e9, limit=1000)
    assert [one.text + "\n" for one in whole] == made
    log.rename(tmp_path / "messages.1")
    log.write_text("Jan  1 00:00:00 another: log\n")
    assert store.lines(0, 2e9, limit=1000) == whole
    (tmp_path / "messages.2.gz").write_bytes(gzip.compress((tmp_path / "messages.1").read_bytes()))
    (tmp_path / "messages.1").unlink()
    assert store.lines(0, 2e9, limit=1000) == whole
    (tmp_path / "messages.2.gz").unlink()
    lost = store.lines(0, 2e9, limit=3)
    assert len(lost) == 3
    assert all("messages cannot be read any more" in one.text for one in lost)


# What is no store


def test_stores_that_cannot_be_used(tmp_path: Path) -> None:
    def refused(folder: Path, *, create: bool = False) -> str:
        with pytest.raises(StoreError) as error:
            open_store(folder, create=create)
        assert "\n" not in str(error.value)
        assert str(folder) in str(error.value)
        return str(error.value)

    assert "is not a syslog store" in refused(tmp_path / "none")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("dear")
    assert "letter.txt" in refused(foreign, create=True)
    (foreign / "store.json").write_text('{"format": "shop/1"}')
    assert "something else" in refused(foreign)
    (foreign / "store.json").write_text('{"format": "triage-syslog-store/99", "x": 1}')
    assert "triage-syslog-store/99" in refused(foreign)
    for text in (b"", b"{", b"[]", b"\xff", b'{"format": "triage-syslog-store/1", "sources": 5}'):
        (foreign / "store.json").write_bytes(text)
        assert "is damaged" in refused(foreign)
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", create=True)


def test_damaged_partitions_and_models_are_told(store: Store) -> None:
    name = store.manifest.partitions[0].name
    for file in (f"partitions/{name}.keys.parquet", f"partitions/{name}.events.parquet"):
        path = store.folder / file
        good = path.read_bytes()
        path.write_bytes(good[: len(good) // 2])
        with pytest.raises(StoreError, match="is damaged"):
            load_corpus(open_store(store.folder))
        path.unlink()
        with pytest.raises(StoreError, match="is gone"):
            load_corpus(open_store(store.folder))
        path.write_bytes(good)
    load_corpus(open_store(store.folder))


def test_the_manifest_is_plain_json(store: Store) -> None:
    read = json.loads((store.folder / "store.json").read_bytes())
    assert read["format"] == "triage-syslog-store/1"
    assert sum(one["rows"] for one in read["partitions"]) == sum(
        one.rows for one in store.manifest.partitions
    )


def test_refresh_sees_what_another_one_wrote(store: Store, tmp_path: Path) -> None:
    reader = open_store(store.folder)
    before = content(reader)
    (tmp_path / "more").write_text("".join(lines(100, seed=8)))
    run(store, tmp_path / "more")
    assert content(reader) == before
    reader.refresh()
    assert content(reader) == content(store) != before
