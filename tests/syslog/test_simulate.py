from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from triage.syslog.progress import NoProgress
from triage.syslog.reading.blocks import read_blocks
from triage.syslog.reading.lines import parse_block
from triage.syslog.reading.years import plan_years
from triage.syslog.simulate import (
    Compression,
    FleetSettings,
    Form,
    Layout,
    SimulateError,
    Truth,
    pattern_of,
    read_truth,
    simulate,
)
from triage.syslog.simulate.catalogue import catalogue
from triage.syslog.simulate.events import Absences, Sources, joined, with_effects
from triage.syslog.simulate.fleet import build
from triage.syslog.simulate.happenings import KINDS, happen
from triage.syslog.simulate.settings import start_of
from triage.syslog.simulate.variables import Pools, parts_of, uniform

SMALL = FleetSettings(
    hosts=6, sites=2, boxes=1, days=8, lines=30_000, outages=5, decoys=6, joins=1, leaves=0,
    reboots=1, templates=900, labels=True, seed=7, loss=0.0, broken=2e-4,
)  # fmt: skip
DAY = 86_400.0


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("fleet") / "logs"
    return folder, simulate(SMALL, folder, NoProgress())


def lines_of(folder: Path) -> pl.DataFrame:
    """All lines as they are read: file, line, time (ms), host, content, count."""
    frames = []
    for path in sorted(folder.glob("*.log*")):
        plan = plan_years(path)
        offset, number = 0, 1
        for block in read_blocks(path):
            frame = parse_block(block.data, plan, offset=offset)
            frames.append(
                frame.with_columns(
                    file=pl.lit(path.name),
                    line=pl.int_range(number, number + len(frame), eager=True).cast(pl.UInt32),
                )
            )
            offset += len(block.data)
            number += len(frame)
    return pl.concat(frames)


def labelled(folder: Path) -> pl.DataFrame:
    labels = pl.read_parquet(folder / "labels.parquet")
    return lines_of(folder).join(labels, on=["file", "line"], how="left", maintain_order="left")


def test_the_same_settings_give_the_same_bytes(small: tuple[Path, Truth], tmp_path: Path) -> None:
    folder, truth = small
    again = simulate(SMALL, tmp_path / "again", NoProgress())
    assert again == truth
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_seed_is_another_fleet(small: tuple[Path, Truth], tmp_path: Path) -> None:
    _, truth = small
    other = simulate(replace(SMALL, seed=8), tmp_path / "other", NoProgress())
    assert other.outages != truth.outages
    assert other.templates != truth.templates
    assert other.edges != truth.edges


def test_truth_survives_its_file(small: tuple[Path, Truth]) -> None:
    folder, truth = small
    assert read_truth(folder / "truth.json") == truth


def test_about_as_many_lines_as_asked_for(small: tuple[Path, Truth]) -> None:
    folder, truth = small
    counted = sum(path.read_bytes().count(b"\n") for path in folder.glob("*.log"))
    assert counted == truth.lines
    assert 0.6 * SMALL.lines < truth.lines < 1.6 * SMALL.lines


def test_labels_fit_their_lines(small: tuple[Path, Truth]) -> None:
    folder, truth = small
    patterns = {t.name: re.compile(pattern_of(t.text)) for t in truth.templates}
    frame = labelled(folder)
    assert frame["template"].null_count() < 0.01 * len(frame)
    known = frame.filter(pl.col("template").is_not_null())
    for content, name in known.select("content", "template").unique().iter_rows():
        assert patterns[name].match(content), (name, content)


def test_every_broken_line_is_unlabelled_and_few_are_broken(small: tuple[Path, Truth]) -> None:
    folder, _ = small
    frame = labelled(folder)
    unread = frame.filter(pl.col("time").is_null())
    assert unread["template"].null_count() == len(unread)
    assert 0 < frame["template"].null_count() < 5 * SMALL.broken * len(frame) + 10


def test_every_file_holds_only_its_own_host(small: tuple[Path, Truth]) -> None:
    folder, truth = small
    sites = truth.site_of
    for path in folder.glob("*.log"):
        host = path.name.removesuffix(".log")
        assert host.partition(".")[2] == sites[host]
        whole = lines_of(folder).filter(
            (pl.col("file") == path.name) & pl.col("host").is_not_null()
        )
        wrong = whole.filter(pl.col("host") != host)
        assert len(wrong) <= 0.005 * len(whole) + 2  # broken lines may show anything


