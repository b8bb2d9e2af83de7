"""Tests that results do not feel the step, and of the command that measures it."""

from __future__ import annotations

import importlib
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.pipeline import geometry as g
from smartfilter.pipeline.matter import cross_matter
from smartfilter.pipeline.random import seed_stream

RNG = np.random.default_rng(8)


@pytest.fixture(scope="module", autouse=True)
def _path(load_benchmark):
    """Let the tests import what they need."""


@pytest.fixture(scope="module")
def study():
    return importlib.import_module("transport_study")


@pytest.fixture(scope="module")
def fluctuations():
    return importlib.import_module("fluctuation_study").study_fluctuations


@pytest.fixture(scope="module")
def compare():
    return importlib.import_module("retention_study").compare


# -- single particles ---------------------------------------------------------------


def test_transport_meets_the_closed_helix_to_fourth_order(study):
    rms, largest = study.study_helix((2.0, 1.0, 0.5, 0.25, 0.0625), 200, 1)
    assert rms.order > 3.0
    assert largest.values[1] < 1e-4
    assert largest.values[-1] < 1e-8


def test_transport_with_mean_losses_converges_with_the_step(study):
    steps = (1.0, 0.5, 0.25, 0.0625)
    moved, turned, slowed, lost = study.study_energy_loss(steps, study.make_gun(100, 2))
    assert moved.values[0] < 2e-3
    assert slowed.values[0] < 2e-5
    for series in (moved, turned, slowed):
        first, second, third, _ = series.values
        assert 1.8 < (first - third) / (second - third) / 1.5 < 2.2
    assert lost.values[0] < 0.02


def test_cross_matter_in_steps_converges_to_the_integral_to_second_order(study):
    for series in study.study_crystals((2.0, 1.0, 0.5, 0.25, 0.0625)):
        assert series.values[0] < 1e-3
        assert series.order == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("mass", "p", "areal"), [(0.93827, 0.5, 5.2), (0.13957, 0.1, 2)]
)
def test_cross_matter_of_a_thick_layer_loses_the_integral_of_bethe(
    study, mass, p, areal
):
    """A quarter of the kinetic energy and more, in one call, to 1 %."""
    stream = np.zeros(4, dtype=np.uint64)
    seed_stream(stream, np.uint64(4))
    end = study.slow_continuously(mass, p, areal, g.SILICON)
    loss = math.hypot(p, mass) - math.hypot(end, mass)
    assert loss > 0.05 * (math.hypot(p, mass) - mass)
    mean = math.hypot(p, mass) - math.hypot(
        cross_matter(stream, mass, p, areal, g.SILICON, False), mass
    )
    assert mean == pytest.approx(loss, rel=0.01)
    ends = [cross_matter(stream, mass, p, areal, g.SILICON, True) for _ in range(2000)]
    losses = math.hypot(p, mass) - np.hypot(ends, mass)
    error = losses.std() / math.sqrt(2000)
    assert losses.mean() == pytest.approx(loss, abs=4 * error + 0.01 * loss)


def test_cross_matter_stops_a_slow_particle():
    stream = np.zeros(4, dtype=np.uint64)
    seed_stream(stream, np.uint64(4))
    assert cross_matter(stream, 0.93827, 0.1, 1.0, g.SILICON, True) == 0.0
    assert cross_matter(stream, 0.93827, 0.1, 1.0, g.SILICON, False) == 0.0
    assert cross_matter(stream, 0.93827, 0.1, 0.0, g.SILICON, True) == 0.1


def test_scattering_and_losses_have_the_closed_form_at_any_step(fluctuations):
    for series in fluctuations((4.0, 1.0, 0.25), 4000, 5):
        for value, error in zip(series.values, series.errors, strict=True):
            assert value == pytest.approx(series.expected, abs=4.5 * error)
            assert error < 0.04 * series.expected


