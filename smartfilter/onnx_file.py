"""ONNX networks with the interface of basf2's SmartBackground module, and their JSON.

One event per run: ``x`` float32 (n_nodes, 8), ``pdg`` int32 (n_nodes,), ``mother`` int32
(n_nodes,) and ``c`` int32 (), the event type, give ``output`` float32 (n_skims,), raw
logits (contract section 5.4). Beside ``out.onnx`` lies ``out.json``, see
`smartfilter.onnx_config`. This module alone calls ``torch.onnx`` and ``onnxruntime``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from smartfilter.errors import InputError, MissingPackageError, ModelFileError
from smartfilter.events import EVENT_TYPES, UNKNOWN_EVENT_TYPE
from smartfilter.io.output import OutputFile
from smartfilter.onnx_config import OnnxConfig, make_config, read_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from smartfilter.model_info import ModelInfo

__all__ = ["Export", "OnnxNetwork", "export_network", "read_network"]

log = logging.getLogger(__name__)

PRODUCER = "smartfilter"
"""Producer name of the files that `export_network` writes."""

OPSET = 18
"""ONNX operator set; onnxruntime reads it since 1.14."""

IR_VERSION = 8
"""ONNX file format that goes with `OPSET`; later onnxruntime versions read it, too."""

TOLERANCE = 1e-4
"""Largest difference of logits between a network and its export."""

N_FEATURES = 8

_INPUTS: Mapping[str, tuple[str, tuple[int | None, ...]]] = {
    "x": ("tensor(float)", (None, N_FEATURES)),
    "pdg": ("tensor(int32)", (None,)),
    "mother": ("tensor(int32)", (None,)),
    "c": ("tensor(int32)", ()),
}
"""Input -> type and shape; None is the number of nodes."""


def _require(package: str) -> Any:
    """Import a package of the extra."""
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingPackageError(package, "onnx") from error


class OnnxNetwork:
    """A network as `smartfilter.models` describes it, run by onnxruntime on the CPU.

    The interface knows no batch: events go through one by one, with one thread.

    Parameters
    ----------
    data : bytes
        Contents of the ONNX file.
    config : OnnxConfig
    where : str
        Named in errors.

    Raises
    ------
    ModelFileError
        If it is no ONNX network of this interface, or a trial event does not give
        one finite logit per skim.
    MissingPackageError
        If onnxruntime is not installed.
    """

    def __init__(self, data: bytes, config: OnnxConfig, where: str) -> None:
        self._where = where
        self._n_skims = len(config.info.skims)
        self._session, self._errors = _start_session(data, where)
        self._c = {
            k: np.array(c, dtype=np.int32) for k, c in config.event_types.items()
        }
        if self._session.get_modelmeta().producer_name == PRODUCER:
            unknown = np.array(UNKNOWN_EVENT_TYPE, dtype=np.int32)
            self._c[UNKNOWN_EVENT_TYPE] = unknown
        _check_interface(self._session, self._n_skims, where)
        self._try()

    def __call__(
        self,
        x: Tensor,
        pdg: Tensor,
        mother: Tensor,
        offsets: Tensor,
        event_type: Tensor,
    ) -> Tensor:
        """Return logits, float32 (n_events, n_skims); NaN for an event without nodes.

        Raises
        ------
        InputError
            If an event's type is unknown or not one that the network was made for.
        ModelFileError
            If the network fails.
        """
        bounds, types = offsets.tolist(), event_type.tolist()
        columns = x.numpy(), pdg.numpy(), mother.numpy()
        logits = np.full((len(types), self._n_skims), np.nan, dtype=np.float32)
        for i, (first, last) in enumerate(pairwise(bounds)):
            if first == last:
                continue
            features, tokens, above = (column[first:last] for column in columns)
            if first:
                above = np.where(above >= 0, above - first, above)
            logits[i] = self._run(features, tokens, above.astype(np.int32), types[i])
        return torch.from_numpy(logits)

    def _run(
        self,
        x: NDArray[np.float32],
        pdg: NDArray[np.int32],
        mother: NDArray[np.int32],
        event_type: int,
    ) -> NDArray[np.float32]:
        """Return the logits of one event."""
        if event_type not in self._c:
            known = ", ".join(EVENT_TYPES[k] for k in sorted(self._c) if k >= 0)
            found = EVENT_TYPES[event_type] if event_type >= 0 else "unknown"
            raise InputError(
                f"event type: expected one of {known} for {self._where}, got {found}; "
                "give the type of the events"
            )
        c = self._c[event_type]
        feeds = {"x": x, "pdg": pdg, "mother": mother, "c": c}
        try:
            logits: NDArray[np.float32] = self._session.run(None, feeds)[0]
        except self._errors as error:
            raise ModelFileError(
                f"ONNX network: failed on an event of {len(x)} particles "
                f"({_first_line(error)}) in {self._where}"
            ) from error
        return logits

    def _try(self) -> None:
        """Run a chain of particles and a single particle of every event type."""
        for size in (3, 1):
            x = np.linspace(-1.0, 1.0, size * N_FEATURES, dtype=np.float32)
            chain = np.arange(-1, size - 1, dtype=np.int32)
            for code in self._c:
                event = (x.reshape(size, -1), np.zeros(size, dtype=np.int32), chain)
                logits = self._run(*event, code)
                if logits.shape != (self._n_skims,) or not np.isfinite(logits).all():
                    raise ModelFileError(
                        f"ONNX network: expected {self._n_skims} finite logits, one per "
                        f"skim, got {logits.tolist()} for a trial event in {self._where}"
                    )


def _start_session(data: bytes, where: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return an onnxruntime session, and the exceptions that its runs raise."""
    runtime = _require("onnxruntime")
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    errors = tuple(
        kind
        for kind in vars(state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    )
    errors = (*errors, RuntimeError, ValueError, IndexError)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
    except errors as error:
        raise ModelFileError(
            f"ONNX network: onnxruntime {runtime.__version__} cannot read {where} "
            f"({_first_line(error)})"
        ) from error
    return session, errors


def _check_interface(session: Any, n_skims: int, where: str) -> None:
    """Compare names, types and shapes of inputs and output with the official ones."""
    found = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    if set(found) != set(_INPUTS):
        raise ModelFileError(
            f"inputs: expected {', '.join(_INPUTS)}, "
            f"got {', '.join(found) or 'none'} in {where}"
        )
    for name, (kind, shape) in _INPUTS.items():
        _check_tensor(f"input {name}", found[name], (kind, shape), where)
    outputs = [(node.type, node.shape) for node in session.get_outputs()]
    names = [node.name for node in session.get_outputs()]
    if names != ["output"]:
        raise ModelFileError(
            f"outputs: expected one named output, got {', '.join(names)} in {where}"
        )
    _check_tensor("output", outputs[0], ("tensor(float)", (n_skims,)), where)


def _check_tensor(
    what: str,
    found: tuple[str, list[Any]],
    expected: tuple[str, tuple[int | None, ...]],
    where: str,
) -> None:
    """Check type and shape; a length that the file leaves open may be anything."""
    (kind, shape), (right_kind, right_shape) = found, expected
    fits = len(shape) == len(right_shape) and all(
        not isinstance(length, int) or length == right
        for length, right in zip(shape, right_shape, strict=True)
    )
    if kind != right_kind or not fits:
        lengths = ["N" if length is None else length for length in right_shape]
        raise ModelFileError(
            f"{what}: expected {right_kind} of shape {lengths}, got {kind} of shape "
            f"{shape} in {where}"
        )


def read_network(path: Path) -> tuple[OnnxNetwork, ModelInfo, str]:
    """Read an ONNX network and the JSON document beside it.

    Parameters
    ----------
    path : Path
        Ends in ``.onnx``; the document has the same name with ``.json``.

    Returns
    -------
    network : OnnxNetwork
    info : ModelInfo
    digest : str
        SHA-256 of both files, hexadecimal.

    Raises
    ------
    ModelFileError
        If a file is missing or damaged, or the two do not fit each other.
    MissingPackageError
        If onnxruntime is not installed.
    """
    document = path.with_suffix(".json")
    text, data = _read_bytes(document), _read_bytes(path)
    config = read_config(text.decode(errors="replace"), str(document))
    network = OnnxNetwork(data, config, str(path))
    log.info("%s: scores are sigmoid(logit), not calibrated", path)
    digest = hashlib.sha256(len(data).to_bytes(8, "big") + data + text).hexdigest()
    return network, config.info, digest


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"ONNX network: cannot read {path} ({error.strerror}); "
            "an .onnx file needs its .json beside it"
        ) from error


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
        _require(package)
    document = make_config(info, str(path), codes=codes, event_type=event_type)
    text = json.dumps(document, indent=1, allow_nan=False)
    with ExitStack() as stack:
        stack.enter_context(_restore(path.with_suffix(".json")))
        files = [
            stack.enter_context(_File(place, force=force))
            for place in (path, path.with_suffix(".json"))
        ]
        single = _SingleEvent(module).eval()
        data = _to_onnx(single, info)
        network = OnnxNetwork(data, read_config(text, str(path)), str(path))
        difference = _compare(single, network, info)
        for file, content in zip(files, (data, text.encode()), strict=True):
            file.write(content)
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


