"""First particle lists of an event: charged hypotheses, photons, pi0, K_S and Lambda.

Kernels that fill a `Store` from the rows of one event. Tracks are rows of
`TRACK_ROW`, clusters rows of `CLUSTER_ROW`, both float64.
"""

from __future__ import annotations

from math import cos, exp, log, sin, sqrt
from typing import TYPE_CHECKING, Any

from smartfilter.pipeline.candidates import CAPACITY, MASK_BITS, Store, add_candidate
from smartfilter.pipeline.decay_modes import MASSES, SPECIES
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.vertices import cross

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CLUSTER_ROW",
    "PHOTON_ENERGY_MIN",
    "TRACK_ROW",
    "fill_charged",
    "fill_neutral_pions",
    "fill_photons",
    "fill_v0s",
    "is_from_beams",
    "sort_descending",
]

TRACK_ROW = (
    *("px", "py", "pz", "charge", "d0", "z0"),
    *("ll_e", "ll_mu", "ll_pi", "ll_k", "ll_p"),
)
"""Columns of a track row."""

CLUSTER_ROW = ("energy", "theta", "phi", "track")
"""Columns of a cluster row."""

D0_MAX, Z0_MAX = 0.5, 2.0
"""Largest impact parameters (cm) of tracks from the beams (basf2 ``fei`` lists)."""

PHOTON_ENERGY_MIN = 0.05
"""Smallest photon energy (GeV, lab)."""

PI0_MASS_MIN, PI0_MASS_MAX = 0.115, 0.152
"""Window on the photon pair's mass (GeV)."""

PION_PROBABILITY_MIN, KAON_PROBABILITY_MIN = 0.1, 0.3
"""Smallest share of a hypothesis among the five likelihoods."""

LEPTON_PROBABILITY_MIN = 0.9
ELECTRON_MOMENTUM_MIN, MUON_MOMENTUM_MIN = 0.3, 0.6
"""GeV, lab; basf2 ``fei`` lepton lists."""

FLIGHT_MIN = 0.5
"""Smallest transverse flight of a K_S or Lambda (cm)."""

V0_D0_SUM_MIN = 0.05
"""Smallest sum of the daughters' |d0| (cm)."""

V0_Z_GAP_MAX = 2.0
"""Largest distance in z of the daughters at their crossing (cm)."""

POINTING_MIN = 0.98
"""Smallest cosine between transverse flight and momentum."""

V0_RADIUS_MAX = 60.0
"""Largest transverse distance of a decay that leaves tracks (cm)."""

K_SHORT_WIDTH, K_SHORT_SIGMA = 0.012, 0.0035
LAMBDA_WIDTH, LAMBDA_SIGMA = 0.006, 0.0015
"""Half width and resolution of the masses (GeV)."""

PROTON_MASS = 0.938272
"""GeV; PDG 2024."""

_MASSES = tuple(MASSES[name] for name in ("e+", "mu+", "pi+", "K+"))
_POSITIVE = tuple(SPECIES.index(name) for name in ("e+", "mu+", "pi+", "K+"))
_NEGATIVE = tuple(SPECIES.index(name) for name in ("e-", "mu-", "pi-", "K-"))
_PHOTON, _PI0 = SPECIES.index("gamma"), SPECIES.index("pi0")
_K_SHORT = SPECIES.index("K_S0")
_LAMBDA, _ANTI_LAMBDA = SPECIES.index("Lambda0"), SPECIES.index("anti-Lambda0")
_PION_MASS, _PI0_MASS = MASSES["pi+"], MASSES["pi0"]
_K_SHORT_MASS, _LAMBDA_MASS = MASSES["K_S0"], MASSES["Lambda0"]


@inner_kernel
def sort_descending(keys: NDArray[Any], order: NDArray[Any], n: int) -> None:
    """Sort the first ``n`` positions in ``order`` by falling key; stable."""
    for i in range(1, n):
        row = order[i]
        j = i - 1
        while j >= 0 and keys[order[j]] < keys[row]:
            order[j + 1] = order[j]
            j -= 1
        order[j + 1] = row


@inner_kernel
def is_from_beams(track: NDArray[Any]) -> bool:
    """Return whether a track's impact parameters are small."""
    return bool(abs(track[4]) < D0_MAX and abs(track[5]) < Z0_MAX)


