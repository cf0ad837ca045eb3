"""`triage syslog ...` as its user types it, on a small simulated fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from triage.cli import main
from triage.syslog.tables import id_text


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    def runs(*arguments: object) -> Said:
        code = main(["syslog", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return Said(code, out.decode(), err.decode())

    return runs


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "fleet"
    arguments = ["simulate", "--seed", "5", "--hosts", "6", "--boxes", "1", "--sites", "2"]
    size = ["--days", "6", "--lines", "40000", "--outages", "2", "--decoys", "2"]
    assert main(["syslog", *arguments, *size, "--labels", "--quiet", "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def store(fleet: Path) -> Path:
    folder = fleet.parent / "store"
    assert main(["syslog", "mine", str(fleet), "--store", str(folder), "--quiet"]) == 0
    return folder


def test_what_was_read_is_not_read_again(run: Run, fleet: Path, store: Path) -> None:
    said = run("mine", fleet, "--store", store, "--json")
    assert said.code == 0
    read = json.loads(said.out)
    assert read["files"] > 0
    assert read["lines"] == read["read"] == read["templates"] == 0


def test_the_truth_beside_the_logs_is_not_taken_for_a_log(run: Run, store: Path) -> None:
    manifest = json.loads((store / "store.json").read_text())
    assert {Path(one["path"]).suffix for one in manifest["sources"]} == {".log"}


def test_templates_are_listed_with_counts_hosts_and_lines(run: Run, store: Path) -> None:
    listed = json.loads(run("templates", "--store", store, "--json").out)
    assert len({one["id"] for one in listed}) == len(listed) > 50
    assert all(one["lines"] >= 1 and one["hosts"] >= 1 and one["example"] for one in listed)
    assert listed == sorted(listed, key=lambda one: -one["lines"])
    text = run("templates", "--store", store, "--match", "sshd", "--limit", "3").out
    assert "sshd[**]: " in text
    assert len(text.splitlines()) == 7  # the head, and two lines each


def test_a_report_and_its_score(run: Run, fleet: Path, store: Path, tmp_path: Path) -> None:
    report, page = tmp_path / "report.json", tmp_path / "report.html"
    assert run("report", "--store", store, "--json", "-o", report).code == 0
    read = json.loads(report.read_text())
    assert read["format"] == "triage-syslog-report/1"
    said = run("report", "--store", store, "-o", page, "--figures", tmp_path / "figures")
    assert said.code == 0
    assert f"written: {page}" in said.out
    assert page.read_text().startswith("<!DOCTYPE html>")
    drawn = {one.suffix for one in (tmp_path / "figures").iterdir()}
    assert drawn == {".svg", ".png"}
    score = json.loads(run("score", report, fleet / "truth.json", "--store", store, "--json").out)
    truth = json.loads((fleet / "truth.json").read_text())
    assert score["daily"]["outages"] == len(truth["outages"])
    assert score["templates"]["lines"] > 30_000
    assert 0 <= score["skeleton"]["precision"] <= 1


def test_the_graph_around_a_template(run: Run, store: Path) -> None:
    whole = json.loads(run("graph", "--store", store, "--format", "json").out)
    assert whole["edges"]
    group = whole["nodes"][0]["group"]
    listed = json.loads(run("groups", "--store", store, "--json").out)
    member = next(one for one in listed if one["id"] == group)["templates"][0]["id"]
    around = ("graph", "--store", store, "--around", member)
    near = json.loads(run(*around, "--format", "json").out)
    centre = {one["id"] for one in near["nodes"] if one["group"] == group}
    touching = [edge for edge in near["edges"] if {edge["a"], edge["b"]} & centre]
    assert {end for edge in touching for end in (edge["a"], edge["b"])} == {
        one["id"] for one in near["nodes"]
    }
    assert run(*around, "--format", "dot").out.startswith(("digraph", "graph"))
    assert "<svg" in run(*around, "--format", "svg").out[:500]
    assert run(*around).out


def test_intervals_show_periods_and_bursts(run: Run, store: Path) -> None:
    read = json.loads(run("intervals", "--store", store, "--json").out)
    assert any(one["period"] for one in read["intervals"])
    assert "median" in run("intervals", "--store", store, "--limit", "5").out


def test_a_model_is_frozen_edited_and_taken_elsewhere(
    run: Run, fleet: Path, store: Path, tmp_path: Path
) -> None:
    first = json.loads(run("templates", "--store", store, "--json").out)[0]["id"]
    saved, other = tmp_path / "model.json", tmp_path / "other"
    assert run("model", "export", "--store", store, saved).code == 0
    assert run("model", "import", "--store", other, saved).code == 0
    assert "frozen" in run("model", "freeze", "--store", other).out
    log = tmp_path / "new.log"
    log.write_text("Sep 26 12:00:00 hv9 marsd[7]: the probe has landed on phobos and waits\n")
    assert json.loads(run("mine", log, "--store", other, "--json").out)["templates"] == 0
    run("model", "thaw", "--store", other)
    edits = tmp_path / "edits.yaml"
    edits.write_text(f'rename:\n  "{first}": the commonest\n')
    assert run("model", "edit", "--store", other, edits).code == 0
    kinds = [
        one["kind"] for one in json.loads(run("model", "history", "--store", other, "--json").out)
    ]
    assert kinds[-3:] == ["frozen", "thawed", "edited"]
    assert "own" in run("model", "import", "--store", other, saved).err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("templates",), "--store"),
        (("mine", "/nonexistent/logs", "--store", "{}/a"), "/nonexistent/logs"),
        (("templates", "--store", "{}/none"), "none"),
        (("report", "--store", "{}/none"), "none"),
        (("score", "{}/report.json", "{}/truth.json"), "report.json"),
        (("graph", "--store", "STORE", "--around", "no such text"), "no template has it"),
        (("graph", "--store", "STORE", "--at", "1999-01-01"), "nothing at that time"),
        (("report", "--store", "STORE", "--since", "2040-01-01"), "no events"),
        (("report", "--store", "STORE", "--sites", "{}/sites.yaml"), "sites.yaml"),
        (("model", "edit", "--store", "STORE", "{}/edits.yaml"), "edits.yaml"),
        (("mine", "{}", "--store", "{}/s", "--scheduler", "tcp://127.0.0.1:9"), "127.0.0.1:9"),
    ],
)
def test_mistakes_give_one_line_that_names_them(
    run: Run, store: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    filled = [one.replace("{}", str(tmp_path)).replace("STORE", str(store)) for one in arguments]
    said = run(*filled)
    assert said.code == 1
    (line,) = said.err.splitlines()
    assert line.startswith("triage: ")
    assert says in line


def test_wrong_values_are_wrong_usage(run: Run, store: Path) -> None:
    assert run("graph", "--store", store, "--window", "90s").code == 2
    assert run("report", "--store", store, "--since", "yesterday").code == 2


def test_follow_prints_new_templates_as_they_come(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    file = logs / "hv1.log"
    file.write_text("2026-01-02T03:04:05Z hv1 alpha[1]: started well\n")
    command = [sys.executable, "-m", "triage.cli", "syslog", "mine", str(logs), "--follow"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, "--store", str(tmp_path / "store")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("1 lines of 1 of 1 files")
            with file.open("a") as stream:
                stream.write("2026-01-02T03:04:06Z hv1 beta[2]: something else altogether\n")
            line = process.stdout.readline()
            assert line.startswith("new ")
            assert "beta[**]: something else altogether" in line
        finally:
            process.terminate()


def test_help_loads_no_polars() -> None:
    code = "import sys, triage.cli; sys.exit('polars' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ids_are_written_as_twelve_digits() -> None:
    assert id_text(10) == "00000000000a"
