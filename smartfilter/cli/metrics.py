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
    from smartfilter.training.bias import BiasTable, SampleBias
    from smartfilter.training.quantiles import Quantile

__all__ = [
    "describe_agreement",
    "make_bias_tables",
    "make_comparison_tables",
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


_PUBLISHED = ("model", "parameters", "loss", "accuracy", "AUC", "max.", "threshold")
"""The columns of the published tables; max.: the largest speedup on these events."""

_WITH_ERRORS = ("model", "AUC, 95 %", "(A)", "(C)", "ECE")
"""What is not chosen on these events: interval, speedups, calibration error."""


def make_comparison_tables(
    models: Sequence[dict[str, Any]], skim: str
) -> tuple[RenderableType, ...]:
    """Return the tables of one or several models on the same events of one skim.

    Parameters
    ----------
    models : sequence of dict
        Of `smartfilter.training.report.ModelReport.to_dict`.
    skim : str
    """
    first = models[0]["skims"][skim]
    title = f"{skim}, {first['event_type']}: {first['n_passing']:,} passing events"
    compared = len(models) > 1
    columns = [*_WITH_ERRORS[:2], *(["AUC - first"] * compared), *_WITH_ERRORS[2:]]
    return (
        make_table(
            f"{title}, counted as many as failing ones",
            _PUBLISHED,
            [_list_published(model, model["skims"][skim]) for model in models],
        ),
        make_table(
            f"{title}, at the true rate",
            columns,
            [
                _list_with_errors(model, model["skims"][skim], compared=compared)
                for model in models
            ],
        ),
    )


def _list_published(model: dict[str, Any], m: dict[str, Any]) -> tuple[str, ...]:
    return (
        Path(model["path"]).name,
        f"{model['n_parameters']:,}" if model["n_parameters"] else "-",
        f"{m['loss']:.3f}",
        f"{m['accuracy']:.3f}",
        f"{m['auc']:.3f}",
        f"{m['max_speedup']:.2f}",
        f"{m['best_threshold_balanced']:.3f}",
    )


def _list_with_errors(
    model: dict[str, Any], m: dict[str, Any], *, compared: bool
) -> tuple[str, ...]:
    difference = []
    if compared:
        error = m["auc_difference_error"]
        text = f"{m['auc_difference']:+.4f}±{error:.4f}" if error else "-"
        difference.append(text)
    return (
        Path(model["path"]).name,
        f"{m['auc_low']:.4f}-{m['auc_high']:.4f}",
        *difference,
        f"{m['speedup']:.2f}±{m['speedup_error']:.2f}",
        f"{m['sampling_speedup']:.2f}±{m['sampling_speedup_error']:.2f}",
        f"{m['calibration_error']:.4f}",
    )


def make_bias_tables(title: str, table: BiasTable) -> tuple[RenderableType, ...]:
    """Return the tables of the bias of one skim.

    Parameters
    ----------
    title : str
        Names model and skim.
    table : BiasTable
    """
    from smartfilter.training.bias import KL_CRITERION

    first = next(iter(table.samples.values()))
    summary = [_sum_up_bias(name, one) for name, one in table.samples.items()]
    rows = [
        (
            variable,
            *(t for one in table.samples.values() for t in _show_bias(variable, one)),
        )
        for variable in first.rows
    ]
    columns = ("variable", *(c for name in table.samples for c in (name, "95 %")))
    return (
        make_table(
            f"{title}: bias of {table.n_passing:,} passing events",
            ("sample", "kept", "n_eff", f"KL < {KL_CRITERION}", "random", "pull width"),
            summary,
        ),
        make_table(
            "  KL divergence, and the 95 % quantile of random parts of the same n_eff "
            "(* above)",
            columns,
            rows,
        ),
    )


def _sum_up_bias(name: str, sample: SampleBias) -> tuple[str, ...]:
    n_all = len(sample.rows)
    width = sum(row.pull_width for row in sample.rows.values()) / n_all
    return (
        name,
        f"{sample.n_events:,}",
        f"{sample.n_eff:,.0f}",
        f"{sample.n_fulfilling} of {n_all}",
        f"{sample.n_random} of {n_all}",
        f"{width:.2f}",
    )


def _show_bias(variable: str, sample: SampleBias) -> tuple[str, str]:
    row = sample.rows[variable]
    mark = " " if row.is_random else "*"
    return f"{row.divergence:.4f}{mark}", f"{row.random_95:.4f}"
