"""Score files of events into a score file: on any workers, and with resume."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartfilter.bulk import Summary, judge, log_unscorable, score_chunk
from smartfilter.campaign import OnEvents, run_pieces
from smartfilter.distributed import remember
from smartfilter.errors import InputError, ModelFileError
from smartfilter.io.output import refuse_inputs
from smartfilter.io.parts import Part, PartStore
from smartfilter.io.scores import ScoreWriter, check_suffix
from smartfilter.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from smartfilter.decision import DecisionSettings
    from smartfilter.distributed import Workers
    from smartfilter.events import Events
    from smartfilter.io import EventSource

__all__ = ["EVENTS_PER_CHUNK", "ScoreRun", "ScoreTask", "score_files"]

EVENTS_PER_CHUNK = 5_000
"""Events read and scored at once; one more chunk is read ahead. See benchmarks/README.md."""


@dataclass(frozen=True)
class ScoreTask:
    """What is done to every chunk; a worker loads the model once.

    Parameters
    ----------
    model : str
        Path of the model file.
    digest : str
        Of the model file; a worker that finds another one refuses it.
    device : str
    batch_size : int or None
    settings : tuple of DecisionSettings
    event_type : str or None
    strict : bool
    keep_rows : bool
        Whether the part holds the rows of the score file, or counts alone.
    """

    model: str
    digest: str
    device: str
    batch_size: int | None
    settings: tuple[DecisionSettings, ...]
    event_type: str | None = None
    strict: bool = False
    keep_rows: bool = True

    def load_scorer(self) -> Scorer:
        """Return the scorer; see `Scorer` for the errors."""
        scorer = Scorer(self.model, device=self.device, batch_size=self.batch_size)
        if scorer.digest != self.digest:
            raise ModelFileError(
                f"model file '{self.model}': expected digest {self.digest[:16]}, got "
                f"{scorer.digest[:16]}; it changed since the run began, or workers see "
                "another file of that name"
            )
        return scorer

    def use_scorer(self, make: Callable[[], Scorer]) -> Scorer:
        """Return the scorer of this process, made if there is none."""
        key = (self.model, self.digest, self.device, self.batch_size)
        return remember("scorer", key, make, shared=True)

    def __call__(self, events: Events) -> Part:
        """Return rows and counts of a chunk."""
        scored = score_chunk(
            events,
            scorer=self.use_scorer(self.load_scorer),
            settings=self.settings,
            event_type=self.event_type,
            strict=self.strict,
        )
        columns = scored.columns if self.keep_rows else {}
        document = {
            "file": events.file,
            "counts": scored.summary.to_metadata(),
            "unscorable": scored.unscorable,
        }
        return Part({k: v for k, v in columns.items() if k != "file"}, document)

    def describe(self) -> dict[str, Any]:
        """Return what the rows follow from; JSON values."""
        return {
            "model_digest": self.digest,
            "device": self.device,
            "batch_size": self.batch_size,
            "settings": [repr(settings) for settings in self.settings],
            "event_type": self.event_type,
        }


@dataclass
class ScoreRun:
    """What `score_files` did.

    Parameters
    ----------
    summary : Summary
        Of all events in the output.
    skipped : dict of str to str
        Files that cannot be read, and why.
    n_resumed : int
        Events that an earlier run had scored.
    """

    summary: Summary
    skipped: dict[str, str] = field(default_factory=dict)
    n_resumed: int = 0

    @property
    def events_per_second(self) -> float:
        """Events of this run, read to decided, per second."""
        n_events = max(self.summary.n_events - self.n_resumed, 0)
        return n_events / self.summary.seconds if self.summary.seconds > 0 else 0.0


def score_files(
    source: EventSource,
    *,
    scorer: Scorer,
    settings: tuple[DecisionSettings, ...],
    workers: Workers,
    describe: Callable[[ScoreRun], dict[str, Any]],
    output: Path | None = None,
    device: str = "auto",
    event_type: str | None = None,
    strict: bool = False,
    force: bool = False,
    resume: bool = False,
    skip_bad_files: bool = False,
    advance: Callable[[int], None] | None = None,
) -> ScoreRun:
    """Score files chunk by chunk; one row per event, in order, into a score file.

    Rows do not depend on the workers, nor on whether the run was interrupted.

    Parameters
    ----------
    source : EventSource
    scorer : Scorer
        Used here; its model file is what workers elsewhere load.
    settings : tuple of DecisionSettings
        From `DecisionSettings.for_each_type`.
    workers : Workers
    describe : callable
        Returns the metadata of the score file.
    output : Path, optional
        ``.parquet`` or ``.root``.
    device : str
        What the scorer was asked for: workers choose by themselves what ``auto`` is.
    event_type, strict
        As of `smartfilter.bulk.score_events`.
    force : bool
        Whether an existing output may be replaced.
    resume : bool
        Go on with what an interrupted run of the same files, model and settings left.
    skip_bad_files : bool
        Leave out files that turn out to be unreadable, all of their events.
    advance : callable, optional
        Told the number of events done since its last call.

    Raises
    ------
    InputError
        If a file cannot be read, no event can be scored or, with ``strict``, one cannot.
    UsageError
        If the output cannot be written or is an input, or there is nothing to resume
        from that fits.
    """
    task = ScoreTask(
        str(Path(scorer.path).absolute()),
        scorer.digest,
        device,
        scorer.batch_size,
        settings,
        event_type,
        strict=strict,
        keep_rows=output is not None,
    )
    task.use_scorer(lambda: scorer)
    skims = tuple(skim.name for skim in settings[-1].skims)
    start = time.perf_counter()
    with ExitStack() as stack:
        store = None
        if output is not None:
            check_suffix(output)
            refuse_inputs(output, source.paths)
            inputs = {"command": "score", **source.describe(), **task.describe()}
            store = stack.enter_context(
                PartStore(output, inputs, resume=resume, force=force)
            )
        campaign = run_pieces(
            source.chunks(),
            OnEvents(task),
            workers=workers,
            store=store,
            skip_bad_files=skip_bad_files,
            advance=advance,
            report=lambda document: log_unscorable(document.pop("unscorable")),
        )
        run = ScoreRun(
            Summary(skims), {**source.skipped, **campaign.skipped}, campaign.n_resumed
        )
        for document in campaign.documents():
            run.summary.add_metadata(document["counts"])
        run.summary.seconds = time.perf_counter() - start
        try:
            judge(run.summary)
        except InputError:
            if store is not None:
                store.clear()
            raise
        if output is not None:
            with ScoreWriter(output, skims, force=force) as writer:
                for part in campaign.parts():
                    writer.write({"file": part.document["file"], **part.arrays})
                writer.close(describe(run))
    return run
