"""Record what pcalg with gsq (PyPI) find, for tests/syslog/test_causality_oracles.py.

    python -m venv V && V/bin/pip install pcalg gsq networkx numpy scipy
    V/bin/python tests/syslog/record_oracles.py [NAME]...

gsq is under the GPL and no dependency of anything here: only its answers are kept, as JSON, with
what made the series. Nothing of this project is imported, so that the venv needs none of it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data" / "causality"

# name: series, bins, seed, share of bins, parents, levels, alpha, variant, conditions at most
CASES = {
    "sparse-original": (60, 500, 1, 0.03, 2, 2, 1e-3, "original", None),
    "sparse-stable": (60, 500, 1, 0.03, 2, 2, 1e-3, "stable", None),
    "dense-original": (24, 640, 2, 0.3, 3, 2, 1e-2, "original", 3),
    "dense-stable": (24, 640, 2, 0.3, 3, 2, 1e-2, "stable", 3),
    "levels-original": (20, 800, 3, 0.2, 2, 3, 1e-2, "original", 1),
    "levels-stable": (20, 800, 3, 0.2, 2, 3, 1e-2, "stable", 1),
    "day-original": (500, 1440, 4, 0.01, 2, 2, 1e-4, "original", None),
    "day-stable": (180, 1440, 4, 0.01, 2, 2, 1e-4, "stable", None),
}


def series_of(n: int, bins: int, seed: int, share: float, parents: int, levels: int) -> np.ndarray:
    """Return series (n, bins), each caused by up to so many before it."""
    # Legacy generator: its numbers are promised to stay the same over versions of NumPy
    random = np.random.RandomState(seed)
    series = np.zeros((n, bins), np.uint8)
    for at in range(n):
        own = random.uniform(size=bins) < share
        row = own.astype(np.uint8)
        for _ in range(parents):
            cause = random.randint(0, max(at, 1))
            follows = random.uniform(size=bins) < random.choice([0.0, 0.6])
            if at:
                row = np.maximum(row, series[cause] * follows)
        if levels > 2:
            row = row * (1 + random.randint(0, levels - 1, size=bins))
        series[at] = np.minimum(row, levels - 1)
    return series


def main() -> None:
    """Record the cases that are named, or all."""
    from gsq.ci_tests import ci_test_bin, ci_test_dis  # noqa: PLC0415
    from pcalg import estimate_skeleton  # noqa: PLC0415

    logging.disable(logging.WARNING)
    DATA.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or CASES:
        n, bins, seed, share, parents, levels, alpha, variant, conditions = CASES[name]
        series = series_of(n, bins, seed, share, parents, levels).T.astype(int)
        more = {} if conditions is None else {"max_reach": conditions}
        began = time.monotonic()
        graph, _ = estimate_skeleton(
            ci_test_bin if levels == 2 else ci_test_dis,
            series,
            alpha,
            method=variant,
            **more,
            **({} if levels == 2 else {"levels": np.full(n, levels)}),
        )
        edges = sorted([min(edge), max(edge)] for edge in graph.edges)
        record = {
            "case": dict(zip(
                ("n", "bins", "seed", "share", "parents", "levels", "alpha", "variant",
                 "conditions"), CASES[name], strict=True,
            )),
            "by": "pcalg 0.2.2, gsq 0.1.6",
            "edges": edges,
        }  # fmt: skip
        (DATA / f"{name}.json").write_text(json.dumps(record) + "\n")
        print(f"{name}: {len(edges)} edges, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
