"""Parts of the comparison of networks: the data, one training, speed on one core."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smartfilter.errors import UsageError
from smartfilter.graphs import GraphBatch
from smartfilter.io import open_events
from smartfilter.scoring import Scorer
from smartfilter.training.config import TrainingConfig, read_config
from smartfilter.training.dataset import GraphDataset, load_dataset
from smartfilter.training.labels import Totals
from smartfilter.training.split import SPLITS, Split
from smartfilter.training.trainer import train_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

__all__ = [
    "Run",
    "Settings",
    "load_data",
    "make_config",
    "measure_rates",
    "prepare_data",
    "read_result",
    "train_run",
    "write_json",
]

PRESET = "smart_background"
"""One preparation for all networks."""

BLOCK = 500
"""Events that the networks score when they are timed."""

ROUNDS = 7
"""Passes over the block; the median counts."""

_TENSORS = (
    "x",
    "pdg",
    "mother",
    "offsets",
    "event_type",
    "passes",
    "weight",
    "split",
)


@dataclass(frozen=True)
class Settings:
    """What all trainings have in common.

    Parameters
    ----------
    skim : str
    minutes : float
        Budget of each training.
    training_events : int
        Half of them pass the skim.
    failing_share : float
        Share of the failing training events that is held in memory.
    split : tuple of float
        Shares of training, validation and test.
    epochs, patience : int
        Most epochs, and epochs without a better validation loss.
    max_events : int or None
        Events to read.
    """

    skim: str
    minutes: float
    training_events: int
    failing_share: float
    split: tuple[float, float, float]
    epochs: int
    patience: int
    max_events: int | None


@dataclass(frozen=True)
class Run:
    """One training: a shipped configuration and a seed."""

    name: str
    seed: int

    def place(self, folder: Path) -> Path:
        """Return where it goes, without a suffix."""
        return folder / "runs" / f"{self.name.replace('/', '--')}-seed{self.seed}"


def make_config(run: Run, settings: Settings) -> TrainingConfig:
    """Return the configuration of a run.

    Network, batch size, learning rate, loss and regularisation are those of the shipped
    configuration; data, schedule and end are the same for all.
    """
    published = read_config(run.name)
    return read_config(
        run.name,
        preset=PRESET,
        skims={settings.skim: published.skims.get(settings.skim)},
        epochs=settings.epochs,
        schedule="plateau",
        plateau_factor=0.5,
        plateau_patience=2,
        plateau_threshold=1e-4,
        min_learning_rate=0.0,
        stop_patience=settings.patience,
        stop_min_delta=0.0,
        max_minutes=settings.minutes,
        training_events=settings.training_events,
        events_per_epoch=None,
        failing_per_passing=1.0,
        failing_share=settings.failing_share,
        class_balance=1.0,
        split_fractions=settings.split,
        split_seed=0,
        max_events=settings.max_events,
        retention_rate={},
        simulation_cost=100.0,
        seed=run.seed,
        threads=1,
    )


def prepare_data(
    files: Sequence[str],
    folder: Path,
    settings: Settings,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Read and prepare the events once; return what the data are.

    Raises
    ------
    UsageError
        If the folder holds other data.
    """
    path, note = folder / "dataset.pt", folder / "dataset.json"
    source = _identify(files, settings)
    if note.exists():
        stored: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if stored["source"] != source:
            raise UsageError(
                f"data: expected those of {path}, got other files or settings; "
                "name another folder"
            )
        return stored
    split = Split(settings.split, 0)
    dataset = load_dataset(
        files,
        skims=(settings.skim,),
        preset=PRESET,
        split=split,
        max_events=settings.max_events,
        failing_share=settings.failing_share,
        advance=advance,
    )
    totals = dataset.totals
    torch.save(
        {name: getattr(dataset, name) for name in _TENSORS}
        | {"events": torch.from_numpy(totals.events)}
        | {"passing": torch.from_numpy(totals.passing)},
        path,
    )
    document = {
        "source": source,
        "files": list(dataset.files),
        "n_unscorable": dataset.n_unscorable,
        "n_generated": float(totals.events.sum()),
        "retention_rate": float(totals.passing.sum() / totals.events.sum()),
        "n_events": {part: len(dataset.find(part)) for part in SPLITS},
        "n_passing": {
            part: int(dataset.passes[dataset.find(part)].sum()) for part in SPLITS
        },
    }
    write_json(document, note)
    return document


