"""Belle II's decay table (``DECAY_BELLE2.DEC``) as channels of Pythia 8.

Source of the table: the file that the package decaylanguage carries, which is read
with its parser (two seconds, once per process). Its EvtGen models have few
counterparts in Pythia; `DecayChannel.treatment` says what became of each:

- ``exact``: phase space, Pythia channels (the file gives Pythia 8's own mode numbers),
  two-body decays of spinless particles to at most one vector, V -> P P with the
  polarisation that Pythia knows, omega -> 3 pi and pi0 Dalitz decays.
- ``approximate``: V - A weights in the place of form factors in semileptonic decays;
  inclusive b -> u and b -> s decays into quarks.
- ``phase_space``: all other models.

Aliases (K*L, phiR, ...) decay as the particles that they stand for.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from particle import PDGID, InvalidParticle, Particle, ParticleNotFound

from smartfilter.errors import MissingPackageError
from smartfilter.pipeline.decay_channels import (
    ANTIPARTICLE,
    BOTH,
    EXTRA_PARTICLES,
    PARTICLE,
    RANDOM_FLAVOUR,
    DecayChannel,
    ParticleDecays,
    conjugate,
)

try:
    import pythia8mc
except ImportError as error:
    raise MissingPackageError("pythia8mc", "pipeline") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "Coverage",
    "load_belle2_table",
    "summarise_decay_table",
]

MAX_PRODUCTS = 8
DALITZ = 11
"""Pythia's ``meMode`` for X l l, the leptons last."""

SEMILEPTONIC = frozenset(
    {"BGL", "BCL", "ISGW2", "HQET3", "SLPOLE", "SLBKPOLE", "LLSW", "GOITY_ROBERTS"}
)
NAMED_MODELS: Mapping[str, tuple[int, str]] = {
    "PHSP": (0, "exact"),
    "VSS": (2, "exact"),
    "OMEGA_DALITZ": (1, "exact"),
    "PI0_DALITZ": (11, "exact"),
    "BTOSLLBALL": (11, "approximate"),
    "BTOSLLALI": (11, "approximate"),
}
"""EvtGen model -> Pythia's meMode (htmldoc/ParticleDecays.html) and treatment."""

POLARISED_MODELS = ("SVV", "STS", "STV", "HELAMP")
"""Beginnings of two-body models that set helicities beyond Pythia's V -> P P."""

INCLUSIVE_PARTICLES = frozenset({"Xsd", "Xsu", "Xss", "Xu0", "Xu+"})
INCLUSIVE_MODELS = {"BTOXSGAMMA": 31, "BTOXSLL": 12}
"""Models with an X_s: quarks in its place; any other model: 42."""


class Coverage(NamedTuple):
    """Branching fraction of one particle by treatment; the four add up to 1."""

    pdg: int
    name: str
    n_channels: int
    exact: float
    approximate: float
    phase_space: float
    unmapped: float


def _sign_and_base(name: str) -> tuple[int, str]:
    """Split EvtGen names of antiparticles: -1 and the particle's name."""
    if name.startswith("anti-"):
        return -1, name.removeprefix("anti-")
    positive = f"{name[:-1]}+"
    if name.endswith("-") and positive in {*EXTRA_PARTICLES, *INCLUSIVE_PARTICLES}:
        return -1, positive
    return 1, name


@cache
def _find_code(name: str) -> int | None:
    """Return the PDG code of an EvtGen name, None if there is none."""
    sign, base = _sign_and_base(name)
    if base == "rndmflav":
        return sign * RANDOM_FLAVOUR
    if base in EXTRA_PARTICLES:
        return sign * EXTRA_PARTICLES[base].pdg
    try:
        return int(Particle.from_evtgen_name(name).pdgid)
    except (ParticleNotFound, InvalidParticle):
        return None


def _is_spinless(pdg: int) -> bool:
    return abs(pdg) in (130, 310) or abs(pdg) % 10 == 1


def _order_semileptonic(mother: int, products: Sequence[int]) -> tuple[int, ...]:
    """Order leptons and hadrons as Pythia's V - A weight expects them.

    The weight is (mother, first) (second, third): the neutrino comes first in decays
    of down-type quarks, the charged lepton in those of charm.
    """
    leptons = sorted((p for p in products if 11 <= abs(p) <= 16), key=abs)
    hadrons = [p for p in products if not 11 <= abs(p) <= 16]
    is_charm = PDGID(mother).has_charm and not PDGID(mother).has_bottom
    return (*(leptons if is_charm else reversed(leptons)), *hadrons)


