"""What a score file promises: rates and speedups from calibrated scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from smartfilter import speedup
from smartfilter.errors import InputError, UsageError, describe_unknown
from smartfilter.io import read_scores

if TYPE_CHECKING:
    from pathlib import Path

    from smartfilter.io import ScoreTable

__all__ = ["ExpectedRates", "find_rates", "read_rates"]


class ExpectedRates(NamedTuple):
    """Rates that follow from calibrated scores s and keep probabilities p.

    ``retention_rate`` E[s], ``tpr`` E[s p] / E[s], ``fpr`` E[(1-s) p] / E[1-s],
    ``mean_keep_probability`` E[p] and ``mean_pass_over_p`` E[s/p], all over the events
    that could be scored; infinite where an event with s > 0 is never kept.
    """

    skim: str
    retention_rate: float
    tpr: float
    fpr: float
    mean_keep_probability: float
    mean_pass_over_p: float

    def sampling_speedup(self, *, t_g: float, t_s: float, t_n: float) -> float | None:
        """Return formula (C); none where events are lost, as with a threshold."""
        if not np.isfinite(self.mean_pass_over_p):
            return None
        return float(
            speedup.sampling_speedup(
                retention_rate=self.retention_rate,
                mean_pass_over_p=self.mean_pass_over_p,
                mean_keep_probability=self.mean_keep_probability,
                t_g=t_g,
                t_s=t_s,
                t_n=t_n,
            )
        )


def find_rates(table: ScoreTable, skim: str) -> ExpectedRates:
    """Return the rates of one skim of a score table.

    Raises
    ------
    UsageError
        If the skim is not in the table.
    InputError
        If no event could be scored, or a probability is none.
    """
    if skim not in table.skims:
        raise UsageError(describe_unknown("skim", skim, table.skims))
    score = table[f"score_{skim}"].astype(np.float64)
    p = table[f"keep_probability_{skim}"]
    known = np.isfinite(score)
    if not known.any():
        raise InputError(f"score file: no event was scored for '{skim}'")
    score, p = score[known], p[known]
    for name, values in (("score", score), ("keep_probability", p)):
        if not ((values >= 0) & (values <= 1)).all():
            raise InputError(
                f"column '{name}_{skim}': expected numbers from 0 to 1, got "
                f"{values.min()} to {values.max()}; the score file is damaged"
            )
    lost = (p == 0) & (score > 0)
    ratio = np.inf if lost.any() else np.mean(score[p > 0] / p[p > 0]) * np.mean(p > 0)
    return ExpectedRates(
        skim=skim,
        retention_rate=float(score.mean()),
        tpr=float(np.sum(score * p) / np.sum(score)),
        fpr=float(np.sum((1 - score) * p) / np.sum(1 - score)),
        mean_keep_probability=float(p.mean()),
        mean_pass_over_p=float(ratio),
    )


def read_rates(path: Path, skim: str | None) -> ExpectedRates:
    """Return the rates of one skim of a score file; by default of its only skim."""
    table = read_scores(path)
    if skim is None and len(table.skims) > 1:
        raise UsageError(f"skim: choose one of {', '.join(table.skims)} with --skim")
    return find_rates(table, skim or table.skims[0])
