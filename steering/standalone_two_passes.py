"""Simulate what a first pass decided, without basf2.

smartfilter generate -n 2000 --event-type mixed -o gen.root
smartfilter score gen.root -o flags.parquet --mode sample
python steering/standalone_two_passes.py gen.root --scores flags.parquet
"""

from __future__ import annotations

import logging
from pathlib import Path

import click

import smartfilter.framework as basf2
from smartfilter import add_smartfilter
from smartfilter.cli import run
from smartfilter.cli.options import step_option
from smartfilter.pipeline.modules import (
    CollectorModule,
    DetectorModule,
    EventFileModule,
    ReconstructionModule,
    SkimModule,
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("events", type=click.Path(path_type=Path))
@click.option("--scores", required=True, type=click.Path(path_type=Path))
@click.option("--skim", default="feiHadronicB0", show_default=True)
@step_option
@click.option("--seed", default=1, show_default=True, help="Of the detector.")
def main(events: Path, scores: Path, skim: str, step: float, seed: int) -> None:
    """Simulate the events of a file that the score file keeps."""
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s] %(message)s")
    path = basf2.create_path()
    path.add_module(EventFileModule(events))
    smartfilter = add_smartfilter(path, scores=scores)
    path.add_module(DetectorModule(step=step, seed=seed))
    path.add_module(ReconstructionModule())
    path.add_module(SkimModule())
    collector = CollectorModule([f"passes_{skim}", f"weight_{skim}"])
    path.add_module(collector)

    basf2.process(path)
    print(basf2.statistics)

    passes, weight = (collector.columns[name] for name in list(collector.columns)[1:])
    print(f"{int(passes.sum())} of {len(passes)} simulated events pass {skim};")
    total = smartfilter.counts.n_generated
    print(f"they stand for {(passes * weight).sum():.1f} of {total} generated ones")


if __name__ == "__main__":
    run(main)
