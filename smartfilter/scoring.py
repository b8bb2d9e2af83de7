"""Scoring: events in, logits and calibrated pass probabilities out."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smartfilter.errors import DeviceError, ModelFileError, UsageError
from smartfilter.graphs import Reason, get_preset, prepare
from smartfilter.model_file import LoadedModel, default_model_path, load_model
from smartfilter.model_info import DEFAULT, sigmoid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from smartfilter.events import Events
    from smartfilter.graphs import GraphBatch
    from smartfilter.model_info import ModelInfo

__all__ = [
    "Calibrator",
    "Scorer",
    "Scores",
    "find_batch_end",
    "limit_threads",
    "resolve_device",
]

log = logging.getLogger(__name__)

NODES_PER_BATCH = {"cpu": 6_000, "cuda": 1_000_000}
"""Nodes per batch: on a CPU what stays in its cache, on a GPU what fits its memory.

Measured with the shipped network, 60 nodes per event, one CPU thread: 43,000 events/s
at 6,000 nodes, 27,000 at 60,000 and 26,000 at 500.
"""


ABSURD = 1e6
"""GeV, cm or ns: a network may overflow on features beyond; the beams have 11 GeV."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What the network says of each event.

    An event that cannot be scored has NaN in logits and scores; the decision keeps it.

    Parameters
    ----------
    logits : ndarray of float32, shape (n_events, n_skims)
        Raw network outputs.
    scores : ndarray of float32, shape (n_events, n_skims)
        Calibrated probability to pass each skim at its retention rate.
    scorable : ndarray of bool, shape (n_events,)
    reason : ndarray of int8, shape (n_events,)
        `smartfilter.graphs.Reason`; 0 if the event can be scored.
    n_nodes : ndarray of int64, shape (n_events,)
        Particles that the network saw.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    scorable: NDArray[np.bool_]
    reason: NDArray[np.int8]
    n_nodes: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.scorable)


