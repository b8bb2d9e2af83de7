"""Generator-level events from Pythia 8, laid out as basf2's generators leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from smartfilter.errors import UsageError, describe_unknown
from smartfilter.events import (
    EVENT_TYPES,
    PARTICLE_COLUMNS,
    Events,
    concatenate,
    encode_event_type,
    offsets_from_counts,
)
from smartfilter.pipeline.beams import draw_vertices

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DECAY_TABLES", "Generator"]

DECAY_TABLES = ("belle2", "pythia")

BATCH_SIZE = 2000
"""Events generated at once; has no influence on the events."""


class Generator:
    """Generate events of one type with Pythia 8.

    ``charged`` and ``mixed``: Y(4S) -> B anti-B at the Belle II beams, the Y(4S) first
    and the only root. The B mesons fly along sin^2 of the angle to the beam axis and
    neutral pairs mix coherently; a B that oscillated is listed with its flavour at
    decay, directly below the Y(4S), as EvtGen does. Photons radiated in decays come
    from VINCIA's QED shower and have the bit PHOTOS_PHOTON. Continuum types:
    e+ e- -> gamma* -> f anti-f with Pythia's radiation from the initial state; beam
    electron, beam positron (status 35) and virtual photon (17) are roots, quarks and
    gluons are listed, hadrons hang on partons as in basf2; only decays to lepton
    pairs radiate. Taus decay with Pythia's hadronic currents, unpolarised and without
    spin correlation between the two. Everything but e, mu, pi+-, K+-, p, n, photons
    and neutrinos is decayed, with displaced vertices.

    Parameters
    ----------
    event_type : str
        One of `smartfilter.events.EVENT_TYPES`.
    seed : int
        Non-negative. The same seed gives the same events with the same versions of
        Pythia and NumPy, however `generate` is called: ``generate(100)`` equals
        ``generate(30)`` and then ``generate(70)``. Event types are independent.
    experiment, run : int
        Identity of the events; no influence on their content.
    first_event : int
        Number of the first event; the next ones count up.
    decay_table : str
        ``belle2`` (branching fractions of ``DECAY_BELLE2.DEC``, see
        `smartfilter.pipeline.decay_table`; three seconds once per process, then as
        fast as the other) or ``pythia`` (Pythia's own).
    smear_beams : bool
        Whether beam energies and interaction point vary from event to event, as they
        do in basf2 (5.13 and 2.375 MeV; 6.4 um, 42 nm, 154 um); else the origin and
        a fixed Y(4S).
    radiation : bool
        Whether decays radiate photons.

    Raises
    ------
    InputError
        If the event type is unknown.
    UsageError
        If the seed is negative or the decay table unknown.
    MissingPackageError
        If pythia8mc or numba is not installed.
    """

    def __init__(
        self,
        event_type: str,
        *,
        seed: int,
        experiment: int = 0,
        run: int = 1,
        first_event: int = 1,
        decay_table: str = "belle2",
        smear_beams: bool = True,
        radiation: bool = True,
    ) -> None:
        self._type_code = encode_event_type(event_type)
        if seed < 0:
            raise UsageError(f"seed: expected a number >= 0, got {seed}")
        if decay_table not in DECAY_TABLES:
            raise UsageError(describe_unknown("decay table", decay_table, DECAY_TABLES))
        from smartfilter.pipeline.decay_table import load_belle2_table
        from smartfilter.pipeline.pythia import B_TYPES, make_pythia

        self._continuum = event_type not in B_TYPES
        self._ids = (experiment, run)
        self._first_event = first_event
        self._n_generated = 0
        self._smear_beams = smear_beams
        self._vertex_rng = np.random.default_rng([seed, self._type_code, 1])
        # Pythia reads from the source and does not keep it alive.
        self._pythia, self._source = make_pythia(
            event_type,
            seed=seed,
            smear_beams=smear_beams,
            radiation=radiation,
            decay_table=load_belle2_table() if decay_table == "belle2" else (),
        )

    @property
    def event_type(self) -> str:
        """The type of all events."""
        return EVENT_TYPES[self._type_code]

    def generate(self, n_events: int) -> Events:
        """Return the next ``n_events`` events.

        Raises
        ------
        UsageError
            If ``n_events`` is negative.
        """
        if n_events < 0:
            raise UsageError(f"number of events: expected >= 0, got {n_events}")
        if n_events == 0:
            nothing = {
                name: np.empty(0, kind) for name, kind in PARTICLE_COLUMNS.items()
            }
            return Events.from_columns(np.zeros(1, dtype=np.int64), nothing)
        return concatenate(list(self._generate_batches(n_events)))

    def _generate_batches(self, n_events: int) -> Iterator[Events]:
        for start in range(0, n_events, BATCH_SIZE):
            yield self._generate_batch(min(BATCH_SIZE, n_events - start))

    def _generate_batch(self, n_events: int) -> Events:
        from smartfilter.pipeline.record import (
            flatten_batch,
            reduce_record,
            tree_columns,
        )

        batch = self._pythia.nextBatch(n_events)
        offsets, record = flatten_batch(batch.prt)
        tree = reduce_record(offsets, record, continuum=self._continuum)
        vertices = (
            draw_vertices(self._vertex_rng, n_events)
            if self._smear_beams
            else np.zeros((n_events, 3))
        )
        entry = self._n_generated + np.arange(n_events, dtype=np.int64)
        self._n_generated += n_events
        experiment, run = self._ids
        return Events.from_columns(
            offsets_from_counts(tree.counts),
            tree_columns(tree, record, vertices),
            experiment=np.full(n_events, experiment),
            run=np.full(n_events, run),
            event=self._first_event + entry,
            event_type=np.full(n_events, self._type_code, dtype=np.int8),
            entry=entry,
            file=f"Pythia 8, {self.event_type}",
        )
