"""What ``smartfilter working-point`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from smartfilter.cli.terminal import make_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smartfilter.points import SamplingPoint
    from smartfilter.working_point import WorkingPoint

__all__ = ["make_tables"]


class Points(Protocol):
    """Working points by skim, and of several skims with one weight."""

    @property
    def skims(self) -> Mapping[str, WorkingPoint]:
        """By skim."""

    @property
    def together(self) -> Mapping[str, SamplingPoint]:
        """By skim; empty if there is one."""


def make_tables(points: Points, by_type: Mapping[str, Points]) -> list[Any]:
    """Return the tables of all events, and one of single event types if there are any."""
    tables = [table for item in points.skims.items() for table in _make_tables(*item)]
    if points.together:
        tables.append(_make_joint_table(points.together))
    if by_type:
        tables.append(_make_type_table(by_type))
    return tables


def _make_tables(name: str, point: WorkingPoint) -> list[Any]:
    """Return the curve of formula (A) and the sampling constants of one skim."""
    curve = [
        (
            f"{row.threshold:.4g}" + (" *" if row == point.best else ""),
            f"{row.tpr:.4f} ± {row.tpr_error:.4f}",
            f"{row.fpr:.4f} ± {row.fpr_error:.4f}",
            f"{row.keep_fraction:.2%}",
            f"{row.speedup:.3f} ± {row.speedup_error:.3f}",
        )
        for row in point.curve
    ]
    title = (
        f"{name}: {point.n_events:,} events, r = {point.retention_rate:.4g}, "
        f"from {point.source}"
    )
    best = f"Threshold, formula (A); * best: {point.best.speedup:.3f} on these events"
    if point.held_out_speedup is not None:
        best += f", {point.held_out_speedup:.3f} if found on the other half"
    columns = ("score >=", "f1", "f0", "simulated", "speedup")
    limit = f"maximum weight {point.sampling.max_weight:g}"
    sampling = zip(
        (text for text, _ in FIGURES),
        _describe(point.sampling),
        _describe(point.sampling_unlimited),
        strict=True,
    )
    formula = "Sampling, p = min(1, c sqrt(s)), formula (C)"
    return [
        make_table(f"{title}\n{best}", columns, curve),
        make_table(formula, ("", limit, "no maximum"), list(sampling)),
    ]


FIGURES: tuple[tuple[str, str], ...] = (
    ("c", "{constant:.4g}"),
    ("simulated", "{mean_keep_probability:.2%}"),
    ("at the maximum weight", "{share_at_max_weight:.2%}"),
    ("n_eff per generated event", "{n_eff_per_event:.4g}"),
    ("n_eff per passing event", "{n_eff_per_passing_event:.4f}"),
    ("speedup", "{speedup:.3f} ± {speedup_error:.3f}"),
)
"""What is printed of a `SamplingPoint`, and how."""


def _describe(point: SamplingPoint) -> list[str]:
    return [form.format(**vars(point)) for _, form in FIGURES]


def _make_joint_table(together: Mapping[str, SamplingPoint]) -> Any:
    rows = [
        (name, f"{p.constant:.4g}", f"{p.n_eff_per_event:.4g}", _describe(p)[-1])
        for name, p in together.items()
    ]
    share = next(iter(together.values())).mean_keep_probability
    title = (
        "All skims with one weight, p = min(1, sqrt(mean of c_k^2 s_k)), formula (C); "
        f"simulated {share:.2%}"
    )
    return make_table(title, ("", "c_k", "n_eff/event", "speedup"), rows)


def _make_type_table(by_type: Mapping[str, Points]) -> Any:
    """Return the constants of each skim and event type, joint ones if there are any."""
    rows = []
    for event_type, points in by_type.items():
        for name, point in points.skims.items():
            sampling = points.together.get(name, point.sampling)
            rows.append(
                (
                    f"{name} ({event_type})",
                    f"{point.n_events:,}",
                    f"{point.retention_rate:.4g}",
                    f"{point.best.threshold:.4g}",
                    f"{point.best.speedup:.3f} ± {point.best.speedup_error:.3f}",
                    f"{sampling.constant:.4g}",
                    f"{sampling.speedup:.3f} ± {sampling.speedup_error:.3f}",
                )
            )
    columns = ("", "events", "r", "score >=", "speedup (A)", "c", "speedup (C)")
    return make_table("By event type", columns, rows)
