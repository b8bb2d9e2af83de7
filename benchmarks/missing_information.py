"""What a network has not found in the generated events: tags of generated particles.

Particles that a detector would see are handed to the reconstruction as they are, without
simulation: tracks with their true momenta and kinds, photons with their true energies.
What it finds (candidates, their probabilities, event shapes) is a function of the
generated event, so a network could know it. Gradient-boosted trees that see it beside the
network's score, with every third of the events scored by trees of the other two, tell how
much the network has left behind.

    python benchmarks/missing_information.py 'datasets/mixed-*.parquet' \
      --model subtree -o output/missing_information.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import Console

from smartfilter.cli.terminal import make_table, show_progress
from smartfilter.errors import (
    InputError,
    SmartFilterError,
    UsageError,
    describe_unknown,
)
from smartfilter.io import open_events
from smartfilter.models.kinematics import (
    PHOTON_ANGLES,
    PHOTON_ENERGY,
    TRACK_ANGLES,
    TRACK_PT,
)
from smartfilter.pipeline.objects import Detected, Table
from smartfilter.pipeline.reconstruction import (
    COUNT_COLUMNS,
    VALUE_COLUMNS,
    reconstruct,
)
from smartfilter.scoring import Scorer
from smartfilter.training.evaluation import area_under_curve
from smartfilter.training.labels import require_labels
from smartfilter.training.split import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from smartfilter.events import Events

LIKELIHOODS = {"ll_e": 11, "ll_mu": 13, "ll_pi": 211, "ll_k": 321, "ll_p": 2212}

UNLIKELY = -12.0
"""Log-likelihood of a wrong hypothesis; of the right one 0."""

CANDIDATES = ("n_b0", "b0_mode", "b0_probability", "b0_mbc", "b0_delta_e")
"""What is found of the B0 alone."""

N_PARTS = 3


def detect_generated(events: Events) -> Detected:
    """Return tracks and clusters as a detector without errors would see them.

    Final particles (without daughters) in the acceptance that `Kinematics` has; impact
    parameters are those of a straight line from the production vertex.
    """
    pdg, mother = events["pdg"], events["mother_index"]
    event = np.repeat(np.arange(len(events)), np.diff(events.offsets))
    has_mother = mother >= 0
    final = np.ones(len(pdg), dtype=bool)
    final[mother[has_mother] + events.offsets[event[has_mother]]] = False
    energy, px, py, pz, x, y, z = (
        events[name].astype(np.float64)
        for name in ("energy", "px", "py", "pz", "x", "y", "z")
    )
    kind, pt = np.abs(pdg), np.hypot(px, py)
    theta = np.arctan2(pt, pz)
    track = final & np.isin(kind, list(LIKELIHOODS.values())) & (pt > TRACK_PT)
    track &= _is_between(theta, TRACK_ANGLES)
    photon = final & (kind == 22) & (energy > PHOTON_ENERGY)
    photon &= _is_between(theta, PHOTON_ANGLES)
    sign = np.where(kind < 20, -np.sign(pdg), np.sign(pdg))
    safe = np.maximum(pt, 1e-9)
    columns = {
        "px": px,
        "py": py,
        "pz": pz,
        "charge": sign,
        "d0": (x * py - y * px) / safe,
        "z0": z - (x * px + y * py) * pz / safe**2,
        **{k: np.where(kind == c, 0.0, UNLIKELY) for k, c in LIKELIHOODS.items()},
    }
    clusters = {
        "energy": energy,
        "theta": theta,
        "phi": np.arctan2(py, px),
        "track": np.full(len(pdg), -1),
    }
    return Detected(
        _make_table(columns, track, event, len(events)),
        _make_table(clusters, photon, event, len(events)),
    )


def _is_between(
    theta: NDArray[np.float64], degrees: tuple[float, float]
) -> NDArray[np.bool_]:
    low, high = np.radians(degrees)
    return (theta > low) & (theta < high)


def _make_table(
    columns: dict[str, NDArray[Any]],
    chosen: NDArray[np.bool_],
    event: NDArray[np.int64],
    n_events: int,
) -> Table:
    counts = np.bincount(event[chosen], minlength=n_events)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Table(offsets, {k: v[chosen].astype(np.float32) for k, v in columns.items()})


def collect(
    files: Sequence[str],
    scorer: Scorer,
    skim: str,
    share: float,
    advance: Callable[[int], None],
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Return logits, what is found in the generated particles, and labels.

    Test and validation events of the model's split: all passing ones, a share of the
    failing ones.

    Raises
    ------
    UsageError
        If the model does not know the skim.
    InputError
        If the files lack its label, or no such event passes.
    """
    split = Split.from_training(scorer.info.training, str(scorer.path))
    if skim not in scorer.info.skim_names:
        names, where = scorer.info.skim_names, str(scorer.path)
        raise UsageError(describe_unknown("skim", skim, names, where))
    column = scorer.info.skim_names.index(skim)
    rng = np.random.default_rng(0)
    logits, found, labels = [], [], []
    for chunk in open_events(list(files)):
        require_labels(chunk, (skim,))
        passes = chunk.labels[skim]
        keep = split.assign(chunk) != 0
        keep &= passes | (rng.random(len(chunk)) < share)
        events = chunk.take(keep)
        logits.append(scorer.score(events).logits[:, column].astype(np.float64))
        found.append(reconstruct(detect_generated(events)))
        labels.append(passes[keep])
        advance(len(chunk))
    passes = np.concatenate(labels)
    if not passes.any() or passes.all():
        raise InputError(
            f"labels of '{skim}': expected passing and failing events that "
            f"{scorer.path} was not trained on, got {passes.sum()} of {len(passes)}"
        )
    names = (*COUNT_COLUMNS, *VALUE_COLUMNS)
    columns = {
        name: np.concatenate([part[name] for part in found]).astype(np.float64)
        for name in names
    }
    return np.concatenate(logits), columns, passes


