"""The test, the PC algorithm, and the directions, against definitions and other implementations."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, permutations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from triage.syslog.causality import (
    Conflict,
    Cpdag,
    EngineError,
    Freedom,
    PcSettings,
    Skeleton,
    Variant,
    learn,
)
from triage.syslog.causality import engines as engines_module
from triage.syslog.causality.engines import engine_of, register
from triage.syslog.causality.gsquare import critical_values, g_square, of_table
from triage.syslog.causality.orient import Pdag, cpdag
from triage.syslog.causality.reference import NumpyEngine, shifted

REPOSITORY = Path(__file__).parents[2]


def random_series(n: int, bins: int, seed: int, share: float = 0.1, levels: int = 2) -> np.ndarray:
    """Return series that cause one another at random."""
    random = np.random.default_rng(seed)
    series = np.zeros((n, bins), np.uint8)
    for at in range(n):
        series[at] = (random.random(bins) < share) * random.integers(1, levels, bins)
        for _ in range(2 if at else 0):
            cause = series[random.integers(0, at)]
            follows = random.random(bins) < random.choice([0.0, 0.7])
            series[at] = np.maximum(series[at], np.roll(cause * follows, random.integers(0, 2)))
    return series


# The test


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=9, max_size=9), st.integers(2, 3))
def test_g_square_is_scipys_likelihood_ratio(cells: list[int], levels: int) -> None:
    table = np.array(cells[: levels**2]).reshape(levels, levels)
    ours = of_table(table[None])
    assert ours.fixed == (levels - 1) ** 2
    full = table[table.any(axis=1)][:, table.any(axis=0)]
    if full.size == 0 or 1 in full.shape:
        assert ours.adaptive == 0
        assert ours.value == pytest.approx(0, abs=1e-9)
        assert ours.p_value(Freedom.ADAPTIVE) == 1
        return
    value, p, free, _ = chi2_contingency(full, correction=False, lambda_="log-likelihood")
    assert ours.value == pytest.approx(value, abs=1e-8)
    assert ours.adaptive == free
    assert ours.p_value(Freedom.ADAPTIVE) == pytest.approx(p, abs=1e-9)


def test_conditions_add_up_over_strata() -> None:
    x, y, s, t = random_series(4, 500, 1, 0.3)
    ours = g_square(x, y, [s, t])
    parts = []
    for a in range(2):
        for b in range(2):
            here = (s == a) & (t == b)
            parts.append(g_square(x[here], y[here]))
    assert ours.value == pytest.approx(sum(part.value for part in parts))
    assert ours.fixed == 4
    assert ours.adaptive == sum(part.adaptive for part in parts)


def test_a_critical_value_decides_as_the_p_value_does() -> None:
    values = critical_values(1e-4, 20)
    assert values[0] == np.inf
    assert chi2.sf(values[1:], np.arange(1, 21)) == pytest.approx(1e-4)


# Engines agree


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("freedom", Freedom)
@pytest.mark.parametrize(("lag", "degree", "levels"), [(0, 0, 2), (1, 3, 2), (1, 0, 3)])
def test_both_engines_find_the_same(
    variant: Variant, freedom: Freedom, lag: int, degree: int, levels: int
) -> None:
    rules = PcSettings(
        alpha=1e-2, variant=variant, freedom=freedom, max_lag=lag, max_degree=degree,
        max_conditions=2, threads=1 + lag,
    )  # fmt: skip
    conditions = 0
    for seed in range(2):
        series = random_series(18, 400, seed, levels=levels)
        fast = engine_of("numba").skeleton(series, rules)
        plain = engine_of("numpy").skeleton(series, rules)
        assert fast.pairs.tolist() == plain.pairs.tolist()
        assert fast.lags.tolist() == plain.lags.tolist()
        assert fast.strengths == pytest.approx(plain.strengths)
        assert fast.leads == pytest.approx(plain.leads)
        assert fast.separators == plain.separators
        conditions += len(fast.separators)
        assert learn(series, rules, "numba").directed == learn(series, rules, "numpy").directed
    assert conditions, "no edge was separated by conditions: the test shows nothing"


@pytest.mark.parametrize("variant", Variant)
def test_threads_do_not_change_the_result(variant: Variant) -> None:
    series = random_series(60, 500, 3)
    one, *others = (
        learn(series, PcSettings(alpha=1e-3, variant=variant, threads=threads, max_lag=1))
        for threads in (1, 2, 5)
    )
    assert one.links
    assert all(other == one for other in others)


def test_the_stable_skeleton_does_not_depend_on_the_order() -> None:
    series = random_series(25, 500, 4)
    rules = PcSettings(alpha=1e-2, variant=Variant.STABLE)
    order = np.random.default_rng(0).permutation(len(series))
    again = learn(series[order], rules).skeleton
    assert {tuple(sorted((int(order[a]), int(order[b])))) for a, b in again} == set(
        learn(series, rules).skeleton
    )


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 5), st.integers(0, 130), st.sampled_from(["numba", "numpy"]),
    st.sampled_from(["zero", "one", "same", "random"]), st.integers(0, 2),
)  # fmt: skip
def test_any_shape_and_constant_series(n: int, bins: int, engine: str, kind: str, lag: int) -> None:
    random = np.random.default_rng(n * 1000 + bins)
    series = {
        "zero": np.zeros((n, bins), np.bool_),
        "one": np.ones((n, bins), np.bool_),
        "same": np.tile(random.random(bins) < 0.3, (n, 1)),
        "random": random.random((n, bins)) < 0.3,
    }[kind]
    graph = learn(series, PcSettings(alpha=1e-3, max_lag=lag), engine)
    assert graph.n == n
    # Zeros outside the window make constant ones differ at the ends once they are shifted
    if kind == "zero" or (kind == "one" and lag == 0):
        assert not graph.links


def test_identical_series_keep_a_chain_when_edges_go_at_once_and_nothing_when_at_the_end() -> None:
    series = np.tile(np.random.default_rng(1).random(500) < 0.1, (6, 1))
    assert not learn(series, PcSettings(variant=Variant.STABLE)).links
    kept = nx.Graph(learn(series, PcSettings(variant=Variant.ORIGINAL)).skeleton)
    assert kept.number_of_edges() >= 1


def test_bits_beyond_the_last_bin_do_not_count() -> None:
    for bins in (63, 64, 65, 128, 200):
        series = random_series(8, bins, bins, 0.3)
        rules = PcSettings(alpha=0.05, max_lag=1)
        assert learn(series, rules, "numba") == learn(series, rules, "numpy")


def test_shifting_brings_later_bins_forward() -> None:
    row = np.array([[1, 0, 2, 3]], np.uint8)
    assert shifted(row, 1).tolist() == [[0, 2, 3, 0]]
    assert shifted(row, -1).tolist() == [[0, 1, 0, 2]]
    assert shifted(row, 9).tolist() == [[0, 0, 0, 0]]


def test_conditions_for_which_there_are_too_few_bins_are_not_tried() -> None:
    random = np.random.default_rng(5)
    cause = random.random(18) < 0.5
    series = np.stack([cause, cause, cause])
    rules = PcSettings(alpha=0.05, variant=Variant.STABLE)  # one condition would want 20 bins
    assert len(learn(series, rules).links) == 3
    rules = PcSettings(alpha=0.05, variant=Variant.STABLE, samples_per_freedom=0)
    assert not learn(series, rules).links


# Structures


def simulate(parents: list[list[int]], bins: int = 6000, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    series = np.zeros((len(parents), bins), np.bool_)
    for at, causes in enumerate(parents):
        series[at] = random.random(bins) < (0.08 if causes else 0.25)
        for cause in causes:
            series[at] |= series[cause] & (random.random(bins) < 0.6)
    return series


@pytest.mark.parametrize(
    ("parents", "skeleton", "directed"),
    [
        ([[], [0], [1]], {(0, 1), (1, 2)}, set()),  # a chain has no sure direction
        ([[], [0], [0]], {(0, 1), (0, 2)}, set()),  # nor has a fork
        ([[], [], [0, 1]], {(0, 2), (1, 2)}, {(0, 2), (1, 2)}),  # a collider has
        ([[], [], [0, 1], [2]], {(0, 2), (1, 2), (2, 3)}, {(0, 2), (1, 2), (2, 3)}),  # rule 1
    ],
)
def test_simulated_structures_are_recovered(
    parents: list[list[int]], skeleton: set[tuple[int, int]], directed: set[tuple[int, int]]
) -> None:
    for engine in ("numba", "numpy"):
        graph = learn(simulate(parents), PcSettings(alpha=1e-3), engine)
        assert graph.skeleton == skeleton
        assert graph.directed == directed


def test_a_lagged_chain_is_separated_and_directed_by_time() -> None:
    random = np.random.default_rng(2)
    first = random.random(3000) < 0.05
    second = np.roll(first & (random.random(3000) < 0.8), 1) | (random.random(3000) < 0.02)
    third = np.roll(second & (random.random(3000) < 0.8), 1) | (random.random(3000) < 0.02)
    series = np.stack([third, first, second])
    graph = learn(series, PcSettings(max_lag=2))
    assert {(link.a, link.b, link.lag) for link in graph.links} == {(1, 2, 1), (2, 0, 1)}
    assert all(link.directed for link in graph.links)
    assert graph.separators == {(0, 1): (2,)}
    assert not learn(series, PcSettings(max_lag=0)).skeleton


# From a skeleton to a CPDAG, with an oracle that knows the truth


def oracle(dag: nx.DiGraph) -> Skeleton:
    """Return what PC finds when its tests are right: d-separation by the pair's parents."""
    pairs, separators = [], {}
    for a, b in combinations(sorted(dag), 2):
        if dag.has_edge(a, b) or dag.has_edge(b, a):
            pairs.append((a, b))
            continue
        around = (set(dag.predecessors(a)) | set(dag.predecessors(b))) - {a, b}
        sets = (c for size in range(len(around) + 1) for c in combinations(sorted(around), size))
        separators[a, b] = next(c for c in sets if nx.is_d_separator(dag, {a}, {b}, set(c)))
    count = len(pairs)
    return Skeleton(
        len(dag), np.array(pairs, np.int32).reshape(-1, 2), np.zeros(count, np.int8),
        np.zeros(count), np.zeros(count), separators,
    )  # fmt: skip