@pytest.mark.parametrize("step", [4.0, 1.0, 0.05])
def test_chamber_hits_end_with_the_wires_at_any_step(study, step):
    """Straight at 25 degrees: layers up to r = 155 cm tan(25 degrees), 95 % each."""
    spacing = (111.1 - 16.8) / 56
    radii = 16.8 + (np.arange(56) + 0.5) * spacing
    expected = (radii < 155.0 * math.tan(math.radians(25.0))).sum()
    storage = importlib.import_module("smartfilter.pipeline.storage")
    transport = importlib.import_module("smartfilter.pipeline.transport")
    flight = storage.Storage.allocate(8, n_tracks=1, n_clusters=1).flight
    seed_stream(flight.stream, np.uint64(6))
    hits = []
    for phi in np.linspace(0.0, 6.0, 300):
        p = np.array([math.cos(phi), math.sin(phi), 1 / math.tan(math.radians(25.0))])
        transport.start_flight(flight, 13, 0, 0.0, 0.0, 0.0, *p)
        transport.transport(flight, study.FREE._replace(step=step, field=0.0))
        hits.append(flight.identity[storage.N_CHAMBER])
    error = math.sqrt(expected * 0.95 * 0.05 / 300)
    assert np.mean(hits) == pytest.approx(0.95 * expected, abs=4 * error)


# -- constants ----------------------------------------------------------------------

WEIGHTS = {1: 1.008, 2: 4.0026, 4: 9.0122, 6: 12.011, 8: 15.999, 13: 26.982}
WEIGHTS |= {14: 28.085, 53: 126.904, 55: 132.905, 79: 196.967}


def tsai(z):
    """Return a radiation length in g/cm^2 (PDG eq. 34.25)."""
    light = {1: (5.31, 6.144), 2: (4.79, 5.621), 4: (4.71, 5.924)}
    full = math.log(184.15 * z ** (-1 / 3)), math.log(1194 * z ** (-2 / 3))
    elastic, inelastic = light.get(z, full)
    a = (z / 137.036) ** 2
    f = a * (1 / (1 + a) + 0.20206 - 0.0369 * a + 0.0083 * a**2 - 0.002 * a**3)
    return 716.408 * WEIGHTS[z] / (z * z * (elastic - f) + z * inelastic)


def mix(atoms):
    """Return the radiation length of a compound, numbers of atoms by Z."""
    total = sum(n * WEIGHTS[z] for z, n in atoms.items())
    return total / sum(n * WEIGHTS[z] / tsai(z) for z, n in atoms.items())


def test_radiation_lengths_and_electrons_of_materials_follow_tsai():
    cases = ((g.SILICON, {14: 1}), (g.CSI, {55: 1, 53: 1}), (g.GAS, {2: 1, 6: 2, 1: 6}))
    for material, atoms in cases:
        assert material.radiation_length == pytest.approx(mix(atoms), rel=0.002)
        electrons = sum(n * z for z, n in atoms.items())
        total = sum(n * WEIGHTS[z] for z, n in atoms.items())
        assert material.electrons == pytest.approx(electrons / total, rel=0.001)


def test_thickness_of_layers_is_the_sum_of_their_parts():
    """Areal density (g/cm^2) and radiation length of each part, from inside out."""
    cfrp = 1 / (0.912 / tsai(6) + 0.002 / tsai(1) + 0.086 / tsai(8))
    pipe = [(10e-4 * 19.32, tsai(79)), (0.1 * 1.848, tsai(4))]
    pipe.append((0.1 * 0.93, mix({6: 25, 1: 52})))
    wall = [(0.046 * 1.555, cfrp), (0.01 * 2.699, tsai(13))]
    outer = [(0.5465 * 1.555, cfrp), (0.01 * 2.699, tsai(13))]
    outer.append((2.0 * 2.2, mix({14: 1, 8: 2})))
    for index, parts in ((0, pipe), (g.CHAMBER_WALL, wall), (8, outer)):
        x0 = sum(areal / length for areal, length in parts)
        assert g.CYLINDER_RADIATION[index] == pytest.approx(x0, rel=0.1)
        areal = sum(areal for areal, _ in parts)
        assert g.CYLINDER_AREAL[index] == pytest.approx(areal, rel=0.03)


# -- retention ----------------------------------------------------------------------


def test_compare_of_equal_labels_finds_no_difference(compare):
    y = (RNG.random(500) < 0.1).astype(float)
    result = compare({2.0: y, 1.0: y, 0.1: y[:200]}, 1.0)
    assert [p.get("difference") for p in result["points"]] == [0.0, None, 0.0]
    assert (result["chi2"], result["dof"]) == (0.0, 0)
    assert math.isnan(result["p_value"])


