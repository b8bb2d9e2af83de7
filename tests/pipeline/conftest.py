"""A model that counts particles, for the stages around the filter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from smartfilter.graphs import PRESETS
from smartfilter.model_file import save_model
from smartfilter.model_info import Calibration, ModelInfo, SkimInfo
from smartfilter.pdg import load_vocabulary
from smartfilter.scoring import Scorer


class CountNodes(nn.Module):
    """The logit is (n - 40) / 10, n the number of nodes."""

    def forward(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        n_nodes = (offsets[1:] - offsets[:-1]).to(torch.float32)
        return ((n_nodes - 40.0) / 10.0).unsqueeze(1)


@pytest.fixture(scope="session")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    preset = PRESETS["smart_background"]
    constants = Calibration(1.0, -2.0, 0.05, 0.1, 1.2, 0.5, 0.0)
    info = ModelInfo(
        preset=preset.name,
        features=tuple((f.name, f.unit) for f in preset.features),
        vocabulary=load_vocabulary(preset.vocabulary),
        skims=(SkimInfo("feiHadronicB0", 11180100, {"default": constants}),),
        network="count",
        settings={},
        n_parameters=0,
    )
    path = tmp_path_factory.mktemp("model") / "count.pt"
    save_model(path, CountNodes(), info)
    return Scorer(path, device="cpu", threads=1)
