"""Generate and simulate in bulk: labelled data sets, in parallel and with resume."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smartfilter import __version__
from smartfilter.errors import UsageError
from smartfilter.events import encode_event_type
from smartfilter.io import LabelledWriter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EVENTS_PER_FILE", "Part", "plan_parts", "produce", "produce_part"]

EVENTS_PER_FILE = 10_000
"""Events per file: the unit of work, and of what a resumed production makes again."""

BLOCK = 2_000
"""Events that are in memory at once."""


@dataclass(frozen=True)
class Part:
    """One file of a production; the same part always holds the same events.

    Parameters
    ----------
    path : str
        Where the file will be.
    event_type : str
    index : int
        Number of the part; the run number of its events is one more.
    n_events : int
    seed : int
        Seed of the whole production.
    step : float
        Longest step in the detector, cm.
    decay_table : str
        See `smartfilter.pipeline.generator.Generator`.
    """

    path: str
    event_type: str
    index: int
    n_events: int
    seed: int
    step: float
    decay_table: str

    @property
    def generator_seed(self) -> int:
        """Seed of the part's generator, different for each part and event type."""
        return self.seed * 1_000_003 + self.index


def plan_parts(
    folder: Path,
    *,
    event_type: str,
    n_events: int,
    seed: int = 1,
    step: float = 1.0,
    decay_table: str = "belle2",
) -> list[Part]:
    """Return the parts of a production of ``n_events`` events."""
    encode_event_type(event_type)
    return [
        Part(
            path=str(folder / f"{event_type}-{index:05d}.parquet"),
            event_type=event_type,
            index=index,
            n_events=min(EVENTS_PER_FILE, n_events - first),
            seed=seed,
            step=step,
            decay_table=decay_table,
        )
        for index, first in enumerate(range(0, n_events, EVENTS_PER_FILE))
    ]


def produce_part(part: Part) -> int:
    """Generate and label the events of one part; return their number."""
    from smartfilter.pipeline.generator import Generator
    from smartfilter.pipeline.simulation import label

    generator = Generator(
        part.event_type,
        seed=part.generator_seed,
        run=part.index + 1,
        decay_table=part.decay_table,
    )
    provenance = {
        "command": "produce",
        "version": __version__,
        "n_generated": part.n_events,
        **asdict(part),
        "path": Path(part.path).name,
    }
    writer = None
    try:
        for first in range(0, part.n_events, BLOCK):
            events = generator.generate(min(BLOCK, part.n_events - first))
            labelled = label(events, step=part.step, seed=part.seed)
            if writer is None:
                writer = LabelledWriter(
                    part.path,
                    tuple(labelled.labels),
                    tuple(labelled.variables),
                    provenance,
                    force=True,
                )
            writer.write(labelled)
        if writer is not None:
            writer.close()
    finally:
        if writer is not None:
            writer.discard()
    return part.n_events


def produce(
    parts: list[Part],
    *,
    workers: int = 1,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Make the parts that are not there yet; return the number of events made.

    A part is complete or absent, so that an interrupted production goes on where it
    stopped. The events do not depend on the number of workers.

    Raises
    ------
    UsageError
        If there is less than one worker.
    """
    if workers < 1:
        raise UsageError(f"workers: expected at least 1, got {workers}")
    missing = [part for part in parts if not Path(part.path).exists()]
    report = advance or (lambda _: None)
    report(sum(p.n_events for p in parts) - sum(p.n_events for p in missing))
    if workers == 1:
        for part in missing:
            report(produce_part(part))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            tasks = [pool.submit(produce_part, part) for part in missing]
            try:
                for task in as_completed(tasks):
                    report(task.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return sum(part.n_events for part in missing)
