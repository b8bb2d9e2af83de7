"""Signature of basf2's ``simulation.add_simulation`` (contract, section 7.2)."""

from __future__ import annotations

from typing import Any


def add_simulation(
    path: Any,
    components: list[str] | None = None,
    bkgfiles: list[str] | None = None,
    bkgOverlay: bool = True,
    forceSetPXDDataReduction: bool = False,
    usePXDDataReduction: bool = True,
    cleanupPXDDataReduction: bool = True,
    generate_2nd_cdc_hits: bool = False,
    simulateT0jitter: bool = False,
    usePXDGatedMode: bool = False,
    skipExperimentCheckForBG: bool = False,
) -> None:
    for name in ("Gearbox", "Geometry"):
        if name not in path:
            path.add_module(name)
    path.add_module("FullSim")
    path.add_module("StatisticsSummary").set_name("Sum_Simulation")
