"""Numbers of parameters of published configurations against hand formulas."""

from __future__ import annotations

import pytest

from smartfilter.models import build, count_parameters
from smartfilter.models.published_gcn import ReferenceGCN
from smartfilter.pdg import load_vocabulary
from smartfilter.training.config import read_config

NAMES = ("prod_time", "energy", "x", "y", "z", "px", "py", "pz")
PUBLISHED = {"n_features": 8, "n_tokens": load_vocabulary("published").n_tokens}


def linear(n_inputs, n_outputs):
    return (n_inputs + 1) * n_outputs


U, E = 32, 541 * 8  # units; the embedding of the published table has 4328 parameters
HEAD = linear(U, U) + linear(U, 1)
BIG = linear(256, 256)
PARAMETERS = {
    "lab_report/deepset": linear(8, U) + HEAD,
    "lab_report/combined": E + linear(16, U) + HEAD,
    "lab_report/deepset_gcn": linear(8, U) + linear(U, U) + HEAD,
    "lab_report/combined_gcn": E + linear(16, U) + linear(U, U) + HEAD,
    "lab_report/combined_gcn_normalized": E + linear(16, U) + linear(U, U) + HEAD,
    "lab_report/reversed": E + linear(16, U) + linear(U, U) + HEAD,
    "lab_report/DS_3_GCN_1": linear(8, U) + 2 * linear(U, U) + HEAD,
    "lab_report/DS_6_GCN_135": linear(8, U) + 5 * linear(U, U) + HEAD,
    "lab_report/DS_8_GCN_234567_cylindrical": linear(6, U) + 7 * linear(U, U) + HEAD,
    # Two numbers per normalised unit: of 31 inputs, three times and once 32.
    "lab_report/optimal": 541 * 25
    + (2 * 31 + linear(31, U))
    + 3 * (2 * U + linear(U, U))
    + (linear(U, U) + 2 * U + linear(U, 1)),
    # Each encoder layer: queries, keys, values, output; two linear layers; two norms.
    "lab_report/transformer": E
    + linear(16, U)
    + 2 * (4 * linear(U, U) + linear(U, 2 * U) + linear(2 * U, U) + 2 * 2 * U)
    + linear(U, 1),
    "lab_report/flat_mlp": linear(100 * 8, U) + HEAD,
    "lab_report/flat_mlp_masked": linear(100 * 9, U) + HEAD,
    "ablations/no_momentum": E + linear(13, U) + linear(U, U) + HEAD,
    "ablations/no_energy": E + linear(15, U) + linear(U, U) + HEAD,
    "pd4ml/reference_gcn": E + linear(16, 128) + 8 * linear(128, 128) + linear(128, 1),
    # 8 features and 182 codes; slopes: one per unit, per slot and unit, per unit.
    "pd4ml/graph_net_slides": (linear(190, 256) + 2 * BIG + 3 * 256)
    + 3 * (BIG + 2 * 256 + 100 * 256)
    + 7 * (BIG + 2 * 256 + 256)
    + linear(256, 1),
    # 8 features, 182 codes and the mother in 100 slots; twelve hidden layers.
    "pd4ml/fully_connected": linear(100 * 191, 256) + 11 * BIG + linear(256, 1),
    # Each layer: map without bias, two attention vectors and a bias of 4 x 32; the gate;
    # the state from 4 x 32 pooled units and, but for the first layer, 32 old ones.
    "gatgap": E
    + (16 + 5 * 128) * 128
    + 6 * (3 * 128 + linear(128, 1))
    + (linear(128, 32) + 5 * linear(160, 32))
    + linear(32, 1),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_configuration_parameters_equal_the_formula(name):
    config = read_config(name)
    more = {"features": NAMES} if config.network in ("deepset", "flat_mlp") else {}
    network = build(config.network, **PUBLISHED, **config.settings, **more)
    assert count_parameters(network) == PARAMETERS[name]


def test_reference_gcn_parameters_equal_the_published_table():
    config = read_config("pd4ml/reference_gcn")
    network = build(config.network, **PUBLISHED, **config.settings)
    assert isinstance(network, ReferenceGCN)
    assert network.embedding.weight.numel() == 4328
    assert count_parameters(network) == 4328 + 2176 + 8 * 16512 + 129
