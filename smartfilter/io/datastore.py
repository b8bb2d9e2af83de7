"""Particles of the current event from the data store of basf2 or its stand-in.

The only place that touches MCParticle objects. Nothing of basf2 is imported here.

`read_rows` runs everywhere, with some fifteen calls of C++ from Python per particle.
`compile_reader` has ROOT compile the same loop. It was compiled and run with stand-ins
for basf2's headers, **never in a release**, and is used on request only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from smartfilter.events import (
    NO_MOTHER,
    PARTICLE_COLUMNS,
    Events,
    offsets_from_counts,
)
from smartfilter.io.record import drop_secondaries

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

__all__ = ["CPP_READER", "compile_reader", "read_particles", "read_rows"]

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

CPP_READER = r"""
#include <framework/datastore/StoreArray.h>
#include <mdst/dataobjects/MCParticle.h>

#include <vector>

namespace smartfilter {
  /** Columns of all MCParticles, particle by particle. */
  std::vector<double> readParticles()
  {
    Belle2::StoreArray<Belle2::MCParticle> particles;
    std::vector<double> values;
    values.reserve(12 * particles.getEntries());
    for (const Belle2::MCParticle& particle : particles) {
      const Belle2::MCParticle* mother = particle.getMother();
      const auto momentum = particle.getMomentum();
      const auto vertex = particle.getProductionVertex();
      values.insert(values.end(), {
        static_cast<double>(particle.getPDG()),
        static_cast<double>(mother ? mother->getArrayIndex() : -1),
        static_cast<double>(particle.getStatus()),
        static_cast<double>(particle.getMass()),
        static_cast<double>(particle.getEnergy()),
        static_cast<double>(momentum.X()),
        static_cast<double>(momentum.Y()),
        static_cast<double>(momentum.Z()),
        static_cast<double>(particle.getProductionTime()),
        static_cast<double>(vertex.X()),
        static_cast<double>(vertex.Y()),
        static_cast<double>(vertex.Z())
      });
    }
    return values;
  }
}
"""
"""The loop of `read_rows` in C++, for ``ROOT.gInterpreter.Declare``."""


def read_particles(
    particles: Any,
    meta_data: Any,
    read: Callable[[Any], Rows] | None = None,
) -> Events:
    """Return the generator particles of the current event.

    Parameters
    ----------
    particles : PyStoreArray
        MCParticles: objects in basf2, an `Events` in `smartfilter.framework`.
    meta_data : PyStoreObj
        EventMetaData, the identity of the event.
    read : callable, optional
        Returns the particles as rows; by default `read_rows`.

    Returns
    -------
    Events
        One event of unknown type; secondaries of the simulation are left out.
    """
    table = particles.getPtr()
    if isinstance(table, Events):
        return table
    values = (read or read_rows)(particles)
    columns = {
        name: values[:, k].astype(PARTICLE_COLUMNS[name])
        for k, name in enumerate(_COLUMNS)
    }
    columns["array_index"] = np.arange(len(values), dtype=np.int32)
    offsets = offsets_from_counts(np.array([len(values)]))
    return Events.from_columns(
        *drop_secondaries(offsets, columns),
        experiment=[meta_data.getExperiment()],
        run=[meta_data.getRun()],
        production=[meta_data.getProduction()],
        event=[meta_data.getEvent()],
    )


def read_rows(particles: Any) -> Rows:
    """Return the particles of a PyStoreArray, shape (n_particles, 12), float64.

    Columns: PDG code, mother (0-based, -1: none), status, mass, energy, momentum,
    production time, production vertex.
    """
    rows = [_read_particle(particles[i]) for i in range(particles.getEntries())]
    return np.array(rows, dtype=np.float64).reshape(-1, len(_COLUMNS))


def _read_particle(particle: Any) -> tuple[float, ...]:
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


def compile_reader(root: Any) -> Callable[[Any], Rows]:
    """Return a replacement of `read_rows` that ROOT compiles.

    Parameters
    ----------
    root : module
        ROOT, of an environment with basf2's headers.
    """
    if not hasattr(root, "smartfilter"):
        root.gInterpreter.Declare(CPP_READER)

    def read(particles: Any) -> Rows:  # noqa: ARG001  it reads MCParticles itself
        values = np.asarray(root.smartfilter.readParticles(), dtype=np.float64)
        return values.reshape(-1, len(_COLUMNS))

    return read
