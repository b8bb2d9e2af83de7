"""Signature of basf2's ``mdst.add_mdst_output`` (contract, section 7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def add_mdst_output(
    path: Any,
    mc: bool = True,
    filename: str = "mdst.root",
    additionalBranches: Sequence[str] = (),
    dataDescription: dict[str, str] | None = None,
) -> Any:
    branches = ["Tracks", "ECLClusters", *(["MCParticles"] if mc else [])]
    return path.add_module(
        "RootOutput",
        outputFileName=filename,
        branchNames=[*branches, *additionalBranches],
        branchNamesPersistent=["FileMetaData"],
        additionalDataDescription=dataDescription or {},
    )
