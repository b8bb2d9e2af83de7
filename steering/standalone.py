"""Generate, filter, simulate, reconstruct and skim without basf2.

Reads like a steering file for basf2; with basf2, replace the stages by its own:
    python steering/standalone.py --help
    python steering/standalone.py -n 2000 --event-type mixed --mode sample
"""

from __future__ import annotations

import logging

import click

import smartfilter.framework as basf2
from smartfilter import add_smartfilter
from smartfilter.cli import run
from smartfilter.cli.options import step_option
from smartfilter.decision import MODES
from smartfilter.events import EVENT_TYPES
from smartfilter.pipeline.generator import DECAY_TABLES
from smartfilter.pipeline.modules import (
    CollectorModule,
    DetectorModule,
    GeneratorModule,
    ReconstructionModule,
    SkimModule,
)


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
@click.option("--skim", default="feiHadronicB0", show_default=True)
@click.option("--model", help="Model file; by default the one that is shipped.")
@click.option(
    "--mode", type=click.Choice(MODES), default="threshold", show_default=True
)
@step_option
@click.option("--seed", default=1, show_default=True)
@click.option("--decay-table", type=click.Choice(DECAY_TABLES), default="belle2")
def main(
    events: int,
    event_type: str,
    skim: str,
    model: str | None,
    mode: str,
    step: float,
    seed: int,
    decay_table: str,
) -> None:
    """Run the standalone chain and print what each stage cost."""
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] %(message)s")
    basf2.set_random_seed(seed)

    path = basf2.create_path()
    path.add_module(
        GeneratorModule(event_type, events, seed=seed, decay_table=decay_table)
    )
    smartfilter = add_smartfilter(
        path, skims=[skim], event_type=event_type, mode=mode, model=model
    )
    path.add_module(DetectorModule(step=step, seed=seed))
    path.add_module(ReconstructionModule())
    path.add_module(SkimModule())
    names = [f"passes_{skim}"]
    if not smartfilter.debug:
        names.append(f"weight_{skim}")
    collector = CollectorModule(names)
    path.add_module(collector)

    basf2.process(path)
    print(basf2.statistics)

    columns = collector.columns
    passes = columns[f"passes_{skim}"]
    weights = columns.get(f"weight_{skim}", passes * 0 + 1)
    print(f"{int(passes.sum())} of {len(passes)} simulated events pass {skim};")
    print(f"they stand for {(passes * weights).sum():.1f} of {events} generated ones")


if __name__ == "__main__":
    run(main)
