"""Model files that are not what was written: refused before any event is read."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from smartfilter.errors import ModelFileError
from smartfilter.model_file import _hash_records, default_model_path, load_model
from smartfilter.onnx_config import make_config

JSON, DIGEST = "extra/smartfilter.json", "extra/smartfilter.sha256"

Records = dict[str, bytes]


@pytest.fixture
def records() -> Records:
    """Return the records of the shipped model without their leading folder."""
    with zipfile.ZipFile(default_model_path()) as archive:
        return {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}


def write(path: Path, records: Records, *, sealed: bool, **options: Any) -> Path:
    """Write an archive; sealed: with a digest that fits its contents."""
    if sealed:
        rest = {name: data for name, data in records.items() if name != DIGEST}
        records = {**rest, DIGEST: _hash_records(rest).encode()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in records.items():
            archive.writestr(f"archive/{name}", data)
    return path


def edit_document(change: Callable[[dict[str, Any]], Any]) -> Callable[[Records], None]:
    def edit(records: Records) -> None:
        document = json.loads(records[JSON])
        change(document)
        records[JSON] = json.dumps(document).encode()

    return edit


def flip(name: str) -> Callable[[Records], None]:
    def edit(records: Records) -> None:
        key = next(key for key in records if key.startswith(name))
        data = bytearray(records[key])
        data[len(data) // 2] ^= 1
        records[key] = bytes(data)

    return edit


def swap_features(document: dict[str, Any]) -> None:
    document["features"].reverse()


def double_a_code(document: dict[str, Any]) -> None:
    codes = document["vocabulary"]["codes"]
    codes[3] = codes[4]


UNSEALED = {
    "weights": flip("data/"),
    "code": flip("code/"),
    "document": flip(JSON),
}
SEALED = {
    "newer-schema": edit_document(lambda d: d.update(schema_version=2)),
    "no-vocabulary": edit_document(lambda d: d.pop("vocabulary")),
    "empty-vocabulary": edit_document(lambda d: d["vocabulary"].update(codes=[])),
    "repeated-code": edit_document(double_a_code),
    "code-beyond-int32": edit_document(
        lambda d: d["vocabulary"]["codes"].append(2**40)
    ),
    "infinite-code": edit_document(
        lambda d: d["vocabulary"]["codes"].append(float("inf"))
    ),
    "negative-unknown": edit_document(lambda d: d["vocabulary"].update(unknown=-3)),
    "feature-order": edit_document(swap_features),
    "nan-slope": edit_document(
        lambda d: d["skims"][0]["calibration"]["default"].update(slope=float("nan"))
    ),
    "infinite-weight": edit_document(
        lambda d: d["skims"][0].update(max_weight=float("inf"))
    ),
    "nested": lambda records: records.update({JSON: b"[" * 100_000}),
    "no-utf8": lambda records: records.update({JSON: b"\xff\xfe\x00"}),
    "no-code": lambda records: records.update({"data.pkl": b""}),
    "foreign-pickle": lambda records: records.update(
        {"data.pkl": pickle.dumps(Executes("touched"))}
    ),
}


class Executes:
    """Unpickled by Python, it would write a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (Path(self.path), "executed")


def assert_refused(run: Any, path: Path) -> str:
    """Score events that are not there: the model has to be refused before."""
    code, out, err = run("score", path.parent / "absent.root", "--model", path)
    assert code == 4
    assert out == ""
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1
    return str(err)


@pytest.mark.parametrize("edit", UNSEALED.values(), ids=UNSEALED)
def test_score_edited_model_refused_before_any_event(run, tmp_path, records, edit):
    edit(records)
    path = write(tmp_path / "model.pt", records, sealed=False)
    assert "digest" in assert_refused(run, path)


@pytest.mark.parametrize("edit", SEALED.values(), ids=SEALED)
def test_score_wrong_model_with_fitting_digest_refused(
    run, tmp_path, records, edit, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    edit(records)
    path = write(tmp_path / "model.pt", records, sealed=True)
    assert_refused(run, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_score_intact_model_goes_on_to_the_events(run, tmp_path, records):
    path = write(tmp_path / "model.pt", records, sealed=True)
    code, _, err = run("score", tmp_path / "absent.root", "--model", path)
    assert code == 3
    assert "absent.root" in err


@pytest.mark.parametrize(
    "name", ["data.pkl", "constants.pkl", "code/__torch__.debug_pkl", "byteorder"]
)
def test_load_model_malicious_pickle_executes_nothing(tmp_path, records, name):
    victim = tmp_path / "touched"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        payload = pickle.dumps(Executes(str(victim)), protocol=2)
    assert pickle.loads(payload)
    assert victim.exists()
    victim.unlink()
    path = write(tmp_path / "m.pt", {**records, name: payload}, sealed=True)
    with suppress(ModelFileError):
        load_model(path)
    assert not victim.exists()


def test_load_model_archive_that_unpacks_to_far_more_refused(tmp_path, records):
    """A few bytes could unpack to any size."""
    records["data/bomb"] = bytes(50_000_000)
    path = write(
        tmp_path / "m.pt", records, sealed=True, compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(ModelFileError, match="bytes compressed to"):
        load_model(path)


def make_onnx_document() -> dict[str, Any]:
    from smartfilter.model_file import read_model_info

    info, digest = read_model_info(default_model_path())
    codes = {name: 100 + k for k, name in enumerate(info.skim_names)}
    return make_config(info, digest, codes=codes)


BROKEN = {
    "no-json": lambda d: "{",
    "nested": lambda d: "[" * 100_000,
    "null": lambda d: "null",
    "no-mapping": lambda d: json.dumps({k: v for k, v in d.items() if "pdg" not in k}),
    "infinite-token": lambda d: json.dumps({**d, "pdgMapping": {"11": float("inf")}}),
    "code-beyond-int32": lambda d: json.dumps({**d, "pdgMapping": {str(2**40): 0}}),
    "repeated-token": lambda d: json.dumps({**d, "pdgMapping": {"11": 0, "22": 0}}),
    "nan-weight": lambda d: json.dumps({**d, "maxWeight": float("nan")}),
    "infinite-code": lambda d: json.dumps({**d, "skimcodesMapping": {"1": 1e999}}),
    "infinite-type": lambda d: json.dumps({**d, "eventtypeMapping": {"mixed": 1e999}}),
    "huge-type": lambda d: json.dumps({**d, "eventtypeMapping": {"mixed": 2**40}}),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_score_onnx_with_broken_json_refused(run, tmp_path, damage):
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08")
    (tmp_path / "net.json").write_text(damage(make_onnx_document()))
    assert "net.json" in assert_refused(run, tmp_path / "net.onnx")


def test_score_onnx_with_intact_json_gets_to_the_network(run, tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08")
    (tmp_path / "net.json").write_text(json.dumps(make_onnx_document()))
    assert "net.onnx" in assert_refused(run, tmp_path / "net.onnx")
