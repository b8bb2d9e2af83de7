"""Tables of the figures of merit of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smartfilter.cli.terminal import make_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from smartfilter.training.assessment import Result
    from smartfilter.training.quantiles import Quantile

__all__ = ["list_metrics", "make_result_tables"]


def make_result_tables(
    title: str, results: Sequence[Result]
) -> tuple[RenderableType, ...]:
    """Return the tables of `smartfilter.training.assessment.Result`.

    For each skim figures of merit per event type, and predicted over observed passing
    events in ten quantiles of the score; a last line counts the quantiles that disagree.
    """
    by_skim: dict[str, list[Result]] = {}
    for result in results:
        by_skim.setdefault(result.skim, []).append(result)
    tables: list[RenderableType] = [title]
    for skim, rows in by_skim.items():
        merits = [_list_merits(result) for result in rows]
        tables.append(make_table(skim, _MERITS, merits))
        widest = max(len(result.quantiles) for result in rows)
        ratios = [
            (result.event_type, *map(_show_ratio, result.quantiles)) for result in rows
        ]
        columns = ("quantile", *(str(k + 1) for k in range(widest)))
        tables.append(
            make_table("  predicted / observed passing events", columns, ratios)
        )
    n_wrong = sum(result.n_disagreeing for result in results)
    n_all = sum(len(result.quantiles) for result in results)
    tables.append(
        f"{n_wrong} of {n_all} quantiles of the score differ by more than 5 % and 2 "
        "standard deviations (*)"
    )
    return tuple(tables)


_MERITS = ("event type", "passing", "r %", "AUC", "(A)", "(C)", "ECE")
"""Speedups by formula (A) at the model's threshold and (C), calibration error."""


def _list_merits(result: Result) -> tuple[str, ...]:
    rate = f"{100 * result.retention_rate:.3g}"
    first = (result.event_type, f"{result.n_passing:,}", rate)
    merits = result.evaluation
    if merits is None:
        return (*first, *["-"] * (len(_MERITS) - len(first)))
    return (
        *first,
        f"{merits.auc:.3f}±{merits.auc_error:.3f}",
        f"{merits.speedup:.2f}±{merits.speedup_error:.2f}",
        f"{merits.sampling_speedup:.2f}",
        f"{merits.calibration_error:.4f}",
    )


def _show_ratio(quantile: Quantile) -> str:
    mark = "" if quantile.agrees else "*"
    ratio = "-" if quantile.observed == 0 else f"{quantile.ratio:.2f}"
    return f"{ratio}{mark}"


def list_metrics(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of a table of `smartfilter.training.evaluation.Evaluation`."""
    return [
        ("passing, failing", f"{metrics['n_passing']:,}, {metrics['n_failing']:,}"),
        ("retention", f"{metrics['retention_rate']:.4f}"),
        ("AUC", f"{metrics['auc']:.4f} ± {metrics['auc_error']:.4f}"),
        ("accuracy, balanced", f"{metrics['accuracy']:.4f}"),
        ("threshold", f"{metrics['threshold']:.4f}"),
        ("f1, f0 there", f"{metrics['tpr']:.4f}, {metrics['fpr']:.4f}"),
        (
            "speedup (A) there",
            f"{metrics['speedup']:.2f} ± {metrics['speedup_error']:.2f}",
        ),
        ("largest speedup (A)", f"{metrics['max_speedup']:.2f}"),
        ("sampling speedup (C)", f"{metrics['sampling_speedup']:.2f}"),
        ("calibration error", f"{metrics['calibration_error']:.4f}"),
    ]
