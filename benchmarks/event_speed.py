"""One event at a time inside a path, one thread: TorchScript against onnxruntime.

The shipped model as it is and exported with the official interface. Times are those that
the framework's statistics give for the module.

    python benchmarks/event_speed.py -o output/event.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import torch
from record import Limit, Quartiles, Report, Row, start
from samples import make_events, write_events

from smartfilter.decision import DecisionSettings, decide
from smartfilter.framework import create_path, process, statistics
from smartfilter.graphs import prepare
from smartfilter.model_file import list_shipped, load_module
from smartfilter.module import add_smartfilter
from smartfilter.onnx_export import export_network
from smartfilter.pipeline.modules import EventFileModule
from smartfilter.scoring import Scorer, limit_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from smartfilter.events import Events

__all__ = ["command", "measure", "time_modules", "time_stages"]

RIVAL = "onnxruntime, exported network"


def time_modules(
    path: Path, scorers: dict[str, Scorer], rounds: int, n_events: int
) -> dict[str, NDArray[np.float64]]:
    """Return the seconds of each event in each filter, shape (rounds * n_events,)."""
    seconds: dict[str, list[Any]] = {name: [] for name in scorers}
    statistics.keep_times = True
    try:
        for _ in range(rounds):
            for name, scorer in scorers.items():
                main = create_path()
                main.add_module(EventFileModule(path))
                module = add_smartfilter(main, model=scorer)
                process(main, n_events)
                times = statistics.get(module).get_event_times()
                seconds[name].append(times[:, 0] * 1e-9)
    finally:
        statistics.keep_times = False
    return {name: np.concatenate(found) for name, found in seconds.items()}


def time_stages(
    events: Events, scorers: dict[str, Scorer]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return the seconds of each stage of each event, by engine and stage."""
    names = ("prepare", "network", "score", "decide")
    singles = [events.take([i]) for i in range(len(events))]
    found = {k: {n: np.empty(len(singles)) for n in names} for k in scorers}
    for i, event in enumerate(singles):
        for engine, scorer in scorers.items():
            info, times = scorer.info, found[engine]
            settings = DecisionSettings.from_model(info, threshold=0.5)
            graph, times["prepare"][i] = _time(
                lambda e=event, n=info: prepare(e, n.preset)
            )
            columns = [
                torch.from_numpy(column)
                for column in (
                    graph.x,
                    graph.pdg,
                    graph.mother,
                    graph.offsets,
                    graph.event_type,
                )
            ]
            model = scorer.model
            _, times["network"][i] = _time(lambda m=model, c=columns: m(*c))
            scores, times["score"][i] = _time(lambda s=scorer, e=event: s.score(e))
            _, times["decide"][i] = _time(
                lambda e=event, s=scores, o=settings: decide(
                    e,
                    logits=s.logits,
                    scores=s.scores,
                    scorable=s.scorable,
                    settings=o,
                )
            )
    return found


def _time(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what the second of two calls gives and takes."""
    work()
    begin = perf_counter()
    result = work()
    return result, perf_counter() - begin


def measure(n_events: int, rounds: int) -> Report:
    """Compare both engines with each shipped network."""
    events = make_events(n_events)
    report = Report("event", {"events": n_events, "rounds": rounds, "threads": 1})
    with tempfile.TemporaryDirectory() as name, limit_threads(1):
        folder = Path(name)
        path = write_events(folder / "events.root", events, n_events)
        for model in list_shipped():
            network, info = load_module(model)
            exported = folder / f"{model}.onnx"
            export_network(network, info, exported)
            scorers = {
                "ours": Scorer(model, device="cpu"),
                RIVAL: Scorer(exported, device="cpu"),
            }
            time_modules(path, scorers, 1, min(n_events, 100))
            in_path = time_modules(path, scorers, rounds, n_events)
            _add_model(report, model, in_path, time_stages(events, scorers))
    report.notes.append(
        "ratio: time of ours over time of onnxruntime, event by event; the module takes "
        "either engine: model='network.onnx'"
    )
    return report


def _add_model(
    report: Report,
    model: str,
    in_path: dict[str, NDArray[np.float64]],
    stages: dict[str, dict[str, NDArray[np.float64]]],
) -> None:
    limit = Limit("ratio", "at most", 1.5)
    networks = {engine: times["network"] for engine, times in stages.items()}
    report.rows += [
        _compare(f"SmartFilter in a path, {model}.pt, per event", in_path, limit),
        _compare(f"  network of {model}.pt alone", networks, limit),
    ]
    report.details[f"{model}.pt, median us per event, called alone"] = [
        {"engine": k, **{n: 1e6 * float(np.median(t)) for n, t in times.items()}}
        for k, times in stages.items()
    ]


def _compare(what: str, seconds: dict[str, NDArray[np.float64]], limit: Limit) -> Row:
    ours, theirs = 1e6 * seconds["ours"], 1e6 * seconds[RIVAL]
    return Row(
        what=what,
        unit="us",
        measured=Quartiles.of(ours),
        rival=RIVAL,
        theirs=Quartiles.of(theirs),
        ratio=Quartiles.of(ours / theirs),
        limit=limit,
    )


@click.command()
@click.option("--events", "n_events", default=1_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(n_events: int, rounds: int, output: Path | None) -> None:
    """Measure the filter event by event."""
    measure(n_events, rounds).publish(output)


if __name__ == "__main__":
    start(command)
