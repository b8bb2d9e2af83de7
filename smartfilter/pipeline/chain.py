"""Run the standalone chain, with or without the filter, and keep each event's times."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter import framework
from smartfilter.errors import UsageError, describe_unknown
from smartfilter.module import SmartFilter
from smartfilter.pipeline.block_filter import BlockFilter
from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.modules import (
    BLOCK_SIZE,
    CollectorModule,
    DetectorModule,
    GeneratorModule,
    ReconstructionModule,
    SkimModule,
)
from smartfilter.pipeline.skims import get_skim

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from smartfilter.decision import Decision
    from smartfilter.events import Events
    from smartfilter.framework import Module
    from smartfilter.pipeline.simulation import AnyDetector
    from smartfilter.scoring import Scorer, Scores

__all__ = [
    "CLOCKS",
    "DETECTORS",
    "STAGES",
    "ChainRun",
    "ChainSettings",
    "FilterSettings",
    "open_detector",
    "run",
]

STAGES = ("generation", "filter", "detector", "reconstruction", "skim")
"""Stages of the chain in order."""

CLOCKS = ("wall", "cpu")
"""Clocks; the position is the last axis of `ChainRun.times`."""


DETECTORS = ("mock", "geant4")
"""What simulates; see `open_detector`."""


@dataclass(frozen=True)
class ChainSettings:
    """What is generated and how it is simulated.

    Parameters
    ----------
    event_type : str
    skim : str
        Skim that counts.
    step : float
        Longest step in the mock detector, cm.
    seed : int
        Seed of detector and sampling.
    detector : str
        One of `DETECTORS`.
    decay_table : str
        One of `smartfilter.pipeline.generator.DECAY_TABLES`.
    """

    event_type: str
    skim: str
    step: float
    seed: int = 0
    detector: str = "mock"
    decay_table: str = "belle2"


@dataclass(frozen=True)
class FilterSettings:
    """How the filter decides.

    Parameters
    ----------
    mode : str
    threshold : float, optional
        By default the model's.
    debug : bool
        Keep everything.
    blocks : bool
        Score a whole block of the generator at once.
    """

    mode: str = "threshold"
    threshold: float | None = None
    debug: bool = False
    blocks: bool = False


@dataclass(frozen=True, eq=False)
class ChainRun:
    """What happened to each generated event, and what it cost.

    Parameters
    ----------
    times : mapping of str to ndarray of float64, each of shape (n_events, 2)
        Seconds per stage of `STAGES` on the clocks of `CLOCKS`; 0 where a stage did not
        see the event. What is done once per block is shared equally.
    passes : ndarray of bool, shape (n_events,)
        Passes the skim; false where skipped.
    score, logit, keep_probability, weight : ndarray of float64, shape (n_events,)
        What the filter said; NaN, NaN, 1 and 1 without a filter. A skipped event has
        weight 0; NaN is also the score of an event that cannot be scored.
    draw : ndarray of float64, shape (n_events,)
        The random number that sampling compares with; NaN where skipped.
    """

    times: Mapping[str, NDArray[np.float64]]
    passes: NDArray[np.bool_]
    score: NDArray[np.float64]
    logit: NDArray[np.float64]
    keep_probability: NDArray[np.float64]
    weight: NDArray[np.float64]
    draw: NDArray[np.float64]

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
        columns = {
            field.name: np.concatenate([getattr(run, field.name) for run in runs])
            for field in fields(cls)
            if field.name != "times"
        }
        times = {s: np.concatenate([run.times[s] for run in runs]) for s in STAGES}
        return cls(times=times, **columns)


class _Recording:
    """Notes what is said of each event; goes before a filter."""

    def initialize(self) -> None:
        """Forget what was noted."""
        super().initialize()  # type: ignore[misc]
        self._notes: list[tuple[Scores, Decision]] = []

    def judge(self, events: Events) -> tuple[Scores, Decision]:
        """Return what the filter says."""
        said: tuple[Scores, Decision] = super().judge(events)  # type: ignore[misc]
        self._notes.append(said)
        return said

    def list_notes(self) -> list[tuple[float, float, float, float]]:
        """Return score, logit, keep probability and weight of each event."""
        column = self.settings.skims[0].column  # type: ignore[attr-defined]
        return [
            (
                float(scores.scores[0, column]),
                float(scores.logits[0, column]),
                float(decision.keep_probability[0, 0]),
                float(decision.weight[0, 0]),
            )
            for scores, decision in self._notes
        ]


class _RecordingFilter(_Recording, SmartFilter):
    pass


class _RecordingBlockFilter(_Recording, BlockFilter):
    pass


@contextmanager
def open_detector(chain: ChainSettings) -> Iterator[AnyDetector]:
    """Provide the detector of the settings; processes that it starts end with it.

    Raises
    ------
    UsageError
        If the detector is unknown or a setting of it makes no sense.
    MissingPackageError
        If geant4-pybind is needed and not installed.
    """
    if chain.detector == "mock":
        yield Detector(step=chain.step, seed=chain.seed)
    elif chain.detector == "geant4":
        from smartfilter.pipeline.geant4 import Geant4Detector

        with Geant4Detector(seed=chain.seed) as detector:
            yield detector
    else:
        raise UsageError(describe_unknown("detector", chain.detector, DETECTORS))


def run(
    chain: ChainSettings,
    n_events: int,
    *,
    seed: int,
    detector: AnyDetector,
    filtering: FilterSettings | None = None,
    scorer: Scorer | None = None,
) -> ChainRun:
    """Generate events, filter them if asked to, simulate, reconstruct and select.

    Parameters
    ----------
    chain : ChainSettings
    n_events : int
    seed : int
        Seed of the generator; the same seed gives the same events and, for those that
        are simulated, the same skim decisions, with and without a filter.
    detector : AnyDetector
        From `open_detector`.
    filtering : FilterSettings, optional
        No filter by default.
    scorer : Scorer, optional
        Of the filter.

    Raises
    ------
    SmartFilterError
        What the stages raise.
    """
    path = framework.create_path()
    generator = GeneratorModule(
        chain.event_type, n_events, seed=seed, decay_table=chain.decay_table
    )
    modules: dict[str, Module] = {"generation": generator}
    recorder: Any = None
    if filtering is not None:
        recorder = modules["filter"] = _make_filter(chain, filtering, scorer)
    modules["detector"] = DetectorModule(detector=detector)
    modules["reconstruction"] = ReconstructionModule()
    modules["skim"] = SkimModule([get_skim(chain.skim)])
    for module in modules.values():
        path.add_module(module)
    label = f"passes_{chain.skim}"
    collector = CollectorModule([label], seed=chain.seed)
    path.add_module(collector)
    _process_with_times(path)
    columns = collector.columns
    rows = columns["entry"].astype(np.int64)
    passes = np.zeros(n_events, dtype=bool)
    passes[rows] = columns[label] > 0
    draw = np.full(n_events, np.nan)
    draw[rows] = columns["draw"]
    notes = np.array(
        [(np.nan, np.nan, 1.0, 1.0)] * n_events
        if recorder is None
        else recorder.list_notes()
    ).reshape(n_events, 4)
    shared = {"generation"} | ({"filter"} if filtering and filtering.blocks else set())
    times = _read_times(modules, rows, n_events, shared)
    score, logit, keep_probability, weight = notes.T
    return ChainRun(times, passes, score, logit, keep_probability, weight, draw)


def _make_filter(
    chain: ChainSettings, filtering: FilterSettings, scorer: Scorer | None
) -> Module:
    kind = _RecordingBlockFilter if filtering.blocks else _RecordingFilter
    module: Module = kind(
        skims=[chain.skim],
        event_type=chain.event_type,
        model=scorer,
        mode=filtering.mode,
        threshold=filtering.threshold,
        seed=chain.seed,
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
    shared: AbstractSet[str],
) -> dict[str, NDArray[np.float64]]:
    """Return the seconds per event of each stage.

    ``rows`` reached the end; what the ``shared`` stages do per block is shared equally.
    The CPU time of the detector's own processes is the detector's.
    """
    times = {stage: np.zeros((n_events, len(CLOCKS))) for stage in STAGES}
    for stage, module in modules.items():
        found = framework.statistics.get(module).get_event_times() / 1e9
        if isinstance(module, DetectorModule) and module.process_times:
            found[:, CLOCKS.index("cpu")] += np.array(module.process_times) / 1e9
        if stage in shared:
            times[stage][:] = _share_blocks(found, n_events)
        elif stage == "filter":
            times[stage][:] = found
        else:
            times[stage][rows] = found
    return times


def _share_blocks(found: NDArray[np.float64], n_events: int) -> NDArray[np.float64]:
    """Return the times of each event with those of whole blocks shared equally.

    The first event of a block has the block's time; so has the call that finds the end.
    """
    times = found[:n_events].copy()
    if n_events == 0:
        return times
    first = np.arange(n_events) % BLOCK_SIZE == 0
    blocks = times[first].sum(axis=0) + found[n_events:].sum(axis=0)
    times[first] = times[~first].mean(axis=0) if not first.all() else 0.0
    blocks -= times[first].sum(axis=0)
    times += blocks / n_events
    return times