def v_structures(arrows: set[tuple[int, int]], pairs: set[frozenset[int]]) -> set[tuple[int, ...]]:
    return {
        (a, c, b)
        for (a, c), (b, d) in permutations(arrows, 2)
        if c == d and a < b and frozenset((a, b)) not in pairs
    }


def equivalence_class(dag: nx.DiGraph) -> set[tuple[int, int]]:
    """Return the arrows that all DAGs with the same skeleton and v-structures share."""
    pairs = {frozenset(edge) for edge in dag.edges}
    wanted = v_structures(set(dag.edges), pairs)
    common: set[tuple[int, int]] | None = None
    edges = [tuple(sorted(pair)) for pair in pairs]
    for choice in range(1 << len(edges)):
        arrows = {e if choice >> at & 1 else e[::-1] for at, e in enumerate(edges)}
        if v_structures(arrows, pairs) == wanted and nx.is_directed_acyclic_graph(
            nx.DiGraph(list(arrows))
        ):
            common = arrows if common is None else common & arrows
    return common or set()


@st.composite
def dags(draw: st.DrawFn, largest: int = 5) -> nx.DiGraph:
    n = draw(st.integers(1, largest))
    order = draw(st.permutations(range(n)))
    dag = nx.DiGraph()
    dag.add_nodes_from(range(n))
    for a, b in combinations(range(n), 2):
        if draw(st.booleans()):
            dag.add_edge(order[a], order[b])
    return dag


