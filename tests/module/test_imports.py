"""What the SmartFilter module needs to be installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCKED = (
    "uproot pyarrow click rich yaml particle numba pythia8mc vector matplotlib sklearn "
    "lightning scipy pandas"
)


def test_filter_needs_torch_numpy_and_awkward_alone(model_path: Path):
    """Everything else is blocked: the filter runs, and says what a look-up needs."""
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED.split()!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
import numpy as np
import smartfilter.framework as basf2
from smartfilter.events import PARTICLE_COLUMNS, Events
from smartfilter.module import add_smartfilter
class Source(basf2.Module):
    def initialize(self):
        self.data = basf2.PyStoreObj("EventMetaData")
        self.particles = basf2.PyStoreArray("MCParticles")
        self.data.registerInDataStore()
        self.particles.registerInDataStore()
        self.left = 5
    def event(self):
        self.data.create()
        if not self.left:
            self.data.setEndOfData()
            return
        self.left -= 1
        columns = {{k: np.ones(3, d) for k, d in PARTICLE_COLUMNS.items()}}
        columns["mother_index"] = np.array([-1, 0, 0], np.int32)
        columns["pdg"] = np.full(3, 211, np.int32)
        self.particles.assign(Events.from_columns(np.array([0, 3]), columns))
def run(**settings):
    path = basf2.create_path()
    path.add_module(Source())
    module = add_smartfilter(path, **settings)
    basf2.process(path)
    return module.counts
print(run(model={str(model_path)!r}).describe())
try:
    run(scores="flags.parquet")
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "5 generated" in done.stdout
    assert "1 ERROR(S)" in done.stdout
    assert "needs the package 'pyarrow'" in done.stderr


def test_broken_basf2_is_not_taken_for_none():
    """If basf2 is there but does not import, that is an error, not standalone."""
    code = """
import sys, types
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "basf2":
            raise ModuleNotFoundError("No module named 'pybasf2'", name="pybasf2")
sys.meta_path.insert(0, Broken())
import smartfilter.module
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "pybasf2" in done.stderr
