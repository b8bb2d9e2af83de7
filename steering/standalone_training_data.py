"""Write training data from a path, without basf2.

python steering/standalone_training_data.py -n 2000 -o mixed.parquet
smartfilter train mixed.parquet -o model.pt

The same two modules run in basf2, see basf2_training_data.py. For many events use
``smartfilter produce``: blocks of events, several processes, resume.
"""

from __future__ import annotations

import logging
from pathlib import Path

import click

import smartfilter.framework as basf2
from smartfilter.cli import run
from smartfilter.cli.options import step_option
from smartfilter.events import EVENT_TYPES
from smartfilter.pipeline.generator import DECAY_TABLES
from smartfilter.pipeline.modules import (
    DetectorModule,
    GeneratorModule,
    ReconstructionModule,
    SkimModule,
)
from smartfilter.training_writer import TrainingDataWriter


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-n",
    "--events",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Generated.",
)
@click.option("--event-type", type=click.Choice(EVENT_TYPES), default="mixed")
@click.option("--skim", "skims", multiple=True, default=["feiHadronicB0"])
@step_option
@click.option("--seed", default=1, show_default=True)
@click.option("--decay-table", type=click.Choice(DECAY_TABLES), default="belle2")
@click.option(
    "-o", "--output", default="training.parquet", type=click.Path(path_type=Path)
)
@click.option("--force", is_flag=True, help="Replace an existing output.")
def main(
    events: int,
    event_type: str,
    skims: tuple[str, ...],
    step: float,
    seed: int,
    decay_table: str,
    output: Path,
    force: bool,
) -> None:
    """Generate, simulate and write particles with skim decisions."""
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] %(message)s")
    path = basf2.create_path()
    path.add_module(
        GeneratorModule(event_type, events, seed=seed, decay_table=decay_table)
    )
    writer = TrainingDataWriter(output, skims, force=force)
    path.add_module(writer.recorder)
    path.add_module(DetectorModule(step=step, seed=seed))
    path.add_module(ReconstructionModule())
    path.add_module(SkimModule())
    path.add_module(writer)
    basf2.process(path)
    print(f"{writer.n_written} events in {output}")


if __name__ == "__main__":
    run(main)