@settings(max_examples=60, deadline=None)
@given(dags(), st.sampled_from(Conflict))
def test_true_separators_give_exactly_the_cpdag(dag: nx.DiGraph, conflict: Conflict) -> None:
    graph = cpdag(oracle(dag), conflict=conflict)
    assert graph.skeleton == {tuple(sorted(edge)) for edge in dag.edges}
    assert graph.directed == equivalence_class(dag)


@settings(max_examples=60, deadline=None)
@given(dags(), st.data())
def test_known_directions_are_kept_and_do_not_contradict(dag: nx.DiGraph, data: st.DataObject):
    known = (
        data.draw(st.lists(st.sampled_from(sorted(dag.edges)), unique=True)) if dag.edges else []
    )
    graph = cpdag(oracle(dag), known)
    assert set(known) <= graph.directed <= set(dag.edges)


@st.composite
def any_skeletons(draw: st.DrawFn) -> Skeleton:
    """Return skeletons with separators that no DAG may have."""
    n = draw(st.integers(2, 7))
    pairs, separators = [], {}
    for a, b in combinations(range(n), 2):
        if draw(st.booleans()):
            pairs.append((a, b))
        else:
            others = [c for c in range(n) if c not in (a, b)]
            separators[a, b] = tuple(c for c in others if draw(st.booleans()))
    count = len(pairs)
    return Skeleton(
        n, np.array(pairs, np.int32).reshape(-1, 2), np.zeros(count, np.int8), np.zeros(count),
        np.zeros(count), separators,
    )  # fmt: skip


def pdag_of(graph: Cpdag) -> Pdag:
    partly = Pdag(graph.n, list(graph.skeleton))
    for a, b in sorted(graph.directed):
        partly.direct(a, b)
    return partly


@settings(max_examples=150, deadline=None)
@given(any_skeletons(), st.sampled_from(Conflict), st.data())
def test_no_directed_cycle_whatever_the_tests_say(
    skeleton: Skeleton, conflict: Conflict, data: st.DataObject
) -> None:
    flips = [data.draw(st.sampled_from([0, 1, -1])) for _ in skeleton.pairs]
    known = [
        (a, b) if flip > 0 else (b, a)
        for (a, b), flip in zip(skeleton.pairs.tolist(), flips, strict=True)
        if flip
    ]
    graph = cpdag(skeleton, known, conflict)
    assert nx.is_directed_acyclic_graph(nx.DiGraph(list(graph.directed)))
    assert graph.skeleton == {tuple(pair) for pair in skeleton.pairs.tolist()}
    assert cpdag(skeleton, known, conflict) == graph


