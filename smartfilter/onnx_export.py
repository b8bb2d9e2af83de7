"""Export of networks to ONNX with the interface of basf2's SmartBackground module.

The interface is described in `smartfilter.onnx_file`. This module alone calls
``torch.onnx``.
"""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from smartfilter.errors import ModelFileError
from smartfilter.events import EVENT_TYPES, UNKNOWN_EVENT_TYPE
from smartfilter.io.output import BinaryFile
from smartfilter.onnx_config import make_config, read_config
from smartfilter.onnx_file import (
    INPUTS,
    N_FEATURES,
    PRODUCER,
    OnnxNetwork,
    first_line,
    require,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from smartfilter.model_info import ModelInfo

__all__ = ["Export", "export_network"]

OPSET = 18
"""ONNX operator set; onnxruntime reads it since 1.14."""

IR_VERSION = 8
"""ONNX file format that goes with `OPSET`; later onnxruntime versions read it, too."""

TOLERANCE = 1e-4
"""Largest difference of a logit between a network and its export."""

SURE = 25.0
"""From this size on a logit means 0 or 1 to 1e-11, and may differ in proportion to it:
of the hundreds that random events of 500 particles give, float32 keeps no 1e-4."""


class Export(NamedTuple):
    """What `export_network` wrote.

    Parameters
    ----------
    network, document : Path
        The ONNX file and the JSON document.
    n_bytes : int
        Size of the ONNX file.
    largest_difference : float
        Of the logits of trial events from those of the network that was exported.
    """

    network: Path
    document: Path
    n_bytes: int
    largest_difference: float


def export_network(
    module: nn.Module,
    info: ModelInfo,
    path: Path,
    *,
    codes: Mapping[str, int] | None = None,
    event_type: str | None = None,
    force: bool = False,
) -> Export:
    """Write a network for the official module: an ONNX file and its JSON document.

    Parameters
    ----------
    module : nn.Module
        A network as described in `smartfilter.models`.
    info : ModelInfo
    path : Path
        Ends in ``.onnx``; the document takes the same name with ``.json``.
    codes, event_type
        As of `smartfilter.onnx_config.make_config`.
    force : bool
        Whether existing files may be replaced.

    Raises
    ------
    ModelFileError
        If the official module does not prepare events as the model wants it, the network
        cannot be exported, or the export does not repeat its logits.
    UsageError
        If a file exists and ``force`` is false, or skim codes are missing.
    MissingPackageError
        If a package of the extra ``onnx`` is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package)
    document = make_config(info, str(path), codes=codes, event_type=event_type)
    text = json.dumps(document, indent=1, allow_nan=False)
    with ExitStack() as stack:
        stack.enter_context(_restore(path.with_suffix(".json")))
        files = [
            stack.enter_context(BinaryFile(place, force=force))
            for place in (path, path.with_suffix(".json"))
        ]
        single = _SingleEvent(module).eval()
        data = _to_onnx(single, info)
        network = OnnxNetwork(data, read_config(text, str(path)), str(path))
        difference = _compare(single, network, info)
        for file, content in zip(files, (data, text.encode()), strict=True):
            file.content = content
    return Export(path, files[1].path, len(data), difference)


@contextmanager
def _restore(path: Path) -> Iterator[None]:
    """Put a file back, or remove it, if what follows its replacement fails."""
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        elif path.read_bytes() != before:
            path.write_bytes(before)
        raise


class _SingleEvent(nn.Module):
    """A network with the official interface: int32 mothers, no batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, pdg: Tensor, mother: Tensor, c: Tensor) -> Tensor:
        """Return the logits of one event, shape (n_skims,)."""
        start = torch.zeros(1, dtype=torch.int64)
        offsets = torch.cat([start, start + x.shape[0]])
        event_type = c.to(torch.int64).reshape(1)
        logits: Tensor = self.network(
            x, pdg, mother.to(torch.int64), offsets, event_type
        )
        return logits[0]


def _to_onnx(single: _SingleEvent, info: ModelInfo) -> bytes:
    """Return the contents of the ONNX file."""
    n_nodes = torch.export.Dim("N", min=1)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                single,
                _make_trial(7, info, seed=0),
                dynamo=True,
                dynamic_shapes=({0: n_nodes}, {0: n_nodes}, {0: n_nodes}, None),
                input_names=list(INPUTS),
                output_names=["output"],
                opset_version=OPSET,
                verbose=False,
            )
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise ModelFileError(
            f"network '{info.network}': cannot be exported to ONNX "
            f"({first_line(error)})"
        ) from error
    return _tidy(cast("Any", program).model_proto)


def _tidy(model: Any) -> bytes:
    """Set producer and format version, and remove the exporter's notes and paths."""
    onnx = require("onnx")
    model.producer_name = PRODUCER
    model.producer_version = ""
    model.ir_version = IR_VERSION
    graph = model.graph
    del model.metadata_props[:]
    for part in (
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    text: bytes = model.SerializeToString(deterministic=True)
    return text


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns of its own internals."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _make_trial(
    size: int, info: ModelInfo, *, seed: int, event_type: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the inputs of a random event with motherless nodes and self-mothers."""
    rng = torch.Generator().manual_seed(seed)
    mother = (torch.rand(size, generator=rng) * torch.arange(1, size + 1)).long() - 1
    tokens = torch.randint(info.vocabulary.n_tokens, (size,), generator=rng)
    return (
        torch.randn(size, N_FEATURES, generator=rng),
        tokens.to(torch.int32),
        mother.to(torch.int32),
        torch.tensor(event_type, dtype=torch.int32),
    )


def _compare(single: _SingleEvent, network: OnnxNetwork, info: ModelInfo) -> float:
    """Return the largest difference of logits on events of all types and many sizes.

    Beyond `SURE` in proportion to the logit.
    """
    largest = 0.0
    for seed, size in enumerate((1, 2, 3, 60, 500)):
        for code in range(UNKNOWN_EVENT_TYPE, len(EVENT_TYPES)):
            x, pdg, mother, c = _make_trial(size, info, seed=seed, event_type=code)
            with torch.inference_mode():
                expected = single(x, pdg, mother, c)
            offsets = torch.tensor([0, size])
            logits = network(x, pdg, mother.long(), offsets, c.long().reshape(1))[0]
            scale = (expected.abs() / SURE).clamp(min=1.0)
            largest = max(largest, float(((logits - expected).abs() / scale).max()))
    if not largest <= TOLERANCE:
        raise ModelFileError(
            f"network '{info.network}': expected the export to repeat its logits to "
            f"{TOLERANCE}, got a difference of {largest}"
        )
    return largest