class Calibrator:
    """Logits to probabilities with the constants of each skim and event type.

    Parameters
    ----------
    info : ModelInfo
    """

    def __init__(self, info: ModelInfo) -> None:
        rows = [
            [skim.get_calibration(name) for skim in info.skims]
            for name in (*info.event_types, DEFAULT)
        ]
        self._slope = np.array([[c.slope for c in row] for row in rows])
        self._intercept = np.array([[c.intercept for c in row] for row in rows])
        self._curves = [
            [
                (k, np.array(c.knots), np.array(c.shifts))
                for k, c in enumerate(row)
                if c.knots
            ]
            for row in rows
        ]

    def __call__(
        self, logits: NDArray[np.float32], event_type: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Return the calibrated pass probabilities, shape (n_events, n_skims).

        Parameters
        ----------
        logits : ndarray of float32, shape (n_events, n_skims)
        event_type : ndarray of int, shape (n_events,)
            Position in the event types; -1 takes the default constants, the last row.
        """
        z = self._slope[event_type] * logits + self._intercept[event_type]
        codes = event_type[:1] if len(z) == 1 else np.unique(event_type)
        for code in codes.tolist():
            rows = slice(None) if len(codes) == 1 else event_type == code
            z[rows] = self._shift(z[rows], code)
        return sigmoid(z)

    def _shift(self, z: NDArray[np.float64], code: int) -> NDArray[np.float64]:
        """Return rows of one event type with the shifts of `Calibration` added."""
        shifted = z.copy()
        for k, knots, shifts in self._curves[code]:
            shifted[:, k] += np.interp(z[:, k], knots, shifts)
        return shifted


class Scorer:
    """Scores events with a model file.

    Parameters
    ----------
    model : str, Path or LoadedModel, optional
        By default the model file that smartfilter ships. ``.onnx`` is a network of
        the official module with its JSON document beside it; its scores are not
        calibrated, see `smartfilter.onnx_config`.
    device : str
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    batch_size : int, optional
        Most events per batch; by default as many as `NODES_PER_BATCH` allows.
    threads : int
        CPU threads of torch while scoring. One is the default: batches are small enough
        for the cache of one core, and threads that wait for each other on a shared
        machine cost a factor of ten. Use processes for more.

    Raises
    ------
    ModelFileError
        If the model file cannot be used.
    DeviceError
        If the device is not there.
    UsageError
        If a setting makes no sense.
    """

    def __init__(
        self,
        model: str | Path | LoadedModel | None = None,
        *,
        device: str = "auto",
        batch_size: int | None = None,
        threads: int = 1,
    ) -> None:
        for name, value in (("batch size", batch_size), ("threads", threads)):
            if value is not None and value < 1:
                raise UsageError(f"{name}: expected at least 1, got {value}")
        place = resolve_device(device)
        if isinstance(model, LoadedModel):
            self.model = model.to(place)
        else:
            self.model = load_model(
                default_model_path() if model is None else model, place
            )
        if self.device != place and device != "auto":
            raise DeviceError(
                f"device: expected cpu for {self.path}, got '{device}'; "
                "ONNX networks run on the CPU"
            )
        self.batch_size = batch_size
        self.threads = threads
        self._max_nodes = NODES_PER_BATCH[self.device.type]
        self._preset = get_preset(self.info.preset)
        self._calibrate = Calibrator(self.info)

    @property
    def info(self) -> ModelInfo:
        """What the model file says."""
        return self.model.info

    @property
    def digest(self) -> str:
        """SHA-256 of the model file's contents."""
        return self.model.digest

    @property
    def path(self) -> Path:
        """The model file."""
        return self.model.path

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.model.device

    def score(self, events: Events) -> Scores:
        """Return the scores of all events, in order.

        Batches change the results by rounding only (about 1e-6 in the logit).

        Raises
        ------
        ModelFileError
            If the network gives no finite logit for an event that can be scored.
        InputError
            If the network does not take events of this type, or of unknown type.
        DeviceError
            If the GPU's memory does not hold a single event.
        """
        graph = prepare(events, self._preset, self.info.vocabulary)
        with limit_threads(self.threads):
            logits = self.score_graph(graph)
        if not np.isfinite(logits[graph.scorable]).all():
            self._excuse_overflow(graph, logits)
        scorable = graph.scorable
        logits[~scorable] = np.nan
        return Scores(
            logits=logits,
            scores=self._calibrate(logits, graph.event_type),
            scorable=scorable,
            reason=graph.reason,
            n_nodes=graph.offsets[1:] - graph.offsets[:-1],
        )

    def score_graph(self, graph: GraphBatch) -> NDArray[np.float32]:
        """Return the logits of prepared events, shape (n_events, n_skims)."""
        n_events = len(graph.offsets) - 1
        logits = np.empty((n_events, len(self.info.skims)), dtype=np.float32)
        first = 0
        while first < n_events:
            last = find_batch_end(
                graph.offsets, first, self._max_nodes, self.batch_size
            )
            try:
                logits[first:last] = self._run(graph, first, last)
            except RuntimeError as error:
                self._shrink_batches(graph.offsets[first : last + 1], error)
            else:
                first = last
        return logits

    def _excuse_overflow(self, graph: GraphBatch, logits: NDArray[np.float32]) -> None:
        """Call events unscorable in which numbers beyond all physics overflowed.

        Sums over a batch may carry an overflow to its other events: if there are such
        numbers, each event that failed is scored again alone.
        """
        failed = graph.scorable & ~np.isfinite(logits).all(axis=1)
        absurd = np.zeros(len(graph), dtype=bool)
        rows = np.flatnonzero((np.abs(graph.x) > ABSURD).any(axis=1))
        absurd[np.searchsorted(graph.offsets, rows, side="right") - 1] = True
        if absurd.any():
            with limit_threads(self.threads):
                for i in np.flatnonzero(failed).tolist():
                    logits[i] = self._run(graph, i, i + 1)
            failed &= ~np.isfinite(logits).all(axis=1)
        if (failed & ~absurd).any():
            raise ModelFileError(
                f"network of {self.path}: expected finite logits, got others"
            )
        graph.reason[failed] = Reason.NON_FINITE

    def _run(self, graph: GraphBatch, first: int, last: int) -> NDArray[np.float32]:
        """Return the logits of the events ``first:last``."""
        if last - first == len(graph):
            return self._call(
                graph.x, graph.pdg, graph.mother, graph.offsets, graph.event_type
            )
        begin, end = graph.offsets[first], graph.offsets[last]
        mother = graph.mother[begin:end]
        if begin:
            mother = np.where(mother >= 0, mother - begin, mother)
        return self._call(
            graph.x[begin:end],
            graph.pdg[begin:end],
            mother,
            graph.offsets[first : last + 1] - begin,
            graph.event_type[first:last],
        )

    def _call(self, *columns: NDArray[Any]) -> NDArray[np.float32]:
        """Return the logits of a batch given as the arguments of a network."""
        logits = self.model(*(self._to_device(column) for column in columns))
        result: NDArray[np.float32] = logits.cpu().numpy()
        return result

    def _to_device(self, column: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(column))
        if self.device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _shrink_batches(self, offsets: NDArray[np.int64], error: RuntimeError) -> None:
        """Halve the batches from now on if this one did not fit the memory."""
        if "out of memory" not in str(error):
            kind = ModelFileError if self.device.type == "cpu" else DeviceError
            raise kind(
                f"network of {self.path}: failed on {self.device} "
                f"({str(error).strip().splitlines()[-1]})"
            ) from error
        n_nodes = int(offsets[-1] - offsets[0])
        if len(offsets) == 2:
            raise DeviceError(
                f"memory of {self.device}: expected room for an event of {n_nodes} "
                "particles, got none; use --device cpu"
            ) from error
        self._max_nodes = n_nodes // 2
        log.warning(
            "%s: out of memory with %d particles, halving", self.device, n_nodes
        )
        torch.cuda.empty_cache()


def find_batch_end(
    offsets: NDArray[np.int64],
    first: int,
    max_nodes: int,
    max_events: int | None = None,
) -> int:
    """Return the event after the last one of the batch that starts with ``first``.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_events + 1,)
    first : int
        First event of the batch.
    max_nodes : int
        Most nodes per batch; a larger event is a batch of its own.
    max_events : int, optional
        Most events per batch.
    """
    end = int(np.searchsorted(offsets, offsets[first] + max_nodes, side="right")) - 1
    end = max(end, first + 1)
    return end if max_events is None else min(end, first + max_events)


def resolve_device(name: str) -> torch.device:
    """Return the device of this name.

    Parameters
    ----------
    name : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    UsageError
        If there is no such name.
    DeviceError
        If the GPU is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in NODES_PER_BATCH:
        raise UsageError(f"device: expected auto, cpu, cuda or cuda:N, got '{name}'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device: expected a CUDA device for '{name}', "
            f"got {torch.cuda.device_count()} of them; use --device auto or cpu"
        )
    return device


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Run with this many CPU threads of torch."""
    before = torch.get_num_threads()
    if before == threads:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
