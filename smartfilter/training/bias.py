r"""Does a filter change the passing events? Their event-level variables, with and without.

Samples of the passing events of one skim are compared with all of them:

==============  =====================================================================
``threshold``   those above the threshold, weight 1
``sampling``    one draw of importance sampling, weight 1 / p
``reweighted``  those above the threshold with a density ratio of all variables at once:
                gradient-boosted trees learn P(kept | variables), the weight is its
                inverse. Each half of the events gets it from trees that saw the other.
==============  =====================================================================

As kept events are a part of all, 1 / P(kept | v) is the ratio of the densities of v in
all and in the kept events, up to a constant.

Binned in quantiles of all passing events, :math:`P_b` is the share of bin b in all of them
and :math:`Q_b` that in a sample. The Kullback-Leibler divergence is
:math:`\sum_b P_b \ln (P_b / Q_b)`. A random part of the events has one as well, about
:math:`(B - 1) / 2 \cdot (1 / n_\mathrm{eff} - 1 / N)` for B bins: a smaller value
cannot be told from none. Weights that depend on the variable spread the fluctuations
unevenly over the bins, so that the divergence of an unbiased weighted sample lies above
that of random parts somewhat more often; its pulls do not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import InputError
from smartfilter.speedup import effective_sample_size
from smartfilter.training.density_ratio import weigh_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "KL_CRITERION",
    "SAMPLES",
    "BiasRow",
    "BiasTable",
    "SampleBias",
    "compare_shares",
    "find_edges",
    "make_samples",
    "measure_bias",
]

SAMPLES = ("threshold", "sampling", "reweighted")
"""Samples that are compared with all passing events."""

N_BINS = 20
KL_CRITERION = 0.0015
"""Largest divergence that the authors of the SmartBKG data set tolerate."""

N_SPLITS = 1000
"""Random parts that give the divergence of no bias."""

LEAST_EVENTS = 40
"""Passing events from which a comparison in bins says anything: two per bin."""

PRIOR_EVENTS = 5.0
"""Kept events that the error for equal weights counts as in each bin."""

SMALLEST_COUNT = 0.5
"""Effective events added to each bin of a sample before the divergence, which would be
infinite with an empty bin (Krichevsky, Trofimov, IEEE Trans. Inf. Theory 27 (1981) 199)."""


@dataclass(frozen=True)
class BiasRow:
    """One variable of one sample against all passing events.

    Parameters
    ----------
    divergence : float
        Kullback-Leibler, in nats.
    random_mean, random_95 : float
        Mean and 95 % quantile of the divergence of random parts of the same effective
        size.
    pull_mean, pull_width : float
        Over the bins, of the differences of shares over their standard deviations.
        Without bias 0 and 1.
    n_bins : int
        Fewer than 20 for variables with few different values.
    """

    divergence: float
    random_mean: float
    random_95: float
    pull_mean: float
    pull_width: float
    n_bins: int

    @property
    def is_random(self) -> bool:
        """Whether the divergence is below the 95 % quantile of random parts."""
        return self.divergence <= self.random_95

    @property
    def fulfils_criterion(self) -> bool:
        """Whether the divergence is below `KL_CRITERION`."""
        return self.divergence < KL_CRITERION

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers with both verdicts."""
        return {
            **asdict(self),
            "is_random": self.is_random,
            "fulfils_criterion": self.fulfils_criterion,
        }


@dataclass(frozen=True)
class SampleBias:
    """One sample of the passing events.

    Parameters
    ----------
    n_events : int
        Kept passing events.
    n_eff : float
        Their effective number.
    rows : mapping of str to BiasRow
        Variable -> comparison.
    """

    n_events: int
    n_eff: float
    rows: Mapping[str, BiasRow]

    @property
    def n_random(self) -> int:
        """Variables that look like those of a random part."""
        return sum(row.is_random for row in self.rows.values())

    @property
    def n_fulfilling(self) -> int:
        """Variables that fulfil the criterion."""
        return sum(row.fulfils_criterion for row in self.rows.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            "n_events": self.n_events,
            "n_eff": self.n_eff,
            "n_random": self.n_random,
            "n_fulfilling": self.n_fulfilling,
            "variables": {name: row.to_dict() for name, row in self.rows.items()},
        }


