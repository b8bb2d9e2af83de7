"""Run the standalone chain, with or without the filter, and keep each event's times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter import framework
from smartfilter.module import SmartFilter
from smartfilter.pipeline.modules import (
    BlockFilter,
    CollectorModule,
    DetectorModule,
    GeneratorModule,
    ReconstructionModule,
    SkimModule,
)
from smartfilter.pipeline.skims import get_skim

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.decision import Decision
    from smartfilter.events import Events
    from smartfilter.framework import Module
    from smartfilter.scoring import Scorer, Scores

__all__ = ["CLOCKS", "STAGES", "ChainRun", "ChainSettings", "FilterSettings", "run"]

STAGES = ("generation", "filter", "detector", "reconstruction", "skim")
"""Stages of the chain in order."""

CLOCKS = ("wall", "cpu")
"""Clocks; the position is the last axis of `ChainRun.times`."""


@dataclass(frozen=True)
class ChainSettings:
    """What is generated and how it is simulated.

    Parameters
    ----------
    event_type : str
    skim : str
        Skim that counts.
    step : float
        Longest step in the detector, cm.
    detector_seed : int
    """

    event_type: str
    skim: str
    step: float
    detector_seed: int = 0


@dataclass(frozen=True)
class FilterSettings:
    """How the filter decides.

    Parameters
    ----------
    scorer : Scorer
    mode : str
    threshold : float, optional
    seed : int
    debug : bool
        Keep everything.
    blocks : bool
        Score a whole block of the generator at once.
    """

    scorer: Scorer
    mode: str = "threshold"
    threshold: float | None = None
    seed: int = 0
    debug: bool = False
    blocks: bool = False


@dataclass(frozen=True, eq=False)
class ChainRun:
    """What happened to each generated event, and what it cost.

    Parameters
    ----------
    times : mapping of str to ndarray of float64, each of shape (n_events, 2)
        Seconds per stage of `STAGES` on the clocks of `CLOCKS`; 0 where a stage did not
        see the event. What is done per block is shared equally.
    passes : ndarray of bool, shape (n_events,)
        Passes the skim; false where skipped.
    score, keep_probability, weight : ndarray of float64, shape (n_events,)
        What the filter said; NaN, 1 and 1 without a filter. A skipped event has weight
        0; NaN is also the score of an event that cannot be scored.
    """

    times: Mapping[str, NDArray[np.float64]]
    passes: NDArray[np.bool_]
    score: NDArray[np.float64]
    keep_probability: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of generated events."""
        return len(self.passes)

    def seconds(self, stages: Sequence[str], clock: str) -> NDArray[np.float64]:
        """Return the time of some stages together, shape (n_events,)."""
        column = CLOCKS.index(clock)
        total = np.zeros(len(self))
        for stage in stages:
            total += self.times[stage][:, column]
        return total

    @classmethod
    def join(cls, runs: Sequence[ChainRun]) -> ChainRun:
        """Return the events of several runs as one."""
        return cls(
            times={s: np.concatenate([run.times[s] for run in runs]) for s in STAGES},
            passes=np.concatenate([run.passes for run in runs]),
            score=np.concatenate([run.score for run in runs]),
            keep_probability=np.concatenate([run.keep_probability for run in runs]),
            weight=np.concatenate([run.weight for run in runs]),
        )


class _Recording:
    """Notes (score, keep probability, weight) of each event; goes before a filter."""

    def initialize(self) -> None:
        """Forget what was noted."""
        super().initialize()  # type: ignore[misc]
        self.notes: list[tuple[float, float, float]] = []

    def judge(self, events: Events) -> tuple[Scores, Decision]:
        """Return what the filter says."""
        scores, decision = super().judge(events)  # type: ignore[misc]
        column = self.settings.skims[0].column  # type: ignore[attr-defined]
        self.notes.append(
            (
                float(scores.scores[0, column]),
                float(decision.keep_probability[0, 0]),
                float(decision.weight[0, 0]),
            )
        )
        return scores, decision


class _RecordingFilter(_Recording, SmartFilter):
    pass


class _RecordingBlockFilter(_Recording, BlockFilter):
    pass


def run(
    chain: ChainSettings,
    n_events: int,
    *,
    seed: int,
    filtering: FilterSettings | None = None,
) -> ChainRun:
    """Generate events, filter them if asked to, simulate, reconstruct and select.

    Parameters
    ----------
    chain : ChainSettings
    n_events : int
    seed : int
        Seed of the generator; the same seed gives the same events and, for those that
        are simulated, the same skim decisions, with and without a filter.
    filtering : FilterSettings, optional
        No filter by default.

    Raises
    ------
    SmartFilterError
        What the stages raise.
    """
    path = framework.create_path()
    modules: dict[str, Module] = {
        "generation": GeneratorModule(chain.event_type, n_events, seed=seed)
    }
    recorder: Any = None
    if filtering is not None:
        recorder = modules["filter"] = _make_filter(chain, filtering)
    modules["detector"] = DetectorModule(step=chain.step, seed=chain.detector_seed)
    modules["reconstruction"] = ReconstructionModule()
    modules["skim"] = SkimModule([get_skim(chain.skim)])
    for module in modules.values():
        path.add_module(module)
    label = f"passes_{chain.skim}"
    collector = CollectorModule([label])
    path.add_module(collector)
    _process_with_times(path)
    columns = collector.columns
    rows = columns["entry"].astype(np.int64)
    passes = np.zeros(n_events, dtype=bool)
    passes[rows] = columns[label] > 0
    notes = np.array(
        [(np.nan, 1.0, 1.0)] * n_events if recorder is None else recorder.notes
    ).reshape(n_events, 3)
    return ChainRun(_read_times(modules, rows, n_events, filtering), passes, *notes.T)


def _make_filter(chain: ChainSettings, filtering: FilterSettings) -> Module:
    kind = _RecordingBlockFilter if filtering.blocks else _RecordingFilter
    module: Module = kind(
        skims=[chain.skim],
        event_type=chain.event_type,
        model=filtering.scorer,
        mode=filtering.mode,
        threshold=filtering.threshold,
        seed=filtering.seed,
        debug=filtering.debug,
    )
    module.set_name("SmartFilter")
    module.if_value("==0", framework.create_path())
    return module


def _process_with_times(path: framework.Path) -> None:
    before = framework.statistics.keep_times
    framework.statistics.keep_times = True
    try:
        framework.process(path)
    finally:
        framework.statistics.keep_times = before


def _read_times(
    modules: Mapping[str, Module],
    rows: NDArray[np.int64],
    n_events: int,
    filtering: FilterSettings | None,
) -> dict[str, NDArray[np.float64]]:
    """Return the seconds per event of each stage; ``rows`` reached the end."""
    shared = {"generation"}
    if filtering is not None and filtering.blocks:
        shared.add("filter")
    times = {stage: np.zeros((n_events, len(CLOCKS))) for stage in STAGES}
    for stage, module in modules.items():
        found = framework.statistics.get(module).get_event_times() / 1e9
        if stage in shared:
            times[stage][:] = found.sum(axis=0) / max(n_events, 1)
        elif stage == "filter":
            times[stage][:] = found
        else:
            times[stage][rows] = found
    return times
