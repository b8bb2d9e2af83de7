"""The subtree network against plain loops, the ``vector`` package and itself."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vector

from smartfilter.errors import UsageError
from smartfilter.io import open_events
from smartfilter.model_file import default_model_path, find_model, load_module
from smartfilter.models import build, count_parameters
from smartfilter.models.kinematics import (
    BEAMS,
    LIGHT,
    N_EVENT,
    N_NODE,
    Kinematics,
)
from smartfilter.models.trees import (
    add_up,
    count_ancestors,
    find_daughters,
    find_descendants,
    find_mother,
    pool_sum,
    select_rows,
)
from smartfilter.pdg import load_vocabulary
from smartfilter.scoring import Scorer

WORDS = load_vocabulary("smart_background")
CODES = [511, -511, 521, 421, 310, 211, -211, 321, -321, 11, -13, 22, 12, 130, 2112]
COUNTS = [[7, 1, 0, 25, 3, 0], [1], [40], [0, 5]]


def make_batch(counts: list[int], seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Return random events: several roots, self-mothers, mothers after daughters."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    n = int(offsets[-1])
    mother = np.full(n, -1, dtype=np.int64)
    for begin, count in zip(offsets[:-1], counts, strict=True):
        order = begin + rng.permutation(count)
        for k in range(1, count):
            if rng.random() < 0.85:
                mother[order[k]] = order[rng.integers(k)]
        if count and rng.random() < 0.5:
            mother[order[0]] = order[0]
    x = rng.normal(size=(n, 8)).astype(np.float32)
    x[:, 4] = np.sqrt(np.square(x[:, 5:8]).sum(axis=1) + 0.02)
    pdg = WORDS.encode(rng.choice([*CODES, 999_999], n).astype(np.int32))
    return (
        torch.from_numpy(x),
        torch.from_numpy(pdg),
        torch.from_numpy(mother),
        torch.from_numpy(offsets),
        torch.from_numpy(rng.integers(-1, 7, len(counts))),
    )


def make_network(**settings: Any) -> torch.nn.Module:
    torch.manual_seed(1)
    sizes = {"n_features": 8, "n_tokens": WORDS.n_tokens, "n_skims": 3}
    return build("subtree", **{**sizes, **settings}).eval()


def climb(mother: list[int], row: int) -> list[int]:
    """Return a row and all rows above it."""
    line = [row]
    while mother[line[-1]] not in (-1, line[-1]):
        line.append(mother[line[-1]])
    return line


@pytest.mark.parametrize("dense_nodes", [0, 128])
@pytest.mark.parametrize("counts", COUNTS)
def test_sums_along_the_tree_equal_plain_loops(counts: list[int], dense_nodes: int):
    x, _, mother, _, _ = make_batch(counts)
    lines = [climb(mother.tolist(), row) for row in range(len(x))]
    below = np.zeros(x.shape)
    daughters = np.zeros(x.shape)
    above = np.zeros(x.shape)
    for row, line in enumerate(lines):
        for top in line:
            below[top] += x[row].numpy()
        if len(line) > 1:
            daughters[line[1]] += x[row].numpy()
            above[row] = x[line[1]].numpy()
    links = find_descendants(mother, x, dense_nodes=dense_nodes)
    daughter = find_daughters(mother, x, dense_nodes)
    np.testing.assert_allclose(add_up(x, links), below, atol=1e-5)
    np.testing.assert_allclose(add_up(x, daughter), daughters, atol=1e-5)
    single = find_mother(mother, x, dense_nodes)
    np.testing.assert_allclose(add_up(x, single), above, atol=1e-6)
    assert count_ancestors(links, x)[:, 0].tolist() == [len(a) - 1 for a in lines]


def test_find_descendants_stops_after_the_generations():
    chain = torch.arange(-1, 5)
    ones = torch.ones(6, 1)
    sums = add_up(ones, find_descendants(chain, ones, generations=2, dense_nodes=0))
    assert sums[:, 0].tolist() == [3, 3, 3, 3, 2, 1]


@pytest.mark.parametrize("dense_nodes", [0, 128])
def test_add_up_gradient_is_that_of_the_dense_matrix(dense_nodes: int):
    x, _, mother, _, _ = make_batch([9, 4])
    links = find_descendants(mother, x, dense_nodes=dense_nodes)
    dense = add_up(torch.eye(len(x)), links)
    upstream = torch.randn_like(x)
    x.requires_grad_()
    add_up(x, links).backward(upstream)
    torch.testing.assert_close(x.grad, dense.T @ upstream)


@pytest.mark.parametrize("dense_nodes", [0, 128])
@pytest.mark.parametrize("rows", [[], [3], [0, 2, 9, 35]])
def test_selected_rows_sum_as_before_with_their_gradient(
    rows: list[int], dense_nodes: int
):
    mother = make_batch([7, 1, 0, 25, 3])[2]
    x = torch.randn(36, 2, dtype=torch.float64, requires_grad=True)
    links = find_descendants(mother, x, dense_nodes=dense_nodes)
    chosen = select_rows(links, torch.tensor(rows, dtype=torch.int64))
    torch.testing.assert_close(add_up(x, chosen), add_up(x, links)[rows])
    scale = torch.randn(len(rows), 2, dtype=torch.float64)
    (found,) = torch.autograd.grad((scale * add_up(x, chosen)).sum(), x)
    (expected,) = torch.autograd.grad((scale * add_up(x, links)[rows]).sum(), x)
    torch.testing.assert_close(found, expected)


def test_pool_sum_equals_loop_and_is_zero_for_an_empty_event():
    x, _, _, offsets, _ = make_batch([7, 0, 3])
    expected = [x[a:b].sum(dim=0) for a, b in pairwise(offsets)]
    torch.testing.assert_close(pool_sum(x, offsets), torch.stack(expected))


def test_boost_equals_the_vector_package():
    kinematics = Kinematics("smart_background", WORDS.n_tokens)
    beams: Any = vector.obj(E=BEAMS[0], px=BEAMS[1], py=BEAMS[2], pz=BEAMS[3])
    particle = vector.obj(E=2.0, px=0.3, py=-0.8, pz=1.2)
    expected: Any = particle.boostCM_of(beams)
    found = kinematics.boost @ torch.tensor([2.0, 0.3, -0.8, 1.2])
    names = ("E", "px", "py", "pz")
    np.testing.assert_allclose(found, [getattr(expected, n) for n in names], rtol=1e-5)
    assert kinematics.half_energy == pytest.approx(0.5 * beams.mass)


def test_tokens_know_charge_and_kind():
    table = Kinematics("smart_background", WORDS.n_tokens).tokens
    rows = table[WORDS.encode(np.array([-11, 321, 22, 310, 511, 999_999]))]
    assert rows[:, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert rows[:, 1].tolist() == [1, 1, 0, 0, 0, 0]
    assert rows[:, 8].tolist() == [0, 0, 0, 0, 1, 0]
    assert rows[5].count_nonzero() == 0


def test_kinematics_of_a_whole_b_gives_its_mass_and_r2():
    """B0 -> K+ pi- of a B at rest in the CM frame, and nothing else."""
    beams: Any = vector.obj(E=BEAMS[0], px=BEAMS[1], py=BEAMS[2], pz=BEAMS[3])
    p = 2.6
    moving = [
        vector.obj(px=p, py=0.0, pz=0.0, mass=0.4937).boost(beams),
        vector.obj(px=-p, py=0.0, pz=0.0, mass=0.1396).boost(beams),
    ]
    total: Any = moving[0] + moving[1]
    rows = [[0, 0, 0, 0, v.E, v.px, v.py, v.pz] for v in (total, *moving)]
    x = torch.tensor(rows, dtype=torch.float32)
    pdg = torch.from_numpy(WORDS.encode(np.array([511, 321, -211])))
    mother, offsets = torch.tensor([-1, 0, 0]), torch.tensor([0, 3])
    links = (f(mother, x) for f in (find_descendants, find_daughters, find_mother))
    kinematics = Kinematics("smart_background", WORDS.n_tokens)
    node, event, beauty = kinematics(x, pdg, *links, offsets)
    assert node.shape == (3, N_NODE)
    assert event.shape == (1, N_EVENT)
    assert beauty[:, 0].tolist() == [1, 0, 0]
    mass, constrained, difference, *_ = node[0, -10:-4].tolist()
    soft = math.hypot(total.mass, LIGHT) - LIGHT
    assert mass == pytest.approx(math.log1p(soft), abs=1e-3)
    assert constrained == pytest.approx(0.0, abs=1e-5)  # no momentum
    alone = node[1, -9].item()
    expected = 0.2 * (math.sqrt(0.25 * beams.mass**2 - p * p) - 0.5 * beams.mass)
    assert alone == pytest.approx(expected, abs=1e-5)
    energies = math.hypot(p, 0.4937) + math.hypot(p, 0.1396)
    assert difference == pytest.approx(
        math.asinh(energies - 0.5 * beams.mass), abs=1e-3
    )
    assert node[0, -6] == 1.0
    assert event[0, -4] == pytest.approx(1.0, abs=1e-4)  # two back to back: H2 = H0


def test_kinematics_counts_what_decays_into_visible_particles_only():
    """B0 -> D*- pi+, D*- -> D- pi0, D- -> K_S pi-, K_S -> pi+ pi-, pi0 -> photons."""
    codes = [511, -413, 211, -411, 111, 310, -211, 211, -211, 22, 22]
    mother = torch.tensor([-1, 0, 0, 1, 1, 3, 3, 5, 5, 4, 4])
    x = torch.zeros(11, 8)
    x[:, 4], x[:, 5] = 1.0, 0.9  # across the beam, inside
    pdg = torch.from_numpy(WORDS.encode(np.array(codes)))
    offsets = torch.tensor([0, 11])
    kinematics = Kinematics("smart_background", WORDS.n_tokens)

    def count(x: torch.Tensor) -> tuple[list[float], list[float]]:
        links = (f(mother, x) for f in (find_descendants, find_daughters, find_mother))
        node, event, _ = kinematics(x, pdg, *links, offsets)
        counts = torch.expm1(node[0, -4:]), torch.expm1(event[0, N_EVENT - 8 : -4])
        return counts[0].round().tolist(), counts[1].round().tolist()

    assert count(x) == ([1, 1, 1, 1], [1, 1, 1, 1])
    x[9, 5:] = torch.tensor([0.0, 0.0, 0.9])  # a photon in the beam pipe
    assert count(x) == ([0, 1, 1, 0], [0, 1, 1, 0])
    x[7, 5:] = torch.tensor([0.05, 0.0, 0.0])  # a pion that curls up
    assert count(x) == ([0, 0, 0, 0], [0, 0, 0, 0])


def test_directions_of_slow_particles_are_not_rounding():
    x, pdg, mother, offsets, _ = make_batch([20])
    x[5, 5:] = 0.0
    kinematics = Kinematics("smart_background", WORDS.n_tokens)

    def describe(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        links = (f(mother, x) for f in (find_descendants, find_daughters, find_mother))
        found: tuple[torch.Tensor, ...] = kinematics.to(x.dtype)(
            x, pdg, *links, offsets
        )
        return found

    single, double = describe(x), describe(x.double())
    for found, expected in zip(single, double, strict=True):
        torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


def test_r2_of_random_particles_equals_the_double_sum():
    rng = np.random.default_rng(5)
    p = rng.normal(size=(12, 3)) * 0.6
    kinematics = Kinematics("smart_background", WORDS.n_tokens)
    size = np.linalg.norm(p, axis=1)
    cosine = (p @ p.T) / np.outer(size, size)
    weights = np.outer(size, size)
    expected = (weights * (3 * cosine**2 - 1) / 2).sum() / weights.sum()
    cm = torch.from_numpy(np.concatenate([size[:, None], p], axis=1)).float()
    lengths = torch.from_numpy(size[:, None]).float()
    shape = kinematics._shape(cm, lengths, torch.tensor([0, 12]), cm)
    assert shape[0, 0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("counts", COUNTS)
def test_network_batch_equals_events_one_by_one_and_script(counts: list[int]):
    network = make_network()
    x, pdg, mother, offsets, kind = batch = make_batch(counts)
    with torch.no_grad():
        whole = network(*batch)
        torch.testing.assert_close(torch.jit.script(network)(*batch), whole)
        for i, (a, b) in enumerate(pairwise(offsets)):
            own = torch.where(mother[a:b] >= 0, mother[a:b] - a, -1)
            ends = torch.tensor([0, int(b - a)])
            one = network(x[a:b], pdg[a:b], own, ends, kind[i : i + 1])
            torch.testing.assert_close(one[0], whole[i], atol=1e-5, rtol=1e-5)
    assert torch.isfinite(whole).all()


def test_network_does_not_depend_on_the_order_of_particles():
    network = make_network()
    x, pdg, mother, offsets, kind = make_batch([30], seed=3)
    order = torch.from_numpy(np.random.default_rng(1).permutation(30))
    place = torch.argsort(order)
    moved = torch.where(mother >= 0, place[mother.clamp(min=0)], -1)[order]
    with torch.no_grad():
        expected = network(x, pdg, mother, offsets, kind)
        found = network(x[order], pdg[order], moved, offsets, kind)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, -1e3, 1e9, -1e30])
def test_network_with_absurd_numbers_is_finite(value: float):
    x, *rest = make_batch([12])
    x[3] = value
    with torch.no_grad():
        assert torch.isfinite(make_network()(x, *rest)).all()


def test_network_with_a_line_of_200_particles_is_finite():
    x, pdg, _, offsets, kind = make_batch([200])
    with torch.no_grad():
        logits = make_network()(x, pdg, torch.arange(-1, 199), offsets, kind)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_features": 7}, "expected 8, got 7"),
        ({"n_units": 30}, "multiple of 2 and of n_heads"),
        ({"n_tokens": 30}, "expected 30 tokens, got 562"),
    ],
)
def test_network_of_impossible_settings_refused(settings: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        make_network(**settings)


def test_network_of_the_shipped_configuration_has_this_many_parameters():
    units, hidden, node = 64, 64, N_NODE + 16
    block = 2 * units + (units + 1) * hidden + 2 * (units + 1) * units // 2
    block += (3 * units // 2 + 1) * hidden + (hidden + 1) * units
    readout = 2 * units + (units + 1) * (4 + units) + (3 * units + 1) * units + 8 * 8
    pooled = 4 * units + N_EVENT + 1 + 8
    head = (pooled + 1) * 128 + 129 * 128 + 129 * 3
    expected = 16 * WORDS.n_tokens + (node + 1) * units + 2 * block + readout + head
    assert count_parameters(make_network(n_hidden=64)) == expected


def test_exported_network_repeats_torchscript(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    onnx_export = pytest.importorskip("smartfilter.onnx_export")
    from smartfilter.graphs import PRESETS
    from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo
    from smartfilter.onnx_config import read_config
    from smartfilter.onnx_file import OnnxNetwork

    constants = Calibration(1.0, -1.0, 0.05, 0.4, 1.2, 0.5, 0.3)
    info = ModelInfo(
        preset="smart_background",
        features=tuple((f.name, f.unit) for f in PRESETS["smart_background"].features),
        vocabulary=WORDS,
        skims=tuple(SkimInfo(f"s{k}", k, {DEFAULT: constants}) for k in range(3)),
        network="subtree",
        settings={},
        n_parameters=0,
    )
    network = make_network(standardise=True).train()
    network(*make_batch([20, 30, 5], seed=3))
    network.eval()
    done = onnx_export.export_network(network, info, tmp_path / "m.onnx")
    assert done.largest_difference < 1e-4
    document = (tmp_path / "m.json").read_text()
    assert json.loads(document)
    exported = OnnxNetwork(
        (tmp_path / "m.onnx").read_bytes(), read_config(document, ""), ""
    )
    x, pdg, mother, offsets, kind = make_batch([1, 2, 60], seed=9)
    mother = torch.where(mother == torch.arange(len(mother)), -1, mother)
    with torch.no_grad():
        expected = network(x, pdg, mother, offsets, kind)
    found = exported(x, pdg, mother, offsets, kind)
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-4)


def test_shipped_model_is_small_and_its_network_can_be_built_anew(project_root: Path):
    path = find_model("subtree")
    assert path.stat().st_size < 2_000_000
    scorer = Scorer("subtree")
    module, info = load_module("subtree")
    assert info.skim_names == Scorer(default_model_path()).info.skim_names
    events = next(iter(open_events(project_root / "examples" / "events.root")))
    scored = scorer.score(events)
    assert np.isfinite(scored.logits[scored.scorable]).all()
    assert sum(p.numel() for p in module.parameters()) == info.n_parameters
