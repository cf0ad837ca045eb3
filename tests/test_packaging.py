"""Lock files and versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import triage
import vmmib

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
