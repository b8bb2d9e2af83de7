"""The one name of basf2's ``modularAnalysis`` that steering files use."""

from __future__ import annotations


def getAnalysisGlobaltag() -> str:
    return "analysis_tools_double"