@inner_kernel
def _add_boosted(
    store: Store,
    to_cm: NDArray[Any],
    species: int,
    energy: float,
    px: float,
    py: float,
    pz: float,
    tracks: int,
    photons: int,
    quality: float,
    value: float,
) -> None:
    """Add a candidate given in the lab frame."""
    add_candidate(
        store,
        species,
        to_cm[0, 0] * energy + to_cm[0, 1] * px + to_cm[0, 2] * py + to_cm[0, 3] * pz,
        to_cm[1, 0] * energy + to_cm[1, 1] * px + to_cm[1, 2] * py + to_cm[1, 3] * pz,
        to_cm[2, 0] * energy + to_cm[2, 1] * px + to_cm[2, 2] * py + to_cm[2, 3] * pz,
        to_cm[3, 0] * energy + to_cm[3, 1] * px + to_cm[3, 2] * py + to_cm[3, 3] * pz,
        tracks,
        photons,
        quality,
        value,
        0.0,
        -1,
    )


@inner_kernel
def fill_charged(
    store: Store,
    to_cm: NDArray[Any],
    tracks: NDArray[Any],
    order: NDArray[Any],
    n: int,
) -> None:
    """Fill the lists of e, mu, pi and K from tracks of the beams.

    A track enters every list whose hypothesis has a large enough share of the summed
    likelihoods (flat priors, as basf2's ``pionID`` and ``kaonID``); the log of the
    share is its quality. Bit ``i`` of the mask is ``order[i]``.
    """
    for i in range(min(n, MASK_BITS)):
        track = tracks[order[i]]
        if not is_from_beams(track):
            continue
        top = max(track[6], track[7], track[8], track[9], track[10])
        total = 0.0
        for k in range(6, 11):
            total += exp(track[k] - top)
        p2 = track[0] * track[0] + track[1] * track[1] + track[2] * track[2]
        for k in range(4):
            share = exp(track[6 + k] - top) / total
            if not _accepts(k, share, p2):
                continue
            _add_boosted(
                store,
                to_cm,
                _POSITIVE[k] if track[3] > 0 else _NEGATIVE[k],
                sqrt(p2 + _MASSES[k] * _MASSES[k]),
                track[0],
                track[1],
                track[2],
                1 << i,
                0,
                log(share),
                share,
            )


@inner_kernel
def _accepts(hypothesis: int, share: float, p2: float) -> bool:
    """Return whether the share of e (0), mu (1), pi (2) or K (3) is large enough."""
    if hypothesis == 0:
        return share > LEPTON_PROBABILITY_MIN and p2 > ELECTRON_MOMENTUM_MIN**2
    if hypothesis == 1:
        return share > LEPTON_PROBABILITY_MIN and p2 > MUON_MOMENTUM_MIN**2
    if hypothesis == 2:
        return share > PION_PROBABILITY_MIN
    return share > KAON_PROBABILITY_MIN


@kernel
def fill_photons(
    store: Store,
    to_cm: NDArray[Any],
    clusters: NDArray[Any],
    order: NDArray[Any],
    n: int,
) -> None:
    """Fill the photon list from clusters; bit ``i`` of the mask is ``order[i]``."""
    for i in range(min(n, MASK_BITS)):
        energy, theta, phi = (
            clusters[order[i], 0],
            clusters[order[i], 1],
            clusters[order[i], 2],
        )
        _add_boosted(
            store,
            to_cm,
            _PHOTON,
            energy,
            energy * sin(theta) * cos(phi),
            energy * sin(theta) * sin(phi),
            energy * cos(theta),
            0,
            1 << i,
            0.0,
            energy,
        )


@inner_kernel
def _energy_variance(energy: float) -> float:
    """Return the relative variance of a photon energy (GeV).

    (0.066 % / E)^2 + (0.81 % / E^(1/4))^2 + (1.34 %)^2: Belle CsI(Tl) calorimeter,
    Ikeda et al., Nucl. Instrum. Meth. A 441 (2000) 401.
    """
    return 0.00066**2 / (energy * energy) + 0.0081**2 / sqrt(energy) + 0.0134**2


@kernel
def fill_neutral_pions(store: Store) -> None:
    """Fill the pi0 list from pairs of photons, with the mass constraint.

    The directions are taken as exact and the logarithms of the energies as normal; then
    the constrained energies are E_i exp(d_i) with
    d_i = 2 log(m0 / m) v_i / (v_1 + v_2), v the relative variances, and the pull is
    2 log(m / m0) / sqrt(v_1 + v_2) (Lagrange multiplier on log m^2).
    """
    four = store.four
    begin = _PHOTON * CAPACITY
    for a in range(begin, begin + store.size[_PHOTON]):
        for b in range(a + 1, begin + store.size[_PHOTON]):
            mass2 = 2.0 * (
                four[a, 0] * four[b, 0]
                - four[a, 1] * four[b, 1]
                - four[a, 2] * four[b, 2]
                - four[a, 3] * four[b, 3]
            )
            if not PI0_MASS_MIN**2 < mass2 < PI0_MASS_MAX**2:
                continue
            first = _energy_variance(store.value[a, 0])
            second = _energy_variance(store.value[b, 0])
            shift = log(_PI0_MASS * _PI0_MASS / mass2)
            x = exp(shift * first / (first + second))
            y = exp(shift * second / (first + second))
            add_candidate(
                store,
                _PI0,
                x * four[a, 0] + y * four[b, 0],
                x * four[a, 1] + y * four[b, 1],
                x * four[a, 2] + y * four[b, 2],
                x * four[a, 3] + y * four[b, 3],
                0,
                store.used[a, 1] | store.used[b, 1],
                -0.5 * shift * shift / (first + second),
                sqrt(mass2),
                0.0,
                -1,
            )


