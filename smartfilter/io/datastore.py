"""Particles of the current event from the data store of basf2 or its stand-in.

The only place that touches MCParticle objects. Nothing of basf2 is imported here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from smartfilter.events import (
    NO_MOTHER,
    PARTICLE_COLUMNS,
    Events,
    offsets_from_counts,
)
from smartfilter.io.record import drop_secondaries

__all__ = ["read_particles"]

_COLUMNS = (
    "pdg",
    "mother_index",
    "status",
    "mass",
    "energy",
    "px",
    "py",
    "pz",
    "prod_time",
    "x",
    "y",
    "z",
)


def read_particles(particles: Any, meta_data: Any) -> Events:
    """Return the generator particles of the current event.

    Parameters
    ----------
    particles : PyStoreArray
        MCParticles: objects in basf2, an `Events` in `smartfilter.framework`.
    meta_data : PyStoreObj
        EventMetaData, the identity of the event.

    Returns
    -------
    Events
        One event of unknown type; secondaries of the simulation are left out.
    """
    table = particles.getPtr()
    if isinstance(table, Events):
        return table
    n_particles = particles.getEntries()
    rows = [_read_particle(particles[i]) for i in range(n_particles)]
    values = np.array(rows, dtype=np.float64).reshape(n_particles, len(_COLUMNS))
    columns = {
        name: values[:, k].astype(PARTICLE_COLUMNS[name])
        for k, name in enumerate(_COLUMNS)
    }
    columns["array_index"] = np.arange(n_particles, dtype=np.int32)
    offsets = offsets_from_counts(np.array([n_particles]))
    return Events.from_columns(
        *drop_secondaries(offsets, columns),
        experiment=[meta_data.getExperiment()],
        run=[meta_data.getRun()],
        production=[meta_data.getProduction()],
        event=[meta_data.getEvent()],
    )


def _read_particle(particle: Any) -> tuple[float, ...]:
    """Return the columns of an MCParticle in the order of `_COLUMNS`."""
    mother = particle.getMother()
    momentum = particle.getMomentum()
    vertex = particle.getProductionVertex()
    return (
        particle.getPDG(),
        mother.getArrayIndex() if mother else NO_MOTHER,
        particle.getStatus(),
        particle.getMass(),
        particle.getEnergy(),
        momentum.X(),
        momentum.Y(),
        momentum.Z(),
        particle.getProductionTime(),
        vertex.X(),
        vertex.Y(),
        vertex.Z(),
    )