@dataclass(frozen=True)
class BiasTable:
    """All samples of the passing events of one skim.

    Parameters
    ----------
    n_passing : int
    n_eff : float
        Their effective number, which is smaller where events have weights.
    samples : mapping of str to SampleBias
        See `SAMPLES`; without those that kept no event.
    """

    n_passing: int
    n_eff: float
    samples: Mapping[str, SampleBias]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            "n_passing": self.n_passing,
            "n_eff": self.n_eff,
            "criterion": KL_CRITERION,
            "samples": {name: one.to_dict() for name, one in self.samples.items()},
        }


def measure_bias(
    variables: Mapping[str, NDArray[Any]],
    samples: Mapping[str, NDArray[np.float64]],
    *,
    sample_weight: NDArray[Any] | None = None,
    seed: int = 0,
) -> BiasTable:
    """Return the bias of samples of the passing events of one skim.

    Parameters
    ----------
    variables : mapping of str to ndarray of float, shape (n_passing,)
        Event-level variables; NaN is a value of its own.
    samples : mapping of str to ndarray of float64, shape (n_passing,)
        Name -> weight that each event has in the sample, 0 if it is not kept. Samples
        that keep nothing are left out.
    sample_weight : ndarray of float, shape (n_passing,), optional
        Generated events that each event stands for; 1 by default. Multiplies the
        weights of all samples.
    seed : int
        Of the random parts.

    Raises
    ------
    InputError
        If there are fewer than `LEAST_EVENTS` events, or no variable with two values.
    """
    n_events = len(next(iter(variables.values()), ()))
    weight = np.ones(n_events) if sample_weight is None else sample_weight
    weight = weight.astype(np.float64)
    useful = {k: v for k, v in variables.items() if len(np.unique(v)) > 1}
    if n_events < LEAST_EVENTS or not useful:
        raise InputError(
            f"bias: expected at least {LEAST_EVENTS} passing events with variables "
            f"that differ, got {n_events} events and {len(useful)} variables; add data"
        )
    rng = np.random.default_rng(seed)
    bins = {name: _Bins(values, weight) for name, values in useful.items()}
    measured = {}
    for name, sample in samples.items():
        kept = weight * sample
        n_eff = effective_sample_size(kept)
        if n_eff > 0:
            rows = {k: b.compare(kept, n_eff, rng) for k, b in bins.items()}
            measured[name] = SampleBias(int(np.count_nonzero(sample)), n_eff, rows)
    return BiasTable(n_events, effective_sample_size(weight), measured)


