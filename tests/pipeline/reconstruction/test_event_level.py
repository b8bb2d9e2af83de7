"""What reconstruction says of a whole event, against plain loops; tables out of the norm."""

from __future__ import annotations

import numpy as np
import pytest
import vector

from smartfilter.errors import InputError
from smartfilter.pipeline.candidates import Overflow
from smartfilter.pipeline.event_shape import CM_ENERGY
from smartfilter.pipeline.objects import Detected, Table
from smartfilter.pipeline.reconstruction import (
    COUNT_COLUMNS,
    VALUE_COLUMNS,
    event_variables,
    reconstruct,
)

PID = {"e": "ll_e", "mu": "ll_mu", "pi": "ll_pi", "K": "ll_k", "p": "ll_p"}
MASS = {"e": 0.000511, "mu": 0.105658, "pi": 0.13957, "K": 0.493677, "p": 0.938272}


def test_reconstruct_missing_momentum_equals_vector_package(
    random_events, detect, beams
):
    events = random_events(41, 20)
    result = reconstruct(detect(events))
    for i, (tracks, clusters) in enumerate(events):
        seen = vector.obj(px=0.0, py=0.0, pz=0.0, E=0.0)
        n_tracks = n_clusters = 0
        for row in tracks:
            good = abs(row["d0"]) < 0.5 and np.hypot(row["px"], row["py"]) > 0.1
            if good:
                n_tracks += 1
                seen += vector.obj(
                    px=row["px"], py=row["py"], pz=row["pz"], mass=MASS["pi"]
                )
        for row in clusters:
            if row["energy"] > 0.1:
                n_clusters += 1
                pt = row["energy"] * np.sin(row["theta"])
                seen += vector.obj(pt=pt, phi=row["phi"], theta=row["theta"], mass=0.0)
        cm = seen.boostCM_of_p4(beams())
        missing = beams() - seen
        assert (result["n_tracks"][i], result["n_clusters"][i]) == (
            n_tracks,
            n_clusters,
        )
        assert result["visible_energy"][i] == pytest.approx(cm.E, abs=1e-5)
        assert result["missing_energy"][i] == pytest.approx(CM_ENERGY - cm.E, abs=1e-5)
        assert result["missing_mass2"][i] == pytest.approx(missing.mass2, abs=1e-4)


def assert_same(first, second):
    for name in (*COUNT_COLUMNS, *VALUE_COLUMNS):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-9, atol=1e-9)


def test_reconstruct_permuted_objects_gives_the_same(random_events, detect):
    rng = np.random.default_rng(51)
    events = random_events(52, 30, n_tracks=12, n_clusters=14)
    shuffled = [
        (
            [t[k] for k in rng.permutation(len(t))],
            [c[k] for k in rng.permutation(len(c))],
        )
        for t, c in events
    ]
    assert_same(reconstruct(detect(events)), reconstruct(detect(shuffled)))


def test_reconstruct_block_equals_events_one_by_one(random_events, detect):
    events = [([], []), *random_events(53, 12), ([], [])]
    whole = reconstruct(detect(events))
    for i, event in enumerate(events):
        one = reconstruct(detect([event]))
        for name in (*COUNT_COLUMNS, *VALUE_COLUMNS):
            np.testing.assert_array_equal(one[name], whole[name][i : i + 1])


def test_reconstruct_no_events_and_empty_events_are_empty(detect):
    assert len(reconstruct(detect([]))) == 0
    empty = reconstruct(detect([([], [])] * 2))
    for name in ("n_tracks", "n_clusters", "n_b0", "overflow", "b0_probability", "r2"):
        assert empty[name].tolist() == [0, 0]
    assert empty["b0_mode"].tolist() == [-1, -1]
    assert np.isnan(empty["b0_mbc"]).all()
    assert empty["missing_energy"] == pytest.approx([CM_ENERGY] * 2)


def test_reconstruct_one_track_is_counted(track, detect):
    one = reconstruct(detect([([track([0.5, 0.0, 0.2], -1)], [])]))
    assert (one["n_tracks"][0], one["total_charge"][0]) == (1, -1)
    assert one["thrust"][0] == pytest.approx(1.0)


@pytest.mark.parametrize("column", ["px", "d0", "ll_k"])
def test_reconstruct_not_a_number_is_refused_with_its_event(
    column, random_events, detect
):
    events = random_events(54, 3, n_tracks=5)
    events[2][0][1][column] = np.nan
    with pytest.raises(InputError, match=r"track rows: expected finite.*event 2"):
        reconstruct(detect(events))


@pytest.mark.parametrize(
    ("n_tracks", "n_clusters", "bits"),
    [(62, 0, 0), (63, 0, Overflow.TRACKS), (0, 62, 0), (0, 63, Overflow.PHOTONS)],
)
def test_reconstruct_more_objects_than_bits_is_flagged(
    n_tracks, n_clusters, bits, caplog, track, photon, detect
):
    rng = np.random.default_rng(61)
    tracks = [track(rng.normal(size=3), 1, "mu") for _ in range(n_tracks)]
    clusters = [photon([0.06, 0.0, 0.06])] * n_clusters
    result = reconstruct(detect([(tracks, clusters)]))
    assert result["overflow"][0] == bits
    assert ("overflow" in caplog.text) is bool(bits)


def test_reconstruct_inconsistent_tables_are_refused(detect):
    good = detect([([], []), ([], [])])
    with pytest.raises(InputError, match="expected 2 events"):
        reconstruct(Detected(good.tracks, detect([([], [])]).clusters))
    columns = {k: v for k, v in good.tracks.columns.items() if k != "ll_k"}
    with pytest.raises(InputError, match="missing ll_k"):
        reconstruct(Detected(Table(good.tracks.offsets, columns), good.clusters))


def test_event_variables_are_all_columns_as_float32(random_events, detect):
    result = reconstruct(detect(random_events(71, 5)))
    variables = event_variables(result)
    assert set(variables) == {*COUNT_COLUMNS, *VALUE_COLUMNS}
    assert all(v.dtype == np.float32 and v.shape == (5,) for v in variables.values())
    np.testing.assert_allclose(variables["r2"], result["r2"], rtol=1e-6)


def test_fastest_lepton_and_photon_equal_a_plain_loop(random_events, detect, beams):
    events = [([], []), *random_events(72, 20)]
    result = reconstruct(detect(events))
    for i, (tracks, clusters) in enumerate(events):
        momenta = [0.0]
        for row in tracks:
            p = np.array([row["px"], row["py"], row["pz"]])
            for kind, least in (("e", 0.3), ("mu", 0.6)):
                if row[PID[kind]] == 0.0 and abs(row["d0"]) < 0.5:
                    four = vector.obj(px=p[0], py=p[1], pz=p[2], mass=MASS[kind])
                    if np.linalg.norm(p) > least:
                        momenta.append(four.boostCM_of_p4(beams()).mag)
        energies = [0.0]
        for row in clusters:
            four = vector.obj(
                pt=row["energy"] * np.sin(row["theta"]),
                phi=row["phi"],
                theta=row["theta"],
                mass=0.0,
            )
            if row["energy"] > 0.05:
                energies.append(four.boostCM_of_p4(beams()).E)
        assert result["lepton_momentum"][i] == pytest.approx(max(momenta), abs=1e-5)
        assert result["photon_energy"][i] == pytest.approx(max(energies), abs=1e-5)
