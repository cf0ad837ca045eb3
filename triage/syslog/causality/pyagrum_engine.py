"""The engine "pyagrum": the PC algorithm of pyAgrum, for a second opinion by other people's code.

Skeleton and directions are pyAgrum's own, with the G² test and adaptive degrees of freedom. It
knows no lags, and `freedom`, `conflict`, `max_degree` and `samples_per_freedom` do not reach it.
Which conditions separated two series it does not tell.

pyAgrum reads its data from a file: the series are written to a temporary folder, which goes again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyagrum

from triage.syslog.causality.graph import Levels, Skeleton
from triage.syslog.causality.reference import STRENGTH_DIGITS, pair_values
from triage.syslog.causality.settings import Freedom, PcSettings, Variant

_pyagrum: Any = pyagrum


class PyagrumEngine:
    """See the module."""

    name = "pyagrum"
    lags = False

    def skeleton(self, series: Levels, settings: PcSettings) -> Skeleton:
        """See `Engine`."""
        n = len(series)
        levels = max(2, int(series.max(initial=0)) + 1)
        names = [f"s{at}" for at in range(n)]
        model = _pyagrum.BayesNet()
        for name in names:
            model.add(_pyagrum.RangeVariable(name, name, 0, levels - 1))
        with tempfile.TemporaryDirectory(prefix="triage-") as folder:
            path = Path(folder) / "series.csv"
            pl.DataFrame(series.T, schema=names, orient="row").write_csv(path)
            found = _learn(str(path), model, settings)
        arrows = [(int(a), int(b)) for a, b in found.arcs()]
        edges = arrows + [(int(a), int(b)) for a, b in found.edges()]
        pairs = np.array(sorted({(min(e), max(e)) for e in edges}), np.int32).reshape(-1, 2)
        value, free = pair_values(series, series, levels)
        if settings.freedom is Freedom.FIXED:
            free[:] = (levels - 1) ** 2
        strength = (value / np.maximum(free, 1)).round(STRENGTH_DIGITS)
        return Skeleton(
            n, pairs, np.zeros(len(pairs), np.int8), strength[pairs[:, 0], pairs[:, 1]],
            np.zeros(len(pairs)), arrows=frozenset(arrows),
        )  # fmt: skip


def _learn(path: str, model: Any, settings: PcSettings) -> Any:
    """Return pyAgrum's PDAG; its nodes have the series' numbers."""
    learner = _pyagrum.BNLearner(path, model)
    learner.usePC()
    learner.useG2Test()
    learner.setPCAlpha(settings.alpha)
    learner.setPCStable(settings.variant is Variant.STABLE)
    if settings.max_conditions is not None:
        learner.setPCMaxCondSetSize(settings.max_conditions)
    learner.setNumberOfThreads(settings.threads)
    return learner.learnPDAG()