def test_compare_uses_the_paired_variance(compare):
    """Labels that share nine tenths of the events: errors against a plain count."""
    n = 4000
    base = (RNG.random(n) < 0.2).astype(float)
    other = np.where(RNG.random(n) < 0.9, base, RNG.random(n) < 0.2).astype(float)
    point = compare({2.0: other, 1.0: base}, 1.0)["points"][0]
    gained, lost = ((other > base).sum(), (other < base).sum())
    assert point["difference"] == pytest.approx((gained - lost) / n)
    variance = (gained + lost) / n - ((gained - lost) / n) ** 2
    assert point["difference_error"] == pytest.approx(math.sqrt(variance / n), rel=1e-3)
    assert point["pull"] == pytest.approx(
        point["difference"] / point["difference_error"]
    )


def test_compare_chi2_has_its_mean_and_finds_a_shift(compare):
    """Three differences to a common reference, samples of unequal size."""
    chi2 = []
    for _ in range(300):
        event = RNG.normal(size=400)
        noise = {h: RNG.normal(size=400) for h in (2.0, 1.0, 0.5, 0.1)}
        values = {h: event + e for h, e in noise.items()}
        values[0.1] = values[0.1][:150]
        result = compare(values, 1.0)
        assert result["dof"] == 3
        chi2.append(result["chi2"])
    assert np.mean(chi2) == pytest.approx(3.0, abs=5 * math.sqrt(6 / 300))
    values[0.1] = values[0.1] + 1.0
    assert compare(values, 1.0)["p_value"] < 1e-6


# -- the command --------------------------------------------------------------------


def run(*arguments):
    module = importlib.import_module("convergence")
    return CliRunner().invoke(module.command, [str(a) for a in arguments])


def test_command_writes_tables_json_and_figure(tmp_path):
    small = ("--particles", 20, "--steps", "2,1,0.5", "--retention-steps", "1,2")
    result = run("-n", 30, "--fine-events", 10, *small, "-o", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert "feiHadronicB0" in result.output
    document = json.loads((tmp_path / "new" / "convergence.json").read_text())
    assert len(document["convergence"]["studies"]) == 6
    points = document["retention"]["skims"]["feiHadronic"]["points"]
    assert [(p["step"], p["n_events"]) for p in points] == [(2.0, 30), (1.0, 30)]
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"convergence.json", "convergence.png", "convergence.pdf", "parts"}
    assert len(list((tmp_path / "new" / "parts").iterdir())) == 2
    result = run("--part", "retention", "-n", 20, *small, "-o", tmp_path / "new")
    again = json.loads((tmp_path / "new" / "convergence.json").read_text())
    assert again["convergence"] == document["convergence"]
    assert again["retention"]["skims"]["feiHadronic"]["points"][0]["n_events"] == 20


def test_simulate_stops_in_time_and_goes_on_from_its_parts(tmp_path):
    study = importlib.import_module("retention_study")
    done: list[int] = []
    settings = {"seed": 3, "workers": 1, "parts": tmp_path, "advance": done.append}
    n_events = {1.0: 510, 2.0: 4}
    part = study.simulate("taupair", n_events, minutes=0.0, **settings)
    assert done == [500, 4]
    assert [len(part["n_tracks"][step]) for step in (1.0, 2.0)] == [500, 4]
    for path in tmp_path.iterdir():
        np.save(path, np.load(path) + 100.0)
    whole = study.simulate("taupair", n_events, minutes=9.0, **settings)
    assert [len(whole["n_tracks"][step]) for step in (1.0, 2.0)] == [510, 4]
    np.testing.assert_array_equal(
        whole["n_tracks"][1.0][:500], part["n_tracks"][1.0] + 100.0
    )
    assert whole["n_tracks"][1.0][500:].max() < 100.0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps", "1"],
        ["--steps", "1,-1"],
        ["--steps", "1,nan"],
        ["--steps", "one,two"],
        ["--retention-steps", "2,0.1"],
        ["-n", "0"],
        ["--event-type", "mixxed"],
    ],
)
def test_command_with_wrong_options_is_a_usage_error(arguments, tmp_path):
    result = run(*arguments, "-o", tmp_path)
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())