def test_hosts_that_are_away_write_nothing(small: tuple[Path, Truth]) -> None:
    folder, truth = small
    frame = labelled(folder).filter(pl.col("template").is_not_null())
    spans = [span for outage in truth.outages for span in outage.silent]
    assert spans
    for host, start, end in spans:
        inside = frame.filter(
            (pl.col("host") == host)
            & pl.col("time").is_between((start + 5) * 1000, (end - 5) * 1000)
        )
        assert inside.is_empty(), (host, start, end)
        after = frame.filter(
            (pl.col("host") == host) & pl.col("time").is_between(end * 1000, (end + 60) * 1000)
        )
        assert len(after) >= 5  # it boots


def test_every_kind_of_outage_happens() -> None:
    kinds = set()
    for seed in range(3):
        settings = FleetSettings(seed=seed, outages=10, days=30)
        happenings = happen(build(settings), start_of(settings))
        kinds |= {outage.kind for outage in happenings.outages}
        starts = sorted(outage.start for outage in happenings.outages)
        assert starts[0] >= start_of(settings) / 1000
        assert all(outage.hosts for outage in happenings.outages)
        for outage in happenings.outages:
            assert outage.start < outage.end
            assert all(host.endswith(outage.site) for host in outage.hosts)
    assert kinds == set(KINDS)


def test_what_outages_write_is_written_on_ordinary_days_too() -> None:
    """No message is an outage's alone, but for those of a boot that nobody expected."""
    settings = FleetSettings(seed=3, days=20)
    fleet = build(settings)
    happenings = happen(fleet, start_of(settings))
    written = set(happenings.events.message.tolist())
    effects = set((fleet.graph.effect % len(fleet.messages)).tolist())
    alone = [
        message
        for number, message in enumerate(fleet.messages)
        if number in written and not fleet.rates[:, number].any() and number not in effects
    ]
    assert all(message.boot is not None or message.stop is not None or message.period
               for message in alone)  # fmt: skip


def test_causes_have_their_effects_as_often_as_the_truth_says() -> None:
    settings = replace(SMALL, lines=120_000, outages=0, decoys=0, reboots=0, joins=0, drifts=0)
    fleet = build(settings)
    sources = Sources(fleet, start_of(settings))
    causes = joined([sources.day(host, day) for host in range(7) for day in range(8)])
    nothing = Absences(((),) * 7, ((),) * 7)
    events = with_effects(fleet, causes, nothing)
    size = len(fleet.messages)
    nodes = Counter((events.host * size + events.message).tolist())
    seen = 0
    incoming = Counter(fleet.graph.effect.tolist())
    for cause, effect, probability in zip(
        fleet.graph.cause.tolist(), fleet.graph.effect.tolist(), fleet.graph.probability.tolist(),
        strict=True,
    ):  # fmt: skip
        if nodes[cause] < 200 or incoming[effect] > 1 or fleet.rates.ravel()[effect]:
            continue
        seen += 1
        share = nodes[effect] / nodes[cause]
        assert abs(share - probability) < 5 * np.sqrt(0.25 / nodes[cause]) + 0.01
    assert seen > 5


def test_effects_follow_their_causes(small: tuple[Path, Truth]) -> None:
    _, truth = small
    assert len({(edge.cause, edge.effect) for edge in truth.edges}) > 100
    hosts = {host.name for host in truth.hosts}
    names = {template.name for template in truth.templates}
    crossing = 0
    for edge in truth.edges:
        assert {edge.cause.host, edge.effect.host} <= hosts
        assert {edge.cause.template, edge.effect.template} <= names
        assert 0 < edge.probability <= 1
        crossing += edge.cause.host != edge.effect.host
    assert crossing


