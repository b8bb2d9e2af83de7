"""Where a network saturates: AUC against training events, speedup against size.

Networks of several widths see all balanced training events, one width sees fewer; every
training takes the same number of steps and its best epoch counts. All are
judged by the same test events, as in `network_comparison.py`, whose prepared data it
takes if it is given that folder. Finished trainings are kept.

    python benchmarks/learning_curve.py 'datasets/mixed-*.parquet' \
      -o output/networks --figure docs/figures/learning-curve.png
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from comparison_runs import (
    Settings,
    load_data,
    measure_rates,
    prepare_data,
    write_json,
)
from network_comparison import Numbers, folder_option
from rich.console import Console

from smartfilter.cli.terminal import make_table, show_progress
from smartfilter.errors import SmartFilterError
from smartfilter.io import open_events
from smartfilter.plots.style import COLOURS, GREY, use_style
from smartfilter.speedup import threshold_speedup
from smartfilter.training.config import read_config
from smartfilter.training.trainer import train_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from smartfilter.training.config import TrainingConfig

_DATA = ("n_generated", "retention_rate", "n_events", "n_passing")

STEP_EVENTS = 600_000
"""Events that each training sees, again and again where there are fewer."""

COSTS = {"100 t_g": (0.28, 28.0), "Geant4": (0.28, 55.0), "published": (0.08, 97.04)}
"""(t_g, t_s) in ms: the ratio of the comparison, `make measure-geant4`, and basf2's
``smartBKG/utils/metrics.py``."""


@dataclass(frozen=True)
class Point:
    """One training of the curve."""

    config: str
    n_events: int
    n_units: int

    def place(self, folder: Path) -> Path:
        """Return where it goes, without a suffix."""
        name = f"{self.config.replace('/', '--')}-{self.n_units}-{self.n_events}"
        return folder / "curve" / name


def make_config(point: Point, settings: Settings) -> TrainingConfig:
    """Return the configuration of a point: its width, its events, the same steps."""
    base = read_config(point.config)
    epochs = max(1, round(STEP_EVENTS / point.n_events))
    return read_config(
        point.config,
        settings={
            **base.settings,
            "n_units": point.n_units,
            "n_hidden": point.n_units,
            "n_readout": 2 * point.n_units,
        },
        skims={settings.skim: base.skims.get(settings.skim)},
        epochs=epochs,
        stop_patience=epochs,
        schedule="cosine",
        training_events=point.n_events,
        events_per_epoch=None,
        failing_per_passing=1.0,
        failing_share=settings.failing_share,
        class_balance=1.0,
        loss_weight={},
        auxiliary=(),
        split_fractions=settings.split,
        split_seed=0,
        simulation_cost=100.0,
        seed=1,
        threads=1,
    )


def train_point(point: Point, folder: Path, settings: Settings) -> dict[str, Any]:
    """Train and assess one network, or return what it gave before."""
    place = point.place(folder)
    config = make_config(point, settings)
    document = config.model_dump(mode="json")
    note = place.with_suffix(".json")
    if note.exists() and place.with_suffix(".pt").exists():
        stored: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if stored["config"] == document:
            return stored
    place.parent.mkdir(exist_ok=True)
    result = train_on(
        load_data(folder, settings),
        place.with_suffix(".pt"),
        config,
        history_file=place.with_suffix(".csv"),
    )
    found = {
        "training_events": point.n_events,
        "n_units": point.n_units,
        "n_parameters": result.info.n_parameters,
        "metrics": result.assessment.main[settings.skim].to_metrics(),
        "minutes": result.history[-1]["seconds"] / 60.0,
        "best_epoch": result.info.training["best_epoch"],
        "epochs": result.info.training["epochs"],
        "config": document,
    }
    write_json(found, note)
    return found


def summarise(
    points: list[Point], results: list[dict[str, Any]], folder: Path, settings: Settings
) -> list[dict[str, Any]]:
    """Return a row per training, with the speed of its network and what that costs."""
    models = {str(p): p.place(folder).with_suffix(".pt") for p in points}
    rates = measure_rates(models, load_data(folder, settings))
    rows = []
    for point, result in zip(points, results, strict=True):
        metrics, rate = result["metrics"], rates[str(point)]
        rows.append(
            {
                **{k: v for k, v in result.items() if k not in ("metrics", "config")},
                **{
                    k: metrics[k]
                    for k in ("auc", "auc_error", "speedup", "speedup_error")
                },
                "events_per_second": rate,
                "with_cost": {
                    name: _add_cost(metrics, 1e3 / rate, *times)
                    for name, times in COSTS.items()
                },
            }
        )
    return rows


def _add_cost(
    metrics: dict[str, Any], t_n: float, t_g: float, t_s: float
) -> dict[str, float]:
    """Return the speedup (A) of the chosen threshold without and with the network's t_n."""
    rates = {name: metrics[name] for name in ("tpr", "fpr", "retention_rate")}
    free = float(threshold_speedup(**rates, t_g=t_g, t_s=t_s))
    paid = float(threshold_speedup(**rates, t_g=t_g, t_s=t_s, t_n=t_n))
    return {"t_n": t_n, "free": free, "paid": paid, "loss": 1.0 - paid / free}


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw AUC against training events, and speedup against parameters."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with use_style():
        figure, axes = plt.subplots(1, 2, figsize=(14, 6), layout="constrained")
        _draw_events(axes[0], document)
        _draw_sizes(axes[1], document)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        plt.close(figure)


