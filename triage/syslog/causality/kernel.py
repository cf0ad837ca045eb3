"""The engine "numba": the reference's skeleton, two to three orders of magnitude faster.

Theory of operation
    A level of a series is a row of bits, 64 bins to a word; a cell of a contingency table is the
    population count of the AND of a few rows. n ln n comes from a table, so G² is a sum of table
    look-ups; it is compared with a critical value, so no distribution is evaluated either. Shifted
    copies of the rows give the lags.

Rules
- Compiled code lets go of the interpreter lock: windows run side by side in threads.
- With `threads` above 1, pairs without conditions are spread over threads, and those with
  conditions too in the stable variant; the original variant has each deletion seen by the next
  test, so it goes one by one. Each pair's outcome is written to its own place: the result is the
  same whatever the number of threads.
- Compiled once, for all shapes and settings, and kept in numba's cache: beside this file, or in
  NUMBA_CACHE_DIR, or in the user's cache folder; where none can be written to it is compiled anew
  in every process.
- Importing this module imports numba (a second); the engine's table does so on first use only.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numba
import numba.extending
import numpy as np
import numpy.typing as npt

from triage.syslog.causality.graph import Levels, Skeleton
from triage.syslog.causality.gsquare import critical_values, n_log_n
from triage.syslog.causality.reference import (
    LAG_MARGIN,
    STRENGTH_DIGITS,
    lags_of,
    largest_condition,
    shifted,
    test_alpha,
)
from triage.syslog.causality.settings import Freedom, PcSettings, Variant

Words = npt.NDArray[np.uint64]
"""Bits (series, shifts, levels, words)."""

# What numba compiles has no types for mypy: it infers them from the first call's arguments
_numba: Any = numba
F = TypeVar("F", bound=Callable[..., Any])


def _inner(function: F) -> F:
    """Compile a function that compiled ones call."""
    compiled: F = _numba.njit(nogil=True)(function)
    return compiled


def _population_count(_context: Any, _word: Any) -> Any:
    """Return the number of one bits of a 64-bit word: one instruction."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return _numba.types.int64(_numba.types.uint64), generate


_popcount: Any = _numba.extending.intrinsic(_population_count)


@_inner
def _g_square(cells: Any, levels: Any, f: Any) -> Any:
    """Return half of G², and the adaptive degrees of freedom, of one stratum's table."""
    value, total, rows, columns = 0.0, 0, 0, 0
    for a in range(levels):
        row = column = 0
        for b in range(levels):
            row += cells[a, b]
            column += cells[b, a]
            value += f[cells[a, b]]
        value -= f[row] + f[column]
        total += row
        rows += row > 0
        columns += column > 0
    free = (rows - 1) * (columns - 1) if total > 0 else 0
    return value + f[total], free


@_inner
def _table(words: Any, x: Any, at_x: Any, y: Any, at_y: Any, mask: Any, cells: Any) -> None:
    """Count the bins of each pair of levels where the mask has a bit."""
    levels, width = words.shape[2], words.shape[3]
    if levels == 2:
        ones, twos = words[x, at_x, 1], words[y, at_y, 1]
        n = nx = ny = nxy = 0
        for w in range(width):
            one = mask[w] & ones[w]
            n += _popcount(mask[w])
            nx += _popcount(one)
            ny += _popcount(mask[w] & twos[w])
            nxy += _popcount(one & twos[w])
        cells[1, 1], cells[1, 0], cells[0, 1] = nxy, nx - nxy, ny - nxy
        cells[0, 0] = n - nx - ny + nxy
        return
    for a in range(levels):
        for b in range(levels):
            count = 0
            for w in range(width):
                count += _popcount(mask[w] & words[x, at_x, a, w] & words[y, at_y, b, w])
            cells[a, b] = count