@pytest.mark.parametrize(
    ("form", "layout", "compression", "timezone"),
    [
        (Form.RFC3164, Layout.HOSTS, Compression.GZIP, "UTC"),
        (Form.RFC5424, Layout.MIXED, Compression.ZSTD, "Asia/Tokyo"),
        (Form.ISO, Layout.HOSTS, Compression.XZ, "America/New_York"),
        (Form.ISO, Layout.MIXED, Compression.NONE, "UTC"),
    ],
)
def test_every_form_is_read_back(
    form: Form, layout: Layout, compression: Compression, timezone: str, tmp_path: Path
) -> None:
    settings = replace(
        SMALL, days=2, lines=6000, outages=1, decoys=2, form=form, layout=layout,
        compression=compression, timezone=timezone, skew=0.0, broken=0.0,
    )  # fmt: skip
    truth = simulate(settings, tmp_path / "logs", NoProgress())
    paths = [p for p in (tmp_path / "logs").iterdir() if ".log" in p.name]
    assert len(paths) == (1 if layout is Layout.MIXED else 7)
    frames = []
    for path in paths:
        plan = plan_years(path, timezone=timezone)
        frames += [parse_block(block.data, plan) for block in read_blocks(path)]
    frame = pl.concat(frames)
    assert len(frame) == truth.lines
    read = frame.filter(pl.col("time").is_not_null())
    assert len(read) >= len(frame) - 5  # continuation lines
    assert set(read["host"]) <= {host.name for host in truth.hosts}
    assert read["time"].min() >= truth.start * 1000 - 2000  # type: ignore[operator]
    assert read["time"].max() <= truth.end * 1000 + 2000  # type: ignore[operator]
    patterns = re.compile("|".join(pattern_of(t.text)[4:] for t in truth.templates), re.DOTALL)
    assert all(patterns.match(content) for content in read["content"].sample(300, seed=1))


def test_lines_get_lost_at_the_rate_asked_for(tmp_path: Path) -> None:
    few = replace(SMALL, days=2, lines=8000, outages=0, decoys=0, joins=0)
    whole = simulate(few, tmp_path / "a", NoProgress())
    lossy = simulate(replace(few, loss=0.25), tmp_path / "b", NoProgress())
    assert 0.70 < lossy.lines / whole.lines < 0.80


def test_drift_changes_wordings_from_a_date_on() -> None:
    settings = FleetSettings(seed=2, drifts=9)
    fleet = build(settings)
    changed = np.flatnonzero(fleet.drift_to != np.arange(len(fleet.messages)))
    assert len(changed) == 9
    for old in changed.tolist():
        new = int(fleet.drift_to[old])
        assert fleet.messages[new].text != fleet.messages[old].text
        assert fleet.messages[new].program == fleet.messages[old].program
    assert happen(fleet, start_of(settings)).since


def test_the_report_s_fleet_has_its_size() -> None:
    fleet = build(FleetSettings())
    assert len(fleet.hosts) == 32
    assert len({host.site for host in fleet.hosts}) == 7
    assert len(fleet.messages) == 1050
    rates = np.sort(fleet.rates.sum(axis=0))[::-1]
    assert rates[:20].sum() > 0.3 * rates.sum()  # few messages write most lines
    assert (rates > 0).sum() > 600


def test_the_catalogue_names_only_what_it_has() -> None:
    book = catalogue()
    book.link()
    pools = Pools(1, 4, ("a.example", "b.example"), ("example", "example"))
    for message in book.messages:
        constants, parts = parts_of(message.text)
        assert not any(brace in text for text in constants for brace in "{}"), message.text
        for part in parts:
            pools.kind(part.kind)
    texts = Counter((message.program, message.text) for message in book.messages)
    assert max(texts.values()) == 1


def test_uniform_is_uniform() -> None:
    values = uniform(np.arange(100_000, dtype=np.uint64))
    assert values.min() >= 0
    assert values.max() < 1
    counts, _ = np.histogram(values, 50, (0, 1))
    assert np.abs(counts - 2000).max() < 250


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hosts": 0}, "hosts is 0"),
        ({"loss": 0.9}, "loss is 0.9"),
        ({"start": "yesterday"}, "write a date"),
        ({"timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"sites": 9, "hosts": 3}, "choose fewer sites"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(SimulateError, match=re.escape(told)):
        FleetSettings(**changes)  # type: ignore[arg-type]


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(SimulateError, match="is not empty"):
        simulate(SMALL, tmp_path, NoProgress())
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format":"other"}', "\x00"])
def test_what_is_no_truth_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(SimulateError, match=re.escape(str(path))) as told:
        read_truth(path)
    assert "\n" not in str(told.value)
    with pytest.raises(SimulateError):
        read_truth(tmp_path / "missing.json")
