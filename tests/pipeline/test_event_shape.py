"""Event shapes and the boost, against closed forms, numpy and `vector`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import vector

from smartfilter.pipeline.event_shape import (
    BEAM_MOMENTUM,
    CM_ENERGY,
    TO_CM,
    boost_matrix,
    fox_wolfram_r2,
    sphericity,
    thrust,
)

SHAPES = (fox_wolfram_r2, thrust, sphericity)


def rows(p):
    p = np.asarray(p, dtype=np.float64).reshape(-1, 3)
    return np.column_stack([p, np.linalg.norm(p, axis=1)])


def random_momenta(rng, n):
    return rows(rng.normal(size=(n, 3)) * rng.exponential(size=(n, 1)))


def thrust_by_signs(momenta):
    """Thrust is the longest sum of momenta with free signs, over the scalar sum."""
    p = momenta[:, :3]
    signs = np.array(list(itertools.product([-1, 1], repeat=len(p))))
    return np.linalg.norm(signs @ p, axis=1).max() / momenta[:, 3].sum()


def test_beams_match_the_design_figures():
    np.testing.assert_allclose(BEAM_MOMENTUM, [11.006, 0.457, 0.0, 2.999], atol=5e-4)
    assert pytest.approx(10.5796, abs=1e-3) == CM_ENERGY


def test_boost_matrix_equals_vector_package():
    rng = np.random.default_rng(1)
    for _ in range(20):
        p = rng.normal(size=3)
        particle = vector.obj(px=p[0], py=p[1], pz=p[2], mass=0.5)
        system = vector.obj(
            px=BEAM_MOMENTUM[1],
            py=BEAM_MOMENTUM[2],
            pz=BEAM_MOMENTUM[3],
            E=BEAM_MOMENTUM[0],
        )
        expected = particle.boostCM_of_p4(system)
        got = TO_CM @ [particle.E, *p]
        np.testing.assert_allclose(
            got, [expected.E, expected.px, expected.py, expected.pz], atol=1e-12
        )


def test_boost_matrix_of_own_momentum_gives_rest():
    np.testing.assert_allclose(
        boost_matrix(BEAM_MOMENTUM) @ BEAM_MOMENTUM, [CM_ENERGY, 0, 0, 0], atol=1e-12
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_of_nothing_is_zero(shape):
    assert shape(np.empty((0, 4)), 0) == 0.0
    assert shape(np.zeros((2, 4)), 2) == 0.0


def test_shapes_of_one_particle_are_extreme():
    one = rows([0.3, -0.4, 1.2])
    assert fox_wolfram_r2(one, 1) == pytest.approx(1.0)
    assert thrust(one, 1) == pytest.approx(1.0)
    assert sphericity(one, 1) == pytest.approx(0.0, abs=1e-12)


def test_shapes_of_back_to_back_pair_are_extreme():
    pair = rows([[0.3, -0.4, 1.2], [-0.6, 0.8, -2.4]])
    assert fox_wolfram_r2(pair, 2) == pytest.approx(1.0)
    assert thrust(pair, 2) == pytest.approx(1.0)
    assert sphericity(pair, 2) == pytest.approx(0.0, abs=1e-7)


def test_shapes_of_isotropic_event_reach_their_limits():
    rng = np.random.default_rng(5)
    p = rng.normal(size=(20000, 3))
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    momenta = rows(np.concatenate([p, -p])[::100])
    n = len(momenta)
    assert fox_wolfram_r2(momenta, n) < 0.02
    assert thrust(momenta, n) == pytest.approx(0.5, abs=0.05)
    assert sphericity(momenta, n) > 0.85


def test_shapes_of_three_axes_equal_closed_forms():
    jitter = np.random.default_rng(0).normal(size=(6, 3)) * 1e-9
    momenta = rows(np.concatenate([np.eye(3), -np.eye(3)]) + jitter)
    assert fox_wolfram_r2(momenta, 6) == pytest.approx(0.0, abs=1e-7)
    assert thrust(momenta, 6) == pytest.approx(1 / np.sqrt(3))
    assert sphericity(momenta, 6) == pytest.approx(1.0)


def test_r2_random_events_equals_double_loop():
    rng = np.random.default_rng(2)
    for n in range(2, 12):
        momenta = random_momenta(rng, n)
        h = np.zeros(2)
        for a, b in itertools.product(momenta, momenta):
            cosine = a[:3] @ b[:3] / (a[3] * b[3])
            h += a[3] * b[3] * np.array([1.0, 1.5 * cosine**2 - 0.5])
        assert fox_wolfram_r2(momenta, n) == pytest.approx(h[1] / h[0], abs=1e-12)


def test_thrust_random_events_equals_brute_force_over_signs():
    rng = np.random.default_rng(3)
    for trial in range(150):
        momenta = random_momenta(rng, 1 + trial % 10)
        got = thrust(momenta, len(momenta))
        assert got == pytest.approx(thrust_by_signs(momenta), abs=1e-12)


def test_sphericity_random_events_equals_eigenvalues():
    rng = np.random.default_rng(4)
    for n in range(1, 30):
        momenta = random_momenta(rng, n)
        p = momenta[:, :3]
        eigenvalues = np.linalg.eigvalsh(p.T @ p / np.sum(p * p))
        expected = 1.5 * (eigenvalues[0] + eigenvalues[1])
        assert sphericity(momenta, n) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_permuted_or_padded_rows_is_the_same(shape):
    rng = np.random.default_rng(6)
    momenta = random_momenta(rng, 12)
    expected = shape(momenta, 12)
    assert shape(momenta[rng.permutation(12)].copy(), 12) == pytest.approx(expected)
    padded = np.concatenate([momenta, np.full((3, 4), np.nan)])
    assert shape(padded, 12) == expected
