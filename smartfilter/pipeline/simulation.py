"""From generated events to labels: detector, reconstruction and skims in one call."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from smartfilter.pipeline.detector import Detector
from smartfilter.pipeline.reconstruction import event_variables, reconstruct
from smartfilter.pipeline.skims import apply_skims

if TYPE_CHECKING:
    from smartfilter.events import Events
    from smartfilter.pipeline.objects import Detected

__all__ = ["AnyDetector", "label"]


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
    reconstructed = reconstruct(chosen.simulate(events))
    return events.with_labels(
        apply_skims(reconstructed), event_variables(reconstructed)
    )
