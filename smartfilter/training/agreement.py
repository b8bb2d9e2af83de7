"""Is a calibration wrong, or is it chance? Many quantiles of many skims, judged together.

Some of many quantiles disagree although the calibration is right. Two tests say how
many that should be, and whether the deviations of a skim are too large on the whole.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from smartfilter.training.quantiles import Quantile

__all__ = ["Agreement", "ChiSquared", "count_disagreements", "sum_deviations"]

LEAST_PREDICTED = 10.0
"""Predicted passing events of a group of neighbouring quantiles, at least, so that its
deviation is nearly normal."""


@dataclass(frozen=True)
class ChiSquared:
    """Deviations of the quantiles of one skim and event type, together.

    Parameters
    ----------
    value : float
        Sum of squared deviations over their standard deviations.
    n_groups : int
        Neighbouring quantiles with few events are one group.
    p_value : float
        Of a value at least as large if the calibration is right.
    """

    value: float
    n_groups: int
    p_value: float


@dataclass(frozen=True)
class Agreement:
    """How many quantiles disagree, and how many should.

    Parameters
    ----------
    n_quantiles, n_disagreeing : int
    n_expected : float
        Quantiles that disagree on average although every calibration is right.
    p_value : float
        Of at least that many, if quantiles are independent. Skims that share events are
        not: the true probability is then larger.
    n_tests : int
        Skims and event types with a chi-squared.
    least_p_value : float
        The smallest of theirs; 1 without any.
    corrected_p_value : float
        Of one as small among so many (Sidak, J. Am. Stat. Assoc. 62 (1967) 626).
    """

    n_quantiles: int
    n_disagreeing: int
    n_expected: float
    p_value: float
    n_tests: int
    least_p_value: float
    corrected_p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers."""
        return asdict(self)


def sum_deviations(quantiles: Sequence[Quantile]) -> ChiSquared | None:
    """Return the chi-squared of quantiles in the order of the score.

    Parameters
    ----------
    quantiles : sequence of Quantile

    Returns
    -------
    ChiSquared or None
        None where fewer than `LEAST_PREDICTED` events are predicted altogether.
    """
    rows = np.array([(q.predicted, q.observed, q.error**2) for q in quantiles])
    groups = _merge_small(rows.reshape(-1, 3))
    if not len(groups):
        return None
    predicted, observed, variance = groups.T
    value = float(np.sum(np.square(predicted - observed) / variance))
    return ChiSquared(value, len(groups), _find_tail(value, len(groups)))


def _merge_small(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums of neighbours with enough predicted events; the last takes the rest."""
    groups: list[NDArray[np.float64]] = []
    rest = np.zeros(3)
    for row in rows[::-1]:  # highest scores first
        rest = rest + row
        if rest[0] >= LEAST_PREDICTED:
            groups.append(rest)
            rest = np.zeros(3)
    if groups:
        groups[-1] = groups[-1] + rest
    return np.array(groups).reshape(-1, 3)


def _find_tail(value: float, n_groups: int) -> float:
    try:
        from scipy.stats import chi2  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPackageError("scikit-learn", "train") from error

    return float(chi2.sf(value, n_groups))


def count_disagreements(
    quantiles: Mapping[tuple[str, str], Sequence[Quantile]],
) -> Agreement:
    """Return how many quantiles of all skims and event types disagree, and should.

    Parameters
    ----------
    quantiles : mapping
        (skim, event type) -> quantiles.
    """
    every = [quantile for row in quantiles.values() for quantile in row]
    n_wrong = sum(not quantile.agrees for quantile in every)
    chances = np.array([quantile.chance for quantile in every])
    sums = [sum_deviations(row) for row in quantiles.values()]
    p_values = [one.p_value for one in sums if one is not None]
    least = min(p_values, default=1.0)
    return Agreement(
        n_quantiles=len(every),
        n_disagreeing=n_wrong,
        n_expected=float(chances.sum()),
        p_value=_at_least(n_wrong, chances),
        n_tests=len(p_values),
        least_p_value=least,
        corrected_p_value=float(
            -np.expm1(len(p_values) * np.log1p(-min(least, 1 - 1e-16)))
        )
        if p_values
        else 1.0,
    )


def _at_least(n: int, chances: NDArray[np.float64]) -> float:
    """Return the probability that n or more of independent events happen.

    The distribution of their number (Poisson binomial) event by event.
    """
    share = np.zeros(len(chances) + 1)
    share[0] = 1.0
    for chance in chances:
        share[1:] = share[1:] * (1.0 - chance) + share[:-1] * chance
        share[0] *= 1.0 - chance
    return float(min(1.0, share[n:].sum()))
