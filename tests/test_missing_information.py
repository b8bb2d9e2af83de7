"""What a network leaves behind: generated particles as a detector would see them."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from smartfilter.events import PARTICLE_COLUMNS, Events


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("missing_information")


def make_events(rows: list[tuple[int, int, tuple[float, ...]]]) -> Events:
    """Return one event of (PDG code, mother, (E, px, py, pz, x, y, z))."""
    columns = {
        name: np.zeros(len(rows), dtype) for name, dtype in PARTICLE_COLUMNS.items()
    }
    columns["pdg"] = np.array([code for code, _, _ in rows], np.int32)
    columns["mother_index"] = np.array([mother for _, mother, _ in rows], np.int32)
    values = np.array([numbers for _, _, numbers in rows], np.float32)
    for k, name in enumerate(("energy", "px", "py", "pz", "x", "y", "z")):
        columns[name] = values[:, k]
    return Events.from_columns(np.array([0, len(rows)]), columns, event=np.zeros(1))


def test_generated_particles_in_the_acceptance_are_tracks_and_clusters(benchmark):
    there = (0.0, 0.0, 0.0)
    events = make_events(
        [
            (511, -1, (5.3, 0.0, 0.0, 0.5, *there)),
            (321, 0, (1.0, 0.6, 0.0, 0.3, *there)),
            (-11, 0, (0.5, 0.0, -0.4, 0.1, *there)),
            (211, 0, (0.2, 0.05, 0.0, 0.1, *there)),  # curls up
            (-211, 0, (2.0, 0.1, 0.1, 1.9, *there)),  # in the beam pipe
            (111, 0, (0.6, 0.4, 0.2, 0.2, *there)),
            (22, 5, (0.4, 0.3, 0.2, 0.1, *there)),
            (22, 5, (0.03, 0.02, 0.0, 0.0, *there)),  # too soft
            (12, 0, (1.0, 1.0, 0.0, 0.0, *there)),
        ]
    )
    detected = benchmark.detect_generated(events)
    assert detected.tracks["charge"].tolist() == [1, 1]
    assert detected.tracks["ll_k"].tolist() == [0.0, benchmark.UNLIKELY]
    assert detected.tracks["ll_e"].tolist() == [benchmark.UNLIKELY, 0.0]
    assert detected.clusters["energy"].tolist() == pytest.approx([0.4])
    assert detected.tracks.offsets.tolist() == [0, 2]


def test_impact_parameters_are_those_of_the_line_through_the_vertex(benchmark):
    p, v = np.array([0.6, 0.2, 0.5]), np.array([1.0, -2.0, 3.0])
    detected = benchmark.detect_generated(make_events([(211, -1, (0.9, *p, *v))]))
    steps = np.linspace(-10, 10, 2_000_001)[:, None]
    line = v + steps * p
    nearest = line[np.argmin(np.hypot(line[:, 0], line[:, 1]))]
    assert abs(detected.tracks["d0"][0]) == pytest.approx(
        np.hypot(nearest[0], nearest[1]), rel=1e-4
    )
    assert detected.tracks["z0"][0] == pytest.approx(nearest[2], abs=1e-3)


def test_trees_find_what_the_network_does_not_know_and_nothing_else(benchmark):
    rng = np.random.default_rng(3)
    known, unknown = rng.normal(size=(2, 6_000))
    passes = known + unknown + rng.normal(size=6_000) > 1.0
    useful = dict.fromkeys(benchmark.CANDIDATES, unknown)
    useless = {name: rng.normal(size=6_000) for name in benchmark.CANDIDATES}
    areas = {
        name: {k: v["auc"] for k, v in benchmark.compare(known, c, passes).items()}
        for name, c in (("useful", useful), ("useless", useless))
    }
    assert areas["useful"]["network and all tags"] > areas["useful"]["network"] + 0.08
    assert areas["useless"]["network and all tags"] < areas["useless"]["network"] + 0.01
    assert areas["useless"]["tags of generated particles alone"] < 0.53


@pytest.mark.parametrize(
    ("skim", "message"),
    [("feiHadronicB", "did you mean 'feiHadronicB0'"), ("SLUntagged", "label")],
)
def test_skim_that_model_or_data_lack_is_one_sentence(
    benchmark, labelled_file, skim, message
):
    result = CliRunner().invoke(benchmark.command, [str(labelled_file), "--skim", skim])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