class _File(OutputFile):
    """A file that is written at once and moved to its name at the end."""

    def write(self, content: bytes) -> None:
        """Write the contents to the temporary name."""
        self._temporary.write_bytes(content)

    def close(self) -> None:
        """Move the file to its name; leave nothing else if that fails."""
        try:
            super().close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Leave the file, which is complete."""

    def _abandon(self) -> None:
        """Leave the file to be removed."""


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
                input_names=list(_INPUTS),
                output_names=["output"],
                opset_version=OPSET,
                verbose=False,
            )
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        raise ModelFileError(
            f"network '{info.network}': cannot be exported to ONNX "
            f"({_first_line(error)})"
        ) from error
    return _tidy(cast("Any", program).model_proto)


def _tidy(model: Any) -> bytes:
    """Set producer and format version, and remove the exporter's notes and paths."""
    onnx = _require("onnx")
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
    """Return the largest difference of logits on events of all types and many sizes."""
    largest = 0.0
    for seed, size in enumerate((1, 2, 3, 60, 500)):
        for code in range(UNKNOWN_EVENT_TYPE, len(EVENT_TYPES)):
            x, pdg, mother, c = _make_trial(size, info, seed=seed, event_type=code)
            with torch.inference_mode():
                expected = single(x, pdg, mother, c)
            offsets = torch.tensor([0, size])
            logits = network(x, pdg, mother.long(), offsets, c.long().reshape(1))[0]
            largest = max(largest, float((logits - expected).abs().max()))
    if not largest <= TOLERANCE:
        raise ModelFileError(
            f"network '{info.network}': expected the export to repeat its logits to "
            f"{TOLERANCE}, got a difference of {largest}"
        )
    return largest


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
