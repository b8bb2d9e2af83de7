"""Skims: named selections on reconstructed quantities.

Names and codes are basf2's (``skim/registry.py``) where the meaning matches; the
selections are physics choices for the quantities at hand, described in each function,
and stand for basf2's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import UsageError, describe_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from smartfilter.pipeline.reconstruction import Reconstructed

__all__ = [
    "B0_PROBABILITY_MIN",
    "BPLUS_PROBABILITY_MIN",
    "SKIMS",
    "Skim",
    "apply_skims",
    "estimate_retention",
    "get_skim",
    "is_hadronic",
]

B0_PROBABILITY_MIN = 1.54e-6
"""Smallest pseudo signal probability of the best B0: about 5 % of mixed events pass."""

BPLUS_PROBABILITY_MIN = 8.3e-6
"""Smallest pseudo signal probability of the best B+: about 5 % of charged ones pass."""

LEPTON_MOMENTUM_MIN = 1.4
"""GeV, CM frame: above it, most leptons of B events come from B -> X l nu."""

PHOTON_ENERGY_CM_MIN = 2.0
"""GeV, CM frame: above it, B -> X_s gamma and the end of the pi0 spectrum."""


@dataclass(frozen=True)
class Skim:
    """A skim.

    Parameters
    ----------
    name : str
        basf2's name.
    code : str
        basf2's eight-digit code.
    description : str
        What it selects.
    select : callable
        From `Reconstructed` to an ndarray of bool, shape (n_events,).
    """

    name: str
    code: str
    description: str
    select: Callable[[Reconstructed], NDArray[np.bool_]]


def is_hadronic(event: Reconstructed) -> NDArray[Any]:
    """Event cleaning of basf2's hadronic FEI skims (``skim/WGs/fei.py``)."""
    return (
        (event["n_tracks"] >= 3)
        & (event["n_clusters"] >= 3)
        & (event["visible_energy"] > 4.0)
        & (event["r2"] < 0.4)
    )


def _select_b0(event: Reconstructed) -> NDArray[np.bool_]:
    return is_hadronic(event) & (event["b0_probability"] > B0_PROBABILITY_MIN)


def _select_bplus(event: Reconstructed) -> NDArray[np.bool_]:
    return is_hadronic(event) & (event["bplus_probability"] > BPLUS_PROBABILITY_MIN)


def _select_b(event: Reconstructed) -> NDArray[np.bool_]:
    return _select_b0(event) | _select_bplus(event)


def _select_charm(event: Reconstructed) -> NDArray[np.bool_]:
    return np.asarray(event["n_dstar_hh"] > 0)


def _select_lambda(event: Reconstructed) -> NDArray[np.bool_]:
    return np.asarray((event["n_lambda"] > 0) & (event["n_tracks"] >= 3))


def _select_psi(event: Reconstructed) -> NDArray[np.bool_]:
    return np.asarray((event["n_jpsi"] > 0) & (event["n_tracks"] >= 3))


def _select_tau(event: Reconstructed) -> NDArray[np.bool_]:
    few = (event["n_tracks"] >= 2) & (event["n_tracks"] <= 6)
    balanced = np.abs(event["total_charge"]) <= 1
    lost = event["visible_energy"] < 10.0
    return np.asarray(few & balanced & lost & (event["thrust"] > 0.85))


def _select_lepton(event: Reconstructed) -> NDArray[np.bool_]:
    return np.asarray(
        is_hadronic(event) & (event["lepton_momentum"] > LEPTON_MOMENTUM_MIN)
    )


def _select_photon(event: Reconstructed) -> NDArray[np.bool_]:
    return np.asarray(
        is_hadronic(event) & (event["photon_energy"] > PHOTON_ENERGY_CM_MIN)
    )


def _select_pi0pi0(event: Reconstructed) -> NDArray[np.bool_]:
    return np.asarray(event["n_b0_pi0pi0"] > 0)


SKIMS = (
    Skim(
        "SLUntagged",
        "11160200",
        "hadronic event with an e or mu of more than 1.4 GeV in the CM frame",
        _select_lepton,
    ),
    Skim(
        "feiHadronicB0",
        "11180100",
        "hadronic event with a B0 -> D(*) n pi, D(*) D_s or J/psi X candidate of "
        "Mbc > 5.24 GeV, |delta E| < 0.2 GeV and enough signal probability",
        _select_b0,
    ),
    Skim(
        "feiHadronicBplus",
        "11180200",
        "the same for a B+ candidate",
        _select_bplus,
    ),
    Skim("feiHadronic", "11180500", "feiHadronicB0 or feiHadronicBplus", _select_b),
    Skim(
        "BtoXgamma",
        "12160100",
        "hadronic event with a photon of more than 2 GeV in the CM frame",
        _select_photon,
    ),
    Skim(
        "InclusiveLambda",
        "15410300",
        "a displaced Lambda -> p pi- that points to the beams",
        _select_lambda,
    ),
    Skim("CharmoniumPsi", "16460200", "a J/psi -> e+ e- or mu+ mu-", _select_psi),
    Skim(
        "DstToD0Pi_D0ToHpJm",
        "17240100",
        "D*+ -> D0 pi+, D0 -> h+ h- with p > 1.5 GeV in the CM frame",
        _select_charm,
    ),
    Skim(
        "TauGeneric",
        "18570600",
        "2 to 6 tracks, |charge| <= 1, thrust > 0.85, visible energy < 10 GeV",
        _select_tau,
    ),
    Skim(
        "BtoPi0Pi0",
        "19120100",
        "B0 -> pi0 pi0 of Mbc > 5.2 GeV and |delta E| < 0.5 GeV",
        _select_pi0pi0,
    ),
)
"""All skims, in the order of their codes."""


def get_skim(name: str) -> Skim:
    """Return the skim of this name.

    Raises
    ------
    UsageError
        If there is none.
    """
    for skim in SKIMS:
        if skim.name == name:
            return skim
    raise UsageError(describe_unknown("skim", name, [skim.name for skim in SKIMS]))


def apply_skims(
    reconstructed: Reconstructed, skims: Sequence[Skim] = SKIMS
) -> dict[str, NDArray[np.bool_]]:
    """Return which events pass, by skim name, each of shape (n_events,)."""
    return {skim.name: skim.select(reconstructed) for skim in skims}


def estimate_retention(n_passing: int, n_events: int) -> tuple[float, float]:
    """Return the share of events that pass and its error.

    The error is the standard deviation of the share's posterior with a uniform prior
    (Ullrich and Xu, arXiv:physics/0701199): not zero where none or all pass. Both are
    NaN without events.
    """
    if n_events == 0:
        return nan, nan
    k, n = n_passing, n_events
    # (k+1)(k+2) / ((n+2)(n+3)) - (k+1)^2 / (n+2)^2, without the cancellation.
    variance = (k + 1) * (n - k + 1) / ((n + 2) ** 2 * (n + 3))
    return k / n, sqrt(variance)
