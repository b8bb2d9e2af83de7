"""How far logits differ between batches, and how often that can change a decision.

The same events are scored one by one, in batches of several sizes, backwards and
shuffled. The reference is one event at a time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

import smartfilter
from smartfilter import Scorer, open_events
from smartfilter.bulk import resolve_event_type
from smartfilter.decision import MODES, DecisionSettings, decide_by_type
from smartfilter.events import Events, concatenate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from smartfilter.scoring import Scores

__all__ = ["command", "compare", "count_close"]

BATCHES = (1, 2, 7, 50, 333, 100_000)
"""Events per batch that are compared with one event at a time."""


def _score(
    scorer: Scorer, events: Events, batch_size: int | None, nodes: int
) -> Scores:
    before = scorer.batch_size, scorer._max_nodes
    scorer.batch_size, scorer._max_nodes = batch_size, nodes
    try:
        return scorer.score(events)
    finally:
        scorer.batch_size, scorer._max_nodes = before


def _variants(scorer: Scorer, events: Events, seed: int) -> Iterator[tuple[str, Any]]:
    """Yield names and the logits in the order of the events."""
    usual = scorer._max_nodes
    for size in BATCHES:
        yield f"batches of {size:,}", _score(scorer, events, size, 10**9)
    yield "the usual batches", _score(scorer, events, None, usual)
    shuffled = np.random.default_rng(seed).permutation(len(events))
    for name, order in (
        ("backwards", np.arange(len(events))[::-1]),
        ("shuffled", shuffled),
    ):
        scores = _score(scorer, events.take(order), None, usual)
        yield name, _reorder(scores, np.argsort(order))


def _reorder(scores: Scores, order: NDArray[np.int64]) -> Scores:
    return type(scores)(
        **{name: getattr(scores, name)[order] for name in scores.__dataclass_fields__}
    )


def _keep(
    scorer: Scorer, events: Events, scores: Scores, mode: str
) -> NDArray[np.bool_]:
    return decide_by_type(
        events,
        logits=scores.logits,
        scores=scores.scores,
        scorable=scores.scorable,
        settings=DecisionSettings.for_each_type(scorer.info, mode=mode, seed=1),
    ).keep


def count_close(
    scorer: Scorer, events: Events, scores: Scores, bound: float
) -> tuple[int, int]:
    """Return how many scores are close to their threshold, and in how many events.

    Close: the threshold lies between the scores of logits that differ by the bound.

    Parameters
    ----------
    scorer : Scorer
    events : Events
    scores : Scores
    bound : float
        Largest difference of the logits.
    """
    settings = DecisionSettings.for_each_type(scorer.info)
    threshold = np.array([[k.threshold for k in s.skims] for s in settings])
    low, high = (
        scorer._calibrate(scores.logits + np.float32(sign * bound), events.event_type)
        for sign in (-1, 1)
    )
    close = (low < threshold[events.event_type]) & (
        high >= threshold[events.event_type]
    )
    return int(close.sum()), int(close.any(axis=1).sum())


def compare(scorer: Scorer, events: Events, seed: int = 1) -> dict[str, Any]:
    """Return differences of logits and decisions from those of single events."""
    events, _ = resolve_event_type(events, None)
    reference: Scores | None = None
    rows: list[dict[str, Any]] = []
    for name, scores in _variants(scorer, events, seed):
        if reference is None:
            reference = scores
        difference = np.abs(scores.logits - reference.logits)
        row = {"variant": name, "difference": float(np.nanmax(difference, initial=0.0))}
        for mode in MODES[:3]:
            keep = _keep(scorer, events, scores, mode)
            row[mode] = int((keep != _keep(scorer, events, reference, mode)).sum())
        rows.append(row)
    if reference is None:
        raise AssertionError
    bound = max(row["difference"] for row in rows)
    n_close, n_events = count_close(scorer, events, reference, bound)
    return {
        "n_events": len(events),
        "n_scores": reference.logits.size,
        "largest_difference": bound,
        "n_scores_close": n_close,
        "n_events_close": n_events,
        "variants": rows,
    }


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--model", help="Model file.  [the shipped default]")
@click.option("--events", "n_most", type=int, default=20_000, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file.")
def command(
    files: tuple[str, ...], model: str | None, n_most: int, output: Path | None
) -> None:
    """Compare decisions between batches, on at most this many events of FILES."""
    parts, left = [], n_most
    for name in files:
        if left > 0:
            parts.append(open_events(name).read().take(slice(left)))
            left -= len(parts[-1])
    scorer = Scorer(model, device="cpu")
    found = compare(scorer, concatenate(parts))
    document = {"version": smartfilter.__version__, "model": scorer.digest, **found}
    click.echo(
        f"{'':24}{'logit differs by':>18}" + "".join(f"{m:>11}" for m in MODES[:3])
    )
    for row in found["variants"]:
        flips = "".join(f"{row[mode]:>11}" for mode in MODES[:3])
        click.echo(f"{row['variant']:24}{row['difference']:>18.2g}{flips}")
    click.echo(
        f"{found['n_scores_close']} of {found['n_scores']:,} scores and "
        f"{found['n_events_close']} of {found['n_events']:,} events are closer to a "
        f"threshold than {found['largest_difference']:.2g} in the logit"
    )
    if output is not None:
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command()
