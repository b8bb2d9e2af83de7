"""Every network of the field, trained and tested on the same events.

Each shipped configuration keeps its network, loss, batch size and learning rate; all
see the same balanced training events, preparation, schedule and budget, and stop when
the validation loss does. Finished trainings are kept: a run that was stopped goes on
when the command is repeated, and more networks can be added later.

    python benchmarks/network_comparison.py 'datasets/mixed-*.parquet' \
      -o output/networks --minutes 15 --seeds 1,2,3
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from comparison_runs import (
    Run,
    Settings,
    load_data,
    measure_rates,
    prepare_data,
    read_result,
    train_run,
    write_json,
)
from network_table import combine_errors
from rich.console import Console

from smartfilter.cli.terminal import make_table, show_progress
from smartfilter.errors import SmartFilterError, UsageError
from smartfilter.io import open_events
from smartfilter.training.config import list_configs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADLINE = (
    "lab_report/deepset",
    "lab_report/combined",
    "lab_report/combined_gcn",
    "lab_report/transformer",
    "lab_report/optimal",
    "subtree",
)
"""Configurations that are trained with every seed; others with the first."""

LEFT_OUT = ("gcn", "transformer", "subtree-auxiliary", "pd4ml/graph_net_repository")
"""Shipped configurations that are trained only when they are named: for several skims,
and steps of 32 events, with which 15 minutes are few epochs."""

PUBLISHED_AUC = {
    "lab_report/deepset": 0.699,
    "lab_report/combined": 0.852,
    "lab_report/deepset_gcn": 0.721,
    "lab_report/combined_gcn": 0.862,
    "lab_report/combined_gcn_normalized": 0.861,
    "lab_report/transformer": 0.872,
    "lab_report/optimal": 0.880,
    "pd4ml/reference_gcn": 0.906,
    "pd4ml/graph_net_slides": 0.902,
    "pd4ml/fully_connected": 0.812,
}
"""On other events (balanced SmartBKG data, 400k): the lab group's public repository and
the pd4ml slides."""


class Numbers(click.ParamType):
    """Numbers separated by commas."""

    name = "N,N,..."

    def __init__(self, kind: type[int | float]) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"expected numbers and commas, got '{value}'", param, ctx)


folder_option = click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("output/networks"),
    show_default=True,
)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="DATA...")
@click.option("--skim", default="feiHadronicB0", show_default=True)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=15.0,
    show_default=True,
    help="Budget of each training; stops behind the epoch that exceeds it.",
)
@click.option(
    "--seeds",
    type=Numbers(int),
    default="1,2,3",
    show_default=True,
    help="Seeds of the headline networks; the others take the first.",
)
@click.option("--only", multiple=True, help="Configuration to train; repeatable.")
@click.option("--jobs", type=click.IntRange(1, 2), default=1, show_default=True)
@click.option("--training-events", default=200_000, show_default=True)
@click.option(
    "--failing-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.08,
    show_default=True,
    help="Share of the failing training events that is held in memory.",
)
@click.option(
    "--split",
    type=Numbers(float),
    default="0.9,0.04,0.06",
    show_default=True,
    help="Shares of training, validation and test.",
)
@click.option(
    "--training/--no-training",
    "trains",
    default=True,
    help="Train what is missing, or only compare what is finished.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--patience", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--max-events", type=click.IntRange(min=1), help="To read.  [all]")
@folder_option
def command(
    files: tuple[str, ...],
    seeds: tuple[int, ...],
    only: tuple[str, ...],
    jobs: int,
    output: Path,
    trains: bool,
    split: tuple[float, float, float],
    **options: Any,
) -> None:
    """Train networks on the same events and compare them in one table."""
    settings = Settings(split=split, **options)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with show_progress("read", open_events(list(files)).n_events) as advance:
            data = prepare_data(files, output, settings, advance)
        runs = list_runs(only, seeds) if trains else []
        failures = train_all(runs, output, settings, jobs)
        document = summarise(output, settings, data, seeds)
    except (SmartFilterError, OSError) as error:
        raise click.ClickException(str(error)) from None
    write_json(document, output / "comparison.json")
    console = Console(highlight=False)
    console.width = max(console.width, 170)
    console.print(make_result_table(document))
    console.print(f"{output / 'comparison.json'}", soft_wrap=True)
    if failures:
        raise click.ClickException("; ".join(failures))


def list_runs(only: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """Return the trainings, all first seeds before the others."""
    shipped = list_configs()
    for name in only:
        if name not in shipped:
            raise UsageError(
                f"network: expected some of {', '.join(shipped)}, got '{name}'"
            )
    chosen = only or [name for name in shipped if name not in LEFT_OUT]
    ranked = sorted(dict.fromkeys(chosen), key=lambda name: name not in HEADLINE)
    first, others = seeds[0], seeds[1:]
    runs = [Run(name, first) for name in ranked]
    headline = [name for name in ranked if name in HEADLINE]
    return runs + [Run(name, seed) for seed in others for name in headline]


def train_all(
    runs: Sequence[Run], folder: Path, settings: Settings, jobs: int
) -> list[str]:
    """Train what is not finished; return what went wrong."""
    console = Console(stderr=True, highlight=False)
    missing = [run for run in runs if read_result(run, folder, settings) is None]
    failures = []
    for run, error in _work(missing, folder, settings, jobs):
        if error is not None:
            failures.append(f"{run.name}, seed {run.seed}: {error}")
            console.print(failures[-1], soft_wrap=True)
            continue
        result = read_result(run, folder, settings)
        assert result is not None
        console.print(
            f"{run.name}, seed {run.seed}: AUC {result['metrics']['auc']:.4f}, "
            f"{result['epochs']} epochs in {result['minutes']:.1f} min",
            soft_wrap=True,
        )
    return failures


def _work(
    runs: Sequence[Run], folder: Path, settings: Settings, jobs: int
) -> Iterator[tuple[Run, SmartFilterError | None]]:
    """Yield each run when it is done, with its error if it has one."""
    if jobs == 1:
        for run in runs:
            try:
                train_run(run, folder, settings)
            except SmartFilterError as error:
                yield run, error
            else:
                yield run, None
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(train_run, run, folder, settings): run for run in runs}
        for future in as_completed(futures):
            error = future.exception()
            if error is not None and not isinstance(error, SmartFilterError):
                raise error
            yield futures[future], error


def summarise(
    folder: Path, settings: Settings, data: dict[str, Any], seeds: Sequence[int]
) -> dict[str, Any]:
    """Return everything that is finished in the folder, best networks first."""
    results: dict[str, list[dict[str, Any]]] = {}
    for name in list_configs():
        for seed in seeds:
            result = read_result(Run(name, seed), folder, settings)
            if result is not None:
                results.setdefault(name, []).append(result)
    models = {
        name: Run(name, runs[0]["seed"]).place(folder).with_suffix(".pt")
        for name, runs in results.items()
    }
    rates = measure_rates(models, load_data(folder, settings)) if models else {}
    networks = [
        {
            "name": name,
            "network": runs[0]["network"],
            "n_parameters": runs[0]["n_parameters"],
            "events_per_second": rates[name],
            "published_auc": PUBLISHED_AUC.get(name),
            **_average(runs),
            "runs": runs,
        }
        for name, runs in results.items()
    ]
    return {
        "schema_version": 1,
        "data": {k: v for k, v in data.items() if k not in ("source", "files")},
        "settings": {**vars(settings), "split": list(settings.split)},
        "networks": sorted(networks, key=lambda entry: -entry["auc"]),
    }


def _average(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over the seeds, and the spread of the AUC between seeds.

    The error of the AUC is that of the test sample, which all seeds share.
    """

    def mean(name: str) -> float:
        return float(np.mean([run["metrics"][name] for run in runs]))

    auc = [run["metrics"]["auc"] for run in runs]
    return {
        "auc": mean("auc"),
        "auc_error": mean("auc_error"),
        "auc_spread": float(np.std(auc, ddof=1)) if len(auc) > 1 else None,
        "calibration_error": mean("calibration_error"),
        "speedup": mean("speedup"),
        "speedup_error": mean("speedup_error"),
        "sampling_speedup": mean("sampling_speedup"),
        "minutes": float(np.mean([run["minutes"] for run in runs])),
        "epochs": float(np.mean([run["epochs"] for run in runs])),
        "stopped": sorted({run["stopped"] for run in runs}),
        "seeds": [run["seed"] for run in runs],
    }


