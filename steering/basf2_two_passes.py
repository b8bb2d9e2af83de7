"""basf2: decide in bulk between two jobs instead of event by event within one.

    basf2 steering/basf2_two_passes.py -- generate -n 100000 --output gen.root
    smartfilter score gen.root -o flags.parquet --mode sample
    basf2 steering/basf2_two_passes.py -- simulate gen.root --scores flags.parquet

Scoring a file is faster per event than scoring in the path, one event at a time, and can
use a GPU. The second job finds each decision by experiment, run, production and event
number, so events of one score file must have different numbers: give parallel jobs
different runs. Event numbers that the file lacks are simulated and counted.
"""

from __future__ import annotations

import argparse

import basf2
import generators  # type: ignore[import-not-found]
import mdst  # type: ignore[import-not-found]
import reconstruction  # type: ignore[import-not-found]
import simulation  # type: ignore[import-not-found]

from smartfilter import add_smartfilter


def generate(arguments: argparse.Namespace) -> None:
    """Generate events and write their particles and event type."""
    basf2.set_random_seed(arguments.seed)
    path = basf2.create_path()
    path.add_module(
        "EventInfoSetter",
        expList=[arguments.experiment],
        runList=[arguments.run],
        evtNumList=[arguments.events],
    )
    generators.add_evtgen_generator(
        path, finalstate=arguments.event_type, eventType=arguments.event_type
    )
    mdst.add_mdst_output(
        path, filename=arguments.output, additionalBranches=["EventExtraInfo"]
    )
    basf2.process(path)


def simulate(arguments: argparse.Namespace) -> None:
    """Simulate and reconstruct what the score file keeps."""
    path = basf2.create_path()
    path.add_module("RootInput", inputFileName=arguments.input)
    add_smartfilter(path, scores=arguments.scores)
    simulation.add_simulation(path)
    reconstruction.add_reconstruction(path)
    mdst.add_mdst_output(
        path, filename=arguments.output, additionalBranches=["EventExtraInfo"]
    )
    basf2.process(path)
    print(basf2.statistics)


def main() -> None:
    """Run one of the two jobs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("generate")
    first.add_argument("-n", "--events", type=int, default=1000)
    first.add_argument("--experiment", type=int, default=0)
    first.add_argument("--run", type=int, default=0)
    first.add_argument("--event-type", choices=["charged", "mixed"], default="mixed")
    first.add_argument("--seed", default="smartfilter")
    first.add_argument("--output", default="gen.root")
    first.set_defaults(function=generate)
    second = commands.add_parser("simulate")
    second.add_argument("input")
    second.add_argument("--scores", required=True)
    second.add_argument("--output", default="filtered.mdst.root")
    second.set_defaults(function=simulate)
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
