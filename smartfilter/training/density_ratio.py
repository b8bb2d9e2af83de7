"""Weights that undo a selection, learned from which events it kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["weigh_back"]

MAX_WEIGHT = 100.0
"""Largest weight, that of importance sampling."""

_SETTINGS: dict[str, Any] = {
    "max_iter": 200,
    "learning_rate": 0.05,
    "max_leaf_nodes": 4,
    "min_samples_leaf": 40,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
"""Small trees: with 15 leaves weights spread twice as far (half the effective number of
events) and variables agree no better."""


def weigh_back(
    variables: Mapping[str, NDArray[Any]], kept: NDArray[np.bool_], *, seed: int = 0
) -> NDArray[np.float64]:
    """Return weights under which kept events look like all of them.

    Parameters
    ----------
    variables : mapping of str to ndarray of float, shape (n_events,)
        What the weight may depend on; NaN is a value of its own, and so is infinity.
        One that a half does not have says nothing there.
    kept : ndarray of bool, shape (n_events,)
    seed : int
        Of the halves.

    Returns
    -------
    ndarray of float64, shape (n_events,)
        1 / P(kept | variables), at most `MAX_WEIGHT`; 0 where not kept. Constant where a
        half has events of one kind only, or no variable.

    Notes
    -----
    P is the probability of a classifier (gradient-boosted trees) trained on the half of
    the events that does not hold the event. Ratios of densities by classification:
    Sugiyama, Suzuki, Kanamori, Density Ratio Estimation in Machine Learning (Cambridge,
    2012), chapter 4; cross-fitting: Chernozhukov et al., Econometrics J. 21 (2018) C1.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPackageError("scikit-learn", "train") from error

    features = np.stack([v.astype(np.float64) for v in variables.values()], axis=1)
    features[np.isinf(features)] = np.nan
    half = np.random.default_rng(seed).permutation(len(kept)) % 2 == 0
    probability = np.full(len(kept), max(float(kept.mean()), 1.0 / MAX_WEIGHT))
    for train in (half, ~half):
        known = np.isfinite(features[train]).any(axis=0)
        if not kept[train].any() or kept[train].all() or not known.any():
            continue
        classifier = HistGradientBoostingClassifier(random_state=seed, **_SETTINGS)
        with threadpool_limits(limits=1):
            classifier.fit(features[train][:, known], kept[train])
            probability[~train] = classifier.predict_proba(features[~train][:, known])[
                :, 1
            ]
    return np.where(kept, 1.0 / np.maximum(probability, 1.0 / MAX_WEIGHT), 0.0)
