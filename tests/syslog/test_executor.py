"""Where tasks run: in order, lazily, bounded, and on a real Dask cluster."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from distributed import LocalCluster
from distributed.client import _get_global_client

from triage.syslog.executor import ExecutorError, dask_executor, local_executor, unlocked


def square(number: int) -> int:
    return number * number


def fail_on_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def die_once(path: str) -> str:
    """Take the worker down the first time."""
    if not os.path.exists(path):  # noqa: PTH110
        with open(path, "w"):  # noqa: PTH123
            pass
        os._exit(1)
    return "done"


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    with local_executor(workers) as executor:
        assert list(executor.map(square, range(100))) == [n * n for n in range(100)]


def test_a_slow_first_task_does_not_let_the_others_run_far_ahead() -> None:
    first, taken = threading.Event(), []

    def tasks() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    def wait(number: int) -> int:
        if number == 0:
            first.wait()
        return number

    with local_executor(2) as executor:
        results = executor.map(wait, tasks())
        threading.Timer(0, first.set).start()
        assert next(results) == 0
        assert len(taken) <= 4
        assert list(results) == list(range(1, 100))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_raises_comes_where_its_result_would(workers: int) -> None:
    with local_executor(workers) as executor:
        results = executor.map(fail_on_three, range(10))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            next(results)


def test_leaving_early_cancels_what_has_not_begun() -> None:
    begun = []
    with local_executor(2) as executor:
        results = executor.map(begun.append, range(1000))
        next(results)
    assert len(begun) <= 8


def test_no_workers_and_no_with_block() -> None:
    with pytest.raises(ExecutorError, match="at least 1"):
        local_executor(0 - 1)
    with pytest.raises(ExecutorError, match="with"):
        list(local_executor(2).map(square, [1]))
    with pytest.raises(ExecutorError, match="with"):
        list(dask_executor("tcp://127.0.0.1:1").map(square, [1]))


def test_a_scheduler_that_does_not_answer_is_one_line() -> None:
    with (
        pytest.raises(ExecutorError, match=r"tcp://127\.0\.0\.1:9 does not answer") as error,
        dask_executor("tcp://127.0.0.1:9", deadline=0.5),
    ):
        pass
    assert "\n" not in str(error.value)


def test_an_address_that_is_none_is_one_line() -> None:
    with pytest.raises(ExecutorError, match="nonsense"), dask_executor("nonsense:", deadline=0.5):
        pass


def process(_: int) -> int:
    return os.getpid()


def test_processes_for_what_holds_the_lock(tmp_path) -> None:
    with local_executor(2) as executor, unlocked(executor) as processes:
        assert list(processes.map(square, range(30))) == [n * n for n in range(30)]
        assert os.getpid() not in set(processes.map(process, range(4)))
        with pytest.raises(ValueError, match="three"):
            list(processes.map(fail_on_three, range(10)))
        with pytest.raises(ExecutorError, match="memory"):
            list(processes.map(die_once, [str(tmp_path / "once")]))
    with local_executor(1) as one, unlocked(one) as same:
        assert same is one


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with (
        pytest.raises(ExecutorError, match=r"pip install 'vmmib\[dask\]'"),
        dask_executor("tcp://127.0.0.1:9"),
    ):
        pass


def test_dask(tmp_path) -> None:
    """On a real cluster: order, errors, a lost worker's task, no client left behind."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        with dask_executor(cluster.scheduler_address, deadline=60) as executor:
            assert executor.workers == 2
            assert list(executor.map(square, range(30))) == [n * n for n in range(30)]
            with pytest.raises(ValueError, match="three"):
                list(executor.map(fail_on_three, range(10)))
            assert list(executor.map(die_once, [str(tmp_path / "once")])) == ["done"]
        assert _get_global_client() is None
        assert not [c for c in cluster.scheduler.clients if "triage" in c]
    with (
        LocalCluster(
            n_workers=0, processes=False, dashboard_address=None, silence_logs=50
        ) as empty,
        pytest.raises(ExecutorError, match="no worker"),
        dask_executor(empty.scheduler_address, deadline=0.5),
    ):
        pass
