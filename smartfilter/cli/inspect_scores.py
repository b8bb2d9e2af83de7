"""What a score file holds, for ``smartfilter inspect``."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from smartfilter.cli.histogram import Histogram
from smartfilter.cli.inspect_rows import flatten
from smartfilter.cli.terminal import emit, make_table, show_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from smartfilter.contents import ScoreContents
    from smartfilter.io.score_reader import ScoreSums

__all__ = ["inspect_scores"]

_PER_SKIM = ("sum_weight", "sum_weight2", "skims")


def inspect_scores(file: str, skim: str | None) -> None:
    """Print counts, sums and histograms of a score file.

    Raises
    ------
    InputError
        If the file is damaged, or its metadata are not those of its rows.
    """
    from smartfilter.contents import SCORE_EDGES, WEIGHT_EDGES, count_scores
    from smartfilter.io import ScoreFile, verify_scores

    scores = ScoreFile(file)
    shown = _choose(scores.skims, skim)
    with show_progress("inspect", scores.n_rows * (1 + len(scores.skims)), "rows") as (
        advance
    ):
        sums = verify_scores(file, advance=advance)
        contents = {
            name: count_scores(scores, name, advance=advance) for name in scores.skims
        }
    metadata = scores.metadata
    document = {
        "path": file,
        "n_events": sums.n_generated,
        "sums_verified": True,
        **metadata,
        "n_eff": {name: _n_eff(sums, name) for name in scores.skims},
        "mean_score": {name: c.mean_score for name, c in contents.items()},
        "histograms": {
            "score_edges": SCORE_EDGES,
            "weight_edges": WEIGHT_EDGES,
            "skims": {
                name: {"scores": c.scores, "weights": c.weights}
                for name, c in contents.items()
            },
        },
    }
    emit(
        document,
        make_table(f"scores in {file}", ("", ""), _list_metadata(metadata, sums)),
        _make_skim_table(sums, contents),
        *_make_histograms(shown, contents[shown], sums.n_kept),
        *_name_others(scores.skims, shown),
    )


def _choose(skims: tuple[str, ...], skim: str | None) -> str:
    if skim is None:
        return skims[0]
    if skim not in skims:
        raise click.UsageError(
            f"expected --skim to be one of {', '.join(skims)}, got '{skim}'"
        )
    return skim


def _n_eff(sums: ScoreSums, skim: str) -> float:
    """Return Kish's effective sample size, (sum w)^2 / sum w^2; 0 without weights."""
    squares = sums.sum_weight2[skim]
    return sums.sum_weight[skim] ** 2 / squares if squares > 0 else 0.0


def _list_metadata(
    metadata: Mapping[str, Any], sums: ScoreSums
) -> list[tuple[str, str]]:
    share = 100 * sums.n_kept / max(sums.n_generated, 1)
    first = ("n_generated", "n_kept", *_PER_SKIM, "thresholds", "kind")
    others = {key: value for key, value in metadata.items() if key not in first}
    return [
        ("events", f"{sums.n_generated:,}"),
        ("kept", f"{sums.n_kept:,} ({share:.1f} %)"),
        *flatten(others),
        ("counts and sums", "equal those of the rows"),
    ]


def _make_skim_table(
    sums: ScoreSums, contents: Mapping[str, ScoreContents]
) -> RenderableType:
    rows = [
        (
            name,
            f"{c.n_scored:,}",
            f"{c.mean_score:.3g}" if c.n_scored else "-",
            f"{sums.sum_weight[name]:,.1f}",
            f"{_n_eff(sums, name):,.1f}",
        )
        for name, c in contents.items()
    ]
    columns = ("skim", "scored", "mean score", "sum of weights", "n_eff")
    return make_table("skims", columns, rows)


def _make_histograms(
    skim: str, contents: ScoreContents, n_kept: int
) -> list[RenderableType]:
    from smartfilter.contents import SCORE_EDGES, WEIGHT_EDGES

    names = sorted({*contents.scores, *contents.weights})
    tables: list[RenderableType] = [
        Histogram(
            f"{skim}, {name}: pass probability of {contents.scores[name].sum():,} events",
            _label_bins(SCORE_EDGES),
            contents.scores[name].tolist(),
        )
        for name in names
        if name in contents.scores
    ]
    tables += [
        Histogram(
            f"{skim}, {name}: weights of {contents.n_kept[name]:,} kept events",
            _label_bins(WEIGHT_EDGES),
            contents.weights[name].tolist(),
        )
        for name in names
        if name in contents.weights
    ]
    return tables if n_kept else [*tables, "no event is kept: no weights"]


def _label_bins(edges: tuple[float, ...]) -> list[str]:
    """Return the labels of bins that hold their lower edge."""
    texts = [f"{edge:g}" for edge in edges]
    widest = max(map(len, texts))
    return [
        f"{low:>{widest}} to {high}" if high != "inf" else f"{low:>{widest}} or more"
        for low, high in pairwise(texts)
    ]


def _name_others(skims: tuple[str, ...], shown: str) -> list[RenderableType]:
    others = [skim for skim in skims if skim != shown]
    return [f"Others with --skim: {', '.join(others)}"] if others else []
