"""basf2: one filter for several skims, one mdst file of what passes any of them.

    basf2 steering/basf2_combined_skims.py -- -n 1000 --model several_skims.pt

The model must know all the skims: an event is kept if any of them wants it, and carries a
weight for each. ``CombinedSkim(mdstOutput=True)`` writes EventExtraInfo with the weights
and the flags ``passes_<SkimName>``. Choose the weight of the skim that is analysed.
"""

from __future__ import annotations

import argparse

import basf2
import generators  # type: ignore[import-not-found]
import modularAnalysis as ma  # type: ignore[import-not-found]
import reconstruction  # type: ignore[import-not-found]
import simulation  # type: ignore[import-not-found]
from skim.core import CombinedSkim  # type: ignore[import-not-found]
from skim.WGs.fei import (  # type: ignore[import-not-found]
    feiHadronicB0,
    feiHadronicBplus,
)

from smartfilter import add_smartfilter


def main() -> None:
    """Build the path and process it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--events", type=int, default=1000)
    parser.add_argument("--event-type", choices=["charged", "mixed"], default="mixed")
    parser.add_argument("--seed", default="smartfilter")
    parser.add_argument(
        "--mode", choices=["threshold", "sample", "official"], default="sample"
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--fei-prefix", default="FEIv1_2025_MC16ri_aldebaran_200")
    parser.add_argument("--output", default="combined")
    arguments = parser.parse_args()
    basf2.set_random_seed(arguments.seed)

    path = basf2.create_path()
    path.add_module("EventInfoSetter", evtNumList=[arguments.events])
    generators.add_evtgen_generator(
        path, finalstate=arguments.event_type, eventType=arguments.event_type
    )
    settings = {
        "feiPrefix": arguments.fei_prefix,
        "analysisGlobaltag": ma.getAnalysisGlobaltag(),
        "roundToMdstPrecision": True,
    }
    skims = CombinedSkim(
        feiHadronicB0(**settings),
        feiHadronicBplus(**settings),
        CombinedSkimName="feiHadronicAny",
        OutputFileName=arguments.output,
        udstOutput=False,
        mdstOutput=True,
    )
    add_smartfilter(path, skims=skims, mode=arguments.mode, model=arguments.model)
    simulation.add_simulation(path)
    reconstruction.add_reconstruction(path)
    skims(path)
    basf2.process(path)
    print(basf2.statistics)


if __name__ == "__main__":
    main()
