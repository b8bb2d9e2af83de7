"""One event on its way: reading, preparation, graph, score, decision, decay tree.

Each step is the one that `smartfilter score` and the module in a steering path take.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console

from smartfilter import Scorer, open_events
from smartfilter.decay_tree import build_decay_tree
from smartfilter.decision import DecisionSettings, decide, uniform
from smartfilter.graphs import Dropped, find_dropped, prepare

SKIM = "feiHadronicB0"
EVENTS = Path(__file__).with_name("events.root")


def main(entry: int = 163) -> None:
    """Print what each step makes of the event."""
    source = open_events(EVENTS)
    print(f"1. reading: entry {entry} of {source.n_events} in {EVENTS.name}")
    event = source.read().take([entry])
    print(f"   {event.n_particles} generator particles, mothers as rows, cm, ns, GeV")

    scorer = Scorer(device="cpu")
    info = scorer.info
    dropped = find_dropped(event, info.preset)
    reasons = Counter(Dropped(int(code)).name.lower() for code in dropped)
    print(f"2. preparation '{info.preset}': {dict(reasons)}")

    graph = prepare(event, info.preset)
    others = graph.mother != np.arange(len(graph.mother))
    edges = int((others & (graph.mother >= 0)).sum())
    print(
        f"3. graph: {len(graph.x)} nodes, {edges} edges to mothers, features of node 1:"
    )
    names = (f"{name} [{unit}]" for name, unit in info.features)
    print("   " + ", ".join(map("{} {:.3g}".format, names, graph.x[1])))

    scores = scorer.score(event)
    column = info.skim_names.index(SKIM)
    logit, score = scores.logits[0, column], scores.scores[0, column]
    print(f"4. score: logit {logit:.3f}, calibrated pass probability {score:.4f}")

    print(f"5. decision for {SKIM}:")
    for mode in ("threshold", "sample"):
        settings = DecisionSettings.from_model(
            info, skims=[SKIM], mode=mode, seed=1, event_type="mixed"
        )
        decision = decide(
            event,
            logits=scores.logits,
            scores=scores.scores,
            scorable=scores.scorable,
            settings=settings,
        )
        verdict = "simulate" if decision.keep[0] else "skip"
        p, skim = decision.keep_probability[0, 0], settings.skims[0]
        if mode == "threshold":
            print(f"   threshold {skim.threshold:.3f}: {verdict}")
        else:
            root = f"{skim.constant:.3f} sqrt({score:.4f})"
            u = uniform(event, settings.seed)[0]
            print(f"   sample: u = {u:.3f}, p = min(1, {root}) = {p:.3f}: {verdict}")
            print(f"   weight {decision.weight[0, 0]:.3f}")

    print("6. decay tree, with what the network does not see:")
    notes = np.where(dropped == 0, "", [Dropped(int(k)).name.lower() for k in dropped])
    tree = build_decay_tree(event, 0, notes=notes.tolist(), title=f"entry {entry}")
    Console(highlight=False).print(tree)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
