"""Particle lists and decay modes of the reconstruction, and their table for kernels.

A decay string such as ``B0 -> D- pi+`` means itself and its charge conjugate. The lists
``B0`` and ``B+`` hold both charge states, because only the best candidate of each is
wanted; ``D0:hh`` and ``D*+:hh`` are the lists of one skim, as in a basf2 steering file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "CONJUGATE",
    "MASSES",
    "MODES",
    "SPECIES",
    "Mode",
    "ModeTable",
    "Window",
    "build_mode_table",
    "conjugate",
    "default_mode_table",
]

MASSES = {
    "gamma": 0.0,
    "e+": 0.000511,
    "mu+": 0.105658,
    "pi+": 0.139570,
    "K+": 0.493677,
    "pi0": 0.134977,
    "K_S0": 0.497611,
    "Lambda0": 1.115683,
    "J/psi": 3.096900,
    "D0": 1.86484,
    "D+": 1.86966,
    "D_s+": 1.96835,
    "D*0": 2.00685,
    "D*+": 2.01026,
    "D0:hh": 1.86484,
    "D*+:hh": 2.01026,
    "B0": 5.27972,
    "B+": 5.27941,
    "B0:pi0pi0": 5.27972,
}
"""Mass (GeV) of each list and of its charge conjugate; PDG 2024."""

_CHARGED = {
    "e+": "e-",
    "mu+": "mu-",
    "pi+": "pi-",
    "K+": "K-",
    "Lambda0": "anti-Lambda0",
    "D0": "anti-D0",
    "D+": "D-",
    "D_s+": "D_s-",
    "D*0": "anti-D*0",
    "D*+": "D*-",
    "D0:hh": "anti-D0:hh",
    "D*+:hh": "D*-:hh",
}

CONJUGATE = _CHARGED | {v: k for k, v in _CHARGED.items()}
"""Charge conjugate of a list; a list that is absent is its own."""

SPECIES = tuple(
    name
    for base in MASSES
    for name in ([base, CONJUGATE[base]] if base in CONJUGATE else [base])
)
"""Names of the particle lists; daughters come before mothers."""


class Window(IntEnum):
    """What a candidate is selected by."""

    MASS = 0
    """|m - nominal| below ``width``; the pull is (m - nominal) / ``sigma``."""
    BEAM = 1
    """Mbc above `Mode.mbc_min` and |delta E| below ``width``; two pulls."""


@dataclass(frozen=True)
class Mode:
    """A decay mode.

    Parameters
    ----------
    decay : str
        ``mother -> daughter daughter ...`` in the names of `SPECIES`.
    branching : float
        Branching fraction through any resonances (``DECAY_BELLE2.DEC``, times that of
        K_S -> pi+ pi- where needed); its log is the prior of the mode.
    width, sigma : float
        Half width of the window and resolution (GeV) of the mass or of delta E.
    window : Window
    mbc_min, mbc_sigma : float
        Smallest beam-constrained mass and its resolution (GeV); `Window.BEAM` only.
    momentum_min : float
        Smallest momentum of the candidate in the centre-of-mass frame (GeV).
    """

    decay: str
    branching: float
    width: float
    sigma: float
    window: Window = Window.MASS
    mbc_min: float = 5.24
    mbc_sigma: float = 0.003
    momentum_min: float = 0.0

    @property
    def mother(self) -> str:
        """Name of the mother's list."""
        return self.decay.split(" -> ")[0]

    @property
    def daughters(self) -> tuple[str, ...]:
        """Names of the daughters' lists."""
        return tuple(self.decay.split(" -> ")[1].split())