@settings(max_examples=100, deadline=None)
@given(any_skeletons(), st.data())
def test_closing_twice_changes_nothing(skeleton: Skeleton, data: st.DataObject) -> None:
    partly = Pdag(skeleton.n, skeleton.pairs.tolist())
    for a, b in skeleton.pairs.tolist():  # from a smaller to a larger number: no cycle
        if data.draw(st.booleans()):
            partly.direct(a, b)
    partly.close()
    once = list(partly.children)
    partly.close()
    assert partly.children == once


def test_rule_4_directs_what_prior_knowledge_implies() -> None:
    # 0 - 1, 0 - 2, 2 -> 3 -> 1, 0 - 3; 1 and 2 not adjacent: 0 -> 1
    partly = Pdag(4, [(0, 1), (0, 2), (0, 3), (2, 3), (1, 3)])
    partly.direct(2, 3)
    partly.direct(3, 1)
    partly.close()
    assert partly.children[0] >> 1 & 1


def test_a_contradiction_leaves_the_edge_undirected_or_to_the_first() -> None:
    # 0 - 1 - 2 - 3 with both inner series a collider
    pairs = np.array([(0, 1), (1, 2), (2, 3)], np.int32)
    zeros = np.zeros(3)
    skeleton = Skeleton(4, pairs, np.zeros(3, np.int8), zeros, zeros)
    assert cpdag(skeleton).directed == {(0, 1), (3, 2)}
    assert cpdag(skeleton, conflict=Conflict.FIRST).directed == {(0, 1), (2, 1)}


# Engines as such


def test_an_engine_of_ones_own() -> None:
    class Loud(NumpyEngine):
        name = "loud"
        lags = False

    register("loud", Loud)
    try:
        series = simulate([[], [0]], 500)
        assert learn(series, engine="loud").skeleton == {(0, 1)}
        assert learn(series, engine=Loud()).skeleton == {(0, 1)}
        with pytest.raises(EngineError, match="engine loud knows no lags"):
            learn(series, PcSettings(max_lag=1), "loud")
    finally:
        del engines_module._ENGINES["loud"]


def test_an_unknown_engine_is_told_in_one_line() -> None:
    with pytest.raises(EngineError, match=r"no engine is called 'abacus': there are auto, numba"):
        engine_of("abacus")


@pytest.mark.parametrize(
    ("name", "module", "remedy"),
    [("numba", "numba", r"vmmib\[syslog\]"), ("pyagrum", "pyagrum", r"vmmib\[pyagrum\]")],
)
def test_an_engine_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, remedy: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=f"engine {name} is not installed: .*{remedy}"):
        engine_of(name)
    assert engine_of("auto").name == ("numpy" if name == "numba" else "numba")


def test_where_no_code_may_be_compiled_the_plain_engine_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines_module, "compiling_is_allowed", lambda: False)
    assert engine_of("auto").name == "numpy"
    with pytest.raises(EngineError, match="use engine numpy"):
        engine_of("numba")


def test_without_numba_the_plain_engine_is_all_that_is_imported() -> None:
    code = (
        "import sys, numpy; from triage.syslog.causality import learn;"
        "learn(numpy.eye(3, 40, dtype=bool), engine='numpy'); print('numba' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout == "False\n"


def test_a_cache_that_cannot_be_written_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = pytest.importorskip("triage.syslog.causality.kernel")
    asked = []

    class Plain:
        """Stands for a function that was compiled without a cache."""

        def __init__(self, function) -> None:
            self.function = function

        def compile(self, signature) -> None:
            asked.append(len(signature))

        def __call__(self, *arguments):
            return self.function(*arguments)

    class Numba:
        """Stands for numba where no folder can be written to."""

        typeof = staticmethod(kernel.numba.typeof)

        @staticmethod
        def njit(**options: bool):
            asked.append(options)
            if options.get("cache"):
                raise RuntimeError("cannot cache function: no locator available")
            return Plain

    monkeypatch.setattr(kernel, "_numba", Numba)
    seen: list[int] = []
    kernel._Compiled(seen.append)(3)
    assert seen == [3]
    assert asked == [{"nogil": True, "cache": True}, {"nogil": True}, 1]


@pytest.mark.parametrize(
    "series",
    [np.zeros(5, np.bool_), np.zeros((2, 5), np.float64), np.full((2, 5), 8, np.uint8)],
)
def test_what_are_no_levels_is_refused(series: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"wanted|levels go"):
        learn(series)


@pytest.mark.parametrize(
    "wrong",
    [{"alpha": 0.0}, {"alpha": 1.0}, {"max_lag": -1}, {"max_conditions": -1}, {"threads": 0}],
)
def test_settings_that_cannot_be_meant(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PcSettings(**wrong)
