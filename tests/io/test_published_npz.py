"""Published data sets in npz files."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
import pytest

from smartfilter.errors import InputError
from smartfilter.graphs import prepare
from smartfilter.io import open_events
from smartfilter.io.published import UNKNOWN_PDG, decode_tokens

SKIM = "feiHadronicB0"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("n_slots", [100, 120])
def test_pd4ml_sets_can_be_read_alone(
    layouts: Any, tokens: Any, tmp_path: Any, compress: bool, n_slots: int
):
    train, test = layouts.make_data_set([3, 100, 4]), layouts.make_data_set([0, 6], 2)
    path = layouts.write_pd4ml(
        tmp_path / "a.npz",
        {"test": test, "train": train},
        tokens,
        compress=compress,
        n_slots=n_slots,
    )
    for name, (events, labels) in (("train", train), ("test", test)):
        source = open_events(f"{path}:{name}")
        layouts.assert_says(source.read(), events)
        assert source.read().labels[SKIM].tolist() == labels.astype(bool).tolist()
        assert source.files == (f"{path}:{name}",)
    layouts.assert_says(open_events(path).read(), train[0] + test[0])
    with pytest.raises(InputError, match="expected one of train, test"):
        open_events(f"{path}:validation")


def test_erum_features_are_ordered_by_their_names(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    events, labels = data_set
    names = ("energy", "px", "py", "pz", "prodTime", "x", "y", "z")
    path = layouts.write_erum(tmp_path / "a.npz", [(events, labels)], tokens, names)
    layouts.assert_says(open_events(f"{path}:0").read(), events)
    wrong = ("mass", *names[1:])
    content = dict(np.load(path))
    np.savez(path, **{**content, "feature_names": np.array(wrong)})
    with pytest.raises(InputError, match="expected prodTime, energy"):
        open_events(path)


def test_erum_blocks_come_in_the_order_of_their_numbers(
    layouts: Any, tokens: Any, tmp_path: Any
):
    blocks = [layouts.make_data_set([n], n) for n in range(1, 12)]
    path = layouts.write_erum(tmp_path / "a.npz", blocks, tokens)
    assert open_events(path).read().counts.tolist() == list(range(1, 12))


def test_npz_in_fortran_order_reads_the_same(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content: dict[str, Any] = {
        k: np.asfortranarray(v) for k, v in np.load(path).items()
    }
    np.savez(path, **content)
    layouts.assert_says(open_events(path, chunk_size=2).read(), data_set[0])


def test_npz_without_labels_or_with_labels_in_a_column(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    events, labels = data_set
    path = tmp_path / "a.npz"
    layouts.write_pd4ml(path, {"train": (events, None)}, tokens)
    assert open_events(path).read().labels == {}
    layouts.write_pd4ml(path, {"train": (events, labels[:, None] * 1.0)}, tokens)
    found = open_events(path).read().labels[SKIM]
    assert found.tolist() == labels.astype(bool).tolist()


def test_npz_padding_ends_behind_the_last_slot_in_use(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    """A zero row in front of a particle is a particle; token 0 with energy is one."""
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content = dict(np.load(path))
    content["x_feature_0"][1, 3, 1] = 2.0
    np.savez(path, **content)
    found = open_events(path).read()
    assert found.counts.tolist() == [5, 4, 1, 12, 100, 7, 3]
    assert found.take([1])["pdg"].tolist() == [0, 0, 0, 0]
    assert found.take([1])["energy"].tolist() == [0, 0, 0, 2]


def test_npz_unknown_token_is_a_code_in_no_vocabulary(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content = dict(np.load(path))
    content["x_pdg_0"][0, 2] = 540
    content["x_pdg_0"][0, 3] = -7
    np.savez(path, **content)
    found = open_events(path).read()
    assert found["pdg"][2:4].tolist() == [UNKNOWN_PDG] * 2
    assert UNKNOWN_PDG not in tokens
    graph = prepare(found, "published")
    assert graph.pdg[2:4].tolist() == [540, 540]
    assert graph.scorable[0]
    assert prepare(found, "smart_background").pdg[2:4].tolist() == [0, 0]
    assert decode_tokens(np.arange(540)).tolist() == list(tokens)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x_pdg_0", 3.5, "'x_pdg_0': expected integers"),
        ("x_pdg_0", np.nan, "'x_pdg_0': expected integers"),
        ("x_adjacency_0", 0.25, "'x_adjacency_0': expected integers"),
    ],
)
def test_npz_values_that_make_no_sense_raise_input_error(
    layouts: Any,
    data_set: Any,
    tokens: Any,
    tmp_path: Any,
    key: str,
    value: float,
    message: str,
):
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content = dict(np.load(path))
    content[key] = content[key].astype(float)
    content[key][3, 2] = value
    np.savez(path, **content)
    with pytest.raises(InputError, match=message):
        open_events(path).read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("x_pdg_0"), "array 'x_pdg_0': not found"),
        (lambda c: c.update(y_0=c["y_0"][:-1]), r"'y_0': expected shape \(7,\)"),
        (lambda c: c.update(x_pdg_0=c["x_pdg_0"][:, :9]), r"shape \(7, 100\)"),
        (
            lambda c: c.update(x_feature_0=c["x_feature_0"][:, :, :7]),
            r"expected shape \(events, slots, 8\), got \(7, 100, 7\)",
        ),
        (
            lambda c: c.update(y_0=np.array(["yes"] * 7, dtype=object)),
            "got Python objects",
        ),
        (lambda c: [c.pop(k) for k in list(c)], "got a zip archive with -"),
    ],
)
def test_npz_arrays_that_do_not_fit_raise_input_error(
    layouts: Any,
    data_set: Any,
    tokens: Any,
    tmp_path: Any,
    change: Any,
    message: str,
):
    path = layouts.write_erum(tmp_path / "a.npz", [data_set], tokens)
    content = dict(np.load(path))
    change(content)
    np.savez(path, **content)
    with pytest.raises(InputError, match=message) as caught:
        open_events(path)
    assert str(path) in str(caught.value)


def test_npz_changed_byte_is_noticed(
    layouts: Any, data_set: Any, tokens: Any, tmp_path: Any
):
    path = layouts.write_pd4ml(tmp_path / "a.npz", {"train": data_set}, tokens)
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("X_train_0.npy").header_offset
    content = bytearray(path.read_bytes())
    content[begin + 5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        open_events(path).read()


def test_other_zip_archives_are_refused_by_what_they_hold(tmp_path: Any):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", "x")
    with pytest.raises(InputError, match=r"zip archive with model/data\.pkl"):
        open_events(path)