def _pairs(
    words: Any, counts: Any, everywhere: Any, lags: Any, f: Any, critical: Any, adaptive: Any,
    margin: Any, keep: Any, lag_of: Any, strength: Any, lead: Any, first: Any, step: Any,
) -> None:  # fmt: skip
    """Test the pairs whose smaller number is first, first + step, ... at each lag."""
    n, levels, width = words.shape[0], words.shape[2], words.shape[3]
    centre = words.shape[1] // 2
    bins = counts[0, centre].sum()
    cells = np.zeros((levels, levels), np.int64)
    for x in range(first, n, step):
        for y in range(x + 1, n):
            best, free, after, before = -np.inf, 0, 0.0, 0.0
            for lag in lags:
                if levels == 2:
                    nxy = 0
                    for w in range(width):
                        nxy += _popcount(words[x, centre, 1, w] & words[y, centre + lag, 1, w])
                    nx, ny = counts[x, centre, 1], counts[y, centre + lag, 1]
                    cells[1, 1], cells[1, 0], cells[0, 1] = nxy, nx - nxy, ny - nxy
                    cells[0, 0] = bins - nx - ny + nxy
                else:
                    _table(words, x, centre, y, centre + lag, everywhere, cells)
                half, degrees = _g_square(cells, levels, f)
                value = max(2.0 * half, 0.0)
                if value > best + margin:
                    best, lag_of[x, y], free = value, lag, degrees
                if lag > 0:
                    after = max(after, value)
                elif lag < 0:
                    before = max(before, value)
            if not adaptive:
                free = (levels - 1) * (levels - 1)
            keep[x, y] = best >= critical[free]
            strength[x, y] = best / max(free, 1)
            lead[x, y] = after - before


