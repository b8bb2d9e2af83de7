"""Working points against plain counting, duplicates, and the command that finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smartfilter import sampling, speedup
from smartfilter.errors import UsageError
from smartfilter.points import Times
from smartfilter.working_point import find_joint_points, find_working_point

TIMES = Times(t_g=1.0, t_s=100.0, t_n=0.5)
SKIM = "feiHadronicB0"


def draw(n_events: int = 4000, n_skims: int = 1, seed: int = 1) -> Any:
    """Calibrated scores and labels, (n_events, n_skims) each."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n_events, 1)) + rng.normal(size=(n_events, n_skims))
    scores = 1.0 / (1.0 + np.exp(3.0 - 1.5 * z))
    return scores, rng.random(scores.shape) < scores


def test_working_point_with_labels_is_plain_counting():
    scores, passes = draw()
    s, y = scores[:, 0], passes[:, 0]
    point = find_working_point(s, y, times=TIMES)
    assert (point.source, point.n_events) == ("labels", 4000)
    assert point.retention_rate == pytest.approx(y.mean())
    keep = s >= point.best.threshold
    assert point.best.tpr == pytest.approx(keep[y].mean())
    assert point.best.fpr == pytest.approx(keep[~y].mean())
    assert point.best.keep_fraction == pytest.approx(keep.mean())
    binomial = np.sqrt(point.best.tpr * (1 - point.best.tpr) / y.sum())
    assert point.best.tpr_error == pytest.approx(binomial)
    cost = (4000 * 1.5 + keep.sum() * 100) / (keep & y).sum()
    assert point.best.speedup == pytest.approx(4000 * 101 / y.sum() / cost)
    assert all(row.speedup <= point.best.speedup for row in point.curve)
    assert point.best in point.curve
    c = point.sampling.constant
    p = np.clip(c * np.sqrt(s), 0.01, 1)
    assert point.sampling.mean_keep_probability == pytest.approx(p.mean())
    assert point.sampling.n_eff_per_event == pytest.approx(
        y.mean() ** 2 / np.mean(y / p)
    )
    assert point.sampling.share_at_max_weight == np.mean(p == 0.01)


def test_working_point_of_calibrated_scores_agrees_with_labels():
    scores, passes = draw(50_000)
    s, y = scores[:, 0], passes[:, 0]
    expected = find_working_point(s, times=TIMES)
    found = find_working_point(s, y, times=TIMES)
    assert expected.source == "calibrated scores"
    assert expected.held_out_speedup is None
    assert expected.retention_rate == pytest.approx(s.mean())
    assert found.held_out_speedup is not None
    for a, b, error in (
        (expected.best.speedup, found.best.speedup, found.best.speedup_error),
        (
            expected.sampling.speedup,
            found.sampling.speedup,
            found.sampling.speedup_error,
        ),
        (expected.best.speedup, found.held_out_speedup, found.best.speedup_error),
    ):
        assert a == pytest.approx(b, abs=5 * error)
    assert expected.sampling.constant == pytest.approx(found.sampling.constant, rel=0.1)


def test_working_point_errors_are_the_spread_of_samples():
    points = []
    for seed in range(120):
        scores, passes = draw(1000, seed=seed)
        points.append(find_working_point(scores[:, 0], passes[:, 0], times=TIMES))
    speedups = [p.sampling.speedup for p in points]
    errors = [p.sampling.speedup_error for p in points]
    assert np.mean(errors) == pytest.approx(np.std(speedups), rel=0.3)
    assert max(p.sampling.n_eff_per_passing_event for p in points) <= 1.0


def test_working_point_at_another_retention_rate_equals_repeated_events():
    scores, passes = draw()
    s, y = scores[:, 0], passes[:, 0]
    rows = np.concatenate([np.arange(4000), *[np.flatnonzero(y)] * 2])
    repeated = find_working_point(s[rows], y[rows], times=TIMES)
    weighted = find_working_point(
        s, y, times=TIMES, retention_rate=repeated.retention_rate
    )
    assert weighted.retention_rate == pytest.approx(y[rows].mean())
    for name in ("threshold", "tpr", "fpr", "keep_fraction", "speedup"):
        assert getattr(weighted.best, name) == pytest.approx(
            getattr(repeated.best, name)
        )
    for name in ("constant", "mean_keep_probability", "n_eff_per_event", "speedup"):
        assert getattr(weighted.sampling, name) == pytest.approx(
            getattr(repeated.sampling, name), rel=1e-4
        )


def test_working_point_without_maximum_weight_costs_no_more():
    scores, _ = draw()
    point = find_working_point(scores[:, 0], times=TIMES, max_weight=3.0)
    assert point.sampling.max_weight == 3.0
    assert point.sampling.share_at_max_weight > 0
    assert point.sampling_unlimited.share_at_max_weight == 0
    assert point.sampling_unlimited.speedup > point.sampling.speedup


def test_working_point_that_nothing_can_improve_keeps_everything():
    """Where simulation is cheaper than generation, filtering cannot pay."""
    scores, passes = draw()
    times = Times(t_g=100.0, t_s=1.0)
    point = find_working_point(scores[:, 0], passes[:, 0], times=times)
    assert point.best.tpr == pytest.approx(1.0, abs=0.01)
    assert point.sampling.mean_keep_probability > 0.95
    assert point.sampling.speedup == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_working_point_refuses_events_of_one_kind(share: float):
    scores, _ = draw(10)
    with pytest.raises(UsageError, match="passing and failing"):
        find_working_point(scores[:, 0], np.full(10, bool(share)), times=TIMES)
    with pytest.raises(UsageError, match="retention rate"):
        find_working_point(scores[:, 0], times=TIMES, retention_rate=share)


def test_working_point_of_two_events_has_no_held_out_speedup():
    point = find_working_point(
        np.array([0.2, 0.7]), np.array([False, True]), times=TIMES
    )
    assert point.held_out_speedup is None
    assert point.best.threshold == 0.7


def test_joint_points_share_one_probability_and_count_each_skim():
    scores, passes = draw(4000, 3)
    points = find_joint_points(scores, passes, times=TIMES)
    c = sampling.find_joint_constants(scores, passes, **TIMES._asdict())
    assert [point.constant for point in points] == pytest.approx(c)
    p = np.clip(np.sqrt((c**2 * scores).mean(axis=1)), 0.01, 1)
    for k, point in enumerate(points):
        expected = speedup.sampling_speedup(
            retention_rate=passes[:, k].mean(),
            mean_pass_over_p=np.mean(passes[:, k] / p),
            mean_keep_probability=p.mean(),
            **TIMES._asdict(),
        )
        assert point.speedup == pytest.approx(expected)
        assert point.mean_keep_probability == pytest.approx(p.mean())
