"""Events: construction, validation, selection and joining."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartfilter.errors import InputError
from smartfilter.events import (
    EVENT_TYPES,
    NO_MOTHER,
    PARTICLE_COLUMNS,
    UNKNOWN_EVENT_TYPE,
    Events,
    StatusBit,
    concatenate,
    encode_event_type,
    offsets_from_counts,
)

IDS = ("experiment", "run", "production", "event")
COUNTS = st.lists(st.integers(0, 6), max_size=8)


def make_events(counts: list[int], **per_event: Any) -> Events:
    rng = np.random.default_rng(per_event.pop("seed", 0))
    offsets = offsets_from_counts(np.array(counts, dtype=np.int64))
    columns = {
        name: rng.integers(0, 100, offsets[-1]).astype(dtype)
        for name, dtype in PARTICLE_COLUMNS.items()
    }
    n = len(counts)
    per_event = {
        **{name: rng.integers(0, 9, n) for name in IDS},
        "event_type": rng.integers(-1, 7, n).astype(np.int8),
        "entry": np.arange(100, 100 + n),
        "labels": {"skim": rng.random(n) < 0.5},
        "variables": {"r2": rng.random(n).astype(np.float32)},
        **per_event,
    }
    return Events.from_columns(offsets, columns, **per_event)


def to_lists(events: Events) -> list[dict[str, Any]]:
    """Events as plain dictionaries, cut out one by one."""
    out = []
    for i in range(len(events)):
        part = slice(int(events.offsets[i]), int(events.offsets[i + 1]))
        out.append(
            {
                "particles": {k: c[part].tolist() for k, c in events.particles.items()},
                "event_type": int(events.event_type[i]),
                "entry": int(events.entry[i]),
                "labels": {k: bool(c[i]) for k, c in events.labels.items()},
                "variables": {k: float(c[i]) for k, c in events.variables.items()},
                **{name: int(getattr(events, name)[i]) for name in IDS},
            }
        )
    return out


# ------------------------------------------------------------------------- offsets


@given(counts=COUNTS)
def test_offsets_from_counts_equals_a_running_sum(counts: list[int]):
    offsets = offsets_from_counts(np.array(counts, dtype=np.int32))
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [sum(counts[:i]) for i in range(len(counts) + 1)]


@given(counts=COUNTS)
def test_counts_and_event_index_equal_a_loop(counts: list[int]):
    events = make_events(counts)
    assert len(events) == len(counts)
    assert events.n_particles == sum(counts)
    assert events.counts.tolist() == counts
    expected = [i for i, n in enumerate(counts) for _ in range(n)]
    assert events.event_index.tolist() == expected


# --------------------------------------------------------------------- event types


def test_event_types_have_the_codes_of_basf2():
    """The table of SmartBackgroundConfig's example: alphabetical."""
    expected = {
        "ccbar": 0,
        "charged": 1,
        "ddbar": 2,
        "mixed": 3,
        "ssbar": 4,
        "taupair": 5,
        "uubar": 6,
    }
    assert {name: encode_event_type(name) for name in EVENT_TYPES} == expected


@pytest.mark.parametrize("name", ["", "Mixed", "tau+tau-", "unknown"])
def test_encode_event_type_unknown_name_is_refused(name: str):
    with pytest.raises(
        InputError, match=f"expected one of ccbar, .*got '{name}'".replace("+", r"\+")
    ):
        encode_event_type(name)


def test_with_event_type_gives_all_events_this_type():
    events = make_events([2, 0, 1])
    typed = events.with_event_type("taupair")
    assert typed.event_type.tolist() == [5, 5, 5]
    assert typed.event_type.dtype == np.int8
    assert typed.particles is events.particles


def test_with_event_type_codes_sets_each_type():
    codes = np.array([3, -1], dtype=np.int8)
    assert make_events([1, 1]).with_event_type_codes(codes).event_type is codes


