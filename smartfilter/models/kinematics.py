"""What the detector could see of each particle and of all that it decays to.

Computed inside a network from raw features, PDG tokens and mothers, so that preparation
and the official ONNX interface stay as they are.
"""

from __future__ import annotations

from math import degrees, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from smartfilter.errors import UsageError
from smartfilter.models.layers import compress
from smartfilter.models.trees import Links, add_up, count_ancestors, pool_sum
from smartfilter.pdg import load_vocabulary

__all__ = ["N_EVENT", "N_NODE", "Kinematics"]

BEAMS = (11.006, 0.457, 0.0, 2.999)
"""(E, px, py, pz) of the colliding beams, GeV, lab frame: HER 7.004 GeV, LER 4.002 GeV,
crossing angle 83 mrad (basf2, ``beamparameters``)."""

TRACK_ANGLES, PHOTON_ANGLES = (17.0, 150.0), (12.4, 155.1)
"""Polar angles in degrees: the acceptance of the drift chamber and of the calorimeter
(Belle II Technical Design Report, arXiv:1011.0352)."""

SLOW, LIGHT = 0.01, 0.1
"""GeV: directions of slower particles and smaller masses would be nothing but rounding."""

TRACK_PT, PHOTON_ENERGY = 0.1, 0.05
"""GeV: below it a charged particle curls up, a photon is lost in background."""

_KINDS = (
    ("track", (11, 13, 211, 321, 2212)),
    ("photon", (22,)),
    ("neutrino", (12, 14, 16)),
    ("neutral", (130, 310, 2112)),
    ("kaon", (321,)),
    ("lepton", (11, 13)),
    ("proton", (2212,)),
    ("beauty", (511, 521)),
    ("pi0", (111,)),
    ("k_short", (310,)),
    ("d", (411, 421)),
    ("dstar", (413, 423)),
)
"""Columns of the table of tokens after the charge."""

_COUNTS = 9
_SUMS = _COUNTS + 8
_WHOLE = 4
N_NODE = 25 + 2 * _SUMS + 6 + _WHOLE
"""Features per node."""

N_EVENT = _SUMS + _WHOLE + 4
"""Features per event."""


def _describe_tokens(vocabulary: str) -> Tensor:
    """Return charge and kinds of each token, float32 (n_tokens, 1 + n_kinds)."""
    words = load_vocabulary(vocabulary)
    table = np.zeros((words.n_tokens, 1 + len(_KINDS)), dtype=np.float32)
    for token, code in enumerate(words.codes):
        if token == words.unknown:
            continue
        table[token, 0] = _find_charge(code)
        for column, (_, codes) in enumerate(_KINDS, start=1):
            table[token, column] = abs(code) in codes
    return torch.from_numpy(table)


def _find_charge(code: int) -> float:
    """Return the charge of a particle in units of e, 0 if nothing is known of it."""
    # A saved network knows its charges: the module in a steering path needs no table.
    from particle import PDGID, InvalidParticle, Particle, ParticleNotFound

    try:
        charge = Particle.from_pdgid(code).charge
    except (ParticleNotFound, InvalidParticle):
        charge = PDGID(code).charge
    return 0.0 if charge is None else float(charge)


def _boost() -> Tensor:
    """Return the boost to the centre-of-mass frame, acting on (E, px, py, pz)."""
    energy, *momentum = BEAMS
    p = torch.tensor(momentum, dtype=torch.float64)
    mass = sqrt(energy**2 - float(p @ p))
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 0] = energy / mass
    matrix[0, 1:] = matrix[1:, 0] = -p / mass
    matrix[1:, 1:] += torch.outer(p, p) / (mass * (mass + energy))
    return matrix.float()


def _size(vector: Tensor) -> Tensor:
    """Return the lengths of vectors, shape (n, 1)."""
    return vector.square().sum(dim=1, keepdim=True).sqrt()


