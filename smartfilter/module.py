"""The SmartFilter module: runs in basf2 and in the standalone `smartfilter.framework`.

In a steering file, after the generator and before the simulation::

    from smartfilter import add_smartfilter
    add_smartfilter(path, skims=["feiHadronicB0"], event_type="mixed")

mirrors ``skim.smartbkg.add_smartbkg_filtering``. The rules are those of
`smartfilter.scoring` and `smartfilter.decision`; this file only talks to the framework.
Needs torch and numpy alone, because a basf2 environment brings its own packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smartfilter.basf2_host import (
    basf2,
    derive_seed,
    find_payload_file,
    list_skim_names,
)
from smartfilter.decision import Decision, DecisionSettings, decide
from smartfilter.errors import InputError, SmartFilterError, UsageError
from smartfilter.event_reader import EventReader
from smartfilter.events import (
    EVENT_TYPES,
    UNKNOWN_EVENT_TYPE,
    Events,
    encode_event_type,
)
from smartfilter.filter_counts import DIFFERENT, FAILURE, MISSING, FilterCounts, Outcome
from smartfilter.graphs import Reason
from smartfilter.score_lookup import ScoreLookup
from smartfilter.scoring import Scorer

if TYPE_CHECKING:
    from pathlib import Path

    from smartfilter.scoring import Scores

__all__ = ["FilterCounts", "SmartFilter", "add_smartfilter"]

WARN_UNSCORABLE = 0.01
"""Share of unscorable events above which the module warns at the end."""


class SmartFilter(basf2.Module):
    """Score each event and say whether it shall be simulated.

    The return value is 1 to keep and 0 to skip. EventExtraInfo receives
    ``weight_<SkimName>``; in debug mode the return value is always 1 and EventExtraInfo
    receives ``SmartFilter_Prediction_<SkimName>``, the calibrated pass probability (NaN
    if the event cannot be scored), and ``SmartFilter_Skip``, 1 if the event would have
    been skipped. mdst files hold EventExtraInfo only on request: add it with
    ``additionalBranches=["EventExtraInfo"]``, or the weights are lost.

    Wrong settings are reported with B2ERROR in initialize(), so that no event is
    processed. An event that cannot be scored is kept with weight 1 and counted.

    Parameters
    ----------
    skims : sequence
        Skims that decide, as names or as basf2's skim objects (one, several or a
        CombinedSkim); by default all of the model. An event is kept if any of them
        wants it.
    event_type : str, optional
        One of `smartfilter.events.EVENT_TYPES`; wins over the event's own, with a
        warning. By default that of EventExtraInfo, else inferred from the record.
    mode : str, optional
        ``threshold`` (the default), ``sample``, ``official`` (see
        `smartfilter.decision.decide`), or ``debug``, which is ``threshold`` with
        ``debug=True``.
    threshold : float, optional
        On the score; by default each skim's best working point in the model file.
    working_point : str or Path, optional
        Thresholds and sampling constants that ``smartfilter working-point -o`` found,
        in the place of the model's; those of the event's type where the file has them.
    model : str, Path or Scorer, optional
        Model file; by default the one that smartfilter ships.
    payload : str, optional
        Name of a raw payload of the conditions database that is the model file.
    scores : str or Path, optional
        Score file of a first pass: its decisions are looked up by experiment, run,
        production and event number instead of scoring. Skims, mode, seed, threshold
        and model are those of the file. An event that it does not have, or has with
        another number of generator particles (jobs may number their events alike), is
        kept with weight 1 and counted.
    seed : int, optional
        Of the sampling; by default derived from the job's own seed.
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``. A single event is too small for a
        GPU to be faster.
    threads : int
        CPU threads of torch while scoring.
    debug : bool
        Keep everything and store what the filter thinks.
    strict : bool
        Stop at the first event that cannot be scored, or whose decision the score
        file does not have.
    fail_open : bool
        Keep an event, with weight 1, when the network or the device fails on it;
        otherwise the job stops.
    reader : str
        How MCParticles are read in basf2: ``python``, or ``jit``, compiled by ROOT and
        untested in a release; see `smartfilter.io.datastore`.
    """

    def __init__(
        self,
        *,
        skims: Any = (),
        event_type: str | None = None,
        mode: str | None = None,
        threshold: float | None = None,
        working_point: str | Path | None = None,
        model: str | Path | Scorer | None = None,
        payload: str | None = None,
        scores: str | Path | None = None,
        seed: int | None = None,
        device: str = "cpu",
        threads: int = 1,
        debug: bool = False,
        strict: bool = False,
        fail_open: bool = False,
        reader: str = "python",
    ) -> None:
        super().__init__()
        self.set_name(type(self).__name__)
        self.debug = debug or mode == "debug"
        self.counts = FilterCounts()
        self.scorer: Scorer | None = None
        self._skims = list_skim_names(skims)
        self._event_type = event_type
        self._mode = "threshold" if mode == "debug" else mode
        self._threshold = threshold
        self._working_point = working_point
        self._model = model
        self._payload = payload
        self._score_file = scores
        self._seed = seed
        self._device = device
        self._threads = threads
        self._strict = strict
        self._fail_open = fail_open
        self._reader = reader
        self._settings: tuple[DecisionSettings, ...] = ()
        self._lookup: ScoreLookup | None = None
        self._names: tuple[str, ...] = ()
        self._warned: set[str] = set()
        self._event = EventReader()

    @property
    def settings(self) -> DecisionSettings:
        """How events of unknown type are decided, after initialize()."""
        return self._settings[UNKNOWN_EVENT_TYPE]

    def initialize(self) -> None:
        """Check the settings, read the model or the scores, register what is stored."""
        self.counts = FilterCounts()
        self._warned = set()
        self._settings = ()
        self._lookup = None
        self._event.register()
        try:
            if self._event_type is not None:
                encode_event_type(self._event_type)
            self._event.choose(self._reader)
            if self._score_file is None:
                self._open_model()
            elif self._working_point is None:
                self._open_scores(self._score_file)
            else:
                raise UsageError("scores: expected them or a working point, got both")
        except SmartFilterError as error:
            basf2.B2ERROR(f"{self.name()}: {error}")
        self.counts.sum_weight = dict.fromkeys(self._names, 0.0)

    def _open_model(self) -> None:
        if self._threshold is not None and not 0.0 <= self._threshold <= 1.0:
            raise UsageError(
                f"threshold: expected a number from 0 to 1, got {self._threshold}"
            )
        if self._payload is not None and self._model is not None:
            raise UsageError("model: expected a file or a payload, got both")
        if isinstance(self._model, Scorer):
            self.scorer = self._model
        else:
            model = self._model
            if self._payload is not None:
                model = find_payload_file(self._payload)
            self.scorer = Scorer(model, device=self._device, threads=self._threads)
        seed = derive_seed(self._seed)
        mode = self._mode or "threshold"
        # One per event type, the last one for events of unknown type (code -1).
        self._settings = DecisionSettings.for_each_type(
            self.scorer.info,
            skims=self._skims,
            mode=mode,
            threshold=self._threshold,
            seed=seed,
        )
        self._names = tuple(skim.name for skim in self.settings.skims)
        if self._working_point is not None:
            self._use_working_point(self._working_point, self.scorer.digest)
        basf2.B2INFO(
            f"{self.name()}: {mode} for {', '.join(self._names)} with "
            f"{self.scorer.path} ({self.scorer.digest[:12]}), seed {seed}"
        )

    def _use_working_point(self, path: str | Path, digest: str) -> None:
        from smartfilter.working_point_file import (
            read_working_point,
            use_working_point,
        )

        if self._threshold is not None:
            raise UsageError("threshold: expected it or a working point, got both")
        point = read_working_point(path)
        point.require_match(self._names, digest)
        self._settings = use_working_point(self._settings, point)

    def _open_scores(self, path: str | Path) -> None:
        lookup = ScoreLookup(path)
        lookup.check(
            skims=self._skims,
            mode=self._mode,
            threshold=self._threshold,
            model=self._model,
            payload=self._payload,
            seed=self._seed,
        )
        self._lookup = lookup
        self._names = lookup.skims
        basf2.B2INFO(
            f"{self.name()}: {lookup.mode} for {', '.join(self._names)}, "
            f"{len(lookup)} decisions of {path} (model {lookup.digest[:12]})"
        )

    def event(self) -> None:
        """Score the event or look it up, store weights, set the return value."""
        self._event.create_extra_info()
        outcome = self._score() if self._lookup is None else self._look_up(self._lookup)
        self._count(outcome)
        for name, weight, score in zip(
            self._names, outcome.weight, outcome.score, strict=True
        ):
            self.counts.sum_weight[name] += weight
            if self.debug:
                self._store(f"SmartFilter_Prediction_{name}", score)
            else:
                self._store(f"weight_{name}", weight)
        if self.debug:
            self._store("SmartFilter_Skip", float(not outcome.keep))
        self.return_value(int(outcome.keep or self.debug))

    def _score(self) -> Outcome:
        events = self._event.read()
        self._check_event_type(int(events.event_type[0]))
        events, inferred = self._event.resolve_event_type(events, self._event_type)
        if inferred:
            code = int(events.event_type[0])
            name = EVENT_TYPES[code] if code >= 0 else "unknown"
            self.counts.inferred[name] = self.counts.inferred.get(name, 0) + 1
        try:
            scores, decision = self.judge(events)
        except (SmartFilterError, RuntimeError) as error:
            if not self._fail_open:
                raise
            self.counts.n_failed += 1
            self._warn_once(FAILURE, f"scoring failed, events are kept: {error}")
            return self._keep_unscored(FAILURE)
        settings = self._settings[int(events.event_type[0])]
        reason = Reason(int(scores.reason[0])).name.lower().replace("_", " ")
        return Outcome(
            keep=bool(decision.keep[0]),
            weight=decision.weight[0].tolist(),
            score=scores.scores[0, [skim.column for skim in settings.skims]].tolist(),
            trouble="" if scores.scorable[0] else reason,
        )

    def _look_up(self, lookup: ScoreLookup) -> Outcome:
        row = lookup.find(self._event.identity)
        if row is None or not self._event.holds(int(lookup.n_particles[row])):
            self.counts.n_missing += 1
            return self._keep_unscored(MISSING if row is None else DIFFERENT)
        self._check_event_type(int(lookup.event_type[row]))
        score = lookup.score[row].tolist()
        return Outcome(
            keep=bool(lookup.keep[row]),
            weight=lookup.weight[row].tolist(),
            score=score,
            trouble="" if score[0] == score[0] else "unscorable in the first pass",
        )

    def _keep_unscored(self, trouble: str) -> Outcome:
        n_skims = len(self._names)
        return Outcome(True, [1.0] * n_skims, [float("nan")] * n_skims, trouble)

    def judge(self, events: Events) -> tuple[Scores, Decision]:
        """Return scores and decision of one event of known or unknown type."""
        if self.scorer is None:
            raise UsageError("SmartFilter: event() called before initialize()")
        scores = self.scorer.score(events)
        decision = decide(
            events,
            logits=scores.logits,
            scores=scores.scores,
            scorable=scores.scorable,
            settings=self._settings[int(events.event_type[0])],
        )
        return scores, decision

    def terminate(self) -> None:
        """Report what was kept."""
        counts = self.counts
        basf2.B2INFO(counts.describe())
        if counts.n_generated and counts.n_unscorable == counts.n_generated:
            basf2.B2ERROR("SmartFilter: no event could be scored, nothing was filtered")
        elif counts.n_unscorable > WARN_UNSCORABLE * counts.n_generated:
            basf2.B2WARNING(
                f"SmartFilter: {counts.n_unscorable} of {counts.n_generated} events "
                "could not be scored and were kept"
            )

    def _store(self, name: str, value: float) -> None:
        self._event.extra_info.addExtraInfo(name, value)

    def _count(self, outcome: Outcome) -> None:
        self.counts.add(outcome)
        trouble = outcome.trouble
        if trouble in ("", FAILURE):
            return
        experiment, run, production, event = self._event.identity
        where = f"event {experiment}/{run}/{event}"
        if trouble in (MISSING, DIFFERENT):
            where += f" (production {production})"
        if self._strict:
            raise InputError(
                f"{where}: cannot be scored ({trouble}); strict mode stops"
            )
        self._warn_once(trouble, f"{where}: cannot be scored ({trouble}), kept")
        self.counts.require_scores(trouble)

    def _check_event_type(self, code: int) -> None:
        """Warn if the type that was given is not that of the event."""
        known = self._event.stored_event_type or (
            EVENT_TYPES[code] if code >= 0 else ""
        )
        if self._event_type is not None and known not in ("", self._event_type):
            self._warn_once(
                known, f"event type: expected {self._event_type}, got {known}"
            )

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            basf2.B2WARNING(f"{self.name()}: {message} (reported once)")


def add_smartfilter(
    path: Any,
    skims: Any = (),
    event_type: str | None = None,
    empty_path: Any = None,
    **settings: Any,
) -> SmartFilter:
    """Add the filter to a path: skipped events leave it for an empty path.

    Call it after the generator and before the simulation.

    Parameters
    ----------
    path : basf2.Path
    skims : sequence
        Skims that decide, as names or skim objects; by default all of the model.
    event_type : str, optional
        Type of the generated events, as ``mixed``.
    empty_path : basf2.Path, optional
        Where skipped events go; by default a new empty path, so that nothing after the
        filter sees them.
    **settings
        As of `SmartFilter`.

    Returns
    -------
    SmartFilter
        The module in the path.
    """
    module = SmartFilter(skims=skims, event_type=event_type, **settings)
    path.add_module(module)
    module.if_value("==0", basf2.create_path() if empty_path is None else empty_path)
    return module
