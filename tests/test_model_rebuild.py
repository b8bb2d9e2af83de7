"""Rebuilt model files: other code, the same weights, constants and logits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from smartfilter import model_rebuild
from smartfilter.cli import main
from smartfilter.errors import ModelFileError
from smartfilter.model_file import (
    find_model,
    load_model,
    load_module,
    read_model_info,
    save_model,
)
from smartfilter.model_rebuild import rebuild_model


class OldGCN(torch.nn.Module):
    """A network of another version: the same weights under the same names."""

    def __init__(self, network: torch.nn.Module, shift: float) -> None:
        super().__init__()
        for name, module in network.named_children():
            setattr(self, name, module)
        self.shift = shift

    def forward(
        self,
        x: torch.Tensor,
        pdg: torch.Tensor,
        mother: torch.Tensor,
        offsets: torch.Tensor,
        event_type: torch.Tensor,
    ) -> torch.Tensor:
        return torch.full((offsets.shape[0] - 1, 10), self.shift) + x.sum() * 0


def test_rebuild_keeps_weights_constants_and_provenance(tmp_path):
    found = rebuild_model("gcn", tmp_path / "new.pt")
    old, info = load_module("gcn")
    new, new_info = load_module(tmp_path / "new.pt")
    for name, weight in old.state_dict().items():
        assert torch.equal(weight, new.state_dict()[name]), name
    training = dict(new_info.training)
    record = training.pop("rebuilt")[-1]
    assert replace(new_info, training=dict(info.training)) == info
    assert training == {k: v for k, v in info.training.items() if k != "rebuilt"}
    assert record["from_digest"] == found.old_digest == load_model("gcn").digest
    assert record["largest_logit_difference"] == found.difference < 1e-5
    assert read_model_info(tmp_path / "new.pt")[1] == found.digest != found.old_digest


def test_rebuild_again_keeps_the_earlier_records(tmp_path):
    path = tmp_path / "model.pt"
    first = rebuild_model("subtree", path)
    second = rebuild_model(path, path)
    records = read_model_info(path)[0].training["rebuilt"]
    digests = [record["from_digest"] for record in records]
    assert digests[-2:] == [first.old_digest, second.old_digest]
    assert second.old_digest == first.digest


def test_rebuild_of_a_network_that_computes_something_else_is_refused(tmp_path):
    network, info = load_module("gcn")
    path, output = tmp_path / "old.pt", tmp_path / "new.pt"
    save_model(path, OldGCN(network, 0.5), info)
    with pytest.raises(ModelFileError, match="computes something else"):
        rebuild_model(path, output)
    assert not output.exists()


def test_compared_events_are_trees_of_all_sizes():
    info = load_module("gcn")[1]
    events = [model_rebuild._draw_event(n, n, info) for n in (0, 1, 5, 40)]
    x, pdg, mother, offsets, event_type = model_rebuild._join(events)
    assert offsets.tolist() == [0, 0, 1, 6, 46]
    assert x.shape == (46, len(info.features))
    assert event_type.min() >= -1
    assert 0 <= pdg.min() <= pdg.max() < info.vocabulary.n_tokens
    for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        for row in range(first, last):
            expected = range(-1, 0) if row == first else range(first, row)
            assert int(mother[row]) in expected


def test_shipped_gcn_has_the_code_of_today(tmp_path):
    rebuilt = rebuild_model("gcn", tmp_path / "gcn.pt")
    assert rebuilt.difference < 1e-5
    old, new = (
        load_model(path).network.code  # type: ignore[attr-defined]
        for path in (find_model("gcn"), tmp_path / "gcn.pt")
    )
    assert old == new


def test_rebuild_command_reports_and_keeps_an_existing_file(tmp_path, capfd):
    output = tmp_path / "new.pt"
    with pytest.raises(SystemExit) as done:
        main(["rebuild", "gcn", "-o", str(output), "--json"])
    assert done.value.code == 0
    document = json.loads(capfd.readouterr().out)
    assert document["digest"] == read_model_info(output)[1]
    assert document["old_digest"] == read_model_info(find_model("gcn"))[1]
    with pytest.raises(SystemExit) as done:
        main(["rebuild", "gcn", "-o", str(output)])
    assert done.value.code == 2
    assert "--force" in capfd.readouterr().err