def test_with_labels_replaces_labels_and_variables():
    events = make_events([1, 2])
    labels = {"other": np.array([True, False])}
    labelled = events.with_labels(labels)
    assert list(labelled.labels) == ["other"]
    assert labelled.variables == {}
    assert list(events.labels) == ["skim"]
    variables = {"mass": np.zeros(2, dtype=np.float32)}
    assert list(events.with_labels(labels, variables).variables) == ["mass"]


def test_with_labels_of_another_length_is_refused():
    with pytest.raises(InputError, match=r"column 'skim': expected 2 rows, got 3"):
        make_events([1, 2]).with_labels({"skim": np.zeros(3, dtype=bool)})


# --------------------------------------------------------------------- status bits


def test_status_bits_have_the_values_of_basf2():
    """MCParticle::StatusBit, in the order of its bits."""
    assert [int(bit) for bit in StatusBit] == [1 << k for k in range(9)]
    radiative = StatusBit.ISR_PHOTON | StatusBit.FSR_PHOTON | StatusBit.PHOTOS_PHOTON
    assert int(radiative) == 448


# ------------------------------------------------------------------------ checking


@pytest.mark.parametrize("name", PARTICLE_COLUMNS)
def test_events_without_a_column_are_refused(name: str):
    events = make_events([2])
    columns = {k: c for k, c in events.particles.items() if k != name}
    with pytest.raises(InputError, match=f"missing {name} in events"):
        Events.from_columns(events.offsets, columns)


def test_events_name_the_file_they_come_from():
    with pytest.raises(InputError, match=r"in sample\.root"):
        Events.from_columns(offsets_from_counts(np.array([0])), {}, file="sample.root")


@pytest.mark.parametrize("name", ["pdg", "x"])
def test_events_with_a_particle_column_too_short_are_refused(name: str):
    events = make_events([2, 1])
    columns = {**events.particles, name: events[name][:-1]}
    with pytest.raises(InputError, match=f"column '{name}': expected 3 rows, got 2"):
        Events.from_columns(events.offsets, columns)


@pytest.mark.parametrize("name", [*IDS, "event_type", "entry"])
def test_events_with_an_event_column_too_long_are_refused(name: str):
    with pytest.raises(InputError, match=f"column '{name}': expected 2 rows, got 3"):
        make_events([2, 1], **{name: np.zeros(3, dtype=np.int64)})


@pytest.mark.parametrize("group", ["labels", "variables"])
def test_events_with_a_label_too_short_are_refused(group: str):
    with pytest.raises(InputError, match="column 'some': expected 2 rows, got 1"):
        make_events([2, 1], **{group: {"some": np.zeros(1)}})


# -------------------------------------------------------------------- construction


def test_from_columns_fills_what_is_absent():
    given = make_events([1, 0, 2])
    events = Events.from_columns(given.offsets, given.particles)
    for name in IDS:
        assert getattr(events, name).tolist() == [0, 0, 0]
        assert getattr(events, name).dtype == np.int64
    assert events.event_type.tolist() == [UNKNOWN_EVENT_TYPE] * 3
    assert events.entry.tolist() == [0, 1, 2]
    assert not events.labels
    assert not events.variables


def make_records() -> ak.Array:
    names = set(PARTICLE_COLUMNS) - {"array_index", "mass"}
    particle = dict.fromkeys(names, 0)
    first = {**particle, "pdg": 300553, "mother_index": NO_MOTHER, "energy": 5.0}
    first |= {"px": 3.0, "py": 0.0, "pz": 0.0}
    second = {**particle, "pdg": 22, "energy": 1.0, "px": 1.0, "py": 0.5}
    return ak.Array([[first, second], [], [second], []])


def test_from_awkward_gives_columns_in_our_types():
    events = Events.from_awkward(make_records(), file="a", run=[4, 5, 6, 7])
    assert events.counts.tolist() == [2, 0, 1, 0]
    assert events["pdg"].tolist() == [300553, 22, 22]
    assert events["mother_index"].tolist() == [-1, 0, 0]
    assert {k: c.dtype for k, c in events.particles.items()} == dict(PARTICLE_COLUMNS)
    assert events.run.tolist() == [4, 5, 6, 7]
    assert events.file == "a"


