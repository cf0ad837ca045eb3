"""The G² (likelihood-ratio) test of conditional independence, by the book, in NumPy.

    G² = 2 Σ n_xys ln(n_xys n_s / (n_xs n_ys)) over the cells that are not empty

(Neapolitan, Learning Bayesian Networks, 2003, section 10.3; Spirtes, Glymour and Scheines,
Causation, Prediction, and Search, 2000). x and y are dependent given s when G² exceeds the critical
value of chi² for its degrees of freedom, of which there are two counts, see `Freedom`. Comparing G²
with a critical value rather than a p-value with alpha is the same test; the values are few and
computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, chdtri

from triage.syslog.causality.settings import Freedom

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GSquare:
    """A test's outcome."""

    value: float
    fixed: int
    """Degrees of freedom, see `Freedom.FIXED`."""
    adaptive: int
    """Degrees of freedom, see `Freedom.ADAPTIVE`."""

    def freedom(self, how: Freedom) -> int:
        """Return the degrees of freedom counted in that way."""
        return self.fixed if how is Freedom.FIXED else self.adaptive

    def p_value(self, how: Freedom) -> float:
        """Return the probability of such a value under independence; 1 without any freedom."""
        freedom = self.freedom(how)
        return float(chdtrc(freedom, self.value)) if freedom else 1.0


def n_log_n(largest: int) -> npt.NDArray[np.float64]:
    """Return n ln n for n from 0 to `largest`, with 0 ln 0 = 0."""
    n = np.arange(largest + 1, dtype=np.float64)
    n[1:] *= np.log(n[1:])
    return n


@lru_cache(maxsize=64)
def critical_values(alpha: float, largest: int) -> npt.NDArray[np.float64]:
    """Return the critical value for 0 to `largest` degrees of freedom, infinite for 0."""
    values = np.full(largest + 1, np.inf)
    values[1:] = chdtri(np.arange(1, largest + 1), alpha)
    values.flags.writeable = False
    return values


def g_square(
    x: npt.NDArray[np.uint8],
    y: npt.NDArray[np.uint8],
    conditions: Sequence[npt.NDArray[np.uint8]] = (),
    levels: int = 2,
) -> GSquare:
    """Test two series (bins,) given others, all with levels 0 to `levels` - 1."""
    code = np.zeros(len(x), np.int64)
    for series in conditions:
        code = code * levels + series
    strata = levels ** len(conditions)
    code = (code * levels + x) * levels + y
    cells = np.bincount(code, minlength=strata * levels**2).reshape(strata, levels, levels)
    return of_table(cells)


def of_table(cells: Counts) -> GSquare:
    """Return G² of a table (strata, levels of x, levels of y)."""
    xs, ys, s = cells.sum(2), cells.sum(1), cells.sum((1, 2))
    f = n_log_n(int(s.max(initial=0)))
    value = 2.0 * (f[cells].sum() - f[xs].sum() - f[ys].sum() + f[s].sum())
    free = (np.maximum((xs > 0).sum(1) - 1, 0) * np.maximum((ys > 0).sum(1) - 1, 0)).sum()
    fixed = cells.shape[0] * (cells.shape[1] - 1) * (cells.shape[2] - 1)
    return GSquare(max(float(value), 0.0), fixed, int(free))
