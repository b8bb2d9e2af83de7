"""Small files in the layouts of the public data sets, and what they say, by plain loops.

An event is a list of `Particle`; nothing here uses the readers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

import smartfilter

FEATURES = ("prodTime", "energy", "x", "y", "z", "px", "py", "pz")


def read_tokens() -> dict[int, int]:
    """Return PDG code -> token of the published vocabulary."""
    folder = Path(smartfilter.__file__).parent / "data"
    codes = json.loads((folder / "pdg-tokens-540.json").read_text())
    return {code: token for token, code in enumerate(codes)}


@dataclass(frozen=True)
class Particle:
    """One particle; ``mother`` is a position in the event's list, None for none."""

    pdg: int
    mother: int | None
    features: tuple[float, ...]
    number: int = 0


def make_event(rng: np.random.Generator, n_particles: int) -> list[Particle]:
    """Return a Y(4S) -> B0 anti-B0 tree with gaps in its numbers."""
    numbers = np.sort(rng.choice(3 * n_particles, n_particles, replace=False))
    particles = []
    for k, number in enumerate(numbers.tolist()):
        mother = None if k == 0 else 0 if k < 3 else int(rng.integers(1, k))
        pdg = (300553, 511, -511)[k] if k < 3 else int(rng.choice([211, -211, 22, 111]))
        features = rng.normal(size=8).astype(np.float32)
        features[1] = 5 + abs(features[1])
        particles.append(Particle(pdg, mother, tuple(features.tolist()), number))
    return particles


def make_data_set(
    sizes: list[int], seed: int = 1
) -> tuple[list[list[Particle]], np.ndarray[Any, Any]]:
    """Return events and labels; long events tend to pass."""
    rng = np.random.default_rng(seed)
    events = [make_event(rng, size) for size in sizes]
    middle = np.median(sizes) if sizes else 0
    labels = (np.array(sizes) > middle) ^ (rng.random(len(sizes)) < 0.1)
    return events, labels.astype(np.int64)


def _records(events: list[list[Particle]], columns: Any) -> ak.Array:
    """Return jagged records; an event without particles keeps the fields."""
    counts = np.array([len(event) for event in events], dtype=np.int64)
    flat = [particle for event in events for particle in event]
    fields = {name: np.array(values) for name, values in columns(flat).items()}
    return ak.zip({name: ak.unflatten(v, counts) for name, v in fields.items()})


def _features(flat: list[Particle]) -> dict[str, Any]:
    table = np.array([p.features for p in flat], dtype=np.float32).reshape(-1, 8)
    return {name: table[:, k] for k, name in enumerate(FEATURES)}


def write_smartbkg(
    path: Path,
    events: list[list[Particle]],
    labels: Any = None,
    *,
    row_group_size: int = 3,
    **changes: Any,
) -> Path:
    """Write the lab course's layout; ``changes`` replace flat columns."""
    mother_number = {
        id(p): p.number if p.mother is None else event[p.mother].number
        for event in events
        for p in event
    }

    def columns(flat: list[Particle]) -> dict[str, Any]:
        return {
            **_features(flat),
            "pdg": np.array([p.pdg for p in flat], dtype=np.int64),
            "index": np.array([p.number for p in flat], dtype=np.int64),
            "mother_index": np.array([mother_number[id(p)] for p in flat], np.int64),
            **changes,
        }

    content = {"particles": _records(events, columns)}
    if labels is not None:
        content["label"] = np.asarray(labels)
    ak.to_parquet(ak.zip(content, depth_limit=1), path, row_group_size=row_group_size)
    return path