def combine(
    features: NDArray[np.float64], passes: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the scores of boosted trees that did not see the event, shape (n_events,).

    One thread: those of OpenMP wait for each other in a loop, and a hundred times as long
    where something else runs on one of the cores.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    part = np.random.default_rng(1).permutation(len(passes)) % N_PARTS
    score = np.empty(len(passes))
    for k in range(N_PARTS):
        trees = HistGradientBoostingClassifier(
            max_iter=200,
            learning_rate=0.05,
            min_samples_leaf=100,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=0,
        )
        with threadpool_limits(limits=1):
            trees.fit(features[part != k], passes[part != k])
            score[part == k] = trees.decision_function(features[part == k])
    return score


def compare(
    logits: NDArray[np.float64],
    columns: dict[str, NDArray[np.float64]],
    passes: NDArray[np.bool_],
) -> dict[str, dict[str, float]]:
    """Return the AUC of the network, of what is found, and of both together."""
    everything = list(columns.values())
    inputs = {
        "network, through the same trees": [logits],
        "tags of generated particles alone": everything,
        "network and the B0 candidate": [logits, *(columns[k] for k in CANDIDATES)],
        "network and all tags": [logits, *everything],
    }
    scores = {"network": logits} | {
        name: combine(np.stack(values, axis=1), passes)
        for name, values in inputs.items()
    }
    areas = {name: area_under_curve(s, passes) for name, s in scores.items()}
    return {name: {"auc": a, "auc_error": e} for name, (a, e) in areas.items()}


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="DATA...")
@click.option("--model", default="subtree", show_default=True)
@click.option("--skim", default="feiHadronicB0", show_default=True)
@click.option("--share", default=0.35, show_default=True, help="Of the failing events.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="OUT.json")
def command(
    files: tuple[str, ...], model: str, skim: str, share: float, output: Path | None
) -> None:
    """Measure what a network has not found in generated events."""
    try:
        scorer = Scorer(model, device="cpu")
        with show_progress("reconstruct", open_events(list(files)).n_events) as advance:
            logits, columns, passes = collect(files, scorer, skim, share, advance)
    except SmartFilterError as error:
        raise click.ClickException(str(error)) from None
    document = {
        "model": scorer.path.name,
        "digest": scorer.digest,
        "skim": skim,
        "n_passing": int(passes.sum()),
        "n_failing": int((~passes).sum()),
        "areas": compare(logits, columns, passes),
    }
    title = f"{skim}, {document['n_passing']:,} passing and {document['n_failing']:,} failing events"
    rows = [
        (name, f"{area['auc']:.4f} ± {area['auc_error']:.4f}")
        for name, area in document["areas"].items()
    ]
    Console(highlight=False).print(make_table(title, ("score", "AUC"), rows))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command()
