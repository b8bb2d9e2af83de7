"""Model files: round trip in a fresh process, every kind of damage refused."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smartfilter.errors import ModelFileError, UsageError
from smartfilter.events import EVENT_TYPES
from smartfilter.graphs import PRESETS
from smartfilter.model_file import (
    default_model_path,
    find_model,
    load_model,
    read_model_info,
    save_model,
)
from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo
from smartfilter.models import build, count_parameters
from smartfilter.pdg import Vocabulary

PRESET = "smart_background"
CONSTANTS = Calibration(
    slope=1.1,
    intercept=-2.9,
    retention_rate=0.05,
    threshold=0.08,
    sampling_constant=1.7,
    official_slope=0.55,
    official_offset=1.4,
)


def make_info(network, **changes):
    info = ModelInfo(
        preset=PRESET,
        features=tuple((f.name, f.unit) for f in PRESETS[PRESET].features),
        vocabulary=Vocabulary((0, 11, -11, 22, 211, -211), unknown=0),
        skims=(SkimInfo("feiHadronicB0", 11180100, {DEFAULT: CONSTANTS}),),
        network="gcn",
        settings={"n_features": 8, "n_tokens": 6, "n_units": 5},
        n_parameters=count_parameters(network),
        training={"seed": 3, "files": ["a.parquet"]},
    )
    return replace(info, **changes)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("gcn", n_features=8, n_tokens=6, n_units=5)


@pytest.fixture
def model_path(tmp_path, network):
    path = tmp_path / "model.pt"
    save_model(path, network, make_info(network))
    return path


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return (
        torch.randn(5, 8),
        torch.tensor([0, 1, 5, 2, 3], dtype=torch.int32),
        torch.tensor([-1, 0, 0, -1, 3]),
        torch.tensor([0, 3, 3, 5]),
        torch.tensor([3, -1, 3]),
    )


def read_records(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_records(path, records):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)


def write_document(path, network, change):
    """Write a file whose digest is right but whose document was changed before."""
    import smartfilter.model_file as module

    save_model(path, network, make_info(network))
    records = {n.partition("/")[2]: d for n, d in read_records(path).items()}
    records.pop("extra/smartfilter.sha256")
    document = json.loads(records["extra/smartfilter.json"])
    change(document)
    records["extra/smartfilter.json"] = json.dumps(document).encode()
    digest = module._hash_records(records)
    records["extra/smartfilter.sha256"] = digest.encode()
    write_records(path, {f"archive/{n}": d for n, d in records.items()})


def test_load_model_round_trip_keeps_logits_and_info(model_path, network, batch):
    model = load_model(model_path)
    with torch.inference_mode():
        assert torch.equal(model(*batch), network.eval()(*batch))
    assert model.info == make_info(network)
    assert read_model_info(model_path) == (model.info, model.digest)


FRESH = """
import sys, torch
from smartfilter.model_file import load_model
model, batch = load_model(sys.argv[1]), torch.jit.load(sys.argv[2])
print(model(*batch.values()).tolist(), model.digest)
"""


class _Holder(torch.nn.Module):
    """Carries tensors to another process."""

    def __init__(self, *tensors):
        super().__init__()
        for i, tensor in enumerate(tensors):
            self.register_buffer(f"t{i}", tensor)

    @torch.jit.export
    def values(self):
        return self.t0, self.t1, self.t2, self.t3, self.t4

    def forward(self):
        return self.t0


def test_load_model_fresh_process_gives_equal_logits_without_warning(
    model_path, batch, tmp_path
):
    holder = tmp_path / "batch.pt"
    torch.jit.save(torch.jit.script(_Holder(*batch)), holder)
    command = [sys.executable, "-c", FRESH, str(model_path), str(holder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    model = load_model(model_path)
    assert run.stdout.strip() == f"{model(*batch).tolist()} {model.digest}"


def test_model_file_user_sees_no_torchscript_warning(tmp_path, network):
    path = tmp_path / "m.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_model(path, network, make_info(network))
        load_model(path)


def test_save_model_twice_gives_the_same_bytes(tmp_path, network):
    digests = {
        save_model(tmp_path / name, network, make_info(network)) for name in "ab"
    }
    assert len(digests) == 1
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_save_model_holds_no_source_paths(model_path):
    assert b"site-packages" not in model_path.read_bytes()
    assert not [n for n in read_records(model_path) if n.endswith(".debug_pkl")]


def test_load_model_renamed_file_is_accepted(model_path):
    moved = model_path.rename(model_path.with_name("other.pt"))
    assert load_model(moved).path == moved


def test_load_model_renamed_leading_folder_is_accepted(model_path):
    records = read_records(model_path)
    digest = load_model(model_path).digest
    write_records(
        model_path, {n.replace("archive/", "model/", 1): d for n, d in records.items()}
    )
    assert load_model(model_path).digest == digest


def test_loaded_model_pickled_reads_the_file_again(model_path, batch):
    model = load_model(model_path)
    again = pickle.loads(pickle.dumps(model))
    assert again.digest == model.digest
    assert torch.equal(again(*batch), model(*batch))


def edit(name_part):
    def change(path):
        records = read_records(path)
        name = next(n for n in records if name_part in n)
        data = bytearray(records[name])
        data[len(data) // 2] ^= 1
        write_records(path, {**records, name: bytes(data)})

    return change


def remove(name_part):
    def change(path):
        records = read_records(path)
        write_records(
            path, {n: d for n, d in records.items() if not n.endswith(name_part)}
        )

    return change


def add_record(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/extra/more.json", b"{}")


def repeat_record(path):
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("archive/data/0", b"\0" * 32)


def flip_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "half": lambda path: path.write_bytes(path.read_bytes()[:4000]),
    "empty": lambda path: path.write_bytes(b""),
    "not-a-zip": lambda path: path.write_text("a model"),
    "missing": lambda path: path.unlink(),
    "byte-flipped": flip_byte,
    "weights-edited": edit("data/2"),
    "code-edited": edit("models/gcn"),
    "document-edited": edit("smartfilter.json"),
    "digest-edited": edit("smartfilter.sha256"),
    "digest-removed": remove("smartfilter.sha256"),
    "document-removed": remove("smartfilter.json"),
    "weights-removed": remove("data/2"),
    "record-added": add_record,
    "record-repeated": repeat_record,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_load_model_damaged_file_refused(model_path, damage):
    damage(model_path)
    with pytest.raises(ModelFileError, match=r"model\.pt"):
        load_model(model_path)


def test_load_model_folder_refused(tmp_path):
    with pytest.raises(ModelFileError, match="cannot read"):
        load_model(tmp_path)


def test_load_model_foreign_torchscript_refused(tmp_path):
    path = tmp_path / "foreign.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), path)
    with pytest.raises(
        ModelFileError, match=r"smartfilter did not write.*|expected re"
    ):
        load_model(path)


def drop(key):
    return lambda document: document.pop(key)


def put(key, value):
    return lambda document: document.update({key: value})


def swap_features(document):
    document["features"][0], document["features"][1] = (
        document["features"][1],
        document["features"][0],
    )


WRONG_DOCUMENTS = {
    "newer-schema": (put("schema_version", 2), "schema version: expected 1, got 2"),
    "no-schema": (drop("schema_version"), "schema_version"),
    "no-vocabulary": (drop("vocabulary"), "vocabulary"),
    "empty-vocabulary": (
        put("vocabulary", {"codes": [], "unknown": 0}),
        "PDG vocabulary: expected codes",
    ),
    "feature-order": (swap_features, "features: expected"),
    "unknown-preset": (put("preset", "mine"), "preset: expected one of"),
    "event-types": (put("event_types", list(EVENT_TYPES[::-1])), "event types"),
    "no-skims": (put("skims", []), "skims: expected one or more"),
    "no-default-constants": (
        lambda d: d["skims"][0]["calibration"].pop("default"),
        "default",
    ),
    "constant-missing": (
        lambda d: d["skims"][0]["calibration"]["default"].pop("slope"),
        "slope",
    ),
    "not-an-object": (put("skims", 3), "malformed"),
    "text-nan": (
        lambda d: d["skims"][0]["calibration"]["default"].update(slope="nan"),
        "slope: expected a finite number, got nan",
    ),
    "text-infinity": (
        lambda d: d["skims"][0]["calibration"]["default"].update(
            knots=[0.0, "inf"], shifts=[0.0, 0.0]
        ),
        "knots: expected a finite number, got inf",
    ),
    "max-weight-nan": (
        lambda d: d["skims"][0].update(max_weight="nan"),
        "max_weight: expected a finite number, got nan",
    ),
}


@pytest.mark.parametrize(
    ("change", "message"), WRONG_DOCUMENTS.values(), ids=WRONG_DOCUMENTS
)
def test_load_model_wrong_document_refused(tmp_path, network, change, message):
    path = tmp_path / "wrong.pt"
    write_document(path, network, change)
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_load_model_never_starts_torchscript_on_a_changed_file(model_path, monkeypatch):
    edit("models/gcn")(model_path)

    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(torch.jit, "load", refuse)
    with pytest.raises(ModelFileError, match="digest"):
        load_model(model_path)


def test_save_model_wrong_number_of_skims_leaves_nothing(tmp_path, network):
    skim = SkimInfo("other", None, {DEFAULT: CONSTANTS})
    info = make_info(network)
    with pytest.raises(ModelFileError, match="logits of shape"):
        save_model(tmp_path / "m.pt", network, replace(info, skims=(*info.skims, skim)))
    assert not list(tmp_path.iterdir())


def test_save_model_too_small_embedding_refused(tmp_path, network):
    info = make_info(network, vocabulary=Vocabulary((0, 22), unknown=40))
    with pytest.raises(ModelFileError, match="PDG tokens"):
        save_model(tmp_path / "m.pt", network, info)


def test_save_model_interrupted_keeps_the_old_file(model_path, network, monkeypatch):
    before = model_path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(UsageError, match="disk full"):
        save_model(model_path, network, make_info(network, training={"seed": 4}))
    assert model_path.read_bytes() == before
    assert [p.name for p in model_path.parent.iterdir()] == ["model.pt"]


def test_save_model_leaves_the_module_as_it_was(tmp_path, network):
    network.train()
    save_model(tmp_path / "m.pt", network, make_info(network))
    assert network.training


def test_skim_info_event_type_without_constants_takes_default():
    other = replace(CONSTANTS, slope=2.0)
    skim = SkimInfo("s", None, {DEFAULT: CONSTANTS, "mixed": other})
    assert skim.get_calibration("mixed").slope == 2.0
    assert skim.get_calibration("charged") == CONSTANTS
    assert skim.get_calibration() == CONSTANTS


def test_model_file_is_plain_torchscript_for_others(model_path, network, batch):
    extra = {"smartfilter.json": ""}
    module = torch.jit.load(io.BytesIO(model_path.read_bytes()), _extra_files=extra)
    assert json.loads(extra["smartfilter.json"])["network"] == "gcn"
    with torch.inference_mode():
        torch.testing.assert_close(module.eval()(*batch), network.eval()(*batch))


def test_default_model_path_is_in_the_package():
    assert default_model_path().parts[-3:] == ("smartfilter", "data", "subtree.pt")


def test_calibration_curve_survives_the_file(tmp_path, network):
    bent = replace(CONSTANTS, knots=(-3.0, 0.5), shifts=(0.2, -0.1), n_passing=41.5)
    skim = SkimInfo("feiHadronicB0", None, {DEFAULT: CONSTANTS, "ccbar": bent})
    save_model(tmp_path / "bent.pt", network, make_info(network, skims=(skim,)))
    info, _ = read_model_info(tmp_path / "bent.pt")
    assert info.skims == (skim,)


@pytest.mark.parametrize(
    ("knots", "shifts"),
    [((0.0,), ()), ((1.0, 1.0), (0.0, 0.0)), ((0.0, 1.0), (0.0, -1.5))],
)
def test_calibration_curve_that_does_not_ascend_refused(network, knots, shifts):
    document = json.loads(make_info(network).to_json())
    document["skims"][0]["calibration"][DEFAULT] |= {"knots": knots, "shifts": shifts}
    with pytest.raises(ModelFileError, match="calibration"):
        ModelInfo.from_json(json.dumps(document), "m.pt")


def test_calibration_curve_is_linear_between_knots_and_flat_outside():
    bent = Calibration(2.0, 1.0, 0.1, 0.2, 1.0, 1.0, 0.0, (-1.0, 3.0), (0.4, -0.4))
    z = np.array([-5.0, -1.0, 1.0, 2.0, 9.0])
    shift = np.array([0.4, 0.4, 0.0, -0.2, -0.4])
    expected = 1.0 / (1.0 + np.exp(-(z + shift)))
    np.testing.assert_allclose(bent.to_score((z - 1.0) / 2.0), expected, rtol=1e-6)
    assert np.isnan(bent.to_score(np.array([np.nan])))


def test_find_model_bare_name_is_a_shipped_model_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert find_model("subtree") == default_model_path()
    assert find_model("gcn") == default_model_path().with_name("gcn.pt")
    assert find_model("gcn.pt") == Path("gcn.pt")
    assert find_model("folder/gcn") == Path("folder/gcn")
    assert find_model("another") == Path("another")
    Path("gcn").touch()
    assert find_model("gcn") == Path("gcn")