class Kinematics(nn.Module):
    r"""Features of nodes and events from what a detector would see.

    A node without daughters is final. Final charged particles and photons in the
    acceptance are visible; everything else final is lost. Sums over the final
    descendants of each node: numbers of visible tracks, photons, kaons, leptons, protons,
    of neutrinos, neutral hadrons, lost tracks and lost photons; visible charge, energy and
    momentum; energy of neutrinos, of neutral hadrons and of lost tracks and photons. From
    them visible mass, beam-constrained mass and energy difference to half of the beams'.

    For the event also the ratio R2 of Fox-Wolfram moments (Phys. Rev. Lett. 41 (1978)
    1581) of what is visible: with :math:`T = \sum_i p_i p_i^T / |p_i|`,
    :math:`H_2 / H_0 = (3 \,\mathrm{tr}\, T^2 / (\sum_i |p_i|)^2 - 1) / 2`.

    Parameters
    ----------
    vocabulary : str
        Of the tokens, see `smartfilter.pdg.load_vocabulary`.
    n_tokens : int
        Has to agree with it.

    Raises
    ------
    UsageError
        If there is no such vocabulary, or it has another size.
    """

    if TYPE_CHECKING:  # TorchScript cannot read these annotations
        tokens: Tensor
        boost: Tensor

    def __init__(self, vocabulary: str, n_tokens: int) -> None:
        super().__init__()
        tokens = _describe_tokens(vocabulary)
        if len(tokens) != n_tokens:
            raise UsageError(
                f"vocabulary '{vocabulary}': expected {n_tokens} tokens, "
                f"got {len(tokens)}"
            )
        boost = _boost()
        self.register_buffer("tokens", tokens)
        self.register_buffer("boost", boost)
        # Scripts know attributes, not constants of a file.
        self.track_from, self.track_to = TRACK_ANGLES
        self.photon_from, self.photon_to = PHOTON_ANGLES
        self.slow, self.light, self.degrees = SLOW, LIGHT, degrees(1.0)
        self.track_pt, self.photon_energy = TRACK_PT, PHOTON_ENERGY
        self.half_energy = 0.5 * sqrt(BEAMS[0] ** 2 - sum(p * p for p in BEAMS[1:]))

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        descendants: Links,
        daughters: Links,
        mother: Links,
        offsets: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return features of nodes and of events, and which nodes are B mesons.

        Parameters
        ----------
        x : Tensor, shape (n_nodes, 8)
            prod_time, x, y, z, energy, px, py, pz.
        pdg : Tensor of int, shape (n_nodes,)
            Tokens.
        descendants, daughters, mother : Links
        offsets : Tensor of int64, shape (n_events + 1,)

        Returns
        -------
        node : Tensor, shape (n_nodes, N_NODE)
        event : Tensor, shape (n_events, N_EVENT)
        beauty : Tensor of 0 and 1, shape (n_nodes, 1)
        """
        kind = self.tokens[pdg.to(torch.int64)]
        charge, track, photon = kind[:, 0:1], kind[:, 1:2], kind[:, 2:3]
        # Beyond any beam energy numbers are nonsense: bounded, they stay finite.
        lab = x[:, 4:8].clamp(-1e3, 1e3)
        # Sums and differences of large energies in double precision, their logarithms not.
        exact = lab.to(torch.float64) @ self.boost.to(torch.float64).transpose(0, 1)
        cm = exact.to(x.dtype)
        pt = _size(lab[:, 1:3])
        momentum = _size(lab[:, 1:4])
        momentum_cm = _size(cm[:, 1:4])
        angle = self.degrees * torch.atan2(pt, lab[:, 3:4])
        inside = self._is_between(angle, self.track_from, self.track_to)
        hit = self._is_between(angle, self.photon_from, self.photon_to)
        n_daughters = add_up(torch.ones_like(pt), daughters)
        final = (n_daughters == 0).to(x.dtype)
        seen_track = final * track * inside * (pt > self.track_pt).to(x.dtype)
        seen_photon = (
            final * photon * hit * (lab[:, 0:1] > self.photon_energy).to(x.dtype)
        )
        seen = seen_track + seen_photon
        lost_track = final * track - seen_track
        lost_photon = final * photon - seen_photon
        neutrino, neutral = final * kind[:, 3:4], final * kind[:, 4:5]
        leaf = torch.cat(
            [
                seen_track,
                seen_photon,
                seen_track * kind[:, 5:8],
                neutrino,
                neutral,
                lost_track,
                lost_photon,
                seen_track * charge,
                seen * exact,
                neutrino * exact[:, 0:1],
                neutral * exact[:, 0:1],
                (lost_track + lost_photon) * exact[:, 0:1],
            ],
            dim=1,
        )
        sums = add_up(leaf, descendants)
        below = sums.to(x.dtype)
        mother_below = add_up(below, mother)
        whole = (below[:, 5:9].sum(dim=1, keepdim=True) == 0).to(x.dtype)
        complete = whole * (1.0 - final) * kind[:, 9:13]
        complete_below = add_up(complete, descendants)
        distance = torch.minimum(angle - self.track_from, self.track_to - angle)
        place = x[:, 0:4].clamp(-1e6, 1e6)
        node = torch.cat(
            [
                compress(place * 10.0),
                compress(_size(place[:, 1:3]) * 10.0),
                ((pt - 0.05) * 5.0).clamp(0.0, 1.0),
                (distance * 0.05).clamp(-1.0, 1.0),
                torch.log1p(lab[:, 0:1].abs()),
                torch.log1p(momentum),
                torch.log1p(pt),
                torch.log1p(cm[:, 0:1].abs()),
                torch.log1p(momentum_cm),
                lab[:, 1:4] / momentum.clamp(min=self.slow),
                cm[:, 1:4] / momentum_cm.clamp(min=self.slow),
                charge,
                inside,
                hit,
                final,
                seen,
                n_daughters * 0.2,
                0.1 * count_ancestors(descendants, x),
                self._scale(below),
                self._scale(mother_below),
                self._combine(sums, whole),
                torch.log1p(complete_below),
            ],
            dim=1,
        )
        total = pool_sum(leaf, offsets).to(x.dtype)
        event = torch.cat(
            [
                self._scale(total),
                torch.log1p(pool_sum(complete, offsets)),
                self._shape(seen * exact, seen * _size(exact[:, 1:4]), offsets, x),
            ],
            dim=1,
        )
        return node, event, kind[:, 8:9]

    def _scale(self, sums: Tensor) -> Tensor:
        """Return sums of leaves in ranges of order one."""
        counts, rest = sums[:, :9], sums[:, 9:]
        return torch.cat([torch.log1p(counts), compress(rest)], dim=1)

    def _is_between(self, angle: Tensor, low: float, high: float) -> Tensor:
        return ((angle > low) & (angle < high)).to(angle.dtype)

    def _combine(self, below: Tensor, whole: Tensor) -> Tensor:
        """Return visible mass, Mbc less half the energy, energy difference and the like."""
        energy = below[:, 10:11]
        p2 = below[:, 11:14].square().sum(dim=1, keepdim=True)
        mass2 = (energy.square() - p2).clamp(min=0.0)
        mass = (mass2 + self.light * self.light).sqrt() - self.light
        constrained = (self.half_energy * self.half_energy - p2).clamp(min=0.0).sqrt()
        missing = (self.half_energy - constrained).to(whole.dtype)
        difference = (energy - self.half_energy).to(whole.dtype)
        return torch.cat(
            [
                torch.log1p(mass.to(whole.dtype)),
                missing * -0.2,
                compress(difference),
                torch.exp(-difference.square() * 10.0),
                whole,
                torch.log1p(p2.sqrt().to(whole.dtype)),
            ],
            dim=1,
        )

    def _shape(self, cm: Tensor, size: Tensor, offsets: Tensor, like: Tensor) -> Tensor:
        """Return R2, visible momentum, missing energy and missing mass squared."""
        p = cm[:, 1:4]
        products = p.unsqueeze(2) * (p / size.clamp(min=1e-6)).unsqueeze(1)
        tensor = pool_sum(products.flatten(1), offsets)
        size_sum = pool_sum(size, offsets)
        squares = tensor.square().sum(dim=1, keepdim=True)
        r2 = 1.5 * squares / size_sum.square().clamp(min=1e-6) - 0.5
        total = pool_sum(cm, offsets)
        missing = 2.0 * self.half_energy - total[:, 0:1]
        p2 = total[:, 1:4].square().sum(dim=1, keepdim=True)
        missing2 = (missing.square() - p2).to(like.dtype)
        return torch.cat(
            [
                r2.clamp(-1.0, 1.0).to(like.dtype),
                torch.log1p(p2.sqrt().to(like.dtype)),
                torch.asinh(missing.to(like.dtype)),
                torch.asinh(missing2),
            ],
            dim=1,
        )
