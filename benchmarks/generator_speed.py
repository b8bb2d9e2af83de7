"""t_n, the filter in blocks, against t_g of Pythia: one core each.

t_n is preparation, network, calibration and decision with a 32-unit network.

    python benchmarks/generator_speed.py -o output/generator.json
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
from record import Limit, Quartiles, Report, Row, start, time_in_turn
from samples import make_model

from smartfilter.bulk import score_events
from smartfilter.decision import DecisionSettings
from smartfilter.pipeline.generator import Generator
from smartfilter.scoring import Scorer, limit_threads

__all__ = ["command", "measure"]

EVENT_TYPES = ("mixed", "charged", "ccbar", "uubar", "taupair")


def measure(n_events: int, rounds: int) -> Report:
    """Compare both for several event types."""
    report = Report("generator", {"events": n_events, "rounds": rounds, "units": 32})
    with tempfile.TemporaryDirectory() as folder, limit_threads(1):
        for event_type in EVENT_TYPES:
            generator = Generator(event_type, seed=3)
            events = generator.generate(n_events)
            model = make_model(Path(folder) / "model.pt", events, n_units=32)
            scorer = Scorer(model, device="cpu")
            settings = DecisionSettings.for_each_type(scorer.info, mode="sample")
            contestants = {
                "t_n": lambda e=events, s=scorer, o=settings: score_events(
                    [e], scorer=s, settings=o
                ),
                "t_g": lambda g=generator: g.generate(n_events),
            }
            seconds = time_in_turn(contestants, rounds)
            report.rows.append(
                Row(
                    what=f"t_n, {event_type}",
                    unit="us",
                    measured=Quartiles.of(1e6 * seconds["t_n"] / n_events),
                    rival="t_g of Pythia 8",
                    theirs=Quartiles.of(1e6 * seconds["t_g"] / n_events),
                    ratio=Quartiles.of(seconds["t_n"] / seconds["t_g"]),
                    limit=Limit("ratio", "at most", 0.25),
                )
            )
            mean = float(np.mean(events.counts))
            report.notes.append(f"{event_type}: {mean:.1f} particles per event")
    return report


@click.command()
@click.option("--events", "n_events", default=2_000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(n_events: int, rounds: int, output: Path | None) -> None:
    """Measure the filter against the generator."""
    measure(n_events, rounds).publish(output)


if __name__ == "__main__":
    start(command)
