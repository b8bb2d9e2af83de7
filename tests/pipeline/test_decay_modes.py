"""Branching fractions of the reconstructed modes against the parsed Belle II table."""

from __future__ import annotations

from functools import cache

import pytest

from smartfilter.pipeline.decay_channels import ANTIPARTICLE, PARTICLE, conjugate
from smartfilter.pipeline.decay_modes import MODES
from smartfilter.pipeline.decay_modes import conjugate as conjugate_mode
from smartfilter.pipeline.decay_table import load_belle2_table

CODES = {
    "e+": -11,
    "mu+": -13,
    "pi+": 211,
    "K+": 321,
    "pi0": 111,
    "K_S0": 310,
    "J/psi": 443,
    "D0": 421,
    "D+": 411,
    "D_s+": 431,
    "D*0": 423,
    "D*+": 413,
    "B0": 511,
    "B+": 521,
}
FINAL = {abs(code) for name, code in CODES.items() if not name.startswith("B")}
K_SHORT_TO_CHARGED_PIONS = 0.692


def code_of(name):
    if name in CODES:
        return CODES[name]
    base = name.removeprefix("anti-") if "anti" in name else f"{name[:-1]}+"
    return -CODES[base]


def list_channels(pdg):
    """Return (fraction, products) of a particle or antiparticle."""
    table = {decays.pdg: decays for decays in load_belle2_table()}
    if abs(pdg) not in table:
        return []
    other = PARTICLE if pdg < 0 else ANTIPARTICLE
    return [
        (c.branching_fraction, [conjugate(p) if pdg < 0 else p for p in c.products])
        for c in table[abs(pdg)].channels
        if c.on_mode != other
    ]


@cache
def fraction_to(products, wanted):
    """Return the probability that these particles end as exactly the wanted ones."""
    if not products:
        return float(not wanted)
    first, rest = products[0], products[1:]
    if abs(first) in FINAL:
        if first not in wanted:
            return 0.0
        k = wanted.index(first)
        return fraction_to(rest, wanted[:k] + wanted[k + 1 :])
    return sum(
        fraction * fraction_to(order([*daughters, *rest]), wanted)
        for fraction, daughters in list_channels(first)
        if len(daughters) + len(rest) <= len(wanted) + 3
    )


def order(products):
    """Return final particles first: most chains end there."""
    return tuple(sorted(products, key=lambda pdg: abs(pdg) not in FINAL))


@pytest.mark.parametrize(
    "mode", [m for m in MODES if ":" not in m.decay], ids=lambda m: m.decay
)
def test_mode_branching_equals_the_sum_of_all_chains_in_the_table(mode):
    wanted = tuple(sorted(code_of(name) for name in mode.daughters))
    total = sum(
        fraction * fraction_to(order(daughters), wanted)
        for fraction, daughters in list_channels(code_of(mode.mother))
    )
    total *= K_SHORT_TO_CHARGED_PIONS ** mode.daughters.count("K_S0")
    assert mode.branching == pytest.approx(total, rel=1e-3)


def test_conjugate_twice_is_the_mode_itself():
    assert all(conjugate_mode(conjugate_mode(mode)) == mode for mode in MODES)
