"""Draws of an epoch and the weights of the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smartfilter.training.config import TrainingConfig
from smartfilter.training.dataset import make_dataset
from smartfilter.training.split import Split
from smartfilter.training.streams import EpochStream, FixedStream, balance


@pytest.fixture(scope="module")
def dataset(toy_events):
    events = toy_events(900, pass_share=0.1).with_event_type("mixed")
    rare = events.labels["toy"] & (np.arange(900) % 4 == 0)
    return make_dataset(
        events.with_labels({"toy": events.labels["toy"], "rare": rare}),
        skims=("toy", "rare"),
        preset="smart_background",
        split=Split(),
    )


def collect(stream):
    inputs, passes, weight = zip(*stream, strict=True)
    return (
        torch.cat([i.event_type for i in inputs]),
        torch.cat(passes),
        torch.cat(weight),
    )


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_balance_classes_count_as_the_power_says(dataset, power):
    index = torch.arange(len(dataset))
    weight = balance(dataset, index, power)
    for k in range(2):
        passes = dataset.passes[:, k]
        n1, n0 = int(passes.sum()), int((~passes).sum())
        ratio = weight[passes, k][0] / weight[~passes, k][0]
        assert float(ratio) == pytest.approx((n0 / n1) ** power, rel=1e-4)
        assert float(weight[:, k].sum()) == pytest.approx(len(dataset), rel=1e-4)


def test_epoch_stream_is_a_function_of_seed_and_epoch(dataset):
    config = TrainingConfig(batch_size=16)
    one, two = EpochStream(dataset, config), EpochStream(dataset, config)
    first = collect(one)
    for a, b in zip(first, collect(two), strict=True):
        assert torch.equal(a, b)
    two.epoch = 1
    assert not torch.equal(first[1], collect(two)[1])
    two.epoch = 0
    assert torch.equal(first[1], collect(two)[1])


@pytest.mark.parametrize("limit", [None, 60])
def test_epoch_stream_drawn_events_stand_for_all(dataset, limit):
    config = TrainingConfig(
        failing_per_passing=1.0, events_per_epoch=limit, batch_size=16
    )
    stream = EpochStream(dataset, config)
    _, passes, weight = collect(stream)
    index = dataset.find("train")
    everything = balance(dataset, index)
    n_passing = int(dataset.passes[index].any(dim=1).sum())
    assert len(passes) == (limit or 2 * n_passing)
    assert len(list(stream)) == len(stream)
    any_pass = passes.any(dim=1)
    for chosen, pool in (
        (any_pass, dataset.passes[index].any(dim=1)),
        (~any_pass, ~dataset.passes[index].any(dim=1)),
    ):
        share = float(weight[chosen].sum() / weight.sum())
        expected = float(everything[pool].sum() / everything.sum())
        assert share == pytest.approx(expected, abs=0.15 if limit else 1e-4)


def test_epoch_stream_hides_the_share_of_event_types(dataset):
    config = TrainingConfig(unknown_event_type_share=0.3, failing_per_passing=100.0)
    hidden = float((collect(EpochStream(dataset, config))[0] == -1).float().mean())
    assert hidden == pytest.approx(0.3, abs=0.06)
    config = TrainingConfig(unknown_event_type_share=0.0)
    assert not (collect(EpochStream(dataset, config))[0] == -1).any()


def test_epoch_stream_importance_scales_the_loss_of_a_skim(dataset):
    plain = collect(EpochStream(dataset, TrainingConfig()))[2]
    config = TrainingConfig(loss_weight={"toy": 3.0})
    weighted = collect(EpochStream(dataset, config))[2]
    np.testing.assert_allclose(weighted[:, 0], 1.5 * plain[:, 0], rtol=1e-5)
    np.testing.assert_allclose(weighted[:, 1], 0.5 * plain[:, 1], rtol=1e-5)


def test_fixed_stream_repeats_itself(dataset):
    stream = FixedStream(dataset, TrainingConfig(failing_per_passing=1.0))
    for a, b in zip(collect(stream), collect(stream), strict=True):
        assert torch.equal(a, b)
