"""From scores to decisions: keep flags, keep probabilities and weights.

A decision is a pure function of the event, the score and the seed; see
`smartfilter.event_hash.uniform`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.errors import UsageError, describe_unknown
from smartfilter.event_hash import draw_for_skims, hash_events, uniform
from smartfilter.events import EVENT_TYPES
from smartfilter.sampling import (
    MAX_WEIGHT,
    estimate_joint_constants,
    joint_keep_probability,
    official_keep_probability,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events
    from smartfilter.model_info import ModelInfo
    from smartfilter.working_point_file import SavedWorkingPoint

__all__ = [
    "MODES",
    "Decision",
    "DecisionSettings",
    "SkimSettings",
    "decide",
    "decide_by_type",
    "hash_events",
    "uniform",
]

MODES = ("threshold", "sample", "official", "debug")
"""Ways to decide; see `decide`."""


@dataclass(frozen=True)
class SkimSettings:
    """How one skim is decided.

    Parameters
    ----------
    name : str
        Skim name.
    column : int
        Output of the network.
    threshold : float
        Keep if score >= threshold.
    constant : float
        c_k of `joint_keep_probability`.
    slope, offset : float
        a and b of `official_keep_probability`.
    """

    name: str
    column: int
    threshold: float
    constant: float
    slope: float = 0.5
    offset: float = 0.0


@dataclass(frozen=True)
class DecisionSettings:
    """How events are decided.

    Parameters
    ----------
    mode : str
        One of `MODES`.
    skims : tuple of SkimSettings
        An event is kept if any of them wants it.
    seed : int
        Seed of `uniform`.
    max_weight : float
        Largest weight of a kept event.

    Raises
    ------
    UsageError
        If the mode is unknown, there is no skim, a threshold is not from 0 to 1 (NaN
        would drop everything), a sampling constant is not a number > 0, or the maximum weight
        is below 1.
    """

    mode: str
    skims: tuple[SkimSettings, ...]
    seed: int = 0
    max_weight: float = MAX_WEIGHT

    def __post_init__(self) -> None:
        """Check the values."""
        if self.mode not in MODES:
            raise UsageError(describe_unknown("mode", self.mode, MODES))
        if not self.skims:
            raise UsageError("skims: expected at least one, got none")
        for skim in self.skims:
            if not 0.0 <= skim.threshold <= 1.0:
                raise UsageError(
                    f"threshold of {skim.name}: expected a number from 0 to 1, "
                    f"got {skim.threshold}"
                )
            if not 0.0 < skim.constant < np.inf:
                raise UsageError(
                    f"sampling constant of {skim.name}: expected a number > 0, "
                    f"got {skim.constant}"
                )
        if not self.max_weight >= 1:
            raise UsageError(
                f"maximum weight: expected at least 1, got {self.max_weight}"
            )

    @classmethod
    def from_model(
        cls,
        info: ModelInfo,
        *,
        skims: Sequence[str] = (),
        mode: str = "threshold",
        threshold: float | None = None,
        seed: int = 0,
        event_type: str | None = None,
    ) -> DecisionSettings:
        """Return the settings that a model file recommends.

        Parameters
        ----------
        info : ModelInfo
        skims : sequence of str
            Skims that decide, one named twice counting once; by default all of the
            model. Of several, the sampling
            constants are those of
            `smartfilter.sampling.estimate_joint_constants`, or each skim's own if
            the model knows no retention rates.
        mode : str
            One of `MODES`.
        threshold : float, optional
            On the score, for every skim; by default each skim's best working point.
            Only with the mode ``threshold``.
        seed : int
            Seed of `uniform`.
        event_type : str, optional
            Take the constants of this event type, where the model has them.

        Raises
        ------
        UsageError
            If a skim is not in the model or a setting makes no sense.
        """
        if threshold is not None and mode in MODES and mode != "threshold":
            raise UsageError(
                f"threshold: expected it with mode 'threshold', got it with '{mode}', "
                "which has none; leave one of them out"
            )
        chosen, rates = [], []
        for name in dict.fromkeys(skims or info.skim_names):
            if name not in info.skim_names:
                raise UsageError(describe_unknown("skim", name, info.skim_names))
            column = info.skim_names.index(name)
            constants = info.skims[column].get_calibration(event_type or "default")
            rates.append(constants.retention_rate)
            chosen.append(
                SkimSettings(
                    name=name,
                    column=column,
                    threshold=constants.threshold if threshold is None else threshold,
                    constant=constants.sampling_constant,
                    slope=constants.official_slope,
                    offset=constants.official_offset,
                )
            )
        ceiling = min(info.skims[skim.column].max_weight for skim in chosen)
        if np.isfinite(rates).all():
            joint = estimate_joint_constants([skim.constant for skim in chosen], rates)
            chosen = [
                replace(skim, constant=float(c))
                for skim, c in zip(chosen, joint, strict=True)
            ]
        return cls(mode, tuple(chosen), seed=seed, max_weight=ceiling)

    @classmethod
    def for_each_type(
        cls, info: ModelInfo, *, event_type: str | None = None, **options: Any
    ) -> tuple[DecisionSettings, ...]:
        """Return the settings by event type code; the last, -1, is the unknown type.

        Parameters
        ----------
        info : ModelInfo
        event_type : str, optional
            Take the constants of this type for all.
        **options
            As of `from_model`.
        """
        return tuple(
            cls.from_model(info, event_type=event_type or name, **options)
            for name in (*EVENT_TYPES, None)
        )

    def with_working_point(
        self, point: SavedWorkingPoint, event_type: str | None = None
    ) -> DecisionSettings:
        """Return the same with thresholds, constants and maximum weight of a file.

        It replaces what the model recommends for its own times. The caller compares
        skims and model with
        `smartfilter.working_point_file.SavedWorkingPoint.require_match`.

        Parameters
        ----------
        point : SavedWorkingPoint
        event_type : str, optional
            Take the constants of this event type, where the file has them.

        Raises
        ------
        UsageError
            With the mode ``official``, whose constants a and b no such file holds.
        """
        if self.mode == "official":
            raise UsageError(
                "working point: expected mode threshold, sample or debug, got official; "
                "its constants a and b are those of the model"
            )
        found = point.get_type(event_type)
        skims = tuple(
            replace(
                skim,
                threshold=found.thresholds[skim.name],
                constant=found.constants[skim.name],
            )
            for skim in self.skims
        )
        return replace(self, skims=skims, max_weight=point.max_weight)


@dataclass(frozen=True, eq=False)
class Decision:
    """What happens to each event.

    Parameters
    ----------
    keep : ndarray of bool, shape (n_events,)
        Whether the event is simulated.
    keep_probability : ndarray of float64, shape (n_events, n_skims)
        Probability with which it was kept; 0 or 1 with a threshold.
    weight : ndarray of float64, shape (n_events, n_skims)
        1 / keep_probability where kept for this skim, else 0.
    """

    keep: NDArray[np.bool_]
    keep_probability: NDArray[np.float64]
    weight: NDArray[np.float64]


def decide(
    events: Events,
    *,
    logits: NDArray[Any],
    scores: NDArray[Any],
    scorable: NDArray[np.bool_],
    settings: DecisionSettings,
) -> Decision:
    """Return what happens to each event.

    - ``threshold``: kept if the score of any skim reaches its threshold; weight 1.
    - ``sample``: one random number u per event and one probability p, that of
      `joint_keep_probability`; kept if u < p, every skim weighs 1/p.
    - ``official``: as basf2's SmartBackground module: each skim draws on its own with
      `official_keep_probability`, weighs 1/p if drawn, else 0; kept if any is drawn.
    - ``debug``: everything is kept with weight 1.

    An event that cannot be scored is kept with probability 1 and weight 1.

    Parameters
    ----------
    events : Events
    logits, scores : ndarray of float, shape (n_events, n_outputs)
        Network outputs and calibrated pass probabilities.
    scorable : ndarray of bool, shape (n_events,)
    settings : DecisionSettings
        Names the outputs to use.
    """
    columns = [skim.column for skim in settings.skims]
    logit, score = logits[:, columns], scores[:, columns]
    p = _keep_probabilities(logit, score, settings)
    p[~scorable] = 1.0
    drawn = _draw(events, settings) < p
    with np.errstate(divide="ignore"):
        weight = np.where(drawn, 1.0 / p, 0.0)
    return Decision(np.any(drawn, axis=1), p, weight)


def decide_by_type(
    events: Events,
    *,
    logits: NDArray[Any],
    scores: NDArray[Any],
    scorable: NDArray[np.bool_],
    settings: Sequence[DecisionSettings],
) -> Decision:
    """Return `decide` with the settings of each event's type.

    Parameters
    ----------
    events : Events
    logits, scores : ndarray of float, shape (n_events, n_outputs)
    scorable : ndarray of bool, shape (n_events,)
    settings : sequence of DecisionSettings
        From `DecisionSettings.for_each_type`.
    """
    codes = np.unique(events.event_type)
    if len(codes) == 0:
        codes = np.array([-1])
    parts = [np.flatnonzero(events.event_type == code) for code in codes]
    decisions = [
        decide(
            events if len(parts) == 1 else events.take(rows),
            logits=logits[rows],
            scores=scores[rows],
            scorable=scorable[rows],
            settings=settings[code],
        )
        for code, rows in zip(codes.tolist(), parts, strict=True)
    ]
    order = np.argsort(np.concatenate(parts))
    keep, p, weight = zip(
        *((d.keep, d.keep_probability, d.weight) for d in decisions), strict=True
    )
    return Decision(*(np.concatenate(column)[order] for column in (keep, p, weight)))


def _keep_probabilities(
    logit: NDArray[Any], score: NDArray[Any], settings: DecisionSettings
) -> NDArray[np.float64]:
    """Return the keep probabilities, shape (n_events, n_skims)."""
    skims, ceiling = settings.skims, settings.max_weight
    if settings.mode == "debug":
        return np.ones(score.shape)
    if settings.mode == "official":
        rows = [
            official_keep_probability(column, k.slope, k.offset, max_weight=ceiling)
            for column, k in zip(logit.T, skims, strict=True)
        ]
        return np.stack(rows, axis=1)
    joint: NDArray[np.float64]
    if settings.mode == "sample":
        constants = [k.constant for k in skims]
        joint = joint_keep_probability(score, constants, max_weight=ceiling)
    else:
        thresholds = np.array([k.threshold for k in skims])
        joint = np.any(score >= thresholds, axis=1).astype(np.float64)
    return np.repeat(joint[:, None], len(skims), axis=1)


def _draw(events: Events, settings: DecisionSettings) -> NDArray[np.float64]:
    """Return the random numbers, shape (n_events, 1), or (n_events, n_skims).

    Where the probability is 0 or 1 no number is needed.
    """
    if settings.mode in ("threshold", "debug"):
        return np.zeros((len(events), 1))
    if settings.mode == "sample":
        return uniform(events, settings.seed)[:, None]
    columns = np.array([skim.column for skim in settings.skims], dtype=np.uint64)
    return draw_for_skims(events, settings.seed, columns)