def _draw_events(axes: Axes, document: dict[str, Any]) -> None:
    rows = [r for r in document["rows"] if r["n_units"] == document["width"]]
    rows.sort(key=lambda row: row["training_events"])
    axes.errorbar(
        [r["training_events"] for r in rows],
        [r["auc"] for r in rows],
        yerr=[r["auc_error"] for r in rows],
        marker="o",
        color=COLOURS["blue"],
        label=f"{document['config']}, {document['width']} units",
    )
    if document["limit"] is not None:
        low, high = document["limit"]
        axes.axhspan(low, high, color=GREY, alpha=0.3, label="limit of any network")
    axes.set_xscale("log")
    axes.set_xlabel("balanced training events")
    axes.set_ylabel("AUC")
    axes.legend(loc="lower right")


def _draw_sizes(axes: Axes, document: dict[str, Any]) -> None:
    most = max(r["training_events"] for r in document["rows"])
    rows = [r for r in document["rows"] if r["training_events"] == most]
    rows.sort(key=lambda row: row["n_parameters"])
    size = [r["n_parameters"] for r in rows]
    for name, colour, marker in (
        ("published", "blue", "o"),
        ("Geant4", "orange", "s"),
        ("100 t_g", "red", "^"),
    ):
        t_g, t_s = COSTS[name]
        for cost, line in (("free", "--"), ("paid", "-")):
            axes.plot(
                size,
                [r["with_cost"][name][cost] for r in rows],
                linestyle=line,
                marker=marker,
                color=COLOURS[colour],
                label=rf"$t_s = {t_s / t_g:.0f}\,t_g$" if cost == "paid" else None,
            )
    axes.plot([], [], color=GREY, linestyle="--", label=r"$t_n = 0$")
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel("speedup of a threshold (A)")
    axes.margins(y=0.3)
    axes.legend(ncols=2, loc="lower right")


def make_result_table(document: dict[str, Any]) -> Any:
    """Return the table that is printed."""
    columns = (
        *("units", "parameters", "training events", "AUC", "speedup, t_s = 100 t_g"),
        *("network, us", "cost at 100 t_g", "Geant4", "published", "min"),
    )
    rows = [
        [
            str(row["n_units"]),
            f"{row['n_parameters']:,}",
            f"{row['training_events']:,}",
            f"{row['auc']:.4f} ± {row['auc_error']:.4f}",
            f"{row['speedup']:.2f} ± {row['speedup_error']:.2f}",
            f"{1e6 / row['events_per_second']:.0f}",
            *(f"{row['with_cost'][name]['loss']:.1%}" for name in COSTS),
            f"{row['minutes']:.1f}",
        ]
        for row in document["rows"]
    ]
    return make_table(f"{document['config']}, {document['skim']}", columns, rows)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="DATA...")
@click.option("--config", default="subtree", show_default=True)
@click.option("--skim", default="feiHadronicB0", show_default=True)
@click.option("--events", type=Numbers(int), default="3000,12000,48000,195000")
@click.option("--units", type=Numbers(int), default="8,16,32,64,96", show_default=True)
@click.option("--width", default=64, show_default=True, help="Of the curve in events.")
@click.option(
    "--split", type=Numbers(float), default="0.9,0.04,0.06", show_default=True
)
@click.option("--failing-share", type=float, default=0.08, show_default=True)
@click.option(
    "--limit", type=float, nargs=2, help="Two estimates of the largest AUC possible."
)
@click.option("--figure", type=click.Path(path_type=Path), help="OUT.png")
@folder_option
def command(
    files: tuple[str, ...],
    config: str,
    skim: str,
    events: tuple[int, ...],
    units: tuple[int, ...],
    width: int,
    split: tuple[float, float, float],
    failing_share: float,
    limit: tuple[float, float] | None,
    figure: Path | None,
    output: Path,
) -> None:
    """Train one network in several sizes and on several amounts of events."""
    settings = Settings(skim, math.inf, max(events), failing_share, split, 1, 1, None)
    points = [Point(config, n, width) for n in sorted(events)]
    points += [Point(config, max(events), n) for n in units if n != width]
    try:
        output.mkdir(parents=True, exist_ok=True)
        with show_progress("read", open_events(list(files)).n_events) as advance:
            data = prepare_data(files, output, settings, advance)
        results = [train_point(point, output, settings) for point in points]
        rows = summarise(points, results, output, settings)
    except (SmartFilterError, OSError) as error:
        raise click.ClickException(str(error)) from None
    document = {
        "config": config,
        "skim": skim,
        "width": width,
        "limit": limit,
        "step_events": STEP_EVENTS,
        "data": {name: value for name, value in data.items() if name in _DATA},
        "rows": sorted(rows, key=lambda r: (r["training_events"], r["n_units"])),
    }
    write_json(document, output / "learning_curve.json")
    console = Console(highlight=False)
    console.width = max(console.width, 150)
    console.print(make_result_table(document))
    if figure is not None:
        draw(document, figure)


if __name__ == "__main__":
    command()
