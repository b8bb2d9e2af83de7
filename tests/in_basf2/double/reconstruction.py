"""basf2's ``reconstruction.add_reconstruction``; not all of its arguments."""

from __future__ import annotations

from typing import Any


def add_reconstruction(
    path: Any,
    components: list[str] | None = None,
    pruneTracks: bool = True,
    add_trigger_calculation: bool = True,
    skipGeometryAdding: bool = False,
    trackFitHypotheses: list[int] | None = None,
) -> None:
    path.add_module("Reconstruction")
    name = "Sum_Posttracking_Reconstruction"
    path.add_module("StatisticsSummary").set_name(name)
