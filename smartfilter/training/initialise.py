"""Start a training from a model file: transfer to another skim with few events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from smartfilter.errors import UsageError
from smartfilter.graphs import get_preset
from smartfilter.model_file import load_module, read_model_info
from smartfilter.models import build
from smartfilter.pdg import load_vocabulary
from smartfilter.training.split import Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from smartfilter.model_info import ModelInfo
    from smartfilter.training.config import TrainingConfig

__all__ = ["check_start", "describe_start", "find_outputs", "initialise"]


def check_start(config: TrainingConfig) -> None:
    """Refuse a model that a training cannot start from, before its data are read.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or does not record its split.
    UsageError
        If network, preset, vocabulary or split differ.
    """
    if config.initialise_from is not None:
        info, _ = read_model_info(config.initialise_from)
        _require_same_rules(info, config, config.initialise_from)


def find_outputs(name: str, settings: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the parameters that have one row per skim.

    Parameters
    ----------
    name : str
        Of the network, see `smartfilter.models.NETWORKS`.
    settings : mapping
        Keywords of its constructor.
    """
    with torch.random.fork_rng(devices=[]):
        one, two = (
            build(name, **{**settings, "n_skims": n}).state_dict() for n in (1, 2)
        )
    return frozenset(key for key in one if one[key].shape != two[key].shape)


@torch.no_grad()
def initialise(
    network: nn.Module,
    source: str | Path,
    *,
    config: TrainingConfig,
    settings: Mapping[str, Any],
    skims: Sequence[str],
) -> None:
    """Give a network the parameters and constants of a model file.

    Outputs of skims that the model knows start from its own, those of other skims stay
    as they are.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    source : str or Path
        The model file, or the name of a shipped one.
    config : TrainingConfig
        Its network, preset and split have to be those of the model: with another split,
        events that the model was trained on would be among the test events.
    settings : mapping
        Keywords that built the network.
    skims : sequence of str
        Of the outputs, in their order.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or does not record its split.
    UsageError
        If network, preset, vocabulary, split or the shape of a parameter differ.
    """
    module, info = load_module(source)
    _require_same_rules(info, config, str(source))
    known, own = module.state_dict(), network.state_dict()
    outputs = find_outputs(config.network, settings)
    differing = [
        f"{key} {tuple(value.shape)}"
        for key, value in own.items()
        if key not in outputs and (key not in known or known[key].shape != value.shape)
    ]
    if differing:
        raise UsageError(
            f"initialise_from: expected the parameters of {source}, got "
            f"{', '.join(differing)}; use the settings that it was trained with: "
            f"{info.settings}"
        )
    pairs = [
        (row, info.skim_names.index(skim))
        for row, skim in enumerate(skims)
        if skim in info.skim_names
    ]
    for key, value in own.items():
        if key not in outputs:
            value.copy_(known[key])
            continue
        for row, known_row in pairs:
            value[row] = known[key][known_row]


def _require_same_rules(info: ModelInfo, config: TrainingConfig, where: str) -> None:
    """Refuse a model of another network, preparation, vocabulary or split."""
    split = Split(config.split_fractions, config.split_seed)
    rules = (
        ("network", info.network, config.network),
        ("preset", info.preset, config.preset),
        ("split", Split.from_training(info.training, where), split),
    )
    for name, expected, found in rules:
        if found != expected:
            raise UsageError(
                f"initialise_from: expected the {name} of {where}, {expected}, got "
                f"{found}; change the configuration"
            )
    vocabulary = load_vocabulary(get_preset(config.preset).vocabulary)
    if vocabulary != info.vocabulary:
        raise UsageError(
            f"initialise_from: expected the PDG vocabulary of preset {config.preset}, "
            f"{len(vocabulary.codes)} codes, got another one of "
            f"{len(info.vocabulary.codes)} codes in {where}; start from another model"
        )


def describe_start(source: str | Path) -> dict[str, Any]:
    """Return how the file of a model that a training starts from is recorded.

    Raises
    ------
    ModelFileError
        If the file cannot be read.
    """
    info, digest = read_model_info(source)
    return {
        "digest": digest,
        "skims": list(info.skim_names),
        "seed": info.training.get("seed"),
    }
