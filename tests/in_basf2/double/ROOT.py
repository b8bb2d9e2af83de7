"""The part of PyROOT that the double of basf2 has."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
from basf2 import database, store
from numpy.typing import NDArray

Belle2 = SimpleNamespace(
    PyStoreArray=store.PyStoreArray,
    PyStoreObj=store.PyStoreObj,
    MCParticle=store.MCParticle,
    EventMetaData=store.EventMetaData,
    EventExtraInfo=store.EventExtraInfo,
    DBAccessorBase=database.DBAccessorBase,
    DBStoreEntry=database.DBStoreEntry,
    Database=database.Database,
    IntervalOfValidity=database.IntervalOfValidity,
    SmartBackgroundConfig=database.SmartBackgroundConfig,
)

_random = random.Random(1)
gRandom = SimpleNamespace(Uniform=lambda low=0.0, high=1.0: _random.uniform(low, high))


class _Interpreter:
    """Takes C++ and, instead of compiling it, defines what it is known to define."""

    def __init__(self) -> None:
        self.declared: list[str] = []

    def Declare(self, code: str) -> bool:
        self.declared.append(code)
        globals()["smartfilter"] = SimpleNamespace(readParticles=_read_particles)
        return True


def _read_particles() -> NDArray[np.float64]:
    """Return what the C++ reader returns, particle by particle."""
    rows = []
    for particle in store.PyStoreArray("MCParticles"):
        mother = particle.mother - 1
        names = ("mass", "energy", "px", "py", "pz", "prod_time", "x", "y", "z")
        reals = [particle.reals[name] for name in names]
        rows += [particle.pdg, mother, particle.status, *reals]
    return np.array(rows, dtype=np.float64)


gInterpreter = _Interpreter()
