"""Vertices of displaced pairs against helices followed in small steps."""

from __future__ import annotations

import numpy as np
import pytest

from smartfilter.pipeline.reconstruction import reconstruct
from smartfilter.pipeline.vertices import cross


def test_cross_of_two_helices_finds_vertex_and_momenta(v0_event):
    rng = np.random.default_rng(31)
    for _ in range(8):
        _, helices, vertex, daughters = v0_event(rng, "K_S0", ("pi", "pi"))
        out = np.empty(8)
        assert cross(helices[0], helices[1], out)
        np.testing.assert_allclose(out[:3], vertex, atol=5e-3)
        assert out[3] < 5e-3
        expected = [daughters[0].px, daughters[0].py, daughters[1].px, daughters[1].py]
        np.testing.assert_allclose(out[4:], expected, atol=1e-3)


@pytest.mark.parametrize("gap", [0.1, 2.0])
@pytest.mark.parametrize("inside", [False, True])
def test_cross_of_circles_that_miss_needs_a_small_gap(gap, inside):
    # Both circles have their centre on the y axis; charge +1 turns towards -y at phi=0.
    pt = 0.2
    radius = pt / (0.299792458e-2 * 1.5)
    first = np.array([pt, 0.0, 0.1, 1.0, 0.0, 0.0])
    if inside:
        second = np.array([pt / 2, 0.0, 0.1, 1.0, gap, 0.0])
        middle = -gap / 2
    else:
        second = np.array([pt, 0.0, 0.1, -1.0, -gap, 0.0])
        middle = gap / 2
    out = np.empty(8)
    assert radius > 10 * gap
    assert cross(first, second, out) is (gap < 0.5)
    if gap < 0.5:
        np.testing.assert_allclose(out[:2], [0.0, middle], atol=1e-9)


def test_reconstruct_displaced_pairs_are_k_short_and_lambda(make_detected, v0_event):
    rng = np.random.default_rng(32)
    kaons = [v0_event(rng, "K_S0", ("pi", "pi"))[0] for _ in range(8)]
    lambdas = [v0_event(rng, "Lambda0", ("p", "pi"))[0] for _ in range(8)]
    result = reconstruct(make_detected(kaons + lambdas, [[]] * 16))
    assert result["n_k_short"].tolist() == [1] * 8 + [0] * 8
    assert result["n_lambda"].tolist() == [0] * 8 + [1] * 8