def test_from_awkward_computes_array_index_and_mass():
    events = Events.from_awkward(make_records())
    assert events["array_index"].tolist() == [0, 1, 0]
    assert events["mass"].tolist() == [4.0, 0.0, 0.0]


def test_from_awkward_keeps_array_index_and_mass_that_are_there():
    records = make_records()
    records["array_index"] = records["pdg"] * 0 + 9
    records["mass"] = records["energy"] * 0 + 0.5
    events = Events.from_awkward(records)
    assert events["array_index"].tolist() == [9, 9, 9]
    assert events["mass"].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("how", ["masked", "reversed", "sliced"])
def test_from_awkward_of_any_layout_gives_the_same_events(how: str):
    records = make_records()
    if how == "masked":
        twice = ak.concatenate([records, records])
        records = twice[np.arange(8) >= 4]
    elif how == "reversed":
        records = records[::-1][::-1]
    else:
        records = ak.concatenate([records[:2], records])[2:]
    assert to_lists(Events.from_awkward(records)) == to_lists(
        Events.from_awkward(make_records())
    )


def test_from_awkward_without_a_column_is_refused():
    with pytest.raises(InputError, match=r"missing .*pdg, prod_time"):
        Events.from_awkward(make_records()[["mother_index", "energy"]])


# ------------------------------------------------------------------ take and join


@given(counts=COUNTS, data=st.data())
@settings(deadline=None)
def test_take_any_positions_equals_picking_from_lists(
    counts: list[int], data: st.DataObject
):
    events = make_events(counts)
    lists = to_lists(events)
    index = data.draw(
        st.lists(st.integers(0, len(counts) - 1)) if counts else st.just([])
    )
    taken = events.take(np.array(index, dtype=np.int64))
    assert to_lists(taken) == [lists[i] for i in index]
    mask = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts))),
        dtype=bool,
    )
    assert to_lists(events.take(mask)) == [
        x for x, m in zip(lists, mask, strict=True) if m
    ]


@pytest.mark.parametrize(
    "part", [slice(None), slice(1, 3), slice(3, None), slice(0, 0)]
)
def test_take_slice_equals_slicing_lists(part: slice):
    events = make_events([2, 0, 3, 1, 0])
    assert to_lists(events.take(part)) == to_lists(events)[part]


def test_take_list_may_be_negative_and_repeat():
    events = make_events([2, 0, 3])
    lists = to_lists(events)
    assert to_lists(events.take([-1, 0, -1])) == [lists[2], lists[0], lists[2]]


@given(parts=st.lists(COUNTS, min_size=1, max_size=4))
@settings(deadline=None)
def test_concatenate_equals_joining_lists(parts: list[list[int]]):
    events = [make_events(counts, seed=i) for i, counts in enumerate(parts)]
    expected = [event for part in events for event in to_lists(part)]
    joined = concatenate(events)
    assert to_lists(joined) == expected
    for name, dtype in PARTICLE_COLUMNS.items():
        assert joined[name].dtype == dtype


def test_concatenate_keeps_only_what_all_parts_have():
    first, second = make_events([1]), make_events([2])
    more = {**first.particles, "decay_time": np.zeros(1, dtype=np.float32)}
    labels = {"skim": np.array([True]), "other": np.array([True])}
    first = Events.from_columns(first.offsets, more, labels=labels)
    joined = concatenate([first, second])
    assert set(joined.particles) == set(PARTICLE_COLUMNS)
    assert set(joined.labels) == {"skim"}
    assert not joined.variables


def test_concatenate_of_one_part_is_that_part():
    events = make_events([1, 2])
    assert concatenate([events]) is events


def test_concatenate_of_nothing_is_refused():
    with pytest.raises(InputError, match="expected at least one part"):
        concatenate([])


def test_take_and_concatenate_undo_each_other():
    events = make_events([3, 0, 1, 2, 0])
    parts = [events.take([i]) for i in range(len(events))]
    assert to_lists(concatenate(parts)) == to_lists(events)
