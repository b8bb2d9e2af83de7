"""Parts that networks share, one by one."""

from __future__ import annotations

import pytest
import torch

from smartfilter.errors import UsageError
from smartfilter.models.blocks import BatchNorm, CommonCodes
from smartfilter.models.deepset import parse_layers
from smartfilter.models.features import FeatureSelection
from smartfilter.models.segments import (
    find_events,
    find_published_neighbours,
    find_rows,
    softmax_segments,
)

NAMES = ("prod_time", "energy", "x", "y", "z", "px", "py", "pz")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("DS_1_GCN_", ["linear"]),
        ("DS_3_GCN_1", ["gcn", "linear", "linear"]),
        ("DS_4_GCN_23", ["linear", "gcn", "gcn", "linear"]),
        ("DS_7_GCN_1357", ["gcn", "linear"] * 3 + ["gcn"]),
        (["linear", "gcn"], ["linear", "gcn"]),
    ],
)
def test_parse_layers_positions_count_from_one(layers, expected):
    assert parse_layers(layers) == tuple(expected)


@pytest.mark.parametrize("layers", ["DS_3_GCN_4", "DS_0_GCN_", "GCN", [], ["conv"]])
def test_parse_layers_wrong_name_refused(layers):
    with pytest.raises(UsageError, match="layers: expected"):
        parse_layers(layers)


def test_feature_selection_without_keeps_the_order_of_the_others():
    select = FeatureSelection(8, NAMES, without=("px", "energy"))
    x = torch.arange(16.0).reshape(2, 8)
    assert select.n_outputs == 6
    assert torch.equal(select(x), x[:, [0, 2, 3, 4, 6, 7]])


def test_feature_selection_cylindrical_finds_columns_by_name():
    names = ("pz", "y", "py", "energy", "x", "prod_time", "px", "z")
    x = torch.tensor([[1.0, 4.0, -12.0, 5.0, -3.0, 7.0, 5.0, 9.0]])
    got = FeatureSelection(8, names, cylindrical=True)(x)
    torch.testing.assert_close(got, torch.tensor([[5.0, 9.0, 13.0, 1.0, 7.0, 5.0]]))
    less = FeatureSelection(8, names, cylindrical=True, without=("r", "energy"))(x)
    torch.testing.assert_close(less, torch.tensor([[9.0, 13.0, 1.0, 7.0]]))


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (NAMES, {"without": ("mass",)}, "got mass"),
        (NAMES[:7], {"without": ("x",)}, "names of 8 columns, got 7"),
        (NAMES, {"without": NAMES}, "at least one feature"),
        (("a", *NAMES[1:]), {"cylindrical": True}, "got prod_time"),
    ],
)
def test_feature_selection_impossible_choice_refused(names, options, message):
    with pytest.raises(UsageError, match=message):
        FeatureSelection(8, names, **options)


def test_common_codes_are_the_most_frequent_of_the_training_set():
    codes = CommonCodes(6, 2)
    codes.set_constants(torch.tensor([5, 5, 5, 1, 1, 2], dtype=torch.int16))
    expected = [[1, 0], [0, 1], [0, 0], [0, 0]]
    got = codes(torch.tensor([5, 1, 2, 0], dtype=torch.int32))
    assert got.tolist() == expected
    codes.set_constants(torch.tensor([3]))
    assert codes(torch.tensor([3, 0])).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("n_rows", [0, 1])
def test_batch_norm_few_rows_take_the_running_statistics(n_rows):
    norm = BatchNorm(3).train()
    norm(torch.randn(50, 3))
    x = torch.randn(n_rows, 3)
    before = norm.norm.state_dict()["running_mean"].clone()
    got = norm(x)
    assert torch.equal(got, norm.eval()(x))
    assert torch.equal(before, norm.norm.state_dict()["running_mean"])


def test_softmax_segments_large_values_equal_torch():
    x = torch.tensor([[1e4, 0.0], [1e4, 1.0], [-1e4, 2.0], [3.0, 3.0]])
    got = softmax_segments(x, torch.tensor([0, 0, 0, 2]), 3)
    expected = torch.cat([x[:3].softmax(dim=0), torch.ones(1, 2)])
    torch.testing.assert_close(got, expected)


def test_find_events_empty_events_have_no_node():
    assert find_events(torch.tensor([0, 0, 2, 2, 3])).tolist() == [1, 1, 3]


def test_find_published_neighbours_motherless_leaf_is_isolated():
    """Node 2 has neither mother nor daughter; 3 names itself; 0 has a daughter."""
    mother = torch.tensor([-1, 0, -1, 3])
    neighbours = find_published_neighbours(mother, torch.zeros(1), normalise=False)
    matrix = torch.zeros(4, 4)
    matrix[find_rows(neighbours, 4), neighbours.node] += neighbours.weight
    expected = [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert matrix.tolist() == expected
