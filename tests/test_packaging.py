"""Lock files, and the command that is not released yet."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import triage
import vmmib
from triage.cli import main

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[str]) -> set[str]:
    """Return the names of requirements, as an index spells them."""
    found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in found if name}


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("runtime", PROJECT["project"]["dependencies"]),
        ("dev", PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
        ("build", PROJECT["dependency-groups"]["build"]),
    ],
)
def test_lock_files_pin_what_is_needed_and_name_no_host(lock: str, wanted: list[str]) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    blocks = re.findall(r"^[a-z0-9].*(?:\n +.*)*", text, re.MULTILINE)
    assert names(wanted) <= names(blocks), "run make lock"
    assert all(re.match(r"[a-z0-9-]+==[^ ]+ ", block) for block in blocks)
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_the_build_backend_is_pinned() -> None:
    assert names(PROJECT["build-system"]["requires"]) <= names(
        PROJECT["dependency-groups"]["build"]
    )


def test_there_is_one_version() -> None:
    assert PROJECT["project"]["version"] == vmmib.__version__ == triage.__version__


def test_triage_says_that_it_is_not_there_yet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["triage", "run", "--config.file", "triage.toml"])
    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "triage: this release holds only vmmib; triage comes in a later one"
    ]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_triage_has_the_usual_options(
    option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["triage", option])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 0
    assert "triage" in capsys.readouterr().out
