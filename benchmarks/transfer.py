r"""Rare skims with few passing events: from scratch, or from a network of other skims.

A base network is trained on all skims but the rare one. Then, for several numbers of
passing events of the rare skim, with the failing events generated together with them, a
network is trained from scratch and one that starts from the base. All are judged by the
same test events. A run that was stopped goes on with the same command.

    python benchmarks/transfer.py 'datasets/mixed-000[0-2]?.parquet' --skim BtoXgamma \
      --test-failing 10000 -o output/transfer --figure docs/figures/transfer.png
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import torch

from smartfilter.cli.terminal import show_progress
from smartfilter.errors import InputError, SmartFilterError, UsageError
from smartfilter.io import open_events
from smartfilter.model_file import read_model_info
from smartfilter.pdg import load_vocabulary
from smartfilter.plots.style import COLOURS, use_style
from smartfilter.presets import get_preset
from smartfilter.speedup import find_best_threshold, threshold_speedup
from smartfilter.training.config import read_config
from smartfilter.training.dataset import load_dataset
from smartfilter.training.evaluation import area_under_curve
from smartfilter.training.fit import fit, predict
from smartfilter.training.split import SPLITS, Split
from smartfilter.training.trainer import train_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.dataset import GraphDataset

STARTS = ("scratch", "base")
LEFT_OUT = -1
"""In place of the part of an event that no training of this size sees."""


def limit_passing(dataset: GraphDataset, n_passing: int, seed: int) -> GraphDataset:
    """Return the data set with fewer training and validation events.

    Events come in random order until the wanted number passes; of these, training and
    validation get their shares. The test events stay.

    Parameters
    ----------
    dataset : GraphDataset
        With one skim.
    n_passing : int
        Passing events of training and validation together.
    seed : int
        Of the order: a larger number contains the events of a smaller one.

    Raises
    ------
    InputError
        If fewer events pass.
    """
    part = torch.full_like(dataset.split, LEFT_OUT)
    part[dataset.find("test")] = SPLITS.index("test")
    pools = {name: dataset.find(name) for name in ("train", "validation")}
    total = sum(len(pool) for pool in pools.values())
    generator = torch.Generator().manual_seed(seed)
    for name, pool in pools.items():
        order = pool[torch.randperm(len(pool), generator=generator)]
        wanted = max(1, round(n_passing * len(pool) / total))
        passed = torch.cumsum(dataset.passes[order, 0], 0)
        if int(passed[-1]) < wanted:
            raise InputError(
                f"passing events for {name}: expected at least {wanted} of "
                f"'{dataset.skims[0]}', got {int(passed[-1])}; add data"
            )
        n_events = int(torch.searchsorted(passed, wanted)) + 1
        part[order[: max(n_events, 2)]] = SPLITS.index(name)
    return replace(dataset, split=part)


def choose_test(dataset: GraphDataset, n_failing: int) -> Tensor:
    """Return all passing test events and at most this number of failing ones."""
    index = dataset.find("test")
    passes = dataset.passes[index, 0]
    failing = index[~passes]
    order = torch.randperm(len(failing), generator=torch.Generator().manual_seed(0))
    return torch.cat([index[passes], failing[order[:n_failing]]]).sort().values


def rate(
    logit: NDArray[np.float32], passes: NDArray[np.bool_], retention_rate: float
) -> dict[str, float]:
    """Return the AUC, its error and the speedup (A) with t_s = 100 t_g.

    The threshold is chosen on one half of the events and used on the other.
    """
    auc, error = area_under_curve(logit, passes)
    half = np.arange(len(logit)) % 2 == 0
    speedups = []
    for chosen in (half, ~half):
        best = find_best_threshold(
            logit[chosen],
            passes[chosen],
            retention_rate=retention_rate,
            t_g=1.0,
            t_s=100.0,
        )
        kept, y = logit[~chosen] >= best.threshold, passes[~chosen]
        tpr, fpr = float(kept[y].mean()), float(kept[~y].mean())
        speedups.append(
            float(
                threshold_speedup(
                    tpr=tpr, fpr=fpr, retention_rate=retention_rate, t_g=1.0, t_s=100.0
                )
            )
        )
    return {"auc": auc, "auc_error": error, "speedup": float(np.mean(speedups))}


def train_base(
    dataset: GraphDataset, skim: str, path: Path, config: TrainingConfig
) -> None:
    """Train a network on all other skims, unless the file is there.

    Raises
    ------
    UsageError
        If the network knows the rare skim.
    """
    if not path.exists():
        others = [name for name in dataset.skims if name != skim]
        checkpoint = path.with_suffix(".ckpt")
        train_on(
            dataset.select_skims(others),
            path,
            config.model_copy(update={"skims": {}}),
            checkpoint=checkpoint,
            resume=checkpoint.exists(),
            progress=True,
        )
    info, _ = read_model_info(path)
    if skim in info.skim_names:
        raise UsageError(
            f"base: expected a network that does not know '{skim}', got one for "
            f"{', '.join(info.skim_names)} in {path}"
        )


def run_one(
    dataset: GraphDataset, test: Tensor, config: TrainingConfig
) -> dict[str, Any]:
    """Train one network and return its figures on the test events."""
    vocabulary = load_vocabulary(get_preset(config.preset).vocabulary)
    result = fit(dataset, config, n_tokens=vocabulary.n_tokens)
    logit = predict(result.network, dataset, test)[:, 0]
    totals = dataset.totals
    retention = float(totals.passing[:, 0].sum() / totals.events.sum())
    seen = [dataset.find(name) for name in ("train", "validation")]
    return {
        **rate(logit, dataset.passes[test, 0].numpy(), retention),
        "n_passing": int(sum(dataset.passes[i, 0].sum() for i in seen)),
        "n_events": sum(map(len, seen)),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "seconds": result.history[-1]["seconds"],
    }


def run_all(
    dataset: GraphDataset,
    config: TrainingConfig,
    *,
    base: Path,
    learning_rate: float,
    sizes: Sequence[int],
    seeds: int,
    n_failing: int,
    folder: Path,
) -> list[dict[str, Any]]:
    """Train every size, start and seed that is not in the folder yet."""
    test = choose_test(dataset, n_failing)
    rows = []
    with show_progress("train", len(sizes) * len(STARTS) * seeds) as advance:
        for size in sizes:
            for seed in range(seeds):
                small = limit_passing(dataset, size, seed)
                for start in STARTS:
                    changes: dict[str, Any] = {"seed": seed}
                    if start == "base":
                        changes["initialise_from"] = str(base)
                        changes["learning_rate"] = learning_rate
                    one = config.model_copy(update=changes)
                    found = _recall(folder, small, test, one)
                    rows.append({"start": start, "seed": seed, "size": size, **found})
                    advance(1)
    return rows


def _recall(
    folder: Path, dataset: GraphDataset, test: Tensor, config: TrainingConfig
) -> dict[str, Any]:
    """Return the figures of a run, from the folder if it was done before."""
    key = {
        "config": config.model_dump(mode="json"),
        "skims": dataset.skims,
        "n": [len(dataset.find(name)) for name in SPLITS],
        "test": len(test),
    }
    if config.initialise_from is not None:
        key["base"] = read_model_info(config.initialise_from)[1]
    name = sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{name}.json"
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(
            json.dumps(run_one(dataset, test, config)), encoding="utf-8"
        )
        temporary.replace(path)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and spread over the seeds per size and start."""
    summary = []
    for size in sorted({row["size"] for row in rows}):
        for start in STARTS:
            some = [r for r in rows if r["size"] == size and r["start"] == start]
            auc = [r["auc"] for r in some]
            speedup = [r["speedup"] for r in some]
            summary.append(
                {
                    "passing": size,
                    "start": start,
                    "n_events": float(np.mean([r["n_events"] for r in some])),
                    "auc": float(np.mean(auc)),
                    "auc_spread": _spread(auc),
                    "auc_error": float(np.mean([r["auc_error"] for r in some])),
                    "speedup": float(np.mean(speedup)),
                    "speedup_spread": _spread(speedup),
                    "seconds": float(np.mean([r["seconds"] for r in some])),
                }
            )
    return summary


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation of the seeds, 0 for one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def print_curve(summary: Sequence[dict[str, Any]]) -> None:
    line = "{:>8} {:>10} {:>8} {:>16} {:>8} {:>8} {:>8}"
    head = ("passing", "generated", "start", "AUC", "test", "speedup", "s")
    print(line.format(*head))
    for row in summary:
        cells = (
            row["passing"],
            f"{row['n_events']:,.0f}",
            row["start"],
            f"{row['auc']:.3f} ± {row['auc_spread']:.3f}",
            f"± {row['auc_error']:.3f}",
            f"{row['speedup']:.1f}",
            f"{row['seconds']:.0f}",
        )
        print(line.format(*cells))


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw AUC and speedup against the passing events: mean and spread of the seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    looks = {"scratch": ("orange", "s", "--"), "base": ("blue", "o", "-")}
    labels = {"scratch": "from scratch", "base": "from a network of other skims"}
    quantities = {"auc": "AUC", "speedup": r"speedup of a threshold, $t_s = 100\,t_g$"}
    with use_style():
        figure, axes = plt.subplots(1, 2, figsize=(14, 6), layout="constrained")
        for ax, (name, label) in zip(axes, quantities.items(), strict=True):
            for start, (colour, marker, line) in looks.items():
                rows = [r for r in document["summary"] if r["start"] == start]
                ax.errorbar(
                    [r["passing"] for r in rows],
                    [r[name] for r in rows],
                    yerr=[r[f"{name}_spread"] for r in rows],
                    marker=marker,
                    linestyle=line,
                    color=COLOURS[colour],
                    capsize=4,
                    label=labels[start],
                )
            ax.set_xscale("log")
            ax.set_xlabel(f"passing events for training ({document['skim']})")
            ax.set_ylabel(label)
        axes[0].legend(loc="lower right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        plt.close(figure)


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True)
@click.option("--skim", required=True, help="The rare one.")
@click.option(
    "--config",
    default=str(Path(__file__).with_suffix(".yaml")),
    help="Of the base.  [transfer.yaml]",
)
@click.option("--base", type=click.Path(path_type=Path), help="[trained here]")
@click.option("--passing", multiple=True, type=click.IntRange(4), help="Repeatable.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--epochs", default=30, show_default=True, help="Of each small training.")
@click.option("--learning-rate", default=5e-4, show_default=True, help="From the base.")
@click.option("--failing-per-passing", default=20.0, show_default=True)
@click.option("--max-events", type=click.IntRange(1), help="To read.  [all]")
@click.option("--test-failing", default=20_000, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the curve.")
def command(
    files: tuple[str, ...],
    skim: str,
    config: str,
    base: Path | None,
    passing: tuple[int, ...],
    seeds: int,
    epochs: int,
    learning_rate: float,
    failing_per_passing: float,
    max_events: int | None,
    test_failing: int,
    output: Path,
    figure: Path | None,
) -> None:
    """Train, compare and print the learning curve."""
    folder = output / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    settings = read_config(config)
    with show_progress("read", max_events or open_events(files).n_events) as advance:
        dataset = load_dataset(
            files,
            skims=(),
            preset=settings.preset,
            split=Split(settings.split_fractions, settings.split_seed),
            max_events=max_events,
            variables=settings.auxiliary,
            advance=advance,
        )
    if skim not in dataset.skims:
        raise UsageError(f"skim: expected one of {dataset.skims}, got '{skim}'")
    model = base or output / "base.pt"
    train_base(dataset, skim, model, settings)
    small = settings.model_copy(
        update={
            "skims": {skim: None},
            "epochs": epochs,
            "stop_patience": epochs,
            "events_per_epoch": None,
            "failing_per_passing": failing_per_passing,
            "loss_weight": {},
        }
    )
    rows = run_all(
        dataset.select_skims([skim]),
        small,
        base=model,
        learning_rate=learning_rate,
        sizes=passing or (10, 30, 100, 200),
        seeds=seeds,
        n_failing=test_failing,
        folder=folder,
    )
    summary = summarise(rows)
    document = {
        "skim": skim,
        "files": [Path(file).name for file in dataset.files],
        "base": read_model_info(model)[1],
        "config": small.model_dump(mode="json"),
        "summary": summary,
        "runs": rows,
    }
    print_curve(summary)
    (output / "transfer.json").write_text(
        json.dumps(document, indent=1) + "\n", encoding="utf-8"
    )
    if figure is not None:
        draw(document, figure)


if __name__ == "__main__":
    try:
        command()
    except SmartFilterError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