def _identify(files: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Return what the prepared data depend on."""
    return {
        "files": list(files),
        "n_events": open_events(list(files)).n_events,
        "skim": settings.skim,
        "split": list(settings.split),
        "failing_share": settings.failing_share,
        "max_events": settings.max_events,
    }


def load_data(folder: Path, settings: Settings) -> GraphDataset:
    """Return the prepared events; processes share the memory."""
    stored = torch.load(folder / "dataset.pt", mmap=True, weights_only=True)
    document = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    return GraphDataset(
        **{name: stored[name] for name in _TENSORS},
        skims=(settings.skim,),
        totals=Totals(stored["events"].numpy(), stored["passing"].numpy()),
        files=tuple(document["files"]),
        n_unscorable=document["n_unscorable"],
    )


def read_result(run: Run, folder: Path, settings: Settings) -> dict[str, Any] | None:
    """Return the result of a finished run with these settings, else None.

    A training that stopped before its budget was spent counts for any larger one.
    """
    path = run.place(folder).with_suffix(".json")
    if not path.exists() or not path.with_suffix(".pt").exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    spent, config = result["config"], make_config(run, settings).model_dump(mode="json")
    if result["stopped"] != "minutes" and spent["max_minutes"] < settings.minutes:
        spent = {**spent, "max_minutes": settings.minutes}
    return result if spent == config else None


def train_run(run: Run, folder: Path, settings: Settings) -> Run:
    """Train and assess one network; write model file, history and result."""
    config = make_config(run, settings)
    document = config.model_dump(mode="json")
    place = run.place(folder)
    place.parent.mkdir(exist_ok=True)
    digest = _identify_training(document)
    result = train_on(
        load_data(folder, settings),
        place.with_suffix(".pt"),
        config,
        history_file=place.with_suffix(".csv"),
        checkpoint=place.with_name(f"{place.name}-{digest}.ckpt"),
        resume=True,
    )
    record = result.info.training
    write_json(
        {
            **asdict(run),
            "network": result.info.network,
            "n_parameters": result.info.n_parameters,
            "digest": result.digest,
            "metrics": result.assessment.main[settings.skim].to_metrics(),
            "n_events": record["n_events"],
            "epochs": record["epochs"],
            "best_epoch": record["best_epoch"],
            "stopped": record["stopped"],
            "minutes": result.history[-1]["seconds"] / 60.0,
            "history": result.history,
            "config": document,
        },
        place.with_suffix(".json"),
    )
    return run


def _identify_training(document: dict[str, Any]) -> str:
    """Return what tells checkpoints apart; a larger budget goes on from a smaller one."""
    others = {name: document[name] for name in document if name != "max_minutes"}
    return sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()[:8]


def write_json(document: dict[str, Any], path: Path) -> None:
    """Write a document, complete or not at all."""
    temporary = path.with_suffix(".part")
    temporary.write_text(
        json.dumps(document, indent=1, allow_nan=False), encoding="utf-8"
    )
    temporary.replace(path)


def measure_rates(models: dict[str, Path], dataset: GraphDataset) -> dict[str, float]:
    """Return events per second of each network, one thread, in this process.

    All see the same test events in the batches that scoring takes, in turn, so that a
    busy machine is busy for all. Preparation, the same for all, does not count.
    """
    graph = _take_block(dataset.find("test")[:BLOCK], dataset)
    scorers = {name: Scorer(path, device="cpu") for name, path in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for k in range(ROUNDS + 1):
            for name, scorer in scorers.items():
                start = time.perf_counter()
                scorer.score_graph(graph)
                if k:
                    seconds[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return {n: len(graph) / float(np.median(values)) for n, values in seconds.items()}


def _take_block(index: Tensor, dataset: GraphDataset) -> GraphBatch:
    """Return events of the data set as prepared events."""
    batch = dataset.gather(index)
    return GraphBatch(
        *(column.numpy() for column in batch),
        reason=np.zeros(len(index), dtype=np.int8),
        row=np.arange(len(batch.x)),
    )
