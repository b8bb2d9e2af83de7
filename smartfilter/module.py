"""The SmartFilter module: runs in basf2 and in the standalone `smartfilter.framework`.

In a steering file, after the generator and before the simulation::

    from smartfilter import add_smartfilter
    add_smartfilter(path, skims=["feiHadronicB0"], event_type="mixed")

mirrors ``skim.smartbkg.add_smartbkg_filtering``. The rules are those of
`smartfilter.scoring` and `smartfilter.decision`; this file only talks to the framework.
Needs torch and numpy alone, because a basf2 environment brings its own packages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.decision import Decision, DecisionSettings, decide
from smartfilter.errors import InputError, SmartFilterError, UsageError
from smartfilter.event_type import infer_event_type
from smartfilter.events import (
    EVENT_TYPES,
    UNKNOWN_EVENT_TYPE,
    Events,
    encode_event_type,
)
from smartfilter.graphs import Reason
from smartfilter.io.datastore import read_particles
from smartfilter.scoring import Scorer

try:
    import basf2
    from ROOT import Belle2
except ModuleNotFoundError as error:
    if error.name != "basf2":
        raise
    from smartfilter import framework as Belle2
    from smartfilter import framework as basf2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from smartfilter.scoring import Scores

__all__ = ["FilterCounts", "SmartFilter", "add_smartfilter"]

WARN_UNSCORABLE = 0.01
"""Share of unscorable events above which the module warns at the end."""

FIRST_LOOK = 1000
"""Events after which a job in which none could be scored is stopped."""

_CODES = {name: code for code, name in enumerate(EVENT_TYPES)}


@dataclass
class FilterCounts:
    """What the module saw and decided.

    Parameters
    ----------
    n_generated, n_kept : int
        Events that came in, and those that the decision keeps.
    n_unscorable : int
        Events without a score: kept with weight 1.
    n_failed : int
        Those of them that are unscorable because network or device failed.
    inferred : dict of str to int
        Events whose type was inferred from the record, by type.
    sum_weight : dict of str to float
        Sum of the weights of kept events, by skim.
    """

    n_generated: int = 0
    n_kept: int = 0
    n_unscorable: int = 0
    n_failed: int = 0
    inferred: dict[str, int] = field(default_factory=dict)
    sum_weight: dict[str, float] = field(default_factory=dict)

    def describe(self) -> str:
        """Return one line for the log."""
        share = 100.0 * self.n_kept / self.n_generated if self.n_generated else 0.0
        text = (
            f"SmartFilter: {self.n_generated} generated, {self.n_kept} kept "
            f"({share:.2f} %), {self.n_unscorable} unscorable"
        )
        if self.n_failed:
            text += f" ({self.n_failed} because the network failed)"
        for skim, total in self.sum_weight.items():
            mean = total / self.n_kept if self.n_kept else 0.0
            text += f"; mean weight {skim}: {mean:.4g}"
        if self.inferred:
            types = ", ".join(f"{name} {n}" for name, n in self.inferred.items())
            text += f"; event type inferred from the record: {types}"
        return text


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
    skims : sequence of str
        Skims that decide; by default all of the model. An event is kept if any of them
        wants it.
    event_type : str, optional
        One of `smartfilter.events.EVENT_TYPES`; wins over the event's own. By default
        that of EventExtraInfo, else inferred from the record.
    mode : str
        ``threshold``, ``sample``, ``official`` (see `smartfilter.decision.decide`), or
        ``debug``, which is ``threshold`` with ``debug=True``.
    threshold : float, optional
        On the score; by default each skim's best working point in the model file.
    model : str, Path or Scorer, optional
        Model file; by default the one that smartfilter ships.
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
        Stop at the first event that cannot be scored.
    fail_open : bool
        Keep an event, with weight 1, when the network or the device fails on it;
        otherwise the job stops.
    """

    def __init__(
        self,
        *,
        skims: Sequence[str] = (),
        event_type: str | None = None,
        mode: str = "threshold",
        threshold: float | None = None,
        model: str | Path | Scorer | None = None,
        seed: int | None = None,
        device: str = "cpu",
        threads: int = 1,
        debug: bool = False,
        strict: bool = False,
        fail_open: bool = False,
    ) -> None:
        super().__init__()
        self.set_name(type(self).__name__)
        self.debug = debug or mode == "debug"
        self.counts = FilterCounts()
        self.scorer: Scorer | None = None
        self._skims = (skims,) if isinstance(skims, str) else tuple(skims)
        self._event_type = event_type
        self._mode = "threshold" if mode == "debug" else mode
        self._threshold = threshold
        self._model = model
        self._seed = seed
        self._device = device
        self._threads = threads
        self._strict = strict
        self._fail_open = fail_open
        self._settings: list[DecisionSettings] = []
        self._warned: set[str] = set()
        self._particles = Belle2.PyStoreArray("MCParticles")
        self._meta_data = Belle2.PyStoreObj("EventMetaData")
        self._extra_info = Belle2.PyStoreObj("EventExtraInfo")

    @property
    def settings(self) -> DecisionSettings:
        """How events of unknown type are decided, after initialize()."""
        return self._settings[UNKNOWN_EVENT_TYPE]

    def initialize(self) -> None:
        """Check the settings, read the model, register what is stored."""
        self.counts = FilterCounts()
        self._warned = set()
        self._settings = []
        self._particles.isRequired()
        self._meta_data.isRequired()
        self._extra_info.registerInDataStore()
        try:
            self._configure()
        except SmartFilterError as error:
            basf2.B2ERROR(f"{self.name()}: {error}")

    def _configure(self) -> None:
        if self._event_type is not None:
            encode_event_type(self._event_type)
        if self._threshold is not None and not 0.0 <= self._threshold <= 1.0:
            raise UsageError(
                f"threshold: expected a number from 0 to 1, got {self._threshold}"
            )
        if isinstance(self._model, Scorer):
            self.scorer = self._model
        else:
            self.scorer = Scorer(
                self._model, device=self._device, threads=self._threads
            )
        seed = _derive_seed(self._seed)
        # One per event type, the last one for events of unknown type (code -1).
        self._settings = [
            DecisionSettings.from_model(
                self.scorer.info,
                skims=self._skims,
                mode=self._mode,
                threshold=self._threshold,
                seed=seed,
                event_type=name,
            )
            for name in (*EVENT_TYPES, None)
        ]
        names = [skim.name for skim in self.settings.skims]
        self.counts.sum_weight = dict.fromkeys(names, 0.0)
        basf2.B2INFO(
            f"{self.name()}: {self._mode} for {', '.join(names)} with "
            f"{self.scorer.path} ({self.scorer.digest[:12]}), seed {seed}"
        )

    def event(self) -> None:
        """Score the event, store weights, set the return value."""
        events = read_particles(self._particles, self._meta_data)
        if not self._extra_info.isValid():
            self._extra_info.create()
        events = self._resolve_event_type(events)
        try:
            scores, decision = self.judge(events)
        except (SmartFilterError, RuntimeError) as error:
            if not self._fail_open:
                raise
            self._fail(error)
            return
        self._count(events, scores, decision)
        keep = bool(decision.keep[0])
        settings = self._settings[int(events.event_type[0])]
        for k, skim in enumerate(settings.skims):
            weight = float(decision.weight[0, k])
            self.counts.sum_weight[skim.name] += weight
            if self.debug:
                score = float(scores.scores[0, skim.column])
                self._store(f"SmartFilter_Prediction_{skim.name}", score)
            else:
                self._store(f"weight_{skim.name}", weight)
        if self.debug:
            self._store("SmartFilter_Skip", float(not keep))
        self.return_value(int(keep or self.debug))

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
        self._extra_info.addExtraInfo(name, value)

    def _count(self, events: Events, scores: Scores, decision: Decision) -> None:
        counts = self.counts
        counts.n_generated += 1
        counts.n_kept += int(decision.keep[0])
        if scores.scorable[0]:
            return
        counts.n_unscorable += 1
        reason = Reason(int(scores.reason[0])).name.lower().replace("_", " ")
        where = f"event {events.experiment[0]}/{events.run[0]}/{events.event[0]}"
        if self._strict:
            raise InputError(f"{where}: cannot be scored ({reason}); strict mode stops")
        self._warn_once(reason, f"{where}: cannot be scored ({reason}), kept")
        if counts.n_generated == counts.n_unscorable == FIRST_LOOK:
            raise InputError(
                f"SmartFilter: none of the first {FIRST_LOOK} events can be scored "
                f"(last: {reason}); is the module right behind the generator?"
            )

    def _fail(self, error: Exception) -> None:
        """Keep an event that the network could not score."""
        counts = self.counts
        counts.n_generated += 1
        counts.n_kept += 1
        counts.n_unscorable += 1
        counts.n_failed += 1
        self._warn_once("failure", f"scoring failed, events are kept: {error}")
        for name in counts.sum_weight:
            counts.sum_weight[name] += 1.0
            if not self.debug:
                self._store(f"weight_{name}", 1.0)
        self.return_value(1)

    def _resolve_event_type(self, events: Events) -> Events:
        """Return the event with its type: argument, file, record, in this order."""
        stored = str(self._extra_info.getEventType())
        code = _CODES.get(stored, int(events.event_type[0]))
        if self._event_type is not None:
            known = stored or (EVENT_TYPES[code] if code >= 0 else "")
            if known not in ("", self._event_type):
                self._warn_once(
                    known, f"event type: expected {self._event_type}, got {known}"
                )
            code = _CODES[self._event_type]
        elif code == UNKNOWN_EVENT_TYPE:
            code = int(infer_event_type(events)[0])
            name = EVENT_TYPES[code] if code >= 0 else "unknown"
            self.counts.inferred[name] = self.counts.inferred.get(name, 0) + 1
        if code == events.event_type[0]:
            return events
        return events.with_event_type_codes(np.array([code], dtype=np.int8))

    def _warn_once(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            basf2.B2WARNING(f"{self.name()}: {message} (reported once)")


def add_smartfilter(
    path: Any,
    skims: Sequence[str] = (),
    event_type: str | None = None,
    empty_path: Any = None,
    *,
    mode: str = "threshold",
    threshold: float | None = None,
    model: str | Path | Scorer | None = None,
    seed: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    debug: bool = False,
    strict: bool = False,
    fail_open: bool = False,
) -> SmartFilter:
    """Add the filter to a path: skipped events leave it for an empty path.

    Call it after the generator and before the simulation.

    Parameters
    ----------
    path : basf2.Path
    skims : sequence of str
        Skims that decide; by default all of the model.
    event_type : str, optional
        Type of the generated events, as ``mixed``.
    empty_path : basf2.Path, optional
        Where skipped events go; by default a new empty path, so that nothing after the
        filter sees them.
    mode, threshold, model, seed, device, threads, debug, strict, fail_open
        As of `SmartFilter`.

    Returns
    -------
    SmartFilter
        The module in the path.
    """
    module = SmartFilter(
        skims=skims,
        event_type=event_type,
        mode=mode,
        threshold=threshold,
        model=model,
        seed=seed,
        device=device,
        threads=threads,
        debug=debug,
        strict=strict,
        fail_open=fail_open,
    )
    path.add_module(module)
    module.if_value("==0", basf2.create_path() if empty_path is None else empty_path)
    return module


def _derive_seed(seed: int | None) -> int:
    """Return the seed, or one that follows from the job's own, a text."""
    if seed is not None:
        return seed
    digest = hashlib.sha256(str(basf2.get_random_seed()).encode()).digest()
    return int.from_bytes(digest[:8], "big")
