"""Retention rates of the skims: those of the configuration, else those of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smartfilter.errors import UsageError, describe_unknown
from smartfilter.events import EVENT_TYPES
from smartfilter.model_info import DEFAULT
from smartfilter.training.calibration import estimate_rate

if TYPE_CHECKING:
    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.dataset import GraphDataset

__all__ = ["check_retention_rates", "find_retention_rates"]


def check_retention_rates(dataset: GraphDataset, config: TrainingConfig) -> None:
    """Refuse rates of skims that the data do not have.

    Raises
    ------
    UsageError
        If there is one; names the nearest skim.
    """
    for name in config.retention_rate:
        if name not in dataset.skims:
            raise UsageError(describe_unknown("retention_rate", name, dataset.skims))


def find_retention_rates(
    dataset: GraphDataset, column: int, config: TrainingConfig
) -> dict[str, float]:
    """Return the retention rates of a skim: configured, else those of all data.

    Parameters
    ----------
    dataset : GraphDataset
    column : int
        Position of the skim.
    config : TrainingConfig

    Returns
    -------
    dict of str to float
        By event type, and ``default`` for all together.
    """
    totals = dataset.totals
    events, passing = totals.events, totals.passing[:, column]
    rates = {DEFAULT: estimate_rate(float(passing.sum()), float(events.sum()))}
    present = [code for code in range(len(EVENT_TYPES)) if events[code] > 0]
    for code in present:
        rates[EVENT_TYPES[code]] = estimate_rate(
            float(passing[code]), float(events[code])
        )
    configured = config.retention_rate.get(dataset.skims[column], {})
    if isinstance(configured, float):
        single = [EVENT_TYPES[code] for code in present] if len(present) == 1 else []
        configured = dict.fromkeys([DEFAULT, *single], configured)
    return {**rates, **configured}