class _Reader:
    """Translate the parsed file, particle by particle."""

    def __init__(self, known: Any) -> None:
        try:
            from decaylanguage import DecFileParser, data
        except ImportError as error:
            raise MissingPackageError("decaylanguage", "pipeline") from error

        source = resources.files(data) / "DECAY_BELLE2.DEC"
        with resources.as_file(source) as path:
            parser = DecFileParser(str(path))
            parser.parse(include_ccdecays=False)
        names = parser.list_decay_mother_names()
        self._aliases: dict[str, str] = parser.dict_aliases()
        self._listed: dict[str, Any] = {
            name: parser.build_decay_chains(name, stable_particles=names)[name]
            for name in names
            if name not in self._aliases
        }
        codes = {_find_code(name) for name in self._listed}
        self._decaying = {abs(code) for code in codes if code is not None}
        self._known = known

    def read(self) -> Iterator[ParticleDecays]:
        """Yield particles that can appear in our events."""
        for name in self._listed:
            code = _find_code(name)
            if code is not None and code > 0 and _is_wanted(code):
                yield self._read_particle(name, code)

    def _read_particle(self, name: str, code: int) -> ParticleDecays:
        inherited = sum(row["bf"] for row in self._listed[name] if not row["fs"])
        channels, unmapped = self._read_block(name, code)
        antiparticle = next(
            (other for other in self._listed if _find_code(other) == -code), None
        )
        if antiparticle is not None and conjugate(code) == -code:
            others, _ = self._read_block(antiparticle, -code)
            channels = _merge_antiparticle(channels, others)
        return ParticleDecays(code, name, tuple(channels), inherited, unmapped)

    def _read_block(self, name: str, code: int) -> tuple[list[DecayChannel], float]:
        """Return channels and what cannot be one, of lines with products."""
        channels, unmapped = [], 0.0
        for row in self._listed[name]:
            fraction = float(row["bf"])
            if fraction <= 0 or not row["fs"]:
                continue
            translated = self._translate(code, row)
            if translated is None:
                unmapped += fraction
                continue
            mode, products, treatment = translated
            channels.append(DecayChannel(BOTH, fraction, mode, products, treatment))
        return channels, unmapped

    def _translate(
        self, mother: int, row: dict[str, Any]
    ) -> tuple[int, tuple[int, ...], str] | None:
        """Return meMode, products and treatment of a line, None if impossible."""
        model, names = row["model"], [self._aliases.get(n, n) for n in row["fs"]]
        quarks = [q for n in names for q in self._inclusive_quarks(n)]
        products = [_find_code(n) for n in names if not self._inclusive_quarks(n)]
        codes = [p for p in products if p is not None and self._can_be_made(p)]
        total = len(codes) + len(quarks)
        if len(codes) < len(products) or total > MAX_PRODUCTS:
            return None
        if quarks:
            mode = INCLUSIVE_MODELS.get(model, 42)
            leptons_first = _order_semileptonic(mother, codes)
            order = (*leptons_first, *quarks) if mode == 42 else (*quarks, *codes)
            return mode, order, "approximate"
        if model == "PYTHIA":
            return int(row["model_params"][0]), tuple(codes), "exact"
        if model in SEMILEPTONIC:
            return 22, _order_semileptonic(mother, codes), "approximate"
        is_polarised = model.startswith(POLARISED_MODELS)
        if _is_spinless(mother) and total == 2 and not is_polarised:
            return 0, tuple(codes), "exact"
        mode, treatment = NAMED_MODELS.get(model, (0, "phase_space"))
        if mode == DALITZ:
            codes.sort(key=lambda code: 11 <= abs(code) <= 16)
        return mode, tuple(codes), treatment

    def _inclusive_quarks(self, name: str) -> tuple[int, ...]:
        """Return the quarks of an X_s or X_u, empty for all other names."""
        sign, base = _sign_and_base(name)
        if base not in INCLUSIVE_PARTICLES:
            return ()
        quarks = [_find_code(q) for q in self._listed[base][0]["fs"]]
        return tuple(sign * q for q in quarks if q is not None and abs(q) <= 9)

    def _can_be_made(self, code: int) -> bool:
        return bool(self._known.isParticle(code)) or abs(code) in self._decaying


def _is_wanted(code: int) -> bool:
    """Leave out leptons (Pythia's tau currents stay) and b hadrons never made."""
    return code > 100 and (code in (511, 521) or not PDGID(code).has_bottom)


def _merge_antiparticle(
    particle: list[DecayChannel], antiparticle: list[DecayChannel]
) -> list[DecayChannel]:
    """Join the channels of both; those that both share serve both."""
    mirrored = [
        channel._replace(
            on_mode=ANTIPARTICLE, products=tuple(map(conjugate, channel.products))
        )
        for channel in antiparticle
    ]
    remaining = list(mirrored)
    keys = [_channel_key(channel) for channel in remaining]
    joined = []
    for channel in particle:
        key = _channel_key(channel)
        if key in keys:
            position = keys.index(key)
            del keys[position], remaining[position]
            joined.append(channel)
        else:
            joined.append(channel._replace(on_mode=PARTICLE))
    return [*joined, *remaining]


def _channel_key(channel: DecayChannel) -> tuple[tuple[int, ...], float, int]:
    """Return what is equal for the same channel of particle and antiparticle."""
    products = tuple(sorted(channel.products))
    return products, channel.branching_fraction, channel.matrix_element


@lru_cache
def load_belle2_table() -> tuple[ParticleDecays, ...]:
    """Return the channels of `DECAY_BELLE2.DEC`, once per process.

    Raises
    ------
    MissingPackageError
        If decaylanguage is not installed.
    """
    known = pythia8mc.Pythia("", False).particleData
    return tuple(_Reader(known).read())


def summarise_decay_table(table: Sequence[ParticleDecays]) -> list[Coverage]:
    """Return how much branching fraction of each particle was mapped, and how.

    Particles (not antiparticles) in the order of the table; fractions are normalised
    to the sum of the particle's listed branching fractions.
    """
    rows = []
    for decays in table:
        own = [c for c in decays.channels if c.on_mode != ANTIPARTICLE]
        shares = {
            treatment: sum(
                c.branching_fraction for c in own if c.treatment == treatment
            )
            for treatment in ("exact", "approximate", "phase_space")
        }
        shares["exact"] += decays.inherited
        total = sum(shares.values()) + decays.unmapped
        scaled = [share / total for share in (*shares.values(), decays.unmapped)]
        rows.append(Coverage(decays.pdg, decays.name, len(own), *scaled))
    return rows
