"""basf2: generate, filter, simulate, reconstruct, skim and write mdst with weights.

    basf2 steering/basf2_filter.py -- -n 1000 --event-type mixed --mode sample
    basf2 steering/basf2_filter.py -- -n 1000 --mode debug        # keep all, store scores
    basf2 steering/basf2_filter.py -- --payload SmartFilterModel --localdb localdb

The output needs EventExtraInfo: it holds ``weight_<SkimName>``, in debug mode
``SmartFilter_Prediction_<SkimName>`` and ``SmartFilter_Skip``. Two arguments of the skim
depend on the release: ``feiPrefix`` is mandatory from light-2607 on, and
``roundToMdstPrecision`` makes a skim decide on objects in memory as on those of a file.
"""

from __future__ import annotations

import argparse
from typing import Any

import basf2
import generators  # type: ignore[import-not-found]
import mdst  # type: ignore[import-not-found]
import modularAnalysis as ma  # type: ignore[import-not-found]
import reconstruction  # type: ignore[import-not-found]
import simulation  # type: ignore[import-not-found]
from skim.WGs.fei import feiHadronicB0  # type: ignore[import-not-found]

from smartfilter import add_smartfilter
from smartfilter.events import EVENT_TYPES


def add_generator(path: Any, event_type: str) -> None:
    """Add the generator of an event type, and tell the event its type."""
    if event_type in ("charged", "mixed"):
        generators.add_evtgen_generator(
            path, finalstate=event_type, eventType=event_type
        )
    elif event_type == "taupair":
        generators.add_kkmc_generator(path, finalstate="tau+tau-", eventType=event_type)
    else:
        generators.add_continuum_generator(
            path, finalstate=event_type, eventType=event_type
        )


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says after ``--``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--events", type=int, default=1000)
    parser.add_argument("--experiment", type=int, default=0)
    parser.add_argument("--run", type=int, default=0)
    parser.add_argument("--event-type", choices=EVENT_TYPES, default="mixed")
    parser.add_argument("--seed", default="smartfilter", help="Of the whole job.")
    parser.add_argument(
        "--mode",
        choices=["threshold", "sample", "official", "debug"],
        default="sample",
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", help="Model file; by default the shipped one.")
    model.add_argument("--payload", help="Model file in the conditions database.")
    parser.add_argument("--globaltag", help="Where the payload is.")
    parser.add_argument("--localdb", help="Folder of a local database with it.")
    parser.add_argument("--fei-prefix", default="FEIv1_2025_MC16ri_aldebaran_200")
    parser.add_argument("--output", default="filtered.mdst.root")
    return parser.parse_args()


def main() -> None:
    """Build the path and process it."""
    arguments = parse_arguments()
    basf2.set_random_seed(arguments.seed)
    if arguments.globaltag:
        basf2.conditions.prepend_globaltag(arguments.globaltag)
    if arguments.localdb:
        basf2.conditions.prepend_testing_payloads(f"{arguments.localdb}/database.txt")

    path = basf2.create_path()
    path.add_module(
        "EventInfoSetter",
        expList=[arguments.experiment],
        runList=[arguments.run],
        evtNumList=[arguments.events],
    )
    add_generator(path, arguments.event_type)

    skim = feiHadronicB0(
        feiPrefix=arguments.fei_prefix,
        analysisGlobaltag=ma.getAnalysisGlobaltag(),
        roundToMdstPrecision=True,
        udstOutput=False,
    )
    add_smartfilter(
        path,
        skims=skim,
        event_type=arguments.event_type,
        mode=arguments.mode,
        model=arguments.model,
        payload=arguments.payload,
    )

    simulation.add_simulation(path)
    reconstruction.add_reconstruction(path)
    skim(path)
    mdst.add_mdst_output(
        path, filename=arguments.output, additionalBranches=["EventExtraInfo"]
    )
    basf2.process(path)
    print(basf2.statistics)


if __name__ == "__main__":
    main()
