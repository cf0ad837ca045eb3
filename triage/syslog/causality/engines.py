"""Which engine finds the skeleton, and the PC algorithm as a whole.

An engine is whatever satisfies `graph.Engine`; `register` adds one by name.
"""

from __future__ import annotations

import importlib
import mmap
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from triage.syslog.causality.graph import Cpdag, Engine, EngineError, Levels, Skeleton
from triage.syslog.causality.gsquare import critical_values
from triage.syslog.causality.orient import Arrow, as_directed, cpdag
from triage.syslog.causality.reference import NumpyEngine
from triage.syslog.causality.settings import PcSettings

AUTO = "auto"
EXTRA = "pip install 'vmmib[{0}]'"


def learn(
    series: npt.NDArray[np.bool_] | npt.NDArray[np.uint8],
    settings: PcSettings | None = None,
    engine: str | Engine = "numba",
    *,
    direction_alpha: float = 1e-3,
) -> Cpdag:
    """Return the CPDAG of series (n, bins): an event or none, or levels from 0 (at most 8).

    The order of the series is the canonical order: see `Variant.ORIGINAL`. With `max_lag` above 0,
    time directs the edges on which it is clear at `direction_alpha`. Raises EngineError when the
    engine is unknown or cannot be used here, ValueError for series of another shape.
    """
    settings = settings or PcSettings()
    levels = as_levels(series)
    chosen = engine_of(engine) if isinstance(engine, str) else engine
    if settings.max_lag and not chosen.lags:
        raise EngineError(f"engine {chosen.name} knows no lags: set max_lag to 0, or use numba")
    if len(levels) < 2 or not levels.shape[1]:
        return Cpdag(len(levels))
    skeleton = chosen.skeleton(levels, settings)
    if skeleton.arrows is not None:
        return as_directed(skeleton, skeleton.arrows)
    return cpdag(skeleton, time_order(skeleton, direction_alpha), settings.conflict)


def as_levels(series: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]) -> Levels:
    """Return series as levels, contiguous; ValueError if they are none."""
    if series.ndim != 2:
        raise ValueError(f"series of shape {series.shape}: (series, bins) is wanted")
    if series.dtype != np.bool_ and series.dtype != np.uint8:
        raise ValueError(f"series of {series.dtype}: bool or uint8 is wanted, see discretise")
    levels = np.ascontiguousarray(series, dtype=np.uint8)
    if levels.max(initial=0) > 7:
        raise ValueError(f"level {levels.max()}: levels go from 0 to 7, see discretise")
    return levels


def time_order(skeleton: Skeleton, alpha: float) -> list[Arrow]:
    """Return the arrows that time gives: (earlier, later) of the edges where it is clear."""
    critical = float(critical_values(alpha, 1)[1])
    arrows = []
    for (a, b), lag, lead in zip(
        skeleton.pairs.tolist(), skeleton.lags.tolist(), skeleton.leads.tolist(), strict=True
    ):
        if lag >= 0 and lead > critical:
            arrows.append((a, b))
        elif lag <= 0 and lead < -critical:
            arrows.append((b, a))
    return arrows


def engine_of(name: str) -> Engine:
    """Return an engine; EngineError with the remedy if it cannot be used here."""
    if name == AUTO:
        return _numba() if compiling_is_allowed() and _importable("numba") else NumpyEngine()
    if name not in _ENGINES:
        known = ", ".join([AUTO, *sorted(_ENGINES)])
        raise EngineError(f"no engine is called {name!r}: there are {known}")
    return _ENGINES[name]()


def register(name: str, make: Callable[[], Engine]) -> None:
    """Add an engine, or replace one; `make` is called when the engine is first asked for."""
    _ENGINES[name] = make


@cache
def compiling_is_allowed() -> bool:
    """Whether this process may make memory executable (systemd's MemoryDenyWriteExecute, SELinux).

    Without it LLVM ends the process: one has to know before.
    """
    try:
        prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        mmap.mmap(-1, mmap.PAGESIZE, prot=prot).close()
    except OSError:
        return False
    return True


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _numba() -> Engine:
    if not compiling_is_allowed():
        raise EngineError(
            "engine numba has to make memory executable, which is forbidden here: use engine numpy,"
            " or set MemoryDenyWriteExecute=no in the unit"
        )
    if not _importable("numba"):
        raise EngineError(f"engine numba is not installed: {EXTRA.format('syslog')}")
    engine: Engine = importlib.import_module("triage.syslog.causality.kernel").NumbaEngine()
    return engine


def _pyagrum() -> Engine:
    if not _importable("pyagrum"):
        raise EngineError(f"engine pyagrum is not installed: {EXTRA.format('pyagrum')}")
    name = "triage.syslog.causality.pyagrum_engine"
    engine: Engine = importlib.import_module(name).PyagrumEngine()
    return engine


_ENGINES: dict[str, Callable[[], Engine]] = {
    "numba": _numba,
    "numpy": NumpyEngine,
    "pyagrum": _pyagrum,
}
