"""Train on a label of your own, then score with the new model.

A label is one boolean per generated event, whatever it comes from: here a selection on
what the simulated event looks like; of your own production, whether the event passed your
skim. Labels go beside the events into a Parquet file, `smartfilter train` takes its
settings from ``own_label.yaml``, and the model file holds all that scoring needs. Needs
the extras ``pipeline`` and ``train``; writes ``own.parquet``, ``own.pt`` and ``own.csv``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartfilter import Scorer, open_events
from smartfilter.io import LabelledWriter
from smartfilter.pipeline.generator import Generator
from smartfilter.pipeline.simulation import label
from smartfilter.training.config import read_config
from smartfilter.training.trainer import train_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smartfilter.events import Events

LABEL = "KShortAndLepton"
CONFIG = Path(__file__).with_name("own_label.yaml")
EVENTS = Path(__file__).with_name("events.root")


def select(events: Events) -> NDArray[Any]:
    """Return which events have a K_S candidate and a lepton of more than 0.6 GeV."""
    found = events.variables
    return (found["n_k_short"] > 0) & (found["lepton_momentum"] > 0.6)


def write_labels(n_events: int, file: Path) -> float:
    """Write generated events with their label; return the share that passes."""
    events = label(Generator("mixed", seed=21).generate(n_events))
    passes = select(events)
    with LabelledWriter(
        file, [LABEL], provenance={"n_generated": n_events}, force=True
    ) as writer:
        writer.write(events.with_labels({LABEL: passes}))
    return float(passes.mean())


def main(n_events: int = 3000) -> None:
    """Print what the new model reaches on test events, and score other events."""
    data, model = Path("own.parquet"), Path("own.pt")
    share = write_labels(n_events, data)
    print(f"{n_events} labelled events in {data}, {share:.1%} pass {LABEL}")
    history = model.with_suffix(".csv")
    result = train_model([data], model, read_config(CONFIG), history_file=history)
    metrics = result.info.training["metrics"][LABEL]
    print(f"trained for {len(result.history)} epochs: {model}")
    print(f"AUC of test events {metrics['auc']:.3f} +- {metrics['auc_error']:.3f}")
    scores = Scorer(model).score(open_events(EVENTS).read()).scores[:, 0]
    print(
        f"{len(scores)} events of {EVENTS.name} scored, "
        f"mean pass probability {scores.mean():.3f}"
    )
    print(f"next: smartfilter score {EVENTS.name} --model {model}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
