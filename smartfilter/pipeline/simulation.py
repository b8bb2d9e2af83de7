"""From generated events to labels: detector, reconstruction and skims in one call."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.reconstruction import (
    COUNT_COLUMNS,
    VALUE_COLUMNS,
    event_variables,
    reconstruct,
)
from smartfilter.pipeline.skims import SKIMS, apply_skims

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.pipeline.objects import Detected

__all__ = ["SKIM_NAMES", "VARIABLE_NAMES", "AnyDetector", "label", "label_objects"]

SKIM_NAMES = tuple(skim.name for skim in SKIMS)
"""Names of all labels."""

VARIABLE_NAMES = (*COUNT_COLUMNS, *VALUE_COLUMNS)
"""Names of all event-level variables."""


class AnyDetector(Protocol):
    """What turns generated events into tracks and clusters.

    `smartfilter.pipeline.detector.Detector` does, and
    `smartfilter.pipeline.geant4.Geant4Detector`.
    """

    def simulate(self, events: Events) -> Detected:
        """Return the tracks and clusters of events, in their order."""


@lru_cache(maxsize=8)
def _detector(step: float, seed: int, repeat: int) -> Detector:
    return Detector(step=step, seed=seed, repeat=repeat)


def label(
    events: Events,
    *,
    step: float = 1.0,
    seed: int = 0,
    repeat: int = 0,
    detector: AnyDetector | None = None,
) -> Events:
    """Simulate events and return them with the skims they pass.

    Parameters
    ----------
    events : Events
        Generator-level events.
    step : float
        Step length of the transport, cm: 1 for labels, 0.02 for an honest cost.
    seed : int
        Seed of the simulation; the same seed gives the same labels for an event in any
        batch.
    repeat : int
        Number of the repetition: another one simulates the same events independently.
    detector : AnyDetector, optional
        Used as it is, instead of the mock detector with these settings.

    Returns
    -------
    Events
        The same events with ``labels`` by skim name and ``variables`` as of
        `event_variables`.

    Raises
    ------
    UsageError, InputError
        As `Detector` does.
    """
    chosen = _detector(step, seed, repeat) if detector is None else detector
    return events.with_labels(*label_objects(chosen.simulate(events)))


def label_objects(
    detected: Detected,
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.float32]]]:
    """Reconstruct events from their tracks and clusters, and apply all skims.

    Returns
    -------
    dict of str to ndarray of bool, each of shape (n_events,)
        Which events pass, by skim name.
    dict of str to ndarray of float32, each of shape (n_events,)
        As `event_variables` returns.

    Raises
    ------
    InputError
        As `reconstruct` does.
    """
    reconstructed = reconstruct(detected)
    return apply_skims(reconstructed), event_variables(reconstructed)
