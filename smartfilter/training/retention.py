"""What a configuration says of skims: retention rates, else those of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smartfilter.errors import UsageError, describe_unknown
from smartfilter.events import EVENT_TYPES
from smartfilter.model_info import DEFAULT
from smartfilter.training.calibration import estimate_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smartfilter.training.config import TrainingConfig
    from smartfilter.training.labels import Totals

__all__ = ["check_skim_settings", "find_retention_rates"]


def check_skim_settings(skims: Sequence[str], config: TrainingConfig) -> None:
    """Refuse retention rates and loss weights of skims that are not trained.

    Raises
    ------
    UsageError
        If there is one; names the nearest skim.
    """
    for key in ("retention_rate", "loss_weight"):
        for name in getattr(config, key):
            if name not in skims:
                raise UsageError(describe_unknown(key, name, skims))


def find_retention_rates(
    totals: Totals, column: int, skim: str, config: TrainingConfig
) -> dict[str, float]:
    """Return the retention rates of a skim: configured, else those of all data.

    Parameters
    ----------
    totals : Totals
        Of all data.
    column : int
        Position of the skim in ``totals``.
    skim : str
        Name of the skim.
    config : TrainingConfig

    Returns
    -------
    dict of str to float
        By event type, and ``default`` for all together.
    """
    events, passing = totals.events, totals.passing[:, column]
    rates = {DEFAULT: estimate_rate(float(passing.sum()), float(events.sum()))}
    present = [code for code in range(len(EVENT_TYPES)) if events[code] > 0]
    for code in present:
        rates[EVENT_TYPES[code]] = estimate_rate(
            float(passing[code]), float(events[code])
        )
    configured = config.retention_rate.get(skim, {})
    if isinstance(configured, float):
        single = [EVENT_TYPES[code] for code in present] if len(present) == 1 else []
        configured = dict.fromkeys([DEFAULT, *single], configured)
    return {**rates, **configured}
