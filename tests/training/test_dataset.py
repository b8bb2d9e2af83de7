"""Data sets in memory against the preparation itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smartfilter.errors import InputError
from smartfilter.graphs import prepare
from smartfilter.io import LabelledWriter
from smartfilter.training.dataset import load_dataset, make_dataset
from smartfilter.training.split import Split

PRESET = "smart_background"


def make(events, **options):
    return make_dataset(events, skims=("toy",), preset=PRESET, split=Split(), **options)


def assert_same_batch(batch, graph):
    for name in ("x", "pdg", "mother", "offsets", "event_type"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(graph, name), name)


@pytest.mark.parametrize("index", [[4], [7, 2, 2, 9], list(range(20)), []])
def test_gather_equals_preparing_these_events(toy_events, index):
    events = toy_events(20)
    batch = make(events).gather(torch.tensor(index, dtype=torch.int64))
    assert_same_batch(batch, prepare(events.take(np.array(index, int)), PRESET))
    assert batch.pdg.dtype == torch.int32
    assert batch.mother.dtype == torch.int64


def test_make_dataset_leaves_out_unscorable_events(toy_events):
    events = toy_events(10)
    events["px"][events.offsets[3]] = np.nan
    dataset = make(events)
    assert len(dataset) == 9
    assert dataset.n_unscorable == 1
    rest = np.delete(np.arange(10), 3)
    assert dataset.passes[:, 0].tolist() == events.labels["toy"][rest].tolist()
    assert_same_batch(
        dataset.gather(torch.arange(9)), prepare(events.take(rest), PRESET)
    )


def test_make_dataset_missing_label_refused(toy_events):
    with pytest.raises(InputError, match=r"expected 'other' .* got toy"):
        make_dataset(toy_events(3), skims=("other",), preset=PRESET, split=Split())


def test_make_dataset_takes_sample_weights(toy_events):
    events = toy_events(4)
    weight = np.array([1, 8, 8, 1], dtype=np.float32)
    weighted = events.with_labels(events.labels, {"sample_weight": weight})
    assert make(weighted).weight.tolist() == weight.tolist()
    assert make(events).weight.tolist() == [1.0] * 4


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan])
def test_make_dataset_wrong_weight_refused(toy_events, wrong):
    events = toy_events(3)
    weight = np.array([1, wrong, 1], dtype=np.float32)
    with pytest.raises(InputError, match=r"sample_weight: .* entry 1"):
        make(events.with_labels(events.labels, {"sample_weight": weight}))


@pytest.fixture
def files(tmp_path, toy_events):
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for seed, path in enumerate(paths):
        events = toy_events(30, seed=seed)
        with LabelledWriter(path, ("toy",), (), {"seed": seed}) as writer:
            writer.write(events)
    return paths


def test_load_dataset_joins_files_in_order(files, toy_events):
    seen: list[int] = []
    dataset = load_dataset(
        files, skims=(), preset=PRESET, split=Split(), advance=seen.append
    )
    assert len(dataset) == sum(seen) == 60
    assert dataset.skims == ("toy",)
    assert dataset.files == tuple(map(str, files))
    second = toy_events(30, seed=1)
    batch = dataset.gather(torch.arange(30, 60))
    assert_same_batch(batch, prepare(second, PRESET))
    assert dataset.split[30:].tolist() == Split().assign(second).tolist()


def test_load_dataset_stops_at_max_events(files):
    dataset = load_dataset(
        files, skims=("toy",), preset=PRESET, split=Split(), max_events=41
    )
    assert len(dataset) == 41


def test_find_parts_cover_all_events_once(toy_events):
    dataset = make(toy_events(100))
    parts = [dataset.find(name) for name in ("train", "validation", "test")]
    assert sorted(torch.cat(parts).tolist()) == list(range(100))
