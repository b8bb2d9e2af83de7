"""ONNX networks with the interface of basf2's SmartBackground module, and their JSON.

One event per run: ``x`` float32 (n_nodes, 8), ``pdg`` int32 (n_nodes,), ``mother`` int32
(n_nodes,) and ``c`` int32 (), the event type, give ``output`` float32 (n_skims,), raw
logits (contract section 5.4). Beside ``out.onnx`` lies ``out.json``, see
`smartfilter.onnx_config`. This module alone calls ``onnxruntime``;
`smartfilter.onnx_export` writes such files.
"""

from __future__ import annotations

import hashlib
import logging
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smartfilter.errors import InputError, MissingPackageError, ModelFileError
from smartfilter.events import EVENT_TYPES, UNKNOWN_EVENT_TYPE
from smartfilter.onnx_config import read_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from smartfilter.model_info import ModelInfo
    from smartfilter.onnx_config import OnnxConfig

__all__ = [
    "INPUTS",
    "N_FEATURES",
    "PRODUCER",
    "OnnxNetwork",
    "first_line",
    "read_network",
    "require",
]

log = logging.getLogger(__name__)

PRODUCER = "smartfilter"
"""Producer name of our files, whose networks also take -1, the unknown event type."""

N_FEATURES = 8

INPUTS: Mapping[str, tuple[str, tuple[int | None, ...]]] = {
    "x": ("tensor(float)", (None, N_FEATURES)),
    "pdg": ("tensor(int32)", (None,)),
    "mother": ("tensor(int32)", (None,)),
    "c": ("tensor(int32)", ()),
}
"""Input -> type and shape; None is the number of nodes."""


def require(package: str) -> Any:
    """Import a package of the extra ``onnx``.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
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

    def describe(self) -> dict[str, Any]:
        """Return producer, inputs, output and the value of ``c`` of each event type.

        Inputs and output are texts by name, as ``tensor(float) [N, 8]``.
        """
        inputs, outputs = (
            {
                node.name: f"{node.type} [{', '.join(map(str, node.shape))}]"
                for node in k
            }
            for k in (self._session.get_inputs(), self._session.get_outputs())
        )
        names = (*EVENT_TYPES, "unknown")  # whose code is -1
        return {
            "producer": self._session.get_modelmeta().producer_name,
            "inputs": inputs,
            "outputs": outputs,
            "event_types": {names[code]: int(c) for code, c in self._c.items()},
        }

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
                f"({first_line(error)}) in {self._where}"
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
    runtime = require("onnxruntime")
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
            f"({first_line(error)})"
        ) from error
    return session, errors


def _check_interface(session: Any, n_skims: int, where: str) -> None:
    """Compare names, types and shapes of inputs and output with the official ones."""
    found = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    if set(found) != set(INPUTS):
        raise ModelFileError(
            f"inputs: expected {', '.join(INPUTS)}, "
            f"got {', '.join(found) or 'none'} in {where}"
        )
    for name, (kind, shape) in INPUTS.items():
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
    data, text = _read_bytes(path), _read_bytes(document)
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


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0]
