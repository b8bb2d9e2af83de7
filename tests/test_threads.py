"""Several threads of one process: the same results in the same order, and few ahead."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from smartfilter.decision import DecisionSettings
from smartfilter.distributed import Staged, open_workers, remember
from smartfilter.errors import InputError, UsageError
from smartfilter.io import open_events
from smartfilter.score_files import score_files
from smartfilter.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Then(Staged[int, int, int]):
    """Reads numbers below seven, then calls a function."""

    def __init__(self, function: Callable[[int], int]) -> None:
        self.function = function

    def read(self, item: int) -> int:
        if item == 7:
            raise InputError("seven")
        return item

    def process(self, ready: int) -> int:
        return self.function(ready)


def refuse_five(number: int) -> int:
    if number == 5:
        raise InputError("five")
    return number


def test_map_processes_in_threads_that_end():
    before, both = threading.active_count(), threading.Barrier(2, timeout=30)

    def wait_for_each_other(number: int) -> int:
        both.wait()
        return -number

    with open_workers(threads=2) as here:
        found = list(here.map(Then(wait_for_each_other), [0, 1, 2, 3]))
        assert found == [(0, 0), (1, -1), (2, -2), (3, -3)]
        results = here.map(Then(abs), range(5))
        assert next(results) == (0, 0)
        results.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_map_first_error_follows_the_results_before_it(threads):
    found: list[tuple[int, int]] = []
    with open_workers(threads=threads) as here:
        with pytest.raises(InputError, match=r"^seven$"):  # of the reading
            found.extend(here.map(Then(abs), range(10)))
        with pytest.raises(InputError, match=r"^five$"):  # of the processing
            found.extend(here.map(Then(refuse_five), [3, 4, 5, 6]))
    assert [item for item, _ in found] == [*range(7), 3, 4]


@pytest.mark.parametrize("threads", [1, 2])
def test_map_takes_few_items_ahead(threads):
    taken: list[int] = []

    def count() -> Iterator[int]:
        for number in range(20, 60):
            taken.append(number)
            yield number

    with open_workers(threads=threads) as here:
        ahead = [len(taken) - k for k, _ in enumerate(here.map(Then(abs), count()))]
    assert max(ahead) <= threads + 3


def test_remember_makes_a_thing_per_thread_or_for_all():
    def find(*, shared: bool) -> set[int]:
        def look(_: int) -> object:
            return remember("thing", "key", object, shared=shared)

        with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
            things = [*one.map(look, range(2)), *other.map(look, range(2))]
        return {id(thing) for thing in things}

    assert len(find(shared=False)) == 2
    assert len(find(shared=True)) == 1


def test_threads_with_other_workers_are_refused():
    for options, message in (
        ({"threads": 0}, "at least 1"),
        ({"threads": 2, "n_workers": 2}, "--workers or --dask"),
        ({"threads": 2, "address": "tcp://127.0.0.1:1"}, "--workers or --dask"),
    ):
        with pytest.raises(UsageError, match=message), open_workers(**options):
            pass


@pytest.mark.parametrize("mode", ["sample", "official"])
def test_score_files_is_the_same_for_any_threads(
    project_root: Path, tmp_path: Path, count_model: Path, mode: str
):
    scorer = Scorer(count_model, device="cpu")
    settings = DecisionSettings.for_each_type(scorer.info, mode=mode, seed=3)
    contents = []
    for threads in (1, 2, 4):
        output = tmp_path / f"{threads}.parquet"
        with open_workers(threads=threads) as here:
            run = score_files(
                open_events(project_root / "examples" / "events.root", chunk_size=37),
                scorer=scorer,
                settings=settings,
                workers=here,
                describe=lambda run: run.summary.to_metadata(),
                output=output,
                device="cpu",
            )
        assert run.summary.n_events == 400
        contents.append(output.read_bytes())
    assert contents[0] == contents[1] == contents[2]