def write_basf2(
    path: Path,
    events: list[list[Particle]],
    labels: Any,
    *,
    tokens: dict[int, int] | None,
    variables: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write basf2's layout: as it is trained on (with tokens), or before that step."""
    own = {id(p): k for event in events for k, p in enumerate(event)}
    mother_number = {
        id(p): p.number if p.mother is None else event[p.mother].number
        for event in events
        for p in event
    }

    def columns(flat: list[Particle]) -> dict[str, Any]:
        if tokens is None:
            pdg = [p.pdg for p in flat]
            mother = [mother_number[id(p)] for p in flat]
        else:
            pdg = [tokens[p.pdg] for p in flat]
            mother = [own[id(p)] if p.mother is None else p.mother for p in flat]
        return {
            **_features(flat),
            "arrayIndex": np.array([p.number for p in flat], dtype=np.int32),
            "PDG": np.array(pdg, dtype=np.int32),
            "mass": np.full(len(flat), 0.5, np.float32),
            "charge": np.zeros(len(flat), np.float32),
            "nDaughters": np.zeros(len(flat), np.int32),
            "status": np.full(len(flat), 1 | 256, np.int32),
            "motherPDG": np.zeros(len(flat), np.int32),
            "motherIndex": np.array(mother, dtype=np.int32),
            **changes,
        }

    content = {
        "particles": _records(events, columns),
        "label": np.asarray(labels, dtype=bool),
        "evtNum": np.arange(len(events), dtype=np.int32) + 500,
        **(variables or {}),
    }
    ak.to_parquet(ak.zip(content, depth_limit=1), path)
    return path


def pad(
    events: list[list[Particle]], tokens: dict[int, int], n_slots: int = 100
) -> tuple[Any, Any, Any]:
    """Return features, tokens and mothers with padding, by a loop over particles."""
    features = np.zeros((len(events), n_slots, 8), np.float32)
    token = np.zeros((len(events), n_slots), np.int64)
    mother = np.full((len(events), n_slots), -1, np.int64)
    for i, event in enumerate(events):
        for k, particle in enumerate(event):
            features[i, k] = particle.features
            token[i, k] = tokens[particle.pdg]
            mother[i, k] = -1 if particle.mother is None else particle.mother
    return features, token, mother


def write_pd4ml(
    path: Path, sets: dict[str, Any], tokens: dict[int, int], **options: Any
) -> Path:
    """Write the layout of pd4ml; ``sets`` are (events, labels) by name."""
    arrays: dict[str, Any] = {}
    for name, (events, labels) in sets.items():
        features, token, mother = pad(events, tokens, options.get("n_slots", 100))
        last = token[:, :, None].astype(np.float32)
        arrays[f"X_{name}_0"] = np.concatenate([features, last], axis=2)
        arrays[f"X_{name}_1"] = mother.astype(np.float32)
        if labels is not None:
            arrays[f"y_{name}"] = np.asarray(labels)
    save = np.savez_compressed if options.get("compress") else np.savez
    save(path, **arrays)
    return path


def write_erum(
    path: Path, blocks: list[Any], tokens: dict[int, int], names: Any = FEATURES
) -> Path:
    """Write the layout of the data set authors; ``names`` orders the features."""
    arrays: dict[str, Any] = {"feature_names": np.array(names)}
    order = [FEATURES.index(name) for name in names]
    for i, (events, labels) in enumerate(blocks):
        features, token, mother = pad(events, tokens)
        arrays[f"x_feature_{i}"] = features[:, :, order]
        arrays[f"x_pdg_{i}"], arrays[f"x_adjacency_{i}"] = token, mother
        arrays[f"y_{i}"] = np.asarray(labels)
    np.savez_compressed(path, **arrays)
    return path


def assert_says(found: Any, events: list[list[Particle]]) -> None:
    """Compare what a reader found with the events, particle by particle."""
    assert found.counts.tolist() == [len(event) for event in events]
    names = ("prod_time", "energy", "x", "y", "z", "px", "py", "pz")
    for i, event in enumerate(events):
        for k, particle in enumerate(event):
            row = int(found.offsets[i]) + k
            assert found["pdg"][row] == particle.pdg
            expected = -1 if particle.mother is None else particle.mother
            assert found["mother_index"][row] == expected
            values = [found[name][row] for name in names]
            np.testing.assert_array_equal(
                values, np.array(particle.features, np.float32)
            )
