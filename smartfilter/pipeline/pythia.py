"""Pythia 8 set up for the seven event types of Belle II."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import MissingPackageError, SmartFilterError
from smartfilter.events import EVENT_TYPES
from smartfilter.pipeline.beams import ENERGY, ENERGY_SPREAD, beam_momenta
from smartfilter.pipeline.decay_channels import apply_decay_table
from smartfilter.pipeline.upsilon import UPSILON_PDG, draw_upsilon_decays

try:
    import pythia8mc
except ImportError as error:
    raise MissingPackageError("pythia8mc", "pipeline") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from smartfilter.pipeline.decay_channels import ParticleDecays

__all__ = ["B_TYPES", "QUARK_TYPES", "UpsilonSource", "make_pythia"]

B_TYPES = {"charged": 521, "mixed": 511}
"""Event type -> B meson."""

QUARK_TYPES = {"ddbar": 1, "uubar": 2, "ssbar": 3, "ccbar": 4, "taupair": 15}
"""Event type -> fermion pair of the virtual photon."""

MAX_SEED = 900_000_000
"""Largest seed of Pythia."""

BLOCK_SIZE = 1024
"""Y(4S) decays drawn at once; part of what a seed means."""

COMMON_SETTINGS = (
    "Print:quiet = on",
    "Print:verbosity = 0",
    "Random:setSeed = on",
    "130:mayDecay = on",
    "311:tau0 = 0.",
    # Lund parameters of basf2's generators/modules/fragmentation/data/pythia_belle2.dat
    "StringFlav:etaSup = 0.27",
    "StringFlav:etaPrimeSup = 0.12",
    "StringFragmentation:stopMass = 0.3",
    "StringZ:aLund = 0.32",
    "StringZ:bLund = 0.62",
    "StringZ:rFactC = 1.0",
    "ParticleDecays:multIncrease = 4.5",
    "ParticleDecays:multIncreaseWeak = 2.0",
)

UPSILON_SETTINGS = (
    "Beams:frameType = 5",
    "PDF:lepton = off",
    "LesHouches:matchInOut = off",
    "LesHouches:setLifetime = 2",
    "Check:event = off",
    "ParticleDecays:mixB = off",
    f"{UPSILON_PDG}:new = Upsilon4S void 3 0 0 10.5794 0.0205 10.5 10.7 0.",
    f"{UPSILON_PDG}:mayDecay = off",
)

# VINCIA's coherent QED shower in hadron and tau decays (arXiv:2002.04939), in the
# place of PHOTOS; photons only, down to 0.1 MeV of the shower's scale.
RADIATION_SETTINGS = (
    "PartonShowers:model = 2",
    "HadronLevel:QED = on",
    "Vincia:nGammaToLepton = 0",
    "Vincia:nGammaToQuark = 0",
    "Vincia:QminChgL = 1e-4",
)

CONTINUUM_SETTINGS = (
    "Beams:frameType = 3",
    "Beams:idA = 11",
    "Beams:idB = -11",
    "WeakSingleBoson:ffbar2gmZ = on",
    "TimeShower:QEDshowerByQ = on",
    "TimeShower:QEDshowerByGamma = off",
    "23:onMode = off",
)

# Full hadronic currents without spin correlation between the taus, which would cost
# 20 ms per event; single taus are unpolarised here up to Z exchange.
TAU_SETTINGS = ("TauDecays:mode = 3", "TauDecays:tauPolarization = 0.")

# Lightest pair of hadrons (or taus) that can come out, with some room, GeV.
MINIMUM_MASS = {
    "ddbar": 2.0,
    "uubar": 2.0,
    "ssbar": 2.0,
    "ccbar": 3.75,
    "taupair": 3.56,
}


class UpsilonSource(pythia8mc.LHAup):
    """Feed Y(4S) -> B anti-B to Pythia, one row of a drawn block per event.

    Parameters
    ----------
    rng : numpy.random.Generator
    pdg : int
        511 or 521.
    smear : bool
        Whether the beam energies have their spread.
    """

    def __init__(self, rng: np.random.Generator, *, pdg: int, smear: bool) -> None:
        super().__init__(3)
        self._rows = self._draw_rows(rng, pdg, smear)

    @staticmethod
    def _draw_rows(
        rng: np.random.Generator, pdg: int, smear: bool
    ) -> Iterator[tuple[float, list[tuple[Any, ...]]]]:
        while True:
            block = draw_upsilon_decays(rng, BLOCK_SIZE, pdg=pdg, smear=smear)
            masses = np.sqrt(
                np.square(block.b_momentum[..., 0])
                - np.square(block.b_momentum[..., 1:]).sum(axis=-1)
            )
            columns = (
                block.mass,
                block.upsilon,
                block.b_pdg,
                block.b_momentum,
                masses,
                block.b_proper_time,
            )
            for mass, p4, codes, b_p4, b_mass, time in zip(
                *(column.tolist() for column in columns), strict=True
            ):
                yield mass, _les_houches_rows(mass, p4, codes, b_p4, b_mass, time)

    def setInit(self) -> bool:
        """Declare the beams and the one process (called by Pythia)."""
        self.setBeamA(11, ENERGY[0], 0, 0)
        self.setBeamB(-11, ENERGY[1], 0, 0)
        self.addProcess(1, 1.0, 0.0, 1.0)
        return True

    def setEvent(self, _process: int = 0) -> bool:
        """Hand over the next decay (called by Pythia)."""
        mass, rows = next(self._rows)
        self.setProcess(1, 1.0, mass, 1 / 137.0, 0.2)
        for row in rows:
            self.addParticle(*row)
        return True


def _les_houches_rows(
    mass: float,
    p4: list[float],
    codes: list[int],
    b_p4: list[list[float]],
    b_mass: list[float],
    time: list[float],
) -> list[tuple[Any, ...]]:
    """Return arguments of ``LHAup.addParticle``: beams, Y(4S), two B mesons."""
    (energy_a, energy_b) = ENERGY
    unpolarised, scale = 9.0, 1.0

    def row(
        pdg: int,
        status: int,
        mothers: tuple[int, int],
        p: list[float],
        m: float,
        tau: float,
    ) -> tuple[Any, ...]:
        return (
            pdg,
            status,
            *mothers,
            0,
            0,
            p[1],
            p[2],
            p[3],
            p[0],
            m,
            tau,
            unpolarised,
            scale,
        )

    return [
        row(11, -1, (0, 0), [energy_a, 0.0, 0.0, energy_a], 0.0, 0.0),
        row(-11, -1, (0, 0), [energy_b, 0.0, 0.0, -energy_b], 0.0, 0.0),
        row(UPSILON_PDG, 2, (1, 2), p4, mass, 0.0),
        *(row(codes[i], 1, (3, 3), b_p4[i], b_mass[i], time[i]) for i in (0, 1)),
    ]


def _continuum_settings(
    event_type: str, *, smear: bool, radiation: bool
) -> Iterator[str]:
    yield from CONTINUUM_SETTINGS
    # The simple shower radiates in decays to lepton pairs only.
    yield f"HadronLevel:QED = {'on' if radiation else 'off'}"
    yield from TAU_SETTINGS if event_type == "taupair" else ()
    yield f"23:onIfAny = {QUARK_TYPES[event_type]}"
    yield f"PhaseSpace:mHatMin = {MINIMUM_MASS[event_type]}"
    for beam, letter in enumerate("AB"):
        momentum = beam_momenta(np.array([ENERGY[beam]]), beam)[0]
        for axis, component in zip("xyz", momentum[1:], strict=True):
            yield f"Beams:p{axis}{letter} = {component:.9f}"
    if smear:
        yield "Beams:allowMomentumSpread = on"
        for spread, letter in zip(ENERGY_SPREAD, "AB", strict=True):
            yield f"Beams:sigmaPz{letter} = {spread}"


def make_pythia(
    event_type: str,
    *,
    seed: int,
    smear_beams: bool,
    radiation: bool,
    decay_table: Sequence[ParticleDecays] = (),
    extra_settings: Iterable[str] = (),
) -> tuple[Any, UpsilonSource | None]:
    """Return an initialised Pythia and, for B events, the source that it reads.

    The source must live as long as Pythia, which keeps no reference to it.

    Raises
    ------
    SmartFilterError
        If Pythia refuses a setting or fails to initialise.
    """
    sequence = np.random.SeedSequence([seed, EVENT_TYPES.index(event_type)])
    pythia_seed, source_seed = sequence.generate_state(2, np.uint64)
    settings = [*COMMON_SETTINGS, f"Random:seed = {1 + int(pythia_seed) % MAX_SEED}"]
    source = None
    if event_type in B_TYPES:
        settings += UPSILON_SETTINGS
        settings += RADIATION_SETTINGS if radiation else ()
        rng = np.random.default_rng(int(source_seed))
        source = UpsilonSource(rng, pdg=B_TYPES[event_type], smear=smear_beams)
    else:
        settings += _continuum_settings(
            event_type, smear=smear_beams, radiation=radiation
        )
    pythia = pythia8mc.Pythia("", False)
    for setting in [*settings, *extra_settings]:
        if not pythia.readString(setting, True):
            raise SmartFilterError(f"Pythia: setting '{setting}' refused")
    apply_decay_table(pythia, decay_table)
    if source is not None:
        pythia.setLHAupPtr(source)
    if not pythia.init():
        raise SmartFilterError(f"Pythia: initialisation failed for '{event_type}'")
    return pythia, source