@_inner
def _separates(
    words: Any, x: Any, y: Any, lag: Any, chosen: Any, size: Any, nodes: Any, lags: Any, f: Any,
    critical: Any, adaptive: Any, mask: Any, cells: Any,
) -> Any:  # fmt: skip
    """Whether x and y are independent given the chosen ones, all in x's time.

    Strata are numbered by the levels of the chosen, the first one's being the highest digit; row d
    of the mask is that of the first d + 1 digits. Of a mask without a bit no stratum below counts,
    and once G² is beyond any critical value the rest can only add to it.
    """
    levels, width = words.shape[2], words.shape[3]
    centre = words.shape[1] // 2
    strata = levels**size
    enough = critical[(levels - 1) * (levels - 1) * strata] / 2
    value, free = 0.0, 0
    stratum, depth = 0, 0
    while stratum < strata:
        below = levels ** (size - 1 - depth)
        at = chosen[depth]
        row = words[nodes[at], centre + lags[at], (stratum // below) % levels]
        some = np.uint64(0)
        for w in range(width):
            bits = row[w] if depth == 0 else mask[depth - 1, w] & row[w]
            mask[depth, w] = bits
            some |= bits
        if some and depth + 1 < size:
            depth += 1
            continue
        if some:
            _table(words, x, centre, y, centre + lag, mask[depth], cells)
            half, degrees = _g_square(cells, levels, f)
            value += half
            free += degrees
            if value >= enough:
                return False
        stratum = (stratum // below + 1) * below
        while depth > 0 and (stratum // below) % levels == 0:
            depth -= 1
            below *= levels
    if not adaptive:
        free = (levels - 1) * (levels - 1) * strata
    return 2.0 * value < critical[free]


@_inner
def _candidates(
    x: Any, at: Any, starts: Any, edges: Any, alive: Any, strengths: Any, limit: Any, found: Any
) -> Any:
    """Write where x's other neighbours stand, the strongest if there are too many; their number."""
    count = 0
    for other in range(starts[x], starts[x + 1]):
        if other != at and alive[edges[other]]:
            found[count] = other
            count += 1
    if limit == 0 or count <= limit:
        return count
    for place in range(limit):  # selection: the limit is small
        best = place
        for other in range(place + 1, count):
            gain = strengths[edges[found[other]]] - strengths[edges[found[best]]]
            if gain > 0 or (gain == 0 and found[other] < found[best]):
                best = other
        found[place], found[best] = found[best], found[place]
    found[:limit].sort()
    return limit


@_inner
def _next_choice(places: Any, size: Any, count: Any) -> Any:
    """Step to the next `size` of `count` places in lexical order; whether there is one."""
    c = size - 1
    while c >= 0 and places[c] == count - size + c:
        c -= 1
    if c < 0:
        return False
    places[c] += 1
    for later in range(c + 1, size):
        places[later] = places[later - 1] + 1
    return True


@_inner
def _search(
    words: Any, x: Any, at: Any, size: Any, starts: Any, nodes: Any, edges: Any, lags: Any,
    alive: Any, strengths: Any, limit: Any, f: Any, critical: Any, adaptive: Any, mask: Any,
    cells: Any, found: Any, places: Any, chosen: Any, separator: Any,
) -> Any:  # fmt: skip
    """Whether some of x's neighbours separate it from the one at `at`; they go to `separator`."""
    count = _candidates(x, at, starts, edges, alive, strengths, limit, found)
    if count < size:
        return False
    for c in range(size):
        places[c] = c
    more = True
    while more:
        for c in range(size):
            chosen[c] = found[places[c]]
        if _separates(
            words, x, nodes[at], lags[at], chosen, size, nodes, lags, f, critical, adaptive,
            mask, cells,
        ):  # fmt: skip
            for c in range(size):
                separator[c] = nodes[chosen[c]]
            return True
        more = _next_choice(places, size, count)
    return False


def _level(
    words: Any, size: Any, starts: Any, nodes: Any, edges: Any, back: Any, lags: Any, alive: Any,
    left: Any, strengths: Any, limit: Any, f: Any, critical: Any, adaptive: Any, stable: Any,
    separators: Any, first: Any, step: Any,
) -> None:  # fmt: skip
    """Clear `left` of the edges that conditions of this size separate.

    Conditions are neighbours by `alive`: in the original variant that is `left` itself.
    """
    n, levels, width = words.shape[0], words.shape[2], words.shape[3]
    mask = np.zeros((size, width), np.uint64)
    cells = np.zeros((levels, levels), np.int64)
    found = np.zeros(n, np.int64)
    places = np.zeros(size, np.int64)
    chosen = np.zeros(size, np.int64)
    for x in range(first, n, step):
        for at in range(starts[x], starts[x + 1]):
            edge = edges[at]
            if not left[edge] or (stable and nodes[at] < x):
                continue
            gone = False
            for side in range(2 if stable else 1):  # both sides here: an edge is one thread's
                gone = gone or _search(
                    words, nodes[at] if side else x, back[at] if side else at, size, starts, nodes,
                    edges, lags, alive, strengths, limit, f, critical, adaptive, mask, cells,
                    found, places, chosen, separators[edge],
                )  # fmt: skip
            if gone:
                left[edge] = False


class _Compiled:
    """A function compiled on its first call, from the cache where there is one."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._compiled: Any = None
        self._lock = Lock()

    def __call__(self, *arguments: Any) -> None:
        with self._lock:
            if self._compiled is None:
                self._compiled = self._compile(arguments)
        self._compiled(*arguments)

    def _compile(self, arguments: tuple[Any, ...]) -> Any:
        signature = tuple(_numba.typeof(one) for one in arguments)
        try:
            compiled = _numba.njit(nogil=True, cache=True)(self._function)
            compiled.compile(signature)
        except (OSError, RuntimeError):  # nowhere to keep it, or what is kept cannot be read
            compiled = _numba.njit(nogil=True)(self._function)
            compiled.compile(signature)
        return compiled


_compiled_pairs = _Compiled(_pairs)
_compiled_level = _Compiled(_level)


class NumbaEngine:
    """The fast one."""

    name = "numba"
    lags = True

    def skeleton(self, series: Levels, settings: PcSettings) -> Skeleton:
        """See `Engine`."""
        return _Skeletons(series, settings).run()


def pack(series: Levels, levels: int) -> Words:
    """Return series (n, bins) as bits (n, levels, words); bit t of a row is bin t."""
    n, bins = series.shape
    width = -(-bins // 64)
    packed = np.zeros((n, levels, width * 8), np.uint8)
    for level in range(levels):
        row = np.packbits(series == level, axis=1, bitorder="little")
        packed[:, level, : row.shape[1]] = row
    return packed.view("<u8").astype(np.uint64, copy=False)


class _Skeletons:
    def __init__(self, series: Levels, settings: PcSettings) -> None:
        self.n, self.bins = series.shape
        self.levels = max(2, int(series.max(initial=0)) + 1)
        self.settings = settings
        self.adaptive = settings.freedom is Freedom.ADAPTIVE
        self.f = n_log_n(self.bins)
        span = range(-settings.max_lag, settings.max_lag + 1)
        self.words = np.stack([pack(shifted(series, lag), self.levels) for lag in span], axis=1)

    def run(self) -> Skeleton:
        pairs, lags, strengths, leads = self._without_conditions()
        self.separators: dict[tuple[int, int], tuple[int, ...]] = {}
        left = np.ones(len(pairs), np.bool_)
        if len(pairs):
            self._with_conditions(pairs, lags, strengths, left)
        return Skeleton(
            self.n, pairs[left], lags[left], strengths[left], leads[left], self.separators
        )

    def _critical(self, size: int) -> npt.NDArray[np.float64]:
        return critical_values(
            test_alpha(self.settings), (self.levels - 1) ** 2 * self.levels**size
        )

    def _without_conditions(self) -> tuple[npt.NDArray[Any], ...]:
        shape = (self.n, self.n)
        keep = np.zeros(shape, np.bool_)
        lag_of = np.zeros(shape, np.int8)
        strength, lead = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
        counts = np.bitwise_count(self.words).sum(axis=3, dtype=np.int64)
        everywhere = np.bitwise_or.reduce(self.words[:1, 0], axis=1)
        lags = np.array(lags_of(self.settings.max_lag), np.int64)

        test = partial(
            _compiled_pairs, self.words, counts, everywhere[0], lags, self.f, self._critical(0),
            self.adaptive, LAG_MARGIN, keep, lag_of, strength,
        )  # fmt: skip
        self._spread(test, lead, self.settings.threads)
        pairs = np.argwhere(keep).astype(np.int32)
        a, b = pairs[:, 0], pairs[:, 1]
        return pairs, lag_of[a, b], strength[a, b].round(STRENGTH_DIGITS), lead[a, b]

    def _with_conditions(
        self, pairs: npt.NDArray[np.int32], lags: npt.NDArray[np.int8],
        strengths: npt.NDArray[np.float64], left: npt.NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """Clear `left` of what conditions separate, of one size after the other."""
        stable = self.settings.variant is Variant.STABLE
        around = _Neighbours(self.n, pairs, lags)
        largest = largest_condition(self.n, self.bins, self.levels, self.settings)
        for size in range(1, largest + 1):
            if np.bincount(pairs[left].ravel(), minlength=1).max() <= size:
                return
            before = left.copy()
            separators = np.zeros((len(pairs), size), np.int32)
            level = partial(
                _compiled_level, self.words, size, around.starts, around.nodes, around.edges,
                around.back, around.lags, before if stable else left, left, strengths,
                self.settings.max_degree, self.f, self._critical(size), self.adaptive, stable,
            )  # fmt: skip
            self._spread(level, separators, self.settings.threads if stable else 1)
            gone = np.flatnonzero(before & ~left)
            ends = map(tuple, pairs[gone].tolist())
            between = map(tuple, np.sort(separators[gone], axis=1).tolist())
            self.separators.update(zip(ends, between, strict=True))

    def _spread(self, work: Callable[..., None], result: npt.NDArray[Any], threads: int) -> None:
        """Have a number of threads do every so many-th series each."""
        if threads == 1 or self.n < 2 * threads:
            work(result, 0, 1)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda first: work(result, first, threads), range(threads)))


class _Neighbours:
    """The neighbours of every series in one row: those of x from `starts[x]` to `starts[x + 1]`."""

    def __init__(self, n: int, pairs: npt.NDArray[np.int32], lags: npt.NDArray[np.int8]) -> None:
        count = len(pairs)
        sources = np.concatenate([pairs[:, 0], pairs[:, 1]])
        targets = np.concatenate([pairs[:, 1], pairs[:, 0]])
        order = np.lexsort((targets, sources))
        place = np.empty(2 * count, np.int64)
        place[order] = np.arange(2 * count)
        self.starts = np.searchsorted(sources[order], np.arange(n + 1)).astype(np.int64)
        self.nodes = targets[order].astype(np.int64)
        self.edges = np.tile(np.arange(count), 2)[order]
        self.lags = np.concatenate([lags, -lags])[order].astype(np.int64)
        self.back = np.concatenate([place[count:], place[:count]])[order]
        """Where the same edge stands among the other end's neighbours."""
