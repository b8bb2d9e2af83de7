"""Training data from a steering path: particles before, labels after the simulation.

In a steering file, in basf2 or standalone::

    writer = TrainingDataWriter("mixed.parquet", ["feiHadronicB0"], event_type="mixed")
    path.add_module(writer.recorder)       # after the generator
    add_simulation(path)
    add_reconstruction(path)
    feiHadronicB0(...)(path)
    path.add_module(writer)                # after the skims

writes what ``smartfilter train`` reads. The particles must be those of the generator:
the simulation removes some of them and changes times.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter import __version__
from smartfilter.basf2_host import basf2, list_skim_names
from smartfilter.errors import InputError, SmartFilterError, UsageError
from smartfilter.event_reader import EventReader
from smartfilter.events import encode_event_type

if TYPE_CHECKING:
    from pathlib import Path

    from smartfilter.events import Events
    from smartfilter.io import LabelledWriter

__all__ = ["GeneratorRecorder", "TrainingDataWriter"]


class GeneratorRecorder(basf2.Module):
    """Keeps the particles of the current event; made by `TrainingDataWriter`.

    Parameters
    ----------
    event_type : str, optional
    reader : str
        As of `smartfilter.module.SmartFilter`.
    """

    def __init__(self, event_type: str | None, reader: str) -> None:
        super().__init__()
        self.set_name(type(self).__name__)
        self.n_generated = 0
        self._event_type = event_type
        self._reader = reader
        self._event = EventReader()
        self._kept: tuple[tuple[int, ...], Events] | None = None

    def initialize(self) -> None:
        """Check that there are particles."""
        self.n_generated = 0
        self._kept = None
        self._event.register()
        try:
            if self._event_type is not None:
                encode_event_type(self._event_type)
            self._event.choose(self._reader)
        except SmartFilterError as error:
            basf2.B2ERROR(f"{self.name()}: {error}")

    def event(self) -> None:
        """Keep the particles."""
        events, _ = self._event.resolve_event_type(self._event.read(), self._event_type)
        entry = np.array([self.n_generated], dtype=np.int64)
        self.n_generated += 1
        self._kept = (self._event.identity, replace(events, entry=entry))

    def take(self, identity: tuple[int, ...]) -> Events:
        """Return the particles of this event.

        Raises
        ------
        InputError
            If they were not kept.
        """
        kept, self._kept = self._kept, None
        if kept is None or kept[0] != identity:
            raise InputError(
                f"training data: expected the generator particles of event {identity}, "
                f"got {'none' if kept is None else f'those of {kept[0]}'}; add "
                "writer.recorder to the path, right after the generator"
            )
        return kept[1]


class TrainingDataWriter(basf2.Module):
    """Writes generator particles and skim decisions for ``smartfilter train``.

    Labels are ``passes_<SkimName>`` of EventExtraInfo, which basf2's skims store. An
    event that does not reach this module is not written. The file appears under its
    name at the end of the job. Runs in one process: it writes a file.

    Parameters
    ----------
    path : str or Path
        A Parquet file, see `smartfilter.io.labelled`.
    skims : sequence
        Names or skim objects, as of `smartfilter.module.SmartFilter`.
    event_type : str, optional
        By default that of EventExtraInfo, else inferred from the record.
    weight : str, optional
        Name in EventExtraInfo of the generated events that an event stands for, as
        ``weight_feiHadronicB0`` behind a filter that samples; stored as
        ``sample_weight``, which training and evaluation use.
    force : bool
        Whether an existing file may be replaced.
    reader : str
        As of `smartfilter.module.SmartFilter`.

    Attributes
    ----------
    recorder : GeneratorRecorder
        To be added to the path between generator and simulation.
    """

    def __init__(
        self,
        path: str | Path,
        skims: Any,
        *,
        event_type: str | None = None,
        weight: str | None = None,
        force: bool = False,
        reader: str = "python",
    ) -> None:
        super().__init__()
        self.set_name(type(self).__name__)
        self.recorder = GeneratorRecorder(event_type, reader)
        self.n_written = 0
        self._path = path
        self._skims = list_skim_names(skims)
        self._weight = weight
        self._force = force
        self._event = EventReader()
        self._writer: LabelledWriter | None = None

    def initialize(self) -> None:
        """Open the file."""
        self.n_written = 0
        self._event.register(particles=False)
        try:
            self._writer = self._open()
        except SmartFilterError as error:
            basf2.B2ERROR(f"{self.name()}: {error}")
            return
        # A job that fails elsewhere does not call terminate(): leave no temporary file.
        weakref.finalize(self, self._writer.discard)

    def _open(self) -> LabelledWriter:
        if not self._skims:
            raise UsageError("training data: expected skims as labels, got none")
        try:
            from smartfilter.io import LabelledWriter
        except ModuleNotFoundError as error:
            raise UsageError(
                f"training data '{self._path}': writing needs the package "
                f"'{error.name}', which is not installed; run: pip install {error.name}"
            ) from error
        provenance = {
            "command": "TrainingDataWriter",
            "host": basf2.__name__,
            "version": __version__,
            "weight": self._weight,
        }
        variables = ("sample_weight",) if self._weight else ()
        return LabelledWriter(
            self._path, self._skims, variables, provenance, force=self._force
        )

    def event(self) -> None:
        """Write the event with its labels."""
        if self._writer is None:
            raise UsageError("TrainingDataWriter: event() called before initialize()")
        try:
            self._writer.write(self._label())
        except SmartFilterError:
            self._writer.discard()
            raise
        self.n_written += 1

    def _label(self) -> Events:
        events = self.recorder.take(self._event.identity)
        labels = {
            skim: np.array([self._read(f"passes_{skim}") > 0]) for skim in self._skims
        }
        variables = {}
        if self._weight:
            weight = self._read(self._weight)
            variables["sample_weight"] = np.array([weight], dtype=np.float32)
        return events.with_labels(labels, variables)

    def _read(self, name: str) -> float:
        info = self._event.extra_info
        if not (info.isValid() and info.hasExtraInfo(name)):
            names = ", ".join(map(str, info.getNames())) if info.isValid() else ""
            raise InputError(
                f"EventExtraInfo: expected '{name}', got {names or 'nothing'}; "
                "does the skim run before this module?"
            )
        return float(info.getExtraInfo(name))

    def terminate(self) -> None:
        """Complete the file and report."""
        if self._writer is not None:
            self._writer.close()
        basf2.B2INFO(
            f"{self.name()}: {self.n_written} of {self.recorder.n_generated} events "
            f"written to {self._path}"
        )
