"""Events, files and models that the speed benchmarks use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smartfilter.events import Events, concatenate
from smartfilter.graphs import prepare
from smartfilter.io.mdst_writer import MdstWriter
from smartfilter.model_file import load_module, save_model
from smartfilter.models import build, count_parameters
from smartfilter.models.layers import set_standardisation
from smartfilter.pipeline.generator import Generator

if TYPE_CHECKING:
    from pathlib import Path

    from smartfilter.models import GCN

__all__ = ["EVENT_TYPES", "make_events", "make_model", "make_network", "write_events"]

EVENT_TYPES = ("mixed", "ccbar")
"""Half of the events each: 44 particles per event on average."""


def make_events(n_events: int, seed: int = 7) -> Events:
    """Generate events of `EVENT_TYPES` in random order."""
    parts = [
        Generator(name, seed=seed + k).generate(n_events // 2 + (k < n_events % 2))
        for k, name in enumerate(EVENT_TYPES)
    ]
    events = concatenate(parts)
    order = np.random.default_rng(seed).permutation(n_events)
    return replace(
        events.take(order), entry=np.arange(n_events), event=np.arange(n_events)
    )


def write_events(path: Path, events: Events, n_events: int) -> Path:
    """Write a file in the mdst layout: these events again and again."""
    with MdstWriter(path, force=True) as writer:
        for first in range(0, n_events, len(events)):
            n = min(len(events), n_events - first)
            number = np.arange(first, first + n)
            writer.write(replace(events.take(slice(0, n)), event=number))
    return path


def make_network(events: Events, **settings: Any) -> tuple[GCN, Any]:
    """Return a network like the shipped one, and what its model file would say.

    Its weights are random: the speed does not depend on them. The biases of the
    convolutions are zero, so that torch-geometric's layers can give the same logits.

    Parameters
    ----------
    events : Events
        Give the constants of the standardisation.
    **settings
        In the place of the shipped network's, as ``n_units``.
    """
    _, info = load_module("gcn")
    settings = {**info.settings, **settings}
    torch.manual_seed(0)
    network = build(info.network, **settings).eval()
    set_standardisation(network, torch.from_numpy(prepare(events, info.preset).x))
    with torch.no_grad():
        for convolution in network.convolutions:
            convolution.linear.bias.zero_()
    n_parameters = count_parameters(network)
    info = replace(info, settings=settings, n_parameters=n_parameters)
    return network, info


def make_model(path: Path, events: Events, **settings: Any) -> Path:
    """Write the model file of `make_network`."""
    save_model(path, *make_network(events, **settings))
    return path
