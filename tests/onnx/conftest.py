"""Exported networks: the shipped ones, and one for three skims and all event types."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smartfilter.event_type import infer_event_type
from smartfilter.events import EVENT_TYPES, Events
from smartfilter.graphs import PRESETS
from smartfilter.io import open_events
from smartfilter.model_file import load_module
from smartfilter.model_info import DEFAULT, Calibration, ModelInfo, SkimInfo
from smartfilter.models import build
from smartfilter.onnx_export import export_network
from smartfilter.pdg import load_vocabulary


class TypedNetwork(nn.Module):
    """Three logits that also depend on the event type."""

    def __init__(self, n_tokens: int) -> None:
        super().__init__()
        self.gcn = build("gcn", n_features=8, n_tokens=n_tokens, n_skims=3, count=True)
        self.types = nn.Embedding(len(EVENT_TYPES) + 1, 3)

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        logits: Tensor = self.gcn(x, pdg, mother, offsets, event_type)
        shift: Tensor = self.types(event_type + 1)
        return logits + shift


def _make_info(**changes: Any) -> ModelInfo:
    preset = PRESETS["smart_background"]
    constants = Calibration(1.0, -1.0, 0.05, 0.4, 1.2, 0.5, 0.3)
    skims = tuple(
        SkimInfo(
            name,
            code,
            {
                DEFAULT: replace(constants, official_offset=0.1 * k),
                "mixed": replace(constants, official_slope=0.7),
            },
            max_weight=100.0 - k,
        )
        for k, (name, code) in enumerate({"one": 11, "two": 9, "three": 10}.items())
    )
    info = ModelInfo(
        preset=preset.name,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=load_vocabulary(preset.vocabulary),
        skims=skims,
        network="typed",
        settings={},
        n_parameters=0,
    )
    return replace(info, **changes)


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> tuple[TypedNetwork, Path]:
    """Return a network for three skims and all event types, and its ONNX file."""
    torch.manual_seed(4)
    info = _make_info()
    network = TypedNetwork(info.vocabulary.n_tokens).eval()
    path: Path = tmp_path_factory.mktemp("typed") / "typed.onnx"
    export_network(network, info, path)
    return network, path


@pytest.fixture
def traced(
    typed: tuple[TypedNetwork, Path], monkeypatch: pytest.MonkeyPatch
) -> nn.Module:
    """Return the network of `typed`, which needs not be traced again (four seconds)."""
    data = typed[1].read_bytes()
    monkeypatch.setattr("smartfilter.onnx_export._to_onnx", lambda *_: data)
    return typed[0]


@pytest.fixture(scope="session", params=["gcn", "subtree"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a shipped model as ONNX; the stem is its name."""
    path: Path = tmp_path_factory.mktemp("shipped") / f"{request.param}.onnx"
    export_network(*load_module(request.param), path)
    return path


@pytest.fixture(scope="session")
def example(project_root: Path) -> Events:
    return _with_types(open_events(project_root / "examples" / "events.root").read())


def _with_types(events: Events) -> Events:
    return events.with_event_type_codes(infer_event_type(events))


@pytest.fixture(scope="session")
def make_info():
    """Return the function that describes the network for three skims."""
    return _make_info


@pytest.fixture(scope="session")
def with_types():
    """Return the function that gives events their inferred types."""
    return _with_types
