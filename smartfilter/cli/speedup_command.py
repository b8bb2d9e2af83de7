"""``smartfilter speedup``: the formulas, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smartfilter.cli.completion import complete_skims
from smartfilter.cli.options import FiniteRange
from smartfilter.cli.terminal import emit, json_option, make_table

__all__ = ["command"]

RATE = FiniteRange(0.0, 1.0)
TIME = FiniteRange(min=0.0)


@click.command("speedup")
@click.argument("scores", required=False, type=click.Path(path_type=Path))
@click.option("--tpr", type=RATE, help="Share of passing events kept, f1.")
@click.option("--fpr", type=RATE, help="Share of failing events kept, f0.")
@click.option("--retention-rate", type=RATE, help="Share of events that pass.  [0.05]")
@click.option("--t-g", type=TIME, default=1.0, show_default=True, help="Generation.")
@click.option("--t-s", type=TIME, default=100.0, show_default=True, help="Simulation.")
@click.option("--t-n", type=TIME, default=0.0, show_default=True, help="Filter.")
@click.option(
    "--skim",
    shell_complete=complete_skims,
    help="Skim, where the score file holds several.",
)
@json_option
def command(
    scores: Path | None,
    tpr: float | None,
    fpr: float | None,
    retention_rate: float | None,
    t_g: float,
    t_s: float,
    t_n: float,
    skim: str | None,
) -> None:
    """Evaluate the speedup formulas for given rates, or for a score file.

    Times are per event, in any one unit. From SCORES, a file that smartfilter score
    wrote, the rates are those that its calibrated scores promise; (C) is for files
    of --mode sample.

    \b
    Examples:
      smartfilter speedup --tpr 0.8 --fpr 0.1
      smartfilter speedup --tpr 1 --fpr 0 --json
      smartfilter speedup scores.parquet --skim feiHadronicB0 --t-g 0.2 --t-s 25
    """  # noqa: D301
    from smartfilter import speedup

    times = {"t_g": t_g, "t_s": t_s}
    document: dict[str, Any] = {**times, "t_n": t_n}
    if scores is not None:
        if tpr is not None or fpr is not None or retention_rate is not None:
            raise click.UsageError("give SCORES, or rates, not both")
        from smartfilter.rates import read_rates

        rates = read_rates(scores, skim)
        document["skim"] = rates.skim
        document["sampling_speedup"] = rates.sampling_speedup(**times, t_n=t_n)
        chosen = {
            "tpr": rates.tpr,
            "fpr": rates.fpr,
            "retention_rate": rates.retention_rate,
        }
    elif skim is not None:
        raise click.UsageError("--skim goes with SCORES: rates are those of one skim")
    elif tpr is None or fpr is None:
        raise click.UsageError("give --tpr and --fpr, or a score file")
    else:
        r = 0.05 if retention_rate is None else retention_rate
        chosen = {"tpr": tpr, "fpr": fpr, "retention_rate": r}
    r = chosen["retention_rate"]
    document |= chosen
    document |= {
        "speedup": speedup.threshold_speedup(**chosen, **times, t_n=t_n),
        "printed_formula": speedup.printed_formula(**chosen, **times),
        "substituted_formula": speedup.substituted_formula(**chosen, **times),
        "speedup_limit": speedup.speedup_limit(retention_rate=r, **times, t_n=t_n),
    }
    emit(document, _make_table(document))


def _make_table(document: dict[str, Any]) -> Any:
    meanings = {
        "speedup": "speedup, formula (A)",
        "speedup_limit": "limit: a perfect filter",
        "sampling_speedup": "sampling at equal effective size, formula (C)",
        "substituted_formula": "(B'): published derivation, substituted; wrong",
        "printed_formula": "(B): as published; wrong",
    }
    title = "f1 = {tpr:.4g}, f0 = {fpr:.4g}, r = {retention_rate:.4g}, ".format(
        **document
    )
    title += "t_g : t_n : t_s = {t_g:g} : {t_n:g} : {t_s:g}".format(**document)
    rows = [
        (text, f"{document[key]:.2f}")
        for key, text in meanings.items()
        if document.get(key) is not None
    ]
    return make_table(title, ("", "value"), rows)
