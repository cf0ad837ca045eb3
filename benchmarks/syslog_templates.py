"""Templates against labelled logs: accuracy beside Drain3's, and the rates of keys and of mining.

    python -m benchmarks.syslog_templates FOLDER

FOLDER holds Loghub's files `*_2k.log_structured.csv` (github.com/logpai/loghub; a line each, with
`Content`, `EventId` and `EventTemplate`). All sets are read with the same settings: those that
`triage syslog` has by default. Drain3 runs as it is shipped, in the same process, on the same
lines.

- GA, grouping accuracy (Zhu et al. 2019): share of the lines whose template holds exactly the lines
  of their true one.
- FGA, F1 of grouping accuracy (Jiang et al. 2024): the same counted by templates.
- Text: share of the lines whose template's text is the true one's, blanks aside and with runs of
  variables as one. For information: what counts as one variable is a matter of the labellers.

The rate of keys is measured on the sets' lines repeated to `LINES`, on one thread; a machine that
does other things as well makes a round slower and none faster: it is the best of three.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from drain3 import TemplateMiner
from drain3.template_miner_config import TemplateMinerConfig

from triage.syslog.templates import TemplateModel, key_of

LINES = 1_000_000


@dataclass(frozen=True, slots=True)
class Score:
    """How well lines were grouped; shares from 0 to 1."""

    ga: float
    fga: float
    text: float
    seconds: float
    templates: int


def score(
    truth: pl.DataFrame, found: Sequence[int], texts: dict[int, str], seconds: float
) -> Score:
    """Score the templates found against `EventId` and `EventTemplate`."""
    frame = truth.with_columns(found=pl.Series(found, dtype=pl.Int64))
    pairs = frame.group_by("EventId", "found").len()
    exact = pairs.filter((pl.len().over("EventId") == 1) & (pl.len().over("found") == 1))
    precision = len(exact) / frame["found"].n_unique()
    recall = len(exact) / frame["EventId"].n_unique()
    same = [
        plain(texts.get(number, "")) == plain(text)
        for number, text in zip(found, truth["EventTemplate"].to_list(), strict=True)
    ]
    return Score(
        ga=exact["len"].sum() / len(frame),
        fga=2 * precision * recall / (precision + recall) if len(exact) else 0.0,
        text=sum(same) / len(same),
        seconds=seconds,
        templates=frame["found"].n_unique(),
    )


def plain(text: str) -> str:
    """Return a template's text as it is compared."""
    text = re.sub(r"<\*>|<:[^>]*:>|\*\*", "\0", text)
    return re.sub(r"\0[^\w\s\0]*(?=\0)|\0(?:\s*\0)+", "\0", " ".join(text.split()))


def ours(truth: pl.DataFrame) -> Score:
    begin = time.perf_counter()
    keys = truth.select(key_of(pl.col("Content")))["Content"].to_list()
    model = TemplateModel().learn(keys, [1] * len(keys), truth["Content"].to_list())
    found = model.assign(keys).tolist()
    seconds = time.perf_counter() - begin
    return score(truth, found, {one.id: one.text for one in model.templates}, seconds)


def drain3(truth: pl.DataFrame) -> Score:
    begin = time.perf_counter()
    miner = TemplateMiner(config=TemplateMinerConfig())
    found = [miner.add_log_message(line)["cluster_id"] for line in truth["Content"].to_list()]
    seconds = time.perf_counter() - begin
    texts = {one.cluster_id: one.get_template() for one in miner.drain.clusters}
    return score(truth, found, texts, seconds)


def rate(contents: pl.Series) -> float:
    """Return how many lines a second get their keys."""
    repeated = pl.concat([contents] * (LINES // len(contents) + 1)).head(LINES).rechunk()
    frame = repeated.to_frame("content")
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        frame.select(key_of(pl.col("content")))
        best = min(best, time.perf_counter() - begin)
    return len(frame) / best


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.syslog_templates")
    parser.add_argument("folder", type=Path)
    paths = sorted(parser.parse_args().folder.glob("*_2k.log_structured.csv"))
    if not paths:
        parser.error("the folder has no *_2k.log_structured.csv")
    rows: list[tuple[str, int, Score, Score]] = []
    contents: list[pl.Series] = []
    print(f"{'':13}{'':>9}  {'ours':^26}  {'Drain3':^26}")
    head = f"{'GA':>6}{'FGA':>6}{'text':>6}{'found':>7}"
    print(f"{'set':13}{'templates':>9}  {head}  {head}")
    for path in paths:
        truth = pl.read_csv(path, infer_schema=False).with_columns(pl.col("Content").fill_null(""))
        contents.append(truth["Content"])
        name = path.name.partition("_2k")[0]
        rows.append((name, truth["EventId"].n_unique(), ours(truth), drain3(truth)))
        print(row(*rows[-1]), flush=True)
    print(row("mean", 0, mean([r[2] for r in rows]), mean([r[3] for r in rows])))
    print(f"keys: {rate(pl.concat(contents)) / 1e6:.2f} M lines/s a thread")


def mean(scores: Sequence[Score]) -> Score:
    return Score(
        *(
            sum(getattr(one, name) for one in scores) / len(scores)
            for name in ("ga", "fga", "text", "seconds")
        ),
        templates=0,
    )


def row(name: str, templates: int, *scores: Score) -> str:
    cells = "  ".join(
        f"{one.ga:6.3f}{one.fga:6.3f}{one.text:6.3f}{one.templates or '':>7}" for one in scores
    )
    return f"{name:13}{templates or '':>9}  {cells}"


if __name__ == "__main__":
    main()
