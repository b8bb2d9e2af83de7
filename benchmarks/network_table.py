"""The comparison of networks as Markdown, from comparison.json.

python benchmarks/network_table.py output/networks/comparison.json
python benchmarks/network_table.py benchmarks/results/networks.json \
      --repeated benchmarks/results/networks_repeated.json --into docs/networks.md
python benchmarks/network_table.py benchmarks/results/networks.json --short --into README.md
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from result_files import expect_result, load_result

from smartfilter.cli import run
from smartfilter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "combine_errors",
    "command",
    "insert_text",
    "oracle_option",
    "render_comparison",
    "render_removal",
    "render_seeds",
    "render_short",
]

MARKS = ("<!-- networks: begin -->", "<!-- networks: end -->")

REMOVAL_BASE = "lab_report/combined_gcn"
"""The network from which the ablations take features away."""

_ENDS = {"validation": "loss", "epochs": "epochs"}


def render_comparison(document: Mapping[str, Any], limit: Mapping[str, Any]) -> str:
    """Return the table of all networks, best first.

    Parameters
    ----------
    document : mapping
        ``comparison.json`` of ``network_comparison.py``.
    limit : mapping
        ``results/oracle.json`` of ``oracle.py``.
    """
    data, settings = document["data"], document["settings"]
    failing = data["n_events"]["test"] - data["n_passing"]["test"]
    lines = [
        (
            f"{settings['skim']}, {data['n_generated']:,.0f} mixed events, r = "
            f"{100 * data['retention_rate']:.2f} %. Training: {data['n_passing']['train']:,} "
            f"passing and as many failing events for each, until the validation loss stops "
            'falling ("loss") or the budget of so many minutes of processor time is over '
            "(behind the epoch that exceeds it). Test: "
            f"{data['n_passing']['test']:,} passing and {failing:,} failing events. Speedups "
            "for t_s = 100 t_g, t_n = 0; events/s on one core."
        ),
        "",
        (
            "| network | AUC | published | calibration | threshold (A) | sampling (C) | "
            "parameters | events/s | minutes | epochs, end | seeds |"
        ),
        "|" + "---|" * 11,
        *(_render_row(entry) for entry in document["networks"]),
        *_render_limits(limit),
    ]
    return "\n".join(lines)


def render_short(document: Mapping[str, Any], limit: Mapping[str, Any]) -> str:
    """Return the table of the README; parameters as of `render_comparison`."""
    estimate = next(iter(limit["models"].values()))["extrapolated"]
    rows = [
        f"| `{entry['name']}` | {entry['auc']:.3f} | {entry['speedup']:.2f} | "
        f"{entry['sampling_speedup']:.2f} | {entry['events_per_second']:,.0f} |"
        for entry in document["networks"]
    ]
    lines = [
        "| network | AUC | threshold (A) | sampling (C) | events/s |",
        "|---|---|---|---|---|",
        *rows,
        f"| limit of any network | {estimate['auc']:.3f} | {estimate['speedup']:.1f} | | |",
    ]
    return "\n".join(lines)


def _render_row(entry: Mapping[str, Any]) -> str:
    published = entry["published_auc"]
    budgets = sorted({run["config"]["max_minutes"] for run in entry["runs"]})
    ends = ", ".join(
        f"budget of {', '.join(f'{minutes:g}' for minutes in budgets)}"
        if end == "minutes"
        else _ENDS[end]
        for end in entry["stopped"]
    )
    cells = (
        f"`{entry['name']}`",
        f"{entry['auc']:.4f} ± {combine_errors(entry):.4f}",
        "" if published is None else f"{published:.3f}",
        f"{entry['calibration_error']:.4f}",
        f"{entry['speedup']:.2f} ± {entry['speedup_error']:.2f}",
        f"{entry['sampling_speedup']:.2f}",
        f"{entry['n_parameters']:,}",
        f"{entry['events_per_second']:,.0f}",
        f"{entry['minutes']:.1f}",
        f"{entry['epochs']:.0f}, {ends}",
        f"{len(entry['seeds'])}",
    )
    return f"| {' | '.join(cells)} |"


def _render_limits(limit: Mapping[str, Any]) -> list[str]:
    estimates = next(iter(limit["models"].values()))
    return [
        f"| limit of any network, {method} | {row['auc']:.3f} ± {row['auc_error']:.3f} "
        f"| | | {row['speedup']:.1f} ± {row['speedup_error']:.1f} | | | | | | |"
        for method, row in estimates.items()
        if method in ("extrapolated", "modelled")
    ]


def combine_errors(entry: Mapping[str, Any]) -> float:
    """Return the error of the mean AUC: test sample and spread between seeds."""
    spread = (entry["auc_spread"] or 0.0) / math.sqrt(len(entry["seeds"]))
    return math.hypot(entry["auc_error"], spread)


def render_removal(document: Mapping[str, Any]) -> str:
    """Return the table of the feature removal; empty if the base is not there."""
    by_name = {entry["name"]: entry for entry in document["networks"]}
    base = by_name.get(REMOVAL_BASE)
    rows = [
        entry
        for name, entry in sorted(by_name.items())
        if name.startswith("ablations/")
    ]
    if base is None or not rows:
        return ""
    lines = [
        (
            f"Features taken away from `{REMOVAL_BASE}`, with the same seed and "
            f"{document['settings']['minutes']:g} minutes each; differences are between "
            "networks on the same test events:"
        ),
        "",
        "| without | AUC | difference | threshold (A) |",
        "|---|---|---|---|",
    ]
    first = base["runs"][0]["metrics"]
    lines.append(f"| nothing | {first['auc']:.4f} | | {first['speedup']:.2f} |")
    for entry in rows:
        metrics = entry["runs"][0]["metrics"]
        name = entry["name"].removeprefix("ablations/no_").replace("_", ", ")
        name = name.replace("production, time", "production time")
        lines.append(
            f"| {name} | {metrics['auc']:.4f} | {metrics['auc'] - first['auc']:+.4f} | "
            f"{metrics['speedup']:.2f} |"
        )
    return "\n".join(lines)


def render_seeds(document: Mapping[str, Any]) -> str:
    """Return the AUC of each seed of the networks that have several; empty if none has."""
    entries = [entry for entry in document["networks"] if len(entry["runs"]) > 1]
    if not entries:
        return ""
    lines = [
        (
            f"Seeds, after {document['settings']['minutes']:g} minutes each, on the same "
            "test events:"
        ),
        "",
        "| network | AUC of each seed | mean | standard deviation |",
        "|---|---|---|---|",
    ]
    for entry in entries:
        seeds = ", ".join(f"{run['metrics']['auc']:.4f}" for run in entry["runs"])
        lines.append(
            f"| `{entry['name']}` | {seeds} | {entry['auc']:.4f} | "
            f"{entry['auc_spread']:.4f} |"
        )
    return "\n".join(lines)


def insert_text(path: Path, text: str, marks: Sequence[str] = MARKS) -> None:
    """Put text between the two marks of a file.

    Raises
    ------
    UsageError
        If the file lacks them.
    """
    begin, end = marks
    head, found_begin, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found_begin or not found_end:
        raise UsageError(f"text: expected the marks {begin} and {end} in '{path}'")
    path.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")


MAKERS = "network_comparison.py or oracle.py"
"""What writes the results that are read here."""

oracle_option = click.option(
    "--oracle",
    type=click.Path(exists=True, path_type=Path),
    default=Path(__file__).parent / "results" / "oracle.json",
    help="The limit.  [benchmarks/results/oracle.json]",
)


@click.command()
@click.argument("comparison", type=click.Path(exists=True, path_type=Path))
@oracle_option
@click.option(
    "--into",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put it between the marks of this file.",
)
@click.option(
    "--repeated",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The comparison with several seeds and the removed features.  [the same]",
)
@click.option("--short", is_flag=True, help="The few columns of the README.")
def command(
    comparison: Path,
    oracle: Path,
    into: Path | None,
    repeated: Path | None,
    short: bool,
) -> None:
    """Print the tables of a comparison."""
    paths = (comparison, oracle, repeated or comparison)
    with expect_result(MAKERS, *paths):
        document, limit, others = map(load_result, paths)
        parts = (
            render_comparison(document, limit),
            render_seeds(others),
            render_removal(others),
        )
        text = "\n\n".join(part for part in parts if part)
        if short:
            text = render_short(document, limit)
    if into is None:
        click.echo(text)
        return
    insert_text(into, text)


if __name__ == "__main__":
    run(command)
