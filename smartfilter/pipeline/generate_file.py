"""Generate a file of events: on any workers, and with resume."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.campaign import run_pieces
from smartfilter.errors import UsageError
from smartfilter.io import MdstWriter
from smartfilter.io.parts import Part, PartStore, pack_events, unpack_events
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.labelling import list_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from smartfilter.distributed import Workers

__all__ = ["Block", "GenerationTask", "block_seed", "generate_file", "plan_blocks"]

EVENTS_PER_BLOCK = 10_000
"""Events that one generator makes; part of what a seed means."""


@dataclass(frozen=True)
class Block:
    """Consecutive events, made by one generator.

    Parameters
    ----------
    index : int
        Number of the block.
    first : int
        Number of events before it.
    n_events : int
    """

    index: int
    first: int
    n_events: int
    file: str = ""

    @property
    def key(self) -> str:
        """Tells blocks apart."""
        return f"{self.index:06d}"


def plan_blocks(n_events: int) -> list[Block]:
    """Return the blocks of a run of ``n_events`` events."""
    return [
        Block(index, first, min(EVENTS_PER_BLOCK, n_events - first))
        for index, first in enumerate(range(0, n_events, EVENTS_PER_BLOCK))
    ]


def block_seed(seed: int, index: int) -> int:
    """Return the seed of a block's generator; that of the first is the run's."""
    if index == 0:
        return seed
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


@dataclass(frozen=True)
class GenerationTask:
    """What is done for every block.

    Parameters
    ----------
    event_type, seed, experiment, run, first_event, decay_table
        As of `smartfilter.pipeline.generator.Generator`; each block has a seed of its own,
        see `block_seed`.
    """

    event_type: str
    seed: int
    experiment: int = 0
    run: int = 1
    first_event: int = 1
    decay_table: str = "belle2"

    def __call__(self, block: Block) -> Part:
        """Return the events of a block."""
        generator = Generator(
            self.event_type,
            seed=block_seed(self.seed, block.index),
            experiment=self.experiment,
            run=self.run,
            first_event=self.first_event + block.first,
            decay_table=self.decay_table,
        )
        events = generator.generate(block.n_events)
        return Part(pack_events(events), {"file": events.file})


def _check_numbers(task: GenerationTask, n_events: int) -> None:
    """Refuse what basf2's EventMetaData cannot hold: int run, unsigned int event."""
    last = task.first_event + n_events - 1
    for name, number, kind in (("run", task.run, np.int32), ("event", last, np.uint32)):
        limit = np.iinfo(kind).max
        if number > limit:
            raise UsageError(
                f"{name} number: expected at most {limit}, got {number}, which an mdst "
                "file cannot hold; begin with a smaller one"
            )


def generate_file(
    output: Path,
    n_events: int,
    *,
    task: GenerationTask,
    workers: Workers,
    provenance: Mapping[str, Any],
    force: bool = False,
    resume: bool = False,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Generate events and write them in the layout of an mdst file.

    The events do not depend on the workers, nor on whether the run was interrupted.

    Parameters
    ----------
    output : Path
        A ROOT file.
    n_events : int
    task : GenerationTask
    workers : Workers
    provenance : mapping
        Kept in the file.
    force : bool
        Whether an existing file may be replaced.
    resume : bool
        Go on with what an interrupted run of the same task left.
    advance : callable, optional
        Told the number of events done since its last call.

    Returns
    -------
    int
        Events that an earlier run had generated.

    Raises
    ------
    UsageError
        If the file cannot be written or cannot hold the run or event numbers, or what is
        left is of another run.
    """
    _check_numbers(task, n_events)
    inputs = {
        "command": "generate",
        "n_events": n_events,
        "events_per_block": EVENTS_PER_BLOCK,
        "versions": list_versions(),
        **asdict(task),
    }
    with PartStore(output, inputs, resume=resume, force=force) as store:
        campaign = run_pieces(
            plan_blocks(n_events), task, workers=workers, store=store, advance=advance
        )
        with MdstWriter(output, provenance=provenance, force=force) as writer:
            for part in campaign.parts():
                writer.write(unpack_events(part.arrays, part.document["file"]))
    return campaign.n_resumed
