"""The effective sample size loss against the closed formula of the legacy filter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smartfilter.model_info import DEFAULT
from smartfilter.speedup import sampling_speedup
from smartfilter.training.config import TrainingConfig
from smartfilter.training.dataset import make_dataset
from smartfilter.training.losses import (
    EffectiveSampleSizeLoss,
    find_importance,
    make_loss,
)
from smartfilter.training.retention import find_retention_rates
from smartfilter.training.split import Split

T_G, T_N, T_S = 0.08, 0.63, 97.04


def make_sample(n=400, seed=0, n_skims=1):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, n_skims))
    passes = np.zeros((n, n_skims))
    passes[: n // 2] = 1.0
    return logits, passes, rng.uniform(0.5, 2.0, (n, n_skims))


def compute(loss, *arrays):
    return loss(*(torch.from_numpy(a) for a in arrays))


def make(rates, importance=None, simulation_cost=T_S / T_G, filter_cost=T_N / T_G):
    rates = torch.tensor(rates)
    importance = torch.ones(len(rates)) if importance is None else importance
    return EffectiveSampleSizeLoss(rates, importance, simulation_cost, filter_cost)


def legacy_metric(logit, passes, weight, rate):
    """The closed formula of basf2's metric, time with over time without the filter."""
    p = 1.0 / (1.0 + np.exp(-logit))

    def sums(values):
        return values[passes == 1].sum(), values[passes == 0].sum()

    kept = rate * sums(weight * p)[0] + (1 - rate) * sums(weight * p)[1]
    dropped = list(sums(weight * (1 - p)))
    dropped = rate * dropped[0] + (1 - rate) * dropped[1]
    with_filter = kept * (T_G + T_N + T_S) + dropped * (T_G + T_N)
    n_eff = sums(weight)[0] ** 2 / sums(weight / p)[0]
    return with_filter / (n_eff * (T_G + T_S))


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_loss_balanced_classes_equal_the_legacy_metric(rate):
    logits, passes, weight = make_sample()
    weight[passes == 1] *= weight[passes == 0].sum() / weight[passes == 1].sum()
    expected = legacy_metric(logits[:, 0], passes[:, 0], weight[:, 0], rate)
    got = float(compute(make([rate]), logits, passes, weight))
    assert got == pytest.approx(expected, rel=1e-6)


def test_loss_is_one_over_the_sampling_speedup_for_any_weights():
    logits, passes, weight = make_sample(seed=1)
    p = 1.0 / (1.0 + np.exp(-logits))
    share = np.where(passes == 1, 0.05 / (weight * passes).sum(), 0.95)
    share[passes == 0] /= (weight * (1 - passes)).sum()
    expected = sampling_speedup(
        retention_rate=0.05,
        mean_pass_over_p=(weight * share * passes / p).sum(),
        mean_keep_probability=(weight * share * p).sum(),
        t_g=T_G,
        t_n=T_N,
        t_s=T_S,
    )
    got = float(compute(make([0.05]), logits, passes, weight))
    assert 1.0 / got == pytest.approx(float(expected), rel=1e-6)


def test_loss_keeping_everything_costs_the_filter_only():
    logits, passes, weight = make_sample()
    got = float(compute(make([0.05]), np.full_like(logits, 50.0), passes, weight))
    assert got == pytest.approx((T_G + T_N + T_S) / (T_G + T_S), rel=1e-6)


def test_loss_several_skims_are_averaged_with_their_importance():
    logits, passes, weight = make_sample(n_skims=2)
    single = [
        float(compute(make([r]), *(a[:, [k]] for a in (logits, passes, weight))))
        for k, r in enumerate((0.05, 0.2))
    ]
    loss = make([0.05, 0.2], torch.tensor([0.5, 1.5]))
    got = float(compute(loss, logits, passes, weight))
    assert got == pytest.approx((0.5 * single[0] + 1.5 * single[1]) / 2, rel=1e-6)


def test_loss_batch_without_passing_events_has_no_gradient():
    logits = torch.randn(5, 2, requires_grad=True)
    passes = torch.tensor([[1.0, 0.0]] + [[0.0, 0.0]] * 4)
    make([0.05, 0.05])(logits, passes, torch.ones(5, 2)).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[:, 1], torch.zeros(5))
    assert (logits.grad[:, 0] != 0).all()
    make([0.05])(logits[:, 1:], passes[:, 1:], torch.ones(5, 1)).backward()
    assert torch.isfinite(logits.grad).all()


def test_loss_certain_rejection_of_a_passing_event_stays_finite():
    logits = torch.tensor([[-500.0], [500.0]], requires_grad=True)
    loss = make([0.05])(logits, torch.tensor([[1.0], [0.0]]), torch.ones(2, 1))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_loss_gradient_equals_finite_differences():
    logits, passes, weight = (torch.from_numpy(a) for a in make_sample(12, n_skims=2))
    loss = make([0.05, 0.4], torch.tensor([0.5, 1.5]), 10.0, 0.5)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, passes, weight), (logits,))


def test_make_loss_takes_rates_of_all_data_or_configured_ones(toy_events):
    events = toy_events(300, pass_share=0.2)
    dataset = make_dataset(
        events, skims=("toy",), preset="smart_background", split=Split()
    )
    config = TrainingConfig(loss="effective_sample_size")
    loss = make_loss(dataset, config)
    assert isinstance(loss, EffectiveSampleSizeLoss)
    rate = events.labels["toy"].mean()
    assert float(loss.retention_rate[0]) == pytest.approx(rate)
    assert loss.simulation_cost == pytest.approx(T_S / T_G)
    assert loss.filter_cost == pytest.approx(T_N / T_G)
    configured = config.model_copy(update={"retention_rate": {"toy": 0.01}})
    assert find_retention_rates(dataset.totals, 0, "toy", configured)[DEFAULT] == 0.01
    loss = make_loss(dataset, configured)
    assert isinstance(loss, EffectiveSampleSizeLoss)
    assert float(loss.retention_rate[0]) == pytest.approx(0.01)


def test_find_importance_has_the_mean_one(toy_events):
    events = toy_events(30)
    both = events.with_labels({"a": events.labels["toy"], "b": ~events.labels["toy"]})
    dataset = make_dataset(
        both, skims=("a", "b"), preset="smart_background", split=Split()
    )
    got = find_importance(dataset, TrainingConfig(loss_weight={"b": 3.0}))
    assert got.tolist() == [0.5, 1.5]