@inner_kernel
def fill_v0s(
    store: Store,
    to_cm: NDArray[Any],
    tracks: NDArray[Any],
    order: NDArray[Any],
    n: int,
    vertex: NDArray[Any],
) -> None:
    """Fill K_S and Lambda from opposite charges that cross away from the beams.

    ``vertex`` is a work buffer for `cross`.
    """
    n = min(n, MASK_BITS)
    for i in range(n):
        first = tracks[order[i]]
        for j in range(i + 1, n):
            second = tracks[order[j]]
            if first[3] * second[3] >= 0 or not (
                abs(first[4]) + abs(second[4]) > V0_D0_SUM_MIN
            ):
                continue
            if cross(first, second, vertex) and _is_displaced(first, second, vertex):
                _add_v0(store, to_cm, first, second, vertex, (1 << i) | (1 << j))


@inner_kernel
def _is_displaced(
    first: NDArray[Any], second: NDArray[Any], vertex: NDArray[Any]
) -> bool:
    """Return whether the pair comes from a point away from the beams it points to."""
    flight = sqrt(vertex[0] * vertex[0] + vertex[1] * vertex[1])
    if vertex[3] > V0_Z_GAP_MAX or not FLIGHT_MIN < flight < V0_RADIUS_MAX:
        return False
    px, py = vertex[4] + vertex[6], vertex[5] + vertex[7]
    pt = sqrt(px * px + py * py)
    if px * vertex[0] + py * vertex[1] < POINTING_MIN * pt * flight:
        return False
    z_at_beams = vertex[2] - flight * (first[2] + second[2]) / pt
    return bool(abs(z_at_beams) < Z0_MAX)


@inner_kernel
def _add_v0(
    store: Store,
    to_cm: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
    vertex: NDArray[Any],
    mask: int,
) -> None:
    """Add the pair as K_S and as Lambda where its mass fits."""
    px, py, pz = vertex[4] + vertex[6], vertex[5] + vertex[7], first[2] + second[2]
    p2 = px * px + py * py + pz * pz
    a2 = vertex[4] * vertex[4] + vertex[5] * vertex[5] + first[2] * first[2]
    b2 = vertex[6] * vertex[6] + vertex[7] * vertex[7] + second[2] * second[2]
    pions = sqrt(a2 + _PION_MASS * _PION_MASS) + sqrt(b2 + _PION_MASS * _PION_MASS)
    mass = sqrt(max(pions * pions - p2, 0.0))
    if abs(mass - _K_SHORT_MASS) < K_SHORT_WIDTH:
        pull = (mass - _K_SHORT_MASS) / K_SHORT_SIGMA
        energy = sqrt(p2 + _K_SHORT_MASS * _K_SHORT_MASS)
        _add_boosted(
            store, to_cm, _K_SHORT, energy, px, py, pz, mask, 0, -0.5 * pull**2, mass
        )
    # In a Lambda decay seen from the lab the proton is the faster daughter.
    proton, pion2, proton2 = (first, b2, a2) if a2 > b2 else (second, a2, b2)
    if not proton[10] > proton[8]:
        return
    sum_ = sqrt(proton2 + PROTON_MASS * PROTON_MASS)
    sum_ += sqrt(pion2 + _PION_MASS * _PION_MASS)
    mass = sqrt(max(sum_ * sum_ - p2, 0.0))
    if abs(mass - _LAMBDA_MASS) < LAMBDA_WIDTH:
        pull = (mass - _LAMBDA_MASS) / LAMBDA_SIGMA
        energy = sqrt(p2 + _LAMBDA_MASS * _LAMBDA_MASS)
        species = _LAMBDA if proton[3] > 0 else _ANTI_LAMBDA
        _add_boosted(
            store, to_cm, species, energy, px, py, pz, mask, 0, -0.5 * pull**2, mass
        )