def make_samples(
    score: NDArray[Any],
    keep_probability: NDArray[np.float64],
    variables: Mapping[str, NDArray[Any]],
    *,
    threshold: float,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Return the weights of passing events in each of `SAMPLES`.

    Parameters
    ----------
    score : ndarray of float, shape (n_passing,)
    keep_probability : ndarray of float64, shape (n_passing,)
        Of importance sampling.
    variables : mapping of str to ndarray of float, shape (n_passing,)
        What the density ratio may depend on.
    threshold : float
    seed : int
        Of the draw and of the halves.
    """
    rng = np.random.default_rng(seed)
    kept = score >= threshold
    drawn = rng.random(len(score)) < keep_probability
    return {
        "threshold": kept.astype(np.float64),
        "sampling": np.where(drawn, 1.0 / keep_probability, 0.0),
        "reweighted": weigh_back(variables, kept, seed=seed),
    }


def find_edges(
    values: NDArray[Any], weight: NDArray[np.float64], n_bins: int = N_BINS
) -> NDArray[np.float64]:
    """Return the upper edges of quantile bins, inclusive; the last one is infinite.

    Parameters
    ----------
    values : ndarray of float, shape (n_events,)
        NaN is left aside.
    weight : ndarray of float64, shape (n_events,)
    n_bins : int
        Each holds the same weight; bins that share all their events are one.

    Returns
    -------
    ndarray of float64, shape (at most n_bins,)
    """
    finite = ~np.isnan(values)
    v, w = values[finite].astype(np.float64), weight[finite]
    order = np.argsort(v, kind="stable")
    share = np.cumsum(w[order]) / max(w.sum(), 1e-300)
    wanted = np.arange(1, n_bins) / n_bins
    rows = np.searchsorted(share, wanted - 1e-12).clip(max=max(len(v) - 1, 0))
    inner = np.unique(v[order][rows]) if len(v) else np.empty(0)
    inner = inner[inner < v.max()] if len(v) else inner
    return np.append(inner, np.inf)


class _Bins:
    """All passing events in quantile bins of one variable; NaN has a bin of its own.

    Parameters
    ----------
    values : ndarray of float, shape (n_events,)
    weight : ndarray of float64, shape (n_events,)
    """

    def __init__(self, values: NDArray[Any], weight: NDArray[np.float64]) -> None:
        edges = find_edges(values, weight)
        row = np.searchsorted(edges, values.astype(np.float64))  # NaN comes last
        self.row = np.unique(row, return_inverse=True)[1]
        self.n_bins = int(self.row.max()) + 1
        self.weight = weight
        self.share = self._add_up(weight) / weight.sum()
        self.counts = _round_to_sum(self.share, effective_sample_size(weight))

    def _add_up(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.bincount(self.row, weights=values, minlength=self.n_bins)
        return sums.astype(np.float64)

    def compare(
        self, kept: NDArray[np.float64], n_eff: float, rng: np.random.Generator
    ) -> BiasRow:
        """Return the comparison of a sample with these weights, 0 if not kept."""
        difference, deviation = compare_shares(self.row, self.weight, kept)
        pulls = difference / np.where(deviation > 0, deviation, 1.0)
        share = self._add_up(kept) / kept.sum()
        size = min(max(round(n_eff), 1), int(self.counts.sum()))
        parts = rng.multivariate_hypergeometric(
            self.counts, size, size=N_SPLITS, method="marginals"
        )
        random = _diverge(self.counts / self.counts.sum(), parts / size, size)
        return BiasRow(
            divergence=float(_diverge(self.share, share, n_eff)),
            random_mean=float(np.mean(random)),
            random_95=float(np.quantile(random, 0.95)),
            pull_mean=float(np.mean(pulls)),
            pull_width=float(np.std(pulls)),
            n_bins=self.n_bins,
        )


def _round_to_sum(share: NDArray[np.float64], total: float) -> NDArray[np.int64]:
    """Return at least one event per bin, in proportion to the shares."""
    return np.maximum(np.rint(share * total), 1).astype(np.int64)


def _diverge(
    true: NDArray[np.float64], share: NDArray[np.float64], n_eff: float
) -> NDArray[np.float64]:
    """Return the divergence of shares, shape (..., n_bins), from the true ones."""
    n_bins = len(true)
    smooth = (n_eff * share + SMALLEST_COUNT) / (n_eff + n_bins * SMALLEST_COUNT)
    divergence: NDArray[np.float64] = np.sum(true * np.log(true / smooth), axis=-1)
    return divergence


def compare_shares(
    row: NDArray[np.int64], weight: NDArray[np.float64], kept: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the differences of the shares of bins, and their standard deviations.

    Parameters
    ----------
    row : ndarray of int64, shape (n_events,)
        Bin of each event.
    weight : ndarray of float64, shape (n_events,)
        Of all events.
    kept : ndarray of float64, shape (n_events,)
        Of the same events in the sample, 0 if not kept.

    Returns
    -------
    tuple of ndarray of float64, shape (n_bins,)
        Share in the sample minus share in all, and the standard deviation of it.

    Notes
    -----
    With :math:`f_i` and :math:`u_i` the weights over their sums, q and p the shares of
    a bin, first-order propagation of the two ratios gives

    .. math:: \sigma^2 = \sum_i [f_i (1_b(i) - q) - u_i (1_b(i) - p)]^2

    which holds the covariance of the sample with the events that it is a part of. For
    weights of 1 it is p (1 - p) (1 / K - 1 / N) with K kept of N events. The squared
    weights of few kept events say little, so that :math:`p (1 - p) \sum_i (f_i - u_i)^2`,
    right if weights do not depend on the bin, is mixed in like `PRIOR_EVENTS` more.
    """
    f, u = kept / kept.sum(), weight / weight.sum()
    n_bins = int(row.max()) + 1

    def add_up(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(row, weights=values, minlength=n_bins).astype(np.float64)

    q, p = add_up(f), add_up(u)
    ff, fu, uu = add_up(f * f), add_up(f * u), add_up(u * u)
    inside = ff * (1 - q) ** 2 - 2 * fu * (1 - q) * (1 - p) + uu * (1 - p) ** 2
    outside = (
        (ff.sum() - ff) * q**2 - 2 * (fu.sum() - fu) * q * p + (uu.sum() - uu) * p**2
    )
    variance = np.maximum(inside + outside, 0.0)
    alike = p * (1 - p) * np.sum(np.square(f - u))
    n_kept = np.square(q) / np.where(ff > 0, ff, 1.0)
    mean = (n_kept * variance + PRIOR_EVENTS * alike) / (n_kept + PRIOR_EVENTS)
    return q - p, np.sqrt(mean)
