"""Tables of the figures of merit of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartfilter.cli.terminal import make_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from smartfilter.training.agreement import Agreement
    from smartfilter.training.assessment import Result
    from smartfilter.training.bias import BiasRow, BiasTable
    from smartfilter.training.quantiles import Quantile

__all__ = [
    "describe_agreement",
    "list_metrics",
    "make_bias_tables",
    "make_comparison_table",
    "make_result_tables",
]


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
    from smartfilter.training.agreement import count_disagreements

    agreement = count_disagreements(
        {(result.skim, result.event_type): result.quantiles for result in results}
    )
    tables.append(describe_agreement(agreement))
    return tuple(tables)


def describe_agreement(agreement: Agreement) -> str:
    """Return how many quantiles disagree and whether that is chance, as text."""
    text = (
        f"{agreement.n_disagreeing} of {agreement.n_quantiles} quantiles of the score "
        f"differ by more than 5 % and 2 standard deviations (*); by chance "
        f"{agreement.n_expected:.1f} would (p = {agreement.p_value:.2g})"
    )
    if not agreement.n_tests:
        return text
    return (
        f"{text}; smallest p of {agreement.n_tests} chi-squared tests "
        f"{agreement.least_p_value:.2g}, {agreement.corrected_p_value:.2g} corrected "
        "for their number"
    )


_MERITS = ("event type", "passing", "r %", "AUC", "(A)", "(C)", "ECE", "p(chi2)")
"""Speedups by formula (A) at the working point and (C), calibration error, probability
of the deviations of all quantiles."""


def _list_merits(result: Result) -> tuple[str, ...]:
    rate = f"{100 * result.retention_rate:.3g}"
    first = (result.event_type, f"{result.n_passing:,}", rate)
    merits, deviations = result.evaluation, result.chi_squared
    if merits is None:
        return (*first, *["-"] * (len(_MERITS) - len(first)))
    return (
        *first,
        f"{merits.auc:.3f}±{merits.auc_error:.3f}",
        f"{merits.speedup:.2f}±{merits.speedup_error:.2f}",
        f"{merits.sampling_speedup:.2f}",
        f"{merits.calibration_error:.4f}",
        "-" if deviations is None else f"{deviations.p_value:.2g}",
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


_COMPARISON = (
    "model",
    "parameters",
    "loss",
    "accuracy",
    "AUC",
    "max. speedup",
    "threshold",
    "(A)",
    "(C)",
)
"""The columns of the published tables, and both speedups without optimism."""


def make_comparison_table(
    models: Sequence[dict[str, Any]], skim: str
) -> RenderableType:
    """Return the table of several models on the same events of one skim.

    Parameters
    ----------
    models : sequence of dict
        Of `smartfilter.training.report.ModelReport.to_dict`.
    skim : str
    """
    columns = [*_COMPARISON]
    compared = len(models) > 1
    if compared:
        columns.insert(5, "- first")
    rows = []
    for model in models:
        m = model["skims"][skim]
        row = [
            Path(model["path"]).name,
            f"{model['n_parameters']:,}" if model["n_parameters"] else "-",
            f"{m['loss']:.3f}",
            f"{m['accuracy']:.3f}",
            f"{m['auc']:.4f}±{m['auc_error']:.4f}",
            f"{m['max_speedup']:.2f}",
            f"{m['best_threshold_balanced']:.3f}",
            f"{m['speedup']:.2f}±{m['speedup_error']:.2f}",
            f"{m['sampling_speedup']:.2f}±{m['sampling_speedup_error']:.2f}",
        ]
        if compared:
            error = m["auc_difference_error"]
            row.insert(5, f"{m['auc_difference']:+.4f}±{error:.4f}" if error else "")
        rows.append(row)
    first = models[0]["skims"][skim]
    title = (
        f"{skim}, {first['event_type']}: {first['n_passing']:,} passing events; loss, "
        "accuracy, threshold at equal numbers of both classes"
    )
    return make_table(title, columns, rows)


def make_bias_tables(skim: str, table: BiasTable) -> tuple[RenderableType, ...]:
    """Return the tables of the bias of one skim."""
    from smartfilter.training.bias import KL_CRITERION

    first = next(iter(table.samples.values()))
    n_all = len(first.rows)
    summary = [
        (
            name,
            f"{one.n_events:,}",
            f"{one.n_eff:,.0f}",
            f"{one.n_fulfilling} of {n_all}",
            f"{one.n_random} of {n_all}",
        )
        for name, one in table.samples.items()
    ]
    rows = [
        (
            variable,
            *(
                text
                for one in table.samples.values()
                for text in _show_bias(one.rows[variable])
            ),
        )
        for variable in first.rows
    ]
    columns = ("variable", *(c for name in table.samples for c in (name, "pull width")))
    criterion = f"KL < {KL_CRITERION}"
    return (
        make_table(
            f"{skim}: bias of {table.n_passing:,} passing events",
            ("sample", "kept", "n_eff", criterion, "as random"),
            summary,
        ),
        make_table(
            "  KL divergence (95 % of random parts of the same n_eff); * larger",
            columns,
            rows,
        ),
    )


def _show_bias(row: BiasRow) -> tuple[str, str]:
    mark = "" if row.is_random else "*"
    return f"{row.divergence:.4f}{mark} ({row.random_95:.4f})", f"{row.pull_width:.1f}"
