"""Steady time."""

from __future__ import annotations

import time

import pytest

from vmmib import clock


def test_unset_clock_is_the_wall_clock() -> None:
    made = clock.SteadyClock()
    assert made.now() == pytest.approx(time.time(), abs=1)


def test_a_step_of_the_wall_clock_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = clock.SteadyClock()
    before = made.now()
    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall + 86400)
    assert made.now() == pytest.approx(before, abs=1)
    assert made.from_wall(wall + 86400 - 100) == pytest.approx(before - 100, abs=1)
    assert clock.SteadyClock(made.anchor).now() == pytest.approx(before, abs=1)


def test_boot_id_tells_boots_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    assert clock.boot_id() == clock.boot_id() != ""
    monkeypatch.setattr(clock, "_BOOT_ID", clock.Path("/nonexistent/boot_id"))
    assert clock.boot_id() == ""
