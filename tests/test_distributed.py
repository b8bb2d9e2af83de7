"""Workers: the same results in the same order, whatever happens to them."""

from __future__ import annotations

import importlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from smartfilter import cluster, distributed
from smartfilter.distributed import (
    ITEMS_PER_WORKER,
    Staged,
    Workers,
    open_workers,
    remember,
)
from smartfilter.errors import (
    DeviceError,
    InputError,
    MissingPackageError,
    UsageError,
)

needs_dask = pytest.mark.skipif(
    find_spec("distributed") is None, reason="distributed is not installed"
)


def square(number: int) -> int:
    return number * number


class HalveThenSquare(Staged[int, float, float]):
    """Tells which thread halves."""

    threads: ClassVar[list[int]] = []

    def read(self, item: int) -> float:
        self.threads.append(threading.get_ident())
        if item == 7:
            raise InputError("seven")
        return item / 2

    def process(self, ready: float) -> float:
        return ready**2


def sleep_and_tell(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def refuse_five(number: int) -> int:
    if number == 5:
        raise InputError("five")
    if number == 6:
        raise MissingPackageError("six", "extra")
    return number


def die_once(path: str) -> str:
    """Kill the worker, unless that has been done before."""
    if path and not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path


@pytest.fixture(scope="module", params=[1, 2])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    if request.param == 2:
        yield request.getfixturevalue("two_workers")
        return
    with open_workers() as here:
        yield here


@pytest.fixture(scope="module", autouse=True)
def _workers_need_not_import_this_file() -> Iterator[None]:
    cloudpickle = pytest.importorskip("cloudpickle")
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


def test_map_gives_every_item_its_result_in_order(workers):
    found = list(workers.map(square, range(25)))
    assert found == [(number, number**2) for number in range(25)]
    assert list(workers.map(square, [])) == []


def test_map_keeps_the_order_when_later_items_are_faster(workers):
    seconds = [0.3, 0.0, 0.2, 0.0]
    assert [item for item, _ in workers.map(sleep_and_tell, seconds)] == seconds


def test_map_raises_the_error_of_the_first_item_that_fails(workers):
    results = workers.map(refuse_five, range(10))
    found = []
    with pytest.raises(InputError, match=r"^five$"):
        found.extend(results)
    assert list(workers.map(refuse_five, [1])) == [(1, 1)]
    with pytest.raises(MissingPackageError, match="package 'six'"):
        list(workers.map(refuse_five, [6]))


def test_map_of_stages_is_that_of_the_function(workers):
    found = list(workers.map(HalveThenSquare(), range(7)))
    assert found == [(number, number**2 / 4) for number in range(7)]
    results, found = workers.map(HalveThenSquare(), range(10)), []
    with pytest.raises(InputError, match=r"^seven$"):
        found.extend(results)
    assert [item for item, _ in found] == list(range(7))


def test_map_here_reads_ahead_in_one_thread_that_ends():
    before, function = threading.active_count(), HalveThenSquare()
    function.threads.clear()
    with open_workers() as here:
        results = here.map(function, range(5))
        assert next(results) == (0, 0.0)
        results.close()
    assert threading.active_count() == before
    assert len(set(function.threads)) == 1
    assert threading.get_ident() not in function.threads


def test_map_takes_few_items_ahead(two_workers):
    """Memory is bounded by the items between the one that is yielded and the last."""
    taken: list[int] = []

    def count() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield number

    ahead = [len(taken) - k for k, _ in two_workers.map(square, count())]
    assert max(ahead) <= 2 * ITEMS_PER_WORKER
    assert len(taken) == 40


def test_map_works_elsewhere_in_processes_of_one_thread(two_workers):
    pids = {pid for _, pid in two_workers.map(sleep_and_tell, [0.1] * 8)}
    assert os.getpid() not in pids
    assert len(pids) == 2


def count_page_faults(n_bytes: int) -> int:
    """Return how often memory that is taken and given back comes from the system."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(n_bytes, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_map_elsewhere_takes_memory_from_the_system_once(two_workers):
    """Dask's setting for workers takes all of it anew for every array."""
    pages = 4_000_000 // resource.getpagesize()
    faults = [n for _, n in two_workers.map(count_page_faults, [4_000_000] * 6)]
    assert max(faults) < 5 * pages


def test_map_gives_the_work_of_a_lost_worker_to_others(two_workers, tmp_path):
    items = ["", str(tmp_path / "a"), *[""] * 6]
    assert list(two_workers.map(die_once, items)) == [(item, item) for item in items]
    assert len(list(tmp_path.iterdir())) == 1


def test_map_of_what_workers_cannot_import_is_a_device_error(
    two_workers, tmp_path, monkeypatch
):
    """Such a call ends in an error, and the workers live on."""
    (tmp_path / "only_here.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    double = importlib.import_module("only_here").double
    with pytest.raises(DeviceError, match="none called 'only_here'"):
        list(two_workers.map(double, [1]))
    assert list(two_workers.map(square, [3])) == [(3, 9)]


def test_remember_makes_a_thing_once_per_key():
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    assert [remember("thing", key, make) for key in (1, 1, 2, 1)] == [1, 1, 2, 3]


def test_open_workers_refuses_what_cannot_be(monkeypatch):
    for options, message in (
        ({"n_workers": 0}, "at least 1"),
        ({"n_workers": 2, "address": "tcp://127.0.0.1:1"}, "got both"),
    ):
        with pytest.raises(UsageError, match=message), open_workers(**options):
            pass


@needs_dask
def test_open_workers_without_a_scheduler_is_a_usage_error(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    absent = str(tmp_path / "absent.json")
    binary, deep = tmp_path / "binary.json", tmp_path / "deep.json"
    binary.write_bytes(b"\xa8\xff")
    deep.write_text("[" * 100_000)
    files = (absent, str(binary), str(deep))
    for address in ("tcp://127.0.0.1:1", "nonsense://", "h:99999", *files):
        with (
            pytest.raises(UsageError, match="expected a scheduler"),
            open_workers(address=address),
        ):
            pass


@needs_dask
@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        ("raise SystemExit(3)", "Nanny failed to start"),
        ("import time; time.sleep(60)", "no answer"),
    ],
)
def test_open_workers_that_do_not_start_is_a_device_error(monkeypatch, worker, reason):
    """A process that ends at once, and one that never answers."""
    command = [sys.executable, "-c", worker]
    monkeypatch.setattr("multiprocessing.spawn.get_command_line", lambda **_: command)
    monkeypatch.setattr(cluster, "START_SECONDS", 1.0)
    with (
        pytest.raises(DeviceError, match=rf"2 processes.*\({reason}.*--workers 1"),
        open_workers(2),
    ):
        pass


@needs_dask
def test_open_workers_waits_for_nothing_longer_than_it_says(monkeypatch):
    never = threading.Event()
    monkeypatch.setattr("distributed.LocalCluster", lambda **_: never.wait(60))
    monkeypatch.setattr(cluster, "START_SECONDS", 0.1)
    monkeypatch.setattr(cluster, "_END_SECONDS", 0.1)
    with pytest.raises(DeviceError, match="no answer"), open_workers(2):
        pass
    never.set()


class NoWorkers:
    """A client whose workers are gone; also the future of what it was given."""

    cancelled = False

    def submit(self, *_: object, **__: object) -> NoWorkers:
        return self

    def result(self, timeout: float | None = None) -> object:
        time.sleep(timeout or 0.0)
        raise TimeoutError

    def done(self) -> bool:
        return False

    def nthreads(self) -> dict[str, int]:
        return {}

    def cancel(self, _: object) -> None:
        self.cancelled = True


@needs_dask
def test_map_whose_workers_do_not_come_back_is_a_device_error(monkeypatch):
    monkeypatch.setattr(distributed, "_LOOK_SECONDS", 0.01)
    client = NoWorkers()
    with pytest.raises(DeviceError, match=r"none for 0\.05 s"):
        list(distributed.DaskWorkers(client, 0.05).map(square, [1, 2]))
    assert client.cancelled


class LateWorkers(NoWorkers):
    """A client whose results come just after one stops waiting for them."""

    status = "running"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def result(self, timeout: float | None = None) -> object:
        if timeout is not None:
            raise TimeoutError(f"timed out after {timeout} s.")
        if self.error is not None:
            raise self.error
        return distributed._Outcome(9)

    def done(self) -> bool:
        return True


@needs_dask
def test_map_takes_a_result_that_comes_when_the_wait_has_ended():
    results = distributed.DaskWorkers(LateWorkers(), 60.0).map(square, [1, 2])
    assert list(results) == [(1, 9), (2, 9)]


@needs_dask
def test_map_raises_the_error_of_the_work_even_if_it_is_a_timeout():
    client = LateWorkers(TimeoutError("of the work"))
    with pytest.raises(TimeoutError, match="of the work"):
        list(distributed.DaskWorkers(client, 60.0).map(square, [1]))


@pytest.mark.parametrize("options", [{"n_workers": 2}, {"address": "tcp://h:1"}])
def test_open_workers_without_dask_names_the_extra(monkeypatch, options):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackageError, match=r"\[dask\]"), open_workers(**options):
        pass


def test_local_workers_end_with_the_run(tmp_path):
    """Nobody looks after workers of a run that was killed."""
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "from smartfilter.distributed import open_workers\n"
        "def tell(_):\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    with open_workers(2) as workers:\n"
        "        for _, pid in workers.map(tell, range(1)):\n"
        "            print(pid, flush=True)\n"
        "        time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        worker = Path("/proc") / process.stdout.readline().strip()
        assert worker.exists()
        process.kill()
    deadline = time.monotonic() + 20
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker.exists()
