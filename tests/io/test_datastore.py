"""The C++ reader of MCParticles compiles and reads what the Python one reads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from smartfilter.io.datastore import CPP_READER, read_rows

STORE_ARRAY = """
#pragma once
#include <vector>
namespace Belle2 {
  template <class T> std::vector<T>& content() {
    static std::vector<T> particles; return particles;
  }
  template <class T> class StoreArray {
  public:
    int getEntries() const { return content<T>().size(); }
    auto begin() const { return content<T>().begin(); }
    auto end() const { return content<T>().end(); }
  };
}
"""

MC_PARTICLE = """
#pragma once
namespace ROOT { namespace Math { struct XYZVector {
  double x, y, z;
  double X() const { return x; }
  double Y() const { return y; }
  double Z() const { return z; }
}; } }
namespace Belle2 {
  class MCParticle {
  public:
    int pdg, index; unsigned status; MCParticle* mother; float base;
    int getPDG() const { return pdg; }
    unsigned int getStatus(unsigned short mask = 0xFFFF) const { return status & mask; }
    float getMass() const { return base + 0.25f; }
    float getEnergy() const { return base + 0.5f; }
    float getProductionTime() const { return base + 4.0f; }
    ROOT::Math::XYZVector getMomentum() const { return {base + 1., base + 2., base + 3.}; }
    ROOT::Math::XYZVector getProductionVertex() const {
      return {base + 5., base + 6., base + 7.};
    }
    MCParticle* getMother() const { return mother; }
    int getArrayIndex() const { return index; }
  };
}
"""

MAIN = """
#include <cstdio>
#include "reader.h"
int main() {
  auto& particles = Belle2::content<Belle2::MCParticle>();
  particles.resize(3);
  particles[0] = {300553, 0, 1u, nullptr, 0.f};
  particles[1] = {-511, 1, 1u, &particles[0], 10.f};
  particles[2] = {22, 2, 259u, &particles[1], 20.f};
  for (double value : smartfilter::readParticles()) std::printf("%.9g\\n", value);
}
"""


class Vector:
    def __init__(self, base: float, first: int) -> None:
        self.values = [base + first + k for k in range(3)]

    def X(self) -> float:
        return self.values[0]

    def Y(self) -> float:
        return self.values[1]

    def Z(self) -> float:
        return self.values[2]


class Particle:
    """The particle of `MC_PARTICLE` in Python."""

    def __init__(self, pdg: int, index: int, status: int, mother: object) -> None:
        self.pdg, self.index, self.status, self.mother = pdg, index, status, mother
        self.base = 10.0 * index

    def getPDG(self) -> int:
        return self.pdg

    def getStatus(self) -> int:
        return self.status

    def getMass(self) -> float:
        return self.base + 0.25

    def getEnergy(self) -> float:
        return self.base + 0.5

    def getProductionTime(self) -> float:
        return self.base + 4

    def getMomentum(self) -> Vector:
        return Vector(self.base, 1)

    def getProductionVertex(self) -> Vector:
        return Vector(self.base, 5)

    def getMother(self) -> object:
        return self.mother

    def getArrayIndex(self) -> int:
        return self.index


class Array(list[Particle]):
    def getEntries(self) -> int:
        return len(self)


def make_array() -> Array:
    first = Particle(300553, 0, 1, None)
    second = Particle(-511, 1, 1, first)
    return Array([first, second, Particle(22, 2, 259, second)])


def test_read_rows_reads_every_column():
    rows = read_rows(make_array())
    assert rows.shape == (3, 12)
    assert rows[2].tolist() == [22, 1, 259, 20.25, 20.5, 21, 22, 23, 24, 25, 26, 27]
    assert rows[0, :3].tolist() == [300553, -1, 1]


def test_read_rows_of_an_empty_event():
    assert read_rows(Array()).shape == (0, 12)


def test_cpp_reader_compiles_and_reads_the_same(tmp_path: Path):
    """With stand-ins for basf2's headers; a release is not available."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    for name, text in (
        ("framework/datastore/StoreArray.h", STORE_ARRAY),
        ("mdst/dataobjects/MCParticle.h", MC_PARTICLE),
        ("reader.h", CPP_READER),
        ("main.cc", MAIN),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}"]
    program = tmp_path / "read"
    command = [compiler, *flags, str(tmp_path / "main.cc"), "-o", str(program)]
    subprocess.run(command, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    found = np.array(done.stdout.split(), dtype=np.float64).reshape(-1, 12)
    assert np.array_equal(found, read_rows(make_array()))