def _charm() -> list[Mode]:
    """Return the modes of charm and charmonium."""
    narrow, wide = (0.020, 0.006), (0.035, 0.013)
    hh = ("K- pi+", "K- K+", "pi- pi+", "K+ pi-")
    return [
        Mode("J/psi -> e+ e-", 0.0594, 0.100, 0.020),
        Mode("J/psi -> mu+ mu-", 0.0593, 0.050, 0.015),
        Mode("D0 -> K- pi+", 0.0395, *narrow),
        Mode("D0 -> K- pi+ pi0", 0.1484, *wide),
        Mode("D0 -> K- pi+ pi+ pi-", 0.08719, *narrow),
        Mode("D0 -> K_S0 pi+ pi-", 0.01952, *narrow),
        Mode("D0 -> K_S0 pi0", 0.008581, *wide),
        Mode("D0 -> K_S0 pi+ pi- pi0", 0.03793, *wide),
        Mode("D0 -> K- K+", 0.00408, *narrow),
        Mode("D+ -> K- pi+ pi+", 0.0938, *narrow),
        Mode("D+ -> K- pi+ pi+ pi0", 0.06324, *wide),
        Mode("D+ -> K_S0 pi+", 0.01081, *narrow),
        Mode("D+ -> K_S0 pi+ pi0", 0.05093, *wide),
        Mode("D+ -> K_S0 pi+ pi+ pi-", 0.0182, *narrow),
        Mode("D+ -> K- K+ pi+", 0.01213, *narrow),
        Mode("D_s+ -> K+ K- pi+", 0.0647, *narrow),
        Mode("D_s+ -> K_S0 K+", 0.01038, *narrow),
        # With the D at its nominal mass, these windows are windows on m(D*) - m(D).
        Mode("D*0 -> D0 pi0", 0.647, 0.0030, 0.0012),
        Mode("D*+ -> D0 pi+", 0.677, 0.0025, 0.0008),
        Mode("D*+ -> D+ pi0", 0.307, 0.0030, 0.0012),
        *(Mode(f"D0:hh -> {daughters}", 0.0395, 0.065, 0.006) for daughters in hh),
        Mode("D*+:hh -> D0:hh pi+", 0.677, 0.0025, 0.0008, momentum_min=1.5),
    ]


def _beauty() -> list[Mode]:
    """Return the modes of B mesons.

    B0 -> anti-D0 pi+ pi- is left out, because the B+ makes most of such candidates.
    """
    branching = {
        "B0 -> D- pi+": 0.002521,
        "B0 -> D- pi+ pi0": 0.007797,
        "B0 -> D- pi+ pi+ pi-": 0.005761,
        "B0 -> D- pi+ pi+ pi- pi0": 0.002955,
        "B0 -> D- K+": 0.0001859,
        "B0 -> D- D0 K+": 0.00107,
        "B0 -> D- D_s+": 0.007237,
        "B0 -> D*- pi+": 0.002743,
        "B0 -> D*- pi+ pi0": 0.007142,
        "B0 -> D*- pi+ pi+ pi-": 0.006717,
        "B0 -> D*- pi+ pi+ pi- pi0": 0.002313,
        "B0 -> D*- K+": 0.0002121,
        "B0 -> D*- D0 K+": 0.00247,
        "B0 -> D*- D*0 K+": 0.01102,
        "B0 -> D*- D_s+": 0.008045,
        "B0 -> J/psi K_S0": 0.0003021,
        "B0 -> J/psi K+ pi-": 0.001316,
        "B0 -> J/psi K_S0 pi+ pi-": 0.0007833,
        "B+ -> anti-D0 pi+": 0.004675,
        "B+ -> anti-D0 pi+ pi0": 0.009832,
        "B+ -> anti-D0 pi+ pi+ pi-": 0.00557,
        "B+ -> anti-D0 pi+ pi+ pi- pi0": 0.004455,
        "B+ -> anti-D0 K+": 0.0003626,
        "B+ -> anti-D0 D0 K+": 0.001724,
        "B+ -> anti-D0 D_s+": 0.00901,
        "B+ -> anti-D*0 pi+": 0.004901,
        "B+ -> anti-D*0 pi+ pi0": 0.0105,
        "B+ -> anti-D*0 pi+ pi+ pi-": 0.009407,
        "B+ -> anti-D*0 D_s+": 0.008218,
        "B+ -> D- pi+ pi+": 0.001193,
        "B+ -> D*- pi+ pi+": 0.001383,
        "B+ -> D*- pi+ pi+ pi0": 0.002765,
        "B+ -> J/psi K+": 0.001006,
        "B+ -> J/psi K+ pi+ pi-": 0.001025,
        "B+ -> J/psi K_S0 pi+": 0.0004519,
    }
    modes = []
    for decay, fraction in branching.items():
        n_pi0 = decay.count("pi0")
        sigma, mbc_sigma = (0.030, 0.0035) if n_pi0 else (0.015, 0.0028)
        modes.append(
            Mode(decay, fraction, 0.2, sigma, Window.BEAM, mbc_sigma=mbc_sigma)
        )
    rare = Mode("B0:pi0pi0 -> pi0 pi0", 1.55e-6, 0.5, 0.08, Window.BEAM, mbc_min=5.2)
    return [*modes, rare]


