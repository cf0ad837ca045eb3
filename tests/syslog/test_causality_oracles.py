"""Skeletons against other people's code: pcalg with gsq (recorded), causal-learn and pyAgrum."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.syslog.record_oracles import CASES, series_of
from triage.syslog.causality import Freedom, PcSettings, Variant, learn

DATA = Path(__file__).parent / "data" / "causality"


@pytest.mark.parametrize("path", sorted(DATA.glob("*.json")), ids=lambda path: path.stem)
def test_the_skeleton_is_pcalgs(path: Path) -> None:
    record = json.loads(path.read_text())
    case = record["case"]
    assert list(case.values()) == list(CASES[path.stem])
    series = series_of(
        *(case[name] for name in ("n", "bins", "seed", "share", "parents", "levels"))
    )
    rules = PcSettings(
        alpha=case["alpha"], variant=Variant(case["variant"]), max_conditions=case["conditions"]
    )
    wanted = {tuple(edge) for edge in record["edges"]}
    assert len(wanted) > 10
    for engine in ("numba",) if case["n"] > 100 else ("numba", "numpy"):
        assert learn(series, rules, engine).skeleton == wanted


@pytest.mark.parametrize("levels", [2, 3])
def test_the_skeleton_is_causal_learns(levels: int) -> None:
    skeletons = pytest.importorskip("causallearn.utils.PCUtils.SkeletonDiscovery")
    cit = pytest.importorskip("causallearn.utils.cit")
    series = series_of(14, 500, 11, 0.15, 2, levels)
    data = series.T.astype(int)
    found = skeletons.skeleton_discovery(
        data, 1e-2, cit.CIT(data, "gsq"), stable=True, show_progress=False
    )
    wanted = {(a, b) for a, b in np.argwhere(found.G.graph).tolist() if a < b}
    rules = PcSettings(
        alpha=1e-2, variant=Variant.STABLE, freedom=Freedom.ADAPTIVE, samples_per_freedom=0
    )
    assert len(wanted) > 5
    assert learn(series, rules).skeleton == wanted


def test_pyagrum_finds_a_clear_structure_too() -> None:
    pytest.importorskip("pyagrum")
    random = np.random.default_rng(1)
    cause, other = random.random((2, 2000)) < 0.2
    effect = (cause | other) & (random.random(2000) < 0.8)
    alone = random.random(2000) < 0.2
    series = np.stack([cause, other, effect, alone])
    for variant in Variant:
        rules = PcSettings(alpha=1e-3, variant=variant)
        theirs, ours = (learn(series, rules, engine) for engine in ("pyagrum", "numba"))
        assert theirs.skeleton == ours.skeleton == {(0, 2), (1, 2)}
        assert theirs.directed == ours.directed == {(0, 2), (1, 2)}
        for a, b in zip(theirs.links, ours.links, strict=True):
            assert a.strength == pytest.approx(b.strength)
