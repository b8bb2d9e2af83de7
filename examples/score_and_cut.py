"""Score events and decide: with a threshold, and by sampling with weights."""

from __future__ import annotations

from pathlib import Path

from smartfilter import Scorer, open_events
from smartfilter.decision import DecisionSettings, decide
from smartfilter.speedup import effective_sample_size

SKIM = "feiHadronicB0"
EVENTS = Path(__file__).with_name("events.root")


def main() -> None:
    """Print what either mode keeps."""
    scorer = Scorer()
    events = open_events(EVENTS).read()
    scores = scorer.score(events)
    score = scores.scores[:, scorer.info.skim_names.index(SKIM)]
    print(f"{len(events)} events, mean pass probability {score.mean():.4f}")
    for mode in ("threshold", "sample"):
        decision = decide(
            events,
            logits=scores.logits,
            scores=scores.scores,
            scorable=scores.scorable,
            settings=DecisionSettings.from_model(
                scorer.info, skims=[SKIM], mode=mode, seed=1, event_type="mixed"
            ),
        )
        weight = decision.weight[decision.keep, 0]
        print(
            f"{mode}: {decision.keep.sum()} kept, sum of weights {weight.sum():.1f}, "
            f"effective size {effective_sample_size(weight):.1f}"
        )


if __name__ == "__main__":
    main()