MODES = (*_charm(), *_beauty())
"""Decay modes, without their charge conjugates."""


def conjugate(mode: Mode) -> Mode:
    """Return the charge conjugate of a mode."""
    names = [CONJUGATE.get(name, name) for name in (mode.mother, *mode.daughters)]
    decay = f"{names[0]} -> {' '.join(names[1:])}"
    return Mode(
        **{f: getattr(mode, f) for f in mode.__dataclass_fields__} | {"decay": decay}
    )


class ModeTable(NamedTuple):
    """Decay modes as columns for kernels, in an order that makes daughters first.

    ``mother`` and ``daughters`` are positions in `SPECIES` (daughters padded with -1);
    ``log_prior`` is the log of the branching fraction, the other
    columns are those of `Mode`.
    """

    mother: NDArray[np.int64]
    daughters: NDArray[np.int64]
    n_daughters: NDArray[np.int64]
    window: NDArray[np.int64]
    width: NDArray[np.float64]
    sigma: NDArray[np.float64]
    mbc_min: NDArray[np.float64]
    mbc_sigma: NDArray[np.float64]
    momentum_min: NDArray[np.float64]
    log_prior: NDArray[np.float64]


MAX_DAUGHTERS = 5


def _with_conjugates(modes: Sequence[Mode]) -> list[Mode]:
    """Return every mode and its conjugate once, equal daughters side by side."""
    rows: dict[tuple[str, tuple[str, ...]], Mode] = {}
    for mode in (m for base in modes for m in (base, conjugate(base))):
        daughters = tuple(sorted(mode.daughters, key=SPECIES.index, reverse=True))
        rows.setdefault((mode.mother, daughters), mode)
    return sorted(rows.values(), key=lambda mode: SPECIES.index(mode.mother))


def build_mode_table(modes: Sequence[Mode] = MODES) -> ModeTable:
    """Return the table of these modes and their charge conjugates.

    Raises
    ------
    UsageError
        If a name is unknown, a mode has fewer than two or more than five daughters, or
        a daughter does not come before its mother in `SPECIES`.
    """
    for mode in modes:
        _check(mode)
    rows = _with_conjugates(modes)
    daughters = np.full((len(rows), MAX_DAUGHTERS), -1, dtype=np.int64)
    for row, mode in zip(daughters, rows, strict=True):
        positions = sorted((SPECIES.index(d) for d in mode.daughters), reverse=True)
        row[: len(positions)] = positions

    def column(name: str) -> NDArray[Any]:
        return np.array([getattr(mode, name) for mode in rows])

    return ModeTable(
        mother=np.array([SPECIES.index(m.mother) for m in rows], dtype=np.int64),
        daughters=daughters,
        n_daughters=np.array([len(m.daughters) for m in rows], dtype=np.int64),
        window=column("window").astype(np.int64),
        width=column("width"),
        sigma=column("sigma"),
        mbc_min=column("mbc_min"),
        mbc_sigma=column("mbc_sigma"),
        momentum_min=column("momentum_min"),
        log_prior=np.log(column("branching")),
    )


def _check(mode: Mode) -> None:
    names = (mode.mother, *mode.daughters)
    unknown = [name for name in names if name not in SPECIES]
    if unknown:
        raise UsageError(
            f"decay mode '{mode.decay}': expected names among {', '.join(SPECIES)}, "
            f"got {', '.join(unknown)}"
        )
    if not 2 <= len(mode.daughters) <= MAX_DAUGHTERS:
        raise UsageError(
            f"decay mode '{mode.decay}': expected 2 to {MAX_DAUGHTERS} daughters, "
            f"got {len(mode.daughters)}"
        )
    if SPECIES.index(mode.mother) <= max(map(SPECIES.index, mode.daughters)):
        raise UsageError(
            f"decay mode '{mode.decay}': expected daughters before their mother in "
            "SPECIES, got another order"
        )


@lru_cache(maxsize=1)
def default_mode_table() -> ModeTable:
    """Return the table of `MODES`, built once."""
    return build_mode_table()
