"""basf2: write training data, particles of the generator with the skim's decision.

    basf2 steering/basf2_training_data.py -- -n 10000 --output mixed.parquet
    smartfilter train mixed.parquet -o model.pt

The recorder reads MCParticles before the simulation, because the simulation removes
particles whose mother interacted and replaces times; the writer reads the skim's flag.
"""

from __future__ import annotations

import argparse

import basf2
import generators  # type: ignore[import-not-found]
import modularAnalysis as ma  # type: ignore[import-not-found]
import reconstruction  # type: ignore[import-not-found]
import simulation  # type: ignore[import-not-found]
from skim.WGs.fei import feiHadronicB0  # type: ignore[import-not-found]

from smartfilter.training_writer import TrainingDataWriter


def main() -> None:
    """Build the path and process it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--events", type=int, default=1000)
    parser.add_argument("--run", type=int, default=0)
    parser.add_argument("--event-type", choices=["charged", "mixed"], default="mixed")
    parser.add_argument("--seed", default="smartfilter")
    parser.add_argument("--fei-prefix", default="FEIv1_2025_MC16ri_aldebaran_200")
    parser.add_argument("--output", default="training.parquet")
    arguments = parser.parse_args()
    basf2.set_random_seed(arguments.seed)

    path = basf2.create_path()
    path.add_module(
        "EventInfoSetter",
        expList=[0],
        runList=[arguments.run],
        evtNumList=[arguments.events],
    )
    generators.add_evtgen_generator(
        path, finalstate=arguments.event_type, eventType=arguments.event_type
    )
    skim = feiHadronicB0(
        feiPrefix=arguments.fei_prefix,
        analysisGlobaltag=ma.getAnalysisGlobaltag(),
        roundToMdstPrecision=True,
        udstOutput=False,
    )
    writer = TrainingDataWriter(arguments.output, skim, event_type=arguments.event_type)
    path.add_module(writer.recorder)
    simulation.add_simulation(path)
    reconstruction.add_reconstruction(path)
    skim(path)
    path.add_module(writer)
    basf2.process(path)
    print(basf2.statistics)


if __name__ == "__main__":
    main()
