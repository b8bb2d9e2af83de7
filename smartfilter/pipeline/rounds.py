"""Run many samples through the chain, a part of each per round, in several processes.

A round is the same events whichever process runs it and whatever the others do, and all
that is compared takes turns within a round, so that a drift of the machine's speed hits
all of it alike.
"""

from __future__ import annotations

import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from smartfilter.errors import SmartFilterError, UsageError
from smartfilter.pipeline.chain import ChainRun, open_detector, run
from smartfilter.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from smartfilter.pipeline.chain import ChainSettings, FilterSettings

__all__ = ["EVENTS_PER_ROUND", "Job", "Plan", "run_rounds"]

EVENTS_PER_ROUND = 1000
"""Events of each sample in one round: some ten seconds at the usual cost."""

N_WARM_UP = 20
"""Events that compile and load everything before the clock starts."""


@dataclass(frozen=True)
class Job:
    """One way to run one sample.

    Parameters
    ----------
    name : str
    sample : int
        Number of the sample: the same number, the same events.
    filtering : FilterSettings, optional
        No filter by default.
    """

    name: str
    sample: int
    filtering: FilterSettings | None = None


@dataclass(frozen=True)
class Plan:
    """What runs.

    Parameters
    ----------
    chain : ChainSettings
    jobs : tuple of Job
        In the order in which they take turns.
    n_events : int
        Events of each sample.
    seed : int
        Of the generators.
    model : str
        Model file.
    device : str
        Where the network runs.
    events_per_round : int
        The events depend on it.

    Raises
    ------
    UsageError
        If there would be no event.
    """

    chain: ChainSettings
    jobs: tuple[Job, ...]
    n_events: int
    seed: int
    model: str
    device: str = "cpu"
    events_per_round: int = EVENTS_PER_ROUND

    def __post_init__(self) -> None:
        """Check the numbers."""
        for what in ("n_events", "events_per_round"):
            if getattr(self, what) < 1:
                raise UsageError(
                    f"{what}: expected at least 1 event, got {getattr(self, what)}"
                )

    @property
    def rounds(self) -> list[int]:
        """Numbers of events of all rounds."""
        whole, rest = divmod(self.n_events, self.events_per_round)
        return [self.events_per_round] * whole + ([rest] if rest else [])

    def get_generator_seed(self, turn: int, sample: int) -> int:
        """Return the seed of a sample's events in one round; the warm-up is round -1."""
        words = np.random.SeedSequence([self.seed, turn + 1, sample]).generate_state(1)
        return int(words[0])


class _Runner:
    """Runs rounds in this process; network and detector stay between them.

    What is loaded by then is hidden from the garbage collector: it would look through
    all of torch and numba, for 0.2 s and at the cost of any one event.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open = ExitStack()
        self._scorer = Scorer(plan.model, device=plan.device, threads=1)
        self._detector = self._open.enter_context(open_detector(plan.chain))
        try:
            self.run_round(-1, N_WARM_UP)
        except BaseException:
            self._open.close()
            raise
        gc.collect()
        gc.freeze()
        self._open.callback(gc.unfreeze)

    def __enter__(self) -> Self:
        """Return the runner; the detector's processes end with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the detector's processes."""
        self._open.close()

    def run_round(self, turn: int, n_events: int) -> list[ChainRun]:
        """Return what happened in each job."""
        return [
            run(
                self._plan.chain,
                n_events,
                seed=self._plan.get_generator_seed(turn, job.sample),
                detector=self._detector,
                filtering=job.filtering,
                scorer=self._scorer,
            )
            for job in self._plan.jobs
        ]


_runner: list[_Runner] = []
"""The runner of a worker process, made with its first round."""


def _run_in_worker(plan: Plan, turn: int, n_events: int) -> list[ChainRun]:
    if not _runner:
        _runner.append(_Runner(plan))
    return _runner[0].run_round(turn, n_events)


def run_rounds(
    plan: Plan, *, workers: int = 1, advance: Callable[[int], None] | None = None
) -> dict[str, ChainRun]:
    """Return all events of each job, by its name.

    Parameters
    ----------
    plan : Plan
    workers : int
        Processes that share the rounds, each on one thread. Events and labels do not
        depend on it.
    advance : callable, optional
        Told the number of events, of ``n_events``, that all jobs have done since its
        last call.

    Raises
    ------
    UsageError
        If there is less than one worker.
    SmartFilterError
        What the stages raise, or if a worker process dies.
    """
    if workers < 1:
        raise UsageError(f"workers: expected at least 1, got {workers}")
    report = advance or (lambda _: None)
    done: dict[int, list[ChainRun]] = {}
    if workers == 1:
        with _Runner(plan) as runner:
            for turn, n_events in enumerate(plan.rounds):
                done[turn] = runner.run_round(turn, n_events)
                report(n_events)
    else:
        _run_in_processes(plan, workers, done, report)
    parts = zip(*(done[turn] for turn in sorted(done)), strict=True)
    names = [job.name for job in plan.jobs]
    return dict(zip(names, map(ChainRun.join, parts), strict=True))


def _run_in_processes(
    plan: Plan,
    workers: int,
    done: dict[int, list[ChainRun]],
    report: Callable[[int], None],
) -> None:
    """Fill ``done``; processes are started anew, never forked."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        tasks = {
            pool.submit(_run_in_worker, plan, turn, n_events): (turn, n_events)
            for turn, n_events in enumerate(plan.rounds)
        }
        try:
            for task in as_completed(tasks):
                turn, n_events = tasks[task]
                done[turn] = task.result()
                report(n_events)
        except BrokenProcessPool as error:
            raise SmartFilterError(
                f"measure: expected an answer of {workers} worker processes, but one "
                "ended early (killed, or out of memory); run again, with fewer workers"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