def make_result_table(document: dict[str, Any]) -> Any:
    """Return the table that is printed."""
    data = document["data"]
    failing = data["n_events"]["test"] - data["n_passing"]["test"]
    title = (
        f"{data['n_passing']['test']:,} passing and {failing:,} failing test events, "
        f"retention rate {data['retention_rate']:.4f}; speedup of threshold and sampling"
    )
    columns = (
        "network",
        "AUC",
        "published",
        "calibration",
        "threshold",
        "sampling",
        "parameters",
        "events/s",
        "min",
        "epochs",
        "end",
        "seeds",
    )
    rows = [
        [
            entry["name"],
            f"{entry['auc']:.4f} ± {combine_errors(entry):.4f}",
            "" if entry["published_auc"] is None else f"{entry['published_auc']:.3f}",
            f"{entry['calibration_error']:.4f}",
            f"{entry['speedup']:.2f} ± {entry['speedup_error']:.2f}",
            f"{entry['sampling_speedup']:.2f}",
            f"{entry['n_parameters']:,}",
            f"{entry['events_per_second']:,.0f}",
            f"{entry['minutes']:.1f}",
            f"{entry['epochs']:.0f}",
            ", ".join(entry["stopped"]),
            ", ".join(map(str, entry["seeds"])),
        ]
        for entry in document["networks"]
    ]
    return make_table(title, columns, rows)


if __name__ == "__main__":
    command()
