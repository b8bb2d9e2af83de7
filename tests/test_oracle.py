"""Estimates of the limit on events whose pass probability is known."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.cli import cli

N_EVENTS, N_REPEATS = 40_000, 16


@pytest.fixture(scope="module")
def estimates(load_benchmark: Any) -> Any:
    return load_benchmark("pass_probability")


def draw_beta(rng: np.random.Generator) -> tuple[Any, Any]:
    """Return p from beta distributions, one for each of eight scores."""
    score = rng.integers(8, size=N_EVENTS)
    mean = np.array([0.001, 0.003, 0.008, 0.02, 0.05, 0.1, 0.2, 0.4])[score]
    return score.astype(float), rng.beta(1.5 * mean, 1.5 * (1.0 - mean))


def draw_normal(rng: np.random.Generator) -> tuple[Any, Any]:
    """Return p whose log odds are normally distributed about the score."""
    score = rng.normal(size=N_EVENTS)
    noise = 1.4 * rng.normal(size=N_EVENTS)
    return score, 1.0 / (1.0 + np.exp(4.5 - 1.6 * score - noise))


def draw(estimates: Any, shape: str = "beta") -> tuple[Any, np.ndarray[Any, Any]]:
    """Return repeats of events with known p, and p."""
    rng = np.random.default_rng(2)
    score, p = {"beta": draw_beta, "normal": draw_normal}[shape](rng)
    counts = rng.random((N_EVENTS, N_REPEATS)) < p[:, None]
    passes = rng.random(N_EVENTS) < p
    return estimates.Repeats(score, passes, counts, np.ones(N_EVENTS)), p


def truth(p: np.ndarray[Any, Any], cost: float) -> tuple[float, float]:
    """Return AUC and speedup of p itself from the probabilities alone."""
    p = np.sort(p)[::-1]
    tpr, fpr = np.cumsum(p) / p.sum(), np.cumsum(1 - p) / (1 - p).sum()
    kept = np.arange(1, len(p) + 1) / len(p)
    gain = tpr * (1 + cost) / (1 + cost * kept)
    return float(np.trapezoid(tpr, fpr)), float(gain.max())


@pytest.fixture(scope="module")
def limits(estimates: Any) -> tuple[Any, tuple[float, float]]:
    sample, p = draw(estimates)
    return estimates.estimate_limits(sample, 100.0), truth(p, 100.0)


def test_modelled_limit_is_that_of_the_known_probabilities(limits: Any):
    found, (auc, speedup) = limits
    assert found["modelled"].auc == pytest.approx(auc, abs=0.004)
    assert found["modelled"].speedup == pytest.approx(speedup, rel=0.03)


def test_modelled_limit_with_another_shape_is_off_by_little(estimates: Any):
    sample, p = draw(estimates, "normal")
    found = estimates.estimate_limits(sample, 100.0)["modelled"]
    auc, speedup = truth(p, 100.0)
    assert found.auc == pytest.approx(auc, abs=0.01)
    assert found.speedup == pytest.approx(speedup, rel=0.06)


def test_extrapolated_limit_is_that_of_the_known_probabilities(limits: Any):
    found, (auc, speedup) = limits
    assert found["extrapolated"].auc == pytest.approx(auc, abs=0.008)
    assert found["extrapolated"].speedup == pytest.approx(speedup, rel=0.06)


def test_network_and_plain_mean_and_shrunk_lie_below_the_limit(limits: Any):
    found, (auc, _) = limits
    assert found["network"].auc < found["shrunk"].auc
    assert found["mean"].auc < found["shrunk"].auc
    assert found["shrunk"].auc < auc + 0.004


def test_weights_of_chosen_events_give_the_same_limit(estimates: Any):
    sample, _ = draw(estimates)
    rng = np.random.default_rng(3)
    kept = np.flatnonzero(sample.passes | (rng.random(N_EVENTS) < 0.5))
    weight = np.where(sample.passes[kept], 1.0, 2.0)
    some = sample.take(kept)._replace(weight=weight)
    whole = estimates.estimate_limits(sample, 100.0)["modelled"]
    found = estimates.estimate_limits(some, 100.0)["modelled"]
    assert found.auc == pytest.approx(whole.auc, abs=0.004)
    assert found.speedup == pytest.approx(whole.speedup, rel=0.04)


def test_certain_events_have_a_perfect_limit(estimates: Any):
    rng = np.random.default_rng(4)
    passes = rng.random(4000) < 0.1
    counts = np.repeat(passes[:, None], 8, axis=1)
    score = np.where(passes, 1.0, 0.0) + rng.normal(size=4000)
    sample = estimates.Repeats(score, passes, counts, np.ones(4000))
    found = estimates.estimate_limits(sample, 100.0)
    assert found["shrunk"].auc == pytest.approx(1.0)
    assert found["modelled"].auc == pytest.approx(1.0, abs=1e-3)
    assert found["modelled"].speedup == pytest.approx(
        101 / (1 + 100 * passes.mean()), rel=0.01
    )


def test_command_simulates_again_and_resumes(estimates: Any, tmp_path: Path):
    oracle = importlib.import_module("oracle")
    data = tmp_path / "data"
    arguments = ["produce", "-n", "600", "--event-type", "mixed", "-o", str(data)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    files = sorted(map(str, data.glob("*.parquet")))
    output = tmp_path / "out"
    options = [
        "--repeats",
        "4",
        "--bootstrap",
        "2",
        "--share",
        "1.0",
        "-o",
        str(output),
    ]
    runner = CliRunner()
    first = runner.invoke(oracle.command, [*files, *options], catch_exceptions=False)
    assert first.exit_code == 0
    document = json.loads((output / "oracle.json").read_text())
    assert document["n_events"] == 600
    assert set(document["models"]["subtree.pt"]) == {
        "network",
        "mean",
        "shrunk",
        "extrapolated",
        "modelled",
    }
    parts = {p: p.stat().st_mtime_ns for p in (output / "parts").iterdir()}
    runner.invoke(oracle.command, [*files, *options], catch_exceptions=False)
    assert {p: p.stat().st_mtime_ns for p in (output / "parts").iterdir()} == parts
    assert json.loads((output / "oracle.json").read_text()) == document
